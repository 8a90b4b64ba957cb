//! What is paid for once and used for a period, end to end: a shop on its own ledger, and clients over HTTP.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use farthing::client::{ClientError, MemoryJournal, Rule};
use farthing::protocol::siwx::{Chain, Challenge, Info, Proof, SignInKind};
use farthing::protocol::{Limits, SecretKey, header};
use farthing::server::PassHolder;
use farthing::{Budget, Client, LocalLedger, Paywall};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const PAYER: u8 = 1;
const SELLER: u8 = 2;
const AUTHORIZER: u8 = 3;
const OTHER: u8 = 4;
const DAY: Duration = Duration::from_secs(86_400);
/// Payments are good for longer: the shop's clock may be put forward, and its ledger's not.
const BRIEF: Duration = Duration::from_secs(120);

fn key(role: u8) -> SecretKey {
    SecretKey::from_seed([role; 32])
}

/// A shop that serves until it is dropped. Its clock can be put forward; its ledger's cannot.
struct Shop {
    url: String,
    ledger: LocalLedger,
    ahead: Arc<AtomicU64>,
    /// Handler runs.
    runs: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Shop {
    async fn open(directory: &Path) -> Self {
        Self::at(directory, TcpListener::bind("127.0.0.1:0").await.unwrap()).await
    }

    async fn at(directory: &Path, listener: TcpListener) -> Self {
        let ledger = LocalLedger::open(directory, key(SELLER).public()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (ahead, runs) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut builder =
            Paywall::builder(url.parse().unwrap()).receipt_key(key(AUTHORIZER).derive("receipt"));
        for rail in
            farthing::rails(key(SELLER).public(), &key(AUTHORIZER), &*ledger.facilitator()).await.unwrap()
        {
            builder = builder.rail(rail);
        }
        let offset = ahead.clone();
        let paywall = builder
            .facilitator(ledger.facilitator())
            .records(ledger.records().unwrap())
            .clock(move || now() + offset.load(Ordering::SeqCst))
            .build()
            .unwrap();
        let counted = runs.clone();
        let page = move |holder: Option<Extension<PassHolder>>| async move {
            let run = counted.fetch_add(1, Ordering::SeqCst) + 1;
            format!("run {run}, {}", if holder.is_some() { "free" } else { "paid" })
        };
        let plan = paywall.price("0.01 XTS").subscription("pro", DAY);
        let app = Router::new()
            .route("/articles/{id}", get(page.clone()).layer(paywall.price("0.01 XTS").pass(DAY)))
            .route("/brief", get(page.clone()).layer(paywall.price("0.01 XTS").pass(BRIEF)))
            .route("/pro/a", get(page.clone()).layer(plan.clone()))
            .route("/pro/b", get(page).layer(plan))
            .nest("/ledger", ledger.service(Default::default()));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, ledger, ahead, runs, server }
    }

    /// A client that knows nothing but the key of an account.
    async fn client(&self, account: u8, budget: &str) -> Client {
        let wallet = farthing::wallet(&format!("{}/ledger", self.url), key(account)).await.unwrap();
        let builder = Client::builder().allow_origin(&self.url).rail(wallet);
        builder.budget(Budget::new(budget).unwrap()).build().unwrap()
    }

    /// Reads a page; its text, and whether it was paid for.
    async fn read(&self, client: &Client, path: &str) -> (String, bool) {
        let answer = client.get(&format!("{}{path}", self.url)).await.unwrap();
        assert_eq!(answer.status, 200);
        let paid = answer.payment().is_some();
        (answer.text().await.unwrap(), paid)
    }

    /// Handler runs, and what the payer has spent in millionths of its 5 XTS.
    async fn count(&self) -> (usize, u128) {
        let left = self.ledger.balance(key(PAYER).public(), "XTS").await.unwrap();
        (self.runs.load(Ordering::SeqCst), 5_000_000 - left.0)
    }

    async fn close(self) {
        self.server.abort();
        let _ = self.server.await;
    }
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

async fn shop(directory: &Path) -> Shop {
    let shop = Shop::open(directory).await;
    shop.ledger.deposit(key(PAYER).public(), "5 XTS").await.unwrap();
    shop
}

fn paid(run: usize) -> (String, bool) {
    (format!("run {run}, paid"), true)
}

fn free(run: usize) -> (String, bool) {
    (format!("run {run}, free"), false)
}

#[tokio::test]
async fn an_article_is_bought_once_and_read_again_for_free() {
    let directory = tempfile::tempdir().unwrap();
    let shop = shop(directory.path()).await;
    // Its budget is for one payment.
    let client = shop.client(PAYER, "0.01 XTS").await;
    assert_eq!(shop.read(&client, "/articles/1").await, paid(1));
    assert_eq!(shop.read(&client, "/articles/1").await, free(2));
    assert_eq!(shop.read(&client, "/articles/1?page=2").await, free(3));
    // One that has lost everything but the key proves that.
    let forgetful = shop.client(PAYER, "0.01 XTS").await;
    for run in 4..7 {
        assert_eq!(shop.read(&forgetful, "/articles/1").await, free(run));
    }
    assert_eq!(shop.count().await, (6, 10_000));
    // And nothing else is free, for nobody else.
    let refused = client.get(&format!("{}/articles/2", shop.url)).await;
    assert!(matches!(refused, Err(ClientError::Refused(why)) if matches!(why.rule, Rule::OverBudget(_))));
    shop.ledger.deposit(key(OTHER).public(), "1 XTS").await.unwrap();
    let other = shop.client(OTHER, "1 XTS").await;
    assert_eq!(shop.read(&other, "/articles/1").await, paid(7));
    assert_eq!(shop.count().await, (7, 10_000));
}

#[tokio::test]
async fn a_pass_that_is_over_is_renewed_by_policy_as_any_payment_is() {
    let directory = tempfile::tempdir().unwrap();
    let shop = shop(directory.path()).await;
    let client = shop.client(PAYER, "0.02 XTS").await;
    assert_eq!(shop.read(&client, "/brief").await, paid(1));
    shop.ahead.store(100, Ordering::SeqCst);
    assert_eq!(shop.read(&client, "/brief").await, free(2));
    shop.ahead.store(150, Ordering::SeqCst);
    assert_eq!(shop.read(&client, "/brief").await, paid(3));
    assert_eq!(shop.read(&client, "/brief").await, free(4));
    shop.ahead.store(300, Ordering::SeqCst);
    let refused = client.get(&format!("{}/brief", shop.url)).await;
    assert!(matches!(refused, Err(ClientError::Refused(why)) if matches!(why.rule, Rule::OverBudget(_))));
    assert_eq!(shop.count().await, (4, 20_000));
}

#[tokio::test]
async fn a_plan_is_bought_at_one_of_its_routes_and_used_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let shop = shop(directory.path()).await;
    let client = shop.client(PAYER, "1 XTS").await;
    assert_eq!(shop.read(&client, "/pro/a").await, paid(1));
    assert_eq!(shop.read(&client, "/pro/b").await, free(2));
    assert_eq!(shop.read(&client, "/articles/1").await, paid(3));
    let forgetful = shop.client(PAYER, "1 XTS").await;
    assert_eq!(shop.read(&forgetful, "/pro/b").await, free(4));
    assert_eq!(shop.read(&forgetful, "/pro/a").await, free(5));
    assert_eq!(shop.count().await, (5, 20_000));
}

#[tokio::test]
async fn a_shop_that_starts_again_knows_who_has_paid() {
    let directory = tempfile::tempdir().unwrap();
    let before = shop(directory.path()).await;
    let client = before.client(PAYER, "1 XTS").await;
    assert_eq!(before.read(&client, "/articles/1").await, paid(1));
    let address = before.url.strip_prefix("http://").unwrap().to_owned();
    before.close().await;
    drop(client);

    // Its old connections are closed by the runtime, a moment later.
    let again = loop {
        match TcpListener::bind(&address).await {
            Ok(listener) => break Shop::at(directory.path(), listener).await,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let client = again.client(PAYER, "1 XTS").await;
    assert_eq!(again.read(&client, "/articles/1").await, free(1));
    assert_eq!(again.read(&client, "/articles/2").await, paid(2));
    assert_eq!(again.count().await, (2, 20_000));
}

/// A server that asks for proofs and money, and writes down what it is sent.
struct Curious {
    url: String,
    challenge: Arc<Mutex<Challenge>>,
    seen: Arc<Mutex<Vec<HeaderMap>>>,
    /// What a proof is answered with.
    status: Arc<Mutex<StatusCode>>,
}

impl Curious {
    async fn open(shop: &Shop, origin: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let origin = origin.unwrap_or(&url).parse().unwrap();
        let info = Info::new(&origin, "/x", "0123456789abcdef0123456789abcdef".into(), now()).unwrap();
        let chains = vec![Chain::new(shop.ledger.ledger().network(), SignInKind::Ed25519)];
        let challenge = Arc::new(Mutex::new(Challenge { info, supported_chains: chains }));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let status = Arc::new(Mutex::new(StatusCode::PAYMENT_REQUIRED));
        let shared = (challenge.clone(), seen.clone(), status.clone());
        let app = Router::new().fallback(answer).with_state(shared);
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, challenge, seen, status }
    }

    /// The proofs that come when this is visited by a client that may pay there.
    async fn visit(&self, shop: &Shop, origin: &str) -> Vec<Proof> {
        self.seen.lock().unwrap().clear();
        let wallet = farthing::wallet(&format!("{}/ledger", shop.url), key(PAYER)).await.unwrap();
        let client =
            Client::builder().allow_origin(origin).rail(wallet).journal(Arc::new(MemoryJournal::new()));
        let client = client.budget(Budget::new("1 XTS").unwrap()).build().unwrap();
        let url = format!("{}/x", self.url);
        // It is asked for money in the end, which no rail of this client has.
        assert!(matches!(client.get(&url).await, Err(ClientError::Refused(_))));
        let before = self.seen.lock().unwrap().len();
        assert_eq!(client.quote(&url).await.unwrap().offers.len(), 1);
        assert_eq!(self.seen.lock().unwrap().len(), before + 1, "a price is told without a proof");
        let seen = self.seen.lock().unwrap();
        let proofs = seen.iter().filter_map(|headers| headers.get("sign-in-with-x"));
        proofs.map(|value| Proof::decode(value.as_bytes(), &Limits::default()).unwrap()).collect()
    }
}

type Shared = (Arc<Mutex<Challenge>>, Arc<Mutex<Vec<HeaderMap>>>, Arc<Mutex<StatusCode>>);

async fn answer(
    State((challenge, seen, status)): State<Shared>,
    headers: HeaderMap,
) -> (StatusCode, HeaderMap) {
    let proven = headers.contains_key("sign-in-with-x");
    seen.lock().unwrap().push(headers);
    let extension = challenge.lock().unwrap().write().unwrap();
    let terms = json!({
        "x402Version": 2, "resource": {"url": "http://127.0.0.1/x"},
        "accepts": [{"scheme": "exact", "network": "test:none", "amount": "1", "asset": "X", "payTo": "x",
            "maxTimeoutSeconds": 60, "extra": {}}],
        "extensions": {"sign-in-with-x": extension},
    });
    let mut headers = HeaderMap::new();
    headers.insert("payment-required", header::encode(&terms).unwrap().parse().unwrap());
    match *status.lock().unwrap() {
        status if proven && status != StatusCode::PAYMENT_REQUIRED => (status, HeaderMap::new()),
        _ => (StatusCode::PAYMENT_REQUIRED, headers),
    }
}

#[tokio::test]
async fn a_server_that_chokes_on_a_proof_is_paid_as_if_it_had_not_asked() {
    let directory = tempfile::tempdir().unwrap();
    let shop = shop(directory.path()).await;
    let curious = Curious::open(&shop, None).await;
    for status in [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED] {
        *curious.status.lock().unwrap() = status;
        assert_eq!(curious.visit(&shop, &curious.url).await.len(), 1);
    }
}

#[tokio::test]
async fn a_client_proves_its_key_once_to_whom_it_may_pay_and_for_what_it_knows() {
    let directory = tempfile::tempdir().unwrap();
    let shop = shop(directory.path()).await;
    let honest = Curious::open(&shop, None).await;
    let proofs = honest.visit(&shop, &honest.url).await;
    let [proof] = &proofs[..] else { panic!("{} proofs", proofs.len()) };
    assert_eq!(proof.address, key(PAYER).public().to_string());
    let host = honest.url.strip_prefix("http://").unwrap();
    assert!(proof.text().starts_with(&format!("{host} wants you to sign in with your farthing account:\n")));
    assert_eq!(honest.visit(&shop, "https://other.example").await, [], "it may not pay there");

    let phishing = Curious::open(&shop, Some("https://bank.example")).await;
    assert_eq!(phishing.visit(&shop, &phishing.url).await, [], "for another origin");
    let good = honest.challenge.lock().unwrap().clone();
    let wrong = [
        Info { statement: Some("I owe you everything".into()), ..good.info.clone() },
        Info { statement: None, ..good.info.clone() },
        Info { uri: "https://bank.example/".into(), ..good.info.clone() },
        Info { resources: Some(vec!["https://bank.example/".into()]), ..good.info.clone() },
        Info { nonce: "1\nURI: x".into(), ..good.info.clone() },
        Info { version: "2".into(), ..good.info.clone() },
    ];
    for info in wrong {
        honest.challenge.lock().unwrap().info = info.clone();
        assert_eq!(honest.visit(&shop, &honest.url).await, [], "{info:?}");
    }
    let elsewhere = vec![Chain::new(&"test:none".parse().unwrap(), SignInKind::Ed25519)];
    for chains in [elsewhere, vec![Chain { kind: "eip191".into(), ..good.supported_chains[0].clone() }]] {
        *honest.challenge.lock().unwrap() = Challenge { supported_chains: chains, ..good.clone() };
        assert_eq!(honest.visit(&shop, &honest.url).await, []);
    }
    *honest.challenge.lock().unwrap() = good;
    assert_eq!(honest.visit(&shop, &honest.url).await.len(), 1);
}
