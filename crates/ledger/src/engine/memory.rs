//! The memory engine: for tests and the simulator.

use std::collections::BTreeMap;

use super::storage::{Row, Snapshot, Storage, StorageError, Writes};
use crate::rows::Table;

/// Rows in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

impl Storage for MemoryStorage {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.rows.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&mut self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        let rows = self.rows.range((table, from.to_vec())..).take_while(|((t, _), _)| *t == table);
        Ok(rows.take(limit).map(|((_, k), v)| (k.clone(), v.clone())).collect())
    }

    fn commit(&mut self, writes: &Writes) -> Result<(), StorageError> {
        for ((table, key), value) in &writes.rows {
            match value {
                Some(value) => self.rows.insert((*table, key.clone()), value.clone()),
                None => self.rows.remove(&(*table, key.clone())),
            };
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, StorageError> {
        Ok(Box::new(Moment(self.clone())))
    }
}

/// A copy of the rows.
struct Moment(MemoryStorage);

impl Snapshot for Moment {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.0.get(table, key)
    }

    fn scan(&mut self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        self.0.scan(table, from, limit)
    }
}
