//! Key files: one ed25519 seed as 64 hex digits, readable by its owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use farthing_protocol::SecretKey;
use farthing_protocol::signature::lower_hex;

use crate::backup::Seed;
use crate::directory;

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Others could read it.
    #[error(
        "{path} can be read by others (mode {mode:o}): run chmod 600 on it, and replace the key if it leaked"
    )]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It does not hold a key.
    #[error("{0} must hold 64 lower-case hex digits and nothing else")]
    Content(PathBuf),
    /// The operating system refused.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// No randomness for a new key.
    #[error("no randomness for a new key: {0}")]
    Random(getrandom::Error),
}

/// Reads the key in `path`, or draws a new one and makes it durable there (mode 0600) before returning.
///
/// # Errors
/// [`KeyFileError`]. An existing file is never overwritten.
pub fn load_or_create(path: impl AsRef<Path>) -> Result<SecretKey, KeyFileError> {
    let path = path.as_ref();
    match load(path) {
        Err(KeyFileError::Io(_, error)) if error.kind() == io::ErrorKind::NotFound => create(path),
        loaded => loaded,
    }
}

/// Reads the key in `path`.
///
/// # Errors
/// [`KeyFileError`].
pub fn load(path: impl AsRef<Path>) -> Result<SecretKey, KeyFileError> {
    Ok(seed(path)?.key())
}

/// Reads what a key is made of, to be kept in a [backup](crate::backup).
///
/// # Errors
/// [`KeyFileError`].
pub fn seed(path: impl AsRef<Path>) -> Result<Seed, KeyFileError> {
    let path = path.as_ref();
    let io = |error| KeyFileError::Io(path.to_path_buf(), error);
    let mut file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Permissions { path: path.to_path_buf(), mode });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(io)?;
    let seed = lower_hex::<32>(text.trim_end()).map(Seed);
    seed.ok_or_else(|| KeyFileError::Content(path.to_path_buf()))
}

/// Draws a key, unless somebody else was first.
fn create(path: &Path) -> Result<SecretKey, KeyFileError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(KeyFileError::Random)?;
    let seed = Seed(seed);
    match store(path, &seed) {
        Err(KeyFileError::Io(_, error)) if error.kind() == io::ErrorKind::AlreadyExists => load(path),
        stored => stored.map(|()| seed.key()),
    }
}

/// Keeps a key in a new file. The finished file appears at once or not at all: it is written beside, flushed, and
/// linked into place, which fails when there is one.
///
/// # Errors
/// [`KeyFileError`].
pub fn store(path: impl AsRef<Path>, seed: &Seed) -> Result<(), KeyFileError> {
    let path = path.as_ref();
    let io = |error| KeyFileError::Io(path.to_path_buf(), error);
    let directory = directory::above(path);
    directory::make(directory).map_err(io)?;
    let temporary = directory.join(format!(".{}.key", seed.key().public()));
    let mut file =
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary).map_err(io)?;
    let written = writeln!(file, "{}", hex::encode(seed.0)).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&temporary, path));
    let _ = fs::remove_file(&temporary);
    linked.map_err(io)?;
    directory::flush(directory).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_drawn_once_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys/a.key");
        let first = load_or_create(&path).unwrap();
        let again = load_or_create(&path).unwrap();
        assert_eq!(first.public(), again.public());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key");
        load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load(&path), Err(KeyFileError::Permissions { mode: 0o644, .. })));
    }

    #[test]
    fn a_damaged_key_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key");
        load_or_create(&path).unwrap();
        fs::write(&path, "00").unwrap();
        assert!(matches!(load_or_create(&path), Err(KeyFileError::Content(_))));
        assert_eq!(fs::read(&path).unwrap(), b"00");
    }
}
