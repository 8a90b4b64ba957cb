//! Receipts: the seller's signed statement of what was paid for and delivered.
//!
//! A receipt is signed with the seller's receipt key, which has this one job. It travels as extension
//! [`EXTENSION`] of a settlement; what is signed is a [layout](crate::layout), described in
//! `spec/receipt.md`, and never its JSON.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::layout::{LayoutError, Reader, Writer};
use crate::rail::PaymentId;
use crate::signature::{SignatureFault, verify};
use crate::{Amount, PublicKey, RequestDigest, SecretKey, Signature};

/// The extension's name in `extensions` of a settlement.
pub const EXTENSION: &str = "farthing-receipt";

const DOMAIN: &str = "farthing/receipt";
const VERSION: u8 = 1;

/// What the seller states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The payment that was captured.
    pub payment: PaymentId,
    /// The request that was paid for.
    pub digest: RequestDigest,
    /// The answer's HTTP status.
    pub status: u16,
    /// SHA-256 of the answer's body.
    pub body: [u8; 32],
    /// What was captured, in atomic units of the payment's asset.
    pub amount: Amount,
    /// When it was signed: Unix seconds by the seller's clock.
    pub issued_at: u64,
}

impl Receipt {
    /// The bytes that are signed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let layout = Writer::new(DOMAIN, VERSION).fixed(&self.payment.0).fixed(&self.digest.0);
        layout.u16(self.status).fixed(&self.body).u128(self.amount.0).u64(self.issued_at).finish()
    }

    /// Reads the bytes that were signed. Says nothing about who signed them.
    ///
    /// # Errors
    /// [`LayoutError`] for anything but the one layout.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::open(bytes, DOMAIN, VERSION)?;
        let receipt = Self {
            payment: PaymentId(reader.fixed()?),
            digest: RequestDigest(reader.fixed()?),
            status: reader.u16()?,
            body: reader.fixed()?,
            amount: Amount(reader.u128()?),
            issued_at: reader.u64()?,
        };
        reader.finish()?;
        Ok(receipt)
    }

    /// Signs the statement with the seller's receipt key.
    #[must_use]
    pub fn sign(&self, key: &SecretKey) -> SignedReceipt {
        let receipt = self.to_bytes();
        let signature = key.sign(&receipt);
        SignedReceipt { receipt, key: key.public(), signature }
    }
}

/// A receipt as it travels. Nothing of it may be believed before [`verify`](Self::verify).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReceipt {
    /// The signed bytes; base64 (standard alphabet, padded) in JSON.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub receipt: Vec<u8>,
    /// The key that claims to have signed.
    pub key: PublicKey,
    /// Its signature over `receipt`.
    pub signature: Signature,
}

impl SignedReceipt {
    /// The statement, when it was signed with the key that the reader expects this seller to use.
    ///
    /// # Errors
    /// [`ReceiptError`]; all of them mean that there is no receipt.
    pub fn verify(&self, expected_key: &PublicKey) -> Result<Receipt, ReceiptError> {
        if self.key != *expected_key {
            return Err(ReceiptError::ForeignKey);
        }
        verify(expected_key, &self.receipt, &self.signature)?;
        Ok(Receipt::from_bytes(&self.receipt)?)
    }
}

/// Why a receipt proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReceiptError {
    /// It was signed with another key than the seller's.
    #[error("the receipt names another key than the seller's")]
    ForeignKey,
    /// The signature is refused.
    #[error("the receipt is not signed: {0}")]
    Signature(#[from] SignatureFault),
    /// It is signed and is not a receipt that can be read.
    #[error("the receipt cannot be read: {0}")]
    Layout(#[from] LayoutError),
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    STANDARD
        .decode(text.as_bytes())
        .map_err(|_| serde::de::Error::custom("receipt must be padded standard base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32])
    }

    fn receipt() -> Receipt {
        Receipt {
            payment: PaymentId([1; 32]),
            digest: RequestDigest([2; 32]),
            status: 200,
            body: crate::digest::sha256(b"hello"),
            amount: Amount(1_000),
            issued_at: 1_800_000_000,
        }
    }

    #[test]
    fn a_receipt_survives_signing_json_and_verification() {
        let signed = receipt().sign(&key(7));
        let json = serde_json::to_string(&signed).unwrap();
        let read: SignedReceipt = serde_json::from_str(&json).unwrap();
        assert_eq!(read, signed);
        assert_eq!(read.verify(&key(7).public()), Ok(receipt()));
    }

    #[test]
    fn a_receipt_by_another_key_is_refused() {
        let signed = receipt().sign(&key(8));
        assert_eq!(signed.verify(&key(7).public()), Err(ReceiptError::ForeignKey));
        let renamed = SignedReceipt { key: key(7).public(), ..signed };
        assert_eq!(renamed.verify(&key(7).public()), Err(SignatureFault::Mismatch.into()));
    }

    #[test]
    fn every_byte_of_a_receipt_is_signed() {
        let signed = receipt().sign(&key(7));
        for at in 0..signed.receipt.len() {
            let mut changed = signed.clone();
            changed.receipt[at] ^= 1;
            assert_eq!(changed.verify(&key(7).public()), Err(SignatureFault::Mismatch.into()));
        }
    }

    #[test]
    fn a_signature_for_another_purpose_is_no_receipt() {
        let sign = |bytes: Vec<u8>| {
            let signature = key(7).sign(&bytes);
            SignedReceipt { receipt: bytes, key: key(7).public(), signature }.verify(&key(7).public())
        };
        let with = |domain, version| {
            let mut bytes = Writer::new(domain, version).finish();
            bytes.extend_from_slice(&receipt().to_bytes()[18..]);
            bytes
        };
        assert_eq!(sign(with(DOMAIN, VERSION)), Ok(receipt()));
        assert_eq!(sign(with("farthing/payment", VERSION)), Err(LayoutError::Domain.into()));
        assert_eq!(sign(with(DOMAIN, 2)), Err(LayoutError::Version { found: 2 }.into()));
        let mut long = receipt().to_bytes();
        long.push(0);
        assert_eq!(sign(long), Err(LayoutError::Trailing.into()));
        assert_eq!(sign(receipt().to_bytes()[..139].to_vec()), Err(LayoutError::Short.into()));
    }

    #[test]
    fn json_of_a_receipt_is_read_strictly() {
        let json = serde_json::to_string(&receipt().sign(&key(7))).unwrap();
        let signed: serde_json::Value = serde_json::from_str(&json).unwrap();
        for (member, bad) in [
            ("receipt", "AB=="),
            ("receipt", "AAA"),
            ("receipt", "A_-A"),
            ("receipt", "AA AA"),
            ("key", "00"),
            ("signature", "zz"),
        ] {
            let mut changed = signed.clone();
            changed[member] = bad.into();
            assert!(serde_json::from_value::<SignedReceipt>(changed).is_err(), "{member} {bad}");
        }
        assert!(serde_json::from_value::<SignedReceipt>(signed).is_ok());
    }
}
