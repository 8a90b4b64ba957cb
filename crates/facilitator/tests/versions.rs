//! Version 1 of x402: old servers are served by rails that know version 2 only.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod scripted;

use std::net::SocketAddr;
use std::sync::Arc;

use farthing_facilitator::http::HttpOptions;
use farthing_facilitator::{ConfigError, LocalFacilitator};
use farthing_protocol::Amount;
use farthing_protocol::rail::{Outcome, UnknownOutcome};
use farthing_protocol::v2::{SettlementResponse, SupportedKind};
use scripted::{Script, refused, serve, settled};
use serde_json::{Value, json};

const CHAIN: &str = "eip155:84532";
const PAYEE: &str = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";
const ASSET: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";

fn kind_of(version: u64, network: &str) -> SupportedKind {
    SupportedKind { x402_version: version, scheme: "exact".into(), network: network.into(), extra: None }
}

fn on_chain(answer: SettlementResponse) -> SettlementResponse {
    SettlementResponse { network: CHAIN.into(), ..answer }
}

/// A rail of both versions, behind the service.
async fn start() -> (Arc<Script>, SocketAddr) {
    let kinds = vec![kind_of(2, CHAIN), kind_of(1, "base-sepolia"), kind_of(2, "eip155:8453")];
    let rail = Arc::new(Script { kinds, ..Script::default() });
    *rail.settle.lock().unwrap() = Outcome::Settled(on_chain(settled()));
    let address = serve(rail.local(), HttpOptions::default()).await;
    (rail, address)
}

/// What an old server asks.
fn old_request() -> Value {
    json!({
        "x402Version": 1,
        "paymentPayload": {
            "x402Version": 1, "scheme": "exact", "network": "base-sepolia",
            "payload": { "signature": "0x5e", "authorization": { "value": "1000" } },
        },
        "paymentRequirements": {
            "scheme": "exact", "network": "base-sepolia", "maxAmountRequired": "1000",
            "resource": "https://shop.example/weather", "description": "the weather",
            "mimeType": "text/plain", "outputSchema": null, "payTo": PAYEE, "maxTimeoutSeconds": 60,
            "asset": ASSET, "extra": { "name": "USDC", "version": "2" },
        },
    })
}

async fn ask(address: SocketAddr, path: &str, body: &Value) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("http://{address}{path}")).header("content-type", "application/json");
    let answer = request.body(body.to_string()).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

#[tokio::test]
async fn an_old_server_is_answered_in_its_own_words() {
    let (rail, address) = start().await;
    let (status, verdict) = ask(address, "/verify", &old_request()).await;
    assert_eq!((status, &verdict), (200, &json!({ "isValid": true })));
    let (status, answer) = ask(address, "/settle", &old_request()).await;
    assert_eq!((status, &answer["success"], &answer["network"]), (200, &json!(true), &json!("base-sepolia")));
    assert_eq!(answer["transaction"], "cd".repeat(32));

    // The rail saw version 2, with the payload as it came.
    let seen = rail.seen.lock().unwrap().clone().unwrap();
    assert_eq!((seen.x402_version, seen.payment_payload.x402_version), (2, 2));
    assert_eq!(seen.payment_payload.payload.get(), old_request()["paymentPayload"]["payload"].to_string());
    let offer = &seen.payment_requirements;
    assert_eq!((offer.network.as_str(), offer.amount, offer.pay_to.as_str()), (CHAIN, Amount(1000), PAYEE));
    assert_eq!((offer.asset.as_str(), offer.max_timeout_seconds), (ASSET, 60));
    assert_eq!(Value::Object(offer.extra.clone()), json!({ "name": "USDC", "version": "2" }));
    assert_eq!(*seen.payment_payload.accepted, **offer);
    assert_eq!(seen.payment_payload.resource.unwrap().url, "https://shop.example/weather");
}

#[tokio::test]
async fn refusals_and_doubts_name_the_network_as_the_old_server_does() {
    let (rail, address) = start().await;
    for (outcome, expected, reason) in [
        (Outcome::NotSettled(on_chain(refused("insufficient_funds"))), 200, "insufficient_funds"),
        (Outcome::Unknown(UnknownOutcome("silence".into())), 503, "settlement_pending"),
        // A rail that answers about another network is not believed.
        (
            Outcome::Settled(SettlementResponse { network: "eip155:8453".into(), ..settled() }),
            503,
            "settlement_pending",
        ),
    ] {
        *rail.settle.lock().unwrap() = outcome;
        let (status, answer) = ask(address, "/settle", &old_request()).await;
        assert_eq!((status, &answer["errorReason"]), (expected, &json!(reason)));
        assert_eq!((&answer["success"], &answer["network"]), (&json!(false), &json!("base-sepolia")));
    }
}

#[tokio::test]
async fn only_kinds_of_version_1_are_settled_for_old_servers() {
    let (rail, address) = start().await;
    let both = ["/paymentPayload/network", "/paymentRequirements/network"];
    for (members, value, expected) in [
        (&both[..], "base", "invalid_scheme"),
        (&both[..], "sepolia", "invalid_network"),
        (&both[..], "atlantis", "invalid_network"),
        (&both[..], CHAIN, "invalid_network"),
        (&both[..1], "base", "invalid_payment_requirements"),
        (&["/paymentPayload/scheme"][..], "upto", "invalid_payment_requirements"),
    ] {
        let mut request = old_request();
        for member in members {
            *request.pointer_mut(member).unwrap() = value.into();
        }
        let (status, verdict) = ask(address, "/verify", &request).await;
        assert_eq!((status, &verdict["isValid"]), (200, &json!(false)), "{value}");
        assert_eq!(verdict["invalidReason"], expected, "{value}");
        let (status, answer) = ask(address, "/settle", &request).await;
        assert_eq!((status, &answer["errorReason"]), (200, &json!(expected)), "{value}");
    }
    assert_eq!((rail.settles(), rail.count("verify")), (0, 0));
    assert_eq!(ask(address, "/settle", &old_request()).await.1["success"], true);
    assert_eq!(rail.settles(), 1);
}

#[tokio::test]
async fn a_message_of_two_versions_is_malformed() {
    let (rail, address) = start().await;
    let mut mixed = old_request();
    mixed["paymentPayload"]["x402Version"] = 2.into();
    let mut number = old_request();
    number["paymentRequirements"]["maxAmountRequired"] = 1000.into();
    let mut without = old_request();
    without["paymentRequirements"].as_object_mut().unwrap().remove("payTo");
    for (request, field) in [
        (mixed, "x402Version"),
        (number, "paymentRequirements.maxAmountRequired"),
        (without, "paymentRequirements.payTo"),
    ] {
        let (status, problem) = ask(address, "/settle", &request).await;
        assert_eq!((status, &problem["code"]), (400, &json!("malformed")), "{problem}");
        assert!(problem["field"].as_str().unwrap().starts_with(field), "{problem}");
    }
    assert_eq!(rail.settles(), 0);
}

#[test]
fn a_kind_of_version_1_has_a_name_that_version_1_knows() {
    let of = |kinds: Vec<SupportedKind>| {
        LocalFacilitator::new(vec![Arc::new(Script { kinds, ..Script::default() }) as _])
    };
    let unnamed = ConfigError::NetworkName { network: CHAIN.into() };
    assert_eq!(of(vec![kind_of(1, CHAIN)]).unwrap_err(), unnamed);
    assert!(of(vec![kind_of(1, "base-sepolia"), kind_of(2, CHAIN)]).is_ok());
    assert!(matches!(
        of(vec![kind_of(1, "base-sepolia"), kind_of(1, "base-sepolia")]),
        Err(ConfigError::KindTwice { version: 1, .. })
    ));
}
