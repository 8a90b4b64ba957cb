//! `farthing policy`: a file to begin with, and what it allows.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::program::{Run, Server, farthing};

fn init(home: &Path, more: &[&str]) -> Run {
    farthing(&[&["policy", "init", "--home", home.to_str().unwrap()], more].concat())
}

fn check(home: &Path) -> Run {
    farthing(&["policy", "check", "--home", home.to_str().unwrap()])
}

#[test]
fn a_policy_is_written_once_and_says_what_it_allows() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&directory.path().join("ledger"), 0);
    let (origin, ledger) = (server.origin().to_owned(), format!("{}/ledger", server.origin()));
    let home = directory.path().join("home");
    let asked = [
        "--ledger",
        &ledger,
        "--origin",
        &origin,
        "--total",
        "5 XTS",
        "--per-request",
        "0.01 XTS",
        "--per-day",
        "1 XTS",
    ];
    init(&home, &asked).ends_with(0);
    let path = home.join("policy.toml");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
    let network = server.ready["network"].as_str().unwrap();
    let out = check(&home).ends_with(0).out;
    for part in [network, &origin, "total 5", "per_request 0.01", "per_day 1", "account agent"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let json = farthing(&["policy", "check", "--json", "--home", home.to_str().unwrap()]).ends_with(0).json();
    assert_eq!(json["wallets"][0]["network"], network);

    let text = fs::read_to_string(&path).unwrap();
    let again = init(&home, &asked).ends_with(2);
    assert!(again.err.contains("there already"), "{again:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn nothing_is_written_for_what_no_policy_could_say() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&directory.path().join("ledger"), 0);
    let (origin, ledger) = (server.origin().to_owned(), format!("{}/ledger", server.origin()));
    let home = directory.path().join("home");
    let silent = format!("http://127.0.0.1:{}/ledger", {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    });
    let with = |ledger: &str, origin: &str, total: &str, status: i32| {
        init(&home, &["--ledger", ledger, "--origin", origin, "--total", total]).ends_with(status);
        assert!(!home.join("policy.toml").exists());
    };
    with(&ledger, &origin, "lots", 2);
    with(&ledger, &origin, "5 EUR", 2);
    with(&ledger, "http://far.example", "5 XTS", 2);
    with(&ledger, "x\"]\n[[wallet]]", "5 XTS", 2);
    with(&origin, &origin, "5 XTS", 1);
    with(&silent, &origin, "5 XTS", 1);
    with("http://far.example/ledger", &origin, "5 XTS", 2);
    init(&home, &["--network", "eip155:84532", "--rpc", "http://127.0.0.1:1", "--total", "5 USD"])
        .ends_with(2);
    init(&home, &["--ledger", &ledger, "--origin", &origin, "--total", "5 XTS", "--per-day", "1 USD"])
        .ends_with(2);
    init(&home, &["--ledger", &ledger, "--origin", &origin, "--total", "5 XTS", "--account", "No Name"])
        .ends_with(2);
    init(&home, &["--ledger", &ledger, "--total", "5 XTS"]).ends_with(0);
    assert!(check(&home).ends_with(0).out.contains(&origin), "where the ledger is");
}

#[test]
fn a_policy_that_is_not_understood_is_refused_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let missing = check(directory.path()).ends_with(2);
    assert!(missing.err.contains("policy.toml") && missing.err.contains("policy init"), "{missing:?}");
    let path = directory.path().join("policy.toml");
    fs::write(&path, "origins = []\nbudgets = 3\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let unknown = check(directory.path()).ends_with(2);
    assert!(unknown.err.contains("policy.toml:2") && unknown.err.contains("budgets"), "{unknown:?}");
    fs::write(&path, "origins = []\n").unwrap();
    check(directory.path()).ends_with(0);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o622)).unwrap();
    let open = check(directory.path()).ends_with(2);
    assert!(open.err.contains("622"), "{open:?}");
}
