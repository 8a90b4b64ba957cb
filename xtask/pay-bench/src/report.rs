//! What is said about a measurement: tables for people, one line of JSON, and the file of results.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::case::Case;
use crate::floods::Flood;
use crate::measure::Measured;
use crate::profile::Profile;
use crate::{Args, Result, figures};

/// Milliseconds that a payment may add at one connection.
const ADDED_MS: f64 = 0.6;

/// Prints everything, and writes the file of results when the run was a full one.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn print(
    args: &Args,
    measured: &[Measured],
    floods: &[Flood],
    profile: Option<&Profile>,
) -> Result {
    let table = table(measured);
    let floods_said = describe(floods);
    println!("{table}\n{floods_said}");
    if let Some(profile) = profile {
        println!("{}", shares(profile));
        profile.symbols.iter().for_each(|(symbol, share)| println!("{share:6.2} %  {symbol}"));
    }
    if let Some(path) = &args.results {
        if args.is_full() {
            let section = format!("{}\n\n{table}\n{floods_said}", conditions(args));
            figures::replace(path, "pay", &section)?;
        } else {
            println!("The results file is left as it is: this run was shortened.");
        }
        if let Some(profile) = profile {
            figures::replace(path, "pay profile", &shares(profile))?;
        }
    }
    if args.json {
        println!("{}", line(measured));
    }
    Ok(())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn free(measured: &[Measured]) -> Option<&Measured> {
    measured.iter().find(|measured| measured.case == Case::Free)
}

fn table(measured: &[Measured]) -> String {
    let Some(free) = free(measured) else { return String::new() };
    let mut out = String::from(
        "| case | requests/s | slowest to fastest round | ratio to free | target | p50 ms | p99 ms | p50 ms at one connection | added | server's CPU us |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for one in measured {
        let (low, high) = (one.rates.first().unwrap_or(&0.0), one.rates.last().unwrap_or(&0.0));
        let target = one.case.target_ratio().map_or(String::from("-"), |target| format!(">= {target:.2}"));
        let added = milliseconds(one.alone_p50) - milliseconds(free.alone_p50);
        let _ = writeln!(
            out,
            "| {} | {:.0} | {low:.0} to {high:.0} | {:.3} | {target} | {:.2} | {:.2} | {:.3} | {added:.3} | {:.0} |",
            one.case,
            one.rate(),
            one.rate() / free.rate(),
            milliseconds(one.p50),
            milliseconds(one.p99),
            milliseconds(one.alone_p50),
            one.cpu.as_secs_f64() * 1e6,
        );
    }
    let _ = writeln!(
        out,
        "\nTarget for what a payment adds to the median at one connection: below {ADDED_MS} ms."
    );
    out
}

fn describe(floods: &[Flood]) -> String {
    if floods.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "| flood | requests | memory MiB before, after | disk MiB before, after |\n|---|---|---|---|\n",
    );
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    for flood in floods {
        let _ = writeln!(
            out,
            "| {} | {} | {:.1}, {:.1} | {:.1}, {:.1} |",
            flood.case,
            flood.requests,
            mib(flood.memory.0),
            mib(flood.memory.1),
            mib(flood.disk.0),
            mib(flood.disk.1)
        );
    }
    out
}

fn shares(profile: &Profile) -> String {
    let mut out = format!("| `{}`: part of the server's CPU time | % |\n|---|---|\n", profile.case);
    for (component, share) in profile.shares.iter().filter(|(_, share)| *share >= 0.05) {
        let _ = writeln!(out, "| {component} | {share:.1} |");
    }
    out
}

/// The last line.
fn line(measured: &[Measured]) -> Value {
    let free_rps = free(measured).map_or(0.0, Measured::rate);
    let round = |value: f64, digits: i32| (value * 10_f64.powi(digits)).round() / 10_f64.powi(digits);
    let each = |of: &dyn Fn(&Measured) -> f64| -> Map<String, Value> {
        measured.iter().map(|one| (one.case.name().to_owned(), json!(of(one)))).collect()
    };
    let mut ratio = each(&|one| round(one.rate() / free_rps, 4));
    ratio.remove(Case::Free.name());
    let p50 = each(&|one| round(milliseconds(one.p50), 3));
    let p99 = each(&|one| round(milliseconds(one.p99), 3));
    json!({ "free_rps": free_rps.round(), "ratio": ratio, "p50_ms": p50, "p99_ms": p99 })
}

/// The machine and the run.
fn conditions(args: &Args) -> String {
    format!(
        "{}; load generator and facilitator on the same cores, {} connections, {} rounds of {} s.",
        figures::machine(),
        args.connections,
        args.rounds,
        args.seconds
    )
}
