//! The JSON of x402 version 2 (specification: `x402-specification-v2.md`, HTTP transport).
//!
//! Field names are the wire's own. Readers take `null` for an absent optional and ignore fields they do
//! not know; what has to be echoed is kept [verbatim](crate::Verbatim). The number in `x402Version` is
//! checked by the [header codecs](crate::header), not by serde.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::{Amount, Network, Payload, Verbatim};

/// The version these types speak.
pub const VERSION: u64 = 2;

/// Extensions by name, each kept as the text it came in.
pub type Extensions = BTreeMap<String, Box<RawValue>>;

/// One entry of `accepts[]`, as its sender wrote it.
pub type Offer = Verbatim<PaymentRequirements>;

/// What a 402 says: the resource and the ways to pay for it. Header `PAYMENT-REQUIRED`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRequired {
    /// Always 2.
    pub x402_version: u64,
    /// Why payment is asked for; `"Payment required"` for a plain unpaid request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What is sold.
    pub resource: ResourceInfo,
    /// The offers, each as raw text: one that we cannot read must not hide the others.
    pub accepts: Vec<Box<RawValue>>,
    /// Extensions of the server.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub extensions: Extensions,
}

impl PaymentRequired {
    /// The offers that can be read, in the server's order of preference.
    pub fn offers(&self) -> impl Iterator<Item = Offer> + '_ {
        self.accepts.iter().filter_map(|text| Offer::read(text.clone()).ok())
    }
}

/// The resource that is sold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceInfo {
    /// Absolute URL.
    pub url: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Media type of the paid answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Name of the service, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// Free words for catalogues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Icon for catalogues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon_url: Option<String>,
}

/// One way to pay: the payment requirements, or offer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRequirements {
    /// `exact`, `upto`, `auth-capture`, ...
    pub scheme: String,
    /// CAIP-2 id of the network.
    pub network: Network,
    /// Price in atomic units of `asset`: exact, or the maximum for schemes that settle less.
    pub amount: Amount,
    /// The asset, in the network's own words (a contract address, or a code on a farthing ledger).
    pub asset: String,
    /// Who is paid, in the network's own words.
    pub pay_to: String,
    /// Seconds that the payment may stay valid; above zero.
    #[serde(deserialize_with = "positive_seconds")]
    pub max_timeout_seconds: u64,
    /// What the scheme needs besides.
    #[serde(default, deserialize_with = "null_is_default")]
    pub extra: Map<String, Value>,
}

/// What a client sends to pay. Header `PAYMENT-SIGNATURE`. Whoever has it can spend it on its request, so
/// its `Debug` leaves the scheme's part and the extensions out.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentPayload {
    /// Always 2.
    pub x402_version: u64,
    /// What the client believes to buy. Unsigned: never believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceInfo>,
    /// The chosen offer, echoed verbatim. Unsigned: only compared.
    pub accepted: Offer,
    /// The scheme's own part: signatures and what they cover.
    pub payload: Payload,
    /// The server's extensions echoed, and the client's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub extensions: Extensions,
}

impl fmt::Debug for PaymentPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PaymentRequirements { scheme, network, amount, .. } = &*self.accepted;
        write!(f, "PaymentPayload({scheme} of {amount} on {network}, ..)")
    }
}

/// What a facilitator says after looking at a payment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyResponse {
    /// Strictly a JSON boolean.
    pub is_valid: bool,
    /// Why not, one of [`reason`](crate::reason) or any other string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid_reason: Option<String>,
    /// Why not, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid_message: Option<String>,
    /// Who pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
    /// What the scheme adds.
    #[serde(default, skip_serializing_if = "Map::is_empty", deserialize_with = "null_is_default")]
    pub extra: Map<String, Value>,
}

/// What became of a payment. Header `PAYMENT-RESPONSE`, and the answer of `/settle`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettlementResponse {
    /// Strictly a JSON boolean.
    pub success: bool,
    /// Why not, one of [`reason`](crate::reason) or any other string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<String>,
    /// Why not, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// Who paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
    /// The network's name for the settlement; `""` when there is none.
    pub transaction: String,
    /// CAIP-2 id; kept as text because failed answers may leave it empty.
    pub network: String,
    /// What was settled, in atomic units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// Extensions of the answer, such as a receipt.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub extensions: Extensions,
    /// What the scheme adds.
    #[serde(default, skip_serializing_if = "Map::is_empty", deserialize_with = "null_is_default")]
    pub extra: Map<String, Value>,
    /// The answers to operations that were sent together, in their order (an addition of farthing's).
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub results: Vec<Self>,
}

impl SettlementResponse {
    /// A refusal: nothing was settled.
    pub fn refused(network: &Network, reason: &str, message: impl Into<String>) -> Self {
        Self {
            error_reason: Some(reason.to_owned()),
            error_message: Some(message.into()),
            network: network.to_string(),
            ..Self::default()
        }
    }
}

/// What a facilitator can do: `GET /supported`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SupportedResponse {
    /// The schemes, by network and version.
    pub kinds: Vec<SupportedKind>,
    /// Names of the extensions it understands.
    #[serde(default, deserialize_with = "null_is_default")]
    pub extensions: Vec<String>,
    /// Its own addresses, by CAIP-2 pattern.
    #[serde(default, deserialize_with = "null_is_default")]
    pub signers: BTreeMap<String, Vec<String>>,
}

/// One scheme on one network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SupportedKind {
    /// 1 or 2.
    pub x402_version: u64,
    /// The scheme's name.
    pub scheme: String,
    /// CAIP-2 id, or a version 1 name.
    pub network: String,
    /// What a server must know to make offers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Map<String, Value>>,
}

/// The body of `POST /verify` and `POST /settle`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FacilitatorRequest {
    /// The version of both members below.
    pub x402_version: u64,
    /// The payment, verbatim.
    pub payment_payload: PaymentPayload,
    /// The offer that the server made.
    pub payment_requirements: Arc<PaymentRequirements>,
}

pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Above zero, and exact in every language that reads numbers as doubles.
pub(crate) fn positive_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let seconds = u64::deserialize(deserializer)?;
    if seconds == 0 || seconds > (1 << 53) - 1 {
        return Err(serde::de::Error::custom("maxTimeoutSeconds must be a whole number from 1 to 2^53-1"));
    }
    Ok(seconds)
}
