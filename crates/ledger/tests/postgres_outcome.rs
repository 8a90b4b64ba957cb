//! PostgreSQL fails in the middle: nobody is told a wrong outcome, and the engine comes back by itself.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod database;
mod world;

use std::sync::Arc;
use std::time::Duration;

use farthing_ledger::command::{AuthorizeReply, Operate, Standing};
use farthing_ledger::terms::Terms;
use farthing_ledger::{LedgerError, Options};

use database::server::Cluster;
use database::{Cut, Postgres, Proxied, Proxy};
use world::*;

/// Presents a payment until the ledger is back.
async fn until_back(world: &World, terms: &Terms) -> AuthorizeReply {
    for _ in 0..1_000 {
        match world.authorize(terms).await {
            Ok(reply) => return reply,
            Err(LedgerError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the ledger does not come back");
}

async fn behind_a_proxy() -> (World, Arc<Postgres>, Arc<Proxy>) {
    let database = Arc::new(Postgres::default());
    let proxy = Arc::new(Proxy::to(database.0.cluster().port()));
    let world = World::open(Proxied(database.clone(), proxy.clone())).await;
    (world, database, proxy)
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn t18_a_commit_that_is_cut_off_is_unknown_and_the_same_payment_again_is_held_once() {
    for cut in [Cut::BeforeCommit, Cut::AfterCommit] {
        let (world, _database, proxy) = behind_a_proxy().await;
        let terms = world.terms(1_000);
        proxy.cut(cut);
        let error = world.authorize(&terms).await.unwrap_err();
        assert!(matches!(error, LedgerError::Unknown(_)), "{cut:?}: {error}");
        assert!(proxy.has_cut());
        assert_eq!(until_back(&world, &terms).await.standing, Standing::Owner { takeover: false });
        assert_eq!(world.money().await, (FUNDS - 1_000, 0, 1_000), "{cut:?}: once");
        assert_eq!(world.entries().await, 4, "genesis, asset, deposit, authorize");
    }
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn t18_a_capture_that_is_cut_off_and_sent_again_is_captured_once() {
    for cut in [Cut::BeforeCommit, Cut::AfterCommit] {
        let (world, _database, proxy) = behind_a_proxy().await;
        let (terms, other) = (world.terms(1_000), world.terms(1));
        let id = world.held(&terms).await;
        proxy.cut(cut);
        let operate = Operate::sign(&world.id(), &secret(AUTHORIZER), vec![(capture(id, 600, true), None)]);
        let error = world.ledger().operate(operate).await.unwrap_err();
        assert!(matches!(error, LedgerError::Unknown(_)), "{cut:?}: {error}");
        until_back(&world, &other).await;
        world.capture(id, 600).await.unwrap();
        assert_eq!(world.money().await, (FUNDS - 601, 600, 1), "{cut:?}");
        assert_eq!(world.payments("captured").await, 1);
    }
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn connections_that_are_killed_between_batches_cost_nothing() {
    let database = Arc::new(Postgres::default());
    let world = World::open(database.clone()).await;
    for round in 1..=5_u128 {
        assert!(database.0.kill_connections() > 0);
        let terms = world.terms(1_000);
        match world.authorize(&terms).await {
            Err(LedgerError::Unavailable(_)) => {}
            other => panic!("nothing can have been written: {other:?}"),
        }
        until_back(&world, &terms).await;
        assert_eq!(world.money().await, (FUNDS - 1_000 * round, 0, 1_000 * round as i128));
    }
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn t18_killed_connections_under_load_lose_and_double_nothing() {
    let database = Arc::new(Postgres::default());
    let world = World::open(database.clone()).await;
    let payers: Vec<_> = (0..16)
        .map(|_| {
            let payments: Vec<Terms> = (0..20).map(|_| world.terms(10)).collect();
            let ledger = world.ledger().clone();
            tokio::spawn(async move {
                for terms in payments {
                    loop {
                        let command = authorize(&terms, PAYER, owner(1), "local");
                        match ledger.authorize(command).await {
                            Ok(reply) => {
                                assert_eq!(reply.standing, Standing::Owner { takeover: false });
                                break;
                            }
                            Err(LedgerError::Unavailable(_) | LedgerError::Unknown(_)) => {
                                tokio::time::sleep(Duration::from_millis(5)).await;
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            })
        })
        .collect();
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        database.0.kill_connections();
    }
    for payer in payers {
        payer.await.unwrap();
    }
    until_back(&world, &world.terms(1)).await;
    assert_eq!(world.money().await, (FUNDS - 3_201, 0, 3_201));
    assert_eq!(world.payments("held").await, 321);
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_server_that_crashes_has_everything_that_was_confirmed() {
    let database = Arc::new(Postgres(Cluster::own().schema()));
    let world = World::open(database.clone()).await;
    let mut held = 0;
    for _ in 0..3 {
        for _ in 0..20 {
            until_back(&world, &world.terms(100)).await;
            held += 100;
        }
        database.0.cluster().restart_immediately();
        until_back(&world, &world.terms(100)).await;
        held += 100;
        assert_eq!(world.money().await, (FUNDS - held, 0, held as i128));
    }
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_ledger_whose_server_is_away_says_so_and_comes_back_with_it() {
    let database = Arc::new(Postgres(Cluster::own().schema()));
    let world = World::open(database.clone()).await;
    let terms = world.terms(1_000);
    database.0.cluster().stop();
    for _ in 0..3 {
        let error = world.authorize(&terms).await.unwrap_err();
        assert!(matches!(error, LedgerError::Unavailable(_)), "{error}");
        assert!(world.ledger().balance(public(PAYER), xts()).await.is_err());
    }
    database.0.cluster().start();
    until_back(&world, &terms).await;
    assert_eq!(world.money().await, (FUNDS - 1_000, 0, 1_000));
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_batch_that_loses_a_deadlock_is_tried_again() {
    let database = Arc::new(Postgres::default());
    let world = World::with(database.clone(), Options::open_to_all()).await;
    let id = world.held(&world.terms(1_000)).await;
    world.capture(id, 1_000).await.unwrap();
    // Takes the two rows of a refund in the other order, and waits for the second one last: so it is the
    // ledger that finds the deadlock and gives way.
    let other = database.clone();
    let seller = format!("account = '\\x{}'", hex::encode(public(SELLER).0));
    let other = std::thread::spawn(move || {
        other.0.sql(&format!(
            "BEGIN; SELECT FROM balance WHERE stripe = 0 AND {seller} FOR UPDATE; SELECT pg_sleep(0.4); \
             SELECT FROM payment FOR UPDATE; COMMIT"
        ))
    });
    tokio::time::sleep(Duration::from_millis(150)).await;
    world.refund(id, 300).await.unwrap();
    other.join().expect("the other one went through");
    assert_eq!(world.money().await, (FUNDS - 700, 700, 0));
}
