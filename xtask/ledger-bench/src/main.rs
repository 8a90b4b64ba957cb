//! `cargo xtask bench ledger`: durable payments per second of each of the ledger's engines, and what they depend on.
//!
//! One payment is two commands, an authorize and a capture, each answered when it is durable ([`payments`]). They are
//! signed and checked before the clock starts: this measures the ledger, not signatures. Every round begins on a copy
//! of the same ledger ([`stage`]) and counts only when every payment was captured. Ratios are between medians of rounds
//! that took turns in one run ([`measure`]); absolute figures say little about another machine.

mod bare;
mod drive;
#[path = "../../figures.rs"]
mod figures;
mod measure;
mod meter;
mod payments;
mod processes;
mod report;
#[path = "../../../crates/testkit/src/postgres.rs"]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "made for tests: it fails by panicking")]
mod server;
mod stage;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use stage::Engine;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Measures durable payments per second of each of the ledger's engines.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo xtask bench ledger", disable_version_flag = true)]
struct Args {
    /// One round each, of few payments: to see that it works.
    #[arg(long)]
    quick: bool,
    /// Ends with one line of JSON.
    #[arg(long)]
    json: bool,
    /// Accounts of the large ledger.
    #[arg(long, default_value_t = ACCOUNTS)]
    accounts: usize,
    /// Accounts of the small ledger, each of which pays.
    #[arg(long, default_value_t = FEW)]
    few: usize,
    /// Payments of one round.
    #[arg(long, default_value_t = PAYMENTS)]
    payments: usize,
    /// Rounds of each case, of which the median counts.
    #[arg(long, default_value_t = ROUNDS)]
    rounds: usize,
    /// Only these engines.
    #[arg(long, value_delimiter = ',')]
    engines: Vec<Engine>,
    /// Only these parts.
    #[arg(long, value_delimiter = ',')]
    parts: Vec<Part>,
    /// Also verifies the whole history of each case once, where all accounts have a history.
    #[arg(long)]
    check: bool,
    /// Where ledgers are made and removed again: on a disk.
    #[arg(long, default_value = ".")]
    directory: PathBuf,
    /// Replaces this bench's section of this file, unless the run was shortened.
    #[arg(long)]
    results: Option<PathBuf>,
    /// What a process that shares a ledger is started with: its number, and the file with the ledger's key.
    #[arg(long, hide = true, requires = "key")]
    process: Option<usize>,
    #[arg(long, hide = true)]
    key: Option<PathBuf>,
}

const ACCOUNTS: usize = 1_000_000;
const FEW: usize = 10_000;
const PAYMENTS: usize = 20_000;
const ROUNDS: usize = 5;
/// As `--quick` has them.
const QUICK: (usize, usize, usize) = (100_000, 4_000, 1);

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Each engine with 1, 8, 64 and 512 callers.
    Engines,
    /// A small and a large ledger.
    Accounts,
    /// The embedded engine and fjall alone.
    Fjall,
    /// Many payers and one.
    Payer,
    /// Two processes on one PostgreSQL ledger: one payee and many.
    Processes,
}

impl Args {
    fn has(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    fn engines(&self) -> Vec<Engine> {
        let asked = |engine: &Engine| self.engines.is_empty() || self.engines.contains(engine);
        Engine::ALL.into_iter().filter(asked).collect()
    }

    /// Long enough for its figures to be kept.
    fn is_full(&self) -> bool {
        self.payments >= PAYMENTS && self.rounds >= ROUNDS && self.few == FEW
    }
}

fn main() -> Result {
    let mut args = Args::parse();
    if args.quick {
        (args.accounts, args.payments, args.rounds) = QUICK;
    }
    if let (Some(number), Some(key)) = (args.process, &args.key) {
        return processes::run(number, key, args.few, args.payments);
    }
    let measured = measure::all(&args)?;
    report::print(&args, &measured)
}
