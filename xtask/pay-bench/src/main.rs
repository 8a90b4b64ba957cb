//! `cargo xtask bench pay`: what being paid costs a server, as ratios to the same handler without a price.
//!
//! The load generator ([`load`]) and the server ([`serve`]) are processes of their own; a remote facilitator is a
//! third. Every request is bytes that were made before the clock started ([`requests`]), for the free baseline too.
//! A case counts only when every single request was answered as it should be, and the handler and the ledger counted
//! as many as were sent. Rounds of the cases alternate, so that drift hits all alike, and medians are reported.

mod case;
#[path = "../../figures.rs"]
mod figures;
mod floods;
mod http;
mod load;
mod measure;
mod profile;
mod report;
mod requests;
mod serve;
mod server;

use std::path::PathBuf;

use clap::Parser;

/// The allocator of the `farthing` program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T = ()> = std::result::Result<T, Error>;

/// Measures free, unpaid and paid requests against one axum handler.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo xtask bench pay", disable_version_flag = true)]
struct Args {
    /// Seconds that one round of one case takes, about.
    #[arg(long, default_value_t = SECONDS)]
    seconds: f64,
    /// Rounds of each case, of which the median counts.
    #[arg(long, default_value_t = ROUNDS)]
    rounds: usize,
    /// Connections that ask at the same time.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Only these cases; `free` is always measured.
    #[arg(long, value_delimiter = ',')]
    cases: Vec<case::Case>,
    /// Unpaid requests, and as many refused payments, that must leave memory and disk as they are.
    #[arg(long, default_value_t = 20_000)]
    floods: usize,
    /// Profiles the server with perf while it serves this case, and reports where the time goes.
    #[arg(long, value_name = "CASE")]
    profile: Option<case::Case>,
    /// Keeps the profile's data in this file, with call graphs, for `perf report`.
    #[arg(long, requires = "profile")]
    perf_data: Option<PathBuf>,
    /// Ends with one line of JSON.
    #[arg(long)]
    json: bool,
    /// Replaces the section on payments in this file, unless the run was shortened.
    #[arg(long)]
    results: Option<PathBuf>,
    /// What the processes under test are started as.
    #[arg(long, hide = true)]
    role: Option<serve::Role>,
    /// The ledger's directory of such a process.
    #[arg(long, hide = true, requires = "role")]
    directory: Option<PathBuf>,
    /// The remote facilitator of such a process.
    #[arg(long, hide = true, requires = "role")]
    facilitator: Option<String>,
}

const SECONDS: f64 = 2.0;
const ROUNDS: usize = 7;

impl Args {
    /// Long enough for its figures to be kept.
    fn is_full(&self) -> bool {
        self.seconds >= SECONDS && self.rounds >= ROUNDS && self.cases.is_empty()
    }

    fn cases(&self) -> Vec<case::Case> {
        let asked = |case: &case::Case| *case == case::Case::Free || self.cases.contains(case);
        case::Case::ALL.into_iter().filter(|case| self.cases.is_empty() || asked(case)).collect()
    }
}

fn main() -> Result {
    let args = Args::parse();
    if let Some(role) = args.role {
        let directory = args.directory.ok_or("a process under test needs a directory")?;
        return serve::run(role, &directory, args.facilitator.as_deref());
    }
    let measured = measure::all(&args)?;
    let floods = floods::run(args.floods, args.connections)?;
    let profile = args.profile.map(|case| profile::take(case, &args)).transpose()?;
    report::print(&args, &measured, &floods, profile.as_ref())
}
