//! The command line of `farthing policy`, and its manual.

use std::path::PathBuf;

use clap::Subcommand;

pub(super) const POLICY: &str = "\
What an agent may pay is said in one file, policy.toml in the agent's directory, that a person writes: which networks, \
assets and origins, how much, and when somebody has to be asked. What it does not allow is not paid. `init` writes one \
to begin with, `check` says what one allows.";

pub(super) const POLICY_AFTER: &str = "\
EXAMPLES
  farthing policy init --ledger http://127.0.0.1:4021/ledger --total '5 XTS'
  farthing policy check
  farthing policy check --json

EXIT STATUS
  0  Done.
  1  The ledger does not answer.
  2  The command could not be carried out as given; also for a policy that
     is not understood, with the line and the key.

SEE ALSO
  spec/policy.md in the source: every key of the file.";

const INIT_AFTER: &str = "\
EXAMPLES
  farthing policy init --ledger http://127.0.0.1:4021/ledger --total '5 XTS'
      Pays the seller that the ledger is at, and nobody else.

ON A CHAIN
  --network eip155:84532 --rpc URL --origin ORIGIN --total '2 USD'

EXIT STATUS
  0  The policy is written, with mode 0600.
  1  The ledger does not answer.
  2  The command could not be carried out as given; also when there is a
     policy already. Nothing was written.";

const CHECK_AFTER: &str = "\
EXAMPLES
  farthing policy check
  farthing policy check --json

EXIT STATUS
  0  The policy is understood, and says what was printed.
  2  It is not, or it is not there; standard error names the line and the key.";

/// What is laid out by hand.
#[cfg(test)]
pub(super) const LAID_OUT: [&str; 3] = [POLICY_AFTER, INIT_AFTER, CHECK_AFTER];

/// What to do with a policy.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Write a policy to begin with
    #[command(after_long_help = INIT_AFTER)]
    Init(InitArgs),
    /// Say what the policy allows; needs no passphrase
    #[command(after_long_help = CHECK_AFTER)]
    Check(CheckArgs),
}

/// Whose policy.
#[derive(Debug, clap::Args)]
pub(crate) struct PolicyPlace {
    /// The agent's directory
    ///
    /// Without it FARTHING_HOME names it, else it is .farthing in HOME.
    #[arg(long, value_name = "DIR", env = "FARTHING_HOME", hide_env = true)]
    pub(crate) home: Option<PathBuf>,

    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `farthing policy init`.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    pub(crate) place: PolicyPlace,

    /// Pay on the ledger whose facilitator answers at this URL
    #[arg(long, value_name = "URL", required_unless_present = "network", conflicts_with = "network")]
    pub(crate) ledger: Option<String>,

    /// Pay on this chain, such as eip155:84532
    #[arg(long, value_name = "CHAIN", requires = "rpc")]
    pub(crate) network: Option<String>,

    /// A node of the chain; may be given again for others to fall back on
    #[arg(long, value_name = "URL", requires = "network")]
    pub(crate) rpc: Vec<String>,

    /// Pay from this account of the wallet
    #[arg(long, value_name = "NAME", default_value = "agent")]
    pub(crate) account: String,

    /// Pay to this origin, such as `https://api.example.com`; may be given again
    ///
    /// Without it, to the origin that the ledger is at.
    #[arg(long, value_name = "ORIGIN", required_unless_present = "ledger")]
    pub(crate) origin: Vec<String>,

    /// Spend at most this altogether, such as '5 XTS'
    #[arg(long, value_name = "PRICE")]
    pub(crate) total: String,

    /// Spend at most this for one request
    #[arg(long, value_name = "PRICE")]
    pub(crate) per_request: Option<String>,

    /// Spend at most this in one day (UTC)
    #[arg(long, value_name = "PRICE")]
    pub(crate) per_day: Option<String>,
}

/// Options of `farthing policy check`.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) place: PolicyPlace,
}
