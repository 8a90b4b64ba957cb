//! Payment identifiers, by x402's extension payment-identifier. Counted are handler runs and captures.

use std::sync::Arc;

use axum::Router;
use axum::routing::get as route_get;
use farthing_protocol::payment_identifier;
use farthing_server::{ConfigError, PaymentIdentifier, PriceLayer};
use http::StatusCode;
use serde_json::{Value, json};

use crate::chain::{self, Memory};
use crate::claims;
use crate::scripted::*;
use crate::shopping::*;

const ID: &str = "pay_7d5d747be160e280504c099d984bcfe0";

fn shop(world: &World, layer: PriceLayer) -> Router {
    let (hits, fails) = (world.hits.clone(), world.hits.clone());
    let page = async move || format!("run {}", hits.hit());
    let fails = async move || {
        fails.hit();
        (StatusCode::NOT_FOUND, "nothing there")
    };
    Router::new()
        .route("/a", route_get(page.clone()).post(page.clone()).layer(layer.clone()))
        .route("/b", route_get(page).layer(layer.clone()))
        .route("/fails", route_get(fails).layer(layer))
}

/// A shop whose payers name what they pay for.
fn naming(wanted: PaymentIdentifier) -> (World, Arc<Memory>, Router) {
    let records = Arc::new(Memory::default());
    let world = World::with(rail("exact"), |builder| builder.records(records.clone()));
    let app = shop(&world, world.paywall.price("$0.001").payment_identifier(wanted));
    (world, records, app)
}

trait Named {
    fn named(self, id: impl Into<Value>) -> Self;
    fn by(self, payer: &str) -> Self;
}

impl Named for Signed {
    fn named(mut self, id: impl Into<Value>) -> Self {
        let mut extension = payment_identifier::declaration(true);
        extension["info"]["id"] = id.into();
        self.payment["extensions"] = json!({ payment_identifier::EXTENSION: extension });
        self
    }
    fn by(self, payer: &str) -> Self {
        self.change("/payload/signed/payer", payer)
    }
}

fn conflicts(got: &Got) {
    assert_eq!(got.code(), (409, "payment-conflict".into(), "none".into()));
    assert_eq!(got.problem()["field"], payment_identifier::FIELD);
    assert!(!got.text().contains("run"), "nothing of what was sold: {}", got.text());
}

#[tokio::test]
async fn routes_announce_that_payers_may_or_must_name_what_they_pay_for() {
    for (wanted, required) in [(PaymentIdentifier::Required, true), (PaymentIdentifier::Optional, false)] {
        let (world, _, app) = naming(wanted);
        let terms = get("/a").send(&app).await.terms();
        let announced: Value = serde_json::from_str(terms.extensions["payment-identifier"].get()).unwrap();
        assert_eq!(announced, payment_identifier::declaration(required));
        assert_eq!(world.count(), (0, 0, vec![]));
    }
}

#[tokio::test]
async fn the_same_name_and_payment_get_the_stored_answer() {
    let (world, records, app) = naming(PaymentIdentifier::Required);
    let signed = get("/a").pay(&app).await.named(ID);
    for _ in 0..3 {
        let got = signed.send(&app).await;
        assert_eq!((got.status, got.text()), (StatusCode::OK, "run 1"));
        assert!(got.settlement().success);
    }
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
    assert_eq!(records.len(), 1);
    assert_eq!(records.untils(), [NOW + 900], "as long as the answer");
}

#[tokio::test]
async fn t13_the_same_name_for_another_request_or_with_another_payment_is_a_conflict() {
    let (world, _, app) = naming(PaymentIdentifier::Required);
    let first = post("/a", b"one").pay(&app).await.named(ID);
    assert_eq!(first.send(&app).await.text(), "run 1");
    for ask in [post("/a", b"two"), get("/a"), get("/b"), post("/a", b"one")] {
        conflicts(&ask.pay(&app).await.named(ID).send(&app).await);
    }
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1), "and nothing was held for them");
    assert_eq!(world.ledger.balance("alice"), 1_000_000 - 1000);
    // The first one, and another name, work.
    assert_eq!(first.send(&app).await.text(), "run 1");
    let other = post("/a", b"two").pay(&app).await.named("another-name-0001").send(&app).await;
    assert_eq!((other.text(), world.ledger.captures()), ("run 2", 2));
}

#[tokio::test]
async fn t13_the_same_payment_with_other_bytes_is_a_conflict() {
    let (world, _, app) = naming(PaymentIdentifier::Required);
    let first = get("/a").pay(&app).await.named(ID);
    assert_eq!(first.send(&app).await.text(), "run 1");
    conflicts(&first.clone().change("/payload/signature", "bad").send(&app).await);
    assert_eq!(first.send(&app).await.text(), "run 1");
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
}

#[tokio::test]
async fn t13_the_same_name_of_another_payer_is_another_name_and_leaks_nothing() {
    let (world, records, app) = naming(PaymentIdentifier::Required);
    let alice = get("/a").pay(&app).await.named(ID);
    assert_eq!(alice.send(&app).await.text(), "run 1");
    let bob = get("/a").pay(&app).await.by("bob").named(ID);
    assert_eq!(bob.send(&app).await.text(), "run 2", "what bob paid for, and not what alice was sent");
    assert_eq!((bob.send(&app).await.text(), alice.send(&app).await.text()), ("run 2", "run 1"));
    assert_eq!((world.hits.get(), world.ledger.captures()), (2, 2));
    assert_eq!(records.len(), 2);
}

#[tokio::test]
async fn a_name_that_is_missing_or_none_is_answered_400_with_its_field_and_holds_nothing() {
    let (world, records, app) = naming(PaymentIdentifier::Required);
    let of = async |id: Value| get("/a").pay(&app).await.named(id).send(&app).await;
    let missing = get("/a").pay(&app).await.send(&app).await;
    for got in
        [missing, of(json!(null)).await, of(json!("short")).await, of(json!("no spaces in names")).await]
    {
        assert_eq!(got.code(), (400, "malformed-payment".into(), "new".into()));
        assert_eq!(got.problem()["field"], payment_identifier::FIELD);
    }
    assert_eq!(of(json!(1)).await.status, 400);
    assert_eq!(world.count(), (0, 0, vec![]));
    assert!(records.untils().is_empty());
    assert_eq!((of(json!(ID)).await.text(), world.ledger.captures()), ("run 1", 1));
}

#[tokio::test]
async fn where_names_are_optional_a_payment_goes_without_but_not_with_a_wrong_one() {
    let (world, records, app) = naming(PaymentIdentifier::Optional);
    assert_eq!(get("/a").pay(&app).await.send(&app).await.text(), "run 1");
    assert!(records.untils().is_empty());
    assert_eq!(get("/a").pay(&app).await.named("short").send(&app).await.status, 400);
    let named = get("/a").pay(&app).await.named(ID);
    assert_eq!(named.send(&app).await.text(), "run 2");
    conflicts(&get("/a").pay(&app).await.named(ID).send(&app).await);
    assert_eq!((world.hits.get(), world.ledger.captures()), (2, 2));
}

#[tokio::test]
async fn a_refused_payment_sets_its_name_free() {
    let (world, records, app) = naming(PaymentIdentifier::Required);
    let poor = get("/a").pay(&app).await.named(ID);
    world.ledger.fail("authorize", Fault::Refused("insufficient_funds"));
    assert_eq!(poor.send(&app).await.status, StatusCode::PAYMENT_REQUIRED);
    let forged = get("/a").pay(&app).await.change("/payload/signature", "bad").named(ID).send(&app).await;
    assert_eq!(forged.status, StatusCode::PAYMENT_REQUIRED);
    let wrong = get("/a").pay(&app).await.change("/accepted/amount", "1").named(ID).send(&app).await;
    assert_eq!(wrong.status, StatusCode::PAYMENT_REQUIRED);
    assert!(records.untils().is_empty());
    let paid = get("/a").pay(&app).await.named(ID).send(&app).await;
    assert_eq!((paid.text(), world.ledger.captures()), ("run 1", 1));
    // A refusal of a payment that was served before sets nothing free.
    conflicts(&get("/a").pay(&app).await.named(ID).send(&app).await);
}

#[tokio::test]
async fn a_payment_that_was_given_back_sets_its_name_free() {
    let (world, records, app) = naming(PaymentIdentifier::Required);
    let failed = get("/fails").pay(&app).await.named(ID).send(&app).await;
    assert_eq!((failed.status, failed.reason()), (StatusCode::NOT_FOUND, "payment_voided".into()));
    assert!(records.untils().is_empty());
    let paid = get("/a").pay(&app).await.named(ID).send(&app).await;
    assert_eq!((paid.text(), world.ledger.captures()), ("run 2", 1));
}

#[tokio::test]
async fn an_outcome_that_nobody_knows_keeps_the_name() {
    let (world, _, app) = naming(PaymentIdentifier::Required);
    let signed = get("/a").pay(&app).await.named(ID);
    world.ledger.fail("authorize", Fault::Silent);
    assert_eq!(signed.send(&app).await.status, StatusCode::SERVICE_UNAVAILABLE);
    conflicts(&get("/a").pay(&app).await.named(ID).send(&app).await);
    let paid = signed.send(&app).await;
    assert_eq!((paid.text(), world.hits.get(), world.ledger.captures()), ("run 1", 1, 1));
}

#[tokio::test]
async fn a_store_that_does_not_answer_holds_nothing_and_is_asked_again() {
    let (world, records, app) = naming(PaymentIdentifier::Required);
    for fault in [Fault::Refused("down"), Fault::Lost, Fault::Silent] {
        let signed = get("/a")
            .pay(&app)
            .await
            .named(format!("pay_0123456789_{fault:?}").replace(['(', ')', '"'], "_"));
        let hits = world.hits.get();
        records.script([Some(fault)]);
        let got = signed.send(&app).await;
        assert_eq!(got.code(), (503, "settlement-pending".into(), "same".into()));
        assert!(!got.headers.contains_key("payment-required"), "no new payment is asked for");
        assert_eq!(world.hits.get(), hits);
        assert_eq!((signed.send(&app).await.status, world.hits.get()), (StatusCode::OK, hits + 1));
    }
}

#[tokio::test]
async fn a_name_lasts_as_long_as_its_payment_can_be_answered_and_no_longer() {
    let (world, _, app) = naming(PaymentIdentifier::Required);
    assert_eq!(get("/a").pay(&app).await.named(ID).send(&app).await.text(), "run 1");
    world.pass(900);
    let sign = async || {
        let later = get("/a").pay(&app).await;
        later.change("/payload/signed/validBefore", NOW + 3000).named(ID)
    };
    conflicts(&sign().await.send(&app).await);
    world.pass(1);
    assert_eq!((sign().await.send(&app).await.text(), world.ledger.captures()), ("run 2", 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t13_of_many_payments_with_one_name_at_two_processes_one_is_taken() {
    let records = Arc::new(Memory::default());
    let world = World::with(rail("exact"), |builder| builder.records(records.clone()));
    let layer = || world.paywall.price("$0.001").payment_identifier(PaymentIdentifier::Required);
    let apps = [shop(&world, layer()), shop(&world, layer())];
    let mut tasks = Vec::new();
    for at in 0..16 {
        let (signed, app) = (get("/a").pay(&apps[0]).await.named(ID), apps[at % 2].clone());
        tasks.push(tokio::spawn(async move { signed.send(&app).await }));
    }
    let mut paid = 0;
    for task in tasks {
        let got = task.await.unwrap();
        match got.status.as_u16() {
            200 => paid += 1,
            _ => conflicts(&got),
        }
    }
    assert_eq!((paid, world.hits.get(), world.ledger.captures()), (1, 1, 1));
}

#[tokio::test]
async fn names_need_records() {
    let world = World::new();
    let error =
        world.paywall.price("$0.001").try_payment_identifier(PaymentIdentifier::Optional).unwrap_err();
    assert_eq!(error, ConfigError::NoRecordsForIdentifiers);
    assert!(error.to_string().contains("`records`"));
    let (world, ..) = naming(PaymentIdentifier::Optional);
    assert!(world.paywall.price("$0.001").try_payment_identifier(PaymentIdentifier::Optional).is_ok());
}

#[tokio::test]
async fn where_nobody_holds_money_a_name_is_taken_before_the_payment_is_verified_or_settled() {
    let street = chain::Street::new();
    let layer = || {
        let paywall = street.paywall(chain::chain_rail("exact"));
        paywall.price("$0.001").payment_identifier(PaymentIdentifier::Required)
    };
    let (app, other) = (claims::pages(&street, &layer()), claims::pages(&street, &layer()));
    let signed = chain::pay(get("/a"), &app).await.named(ID);
    for app in [&app, &other, &app] {
        let got = signed.send(app).await;
        assert_eq!((got.status, got.text()), (StatusCode::OK, "run 1"));
    }
    assert_eq!((street.count(), street.chain.calls().len()), ((1, 1, 1), 2));
    // Another payment, and the same one with a header of other bytes, under the same name.
    conflicts(&chain::pay(get("/a"), &app).await.named(ID).send(&other).await);
    let mut again = signed.clone();
    again.payment["note"] = "x".into();
    conflicts(&again.send(&app).await);
    assert_eq!((street.count(), street.chain.calls().len()), ((1, 1, 1), 2), "nobody was asked about them");
    // A payment that the facilitator refuses sets its name free.
    street.chain.fail("verify", Fault::Refused("insufficient_funds"));
    let refused = chain::pay(get("/a"), &app).await.named("pay_of_somebody_poor").send(&app).await;
    assert_eq!(refused.status, StatusCode::PAYMENT_REQUIRED);
    let paid = chain::pay(get("/a"), &app).await.named("pay_of_somebody_poor").send(&other).await;
    assert_eq!((paid.text(), street.count()), ("run 2", (2, 2, 2)));
}
