//! `cargo xtask sim`: plays seeds of the simulator in crates/testkit.

use crate::step::{self, Fallible};
use crate::workspace;

/// Plays clients, servers, a facilitator and a ledger in one thread, seed after seed.
///
/// Links lose, double and delay messages, processes crash at named points and start again from what was flushed,
/// commits fail and land all the same, handlers panic, a payer cheats. What must never be is looked for after every
/// step. Ends with one line of figures, or with the trace of the first seed that fails; that seed fails again with
/// `--seed`. From 1000 seeds on, something interesting that never happened is a failure, too.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Plays this one only, and prints its trace.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Builds with optimisations, which takes longer and plays three times as many seeds a second.
    #[arg(long)]
    release: bool,
}

/// # Errors
/// When the simulator cannot be built, or a seed fails.
pub(crate) fn run(args: &Args) -> Fallible {
    let root = workspace::root()?;
    let mut command = step::cargo(&root);
    command.args(["run", "--package", "farthing-testkit", "--bin", "sim"]);
    if args.release {
        command.arg("--release");
    }
    command.arg("--");
    match args.seed {
        Some(seed) => command.args(["--seed", &seed.to_string()]),
        None => command.args(["--seeds", &args.seeds.to_string(), "--from", &args.from.to_string()]),
    };
    step::run(&mut command)
}
