//! What a seller says of a price up to a maximum.

use std::num::NonZeroU64;
use std::time::Duration;

use farthing_protocol::Price;

use super::{Metered, Unit};
use crate::PriceLayer;
use crate::flow::{Seller, takes};
use crate::layer::started;
use crate::paywall::{ConfigError, expressed};

/// The longest for which an answer may flow: the money is held for 900 seconds, and some of them are needed
/// to hold it, and to capture in the end.
const LONGEST: Duration = Duration::from_secs(870);

impl PriceLayer {
    /// Charges for each server-sent event, such as `"$0.001"`, up to the route's maximum. Comments, and
    /// fields without data, are no events. An answer that is no stream of events costs as much as one.
    ///
    /// # Panics
    /// When the route's price is not one [up to](crate::Paywall::up_to) a maximum, no rail that holds money
    /// can express this one, or it is above the maximum.
    #[must_use]
    #[track_caller]
    pub fn per_event<P>(self, price: P) -> Self
    where
        P: TryInto<Price>,
        P::Error: std::fmt::Display,
    {
        started(self.try_per_event(price))
    }

    /// Charges for each server-sent event.
    ///
    /// # Errors
    /// [`ConfigError`], where [`per_event`](Self::per_event) panics.
    pub fn try_per_event<P>(self, price: P) -> Result<Self, ConfigError>
    where
        P: TryInto<Price>,
        P::Error: std::fmt::Display,
    {
        self.unit(price, |price| Unit::Event { price })
    }

    /// Charges for each `bytes` of the answer's body, begun ones too, up to the route's maximum.
    ///
    /// # Panics
    /// As [`per_event`](Self::per_event), and when `bytes` is zero.
    #[must_use]
    #[track_caller]
    pub fn per_bytes<P>(self, bytes: u64, price: P) -> Self
    where
        P: TryInto<Price>,
        P::Error: std::fmt::Display,
    {
        started(self.try_per_bytes(bytes, price))
    }

    /// Charges for each `bytes` of the answer's body.
    ///
    /// # Errors
    /// [`ConfigError`], where [`per_bytes`](Self::per_bytes) panics.
    pub fn try_per_bytes<P>(self, bytes: u64, price: P) -> Result<Self, ConfigError>
    where
        P: TryInto<Price>,
        P::Error: std::fmt::Display,
    {
        let none = || ConfigError::Unmetered("a block has at least one byte".to_owned());
        let bytes = NonZeroU64::new(bytes).ok_or_else(none)?;
        self.unit(price, |price| Unit::Bytes { bytes, price })
    }

    /// The price of a unit that the handler counts with its [`Meter`](crate::Meter), such as a token.
    ///
    /// # Panics
    /// As [`per_event`](Self::per_event).
    #[must_use]
    #[track_caller]
    pub fn per_unit<P>(self, price: P) -> Self
    where
        P: TryInto<Price>,
        P::Error: std::fmt::Display,
    {
        started(self.unit(price, |price| Unit::Handler { price: Some(price) }))
    }

    /// Captures a stream each time that this many units were used: blocks, events, or what the handler
    /// counts. Unless set, 64, or a 64th of the maximum where that is more. Less is captured after five
    /// seconds. What is delivered is never further ahead of what is captured than about twice this.
    ///
    /// # Panics
    /// When it is zero, or the route's price is not one up to a maximum.
    #[must_use]
    #[track_caller]
    pub fn capture_every(self, units: u64) -> Self {
        let Some(units) = NonZeroU64::new(units) else { panic!("captures need at least one unit") };
        started(self.metered(|metered| metered.every = Some(units)))
    }

    /// How long an answer may flow, 14 minutes unless set: then it ends, and is paid for as far as it was
    /// delivered. A process that dies in the middle leaves the rest of its hold to the payment's capture
    /// deadline.
    ///
    /// # Panics
    /// When it is zero or above 870 seconds, for money is held for 900; or the route's price is not one up to
    /// a maximum.
    #[must_use]
    #[track_caller]
    pub fn longest_stream(self, longest: Duration) -> Self {
        assert!(!longest.is_zero() && longest <= LONGEST, "a stream flows for up to 870 seconds");
        started(self.metered(|metered| metered.longest = longest))
    }

    fn metered(self, change: impl FnOnce(&mut Metered)) -> Result<Self, ConfigError> {
        let Some(mut metered) = self.route().metered.clone() else {
            return Err(ConfigError::Unmetered("only a price of `up_to` is metered".to_owned()));
        };
        change(&mut metered);
        Ok(self.with(|route| route.metered = Some(metered)))
    }

    fn unit<P>(self, price: P, unit: impl FnOnce(Price) -> Unit) -> Result<Self, ConfigError>
    where
        P: TryInto<Price>,
        P::Error: std::fmt::Display,
    {
        let price = expressed(&self.route().seller, price)?;
        let layer = self.metered(|metered| metered.unit = unit(price))?;
        layer.is_metered()?;
        Ok(layer)
    }

    /// Whether somebody can pay for a unit, within the maximum.
    fn is_metered(&self) -> Result<(), ConfigError> {
        let route = self.route();
        let metered = route.metered.as_ref();
        let Some(unit) = metered.and_then(Metered::unit_price) else {
            return offered(&self.route().seller, metered);
        };
        let mut paid = false;
        for max in route.prices.all().filter(|max| max.currency() == unit.currency()) {
            for rail in route.rails() {
                let (Ok(unit), Ok(most)) = (rail.amount(unit), rail.amount(max)) else { continue };
                if unit > most {
                    return Err(ConfigError::Unmetered(format!("a unit costs more than the maximum, {max}")));
                }
                paid = true;
            }
        }
        match paid {
            true => Ok(()),
            false => {
                let why = format!("no rail that holds money takes {} for it", unit.currency());
                Err(ConfigError::Unmetered(why))
            }
        }
    }
}

/// Whether any rail is offered on a route that is metered in this way, or not at all.
pub(crate) fn offered(seller: &Seller, metered: Option<&Metered>) -> Result<(), ConfigError> {
    match seller.rails.iter().any(|rail| takes(metered, rail.as_ref())) {
        true => Ok(()),
        false => Err(ConfigError::Unmetered(match metered {
            None => "every rail here is of scheme `upto`, and needs a price of `up_to`".to_owned(),
            Some(_) => "no rail here takes less than its full amount".to_owned(),
        })),
    }
}
