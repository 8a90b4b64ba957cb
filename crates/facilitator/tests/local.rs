//! The facilitator in process: routes, and what it refuses before a rail is asked.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod scripted;

use std::sync::Arc;

use farthing_facilitator::{ByNetwork, ConfigError, LocalFacilitator};
use farthing_protocol::Amount;
use farthing_protocol::rail::{Facilitator, FacilitatorError, Outcome, Settle, Tenant, UnknownOutcome};
use farthing_protocol::reason;
use farthing_protocol::v2::VerifyResponse;
use scripted::{
    NETWORK, OTHER_NETWORK, Script, kind, refused, request, request_json, request_of, settled, told,
};
use serde_json::json;

fn script_of(scheme: &str, network: &str) -> Arc<Script> {
    Arc::new(Script { kinds: vec![kind(scheme, network)], ..Script::default() })
}

#[tokio::test]
async fn each_request_goes_to_the_rail_of_its_scheme_and_network() {
    let rails =
        [script_of("exact", NETWORK), script_of("auth-capture", NETWORK), script_of("exact", OTHER_NETWORK)];
    let local = rails
        .iter()
        .fold(LocalFacilitator::builder(), |builder, rail| builder.rail(Arc::clone(rail) as Arc<dyn Settle>))
        .build()
        .unwrap();
    for (index, (scheme, network)) in
        [("exact", NETWORK), ("auth-capture", NETWORK), ("exact", OTHER_NETWORK)].into_iter().enumerate()
    {
        let mut json = request_json();
        for offer in ["/paymentRequirements", "/paymentPayload/accepted"] {
            let offer = json.pointer_mut(offer).unwrap();
            (offer["scheme"], offer["network"]) = (scheme.into(), network.into());
        }
        let request = request_of(&json);
        *rails[index].settle.lock().unwrap() = Outcome::Settled(farthing_protocol::v2::SettlementResponse {
            network: network.into(),
            ..settled()
        });
        assert_eq!(told(&local.settle(&request).await).0, "settled", "{scheme} on {network}");
        assert!(local.verify(&request).await.unwrap().is_valid);
        let counts = rails.each_ref().map(|rail| (rail.settles(), rail.count("verify")));
        for (other, count) in counts.into_iter().enumerate() {
            assert_eq!(count, if other <= index { (1, 1) } else { (0, 0) }, "rail {other}");
        }
    }
    let supported = local.supported().await.unwrap();
    let kinds: Vec<_> = rails.iter().flat_map(|rail| rail.kinds()).collect();
    assert_eq!(supported.kinds, kinds);
    assert_eq!(rails[0].calls.lock().unwrap()[0].1, Tenant::local());
}

#[tokio::test]
async fn what_nothing_here_settles_is_refused_and_no_rail_is_asked() {
    let rail = Script::new();
    let local = rail.local();
    let both = ["/paymentRequirements", "/paymentPayload/accepted"];
    let one = ["/paymentRequirements", "/paymentRequirements"];
    for (offers, member, value, expected) in [
        (both, "scheme", json!("upto"), reason::INVALID_SCHEME),
        (both, "network", json!(OTHER_NETWORK), reason::INVALID_NETWORK),
        (one, "scheme", json!("exact"), reason::INVALID_PAYMENT_REQUIREMENTS),
        (one, "network", json!(OTHER_NETWORK), reason::INVALID_PAYMENT_REQUIREMENTS),
        (one, "amount", json!("999"), reason::INVALID_PAYMENT_REQUIREMENTS),
        (one, "amount", json!("1001"), reason::INVALID_PAYMENT_REQUIREMENTS),
        (one, "asset", json!("USD"), reason::INVALID_PAYMENT_REQUIREMENTS),
        (one, "payTo", json!("ff".repeat(32)), reason::INVALID_PAYMENT_REQUIREMENTS),
        (["", ""], "x402Version", json!(1), reason::INVALID_X402_VERSION),
        (["/paymentPayload", "/paymentPayload"], "x402Version", json!(3), reason::INVALID_X402_VERSION),
    ] {
        let mut json = request_json();
        for offer in offers {
            json.pointer_mut(offer).unwrap()[member] = value.clone();
        }
        let request = request_of(&json);
        let (outcome, answer) = told(&local.settle(&request).await);
        assert_eq!((outcome, &answer["errorReason"]), ("not settled", &json!(expected)), "{member}: {value}");
        let verified = local.verify(&request).await.unwrap();
        assert!(!verified.is_valid);
        assert_eq!(verified.invalid_reason.as_deref(), Some(expected), "{member}: {value}");
    }
    assert_eq!((rail.settles(), rail.count("verify")), (0, 0));

    // `maxTimeoutSeconds` and `extra` are the rail's to compare.
    let mut json = request_json();
    json["paymentRequirements"]["maxTimeoutSeconds"] = 60.into();
    json["paymentRequirements"]["extra"] = json!({ "more": true });
    assert_eq!(told(&local.settle(&request_of(&json)).await).0, "settled");
    assert_eq!(rail.settles(), 1);
}

#[tokio::test]
async fn only_what_was_used_may_be_less_than_what_was_accepted() {
    let rail =
        Arc::new(Script { kinds: vec![kind("upto", NETWORK), kind("exact", NETWORK)], ..Script::default() });
    let local = rail.local();
    let of = |scheme: &str, used: &str| {
        let mut json = request_json();
        json["paymentPayload"]["accepted"]["scheme"] = scheme.into();
        json["paymentRequirements"]["scheme"] = scheme.into();
        json["paymentRequirements"]["amount"] = used.into();
        request_of(&json)
    };
    for (scheme, used, settles) in
        [("upto", "999", true), ("upto", "1000", true), ("upto", "1001", false), ("exact", "999", false)]
    {
        let amount = Some(Amount(used.parse().unwrap()));
        *rail.settle.lock().unwrap() =
            Outcome::Settled(farthing_protocol::v2::SettlementResponse { amount, ..settled() });
        let expected = if settles { "settled" } else { "not settled" };
        assert_eq!(told(&local.settle(&of(scheme, used)).await).0, expected, "{scheme} {used}");
        // What is verified is the whole offer.
        let valid = local.verify(&of(scheme, used)).await.unwrap().is_valid;
        assert_eq!(valid, used == "1000", "{scheme} {used}");
    }
    assert_eq!(rail.settles(), 2);
}

#[tokio::test]
async fn addresses_of_an_evm_chain_are_the_same_in_either_case() {
    const CHAIN: &str = "eip155:84532";
    let rail = Arc::new(Script { kinds: vec![kind("exact", CHAIN)], ..Script::default() });
    *rail.settle.lock().unwrap() =
        Outcome::Settled(farthing_protocol::v2::SettlementResponse { network: CHAIN.into(), ..settled() });
    let local = rail.local();
    let of = |network: &str, asset: &str| {
        let mut json = request_json();
        for (offer, asset) in [("/paymentRequirements", "0xaB01"), ("/paymentPayload/accepted", asset)] {
            let offer = json.pointer_mut(offer).unwrap();
            (offer["scheme"], offer["network"], offer["asset"]) =
                ("exact".into(), network.into(), asset.into());
        }
        request_of(&json)
    };
    assert_eq!(told(&local.settle(&of(CHAIN, "0xAb01")).await).0, "settled");
    assert_eq!(told(&local.settle(&of(CHAIN, "0xab02")).await).0, "not settled");
    assert_eq!(rail.settles(), 1);
    // Names of other networks differ by case.
    let rail = script_of("exact", NETWORK);
    assert_eq!(told(&rail.local().settle(&of(NETWORK, "0xAb01")).await).0, "not settled");
    assert_eq!(told(&rail.local().settle(&of(NETWORK, "0xaB01")).await).0, "settled");
}

#[tokio::test]
async fn each_network_is_left_to_its_own_facilitator() {
    let (first, second) = (script_of("exact", NETWORK), script_of("exact", OTHER_NETWORK));
    *second.settle.lock().unwrap() = Outcome::Settled(farthing_protocol::v2::SettlementResponse {
        network: OTHER_NETWORK.into(),
        ..settled()
    });
    let both =
        ByNetwork::new(Arc::new(first.local())).on(OTHER_NETWORK.parse().unwrap(), Arc::new(second.local()));
    for (network, calls) in [(NETWORK, (1, 0)), (OTHER_NETWORK, (1, 1))] {
        let mut json = request_json();
        for offer in ["/paymentRequirements", "/paymentPayload/accepted"] {
            let offer = json.pointer_mut(offer).unwrap();
            (offer["scheme"], offer["network"]) = ("exact".into(), network.into());
        }
        assert_eq!(told(&both.settle(&request_of(&json)).await).0, "settled");
        assert!(both.verify(&request_of(&json)).await.unwrap().is_valid);
        assert_eq!((first.settles(), second.settles()), calls);
        assert_eq!((first.count("verify"), second.count("verify")), calls);
    }
    let kinds = both.supported().await.unwrap().kinds;
    assert_eq!(kinds, [first.kinds(), second.kinds()].concat());

    // What `rest` also settles there is not asked of it.
    let rest = Arc::new(Script { kinds: [first.kinds(), second.kinds()].concat(), ..Script::default() });
    let both =
        ByNetwork::new(Arc::new(rest.local())).on(OTHER_NETWORK.parse().unwrap(), Arc::new(second.local()));
    assert_eq!(both.supported().await.unwrap().kinds, kinds);

    let id = "ab".repeat(32).parse().unwrap();
    *second.payment.lock().unwrap() = Ok(Some(json!({ "state": "held" })));
    assert_eq!(both.payment(&id).await.unwrap().unwrap()["state"], "held");
}

#[tokio::test]
async fn what_rails_understand_and_sign_with_is_told_once() {
    let of = |network: &str, extensions: &[&str], signers: &[&str]| {
        Arc::new(Script {
            kinds: vec![kind("exact", network)],
            extensions: extensions.iter().map(|name| (*name).to_owned()).collect(),
            signers: vec![("eip155:*".into(), signers.iter().map(|name| (*name).to_owned()).collect())],
            ..Script::default()
        })
    };
    let (first, second) =
        (of(NETWORK, &["a", "b"], &["0x1"]), of(OTHER_NETWORK, &["b", "c"], &["0x1", "0x2"]));
    let local = LocalFacilitator::new(vec![first as _, second as _]).unwrap();
    let supported = local.supported().await.unwrap();
    assert_eq!(supported.extensions, ["a", "b", "c"]);
    assert_eq!(
        supported.signers.into_iter().collect::<Vec<_>>(),
        [("eip155:*".to_owned(), vec!["0x1".to_owned(), "0x2".to_owned()])]
    );
    let plain = Script::new().local().supported().await.unwrap();
    assert!(plain.extensions.is_empty() && plain.signers.is_empty());
}

#[tokio::test]
async fn a_rail_that_contradicts_itself_leaves_the_outcome_unknown() {
    let rail = Script::new();
    let local = rail.local();
    let mut elsewhere = settled();
    elsewhere.network = OTHER_NETWORK.into();
    let mut more = settled();
    more.amount = Some(Amount(1001));
    for outcome in [
        Outcome::Settled(refused(reason::INSUFFICIENT_FUNDS)),
        Outcome::NotSettled(settled()),
        Outcome::NotSettled(refused(reason::SETTLEMENT_PENDING)),
        Outcome::Settled(elsewhere),
        Outcome::Settled(more),
        Outcome::Unknown(UnknownOutcome("the network is silent".into())),
    ] {
        *rail.settle.lock().unwrap() = outcome.clone();
        assert_eq!(told(&local.settle(&request()).await).0, "unknown", "{outcome:?}");
    }
    *rail.settle.lock().unwrap() = Outcome::NotSettled(refused(reason::INSUFFICIENT_FUNDS));
    assert_eq!(told(&local.settle(&request()).await).0, "not settled");
    *rail.settle.lock().unwrap() = Outcome::Settled(settled());
    assert_eq!(told(&local.settle(&request()).await).0, "settled");

    *rail.verify.lock().unwrap() =
        Err(FacilitatorError::Unsupported { scheme: "exact".into(), network: NETWORK.into() });
    let invalid = local.verify(&request()).await.unwrap();
    assert_eq!(invalid.invalid_reason.as_deref(), Some(reason::INVALID_SCHEME));
    *rail.verify.lock().unwrap() =
        Ok(VerifyResponse { is_valid: true, invalid_reason: Some("x".into()), ..VerifyResponse::default() });
    assert!(matches!(local.verify(&request()).await, Err(FacilitatorError::Malformed(_))));
}

#[tokio::test]
async fn the_rail_that_knows_a_payment_answers_for_it() {
    let id = "ab".repeat(32).parse().unwrap();
    let (first, second) = (script_of("exact", NETWORK), script_of("exact", OTHER_NETWORK));
    let local = LocalFacilitator::new(vec![Arc::clone(&first) as _, Arc::clone(&second) as _]).unwrap();
    let (absent, held) = (json!({ "state": "absent" }), json!({ "state": "held" }));
    let down = FacilitatorError::Unreachable("down".into());
    for (one, other, expected) in [
        (Ok(None), Ok(None), Ok(None)),
        (Ok(Some(absent.clone())), Ok(Some(held.clone())), Ok(Some(held.clone()))),
        (Ok(Some(absent.clone())), Ok(None), Ok(Some(absent.clone()))),
        (Err(down.clone()), Ok(Some(held.clone())), Ok(Some(held))),
        (Ok(Some(absent)), Err(down.clone()), Err(down)),
    ] {
        *first.payment.lock().unwrap() = one;
        *second.payment.lock().unwrap() = other;
        assert_eq!(local.payment(&id).await, expected);
    }
}

#[test]
fn a_facilitator_without_rails_or_with_two_for_one_kind_does_not_start() {
    assert_eq!(LocalFacilitator::builder().build().unwrap_err(), ConfigError::NoRails);
    let rails: Vec<Arc<dyn Settle>> = vec![Script::new(), script_of("exact", NETWORK)];
    let twice = ConfigError::KindTwice { version: 2, scheme: "exact".into(), network: NETWORK.into() };
    assert_eq!(LocalFacilitator::new(rails).unwrap_err(), twice);
    let rails: Vec<Arc<dyn Settle>> = vec![Script::new(), script_of("exact", OTHER_NETWORK)];
    let shown = format!("{:?}", LocalFacilitator::new(rails).unwrap());
    assert!(shown.contains(OTHER_NETWORK), "{shown}");
}
