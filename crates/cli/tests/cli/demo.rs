//! `farthing demo`: the story, and the accounts at its end.

use std::fs;

use serde_json::Value;

use crate::program::farthing;

#[test]
fn sixty_requests_are_accounted_for_in_one_line() {
    let run = farthing(&["demo", "--requests", "60", "--json"]).ends_with(0);
    assert_eq!(run.out.lines().count(), 1, "{run:?}");
    assert!(run.err.is_empty(), "{run:?}");
    let line = run.json();
    let number = |name: &str| line[name].as_u64().unwrap();
    assert_eq!(number("requests"), 60);
    assert_eq!(number("paid") + number("refused_by_budget"), 60);
    assert!(number("paid") > 0 && number("refused_by_budget") > 0, "{line}");
    assert_eq!(line["ledger_balanced"], Value::Bool(true));
    assert!(
        line["p50_ms"].as_f64() <= line["p99_ms"].as_f64() && line["p99_ms"].as_f64() > Some(0.0),
        "{line}"
    );
    let spent = line["spent"].as_str().unwrap().strip_suffix(" XTS").unwrap();
    assert!(spent.parse::<f64>().unwrap() > 0.0);
}

#[test]
fn the_same_number_of_requests_costs_the_same_every_time() {
    let run = || {
        let line = farthing(&["demo", "--requests", "25", "--json"]).ends_with(0).json();
        [line["paid"].to_string(), line["refused_by_budget"].to_string(), line["spent"].to_string()]
    };
    assert_eq!(run(), run());
}

#[test]
fn a_demonstration_without_requests_still_balances() {
    let line = farthing(&["demo", "--requests", "0", "--json"]).ends_with(0).json();
    assert_eq!((&line["requests"], &line["paid"]), (&Value::from(0), &Value::from(0)));
    assert_eq!((&line["p50_ms"], &line["ledger_balanced"]), (&Value::Null, &Value::Bool(true)));
}

#[test]
fn the_story_is_told_in_order_and_shows_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("ledger");
    let run = farthing(&["demo", "--requests", "12", "--data", data.to_str().unwrap()]).ends_with(0);
    let mut rest = run.out.as_str();
    for part in [
        "402 Payment Required",
        "0.001 XTS",
        "signs",
        "200 OK",
        "the ledger's word",
        "valid: 0.001 XTS was taken",
        "the server's receipt",
        "valid: 0.001 XTS for this request",
        "500.000000  ->    499.999000 XTS",
        "The same payment again",
        "200 OK",
        "unchanged",
        "409 Conflict",
        "too expensive",
        "It signs nothing",
        "12 more requests",
        "spent",
        "ledger balanced: issued = agent + seller + held",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is not in: {rest}"));
        rest = &rest[at + part.len()..];
    }
    let header = fs::read_to_string(data.join("payment.header")).unwrap();
    let mut secrets = vec![header.split_once(": ").unwrap().1.trim().to_owned()];
    for key in ["agent", "seller", "authorizer", "issuer", "ledger"] {
        secrets.push(fs::read_to_string(data.join(format!("{key}.key"))).unwrap().trim().to_owned());
    }
    for secret in secrets {
        assert!(secret.len() >= 64 && !run.out.contains(&secret) && !run.err.contains(&secret));
    }
    assert!(!run.out.contains('\u{1b}') && run.err.is_empty(), "{:?}", run.err);
    assert!(run.out.lines().all(|line| line.chars().count() <= 104 && line == line.trim_end()));
}

#[test]
fn the_table_adds_up() {
    let run = farthing(&["demo", "--requests", "20"]).ends_with(0);
    let value = |name: &str| {
        let line = run.out.lines().find(|line| line.trim_start().starts_with(name));
        let line = line.unwrap_or_else(|| panic!("{name}: {}", run.out));
        let number = line.trim_start().strip_prefix(name).unwrap().split_whitespace().next().unwrap();
        number.parse::<u64>().unwrap()
    };
    let parts =
        ["paid  ", "replayed, nothing charged", "refused by the server", "refused by the agent's budget"];
    assert_eq!(value("requests"), parts.map(value).iter().sum::<u64>());
    assert_eq!(value("requests"), 24);
}

#[test]
fn a_ledger_that_is_there_is_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let arguments = ["demo", "--requests", "10", "--json", "--data", data];
    let check = || farthing(&["ledger", "check", "--data", data, "--json"]).ends_with(0).json();
    let first = farthing(&arguments).ends_with(0).json();
    let key = fs::read_to_string(directory.path().join("ledger.key")).unwrap();
    assert_eq!(check()["payments"]["captured"], first["paid"]);
    let second = farthing(&arguments).ends_with(0).json();
    let both = first["paid"].as_u64().unwrap() + second["paid"].as_u64().unwrap();
    assert_eq!(check()["payments"]["captured"].as_u64(), Some(both));
    assert_eq!(fs::read_to_string(directory.path().join("ledger.key")).unwrap(), key);
}

#[test]
fn a_directory_that_cannot_be_used_ends_with_2() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let run = farthing(&["demo", "--json", "--data", file.to_str().unwrap()]).ends_with(2);
    assert!(run.out.is_empty() && run.err.contains("file"), "{run:?}");
}
