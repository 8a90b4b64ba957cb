//! Payments that nobody can hold: claimed, verified, served, settled. Counted are handler runs, settlements
//! that were asked for, and transactions.

use std::sync::Arc;
use std::time::Duration;

use axum::routing::get as route_get;
use axum::{Extension, Router};
use farthing_protocol::Amount;
use farthing_server::{Captured, ConfigError, Durability, Meter, PriceLayer};
use http::StatusCode;
use tokio::sync::Semaphore;

use crate::chain::*;
use crate::scripted::{Fault, NOW};
use crate::shopping::*;

/// Pages of one process.
pub fn pages(street: &Street, layer: &PriceLayer) -> Router {
    let (hits, long, fails) = (street.hits.clone(), street.hits.clone(), street.hits.clone());
    let page = move || async move { format!("run {}", hits.hit()) };
    let long = move || async move { format!("run {}{}", long.hit(), "x".repeat(100_000)) };
    let fails = move || async move {
        fails.hit();
        (StatusCode::NOT_FOUND, "nothing there")
    };
    Router::new()
        .route("/a", route_get(page.clone()).post(page.clone()).layer(layer.clone()))
        .route("/b", route_get(page).layer(layer.clone()))
        .route("/long", route_get(long).layer(layer.clone()))
        .route("/fails", route_get(fails).layer(layer.clone()))
}

fn process(street: &Street) -> Router {
    pages(street, &street.paywall(chain_rail("exact")).price("$0.001"))
}

fn pending(got: &Got) {
    assert_eq!(got.code(), (503, "settlement-pending".into(), "same".into()));
    assert_eq!(got.reason(), "settlement_pending");
    assert!(got.headers.contains_key("retry-after") && !got.headers.contains_key("payment-required"));
}

#[tokio::test]
async fn a_payment_is_verified_then_served_then_settled_and_its_answer_kept() {
    let street = Street::new();
    let app = process(&street);
    let signed = pay(get("/a"), &app).await;
    let paid = signed.send(&app).await;
    assert_eq!((paid.status, paid.text()), (StatusCode::OK, "run 1"));
    assert_eq!(street.chain.calls(), ["verify", "settle"]);
    let settlement = paid.settlement();
    assert_eq!(settlement.transaction, street.chain.transaction(&signed.id()));
    assert_eq!((settlement.success, settlement.amount), (true, Some(Amount(1000))));
    assert_eq!(
        (settlement.payer.as_deref(), &settlement.extra["state"]),
        (Some("0xalice"), &"settled".into())
    );
    for app in [&app, &process(&street)] {
        let again = signed.send(app).await;
        assert_eq!((again.status, again.text()), (StatusCode::OK, "run 1"));
        assert_eq!(again.settlement().transaction, settlement.transaction);
    }
    assert_eq!((street.count(), street.chain.calls().len()), ((1, 1, 1), 2));
    assert_eq!(street.records.untils(), [NOW + 900], "kept until ten minutes after it is valid");
}

#[tokio::test]
async fn a_rail_that_cannot_hold_money_needs_records() {
    let street = Street::new();
    let error = street.builder(chain_rail("exact")).build().unwrap_err();
    assert_eq!(error, ConfigError::NoRecords { scheme: "exact".into(), network: SEPOLIA.into() });
    assert!(error.to_string().contains("`records`"));
    assert!(street.builder(chain_rail("exact")).records(street.records.clone()).build().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t14_sixty_four_duplicates_at_two_processes_run_one_handler_and_settle_once() {
    for ask in [get("/a"), post("/a", b"x"), get("/a"), post("/a", b"x")] {
        let street = Street::new();
        let apps = [process(&street), process(&street)];
        let signed = pay(ask, &apps[0]).await;
        let all = (0..64).map(|at| {
            let (signed, app) = (signed.clone(), apps[at % 2].clone());
            tokio::spawn(async move { signed.send(&app).await })
        });
        let mut served = 0;
        for task in all.collect::<Vec<_>>() {
            let got = task.await.unwrap();
            match got.status.as_u16() {
                200 => {
                    served += 1;
                    assert_eq!(got.text(), "run 1");
                }
                _ => assert_eq!(got.code(), (409, "payment-in-progress".into(), "same".into())),
            }
        }
        assert!(served >= 1);
        assert_eq!((street.count(), street.chain.count("verify")), ((1, 1, 1), 1));
        for app in &apps {
            assert_eq!(signed.send(app).await.text(), "run 1");
        }
        assert_eq!(street.count(), (1, 1, 1));
    }
}

#[tokio::test]
async fn t05_a_payment_that_was_presented_for_one_request_does_not_open_another() {
    let street = Street::new();
    let (one, two) = (process(&street), process(&street));
    let signed = pay(get("/a"), &one).await;
    assert_eq!(signed.send(&one).await.text(), "run 1");
    for app in [&one, &two] {
        for ask in [get("/b"), get("/a?x"), get("/long")] {
            let got = signed.send_to(ask, app).await;
            assert_eq!(got.code(), (409, "bound-to-other-request".into(), "new".into()));
            assert_eq!(got.reason(), "bound_to_other_request");
        }
        assert_eq!(signed.send(app).await.text(), "run 1");
    }
    assert_eq!(street.count(), (1, 1, 1));
    assert_eq!(pay(get("/b"), &one).await.send(&one).await.text(), "run 2");
}

#[tokio::test]
async fn what_is_shown_to_everybody_does_not_open_the_stored_answer() {
    let street = Street::new();
    let app = process(&street);
    let signed = pay(get("/a"), &app).await;
    assert_eq!(signed.send(&app).await.status, 200);
    // The signed part is in the transaction; the rest of the header is the payer's alone.
    let mut copied = signed.clone();
    copied.payment["extensions"] = serde_json::json!({"copied": {}});
    let got = copied.send(&process(&street)).await;
    assert_eq!(got.code(), (409, "payment-conflict".into(), "none".into()));
    assert_eq!(signed.send(&process(&street)).await.text(), "run 1");
    assert_eq!(street.count(), (1, 1, 1));
}

#[tokio::test]
async fn a_payment_that_is_not_valid_leaves_nothing_and_works_once_it_is() {
    let street = Street::new();
    let app = process(&street);
    let signed = pay(get("/a"), &app).await;
    street.chain.fail("verify", Fault::Refused("insufficient_funds"));
    let got = signed.send(&app).await;
    assert_eq!(got.code(), (402, "payment-refused".into(), "new".into()));
    assert_eq!(
        (got.reason(), got.terms().error.as_deref()),
        ("insufficient_funds".into(), Some("insufficient_funds"))
    );
    assert_eq!((street.count(), street.records.len()), ((0, 0, 0), 0));
    assert_eq!(signed.send(&process(&street)).await.text(), "run 1");
    assert_eq!(street.count(), (1, 1, 1));
    let forged = pay(get("/a"), &app).await.change("/payload/signature", "bad").send(&app).await;
    assert_eq!((forged.status.as_u16(), forged.reason().as_str()), (402, "invalid_signature"));
    assert_eq!((street.count(), street.records.len()), ((1, 1, 1), 1));
}

#[tokio::test]
async fn without_a_facilitator_there_is_no_free_content_and_it_recovers_at_any_process() {
    let street = Street::new();
    let app = process(&street);
    let signed = pay(get("/a"), &app).await;
    for fault in [Fault::Lost, Fault::Foreign, Fault::Refused("unexpected_verify_error")] {
        street.chain.fail("verify", fault);
        pending(&signed.send(&app).await);
        assert_eq!((street.count(), street.records.len()), ((0, 0, 0), 0));
    }
    assert_eq!(signed.send(&process(&street)).await.text(), "run 1");
    assert_eq!(street.count(), (1, 1, 1));
}

#[tokio::test]
async fn without_records_nothing_runs_and_it_recovers() {
    let street = Street::new();
    let app = process(&street);
    let signed = pay(get("/a"), &app).await;
    for fault in [Fault::Refused("no disk"), Fault::Lost, Fault::Silent] {
        street.records.script([Some(fault)]);
        pending(&signed.send(&app).await);
        assert_eq!(street.count(), (0, 0, 0));
    }
    assert_eq!(signed.send(&app).await.text(), "run 1");
    assert_eq!(street.count(), (1, 1, 1));
}

#[tokio::test]
async fn nothing_is_settled_before_it_is_written_down() {
    for fault in [Fault::Refused("no disk"), Fault::Lost, Fault::Silent] {
        let street = Street::new();
        let app = process(&street);
        let signed = pay(get("/a"), &app).await;
        street.records.script([None, Some(fault)]);
        pending(&signed.send(&app).await);
        assert_eq!(street.count(), (1, 0, 0));
        assert_eq!(signed.send(&app).await.text(), "run 1");
        assert_eq!(street.count(), (1, 1, 1));
    }
}

#[tokio::test]
async fn a_settlement_that_cannot_be_written_down_is_delivered_and_found_again() {
    for fault in [Fault::Refused("no disk"), Fault::Silent] {
        let street = Street::new();
        let app = process(&street);
        let signed = pay(get("/a"), &app).await;
        street.records.script([None, None, Some(fault)]);
        assert_eq!(signed.send(&app).await.text(), "run 1");
        street.pass(LEASE);
        assert_eq!(signed.send(&process(&street)).await.text(), "run 1");
        assert_eq!((street.hits.get(), street.chain.transactions()), (1, 1));
    }
}

#[tokio::test]
async fn a_handlers_error_is_passed_on_and_never_settled() {
    let street = Street::new();
    let app = process(&street);
    let signed = pay(get("/fails"), &app).await;
    let got = signed.send(&app).await;
    assert_eq!(
        (got.status.as_u16(), got.text(), got.reason().as_str()),
        (404, "nothing there", "payment_voided")
    );
    assert_eq!((got.settlement().transaction.as_str(), got.settlement().amount), ("", Some(Amount::ZERO)));
    for app in [&app, &process(&street)] {
        assert_eq!(signed.send(app).await.code(), (402, "payment-voided".into(), "new".into()));
    }
    assert_eq!(street.count(), (1, 0, 0));
    assert_eq!(pay(get("/a"), &app).await.send(&app).await.status, 200);
}

#[tokio::test]
async fn t21_a_settlement_that_is_refused_lets_no_byte_out() {
    for target in ["/a", "/long"] {
        let street = Street::new();
        let app = process(&street);
        let signed = pay(get(target), &app).await;
        street.chain.fail("settle", Fault::Refused("insufficient_funds"));
        let got = signed.send(&app).await;
        assert_eq!(got.code(), (402, "payment-refused".into(), "new".into()));
        assert_eq!((got.reason().as_str(), got.text().contains("run 1")), ("insufficient_funds", false));
        for app in [&app, &process(&street)] {
            assert_eq!(signed.send(app).await.code(), (402, "payment-voided".into(), "new".into()));
        }
        assert_eq!(street.count(), (1, 1, 0));
        assert_eq!(pay(get(target), &app).await.send(&app).await.status, 200);
        assert_eq!(street.count(), (2, 2, 1));
    }
}

#[tokio::test]
async fn a_settlement_of_which_nobody_knows_is_repeated_and_not_the_handler() {
    for (target, fault) in [
        ("/a", Fault::Lost),
        ("/a", Fault::Silent),
        ("/a", Fault::Foreign),
        ("/a", Fault::Refused("settlement_pending")),
        ("/a", Fault::Refused("unexpected_settle_error")),
        ("/long", Fault::Silent),
    ] {
        let street = Street::new();
        let app = process(&street);
        let signed = pay(get(target), &app).await;
        street.chain.fail("settle", fault);
        street.chain.fail("settle", Fault::Lost);
        pending(&signed.send(&app).await);
        pending(&signed.send(&app).await);
        let got = signed.send(&app).await;
        assert!(got.status == 200 && got.text().starts_with("run 1"), "{target} {fault:?}");
        assert_eq!((street.hits.get(), street.chain.transactions(), street.chain.spent()), (1, 1, 1000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_settlement_of_which_nobody_knows_is_repeated_in_the_background() {
    let street = Street::new();
    let app = process(&street);
    let signed = pay(get("/a"), &app).await;
    (0..3).for_each(|_| street.chain.fail("settle", Fault::Lost));
    pending(&signed.send(&app).await);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(street.count(), (1, 4, 1));
    for app in [&app, &process(&street)] {
        assert_eq!(signed.send(app).await.text(), "run 1");
    }
    assert_eq!(street.count(), (1, 4, 1));
}

#[tokio::test(start_paused = true)]
async fn t19_a_refusal_after_an_unknown_settlement_is_not_believed_while_it_may_have_settled() {
    let street = Street::new();
    let app = process(&street);
    let signed = pay(get("/a"), &app).await;
    street.chain.fail("settle", Fault::Lost);
    pending(&signed.send(&app).await);
    for why in ["insufficient_funds", "invalid_exact_evm_nonce_already_used"] {
        street.chain.fail("settle", Fault::Refused(why));
        pending(&signed.send(&app).await);
    }
    street.pass(361);
    street.chain.fail("settle", Fault::Refused("invalid_exact_evm_nonce_already_used"));
    pending(&signed.send(&app).await);
    let over = signed.send(&app).await;
    assert_eq!((over.status.as_u16(), over.reason().as_str()), (402, "payment_expired"));
    assert_eq!(signed.send(&app).await.code(), (402, "payment-voided".into(), "new".into()));
    assert_eq!((street.hits.get(), street.chain.transactions()), (1, 0));
}

#[tokio::test]
async fn a_payment_whose_time_is_over_is_still_what_it_was() {
    let street = Street::new();
    let (one, two) = (process(&street), process(&street));
    let [served, unknown, failed, fresh] = [
        pay(get("/a"), &one).await,
        pay(get("/a"), &one).await,
        pay(get("/fails"), &one).await,
        pay(get("/a"), &one).await,
    ];
    assert_eq!(served.send(&one).await.text(), "run 1");
    street.chain.fail("settle", Fault::Lost);
    pending(&unknown.send(&one).await);
    assert_eq!(failed.send(&one).await.status, 404);
    street.pass(301);
    assert_eq!(served.send(&two).await.text(), "run 1");
    // Another process asks once more; nobody may be told to pay again yet.
    pending(&unknown.send(&two).await);
    assert_eq!(failed.send(&two).await.reason(), "payment_voided");
    let got = fresh.send(&two).await;
    assert_eq!((got.status.as_u16(), got.reason().as_str()), (402, "payment_expired"));
    street.pass(60);
    assert_eq!(unknown.send(&two).await.reason(), "payment_expired");
    assert_eq!((street.hits.get(), street.chain.count("verify"), street.chain.transactions()), (3, 3, 1));
}

#[tokio::test]
async fn a_route_says_what_extensions_it_has() {
    let street = Street::new();
    let value = serde_json::json!({"info": {"input": {"type": "http", "method": "GET"}}, "schema": {}});
    let layer = street.paywall(chain_rail("exact")).price("$0.001").extension("bazaar", &value);
    let unpaid = get("/a").send(&pages(&street, &layer)).await;
    let terms = unpaid.terms();
    assert_eq!(serde_json::from_str::<serde_json::Value>(terms.extensions["bazaar"].get()).unwrap(), value);
    assert!(get("/a").send(&process(&street)).await.terms().extensions.is_empty());
}

#[tokio::test]
async fn a_claim_that_was_taken_over_is_settled_by_who_took_it() {
    let street = Street::new();
    let (hits, gate) = (street.hits.clone(), Arc::new(Semaphore::new(0)));
    let waits = gate.clone();
    let slow = move || async move {
        hits.hit();
        waits.acquire().await.unwrap().forget();
        "slow"
    };
    let layer = street.paywall(chain_rail("exact")).price("$0.001");
    let slow = Router::new().route("/a", route_get(slow).layer(layer));
    let signed = pay(get("/a"), &slow).await;
    let first = tokio::spawn({
        let (signed, slow) = (signed.clone(), slow.clone());
        async move { signed.send(&slow).await }
    });
    while street.hits.get() == 0 {
        tokio::task::yield_now().await;
    }
    let other = process(&street);
    assert_eq!(signed.send(&other).await.code(), (409, "payment-in-progress".into(), "same".into()));
    street.pass(LEASE);
    assert_eq!(signed.send(&other).await.text(), "run 2");
    gate.add_permits(1);
    let late = first.await.unwrap();
    assert_eq!(late.code(), (409, "payment-in-progress".into(), "same".into()));
    assert_eq!(street.count(), (2, 1, 1));
    assert_eq!(signed.send(&slow).await.text(), "run 2");
}

#[tokio::test]
async fn a_long_answer_is_settled_once_and_not_kept() {
    let street = Street::new();
    let app = process(&street);
    let signed = pay(get("/long"), &app).await;
    assert_eq!(signed.send(&app).await.body.len(), 100_005);
    let again = signed.send(&process(&street)).await;
    assert_eq!(again.code(), (409, "answer-not-kept".into(), "none".into()));
    assert!(again.settlement().success && !again.settlement().transaction.is_empty());
    assert_eq!(street.count(), (1, 1, 1));
}

#[tokio::test]
async fn a_relaxed_route_waits_for_the_money_all_the_same() {
    let street = Street::new();
    let layer = street.paywall(chain_rail("exact")).price("$0.001").durability(Durability::Relaxed);
    let app = pages(&street, &layer);
    let signed = pay(get("/a"), &app).await;
    street.chain.fail("settle", Fault::Lost);
    pending(&signed.send(&app).await);
    assert_eq!(signed.send(&app).await.text(), "run 1");
}

fn metered(street: &Street, scheme: &'static str, amount: u128) -> Router {
    let paywall = street.paywall(chain_rail(scheme));
    let hits = street.hits.clone();
    let handler = move || async move {
        hits.hit();
        (Extension(Captured(Amount(amount))), "metered")
    };
    let layer = match scheme {
        "upto" => paywall.up_to("$0.001"),
        _ => paywall.price("$0.001"),
    };
    Router::new().route("/a", route_get(handler.clone()).post(handler).layer(layer))
}

#[tokio::test]
async fn upto_settles_what_was_used_and_nothing_where_nothing_was() {
    for (scheme, amount, expected) in
        [("upto", 400, 200), ("upto", 1000, 200), ("upto", 0, 200), ("upto", 1001, 500), ("exact", 400, 500)]
    {
        let street = Street::new();
        let app = metered(&street, scheme, amount);
        let signed = pay(get("/a"), &app).await;
        let got = signed.send(&app).await;
        assert_eq!(got.status, expected, "{scheme} {amount}");
        let asked = if expected == 200 && amount > 0 { vec![Amount(amount)] } else { vec![] };
        assert_eq!(
            (street.chain.amounts(), street.chain.spent()),
            (asked.clone(), asked.iter().map(|a| a.0).sum())
        );
        if expected == 200 {
            for got in [got, signed.send(&app).await] {
                let settlement = got.settlement();
                assert_eq!((settlement.success, settlement.amount), (true, Some(Amount(amount))));
                assert_eq!(settlement.transaction.is_empty(), amount == 0);
            }
        }
        assert_eq!(street.hits.get(), 1);
    }
}

#[tokio::test]
async fn what_a_handler_charges_is_settled_at_its_end_and_nothing_is_metered_while_it_flows() {
    for used in [0, 300, 1000] {
        let street = Street::new();
        let handler = async move |Extension(meter): Extension<Meter>| {
            meter.charge(Amount(used)).await.unwrap();
            assert!(meter.charge(Amount(1001 - used)).await.is_err());
            "metered"
        };
        let layer = street.paywall(chain_rail("upto")).up_to("$0.001");
        let app = Router::new().route("/a", route_get(handler).layer(layer));
        let signed = pay(get("/a"), &app).await;
        for _twice in 0..2 {
            let got = signed.send(&app).await;
            assert_eq!((got.text(), got.settlement().amount), ("metered", Some(Amount(used))));
        }
        assert_eq!(street.chain.spent(), used);
    }
    let paywall = Street::new().paywall(chain_rail("upto"));
    for layer in [
        paywall.up_to("$0.001").try_per_event("$0.0001"),
        paywall.up_to("$0.001").try_per_bytes(1, "$0.0001"),
    ] {
        assert!(matches!(layer, Err(ConfigError::Unmetered(_))), "{layer:?}");
    }
}

#[tokio::test]
async fn upto_is_metered_for_every_method() {
    let street = Street::new();
    let app = metered(&street, "upto", 300);
    let signed = pay(post("/a", b"words"), &app).await;
    assert_eq!(signed.send(&app).await.settlement().amount, Some(Amount(300)));
    assert_eq!(signed.send_to(post("/a", b"other"), &app).await.code().1, "bound-to-other-request");
    assert_eq!((street.chain.calls(), street.chain.amounts()), (vec!["verify", "settle"], vec![Amount(300)]));
}

#[tokio::test]
async fn a_receipt_names_the_payment_and_the_settlement_the_transaction() {
    let street = Street::new();
    let app = process(&street);
    let signed = pay(get("/a"), &app).await.receipt();
    for _ in 0..2 {
        let settlement = signed.send(&app).await.settlement();
        let receipt = settlement.extensions["farthing-receipt"].get();
        let receipt: farthing_protocol::receipt::SignedReceipt = serde_json::from_str(receipt).unwrap();
        let receipt = receipt.verify(&receipt_key().public()).unwrap();
        assert_eq!((receipt.payment, receipt.amount), (signed.id(), Amount(1000)));
        assert_eq!(settlement.transaction, street.chain.transaction(&signed.id()));
    }
}

#[tokio::test]
async fn old_claims_are_forgotten() {
    let street = Street::new();
    let app = process(&street);
    for _ in 0..3 {
        assert_eq!(pay(get("/a"), &app).await.send(&app).await.status, 200);
    }
    assert_eq!(street.records.len(), 3);
    street.pass(901);
    let late = pay(get("/a"), &app).await.change("/payload/signed/validBefore", NOW + 1200);
    assert_eq!(late.send(&app).await.status, 200);
    assert_eq!(street.records.len(), 1);
}
