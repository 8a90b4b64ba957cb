//! The stores of [records](farthing_protocol::records) that the processes of one operator share: claims on
//! payments, settlements under way, the catalogue.
//!
//! [`MemoryRecords`] for tests and the simulator, [`EmbeddedRecords`] in a directory for one process,
//! [`PostgresRecords`] for many. They are beside the ledger, not in it: no money is in them, and the core
//! knows nothing of them.

#[cfg(feature = "embedded")]
mod embedded;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;

use farthing_protocol::records::{KEY_BYTES, Record, RecordsError, VALUE_BYTES};

#[cfg(feature = "embedded")]
pub use self::embedded::{EmbeddedRecords, RecordsOpenError};
pub use self::memory::MemoryRecords;
#[cfg(feature = "postgres")]
pub use self::postgres::PostgresRecords;

/// Unix seconds: the latest `until` that a store keeps; a later one is kept as this.
const LATEST: u64 = i64::MAX as u64;

/// Refuses a key that no store has.
fn check_key(key: &[u8]) -> Result<(), RecordsError> {
    if key.is_empty() || key.len() > KEY_BYTES {
        let why = format!("a key of {} bytes; it has 1 to {KEY_BYTES}", key.len());
        return Err(RecordsError::Unavailable(why));
    }
    Ok(())
}

/// Refuses a change that no store makes; the record as stores keep it.
fn check_change(key: &[u8], new: Option<Record>) -> Result<Option<Record>, RecordsError> {
    check_key(key)?;
    let Some(Record { value, until }) = new else { return Ok(None) };
    if value.len() > VALUE_BYTES {
        let why = format!("a record of {} bytes; it has at most {VALUE_BYTES}", value.len());
        return Err(RecordsError::Unavailable(why));
    }
    Ok(Some(Record { value, until: until.min(LATEST) }))
}

/// Whether what is there still has the expected value.
fn is_expected(there: Option<&Record>, expected: Option<&[u8]>) -> bool {
    there.map(|record| record.value.as_slice()) == expected
}

/// The keys of a page: from the first one up to and without the second; `None` when there are none.
fn page(prefix: &[u8], after: Option<&[u8]>) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let mut from = prefix.to_vec();
    if let Some(after) = after.filter(|after| *after >= prefix) {
        from = [after, &[0]].concat();
    }
    let to = behind(prefix);
    let is_empty = to.as_ref().is_some_and(|to| from >= *to);
    (!is_empty).then_some((from, to))
}

/// The first key that is behind all that begin with `prefix`; `None` when there is none.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut behind = prefix.get(..=last)?.to_vec();
    *behind.last_mut()? += 1;
    Some(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_begins_after_a_key_and_ends_with_its_prefix() {
        assert_eq!(page(b"ab", None), Some((b"ab".to_vec(), Some(b"ac".to_vec()))));
        assert_eq!(page(b"ab", Some(b"abc")), Some((b"abc\0".to_vec(), Some(b"ac".to_vec()))));
        assert_eq!(page(b"ab", Some(b"a")), page(b"ab", None));
        assert_eq!(page(b"ab", Some(b"ac")), None);
        assert_eq!(page(&[1, 255], None), Some((vec![1, 255], Some(vec![2]))));
        assert_eq!(page(&[255], Some(&[255, 7])), Some((vec![255, 7, 0], None)));
        assert_eq!(page(&[], None), Some((vec![], None)));
    }
}
