//! What becomes of settlements when the chain is slow, silent or not what it should be, when they are asked for
//! twice, and when the facilitator stops in between. A payment moves money once or not at all.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod world;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use farthing_protocol::rail::{FacilitatorError, Outcome, Pay, Settle, Tenant};
use farthing_protocol::v2::{FacilitatorRequest, SettlementResponse};
use farthing_rail_evm::{Asset, ConfigError, EvmConfig, EvmOffer, EvmPay, EvmSettle, Transfer};
use futures_util::future::join_all;

use world::anvil::{self, Anvil, USDC};
use world::gate::Gate;
use world::{
    OTHER_SIGNER, PAYER, PRICE, SIGNER, STRANGER, World, address, config, key, not_started, now, refused,
    rpc, settled, usdc,
};

/// Asks for a settlement until it is known what became of it.
async fn known(settle: &EvmSettle, request: &FacilitatorRequest) -> Outcome {
    for _ in 0..200 {
        match settle.settle(&Tenant::local(), request).await {
            Outcome::Unknown(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            known => return known,
        }
    }
    panic!("nobody ever knew what became of the settlement")
}

fn unknown(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unknown(_))
}

/// A facilitator that waits for a receipt only shortly.
async fn impatient() -> World {
    World::with(|config| config.receipt_timeout = Duration::from_millis(400)).await
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn t18_a_settlement_that_is_not_mined_is_unknown_and_settled_once_when_it_is() {
    let world = impatient().await;
    let request = world.pay(&world.offer(usdc())).await;
    world.chain.stop_mining();
    for _ in 0..3 {
        assert!(unknown(&world.settle(&request).await));
    }
    assert_eq!((world.chain.waiting(), world.earned(USDC)), (1, 0));
    world.chain.resume_mining();
    let settlement = settled(known(&world.settle, &request).await);
    assert!(world.chain.receipt(&settlement.transaction).is_some());
    assert_eq!((world.earned(USDC), world.sent()), (PRICE, 1));
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn an_unknown_settlement_that_expires_unmined_is_not_settled() {
    let world = impatient().await;
    let request = world.pay(&world.offer(usdc())).await;
    world.chain.stop_mining();
    assert!(unknown(&world.settle(&request).await));
    // The chain comes to the end of the payment's window without the transaction.
    world.chain.forget_waiting();
    world.chain.pass(400);
    refused(known(&world.settle, &request).await);
    world.chain.resume_mining();
    world.chain.mine();
    assert_eq!(world.earned(USDC), 0);
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn an_authorization_that_somebody_else_used_while_we_waited_is_settled_if_it_moved_the_money() {
    let world = impatient().await;
    let request = world.pay(&world.offer(usdc())).await;
    world.chain.stop_mining();
    assert!(unknown(&world.settle(&request).await));
    // Anybody may hand the authorization to the token.
    world.chain.forget_waiting();
    let (to, data) = authorized_transfer(&request);
    let accounts = world.chain.rpc("eth_accounts", serde_json::json!([]));
    let call = serde_json::json!([{ "from": accounts[1], "to": to, "data": data }]);
    let hash = world.chain.rpc("eth_sendTransaction", call);
    world.chain.resume_mining();
    let settlement = settled(known(&world.settle, &request).await);
    assert_eq!((settlement.transaction.as_str(), world.earned(USDC)), (hash.as_str().unwrap(), PRICE));
}

/// The call of the token that a payment authorizes.
fn authorized_transfer(request: &FacilitatorRequest) -> (String, String) {
    let payload = world::payload_of(request);
    let member = |name: &str| payload["authorization"][name].as_str().unwrap().to_owned();
    let number = |name: &str| member(name).parse().unwrap();
    let signature = hex::decode(payload["signature"].as_str().unwrap().trim_start_matches("0x")).unwrap();
    let (from, to, nonce) = (member("from"), member("to"), member("nonce"));
    let arguments = [
        anvil::Argument::Address(&from),
        anvil::Argument::Address(&to),
        anvil::Argument::Number(number("value")),
        anvil::Argument::Number(number("validAfter")),
        anvil::Argument::Number(number("validBefore")),
        anvil::Argument::Word(&nonce),
        anvil::Argument::Bytes(&signature),
    ];
    let function = "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)";
    (request.payment_requirements.asset.clone(), anvil::call_data(function, &arguments))
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_payment_settled_many_times_at_once_is_sent_once() {
    let world = World::new().await;
    let request = world.pay(&world.offer(usdc())).await;
    let outcomes = join_all((0..16).map(|_| world.settle(&request))).await;
    let transactions: BTreeSet<_> =
        outcomes.into_iter().map(|outcome| settled(outcome).transaction).collect();
    assert_eq!((transactions.len(), world.earned(USDC), world.sent()), (1, PRICE, 1));
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_payment_settled_by_two_processes_at_once_is_sent_once() {
    let world = World::new().await;
    let other = EvmConfig { signers: vec![key(OTHER_SIGNER)], ..config(&world.chain, &world.records) };
    let other = EvmSettle::connect(other).await.unwrap();
    let offer = world.offer(usdc());
    for round in 1..=5 {
        let request = world.pay(&offer).await;
        let (here, there) = tokio::join!(known(&world.settle, &request), known(&other, &request));
        assert_eq!(settled(here).transaction, settled(there).transaction);
        assert_eq!((world.earned(USDC), world.sent()), (round * PRICE, round));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "cargo xtask test"]
async fn thirty_two_payments_at_once_are_settled_by_two_keys_without_a_gap() {
    let world = World::with(|config| config.signers.push(key(OTHER_SIGNER))).await;
    let offer = world.offer(usdc());
    let requests = join_all((0..32).map(|_| world.pay(&offer))).await;
    let outcomes = join_all(requests.iter().map(|request| world.settle(request))).await;
    let transactions: BTreeSet<_> =
        outcomes.into_iter().map(|outcome| settled(outcome).transaction).collect();
    assert_eq!((transactions.len(), world.earned(USDC), world.sent()), (32, 32 * PRICE, 32));
    assert_eq!(world.chain.waiting(), 0);
    // Both had work.
    assert!(world.chain.sent_by(&address(SIGNER)) > 0 && world.chain.sent_by(&address(OTHER_SIGNER)) > 0);
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn t16_of_payments_at_once_for_more_than_there_is_only_some_are_settled_and_all_are_answered() {
    let world = World::new().await;
    let poor = EvmPay::new(&world::network(), key(STRANGER), vec![usdc()]).unwrap();
    world.chain.mint(USDC, &address(STRANGER), 3 * PRICE);
    let offer = world.offer(usdc());
    let mut requests = Vec::new();
    for _ in 0..8 {
        requests.push(world::request(&offer, &world.sign_by(&poor, &offer, now()).await));
    }
    let outcomes = join_all(requests.iter().map(|request| world.settle(request))).await;
    let count = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Settled(_))).count();
    assert!(outcomes.iter().all(|outcome| !unknown(outcome)));
    assert_eq!((count, world.earned(USDC)), (3, 3 * PRICE));
    // The key is not stuck behind those that failed.
    world.accepts(&world.pay(&offer).await).await;
}

/// Settles `request` in a process of its own, which ends as one that is killed does.
fn die_while_settling(world: &World, request: &FacilitatorRequest) -> EvmConfig {
    let config =
        || EvmConfig { receipt_timeout: Duration::from_millis(400), ..config(&world.chain, &world.records) };
    let process = tokio::runtime::Runtime::new().unwrap();
    process.block_on(async {
        let settle = EvmSettle::connect(config()).await.unwrap();
        assert!(unknown(&settle.settle(&Tenant::local(), request).await));
    });
    process.shutdown_background();
    config()
}

#[test]
#[ignore = "cargo xtask test"]
fn t17_what_was_sent_before_a_crash_is_found_out_after_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let request = runtime.block_on(async { world.pay(&world.offer(usdc())).await });
    world.chain.stop_mining();
    let config = die_while_settling(&world, &request);
    assert_eq!(world.chain.waiting(), 1);
    world.chain.resume_mining();
    runtime.block_on(async {
        let settle = EvmSettle::connect(config).await.unwrap();
        let settlement = settled(known(&settle, &request).await);
        assert!(world.chain.receipt(&settlement.transaction).is_some());
    });
    assert_eq!((world.earned(USDC), world.sent()), (PRICE, 1));
}

#[test]
#[ignore = "cargo xtask test"]
fn t17_what_was_written_down_and_not_sent_before_a_crash_is_sent_after_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let request = runtime.block_on(async { world.pay(&world.offer(usdc())).await });
    world.chain.stop_mining();
    let config = die_while_settling(&world, &request);
    // As if it had never reached a node.
    world.chain.forget_waiting();
    world.chain.resume_mining();
    runtime.block_on(async {
        let settle = EvmSettle::connect(config).await.unwrap();
        settled(known(&settle, &request).await);
        // The key goes on behind it.
        let next = world.pay(&world.offer(usdc())).await;
        settled(known(&settle, &next).await);
    });
    assert_eq!((world.earned(USDC), world.sent()), (2 * PRICE, 2));
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn t02_a_facilitator_that_starts_again_knows_what_was_settled() {
    let world = World::new().await;
    let request = world.pay(&world.offer(usdc())).await;
    let first = world.accepts(&request).await;
    let again = EvmSettle::connect(config(&world.chain, &world.records)).await.unwrap();
    let SettlementResponse { transaction, .. } = settled(known(&again, &request).await);
    assert_eq!((transaction, world.earned(USDC), world.sent()), (first.transaction, PRICE, 1));
}

/// A facilitator behind a gate, and a payment to it.
async fn behind(chain: &Anvil, gate: &Gate, others: &[String]) -> (EvmSettle, [FacilitatorRequest; 2]) {
    let urls = [&[gate.url()], others].concat();
    let config = EvmConfig { rpc: rpc(&urls), ..config(chain, &Arc::default()) };
    let offer = world::offer(&EvmOffer::exact(&world::network(), world::SELLER, usdc()).unwrap());
    let pay = |nonce: u8| {
        world::request(&offer, &world::payer(usdc()).pay(&offer, &world::DIGEST, now(), [nonce; 32]).unwrap())
    };
    (EvmSettle::connect(config).await.unwrap(), [pay(1), pay(2)])
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn when_one_endpoint_falls_silent_the_next_is_asked() {
    let chain = world::chain();
    let gate = Gate::before(chain.port());
    let (settle, [first, second]) = behind(&chain, &gate, &[chain.url()]).await;
    settled(settle.settle(&Tenant::local(), &first).await);
    gate.close();
    settled(settle.settle(&Tenant::local(), &second).await);
    assert_eq!((chain.balance(USDC, world::SELLER), chain.sent_by(&address(SIGNER))), (2 * PRICE, 2));
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn t35_while_no_endpoint_answers_nothing_is_known_and_nothing_is_lost() {
    let chain = world::chain();
    let gate = Gate::before(chain.port());
    let (settle, [request, _]) = behind(&chain, &gate, &[]).await;
    gate.close();
    let looked = settle.verify(&Tenant::local(), &request).await;
    assert!(matches!(looked, Err(FacilitatorError::Unreachable(_))), "{looked:?}");
    assert!(unknown(&settle.settle(&Tenant::local(), &request).await));
    gate.open();
    settled(known(&settle, &request).await);
    assert_eq!((chain.balance(USDC, world::SELLER), chain.sent_by(&address(SIGNER))), (PRICE, 1));
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn a_facilitator_starts_only_on_a_chain_that_is_what_it_was_told() {
    let chain = world::chain();
    let other = Anvil::bare(1);
    let records = Arc::default();
    let configured = || config(&chain, &records);
    let token = |address: &str, name: &str, version: &str, decimals: u8| {
        vec![Asset::new(address, name, version, decimals, "USD", Transfer::Eip3009).unwrap()]
    };
    for (wrong, says) in [
        (EvmConfig { rpc: rpc(&[other.url()]), ..configured() }, "chain 1"),
        (EvmConfig { rpc: rpc(&[chain.url(), other.url()]), ..configured() }, "chain 1"),
        (EvmConfig { rpc: rpc(&["http://127.0.0.1:9".to_owned()]), ..configured() }, "no endpoint answers"),
        (EvmConfig { assets: token(USDC, "USD Coin", "2", 6), ..configured() }, "EIP-712 domain"),
        (EvmConfig { assets: token(USDC, "USDC", "1", 6), ..configured() }, "EIP-712 domain"),
        (EvmConfig { assets: token(USDC, "USDC", "2", 18), ..configured() }, "decimals"),
        (EvmConfig { assets: token(&address(PAYER), "USDC", "2", 6), ..configured() }, "is no contract"),
        (EvmConfig { assets: token(anvil::PLAIN, "Plain", "", 6), ..configured() }, "EIP-712 domain"),
        (EvmConfig { assets: Vec::new(), ..configured() }, "at least one token"),
        (EvmConfig { signers: Vec::new(), ..configured() }, "at least one key"),
        (EvmConfig { signers: vec![key(SIGNER), key(SIGNER)], ..configured() }, "one key twice"),
        (EvmConfig { wallet_factories: vec!["here".into()], ..configured() }, "no address"),
    ] {
        let fault: ConfigError = not_started(wrong).await;
        assert!(fault.to_string().contains(says), "{fault}");
    }
    assert!(EvmSettle::connect(configured()).await.is_ok());
}
