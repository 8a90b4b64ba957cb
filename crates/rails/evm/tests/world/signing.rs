//! Authorizations of EIP-3009 written and signed by hand: for payers that are contracts, and for payments that no
//! honest payer makes. Written from the specification, apart from the rail's own code.

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::{Eip712Domain, SolStruct, SolValue};
use serde_json::{Value, json};

use super::anvil;

mod typed {
    alloy_sol_types::sol! {
        struct TransferWithAuthorization {
            address from;
            address to;
            uint256 value;
            uint256 validAfter;
            uint256 validBefore;
            bytes32 nonce;
        }
    }
}

/// An authorization to move USDC.
#[derive(Clone, Debug)]
pub struct Authorization {
    pub from: String,
    pub to: String,
    pub value: u128,
    pub valid_after: u64,
    pub valid_before: u64,
    pub nonce: [u8; 32],
}

impl Authorization {
    /// What is signed for `token` with this domain.
    pub fn hash(&self, token: &str, name: &str, version: &str) -> B256 {
        let domain = Eip712Domain::new(
            Some(name.to_owned().into()),
            Some(version.to_owned().into()),
            Some(U256::from(anvil::CHAIN_ID)),
            Some(token.parse().unwrap()),
            None,
        );
        let signed = typed::TransferWithAuthorization {
            from: self.from.parse().unwrap(),
            to: self.to.parse().unwrap(),
            value: U256::from(self.value),
            validAfter: U256::from(self.valid_after),
            validBefore: U256::from(self.valid_before),
            nonce: B256::from(self.nonce),
        };
        signed.eip712_signing_hash(&domain)
    }

    /// Signed for USDC by the key of a role.
    pub fn sign(&self, role: u8) -> Vec<u8> {
        sign(&self.hash(anvil::USDC, "USDC", "2"), role)
    }

    /// The payload with this signature.
    pub fn payload(&self, signature: &[u8]) -> Value {
        json!({
            "signature": hex::encode_prefixed(signature),
            "authorization": {
                "from": self.from,
                "to": self.to,
                "value": self.value.to_string(),
                "validAfter": self.valid_after.to_string(),
                "validBefore": self.valid_before.to_string(),
                "nonce": hex::encode_prefixed(self.nonce),
            },
        })
    }
}

/// The signature of the key of a role: r, s, v.
pub fn sign(hash: &B256, role: u8) -> Vec<u8> {
    let key = PrivateKeySigner::from_slice(&[role; 32]).unwrap();
    key.sign_hash_sync(hash).unwrap().as_bytes().to_vec()
}

/// A wallet's signature together with what makes the wallet (ERC-6492).
pub fn wrap(factory: &str, owner: &str, salt: u128, signature: &[u8]) -> Vec<u8> {
    let arguments = [anvil::Argument::Address(owner), anvil::Argument::Number(salt)];
    let made = hex::decode(anvil::call_data("deploy(address,uint256)", &arguments)).unwrap();
    let factory: Address = factory.parse().unwrap();
    let parts = (factory, Bytes::from(made), Bytes::copy_from_slice(signature));
    [parts.abi_encode_params(), hex::decode("6492".repeat(16)).unwrap()].concat()
}

/// The other signature with the same meaning: s in the upper half of the curve's order.
pub fn high(signature: &[u8]) -> Vec<u8> {
    let order = U256::from_be_slice(
        &hex::decode("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").unwrap(),
    );
    let s = order - U256::from_be_slice(&signature[32..64]);
    [&signature[..32], &s.to_be_bytes::<32>(), &[55 - signature[64]]].concat()
}
