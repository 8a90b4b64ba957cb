//! Processes that die with a claim, and what another one makes of it.

use axum::Router;
use axum::routing::get as route_get;
use farthing_server::PriceLayer;

use crate::chain::*;
use crate::shopping::*;

fn pages(street: &Street, layer: PriceLayer) -> Router {
    let (hits, points) = (street.hits.clone(), street.points.clone());
    let page = move || async move {
        let run = hits.hit();
        points.pass("handler").await;
        format!("run {run}")
    };
    Router::new().route("/a", route_get(page.clone()).post(page).layer(layer))
}

/// Presents a payment to a process, which dies when it comes to `point`.
pub fn dies(street: &Street, app: &Router, signed: &Signed, point: &'static str) {
    street.points.stop_at(point);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (app, signed) = (app.clone(), signed.clone());
        let sent = tokio::spawn(async move { signed.send(&app).await });
        while !street.points.reached() {
            assert!(!sent.is_finished(), "it never came to {point}");
            tokio::task::yield_now().await;
        }
    });
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn price(street: &Street) -> PriceLayer {
    street.paywall(chain_rail("exact")).price("$0.001")
}

#[test]
fn t17_a_page_of_a_process_that_died_is_served_by_another_once_its_lease_has_lapsed() {
    for (point, text, settles) in [
        ("verify", "run 1", 1),
        ("handler", "run 2", 1),
        ("before settle", "run 1", 1),
        ("after settle", "run 1", 2),
    ] {
        let street = Street::new();
        let (one, two) = (pages(&street, price(&street)), pages(&street, price(&street)));
        let signed = run(pay(get("/a"), &one));
        dies(&street, &one, &signed, point);
        let runs = street.hits.get();
        let busy = run(signed.send(&two));
        assert_eq!(busy.code(), (409, "payment-in-progress".into(), "same".into()), "{point}");
        assert_eq!(street.hits.get(), runs);
        street.pass(LEASE);
        let got = run(signed.send(&two));
        assert_eq!((got.status.as_u16(), got.text()), (200, text), "{point}");
        assert_eq!((street.chain.count("settle"), street.chain.transactions()), (settles, 1), "{point}");
        assert_eq!(run(signed.send(&two)).text(), text);
        assert_eq!((street.hits.get(), street.chain.spent()), (if text == "run 2" { 2 } else { 1 }, 1000));
    }
}

#[test]
fn a_request_that_must_not_run_twice_is_given_up_unless_it_may_be_settled() {
    for (point, outcome) in
        [("handler", None), ("before settle", Some("run 1")), ("after settle", Some("run 1"))]
    {
        let street = Street::new();
        let layer = || price(&street).repeatable(false);
        let (one, two) = (pages(&street, layer()), pages(&street, layer()));
        let signed = run(pay(get("/a"), &one));
        dies(&street, &one, &signed, point);
        street.pass(LEASE);
        let got = run(signed.send(&two));
        match outcome {
            Some(text) => assert_eq!((got.status.as_u16(), got.text()), (200, text), "{point}"),
            None => {
                assert_eq!(got.code(), (409, "payment-voided".into(), "new".into()));
                assert_eq!(run(signed.send(&two)).code(), (402, "payment-voided".into(), "new".into()));
                assert_eq!(street.count(), (1, 0, 0));
            }
        }
        assert_eq!((street.hits.get(), street.chain.transactions()), (1, usize::from(outcome.is_some())));
    }
}

#[test]
fn a_claim_of_a_process_that_died_is_still_for_its_request_only() {
    let street = Street::new();
    let (one, two) = (pages(&street, price(&street)), pages(&street, price(&street)));
    let signed = run(pay(get("/a"), &one));
    dies(&street, &one, &signed, "before settle");
    street.pass(LEASE);
    let other = run(signed.send_to(get("/a?x"), &two));
    assert_eq!(other.code(), (409, "bound-to-other-request".into(), "new".into()));
    assert_eq!(street.count(), (1, 0, 0));
    assert_eq!(run(signed.send(&two)).text(), "run 1");
}

#[test]
fn a_process_that_comes_back_as_another_finds_its_own_claim_taken_until_the_lease_lapses() {
    let street = Street::new();
    let one = pages(&street, price(&street));
    let signed = run(pay(get("/a"), &one));
    dies(&street, &one, &signed, "handler");
    let again = pages(&street, price(&street));
    assert_eq!(run(signed.send(&again)).code().1, "payment-in-progress");
    street.pass(LEASE);
    assert_eq!(run(signed.send(&again)).text(), "run 2");
    assert_eq!(street.count(), (2, 1, 1));
}

#[test]
fn what_was_paid_upfront_is_delivered_by_another_process_if_it_may_run_again() {
    for (point, repeatable, runs) in [
        ("before settle", false, Some(1)),
        ("after settle", false, Some(1)),
        ("handler", true, Some(2)),
        ("handler", false, None),
    ] {
        let street = Street::new();
        let layer = || price(&street).repeatable(repeatable);
        let (one, two) = (pages(&street, layer()), pages(&street, layer()));
        let signed = run(pay(post("/a", b"x"), &one));
        dies(&street, &one, &signed, point);
        assert_eq!(run(signed.send(&two)).code().1, "payment-in-progress");
        street.pass(LEASE);
        for _ in 0..2 {
            let got = run(signed.send(&two));
            match runs {
                Some(runs) => assert_eq!(got.text(), format!("run {runs}"), "{point}"),
                None => assert_eq!(got.code(), (409, "answer-not-kept".into(), "none".into())),
            }
            assert!(got.settlement().success);
        }
        assert_eq!((street.hits.get(), street.chain.transactions()), (runs.unwrap_or(1), 1));
    }
}
