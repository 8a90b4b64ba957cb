//! Answers that are paid for while they flow. Beside H and L, each test looks at what was captured when.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use axum::routing::get as route_get;
use farthing_protocol::v2::SettlementResponse;
use farthing_protocol::{Amount, Limits, header};
use farthing_server::PriceLayer;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::scripted::*;
use crate::shopping::*;

/// What alice has to begin with.
pub const FUNDS: u128 = 1_000_000;

/// A world whose clock is the runtime's.
pub fn world() -> World {
    let began = tokio::time::Instant::now();
    World::with(rail("upto"), |builder| builder.clock(move || NOW + began.elapsed().as_secs()))
}

/// What a handler sends.
#[derive(Clone, Debug)]
pub enum Piece {
    Data(String),
    Breaks,
    Panics,
}

pub fn pieces(texts: &[&str]) -> Vec<Piece> {
    texts.iter().map(|text| Piece::Data((*text).to_owned())).collect()
}

/// An answer that is a stream of these pieces, and then open, or not.
pub fn streamed(kind: &str, pieces: Vec<Piece>, stays_open: bool) -> Response {
    let sent = stream::iter(pieces).map(|piece| match piece {
        Piece::Data(text) => Ok(Bytes::from(text)),
        Piece::Breaks => Err("the handler broke off"),
        Piece::Panics => panic!("the handler panics, as it should"),
    });
    let rest = if stays_open { stream::pending().left_stream() } else { stream::empty().right_stream() };
    Response::builder().header("content-type", kind).body(Body::from_stream(sent.chain(rest))).unwrap()
}

pub const EVENTS: &str = "text/event-stream";

pub fn shop(
    world: &World,
    layer: PriceLayer,
    kind: &'static str,
    pieces: Vec<Piece>,
    stays_open: bool,
) -> Router {
    let hits = world.hits.clone();
    let handler = move || {
        hits.hit();
        let answer = streamed(kind, pieces.clone(), stays_open);
        async move { answer }
    };
    Router::new().route("/a", route_get(handler).layer(layer)).merge(world.paywall.routes())
}

/// An answer, read piece by piece.
pub struct Reading {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
    pub text: String,
    pub trailers: HeaderMap,
}

impl Reading {
    pub async fn start(app: &Router, signed: &Signed) -> Self {
        let response = app.clone().oneshot(signed.request().build()).await.unwrap();
        let (parts, body) = response.into_parts();
        let (text, trailers) = (String::new(), HeaderMap::new());
        Self { status: parts.status, headers: parts.headers, body, text, trailers }
    }
    /// Whether there was one more piece.
    pub async fn next(&mut self) -> Result<bool, axum::Error> {
        let Some(frame) = self.body.frame().await.transpose()? else { return Ok(false) };
        match frame.into_data() {
            Ok(data) => self.text.push_str(std::str::from_utf8(&data).unwrap()),
            Err(frame) => self.trailers = frame.into_trailers().unwrap(),
        }
        Ok(true)
    }
    /// Reads until there is this much of it.
    pub async fn until(&mut self, text: &str) {
        while self.text != text {
            assert!(text.starts_with(&self.text), "{}", self.text);
            assert!(self.next().await.unwrap(), "{}", self.text);
        }
    }
    pub async fn read_all(&mut self) {
        while self.next().await.unwrap() {}
    }
    pub fn first(&self) -> SettlementResponse {
        settlement(&self.headers)
    }
    /// The final settlement: of the trailer, and of the last event where there is one.
    pub fn last(&self) -> SettlementResponse {
        let said = settlement(&self.trailers);
        if self.headers["content-type"] == EVENTS {
            let (_, event) = self.text.split_once("event: payment-response\ndata: ").unwrap();
            let event: SettlementResponse =
                serde_json::from_str(event.strip_suffix("\n\n").unwrap()).unwrap();
            assert_eq!(serde_json::to_value(&event).unwrap(), serde_json::to_value(&said).unwrap());
        }
        said
    }
    /// What was delivered of the handler's.
    pub fn delivered(&self) -> &str {
        self.text.split_once("event: payment-response").map_or(&*self.text, |(text, _)| text)
    }
}

fn settlement(headers: &HeaderMap) -> SettlementResponse {
    header::decode_settlement(headers["payment-response"].as_bytes(), &Limits::default()).unwrap()
}

pub fn said(settlement: &SettlementResponse) -> (bool, u128, &str, &str) {
    let text = |name: &str| settlement.extra.get(name).and_then(|value| value.as_str()).unwrap_or("-");
    (settlement.success, settlement.amount.unwrap().0, text("state"), text("ended"))
}

/// Lets everything happen that happens without waiting.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_events_says_what_it_cost_at_its_end_and_its_payment_opens_it_once() {
    let world = world();
    let layer = world.paywall.up_to("$0.01").per_event("$0.001");
    let sent = pieces(&["data: one\n\n", ": still here\n\nda", "ta: two\n\ndata: three", "\n\n"]);
    let app = shop(&world, layer, EVENTS, sent, false);
    let signed = get("/a").pay(&app).await;
    let mut got = Reading::start(&app, &signed).await;
    assert_eq!((got.status.as_u16(), got.headers["trailer"].as_bytes()), (200, &b"PAYMENT-RESPONSE"[..]));
    let first = got.first();
    assert_eq!(said(&first), (true, 0, "authorized", "-"));
    assert_eq!(first.extra["maxAmount"], "10000");
    assert_eq!(first.extra["paymentUrl"], format!("/payments/{}", signed.id()));
    assert_eq!(first.transaction, signed.id().to_string());
    got.read_all().await;
    assert_eq!(got.delivered(), "data: one\n\n: still here\n\ndata: two\n\ndata: three\n\n");
    assert_eq!(said(&got.last()), (true, 3_000, "captured", "complete"));
    assert_eq!(world.ledger.taken(), [(3_000, true)]);
    assert_eq!(world.ledger.balance("alice"), FUNDS - 3_000);

    let again = signed.send(&app).await;
    assert_eq!(again.code(), (409, "answer-not-kept".into(), "none".into()));
    assert_eq!((again.settlement().amount, world.hits.get()), (Some(Amount(3_000)), 1));
    let asked = get(&format!("/payments/{}", signed.id())).send(&app).await;
    assert_eq!((asked.status.as_u16(), asked.text()), (200, r#"{"state":"captured"}"#));
    assert_eq!(get("/payments/nothing").send(&app).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn events_are_delivered_up_to_the_maximum_exactly_however_they_come() {
    let whole = "data: 1\n\ndata: 2\r\n\r\ndata: 3\r\rdata: 4\n\ndata: 5\n\n";
    for size in [1, 2, 3, 7, 11, 1_000] {
        for (max, ends) in [("$0.003", 3), ("$0.0039", 3), ("$0.005", 5)] {
            let world = world();
            let layer = world.paywall.up_to(max).per_event("$0.001");
            let sent = whole.as_bytes().chunks(size).map(|c| String::from_utf8(c.to_vec()).unwrap());
            let app = shop(&world, layer, EVENTS, sent.map(Piece::Data).collect(), true);
            let signed = get("/a").pay(&app).await;
            let mut got = Reading::start(&app, &signed).await;
            got.read_all().await;
            let count = got.delivered().matches("data: ").count();
            assert_eq!(count, ends, "{size} {max} {:?}", got.delivered());
            let cost = ends as u128 * 1_000;
            assert_eq!(said(&got.last()), (true, cost, "captured", "exhausted"));
            assert_eq!(world.ledger.balance("alice"), FUNDS - cost);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_are_delivered_up_to_the_maximum_exactly_however_they_come() {
    let whole = "0123456789".repeat(5);
    for size in [1, 3, 10, 13, 50] {
        for (max, length, cost) in
            [("$0.003", 30, 3_000), ("$0.0039", 30, 3_000), ("$0.005", 50, 5_000), ("$0.5", 50, 5_000)]
        {
            let world = world();
            let layer = world.paywall.up_to(max).per_bytes(10, "$0.001").capture_every(1);
            let sent = whole.as_bytes().chunks(size).map(|c| String::from_utf8(c.to_vec()).unwrap());
            let app = shop(&world, layer, "text/plain", sent.map(Piece::Data).collect(), false);
            let mut got = Reading::start(&app, &get("/a").pay(&app).await).await;
            assert!(!got.headers.contains_key("content-length"));
            got.read_all().await;
            assert_eq!(got.text, whole[..length], "{size} {max}");
            let ended = if length == 50 { "complete" } else { "exhausted" };
            assert_eq!(said(&got.last()), (true, cost, "captured", ended));
            assert_eq!(world.ledger.balance("alice"), FUNDS - cost);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_begun_of_a_block_is_paid_for_and_an_answer_of_known_length_is_metered_too() {
    let world = world();
    let layer = world.paywall.up_to("$0.01").per_bytes(10, "$0.001");
    let app = Router::new().route("/a", route_get(async || "twelve bytes").layer(layer));
    let mut got = Reading::start(&app, &get("/a").pay(&app).await).await;
    got.read_all().await;
    assert_eq!(
        (got.text.as_str(), said(&got.last())),
        ("twelve bytes", (true, 2_000, "captured", "complete"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_captured_on_its_way_and_waits_when_its_captures_do() {
    let world = world();
    let layer = world.paywall.up_to("$1").per_event("$0.001").capture_every(2);
    let events: Vec<String> = (0..12).map(|n| format!("data: {n}\n\n")).collect();
    let sent = events.iter().cloned().map(Piece::Data).collect();
    let app = shop(&world, layer, EVENTS, sent, true);
    let signed = get("/a").pay(&app).await;
    let mut got = Reading::start(&app, &signed).await;
    let closed = world.ledger.gate.write().await;
    let ahead = tokio::time::timeout(Duration::from_secs(2), got.until(&events.concat())).await;
    assert!(ahead.is_err());
    // Twice the interval ahead of what is captured.
    assert_eq!(got.text, events[..4].concat());
    drop(closed);
    got.until(&events.concat()).await;
    let in_parts = world.ledger.taken();
    assert!(in_parts.len() >= 2 && in_parts.iter().all(|(_, last)| !last), "{in_parts:?}");
    assert!(in_parts.is_sorted());
    assert_eq!(world.hits.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn little_is_captured_after_five_seconds() {
    let world = world();
    let layer = world.paywall.up_to("$0.1").per_event("$0.001");
    let app = shop(&world, layer, EVENTS, pieces(&["data: 1\n\n"]), true);
    let mut got = Reading::start(&app, &get("/a").pay(&app).await).await;
    got.until("data: 1\n\n").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(world.ledger.taken(), []);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.ledger.taken(), [(1_000, false)]);
    // What is left stays held.
    assert_eq!(world.ledger.balance("alice"), FUNDS - 100_000);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.ledger.taken(), [(1_000, false)]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_over_when_its_time_is_and_paid_as_far_as_it_came() {
    let world = world();
    let layer = world.paywall.up_to("$0.1").per_event("$0.001").longest_stream(Duration::from_secs(30));
    let app = shop(&world, layer, EVENTS, pieces(&["data: 1\n\n", "data: 2\n"]), true);
    let began = tokio::time::Instant::now();
    let mut got = Reading::start(&app, &get("/a").pay(&app).await).await;
    got.until("data: 1\n\ndata: 2\n").await;
    while got.next().await.unwrap() {}
    assert_eq!(began.elapsed().as_secs(), 30);
    // The second event was never whole: it is neither paid for nor made whole by the last one.
    assert_eq!(got.text, "data: 1\n\ndata: 2\n");
    assert_eq!(said(&settlement(&got.trailers)), (true, 1_000, "captured", "deadline"));
    assert_eq!(world.ledger.balance("alice"), FUNDS - 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_pays_for_what_it_got() {
    for (read, cost, state) in [("", 0, "voided"), ("data: 1\n\n", 1_000, "captured")] {
        let world = world();
        let layer = world.paywall.up_to("$0.1").per_event("$0.001");
        let app = shop(&world, layer, EVENTS, pieces(&["data: 1\n\n", "data: 2\n"]), true);
        let signed = get("/a").pay(&app).await;
        let mut got = Reading::start(&app, &signed).await;
        got.until(read).await;
        drop(got);
        settle().await;
        assert_eq!((world.ledger.balance("alice"), world.ledger.state(&signed.id())), (FUNDS - cost, state));
        let again = signed.send(&app).await;
        let expected = if cost > 0 { (409, "answer-not-kept") } else { (402, "payment-voided") };
        assert_eq!((again.code().0, &*again.code().1, world.hits.get()), (expected.0, expected.1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_before_its_stream_begins_pays_nothing() {
    let world = world();
    let hits = world.hits.clone();
    let handler = move || async move {
        hits.hit();
        tokio::time::sleep(Duration::from_secs(2)).await;
        streamed(EVENTS, pieces(&["data: 1\n\n"]), true)
    };
    let layer = world.paywall.up_to("$0.1").per_event("$0.001");
    let app = Router::new().route("/a", route_get(handler).layer(layer));
    let signed = get("/a").pay(&app).await;
    let early = tokio::time::timeout(Duration::from_secs(1), Reading::start(&app, &signed)).await;
    assert!(early.is_err());
    assert_eq!(world.ledger.balance("alice"), FUNDS - 100_000);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((world.ledger.state(&signed.id()), world.ledger.balance("alice")), ("voided", FUNDS));
    assert_eq!(world.hits.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_breaks_off_is_paid_for_what_it_delivered_and_its_reader_learns_that_it_broke() {
    for (bad, delivered) in [(Piece::Breaks, 0), (Piece::Panics, 0), (Piece::Breaks, 2), (Piece::Panics, 2)] {
        let world = world();
        let layer = world.paywall.up_to("$0.1").per_event("$0.001");
        let mut sent = pieces(&["data: 1\n\n", "data: 2\n\n"][..delivered]);
        sent.extend([bad.clone(), Piece::Data("data: 3\n\n".into())]);
        let app = shop(&world, layer, EVENTS, sent, false);
        let signed = get("/a").pay(&app).await;
        let mut got = Reading::start(&app, &signed).await;
        while let Ok(more) = got.next().await {
            assert!(more, "{bad:?} looks like an end");
        }
        assert_eq!(got.text.matches("data").count(), delivered);
        settle().await;
        let cost = delivered as u128 * 1_000;
        assert_eq!(world.ledger.balance("alice"), FUNDS - cost, "{bad:?}");
        assert_eq!(world.ledger.state(&signed.id()), if cost > 0 { "captured" } else { "voided" });
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_capture_ends_the_stream_and_what_was_captured_before_stands() {
    for (good, cost) in [(0, 0), (1, 2_000)] {
        let world = world();
        let layer = world.paywall.up_to("$1").per_event("$0.001").capture_every(2);
        let sent = vec![Piece::Data("data: x\n\n".into()); 40];
        let app = shop(&world, layer, EVENTS, sent, true);
        let signed = get("/a").pay(&app).await;
        let mut got = Reading::start(&app, &signed).await;
        if good == 1 {
            got.until("data: x\n\ndata: x\n\n").await;
            settle().await;
        }
        world.ledger.fail("capture", Fault::Refused("capture_expired"));
        got.read_all().await;
        let last = got.last();
        assert_eq!(last.amount, Some(Amount(cost)));
        match cost {
            0 => assert_eq!((last.success, last.error_reason.as_deref()), (false, Some("payment_voided"))),
            _ => assert_eq!(said(&last), (true, cost, "captured", "capture-refused")),
        }
        // Never further ahead of what was captured than twice the interval.
        assert!(got.delivered().matches("data").count() as u128 * 1_000 <= cost + 4_000);
        assert_eq!(world.ledger.balance("alice"), FUNDS - cost);
        assert_eq!(world.ledger.calls().last().map(String::as_str), Some("void"));
        assert_eq!(world.hits.get(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_capture_of_unknown_outcome_is_asked_for_again_with_the_same_amount() {
    for fault in [Fault::Lost, Fault::Silent, Fault::Foreign] {
        let world = world();
        let layer = world.paywall.up_to("$1").per_event("$0.001").capture_every(2);
        let app = shop(&world, layer, EVENTS, pieces(&["data: x\n\ndata: x\n\n", "data: x\n\n"]), true);
        let mut got = Reading::start(&app, &get("/a").pay(&app).await).await;
        world.ledger.fail("capture", fault);
        got.until("data: x\n\ndata: x\n\n").await;
        settle().await;
        got.until("data: x\n\ndata: x\n\ndata: x\n\n").await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let taken = world.ledger.taken();
        let repeated = vec![(2_000, false); if fault == Fault::Lost { 1 } else { 2 }];
        assert_eq!(taken[..repeated.len()], repeated, "{fault:?}");
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(world.ledger.taken().last(), Some(&(3_000, false)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_last_capture_of_unknown_outcome_is_said_to_be_pending_and_repeated_behind_the_clients_back() {
    for fault in [Fault::Lost, Fault::Silent] {
        let world = world();
        let layer = world.paywall.up_to("$1").per_event("$0.001");
        let app = shop(&world, layer, EVENTS, pieces(&["data: x\n\n"]), false);
        let signed = get("/a").pay(&app).await;
        world.ledger.fail("capture", fault);
        let mut got = Reading::start(&app, &signed).await;
        got.read_all().await;
        let last = got.last();
        assert_eq!((last.success, last.error_reason.as_deref()), (false, Some("settlement_pending")));
        assert_eq!(last.transaction, signed.id().to_string());
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(
            (world.ledger.state(&signed.id()), world.ledger.balance("alice")),
            ("captured", FUNDS - 1_000)
        );
        let again = signed.send(&app).await;
        assert_eq!(
            (again.code().1.as_str(), again.settlement().amount),
            ("answer-not-kept", Some(Amount(1_000)))
        );
        assert_eq!(world.hits.get(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_payment_whose_stream_runs_is_in_progress_and_opens_no_second_one() {
    let world = world();
    let layer = world.paywall.up_to("$1").per_event("$0.001");
    let app = shop(&world, layer, EVENTS, pieces(&["data: x\n\n"]), true);
    let signed = get("/a").pay(&app).await;
    let mut got = Reading::start(&app, &signed).await;
    got.until("data: x\n\n").await;
    assert_eq!(signed.send(&app).await.code(), (409, "payment-in-progress".into(), "same".into()));
    drop(got);
    settle().await;
    assert_eq!(signed.send(&app).await.code().1, "answer-not-kept");
    assert_eq!(world.hits.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_ends_its_streams_in_order_and_begins_none() {
    let world = world();
    let layer = world.paywall.up_to("$0.1").per_event("$0.001");
    let app = shop(&world, layer, EVENTS, pieces(&["data: 1\n\n", "data: 2\n\n"]), true);
    let (first, second) = (get("/a").pay(&app).await, get("/a").pay(&app).await);
    let mut got = Reading::start(&app, &first).await;
    got.until("data: 1\n\ndata: 2\n\n").await;
    let ends = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.paywall.end_streams();
    };
    tokio::join!(got.read_all(), ends);
    assert_eq!(said(&got.last()), (true, 2_000, "captured", "server-stopping"));
    let mut late = Reading::start(&app, &second).await;
    late.read_all().await;
    assert_eq!((late.delivered(), late.last().error_reason.as_deref()), ("", Some("payment_voided")));
    assert_eq!(world.ledger.balance("alice"), FUNDS - 2_000);
}

/// B on the account, k sessions of at most M each.
#[tokio::test(start_paused = true)]
async fn t24_no_more_sessions_run_than_the_balance_covers() {
    let world = world();
    let layer = world.paywall.up_to("$0.3").per_event("$0.001");
    let sent = vec![Piece::Data("data: x\n\n".into()); 10];
    let app = shop(&world, layer, EVENTS, sent, true);
    let mut sessions = Vec::new();
    for _ in 0..10 {
        sessions.push(get("/a").pay(&app).await);
    }
    let opened = sessions.iter().map(|signed| Reading::start(&app, signed));
    let opened = futures_util::future::join_all(opened).await;
    let (open, refused): (Vec<_>, Vec<_>) = opened.into_iter().partition(|got| got.status == 200);
    assert_eq!((open.len() as u128, world.hits.get()), (FUNDS / 300_000, 3));
    for mut got in refused {
        got.read_all().await;
        assert_eq!(
            (got.status.as_u16(), got.first().error_reason.as_deref()),
            (402, Some("insufficient_funds"))
        );
    }
    drop(open);
    settle().await;
    assert_eq!(world.ledger.balance("alice"), FUNDS);
    let mut got = Reading::start(&app, &get("/a").pay(&app).await).await;
    got.until(&"data: x\n\n".repeat(10)).await;
    assert_eq!(got.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_process_died_keeps_what_it_took_and_never_begins_again() {
    for (read, code, cost) in [(2, "answer-not-kept", 2_000), (0, "payment-voided", 0)] {
        let world = world();
        let layer = world.paywall.up_to("$1").per_event("$0.001").capture_every(2).repeatable(true);
        let sent = vec![Piece::Data("data: x\n\n".into()); 3];
        let app = shop(&world, layer, EVENTS, sent, true);
        let signed = get("/a").pay(&app).await;
        let mut got = Reading::start(&app, &signed).await;
        got.until(&"data: x\n\n".repeat(read)).await;
        settle().await;
        got.until(&"data: x\n\n".repeat(read + read / 2)).await;
        // Another process has it, whose lease lapses; this one is as good as dead.
        world.ledger.seize(0);
        drop(got);
        settle().await;
        let again = signed.send(&app).await;
        assert_eq!(again.code().1, code);
        assert_eq!(again.settlement().amount, Some(Amount(cost)));
        assert_eq!((world.ledger.balance("alice"), world.hits.get()), (FUNDS - cost, 1));
    }
}
