//! The command line of `farthing pay`, and its manual.

use std::path::PathBuf;

use farthing::protocol::rail::PaymentId;

use super::home::HomeArgs;

pub(super) const PAY: &str = "\
Makes a request as curl would, and pays for the answer when the server asks for it, by the agent's policy and \
within its budgets. Standard output is the content and nothing else; what was paid is said on standard error.

A payment is written into the journal before it is sent, and sent again while its outcome is unknown: never two \
payments for one request. Redirects are followed within the origin only.";

pub(super) const PAY_AFTER: &str = "\
EXAMPLES
  farthing pay http://127.0.0.1:4021/spec/receipt.md
  farthing pay --dry-run http://127.0.0.1:4021/spec/ledger.md
  farthing pay -o digest.md http://127.0.0.1:4021/spec/request-digest.md
  farthing pay --json --task reading http://127.0.0.1:4021/spec/README.md
  farthing pay --max-price '0.01 XTS' http://127.0.0.1:4021/spec/ledger.md

AFTER EXIT 75
  Nobody knows yet whether the payment was taken, or it was taken and its
  answer did not come whole. Standard error shows the command that presents
  the very same payment again: `farthing pay --resume ID`, with the URL, -X,
  -H and -d of before where the journal does not have them (it keeps neither
  headers nor bodies). However often that is done, it is charged once. A
  seller may not keep long answers to be fetched again.

EXIT STATUS
  0   The answer is here (2xx), free or paid for. With --dry-run: it is free,
      or would be paid.
  1   The answer is here, and it has another status: an error, or a redirect
      to another origin. The server may have charged for it; see standard
      error. Or it is not complete: it was paid for while it came, and the
      server ended it, such as at the maximum. What came is what was charged
      for; it is in FILE too, and cannot be had again.
  2   Wrong arguments; or a policy, wallet, journal or FILE that cannot be
      used. Nothing was paid.
  3   Refused by the policy or a budget, or not approved. Nothing was signed.
      Standard error names the rule, and what you could do.
  4   The server refused the payment.
  5   The server asks for a payment that this program cannot make: another
      payment system's 402, or broken terms. Nothing was paid. Its code,
      message and link are shown.
  6   No answer, and nothing was paid.
  75  Unknown, or paid without a whole answer: see above.

OUTPUT WITH --json
  One line on standard error, whatever happens:
      {\"exit\":0,\"status\":200,\"bytes\":4096,\"payment\":{\"id\":\"...\",
       \"cost\":\"0.001 XTS\",\"amount\":{\"atomic\":\"1000\",
       \"decimal\":\"0.001\"},\"payee\":\"...\",\"confirmed\":true,
       \"receipt\":true,\"replayed\":false,\"ended\":null,
       \"no_receipt\":null,\"flags\":[],...}}
  payment is null for a free answer. Of one that was paid for while it came,
  ended is \"complete\", or why the server ended it: \"exhausted\",
  \"deadline\", \"server-stopping\", \"capture-refused\". no_receipt is why
  there cannot be one: \"too-long\" (above 64 KiB), \"events\" or \"metered\".
  Without an answer:
      {\"exit\":3,\"error\":{\"code\":\"refused\",\"detail\":\"...\",
       \"refused\":{\"rule\":\"over_budget\",...},...},\"resume\":null}
  resume is the command to run after exit 75. With --dry-run the line is on
  standard output:
      {\"exit\":0,\"quote\":{\"free\":false,\"chosen\":0,\"offers\":[{
       \"scheme\":\"...\",\"network\":\"...\",\"price\":\"0.001 XTS\",
       \"would_pay\":true,\"refused\":null,...}],...}}

FILES
  See `farthing wallet --help` for the keys. Without --home and FARTHING_HOME
  everything is in .farthing in HOME.";

/// Options of `farthing pay`.
#[derive(Debug, clap::Args)]
pub(crate) struct PayArgs {
    /// What to ask for: an https URL, or an http one on this machine
    #[arg(required_unless_present = "resume")]
    pub(crate) url: Option<String>,

    /// The method; GET, or POST with -d
    #[arg(short = 'X', long, value_name = "METHOD")]
    pub(crate) request: Option<String>,

    /// A header, `Name: value`; may be given several times
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub(crate) headers: Vec<String>,

    /// The body: the text itself, @FILE, or @- for standard input
    ///
    /// It is sent byte for byte, as application/x-www-form-urlencoded unless -H says otherwise.
    #[arg(short, long, value_name = "DATA")]
    pub(crate) data: Option<String>,

    /// Write the content to this file instead of standard output
    ///
    /// The file gets its name when it is whole, and replaces one that is there. The content of an answer that
    /// is not 2xx goes to standard output instead.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Pay at most this, in this currency only, such as '0.01 XTS'; budgets hold besides
    #[arg(long, value_name = "PRICE")]
    pub(crate) max_price: Option<String>,

    /// Count it for this task, too, where the policy has a budget per task
    #[arg(long, value_name = "NAME")]
    pub(crate) task: Option<String>,

    /// Show the offers, which one would be paid, and why others would not; pay nothing
    #[arg(long, conflicts_with_all = ["output", "resume"])]
    pub(crate) dry_run: bool,

    /// Say what was paid in one line of JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Present this payment of the journal again, instead of making a new one
    #[arg(long, value_name = "ID", conflicts_with_all = ["max_price", "task"])]
    pub(crate) resume: Option<PaymentId>,

    #[command(flatten)]
    pub(crate) home: HomeArgs,
}

/// What is laid out by hand.
#[cfg(test)]
pub(super) const LAID_OUT: [&str; 1] = [PAY_AFTER];
