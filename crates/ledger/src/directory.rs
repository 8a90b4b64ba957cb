//! Directories whose names survive a power cut: a name is durable once the directory that it is in was flushed.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a directory and those above it (mode 0700), and their names durable.
///
/// # Errors
/// Those of the operating system.
pub(crate) fn make(directory: &Path) -> io::Result<()> {
    let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let made: Vec<_> = directory.ancestors().take_while(missing).collect();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    for made in made.into_iter().rev() {
        flush(above(made))?;
    }
    // Whoever made it before may have been killed in between. Not everybody may read what is above.
    match flush(above(directory)) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        flushed => flushed,
    }
}

/// Makes the names in a directory durable.
///
/// # Errors
/// Those of the operating system.
pub(crate) fn flush(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The directory that a path is in.
pub(crate) fn above(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn directories_are_made_for_their_owner_alone_and_again_without_harm() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b");
        for _ in 0..2 {
            make(&path).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        }
        assert_eq!(above(Path::new("data")), Path::new("."));
    }
}
