//! Signing in with an account: its own key signs the text's bytes, and payer and signature are written in hex.

use farthing_protocol::siwx::{Info, Proof, SignInKind};
use farthing_protocol::{Network, PublicKey, SecretKey, Signature, signature};

/// Proves that `key` is here.
pub(crate) fn prove(info: &Info, network: &Network, key: &SecretKey) -> Option<Proof> {
    let sign = |text: &str| Some(key.sign(text.as_bytes()).to_string());
    info.prove(network, SignInKind::Ed25519, key.public().to_string(), sign)
}

/// The account that signed, by the one predicate for signatures.
pub(crate) fn signed(address: &str, text: &str, given: &str) -> Option<String> {
    let account: PublicKey = address.parse().ok()?;
    let given: Signature = given.parse().ok()?;
    signature::verify(&account, text.as_bytes(), &given).ok()?;
    Some(account.to_string())
}

#[cfg(test)]
mod tests {
    use farthing_protocol::rail::PaymentFault;
    use farthing_protocol::v2::PaymentPayload;
    use serde_json::json;

    use super::*;
    use crate::wire;

    fn proof(key: &SecretKey) -> Proof {
        let info = Info::new(&"https://a.example".parse().unwrap(), "/x", "0".repeat(32), 1000).unwrap();
        prove(&info, &"farthing:00112233445566778899aabbccddeeff".parse().unwrap(), key).unwrap()
    }

    #[test]
    fn an_account_signs_in_with_its_own_key_and_for_itself() {
        let (key, other) = (SecretKey::from_seed([7; 32]), SecretKey::from_seed([8; 32]));
        let (proof, account) = (proof(&key), key.public().to_string());
        assert_eq!(signed(&proof.address, &proof.text(), &proof.signature), Some(account.clone()));
        let stranger = other.public().to_string();
        assert_eq!(signed(&stranger, &proof.text(), &proof.signature), None);
        assert_eq!(signed(&account, &format!("{} ", proof.text()), &proof.signature), None);
        assert_eq!(signed(&account, &proof.text(), &"0".repeat(128)), None);
        assert_eq!(signed(&account.to_uppercase(), &proof.text(), &proof.signature), None);
        // A key of small order would have signed anything.
        let weak = format!("01{}", "0".repeat(62));
        assert_eq!(signed(&weak, &proof.text(), &format!("{weak}{}", "0".repeat(64))), None);
    }

    #[test]
    fn a_proof_is_the_one_that_another_library_makes() {
        let file = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../spec/vectors/sign-in.json"));
        let file: serde_json::Value = serde_json::from_str(file).unwrap();
        let case = &file["proofs"][1];
        let text = |name: &str| case[name].as_str().unwrap();
        let info: Info = serde_json::from_value(file["info"].clone()).unwrap();
        let key = SecretKey::from_hex(text("secret")).unwrap();
        let ours = prove(&info, &text("network").parse().unwrap(), &key).unwrap();
        assert_eq!((ours.text().as_str(), ours.signature.as_str()), (text("text"), text("signature")));
        assert_eq!(signed(&ours.address, text("text"), text("signature")).as_deref(), Some(text("address")));
    }

    #[test]
    fn a_signature_under_a_sign_in_is_none_under_a_payment() {
        let proof = proof(&SecretKey::from_seed([7; 32]));
        let payment: PaymentPayload = serde_json::from_value(json!({
            "x402Version": 2,
            "accepted": {"scheme": "exact", "network": "farthing:00112233445566778899aabbccddeeff", "amount": "1",
                "asset": "XTS", "payTo": "", "maxTimeoutSeconds": 60, "extra": {}},
            "payload": {"authorization": wire::base64(proof.text().as_bytes()), "signature": proof.signature},
        }))
        .unwrap();
        let read = wire::read_authorization(&payment);
        assert!(matches!(read, Err(PaymentFault::Malformed { .. })), "a sign-in was read as a payment");
    }
}
