//! Violations planted by hand, each beside a clean twin that differs in one thing.

use farthing::farthing_ledger::command::Refusal;
use farthing::farthing_ledger::statement::PaymentState::{Captured, Held, Voided};
use farthing::protocol::PublicKey;
use farthing::protocol::rail::PaymentId;
use farthing_testkit::history::{Event, Found, History, Outcome, Pays, Status, Step};

const PAYER: PublicKey = PublicKey([1; 32]);
const FUNDS: u128 = 100;
const HELD: Status = Status { state: Held, captured: 0, refunded: 0, epoch: 1 };

fn pays(number: u8, maximum: u128) -> Pays {
    Pays { payment: PaymentId([number; 32]), maximum, nonce: [number; 32], exact: false }
}

fn authorize(number: u8, maximum: u128) -> Step {
    Step::Authorize(pays(number, maximum), [1; 16])
}

fn capture(cumulative: u128) -> Step {
    Step::Capture { payment: PaymentId([1; 32]), cumulative, last: true, epoch: 1 }
}

fn void() -> Step {
    Step::Void { payment: PaymentId([1; 32]), epoch: 1 }
}

fn refund(cumulative: u128) -> Step {
    Step::Refund { payment: PaymentId([1; 32]), cumulative }
}

fn statement() -> Step {
    Step::Statement(PaymentId([1; 32]))
}

fn owner() -> Outcome {
    Outcome::Authorized(Found::Owner, HELD)
}

fn captured(captured: u128) -> Status {
    Status { state: Captured, captured, ..HELD }
}

fn refunded(refunded: u128) -> Status {
    Status { refunded, ..captured(80) }
}

fn balance(balance: u128) -> (Step, Option<Outcome>) {
    (Step::Balance, Some(Outcome::Balance(balance)))
}

fn ok(step: Step, outcome: Outcome) -> (Step, Option<Outcome>) {
    (step, Some(outcome))
}

/// Operations one after the other, each sent when the one before it was answered.
fn in_order(operations: &[(Step, Option<Outcome>)]) -> History {
    at(&operations.iter().zip(0..).map(|((s, o), nth)| (10 * nth, 10 * nth + 5, *s, *o)).collect::<Vec<_>>())
}

/// Operations with the moments in which they were sent and answered.
fn at(operations: &[(u64, u64, Step, Option<Outcome>)]) -> History {
    let event = |(sent, answered, step, outcome): &(u64, u64, Step, Option<Outcome>)| Event {
        account: PAYER,
        step: *step,
        sent: *sent,
        answered: outcome.map(|outcome| (*answered, outcome)),
    };
    History { opening: [(PAYER, FUNDS)].into(), events: operations.iter().map(event).collect() }
}

#[track_caller]
fn expect(planted: &History, clean: &History) {
    let explained = clean.check().unwrap_or_else(|violation| panic!("the twin: {violation}"));
    assert_eq!(explained.operations, clean.events.len());
    let violation = planted.check().expect_err("the planted violation");
    assert!(violation.trace.len() > 1, "{violation}");
}

#[test]
fn an_authorization_that_was_acknowledged_and_is_gone_is_found() {
    let held = ok(authorize(1, 80), owner());
    let gone = in_order(&[held, ok(statement(), Outcome::Statement(None))]);
    let there = in_order(&[held, ok(statement(), Outcome::Statement(Some(HELD)))]);
    expect(&gone, &there);
    expect(&in_order(&[held, balance(100)]), &in_order(&[held, balance(20)]));
    let again = ok(authorize(1, 80), owner());
    let and_later = |left| in_order(&[held, again, balance(left)]);
    expect(&and_later(0), &and_later(20));
}

#[test]
fn a_balance_that_is_spent_twice_is_found() {
    for overlapping in [false, true] {
        let second = |outcome| {
            let (first_answered, second_sent) = if overlapping { (30, 10) } else { (5, 10) };
            at(&[
                (0, first_answered, authorize(1, 80), Some(owner())),
                (second_sent, 40, authorize(2, 80), Some(outcome)),
            ])
        };
        expect(&second(owner()), &second(Outcome::Refused(Refusal::InsufficientFunds)));
    }
}

#[test]
fn a_payment_that_is_captured_twice_is_found() {
    let held = ok(authorize(1, 80), owner());
    let first = ok(capture(30), Outcome::Operated(captured(30)));
    let second = |outcome| in_order(&[held, first, ok(capture(60), outcome)]);
    expect(&second(Outcome::Operated(captured(60))), &second(Outcome::Refused(Refusal::AlreadyCaptured)));
    // Repeated, it takes nothing more.
    let again = |left| in_order(&[held, first, first, balance(left)]);
    expect(&again(40), &again(70));
    // Of two concurrent captures of different amounts, one is refused.
    let both = |outcome| {
        at(&[
            (0, 5, authorize(1, 80), Some(owner())),
            (10, 30, capture(30), Some(Outcome::Operated(captured(30)))),
            (11, 31, capture(60), Some(outcome)),
        ])
    };
    expect(&both(Outcome::Operated(captured(60))), &both(Outcome::Refused(Refusal::AlreadyCaptured)));
}

#[test]
fn a_capture_after_an_acknowledged_void_is_found() {
    let held = ok(authorize(1, 80), owner());
    let voided = ok(void(), Outcome::Operated(Status { state: Voided, ..HELD }));
    let then = |outcome| in_order(&[held, voided, ok(capture(80), outcome)]);
    expect(&then(Outcome::Operated(captured(80))), &then(Outcome::Refused(Refusal::HoldEnded)));
    // Overlapping, one of them wins, and not both.
    let race = |outcome| {
        at(&[
            (0, 5, authorize(1, 80), Some(owner())),
            (10, 30, void(), voided.1),
            (11, 31, capture(80), Some(outcome)),
        ])
    };
    expect(&race(Outcome::Operated(captured(80))), &race(Outcome::Refused(Refusal::HoldEnded)));
}

#[test]
fn a_stale_read_is_found() {
    let held = ok(authorize(1, 80), owner());
    expect(&in_order(&[held, balance(100)]), &in_order(&[balance(100), held, balance(20)]));
    // A read that overlaps may see either; once the new balance was seen, the old one is gone.
    let reads = |first, second| {
        at(&[
            (0, 100, authorize(1, 80), Some(owner())),
            (10, 20, Step::Balance, Some(Outcome::Balance(first))),
            (30, 40, Step::Balance, Some(Outcome::Balance(second))),
        ])
    };
    expect(&reads(20, 100), &reads(100, 20));
    expect(&reads(20, 100), &reads(100, 100));
    let after = |status| {
        let capture = ok(capture(80), Outcome::Operated(captured(80)));
        in_order(&[held, capture, ok(statement(), Outcome::Statement(Some(status)))])
    };
    expect(&after(HELD), &after(captured(80)));
}

#[test]
fn a_refund_that_lands_twice_is_found() {
    let paid = [ok(authorize(1, 80), owner()), ok(capture(80), Outcome::Operated(captured(80)))];
    let refund = ok(refund(30), Outcome::Operated(refunded(30)));
    let end = |left| in_order(&[&paid[..], &[refund, refund, balance(left)]].concat());
    expect(&end(80), &end(50));
    // Nobody knows of the first, so the same is sent again: it may be there once.
    let unknown = |left| {
        let lost = (refund.0, None);
        in_order(&[&paid[..], &[lost, refund, balance(left)]].concat())
    };
    expect(&unknown(80), &unknown(50));
    let more = |status| in_order(&[&paid[..], &[refund, ok(refund.0, Outcome::Operated(status))]].concat());
    expect(&more(refunded(60)), &more(refunded(30)));
}

#[test]
fn an_effect_before_its_operation_was_sent_is_found() {
    let captures = |sent| {
        at(&[
            (0, 5, authorize(1, 80), Some(owner())),
            (10, 20, statement(), Some(Outcome::Statement(Some(captured(80))))),
            (sent, 40, capture(80), Some(Outcome::Operated(captured(80)))),
        ])
    };
    expect(&captures(21), &captures(19));
    // Nor does an operation of unknown outcome act before it is sent.
    let unknown =
        |sent| at(&[(10, 20, Step::Balance, Some(Outcome::Balance(20))), (sent, 0, authorize(1, 80), None)]);
    expect(&unknown(21), &unknown(19));
}

#[test]
fn an_unknown_outcome_is_made_up_by_later_reads_once() {
    let lost = (authorize(1, 80), None);
    let reads = |first, second| in_order(&[lost, balance(first), balance(second)]);
    for (first, second) in [(100, 100), (100, 20), (20, 20)] {
        expect(&reads(20, 100), &reads(first, second));
    }
    // Sent twice, it is still one payment.
    let twice = |left| in_order(&[(authorize(1, 40), None), (authorize(1, 40), None), balance(left)]);
    expect(&twice(20), &twice(60));
    let two = |left| in_order(&[(authorize(1, 40), None), (authorize(2, 40), None), balance(left)]);
    expect(&two(30), &two(20));
}

#[test]
fn two_owners_of_one_epoch_are_found() {
    let other = |owner: u8| Step::Authorize(pays(1, 80), [owner; 16]);
    let taken = |epoch| Outcome::Authorized(Found::TakenOver, Status { epoch, ..HELD });
    let takeovers = |second| in_order(&[ok(other(1), owner()), ok(other(2), taken(2)), ok(other(3), second)]);
    expect(&takeovers(taken(2)), &takeovers(taken(3)));
    expect(
        &takeovers(owner()),
        &takeovers(Outcome::Authorized(Found::InProgress, Status { epoch: 2, ..HELD })),
    );
    // The one before it can no longer capture.
    let stale =
        |outcome| in_order(&[ok(other(1), owner()), ok(other(2), taken(2)), ok(capture(80), outcome)]);
    expect(
        &stale(Outcome::Operated(Status { epoch: 2, ..captured(80) })),
        &stale(Outcome::Refused(Refusal::StaleOwner)),
    );
}

#[test]
fn a_nonce_that_pays_twice_is_found() {
    let other = Step::Authorize(Pays { nonce: [1; 32], ..pays(2, 10) }, [1; 16]);
    let both = |outcome| at(&[(0, 30, authorize(1, 10), Some(owner())), (10, 40, other, Some(outcome))]);
    expect(&both(owner()), &both(Outcome::Refused(Refusal::NonceConflict)));
}

#[test]
fn payers_are_judged_one_by_one_and_the_guilty_one_is_named() {
    let mut history = in_order(&[ok(authorize(1, 80), owner()), balance(20)]);
    let guilty = PublicKey([2; 32]);
    let mut other = in_order(&[ok(authorize(1, 80), owner()), balance(100)]);
    other.events.iter_mut().for_each(|event| event.account = guilty);
    history.opening.insert(guilty, FUNDS);
    history.events.extend(other.events);
    assert_eq!(history.check().unwrap_err().account, guilty);
    history.events.pop();
    let explained = history.check().unwrap();
    assert_eq!((explained.accounts, explained.operations), (2, 3));
}
