//! A budget in atomic units, and what is above it.

use std::fmt;
use std::str::FromStr;

use farthing_protocol::Amount;
use thiserror::Error;

use super::{Charge, Scope};
use crate::calendar::Utc;

/// A budget in atomic units of its asset. All of its limits hold at once; [`of`](Self::of) makes one with a
/// total only.
///
/// ```
/// use farthing_client::budget::Limits;
/// use farthing_protocol::Amount;
///
/// let limits = Limits { per_task: Some(Amount(200)), per_day: Some(Amount(500)), ..Limits::of(Amount(5_000)) };
/// # assert_eq!(limits.per_hour, None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For one payment.
    pub per_request: Option<Amount>,
    /// For all payments to each origin.
    pub per_host: Option<Amount>,
    /// For all payments to each payee.
    pub per_payee: Option<Amount>,
    /// For all payments of each agent; those of no agent count together as one.
    pub per_agent: Option<Amount>,
    /// For all payments for each task; those for no task count together as one.
    pub per_task: Option<Amount>,
    /// For all payments of each hour in UTC.
    pub per_hour: Option<Amount>,
    /// For all payments of each day in UTC.
    pub per_day: Option<Amount>,
    /// For all payments of each month in UTC.
    pub per_month: Option<Amount>,
    /// For all payments.
    pub total: Amount,
}

impl Limits {
    /// At most `total` altogether.
    #[must_use]
    pub const fn of(total: Amount) -> Self {
        Self {
            per_request: None,
            per_host: None,
            per_payee: None,
            per_agent: None,
            per_task: None,
            per_hour: None,
            per_day: None,
            per_month: None,
            total,
        }
    }

    /// One of them, in atomic units; `None` where there is none.
    #[must_use]
    pub fn get(&self, limit: Limit) -> Option<Amount> {
        match limit {
            Limit::PerRequest => self.per_request,
            Limit::PerHost => self.per_host,
            Limit::PerPayee => self.per_payee,
            Limit::PerTask => self.per_task,
            Limit::PerAgent => self.per_agent,
            Limit::Total => Some(self.total),
            Limit::PerMonth => self.per_month,
            Limit::PerDay => self.per_day,
            Limit::PerHour => self.per_hour,
        }
    }

    /// The same with one of them set, in atomic units.
    #[must_use]
    pub fn with(mut self, limit: Limit, amount: Amount) -> Self {
        let place = match limit {
            Limit::PerRequest => &mut self.per_request,
            Limit::PerHost => &mut self.per_host,
            Limit::PerPayee => &mut self.per_payee,
            Limit::PerTask => &mut self.per_task,
            Limit::PerAgent => &mut self.per_agent,
            Limit::PerMonth => &mut self.per_month,
            Limit::PerDay => &mut self.per_day,
            Limit::PerHour => &mut self.per_hour,
            Limit::Total => return Self { total: amount, ..self },
        };
        *place = Some(amount);
        self
    }

    /// Whether `charge` may be added to what is `counted` in each of its [scopes](Charge::scopes).
    ///
    /// # Errors
    /// [`OverBudget`] names the first limit that is exceeded, in the order of [`Limit::ALL`].
    pub fn allow(&self, charge: &Charge, counted: &[(Scope, Amount)]) -> Result<(), OverBudget> {
        let within = |limit: Limit, spent: Amount, renews_at| {
            let Some(bound) = self.get(limit) else { return Ok(()) };
            let (asked, left) = (charge.amount, bound.checked_sub(spent).unwrap_or_default());
            if asked > left { Err(OverBudget { limit, asked, left, renews_at }) } else { Ok(()) }
        };
        within(Limit::PerRequest, Amount::ZERO, None)?;
        counted.iter().try_for_each(|(scope, spent)| within(scope.limit(), *spent, scope.ends()))
    }
}

/// Which limit an offer is above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// The budget's limit for one request.
    PerRequest,
    /// The budget's limit for one origin.
    PerHost,
    /// The budget's limit for one payee.
    PerPayee,
    /// The budget's limit for one task.
    PerTask,
    /// The budget's limit for one agent.
    PerAgent,
    /// The budget.
    Total,
    /// The budget's limit for a month.
    PerMonth,
    /// The budget's limit for a day.
    PerDay,
    /// The budget's limit for an hour.
    PerHour,
}

impl Limit {
    /// All of them: those that stay exceeded from the narrowest on, then those that start anew from the
    /// longest on, so that the first one exceeded says how long there is to wait.
    pub const ALL: [Self; 9] = [
        Self::PerRequest,
        Self::PerHost,
        Self::PerPayee,
        Self::PerTask,
        Self::PerAgent,
        Self::Total,
        Self::PerMonth,
        Self::PerDay,
        Self::PerHour,
    ];

    /// Its name in files: `per_request`, `total`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PerRequest => "per_request",
            Self::PerHost => "per_host",
            Self::PerPayee => "per_payee",
            Self::PerTask => "per_task",
            Self::PerAgent => "per_agent",
            Self::Total => "total",
            Self::PerMonth => "per_month",
            Self::PerDay => "per_day",
            Self::PerHour => "per_hour",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Total => f.write_str("the budget"),
            part => write!(f, "the budget {}", part.name().replace('_', " ")),
        }
    }
}

/// Not the [name](Limit::name) of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no limit of a budget has this name")]
pub struct UnknownLimit;

impl FromStr for Limit {
    type Err = UnknownLimit;

    fn from_str(name: &str) -> Result<Self, UnknownLimit> {
        Self::ALL.into_iter().find(|limit| limit.name() == name).ok_or(UnknownLimit)
    }
}

/// An amount that a budget does not allow, in atomic units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{asked} atomic units are above {limit}, which has {left} left{}", self.renewal())]
pub struct OverBudget {
    /// Which limit.
    pub limit: Limit,
    /// The most that the payment could cost.
    pub asked: Amount,
    /// What the limit still allows.
    pub left: Amount,
    /// When the limit starts anew, in Unix seconds; `None` when it never does.
    pub renews_at: Option<u64>,
}

impl OverBudget {
    /// ` until 2026-11-22T00:00:00Z` for a limit that starts anew, or nothing.
    pub(crate) fn renewal(&self) -> String {
        self.renews_at.map(|at| format!(" until {}", Utc(at))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_set_and_found_by_its_name() {
        let mut limits = Limits::of(Amount(0));
        for (n, limit) in (1..).zip(Limit::ALL) {
            assert_eq!(limit.name().parse(), Ok(limit));
            limits = limits.with(limit, Amount(n));
            assert_eq!(limits.get(limit), Some(Amount(n)));
        }
        assert_eq!(
            (limits.per_request, limits.per_hour, limits.total),
            (Some(Amount(1)), Some(Amount(9)), Amount(6))
        );
        assert_eq!("per_year".parse::<Limit>(), Err(UnknownLimit));
    }

    #[test]
    fn a_limit_that_starts_anew_says_when() {
        let over = OverBudget {
            limit: Limit::PerDay,
            asked: Amount(2),
            left: Amount(1),
            renews_at: Some(1_709_251_200),
        };
        let said = "2 atomic units are above the budget per day, which has 1 left until 2024-03-01T00:00:00Z";
        assert_eq!(over.to_string(), said);
        let over = OverBudget { limit: Limit::Total, renews_at: None, ..over };
        assert_eq!(over.to_string(), "2 atomic units are above the budget, which has 1 left");
    }
}
