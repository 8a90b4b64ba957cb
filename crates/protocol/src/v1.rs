//! The JSON of x402 version 1 (specification: `x402-specification-v1.md`), for old peers.
//!
//! Terms come in the body of a 402, payments in `X-PAYMENT`, settlements in `X-PAYMENT-RESPONSE`. Networks
//! have names; [`network_of`] and [`name_of`] translate them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::v2::{self, PaymentPayload, PaymentRequirements, ResourceInfo, SettlementResponse};
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

impl PaymentRequirementsV1 {
    /// `offer` as version 1 writes it, for what is sold at `resource`. `None` where its network has no name
    /// in version 1.
    pub fn of(offer: &PaymentRequirements, resource: &ResourceInfo) -> Option<Self> {
        let network = name_of(&offer.network)?.to_owned();
        Some(Self {
            scheme: offer.scheme.clone(),
            network,
            max_amount_required: offer.amount,
            resource: resource.url.clone(),
            description: resource.description.clone().unwrap_or_default(),
            // Its readers insist on a text.
            mime_type: Some(resource.mime_type.clone().unwrap_or_default()),
            output_schema: None,
            pay_to: offer.pay_to.clone(),
            max_timeout_seconds: offer.max_timeout_seconds,
            asset: offer.asset.clone(),
            extra: offer.extra.clone(),
        })
    }
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

impl PaymentPayloadV1 {
    /// The same payment in version 2. It says nothing of the offer that it accepts, so the server's own,
    /// `accepted`, takes that place.
    #[must_use]
    pub fn accepting(self, accepted: v2::Offer) -> PaymentPayload {
        PaymentPayload {
            x402_version: v2::VERSION,
            resource: None,
            accepted,
            payload: self.payload.into(),
            extensions: v2::Extensions::new(),
        }
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

impl SettlementResponseV1 {
    /// `settlement` as version 1 writes it; a network without a name there keeps its id.
    pub fn of(settlement: &SettlementResponse) -> Self {
        let named = settlement.network.parse().ok().as_ref().and_then(name_of);
        Self {
            success: settlement.success,
            error_reason: settlement.error_reason.clone(),
            transaction: settlement.transaction.clone(),
            network: named.map_or_else(|| settlement.network.clone(), str::to_owned),
            payer: settlement.payer.clone(),
        }
    }
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

    fn offer(network: &str) -> PaymentRequirements {
        serde_json::from_value(serde_json::json!({
            "scheme": "exact", "network": network, "amount": "10", "asset": "0xa", "payTo": "0xb",
            "maxTimeoutSeconds": 300, "extra": {"name": "USDC", "version": "2"},
        }))
        .unwrap()
    }

    #[test]
    fn an_offer_is_written_in_version_1_where_its_network_has_a_name() {
        let resource = ResourceInfo { url: "https://shop.example/a".into(), ..ResourceInfo::default() };
        let old = PaymentRequirementsV1::of(&offer("eip155:84532"), &resource).unwrap();
        let expected = serde_json::json!({
            "scheme": "exact", "network": "base-sepolia", "maxAmountRequired": "10", "asset": "0xa",
            "payTo": "0xb", "maxTimeoutSeconds": 300, "resource": "https://shop.example/a",
            "description": "", "mimeType": "", "extra": {"name": "USDC", "version": "2"},
        });
        assert_eq!(serde_json::to_value(old).unwrap(), expected);
        assert_eq!(PaymentRequirementsV1::of(&offer("eip155:31337"), &resource), None);
    }

    #[test]
    fn a_payment_of_version_1_is_the_same_payment_in_version_2() {
        let old: PaymentPayloadV1 = serde_json::from_value(serde_json::json!({
            "x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": {"signature": "0x1"},
        }))
        .unwrap();
        let new = old.accepting(Verbatim::write(offer("eip155:84532")).unwrap());
        assert_eq!((new.x402_version, new.payload.get()), (2, "{\"signature\":\"0x1\"}"));
        assert_eq!(new.accepted.network.as_str(), "eip155:84532");
    }

    #[test]
    fn a_settlement_names_its_network_as_version_1_does() {
        let settlement = SettlementResponse {
            success: true,
            transaction: "0x1".into(),
            network: "eip155:84532".into(),
            ..SettlementResponse::default()
        };
        let old = SettlementResponseV1::of(&settlement);
        assert_eq!((old.network.as_str(), old.transaction.as_str()), ("base-sepolia", "0x1"));
        let unnamed = SettlementResponse { network: "test:one".into(), ..settlement };
        assert_eq!(SettlementResponseV1::of(&unnamed).network, "test:one");
    }
}
