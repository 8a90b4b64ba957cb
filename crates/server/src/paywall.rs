//! The paywall: who sells, over which rails, through which facilitator.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::response::IntoResponse;
use farthing_protocol::rail::{Facilitator, Flow, Offer, OfferError};
use farthing_protocol::records::Records;
use farthing_protocol::{Limits, Origin, Price, SecretKey};
use thiserror::Error;

use crate::flow::Seller;
use crate::layer::PriceLayer;
use crate::metering::{Metered, offered, payments};
use crate::page::PageOptions;
use crate::pricing::quotes::QuoteKeys;
use crate::pricing::{Prices, Wanted};
use crate::sales::SalesLog;
use crate::shell::{Setup, Shell};

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
    sales: Option<SalesLog>,
    quote_keys: Option<Result<QuoteKeys, ConfigError>>,
    page: PageOptions,
    signed_offers: bool,
    payments: Arc<str>,
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
    /// Payers name what they pay for, and there is nowhere to write down whose name it is.
    #[error("payment identifiers need `records`, shared by all processes of the paywall")]
    NoRecordsForIdentifiers,
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
    /// A maximum that cannot be metered, or a fixed price where every rail meters.
    #[error("the price cannot be offered: {0}")]
    Unmetered(String),
    /// A pass that nobody could use.
    #[error("a pass on a route: {0}")]
    Pass(String),
    /// A pass is sold, and there is nowhere to write down who bought it.
    #[error("a route with a pass needs `records`, shared by all processes of the paywall")]
    PassWithoutRecords,
    /// A price that is not one.
    #[error("{0}")]
    Price(String),
    /// A free path that is not a pattern, or contradicts another.
    #[error("{0}")]
    FreePath(String),
    /// Keys that quotes cannot be made with.
    #[error("`quote_keys`: {why}")]
    QuoteKeys {
        /// What is wrong with them.
        why: String,
    },
    /// A price that a rail cannot express, or that no rail has the currency of.
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
            payments: Arc::from(""),
            in_flight: IN_FLIGHT,
            clock: Arc::new(seconds),
            sales: None,
            quote_keys: None,
            page: PageOptions::default(),
            signed_offers: false,
        }
    }

    /// The layer that charges `price`, such as `"$0.001"` or `"0.001 XTS"`, for each request on a route.
    ///
    /// # Panics
    /// When the price is not one, a rail cannot express it, or none has its currency: a server with a wrong
    /// price must not start.
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
    /// [`ConfigError::Price`], and [`ConfigError::Unpriced`] when a rail cannot express it, or none has its
    /// currency.
    pub fn try_price<P>(&self, price: P) -> Result<PriceLayer, ConfigError>
    where
        P: TryInto<Price>,
        P::Error: std::fmt::Display,
    {
        let price = expressed(self.shell.seller(), price)?;
        offered(self.shell.seller(), None)?;
        Ok(PriceLayer::new(self.shell.clone(), Prices::of(price)))
    }

    /// The layer that holds `price` for each request and takes what was used of it: what the handler says, by
    /// [`Captured`](crate::Captured) or its [`Meter`](crate::Meter), unless the answer is metered
    /// [by events](PriceLayer::per_event) or [by bytes](PriceLayer::per_bytes). What the handler does not say
    /// costs nothing. See [`metering`](crate::metering).
    ///
    /// # Panics
    /// As [`price`](Self::price), and when no rail takes less than its full amount.
    #[track_caller]
    pub fn up_to<P>(&self, price: P) -> PriceLayer
    where
        P: TryInto<Price>,
        P::Error: std::fmt::Display,
    {
        match self.try_up_to(price) {
            Ok(layer) => layer,
            Err(error) => panic!("{error}"),
        }
    }

    /// The layer that holds `price` for each request and takes what was used of it.
    ///
    /// # Errors
    /// As [`try_price`](Self::try_price), and [`ConfigError::Unmetered`] when no rail takes less than its full
    /// amount.
    pub fn try_up_to<P>(&self, price: P) -> Result<PriceLayer, ConfigError>
    where
        P: TryInto<Price>,
        P::Error: std::fmt::Display,
    {
        let price = expressed(self.shell.seller(), price)?;
        let metered = Metered::default();
        offered(self.shell.seller(), Some(&metered))?;
        let layer = PriceLayer::new(self.shell.clone(), Prices::of(price));
        Ok(layer.with(|route| route.metered = Some(metered)))
    }

    /// Ends the answers that are paid for while they flow, each with its final settlement, and those that
    /// begin later: for a server that stops. Called when a graceful shutdown begins, streams do not hold it
    /// up, and nothing that they delivered stays uncaptured.
    pub fn end_streams(&self) {
        self.shell.streams().end();
    }

    /// `GET /payments/{id}`: what became of a payment, in the network's own signed words. Clients of streams
    /// find the final settlement there when it does not reach them. For the origin's root, or where
    /// [`routes_below`](PaywallBuilder::routes_below) says.
    pub fn routes(&self) -> axum::Router {
        payments::routes(self.shell.facilitator().clone())
    }

    /// A layer whose methods are priced one by one, with [`for_method`](PriceLayer::for_method). Methods
    /// without a price that are not free either are answered 405.
    #[must_use]
    pub fn by_method(&self) -> PriceLayer {
        PriceLayer::new(self.shell.clone(), Prices::none())
    }

    /// The layer that asks `price` for the price of each request: of its method, URI, headers and body. An
    /// `Err` is answered as it is, and free.
    ///
    /// Whoever is told a price pays that price: the offer holds a [quote](crate::pricing::quotes), and nothing
    /// is remembered of it. A price that a rail cannot express is the seller's error, and answered 500.
    ///
    /// [`or_price`](PriceLayer::or_price) lists one more offer besides, and
    /// [`for_method`](PriceLayer::for_method) a fixed price for a method about which `price` is not asked.
    pub fn dynamic<F, A, E>(&self, price: F) -> PriceLayer
    where
        F: Fn(Wanted) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Price, E>> + Send + 'static,
        E: IntoResponse,
    {
        PriceLayer::new(self.shell.clone(), Prices::none()).dynamic(price)
    }
}

/// A price that the rails can express: each one that has its currency.
pub(crate) fn expressed<P>(seller: &Seller, price: P) -> Result<Price, ConfigError>
where
    P: TryInto<Price>,
    P::Error: std::fmt::Display,
{
    let price: Price = price.try_into().map_err(|error| ConfigError::Price(error.to_string()))?;
    let (mut offered, mut foreign) = (false, None);
    for rail in &seller.rails {
        let unpriced = |why| ConfigError::Unpriced {
            price: price.to_string(),
            scheme: rail.scheme().to_owned(),
            network: rail.network().to_string(),
            why: Box::new(why),
        };
        match rail.amount(&price) {
            Ok(_) => offered = true,
            Err(why @ OfferError::UnknownAsset { .. }) => foreign = foreign.or_else(|| Some(unpriced(why))),
            Err(why) => return Err(unpriced(why)),
        }
    }
    match foreign {
        Some(why) if !offered => Err(why),
        _ => Ok(price),
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

    /// Where is written down what outlives a request: who has bought a [pass](PriceLayer::pass), and claims on
    /// payments, for rails that cannot hold money. All processes that sell for the same payee must share it; one
    /// that forgets lets a payment be served again.
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

    /// Below which path of the origin [`Paywall::routes`] are nested, such as `"/pay"`; its root unless set.
    pub fn routes_below(self, path: &str) -> Self {
        Self { payments: Arc::from(path.trim_end_matches('/')), ..self }
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

    /// The keys of at least 32 bytes that quotes of [dynamic](Paywall::dynamic) prices are made with: the first
    /// one signs, and both verify, so that one may replace the other while quotes are under way. Derived from
    /// the receipt key unless set. All processes that serve the same routes need the same.
    pub fn quote_keys(self, keys: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        Self { quote_keys: Some(QuoteKeys::new(keys)), ..self }
    }

    /// Whether every offer is signed with the receipt key, by x402's extension `offer-receipt`: payers can then
    /// prove later what they were offered. Off unless set, so that requests without a payment stay cheap. A
    /// signed receipt is given to every payer that asks for one, either way.
    pub fn signed_offers(self, signed: bool) -> Self {
        Self { signed_offers: signed, ..self }
    }

    /// The page that people with a browser are shown, and pay on.
    pub fn page(self, page: PageOptions) -> Self {
        Self { page, ..self }
    }

    /// Where each paid request leaves a line with its route's name, for `farthing sales`; nowhere unless set.
    pub fn sales(self, log: SalesLog) -> Self {
        Self { sales: Some(log), ..self }
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
        let Self { origin, rails, facilitator, records, receipt_key, limits, owner_id, .. } = self;
        let Self { in_flight, clock, sales, quote_keys, page, signed_offers, payments, .. } = self;
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
        let quotes = match quote_keys {
            Some(keys) => keys?,
            None => QuoteKeys::new([receipt_key.derive_bytes("quote").as_slice()])?,
        };
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
        let seller = Arc::new(Seller { origin, rails, receipt_key, limits, owner_id, payments });
        let setup =
            Setup { seller, facilitator, records, in_flight, clock, sales, quotes, page, signed_offers };
        Ok(Paywall { shell: Arc::new(Shell::new(setup)) })
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
