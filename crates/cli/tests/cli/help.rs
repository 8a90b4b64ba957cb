//! The manual, and what happens to those who did not read it.

use crate::program::{farthing, farthing_with};

#[test]
fn the_manual_says_what_it_is_how_to_use_it_and_how_it_ends() {
    let help = farthing(&["--help"]).ends_with(0).out;
    for part in [
        "402",
        "x402",
        "ledger",
        "demo",
        "inspect",
        "EXAMPLES",
        "EXIT STATUS",
        "ENVIRONMENT",
        "NO_COLOR",
        "RUST_LOG",
        "farthing demo --serve",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
    for line in help.lines() {
        assert!(line.chars().count() <= 100 && !line.contains('\u{1b}'), "{line:?}");
    }
}

#[test]
fn every_command_has_its_own_page_with_examples_and_exit_status() {
    for (command, parts) in [
        (
            vec!["agentd"],
            vec!["--port", "--socket", "--token-file", "--home", "127.0.0.1", "/fetch", "agentd.token"],
        ),
        (vec!["demo"], vec!["--requests", "--serve", "--json", "--data", "--port", "--no-story", "FILES"]),
        (vec!["gateway"], vec!["init", "--config", "--check", "--json", "Farthing-Payer", "sales.jsonl"]),
        (vec!["gateway", "init"], vec!["--price", "--force", "--config", "URL"]),
        (vec!["inspect"], vec!["PAYMENT-REQUIRED", "X-PAYMENT", "--json", "URL", "standard input"]),
        (vec!["ledger"], vec!["check", "recover", "export", "backup", "restore", "admin.sock"]),
        (vec!["ledger", "check"], vec!["--data", "--json", "believes none of it"]),
        (vec!["ledger", "recover"], vec!["--data", "--authorizer-key", "--list", "--json", "never touched"]),
        (vec!["ledger", "export"], vec!["--data", "--out", "spec/ledger.md"]),
        (vec!["ledger", "backup"], vec!["--out", "--without-key", "SECRET KEY", "issuer.key", "pg_dump"]),
        (vec!["ledger", "restore"], vec!["--from", "--data", "--key", "forgotten", "cannot make money"]),
        (
            vec!["mcp"],
            vec!["fetch_paid", "receipts", "--home", "--passphrase-file", "Standard output carries"],
        ),
        (vec!["wallet"], vec!["new", "deposit", "FARTHING_PASSPHRASE", "FARTHING_KEY_<NAME>", "0600"]),
        (vec!["policy"], vec!["init", "check", "spec/policy.md"]),
        (vec!["policy", "init"], vec!["--ledger", "--network", "--rpc", "--origin", "--total", "0600"]),
        (vec!["pay"], vec!["--max-price", "--dry-run", "--resume", "75", "-X", "-H", "-d", "-o", "--json"]),
        (vec!["receipts"], vec!["--since", "--until", "--origin", "--json", "confirmed", "unknown"]),
        (vec!["sales"], vec!["--since", "--until", "--by", "--pending", "--csv", "sales.jsonl", "(unnamed)"]),
        (vec!["refund"], vec!["--amount", "--authorizer", "TOTAL", "refundDeadline", "75"]),
        (vec!["receipt", "verify"], vec!["--key", "--url", "did:key", "WHOSE KEY"]),
        (vec!["receipts", "export"], vec!["--format", "--out", "csv", "jsonl"]),
        (vec!["budget"], vec!["freeze", "unfreeze", "approve-payee", "reconcile", "policy.toml"]),
        (vec!["completions"], vec!["bash", "zsh", "fish"]),
        (vec!["man"], vec!["--out"]),
        (vec!["wallet", "export"], vec!["SECRET", "--passphrase-file", "--wallet", "--json"]),
    ] {
        let arguments: Vec<_> = command.iter().copied().chain(["--help"]).collect();
        let help = farthing(&arguments).ends_with(0).out;
        for part in parts.into_iter().chain(["EXAMPLES", "EXIT STATUS"]) {
            assert!(help.contains(part), "{command:?} {part}: {help}");
        }
    }
}

#[test]
fn the_version_is_the_packages() {
    let version = farthing(&["--version"]).ends_with(0).out;
    assert_eq!(version.trim(), concat!("farthing ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn arguments_that_are_not_understood_end_with_2_and_say_which() {
    for (arguments, why) in [
        (&["dance"][..], "dance"),
        (&["demo", "--requests", "many"], "many"),
        (&["demo", "--requests", "100001"], "100001"),
        (&["demo", "--requests", "-1"], "-1"),
        (&["demo", "--no-story"], "--serve"),
        (&["demo", "--port", "65536"], "65536"),
        (&["demo", "--colour"], "--colour"),
        (&["inspect"], "HEADER|URL|-"),
        (&["agentd", "--port", "65536"], "65536"),
        (&["agentd", "--listen", "0.0.0.0:4020"], "--listen"),
        (&["ledger"], "check"),
        (&["ledger", "check"], "--data"),
        (&["ledger", "burn"], "burn"),
        (&["ledger", "backup", "--data", "x"], "--out"),
        (&["ledger", "backup", "--postgres", "x", "--out", "y"], "--postgres"),
        (&["ledger", "check", "--data", "x", "--postgres", "y"], "--postgres"),
        (&["ledger", "check", "--data", "x", "--schema", "y"], "--schema"),
        (&["ledger", "recover", "--data", "x", "--key", "y"], "--key"),
        (&["ledger", "restore", "--data", "x"], "--from"),
        (&["ledger", "recover", "--data", "x", "--list", "--authorizer-key", "y"], "--list"),
        (&[], "Usage"),
    ] {
        let run = farthing(arguments).ends_with(2);
        assert!(run.out.is_empty() && run.err.contains(why), "{arguments:?}: {run:?}");
    }
}

#[test]
fn colours_are_for_terminals_unless_they_are_asked_for() {
    let terms = r#"{"x402Version":2,"resource":{"url":"https://a.example/"},"accepts":[{}]}"#;
    let run = |environment| farthing_with(&["inspect", "-"], terms, environment).ends_with(0).out;
    assert!(!run(&[]).contains('\u{1b}'));
    assert!(run(&[("CLICOLOR_FORCE", "1")]).contains('\u{1b}'));
    assert!(!run(&[("NO_COLOR", "1"), ("CLICOLOR", "1")]).contains('\u{1b}'));
}
