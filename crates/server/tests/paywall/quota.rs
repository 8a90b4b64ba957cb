//! Free requests for each caller, then "pay now" or come back later.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get as route_get;
use farthing_server::{PaidBy, PriceLayer, Quota};
use http::request::Parts;
use tower::ServiceExt as _;

use crate::scripted::*;
use crate::shopping::*;

const DAY: Duration = Duration::from_secs(86_400);

fn shop(world: &World, layer: PriceLayer) -> Router {
    let hits = world.hits.clone();
    let handler = move |paid: Option<axum::Extension<PaidBy>>| async move {
        hits.hit();
        ([("cache-control", "public")], if paid.is_some() { "paid" } else { "free" })
    };
    Router::new().route("/a", route_get(handler)).layer(layer)
}

fn keyed(key: &str) -> Asking {
    get("/a").with("x-api-key", key)
}

#[tokio::test]
async fn requests_are_free_until_the_quota_is_used_up_and_then_paid_for() {
    let world = World::new();
    let app =
        shop(&world, world.paywall.price("$0.01").free_quota(Quota::new(2, DAY).by_header("x-api-key")));
    for key in ["one", "two", "one", "two"] {
        let got = keyed(key).send(&app).await;
        assert_eq!((got.status.as_u16(), got.text()), (200, "free"));
        assert_eq!(got.headers["cache-control"], "private");
        assert!(!got.headers.contains_key("payment-response"));
    }
    let got = keyed("one").send(&app).await;
    assert_eq!(got.code(), (402, "quota-exceeded".into(), "new".into()));
    assert!(got.problem()["detail"].as_str().unwrap().contains("pay now"));
    assert_eq!(got.terms().error.as_deref(), Some("quota_exceeded"));
    let left = 86_400 - NOW % 86_400;
    assert_eq!(got.headers["retry-after"], left.to_string());
    assert!(!got.headers.contains_key("payment-response"));
    assert_eq!((world.hits.get(), world.ledger.calls()), (4, vec![]));

    let paid = keyed("one").pay(&app).await.send(&app).await;
    assert_eq!((paid.status.as_u16(), paid.text()), (200, "paid"));
    world.pass(left);
    assert_eq!(keyed("one").send(&app).await.text(), "free");
    assert_eq!((world.hits.get(), world.ledger.captures()), (6, 1));
}

#[tokio::test]
async fn a_request_that_brings_a_payment_uses_nothing_up() {
    let world = World::new();
    let app =
        shop(&world, world.paywall.price("$0.01").free_quota(Quota::new(1, DAY).by_header("x-api-key")));
    let unkeyed = get("/a").pay(&app).await;
    let bad = unkeyed.clone().change("/payload/signature", "bad");
    assert_eq!(bad.send_to(keyed("one"), &app).await.reason(), "invalid_signature");
    let junk = keyed("one").with("payment-signature", "junk").send(&app).await;
    assert_eq!(junk.status, 400);
    assert_eq!(unkeyed.send_to(keyed("one"), &app).await.text(), "paid");
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
    assert_eq!(keyed("one").send(&app).await.text(), "free");
    assert_eq!(keyed("one").send(&app).await.status, 402);
}

#[tokio::test]
async fn whose_address_is_not_known_has_nothing_free() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.01").free_quota(Quota::new(9, DAY).by_address()));
    let got = get("/a").send(&app).await;
    assert_eq!(got.code(), (402, "payment-required".into(), "new".into()));
    let from = async |address: [u8; 4]| {
        let mut request = get("/a").build();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((address, 4711))));
        app.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    for _ in 0..9 {
        assert_eq!(from([192, 0, 2, 1]).await, 200);
    }
    assert_eq!((from([192, 0, 2, 1]).await, from([192, 0, 2, 2]).await), (402, 200));
    assert_eq!((world.hits.get(), world.ledger.calls()), (10, vec![]));
}

#[tokio::test]
async fn routes_that_share_a_layer_share_its_quota() {
    let world = World::new();
    let name = |parts: &Parts| parts.headers.get("x-user")?.to_str().ok().map(str::to_owned);
    let layer = world.paywall.price("$0.01").free_quota(Quota::new(1, DAY).by(name));
    let (one, two) = (shop(&world, layer.clone()), shop(&world, layer));
    let ask = get("/a").with("x-user", "ann");
    assert_eq!((ask.send(&one).await.status.as_u16(), ask.send(&two).await.status.as_u16()), (200, 402));
    assert_eq!(get("/a").send(&one).await.code().1, "payment-required");
    assert_eq!(get("/a").with("x-user", "bob").send(&two).await.status, 200);
}

#[tokio::test]
async fn what_is_not_there_uses_nothing_up() {
    let world = World::new();
    let layer = world.paywall.price("$0.01").free_quota(Quota::new(1, DAY).by_header("x-api-key"));
    let layer = layer.check(|wanted: farthing_server::Wanted| async move {
        if wanted.query() == "none" { Err(http::StatusCode::NOT_FOUND) } else { Ok(()) }
    });
    let app = shop(&world, layer);
    let none = get("/a?none").with("x-api-key", "one");
    assert_eq!((none.send(&app).await.status.as_u16(), none.send(&app).await.status.as_u16()), (404, 404));
    assert_eq!(keyed("one").send(&app).await.text(), "free");
    assert_eq!(keyed("one").send(&app).await.status, 402);
    assert_eq!((world.hits.get(), world.ledger.calls()), (1, vec![]));
}
