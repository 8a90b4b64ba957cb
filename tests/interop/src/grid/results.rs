//! The table: a line for each cell, and the reasons for what is left out.

use std::fmt::Write;

use super::cells::{Case, Cell, LEFT_OUT};
use super::seen::Verdict;

/// The verdicts, in the order of the grid.
#[derive(Debug)]
pub(crate) struct Results {
    rows: Vec<(Cell, Verdict)>,
    /// How many cells each row of [`LEFT_OUT`] covers.
    left_out: Vec<usize>,
}

impl Results {
    pub(crate) fn new(cells: &[Cell], left_out: &[Cell]) -> Self {
        let not_run = || Verdict { green: false, seen: "was not run".into() };
        let count =
            |row| left_out.iter().filter(|cell| cell.left_out().is_some_and(|by| by.what == row)).count();
        Self {
            rows: cells.iter().map(|cell| (*cell, not_run())).collect(),
            left_out: LEFT_OUT.iter().map(|row| count(row.what)).collect(),
        }
    }

    pub(crate) fn put(&mut self, cell: &Cell, verdict: Verdict) {
        let name = cell.to_string();
        if let Some(row) = self.rows.iter_mut().find(|(cell, _)| cell.to_string() == name) {
            row.1 = verdict;
        }
    }

    pub(crate) fn all_green(&self) -> bool {
        self.rows.iter().all(|(_, verdict)| verdict.green)
    }

    /// How many are green and how many red, in one line.
    pub(crate) fn summary(&self) -> String {
        let green = self.rows.iter().filter(|(_, verdict)| verdict.green).count();
        format!("{green} cells green, {} red", self.rows.len() - green)
    }

    /// What `RESULTS.md` holds.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from(HEAD);
        let _ = write!(text, "\n{}.\n", self.summary());
        for (title, pays) in [("Payments", true), ("Refusals", false)] {
            let _ = write!(text, "\n## {title}\n\n| cell | result | seen |\n|---|---|---|\n");
            for (cell, verdict) in self.rows.iter().filter(|(cell, _)| (cell.case == Case::Pays) == pays) {
                let _ = writeln!(text, "{}", line(cell, verdict));
            }
        }
        text + "\n## Left out\n\n| cells | how many | because |\n|---|---|---|\n" + &self.reasons()
    }

    /// What the terminal shows: what is red once more, and what is left out.
    pub(crate) fn for_people(&self) -> String {
        let mut text = String::from("\n");
        for (cell, verdict) in &self.rows {
            let _ = writeln!(text, "{}", line(cell, verdict));
        }
        text + "\nleft out:\n" + &self.reasons()
    }

    fn reasons(&self) -> String {
        let rows = LEFT_OUT.iter().zip(&self.left_out);
        rows.map(|(row, count)| format!("| {} | {count} | {} |\n", row.what, row.why)).collect()
    }
}

fn line(cell: &Cell, Verdict { green, seen }: &Verdict) -> String {
    format!("| {cell} | {} | {seen} |", if *green { "green" } else { "red" })
}

const HEAD: &str = "\
# What pays what

Written by `cargo xtask interop`: every cell is a payment on a private chain. It is green when the content arrived,
the settlement in the answer decodes, and the balances on the chain moved by exactly the price (`upto`: by what was
used); or, where something is refused, when the content did not arrive and nothing moved.

Names are version-namespace-scheme-client-server-facilitator: `fetch` is `@x402/fetch`, `httpx` the Python client,
`fetch1` the legacy `x402-fetch`; `express` and `hono` are `@x402/express` and `@x402/hono`, `fastapi` the Python
server, `express1` the legacy `x402-express`; `typescript` and `python` are the reference's facilitators. Amounts are
atomic units of a token with 6 decimals; the price is 1000, of which `upto` uses 600. In `exact-permit2-eip2612` the
payer has not approved Permit2 and sends a permit along; in `exact-permit2-erc20` it sends a signed approval along, of
a token that knows ERC-20 only (extensions `eip2612GasSponsoring` and `erc20ApprovalGasSponsoring`).
";
