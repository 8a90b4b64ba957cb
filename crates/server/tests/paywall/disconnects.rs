//! Clients that go away.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get as route_get;
use farthing_server::{OnDisconnect, PriceLayer};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use crate::shopping::*;

/// A route whose handler waits until it is let through.
fn shop(world: &World, layer: PriceLayer) -> (Router, Arc<Semaphore>) {
    let (hits, gate) = (world.hits.clone(), Arc::new(Semaphore::new(0)));
    let waits = gate.clone();
    let handler = move || async move {
        let run = hits.hit();
        waits.acquire().await.unwrap().forget();
        format!("run {run}")
    };
    (Router::new().route("/a", route_get(handler).layer(layer)), gate)
}

/// Sends a request and hangs up after a moment.
async fn hang_up(signed: &Signed, app: &Router) {
    let request = app.clone().oneshot(signed.request().build());
    let ended = tokio::time::timeout(Duration::from_secs(1), request).await;
    assert!(ended.is_err(), "answered before the client went away");
}

#[tokio::test(start_paused = true)]
async fn t23_a_client_that_goes_away_before_the_handler_starts_is_not_charged() {
    let world = World::new();
    let (app, gate) = shop(&world, world.paywall.price("$0.001"));
    gate.add_permits(9);
    let signed = get("/a").pay(&app).await;
    let slow_ledger = world.ledger.gate.write().await;
    hang_up(&signed, &app).await;
    drop(slow_ledger);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.count(), (0, 0, vec!["authorize".into(), "void".into()]));
    assert_eq!((world.ledger.balance("alice"), world.ledger.state(&signed.id())), (1_000_000, "voided"));
    assert_eq!(signed.send(&app).await.code(), (402, "payment-voided".into(), "new".into()));
    assert_eq!(get("/a").pay(&app).await.send(&app).await.text(), "run 1");
}

#[tokio::test(start_paused = true)]
async fn t22_a_client_that_goes_away_later_is_charged_and_finds_its_answer() {
    let world = World::new();
    let (app, gate) = shop(&world, world.paywall.price("$0.001"));
    let signed = get("/a").pay(&app).await;
    hang_up(&signed, &app).await;
    assert_eq!(signed.send(&app).await.code(), (409, "payment-in-progress".into(), "same".into()));
    gate.add_permits(1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
    assert_eq!(signed.send(&app).await.text(), "run 1");
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_route_may_stop_and_void_instead() {
    let world = World::new();
    let (app, gate) = shop(&world, world.paywall.price("$0.001").on_disconnect(OnDisconnect::Cancel));
    let signed = get("/a").pay(&app).await;
    hang_up(&signed, &app).await;
    gate.add_permits(1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.count(), (1, 0, vec!["authorize".into(), "void".into()]));
    assert_eq!((world.ledger.balance("alice"), gate.available_permits()), (1_000_000, 1));
    assert_eq!(get("/a").pay(&app).await.send(&app).await.text(), "run 2");
}

#[tokio::test(start_paused = true)]
async fn t20_a_thousand_panics_leave_no_hold() {
    let world = World::new();
    let handler = || async {
        if true {
            panic!("again")
        }
    };
    let app = Router::new().route("/a", route_get(handler).layer(world.paywall.price("$0.001")));
    for _ in 0..1000 {
        assert_eq!(get("/a").pay(&app).await.send(&app).await.status, 500);
    }
    assert_eq!((world.ledger.captures(), world.ledger.balance("alice")), (0, 1_000_000));
}
