//! The journal's file: who may read it, which ones are refused, and what is in it after its process is gone.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod scripted;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use farthing_client::budget::{Charge, Limits};
use farthing_client::journal::{JournalError, ReserveError};
use farthing_client::sqlite::{FORMAT, Format};
use farthing_client::{Client, ClientError, Journal, Record, Rule, SqliteJournal, State};
use farthing_protocol::Amount;
use farthing_protocol::rail::Confirmation;
use rusqlite::Connection;
use scripted::*;
use serde_json::Value;
use tempfile::TempDir;

const LIMITS: Limits = Limits::of(Amount(100));

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.sqlite");
    (directory, path)
}

fn open(path: &Path) -> SqliteJournal {
    SqliteJournal::open(path, &BTreeMap::new()).unwrap()
}

fn refused(path: &Path) -> JournalError {
    SqliteJournal::open(path, &BTreeMap::new()).unwrap_err()
}

fn charge(amount: u128) -> Charge {
    Charge {
        asset: xts(),
        origin: "https://shop.example".parse().unwrap(),
        amount: Amount(amount),
        payee: "seller".into(),
        agent: None,
        task: None,
        at: 1_800_000_000,
    }
}

fn on(journal: &Arc<SqliteJournal>, rail: &Arc<Rail>) -> Client {
    builder(rail).journal(journal.clone()).build().unwrap()
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_left_as_it_is() {
    let (_directory, path) = place();
    let running = open(&path);
    assert!(running.reserve(&charge(1), &LIMITS).is_ok());
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", FORMAT + 1).unwrap();
    let expected = JournalError::Newer { found: FORMAT + 1, known: FORMAT };
    assert_eq!(running.reserve(&charge(1), &LIMITS), Err(expected.clone().into()), "while open");
    drop((running, newer));
    let before = std::fs::read(&path).unwrap();
    assert_eq!(refused(&path), expected);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", FORMAT).unwrap();
    assert_eq!(open(&path).spending().unwrap().total(&xts()), Amount(1));
}

#[test]
fn a_database_of_something_else_and_a_file_that_is_none_are_refused() {
    let (directory, path) = place();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE notes (text)").unwrap();
    make_private(&path);
    assert!(refused(&path).to_string().contains("something else"), "{}", refused(&path));
    let text = directory.path().join("text");
    std::fs::write(&text, "not a database at all, but long enough to be read as one: ".repeat(40)).unwrap();
    make_private(&text);
    assert!(matches!(refused(&text), JournalError::Failed(_)));
    assert!(matches!(refused(&directory.path().join("none/journal")), JournalError::Failed(_)));
}

fn make_private(path: &Path) {
    #[cfg(unix)]
    mode(path, Some(0o600));
    let _ = path;
}

#[cfg(unix)]
fn mode(path: &Path, set: Option<u32>) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    if let Some(mode) = set {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[cfg(unix)]
#[test]
fn only_its_owner_can_read_the_file_and_those_beside_it() {
    let (directory, path) = place();
    let journal = open(&path);
    journal.reserve(&charge(1), &LIMITS).unwrap();
    let files: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 3, "with its log and the log's index: {files:?}");
    for file in &files {
        assert_eq!(mode(file, None), 0o600, "{file:?}");
    }
    drop(journal);
    mode(&path, Some(0o640));
    assert!(refused(&path).to_string().contains("mode 640"));
    mode(&path, Some(0o600));
    open(&path);
}

#[test]
fn a_busy_file_is_waited_for_as_long_as_allowed_and_no_longer() {
    let (_directory, path) = place();
    let journal = open(&path).waits(Duration::from_millis(50));
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let since = Instant::now();
    let busy = JournalError::Busy { waited: Duration::from_millis(50) };
    // Those that wait for each other in this process wait no longer either.
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| journal.reserve(&charge(1), &LIMITS))).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), Err(ReserveError::Journal(busy.clone())));
        }
    });
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    assert!(journal.spending().is_ok(), "who only reads does not wait");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(journal.reserve(&charge(1), &LIMITS).is_ok());
}

#[tokio::test]
async fn what_was_reserved_and_not_signed_in_time_is_given_back_and_cannot_be_signed_for() {
    let (_directory, path) = place();
    let mut record = signed().await;
    record.charge = charge(100);
    let ticket = open(&path).reserve(&charge(100), &LIMITS).unwrap();
    let journal = open(&path);
    assert!(matches!(journal.reserve(&charge(1), &LIMITS), Err(ReserveError::OverBudget(_))));
    // As if an hour had passed, or the clock had been an hour ahead.
    for hour in [-3600, 3600] {
        let ticket = if hour < 0 { ticket } else { journal.reserve(&charge(100), &LIMITS).unwrap() };
        let by = "UPDATE tickets SET reserved_at = reserved_at + ?1";
        Connection::open(&path).unwrap().execute(by, [hour]).unwrap();
        assert_eq!(journal.spending().unwrap().total(&xts()), Amount::ZERO);
        let next = journal.reserve(&charge(100), &LIMITS).unwrap();
        assert!(matches!(journal.reserve(&charge(1), &LIMITS), Err(ReserveError::OverBudget(_))));
        assert!(matches!(journal.record(ticket, record.clone()), Err(JournalError::Failed(_))));
        journal.cancel(ticket);
        assert_eq!(journal.spending().unwrap().total(&xts()), Amount(100), "it gives nothing back twice");
        assert!(journal.unfinished().unwrap().is_empty());
        journal.cancel(next);
    }
    let ticket = journal.reserve(&charge(100), &LIMITS).unwrap();
    assert!(journal.record(ticket, record).is_ok(), "in time");
}

/// A record of a signed payment, from another journal.
async fn signed() -> Record {
    let (_directory, path) = place();
    let (journal, server) = (Arc::new(open(&path)), Server::shop(1).await);
    let prepared = on(&journal, &Rail::new()).get(&server.url).sign().await.unwrap().unwrap();
    journal.find(&prepared.id()).unwrap().unwrap()
}

#[test]
fn budgets_in_the_file_hold_for_whoever_opens_it() {
    let (_directory, path) = place();
    let limits = Limits { per_request: Some(Amount(7)), per_hour: Some(Amount(9)), ..Limits::of(Amount(10)) };
    drop(SqliteJournal::open(&path, &[(xts(), limits)].into()).unwrap());
    let journal = open(&path);
    assert_eq!(journal.limits(&xts()).unwrap(), Some(limits));
    assert!(matches!(journal.reserve(&charge(8), &LIMITS), Err(ReserveError::OverBudget(_))));
    assert!(journal.reserve(&charge(7), &LIMITS).is_ok());
    assert!(matches!(journal.reserve(&charge(4), &LIMITS), Err(ReserveError::OverBudget(_))));
    drop(
        SqliteJournal::open(&path, &[(xts(), Limits { per_hour: None, total: Amount(11), ..limits })].into())
            .unwrap(),
    );
    assert!(journal.reserve(&charge(4), &LIMITS).is_ok(), "raised by another");
    let own = Limits { total: Amount(11), ..LIMITS };
    assert!(journal.reserve(&charge(1), &own).is_err(), "the client's own hold too");
}

#[tokio::test]
async fn the_money_spent_is_spent_after_a_restart_too() {
    let (_directory, path) = place();
    let (rail, server) = (Rail::new(), Server::shop(3_000).await);
    let client = on(&Arc::new(open(&path)), &rail);
    let id = client.get(&server.url).sign().await.unwrap().unwrap().id();
    for _ in 0..2 {
        client.get(&server.url).await.unwrap();
    }
    drop(client);
    let client = on(&Arc::new(open(&path)), &rail);
    assert_eq!(spent(&client), (6_000, 3_000));
    let refused = client.get(&server.url).await.unwrap_err();
    let is_over = matches!(&refused, ClientError::Refused(no) if matches!(no.rule, Rule::OverBudget(_)));
    assert!(is_over, "{refused}");
    assert_eq!(client.reconcile().await.unwrap().open, [id], "the network does not know yet");
    rail.says(Confirmation::NotTaken);
    assert_eq!(client.reconcile().await.unwrap().released, [id]);
    assert_eq!(spent(&client), (6_000, 0));
    assert!(client.get(&server.url).await.is_ok());
}

#[tokio::test]
async fn a_frozen_wallet_signs_nothing_until_it_is_unfrozen() {
    let (_directory, path) = place();
    let (rail, server) = (Rail::new(), Server::shop(1_000).await);
    let (journal, owner) = (Arc::new(open(&path)), open(&path));
    let client = on(&journal, &rail);
    let ticket = journal.reserve(&charge(1), &LIMITS).unwrap();
    let prepared = client.get(&server.url).sign().await.unwrap().unwrap();
    owner.freeze().unwrap();
    owner.freeze().unwrap();
    let refused = client.get(&server.url).await.unwrap_err();
    assert!(matches!(&refused, ClientError::Refused(no) if no.rule == Rule::Frozen), "{refused}");
    let quote = client.quote(&server.url).await.unwrap();
    assert!(format!("{quote:?}").contains("Frozen"), "{quote:?}");
    let mut late = journal.find(&prepared.id()).unwrap().unwrap();
    (late.payment.id.0[0], late.charge) = (late.payment.id.0[0] ^ 1, charge(1));
    assert_eq!(journal.record(ticket, late.clone()), Err(JournalError::Frozen), "signed in between");
    assert_eq!(rail.signed(), 1);
    assert!(client.present(&prepared).await.is_ok(), "what was signed before can be presented");
    owner.unfreeze().unwrap();
    assert!(journal.record(ticket, late).is_ok());
    assert!(client.get(&server.url).await.is_ok());
    assert_eq!(rail.signed(), 2);
}

#[tokio::test]
async fn t44_an_export_has_every_payment_and_nothing_that_can_be_spent() {
    let (_directory, path) = place();
    let (rail, server) = (Rail::new(), Server::shop(1_000).await);
    let journal = Arc::new(open(&path));
    let client = on(&journal, &rail);
    let paid = client.get(&server.at("/a,b?c=\"")).header("x-one", "private").await.unwrap();
    let id = paid.payment().unwrap().id;
    let open = client.get(&server.url).sign().await.unwrap().unwrap();
    assert_eq!(journal.find(&id).unwrap().unwrap().state, State::Confirmed(Amount(1_000)));
    let mut text = Vec::new();
    assert_eq!(journal.export(Format::JsonLines, &mut text).unwrap(), 2);
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["payment"], &lines[0]["state"]), (&id.to_string().into(), &"confirmed".into()));
    assert_eq!((&lines[0]["amount"], &lines[0]["taken"]), (&"1000".into(), &"1000".into()));
    assert_eq!(lines[0]["header_names"], serde_json::json!(["x-one"]));
    assert_eq!((&lines[1]["state"], &lines[1]["taken"]), (&"signed".into(), &Value::Null));
    assert!(lines[0]["sent_at"].is_u64() && lines[1]["sent_at"].is_null());
    let mut csv = Vec::new();
    assert_eq!(journal.export(Format::Csv, &mut csv).unwrap(), 2);
    let csv = String::from_utf8(csv).unwrap();
    let rows: Vec<_> = csv.split_terminator("\r\n").collect();
    assert!(rows.len() == 3 && rows[0].starts_with("payment,state,"), "{csv}");
    assert!(rows[1].contains("/a,b?c=%22\",") && rows[1].ends_with(",1000,1000,2,,,200,1000,true"), "{csv}");
    for id in [id, open.id()] {
        let record = journal.find(&id).unwrap().unwrap();
        for secret in [record.header.expose(), record.payment.payload.get(), "private", "nonce"] {
            assert!(!text.contains(secret) && !csv.contains(secret));
            assert!(!format!("{journal:?} {record:?}").contains(secret));
        }
    }
}
