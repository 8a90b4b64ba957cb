//! Entries that were committed together, as few rows.
//!
//! Entries are only ever appended, and many at once. Those of one commit go into one row under the first one's
//! key; an entry alone is a row as it is. Rows hold [`PACK`] bytes, about, so that reading one entry stays cheap.

use farthing_protocol::layout::{LayoutError, Reader};

use crate::engine::storage::Row;
use crate::rows::key;

/// The first byte of a row with several entries. An entry begins with the length of its domain.
const SEVERAL: u8 = 0xff;
/// Bytes of entries that one row holds, about.
const PACK: usize = 16 << 10;

/// Puts entries, in the order of their keys, into rows. Only entries that follow one another share one.
pub(super) fn pack<'a>(entries: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    // The last entry of the last row.
    let mut last = None;
    for (key, entry) in entries {
        let this = key::entry_of(key);
        let follows = match (last, this) {
            (Some((chain, sequence)), Some(this)) => this == (chain, sequence + 1),
            _ => false,
        };
        last = this;
        match rows.last_mut() {
            Some((_, row)) if follows && row.len() < PACK => {
                if row.first() != Some(&SEVERAL) {
                    let alone = std::mem::take(row);
                    row.reserve(PACK + PACK / 4);
                    row.push(SEVERAL);
                    add(row, &alone);
                }
                add(row, entry);
            }
            _ => rows.push((key.to_vec(), entry.to_vec())),
        }
    }
    rows
}

fn add(row: &mut Vec<u8>, entry: &[u8]) {
    row.extend((entry.len() as u32).to_be_bytes());
    row.extend(entry);
}

/// The entries of a row, with their keys.
///
/// # Errors
/// [`LayoutError`] when the row is damaged.
pub(super) fn unpack(first: &[u8], row: &[u8]) -> Result<Vec<Row>, LayoutError> {
    let Some((&SEVERAL, rest)) = row.split_first() else { return Ok(vec![(first.to_vec(), row.to_vec())]) };
    let (chain, mut sequence) = key::entry_of(first).ok_or(LayoutError::Value { field: "entry" })?;
    let mut from = Reader::bare(rest);
    let mut entries = Vec::new();
    while from.remaining() > 0 {
        entries.push((key::entry(chain, sequence), from.var(usize::MAX)?.to_vec()));
        sequence = sequence.checked_add(1).ok_or(LayoutError::Value { field: "entry" })?;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(chain: u32, sequences: impl Iterator<Item = u64>, length: usize) -> Vec<Row> {
        sequences.map(|n| (key::entry(chain, n), [&[14, n as u8][..], &vec![0; length]].concat())).collect()
    }

    fn packed(entries: &[Row]) -> Vec<Row> {
        pack(entries.iter().map(|(key, entry)| (key.as_slice(), entry.as_slice())))
    }

    fn unpacked(rows: &[Row]) -> Vec<Row> {
        rows.iter().flat_map(|(key, row)| unpack(key, row).unwrap()).collect()
    }

    #[test]
    fn entries_that_follow_one_another_share_rows_of_a_bounded_size() {
        let all = entries(0, 5..205, 500);
        let rows = packed(&all);
        assert!((6..9).contains(&rows.len()) && rows.iter().all(|(_, row)| row.len() < PACK + 600));
        assert_eq!((unpacked(&rows), &rows[0].0), (all, &key::entry(0, 5)));
    }

    #[test]
    fn an_entry_alone_stays_as_it_is() {
        let one = entries(0, 7..8, 300);
        assert_eq!((packed(&one), packed(&[])), (one, vec![]));
    }

    #[test]
    fn entries_with_a_gap_or_of_two_chains_do_not_share_a_row() {
        let all =
            [entries(0, 1..3, 9), entries(0, 4..6, 9), entries(2, 6..8, 9), entries(3, 8..10, 9)].concat();
        let rows = packed(&all);
        assert_eq!((rows.len(), unpacked(&rows)), (4, all));
    }

    #[test]
    fn a_row_that_was_cut_is_refused() {
        let rows = packed(&entries(0, 1..9, 50));
        assert!(unpack(&rows[0].0, &rows[0].1[..rows[0].1.len() - 1]).is_err());
        assert!(
            unpack(b"no entry", &[&[SEVERAL][..], &[0; 4]].concat()).is_ok(),
            "eight bytes are a sequence"
        );
        assert!(unpack(b"none", &[SEVERAL]).is_err());
    }
}
