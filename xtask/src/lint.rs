//! `cargo xtask lint`: the house rules, each one a check that says what is wrong and where.

use crate::step::{self, Fallible, heading};
use crate::{ignores, lengths, licences, sans_io, versions, workspace};
use clap::ValueEnum;
use std::path::Path;

/// Holds the house rules.
///
/// Runs every check, even after one has failed, and ends with the list of what failed. Name checks to run only those.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The checks to run; all of them when none is named.
    #[arg(value_enum)]
    checks: Vec<Check>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Check {
    /// rustfmt has nothing to change.
    Fmt,
    /// clippy is silent on all targets.
    Clippy,
    /// The documentation builds without a warning.
    Docs,
    /// The protocol crate and the ledger's core can reach no clock, file, socket, thread or random number.
    SansIo,
    /// Every dependency has a licence that we accept.
    Licences,
    /// Versions of dependencies are written in the workspace manifest only.
    Versions,
    /// No Rust file is longer than 800 lines; above 500 is reported.
    Lengths,
    /// Ignored tests say why, in the words that `cargo xtask test` runs them by.
    Ignores,
}

/// # Errors
/// The names of the checks that failed; each has printed its own findings before.
pub(crate) fn run(args: &Args) -> Fallible {
    let root = workspace::root()?;
    let checks = if args.checks.is_empty() { Check::value_variants() } else { &args.checks };
    let mut failed = Vec::new();
    for check in checks {
        let name = check.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        heading(&name);
        if let Err(failure) = check.run(&root) {
            println!("{failure}");
            failed.push(name);
        }
    }
    println!();
    if failed.is_empty() {
        println!("lint: {} checks passed", checks.len());
        Ok(())
    } else {
        Err(format!("lint failed: {}", failed.join(", ")))
    }
}

impl Check {
    fn run(self, root: &Path) -> Fallible {
        match self {
            Self::Fmt => fmt(root),
            Self::Clippy => clippy(root),
            Self::Docs => docs(root),
            Self::SansIo => sans_io::check(root),
            Self::Licences => licences::check(),
            Self::Versions => versions::check(),
            Self::Lengths => lengths::check(root),
            Self::Ignores => ignores::check(root),
        }
    }
}

fn fmt(root: &Path) -> Fallible {
    step::run(step::cargo(root).args(["fmt", "--all", "--", "--check"]))?;
    // The engine bench is outside the workspace, but in the house.
    let bench = "xtask/engine-bench/Cargo.toml";
    if !root.join(bench).exists() {
        return Ok(());
    }
    step::run(step::cargo(root).args(["fmt", "--manifest-path", bench, "--", "--check"]))
}

/// Everything but the purity lints, which are for the library code of pure crates: their tests may read vectors.
fn clippy(root: &Path) -> Fallible {
    let mut command = step::cargo(root);
    command.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    for lint in sans_io::LINTS {
        command.args(["-A", lint]);
    }
    step::run(&mut command)
}

/// Libraries, then binaries: the facade and the command share a name, and cargo documents only one at a time.
fn docs(root: &Path) -> Fallible {
    for targets in ["--lib", "--bins"] {
        step::run(
            step::cargo(root)
                .args(["doc", "--no-deps", "--workspace", targets])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )?;
    }
    Ok(())
}
