//! Answers that are paid for as they are used: [`Paywall::up_to`](crate::Paywall::up_to).
//!
//! The maximum is held before the handler runs; what was used is captured, and the rest given back. Who says
//! what was used is the route's [`Unit`]: the handler, by its [`Meter`] or by [`Captured`](crate::Captured);
//! each server-sent event; or each so many bytes of the answer.
//!
//! A stream is captured while it flows: when an interval of usage is reached, and after five seconds
//! otherwise. It is never delivered past the maximum, nor more than about two intervals ahead of what is
//! captured: then its handler waits. At most one capture is under way; one whose outcome is unknown is asked
//! for again with the same amount. When the stream ends, for whatever reason, what was delivered is captured
//! and the rest of the hold given back; where nothing was delivered, all of it.
//!
//! The first header says `extra.state: "authorized"`; the final settlement comes as trailer
//! `PAYMENT-RESPONSE`, as last event `payment-response` of a stream of events, and at `/payments/{id}`
//! ([`Paywall::routes`](crate::Paywall::routes)).

mod body;
mod events;
mod gauge;
mod layer;
mod machine;
pub(crate) mod payments;
mod streams;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::poll_fn;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use farthing_protocol::{Amount, Price};
use thiserror::Error;

pub use self::body::Tap;
pub(crate) use self::body::Tariff;
pub(crate) use self::gauge::{Closer, Gauge};
pub(crate) use self::layer::offered;
pub use self::machine::{End, Figures, Limits, Metering, Next, Part, Room, Verdict};
pub(crate) use self::streams::Streams;

/// How the answers of a route are metered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metered {
    /// What is paid for.
    pub unit: Unit,
    /// Units after which usage is captured; `None`: after 64, or a 64th of the maximum where that is more.
    pub every: Option<NonZeroU64>,
    /// Seconds after which it is captured when it is less.
    pub seconds: u64,
    /// How long an answer may flow.
    pub longest: Duration,
}

/// What is paid for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Whatever the handler says; `price` is that of a unit that it may count in.
    Handler {
        /// One atomic unit when there is none.
        price: Option<Price>,
    },
    /// Each server-sent event.
    Event {
        /// Of one.
        price: Price,
    },
    /// Each started block of bytes.
    Bytes {
        /// Of a block.
        bytes: NonZeroU64,
        /// Of one.
        price: Price,
    },
}

/// Units, or a 64th of the maximum, after which usage is captured unless a route says otherwise.
const EVERY: u128 = 64;
/// Seconds after which it is captured when it is less.
const SECONDS: u64 = 5;
/// How long an answer may flow: within the 900 seconds for which its money can be held.
const LONGEST: Duration = Duration::from_secs(840);

impl Default for Metered {
    /// The handler says what was used; 14 minutes at most.
    fn default() -> Self {
        Self { unit: Unit::Handler { price: None }, every: None, seconds: SECONDS, longest: LONGEST }
    }
}

impl Metered {
    /// The price of a unit, if it has one of its own.
    #[must_use]
    pub fn unit_price(&self) -> Option<&Price> {
        match &self.unit {
            Unit::Handler { price } => price.as_ref(),
            Unit::Event { price } | Unit::Bytes { price, .. } => Some(price),
        }
    }

    /// Whether answers are metered while they flow, whatever the handler does: for rails that hold money only.
    #[must_use]
    pub fn needs_hold(&self) -> bool {
        !matches!(self.unit, Unit::Handler { .. })
    }

    /// Whether events are what is paid for.
    pub(crate) fn counts_events(&self) -> bool {
        matches!(self.unit, Unit::Event { .. })
    }

    /// Whether an answer is read before its beginning is sent: one that is whole already, where the handler
    /// says what it used; and one that is no stream, where events are paid for.
    pub(crate) fn is_whole(&self, body: &Body, limit: usize) -> bool {
        let length = http_body::Body::size_hint(body).exact();
        match self.unit {
            Unit::Handler { .. } => length.is_some_and(|length| length <= limit as u64),
            Unit::Event { .. } => true,
            Unit::Bytes { .. } => false,
        }
    }

    /// Whether a long answer is metered while it flows, where its rail holds money.
    pub(crate) fn flows(&self, is_events: bool) -> bool {
        is_events || !matches!(self.unit, Unit::Event { .. })
    }

    /// What a meter goes by, where a unit costs `unit` and at most `max` is captured; in atomic units.
    pub(crate) fn limits(&self, max: Amount, unit: Amount) -> Limits {
        let unit = unit.0.max(1);
        let every = match self.every {
            Some(every) => u128::from(every.get()),
            None => EVERY.max(max.0 / unit / EVERY),
        };
        Limits { max, interval: Amount(every.saturating_mul(unit)), seconds: self.seconds }
    }

    /// What a delivered piece costs, where a unit costs `unit`.
    pub(crate) fn tariff(&self, unit: Amount) -> Tariff {
        match &self.unit {
            Unit::Handler { .. } => Tariff::Handler,
            Unit::Event { .. } => Tariff::Event(unit.0.max(1)),
            Unit::Bytes { bytes, .. } => Tariff::Bytes { bytes: bytes.get(), price: unit.0.max(1) },
        }
    }
}

/// Counts what a request uses, within what is held for it. A handler of a route with a price
/// [up to](crate::Paywall::up_to) a maximum finds it in the request's extensions; clones count together.
///
/// What is charged before the answer is given up counts only if the answer is paid: a handler that fails
/// costs nothing.
#[derive(Clone)]
pub struct Meter {
    gauge: Arc<Gauge>,
    unit: Amount,
    /// Where the money is held, so that the answer may be paid for while it flows.
    flows: Option<Arc<Metered>>,
}

/// A charge that is not covered by what is left of the maximum, or comes after the answer's end. Nothing was
/// charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not covered by what is held: {left} atomic units are left")]
pub struct Exhausted {
    /// Atomic units that are left.
    pub left: Amount,
}

/// What to charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// Atomic units of the asset.
    Amount(Amount),
    /// Units of the route; of one atomic unit when it has none.
    Units(u64),
}

impl From<Amount> for Charge {
    fn from(amount: Amount) -> Self {
        Self::Amount(amount)
    }
}

impl From<u64> for Charge {
    fn from(units: u64) -> Self {
        Self::Units(units)
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("used", &self.used()).field("left", &self.left()).finish()
    }
}

impl Meter {
    pub(crate) fn new(gauge: Arc<Gauge>, unit: Amount, flows: Option<&Metered>) -> Self {
        Self { gauge, unit: Amount(unit.0.max(1)), flows: flows.cloned().map(Arc::new) }
    }

    pub(crate) fn flows(&self) -> Option<&Metered> {
        self.flows.as_deref()
    }

    /// Charges an [`Amount`] or a number of units. In a stream this waits when as much is charged as can be
    /// before the next capture.
    ///
    /// # Errors
    /// [`Exhausted`]: nothing was charged, and what was to be paid for must not be delivered.
    pub async fn charge(&self, what: impl Into<Charge>) -> Result<(), Exhausted> {
        let cost = match what.into() {
            Charge::Amount(amount) => amount.0,
            Charge::Units(units) => u128::from(units).saturating_mul(self.unit.0),
        };
        let charged = poll_fn(|context| self.gauge.poll_charge(cost, context)).await;
        if charged { Ok(()) } else { Err(Exhausted { left: self.left() }) }
    }

    /// Atomic units that are left; zero once the answer has ended.
    #[must_use]
    pub fn left(&self) -> Amount {
        Amount(self.gauge.room().map_or(0, |room| room.left))
    }

    /// Whole units that are left.
    #[must_use]
    pub fn units_left(&self) -> u64 {
        u64::try_from(self.left().0 / self.unit.0).unwrap_or(u64::MAX)
    }

    /// Atomic units that were used.
    #[must_use]
    pub fn used(&self) -> Amount {
        self.gauge.used()
    }
}
