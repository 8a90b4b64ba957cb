//! The rail in its three roles, end to end on a ledger in memory: what is paid, and what is refused.
//!
//! Oracles count what history says (the states of payments, balances), never only answers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod world;

use farthing_ledger::terms::{Scheme, Terms};
use farthing_protocol::rail::{
    Authorized, Capture, Confirmation, Facilitator, Offer, OfferError, Operation, Outcome, Pay, PaymentFault,
};
use farthing_protocol::v2::{PaymentPayload, PaymentRequirements};
use farthing_protocol::{Amount, Limits, header, reason};
use farthing_rail_native::wire::Authorization;
use serde_json::{Value, json};

use world::{AUTHORIZER, FUNDS, OTHER_SELLER, PAYER, PRICE, SELLER, START, STRANGER, World};
use world::{public, refused, secret, settled};

fn capture(amount: u128) -> Operation {
    Operation::Capture { amount: Amount(amount), answer: None, last: true }
}

fn refund(amount: u128) -> Operation {
    Operation::Refund { amount: Amount(amount) }
}

/// What was signed, read back from the payload.
fn terms(payment: &PaymentPayload) -> Terms {
    use base64::Engine;
    let payload: Authorization = serde_json::from_str(payment.payload.get()).unwrap();
    let signed = base64::engine::general_purpose::STANDARD.decode(payload.authorization).unwrap();
    Terms::decode(&signed).unwrap()
}

// One payment, from the offer to the proof.

#[tokio::test]
async fn a_payment_is_offered_signed_held_captured_and_confirmed() {
    for scheme in Scheme::ALL {
        let world = World::of(scheme).await;
        let offer = world.offer();
        assert_eq!(world.payer.judge(&offer, &world.digest(), world.now()), Ok(()));
        let (signed, payment) = world.pay(&offer);

        let presented = world.seller.read(&payment).unwrap();
        assert_eq!((presented.id, presented.digest), (signed.id, Some(world.digest())));
        assert_eq!((presented.payer, presented.max_amount), (public(PAYER).to_string(), Amount(PRICE)));
        assert_eq!(world.seller.agrees(&payment, &offer, world.now()), Ok(()));
        let asked = world::request(payment.clone(), &offer);
        assert!(world.desk.verify(&asked).await.unwrap().is_valid);
        assert_eq!(world.history().await, [0, 0, 0, 0], "verify holds nothing");

        let hold = world.hold(&payment, &offer, 1).await;
        assert_eq!((hold.epoch, hold.takeover), (1, false));
        assert_eq!(world.balance(PAYER).await, FUNDS - PRICE);
        assert_eq!(world.payer.status(&signed).await, Confirmation::Open);

        let answer = Some(b"the page".to_vec());
        let operation = Operation::Capture { amount: Amount(PRICE), answer, last: true };
        let settlement = settled(world.operate(&world.seller, &payment, hold.epoch, operation).await);
        assert_eq!(settlement.amount, Some(Amount(PRICE)));
        assert_eq!(settlement.transaction, signed.id.to_string());
        assert_eq!(world.payer.confirm(&signed, &settlement), Confirmation::Taken(Amount(PRICE)));
        assert_eq!(world.payer.status(&signed).await, Confirmation::Taken(Amount(PRICE)));
        assert_eq!(world.balance(SELLER).await, PRICE);

        let again = settled(world.authorize(&payment, &offer, 2).await);
        let stored = Authorized::Captured { answer: Some(b"the page".to_vec()) };
        assert_eq!(world.seller.authorized(&again), Ok(stored));
        assert_eq!(world.payer.confirm(&signed, &again), Confirmation::Taken(Amount(PRICE)));
        assert_eq!(world.history().await, [0, 1, 0, 0]);
    }
}

#[tokio::test]
async fn captures_of_several_payments_go_under_one_signature_and_each_has_its_own_answer() {
    for over_http in [false, true] {
        let world = World::new().await;
        let offer = world.offer();
        let mut held = Vec::new();
        for _ in 0..3 {
            let (signed, payment) = world.pay(&offer);
            let hold = world.hold(&payment, &offer, 1).await;
            held.push((signed.id, world.seller.read(&payment).unwrap(), payment, hold.epoch));
        }
        held[1].3 += 1;
        let captures: Vec<_> = held
            .iter()
            .map(|(_, presented, payment, epoch)| Capture {
                payment,
                presented,
                epoch: *epoch,
                amount: Amount(PRICE),
                answer: Some(b"the page"),
                last: true,
            })
            .collect();
        let together = world.seller.capture_together(&captures).unwrap().unwrap();
        let mut asked = world::request(together, &offer);
        if over_http {
            asked = serde_json::from_str(&serde_json::to_string(&asked).unwrap()).unwrap();
        }
        let mut forged: Value = serde_json::from_str(asked.payment_payload.payload.get()).unwrap();
        forged["operations"].as_array_mut().unwrap().pop();
        let forged = PaymentPayload {
            payload: serde_json::value::to_raw_value(&forged).unwrap().into(),
            ..asked.payment_payload.clone()
        };
        assert_eq!(refused(world.settle(forged, &offer).await), reason::INVALID_SIGNATURE);
        assert_eq!(world.history().await, [3, 0, 0, 0]);

        for _twice in 0..2 {
            let settlement = settled(world.desk.settle(&asked).await);
            let ids: Vec<_> = held.iter().map(|(id, ..)| *id).collect();
            let outcomes = world.seller.captured_together(&ids, settlement.clone());
            let [Outcome::Settled(one), Outcome::NotSettled(two), Outcome::Settled(three)] = &outcomes[..]
            else {
                panic!("{outcomes:?}")
            };
            assert_eq!((&one.transaction, &three.transaction), (&ids[0].to_string(), &ids[2].to_string()));
            assert_eq!(two.error_reason.as_deref(), Some(reason::STALE_OWNER));
            assert_eq!(world.history().await, [1, 2, 0, 0]);
            assert_eq!(world.balance(SELLER).await, 2 * PRICE);
            // What is said of another payment, or not at all, is unknown.
            let swapped = world.seller.captured_together(&[ids[2], ids[1], ids[0], ids[0]], settlement);
            assert!(matches!(
                &swapped[..],
                [Outcome::Unknown(_), Outcome::NotSettled(_), Outcome::Unknown(_), Outcome::Unknown(_)]
            ));
        }
        let again = settled(world.authorize(&held[0].2, &offer, 1).await);
        let stored = Authorized::Captured { answer: Some(b"the page".to_vec()) };
        assert_eq!(world.seller.authorized(&again), Ok(stored));
    }
}

#[tokio::test]
async fn a_voided_payment_is_given_back_and_stays_so() {
    let world = World::new().await;
    let offer = world.offer();
    let (signed, payment) = world.pay(&offer);
    let hold = world.hold(&payment, &offer, 1).await;
    let settlement = settled(world.operate(&world.seller, &payment, hold.epoch, Operation::Void).await);
    assert_eq!(world.payer.confirm(&signed, &settlement), Confirmation::NotTaken);
    assert_eq!(world.balance(PAYER).await, FUNDS);
    assert_eq!(refused(world.authorize(&payment, &offer, 1).await), reason::PAYMENT_VOIDED);
    let late = world.operate(&world.seller, &payment, hold.epoch, capture(PRICE)).await;
    assert_eq!(refused(late), reason::CAPTURE_EXPIRED);
    assert_eq!(world.history().await, [0, 0, 1, 0]);
}

#[tokio::test]
async fn a_hold_that_nobody_captures_ends_at_its_deadline() {
    let world = World::new().await;
    let offer = world.offer();
    let (signed, payment) = world.pay(&offer);
    let hold = world.hold(&payment, &offer, 1).await;
    world.pass(901);
    assert_eq!(world.payer.status(&signed).await, Confirmation::NotTaken);
    assert_eq!(world.balance(PAYER).await, FUNDS);
    let late = world.operate(&world.seller, &payment, hold.epoch, capture(PRICE)).await;
    assert_eq!(refused(late), reason::CAPTURE_EXPIRED);
    assert_eq!(world.history().await, [0, 0, 0, 1]);
}

#[tokio::test]
async fn auth_capture_takes_less_and_gives_back_and_exact_does_neither() {
    for scheme in [Scheme::AuthCapture, Scheme::Exact] {
        let world = World::of(scheme).await;
        let offer = world.offer();
        let (signed, payment) = world.pay(&offer);
        let hold = world.hold(&payment, &offer, 1).await;
        let less = world.operate(&world.seller, &payment, hold.epoch, capture(400)).await;
        if scheme == Scheme::Exact {
            assert_eq!(refused(less), reason::INVALID_PAYLOAD);
            settled(world.operate(&world.seller, &payment, hold.epoch, capture(PRICE)).await);
            refused(world.operate(&world.seller, &payment, 0, refund(1)).await);
            assert_eq!((world.balance(PAYER).await, world.balance(SELLER).await), (FUNDS - PRICE, PRICE));
            continue;
        }
        assert_eq!(world.payer.confirm(&signed, &settled(less)), Confirmation::Taken(Amount(400)));
        assert_eq!((world.balance(PAYER).await, world.balance(SELLER).await), (FUNDS - 400, 400));
        for _ in 0..2 {
            let back = settled(world.operate(&world.seller, &payment, 0, refund(150)).await);
            assert_eq!(back.extra["refunded"], "150", "refunds are cumulative");
            assert_eq!((world.balance(PAYER).await, world.balance(SELLER).await), (FUNDS - 250, 250));
        }
        refused(world.operate(&world.seller, &payment, 0, refund(401)).await);
        assert_eq!(world.history().await, [0, 1, 0, 0]);
    }
}

#[tokio::test]
async fn a_silent_owner_loses_its_hold_and_its_voice() {
    let world = World::new().await;
    let offer = world.offer();
    let (_, payment) = world.pay(&offer);
    let first = world.hold(&payment, &offer, 1).await;
    assert_eq!(refused(world.authorize(&payment, &offer, 2).await), reason::PAYMENT_IN_PROGRESS);
    world.pass(30);
    let second = world.hold(&payment, &offer, 2).await;
    assert_eq!((second.epoch, second.takeover), (2, true));
    for operation in [capture(PRICE), Operation::Void] {
        let stale = world.operate(&world.seller, &payment, first.epoch, operation).await;
        assert_eq!(refused(stale), reason::STALE_OWNER);
    }
    settled(world.operate(&world.seller, &payment, second.epoch, capture(PRICE)).await);
    assert_eq!(world.history().await, [0, 1, 0, 0]);
}

// Offers that were changed on the way.

/// Who stops a payment for a changed offer.
enum Stopped {
    /// The client does not sign; the member that it names.
    Client(&'static str),
    /// The server refuses what was signed, with this reason.
    Server(&'static str),
    /// Nobody has to: what is signed is the same.
    Harmless,
}

#[tokio::test]
async fn a_changed_offer_is_stopped_by_the_client_or_the_server() {
    use Stopped::{Client, Harmless, Server};
    let (stranger, seller) = (public(STRANGER).to_string(), public(SELLER).to_string());
    let elsewhere = "farthing:00000000000000000000000000000000";
    let cases: Vec<(&str, Value, Stopped)> = vec![
        ("/scheme", json!("exact"), Server(reason::INVALID_SCHEME)),
        ("/scheme", json!("upto"), Server(reason::INVALID_SCHEME)),
        ("/scheme", json!("batch-settlement"), Client("scheme")),
        ("/network", json!(elsewhere), Client("network")),
        ("/network", json!("eip155:8453"), Client("network")),
        ("/amount", json!("1001"), Server(reason::AMOUNT_MISMATCH)),
        ("/amount", json!("999"), Server(reason::AMOUNT_MISMATCH)),
        ("/asset", json!("USD"), Server(reason::ASSET_MISMATCH)),
        ("/asset", json!("EUR"), Client("asset")),
        ("/asset", json!("xts"), Client("asset")),
        ("/payTo", json!(stranger), Server(reason::PAY_TO_MISMATCH)),
        ("/payTo", json!(seller.to_uppercase()), Client("payTo")),
        ("/payTo", json!(""), Client("payTo")),
        ("/maxTimeoutSeconds", json!(1_000_000_000), Harmless),
        ("/extra/requestDigest", json!(world::digest("/other").to_string()), Client("digest")),
        ("/extra/requestDigest", json!(null), Client("extra.requestDigest")),
        ("/extra/binding", json!(2), Server(reason::INVALID_PAYLOAD)),
        ("/extra/binding", json!(3), Client("extra.binding")),
        ("/extra/binding", json!("1"), Client("extra.binding")),
        ("/extra/binding", json!(257), Client("extra.binding")),
        ("/extra/paymentFlow", json!("upfront"), Client("extra.paymentFlow")),
        ("/extra/paymentFlow", json!("authorization"), Client("extra.paymentFlow")),
        ("/extra/receiverAuthorizer", json!(stranger), Server(reason::RECEIVER_AUTHORIZER_MISMATCH)),
        ("/extra/receiverAuthorizer", json!(null), Client("extra.receiverAuthorizer")),
        ("/extra/captureDeadline", json!(START), Client("extra.captureDeadline")),
        ("/extra/captureDeadline", json!(START + 59), Server(reason::DEADLINE_MISMATCH)),
        ("/extra/captureDeadline", json!(-1), Client("extra.captureDeadline")),
        ("/extra/captureDeadline", json!(START + 1_000_000_000), Harmless),
        ("/extra/refundDeadline", json!(START + 1_000_000_000), Harmless),
        ("/extra/refundDeadline", json!("never"), Client("extra.refundDeadline")),
        ("/extra/minFeeBps", json!(1), Client("extra.maxFeeBps")),
        ("/extra/maxFeeBps", json!(10_000), Client("extra.maxFeeBps")),
        ("/extra/maxFeeBps", json!(1.5), Client("extra.maxFeeBps")),
        ("/extra/feeRecipient", json!(stranger), Harmless),
    ];
    let world = World::new().await;
    let honest = world.offer();
    let signed = terms(&world.pay(&honest).1);
    for (at, value, stopped) in cases {
        let mut changed = serde_json::to_value(&honest).unwrap();
        *changed.pointer_mut(at).unwrap() = value.clone();
        let changed: PaymentRequirements = serde_json::from_value(changed).unwrap();
        let judged = world.payer.judge(&changed, &world.digest(), world.now());
        match stopped {
            Client(named) => {
                let by = match judged.unwrap_err() {
                    OfferError::Field { field, .. } => field,
                    OfferError::ForeignDigest => "digest".into(),
                    OfferError::UnknownAsset { .. } => "asset".into(),
                    other => panic!("{at} {value}: {other}"),
                };
                assert_eq!(by, named, "{at} {value}");
                let signed = world.payer.pay(&changed, &world.digest(), world.now(), [9; 32]);
                assert!(signed.is_err(), "{at} {value}: judged and signed differently");
            }
            Server(expected) => {
                let (_, payment) = world.pay(&changed);
                match world.seller.agrees(&payment, &honest, world.now()) {
                    Err(PaymentFault::Refused { reason, .. }) => assert_eq!(reason, expected, "{at} {value}"),
                    other => panic!("{at} {value}: {other:?}"),
                }
            }
            Harmless => {
                let (_, payment) = world.pay(&changed);
                let nonce = terms(&payment).nonce;
                assert_eq!(terms(&payment), Terms { nonce, ..signed.clone() }, "{at} {value}");
                assert_eq!(world.seller.agrees(&payment, &honest, world.now()), Ok(()), "{at} {value}");
            }
        }
    }
    assert_eq!(world.history().await, [0, 0, 0, 0]);

    // The same client and server, and the offer as it was made.
    let (_, payment) = world.pay(&honest);
    assert_eq!(world.seller.agrees(&payment, &honest, world.now()), Ok(()));
    let hold = world.hold(&payment, &honest, 1).await;
    settled(world.operate(&world.seller, &payment, hold.epoch, capture(PRICE)).await);
    assert_eq!(world.history().await, [0, 1, 0, 0]);
}

#[tokio::test]
async fn t32_a_signature_never_reaches_further_than_the_client_allows() {
    let world = World::new().await;
    let honest = world.offer();
    let mut greedy = honest.clone();
    greedy.max_timeout_seconds = 1_000_000_000;
    for key in ["captureDeadline", "refundDeadline"] {
        greedy.extra[key] = json!(u64::MAX);
    }
    let (signed, payment) = world.pay(&greedy);
    let now = world.now();
    let reached = terms(&payment);
    assert_eq!((reached.valid_before, signed.valid_before), (now + 300, now + 300));
    assert_eq!((reached.capture_deadline, signed.capture_deadline), (now + 900, now + 900));
    assert_eq!(reached.refund_deadline, now + 30 * 86_400);

    let mut short = honest.clone();
    short.max_timeout_seconds = 10;
    assert_eq!(terms(&world.pay(&short).1).valid_before, now + 10, "and not further than was asked for");

    let silent = |key: &str| {
        let mut offer = honest.clone();
        offer.extra.remove(key);
        terms(&world.pay(&offer).1)
    };
    assert_eq!(silent("captureDeadline").capture_deadline, now + 900);
    assert_eq!(silent("refundDeadline").refund_deadline, 0);
    assert_eq!(world.hold(&payment, &honest, 1).await.epoch, 1);
}

#[tokio::test]
async fn a_payment_that_the_server_does_not_recognise_is_not_settled_by_the_facilitator_either() {
    let world = World::new().await;
    let honest = world.offer();
    for (at, value, expected) in [
        ("/amount", json!("1"), reason::AMOUNT_MISMATCH),
        ("/asset", json!("USD"), reason::ASSET_MISMATCH),
        ("/payTo", json!(public(STRANGER).to_string()), reason::PAY_TO_MISMATCH),
        ("/scheme", json!("exact"), reason::INVALID_SCHEME),
    ] {
        let mut changed = serde_json::to_value(&honest).unwrap();
        *changed.pointer_mut(at).unwrap() = value;
        let (_, payment) = world.pay(&serde_json::from_value(changed).unwrap());
        let looked = world.desk.verify(&world::request(payment.clone(), &honest)).await;
        assert_eq!(looked.unwrap().invalid_reason.as_deref(), Some(expected), "{at}");
        assert_eq!(refused(world.authorize(&payment, &honest, 1).await), expected, "{at}");
    }
    assert_eq!(world.history().await, [0, 0, 0, 0]);
    let (_, payment) = world.pay(&honest);
    world.hold(&payment, &honest, 1).await;
    assert_eq!(world.history().await, [1, 0, 0, 0]);
}

// Who may act.

#[tokio::test]
async fn only_the_receiver_authorizer_that_the_payer_signed_for_may_act() {
    let world = World::new().await;
    let other = world.other_seller().await;
    let terms = world.ledger.terms().await.unwrap();
    let by = |payee, key| {
        let terms = terms.clone();
        farthing_rail_native::NativeOffer::new(
            Scheme::AuthCapture,
            world.ledger.network(),
            terms,
            payee,
            secret(key),
        )
        .unwrap()
    };
    let stranger = by(public(STRANGER), STRANGER);
    let payer = by(public(PAYER), PAYER);
    let payee = by(public(SELLER), SELLER);
    let offer = world.offer();
    let (_, payment) = world.pay(&offer);
    let hold = world.hold(&payment, &offer, 1).await;
    let unauthorized = |outcome| assert_eq!(refused(outcome), reason::UNAUTHORIZED_SIGNER);

    for who in [&stranger, &payer, &other, &payee] {
        for operation in [capture(PRICE), Operation::Void, refund(1)] {
            unauthorized(world.operate(who, &payment, hold.epoch, operation).await);
        }
    }
    assert_eq!(world.history().await, [1, 0, 0, 0]);

    settled(world.operate(&world.seller, &payment, hold.epoch, capture(PRICE)).await);
    for who in [&stranger, &payer, &other, &payee] {
        unauthorized(world.operate(who, &payment, 0, refund(PRICE)).await);
    }
    assert_eq!((world.balance(SELLER).await, world.balance(OTHER_SELLER).await), (PRICE, 0));
    settled(world.operate(&world.seller, &payment, 0, refund(PRICE)).await);
    assert_eq!((world.balance(SELLER).await, world.balance(PAYER).await), (0, FUNDS));
}

#[tokio::test]
async fn a_signature_under_the_authorizers_name_by_another_key_is_refused() {
    let world = World::new().await;
    let offer = world.offer();
    let (_, payment) = world.pay(&offer);
    let hold = world.hold(&payment, &offer, 1).await;
    let presented = world.seller.read(&payment).unwrap();
    let honest = world.seller.operate(&payment, &presented, hold.epoch, &capture(PRICE)).unwrap();
    let mut forged: Value = serde_json::from_str(honest.payload.get()).unwrap();
    assert_eq!(forged["signer"], public(AUTHORIZER).to_string());
    forged["signature"] = json!(secret(STRANGER).sign(b"capture").to_string());
    let payload = serde_json::value::to_raw_value(&forged).unwrap();
    let forged = PaymentPayload { payload: payload.into(), ..honest.clone() };
    assert_eq!(refused(world.settle(forged, &offer).await), reason::INVALID_SIGNATURE);
    assert_eq!(world.history().await, [1, 0, 0, 0]);
    settled(world.settle(honest, &offer).await);
    assert_eq!(world.history().await, [0, 1, 0, 0]);
}

#[tokio::test]
async fn t25_a_third_party_that_settles_first_takes_neither_the_money_nor_the_delivery() {
    let world = World::new().await;
    let offer = world.offer();
    let (signed, payment) = world.pay(&offer);

    // Whoever saw the payment sends it to the facilitator as the client made it.
    let third_party = settled(world.settle(payment.clone(), &offer).await);
    assert_eq!(third_party.extra["state"], "held");
    assert_eq!(refused(world.authorize(&payment, &offer, 1).await), reason::PAYMENT_IN_PROGRESS);
    let by_third_party = {
        let other = world.other_seller().await;
        world.operate(&other, &payment, 1, capture(PRICE)).await
    };
    assert_eq!(refused(by_third_party), reason::UNAUTHORIZED_SIGNER);

    world.pass(60);
    let hold = world.hold(&payment, &offer, 1).await;
    assert_eq!((hold.epoch, hold.takeover), (2, true));
    let settlement = settled(world.operate(&world.seller, &payment, hold.epoch, capture(PRICE)).await);
    assert_eq!(world.payer.confirm(&signed, &settlement), Confirmation::Taken(Amount(PRICE)));
    assert_eq!((world.balance(PAYER).await, world.balance(SELLER).await), (FUNDS - PRICE, PRICE));
    assert_eq!(world.history().await, [0, 1, 0, 0]);
}

// Unsigned fields.

/// Every place in a JSON value, outermost first.
fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(k, v)| places(v, &format!("{at}/{}", k.replace('/', "~1")), into));
        }
        Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(i, v)| places(v, &format!("{at}/{i}"), into));
        }
        _ => {}
    }
}

#[tokio::test]
async fn t12_no_unsigned_field_changes_who_pays_how_much_to_whom_for_what() {
    let world = World::new().await;
    let offer = world.offer();
    let (_, payment) = world.pay(&offer);
    let mut envelope = serde_json::to_value(&payment).unwrap();
    envelope["resource"] = json!({"url": "https://example.com/page", "description": "a page", "tags": ["x"]});
    envelope["extensions"]["note"] = json!({"payer": public(PAYER).to_string(), "amount": "1"});
    let read = |envelope: &Value| {
        let value = header::encode(envelope).unwrap();
        header::decode_payment(value.as_bytes(), &Limits::default())
    };
    let original = world.seller.read(&read(&envelope).unwrap()).unwrap();

    let mut everywhere = Vec::new();
    places(&envelope, "", &mut everywhere);
    everywhere.retain(|at| !at.is_empty() && at != "/payload" && !at.starts_with("/payload/"));
    assert!(everywhere.len() >= 25, "{everywhere:?}");
    let stranger = public(STRANGER).to_string();
    let values = [
        json!(null),
        json!("1"),
        json!("9999999"),
        json!(0),
        json!(1e9),
        json!(true),
        json!([]),
        json!({}),
        json!(stranger),
        json!("USD"),
        json!("exact"),
        json!(world.ledger.network().to_string()),
    ];
    let (mut believed, mut unreadable) = (Vec::new(), 0);
    for at in &everywhere {
        for value in &values {
            let mut changed = envelope.clone();
            *changed.pointer_mut(at).unwrap() = value.clone();
            let Ok(payment) = read(&changed) else {
                unreadable += 1;
                continue;
            };
            assert_eq!(world.seller.read(&payment).as_ref(), Ok(&original), "{at} = {value}");
            assert_eq!(world.seller.agrees(&payment, &offer, world.now()), Ok(()), "{at} = {value}");
            believed.push(payment);
        }
    }
    assert!(believed.len() > 200 && unreadable > 20, "{} read, {unreadable} not", believed.len());

    // Every one of them is the same payment to the ledger: one hold, one capture.
    for payment in &believed {
        assert_eq!(world.hold(payment, &offer, 1).await.epoch, 1);
    }
    for payment in &believed {
        settled(world.operate(&world.seller, payment, 1, capture(PRICE)).await);
    }
    assert_eq!((world.balance(PAYER).await, world.balance(SELLER).await), (FUNDS - PRICE, PRICE));
    assert_eq!(world.history().await, [0, 1, 0, 0]);
}

#[tokio::test]
async fn upto_is_taken_in_parts_and_what_was_taken_is_not_given_back() {
    for ends_by in ["capture", "void", "time"] {
        let world = World::of(Scheme::Upto).await;
        let offer = world.offer();
        assert!(offer.scheme == "upto" && !offer.extra.contains_key("refundDeadline"));
        let (signed, payment) = world.pay(&offer);
        let hold = world.hold(&payment, &offer, 1).await;
        let part = |amount| Operation::Capture { amount: Amount(amount), answer: None, last: false };
        for amount in [300, 300, 450] {
            let said = settled(world.operate(&world.seller, &payment, hold.epoch, part(amount)).await);
            assert_eq!((said.amount, &said.extra["state"]), (Some(Amount(amount)), &json!("held")));
            assert_eq!((world.balance(PAYER).await, world.balance(SELLER).await), (FUNDS - PRICE, amount));
            assert_eq!(world.payer.status(&signed).await, Confirmation::Open);
        }
        refused(world.operate(&world.seller, &payment, hold.epoch, part(449)).await);
        let taken = match ends_by {
            "capture" => 600,
            _ => 450,
        };
        match ends_by {
            "capture" => {
                settled(world.operate(&world.seller, &payment, hold.epoch, capture(taken)).await);
            }
            "void" => {
                let said = settled(world.operate(&world.seller, &payment, hold.epoch, Operation::Void).await);
                assert_eq!(world.seller.authorized(&said), Ok(Authorized::Captured { answer: None }));
            }
            _ => world.pass(901),
        }
        assert_eq!(
            (world.balance(PAYER).await, world.balance(SELLER).await),
            (FUNDS - taken, taken),
            "{ends_by}"
        );
        assert_eq!(world.payer.status(&signed).await, Confirmation::Taken(Amount(taken)));
        let late = world.operate(&world.seller, &payment, hold.epoch, part(700)).await;
        assert!(matches!(&*refused(late), reason::INVALID_TRANSACTION_STATE | reason::CAPTURE_EXPIRED));
        assert_eq!(
            refused(world.operate(&world.seller, &payment, 0, refund(1)).await),
            reason::REFUND_EXPIRED
        );
        assert_eq!(world.history().await, [0, 1, 0, 0]);
    }
}
