//! Signed offers and receipts, by x402's extension offer-receipt.

use axum::Router;
use axum::routing::get as route_get;
use farthing_protocol::did_key;
use farthing_protocol::jws::Jws;
use farthing_protocol::offer_receipt::{self, Artifact, SignedOffer, SignedReceipt};
use farthing_server::PriceLayer;
use http::StatusCode;
use serde_json::{Value, json};

use crate::metered;
use crate::scripted::*;
use crate::shopping::*;

const WEATHER: &str = "https://shop.example/weather?city=Taipei";

fn shop(world: &World, layer: PriceLayer) -> Router {
    let (hits, long) = (world.hits.clone(), world.hits.clone());
    let page = async move || format!("run {}", hits.hit());
    let long = async move || format!("run {}{}", long.hit(), "x".repeat(100_000));
    let fails = async || (StatusCode::NOT_FOUND, "nothing there");
    Router::new()
        .route("/weather", route_get(page).layer(layer.clone()))
        .route("/long", route_get(long).layer(layer.clone()))
        .route("/fails", route_get(fails).layer(layer))
}

fn signing() -> World {
    World::with(rail("exact"), |builder| builder.signed_offers(true))
}

fn asking(mut signed: Signed) -> Signed {
    signed.payment["extensions"] = json!({ offer_receipt::EXTENSION: {} });
    signed
}

fn receipt(got: &Got) -> Option<(Artifact, SignedReceipt)> {
    let artifact = offer_receipt::receipt(&got.settlement().extensions).unwrap()?;
    let receipt = artifact.verify(&receipt_key().public()).unwrap();
    Some((artifact, receipt))
}

#[tokio::test]
async fn a_seller_that_signs_its_offers_signs_each_of_them_with_its_receipt_key() {
    let world = signing();
    let app = shop(&world, world.paywall.price("$0.001").or_price("$0.002"));
    let unpaid = get("/weather?city=Taipei").send(&app).await;
    let terms = unpaid.terms();
    let (offers, signed) = (terms.offers().collect::<Vec<_>>(), offer_receipt::offers(&terms.extensions));
    assert_eq!((offers.len(), signed.len()), (2, 2));
    for (at, (offer, artifact)) in offers.iter().zip(&signed).enumerate() {
        assert_eq!(artifact.accept_index, Some(at as u64));
        assert_eq!(artifact.jws().unwrap().kid(), did_key::key_id(&receipt_key().public()));
        let stated: SignedOffer = artifact.verify(&receipt_key().public()).unwrap();
        assert!(stated.covers(offer, WEATHER), "{stated:?}");
        assert_eq!(stated.valid_until, Some(NOW + 300));
        assert_eq!(offer.extra["receiptKey"], receipt_key().public().to_string());
    }
    assert_ne!(signed[0].signature, signed[1].signature);
    assert_eq!(unpaid.problem()["terms"], serde_json::to_value(&terms).unwrap());
    assert_eq!(world.count(), (0, 0, vec![]));
    // And a payment that echoes all of it is taken.
    let mut paying = get("/weather?city=Taipei").pay(&app).await;
    paying.payment["extensions"] = serde_json::to_value(&terms.extensions).unwrap();
    let paid = paying.send(&app).await;
    assert_eq!((paid.status, world.count().1), (StatusCode::OK, 1));
    assert!(receipt(&paid).is_some());
}

#[tokio::test]
async fn offers_are_not_signed_unless_the_seller_says_so() {
    let world = World::with(rail("exact"), |builder| builder);
    let app = shop(&world, world.paywall.price("$0.001"));
    assert!(get("/weather").send(&app).await.terms().extensions.is_empty());
}

#[tokio::test]
async fn who_asks_gets_a_signed_receipt_of_who_paid_for_what_and_when() {
    let world = World::with(rail("exact"), |builder| builder);
    let app = shop(&world, world.paywall.price("$0.001"));
    let signed = asking(get("/weather?city=Taipei").pay(&app).await);
    world.pass(7);
    let paid = signed.send(&app).await;
    let (artifact, stated) = receipt(&paid).unwrap();
    let expected = SignedReceipt {
        version: 1,
        network: "test:one".parse().unwrap(),
        resource_url: WEATHER.into(),
        payer: "alice".into(),
        issued_at: NOW + 7,
        transaction: None,
    };
    assert_eq!(stated, expected);
    let extension: Value =
        serde_json::from_str(paid.settlement().extensions[offer_receipt::EXTENSION].get()).unwrap();
    assert_eq!(extension["schema"]["required"], json!(["receipt"]));
    // The stored answer has the same receipt, word for word.
    world.pass(100);
    let again = signed.send(&app).await;
    assert_eq!((receipt(&again).unwrap().0, again.text()), (artifact, "run 1"));
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
    // Who does not ask gets none.
    let plain = get("/weather?city=Taipei").pay(&app).await.send(&app).await;
    assert_eq!((plain.status, receipt(&plain)), (StatusCode::OK, None));
}

#[tokio::test]
async fn a_route_may_give_receipts_to_everybody_and_name_the_settlement_in_them() {
    let world = World::with(rail("exact"), |builder| builder);
    let layer = world.paywall.price("$0.001").signed_receipts(true).receipts_name_settlements(true);
    let app = shop(&world, layer);
    let signed = get("/weather").pay(&app).await;
    let stated = receipt(&signed.send(&app).await).unwrap().1;
    assert_eq!(stated.transaction, Some(signed.id().to_string()));
}

#[tokio::test]
async fn an_answer_that_is_too_long_to_be_kept_has_a_signed_receipt_all_the_same() {
    let world = World::with(rail("exact"), |builder| builder);
    let app = shop(&world, world.paywall.price("$0.001"));
    let paid = asking(get("/long").pay(&app).await.receipt());
    let paid = paid.send(&app).await;
    assert!(paid.text().len() > 100_000 && receipt(&paid).is_some());
}

#[tokio::test]
async fn nothing_is_signed_for_a_request_that_was_not_paid_for() {
    let world = World::with(rail("exact"), |builder| builder);
    let app = shop(&world, world.paywall.price("$0.001").signed_receipts(true));
    let failed = asking(get("/fails").pay(&app).await).send(&app).await;
    assert_eq!((failed.status, world.ledger.captures()), (StatusCode::NOT_FOUND, 0));
    assert!(failed.settlement().extensions.is_empty());
    let forged = asking(get("/weather").pay(&app).await).change("/payload/signature", "bad").send(&app).await;
    assert_eq!(forged.status, StatusCode::PAYMENT_REQUIRED);
    assert!(forged.settlement().extensions.is_empty());
    let paid = asking(get("/weather").pay(&app).await).send(&app).await;
    assert!(receipt(&paid).is_some() && world.ledger.captures() == 1);
}

#[tokio::test]
async fn what_is_signed_is_a_jws_that_no_other_key_made() {
    let world = signing();
    let app = shop(&world, world.paywall.price("$0.001"));
    let terms = get("/weather").send(&app).await.terms();
    let [artifact] = &offer_receipt::offers(&terms.extensions)[..] else { panic!("one offer") };
    let jws = Jws::read(&artifact.signature).unwrap();
    assert!(jws.verify(&jws.key().unwrap()).is_ok());
    let other = farthing_protocol::SecretKey::from_seed([9; 32]).public();
    assert!(jws.verify(&other).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_metered_answer_has_its_signed_receipt_in_its_last_settlement_and_not_in_the_first() {
    let world = metered::world();
    let layer = world.paywall.up_to("$0.01").per_event("$0.001").signed_receipts(true);
    let app = metered::shop(&world, layer, metered::EVENTS, metered::pieces(&["data: one\n\n"]), false);
    let signed = get("/a").pay(&app).await;
    let mut got = metered::Reading::start(&app, &signed).await;
    assert!(got.first().extensions.is_empty(), "nothing was taken yet");
    got.read_all().await;
    let artifact = offer_receipt::receipt(&got.last().extensions).unwrap().unwrap();
    let stated: SignedReceipt = artifact.verify(&receipt_key().public()).unwrap();
    assert_eq!((stated.resource_url.as_str(), stated.payer.as_str()), ("https://shop.example/a", "alice"));
    assert_eq!(world.ledger.taken(), [(1_000, true)]);
}
