//! Records in a directory: an fjall database and a lock, for one process at a time.
//!
//! One thread makes all changes. Those that come while it flushes wait and are flushed together, so that a
//! flush is paid for by as many as there are; whoever is alone waits for its own. Readers see only what has
//! been flushed.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::future::ready;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use farthing_protocol::rail::BoxFuture;
use farthing_protocol::records::{Page, Record, Records, RecordsError, Replaced};
use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch as WriteBatch, PersistMode};
use tokio::sync::{mpsc, oneshot};

use super::{check_change, check_key, is_expected, page};
use crate::directory;
use crate::engine::{OpenError, lock_directory};

/// The layout of the directory that this program reads and writes.
const FORMAT: u64 = 1;
const FORMAT_ROW: &[u8] = b"format";
/// Where the database is in its directory.
const DATABASE: &str = "records";
/// Where fjall has its keyspaces, within its directory.
const KEYSPACES: &str = "keyspaces";

/// Blocks that are kept in memory.
const CACHE_BYTES: u64 = 16 << 20;
/// Writes of one keyspace that are kept in memory until they are sorted into files.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// Threads that sort and merge files.
const WORKERS: usize = 1;
/// Changes that wait for the thread at most; more wait for room.
const QUEUE: usize = 1024;
/// The most changes that are flushed together, and about how many bytes.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 4 << 20;

/// A directory of records that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum RecordsOpenError {
    /// Another process has it.
    #[error("{0} is in use by another process; stop it first")]
    InUse(PathBuf),
    /// Another version of this program made it, or something else did.
    #[error("{directory} has format {found} of records and this program reads format {FORMAT}")]
    Format {
        /// The directory.
        directory: PathBuf,
        /// The format it has; 0 when it has none.
        found: u64,
    },
    /// The operating system refused.
    #[error("{0}: {1}")]
    Io(PathBuf, std::io::Error),
    /// The database cannot be read.
    #[error("the database in {0}: {1}")]
    Damaged(PathBuf, String),
}

impl From<OpenError> for RecordsOpenError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::InUse(path) => Self::InUse(path),
            OpenError::Io(path, error) => Self::Io(path, error),
            other => Self::Damaged(PathBuf::new(), other.to_string()),
        }
    }
}

/// Records in a directory. Dropping it waits for the changes that were asked for.
pub struct EmbeddedRecords {
    rows: Rows,
    /// Gone only while this is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// Released last, when the database is closed.
    _lock: File,
}

impl fmt::Debug for EmbeddedRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedRecords").finish_non_exhaustive()
    }
}

/// What waits for the thread.
enum Job {
    Replace {
        key: Vec<u8>,
        expected: Option<Vec<u8>>,
        new: Option<Record>,
        reply: oneshot::Sender<Result<Replaced, RecordsError>>,
    },
    Purge {
        now: u64,
        limit: usize,
        reply: oneshot::Sender<Result<usize, RecordsError>>,
    },
}

impl EmbeddedRecords {
    /// Opens a directory, making it if it is not there.
    ///
    /// # Errors
    /// [`RecordsOpenError`].
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, RecordsOpenError> {
        let directory = directory.as_ref();
        directory::make(directory).map_err(|error| RecordsOpenError::Io(directory.to_path_buf(), error))?;
        let lock = lock_directory(directory)?;
        let rows = Rows::open(directory)?;
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let mut writer = Writer { rows: rows.clone(), purged: 0 };
        let thread = std::thread::Builder::new().name("records".into());
        let thread = thread.spawn(move || writer.run(waiting));
        let thread = thread.map_err(|error| RecordsOpenError::Io(directory.to_path_buf(), error))?;
        Ok(Self { rows, jobs: Some(jobs), thread: Some(thread), _lock: lock })
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, RecordsError>>) -> Job,
    ) -> Result<T, RecordsError> {
        let stopped = || RecordsError::Unavailable("the store is closed until it is opened again".into());
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.send(job(reply)).await.map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(RecordsError::Unknown("the store stopped".into())))
    }
}

impl Drop for EmbeddedRecords {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Records for EmbeddedRecords {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Record>, RecordsError>> {
        // A lookup in memory, or of one block: shorter than handing it to another thread.
        Box::pin(ready(check_key(key).and_then(|()| self.rows.get(key))))
    }

    fn replace<'a>(
        &'a self,
        key: &'a [u8],
        expected: Option<&'a [u8]>,
        new: Option<Record>,
    ) -> BoxFuture<'a, Result<Replaced, RecordsError>> {
        Box::pin(async move {
            let new = check_change(key, new)?;
            let (key, expected) = (key.to_vec(), expected.map(<[u8]>::to_vec));
            self.ask(|reply| Job::Replace { key, expected, new, reply }).await
        })
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, RecordsError>> {
        Box::pin(ready(self.rows.scan(prefix, after, limit)))
    }

    fn purge(&self, now: u64, limit: usize) -> BoxFuture<'_, Result<usize, RecordsError>> {
        Box::pin(self.ask(move |reply| Job::Purge { now, limit, reply }))
    }
}

/// What has been flushed.
#[derive(Clone)]
struct Rows {
    database: Database,
    /// `until`, 8 bytes, and the value, by key.
    records: Keyspace,
    /// `until` and key, so that a purge finds what is over.
    due: Keyspace,
    /// A commit failed: what is read may not be what was written.
    failed: Arc<AtomicBool>,
}

impl Rows {
    fn open(directory: &Path) -> Result<Self, RecordsOpenError> {
        let path = directory.join(DATABASE);
        let io = |error| RecordsOpenError::Io(path.clone(), error);
        if !path.exists() {
            // A database that was made only in part would not open: it appears when it is whole.
            let new = path.with_extension("new");
            if new.exists() {
                fs::remove_dir_all(&new).map_err(io)?;
            }
            make(&new).map_err(|error| RecordsOpenError::Damaged(new.clone(), error.to_string()))?;
            directory::flush(&new.join(KEYSPACES)).map_err(io)?;
            directory::flush(&new).and_then(|()| fs::rename(&new, &path)).map_err(io)?;
        }
        // Whoever made it may have been killed before it did this.
        directory::flush(directory).map_err(io)?;
        let damaged = |why: String| RecordsOpenError::Damaged(path.clone(), why);
        // fjall 3.1 asserts where a damaged journal has lengths that do not fit: that is a refusal, too.
        let opened = catch_unwind(AssertUnwindSafe(|| open_database(&path)));
        let database = opened.map_err(|_| damaged("its journal is damaged".into()))?;
        let database = database.map_err(|error| damaged(error.to_string()))?;
        let broken = |error: fjall::Error| damaged(error.to_string());
        // Nothing else is touched before the format is known.
        let format = keyspace(&database, "meta").and_then(|meta| meta.get(FORMAT_ROW)).map_err(broken)?;
        let found = format.and_then(|row| row.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes);
        if found != FORMAT {
            return Err(RecordsOpenError::Format { directory: directory.to_path_buf(), found });
        }
        let records = keyspace(&database, "records").map_err(broken)?;
        let due = keyspace(&database, "due").map_err(broken)?;
        Ok(Self { database, records, due, failed: Arc::default() })
    }

    fn check(&self) -> Result<(), RecordsError> {
        if self.failed.load(Ordering::Acquire) {
            let why = "a change could not be flushed: open the store again";
            return Err(RecordsError::Unavailable(why.into()));
        }
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Record>, RecordsError> {
        self.check()?;
        self.records.get(key).map_err(unavailable)?.map(|row| decode(&row)).transpose()
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Page, RecordsError> {
        self.check()?;
        let Some((from, to)) = page(prefix, after) else { return Ok(Vec::new()) };
        let found = match to {
            Some(to) => self.records.range(from..to),
            None => self.records.range(from..),
        };
        let read = |row: Guard| {
            let (key, row) = row.into_inner().map_err(unavailable)?;
            Ok((key.to_vec(), decode(&row)?))
        };
        found.take(limit).map(read).collect()
    }
}

/// The thread that makes changes.
struct Writer {
    rows: Rows,
    /// Unix seconds: nothing that is over before this is left. A purge does not walk over the traces of those
    /// before it.
    purged: u64,
}

/// What a batch has done to a record.
struct Change {
    before: Option<Record>,
    now: Option<Record>,
}

/// What a job waits for, found before the flush, given out after it.
enum Answer {
    Replaced(oneshot::Sender<Result<Replaced, RecordsError>>, Result<Replaced, RecordsError>),
    Purged(oneshot::Sender<Result<usize, RecordsError>>, Result<usize, RecordsError>),
}

impl Writer {
    fn run(&mut self, mut waiting: mpsc::Receiver<Job>) {
        while let Some(first) = waiting.blocking_recv() {
            let (mut jobs, mut bytes) = (vec![], 0);
            let mut next = Some(first);
            while let Some(job) = next {
                bytes += job.bytes();
                jobs.push(job);
                let is_full = jobs.len() >= BATCH || bytes >= BATCH_BYTES;
                next = if is_full { None } else { waiting.try_recv().ok() };
            }
            self.batch(jobs);
        }
    }

    fn batch(&mut self, jobs: Vec<Job>) {
        let mut changes = HashMap::new();
        let apply = |job| match job {
            Job::Replace { key, expected, new, reply } => {
                Answer::Replaced(reply, self.replace(&mut changes, key, expected.as_deref(), new))
            }
            Job::Purge { now, limit, reply } => Answer::Purged(reply, self.purge(&mut changes, now, limit)),
        };
        let answers: Vec<_> = jobs.into_iter().map(apply).collect();
        let flushed = self.flush(changes);
        for answer in answers {
            answer.give(&flushed);
        }
    }

    fn replace(
        &mut self,
        changes: &mut HashMap<Vec<u8>, Change>,
        key: Vec<u8>,
        expected: Option<&[u8]>,
        new: Option<Record>,
    ) -> Result<Replaced, RecordsError> {
        let there = match changes.get(&key) {
            Some(change) => change.now.clone(),
            None => self.rows.get(&key)?,
        };
        if !is_expected(there.as_ref(), expected) {
            return Ok(Replaced::Found(there));
        }
        if let Some(new) = &new {
            self.purged = self.purged.min(new.until);
        }
        changes.entry(key).or_insert(Change { before: there, now: None }).now = new;
        Ok(Replaced::Done)
    }

    fn purge(
        &mut self,
        changes: &mut HashMap<Vec<u8>, Change>,
        now: u64,
        limit: usize,
    ) -> Result<usize, RecordsError> {
        self.rows.check()?;
        let due = self.rows.due.range(self.purged.to_be_bytes()..now.to_be_bytes());
        let (mut removed, mut reached) = (0, now);
        for row in due {
            let row = row.key().map_err(unavailable)?;
            let (until, key) = row.split_first_chunk().ok_or_else(damaged)?;
            if removed == limit {
                reached = u64::from_be_bytes(*until);
                break;
            }
            // What this batch has changed, the next purge looks at.
            if !changes.contains_key(key) {
                changes.insert(key.to_vec(), Change { before: self.rows.get(key)?, now: None });
                removed += 1;
            }
        }
        let changed = changes.values().filter_map(|change| Some(change.now.as_ref()?.until));
        self.purged = changed.min().unwrap_or(reached).min(reached);
        Ok(removed)
    }

    /// Makes all changes durable, or nobody knows.
    fn flush(&mut self, changes: HashMap<Vec<u8>, Change>) -> Result<(), RecordsError> {
        let batch = WriteBatch::with_capacity(self.rows.database.clone(), 2 * changes.len());
        let mut batch = batch.durability(Some(PersistMode::SyncData));
        let mut is_empty = true;
        for (key, Change { before, now }) in changes {
            if before == now {
                continue;
            }
            is_empty = false;
            let [before, until] = [&before, &now].map(|record| record.as_ref().map(|record| record.until));
            if before != until {
                if let Some(before) = before {
                    batch.remove(&self.rows.due, due(before, &key));
                }
                if let Some(until) = until {
                    batch.insert(&self.rows.due, due(until, &key), []);
                }
            }
            match now {
                Some(record) => batch.insert(&self.rows.records, key, encode(&record)),
                None => batch.remove(&self.rows.records, key),
            }
        }
        if is_empty {
            return Ok(());
        }
        batch.commit().map_err(|error| {
            self.rows.failed.store(true, Ordering::Release);
            tracing::error!(%error, "records could not be flushed; the store is closed");
            RecordsError::Unknown(error.to_string())
        })
    }
}

impl Answer {
    /// A failed flush takes back what was found before it.
    fn give(self, flushed: &Result<(), RecordsError>) {
        match self {
            Self::Replaced(reply, found) => drop(reply.send(found.and_then(|f| flushed.clone().map(|()| f)))),
            Self::Purged(reply, found) => drop(reply.send(found.and_then(|f| flushed.clone().map(|()| f)))),
        }
    }
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Replace { key, new, .. } => key.len() + new.as_ref().map_or(0, |record| record.value.len()),
            Self::Purge { limit, .. } => limit.saturating_mul(64),
        }
    }
}

/// Makes a database with everything that it is opened with.
fn make(path: &Path) -> fjall::Result<()> {
    let database = open_database(path)?;
    for name in ["records", "due"] {
        keyspace(&database, name)?;
    }
    keyspace(&database, "meta")?.insert(FORMAT_ROW, FORMAT.to_be_bytes())?;
    database.persist(PersistMode::SyncAll)
}

fn open_database(path: &Path) -> fjall::Result<Database> {
    Database::builder(path).cache_size(CACHE_BYTES).worker_threads(WORKERS).open()
}

fn keyspace(database: &Database, name: &str) -> fjall::Result<Keyspace> {
    let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
    database.keyspace(name, options)
}

fn due(until: u64, key: &[u8]) -> Vec<u8> {
    [until.to_be_bytes().as_slice(), key].concat()
}

fn encode(record: &Record) -> Vec<u8> {
    [record.until.to_be_bytes().as_slice(), &record.value].concat()
}

fn decode(row: &[u8]) -> Result<Record, RecordsError> {
    let (until, value) = row.split_first_chunk().ok_or_else(damaged)?;
    Ok(Record { until: u64::from_be_bytes(*until), value: value.to_vec() })
}

fn damaged() -> RecordsError {
    RecordsError::Unavailable("a record is damaged".into())
}

fn unavailable(error: fjall::Error) -> RecordsError {
    RecordsError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests;
