//! `cargo xtask test`: sets up what the tests need and runs all of them.

use crate::step::{self, Fallible, heading};
use crate::tally::{self, Runner, Tally};
use crate::{npm, parts, workspace};
use std::path::Path;
use std::process::Command;

/// Sets up what the tests need and runs all of them.
///
/// First the outside parts: what is missing is installed with apt, and when that
/// is not possible, the run fails and says what to type. The chain and the
/// compiler of the EVM tests, the client library that drives `farthing mcp`, and
/// what drives a browser come from npm into target/npm. Then three groups
/// of tests, all of them even when one fails:
///
///   tests     unit, integration and example tests, by cargo-nextest when it is
///             installed, else by cargo test
///   doctests  the programs in the documentation
///   outside   what plain `cargo test` ignores because it needs outside parts
///
/// The last line is the total: `N passed, N failed`.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Run only the tests whose name contains one of these, from all groups.
    ///
    /// Anything that starts with a dash goes to the test runner as it is, and the doctests are left out then.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    filter: Vec<String>,
}

/// One group of tests.
#[derive(Debug)]
struct Group {
    name: &'static str,
    runner: Runner,
    command: Command,
}

/// # Errors
/// When a part is missing for good, a test fails, or a filter matches no test.
pub(crate) fn run(args: &Args) -> Fallible {
    let root = workspace::root()?;
    parts::set_up()?;
    npm::contracts(&root)?;
    npm::mcp(&root)?;
    npm::browser(&root)?;

    let mut total = Tally::default();
    let mut failed = Vec::new();
    for mut group in groups(&root, &args.filter) {
        heading(&format!("{}: {}", group.name, step::shown(&group.command)));
        let (status, tally) = tally::count(group.runner, &mut group.command)?;
        total += tally;
        if !status.success() {
            failed.push(group.name);
        }
    }

    println!();
    let result = verdict(&failed, total, args.filter.is_empty());
    println!("{} passed, {} failed", total.passed, total.failed);
    result
}

fn verdict(failed: &[&str], total: Tally, everything: bool) -> Fallible {
    if !failed.is_empty() {
        return Err(format!("failed: {}", failed.join(", ")));
    }
    if total == Tally::default() {
        return Err(if everything { "no test was run" } else { "no test matches the filter" }.into());
    }
    Ok(())
}

fn groups(root: &Path, filter: &[String]) -> Vec<Group> {
    let nextest = step::succeeds(step::cargo(root).args(["nextest", "--version"]));
    let dashed = filter.iter().any(|argument| argument.starts_with('-'));
    let mut groups = vec![tests(root, nextest, false, filter)];
    if !dashed {
        groups.push(doctests(root, filter));
    }
    groups.push(tests(root, nextest, true, filter));
    groups
}

fn tests(root: &Path, nextest: bool, outside: bool, filter: &[String]) -> Group {
    let mut command = step::cargo(root);
    if nextest {
        // "No tests" is judged over all groups, because a filter may well match in one only.
        command.args(["nextest", "run", "--workspace", "--no-tests=pass"]);
        if outside {
            command.args(["--run-ignored", "only"]);
        }
        command.args(filter);
    } else {
        command.args([
            "test",
            "--workspace",
            "--no-fail-fast",
            "--lib",
            "--bins",
            "--tests",
            "--examples",
            "--",
        ]);
        if outside {
            command.arg("--ignored");
        }
        command.args(filter);
    }
    Group {
        name: if outside { "outside" } else { "tests" },
        runner: if nextest { Runner::Nextest } else { Runner::CargoTest },
        command,
    }
}

fn doctests(root: &Path, filter: &[String]) -> Group {
    let mut command = step::cargo(root);
    command.args(["test", "--workspace", "--no-fail-fast", "--doc", "--"]).args(filter);
    Group { name: "doctests", runner: Runner::CargoTest, command }
}

#[cfg(test)]
mod tests {
    use super::{doctests, tests, verdict};
    use crate::step::shown;
    use crate::tally::Tally;
    use std::path::Path;

    fn line(nextest: bool, outside: bool, filter: &[&str]) -> String {
        let filter: Vec<_> = filter.iter().map(ToString::to_string).collect();
        shown(&tests(Path::new("."), nextest, outside, &filter).command)
    }

    #[test]
    fn the_tests_that_need_outside_parts_run_apart_under_either_runner() {
        assert!(!line(true, false, &[]).contains("--run-ignored"));
        assert!(line(true, true, &[]).ends_with("--run-ignored only"));
        assert!(line(false, false, &[]).ends_with(" --"));
        assert!(line(false, true, &[]).ends_with("-- --ignored"));
    }

    #[test]
    fn a_filter_reaches_every_group() {
        assert!(line(true, false, &["t14"]).ends_with(" t14"));
        assert!(line(true, true, &["t14"]).ends_with(" t14"));
        assert!(line(false, true, &["t14"]).ends_with("-- --ignored t14"));
        assert!(shown(&doctests(Path::new("."), &["t14".to_owned()]).command).ends_with("--doc -- t14"));
    }

    #[test]
    fn a_run_of_nothing_fails_and_a_run_of_something_passes() {
        let some = Tally { passed: 1, failed: 0 };
        assert!(verdict(&[], Tally::default(), true).is_err());
        assert!(verdict(&[], Tally::default(), false).unwrap_err().contains("filter"));
        assert!(verdict(&["doctests"], some, true).unwrap_err().contains("doctests"));
        assert_eq!(verdict(&[], some, true), Ok(()));
    }
}
