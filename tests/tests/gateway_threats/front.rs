//! A gateway in front of an upstream of the test's, on a ledger in a directory of its own. H is what reached the
//! upstream, L what the ledger captured, B what the payer still has.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use farthing::gateway::{Config, Gateway};
use farthing::native::NativePay;
use farthing::protocol::RequestDigest;
use farthing::protocol::rail::Pay as _;
use farthing::protocol::v2::Offer;
use farthing::{Budget, Client, LocalLedger};
use farthing_testkit::{Counter, Reply, SELLER, World, exchange, key, request};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt as _;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// What only a payer may read.
pub const CONTENT: &str = "the-paid-content";
/// What each priced route of [`ROUTES`] costs, in atomic units.
pub const PRICE: u128 = 10_000;
/// What the payer has at first, in atomic units.
pub const FUNDS: u128 = 100_000_000;

/// Priced routes of each kind, and free ones around them.
pub const ROUTES: &str = r#"
[[route]]
path = "/api/report"
methods = ["GET"]
price = "0.01 XTS"
description = "a\u2028Set-Cookie: a=1"

[[route]]
path = "/api/{name}"
free = true

[[route]]
path = "/upload"
methods = ["POST"]
price = "0.01 XTS"

[[route]]
path = "/files/{*path}"
price = "0.01 XTS"

[[route]]
path = "/item/{id}"
price = "0.01 XTS"

[[route]]
path = "/free/{*rest}"
free = true
"#;

/// An HTTP server behind a gateway that reads paths as leniently as any server does, and counts what reaches it.
#[derive(Clone)]
pub struct Upstream {
    pub address: SocketAddr,
    /// H, by what was asked for: the path as the most lenient server reads it.
    pub hits: Counter,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A request as the upstream got it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    pub body: usize,
}

impl Upstream {
    /// Serves [`CONTENT`] at the priced paths of [`ROUTES`], whatever they are spelled like.
    pub async fn start() -> Self {
        Self::answering(|seen| {
            let path = lenient(&seen.target);
            let priced = ["/api/report", "/upload"].contains(&path.as_str())
                || ["/files/", "/item/"].iter().any(|start| path.starts_with(start));
            let body = if priced { CONTENT } else { "free of charge" };
            Response::builder()
                .header("etag", "\"of-the-content\"")
                .header("cache-control", "public, max-age=600")
                .header("content-type", "text/plain")
                .body(Body::from(body))
                .unwrap()
        })
        .await
    }

    /// Answers what `answer` makes of each request.
    pub async fn answering(answer: impl Fn(&Seen) -> Response + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream =
            Self { address: listener.local_addr().unwrap(), hits: Counter::default(), seen: Arc::default() };
        let own = upstream.clone();
        let app = Router::new().fallback(move |request: Request| {
            let (own, answer) = (own.clone(), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
                own.hits.hit(&lenient(&target));
                let Ok(body) = body.collect().await else { return StatusCode::BAD_REQUEST.into_response() };
                let body = body.to_bytes().len();
                let seen = Seen { method: parts.method, target, headers: parts.headers, body };
                own.seen.lock().unwrap().push(seen.clone());
                answer(&seen)
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        upstream
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every whole request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// A path as the most lenient of servers reads it.
pub fn lenient(target: &str) -> String {
    let mut text = target.to_owned();
    for _ in 0..3 {
        text = decoded(&text);
    }
    let text = text.replace('\\', "/");
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let mut segments: Vec<String> = Vec::new();
    for segment in text.split('/') {
        let segment = segment.split(';').next().unwrap_or_default();
        match segment.trim_end_matches(['\0', ' ']) {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment.trim_end_matches('.').to_lowercase()),
        }
    }
    format!("/{}", segments.join("/"))
}

fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let pair = (*first == b'%').then(|| tail.get(..2)).flatten();
        let byte = pair.and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A gateway that runs until this is dropped.
pub struct Front {
    pub address: SocketAddr,
    /// The origin that payments are bound to.
    pub origin: String,
    pub payer: Arc<NativePay>,
    pub ledger: LocalLedger,
    /// What the gateway said of each request.
    pub lines: Arc<Mutex<Vec<String>>>,
    nonces: std::sync::atomic::AtomicU64,
    directory: tempfile::TempDir,
    _shutdown: oneshot::Sender<()>,
}

impl Front {
    /// A gateway in front of the server at `upstream`, with these `[[route]]` tables.
    pub async fn of(upstream: &str, routes: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let origin = format!("http://{address}");
        let config = configuration(address, upstream, routes);
        let gateway = Gateway::build(Config::parse(&config, directory.path()).unwrap()).await.unwrap();
        let (ledger, lines) = (gateway.ledger().clone(), Arc::<Mutex<Vec<String>>>::default());
        ledger.deposit(key(1).public(), "100 XTS").await.unwrap();
        let said = lines.clone();
        let gateway = gateway.on_request(move |line| said.lock().unwrap().push(line.to_string()));
        let (shutdown, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let stopped = async move { drop(stopped.await) };
            gateway.serve(listener, stopped).await
        });
        let payer = farthing::wallet(&format!("{origin}/.farthing/ledger"), key(1)).await.unwrap();
        Self {
            address,
            origin,
            payer,
            ledger,
            lines,
            nonces: Default::default(),
            directory,
            _shutdown: shutdown,
        }
    }

    /// Where its file lies, with its `data`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn at(&self, target: &str) -> String {
        format!("{}{target}", self.origin)
    }

    /// Sends a request and reads the answer.
    pub async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.ask(method, target, headers, body).await.expect("an answer")
    }

    /// As [`send`](Self::send); `None` when the connection closes without an answer.
    pub async fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Reply> {
        exchange(self.address, &request(self.address, method, target, headers, body)).await
    }

    pub async fn send_paid(&self, method: &str, target: &str, payment: &str, body: &[u8]) -> Reply {
        self.send(method, target, &[("PAYMENT-SIGNATURE", payment)], body).await
    }

    /// A payment header for a request, which must be unpaid.
    pub async fn pay(&self, method: &str, target: &str, body: &[u8]) -> String {
        let unpaid = self.send(method, target, &[], body).await;
        assert_eq!(unpaid.status, 402, "{target}: {}", unpaid.text());
        self.sign(&unpaid)
    }

    /// A payment header for the first offer of an unpaid answer.
    pub fn sign(&self, unpaid: &Reply) -> String {
        let offer = unpaid.terms().offers().next().unwrap();
        self.sign_offer(&offer)
    }

    pub fn sign_offer(&self, offer: &Offer) -> String {
        let digest: RequestDigest = offer.extra["requestDigest"].as_str().unwrap().parse().unwrap();
        let mut nonce = [0; 32];
        let next = self.nonces.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        nonce[..8].copy_from_slice(&next.to_be_bytes());
        World::header(offer, &self.payer.pay(offer, &digest, now(), nonce).unwrap())
    }

    /// L. Verifies the whole ledger on the way.
    pub async fn captures(&self) -> usize {
        let report = self.ledger.ledger().check().await.unwrap();
        assert!(report.balanced(), "{:?}", report.faults);
        report.payments.get("captured").copied().unwrap_or(0) as usize
    }

    /// B.
    pub async fn balance(&self) -> u128 {
        self.ledger.balance(self.payer.account(), "XTS").await.unwrap().0
    }

    /// Nothing was captured, and the payer has what it had.
    pub async fn unpaid(&self) {
        assert_eq!((self.captures().await, self.balance().await), (0, FUNDS));
    }

    /// A fresh payment still buys the content, once.
    pub async fn sells(&self, upstream: &Upstream) {
        let (hits, captures) = (upstream.hits.of("/api/report"), self.captures().await);
        let payment = self.pay("GET", "/api/report", b"").await;
        let paid = self.send_paid("GET", "/api/report", &payment, b"").await;
        assert_eq!((paid.status, paid.text().as_str()), (200, CONTENT));
        assert_eq!(
            (upstream.hits.of("/api/report"), self.captures().await),
            (hits + 1, captures + 1),
            "one payment is one request and one capture"
        );
        assert_eq!(self.balance().await, FUNDS - (captures as u128 + 1) * PRICE);
    }

    /// A client with the payer's key.
    pub fn client(&self) -> Client {
        let client = Client::builder().allow_any_origin().rail(self.payer.clone());
        client.budget(Budget::new("10 XTS").unwrap()).build().unwrap()
    }
}

/// A gateway's file.
pub fn configuration(listen: SocketAddr, upstream: &str, routes: &str) -> String {
    let payee = key(SELLER).public();
    format!(
        "listen = \"{listen}\"\norigin = \"http://{listen}\"\nupstream = \"{upstream}\"\ndata = \"data\"\n\
         payee = \"{payee}\"\n[limits]\nbody_bytes = 1048576\nrequest_seconds = 20\n{routes}"
    )
}

/// Unix seconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
