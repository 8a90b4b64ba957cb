//! The file itself: only its owner's, replaced whole or not at all, by one process at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::KeystoreError;

/// Bytes of the largest file that is read.
const MAX_FILE: u64 = 256 << 10;

/// Reads the file, unless others can use it.
pub(super) fn read(path: &Path) -> Result<String, KeystoreError> {
    let io = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => KeystoreError::Missing(path.to_path_buf()),
        _ => KeystoreError::Io(path.to_path_buf(), error),
    };
    let damaged = |why| KeystoreError::Damaged { path: path.to_path_buf(), why };
    // What is no file is not even opened: a pipe would wait for somebody to write.
    if !fs::metadata(path).map_err(io)?.is_file() {
        return Err(damaged("it is not a file"));
    }
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeystoreError::Permissions { path: path.to_path_buf(), mode });
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(damaged("it is too large"));
    }
    String::from_utf8(bytes).map_err(|_| damaged("it is not a wallet"))
}

/// Where the file is behind symbolic links, with its directory made (mode 0700).
pub(super) fn resolve(path: &Path) -> Result<PathBuf, KeystoreError> {
    let io = |error| KeystoreError::Io(path.to_path_buf(), error);
    match fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(above(path)).map_err(io)?;
            let file = path.file_name().ok_or_else(|| io(ErrorKind::InvalidInput.into()))?;
            Ok(fs::canonicalize(above(path)).map_err(io)?.join(file))
        }
        resolved => resolved.map_err(io),
    }
}

/// The right to replace a file, until it is dropped or the process ends.
pub(super) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Waits for it. The lock is a file beside, which stays: the file itself is another one after each replacement.
    pub(super) fn of(path: &Path) -> Result<Self, KeystoreError> {
        let beside = with(path, ".lock");
        let io = |error| KeystoreError::Io(beside.clone(), error);
        let options = || {
            let mut options = OpenOptions::new();
            options.create(true).truncate(false).write(true).mode(0o600);
            options
        };
        let file = options().open(&beside).map_err(io)?;
        file.lock().map_err(io)?;
        Ok(Self { path: path.to_path_buf(), _file: file })
    }

    /// Writes beside, flushes, renames, and flushes the directory: a power cut leaves the old file or the new one.
    pub(super) fn replace(&self, bytes: &[u8]) -> Result<(), KeystoreError> {
        let beside = with(&self.path, ".new");
        let replaced = self.write(&beside, bytes);
        if replaced.is_err() {
            let _ = fs::remove_file(&beside);
        }
        replaced.map_err(|error| KeystoreError::Io(self.path.clone(), error))
    }

    fn write(&self, beside: &Path, bytes: &[u8]) -> io::Result<()> {
        // One that a killed process left. Nobody else writes one now.
        match fs::remove_file(beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(beside, &self.path)?;
        File::open(above(&self.path))?.sync_all()
    }
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn above(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
