//! Payments by Permit2, on a chain: scheme `exact`, scheme `upto`, and payers without gas.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod world;

use farthing_protocol::Amount;
use farthing_protocol::rail::{Confirmation, Pay, Settle};
use farthing_protocol::v2::PaymentRequirements;
use farthing_rail_evm::{Asset, EvmOffer, EvmPay, Transfer};
use serde_json::json;

use world::anvil::{Argument, EXACT_PROXY, LIAR, PERMIT2, PLAIN, USDC};
use world::signing::high;
use world::{
    FUNDS, OTHER_SELLER, OTHER_SIGNER, PAYER, PRICE, STRANGER, World, address, carried, key, liar, network,
    now, payer, payload_of, plain, refused, request, rpc, settled, usdc, with_extensions,
};

/// USDC, moved by Permit2.
fn by_permit2() -> Asset {
    usdc().moved_by(Transfer::Permit2)
}

/// A payer that pays by Permit2, which it has approved before.
fn approved(world: &World) -> EvmPay {
    world.chain.approve_permit2(USDC, &address(PAYER));
    payer(by_permit2())
}

/// A payer that asks the chain what Permit2 may take.
fn asking(world: &World, asset: Asset) -> EvmPay {
    payer(asset).rpc(rpc(&[world.chain.url()]))
}

/// What `upto` takes at the end of `request`: `amount` of what was signed for.
fn taking(offer: &PaymentRequirements, amount: u128) -> PaymentRequirements {
    PaymentRequirements { amount: Amount(amount), ..offer.clone() }
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_payment_by_permit2_moves_exactly_the_price() {
    let world = World::new().await;
    let payer = approved(&world);
    let offer = world.offer(by_permit2());
    let signed = world.sign_by(&payer, &offer, now()).await;
    assert!(signed.extensions.is_empty());
    let request = request(&offer, &signed);
    let first = world.accepts(&request).await;
    assert_eq!(world.verify(&request).await.unwrap_err(), "permit2_invalid_nonce");
    assert_eq!(settled(world.settle(&request).await).transaction, first.transaction);
    assert_eq!((world.earned(USDC), world.sent()), (PRICE, 1));
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn without_an_allowance_for_permit2_nothing_is_paid() {
    let world = World::new().await;
    let offer = world.offer(by_permit2());
    let signed = world.sign_by(&payer(by_permit2()), &offer, now()).await;
    assert_eq!(world.refuses(&request(&offer, &signed)).await, "permit2_allowance_required");
    approved(&world);
    world.accepts(&request(&offer, &signed)).await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_payment_by_permit2_for_something_else_is_refused() {
    let world = World::with(|config| config.assets.push(liar())).await;
    let payer = EvmPay::new(&network(), key(PAYER), vec![by_permit2(), liar().moved_by(Transfer::Permit2)]);
    let payer = payer.unwrap();
    approved(&world);
    let offer = world.offer(by_permit2());
    for (other, reason) in [
        (PaymentRequirements { amount: Amount(PRICE - 1), ..offer.clone() }, "permit2_amount_mismatch"),
        (PaymentRequirements { amount: Amount(PRICE + 1), ..offer.clone() }, "permit2_amount_mismatch"),
        (
            PaymentRequirements { pay_to: OTHER_SELLER.to_owned(), ..offer.clone() },
            "invalid_permit2_recipient_mismatch",
        ),
        (world.offer(liar().moved_by(Transfer::Permit2)), "permit2_token_mismatch"),
        (world.upto(), "invalid_exact_evm_scheme"),
    ] {
        let signed = world.sign_by(&payer, &other, now()).await;
        assert_eq!(world.refuses(&request(&offer, &signed)).await, reason);
    }
    let signed = world.sign_by(&payer, &offer, now()).await;
    let mut payload = payload_of(&request(&offer, &signed));
    payload["permit2Authorization"]["spender"] = json!(SELLER_OF_NOTHING);
    assert_eq!(world.refuses(&carried(&offer, &payload)).await, "invalid_permit2_spender");
    world.accepts(&request(&offer, &signed)).await;
}

/// A contract that is no proxy.
const SELLER_OF_NOTHING: &str = "0x00000000000000000000000000000000000bad01";

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_payment_by_permit2_outside_its_window_is_refused() {
    let world = World::new().await;
    let payer = approved(&world);
    let offer = world.offer(by_permit2());
    for (signed_at, reason) in [
        (now() - 301, "permit2_deadline_expired"),
        (now() - 297, "permit2_deadline_expired"),
        (now() + 700, "permit2_not_yet_valid"),
    ] {
        let signed = world.sign_by(&payer, &offer, signed_at).await;
        assert_eq!(world.refuses(&request(&offer, &signed)).await, reason);
    }
    world.accepts(&request(&offer, &world.sign_by(&payer, &offer, now()).await)).await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_signature_for_permit2_is_the_payers_and_has_one_form() {
    let world = World::new().await;
    let payer = approved(&world);
    let offer = world.offer(by_permit2());
    let right = request(&offer, &world.sign_by(&payer, &offer, now()).await);
    let payload = payload_of(&right);
    let signature = hex::decode(payload["signature"].as_str().unwrap().trim_start_matches("0x")).unwrap();
    let mut flipped = signature.clone();
    flipped[40] ^= 1;
    // Permit2 itself would take the first: then one payment had two names.
    for wrong in [high(&signature), flipped] {
        let mut payload = payload.clone();
        payload["signature"] = json!(format!("0x{}", hex::encode(wrong)));
        assert_eq!(world.refuses(&carried(&offer, &payload)).await, "invalid_permit2_signature");
    }
    // A stranger's payment cannot be told to be the payer's.
    let strangers = EvmPay::new(&network(), key(STRANGER), vec![by_permit2()]).unwrap();
    let mut stolen = payload_of(&request(&offer, &world.sign_by(&strangers, &offer, now()).await));
    stolen["permit2Authorization"]["from"] = json!(address(PAYER));
    assert_eq!(world.refuses(&carried(&offer, &stolen)).await, "invalid_permit2_signature");
    world.accepts(&right).await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_payer_by_permit2_with_too_little_is_refused() {
    let world = World::new().await;
    let poor = EvmPay::new(&network(), key(STRANGER), vec![by_permit2()]).unwrap();
    world.chain.approve_permit2(USDC, &address(STRANGER));
    world.chain.mint(USDC, &address(STRANGER), PRICE - 1);
    let offer = world.offer(by_permit2());
    let signed = world.sign_by(&poor, &offer, now()).await;
    assert_eq!(world.refuses(&request(&offer, &signed)).await, "permit2_insufficient_balance");
    world.chain.mint(USDC, &address(STRANGER), 1);
    world.accepts(&request(&offer, &signed)).await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn upto_takes_what_was_used_and_the_rest_stays() {
    let world = World::new().await;
    let payer = approved(&world);
    let offer = world.upto();
    let signed = world.sign_by(&payer, &offer, now()).await;
    assert_eq!(world.verify(&request(&offer, &signed)).await, Ok(()));
    let settlement = world.settles(&request(&taking(&offer, 400), &signed), 400).await;
    assert_eq!(world.earned(USDC), 400);
    // The rest cannot be taken afterwards.
    let again = settled(world.settle(&request(&offer, &signed)).await);
    assert_eq!((again.transaction, again.amount), (settlement.transaction, Some(Amount(400))));
    assert_eq!((world.earned(USDC), world.sent()), (400, 1));

    let all = world.sign_by(&payer, &offer, now()).await;
    world.settles(&request(&offer, &all), PRICE).await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn upto_of_nothing_sends_nothing() {
    let world = World::new().await;
    let payer = approved(&world).rpc(rpc(&[world.chain.url()]));
    let offer = world.upto();
    let signed = world.sign_by(&payer, &offer, now()).await;
    let settlement = world.settles(&request(&taking(&offer, 0), &signed), 0).await;
    assert_eq!((settlement.transaction.as_str(), world.sent()), ("", 0));
    // Nothing was taken, and this facilitator takes nothing any more.
    let later = settled(world.settle(&request(&offer, &signed)).await);
    assert_eq!((later.amount, world.earned(USDC), world.sent()), (Some(Amount(0)), 0, 0));
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn upto_takes_no_more_than_was_signed_for() {
    let world = World::new().await;
    let payer = approved(&world);
    let offer = world.upto();
    let signed = world.sign_by(&payer, &offer, now()).await;
    let reason = refused(world.settle(&request(&taking(&offer, PRICE + 1), &signed)).await);
    assert_eq!(reason, "invalid_upto_evm_payload_settlement_exceeds_amount");
    assert_eq!((world.earned(USDC), world.sent()), (0, 0));
    world.settles(&request(&offer, &signed), PRICE).await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn upto_is_settled_by_the_facilitator_that_the_payer_named_and_no_other() {
    let world = World::with(|config| config.signers.push(key(OTHER_SIGNER))).await;
    let payer = approved(&world);
    let named = |facilitator: &str| {
        world::offer(&EvmOffer::upto(&network(), world::SELLER, usdc(), facilitator).unwrap())
    };
    // Not even by another key of the same one: it settles by the first alone.
    for other in [address(STRANGER), address(OTHER_SIGNER)] {
        let offer = named(&other);
        let request = request(&offer, &world.sign_by(&payer, &offer, now()).await);
        assert_eq!(world.refuses(&request).await, "upto_facilitator_mismatch");
    }
    let kinds = world.settle.kinds();
    let upto = kinds.iter().find(|kind| kind.scheme == "upto").unwrap();
    let facilitator = upto.extra.as_ref().unwrap()["facilitatorAddress"].as_str().unwrap();
    assert_eq!(facilitator, address(world::SIGNER));
    let offer = named(facilitator);
    for _ in 0..4 {
        world.accepts(&request(&offer, &world.sign_by(&payer, &offer, now()).await)).await;
    }
    assert_eq!(world.chain.sent_by(facilitator), 4);
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn the_chain_tells_a_payer_how_much_upto_took() {
    let world = World::new().await;
    let payer = approved(&world).rpc(rpc(&[world.chain.url()]));
    let offer = world.upto();
    let signed = world.sign_by(&payer, &offer, now()).await;
    assert_eq!(payer.status(&signed).await, Confirmation::Open);
    let settlement = world.settles(&request(&taking(&offer, 300), &signed), 300).await;
    payer.confirm(&signed, &settlement);
    assert_eq!(payer.status(&signed).await, Confirmation::Taken(Amount(300)));
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_payer_without_gas_signs_a_permit_of_the_token_for_permit2() {
    let world = World::new().await;
    let payer = asking(&world, by_permit2());
    let offer = world.offer(by_permit2());
    let signed = world.sign_by(&payer, &offer, now()).await;
    assert!(signed.extensions.contains_key("eip2612GasSponsoring"));
    assert_eq!(world.chain.ether(&address(PAYER)), 0);

    let (payload, right) = (payload_of(&request(&offer, &signed)), json!(signed.extensions));
    for (member, wrong, reason) in [
        ("from", address(STRANGER), "eip2612_from_mismatch"),
        ("asset", LIAR.to_owned(), "eip2612_asset_mismatch"),
        ("spender", EXACT_PROXY.to_owned(), "eip2612_spender_not_permit2"),
        ("deadline", "1".to_owned(), "eip2612_deadline_expired"),
        ("amount", "999".to_owned(), "permit2_2612_amount_mismatch"),
        ("nonce", "7".to_owned(), "invalid_eip2612_extension_format"),
        ("signature", "0x00".to_owned(), "invalid_eip2612_extension_format"),
    ] {
        let mut extensions = right.clone();
        extensions["eip2612GasSponsoring"]["info"][member] = json!(wrong);
        let request = with_extensions(&offer, &payload, &extensions);
        assert_eq!(world.refuses(&request).await, reason, "{member}");
    }
    world.accepts(&request(&offer, &signed)).await;
    // The next one needs another permit, and gets one.
    world.accepts(&request(&offer, &world.sign_by(&payer, &offer, now()).await)).await;
    assert_eq!(world.sent(), 2);
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn upto_takes_a_permit_of_the_token_too() {
    let world = World::new().await;
    let payer = asking(&world, usdc());
    let offer = world.upto();
    let signed = world.sign_by(&payer, &offer, now()).await;
    assert!(signed.extensions.contains_key("eip2612GasSponsoring"));
    world.settles(&request(&taking(&offer, 250), &signed), 250).await;
}

/// A facilitator that settles the plain token, which the payer has.
async fn plain_world(gas_top_up: u128) -> World {
    let world = World::with(|config| {
        config.assets = vec![plain()];
        config.gas_top_up = gas_top_up;
    })
    .await;
    world.chain.mint(PLAIN, &address(PAYER), FUNDS);
    world
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_payer_of_a_plain_token_is_given_the_gas_for_its_approval() {
    let world = plain_world(10u128.pow(16)).await;
    let payer = asking(&world, plain());
    let offer = world.offer(plain());
    let signed = world.sign_by(&payer, &offer, now()).await;
    assert!(signed.extensions.contains_key("erc20ApprovalGasSponsoring"));
    assert_eq!(world.chain.ether(&address(PAYER)), 0);
    world.accepts(&request(&offer, &signed)).await;
    assert_eq!(world.chain.allowance(PLAIN, &address(PAYER), PERMIT2), u128::MAX);
    // From now on there is nothing to approve.
    let next = world.sign_by(&payer, &offer, now()).await;
    assert!(next.extensions.is_empty());
    world.accepts(&request(&offer, &next)).await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_facilitator_that_gives_no_gas_settles_for_a_payer_who_has_its_own() {
    let world = plain_world(0).await;
    let payer = asking(&world, plain());
    let offer = world.offer(plain());
    let signed = world.sign_by(&payer, &offer, now()).await;
    let reason = refused(world.settle(&request(&offer, &signed)).await);
    assert_eq!((reason.as_str(), world.sent()), ("erc20_approval_tx_failed", 0));
    world.chain.give_ether(&address(PAYER), 10u128.pow(16));
    world.accepts(&request(&offer, &signed)).await;
    assert_eq!(world.sent(), 1);
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn an_approval_for_something_else_is_not_sent() {
    let world = plain_world(10u128.pow(16)).await;
    let offer = world.offer(plain());
    let signed = world.sign_by(&asking(&world, plain()), &offer, now()).await;
    let (payload, right) = (payload_of(&request(&offer, &signed)), json!(signed.extensions));
    let transaction = right["erc20ApprovalGasSponsoring"]["info"]["signedTransaction"].as_str().unwrap();
    for (member, wrong, reason) in [
        ("from", address(STRANGER), "erc20_approval_from_mismatch"),
        ("asset", USDC.to_owned(), "erc20_approval_asset_mismatch"),
        ("spender", EXACT_PROXY.to_owned(), "erc20_approval_spender_not_permit2"),
        ("signedTransaction", "0x02c0".to_owned(), "erc20_approval_tx_parse_failed"),
        // A byte of the call's target.
        ("signedTransaction", transaction.replacen("91a1", "91a2", 1), "erc20_approval_tx_wrong_target"),
        // A byte of the function's selector.
        (
            "signedTransaction",
            transaction.replacen("095ea7b3", "a9059cbb", 1),
            "erc20_approval_tx_wrong_selector",
        ),
    ] {
        let mut extensions = right.clone();
        extensions["erc20ApprovalGasSponsoring"]["info"][member] = json!(wrong);
        let request = with_extensions(&offer, &payload, &extensions);
        assert_eq!(world.refuses(&request).await, reason, "{member}");
    }
    assert_eq!(world.chain.ether(&address(PAYER)), 0);
    world.accepts(&request(&offer, &signed)).await;
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn permit2_takes_no_more_than_it_is_allowed_to() {
    let world = World::new().await;
    let offer = world.offer(by_permit2());
    let signed = world.sign_by(&payer(by_permit2()), &offer, now()).await;
    let allow = |amount: u128| {
        let arguments = [Argument::Address(PERMIT2), Argument::Number(amount)];
        world.chain.send_as(&address(PAYER), USDC, "approve(address,uint256)", &arguments);
    };
    allow(PRICE - 1);
    assert_eq!(world.refuses(&request(&offer, &signed)).await, "permit2_allowance_required");
    allow(PRICE);
    world.accepts(&request(&offer, &signed)).await;
    assert_eq!(world.chain.allowance(USDC, &address(PAYER), PERMIT2), 0);
}
