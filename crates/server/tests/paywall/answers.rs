//! The table of answers, row by row, each with a payment that works on the same server.

use axum::response::IntoResponse as _;
use axum::routing::get as route_get;
use axum::{Extension, Router};
use farthing_protocol::receipt::SignedReceipt;
use farthing_protocol::{Amount, PublicKey, digest};
use farthing_server::{Captured, PaidBy, PriceLayer, RefusePaid};
use http::StatusCode;
use serde_json::Value;

use crate::scripted::*;
use crate::shopping::*;

/// A route that counts, and answers with its count.
fn shop(world: &World, layer: PriceLayer) -> Router {
    let hits = world.hits.clone();
    let handler =
        move |Extension(paid): Extension<PaidBy>| async move { format!("{} for {}", hits.hit(), paid.payer) };
    Router::new()
        .route("/a", route_get(handler.clone()).post(handler.clone()).layer(layer.clone()))
        .route("/b", route_get(handler).layer(layer))
}

/// A fresh payment still works, and is counted.
async fn works(world: &World, app: &Router) {
    let (hits, captures, _) = world.count();
    let paid = get("/a").pay(app).await.send(app).await;
    assert_eq!(paid.status, 200, "{}", paid.text());
    assert_eq!((world.hits.get(), world.ledger.captures()), (hits + 1, captures + 1));
}

#[tokio::test]
async fn an_unpaid_request_gets_the_terms_and_leaves_no_trace() {
    let world = World::new();
    let app =
        shop(&world, world.paywall.price("$0.001").description("a page\r\nx: y").mime_type("text/plain"));
    let unpaid = get("/a?q=1").send(&app).await;
    assert_eq!(unpaid.code(), (402, "payment-required".into(), "new".into()));
    assert_eq!(
        (unpaid.headers["cache-control"].as_bytes(), unpaid.headers["vary"].as_bytes()),
        (&b"no-store"[..], &b"PAYMENT-SIGNATURE, X-PAYMENT, Accept, Accept-Language"[..])
    );
    let terms = unpaid.terms();
    assert_eq!(terms.error.as_deref(), Some("Payment required"));
    assert_eq!(terms.resource.url, "https://shop.example/a?q=1");
    assert_eq!(terms.resource.description.as_deref(), Some("a page\r\nx: y"));
    let offer = terms.offers().next().unwrap();
    assert_eq!((offer.amount, offer.max_timeout_seconds), (Amount(1000), 300));
    assert_eq!(offer.extra["receiptKey"], receipt_key().public().to_string());
    assert_eq!(unpaid.problem()["terms"], serde_json::to_value(&terms).unwrap());
    assert_eq!(world.count(), (0, 0, vec![]));
    works(&world, &app).await;
}

#[tokio::test]
async fn a_paid_request_runs_the_handler_once_and_is_captured_before_it_is_answered() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    let signed = get("/a").pay(&app).await;
    let paid = signed.send(&app).await;
    assert_eq!((paid.status, paid.text()), (StatusCode::OK, "1 for alice"));
    assert_eq!(paid.headers["cache-control"], "private");
    let settlement = paid.settlement();
    assert!(settlement.success);
    assert_eq!(settlement.transaction, signed.id().to_string());
    assert_eq!((settlement.payer.as_deref(), settlement.amount), (Some("alice"), Some(Amount(1000))));
    assert_eq!(settlement.network, "test:one");
    assert_eq!(settlement.extra["state"], "captured");
    assert!(
        ["answer", "epoch", "leaseUntil", "takeover"].iter().all(|key| !settlement.extra.contains_key(*key))
    );
    assert_eq!(world.count(), (1, 1, vec!["authorize".into(), "capture".into()]));
    assert_eq!(world.ledger.balance("alice"), 999_000);
}

#[tokio::test]
async fn t01_the_same_payment_again_returns_the_stored_answer_and_nothing_runs() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    let signed = get("/a").pay(&app).await.receipt();
    let first = signed.send(&app).await;
    for _ in 0..100 {
        world.pass(1);
        let again = signed.send(&app).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(
            again.settlement().extensions["farthing-receipt"].get(),
            first.settlement().extensions["farthing-receipt"].get()
        );
        assert_eq!(again.settlement().amount, Some(Amount(1000)));
        assert_eq!(again.headers["content-type"], first.headers["content-type"]);
    }
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
    assert_eq!(world.ledger.balance("alice"), 999_000);
}

#[tokio::test]
async fn a_payment_that_cannot_be_read_is_400_and_names_what_is_wrong() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    let signed = get("/a").pay(&app).await;
    let no_amount = {
        let mut bad = signed.clone();
        bad.payment["accepted"].as_object_mut().unwrap().remove("amount");
        bad.header()
    };
    for (header, field) in [
        ("!!!".to_owned(), "payment-signature"),
        ("\u{e9}".to_owned(), "payment-signature"),
        (signed.header().replace('=', "") + "A", "payment-signature"),
        (signed.clone().change("/x402Version", 3).header(), "x402Version"),
        (signed.clone().change("/payload/signed/amount", 5).header(), "payload.signed.amount"),
        (signed.clone().change("/payload/signed/digest", "zz").header(), "payload.signed.digest"),
        (no_amount, "accepted"),
    ] {
        let got = get("/a").with("payment-signature", &header).send(&app).await;
        assert_eq!(got.code(), (400, "malformed-payment".into(), "new".into()), "{header}");
        let named = got.problem()["field"].as_str().unwrap().to_owned();
        assert!(named.starts_with(field), "{named} is not {field}");
        assert!(!got.headers.contains_key("payment-required"));
    }
    assert_eq!(world.count(), (0, 0, vec![]));
    works(&world, &app).await;
}

#[tokio::test]
async fn a_payment_of_another_rail_or_for_another_offer_gets_the_terms_again() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    let signed = get("/a").pay(&app).await;
    for (pointer, value, field) in [
        ("/accepted/network", "test:two", "accepted.network"),
        ("/accepted/scheme", "exact", "accepted.network"),
        ("/accepted/amount", "1", "accepted.amount"),
        ("/accepted/asset", "XTS", "accepted.asset"),
        ("/accepted/payTo", "mallory", "accepted.payTo"),
        ("/accepted/extra/receiptKey", "00", "accepted.extra.receiptKey"),
    ] {
        let got = signed.clone().change(pointer, value).send(&app).await;
        assert_eq!(got.code(), (402, "payment-refused".into(), "new".into()), "{pointer}");
        assert_eq!(got.problem()["field"], field);
        assert_eq!(got.terms().error.as_deref(), Some("no_matching_payment_requirements"));
    }
    assert_eq!(world.count(), (0, 0, vec![]));
    let own_extra = signed.clone().change("/accepted/extra/until", 0);
    assert_eq!(own_extra.send(&app).await.status, 200);
}

#[tokio::test]
async fn a_payment_signed_for_less_than_the_offer_is_refused_before_the_ledger() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    let got = get("/a").pay(&app).await.change("/payload/signed/amount", "1").send(&app).await;
    assert_eq!(got.code(), (402, "payment-refused".into(), "new".into()));
    assert_eq!(
        (got.terms().error.as_deref(), got.reason().as_str()),
        (Some("amount_mismatch"), "amount_mismatch")
    );
    assert_eq!(world.count(), (0, 0, vec![]));
    works(&world, &app).await;
}

#[tokio::test]
async fn what_the_ledger_refuses_is_402_with_its_reason_and_new_terms() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    for why in ["insufficient_funds", "payment_expired", "pay_to_mismatch", "mandate", "invalid_signature"] {
        world.ledger.fail("authorize", Fault::Refused(why));
        let got = get("/a").pay(&app).await.send(&app).await;
        assert_eq!(got.code(), (402, "payment-refused".into(), "new".into()));
        assert_eq!((got.reason().as_str(), got.terms().error.as_deref()), (why, Some(why)));
    }
    assert_eq!((world.hits.get(), world.ledger.captures()), (0, 0));
    works(&world, &app).await;
}

#[tokio::test]
async fn t16_money_for_one_of_two_payments_runs_one_handler() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.6"));
    let (one, two) = (get("/a").pay(&app).await, get("/b").pay(&app).await);
    let (one, two) = tokio::join!(one.send(&app), two.send(&app));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 402]);
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
}

#[tokio::test]
async fn the_same_nonce_with_other_signed_bytes_is_a_conflict() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    let signed = get("/a").pay(&app).await;
    assert_eq!(signed.send(&app).await.status, 200);
    let other = signed.change("/payload/signed/validBefore", NOW + 299).send(&app).await;
    assert_eq!(other.code(), (409, "payment-conflict".into(), "none".into()));
    assert_eq!(other.reason(), "payment_conflict");
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
    works(&world, &app).await;
}

#[tokio::test]
async fn t14_two_hundred_concurrent_duplicates_run_the_handler_once() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    let signed = get("/a").pay(&app).await;
    let all = (0..200).map(|_| {
        let (signed, app) = (signed.clone(), app.clone());
        tokio::spawn(async move { signed.send(&app).await })
    });
    let mut served = 0;
    for task in all.collect::<Vec<_>>() {
        let got = task.await.unwrap();
        if got.status == 200 {
            served += 1;
            assert_eq!(got.text(), "1 for alice");
        } else {
            assert_eq!(got.code(), (409, "payment-in-progress".into(), "same".into()));
            assert_eq!(
                (got.reason().as_str(), got.headers["retry-after"].as_bytes()),
                ("payment_in_progress", &b"1"[..])
            );
        }
    }
    assert!(served >= 1);
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
    assert_eq!(signed.send(&app).await.text(), "1 for alice");
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
}

#[tokio::test]
async fn a_hold_of_another_process_is_in_progress_until_its_lease_lapses() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    let signed = get("/a").pay(&app).await;
    world.ledger.fail("authorize", Fault::Silent);
    assert_eq!(signed.send(&app).await.status, 503);
    world.ledger.seize(NOW + 75);
    assert_eq!(signed.send(&app).await.code(), (409, "payment-in-progress".into(), "same".into()));
    assert_eq!((world.hits.get(), world.ledger.captures()), (0, 0));
    world.pass(75);
    assert_eq!(signed.send(&app).await.status, 200);
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
}

#[tokio::test]
async fn a_takeover_runs_again_only_what_may_be_repeated() {
    let world = World::new();
    let layer = world.paywall.price("$0.001");
    for (ask, layer, served) in [
        (get("/a"), layer.clone(), true),
        (post("/a", b"x"), layer.clone(), false),
        (get("/a"), layer.clone().repeatable(false), false),
        (post("/a", b"x"), layer.repeatable(true), true),
    ] {
        let app = shop(&world, layer);
        let before = world.hits.get();
        let signed = ask.pay(&app).await;
        world.ledger.fail("authorize", Fault::Silent);
        assert_eq!(signed.send(&app).await.status, 503);
        world.ledger.seize(0);
        let got = signed.send(&app).await;
        if served {
            assert_eq!(got.status, 200);
            assert_eq!(world.hits.get(), before + 1);
        } else {
            assert_eq!(got.code(), (409, "payment-voided".into(), "new".into()));
            assert_eq!((got.reason().as_str(), world.hits.get()), ("payment_voided", before));
            assert_eq!(world.ledger.state(&signed.id()), "voided");
        }
    }
}

#[tokio::test]
async fn a_voided_payment_is_402_with_terms_for_a_new_one() {
    let world = World::new();
    let hits = world.hits.clone();
    let handler =
        move || async move { if hits.hit() == 1 { StatusCode::BAD_GATEWAY } else { StatusCode::OK } };
    let app = Router::new().route("/a", route_get(handler).layer(world.paywall.price("$0.001")));
    let signed = get("/a").pay(&app).await;
    assert_eq!(signed.send(&app).await.status, 502);
    let again = signed.send(&app).await;
    assert_eq!(again.code(), (402, "payment-voided".into(), "new".into()));
    assert_eq!(
        (again.terms().error.as_deref(), again.reason().as_str()),
        (Some("payment_voided"), "payment_voided")
    );
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 0));
    let fresh = get("/a").pay(&app).await.send(&app).await;
    assert_eq!((fresh.status.as_u16(), world.ledger.captures()), (200, 1));
}

#[tokio::test]
async fn a_handlers_error_is_passed_on_and_voided() {
    let world = World::new();
    for status in [400, 402, 404, 500] {
        let status = StatusCode::from_u16(status).unwrap();
        let handler = move || async move { (status, [("cache-control", "public, max-age=9")], "no luck") };
        let app = Router::new().route("/a", route_get(handler).layer(world.paywall.price("$0.001")));
        let signed = get("/a").pay(&app).await;
        let got = signed.send(&app).await;
        assert_eq!((got.status, got.text()), (status, "no luck"));
        let settlement = got.settlement();
        assert_eq!((settlement.success, settlement.error_reason.as_deref()), (false, Some("payment_voided")));
        assert_eq!(
            (settlement.amount, &settlement.extra["state"]),
            (Some(Amount::ZERO), &Value::from("voided"))
        );
        assert_eq!(settlement.transaction, signed.id().to_string());
        assert_eq!(got.headers["cache-control"], "no-store");
        assert_eq!((world.ledger.captures(), world.ledger.balance("alice")), (0, 1_000_000));
    }
    let app = shop(&world, world.paywall.price("$0.001"));
    works(&world, &app).await;
}

#[tokio::test]
async fn a_panic_and_a_broken_body_are_500_and_voided() {
    let world = World::new();
    let panics = || async {
        if true {
            panic!("out of luck")
        }
    };
    let breaks = || async {
        let pieces = [Ok::<_, std::io::Error>("half"), Err(std::io::Error::other("broken"))];
        axum::body::Body::from_stream(futures_util::stream::iter(pieces)).into_response()
    };
    let layer = world.paywall.price("$0.001");
    let app = Router::new()
        .route("/panics", route_get(panics).layer(layer.clone()))
        .route("/breaks", route_get(breaks).layer(layer.clone()));
    for target in ["/panics", "/breaks"] {
        let got = get(target).pay(&app).await.send(&app).await;
        assert_eq!(got.code(), (500, "handler-failed".into(), "new".into()));
        assert_eq!(got.reason(), "payment_voided");
        assert!(!got.text().contains("luck") && !got.text().contains("broken"));
    }
    assert_eq!((world.ledger.captures(), world.ledger.balance("alice")), (0, 1_000_000));
    works(&world, &shop(&world, layer)).await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_beyond_its_deadline_is_504_and_voided() {
    let world = World::new();
    let layer = world.paywall.price("$0.001").handler_deadline(std::time::Duration::from_secs(5));
    let slow = |seconds| async move { tokio::time::sleep(std::time::Duration::from_secs(seconds)).await };
    let app = Router::new()
        .route("/slow", route_get(move || slow(6)).layer(layer.clone()))
        .route("/quick", route_get(move || slow(4)).layer(layer));
    let got = get("/slow").pay(&app).await.send(&app).await;
    assert_eq!(got.code(), (504, "handler-timeout".into(), "new".into()));
    assert_eq!((got.reason().as_str(), world.ledger.balance("alice")), ("payment_voided", 1_000_000));
    assert_eq!(get("/quick").pay(&app).await.send(&app).await.status, 200);
}

#[tokio::test]
async fn a_handler_may_refuse_to_sell_and_nothing_is_charged() {
    let world = World::new();
    let handler = || async { Extension(RefusePaid("not to you".into())) };
    let app = Router::new().route("/a", route_get(handler).layer(world.paywall.price("$0.001")));
    let got = get("/a").pay(&app).await.send(&app).await;
    assert_eq!(got.code(), (403, "refused-by-policy".into(), "none".into()));
    assert_eq!(
        (got.reason().as_str(), &got.problem()["detail"]),
        ("payment_voided", &Value::from("not to you"))
    );
    assert_eq!((world.ledger.captures(), world.ledger.balance("alice")), (0, 1_000_000));
    works(&world, &shop(&world, world.paywall.price("$0.001"))).await;
}

#[tokio::test]
async fn a_handler_may_take_less_than_is_held_but_never_more_and_exact_takes_all() {
    let route = |world: &World, amount| {
        let handler = move || async move { (Extension(Captured(Amount(amount))), "metered") };
        Router::new().route("/a", route_get(handler).layer(world.paywall.price("$0.001")))
    };
    for (scheme, amount, expected) in
        [("auth-capture", 400, 200), ("auth-capture", 1001, 500), ("exact", 400, 500), ("exact", 1000, 200)]
    {
        let world = World::with(rail(scheme), |builder| builder);
        let app = route(&world, amount);
        let signed = get("/a").pay(&app).await;
        let got = signed.send(&app).await;
        assert_eq!(got.status, expected, "{scheme} {amount}");
        let taken = if expected == 200 { amount } else { 0 };
        assert_eq!(world.ledger.balance("alice"), 1_000_000 - taken);
        if expected == 200 {
            assert_eq!(got.settlement().amount, Some(Amount(amount)));
            assert_eq!(signed.send(&app).await.settlement().amount, Some(Amount(amount)));
        }
    }
}

#[tokio::test]
async fn a_receipt_is_signed_when_it_is_asked_for_and_says_what_happened() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    let signed = get("/a").pay(&app).await.receipt();
    let got = signed.send(&app).await;
    let settlement = got.settlement();
    assert_eq!(settlement.extra["statement"]["by"], "the ledger");
    assert_eq!(world.ledger.wishes(), 2);
    let receipt: SignedReceipt =
        serde_json::from_str(settlement.extensions["farthing-receipt"].get()).unwrap();
    let receipt_of = receipt.verify(&receipt_key().public()).unwrap();
    assert_eq!((receipt_of.payment, receipt_of.status, receipt_of.amount), (signed.id(), 200, Amount(1000)));
    assert_eq!((receipt_of.body, receipt_of.issued_at), (digest::sha256(&got.body), NOW));
    assert_eq!(receipt_of.digest.to_string(), signed.payment["payload"]["signed"]["digest"]);
    assert!(receipt.verify(&PublicKey([7; 32])).is_err());

    let unasked = get("/a").pay(&app).await.send(&app).await;
    assert!(unasked.settlement().extensions.is_empty());
}

#[tokio::test]
async fn a_long_answer_streams_after_its_capture_and_is_not_kept() {
    let world = World::new();
    let ledger = world.ledger.clone();
    let long = move || async move {
        let ledger = ledger.clone();
        // One piece more than 64 KiB is read ahead; the others only after the capture.
        let pieces = (0..100_usize).map(move |n| {
            assert_eq!(ledger.captures(), usize::from(n > 64), "piece {n}");
            Ok::<_, std::io::Error>(vec![n as u8; 1024])
        });
        axum::body::Body::from_stream(futures_util::stream::iter(pieces)).into_response()
    };
    let app = Router::new().route("/a", route_get(long).layer(world.paywall.price("$0.001")));
    let signed = get("/a").pay(&app).await.receipt();
    let got = signed.send(&app).await;
    assert_eq!((got.status.as_u16(), got.body.len()), (200, 100 * 1024));
    assert!(got.settlement().success && got.settlement().extensions.is_empty());
    let again = signed.send(&app).await;
    assert_eq!(again.code(), (409, "answer-not-kept".into(), "none".into()));
    assert!(again.settlement().success);
    assert_eq!((world.ledger.captures(), world.ledger.balance("alice")), (1, 999_000));
}

#[tokio::test]
async fn more_payments_than_can_be_followed_are_503_and_nothing_is_lost() {
    let world = World::with(rail("auth-capture"), |builder| builder.in_flight(1));
    let app = shop(&world, world.paywall.price("$0.001"));
    let (one, two) = (get("/a").pay(&app).await, get("/b").pay(&app).await);
    let gate = world.ledger.gate.write().await;
    let running = tokio::spawn({
        let (one, app) = (one.clone(), app.clone());
        async move { one.send(&app).await }
    });
    tokio::task::yield_now().await;
    let busy = two.send(&app).await;
    assert_eq!(busy.code(), (503, "busy".into(), "same".into()));
    drop(gate);
    assert_eq!(running.await.unwrap().status, 200);
    assert_eq!(two.send(&app).await.status, 200);
    assert_eq!((world.hits.get(), world.ledger.captures()), (2, 2));
}
