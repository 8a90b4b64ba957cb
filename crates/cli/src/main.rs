//! The `farthing` command. Read it in this order: [`args`], then the command of your choice.

mod agentd;
mod args;
mod budget;
mod demo;
mod gateway;
mod given;
mod home;
mod inspect;
mod ledger;
mod manual;
mod mcp;
mod pay;
mod policy;
mod receipts;
mod refund;
mod sales;
mod stop;
mod style;
mod told;
mod wallet;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::Command;

/// Paid requests allocate from several threads at once, which the system's allocator is slower at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a command ends with when it did what it was asked to and did not like what it found.
const UNSOUND: u8 = 1;
/// What a command ends with when it could not make sense of what it was given.
const BAD_INPUT: u8 = 2;

/// Why a command did not succeed: the exit status, and one sentence for standard error.
#[derive(Debug)]
struct Failure {
    status: u8,
    why: String,
}

impl Failure {
    /// Something is not as it should be.
    fn unsound(why: impl std::fmt::Display) -> Self {
        Self { status: UNSOUND, why: why.to_string() }
    }

    /// The input is not what the command reads.
    fn bad_input(why: impl std::fmt::Display) -> Self {
        Self { status: BAD_INPUT, why: why.to_string() }
    }
}

fn main() -> ExitCode {
    let args = args::Args::parse();
    log();
    let done = match args.command {
        Command::Agentd(options) => agentd::run(&options),
        Command::Budget(options) => budget::run(&options),
        Command::Completions(options) => manual::completions(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Gateway(options) => gateway::run(&options),
        Command::Inspect(options) => inspect::run(&options),
        Command::Ledger { command } => ledger::run(&command),
        Command::Man(options) => manual::man(&options),
        Command::Mcp(options) => mcp::run(&options),
        Command::Pay(options) => pay::run(&options),
        Command::Receipts(options) => receipts::run(&options),
        Command::Refund(options) => refund::run(&options),
        Command::Sales(options) => sales::run(&options),
        Command::Policy { command } => policy::run(&command),
        Command::Wallet { command } => wallet::run(&command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { status, why }) => {
            // Whoever asked for JSON has been told.
            if !why.is_empty() {
                style::complain(&why);
            }
            ExitCode::from(status)
        }
    }
}

/// Logs to standard error what `RUST_LOG` asks for, and only errors without it. What the database's own log
/// says comes back as an error, too.
fn log() {
    let filter = match std::env::var_os("RUST_LOG") {
        Some(asked) if !asked.is_empty() => EnvFilter::from_default_env(),
        _ => EnvFilter::new("error,fjall=off,lsm_tree=off"),
    };
    let colours =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours);
    log.with_writer(std::io::stderr).init();
}
