//! What is said about a measurement: tables for people, one line of JSON, and the file of results.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::measure::{Figures, MANY, Measured};
use crate::payments::ANSWER;
use crate::stage::Engine;
use crate::{ACCOUNTS, Args, Part, Result, figures};

/// Prints everything, and writes the file of results when the run was a full one.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn print(args: &Args, measured: &Measured) -> Result {
    let tables = tables(args, measured);
    println!("{tables}");
    if let Some(path) = &args.results {
        let text = format!("{}\n\n{tables}", conditions(args));
        let is_whole = args.parts.is_empty() && args.engines.is_empty() && args.accounts == ACCOUNTS;
        if args.is_full() && is_whole {
            figures::replace(path, "ledger", &text)?;
        } else if args.is_full() && args.parts == [Part::Accounts] && args.accounts > ACCOUNTS {
            figures::replace(path, "ledger soak", &text)?;
        } else {
            println!("The results file is left as it is: this run was shortened.");
        }
    }
    if args.json {
        println!("{}", line(measured));
    }
    Ok(())
}

fn tables(args: &Args, measured: &Measured) -> String {
    let mut out = String::new();
    if !measured.engines.is_empty() {
        let rows = measured
            .engines
            .iter()
            .map(|(engine, callers, figures)| (format!("{engine}, {callers}"), figures));
        table(&mut out, "engine, callers", rows);
    }
    for (engine, few, many) in &measured.accounts {
        let rows = [
            (format!("{engine}, {} accounts", args.few), few),
            (format!("{engine}, {} accounts", args.accounts), many),
        ];
        table(&mut out, &format!("accounts, {MANY} callers"), rows.into_iter());
        let _ = writeln!(
            out,
            "{engine}: {:.2} times slower with more accounts; target: at most 2.\n",
            few.rate / many.rate
        );
    }
    if let Some((real, alone)) = &measured.fjall {
        let rows = [(Engine::Embedded.to_string(), real), ("fjall alone, the same batches".into(), alone)];
        table(&mut out, &format!("the same rows, {MANY} callers"), rows.into_iter());
        let _ = writeln!(
            out,
            "Embedded: {:.2} of what fjall alone does; target: at least 0.7.\n",
            real.rate / alone.rate
        );
    }
    for (engine, spread, hot) in &measured.payer {
        let rows =
            [(format!("{engine}, {} payers", args.few), spread), (format!("{engine}, one payer"), hot)];
        table(&mut out, &format!("payers, {MANY} callers"), rows.into_iter());
        let _ = writeln!(
            out,
            "{engine}: {:.2} with one payer of what it does with many; no target.\n",
            hot.rate / spread.rate
        );
    }
    if let Some((spread, hot)) = &measured.processes {
        let rows = [(format!("{} payees", args.few), spread), ("one payee".into(), hot)];
        table(&mut out, &format!("2 processes on one PostgreSQL, {MANY} callers each"), rows.into_iter());
        let ratio = hot.rate / spread.rate;
        let _ = writeln!(out, "{ratio:.2} with one payee of what they do with many; target: at least 0.7.\n");
    }
    out
}

fn table<'a>(out: &mut String, first: &str, rows: impl Iterator<Item = (String, &'a Figures)>) {
    let _ = writeln!(
        out,
        "| {first} | payments/s | answer p50, p99 ms | commit p50, p99 ms | commands per commit | CPU us per payment | committer's part |\n\
         |---|---|---|---|---|---|---|"
    );
    // What was not measured is not zero.
    let said =
        |text: String| if text.chars().any(|digit| ('1'..='9').contains(&digit)) { text } else { "-".into() };
    for (name, figures) in rows {
        let pair = |one: Duration, other: Duration| {
            said(format!("{:.2}, {:.2}", milliseconds(one), milliseconds(other)))
        };
        let _ = writeln!(
            out,
            "| {name} | {:.0} | {} | {} | {} | {} | {} |",
            figures.rate,
            pair(figures.answer_p50, figures.answer_p99),
            pair(figures.commit_p50, figures.commit_p99),
            said(format!("{:.1}", figures.together)),
            said(format!("{:.1}", figures.cpu_us)),
            said(format!("{:.1}", figures.committer_us)),
        );
    }
    let _ = writeln!(out);
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn round(value: f64, digits: i32) -> f64 {
    (value * 10_f64.powi(digits)).round() / 10_f64.powi(digits)
}

/// The last line.
fn line(measured: &Measured) -> Value {
    let by_callers = |of: &dyn Fn(&Figures) -> f64| {
        let mut engines: Map<String, Value> = Map::new();
        for (engine, callers, figures) in &measured.engines {
            engines.entry(engine.name()).or_insert_with(|| json!({}))[callers.to_string()] =
                json!(of(figures));
        }
        engines
    };
    let by_engine = |pairs: &[(Engine, Figures, Figures)]| -> Map<String, Value> {
        pairs
            .iter()
            .map(|(engine, one, other)| (engine.name().into(), json!(round(other.rate / one.rate, 3))))
            .collect()
    };
    let fjall = measured.fjall.as_ref().map(|(real, alone)| round(real.rate / alone.rate, 3));
    json!({
        "payments_per_s": by_callers(&|figures| figures.rate.round()),
        "p50_ms": by_callers(&|figures| round(milliseconds(figures.answer_p50), 3)),
        "p99_ms": by_callers(&|figures| round(milliseconds(figures.answer_p99), 3)),
        "cpu_us": by_callers(&|figures| round(figures.cpu_us, 1)),
        "ratio": {
            "many_accounts": by_engine(&measured.accounts),
            "fjall": fjall,
            "one_payer": by_engine(&measured.payer),
            "one_payee": measured.processes.as_ref().map(|(spread, hot)| round(hot.rate / spread.rate, 3)),
        },
    })
}

/// The machine and the run.
fn conditions(args: &Args) -> String {
    format!(
        "{}, {} rounds of {} payments. One payment is an authorize and a capture that stores an \
         answer of {ANSWER} bytes, each answered when it is durable; signatures were checked before.",
        figures::machine(),
        args.rounds,
        args.payments,
    )
}
