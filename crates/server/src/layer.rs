//! The layer that gives a route its price.

use std::sync::Arc;
use std::time::Duration;

use farthing_protocol::v2::Extensions;
use farthing_protocol::{Binding, Price};
use tower::Layer;

use crate::flow::{Durability, Notices, OnDisconnect, Route};
use crate::service::{Priced, Shell};

/// The longest that a payment may stay valid, in seconds: ledgers keep replay keys for this window.
const MAX_TIMEOUT: u64 = 3600;

/// Charges for each request on a route; made by [`Paywall::price`](crate::Paywall::price).
#[derive(Clone, Debug)]
pub struct PriceLayer {
    shell: Arc<Shell>,
    route: Route,
}

impl PriceLayer {
    pub(crate) fn new(shell: Arc<Shell>, price: Price) -> Self {
        let route = Route {
            seller: shell.seller().clone(),
            price,
            description: None,
            mime_type: None,
            extensions: Extensions::new(),
            binding: Binding::Body,
            repeatable: None,
            handler_deadline: Duration::from_secs(60),
            on_disconnect: OnDisconnect::Finish,
            max_timeout_seconds: 300,
            durability: Durability::Durable,
            notices: Notices::default(),
        };
        Self { shell, route }
    }

    fn with(mut self, change: impl FnOnce(&mut Route)) -> Self {
        change(&mut self.route);
        self
    }

    /// What is sold, for people.
    #[must_use]
    pub fn description(self, text: impl Into<String>) -> Self {
        self.with(|route| route.description = Some(text.into()))
    }

    /// The media type of the paid answer.
    #[must_use]
    pub fn mime_type(self, mime_type: impl Into<String>) -> Self {
        self.with(|route| route.mime_type = Some(mime_type.into()))
    }

    /// An extension of x402 in the terms, such as `bazaar`, by which a facilitator's catalogue lists what is
    /// sold.
    #[must_use]
    pub fn extension(self, name: impl Into<String>, value: &serde_json::Value) -> Self {
        let raw = serde_json::value::to_raw_value(value);
        self.with(|route| route.extensions.extend(raw.map(|raw| (name.into(), raw))))
    }

    /// Leaves the request's body out of what the payment is bound to (binding kind 2), for uploads that
    /// cannot be held in memory. Whoever has such a payment may send it with another body.
    #[must_use]
    pub fn unbound_body(self) -> Self {
        self.with(|route| route.binding = Binding::Open)
    }

    /// Whether the handler may run again for the same payment after the process that ran it went silent;
    /// without this, GET and HEAD only. The payment is captured once either way.
    #[must_use]
    pub fn repeatable(self, repeatable: bool) -> Self {
        self.with(|route| route.repeatable = Some(repeatable))
    }

    /// How long the handler may take, with the first 64 KiB of its answer; 60 seconds unless set. After
    /// that it is stopped and the payment voided.
    ///
    /// # Panics
    /// When it is zero.
    #[must_use]
    #[track_caller]
    pub fn handler_deadline(self, deadline: Duration) -> Self {
        assert!(!deadline.is_zero(), "a handler's deadline must be above zero");
        self.with(|route| route.handler_deadline = deadline)
    }

    /// What happens when the client goes away after the handler has started.
    #[must_use]
    pub fn on_disconnect(self, what: OnDisconnect) -> Self {
        self.with(|route| route.on_disconnect = what)
    }

    /// Seconds that a payment may stay valid, from 1 to 3600; 300 unless set.
    ///
    /// # Panics
    /// When it is outside of that.
    #[must_use]
    #[track_caller]
    pub fn max_timeout(self, seconds: u64) -> Self {
        assert!(
            (1..=MAX_TIMEOUT).contains(&seconds),
            "max_timeout is {seconds}, not 1 to {MAX_TIMEOUT} seconds"
        );
        self.with(|route| route.max_timeout_seconds = seconds)
    }

    /// Whether a paid answer waits until its capture is durable; it does unless set.
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        self.with(|route| route.durability = durability)
    }
}

impl<S> Layer<S> for PriceLayer {
    type Service = Priced<S>;

    fn layer(&self, inner: S) -> Priced<S> {
        Priced::new(self.shell.clone(), Arc::new(self.route.clone()), inner)
    }
}
