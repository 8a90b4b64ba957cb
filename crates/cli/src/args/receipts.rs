//! The command line of `farthing receipts`, and its manual.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use farthing::protocol::rail::PaymentId;

use super::home::HomeArgs;

pub(super) const RECEIPTS: &str = "\
Shows the payments in an agent's journal, newest first, and what is known of each: confirmed by the network's own \
word, said by the seller only, or unknown. Needs no passphrase, and asks nobody; `farthing budget reconcile` asks \
the networks.";

pub(super) const RECEIPTS_AFTER: &str = "\
EXAMPLES
  farthing receipts
  farthing receipts --since 24h --json
  farthing receipts --origin http://127.0.0.1:4021 --since 2026-01-01

TIMES are a date in UTC (2026-11-21, '2026-11-21 04:31' or with seconds), Unix
seconds, or how long ago: 90s, 30m, 24h, 7d.

AMOUNTS are in atomic units of the asset, as in the journal.

OUTPUT WITH --json
  One line:
      {\"payments\":[{\"id\":\"...\",\"state\":\"confirmed\",\"confirmed\":true,
       \"signed_at\":1795234567,\"method\":\"GET\",\"url\":\"...\",
       \"network\":\"...\",\"asset\":\"XTS\",\"max_amount\":{\"atomic\":\"1000\",
       \"decimal\":null},\"amount\":{...},\"payee\":\"...\",\"agent\":null,
       \"task\":null,\"receipt\":{...},...}]}
  state is one of
      confirmed  The network says what was taken.
      released   The network says that nothing was taken and nothing can be.
      settled    The seller says that it was taken; the network has not.
      voided     The seller says that it was given back; the network has not.
      unknown    It was sent, and what became of it is not known.
      sent       The same, and the agent may still be waiting, or it crashed.
      signed     It was not sent yet.
  receipt is the seller's signed receipt, where there was a valid one.

EXIT STATUS
  0  The payments were listed.
  1  The journal is not as it should be.
  2  Wrong arguments, or there is no such journal or payment.";

/// `farthing receipts`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ReceiptsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ReceiptsCommand>,

    #[command(flatten)]
    pub(crate) list: ListArgs,
}

/// What else there is to do with receipts.
#[derive(Debug, Subcommand)]
pub(crate) enum ReceiptsCommand {
    /// Show everything about one payment
    #[command(after_long_help = SHOW_AFTER)]
    Show(ShowArgs),
    /// Write all payments for accounting, as CSV or JSON lines
    #[command(after_long_help = EXPORT_AFTER)]
    Export(ExportArgs),
}

/// Options of `farthing receipts`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only those signed at this time or later
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,

    /// Only those signed before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,

    /// Only those at this origin, such as `https://api.example.com`
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Option<String>,

    /// At most so many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    pub(crate) limit: u32,

    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) home: HomeArgs,
}

const SHOW_AFTER: &str = "\
EXAMPLES
  farthing receipts show last
  farthing receipts show last --json

The seller's receipt is verified again, by the key that its offer announced.

EXIT STATUS
  0  The payment was shown.
  1  The journal is not as it should be, or the receipt in it does not hold.
  2  There is no such journal or payment.";

/// One payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Last,
    Payment(PaymentId),
}

impl std::str::FromStr for Which {
    type Err = farthing::protocol::WireError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "last" { Ok(Self::Last) } else { text.parse().map(Self::Payment) }
    }
}

/// Options of `farthing receipts show`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// The payment, or `last` for the newest
    #[arg(value_name = "ID|last")]
    pub(crate) id: Which,

    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) home: HomeArgs,
}

const EXPORT_AFTER: &str = "\
EXAMPLES
  farthing receipts export --format csv --out payments.csv
  farthing receipts export --format jsonl --out payments.jsonl
  farthing receipts export --format csv

Every payment is there, oldest first; neither headers nor signatures are. The
file appears whole, with mode 0600, and one that is there is not overwritten.
Without --out it is standard output.

EXIT STATUS
  0  The payments were written.
  1  The journal is not as it should be.
  2  Wrong arguments, no such journal, or a file that cannot be written.";

/// Options of `farthing receipts export`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// How they are written
    #[arg(long)]
    pub(crate) format: Layout,

    /// The file to make
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) home: HomeArgs,
}

/// A layout of payments for accounting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Layout {
    /// RFC 4180, with a line of names
    Csv,
    /// One JSON object a line
    Jsonl,
}

/// What is laid out by hand.
#[cfg(test)]
pub(super) const LAID_OUT: [&str; 3] = [RECEIPTS_AFTER, SHOW_AFTER, EXPORT_AFTER];
