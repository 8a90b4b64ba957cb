//! The embedded engine: a directory with an SQLite database, the ledger's key and a lock.
//!
//! One process runs a directory; others may read it while it runs (SQLite's WAL gives each reader a
//! consistent snapshot). Every commit is one transaction with `synchronous=FULL`: when it returns, the
//! write-ahead log has been flushed.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use farthing_protocol::SecretKey;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::storage::{Row, Storage, StorageError, Writes};
use crate::check::{self, Report};
use crate::keyfile::{self, KeyFileError};
use crate::rows::Table;

/// The layout of the directory that this program reads and writes.
const FORMAT: i64 = 1;
/// `FRTH`, so that other programs recognise the file.
const APPLICATION: i64 = 0x4652_5448;

const DATABASE: &str = "ledger.sqlite3";
const KEY: &str = "ledger.key";
const LOCK: &str = "lock";

/// A ledger directory that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process runs it.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// There is no ledger in it.
    #[error("{0} holds no ledger")]
    NoLedger(PathBuf),
    /// A newer program made it.
    #[error("{directory} has format {found}; this program reads format {FORMAT}")]
    Format {
        /// The directory.
        directory: PathBuf,
        /// The format it has.
        found: i64,
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
#[derive(Debug)]
pub struct EmbeddedStorage {
    database: Connection,
    _lock: Option<File>,
}

impl EmbeddedStorage {
    /// Opens a directory for this process alone, making it if it is not there, and reads the ledger's key.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(directory: &Path) -> Result<(Self, SecretKey), OpenError> {
        let io = |error| OpenError::Io(directory.to_path_buf(), error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io)?;
        let lock_path = directory.join(LOCK);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
        let lock = lock.map_err(|e| OpenError::Io(lock_path, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(OpenError::InUse(directory.to_path_buf())),
            Err(fs::TryLockError::Error(error)) => return Err(io(error)),
        }
        // The key is durable before anything is signed with it.
        let key = keyfile::load_or_create(directory.join(KEY))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let database =
            Connection::open_with_flags(canonical(directory)?.join(DATABASE), flags).map_err(broken)?;
        prepare(&database)?;
        if is_empty(&database)? {
            create(&database)?;
        }
        let storage = Self { database, _lock: Some(lock) };
        storage.check_format(directory)?;
        Ok((storage, key))
    }

    /// Opens a directory for reading, also while another process runs it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn read(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(DATABASE);
        if !path.exists() {
            return Err(OpenError::NoLedger(directory.to_path_buf()));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = Connection::open_with_flags(path, flags).map_err(broken)?;
        database.pragma_update(None, "query_only", true).map_err(broken)?;
        database.busy_timeout(std::time::Duration::from_secs(5)).map_err(broken)?;
        let storage = Self { database, _lock: None };
        storage.check_format(directory)?;
        Ok(storage)
    }

    /// Verifies the whole history in one consistent snapshot, also while another process writes.
    ///
    /// # Errors
    /// [`StorageError`] when the database cannot be read.
    pub fn check(&mut self) -> Result<Report, StorageError> {
        self.database.execute_batch("BEGIN").map_err(broken)?;
        let report = check::check(&mut |table, from, limit| self.scan(table, from, limit));
        self.database.execute_batch("COMMIT").map_err(broken)?;
        report
    }

    fn check_format(&self, directory: &Path) -> Result<(), OpenError> {
        let pragma = |name| self.database.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        if pragma("application_id").map_err(broken)? != APPLICATION {
            return Err(OpenError::NoLedger(directory.to_path_buf()));
        }
        let found = pragma("user_version").map_err(broken)?;
        if found == FORMAT {
            Ok(())
        } else {
            Err(OpenError::Format { directory: directory.to_path_buf(), found })
        }
    }
}

fn canonical(directory: &Path) -> Result<PathBuf, OpenError> {
    directory.canonicalize().map_err(|e| OpenError::Io(directory.to_path_buf(), e))
}

fn broken(error: rusqlite::Error) -> StorageError {
    StorageError(error.to_string())
}

fn prepare(database: &Connection) -> Result<(), StorageError> {
    database.busy_timeout(std::time::Duration::from_secs(5)).map_err(broken)?;
    database.pragma_update(None, "journal_mode", "WAL").map_err(broken)?;
    database.pragma_update(None, "synchronous", "FULL").map_err(broken)?;
    database.pragma_update(None, "cache_size", -65_536).map_err(broken)?;
    database.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn is_empty(database: &Connection) -> Result<bool, StorageError> {
    let count = database.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get::<_, i64>(0));
    Ok(count.map_err(broken)? == 0)
}

/// Makes all tables in one transaction, so that a crash leaves a ledger or none.
fn create(database: &Connection) -> Result<(), StorageError> {
    let mut sql = String::from("BEGIN;");
    for table in Table::ALL {
        let columns = match table {
            Table::Entry => "(k INTEGER PRIMARY KEY, v BLOB NOT NULL)",
            _ => "(k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID",
        };
        sql += &format!("CREATE TABLE IF NOT EXISTS {} {columns};", name(table));
    }
    sql += &format!("PRAGMA application_id={APPLICATION}; PRAGMA user_version={FORMAT}; COMMIT;");
    database.execute_batch(&sql).map_err(broken)
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

/// An entry's key as a row id: entries append, and are read in order.
fn row_id(key: &[u8]) -> i64 {
    let mut bytes = [0; 8];
    let length = key.len().min(8);
    bytes[..length].copy_from_slice(&key[..length]);
    // A longer key is the one after: scans ask so for what follows a row.
    let id = i64::try_from(u64::from_be_bytes(bytes)).unwrap_or(i64::MAX);
    id.saturating_add(i64::from(key.len() > 8))
}

impl Storage for EmbeddedStorage {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let sql = format!("SELECT v FROM {} WHERE k = ?1", name(table));
        let mut statement = self.database.prepare_cached(&sql).map_err(broken)?;
        let row = match table {
            Table::Entry => statement.query_row(params![row_id(key)], |row| row.get(0)),
            _ => statement.query_row(params![key], |row| row.get(0)),
        };
        row.optional().map_err(broken)
    }

    fn scan(&mut self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        let sql = format!("SELECT k, v FROM {} WHERE k >= ?1 ORDER BY k LIMIT ?2", name(table));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = self.database.prepare_cached(&sql).map_err(broken)?;
        let rows: Result<Vec<_>, _> = match table {
            Table::Entry => {
                let read = |row: &rusqlite::Row<'_>| {
                    Ok((row.get::<_, i64>(0)?.to_be_bytes().to_vec(), row.get::<_, Vec<u8>>(1)?))
                };
                statement.query_map(params![row_id(from), limit], read).map_err(broken)?.collect()
            }
            _ => {
                let read =
                    |row: &rusqlite::Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?));
                statement.query_map(params![from, limit], read).map_err(broken)?.collect()
            }
        };
        rows.map_err(broken)
    }

    fn commit(&mut self, writes: &Writes) -> Result<(), StorageError> {
        let transaction = self.database.transaction().map_err(broken)?;
        for ((table, key), value) in writes {
            let sql = match value {
                Some(_) => format!("INSERT OR REPLACE INTO {} (k, v) VALUES (?1, ?2)", name(*table)),
                None => format!("DELETE FROM {} WHERE k = ?1", name(*table)),
            };
            let mut statement = transaction.prepare_cached(&sql).map_err(broken)?;
            let done = match (table, value) {
                (Table::Entry, Some(value)) => statement.execute(params![row_id(key), value]),
                (Table::Entry, None) => statement.execute(params![row_id(key)]),
                (_, Some(value)) => statement.execute(params![key, value]),
                (_, None) => statement.execute(params![key]),
            };
            done.map_err(broken)?;
        }
        transaction.commit().map_err(broken)
    }
}
