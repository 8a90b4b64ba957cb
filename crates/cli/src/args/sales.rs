//! The command line of `farthing sales` and `farthing refund`, and their manual.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use farthing::protocol::PublicKey;
use farthing::protocol::rail::PaymentId;

use super::Place;

pub(super) const SALES: &str = "\
Shows a seller what was sold: by route, by day, by payer or payment by payment, what was taken, what was given back, \
and what is still held. The ledger is the truth about money, and its payments are listed whether a server has it or \
not. Which route a payment was for stands in the log of sales that a server writes beside it (sales.jsonl), as do \
payments on chains; a payment that the log does not know is listed under (unnamed).

It reads only. While a process has the ledger, that process is asked, and goes on taking payments. A ledger keeps \
payments for 90 days after they were made: keep a CSV of each month for your books.";

pub(super) const SALES_AFTER: &str = "\
EXAMPLES
  farthing sales --data farthing-data
  farthing sales --data farthing-data --by day --since 30d
  farthing sales --data farthing-data --by payment --since 24h
  farthing sales --data farthing-data --pending
  farthing sales --data shop --since 2026-11-01 --until 2026-12-01 --csv

TIMES are a date in UTC (2026-11-21, '2026-11-21 04:31' or with seconds), Unix
seconds, or how long ago: 90s, 30m, 24h, 7d. A payment belongs to the moment
at which its hold ended, and while it is held, to the one at which it began.
What is given back counts on the day of the sale.

COLUMNS
  SOLD       Payments of which something was taken.
  CAPTURED   What was taken of them.
  REFUNDED   What of this was given back afterwards, and of how many.
  NET        What is left: captured, less refunded and the operator's fee.
  PENDING    Payments that are still held, or whose outcome nobody knows.
  UNSOLD     Payments that were given back whole: voided or over.

AMOUNTS are in whole units of the asset; in atomic units, and said to be,
where its decimal places are not known.

OUTPUT WITH --json
  One line:
      {\"network\":\"farthing:...\",\"as_of\":1795234567,\"since\":null,
       \"until\":null,\"by\":\"route\",\"groups\":[{\"route\":\"weather\",
       \"network\":\"farthing:...\",\"asset\":\"XTS\",\"scale\":6,\"sold\":3,
       \"captured\":{\"atomic\":\"30000\",\"decimal\":\"0.03\"},\"fee\":{...},
       \"refunds\":1,\"refunded\":{...},\"net\":{...},\"pending\":0,
       \"held\":{...},\"unsold\":0}],\"totals\":[...],\"log\":{...}}
  totals has one such object for each asset. log says how many lines of the
  log were read, and how many could not be; null where there is none.
  With --by payment a group has payment, at, route, payer and state; with
  --pending there is a list pending instead of groups and totals.

EXIT STATUS
  0  The sales were listed.
  1  The ledger or the log cannot be read to its end.
  2  Wrong arguments, or there is no ledger there.";

/// Options of `farthing sales`.
#[derive(Debug, clap::Args)]
pub(crate) struct SalesArgs {
    #[command(flatten)]
    pub(crate) shop: Shop,

    /// The log of sales, when it is not sales.jsonl in the directory
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,

    /// Only what was sold at or after this time
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,

    /// Only what was sold before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,

    /// What is added up
    #[arg(long, value_enum, default_value_t = By::Route)]
    pub(crate) by: By,

    /// Only what this account was paid, on a ledger with several sellers
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) payee: Option<PublicKey>,

    /// List payments that are still held, or whose outcome nobody knows, one by one
    #[arg(long, conflicts_with = "by")]
    pub(crate) pending: bool,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,

    /// Print comma-separated values, with a line of names
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
}

/// What sales are added up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// The name of the route
    Route,
    /// The day, in UTC
    Day,
    /// Who paid
    Payer,
    /// Nothing: each payment by itself, the oldest first
    Payment,
}

impl By {
    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Day => "day",
            Self::Payer => "payer",
            Self::Payment => "payment",
        }
    }
}

/// Where a seller's ledger is.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Shop {
    #[command(flatten)]
    place: Place,
}

impl Shop {
    /// The ledger: in the directory, or in the directory `ledger` of it, where a gateway has its own.
    pub(crate) fn ledger(&self) -> Place {
        match self.place.directory() {
            Some(data) if !data.join(KEY).exists() && data.join(LEDGER).join(KEY).exists() => {
                Place::in_directory(data.join(LEDGER))
            }
            _ => self.place.clone(),
        }
    }

    /// A file beside the ledger, if it is there: in the directory, or above it when it is only the ledger's.
    pub(crate) fn beside(&self, name: &str) -> Option<PathBuf> {
        let data = self.place.directory()?;
        let above = data.file_name().filter(|last| *last == LEDGER).and_then(|_| data.parent());
        let place = |directory: &Path| directory.join(name);
        [Some(data), above].into_iter().flatten().map(place).find(|path| path.exists())
    }
}

/// The directory that a gateway's ledger has in its data, and the file that every ledger's directory has.
const LEDGER: &str = "ledger";
const KEY: &str = "ledger.key";

pub(super) const REFUND: &str = "\
Gives back what was captured of a payment, all of it or up to an amount, signed with the seller's authorizer key. \
The amount is the TOTAL given back of this payment, not what is added: --amount 0.01 said twice gives back 0.01, \
and so does a command that was interrupted and is run again. To give back more later, name the larger total.

Never more is given back than was captured, and nothing after the payment's refundDeadline. Payments of the schemes \
exact and upto cannot be refunded on the ledger. The money comes from the seller's account.

While a process has the ledger, it is sent what was signed, and never the key.";

pub(super) const REFUND_AFTER: &str = "\
EXAMPLES
  farthing sales --data farthing-data --by payment --since 24h
  farthing refund 3f0c...e1 --data farthing-data
  farthing refund 3f0c...e1 --data farthing-data --amount 0.01
  farthing refund 3f0c...e1 --data ./ledger --authorizer authorizer.key

OUTPUT WITH --json
  One line:
      {\"payment\":\"...\",\"network\":\"farthing:...\",\"asset\":\"XTS\",\"scale\":6,
       \"changed\":true,\"captured\":{\"atomic\":\"30000\",\"decimal\":\"0.03\"},
       \"before\":{\"refunded\":{...},\"net\":{...}},
       \"after\":{\"refunded\":{...},\"net\":{...}}}
  and when it was refused, with exit status 1:
      {\"payment\":\"...\",\"refused\":{\"reason\":\"...\",\"detail\":\"...\"}}

EXIT STATUS
  0   It is given back; or it was before, and nothing was done.
  1   It cannot be given back; the reason is said.
  2   Wrong arguments, no such ledger or payment, or a key that cannot be used.
  75  Nobody knows whether it was done. Run the same command again: it is done
      once.";

/// Options of `farthing refund`.
#[derive(Debug, clap::Args)]
pub(crate) struct RefundArgs {
    /// The payment: 64 hex digits
    #[arg(value_name = "PAYMENT")]
    pub(crate) payment: PaymentId,

    #[command(flatten)]
    pub(crate) shop: Shop,

    /// The total to have given back of this payment, such as 0.01; all that was captured unless given
    #[arg(long, value_name = "TOTAL")]
    pub(crate) amount: Option<String>,

    /// The file with the seller's authorizer key (64 hex digits, mode 0600); authorizer.key in the directory unless
    /// given
    #[arg(long, value_name = "FILE", visible_alias = "authorizer-key")]
    pub(crate) authorizer: Option<PathBuf>,

    /// The file with the ledger's key, for a ledger on PostgreSQL; a directory has its own
    #[arg(long, value_name = "FILE", requires = "postgres", conflicts_with = "data")]
    pub(crate) key: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is laid out by hand.
#[cfg(test)]
pub(super) const LAID_OUT: [&str; 2] = [SALES_AFTER, REFUND_AFTER];
