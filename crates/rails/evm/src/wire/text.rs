//! How numbers, addresses and bytes are spelled in JSON, for serde's `with`.

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};
use std::borrow::Cow;

/// The longest signature that is read, in bytes: room for a wallet's deployment wrapped around its own.
pub(crate) const MAX_SIGNATURE: usize = 4 * 1024;

/// Reads an address: `0x` and 40 hex digits in any letter case.
pub(crate) fn read_address(text: &str) -> Option<Address> {
    bytes_of::<20>(text).map(Address::from)
}

/// Reads a whole number: decimal digits, no leading zero, below 2^256.
pub(crate) fn read_decimal(text: &str) -> Option<U256> {
    let digits = !text.is_empty() && text.len() <= 78 && text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = digits && (text.len() == 1 || !text.starts_with('0'));
    if canonical { U256::from_str_radix(text, 10).ok() } else { None }
}

/// Reads `0x` and an even number of hex digits, at most `limit` bytes.
pub(crate) fn read_bytes(text: &str, limit: usize) -> Option<Bytes> {
    let digits = text.strip_prefix("0x")?;
    if digits.len() > limit * 2 {
        return None;
    }
    hex::decode(digits).ok().map(Bytes::from)
}

fn bytes_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.len() == N * 2)?;
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}

fn read<'de, D, T>(deserializer: D, read: fn(&str) -> Option<T>, what: &str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    let text = Cow::<str>::deserialize(deserializer)?;
    read(&text).ok_or_else(|| D::Error::custom(what))
}

/// An address; written with its checksum (ERC-55).
pub(crate) mod address {
    use super::{Address, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Address, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.to_checksum(None))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
        super::read(deserializer, super::read_address, "an address must be 0x and 40 hex digits")
    }
}

/// An address that may be missing.
pub(crate) mod maybe_address {
    use super::{Address, Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Text(#[serde(with = "super::address")] Address);

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Address>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::address::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Address>, D::Error> {
        Ok(Option::<Text>::deserialize(deserializer)?.map(|text| text.0))
    }
}

/// 32 bytes.
pub(crate) mod word {
    use super::{B256, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &B256, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<B256, D::Error> {
        let read = |text: &str| super::bytes_of::<32>(text).map(B256::from);
        super::read(deserializer, read, "a nonce must be 0x and 64 hex digits")
    }
}

/// A number below 2^256, written in decimal.
pub(crate) mod decimal {
    use super::{Deserializer, Serializer, U256};

    pub(crate) fn serialize<S: Serializer>(value: &U256, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<U256, D::Error> {
        super::read(deserializer, super::read_decimal, "a number must be decimal digits, below 2^256")
    }
}

/// A nonce of Permit2: decimal, or hex as the specification's examples have it; written in decimal.
pub(crate) mod nonce {
    use super::{Deserializer, U256};

    pub(crate) use super::decimal::serialize;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<U256, D::Error> {
        let read = |text: &str| match text.strip_prefix("0x") {
            Some(digits) => {
                let hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                if hex && digits.len() <= 64 { U256::from_str_radix(digits, 16).ok() } else { None }
            }
            None => super::read_decimal(text),
        };
        super::read(deserializer, read, "a nonce must be decimal digits, or 0x and hex digits, below 2^256")
    }
}

/// Unix seconds, below 2^64.
pub(crate) mod seconds {
    use super::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let read = |text: &str| super::read_decimal(text).and_then(|number| u64::try_from(number).ok());
        super::read(deserializer, read, "a time must be decimal digits, below 2^64")
    }
}

/// A signature: up to [`MAX_SIGNATURE`](super::MAX_SIGNATURE) bytes.
pub(crate) mod signature {
    use super::{Bytes, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let read = |text: &str| super::read_bytes(text, super::MAX_SIGNATURE).filter(|s| !s.is_empty());
        super::read(deserializer, read, "a signature must be 0x and hex digits, of 1 to 4096 bytes")
    }
}
