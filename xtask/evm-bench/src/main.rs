//! `cargo xtask bench evm`: what a payment on an EVM chain costs a facilitator and its caller.
//!
//! Our facilitator and the TypeScript reference's are processes of their own before one private chain. Both are
//! asked to verify the very same payments ([`verify`]), in rounds that take turns, and both settle paid calls from
//! a client of ours to a server of ours ([`calls`]). Every answer is checked, and the seller's tokens on chain must
//! be what was paid.

#[path = "../../../crates/testkit/src/anvil/mod.rs"]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench without its chain must end where it breaks"
)]
mod anvil;
mod calls;
#[path = "../../figures.rs"]
mod figures;
mod http;
mod payments;
mod program;
mod report;
mod verify;

use std::path::PathBuf;

use clap::Parser;

/// The allocator of the `farthing` program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T = ()> = std::result::Result<T, Error>;

/// Measures verifications and paid calls on a private chain.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo xtask bench evm", disable_version_flag = true)]
struct Args {
    /// Seconds that one round takes.
    #[arg(long, default_value_t = SECONDS)]
    seconds: f64,
    /// Rounds of each case, of which the median counts.
    #[arg(long, default_value_t = ROUNDS)]
    rounds: usize,
    /// Paid calls through each facilitator.
    #[arg(long, default_value_t = CALLS)]
    calls: usize,
    /// The directory of the reference's facilitator and its packages; without it, only ours is measured.
    #[arg(long)]
    reference: Option<PathBuf>,
    /// Replaces the section of figures in this file, unless the run was shortened.
    #[arg(long)]
    results: Option<PathBuf>,
    /// What the facilitator under test is started as.
    #[arg(long, hide = true)]
    facilitator: bool,
}

const SECONDS: f64 = 3.0;
const ROUNDS: usize = 5;
const CALLS: usize = 200;

impl Args {
    /// Long enough, and complete enough, for its figures to be kept.
    fn is_full(&self) -> bool {
        let long = self.seconds >= SECONDS && self.rounds >= ROUNDS && self.calls >= CALLS;
        long && self.reference.is_some()
    }
}

fn main() -> Result {
    let args = Args::parse();
    if args.facilitator {
        return program::serve();
    }
    let chain = payments::chain();
    let mut facilitators = vec![program::Program::ours(&chain)?];
    if let Some(directory) = &args.reference {
        facilitators.push(program::Program::reference(directory, &chain)?);
    }
    let verified = verify::all(&args, &chain, &facilitators)?;
    let called = facilitators
        .iter()
        .map(|facilitator| calls::through(facilitator, &chain, args.calls))
        .collect::<Result<Vec<_>>>()?;
    report::print(&args, &verified, &called, payments::cost_of_a_signature()?)
}
