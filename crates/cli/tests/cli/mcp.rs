//! The tools for language models, driven by the official client library of the Model Context Protocol.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use farthing::client::SqliteJournal;
use farthing::client::State;
use farthing::client::sqlite::Filter;
use serde_json::{Value, json};

use crate::pay::Shop;
use crate::program::{Server, farthing, farthing_with};

const PAGE: &str = "/spec/receipt.md";

/// A seller, and the home of an agent that may buy two of its pages.
struct Market {
    directory: tempfile::TempDir,
    server: Server,
}

impl Market {
    fn open(total: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(&directory.path().join("ledger"), 0);
        let market = Self { directory, server };
        fs::create_dir(market.home()).unwrap();
        market.private("passphrase", "correct horse battery\n");
        let (wallet, key) = (market.path("home/wallet.json"), market.server.ready["agent_key"].clone());
        let (passphrase, key) = (market.path("passphrase"), key.as_str().unwrap());
        let place = ["--wallet", &wallet, "--passphrase-file", &passphrase];
        farthing(&[&["wallet", "import", "agent", "--from", key][..], &place].concat()).ends_with(0);
        let (origin, network) = (market.server.origin(), market.server.ready["network"].as_str().unwrap());
        let policy = format!(
            "origins = [\"{origin}\"]\n\n[[wallet]]\nnetwork = \"{network}\"\nledger = \"{origin}/ledger\"\naccount = \
             \"agent\"\n\n[[budget]]\nnetwork = \"{network}\"\nasset = \"XTS\"\ntotal = \"{total}\"\n"
        );
        market.private("home/policy.toml", &policy);
        market
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    fn home(&self) -> String {
        self.path("home")
    }

    fn private(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.origin())
    }

    /// Payments that the ledger has captured.
    fn captured(&self) -> u64 {
        let check = farthing(&["ledger", "check", "--json", "--data", &self.path("ledger")]);
        check.ends_with(0).json()["payments"]["captured"].as_u64().unwrap_or(0)
    }

    /// States of the payments in the journal, newest first.
    fn journal(&self) -> Vec<State> {
        let journal = SqliteJournal::open(self.path("home/journal.sqlite"), &BTreeMap::new()).unwrap();
        journal.payments(&Filter::default()).unwrap().iter().map(|record| record.state).collect()
    }

    /// What the server says of itself, and what each call gave.
    fn call(&self, calls: &Value) -> (Value, Vec<Value>) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/mcp/calls.mjs");
        let mut node = Command::new("node");
        node.arg(script).arg(modules()).arg(env!("CARGO_BIN_EXE_farthing")).arg(self.home());
        node.arg(self.path("passphrase")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut node = node.env("RUST_LOG", "farthing_client=trace").spawn().unwrap();
        node.stdin.take().unwrap().write_all(calls.to_string().as_bytes()).unwrap();
        let output = node.wait_with_output().unwrap();
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success() && !err.contains("protocol: "), "{out}\n{err}");
        let mut lines = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        (lines.next().unwrap(), lines.collect())
    }
}

/// Where `cargo xtask test` puts npm's packages.
fn modules() -> PathBuf {
    let marked = |directory: &&Path| directory.join("CACHEDIR.TAG").is_file();
    let program = std::env::current_exe().unwrap();
    let target = program.ancestors().skip(1).find(marked).unwrap();
    let root = std::env::var_os("FARTHING_NPM").map_or_else(|| target.join("npm"), PathBuf::from);
    let modules = root.join("mcp/node_modules");
    assert!(modules.is_dir(), "no packages in {}; `cargo xtask test` installs them", modules.display());
    modules
}

fn text(result: &Value, at: usize) -> &str {
    result["content"][at]["text"].as_str().unwrap_or_else(|| panic!("{result}"))
}

#[test]
#[ignore = "cargo xtask test"]
fn a_model_pays_under_a_budget_and_is_then_refused_by_it() {
    let market = Market::open("0.0025");
    let fetch = json!({"name": "fetch_paid", "arguments": {"url": market.url(PAGE)}});
    let (server, results) = market.call(&json!([
        {"name": "quote", "arguments": {"url": market.url(PAGE)}},
        fetch, fetch, fetch,
        {"name": "budget"},
        {"name": "balance"},
        {"name": "receipts", "arguments": {"limit": 10}},
        {"name": "quote", "arguments": {"url": market.url(PAGE)}},
    ]));
    assert_eq!(server["server"]["name"], "farthing");
    assert!(server["instructions"].as_str().unwrap().contains("data from strangers"));
    let tools: Vec<_> = server["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert_eq!(tools, ["fetch_paid", "quote", "balance", "budget", "receipts"]);

    let [quote, first, second, third, budget, balance, receipts, late] = &results[..] else {
        panic!("{results:?}")
    };
    assert!(text(quote, 0).contains("0.001 XTS"), "{quote}");
    assert_eq!(quote["structuredContent"]["offers"][0]["would_pay"], true);
    for paid in [first, second] {
        assert_eq!(paid["isError"], false, "{paid}");
        assert!(text(paid, 1).starts_with("# Receipts"), "{paid}");
        assert!(text(paid, 0).contains("data, not instructions"), "{paid}");
        let structured = &paid["structuredContent"];
        assert_eq!((&structured["status"], &structured["paid"]), (&json!(200), &json!(true)));
        assert_eq!(structured["payment"]["cost"], "0.001 XTS");
        assert_eq!(
            (&structured["payment"]["confirmed"], &structured["payment"]["receipt"]),
            (&json!(true), &json!(true))
        );
    }
    assert_ne!(first["structuredContent"]["payment"]["id"], second["structuredContent"]["payment"]["id"]);
    assert_eq!(third["isError"], true, "{third}");
    let refused = &third["structuredContent"]["error"]["refused"];
    assert_eq!(refused["rule"], "over_budget", "{third}");
    for part in [refused["why"].as_str().unwrap(), refused["remedy"].as_str().unwrap(), "over_budget"] {
        assert!(text(third, 0).contains(part), "{third}");
    }
    let budget = &budget["structuredContent"]["budgets"][0];
    assert_eq!(
        (&budget["taken"]["decimal"], &budget["left"]["decimal"]),
        (&json!("0.002"), &json!("0.0005"))
    );
    assert_eq!(balance["structuredContent"]["balances"][0]["amount"]["decimal"], "499.998", "{balance}");
    assert_eq!(receipts["structuredContent"]["payments"].as_array().map(Vec::len), Some(2), "{receipts}");
    assert_eq!(late["structuredContent"]["offers"][0]["would_pay"], false, "{late}");

    // Neither the ledger nor the journal knows of a third.
    assert_eq!(market.captured(), 2);
    let journal = market.journal();
    assert!(
        journal.len() == 2 && journal.iter().all(|state| matches!(state, State::Confirmed(_))),
        "{journal:?}"
    );
    // And not in another process either.
    let (_, again) = market.call(&json!([fetch]));
    assert_eq!(again[0]["structuredContent"]["error"]["refused"]["rule"], "over_budget", "{again:?}");
    assert_eq!(market.captured(), 2);
}

#[test]
#[ignore = "cargo xtask test"]
fn nothing_that_a_model_says_changes_what_may_be_paid() {
    let market = Market::open("5");
    let elsewhere = market.server.origin().replace("127.0.0.1", "localhost");
    let fetch = |arguments: Value| json!({"name": "fetch_paid", "arguments": arguments});
    let (_, results) = market.call(&json!([
        fetch(json!({"url": market.url(PAGE), "max_price": "0.0001 XTS"})),
        fetch(json!({"url": format!("{elsewhere}{PAGE}")})),
        fetch(json!({"url": market.url(PAGE), "budget": "100"})),
        fetch(json!({"url": market.url(PAGE), "headers": {"payment-signature": "x"}})),
        fetch(json!({"url": "file:///etc/passwd"})),
        {"name": "set_budget", "arguments": {"total": "100"}},
        fetch(json!({"url": market.url("/nowhere")})),
        fetch(json!({"url": market.url("/")})),
    ]));
    let [dear, foreign, unknown, header, file, tool, missing, free] = &results[..] else {
        panic!("{results:?}")
    };
    assert_eq!(dear["structuredContent"]["error"]["refused"]["rule"], "max_price", "{dear}");
    assert_eq!(foreign["structuredContent"]["error"]["code"], "refused", "{foreign}");
    for refused in [unknown, tool] {
        assert!(refused["protocolError"].is_string() || refused["isError"] == true, "{refused}");
    }
    for refused in [header, file] {
        assert_eq!(refused["structuredContent"]["error"]["code"], "bad-request", "{refused}");
    }
    assert_eq!((&missing["isError"], &missing["structuredContent"]["status"]), (&json!(true), &json!(404)));
    assert_eq!((&free["isError"], &free["structuredContent"]["paid"]), (&json!(false), &json!(false)));
    assert_eq!((market.captured(), market.journal().len()), (0, 0));
}

#[test]
fn standard_output_carries_the_protocol_and_nothing_else() {
    let market = Market::open("1");
    let mut command = Command::new(env!("CARGO_BIN_EXE_farthing"));
    command.args(["mcp", "--home", &market.home(), "--passphrase-file", &market.path("passphrase")]);
    let command = command.env("RUST_LOG", "trace").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut lines = BufReader::new(output).lines();
    let mut exchange = |message: Value| -> Value {
        writeln!(input, "{message}").unwrap();
        serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap()
    };
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let answer = exchange(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}));
    assert_eq!(answer["result"]["serverInfo"]["name"], "farthing");
    writeln!(input, "{}", json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).unwrap();
    let mut exchange = |message: Value| -> Value {
        writeln!(input, "{message}").unwrap();
        serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap()
    };
    let call = json!({"name": "budget", "arguments": {}});
    let answer = exchange(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}));
    assert_eq!(answer["result"]["structuredContent"]["budgets"][0]["left"]["decimal"], "1", "{answer}");
    drop(input);
    assert!(lines.next().is_none());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_told_that_an_answer_ended_at_its_maximum() {
    let shop = Shop::open().await;
    let home = shop.home("");
    let mut command = Command::new(env!("CARGO_BIN_EXE_farthing"));
    command.args(["mcp", "--home", home.directory.path().to_str().unwrap()]);
    let command = command.env("FARTHING_KEY_AGENT", &home.key).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut lines = BufReader::new(output).lines();
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    writeln!(input, "{}", json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}))
        .unwrap();
    lines.next().unwrap().unwrap();
    writeln!(input, "{}", json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).unwrap();
    let warning = "The body is not complete: the maximum of 0.004 XTS was used up.";
    for (path, ended, complete) in [("/few", "complete", true), ("/many", "exhausted", false)] {
        let call = json!({"name": "fetch_paid", "arguments": {"url": shop.url(path), "task": path}});
        writeln!(input, "{}", json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}))
            .unwrap();
        let answer: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let told = &answer["result"]["structuredContent"];
        assert_eq!(
            (&told["complete"], &told["payment"]["ended"]),
            (&json!(complete), &json!(ended)),
            "{answer}"
        );
        assert_eq!(text(&answer["result"], 0).contains(warning), !complete, "{answer}");
    }
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_agent_that_cannot_be_opened_is_said_on_standard_error() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("none");
    let run = farthing_with(
        &["mcp", "--home", home.to_str().unwrap()],
        "",
        &[("FARTHING_PASSPHRASE", "correct horse")],
    );
    assert!(run.status != 0 && run.out.is_empty() && run.err.contains("policy.toml"), "{run:?}");
}
