//! What a seller and a route are configured with: everything that the flow needs to know.

use std::sync::Arc;
use std::time::Duration;

use farthing_protocol::rail::{Ask, Offer, OfferError, Owner};
use farthing_protocol::v2::{PaymentRequirements, ResourceInfo};
use farthing_protocol::{Binding, Limits, Origin, Price, RequestDigest, SecretKey};
use http::Method;

use super::Notices;

/// Seconds that a hold outlives its handler's deadline before another process may take it over.
const LEASE_MARGIN: u64 = 15;

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
    /// What a request costs.
    pub price: Price,
    /// For people, in the terms.
    pub description: Option<String>,
    /// Media type of the paid answer, in the terms.
    pub mime_type: Option<String>,
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
    /// The offers that were written last; empty to begin with.
    pub notices: Notices,
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
}

impl Route {
    /// Whether a request with this method may be served twice after a takeover.
    pub(super) fn is_repeatable(&self, method: &Method) -> bool {
        self.repeatable.unwrap_or(matches!(*method, Method::GET | Method::HEAD))
    }

    /// This process, with a lease that outlives the handler.
    pub(super) fn owner(&self) -> Owner {
        let lease = self.handler_deadline.as_secs().saturating_add(LEASE_MARGIN);
        Owner { id: self.seller.owner_id, lease_seconds: u32::try_from(lease).unwrap_or(u32::MAX) }
    }

    /// This route's offer of one rail for one request.
    pub(super) fn offer(
        &self,
        rail: &dyn Offer,
        asked: &Asked,
        now: u64,
    ) -> Result<PaymentRequirements, OfferError> {
        let mut offer = rail.offer(&Ask {
            price: &self.price,
            digest: &asked.digest,
            binding: self.binding,
            is_safe: asked.method.is_safe(),
            max_timeout_seconds: self.max_timeout_seconds,
            now,
        })?;
        let key = self.seller.receipt_key.public().to_string();
        offer.extra.insert("receiptKey".into(), key.into());
        Ok(offer)
    }

    /// The terms for one request, as the JSON of a [`PaymentRequired`](farthing_protocol::v2::PaymentRequired). Nothing is
    /// remembered of them.
    pub(super) fn terms(&self, asked: &Asked, now: u64, error: &str) -> Result<String, OfferError> {
        let resource = ResourceInfo {
            url: format!("{}{}", self.seller.origin, asked.target),
            description: self.description.clone(),
            mime_type: self.mime_type.clone(),
            ..ResourceInfo::default()
        };
        let json = |value: Result<String, serde_json::Error>| {
            value.map_err(|error| OfferError::Field { field: "resource".into(), why: error.to_string() })
        };
        let (error, resource) =
            (json(serde_json::to_string(error))?, json(serde_json::to_string(&resource))?);
        let mut terms = String::with_capacity(2048);
        terms.push_str("{\"x402Version\":2,\"error\":");
        [&error, ",\"resource\":", &resource, ",\"accepts\":["]
            .into_iter()
            .for_each(|part| terms.push_str(part));
        self.write_offers(asked, now, &mut terms)?;
        terms.push_str("]}");
        Ok(terms)
    }
}
