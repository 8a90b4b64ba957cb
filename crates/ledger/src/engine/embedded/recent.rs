//! Rows that are durable and not in their tables yet.
//!
//! Putting a row into its table costs more than anything else that a commit does, and most rows are written
//! more than once within moments: a payment is held, then captured; its hold is listed, then not; the balances
//! of a busy account change with every commit. So a commit appends what it writes to a log, as one record, and
//! the rows wait here, in memory, where readers find them first. From time to time a commit puts all that wait
//! into their tables and empties the log, in the same atomic batch. Whoever opens the directory reads the
//! records back.

use std::collections::HashMap;

use farthing_protocol::layout::{LayoutError, Reader};

use crate::rows::Table;

/// A row that waits; `None` when it is to be removed.
pub(super) type Waiting = Option<Vec<u8>>;

/// What a record says of a row, in the upper half of its first byte; the table is in the lower.
const REMOVE: u8 = 0;
const PUT: u8 = 1;
/// Put, with the end of the row as it waits already.
const PUT_HEAD: u8 = 2;
/// Such ends are told apart in steps of so many bytes.
const STEP: usize = 32;
/// Bytes of memory that a row takes besides its key and its value, about.
const ROW: usize = 64;

/// Rows that wait, by table.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    tables: [HashMap<Vec<u8>, Waiting>; Table::ALL.len()],
    bytes: usize,
}

impl Recent {
    /// Bytes of memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A row, if it waits.
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Option<&Waiting> {
        self.tables[table as usize].get(key)
    }

    /// Rows of one table, from `from` up to and without `to`, in the order of their keys.
    pub(super) fn range(&self, table: Table, from: &[u8], to: Option<&[u8]>) -> Vec<(&Vec<u8>, &Waiting)> {
        let within = |(key, _): &(&Vec<u8>, &Waiting)| {
            key.as_slice() >= from && to.is_none_or(|to| key.as_slice() < to)
        };
        let mut rows: Vec<_> = self.tables[table as usize].iter().filter(within).collect();
        rows.sort_unstable_by_key(|(key, _)| *key);
        rows
    }

    /// Takes a row in, and adds it to a record.
    pub(super) fn put(&mut self, record: &mut Vec<u8>, table: Table, key: &[u8], value: Option<&[u8]>) {
        let before = self.get(table, key).and_then(Option::as_deref).unwrap_or_default();
        let tail = value.map_or(0, |value| same_tail(before, value));
        let what = match value {
            None => REMOVE,
            Some(_) if tail == 0 => PUT,
            Some(_) => PUT_HEAD,
        };
        record.push(what << 4 | table as u8);
        add(record, key);
        if let Some(head) = value.and_then(|value| value.get(..value.len() - tail)) {
            add(record, head);
        }
        if what == PUT_HEAD {
            record.extend((tail as u32).to_be_bytes());
        }
        self.insert(table, key, value.map(<[u8]>::to_vec));
    }

    /// Takes in what a record says.
    ///
    /// # Errors
    /// [`LayoutError`] when it is damaged.
    pub(super) fn read(&mut self, record: &[u8]) -> Result<(), LayoutError> {
        let mut from = Reader::bare(record);
        while from.remaining() > 0 {
            let first = from.u8()?;
            let table = Table::ALL.get(usize::from(first & 15)).copied();
            let table = table.ok_or(LayoutError::Value { field: "table" })?;
            let key = from.var(usize::MAX)?;
            let value = match first >> 4 {
                REMOVE => None,
                PUT => Some(from.var(usize::MAX)?.to_vec()),
                PUT_HEAD => {
                    let head = from.var(usize::MAX)?;
                    let tail = from.u32()? as usize;
                    let before = self.get(table, key).and_then(Option::as_deref).unwrap_or_default();
                    let tail = before.len().checked_sub(tail).and_then(|at| before.get(at..));
                    Some([head, tail.ok_or(LayoutError::Value { field: "tail" })?].concat())
                }
                _ => return Err(LayoutError::Value { field: "what" }),
            };
            self.insert(table, key, value);
        }
        Ok(())
    }

    fn insert(&mut self, table: Table, key: &[u8], value: Waiting) {
        self.bytes += value.as_ref().map_or(0, Vec::len);
        let rows = &mut self.tables[table as usize];
        match rows.get_mut(key) {
            Some(waiting) => {
                self.bytes -= waiting.as_ref().map_or(0, Vec::len);
                *waiting = value;
            }
            None => {
                self.bytes += key.len() + ROW;
                rows.insert(key.to_vec(), value);
            }
        }
    }

    /// All rows, by table and in the order of their keys; none of them waits any more.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (Table, Vec<u8>, Waiting)> + use<> {
        let all = std::mem::take(self);
        let of = |(table, rows): (Table, HashMap<Vec<u8>, Waiting>)| {
            let mut rows: Vec<_> = rows.into_iter().collect();
            rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            rows.into_iter().map(move |(key, value)| (table, key, value))
        };
        Table::ALL.into_iter().zip(all.tables).flat_map(of)
    }
}

/// Adds bytes behind their length.
fn add(record: &mut Vec<u8>, bytes: &[u8]) {
    record.extend((bytes.len() as u32).to_be_bytes());
    record.extend(bytes);
}

/// Bytes at the end that both have, in whole steps.
fn same_tail(one: &[u8], other: &[u8]) -> usize {
    let steps = one.rchunks_exact(STEP).zip(other.rchunks_exact(STEP));
    STEP * steps.take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    type Change = (Table, Vec<u8>, Waiting);

    fn change() -> impl Strategy<Value = Change> {
        let table = proptest::sample::select(&Table::ALL[..]);
        let ends = vec(any::<u8>(), 0..8);
        let value = (ends, any::<bool>()).prop_map(|(head, long)| {
            let tail = if long { 100 } else { 3 };
            [head, vec![7; tail]].concat()
        });
        (table, vec(0..4_u8, 0..3), proptest::option::of(value))
    }

    fn record(recent: &mut Recent, changes: &[Change]) -> Vec<u8> {
        let mut record = Vec::new();
        for (table, key, value) in changes {
            recent.put(&mut record, *table, key, value.as_deref());
        }
        record
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn records_bring_back_what_waited(batches in vec(vec(change(), 0..9), 0..9)) {
            let (mut written, mut read) = (Recent::default(), Recent::default());
            for changes in &batches {
                let record = record(&mut written, changes);
                prop_assert_eq!(read.read(&record), Ok(()));
            }
            prop_assert_eq!(&written.tables, &read.tables);
            prop_assert_eq!(written.bytes(), read.bytes());
            for (table, key, _) in batches.concat() {
                let last = batches.concat().into_iter().rfind(|(t, k, _)| (*t, k) == (table, &key));
                prop_assert_eq!(read.get(table, &key), last.as_ref().map(|(_, _, value)| value));
            }
        }

        #[test]
        fn no_bytes_make_a_record_panic(bytes in vec(any::<u8>(), 0..200)) {
            let mut recent = Recent::default();
            let _ = recent.read(&bytes);
        }
    }

    #[test]
    fn the_end_of_a_row_that_waits_is_not_written_twice() {
        let mut recent = Recent::default();
        let row = |state: u8| [vec![state; 100], vec![9; 400]].concat();
        let first = record(&mut recent, &[(Table::Payment, vec![1; 32], Some(row(1)))]);
        let second = record(&mut recent, &[(Table::Payment, vec![1; 32], Some(row(2)))]);
        assert!(first.len() > 500 && second.len() < 180, "{} and {}", first.len(), second.len());
        assert_eq!(recent.get(Table::Payment, &[1; 32]), Some(&Some(row(2))));
    }
}
