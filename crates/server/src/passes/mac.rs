//! The one MAC of passes: HMAC-SHA256 over a canonical layout, under a key that has this job alone.

use farthing_protocol::SecretKey;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A key. Prints nothing of itself and is overwritten when dropped.
pub(super) struct MacKey(Zeroizing<[u8; 32]>);

impl MacKey {
    /// The key for one job, derived from the seller's: the same in all of its processes.
    pub(super) fn derive(seller: &SecretKey, job: &str) -> Self {
        Self(seller.derive_bytes(job))
    }

    /// The tag of a layout. Layouts name what they are for, and put a length before what can have any.
    pub(super) fn tag(&self, layout: &[u8]) -> [u8; 32] {
        self.hmac(layout).map_or([0; 32], |mac| mac.finalize().into_bytes().into())
    }

    /// Whether `tag`, of at least eight bytes, is the beginning of the layout's tag; in constant time.
    pub(super) fn verify(&self, layout: &[u8], tag: &[u8]) -> bool {
        let mac = self.hmac(layout).filter(|_| tag.len() >= 8);
        mac.is_some_and(|mac| mac.verify_truncated_left(tag).is_ok())
    }

    /// A key of 32 bytes always fits.
    fn hmac(&self, layout: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_slice()).ok()?;
        mac.update(layout);
        Some(mac)
    }
}

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MacKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_of_one_layout_and_one_job() {
        let seller = SecretKey::from_seed([1; 32]);
        let (key, other) = (MacKey::derive(&seller, "one"), MacKey::derive(&seller, "other"));
        let tag = key.tag(b"layout");
        assert!(key.verify(b"layout", &tag) && key.verify(b"layout", &tag[..8]));
        assert!(!key.verify(b"layouT", &tag) && !other.verify(b"layout", &tag));
        assert!(!key.verify(b"layout", &tag[..7]) && !key.verify(b"layout", &[]));
        assert!(!key.verify(b"layout", &[&tag[..], &[0]].concat()));
        assert!(!key.verify(b"layout", &[0; 32]));
        assert!(!format!("{key:?}").contains("1"));
    }
}
