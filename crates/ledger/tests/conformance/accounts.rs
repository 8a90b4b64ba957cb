//! Assets, deposits, and the keys of an account.

use farthing_ledger::LedgerError;
use farthing_ledger::admin::{Deposit, NewAsset, Scope};
use farthing_ledger::command::{Refusal, Signed};
use farthing_ledger::terms::Terms;
use farthing_protocol::Amount;

use crate::world::*;

pub(crate) async fn an_asset_is_registered_once(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let entries = world.entries().await;
    let known = NewAsset { code: xts(), scale: 6, issuer: public(ISSUER) };
    world.ledger().register(known).await.unwrap();
    let others = [NewAsset { scale: 5, ..known }, NewAsset { issuer: public(STRANGER), ..known }];
    for other in others {
        assert_eq!(refusal(world.ledger().register(other).await), Refusal::AlreadyRegistered);
    }
    let usd = NewAsset { code: "USD".parse().unwrap(), scale: 31, issuer: public(ISSUER) };
    assert_eq!(refusal(world.ledger().register(usd).await), Refusal::Amount);
    assert_eq!(world.entries().await, entries);
    world.ledger().register(NewAsset { scale: 30, ..usd }).await.unwrap();
    let terms = world.ledger().terms().await.unwrap();
    assert_eq!((terms.scale("USD"), terms.scale("XTS"), terms.scale("XAU")), (Some(30), Some(6), None));
    assert_eq!(world.entries().await, entries + 1);
}

pub(crate) async fn an_unknown_asset_is_refused(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let asset = "XAU".parse().unwrap();
    let terms = Terms { asset, ..world.terms(1_000) };
    assert_eq!(refusal(world.authorize(&terms).await), Refusal::UnknownAsset);
    let deposit = Deposit { asset, account: public(PAYER), amount: Amount(1_000), reference: [1; 32] };
    let signed = Signed::<Deposit>::sign(&world.id(), deposit, &secret(ISSUER));
    assert_eq!(refusal(world.ledger().deposit(signed.clone()).await), Refusal::UnknownAsset);
    world.ledger().register(NewAsset { code: asset, scale: 0, issuer: public(ISSUER) }).await.unwrap();
    assert_eq!(refusal(world.authorize(&terms).await), Refusal::InsufficientFunds, "XTS buy no gold");
    world.ledger().deposit(signed).await.unwrap();
    world.held(&terms).await;
    assert_eq!(world.balance(PAYER).await, FUNDS);
}

pub(crate) async fn a_deposit_reference_counts_once(engine: impl Engine + 'static) {
    let mut world = World::open(engine).await;
    world.deposit(OTHER_PAYER, 500, [1; 32]).await.unwrap();
    let entries = world.entries().await;
    world.deposit(OTHER_PAYER, 500, [1; 32]).await.unwrap();
    world.restart();
    world.deposit(OTHER_PAYER, 500, [1; 32]).await.unwrap();
    assert_eq!(refusal(world.deposit(OTHER_PAYER, 501, [1; 32]).await), Refusal::AlreadyRegistered);
    assert_eq!(refusal(world.deposit(PAYER, 500, [1; 32]).await), Refusal::AlreadyRegistered);
    assert_eq!((world.entries().await, world.balance(OTHER_PAYER).await), (entries, 500));
    world.deposit(OTHER_PAYER, 500, [2; 32]).await.unwrap();
    assert_eq!(world.balance(OTHER_PAYER).await, 1_000);
}

pub(crate) async fn a_deposit_is_signed_by_the_issuer(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let entries = world.entries().await;
    let deposit = Deposit { asset: xts(), account: public(PAYER), amount: Amount(5), reference: [1; 32] };
    for signer in [PAYER, LEDGER, SELLER] {
        let signed = Signed::<Deposit>::sign(&world.id(), deposit, &secret(signer));
        assert_eq!(refusal(world.ledger().deposit(signed).await), Refusal::UnauthorizedSigner);
    }
    let signature = secret(ISSUER).sign(&deposit.encode(&world.id()));
    let raised = Deposit { amount: Amount(6), ..deposit };
    let raised = Signed::<Deposit>::new(&world.id(), raised, public(ISSUER), signature);
    assert_eq!(refusal(world.ledger().deposit(raised).await), Refusal::Signature);
    assert_eq!((world.entries().await, world.balance(PAYER).await), (entries, FUNDS));
    let good = Signed::<Deposit>::new(&world.id(), deposit, public(ISSUER), signature);
    world.ledger().deposit(good).await.unwrap();
    assert_eq!(world.balance(PAYER).await, FUNDS + 5);
}

pub(crate) async fn a_deposit_of_nothing_or_beyond_counting_is_refused(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let quarter = i128::MAX as u128 / 4;
    for amount in [0, quarter + 1, i128::MAX as u128 + 1, u128::MAX] {
        assert_eq!(refusal(world.fund(OTHER_PAYER, amount).await), Refusal::Amount);
    }
    assert_eq!(refusal(world.fund(OTHER_PAYER, quarter).await), Refusal::Amount, "some are issued already");
    world.fund(OTHER_PAYER, quarter - FUNDS).await.unwrap();
    assert_eq!(refusal(world.fund(PAYER, 1).await), Refusal::Amount);
    assert_eq!(world.report().await.assets["XTS"].issued, i128::MAX / 4);
}

async fn pays_with(world: &World, key: u8) -> Result<(), LedgerError> {
    let terms = Terms { signer: public(key), ..world.terms(100) };
    world.authorize_by(&terms, key, owner(1), "local").await.map(|_| ())
}

pub(crate) async fn an_added_key_pays_until_it_is_removed(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    assert_eq!(refusal(pays_with(&world, SECOND_KEY).await), Refusal::UnauthorizedSigner);
    let add = key_change(SECOND_KEY, Some(Scope::Pay), 0, 1);
    assert_eq!(refusal(world.change_keys(SECOND_KEY, add).await), Refusal::UnauthorizedSigner);
    world.change_keys(PAYER, add).await.unwrap();
    pays_with(&world, SECOND_KEY).await.unwrap();
    pays_with(&world, PAYER).await.unwrap();
    world.change_keys(PAYER, key_change(SECOND_KEY, None, 0, 2)).await.unwrap();
    assert_eq!(refusal(pays_with(&world, SECOND_KEY).await), Refusal::UnauthorizedSigner);
    pays_with(&world, PAYER).await.unwrap();
    assert_eq!(world.money().await, (FUNDS - 300, 0, 300));
}

pub(crate) async fn an_added_key_pays_until_it_expires(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    world.change_keys(PAYER, key_change(SECOND_KEY, Some(Scope::Pay), START + 50, 1)).await.unwrap();
    world.clock.set(START + 50);
    pays_with(&world, SECOND_KEY).await.unwrap();
    world.clock.pass(1);
    assert_eq!(refusal(pays_with(&world, SECOND_KEY).await), Refusal::UnauthorizedSigner);
    world.change_keys(PAYER, key_change(SECOND_KEY, Some(Scope::Pay), START + 90, 2)).await.unwrap();
    pays_with(&world, SECOND_KEY).await.unwrap();
    assert_eq!(world.payments("held").await, 2);
}

pub(crate) async fn a_pay_key_cannot_change_keys(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    world.change_keys(PAYER, key_change(SECOND_KEY, Some(Scope::Pay), 0, 1)).await.unwrap();
    for change in
        [key_change(STRANGER, Some(Scope::Full), 0, 2), key_change(SECOND_KEY, Some(Scope::Full), 0, 2)]
    {
        assert_eq!(refusal(world.change_keys(SECOND_KEY, change).await), Refusal::UnauthorizedSigner);
    }
    assert_eq!(
        refusal(world.change_keys(SECOND_KEY, key_change(PAYER, None, 0, 2)).await),
        Refusal::UnauthorizedSigner
    );
    world.change_keys(PAYER, key_change(SECOND_KEY, Some(Scope::Full), 0, 2)).await.unwrap();
    world.change_keys(SECOND_KEY, key_change(STRANGER, Some(Scope::Pay), 0, 3)).await.unwrap();
    pays_with(&world, STRANGER).await.unwrap();
}

pub(crate) async fn the_opening_key_can_be_removed(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let in_flight = world.terms(100);
    let id = world.held(&in_flight).await;
    world.change_keys(PAYER, key_change(SECOND_KEY, Some(Scope::Full), 0, 1)).await.unwrap();
    world.change_keys(SECOND_KEY, key_change(PAYER, None, 0, 2)).await.unwrap();
    assert_eq!(refusal(pays_with(&world, PAYER).await), Refusal::UnauthorizedSigner);
    let back = world.change_keys(PAYER, key_change(PAYER, Some(Scope::Full), 0, 3)).await;
    assert_eq!(refusal(back), Refusal::UnauthorizedSigner);
    world.capture(id, 100).await.unwrap();
    pays_with(&world, SECOND_KEY).await.unwrap();
    assert_eq!(world.money().await, (FUNDS - 200, 100, 100));
}

pub(crate) async fn a_key_change_is_not_applied_twice(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let (add, remove) = (key_change(SECOND_KEY, Some(Scope::Pay), 0, 1), key_change(SECOND_KEY, None, 0, 2));
    for early in [0, 2, u64::MAX] {
        let change = key_change(SECOND_KEY, Some(Scope::Pay), 0, early);
        assert_eq!(refusal(world.change_keys(PAYER, change).await), Refusal::Sequence);
    }
    world.change_keys(PAYER, add).await.unwrap();
    world.change_keys(PAYER, remove).await.unwrap();
    let entries = world.entries().await;
    assert_eq!(refusal(world.change_keys(PAYER, add).await), Refusal::Sequence);
    assert_eq!(world.entries().await, entries);
    assert_eq!(refusal(pays_with(&world, SECOND_KEY).await), Refusal::UnauthorizedSigner);
}

pub(crate) async fn the_last_full_key_stays(engine: impl Engine + 'static) {
    let world = World::open(engine).await;
    let refused = [
        key_change(PAYER, None, 0, 1),
        key_change(PAYER, Some(Scope::Pay), 0, 1),
        key_change(PAYER, Some(Scope::Full), START + 10, 1),
    ];
    for change in refused {
        assert_eq!(refusal(world.change_keys(PAYER, change).await), Refusal::LastKey);
    }
    world.change_keys(PAYER, key_change(SECOND_KEY, Some(Scope::Pay), 0, 1)).await.unwrap();
    assert_eq!(refusal(world.change_keys(PAYER, key_change(PAYER, None, 0, 2)).await), Refusal::LastKey);
    world.change_keys(PAYER, key_change(SECOND_KEY, Some(Scope::Full), 0, 2)).await.unwrap();
    world.change_keys(PAYER, key_change(PAYER, None, 0, 3)).await.unwrap();
}

pub(crate) async fn keys_survive_a_restart(engine: impl Engine + 'static) {
    let mut world = World::open(engine).await;
    world.change_keys(PAYER, key_change(SECOND_KEY, Some(Scope::Pay), START + 100, 1)).await.unwrap();
    world.restart();
    pays_with(&world, SECOND_KEY).await.unwrap();
    let keys = world.ledger().account_keys(public(PAYER)).await.unwrap();
    assert_eq!((keys.sequence, keys.keys.len()), (1, 2));
    assert_eq!(keys.scope(&public(SECOND_KEY), START + 100), Some(Scope::Pay));
    assert_eq!(keys.scope(&public(SECOND_KEY), START + 101), None);
    let opening = world.ledger().account_keys(public(STRANGER)).await.unwrap();
    assert_eq!(opening.scope(&public(STRANGER), START), Some(Scope::Full));
}
