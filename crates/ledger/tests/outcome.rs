//! A commit that fails leaves an unknown outcome: three values, never two.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod world;

use std::time::Duration;

use farthing_ledger::command::Standing;
use farthing_ledger::engine::Storage;
use farthing_ledger::rows::Table;
use farthing_ledger::terms::Terms;
use farthing_ledger::{Ledger, LedgerError, Options};

use world::*;

/// A world whose storage the test keeps.
async fn world_on(storage: &SharedStorage) -> World {
    World::open(Memory(storage.clone())).await
}

/// Queues 50 payments as one batch behind a commit that is held up, makes their commit fail, and returns
/// their terms and answers.
async fn one_failing_batch(
    world: &World,
    storage: &SharedStorage,
    how: Failure,
) -> Vec<(Terms, LedgerError)> {
    let before = storage.commits();
    storage.hold_commits(true);
    let first = spawn(world.ledger(), &world.terms(1));
    while storage.commits() == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    storage.fail_after(0, how);
    let batch: Vec<_> =
        (0..50).map(|_| world.terms(1_000)).map(|terms| (spawn(world.ledger(), &terms), terms)).collect();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    storage.hold_commits(false);
    first.await.unwrap().expect("the commit before is good");
    let mut answers = Vec::new();
    for (task, terms) in batch {
        answers.push((terms, task.await.unwrap().unwrap_err()));
    }
    answers
}

type Answer = Result<farthing_ledger::command::AuthorizeReply, LedgerError>;

fn spawn(ledger: &Ledger, terms: &Terms) -> tokio::task::JoinHandle<Answer> {
    let (ledger, command) = (ledger.clone(), authorize(terms, PAYER, owner(1), "local"));
    tokio::spawn(async move { ledger.authorize(command).await })
}

#[tokio::test]
async fn t18_a_failed_commit_makes_the_whole_batch_unknown_and_closes_the_ledger() {
    for how in [Failure::Lost, Failure::Landed] {
        let storage = SharedStorage::default();
        let mut world = world_on(&storage).await;
        let answers = one_failing_batch(&world, &storage, how).await;
        assert!(answers.iter().all(|(_, error)| matches!(error, LedgerError::Unknown(_))), "{answers:?}");

        let ledger = world.ledger();
        let closed = |error| matches!(error, LedgerError::Unavailable(_));
        assert!(closed(
            ledger.authorize(authorize(&world.terms(1), PAYER, owner(1), "local")).await.unwrap_err()
        ));
        assert!(closed(ledger.balance(public(PAYER), xts()).await.unwrap_err()));
        assert!(closed(ledger.statement(answers[0].0.id()).await.unwrap_err()));
        assert!(closed(ledger.check().await.unwrap_err()));

        world.restart();
        let landed = if how == Failure::Landed { 50 } else { 0 };
        assert_eq!(world.payments("held").await, landed + 1);
        for (terms, _) in &answers {
            let again = world.authorize(terms).await.unwrap();
            assert_eq!(again.standing, Standing::Owner { takeover: false });
        }
        assert_eq!(world.payments("held").await, 51, "each payment once, wherever the failure struck");
        assert_eq!(world.money().await, (FUNDS - 50_001, 0, 50_001));
    }
}

#[tokio::test]
async fn t18_an_unknown_capture_presented_again_is_captured_once() {
    for how in [Failure::Lost, Failure::Landed] {
        let storage = SharedStorage::default();
        let mut world = world_on(&storage).await;
        let id = world.held(&world.terms(1_000)).await;
        storage.fail_after(0, how);
        let list = || vec![(capture(id, 600, true), None)];
        let operate = farthing_ledger::command::Operate::sign(&world.id(), &secret(AUTHORIZER), list());
        let error = world.ledger().operate(operate).await.unwrap_err();
        assert!(matches!(error, LedgerError::Unknown(_)), "{error}");
        world.restart();
        world.capture(id, 600).await.unwrap();
        assert_eq!(world.money().await, (FUNDS - 600, 600, 0));
        assert_eq!(world.entries().await, 5, "genesis, asset, deposit, authorize, capture");
    }
}

#[tokio::test]
async fn a_refusal_in_a_batch_that_fails_is_unknown_too() {
    let storage = SharedStorage::default();
    let world = world_on(&storage).await;
    let before = storage.commits();
    storage.hold_commits(true);
    let first = spawn(world.ledger(), &world.terms(1));
    while storage.commits() == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    storage.fail_after(0, Failure::Lost);
    let (poor, rich) =
        (spawn(world.ledger(), &world.terms(2 * FUNDS)), spawn(world.ledger(), &world.terms(1)));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    storage.hold_commits(false);
    assert!(first.await.unwrap().is_ok());
    assert!(matches!(poor.await.unwrap(), Err(LedgerError::Unknown(_))));
    assert!(matches!(rich.await.unwrap(), Err(LedgerError::Unknown(_))));
}

#[test]
fn a_ledger_opens_only_with_the_key_and_the_options_it_was_made_with() {
    let storage = SharedStorage::default();
    let open = |key: u8, options: Options| Ledger::start(storage.clone(), secret(key), options).map(|_| ());
    open(LEDGER, Options::open_to_all()).unwrap();
    assert!(open(STRANGER, Options::open_to_all()).is_err());
    let fee = Options { fee_bps: 1, fee_recipient: public(SELLER), ..Options::open_to_all() };
    assert!(open(LEDGER, fee).is_err());
    let closed = Options::closed_loop(public(SELLER), farthing_protocol::Amount(1));
    assert!(open(LEDGER, closed).is_err());
    open(LEDGER, Options::open_to_all()).unwrap();
}

#[test]
fn a_ledger_that_lost_or_gained_an_entry_does_not_open() {
    for damage in [(2_u64, Some(vec![1, 2, 3])), (1, None), (1, Some(vec![0]))] {
        let mut storage = SharedStorage::default();
        let open = |storage: &SharedStorage| {
            Ledger::start(storage.clone(), secret(LEDGER), Options::open_to_all()).map(|_| ())
        };
        open(&storage).unwrap();
        open(&storage).expect("an untouched ledger opens again");
        let (sequence, row) = damage;
        let key = (Table::Entry, sequence.to_be_bytes().to_vec());
        storage.commit(&[(key, row)].into()).unwrap();
        let error = open(&storage).unwrap_err();
        assert!(error.to_string().contains("last entry"), "{error}");
    }
}
