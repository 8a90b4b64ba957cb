//! The headers that travel on: to the upstream without payments and without what a client could pretend, and back
//! without what could be mistaken for the gateway's own.

use std::net::SocketAddr;

use farthing_protocol::Origin;
use http::header::{
    ALT_SVC, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, LOCATION, SET_COOKIE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::headers::list;
use crate::{PaidBy, PassHolder};

/// Who pays, in the network's own words: the account of a farthing ledger, or an address.
pub const PAYER: HeaderName = HeaderName::from_static("farthing-payer");
/// The payment's id, as 64 hexadecimal digits.
pub const PAYMENT: HeaderName = HeaderName::from_static("farthing-payment");
/// What is held for the request, in atomic units of the asset.
pub const AMOUNT: HeaderName = HeaderName::from_static("farthing-amount");
/// The network that it is held on.
pub const NETWORK: HeaderName = HeaderName::from_static("farthing-network");

/// Headers of one connection.
const HOP_BY_HOP: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// Headers that pay, prove a payment or tell of one.
const MONEY: [&str; 8] = [
    "payment-signature",
    "payment-required",
    "payment-response",
    "x-payment",
    "x-payment-response",
    "pass-token",
    "sign-in-with-x",
    "settlement-overrides",
];

/// Headers by which some servers let a client change what was asked, or for whom.
const PRETENDED: [&str; 15] = [
    "forwarded",
    "x-forwarded",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "x-cluster-client-ip",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-url",
    "x-original-uri",
    "x-original-host",
    "x-rewrite-url",
    "x-host",
];

/// The cookie with a session of a pass.
const PASS_COOKIE: &str = "farthing-pass";

/// Whom the upstream serves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Customer<'a> {
    /// Whoever comes.
    Nobody,
    /// For a payment.
    Pays(&'a PaidBy),
    /// For a period that was paid for before.
    Paid(&'a PassHolder),
}

/// What the gateway says to the upstream about itself.
#[derive(Clone, Debug)]
pub(super) struct Forwarding {
    /// Where clients reach the gateway.
    pub(super) origin: Origin,
    /// Where the gateway reaches the upstream: scheme, host and port.
    pub(super) upstream: Origin,
}

impl Forwarding {
    /// Makes a client's headers fit for the upstream. `sized` says that the body's length is known.
    pub(super) fn request(
        &self,
        headers: &mut HeaderMap,
        peer: Option<SocketAddr>,
        customer: Customer<'_>,
        sized: bool,
    ) {
        let wants_trailers = tokens(headers, &TE).iter().any(|token| token == "trailers");
        hop_by_hop(headers);
        remove(headers, |name| {
            is_ours(name) || PRETENDED.contains(&name) || name.starts_with("x-forwarded-")
        });
        for name in [EXPECT, HOST, TE, CONTENT_LENGTH] {
            headers.remove(name);
        }
        if sized {
            headers.remove(TRAILER);
        }
        if wants_trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        cookies(headers);
        set(headers, HOST, authority(&self.upstream));
        set(headers, HeaderName::from_static("x-forwarded-host"), authority(&self.origin));
        let scheme = if self.origin.is_https() { "https" } else { "http" };
        set(headers, HeaderName::from_static("x-forwarded-proto"), scheme);
        if let Some(peer) = peer {
            set(headers, HeaderName::from_static("x-forwarded-for"), &peer.ip().to_canonical().to_string());
        }
        match customer {
            Customer::Nobody => {}
            Customer::Pays(paid_by) => {
                set(headers, PAYER, &paid_by.payer);
                set(headers, PAYMENT, &paid_by.payment.to_string());
                set(headers, AMOUNT, &paid_by.amount.to_string());
                set(headers, NETWORK, paid_by.network.as_str());
            }
            Customer::Paid(holder) => {
                set(headers, PAYER, &holder.payer);
                set(headers, NETWORK, holder.network.as_str());
            }
        }
    }

    /// Makes the upstream's headers fit for the client.
    pub(super) fn response(&self, headers: &mut HeaderMap) {
        if headers.contains_key(TRANSFER_ENCODING) {
            headers.remove(CONTENT_LENGTH);
        }
        hop_by_hop(headers);
        remove(headers, is_ours);
        // The way around the gateway.
        headers.remove(ALT_SVC);
        own_cookies(headers);
        let moved = headers.get(LOCATION).and_then(|location| self.moved(location.to_str().ok()?));
        if let Some(moved) = moved {
            set(headers, LOCATION, &moved);
        }
    }

    /// An absolute URL of the upstream as clients reach it.
    fn moved(&self, location: &str) -> Option<String> {
        let rest = location.strip_prefix(self.upstream.as_str())?;
        (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then(|| format!("{}{rest}", self.origin))
    }
}

/// Takes out of trailers what no trailer may say.
pub(super) fn trailers(headers: &mut HeaderMap) {
    hop_by_hop(headers);
    remove(headers, |name| {
        is_ours(name) || matches!(name, "content-length" | "host" | "set-cookie" | "trailer")
    });
}

/// Host and port of an origin.
pub(super) fn authority(origin: &Origin) -> &str {
    origin.as_str().split_once("://").map_or("", |(_, authority)| authority)
}

/// Whether a client asks for another protocol than HTTP/1.1, and does not only offer HTTP/2.
pub(super) fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    tokens(headers, &UPGRADE).iter().any(|protocol| protocol != "h2c")
}

/// Whether the one transfer coding is `chunked`, which is all that is undone here.
pub(super) fn is_only_chunked(headers: &HeaderMap) -> bool {
    tokens(headers, &TRANSFER_ENCODING) == ["chunked"]
}

/// `name` is lower case, with everything that is no letter or digit as `-`.
fn is_ours(name: &str) -> bool {
    MONEY.contains(&name) || name.starts_with("farthing-")
}

fn hop_by_hop(headers: &mut HeaderMap) {
    for name in tokens(headers, &CONNECTION) {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Removes by name. Servers that hand headers over as variables read `X_Payment` like `X-Payment`, so both are the
/// same here.
fn remove(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let plain = |name: &HeaderName| -> String {
        name.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
    };
    let names: Vec<HeaderName> = headers.keys().filter(|name| unwanted(&plain(name))).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Takes the gateway's own cookie out, and leaves the others as they came.
fn cookies(headers: &mut HeaderMap) {
    let is_pass = |pair: &str| pair.split('=').next().is_some_and(|name| name.trim() == PASS_COOKIE);
    let names_it = |value: &HeaderValue| {
        value.as_bytes().windows(PASS_COOKIE.len()).any(|w| w == PASS_COOKIE.as_bytes())
    };
    if !headers.get_all(COOKIE).iter().any(names_it) {
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    for line in lines {
        // What is not text cannot be told apart.
        let Ok(text) = line.to_str() else { continue };
        let kept: Vec<&str> = text.split(';').filter(|pair| !is_pass(pair)).map(str::trim).collect();
        if let (false, Ok(value)) = (kept.is_empty(), HeaderValue::try_from(kept.join("; "))) {
            headers.append(COOKIE, value);
        }
    }
}

/// Takes out cookies that would replace the gateway's own.
fn own_cookies(headers: &mut HeaderMap) {
    let is_pass = |line: &HeaderValue| {
        let name = line.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
        name.trim_ascii() == PASS_COOKIE.as_bytes()
    };
    if !headers.get_all(SET_COOKIE).iter().any(is_pass) {
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().cloned().collect();
    headers.remove(SET_COOKIE);
    for line in lines.into_iter().filter(|line| !is_pass(line)) {
        headers.append(SET_COOKIE, line);
    }
}

/// The members of a comma-separated header in lower case.
fn tokens(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    list(headers, name).iter().map(|token| token.to_ascii_lowercase()).collect()
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    match HeaderValue::try_from(value) {
        Ok(value) => {
            headers.insert(name, value);
        }
        Err(_) => tracing::warn!(%name, "a value cannot stand in a header, and is left out"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::tests::headers;

    fn forwarding() -> Forwarding {
        Forwarding {
            origin: "https://shop.example".parse().unwrap(),
            upstream: "http://127.0.0.1:8080".parse().unwrap(),
        }
    }

    #[test]
    fn t38_what_a_client_pretends_stays_behind_in_any_spelling() {
        let mut sent = headers(&[
            ("host", "evil.example"),
            ("payment-signature", "secret"),
            ("x-payment", "secret"),
            ("x_payment", "secret"),
            ("pass-token", "secret"),
            ("farthing-payer", "somebody"),
            ("farthing_payer", "somebody"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-prefix", "/admin"),
            ("forwarded", "for=10.0.0.1"),
            ("x-http-method-override", "DELETE"),
            ("x-original-url", "/admin"),
            ("cookie", "a=1; farthing-pass=secret; b=2"),
            ("connection", "close, x-private"),
            ("x-private", "1"),
            ("accept", "text/html"),
        ]);
        let peer = "[::ffff:192.0.2.7]:99".parse().unwrap();
        forwarding().request(&mut sent, Some(peer), Customer::Nobody, true);
        let mut left: Vec<String> =
            sent.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        left.sort();
        assert_eq!(
            left,
            [
                "accept: text/html",
                "cookie: a=1; b=2",
                "host: 127.0.0.1:8080",
                "x-forwarded-for: 192.0.2.7",
                "x-forwarded-host: shop.example",
                "x-forwarded-proto: https",
            ]
        );
    }

    #[test]
    fn what_the_upstream_says_is_not_mistaken_for_the_gateway() {
        let mut sent = headers(&[
            ("payment-required", "theirs"),
            ("payment-response", "theirs"),
            ("alt-svc", "h2=\":443\""),
            ("transfer-encoding", "chunked"),
            ("content-length", "3"),
            ("location", "http://127.0.0.1:8080/next?a=1"),
            ("etag", "\"1\""),
            ("set-cookie", "farthing-pass=theirs; Path=/"),
            ("set-cookie", "a=1"),
        ]);
        forwarding().response(&mut sent);
        let left = [("location", "https://shop.example/next?a=1"), ("etag", "\"1\""), ("set-cookie", "a=1")];
        assert_eq!(sent, headers(&left));
        for elsewhere in
            ["http://127.0.0.1:80801/", "https://127.0.0.1:8080/", "/next", "http://other.example/"]
        {
            assert_eq!(forwarding().moved(elsewhere), None, "{elsewhere}");
        }
    }
}
