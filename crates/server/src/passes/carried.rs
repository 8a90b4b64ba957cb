//! How passes travel: what a request brings for one, what is kept from its handler, and what an answer takes along.

use farthing_protocol::{Origin, siwx};
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, COOKIE, HeaderMap, HeaderName, HeaderValue,
    SET_COOKIE, VARY,
};

use super::scope::Scope;
use super::token::TOKEN_BYTES;
use crate::headers::add;

/// Tokens of one request that are looked at: a browser has one for each path, and one for all plans.
const TOKENS: usize = 8;

/// The header of a proof.
pub(super) const PROOF: HeaderName = HeaderName::from_static(siwx::HEADER);
/// The header of a token.
pub(super) const TOKEN: HeaderName = HeaderName::from_static(siwx::TOKEN);

/// More than one header where one may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Several(pub(super) &'static str);

/// The proof in a request.
pub(super) fn proof(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Several> {
    one(headers, &PROOF, "SIGN-IN-WITH-X")
}

/// The tokens in a request: of the header and of the cookies, which a browser may have several of.
pub(super) fn tokens(headers: &HeaderMap) -> Result<Vec<&[u8]>, Several> {
    let own = one(headers, &TOKEN, "PASS-TOKEN")?.map(HeaderValue::as_bytes);
    let cookies = headers.get_all(COOKIE).into_iter().flat_map(pairs).filter_map(ours);
    let all = own.into_iter().chain(cookies).filter(|token| token.len() <= TOKEN_BYTES);
    Ok(all.take(TOKENS).collect())
}

fn one<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    shown: &'static str,
) -> Result<Option<&'a HeaderValue>, Several> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(Several(shown)) } else { Ok(first) }
}

/// Takes everything out that lets somebody in: the handler, and whatever it forwards to, has no use for it.
pub(crate) fn strip(headers: &mut HeaderMap) {
    headers.remove(PROOF);
    headers.remove(TOKEN);
    if !headers.get_all(COOKIE).iter().flat_map(pairs).any(|pair| ours(pair).is_some()) {
        return;
    }
    let kept: Vec<_> = headers.get_all(COOKIE).iter().filter_map(without_ours).collect();
    headers.remove(COOKIE);
    for line in kept {
        headers.append(COOKIE, line);
    }
}

fn without_ours(line: &HeaderValue) -> Option<HeaderValue> {
    let kept: Vec<&[u8]> = pairs(line).filter(|pair| ours(pair).is_none()).collect();
    HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok().filter(|line| !line.is_empty())
}

fn pairs(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

/// The token, if a cookie is ours.
fn ours(pair: &[u8]) -> Option<&[u8]> {
    pair.strip_prefix(siwx::COOKIE.as_bytes())?.strip_prefix(b"=")
}

/// Gives a token to a browser and to a program.
pub(super) fn give(headers: &mut HeaderMap, token: &str, scope: &Scope, origin: &Origin, seconds: u64) {
    let secure = if origin.is_https() { "; Secure" } else { "" };
    let (name, path) = (siwx::COOKIE, scope.cookie_path());
    let cookie = format!("{name}={token}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let (Ok(mut cookie), Ok(mut token)) = (HeaderValue::try_from(cookie), HeaderValue::try_from(token))
    else {
        return tracing::error!("a token cannot stand in a header");
    };
    cookie.set_sensitive(true);
    token.set_sensitive(true);
    headers.append(SET_COOKIE, cookie);
    headers.insert(TOKEN, token);
}

/// Makes an answer of a route with passes fit for caches and browsers: it depends on who asks.
pub(crate) fn vary(headers: &mut HeaderMap) {
    add(headers, &VARY, &["Cookie", "SIGN-IN-WITH-X", "PASS-TOKEN"]);
    // A page that may read what this answer says may know whether a token is to be had for it.
    if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        add(headers, &ACCESS_CONTROL_EXPOSE_HEADERS, &["PASS-TOKEN"]);
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::super::scope::Sells;
    use super::*;
    use crate::headers::tests::headers;

    #[test]
    fn tokens_come_in_a_header_or_in_cookies() {
        let request = headers(&[
            ("pass-token", "one"),
            ("cookie", "a=1; farthing-pass=two;farthing-pass=three; xfarthing-pass=no; farthing-passx=no"),
            ("cookie", "farthing-pass=four"),
        ]);
        let read: Vec<_> = tokens(&request).unwrap();
        assert_eq!(read, [b"one" as &[u8], b"two", b"three", b"four"]);
        assert_eq!(tokens(&headers(&[])).unwrap(), Vec::<&[u8]>::new());
        let many = headers(&[("cookie", "farthing-pass=1"); 20]);
        assert_eq!(tokens(&many).unwrap().len(), TOKENS);
    }

    #[test]
    fn two_headers_where_one_may_be_are_refused() {
        let twice = headers(&[("sign-in-with-x", "a"), ("sign-in-with-x", "b")]);
        assert_eq!(proof(&twice), Err(Several("SIGN-IN-WITH-X")));
        assert!(proof(&headers(&[("sign-in-with-x", "a")])).unwrap().is_some());
        let twice = headers(&[("pass-token", "a"), ("pass-token", "a")]);
        assert_eq!(tokens(&twice), Err(Several("PASS-TOKEN")));
    }

    #[test]
    fn the_handler_sees_neither_proof_nor_token_and_all_other_cookies() {
        let mut request = headers(&[
            ("sign-in-with-x", "a"),
            ("pass-token", "b"),
            ("cookie", "a=1; farthing-pass=two; b=2"),
            ("cookie", "farthing-pass=three"),
            ("accept", "*/*"),
        ]);
        strip(&mut request);
        assert_eq!(request.keys().map(HeaderName::as_str).collect::<Vec<_>>().len(), 2);
        assert_eq!(
            (&request[COOKIE], request.get_all(COOKIE).iter().count()),
            (&HeaderValue::from_static("a=1; b=2"), 1)
        );
        let mut plain = headers(&[("cookie", "a=1;b=2")]);
        strip(&mut plain);
        assert_eq!(plain[COOKIE], "a=1;b=2");
    }

    #[test]
    fn a_cookie_is_for_its_path_and_for_nobody_else() {
        let given = |origin: &str| {
            let origin = origin.parse().unwrap();
            let scope = Scope::of(&Sells::Path, &origin, &Method::GET, "/a/1");
            let mut headers = headers(&[("set-cookie", "own=1")]);
            give(&mut headers, "abc", &scope, &origin, 60);
            assert_eq!(headers[TOKEN], "abc");
            let cookies: Vec<_> =
                headers.get_all(SET_COOKIE).iter().map(|c| c.to_str().unwrap().to_owned()).collect();
            assert_eq!(cookies[0], "own=1");
            cookies[1].clone()
        };
        let plain = "farthing-pass=abc; Path=/a/1; Max-Age=60; HttpOnly; SameSite=Strict";
        assert_eq!(given("http://127.0.0.1:4021"), plain);
        assert_eq!(given("https://a.example"), format!("{plain}; Secure"));
    }

    #[test]
    fn an_answer_varies_with_everything_that_lets_somebody_in() {
        let mut answer =
            headers(&[("vary", "PAYMENT-SIGNATURE, cookie"), ("access-control-allow-origin", "*")]);
        vary(&mut answer);
        assert_eq!(answer[VARY], "PAYMENT-SIGNATURE, cookie, SIGN-IN-WITH-X, PASS-TOKEN");
        assert_eq!(answer[ACCESS_CONTROL_EXPOSE_HEADERS], "PASS-TOKEN");
        let mut star = headers(&[("vary", "*")]);
        vary(&mut star);
        assert!(star[VARY] == "*" && !star.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS));
    }
}
