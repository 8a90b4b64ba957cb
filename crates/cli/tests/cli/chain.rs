//! `farthing demo --network`: a story that ends with the balances on a chain, and the sentences when it cannot begin.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use farthing_testkit::anvil::{Anvil, CHAIN_ID, NETWORK, PLAIN, USDC};
use serde_json::{Value, json};

use crate::program::{Run, farthing};

/// The accounts that the demonstration gives parts to.
const AGENT: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const SECOND: &str = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
const SELLER: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";

fn demo(rpc: &str, more: &[&str]) -> Run {
    farthing(&[&["demo", "--network", NETWORK, "--rpc", rpc], more].concat())
}

/// Ends with 2, prints nothing, and says why in one sentence with these parts.
#[track_caller]
fn refused(run: Run, parts: &[&str]) {
    let run = run.ends_with(2);
    assert!(run.out.is_empty() && run.err.lines().count() == 1, "{run:?}");
    for part in parts {
        assert!(run.err.contains(part), "{part:?} is not in {:?}", run.err);
    }
}

#[test]
#[ignore = "cargo xtask test"]
fn the_balances_on_the_chain_move_by_exactly_what_was_paid() {
    let chain = Anvil::start();
    chain.mint(USDC, AGENT, 5_000_000);
    let line = demo(&chain.url(), &["--requests", "10", "--json"]).ends_with(0).json();
    let number = |name: &str| line[name].as_u64().unwrap();
    assert_eq!(number("requests"), 10);
    assert_eq!(number("paid") + number("refused_by_budget"), 10);
    assert!(number("paid") > 0 && number("refused_by_budget") > 0, "{line}");
    assert_eq!((&line["chain_balanced"], &line["network"]), (&Value::Bool(true), &json!(NETWORK)));
    assert_eq!((&line["token"], &line["agent"]["address"]), (&json!(USDC), &json!(AGENT)));

    // The chain's own word, past the program.
    let spent = line["spent"].as_str().unwrap().strip_suffix(" USD").unwrap();
    let spent = (spent.parse::<f64>().unwrap() * 1e6).round() as u128;
    assert!(spent > 0);
    assert_eq!(chain.balance(USDC, SELLER), spent);
    assert_eq!(chain.balance(USDC, AGENT), 5_000_000 - spent);
    assert_eq!(line["agent"]["after"], (5_000_000 - spent).to_string());
    assert_eq!(line["seller"], json!({ "address": SELLER, "before": "0", "after": spent.to_string() }));
}

#[test]
#[ignore = "cargo xtask test"]
fn the_story_on_a_chain_is_told_in_order() {
    let chain = Anvil::start();
    let run = demo(&chain.url(), &["--requests", "5"]).ends_with(0);
    let mut rest = run.out.as_str();
    for part in [
        NETWORK,
        "the agent was given 500 USD",
        "402 Payment Required",
        "0.001 USD",
        USDC,
        "It needs no ether",
        "200 OK",
        "the transaction",
        "0x",
        "500.000000  ->    499.999000 USD",
        "The same signature again",
        "200 OK",
        "unchanged",
        "The same signature on another page",
        "HTTP/1.1 4",
        "too expensive",
        "It signs nothing",
        "5 more requests",
        "the balances on the chain moved by exactly that",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is not in: {rest}"));
        rest = &rest[at + part.len()..];
    }
    assert!(!run.out.contains('\u{1b}') && run.err.is_empty(), "{:?}", run.err);
    assert!(
        run.out.lines().all(|line| line.chars().count() <= 104 && line == line.trim_end()),
        "{}",
        run.out
    );
}

#[test]
#[ignore = "cargo xtask test"]
fn whoever_has_the_token_pays() {
    let chain = Anvil::start();
    chain.mint(USDC, SECOND, 1_000_000);
    let line = demo(&chain.url(), &["--requests", "2", "--json"]).ends_with(0).json();
    assert_eq!((&line["agent"]["address"], &line["agent"]["before"]), (&json!(SECOND), &json!("1000000")));
    assert!(chain.balance(USDC, SECOND) < 1_000_000);
}

#[test]
#[ignore = "cargo xtask test"]
fn what_is_missing_on_a_chain_is_said_in_one_sentence() {
    let chain = Anvil::bare(CHAIN_ID);
    refused(demo(&chain.url(), &[]), &["no token at", USDC, "--token"]);
    let other = "0x00000000000000000000000000000000000000aa";
    refused(demo(&chain.url(), &["--token", other]), &["no token at", other]);
    refused(demo(&chain.url(), &["--token", "usdc"]), &["--token", "40 hex digits"]);

    let chain = Anvil::start();
    refused(demo(&chain.url(), &["--token", PLAIN]), &[PLAIN, "version"]);
    // The twin: another token that has everything.
    chain.place_token("TestToken", other, "Other", "3", 6);
    let line = demo(&chain.url(), &["--token", other, "--requests", "2", "--json"]).ends_with(0).json();
    assert_eq!((&line["token"], &line["chain_balanced"]), (&json!(other), &json!(true)));
    assert!(chain.balance(other, SELLER) > 0 && chain.balance(USDC, SELLER) == 0);
}

#[test]
#[ignore = "cargo xtask test"]
fn another_chain_than_the_named_one_is_refused() {
    let chain = Anvil::bare(31337);
    refused(demo(&chain.url(), &[]), &["31337", NETWORK, "--chain-id 84532"]);
    let url = chain.url();
    for network in ["eip155:0", "eip155:base", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "mainnet", "84532"]
    {
        refused(farthing(&["demo", "--network", network, "--rpc", &url]), &["--network", network]);
    }
    refused(farthing(&["demo", "--network", "eip155:31337", "--rpc", &url]), &["eip155:31337", "--token"]);
}

#[test]
fn a_chain_that_does_not_answer_is_named_without_its_secrets() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let run = demo(&format!("http://127.0.0.1:{port}/v1/secret-key"), &[]).ends_with(2);
    assert!(!run.err.contains("secret-key"), "{run:?}");
    refused(run, &["--rpc", &format!("http://127.0.0.1:{port}")]);
    refused(demo("127.0.0.1:8545", &[]), &["--rpc", "http://127.0.0.1:8545"]);
    // Something else than a chain.
    refused(demo(&pretend(|_| json!({})), &[]), &["--rpc", "no chain"]);
}

#[test]
fn the_known_accounts_are_used_on_development_chains_only() {
    let real = pretend(|method| match method {
        "eth_chainId" => json!("0x14a34"),
        _ => json!("Geth/v1.99.0"),
    });
    refused(demo(&real, &[]), &["anvil", "hardhat", "geth/v1.99.0"]);
}

#[test]
fn a_chain_needs_its_address_and_keeps_no_ledger() {
    for arguments in [
        &["demo", "--network", NETWORK][..],
        &["demo", "--rpc", "http://127.0.0.1:8545"],
        &["demo", "--token", USDC],
        &["demo", "--network", NETWORK, "--rpc", "http://127.0.0.1:8545", "--serve"],
        &["demo", "--network", NETWORK, "--rpc", "http://127.0.0.1:8545", "--data", "x"],
    ] {
        let run = farthing(arguments).ends_with(2);
        assert!(run.out.is_empty() && !run.err.is_empty(), "{run:?}");
    }
}

/// A node that says whatever `says` says about a method. It ends with the test.
fn pretend(says: fn(&str) -> Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while stream.read_line(&mut line).unwrap_or(0) > 2 {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let call: Value = serde_json::from_slice(&body).unwrap();
            let answer = match says(call["method"].as_str().unwrap()) {
                Value::Object(nothing) => Value::Object(nothing),
                result => json!({ "jsonrpc": "2.0", "id": 1, "result": result }),
            };
            let answer = answer.to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                answer.len()
            );
            let _ = stream.get_mut().write_all((head + &answer).as_bytes());
        }
    });
    url
}
