//! A PostgreSQL server that fails in the middle: nobody is told a wrong outcome, and the store comes back.

use std::sync::Arc;
use std::time::Duration;

use farthing_ledger::engine::PostgresError;
use farthing_ledger::records::PostgresRecords;
use farthing_protocol::records::{Record, Records, RecordsError, Replaced};

use crate::proxy::{Cut, Proxy};
use crate::server::Cluster;
use crate::{Place, Postgres, record};

/// Looks until the store is back.
async fn until_back(records: &Arc<dyn Records>, key: &[u8]) -> Option<Record> {
    for _ in 0..1_000 {
        match records.get(key).await {
            Ok(found) => return found,
            Err(RecordsError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the store does not come back");
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_change_whose_answer_is_cut_off_is_unknown_and_a_look_tells() {
    for (cut, made) in [(Cut::BeforeCommit, false), (Cut::AfterCommit, true)] {
        let database = Postgres::default();
        let proxy = Proxy::to(database.0.cluster().port());
        let url = database.0.url_on(proxy.port);
        let records = PostgresRecords::open(&database.config(&url)).await.unwrap();
        let records: Arc<dyn Records> = Arc::new(records);
        proxy.cut_at(cut, b"the claim");
        let claim = record("the claim", 9);
        let lost = records.replace(b"a", None, Some(claim.clone())).await;
        assert!(matches!(lost, Err(RecordsError::Unknown(_))), "{cut:?}: {lost:?}");
        assert!(proxy.has_cut());
        assert_eq!(until_back(&records, b"a").await, made.then(|| claim.clone()), "{cut:?}");
        let again = records.replace(b"a", None, Some(claim.clone())).await.unwrap();
        assert_eq!(again, if made { Replaced::Found(Some(claim)) } else { Replaced::Done });
    }
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn connections_that_the_server_ends_are_made_anew() {
    let database = Postgres::default();
    let records = database.open().await;
    for number in 0..20_u8 {
        records.replace(&[number], None, Some(record([number], 9))).await.unwrap();
    }
    assert_eq!(database.0.kill_connections(), 8);
    for number in 0..20_u8 {
        assert_eq!(until_back(&records, &[number]).await, Some(record([number], 9)));
    }
    assert_eq!(records.replace(b"new", None, Some(record("x", 9))).await.unwrap(), Replaced::Done);
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_server_that_crashes_loses_nothing_that_was_done_and_is_unavailable_until_it_is_back() {
    let database = Postgres(Cluster::own().schema());
    let server = database.0.cluster();
    // What is not flushed by a change itself is flushed ten seconds later.
    server.sql("ALTER SYSTEM SET synchronous_commit = off");
    server.sql("ALTER SYSTEM SET wal_writer_delay = 10000");
    server.sql("SELECT pg_reload_conf()");
    let records = database.open().await;
    for number in 0..10_u8 {
        let done = records.replace(&[number], None, Some(record([number], 9))).await.unwrap();
        assert_eq!(done, Replaced::Done);
    }
    server.stop();
    let gone = loop {
        // The ends of connections are heard one after the other.
        match records.replace(&[99], None, Some(record("x", 9))).await {
            Err(RecordsError::Unknown(_)) => {}
            other => break other,
        }
    };
    assert!(matches!(gone, Err(RecordsError::Unavailable(_))), "{gone:?}");
    server.start();
    for number in 0..10_u8 {
        assert_eq!(until_back(&records, &[number]).await, Some(record([number], 9)));
    }
    assert_eq!(until_back(&records, &[99]).await, None);
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn tables_that_a_later_program_made_are_refused() {
    let database = Postgres::default();
    drop(database.open().await);
    let open = || async { PostgresRecords::open(&database.config(&database.0.url())).await.map(drop) };
    open().await.unwrap();
    let versions = format!("\"{}_records\".schema_version", database.0.name);
    database.0.sql(&format!("INSERT INTO {versions} (version) VALUES (1000)"));
    let error = open().await.unwrap_err();
    assert!(matches!(error, PostgresError::Newer { found: 1_000, .. }), "{error}");
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn many_processes_that_start_at_once_make_the_tables_once() {
    let database = Postgres::default();
    let config = database.config(&database.0.url());
    let opening: Vec<_> = (0..8)
        .map(|_| {
            let config = config.clone();
            tokio::spawn(async move { PostgresRecords::open(&config).await.map(drop) })
        })
        .collect();
    for opened in opening {
        opened.await.unwrap().unwrap();
    }
}
