//! The request digest: what binds a payment to one request.
//!
//! SHA-256 over the method, the origin, the request target as it was sent, and the SHA-256 of the body, in
//! the [layout](crate::layout) that `spec/request-digest.md` describes for every language. Headers are not
//! bound. A payment for one page, query, method or body does not open another.

use sha2::{Digest, Sha256};

use crate::Origin;
use crate::layout::Writer;
use crate::signature::hex_text;

/// The digest of one request. 64 lower-case hex digits when printed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestDigest(pub [u8; 32]);

hex_text!(RequestDigest, 32, "request digest", "must be 64 lower-case hex digits");

/// How much of the request a digest covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binding {
    /// Kind 1: all of it but the headers.
    Body,
    /// Kind 2: any body will do. Needs a route's opt-in and the client's.
    Open,
}

impl Binding {
    /// The number that is hashed and signed.
    #[must_use]
    pub fn kind(self) -> u8 {
        match self {
            Self::Body => 1,
            Self::Open => 2,
        }
    }

    /// The binding of a number; `None` for a number that is not known here, which must be refused.
    #[must_use]
    pub fn from_kind(kind: u8) -> Option<Self> {
        match kind {
            1 => Some(Self::Body),
            2 => Some(Self::Open),
            _ => None,
        }
    }
}

/// The body's part in the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyHash {
    /// SHA-256 of the body's bytes on the wire, after transfer coding is removed and before any content
    /// coding is; of no bytes when there is no body.
    Bound([u8; 32]),
    /// The body is not covered.
    Unbound,
}

impl BodyHash {
    /// Binds a body that is at hand.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self::Bound(sha256(body))
    }

    /// Whether the digest covers the body.
    #[must_use]
    pub fn binding(self) -> Binding {
        match self {
            Self::Bound(_) => Binding::Body,
            Self::Unbound => Binding::Open,
        }
    }
}

/// SHA-256 of a body that arrives in pieces.
#[derive(Clone, Debug, Default)]
pub struct BodyHasher(Sha256);

impl BodyHasher {
    /// Of no bytes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next piece; how a body was cut does not matter.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// SHA-256 of all pieces.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The digest of a request. `method` and `target` are taken as sent: nothing is normalised, and `target`
/// (path and query) has no fragment because none is ever sent.
#[must_use]
pub fn request_digest(method: &str, origin: &Origin, target: &str, body: BodyHash) -> RequestDigest {
    let hash = match body {
        BodyHash::Bound(hash) => hash,
        BodyHash::Unbound => [0; 32],
    };
    let layout = Writer::new("farthing/request-digest", 1).u8(body.binding().kind());
    let layout = layout.var(method.as_bytes()).var(origin.as_str().as_bytes()).var(target.as_bytes());
    RequestDigest(sha256(&layout.fixed(&hash).finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(method: &str, origin: &str, target: &str, body: BodyHash) -> RequestDigest {
        request_digest(method, &origin.parse().unwrap(), target, body)
    }

    #[test]
    fn every_part_of_a_request_changes_its_digest() {
        let base = digest("POST", "https://a.example", "/x?q=1", BodyHash::of(b"one"));
        assert_eq!(base, digest("POST", "https://A.example:443/", "/x?q=1", BodyHash::of(b"one")));
        for other in [
            digest("PUT", "https://a.example", "/x?q=1", BodyHash::of(b"one")),
            digest("POST", "http://a.example", "/x?q=1", BodyHash::of(b"one")),
            digest("POST", "https://a.example:444", "/x?q=1", BodyHash::of(b"one")),
            digest("POST", "https://a.example", "/x?q=2", BodyHash::of(b"one")),
            digest("POST", "https://a.example", "/x?q=%31", BodyHash::of(b"one")),
            digest("POST", "https://a.example", "/x?q=1", BodyHash::of(b"onf")),
            digest("POST", "https://a.example", "/x?q=1", BodyHash::Unbound),
            digest("POST", "https://a.example", "/x?q=1", BodyHash::Bound([0; 32])),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn an_unbound_body_is_not_a_body_whose_hash_is_zero() {
        let of = |body| digest("GET", "https://a.example", "/", body);
        assert_ne!(of(BodyHash::Unbound), of(BodyHash::Bound([0; 32])));
    }

    #[test]
    fn how_a_body_was_cut_does_not_matter() {
        let mut hasher = BodyHasher::new();
        [&b"he"[..], b"", b"llo"].iter().for_each(|piece| hasher.update(piece));
        assert_eq!(hasher.finish(), sha256(b"hello"));
        assert_eq!(BodyHasher::new().finish(), sha256(b""));
    }

    #[test]
    fn kinds_are_one_and_two_and_no_other_is_known() {
        for binding in [Binding::Body, Binding::Open] {
            assert_eq!(Binding::from_kind(binding.kind()), Some(binding));
        }
        for kind in (0..=u8::MAX).filter(|kind| !matches!(kind, 1 | 2)) {
            assert_eq!(Binding::from_kind(kind), None);
        }
    }

    #[test]
    fn a_digest_is_read_from_strict_hex_only() {
        let text = "ab".repeat(32);
        assert_eq!(text.parse::<RequestDigest>().map(|digest| digest.to_string()), Ok(text.clone()));
        assert_eq!(serde_json::to_string(&RequestDigest([0xab; 32])).unwrap(), format!("\"{text}\""));
        for bad in [
            text.to_uppercase(),
            format!("0x{text}"),
            text[1..].to_owned(),
            format!("{text}ab"),
            text.replace('b', "g"),
        ] {
            assert!(bad.parse::<RequestDigest>().is_err());
        }
    }
}
