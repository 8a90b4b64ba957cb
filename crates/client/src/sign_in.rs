//! Using what was paid for before: the key is proven instead of paying again, and a token spares the proof.
//!
//! A 402 with a challenge (`sign-in-with-x`) is answered with a proof first, once for each request, wherever this
//! client would be allowed to pay: whoever lost its journal does not pay twice, and whoever has no budget left may
//! read on. The proof is signed for the origin that was asked, and for the one statement that is known, which says
//! that nothing is paid. When it does not help, the request is paid for as usual.
//!
//! Tokens are kept in memory, by origin and path, and sent nowhere else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use farthing_protocol::Origin;
use farthing_protocol::siwx::{self, Chain, Challenge};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::policy::Policy;
use crate::request::Request;
use crate::terms::Terms;

/// The header of a proof.
const PROOF: HeaderName = HeaderName::from_static(siwx::HEADER);
/// The header of a token.
const TOKEN: HeaderName = HeaderName::from_static(siwx::TOKEN);
/// Tokens that are kept, and bytes of one.
const SESSIONS: usize = 256;
const TOKEN_BYTES: usize = 1024;

/// The tokens that servers gave; clones share them. Prints none.
#[derive(Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<VecDeque<Session>>>);

struct Session {
    origin: Origin,
    /// Where it is good for; all of the origin's when it is `/`.
    path: String,
    token: HeaderValue,
}

impl Session {
    fn is_for(&self, request: &Request) -> bool {
        self.origin == *request.origin() && (self.path == "/" || self.path == path(request))
    }
}

impl Sessions {
    /// The request with the token that was given for it, if there is one.
    pub(crate) fn with_token(&self, request: &Request) -> Option<Request> {
        let sessions = self.lock();
        let own = sessions.iter().find(|session| session.path != "/" && session.is_for(request));
        let session = own.or_else(|| sessions.iter().find(|session| session.is_for(request)))?;
        Some(request.carrying(TOKEN, session.token.clone()))
    }

    /// The token did not help.
    pub(crate) fn forget(&self, sent: &Request) {
        let Some(token) = sent.headers().get(TOKEN) else { return };
        self.lock().retain(|session| session.origin != *sent.origin() || session.token != token);
    }

    /// Keeps the token of an answer, if there is one.
    pub(crate) fn keep(&self, request: &Request, headers: &HeaderMap) {
        let token = headers.get(TOKEN).filter(|token| (1..=TOKEN_BYTES).contains(&token.len()));
        let Some(mut token) = token.cloned().filter(|_| request.is_private()) else { return };
        token.set_sensitive(true);
        let path = if is_for_all(headers) { "/".to_owned() } else { path(request).to_owned() };
        let session = Session { origin: request.origin().clone(), path, token };
        let mut sessions = self.lock();
        sessions.retain(|other| (&other.origin, &other.path) != (&session.origin, &session.path));
        sessions.push_front(session);
        sessions.truncate(SESSIONS);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Session>> {
        // Nothing panics while they are half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sessions({})", self.lock().len())
    }
}

/// The cookie with the same token says where it is good for: for all paths when it belongs to a plan.
fn is_for_all(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut ours =
        lines.filter(|line| line.strip_prefix(siwx::COOKIE).is_some_and(|rest| rest.starts_with('=')));
    ours.any(|line| line.split(';').skip(1).any(|part| part.trim() == "Path=/"))
}

fn path(request: &Request) -> &str {
    request.target().split('?').next().unwrap_or_default()
}

/// The request with a proof for the challenge in `terms`, if there is one that this client signs.
pub(crate) fn proven(policy: &Policy, request: &Request, terms: &Terms) -> Option<Request> {
    let challenge = terms.extensions.get(siwx::EXTENSION)?;
    if !request.is_private() || !policy.rules.allow(request.origin()) {
        return None;
    }
    let Challenge { info, supported_chains } = Challenge::read(challenge, &policy.limits)
        .inspect_err(|error| tracing::debug!(%error, "a sign-in challenge cannot be read"))
        .ok()?;
    if let Err(why) = info.is_of(request.origin()) {
        tracing::debug!(%why, "a sign-in challenge is not signed");
        return None;
    }
    if policy.journal.is_frozen().unwrap_or(true) {
        return None;
    }
    let proof = supported_chains.iter().find_map(|chain| {
        let rail = policy.rails.iter().find(|rail| *rail.network() == chain.chain_id)?;
        let proof = rail.sign_in(&info)?;
        (Chain::new(&proof.chain_id, proof.kind) == *chain).then_some(proof)
    })?;
    let mut value = HeaderValue::try_from(proof.encode().ok()?).ok()?;
    value.set_sensitive(true);
    Some(request.carrying(PROOF, value))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn request(url: &str) -> Request {
        Request::new(Method::GET, url).unwrap()
    }

    fn answer(token: &'static str, cookie_path: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(TOKEN, HeaderValue::from_static(token));
        let cookie = format!("farthing-pass={token}; Path={cookie_path}; Max-Age=600; HttpOnly");
        headers.append(SET_COOKIE, HeaderValue::from_static("farthing-passes=x; Path=/"));
        headers.append(SET_COOKIE, cookie.parse().unwrap());
        headers
    }

    fn token(sessions: &Sessions, url: &str) -> Option<String> {
        let request = sessions.with_token(&request(url))?;
        Some(request.headers()[TOKEN].to_str().unwrap().to_owned())
    }

    #[test]
    fn a_token_is_sent_to_its_origin_and_where_it_is_good_for() {
        let sessions = Sessions::default();
        sessions.keep(&request("https://a.example/1?page=1"), &answer("one", "/1"));
        sessions.keep(&request("https://b.example/x"), &answer("plan", "/"));
        let cases = [
            ("https://a.example/1?page=2", Some("one")),
            ("https://a.example/2", None),
            ("https://a.example:444/1", None),
            ("http://a.example/1", None),
            ("https://b.example/1", Some("plan")),
        ];
        for (url, expected) in cases {
            assert_eq!(token(&sessions, url).as_deref(), expected, "{url}");
        }
        sessions.keep(&request("https://b.example/1"), &answer("own", "/1"));
        assert_eq!(token(&sessions, "https://b.example/1").as_deref(), Some("own"));
        assert!(!format!("{sessions:?}").contains("one"));
    }

    #[test]
    fn a_token_that_did_not_help_is_forgotten_and_a_new_one_takes_its_place() {
        let sessions = Sessions::default();
        let asked = request("https://a.example/1");
        sessions.keep(&asked, &answer("old", "/1"));
        sessions.keep(&asked, &answer("new", "/1"));
        assert_eq!(token(&sessions, "https://a.example/1").as_deref(), Some("new"));
        sessions.forget(&asked);
        assert!(token(&sessions, "https://a.example/1").is_some(), "it was sent without one");
        sessions.forget(&sessions.with_token(&asked).unwrap());
        assert_eq!(token(&sessions, "https://a.example/1"), None);
    }

    #[test]
    fn tokens_do_not_pile_up_and_come_over_private_connections_only() {
        let sessions = Sessions::default();
        sessions.keep(&request("http://a.example/1"), &answer("plain", "/"));
        assert_eq!(token(&sessions, "http://a.example/1"), None);
        for number in 0..SESSIONS + 9 {
            sessions.keep(&request(&format!("https://a.example/{number}")), &answer("x", "/p"));
        }
        assert_eq!(sessions.lock().len(), SESSIONS);
        assert_eq!(token(&sessions, "https://a.example/0"), None);
        assert!(token(&sessions, &format!("https://a.example/{}", SESSIONS + 8)).is_some());
    }
}
