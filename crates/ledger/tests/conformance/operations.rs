//! Captures, voids and refunds: what they move, and whom they obey.

use farthing_ledger::LedgerId;
use farthing_ledger::command::{Operate, Refusal};
use farthing_ledger::operation::{Op, answer_hash};
use farthing_ledger::statement::PaymentState;
use farthing_ledger::terms::Terms;
use farthing_protocol::Amount;
use farthing_protocol::rail::PaymentId;

use crate::world::*;

pub(crate) async fn a_capture_below_the_maximum_releases_the_rest(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let id = world.held(&world.terms(40_000)).await;
    let entries = world.entries().await;
    let payment = world.capture(id, 15_000).await.unwrap();
    assert_eq!((payment.state, payment.captured), (PaymentState::Captured, Amount(15_000)));
    assert_eq!(world.money().await, (FUNDS - 15_000, 15_000, 0));
    assert_eq!(world.entries().await, entries + 1);
}

pub(crate) async fn captures_are_cumulative(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let id = world.held(&world.terms(40_000)).await;
    for (cumulative, held) in [(10_000, 30_000), (10_000, 30_000), (25_000, 15_000), (40_000, 0)] {
        let payment = world.operate(capture(id, cumulative, false)).await.unwrap();
        assert_eq!((payment.state, payment.captured), (PaymentState::Held, Amount(cumulative)));
        assert_eq!(world.money().await, (FUNDS - 40_000, cumulative, held));
    }
    assert_eq!(world.capture(id, 40_000).await.unwrap().state, PaymentState::Captured);
    assert_eq!(world.money().await, (FUNDS - 40_000, 40_000, 0));
}

pub(crate) async fn capture_is_idempotent(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let id = world.held(&world.terms(40_000)).await;
    let first = world.capture(id, 15_000).await.unwrap();
    let entries = world.entries().await;
    for _ in 0..3 {
        world.clock.pass(10);
        assert_eq!(world.capture(id, 15_000).await.unwrap(), first);
    }
    for other in [14_999, 15_001, 40_000] {
        assert_eq!(world.capture(id, other).await, Err(Refusal::AlreadyCaptured));
    }
    assert_eq!(world.entries().await, entries);
    assert_eq!(world.money().await, (FUNDS - 15_000, 15_000, 0));
}

pub(crate) async fn a_capture_above_the_maximum_is_refused(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let id = world.held(&world.terms(40_000)).await;
    let entries = world.entries().await;
    for amount in [40_001, i128::MAX as u128, i128::MAX as u128 + 1, u128::MAX] {
        assert_eq!(world.capture(id, amount).await, Err(Refusal::AboveMaximum));
        assert_eq!(world.operate(capture(id, amount, false)).await, Err(Refusal::AboveMaximum));
    }
    assert_eq!(world.entries().await, entries);
    world.capture(id, 40_000).await.unwrap();
}

pub(crate) async fn a_capture_may_not_decrease(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let id = world.held(&world.terms(40_000)).await;
    world.operate(capture(id, 20_000, false)).await.unwrap();
    assert_eq!(world.operate(capture(id, 19_999, false)).await, Err(Refusal::Decreased));
    assert_eq!(world.capture(id, 0).await, Err(Refusal::Decreased));
    assert_eq!(world.money().await, (FUNDS - 40_000, 20_000, 20_000));
    world.capture(id, 20_000).await.unwrap();
    assert_eq!(world.money().await, (FUNDS - 20_000, 20_000, 0));
}

pub(crate) async fn a_capture_after_the_deadline_is_refused(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let (terms, late) = (world.terms(1_000), world.terms(1_000));
    let (in_time, too_late) = (world.held(&terms).await, world.held(&late).await);
    world.clock.set(terms.capture_deadline);
    world.capture(in_time, 1_000).await.unwrap();
    world.clock.pass(1);
    assert_eq!(world.capture(too_late, 1_000).await, Err(Refusal::HoldEnded));
    world.capture(in_time, 1_000).await.unwrap();
    assert_eq!(world.money().await, (FUNDS - 1_000, 1_000, 0));
}

pub(crate) async fn exact_takes_its_full_amount_at_once(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let id = world.held(&world.exact(40_000)).await;
    let refused =
        [capture(id, 39_999, true), capture(id, 0, true), capture(id, 40_000, false), capture(id, 1, false)];
    for operation in refused {
        assert_eq!(world.operate(operation).await, Err(Refusal::ExactAmount));
    }
    assert_eq!(world.money().await, (FUNDS - 40_000, 0, 40_000));
    world.capture(id, 40_000).await.unwrap();
    assert_eq!(world.money().await, (FUNDS - 40_000, 40_000, 0));
}

pub(crate) async fn void_gives_everything_back_and_is_idempotent(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let id = world.held(&world.terms(40_000)).await;
    let first = world.void(id).await.unwrap();
    assert_eq!(first.state, PaymentState::Voided);
    let entries = world.entries().await;
    world.clock.pass(10);
    assert_eq!(world.void(id).await.unwrap(), first);
    assert_eq!(world.capture(id, 40_000).await, Err(Refusal::HoldEnded));
    assert_eq!(world.entries().await, entries);
    assert_eq!(world.money().await, (FUNDS, 0, 0));
}

pub(crate) async fn a_void_signed_as_last_is_a_void(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let id = world.held(&world.terms(40_000)).await;
    let payment = world.operate(Op { last: true, ..void(id) }).await.unwrap();
    assert_eq!(payment.state, PaymentState::Voided);
    assert_eq!((world.payments("voided").await, world.payments("captured").await), (1, 0));
}

pub(crate) async fn a_void_after_a_partial_capture_releases_the_rest(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let id = world.held(&world.terms(40_000)).await;
    world.operate(capture(id, 10_000, false)).await.unwrap();
    let payment = world.void(id).await.unwrap();
    assert_eq!((payment.state, payment.captured), (PaymentState::Captured, Amount(10_000)));
    assert_eq!(world.money().await, (FUNDS - 10_000, 10_000, 0));
}

pub(crate) async fn a_void_after_a_capture_is_refused(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let id = world.held(&world.terms(40_000)).await;
    world.capture(id, 40_000).await.unwrap();
    let entries = world.entries().await;
    assert_eq!(world.void(id).await, Err(Refusal::AlreadyCaptured));
    assert_eq!(world.entries().await, entries);
    assert_eq!(world.money().await, (FUNDS - 40_000, 40_000, 0));
}

pub(crate) async fn a_void_carries_no_amount(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let id = world.held(&world.terms(40_000)).await;
    assert_eq!(world.operate(Op { cumulative: Amount(1), ..void(id) }).await, Err(Refusal::Amount));
    world.void(id).await.unwrap();
}

pub(crate) async fn refunds_are_cumulative_and_bounded_by_what_was_captured(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let id = world.held(&world.terms(40_000)).await;
    assert_eq!(world.refund(id, 1).await, Err(Refusal::AboveMaximum), "nothing was captured yet");
    world.capture(id, 30_000).await.unwrap();
    for cumulative in [5_000, 5_000, 12_000] {
        let payment = world.refund(id, cumulative).await.unwrap();
        assert_eq!((payment.state, payment.refunded), (PaymentState::Captured, Amount(cumulative)));
        assert_eq!(world.money().await, (FUNDS - 30_000 + cumulative, 30_000 - cumulative, 0));
    }
    let entries = world.entries().await;
    assert_eq!(world.refund(id, 12_000).await.unwrap().refunded, Amount(12_000));
    assert_eq!(world.refund(id, 11_999).await, Err(Refusal::Decreased));
    for beyond in [30_001, 40_000, u128::MAX] {
        assert_eq!(world.refund(id, beyond).await, Err(Refusal::AboveMaximum));
    }
    assert_eq!(world.entries().await, entries);
    world.refund(id, 30_000).await.unwrap();
    assert_eq!(world.money().await, (FUNDS, 0, 0));
}

pub(crate) async fn a_refund_ends_with_its_deadline(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let (terms, none) = (world.terms(1_000), Terms { refund_deadline: 0, ..world.terms(1_000) });
    let (id, never) = (world.held(&terms).await, world.held(&none).await);
    world.capture(id, 1_000).await.unwrap();
    world.capture(never, 1_000).await.unwrap();
    assert_eq!(world.refund(never, 1).await, Err(Refusal::NotRefundable));
    world.clock.set(terms.refund_deadline);
    world.refund(id, 400).await.unwrap();
    world.clock.pass(1);
    assert_eq!(world.refund(id, 401).await, Err(Refusal::NotRefundable));
    assert_eq!(world.refund(id, 400).await.unwrap().refunded, Amount(400), "the same again is no new refund");
    assert_eq!(world.money().await, (FUNDS - 1_600, 1_600, 0));
}

pub(crate) async fn exact_has_no_refunds(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let with_deadline = Terms { refund_deadline: START + 86_400, ..world.exact(1_000) };
    assert_eq!(refusal(world.authorize(&with_deadline).await), Refusal::Deadline);
    let id = world.held(&world.exact(1_000)).await;
    world.capture(id, 1_000).await.unwrap();
    assert_eq!(world.refund(id, 1).await, Err(Refusal::NotRefundable));
    assert_eq!(world.money().await, (FUNDS - 1_000, 1_000, 0));
}

pub(crate) async fn upto_is_taken_in_parts_and_has_no_refunds(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let with_deadline = Terms { refund_deadline: START + 86_400, ..world.upto(1_000) };
    assert_eq!(refusal(world.authorize(&with_deadline).await), Refusal::Deadline);
    let id = world.held(&world.upto(1_000)).await;
    for (cumulative, rest) in [(100, 900), (100, 900), (250, 750)] {
        world.operate(capture(id, cumulative, false)).await.unwrap();
        assert_eq!(world.money().await, (FUNDS - 1_000, cumulative, rest));
    }
    assert_eq!(world.operate(capture(id, 1_001, false)).await, Err(Refusal::AboveMaximum));
    assert_eq!(world.capture(id, 249).await, Err(Refusal::Decreased));
    world.capture(id, 300).await.unwrap();
    assert_eq!(world.refund(id, 1).await, Err(Refusal::NotRefundable));
    assert_eq!(world.money().await, (FUNDS - 300, 300, 0));
    // Nobody ends it: what was taken stands, and the rest goes back when its time is over.
    let terms = world.upto(1_000);
    let id = world.held(&terms).await;
    world.operate(capture(id, 50, false)).await.unwrap();
    world.clock.set(terms.capture_deadline + 1);
    assert_eq!(world.money().await, (FUNDS - 350, 350, 0));
    assert_eq!(world.capture(id, 60).await, Err(Refusal::AlreadyCaptured));
}

pub(crate) async fn a_refund_needs_the_payees_funds(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let id = world.held(&world.terms(1_000)).await;
    world.capture(id, 1_000).await.unwrap();
    let seller = public(SELLER);
    let spent = Terms { payer: seller, signer: seller, payee: public(OTHER_SELLER), ..world.exact(700) };
    world.authorize_by(&spent, SELLER, owner(1), "local").await.unwrap();
    assert_eq!(world.refund(id, 301).await, Err(Refusal::InsufficientFunds));
    world.refund(id, 300).await.unwrap();
    assert_eq!(world.balance(SELLER).await, 0);
}

pub(crate) async fn another_sellers_authorizer_refunds_nothing(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let id = world.held(&world.terms(1_000)).await;
    world.capture(id, 1_000).await.unwrap();
    let entries = world.entries().await;
    for signer in [STRANGER, OTHER_SELLER, SELLER, PAYER, LEDGER] {
        let refused = world.operate_by(signer, refund(id, 1_000), None).await;
        assert_eq!(refused, Err(Refusal::NotReceiverAuthorizer));
    }
    assert_eq!(world.entries().await, entries);
    assert_eq!(world.money().await, (FUNDS - 1_000, 1_000, 0));
    world.refund(id, 1_000).await.unwrap();
}

pub(crate) async fn a_payer_cannot_void(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let id = world.held(&world.terms(1_000)).await;
    assert_eq!(world.operate_by(PAYER, void(id), None).await, Err(Refusal::NotReceiverAuthorizer));
    assert_eq!(world.money().await, (FUNDS - 1_000, 0, 1_000));
    world.void(id).await.unwrap();
}

pub(crate) async fn a_stranger_cannot_capture(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let id = world.held(&world.terms(1_000)).await;
    assert_eq!(
        world.operate_by(STRANGER, capture(id, 1_000, true), None).await,
        Err(Refusal::NotReceiverAuthorizer)
    );
    let forged = Operate::sign(&world.id(), &secret(STRANGER), vec![(capture(id, 1_000, true), None)]);
    let wrong = world.id();
    assert!(forged.check(&wrong).is_ok(), "its signature is good, and still it may not");
    assert_eq!(world.money().await, (FUNDS - 1_000, 0, 1_000));
    world.capture(id, 1_000).await.unwrap();
}

pub(crate) async fn a_payee_without_its_authorizer_key_cannot_capture(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let id = world.held(&world.terms(1_000)).await;
    for operation in [capture(id, 1_000, true), void(id)] {
        assert_eq!(world.operate_by(SELLER, operation, None).await, Err(Refusal::NotReceiverAuthorizer));
    }
    world.capture(id, 1_000).await.unwrap();
}

pub(crate) async fn an_operation_on_an_unknown_payment_is_refused(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let entries = world.entries().await;
    let unknown = world.terms(1_000).id();
    for operation in [capture(unknown, 1, true), void(unknown), refund(unknown, 1), refund(unknown, 0)] {
        assert_eq!(world.operate(operation).await, Err(Refusal::NoSuchPayment));
    }
    assert_eq!(world.entries().await, entries);
    let (payment, as_of) = world.ledger().payment(unknown).await.unwrap();
    assert_eq!((payment, as_of), (None, START));
}

pub(crate) async fn an_answer_must_be_the_one_that_was_signed_for(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let terms = world.terms(1_000);
    let id = world.held(&terms).await;
    let signed = Op { answer: answer_hash(Some(b"the answer")), ..capture(id, 1_000, true) };
    for answer in [None, Some(&b"another"[..]), Some(b"")] {
        assert_eq!(world.operate_by(AUTHORIZER, signed, answer).await, Err(Refusal::Answer));
    }
    let unsigned = capture(id, 1_000, true);
    assert_eq!(world.operate_by(AUTHORIZER, unsigned, Some(b"the answer")).await, Err(Refusal::Answer));
    assert_eq!(world.money().await, (FUNDS - 1_000, 0, 1_000));
    world.operate_by(AUTHORIZER, signed, Some(b"the answer")).await.unwrap();
}

pub(crate) async fn an_empty_list_and_one_of_1025_are_refused(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let id = world.held(&world.terms(1_000)).await;
    for count in [0, 1_025] {
        let list = vec![(capture(id, 1_000, true), None); count];
        let operate = Operate::sign(&world.id(), &secret(AUTHORIZER), list);
        assert_eq!(refusal(world.ledger().operate(operate).await), Refusal::TooManyOperations);
    }
    let list = vec![(capture(id, 1_000, true), None); 1_024];
    let entries = world.entries().await;
    let operate = Operate::sign(&world.id(), &secret(AUTHORIZER), list);
    let results = world.ledger().operate(operate).await.unwrap();
    assert!(results.len() == 1_024 && results.iter().all(Result::is_ok));
    assert_eq!(world.entries().await, entries + 1);
    assert_eq!(world.money().await, (FUNDS - 1_000, 1_000, 0));
}

pub(crate) async fn t10_operations_for_another_ledger_are_refused(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let id = world.held(&world.terms(1_000)).await;
    let list = || vec![(capture(id, 1_000, true), None)];
    let foreign = Operate::sign(&LedgerId([9; 16]), &secret(AUTHORIZER), list());
    assert_eq!(refusal(world.ledger().operate(foreign).await), Refusal::Signature);
    let moved =
        Operate::sign(&world.id(), &secret(AUTHORIZER), vec![(capture(PaymentId([9; 32]), 1, true), None)]);
    assert_eq!(world.ledger().operate(moved).await.unwrap(), [Err(Refusal::NoSuchPayment)]);
    assert_eq!(world.money().await, (FUNDS - 1_000, 0, 1_000));
    let right = Operate::sign(&world.id(), &secret(AUTHORIZER), list());
    assert!(world.ledger().operate(right).await.unwrap()[0].is_ok());
}
