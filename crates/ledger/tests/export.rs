//! Exports: somebody who has nothing but the lines proves the whole history from them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod world;

use std::collections::BTreeMap;

use farthing_ledger::admin::Scope;
use farthing_ledger::engine::{Snapshot, Storage};
use farthing_ledger::export::{self, ExportError};
use farthing_ledger::rows::Table;
use farthing_protocol::{PublicKey, Signature, signature};
use serde_json::Value;
use sha2::{Digest, Sha256};

use world::*;

fn lines(rows: &mut dyn Snapshot) -> Vec<Value> {
    let mut out = Vec::new();
    let entries = export::write(rows, &mut out).unwrap();
    let lines: Vec<Value> =
        String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() as u64 > entries);
    lines
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key}: {value}"))
}

fn verified(proof: &Value) -> bool {
    let signer: PublicKey = text(proof, "signer").parse().unwrap();
    let signature: Signature = text(proof, "signature").parse().unwrap();
    signature::verify(&signer, &hex::decode(text(proof, "signed")).unwrap(), &signature).is_ok()
}

/// Proves lines with nothing of the ledger's but its signatures, and returns the balances by book.
fn prove(lines: &[Value]) -> Result<BTreeMap<String, i128>, String> {
    let (mut previous, mut balances) = ("0".repeat(64), BTreeMap::new());
    let mut sequence = 0;
    let (entries, heads): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.get("head").is_none());
    for line in entries {
        sequence += 1;
        let hash = hex::encode(Sha256::digest(hex::decode(text(line, "bytes")).unwrap()));
        if text(line, "hash") != hash || text(line, "previous") != previous || line["sequence"] != sequence {
            return Err(format!("line {sequence} is not the next of its chain"));
        }
        previous = hash;
        if !line["evidence"].as_array().unwrap().iter().all(verified) {
            return Err(format!("a signature of line {sequence} is wrong"));
        }
        let mut sum = 0;
        for posting in line["postings"].as_array().unwrap() {
            let amount: i128 = text(posting, "amount").parse().unwrap();
            sum += amount;
            let account = posting.get("account").and_then(Value::as_str).unwrap_or_default();
            *balances.entry(format!("{}{account}", text(posting, "book"))).or_default() += amount;
        }
        if sum != 0 {
            return Err(format!("line {sequence} makes or loses money"));
        }
    }
    let [head] = heads.as_slice() else { return Err("no head: the export was cut off".into()) };
    let head = &head["head"];
    if text(head, "hash") != previous || head["sequence"] != sequence || !verified(&head["evidence"]) {
        return Err("the head is not the end of these lines".into());
    }
    Ok(balances)
}

/// A world in which each kind of event happened.
async fn eventful() -> World {
    let world = World::open(Memory::default()).await;
    world.change_keys(PAYER, key_change(SECOND_KEY, Some(Scope::Pay), 0, 1)).await.unwrap();
    let captured = world.held(&world.terms(1_000)).await;
    world.capture_with(captured, 600, b"answer").await.unwrap();
    world.refund(captured, 100).await.unwrap();
    world.charge(&world.one_step(50), 50, None).await.unwrap();
    let (taken, left) = (world.terms(70), world.terms(80));
    world.held(&taken).await;
    world.held(&left).await;
    world.clock.pass(60);
    world.authorize_by(&taken, PAYER, owner(2), "local").await.unwrap();
    world.clock.pass(HOLD);
    world.ledger().reclaim(left.id()).await.unwrap();
    world
}

#[tokio::test]
async fn somebody_who_has_only_the_lines_proves_the_history() {
    let world = eventful().await;
    let lines = lines(world.ledger().snapshot().await.unwrap().as_mut());
    let balances = prove(&lines).unwrap();
    let account = |role| balances[&format!("account{}", public(role))] as u128;
    assert_eq!(account(PAYER), world.balance(PAYER).await);
    assert_eq!(account(SELLER), world.balance(SELLER).await);
    assert_eq!(balances["issued"], -(FUNDS as i128));
    assert_eq!(lines.len() as u64, world.entries().await + 1);
    let mut events: Vec<_> = lines.iter().filter_map(|line| line["event"].as_str()).collect();
    events.sort_unstable();
    events.dedup();
    let all =
        ["asset", "authorize", "charge", "deposit", "genesis", "keys", "operate", "reclaim", "takeover"];
    assert_eq!(events, all);
}

#[tokio::test]
async fn a_line_says_what_happened_without_anything_to_decode() {
    let world = eventful().await;
    let lines = lines(world.ledger().snapshot().await.unwrap().as_mut());
    let first = |event: &str| lines.iter().find(|line| line["event"] == event).unwrap();
    let genesis = &first("genesis")["details"];
    assert_eq!(text(genesis, "ledger"), world.ledger().network().to_string());
    assert_eq!((text(genesis, "mode"), text(genesis, "key")), ("open", public(LEDGER).to_string().as_str()));
    let operate = first("operate");
    let operation = &operate["details"]["operations"][0];
    assert_eq!((text(operation, "action"), text(operation, "amount")), ("capture", "600"));
    assert_eq!(operate["payments"][0], operation["payment"]);
    assert_eq!((&operation["final"], &operation["applied"]), (&Value::from(true), &Value::from(true)));
    let posting = |line: &Value, at: usize| {
        let posting = &line["postings"][at];
        (
            text(posting, "book").to_owned(),
            text(posting, "asset").to_owned(),
            text(posting, "amount").to_owned(),
        )
    };
    assert_eq!(posting(first("deposit"), 0), ("issued".into(), "XTS".into(), "-1000000".into()));
    assert_eq!(first("takeover")["details"]["epoch"], 2);
    assert_eq!(first("charge")["evidence"].as_array().unwrap().len(), 2);
    assert_eq!(first("reclaim")["payments"].as_array().unwrap().len(), 2);
    assert_eq!(text(&first("keys")["evidence"][0], "signer"), public(PAYER).to_string());
    assert_eq!(
        (&first("genesis")["chain"], &first("genesis")["position"]),
        (&Value::from(0), &Value::from(1))
    );
}

#[tokio::test]
async fn a_line_that_is_changed_or_left_out_is_found_out() {
    let world = eventful().await;
    let lines = lines(world.ledger().snapshot().await.unwrap().as_mut());
    prove(&lines).unwrap();
    for at in 0..lines.len() {
        let mut fewer = lines.clone();
        fewer.remove(at);
        prove(&fewer).unwrap_err();
    }
    assert!(prove(&lines[..lines.len() - 1]).unwrap_err().contains("cut off"));
    for at in 0..lines.len() - 1 {
        if lines[at]["postings"].as_array().unwrap().is_empty() {
            continue;
        }
        let mut changed = lines.clone();
        changed[at]["postings"][0]["amount"] = "5".into();
        prove(&changed).unwrap_err();
        let mut changed = lines.clone();
        let bytes = text(&changed[at], "bytes").replace('0', "1");
        changed[at]["bytes"] = bytes.into();
        prove(&changed).unwrap_err();
    }
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_ends_the_export_with_its_name() {
    let storage = SharedStorage::default();
    let world = World::open(Memory(storage.clone())).await;
    world.held(&world.terms(5)).await;
    drop(world);
    let (key, _) = rows_of(&mut storage.rows(), Table::Entry).swap_remove(3);
    storage.rows().commit(&[((Table::Entry, key), Some(b"nonsense".to_vec()))].into()).unwrap();
    let mut rows = storage.copy();
    let mut out = Vec::new();
    let error = export::write(rows.snapshot().unwrap().as_mut(), &mut out).unwrap_err();
    assert!(matches!(error, ExportError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("entry 4"), "{error}");
    assert!(!String::from_utf8(out).unwrap().contains("\"head\""));
}
