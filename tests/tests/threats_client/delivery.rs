//! T29: servers that take a payment and do not deliver, or lie about it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use farthing::client::{ClientError, Fault, Flag};
use farthing::protocol::header::{self, PAYMENT_RESPONSE};
use farthing::protocol::rail::Confirmation;
use farthing::protocol::{Limits, Retry};
use farthing_testkit::World;
use farthing_testkit::hostile::{Hostile, Pricing, asks, say};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{client, pays, routes, spent, wallet};

#[tokio::test]
async fn t29_a_server_that_asks_again_after_each_payment_gets_one_signature() {
    let world = World::start(routes).await;
    let (pricing, wallet) = (Pricing::of(&world).await, wallet(&world).await);
    let client = client(&wallet);
    let server = Hostile::start(move |origin, seen| asks(&[pricing.offer(origin, seen, "0.01 XTS")])).await;
    let error = client.get(&server.at("/page")).await.unwrap_err();
    let ClientError::PaymentRefused(refused) = &error else { panic!("{error}") };
    assert_eq!(
        (refused.status, refused.reason.as_deref()),
        (StatusCode::PAYMENT_REQUIRED, Some("Payment required"))
    );
    // The server may still present the payment to the ledger: nothing new is advised while it can.
    assert_eq!(
        (error.at_fault(), error.retry(), &refused.confirmation),
        (Fault::Server, Retry::None, &Confirmation::Open)
    );
    assert_eq!((wallet.signed(), server.payments().len(), server.seen().len()), (1, 1, 2));
    assert_eq!((spent(&client, &wallet), world.captures().await), ((0, 10_000), 0));
    assert_eq!(world.balance().await, 100_000_000);
    pays(&world, &client, &wallet).await;
}

#[tokio::test]
async fn t29_errors_repeat_the_payment_and_sign_no_second_one() {
    let world = World::start(routes).await;
    let (pricing, wallet) = (Pricing::of(&world).await, wallet(&world).await);
    let client = client(&wallet);
    for status in [500, 502, 503, 429] {
        let (prices, before) = (pricing.clone(), wallet.signed());
        let server = Hostile::start(move |origin, seen| match seen.payment() {
            None => asks(&[prices.offer(origin, seen, "0.01 XTS")]),
            Some(_) => say(status, ""),
        })
        .await;
        let error = client.get(&server.at("/page")).await.unwrap_err();
        let ClientError::Unknown(unknown) = &error else { panic!("{error}") };
        assert_eq!((unknown.tries, error.retry()), (3, Retry::Same), "{status}");
        let payments = server.payments();
        assert_eq!(payments.len(), 3);
        assert!(payments.iter().all(|payment| *payment == payments[0]), "the same payment each time");
        assert_eq!(wallet.signed(), before + 1);
    }
    assert_eq!((spent(&client, &wallet), world.captures().await), ((0, 40_000), 0));
    pays(&world, &client, &wallet).await;
}

#[tokio::test]
async fn a_payment_whose_request_still_runs_is_presented_again_until_its_answer_is_there() {
    let entered = Arc::new(Notify::new());
    let (enter, open) = (entered.clone(), Arc::new(Notify::new()));
    let gate = open.clone();
    let world = World::start(move |paywall, hits| {
        let slow = move || async move {
            hits.hit("slow");
            enter.notify_one();
            gate.notified().await;
            "slow"
        };
        Router::new().route("/slow", get(slow).layer(paywall.price("0.01 XTS")))
    })
    .await;
    let wallet = wallet(&world).await;
    let client = client(&wallet);
    let prepared = client.get(&format!("{}/slow", world.origin)).sign().await.unwrap().unwrap();
    let (twin, first) = (client.clone(), prepared.clone());
    let first = tokio::spawn(async move { twin.present(&first).await });
    entered.notified().await;
    // It is told to wait a second, and comes back for what was stored.
    let second = tokio::spawn(async move { client.present(&prepared).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!second.is_finished());
    open.notify_one();
    for answer in [first.await.unwrap().unwrap(), second.await.unwrap().unwrap()] {
        assert!(answer.payment().unwrap().is_proven());
        assert_eq!(answer.text().await.unwrap(), "slow");
    }
    assert_eq!((wallet.signed(), world.hits.of("slow"), world.captures().await), (1, 1, 1));
}

#[tokio::test]
async fn t29_a_paid_answer_with_nothing_to_show_for_it_is_flagged() {
    let world = World::start(routes).await;
    let (pricing, wallet) = (Pricing::of(&world).await, wallet(&world).await);
    let client = client(&wallet);
    let server = Hostile::start(move |origin, seen| match seen.payment() {
        None => asks(&[pricing.offer(origin, seen, "0.01 XTS")]),
        Some(_) => say(200, ""),
    })
    .await;
    let answer = client.get(&server.at("/page")).await.unwrap();
    let report = answer.payment().unwrap();
    assert!(!report.is_proven());
    assert_eq!(report.flags, [Flag::SettlementMissing, Flag::ReceiptMissing]);
    assert_eq!(report.confirmation, Confirmation::Open);
    assert_eq!((wallet.signed(), spent(&client, &wallet), world.captures().await), (1, (0, 10_000), 0));
    pays(&world, &client, &wallet).await;
}

/// An honest shop behind somebody who changes its answers on the way out.
async fn tampered(world: &World, change: fn(Response) -> Response) -> World {
    let change = move |response: Response| async move { change(response) };
    world
        .branch(world.ledger.facilitator(), |paywall, hits| routes(paywall, hits).layer(map_response(change)))
        .await
}

fn change_settlement(mut response: Response, change: impl FnOnce(&mut Value)) -> Response {
    if let Some(value) = response.headers_mut().get_mut(PAYMENT_RESPONSE) {
        let limits = Limits { header_bytes: 64 * 1024, ..Limits::default() };
        let said = header::decode_settlement(value.as_bytes(), &limits).unwrap();
        let mut said = serde_json::to_value(said).unwrap();
        change(&mut said);
        *value = HeaderValue::from_str(&header::encode(&said).unwrap()).unwrap();
    }
    response
}

#[tokio::test]
async fn t29_what_a_server_says_of_a_payment_is_compared_with_the_ledger_and_the_receipt() {
    let world = World::start(routes).await;
    let wallet = wallet(&world).await;
    let client = client(&wallet);
    type Lie = fn(Response) -> Response;
    type Told = fn(&Flag) -> bool;
    let lies: [(&str, Lie, Told); 7] = [
        (
            "another body",
            |response| response.map(|_| Body::from("something else")),
            |flag| matches!(flag, Flag::ReceiptInvalid(_)),
        ),
        (
            "another status",
            |mut response| {
                if response.headers().contains_key(PAYMENT_RESPONSE) {
                    *response.status_mut() = StatusCode::CREATED;
                }
                response
            },
            |flag| matches!(flag, Flag::ReceiptInvalid(_)),
        ),
        (
            "no settlement",
            |mut response| {
                response.headers_mut().remove(PAYMENT_RESPONSE);
                response
            },
            |flag| *flag == Flag::SettlementMissing,
        ),
        (
            "another amount",
            |response| change_settlement(response, |said| said["amount"] = json!("1")),
            |flag| matches!(flag, Flag::Contradicted(_)),
        ),
        (
            "a statement of something else",
            |response| change_settlement(response, |said| said["extra"]["statement"]["amount"] = json!("1")),
            |flag| matches!(flag, Flag::Contradicted(_)),
        ),
        (
            "another payment",
            |response| change_settlement(response, |said| said["transaction"] = json!("00".repeat(32))),
            |flag| matches!(flag, Flag::SettlementInvalid(_)),
        ),
        (
            "no receipt",
            |response| change_settlement(response, |said| said["extensions"] = json!({})),
            |flag| *flag == Flag::ReceiptMissing,
        ),
    ];
    for (at, (what, lie, told)) in lies.into_iter().enumerate() {
        let shop = tampered(&world, lie).await;
        let answer = client.get(&format!("{}/page", shop.origin)).await.unwrap();
        let report = answer.payment().unwrap();
        assert!(report.flags.iter().any(told), "{what}: {:?}", report.flags);
        assert!(!report.is_proven(), "{what}");
        // It was taken once, and counts once, whatever was said.
        let counted = spent(&client, &wallet);
        let paid = (at + 1) as u128 * 10_000;
        assert_eq!((wallet.signed(), world.captures().await), (at + 1, at as u64 + 1), "{what}");
        assert_eq!(counted.0 + counted.1, paid, "{what}");
    }
    client.reconcile().await.unwrap();
    assert_eq!(spent(&client, &wallet), (70_000, 0));
    pays(&world, &client, &wallet).await;
}
