//! The command line of `farthing agentd`, and its manual.

use std::path::PathBuf;

use crate::args::home::HomeArgs;

pub(super) const AGENTD: &str = "\
Runs a service on this machine that pays for programs in any language: they post the request that they want made, \
and get the answer. All of them share one wallet, one policy and one budget, which no program can change.

It listens on 127.0.0.1 only, and on a unix socket if asked to. Whoever has the token can spend the budget: it is \
drawn anew at each start, and written to a file that only you can read. Browsers are refused.";

pub(super) const AGENTD_AFTER: &str = "\
EXAMPLES
  farthing agentd
  farthing agentd --port 0 --json
  farthing agentd --socket ./agentd.sock --token-file ./token

REQUESTS, with the header `authorization: Bearer TOKEN`
  POST /fetch     {\"url\": \"https://...\", \"max_price\": \"0.01 XTS\"}
                  The answer of that URL, paid for if need be. What it cost
                  is in the headers farthing-payment-*. An error of this
                  service has the header farthing-error; other errors are
                  the URL's own.
  POST /quote     The same request: what it would cost. Pays nothing.
  GET  /quote     ?url=https://...
  GET  /budget    What may be spent, what was, and what is left.
  GET  /receipts  ?since=SECONDS&limit=100  The payments, newest first.
  GET  /balance   What the accounts have.
  GET  /health    Needs no token.

  spec/agentd.md in the source has all of it; examples/agentd.py and
  examples/agentd.mjs are programs of ten lines.

OUTPUT WITH --json
  One line, when connections are accepted:
      {\"listening\":\"http://127.0.0.1:4020\",\"token_file\":\"FILE\",
       \"socket\":null}

EXIT STATUS
  0  It was asked to stop (ctrl-c, SIGTERM), and the requests that it had
     are answered.
  1  The wallet or the journal is not as it should be, a network cannot be
     reached, or others can read the token.
  2  The policy, the port or a file cannot be used as given.

ENVIRONMENT
  FARTHING_HOME        The agent's directory, unless --home names it.
  FARTHING_PASSPHRASE  The wallet's passphrase, unless --passphrase-file
                       names a file. No terminal is needed then.

FILES in the agent's directory
  wallet.json, policy.toml, journal.sqlite
  agentd.token   The token, with mode 0600, unless --token-file names a file.";

/// The port, unless another is asked for.
const PORT: u16 = 4020;

/// Options of `farthing agentd`.
#[derive(Debug, clap::Args)]
pub(crate) struct AgentdArgs {
    /// Listen on this port of 127.0.0.1; 0 for a free one
    #[arg(long, value_name = "PORT", default_value_t = PORT)]
    pub(crate) port: u16,

    /// Listen on this unix socket, too, which only you can use (mode 0600)
    #[arg(long, value_name = "FILE")]
    pub(crate) socket: Option<PathBuf>,

    /// Use the token in this file; draw one into it if it is not there
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Print one line of JSON when connections are accepted
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) home: HomeArgs,
}

/// What is laid out by hand.
#[cfg(test)]
pub(super) const LAID_OUT: [&str; 1] = [AGENTD_AFTER];
