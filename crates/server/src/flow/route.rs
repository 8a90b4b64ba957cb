//! What a seller and a route are configured with: everything that the flow needs to know.

use std::sync::Arc;
use std::time::Duration;

use farthing_protocol::rail::{Ask, Flow, Offer, OfferError, Owner};
use farthing_protocol::v1::PaymentRequirementsV1;
use farthing_protocol::v2::{Extensions, PaymentRequirements, ResourceInfo};
use farthing_protocol::{Binding, Limits, Origin, Price, RequestDigest, SecretKey};
use http::Method;

use super::Notices;
use crate::attested::Attests;
use crate::metering::Metered;
use crate::passes::Pass;
use crate::pricing::Prices;
use crate::pricing::quotes::QuoteKeys;

/// Seconds that a hold outlives its handler's deadline before another process may take it over.
const LEASE_MARGIN: u64 = 15;

/// For how many of a payment's longest windows a quote holds: one to decide in, and one to be paid in.
const QUOTED_TIMEOUTS: u64 = 2;

/// The scheme of maxima.
const UPTO: &str = "upto";
/// The scheme of fixed amounts.
const EXACT: &str = "exact";

/// Whether a route offers a rail. A fixed price is none to be metered, and a maximum none to be taken whole;
/// what is metered while it flows is held.
pub(crate) fn takes(metered: Option<&Metered>, rail: &dyn Offer) -> bool {
    match metered {
        None => rail.scheme() != UPTO,
        Some(metered) => rail.scheme() != EXACT && (rail.flow() == Flow::Escrow || !metered.needs_hold()),
    }
}

/// Who sells: the same for all routes of one paywall.
#[derive(Debug)]
pub struct Seller {
    /// Where the routes are served, as clients see it.
    pub origin: Origin,
    /// The ways to pay, the preferred one first.
    pub rails: Vec<Arc<dyn Offer>>,
    /// Signs receipts, and nothing else.
    pub receipt_key: SecretKey,
    /// What is read and kept.
    pub limits: Limits,
    /// Names this process as owner of its holds. Never the same in two processes, nor after a restart.
    pub owner_id: [u8; 16],
    /// Below which path of the origin `/payments/{id}` says what became of a payment; empty for its root.
    pub payments: Arc<str>,
}

/// What happens to a request whose client goes away after its handler has started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDisconnect {
    /// The handler finishes, is paid, and its answer is kept for the same payment.
    #[default]
    Finish,
    /// The handler is stopped and the payment voided.
    Cancel,
}

/// When a paid answer leaves the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// After its capture is durable.
    #[default]
    Durable,
    /// At once, while the capture is on its way. A crash then loses the captures of a moment: the seller's
    /// loss, never the payer's.
    Relaxed,
}

/// A route that has a price.
#[derive(Clone, Debug)]
pub struct Route {
    /// Who sells.
    pub seller: Arc<Seller>,
    /// What it is called in sales and metrics; else by the path that it is served at.
    pub name: Option<Arc<str>>,
    /// What a request costs; none where each request is priced by itself.
    pub prices: Prices,
    /// Where each request is priced by itself: what holds the seller to the price that it said.
    pub quotes: Option<Arc<QuoteKeys>>,
    /// For people, in the terms.
    pub description: Option<String>,
    /// Media type of the paid answer, in the terms.
    pub mime_type: Option<String>,
    /// Extensions of x402 in the terms.
    pub extensions: Extensions,
    /// What the seller signs besides.
    pub attests: Attests,
    /// How much of a request its payment is bound to.
    pub binding: Binding,
    /// Whether the handler may run again after another process went silent in the middle of it; `None`:
    /// for GET and HEAD.
    pub repeatable: Option<bool>,
    /// How long the handler may take for its answer's first 64 KiB.
    pub handler_deadline: Duration,
    /// What happens when the client goes away.
    pub on_disconnect: OnDisconnect,
    /// Seconds that a payment may stay valid.
    pub max_timeout_seconds: u64,
    /// When a paid answer leaves.
    pub durability: Durability,
    /// Where the prices are maxima: how what is used is metered.
    pub metered: Option<Metered>,
    /// What a payment buys for a period.
    pub pass: Option<Arc<Pass>>,
    /// The offers that were written last; empty to begin with.
    pub notices: Notices,
}

/// The terms for one request, as JSON. Nothing is remembered of them.
#[derive(Debug)]
pub(crate) struct Terms {
    /// A [`PaymentRequired`](farthing_protocol::v2::PaymentRequired).
    pub(crate) v2: String,
    /// The members of a [`PaymentRequiredV1`](farthing_protocol::v1::PaymentRequiredV1), without braces,
    /// where version 1 is spoken.
    pub(crate) v1: Option<String>,
}

/// What is asked for: a request as far as a payment is bound to it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// As received.
    pub method: Method,
    /// Path and query, as received.
    pub target: String,
    /// Of method, configured origin, target and body.
    pub digest: RequestDigest,
    /// What it costs: any one of these.
    pub prices: Arc<[Price]>,
    /// The name that it is counted under.
    pub label: Option<Arc<str>>,
}

impl Route {
    /// A route that costs `prices`, with all else as it is unless set.
    #[must_use]
    pub fn new(seller: Arc<Seller>, prices: Prices) -> Self {
        Self {
            seller,
            name: None,
            prices,
            quotes: None,
            description: None,
            mime_type: None,
            extensions: Extensions::new(),
            attests: Attests::default(),
            binding: Binding::Body,
            repeatable: None,
            handler_deadline: Duration::from_secs(60),
            on_disconnect: OnDisconnect::Finish,
            max_timeout_seconds: 300,
            durability: Durability::Durable,
            metered: None,
            pass: None,
            notices: Notices::default(),
        }
    }

    /// The rails that its payments may come by, the preferred one first: where it is metered, the scheme that
    /// is made for that.
    pub(crate) fn rails(&self) -> impl Iterator<Item = &Arc<dyn Offer>> {
        let is_preferred = |rail: &&Arc<dyn Offer>| rail.scheme() == UPTO;
        let takes = |rail: &&Arc<dyn Offer>| takes(self.metered.as_ref(), rail.as_ref());
        let rails = move || self.seller.rails.iter().filter(takes);
        rails().filter(is_preferred).chain(rails().filter(move |rail| !is_preferred(rail)))
    }

    /// Whether a unit's price is one of the same currency.
    fn is_metered_in(&self, price: &Price) -> bool {
        let unit = self.metered.as_ref().and_then(Metered::unit_price);
        unit.is_none_or(|unit| unit.currency() == price.currency())
    }

    /// Whether a request with this method may be served twice after a takeover.
    pub(super) fn is_repeatable(&self, method: &Method) -> bool {
        self.repeatable.unwrap_or(matches!(*method, Method::GET | Method::HEAD))
    }

    /// This process, with a lease that outlives the handler.
    pub(super) fn owner(&self) -> Owner {
        self.owner_for(Duration::ZERO)
    }

    /// The same, with a lease that outlives the longest answer that is paid for while it flows.
    pub(super) fn holder(&self) -> Owner {
        self.owner_for(self.metered.as_ref().map_or(Duration::ZERO, |metered| metered.longest))
    }

    fn owner_for(&self, flows: Duration) -> Owner {
        let lease = self.handler_deadline.saturating_add(flows).as_secs().saturating_add(LEASE_MARGIN);
        Owner { id: self.seller.owner_id, lease_seconds: u32::try_from(lease).unwrap_or(u32::MAX) }
    }

    /// One rail's offers for one request: one for each price whose currency it can express.
    pub(crate) fn offers_of(
        &self,
        rail: &dyn Offer,
        asked: &Asked,
        now: u64,
    ) -> Result<Vec<PaymentRequirements>, OfferError> {
        let mut offers = Vec::new();
        if !takes(self.metered.as_ref(), rail) {
            return Ok(offers);
        }
        for price in asked.prices.iter().filter(|price| self.is_metered_in(price)) {
            match self.offer(rail, price, asked, now) {
                Ok(offer) => offers.push(offer),
                Err(OfferError::UnknownAsset { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(offers)
    }

    fn offer(
        &self,
        rail: &dyn Offer,
        price: &Price,
        asked: &Asked,
        now: u64,
    ) -> Result<PaymentRequirements, OfferError> {
        let mut offer = rail.offer(&Ask {
            price,
            digest: &asked.digest,
            binding: self.binding,
            is_safe: asked.method.is_safe(),
            max_timeout_seconds: self.max_timeout_seconds,
            now,
        })?;
        let key = self.seller.receipt_key.public().to_string();
        offer.extra.insert("receiptKey".into(), key.into());
        if let Some(quotes) = &self.quotes {
            let expires = now.saturating_add(self.max_timeout_seconds.saturating_mul(QUOTED_TIMEOUTS));
            quotes.put(&mut offer, &asked.digest, price, expires);
        }
        Ok(offer)
    }

    /// The terms for one request.
    pub(super) fn terms(&self, asked: &Asked, now: u64, error: &str) -> Result<Terms, OfferError> {
        let resource = ResourceInfo {
            url: format!("{}{}", self.seller.origin, asked.target),
            description: self.description.clone(),
            mime_type: self.mime_type.clone(),
            ..ResourceInfo::default()
        };
        let error = json(&error)?;
        let mut v2 = String::with_capacity(2048);
        v2.push_str("{\"x402Version\":2,\"error\":");
        [&error, ",\"resource\":", &json(&resource)?, ",\"accepts\":["]
            .into_iter()
            .for_each(|part| v2.push_str(part));
        self.write_offers(asked, now, &mut v2)?;
        v2.push(']');
        let mut extensions = self.extensions_for(asked, now)?;
        if let Some(pass) = &self.pass {
            extensions.to_mut().extend(pass.extensions(&asked.target, now));
        }
        if !extensions.is_empty() {
            [",\"extensions\":", &json(&*extensions)?].into_iter().for_each(|part| v2.push_str(part));
        }
        v2.push('}');
        Ok(Terms { v2, v1: self.terms_v1(asked, now, &error, &resource)? })
    }

    fn terms_v1(
        &self,
        asked: &Asked,
        now: u64,
        error: &str,
        resource: &ResourceInfo,
    ) -> Result<Option<String>, OfferError> {
        let mut accepts = Vec::new();
        for rail in self.seller.rails.iter().filter(|rail| rail.speaks_v1()) {
            let offers = self.offers_of(rail.as_ref(), asked, now)?;
            accepts.extend(offers.iter().filter_map(|offer| PaymentRequirementsV1::of(offer, resource)));
        }
        if accepts.is_empty() {
            return Ok(None);
        }
        let accepts = json(&accepts)?;
        Ok(Some(format!("\"x402Version\":1,\"error\":{error},\"accepts\":{accepts}")))
    }
}

/// Nobody can express any of the prices.
pub(super) fn unpriced(asked: &Asked, network: &str) -> OfferError {
    let asset = asked.prices.first().map_or_else(String::new, |price| price.currency().to_owned());
    OfferError::UnknownAsset { asset, network: network.to_owned() }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, OfferError> {
    serde_json::to_string(value)
        .map_err(|error| OfferError::Field { field: "resource".into(), why: error.to_string() })
}
