//! Signing in with an account: its key signs the text as a personal message (EIP-191).
//!
//! Smart wallets are not asked: whether a contract signed takes a question to its chain (ERC-1271).

use alloy_primitives::eip191_hash_message;
use farthing_protocol::Network;
use farthing_protocol::siwx::{Info, Proof, SignInKind};

use crate::EvmKey;
use crate::wire::signature::KeySignature;
use crate::wire::text::{read_address, read_bytes};

/// Bytes of a key's signature.
const SIGNATURE_BYTES: usize = 65;

/// Proves that `key` is here.
pub(crate) fn prove(info: &Info, network: &Network, key: &EvmKey) -> Option<Proof> {
    let sign = |text: &str| {
        let signature = key.sign(&eip191_hash_message(text)).ok()?;
        Some(format!("0x{}", hex::encode(signature.as_bytes())))
    };
    info.prove(network, SignInKind::Eip191, key.address(), sign)
}

/// The account that signed, with its checksum.
pub(crate) fn signed(address: &str, text: &str, given: &str) -> Option<String> {
    let account = read_address(address).filter(|account| !account.is_zero())?;
    let given = KeySignature::read(&read_bytes(given, SIGNATURE_BYTES)?)?;
    let signer = given.signer(&eip191_hash_message(text))?;
    (signer == account).then(|| account.to_checksum(None))
}

#[cfg(test)]
mod tests {
    use farthing_protocol::Limits;

    use super::*;

    /// The first two keys that development chains open with: no secrets.
    const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    const OTHER: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

    fn proof() -> Proof {
        let info = Info::new(&"https://a.example".parse().unwrap(), "/x", "0".repeat(32), 1000).unwrap();
        prove(&info, &"eip155:8453".parse().unwrap(), &EvmKey::from_hex(KEY).unwrap()).unwrap()
    }

    #[test]
    fn an_address_signs_in_for_itself_however_it_is_spelled() {
        let proof = proof();
        let (text, signature) = (proof.text(), &proof.signature);
        assert!(
            text.starts_with("a.example wants you to sign in with your Ethereum account:\n0xf39F"),
            "{text}"
        );
        assert_eq!(signed(&proof.address, &text, signature), Some(proof.address.clone()));
        assert_eq!(signed(&proof.address.to_lowercase(), &text, signature), Some(proof.address.clone()));
        assert_eq!(signed(OTHER, &text, signature), None);
        assert_eq!(signed(&proof.address, &text.replace("/x", "/y"), signature), None);
        assert_eq!(signed(&proof.address[2..], &text, signature), None);
    }

    #[test]
    fn a_proof_is_the_one_that_the_reference_makes() {
        let file = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../spec/vectors/sign-in.json"));
        let file: serde_json::Value = serde_json::from_str(file).unwrap();
        let case = &file["proofs"][0];
        let text = |name: &str| case[name].as_str().unwrap();
        let theirs = Proof::decode(text("header").as_bytes(), &Limits::default()).unwrap();
        assert_eq!(theirs.text(), text("text"));
        let signer = signed(&theirs.address, &theirs.text(), &theirs.signature);
        assert_eq!(signer.as_deref(), Some(text("address")));
        let info: Info = serde_json::from_value(file["info"].clone()).unwrap();
        let key = EvmKey::from_hex(text("secret")).unwrap();
        assert_eq!(prove(&info, &text("network").parse().unwrap(), &key), Some(theirs));
    }

    #[test]
    fn the_same_signature_in_another_form_is_none() {
        let proof = proof();
        let (text, address) = (proof.text(), &proof.address);
        let bytes = hex::decode(&proof.signature[2..]).unwrap();
        let is_signed = |bytes: &[u8]| signed(address, &text, &format!("0x{}", hex::encode(bytes))).is_some();
        assert!(is_signed(&bytes));
        let order = hex::decode("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").unwrap();
        let mut high = bytes.clone();
        let mut borrow = 0i16;
        for at in (0..32).rev() {
            let left = i16::from(order[at]) - i16::from(bytes[32 + at]) - borrow;
            borrow = i16::from(left < 0);
            high[32 + at] = left.rem_euclid(256) as u8;
        }
        high[64] ^= 27 ^ 28;
        assert!(!is_signed(&high), "the upper half of s");
        let mut small = bytes.clone();
        small[64] -= 27;
        assert!(!is_signed(&small), "v of 0 or 1");
        assert!(!is_signed(&bytes[..64]) && !is_signed(&[&bytes[..], &[0]].concat()) && !is_signed(&[]));
        assert_eq!(signed(address, &text, &proof.signature[2..]), None);
    }
}
