//! The extensions by which a payer without gas lets Permit2 take a token: `eip2612GasSponsoring` and
//! `erc20ApprovalGasSponsoring` (x402 specification, extensions).

use alloy_primitives::{Address, Bytes, U256};
use farthing_protocol::v2::Extensions;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{reasons, text};

/// Name of the extension that carries an EIP-2612 permit.
pub(crate) const EIP2612: &str = "eip2612GasSponsoring";
/// Name of the extension that carries a signed approval.
pub(crate) const ERC20_APPROVAL: &str = "erc20ApprovalGasSponsoring";
/// The longest approval that is read, in bytes.
const MAX_TRANSACTION: usize = 2 * 1024;

/// An EIP-2612 permit for Permit2.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PermitInfo {
    /// Whose token.
    #[serde(with = "text::address")]
    pub(crate) from: Address,
    /// The token.
    #[serde(with = "text::address")]
    pub(crate) asset: Address,
    /// Permit2.
    #[serde(with = "text::address")]
    pub(crate) spender: Address,
    /// What is allowed, in atomic units.
    #[serde(with = "text::decimal")]
    pub(crate) amount: U256,
    /// The token's next nonce of the payer.
    #[serde(with = "text::decimal")]
    pub(crate) nonce: U256,
    /// Unix seconds.
    #[serde(with = "text::decimal")]
    pub(crate) deadline: U256,
    /// The payer's.
    #[serde(with = "text::signature")]
    pub(crate) signature: Bytes,
    /// Of the extension.
    pub(crate) version: String,
}

/// A signed transaction that approves Permit2.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApprovalInfo {
    /// Whose token.
    #[serde(with = "text::address")]
    pub(crate) from: Address,
    /// The token.
    #[serde(with = "text::address")]
    pub(crate) asset: Address,
    /// Permit2.
    #[serde(with = "text::address")]
    pub(crate) spender: Address,
    /// What is allowed, in atomic units.
    #[serde(with = "text::decimal")]
    pub(crate) amount: U256,
    /// As it is broadcast (EIP-2718).
    #[serde(with = "transaction")]
    pub(crate) signed_transaction: Bytes,
    /// Of the extension.
    pub(crate) version: String,
}

mod transaction {
    use super::{Bytes, MAX_TRANSACTION, text};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let read = text::read_bytes(&String::deserialize(deserializer)?, MAX_TRANSACTION);
        read.ok_or_else(|| D::Error::custom("a transaction must be 0x and hex digits, of at most 2048 bytes"))
    }
}

/// The permit that came with a payment. A server's own declaration that is echoed without one is none.
///
/// # Errors
/// The x402 reason, when it cannot be read.
pub(crate) fn permit(extensions: &Extensions) -> Result<Option<PermitInfo>, &'static str> {
    info(extensions, EIP2612, "signature", reasons::EIP2612_FORMAT)
}

/// The approval that came with a payment, as [`permit`].
///
/// # Errors
/// As [`permit`].
pub(crate) fn approval(extensions: &Extensions) -> Result<Option<ApprovalInfo>, &'static str> {
    info(extensions, ERC20_APPROVAL, "signedTransaction", reasons::ERC20_FORMAT)
}

/// Member `info` of an extension, if it has `mark`, which only a payer writes.
fn info<T: serde::de::DeserializeOwned>(
    extensions: &Extensions,
    name: &str,
    mark: &str,
    reason: &'static str,
) -> Result<Option<T>, &'static str> {
    #[derive(Deserialize)]
    struct Extension {
        info: Option<Value>,
    }
    let Some(text) = extensions.get(name) else { return Ok(None) };
    if text.get() == "null" {
        return Ok(None);
    }
    let Extension { info } = serde_json::from_str(text.get()).map_err(|_| reason)?;
    match info {
        Some(Value::Object(info)) if info.contains_key(mark) => {
            serde_json::from_value(Value::Object(info)).map(Some).map_err(|_| reason)
        }
        None | Some(Value::Null | Value::Object(_)) => Ok(None),
        Some(_) => Err(reason),
    }
}

/// A permit as it travels in `extensions`.
pub(crate) fn write_permit(info: &PermitInfo) -> serde_json::Result<Box<RawValue>> {
    let members = ["from", "asset", "spender", "amount", "nonce", "deadline", "signature", "version"];
    serde_json::value::to_raw_value(&json!({ "info": info, "schema": schema(&members) }))
}

/// An approval as it travels in `extensions`.
pub(crate) fn write_approval(info: &ApprovalInfo) -> serde_json::Result<Box<RawValue>> {
    let members = ["from", "asset", "spender", "amount", "signedTransaction", "version"];
    serde_json::value::to_raw_value(&json!({ "info": info, "schema": schema(&members) }))
}

/// The JSON schema of an `info` whose members are strings, all of them required.
fn schema(members: &[&str]) -> Value {
    let pattern = |member: &str| match member {
        "from" | "asset" | "spender" => "^0x[a-fA-F0-9]{40}$",
        "signature" | "signedTransaction" => "^0x[a-fA-F0-9]+$",
        "version" => "^[0-9]+(\\.[0-9]+)*$",
        _ => "^[0-9]+$",
    };
    let property =
        |member: &&str| ((*member).to_owned(), json!({ "type": "string", "pattern": pattern(member) }));
    let properties: serde_json::Map<String, Value> = members.iter().map(property).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": members,
        "additionalProperties": false,
    })
}
