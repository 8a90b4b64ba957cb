//! `cargo xtask interop`: installs the reference SDKs of x402 and runs the grid of `tests/interop`.

use crate::step::{self, Fallible, heading};
use crate::{npm, parts, workspace};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs payments between farthing and the reference SDKs of x402 in every combination.
///
/// The SDKs are installed below the target directory in the versions that
/// tests/interop pins, a private chain is started, and every client pays every
/// server through every facilitator. The table is printed and written to
/// tests/interop/RESULTS.md; a red cell is a failure. Before that, both sides
/// read each other's signed offers, receipts and payment identifiers.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Run only the cells whose names contain this, and write no table
    #[arg(value_name = "PART")]
    only: Option<String>,
}

/// # Errors
/// When a part cannot be installed, a program does not start, or a cell is red.
pub(crate) fn run(args: &Args) -> Fallible {
    let root = workspace::root()?;
    let programs = root.join("tests/interop");
    parts::set_up()?;
    npm::contracts(&root)?;
    let node = node(&root, &programs.join("node"))?;
    let python = python(&programs.join("python"))?;

    heading("interop");
    // With the features that the whole workspace's tests are built with: else most of it is built once more.
    let build = ["build", "--locked", "--quiet", "--workspace", "--tests", "--bin", "farthing-interop"];
    step::run(step::cargo(&root).args(build))?;
    let target = workspace::target()?;
    let program = target.join("debug/farthing-interop");
    let mut artifacts = Command::new(&program);
    step::run(artifacts.arg("artifacts").arg("--node").arg(&node).stdin(Stdio::null()))?;
    let mut grid = Command::new(program);
    grid.arg("grid").arg("--node").arg(node).arg("--python").arg(python);
    grid.arg("--programs").arg(programs.join("python")).arg("--logs").arg(target.join("interop/logs"));
    grid.arg("--results").arg(programs.join("RESULTS.md"));
    if let Some(part) = &args.only {
        grid.arg("--only").arg(part);
    }
    step::run(grid.stdin(Stdio::null()))
}

/// The packages of `from`, and its programs beside them: node looks for packages where a program is.
///
/// # Errors
/// When npm cannot be run or fails.
pub(crate) fn node(root: &Path, from: &Path) -> Fallible<PathBuf> {
    let into = workspace::target()?.join("npm/interop");
    // A package without content, which the manifest names in place of others.
    copy(&from.join("unused"), &into.join("unused"), "json")?;
    npm::install(root, "interop", "tests/interop/node")?;
    copy(from, &into, "mjs")?;
    Ok(into)
}

/// Copies the files with an extension from one directory to another.
fn copy(from: &Path, into: &Path, extension: &str) -> Fallible {
    let failure = |error: std::io::Error| format!("{}: {error}", from.display());
    fs::create_dir_all(into).map_err(failure)?;
    for entry in fs::read_dir(from).map_err(failure)? {
        let file = entry.map_err(failure)?.path();
        if let (Some(name), true) = (file.file_name(), file.extension().is_some_and(|it| it == extension)) {
            fs::copy(&file, into.join(name)).map_err(failure)?;
        }
    }
    Ok(())
}

/// A Python environment with exactly the packages that `from` pins. Nothing is done when it is there already.
fn python(from: &Path) -> Fallible<PathBuf> {
    let requirements = from.join("requirements.txt");
    let wanted = fs::read(&requirements).map_err(|error| format!("{}: {error}", requirements.display()))?;
    let into = workspace::target()?.join("interop/python");
    let done = into.join("installed");
    if fs::read(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(into);
    }
    heading("pip: interop");
    step::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&into))?;
    let mut pip = Command::new(into.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]);
    step::run(pip.arg("--requirement").arg(&requirements).stdin(Stdio::null()))?;
    fs::write(&done, wanted).map_err(|error| format!("{}: {error}", done.display()))?;
    Ok(into)
}
