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
       \"task\":null,\"receipt\":{...},\"receipt_jws\":null,...}]}
  state is one of
      confirmed  The network says what was taken.
      released   The network says that nothing was taken and nothing can be.
      settled    The seller says that it was taken; the network has not.
      voided     The seller says that it was given back; the network has not.
      unknown    It was sent, and what became of it is not known.
      sent       The same, and the agent may still be waiting, or it crashed.
      signed     It was not sent yet.
  receipt is the seller's signed receipt, where there was a valid one, and
  receipt_jws the one of x402's extension offer-receipt.

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
    /// Check a signed offer or receipt, without asking anybody
    #[command(long_about = VERIFY, after_long_help = VERIFY_AFTER)]
    Verify(Box<VerifyArgs>),
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

const VERIFY: &str = "\
Checks what a seller signed: offers and receipts of x402's extension offer-receipt (compact JWS with EdDSA), and \
farthing's own receipts. It finds them in an x402 header, in a settlement, in terms, in what `farthing receipts \
--json` prints, or takes one alone. It needs no network, no journal and no passphrase, and says what is proven and \
what is not.";

const VERIFY_AFTER: &str = "\
EXAMPLES
  farthing receipt verify receipt.json
  farthing receipt verify --key did:key:z6Mk... --url https://a.example/x a.jws
  farthing receipts show last --json | farthing receipt verify
  farthing receipt verify 'PAYMENT-RESPONSE: eyJzdWNjZXNzIjp0cnVl...'

WHOSE KEY
  A signature proves that a key signed, and not whose key that is: anybody can
  sign for any URL. Without --key a receipt is checked with the key that it
  carries itself, and the last line says so. The seller's key is `receiptKey`
  in its offers (64 hex digits), and the same as a did:key in what it signs.

  Keys of other kinds (did:web, did:jwk) are not looked up. With --key they are
  not needed.

OUTPUT WITH --json
  One line:
      {\"holds\":true,\"signed\":[{\"kind\":\"receipt\",\"format\":\"jws\",
       \"holds\":true,\"key\":\"...\",\"did\":\"did:key:z6Mk...\",\"kid\":null,
       \"states\":{...},\"problems\":[],\"not_proven\":[\"...\"]}],
       \"unconfirmed\":[]}
  kind is offer or receipt; format is jws or farthing; states is null where the
  signature does not hold.

EXIT STATUS
  0  Every signature holds, and all that was to be compared is the same.
  1  A signature does not hold, or something else was signed.
  2  It cannot be read, or its key is not known here.";

/// Options of `farthing receipts verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// A file, - for standard input, or the text itself: a JWS, JSON, or a header's value
    #[arg(value_name = "FILE|TEXT|-", default_value = "-", hide_default_value = true)]
    pub(crate) input: String,

    /// The seller's key: a did:key, or 64 hex digits
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,

    /// What was paid for: the whole URL
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,

    /// Who paid, in the network's own words
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) payer: Option<String>,

    /// A file with the body of the answer; only farthing's own receipts cover it
    #[arg(long, value_name = "FILE")]
    pub(crate) body: Option<PathBuf>,

    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is laid out by hand.
#[cfg(test)]
pub(super) const LAID_OUT: [&str; 4] = [RECEIPTS_AFTER, SHOW_AFTER, EXPORT_AFTER, VERIFY_AFTER];
