// Worlds, requests and payments: what a test does to a paywall.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farthing_protocol::rail::PaymentId;
use farthing_protocol::v2::{Offer, PaymentRequired, SettlementResponse};
use farthing_protocol::{Limits, SecretKey, Verbatim, header};
use farthing_server::{Paywall, PaywallBuilder};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::scripted::{Ledger, NOW, ORIGIN, Rail, payment_id};

/// Counts handler runs: H.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicUsize>);

impl Counter {
    pub fn hit(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
    pub fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A seller with a ledger, a clock and a counter.
pub struct World {
    pub ledger: Arc<Ledger>,
    pub clock: Arc<AtomicU64>,
    pub hits: Counter,
    pub paywall: Paywall,
}

pub fn receipt_key() -> SecretKey {
    SecretKey::from_seed([5; 32])
}

pub fn rail(scheme: &'static str) -> Rail {
    Rail { scheme, network: "test:one".parse().unwrap(), payee: "seller" }
}

impl World {
    pub fn new() -> Self {
        Self::with(rail("auth-capture"), |builder| builder)
    }

    pub fn with(rail: Rail, change: impl FnOnce(PaywallBuilder) -> PaywallBuilder) -> Self {
        let clock = Arc::new(AtomicU64::new(NOW));
        let ledger = Arc::new(Ledger::by(clock.clone()));
        let time = clock.clone();
        let builder = Paywall::builder(ORIGIN.parse().unwrap())
            .rail(Arc::new(rail))
            .facilitator(ledger.clone())
            .receipt_key(receipt_key())
            .clock(move || time.load(Ordering::SeqCst));
        let paywall = change(builder).build().unwrap();
        Self { ledger, clock, hits: Counter::default(), paywall }
    }

    pub fn pass(&self, seconds: u64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    /// H, L and the kinds of calls.
    pub fn count(&self) -> (usize, usize, Vec<String>) {
        (self.hits.get(), self.ledger.captures(), self.ledger.calls())
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Got {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Got {
    pub async fn read(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Self { status: parts.status, headers: parts.headers, body }
    }
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
    pub fn problem(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        serde_json::from_slice(&self.body).unwrap()
    }
    pub fn code(&self) -> (u16, String, String) {
        let problem = self.problem();
        let text = |name: &str| problem[name].as_str().unwrap_or("-").to_owned();
        assert_eq!(problem["status"], self.status.as_u16());
        assert_eq!(problem["type"], format!("urn:farthing:problem:{}", text("code")));
        (self.status.as_u16(), text("code"), text("retry"))
    }
    pub fn terms(&self) -> PaymentRequired {
        header::decode_payment_required(self.headers["payment-required"].as_bytes(), &Limits::default())
            .unwrap()
    }
    pub fn settlement(&self) -> SettlementResponse {
        header::decode_settlement(self.headers["payment-response"].as_bytes(), &Limits::default()).unwrap()
    }
    pub fn reason(&self) -> String {
        self.settlement().error_reason.unwrap()
    }
}

/// A request, for as often as it is sent.
#[derive(Clone, Debug)]
pub struct Asking {
    pub method: Method,
    pub target: String,
    pub body: Vec<u8>,
    pub headers: Vec<(&'static str, Vec<u8>)>,
}

pub fn get(target: &str) -> Asking {
    Asking { method: Method::GET, target: target.into(), body: Vec::new(), headers: Vec::new() }
}

pub fn post(target: &str, body: &[u8]) -> Asking {
    Asking { method: Method::POST, body: body.to_vec(), ..get(target) }
}

impl Asking {
    pub fn with(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name, value.as_ref().to_vec()));
        self
    }
    pub fn build(&self) -> Request<Body> {
        let builder =
            Request::builder().method(&self.method).uri(&self.target).header("host", "shop.example");
        let builder = self.headers.iter().fold(builder, |b, (name, value)| b.header(*name, value.as_slice()));
        builder.body(Body::from(self.body.clone())).unwrap()
    }
    pub async fn send(&self, app: &Router) -> Got {
        Got::read(app.clone().oneshot(self.build()).await.unwrap()).await
    }
    /// The same, with a payment for what this server asks for it.
    pub async fn pay(&self, app: &Router) -> Signed {
        let unpaid = self.send(app).await;
        assert_eq!(unpaid.status, 402, "{}", unpaid.text());
        Signed::new(self.clone(), &unpaid.terms())
    }
}

/// A request with its payment.
#[derive(Clone, Debug)]
pub struct Signed {
    pub ask: Asking,
    pub payment: Value,
}

static NONCE: AtomicU64 = AtomicU64::new(0);

impl Signed {
    pub fn new(ask: Asking, terms: &PaymentRequired) -> Self {
        Self::accepting(ask, terms.offers().next().unwrap())
    }
    pub fn accepting(ask: Asking, offer: Offer) -> Self {
        let nonce = NONCE.fetch_add(1, Ordering::SeqCst).to_string();
        let signed = json!({
            "payer": "alice", "nonce": nonce, "digest": offer.extra["requestDigest"], "amount": offer.amount,
            "payTo": offer.pay_to, "validBefore": NOW + 300, "captureDeadline": offer.extra["until"],
        });
        let accepted: Value = serde_json::from_str(Verbatim::text(&offer)).unwrap();
        let payload = json!({"signed": signed, "signature": "good"});
        Self { ask, payment: json!({"x402Version": 2, "accepted": accepted, "payload": payload}) }
    }
    pub fn change(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        *self.payment.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value.into();
        self
    }
    pub fn receipt(mut self) -> Self {
        self.payment["extensions"] = json!({"farthing-receipt": {}});
        self
    }
    pub fn id(&self) -> PaymentId {
        payment_id(&self.payment["payload"]["signed"])
    }
    pub fn header(&self) -> String {
        STANDARD.encode(self.payment.to_string())
    }
    pub fn request(&self) -> Asking {
        self.ask.clone().with("payment-signature", self.header())
    }
    pub async fn send(&self, app: &Router) -> Got {
        self.request().send(app).await
    }
    /// The same payment for another request.
    pub async fn send_to(&self, ask: Asking, app: &Router) -> Got {
        Self { ask, ..self.clone() }.send(app).await
    }
}
