//! What happens to payments, in numbers: metrics for whoever has installed a recorder of the crate `metrics`.
//!
//! Nothing is counted before [`enable`] was called: until then each place where something could be costs one look at
//! a flag. Labels are a route's name, the network, the asset, the scheme, and situations of the table of
//! [answers](crate::answer): as many as a seller has configured, and none that a client can add to. What each metric
//! means and is measured in stands in `spec/metrics.md`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use farthing_protocol::rail::PaymentId;
use farthing_protocol::{Amount, reason};
use metrics::{Label, SharedString, Unit};

use crate::Sold;
use crate::answer::Situation;

/// Whether anybody wants to know.
static ENABLED: AtomicBool = AtomicBool::new(false);

/// Payments whose outcome this process does not know, and since when.
static PENDING: LazyLock<Mutex<HashMap<PaymentId, Instant>>> = LazyLock::new(Mutex::default);

/// How many these are, to be looked at without the lock.
static PENDING_NUMBER: AtomicUsize = AtomicUsize::new(0);

/// Begins to count, and describes every metric to the recorder that is installed. To be called after that; again it
/// changes nothing.
pub fn enable() {
    for metric in &METRICS {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.unit, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.unit, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.unit, metric.help),
        }
    }
    metrics::gauge!(PENDING_PAYMENTS).set(0.0);
    metrics::gauge!(PENDING_OLDEST).set(0.0);
    ENABLED.store(true, Ordering::Relaxed);
}

/// Whether anything is counted.
#[must_use]
pub fn is_enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// Brings up to date what changes by itself: to be called before metrics are read.
pub fn refresh() {
    let pending = pending();
    let oldest = pending.values().min().map_or(Duration::ZERO, Instant::elapsed);
    metrics::gauge!(PENDING_PAYMENTS).set(pending.len() as f64);
    metrics::gauge!(PENDING_OLDEST).set(oldest.as_secs_f64());
}

/// One metric, as it is described to a recorder.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name in Prometheus; a histogram has more names that begin with it.
    pub name: &'static str,
    /// How it is read.
    pub kind: Kind,
    /// What it is measured in.
    pub unit: Unit,
    /// What it means.
    pub help: &'static str,
}

/// How a metric is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often it was how much.
    Histogram,
}

const ANSWERS: &str = "farthing_answers_total";
const OFFERS: &str = "farthing_offers_total";
const HOLDS: &str = "farthing_holds_total";
const CAPTURES: &str = "farthing_captures_total";
const CAPTURED: &str = "farthing_captured_units_total";
const VOIDS: &str = "farthing_voids_total";
const REFUSALS: &str = "farthing_refusals_total";
const DUPLICATES: &str = "farthing_duplicates_refused_total";
const REPLAYS: &str = "farthing_replays_total";
const UNKNOWN: &str = "farthing_unknown_outcomes_total";
const PASSES: &str = "farthing_passes_admitted_total";
const QUOTA: &str = "farthing_quota_used_total";
const LATENCY: &str = "farthing_payment_latency_seconds";
const PENDING_PAYMENTS: &str = "farthing_pending_payments";
const PENDING_OLDEST: &str = "farthing_pending_oldest_seconds";
const SCALE: &str = "farthing_asset_scale";
const DROPPED: &str = "farthing_sales_log_dropped_total";

/// Every metric of a server. A ledger has two more, for its refunds.
pub const METRICS: [Metric; 17] = [
    counter(ANSWERS, "Answers of priced routes, by what became of the request"),
    counter(OFFERS, "Answers that came with terms to pay"),
    counter(HOLDS, "Payments held for a request"),
    counter(CAPTURES, "Payments of which something was taken"),
    counter(CAPTURED, "Atomic units taken"),
    counter(VOIDS, "Payments given back because nothing was delivered"),
    counter(REFUSALS, "Payments refused, by the x402 reason that their payer was told"),
    counter(DUPLICATES, "Requests refused because their payment was used for another, or is still running"),
    counter(REPLAYS, "Stored answers given again for the same payment, without taking anything"),
    counter(UNKNOWN, "Settlements of which nobody knows the outcome, by step"),
    counter(PASSES, "Requests let in by a pass that was paid for before"),
    counter(QUOTA, "Requests that were free for their caller"),
    Metric {
        name: LATENCY,
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        help: "What payment added to a paid request: its time, less that of the handler",
    },
    gauge(PENDING_PAYMENTS, Unit::Count, "Payments whose outcome this process asks for again and again"),
    gauge(
        PENDING_OLDEST,
        Unit::Seconds,
        "Age of the oldest payment of unknown outcome; 0 when there is none",
    ),
    gauge(SCALE, Unit::Count, "Decimal places of an asset: units divided by ten to this are whole units"),
    counter(DROPPED, "Sales that are not in the log, because the disk was too slow or full"),
];

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit: Unit::Count, help }
}

const fn gauge(name: &'static str, unit: Unit, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit, help }
}

/// What a payment is counted under.
#[derive(Clone, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) route: Option<&'a Arc<str>>,
    pub(crate) network: &'a str,
    pub(crate) scheme: &'a str,
    pub(crate) asset: &'a str,
    /// Decimal places of the asset, when they are known.
    pub(crate) scale: Option<u8>,
}

impl Subject<'_> {
    fn labels(&self) -> Vec<Label> {
        let text = |text: &str| SharedString::from_owned(text.to_owned());
        vec![
            Label::new("route", route(self.route)),
            Label::new("network", text(self.network)),
            Label::new("scheme", text(self.scheme)),
            Label::new("asset", text(self.asset)),
        ]
    }
}

fn route(route: Option<&Arc<str>>) -> SharedString {
    route.map_or_else(|| SharedString::const_str("*"), |route| SharedString::from_shared(route.clone()))
}

/// Money is held.
pub(crate) fn held(subject: &Subject<'_>) {
    metrics::counter!(HOLDS, subject.labels()).increment(1);
}

/// So much more was taken: `before` and `total` are cumulative over the payment.
pub(crate) fn captured(subject: &Subject<'_>, before: Amount, total: Amount) {
    let more = total.0.saturating_sub(before.0);
    if more == 0 {
        return;
    }
    if before == Amount::ZERO {
        metrics::counter!(CAPTURES, subject.labels()).increment(1);
    }
    let units = u64::try_from(more).unwrap_or(u64::MAX);
    metrics::counter!(CAPTURED, subject.labels()).increment(units);
    if let Some(scale) = subject.scale {
        let mut labels = subject.labels();
        labels.retain(|label| matches!(label.key(), "network" | "asset"));
        metrics::gauge!(SCALE, labels).set(f64::from(scale));
    }
}

/// It was given back.
pub(crate) fn voided(subject: &Subject<'_>) {
    metrics::counter!(VOIDS, subject.labels()).increment(1);
}

/// A payment was refused. Reasons of others, such as a facilitator's own, are counted together.
pub(crate) fn refused(label: Option<&Arc<str>>, reason: &str) {
    if is_enabled() {
        let known = REASONS.iter().find(|known| **known == reason).copied().unwrap_or("other");
        let labels = vec![Label::new("route", route(label)), Label::from_static_parts("reason", known)];
        metrics::counter!(REFUSALS, labels).increment(1);
    }
}

/// Reasons that are counted by themselves.
const REASONS: [&str; 20] = [
    reason::AMOUNT_MISMATCH,
    reason::ASSET_MISMATCH,
    reason::DEADLINE_MISMATCH,
    reason::FEE_MISMATCH,
    reason::INSUFFICIENT_FUNDS,
    reason::INVALID_NETWORK,
    reason::INVALID_PAYLOAD,
    reason::INVALID_SCHEME,
    reason::INVALID_SIGNATURE,
    reason::INVALID_TRANSACTION_STATE,
    reason::MANDATE,
    reason::NO_MATCHING_PAYMENT_REQUIREMENTS,
    reason::PAYEE_NOT_ALLOWED,
    reason::PAYMENT_EXPIRED,
    reason::PAYMENT_NOT_YET_VALID,
    reason::PAYMENT_WINDOW_TOO_LONG,
    reason::PAY_TO_MISMATCH,
    reason::RECEIVER_AUTHORIZER_MISMATCH,
    reason::UNAUTHORIZED_SIGNER,
    reason::UNEXPECTED_SETTLE_ERROR,
];

/// Nobody knows what became of a step.
pub(crate) fn unknown(subject: &Subject<'_>, step: &'static str) {
    let mut labels = subject.labels();
    labels.push(Label::from_static_parts("step", step));
    metrics::counter!(UNKNOWN, labels).increment(1);
}

/// The time of one request, and that of its handler.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stopwatch(Option<Arc<Times>>);

#[derive(Debug)]
struct Times {
    began: Instant,
    /// Nanoseconds.
    handler: AtomicU64,
}

impl Stopwatch {
    /// Starts, if anybody wants to know.
    pub(crate) fn start() -> Self {
        let times = || Arc::new(Times { began: Instant::now(), handler: AtomicU64::new(0) });
        Self(is_enabled().then(times))
    }

    /// Runs the handler, whose time is not payment's.
    pub(crate) async fn handler<T>(self, handler: impl Future<Output = T>) -> T {
        let Some(times) = self.0 else { return handler.await };
        let began = Instant::now();
        let done = handler.await;
        let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        times.handler.fetch_add(took, Ordering::Relaxed);
        done
    }

    /// The paid answer leaves.
    pub(crate) fn stop(&self, sold: &Sold) {
        let Some(times) = &self.0 else { return };
        if sold.situation == Situation::Paid && !sold.replayed {
            let handler = Duration::from_nanos(times.handler.load(Ordering::Relaxed));
            let added = times.began.elapsed().saturating_sub(handler);
            let labels = vec![Label::new("route", SharedString::from_shared(sold.route.clone()))];
            metrics::histogram!(LATENCY, labels).record(added.as_secs_f64());
        }
    }
}

/// Every answer of a priced route ends here, once.
pub(crate) fn answered(sold: &Sold) {
    if !is_enabled() {
        return;
    }
    let row = sold.situation.row();
    let by_route = || vec![Label::new("route", SharedString::from_shared(sold.route.clone()))];
    let by_situation = || {
        let mut labels = by_route();
        labels.push(Label::from_static_parts("situation", row.code));
        labels
    };
    metrics::counter!(ANSWERS, by_situation()).increment(1);
    if row.terms {
        metrics::counter!(OFFERS, by_route()).increment(1);
    }
    match sold.situation {
        Situation::InProgress | Situation::Conflict | Situation::OtherRequest | Situation::AnswerNotKept => {
            metrics::counter!(DUPLICATES, by_situation()).increment(1)
        }
        Situation::Paid if sold.replayed => metrics::counter!(REPLAYS, by_route()).increment(1),
        Situation::Admitted => metrics::counter!(PASSES, by_route()).increment(1),
        Situation::WithinQuota => metrics::counter!(QUOTA, by_route()).increment(1),
        _ => {}
    }
}

/// A sale is not in the log.
pub(crate) fn sale_dropped() {
    if is_enabled() {
        metrics::counter!(DROPPED).increment(1);
    }
}

/// The outcome of this payment is unknown, and asked for again.
pub(crate) fn pends(payment: PaymentId) {
    if is_enabled() {
        let mut pending = pending();
        pending.entry(payment).or_insert_with(Instant::now);
        PENDING_NUMBER.store(pending.len(), Ordering::Relaxed);
    }
}

/// The outcome of this payment is known, or no longer asked for.
pub(crate) fn known(payment: PaymentId) {
    if PENDING_NUMBER.load(Ordering::Relaxed) > 0 {
        let mut pending = pending();
        pending.remove(&payment);
        PENDING_NUMBER.store(pending.len(), Ordering::Relaxed);
    }
}

fn pending() -> MutexGuard<'static, HashMap<PaymentId, Instant>> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}
