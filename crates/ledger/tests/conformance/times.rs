//! Windows, deadlines and clocks: THREATS T50.

use farthing_ledger::command::{Refusal, Standing};
use farthing_ledger::core::{MAX_HOLD, MAX_RECORD, MAX_WINDOW, SKEW};
use farthing_ledger::statement::PaymentState;
use farthing_ledger::terms::Terms;
use farthing_ledger::{LedgerError, Options};

use crate::world::*;

pub(crate) async fn t50_valid_before_is_judged_with_five_seconds_of_skew(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    assert_eq!(SKEW, 5);
    for (valid_before, accepted) in [(START - 4, true), (START - 5, true), (START - 6, false), (0, false)] {
        let answer = world.authorize(&Terms { valid_before, ..world.terms(100) }).await;
        assert_eq!(answer.err(), (!accepted).then_some(LedgerError::Refused(Refusal::Expired)));
    }
    assert_eq!(world.payments("held").await, 2);
}

pub(crate) async fn t50_valid_after_is_judged_with_five_seconds_of_skew(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let times = [
        (0, true),
        (START + 4, true),
        (START + 5, true),
        (START + 6, false),
        (1 << 63, false),
        (u64::MAX, false),
    ];
    for (valid_after, accepted) in times {
        let answer = world.authorize(&Terms { valid_after, ..world.terms(100) }).await;
        assert_eq!(answer.err(), (!accepted).then_some(LedgerError::Refused(Refusal::NotYetValid)));
    }
    assert_eq!(world.payments("held").await, 3);
}

pub(crate) async fn t50_a_window_of_more_than_an_hour_is_refused(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    assert_eq!(MAX_WINDOW, 3_600);
    let longest = START + 3_600 + SKEW;
    for (valid_before, accepted) in
        [(longest - 1, true), (longest, true), (longest + 1, false), (1 << 63, false), (u64::MAX, false)]
    {
        let answer = world.authorize(&Terms { valid_before, ..world.terms(100) }).await;
        assert_eq!(answer.err(), (!accepted).then_some(LedgerError::Refused(Refusal::WindowTooLong)));
    }
    assert_eq!(world.payments("held").await, 2);
}

pub(crate) async fn t50_a_handler_may_outlast_valid_before_but_not_the_capture_deadline(
    engine: impl Engine + 'static,
) {
    let world = World::open(engine).await;
    let (slow, slower) = (world.terms(100), world.terms(100));
    let (first, second) = (world.held(&slow).await, world.held(&slower).await);
    world.clock.set(slow.valid_before + 200);
    assert_eq!(world.authorize(&slow).await.unwrap().standing, Standing::Owner { takeover: false });
    world.capture(first, 100).await.unwrap();
    world.clock.set(slower.capture_deadline + 1);
    assert_eq!(world.capture(second, 100).await, Err(Refusal::HoldEnded));
    assert_eq!(world.money().await, (FUNDS - 100, 100, 0));
}

pub(crate) async fn t50_deadlines_are_in_order_and_within_bounds(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let plain = || Terms { refund_deadline: 0, ..world.terms(100) };
    let captures = [
        (0, false),
        (START - 1, false),
        (START, false),
        (START + 1, true),
        (START + MAX_HOLD, true),
        (START + MAX_HOLD + 1, false),
        (1 << 63, false),
        (u64::MAX, false),
    ];
    for (capture_deadline, accepted) in captures {
        let answer = world.authorize(&Terms { capture_deadline, ..plain() }).await;
        assert_eq!(answer.err(), (!accepted).then_some(LedgerError::Refused(Refusal::Deadline)));
    }
    let refunds = [
        (0, true),
        (1, false),
        (START + HOLD - 1, false),
        (START + HOLD, true),
        (START + MAX_RECORD, true),
        (START + MAX_RECORD + 1, false),
        (1 << 63, false),
        (u64::MAX, false),
    ];
    for (refund_deadline, accepted) in refunds {
        let answer = world.authorize(&Terms { refund_deadline, ..plain() }).await;
        assert_eq!(answer.err(), (!accepted).then_some(LedgerError::Refused(Refusal::Deadline)));
    }
    assert_eq!(world.payments("held").await, 5);
}

const EXTREMES: [u64; 9] =
    [0, 1, SKEW, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, u64::MAX - SKEW, u64::MAX - 1, u64::MAX];

/// Presents every combination of extreme times; returns how many were held.
async fn present_extremes(world: &World) -> u64 {
    let mut held = 0;
    for first in EXTREMES {
        for second in EXTREMES {
            let base = world.terms(1);
            let variants = [
                Terms { valid_after: first, valid_before: second, ..base.clone() },
                Terms { capture_deadline: first, refund_deadline: second, ..base.clone() },
                Terms { valid_before: first, capture_deadline: second, ..base },
            ];
            for terms in variants {
                let terms = Terms { nonce: world.fresh(), ..terms };
                let long = farthing_protocol::rail::Owner { lease_seconds: u32::MAX, ..owner(1) };
                match world.authorize_by(&terms, PAYER, long, "local").await {
                    Ok(reply) => {
                        held += 1;
                        assert!(reply.payment.lease_until <= terms.capture_deadline);
                        world.authorize(&terms).await.unwrap();
                    }
                    Err(LedgerError::Refused(_)) => {}
                    Err(error) => panic!("{terms:?}: {error}"),
                }
                let one_step = Terms { capture_deadline: 0, ..world.one_step(1) };
                let one_step = Terms { valid_before: second, refund_deadline: first, ..one_step };
                match world.charge(&one_step, 1, Some(b"x")).await {
                    Ok(_) | Err(LedgerError::Refused(_)) => {}
                    Err(error) => panic!("{one_step:?}: {error}"),
                }
            }
        }
    }
    held
}

pub(crate) async fn t50_extreme_times_are_judged_without_overflow(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    present_extremes(&world).await;
    world.report().await;
    let id = world.held(&world.terms(100)).await;
    world.capture(id, 100).await.unwrap();
}

pub(crate) async fn t50_a_ledger_at_the_end_of_time_still_judges(engine: impl Engine + 'static) {
    let start = u64::MAX - MAX_RECORD + 1_000;
    let world = World::starting(engine, Options::open_to_all(), start).await;
    let first = world.terms(100);
    let id = world.held(&first).await;
    world.capture_with(id, 100, b"the answer").await.unwrap();
    for now in [u64::MAX - MAX_HOLD, u64::MAX - MAX_WINDOW, u64::MAX - 10, u64::MAX] {
        world.clock.set(now);
        present_extremes(&world).await;
        let terms = world.terms(1);
        assert_eq!(world.authorize(&terms).await.is_ok(), now < u64::MAX, "at {now}");
        world.report().await;
    }
    assert_eq!(world.authorize(&first).await.unwrap().payment.state, PaymentState::Captured);
    assert_eq!(world.ledger().statement(id).await.unwrap().as_of, u64::MAX);
}

pub(crate) async fn t50_a_clock_that_goes_backwards_changes_nothing(engine: impl Engine + 'static) {
    let mut world = World::open(engine).await;
    let (held, unpaid) = (world.terms(1_000), world.terms(100));
    let id = world.held(&held).await;
    world.clock.set(held.capture_deadline + 1);
    assert_eq!(world.balance(PAYER).await, FUNDS);
    for restart in [false, true] {
        world.clock.set(START);
        if restart {
            world.restart();
        }
        assert_eq!(world.capture(id, 1_000).await, Err(Refusal::HoldEnded));
        assert_eq!(refusal(world.authorize(&unpaid).await), Refusal::Expired);
        assert_eq!(world.money().await, (FUNDS, 0, 0));
        let as_of = world.ledger().statement(id).await.unwrap().as_of;
        assert_eq!(as_of, held.capture_deadline + 1);
    }
    world.clock.set(held.capture_deadline + 1);
    world.held(&world.terms(100)).await;
}

pub(crate) async fn t50_what_has_expired_once_is_not_paid_after_a_restart_with_an_earlier_clock(
    engine: impl Engine + 'static,
) {
    let mut world = World::open(engine).await;
    let terms = world.terms(100);
    let entries = world.entries().await;
    world.clock.set(terms.valid_before + SKEW + 1);
    assert_eq!(refusal(world.authorize(&terms).await), Refusal::Expired);
    world.clock.set(START);
    assert_eq!(refusal(world.authorize(&terms).await), Refusal::Expired);
    world.restart();
    assert_eq!(refusal(world.authorize(&terms).await), Refusal::Expired);
    assert_eq!(world.entries().await, entries);
    world.clock.set(terms.valid_before + SKEW + 1);
    world.held(&world.terms(100)).await;
}

pub(crate) async fn t03_an_absent_payment_stays_absent_after_its_proof(engine: impl Engine + 'static) {
    let mut world = World::open(engine).await;
    let terms = world.terms(100);
    let (id, ledger) = (terms.id(), world.id());
    let early = world.ledger().statement(id).await.unwrap();
    assert_eq!((early.state, early.as_of), (PaymentState::Absent, START));
    world.clock.set(terms.valid_before + SKEW + 1);
    let proof = world.ledger().statement(id).await.unwrap();
    assert_eq!((proof.state, proof.as_of), (PaymentState::Absent, terms.valid_before + SKEW + 1));
    assert_eq!(proof.verify(&ledger, &id), Ok(()));
    world.clock.set(START);
    world.restart();
    assert_eq!(refusal(world.authorize(&terms).await), Refusal::Expired, "the proof is kept");
    assert_eq!(world.ledger().statement(id).await.unwrap().as_of, proof.as_of);
    assert_eq!(world.balance(PAYER).await, FUNDS);
}
