//! Local or remote: a server sees the same answers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod scripted;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farthing_facilitator::RemoteFacilitator;
use farthing_facilitator::http::HttpOptions;
use farthing_protocol::rail::{Facilitator, FacilitatorError, Outcome, Tenant, UnknownOutcome};
use farthing_protocol::v2::{SettlementResponse, VerifyResponse};
use farthing_protocol::{Amount, reason};
use scripted::{
    NETWORK, OTHER_NETWORK, Script, TOKEN, refused, remote, request, request_json, request_of, serve,
    settled, told,
};
use serde_json::{Map, Value, json};

fn extra(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[tokio::test]
async fn every_outcome_of_a_settlement_is_the_same_from_afar() {
    let rail = Script::new();
    let local = rail.local();
    let far = remote(serve(local.clone(), HttpOptions::default()).await);
    let answer = STANDARD.encode((0..64 * 1024).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    let mut with_receipt = settled();
    let receipt = r#"{ "receipt" : "AQ==", "n": 1.50, "\u0061":[ ] }"#;
    with_receipt
        .extensions
        .insert("farthing-receipt".into(), serde_json::value::RawValue::from_string(receipt.into()).unwrap());
    let outcomes = [
        ("settled", Outcome::Settled(settled())),
        ("settled", Outcome::Settled(SettlementResponse { payer: None, amount: None, ..settled() })),
        ("settled", Outcome::Settled(SettlementResponse { amount: Some(Amount::ZERO), ..settled() })),
        (
            "settled",
            Outcome::Settled(SettlementResponse {
                extra: extra(
                    json!({ "state": "captured", "epoch": 3, "answer": answer, "big": u64::MAX, "text": "\u{7f}\r\n\"é😀" }),
                ),
                ..settled()
            }),
        ),
        ("settled", Outcome::Settled(with_receipt)),
        ("unknown", Outcome::Settled(SettlementResponse { network: OTHER_NETWORK.into(), ..settled() })),
        ("unknown", Outcome::Settled(SettlementResponse { transaction: String::new(), ..settled() })),
        ("unknown", Outcome::Settled(SettlementResponse { amount: Some(Amount(u128::MAX)), ..settled() })),
        ("not settled", Outcome::NotSettled(refused(reason::INSUFFICIENT_FUNDS))),
        ("not settled", Outcome::NotSettled(refused("a_reason_of_its_own"))),
        (
            "not settled",
            Outcome::NotSettled(SettlementResponse {
                payer: Some("p".into()),
                extra: extra(json!({ "state": "voided" })),
                error_message: Some("é".repeat(1000)),
                ..refused(reason::PAYMENT_VOIDED)
            }),
        ),
        ("unknown", Outcome::NotSettled(refused(reason::SETTLEMENT_PENDING))),
        ("unknown", Outcome::NotSettled(refused(reason::UNEXPECTED_SETTLE_ERROR))),
        ("unknown", Outcome::NotSettled(refused(""))),
        ("unknown", Outcome::Unknown(UnknownOutcome("silence".into()))),
    ];
    for (expected, outcome) in outcomes {
        *rail.settle.lock().unwrap() = outcome.clone();
        let (here, there) = (told(&local.settle(&request()).await), told(&far.settle(&request()).await));
        assert_eq!(here.0, expected, "{outcome:?}");
        assert_eq!(here, there);
        if let (Outcome::Settled(sent), "settled") = (&outcome, expected) {
            assert_eq!(there.1, serde_json::to_value(sent).unwrap());
        }
    }
    assert_eq!(rail.settles(), 30);

    // Extensions arrive byte for byte.
    let mut sent = settled();
    sent.extensions.insert("x".into(), serde_json::value::RawValue::from_string(receipt.into()).unwrap());
    *rail.settle.lock().unwrap() = Outcome::Settled(sent);
    let Outcome::Settled(received) = far.settle(&request()).await else { panic!("not settled") };
    assert_eq!(received.extensions["x"].get(), receipt);
}

#[tokio::test]
async fn what_is_refused_before_a_rail_is_asked_is_refused_alike_from_afar() {
    let rail = Script::new();
    let local = rail.local();
    let far = remote(serve(local.clone(), HttpOptions::default()).await);
    for (member, value) in [
        ("scheme", json!("upto")),
        ("network", json!(OTHER_NETWORK)),
        ("amount", json!("1")),
        ("asset", json!("USD")),
        ("payTo", json!("x")),
        ("x402Version", json!(1)),
    ] {
        for everywhere in [true, false] {
            let mut json = request_json();
            if member == "x402Version" {
                json[member] = value.clone();
            } else {
                json["paymentRequirements"][member] = value.clone();
                if everywhere {
                    json["paymentPayload"]["accepted"][member] = value.clone();
                }
            }
            let request = request_of(&json);
            assert_eq!(told(&local.settle(&request).await), told(&far.settle(&request).await), "{json}");
            assert_eq!(local.verify(&request).await, far.verify(&request).await, "{json}");
        }
    }
}

#[tokio::test]
async fn every_verdict_and_error_is_the_same_from_afar() {
    let rail = Script::new();
    let local = rail.local();
    let far = remote(serve(local.clone(), HttpOptions::default()).await);
    let invalid = VerifyResponse {
        invalid_reason: Some(reason::INSUFFICIENT_FUNDS.into()),
        invalid_message: Some("needs more".into()),
        payer: Some("p".into()),
        extra: extra(json!({ "balance": "0" })),
        ..VerifyResponse::default()
    };
    for verdict in [
        VerifyResponse { is_valid: true, payer: Some("p".into()), ..VerifyResponse::default() },
        VerifyResponse::default(),
        invalid,
    ] {
        *rail.verify.lock().unwrap() = Ok(verdict.clone());
        assert_eq!(local.verify(&request()).await.as_ref(), Ok(&verdict));
        assert_eq!(far.verify(&request()).await, Ok(verdict));
    }

    let id = "ab".repeat(32).parse().unwrap();
    for statement in [
        None,
        Some(json!({ "payment": "ab".repeat(32), "state": "absent", "amount": "0", "asOf": 1_900_000_000 })),
        Some(json!({ "state": "captured", "list": [1, 2.5, null, "é"] })),
    ] {
        *rail.payment.lock().unwrap() = Ok(statement.clone());
        assert_eq!(local.payment(&id).await.as_ref(), Ok(&statement));
        assert_eq!(far.payment(&id).await, Ok(statement));
    }
    assert_eq!(local.supported().await, far.supported().await);

    // Errors are of the same kind; why is for the log of whoever runs the facilitator.
    for error in [
        FacilitatorError::Unreachable("u".into()),
        FacilitatorError::Malformed("m".into()),
        FacilitatorError::Forbidden("f".into()),
        FacilitatorError::Unsupported { scheme: "exact".into(), network: NETWORK.into() },
    ] {
        *rail.verify.lock().unwrap() = Err(error.clone());
        let (here, there) = (local.verify(&request()).await, far.verify(&request()).await);
        match (&here, &there) {
            (Ok(_), Ok(_)) => assert_eq!(here, there),
            (Err(here), Err(there)) => {
                assert_eq!(std::mem::discriminant(here), std::mem::discriminant(there), "{error}");
            }
            _ => panic!("{here:?} and {there:?}"),
        }
    }
}

#[tokio::test]
async fn the_token_reaches_the_service_and_only_its_bearer_settles() {
    let rail = Script::new();
    let options = HttpOptions::default().tenant("shop", TOKEN).unwrap();
    let address = serve(rail.local(), options).await;
    let url = format!("http://{address}");
    let shop = RemoteFacilitator::builder(&url).token(TOKEN).build().unwrap();
    assert_eq!(told(&shop.settle(&request()).await).0, "settled");
    assert_eq!(*rail.calls.lock().unwrap(), [("settle", Tenant("shop".into()))]);

    let guess = RemoteFacilitator::builder(&url).token("a-guess-0123456789-0123456789");
    for stranger in [remote(address), guess.build().unwrap()] {
        assert_eq!(told(&stranger.settle(&request()).await).0, "unknown");
        assert!(matches!(stranger.verify(&request()).await, Err(FacilitatorError::Forbidden(_))));
        assert!(stranger.supported().await.is_ok());
    }
    assert_eq!(rail.calls.lock().unwrap().len(), 1);
}
