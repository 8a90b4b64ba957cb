//! The command line: what can be asked, and the manual that `--help` shows.

pub(crate) mod agentd;
pub(crate) mod budget;
pub(crate) mod gateway;
pub(crate) mod home;
mod ledger;
pub(crate) mod manual;
pub(crate) mod mcp;
pub(crate) mod pay;
pub(crate) mod policy;
pub(crate) mod receipts;
pub(crate) mod sales;
pub(crate) mod wallet;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

const ABOUT: &str = "Pay per request over HTTP, settled exactly once";

const LONG_ABOUT: &str = "\
farthing lets an HTTP server charge for each request and an agent pay for it, with the headers of the x402 \
protocol: the server answers 402 with its price, the client signs a payment for exactly this request, and a \
ledger moves the money once.

This command shows it (demo), explains what travels (inspect), and pays for an agent: with its keys (wallet), by its \
policy (policy) and within its budgets (budget), from a terminal (pay), for other programs (agentd) and for language \
models (mcp), and keeps what was bought (receipts). For a seller it charges in front of any server (gateway), shows \
what was sold (sales) and gives money back (refund). And it looks after a ledger: proves that its books are right, \
ends payments in doubt, exports and backs up (ledger). Nothing here needs an account, a blockchain or real money.";

const AFTER: &str = "\
EXAMPLES
  Watch an agent buy pages from a server, explained step by step:
      farthing demo

  Keep that server running, and look at it from another terminal:
      farthing demo --serve --port 4021
      curl -i http://127.0.0.1:4021/spec/receipt.md
      farthing inspect http://127.0.0.1:4021/spec/receipt.md

  Decode a header that you found in a log:
      farthing inspect eyJ4NDAyVmVyc2lvbiI6Mi...

  Prove a ledger, also while the demo is running on it:
      farthing ledger check --data ./ledger

EXIT STATUS
  0  Everything is as it should be.
  1  The command ran, and something is wrong: books that do not balance,
     a signature that does not hold, a paid answer that the ledger does not
     confirm, a server that does not answer.
  2  The command could not be carried out as given: wrong arguments, a header
     that cannot be read, a directory without a ledger.

ENVIRONMENT
  NO_COLOR        When set and not empty, nothing is coloured. Output that is
                  not a terminal never is.
  CLICOLOR_FORCE  When set and not empty, output is coloured even when it is
                  not a terminal.
  RUST_LOG        What to log to standard error, as farthing_server=debug.
                  Only errors by default. Payments and keys are never logged.

SEE ALSO
  farthing demo --help
  farthing gateway --help
  farthing inspect --help
  farthing pay --help, and of policy, budget, receipts, agentd, mcp
  farthing sales --help, farthing refund --help
  farthing ledger --help, and --help of each of its commands
  farthing wallet --help, and --help of each of its commands
  The directory spec/ of the source: everything that is signed and sent.";

/// Everything on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "farthing",
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_long_help = AFTER,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

pub(crate) use ledger::{
    BackupArgs, CheckArgs, ExportArgs, Kind, LedgerCommand, Place, RecoverArgs, RestoreArgs,
};

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Pay for programs in any language: a service on this machine only
    #[command(long_about = agentd::AGENTD, after_long_help = agentd::AGENTD_AFTER)]
    Agentd(agentd::AgentdArgs),
    /// Show what may be spent and what was; stop all payments, or allow them again
    #[command(long_about = budget::BUDGET, after_long_help = budget::BUDGET_AFTER)]
    Budget(Box<budget::BudgetArgs>),
    /// Print the completions of this command for a shell
    #[command(after_long_help = manual::COMPLETIONS_AFTER)]
    Completions(manual::CompletionsArgs),
    /// Watch an agent pay a server, step by step, with play money
    #[command(long_about = DEMO, after_long_help = DEMO_AFTER)]
    Demo(DemoArgs),
    /// Charge for each request in front of any HTTP server
    #[command(long_about = gateway::GATEWAY, after_long_help = gateway::GATEWAY_AFTER)]
    Gateway(Box<gateway::GatewayArgs>),
    /// Say in words what an x402 header, or a URL, asks or proves
    #[command(long_about = INSPECT, after_long_help = INSPECT_AFTER)]
    Inspect(InspectArgs),
    /// Look after a ledger: prove it, end what is in doubt, copy it
    #[command(long_about = ledger::LEDGER, after_long_help = ledger::LEDGER_AFTER)]
    Ledger {
        #[command(subcommand)]
        command: LedgerCommand,
    },
    /// Print this manual as a page for man
    #[command(after_long_help = manual::MAN_AFTER)]
    Man(manual::ManArgs),
    /// Give a language model tools that pay, under the agent's policy
    #[command(long_about = mcp::MCP, after_long_help = mcp::MCP_AFTER)]
    Mcp(mcp::McpArgs),
    /// Ask a URL, and pay for the answer if it must be paid for
    #[command(long_about = pay::PAY, after_long_help = pay::PAY_AFTER)]
    Pay(Box<pay::PayArgs>),
    /// List the payments of an agent, and what is known of each
    #[command(visible_alias = "receipt", long_about = receipts::RECEIPTS, after_long_help = receipts::RECEIPTS_AFTER)]
    Receipts(Box<receipts::ReceiptsArgs>),
    /// Give back what was captured of a payment, once
    #[command(long_about = sales::REFUND, after_long_help = sales::REFUND_AFTER)]
    Refund(Box<sales::RefundArgs>),
    /// Show a seller what was sold, given back and is still held
    #[command(long_about = sales::SALES, after_long_help = sales::SALES_AFTER)]
    Sales(Box<sales::SalesArgs>),
    /// Say what an agent may pay
    #[command(long_about = policy::POLICY, after_long_help = policy::POLICY_AFTER)]
    Policy {
        #[command(subcommand)]
        command: policy::PolicyCommand,
    },
    /// Keep the keys that pay, encrypted in one file
    #[command(long_about = wallet::WALLET, after_long_help = wallet::WALLET_AFTER)]
    Wallet {
        #[command(subcommand)]
        command: wallet::WalletCommand,
    },
}

const DEMO: &str = "\
Starts, in one process and on this machine only: a ledger in a directory, its facilitator, a server that sells \
the pages of farthing's own specification at different prices, and an agent with a budget that is too small for \
all of them. Everything between them is real: HTTP, signatures, a durable ledger. Only the money is not: XTS is \
the currency code that ISO 4217 reserves for tests.

The story is told step by step: the price, the payment, the answer and its receipt, the same payment presented \
again, the same payment presented for something else, a page that the agent will not buy, and then many requests \
until the budget is used up. It ends by verifying the ledger's whole history.

With --network the money is a token on an EVM chain: the agent signs what a facilitator settles there, and the \
story ends with the balances on the chain.";

const DEMO_AFTER: &str = "\
EXAMPLES
  farthing demo
      The story, with 50 requests at its end.
  farthing demo --requests 2000 --json
      One line for programs, and nothing else.
  farthing demo --serve
      The story, and then a server to try things on.
  farthing demo --serve --no-story --data ./ledger --port 4021
      A server that can be stopped, killed and started again.
  farthing demo --network eip155:84532 --rpc http://127.0.0.1:8545
      The same with a token on a chain of your own, as started by
      `anvil --chain-id 84532 --block-time 1 --mixed-mining`. A token like
      USDC must be there, at the address that USDC has on that chain.

OUTPUT WITH --json
  One line at the end:
      {\"requests\":50,\"paid\":36,\"refused_by_budget\":14,
       \"spent\":\"0.0885 XTS\",\"ledger_balanced\":true,
       \"p50_ms\":2.1,\"p99_ms\":7.4}
  requests = paid + refused_by_budget. The times are what payment adds to a
  request: how long a paid call took, less the median of calls to a free page
  made between them; null when nothing was paid.

  With --serve there is one line more, printed first, when the server accepts
  connections:
      {\"listening\":\"http://127.0.0.1:4021\",
       \"ledger\":\"http://127.0.0.1:4021/ledger\",
       \"network\":\"farthing:...\",\"data\":\"DIR\",\"agent_key\":\"DIR/agent.key\",
       \"pages\":[{\"path\":\"/spec/receipt.md\",\"price\":\"0.001 XTS\"},...]}

  With --network the line is
      {\"requests\":20,\"paid\":15,\"refused_by_budget\":5,\"spent\":\"0.037 USD\",
       \"chain_balanced\":true,\"network\":\"eip155:84532\",\"token\":\"0x...\",
       \"agent\":{\"address\":\"0x...\",\"before\":\"...\",\"after\":\"...\"},
       \"seller\":{...},\"p50_ms\":20.1,\"p99_ms\":31.4}
  with balances on the chain in atomic units of the token.

FILES in the directory of --data
  rows/             The ledger. `farthing ledger check --data DIR` verifies
                    it, also while it is in use.
  lock, admin.sock  Who has the directory, and how to reach that process.
  ledger.key        The ledger's key. Whoever has it is the ledger.
  issuer.key        Signs deposits. Whoever has it can make money here.
  seller.key        The account that is paid.
  authorizer.key    May capture, void and refund the seller's payments.
  agent.key         The agent's account. Whoever has it can spend its money.
  payment.header    The payment of the last story, to be presented again.
  sales.jsonl       Which page each payment was for: `farthing sales` reads it.

EXIT STATUS
  0  The ledger confirmed every paid answer, and balances; on a chain: the
     balances there moved by exactly the price of what was paid.
  1  Not so; the reason is on standard error.
  2  Wrong arguments, or a directory, port or chain that cannot be used.";

/// Options of `farthing demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// How many requests the agent makes after the story; 50 unless given, 20 on a chain
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) requests: Option<u32>,

    /// Keep the server running afterwards, until ctrl-c
    ///
    /// Prints commands to try from another terminal.
    #[arg(long)]
    pub(crate) serve: bool,

    /// Print one line of JSON at the end, and no story
    #[arg(long)]
    pub(crate) json: bool,

    /// Keep the ledger in this directory, and use the one that is there
    ///
    /// It is made if it is not there. Payments and balances of earlier runs are still known. Without this,
    /// the ledger lives in a temporary directory that is removed at the end.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// Listen on this port of 127.0.0.1 instead of a free one
    ///
    /// A payment is bound to the server's address: only with the same port are payments from before a
    /// restart good after it.
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    pub(crate) port: u16,

    /// Pay with a token on this chain, such as eip155:84532, instead of play money on a ledger
    ///
    /// It must be a development chain (anvil or hardhat) that says it is this one: the demonstration uses the
    /// accounts that these chains are known to have, and no others.
    #[arg(long, value_name = "CHAIN", requires = "rpc", conflicts_with_all = ["serve", "data"])]
    pub(crate) network: Option<String>,

    /// Where the chain of --network answers
    #[arg(long, value_name = "URL", requires = "network")]
    pub(crate) rpc: Option<String>,

    /// Pay with the token at this address instead of the chain's USDC
    ///
    /// It must know EIP-3009 (transferWithAuthorization), as USDC does.
    #[arg(long, value_name = "ADDRESS", requires = "network")]
    pub(crate) token: Option<String>,

    /// Tell no story and make no requests: only start the server
    #[arg(long, requires = "serve", conflicts_with = "requests")]
    pub(crate) no_story: bool,
}

const INSPECT: &str = "\
Decodes the value of any x402 payment header, of version 1 or 2, and says in words what it asks or proves: \
PAYMENT-REQUIRED (a price), PAYMENT-SIGNATURE (a payment), PAYMENT-RESPONSE (what became of it), X-PAYMENT and \
X-PAYMENT-RESPONSE (the same in version 1). The JSON itself, such as the body of a version 1 answer, is read too.

For farthing networks it also decodes what was signed, and checks the signatures. What a server or client merely \
claims is marked as such.

Given a URL it makes one request without a payment, and explains the answer. It never pays.";

const INSPECT_AFTER: &str = "\
EXAMPLES
  farthing inspect eyJ4NDAyVmVyc2lvbiI6Mi...
  farthing inspect 'PAYMENT-REQUIRED: eyJ4NDAyVmVyc2lvbiI6Mi...'
  farthing inspect http://127.0.0.1:4021/spec/receipt.md
  farthing inspect --json - < header.txt | jq '.accepts[0].amount'

A payment is as good as money until it is used or expires. Give one that is
still valid on standard input: other users of a machine can see command lines.

EXIT STATUS
  0  It was decoded, and every signature that could be checked holds.
  1  It was decoded, and a signature does not hold; or the URL does not answer.
  2  It is not an x402 message, or not a URL that is asked (https, or http on
     this machine).";

/// Options of `farthing inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// A header's value, `Name: value`, an x402 message as JSON, a URL, or - for standard input
    #[arg(value_name = "HEADER|URL|-")]
    pub(crate) input: String,

    /// Print the decoded JSON instead of words
    ///
    /// For a URL: {"status":402,"terms":{...}}, with null for terms that are not there.
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_is_laid_out_by_hand_fits_a_terminal() {
        for line in [
            &[AFTER, DEMO_AFTER, INSPECT_AFTER][..],
            &ledger::LAID_OUT,
            &wallet::LAID_OUT,
            &policy::LAID_OUT,
            &mcp::LAID_OUT,
            &pay::LAID_OUT,
            &receipts::LAID_OUT,
            &sales::LAID_OUT,
            &budget::LAID_OUT,
            &manual::LAID_OUT,
            &agentd::LAID_OUT,
            &gateway::LAID_OUT,
        ]
        .concat()
        .iter()
        .flat_map(|text| text.lines())
        {
            assert!(line.chars().count() < 80, "{line}");
        }
    }
}
