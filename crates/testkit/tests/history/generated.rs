//! Histories drawn at random: correct ones pass, and the search says what trying every order says.

use std::time::Instant;

use farthing::protocol::PublicKey;
use farthing::protocol::rail::PaymentId;
use farthing_testkit::history::{Account, Event, History, Outcome, Pays, Step};

fn pays(number: u8) -> Pays {
    let maximum = 10 * u128::from(number % 4 + 1);
    // Payments 0 and 5 have one nonce.
    Pays { payment: PaymentId([number; 32]), maximum, nonce: [number % 5; 32], exact: number == 4 }
}

fn step(dice: &mut fastrand::Rng, payments: u64) -> Step {
    let pays = pays(dice.u64(..payments) as u8);
    let payment = pays.payment;
    let part = [0, 5, 10, 10, 20, 30, 50][dice.u64(..7) as usize];
    let epoch = 1 + dice.u64(..6) / 5;
    match dice.u64(..16) {
        0..=5 => Step::Authorize(pays, [1 + dice.u64(..2) as u8; 16]),
        6 => Step::Charge(pays, part),
        7..=9 => Step::Capture { payment, cumulative: part, last: dice.u64(..3) > 0, epoch },
        10 => Step::Void { payment, epoch },
        11..=12 => Step::Refund { payment, cumulative: part },
        13..=14 => Step::Balance,
        _ => Step::Statement(payment),
    }
}

/// Runs operations one after the other on a model, and records each as if it had been on its way for a time
/// around the moment in which it acted. Some answers are lost; some operations are sent and never act.
fn overlapping(dice: &mut fastrand::Rng, nth: u8, operations: usize, payments: u64, spread: u64) -> History {
    let account = PublicKey([nth; 32]);
    let opening = u128::from(20 * dice.u64(..8));
    let mut model = Account::opened(opening);
    let mut events = Vec::new();
    let spread_before = |dice: &mut fastrand::Rng| dice.u64(..spread) / 2;
    for moment in 1..=operations as u64 {
        let acts = moment * 100 + spread;
        let step = step(dice, payments);
        let sent = acts - spread_before(dice);
        if dice.u64(..30) == 0 {
            events.push(Event { account, step, sent, answered: None });
            continue;
        }
        let mut answers = model.answers(&step);
        let (outcome, after) = answers.swap_remove(dice.u64(..answers.len() as u64) as usize);
        model = after.unwrap_or(model);
        let lost = dice.u64(..30) == 0;
        let answered = acts + 1 + spread_before(dice);
        events.push(Event { account, step, sent, answered: (!lost).then_some((answered, outcome)) });
    }
    History { opening: [(account, opening)].into(), events }
}

#[test]
fn every_history_of_a_correct_account_passes() {
    for seed in 0..400 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let spread = 1 + dice.u64(..900);
        let history = overlapping(&mut dice, 1, 120, 8, spread);
        history.check().unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
    }
}

#[test]
fn thousands_of_operations_of_many_payers_are_judged_in_seconds() {
    let mut history = History::default();
    for nth in 0..50 {
        let one = overlapping(&mut fastrand::Rng::with_seed(1_000 + u64::from(nth)), nth, 400, 12, 900);
        history.opening.extend(one.opening);
        history.events.extend(one.events);
    }
    let start = Instant::now();
    let explained = history.check().unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!((explained.accounts, explained.operations), (50, 20_000));
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

#[test]
fn one_wrong_answer_among_thousands_is_found() {
    let start = Instant::now();
    for seed in 0..40 {
        let mut dice = fastrand::Rng::with_seed(2_000 + seed);
        let mut history = overlapping(&mut dice, 1, 400, 12, 900);
        let from = dice.u64(..300) as usize;
        let read = history.events.iter_mut().skip(from).find_map(|event| match &mut event.answered {
            Some((_, Outcome::Balance(balance))) => Some(balance),
            _ => None,
        });
        // All amounts are multiples of five.
        *read.unwrap() += 1;
        let violation = history.check().expect_err("a wrong balance");
        assert!(violation.trace[0].starts_with("every attempt ends"), "seed {seed}: {violation}");
    }
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

/// Whether any order of any choice of the unknown operations explains the history: all of them are tried.
fn explained_by_brute_force(account: &Account, left: &[Event]) -> bool {
    if left.iter().all(|event| event.answered.is_none()) {
        return true;
    }
    let answered = |event: &Event| event.answered.map_or(u64::MAX, |(moment, _)| moment);
    (0..left.len()).any(|at| {
        let (event, mut rest) = (left[at], left.to_vec());
        rest.remove(at);
        if rest.iter().any(|other| answered(other) < event.sent) {
            return false;
        }
        account.answers(&event.step).into_iter().any(|(outcome, after)| {
            event.answered.is_none_or(|(_, heard)| heard == outcome)
                && explained_by_brute_force(after.as_ref().unwrap_or(account), &rest)
        })
    })
}

#[test]
fn the_search_says_what_trying_every_order_says() {
    let (mut good, mut bad) = (0, 0);
    for seed in 0..6_000 {
        let mut dice = fastrand::Rng::with_seed(0xb0_0000 + seed);
        let mut history = overlapping(&mut dice, 1, 7, 2, 400);
        // Another answer, or another moment, somewhere: it may or may not still be explained.
        for _ in 0..dice.u64(..3) {
            let at = dice.u64(..history.events.len() as u64) as usize;
            let other = history.events[dice.u64(..history.events.len() as u64) as usize].answered;
            let event = &mut history.events[at];
            match (dice.u64(..3), event.answered, other) {
                (0, Some((moment, Outcome::Balance(balance))), _) => {
                    event.answered = Some((moment, Outcome::Balance(balance + 10)));
                }
                (1, Some((moment, _)), Some((_, outcome))) => event.answered = Some((moment, outcome)),
                (2, Some((moment, outcome)), _) => {
                    event.answered = Some((event.sent + 1 + (moment - event.sent) / 8, outcome));
                }
                _ => {}
            }
        }
        let opening = *history.opening.values().next().unwrap();
        let truth = explained_by_brute_force(&Account::opened(opening), &history.events);
        let verdict = history.check();
        assert_eq!(verdict.is_ok(), truth, "seed {seed}: {:#?}\n{:?}", history.events, verdict);
        if truth { good += 1 } else { bad += 1 }
    }
    assert!(good > 1_000 && bad > 1_000, "{good} explained, {bad} not");
}
