//! The cases: what is asked for, and what must come back.

use std::fmt;

use clap::ValueEnum;

/// One way to ask for the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// The handler without a price: the baseline.
    Free,
    /// No payment: 402 with the terms.
    Unpaid,
    /// A payment of scheme `auth-capture`, settled in process on the embedded ledger.
    AuthCapture,
    /// A payment of scheme `exact`, settled in process on the embedded ledger.
    Exact,
    /// A payment of scheme `exact`, settled by a remote facilitator.
    ExactRemote,
    /// A payment that is well signed by an account without money: the deepest refusal there is.
    #[value(skip)]
    Refused,
}

impl Case {
    /// Those that are measured.
    pub(crate) const ALL: [Self; 5] =
        [Self::Free, Self::Unpaid, Self::AuthCapture, Self::Exact, Self::ExactRemote];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Unpaid => "unpaid",
            Self::AuthCapture => "auth-capture",
            Self::Exact => "exact",
            Self::ExactRemote => "exact-remote",
            Self::Refused => "refused",
        }
    }

    /// Path and query.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::Free => "/free",
            Self::AuthCapture => "/auth-capture",
            Self::ExactRemote => "/exact-remote",
            Self::Unpaid | Self::Exact | Self::Refused => "/exact",
        }
    }

    /// Whether a payment goes with each request.
    pub(crate) fn pays(self) -> bool {
        !matches!(self, Self::Free | Self::Unpaid)
    }

    /// Whether money moves for each request.
    pub(crate) fn settles(self) -> bool {
        matches!(self, Self::AuthCapture | Self::Exact | Self::ExactRemote)
    }

    /// Whether the handler runs for each request.
    pub(crate) fn serves(self) -> bool {
        self.settles() || self == Self::Free
    }

    /// The status of every answer.
    pub(crate) fn status(self) -> u16 {
        if self.serves() { 200 } else { 402 }
    }

    /// A header that every answer has.
    pub(crate) fn header(self) -> Option<&'static str> {
        match self {
            Self::Free => None,
            Self::Unpaid => Some("payment-required"),
            _ => Some("payment-response"),
        }
    }

    /// The ratio to `free` that is aimed at.
    pub(crate) fn target_ratio(self) -> Option<f64> {
        match self {
            Self::Unpaid => Some(0.80),
            Self::Exact => Some(0.15),
            Self::AuthCapture => Some(0.12),
            _ => None,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
