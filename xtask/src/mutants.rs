//! `cargo xtask mutants`: changes the ledger's core on purpose and sees whether a test notices.

use std::fs;
use std::path::Path;

use crate::step::{self, Fallible};
use crate::workspace;

/// Changes the ledger's core line by line and runs its tests on each change.
///
/// cargo-mutants does the work; it is built into target/tools when it is not there. What cannot be killed is
/// listed in .cargo/mutants.toml with the reason. Fails when fewer than 90 % of the others are killed. Takes
/// about half an hour; `--iterate` tries only what survived the last time.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Passed to cargo-mutants as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

const TOOLS: &str = "target/tools";
const OUTPUT: &str = "target/mutants";
/// Percent of mutants that the tests must kill.
const TARGET: usize = 90;

/// # Errors
/// When cargo-mutants cannot be had, or too many mutants survive.
pub(crate) fn run(args: &Args) -> Fallible {
    let root = workspace::root()?;
    let program = root.join(TOOLS).join("bin/cargo-mutants");
    if !program.is_file() {
        step::heading("cargo-mutants");
        let install =
            ["install", "cargo-mutants", "--version", "^27", "--locked", "--debug", "--root", TOOLS];
        step::run(step::cargo(&root).args(install))?;
    }
    fs::create_dir_all(root.join(OUTPUT)).map_err(|error| format!("{OUTPUT}: {error}"))?;
    // It ends with an error when anything survives; what counts is how much.
    let tests = ["--", "--lib", "--test", "conformance", "--test", "core"];
    let mut mutants = std::process::Command::new(&program);
    mutants.current_dir(&root).args(["mutants", "--package", "farthing-ledger", "--no-default-features"]);
    mutants.args(["--features", "engine", "--baseline", "skip", "--timeout", "120", "--output", OUTPUT]);
    if step::succeeds(step::cargo(&root).args(["nextest", "--version"])) {
        mutants.args(["--test-tool", "nextest"]);
    }
    let ended = step::run(mutants.args(&args.arguments).args(tests));
    let found = Found::read(&root.join(OUTPUT).join("mutants.out")).map_err(|why| match &ended {
        Err(failure) => format!("{failure}; {why}"),
        Ok(()) => why,
    })?;
    found.verdict()
}

/// Mutants by what became of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    killed: usize,
    survived: usize,
}

impl Found {
    fn read(output: &Path) -> Fallible<Self> {
        let lines = |name: &str| {
            let text = fs::read_to_string(output.join(name)).map_err(|error| format!("{name}: {error}"))?;
            Ok::<_, String>(text.lines().count())
        };
        // A mutant that makes the tests hang is noticed, too.
        Ok(Self { killed: lines("caught.txt")? + lines("timeout.txt")?, survived: lines("missed.txt")? })
    }

    fn verdict(self) -> Fallible {
        let Self { killed, survived } = self;
        let all = killed + survived;
        if all == 0 {
            return Err("no mutant was tried".into());
        }
        println!("{killed} of {all} mutants killed ({} %), {survived} survived", killed * 100 / all);
        if killed * 100 >= all * TARGET {
            return Ok(());
        }
        Err(format!("fewer than {TARGET} % of the mutants were killed"))
    }
}

#[cfg(test)]
mod tests {
    use super::Found;

    #[test]
    fn nine_of_ten_are_enough_and_eight_are_not() {
        assert_eq!(Found { killed: 9, survived: 1 }.verdict(), Ok(()));
        assert!(Found { killed: 8, survived: 2 }.verdict().is_err());
        assert!(Found { killed: 0, survived: 0 }.verdict().is_err());
    }

    #[test]
    fn what_was_found_is_counted_by_line() {
        let output = std::env::temp_dir().join(format!("farthing-mutants-{}", std::process::id()));
        std::fs::create_dir_all(&output).unwrap();
        for (name, text) in [("caught.txt", "a\nb\n"), ("timeout.txt", "c\n"), ("missed.txt", "")] {
            std::fs::write(output.join(name), text).unwrap();
        }
        let found = Found::read(&output).unwrap();
        std::fs::remove_dir_all(&output).unwrap();
        assert_eq!(found, Found { killed: 3, survived: 0 });
    }
}
