//! A request, as far as its price may depend on it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};

/// What somebody wants: a request before it is paid for. Cheap to clone.
///
/// A payment is bound to method, URI and body. What depends on a header may change between the question for
/// the price and the payment.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// As received.
    pub method: Method,
    /// As received; a nested router does not change it.
    pub uri: Uri,
    /// As received, without the payment headers.
    pub headers: Arc<HeaderMap>,
    /// All of it; empty on a route with an [unbound body](crate::PriceLayer::unbound_body).
    pub body: Bytes,
}

impl Wanted {
    /// The path, as received: still with its percent-encoding.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// The query, as received: still with its percent-encoding.
    #[must_use]
    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }
}
