//! Many commands at once: groups under one signature, and batches of strangers.

use farthing_ledger::LedgerError;
use farthing_ledger::command::{Operate, Refusal};
use farthing_ledger::terms::Terms;
use farthing_protocol::Amount;

use crate::world::*;

pub(crate) async fn a_group_of_64_operations_is_one_entry_and_refusals_harm_nobody_else(
    engine: impl Engine + 'static,
) {
    let world = World::open(engine).await;
    let mut ids = Vec::new();
    for _ in 0..64 {
        ids.push(world.held(&world.terms(1_000)).await);
    }
    let entries = world.entries().await;
    // Each fourth asks for too much, and each that follows it names a stale owner.
    let group: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(number, id)| match number % 4 {
            0 => (capture(*id, 1_001, true), None),
            1 => (farthing_ledger::operation::Op { epoch: 2, ..void(*id) }, None),
            2 => (void(*id), None),
            _ => (capture(*id, 600, true), None),
        })
        .collect();
    let operate = Operate::sign(&world.id(), &secret(AUTHORIZER), group);
    let results = world.ledger().operate(operate.clone()).await.unwrap();
    for (number, result) in results.iter().enumerate() {
        match number % 4 {
            0 => assert_eq!(*result, Err(Refusal::AboveMaximum)),
            1 => assert_eq!(*result, Err(Refusal::StaleOwner)),
            2 => assert_eq!(result.as_ref().unwrap().captured, Amount::ZERO),
            _ => assert_eq!(result.as_ref().unwrap().captured, Amount(600)),
        }
    }
    assert_eq!(world.entries().await, entries + 1);
    assert_eq!(world.money().await, (FUNDS - 16 * 600 - 32_000, 16 * 600, 32_000));
    assert_eq!(world.ledger().operate(operate).await.unwrap(), results, "the same group again");
    assert_eq!(world.entries().await, entries + 1);
}

pub(crate) async fn one_refusal_never_fails_another(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let entries = world.entries().await;
    let tasks: Vec<_> = (0..200_u32)
        .map(|number| {
            let good = world.terms(1_000);
            let (terms, expected) = match number % 4 {
                0 => (good, None),
                1 => (Terms { max_amount: Amount(2 * FUNDS), ..good }, Some(Refusal::InsufficientFunds)),
                2 => (Terms { valid_before: START - 6, ..good }, Some(Refusal::Expired)),
                _ => (Terms { mandate: [1; 32], ..good }, Some(Refusal::Mandate)),
            };
            let (ledger, command) = (world.ledger().clone(), authorize(&terms, PAYER, owner(1), "local"));
            (expected, tokio::spawn(async move { ledger.authorize(command).await }))
        })
        .collect();
    for (expected, task) in tasks {
        assert_eq!(task.await.unwrap().err(), expected.map(LedgerError::Refused));
    }
    assert_eq!(world.entries().await, entries + 50);
    assert_eq!(world.money().await, (FUNDS - 50_000, 0, 50_000));
}

pub(crate) async fn captures_race_with_voids_and_one_of_them_wins(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let mut captured = 0;
    for _ in 0..40 {
        let id = world.held(&world.terms(1_000)).await;
        let (one, two) = tokio::join!(world.capture(id, 1_000), world.void(id));
        match (one, two) {
            (Ok(_), Err(refusal)) => {
                assert_eq!(refusal, Refusal::AlreadyCaptured);
                captured += 1;
            }
            (Err(refusal), Ok(_)) => assert_eq!(refusal, Refusal::HoldEnded),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(world.money().await, (FUNDS - captured * 1_000, captured * 1_000, 0));
}

pub(crate) async fn a_check_while_payments_run_balances(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let tasks: Vec<_> = (0..150)
        .map(|_| {
            let terms = world.terms(1_000);
            let (ledger, command) = (world.ledger().clone(), authorize(&terms, PAYER, owner(1), "local"));
            tokio::spawn(async move {
                ledger.authorize(command).await.unwrap();
                let list = vec![(capture(terms.id(), 700, true), None)];
                let operate = Operate::sign(&ledger.id(), &secret(AUTHORIZER), list);
                ledger.operate(operate).await.unwrap().remove(0).unwrap();
            })
        })
        .collect();
    for _ in 0..10 {
        assert_eq!(world.report().await.assets["XTS"].issued, FUNDS as i128);
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(world.money().await, (FUNDS - 150 * 700, 150 * 700, 0));
}
