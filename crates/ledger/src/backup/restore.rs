//! A directory with a ledger, made from a backup.

use std::fs::{self, File};
use std::io::{self, BufReader, Seek};
use std::path::{Path, PathBuf};

use super::{Backup, BackupError, Seed, Summary};
use crate::check::{self, Report};
use crate::engine::{EmbeddedStorage, KEY, OpenError, Row, Storage, StorageError, Writes, claim};
use crate::keyfile::{self, KeyFileError};
use crate::rows::Table;

/// Bytes of rows that are made durable at once.
const BATCH: usize = 4 << 20;

/// A backup that was not restored. Whatever had been made in the directory is gone again.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file cannot be opened.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// The file is no backup, or not a whole one. The directory was not touched.
    #[error("{0} cannot be restored: {1}")]
    Backup(PathBuf, BackupError),
    /// There is something in the directory.
    #[error("{0} is not empty: a backup is restored into a directory that is, or that is not there yet")]
    NotEmpty(PathBuf),
    /// The backup has no key, and none was given.
    #[error("the backup holds no key: give the ledger's own, from its ledger.key")]
    NoKey,
    /// The key is another ledger's.
    #[error("the key is not the one of the ledger in the backup, {0}")]
    OtherKey(farthing_protocol::Network),
    /// What the backup holds is no ledger that could be believed.
    #[error("the ledger in the backup cannot be believed: {0}")]
    Unsound(String),
    /// The directory cannot be written.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The key file cannot be written.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The rows cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A ledger that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What the backup held.
    pub summary: Summary,
    /// What the check said, which is good.
    pub report: Report,
}

/// Restores the backup in `file` into `directory`, which must be empty or not there. `key` is the seed of the
/// ledger's key when the backup does not hold it.
///
/// The whole file is verified before anything is made, and the whole ledger before the directory can be opened.
///
/// # Errors
/// [`RestoreError`]; what was made in the directory is removed then.
pub fn restore(file: &Path, directory: &Path, key: Option<Seed>) -> Result<Restored, RestoreError> {
    let unreadable = |error| RestoreError::File(file.to_path_buf(), error);
    let damaged = |error| RestoreError::Backup(file.to_path_buf(), error);
    let mut backup = File::open(file).map_err(unreadable)?;
    super::verify(&mut BufReader::new(&backup)).map_err(damaged)?;
    backup.rewind().map_err(unreadable)?;
    let mut reader = BufReader::with_capacity(1 << 20, backup);
    let mut backup = Backup::open(&mut reader).map_err(damaged)?;
    let seed = match (&key, &backup.seed) {
        (Some(seed), _) | (None, Some(seed)) => seed.clone(),
        (None, None) => return Err(RestoreError::NoKey),
    };
    if seed.key().public() != backup.genesis.key {
        return Err(RestoreError::OtherKey(backup.genesis.id().network()));
    }

    let Some((lock, was_there)) = claim(directory)? else {
        return Err(RestoreError::NotEmpty(directory.to_path_buf()));
    };
    let made = Made { directory: directory.to_path_buf(), was_there, keep: false };
    let mut storage = EmbeddedStorage::begin_restore(directory, lock)?;
    let meta = copy(&mut backup, &mut storage).map_err(|error| match error {
        Failure::Backup(error) => damaged(error),
        Failure::Storage(error) => error.into(),
    })?;
    let summary = backup.summary().map_err(damaged)?;
    // The rows that make the directory a ledger come last, so until then they are shown to the check only.
    let report = check::check(&mut |table, from, limit| match table {
        Table::Meta => {
            Ok(meta.iter().filter(|(key, _)| key.as_slice() >= from).take(limit).cloned().collect())
        }
        _ => storage.scan(table, from, limit),
    })?;
    if !report.balanced() {
        return Err(RestoreError::Unsound(report.faults.join("; ")));
    }
    keyfile::store(directory.join(KEY), &seed)?;
    storage.end_restore(meta)?;
    made.keep();
    Ok(Restored { summary, report })
}

enum Failure {
    Backup(BackupError),
    Storage(StorageError),
}

/// Copies all rows but those of the meta table, which it returns.
fn copy(backup: &mut Backup<'_>, storage: &mut EmbeddedStorage) -> Result<Vec<Row>, Failure> {
    let mut meta = Vec::new();
    let (mut writes, mut bytes) = (Writes::default(), 0);
    while let Some((table, (key, value))) = backup.row().map_err(Failure::Backup)? {
        if table == Table::Meta {
            meta.push((key, value));
            continue;
        }
        bytes += key.len() + value.len();
        writes.rows.insert((table, key), Some(value));
        if bytes >= BATCH {
            storage.commit(&std::mem::take(&mut writes)).map_err(Failure::Storage)?;
            bytes = 0;
        }
    }
    storage.commit(&writes).map_err(Failure::Storage)?;
    meta.sort();
    Ok(meta)
}

/// What a restore made in a directory, and removes again unless it is kept.
struct Made {
    directory: PathBuf,
    /// Whether the directory was there before.
    was_there: bool,
    keep: bool,
}

impl Made {
    fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // What cannot be removed cannot be opened either: it is marked as unfinished.
        if self.was_there {
            for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
                let path = entry.path();
                let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            }
        } else {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}
