//! The resource's answer, handed on: its status, its body as it comes, and the headers that mean the same
//! coming from here.

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, LOCATION, SET_COOKIE, TRAILER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use farthing::client::{ClientError, Paid, PaymentReport};
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;

use super::problem::Problem;
use crate::style::{ascii_json, safe};
use crate::told;

/// Headers of one connection (RFC 9110, section 7.6.1), and those that would say something about this
/// service or change how a program talks to it.
const NOT_PASSED_ON: [&str; 14] = [
    "alt-svc",
    "clear-site-data",
    "connection",
    "date",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "public-key-pins",
    "refresh",
    "strict-transport-security",
    "te",
    "trailer",
    "upgrade",
];

/// Headers that libraries act on as if they came from here, under names on which nobody acts: a redirect
/// would be followed without payment and with the token, and a cookie be kept for this machine.
const RENAMED: [(HeaderName, &str); 2] =
    [(LOCATION, "farthing-location"), (SET_COOKIE, "farthing-set-cookie")];

/// What is said again behind an answer that was paid for while it came.
const KNOWN_AT_THE_END: &str = "farthing-payment-cost, farthing-payment-amount, farthing-payment-confirmed, \
     farthing-payment-open, farthing-payment-ended, farthing-payment-flags";

/// The answer to a request, with what it cost.
pub(super) fn passed_on(paid: Paid, is_head: bool) -> Response {
    let status = paid.status;
    if status.is_informational() {
        return Problem::no_answer(&ClientError::Network { why: format!("it answers {status}") })
            .into_response();
    }
    let mut headers = end_to_end(&paid.headers);
    if is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        // It is the length of a body that is not here.
        headers.remove(CONTENT_LENGTH);
    }
    if let Some(report) = paid.payment() {
        pay_headers(report, &mut headers);
        if report.open {
            headers.insert(TRAILER, HeaderValue::from_static(KNOWN_AT_THE_END));
        }
    }
    let pieces = stream::unfold(Some(paid), async |paid: Option<Paid>| {
        let mut paid = paid?;
        let was_open = paid.payment().is_some_and(|report| report.open);
        match paid.chunk().await {
            Ok(None) => {
                let report = paid.payment().filter(|_| was_open)?;
                let (mut said, mut trailers) = (HeaderMap::new(), HeaderMap::new());
                pay_headers(report, &mut said);
                for name in KNOWN_AT_THE_END.split(", ").map(HeaderName::from_static) {
                    trailers.extend(said.remove(&name).map(|value| (name, value)));
                }
                Some((Ok(Frame::trailers(trailers)), None))
            }
            Ok(Some(piece)) => Some((Ok::<_, ClientError>(Frame::data(piece)), Some(paid))),
            // The connection ends here, too, before the body does.
            Err(broken) => Some((Err(broken), None)),
        }
    });
    (status, headers, Body::new(StreamBody::new(pieces))).into_response()
}

fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<_> =
        named.flat_map(|names| names.split(',')).map(|name| name.trim().to_lowercase()).collect();
    let mut passed = HeaderMap::new();
    for (name, value) in headers {
        let text = name.as_str();
        let is_ours = ["farthing-", "payment-", "x-payment", "access-control-"]
            .iter()
            .any(|start| text.starts_with(start));
        if is_ours
            || text == "transfer-encoding"
            || NOT_PASSED_ON.contains(&text)
            || named.iter().any(|other| other == text)
        {
            continue;
        }
        match RENAMED.iter().find(|(renamed, _)| renamed == name) {
            Some((_, other)) => passed.append(HeaderName::from_static(other), value.clone()),
            None => passed.append(name.clone(), value.clone()),
        };
    }
    passed
}

/// What was paid, in headers that only this service writes.
fn pay_headers(report: &PaymentReport, headers: &mut HeaderMap) {
    let flags: Vec<_> = report.flags.iter().map(|flag| told::flag(flag).0).collect();
    let confirmed = told::is_confirmed(&report.confirmation);
    for (name, value) in [
        ("farthing-payment-id", report.id.to_string()),
        ("farthing-payment-cost", report.cost()),
        ("farthing-payment-amount", report.amount.to_string()),
        ("farthing-payment-confirmed", confirmed.to_string()),
        ("farthing-payment-payee", report.payee.clone()),
        ("farthing-payment-network", report.network.to_string()),
        ("farthing-payment-asset", report.asset.clone()),
        ("farthing-payment-replayed", report.replayed.to_string()),
        ("farthing-payment-open", report.open.to_string()),
        ("farthing-payment-ended", report.ended.clone().unwrap_or_default()),
        ("farthing-payment-flags", flags.join(", ")),
    ] {
        let value = HeaderValue::from_str(&ascii_json(&safe(&value)));
        headers.insert(HeaderName::from_static(name), value.unwrap_or(HeaderValue::from_static("?")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_one_connection_and_headers_that_would_act_here_are_not_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("keep-alive", "timeout=5"),
            ("farthing-payment-cost", "0 XTS"),
            ("farthing-error", "refused"),
            ("payment-response", "e30="),
            ("payment-signature", "c2VjcmV0"),
            ("x-payment", "c2VjcmV0"),
            ("x-payment-response", "e30="),
            ("access-control-allow-origin", "*"),
            ("strict-transport-security", "max-age=1"),
            ("content-type", "text/plain"),
            ("etag", "\"1\""),
            ("link", "</a>; rel=next"),
            ("link", "</b>; rel=prev"),
            ("location", "https://evil.example/"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let passed = end_to_end(&headers);
        let mut lines: Vec<_> =
            passed.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "content-type: text/plain",
                "etag: \"1\"",
                "farthing-location: https://evil.example/",
                "farthing-set-cookie: a=1",
                "farthing-set-cookie: b=2",
                "link: </a>; rel=next",
                "link: </b>; rel=prev",
            ]
        );
    }
}
