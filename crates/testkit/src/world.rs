//! A seller with a paid API, a payer with money, and the ledger between them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use farthing::facilitator::http::HttpOptions;
use farthing::native::NativePay;
use farthing::protocol::rail::{Facilitator, Pay, SignedPayment};
use farthing::protocol::v2::{Offer, PaymentPayload};
use farthing::protocol::{Amount, PublicKey, RequestDigest, SecretKey, header, receipt};
use farthing::records::MemoryRecords;
use farthing::{Ledger, LocalLedger, Options, Paywall};
use serde_json::value::RawValue;

use crate::engine::{Engine, Memory};
use crate::exchange::{Reply, exchange, request};

/// Seed of the seller's account key.
pub const SELLER: u8 = 101;
/// Seed of the key that issues money.
pub const ISSUER: u8 = 104;

/// A key from a small number.
pub fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

/// A clock that a test sets; without [`set`](Self::set) it is the operating system's.
#[derive(Clone, Debug, Default)]
pub struct TestClock {
    offset: Arc<AtomicU64>,
    /// 0 while it runs.
    set: Arc<AtomicU64>,
}

impl TestClock {
    /// Stops it at `now`, in Unix seconds; it moves by [`forward`](Self::forward) only.
    pub fn set(&self, now: u64) {
        self.offset.store(0, Ordering::SeqCst);
        self.set.store(now, Ordering::SeqCst);
    }

    /// Moves it ahead by so many seconds.
    pub fn forward(&self, seconds: u64) {
        self.offset.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Unix seconds.
    pub fn now(&self) -> u64 {
        let system = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let base = match self.set.load(Ordering::SeqCst) {
            0 => system(),
            set => set,
        };
        base + self.offset.load(Ordering::SeqCst)
    }
}

/// Counts handler runs by name: H.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<Mutex<HashMap<String, usize>>>);

impl Counter {
    /// One more run of `name`; returns how many that makes.
    pub fn hit(&self, name: &str) -> usize {
        let mut runs = self.0.lock().unwrap();
        let count = runs.entry(name.to_owned()).or_default();
        *count += 1;
        *count
    }

    /// Runs of `name`.
    pub fn of(&self, name: &str) -> usize {
        self.0.lock().unwrap().get(name).copied().unwrap_or(0)
    }

    /// Runs of everything.
    pub fn all(&self) -> usize {
        self.0.lock().unwrap().values().sum()
    }
}

/// A running seller.
#[derive(Debug)]
pub struct World {
    /// Where the seller listens.
    pub address: SocketAddr,
    /// The origin that payments are bound to.
    pub origin: String,
    /// H.
    pub hits: Counter,
    /// The ledger.
    pub ledger: LocalLedger,
    /// The clock of the ledger and of the paywall.
    pub clock: TestClock,
    /// A payer with 100 XTS.
    pub payer: NativePay,
    /// Kept: a directory of the test's goes with it.
    engine: Arc<dyn Engine>,
    nonces: Arc<AtomicU64>,
}

impl World {
    /// Serves what `routes` makes of a paywall and a counter, on a ledger in memory. The facilitator's HTTP
    /// API is nested at `/ledger`.
    pub async fn start(routes: impl FnOnce(Paywall, Counter) -> Router) -> Self {
        Self::start_on(Memory, routes).await
    }

    /// As [`start`](Self::start), on an engine of the test's choice.
    pub async fn start_on(engine: impl Engine, routes: impl FnOnce(Paywall, Counter) -> Router) -> Self {
        Self::at(engine, TestClock::default(), routes).await
    }

    /// As [`start_on`](Self::start_on), with a clock that the test has already.
    pub async fn at(
        engine: impl Engine,
        clock: TestClock,
        routes: impl FnOnce(Paywall, Counter) -> Router,
    ) -> Self {
        let engine: Arc<dyn Engine> = Arc::new(engine);
        let ledger = Self::open(&engine, &clock).await;
        Self::serve(engine, ledger, clock, routes).await
    }

    /// As [`start`](Self::start), on a ledger of the test's making that knows `clock`.
    pub async fn on(
        ledger: Ledger,
        clock: TestClock,
        routes: impl FnOnce(Paywall, Counter) -> Router,
    ) -> Self {
        let ledger = LocalLedger::with(ledger, key(ISSUER)).await.unwrap();
        Self::serve(Arc::new(Memory), ledger, clock, routes).await
    }

    async fn serve(
        engine: Arc<dyn Engine>,
        ledger: LocalLedger,
        clock: TestClock,
        routes: impl FnOnce(Paywall, Counter) -> Router,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let origin = format!("http://{address}");
        let hits = Counter::default();
        let paywall = Self::paywall(&origin, &ledger, &clock).await;
        let app = routes(paywall, hits.clone()).nest("/ledger", ledger.service(HttpOptions::default()));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let payer = NativePay::connect(ledger.facilitator(), None, key(1)).await.unwrap();
        ledger.deposit(payer.account(), "100 XTS").await.unwrap();
        Self { address, origin, hits, ledger, clock, payer, engine, nonces: Arc::default() }
    }

    /// The ledger on `engine`, of the one seller.
    async fn open(engine: &Arc<dyn Engine>, clock: &TestClock) -> LocalLedger {
        let time = clock.clone();
        let mut options = Options::closed_loop(key(SELLER).public(), Amount(1_000_000_000_000));
        options.clock = Arc::new(move || time.now());
        // On a thread of its own: opening may block, and some engines bring a runtime of theirs.
        let place = engine.place();
        let ledger = tokio::task::spawn_blocking(move || place.open(options)).await.unwrap();
        LocalLedger::with(ledger, key(ISSUER)).await.unwrap()
    }

    /// Another server of the same seller, with an origin and an H of its own: it settles through
    /// `facilitator` on the ledger of this world. The payer is the same.
    pub async fn branch(
        &self,
        facilitator: Arc<dyn Facilitator>,
        routes: impl FnOnce(Paywall, Counter) -> Router,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let origin = format!("http://{address}");
        let hits = Counter::default();
        let app = routes(Self::paywall_through(facilitator, &origin, &self.clock).await, hits.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let (ledger, clock, nonces) = (self.ledger.clone(), self.clock.clone(), self.nonces.clone());
        let payer = NativePay::connect(ledger.facilitator(), None, key(1)).await.unwrap();
        Self { address, origin, hits, ledger, clock, payer, engine: self.engine.clone(), nonces }
    }

    /// A paywall of the one seller at `origin`, with a process identity of its own.
    pub async fn paywall(origin: &str, ledger: &LocalLedger, clock: &TestClock) -> Paywall {
        Self::paywall_through(ledger.facilitator(), origin, clock).await
    }

    /// As [`paywall`](Self::paywall), settling through any facilitator of the ledger.
    pub async fn paywall_through(
        facilitator: Arc<dyn Facilitator>,
        origin: &str,
        clock: &TestClock,
    ) -> Paywall {
        let time = clock.clone();
        let mut builder = Paywall::builder(origin.parse().unwrap())
            .facilitator(facilitator.clone())
            .receipt_key(key(105))
            .records(Arc::new(MemoryRecords::new()))
            .clock(move || time.now());
        let rails = farthing::rails(key(SELLER).public(), &key(102), facilitator.as_ref()).await;
        for rail in rails.unwrap() {
            builder = builder.rail(rail);
        }
        builder.build().unwrap()
    }

    /// Sends a request and reads the answer.
    pub async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        exchange(self.address, &request(self.address, method, target, headers, body))
            .await
            .expect("an answer")
    }

    /// Asks for the offers of a request, which must be unpaid.
    pub async fn offers(&self, method: &str, target: &str, body: &[u8]) -> Vec<Offer> {
        let reply = self.send(method, target, &[], body).await;
        assert_eq!(reply.status, 402, "{target}: {}", reply.text());
        reply.terms().offers().collect()
    }

    /// Signs a payment for a request, by its first offer, as the payer.
    pub async fn sign(&self, method: &str, target: &str, body: &[u8]) -> (Offer, SignedPayment) {
        let offer = self.offers(method, target, body).await.remove(0);
        let signed = self.sign_offer(&self.payer, &offer);
        (offer, signed)
    }

    /// Signs an offer as `payer`, bound to whatever request the offer names.
    pub fn sign_offer(&self, payer: &NativePay, offer: &Offer) -> SignedPayment {
        let digest: RequestDigest = offer.extra["requestDigest"].as_str().unwrap().parse().unwrap();
        payer.pay(offer, &digest, self.clock.now(), self.nonce()).unwrap()
    }

    /// A nonce that this world has not used.
    pub fn nonce(&self) -> [u8; 32] {
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&self.nonces.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        nonce
    }

    /// The value of `PAYMENT-SIGNATURE` for a signed payment; it asks for a receipt.
    pub fn header(offer: &Offer, signed: &SignedPayment) -> String {
        let wish = RawValue::from_string("{}".into()).unwrap();
        let payload = PaymentPayload {
            x402_version: 2,
            resource: None,
            accepted: offer.clone(),
            payload: signed.payload.clone().into(),
            extensions: [(receipt::EXTENSION.to_owned(), wish)].into(),
        };
        header::encode(&payload).unwrap()
    }

    /// A payment header for a request.
    pub async fn pay(&self, method: &str, target: &str, body: &[u8]) -> String {
        let (offer, signed) = self.sign(method, target, body).await;
        Self::header(&offer, &signed)
    }

    /// Sends a request with a payment.
    pub async fn send_paid(&self, method: &str, target: &str, payment: &str, body: &[u8]) -> Reply {
        self.send(method, target, &[("PAYMENT-SIGNATURE", payment)], body).await
    }

    /// L: payments captured. Verifies the whole ledger on the way.
    pub async fn captures(&self) -> u64 {
        let report = self.ledger.ledger().check().await.unwrap();
        assert!(report.balanced(), "{:?}", report.faults);
        report.payments.get("captured").copied().unwrap_or(0)
    }

    /// B: what the payer may spend, in atomic units of XTS.
    pub async fn balance(&self) -> u128 {
        self.balance_of(self.payer.account()).await
    }

    /// What any account may spend, in atomic units of XTS.
    pub async fn balance_of(&self, account: PublicKey) -> u128 {
        self.ledger.balance(account, "XTS").await.unwrap().0
    }

    /// Another payer, with the key of this seed and `amount`, such as `"1 XTS"`.
    pub async fn another_payer(&self, seed: u8, amount: &str) -> NativePay {
        let payer = NativePay::connect(self.ledger.facilitator(), None, key(seed)).await.unwrap();
        self.ledger.deposit(payer.account(), amount).await.unwrap();
        payer
    }
}
