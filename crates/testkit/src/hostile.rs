//! Servers that do not keep the rules, and wallets that count what they sign.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use farthing::native::{NativeOffer, NativePay};
use farthing::protocol::digest::{BodyHash, request_digest};
use farthing::protocol::header::{self, PAYMENT_REQUIRED, PAYMENT_SIGNATURE};
use farthing::protocol::rail::{Ask, BoxFuture, Confirmation, Offer as _, OfferError, Pay, SignedPayment};
use farthing::protocol::v2::{PaymentRequirements, SettlementResponse};
use farthing::protocol::{Binding, Network, RequestDigest};
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use crate::world::{SELLER, World, key};

/// A request as a hostile server saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// All headers.
    pub headers: HeaderMap,
    /// How many requests came before it.
    pub nth: usize,
}

impl Seen {
    /// The payment that came with it.
    pub fn payment(&self) -> Option<&str> {
        self.headers.get(PAYMENT_SIGNATURE).and_then(|value| value.to_str().ok())
    }
}

/// A server that answers by a script, and remembers what it was asked.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// Where it listens.
    pub address: SocketAddr,
    /// `http://` and its address.
    pub origin: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Hostile {
    /// Listens on loopback. The script is told the server's own origin.
    pub async fn start(script: impl Fn(&str, &Seen) -> Response + Clone + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, origin: format!("http://{address}"), seen: Arc::default() };
        let (log, origin) = (server.seen.clone(), server.origin.clone());
        let app = Router::new().fallback(move |request: Request| {
            let seen = {
                let mut log = log.lock().unwrap();
                let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
                let (method, headers) = (request.method().clone(), request.headers().clone());
                let seen = Seen { method, target: target.to_owned(), headers, nth: log.len() };
                log.push(seen.clone());
                seen
            };
            let answer = script(&origin, &seen);
            async move { answer }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        server
    }

    /// An absolute URL on this server.
    pub fn at(&self, target: &str) -> String {
        format!("{}{target}", self.origin)
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Every payment header so far.
    pub fn payments(&self) -> Vec<String> {
        self.seen().iter().filter_map(|seen| seen.payment().map(str::to_owned)).collect()
    }
}

/// An answer with this status and body.
pub fn say(status: u16, body: impl Into<Body>) -> Response {
    Response::builder().status(status).body(body.into()).unwrap()
}

/// A redirect.
pub fn redirect(status: u16, location: &str) -> Response {
    Response::builder().status(status).header("location", location).body(Body::empty()).unwrap()
}

/// A 402 that makes these offers.
pub fn asks(offers: &[Value]) -> Response {
    let terms = json!({"x402Version": 2, "error": "Payment required",
        "resource": {"url": "http://169.254.169.254/latest", "description": "pay"}, "accepts": offers});
    let value = header::encode(&terms).unwrap();
    Response::builder().status(402).header(PAYMENT_REQUIRED, value).body(Body::empty()).unwrap()
}

/// Makes offers on a world's ledger that an honest seller could make: the raw material of dishonest ones.
#[derive(Clone, Debug)]
pub struct Pricing {
    rails: Vec<Arc<NativeOffer>>,
    now: u64,
}

impl Pricing {
    /// On the ledger of `world`, for its seller.
    pub async fn of(world: &World) -> Self {
        let facilitator = world.ledger.facilitator();
        let rails = farthing::rails(key(SELLER).public(), &key(102), facilitator.as_ref()).await.unwrap();
        Self { rails, now: world.clock.now() }
    }

    /// The first offer for a request without a body.
    pub fn offer(&self, origin: &str, seen: &Seen, price: &str) -> Value {
        let origin = origin.parse().unwrap();
        let digest = request_digest(seen.method.as_str(), &origin, &seen.target, BodyHash::of(b""));
        let price = price.parse().unwrap();
        let ask = Ask {
            price: &price,
            digest: &digest,
            binding: Binding::Body,
            is_safe: true,
            max_timeout_seconds: 300,
            now: self.now,
        };
        let mut offer = serde_json::to_value(self.rails[0].offer(&ask).unwrap()).unwrap();
        offer["extra"]["receiptKey"] = json!(key(105).public().to_string());
        offer
    }
}

/// A wallet that counts its signatures.
#[derive(Debug)]
pub struct CountingWallet {
    inner: NativePay,
    signed: AtomicUsize,
}

impl CountingWallet {
    /// Pays as `inner` does.
    pub fn new(inner: NativePay) -> Arc<Self> {
        Arc::new(Self { inner, signed: AtomicUsize::new(0) })
    }

    /// How many payments were signed.
    pub fn signed(&self) -> usize {
        self.signed.load(Ordering::SeqCst)
    }
}

impl Pay for CountingWallet {
    fn network(&self) -> &Network {
        self.inner.network()
    }

    fn scale(&self, asset: &str) -> Option<u8> {
        self.inner.scale(asset)
    }

    fn judge(&self, offer: &PaymentRequirements, digest: &RequestDigest, now: u64) -> Result<(), OfferError> {
        self.inner.judge(offer, digest, now)
    }

    fn pay(
        &self,
        offer: &PaymentRequirements,
        digest: &RequestDigest,
        now: u64,
        random: [u8; 32],
    ) -> Result<SignedPayment, OfferError> {
        let signed = self.inner.pay(offer, digest, now, random)?;
        self.signed.fetch_add(1, Ordering::SeqCst);
        Ok(signed)
    }

    fn confirm(&self, payment: &SignedPayment, settlement: &SettlementResponse) -> Confirmation {
        self.inner.confirm(payment, settlement)
    }

    fn status<'a>(&'a self, payment: &'a SignedPayment) -> BoxFuture<'a, Confirmation> {
        self.inner.status(payment)
    }
}
