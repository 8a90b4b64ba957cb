//! The pure account of what counts against the budgets.

use std::collections::{BTreeMap, HashMap};

use farthing_protocol::{Amount, Origin};

use super::{AssetId, Charge, Limits, OverBudget, Scope};
use crate::calendar::DAY;

/// Seconds that the sum of a window is kept after its end: for clocks that do not agree.
pub(crate) const KEPT: u64 = DAY;

/// What counts against the budgets: money taken, and money reserved because it may be taken. A sum for each
/// scope of each asset; those of windows that ended a day ago are dropped.
#[derive(Clone, Debug, Default)]
pub struct Spending(HashMap<AssetId, BTreeMap<Scope, Amount>>);

impl Spending {
    /// What counts in `asset` altogether, in atomic units.
    #[must_use]
    pub fn total(&self, asset: &AssetId) -> Amount {
        self.counted(asset, &Scope::Total)
    }

    /// What counts in `asset` at `origin`, in atomic units.
    #[must_use]
    pub fn at(&self, asset: &AssetId, origin: &Origin) -> Amount {
        self.counted(asset, &Scope::Host(origin.clone()))
    }

    /// What counts in `scope` of `asset`, in atomic units.
    #[must_use]
    pub fn counted(&self, asset: &AssetId, scope: &Scope) -> Amount {
        self.0.get(asset).and_then(|sums| sums.get(scope)).copied().unwrap_or_default()
    }

    /// Everything that counts in `asset`, in atomic units.
    pub fn scopes(&self, asset: &AssetId) -> impl Iterator<Item = (&Scope, Amount)> {
        self.0.get(asset).into_iter().flatten().map(|(scope, amount)| (scope, *amount))
    }

    /// Whether `limits` allow `charge` on top of everything that counts.
    ///
    /// # Errors
    /// As [`Limits::allow`].
    pub fn allows(&self, limits: &Limits, charge: &Charge) -> Result<(), OverBudget> {
        let counted = charge.scopes().map(|scope| {
            let amount = self.counted(&charge.asset, &scope);
            (scope, amount)
        });
        limits.allow(charge, &counted)
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
        let sums = self.0.entry(charge.asset.clone()).or_default();
        let mut is_new_window = false;
        for scope in charge.scopes() {
            let ends = scope.ends();
            let sum = sums.entry(scope).or_insert_with(|| {
                is_new_window |= ends.is_some();
                Amount::ZERO
            });
            *sum = Amount(sum.0.saturating_add(charge.amount.0));
        }
        if is_new_window {
            let over = charge.at.saturating_sub(KEPT);
            sums.retain(|scope, _| scope.ends().is_none_or(|ends| ends > over));
        }
    }

    /// Ends a reservation of which `taken` was taken, which is at most what was reserved. The rest is given
    /// back where it was counted, also in windows that are over.
    pub fn settle(&mut self, charge: &Charge, taken: Amount) {
        let back = charge.amount.0.saturating_sub(taken.0);
        let Some(sums) = self.0.get_mut(&charge.asset) else { return };
        for scope in charge.scopes() {
            if let Some(sum) = sums.get_mut(&scope) {
                *sum = Amount(sum.0.saturating_sub(back));
            }
        }
    }

    /// Sets what counts in `scope`.
    #[cfg(feature = "sqlite")]
    pub(crate) fn set(&mut self, asset: AssetId, scope: Scope, amount: Amount) {
        self.0.entry(asset).or_default().insert(scope, amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Limit;
    use proptest::prelude::*;

    /// The beginning of a month.
    const START: u64 = 1_711_929_600;

    fn charge(host: u8, amount: u128) -> Charge {
        let network = "farthing:00".parse().unwrap();
        Charge {
            asset: AssetId { network, asset: "XTS".into() },
            origin: format!("https://h{host}.example").parse().unwrap(),
            amount: Amount(amount),
            payee: "seller".into(),
            agent: None,
            task: None,
            at: START,
        }
    }

    fn over(limit: Limit, asked: u128, left: u128, renews_at: Option<u64>) -> Result<(), OverBudget> {
        Err(OverBudget { limit, asked: Amount(asked), left: Amount(left), renews_at })
    }

    #[test]
    fn each_limit_refuses_what_is_one_unit_above_it() {
        let limits =
            Limits { per_request: Some(Amount(10)), per_host: Some(Amount(15)), ..Limits::of(Amount(25)) };
        let mut spending = Spending::default();
        assert_eq!(spending.reserve(&limits, &charge(1, 11)), over(Limit::PerRequest, 11, 10, None));
        assert_eq!(spending.reserve(&limits, &charge(1, 10)), Ok(()));
        assert_eq!(spending.reserve(&limits, &charge(1, 6)), over(Limit::PerHost, 6, 5, None));
        assert_eq!(spending.reserve(&limits, &charge(1, 5)), Ok(()));
        assert_eq!(spending.reserve(&limits, &charge(2, 10)), Ok(()));
        assert_eq!(spending.reserve(&limits, &charge(3, 1)), over(Limit::Total, 1, 0, None));
        spending.settle(&charge(2, 10), Amount(9));
        assert_eq!(spending.reserve(&limits, &charge(3, 1)), Ok(()));
    }

    #[test]
    fn payees_agents_and_tasks_have_their_limits_each_for_itself() {
        let mut spending = Spending::default();
        let named = |name: &str| Some(name.to_owned());
        for (limit, other) in [
            (Limit::PerPayee, Charge { payee: "other".into(), ..charge(1, 1) }),
            (Limit::PerAgent, Charge { agent: named("other"), ..charge(1, 1) }),
            (Limit::PerTask, Charge { task: named("other"), ..charge(1, 1) }),
        ] {
            spending = Spending::default();
            let limits = Limits::of(Amount(100)).with(limit, Amount(5));
            assert_eq!(spending.reserve(&limits, &charge(1, 5)), Ok(()));
            assert_eq!(spending.reserve(&limits, &charge(2, 1)), over(limit, 1, 0, None));
            assert_eq!(spending.reserve(&limits, &other), Ok(()), "{limit} of another");
        }
        assert_eq!(spending.total(&charge(0, 0).asset), Amount(6));
    }

    #[test]
    fn a_window_starts_anew_and_says_when() {
        for (limit, next) in [
            (Limit::PerHour, START + 3_600),
            (Limit::PerDay, START + 86_400),
            (Limit::PerMonth, START + 30 * 86_400),
        ] {
            let mut spending = Spending::default();
            let limits = Limits::of(Amount(100)).with(limit, Amount(5));
            let late = Charge { at: next - 1, ..charge(1, 1) };
            assert_eq!(spending.reserve(&limits, &charge(1, 5)), Ok(()));
            assert_eq!(spending.reserve(&limits, &late), over(limit, 1, 0, Some(next)));
            assert_eq!(spending.reserve(&limits, &Charge { at: next, ..late }), Ok(()));
        }
    }

    #[test]
    fn the_limit_that_is_named_is_the_one_to_wait_for() {
        let limits = Limits { per_hour: Some(Amount(5)), per_day: Some(Amount(5)), ..Limits::of(Amount(6)) };
        let mut spending = Spending::default();
        spending.reserve(&limits, &charge(1, 5)).unwrap();
        assert_eq!(spending.reserve(&limits, &charge(1, 1)), over(Limit::PerDay, 1, 0, Some(START + 86_400)));
        assert_eq!(spending.reserve(&limits, &charge(1, 2)), over(Limit::Total, 2, 1, None));
    }

    #[test]
    fn what_is_released_later_is_given_back_where_it_was_counted() {
        let limits = Limits::of(Amount(100)).with(Limit::PerHour, Amount(5));
        let mut spending = Spending::default();
        let next = Charge { at: START + 3_600, ..charge(1, 5) };
        spending.reserve(&limits, &charge(1, 5)).unwrap();
        spending.reserve(&limits, &next).unwrap();
        spending.settle(&charge(1, 5), Amount::ZERO);
        assert!(spending.reserve(&limits, &Charge { amount: Amount(1), ..next.clone() }).is_err());
        assert_eq!(spending.total(&next.asset), Amount(5));
        // And where that window is forgotten, the rest of it is given back all the same.
        let far = Charge { at: START + 10 * 86_400, ..charge(1, 5) };
        spending.reserve(&limits, &far).unwrap();
        spending.settle(&next, Amount::ZERO);
        assert_eq!(spending.total(&next.asset), Amount(5));
        assert!(spending.reserve(&limits, &Charge { amount: Amount(1), ..far.clone() }).is_err());
        assert_eq!(spending.scopes(&far.asset).filter(|(scope, _)| scope.ends().is_some()).count(), 3);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Reserve([u8; 4], u128, u64),
        Settle(usize, u128),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (any::<[u8; 4]>(), 0u128..40, 0u64..150_000)
                .prop_map(|(who, amount, later)| Step::Reserve(who, amount, later)),
            (any::<usize>(), 0u128..40).prop_map(|(which, taken)| Step::Settle(which, taken)),
        ]
    }

    proptest! {
        #[test]
        fn no_order_of_steps_counts_above_a_limit(steps in proptest::collection::vec(step(), 0..80)) {
            let limits = Limits {
                per_request: Some(Amount(30)),
                per_host: Some(Amount(170)),
                per_payee: Some(Amount(160)),
                per_agent: Some(Amount(150)),
                per_task: Some(Amount(140)),
                per_hour: Some(Amount(35)),
                per_day: Some(Amount(50)),
                per_month: Some(Amount(200)),
                total: Amount(300),
            };
            let mut spending = Spending::default();
            let mut open: Vec<Charge> = Vec::new();
            let mut taken: Vec<Charge> = Vec::new();
            let mut now = START;
            for step in steps {
                match step {
                    Step::Reserve([host, payee, agent, task], amount, later) => {
                        now += later;
                        let named = |n: u8| (!n.is_multiple_of(3)).then(|| format!("n{}", n % 3));
                        let charge = Charge {
                            payee: format!("p{}", payee % 3),
                            agent: named(agent),
                            task: named(task),
                            at: now,
                            ..charge(host % 3, amount)
                        };
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
                let mut expected: BTreeMap<Scope, u128> = BTreeMap::new();
                for charge in open.iter().chain(&taken) {
                    for scope in charge.scopes() {
                        *expected.entry(scope).or_default() += charge.amount.0;
                    }
                }
                let asset = charge(0, 0).asset;
                for (scope, sum) in expected {
                    prop_assert!(sum <= limits.get(scope.limit()).unwrap().0, "{:?}", scope);
                    if scope.ends().is_none_or(|ends| ends + KEPT > now) {
                        prop_assert_eq!(spending.counted(&asset, &scope), Amount(sum), "{:?}", scope);
                    }
                }
            }
        }
    }
}
