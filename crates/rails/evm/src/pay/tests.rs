use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use alloy_primitives::hex;
use alloy_sol_types::SolCall;
use farthing_protocol::Amount;
use farthing_protocol::v2::Extensions;
use serde_json::json;

use super::*;
use crate::assets::of_network;
use crate::contracts::{Permit2 as Permit2Contract, Token as Erc20};
use crate::wire::tests::{Paid, vectors};

const TRANSACTION: &str = "0x5555555555555555555555555555555555555555555555555555555555555555";
const DIGEST: RequestDigest = RequestDigest([7; 32]);
/// Of the vectors' offers by Permit2.
const EXACT_PERMIT2: usize = 2;
const BY_UPTO: usize = 3;

fn wallet() -> EvmPay {
    let network = "eip155:84532".parse().unwrap();
    let key = EvmKey::from_hex(&vectors().key).unwrap();
    EvmPay::new(&network, key, of_network(&network).to_vec()).unwrap()
}

fn vector(at: usize) -> Paid {
    vectors().pay.swap_remove(at)
}

fn pay(wallet: &EvmPay, paid: &Paid) -> Result<SignedPayment, OfferError> {
    let mut random = [0; 32];
    hex::decode_to_slice(&paid.random, &mut random).unwrap();
    wallet.pay(&paid.offer, &DIGEST, paid.now, random)
}

fn extension(extensions: &Extensions, name: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(extensions.get(name)?.get()).unwrap();
    Some(value["info"].clone())
}

#[test]
fn a_wallet_signs_what_the_vectors_say() {
    let wallet = wallet();
    for paid in vectors().pay {
        let name = &paid.golden.name;
        assert_eq!(wallet.judge(&paid.offer, &DIGEST, paid.now), Ok(()), "{name}");
        let payment = pay(&wallet, &paid).unwrap();
        let [signed, golden]: [Value; 2] =
            [payment.payload.get(), &paid.golden.payload].map(|text| serde_json::from_str(text).unwrap());
        assert_eq!(signed, golden, "{name}");
        assert_eq!(payment.id.to_string(), paid.golden.payment, "{name}");
        assert_eq!(payment.max_amount, paid.offer.amount);
        assert_eq!(payment.capture_deadline, payment.valid_before);
        assert!(payment.extensions.is_empty());
    }
}

#[test]
fn an_offer_that_names_anything_unknown_is_not_signed() {
    let wallet = wallet();
    let paid = vector(0);
    let upto = vector(BY_UPTO);
    let with = |paid: &Paid, member: &str, value: Value| {
        let mut offer = serde_json::to_value(&paid.offer).unwrap();
        match member.split_once('.') {
            Some((_, extra)) => offer["extra"][extra] = value,
            None => offer[member] = value,
        }
        let offer: PaymentRequirements = serde_json::from_value(offer).unwrap();
        assert_eq!(wallet.judge(&offer, &DIGEST, 0), wallet.pay(&offer, &DIGEST, 0, [1; 32]).map(|_| ()));
        wallet.judge(&offer, &DIGEST, 0)
    };
    let fault = |paid: &Paid, member: &str, value: Value| match with(paid, member, value) {
        Err(OfferError::Field { field, .. }) => assert_eq!(field, member),
        other => panic!("{member}: {other:?}"),
    };
    fault(&paid, "network", json!("eip155:8453"));
    fault(&paid, "scheme", json!("auth-capture"));
    fault(&paid, "payTo", json!("somebody"));
    fault(&paid, "payTo", json!("0x0000000000000000000000000000000000000000"));
    fault(&paid, "extra.name", json!("USD Coin"));
    fault(&paid, "extra.name", json!(2));
    fault(&paid, "extra.version", json!("1"));
    fault(&paid, "extra.assetTransferMethod", json!("erc7710"));
    fault(&paid, "extra.paymentFlow", json!("escrow"));
    fault(&upto, "extra.facilitatorAddress", json!(null));
    fault(&upto, "extra.facilitatorAddress", json!("0x0000000000000000000000000000000000000000"));
    fault(&upto, "extra.assetTransferMethod", json!("eip3009"));
    let look_alike = json!("0x036CbD53842c5426634e7929541eC2318f3dCF7f");
    assert!(matches!(with(&paid, "asset", look_alike), Err(OfferError::UnknownAsset { .. })));

    for flow in [json!(null), json!("authorization"), json!("upfront")] {
        assert_eq!(with(&paid, "extra.paymentFlow", flow), Ok(()));
    }
    for method in [json!(null), json!("eip3009"), json!("permit2")] {
        assert_eq!(with(&paid, "extra.assetTransferMethod", method), Ok(()));
    }
    let lower = json!(paid.offer.asset.to_lowercase());
    assert_eq!(with(&paid, "asset", lower), Ok(()));
    assert_eq!(with(&paid, "extra.name", json!(null)), Ok(()));
    assert_eq!(with(&upto, "extra.assetTransferMethod", json!(null)), Ok(()));
}

#[test]
fn a_token_that_is_moved_by_permit2_is_not_paid_by_eip_3009() {
    let network: Network = "eip155:4326".parse().unwrap();
    let key = EvmKey::from_hex(&vectors().key).unwrap();
    let wallet = EvmPay::new(&network, key, of_network(&network).to_vec()).unwrap();
    let asset = of_network(&network)[0].address.to_string();
    let mut offer = PaymentRequirements { network, asset, extra: Default::default(), ..vector(0).offer };
    assert!(wallet.judge(&offer, &DIGEST, 0).is_err());
    offer.extra.insert("assetTransferMethod".into(), json!("permit2"));
    assert_eq!(wallet.judge(&offer, &DIGEST, 0), Ok(()));
    assert_eq!(wallet.scale(&offer.asset.to_lowercase()), Some(18));
    assert_eq!(wallet.scale("0x036CbD53842c5426634e7929541eC2318f3dCF7e"), None);
}

#[test]
fn a_token_has_one_spelling_and_a_currency_means_the_first_token_of_it() {
    let wallet = wallet();
    let usdc = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
    for name in [usdc, &usdc.to_lowercase(), "USD"] {
        assert_eq!(wallet.asset(name).as_deref(), Some(usdc), "{name}");
    }
    assert_eq!(wallet.asset("XTS"), None);
    assert_eq!(wallet.asset("0x036CbD53842c5426634e7929541eC2318f3dCF7f"), None);
    assert_eq!(wallet.currency(usdc), "USD");
    // An offer names the contract, never a currency.
    let offer = PaymentRequirements { asset: "USD".into(), ..vector(0).offer };
    assert!(matches!(wallet.judge(&offer, &DIGEST, 0), Err(OfferError::UnknownAsset { .. })));
    assert!(wallet.speaks_v1());
}

#[test]
fn a_wallet_needs_a_chain_and_tokens_that_differ() {
    let network: Network = "eip155:84532".parse().unwrap();
    let with = |network: &Network, assets: Vec<Asset>| {
        EvmPay::new(network, EvmKey::from_hex(&vectors().key).unwrap(), assets).err()
    };
    let usdc = of_network(&network)[0].clone();
    let lower = Asset { address: usdc.address.to_lowercase().into(), ..usdc.clone() };
    assert_eq!(with(&network, vec![usdc.clone()]), None);
    assert!(with(&network, vec![usdc.clone(), lower]).is_some());
    assert!(with(&network, Vec::new()).is_some());
    assert!(with(&"solana:84532".parse().unwrap(), vec![usdc]).is_some());
}

#[test]
fn a_sellers_word_is_unproven_unless_it_contradicts_what_was_signed() {
    let wallet = wallet();
    let payment = pay(&wallet, &vector(0)).unwrap();
    let said = |network: &str, payer: &str, amount: u128| SettlementResponse {
        success: true,
        network: network.into(),
        payer: Some(payer.into()),
        amount: Some(Amount(amount)),
        transaction: TRANSACTION.into(),
        ..SettlementResponse::default()
    };
    let payer = wallet.address().to_lowercase();
    for network in ["eip155:84532", "base-sepolia", ""] {
        assert_eq!(wallet.confirm(&payment, &said(network, &payer, 1000)), Confirmation::Unproven);
    }
    let contradictions = [
        said("eip155:8453", &payer, 1000),
        said("eip155:84532", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", 1000),
        said("eip155:84532", &payer, 1001),
    ];
    for contradiction in contradictions {
        let confirmation = wallet.confirm(&payment, &contradiction);
        assert!(matches!(confirmation, Confirmation::Contradicted(_)), "{confirmation:?}");
    }
    let refused = SettlementResponse { success: false, ..said("eip155:8453", "", 9999) };
    assert_eq!(wallet.confirm(&payment, &refused), Confirmation::Unproven);
}

#[tokio::test]
async fn without_a_chain_nothing_is_looked_up_and_nothing_is_proven() {
    let wallet = wallet();
    let paid = vector(EXACT_PERMIT2);
    assert_eq!(wallet.look_up(&paid.offer).await, Ok(()));
    let payment = pay(&wallet, &paid).unwrap();
    assert!(payment.extensions.is_empty());
    assert_eq!(wallet.status(&payment).await, Confirmation::Unproven);
}

#[tokio::test]
async fn what_an_address_has_is_what_the_token_says() {
    let silent = wallet();
    let asset = vector(0).offer.asset;
    let account = silent.key.account();
    let chain = Chain::start(State { balance: Some((account, 42)), ..State::default() });
    let wallet = wallet().rpc(chain.rpc());
    assert_eq!(wallet.balance(&asset, 0).await, Ok(Amount(42)));
    assert!(wallet.balance("0x70997970C51812dc3A010C7d01b50e0d17dc79C8", 0).await.is_err(), "no known token");
    assert!(silent.balance(&asset, 0).await.is_err(), "nobody to ask");
}

#[tokio::test]
async fn a_permit_for_permit2_goes_along_when_the_allowance_is_too_small() {
    let chain = Chain::start(State { allowance: U256::from(999), ..State::default() });
    let wallet = wallet().rpc(chain.rpc());
    let mut paid = vector(EXACT_PERMIT2);
    paid.offer.max_timeout_seconds = 300;
    wallet.look_up(&paid.offer).await.unwrap();
    let payment = pay(&wallet, &paid).unwrap();
    let info = extension(&payment.extensions, "eip2612GasSponsoring");
    assert_eq!(info.as_ref(), Some(&vectors().eip2612[0].info));

    chain.set(|state| state.allowance = U256::from(1000));
    wallet.look_up(&paid.offer).await.unwrap();
    assert!(pay(&wallet, &paid).unwrap().extensions.is_empty());
}

#[tokio::test]
async fn a_signed_approval_goes_along_for_a_token_without_permits() {
    let vector_ = vectors().approval.swap_remove(0);
    let base_fee = u64::try_from((vector_.max_fee - vector_.tip) / 2).unwrap();
    let chain = Chain::start(State {
        permits: false,
        transactions: vector_.nonce,
        base_fee,
        tip: u64::try_from(vector_.tip).unwrap(),
        ..State::default()
    });
    let wallet = wallet().rpc(chain.rpc());
    let paid = vector(EXACT_PERMIT2);
    wallet.look_up(&paid.offer).await.unwrap();
    let payment = pay(&wallet, &paid).unwrap();
    assert_eq!(extension(&payment.extensions, "erc20ApprovalGasSponsoring"), Some(vector_.info));
    assert_eq!(extension(&payment.extensions, "eip2612GasSponsoring"), None);
}

#[tokio::test]
async fn an_allowance_without_end_is_asked_for_once_and_eip_3009_never() {
    let chain = Chain::start(State { allowance: U256::MAX, ..State::default() });
    let wallet = wallet().rpc(chain.rpc());
    wallet.look_up(&vector(0).offer).await.unwrap();
    assert_eq!(chain.asked(), 0);
    let paid = vector(EXACT_PERMIT2);
    wallet.look_up(&paid.offer).await.unwrap();
    let asked = chain.asked();
    assert!(asked > 0);
    wallet.look_up(&paid.offer).await.unwrap();
    assert_eq!(chain.asked(), asked);
    assert!(pay(&wallet, &paid).unwrap().extensions.is_empty());
}

#[tokio::test]
async fn a_chain_that_does_not_answer_stops_the_payment_and_proves_nothing() {
    let rpc = Chain::start(State::default()).rpc();
    let wallet = wallet().rpc(rpc);
    let paid = vector(EXACT_PERMIT2);
    assert!(matches!(wallet.look_up(&paid.offer).await, Err(OfferError::Unavailable(_))));
    let payment = pay(&wallet, &vector(0)).unwrap();
    assert_eq!(wallet.status(&payment).await, Confirmation::Unproven);
}

#[tokio::test]
async fn the_nonce_on_chain_decides_what_became_of_a_payment() {
    for at in [0, EXACT_PERMIT2] {
        let chain = Chain::start(State::default());
        let wallet = wallet().rpc(chain.rpc());
        let paid = vector(at);
        let payment = pay(&wallet, &paid).unwrap();
        let end = payment.valid_before;
        for (timestamp, expected) in [
            (paid.now, Confirmation::Open),
            (end + 60, Confirmation::Open),
            (end + 61, Confirmation::NotTaken),
        ] {
            chain.set(|state| state.timestamp = timestamp);
            assert_eq!(wallet.status(&payment).await, expected, "{at} at {timestamp}");
        }
        chain.set(|state| state.used_since = Some(state.block));
        assert_eq!(wallet.status(&payment).await, Confirmation::Taken(payment.max_amount), "{at}");
    }
}

#[tokio::test]
async fn a_payment_that_this_wallet_did_not_sign_is_unproven() {
    let chain = Chain::start(State { used_since: Some(0), ..State::default() });
    let wallet = wallet().rpc(chain.rpc());
    let mut payment = pay(&wallet, &vector(0)).unwrap();
    payment.id.0[0] ^= 1;
    assert_eq!(wallet.status(&payment).await, Confirmation::Unproven);
}

#[tokio::test]
async fn what_upto_took_is_what_the_named_transaction_moved_in_the_block_that_used_the_nonce() {
    let paid = vector(BY_UPTO);
    let chain = Chain::start(State { used_since: Some(90), moved: Some((90, 1234)), ..State::default() });
    let wallet = wallet().rpc(chain.rpc());
    let payment = pay(&wallet, &paid).unwrap();
    // Nobody has named a transaction.
    assert_eq!(wallet.status(&payment).await, Confirmation::Unproven);
    let said = SettlementResponse { success: true, transaction: TRANSACTION.into(), ..Default::default() };
    assert_eq!(wallet.confirm(&payment, &said), Confirmation::Unproven);
    assert_eq!(wallet.status(&payment).await, Confirmation::Taken(Amount(1234)));
    // An earlier, smaller one is named.
    chain.set(|state| state.moved = Some((80, 1)));
    assert_eq!(wallet.status(&payment).await, Confirmation::Unproven);
    chain.set(|state| state.moved = Some((95, 1)));
    assert_eq!(wallet.status(&payment).await, Confirmation::Unproven);
}

/// What the scripted chain says.
#[derive(Clone)]
struct State {
    block: u64,
    timestamp: u64,
    base_fee: u64,
    tip: u64,
    allowance: U256,
    /// Whose tokens, and how many.
    balance: Option<(Address, u64)>,
    permits: bool,
    transactions: u64,
    /// The block since which the nonce is used.
    used_since: Option<u64>,
    /// The block of the transaction, and what it moved.
    moved: Option<(u64, u64)>,
    asked: usize,
}

impl Default for State {
    fn default() -> Self {
        Self {
            block: 100,
            timestamp: 1_800_000_000,
            base_fee: 7,
            tip: 1,
            allowance: U256::ZERO,
            balance: None,
            permits: true,
            transactions: 0,
            used_since: None,
            moved: None,
            asked: 0,
        }
    }
}

impl State {
    fn answer(&mut self, request: &Value) -> Value {
        self.asked += 1;
        let params = &request["params"];
        let result = match request["method"].as_str().unwrap() {
            "eth_call" => self.call(&params[0], &params[1]),
            "eth_getTransactionCount" => Ok(json!(format!("{:#x}", self.transactions))),
            "eth_maxPriorityFeePerGas" => Ok(json!(format!("{:#x}", self.tip))),
            "eth_getBlockByNumber" => Ok(json!({
                "number": format!("{:#x}", self.block),
                "timestamp": format!("{:#x}", self.timestamp),
                "baseFeePerGas": format!("{:#x}", self.base_fee),
            })),
            "eth_getTransactionReceipt" => Ok(self.receipt()),
            other => panic!("{other} is not expected"),
        };
        match result {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }),
            Err(()) => json!({
                "jsonrpc": "2.0", "id": request["id"],
                "error": { "code": 3, "message": "execution reverted", "data": "0x" },
            }),
        }
    }

    fn call(&self, call: &Value, at: &Value) -> Result<Value, ()> {
        let data = hex::decode(call["data"].as_str().unwrap()).unwrap();
        let selector: [u8; 4] = data[..4].try_into().unwrap();
        let number = |word: U256| Ok(json!(format!("{:#066x}", word)));
        if selector == Erc20::allowanceCall::SELECTOR {
            return number(self.allowance);
        }
        if selector == Erc20::balanceOfCall::SELECTOR {
            let of = Erc20::balanceOfCall::abi_decode(&data).unwrap().account;
            let has = self.balance.filter(|(owner, _)| *owner == of).map_or(0, |(_, amount)| amount);
            return number(U256::from(has));
        }
        if selector == Erc20::noncesCall::SELECTOR {
            return if self.permits { number(U256::ZERO) } else { Err(()) };
        }
        let at = at.as_str().unwrap().strip_prefix("0x").map(|at| u64::from_str_radix(at, 16).unwrap());
        let used = self.used_since.is_some_and(|since| since <= at.unwrap());
        if selector == Erc20::authorizationStateCall::SELECTOR {
            return number(U256::from(u8::from(used)));
        }
        assert_eq!(selector, Permit2Contract::nonceBitmapCall::SELECTOR);
        // The last byte of the vectors' nonce.
        number(if used { U256::from(1) << 32 } else { U256::MAX ^ (U256::from(1) << 32) })
    }

    fn receipt(&self) -> Value {
        let Some((block, amount)) = self.moved else { return Value::Null };
        let word = |address: &str| format!("0x{:0>64}", address[2..].to_lowercase());
        let topics = [
            crate::wire::TRANSFER_TOPIC.to_string(),
            word("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
            word("0x70997970C51812dc3A010C7d01b50e0d17dc79C8"),
        ];
        let log = json!({
            "address": vector(0).offer.asset, "topics": topics, "data": format!("{amount:#066x}"),
            "transactionHash": TRANSACTION,
        });
        json!({
            "transactionHash": TRANSACTION, "status": "0x1", "blockNumber": format!("{block:#x}"), "logs": [log],
        })
    }
}

/// A JSON-RPC endpoint on a port of its own, until it is dropped.
struct Chain {
    state: Arc<Mutex<Option<State>>>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Chain {
    fn start(state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(Some(state)));
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().unwrap().is_none() {
                    return;
                }
                let _ = serve(&stream.unwrap(), &shared);
            }
        });
        Self { state, address, thread: Some(thread) }
    }

    fn rpc(&self) -> Rpc {
        Rpc::new([format!("http://{}", self.address)]).unwrap()
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(self.state.lock().unwrap().as_mut().unwrap());
    }

    fn asked(&self) -> usize {
        self.state.lock().unwrap().as_ref().unwrap().asked
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        if let Ok(mut state) = self.state.lock() {
            *state = None;
        }
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One request and its answer.
fn serve(mut stream: &TcpStream, state: &Mutex<Option<State>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let request: Value = serde_json::from_slice(&body).unwrap();
    let mut state = state.lock().unwrap();
    let Some(state) = state.as_mut() else { return Ok(()) };
    let answer = match &request {
        Value::Array(requests) => requests.iter().map(|request| state.answer(request)).collect(),
        request => state.answer(request),
    };
    let answer = answer.to_string();
    let length = answer.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}"
    )
}
