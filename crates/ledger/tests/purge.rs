//! What the ledger forgets, when, and that nothing can be spent again for it: THREATS T03.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod world;

use farthing_ledger::command::{Operate, Refusal, Standing};
use farthing_ledger::operation::{Op, answer_hash};
use farthing_ledger::rows::Table;
use farthing_ledger::statement::PaymentState;
use farthing_ledger::terms::Terms;

use world::*;

const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

/// Rows of replay keys, answers, payments and open holds.
fn counts(storage: &SharedStorage) -> [usize; 4] {
    let mut rows = storage.copy();
    [Table::Replay, Table::Answer, Table::Payment, Table::Due].map(|table| rows_of(&mut rows, table).len())
}

/// Lets the ledger commit a few times, as traffic would.
async fn traffic(world: &World) {
    for _ in 0..3 {
        let id = world.held(&world.terms(1)).await;
        world.void(id).await.unwrap();
    }
}

#[tokio::test]
async fn t03_a_spent_payment_is_refused_after_everything_about_it_was_forgotten() {
    let storage = SharedStorage::default();
    let world = World::open(Memory(storage.clone())).await;
    let terms = world.terms(1_000);
    let id = world.held(&terms).await;
    world.capture_with(id, 1_000, b"the answer").await.unwrap();
    assert_eq!(counts(&storage), [1, 1, 1, 0]);

    world.clock.pass(2 * HOUR);
    traffic(&world).await;
    assert_eq!(counts(&storage), [3, 0, 4, 0], "its replay key and its answer are gone, its record is not");
    let again = world.authorize(&terms).await.unwrap();
    assert_eq!((again.standing, again.payment.state), (Standing::Ended(None), PaymentState::Captured));
    let moved = Terms { digest: farthing_protocol::RequestDigest([8; 32]), ..terms.clone() };
    assert_eq!(refusal(world.authorize(&moved).await), Refusal::Expired);

    world.clock.pass(91 * DAY);
    traffic(&world).await;
    traffic(&world).await;
    assert_eq!(counts(&storage), [6, 0, 6, 0], "its record is gone as well");
    let entries = world.entries().await;
    assert_eq!(refusal(world.authorize(&terms).await), Refusal::Expired);
    assert_eq!(world.capture(id, 1_000).await, Err(Refusal::NoSuchPayment));
    assert_eq!(world.refund(id, 1_000).await, Err(Refusal::NoSuchPayment));
    assert_eq!(world.entries().await, entries);
    assert_eq!(world.money().await, (FUNDS - 1_000, 1_000, 0));
    assert_eq!(world.payments("captured").await, 1, "and history still tells of it");
}

#[tokio::test]
async fn t03_a_payment_is_known_to_the_last_second_in_which_it_could_be_presented() {
    let storage = SharedStorage::default();
    let world = World::open(Memory(storage.clone())).await;
    let longest = Terms { valid_before: START + HOUR + 5, ..world.terms(1_000) };
    let id = world.held(&longest).await;
    world.capture_with(id, 1_000, b"the answer").await.unwrap();
    let moved = Terms { digest: farthing_protocol::RequestDigest([8; 32]), ..longest.clone() };
    for step in 1..=12 {
        world.clock.set(START + step * 300);
        traffic(&world).await;
    }
    // A thousand payments of pressure on whatever keeps the keys.
    for _ in 0..1_000 {
        let id = world.held(&world.terms(1)).await;
        world.void(id).await.unwrap();
    }
    world.clock.set(longest.valid_before + 5);
    assert_eq!(refusal(world.authorize(&moved).await), Refusal::NonceConflict);
    let again = world.authorize(&longest).await.unwrap();
    assert_eq!(again.standing, Standing::Ended(Some(b"the answer".to_vec())));
    assert_eq!(world.balance(PAYER).await, FUNDS - 1_000);
}

#[tokio::test]
async fn storage_stays_flat_while_payments_flow() {
    let storage = SharedStorage::default();
    let world = World::open(Memory(storage.clone())).await;
    let mut highest = [0; 4];
    for number in 0..600 {
        world.clock.pass(60);
        let terms = world.terms(1);
        let id = world.held(&terms).await;
        if number % 3 == 0 {
            world.void(id).await.unwrap();
        } else {
            world.capture_with(id, 1, b"the answer").await.unwrap();
        }
        for (highest, now) in highest.iter_mut().zip(counts(&storage)) {
            *highest = (*highest).max(now);
        }
    }
    // One payment a minute, remembered for 70 minutes and 10 seconds.
    assert!(highest[0] <= 72 && highest[1] <= 49 && highest[3] <= 1, "{highest:?}");
    assert_eq!(highest[2], 600, "records live for 90 days");
    world.report().await;
}

#[tokio::test]
async fn storage_stays_flat_when_batches_are_large() {
    let storage = SharedStorage::default();
    let world = World::open(Memory(storage.clone())).await;
    let (mut highest, each) = ([0; 4], 64);
    for _ in 0..40 {
        world.clock.pass(30 * 60);
        let mut tasks = Vec::new();
        let mut group = Vec::new();
        for _ in 0..each {
            let terms = world.terms(1);
            let (ledger, command) = (world.ledger().clone(), authorize(&terms, PAYER, owner(1), "local"));
            tasks.push(tokio::spawn(async move { ledger.authorize(command).await }));
            let answer = Op { answer: answer_hash(Some(b"x")), ..capture(terms.id(), 1, true) };
            group.push((answer, Some(b"x".to_vec())));
        }
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let operate = Operate::sign(&world.id(), &secret(AUTHORIZER), group);
        assert!(world.ledger().operate(operate).await.unwrap().iter().all(Result::is_ok));
        for (highest, now) in highest.iter_mut().zip(counts(&storage)) {
            *highest = (*highest).max(now);
        }
    }
    // Two or three rounds fall into 70 minutes; one more waits for its cursor.
    assert!(highest[0] <= 4 * each && highest[1] <= 4 * each, "{highest:?}");
    world.report().await;
}

#[tokio::test]
async fn records_of_more_than_90_days_go() {
    let storage = SharedStorage::default();
    let world = World::open(Memory(storage.clone())).await;
    let mut highest = 0;
    for _ in 0..200 {
        world.clock.pass(DAY);
        for _ in 0..3 {
            let id = world.held(&world.terms(1)).await;
            world.capture(id, 1).await.unwrap();
        }
        highest = highest.max(counts(&storage)[2]);
    }
    assert!(highest <= 3 * 92, "{highest}");
    let report = world.report().await;
    assert_eq!((report.payments["captured"], world.balance(SELLER).await), (600, 600));
}

#[tokio::test]
async fn an_answer_of_a_late_capture_outlives_the_purge_of_an_early_one() {
    let storage = SharedStorage::default();
    let world = World::open(Memory(storage.clone())).await;
    let long = Terms { capture_deadline: START + 5 * DAY, refund_deadline: 0, ..world.terms(1_000) };
    let id = world.held(&long).await;
    let part = Op { answer: answer_hash(Some(b"part")), ..capture(id, 100, false) };
    world.operate_by(AUTHORIZER, part, Some(b"part")).await.unwrap();
    world.clock.pass(2 * HOUR);
    world.capture_with(id, 1_000, b"whole").await.unwrap();
    traffic(&world).await;
    let again = world.authorize(&long).await.unwrap();
    assert_eq!(again.standing, Standing::Ended(Some(b"whole".to_vec())));
    world.clock.pass(2 * HOUR);
    traffic(&world).await;
    traffic(&world).await;
    assert_eq!(counts(&storage)[1], 0, "and it goes in its turn");
}

#[tokio::test]
async fn a_refused_operation_of_a_stranger_forgets_nobodys_answer() {
    let storage = SharedStorage::default();
    let world = World::open(Memory(storage.clone())).await;
    let victim = Terms { capture_deadline: START + 5 * DAY, refund_deadline: 0, ..world.terms(1_000) };
    let mine = Terms { receiver_authorizer: public(STRANGER), ..world.terms(1) };
    let (id, own) = (world.held(&victim).await, world.held(&mine).await);
    let hash = answer_hash(Some(b"x"));
    let hostile = [own, id].map(|id| (Op { answer: hash, ..capture(id, 1, true) }, Some(b"x".to_vec())));
    let operate = Operate::sign(&world.id(), &secret(STRANGER), hostile.to_vec());
    let results = world.ledger().operate(operate).await.unwrap();
    assert!(results[0].is_ok() && results[1] == Err(Refusal::NotReceiverAuthorizer));
    world.clock.pass(70 * 60);
    world.capture_with(id, 1_000, b"the answer").await.unwrap();
    world.clock.pass(60);
    traffic(&world).await;
    let again = world.authorize(&victim).await.unwrap();
    assert_eq!(again.standing, Standing::Ended(Some(b"the answer".to_vec())));
}

#[tokio::test]
async fn an_answer_of_a_hold_that_ended_by_itself_goes_too() {
    let storage = SharedStorage::default();
    let world = World::open(Memory(storage.clone())).await;
    let (reclaimed, voided) = (world.held(&world.terms(1_000)).await, world.held(&world.terms(1_000)).await);
    for id in [reclaimed, voided] {
        let part = Op { answer: answer_hash(Some(b"part")), ..capture(id, 100, false) };
        world.operate_by(AUTHORIZER, part, Some(b"part")).await.unwrap();
    }
    world.void(voided).await.unwrap();
    world.clock.pass(HOLD + 1);
    traffic(&world).await;
    assert_eq!(counts(&storage)[1], 2);
    world.clock.pass(2 * HOUR);
    traffic(&world).await;
    traffic(&world).await;
    assert_eq!(counts(&storage)[1], 0);
    assert_eq!(world.money().await, (FUNDS - 200, 200, 0));
}
