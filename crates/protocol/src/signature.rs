//! ed25519, with one predicate for everybody.
//!
//! RFC 8032 leaves room: libraries disagree about signatures with small-order or torsioned points, and a
//! batch may accept what a single check refuses. Here [`verify`] and [`verify_batch`] give the same verdict
//! for all bytes, on servers and in ledgers: `A`, `R` and `S` must be canonical, `A` and `R` not of small
//! order, and the cofactored equation `[8](S·B − k·A − R) = 0` must hold with `k = SHA-512(R‖A‖M)`.
//! What an honest signer makes, with any library, passes. `spec/vectors/ed25519.json` has the edge cases.

use std::fmt;

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use curve25519_dalek::{EdwardsPoint, Scalar};
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha512};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::WireError;

/// Text and JSON of a type that wraps bytes: lower-case hex, read strictly.
macro_rules! hex_text {
    ($type:ident, $length:literal, $field:literal, $why:literal) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::signature::write_hex(&self.0, &mut [0; 2 * $length], f)
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($type), "({})"), self)
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::WireError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let bytes = $crate::signature::lower_hex::<$length>(text);
                bytes.map(Self).ok_or_else(|| $crate::WireError::Field { field: $field, why: $why.into() })
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use hex_text;

/// An ed25519 public key, as it came: nothing but its length is known before [`verify`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

/// An ed25519 signature, `R‖S`, as it came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signature(pub [u8; 64]);

hex_text!(PublicKey, 32, "public key", "must be 64 lower-case hex digits");
hex_text!(Signature, 64, "signature", "must be 128 lower-case hex digits");

/// An ed25519 secret key. Prints nothing of itself and is overwritten when dropped.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// From the 32 bytes that RFC 8032 calls the private key.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&Zeroizing::new(seed)))
    }

    /// From the seed in hex, as key files keep it.
    ///
    /// # Errors
    /// When `text` is anything but 64 lower-case hex digits. The error does not repeat it.
    pub fn from_hex(text: &str) -> Result<Self, WireError> {
        let seed = lower_hex::<32>(text).map(Zeroizing::new).ok_or_else(|| WireError::Field {
            field: "secret key",
            why: "must be 64 lower-case hex digits".into(),
        })?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// The key that others verify with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// A key for another job, the same each time: SHA-256 over a domain, the job's name and this key's seed.
    /// Who knows the derived key learns nothing about this one.
    #[must_use]
    pub fn derive(&self, job: &str) -> Self {
        Self::from_seed(*self.derive_bytes(job))
    }

    /// As [`derive`](Self::derive), for jobs that need a secret and no signatures.
    #[must_use]
    pub fn derive_bytes(&self, job: &str) -> Zeroizing<[u8; 32]> {
        let layout = crate::layout::Writer::new("farthing/derived-key", 1).var(job.as_bytes());
        let layout = Zeroizing::new(layout.fixed(self.0.as_bytes()).finish());
        Zeroizing::new(crate::digest::sha256(&layout))
    }

    /// Signs `message`, deterministically as RFC 8032 says.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// Why a signature is refused. Always the signer's fault; the first reason in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum SignatureFault {
    /// `S` is not below the group's order.
    #[error("the signature's scalar is not canonical")]
    Scalar,
    /// `A` is not on the curve, or not written in its one canonical way.
    #[error("the public key is not a canonically encoded point")]
    Key,
    /// `A` has order 1, 2, 4 or 8: such a key signs anything.
    #[error("the public key has small order")]
    WeakKey,
    /// `R` is not on the curve, or not written in its one canonical way.
    #[error("the signature's point is not canonically encoded")]
    Point,
    /// `R` has order 1, 2, 4 or 8.
    #[error("the signature's point has small order")]
    WeakPoint,
    /// The equation does not hold: another message, another key, or no signature at all.
    #[error("the signature does not match the message and the key")]
    Mismatch,
}

/// Whether `signature` by `key` covers `message`: the one predicate.
///
/// # Errors
/// [`SignatureFault`].
pub fn verify(key: &PublicKey, message: &[u8], signature: &Signature) -> Result<(), SignatureFault> {
    Parts::read(key, message, signature)?.verdict()
}

/// [`verify`] for many at once, in little more than half the time when all of eight or more are good. One
/// verdict per item, in order, the same as [`verify`] gives.
///
/// The equations are added up with 128-bit coefficients that are hashed from the whole batch: no random
/// numbers are needed, and whoever changes an item to make errors cancel out changes all coefficients. When
/// the sum fails, each item is checked by itself.
#[must_use]
pub fn verify_batch(items: &[(PublicKey, &[u8], Signature)]) -> Vec<Result<(), SignatureFault>> {
    let parts: Vec<_> =
        items.iter().map(|(key, message, signature)| Parts::read(key, message, signature)).collect();
    let sound: Vec<&Parts> = parts.iter().flatten().collect();
    let all_hold = sound.len() > 1 && sum_holds(&sound);
    parts
        .iter()
        .map(|part| {
            part.as_ref()
                .map_err(|fault| *fault)
                .and_then(|part| if all_hold { Ok(()) } else { part.verdict() })
        })
        .collect()
}

/// A signature whose parts are canonical and of large order; only the equation is open.
struct Parts {
    a: EdwardsPoint,
    r: EdwardsPoint,
    s: Scalar,
    k: Scalar,
    /// What decides the equation, as bytes: `A‖R‖S‖k`.
    transcript: [u8; 128],
}

impl Parts {
    fn read(key: &PublicKey, message: &[u8], signature: &Signature) -> Result<Self, SignatureFault> {
        let (r_bytes, s_bytes) = halves(&signature.0);
        let s =
            Option::<Scalar>::from(Scalar::from_canonical_bytes(s_bytes)).ok_or(SignatureFault::Scalar)?;
        let a = canonical_point(&key.0).ok_or(SignatureFault::Key)?;
        if a.is_small_order() {
            return Err(SignatureFault::WeakKey);
        }
        let r = canonical_point(&r_bytes).ok_or(SignatureFault::Point)?;
        if r.is_small_order() {
            return Err(SignatureFault::WeakPoint);
        }
        let hash = Sha512::new().chain_update(r_bytes).chain_update(key.0).chain_update(message);
        let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        let mut transcript = [0; 128];
        transcript[..32].copy_from_slice(&key.0);
        transcript[32..96].copy_from_slice(&signature.0);
        transcript[96..].copy_from_slice(k.as_bytes());
        Ok(Self { a, r, s, k, transcript })
    }

    /// `[8](S·B − k·A − R) = 0`
    fn verdict(&self) -> Result<(), SignatureFault> {
        let sum = EdwardsPoint::vartime_double_scalar_mul_basepoint(&-self.k, &self.a, &self.s) - self.r;
        if sum.mul_by_cofactor().is_identity() { Ok(()) } else { Err(SignatureFault::Mismatch) }
    }
}

/// `[8](Σ zᵢSᵢ·B − Σ zᵢ·Rᵢ − Σ zᵢkᵢ·Aᵢ) = 0`
fn sum_holds(parts: &[&Parts]) -> bool {
    let mut batch = Sha512::new().chain_update(b"farthing/ed25519-batch\x01");
    batch.update((parts.len() as u64).to_be_bytes());
    parts.iter().for_each(|part| batch.update(part.transcript));
    let seed = batch.finalize();

    let mut base = Scalar::ZERO;
    let mut scalars = Vec::with_capacity(2 * parts.len() + 1);
    let mut points = Vec::with_capacity(2 * parts.len() + 1);
    for (index, part) in parts.iter().enumerate() {
        let hash: [u8; 64] =
            Sha512::new().chain_update(seed).chain_update((index as u64).to_be_bytes()).finalize().into();
        let mut low = [0; 16];
        low.copy_from_slice(&hash[..16]);
        let z = Scalar::from(u128::from_le_bytes(low));
        base += z * part.s;
        scalars.extend([-z, -(z * part.k)]);
        points.extend([part.r, part.a]);
    }
    scalars.push(base);
    points.push(ED25519_BASEPOINT_POINT);
    EdwardsPoint::vartime_multiscalar_mul(&scalars, &points).mul_by_cofactor().is_identity()
}

/// The point, when `bytes` is the one canonical way to write it.
///
/// Compressing it again and comparing would say the same and cost a field inversion: an encoding is
/// canonical when `y < p`, and the sign bit is clear for the two points with `x = 0`.
fn canonical_point(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    let mut y = *bytes;
    let sign = y[31] & 0x80 != 0;
    y[31] &= 0x7f;
    // p = 2^255 - 19 ends in 0xed and is 0xff, and 0x7f at the top, elsewhere.
    let high = y[31] == 0x7f && y[1..31].iter().all(|byte| *byte == 0xff);
    let one = y[0] == 1 && y[1..].iter().all(|byte| *byte == 0);
    let minus_one = high && y[0] == 0xec;
    if (high && y[0] >= 0xed) || (sign && (one || minus_one)) {
        return None;
    }
    CompressedEdwardsY(*bytes).decompress()
}

fn halves(bytes: &[u8; 64]) -> ([u8; 32], [u8; 32]) {
    let (mut low, mut high) = ([0; 32], [0; 32]);
    low.copy_from_slice(&bytes[..32]);
    high.copy_from_slice(&bytes[32..]);
    (low, high)
}

/// Exactly `2 N` digits of `[0-9a-f]`: the only hex that is read anywhere on this wire.
#[must_use]
pub fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let lower = text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

/// Writes `bytes` in hex, through a buffer of twice their length.
pub(crate) fn write_hex(bytes: &[u8], buffer: &mut [u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    hex::encode_to_slice(bytes, buffer).map_err(|_| fmt::Error)?;
    f.write_str(std::str::from_utf8(buffer).map_err(|_| fmt::Error)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Little-endian `p + offset` for small offsets, with the sign bit as asked.
    fn near_p(offset: i16, sign: bool) -> [u8; 32] {
        let mut bytes = [0xff; 32];
        bytes[31] = if sign { 0xff } else { 0x7f };
        bytes[0] = (0xed + offset) as u8;
        bytes
    }

    #[test]
    fn an_encoding_is_canonical_exactly_when_compressing_gives_it_back() {
        let mut encodings = Vec::new();
        for sign in [false, true] {
            encodings.extend((-0xed..=18).map(|offset| near_p(offset, sign)));
            encodings.extend((0..=255).map(|low| {
                let mut bytes = [0; 32];
                (bytes[0], bytes[31]) = (low, u8::from(sign) << 7);
                bytes
            }));
        }
        encodings.extend((0_u32..2_000).map(|index| crate::digest::sha256(&index.to_be_bytes())));
        let mut canonical = 0;
        for bytes in encodings {
            let again = CompressedEdwardsY(bytes).decompress().filter(|point| point.compress().0 == bytes);
            assert_eq!(canonical_point(&bytes), again, "{bytes:02x?}");
            canonical += usize::from(again.is_some());
        }
        assert!(canonical > 1_000);
    }

    #[test]
    fn a_secret_key_is_read_strictly_and_prints_nothing() {
        let text = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let key = SecretKey::from_hex(text).unwrap();
        assert_eq!(
            key.public().to_string(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        assert_eq!(format!("{key:?}"), "SecretKey(..)");
        for bad in [text.to_uppercase(), text[2..].to_owned(), format!(" {text}"), format!("{text}00")] {
            let error = SecretKey::from_hex(&bad).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(&bad));
        }
    }

    #[test]
    fn hex_is_lower_case_and_of_one_length() {
        assert_eq!(lower_hex::<2>("00af"), Some([0, 0xaf]));
        for bad in ["00AF", "00a", "00afa", "00af00", "0xaf", "00a\u{e9}", "+0af", ""] {
            assert_eq!(lower_hex::<2>(bad), None, "{bad}");
        }
        assert_eq!(
            serde_json::to_string(&PublicKey([0xab; 32])).unwrap(),
            format!("\"{}\"", "ab".repeat(32))
        );
        assert!(serde_json::from_str::<Signature>(&format!("\"{}\"", "ab".repeat(64))).is_ok());
        assert!(serde_json::from_str::<Signature>(&format!("\"{}\"", "ab".repeat(32))).is_err());
    }
}
