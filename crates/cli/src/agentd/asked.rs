//! What a program asks for: one request, as JSON that is read strictly.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farthing::Client;
use farthing::client::RequestBuilder;
use farthing::protocol::rail::PaymentId;
use serde::Deserialize;

use super::problem::Problem;

/// The request that is wanted. It has no `Debug`: its headers may be secret.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    method: Option<String>,
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Values>,
    body: Option<String>,
    body_base64: Option<String>,
    max_price: Option<String>,
    task: Option<String>,
    resume: Option<String>,
}

/// A header's value, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Many(Vec<String>),
}

impl Asked {
    /// Reads a body that says that it is JSON, so that no form of a web page can say the same.
    pub(super) fn read(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Self, Problem> {
        let named = headers.get(CONTENT_TYPE).and_then(|named| named.to_str().ok()).unwrap_or_default();
        let named = named.split(';').next().unwrap_or_default().trim();
        if !named.eq_ignore_ascii_case("application/json") {
            let why = "the content type must be application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", why));
        }
        let body = body.map_err(|rejected| match rejected.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let why = format!("a request has {} bytes at most", super::MAX_REQUEST);
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", &why)
            }
            _ => Problem::bad_request("the body cannot be read"),
        })?;
        serde_json::from_slice(&body).map_err(|error| Problem::bad_request(&error.to_string()))
    }

    /// A GET of `url`.
    pub(super) fn url(url: String) -> Self {
        Self { url: Some(url), ..Self::default() }
    }

    /// Whether the answer to this has a body.
    pub(super) fn is_head(&self) -> bool {
        self.method.as_deref() == Some("HEAD")
    }

    /// The payment that is to be presented again.
    pub(super) fn resumes(&self) -> Result<Option<PaymentId>, Problem> {
        let id = |id: &String| id.parse().map_err(|_| Problem::bad_request("`resume` is not a payment's id"));
        self.resume.as_ref().map(id).transpose()
    }

    /// Whether only a payment is named, and the journal must know its request.
    pub(super) fn names_no_request(&self) -> Result<bool, Problem> {
        if self.url.is_some() {
            return Ok(false);
        }
        let says_more = self.method.is_some()
            || !self.headers.is_empty()
            || self.body.is_some()
            || self.body_base64.is_some()
            || self.max_price.is_some()
            || self.task.is_some();
        if self.resume.is_none() || says_more {
            return Err(Problem::bad_request("`url` is missing"));
        }
        Ok(true)
    }

    /// The request, as `client` will send it.
    pub(super) fn request(self, client: &Client) -> Result<RequestBuilder, Problem> {
        let url = self.url.ok_or_else(|| Problem::bad_request("`url` is missing"))?;
        let method = self.method.as_deref().unwrap_or("GET").parse::<Method>();
        let method = method.map_err(|_| Problem::bad_request("`method` is not a method of HTTP"))?;
        let mut request = client.request(method, &url);
        for (name, values) in &self.headers {
            let values = match values {
                Values::One(value) => std::slice::from_ref(value),
                Values::Many(values) => values.as_slice(),
            };
            for value in values {
                request = request.header(name, value);
            }
        }
        request = match (self.body, self.body_base64) {
            (None, None) => request,
            (Some(text), None) => request.body(text),
            (None, Some(coded)) => {
                let body = STANDARD.decode(coded);
                request.body(body.map_err(|_| Problem::bad_request("`body_base64` is not base64"))?)
            }
            (Some(_), Some(_)) => {
                return Err(Problem::bad_request("there is `body` or `body_base64`, not both"));
            }
        };
        if let Some(price) = &self.max_price {
            request = request.max_price(price);
        }
        if let Some(task) = &self.task {
            request = request.task(task);
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(kind: &'static str, body: &str) -> Result<Asked, StatusCode> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        Asked::read(&headers, Ok(Bytes::copy_from_slice(body.as_bytes()))).map_err(|problem| problem.status())
    }

    #[test]
    fn only_json_that_says_so_and_says_nothing_unknown_is_read() {
        let body = r#"{"url": "https://a.example/", "headers": {"x-a": "1", "x-b": ["2", "3"]}}"#;
        for kind in ["application/json", "Application/JSON; charset=utf-8"] {
            assert!(read(kind, body).is_ok(), "{kind}");
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
            assert_eq!(read(kind, body).err(), Some(StatusCode::UNSUPPORTED_MEDIA_TYPE), "{kind}");
        }
        for wrong in [
            r#"{"url": "https://a.example/", "max-price": "1 XTS"}"#,
            r#"{"url": "https://a.example/", "url": "https://b.example/"}"#,
            r#"{"url": 7}"#,
            r#"{"url": "https://a.example/"} {}"#,
            "[]",
            "",
        ] {
            assert_eq!(read("application/json", wrong).err(), Some(StatusCode::BAD_REQUEST), "{wrong}");
        }
    }

    #[test]
    fn a_request_without_a_url_is_one_only_for_a_payment_that_is_known() {
        let names = |body: &str| read("application/json", body).unwrap().names_no_request();
        let id = "0".repeat(64);
        assert_eq!(names(r#"{"url": "https://a.example/"}"#).ok(), Some(false));
        assert_eq!(names(&format!(r#"{{"resume": "{id}"}}"#)).ok(), Some(true));
        assert!(names("{}").is_err());
        assert!(names(&format!(r#"{{"resume": "{id}", "body": "x"}}"#)).is_err());
        let wrong = read("application/json", r#"{"resume": "x"}"#).unwrap();
        assert!(wrong.resumes().is_err());
    }
}
