//! A seller that is a process of its own, so that it can be killed, and that can share its ledger.
//!
//! The program `seller` runs [`serve`]; a test starts it as a [`Seller`]. It sells `/page?n=..` and
//! `/broken?n=..` (which always fails), writes each run of a handler into a file that outlives it, and takes
//! [`Ask`]s for its ledger. Told to die at a [`Moment`], it does so when it next comes to pass.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::extract::OriginalUri;
use axum::routing::{get, post};
use axum::{Json, Router};
use farthing::facilitator::http::HttpOptions;
use farthing::{LocalLedger, Options};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::engine::Place;
use crate::exchange::{Reply, exchange, exchange_on, request};
use crate::history::{Ask, Desk, Heard};
use crate::meddler::{Meddler, Meddling};
use crate::program::{free_port, program};
use crate::world::{ISSUER, TestClock, World, key};

/// What a seller's process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Orders {
    /// Its ledger.
    pub place: Place,
    /// The origin that it sells under. Processes of one seller have one origin, whatever their ports.
    pub origin: String,
    /// Where it listens on loopback.
    pub port: u16,
    /// The file into which each run of a handler writes the query of its request, as a line.
    pub runs: PathBuf,
    /// Seconds by which its clock, and the ledger's, is ahead.
    pub ahead: u64,
}

/// When a process dies, in the order in which a payment comes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Moment {
    /// The hold is about to be asked for.
    BeforeAuthorize,
    /// The hold is there, and nobody has heard of it.
    AfterAuthorize,
    /// The handler begins.
    HandlerBegins,
    /// The handler has done its work.
    HandlerEnds,
    /// The capture is about to be asked for.
    BeforeCapture,
    /// The capture is there, and nobody has heard of it.
    AfterCapture,
    /// The handler failed, and the void is about to be asked for.
    BeforeVoid,
    /// The void is there, and nobody has heard of it.
    AfterVoid,
}

impl Moment {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::BeforeAuthorize,
        Self::AfterAuthorize,
        Self::HandlerBegins,
        Self::HandlerEnds,
        Self::BeforeCapture,
        Self::AfterCapture,
        Self::BeforeVoid,
        Self::AfterVoid,
    ];

    fn meddling(self) -> Option<(&'static str, Meddling)> {
        Some(match self {
            Self::BeforeAuthorize => ("authorize", Meddling::DieBefore),
            Self::AfterAuthorize => ("authorize", Meddling::DieAfter),
            Self::BeforeCapture => ("capture", Meddling::DieBefore),
            Self::AfterCapture => ("capture", Meddling::DieAfter),
            Self::BeforeVoid => ("void", Meddling::DieBefore),
            Self::AfterVoid => ("void", Meddling::DieAfter),
            Self::HandlerBegins | Self::HandlerEnds => return None,
        })
    }
}

/// The options of every ledger that sellers' processes sell on: open to all, `ahead` of time.
pub fn options(ahead: u64) -> Options {
    let clock = TestClock::default();
    clock.forward(ahead);
    Options { clock: Arc::new(move || clock.now()), ..Options::open_to_all() }
}

/// Sells until it is killed. Says where on its standard output, as one line, once it listens.
///
/// # Panics
/// When the ledger cannot be opened, or the port is taken.
pub async fn serve(orders: Orders) {
    let clock = TestClock::default();
    clock.forward(orders.ahead);
    let (place, ahead) = (orders.place.clone(), orders.ahead);
    let ledger = tokio::task::spawn_blocking(move || place.open(options(ahead))).await.unwrap();
    let ledger = LocalLedger::with(ledger, key(ISSUER)).await.unwrap();
    let meddler = Meddler::new(ledger.facilitator());
    let paywall = World::paywall_through(meddler.clone(), &orders.origin, &clock).await;

    let dies: Arc<Mutex<Option<Moment>>> = Arc::default();
    let die_at = |moment: Moment| {
        let dies = dies.clone();
        move || {
            if *dies.lock().unwrap() == Some(moment) {
                std::process::abort();
            }
        }
    };
    let (begins, ends) = (die_at(Moment::HandlerBegins), die_at(Moment::HandlerEnds));
    let runs = orders.runs.clone();
    let run = move |uri: OriginalUri| {
        begins();
        let query = uri.query().unwrap_or_default().to_owned();
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&runs);
        // One write for the line, so that lines of several processes do not mix.
        file.unwrap().write_all(format!("{query}\n").as_bytes()).unwrap();
        ends();
        query
    };
    let broken = run.clone();
    let price = || paywall.price("0.01 XTS").handler_deadline(Duration::from_secs(1));
    let asked = ledger.ledger().clone();
    let app = Router::new()
        .route("/page", get(move |uri| async move { format!("page {}", run(uri)) }).layer(price()))
        .route(
            "/broken",
            get(move |uri| async move {
                broken(uri);
                // A panic, without its message on the terminal.
                std::panic::resume_unwind(Box::new(()));
                #[allow(unreachable_code)]
                ""
            })
            .layer(price()),
        )
        .route(
            "/free/die",
            post(move |Json(moment): Json<Moment>| async move {
                *dies.lock().unwrap() = Some(moment);
                if let Some((kind, how)) = moment.meddling() {
                    meddler.meddle(kind, how);
                }
            }),
        )
        .route("/free/ask", post(move |Json(ask): Json<Ask>| async move { Json(asked.ask(ask).await) }))
        .nest("/ledger", ledger.service(HttpOptions::default()));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", orders.port)).await.unwrap();
    println!("selling on port {}", orders.port);
    axum::serve(listener, app).await.unwrap();
}

/// A seller's process. Killed when it is dropped.
#[derive(Debug)]
pub struct Seller {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
}

impl Seller {
    /// Orders for a process on `place`, with an origin and a port of its own. Runs are written into
    /// `directory`.
    pub fn orders(place: Place, directory: &Path) -> Orders {
        let port = free_port();
        let origin = format!("http://127.0.0.1:{port}");
        Orders { place, origin, port, runs: directory.join("runs"), ahead: 0 }
    }

    /// Starts a process, and waits until it sells.
    pub async fn start(orders: &Orders) -> Self {
        // Once: a source that changes while a test runs is the next run's.
        static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
        let mut command = Command::new(PROGRAM.get_or_init(|| program("farthing-testkit", "seller")));
        command.arg(serde_json::to_string(orders).unwrap());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await;
        line.expect("ready in time").unwrap().expect("a line when it is ready");
        Self { address: SocketAddr::from(([127, 0, 0, 1], orders.port)), child }
    }

    /// `kill -9`.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Tells it to die when `moment` next comes to pass.
    pub async fn die_at(&self, moment: Moment) {
        let body = serde_json::to_vec(&moment).unwrap();
        let json = [("Content-Type", "application/json")];
        let reply = exchange(self.address, &request(self.address, "POST", "/free/die", &json, &body)).await;
        assert_eq!(reply.unwrap().status, 200);
    }

    /// Waits until it has died by itself.
    pub async fn died(mut self) {
        let status = tokio::time::timeout(Duration::from_secs(60), self.child.wait()).await;
        assert!(!status.expect("it dies in time").unwrap().success());
    }

    /// Sends a request, with a payment or without. `None` when the process dies over it.
    pub async fn get(&self, target: &str, payment: Option<&str>) -> Option<Reply> {
        let headers: Vec<_> = payment.iter().map(|payment| ("PAYMENT-SIGNATURE", *payment)).collect();
        exchange(self.address, &request(self.address, "GET", target, &headers, b"")).await
    }

    /// The ledger of this process, for a history.
    pub fn desk(&self) -> Arc<dyn Desk> {
        Arc::new(Wire(self.address))
    }
}

/// How often each query was run, by all processes that wrote into this file.
pub fn runs(file: &Path) -> std::collections::BTreeMap<String, usize> {
    let mut runs = std::collections::BTreeMap::new();
    for line in std::fs::read_to_string(file).unwrap_or_default().lines() {
        *runs.entry(line.to_owned()).or_default() += 1;
    }
    runs
}

/// A ledger in another process.
struct Wire(SocketAddr);

impl Desk for Wire {
    fn ask(&self, ask: Ask) -> Pin<Box<dyn Future<Output = Heard> + Send + '_>> {
        Box::pin(async move {
            let body = serde_json::to_vec(&ask).unwrap();
            let json = [("Content-Type", "application/json")];
            let bytes = request(self.0, "POST", "/free/ask", &json, &body);
            let Ok(stream) = TcpStream::connect(self.0).await else { return Heard::Untaken };
            match exchange_on(stream, &bytes).await {
                Some(reply) if reply.status == 200 => serde_json::from_slice(&reply.body).unwrap(),
                Some(reply) => panic!("{}: {}", reply.status, reply.text()),
                None => Heard::Unknown,
            }
        })
    }
}
