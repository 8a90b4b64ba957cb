//! The command line of `farthing gateway`, and its manual.

use std::path::PathBuf;

use clap::Subcommand;

pub(super) const GATEWAY: &str = "\
Charges for each request in front of any HTTP server, in any language: what is charged for is said in one file, \
gateway.toml. `init` writes one to begin with, --check says whether it can be served, and without either it is served.

The server behind it sees no payment, only who paid: header Farthing-Payer. An answer that is an error, the server's own \
402 included, costs nothing. Keep clients from reaching that server in another way.";

pub(super) const GATEWAY_AFTER: &str = "\
EXAMPLES
  farthing gateway init http://127.0.0.1:8080 --price 0.01
      Writes gateway.toml: every request costs $0.01.
  farthing gateway init http://127.0.0.1:8080 --price '0.01 XTS'
      The same with test money, which anybody can get from its pages.
  farthing gateway --check
  farthing gateway
  farthing gateway --config shop.toml --json > requests.jsonl

OUTPUT
  One line for each request, when its answer is over; the time is UTC, and
  the path has no query:
      12:30:01 GET /articles/1 402 unpaid 1 ms
      12:30:02 GET /articles/1 200 captured 0.01 USD from 3fa9c1d2… 12 ms
      12:30:03 GET /articles/9 404 voided (upstream 404) 9 ms

OUTPUT WITH --json
  A line when connections are accepted, and one for each request:
      {\"listening\":\"http://127.0.0.1:4021\",\"origin\":\"...\",
       \"upstream\":\"...\",\"payee\":\"...\",\"network\":\"farthing:...\"}
      {\"at\":1795264202,\"method\":\"GET\",\"path\":\"/articles/1\",
       \"status\":200,\"outcome\":\"captured\",\"amount\":\"10000\",
       \"price\":\"0.01 USD\",\"payer\":\"...\",\"payment\":\"...\",...}

EXIT STATUS
  0  It was asked to stop (ctrl-c, SIGTERM) and the requests that it had are
     answered; or --check found nothing wrong.
  1  Something is not as it should be: the ledger, a key, a network; with
     --check also a port that is taken, or an upstream that does not answer.
  2  The file cannot be used as it is; the line and the key are named.

FILES in `data`
  payee.key       The account that is paid, unless the file names one.
  authorizer.key  May capture, void and refund its payments.
  ledger/         The ledger, also for `farthing ledger check --data`.
  sales.jsonl     What was sold, for `farthing sales --data`.

SEE ALSO
  spec/gateway.md in the source: every key of the file, what the server
  behind it is told, and which paths are refused.";

const INIT_AFTER: &str = "\
EXAMPLES
  farthing gateway init http://127.0.0.1:8080 --price 0.01
  farthing gateway init http://127.0.0.1:8080 --price 0.5 --config shop.toml

EXIT STATUS
  0  The file is written.
  2  The command could not be carried out as given; also when there is a
     file already, unless --force is given. Nothing was written.";

/// The file, unless another is named.
const FILE: &str = "gateway.toml";

/// Options of `farthing gateway`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct GatewayArgs {
    #[command(subcommand)]
    pub(crate) command: Option<GatewayCommand>,

    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

/// What else there is to do.
#[derive(Debug, Subcommand)]
pub(crate) enum GatewayCommand {
    /// Write a file to begin with
    #[command(after_long_help = INIT_AFTER)]
    Init(InitArgs),
}

/// Options of serving.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// What is charged for
    #[arg(long, value_name = "FILE", default_value = FILE)]
    pub(crate) config: PathBuf,

    /// Say whether it can be served: ports, keys, certificate, the upstream; and serve nothing
    #[arg(long)]
    pub(crate) check: bool,

    /// Print one line of JSON for each request
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `farthing gateway init`.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// The server to stand in front of, such as `http://127.0.0.1:8080`
    #[arg(value_name = "URL")]
    pub(crate) upstream: String,

    /// What a request costs: 0.01 in dollars, or an amount with its currency, '0.01 XTS'
    #[arg(long, value_name = "PRICE")]
    pub(crate) price: String,

    /// Write this file
    #[arg(long, value_name = "FILE", default_value = FILE)]
    pub(crate) config: PathBuf,

    /// Replace a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// What is laid out by hand.
#[cfg(test)]
pub(super) const LAID_OUT: [&str; 2] = [GATEWAY_AFTER, INIT_AFTER];
