//! Payments between farthing and the reference SDKs of x402, in every combination, on a private chain.
//!
//! `cargo xtask interop` runs `farthing-interop grid`, which starts every program and judges every cell by what the
//! chain says. The other roles are the farthing programs of the grid; the reference's are in `node/` and `python/`.

mod artifacts;
mod client;
mod facilitator;
mod grid;
mod ready;
mod server;

use std::process::ExitCode;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(about, disable_help_subcommand = true)]
enum Role {
    Grid(grid::Args),
    Artifacts(artifacts::Args),
    /// Pays.
    Client,
    /// Sells.
    Server,
    /// Settles.
    Facilitator,
}

#[tokio::main]
async fn main() -> ExitCode {
    let ended = match Role::parse() {
        Role::Grid(args) => grid::run(&args).await,
        Role::Artifacts(args) => artifacts::run(&args).await,
        Role::Client => client::run().await,
        Role::Server => server::run().await,
        Role::Facilitator => facilitator::run().await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("farthing-interop: {failure}");
            ExitCode::FAILURE
        }
    }
}
