//! The command line of `farthing mcp`, and its manual.

use crate::args::home::HomeArgs;

pub(super) const MCP: &str = "\
Serves the tools of a paying agent to a language model, as a Model Context Protocol server on standard input and \
output: fetch_paid asks a URL and pays for it if it must, quote says what it would cost, balance, budget and \
receipts say what there is, what may be spent and what was bought.

What may be paid is decided by the policy file in the agent's directory and by nothing the model says: no tool \
raises a budget, approves a payee or ends a freeze. A payment that the policy refuses comes back as an error that \
names the rule and what a person can do about it. What servers send is handed on as data, with control characters \
escaped and after 1 MiB cut off.";

pub(super) const MCP_AFTER: &str = "\
EXAMPLES
  farthing mcp --home ./agent --passphrase-file passphrase < /dev/null
      Opens the agent and ends with its input: a check of the set-up.
  farthing mcp --home ./agent < /dev/null
      The same, with the passphrase from the environment.

A program with a language model starts it by a few lines of configuration:
  {\"mcpServers\": {\"farthing\": {\"command\": \"farthing\",
    \"args\": [\"mcp\", \"--home\", \"DIR\", \"--passphrase-file\", \"FILE\"]}}}

TOOLS
  fetch_paid  url; method, headers, body, max_price, task. The answer, and
              what it cost.
  quote       url; method, headers, body. What it would cost, and which offer
              would be paid. Pays nothing.
  balance     What the accounts have.
  budget      The budgets, and what is spent and reserved of each.
  receipts    limit, origin. The last payments, and what became of them.

EXIT STATUS
  0  The input ended.
  1  The wallet, the journal or a network is not as it should be.
  2  There is no agent in that directory, or its policy cannot be read.

ENVIRONMENT
  FARTHING_HOME        The agent's directory, unless --home names it.
  FARTHING_PASSPHRASE  The wallet's passphrase, unless --passphrase-file
                       names a file.
  RUST_LOG             What to log to standard error. Standard output carries
                       the protocol and nothing else.";

/// Options of `farthing mcp`.
#[derive(Debug, clap::Args)]
pub(crate) struct McpArgs {
    #[command(flatten)]
    pub(crate) home: HomeArgs,
}

/// What is laid out by hand.
#[cfg(test)]
pub(super) const LAID_OUT: [&str; 1] = [MCP_AFTER];
