//! Session tokens: what a payer shows for a few minutes instead of proving its key at each request.
//!
//! A token says for which scope, until when, and whose; its MAC covers all of it, and the origin. Nothing is stored.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use farthing_protocol::layout::{Reader, Writer};
use farthing_protocol::{Network, Origin, SecretKey};

use super::mac::MacKey;

/// Seconds that a token is good for at most; then the key is proven again.
pub(super) const LIFETIME: u64 = 600;
/// Bytes of a token, written out.
pub(super) const TOKEN_BYTES: usize = 1024;
/// Bytes of a network's id, and of a payer's name.
const NAME_BYTES: usize = 256;
const VERSION: u8 = 1;
const TAG_BYTES: usize = 32;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// [`Scope::digest`](super::scope::Scope::digest).
    pub(super) scope: [u8; 32],
    /// Unix seconds: the first at which the token is no good.
    pub(super) expires: u64,
    /// Unix seconds: the first at which the pass is over.
    pub(super) until: u64,
    pub(super) network: Network,
    pub(super) payer: String,
}

impl Session {
    /// For a pass that is good until `until`.
    pub(super) fn begin(scope: [u8; 32], until: u64, network: Network, payer: String, now: u64) -> Self {
        Self { scope, expires: until.min(now.saturating_add(LIFETIME)), until, network, payer }
    }
}

/// Makes and reads tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    key: MacKey,
    origin: Origin,
}

impl Tokens {
    pub(super) fn new(seller: &SecretKey, origin: Origin) -> Self {
        Self { key: MacKey::derive(seller, "pass/session"), origin }
    }

    /// The token; `None` when a name in it is longer than any that is read.
    pub(super) fn write(&self, session: &Session) -> Option<String> {
        let (network, payer) = (session.network.as_str().as_bytes(), session.payer.as_bytes());
        if network.len() > NAME_BYTES || payer.len() > NAME_BYTES {
            return None;
        }
        let body = Writer::bare().u8(VERSION).fixed(&session.scope).u64(session.expires);
        let mut token = body.u64(session.until).var(network).var(payer).finish();
        let tag = self.key.tag(&self.layout(&token));
        token.extend_from_slice(&tag);
        Some(URL_SAFE_NO_PAD.encode(token)).filter(|token| token.len() <= TOKEN_BYTES)
    }

    /// What a token of this server says; whether it is still good is for the reader to see.
    pub(super) fn read(&self, token: &[u8]) -> Option<Session> {
        if token.len() > TOKEN_BYTES {
            return None;
        }
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (body, tag) = token.split_at_checked(token.len().checked_sub(TAG_BYTES)?)?;
        if !self.key.verify(&self.layout(body), tag) {
            return None;
        }
        let mut reader = Reader::bare(body);
        if reader.u8().ok()? != VERSION {
            return None;
        }
        let scope = reader.fixed().ok()?;
        let (expires, until) = (reader.u64().ok()?, reader.u64().ok()?);
        let mut name = || std::str::from_utf8(reader.var(NAME_BYTES).ok()?).ok();
        let (network, payer) = (name()?.parse().ok()?, name()?.to_owned());
        reader.finish().ok()?;
        Some(Session { scope, expires, until, network, payer })
    }

    fn layout(&self, body: &[u8]) -> Vec<u8> {
        Writer::new("farthing/pass-session", 1).var(self.origin.as_str().as_bytes()).var(body).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(seed: u8, origin: &str) -> Tokens {
        Tokens::new(&SecretKey::from_seed([seed; 32]), origin.parse().unwrap())
    }

    fn session() -> Session {
        Session::begin([3; 32], 5000, "test:one".parse().unwrap(), "alice".into(), 1000)
    }

    #[test]
    fn a_token_ends_after_ten_minutes_or_with_its_pass() {
        assert_eq!(session().expires, 1000 + LIFETIME);
        let short = Session::begin([3; 32], 1100, "test:one".parse().unwrap(), "alice".into(), 1000);
        assert_eq!((short.expires, short.until), (1100, 1100));
    }

    #[test]
    fn t49_a_token_is_read_by_its_server_and_not_when_any_bit_of_it_differs() {
        let ours = tokens(1, "https://a.example");
        let token = ours.write(&session()).unwrap();
        assert_eq!(ours.read(token.as_bytes()), Some(session()));
        assert_eq!(tokens(1, "https://a.example").read(token.as_bytes()), Some(session()), "another process");
        assert_eq!(tokens(1, "https://b.example").read(token.as_bytes()), None, "another origin");
        assert_eq!(tokens(2, "https://a.example").read(token.as_bytes()), None, "another seller");
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ours.read(URL_SAFE_NO_PAD.encode(other).as_bytes()), None, "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert_eq!(ours.read(URL_SAFE_NO_PAD.encode(&bytes[..cut]).as_bytes()), None, "{cut}");
        }
        for text in ["", "!", &format!("{token}="), &format!(" {token}"), &"A".repeat(TOKEN_BYTES + 1)] {
            assert_eq!(ours.read(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn t49_bytes_that_move_from_one_field_to_the_next_make_another_tag() {
        let ours = tokens(1, "https://a.example");
        let one = Session { network: "test:one".parse().unwrap(), payer: "xalice".into(), ..session() };
        let two = Session { network: "test:onex".parse().unwrap(), payer: "alice".into(), ..session() };
        let tag = |session: &Session| {
            let token = URL_SAFE_NO_PAD.decode(ours.write(session).unwrap()).unwrap();
            token[token.len() - TAG_BYTES..].to_vec()
        };
        assert_ne!(tag(&one), tag(&two));
    }

    #[test]
    fn a_name_that_would_not_be_read_is_not_written() {
        let long = Session { payer: "a".repeat(NAME_BYTES + 1), ..session() };
        assert_eq!(tokens(1, "https://a.example").write(&long), None);
    }
}
