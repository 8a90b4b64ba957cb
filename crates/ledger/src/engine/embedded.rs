//! The embedded engine: a directory with an fjall database, the ledger's key and a lock.
//!
//! One process has a directory at a time. Every commit is one atomic batch over all tables, and when it
//! returns, its journal has been flushed to the disk. Why fjall: `docs/adr/0001-embedded-engine.md`.

mod packs;
mod recent;
mod tables;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use farthing_protocol::SecretKey;

use self::tables::{Moment, Tables};
use super::committer::GENESIS;
use super::storage::{Row, Snapshot, Storage, StorageError, Writes};
use crate::check::{self, Report};
use crate::directory;
use crate::keyfile::{self, KeyFileError};
use crate::rows::{Genesis, Table};

/// The layout of the directory that this program reads and writes.
const FORMAT: u64 = 2;
/// The one before: a row for each entry, and no log. Its rows are read as they are; only the number is raised.
const WITHOUT_LOG: u64 = 1;
const FORMAT_ROW: &[u8] = b"format";
/// A backup is being restored here: there is no ledger yet.
const UNFINISHED_ROW: &[u8] = b"unfinished";

/// Rows that say what the directory is.
const MARKS: [&[u8]; 2] = [FORMAT_ROW, UNFINISHED_ROW];

const ROWS: &str = "rows";
pub(crate) const KEY: &str = "ledger.key";
const LOCK: &str = "lock";

/// A ledger directory that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{0} is in use by another process; stop it first")]
    InUse(PathBuf),
    /// There is no ledger in it.
    #[error("{0} holds no ledger")]
    NoLedger(PathBuf),
    /// A backup was being restored into it.
    #[error(
        "a backup was being restored into {0}, and not to its end: remove the directory and restore again"
    )]
    Unfinished(PathBuf),
    /// Another version of this program made it.
    #[error("{directory} has format {found} and this program reads format {FORMAT}: {}", made_by(*found))]
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
    tables: Tables,
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
        directory::make(directory).map_err(io)?;
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

    /// As [`read`](Self::read), with the ledger's key and what was fixed when it was made.
    pub(super) fn existing(directory: &Path) -> Result<(Self, SecretKey, Genesis), OpenError> {
        let mut storage = Self::read(directory)?;
        let key = keyfile::load(directory.join(KEY))?;
        let genesis = storage.get(Table::Meta, GENESIS)?;
        let genesis = genesis.ok_or_else(|| OpenError::NoLedger(directory.to_path_buf()))?;
        let genesis = Genesis::decode(&genesis).map_err(StorageError::from)?;
        Ok((storage, key, genesis))
    }

    /// Begins to fill a directory that [`claim`] has taken. Nobody opens it as a ledger before
    /// [`end_restore`](Self::end_restore).
    pub(crate) fn begin_restore(directory: &Path, lock: File) -> Result<Self, OpenError> {
        let mut storage = Self { tables: Tables::open(&directory.join(ROWS))?, _lock: lock };
        storage.commit(&[((Table::Meta, UNFINISHED_ROW.to_vec()), Some(Vec::new()))].into())?;
        Ok(storage)
    }

    /// Ends the filling with the rows that make it a ledger.
    pub(crate) fn end_restore(&mut self, meta: Vec<Row>) -> Result<(), StorageError> {
        let mut writes = Writes::default();
        for (key, value) in meta {
            writes.rows.insert((Table::Meta, key), Some(value));
        }
        writes.rows.insert((Table::Meta, FORMAT_ROW.to_vec()), Some(FORMAT.to_be_bytes().to_vec()));
        writes.rows.insert((Table::Meta, UNFINISHED_ROW.to_vec()), None);
        self.commit(&writes)
    }

    /// Verifies the whole history again.
    ///
    /// # Errors
    /// [`StorageError`] when the database cannot be read.
    pub fn check(&mut self) -> Result<Report, StorageError> {
        check::check(&mut |table, from, limit| self.scan(table, from, limit))
    }

    fn with_lock(directory: &Path, lock: File) -> Result<Self, OpenError> {
        let mut tables = Tables::open(&directory.join(ROWS))?;
        check_format(&mut tables, directory)?;
        tables.recover()?;
        Ok(Self { tables, _lock: lock })
    }
}

/// A new directory is marked before anything else is written to it.
fn check_format(tables: &mut Tables, directory: &Path) -> Result<(), OpenError> {
    let rows = tables.view()?;
    if rows.get(Table::Meta, UNFINISHED_ROW)?.is_some() {
        return Err(OpenError::Unfinished(directory.to_path_buf()));
    }
    let found = match rows.get(Table::Meta, FORMAT_ROW)? {
        Some(row) => Some(row.as_slice().try_into().map_or(0, u64::from_be_bytes)),
        None if rows.scan(Table::Meta, &[], None, 1)?.is_empty() => None,
        None => Some(0),
    };
    match found {
        Some(FORMAT) => Ok(()),
        None | Some(WITHOUT_LOG) => {
            let row = Some(FORMAT.to_be_bytes().to_vec());
            Ok(tables.commit(&[((Table::Meta, FORMAT_ROW.to_vec()), row)].into(), true)?)
        }
        Some(found) => Err(OpenError::Format { directory: directory.to_path_buf(), found }),
    }
}

/// Who is at fault for a format that this program does not read.
fn made_by(found: u64) -> &'static str {
    match found {
        0 => "it is damaged, or no ledger of farthing's",
        _ if found > FORMAT => "a newer farthing made it, so use that one",
        _ => "an older farthing made it, and no program has learned to bring it up to date",
    }
}

/// Takes a directory for this process that is empty or not there; the lock, and whether it was there.
pub(crate) fn claim(directory: &Path) -> Result<Option<(File, bool)>, OpenError> {
    let io = |error| OpenError::Io(directory.to_path_buf(), error);
    let was_there = directory.exists();
    directory::make(directory).map_err(io)?;
    let is_empty = || -> std::io::Result<bool> {
        for entry in fs::read_dir(directory)? {
            if entry?.file_name() != LOCK {
                return Ok(false);
            }
        }
        Ok(true)
    };
    // Once more when nobody else can make anything in it.
    if !is_empty().map_err(io)? {
        return Ok(None);
    }
    let lock = lock(directory)?;
    Ok(is_empty().map_err(io)?.then_some((lock, was_there)))
}

/// Takes the directory for this process, until it ends.
pub(crate) fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(|e| OpenError::Io(path.clone(), e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse(directory.to_path_buf())),
        Err(fs::TryLockError::Error(error)) => Err(OpenError::Io(path, error)),
    }
}

impl Storage for EmbeddedStorage {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.tables.view()?.get(table, key)
    }

    fn scan(&mut self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        self.tables.view()?.scan(table, from, None, limit)
    }

    fn between(
        &mut self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Row>, StorageError> {
        self.tables.view()?.scan(table, from, Some(to), limit)
    }

    fn commit(&mut self, writes: &Writes) -> Result<(), StorageError> {
        // A mark never waits: every version of this program finds it where it always was.
        let is_marked = MARKS.iter().any(|mark| writes.rows.contains_key(&(Table::Meta, mark.to_vec())));
        self.tables.commit(writes, is_marked)
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, StorageError> {
        Ok(Box::new(self.tables.moment()?))
    }
}

impl Snapshot for Moment {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.view().get(table, key)
    }

    fn scan(&mut self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        self.view().scan(table, from, None, limit)
    }
}

#[cfg(test)]
mod tests {
    use farthing_protocol::Amount;
    use fjall::{Database, KeyspaceCreateOptions, PersistMode};

    use super::*;
    use crate::admin::{Deposit, NewAsset};
    use crate::command::Signed;
    use crate::{Ledger, Options};

    /// The key of a directory's ledger.
    fn key(directory: &Path) -> SecretKey {
        keyfile::load_or_create(directory.join(KEY)).unwrap()
    }

    async fn deposit(ledger: &Ledger, issuer: &SecretKey, number: u8) {
        let asset = "XTS".parse().unwrap();
        let (account, reference) = (SecretKey::from_seed([number; 32]).public(), [number; 32]);
        let deposit = Deposit { asset, account, amount: Amount(10), reference };
        ledger.deposit(Signed::<Deposit>::sign(&ledger.id(), deposit, issuer)).await.unwrap();
    }

    /// A directory as the program of format 1 left it: every row in its table, each entry in a row of its own.
    async fn of_format_1(directory: &Path, issuer: &SecretKey) {
        let ledger = Ledger::memory(key(directory), Options::open_to_all()).unwrap();
        let asset = NewAsset { code: "XTS".parse().unwrap(), scale: 6, issuer: issuer.public() };
        ledger.register(asset).await.unwrap();
        for number in 10..20 {
            deposit(&ledger, issuer, number).await;
        }
        let mut rows = ledger.snapshot().await.unwrap();
        let database = Database::builder(directory.join(ROWS)).open().unwrap();
        let mut batch = database.batch().durability(Some(PersistMode::SyncData));
        let names = [
            "meta",
            "asset",
            "account_keys",
            "balance",
            "payment",
            "replay",
            "due",
            "answer",
            "deposit",
            "entry",
        ];
        for (table, name) in Table::ALL.into_iter().zip(names) {
            let keyspace = database.keyspace(name, KeyspaceCreateOptions::default).unwrap();
            for (key, value) in rows.scan(table, &[], usize::MAX).unwrap() {
                batch.insert(&keyspace, key, value);
            }
        }
        let meta = database.keyspace("meta", KeyspaceCreateOptions::default).unwrap();
        batch.insert(&meta, "format", 1_u64.to_be_bytes());
        batch.commit().unwrap();
    }

    fn format(directory: &Path) -> u64 {
        let database = Database::builder(directory.join(ROWS)).open().unwrap();
        let meta = database.keyspace("meta", KeyspaceCreateOptions::default).unwrap();
        u64::from_be_bytes(meta.get("format").unwrap().unwrap().as_ref().try_into().unwrap())
    }

    #[tokio::test]
    async fn a_directory_of_format_1_goes_on_as_one_of_format_2() {
        let directory = tempfile::tempdir().unwrap();
        let issuer = SecretKey::from_seed([2; 32]);
        of_format_1(directory.path(), &issuer).await;
        assert_eq!(format(directory.path()), 1);
        let before = EmbeddedStorage::read(directory.path()).unwrap().check().unwrap();
        assert_eq!((before.entries, before.faults), (12, vec![]));
        assert_eq!(format(directory.path()), 2);
        for number in [30, 31] {
            let ledger = Ledger::open(directory.path(), Options::open_to_all()).unwrap();
            tokio::join!(deposit(&ledger, &issuer, number), deposit(&ledger, &issuer, number + 2));
        }
        let after = EmbeddedStorage::read(directory.path()).unwrap().check().unwrap();
        assert_eq!((after.entries, after.faults), (16, vec![]));
        assert_eq!(after.assets["XTS"].issued, 140);
    }

    #[tokio::test]
    async fn a_directory_of_a_newer_format_is_refused_and_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        drop(EmbeddedStorage::open(directory.path()).unwrap());
        {
            let database = Database::builder(directory.path().join(ROWS)).open().unwrap();
            let meta = database.keyspace("meta", KeyspaceCreateOptions::default).unwrap();
            meta.insert("format", 3_u64.to_be_bytes()).unwrap();
        }
        let refused = EmbeddedStorage::read(directory.path());
        assert!(matches!(refused, Err(OpenError::Format { found: 3, .. })), "{refused:?}");
        assert_eq!(format(directory.path()), 3);
    }
}
