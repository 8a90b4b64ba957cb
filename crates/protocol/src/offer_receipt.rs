//! Extension `offer-receipt` of x402: offers and receipts that the seller signs, as compact JWS.
//!
//! A signed offer commits the seller to one entry of `accepts`; a signed receipt says that a payer paid for a
//! resource and got it. Both can be checked by anybody at any time, offline; what they prove is that a key
//! signed, and never whose key that is. `spec/extension-offer-and-receipt.md` has all of it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use thiserror::Error;

use crate::jws::{self, Jws, JwsError};
use crate::v2::{Extensions, PaymentRequirements};
use crate::{Amount, Limits, Network, PublicKey, SecretKey, WireError, canonical};

/// The extension's name, in terms, payments and settlements.
pub const EXTENSION: &str = "offer-receipt";
/// The one version of both payloads.
pub const VERSION: u64 = 1;

/// What a seller commits itself to: one entry of `accepts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedOffer {
    /// Always 1.
    pub version: u64,
    /// What is sold: an absolute URL.
    pub resource_url: String,
    /// The payment's scheme.
    pub scheme: String,
    /// CAIP-2 id.
    pub network: Network,
    /// The asset, in the network's own words.
    pub asset: String,
    /// Who is paid, in the network's own words.
    pub pay_to: String,
    /// Atomic units.
    pub amount: Amount,
    /// Unix seconds after which the seller need not keep to it; none means that it says nothing about that.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "zero_is_none")]
    pub valid_until: Option<u64>,
}

/// What a seller says was paid for and delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedReceipt {
    /// Always 1.
    pub version: u64,
    /// CAIP-2 id of where it was paid.
    pub network: Network,
    /// What was paid for: an absolute URL.
    pub resource_url: String,
    /// Who paid, in the network's own words.
    pub payer: String,
    /// When it was signed: Unix seconds by the seller's clock.
    pub issued_at: u64,
    /// The network's name for the settlement. Left out unless the seller prefers proof to privacy.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "empty_is_none")]
    pub transaction: Option<String>,
}

/// A payload that can be signed: one of the two, and neither can be read as the other.
pub trait Statement: Serialize + DeserializeOwned {
    /// What it is called.
    const NAME: &'static str;

    /// Its version.
    fn version(&self) -> u64;
}

impl Statement for SignedOffer {
    const NAME: &'static str = "offer";

    fn version(&self) -> u64 {
        self.version
    }
}

impl Statement for SignedReceipt {
    const NAME: &'static str = "receipt";

    fn version(&self) -> u64 {
        self.version
    }
}

impl SignedOffer {
    /// What the seller of `resource_url` commits itself to with `offer`, until `valid_until` (Unix seconds).
    #[must_use]
    pub fn of(offer: &PaymentRequirements, resource_url: &str, valid_until: u64) -> Self {
        Self {
            version: VERSION,
            resource_url: resource_url.to_owned(),
            scheme: offer.scheme.clone(),
            network: offer.network.clone(),
            asset: offer.asset.clone(),
            pay_to: offer.pay_to.clone(),
            amount: offer.amount,
            valid_until: Some(valid_until),
        }
    }

    /// Whether it is about this offer for this resource: all that it states is the same.
    #[must_use]
    pub fn covers(&self, offer: &PaymentRequirements, resource_url: &str) -> bool {
        let until = self.valid_until.unwrap_or_default();
        let meant = Self { valid_until: self.valid_until, ..Self::of(offer, resource_url, until) };
        *self == meant
    }
}

/// A statement as it travels. Nothing of it may be believed before [`verify`](Self::verify).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// How it is signed; only [`JWS`] is read here.
    pub format: String,
    /// The offer's place in `accepts`, counted from 0. Not signed: a hint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_index: Option<u64>,
    /// What is signed, where the signature does not carry it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// A compact JWS.
    pub signature: String,
}

/// The format of [`Artifact`] that is written and read here.
pub const JWS: &str = "jws";

/// Why a signed offer or receipt proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ArtifactError {
    /// Signed in another way.
    #[error("it is signed as \"{0}\", and only \"jws\" is read here")]
    Format(String),
    /// It carries what it states twice, and the two could differ.
    #[error("it has a `payload` besides the one in its signature")]
    Payload,
    /// The JWS does not hold.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// It is signed, and not what it should be.
    #[error("it is signed, and it is no {name}: what it states {fault}")]
    Statement {
        /// What it should be.
        name: &'static str,
        /// What is wrong with it.
        fault: WireError,
    },
    /// It is signed, and of a version that is not known here.
    #[error("it is signed, and of version {0}, which is not known here")]
    Version(u64),
}

impl Artifact {
    /// Signs a statement with the seller's receipt key. The same statement gives the same bytes.
    ///
    /// # Errors
    /// When it has no JSON form.
    pub fn sign<T: Statement>(
        statement: &T,
        accept_index: Option<u64>,
        key: &SecretKey,
    ) -> Result<Self, serde_json::Error> {
        let payload = canonical::canonical(&serde_json::to_value(statement)?);
        let signature = jws::sign(payload.as_bytes(), key);
        Ok(Self { format: JWS.to_owned(), accept_index, payload: None, signature })
    }

    /// A compact JWS alone, as an artifact.
    #[must_use]
    pub fn of_jws(signature: String) -> Self {
        Self { format: JWS.to_owned(), accept_index: None, payload: None, signature }
    }

    /// The JWS in it.
    ///
    /// # Errors
    /// [`ArtifactError::Format`], [`ArtifactError::Payload`] and [`ArtifactError::Jws`].
    pub fn jws(&self) -> Result<Jws, ArtifactError> {
        if self.format != JWS {
            return Err(ArtifactError::Format(crate::fault::shown(&self.format, 32)));
        }
        if self.payload.is_some() {
            return Err(ArtifactError::Payload);
        }
        Ok(Jws::read(&self.signature)?)
    }

    /// The statement, when it was signed with the key that the reader expects this seller to use.
    ///
    /// # Errors
    /// [`ArtifactError`]; all of them mean that nothing is proven.
    pub fn verify<T: Statement>(&self, expected: &PublicKey) -> Result<T, ArtifactError> {
        read(self.jws()?.verify(expected)?)
    }
}

/// Reads the payload of a JWS that was verified.
///
/// # Errors
/// [`ArtifactError::Statement`] and [`ArtifactError::Version`].
pub fn read<T: Statement>(payload: &[u8]) -> Result<T, ArtifactError> {
    let statement: T = crate::json::read(payload, &Limits::default())
        .map_err(|fault| ArtifactError::Statement { name: T::NAME, fault })?;
    match statement.version() {
        VERSION => Ok(statement),
        other => Err(ArtifactError::Version(other)),
    }
}

/// The extension in terms: one signed offer for each entry of `accepts`, in their order.
///
/// # Errors
/// When it has no JSON form.
pub fn of_offers(offers: &[Artifact]) -> Result<Box<RawValue>, serde_json::Error> {
    let item = json!({
        "type": "object",
        "properties": {
            "format": { "type": "string", "const": JWS },
            "acceptIndex": { "type": "integer" },
            "signature": { "type": "string" },
        },
        "required": ["format", "signature"],
    });
    let properties = json!({ "offers": { "type": "array", "items": item } });
    extension(json!({ "offers": offers }), properties, "offers")
}

/// The extension in a settlement: the receipt.
///
/// # Errors
/// When it has no JSON form.
pub fn of_receipt(receipt: &Artifact) -> Result<Box<RawValue>, serde_json::Error> {
    let item = json!({
        "type": "object",
        "properties": {
            "format": { "type": "string", "const": JWS },
            "signature": { "type": "string" },
        },
        "required": ["format", "signature"],
    });
    extension(json!({ "receipt": receipt }), json!({ "receipt": item }), "receipt")
}

fn extension(info: Value, properties: Value, required: &str) -> Result<Box<RawValue>, serde_json::Error> {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": [required],
    });
    to_raw_value(&json!({ "info": info, "schema": schema }))
}

#[derive(Deserialize)]
struct Issued {
    info: Info,
}

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    offers: Vec<Box<RawValue>>,
    #[serde(default)]
    receipt: Option<Artifact>,
}

/// The signed offers in terms that can be read; empty where there are none.
#[must_use]
pub fn offers(extensions: &Extensions) -> Vec<Artifact> {
    let issued = extensions.get(EXTENSION).and_then(|raw| serde_json::from_str::<Issued>(raw.get()).ok());
    let offers = issued.map(|issued| issued.info.offers).unwrap_or_default();
    offers.iter().filter_map(|raw| serde_json::from_str(raw.get()).ok()).collect()
}

/// The signed receipt in a settlement; `None` where there is none.
///
/// # Errors
/// When the extension is there and cannot be read.
pub fn receipt(extensions: &Extensions) -> Result<Option<Artifact>, WireError> {
    let Some(raw) = extensions.get(EXTENSION) else { return Ok(None) };
    let issued: Issued = crate::json::read(raw.get().as_bytes(), &Limits::default())?;
    Ok(issued.info.receipt)
}

/// What a payer echoes of the extension: its schema, and none of the offers, which would only make the
/// payment longer. It asks for a receipt by that.
#[must_use]
pub fn echo(issued: &RawValue) -> Option<Box<RawValue>> {
    let mut members: serde_json::Map<String, Value> = serde_json::from_str(issued.get()).ok()?;
    members.get_mut("info")?.as_object_mut()?.remove("offers");
    to_raw_value(&members).ok()
}

fn zero_is_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.filter(|seconds| *seconds != 0))
}

fn empty_is_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://shop.example/weather";

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32])
    }

    fn terms() -> PaymentRequirements {
        serde_json::from_value(json!({
            "scheme": "exact", "network": "farthing:00", "amount": "1000", "asset": "XTS", "payTo": "seller",
            "maxTimeoutSeconds": 300, "extra": {},
        }))
        .unwrap()
    }

    fn receipt_of(transaction: Option<&str>) -> SignedReceipt {
        SignedReceipt {
            version: 1,
            network: "farthing:00".parse().unwrap(),
            resource_url: URL.into(),
            payer: "alice".into(),
            issued_at: 1_800_000_000,
            transaction: transaction.map(str::to_owned),
        }
    }

    fn signed(payload: &Value) -> Artifact {
        Artifact::of_jws(jws::sign(payload.to_string().as_bytes(), &key(1)))
    }

    #[test]
    fn an_offer_survives_its_signature_and_covers_what_it_was_made_of() {
        let offer = SignedOffer::of(&terms(), URL, 1_800_000_300);
        let artifact = Artifact::sign(&offer, Some(0), &key(1)).unwrap();
        let read = artifact.verify::<SignedOffer>(&key(1).public()).unwrap();
        assert_eq!(read, offer);
        assert!(read.covers(&terms(), URL));
        assert!(!read.covers(&terms(), "https://shop.example/other"));
        for (member, value) in [("scheme", "upto"), ("amount", "1001"), ("asset", "USD"), ("payTo", "thief")]
        {
            let mut other = serde_json::to_value(terms()).unwrap();
            other[member] = value.into();
            assert!(!read.covers(&serde_json::from_value(other).unwrap(), URL), "{member}");
        }
    }

    #[test]
    fn payloads_are_signed_in_their_canonical_form() {
        let payload = |artifact: &Artifact| {
            String::from_utf8(artifact.jws().unwrap().unverified_payload().to_vec()).unwrap()
        };
        let artifact = Artifact::sign(&SignedOffer::of(&terms(), URL, 7), Some(1), &key(1)).unwrap();
        let expected = "{\"amount\":\"1000\",\"asset\":\"XTS\",\"network\":\"farthing:00\",\"payTo\":\"seller\",\
            \"resourceUrl\":\"https://shop.example/weather\",\"scheme\":\"exact\",\"validUntil\":7,\"version\":1}";
        assert_eq!(payload(&artifact), expected);
        let artifact = Artifact::sign(&receipt_of(None), None, &key(1)).unwrap();
        let expected = "{\"issuedAt\":1800000000,\"network\":\"farthing:00\",\"payer\":\"alice\",\
            \"resourceUrl\":\"https://shop.example/weather\",\"version\":1}";
        assert_eq!(payload(&artifact), expected);
    }

    #[test]
    fn an_offer_is_no_receipt_and_a_receipt_no_offer() {
        let (mine, offer) = (key(1).public(), SignedOffer::of(&terms(), URL, 7));
        let offer = Artifact::sign(&offer, None, &key(1)).unwrap();
        let receipt = Artifact::sign(&receipt_of(Some("tx")), None, &key(1)).unwrap();
        assert!(matches!(offer.verify::<SignedReceipt>(&mine), Err(ArtifactError::Statement { .. })));
        assert!(matches!(receipt.verify::<SignedOffer>(&mine), Err(ArtifactError::Statement { .. })));
        assert_eq!(receipt.verify::<SignedReceipt>(&mine), Ok(receipt_of(Some("tx"))));
        // Nor can one be made that is both.
        let mut both = serde_json::to_value(receipt_of(None)).unwrap();
        for (name, value) in
            serde_json::to_value(SignedOffer::of(&terms(), URL, 7)).unwrap().as_object().unwrap()
        {
            both[name] = value.clone();
        }
        assert!(signed(&both).verify::<SignedReceipt>(&mine).is_err());
        assert!(signed(&both).verify::<SignedOffer>(&mine).is_err());
    }

    #[test]
    fn what_is_signed_is_read_strictly() {
        let mine = key(1).public();
        let good = serde_json::to_value(receipt_of(None)).unwrap();
        assert_eq!(signed(&good).verify(&mine), Ok(receipt_of(None)));
        for (member, value, fits) in [
            ("transaction", json!(""), true),
            ("transaction", json!(7), false),
            ("version", json!(2), false),
            ("version", json!("1"), false),
            ("issuedAt", json!("now"), false),
            ("network", json!("base"), false),
            ("note", json!("x"), false),
        ] {
            let mut other = good.clone();
            other[member] = value;
            assert_eq!(signed(&other).verify(&mine) == Ok(receipt_of(None)), fits, "{other}");
        }
        let twice = good.to_string().replacen('{', "{\"payer\":\"bob\",", 1);
        let twice = Artifact::of_jws(jws::sign(twice.as_bytes(), &key(1)));
        assert!(matches!(twice.verify::<SignedReceipt>(&mine), Err(ArtifactError::Statement { .. })));
    }

    #[test]
    fn only_the_expected_key_signs_and_only_as_jws() {
        let artifact = Artifact::sign(&receipt_of(None), None, &key(2)).unwrap();
        assert_eq!(
            artifact.verify::<SignedReceipt>(&key(1).public()),
            Err(ArtifactError::Jws(JwsError::ForeignKey))
        );
        assert!(artifact.verify::<SignedReceipt>(&key(2).public()).is_ok());
        let eip712 = Artifact { format: "eip712".into(), ..artifact.clone() };
        assert!(matches!(eip712.verify::<SignedReceipt>(&key(2).public()), Err(ArtifactError::Format(_))));
        let doubled = Artifact { payload: Some(json!({})), ..artifact };
        assert_eq!(doubled.verify::<SignedReceipt>(&key(2).public()), Err(ArtifactError::Payload));
    }

    #[test]
    fn extensions_carry_offers_and_receipts_and_an_echo_leaves_the_offers_out() {
        let offer = Artifact::sign(&SignedOffer::of(&terms(), URL, 7), Some(0), &key(1)).unwrap();
        let issued = of_offers(std::slice::from_ref(&offer)).unwrap();
        let extensions = Extensions::from([(EXTENSION.to_owned(), issued.clone())]);
        assert_eq!(offers(&extensions), [offer]);
        assert_eq!(receipt(&extensions), Ok(None));
        let echoed = echo(&issued).unwrap();
        assert!(!echoed.get().contains("eyJ") && echoed.get().contains("\"info\":{}"));

        let artifact = Artifact::sign(&receipt_of(None), None, &key(1)).unwrap();
        let settled = Extensions::from([(EXTENSION.to_owned(), of_receipt(&artifact).unwrap())]);
        assert_eq!(receipt(&settled), Ok(Some(artifact)));
        assert_eq!(receipt(&Extensions::new()), Ok(None));
        let broken = RawValue::from_string("{\"info\":{\"receipt\":7}}".into()).unwrap();
        assert!(receipt(&Extensions::from([(EXTENSION.to_owned(), broken)])).is_err());
    }
}
