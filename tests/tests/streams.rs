//! Paid answers that are read while they are still being written: streams of events, and long ones.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use axum::routing::get;
use farthing::client::{Budget, Client, ClientBuilder, ClientError, ServerEvent, Unsigned};
use farthing::native::NativePay;
use farthing_testkit::hostile::{CountingWallet, Hostile, Pricing, asks};
use farthing_testkit::{World, key};
use futures_util::{StreamExt as _, stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The body of one answer, in the test's hand.
type Pipe = (UnboundedSender<&'static str>, Arc<Mutex<Option<UnboundedReceiver<&'static str>>>>);

fn pipe() -> Pipe {
    let (sender, receiver) = unbounded_channel();
    (sender, Arc::new(Mutex::new(Some(receiver))))
}

/// What comes out of the pipe, as it comes.
fn flowing(kind: &str, receiver: UnboundedReceiver<&'static str>) -> Response {
    let pieces = stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Bytes::from(piece)), receiver))
    });
    Response::builder().header(CONTENT_TYPE, kind).body(Body::from_stream(pieces)).unwrap()
}

async fn wallet(world: &World) -> Arc<CountingWallet> {
    CountingWallet::new(NativePay::connect(world.ledger.facilitator(), None, key(1)).await.unwrap())
}

fn agent(wallet: &Arc<CountingWallet>) -> ClientBuilder {
    Client::builder().allow_any_origin().rail(wallet.clone()).budget(Budget::new("1 XTS").unwrap())
}

fn event(data: &str) -> Option<ServerEvent> {
    Some(ServerEvent { event: "message".into(), data: data.into(), id: String::new() })
}

#[tokio::test]
async fn a_paid_stream_of_events_is_read_one_by_one_while_its_handler_still_sends() {
    let (sender, receiver) = pipe();
    let world = World::start(move |paywall, hits| {
        let handler = move || async move {
            hits.hit("events");
            flowing("text/event-stream; charset=utf-8", receiver.lock().unwrap().take().unwrap())
        };
        Router::new().route("/events", get(handler).layer(paywall.price("0.01 XTS")))
    })
    .await;
    let wallet = wallet(&world).await;
    // Slower than one exchange may be, were it one that has an end.
    let client = agent(&wallet).timeout(Duration::from_millis(500)).build().unwrap();
    let mut answer = client.get(&format!("{}/events", world.origin)).await.unwrap();
    assert!(answer.is_event_stream());
    let report = answer.payment().unwrap().clone();
    assert_eq!(report.cost(), "0.01 XTS");
    // Nobody can sign for what is not written yet, and nobody is blamed for it.
    assert_eq!((&report.flags[..], report.unsigned), (&[][..], Some(Unsigned::Events)));
    assert_eq!((wallet.signed(), world.hits.all(), world.captures().await), (1, 1, 1));
    let mut events = answer.events();
    for data in ["one", "two", "three"] {
        // The next is not sent before the last was received.
        let early = tokio::time::timeout(Duration::from_millis(300), events.next()).await;
        assert!(early.is_err(), "{early:?}");
        let sent = match data {
            "one" => "data: one\n\n",
            "two" => "data: two\n\n",
            _ => "data: three\n\n",
        };
        sender.send(sent).unwrap();
        assert_eq!(events.next().await.unwrap(), event(data));
    }
    drop(sender);
    assert_eq!(events.next().await.unwrap(), None);
    assert_eq!((wallet.signed(), world.hits.all(), world.captures().await), (1, 1, 1));
    assert_eq!(world.balance().await, 100_000_000 - 10_000);
}

#[tokio::test]
async fn a_stream_that_falls_silent_breaks_off_and_one_that_speaks_does_not() {
    let world = World::start(|_, _| Router::new()).await;
    let (pricing, wallet) = (Pricing::of(&world).await, wallet(&world).await);
    let (sender, receiver) = pipe();
    let server = Hostile::start(move |origin, seen| match seen.payment() {
        None => asks(&[pricing.offer(origin, seen, "0.01 XTS")]),
        Some(_) => flowing("text/event-stream", receiver.lock().unwrap().take().unwrap()),
    })
    .await;
    let idle = Duration::from_millis(400);
    let client = agent(&wallet).timeout(idle).idle_timeout(idle).build().unwrap();
    let mut answer = client.get(&server.at("/events")).await.unwrap();
    for _ in 0..8 {
        sender.send("data: x\n\n").unwrap();
        assert_eq!(answer.events().next().await.unwrap(), event("x"));
        tokio::time::sleep(idle / 4).await;
    }
    let error = answer.chunk().await.unwrap_err();
    assert_eq!(error, ClientError::Broken { why: "timed out".into() });
    assert_eq!((wallet.signed(), server.payments().len()), (1, 1));
}

#[tokio::test]
async fn an_answer_that_says_it_is_long_is_handed_over_before_it_is_there() {
    let world = World::start(|_, _| Router::new()).await;
    let (pricing, wallet) = (Pricing::of(&world).await, wallet(&world).await);
    let (sender, receiver) = pipe();
    let server = Hostile::start(move |origin, seen| match seen.payment() {
        None => asks(&[pricing.offer(origin, seen, "0.01 XTS")]),
        Some(_) => {
            let mut answer = flowing("text/plain", receiver.lock().unwrap().take().unwrap());
            answer.headers_mut().insert(CONTENT_LENGTH, 6.into());
            answer
        }
    })
    .await;
    let client = agent(&wallet).receipt_body_bytes(5).build().unwrap();
    let answer = client.get(&server.at("/long")).await.unwrap();
    let mut pieces = answer.into_stream();
    for half in ["one", "two"] {
        sender.send(half).unwrap();
        assert_eq!(pieces.next().await.unwrap().unwrap(), half);
    }
    drop(sender);
    assert!(pieces.next().await.is_none());
    assert_eq!((wallet.signed(), server.payments().len()), (1, 1));
}

#[tokio::test]
async fn a_refusal_is_read_whatever_it_calls_itself() {
    let world = World::start(|_, _| Router::new()).await;
    let (pricing, wallet) = (Pricing::of(&world).await, wallet(&world).await);
    let problem = r#"{"code": "no-match", "title": "No", "retry": "none"}"#;
    let server = Hostile::start(move |origin, seen| match seen.payment() {
        None => asks(&[pricing.offer(origin, seen, "0.01 XTS")]),
        Some(_) => {
            let body = Response::builder().status(409).header(CONTENT_TYPE, "text/event-stream");
            body.body(Body::from(problem)).unwrap()
        }
    })
    .await;
    let client = agent(&wallet).build().unwrap();
    let error = client.get(&server.at("/events")).await.unwrap_err();
    let ClientError::PaymentRefused(refused) = &error else { panic!("{error}") };
    assert_eq!((refused.reason.as_deref(), wallet.signed()), (Some("no-match"), 1));
}
