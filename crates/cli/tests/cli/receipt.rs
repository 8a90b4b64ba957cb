//! `farthing receipt verify`: what a signed offer or receipt proves, offline.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use farthing::protocol::digest::{BodyHash, request_digest, sha256};
use farthing::protocol::offer_receipt::{self, Artifact, SignedOffer, SignedReceipt};
use farthing::protocol::rail::PaymentId;
use farthing::protocol::receipt::Receipt;
use farthing::protocol::v2::PaymentRequirements;
use farthing::protocol::{Amount, SecretKey, did_key};
use serde_json::{Value, json};

use crate::program::{Run, farthing, farthing_with};

const ORIGIN: &str = "https://shop.example";
const URL: &str = "https://shop.example/weather?city=Taipei";
const NETWORK: &str = "farthing:00112233445566778899aabbccddeeff";
/// Long after everything here was signed.
const SIGNED: u64 = 1_700_000_000;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn did(seed: u8) -> String {
    did_key::did_key(&key(seed).public())
}

fn offer() -> PaymentRequirements {
    serde_json::from_value(json!({"scheme": "exact", "network": NETWORK, "amount": "1000", "asset": "XTS",
        "payTo": "aa".repeat(32), "maxTimeoutSeconds": 300, "extra": {}}))
    .unwrap()
}

fn stated() -> SignedReceipt {
    SignedReceipt {
        version: 1,
        network: NETWORK.parse().unwrap(),
        resource_url: URL.into(),
        payer: "bb".repeat(32),
        issued_at: SIGNED,
        transaction: None,
    }
}

fn receipt() -> Artifact {
    Artifact::sign(&stated(), None, &key(1)).unwrap()
}

fn signed_offer() -> Artifact {
    Artifact::sign(&SignedOffer::of(&offer(), URL, SIGNED + 300), Some(0), &key(1)).unwrap()
}

fn raw(text: &serde_json::value::RawValue) -> Value {
    serde_json::from_str(text.get()).unwrap()
}

/// farthing's own receipt, for an answer with the body `sunny`.
fn own() -> Value {
    let digest = request_digest("GET", &ORIGIN.parse().unwrap(), "/weather?city=Taipei", BodyHash::of(b""));
    let receipt = Receipt {
        payment: PaymentId([7; 32]),
        digest,
        status: 200,
        body: sha256(b"sunny"),
        amount: Amount(1_000),
        issued_at: SIGNED,
    };
    serde_json::to_value(receipt.sign(&key(1))).unwrap()
}

fn settlement() -> Value {
    json!({"success": true, "transaction": PaymentId([7; 32]).to_string(), "network": NETWORK,
    "payer": "bb".repeat(32), "amount": "1000", "extensions": {
        "farthing-receipt": own(),
        "offer-receipt": raw(&offer_receipt::of_receipt(&receipt()).unwrap()),
    }})
}

fn terms(offer: &PaymentRequirements) -> Value {
    json!({"x402Version": 2, "resource": {"url": URL}, "accepts": [offer], "extensions": {
        "offer-receipt": raw(&offer_receipt::of_offers(&[signed_offer()]).unwrap()),
    }})
}

fn verify(input: &str, options: &[&str]) -> Run {
    let arguments: Vec<_> = ["receipt", "verify"].iter().chain(options).copied().collect();
    farthing_with(&arguments, input, &[])
}

/// Everything that carries a receipt, an offer, or both.
fn carriers() -> Vec<(&'static str, String, usize)> {
    let header = STANDARD.encode(settlement().to_string());
    vec![
        ("a compact JWS", receipt().signature, 1),
        ("a signed receipt", serde_json::to_string(&receipt()).unwrap(), 1),
        ("a signed offer", serde_json::to_string(&signed_offer()).unwrap(), 1),
        ("farthing's own receipt", own().to_string(), 1),
        ("a settlement", settlement().to_string(), 2),
        ("a settlement in a header", header.clone(), 2),
        ("a header with its name", format!("PAYMENT-RESPONSE: {header}\r\n"), 2),
        ("terms", terms(&offer()).to_string(), 1),
        ("extensions", settlement()["extensions"].to_string(), 2),
        (
            "a payment as it is told of",
            json!({"receipt": own(), "receipt_jws": receipt().signature}).to_string(),
            2,
        ),
    ]
}

#[test]
fn a_receipt_is_found_and_verified_in_whatever_carries_it() {
    for (what, text, count) in carriers() {
        let told = verify(&text, &["--json"]).ends_with(0).json();
        let signed = told["signed"].as_array().unwrap();
        assert_eq!((signed.len(), &told["holds"]), (count, &json!(true)), "{what}: {told}");
        for one in signed {
            assert_eq!((&one["did"], &one["holds"]), (&json!(did(1)), &json!(true)), "{what}: {one}");
            assert!(one["not_proven"].to_string().contains("whose key"), "{what}: {one}");
        }
        verify(&text, &["--key", &did(1)]).ends_with(0);
        let foreign = verify(&text, &["--key", &did(2)]).ends_with(1);
        assert!(foreign.err.contains("key"), "{what}: {foreign:?}");
    }
}

#[test]
fn what_is_proven_is_said_in_words_and_what_is_not_too() {
    let run = verify(&receipt().signature, &[]).ends_with(0);
    let payer = "bb".repeat(32);
    for part in
        ["receipt", "holds", &did(1), URL, &payer, "2023-11-14", "not proven: whose key", "ask the network"]
    {
        assert!(run.out.contains(part), "{part}: {}", run.out);
    }
    let known = verify(&receipt().signature, &["--key", &key(1).public().to_string()]).ends_with(0);
    assert!(known.out.contains("by the key that was given") && !known.out.contains("whose key"), "{known:?}");
    let offer = verify(&signed_offer().signature, &[]).ends_with(0);
    for part in ["offer", "1000 atomic units of XTS", "over", "not proven: that anybody paid"] {
        assert!(offer.out.contains(part), "{part}: {}", offer.out);
    }
    // Text of somebody else's moves no cursor.
    let hostile = SignedReceipt { payer: "\u{1b}[2Jbob".into(), ..stated() };
    let hostile = Artifact::sign(&hostile, None, &key(1)).unwrap();
    assert!(!verify(&hostile.signature, &[]).ends_with(0).out.contains('\u{1b}'));
}

#[test]
fn what_was_signed_is_compared_with_what_the_reader_knows() {
    let payer = "bb".repeat(32);
    let body = tempfile::NamedTempFile::new().unwrap();
    fs::write(body.path(), "sunny").unwrap();
    let body_path = body.path().to_str().unwrap();
    let whole = settlement().to_string();
    verify(&whole, &["--url", URL, "--payer", &payer, "--body", body_path]).ends_with(0);
    for (options, why) in [
        (["--url", "https://shop.example/cheaper"], "another URL"),
        (["--payer", "alice"], "another payer"),
        (["--key", &did(2)], "another key"),
    ] {
        let run = verify(&receipt().signature, &options).ends_with(1);
        assert!(run.err.contains(why), "{options:?}: {run:?}");
    }
    fs::write(body.path(), "rainy").unwrap();
    assert!(verify(&whole, &["--body", body_path]).ends_with(1).err.contains("another body"));
    // What nothing here can confirm is not confirmed.
    let run = verify(&receipt().signature, &["--body", body_path]).ends_with(1);
    assert!(run.err.contains("confirms the body"), "{run:?}");
    let run = verify(&own().to_string(), &["--url", "https://shop.example/cheaper"]).ends_with(1);
    assert!(run.err.contains("confirms the URL"), "{run:?}");
    verify(&own().to_string(), &["--url", URL]).ends_with(0);
}

#[test]
fn what_is_signed_for_something_else_than_what_is_around_it_is_told() {
    let mut other = settlement();
    other["transaction"] = PaymentId([8; 32]).to_string().into();
    assert!(verify(&other.to_string(), &[]).ends_with(1).err.contains("another payment"));
    let mut other = settlement();
    other["payer"] = "cc".repeat(32).into();
    assert!(verify(&other.to_string(), &[]).ends_with(1).err.contains("another payment"));
    let dearer = PaymentRequirements { amount: Amount(2_000), ..offer() };
    assert!(verify(&terms(&dearer).to_string(), &[]).ends_with(1).err.contains("none of the offers"));
}

#[test]
fn a_signature_that_does_not_hold_ends_with_1() {
    let jws = receipt().signature;
    let [head, _, signature] = jws.split('.').collect::<Vec<_>>()[..] else { panic!("{jws}") };
    let other = SignedReceipt { payer: "mallory".into(), ..stated() };
    let other = Artifact::sign(&other, None, &key(1)).unwrap().signature;
    let mixed = [head, other.split('.').nth(1).unwrap(), signature].join(".");
    let run = verify(&mixed, &[]).ends_with(1);
    assert!(run.out.contains("proves nothing") && !run.out.contains("mallory"), "{run:?}");
    let none =
        URL_SAFE_NO_PAD.encode(json!({"alg": "none", "kid": did_key::key_id(&key(1).public())}).to_string());
    let run = verify(&format!("{none}.{}.", jws.split('.').nth(1).unwrap()), &[]).ends_with(1);
    assert!(run.err.contains("EdDSA"), "{run:?}");
    let mut forged = own();
    forged["key"] = key(2).public().to_string().into();
    verify(&forged.to_string(), &[]).ends_with(1);
    let told = verify(&mixed, &["--json"]).ends_with(1).json();
    assert_eq!((&told["holds"], &told["signed"][0]["states"]), (&json!(false), &Value::Null));
}

#[test]
fn what_cannot_be_read_ends_with_2() {
    let eip712 = json!({"format": "eip712", "payload": {}, "signature": "0x00"}).to_string();
    for (text, why) in [
        (String::new(), "nothing"),
        ("{}".into(), "holds no signed offer"),
        ("a.b".into(), "three parts"),
        ("eyJ.eyJ.eyJ".into(), "base64url"),
        ("e30.e30.e30".into(), "header"),
        ("hello there".into(), "base64"),
        ("{\"a\":1,\"a\":2}".into(), "twice"),
        (eip712, "only \"jws\""),
    ] {
        let run = verify(&text, &[]).ends_with(2);
        assert!(run.err.contains(why), "{text:?}: {run:?}");
    }
    for key in ["did:web:shop.example", "00", "did:key:z1"] {
        assert!(verify(&receipt().signature, &["--key", key]).ends_with(2).err.contains("--key"));
    }
    assert!(farthing(&["receipt", "verify", "/nowhere/receipt.json"]).ends_with(2).err.contains("nowhere"));
}

#[test]
fn a_key_that_is_somewhere_else_is_not_looked_up_and_may_be_given() {
    let payload = receipt().signature.split('.').nth(1).unwrap().to_owned();
    let header = URL_SAFE_NO_PAD.encode("{\"alg\":\"EdDSA\",\"kid\":\"did:web:shop.example#key-1\"}");
    let signed = format!("{header}.{payload}");
    let signature = URL_SAFE_NO_PAD.encode(key(1).sign(signed.as_bytes()).0);
    let jws = format!("{signed}.{signature}");
    let run = verify(&jws, &[]).ends_with(2);
    assert!(run.err.contains("did:web:shop.example#key-1") && run.err.contains("--key"), "{run:?}");
    let run = verify(&jws, &["--key", &did(1)]).ends_with(0);
    assert!(run.out.contains("did:web:shop.example#key-1"), "{run:?}");
    verify(&jws, &["--key", &did(2)]).ends_with(1);
}

#[test]
fn files_arguments_and_both_names_of_the_command_are_taken() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("{}\n", receipt().signature)).unwrap();
    let path = file.path().to_str().unwrap();
    farthing(&["receipt", "verify", path]).ends_with(0);
    farthing(&["receipts", "verify", path, "--key", &did(1), "--url", URL]).ends_with(0);
    farthing(&["receipt", "verify", &receipt().signature]).ends_with(0);
    farthing(&["receipt", "verify", &settlement().to_string()]).ends_with(0);
    verify(&receipt().signature, &["-"]).ends_with(0);
}

#[test]
fn the_golden_artifacts_get_their_golden_verdicts() {
    let vectors: Value = serde_json::from_str(include_str!("../../../../spec/vectors/jws.json")).unwrap();
    let mut seen = [0; 2];
    for vector in vectors["vectors"].as_array().unwrap() {
        let (jws, key) = (vector["jws"].as_str().unwrap(), vector["key"].as_str().unwrap());
        let run = verify(jws, &["--key", key, "--json"]);
        // Alone, it says itself which of the two it is.
        let misplaced = vector["name"].as_str().unwrap().contains("in the place of");
        let holds = vector["error"].is_null() || misplaced;
        assert_eq!(run.status == 0, holds, "{}: {run:?}", vector["name"]);
        if holds && !misplaced {
            assert_eq!(run.json()["signed"][0]["states"], vector["states"], "{}", vector["name"]);
        }
        seen[usize::from(holds)] += 1;
    }
    assert!(seen[0] >= 20 && seen[1] >= 5, "{seen:?}");
}
