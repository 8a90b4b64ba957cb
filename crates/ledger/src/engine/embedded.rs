//! The embedded engine: a directory with an fjall database, the ledger's key and a lock.
//!
//! One process has a directory at a time. Every commit is one atomic batch over all tables, and when it
//! returns, its journal has been flushed to the disk. Why fjall: `docs/adr/0001-embedded-engine.md`.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use farthing_protocol::SecretKey;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};

use super::storage::{Row, Snapshot, Storage, StorageError, Writes};
use crate::check::{self, Report};
use crate::keyfile::{self, KeyFileError};
use crate::rows::Table;

/// The layout of the directory that this program reads and writes.
const FORMAT: u64 = 1;
const FORMAT_ROW: &[u8] = b"format";

const ROWS: &str = "rows";
const KEY: &str = "ledger.key";
const LOCK: &str = "lock";

/// Blocks that are kept in memory.
const CACHE_BYTES: u64 = 64 << 20;
/// Writes of one table that are kept in memory until they are sorted into files.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// Threads that sort and merge files; one is enough for what one committer writes.
const WORKERS: usize = 1;

/// A ledger directory that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{0} is in use by another process; stop it first")]
    InUse(PathBuf),
    /// There is no ledger in it.
    #[error("{0} holds no ledger")]
    NoLedger(PathBuf),
    /// Another version of this program made it.
    #[error("{directory} has format {found}; this program reads format {FORMAT}")]
    Format {
        /// The directory.
        directory: PathBuf,
        /// The format it has.
        found: u64,
    },
    /// The key file is missing, damaged, or readable by others.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The operating system refused.
    #[error("{0}: {1}")]
    Io(PathBuf, std::io::Error),
    /// The database cannot be read, or was made with other options.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Rows in a directory.
pub struct EmbeddedStorage {
    database: Database,
    /// In the order of [`Table::ALL`].
    tables: Vec<Keyspace>,
    /// Released last, when the database is closed.
    _lock: File,
}

impl std::fmt::Debug for EmbeddedStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedStorage").finish_non_exhaustive()
    }
}

impl EmbeddedStorage {
    /// Opens a directory, making it if it is not there, and reads the ledger's key.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(directory: &Path) -> Result<(Self, SecretKey), OpenError> {
        let io = |error| OpenError::Io(directory.to_path_buf(), error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io)?;
        let lock = lock(directory)?;
        // The key is durable before anything is signed with it.
        let key = keyfile::load_or_create(directory.join(KEY))?;
        Ok((Self::with_lock(directory, lock)?, key))
    }

    /// Opens a directory only if there is a ledger in it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn read(directory: &Path) -> Result<Self, OpenError> {
        if !directory.join(ROWS).is_dir() {
            return Err(OpenError::NoLedger(directory.to_path_buf()));
        }
        let lock = lock(directory)?;
        Self::with_lock(directory, lock)
    }

    /// Verifies the whole history again.
    ///
    /// # Errors
    /// [`StorageError`] when the database cannot be read.
    pub fn check(&mut self) -> Result<Report, StorageError> {
        check::check(&mut |table, from, limit| self.scan(table, from, limit))
    }

    fn with_lock(directory: &Path, lock: File) -> Result<Self, OpenError> {
        let builder = Database::builder(directory.join(ROWS)).cache_size(CACHE_BYTES).worker_threads(WORKERS);
        // fjall 3.1 asserts where a damaged journal has lengths that do not fit: that is a refusal, too.
        let opened = catch_unwind(AssertUnwindSafe(|| builder.open()));
        let damaged = |_| StorageError::failed("the journal is damaged; restore a backup");
        let database = opened.map_err(damaged)?.map_err(broken)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let tables = Table::ALL.into_iter().map(|table| database.keyspace(name(table), options));
        let tables = tables.collect::<Result<_, _>>().map_err(broken)?;
        let mut storage = Self { database, tables, _lock: lock };
        storage.check_format(directory)?;
        Ok(storage)
    }

    /// A new directory is marked before anything else is written to it.
    fn check_format(&mut self, directory: &Path) -> Result<(), OpenError> {
        let found = match self.get(Table::Meta, FORMAT_ROW)? {
            Some(row) => row.as_slice().try_into().map_or(0, u64::from_be_bytes),
            None if self.scan(Table::Meta, &[], 1)?.is_empty() => {
                let row = Some(FORMAT.to_be_bytes().to_vec());
                self.commit(&[((Table::Meta, FORMAT_ROW.to_vec()), row)].into())?;
                FORMAT
            }
            None => 0,
        };
        if found == FORMAT {
            return Ok(());
        }
        Err(OpenError::Format { directory: directory.to_path_buf(), found })
    }

    fn table(&self, table: Table) -> Result<&Keyspace, StorageError> {
        find(&self.tables, table)
    }
}

fn find(tables: &[Keyspace], table: Table) -> Result<&Keyspace, StorageError> {
    let at = Table::ALL.iter().position(|t| *t == table);
    at.and_then(|at| tables.get(at)).ok_or_else(|| StorageError::failed("a table is missing"))
}

/// Takes the directory for this process, until it ends.
fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(|e| OpenError::Io(path.clone(), e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse(directory.to_path_buf())),
        Err(fs::TryLockError::Error(error)) => Err(OpenError::Io(path, error)),
    }
}

fn broken(error: fjall::Error) -> StorageError {
    StorageError::failed(error.to_string())
}

fn name(table: Table) -> &'static str {
    match table {
        Table::Meta => "meta",
        Table::Asset => "asset",
        Table::Keys => "account_keys",
        Table::Balance => "balance",
        Table::Payment => "payment",
        Table::Replay => "replay",
        Table::Due => "due",
        Table::Answer => "answer",
        Table::Deposit => "deposit",
        Table::Entry => "entry",
    }
}

fn collect(rows: impl Iterator<Item = fjall::Guard>, limit: usize) -> Result<Vec<Row>, StorageError> {
    let rows = rows.take(limit).map(|row| row.into_inner());
    rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(broken)).collect()
}

impl Storage for EmbeddedStorage {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let row = self.table(table)?.get(key).map_err(broken)?;
        Ok(row.map(|value| value.to_vec()))
    }

    fn scan(&mut self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        collect(self.table(table)?.range(from..), limit)
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
        collect(self.table(table)?.range(from..to), limit)
    }

    fn commit(&mut self, writes: &Writes) -> Result<(), StorageError> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for ((table, key), value) in &writes.rows {
            match value {
                Some(value) => batch.insert(self.table(*table)?, key.as_slice(), value.as_slice()),
                None => batch.remove(self.table(*table)?, key.as_slice()),
            }
        }
        batch.commit().map_err(broken)
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, StorageError> {
        Ok(Box::new(Moment { rows: self.database.snapshot(), tables: self.tables.clone() }))
    }
}

/// The rows of a directory at one moment.
struct Moment {
    rows: fjall::Snapshot,
    /// In the order of [`Table::ALL`].
    tables: Vec<Keyspace>,
}

impl Snapshot for Moment {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let row = self.rows.get(find(&self.tables, table)?, key).map_err(broken)?;
        Ok(row.map(|value| value.to_vec()))
    }

    fn scan(&mut self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        collect(self.rows.range(find(&self.tables, table)?, from..), limit)
    }
}
