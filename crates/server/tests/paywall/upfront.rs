//! Requests that change something, where nobody can hold money: settled first, then handled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::post as route_post;
use farthing_server::{OnDisconnect, PriceLayer, RefusePaid};
use http::StatusCode;
use tower::ServiceExt as _;

use crate::chain::*;
use crate::scripted::Fault;
use crate::shopping::*;

/// How a handler's run goes wrong.
#[derive(Clone, Copy)]
enum Wrong {
    Status,
    Panic,
    Slow,
    Policy,
}

/// A process whose handler goes wrong so many times, then works.
fn process(street: &Street, layer: PriceLayer, wrong: Wrong, times: usize) -> Router {
    let (hits, chain) = (street.hits.clone(), street.chain.clone());
    let left = Arc::new(AtomicUsize::new(times));
    let handler = move || async move {
        let run = hits.hit();
        assert_eq!(chain.transactions(), 1, "the money moves before the handler runs");
        if left.load(Ordering::SeqCst) == 0 {
            return format!("run {run}").into_response();
        }
        left.fetch_sub(1, Ordering::SeqCst);
        match wrong {
            Wrong::Status => (StatusCode::BAD_GATEWAY, "no luck").into_response(),
            Wrong::Panic => panic!("no luck"),
            Wrong::Slow => {
                tokio::time::sleep(Duration::from_secs(61)).await;
                "late".into_response()
            }
            Wrong::Policy => axum::Extension(RefusePaid("not to you".into())).into_response(),
        }
    };
    Router::new().route("/a", route_post(handler).layer(layer))
}

fn price(street: &Street) -> PriceLayer {
    street.paywall(chain_rail("exact")).price("$0.001")
}

#[tokio::test]
async fn a_post_is_settled_before_its_handler_runs_and_its_answer_kept() {
    let street = Street::new();
    let app = process(&street, price(&street), Wrong::Status, 0);
    let signed = pay(post("/a", b"x"), &app).await;
    assert_eq!(signed.payment["accepted"]["extra"]["paymentFlow"], "upfront");
    for app in [&app, &app, &process(&street, price(&street), Wrong::Status, 0)] {
        let got = signed.send(app).await;
        assert_eq!((got.status.as_u16(), got.text()), (200, "run 1"));
        assert_eq!(got.settlement().transaction, street.chain.transaction(&signed.id()));
    }
    assert_eq!(signed.send_to(post("/a", b"y"), &app).await.code().1, "bound-to-other-request");
    assert_eq!((street.count(), street.chain.calls()), ((1, 1, 1), vec!["verify", "settle"]));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_is_run_again_for_the_same_payment_until_it_succeeds() {
    for (wrong, status, retry) in [
        (Wrong::Status, 502, "same"),
        (Wrong::Panic, 500, "same"),
        (Wrong::Slow, 504, "same"),
        (Wrong::Policy, 403, "none"),
    ] {
        let street = Street::new();
        let app = process(&street, price(&street), wrong, 2);
        let signed = pay(post("/a", b"x"), &app).await;
        for run in 1..=2 {
            let got = signed.send(&app).await;
            assert_eq!((got.status.as_u16(), street.hits.get()), (status, run));
            assert!(
                !got.text().contains("nothing was charged") && !got.headers.contains_key("payment-required")
            );
            let settlement = got.settlement();
            assert!(settlement.success && settlement.error_reason.is_none());
            assert_eq!(settlement.extra["state"], "settled");
            assert_eq!(settlement.transaction, street.chain.transaction(&signed.id()));
            match wrong {
                Wrong::Status => {
                    assert_eq!((got.text(), &settlement.extra["retry"]), ("no luck", &retry.into()));
                }
                _ => assert_eq!(got.code().2, retry),
            }
        }
        // Another process may do it, and at once: nobody works on it.
        let other = process(&street, price(&street), wrong, 0);
        for app in [&other, &app] {
            assert_eq!(signed.send(app).await.text(), "run 3");
        }
        assert_eq!(street.count(), (3, 1, 1));
    }
}

#[tokio::test]
async fn a_payment_that_does_not_settle_runs_no_handler() {
    let street = Street::new();
    let app = process(&street, price(&street), Wrong::Status, 0);
    let signed = pay(post("/a", b"x"), &app).await;
    street.chain.fail("verify", Fault::Refused("invalid_signature"));
    assert_eq!((signed.send(&app).await.reason().as_str(), street.records.len()), ("invalid_signature", 0));
    street.chain.fail("settle", Fault::Refused("insufficient_funds"));
    let got = signed.send(&app).await;
    assert_eq!(got.code(), (402, "payment-refused".into(), "new".into()));
    assert_eq!((got.reason().as_str(), street.count()), ("insufficient_funds", (0, 1, 0)));
    assert_eq!(signed.send(&app).await.code(), (402, "payment-voided".into(), "new".into()));
    assert_eq!(pay(post("/a", b"x"), &app).await.send(&app).await.text(), "run 1");
}

#[tokio::test]
async fn an_unknown_settlement_is_pending_and_runs_one_handler_when_it_is_known() {
    for fault in [Fault::Lost, Fault::Silent, Fault::Foreign, Fault::Refused("settlement_pending")] {
        let street = Street::new();
        let app = process(&street, price(&street), Wrong::Status, 0);
        let signed = pay(post("/a", b"x"), &app).await;
        street.chain.fail("settle", fault);
        let got = signed.send(&app).await;
        assert_eq!(got.code(), (503, "settlement-pending".into(), "same".into()), "{fault:?}");
        assert_eq!(street.hits.get(), 0);
        assert_eq!(signed.send(&app).await.text(), "run 1");
        assert_eq!((street.hits.get(), street.chain.transactions()), (1, 1));
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_stored_waits_and_its_handler_does_not_run_again() {
    let street = Street::new();
    let app = process(&street, price(&street), Wrong::Status, 0);
    let signed = pay(post("/a", b"x"), &app).await;
    street.records.script([None, None, None, Some(Fault::Refused("no disk"))]);
    assert_eq!(signed.send(&app).await.code(), (503, "settlement-pending".into(), "same".into()));
    assert_eq!(signed.send(&app).await.text(), "run 1");
    assert_eq!(street.count(), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_while_its_money_moves_finds_its_answer() {
    for (what, runs) in [(OnDisconnect::Finish, 1), (OnDisconnect::Cancel, 1)] {
        let street = Street::new();
        let app = process(&street, price(&street).on_disconnect(what), Wrong::Status, 0);
        let signed = pay(post("/a", b"x"), &app).await;
        let slow_chain = street.chain.gate.write().await;
        let request = app.clone().oneshot(signed.request().build());
        assert!(tokio::time::timeout(Duration::from_secs(1), request).await.is_err());
        drop(slow_chain);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(signed.send(&app).await.text(), format!("run {runs}"));
        assert_eq!(street.count(), (runs, 1, 1));
    }
}
