//! What x402's extensions offer-receipt and payment-identifier add to a payment and to what is known of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod scripted;

use farthing_client::flow::{Action, Answer, End, Event};
use farthing_client::{Flag, Flow, PaymentReport, Request};
use farthing_protocol::header::{self, PAYMENT_REQUIRED};
use farthing_protocol::offer_receipt::{self, Artifact, SignedOffer, SignedReceipt};
use farthing_protocol::payment_identifier::{self, Identifier};
use farthing_protocol::{SecretKey, Verbatim};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use scripted::*;
use serde_json::{Value, json};

const NOW: u64 = 1_800_000_000;
const URL: &str = "https://shop.example/goods?q=1";

fn event(reply: &Reply) -> Event {
    let Reply::Say { status, headers, body } = reply else { panic!("{reply:?}") };
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let status = http::StatusCode::from_u16(*status).unwrap();
    Event::Answered(Answer { status, headers: map, body: body.clone().into(), complete: true })
}

/// Terms with extensions.
fn terms(offer: &Value, extensions: Value) -> Reply {
    let terms =
        json!({"x402Version": 2, "resource": {"url": URL}, "accepts": [offer], "extensions": extensions});
    Reply::new(402, "").header(PAYMENT_REQUIRED, &header::encode(&terms).unwrap())
}

/// Signs a payment for the terms, and is answered with what `answers` makes of it.
fn pay(terms: &Reply, answers: impl FnOnce(&Presented) -> Reply) -> (Presented, PaymentReport) {
    let rail = Rail::new();
    let mut flow = Flow::pay(builder(&rail).policy().unwrap(), Request::new(Method::GET, URL).unwrap());
    let mut step = |event| flow.step(event, NOW, [9; 32]);
    assert!(matches!(step(Event::Start), Action::Send));
    assert!(matches!(step(event(terms)), Action::LookUp));
    let Action::SendPaid { header } = step(Event::LookedUp(Ok(()))) else { panic!("not sent") };
    let presented = presented(header.expose());
    // The same again while nobody knows.
    let Action::Wait(_) = step(Event::Lost { why: "gone".into() }) else { panic!("not repeated") };
    let Action::SendPaid { header: again } = step(Event::Waited) else { panic!("not sent again") };
    assert_eq!(again.expose(), header.expose());
    match step(event(&answers(&presented))) {
        Action::Done(end) => match *end {
            Ok(End::Paid(report)) => (presented, *report),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn receipt() -> SignedReceipt {
    SignedReceipt {
        version: 1,
        network: NETWORK.parse().unwrap(),
        resource_url: URL.into(),
        payer: "alice".into(),
        issued_at: NOW,
        transaction: None,
    }
}

/// Goods with a receipt by this key.
fn delivers_with(presented: &Presented, receipt: &SignedReceipt, key: &SecretKey) -> Reply {
    let mut said = settlement(presented, Some(&receipt_of(presented, 200, b"goods")));
    said["payer"] = "alice".into();
    let artifact = Artifact::sign(receipt, None, key).unwrap();
    said["extensions"][offer_receipt::EXTENSION] =
        serde_json::from_str(offer_receipt::of_receipt(&artifact).unwrap().get()).unwrap();
    Reply::new(200, "goods").settling(&said)
}

#[test]
fn a_route_that_asks_for_an_identifier_gets_one_and_the_same_with_each_presentation() {
    for required in [true, false] {
        let asks = json!({ payment_identifier::EXTENSION: payment_identifier::declaration(required) });
        let (sent, report) = pay(&terms(&offer(1_000), asks), |sent| {
            Reply::new(200, "goods").settling(&settlement(sent, Some(&receipt_of(sent, 200, b"goods"))))
        });
        let id = payment_identifier::read(&sent.payment.extensions).unwrap().unwrap();
        assert_eq!(id, Identifier::of(&report.id));
        let echoed: Value =
            serde_json::from_str(sent.payment.extensions["payment-identifier"].get()).unwrap();
        assert_eq!(echoed["info"]["required"], required);
    }
    let (sent, _) = pay(&terms(&offer(1_000), json!({})), |sent| {
        Reply::new(200, "goods").settling(&settlement(sent, Some(&receipt_of(sent, 200, b"goods"))))
    });
    assert_eq!(payment_identifier::read(&sent.payment.extensions), Ok(None));
}

#[test]
fn signed_offers_are_not_echoed_and_ask_for_a_receipt_that_is_checked_and_kept() {
    let promised = offer(1_000);
    let read = Verbatim::read(serde_json::value::to_raw_value(&promised).unwrap()).unwrap();
    let signed = Artifact::sign(&SignedOffer::of(&read, URL, NOW + 60), Some(0), &receipt_key()).unwrap();
    let issued: Value = serde_json::from_str(offer_receipt::of_offers(&[signed]).unwrap().get()).unwrap();
    let (sent, report) = pay(&terms(&promised, json!({ offer_receipt::EXTENSION: issued })), |sent| {
        delivers_with(sent, &receipt(), &receipt_key())
    });
    let echoed: Value =
        serde_json::from_str(sent.payment.extensions[offer_receipt::EXTENSION].get()).unwrap();
    assert_eq!((&echoed["info"], &echoed["schema"]), (&json!({}), &issued["schema"]));
    assert!(report.is_proven(), "{report:?}");
    let kept = Artifact::of_jws(report.receipt_jws.unwrap());
    assert_eq!(kept.verify(&receipt_key().public()), Ok(receipt()));
}

#[test]
fn a_signed_receipt_for_anything_else_is_flagged_and_not_kept() {
    type Change = fn(&mut SignedReceipt);
    let changes: [Change; 4] = [
        |it| it.resource_url = "https://shop.example/cheaper".into(),
        |it| it.payer = "bob".into(),
        |it| it.network = "eip155:8453".parse().unwrap(),
        |it| it.transaction = Some("another".into()),
    ];
    let plain = terms(&offer(1_000), json!({}));
    for change in changes {
        let mut other = receipt();
        change(&mut other);
        let (_, report) = pay(&plain, |sent| delivers_with(sent, &other, &receipt_key()));
        assert!(matches!(&report.flags[..], [Flag::ReceiptInvalid(_)]), "{report:?}");
        assert_eq!(report.receipt_jws, None);
        assert!(report.receipt.is_some(), "the other receipt stands for itself");
    }
    let (_, report) = pay(&plain, |sent| delivers_with(sent, &receipt(), &SecretKey::from_seed([8; 32])));
    assert!(matches!(&report.flags[..], [Flag::ReceiptInvalid(_)]), "another key than the announced one");
    let (sent, report) = pay(&plain, |sent| {
        let named = SignedReceipt { transaction: Some(sent.id.to_string()), ..receipt() };
        delivers_with(sent, &named, &receipt_key())
    });
    assert!(report.flags.is_empty() && report.receipt_jws.is_some(), "{report:?} {}", sent.id);
}

#[test]
fn where_no_key_was_announced_a_receipt_is_kept_by_the_key_it_carries() {
    let unannounced = with(offer(1_000), "extra.receiptKey", json!(null));
    let (_, report) = pay(&terms(&unannounced, json!({})), |sent| {
        let mut said = settlement(sent, None);
        let artifact = Artifact::sign(&receipt(), None, &SecretKey::from_seed([8; 32])).unwrap();
        let issued: Value =
            serde_json::from_str(offer_receipt::of_receipt(&artifact).unwrap().get()).unwrap();
        said["extensions"] = json!({ offer_receipt::EXTENSION: issued });
        Reply::new(200, "goods").settling(&said)
    });
    assert!(report.flags.is_empty() && report.receipt_jws.is_some(), "{report:?}");
}
