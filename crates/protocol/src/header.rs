//! The payment headers: names, and the codecs between their values and the messages in them.
//!
//! A value is base64 (standard alphabet, padded) of UTF-8 JSON. Decoding takes each step only when the
//! one before it passed: size, base64, UTF-8, strict JSON, the message's type, its version.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::fault::shown;
use crate::v1::{PaymentPayloadV1, PaymentRequiredV1, SettlementResponseV1};
use crate::v2::{PaymentPayload, PaymentRequired, SettlementResponse};
use crate::{Limits, WireError, json, v1, v2};

/// The terms of a 402 (version 2).
pub const PAYMENT_REQUIRED: &str = "payment-required";
/// A payment (version 2).
pub const PAYMENT_SIGNATURE: &str = "payment-signature";
/// What became of a payment (version 2).
pub const PAYMENT_RESPONSE: &str = "payment-response";
/// A payment (version 1).
pub const X_PAYMENT: &str = "x-payment";
/// What became of a payment (version 1).
pub const X_PAYMENT_RESPONSE: &str = "x-payment-response";

/// The header value that carries `message`. The same message gives the same value.
///
/// # Errors
/// [`WireError::Json`] when the message has no JSON form.
pub fn encode<T: Serialize>(message: &T) -> Result<String, WireError> {
    let json = serde_json::to_string(message).map_err(|error| json::untyped(&error))?;
    Ok(encode_text(&json))
}

/// The header value that carries a message whose JSON is at hand.
#[must_use]
pub fn encode_text(json: &str) -> String {
    STANDARD.encode(json)
}

/// Decodes `PAYMENT-REQUIRED`.
///
/// # Errors
/// Any [`WireError`]; [`WireError::Field`] when it makes no offer.
pub fn decode_payment_required(value: &[u8], limits: &Limits) -> Result<PaymentRequired, WireError> {
    required(&unwrap(PAYMENT_REQUIRED, value, limits)?, limits)
}

/// Decodes `PAYMENT-SIGNATURE`.
///
/// # Errors
/// Any [`WireError`].
pub fn decode_payment(value: &[u8], limits: &Limits) -> Result<PaymentPayload, WireError> {
    versioned(&unwrap(PAYMENT_SIGNATURE, value, limits)?, limits, v2::VERSION, |payment: &PaymentPayload| {
        payment.x402_version
    })
}

/// Decodes `PAYMENT-RESPONSE`.
///
/// # Errors
/// Any [`WireError`].
pub fn decode_settlement(value: &[u8], limits: &Limits) -> Result<SettlementResponse, WireError> {
    json::read(&unwrap(PAYMENT_RESPONSE, value, limits)?, limits)
}

/// Decodes `X-PAYMENT`.
///
/// # Errors
/// Any [`WireError`].
pub fn decode_payment_v1(value: &[u8], limits: &Limits) -> Result<PaymentPayloadV1, WireError> {
    versioned(&unwrap(X_PAYMENT, value, limits)?, limits, v1::VERSION, |payment: &PaymentPayloadV1| {
        payment.x402_version
    })
}

/// Decodes `X-PAYMENT-RESPONSE`.
///
/// # Errors
/// Any [`WireError`].
pub fn decode_settlement_v1(value: &[u8], limits: &Limits) -> Result<SettlementResponseV1, WireError> {
    json::read(&unwrap(X_PAYMENT_RESPONSE, value, limits)?, limits)
}

/// Reads the body of a version 1 402, which is plain JSON.
///
/// # Errors
/// Any [`WireError`] but those of base64; [`WireError::Field`] when it makes no offer.
pub fn read_payment_required_v1(body: &[u8], limits: &Limits) -> Result<PaymentRequiredV1, WireError> {
    sized("the body", body, limits.json_body_bytes)?;
    required_v1(body, limits)
}

/// Any x402 message, told apart by its members.
#[derive(Clone, Debug)]
pub enum Decoded {
    /// The terms of a 402.
    PaymentRequired(PaymentRequired),
    /// A payment.
    Payment(PaymentPayload),
    /// What became of a payment.
    Settlement(SettlementResponse),
    /// The terms of a 402, version 1.
    PaymentRequiredV1(PaymentRequiredV1),
    /// A payment, version 1.
    PaymentV1(PaymentPayloadV1),
    /// What became of a payment, version 1.
    SettlementV1(SettlementResponseV1),
}

/// Decodes the value of any payment header.
///
/// # Errors
/// Any [`WireError`]; [`WireError::Json`] when the value is JSON and no x402 message.
pub fn decode_any(value: &[u8], limits: &Limits) -> Result<Decoded, WireError> {
    identify(&unwrap("the header", value, limits)?, limits)
}

/// Reads any x402 message from its JSON, as in the body of a version 1 402.
///
/// # Errors
/// Any [`WireError`] but those of base64.
pub fn read_any(body: &[u8], limits: &Limits) -> Result<Decoded, WireError> {
    sized("the body", body, limits.json_body_bytes)?;
    identify(body, limits)
}

fn identify(json: &[u8], limits: &Limits) -> Result<Decoded, WireError> {
    let members: Members = json::read(json, limits)?;
    let is_v1 = members.version.as_ref().is_some_and(|version| version.get() == "1");
    if members.success.is_some() {
        // Settlements do not say their version; only CAIP-2 ids hold a colon.
        let named =
            members.network.is_some_and(|network| network.get().len() > 2 && !network.get().contains(':'));
        return if named {
            json::read(json, limits).map(Decoded::SettlementV1)
        } else {
            json::read(json, limits).map(Decoded::Settlement)
        };
    }
    match (members.accepts.is_some(), members.accepted.is_some() || members.payload.is_some(), is_v1) {
        (true, _, false) => required(json, limits).map(Decoded::PaymentRequired),
        (true, _, true) => required_v1(json, limits).map(Decoded::PaymentRequiredV1),
        (false, true, false) => {
            versioned(json, limits, v2::VERSION, |payment: &PaymentPayload| payment.x402_version)
                .map(Decoded::Payment)
        }
        (false, true, true) => {
            versioned(json, limits, v1::VERSION, |payment: &PaymentPayloadV1| payment.x402_version)
                .map(Decoded::PaymentV1)
        }
        (false, false, _) => Err(WireError::Json {
            message: "no x402 message: it has none of `accepts`, `accepted`, `payload` and `success`".into(),
        }),
    }
}

/// The members by which messages are told apart.
#[derive(Deserialize)]
struct Members {
    #[serde(rename = "x402Version")]
    version: Option<Box<RawValue>>,
    accepts: Option<Box<RawValue>>,
    accepted: Option<Box<RawValue>>,
    payload: Option<Box<RawValue>>,
    success: Option<Box<RawValue>>,
    network: Option<Box<RawValue>>,
}

fn required(json: &[u8], limits: &Limits) -> Result<PaymentRequired, WireError> {
    let required = versioned(json, limits, v2::VERSION, |required: &PaymentRequired| required.x402_version)?;
    offers_something(&required.accepts)?;
    Ok(required)
}

fn required_v1(json: &[u8], limits: &Limits) -> Result<PaymentRequiredV1, WireError> {
    let required =
        versioned(json, limits, v1::VERSION, |required: &PaymentRequiredV1| required.x402_version)?;
    offers_something(&required.accepts)?;
    Ok(required)
}

fn offers_something(accepts: &[Box<RawValue>]) -> Result<(), WireError> {
    if accepts.is_empty() {
        return Err(WireError::Field { field: "accepts", why: "must hold at least one offer".into() });
    }
    Ok(())
}

/// From a header's value to the bytes of its JSON.
pub(crate) fn unwrap(what: &'static str, value: &[u8], limits: &Limits) -> Result<Vec<u8>, WireError> {
    sized(what, value, limits.header_bytes)?;
    if value.contains(&b',') {
        return Err(WireError::Combined);
    }
    STANDARD.decode(value).map_err(|_| WireError::Base64)
}

fn sized(what: &'static str, bytes: &[u8], limit: usize) -> Result<(), WireError> {
    if bytes.len() > limit {
        return Err(WireError::TooLarge { what, bytes: bytes.len(), limit });
    }
    Ok(())
}

/// Reads a message and insists on its version; a message of another version is told so, and not that it
/// lacks members which that version does not have.
fn versioned<T: DeserializeOwned>(
    json: &[u8],
    limits: &Limits,
    expected: u64,
    version: fn(&T) -> u64,
) -> Result<T, WireError> {
    let wrong = |found: String| WireError::Version { found, expected };
    match json::read::<T>(json, limits) {
        Ok(message) if version(&message) == expected => Ok(message),
        Ok(message) => Err(wrong(version(&message).to_string())),
        Err(fault @ (WireError::Member { .. } | WireError::Json { .. })) => {
            match json::read::<Members>(json, limits).map(|members| members.version) {
                Ok(Some(found)) if found.get() != expected.to_string() => Err(wrong(shown(found.get(), 20))),
                _ => Err(fault),
            }
        }
        Err(fault) => Err(fault),
    }
}
