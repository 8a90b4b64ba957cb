//! `farthing inspect`: golden values, real payments, and hostile input.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::program::{farthing, farthing_with};

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/headers.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn text<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name].as_str().unwrap_or_else(|| panic!("{name}: {case}"))
}

fn encode(message: &Value) -> String {
    STANDARD.encode(message.to_string())
}

#[test]
fn every_golden_header_is_explained_and_printed() {
    for case in vectors()["decode"].as_array().unwrap() {
        let (name, header, value) = (text(case, "name"), text(case, "header"), text(case, "value"));
        let expected = match header {
            "payment-required" => "A price (PAYMENT-REQUIRED",
            "payment-signature" => "A payment (PAYMENT-SIGNATURE",
            "payment-response" => "What became of a payment (PAYMENT-RESPONSE",
            "x-payment" => "A payment (X-PAYMENT",
            _ => "What became of a payment (X-PAYMENT-RESPONSE",
        };
        let run = farthing_with(&["inspect", "-"], &format!("{header}: {value}"), &[]);
        assert!(run.out.starts_with(expected), "{name}: {run:?}");
        // A payment on a made-up ledger is decoded, and not signed.
        assert!(run.status == 0 || run.out.contains("NOT VALID"), "{name}: {run:?}");
        let printed = farthing_with(&["inspect", "--json", "-"], value, &[]).json();
        let meant: Value = serde_json::from_slice(&STANDARD.decode(value).unwrap()).unwrap();
        assert_eq!(printed, meant, "{name}");
    }
}

#[test]
fn every_header_that_must_be_refused_ends_with_2_and_says_why() {
    for case in vectors()["refuse"].as_array().unwrap() {
        let (name, header, class) = (text(case, "name"), text(case, "header"), text(case, "error"));
        let Some(value) = case["value"].as_str() else { continue };
        if class == "too-large" || value != value.trim() {
            // It reads longer headers than servers do, and forgives what pasting adds.
            continue;
        }
        let run = farthing_with(&["inspect", "-"], &format!("{header}: {value}"), &[]).ends_with(2);
        assert!(run.out.is_empty() && run.err.starts_with("farthing: "), "{name}: {run:?}");
        if let Some(field) = case["field"].as_str() {
            assert!(run.err.contains(field), "{name}: {run:?}");
        }
    }
}

#[test]
fn the_words_say_what_is_asked() {
    let offer = json!({"scheme": "exact", "network": "eip155:84532", "amount": "10000",
        "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
        "maxTimeoutSeconds": 60, "extra": {"name": "USDC", "version": "2"}});
    let terms = json!({"x402Version": 2, "resource": {"url": "https://api.example.com/premium-data",
        "description": "Market data"}, "accepts": [offer, {"scheme": "new"}]});
    let out = farthing(&["inspect", &encode(&terms)]).ends_with(0).out;
    for part in [
        "https://api.example.com/premium-data",
        "Market data",
        "0.01 USDC",
        "10000 atomic units",
        "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
        "Base Sepolia",
        "60 seconds",
        "Way to pay 2 of 2",
        "cannot be read",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
}

#[test]
fn what_strangers_write_cannot_steer_the_terminal() {
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\r\nNothing to pay \u{202e}\u{9b}31m";
    let offer = json!({"scheme": evil, "network": "eip155:1", "amount": "1", "asset": evil, "payTo": evil,
        "maxTimeoutSeconds": 60, "extra": {evil: evil}});
    let terms = json!({"x402Version": 2, "error": evil, "resource": {"url": evil, "description": evil,
        "mimeType": evil, "serviceName": evil}, "accepts": [offer], "extensions": {evil: {}}});
    let settlement = json!({"success": false, "errorReason": evil, "errorMessage": evil, "transaction": evil,
        "network": "eip155:1", "payer": evil, "extra": {"state": evil}});
    let payment = json!({"x402Version": 2, "accepted": terms["accepts"][0], "payload": {evil: {evil: evil}}});
    for message in [terms, settlement, payment] {
        for arguments in [&["inspect", "-"][..], &["inspect", "--json", "-"]] {
            let run = farthing_with(arguments, &encode(&message), &[]).ends_with(0);
            let hostile = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
            assert!(!run.out.contains(hostile) && run.out.contains("202e"), "{:?}", run.out);
        }
    }
    let unknown = farthing(&["inspect", &format!("{evil}: e30=")]).ends_with(2);
    assert!(!unknown.err.trim_end().contains(|c: char| c.is_control()), "{:?}", unknown.err);
}

#[test]
fn input_that_is_no_message_ends_with_2() {
    let long = "A".repeat(300_000);
    for (input, why) in [
        ("", "nothing to decode"),
        ("hello", "base64"),
        ("e30=", "no x402 message"),
        ("{\"x402Version\":3,\"accepts\":[]}", "x402Version"),
        ("Authorization: e30=", "not a header of x402"),
        (&long, "more than"),
    ] {
        let run = farthing_with(&["inspect", "-"], input, &[]).ends_with(2);
        assert!(run.out.is_empty() && run.err.contains(why), "{input:.40}: {run:?}");
    }
}

#[test]
fn only_urls_that_can_be_asked_safely_are_asked() {
    for url in ["http://example.com/", "http://192.0.2.1/x", "https://user@example.com/", "http://"] {
        let run = farthing(&["inspect", url]).ends_with(2);
        assert!(run.out.is_empty(), "{url}: {run:?}");
    }
    // The discard port: nobody listens there.
    let run = farthing(&["inspect", "http://127.0.0.1:9/"]).ends_with(1);
    assert!(run.err.contains("does not answer"), "{run:?}");
}
