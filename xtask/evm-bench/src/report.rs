//! What is said about a measurement: tables for people, and the file of results.

use std::fmt::Write as _;
use std::time::Duration;

use crate::calls::Called;
use crate::verify::{Verified, percentile};
use crate::{Args, Result, figures};

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
        return Ok(figures::replace(path, "evm", &format!("{}\n\n{text}", conditions(args)))?);
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
    format!(
        "{}; chain, facilitators and load generator on the same cores, \
         {} rounds of {} s.",
        figures::machine(),
        args.rounds,
        args.seconds
    )
}
