//! What is said about a measurement: tables for people, and the file of results.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::calls::Called;
use crate::verify::{Verified, percentile};
use crate::{Args, Result};

/// Where the figures begin and end in the file of results. The rest of it is left as it is.
const BEGIN: &str = "<!-- evm: begin -->";
const END: &str = "<!-- evm: end -->";
/// CPU time that a verification may take besides the signature.
const TARGET: Duration = Duration::from_micros(100);

/// Prints everything, and writes the file of results when the run was a full one.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn print(args: &Args, verified: &[Verified], called: &[Called], signature: Duration) -> Result {
    let text = format!("{}\n{}", verifications(verified, signature), calls(called));
    println!("{text}");
    let Some(path) = &args.results else { return Ok(()) };
    if args.is_full() {
        return replace(path, &format!("{}\n\n{text}", conditions(args)));
    }
    println!("The results file is left as it is: this run was shortened.");
    Ok(())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn verifications(verified: &[Verified], signature: Duration) -> String {
    let mut out = String::from(
        "| facilitator, connections | verifications/s | p50 ms | p99 ms | its CPU us each |\n|---|---|---|---|---|\n",
    );
    for one in verified {
        let _ = writeln!(
            out,
            "| {}, {} | {:.0} | {:.2} | {:.2} | {:.0} |",
            one.name,
            one.connections,
            one.rate,
            milliseconds(one.p50),
            milliseconds(one.p99),
            microseconds(one.cpu),
        );
    }
    let _ = writeln!(
        out,
        "\nThe signature alone takes {:.0} us of CPU; the target is that plus {:.0} us.",
        microseconds(signature),
        microseconds(TARGET),
    );
    out
}

fn calls(called: &[Called]) -> String {
    let mut out =
        String::from("| paid calls through | calls | median ms | p99 ms | max ms |\n|---|---|---|---|---|\n");
    for one in called {
        let at = |part| milliseconds(percentile(&one.latencies, part));
        let (count, median, p99, max) = (one.latencies.len(), at(0.50), at(0.99), at(1.0));
        let _ = writeln!(out, "| {} | {count} | {median:.1} | {p99:.1} | {max:.1} |", one.name);
    }
    out
}

/// The machine and the run.
fn conditions(args: &Args) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|info| {
        let line = info.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let date = Command::new("date").arg("+%Y-%m-%d").output();
    let date =
        date.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{date}, {cores} cores ({}), load {} at the end; chain, facilitators and load generator on the same cores, \
         {} rounds of {} s.",
        model.as_deref().unwrap_or("unknown"),
        load.split(' ').next().unwrap_or_default(),
        args.rounds,
        args.seconds
    )
}

/// Replaces what stands between the marks, or adds it at the end.
fn replace(path: &Path, text: &str) -> Result {
    let old = std::fs::read_to_string(path).unwrap_or_default();
    Ok(std::fs::write(path, replaced(&old, text))?)
}

fn replaced(old: &str, text: &str) -> String {
    let section = format!("{BEGIN}\n{}\n{END}", text.trim_end());
    let found = old.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    match found {
        Some((before, after)) => format!("{before}{section}{after}"),
        None => format!("{old}\n{section}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, replaced};

    #[test]
    fn the_figures_are_replaced_and_the_words_around_them_stay() {
        let first = replaced("# Figures\n", "one\n");
        assert_eq!(first, format!("# Figures\n\n{BEGIN}\none\n{END}\n"));
        let second = replaced(&format!("{first}more\n"), "two");
        assert_eq!(second, format!("# Figures\n\n{BEGIN}\ntwo\n{END}\nmore\n"));
    }
}
