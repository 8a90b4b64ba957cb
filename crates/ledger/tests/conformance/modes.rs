//! Charges, fees, and who may be paid on which ledger.

use farthing_ledger::admin::NewAsset;
use farthing_ledger::command::{Charge, Refusal, Standing};
use farthing_ledger::operation::{Action, Op, signed_bytes};
use farthing_ledger::statement::PaymentState;
use farthing_ledger::terms::{FeeTerms, Scheme, Terms, TermsFlow};
use farthing_ledger::{LedgerId, Options};
use farthing_protocol::Amount;

use crate::world::*;

pub(crate) async fn a_charge_takes_its_amount_in_one_step(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let entries = world.entries().await;
    let terms = world.one_step(40_000);
    let reply = world.charge(&terms, 15_000, Some(b"the answer")).await.unwrap();
    assert_eq!(reply.standing, Standing::Ended(Some(b"the answer".to_vec())));
    assert_eq!((reply.payment.state, reply.payment.captured), (PaymentState::Captured, Amount(15_000)));
    assert_eq!(world.money().await, (FUNDS - 15_000, 15_000, 0));
    assert_eq!(world.entries().await, entries + 1);
    world.refund(terms.id(), 5_000).await.unwrap();
    assert_eq!(world.money().await, (FUNDS - 10_000, 10_000, 0));
}

pub(crate) async fn t01_a_charge_again_returns_its_answer(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let terms = world.one_step(40_000);
    world.charge(&terms, 15_000, Some(b"the answer")).await.unwrap();
    let entries = world.entries().await;
    for _ in 0..10 {
        let reply = world.charge(&terms, 15_000, Some(b"the answer")).await.unwrap();
        assert_eq!(reply.standing, Standing::Ended(Some(b"the answer".to_vec())));
    }
    for other in [0, 14_999, 15_001, 40_000] {
        assert_eq!(refusal(world.charge(&terms, other, None).await), Refusal::AlreadyCaptured);
    }
    let conflict = Terms { nonce: terms.nonce, ..world.one_step(1_000) };
    assert_eq!(refusal(world.charge(&conflict, 1_000, None).await), Refusal::NonceConflict);
    assert_eq!(world.entries().await, entries);
    assert_eq!(world.money().await, (FUNDS - 15_000, 15_000, 0));
}

pub(crate) async fn a_charge_is_bounded_by_its_terms(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let entries = world.entries().await;
    let terms = world.one_step(40_000);
    assert_eq!(refusal(world.charge(&terms, 40_001, None).await), Refusal::AboveMaximum);
    let exact = Terms { scheme: Scheme::Exact, refund_deadline: 0, ..world.one_step(40_000) };
    assert_eq!(refusal(world.charge(&exact, 39_999, None).await), Refusal::ExactAmount);
    let poor = world.one_step(FUNDS + 1);
    assert_eq!(refusal(world.charge(&poor, 1, None).await), Refusal::InsufficientFunds);
    let late = Terms { valid_before: START - 6, ..world.one_step(1_000) };
    assert_eq!(refusal(world.charge(&late, 1_000, None).await), Refusal::Expired);
    let op = Op { action: Action::Charge, ..capture(terms.id(), 40_000, true) };
    let stranger = secret(STRANGER).sign(&signed_bytes(&world.id(), &[op]));
    let command = authorize(&terms, PAYER, owner(1), "local");
    assert_eq!(Charge::check(command, op, None, stranger).map(|_| ()), Err(Refusal::Signature));
    assert_eq!(world.entries().await, entries);
    world.charge(&terms, 40_000, None).await.unwrap();
    world.charge(&exact, 40_000, None).await.unwrap();
    assert_eq!(world.money().await, (FUNDS - 80_000, 80_000, 0));
}

pub(crate) async fn a_flow_is_not_taken_for_another(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let entries = world.entries().await;
    let (escrow, one_step) = (world.terms(1_000), world.one_step(1_000));
    assert_eq!(refusal(world.authorize(&one_step).await), Refusal::Flow);
    assert_eq!(refusal(world.charge(&escrow, 1_000, None).await), Refusal::Flow);
    let with_deadline = Terms { capture_deadline: START + 10, ..one_step.clone() };
    assert_eq!(refusal(world.charge(&with_deadline, 1_000, None).await), Refusal::Deadline);
    let without = Terms { flow: TermsFlow::Escrow, ..one_step.clone() };
    assert_eq!(refusal(world.authorize(&without).await), Refusal::Deadline);
    assert_eq!(world.entries().await, entries);
    let id = world.held(&escrow).await;
    assert_eq!(
        world.operate(Op { action: Action::Charge, ..capture(id, 1_000, true) }).await,
        Err(Refusal::Flow),
        "nor is a charge an operation of a list"
    );
    world.charge(&one_step, 1_000, None).await.unwrap();
}

fn with_fee() -> Options {
    Options { fee_bps: 250, fee_recipient: public(FEE_RECIPIENT), ..Options::open_to_all() }
}

fn allowed() -> FeeTerms {
    FeeTerms { min_bps: 0, max_bps: 250, recipient: public(FEE_RECIPIENT).0 }
}

pub(crate) async fn a_fee_is_rounded_over_the_whole_payment(engine: impl Engine + 'static) {
    let world = World::with(engine, with_fee()).await;
    let id = world.held(&Terms { fee: allowed(), ..world.terms(1_000) }).await;
    // 2.5 % of 39, 79 and 100 are 0.975, 1.975 and 2.5: the fee of the sum is paid, not the sum of fees.
    for (cumulative, fee) in [(39, 0), (79, 1), (100, 2)] {
        world.operate(capture(id, cumulative, false)).await.unwrap();
        assert_eq!(
            (world.balance(SELLER).await, world.balance(FEE_RECIPIENT).await),
            (cumulative - fee, fee)
        );
    }
    world.void(id).await.unwrap();
    assert_eq!(world.money().await, (FUNDS - 100, 98, 0));
    let whole = world.held(&Terms { fee: allowed(), ..world.terms(FUNDS - 100) }).await;
    world.capture(whole, FUNDS - 100).await.unwrap();
    assert_eq!(world.balance(FEE_RECIPIENT).await, 2 + (FUNDS - 100) * 250 / 10_000);
    assert_eq!(world.refund(whole, FUNDS - 100).await, Err(Refusal::InsufficientFunds), "the fee is gone");
    let all_that_is_left = world.balance(SELLER).await;
    world.refund(whole, all_that_is_left).await.unwrap();
    assert_eq!((world.balance(SELLER).await, world.balance(PAYER).await), (0, all_that_is_left));
}

pub(crate) async fn a_fee_is_taken_from_a_charge_too(engine: impl Engine + 'static) {
    let world = World::with(engine, with_fee()).await;
    world.charge(&Terms { fee: allowed(), ..world.one_step(1_000) }, 1_000, None).await.unwrap();
    assert_eq!((world.balance(SELLER).await, world.balance(FEE_RECIPIENT).await), (975, 25));
    world.charge(&Terms { fee: allowed(), ..world.one_step(1_000) }, 39, None).await.unwrap();
    assert_eq!((world.balance(SELLER).await, world.balance(FEE_RECIPIENT).await), (1_014, 25));
    assert_eq!(world.money().await, (FUNDS - 1_039, 1_014, 0));
}

pub(crate) async fn a_fee_outside_the_payers_limits_is_refused(engine: impl Engine + 'static) {
    let world = World::with(engine, with_fee()).await;
    let entries = world.entries().await;
    let refused = [
        FeeTerms::default(),
        FeeTerms { max_bps: 249, ..allowed() },
        FeeTerms { min_bps: 251, max_bps: 300, ..allowed() },
        FeeTerms { max_bps: 10_001, ..allowed() },
        FeeTerms { recipient: public(STRANGER).0, ..allowed() },
    ];
    for fee in refused {
        let terms = Terms { fee, ..world.terms(1_000) };
        assert_eq!(refusal(world.authorize(&terms).await), Refusal::Fee, "{fee:?}");
    }
    assert_eq!(world.entries().await, entries);
    world.held(&Terms { fee: FeeTerms { min_bps: 250, ..allowed() }, ..world.terms(1_000) }).await;
    let terms = world.ledger().terms().await.unwrap();
    assert_eq!((terms.fee_bps, terms.fee_recipient), (250, public(FEE_RECIPIENT)));
    assert_eq!(terms.verify(&world.id()), Ok(()));
}

pub(crate) async fn a_closed_loop_pays_its_seller_alone(engine: impl Engine + 'static) {
    let options = Options::closed_loop(public(SELLER), Amount(FUNDS));
    let world = World::with(engine, options).await;
    let entries = world.entries().await;
    for payee in [OTHER_SELLER, OTHER_PAYER, PAYER, AUTHORIZER] {
        let terms = Terms { payee: public(payee), ..world.terms(1_000) };
        assert_eq!(refusal(world.authorize(&terms).await), Refusal::NotTheSeller);
        let terms = Terms { payee: public(payee), ..world.one_step(1_000) };
        assert_eq!(refusal(world.charge(&terms, 1_000, None).await), Refusal::NotTheSeller);
    }
    assert_eq!(world.entries().await, entries);
    let id = world.held(&world.terms(1_000)).await;
    world.capture(id, 1_000).await.unwrap();
    assert_eq!(world.money().await, (FUNDS - 1_000, 1_000, 0));
}

pub(crate) async fn a_closed_loop_caps_what_a_payer_holds(engine: impl Engine + 'static) {
    let options = Options::closed_loop(public(SELLER), Amount(FUNDS + 10));
    let world = World::with(engine, options).await;
    assert_eq!(refusal(world.fund(PAYER, 11).await), Refusal::PayerCap);
    assert_eq!(refusal(world.fund(OTHER_PAYER, FUNDS + 11).await), Refusal::PayerCap);
    assert_eq!(refusal(world.fund(PAYER, i128::MAX as u128 / 8).await), Refusal::PayerCap);
    world.fund(PAYER, 10).await.unwrap();
    world.fund(OTHER_PAYER, FUNDS + 10).await.unwrap();
    assert_eq!(refusal(world.fund(PAYER, 1).await), Refusal::PayerCap);
    let id = world.held(&world.terms(1_000)).await;
    world.capture(id, 1_000).await.unwrap();
    world.fund(PAYER, 1_000).await.unwrap();
    assert_eq!(world.balance(PAYER).await, FUNDS + 10);
}

pub(crate) async fn an_open_ledger_pays_anybody(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    for payee in [SELLER, OTHER_SELLER, OTHER_PAYER] {
        let id = world.held(&Terms { payee: public(payee), ..world.terms(1_000) }).await;
        world.capture(id, 1_000).await.unwrap();
        assert_eq!(world.balance(payee).await, 1_000);
    }
    let to_myself = world.held(&Terms { payee: public(PAYER), ..world.terms(1_000) }).await;
    world.capture(to_myself, 1_000).await.unwrap();
    world.refund(to_myself, 1_000).await.unwrap();
    assert_eq!(world.money().await, (FUNDS - 3_000, 1_000, 0));
}

pub(crate) async fn t10_terms_for_another_ledger_are_refused(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let entries = world.entries().await;
    for other in [LedgerId([0; 16]), LedgerId::of(&public(STRANGER))] {
        let terms = Terms { ledger: other, ..world.terms(1_000) };
        assert_eq!(refusal(world.authorize(&terms).await), Refusal::OtherLedger);
        assert_eq!(refusal(world.ledger().probe(terms.id(), terms).await), Refusal::OtherLedger);
    }
    assert_eq!(world.entries().await, entries);
    let terms = world.terms(1_000);
    world.ledger().probe(terms.id(), terms.clone()).await.unwrap();
    assert_eq!(world.entries().await, entries, "a probe holds nothing");
    world.held(&terms).await;
}

pub(crate) async fn a_mandate_is_refused(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let terms = Terms { mandate: [1; 32], ..world.terms(1_000) };
    assert_eq!(refusal(world.authorize(&terms).await), Refusal::Mandate);
    world.held(&Terms { mandate: [0; 32], ..terms }).await;
}

pub(crate) async fn a_ledger_is_opened_with_what_it_was_made_with(engine: impl Engine + 'static) {
    let options = Options::closed_loop(public(SELLER), Amount(FUNDS));
    let mut world = World::with(engine, options).await;
    let id = world.id();
    world.restart();
    assert_eq!(world.id(), id);
    assert_eq!(world.ledger().network().to_string(), format!("farthing:{id}"));
    let again = NewAsset { code: xts(), scale: 6, issuer: public(ISSUER) };
    world.ledger().register(again).await.unwrap();
    assert_eq!(world.entries().await, 3, "genesis, asset, deposit");
}
