//! Many requests, until the budget is used up and beyond.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use farthing::Client;
use farthing::client::{ClientError, Rule};
use farthing::protocol::{Amount, Price};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinSet;

use super::pages::{AFFORDABLE, Page, TOO_EXPENSIVE};
use super::world::ASSET;
use crate::Failure;

/// Requests that the agent has open at the same time.
const CONCURRENCY: usize = 4;
/// One in so many requests is for the page that is too expensive.
const TEMPTATION: usize = 10;
/// One in so many requests is preceded by one to the free page, for comparison.
const COMPARISON: usize = 4;

/// Which pages are asked for, in which order, and how much of it the budget is for.
#[derive(Debug)]
pub(super) struct Plan {
    pages: Vec<&'static Page>,
    /// How many of them are asked for before the budget is used up.
    first: usize,
    /// Atomic units: what these cost.
    pub(super) cost: Amount,
}

impl Plan {
    /// `requests` requests. The budget is for four in five of them, less the ones that are too expensive.
    pub(super) fn new(requests: usize, scale: u8) -> Result<Self, Failure> {
        let page = |at: usize| match at % TEMPTATION {
            9 => TOO_EXPENSIVE,
            _ => AFFORDABLE[(at - at / TEMPTATION) % AFFORDABLE.len()],
        };
        let pages: Vec<_> = (0..requests).map(page).collect();
        let first = requests - requests / 5;
        let mut cost = Amount::ZERO;
        for page in pages[..first].iter().filter(|page| page.path != TOO_EXPENSIVE.path) {
            cost = Amount(cost.0 + units(page, scale)?.0);
        }
        Ok(Self { pages, first, cost })
    }

    /// How many requests there are.
    pub(super) fn requests(&self) -> u64 {
        self.pages.len() as u64
    }
}

/// A page's price in atomic units.
pub(super) fn units(page: &Page, scale: u8) -> Result<Amount, Failure> {
    let price: Price = page.price.parse().map_err(Failure::unsound)?;
    price.to_atomic(scale).map_err(Failure::unsound)
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) requests: u64,
    pub(super) paid: u64,
    pub(super) refused_by_budget: u64,
    /// Paid answers that the ledger's signed statement, or the receipt, does not confirm.
    pub(super) unconfirmed: Vec<String>,
    /// Requests with neither a paid answer nor a refusal.
    pub(super) failed: Vec<String>,
    /// Atomic units taken.
    pub(super) spent: u128,
    /// What was paid for, in no order.
    pub(super) urls: Vec<String>,
    paid_calls: Vec<Duration>,
    free_calls: Vec<Duration>,
}

impl Outcome {
    /// What payment adds to a call, in milliseconds: the given share of paid calls took at most this much
    /// longer than the median of the free calls. `None` without both.
    pub(super) fn added(&self, share: f64) -> Option<f64> {
        let free = percentile(&self.free_calls, 0.5)?;
        let paid = percentile(&self.paid_calls, share)?;
        Some((paid.as_secs_f64() - free.as_secs_f64()) * 1000.0)
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.paid += other.paid;
        self.refused_by_budget += other.refused_by_budget;
        self.unconfirmed.extend(other.unconfirmed);
        self.failed.extend(other.failed);
        self.spent += other.spent;
        self.urls.extend(other.urls);
        self.paid_calls.extend(other.paid_calls);
        self.free_calls.extend(other.free_calls);
    }

    async fn ask(&mut self, client: &Client, url: &str) {
        self.requests += 1;
        let start = Instant::now();
        let answer = match client.get(url).await {
            Ok(answer) => answer,
            Err(ClientError::Refused(refused)) if matches!(refused.rule, Rule::OverBudget(_)) => {
                self.refused_by_budget += 1;
                return;
            }
            Err(error) => return self.failed.push(format!("{url}: {error}")),
        };
        let (status, payment) = (answer.status, answer.payment().cloned());
        if let Err(error) = answer.bytes().await {
            return self.failed.push(format!("{url}: {error}"));
        }
        let took = start.elapsed();
        match payment {
            Some(payment) if status.is_success() => {
                self.paid += 1;
                self.spent += payment.amount.0;
                self.urls.push(url.to_owned());
                self.paid_calls.push(took);
                if !payment.is_proven() {
                    let (id, told) = (payment.id, &payment.confirmation);
                    self.unconfirmed.push(format!("payment {id}: {told:?} {:?}", payment.flags));
                }
            }
            _ => self.failed.push(format!("{url}: {status} without a payment")),
        }
    }

    async fn ask_for_free(&mut self, client: &Client, url: &str) {
        let start = Instant::now();
        let answer = match client.get(url).await {
            Ok(answer) if answer.payment().is_none() => answer,
            Ok(_) => return self.failed.push(format!("{url}: the free page was not free")),
            Err(error) => return self.failed.push(format!("{url}: {error}")),
        };
        match answer.bytes().await {
            Ok(_) => self.free_calls.push(start.elapsed()),
            Err(error) => self.failed.push(format!("{url}: {error}")),
        }
    }
}

/// Carries out a plan at the server of `origin`. `quiet` shows no progress.
pub(super) async fn run(origin: &str, client: &Client, plan: &Plan, quiet: bool) -> Result<Outcome, Failure> {
    let bar = progress(plan.pages.len(), quiet)?;
    let mut outcome = Outcome::default();
    // What the budget is for comes first, so that which requests find it used up does not depend on timing.
    let (first, rest) = plan.pages.split_at(plan.first);
    for pages in [first, rest] {
        let urls: Arc<Vec<String>> =
            Arc::new(pages.iter().map(|page| format!("{origin}{}", page.path)).collect());
        let free = Arc::new(format!("{origin}/"));
        let next = Arc::new(AtomicUsize::new(0));
        let mut workers = JoinSet::new();
        for _ in 0..CONCURRENCY {
            let (client, urls, free) = (client.clone(), urls.clone(), free.clone());
            let (next, bar) = (next.clone(), bar.clone());
            workers.spawn(async move {
                let mut outcome = Outcome::default();
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(url) = urls.get(at) else { break };
                    if at.is_multiple_of(COMPARISON) {
                        outcome.ask_for_free(&client, &free).await;
                    }
                    outcome.ask(&client, url).await;
                    bar.inc(1);
                }
                outcome
            });
        }
        while let Some(worker) = workers.join_next().await {
            outcome.add(worker.map_err(Failure::unsound)?);
        }
    }
    bar.finish_and_clear();
    Ok(outcome)
}

fn progress(requests: usize, quiet: bool) -> Result<ProgressBar, Failure> {
    let hidden = quiet || requests == 0 || !std::io::stderr().is_terminal();
    let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(requests as u64), target);
    let style = ProgressStyle::with_template("   {bar:40} {pos:>6} of {len} requests");
    Ok(bar.with_style(style.map_err(Failure::unsound)?))
}

/// The value that the given share of `values` does not exceed.
fn percentile(values: &[Duration], share: f64) -> Option<Duration> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// What a plan's money is called.
pub(super) fn money(amount: Amount, scale: u8) -> String {
    crate::style::money(amount, scale, ASSET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_pays_for_some_requests_and_not_for_others() {
        for requests in [10, 11, 50, 60, 2000] {
            let plan = Plan::new(requests, 6).unwrap();
            let everything: u128 = plan.pages.iter().map(|page| units(page, 6).unwrap().0).sum();
            let affordable = plan.pages.iter().filter(|page| page.path != TOO_EXPENSIVE.path);
            let affordable: u128 = affordable.map(|page| units(page, 6).unwrap().0).sum();
            assert!(plan.cost.0 > 0 && plan.cost.0 < affordable && affordable <= everything, "{requests}");
        }
        assert_eq!(Plan::new(0, 6).unwrap().cost, Amount::ZERO);
    }

    #[test]
    fn nothing_that_comes_after_the_budget_is_used_up_could_still_be_paid() {
        let plan = Plan::new(2000, 6).unwrap();
        let cheapest = AFFORDABLE.iter().map(|page| units(page, 6).unwrap().0).min();
        assert!(cheapest > Some(0));
        assert!(
            units(TOO_EXPENSIVE, 6).unwrap() > AFFORDABLE.iter().map(|p| units(p, 6).unwrap()).max().unwrap()
        );
        assert_eq!(plan.pages[..plan.first].len(), 1600);
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let values: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        let at = |share| percentile(&values, share).map(|d| d.as_millis());
        assert_eq!((at(0.5), at(0.99), at(1.0), at(0.0)), (Some(50), Some(99), Some(100), Some(1)));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
