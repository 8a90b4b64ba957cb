//! A database that cannot be used: the error says who is at fault, and nothing of the password.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod database;
mod world;

use std::net::TcpListener;

use farthing_ledger::engine::{PostgresConfig, PostgresError, PostgresStorage};
use farthing_ledger::{Ledger, Options};

use database::Postgres;
use database::server::Cluster;
use world::*;

fn open(url: &str, schema: &str) -> Result<Ledger, PostgresError> {
    let config: PostgresConfig = url.parse()?;
    Ledger::postgres(&config.with_schema(schema)?, secret(LEDGER), Options::open_to_all())
}

#[test]
#[ignore = "cargo xtask test"]
fn whoever_is_at_fault_is_named_and_the_password_is_not() {
    let database = Postgres::default();
    let (url, schema) = (database.0.url(), &database.0.name);
    drop(open(&url, schema).unwrap());
    let password = url.split(['/', '@', ':']).nth(4).unwrap();
    assert!(password.len() > 5);
    let refused = |url: &str| {
        let error = open(url, schema).map(|_| ()).unwrap_err();
        for secret in [password, "wrong-one"] {
            assert!(!error.to_string().contains(secret) && !format!("{error:?}").contains(secret), "{error}");
        }
        error
    };
    let error = refused(&url.replace(password, "wrong-one"));
    assert!(matches!(error, PostgresError::Refused { .. }), "{error}");
    let error = refused(&url.replace(&format!(":{password}"), ""));
    assert!(matches!(error, PostgresError::Refused { .. }), "{error}");
    let error = refused(&url.replace("/postgres?", "/nowhere?"));
    assert!(matches!(error, PostgresError::NoDatabase { .. }), "{error}");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = refused(&database.0.url_on(free));
    assert!(error.to_string().contains(&free.to_string()), "{error}");
    assert!(matches!(error, PostgresError::Unreachable { .. }), "{error}");
    // It listens, and does not speak TLS.
    let error = refused(&format!("{url}&sslmode=verify-full"));
    assert!(matches!(error, PostgresError::Unreachable { .. } | PostgresError::Tls(_)), "{error}");
}

#[test]
#[ignore = "cargo xtask test"]
fn a_ledger_opens_only_with_its_key_and_options() {
    let database = Postgres::default();
    let open =
        |key: u8, options: Options| Ledger::postgres(&database.config(), secret(key), options).map(|_| ());
    open(LEDGER, Options::open_to_all()).unwrap();
    assert!(matches!(open(STRANGER, Options::open_to_all()), Err(PostgresError::Storage(_))));
    let closed = Options::closed_loop(public(SELLER), farthing_protocol::Amount(1));
    assert!(matches!(open(LEDGER, closed), Err(PostgresError::Storage(_))));
    open(LEDGER, Options::open_to_all()).unwrap();
}

#[test]
#[ignore = "cargo xtask test"]
fn a_schema_that_a_later_program_made_is_refused() {
    let database = Postgres::default();
    let read = || PostgresStorage::read(&database.config()).map(|_| ());
    assert!(matches!(read(), Err(PostgresError::NoLedger(_))));
    drop(open(&database.0.url(), &database.0.name).unwrap());
    read().unwrap();
    database.0.sql("INSERT INTO schema_version (version) VALUES (1000)");
    for error in [open(&database.0.url(), &database.0.name).map(|_| ()).unwrap_err(), read().unwrap_err()] {
        assert!(matches!(error, PostgresError::Newer { found: 1_000, .. }), "{error}");
    }
}

#[test]
#[ignore = "cargo xtask test"]
fn a_server_that_does_not_flush_is_refused() {
    let database = Postgres(Cluster::own().schema());
    drop(open(&database.0.url(), &database.0.name).unwrap());
    database.0.cluster().sql("ALTER SYSTEM SET fsync = off");
    database.0.cluster().sql("SELECT pg_reload_conf()");
    while database.0.cluster().sql("SHOW fsync").trim() != "off" {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let error = open(&database.0.url(), &database.0.name).map(|_| ()).unwrap_err();
    assert!(matches!(error, PostgresError::NotDurable), "{error}");
    let config = database.config().without_durability();
    Ledger::postgres(&config, secret(LEDGER), Options::open_to_all()).unwrap();
}

/// With the server's default, the last payments would be gone.
#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_commit_waits_for_the_flush_whatever_the_servers_default_is() {
    let database = std::sync::Arc::new(Postgres(Cluster::own().schema()));
    let server = database.0.cluster();
    // What is not flushed by a commit itself is flushed ten seconds later.
    server.sql("ALTER SYSTEM SET synchronous_commit = off");
    server.sql("ALTER SYSTEM SET wal_writer_delay = 10000");
    server.sql("SELECT pg_reload_conf()");
    let mut world = World::open(database.clone()).await;
    for _ in 0..5 {
        world.held(&world.terms(1_000)).await;
    }
    server.restart_immediately();
    world.restart();
    assert_eq!(world.money().await, (FUNDS - 5_000, 0, 5_000));
}

#[test]
#[ignore = "cargo xtask test"]
fn tls_is_spoken_to_the_server_that_was_meant_and_to_no_other() {
    let database = Postgres(Cluster::own().schema());
    let certificate = database.0.cluster().serve_tls();
    let url = database.0.url();
    let with_roots = format!("{url}&sslmode=verify-full&sslrootcert={}", certificate.display());
    drop(open(&with_roots, &database.0.name).unwrap());
    let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl";
    let ledger = open(&with_roots, &database.0.name).unwrap();
    assert_eq!(database.0.cluster().sql(encrypted).trim(), "1");
    drop(ledger);
    let stranger = open(&format!("{url}&sslmode=require"), &database.0.name).map(|_| ()).unwrap_err();
    assert!(stranger.to_string().contains("certificate"), "{stranger}");
    let other_name = with_roots.replace("127.0.0.1", "localhost");
    let error = open(&other_name, &database.0.name).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    let missing = format!("{url}&sslmode=verify-full&sslrootcert=/nowhere.pem");
    assert!(matches!(open(&missing, &database.0.name), Err(PostgresError::Tls(_))));
}
