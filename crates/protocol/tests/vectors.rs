//! The golden vectors of `spec/vectors` that other languages test against: digests, signatures, receipts,
//! signed offers.
//! They were computed by another implementation than this one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use farthing_protocol::digest::{BodyHash, request_digest};
use farthing_protocol::jws::JwsError;
use farthing_protocol::layout::Writer;
use farthing_protocol::offer_receipt::{self, Artifact, ArtifactError, SignedOffer, Statement};
use farthing_protocol::rail::PaymentId;
use farthing_protocol::receipt::{Receipt, ReceiptError, SignedReceipt};
use farthing_protocol::signature::{SignatureFault, lower_hex, verify, verify_batch};
use farthing_protocol::{Amount, Binding, Origin, PublicKey, RequestDigest, SecretKey, Signature, did_key};
use serde::Deserialize;

macro_rules! vectors {
    ($file:literal) => {
        serde_json::from_str(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/", $file)))
            .unwrap()
    };
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Digests {
    vectors: Vec<DigestVector>,
    same: Vec<(String, String)>,
    differ: Vec<(String, String)>,
    refused_origins: Vec<RefusedOrigin>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DigestVector {
    name: String,
    kind: u8,
    method: String,
    origin: Origin,
    canonical_origin: String,
    target: String,
    body: Option<String>,
    layout: String,
    digest: RequestDigest,
}

#[derive(Deserialize)]
struct RefusedOrigin {
    why: String,
    origin: String,
}

#[test]
fn request_digests_are_the_golden_ones() {
    let file: Digests = vectors!("request-digest.json");
    assert!(file.vectors.len() >= 12);
    let mut digests = BTreeMap::new();
    for vector in file.vectors {
        let body = match (Binding::from_kind(vector.kind), &vector.body) {
            (Some(Binding::Body), Some(body)) => BodyHash::of(&hex::decode(body).unwrap()),
            (Some(Binding::Open), None) => BodyHash::Unbound,
            other => panic!("{}: {other:?}", vector.name),
        };
        assert_eq!(vector.origin.as_str(), vector.canonical_origin, "{}", vector.name);
        let digest = request_digest(&vector.method, &vector.origin, &vector.target, body);
        assert_eq!(digest, vector.digest, "{}", vector.name);

        let hash = match body {
            BodyHash::Bound(hash) => hash,
            BodyHash::Unbound => [0; 32],
        };
        let layout = Writer::new("farthing/request-digest", 1)
            .u8(vector.kind)
            .var(vector.method.as_bytes())
            .var(vector.canonical_origin.as_bytes())
            .var(vector.target.as_bytes())
            .fixed(&hash);
        assert_eq!(hex::encode(layout.finish()), vector.layout, "{}", vector.name);
        assert!(
            digests.insert(vector.name.clone(), digest).is_none(),
            "two vectors are named {}",
            vector.name
        );
    }
    for (one, other) in &file.same {
        assert_eq!(digests[one], digests[other], "{one} / {other}");
    }
    for (one, other) in &file.differ {
        assert_ne!(digests[one], digests[other], "{one} / {other}");
    }
    for refused in file.refused_origins {
        assert!(refused.origin.parse::<Origin>().is_err(), "{}: {}", refused.why, refused.origin);
    }
}

#[derive(Deserialize)]
struct Signatures {
    vectors: Vec<SignatureVector>,
}

#[derive(Deserialize)]
struct SignatureVector {
    name: String,
    key: PublicKey,
    message: String,
    signature: Signature,
    verdict: String,
    why: String,
}

#[test]
fn signatures_get_their_golden_verdicts() {
    let file: Signatures = vectors!("ed25519.json");
    assert_eq!(file.vectors.iter().filter(|vector| vector.name.starts_with("speccheck ")).count(), 12);
    let honest = SecretKey::from_seed([1; 32]);
    let honest = (honest.public(), &b"honest"[..], honest.sign(b"honest"));
    for vector in file.vectors {
        let expected = match vector.verdict.as_str() {
            "valid" => Ok(()),
            "scalar" => Err(SignatureFault::Scalar),
            "key" => Err(SignatureFault::Key),
            "weak-key" => Err(SignatureFault::WeakKey),
            "point" => Err(SignatureFault::Point),
            "weak-point" => Err(SignatureFault::WeakPoint),
            "mismatch" => Err(SignatureFault::Mismatch),
            other => panic!("{}: {other}", vector.name),
        };
        let message = hex::decode(&vector.message).unwrap();
        let about = format!("{}: {}", vector.name, vector.why);
        assert_eq!(verify(&vector.key, &message, &vector.signature), expected, "{about}");
        let batch = [honest, (vector.key, &message, vector.signature), honest];
        assert_eq!(verify_batch(&batch), [Ok(()), expected, Ok(())], "{about}");
    }
}

#[derive(Deserialize)]
struct Receipts {
    seed: String,
    vectors: Vec<ReceiptVector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReceiptVector {
    name: String,
    expected_key: PublicKey,
    signed: SignedReceipt,
    receipt: Option<Stated>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stated {
    payment: String,
    digest: RequestDigest,
    status: u16,
    body: String,
    amount: String,
    issued_at: u64,
}

#[test]
fn receipts_state_or_fail_as_the_golden_ones() {
    let file: Receipts = vectors!("receipt.json");
    let key = SecretKey::from_hex(&file.seed).unwrap();
    let (mut stated, mut failed) = (0, 0);
    for vector in file.vectors {
        let verdict = vector.signed.verify(&vector.expected_key);
        if let Some(receipt) = vector.receipt {
            let receipt = Receipt {
                payment: receipt.payment.parse::<PaymentId>().unwrap(),
                digest: receipt.digest,
                status: receipt.status,
                body: lower_hex(&receipt.body).unwrap(),
                amount: receipt.amount.parse::<Amount>().unwrap(),
                issued_at: receipt.issued_at,
            };
            assert_eq!(verdict, Ok(receipt.clone()), "{}", vector.name);
            assert_eq!(receipt.sign(&key), vector.signed, "{}", vector.name);
            stated += 1;
        } else {
            let error = match verdict {
                Ok(receipt) => panic!("{}: {receipt:?}", vector.name),
                Err(ReceiptError::ForeignKey) => "foreign-key",
                Err(ReceiptError::Signature(_)) => "signature",
                Err(ReceiptError::Layout(_)) => "layout",
            };
            assert_eq!(Some(error), vector.error.as_deref(), "{}", vector.name);
            failed += 1;
        }
    }
    assert!(stated >= 3 && failed >= 5);
}

#[derive(Deserialize)]
struct Artifacts {
    seed: String,
    did: String,
    kid: String,
    vectors: Vec<ArtifactVector>,
}

#[derive(Deserialize)]
struct ArtifactVector {
    name: String,
    kind: String,
    key: PublicKey,
    jws: String,
    states: Option<serde_json::Value>,
    error: Option<String>,
}

fn verdict<T: Statement + PartialEq + std::fmt::Debug>(
    vector: &ArtifactVector,
    signer: &SecretKey,
) -> Result<(), &'static str> {
    let artifact = Artifact::of_jws(vector.jws.clone());
    // What names no key cannot be expected to be signed with it.
    let named = artifact.jws().and_then(|jws| Ok(jws.key()?));
    let stated = named.and_then(|_| artifact.verify::<T>(&vector.key)).map_err(|error| match error {
        ArtifactError::Format(_) | ArtifactError::Payload => "format",
        ArtifactError::Statement { .. } => "statement",
        ArtifactError::Version(_) => "version",
        ArtifactError::Jws(error) => match error {
            JwsError::TooLarge(_) => "too-large",
            JwsError::Parts => "parts",
            JwsError::Base64(_) => "base64",
            JwsError::Header(_) => "header",
            JwsError::Algorithm(_) => "algorithm",
            JwsError::Critical(_) => "critical",
            JwsError::Jwk => "jwk",
            JwsError::TwoKeys => "two-keys",
            JwsError::KeyId(_) => "kid",
            JwsError::ForeignKey => "foreign-key",
            JwsError::Signature(_) => "signature",
        },
    })?;
    let states = vector.states.clone().unwrap_or_default();
    assert_eq!(stated, serde_json::from_value(states).unwrap(), "{}", vector.name);
    assert_eq!(Artifact::sign(&stated, None, signer).unwrap(), artifact, "{}", vector.name);
    Ok(())
}

#[test]
fn signed_offers_and_receipts_state_or_fail_as_the_golden_ones() {
    let file: Artifacts = vectors!("jws.json");
    let signer = SecretKey::from_hex(&file.seed).unwrap();
    assert_eq!(did_key::did_key(&signer.public()), file.did);
    assert_eq!(did_key::key_id(&signer.public()), file.kid);
    let (mut stated, mut failed) = (0, 0);
    for vector in &file.vectors {
        let verdict = match vector.kind.as_str() {
            "offer" => verdict::<SignedOffer>(vector, &signer),
            "receipt" => verdict::<offer_receipt::SignedReceipt>(vector, &signer),
            other => panic!("{}: {other}", vector.name),
        };
        assert_eq!(verdict.err(), vector.error.as_deref(), "{}", vector.name);
        if vector.error.is_some() { failed += 1 } else { stated += 1 }
    }
    assert!(stated >= 5 && failed >= 20);
}
