//! Several committers on one database: one ledger.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod database;
mod world;

use std::sync::Arc;

use farthing_ledger::command::{AuthorizeReply, Operate, Refusal, Standing};
use farthing_ledger::core::SKEW;
use farthing_ledger::operation::Op;
use farthing_ledger::rows::Payment;
use farthing_ledger::statement::PaymentState;
use farthing_ledger::terms::Terms;
use farthing_ledger::{Ledger, LedgerError, Options};
use farthing_protocol::rail::PaymentId;

use database::{Postgres, second};
use world::*;

async fn two() -> (World, Ledger, Arc<Postgres>) {
    let database = Arc::new(Postgres::default());
    let world = World::open(database.clone()).await;
    let other = second(&world, &database);
    (world, other, database)
}

fn present(
    ledger: &Ledger,
    terms: &Terms,
    by: u8,
) -> tokio::task::JoinHandle<Result<AuthorizeReply, LedgerError>> {
    let (ledger, command) = (ledger.clone(), authorize(terms, PAYER, owner(by), "local"));
    tokio::spawn(async move { ledger.authorize(command).await })
}

async fn operate(ledger: &Ledger, op: Op) -> Result<Payment, Refusal> {
    let operate = Operate::sign(&ledger.id(), &secret(AUTHORIZER), vec![(op, None)]);
    ledger.operate(operate).await.unwrap().remove(0)
}

/// A number that SQL counts.
fn count(database: &Postgres, sql: &str) -> u64 {
    database.0.sql(sql).trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "cargo xtask test"]
async fn t14_duplicates_at_two_processes_hold_once() {
    let (world, other, _database) = two().await;
    for _ in 0..5 {
        let terms = world.terms(1_000);
        let tasks: Vec<_> = (0..100)
            .map(|number| present(if number % 2 == 0 { world.ledger() } else { &other }, &terms, number))
            .collect();
        let (mut owners, mut waiting) = (0, 0);
        for task in tasks {
            match task.await.unwrap().unwrap().standing {
                Standing::Owner { takeover: false } => owners += 1,
                Standing::InProgress => waiting += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((owners, waiting), (1, 99));
    }
    assert_eq!(world.money().await, (FUNDS - 5_000, 0, 5_000));
    assert_eq!(world.entries().await, 8, "genesis, asset, deposit, and five payments");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "cargo xtask test"]
async fn t16_two_processes_race_for_one_balance_and_one_wins() {
    let (world, other, _database) = two().await;
    for _ in 0..20 {
        let (one, two) = (world.terms(FUNDS), world.terms(FUNDS));
        let (first, second) = (present(world.ledger(), &one, 1), present(&other, &two, 2));
        let (first, second) = (first.await.unwrap(), second.await.unwrap());
        assert_eq!(usize::from(first.is_ok()) + usize::from(second.is_ok()), 1);
        let (winner, loser) = if first.is_ok() { (one, second) } else { (two, first) };
        assert_eq!(refusal(loser), Refusal::InsufficientFunds);
        // The money comes back through the other one's stripe.
        operate(&other, void(winner.id())).await.unwrap();
    }
    assert_eq!(world.money().await, (FUNDS, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "cargo xtask test"]
async fn t24_sessions_at_two_processes_hold_no_more_than_the_balance() {
    let (world, other, _database) = two().await;
    let tasks: Vec<_> = (0..200)
        .map(|n| present(if n % 2 == 0 { world.ledger() } else { &other }, &world.terms(30_000), 1))
        .collect();
    let mut admitted = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => admitted += 1,
            Err(error) => assert_eq!(error, LedgerError::Refused(Refusal::InsufficientFunds)),
        }
    }
    assert_eq!(admitted, FUNDS / 30_000);
    assert_eq!(world.money().await, (FUNDS % 30_000, 0, (admitted * 30_000) as i128));
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn t17_one_nonce_pays_once_whichever_process_sees_it_first() {
    let (world, other, _database) = two().await;
    for _ in 0..10 {
        let one = world.terms(100);
        let two = Terms { nonce: one.nonce, ..world.terms(200) };
        let (first, second) = (present(world.ledger(), &one, 1), present(&other, &two, 1));
        let (first, second) = (first.await.unwrap(), second.await.unwrap());
        assert_eq!(usize::from(first.is_ok()) + usize::from(second.is_ok()), 1);
        let loser = if first.is_ok() { second } else { first };
        assert_eq!(refusal(loser), Refusal::NonceConflict);
    }
    assert_eq!(world.payments("held").await, 10);
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn t15_another_process_takes_a_hold_over_and_the_stale_owner_cannot_capture() {
    let (world, other, _database) = two().await;
    let terms = world.terms(1_000);
    let id = world.held(&terms).await;
    assert_eq!(present(&other, &terms, 2).await.unwrap().unwrap().standing, Standing::InProgress);
    world.clock.pass(61);
    let taken = present(&other, &terms, 2).await.unwrap().unwrap();
    assert_eq!((taken.standing, taken.payment.epoch), (Standing::Owner { takeover: true }, 2));
    assert_eq!(world.capture(id, 1_000).await, Err(Refusal::StaleOwner));
    assert_eq!(world.void(id).await, Err(Refusal::StaleOwner));
    operate(&other, Op { epoch: 2, ..capture(id, 1_000, true) }).await.unwrap();
    assert_eq!(world.money().await, (FUNDS - 1_000, 1_000, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "cargo xtask test"]
async fn t17_captures_at_two_processes_capture_once() {
    let (world, other, _database) = two().await;
    for round in 1..=20 {
        let id = world.held(&world.terms(1_000)).await;
        let elsewhere = other.clone();
        let elsewhere = tokio::spawn(async move { operate(&elsewhere, capture(id, 700, true)).await });
        let (here, there) = (world.capture(id, 400).await, elsewhere.await.unwrap());
        assert!(here.is_ok() != there.is_ok(), "{here:?} {there:?}");
        assert_eq!(here.and(there), Err(Refusal::AlreadyCaptured));
        assert_eq!(world.payments("captured").await, round);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "cargo xtask test"]
async fn credits_lie_in_stripes_until_somebody_debits() {
    let (world, other, database) = two().await;
    let mut ids: Vec<PaymentId> = Vec::new();
    for number in 0..20 {
        let id = world.held(&world.terms(1_000)).await;
        operate(if number % 2 == 0 { world.ledger() } else { &other }, capture(id, 900, true)).await.unwrap();
        ids.push(id);
    }
    let seller = format!("account = '\\x{}'", hex::encode(public(SELLER).0));
    let stripes = format!("SELECT count(*) FROM balance WHERE stripe > 0 AND {seller}");
    assert_eq!(count(&database, &stripes), 2, "one for each committer");
    assert_eq!(world.money().await, (FUNDS - 18_000, 18_000, 0));
    assert_eq!(world.refund(ids[0], 901).await, Err(Refusal::AboveMaximum));
    world.refund(ids[0], 300).await.unwrap();
    assert_eq!(count(&database, &stripes), 0, "a refund folds them");
    assert_eq!(count(&database, &format!("SELECT amount FROM balance WHERE {seller}")), 17_700);
    assert_eq!(world.money().await, (FUNDS - 17_700, 17_700, 0));
    operate(&other, refund(ids[1], 900)).await.unwrap();
    assert_eq!(world.money().await, (FUNDS - 16_800, 16_800, 0));
    // All of it can be refunded, whoever captured it.
    for id in &ids {
        operate(&other, refund(*id, 900)).await.unwrap();
    }
    assert_eq!(world.money().await, (FUNDS, 0, 0));
}

/// Both pay and are paid, so that each debits what the other credits: an order of locks that is wrong anywhere
/// shows as deadlocks, which take a second each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "cargo xtask test"]
async fn payers_that_pay_each_other_at_two_processes_do_not_block() {
    let (world, other, database) = two().await;
    world.fund(OTHER_PAYER, FUNDS).await.unwrap();
    let pairs = [(PAYER, OTHER_PAYER), (OTHER_PAYER, PAYER)];
    let tasks: Vec<_> = (0..24_u8)
        .map(|number| {
            let ledger = if number % 2 == 0 { world.ledger().clone() } else { other.clone() };
            let (payer, payee) = pairs[usize::from(number / 2 % 2)];
            let payments: Vec<Terms> = (0..10)
                .map(|_| Terms {
                    payer: public(payer),
                    signer: public(payer),
                    payee: public(payee),
                    ..world.terms(100)
                })
                .collect();
            tokio::spawn(async move {
                for terms in payments {
                    ledger.authorize(authorize(&terms, payer, owner(1), "local")).await.unwrap();
                    operate(&ledger, capture(terms.id(), 60, true)).await.unwrap();
                    operate(&ledger, refund(terms.id(), 20)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(world.balance(PAYER).await + world.balance(OTHER_PAYER).await, 2 * FUNDS);
    assert_eq!(world.money().await, (FUNDS, 0, 0), "both paid the same");
    assert_eq!(world.payments("captured").await, 240);
    let chains = count(&database, "SELECT count(DISTINCT chain) FROM entry");
    assert_eq!(chains, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "cargo xtask test"]
async fn t03_what_one_process_proved_absent_no_other_authorizes() {
    let (world, other, _database) = two().await;
    let (mut proofs, mut holds) = (0, 0);
    for round in 0..60 {
        let now = world.clock.now();
        let terms = Terms { valid_before: now, ..world.terms(100) };
        let (id, ledger, clock) = (terms.id(), world.ledger().clone(), world.clock.clone());
        let paying = present(&other, &terms, 1);
        let proving = tokio::spawn(async move {
            if round % 3 > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(round % 3)).await;
            }
            clock.set(now + SKEW + 1);
            ledger.statement(id).await.unwrap()
        });
        let (paid, proof) = (paying.await.unwrap(), proving.await.unwrap());
        assert_eq!(proof.as_of, now + SKEW + 1);
        match (proof.state, paid) {
            (PaymentState::Held, Ok(_)) => holds += 1,
            (PaymentState::Absent, Err(LedgerError::Refused(Refusal::Expired))) => proofs += 1,
            other => panic!("{other:?}"),
        }
        let again = present(&other, &terms, 1).await.unwrap();
        assert_eq!(again.is_ok(), proof.state == PaymentState::Held);
        world.clock.pass(1);
    }
    assert_eq!(world.payments("held").await, holds);
    assert!(proofs + holds == 60, "{proofs} proofs, {holds} holds");
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_claim_that_came_to_nothing_leaves_no_trace() {
    let (world, other, database) = two().await;
    for _ in 0..10 {
        let poor = world.terms(2 * FUNDS);
        assert_eq!(refusal(world.authorize(&poor).await), Refusal::InsufficientFunds);
        let absent = other.statement(poor.id()).await.unwrap();
        assert_eq!(absent.state, PaymentState::Absent);
        let nobody = Terms { payer: public(STRANGER), signer: public(STRANGER), ..world.terms(1) };
        let refused = world.authorize_by(&nobody, STRANGER, owner(1), "local").await;
        assert_eq!(refusal(refused), Refusal::InsufficientFunds);
    }
    assert_eq!(count(&database, "SELECT count(*) FROM payment_id"), 0);
    let stranger = hex::encode(public(STRANGER).0);
    assert_eq!(count(&database, &format!("SELECT count(*) FROM balance WHERE account = '\\x{stranger}'")), 0);
    world.held(&world.terms(1)).await;
    assert_eq!(count(&database, "SELECT count(*) FROM payment_id"), 1);
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_removed_key_does_not_pay_at_another_process() {
    use farthing_ledger::admin::{KeyChange, Scope};
    use farthing_ledger::command::Signed;
    let (world, other, _database) = two().await;
    let change = |scope, sequence| {
        let change = key_change(SECOND_KEY, scope, 0, sequence);
        Signed::<KeyChange>::sign(&world.id(), change, &secret(PAYER))
    };
    let by_second = || Terms { signer: public(SECOND_KEY), ..world.terms(10) };
    world.ledger().change_keys(change(Some(Scope::Pay), 1)).await.unwrap();
    let ledger = other.clone();
    let pay = |terms: Terms| {
        let (ledger, command) = (ledger.clone(), authorize(&terms, SECOND_KEY, owner(1), "local"));
        tokio::spawn(async move { ledger.authorize(command).await })
    };
    pay(by_second()).await.unwrap().unwrap();
    let racing: Vec<_> = (0..20).map(|_| pay(by_second())).collect();
    world.ledger().change_keys(change(None, 2)).await.unwrap();
    assert_eq!(refusal(pay(by_second()).await.unwrap()), Refusal::UnauthorizedSigner);
    for payment in racing {
        let _ = payment.await.unwrap();
    }
    // History is checked in the order of positions: a payment behind the removal would be a fault.
    world.report().await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn t20_a_hold_of_one_process_ends_at_the_other() {
    let (world, other, _database) = two().await;
    let terms = world.terms(40_000);
    let id = world.held(&terms).await;
    world.clock.set(terms.capture_deadline + 1);
    assert_eq!(other.balance(public(PAYER), xts()).await.unwrap().0, FUNDS);
    assert_eq!(world.capture(id, 40_000).await, Err(Refusal::HoldEnded));
    assert_eq!(world.payments("reclaimed").await, 1);
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn the_database_keeps_the_time_unless_a_test_does() {
    let database = Postgres::default();
    let config = database.0.url().parse::<farthing_ledger::engine::PostgresConfig>().unwrap();
    let config = config.with_schema(&database.0.name).unwrap();
    // A clock that is an hour slow, and one that is years ahead.
    for wrong in [0, u64::MAX / 2] {
        let options = Options { clock: VirtualClock::at(wrong).clock(), ..Options::open_to_all() };
        let ledger = Ledger::postgres(&config, secret(LEDGER), options).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let as_of = ledger.statement(PaymentId([1; 32])).await.unwrap().as_of;
        assert!(as_of.abs_diff(now) <= 2, "{as_of} is not {now}");
    }
}

#[test]
#[ignore = "cargo xtask test"]
fn processes_that_start_at_once_on_an_empty_database_make_one_ledger() {
    for _ in 0..3 {
        let database = Arc::new(Postgres::default());
        let open = |database: Arc<Postgres>| {
            std::thread::spawn(move || {
                let options = Options { clock: VirtualClock::at(START).clock(), ..Options::open_to_all() };
                database.open(options)
            })
        };
        let opened: Vec<_> = (0..4).map(|_| open(database.clone())).collect();
        let ledgers: Vec<Ledger> = opened.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(ledgers.iter().all(|ledger| ledger.id() == ledgers[0].id()));
        assert_eq!(count(&database, "SELECT count(*) FROM entry"), 1, "one genesis");
        assert_eq!(count(&database, "SELECT count(*) FROM schema_version"), 1);
    }
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_process_goes_on_with_the_chain_of_one_that_has_ended() {
    let (mut world, other, database) = two().await;
    operate(&other, capture(world.held(&world.terms(100)).await, 100, true)).await.unwrap();
    for _ in 0..3 {
        world.restart();
        let id = world.held(&world.terms(100)).await;
        operate(&other, capture(id, 100, true)).await.unwrap();
    }
    assert_eq!(database.0.sql("SELECT DISTINCT chain FROM entry ORDER BY 1"), "0\n1\n");
    world.report().await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn what_was_tampered_with_is_found_over_two_chains() {
    let (world, other, database) = two().await;
    for _ in 0..3 {
        let id = world.held(&world.terms(1_000)).await;
        operate(&other, capture(id, 700, true)).await.unwrap();
    }
    world.held(&world.terms(1_000)).await;
    assert_eq!(world.report().await.faults, Vec::<String>::new());
    let damages = [
        "UPDATE entry SET position = position + 1 WHERE chain = 1 AND sequence = 2",
        "UPDATE entry SET bytes = set_byte(bytes, 60, 255 - get_byte(bytes, 60)) WHERE chain = 1 AND sequence = 2",
        "DELETE FROM entry WHERE chain = 1 AND sequence = 3",
        "UPDATE entry SET chain = 7 WHERE chain = 1",
        "DELETE FROM meta WHERE key = 'head/\\000\\000\\000\\001'::bytea",
        "UPDATE balance SET amount = amount + 1 WHERE stripe = 2 AND book = 1",
        "UPDATE payment SET captured = captured - 1 WHERE captured > 0",
        "UPDATE payment SET capture_deadline = capture_deadline + 1 WHERE state = 1",
        "UPDATE payment SET state = 9 WHERE state = 1",
        "UPDATE payment SET epoch = 1.0e19 WHERE state = 1",
        "DELETE FROM replay",
        "UPDATE asset SET scale = 5",
    ];
    for damage in damages {
        let name = database.0.name.clone();
        // A copy is damaged: the ledger itself goes on.
        let copy = format!("{name}_copy");
        let tables = database.0.sql(&format!("SELECT tablename FROM pg_tables WHERE schemaname = '{name}'"));
        let mut sql = format!("DROP SCHEMA IF EXISTS {copy} CASCADE; CREATE SCHEMA {copy}; ");
        for table in tables.lines() {
            sql += &format!("CREATE TABLE {copy}.{table} (LIKE {name}.{table} INCLUDING INDEXES); ");
            sql += &format!("INSERT INTO {copy}.{table} SELECT * FROM {name}.{table}; ");
        }
        database.0.cluster().sql(&sql);
        let report = |config: &farthing_ledger::engine::PostgresConfig| {
            let mut rows = farthing_ledger::engine::PostgresStorage::read(config).unwrap();
            farthing_ledger::check::check(&mut |table, from, limit| rows.scan(table, from, limit)).unwrap()
        };
        let config = database.config().with_schema(&copy).unwrap();
        assert_eq!(report(&config).faults, Vec::<String>::new(), "the copy is whole");
        database.0.cluster().sql(&format!("SET search_path = {copy}; {damage}"));
        assert_ne!(report(&config).faults, Vec::<String>::new(), "{damage}");
    }
    world.report().await;
}
