use farthing_protocol::rail::{Ask, Offer, OfferError, PaymentFault};
use farthing_protocol::v2::{PaymentPayload, PaymentRequirements};
use farthing_protocol::{Binding, RequestDigest};
use serde_json::{Value, json};

use super::*;
use crate::assets::of_network;
use crate::wire::reasons;
use crate::wire::tests::{Paid, vectors};

const PAYEE: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const FACILITATOR: &str = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";

fn network() -> Network {
    "eip155:84532".parse().unwrap()
}

fn usdc() -> Asset {
    of_network(&network())[0].clone()
}

fn made(offer: &EvmOffer, is_safe: bool) -> PaymentRequirements {
    let price = "$0.001".parse().unwrap();
    let digest = RequestDigest([7; 32]);
    let binding = Binding::Body;
    let ask = Ask { price: &price, digest: &digest, binding, is_safe, max_timeout_seconds: 300, now: 0 };
    offer.offer(&ask).unwrap()
}

fn payment(payload: &str, offer: &PaymentRequirements) -> PaymentPayload {
    let payload: Value = serde_json::from_str(payload).unwrap();
    serde_json::from_value(json!({ "x402Version": 2, "accepted": offer, "payload": payload })).unwrap()
}

fn reason(result: Result<(), PaymentFault>) -> String {
    match result {
        Ok(()) => "agrees".into(),
        Err(PaymentFault::Refused { reason, .. }) => reason,
        Err(PaymentFault::Malformed { field, .. }) => panic!("{field} is malformed"),
    }
}

/// The payments of the vectors, with the rails that offered for them: EIP-3009, Permit2, upto.
fn paid() -> [(Paid, EvmOffer); 3] {
    let by_permit2 = usdc().moved_by(Transfer::Permit2);
    let mut pay = vectors().pay.into_iter();
    let mut next = |at| pay.nth(at).unwrap();
    [
        (next(0), EvmOffer::exact(&network(), PAYEE, usdc()).unwrap()),
        (next(1), EvmOffer::exact(&network(), PAYEE, by_permit2).unwrap()),
        (next(0), EvmOffer::upto(&network(), PAYEE, usdc(), FACILITATOR).unwrap()),
    ]
}

#[test]
fn an_offer_names_the_token_and_how_it_is_moved() {
    let exact = made(&EvmOffer::exact(&network(), &PAYEE.to_lowercase(), usdc()).unwrap(), true);
    assert_eq!(
        (exact.scheme.as_str(), exact.amount, exact.max_timeout_seconds),
        ("exact", Amount(1000), 300)
    );
    assert_eq!((exact.asset.as_str(), exact.pay_to.as_str()), (&*usdc().address, PAYEE));
    assert_eq!(Value::Object(exact.extra), json!({ "name": "USDC", "version": "2" }));

    let upto = made(&EvmOffer::upto(&network(), PAYEE, usdc(), FACILITATOR).unwrap(), true);
    assert_eq!(upto.scheme, "upto");
    let extra = json!({
        "name": "USDC", "version": "2", "assetTransferMethod": "permit2", "facilitatorAddress": FACILITATOR,
    });
    assert_eq!(Value::Object(upto.extra), extra);

    let plain = usdc().moved_by(Transfer::Permit2).without_eip2612();
    let plain = made(&EvmOffer::exact(&network(), PAYEE, plain).unwrap(), true);
    assert_eq!(Value::Object(plain.extra), json!({ "assetTransferMethod": "permit2" }));
}

#[test]
fn the_money_comes_first_where_the_request_changes_something() {
    let offer = EvmOffer::exact(&network(), PAYEE, usdc()).unwrap();
    assert_eq!(made(&offer, false).extra.get("paymentFlow"), Some(&json!("upfront")));
    assert_eq!(made(&offer, true).extra.get("paymentFlow"), None);
    let metered = EvmOffer::upto(&network(), PAYEE, usdc(), FACILITATOR).unwrap();
    assert_eq!(made(&metered, false).extra.get("paymentFlow"), None);
}

#[test]
fn only_exact_by_eip_3009_on_a_network_with_a_name_speaks_version_1() {
    let speaks = |network: &str, asset: Asset| {
        EvmOffer::exact(&network.parse().unwrap(), PAYEE, asset).unwrap().speaks_v1()
    };
    assert!(speaks("eip155:84532", usdc()));
    assert!(!speaks("eip155:31337", usdc()));
    assert!(!speaks("eip155:84532", usdc().moved_by(Transfer::Permit2)));
    assert!(!EvmOffer::upto(&network(), PAYEE, usdc(), FACILITATOR).unwrap().speaks_v1());
}

#[test]
fn a_price_is_exact_in_the_tokens_currency_and_no_other() {
    let offer = EvmOffer::exact(&network(), PAYEE, usdc()).unwrap();
    let amount = |price: &str| offer.amount(&price.parse().unwrap());
    assert_eq!(amount("$0.001"), Ok(Amount(1000)));
    assert_eq!(amount("0.000001 USD"), Ok(Amount(1)));
    assert!(matches!(amount("$0.0000001"), Err(OfferError::Price(_))));
    assert!(matches!(amount("0.001 XTS"), Err(OfferError::UnknownAsset { .. })));
}

#[test]
fn a_set_up_that_is_not_understood_is_refused() {
    let exact =
        |network: &str, pay_to: &str| EvmOffer::exact(&network.parse().unwrap(), pay_to, usdc()).err();
    assert_eq!(exact("eip155:84532", PAYEE), None);
    assert!(matches!(exact("solana:84532", PAYEE), Some(ConfigError::Network { .. })));
    for wrong in ["", "0x1234", "0x0000000000000000000000000000000000000000"] {
        assert!(matches!(exact("eip155:84532", wrong), Some(ConfigError::Field { field: "payTo", .. })));
        assert!(EvmOffer::upto(&network(), PAYEE, usdc(), wrong).is_err());
    }
}

#[test]
fn what_was_signed_for_an_offer_agrees_with_it_and_is_presented_as_signed() {
    for (Paid { golden, now, .. }, offer) in paid() {
        let asked = made_like(&offer, &golden.payload);
        let payment = payment(&golden.payload, &asked);
        assert_eq!(reason(offer.agrees(&payment, &asked, now)), "agrees", "{}", golden.name);
        let presented = offer.read(&payment).unwrap();
        assert_eq!(presented.id.to_string(), golden.payment, "{}", golden.name);
        assert_eq!((presented.digest, presented.max_amount), (None, asked.amount));
        assert_eq!(presented.capture_deadline, presented.valid_before);
        assert!(presented.valid_before > now);
    }
}

/// The offer, with the amount that the payload was signed for.
fn made_like(offer: &EvmOffer, payload: &str) -> PaymentRequirements {
    let amount = Signed::read(payload).unwrap().authorization.amount();
    PaymentRequirements { amount, ..made(offer, true) }
}

#[test]
fn whatever_differs_from_the_offer_is_refused_for_its_own_reason() {
    let [exact, permit2, upto] = paid();
    let other = || json!("0x1111111111111111111111111111111111111111");
    let far = |paid: &Paid| json!((paid.now + 4201).to_string());
    let soon = |paid: &Paid| json!((paid.now + 5).to_string());
    let just = |paid: &Paid| json!((paid.now + 6).to_string());
    let early = |paid: &Paid| json!((paid.now + 1).to_string());
    let a = "/authorization/";
    let p = "/permit2Authorization/";
    let cases = [
        (&exact, a, "to", other(), reasons::EXACT_RECIPIENT_MISMATCH),
        (&exact, a, "value", json!("999"), reasons::EXACT_VALUE),
        (&exact, a, "value", json!("1001"), reasons::EXACT_VALUE),
        (&exact, a, "validBefore", soon(&exact.0), reasons::EXACT_VALID_BEFORE),
        (&exact, a, "validBefore", just(&exact.0), "agrees"),
        (&exact, a, "validBefore", far(&exact.0), reasons::EXACT_VALID_BEFORE),
        (&exact, a, "validAfter", early(&exact.0), reasons::EXACT_VALID_AFTER),
        (&exact, a, "validAfter", json!(exact.0.now.to_string()), "agrees"),
        (&permit2, p, "spender", other(), reasons::PERMIT2_SPENDER),
        (&permit2, p, "witness/to", other(), reasons::PERMIT2_RECIPIENT_MISMATCH),
        (&permit2, p, "deadline", soon(&permit2.0), reasons::PERMIT2_DEADLINE),
        (&permit2, p, "deadline", just(&permit2.0), "agrees"),
        (&permit2, p, "deadline", far(&permit2.0), reasons::PERMIT2_DEADLINE),
        (&permit2, p, "witness/validAfter", early(&permit2.0), reasons::PERMIT2_NOT_YET_VALID),
        (&permit2, p, "permitted/amount", json!("999"), reasons::PERMIT2_AMOUNT_MISMATCH),
        (&permit2, p, "permitted/token", other(), reasons::PERMIT2_TOKEN_MISMATCH),
        (&upto, p, "witness/facilitator", other(), reasons::UPTO_FACILITATOR_MISMATCH),
        (&upto, p, "witness/facilitator", json!(null), reasons::UPTO_SCHEME),
        (&upto, p, "spender", json!("0x402085c248EeA27D92E8b30b2C58ed07f9E20001"), reasons::PERMIT2_SPENDER),
        (&upto, p, "permitted/amount", json!("5001"), reasons::PERMIT2_AMOUNT_MISMATCH),
    ];
    for ((Paid { golden, now, .. }, offer), under, member, value, expected) in cases {
        let asked = made_like(offer, &golden.payload);
        let mut payload: Value = serde_json::from_str(&golden.payload).unwrap();
        *payload.pointer_mut(&format!("{under}{member}")).unwrap() = value.clone();
        let payment = payment(&payload.to_string(), &asked);
        assert_eq!(
            reason(offer.agrees(&payment, &asked, *now)),
            expected,
            "{} {member} {value}",
            golden.name
        );
    }
}

#[test]
fn a_payment_of_one_scheme_or_method_does_not_pay_an_offer_of_another() {
    let [exact, permit2, upto] = paid();
    let cases = [
        (&exact, &permit2, reasons::EXACT_EIP3009_NOT_SUPPORTED),
        (&exact, &upto, reasons::UPTO_SCHEME),
        (&permit2, &exact, reasons::EXACT_SCHEME),
        (&permit2, &upto, reasons::UPTO_SCHEME),
        (&upto, &exact, reasons::EXACT_SCHEME),
        (&upto, &permit2, reasons::EXACT_SCHEME),
    ];
    for ((Paid { golden, now, .. }, _), (_, offer), expected) in cases {
        let asked = made_like(offer, &golden.payload);
        let payment = payment(&golden.payload, &asked);
        assert_eq!(reason(offer.agrees(&payment, &asked, *now)), expected, "{}", golden.name);
    }
}

#[test]
fn what_cannot_be_read_is_malformed() {
    let offer = EvmOffer::exact(&network(), PAYEE, usdc()).unwrap();
    let payment = payment("{}", &made(&offer, true));
    assert!(matches!(offer.read(&payment), Err(PaymentFault::Malformed { .. })));
    let agrees = offer.agrees(&payment, &made(&offer, true), 0);
    assert!(matches!(agrees, Err(PaymentFault::Malformed { .. })));
}
