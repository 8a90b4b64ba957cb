//! `did:key` for ed25519: the name of a public key that is the key itself.
//!
//! `did:key:z` and, in base58btc, the bytes `ed 01` (the multicodec of an ed25519 public key) and the key's 32.
//! Whoever reads one has the key and needs to ask nobody; whose key it is stays open.

use thiserror::Error;

use crate::PublicKey;

/// The multicodec of an ed25519 public key, as a varint.
const ED25519: [u8; 2] = [0xed, 0x01];
const PREFIX: &str = "did:key:z";
/// Characters of base58 that are decoded. 34 bytes take 46 to 47.
const MOST_DIGITS: usize = 64;

/// Why a text names no key that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DidKeyError {
    /// Another method, such as `did:web`: its keys are somewhere else.
    #[error("is no did:key, which carries its key in itself")]
    Method,
    /// Not base58btc, or not of a key's length.
    #[error("is no key in base58btc")]
    Base58,
    /// A key of another algorithm.
    #[error("is a key of another algorithm than ed25519")]
    Algorithm,
    /// A DID URL whose fragment is not the one key of its `did:key`.
    #[error("points with its fragment at something else than its one key")]
    Fragment,
}

/// The `did:key` of `key`.
#[must_use]
pub fn did_key(key: &PublicKey) -> String {
    format!("did:key:{}", identifier(key))
}

/// The DID URL of the one key of its `did:key`: `did:key:z6Mk..#z6Mk..`, as a JWS names its key.
#[must_use]
pub fn key_id(key: &PublicKey) -> String {
    let identifier = identifier(key);
    format!("did:key:{identifier}#{identifier}")
}

/// The key of a `did:key`, alone or with the fragment of its one key.
///
/// # Errors
/// [`DidKeyError`].
pub fn read(text: &str) -> Result<PublicKey, DidKeyError> {
    let (did, fragment) = match text.split_once('#') {
        Some((did, fragment)) => (did, Some(fragment)),
        None => (text, None),
    };
    let digits = did.strip_prefix(PREFIX).ok_or(DidKeyError::Method)?;
    if digits.len() > MOST_DIGITS {
        return Err(DidKeyError::Base58);
    }
    let bytes = bs58::decode(digits).into_vec().map_err(|_| DidKeyError::Base58)?;
    let key = match bytes.split_first_chunk::<2>() {
        Some((&ED25519, key)) => key.try_into().map_err(|_| DidKeyError::Base58)?,
        Some(_) => return Err(DidKeyError::Algorithm),
        None => return Err(DidKeyError::Base58),
    };
    match fragment {
        Some(fragment) if fragment.strip_prefix('z') != Some(digits) => Err(DidKeyError::Fragment),
        _ => Ok(PublicKey(key)),
    }
}

fn identifier(key: &PublicKey) -> String {
    let bytes = [&ED25519[..], &key.0].concat();
    format!("z{}", bs58::encode(bytes).into_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecretKey;

    /// From the examples of the did:key method's specification.
    const EXAMPLE: &str = "did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH";

    #[test]
    fn a_key_survives_its_name_and_its_url() {
        let key = read(EXAMPLE).unwrap();
        assert_eq!(did_key(&key), EXAMPLE);
        for seed in 0..64 {
            let key = SecretKey::from_seed([seed; 32]).public();
            assert_eq!(read(&did_key(&key)), Ok(key));
            assert_eq!(read(&key_id(&key)), Ok(key));
            assert!(did_key(&key).starts_with("did:key:z6Mk"));
        }
    }

    #[test]
    fn other_names_are_no_keys() {
        let digits = &EXAMPLE[PREFIX.len()..];
        for (text, error) in [
            ("did:web:shop.example#key-1".to_owned(), DidKeyError::Method),
            (format!("did:key:{digits}"), DidKeyError::Method),
            (format!("did:key:u{digits}"), DidKeyError::Method),
            (format!(" {EXAMPLE}"), DidKeyError::Method),
            (EXAMPLE.to_uppercase(), DidKeyError::Method),
            (PREFIX.to_owned(), DidKeyError::Base58),
            (format!("{EXAMPLE}0"), DidKeyError::Base58),
            (format!("{EXAMPLE}\n"), DidKeyError::Base58),
            (format!("{PREFIX}{}", "1".repeat(10_000)), DidKeyError::Base58),
            // secp256k1, from the same specification.
            ("did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme".to_owned(), DidKeyError::Algorithm),
            (format!("{EXAMPLE}#"), DidKeyError::Fragment),
            (format!("{EXAMPLE}#key-1"), DidKeyError::Fragment),
            (format!("{EXAMPLE}#z{digits}#z{digits}"), DidKeyError::Fragment),
            (format!("{EXAMPLE}#{digits}"), DidKeyError::Fragment),
        ] {
            assert_eq!(read(&text), Err(error), "{text}");
        }
        let one_short = bs58::encode([&ED25519[..], &[7; 31]].concat()).into_string();
        assert_eq!(read(&format!("{PREFIX}{one_short}")), Err(DidKeyError::Base58));
    }
}
