//! The private chain of the tests, and the contracts on it.

use farthing_testkit::anvil::{self, Anvil, Argument};
use serde_json::json;

const ALICE: &str = "0x00000000000000000000000000000000000a11ce";

#[test]
#[ignore = "cargo xtask test"]
fn a_chain_has_the_contracts_where_payments_expect_them() {
    let chain = Anvil::start();
    for address in [
        anvil::USDC,
        anvil::PERMIT2,
        anvil::EXACT_PROXY,
        anvil::UPTO_PROXY,
        anvil::MULTICALL3,
        anvil::WALLET_FACTORY,
    ] {
        let code = chain.rpc("eth_getCode", json!([address, "latest"]));
        assert!(code.as_str().unwrap().len() > 1_000, "{address}");
    }
    chain.mint(anvil::USDC, ALICE, 1_000_000);
    assert_eq!(chain.balance(anvil::USDC, ALICE), 1_000_000);
    assert_eq!(chain.read(anvil::USDC, "decimals()", &[]), 6);
    chain.approve_permit2(anvil::USDC, ALICE);
    assert_eq!(chain.allowance(anvil::USDC, ALICE, anvil::PERMIT2), u128::MAX);
    assert_eq!(chain.ether(ALICE), 0);
}

#[test]
#[ignore = "cargo xtask test"]
fn a_wallet_is_made_at_the_address_that_was_known_before() {
    let chain = Anvil::start();
    let before = chain.wallet(anvil::WALLET_FACTORY, ALICE, 7);
    assert_eq!(chain.rpc("eth_getCode", json!([before, "latest"])), "0x");
    assert_eq!(chain.make_wallet(anvil::WALLET_FACTORY, ALICE, 7), before);
    let owner =
        chain.rpc("eth_call", json!([{ "to": before, "data": anvil::call_data("owner()", &[]) }, "latest"]));
    assert!(owner.as_str().unwrap().ends_with(ALICE.trim_start_matches("0x")));
    assert_ne!(chain.wallet(anvil::OTHER_FACTORY, ALICE, 7), before);
}

#[test]
#[ignore = "cargo xtask test"]
fn transactions_wait_while_mining_is_stopped() {
    let chain = Anvil::start();
    chain.stop_mining();
    let accounts = chain.rpc("eth_accounts", json!([]));
    let data = anvil::call_data("mint(address,uint256)", &[Argument::Address(ALICE), Argument::Number(5)]);
    let call = json!({ "from": accounts[0], "to": anvil::USDC, "data": data });
    let hash = chain.rpc("eth_sendTransaction", json!([call]));
    let hash = hash.as_str().unwrap();
    assert_eq!(chain.waiting(), 1);
    assert_eq!((chain.receipt(hash), chain.balance(anvil::USDC, ALICE)), (None, 0));
    chain.resume_mining();
    anvil::eventually("the transaction is mined", || chain.receipt(hash));
    assert_eq!(chain.balance(anvil::USDC, ALICE), 5);
    chain.mint(anvil::USDC, ALICE, 1);
    assert_eq!(chain.balance(anvil::USDC, ALICE), 6);
}

#[test]
#[ignore = "cargo xtask test"]
fn a_chain_ends_with_its_owner() {
    let chain = Anvil::bare(1);
    let port = chain.port();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    drop(chain);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}
