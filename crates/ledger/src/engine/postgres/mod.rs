//! The PostgreSQL engine: one ledger that several processes share.
//!
//! Each process is a committer with a number of its own. Its batch is one transaction: it locks what it judges,
//! in one order for all, then gets its time and position, and writes with one commit. Credits wait for nobody:
//! each committer adds to a stripe of its own, and whoever debits an account folds them. The order of locks and
//! why it is enough: `docs/adr/0005-postgresql-engine.md`.
//!
//! The connection must be a session of its own: a pooler that hands out connections by the transaction does
//! not keep the locks that this relies on.

mod columns;
mod config;
mod driver;
mod error;
mod lock;
mod numeric;
mod read;
mod schema;
#[cfg(test)]
#[path = "../../../../testkit/src/postgres.rs"]
mod server;
mod session;
mod tls;
mod write;

use std::collections::BTreeMap;
use std::time::Duration;

use farthing_protocol::SecretKey;

pub use self::config::{DEFAULT_SCHEMA, PostgresConfig};
pub use self::error::PostgresError;

pub(crate) use self::error::text;
pub(crate) use self::session::Session;

use self::driver::Driver;
use self::lock::Batch;
use self::session::within;
use super::storage::{Begun, Row, Snapshot, Storage, StorageError, Wanted, Writes};
use super::{Ledger, Options};
use crate::rows::{Table, key};

/// How long a server is told goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Rows in a schema of a PostgreSQL database.
pub struct PostgresStorage {
    config: PostgresConfig,
    /// Gone after a failure, until it is recovered.
    session: Option<Session>,
    driver: Driver,
    /// The batch that has begun and not ended.
    batch: Option<Batch>,
    /// Unix seconds: the latest time of any batch of this one.
    seen: u64,
    /// Rows that nobody else changes: assets, once they are there, and where this committer's cursors are.
    own: BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>,
    /// The oldest entries that the cursors look at, by where they are looked for.
    oldest: BTreeMap<Vec<u8>, Row>,
}

impl std::fmt::Debug for PostgresStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStorage").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Ledger {
    /// A ledger in a PostgreSQL database, which other processes may have open, too. Its tables are made, or
    /// brought up to date. The key is the ledger's: every process has the same.
    ///
    /// # Errors
    /// [`PostgresError`] says what is wrong with the database, or that the ledger was made with another key or
    /// other options.
    pub fn postgres(
        database: &PostgresConfig,
        key: SecretKey,
        options: Options,
    ) -> Result<Self, PostgresError> {
        Ok(Self::start(PostgresStorage::open(database)?, key, options)?)
    }
}

impl PostgresStorage {
    /// Connects to a database, making the ledger's tables or bringing them up to date.
    ///
    /// # Errors
    /// [`PostgresError`].
    pub fn open(database: &PostgresConfig) -> Result<Self, PostgresError> {
        let driver = Driver::new()?;
        let session = driver.run(within(open(database)))??;
        Ok(Self {
            config: database.clone(),
            session: Some(session),
            driver,
            batch: None,
            seen: 0,
            own: BTreeMap::new(),
            oldest: BTreeMap::new(),
        })
    }

    /// A look at all rows as they are now, for reading beside those who write.
    ///
    /// # Errors
    /// [`PostgresError`]; [`PostgresError::NoLedger`] where there is nothing to look at.
    pub fn read(database: &PostgresConfig) -> Result<Box<dyn Snapshot>, PostgresError> {
        let driver = Driver::new()?;
        let session = driver.run(within(Session::reader(database)))??;
        Ok(Box::new(read::Moment { session, driver }))
    }

    fn session(&self) -> Result<&Session, StorageError> {
        self.session.as_ref().ok_or_else(|| StorageError::failed("there is no connection"))
    }

    /// Ends the transaction of a statement that failed. After any other failure than contention there is
    /// nothing to say to the server before the connection is made anew.
    fn undone<T>(&mut self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if result.is_err() && self.batch.take().is_some() && matches!(result, Err(StorageError::Again(_))) {
            self.driver.run(within(self.session()?.run("ROLLBACK")))??;
        }
        result
    }

    fn page(
        &mut self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StorageError> {
        let rows = self.driver.run(within(read::page(self.session()?, table, from, to, limit)))?;
        self.undone(rows)
    }

    /// Whether a row stays as it is, unless this committer changes it.
    fn is_own(&self, table: Table, row: &[u8], value: Option<&Vec<u8>>) -> bool {
        let cursor = |name| row == key::of_chain(name, self.chain());
        match table {
            Table::Asset => value.is_some(),
            Table::Meta => cursor(b"purge-answers") || cursor(b"purge-records"),
            _ => false,
        }
    }
}

async fn open(database: &PostgresConfig) -> Result<Session, PostgresError> {
    let session = Session::committer(database).await?;
    session.prepare_all(&lock::STATEMENTS).await?;
    session.prepare_all(&write::STATEMENTS).await?;
    Ok(session)
}

impl Storage for PostgresStorage {
    fn begin(&mut self, wanted: &Wanted) -> Result<Begun, StorageError> {
        let unfinished = self.batch.take().is_some();
        let (session, keeps_time, seen) = (self.session()?, self.config.keeps_time, self.seen);
        let begun = self.driver.run(within(async {
            if unfinished {
                session.run("ROLLBACK").await?;
            }
            lock::begin(session, wanted, keeps_time, seen).await
        }))?;
        // Whatever came of it, a transaction has begun.
        self.batch = Some(Batch::default());
        let (begun, batch) = self.undone(begun)?;
        self.seen = self.seen.max(begun.seen).max(begun.now.unwrap_or(0));
        self.batch = Some(batch);
        Ok(begun)
    }

    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let row = (table, key.to_vec());
        if let Some(value) = self.batch.as_ref().and_then(|batch| batch.rows.get(&row)) {
            return Ok(value.clone());
        }
        if let Some(value) = self.own.get(&row) {
            return Ok(value.clone());
        }
        let value = self.driver.run(within(read::get(self.session()?, table, key)))?;
        let value = self.undone(value)?;
        if self.is_own(table, key, value.as_ref()) {
            self.own.insert(row, value.clone());
        }
        Ok(value)
    }

    fn scan(&mut self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        self.page(table, from, None, limit)
    }

    fn between(
        &mut self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Row>, StorageError> {
        if from >= to {
            return Ok(Vec::new());
        }
        if let (Table::Due, Some(batch)) = (table, &self.batch) {
            // Only those that this batch has locked: others are another one's to end.
            let due = batch.due.iter().map(|(deadline, id)| key::due(*deadline, id));
            let due = due.filter(|key| from <= key.as_slice() && key.as_slice() < to);
            return Ok(due.take(limit).map(|key| (key, Vec::new())).collect());
        }
        let is_oldest = table == Table::Entry && limit == 1;
        if let (true, Some(row)) = (is_oldest, self.oldest.get(from)) {
            return Ok(vec![row.clone()]);
        }
        let rows = self.page(table, from, Some(to), limit)?;
        if let (true, Some(row)) = (is_oldest, rows.first()) {
            self.oldest.insert(from.to_vec(), row.clone());
            if self.oldest.len() > 4 {
                self.oldest.pop_first();
            }
        }
        Ok(rows)
    }

    fn commit(&mut self, writes: &Writes) -> Result<(), StorageError> {
        let Some(batch) = &self.batch else {
            return Err(StorageError::failed("a batch was committed that had not begun"));
        };
        let session = self.session()?;
        if writes.is_empty() {
            self.batch = None;
            return self.driver.run(within(self.session()?.run("ROLLBACK")))?;
        }
        let written = self.driver.run(within(write::write(session, batch, writes)))?;
        self.undone(written)?;
        self.batch = None;
        let session = self.session()?;
        self.driver.run(within(session.run("COMMIT")))??;
        for ((table, key), value) in &writes.rows {
            if self.is_own(*table, key, value.as_ref()) {
                self.own.insert((*table, key.clone()), value.clone());
            }
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, StorageError> {
        Ok(Self::read(&self.config)?)
    }

    fn shared(&self) -> bool {
        true
    }

    fn chain(&self) -> u32 {
        self.session.as_ref().map_or(0, |session| session.chain)
    }

    fn recover(&mut self) -> Result<bool, StorageError> {
        self.goodbye();
        (self.batch, self.own, self.oldest) = (None, BTreeMap::new(), BTreeMap::new());
        self.driver = Driver::new()?;
        self.session = Some(self.driver.run(within(open(&self.config)))??);
        Ok(true)
    }
}

impl PostgresStorage {
    /// Lets go of the committer's number at once, so that the next one in line takes the same.
    fn goodbye(&mut self) {
        if let Some(session) = self.session.take() {
            let farewell = session.run("ROLLBACK; SELECT pg_advisory_unlock_all()");
            let _ = self.driver.run(async { tokio::time::timeout(GOODBYE, farewell).await.is_ok() });
        }
    }
}

impl Drop for PostgresStorage {
    fn drop(&mut self) {
        self.goodbye();
    }
}
