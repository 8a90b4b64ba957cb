//! Budgets: limits that the client enforces on itself.
//!
//! A [`Budget`] is what its owner writes; resolved against the wallet's rails it becomes [`Limits`] in
//! atomic units of one asset. Each [`Charge`] counts in all of its [`Scope`]s at once: its host, payee, task
//! and agent, everything, and the month, day and hour it is made in. [`Spending`] is the pure account of what
//! was reserved and taken there. With no budget for an asset, nothing is ever signed in it.

mod charge;
mod limits;
mod spending;

use std::collections::BTreeMap;
use std::sync::Arc;

use farthing_protocol::price::PriceError;
use farthing_protocol::rail::Pay;
use farthing_protocol::{Amount, Network, Price};
use thiserror::Error;

use crate::error::ConfigError;

pub(crate) use charge::is_name;
pub use charge::{AssetId, Charge, Scope};
pub use limits::{Limit, Limits, OverBudget, UnknownLimit};
#[cfg(feature = "sqlite")]
pub(crate) use spending::KEPT;
pub use spending::Spending;

pub use crate::calendar::Window;

/// How much may be spent in one asset, for as long as the journal remembers.
///
/// ```
/// # use farthing_client::Budget;
/// let budget = Budget::new("0.05 XTS")?.per_request("0.01 XTS")?.per_host("0.03 XTS")?;
/// # Ok::<(), farthing_client::BudgetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    network: Option<Network>,
    asset: String,
    total: Quantity,
    parts: BTreeMap<Limit, Quantity>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Quantity {
    Price(Price),
    Units(Amount),
}

/// A budget that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BudgetError {
    /// Not an amount of money.
    #[error("budget: {0}")]
    Price(#[from] PriceError),
    /// Its limits are in different currencies.
    #[error("the budget is in {budget} and this limit in {limit}")]
    OtherCurrency {
        /// Of the budget.
        budget: String,
        /// Of the limit.
        limit: String,
    },
}

impl Budget {
    /// At most `total` altogether, such as `"0.05 XTS"` or `"$2"`. The currency is an asset that exactly
    /// one rail of the client knows (see [`on`](Self::on)); its scale is the one that rail trusts.
    ///
    /// # Errors
    /// [`BudgetError::Price`].
    pub fn new(total: &str) -> Result<Self, BudgetError> {
        let total: Price = total.parse()?;
        let asset = total.currency().to_owned();
        Ok(Self { network: None, asset, total: Quantity::Price(total), parts: BTreeMap::new() })
    }

    /// At most `total` atomic units of `asset` altogether, for assets whose name is no currency code.
    #[must_use]
    pub fn units(asset: AssetId, total: Amount) -> Self {
        let AssetId { network, asset } = asset;
        let total = Quantity::Units(total);
        Self { network: Some(network), asset, total, parts: BTreeMap::new() }
    }

    /// Says which network's asset is meant, where several know its name.
    #[must_use]
    pub fn on(mut self, network: Network) -> Self {
        self.network = Some(network);
        self
    }

    /// At most this for one request.
    ///
    /// # Errors
    /// [`BudgetError`].
    pub fn per_request(self, limit: &str) -> Result<Self, BudgetError> {
        self.limit(Limit::PerRequest, limit)
    }

    /// [`per_request`](Self::per_request) in atomic units.
    #[must_use]
    pub fn per_request_units(self, limit: Amount) -> Self {
        self.limit_units(Limit::PerRequest, limit)
    }

    /// At most this for all requests to each origin (scheme, host and port).
    ///
    /// # Errors
    /// [`BudgetError`].
    pub fn per_host(self, limit: &str) -> Result<Self, BudgetError> {
        self.limit(Limit::PerHost, limit)
    }

    /// [`per_host`](Self::per_host) in atomic units.
    #[must_use]
    pub fn per_host_units(self, limit: Amount) -> Self {
        self.limit_units(Limit::PerHost, limit)
    }

    /// At most this to each payee, whichever origins name it.
    ///
    /// # Errors
    /// [`BudgetError`].
    pub fn per_payee(self, limit: &str) -> Result<Self, BudgetError> {
        self.limit(Limit::PerPayee, limit)
    }

    /// [`per_payee`](Self::per_payee) in atomic units.
    #[must_use]
    pub fn per_payee_units(self, limit: Amount) -> Self {
        self.limit_units(Limit::PerPayee, limit)
    }

    /// At most this for each [agent](crate::ClientBuilder::agent); payments of no agent count together as one.
    ///
    /// # Errors
    /// [`BudgetError`].
    pub fn per_agent(self, limit: &str) -> Result<Self, BudgetError> {
        self.limit(Limit::PerAgent, limit)
    }

    /// [`per_agent`](Self::per_agent) in atomic units.
    #[must_use]
    pub fn per_agent_units(self, limit: Amount) -> Self {
        self.limit_units(Limit::PerAgent, limit)
    }

    /// At most this for each [task](crate::RequestBuilder::task); payments for no task count together as one.
    ///
    /// # Errors
    /// [`BudgetError`].
    pub fn per_task(self, limit: &str) -> Result<Self, BudgetError> {
        self.limit(Limit::PerTask, limit)
    }

    /// [`per_task`](Self::per_task) in atomic units.
    #[must_use]
    pub fn per_task_units(self, limit: Amount) -> Self {
        self.limit_units(Limit::PerTask, limit)
    }

    /// At most this in each hour, from one full hour to the next.
    ///
    /// # Errors
    /// [`BudgetError`].
    pub fn per_hour(self, limit: &str) -> Result<Self, BudgetError> {
        self.limit(Limit::PerHour, limit)
    }

    /// [`per_hour`](Self::per_hour) in atomic units.
    #[must_use]
    pub fn per_hour_units(self, limit: Amount) -> Self {
        self.limit_units(Limit::PerHour, limit)
    }

    /// At most this on each day in UTC, from midnight to midnight.
    ///
    /// # Errors
    /// [`BudgetError`].
    pub fn per_day(self, limit: &str) -> Result<Self, BudgetError> {
        self.limit(Limit::PerDay, limit)
    }

    /// [`per_day`](Self::per_day) in atomic units.
    #[must_use]
    pub fn per_day_units(self, limit: Amount) -> Self {
        self.limit_units(Limit::PerDay, limit)
    }

    /// At most this in each calendar month in UTC.
    ///
    /// # Errors
    /// [`BudgetError`].
    pub fn per_month(self, limit: &str) -> Result<Self, BudgetError> {
        self.limit(Limit::PerMonth, limit)
    }

    /// [`per_month`](Self::per_month) in atomic units.
    #[must_use]
    pub fn per_month_units(self, limit: Amount) -> Self {
        self.limit_units(Limit::PerMonth, limit)
    }

    /// At most this for each of `kind`, or altogether for [`Limit::Total`].
    ///
    /// # Errors
    /// [`BudgetError`].
    pub fn limit(mut self, kind: Limit, limit: &str) -> Result<Self, BudgetError> {
        let quantity = self.quantity(limit)?;
        self.set(kind, quantity);
        Ok(self)
    }

    /// [`limit`](Self::limit) in atomic units.
    #[must_use]
    pub fn limit_units(mut self, kind: Limit, limit: Amount) -> Self {
        self.set(kind, Quantity::Units(limit));
        self
    }

    fn set(&mut self, kind: Limit, quantity: Quantity) {
        match kind {
            Limit::Total => self.total = quantity,
            part => drop(self.parts.insert(part, quantity)),
        }
    }

    fn quantity(&self, limit: &str) -> Result<Quantity, BudgetError> {
        let price: Price = limit.parse()?;
        if price.currency() != self.asset {
            let (budget, limit) = (self.asset.clone(), price.currency().to_owned());
            return Err(BudgetError::OtherCurrency { budget, limit });
        }
        Ok(Quantity::Price(price))
    }

    /// The limits of all budgets by asset, in atomic units by the scale that each rail trusts.
    pub(crate) fn resolve(
        budgets: &[Self],
        rails: &[Arc<dyn Pay>],
    ) -> Result<BTreeMap<AssetId, Limits>, ConfigError> {
        let mut resolved = BTreeMap::new();
        for budget in budgets {
            let on = |rail: &&Arc<dyn Pay>| budget.network.as_ref().is_none_or(|name| rail.network() == name);
            let mut known = rails.iter().filter(on).filter_map(|rail| {
                let asset = rail.asset(&budget.asset)?;
                let scale = rail.scale(&asset)?;
                Some((AssetId { network: rail.network().clone(), asset }, scale))
            });
            let Some((asset, scale)) = known.next() else {
                return Err(ConfigError::UnknownAsset { asset: budget.asset.clone() });
            };
            if known.next().is_some() {
                return Err(ConfigError::AmbiguousAsset { asset: budget.asset.clone() });
            }
            let atomic = |quantity: &Quantity| match quantity {
                Quantity::Price(price) => price.to_atomic(scale),
                Quantity::Units(units) => Ok(*units),
            };
            let mut limits = Limits::of(atomic(&budget.total)?);
            for (part, quantity) in &budget.parts {
                limits = limits.with(*part, atomic(quantity)?);
            }
            if resolved.insert(asset, limits).is_some() {
                return Err(ConfigError::TwoBudgets { asset: budget.asset.clone() });
            }
        }
        Ok(resolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_in_another_currency_are_refused() {
        let budget = Budget::new("1 XTS").unwrap();
        let other = BudgetError::OtherCurrency { budget: "XTS".into(), limit: "USD".into() };
        assert_eq!(budget.clone().per_host("$1"), Err(other.clone()));
        assert_eq!(budget.clone().per_task("$1"), Err(other));
        assert!(budget.per_host("0.5 XTS").is_ok());
        assert!(matches!(Budget::new("lots"), Err(BudgetError::Price(_))));
    }

    #[test]
    fn a_limit_that_is_set_again_is_the_last_one() {
        let budget = Budget::new("1 XTS").unwrap().per_day("0.5 XTS").unwrap();
        let changed = budget.clone().limit(Limit::PerDay, "0.2 XTS").unwrap();
        assert_eq!(changed, Budget::new("1 XTS").unwrap().per_day("0.2 XTS").unwrap());
        assert_eq!(budget.limit(Limit::Total, "2 XTS").unwrap().total, Budget::new("2 XTS").unwrap().total);
    }
}
