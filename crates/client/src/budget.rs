//! Budgets: limits that the client enforces on itself.
//!
//! A [`Budget`] is what its owner writes; resolved against the wallet's rails it becomes [`Limits`] in
//! atomic units of one asset. [`Spending`] is the pure account of what was reserved and taken. With no
//! budget for an asset, nothing is ever signed in it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use farthing_protocol::price::PriceError;
use farthing_protocol::rail::Pay;
use farthing_protocol::{Amount, Network, Origin, Price};
use thiserror::Error;

use crate::error::ConfigError;

/// An asset: its name means something only together with its network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetId {
    /// The network.
    pub network: Network,
    /// In the network's own words.
    pub asset: String,
}

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
    per_request: Option<Quantity>,
    per_host: Option<Quantity>,
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
        Ok(Self { network: None, asset, total: Quantity::Price(total), per_request: None, per_host: None })
    }

    /// At most `total` atomic units of `asset` altogether, for assets whose name is no currency code.
    #[must_use]
    pub fn units(asset: AssetId, total: Amount) -> Self {
        let AssetId { network, asset } = asset;
        let total = Quantity::Units(total);
        Self { network: Some(network), asset, total, per_request: None, per_host: None }
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
    pub fn per_request(mut self, limit: &str) -> Result<Self, BudgetError> {
        self.per_request = Some(self.quantity(limit)?);
        Ok(self)
    }

    /// At most this for all requests to one origin (scheme, host and port).
    ///
    /// # Errors
    /// [`BudgetError`].
    pub fn per_host(mut self, limit: &str) -> Result<Self, BudgetError> {
        self.per_host = Some(self.quantity(limit)?);
        Ok(self)
    }

    /// [`per_request`](Self::per_request) in atomic units.
    #[must_use]
    pub fn per_request_units(mut self, limit: Amount) -> Self {
        self.per_request = Some(Quantity::Units(limit));
        self
    }

    /// [`per_host`](Self::per_host) in atomic units.
    #[must_use]
    pub fn per_host_units(mut self, limit: Amount) -> Self {
        self.per_host = Some(Quantity::Units(limit));
        self
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
            let limits = Limits {
                per_request: budget.per_request.as_ref().map(atomic).transpose()?,
                per_host: budget.per_host.as_ref().map(atomic).transpose()?,
                total: atomic(&budget.total)?,
            };
            if resolved.insert(asset, limits).is_some() {
                return Err(ConfigError::TwoBudgets { asset: budget.asset.clone() });
            }
        }
        Ok(resolved)
    }
}

/// A budget in atomic units of its asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For one payment.
    pub per_request: Option<Amount>,
    /// For all payments to one origin.
    pub per_host: Option<Amount>,
    /// For all payments.
    pub total: Amount,
}

impl Limits {
    /// Whether `asked` may be added where `at_host` counts at its origin and `total` altogether, in atomic
    /// units.
    ///
    /// # Errors
    /// [`OverBudget`] names the narrowest kind of limit that is exceeded.
    pub fn allow(&self, asked: Amount, at_host: Amount, total: Amount) -> Result<(), OverBudget> {
        let within = |limit: Limit, bound: Amount, spent: Amount| {
            let left = bound.checked_sub(spent).unwrap_or_default();
            if asked > left { Err(OverBudget { limit, asked, left }) } else { Ok(()) }
        };
        if let Some(bound) = self.per_request {
            within(Limit::PerRequest, bound, Amount::ZERO)?;
        }
        if let Some(bound) = self.per_host {
            within(Limit::PerHost, bound, at_host)?;
        }
        within(Limit::Total, self.total, total)
    }
}

/// Which limit an offer is above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The budget's limit for one request.
    PerRequest,
    /// The budget's limit for one origin.
    PerHost,
    /// The budget.
    Total,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PerRequest => "the budget per request",
            Self::PerHost => "the budget per host",
            Self::Total => "the budget",
        })
    }
}

/// An amount that a budget does not allow, in atomic units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{asked} atomic units are above {limit}, which has {left} left")]
pub struct OverBudget {
    /// Which limit.
    pub limit: Limit,
    /// The most that the payment could cost.
    pub asked: Amount,
    /// What the limit still allows.
    pub left: Amount,
}

/// What one payment would count against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The asset.
    pub asset: AssetId,
    /// Where it is spent.
    pub origin: Origin,
    /// Atomic units: the most it can cost.
    pub amount: Amount,
}

/// What counts against the budgets: money taken, and money reserved because it may be taken.
#[derive(Clone, Debug, Default)]
pub struct Spending {
    totals: HashMap<AssetId, Amount>,
    hosts: HashMap<(AssetId, Origin), Amount>,
}

impl Spending {
    /// What counts in `asset` altogether, in atomic units.
    #[must_use]
    pub fn total(&self, asset: &AssetId) -> Amount {
        self.totals.get(asset).copied().unwrap_or_default()
    }

    /// What counts in `asset` at `origin`, in atomic units.
    #[must_use]
    pub fn at(&self, asset: &AssetId, origin: &Origin) -> Amount {
        self.hosts.get(&(asset.clone(), origin.clone())).copied().unwrap_or_default()
    }

    /// Whether `limits` allow `charge` on top of everything that counts.
    ///
    /// # Errors
    /// [`OverBudget`] names the narrowest kind of limit that is exceeded.
    pub fn allows(&self, limits: &Limits, charge: &Charge) -> Result<(), OverBudget> {
        limits.allow(charge.amount, self.at(&charge.asset, &charge.origin), self.total(&charge.asset))
    }

    /// Counts `charge` if `limits` allow it.
    ///
    /// # Errors
    /// As [`allows`](Self::allows); then nothing changed.
    pub fn reserve(&mut self, limits: &Limits, charge: &Charge) -> Result<(), OverBudget> {
        self.allows(limits, charge)?;
        self.count(charge);
        Ok(())
    }

    /// Counts `charge` without asking: it was reserved before.
    pub fn count(&mut self, charge: &Charge) {
        let add = |sum: &mut Amount| *sum = Amount(sum.0.saturating_add(charge.amount.0));
        add(self.totals.entry(charge.asset.clone()).or_default());
        add(self.hosts.entry((charge.asset.clone(), charge.origin.clone())).or_default());
    }

    /// Ends a reservation of which `taken` was taken, which is at most what was reserved.
    pub fn settle(&mut self, charge: &Charge, taken: Amount) {
        let back = charge.amount.0.saturating_sub(taken.0);
        let subtract = |sum: &mut Amount| *sum = Amount(sum.0.saturating_sub(back));
        self.totals.entry(charge.asset.clone()).and_modify(subtract);
        self.hosts.entry((charge.asset.clone(), charge.origin.clone())).and_modify(subtract);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn charge(host: u8, amount: u128) -> Charge {
        let network = "farthing:00".parse().unwrap();
        Charge {
            asset: AssetId { network, asset: "XTS".into() },
            origin: format!("https://h{host}.example").parse().unwrap(),
            amount: Amount(amount),
        }
    }

    #[test]
    fn each_limit_refuses_what_is_one_unit_above_it() {
        let limits = Limits { per_request: Some(Amount(10)), per_host: Some(Amount(15)), total: Amount(25) };
        let mut spending = Spending::default();
        let over = |limit, asked, left| Err(OverBudget { limit, asked: Amount(asked), left: Amount(left) });
        assert_eq!(spending.reserve(&limits, &charge(1, 11)), over(Limit::PerRequest, 11, 10));
        assert_eq!(spending.reserve(&limits, &charge(1, 10)), Ok(()));
        assert_eq!(spending.reserve(&limits, &charge(1, 6)), over(Limit::PerHost, 6, 5));
        assert_eq!(spending.reserve(&limits, &charge(1, 5)), Ok(()));
        assert_eq!(spending.reserve(&limits, &charge(2, 10)), Ok(()));
        assert_eq!(spending.reserve(&limits, &charge(3, 1)), over(Limit::Total, 1, 0));
        spending.settle(&charge(2, 10), Amount(9));
        assert_eq!(spending.reserve(&limits, &charge(3, 1)), Ok(()));
    }

    #[test]
    fn limits_in_another_currency_are_refused() {
        let budget = Budget::new("1 XTS").unwrap();
        let other = BudgetError::OtherCurrency { budget: "XTS".into(), limit: "USD".into() };
        assert_eq!(budget.clone().per_host("$1"), Err(other));
        assert!(budget.per_host("0.5 XTS").is_ok());
        assert!(matches!(Budget::new("lots"), Err(BudgetError::Price(_))));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Reserve(u8, u128),
        Settle(usize, u128),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u8..3, 0u128..40).prop_map(|(host, amount)| Step::Reserve(host, amount)),
            (any::<usize>(), 0u128..40).prop_map(|(which, taken)| Step::Settle(which, taken)),
        ]
    }

    proptest! {
        #[test]
        fn no_order_of_steps_counts_above_a_limit(steps in proptest::collection::vec(step(), 0..80)) {
            let limits = Limits { per_request: Some(Amount(30)), per_host: Some(Amount(60)), total: Amount(100) };
            let mut spending = Spending::default();
            let mut open: Vec<Charge> = Vec::new();
            let mut taken: Vec<Charge> = Vec::new();
            for step in steps {
                match step {
                    Step::Reserve(host, amount) => {
                        let charge = charge(host, amount);
                        if spending.reserve(&limits, &charge).is_ok() {
                            prop_assert!(amount <= 30);
                            open.push(charge);
                        }
                    }
                    Step::Settle(which, amount) if !open.is_empty() => {
                        let charge = open.swap_remove(which % open.len());
                        let amount = Amount(amount.min(charge.amount.0));
                        spending.settle(&charge, amount);
                        taken.push(Charge { amount, ..charge });
                    }
                    Step::Settle(..) => {}
                }
                let counted = |host: Option<u8>| -> u128 {
                    let here = |c: &&Charge| host.is_none_or(|h| c.origin == charge(h, 0).origin);
                    open.iter().chain(&taken).filter(here).map(|c| c.amount.0).sum()
                };
                prop_assert_eq!(spending.total(&charge(0, 0).asset), Amount(counted(None)));
                prop_assert!(counted(None) <= 100);
                for host in 0..3 {
                    prop_assert_eq!(
                        spending.at(&charge(0, 0).asset, &charge(host, 0).origin),
                        Amount(counted(Some(host)))
                    );
                    prop_assert!(counted(Some(host)) <= 60);
                }
            }
        }
    }
}
