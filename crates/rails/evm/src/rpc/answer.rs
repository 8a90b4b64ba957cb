//! The JSON of JSON-RPC: what is asked, and what the answer says.

use std::fmt::Write as _;

use alloy_primitives::{Bytes, U256, hex};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::endpoint::Failure;
use super::{Reply, Request, RpcError};

/// Most characters that are quoted of a node's words.
const MESSAGE: usize = 200;

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    id: Value,
    #[serde(default, borrow)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Value,
}

/// The text of one call.
pub(super) fn one(request: &Request) -> String {
    let mut text = String::with_capacity(request.params.len() + 80);
    write(&mut text, 0, request);
    text
}

/// The text of several; each's id is its place.
pub(super) fn many(requests: &[Request]) -> String {
    let mut text = String::with_capacity(requests.iter().map(|r| r.params.len() + 80).sum());
    for (id, request) in requests.iter().enumerate() {
        text.push(if id == 0 { '[' } else { ',' });
        write(&mut text, id, request);
    }
    text.push(']');
    text
}

fn write(text: &mut String, id: usize, Request { method, params }: &Request) {
    // Writing to a string cannot fail.
    let _ = write!(text, r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
}

pub(super) fn read_one(answer: &[u8]) -> Result<Reply, Failure> {
    let answer: Answer<'_> = serde_json::from_slice(answer).map_err(|_| not_json_rpc())?;
    reply(answer)
}

pub(super) fn read_many(answer: &[u8], count: usize) -> Result<Vec<Reply>, Failure> {
    if answer.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
        return Err(Failure::NoBatches);
    }
    let answers: Vec<Answer<'_>> = serde_json::from_slice(answer).map_err(|_| not_json_rpc())?;
    let mut replies: Vec<Option<Reply>> = (0..count).map(|_| None).collect();
    for answer in answers {
        let place = answer.id.as_u64().and_then(|id| usize::try_from(id).ok());
        if let Some(place) = place.and_then(|place| replies.get_mut(place)) {
            *place = Some(reply(answer)?);
        }
    }
    replies.into_iter().collect::<Option<Vec<_>>>().ok_or(Failure::NoBatches)
}

/// An endpoint whose answers say that it has no room did not answer.
pub(super) fn with_room(replies: Vec<Reply>) -> Result<Vec<Reply>, Failure> {
    let no_room = |reply: &Reply| {
        matches!(reply, Err(RpcError::Rejected { code: -32005 | 429, .. }))
            || matches!(reply, Err(RpcError::Rejected { message, .. }) if message.contains("rate limit"))
    };
    if replies.iter().any(no_room) { Err(Failure::Busy(replies)) } else { Ok(replies) }
}

fn reply(answer: Answer<'_>) -> Result<Reply, Failure> {
    match (answer.error, answer.result) {
        (Some(refusal), _) => Ok(Err(refusal.read())),
        (None, Some(result)) => Ok(Ok(result.to_owned())),
        // `"result": null` is read as none: some calls answer so.
        (None, None) => Ok(Ok(RawValue::NULL.to_owned())),
    }
}

fn not_json_rpc() -> Failure {
    Failure::NoAnswer("the answer is not JSON-RPC".into())
}

impl Refusal {
    /// Nodes differ in how they say that a call was reverted, and where they put its data.
    fn read(self) -> RpcError {
        let message = self.message.to_ascii_lowercase();
        let reverted = self.code == 3 || message.contains("revert");
        match revert_data(&self.data) {
            Some(data) if reverted || self.code == -32015 => RpcError::Reverted(data),
            _ if reverted => RpcError::Reverted(Bytes::new()),
            _ => RpcError::Rejected { code: self.code, message: shown(&self.message) },
        }
    }
}

fn revert_data(data: &Value) -> Option<Bytes> {
    match data {
        Value::String(text) => {
            let text = text.strip_prefix("Reverted ").unwrap_or(text);
            hex::decode(text.strip_prefix("0x")?).ok().map(Into::into)
        }
        Value::Object(members) => members.get("data").or_else(|| members.get("result")).and_then(revert_data),
        _ => None,
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| *c == ' ' || c.is_ascii_graphic()).take(MESSAGE).collect()
}

/// A number as JSON-RPC writes it, `"0x1a"`.
pub(crate) fn quantity(raw: &RawValue) -> Result<U256, RpcError> {
    let digits = serde_json::from_str::<&str>(raw.get()).ok().and_then(|text| text.strip_prefix("0x"));
    let number = digits.filter(|digits| !digits.is_empty());
    number.and_then(|digits| U256::from_str_radix(digits, 16).ok()).ok_or_else(malformed)
}

/// Bytes as JSON-RPC writes them, `"0x00ff"`.
pub(crate) fn bytes(raw: &RawValue) -> Result<Bytes, RpcError> {
    let digits = serde_json::from_str::<&str>(raw.get()).ok().and_then(|text| text.strip_prefix("0x"));
    digits.and_then(|digits| hex::decode(digits).ok()).map(Into::into).ok_or_else(malformed)
}

pub(crate) fn malformed() -> RpcError {
    RpcError::Unreachable("the answer is not what the method gives".into())
}
