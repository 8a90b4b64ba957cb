//! What a seller and a route are configured with: everything that the flow needs to know.

use std::sync::Arc;
use std::time::Duration;

use farthing_protocol::rail::{Ask, Offer, OfferError, Owner};
use farthing_protocol::v1::PaymentRequirementsV1;
use farthing_protocol::v2::{Extensions, PaymentRequirements, ResourceInfo};
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
    /// Extensions of x402 in the terms.
    pub extensions: Extensions,
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
        if !self.extensions.is_empty() {
            [",\"extensions\":", &json(&self.extensions)?].into_iter().for_each(|part| v2.push_str(part));
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
            let offer = self.offer(rail.as_ref(), asked, now)?;
            accepts.extend(PaymentRequirementsV1::of(&offer, resource));
        }
        if accepts.is_empty() {
            return Ok(None);
        }
        let accepts = json(&accepts)?;
        Ok(Some(format!("\"x402Version\":1,\"error\":{error},\"accepts\":{accepts}")))
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, OfferError> {
    serde_json::to_string(value)
        .map_err(|error| OfferError::Field { field: "resource".into(), why: error.to_string() })
}
