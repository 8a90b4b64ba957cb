//! Nonces of sign-in challenges, which the server knows again without having kept them.
//!
//! A nonce is 32 hex digits: the time it was made (4 bytes, Unix seconds), a count (4 bytes), and the first 8 bytes of
//! a MAC over both and the origin. That it is used once is the [records](super::Passes)' affair.

use std::sync::atomic::{AtomicU32, Ordering};

use farthing_protocol::layout::Writer;
use farthing_protocol::siwx::{MAX_AGE, SKEW};
use farthing_protocol::{Origin, SecretKey};

use super::mac::MacKey;

/// Makes and knows nonces.
#[derive(Debug)]
pub(super) struct Nonces {
    key: MacKey,
    origin: Origin,
    count: AtomicU32,
}

/// A nonce that this server made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nonce {
    pub(super) bytes: [u8; 16],
    /// Unix seconds.
    pub(super) made: u64,
}

impl Nonces {
    /// `begin` is random: several processes that make nonces in the same second hardly ever make the same.
    pub(super) fn new(seller: &SecretKey, origin: Origin, begin: u32) -> Self {
        Self { key: MacKey::derive(seller, "pass/nonce"), origin, count: AtomicU32::new(begin) }
    }

    /// A fresh one; `None` after 2106, when its time does not fit.
    pub(super) fn make(&self, now: u64) -> Option<String> {
        let (time, count) = (u32::try_from(now).ok()?, self.count.fetch_add(1, Ordering::Relaxed));
        let tag = self.key.tag(&self.layout(time, count));
        let bytes = [&time.to_be_bytes()[..], &count.to_be_bytes(), &tag[..8]].concat();
        Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Knows a nonce of its own that is good at `now`.
    pub(super) fn read(&self, text: &str, now: u64) -> Option<Nonce> {
        let mut bytes = [0; 16];
        let lower = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(lower) {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        let (time, count) = (word(0)?, word(4)?);
        let made = u64::from(time);
        let fresh = made <= now.saturating_add(SKEW) && now <= made.saturating_add(MAX_AGE);
        (fresh && self.key.verify(&self.layout(time, count), &bytes[8..])).then_some(Nonce { bytes, made })
    }

    fn layout(&self, time: u32, count: u32) -> Vec<u8> {
        let layout = Writer::new("farthing/sign-in-nonce", 1).var(self.origin.as_str().as_bytes());
        layout.u32(time).u32(count).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonces(seed: u8, origin: &str) -> Nonces {
        Nonces::new(&SecretKey::from_seed([seed; 32]), origin.parse().unwrap(), u32::MAX)
    }

    #[test]
    fn a_nonce_is_known_again_for_five_minutes() {
        let ours = nonces(1, "https://a.example");
        let (one, two) = (ours.make(1000).unwrap(), ours.make(1000).unwrap());
        assert_ne!(one, two);
        assert_eq!((one.len(), ours.read(&one, 1000).unwrap().made), (32, 1000));
        assert!(ours.read(&one, 1000 + MAX_AGE).is_some() && ours.read(&one, 1000 - SKEW).is_some());
        assert_eq!(ours.read(&one, 1001 + MAX_AGE), None);
        assert_eq!(ours.read(&one, 999 - SKEW), None);
        assert_eq!(ours.make(u64::from(u32::MAX) + 1), None);
    }

    #[test]
    fn nobody_else_makes_them() {
        let ours = nonces(1, "https://a.example");
        let nonce = ours.make(1000).unwrap();
        assert!(
            nonces(1, "https://a.example").read(&nonce, 1000).is_some(),
            "another process of the same seller"
        );
        assert_eq!(nonces(1, "https://b.example").read(&nonce, 1000), None);
        assert_eq!(nonces(2, "https://a.example").read(&nonce, 1000), None);
        for at in 0..32 {
            let mut other = nonce.clone().into_bytes();
            other[at] = if other[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(ours.read(std::str::from_utf8(&other).unwrap(), 1000), None, "digit {at}");
        }
        for text in ["", "0", &nonce[1..], &nonce.to_uppercase(), &"0".repeat(32), &"\u{e9}".repeat(16)] {
            assert_eq!(ours.read(text, 1000), None, "{text}");
        }
    }
}
