//! `farthing ledger check`: verifies a ledger and says what it found.

use std::collections::BTreeMap;

use farthing::farthing_ledger::check::{self, Report};
use farthing::farthing_ledger::engine::admin::{self, Request};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::place::{Books, title, unanswered};
use crate::Failure;
use crate::args::{CheckArgs, Place};
use crate::style::{BAD, GOOD, count, grouped, paint, print, safe};

/// Runs the command.
pub(super) fn run(options: &CheckArgs) -> Result<(), Failure> {
    let books = Books::open(&options.place).map_err(|why| Failure::bad_input(safe(&why)))?;
    let in_use = books.in_use();
    let findings = find(books).map_err(|why| Failure::bad_input(safe(&why)))?;
    let text = match options.json {
        true => format!("{}\n", findings.to_json()),
        false => findings.words(&options.place, in_use),
    };
    print(&text).map_err(Failure::unsound)?;
    if findings.balanced {
        return Ok(());
    }
    let faults = count(findings.faults.len() as u64, "fault");
    Err(Failure::unsound(format!("{faults} in the ledger in {}", options.place)))
}

/// Reads a ledger, or asks the process that has it.
fn find(books: Books) -> Result<Findings, String> {
    match books {
        Books::Ours(mut rows) => {
            let scan = &mut |table, from: &[u8], limit| rows.snapshot.scan(table, from, limit);
            let report: Report = check::check(scan).map_err(|error| error.to_string())?;
            let report = serde_json::to_value(&report).map_err(|error| error.to_string())?;
            Findings::of(report).ok_or_else(|| "the report cannot be read".to_owned())
        }
        Books::Theirs(directory) => {
            let report = admin::ask_for(&directory, &Request::Check);
            let report: Value = report.map_err(|error| unanswered(&directory, &error))?;
            Findings::of(report)
                .ok_or_else(|| "the process that has the ledger answers something else".to_owned())
        }
    }
}

/// What a check found, as it is printed with `--json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Findings {
    #[serde(default)]
    balanced: bool,
    chains: u64,
    entries: u64,
    signatures: u64,
    /// By state.
    payments: BTreeMap<String, u64>,
    /// By asset.
    assets: BTreeMap<String, Sums>,
    faults: Vec<String>,
}

/// One asset's sums in atomic units, as decimal text: they may be larger than programs count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sums {
    /// Decimal places, when they are known.
    scale: Option<u8>,
    issued: String,
    accounts: String,
    held: String,
}

impl Findings {
    /// A check's report, as JSON.
    fn of(report: Value) -> Option<Self> {
        let findings: Self = serde_json::from_value(report).ok()?;
        Some(Self { balanced: findings.faults.is_empty(), ..findings })
    }

    fn to_json(&self) -> Value {
        // Text and numbers: this cannot fail.
        serde_json::to_value(self).unwrap_or_default()
    }

    fn words(&self, place: &Place, in_use: bool) -> String {
        let mut out = title("Ledger in", place, in_use);
        out.push('\n');
        let mut line = |name: &str, value: &str| out.push_str(&format!("  {name:<14}{value}\n"));
        line("history", &self.history());
        let signatures = match self.balanced {
            true => "verified: every payment, deposit and operation, and the head",
            false => "looked at",
        };
        line("signatures", &format!("{} {signatures}", grouped(self.signatures)));
        let states: Vec<_> =
            self.payments.iter().map(|(state, n)| format!("{} {}", grouped(*n), safe(state))).collect();
        line("payments", &if states.is_empty() { "none".to_owned() } else { states.join(", ") });
        if self.balanced {
            line("rows", "every balance, hold and payment is what history says, none is missing");
        }
        out.push('\n');
        for (asset, sums) in &self.assets {
            out.push_str(&format!("  {}: {}\n", safe(asset), sums.equation()));
        }
        if self.assets.is_empty() {
            out.push_str("  No money was ever issued.\n");
        }
        out.push('\n');
        for fault in &self.faults {
            out.push_str(&format!("  {} {}\n", paint(BAD, "fault:"), safe(fault)));
        }
        let (style, verdict) = match self.balanced {
            true => (GOOD, "The ledger balances, and every signature in it holds."),
            false => (BAD, "This ledger cannot be believed."),
        };
        out.push_str(&format!("{}\n", paint(style, verdict)));
        out
    }

    fn history(&self) -> String {
        let entries = match self.entries {
            1 => "1 entry".to_owned(),
            entries => format!("{} entries", grouped(entries)),
        };
        match (self.balanced, self.chains) {
            (true, 1) => format!("{entries}, one chain of hashes up to its signed head"),
            (true, chains) => {
                format!("{entries}, {} chains of hashes, each up to its signed head", grouped(chains))
            }
            (false, chains) => format!("{entries} in {}", count(chains, "chain")),
        }
    }
}

impl Sums {
    /// `issued 5 = accounts 4.9 + held 0.1`
    fn equation(&self) -> String {
        let units = |text: &str| text.parse::<i128>().ok();
        let whole = |text: &str| match (units(text), self.scale) {
            (Some(units), Some(scale)) => decimal(units, scale),
            _ => safe(text),
        };
        let sum = units(&self.accounts).zip(units(&self.held)).and_then(|(a, b)| a.checked_add(b));
        let sign = if sum.is_some() && sum == units(&self.issued) { "=" } else { "is not" };
        let unit = if self.scale.is_none() { " (atomic units)" } else { "" };
        let (issued, accounts, held) = (whole(&self.issued), whole(&self.accounts), whole(&self.held));
        format!("issued {issued} {sign} accounts {accounts} + held {held}{unit}")
    }
}

/// A sum that may be below zero, in whole units. Exact.
pub(crate) fn decimal(units: i128, scale: u8) -> String {
    let sign = if units < 0 { "-" } else { "" };
    format!("{sign}{}", farthing::protocol::Amount(units.unsigned_abs()).decimal(scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_also_below_zero() {
        let told = [decimal(0, 6), decimal(1, 6), decimal(-1, 6), decimal(-12_500_000, 6), decimal(-7, 0)];
        assert_eq!(told, ["0", "0.000001", "-0.000001", "-12.5", "-7"]);
        assert!(decimal(i128::MIN, 6).starts_with("-170141183460469231731687303715884.1"));
    }

    #[test]
    fn an_equation_that_does_not_hold_says_so() {
        let sums = |issued: &str, held: &str, scale| {
            let (issued, held) = (issued.to_owned(), held.to_owned());
            Sums { scale, issued, accounts: "4900000".into(), held }.equation()
        };
        assert_eq!(sums("5000000", "100000", Some(6)), "issued 5 = accounts 4.9 + held 0.1");
        assert_eq!(sums("5000000", "100001", Some(6)), "issued 5 is not accounts 4.9 + held 0.100001");
        let atomic = "issued 5000000 = accounts 4900000 + held 100000 (atomic units)";
        assert_eq!(sums("5000000", "100000", None), atomic);
        assert!(sums("5", "\u{1b}[2J", Some(6)).contains("is not"));
    }

    #[test]
    fn a_report_becomes_findings_and_says_what_was_proven() {
        let mut report = Report { chains: 1, entries: 3, signatures: 2, ..Report::default() };
        report.payments.insert("held", 1);
        let findings = |report: &Report| Findings::of(serde_json::to_value(report).unwrap()).unwrap();
        let place = Place::in_directory("x".into());
        let words = findings(&report).words(&place, false);
        for part in ["3 entries, one chain", "signed head", "2 verified", "1 held", "what history says"] {
            assert!(words.contains(part), "{part}: {words}");
        }
        report.chains = 12;
        assert!(findings(&report).words(&place, true).contains("12 chains of hashes, each up to"));
        report.faults.push("f".into());
        let words = findings(&report).words(&place, false);
        assert!(!words.contains("verified") && words.contains("12 chains\n"), "{words}");
        assert_eq!(findings(&report).to_json()["balanced"], false);
        assert_eq!(Findings::of(serde_json::json!({ "balanced": true })), None);
    }
}
