//! Quotes: what a dynamic price was said to be, without remembering it (`spec/quotes.md`).
//!
//! An offer of a dynamic route carries `extra.quote`: a price, until when it holds, and a MAC over the request
//! and every field of the offer. Whoever pays for that offer pays that price, whatever the seller would say
//! by then; whoever changes a byte of it is asked anew.

use farthing_protocol::digest::sha256;
use farthing_protocol::layout::Writer;
use farthing_protocol::v2::PaymentRequirements;
use farthing_protocol::{Price, RequestDigest};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::paywall::ConfigError;

/// The member of `extra` that holds a quote.
pub const MEMBER: &str = "quote";

/// Bytes that a key has at least.
pub const KEY_BYTES: usize = 32;

const DOMAIN: &str = "farthing/quote";
const VERSION: u8 = 1;

/// The keys that quotes are made with: the first one signs, and all of them verify.
#[derive(Clone)]
pub struct QuoteKeys(Vec<Key>);

#[derive(Clone)]
struct Key {
    id: String,
    /// Keyed, and fed with nothing yet.
    mac: Hmac<Sha256>,
}

/// A quote, as it stands in an offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quote {
    /// Which key: a short hash of it, in lower-case hex.
    pub key: String,
    /// Unix seconds: a payment that may be authorized later than this is not taken at this price.
    pub expires: u64,
    /// The price in whole units, such as `0.01 USD`.
    pub price: String,
    /// HMAC-SHA256, in lower-case hex.
    pub mac: String,
}

impl QuoteKeys {
    /// One key, or two while one replaces the other.
    ///
    /// # Errors
    /// [`ConfigError::QuoteKeys`] for any other number, two that are the same, and a key of less than
    /// [`KEY_BYTES`].
    pub fn new(keys: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Self, ConfigError> {
        let wrong = |why: &str| ConfigError::QuoteKeys { why: why.to_owned() };
        let mut read: Vec<Key> = Vec::new();
        for key in keys {
            let secret = key.as_ref();
            if secret.len() < KEY_BYTES {
                return Err(wrong("a key has at least 32 bytes"));
            }
            let mac = Hmac::new_from_slice(secret).map_err(|_| wrong("a key is too long"))?;
            let layout = Zeroizing::new(Writer::new("farthing/quote-key", VERSION).var(secret).finish());
            let id = hex(&sha256(&layout)[..8]);
            if read.iter().any(|other| other.id == id) {
                return Err(wrong("the same key is given twice"));
            }
            read.push(Key { id, mac });
        }
        match read.len() {
            1 | 2 => Ok(Self(read)),
            _ => Err(wrong("one key is needed, and two at most")),
        }
    }

    /// Puts a quote into an offer: `price` for the request with this digest, until `expires`.
    pub fn put(&self, offer: &mut PaymentRequirements, digest: &RequestDigest, price: &Price, expires: u64) {
        let Some(key) = self.0.first() else { return };
        let mut quote = Quote { key: key.id.clone(), expires, price: price.to_string(), mac: String::new() };
        quote.mac = hex(&key.mac(&covered(offer, digest, &quote)));
        if let Ok(quote) = serde_json::to_value(quote) {
            offer.extra.insert(MEMBER.to_owned(), quote);
        }
    }

    /// The quote in an offer, when one of these keys made it for the request with this digest and nothing of
    /// the offer was changed. Whether it has expired is for the caller to judge.
    #[must_use]
    pub fn read(&self, offer: &PaymentRequirements, digest: &RequestDigest) -> Option<(Price, u64)> {
        let quote = Quote::deserialize(offer.extra.get(MEMBER)?).ok()?;
        let key = self.0.iter().find(|key| key.id == quote.key)?;
        let expected = hex(&key.mac(&covered(offer, digest, &quote)));
        // Lengths are no secret; slices of different length are never equal.
        let is_same: bool = expected.as_bytes().ct_eq(quote.mac.as_bytes()).into();
        is_same.then_some((quote.price.parse().ok()?, quote.expires))
    }
}

impl Key {
    fn mac(&self, covered: &[u8]) -> [u8; 32] {
        self.mac.clone().chain_update(covered).finalize().into_bytes().into()
    }
}

// Keys are secrets.
impl std::fmt::Debug for QuoteKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

/// What a MAC covers: the request, and every field of the offer and the quote but the MAC itself.
fn covered(offer: &PaymentRequirements, digest: &RequestDigest, quote: &Quote) -> Vec<u8> {
    let layout = Writer::new(DOMAIN, VERSION)
        .var(quote.key.as_bytes())
        .u64(quote.expires)
        .fixed(&digest.0)
        .var(quote.price.as_bytes())
        .var(offer.scheme.as_bytes())
        .var(offer.network.as_str().as_bytes())
        .u128(offer.amount.0)
        .var(offer.asset.as_bytes())
        .var(offer.pay_to.as_bytes())
        .u64(offer.max_timeout_seconds);
    let extra: Map<String, Value> =
        offer.extra.iter().filter(|(name, _)| *name != MEMBER).map(|(n, v)| (n.clone(), v.clone())).collect();
    written_object(layout, &extra).finish()
}

/// One JSON value, in its one form: a byte for its kind, and members in the order of their names' bytes.
fn written(layout: Writer, value: &Value) -> Writer {
    match value {
        Value::Null => layout.u8(0),
        Value::Bool(value) => layout.u8(1).u8(u8::from(*value)),
        Value::Number(number) => layout.u8(2).var(number.to_string().as_bytes()),
        Value::String(text) => layout.u8(3).var(text.as_bytes()),
        Value::Array(values) => values.iter().fold(layout.u8(4).u32(count(values.len())), written),
        Value::Object(members) => written_object(layout.u8(5), members),
    }
}

fn written_object(layout: Writer, members: &Map<String, Value>) -> Writer {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_unstable_by_key(|(name, _)| name.as_bytes());
    sorted.into_iter().fold(layout.u32(count(members.len())), |layout, (name, value)| {
        written(layout.var(name.as_bytes()), value)
    })
}

/// Headers are limited to kilobytes long before.
fn count(members: usize) -> u32 {
    u32::try_from(members).unwrap_or(u32::MAX)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DIGEST: RequestDigest = RequestDigest([7; 32]);

    fn keys(seeds: &[u8]) -> QuoteKeys {
        QuoteKeys::new(seeds.iter().map(|seed| [*seed; 32])).unwrap()
    }

    fn price() -> Price {
        "$0.01".parse().unwrap()
    }

    fn offer() -> PaymentRequirements {
        serde_json::from_value(json!({
            "scheme": "exact", "network": "test:one", "amount": "10000", "asset": "USD", "payTo": "seller",
            "maxTimeoutSeconds": 300, "extra": {"name": "ab", "version": "c", "deep": {"x": [1, "2", null]}},
        }))
        .unwrap()
    }

    fn quoted(keys: &QuoteKeys) -> PaymentRequirements {
        let mut offer = offer();
        keys.put(&mut offer, &DIGEST, &price(), 1000);
        offer
    }

    #[test]
    fn a_quote_is_read_by_who_made_it_for_the_same_request_alone() {
        let keys = keys(&[1]);
        let offer = quoted(&keys);
        assert_eq!(keys.read(&offer, &DIGEST), Some((price(), 1000)));
        assert_eq!(keys.read(&offer, &RequestDigest([8; 32])), None);
        assert_eq!(self::keys(&[2]).read(&offer, &DIGEST), None);
        let text = serde_json::to_string(&offer).unwrap();
        assert_eq!(keys.read(&serde_json::from_str(&text).unwrap(), &DIGEST), Some((price(), 1000)));
    }

    #[test]
    fn while_keys_are_replaced_the_first_signs_and_both_verify() {
        let (old, both, new) = (keys(&[1]), keys(&[2, 1]), keys(&[2]));
        assert!(both.read(&quoted(&old), &DIGEST).is_some());
        assert!(new.read(&quoted(&both), &DIGEST).is_some());
        assert!(old.read(&quoted(&both), &DIGEST).is_none());
        assert!(new.read(&quoted(&old), &DIGEST).is_none());
    }

    #[test]
    fn t49_an_empty_or_short_key_stops_the_start() {
        for bytes in [0, 1, 16, 31] {
            let error = QuoteKeys::new([vec![7; bytes]]).unwrap_err().to_string();
            assert!(error.contains("at least 32 bytes"), "{bytes}: {error}");
        }
        assert!(QuoteKeys::new([vec![7; 32], vec![8; 31]]).is_err());
        assert!(QuoteKeys::new(Vec::<Vec<u8>>::new()).is_err());
        assert!(QuoteKeys::new([[1; 32], [1; 32]]).is_err());
        assert!(QuoteKeys::new([[1; 32], [2; 32], [3; 32]]).is_err());
        assert!(QuoteKeys::new([vec![7; 32], vec![8; 200]]).is_ok());
    }

    #[test]
    fn t49_a_mac_is_whole_and_of_the_one_algorithm_or_it_is_none() {
        let keys = keys(&[1]);
        let offer = quoted(&keys);
        let mac = offer.extra["quote"]["mac"].as_str().unwrap().to_owned();
        let flipped = format!("{}{}", if mac.starts_with('0') { '1' } else { '0' }, &mac[1..]);
        for wrong in ["", "0", &mac[..62], &mac[..32], &format!("{mac}00"), &mac.to_uppercase(), &flipped] {
            if wrong == mac {
                continue;
            }
            let mut other = offer.clone();
            other.extra["quote"]["mac"] = wrong.into();
            assert_eq!(keys.read(&other, &DIGEST), None, "{wrong}");
        }
        for (member, value) in [
            ("mac", json!(null)),
            ("mac", json!([mac])),
            ("alg", json!("none")),
            ("key", json!("")),
            ("key", json!("0000000000000000")),
            ("expires", json!(1001)),
            ("expires", json!("1000")),
            ("price", json!("0.02 USD")),
            ("price", json!("$0.01")),
        ] {
            let mut other = offer.clone();
            other.extra["quote"][member] = value.clone();
            assert_eq!(keys.read(&other, &DIGEST), None, "{member} {value}");
        }
        for quote in [json!(null), json!({}), json!("none"), json!([]), json!(mac)] {
            let mut other = offer.clone();
            other.extra["quote"] = quote;
            assert_eq!(keys.read(&other, &DIGEST), None);
        }
        assert_eq!(keys.read(&self::offer(), &DIGEST), None);
        assert!(keys.read(&offer, &DIGEST).is_some());
    }

    #[test]
    fn t49_bytes_that_move_between_neighbouring_fields_change_the_mac() {
        type Move = fn(&mut PaymentRequirements);
        let keys = keys(&[1]);
        let moves: [(&str, Move); 12] = [
            ("scheme to network", |o| {
                o.scheme = "exac".into();
                o.network = "ttest:one".parse().unwrap();
            }),
            ("asset to payTo", |o| {
                o.asset = "US".into();
                o.pay_to = "Dseller".into();
            }),
            ("payTo to asset", |o| {
                o.asset = "USDs".into();
                o.pay_to = "eller".into();
            }),
            ("amount", |o| o.amount.0 += 1),
            ("timeout", |o| o.max_timeout_seconds += 1),
            ("value to name", |o| {
                o.extra.remove("name");
                o.extra.insert("namea".into(), "b".into());
            }),
            ("value to value", |o| {
                o.extra.insert("name".into(), "a".into());
                o.extra.insert("version".into(), "bc".into());
            }),
            ("a member less", |o| drop(o.extra.remove("version"))),
            ("a member more", |o| drop(o.extra.insert("own".into(), Value::Null))),
            ("number to text", |o| o.extra["deep"]["x"][0] = "1".into()),
            ("text to number", |o| o.extra["deep"]["x"][1] = 2.into()),
            ("array to objects", |o| o.extra["deep"]["x"] = json!({"1": "2"})),
        ];
        for (what, change) in moves {
            let mut offer = quoted(&keys);
            change(&mut offer);
            assert_eq!(keys.read(&offer, &DIGEST), None, "{what}");
        }
        assert!(keys.read(&quoted(&keys), &DIGEST).is_some());
    }

    /// The example of `spec/quotes.md`.
    #[test]
    fn the_example_of_the_specification_is_as_it_says() {
        let mut offer = offer();
        keys(&[1]).put(&mut offer, &DIGEST, &price(), 1_800_000_600);
        let quote = Quote::deserialize(&offer.extra["quote"]).unwrap();
        assert_eq!((quote.key.as_str(), quote.price.as_str()), ("795e2d750f669b7e", "0.01 USD"));
        assert_eq!(quote.mac, "ece6e748ca240ae9e064883c8d054346fce3beb3542eb5fcc64e79d4d010a331");
        let bytes = covered(&offer, &DIGEST, &quote);
        assert_eq!(
            (bytes.len(), hex(&sha256(&bytes)).as_str()),
            (222, "c879579a582aecea4882e3f1adbacd00490231a383e30f55700fd88e17264d19")
        );
    }

    #[test]
    fn nothing_that_is_printed_holds_a_key() {
        let printed = format!("{:?}", QuoteKeys::new([[0x41; 32]]).unwrap());
        assert!(!printed.contains("AAAA") && !printed.contains("41414141") && !printed.contains("65, 65"));
    }
}
