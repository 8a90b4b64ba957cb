//! Metered answers on the embedded ledger: what flows over the wire, and what the books say.
#![cfg(all(feature = "server", feature = "facilitator"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[allow(dead_code, unreachable_pub, reason = "a part of it is used here")]
#[path = "../../testkit/src/meddler.rs"]
mod meddler;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use farthing::farthing_ledger::statement::{PaymentState, Statement};
use farthing::native::NativePay;
use farthing::protocol::digest::{BodyHash, request_digest};
use farthing::protocol::rail::{Facilitator, Pay, PaymentId, SignedPayment};
use farthing::protocol::v2::{PaymentPayload, SettlementResponse, VERSION};
use farthing::protocol::{Amount, Limits, SecretKey, header};
use farthing::server::{Captured, Meter};
use farthing::{Ledger, LocalLedger, Options, Paywall};
use futures_util::{StreamExt as _, stream};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use meddler::{Meddler, Meddling};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::ServiceExt as _;

const ORIGIN: &str = "https://shop.example";
const FUNDS: u128 = 1_000_000;

fn key(role: u8) -> SecretKey {
    SecretKey::from_seed([role; 32])
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// A ledger on which the payer has 1 XTS, whose clock can be put forward; and who pays.
struct World {
    ledger: LocalLedger,
    ahead: Arc<AtomicU64>,
    payer: NativePay,
    hits: Arc<AtomicUsize>,
}

impl World {
    async fn new() -> Self {
        let ahead = Arc::new(AtomicU64::new(0));
        let clock = ahead.clone();
        let options = Options::closed_loop(key(2).public(), Amount(1_000_000_000));
        let options = Options { clock: Arc::new(move || now() + clock.load(Ordering::SeqCst)), ..options };
        let ledger = LocalLedger::with(Ledger::memory(key(9), options).unwrap(), key(8)).await.unwrap();
        ledger.deposit(key(1).public(), "1 XTS").await.unwrap();
        let payer = NativePay::connect(ledger.facilitator(), None, key(1)).await.unwrap();
        Self { ledger, ahead, payer, hits: Arc::default() }
    }

    async fn paywall(&self, facilitator: Arc<dyn Facilitator>) -> Paywall {
        farthing::paywall(ORIGIN, key(2).public(), key(3), facilitator).await.unwrap()
    }

    async fn balance(&self) -> u128 {
        self.ledger.balance(key(1).public(), "XTS").await.unwrap().0
    }

    async fn state(&self, id: PaymentId) -> (PaymentState, Amount) {
        let payment = self.ledger.ledger().payment(id).await.unwrap().0.unwrap();
        (payment.state, payment.captured)
    }

    async fn balances(&self) {
        let report = self.ledger.ledger().check().await.unwrap();
        assert!(report.balanced(), "{:?}", report.faults);
    }

    /// A payment for `GET target` by `scheme`, as the header's value.
    async fn sign(&self, app: &Router, target: &str, scheme: &str) -> (SignedPayment, String) {
        static NONCE: AtomicU64 = AtomicU64::new(1);
        let request = Request::get(target).body(Body::empty()).unwrap();
        let unpaid = app.clone().oneshot(request).await.unwrap();
        assert_eq!(unpaid.status(), StatusCode::PAYMENT_REQUIRED);
        let terms = unpaid.headers()["payment-required"].as_bytes();
        let terms = header::decode_payment_required(terms, &Limits::default()).unwrap();
        let offer = terms.offers().find(|offer| offer.scheme == scheme).unwrap();
        let digest = request_digest("GET", &ORIGIN.parse().unwrap(), target, BodyHash::of(b""));
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&NONCE.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        let signed = self.payer.pay(&offer, &digest, now(), nonce).unwrap();
        let payment = PaymentPayload {
            x402_version: VERSION,
            resource: None,
            accepted: offer,
            payload: signed.payload.clone().into(),
            extensions: Default::default(),
        };
        (signed, header::encode(&payment).unwrap())
    }

    /// `count` events, and then silence or an end.
    fn ticks(&self, count: usize, stays_open: bool) -> axum::routing::MethodRouter {
        let hits = self.hits.clone();
        get(move || {
            hits.fetch_add(1, Ordering::SeqCst);
            let events = stream::iter(0..count).map(|n| Ok::<_, Infallible>(format!("data: {n}\n\n")));
            let rest =
                if stays_open { stream::pending().left_stream() } else { stream::empty().right_stream() };
            let body = Body::from_stream(events.chain(rest));
            async move { Response::builder().header("content-type", "text/event-stream").body(body).unwrap() }
        })
    }
}

async fn send(app: &Router, target: &str, payment: &str) -> Response {
    let request = Request::get(target).header("payment-signature", payment).body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

fn settlement(response: &Response) -> SettlementResponse {
    header::decode_settlement(response.headers()["payment-response"].as_bytes(), &Limits::default()).unwrap()
}

async fn data(body: &mut Body) -> Option<Bytes> {
    let frame = body.frame().await.transpose().unwrap()?;
    frame.into_data().ok()
}

async fn soon(mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to that");
}

#[tokio::test]
async fn a_metered_stream_ends_on_the_wire_with_its_settlement_which_is_the_ledgers() {
    let world = World::new().await;
    let paywall = world.paywall(world.ledger.facilitator()).await;
    let layer = paywall.up_to("0.01 XTS").per_event("0.001 XTS");
    let app = Router::new().route("/ticks", world.ticks(3, false).layer(layer)).merge(paywall.routes());
    let (signed, payment) = world.sign(&app, "/ticks", "upto").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut wire = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    tokio::spawn(axum::serve(listener, app.clone()).into_future());
    let request = format!(
        "GET /ticks HTTP/1.1\r\nhost: shop.example\r\nte: trailers\r\nconnection: close, te\r\n\
         payment-signature: {payment}\r\n\r\n"
    );
    wire.write_all(request.as_bytes()).await.unwrap();
    let mut got = String::new();
    wire.read_to_string(&mut got).await.unwrap();

    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    let member = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
    };
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(member(head, "trailer"), "PAYMENT-RESPONSE");
    let read = |value: String| header::decode_settlement(value.as_bytes(), &Limits::default()).unwrap();
    let first = read(member(head, "payment-response"));
    assert_eq!((first.amount, &first.extra["state"]), (Some(Amount(0)), &"authorized".into()));
    let (chunks, trailers) = body.split_once("\r\n0\r\n").unwrap();
    let last = read(member(trailers, "payment-response"));
    assert_eq!(
        (last.success, last.amount, &last.extra["state"]),
        (true, Some(Amount(3_000)), &"captured".into())
    );
    let (_, event) = chunks.split_once("event: payment-response\ndata: ").unwrap();
    let event: SettlementResponse = serde_json::from_str(event.lines().next().unwrap()).unwrap();
    assert_eq!(event.amount, last.amount);
    assert!(chunks.contains("data: 2\n\n"));

    let asked = app
        .clone()
        .oneshot(Request::get(first.extra["paymentUrl"].as_str().unwrap()).body(Body::empty()).unwrap());
    let said = asked.await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let statement: Statement = serde_json::from_slice(&said).unwrap();
    statement.verify(&world.ledger.ledger().id(), &signed.id).unwrap();
    assert_eq!((statement.state, statement.amount), (PaymentState::Captured, Amount(3_000)));
    assert_eq!(world.balance().await, FUNDS - 3_000);
    let again = send(&app, "/ticks", &payment).await;
    assert_eq!((again.status().as_u16(), settlement(&again).amount), (409, Some(Amount(3_000))));
    assert_eq!(world.hits.load(Ordering::SeqCst), 1);
    world.balances().await;
}

#[tokio::test]
async fn less_than_is_held_is_taken_by_either_scheme_and_only_one_can_be_refunded() {
    for scheme in ["upto", "auth-capture"] {
        let world = World::new().await;
        let paywall = world.paywall(world.ledger.facilitator()).await;
        let by_word = async || (Extension(Captured(Amount(400))), "used some");
        let by_meter = async |Extension(meter): Extension<Meter>| {
            meter.charge(Amount(600)).await.unwrap();
            "used more"
        };
        let app = Router::new()
            .route("/word", get(by_word).layer(paywall.up_to("0.01 XTS")))
            .route("/meter", get(by_meter).layer(paywall.up_to("0.01 XTS")));
        for (target, cost) in [("/word", 400), ("/meter", 600)] {
            let before = world.balance().await;
            let (signed, payment) = world.sign(&app, target, scheme).await;
            for _twice in 0..2 {
                let got = send(&app, target, &payment).await;
                assert_eq!((got.status().as_u16(), settlement(&got).amount), (200, Some(Amount(cost))));
            }
            assert_eq!(world.balance().await, before - cost);
            assert_eq!(world.state(signed.id).await, (PaymentState::Captured, Amount(cost)));
            let refundable = world.ledger.ledger().payment(signed.id).await.unwrap().0.unwrap();
            assert_eq!(refundable.terms.refund_deadline > 0, scheme == "auth-capture");
        }
        world.balances().await;
    }
}

/// B on the account, k sessions of at most M each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t24_no_more_sessions_are_admitted_than_the_balance_covers() {
    let world = World::new().await;
    let paywall = world.paywall(world.ledger.facilitator()).await;
    let layer = paywall.up_to("0.3 XTS").per_event("0.001 XTS");
    let app = Router::new().route("/ticks", world.ticks(5, true).layer(layer));
    let mut signed = Vec::new();
    for _ in 0..12 {
        signed.push(world.sign(&app, "/ticks", "upto").await.1);
    }
    let sent = signed.iter().map(|payment| {
        let (app, payment) = (app.clone(), payment.clone());
        tokio::spawn(async move { send(&app, "/ticks", &payment).await })
    });
    let got = futures_util::future::join_all(sent.collect::<Vec<_>>()).await;
    let (open, refused): (Vec<_>, Vec<_>) =
        got.into_iter().map(Result::unwrap).partition(|r| r.status() == 200);
    assert_eq!((open.len(), refused.len(), world.hits.load(Ordering::SeqCst)), (3, 9, 3));
    for response in &refused {
        assert_eq!(settlement(response).error_reason.as_deref(), Some("insufficient_funds"));
    }
    let mut read = 0;
    for response in open {
        let mut body = response.into_body();
        read += usize::from(data(&mut body).await.is_some());
    }
    soon(async || world.balance().await == FUNDS - 3_000).await;
    assert_eq!(read, 3);
    world.balances().await;
}

#[tokio::test]
async fn a_process_that_dies_in_a_stream_leaves_what_it_took_and_the_rest_goes_back() {
    for recovers in [false, true] {
        let world = World::new().await;
        let severed = Meddler::new(world.ledger.facilitator());
        let app = |paywall: Paywall| {
            let layer = paywall.up_to("0.1 XTS").per_event("0.001 XTS").capture_every(2);
            Router::new().route("/ticks", world.ticks(3, true).layer(layer))
        };
        let dying = app(world.paywall(severed.clone()).await);
        let (signed, payment) = world.sign(&dying, "/ticks", "upto").await;
        let mut body = send(&dying, "/ticks", &payment).await.into_body();
        for _ in 0..2 {
            data(&mut body).await.unwrap();
        }
        soon(async || world.state(signed.id).await == (PaymentState::Held, Amount(2_000))).await;
        // As for a process that is gone.
        for kind in ["capture", "void"] {
            severed.meddle(kind, Meddling::Lose);
        }
        data(&mut body).await.unwrap();
        drop(body);
        // Its lease covers the longest stream: nobody takes the hold from it while it might still flow.
        let living = app(world.paywall(world.ledger.facilitator()).await);
        assert_eq!(send(&living, "/ticks", &payment).await.status(), 409);
        assert_eq!(world.balance().await, FUNDS - 100_000);

        world.ahead.store(901, Ordering::SeqCst);
        if recovers {
            world.ledger.recover(&key(3)).await.unwrap();
            assert_eq!(world.state(signed.id).await, (PaymentState::Captured, Amount(2_000)));
        }
        assert_eq!(world.balance().await, FUNDS - 2_000, "{recovers}");
        let again = send(&living, "/ticks", &payment).await;
        assert_eq!((again.status().as_u16(), settlement(&again).amount), (409, Some(Amount(2_000))));
        assert_eq!(world.hits.load(Ordering::SeqCst), 1);
        world.balances().await;
    }
}
