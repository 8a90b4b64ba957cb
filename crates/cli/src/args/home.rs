//! Where an agent's files are, on the command line.

use std::path::PathBuf;

use crate::args::wallet::Opening;

/// Which agent.
#[derive(Debug, clap::Args)]
pub(crate) struct HomeArgs {
    /// The agent's directory, with wallet.json, policy.toml and journal.sqlite
    ///
    /// Without it FARTHING_HOME names it, else it is .farthing in HOME.
    #[arg(long, value_name = "DIR", env = "FARTHING_HOME", hide_env = true)]
    pub(crate) home: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) opening: Opening,
}
