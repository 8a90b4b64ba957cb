//! Scheme `exact` by EIP-3009, on a chain: what settles, what is refused, and by whom a payment may be signed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod world;

use farthing_protocol::Amount;
use farthing_protocol::rail::{Confirmation, Pay};
use farthing_protocol::v2::PaymentRequirements;
use farthing_rail_evm::{Asset, EvmOffer, EvmPay, Transfer};
use serde_json::json;

use world::anvil::{LIAR, OTHER_FACTORY, USDC, WALLET_FACTORY};
use world::signing::{Authorization, high, wrap};
use world::{
    FUNDS, OTHER_SELLER, PAYER, PRICE, SELLER, STRANGER, World, address, carried, key, liar, network, now,
    payer, payload_of, refused, request, rpc, settled, usdc,
};

/// What the payer's account would sign for the price.
fn authorization(world: &World, from: &str) -> Authorization {
    Authorization {
        from: from.to_owned(),
        to: SELLER.to_owned(),
        value: PRICE,
        valid_after: 0,
        valid_before: now() + 300,
        nonce: world.nonce(),
    }
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_payment_moves_exactly_the_price() {
    let world = World::new().await;
    let offer = world.offer(usdc());
    let request = world.pay(&offer).await;
    let settlement = world.accepts(&request).await;
    let receipt = world.chain.receipt(&settlement.transaction).unwrap();
    assert_eq!(receipt["status"], "0x1");
    assert_eq!(world.chain.balance(USDC, &address(PAYER)), FUNDS - PRICE);
    assert_eq!(world.sent(), 1);
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn looking_at_a_payment_moves_nothing() {
    let world = World::new().await;
    let request = world.pay(&world.offer(usdc())).await;
    for _ in 0..3 {
        assert_eq!(world.verify(&request).await, Ok(()));
    }
    assert_eq!((world.earned(USDC), world.sent()), (0, 0));
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_payment_for_another_amount_or_payee_or_offer_is_refused() {
    let world = World::new().await;
    let offer = world.offer(usdc());
    let signed_for = |change: fn(&mut PaymentRequirements)| {
        let mut other = offer.clone();
        change(&mut other);
        other
    };
    for (change, reason) in [
        (
            (|offer| offer.amount = Amount(PRICE - 1)) as fn(&mut PaymentRequirements),
            "invalid_exact_evm_payload_authorization_value_mismatch",
        ),
        (|offer| offer.amount = Amount(PRICE + 1), "invalid_exact_evm_payload_authorization_value_mismatch"),
        (|offer| offer.pay_to = OTHER_SELLER.to_owned(), "invalid_exact_evm_recipient_mismatch"),
    ] {
        let signed = world.sign(&signed_for(change)).await;
        assert_eq!(world.refuses(&request(&offer, &signed)).await, reason);
    }
    assert_eq!(world.chain.balance(USDC, OTHER_SELLER), 0);
    world.accepts(&world.pay(&offer).await).await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn t11_a_payment_of_another_chain_is_refused() {
    let world = World::new().await;
    let offer = world.offer(usdc());
    let base = "eip155:8453".parse().unwrap();
    let elsewhere = EvmPay::new(&base, key(PAYER), vec![usdc()]).unwrap();
    let there = PaymentRequirements { network: base, ..offer.clone() };
    let signed = world.sign_by(&elsewhere, &there, now()).await;
    // Said to be for this chain, and said to be for that one.
    assert_eq!(world.refuses(&request(&offer, &signed)).await, "invalid_exact_evm_signature");
    assert_eq!(world.refuses(&request(&there, &signed)).await, "invalid_exact_evm_network_mismatch");
    world.accepts(&world.pay(&offer).await).await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_payment_outside_its_window_is_refused() {
    let world = World::new().await;
    let offer = world.offer(usdc());
    let from = address(PAYER);
    for (valid_after, valid_before, reason) in [
        (0, now() - 1, "invalid_exact_evm_payload_authorization_valid_before"),
        (0, now() + 3, "invalid_exact_evm_payload_authorization_valid_before"),
        (now() + 60, now() + 300, "invalid_exact_evm_payload_authorization_valid_after"),
    ] {
        let signed = Authorization { valid_after, valid_before, ..authorization(&world, &from) };
        let request = carried(&offer, &signed.payload(&signed.sign(PAYER)));
        assert_eq!(world.refuses(&request).await, reason);
    }
    let signed = Authorization { valid_after: now() - 60, ..authorization(&world, &from) };
    world.accepts(&carried(&offer, &signed.payload(&signed.sign(PAYER)))).await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn t01_a_payment_that_was_made_is_not_made_again() {
    let world = World::new().await;
    let offer = world.offer(usdc());
    let request = world.pay(&offer).await;
    let first = world.accepts(&request).await;
    assert_eq!(world.verify(&request).await.unwrap_err(), "invalid_exact_evm_nonce_already_used");
    // Asked again, the facilitator says what it did.
    let again = settled(world.settle(&request).await);
    assert_eq!((again.transaction, again.amount), (first.transaction, first.amount));
    assert_eq!((world.earned(USDC), world.sent()), (PRICE, 1));
    world.accepts(&world.pay(&offer).await).await;
    assert_eq!((world.earned(USDC), world.sent()), (2 * PRICE, 2));
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_payment_that_another_facilitator_settled_is_refused() {
    let world = World::new().await;
    let offer = world.offer(usdc());
    let from = address(PAYER);
    let signed = Authorization { to: OTHER_SELLER.to_owned(), ..authorization(&world, &from) };
    world.chain.mint(USDC, &from, PRICE);
    // The nonce is used by a payment to somebody else.
    let other = world::offer(&EvmOffer::exact(&network(), OTHER_SELLER, usdc()).unwrap());
    let used = carried(&other, &signed.payload(&signed.sign(PAYER)));
    settled(world.settle(&used).await);
    let same_nonce = Authorization { to: SELLER.to_owned(), ..signed };
    let request = carried(&offer, &same_nonce.payload(&same_nonce.sign(PAYER)));
    assert_eq!(world.refuses(&request).await, "invalid_exact_evm_nonce_already_used");
    assert_eq!((world.earned(USDC), world.chain.balance(USDC, OTHER_SELLER)), (0, PRICE));
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_payer_with_too_little_is_refused_and_with_just_enough_is_not() {
    let world = World::new().await;
    let poor = EvmPay::new(&network(), key(STRANGER), vec![usdc()]).unwrap();
    let offer = world.offer(usdc());
    world.chain.mint(USDC, &address(STRANGER), PRICE - 1);
    let signed = world.sign_by(&poor, &offer, now()).await;
    assert_eq!(world.refuses(&request(&offer, &signed)).await, "invalid_exact_evm_insufficient_balance");
    world.chain.mint(USDC, &address(STRANGER), 1);
    world.accepts(&request(&offer, &signed)).await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn t04_only_the_payers_own_signature_in_its_one_form_is_taken() {
    let world = World::new().await;
    let offer = world.offer(usdc());
    let signed = authorization(&world, &address(PAYER));
    let right = signed.sign(PAYER);
    let mut other_v = right.clone();
    other_v[64] -= 27;
    let mut flipped = right.clone();
    flipped[10] ^= 1;
    for (what, wrong) in [
        ("by a stranger", signed.sign(STRANGER)),
        ("with s in the upper half", high(&right)),
        ("with v as 0 or 1", other_v),
        ("one bit off", flipped),
        ("cut short", right[..64].to_vec()),
        ("with a byte more", [&right[..], &[0]].concat()),
    ] {
        let reason = world.refuses(&carried(&offer, &signed.payload(&wrong))).await;
        assert_eq!(reason, "invalid_exact_evm_signature", "{what}");
    }
    world.accepts(&carried(&offer, &signed.payload(&right))).await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_wallet_with_code_pays_by_its_owners_signature_alone() {
    let world = World::new().await;
    let offer = world.offer(usdc());
    let wallet = world.chain.make_wallet(WALLET_FACTORY, &address(PAYER), 1);
    world.chain.mint(USDC, &wallet, FUNDS);
    let signed = authorization(&world, &wallet);
    let strangers = carried(&offer, &signed.payload(&signed.sign(STRANGER)));
    assert_eq!(world.refuses(&strangers).await, "invalid_exact_evm_signature");
    world.accepts(&carried(&offer, &signed.payload(&signed.sign(PAYER)))).await;
    // What made the wallet may still come along.
    let signed = authorization(&world, &wallet);
    let wrapped = wrap(WALLET_FACTORY, &address(PAYER), 1, &signed.sign(PAYER));
    world.accepts(&carried(&offer, &signed.payload(&wrapped))).await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn where_an_account_has_code_its_key_decides_nothing() {
    let world = World::new().await;
    let offer = world.offer(usdc());
    let before = world.pay(&offer).await;
    // As a delegation does (EIP-7702): the account's code knows no owner and refuses everything.
    world.chain.place("SmartWallet", &address(PAYER));
    assert_eq!(world.refuses(&before).await, "invalid_exact_evm_signature");
    world.chain.remove_code(&address(PAYER));
    world.accepts(&before).await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_wallet_that_is_not_made_yet_pays_if_its_factory_is_trusted() {
    let world = World::with(|config| config.wallet_factories = vec![WALLET_FACTORY.into()]).await;
    let offer = world.offer(usdc());
    let owner = address(PAYER);
    let pays = |factory: &str, salt: u128, by: u8| {
        let wallet = world.chain.wallet(factory, &owner, salt);
        world.chain.mint(USDC, &wallet, PRICE);
        let signed = authorization(&world, &wallet);
        let signature = wrap(factory, &owner, salt, &signed.sign(by));
        (wallet, carried(&offer, &signed.payload(&signature)))
    };
    let (distrusted, request) = pays(OTHER_FACTORY, 1, PAYER);
    assert_eq!(world.refuses(&request).await, "eip6492_factory_not_allowed");
    let code = |of: &str| world.chain.rpc("eth_getCode", json!([of, "latest"]));
    assert_eq!(code(&distrusted), "0x");

    let (_, request) = pays(WALLET_FACTORY, 2, STRANGER);
    world.refuses(&request).await;

    let (wallet, request) = pays(WALLET_FACTORY, 3, PAYER);
    world.accepts(&request).await;
    assert_ne!(code(&wallet), "0x");
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn t33_a_token_that_does_not_move_what_it_says_settles_nothing() {
    let world = World::with(|config| config.assets = vec![liar()]).await;
    let payer = payer(liar());
    let offer = world.offer(liar());
    world.chain.mint(LIAR, &address(PAYER), FUNDS);
    for manner in [1, 2] {
        world.chain.lie(manner);
        let request = request(&offer, &world.sign_by(&payer, &offer, now()).await);
        let reason = refused(world.settle(&request).await);
        assert_eq!(reason, "invalid_exact_evm_transfer_event_mismatch", "{manner}");
        // It stays what it was, and nothing more is sent.
        let sent = world.sent();
        world.chain.lie(0);
        refused(world.settle(&request).await);
        assert_eq!(world.sent(), sent);
    }
    world.accepts(&request(&offer, &world.sign_by(&payer, &offer, now()).await)).await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_token_whose_code_is_gone_settles_nothing() {
    let world = World::new().await;
    let offer = world.offer(usdc());
    let payment = world.pay(&offer).await;
    world.chain.remove_code(USDC);
    refused(world.settle(&payment).await);
    world.chain.place("TestToken", USDC);
    assert_eq!(world.earned(USDC), 0);
    world.accepts(&world.pay(&offer).await).await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_token_that_is_not_configured_is_refused() {
    let world = World::new().await;
    world.chain.mint(LIAR, &address(PAYER), FUNDS);
    let offer = world.offer(liar());
    let signed = world.sign_by(&payer(liar()), &offer, now()).await;
    world.refuses(&request(&offer, &signed)).await;
    // Under the name of the right one it is not paid, either.
    let named_usdc = PaymentRequirements { asset: USDC.to_owned(), ..offer };
    world.refuses(&request(&named_usdc, &signed)).await;
    assert_eq!(world.earned(LIAR), 0);
    world.accepts(&world.pay(&world.offer(usdc())).await).await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn what_the_offer_says_of_the_tokens_domain_is_compared_and_never_believed() {
    let world = World::new().await;
    let offer = world.offer(usdc());
    let payment = world.pay(&offer).await;
    for (member, reason) in [
        ("name", "invalid_exact_evm_token_name_mismatch"),
        ("version", "invalid_exact_evm_token_version_mismatch"),
    ] {
        let mut other = offer.clone();
        other.extra.insert(member.into(), json!("Another"));
        assert_eq!(world.refuses(&carried(&other, &payload_of(&payment))).await, reason);
    }
    // A payer who signs by the domain of an offer that lies has signed for nothing.
    let look_alike = Asset::new(USDC, "Another", "2", 6, "USD", Transfer::Eip3009).unwrap();
    let mut lying = offer.clone();
    lying.extra.insert("name".into(), json!("Another"));
    let signed = world.sign_by(&payer(look_alike), &lying, now()).await;
    assert_eq!(world.refuses(&request(&offer, &signed)).await, "invalid_exact_evm_signature");
    world.accepts(&payment).await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn the_chain_tells_a_payer_what_became_of_its_payment() {
    let world = World::new().await;
    let offer = world.offer(usdc());
    let payer = payer(usdc()).rpc(rpc(&[world.chain.url()]));
    let taken = world.sign_by(&payer, &offer, now()).await;
    let left = world.sign_by(&payer, &offer, now()).await;
    assert_eq!(payer.status(&taken).await, Confirmation::Open);
    world.accepts(&request(&offer, &taken)).await;
    assert_eq!(payer.status(&taken).await, Confirmation::Taken(Amount(PRICE)));
    assert_eq!(payer.status(&left).await, Confirmation::Open);
    world.chain.pass(1_000);
    assert_eq!(payer.status(&left).await, Confirmation::NotTaken);
    assert_eq!(payer.status(&taken).await, Confirmation::Taken(Amount(PRICE)));
}
