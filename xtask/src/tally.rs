//! Runs a test runner, passes its output through, and adds up the closing summaries it prints.
//!
//! No runner knows the total of a whole `cargo xtask test`: nextest closes one run, cargo test closes one binary.

use crate::step::{Fallible, shown};
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::ops::AddAssign;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

/// How many tests passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Whose closing summary is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runner {
    /// `Summary [ 0.1s] 12 tests run: 10 passed, 2 failed, 3 skipped`, once a run.
    Nextest,
    /// `test result: ok. 10 passed; 0 failed; ...`, once a binary.
    CargoTest,
}

/// Runs a test command and counts.
///
/// # Errors
/// When it cannot be started. A failing run is no error here: its status is returned.
pub(crate) fn count(runner: Runner, command: &mut Command) -> Fallible<(ExitStatus, Tally)> {
    if std::io::stdout().is_terminal() && std::env::var_os("CARGO_TERM_COLOR").is_none() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let text = shown(command);
    let failure = |error| format!("cannot run {text}: {error}");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failure)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let tally = thread::scope(|scope| {
        let errors = scope.spawn(move || pass_through(runner, stderr, std::io::stderr()));
        let mut tally = pass_through(runner, stdout, std::io::stdout());
        tally += errors.join().unwrap_or_default();
        tally
    });
    let status = child.wait().map_err(failure)?;
    Ok((status, tally))
}

/// Copies a stream line by line and counts; a reader that went away does not stop the counting.
fn pass_through(runner: Runner, from: Option<impl Read>, mut to: impl Write) -> Tally {
    let mut tally = Tally::default();
    let Some(from) = from else { return tally };
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let _ = to.write_all(&line).and_then(|()| to.flush());
        if let Some(more) = summary(runner, &plain(&String::from_utf8_lossy(&line))) {
            tally += more;
        }
        line.clear();
    }
    tally
}

/// What a runner's closing line says; `None` for any other line.
fn summary(runner: Runner, line: &str) -> Option<Tally> {
    let counts = match runner {
        Runner::Nextest => line.trim_start().strip_prefix("Summary [")?.split_once("run:")?.1,
        Runner::CargoTest => line.strip_prefix("test result: ")?.split_once(". ")?.1,
    };
    let mut tally = Tally::default();
    for count in without_parentheses(counts).split([',', ';']) {
        let Some((number, what)) = count.trim().split_once(' ') else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        match what.trim() {
            "passed" => tally.passed += number,
            "failed" | "timed out" | "exec failed" => tally.failed += number,
            _ => {}
        }
    }
    Some(tally)
}

/// The text without `(1 slow, 2 leaky)` and the like.
fn without_parentheses(text: &str) -> String {
    let mut depth = 0_u32;
    text.chars()
        .filter(|&c| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => return depth == 0,
            }
            false
        })
        .collect()
}

/// The line without terminal colours (`ESC [ ... letter`).
fn plain(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars.by_ref().skip(1).find(char::is_ascii_alphabetic);
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Runner, Tally, pass_through, plain, summary};

    #[test]
    fn the_summary_of_nextest_is_read_whatever_it_mentions_besides() {
        let read = |line| summary(Runner::Nextest, line);
        assert_eq!(
            read("     Summary [   0.012s] 12 tests run: 12 passed (1 slow, 2 leaky), 3 skipped"),
            Some(Tally { passed: 12, failed: 0 })
        );
        assert_eq!(
            read(
                "     Summary [   9.1s] 9/12 tests run: 5 passed, 2 failed, 1 exec failed, 1 timed out, 0 skipped"
            ),
            Some(Tally { passed: 5, failed: 4 })
        );
        assert_eq!(read("        PASS [   0.003s] xtask tally::tests::x"), None);
    }

    #[test]
    fn the_summaries_of_cargo_test_add_up_over_its_binaries() {
        let output = "running 2 tests\n\
            test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s\n";
        let mut copy = Vec::new();
        let tally = pass_through(Runner::CargoTest, Some(output.as_bytes()), &mut copy);
        assert_eq!(tally, Tally { passed: 5, failed: 1 });
        assert_eq!(copy, output.as_bytes());
    }

    #[test]
    fn what_a_failing_test_printed_under_nextest_is_not_counted() {
        let line = "    test result: FAILED. 0 passed; 1 failed; 0 ignored";
        assert_eq!(summary(Runner::Nextest, line), None);
    }

    #[test]
    fn colours_do_not_hide_a_summary() {
        let line = plain(
            "\u{1b}[32;1m     Summary\u{1b}[0m [ 0.1s] \u{1b}[1m1\u{1b}[0m test run: \u{1b}[1m1\u{1b}[0m passed",
        );
        assert_eq!(summary(Runner::Nextest, &line), Some(Tally { passed: 1, failed: 0 }));
    }
}
