//! Clients of version 1 and of version 2 on the same route.

use axum::Router;
use axum::routing::get as route_get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farthing_protocol::v1::SettlementResponseV1;
use farthing_protocol::{Limits, header};
use farthing_server::Paywall;
use serde_json::{Value, json};

use crate::chain::*;
use crate::scripted::*;
use crate::shopping::*;

fn pages(street: &Street, paywall: &Paywall) -> Router {
    let hits = street.hits.clone();
    let page = move || async move { format!("run {}", hits.hit()) };
    let layer = paywall.price("$0.001").description("a page");
    Router::new()
        .route("/a", route_get(page.clone()).post(page.clone()).layer(layer.clone()))
        .route("/b", route_get(page).layer(layer))
}

fn process(street: &Street) -> Router {
    pages(street, &street.paywall(ChainRail { old: true, ..chain_rail("exact") }))
}

/// What a client of version 1 sends for the first offer in a 402's body.
async fn pay_v1(ask: Asking, app: &Router) -> (Asking, Value) {
    let unpaid = ask.send(app).await;
    let offer = unpaid.problem()["accepts"][0].clone();
    let payload = authorization(&offer["maxAmountRequired"], &offer["payTo"]);
    let payment =
        json!({"x402Version": 1, "scheme": offer["scheme"], "network": offer["network"], "payload": payload});
    (ask, payment)
}

fn with_v1(ask: &Asking, payment: &Value) -> Asking {
    ask.clone().with("x-payment", STANDARD.encode(payment.to_string()))
}

fn settlement_v1(got: &Got) -> SettlementResponseV1 {
    assert!(!got.headers.contains_key("payment-response"));
    header::decode_settlement_v1(got.headers["x-payment-response"].as_bytes(), &Limits::default()).unwrap()
}

#[tokio::test]
async fn an_unpaid_request_is_told_the_terms_of_both_versions() {
    let street = Street::new();
    let app = process(&street);
    let unpaid = get("/a?q=1").send(&app).await;
    assert_eq!(unpaid.code(), (402, "payment-required".into(), "new".into()));
    let body = unpaid.problem();
    assert_eq!((&body["x402Version"], &body["error"]), (&json!(1), &json!("Payment required")));
    let extra = json!({"name": "USDC", "version": "2", "receiptKey": receipt_key().public().to_string()});
    let offer = json!({
        "scheme": "exact", "network": "base-sepolia", "maxAmountRequired": "1000", "asset": "0xusdc",
        "payTo": "0xSeller", "maxTimeoutSeconds": 300, "resource": "https://shop.example/a?q=1",
        "description": "a page", "mimeType": "", "extra": extra,
    });
    assert_eq!(body["accepts"], json!([offer]));
    assert!(header::read_payment_required_v1(&unpaid.body, &Limits::default()).is_ok());
    assert_eq!(unpaid.terms().x402_version, 2);
    assert_eq!(body["terms"], serde_json::to_value(unpaid.terms()).unwrap());
    assert_eq!(unpaid.terms().offers().next().unwrap().network.as_str(), SEPOLIA);
}

#[tokio::test]
async fn clients_of_both_versions_pay_on_one_route() {
    let street = Street::new();
    let app = process(&street);
    let (ask, payment) = pay_v1(get("/a"), &app).await;
    let old = with_v1(&ask, &payment);
    for app in [&app, &process(&street)] {
        let paid = old.send(app).await;
        assert_eq!((paid.status.as_u16(), paid.text()), (200, "run 1"));
        let settlement = settlement_v1(&paid);
        assert_eq!((settlement.success, settlement.network.as_str()), (true, "base-sepolia"));
        let id = payment_id(&payment["payload"]["signed"]);
        assert_eq!(settlement.transaction, street.chain.transaction(&id));
        assert_eq!(settlement.payer.as_deref(), Some("0xalice"));
    }
    let new = pay(get("/a"), &app).await;
    let paid = new.send(&app).await;
    assert_eq!((paid.text(), paid.settlement().network.as_str()), ("run 2", SEPOLIA));
    assert!(!paid.headers.contains_key("x-payment-response"));
    assert_eq!(street.count(), (2, 2, 2));
}

#[tokio::test]
async fn a_payment_of_version_1_is_refused_as_one_of_version_2_is() {
    let street = Street::new();
    let app = process(&street);
    let (ask, payment) = pay_v1(get("/a"), &app).await;
    let change = |pointer: &str, value: Value| {
        let mut payment = payment.clone();
        *payment.pointer_mut(pointer).unwrap() = value;
        with_v1(&ask, &payment)
    };
    for (ask, code) in [
        (change("/network", "base".into()), (402, "payment-refused".into(), "new".into())),
        (change("/network", SEPOLIA.into()), (402, "payment-refused".into(), "new".into())),
        (change("/scheme", "upto".into()), (402, "payment-refused".into(), "new".into())),
        (change("/x402Version", 2.into()), (400, "malformed-payment".into(), "new".into())),
        (change("/payload/signed/amount", 5.into()), (400, "malformed-payment".into(), "new".into())),
        (ask.clone().with("x-payment", "!"), (400, "malformed-payment".into(), "new".into())),
        (ask.clone().with("x-payment", "A".repeat(8193)), (431, "payment-too-large".into(), "new".into())),
    ] {
        assert_eq!(ask.send(&app).await.code(), code, "{ask:?}");
    }
    for (pointer, value, reason) in [
        ("/payload/signed/payTo", "0xMallory", "pay_to_mismatch"),
        ("/payload/signature", "bad", "invalid_signature"),
    ] {
        let got = change(pointer, value.into()).send(&app).await;
        assert_eq!((got.status.as_u16(), got.problem()["error"].as_str()), (402, Some(reason)));
        assert_eq!(got.problem()["accepts"][0]["network"], "base-sepolia");
        let settlement = settlement_v1(&got);
        assert_eq!((settlement.success, settlement.error_reason.as_deref()), (false, Some(reason)));
        assert_eq!(settlement.network, "base-sepolia");
    }
    assert_eq!((street.count(), street.records.len()), ((0, 0, 0), 0));
    assert_eq!(with_v1(&ask, &payment).send(&app).await.text(), "run 1");
    assert_eq!(with_v1(&get("/b"), &payment).send(&app).await.code().1, "bound-to-other-request");
}

#[tokio::test]
async fn both_payment_headers_at_once_are_refused() {
    let street = Street::new();
    let app = process(&street);
    let (ask, payment) = pay_v1(get("/a"), &app).await;
    let both = with_v1(&ask, &payment).with("payment-signature", pay(get("/a"), &app).await.header());
    assert_eq!(both.send(&app).await.code(), (400, "several-payments".into(), "new".into()));
    assert_eq!(street.count(), (0, 0, 0));
    assert_eq!(with_v1(&ask, &payment).send(&app).await.status, 200);
}

#[tokio::test]
async fn an_authorization_is_one_payment_in_both_versions() {
    let street = Street::new();
    let app = process(&street);
    let new = pay(get("/a"), &app).await;
    assert_eq!(new.send(&app).await.text(), "run 1");
    let old = json!({
        "x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": new.payment["payload"],
    });
    let got = with_v1(&get("/a"), &old).send(&app).await;
    assert_eq!(got.code(), (409, "payment-conflict".into(), "none".into()));
    assert_eq!(street.count(), (1, 1, 1));
}

#[tokio::test]
async fn an_unknown_settlement_is_pending_in_version_1_too() {
    let street = Street::new();
    let app = process(&street);
    for ask in [get("/a"), post("/a", b"x")] {
        let (ask, payment) = pay_v1(ask, &app).await;
        street.chain.fail("settle", Fault::Silent);
        let got = with_v1(&ask, &payment).send(&app).await;
        assert_eq!(got.code(), (503, "settlement-pending".into(), "same".into()));
        assert_eq!(settlement_v1(&got).error_reason.as_deref(), Some("settlement_pending"));
        let paid = with_v1(&ask, &payment).send(&app).await;
        assert!(paid.status == 200 && settlement_v1(&paid).success);
    }
    assert_eq!((street.hits.get(), street.chain.transactions()), (2, 2));
}

#[tokio::test]
async fn a_rail_of_version_2_alone_says_nothing_of_version_1() {
    let street = Street::new();
    let app = pages(&street, &street.paywall(chain_rail("exact")));
    let unpaid = get("/a").send(&app).await;
    assert!(unpaid.problem().get("accepts").is_none() && unpaid.problem().get("x402Version").is_none());
    let signed = pay(get("/a"), &app).await;
    let old = json!({
        "x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": signed.payment["payload"],
    });
    let got = with_v1(&get("/a"), &old).send(&app).await;
    assert_eq!(got.code(), (400, "unsupported-version".into(), "new".into()));
    assert_eq!(signed.send(&app).await.status, 200);
}

#[tokio::test]
async fn a_payment_of_version_1_pays_any_of_several_prices() {
    let street = Street::new();
    let paywall = street.paywall(ChainRail { old: true, ..chain_rail("exact") });
    let hits = street.hits.clone();
    let page = move || async move { format!("run {}", hits.hit()) };
    let layer = paywall.price("$0.001").or_price("$0.002");
    let app = Router::new().route("/a", route_get(page).layer(layer));
    let unpaid = get("/a").send(&app).await.problem();
    for (number, amount) in ["1000", "2000"].into_iter().enumerate() {
        let offer = &unpaid["accepts"][number];
        assert_eq!(offer["maxAmountRequired"], amount);
        let payload = authorization(&offer["maxAmountRequired"], &offer["payTo"]);
        let payment =
            json!({"x402Version": 1, "scheme": "exact", "network": offer["network"], "payload": payload});
        let paid = with_v1(&get("/a"), &payment).send(&app).await;
        assert_eq!((paid.status.as_u16(), settlement_v1(&paid).success), (200, true), "{}", paid.text());
    }
    let payload = authorization(&json!("500"), &unpaid["accepts"][0]["payTo"]);
    let payment = json!({"x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": payload});
    assert_eq!(with_v1(&get("/a"), &payment).send(&app).await.status, 402);
    assert_eq!(street.count(), (2, 2, 2));
}
