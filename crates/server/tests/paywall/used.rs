//! Prices up to a maximum, where the handler says what it used.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use axum::routing::get as route_get;
use axum::{Extension, Router};
use farthing_protocol::Amount;
use farthing_server::{Captured, ConfigError, Meter, Paywall};
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use tokio::sync::Mutex;

use crate::metered::{EVENTS, FUNDS, Piece, Reading, pieces, said, settle, streamed, world};
use crate::shopping::*;

#[tokio::test]
async fn a_handler_says_what_it_used_and_its_answer_is_kept() {
    for (scheme, used, status, cost) in [
        ("upto", Some(400), 200, 400),
        ("upto", Some(10_000), 200, 10_000),
        ("upto", Some(0), 200, 0),
        ("upto", None, 200, 0),
        ("upto", Some(10_001), 500, 0),
        ("auth-capture", Some(400), 200, 400),
        ("auth-capture", None, 200, 0),
    ] {
        let world = World::with(rail(scheme), |builder| builder);
        let hits = world.hits.clone();
        let handler = move || async move {
            hits.hit();
            let mut response = "the answer".into_response();
            if let Some(used) = used {
                response.extensions_mut().insert(Captured(Amount(used)));
            }
            response
        };
        let app = Router::new().route("/a", route_get(handler).layer(world.paywall.up_to("$0.01")));
        let signed = get("/a").pay(&app).await;
        for _twice in 0..2 {
            let got = signed.send(&app).await;
            assert_eq!(
                got.status,
                if status == 500 { got.status.as_u16() } else { 200 },
                "{scheme} {used:?}"
            );
            if status == 200 {
                let settlement = got.settlement();
                assert_eq!((got.text(), settlement.amount), ("the answer", Some(Amount(cost))));
                assert_eq!((settlement.success, &settlement.extra["state"]), (true, &"captured".into()));
            }
        }
        assert_eq!((world.ledger.balance("alice"), world.hits.get()), (FUNDS - cost, 1));
    }
}

#[tokio::test]
async fn what_a_handler_charges_counts_when_it_answers_and_never_passes_the_maximum() {
    for (fails, cost) in [(false, 9_000), (true, 0)] {
        let world = World::with(rail("upto"), |builder| builder);
        let handler = move |Extension(meter): Extension<Meter>| async move {
            assert_eq!((meter.left(), meter.units_left()), (Amount(10_000), 5));
            meter.charge(Amount(1_000)).await.unwrap();
            meter.charge(4).await.unwrap();
            let error = meter.charge(1).await.unwrap_err();
            assert_eq!((error.left, meter.used()), (Amount(1_000), Amount(9_000)));
            assert!(meter.charge(Amount(u128::MAX)).await.is_err());
            if fails { StatusCode::BAD_GATEWAY } else { StatusCode::OK }
        };
        let layer = world.paywall.up_to("$0.01").per_unit("$0.002");
        let app = Router::new().route("/a", route_get(handler).layer(layer));
        let got = get("/a").pay(&app).await.send(&app).await;
        assert_eq!(got.status, if fails { 502 } else { 200 });
        assert_eq!(world.ledger.balance("alice"), FUNDS - cost);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_charges_for_its_stream_as_it_goes_and_stops_when_it_cannot() {
    let world = world();
    let kept = Arc::new(Mutex::new(None));
    let keep = kept.clone();
    let handler = async move |Extension(meter): Extension<Meter>| {
        *keep.lock().await = Some(meter.clone());
        let tokens = stream::unfold((meter, 0), |(meter, n)| async move {
            meter.charge(1).await.ok()?;
            Some((Ok::<_, std::convert::Infallible>(format!("token {n} ")), (meter, n + 1)))
        });
        Response::new(axum::body::Body::from_stream(tokens.map(|piece| piece)))
    };
    let layer = world.paywall.up_to("$0.01").per_unit("$0.0005").capture_every(4);
    let app = Router::new().route("/a", route_get(handler).layer(layer));
    let mut got = Reading::start(&app, &get("/a").pay(&app).await).await;
    got.read_all().await;
    assert_eq!(got.text.matches("token").count(), 20);
    got.headers.insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(said(&got.last()), (true, 10_000, "captured", "complete"));
    assert!(world.ledger.taken().len() >= 3);
    let meter = kept.lock().await.take().unwrap();
    assert_eq!((meter.left(), meter.charge(0).await.is_err()), (Amount(0), true));
}

#[tokio::test]
async fn an_answer_that_is_no_stream_costs_one_event() {
    let world = World::with(rail("upto"), |builder| builder);
    let layer = world.paywall.up_to("$0.01").per_event("$0.001");
    let app = Router::new().route("/a", route_get(async || "no events here").layer(layer));
    let signed = get("/a").pay(&app).await;
    for _twice in 0..2 {
        let got = signed.send(&app).await;
        assert_eq!((got.text(), got.settlement().amount), ("no events here", Some(Amount(1_000))));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_and_a_refusal_of_a_metered_route_cost_nothing() {
    let world = world();
    let handler = async || (StatusCode::NOT_FOUND, streamed(EVENTS, pieces(&["data: x\n\n"]), false));
    let layer = world.paywall.up_to("$0.01").per_event("$0.001");
    let app = Router::new().route("/a", route_get(handler).layer(layer));
    let got = get("/a").pay(&app).await.send(&app).await;
    assert_eq!((got.status.as_u16(), &*got.reason()), (404, "payment_voided"));
    settle().await;
    assert_eq!((world.ledger.balance("alice"), world.ledger.captures()), (FUNDS, 0));
    let _: Piece = Piece::Breaks;
}

#[tokio::test]
async fn events_that_cannot_be_told_apart_are_not_given_away() {
    for (coding, status, cost) in [("gzip", 500, 0), ("identity", 200, 1_000)] {
        let world = World::with(rail("upto"), |builder| builder);
        let handler = async move |asked: http::HeaderMap| {
            assert!(!asked.contains_key("accept-encoding"));
            let mut response = streamed(EVENTS, pieces(&["data: x\n\n"]), false);
            response.headers_mut().insert("content-encoding", coding.parse().unwrap());
            response
        };
        let layer = world.paywall.up_to("$0.01").per_event("$0.001");
        let app = Router::new().route("/a", route_get(handler).layer(layer));
        let ask = get("/a").with("accept-encoding", "gzip");
        let got = ask.pay(&app).await.send(&app).await;
        assert_eq!(got.status, status);
        settle().await;
        assert_eq!(world.ledger.balance("alice"), FUNDS - cost);
    }
}

#[tokio::test]
async fn head_delivers_nothing_of_a_metered_answer_and_costs_nothing() {
    let world = World::with(rail("upto"), |builder| builder);
    let maximum = || world.paywall.up_to("$0.01");
    for layer in [maximum().per_event("$0.001"), maximum().per_bytes(1, "$0.001"), maximum()] {
        let handler = async || streamed(EVENTS, pieces(&["data: x\n\n"]), true);
        let app = Router::new().route("/a", route_get(handler).layer(layer));
        let got = Asking { method: http::Method::HEAD, ..get("/a") }.pay(&app).await.send(&app).await;
        assert_eq!((got.status.as_u16(), got.settlement().amount), (200, Some(Amount(0))));
        assert_eq!(world.ledger.balance("alice"), FUNDS);
    }
}

fn schemes(got: &Got) -> Vec<String> {
    got.terms().offers().map(|offer| offer.scheme.clone()).collect()
}

#[tokio::test]
async fn a_maximum_is_offered_by_what_takes_less_and_a_fixed_price_by_what_is_fixed() {
    let world = World::with(rail("auth-capture"), |builder| {
        builder.rail(Arc::new(rail("exact"))).rail(Arc::new(rail("upto")))
    });
    let ok = async || "ok";
    let app = Router::new()
        .route("/fixed", route_get(ok).layer(world.paywall.price("$0.01")))
        .route("/used", route_get(ok).layer(world.paywall.up_to("$0.01")))
        .route("/events", route_get(ok).layer(world.paywall.up_to("$0.01").per_event("$0.001")));
    assert_eq!(schemes(&get("/fixed").send(&app).await), ["auth-capture", "exact"]);
    assert_eq!(schemes(&get("/used").send(&app).await), ["upto", "auth-capture"]);
    assert_eq!(schemes(&get("/events").send(&app).await), ["upto", "auth-capture"]);
    let of = |scheme: &str, unpaid: &Got| {
        let terms = unpaid.terms();
        let offer = terms.offers().find(|offer| offer.scheme == scheme).unwrap();
        Signed::accepting(get("/used"), offer)
    };
    let (fixed, used) = (get("/fixed").send(&app).await, get("/used").send(&app).await);
    assert_eq!(of("auth-capture", &used).send(&app).await.status, 200);
    // An offer that another route makes is none here.
    let exact = of("exact", &fixed).change("/payload/signed/digest", digest_of(&used));
    assert_eq!(exact.send(&app).await.code().1, "payment-refused");
}

fn digest_of(unpaid: &Got) -> String {
    unpaid.terms().offers().next().unwrap().extra["requestDigest"].as_str().unwrap().to_owned()
}

#[test]
fn a_maximum_that_nobody_can_meter_stops_the_start() {
    let paywall = |scheme| World::with(rail(scheme), |builder| builder).paywall;
    let why = |layer: Result<farthing_server::PriceLayer, ConfigError>| match layer {
        Err(ConfigError::Unmetered(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(why(paywall("exact").try_up_to("$1")), "no rail here takes less than its full amount");
    assert!(why(paywall("upto").try_price("$1")).contains("up_to"));
    let panics = |layer: fn(Paywall) -> farthing_server::PriceLayer| {
        std::panic::catch_unwind(move || drop(layer(paywall("upto")))).is_err()
    };
    assert!(panics(|paywall| paywall.up_to("$1").per_event("$1.000001")));
    assert!(panics(|paywall| paywall.up_to("$1").per_event("$0.0000001")));
    assert!(panics(|paywall| paywall.up_to("$1").per_bytes(0, "$0.001")));
    assert!(panics(|paywall| paywall.up_to("$1").per_event("1 XTS")));
    assert!(panics(|paywall| paywall.up_to("$1").capture_every(0)));
    assert!(panics(|paywall| paywall.up_to("$1").longest_stream(Duration::from_secs(871))));
    assert!(!panics(|paywall| paywall.up_to("$1").per_event("$1").longest_stream(Duration::from_secs(870))));
}
