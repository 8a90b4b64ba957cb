//! Names of networks.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::WireError;

/// A network's id, `namespace:reference`, such as `eip155:84532` or `farthing:0f3c...`. Cheap to clone.
///
/// Read a little more widely than CAIP-2 allows, because ids with `=` and `/` in their reference are in use;
/// [`is_caip2`](Self::is_caip2) tells the two apart. Ids are compared as text: upper and lower case differ.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(Arc<str>);

impl Network {
    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is before the first colon: the family of networks.
    pub fn namespace(&self) -> &str {
        self.0.split_once(':').map_or("", |(namespace, _)| namespace)
    }

    /// What is after the first colon: the network within its family.
    pub fn reference(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, reference)| reference)
    }

    /// Whether the id keeps to CAIP-2: a reference of at most 32 of `[-_a-zA-Z0-9]`.
    pub fn is_caip2(&self) -> bool {
        let reference = self.reference();
        reference.len() <= 32
            && reference.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    }
}

impl FromStr for Network {
    type Err = WireError;

    fn from_str(text: &str) -> Result<Self, WireError> {
        let fault = |why: &str| WireError::Field { field: "network", why: why.into() };
        let Some((namespace, reference)) = text.split_once(':') else {
            return Err(fault("must be a CAIP-2 id like eip155:84532, with a colon"));
        };
        let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(3..=8).contains(&namespace.len()) || !namespace.bytes().all(named) {
            return Err(fault("must begin with a namespace of 3 to 8 of a-z, 0-9 and -"));
        }
        let visible = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'`' | b'\\');
        if !(1..=64).contains(&reference.len()) || !reference.bytes().all(visible) {
            return Err(fault(
                "must end with a reference of 1 to 64 visible ASCII characters without quotes",
            ));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Network({self})")
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NetworkText)
    }
}

struct NetworkText;

impl serde::de::Visitor<'_> for NetworkText {
    type Value = Network;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a network id like eip155:84532")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Network, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_use_are_read_and_their_parts_named() {
        for (id, namespace, reference, caip2) in [
            ("eip155:84532", "eip155", "84532", true),
            ("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "solana", "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", true),
            (
                "farthing:00112233445566778899aabbccddeeff",
                "farthing",
                "00112233445566778899aabbccddeeff",
                true,
            ),
            (
                "algorand:SGO1GKSzyE7IEPItTxCByw9x8FmnrCDexi9/cOUJOiI=",
                "algorand",
                "SGO1GKSzyE7IEPItTxCByw9x8FmnrCDexi9/cOUJOiI=",
                false,
            ),
            ("ach:us", "ach", "us", true),
        ] {
            let network: Network = id.parse().unwrap();
            assert_eq!((network.namespace(), network.reference()), (namespace, reference));
            assert_eq!(network.is_caip2(), caip2, "{id}");
            assert_eq!(network.to_string(), id);
            assert_eq!(serde_json::from_str::<Network>(&format!("\"{id}\"")).unwrap(), network);
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_field_named() {
        let long = format!("eip155:{}", "1".repeat(65));
        for text in [
            "",
            "base",
            "ei:1",
            "EIP155:1",
            "eip155:",
            ":1",
            "namespaces:1",
            "eip155:1 2",
            "eip155:\"",
            &long,
        ] {
            let error = text.parse::<Network>().unwrap_err();
            assert_eq!(error.field(), Some("network"), "{text:?}");
        }
        assert!(serde_json::from_str::<Network>("1").is_err());
    }
}
