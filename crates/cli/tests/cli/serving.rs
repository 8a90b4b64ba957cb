//! A server that keeps running: asked, inspected, killed and started again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::program::{Server, farthing, farthing_with, header};

const PAGE: &str = "/spec/receipt.md";

/// Tells the story with the ledger in `data`, as somebody who tries the commands afterwards would. The port is
/// one that was free a moment ago.
fn story_at(data: &Path, port: u16) -> String {
    let (data_text, port) = (data.to_str().unwrap(), port.to_string());
    farthing(&["demo", "--requests", "0", "--data", data_text, "--port", &port]).ends_with(0);
    fs::read_to_string(data.join("payment.header")).unwrap()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn captured(data: &Path) -> u64 {
    let check = farthing(&["ledger", "check", "--json", "--data", data.to_str().unwrap()]);
    check.ends_with(0).json()["payments"]["captured"].as_u64().unwrap_or(0)
}

#[test]
fn a_server_says_that_it_is_ready_serves_and_stops_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), 0);
    let ledger = format!("{}/ledger", server.origin());
    assert_eq!(server.ready["ledger"], Value::from(ledger));
    assert!(server.ready["network"].as_str().unwrap().starts_with("farthing:"));
    assert!(Path::new(server.ready["agent_key"].as_str().unwrap()).exists());

    assert!(server.get(PAGE, &[]).starts_with("HTTP/1.1 402 Payment Required\r\n"));
    assert!(server.get("/", &[]).contains("0.001 XTS"));
    assert!(server.get("/ledger/supported", &[]).contains("auth-capture"));
    for page in server.ready["pages"].as_array().unwrap() {
        let answer = server.get(page["path"].as_str().unwrap(), &[]);
        assert!(answer.starts_with("HTTP/1.1 402 "), "{page}: {answer}");
    }
    // The ledger is in use: it can be checked, and not opened a second time.
    assert_eq!(captured(directory.path()), 0);
    let mode = fs::metadata(directory.path().join("admin.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let data = directory.path().to_str().unwrap();
    let second = farthing(&["demo", "--json", "--data", data]).ends_with(2);
    assert!(second.err.contains("in use"), "{second:?}");
    assert_eq!(server.stop(), 0);
    assert!(!directory.path().join("admin.sock").exists());
    farthing(&["demo", "--json", "--requests", "2", "--data", data]).ends_with(0);
}

#[test]
fn a_port_that_is_taken_ends_with_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let run = farthing(&["demo", "--json", "--port", &port]).ends_with(2);
    assert!(run.out.is_empty() && run.err.contains(&port), "{run:?}");
}

#[test]
fn a_url_is_asked_and_its_terms_explained() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), 0);
    let url = format!("{}{PAGE}?page=1", server.origin());
    let words = farthing(&["inspect", &url]).ends_with(0).out;
    for part in ["402 Payment Required", "1000 atomic units of XTS", "auth-capture", "exact", "receipt key"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(words.contains(&format!("valid: this is the digest of GET {url}")), "{words}");
    let json = farthing(&["inspect", "--json", &url]).ends_with(0).json();
    assert_eq!((&json["status"], &json["terms"]["accepts"][0]["amount"]), (&json!(402), &json!("1000")));

    let free = farthing(&["inspect", &format!("{}/", server.origin())]).ends_with(0).out;
    assert!(free.contains("200 OK") && free.contains("does not ask for payment"), "{free}");
    let missing =
        farthing(&["inspect", "--json", &format!("{}/nowhere", server.origin())]).ends_with(0).json();
    assert_eq!(missing, json!({"status": 404, "terms": null}));
}

#[test]
fn a_payment_made_before_a_kill_is_known_after_it_and_charged_once() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let port = free_port();
    let payment = story_at(data, port);
    assert_eq!(captured(data), 1);
    for _ in 0..2 {
        let server = Server::start(data, port);
        assert_eq!(server.port(), port);
        let page = server.get(PAGE, &[&payment]);
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("# Receipts"), "{page}");
        let other = server.get("/spec/request-digest.md", &[&payment]);
        assert!(other.starts_with("HTTP/1.1 409 ") && other.contains("bound-to-other-request"), "{other}");
        assert_eq!(captured(data), 1);
        server.kill();
        assert_eq!(captured(data), 1);
    }
}

#[test]
fn a_real_payment_is_verified_and_a_forged_one_found_out() {
    let directory = tempfile::tempdir().unwrap();
    let payment = story_at(directory.path(), 0);
    let out = farthing_with(&["inspect", "-"], &payment, &[]).ends_with(0).out;
    for part in [
        "What was signed",
        "valid: by ",
        "at most",
        "1000 atomic units of XTS",
        "to be used by",
        "digest of GET",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }

    let message: Value =
        serde_json::from_slice(&STANDARD.decode(payment.split_once(": ").unwrap().1.trim()).unwrap())
            .unwrap();
    let inspect = |message: &Value| farthing_with(&["inspect", "-"], &message.to_string(), &[]);
    inspect(&message).ends_with(0);
    let mut forged = message.clone();
    let signature = forged["payload"]["signature"].as_str().unwrap();
    let flipped = if signature.starts_with('0') { "1" } else { "0" };
    forged["payload"]["signature"] = format!("{flipped}{}", &signature[1..]).into();
    for (what, change) in [
        ("/accepted/amount", json!("1")),
        ("/accepted/payTo", json!("00".repeat(32))),
        ("/accepted/asset", json!("USD")),
        ("/accepted/scheme", json!("exact")),
        ("/payload/authorization", json!("AAAA")),
        ("/payload/signature", forged["payload"]["signature"].clone()),
    ] {
        let mut changed = message.clone();
        *changed.pointer_mut(what).unwrap() = change;
        let run = inspect(&changed).ends_with(1);
        assert!(run.out.contains("NOT VALID"), "{what}: {run:?}");
    }
}

#[test]
fn a_settlement_is_verified_down_to_the_ledgers_word_and_the_receipt() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let payment = story_at(directory.path(), port);
    let server = Server::start(directory.path(), port);
    let answer = server.get(PAGE, &[&payment]);
    let value = header(&answer, "payment-response").unwrap();
    let out = farthing_with(&["inspect", "-"], value, &[]).ends_with(0).out;
    for part in [
        "settled",
        "The ledger's own statement",
        "captured: the seller has the money",
        "The seller's receipt",
        "farthing receipt verify",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert_eq!(out.matches("valid:").count(), 2, "{out}");

    let message: Value = serde_json::from_slice(&STANDARD.decode(value).unwrap()).unwrap();
    for (what, change) in [
        ("/amount", json!("999")),
        ("/transaction", json!("00".repeat(32))),
        ("/network", json!(format!("farthing:{}", "0".repeat(32)))),
        ("/extra/statement/amount", json!("999")),
        ("/extra/statement/asOf", json!(1)),
        ("/extensions/farthing-receipt/key", message["extra"]["statement"]["key"].clone()),
    ] {
        let mut changed = message.clone();
        *changed.pointer_mut(what).unwrap() = change;
        let run = farthing_with(&["inspect", "-"], &changed.to_string(), &[]).ends_with(1);
        assert!(run.out.contains("NOT VALID"), "{what}: {run:?}");
    }
}
