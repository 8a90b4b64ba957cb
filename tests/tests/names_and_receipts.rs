//! Payments that have a name, and receipts that others can read: farthing's client and server on a real ledger.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use farthing::client::{Budget, Client, MemoryJournal};
use farthing::native::NativePay;
use farthing::protocol::header;
use farthing::protocol::offer_receipt::{self, Artifact, SignedOffer, SignedReceipt};
use farthing::protocol::payment_identifier::{self, Identifier};
use farthing::protocol::rail::SignedPayment;
use farthing::protocol::v2::{Offer, PaymentPayload};
use farthing::server::PaymentIdentifier;
use farthing_testkit::{Reply, World, key};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

const START: u128 = 100_000_000;
const PRICE: u128 = 10_000;
const ID: &str = "order-0000-0000-0042";

async fn world() -> World {
    World::start(|paywall, hits| {
        let layer =
            paywall.price("0.01 XTS").payment_identifier(PaymentIdentifier::Required).signed_receipts(true);
        let page = move || async move { format!("page {}", hits.hit("page")) };
        Router::new()
            .route("/page", get(page.clone()).layer(layer.clone()))
            .route("/other", get(page.clone()).layer(layer.clone()))
            .route("/orders", post(page).layer(layer))
    })
    .await
}

/// A payment header with a name.
fn named(offer: &Offer, signed: &SignedPayment, id: &str) -> String {
    let name = json!({ "info": { "required": true, "id": id } });
    let payload = PaymentPayload {
        x402_version: 2,
        resource: None,
        accepted: offer.clone(),
        payload: signed.payload.clone().into(),
        extensions: [(payment_identifier::EXTENSION.to_owned(), to_raw_value(&name).unwrap())].into(),
    };
    header::encode(&payload).unwrap()
}

fn problem(reply: &Reply) -> (u16, String, String) {
    let json = reply.json();
    let text = |name: &str| json[name].as_str().unwrap_or("-").to_owned();
    (reply.status, text("code"), text("field"))
}

fn conflict() -> (u16, String, String) {
    (409, "payment-conflict".into(), payment_identifier::FIELD.into())
}

#[tokio::test]
async fn t13_one_name_of_a_payer_pays_once_and_another_payers_same_name_is_its_own() {
    let world = world().await;
    let (offer, signed) = world.sign("POST", "/orders", b"one").await;
    let order = named(&offer, &signed, ID);
    for _ in 0..3 {
        let paid = world.send_paid("POST", "/orders", &order, b"one").await;
        assert_eq!((paid.status, paid.text()), (200, "page 1".into()));
    }
    // The name again: for another body, another path, and for the same order signed anew.
    for (target, body) in [("/orders", &b"two"[..]), ("/page", b""), ("/orders", b"one")] {
        let method = if target == "/page" { "GET" } else { "POST" };
        let (offer, signed) = world.sign(method, target, body).await;
        let reply = world.send_paid(method, target, &named(&offer, &signed, ID), body).await;
        assert_eq!(problem(&reply), conflict());
    }
    assert_eq!((world.hits.all(), world.captures().await, world.balance().await), (1, 1, START - PRICE));

    let bob = world.another_payer(9, "1 XTS").await;
    let offer = world.offers("POST", "/orders", b"one").await.remove(0);
    let bobs = named(&offer, &world.sign_offer(&bob, &offer), ID);
    let reply = world.send_paid("POST", "/orders", &bobs, b"one").await;
    assert_eq!((reply.status, reply.text()), (200, "page 2".into()), "his own, and not what was stored");
    assert_eq!((world.hits.all(), world.captures().await), (2, 2));
    assert_eq!(world.balance_of(bob.account()).await, 1_000_000 - PRICE);
}

#[tokio::test]
async fn without_a_name_nothing_is_held_and_a_refused_payment_gives_its_name_back() {
    let world = world().await;
    let reply = world.send_paid("GET", "/page", &world.pay("GET", "/page", b"").await, b"").await;
    assert_eq!(problem(&reply), (400, "malformed-payment".into(), payment_identifier::FIELD.into()));
    let poor = world.another_payer(9, "0.001 XTS").await;
    let offer = world.offers("GET", "/page", b"").await.remove(0);
    let reply =
        world.send_paid("GET", "/page", &named(&offer, &world.sign_offer(&poor, &offer), ID), b"").await;
    assert_eq!((reply.status, world.hits.all()), (402, 0));
    world.ledger.deposit(poor.account(), "1 XTS").await.unwrap();
    let again = named(&offer, &world.sign_offer(&poor, &offer), ID);
    assert_eq!(world.send_paid("GET", "/page", &again, b"").await.status, 200);
    assert_eq!((world.hits.all(), world.captures().await), (1, 1));
}

#[tokio::test]
async fn a_client_names_its_payment_by_itself_and_keeps_the_receipt_that_others_can_verify() {
    let world = world().await;
    let wallet = Arc::new(NativePay::connect(world.ledger.facilitator(), None, key(1)).await.unwrap());
    let account = wallet.account().to_string();
    let journal = Arc::new(MemoryJournal::new());
    let client = Client::builder().allow_any_origin().rail(wallet).budget(Budget::new("1 XTS").unwrap());
    let client = client.journal(journal).build().unwrap();
    let url = format!("{}/page?q=1", world.origin);
    let prepared = client.get(&url).sign().await.unwrap().unwrap();
    let sent = header::decode_payment(prepared.header().expose().as_bytes(), &Default::default()).unwrap();
    let id = payment_identifier::read(&sent.extensions).unwrap();
    assert_eq!(id, Some(Identifier::of(&prepared.id())));

    let answer = client.present(&prepared).await.unwrap();
    let report = answer.payment().unwrap().clone();
    assert!(report.is_proven(), "{report:?}");
    let artifact = Artifact::of_jws(report.receipt_jws.clone().unwrap());
    let receipt: SignedReceipt = artifact.verify(&key(105).public()).unwrap();
    assert_eq!((receipt.resource_url, receipt.payer), (url, account));
    assert!(receipt.transaction.is_none() && artifact.verify::<SignedOffer>(&key(105).public()).is_err());
    // The same payment again: the same answer, the same receipt, nothing charged.
    let again = client.present(&prepared).await.unwrap();
    assert_eq!(again.payment().unwrap().receipt_jws, report.receipt_jws);
    assert_eq!((world.hits.all(), world.captures().await, world.balance().await), (1, 1, START - PRICE));
}

#[tokio::test]
async fn terms_announce_names_and_are_not_signed_unless_the_seller_says_so() {
    let world = world().await;
    let reply = world.send("GET", "/page", &[], b"").await;
    assert!(offer_receipt::offers(&reply.terms().extensions).is_empty());
    let announced: Value =
        serde_json::from_str(reply.terms().extensions[payment_identifier::EXTENSION].get()).unwrap();
    assert_eq!(announced, payment_identifier::declaration(true));
}
