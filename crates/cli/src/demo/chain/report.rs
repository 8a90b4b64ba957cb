//! What it all came to: the table, the line for programs, and the judgement by the chain's balances.

use farthing::protocol::Amount;
use serde_json::json;

use super::story::{Told, compared};
use super::world::World;
use crate::Failure;
use crate::demo::load::{Outcome, units};
use crate::demo::pages::{self, FIRST};
use crate::style::{BAD, GOOD, TITLE, count, grouped, money, paint, safe};

/// Everything that is judged.
#[derive(Debug)]
pub(super) struct Report<'a> {
    world: &'a World,
    outcome: &'a Outcome,
    told: Option<Told>,
    /// What the agent and the seller had and have, in atomic units.
    before: (Amount, Amount),
    after: (Amount, Amount),
    /// The prices of everything that was paid for, in atomic units.
    price: u128,
}

impl<'a> Report<'a> {
    /// Adds up the prices of what was paid for.
    pub(super) fn new(
        world: &'a World,
        outcome: &'a Outcome,
        told: Option<Told>,
        before: (Amount, Amount),
        after: (Amount, Amount),
    ) -> Result<Self, Failure> {
        let mut price = match told {
            Some(_) => units(FIRST, world.asset.decimals)?.0,
            None => 0,
        };
        for url in &outcome.urls {
            let page = pages::all().find(|page| world.url(page) == *url);
            let page = page.ok_or_else(|| Failure::unsound(format!("{url} is not sold")))?;
            price += units(page, world.asset.decimals)?.0;
        }
        Ok(Self { world, outcome, told, before, after, price })
    }

    /// Whether the balances on the chain moved by exactly the prices of what was paid for.
    fn is_balanced(&self) -> bool {
        let price = Amount(self.price);
        self.before.0.checked_sub(price) == Some(self.after.0)
            && self.before.1.checked_add(price) == Some(self.after.1)
    }

    /// The line for programs.
    pub(super) fn line(&self) -> String {
        let (world, outcome) = (self.world, self.outcome);
        let milliseconds = |share| outcome.added(share).map(|ms| (ms * 1000.0).round() / 1000.0);
        let party = |address: &str, before: Amount, after: Amount| json!({ "address": address, "before": before.to_string(), "after": after.to_string() });
        // Written by hand for its order.
        format!(
            "{{\"requests\":{},\"paid\":{},\"refused_by_budget\":{},\"spent\":{},\"chain_balanced\":{},\
             \"network\":{},\"token\":{},\"agent\":{},\"seller\":{},\"p50_ms\":{},\"p99_ms\":{}}}\n",
            outcome.requests,
            outcome.paid,
            outcome.refused_by_budget,
            json!(self.money(Amount(self.price))),
            self.is_balanced(),
            json!(world.network),
            json!(world.asset.address),
            party(&world.agent, self.before.0, self.after.0),
            party(&world.seller, self.before.1, self.after.1),
            json!(milliseconds(0.5)),
            json!(milliseconds(0.99)),
        )
    }

    /// The table for people.
    pub(super) fn table(&self) -> String {
        let outcome = self.outcome;
        let told = |of: fn(&Told) -> u64| self.told.as_ref().map_or(0, of);
        let mut out = format!("\n{}\n\n", paint(TITLE, "8  What it came to"));
        let mut row = |name: &str, value: String, why: &str| {
            out.push_str(&format!("{}\n", format!("   {name:<34}{value:>12}   {why}").trim_end()));
        };
        row("requests", grouped(told(|told| told.requests) + outcome.requests), "steps 3 to 6, and step 7");
        row("paid", grouped(told(|told| told.paid) + outcome.paid), "each by a transaction of its own");
        row("replayed, nothing charged", grouped(told(|told| told.replayed)), "step 4");
        row("refused by the server", grouped(told(|told| told.refused_by_server)), "step 5");
        let refused = told(|told| told.refused_by_budget) + outcome.refused_by_budget;
        row("refused by the agent's budget", grouped(refused), "nothing signed");
        row("the price of what was paid", self.money(Amount(self.price)), "");
        if let (Some(p50), Some(p99)) = (outcome.added(0.5), outcome.added(0.99)) {
            row("added by payment, in half the calls", format!("{p50:.1} ms"), "or less, over a free page");
            row("added by payment, in 99 of 100", format!("{p99:.1} ms"), "or less");
        }
        let (style, word) = if self.is_balanced() {
            (GOOD, "moved by exactly that")
        } else {
            (BAD, "did NOT move by exactly that")
        };
        let title = paint(style, format!("the balances on the chain {word}"));
        out + &format!("\n   {title}:\n{}", compared(self.world, self.before, self.after))
    }

    fn money(&self, amount: Amount) -> String {
        money(amount, self.world.asset.decimals, &self.world.asset.currency)
    }

    /// Whether everything is as it should be.
    ///
    /// # Errors
    /// The first thing that is not.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let outcome = self.outcome;
        if !self.is_balanced() {
            return Err(Failure::unsound(
                "the balances on the chain did not move by the price of what was paid",
            ));
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
