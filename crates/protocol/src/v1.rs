//! The JSON of x402 version 1 (specification: `x402-specification-v1.md`), for old peers.
//!
//! Terms come in the body of a 402, payments in `X-PAYMENT`, settlements in `X-PAYMENT-RESPONSE`. Networks
//! have names; [`network_of`] and [`name_of`] translate them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::v2::{null_is_default, positive_seconds};
use crate::{Amount, Network, Verbatim};

/// The version these types speak.
pub const VERSION: u64 = 1;

/// What a 402 says, in its body.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRequiredV1 {
    /// Always 1.
    pub x402_version: u64,
    /// Why payment is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The offers, each as raw text: one that we cannot read must not hide the others.
    pub accepts: Vec<Box<RawValue>>,
}

impl PaymentRequiredV1 {
    /// The offers that can be read, in the server's order of preference.
    pub fn offers(&self) -> impl Iterator<Item = Verbatim<PaymentRequirementsV1>> + '_ {
        self.accepts.iter().filter_map(|text| Verbatim::read(text.clone()).ok())
    }
}

/// One way to pay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRequirementsV1 {
    /// `exact`.
    pub scheme: String,
    /// A version 1 name, such as `base-sepolia`.
    pub network: String,
    /// The price in atomic units of `asset`.
    pub max_amount_required: Amount,
    /// Absolute URL of what is sold.
    pub resource: String,
    /// For people.
    #[serde(default, deserialize_with = "null_is_default")]
    pub description: String,
    /// Media type of the paid answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Describes the paid answer, for catalogues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// Who is paid.
    pub pay_to: String,
    /// Seconds that the payment may stay valid; above zero.
    #[serde(deserialize_with = "positive_seconds")]
    pub max_timeout_seconds: u64,
    /// The asset, in the network's own words.
    pub asset: String,
    /// What the scheme needs besides.
    #[serde(default, skip_serializing_if = "Map::is_empty", deserialize_with = "null_is_default")]
    pub extra: Map<String, Value>,
}

/// What a client sends to pay. Header `X-PAYMENT`. Its `Debug` leaves the scheme's part out.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentPayloadV1 {
    /// Always 1.
    pub x402_version: u64,
    /// The scheme of the chosen offer.
    pub scheme: String,
    /// The network of the chosen offer, as a version 1 name.
    pub network: String,
    /// The scheme's own part: signatures and what they cover.
    pub payload: Box<RawValue>,
}

impl fmt::Debug for PaymentPayloadV1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PaymentPayloadV1({} on {}, ..)", self.scheme, self.network)
    }
}

/// What became of a payment. Header `X-PAYMENT-RESPONSE`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettlementResponseV1 {
    /// Strictly a JSON boolean.
    pub success: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<String>,
    /// The network's name for the settlement; `""` when there is none.
    #[serde(default, deserialize_with = "null_is_default")]
    pub transaction: String,
    /// A version 1 name.
    #[serde(default, deserialize_with = "null_is_default")]
    pub network: String,
    /// Who paid; refusals may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
}

/// Version 1 names and the CAIP-2 ids they stand for.
const NAMES: &[(&str, &str)] = &[
    ("ethereum", "eip155:1"),
    ("sepolia", "eip155:11155111"),
    ("abstract", "eip155:2741"),
    ("abstract-testnet", "eip155:11124"),
    ("base-sepolia", "eip155:84532"),
    ("base", "eip155:8453"),
    ("avalanche-fuji", "eip155:43113"),
    ("avalanche", "eip155:43114"),
    ("iotex", "eip155:4689"),
    ("sei", "eip155:1329"),
    ("sei-testnet", "eip155:1328"),
    ("polygon", "eip155:137"),
    ("polygon-amoy", "eip155:80002"),
    ("peaq", "eip155:3338"),
    ("story", "eip155:1514"),
    ("educhain", "eip155:41923"),
    ("skale-base-sepolia", "eip155:324705682"),
    ("megaeth", "eip155:4326"),
    ("monad", "eip155:143"),
    ("stable", "eip155:988"),
    ("stable-testnet", "eip155:2201"),
    ("celo", "eip155:42220"),
    ("flare", "eip155:14"),
    ("solana", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"),
    ("solana-devnet", "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"),
    ("solana-testnet", "solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z"),
];

/// The network that version 1 calls `name`.
pub fn network_of(name: &str) -> Option<Network> {
    NAMES.iter().find(|(known, _)| *known == name).and_then(|(_, id)| id.parse().ok())
}

/// What version 1 calls `network`; most networks have no name there.
pub fn name_of(network: &Network) -> Option<&'static str> {
    NAMES.iter().find(|(_, id)| *id == network.as_str()).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_stands_for_one_network_and_back() {
        for (name, id) in NAMES {
            let network = network_of(name).unwrap();
            assert_eq!(network.as_str(), *id);
            assert!(network.is_caip2());
            assert_eq!(name_of(&network), Some(*name));
        }
        assert_eq!(network_of("eip155:1"), None);
        assert_eq!(network_of("Base"), None);
        assert_eq!(name_of(&"farthing:00112233445566778899aabbccddeeff".parse().unwrap()), None);
    }
}
