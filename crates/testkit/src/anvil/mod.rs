//! A private chain for tests: an anvil on loopback that dies with its test, with the contracts of
//! `tests/contracts` where payments expect them.
//!
//! [`Anvil::start`] is Base Sepolia as far as payments can tell: a token like USDC, Permit2, the two proxies of
//! x402 and Multicall3 stand at their addresses. Blocks come each second and with each transaction. What happened
//! is read from the chain: [`Anvil::balance`] is the oracle.
//!
//! Calls block; they go to loopback and take less than a millisecond. Needs what `cargo xtask test` installs with
//! npm. This module uses the standard library and `serde_json` alone, so that crates which testkit depends on may
//! include it by its path.
#![allow(dead_code, unreachable_pub, reason = "each crate that includes this uses its part")]

mod contracts;
mod http;

pub use contracts::{Argument, call_data};

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The chain that [`Anvil::start`] says it is: Base Sepolia.
pub const CHAIN_ID: u64 = 84532;
/// Its name in x402.
pub const NETWORK: &str = "eip155:84532";
/// The token `USDC`, version 2, 6 decimals (contract `TestToken`).
pub const USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
/// A token that knows ERC-20 only: `Plain`, 6 decimals (contract `PlainToken`).
pub const PLAIN: &str = "0x00000000000000000000000000000000000091a1";
/// A token that lies when told to: `Liar`, version 1, 6 decimals (contract `LyingToken`).
pub const LIAR: &str = "0x0000000000000000000000000000000000001a12";
/// Permit2.
pub const PERMIT2: &str = "0x000000000022D473030F116dDEE9F6B43aC78BA3";
/// The proxy of scheme `exact`.
pub const EXACT_PROXY: &str = "0x402085c248EeA27D92E8b30b2C58ed07f9E20001";
/// The proxy of scheme `upto`.
pub const UPTO_PROXY: &str = "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002";
/// Multicall3.
pub const MULTICALL3: &str = "0xcA11bde05977b3631167028862bE2a173976CA11";
/// Makes wallets (contract `WalletFactory`).
pub const WALLET_FACTORY: &str = "0x0000000000000000000000000000000000fac701";
/// Makes the same wallets at other addresses, for tests that trust only the first.
pub const OTHER_FACTORY: &str = "0x0000000000000000000000000000000000fac702";

/// Ends anvil and removes its files when the pipe to the test closes. `$1`: the directory; then the command.
const WATCH: &str = r#"
directory=$1
shift
"$@" >"$directory/log" 2>&1 &
read -r _
kill -9 $!
wait $! 2>/dev/null
rm -rf "$directory"
"#;

/// A running chain; it ends when this is dropped.
#[derive(Debug)]
pub struct Anvil {
    port: u16,
    watch: Option<Child>,
}

impl Anvil {
    /// A chain with everything that payments need.
    ///
    /// # Panics
    /// When the programs are missing or the chain does not start; so for everything here.
    pub fn start() -> Self {
        let chain = Self::bare(CHAIN_ID);
        for (contract, address) in [
            ("Permit2", PERMIT2),
            ("X402ExactPermit2Proxy", EXACT_PROXY),
            ("X402UptoPermit2Proxy", UPTO_PROXY),
            ("Multicall3", MULTICALL3),
            ("WalletFactory", WALLET_FACTORY),
            ("WalletFactory", OTHER_FACTORY),
        ] {
            chain.place(contract, address);
        }
        chain.place_token("TestToken", USDC, "USDC", "2", 6);
        chain.place_token("PlainToken", PLAIN, "Plain", "", 6);
        chain.place_token("LyingToken", LIAR, "Liar", "1", 6);
        chain
    }

    /// A chain with nothing on it but ten rich accounts of anvil's.
    pub fn bare(chain_id: u64) -> Self {
        Self::with(chain_id, &["--block-time", "1", "--mixed-mining"])
    }

    /// As [`bare`](Self::bare), with blocks when the test mines them ([`mine`](Self::mine)) and no others.
    pub fn without_mining(chain_id: u64) -> Self {
        Self::with(chain_id, &["--no-mining"])
    }

    fn with(chain_id: u64, mining: &[&str]) -> Self {
        let program = contracts::anvil();
        let directory = fresh_directory();
        let mut watch = Command::new("sh");
        watch.args(["-c", WATCH, "sh"]).arg(&directory).arg(program);
        watch.args(["--port", "0", "--chain-id", &chain_id.to_string()]).args(mining);
        // It keeps files below the home directory.
        watch.env("HOME", &directory).current_dir("/");
        let watch = watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let log = directory.join("log");
        let port = eventually("anvil listens", || {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let (_, rest) = said.split_once("Listening on 127.0.0.1:")?;
            rest.split_once('\n')?.0.trim().parse().ok()
        });
        let chain = Self { port, watch: Some(watch) };
        assert_eq!(number(&chain.rpc("eth_chainId", json!([]))), u128::from(chain_id));
        chain
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port of 127.0.0.1 where it answers.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Calls a method and returns its result.
    pub fn rpc(&self, method: &str, params: Value) -> Value {
        self.try_rpc(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// As [`rpc`](Self::rpc).
    ///
    /// # Errors
    /// The error that the chain answers with.
    pub fn try_rpc(&self, method: &str, params: Value) -> Result<Value, Value> {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut answer = http::post(self.port, &call);
        match answer.get_mut("error") {
            Some(error) => Err(error.take()),
            None => Ok(answer["result"].take()),
        }
    }

    /// Puts the code of a contract of `tests/contracts` at an address. Its storage stays.
    pub fn place(&self, contract: &str, address: &str) {
        self.rpc("anvil_setCode", json!([address, contracts::code(contract)]));
    }

    /// Removes the code at an address. Its storage stays.
    pub fn remove_code(&self, address: &str) {
        self.rpc("anvil_setCode", json!([address, "0x"]));
    }

    /// Puts a token at an address and gives it its name, version and decimals.
    pub fn place_token(&self, contract: &str, address: &str, name: &str, version: &str, decimals: u8) {
        self.place(contract, address);
        let arguments =
            [Argument::Text(name), Argument::Text(version), Argument::Number(u128::from(decimals))];
        self.send(address, "init(string,string,uint8)", &arguments);
    }

    /// Makes `wei` the ether that an account has.
    pub fn give_ether(&self, account: &str, wei: u128) {
        self.rpc("anvil_setBalance", json!([account, format!("{wei:#x}")]));
    }

    /// The ether of an account, in wei.
    pub fn ether(&self, account: &str) -> u128 {
        number(&self.rpc("eth_getBalance", json!([account, "latest"])))
    }

    /// Gives an account new tokens, in atomic units.
    pub fn mint(&self, token: &str, account: &str, amount: u128) {
        self.send(token, "mint(address,uint256)", &[Argument::Address(account), Argument::Number(amount)]);
    }

    /// The tokens of an account, in atomic units.
    pub fn balance(&self, token: &str, account: &str) -> u128 {
        self.read(token, "balanceOf(address)", &[Argument::Address(account)])
    }

    /// What `spender` may take of an owner's tokens; `u128::MAX` for more than fits.
    pub fn allowance(&self, token: &str, owner: &str, spender: &str) -> u128 {
        let arguments = [Argument::Address(owner), Argument::Address(spender)];
        self.read(token, "allowance(address,address)", &arguments)
    }

    /// Lets Permit2 take an account's tokens, all of them, as if the account had sent that itself.
    pub fn approve_permit2(&self, token: &str, owner: &str) {
        let arguments = [Argument::Address(PERMIT2), Argument::Everything];
        self.send_as(owner, token, "approve(address,uint256)", &arguments);
    }

    /// Makes the token [`LIAR`] behave: 0 honest, 1 moves nothing and says nothing, 2 moves half and says so.
    pub fn lie(&self, manner: u128) {
        self.send(LIAR, "lie(uint256)", &[Argument::Number(manner)]);
    }

    /// The address that `factory` gives the wallet of `owner`, made or not.
    pub fn wallet(&self, factory: &str, owner: &str, salt: u128) -> String {
        let data = call_data("wallet(address,uint256)", &[Argument::Address(owner), Argument::Number(salt)]);
        let word = self.rpc("eth_call", json!([{ "to": factory, "data": data }, "latest"]));
        let word = word.as_str().unwrap();
        format!("0x{}", &word[word.len() - 40..])
    }

    /// Makes the wallet of `owner` and returns its address.
    pub fn make_wallet(&self, factory: &str, owner: &str, salt: u128) -> String {
        let arguments = [Argument::Address(owner), Argument::Number(salt)];
        self.send(factory, "deploy(address,uint256)", &arguments);
        self.wallet(factory, owner, salt)
    }

    /// Calls a function of a contract in a transaction of anvil's own account and returns the receipt.
    pub fn send(&self, to: &str, function: &str, arguments: &[Argument<'_>]) -> Value {
        let accounts = self.rpc("eth_accounts", json!([]));
        self.transact(accounts[9].as_str().unwrap(), to, function, arguments)
    }

    /// As [`send`](Self::send), in the name of any account, without its key.
    pub fn send_as(&self, from: &str, to: &str, function: &str, arguments: &[Argument<'_>]) -> Value {
        let ether = self.ether(from);
        self.give_ether(from, 10u128.pow(18));
        self.rpc("anvil_impersonateAccount", json!([from]));
        let receipt = self.transact(from, to, function, arguments);
        self.rpc("anvil_stopImpersonatingAccount", json!([from]));
        self.give_ether(from, ether);
        receipt
    }

    fn transact(&self, from: &str, to: &str, function: &str, arguments: &[Argument<'_>]) -> Value {
        let call = json!({ "from": from, "to": to, "data": call_data(function, arguments) });
        let hash = self.rpc("eth_sendTransaction", json!([call]));
        let receipt = eventually("a transaction of the test's is mined", || {
            let receipt = self.rpc("eth_getTransactionReceipt", json!([hash]));
            (!receipt.is_null()).then_some(receipt)
        });
        assert_eq!(receipt["status"], "0x1", "{function} of {to} failed: {receipt}");
        receipt
    }

    /// Calls a function that returns one number; `u128::MAX` for one that does not fit.
    pub fn read(&self, contract: &str, function: &str, arguments: &[Argument<'_>]) -> u128 {
        let call = json!({ "to": contract, "data": call_data(function, arguments) });
        number(&self.rpc("eth_call", json!([call, "latest"])))
    }

    /// How many transactions an account has sent that were mined.
    pub fn sent_by(&self, account: &str) -> u128 {
        number(&self.rpc("eth_getTransactionCount", json!([account, "latest"])))
    }

    /// The time of the last block, in Unix seconds.
    pub fn now(&self) -> u64 {
        let block = self.rpc("eth_getBlockByNumber", json!(["latest", false]));
        number(&block["timestamp"]) as u64
    }

    /// The receipt of a transaction, if it was mined.
    pub fn receipt(&self, hash: &str) -> Option<Value> {
        Some(self.rpc("eth_getTransactionReceipt", json!([hash]))).filter(|receipt| !receipt.is_null())
    }

    /// From now on transactions wait, and there are no blocks.
    pub fn stop_mining(&self) {
        self.rpc("evm_setIntervalMining", json!([0]));
    }

    /// From now on each transaction makes a block, as it did before [`stop_mining`](Self::stop_mining); those that
    /// wait are mined now.
    pub fn resume_mining(&self) {
        self.rpc("evm_setAutomine", json!([true]));
        self.mine();
    }

    /// Makes one block.
    pub fn mine(&self) {
        self.rpc("evm_mine", json!([]));
    }

    /// Moves the chain's clock on and makes a block.
    pub fn pass(&self, seconds: u64) {
        self.rpc("evm_increaseTime", json!([seconds]));
        self.mine();
    }

    /// How many transactions wait to be mined.
    pub fn waiting(&self) -> u128 {
        number(&self.rpc("txpool_status", json!([]))["pending"])
    }

    /// Forgets the transactions that wait to be mined.
    pub fn forget_waiting(&self) {
        self.rpc("anvil_dropAllTransactions", json!([]));
    }

    /// What all of this is now; [`go_back`](Self::go_back) returns to it once.
    pub fn remember(&self) -> Value {
        self.rpc("evm_snapshot", json!([]))
    }

    /// Makes everything what it was at a moment.
    pub fn go_back(&self, moment: &Value) {
        assert_eq!(self.rpc("evm_revert", json!([moment])), true);
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        if let Some(mut watch) = self.watch.take() {
            // The pipe closes, and the chain is gone when the shell is.
            drop(watch.stdin.take());
            let _ = watch.wait();
        }
    }
}

/// Asks until there is an answer, for at most twenty seconds.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A quantity of JSON-RPC (`0x…`); `u128::MAX` when it does not fit.
pub fn number(value: &Value) -> u128 {
    let text = value.as_str().and_then(|text| text.strip_prefix("0x"));
    let digits = text.unwrap_or_else(|| panic!("{value} is no number")).trim_start_matches('0');
    if digits.len() > 32 {
        return u128::MAX;
    }
    u128::from_str_radix(if digits.is_empty() { "0" } else { digits }, 16).unwrap()
}

fn fresh_directory() -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let name = format!("farthing-anvil-{}-{:x}-{count}", std::process::id(), now.as_nanos() as u64);
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir(&directory).unwrap();
    directory
}
