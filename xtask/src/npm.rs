//! Packages from npm that tests need: exactly those of a lock file, below the target directory.

use crate::step::{self, Fallible};
use crate::workspace;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What npm is told by; copied next to the packages.
const FILES: [&str; 2] = ["package.json", "package-lock.json"];
/// Written last: the lock file whose packages are there.
const DONE: &str = "installed";

/// The compiler and the chain of the tests' contracts, where the tests look for them.
///
/// # Errors
/// As [`install`].
pub(crate) fn contracts(root: &Path) -> Fallible<PathBuf> {
    install(root, "contracts", "tests/contracts")
}

/// The official client library of the Model Context Protocol, where the tests look for it.
///
/// # Errors
/// As [`install`].
pub(crate) fn mcp(root: &Path) -> Fallible<PathBuf> {
    install(root, "mcp", "tests/mcp")
}

/// What drives a browser, where the tests look for it.
///
/// # Errors
/// As [`install`].
pub(crate) fn browser(root: &Path) -> Fallible<PathBuf> {
    install(root, "browser", "tests/browser")
}

/// Makes the packages that `from` (a directory with a manifest and a lock file) asks for present in
/// `target/npm/<name>`, and returns that directory. Nothing is done when they are there already.
///
/// # Errors
/// When npm cannot be run or fails.
pub(crate) fn install(root: &Path, name: &str, from: &str) -> Fallible<PathBuf> {
    let from = root.join(from);
    let into = workspace::target()?.join("npm").join(name);
    let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let lock = read(&from.join(FILES[1]))?;
    if fs::read(into.join(DONE)).is_ok_and(|done| done == lock) {
        return Ok(into);
    }
    step::heading(&format!("npm: {name}"));
    let failure = |error: std::io::Error| format!("{}: {error}", into.display());
    fs::create_dir_all(&into).map_err(failure)?;
    for file in FILES {
        fs::write(into.join(file), read(&from.join(file))?).map_err(failure)?;
    }
    let mut npm = Command::new("npm");
    npm.current_dir(&into).stdin(Stdio::null());
    // Nothing of a package runs while it is installed.
    step::run(npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]))?;
    fs::write(into.join(DONE), lock).map_err(failure)?;
    Ok(into)
}
