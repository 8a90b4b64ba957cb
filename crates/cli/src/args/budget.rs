//! The command line of `farthing budget`, and its manual.

use clap::Subcommand;
use farthing::protocol::Network;

use super::home::HomeArgs;

pub(super) const BUDGET: &str = "\
Shows what an agent may spend by its policy, what it has spent, and what is reserved for payments whose end is not \
known yet. What is spent counts in every process that uses the same home, and across restarts.";

pub(super) const BUDGET_AFTER: &str = "\
EXAMPLES
  farthing budget
  farthing budget --json
  farthing budget freeze
  farthing budget unfreeze

LIMITS are in policy.toml of the agent's home; change them there.

OUTPUT WITH --json
  One line:
      {\"frozen_since\":null,\"open\":0,\"budgets\":[{\"network\":\"...\",
       \"asset\":\"XTS\",\"currency\":\"XTS\",\"scale\":6,
       \"limits\":{\"total\":{\"atomic\":\"5000000\",\"decimal\":\"5\"},...},
       \"taken\":{...},\"reserved\":{...},\"left\":{...},
       \"counted\":[{\"limit\":\"per_day\",\"of\":\"1795219200\",
       \"amount\":{...}}]}]}
  open is the number of payments whose end is not known. counted has what is
  spent and reserved in each part that has a limit.

EXIT STATUS
  0   Done. The budgets were shown.
  1   The journal or the wallet is not as it should be, or its network does
      not answer.
  2   Wrong arguments, or no such home.
  75  After reconcile: some payments are still open. Try again later.";

/// `farthing budget`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BudgetArgs {
    #[command(subcommand)]
    pub(crate) command: Option<BudgetCommand>,

    #[command(flatten)]
    pub(crate) show: ShowArgs,
}

/// What else there is to do with budgets.
#[derive(Debug, Subcommand)]
pub(crate) enum BudgetCommand {
    /// Stop all signing, at once and in every process of this home
    #[command(after_long_help = FREEZE_AFTER)]
    Freeze(HomeArgs),
    /// Allow signing again
    #[command(after_long_help = UNFREEZE_AFTER)]
    Unfreeze(HomeArgs),
    /// Allow an origin to name this payee, besides the one it had
    #[command(after_long_help = APPROVE_AFTER)]
    ApprovePayee(ApproveArgs),
    /// Ask the networks what became of the payments that are open
    #[command(after_long_help = RECONCILE_AFTER)]
    Reconcile(ShowArgs),
}

/// Options of `farthing budget` and `farthing budget reconcile`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) home: HomeArgs,
}

const FREEZE_AFTER: &str = "\
EXAMPLES
  farthing budget freeze
  farthing budget freeze --home .farthing

Needs no passphrase. Payments that were signed before can still be presented
again; nothing new is signed until `farthing budget unfreeze`.

EXIT STATUS
  0  Nothing is signed from now on.
  1  The journal is not as it should be.
  2  Wrong arguments, or no such home.";

const UNFREEZE_AFTER: &str = "\
EXAMPLES
  farthing budget unfreeze
  farthing budget unfreeze --home .farthing

EXIT STATUS
  0  Payments are signed again.
  1  The journal is not as it should be.
  2  Wrong arguments, or no such home.";

const APPROVE_AFTER: &str = "\
EXAMPLES
  farthing budget approve-payee https://api.example.com eip155:8453 0x1234
  farthing budget approve-payee http://127.0.0.1:4021 eip155:84532 0x5678

An origin is paid at the payee that it was first paid at. When it names
another one, the payment is refused and both are shown. Ask the service before
you approve: a payee that changed may be somebody in between.

EXIT STATUS
  0  The payee is approved.
  1  The journal is not as it should be.
  2  Wrong arguments, or no such home.";

/// Options of `farthing budget approve-payee`.
#[derive(Debug, clap::Args)]
pub(crate) struct ApproveArgs {
    /// The service, such as `https://api.example.com`
    pub(crate) origin: String,

    /// The network, such as eip155:8453
    pub(crate) network: Network,

    /// The account, in the network's own words
    pub(crate) payee: String,

    #[command(flatten)]
    pub(crate) home: HomeArgs,
}

const RECONCILE_AFTER: &str = "\
EXAMPLES
  farthing budget reconcile
  farthing budget reconcile --json

What the network took is spent, and what it can no longer take is given back
to the budget. Without the network's word a reservation stays.

EXIT STATUS
  0   Nothing is open any more.
  1   The journal or the wallet is not as it should be, or its network does
      not answer.
  2   Wrong arguments, or no such home.
  75  Some payments are still open. Try again later.";

/// What is laid out by hand.
#[cfg(test)]
pub(super) const LAID_OUT: [&str; 5] =
    [BUDGET_AFTER, FREEZE_AFTER, UNFREEZE_AFTER, APPROVE_AFTER, RECONCILE_AFTER];
