//! Files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Removed unless it got its name.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes the file `path` (mode 0600) with what `write` writes, and then lets `verify` look at it: it is written
/// beside, flushed, and gets its name last. One that is there is never overwritten.
///
/// # Errors
/// A sentence for people.
pub(crate) fn make<T>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), String>,
    verify: impl FnOnce(&Path) -> Result<T, String>,
) -> Result<T, String> {
    let io = |error: io::Error| format!("{}: {error}", path.display());
    let name = path.file_name().ok_or_else(|| format!("{} is not the name of a file", path.display()))?;
    let taken = || format!("{} is there already; choose another name, or remove it", path.display());
    if path.symlink_metadata().is_ok() {
        return Err(taken());
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = directory.join(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
    let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary).map_err(io)?;
    let unfinished = Unfinished(temporary);
    let mut out = BufWriter::with_capacity(1 << 20, file);
    write(&mut out)?;
    let file = out.into_inner().map_err(|error| io(error.into_error()))?;
    file.sync_all().map_err(io)?;
    let verified = verify(&unfinished.0)?;
    // Fails when somebody else made a file of this name meanwhile.
    fs::hard_link(&unfinished.0, path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => taken(),
        _ => io(error),
    })?;
    drop(unfinished);
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)?;
    Ok(verified)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn hello(out: &mut dyn Write) -> Result<(), String> {
        out.write_all(b"hello").map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_appears_whole_with_its_mode_and_is_never_overwritten() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        make(&path, hello, |_| Ok(())).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"hello");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = make(&path, |_| panic!("not even begun"), |_| Ok(())).unwrap_err();
        assert!(again.contains("there already"), "{again}");
    }

    #[test]
    fn what_was_not_finished_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        let broken = |out: &mut dyn Write| hello(out).and(Err("cut".into()));
        assert_eq!(make(&path, broken, |_| Ok(())), Err("cut".into()));
        let verify = |part: &Path| match fs::read(part).unwrap().as_slice() {
            b"hello" => Err::<(), _>("not good".into()),
            other => panic!("{other:?}"),
        };
        assert_eq!(make(&path, hello, verify), Err("not good".into()));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
        make(&home.path().join("no/such/directory"), hello, |_| Ok(())).unwrap_err();
        make(Path::new("/"), hello, |_| Ok(())).unwrap_err();
    }
}
