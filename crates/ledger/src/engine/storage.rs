//! What an engine must be able to do: read rows, and make a set of writes durable at once.

use std::collections::{BTreeMap, BTreeSet};

use farthing_protocol::PublicKey;
use farthing_protocol::rail::PaymentId;

use crate::identity::AssetCode;
use crate::rows::Table;

/// A set of writes, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Rows by table and key; `None` removes a row.
    pub rows: BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>,
    /// Changes of balances by their key, for storage that is [shared](Storage::shared); else they are among
    /// the rows.
    pub balances: BTreeMap<Vec<u8>, i128>,
}

impl Writes {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.balances.is_empty()
    }
}

impl<const N: usize> From<[((Table, Vec<u8>), Option<Vec<u8>>); N]> for Writes {
    fn from(rows: [((Table, Vec<u8>), Option<Vec<u8>>); N]) -> Self {
        Self { rows: rows.into(), balances: BTreeMap::new() }
    }
}

/// A row: its key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Storage cannot be read or written, or does not hold what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// It failed; after a commit nobody knows whether anything was written.
    #[error("ledger storage: {0}")]
    Failed(String),
    /// Certainly nothing was written, and the same batch may go through when it is tried again: other
    /// committers were in the way.
    #[error("ledger storage is contended: {0}")]
    Again(String),
}

impl StorageError {
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }
}

impl From<farthing_protocol::layout::LayoutError> for StorageError {
    fn from(error: farthing_protocol::layout::LayoutError) -> Self {
        Self::Failed(format!("a row is damaged: {error}"))
    }
}

/// What a batch is going to read, known from its commands before any row is. Shared storage locks these rows,
/// in this order, before the time of the batch is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Payments that are judged or reported, whether they exist or not: until the batch ends, nobody else may
    /// change them or make them come to be.
    pub payments: BTreeSet<PaymentId>,
    /// Those of them whose payee may be debited, too.
    pub refunds: BTreeSet<PaymentId>,
    /// Balances that are judged: nobody else may debit these accounts.
    pub debits: BTreeSet<(PublicKey, AssetCode)>,
    /// Nonces that are looked up, by payer.
    pub nonces: BTreeSet<(PublicKey, [u8; 32])>,
    /// Accounts whose keys are looked up.
    pub keys: BTreeSet<PublicKey>,
    /// Assets, deposits or keys are changed: one batch at a time.
    pub registers: bool,
    /// Holds whose capture deadline lies before this, in Unix seconds, are going to end.
    pub due_before: Option<u64>,
}

/// A batch has begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// Unix seconds by storage's own clock, if it keeps one; else the ledger's clock rules.
    pub now: Option<u64>,
    /// Unix seconds: no batch of any committer was judged by a later time.
    pub seen: u64,
    /// The batch's place among those of all committers; 0 where there is one committer.
    pub position: u64,
}

/// Rows by table and key. Used by one thread, one batch after the other: [`begin`](Self::begin), reads, then
/// [`commit`](Self::commit).
pub trait Storage: Send + 'static {
    /// Begins a batch. What an unfinished one before had locked is let go.
    ///
    /// # Errors
    /// [`StorageError`]; so for all.
    fn begin(&mut self, _wanted: &Wanted) -> Result<Begun, StorageError> {
        Ok(Begun::default())
    }

    /// One row.
    ///
    /// # Errors
    /// [`StorageError`].
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

    /// Makes all of `writes` durable, or none. After [`StorageError::Failed`] nobody knows which.
    ///
    /// # Errors
    /// [`StorageError`].
    fn commit(&mut self, writes: &Writes) -> Result<(), StorageError>;

    /// A look at all rows as they are after the last commit.
    ///
    /// # Errors
    /// [`StorageError`].
    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, StorageError>;

    /// Whether other committers write to the same rows.
    fn shared(&self) -> bool {
        false
    }

    /// The number of this committer's chain; 0 where there is one committer.
    fn chain(&self) -> u32 {
        0
    }

    /// After a failure: finds out what was written, and goes on. `false` when that takes opening it anew.
    ///
    /// # Errors
    /// [`StorageError`] when it is not possible yet.
    fn recover(&mut self) -> Result<bool, StorageError> {
        Ok(false)
    }
}

/// All rows at one moment, for reading beside the committer.
pub trait Snapshot: Send {
    /// As [`Storage::get`].
    ///
    /// # Errors
    /// [`StorageError`].
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// As [`Storage::scan`].
    ///
    /// # Errors
    /// [`StorageError`].
    fn scan(&mut self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StorageError>;
}
