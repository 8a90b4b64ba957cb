//! One payment in the journal, and how far it has come.

use std::fmt;
use std::str::FromStr;

use farthing_protocol::digest::sha256;
use farthing_protocol::rail::{PaymentId, SignedPayment};
use farthing_protocol::{Amount, PublicKey, RequestDigest};
use thiserror::Error;

use crate::budget::Charge;
use crate::prepared::PaymentHeader;

/// How far a payment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Signed, and nobody else has seen it.
    Signed,
    /// It may have reached the server.
    Sent,
    /// It was sent, and what became of it is not known.
    Unknown,
    /// The server says that it was voided; the network has not said so.
    Voided,
    /// The server says that it was settled; the network has not said so.
    Settled,
    /// The network says that this much was taken, in atomic units. Final.
    Confirmed(Amount),
    /// The network says that nothing was taken and nothing can be. Final.
    Released,
}

impl State {
    /// Whether the network has spoken.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Confirmed(_) | Self::Released)
    }

    /// Whether money was taken, as far as anybody said.
    #[must_use]
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Settled | Self::Confirmed(_))
    }

    /// The state after `news`: knowledge only grows, and what the network said stands.
    #[must_use]
    pub fn after(self, news: Self) -> Self {
        if self.is_final() || news.rank() < self.rank() { self } else { news }
    }

    /// How sure that is, and by whose word.
    #[must_use]
    pub fn standing(self) -> Standing {
        match self {
            Self::Signed => Standing::Signed,
            Self::Sent => Standing::Sent,
            Self::Unknown => Standing::Unknown,
            Self::Voided => Standing::Voided,
            Self::Settled => Standing::Settled,
            Self::Confirmed(_) => Standing::Confirmed,
            Self::Released => Standing::Released,
        }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Signed => 0,
            Self::Sent => 1,
            Self::Unknown => 2,
            Self::Voided => 3,
            Self::Settled => 4,
            Self::Confirmed(_) | Self::Released => 5,
        }
    }
}

/// A [`State`] without its amount: how sure it is what became of a payment, and by whose word. Shown in words
/// for people; see [`name`](Self::name) for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// [`State::Signed`].
    Signed,
    /// [`State::Sent`].
    Sent,
    /// [`State::Unknown`].
    Unknown,
    /// [`State::Voided`].
    Voided,
    /// [`State::Settled`].
    Settled,
    /// [`State::Confirmed`].
    Confirmed,
    /// [`State::Released`].
    Released,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Signed,
        Self::Sent,
        Self::Unknown,
        Self::Voided,
        Self::Settled,
        Self::Confirmed,
        Self::Released,
    ];

    /// Its name in files and for programs: `confirmed`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Sent => "sent",
            Self::Unknown => "unknown",
            Self::Voided => "voided",
            Self::Settled => "settled",
            Self::Confirmed => "confirmed",
            Self::Released => "released",
        }
    }

    /// Whether the network has spoken. Anything else may still turn out otherwise.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Confirmed | Self::Released)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signed => "signed, and not sent",
            Self::Sent => "sent, without an answer yet",
            Self::Unknown => "unknown",
            Self::Voided => "given back, said by the seller only",
            Self::Settled => "taken, said by the seller only",
            Self::Confirmed => "taken, confirmed by the network",
            Self::Released => "given back, confirmed by the network",
        })
    }
}

/// Not the [name](Standing::name) of a standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "no payment stands like this: it is one of signed, sent, unknown, voided, settled, confirmed, released"
)]
pub struct UnknownStanding;

impl FromStr for Standing {
    type Err = UnknownStanding;

    fn from_str(name: &str) -> Result<Self, UnknownStanding> {
        Self::ALL.into_iter().find(|standing| standing.name() == name).ok_or(UnknownStanding)
    }
}

/// One payment. Its `Debug` shows neither the header nor the signature.
#[derive(Clone)]
pub struct Record {
    /// The payment, as its rail signed it; what is needed to ask the network about it later.
    pub payment: SignedPayment,
    /// The header that carries it.
    pub header: PaymentHeader,
    /// What it counts against the budgets until it is closed.
    pub charge: Charge,
    /// Who is paid, in the network's own words.
    pub payee: String,
    /// The request's method.
    pub method: String,
    /// The request's path and query.
    pub target: String,
    /// The names of the caller's headers, in lower case; their values are not kept.
    pub header_names: Vec<String>,
    /// SHA-256 of the request's body, also where the payment does not cover it.
    pub body_hash: [u8; 32],
    /// What the payment is bound to.
    pub digest: RequestDigest,
    /// The key that the offer announced for receipts.
    pub receipt_key: Option<PublicKey>,
    /// Unix seconds.
    pub signed_at: u64,
    /// How far it has come.
    pub state: State,
    /// The status of the last answer that it was presented for.
    pub status: Option<u16>,
    /// Atomic units that the seller says it took.
    pub settled: Option<Amount>,
    /// The seller's signed receipt, in JSON as it came, once it was verified.
    pub receipt: Option<String>,
    /// The seller's receipt of x402's `offer-receipt`, a compact JWS, once it was verified.
    pub receipt_jws: Option<String>,
}

impl Record {
    /// The payment's name.
    #[must_use]
    pub fn id(&self) -> PaymentId {
        self.payment.id
    }

    /// The request's absolute URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}{}", self.charge.origin, self.target)
    }

    /// How sure it is what became of it, and by whose word.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.state.standing()
    }

    /// Atomic units that were taken: by the network's word, else by the seller's; `None` where neither said.
    #[must_use]
    pub fn taken(&self) -> Option<Amount> {
        match self.state {
            State::Confirmed(amount) => Some(amount),
            State::Released | State::Voided => Some(Amount::ZERO),
            State::Settled => self.settled,
            State::Signed | State::Sent | State::Unknown => None,
        }
    }

    /// Keeps what the seller answered, in place of what it answered before.
    pub(super) fn keep(&mut self, said: Answered) {
        self.status = said.status.or(self.status);
        self.settled = said.settled.or(self.settled);
        if said.receipt.is_some() {
            self.receipt = said.receipt;
        }
        if said.receipt_jws.is_some() {
            self.receipt_jws = said.receipt_jws;
        }
    }

    /// Whether the request had a body.
    #[must_use]
    pub fn has_body(&self) -> bool {
        self.body_hash != sha256(b"")
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("id", &self.payment.id)
            .field("charge", &self.charge)
            .field("payee", &self.payee)
            .field("method", &self.method)
            .field("target", &self.target)
            .field("signed_at", &self.signed_at)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// What the seller answered to a payment: kept with it as a proof, and nothing counts by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// The answer's status.
    pub status: Option<u16>,
    /// Atomic units that it says were taken.
    pub settled: Option<Amount>,
    /// The signed receipt in it, in JSON as it came, if it was verified.
    pub receipt: Option<String>,
    /// The receipt of x402's `offer-receipt` in it, a compact JWS, if it was verified.
    pub receipt_jws: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_has_a_name_and_words_of_its_own() {
        for (at, standing) in Standing::ALL.iter().enumerate() {
            assert_eq!(standing.name().parse(), Ok(*standing));
            for other in &Standing::ALL[at + 1..] {
                assert_ne!(standing.to_string(), other.to_string());
            }
        }
        assert_eq!("paid".parse::<Standing>(), Err(UnknownStanding));
    }

    #[test]
    fn only_the_network_confirms() {
        let settled = State::Settled.standing();
        assert!(!settled.is_final() && settled.to_string().contains("seller only"));
        let confirmed = State::Confirmed(Amount(1)).standing();
        assert!(confirmed.is_final() && confirmed.to_string().contains("confirmed by the network"));
    }
}
