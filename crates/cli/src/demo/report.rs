//! What it all came to: the table, the line for programs, and the judgement.

use farthing::farthing_ledger::check::Totals;
use farthing::protocol::Amount;
use serde_json::json;

use super::load::Outcome;
use super::story::Told;
use super::world::{ASSET, World};
use crate::Failure;
use crate::ledger::decimal;
use crate::style::{BAD, GOOD, TITLE, count, grouped, money, paint, safe};

/// Everything that is judged.
#[derive(Debug)]
pub(super) struct Report<'a> {
    outcome: &'a Outcome,
    told: Option<&'a Told>,
    scale: u8,
    /// In atomic units.
    agent: i128,
    seller: i128,
    totals: Totals,
    faults: Vec<String>,
    signatures: u64,
}

impl<'a> Report<'a> {
    /// Verifies the ledger's history, and adds up.
    pub(super) async fn new(
        world: &World,
        outcome: &'a Outcome,
        told: Option<&'a Told>,
    ) -> Result<Self, Failure> {
        let (agent, seller) = world.balances().await?;
        let check = world.ledger.ledger().check().await.map_err(Failure::unsound)?;
        let units = |amount: Amount| i128::try_from(amount.0).map_err(Failure::unsound);
        Ok(Self {
            outcome,
            told,
            scale: world.scale(),
            agent: units(agent)?,
            seller: units(seller)?,
            totals: check.assets.get(ASSET).copied().unwrap_or_default(),
            faults: check.faults,
            signatures: check.signatures,
        })
    }

    /// What belongs to accounts that are neither the agent's nor the seller's.
    fn others(&self) -> i128 {
        self.totals.accounts - self.agent - self.seller
    }

    fn is_balanced(&self) -> bool {
        let sum = self.agent + self.seller + self.others() + self.totals.held;
        self.faults.is_empty() && self.totals.issued == sum && self.others() >= 0
    }

    fn spent(&self) -> u128 {
        self.outcome.spent + self.told.map_or(0, |told| told.spent.0)
    }

    /// The line for programs.
    pub(super) fn line(&self) -> String {
        let outcome = self.outcome;
        let milliseconds = |share| outcome.added(share).map(|ms| (ms * 1000.0).round() / 1000.0);
        // Written by hand for its order.
        format!(
            "{{\"requests\":{},\"paid\":{},\"refused_by_budget\":{},\"spent\":{},\"ledger_balanced\":{},\"p50_ms\":{},\"p99_ms\":{}}}\n",
            outcome.requests,
            outcome.paid,
            outcome.refused_by_budget,
            json!(money(Amount(self.spent()), self.scale, ASSET)),
            self.is_balanced(),
            json!(milliseconds(0.5)),
            json!(milliseconds(0.99)),
        )
    }

    /// The table for people.
    pub(super) fn table(&self) -> String {
        let outcome = self.outcome;
        let (told_paid, replayed, refused) =
            self.told.map_or((0, 0, 0), |told| (told.paid, told.replayed, told.refused_by_server));
        let told_refused = self.told.map_or(0, |told| told.refused_by_budget);
        let asked = self.told.map_or(0, |told| told.requests);
        let mut out = format!("\n{}\n\n", paint(TITLE, "8  What it came to"));
        let mut row = |name: &str, value: String, why: &str| {
            out.push_str(&format!("{}\n", format!("   {name:<34}{value:>12}   {why}").trim_end()));
        };
        row("requests", grouped(asked + outcome.requests), "steps 3 to 6, and step 7");
        row("paid", grouped(told_paid + outcome.paid), "each confirmed by the ledger's signature");
        row("replayed, nothing charged", grouped(replayed), "step 4");
        row("refused by the server", grouped(refused), "step 5");
        row(
            "refused by the agent's budget",
            grouped(told_refused + outcome.refused_by_budget),
            "nothing signed",
        );
        row("spent", money(Amount(self.spent()), self.scale, ASSET), "");
        if let (Some(p50), Some(p99)) = (outcome.added(0.5), outcome.added(0.99)) {
            row("added by payment, in half the calls", format!("{p50:.1} ms"), "or less, over a free page");
            row("added by payment, in 99 of 100", format!("{p99:.1} ms"), "or less");
        }
        out.push_str(&self.balance());
        out
    }

    fn balance(&self) -> String {
        let whole = |units: i128| decimal(units, self.scale);
        let (agent, seller, held) = (whole(self.agent), whole(self.seller), whole(self.totals.held));
        let issued = whole(self.totals.issued);
        let (style, word) = if self.is_balanced() { (GOOD, "balanced") } else { (BAD, "NOT BALANCED") };
        let (others, their) = match self.others() {
            0 => ("", String::new()),
            others => (" + others", format!(" + {}", whole(others))),
        };
        let mut out = format!(
            "\n   {}: issued = agent + seller{others} + held\n   {issued} = {agent} + {seller}{their} + {held} {ASSET}\n",
            paint(style, format!("ledger {word}")),
        );
        let checked = count(self.signatures, "signature");
        out.push_str(&format!("   Its whole history was read again, and {checked} in it verified.\n"));
        for fault in &self.faults {
            out.push_str(&format!("   {} {}\n", paint(BAD, "fault:"), safe(fault)));
        }
        out
    }

    /// Whether everything is as it should be.
    ///
    /// # Errors
    /// The first thing that is not.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let outcome = self.outcome;
        if !self.is_balanced() {
            let first = self.faults.first().map_or("the sums differ", String::as_str);
            return Err(Failure::unsound(format!("the ledger does not balance: {}", safe(first))));
        }
        if let Some(first) = outcome.unconfirmed.first() {
            let paid = count(outcome.unconfirmed.len() as u64, "paid answer");
            return Err(Failure::unsound(format!(
                "{paid} not confirmed by the ledger; the first: {}",
                safe(first)
            )));
        }
        if let Some(first) = outcome.failed.first() {
            let requests = count(outcome.failed.len() as u64, "request");
            return Err(Failure::unsound(format!("{requests} failed; the first: {}", safe(first))));
        }
        if outcome.requests != outcome.paid + outcome.refused_by_budget {
            return Err(Failure::unsound("requests are not accounted for"));
        }
        Ok(())
    }
}
