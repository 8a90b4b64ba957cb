//! What an engine must be able to do: read rows, and make a set of writes durable at once.

use std::collections::BTreeMap;

use crate::rows::Table;

/// A set of writes, sorted; `None` removes a row.
pub type Writes = BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>;

/// A row: its key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Storage cannot be read or written, or does not hold what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ledger storage: {0}")]
pub struct StorageError(pub String);

impl From<farthing_protocol::layout::LayoutError> for StorageError {
    fn from(error: farthing_protocol::layout::LayoutError) -> Self {
        Self(format!("a row is damaged: {error}"))
    }
}

/// Rows by table and key. Used by one thread.
pub trait Storage: Send + 'static {
    /// One row.
    ///
    /// # Errors
    /// [`StorageError`]; so for all.
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// Up to `limit` rows in the order of their keys, beginning with the first at or after `from`.
    ///
    /// # Errors
    /// [`StorageError`].
    fn scan(&mut self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StorageError>;

    /// As [`scan`](Self::scan), up to and without `to`. Engines that keep traces of removed rows must not walk
    /// over those behind `to`.
    ///
    /// # Errors
    /// [`StorageError`].
    fn between(
        &mut self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Row>, StorageError> {
        let mut rows = self.scan(table, from, limit)?;
        rows.retain(|(key, _)| key.as_slice() < to);
        Ok(rows)
    }

    /// Makes all of `writes` durable, or none. After an error nobody knows which.
    ///
    /// # Errors
    /// [`StorageError`].
    fn commit(&mut self, writes: &Writes) -> Result<(), StorageError>;
}
