//! A chain that does what a test tells it to: JSON-RPC on an ephemeral port, over one token with EIP-3009.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_consensus::transaction::SignerRecoverable;
use alloy_consensus::{Transaction, TxEnvelope};
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{Address, B256, Bytes, U256, address, hex};
use alloy_sol_types::{SolCall, SolEvent, SolValue};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use farthing_protocol::rail::BoxFuture;
use farthing_protocol::records::{Record, Records, RecordsError, Replaced};
use farthing_protocol::v2::{FacilitatorRequest, PaymentRequirements};
use farthing_protocol::{Amount, Network};
use serde_json::{Value, json};

use crate::contracts::{Account, IS_VALID, Multicall, Token};
use crate::wire::payload::{Authorization, Signed, Transfer};
use crate::wire::{MULTICALL3, TRANSFER_TOPIC, TokenDomain};
use crate::{Asset, EvmKey, Rpc};

pub(crate) const CHAIN_ID: u64 = 31337;
pub(crate) const TOKEN: Address = address!("00000000000000000000000000000000000070CE");
pub(crate) const SELLER: Address = address!("0000000000000000000000000000000000005E11");

/// A chain; all its endpoints see the same.
#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Mutex<World>>);

/// What a test may look at and change at any time.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) balances: HashMap<Address, U256>,
    pub(crate) used: HashSet<(Address, B256)>,
    /// Accounts with code; the value says whether they accept signatures.
    pub(crate) wallets: HashMap<Address, bool>,
    pub(crate) counts: HashMap<Address, u64>,
    pub(crate) pool: BTreeMap<(Address, u64), Sent>,
    pub(crate) receipts: HashMap<B256, Value>,
    pub(crate) logs: Vec<Value>,
    pub(crate) block: u64,
    /// Seconds by which the chain's time is ahead.
    pub(crate) ahead: u64,
    /// Transactions wait until [`Script::mine`].
    pub(crate) holds: bool,
    /// Transactions that were taken in, each time they came.
    pub(crate) sent: Vec<B256>,
    /// Transactions are taken in and forgotten.
    pub(crate) loses: bool,
    /// What the next transactions are refused with.
    pub(crate) refuses: Vec<&'static str>,
    /// Signers without money.
    pub(crate) broke: HashSet<Address>,
    /// The token moves nothing and says nothing.
    pub(crate) lies: bool,
    /// Every method that was called, and requests over HTTP.
    pub(crate) calls: Vec<String>,
    pub(crate) requests: usize,
    /// What is answered instead of everything.
    pub(crate) broken: Option<(u16, String)>,
    pub(crate) no_batches: bool,
    pub(crate) decimals: u8,
    pub(crate) multicall: bool,
}

pub(crate) struct Sent {
    pub(crate) hash: B256,
    to: Address,
    data: Bytes,
    pub(crate) most: u128,
}

impl Script {
    pub(crate) fn new() -> Self {
        let script = Self::default();
        {
            let mut world = script.world();
            world.block = 100;
            world.decimals = 6;
            world.multicall = true;
            world.balances.insert(payer().account(), U256::from(1_000_000));
        }
        script
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// A new endpoint of this chain.
    pub(crate) async fn serve(&self) -> String {
        let script = self.clone();
        let answer = async move |Json(body): Json<Value>| script.answer(&body);
        let app = Router::new().route("/{*key}", post(answer.clone())).route("/", post(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        url
    }

    pub(crate) async fn rpc(&self) -> Rpc {
        Rpc::new([self.serve().await]).unwrap()
    }

    /// Mines what waits, in the order of nonces.
    pub(crate) fn mine(&self) {
        self.world().mine();
    }

    fn answer(&self, body: &Value) -> Response {
        let mut world = self.world();
        world.requests += 1;
        if let Some((status, text)) = &world.broken {
            return (StatusCode::from_u16(*status).unwrap(), text.clone()).into_response();
        }
        match body {
            Value::Array(_) if world.no_batches => {
                Json(json!({ "id": null, "error": { "code": -32600, "message": "no batches" } }))
                    .into_response()
            }
            Value::Array(calls) => {
                let mut answers: Vec<Value> = calls.iter().map(|call| world.one(call)).collect();
                // The order of answers says nothing.
                answers.reverse();
                Json(Value::Array(answers)).into_response()
            }
            call => Json(world.one(call)).into_response(),
        }
    }
}

type Refusal = (i64, String, Option<Bytes>);

fn reverted(data: impl Into<Bytes>) -> Refusal {
    (3, "execution reverted".into(), Some(data.into()))
}

impl World {
    fn one(&mut self, call: &Value) -> Value {
        let method = call["method"].as_str().unwrap().to_owned();
        self.calls.push(method.clone());
        match self.call(&method, &call["params"]) {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }),
            Err((code, message, data)) => {
                json!({ "jsonrpc": "2.0", "id": call["id"], "error": { "code": code, "message": message, "data": data } })
            }
        }
    }

    fn call(&mut self, method: &str, params: &Value) -> Result<Value, Refusal> {
        let account = || params[0].as_str().and_then(|text| text.parse::<Address>().ok()).unwrap();
        let quantity = |number: u64| Ok(json!(format!("{number:#x}")));
        match method {
            "eth_chainId" => quantity(CHAIN_ID),
            "eth_getCode" => {
                let of = account();
                let there =
                    of == TOKEN || (of == MULTICALL3 && self.multicall) || self.wallets.contains_key(&of);
                Ok(json!(if there { "0x60" } else { "0x" }))
            }
            "eth_call" | "eth_estimateGas" => {
                let to = params[0]["to"].as_str().unwrap().parse().unwrap();
                let data: Bytes = params[0]["data"].as_str().unwrap().parse().unwrap();
                let kept = (self.balances.clone(), self.used.clone(), self.logs.len());
                let ran = self.run(to, &data, B256::ZERO);
                (self.balances, self.used) = (kept.0, kept.1);
                self.logs.truncate(kept.2);
                let answer = ran?;
                if method == "eth_call" { Ok(json!(answer)) } else { quantity(80_000) }
            }
            "eth_getTransactionCount" => {
                let of = account();
                let count = self.counts.get(&of).copied().unwrap_or(0);
                // Those after a gap do not count.
                let waiting =
                    (count..).take_while(|nonce| self.pool.contains_key(&(of, *nonce))).count() as u64;
                quantity(if params[1] == "pending" { count + waiting } else { count })
            }
            "eth_getBlockByNumber" => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + self.ahead;
                Ok(json!({
                    "number": format!("{:#x}", self.block),
                    "timestamp": format!("{now:#x}"),
                    "baseFeePerGas": "0x3b9aca00",
                }))
            }
            "eth_maxPriorityFeePerGas" => quantity(1_000_000),
            "eth_getBalance" => quantity(1_000_000_000_000_000_000),
            "eth_sendRawTransaction" => self.take(&params[0].as_str().unwrap().parse().unwrap()),
            "eth_getTransactionReceipt" => {
                let hash: B256 = params[0].as_str().unwrap().parse().unwrap();
                Ok(self.receipts.get(&hash).cloned().unwrap_or(Value::Null))
            }
            "eth_getLogs" => {
                let wanted = params[0]["topics"].as_array().unwrap();
                let fits =
                    |log: &&Value| wanted.iter().enumerate().all(|(at, topic)| log["topics"][at] == *topic);
                Ok(self.logs.iter().filter(fits).cloned().collect())
            }
            other => Err((-32601, format!("no method {other}"), None)),
        }
    }

    fn take(&mut self, raw: &Bytes) -> Result<Value, Refusal> {
        let envelope = TxEnvelope::decode_2718_exact(raw).unwrap();
        let signer = envelope.recover_signer().unwrap();
        let (nonce, hash) = (envelope.nonce(), *envelope.tx_hash());
        let refuse = |message: &str| Err((-32000, message.to_owned(), None));
        if let Some(message) = self.refuses.pop() {
            return refuse(message);
        }
        if self.broke.contains(&signer) {
            return refuse("insufficient funds for gas * price + value");
        }
        if nonce < self.counts.get(&signer).copied().unwrap_or(0) {
            return refuse("nonce too low");
        }
        if let Some(there) = self.pool.get(&(signer, nonce)) {
            if there.hash == hash {
                return refuse("already known");
            }
            if there.most * 11 / 10 > envelope.max_fee_per_gas() {
                return refuse("replacement transaction underpriced");
            }
        }
        if self.loses {
            return Ok(json!(hash));
        }
        self.sent.push(hash);
        let (to, data) = (envelope.to().unwrap(), envelope.input().clone());
        self.pool.insert((signer, nonce), Sent { hash, to, data, most: envelope.max_fee_per_gas() });
        if !self.holds {
            self.mine();
        }
        Ok(json!(hash))
    }

    pub(crate) fn mine(&mut self) {
        loop {
            let counts = &self.counts;
            let next = |(signer, nonce): &(Address, u64)| *nonce == counts.get(signer).copied().unwrap_or(0);
            let Some(key) = self.pool.keys().copied().find(|key| next(key)) else { return };
            let sent = self.pool.remove(&key).unwrap();
            *self.counts.entry(key.0).or_default() += 1;
            self.block += 1;
            let first = self.logs.len();
            let ran = self.run(sent.to, &sent.data, sent.hash);
            let logs: Vec<Value> = self.logs[first..].to_vec();
            let receipt = json!({
                "transactionHash": sent.hash,
                "status": if ran.is_ok() { "0x1" } else { "0x0" },
                "blockNumber": format!("{:#x}", self.block),
                "logs": logs,
            });
            self.receipts.insert(sent.hash, receipt);
        }
    }

    /// Somebody else uses an authorization, or cancels it.
    pub(crate) fn overtake(&mut self, transfer: &Transfer, moves: bool) -> B256 {
        let hash = B256::repeat_byte(0x77);
        let first = self.logs.len();
        if moves {
            self.transfer(transfer.from, transfer.to, U256::from(transfer.value.0), transfer.nonce, hash)
                .unwrap();
        } else {
            self.used.insert((transfer.from, transfer.nonce));
        }
        let logs: Vec<Value> = self.logs[first..].to_vec();
        let receipt =
            json!({ "transactionHash": hash, "status": "0x1", "blockNumber": "0x65", "logs": logs });
        self.receipts.insert(hash, receipt);
        hash
    }

    fn run(&mut self, to: Address, data: &[u8], hash: B256) -> Result<Bytes, Refusal> {
        let selector: [u8; 4] = data.get(..4).unwrap_or_default().try_into().unwrap_or_default();
        if to == MULTICALL3 {
            let calls = Multicall::aggregate3Call::abi_decode(data).unwrap().calls;
            let mut results = Vec::new();
            for call in calls {
                let ran = self.run(call.target, &call.callData, hash);
                results.push(match ran {
                    Ok(returned) => Multicall::Result { success: true, returnData: returned },
                    Err((_, _, data)) if call.allowFailure => {
                        Multicall::Result { success: false, returnData: data.unwrap_or_default() }
                    }
                    Err(refusal) => return Err(refusal),
                });
            }
            return Ok(Multicall::aggregate3Call::abi_encode_returns(&results).into());
        }
        if selector == Account::isValidSignatureCall::SELECTOR {
            let mut word = [0; 32];
            if self.wallets.get(&to) == Some(&true) {
                word[..4].copy_from_slice(&IS_VALID);
            }
            return Ok(word.to_vec().into());
        }
        if to != TOKEN {
            return Ok(Bytes::new());
        }
        match selector {
            Token::decimalsCall::SELECTOR => Ok(U256::from(self.decimals).abi_encode().into()),
            Token::DOMAIN_SEPARATORCall::SELECTOR => Ok(domain().separator().to_vec().into()),
            Token::balanceOfCall::SELECTOR => {
                let of = Token::balanceOfCall::abi_decode(data).unwrap().account;
                Ok(self.balances.get(&of).copied().unwrap_or_default().abi_encode().into())
            }
            Token::authorizationStateCall::SELECTOR => {
                let asked = Token::authorizationStateCall::abi_decode(data).unwrap();
                Ok(self.used.contains(&(asked.authorizer, asked.nonce)).abi_encode().into())
            }
            Token::transferWithAuthorization_0Call::SELECTOR => {
                let call = Token::transferWithAuthorization_0Call::abi_decode(data).unwrap();
                self.transfer(call.from, call.to, call.value, call.nonce, hash)
            }
            Token::transferWithAuthorization_1Call::SELECTOR => {
                let call = Token::transferWithAuthorization_1Call::abi_decode(data).unwrap();
                self.transfer(call.from, call.to, call.value, call.nonce, hash)
            }
            _ => Err(reverted(Bytes::new())),
        }
    }

    fn transfer(
        &mut self,
        from: Address,
        to: Address,
        value: U256,
        nonce: B256,
        hash: B256,
    ) -> Result<Bytes, Refusal> {
        let has = self.balances.get(&from).copied().unwrap_or_default();
        if has < value || !self.used.insert((from, nonce)) {
            return Err(reverted(Bytes::new()));
        }
        if self.lies {
            return Ok(Bytes::new());
        }
        self.balances.insert(from, has - value);
        *self.balances.entry(to).or_default() += value;
        let log = |topics: Value, data: Vec<u8>| json!({ "address": TOKEN, "topics": topics, "data": hex::encode_prefixed(data), "transactionHash": hash });
        let used = json!([Token::AuthorizationUsed::SIGNATURE_HASH, from.into_word(), nonce]);
        self.logs.push(log(used, Vec::new()));
        let moved = json!([TRANSFER_TOPIC, from.into_word(), to.into_word()]);
        self.logs.push(log(moved, value.abi_encode()));
        Ok(Bytes::new())
    }
}

pub(crate) fn network() -> Network {
    format!("eip155:{CHAIN_ID}").parse().unwrap()
}

pub(crate) fn key(number: u8) -> EvmKey {
    EvmKey::from_hex(&format!("0x{}", hex::encode([number; 32]))).unwrap()
}

/// Has a million of the token.
pub(crate) fn payer() -> EvmKey {
    key(1)
}

pub(crate) fn token() -> Asset {
    let address = TOKEN.to_checksum(None);
    Asset::new(&address, "USDC", "2", 6, "USD", crate::Transfer::Eip3009).unwrap()
}

pub(crate) fn domain() -> TokenDomain {
    token().domain(&network()).unwrap()
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An authorization of the payer's, for 1000 of the token.
pub(crate) fn transfer(nonce: u8) -> Transfer {
    Transfer {
        from: payer().account(),
        to: SELLER,
        value: Amount(1000),
        valid_after: 0,
        valid_before: now() + 300,
        nonce: B256::repeat_byte(nonce),
    }
}

/// `transfer` as it is handed to the facilitator, signed by `signer`.
pub(crate) fn signed_by(signer: &EvmKey, transfer: &Transfer) -> FacilitatorRequest {
    let authorization = Authorization::Eip3009(transfer.clone());
    let signature = signer.sign(&authorization.signing_hash(&domain())).unwrap().as_bytes().to_vec();
    request(transfer, signature.into())
}

pub(crate) fn request(transfer: &Transfer, signature: Bytes) -> FacilitatorRequest {
    let signed = Signed { signature, authorization: Authorization::Eip3009(transfer.clone()) };
    let offer = json!({
        "scheme": "exact",
        "network": network(),
        "amount": transfer.value,
        "asset": TOKEN.to_checksum(None),
        "payTo": SELLER.to_checksum(None),
        "maxTimeoutSeconds": 300,
        "extra": { "name": "USDC", "version": "2" },
    });
    let payment = json!({ "x402Version": 2, "accepted": offer, "payload": signed });
    FacilitatorRequest {
        x402_version: 2,
        payment_payload: serde_json::from_value(payment).unwrap(),
        payment_requirements: Arc::new(serde_json::from_value::<PaymentRequirements>(offer).unwrap()),
    }
}

pub(crate) fn pay(nonce: u8) -> FacilitatorRequest {
    signed_by(&payer(), &transfer(nonce))
}

/// Records that can be out of order.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    kept: Mutex<BTreeMap<Vec<u8>, Record>>,
    pub(crate) broken: Mutex<Option<RecordsError>>,
}

impl Notes {
    fn works(&self) -> Result<(), RecordsError> {
        self.broken.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

impl Records for Notes {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Record>, RecordsError>> {
        Box::pin(async move { self.works().map(|()| self.kept.lock().unwrap().get(key).cloned()) })
    }

    fn replace<'a>(
        &'a self,
        key: &'a [u8],
        expected: Option<&'a [u8]>,
        new: Option<Record>,
    ) -> BoxFuture<'a, Result<Replaced, RecordsError>> {
        Box::pin(async move {
            self.works()?;
            let mut kept = self.kept.lock().unwrap();
            if kept.get(key).map(|record| record.value.as_slice()) != expected {
                return Ok(Replaced::Found(kept.get(key).cloned()));
            }
            match new {
                Some(record) => kept.insert(key.to_vec(), record),
                None => kept.remove(key),
            };
            Ok(Replaced::Done)
        })
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(Vec<u8>, Record)>, RecordsError>> {
        Box::pin(async move {
            self.works()?;
            let kept = self.kept.lock().unwrap();
            let wanted = |key: &[u8]| key.starts_with(prefix) && after.is_none_or(|after| key > after);
            let wanted = kept.iter().filter(|(key, _)| wanted(key)).take(limit);
            Ok(wanted.map(|(key, record)| (key.clone(), record.clone())).collect())
        })
    }

    fn purge(&self, _now: u64, _limit: usize) -> BoxFuture<'_, Result<usize, RecordsError>> {
        Box::pin(std::future::ready(Ok(0)))
    }
}
