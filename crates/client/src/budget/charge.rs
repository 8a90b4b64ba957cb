//! What one payment counts against.

use std::borrow::Cow;

use farthing_protocol::{Amount, Network, Origin};

use super::Limit;
use crate::calendar::Window;

/// An asset: its name means something only together with its network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetId {
    /// The network.
    pub network: Network,
    /// In the network's own words.
    pub asset: String,
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
    /// Who is paid, in the network's own words.
    pub payee: String,
    /// The agent that spends it.
    pub agent: Option<String>,
    /// The task that it is spent for.
    pub task: Option<String>,
    /// Unix seconds: it counts in the hour, the day and the month of this moment, whenever it ends.
    pub at: u64,
}

impl Charge {
    /// Everything that it counts against.
    #[must_use]
    pub fn scopes(&self) -> [Scope; 8] {
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        [
            Scope::Host(self.origin.clone()),
            Scope::payee(&self.payee),
            Scope::Task(name(&self.task)),
            Scope::Agent(name(&self.agent)),
            Scope::Total,
            Scope::window(Window::Month, self.at),
            Scope::window(Window::Day, self.at),
            Scope::window(Window::Hour, self.at),
        ]
    }
}

/// A part of all payments in one asset that has its own sum.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Those at one origin.
    Host(Origin),
    /// Those to one payee; see [`payee`](Self::payee).
    Payee(String),
    /// Those for one task; for no task, with an empty name.
    Task(String),
    /// Those of one agent; of no agent, with an empty name.
    Agent(String),
    /// All of them.
    Total,
    /// Those in one window, by its first second in Unix seconds; see [`window`](Self::window).
    Window(Window, u64),
}

impl Scope {
    /// The payments to `payee`. Hexadecimal addresses are the same payee in upper and in lower case.
    #[must_use]
    pub fn payee(payee: &str) -> Self {
        let is_hex = payee.starts_with("0x") || payee.starts_with("0X");
        Self::Payee(if is_hex { payee.to_ascii_lowercase() } else { payee.to_owned() })
    }

    /// The payments in the window around a moment, in Unix seconds.
    #[must_use]
    pub fn window(window: Window, at: u64) -> Self {
        Self::Window(window, window.around(at).start)
    }

    /// When nothing counts in it any more, in Unix seconds; `None` where everything counts for good.
    #[must_use]
    pub fn ends(&self) -> Option<u64> {
        match self {
            Self::Window(window, start) => Some(window.around(*start).end),
            _ => None,
        }
    }

    /// The limit for it.
    #[must_use]
    pub fn limit(&self) -> Limit {
        match self {
            Self::Host(_) => Limit::PerHost,
            Self::Payee(_) => Limit::PerPayee,
            Self::Task(_) => Limit::PerTask,
            Self::Agent(_) => Limit::PerAgent,
            Self::Total => Limit::Total,
            Self::Window(Window::Month, _) => Limit::PerMonth,
            Self::Window(Window::Day, _) => Limit::PerDay,
            Self::Window(Window::Hour, _) => Limit::PerHour,
        }
    }

    /// Which of its kind it is: an origin, a name, or a window's first second.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Host(origin) => origin.as_str().into(),
            Self::Payee(name) | Self::Task(name) | Self::Agent(name) => name.as_str().into(),
            Self::Total => "".into(),
            Self::Window(_, start) => start.to_string().into(),
        }
    }

    /// The scope with this limit and name; `None` where there is none.
    #[must_use]
    pub fn named(limit: Limit, name: &str) -> Option<Self> {
        let window = |window| Some(Self::Window(window, name.parse().ok()?));
        match limit {
            Limit::PerRequest => None,
            Limit::PerHost => Some(Self::Host(name.parse().ok()?)),
            Limit::PerPayee => Some(Self::payee(name)),
            Limit::PerTask => Some(Self::Task(name.to_owned())),
            Limit::PerAgent => Some(Self::Agent(name.to_owned())),
            Limit::Total => name.is_empty().then_some(Self::Total),
            Limit::PerMonth => window(Window::Month),
            Limit::PerDay => window(Window::Day),
            Limit::PerHour => window(Window::Hour),
        }
    }
}

/// Whether agents and tasks may be called this: 1 to 64 visible ASCII characters.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_comes_back_from_its_limit_and_name() {
        let charge = Charge {
            asset: AssetId { network: "farthing:00".parse().unwrap(), asset: "XTS".into() },
            origin: "https://shop.example".parse().unwrap(),
            amount: Amount(1),
            payee: "0xABC".into(),
            agent: Some("researcher".into()),
            task: None,
            at: 1_800_000_123,
        };
        for scope in charge.scopes() {
            assert_eq!(Scope::named(scope.limit(), &scope.name()), Some(scope));
        }
        assert_eq!(Scope::named(Limit::PerRequest, ""), None);
        assert_eq!(Scope::named(Limit::PerDay, "today"), None);
    }

    #[test]
    fn a_payee_written_in_another_case_is_the_same_where_case_means_nothing() {
        assert_eq!(Scope::payee("0xAbCd"), Scope::payee("0XaBcD"));
        assert_ne!(Scope::payee("So1AbCd"), Scope::payee("so1abcd"));
    }

    #[test]
    fn names_are_short_and_visible() {
        assert!(is_name("a") && is_name(&"x".repeat(64)) && is_name("team/alice:7"));
        for name in ["", "two words", "line\n", "\u{202e}", "é", &"x".repeat(65)] {
            assert!(!is_name(name), "{name:?}");
        }
    }
}
