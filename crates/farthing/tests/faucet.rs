//! The faucet of test money: what it gives, and what it refuses.

#![allow(clippy::unwrap_used)]

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use farthing::LocalLedger;
use farthing::faucet::Faucet;
use farthing::protocol::{PublicKey, SecretKey};
use serde_json::{Value, json};
use tower::ServiceExt as _;

fn account(seed: u8) -> PublicKey {
    SecretKey::from_seed([seed; 32]).public()
}

async fn faucet(per_account: &str, total: &str) -> (LocalLedger, Router) {
    let ledger = LocalLedger::memory(account(1)).await.unwrap();
    let faucet = Faucet { per_account: per_account.into(), total: total.into() };
    let router = ledger.faucet(faucet).unwrap();
    (ledger, Router::new().nest("/faucet", router))
}

async fn send(app: &Router, kind: &str, body: String) -> (StatusCode, HeaderMap, Value) {
    let request = Request::post("/faucet").header("content-type", kind).body(Body::from(body)).unwrap();
    let (parts, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let body = to_bytes(body, 10_000).await.unwrap();
    (parts.status, parts.headers, serde_json::from_slice(&body).unwrap_or_default())
}

async fn ask(app: &Router, account: &PublicKey) -> (StatusCode, HeaderMap, Value) {
    send(app, "application/json", json!({"account": account}).to_string()).await
}

#[tokio::test]
async fn an_account_is_given_its_share_once_an_hour() {
    let (ledger, app) = faucet("1.5 XTS", "100 XTS").await;
    let (status, headers, given) = ask(&app, &account(2)).await;
    assert_eq!((status, &headers["cache-control"]), (StatusCode::OK, &"no-store".parse().unwrap()));
    assert_eq!(
        given,
        json!({"account": account(2), "amount": "1500000", "asset": "XTS", "shown": "1.5 XTS"})
    );
    let (status, headers, problem) = ask(&app, &account(2)).await;
    assert_eq!((status.as_u16(), &problem["code"]), (429, &json!("faucet-used")));
    let after: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((3590..=3601).contains(&after), "{after}");
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(ledger.balance(account(2), "XTS").await.unwrap().0, 1_500_000);
    assert_eq!(ask(&app, &account(3)).await.0, StatusCode::OK, "another account has its own share");
}

#[tokio::test]
async fn no_more_is_given_in_an_hour_than_the_total() {
    let (ledger, app) = faucet("1 XTS", "2.5 XTS").await;
    for seed in [2, 3] {
        assert_eq!(ask(&app, &account(seed)).await.0, StatusCode::OK);
    }
    let (status, headers, problem) = ask(&app, &account(4)).await;
    assert_eq!((status.as_u16(), &problem["code"]), (429, &json!("faucet-empty")));
    assert!(headers.contains_key("retry-after"));
    assert_eq!(ledger.balance(account(4), "XTS").await.unwrap().0, 0);
}

#[tokio::test]
async fn asked_at_the_same_time_it_gives_once() {
    let (ledger, app) = faucet("1 XTS", "100 XTS").await;
    let asked = (0..16).map(|_| {
        let app = app.clone();
        tokio::spawn(async move { ask(&app, &account(2)).await.0 })
    });
    let mut given = 0;
    for asked in asked.collect::<Vec<_>>() {
        given += usize::from(asked.await.unwrap() == StatusCode::OK);
    }
    assert_eq!((given, ledger.balance(account(2), "XTS").await.unwrap().0), (1, 1_000_000));
}

#[tokio::test]
async fn what_is_not_a_request_for_test_money_is_told_so() {
    let (ledger, app) = faucet("1 XTS", "100 XTS").await;
    let good = json!({"account": account(2)}).to_string();
    for (kind, body, status, code) in [
        ("text/plain", good.clone(), 415, "unsupported-media-type"),
        ("application/x-www-form-urlencoded", good.clone(), 415, "unsupported-media-type"),
        ("application/json", "{".into(), 400, "malformed"),
        ("application/json", "{}".into(), 400, "malformed"),
        ("application/json", good.to_uppercase(), 400, "malformed"),
        ("application/json", json!({"account": "00"}).to_string(), 400, "malformed"),
    ] {
        let (found, _, problem) = send(&app, kind, body).await;
        assert_eq!((found.as_u16(), problem["code"].as_str()), (status, Some(code)), "{kind}");
    }
    let (status, ..) = send(&app, "application/json", " ".repeat(2000) + &good).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(ledger.balance(account(2), "XTS").await.unwrap().0, 0);
    assert_eq!(send(&app, "application/json; charset=utf-8", good).await.0, StatusCode::OK);
}

#[tokio::test]
async fn an_account_that_holds_the_most_is_given_nothing_and_may_ask_again() {
    let (ledger, app) = faucet("1 XTS", "100 XTS").await;
    ledger.deposit(account(2), "1000 XTS").await.unwrap();
    for _ in 0..2 {
        let (status, _, problem) = ask(&app, &account(2)).await;
        assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("faucet-full")));
    }
}

#[tokio::test]
async fn only_test_money_is_given_away() {
    let ledger = LocalLedger::memory(account(1)).await.unwrap();
    for (per_account, total) in
        [("$1", "100 XTS"), ("1 XTS", "100 USD"), ("0 XTS", "1 XTS"), ("x", "1 XTS"), ("2 XTS", "1 XTS")]
    {
        let faucet = Faucet { per_account: per_account.into(), total: total.into() };
        assert!(ledger.faucet(faucet).is_err(), "{per_account} {total}");
    }
    assert!(ledger.faucet(Faucet::default()).is_ok());
}
