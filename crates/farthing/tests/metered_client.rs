//! Streams that are paid for while they come, from handler to budget: what a client counts at the end is what the
//! ledger took.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use farthing::client::{AssetId, ClientError, Journal, MemoryJournal, PaymentReport, State, Unsigned};
use farthing::protocol::rail::{Confirmation, Pay as _};
use farthing::protocol::{Amount, SecretKey};
use farthing::{Budget, Client, LocalLedger, Paywall};
use futures_util::stream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What an event, and a block of bytes, costs in atomic units.
const UNIT: u128 = 1_000;
/// The most that a stream costs.
const MOST: u128 = 50_000;
const FUNDS: u128 = 1_000_000;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

struct Shop {
    origin: String,
    ledger: LocalLedger,
    client: Client,
    journal: Arc<MemoryJournal>,
    asset: AssetId,
}

impl Shop {
    async fn open(routes: impl FnOnce(Paywall) -> Router) -> Self {
        let ledger = LocalLedger::memory(key(101).public()).await.unwrap();
        ledger.deposit(key(1).public(), "1 XTS").await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let paywall = farthing::paywall(&origin, key(101).public(), key(102), &ledger).await.unwrap();
        let app = routes(paywall).nest("/ledger", ledger.service(Default::default()));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let wallet = farthing::wallet(&format!("{origin}/ledger"), key(1)).await.unwrap();
        let asset = AssetId { network: wallet.network().clone(), asset: "XTS".into() };
        let journal = Arc::new(MemoryJournal::new());
        let client = Client::builder().allow_any_origin().rail(wallet).journal(journal.clone());
        let client = client.budget(Budget::new("0.5 XTS").unwrap()).build().unwrap();
        Self { origin, ledger, client, journal, asset }
    }

    fn at(&self, target: &str) -> String {
        format!("{}{target}", self.origin)
    }

    /// What counts against the budget: (taken, reserved).
    fn spent(&self) -> (u128, u128) {
        let spent = self.client.spent(&self.asset).unwrap();
        (spent.taken.0, spent.reserved.0)
    }

    /// What the payer paid, by the ledger's books.
    async fn paid(&self) -> u128 {
        let report = self.ledger.ledger().check().await.unwrap();
        assert!(report.balanced(), "{:?}", report.faults);
        let (payer, seller) = (key(1).public(), key(101).public());
        let left = self.ledger.balance(payer, "XTS").await.unwrap().0;
        let earned = self.ledger.balance(seller, "XTS").await.unwrap().0;
        assert_eq!(left + earned, FUNDS, "nothing is held any more");
        earned
    }

    /// The payment is over, and all three agree: the report, the budget and the books.
    async fn agrees(&self, report: &PaymentReport, cost: u128) {
        assert!(!report.open);
        assert_eq!((&report.confirmation, report.amount), (&Confirmation::Taken(Amount(cost)), Amount(cost)));
        assert_eq!((self.spent(), self.paid().await), ((cost, 0), cost));
        assert_eq!(self.journal.find(&report.id).unwrap().unwrap().state, State::Confirmed(Amount(cost)));
        assert!(self.journal.open().unwrap().is_empty());
    }
}

/// An answer in the test's hand, for one request.
fn pipe(
    kind: &'static str,
) -> (UnboundedSender<String>, impl Fn() -> Response + Clone + Send + Sync + 'static) {
    let (sender, receiver) = unbounded_channel();
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let answer = move || flowing(kind, receiver.lock().unwrap().take().unwrap());
    (sender, answer)
}

fn flowing(kind: &str, receiver: UnboundedReceiver<String>) -> Response {
    let pieces = stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Bytes::from(piece)), receiver))
    });
    ([("content-type", kind.to_owned())], Body::from_stream(pieces)).into_response()
}

fn events(paywall: &Paywall) -> farthing::server::PriceLayer {
    paywall.up_to("0.05 XTS").per_event("0.001 XTS")
}

#[tokio::test]
async fn a_stream_of_events_costs_what_was_read_of_it() {
    let (sender, answer) = pipe("text/event-stream");
    let shop = Shop::open(|paywall| {
        Router::new().route("/events", get(move || async move { answer() }).layer(events(&paywall)))
    })
    .await;
    let mut answer = shop.client.get(&shop.at("/events")).await.unwrap();
    let report = answer.payment().unwrap().clone();
    assert!(report.open && report.flags.is_empty(), "{report:?}");
    assert_eq!((report.amount.0, report.max_amount.0, report.price.as_str()), (MOST, MOST, "0.05 XTS"));
    for n in 0..7 {
        sender.send(format!("data: {n}\n\n")).unwrap();
        assert_eq!(answer.events().next().await.unwrap().unwrap().data, n.to_string());
        assert_eq!(shop.spent(), (0, MOST), "the most is reserved while it flows");
    }
    drop(sender);
    assert_eq!(answer.events().next().await.unwrap(), None, "the seller's last word is not content");
    let report = answer.payment().unwrap();
    assert_eq!((report.ended.as_deref(), report.is_cut()), (Some("complete"), false));
    // Nobody can sign for what is not written yet.
    assert_eq!((report.unsigned, report.is_proven()), (Some(Unsigned::Metered), true));
    shop.agrees(report, 7 * UNIT).await;
}

#[tokio::test]
async fn a_long_body_costs_its_bytes_and_its_settlement_is_the_trailer() {
    let (sender, answer) = pipe("text/plain");
    let shop = Shop::open(|paywall| {
        let price = paywall.up_to("0.05 XTS").per_bytes(100, "0.001 XTS");
        Router::new().route("/text", get(move || async move { answer() }).layer(price))
    })
    .await;
    let mut answer = shop.client.get(&shop.at("/text")).await.unwrap();
    assert!(answer.payment().unwrap().open);
    let mut read = 0;
    for _ in 0..5 {
        sender.send("x".repeat(250)).unwrap();
        read += answer.chunk().await.unwrap().unwrap().len();
    }
    drop(sender);
    while let Some(piece) = answer.chunk().await.unwrap() {
        read += piece.len();
    }
    assert_eq!(read, 1_250);
    let report = answer.payment().unwrap();
    assert_eq!((report.ended.as_deref(), report.is_proven()), (Some("complete"), true));
    shop.agrees(report, 13 * UNIT).await;
}

#[tokio::test]
async fn a_stream_never_costs_more_than_its_most_however_long_it_would_go_on() {
    let endless = |sent: Arc<AtomicUsize>| {
        let events = stream::repeat_with(move || {
            sent.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(Bytes::from_static(b"data: x\n\n"))
        });
        ([("content-type", "text/event-stream")], Body::from_stream(events)).into_response()
    };
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let shop = Shop::open(|paywall| {
        Router::new().route("/events", get(async move || endless(counted)).layer(events(&paywall)))
    })
    .await;
    let mut answer = shop.client.get(&shop.at("/events")).await.unwrap();
    let mut read = 0;
    let mut events = answer.events();
    while let Some(event) = events.next().await.unwrap() {
        assert_eq!(event.data, "x");
        read += 1;
    }
    assert_eq!(read, MOST / UNIT, "the whole price is delivered, and nothing beyond it");
    let report = answer.payment().unwrap();
    assert_eq!((report.ended.as_deref(), report.is_cut()), (Some("exhausted"), true));
    shop.agrees(report, MOST).await;
}

#[tokio::test]
async fn who_hangs_up_pays_for_what_was_delivered_and_knows_it() {
    let (sender, answer) = pipe("text/event-stream");
    let shop = Shop::open(|paywall| {
        Router::new().route("/events", get(move || async move { answer() }).layer(events(&paywall)))
    })
    .await;
    let mut answer = shop.client.get(&shop.at("/events")).await.unwrap();
    for n in 0..3 {
        sender.send(format!("data: {n}\n\n")).unwrap();
        answer.events().next().await.unwrap().unwrap();
    }
    let report = answer.close().await.unwrap();
    let cost = report.amount.0;
    assert!((3 * UNIT..=4 * UNIT).contains(&cost), "{report:?}");
    shop.agrees(&report, cost).await;
}

#[tokio::test]
async fn an_answer_that_is_forgotten_is_counted_when_somebody_asks_the_ledger() {
    let (sender, answer) = pipe("text/event-stream");
    let shop = Shop::open(|paywall| {
        Router::new().route("/events", get(move || async move { answer() }).layer(events(&paywall)))
    })
    .await;
    let mut answer = shop.client.get(&shop.at("/events")).await.unwrap();
    sender.send("data: one\n\n".into()).unwrap();
    answer.events().next().await.unwrap().unwrap();
    let id = answer.payment().unwrap().id;
    drop(answer);
    assert_eq!((shop.spent(), shop.journal.open().unwrap().len()), ((0, MOST), 1));
    let deadline = Instant::now() + Duration::from_secs(30);
    while !shop.client.reconcile().await.unwrap().taken.contains(&id) {
        assert!(Instant::now() < deadline, "the seller never saw that nobody reads");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let cost = shop.paid().await;
    assert!((UNIT..=2 * UNIT).contains(&cost), "{cost}");
    assert_eq!(shop.spent(), (cost, 0));
}

#[tokio::test]
async fn a_stream_without_an_event_and_one_whose_handler_fails_cost_nothing() {
    let (sender, answer) = pipe("text/event-stream");
    let shop = Shop::open(|paywall| {
        Router::new()
            .route("/events", get(move || async move { answer() }).layer(events(&paywall)))
            .route("/fails", get(async || http::StatusCode::BAD_GATEWAY).layer(events(&paywall)))
    })
    .await;
    let mut answer = shop.client.get(&shop.at("/events")).await.unwrap();
    drop(sender);
    assert_eq!(answer.events().next().await.unwrap(), None);
    let report = answer.payment().unwrap().clone();
    assert_eq!((report.amount, report.open), (Amount::ZERO, false), "{report:?}");
    assert_eq!((shop.spent(), shop.paid().await), ((0, 0), 0));
    let failed = shop.client.get(&shop.at("/fails")).await.unwrap();
    assert_eq!(failed.status.as_u16(), 502);
    assert!(!failed.payment().unwrap().open);
    assert_eq!((shop.spent(), shop.paid().await), ((0, 0), 0));
}

#[tokio::test]
async fn a_budget_below_the_most_is_not_spent_on_a_stream() {
    let shop = Shop::open(|paywall| {
        let dear = paywall.up_to("0.6 XTS").per_event("0.001 XTS");
        Router::new()
            .route("/dear", get(async || "never").layer(dear))
            .route("/events", get(async || "data: one answer\n\n").layer(events(&paywall)))
    })
    .await;
    let error = shop.client.get(&shop.at("/dear")).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(_)), "{error}");
    assert_eq!((shop.spent(), shop.paid().await), ((0, 0), 0));
    // An answer that is no stream costs as much as one event, and is paid at once.
    let answer = shop.client.get(&shop.at("/events")).await.unwrap();
    let report = answer.payment().unwrap().clone();
    shop.agrees(&report, UNIT).await;
}
