//! What a policy file says, what it does to a client, and how it is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod scripted;

use std::sync::Arc;

use farthing_client::approval::SIGNATURE;
use farthing_client::policy_file::{PolicyFile, PolicyFileError};
use farthing_client::{Client, ClientError, Rule};
use hmac::{Hmac, KeyInit, Mac};
use scripted::*;
use serde_json::Value;
use sha2::Sha256;

const FILE: &str = r#"agent = "researcher"
origins = [
    "http://127.0.0.1:4021",
    "ORIGIN",
]

[[wallet]]
network = "farthing:00112233445566778899aabbccddeeff"
ledger = "http://127.0.0.1:4021/ledger"
account = "agent"

[[budget]]
network = "farthing:00112233445566778899aabbccddeeff"
asset = "XTS"
total = "0.005"
per_request = "0.002"
per_task = "0.003"

[[payee]]
origin = "https://shop.example"
network = "farthing:00112233445566778899aabbccddeeff"
payee = "seller"

[limits]
validity_seconds = 600
capture_seconds = 900
price_rise = "refuse"
"#;

const APPROVAL: &str = r#"
[approval]
above = ["0.001 XTS"]
timeout_seconds = 5
"#;

fn parse(text: &str) -> Result<PolicyFile, PolicyFileError> {
    PolicyFile::parse("/home/agent/policy.toml", text)
}

fn agent(rail: &Arc<Rail>, text: &str) -> Result<Client, PolicyFileError> {
    let builder = parse(text)?.apply(Client::builder().rail(rail.clone()))?;
    Ok(builder.build().unwrap())
}

async fn rule(request: farthing_client::RequestBuilder) -> Rule {
    match request.await.unwrap_err() {
        ClientError::Refused(refused) => refused.rule,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_file_says_what_is_paid_and_everything_else_is_not() {
    let (rail, shop, other) = (Rail::new(), Server::shop(2_000).await, Server::shop(1).await);
    let text = FILE.replace("ORIGIN", &shop.url);
    let client = agent(&rail, &text).unwrap();
    client.get(&shop.url).task("one").await.unwrap();
    assert!(
        matches!(rule(client.get(&shop.url).task("one")).await, Rule::OverBudget(_)),
        "its task has 0.003"
    );
    client.get(&shop.url).task("two").await.unwrap();
    assert!(matches!(rule(client.get(&shop.url).task("three")).await, Rule::OverBudget(_)), "all have 0.005");
    assert_eq!(rule(client.get(&other.url)).await, Rule::OriginNotAllowed);
    assert_eq!(rail.signed(), 2);
    let any = text.replace("\"http://127.0.0.1:4021\",\n", "").replace(&shop.url, "*");
    agent(&rail, &any).unwrap().get(&other.url).await.unwrap();
    assert_eq!(rail.signed(), 3);
}

#[test]
fn its_parts_can_be_read() {
    let policy = parse(&FILE.replace("ORIGIN", "https://*.example.com")).unwrap();
    let [wallet] = policy.wallets() else { panic!() };
    assert_eq!((policy.agent(), wallet.account.as_str()), (Some("researcher"), "agent"));
    assert_eq!(wallet.ledger.as_deref(), Some("http://127.0.0.1:4021/ledger"));
    let empty = parse("").unwrap();
    assert!(empty.wallets().is_empty() && empty.agent().is_none());
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_key() {
    for (from, to, line, key, why) in [
        ("price_rise =", "price_rises =", 26, "limits.price_rises", "unknown field"),
        ("agent =", "agents =", 1, "agents", "unknown field"),
        ("[[payee]]", "[[payees]]", 19, "payees", "unknown field"),
        ("per_task = \"0.003\"", "per_tasks = \"1\"", 17, "budget.per_tasks", "unknown field"),
        ("\"0.005\"", "0.005", 15, "budget.total", "expected a string"),
        ("\"0.005\"", "\"-1\"", 15, "budget.total", "decimal number"),
        ("\"0.005\"", "\"5 XTS\"", 15, "budget.total", "decimal number"),
        ("\"0.002\"", "\"0,5\"", 16, "budget.per_request", "decimal number"),
        ("total = \"0.005\"\n", "", 12, "budget", "missing field"),
        ("\"ORIGIN\"", "\"*\"", 4, "origins", "only entry"),
        ("\"ORIGIN\"", "\"http://shop.example\"", 4, "origins", "https"),
        ("\"ORIGIN\"", "\"https://a.*.example\"", 4, "origins", "first label"),
        ("\"ORIGIN\"", "\"https://shop.example/path\"", 4, "origins", "path"),
        (
            "network = \"farthing:00112233445566778899aabbccddeeff\"\nledger",
            "network = \"XTS\"\nledger",
            8,
            "wallet.network",
            "CAIP-2",
        ),
        ("ledger = \"http://127.0.0.1:4021/ledger\"\n", "", 8, "wallet.network", "needs `ledger`"),
        (
            "account = \"agent\"",
            "account = \"agent\"\nrpc = [\"https://a.example\"]",
            11,
            "wallet.rpc",
            "eip155",
        ),
        (
            "origin = \"https://shop.example\"",
            "origin = \"https://*.shop.example\"",
            20,
            "payee.origin",
            "one origin",
        ),
        ("= 600", "= 3601", 25, "limits.validity_seconds", "1 to 3600"),
        ("= 600", "= 0", 25, "limits.validity_seconds", "1 to 3600"),
        ("= 900", "= 90000", 26, "limits.capture_seconds", "1 to 86400"),
        ("\"refuse\"", "\"maybe\"", 27, "limits.price_rise", "\"allow\""),
        ("price_rise = \"refuse\"", "hours = \"8-18\"", 27, "limits.hours", "08:00-18:00"),
        ("agent = \"researcher\"", "agent = \"two words\"", 1, "agent", "visible"),
        ("agent = \"researcher\"", "agent = \"a\"\nagent = \"b\"", 2, "agent", "duplicate"),
        ("price_rise = \"refuse\"", "[approval]\nabove = []", 28, "approval.above", "one amount"),
        ("price_rise = \"refuse\"", "[approval]\nabove = [\"0.5\"]", 28, "approval.above", "currency"),
        (
            "price_rise = \"refuse\"",
            "[approval]\nabove = [\"1 XTS\"]\nwebhook = \"https://a.example\"",
            29,
            "approval.webhook",
            "webhook_key_file",
        ),
    ] {
        assert!(FILE.contains(from), "{from}");
        let error = parse(&FILE.replacen(from, to, 1).replace("ORIGIN", "https://a.example")).unwrap_err();
        let found = FILE.replacen(from, to, 1).lines().nth(line - 1).unwrap_or_default().to_owned();
        assert!(error.why.contains(why), "{to}: {error}");
        assert_eq!(error.key.as_deref(), Some(key), "{to}: {error}");
        let last = key.rsplit('.').next().unwrap();
        let named =
            error.line == Some(line) || error.line.is_some_and(|line| nth(from, to, line).contains(last));
        assert!(named, "{to}: {error} (expected near `{found}`)");
        assert!(
            error
                .to_string()
                .starts_with(&format!("/home/agent/policy.toml:{}: `{key}`: ", error.line.unwrap()))
        );
    }
    assert!(parse(&FILE.replace("ORIGIN", "https://a.example")).is_ok());
}

fn nth(from: &str, to: &str, line: usize) -> String {
    FILE.replacen(from, to, 1).lines().nth(line - 1).unwrap_or_default().to_owned()
}

#[test]
fn assets_and_amounts_are_checked_against_the_wallet() {
    let fine = FILE.replace("ORIGIN", "https://a.example") + APPROVAL;
    let rail = Rail::new();
    assert!(agent(&rail, &fine).is_ok());
    for (from, to, key) in [
        ("asset = \"XTS\"", "asset = \"XST\"", "budget.asset"),
        ("\"0.005\"", "\"0.0000005\"", "budget.total"),
        ("0.001 XTS", "0.001 XST", "approval.above"),
        ("0.001 XTS", "0.0000001 XTS", "approval.above"),
    ] {
        let error = agent(&rail, &fine.replacen(from, to, 1)).unwrap_err();
        assert_eq!(error.key.as_deref(), Some(key), "{error}");
        assert!(error.line.is_some());
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.toml");
    std::fs::write(&path, FILE.replace("ORIGIN", "https://a.example")).unwrap();
    for (mode, fine) in [(0o600, true), (0o644, true), (0o664, false), (0o602, false)] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let read = PolicyFile::read(&path);
        assert_eq!(read.is_ok(), fine, "{mode:o}: {read:?}");
    }
    let missing = PolicyFile::read(directory.path().join("other.toml")).unwrap_err();
    assert!(missing.to_string().contains("other.toml: cannot be read"), "{missing}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_webhook_is_asked_with_a_signed_question() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let (path, key) = (directory.path().join("policy.toml"), directory.path().join("approval.key"));
    std::fs::write(&key, format!("{}\n", "ab".repeat(32))).unwrap();
    let shop = Server::shop(1_001).await;
    let mut signed = 0;
    let rail = Rail::new();
    for (reply, rule_or_paid) in [
        (Reply::new(200, r#"{"decision":"no"}"#), Some(Rule::ApprovalDenied)),
        (Reply::new(200, "yes"), Some(Rule::ApprovalDenied)),
        (Reply::new(500, r#"{"decision":"once"}"#), Some(Rule::NoApprover)),
        (Reply::new(302, "").header("location", "http://127.0.0.1:1/"), Some(Rule::NoApprover)),
        (Reply::new(200, "x".repeat(5_000)), Some(Rule::NoApprover)),
        (Reply::HangUp, Some(Rule::NoApprover)),
        (Reply::new(200, r#"{"decision":"once"}"#), None),
    ] {
        let hook = Server::start(move |_| reply.clone()).await;
        let webhook = format!("webhook = \"{}/ask\"\nwebhook_key_file = \"approval.key\"\n", hook.url);
        std::fs::write(&path, FILE.replace("ORIGIN", &shop.url) + APPROVAL + &webhook).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
        let policy = PolicyFile::read(&path).unwrap();
        let open = policy.apply(Client::builder().rail(rail.clone())).unwrap_err();
        assert_eq!(open.key.as_deref(), Some("approval.webhook_key_file"), "others may read the key");
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        let client = policy.apply(Client::builder().rail(rail.clone())).unwrap().build().unwrap();
        match rule_or_paid {
            None => {
                client.get(&shop.url).await.unwrap();
                signed += 1;
            }
            Some(expected) => assert_eq!(rule(client.get(&shop.url)).await, expected),
        }
        assert_eq!(rail.signed(), signed);
        let seen = hook.seen();
        assert_eq!((seen.len(), seen[0].method.as_str(), seen[0].target.as_str()), (1, "POST", "/ask"));
        let signature = seen[0].header(SIGNATURE).unwrap();
        let (time, tag) = signature.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&[0xab; 32]).unwrap();
        mac.update(format!("{time}.").as_bytes());
        mac.update(&seen[0].body);
        assert_eq!(hex::encode(mac.finalize().into_bytes()), tag);
        let question: Value = serde_json::from_slice(&seen[0].body).unwrap();
        assert_eq!(question["price"], "0.001001 XTS");
        assert_eq!(question["agent"], "researcher");
        assert_eq!(question["id"].as_str().unwrap().len(), 32);
        assert!(question["expiresAt"].as_u64().unwrap() >= time.parse::<u64>().unwrap());
    }
}
