//! The paywall: who sells, over which rails, through which facilitator.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use farthing_protocol::rail::{Facilitator, Flow, Offer, OfferError};
use farthing_protocol::records::Records;
use farthing_protocol::{Limits, Origin, Price, SecretKey};
use thiserror::Error;

use crate::flow::Seller;
use crate::layer::PriceLayer;
use crate::service::Shell;

/// Payments that a process follows at the same time, unless configured otherwise.
const IN_FLIGHT: usize = 4096;

/// Charges for routes. Cheap to clone; one per process is enough.
#[derive(Clone, Debug)]
pub struct Paywall {
    shell: Arc<Shell>,
}

/// A paywall in the making; see [`Paywall::builder`].
#[must_use = "a paywall is made by `build`"]
pub struct PaywallBuilder {
    origin: Origin,
    rails: Vec<Arc<dyn Offer>>,
    facilitator: Option<Arc<dyn Facilitator>>,
    records: Option<Arc<dyn Records>>,
    receipt_key: Option<SecretKey>,
    limits: Limits,
    owner_id: Option<[u8; 16]>,
    in_flight: usize,
    clock: Clock,
}

/// Unix seconds.
pub(crate) type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// A configuration that cannot be served. The operator is at fault; nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// There is no way to pay.
    #[error("a paywall needs at least one rail")]
    NoRail,
    /// Two rails offer the same, and a payment could not be told to belong to one of them.
    #[error("scheme {scheme} on {network} is offered by two rails")]
    SameRail {
        /// The scheme.
        scheme: String,
        /// The network.
        network: String,
    },
    /// A rail cannot hold money, and there is nowhere to write down whose payment is whose.
    #[error(
        "scheme {scheme} on {network} cannot hold money while a handler runs: the paywall needs `records`, shared \
         by all of its processes"
    )]
    NoRecords {
        /// The scheme.
        scheme: String,
        /// The network.
        network: String,
    },
    /// Nobody settles.
    #[error("a paywall needs a facilitator")]
    NoFacilitator,
    /// Nobody signs receipts.
    #[error("a paywall needs a receipt key")]
    NoReceiptKey,
    /// No payment could ever be in flight.
    #[error("`in_flight` must be above zero")]
    NoRoom,
    /// The operating system gave no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
    /// A price that is not one.
    #[error("{0}")]
    Price(String),
    /// A price that a rail cannot express.
    #[error("price \"{price}\" cannot be offered as {scheme} on {network}: {why}")]
    Unpriced {
        /// The price.
        price: String,
        /// The scheme.
        scheme: String,
        /// The network.
        network: String,
        /// What the rail says.
        why: Box<OfferError>,
    },
}

impl Paywall {
    /// Begins a paywall for routes that clients reach at `origin`. The origin is part of what payers sign,
    /// and is never taken from a request's `Host` header.
    pub fn builder(origin: Origin) -> PaywallBuilder {
        let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        PaywallBuilder {
            origin,
            rails: Vec::new(),
            facilitator: None,
            records: None,
            receipt_key: None,
            limits: Limits::default(),
            owner_id: None,
            in_flight: IN_FLIGHT,
            clock: Arc::new(seconds),
        }
    }

    /// The layer that charges `price`, such as `"$0.001"` or `"0.001 XTS"`, for each request on a route.
    ///
    /// # Panics
    /// When the price is not one, or a rail cannot express it: a server with a wrong price must not start.
    /// [`try_price`](Self::try_price) returns the error instead.
    #[track_caller]
    pub fn price<P>(&self, price: P) -> PriceLayer
    where
        P: TryInto<Price>,
        P::Error: std::fmt::Display,
    {
        match self.try_price(price) {
            Ok(layer) => layer,
            Err(error) => panic!("{error}"),
        }
    }

    /// The layer that charges `price` for each request on a route.
    ///
    /// # Errors
    /// [`ConfigError::Price`] and [`ConfigError::Unpriced`].
    pub fn try_price<P>(&self, price: P) -> Result<PriceLayer, ConfigError>
    where
        P: TryInto<Price>,
        P::Error: std::fmt::Display,
    {
        let price: Price = price.try_into().map_err(|error| ConfigError::Price(error.to_string()))?;
        for rail in &self.shell.seller().rails {
            rail.amount(&price).map_err(|why| ConfigError::Unpriced {
                price: price.to_string(),
                scheme: rail.scheme().to_owned(),
                network: rail.network().to_string(),
                why: Box::new(why),
            })?;
        }
        Ok(PriceLayer::new(self.shell.clone(), price))
    }
}

impl PaywallBuilder {
    /// Adds a way to pay. The first one added is the preferred one.
    pub fn rail(mut self, rail: Arc<dyn Offer>) -> Self {
        self.rails.push(rail);
        self
    }

    /// Who settles: in process, or a remote one.
    pub fn facilitator(self, facilitator: Arc<dyn Facilitator>) -> Self {
        Self { facilitator: Some(facilitator), ..self }
    }

    /// Where claims on payments are written down, for rails that cannot hold money. All processes that sell
    /// for the same payee must share it; one that forgets lets a payment be served again.
    pub fn records(self, records: Arc<dyn Records>) -> Self {
        Self { records: Some(records), ..self }
    }

    /// The key that signs receipts. Its one job; clients find its public part in every offer.
    pub fn receipt_key(self, key: SecretKey) -> Self {
        Self { receipt_key: Some(key), ..self }
    }

    /// What is read and kept; [`Limits::default`] otherwise.
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Names this process as owner of its holds; random otherwise, which is right. The same name in two
    /// processes, or again after a restart, would let a handler run twice.
    pub fn owner_id(self, id: [u8; 16]) -> Self {
        Self { owner_id: Some(id), ..self }
    }

    /// Payments that are followed at the same time, 4096 unless set; more are answered 503.
    pub fn in_flight(self, payments: usize) -> Self {
        Self { in_flight: payments, ..self }
    }

    /// The clock, in Unix seconds; the operating system's unless set.
    pub fn clock(self, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// The paywall.
    ///
    /// # Errors
    /// [`ConfigError`] names what is missing or wrong.
    pub fn build(self) -> Result<Paywall, ConfigError> {
        let Self { origin, rails, facilitator, records, receipt_key, limits, owner_id, in_flight, clock } =
            self;
        if rails.is_empty() {
            return Err(ConfigError::NoRail);
        }
        for (at, rail) in rails.iter().enumerate() {
            let (scheme, network) = (rail.scheme(), rail.network());
            if rails[..at].iter().any(|other| (other.scheme(), other.network()) == (scheme, network)) {
                return Err(ConfigError::SameRail { scheme: scheme.into(), network: network.to_string() });
            }
            if rail.flow() != Flow::Escrow && records.is_none() {
                return Err(ConfigError::NoRecords { scheme: scheme.into(), network: network.to_string() });
            }
        }
        let facilitator = facilitator.ok_or(ConfigError::NoFacilitator)?;
        let receipt_key = receipt_key.ok_or(ConfigError::NoReceiptKey)?;
        if in_flight == 0 {
            return Err(ConfigError::NoRoom);
        }
        let owner_id = match owner_id {
            Some(id) => id,
            None => {
                let mut id = [0; 16];
                getrandom::fill(&mut id).map_err(|error| ConfigError::Random(error.to_string()))?;
                id
            }
        };
        let seller = Arc::new(Seller { origin, rails, receipt_key, limits, owner_id });
        Ok(Paywall { shell: Arc::new(Shell::new(seller, facilitator, records, in_flight, clock)) })
    }
}

impl std::fmt::Debug for PaywallBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PaywallBuilder")
            .field("origin", &self.origin)
            .field("rails", &self.rails)
            .finish_non_exhaustive()
    }
}
