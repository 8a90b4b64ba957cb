//! The layer that gives a route its price.

use std::sync::Arc;
use std::time::Duration;

use axum::response::IntoResponse;
use farthing_protocol::{Binding, Price, payment_identifier};
use http::Method;
use tower::Layer;

use crate::flow::{Durability, OnDisconnect, Route};
use crate::identifiers::PaymentIdentifier;
use crate::passes::Pass;
use crate::paywall::{ConfigError, expressed};
use crate::pricing::{Prices, Quota, Rules, Wanted};
use crate::service::Priced;
use crate::shell::Shell;

/// The longest that a payment may stay valid, in seconds: ledgers keep replay keys for this window.
const MAX_TIMEOUT: u64 = 3600;

/// Charges for each request on a route; made by [`Paywall::price`](crate::Paywall::price).
#[derive(Clone, Debug)]
pub struct PriceLayer {
    shell: Arc<Shell>,
    route: Route,
    rules: Rules,
}

impl PriceLayer {
    pub(crate) fn new(shell: Arc<Shell>, prices: Prices) -> Self {
        let mut route = Route::new(shell.seller().clone(), prices);
        route.attests.offers = shell.signs_offers();
        Self { shell, route, rules: Rules::default() }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Route)) -> Self {
        change(&mut self.route);
        self
    }

    pub(crate) fn route(&self) -> &Route {
        &self.route
    }

    /// What the route is called in sales, metrics and logs; the path that axum matched unless set.
    #[must_use]
    pub fn name(self, name: impl Into<Arc<str>>) -> Self {
        self.with(|route| route.name = Some(name.into()))
    }

    /// One more price, of which the payer chooses: each rail offers each price whose currency it can express.
    ///
    /// # Panics
    /// As [`Paywall::price`](crate::Paywall::price).
    #[must_use]
    #[track_caller]
    pub fn or_price<P>(self, price: P) -> Self
    where
        P: TryInto<Price>,
        P::Error: std::fmt::Display,
    {
        started(self.try_or_price(price))
    }

    /// One more price, of which the payer chooses.
    ///
    /// # Errors
    /// As [`Paywall::try_price`](crate::Paywall::try_price).
    pub fn try_or_price<P>(self, price: P) -> Result<Self, ConfigError>
    where
        P: TryInto<Price>,
        P::Error: std::fmt::Display,
    {
        let price = expressed(self.shell.seller(), price)?;
        Ok(self.with(|route| route.prices.or(price)))
    }

    /// Another price for one method; one more when it has one. `HEAD` costs what `GET` does.
    ///
    /// # Panics
    /// As [`Paywall::price`](crate::Paywall::price).
    #[must_use]
    #[track_caller]
    pub fn for_method<P>(self, method: Method, price: P) -> Self
    where
        P: TryInto<Price>,
        P::Error: std::fmt::Display,
    {
        started(self.try_for_method(method, price))
    }

    /// Another price for one method.
    ///
    /// # Errors
    /// As [`Paywall::try_price`](crate::Paywall::try_price).
    pub fn try_for_method<P>(self, method: Method, price: P) -> Result<Self, ConfigError>
    where
        P: TryInto<Price>,
        P::Error: std::fmt::Display,
    {
        let price = expressed(self.shell.seller(), price)?;
        Ok(self.with(|route| route.prices.for_method(method, price)))
    }

    /// Lets requests with this method through for nothing. `HEAD` is as free as `GET`. Handlers do not see
    /// `X-HTTP-Method-Override` and its like.
    #[must_use]
    pub fn free_method(mut self, method: Method) -> Self {
        self.rules.free_methods.push(method);
        self
    }

    /// Lets requests for these paths through for nothing, by patterns such as `/docs/{*rest}`, matched on the
    /// path as clients send it. A path that can be [read in two ways](crate::pricing::is_unambiguous) is never
    /// free.
    ///
    /// # Panics
    /// When a pattern is not one, or two contradict each other.
    #[must_use]
    #[track_caller]
    pub fn free_paths<'a>(self, patterns: impl IntoIterator<Item = &'a str>) -> Self {
        started(self.try_free_paths(patterns))
    }

    /// Lets requests for these paths through for nothing.
    ///
    /// # Errors
    /// [`ConfigError::FreePath`], when a pattern is not one, or two contradict each other.
    pub fn try_free_paths<'a>(
        mut self,
        patterns: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ConfigError> {
        for pattern in patterns {
            self.rules.free_paths.add(pattern).map_err(ConfigError::FreePath)?;
        }
        Ok(self)
    }

    /// So many requests of each caller are free; then the answer is 402 with reason `quota_exceeded`, terms
    /// and `Retry-After`. A request that brings a payment uses nothing up.
    #[must_use]
    pub fn free_quota(mut self, quota: Quota) -> Self {
        self.rules.quota = Some(quota);
        self
    }

    /// Looks at a request before money is asked for or held: whatever it answers with `Err` is answered as it
    /// is, and costs nothing. The place for a free 400 or 404. It may run more often than the handler.
    #[must_use]
    pub fn check<F, A, E>(mut self, check: F) -> Self
    where
        F: Fn(Wanted) -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), E>> + Send + 'static,
        E: IntoResponse,
    {
        self.rules.check = Some(Arc::new(move |wanted| {
            let checked = check(wanted);
            Box::pin(async move { checked.await.map_err(IntoResponse::into_response) })
        }));
        self
    }

    /// See [`Paywall::dynamic`](crate::Paywall::dynamic).
    pub(crate) fn dynamic<F, A, E>(mut self, price: F) -> Self
    where
        F: Fn(Wanted) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Price, E>> + Send + 'static,
        E: IntoResponse,
    {
        self.rules.quote = Some(Arc::new(move |wanted| {
            let price = price(wanted);
            Box::pin(async move { price.await.map_err(IntoResponse::into_response) })
        }));
        self.route.quotes = Some(self.shell.quotes().clone());
        self
    }

    /// A payment opens the path that it is for to its payer for this long, whatever the query and however often, and
    /// for the method that was paid (`HEAD` comes with `GET`). Where the [price is by
    /// request](crate::Paywall::dynamic), the query counts too. See [`passes`](crate::passes).
    ///
    /// # Panics
    /// As [`try_pass`](Self::try_pass).
    #[must_use]
    #[track_caller]
    pub fn pass(self, length: Duration) -> Self {
        started(self.try_pass(length))
    }

    /// A payment opens the path that it is for for this long.
    ///
    /// # Errors
    /// [`ConfigError::PassWithoutRecords`]; [`ConfigError::Pass`] when it would end at once, no payer could prove
    /// its key, or the price is one [up to](crate::Paywall::up_to) a maximum.
    pub fn try_pass(self, length: Duration) -> Result<Self, ConfigError> {
        self.sells_passes()?;
        let passes = self.shell.passes().ok_or(ConfigError::PassWithoutRecords)?;
        let pass = Pass::of_request(passes.clone(), length, self.rules.quote.is_some());
        let pass = Arc::new(pass.map_err(ConfigError::Pass)?);
        Ok(self.with(|route| route.pass = Some(pass)))
    }

    /// A payment opens all routes that have the same `plan` to its payer for this long, with all their methods: it is
    /// one pass, whatever each of them costs. Its name has 1 to 64 visible ASCII characters.
    ///
    /// # Panics
    /// As [`try_subscription`](Self::try_subscription).
    #[must_use]
    #[track_caller]
    pub fn subscription(self, plan: &str, length: Duration) -> Self {
        started(self.try_subscription(plan, length))
    }

    /// A payment opens all routes that have the same `plan` for this long.
    ///
    /// # Errors
    /// As [`try_pass`](Self::try_pass), and [`ConfigError::Pass`] for the name.
    pub fn try_subscription(self, plan: &str, length: Duration) -> Result<Self, ConfigError> {
        self.sells_passes()?;
        let passes = self.shell.passes().ok_or(ConfigError::PassWithoutRecords)?;
        let pass = Pass::of_plan(passes.clone(), plan, length).map_err(ConfigError::Pass)?;
        Ok(self.with(|route| route.pass = Some(Arc::new(pass))))
    }

    /// When a metered answer begins nothing of it is paid for, and a pass would be had for nothing.
    fn sells_passes(&self) -> Result<(), ConfigError> {
        match self.route.metered {
            None => Ok(()),
            Some(_) => Err(ConfigError::Pass("it is not sold with a price of `up_to`".to_owned())),
        }
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

    /// Gives a receipt that the seller signed, by x402's extension `offer-receipt`, with every paid answer;
    /// without this, to payers that ask for one. It says who paid for which URL, and when.
    #[must_use]
    pub fn signed_receipts(self, signed: bool) -> Self {
        self.with(|route| route.attests.receipts = signed)
    }

    /// Names the settlement in signed receipts. Without this they do not: whoever is shown one cannot look the
    /// payment up.
    #[must_use]
    pub fn receipts_name_settlements(self, named: bool) -> Self {
        self.with(|route| route.attests.transactions = named)
    }

    /// Lets payers name what they pay for, by x402's extension `payment-identifier`: the same name never pays
    /// for two things.
    ///
    /// # Panics
    /// When the paywall has no [records](crate::PaywallBuilder::records).
    #[must_use]
    #[track_caller]
    pub fn payment_identifier(self, wanted: PaymentIdentifier) -> Self {
        started(self.try_payment_identifier(wanted))
    }

    /// Lets payers name what they pay for.
    ///
    /// # Errors
    /// [`ConfigError::NoRecordsForIdentifiers`].
    pub fn try_payment_identifier(mut self, wanted: PaymentIdentifier) -> Result<Self, ConfigError> {
        if self.shell.identifiers().is_none() {
            return Err(ConfigError::NoRecordsForIdentifiers);
        }
        self.rules.identifier = Some(wanted);
        let declared = payment_identifier::declaration(wanted.is_required());
        Ok(self.extension(payment_identifier::EXTENSION, &declared))
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
        Priced::new(self.shell.clone(), Arc::new(self.route.clone()), Arc::new(self.rules.clone()), inner)
    }
}

/// A server with a wrong price must not start.
#[track_caller]
pub(crate) fn started(layer: Result<PriceLayer, ConfigError>) -> PriceLayer {
    match layer {
        Ok(layer) => layer,
        Err(error) => panic!("{error}"),
    }
}
