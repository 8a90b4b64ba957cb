//! Payments in doubt: what a silent server left behind ends, once, and what is not in doubt is not touched.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod world;

use farthing_ledger::command::{Operate, Refusal, Standing};
use farthing_ledger::engine::{Row, Snapshot, Storage, StorageError};
use farthing_ledger::recovery::Doubts;
use farthing_ledger::rows::Table;
use farthing_ledger::statement::PaymentState;
use farthing_ledger::terms::Terms;
use farthing_protocol::rail::Owner;

use world::*;

/// Seconds of the lease that [`owner`] takes.
const LEASE: u64 = 60;
const HELD: u128 = 1_000;

async fn world() -> World {
    World::open(Memory::default()).await
}

async fn state(world: &World, terms: &Terms) -> PaymentState {
    world.ledger().payment(terms.id()).await.unwrap().0.unwrap().state
}

#[tokio::test]
async fn a_hold_of_a_silent_server_is_given_back_in_the_sellers_name() {
    let mut world = world().await;
    let terms = world.terms(HELD);
    world.held(&terms).await;
    world.restart();

    // While the lease runs, its server may be at work.
    world.clock.pass(LEASE - 1);
    let early = world.ledger().recover(Some(&secret(AUTHORIZER))).await.unwrap();
    assert_eq!((early.leased, early.next_lapse), (1, Some(START + LEASE)));
    assert_eq!((early.voided.len(), early.waiting.len()), (0, 0));
    assert_eq!(state(&world, &terms).await, PaymentState::Held);

    world.clock.pass(1);
    let recovered = world.ledger().recover(Some(&secret(AUTHORIZER))).await.unwrap();
    assert_eq!(recovered.voided, [terms.id()]);
    assert_eq!((recovered.leased, recovered.next_lapse, recovered.now), (0, None, START + LEASE));
    assert_eq!(state(&world, &terms).await, PaymentState::Voided);
    assert_eq!(world.money().await, (FUNDS, 0, 0));

    let entries = world.entries().await;
    let again = world.ledger().recover(Some(&secret(AUTHORIZER))).await.unwrap();
    assert!(again.voided.is_empty() && again.waiting.is_empty() && again.reclaimed.is_empty());
    assert_eq!(world.entries().await, entries, "nothing more to do leaves no trace");
}

#[tokio::test]
async fn without_the_sellers_key_a_hold_waits_for_its_deadline_and_says_when() {
    let world = world().await;
    let terms = world.terms(HELD);
    world.held(&terms).await;
    world.clock.pass(LEASE);
    for key in [None, Some(secret(STRANGER))] {
        let recovered = world.ledger().recover(key.as_ref()).await.unwrap();
        let [waiting] = recovered.waiting.as_slice() else { panic!("{recovered:?}") };
        assert_eq!((waiting.payment, waiting.held.0), (terms.id(), HELD));
        assert_eq!((waiting.capture_deadline, waiting.lease_until), (START + HOLD, START + LEASE));
        assert_eq!(waiting.receiver_authorizer, public(AUTHORIZER));
        assert!(recovered.voided.is_empty() && recovered.taken_over.is_empty());
    }
    assert_eq!(state(&world, &terms).await, PaymentState::Held);
    // At the deadline no key is needed.
    world.clock.set(START + HOLD + 1);
    let recovered = world.ledger().recover(None).await.unwrap();
    assert_eq!((recovered.reclaimed, recovered.waiting), (vec![terms.id()], vec![]));
    assert_eq!(world.money().await, (FUNDS, 0, 0));
    assert!(world.ledger().recover(None).await.unwrap().reclaimed.is_empty());
}

#[tokio::test]
async fn a_hold_is_in_doubt_from_the_second_its_lease_lapses_until_it_ends() {
    let world = world().await;
    let terms = world.terms(HELD);
    world.held(&terms).await;
    for (at, lapsed) in [(LEASE - 1, 0), (LEASE, 1), (HOLD, 1), (HOLD + 1, 0)] {
        world.clock.set(START + at);
        let doubts = world.ledger().in_doubt().await.unwrap();
        assert_eq!(doubts.lapsed.len(), lapsed, "{at}");
        assert_eq!(doubts.leased, u64::from(at < LEASE), "{at}");
    }
}

#[tokio::test]
async fn what_was_captured_stays_captured_and_the_rest_is_given_back() {
    let world = world().await;
    let terms = world.terms(HELD);
    let id = world.held(&terms).await;
    world.operate(capture(id, 300, false)).await.unwrap();
    world.clock.pass(LEASE);
    let doubts = world.ledger().in_doubt().await.unwrap();
    assert_eq!(doubts.lapsed[0].held.0, HELD - 300);
    let recovered = world.ledger().recover(Some(&secret(AUTHORIZER))).await.unwrap();
    assert_eq!(recovered.voided, [id]);
    assert_eq!(state(&world, &terms).await, PaymentState::Captured);
    assert_eq!(world.money().await, (FUNDS - 300, 300, 0));
}

#[tokio::test]
async fn a_takeover_between_the_look_and_the_void_is_somebody_elses_and_no_error() {
    let world = world().await;
    let terms = world.terms(HELD);
    let id = world.held(&terms).await;
    world.clock.pass(LEASE);
    let mut recovered = world.ledger().in_doubt().await.unwrap().recovered();
    let voids = recovered.take_voids(&world.id(), &secret(AUTHORIZER));
    assert_eq!((voids.len(), recovered.waiting.len()), (1, 0));

    let taken = world.authorize_by(&terms, PAYER, owner(2), "local").await.unwrap();
    assert_eq!(taken.standing, Standing::Owner { takeover: true });
    let voids = voids.into_iter().next().unwrap();
    let (ids, results) = (voids.payments(), world.ledger().operate(voids).await.unwrap());
    assert!(results.iter().all(|result| matches!(result, Err(Refusal::LeaseRuns | Refusal::StaleOwner))));
    recovered.heard(&ids, &results.iter().map(Result::is_ok).collect::<Vec<_>>());
    assert_eq!((recovered.taken_over, recovered.voided), (vec![id], vec![]));
    // The new owner has lost nothing.
    let capture = farthing_ledger::operation::Op { epoch: 2, ..capture(id, HELD, true) };
    assert_eq!(world.operate(capture).await.unwrap().state, PaymentState::Captured);
}

#[tokio::test]
async fn an_owner_that_comes_back_in_between_keeps_its_hold() {
    let world = world().await;
    let terms = world.terms(HELD);
    let id = world.held(&terms).await;
    world.clock.pass(LEASE);
    let mut recovered = world.ledger().in_doubt().await.unwrap().recovered();
    let voids = recovered.take_voids(&world.id(), &secret(AUTHORIZER)).remove(0);
    // The same owner takes its lease anew, which changes no epoch.
    assert_eq!(world.authorize(&terms).await.unwrap().standing, Standing::Owner { takeover: false });
    assert_eq!(world.ledger().operate(voids.clone()).await.unwrap(), [Err(Refusal::LeaseRuns)]);
    assert_eq!(world.capture(id, HELD).await.unwrap().state, PaymentState::Captured);
    // The twin: without a lease that runs, the very same voids are good.
    assert_eq!(world.ledger().operate(voids).await.unwrap(), [Err(Refusal::AlreadyCaptured)]);
    let other = world.terms(HELD);
    world.held(&other).await;
    world.clock.pass(LEASE);
    assert_eq!(world.ledger().recover(Some(&secret(AUTHORIZER))).await.unwrap().voided, [other.id()]);
}

#[tokio::test]
async fn an_owner_may_void_while_its_lease_runs() {
    let world = world().await;
    let id = world.held(&world.terms(HELD)).await;
    assert_eq!(world.void(id).await.unwrap().state, PaymentState::Voided);
}

#[tokio::test(flavor = "multi_thread")]
async fn t17_recoveries_that_race_with_servers_end_each_hold_once() {
    let world = world().await;
    let mut all = Vec::new();
    for round in 0..600_u64 {
        let terms = world.terms(100);
        // Every third has a server that is at work.
        let lease_seconds = if round % 3 == 0 { 600 } else { 60 };
        let owner = Owner { id: [1; 16], lease_seconds };
        world.authorize_by(&terms, PAYER, owner, "local").await.unwrap();
        all.push(terms);
    }
    world.clock.pass(LEASE);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let ledger = world.ledger().clone();
        tasks.spawn(async move {
            for _ in 0..3 {
                ledger.recover(Some(&secret(AUTHORIZER))).await.unwrap();
            }
        });
    }
    for terms in all.iter().rev() {
        let ledger = world.ledger().clone();
        let capture =
            Operate::sign(&world.id(), &secret(AUTHORIZER), vec![(capture(terms.id(), 100, true), None)]);
        tasks.spawn(async move { drop(ledger.operate(capture).await.unwrap()) });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    let report = world.report().await;
    let (captured, voided) =
        (report.payments["captured"], report.payments.get("voided").copied().unwrap_or(0));
    assert_eq!(captured + voided, 600, "{report:?}");
    for terms in all.iter().step_by(3) {
        assert_eq!(state(&world, terms).await, PaymentState::Captured, "a lease that ran was touched");
    }
    assert_eq!(world.money().await, (FUNDS - u128::from(captured) * 100, u128::from(captured) * 100, 0));
}

/// Counts what is read.
struct Counting {
    rows: Box<dyn Snapshot>,
    payments: u64,
}

impl Snapshot for Counting {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        assert_eq!(table, Table::Payment);
        self.payments += 1;
        self.rows.get(table, key)
    }

    fn scan(&mut self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        assert_eq!(table, Table::Due, "only open holds are listed");
        assert!(limit <= 1_024, "in pages");
        self.rows.scan(table, from, limit)
    }
}

#[tokio::test]
async fn only_open_holds_are_looked_at_and_in_pages() {
    let world = world().await;
    for round in 0..900 {
        let id = world.held(&world.terms(1)).await;
        if round % 3 != 0 {
            world.capture(id, 1).await.unwrap();
        }
    }
    let mut rows = Counting { rows: world.ledger().snapshot().await.unwrap(), payments: 0 };
    let doubts = Doubts::list(&mut rows, START + LEASE).unwrap();
    assert_eq!((doubts.lapsed.len(), doubts.leased, rows.payments), (300, 0, 300));
    let doubts = Doubts::list(&mut rows, START + HOLD + 1).unwrap();
    assert_eq!((doubts.overdue.len(), doubts.lapsed.len()), (300, 0));
}

#[tokio::test]
async fn more_holds_than_one_signature_covers_are_all_given_back() {
    let world = world().await;
    for _ in 0..700 {
        world.held(&world.terms(10)).await;
    }
    world.clock.pass(LEASE);
    let entries = world.entries().await;
    let recovered = world.ledger().recover(Some(&secret(AUTHORIZER))).await.unwrap();
    assert_eq!(recovered.voided.len(), 700);
    assert_eq!(world.money().await, (FUNDS, 0, 0));
    assert_eq!(world.entries().await, entries + 3, "a few signatures cover them all");
}

#[tokio::test]
async fn a_list_of_holds_that_is_damaged_is_an_error_and_not_a_guess() {
    let storage = SharedStorage::default();
    let world = World::open(Memory(storage.clone())).await;
    let id = world.held(&world.terms(HELD)).await;
    assert!(world.ledger().in_doubt().await.is_ok());
    storage.rows().commit(&[((Table::Payment, id.0.to_vec()), None)].into()).unwrap();
    let error = world.ledger().in_doubt().await.unwrap_err().to_string();
    assert!(error.contains("listed as held"), "{error}");
}
