//! What a 402 asks for, and what any refusal says.

use farthing_protocol::header::{self, Decoded, PAYMENT_REQUIRED};
use farthing_protocol::v1::{PaymentRequiredV1, PaymentRequirementsV1, network_of};
use farthing_protocol::v2::{Extensions, Offer, PaymentRequired, PaymentRequirements, ResourceInfo};
use farthing_protocol::{Limits, Retry, Verbatim, WireError, json};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::error::NotPayable;
use crate::flow::Answer;
use crate::prepared::Version;
use crate::text::{SHOWN, plain};

/// The terms of a 402. Those of version 1 are written as the version 2 terms that they mean.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The version that the server speaks, and that its payment must be sent in.
    pub(crate) version: Version,
    pub(crate) resource: ResourceInfo,
    /// Those that can be read, in the server's order.
    pub(crate) offers: Vec<Offer>,
    pub(crate) extensions: Extensions,
}

impl Terms {
    /// Reads the terms of a 402: from its header, or from its body where there is no header. Terms of version
    /// 1 are read if a rail pays them.
    pub(crate) fn read(answer: &Answer, limits: &Limits, pays_v1: bool) -> Result<Self, Box<NotPayable>> {
        let refuse = |why: String| {
            let said = Said::read(&answer.body, limits);
            Box::new(NotPayable { status: answer.status, why, said })
        };
        match one_value(&answer.headers, PAYMENT_REQUIRED) {
            Ok(Some(value)) => header::decode_payment_required(value, limits)
                .map(Self::from)
                .map_err(|error| refuse(format!("its PAYMENT-REQUIRED header {}", reads(&error)))),
            Err(()) => Err(refuse("it has more than one PAYMENT-REQUIRED header".into())),
            Ok(None) if !answer.complete => Err(refuse("it has no PAYMENT-REQUIRED header".into())),
            Ok(None) => match header::read_any(&answer.body, limits) {
                Ok(Decoded::PaymentRequired(terms)) => Ok(terms.into()),
                Ok(Decoded::PaymentRequiredV1(terms)) if pays_v1 => Ok(terms.into()),
                Ok(Decoded::PaymentRequiredV1(_)) => {
                    Err(refuse("it speaks version 1 of x402, which no rail of this client pays".into()))
                }
                _ => Err(refuse("it has no PAYMENT-REQUIRED header".into())),
            },
        }
    }
}

impl From<PaymentRequired> for Terms {
    fn from(terms: PaymentRequired) -> Self {
        let offers = terms.offers().collect();
        let PaymentRequired { resource, extensions, .. } = terms;
        Self { version: Version::V2, resource, offers, extensions }
    }
}

impl From<PaymentRequiredV1> for Terms {
    fn from(terms: PaymentRequiredV1) -> Self {
        let resource = terms.offers().next().map(|offer| ResourceInfo {
            url: offer.resource.clone(),
            description: Some(offer.description.clone()).filter(|text| !text.is_empty()),
            mime_type: offer.mime_type.clone().filter(|text| !text.is_empty()),
            ..ResourceInfo::default()
        });
        Self {
            version: Version::V1,
            resource: resource.unwrap_or_default(),
            offers: terms.offers().filter_map(|offer| meant(&offer)).collect(),
            extensions: Extensions::new(),
        }
    }
}

/// The offer of version 2 that one of version 1 means; `None` when nobody knows its network.
fn meant(offer: &PaymentRequirementsV1) -> Option<Offer> {
    let offer = PaymentRequirements {
        scheme: offer.scheme.clone(),
        network: network_of(&offer.network)?,
        amount: offer.max_amount_required,
        asset: offer.asset.clone(),
        pay_to: offer.pay_to.clone(),
        max_timeout_seconds: offer.max_timeout_seconds,
        extra: offer.extra.clone(),
    };
    Verbatim::write(offer).ok()
}

/// The one value of a header; an error when there are several.
pub(crate) fn one_value<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a [u8]>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(()),
        (value, None) => Ok(value.map(http::HeaderValue::as_bytes)),
    }
}

fn reads(error: &WireError) -> String {
    plain(&error.to_string(), SHOWN)
}

/// What the body of a refusal says. Safe to show, never an instruction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// `error.code`, or `code` of a problem.
    pub code: Option<String>,
    /// `error.message`, or `detail` or `title` of a problem.
    pub message: Option<String>,
    /// `error.doc_url`, or `type` of a problem.
    pub doc_url: Option<String>,
    /// `retry` of a problem.
    pub retry: Option<Retry>,
}

impl Said {
    /// Reads the two usual forms, `{"error": {"code", "message", "doc_url"}}` and RFC 9457 problem details.
    pub(crate) fn read(body: &[u8], limits: &Limits) -> Self {
        if body.len() > limits.json_body_bytes || json::check(body, limits).is_err() {
            return Self::default();
        }
        let Ok(Value::Object(body)) = serde_json::from_slice(body) else { return Self::default() };
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(|text| plain(text, SHOWN));
        match body.get("error") {
            Some(Value::Object(error)) => Self {
                code: text(error.get("code")),
                message: text(error.get("message")),
                doc_url: text(error.get("doc_url")),
                retry: None,
            },
            Some(Value::String(error)) => Self {
                code: text(body.get("code")),
                message: text(body.get("message")).or_else(|| Some(plain(error, SHOWN))),
                ..Self::default()
            },
            _ => Self {
                code: text(body.get("code")),
                message: text(body.get("detail").or_else(|| body.get("title"))),
                doc_url: text(body.get("type")),
                retry: body.get("retry").and_then(|retry| serde_json::from_value(retry.clone()).ok()),
            },
        }
    }

    /// Whether the body is a problem of a payment, with advice about it.
    pub(crate) fn is_problem(&self) -> bool {
        self.code.is_some() && self.retry.is_some()
    }
}

/// Whether this status asks for payment.
pub(crate) fn asks_for_payment(status: StatusCode) -> bool {
    status == StatusCode::PAYMENT_REQUIRED
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::HeaderValue;
    use serde_json::json;

    fn terms() -> Value {
        let offer = json!({"scheme": "exact", "network": "farthing:00", "amount": "10", "asset": "XTS",
            "payTo": "seller", "maxTimeoutSeconds": 60, "extra": {}});
        json!({"x402Version": 2, "resource": {"url": "https://a.example/"}, "accepts": [offer]})
    }

    fn answer(headers: &[String], body: &str) -> Answer {
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(PAYMENT_REQUIRED, HeaderValue::from_str(value).unwrap());
        }
        let body = Bytes::from(body.to_owned());
        Answer { status: StatusCode::PAYMENT_REQUIRED, headers: map, body, complete: true }
    }

    fn why(answer: &Answer) -> String {
        Terms::read(answer, &Limits::default(), false).unwrap_err().why
    }

    #[test]
    fn terms_come_from_the_header_or_else_from_a_version_2_body() {
        let header = header::encode(&terms()).unwrap();
        let limits = Limits::default();
        assert!(Terms::read(&answer(std::slice::from_ref(&header), ""), &limits, false).is_ok());
        assert!(Terms::read(&answer(&[], &terms().to_string()), &limits, false).is_ok());
        // An unreadable header is not made up for by the body.
        assert!(why(&answer(&["!".into()], &terms().to_string())).contains("base64"));
        assert!(why(&answer(&[header.clone(), header], "")).contains("more than one"));
        let cut = Answer { complete: false, ..answer(&[], &terms().to_string()) };
        assert!(why(&cut).contains("no PAYMENT-REQUIRED"));
    }

    fn terms_v1() -> Value {
        let offer = |network: &str| {
            json!({"scheme": "exact", "network": network, "maxAmountRequired": "10",
                "resource": "https://a.example/", "description": "goods", "mimeType": "", "payTo": "0x0",
                "maxTimeoutSeconds": 60, "asset": "0x0", "extra": {"name": "USDC"}})
        };
        json!({"x402Version": 1, "error": "X-PAYMENT header is required", "accepts": [offer("nowhere"),
            offer("base"), {"scheme": "exact"}]})
    }

    #[test]
    fn version_1_terms_are_read_as_the_version_2_terms_they_mean() {
        let limits = Limits::default();
        let read = Terms::read(&answer(&[], &terms_v1().to_string()), &limits, true).unwrap();
        assert_eq!(read.version, Version::V1);
        assert_eq!(read.resource.description.as_deref(), Some("goods"));
        let [offer] = &read.offers[..] else { panic!("{:?}", read.offers) };
        let expected = json!({"scheme": "exact", "network": "eip155:8453", "amount": "10", "asset": "0x0",
            "payTo": "0x0", "maxTimeoutSeconds": 60, "extra": {"name": "USDC"}});
        assert_eq!(serde_json::from_str::<Value>(offer.text()).unwrap(), expected);
        // Whoever speaks both is paid in version 2.
        let header = header::encode(&terms()).unwrap();
        let both = Terms::read(&answer(&[header], &terms_v1().to_string()), &limits, true).unwrap();
        assert_eq!((both.version, both.offers.len()), (Version::V2, 1));
        let cut = Answer { complete: false, ..answer(&[], &terms_v1().to_string()) };
        assert!(Terms::read(&cut, &limits, true).is_err());
    }

    #[test]
    fn version_1_terms_that_no_rail_pays_and_foreign_402s_are_not_payable() {
        assert!(why(&answer(&[], &terms_v1().to_string())).contains("version 1"));
        for body in ["", "{}", "<html>", "null", "{\"error\":{\"code\":\"card_declined\"}}"] {
            assert!(why(&answer(&[], body)).contains("no PAYMENT-REQUIRED"), "{body}");
        }
        let mut nothing = terms();
        nothing["accepts"] = json!([]);
        let nothing = header::encode(&nothing).unwrap();
        assert!(why(&answer(&[nothing], "")).contains("accepts"));
    }

    #[test]
    fn both_forms_of_errors_are_read_and_made_safe_to_show() {
        let said = |body: Value| Said::read(body.to_string().as_bytes(), &Limits::default());
        let stripe = said(json!({"error": {"code": "card_declined", "message": "No\u{1b}[2J",
            "doc_url": "https://docs.example/"}}));
        assert_eq!(stripe.code.as_deref(), Some("card_declined"));
        assert_eq!(stripe.message.as_deref(), Some("No\\u{1b}[2J"));
        assert_eq!(stripe.doc_url.as_deref(), Some("https://docs.example/"));
        let problem =
            said(json!({"type": "urn:x", "title": "T", "detail": "D", "code": "c", "retry": "same"}));
        assert_eq!((problem.message.as_deref(), problem.retry), (Some("D"), Some(Retry::Same)));
        assert!(problem.is_problem() && !stripe.is_problem());
        assert_eq!(said(json!({"error": "quota"})).message.as_deref(), Some("quota"));
        let long = said(json!({"error": "x".repeat(9999)})).message.unwrap();
        assert!(long.len() <= SHOWN + 3);
        assert_eq!(said(json!({"error": 7, "code": 7})), Said::default());
    }
}
