//! Authorizing: what is held, for whom, and how a hold ends by itself.

use std::collections::HashSet;

use farthing_ledger::LedgerError;
use farthing_ledger::command::{Authorize, Refusal, Standing};
use farthing_ledger::rows::Payment;
use farthing_ledger::statement::PaymentState;
use farthing_ledger::terms::Terms;
use farthing_protocol::layout::LayoutError;
use farthing_protocol::rail::Tenant;
use farthing_protocol::{Amount, RequestDigest};

use crate::world::*;

pub(crate) async fn authorize_holds_the_maximum(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let before = world.entries().await;
    let terms = world.terms(40_000);
    let reply = world.authorize(&terms).await.unwrap();
    assert_eq!(reply.standing, Standing::Owner { takeover: false });
    let Payment { state, captured, refunded, epoch, lease_until, .. } = reply.payment;
    assert_eq!((state, captured, refunded), (PaymentState::Held, Amount::ZERO, Amount::ZERO));
    assert_eq!((epoch, lease_until), (1, START + 60));
    assert_eq!(world.money().await, (FUNDS - 40_000, 0, 40_000));
    assert_eq!(world.entries().await, before + 1);
    assert_eq!(world.ledger().statement(terms.id()).await.unwrap().state, PaymentState::Held);
}

pub(crate) async fn t01_the_same_payment_again_resumes_for_its_owner_and_holds_once(
    engine: impl Engine + 'static,
) {
    let world = World::open(engine).await;
    let terms = world.terms(40_000);
    world.held(&terms).await;
    let entries = world.entries().await;
    for _ in 0..100 {
        world.clock.pass(1);
        let reply = world.authorize(&terms).await.unwrap();
        assert_eq!(reply.standing, Standing::Owner { takeover: false });
        assert_eq!(reply.payment.lease_until, world.clock.now() + 60, "the lease begins anew");
    }
    assert_eq!(world.entries().await, entries);
    assert_eq!(world.money().await, (FUNDS - 40_000, 0, 40_000));
}

pub(crate) async fn t01_the_same_payment_of_another_owner_is_in_progress(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let terms = world.terms(40_000);
    world.held(&terms).await;
    let entries = world.entries().await;
    world.clock.pass(59);
    let reply = world.authorize_by(&terms, PAYER, owner(2), "local").await.unwrap();
    assert_eq!(reply.standing, Standing::InProgress);
    assert_eq!((reply.payment.owner, reply.payment.lease_until), ([1; 16], START + 60));
    assert_eq!(world.entries().await, entries);
    assert_eq!(world.money().await, (FUNDS - 40_000, 0, 40_000));
}

pub(crate) async fn after_the_lease_another_owner_takes_the_hold_over_with_the_next_epoch(
    engine: impl Engine + 'static,
) {
    let world = World::open(engine).await;
    let terms = world.terms(40_000);
    world.held(&terms).await;
    let entries = world.entries().await;
    world.clock.pass(60);
    let reply = world.authorize_by(&terms, PAYER, owner(2), "second").await.unwrap();
    assert_eq!(reply.standing, Standing::Owner { takeover: true });
    assert_eq!((reply.payment.epoch, reply.payment.owner), (2, [2; 16]));
    assert_eq!(world.entries().await, entries + 1);
    let first = world.authorize(&terms).await.unwrap();
    assert_eq!(first.standing, Standing::InProgress, "the first owner is another one now");
    assert_eq!(world.money().await, (FUNDS - 40_000, 0, 40_000), "and nothing is held twice");
}

pub(crate) async fn a_stale_owner_can_neither_capture_nor_void(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let terms = world.terms(40_000);
    let id = world.held(&terms).await;
    world.clock.pass(60);
    world.authorize_by(&terms, PAYER, owner(2), "local").await.unwrap();
    let entries = world.entries().await;
    assert_eq!(world.capture(id, 40_000).await, Err(Refusal::StaleOwner));
    assert_eq!(world.void(id).await, Err(Refusal::StaleOwner));
    let mut future = capture(id, 40_000, true);
    future.epoch = 3;
    assert_eq!(world.operate(future).await, Err(Refusal::StaleOwner));
    assert_eq!(world.entries().await, entries);
    future.epoch = 2;
    assert_eq!(world.operate(future).await.unwrap().state, PaymentState::Captured);
    assert_eq!(world.money().await, (FUNDS - 40_000, 40_000, 0));
}

pub(crate) async fn t02_a_spent_payment_is_known_after_a_restart(engine: impl Engine + 'static) {
    let mut world = World::open(engine).await;
    let (spent, open) = (world.terms(40_000), world.terms(1_000));
    let id = world.held(&spent).await;
    world.capture_with(id, 30_000, b"the answer").await.unwrap();
    world.held(&open).await;
    let (money, entries) = (world.money().await, world.entries().await);
    world.restart();
    assert_eq!((world.money().await, world.entries().await), (money, entries));
    let again = world.authorize(&spent).await.unwrap();
    assert_eq!(again.standing, Standing::Ended(Some(b"the answer".to_vec())));
    assert_eq!(world.authorize(&open).await.unwrap().standing, Standing::Owner { takeover: false });
    let conflict = Terms { digest: RequestDigest([8; 32]), ..spent };
    assert_eq!(refusal(world.authorize(&conflict).await), Refusal::NonceConflict);
    assert_eq!((world.money().await, world.entries().await), (money, entries));
    world.held(&world.terms(1_000)).await;
}

pub(crate) async fn t01_a_captured_payment_presented_again_returns_its_answer(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let terms = world.terms(40_000);
    let id = world.held(&terms).await;
    world.capture_with(id, 30_000, b"the answer").await.unwrap();
    let entries = world.entries().await;
    for _ in 0..100 {
        let reply = world.authorize(&terms).await.unwrap();
        assert_eq!(reply.standing, Standing::Ended(Some(b"the answer".to_vec())));
        assert_eq!((reply.payment.state, reply.payment.captured), (PaymentState::Captured, Amount(30_000)));
    }
    assert_eq!(world.entries().await, entries);
    assert_eq!(world.money().await, (FUNDS - 30_000, 30_000, 0));
    let bare = world.terms(10);
    let id = world.held(&bare).await;
    world.capture(id, 10).await.unwrap();
    assert_eq!(world.authorize(&bare).await.unwrap().standing, Standing::Ended(None), "none was stored");
}

pub(crate) async fn a_stored_answer_is_shown_to_its_tenant_alone(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let terms = world.terms(40_000);
    world.authorize_by(&terms, PAYER, owner(1), "shop").await.unwrap();
    world.capture_with(terms.id(), 40_000, b"the answer").await.unwrap();
    for tenant in ["", "local", "shop2", "Shop"] {
        let reply = world.authorize_by(&terms, PAYER, owner(1), tenant).await.unwrap();
        assert_eq!(reply.standing, Standing::Ended(None), "{tenant}");
    }
    let reply = world.authorize_by(&terms, PAYER, owner(9), "shop").await.unwrap();
    assert_eq!(reply.standing, Standing::Ended(Some(b"the answer".to_vec())), "whichever process asks");
}

pub(crate) async fn a_stored_answer_is_shown_until_ten_minutes_after_valid_before_or_the_capture(
    engine: impl Engine + 'static,
) {
    let world = World::open(engine).await;
    let (early, late) = (world.terms(1_000), world.terms(1_000));
    let (first, second) = (world.held(&early).await, world.held(&late).await);
    world.capture_with(first, 1_000, b"early").await.unwrap();
    world.clock.set(START + 800);
    world.capture_with(second, 1_000, b"late").await.unwrap();
    let ends = [(&early, &b"early"[..], early.valid_before + 600), (&late, b"late", START + 800 + 600)];
    for (terms, answer, end) in ends {
        world.clock.set(end);
        let reply = world.authorize(terms).await.unwrap();
        assert_eq!(reply.standing, Standing::Ended(Some(answer.to_vec())));
        world.clock.set(end + 1);
        assert_eq!(world.authorize(terms).await.unwrap().standing, Standing::Ended(None));
    }
    assert_eq!(world.payments("captured").await, 2);
}

pub(crate) async fn a_refund_does_not_keep_an_answer_longer(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let terms = world.terms(1_000);
    let id = world.held(&terms).await;
    world.capture_with(id, 1_000, b"the answer").await.unwrap();
    world.clock.set(terms.valid_before + 600);
    world.refund(id, 400).await.unwrap();
    let reply = world.authorize(&terms).await.unwrap();
    assert_eq!(reply.standing, Standing::Ended(Some(b"the answer".to_vec())));
    world.clock.pass(1);
    assert_eq!(world.authorize(&terms).await.unwrap().standing, Standing::Ended(None));
}

pub(crate) async fn the_same_nonce_with_other_bytes_is_a_conflict(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let terms = world.terms(1_000);
    let id = world.held(&terms).await;
    let entries = world.entries().await;
    let others = [
        Terms { digest: RequestDigest([8; 32]), ..terms.clone() },
        Terms { max_amount: Amount(1_001), ..terms.clone() },
        Terms { payee: public(OTHER_SELLER), ..terms.clone() },
        Terms { valid_before: terms.valid_before + 1, ..terms.clone() },
    ];
    for other in &others {
        assert_eq!(refusal(world.authorize(other).await), Refusal::NonceConflict);
    }
    world.void(id).await.unwrap();
    assert_eq!(refusal(world.authorize(&others[0]).await), Refusal::NonceConflict, "voided or not");
    assert_eq!(world.entries().await, entries + 1);
    world.held(&Terms { nonce: world.fresh(), ..others[0].clone() }).await;
}

pub(crate) async fn two_payers_may_use_one_nonce(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    world.fund(OTHER_PAYER, 1_000).await.unwrap();
    let mine = world.terms(1_000);
    let other = public(OTHER_PAYER);
    let theirs = Terms { payer: other, signer: other, ..mine.clone() };
    world.held(&mine).await;
    world.authorize_by(&theirs, OTHER_PAYER, owner(1), "local").await.unwrap();
    assert_eq!(world.payments("held").await, 2);
}

pub(crate) async fn funds_are_judged_exactly_at_the_boundary(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let entries = world.entries().await;
    assert_eq!(refusal(world.authorize(&world.terms(FUNDS + 1)).await), Refusal::InsufficientFunds);
    for amount in [i128::MAX as u128, i128::MAX as u128 + 1, u128::MAX] {
        let refused = refusal(world.authorize(&world.terms(amount)).await);
        assert!(matches!(refused, Refusal::InsufficientFunds | Refusal::Amount), "{refused:?}");
    }
    assert_eq!(refusal(world.authorize(&world.terms(0)).await), Refusal::Amount);
    assert_eq!(world.entries().await, entries);
    world.held(&world.terms(FUNDS)).await;
    assert_eq!(world.money().await, (0, 0, FUNDS as i128));
    assert_eq!(refusal(world.authorize(&world.terms(1)).await), Refusal::InsufficientFunds);
}

pub(crate) async fn t14_two_hundred_concurrent_duplicates_hold_once(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let terms = world.terms(1_000);
    let entries = world.entries().await;
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let (ledger, command) =
                (world.ledger().clone(), authorize(&terms, PAYER, owner(number), "local"));
            tokio::spawn(async move { ledger.authorize(command).await })
        })
        .collect();
    let (mut owners, mut waiting) = (0, 0);
    for task in tasks {
        match task.await.unwrap().unwrap().standing {
            Standing::Owner { takeover: false } => owners += 1,
            Standing::InProgress => waiting += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((owners, waiting), (1, 199));
    assert_eq!(world.entries().await, entries + 1);
    assert_eq!(world.money().await, (FUNDS - 1_000, 0, 1_000));
}

pub(crate) async fn t16_two_payments_race_for_one_balance_and_one_wins(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    for _ in 0..20 {
        let (one, two) = (world.terms(FUNDS), world.terms(FUNDS));
        let (first, second) = tokio::join!(world.authorize(&one), world.authorize(&two));
        let won = usize::from(first.is_ok()) + usize::from(second.is_ok());
        assert_eq!(won, 1);
        let (winner, loser) = if first.is_ok() { (one, second) } else { (two, first) };
        assert_eq!(refusal(loser), Refusal::InsufficientFunds);
        assert_eq!(world.money().await, (0, 0, FUNDS as i128));
        world.void(winner.id()).await.unwrap();
    }
    assert_eq!(world.money().await, (FUNDS, 0, 0));
}

pub(crate) async fn t24_many_sessions_hold_no_more_than_the_balance(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let each = 30_000;
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let command = authorize(&world.terms(each), PAYER, owner(1), "local");
            let ledger = world.ledger().clone();
            tokio::spawn(async move { ledger.authorize(command).await })
        })
        .collect();
    let mut admitted = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(reply) => admitted += u128::from(reply.standing == Standing::Owner { takeover: false }),
            Err(error) => assert_eq!(error, LedgerError::Refused(Refusal::InsufficientFunds)),
        }
    }
    assert_eq!(admitted, FUNDS / each);
    assert_eq!(world.money().await, (FUNDS % each, 0, (admitted * each) as i128));
}

pub(crate) async fn t20_a_hold_ends_at_its_deadline_without_anybody_asking(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let terms = world.terms(40_000);
    let id = world.held(&terms).await;
    world.clock.set(terms.capture_deadline);
    assert_eq!(world.balance(PAYER).await, FUNDS - 40_000, "it still runs");
    world.clock.pass(1);
    assert_eq!(world.balance(PAYER).await, FUNDS);
    assert_eq!(world.capture(id, 40_000).await, Err(Refusal::HoldEnded));
    assert_eq!(world.void(id).await, Err(Refusal::HoldEnded));
    assert_eq!(world.authorize(&terms).await.unwrap().standing, Standing::Ended(None));
    assert_eq!(world.ledger().statement(id).await.unwrap().state, PaymentState::Reclaimed);
    assert!(!world.ledger().reclaim(id).await.unwrap(), "it has ended already");
    assert_eq!(world.money().await, (FUNDS, 0, 0));
    world.held(&world.terms(FUNDS)).await;
}

pub(crate) async fn t20_a_thousand_abandoned_holds_all_come_back(engine: impl Engine + 'static) {
    let mut world = World::open(engine).await;
    let kept = Terms { capture_deadline: START + 2 * HOLD, ..world.terms(500) };
    world.held(&kept).await;
    let commands: Vec<_> =
        (0..1_000).map(|_| authorize(&world.terms(100), PAYER, owner(1), "local")).collect();
    let checked = Authorize::check_all(commands);
    let mut replies = Vec::new();
    for command in checked {
        let ledger = world.ledger().clone();
        let command = command.unwrap();
        replies.push(tokio::spawn(async move { ledger.authorize_checked(command).await }));
    }
    for reply in replies {
        reply.await.unwrap().unwrap();
    }
    assert_eq!(world.money().await, (FUNDS - 100_500, 0, 100_500));
    world.restart();
    world.clock.set(START + HOLD + 1);
    assert_eq!(world.money().await, (FUNDS - 500, 0, 500), "all but the one that still runs");
    assert_eq!((world.payments("reclaimed").await, world.payments("held").await), (1_000, 1));
    world.capture(kept.id(), 500).await.unwrap();
}

pub(crate) async fn reclaim_ends_a_hold_after_its_deadline_and_never_before(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let (first, second) = (world.terms(40_000), world.terms(1_000));
    let id = world.held(&first).await;
    let partly = world.held(&second).await;
    world.operate(capture(partly, 300, false)).await.unwrap();
    let entries = world.entries().await;
    world.clock.set(first.capture_deadline);
    assert!(!world.ledger().reclaim(id).await.unwrap());
    assert!(!world.ledger().reclaim(farthing_protocol::rail::PaymentId([9; 32])).await.unwrap());
    assert_eq!(world.entries().await, entries);
    world.clock.pass(1);
    assert!(!world.ledger().reclaim(id).await.unwrap(), "the ledger's own sweep comes first");
    assert_eq!(world.entries().await, entries + 1);
    assert_eq!(world.money().await, (FUNDS - 300, 300, 0));
    let (payment, _) = world.ledger().payment(partly).await.unwrap();
    assert_eq!(payment.unwrap().state, PaymentState::Captured, "what was captured stays captured");
}

pub(crate) async fn a_payment_is_authorized_by_its_signer_alone(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let entries = world.entries().await;
    let terms = world.terms(1_000);
    for signer in [STRANGER, SELLER, AUTHORIZER, LEDGER, ISSUER] {
        let forged = world.authorize_by(&terms, signer, owner(1), "local").await;
        assert_eq!(refusal(forged), Refusal::Signature);
        let named = Terms { signer: public(signer), nonce: world.fresh(), ..terms.clone() };
        let foreign = world.authorize_by(&named, signer, owner(1), "local").await;
        assert_eq!(refusal(foreign), Refusal::UnauthorizedSigner);
    }
    let mut changed = terms.encode();
    let signature = secret(PAYER).sign(&changed);
    *changed.last_mut().unwrap() ^= 1;
    let changed = Authorize::read(changed, signature, owner(1), Tenant::local()).unwrap();
    assert_eq!(refusal(world.ledger().authorize(changed).await), Refusal::Signature);
    assert_eq!(world.entries().await, entries);
    let distinct: HashSet<_> = [terms.id(), world.held(&terms).await].into();
    assert_eq!(distinct.len(), 1);
}

pub(crate) async fn a_tenant_with_a_long_name_is_refused_before_it_is_stored(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let terms = world.terms(1_000);
    let read = |name: String| {
        let signature = secret(PAYER).sign(&terms.encode());
        Authorize::read(terms.encode(), signature, owner(1), Tenant(name))
    };
    let refused = read("x".repeat(257)).map(|_| ());
    assert_eq!(refused, Err(LayoutError::Long { len: 257, limit: 256 }));
    world.ledger().authorize(read("x".repeat(256)).unwrap()).await.unwrap();
    world.capture(terms.id(), 1_000).await.unwrap();
}
