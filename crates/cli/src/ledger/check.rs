//! `farthing ledger check`: verifies a ledger and says what it found.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use farthing::Ledger;
use farthing::farthing_ledger::admin::NewAsset;
use farthing::farthing_ledger::check::Report;
use farthing::farthing_ledger::engine::{EmbeddedStorage, OpenError, Storage};
use farthing::farthing_ledger::entry::{Entry, Event};
use farthing::farthing_ledger::rows::Table;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Failure;
use crate::admin;
use crate::args::CheckArgs;
use crate::style::{BAD, GOOD, QUIET, TITLE, count, grouped, paint, print, safe};

/// Entries among which the registrations of assets are looked for.
const EARLY_ENTRIES: usize = 1024;

/// Runs the command.
pub(crate) fn check(options: &CheckArgs) -> Result<(), Failure> {
    let (findings, in_use) = find(&options.data).map_err(|why| Failure::bad_input(safe(&why)))?;
    let text = if options.json {
        format!("{}\n", findings.to_json())
    } else {
        findings.words(&options.data, in_use)
    };
    print(&text).map_err(Failure::unsound)?;
    if findings.balanced {
        return Ok(());
    }
    let faults = count(findings.faults.len() as u64, "fault");
    Err(Failure::unsound(format!("{faults} in the ledger in {}", options.data.display())))
}

/// Reads a directory, or asks the process that has it; says whether somebody has it.
fn find(directory: &Path) -> Result<(Findings, bool), String> {
    let mut storage = match EmbeddedStorage::read(directory) {
        Ok(storage) => storage,
        Err(error @ OpenError::InUse(_)) => {
            let findings = admin::ask_for_check(directory).unwrap_or_else(|| Err(error.to_string()))?;
            return Ok((findings, true));
        }
        Err(error) => return Err(error.to_string()),
    };
    let report = storage.check().map_err(|error| error.to_string())?;
    Ok((Findings::new(report, &scales(&mut storage)), false))
}

/// Decimal places of each asset, from the entries that registered them. Ledgers register their assets when
/// they are made: one that is not among the first entries is shown in atomic units.
fn scales(storage: &mut EmbeddedStorage) -> HashMap<String, u8> {
    let mut scales = HashMap::new();
    let mut ledger = None;
    for (_, bytes) in storage.scan(Table::Entry, &[], EARLY_ENTRIES).unwrap_or_default() {
        match (Entry::decode(&bytes).map(|entry| entry.event), ledger) {
            (Ok(Event::Genesis(genesis)), _) => ledger = Some(genesis.id()),
            (Ok(Event::Asset(evidence)), Some(ledger)) => {
                if let Ok(asset) = NewAsset::decode(&evidence.signed, &ledger) {
                    scales.insert(asset.code.to_string(), asset.scale);
                }
            }
            _ => {}
        }
    }
    scales
}

/// What a check found, as it is printed with `--json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Findings {
    balanced: bool,
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
    fn new(report: Report, scales: &HashMap<String, u8>) -> Self {
        let sums = |(asset, totals): (String, farthing::farthing_ledger::check::Totals)| {
            let scale = scales.get(&asset).copied();
            let (issued, accounts, held) = (totals.issued, totals.accounts, totals.held);
            let [issued, accounts, held] = [issued, accounts, held].map(|units| units.to_string());
            (asset, Sums { scale, issued, accounts, held })
        };
        Self {
            balanced: report.balanced(),
            entries: report.entries,
            signatures: report.signatures,
            payments: report.payments.into_iter().map(|(state, n)| (state.to_owned(), n)).collect(),
            assets: report.assets.into_iter().map(sums).collect(),
            faults: report.faults,
        }
    }

    /// Checks a running ledger.
    ///
    /// # Errors
    /// A sentence about why it could not be read.
    pub(crate) async fn of(ledger: &Ledger) -> Result<Self, String> {
        let report = ledger.check().await.map_err(|error| error.to_string())?;
        let terms = ledger.terms().await.map_err(|error| error.to_string())?;
        let scales = terms.assets.into_iter().map(|asset| (asset.code, asset.scale)).collect();
        Ok(Self::new(report, &scales))
    }

    pub(crate) fn to_json(&self) -> Value {
        // Text and numbers: this cannot fail.
        serde_json::to_value(self).unwrap_or_default()
    }

    pub(crate) fn from_json(value: Value) -> Option<Self> {
        serde_json::from_value(value).ok()
    }

    fn words(&self, directory: &Path, in_use: bool) -> String {
        let mut out = format!("{} {}\n", paint(TITLE, "Ledger in"), safe(&directory.display().to_string()));
        if in_use {
            out.push_str(&paint(QUIET, "In use: the process that has it was asked to check it.\n"));
        }
        out.push('\n');
        let mut line = |name: &str, value: &str| out.push_str(&format!("  {name:<22}{value}\n"));
        line("entries read", &grouped(self.entries));
        line("signatures verified", &grouped(self.signatures));
        let states: Vec<_> =
            self.payments.iter().map(|(state, n)| format!("{} {}", grouped(*n), safe(state))).collect();
        line("payments", &if states.is_empty() { "none".to_owned() } else { states.join(", ") });
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
    fn findings_travel_as_json() {
        let mut report = Report { entries: 3, faults: vec!["f".into()], ..Report::default() };
        report.payments.insert("held", 1);
        let findings = Findings::new(report, &HashMap::new());
        assert_eq!(Findings::from_json(findings.to_json()), Some(findings));
        assert_eq!(Findings::from_json(serde_json::json!({ "balanced": true })), None);
    }
}
