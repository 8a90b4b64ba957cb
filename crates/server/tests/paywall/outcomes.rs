//! Outcomes that nobody knows: three values, never two.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::routing::get as route_get;
use farthing_server::{Durability, PriceLayer};
use http::StatusCode;

use crate::scripted::*;
use crate::shopping::*;

fn shop(world: &World, layer: PriceLayer) -> Router {
    let hits = world.hits.clone();
    let long = world.hits.clone();
    let fails = world.hits.clone();
    Router::new()
        .route("/a", route_get(move || async move { format!("run {}", hits.hit()) }).layer(layer.clone()))
        .route(
            "/long",
            route_get(move || async move { format!("{}{}", long.hit(), "x".repeat(100_000)) })
                .layer(layer.clone()),
        )
        .route(
            "/fails",
            route_get(move || async move {
                fails.hit();
                (StatusCode::NOT_FOUND, "nothing there")
            })
            .layer(layer),
        )
}

fn pending(got: &Got) {
    assert_eq!(got.code(), (503, "settlement-pending".into(), "same".into()));
    assert_eq!(got.reason(), "settlement_pending");
    assert!(got.headers.contains_key("retry-after") && !got.headers.contains_key("payment-required"));
}

#[tokio::test]
async fn t18_an_unknown_authorization_is_pending_and_the_same_payment_is_served_once() {
    for fault in [Fault::Lost, Fault::Silent, Fault::Foreign, Fault::Refused("settlement_pending")] {
        let world = World::new();
        let app = shop(&world, world.paywall.price("$0.001"));
        let signed = get("/a").pay(&app).await;
        world.ledger.fail("authorize", fault);
        pending(&signed.send(&app).await);
        assert_eq!((world.hits.get(), world.ledger.captures()), (0, 0));
        assert_eq!(signed.send(&app).await.text(), "run 1");
        assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1), "{fault:?}");
        assert_eq!(world.ledger.balance("alice"), 999_000);
    }
}

#[tokio::test]
async fn t35_without_a_facilitator_there_is_no_free_content_and_it_recovers() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    let signed = get("/a").pay(&app).await;
    for _ in 0..5 {
        world.ledger.fail("authorize", Fault::Lost);
        pending(&signed.send(&app).await);
    }
    assert_eq!(world.hits.get(), 0);
    assert_eq!(signed.send(&app).await.status, 200);
}

#[tokio::test]
async fn an_unknown_capture_keeps_the_answer_and_repeats_the_capture_not_the_handler() {
    for (target, fault) in [
        ("/a", Fault::Lost),
        ("/a", Fault::Silent),
        ("/a", Fault::Foreign),
        ("/a", Fault::Refused("settlement_pending")),
        ("/long", Fault::Silent),
    ] {
        let world = World::new();
        let app = shop(&world, world.paywall.price("$0.001"));
        let signed = get(target).pay(&app).await.receipt();
        world.ledger.fail("capture", fault);
        world.ledger.fail("capture", Fault::Lost);
        pending(&signed.send(&app).await);
        // Not with another signature: what was kept is for who paid.
        let forged = signed.clone().change("/payload/signature", "bad").send(&app).await;
        assert_eq!(forged.code().1, "payment-in-progress");
        pending(&signed.send(&app).await);
        let got = signed.send(&app).await;
        assert_eq!(got.status, 200);
        assert!(got.settlement().success);
        assert!(got.text().starts_with(if target == "/a" { "run 1" } else { "1x" }));
        assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1), "{target} {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_capture_is_repeated_in_the_background() {
    for target in ["/a", "/long"] {
        let world = World::new();
        let app = shop(&world, world.paywall.price("$0.001"));
        let signed = get(target).pay(&app).await;
        (0..3).for_each(|_| world.ledger.fail("capture", Fault::Lost));
        pending(&signed.send(&app).await);
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
        assert_eq!(signed.send(&app).await.status, 200);
        assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_capture_that_is_refused_in_the_background_is_voided_there() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    let signed = get("/a").pay(&app).await;
    world.ledger.fail("capture", Fault::Lost);
    world.ledger.fail("capture", Fault::Refused("invalid_transaction_state"));
    pending(&signed.send(&app).await);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.ledger.state(&signed.id()), "voided");
    assert_eq!(signed.send(&app).await.code(), (402, "payment-voided".into(), "new".into()));
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 0));
    assert_eq!(world.ledger.balance("alice"), 1_000_000);
}

#[tokio::test(start_paused = true)]
async fn the_background_gives_up_when_the_capture_deadline_has_passed() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    let signed = get("/a").pay(&app).await;
    (0..1000).for_each(|_| world.ledger.fail("capture", Fault::Lost));
    pending(&signed.send(&app).await);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let calls = world.ledger.calls().len();
    assert!((15..30).contains(&calls), "{calls}");
    world.clock.store(NOW + 901, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!((world.ledger.calls().len(), world.ledger.captures()), (calls, 0));
}

#[tokio::test]
async fn t21_a_refused_capture_lets_no_byte_out() {
    for (why, expected) in [
        ("payment_voided", (402, "payment-voided".to_owned(), "new".to_owned())),
        ("capture_expired", (402, "payment-voided".into(), "new".into())),
        ("stale_owner", (409, "payment-in-progress".into(), "same".into())),
    ] {
        for target in ["/a", "/long"] {
            let world = World::new();
            let app = shop(&world, world.paywall.price("$0.001"));
            world.ledger.fail("capture", Fault::Refused(why));
            let got = get(target).pay(&app).await.send(&app).await;
            assert_eq!(got.code(), expected);
            assert!(!got.text().contains("run 1") && !got.text().contains("xxx"));
            assert_eq!((world.hits.get(), world.ledger.captures()), (1, 0));
            if why != "stale_owner" {
                assert_eq!(world.ledger.balance("alice"), 1_000_000, "the hold did not outlive its handler");
            }
            assert_eq!(get(target).pay(&app).await.send(&app).await.status, 200);
        }
    }
}

#[tokio::test]
async fn t50_a_handler_beyond_the_capture_deadline_is_not_paid() {
    let world = World::new();
    let clock = world.clock.clone();
    let handler = move |seconds: u64| {
        let clock = clock.clone();
        move || async move {
            clock.fetch_add(seconds, Ordering::SeqCst);
            "late"
        }
    };
    let layer = world.paywall.price("$0.001");
    let app = Router::new()
        .route("/over", route_get(handler(901)).layer(layer.clone()))
        .route("/valid", route_get(handler(700)).layer(layer));
    let late = get("/valid").pay(&app).await.send(&app).await;
    assert_eq!((late.status.as_u16(), late.text()), (200, "late"), "validBefore is judged at authorize only");
    world.clock.store(NOW, Ordering::SeqCst);
    let over = get("/over").pay(&app).await.send(&app).await;
    assert_eq!(over.code(), (402, "payment-voided".into(), "new".into()));
    assert_eq!(world.ledger.captures(), 1);
}

#[tokio::test]
async fn an_unknown_void_passes_the_error_on_and_says_that_it_is_pending() {
    for fault in [Fault::Lost, Fault::Silent] {
        let world = World::new();
        let app = shop(&world, world.paywall.price("$0.001"));
        let signed = get("/fails").pay(&app).await;
        world.ledger.fail("void", fault);
        world.ledger.fail("void", Fault::Lost);
        let got = signed.send(&app).await;
        assert_eq!(
            (got.status.as_u16(), got.text(), got.reason().as_str()),
            (404, "nothing there", "settlement_pending")
        );
        // The handler does not run again for it, and no new payment is asked for before the void is certain.
        pending(&signed.send(&app).await);
        let ended = signed.send(&app).await;
        assert_eq!(ended.code(), (402, "payment-voided".into(), "new".into()));
        assert_eq!((world.hits.get(), world.ledger.captures()), (1, 0));
        assert_eq!(world.ledger.balance("alice"), 1_000_000);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_void_is_repeated_in_the_background() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    let signed = get("/fails").pay(&app).await;
    (0..3).for_each(|_| world.ledger.fail("void", Fault::Lost));
    assert_eq!(signed.send(&app).await.reason(), "settlement_pending");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.ledger.state(&signed.id()), "voided");
    assert_eq!(world.hits.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_whose_void_is_unknown_advises_the_same_payment() {
    let world = World::new();
    let handler = || async {
        if true {
            panic!("broken")
        }
    };
    let app = Router::new().route("/a", route_get(handler).layer(world.paywall.price("$0.001")));
    world.ledger.fail("void", Fault::Lost);
    let got = get("/a").pay(&app).await.send(&app).await;
    assert_eq!(got.code(), (500, "handler-failed".into(), "same".into()));
    assert_eq!(got.reason(), "settlement_pending");
}

#[tokio::test(start_paused = true)]
async fn relaxed_answers_before_the_capture_and_captures_all_the_same() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001").durability(Durability::Relaxed));
    for target in ["/a", "/long"] {
        let before = world.ledger.captures();
        let signed = get(target).pay(&app).await;
        world.ledger.fail("capture", Fault::Lost);
        let got = signed.send(&app).await;
        assert_eq!((got.status.as_u16(), &got.settlement().extra["state"]), (200, &"held".into()));
        assert_eq!(world.ledger.captures(), before);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(world.ledger.captures(), before + 1);
        let again = signed.send(&app).await;
        let expected = if target == "/a" { 200 } else { 409 };
        assert_eq!((again.status.as_u16(), again.settlement().success), (expected, true));
    }
    assert_eq!(world.hits.get(), 2);
}
