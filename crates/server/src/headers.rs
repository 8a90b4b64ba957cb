//! The headers around an answer: caches, browsers, and what never leaves the server.

use farthing_protocol::header::{PAYMENT_REQUIRED, PAYMENT_RESPONSE, X_PAYMENT_RESPONSE};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, CONNECTION,
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, ORIGIN, TRAILER, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

const EXPOSED: [&str; 4] = ["PAYMENT-REQUIRED", "PAYMENT-RESPONSE", "X-PAYMENT-RESPONSE", "Retry-After"];
const VARIES: [&str; 2] = ["PAYMENT-SIGNATURE", "X-PAYMENT"];

/// Headers that a handler may set and that must not leave the server as they are.
const INTERNAL: [&str; 9] = [
    "settlement-overrides",
    // Instructions to shared caches that outrank `Cache-Control`, or that those follow that do not know it.
    "cdn-cache-control",
    "cloudflare-cdn-cache-control",
    "edge-control",
    "expires",
    "surrogate-control",
    "x-accel-expires",
    PAYMENT_RESPONSE,
    X_PAYMENT_RESPONSE,
];

/// Headers of one connection, and of one moment: not part of a stored answer.
const HOP_BY_HOP: [&str; 8] = [
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Makes a handler's headers fit to be sent: a paid answer is private, a failed one is not kept by anybody.
pub(crate) fn of_handler(headers: &mut HeaderMap, paid: bool) {
    for name in INTERNAL {
        headers.remove(name);
    }
    if paid {
        headers.remove(PAYMENT_REQUIRED);
        private(headers);
    } else {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    vary(headers);
    cross_origin(headers);
}

/// Whether an answer's body is compressed: what is in it cannot be told from its bytes.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    list(headers, &CONTENT_ENCODING).iter().any(|coding| !coding.eq_ignore_ascii_case("identity"))
}

/// Says that the settlement comes behind the body, of which nobody knows how long it will be.
pub(crate) fn announce_settlement(headers: &mut HeaderMap) {
    headers.remove(CONTENT_LENGTH);
    merge(headers, &TRAILER, &["PAYMENT-RESPONSE"]);
}

/// Whether an answer is a stream of server-sent events.
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream")
}

/// Takes out what belongs to one connection or one moment.
pub(crate) fn without_hop_by_hop(headers: &HeaderMap) -> HeaderMap {
    let named = list(headers, &CONNECTION);
    let mut kept = headers.clone();
    kept.remove(CONNECTION);
    kept.remove(DATE);
    for name in HOP_BY_HOP.into_iter().chain(INTERNAL) {
        kept.remove(name);
    }
    for name in named {
        kept.remove(name.as_str());
    }
    kept
}

/// `Cache-Control: private`, keeping what the handler said to the payer's own cache.
fn private(headers: &mut HeaderMap) {
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
        return;
    }
    let kept = list(headers, &CACHE_CONTROL).into_iter().filter(|directive| {
        let name = directive.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
        !matches!(name.as_str(), "public" | "private" | "s-maxage" | "proxy-revalidate")
    });
    let directives: Vec<String> = std::iter::once("private".to_owned()).chain(kept).collect();
    let value = HeaderValue::try_from(directives.join(", "));
    headers.insert(CACHE_CONTROL, value.unwrap_or_else(|_| HeaderValue::from_static("private")));
}

/// Adds the payment headers to `Vary`.
pub(crate) fn vary(headers: &mut HeaderMap) {
    if !headers.contains_key(VARY) {
        headers.insert(VARY, HeaderValue::from_static("PAYMENT-SIGNATURE, X-PAYMENT"));
    } else {
        add(headers, &VARY, &VARIES);
    }
}

/// `Vary` of a problem, which is written as its reader likes it.
pub(crate) fn vary_of_problem(headers: &mut HeaderMap) {
    let value = "PAYMENT-SIGNATURE, X-PAYMENT, Accept, Accept-Language";
    headers.insert(VARY, HeaderValue::from_static(value));
}

/// Lets a page of any origin read the payment headers. Leaves origin and credentials to a handler that
/// decides about them, and never says `*` together with credentials.
pub(crate) fn cross_origin(headers: &mut HeaderMap) {
    if headers.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS) {
        merge(headers, &ACCESS_CONTROL_EXPOSE_HEADERS, &EXPOSED);
    } else {
        let exposed = "PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE, Retry-After";
        let exposed = HeaderValue::from_static(exposed);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    let decided = headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN);
    if !decided && !headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
}

/// The headers of an answer to `OPTIONS`; those of CORS when a browser asks.
pub(crate) fn preflight(request: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    vary(&mut headers);
    cross_origin(&mut headers);
    let method =
        request.get(ACCESS_CONTROL_REQUEST_METHOD).and_then(|m| Method::from_bytes(m.as_bytes()).ok());
    let (true, Some(method)) = (request.contains_key(ORIGIN), method) else { return headers };
    if let Ok(method) = HeaderValue::from_str(method.as_str()) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, method);
    }
    let asked = list(request, &ACCESS_CONTROL_REQUEST_HEADERS);
    let asked = asked.into_iter().filter_map(|name| name.parse::<HeaderName>().ok()).take(64);
    let asked: Vec<String> = asked.map(|name| name.to_string()).collect();
    let mut names = vec!["PAYMENT-SIGNATURE", "X-PAYMENT", "Content-Type"];
    names.extend(asked.iter().map(String::as_str));
    merge(&mut headers, &ACCESS_CONTROL_ALLOW_HEADERS, &names);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    merge(
        &mut headers,
        &VARY,
        &["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"],
    );
    headers
}

/// The members of a comma-separated header, over all its lines.
pub(crate) fn list(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let members = lines.flat_map(|line| line.split(',')).map(str::trim);
    members.filter(|member| !member.is_empty()).map(str::to_owned).collect()
}

/// As [`merge`], unless the header says `*`, which says everything.
pub(crate) fn add(headers: &mut HeaderMap, name: &HeaderName, names: &[&str]) {
    if !list(headers, name).iter().any(|member| member == "*") {
        merge(headers, name, names);
    }
}

/// Adds `names` to a comma-separated header, each once, in one line.
fn merge(headers: &mut HeaderMap, name: &HeaderName, names: &[&str]) {
    let mut members = list(headers, name);
    for name in names {
        if !members.iter().any(|member| member.eq_ignore_ascii_case(name)) {
            members.push((*name).to_owned());
        }
    }
    if let Ok(value) = HeaderValue::try_from(members.join(", ")) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn cached(lines: &[(&'static str, &'static str)]) -> String {
        let mut headers = headers(lines);
        of_handler(&mut headers, true);
        headers[CACHE_CONTROL].to_str().unwrap().to_owned()
    }

    #[test]
    fn a_paid_answer_is_private_whatever_the_handler_says_to_shared_caches() {
        assert_eq!(cached(&[]), "private");
        assert_eq!(cached(&[("cache-control", "public, max-age=60")]), "private, max-age=60");
        assert_eq!(
            cached(&[("cache-control", "PUBLIC,S-MaxAge=9"), ("cache-control", "max-age=1")]),
            "private, max-age=1"
        );
        assert_eq!(cached(&[("cache-control", "no-store")]), "private, no-store");
        assert_eq!(cached(&[("cache-control", "private=\"x\"")]), "private");
        let mut cdn = headers(&[("cdn-cache-control", "max-age=9"), ("surrogate-control", "max-age=9")]);
        of_handler(&mut cdn, true);
        assert!(!cdn.contains_key("cdn-cache-control") && !cdn.contains_key("surrogate-control"));
    }

    #[test]
    fn a_failed_answer_is_not_stored_at_all() {
        let mut failed = headers(&[("cache-control", "public, max-age=60")]);
        of_handler(&mut failed, false);
        assert_eq!(failed[CACHE_CONTROL], "no-store");
    }

    #[test]
    fn internal_headers_do_not_leave_the_server() {
        let mut headers =
            headers(&[("settlement-overrides", "{}"), ("payment-response", "forged"), ("x-own", "1")]);
        of_handler(&mut headers, true);
        assert!(!headers.contains_key("settlement-overrides") && !headers.contains_key("payment-response"));
        assert_eq!(headers["x-own"], "1");
    }

    #[test]
    fn vary_and_exposed_headers_are_merged_with_the_handlers() {
        let mut own =
            headers(&[("vary", "Accept, payment-signature"), ("access-control-expose-headers", "X-Own")]);
        of_handler(&mut own, true);
        assert_eq!(own[VARY], "Accept, payment-signature, X-PAYMENT");
        assert_eq!(
            own[ACCESS_CONTROL_EXPOSE_HEADERS],
            "X-Own, PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE, Retry-After"
        );
        let mut star = headers(&[("vary", "*")]);
        of_handler(&mut star, true);
        assert_eq!(star[VARY], "*");
    }

    #[test]
    fn every_origin_may_read_unless_the_handler_decides_or_uses_credentials() {
        for (given, expected) in [
            (headers(&[]), Some("*")),
            (headers(&[("access-control-allow-origin", "https://a.example")]), Some("https://a.example")),
            (headers(&[("access-control-allow-credentials", "true")]), None),
        ] {
            let mut given = given;
            cross_origin(&mut given);
            let origin = given.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap());
            assert_eq!(origin, expected);
        }
    }

    #[test]
    fn a_preflight_allows_the_payment_headers_and_those_that_were_asked_for() {
        let answer = preflight(&headers(&[
            ("origin", "https://page.example"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "payment-signature, x-own, b@d"),
        ]));
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_METHODS], "POST");
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_HEADERS], "PAYMENT-SIGNATURE, X-PAYMENT, Content-Type, x-own");
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!answer.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
        assert!(!preflight(&headers(&[])).contains_key(ACCESS_CONTROL_ALLOW_METHODS));
    }

    #[test]
    fn a_stored_answer_has_no_header_of_its_connection_or_moment() {
        let kept = without_hop_by_hop(&headers(&[
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("date", "now"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ]));
        assert_eq!(kept.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["set-cookie"]);
        assert_eq!(kept.get_all("set-cookie").iter().count(), 2);
    }
}
