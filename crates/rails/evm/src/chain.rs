//! What the facilitator asks a chain, with its answers as types.

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::rpc::{Request, Rpc, RpcError, bytes, malformed, quantity};
use crate::wire::TRANSFER_TOPIC;

/// Which state a call sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// After the last block.
    Latest,
    /// In the block that is being made.
    Pending,
    /// After this block. A node that has not seen it says so.
    Block(u64),
}

/// A message to a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) from: Option<Address>,
    pub(crate) to: Address,
    pub(crate) data: Bytes,
}

/// What a mined transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) transaction: B256,
    pub(crate) succeeded: bool,
    pub(crate) block: u64,
    pub(crate) logs: Vec<Log>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) address: Address,
    pub(crate) topics: Vec<B256>,
    pub(crate) data: Bytes,
    pub(crate) transaction: B256,
}

/// The last block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) number: u64,
    /// Unix seconds.
    pub(crate) timestamp: u64,
    /// Wei for one unit of gas; `None` before EIP-1559.
    pub(crate) base_fee: Option<u128>,
}

impl At {
    fn tag(self) -> String {
        match self {
            Self::Latest => "latest".into(),
            Self::Pending => "pending".into(),
            Self::Block(number) => format!("{number:#x}"),
        }
    }
}

impl Call {
    pub(crate) fn new(to: Address, data: impl Into<Bytes>) -> Self {
        Self { from: None, to, data: data.into() }
    }

    pub(crate) fn from(self, from: Address) -> Self {
        Self { from: Some(from), ..self }
    }

    fn json(&self) -> String {
        let from = self.from.map(|from| format!(r#""from":"{from:#x}","#)).unwrap_or_default();
        format!(r#"{{{from}"to":"{:#x}","data":"{}"}}"#, self.to, hex::encode_prefixed(&self.data))
    }

    /// `eth_call`.
    pub(crate) fn ask(&self, at: At) -> Request {
        Request { method: "eth_call", params: format!(r#"[{},"{}"]"#, self.json(), at.tag()) }
    }

    /// `eth_estimateGas`.
    pub(crate) fn estimate(&self) -> Request {
        Request { method: "eth_estimateGas", params: format!(r#"[{},"pending"]"#, self.json()) }
    }
}

/// `eth_getCode`.
pub(crate) fn ask_code(of: Address) -> Request {
    Request { method: "eth_getCode", params: format!(r#"["{of:#x}","latest"]"#) }
}

/// `eth_getTransactionReceipt`.
pub(crate) fn ask_receipt(of: B256) -> Request {
    Request { method: "eth_getTransactionReceipt", params: format!(r#"["{of}"]"#) }
}

/// What `eth_getTransactionReceipt` answered: `None` while it is not mined.
pub(crate) fn read_receipt(raw: &RawValue) -> Result<Option<Receipt>, RpcError> {
    let receipt: Option<ReceiptJson> = serde_json::from_str(raw.get()).map_err(|_| malformed())?;
    // Some nodes answer before the block is final for them.
    let Some(ReceiptJson { transaction_hash, status, block_number: Some(block), logs }) = receipt else {
        return Ok(None);
    };
    let logs = logs.into_iter().map(Log::from).collect();
    Ok(Some(Receipt { transaction: transaction_hash, succeeded: status.0 == 1, block: block.0, logs }))
}

impl Rpc {
    /// The code of an account; empty when it has none.
    pub(crate) async fn code(&self, of: Address) -> Result<Bytes, RpcError> {
        let Request { method, params } = ask_code(of);
        bytes(self.ask(method, params).await?.as_ref())
    }

    /// What `call` returns when it is only tried.
    pub(crate) async fn call(&self, call: &Call, at: At) -> Result<Bytes, RpcError> {
        let Request { method, params } = call.ask(at);
        bytes(self.ask(method, params).await?.as_ref())
    }

    /// What several calls return, asked for at once.
    pub(crate) async fn call_all(&self, calls: &[Call], at: At) -> Vec<Result<Bytes, RpcError>> {
        let replies = self.ask_all(calls.iter().map(|call| call.ask(at)).collect()).await;
        replies.into_iter().map(|reply| bytes(reply?.as_ref())).collect()
    }

    /// Gives a signed transaction to the chain.
    pub(crate) async fn send_raw(&self, raw: &[u8]) -> Result<(), RpcError> {
        let sent = self.ask("eth_sendRawTransaction", format!(r#"["{}"]"#, hex::encode_prefixed(raw))).await;
        match sent {
            Err(error) if error.is_known_transaction() => Ok(()),
            sent => sent.map(|_| ()),
        }
    }

    /// What a transaction did, once it is mined.
    pub(crate) async fn receipt(&self, of: B256) -> Result<Option<Receipt>, RpcError> {
        let Request { method, params } = ask_receipt(of);
        read_receipt(self.ask(method, params).await?.as_ref())
    }

    /// How many transactions an account has sent; the nonce of its next.
    pub(crate) async fn transaction_count(&self, of: Address, at: At) -> Result<u64, RpcError> {
        let params = format!(r#"["{of:#x}","{}"]"#, at.tag());
        narrow(self.ask("eth_getTransactionCount", params).await?.as_ref())
    }

    /// The chain's own money of an account, in wei.
    pub(crate) async fn balance(&self, of: Address) -> Result<U256, RpcError> {
        quantity(self.ask("eth_getBalance", format!(r#"["{of:#x}","latest"]"#)).await?.as_ref())
    }

    /// The last block.
    pub(crate) async fn last_block(&self) -> Result<Block, RpcError> {
        let raw = self.ask("eth_getBlockByNumber", r#"["latest",false]"#.into()).await?;
        let block: BlockJson = serde_json::from_str(raw.get()).map_err(|_| malformed())?;
        let base_fee = block.base_fee_per_gas.map(|fee| u128::from(fee.0));
        Ok(Block { number: block.number.0, timestamp: block.timestamp.0, base_fee })
    }

    /// The tip that the node advises, in wei for one unit of gas; `None` when it advises none.
    pub(crate) async fn advised_tip(&self) -> Result<Option<u128>, RpcError> {
        match self.ask("eth_maxPriorityFeePerGas", "[]".into()).await {
            Ok(raw) => Ok(quantity(&raw)?.try_into().ok()),
            Err(RpcError::Unreachable(why)) => Err(RpcError::Unreachable(why)),
            Err(_) => Ok(None),
        }
    }

    /// The events of `address` since block `from` whose topics are these (`None`: any).
    pub(crate) async fn logs(
        &self,
        address: Address,
        from: u64,
        topics: &[Option<B256>],
    ) -> Result<Vec<Log>, RpcError> {
        let topics: Vec<String> = (topics.iter())
            .map(|topic| topic.map_or_else(|| "null".into(), |topic| format!("\"{topic}\"")))
            .collect();
        let params = format!(
            r#"[{{"address":"{address:#x}","fromBlock":"{from:#x}","toBlock":"latest","topics":[{}]}}]"#,
            topics.join(",")
        );
        let raw = self.ask("eth_getLogs", params).await?;
        let logs: Vec<LogJson> = serde_json::from_str(raw.get()).map_err(|_| malformed())?;
        Ok(logs.into_iter().map(Log::from).collect())
    }
}

impl Receipt {
    /// Whether `asset` itself said that it moved exactly `value`.
    pub(crate) fn moved(&self, asset: Address, from: Address, to: Address, value: U256) -> bool {
        let topics = transfer_topics(from, to);
        self.succeeded
            && self.logs.iter().any(|log| {
                log.address == asset
                    && log.topics == topics
                    && log.data.len() == 32
                    && U256::from_be_slice(&log.data) == value
            })
    }
}

/// The topics of a `Transfer` event.
pub(crate) fn transfer_topics(from: Address, to: Address) -> [B256; 3] {
    [TRANSFER_TOPIC, from.into_word(), to.into_word()]
}

fn narrow(raw: &RawValue) -> Result<u64, RpcError> {
    u64::try_from(quantity(raw)?).map_err(|_| malformed())
}

/// A number as JSON-RPC writes it.
#[derive(Clone, Copy, Default)]
struct Quantity(u64);

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        narrow(raw).map(Self).map_err(serde::de::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReceiptJson {
    transaction_hash: B256,
    #[serde(default)]
    status: Quantity,
    #[serde(default)]
    block_number: Option<Quantity>,
    #[serde(default)]
    logs: Vec<LogJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogJson {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
    transaction_hash: B256,
}

impl From<LogJson> for Log {
    fn from(log: LogJson) -> Self {
        let LogJson { address, topics, data, transaction_hash } = log;
        Self { address, topics, data, transaction: transaction_hash }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockJson {
    number: Quantity,
    timestamp: Quantity,
    #[serde(default)]
    base_fee_per_gas: Option<Quantity>,
}
