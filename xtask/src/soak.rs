//! `cargo xtask soak`: what takes longer than a test may.

use crate::step::{self, Fallible, heading};
use crate::{parts, workspace};
use clap::ValueEnum;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Runs what takes longer than a test may, one part after the other, and ends with the figures of each.
///
/// A part that fails or takes too long does not keep the next ones from running.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run this part only; may be given several times.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Seeds of the simulator.
    #[arg(long, default_value_t = 100_000)]
    seeds: u64,
    /// Sellers' processes that are killed under load, on each engine.
    #[arg(long, default_value_t = 2_000)]
    kills: u64,
    /// Recordings of the program whose directory is rebuilt, each with a seed of its own and in all its variants.
    #[arg(long, default_value_t = 20)]
    recordings: u64,
    /// Crash points of each recording.
    #[arg(long, default_value_t = 300)]
    crash_points: u64,
    /// Accounts of the ledger that is measured.
    #[arg(long, default_value_t = 10_000_000)]
    accounts: u64,
    /// Unpaid requests, and as many refused payments.
    #[arg(long, default_value_t = 1_000_000)]
    floods: u64,
    /// Minutes of the metered stream; it may flow for 14 at most.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=13))]
    stream: u64,
    /// Minutes after which a part is stopped.
    #[arg(long, default_value_t = 90)]
    minutes: u64,
}

/// What there is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The simulator.
    Sim,
    /// `kill -9` of sellers under load.
    Kills,
    /// Directories rebuilt from flushed writes.
    Durability,
    /// The ledger with very many accounts.
    BenchLedger,
    /// Unpaid requests and refused payments without end.
    BenchPay,
    /// A metered stream of events through the gateway, in flat memory.
    Stream,
}

/// Lines that a part ended with, by what they begin with.
type Figures = BTreeMap<String, String>;

/// # Errors
/// When a part fails or takes too long; the others have been run.
pub(crate) fn run(args: &Args) -> Fallible {
    let root = workspace::root()?;
    parts::set_up()?;
    let all = Part::value_variants();
    let chosen: Vec<_> = all.iter().filter(|part| args.only.is_empty() || args.only.contains(part)).collect();
    let (mut lines, mut failed) = (Vec::new(), Vec::new());
    for part in chosen {
        let (started, name) = (Instant::now(), part.name());
        let (figures, result) = part.run(&root, args);
        let seconds = started.elapsed().as_secs();
        for line in figures.values() {
            lines.push(format!("{name:<12} {line}"));
        }
        let end = match result {
            Ok(()) => format!("{name:<12} passed in {seconds} s"),
            Err(failure) => {
                failed.push(name.clone());
                format!("{name:<12} FAILED after {seconds} s: {failure}")
            }
        };
        println!("{end}");
        lines.push(end);
    }
    heading("soak");
    lines.iter().for_each(|line| println!("{line}"));
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

impl Part {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn run(self, root: &Path, args: &Args) -> (Figures, Fallible) {
        let mut figures = Figures::new();
        let result = match self {
            Self::Sim => {
                let arguments = ["sim", "--release", "--seeds", &args.seeds.to_string()];
                watch(args.minutes, &myself(&arguments), &mut |line| keep_last(&mut figures, line))
            }
            Self::BenchLedger => {
                let accounts = args.accounts.to_string();
                let arguments = ["bench", "ledger", "--parts", "accounts", "--accounts", &accounts];
                watch(args.minutes, &myself(&arguments), &mut |line| keep_last(&mut figures, line))
            }
            Self::BenchPay => {
                let floods = args.floods.to_string();
                let arguments = ["bench", "pay", "--rounds", "1", "--floods", &floods];
                watch(args.minutes, &myself(&arguments), &mut |line| keep_last(&mut figures, line))
            }
            Self::Kills => {
                let mut command = tests(root, "crash_kills", "t17");
                command.env("FARTHING_KILLS", args.kills.to_string());
                watch(args.minutes, &command, &mut |line| keep(&mut figures, "kills ", line))
            }
            Self::Stream => {
                let mut command = tests(root, "flat_memory", "a_metered_stream");
                command.env("FARTHING_STREAM_SECONDS", (args.stream * 60).to_string());
                watch(args.minutes, &command, &mut |line| {
                    keep(&mut figures, "flat memory, ", line);
                    keep(&mut figures, "stream: ", line);
                })
            }
            Self::Durability => durability(root, args, &mut figures),
        };
        (figures, result)
    }
}

/// One recording after the other, until there are enough or the time is over.
fn durability(root: &Path, args: &Args, figures: &mut Figures) -> Fallible {
    let started = Instant::now();
    let mut total = Rebuilt::default();
    for seed in 1..=args.recordings {
        let left = args.minutes.saturating_sub(started.elapsed().as_secs() / 60);
        if left == 0 {
            return Err(format!("stopped after {} of {} recordings", seed - 1, args.recordings));
        }
        let mut command = tests(root, "durability", "t17");
        command.env("FARTHING_SEED", seed.to_string());
        command.env("FARTHING_CRASH_POINTS", args.crash_points.to_string());
        let result = watch(left, &command, &mut |line| total.add(line));
        let line = format!("durability, {seed} of {} recordings: {total}", args.recordings);
        println!("{line}");
        figures.insert(String::new(), line);
        result?;
    }
    Ok(())
}

/// What the tests of durability counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rebuilt {
    points: u64,
    directories: u64,
    refused: u64,
    wrong: u64,
}

impl Rebuilt {
    /// Adds a line such as `durability, as it is: 9 crash points, 40 directories rebuilt, 1 refused, 0 wrong`.
    fn add(&mut self, line: &str) {
        let line = from_mark("durability, ", line);
        let Some((_, counts)) = line.and_then(|line| line.split_once(": ")) else { return };
        for count in counts.split(", ") {
            let Some((number, what)) = count.split_once(' ') else { continue };
            let number = number.parse().unwrap_or(0);
            match what {
                "crash points" => self.points += number,
                "directories rebuilt" => self.directories += number,
                "refused" => self.refused += number,
                "wrong" => self.wrong += number,
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Rebuilt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { points, directories, refused, wrong } = self;
        write!(
            f,
            "{points} crash points, {directories} directories rebuilt, {refused} refused, {wrong} wrong"
        )
    }
}

/// Keeps the last line that begins with `mark`, for each text before its colon.
fn keep(figures: &mut Figures, mark: &str, line: &str) {
    if let Some(line) = from_mark(mark, line)
        && let Some((subject, _)) = line.split_once(':')
    {
        figures.insert(subject.to_owned(), line.to_owned());
    }
}

/// The line from `mark` on: the first line of a test stands behind its name.
fn from_mark<'a>(mark: &str, line: &'a str) -> Option<&'a str> {
    line.find(mark).and_then(|at| line.get(at..))
}

/// Keeps the last line that is not empty.
fn keep_last(figures: &mut Figures, line: &str) {
    if !line.trim().is_empty() {
        figures.insert(String::new(), line.to_owned());
    }
}

/// Another task of this program.
fn myself(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap_or_else(|_| "xtask".into()));
    command.args(arguments);
    command
}

/// Tests of the whole system, optimised, one at a time and with what they print.
fn tests(root: &Path, file: &str, filter: &str) -> Command {
    let mut command = step::cargo(root);
    command.args(["test", "--release", "--package", "farthing-tests", "--test", file, filter, "--"]);
    command.args(["--include-ignored", "--nocapture", "--test-threads=1"]);
    command
}

/// Runs a command for at most so many minutes, and shows each line of its output to `reader` and to us.
fn watch(minutes: u64, command: &Command, reader: &mut dyn FnMut(&str)) -> Fallible {
    heading(&step::shown(command));
    // timeout(1) ends everything that the command has started, too.
    let mut limited = Command::new("timeout");
    limited
        .args(["--kill-after=10", &format!("{minutes}m")])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        limited.current_dir(directory);
    }
    let failure = |error| format!("cannot run {}: {error}", step::shown(command));
    let mut child = limited.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failure)?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            println!("{line}");
            reader(&line);
        }
    }
    let status = child.wait().map_err(failure)?;
    match status.code() {
        Some(0) => Ok(()),
        Some(124 | 137) => Err(format!("stopped after {minutes} minutes")),
        _ => Err(status.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Figures, Rebuilt, keep, keep_last, watch};
    use std::process::Command;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_was_rebuilt_adds_up() {
        let mut total = Rebuilt::default();
        total.add("durability, as it is: 9 crash points, 40 directories rebuilt, 1 refused, 0 wrong");
        total.add("  whole: {Lost: 3}");
        total.add("test t17_a ... durability, small tables: 1 crash points, 2 directories rebuilt, 0 refused, 3 wrong");
        assert_eq!(total.to_string(), "10 crash points, 42 directories rebuilt, 1 refused, 3 wrong");
    }

    #[test]
    fn the_last_figures_of_each_subject_are_kept() {
        let mut figures = Figures::new();
        for line in ["test x ... kills on A: 1 of 2", "ok", "kills on A: 2 of 2", "kills on B: 2 of 2"] {
            keep(&mut figures, "kills ", line);
        }
        assert_eq!(figures.into_values().collect::<Vec<_>>(), ["kills on A: 2 of 2", "kills on B: 2 of 2"]);
        let mut figures = Figures::new();
        ["first", "last", " "].iter().for_each(|line| keep_last(&mut figures, line));
        assert_eq!(figures.into_values().collect::<Vec<_>>(), ["last"]);
    }

    #[test]
    fn a_part_that_fails_or_hangs_is_told_apart_from_one_that_passes() {
        let mut lines = Vec::new();
        assert_eq!(watch(1, &shell("echo one; echo two"), &mut |line| lines.push(line.to_owned())), Ok(()));
        assert_eq!(lines, ["one", "two"]);
        assert!(watch(1, &shell("exit 3"), &mut |_| ()).unwrap_err().contains("3"));
        assert!(watch(1, &shell("exit 124"), &mut |_| ()).unwrap_err().contains("stopped"));
    }
}
