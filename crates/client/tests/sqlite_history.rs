//! What the journal's file tells later: files of the older format, payments looked up, receipts, and exports.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod scripted;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use farthing_client::budget::{Charge, Limit, Limits, Scope, Window};
use farthing_client::journal::{PricedPlace, ReserveError};
use farthing_client::sqlite::{FORMAT, Filter, Format};
use farthing_client::{ClientError, Journal, SqliteJournal, Standing, State};
use farthing_protocol::rail::{Confirmation, PaymentId};
use farthing_protocol::receipt::SignedReceipt;
use farthing_protocol::{Amount, Origin};
use rusqlite::Connection;
use scripted::*;
use serde_json::{Value, json};
use tempfile::TempDir;

/// As the older format was.
const FORMAT_1: &str = "
    CREATE TABLE budgets (network TEXT NOT NULL, asset TEXT NOT NULL, per_request TEXT, per_host TEXT,
        total TEXT NOT NULL, PRIMARY KEY (network, asset)) STRICT, WITHOUT ROWID;
    CREATE TABLE counts (network TEXT NOT NULL, asset TEXT NOT NULL, origin TEXT NOT NULL, amount TEXT NOT NULL,
        PRIMARY KEY (network, asset, origin)) STRICT, WITHOUT ROWID;
    CREATE TABLE payees (origin TEXT NOT NULL, network TEXT NOT NULL, payee TEXT NOT NULL,
        PRIMARY KEY (origin, network, payee)) STRICT, WITHOUT ROWID;
    CREATE TABLE tickets (ticket INTEGER PRIMARY KEY AUTOINCREMENT, network TEXT NOT NULL, asset TEXT NOT NULL,
        origin TEXT NOT NULL, amount TEXT NOT NULL, reserved_at INTEGER NOT NULL) STRICT;
    CREATE TABLE payments (ticket INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, network TEXT NOT NULL,
        asset TEXT NOT NULL, origin TEXT NOT NULL, amount TEXT NOT NULL, payee TEXT NOT NULL,
        method TEXT NOT NULL, target TEXT NOT NULL, header_names TEXT NOT NULL, body_hash BLOB NOT NULL,
        digest BLOB NOT NULL, receipt_key BLOB, version INTEGER NOT NULL, header TEXT NOT NULL,
        payload TEXT NOT NULL, extensions TEXT NOT NULL, max_amount TEXT NOT NULL,
        valid_before INTEGER NOT NULL, capture_deadline INTEGER NOT NULL, state TEXT NOT NULL, taken TEXT,
        signed_at INTEGER NOT NULL, sent_at INTEGER, closed_at INTEGER) STRICT;
    CREATE INDEX unfinished ON payments (ticket) WHERE closed_at IS NULL;
    CREATE TABLE frozen (since INTEGER NOT NULL) STRICT;
    PRAGMA application_id = 0x6677616c;
    PRAGMA user_version = 1;
";

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.sqlite");
    (directory, path)
}

fn open(path: &Path) -> SqliteJournal {
    SqliteJournal::open(path, &BTreeMap::new()).unwrap()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn charge(amount: u128) -> Charge {
    Charge {
        asset: xts(),
        origin: "https://shop.example".parse().unwrap(),
        amount: Amount(amount),
        payee: "seller".into(),
        agent: None,
        task: None,
        at: now(),
    }
}

/// A file of format 1: payments of 30 taken and 20 open, and one of 50 that was given back; reservations of 10.
fn older(path: &Path) {
    // For its mode.
    drop(open(path));
    std::fs::remove_file(path).unwrap();
    let file = Connection::open(path).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    file.execute_batch(FORMAT_1).unwrap();
    let payments = [
        (1, 40, "confirmed", Some("30"), "/a?b"),
        (2, 20, "sent", None, "/a"),
        (3, 50, "released", None, "/c"),
    ];
    for (ticket, amount, state, taken, target) in payments {
        file.execute(
            "INSERT INTO payments VALUES (?1, ?2, ?3, 'XTS', 'https://shop.example', ?4, 'seller', 'GET', ?5, '[]', \
             ?6, ?6, NULL, 2, 'aGVhZGVy', '{}', '{}', ?4, 1, 1, ?7, ?8, ?9, NULL, iif(?7 = 'sent', NULL, 1))",
            rusqlite::params![
                ticket,
                [u8::try_from(ticket).unwrap(); 32],
                NETWORK,
                amount.to_string(),
                target,
                [0_u8; 32],
                state,
                taken,
                now().cast_signed()
            ],
        )
        .unwrap();
    }
    file.execute_batch(&format!(
        "INSERT INTO tickets VALUES (9, '{NETWORK}', 'XTS', 'https://shop.example', '10', {});
         INSERT INTO counts VALUES ('{NETWORK}', 'XTS', '', '60'), ('{NETWORK}', 'XTS', 'https://shop.example', '60');
         INSERT INTO payees VALUES ('https://shop.example', '{NETWORK}', 'seller');
         INSERT INTO budgets VALUES ('{NETWORK}', 'XTS', NULL, '70', '90');
         INSERT INTO frozen VALUES (7);",
        now()
    ))
    .unwrap();
}

#[test]
fn a_file_of_the_older_format_is_brought_to_this_one_with_all_that_counts() {
    let (_directory, path) = place();
    older(&path);
    let journal = open(&path);
    let format = |connection: &Connection| -> i64 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    };
    assert_eq!(format(&Connection::open(&path).unwrap()), FORMAT);
    let spending = journal.spending().unwrap();
    for scope in charge(0).scopes() {
        // What was taken and what is open; what nobody can sign for any more is given back.
        assert_eq!(spending.counted(&xts(), &scope), Amount(50), "{scope:?}");
    }
    let expected = Limits { per_host: Some(Amount(70)), ..Limits::of(Amount(90)) };
    assert_eq!(journal.limits(&xts()), Ok(Some(expected)));
    assert_eq!(journal.frozen_since(), Ok(Some(7)));
    journal.unfreeze().unwrap();
    let (paid, record) =
        (journal.payments(&Filter::default()).unwrap(), journal.find(&PaymentId([2; 32])).unwrap().unwrap());
    assert_eq!(paid.iter().map(|record| record.id().0[0]).collect::<Vec<_>>(), [3, 2, 1], "newest first");
    assert_eq!((record.charge.at, record.charge.payee.as_str()), (record.signed_at, "seller"));
    assert_eq!((record.charge.agent, record.status, record.receipt), (None, None, None));
    let path_of = PricedPlace::of(&charge(0), "GET", "/a?other");
    assert_eq!(journal.accepted_price(&path_of), Ok(Some(Amount(20))), "the last one");
    // And it goes on from there.
    let over = journal.reserve(&charge(21), &Limits::of(Amount(100)));
    assert!(matches!(&over, Err(ReserveError::OverBudget(over)) if over.limit == Limit::PerHost), "{over:?}");
    let ticket = journal.reserve(&charge(20), &Limits::of(Amount(100))).unwrap();
    assert!(ticket.0 > 9, "no ticket is given twice");
    journal.advance(&PaymentId([2; 32]), State::Released).unwrap();
    assert_eq!(journal.spending().unwrap().counted(&xts(), &Scope::payee("seller")), Amount(50));
}

#[test]
fn a_file_of_format_2_learns_to_keep_receipts_of_the_other_kind() {
    let (_directory, path) = place();
    drop(open(&path));
    let file = Connection::open(&path).unwrap();
    file.execute_batch("ALTER TABLE payments DROP COLUMN receipt_jws; PRAGMA user_version = 2;").unwrap();
    drop(file);
    let journal = open(&path);
    assert!(journal.payments(&Filter::default()).unwrap().is_empty());
    let columns = "SELECT count(*) FROM pragma_table_info('payments') WHERE name = 'receipt_jws'";
    let count: i64 = Connection::open(&path).unwrap().query_row(columns, [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
}

#[test]
fn windows_that_are_long_over_are_dropped() {
    let (_directory, path) = place();
    let journal = open(&path);
    let limits = Limits::of(Amount(100));
    let at = |at: u64| Charge { at, ..charge(1) };
    let windows = || {
        Connection::open(&path)
            .unwrap()
            .query_row("SELECT count(*) FROM counts WHERE ends > 0", [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    // The fifteenth of a month; then an hour, and then two months later.
    journal.reserve(&at(1_800_000_000), &limits).unwrap();
    assert_eq!(windows(), 3);
    let ticket = journal.reserve(&at(1_800_003_600), &limits).unwrap();
    assert_eq!(windows(), 4);
    journal.reserve(&at(1_805_000_000), &limits).unwrap();
    assert_eq!(windows(), 3);
    journal.cancel(ticket);
    let spending = journal.spending().unwrap();
    assert_eq!(spending.total(&xts()), Amount(2), "and what counted there is given back elsewhere");
    assert_eq!(spending.counted(&xts(), &Scope::window(Window::Month, 1_805_000_000)), Amount(1));
}

#[tokio::test]
async fn a_verified_receipt_is_stored_as_it_came_and_a_forged_one_is_not() {
    let (_directory, path) = place();
    let (rail, journal) = (Rail::new(), Arc::new(open(&path)));
    let server = Server::start(|seen| match seen.payment() {
        None => unpaid(&[offer(1_000)]),
        Some(payment) if seen.target == "/forged" => {
            let presented = presented(payment);
            let receipt = receipt_of(&presented, 200, b"another body");
            Reply::new(200, "goods").settling(&settlement(&presented, Some(&receipt)))
        }
        Some(payment) => delivers(payment, "goods"),
    })
    .await;
    let client = builder(&rail).agent("researcher").journal(journal.clone()).build().unwrap();
    let paid = client.get(&server.at("/goods")).task("one").await.unwrap();
    let report = paid.payment().unwrap();
    let record = journal.find(&report.id).unwrap().unwrap();
    assert_eq!(
        (record.charge.agent.as_deref(), record.charge.task.as_deref()),
        (Some("researcher"), Some("one"))
    );
    assert_eq!((record.status, record.settled), (Some(200), Some(Amount(1_000))));
    assert_eq!(record.receipt, report.signed_receipt);
    let signed: SignedReceipt = serde_json::from_str(&record.receipt.unwrap()).unwrap();
    assert_eq!(Some(signed.verify(&receipt_key().public()).unwrap()), report.receipt);
    let forged = client.get(&server.at("/forged")).await.unwrap().payment().unwrap().id;
    let record = journal.find(&forged).unwrap().unwrap();
    assert_eq!((record.receipt, record.status), (None, Some(200)));

    let mut csv = Vec::new();
    journal.export(Format::Csv, &mut csv).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    let rows: Vec<_> = csv.split_terminator("\r\n").collect();
    assert!(rows[0].ends_with(",x402_version,agent,task,status,settled,has_receipt"), "{csv}");
    assert!(rows[1].ends_with(",2,researcher,one,200,1000,true"), "{csv}");
    assert!(rows[2].ends_with(",2,researcher,,200,1000,false"), "{csv}");
    let mut lines = Vec::new();
    journal.export(Format::JsonLines, &mut lines).unwrap();
    let first: Value = serde_json::from_slice(lines.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert_eq!((&first["task"], &first["payee"]), (&"one".into(), &"seller".into()));
    assert_eq!((&first["has_receipt"], &first["status"]), (&true.into(), &200.into()));
}

#[tokio::test]
async fn an_answer_that_was_paid_without_the_networks_word_says_so() {
    let (_directory, path) = place();
    let (rail, journal) = (Rail::new(), Arc::new(open(&path)));
    let server = Server::start(|seen| match seen.payment() {
        None => unpaid(&[offer(1_000)]),
        Some(payment) => {
            let presented = presented(payment);
            let mut said = settlement(&presented, Some(&receipt_of(&presented, 200, b"goods")));
            said["extra"] = json!({});
            Reply::new(200, "goods").settling(&said)
        }
    })
    .await;
    let client = builder(&rail).journal(journal.clone()).build().unwrap();
    let id = client.get(&server.url).await.unwrap().payment().unwrap().id;
    let standing = || journal.find(&id).unwrap().unwrap().standing();
    assert_eq!((standing(), standing().is_final()), (Standing::Settled, false));
    assert_eq!(standing().to_string(), "taken, said by the seller only");
    rail.says(Confirmation::Taken(Amount(1_000)));
    client.reconcile().await.unwrap();
    assert_eq!((standing(), standing().is_final()), (Standing::Confirmed, true));
}

#[tokio::test]
async fn payments_are_found_by_time_origin_and_how_they_stand() {
    let (_directory, path) = place();
    let (rail, journal) = (Rail::new(), Arc::new(open(&path)));
    let servers = [Server::shop(1_000).await, Server::shop(2_000).await];
    let client = builder(&rail).journal(journal.clone()).build().unwrap();
    let mut ids = Vec::new();
    for server in [&servers[0], &servers[1], &servers[0]] {
        ids.push(client.get(&server.url).await.unwrap().payment().unwrap().id);
    }
    ids.push(client.get(&servers[1].url).sign().await.unwrap().unwrap().id());
    for (n, id) in (1_i64..).zip(&ids) {
        let by = "UPDATE payments SET signed_at = ?1 WHERE id = ?2";
        Connection::open(&path).unwrap().execute(by, rusqlite::params![n * 100, id.0]).unwrap();
    }
    let found = |filter: Filter| -> Vec<usize> {
        let payments = journal.payments(&filter).unwrap();
        payments.iter().map(|record| ids.iter().position(|id| *id == record.id()).unwrap() + 1).collect()
    };
    let all = Filter::default;
    let origin: Origin = Origin::of_url(&servers[0].url).unwrap().0;
    assert_eq!(found(all()), [4, 3, 2, 1]);
    assert_eq!(found(Filter { since: Some(200), until: Some(400), ..all() }), [3, 2]);
    assert_eq!(found(Filter { origin: Some(origin.clone()), ..all() }), [3, 1]);
    assert_eq!(found(Filter { state: Some(Standing::Signed), ..all() }), [4]);
    assert_eq!(found(Filter { state: Some(Standing::Confirmed), limit: Some(2), ..all() }), [3, 2]);
    assert_eq!(found(Filter { origin: Some(origin), state: Some(Standing::Signed), ..all() }), [0; 0]);
    assert_eq!(found(Filter { until: Some(u64::MAX), limit: Some(0), ..all() }), [0; 0]);
}

#[tokio::test]
async fn names_that_are_none_are_refused_before_anything_is_sent() {
    let (rail, server) = (Rail::new(), Server::shop(1_000).await);
    assert!(builder(&rail).agent("two words").build().is_err());
    let client = builder(&rail).agent("one-word").build().unwrap();
    let refused = client.get(&server.url).task("").await.unwrap_err();
    assert!(matches!(refused, ClientError::Request { .. }), "{refused}");
    assert!(client.get(&server.url).task("one-word").await.is_ok());
}
