//! Signed offers and receipts, found in whatever they are carried in.

use farthing::protocol::offer_receipt::{self, Artifact};
use farthing::protocol::receipt::{self, SignedReceipt};
use farthing::protocol::v2::{Offer, PaymentRequired, SettlementResponse};
use farthing::protocol::{Limits, json};
use serde_json::Value;

use crate::inspect::message;

/// Something signed.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) signed: Signed,
    pub(super) beside: Beside,
}

/// What it is.
#[derive(Debug)]
pub(super) enum Signed {
    /// A signed offer of x402's `offer-receipt`.
    Offer(Artifact),
    /// A signed receipt of it.
    Receipt(Artifact),
    /// One of the two.
    Either(Artifact),
    /// farthing's own receipt.
    Own(SignedReceipt),
}

/// What it came with. Unsigned: only compared.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// The settlement around a receipt.
    pub(super) settlement: Option<Box<SettlementResponse>>,
    /// The terms around an offer.
    pub(super) terms: Option<Box<PaymentRequired>>,
}

/// Everything signed in `text`: a compact JWS, JSON, or an x402 header.
///
/// # Errors
/// A sentence about a text in which nothing signed was found.
pub(super) fn read(text: &str, limits: &Limits) -> Result<Vec<Found>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("there is nothing to read".into());
    }
    if is_jws(text) {
        return Ok(vec![alone(Signed::Either(Artifact::of_jws(text.to_owned())))]);
    }
    let whole = match text.starts_with('{') {
        true => text.to_owned(),
        false => message::read(text, limits)?.ascii(),
    };
    json::check(whole.as_bytes(), limits).map_err(|error| format!("the JSON {error}"))?;
    let value: Value = serde_json::from_str(&whole).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    gather(&value, &mut found)?;
    if found.is_empty() {
        return Err("it was read, and holds no signed offer and no receipt".into());
    }
    Ok(found)
}

fn is_jws(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'=');
    text.bytes().all(digit) && text.contains('.')
}

fn alone(signed: Signed) -> Found {
    Found { signed, beside: Beside::default() }
}

fn gather(value: &Value, found: &mut Vec<Found>) -> Result<(), String> {
    if value["format"].is_string() && value["signature"].is_string() {
        found.push(alone(Signed::Either(artifact(value)?)));
    }
    if value["receipt"].is_string() && value["key"].is_string() {
        found.push(alone(Signed::Own(own(value)?)));
    }
    // One of the payments that `farthing receipts --json` tells of.
    if value["receipt"].is_object() {
        gather(&value["receipt"], found)?;
    }
    if let Some(jws) = value["receipt_jws"].as_str() {
        found.push(alone(Signed::Receipt(Artifact::of_jws(jws.to_owned()))));
    }
    for payment in value["payments"].as_array().into_iter().flatten() {
        gather(payment, found)?;
    }
    extension(&value["info"], found)?;
    for extensions in [value, &value["extensions"]] {
        extension(&extensions[offer_receipt::EXTENSION]["info"], found)?;
        let receipt = &extensions[receipt::EXTENSION];
        if receipt["receipt"].is_string() {
            found.push(alone(Signed::Own(own(receipt)?)));
        }
    }
    if value["extensions"].is_object() {
        around(value, found);
    }
    Ok(())
}

/// The `info` of extension `offer-receipt`.
fn extension(info: &Value, found: &mut Vec<Found>) -> Result<(), String> {
    for offer in info["offers"].as_array().into_iter().flatten() {
        found.push(alone(Signed::Offer(artifact(offer)?)));
    }
    if info["receipt"].is_object() {
        found.push(alone(Signed::Receipt(artifact(&info["receipt"])?)));
    }
    Ok(())
}

/// Keeps the message around what was found in its extensions.
fn around(value: &Value, found: &mut [Found]) {
    let settlement = || serde_json::from_value::<SettlementResponse>(value.clone()).ok().map(Box::new);
    let terms = || serde_json::from_value::<PaymentRequired>(value.clone()).ok().map(Box::new);
    for found in found {
        found.beside = match found.signed {
            Signed::Offer(_) => Beside { terms: terms(), ..Beside::default() },
            _ => Beside { settlement: settlement(), ..Beside::default() },
        };
    }
}

impl Beside {
    /// The offers of the terms around it.
    pub(super) fn offers(&self) -> Option<Vec<Offer>> {
        self.terms.as_ref().map(|terms| terms.offers().collect())
    }
}

fn artifact(value: &Value) -> Result<Artifact, String> {
    serde_json::from_value(value.clone()).map_err(|error| format!("a signed offer or receipt: {error}"))
}

fn own(value: &Value) -> Result<SignedReceipt, String> {
    serde_json::from_value(value.clone()).map_err(|error| format!("a receipt: {error}"))
}
