//! Problem details for HTTP APIs (RFC 9457): the body of every refusal.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Retry;

/// Media type of a problem's JSON.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// Why a request was refused, and what its sender may do next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:farthing:problem:<code>`.
    #[serde(rename = "type")]
    pub type_: String,
    /// The kind of problem, for people; the same for every problem of one `code`.
    pub title: String,
    /// The HTTP status that it was sent with.
    pub status: u16,
    /// This occurrence, for people.
    pub detail: String,
    /// The kind of problem, for programs: lower-case words joined by `-`.
    pub code: String,
    /// What a payer may do: `"same"`, `"new"` or `"none"`.
    pub retry: Retry,
    /// The header, member or setting at fault, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The same as [`reason`](crate::reason) word for programs that know those, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where this kind of problem is documented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_url: Option<String>,
    /// The kind of problem, for people, in the reader's language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The terms of a 402, as in its `PAYMENT-REQUIRED` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Box<RawValue>>,
}

impl Problem {
    /// A problem of the kind `code`, without field and terms.
    pub fn new(status: u16, code: &str, title: &str, detail: impl Into<String>, retry: Retry) -> Self {
        Self {
            type_: format!("urn:farthing:problem:{code}"),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            code: code.to_owned(),
            retry,
            field: None,
            reason: None,
            doc_url: None,
            message: None,
            terms: None,
        }
    }

    /// Names what is at fault.
    #[must_use]
    pub fn with_field(mut self, field: Option<&str>) -> Self {
        self.field = field.map(str::to_owned);
        self
    }

    /// Names why in one of x402's or our own words.
    #[must_use]
    pub fn with_reason(mut self, reason: Option<&str>) -> Self {
        self.reason = reason.map(str::to_owned);
        self
    }

    /// Says where it is documented, and what it means in the reader's language.
    #[must_use]
    pub fn explained(mut self, doc_url: impl Into<String>, message: impl Into<String>) -> Self {
        (self.doc_url, self.message) = (Some(doc_url.into()), Some(message.into()));
        self
    }

    /// Adds the terms of a 402.
    #[must_use]
    pub fn with_terms(mut self, terms: Box<RawValue>) -> Self {
        self.terms = Some(terms);
        self
    }

    /// The body to send, with the JSON of terms when there are any.
    pub fn to_json_with(&self, terms: Option<&str>) -> String {
        let mut body = self.to_json();
        if let (Some(terms), None, true) = (terms, &self.terms, body.ends_with("\"}")) {
            body.pop();
            [",\"terms\":", terms, "}"].into_iter().for_each(|part| body.push_str(part));
        }
        body
    }

    /// The body to send.
    pub fn to_json(&self) -> String {
        // Strings, a number and JSON that was parsed before: this cannot fail, and must not panic.
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_is_wrong_and_what_to_do_next() {
        let problem = Problem::new(400, "malformed", "Malformed payment", "is not base64", Retry::New)
            .with_field(Some("payment-signature"));
        let json: serde_json::Value = serde_json::from_str(&problem.to_json()).unwrap();
        let expected = serde_json::json!({
            "type": "urn:farthing:problem:malformed", "title": "Malformed payment", "status": 400,
            "detail": "is not base64", "code": "malformed", "retry": "new", "field": "payment-signature",
        });
        assert_eq!(json, expected);
        let explained =
            problem.with_reason(Some("invalid_payload")).explained("https://docs.example/", "Fehler");
        let json: serde_json::Value = serde_json::from_str(&explained.to_json()).unwrap();
        assert_eq!(json["reason"], "invalid_payload");
        assert_eq!(json["doc_url"], "https://docs.example/");
        assert_eq!(json["message"], "Fehler");
    }

    #[test]
    fn terms_are_mirrored_byte_for_byte() {
        let terms = RawValue::from_string("{ \"x402Version\" :2}".into()).unwrap();
        let problem = Problem::new(402, "unpaid", "Payment required", "", Retry::New)
            .with_terms(terms.clone())
            .to_json();
        let written = Problem::new(402, "unpaid", "Payment required", "", Retry::New);
        assert_eq!(written.to_json_with(Some(terms.get())), problem);
        assert_eq!(written.to_json_with(None), written.to_json());
        let back: Problem = serde_json::from_str(&problem).unwrap();
        assert_eq!(back.terms.unwrap().get(), terms.get());
        assert_eq!((back.status, back.retry, back.field), (402, Retry::New, None));
    }
}
