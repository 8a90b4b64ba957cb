//! Errors of this service, as RFC 9457 has them: their header `farthing-error` tells them from the errors of
//! the resource that was fetched.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use farthing::client::{ClientError, ResumeError};
use farthing::protocol::problem;
use serde_json::{Value, json};

use crate::style::ascii_json;
use crate::told;

/// The header that only errors of this service have; its value is the problem's `code`.
pub(super) const FARTHING_ERROR: HeaderName = HeaderName::from_static("farthing-error");

/// Why a request was not carried out.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: String,
    told: Value,
}

impl Problem {
    /// A problem with the request itself; the same request will meet it again.
    pub(super) fn new(status: StatusCode, code: &str, detail: &str) -> Self {
        let told = json!({ "code": code, "detail": detail, "retry": "none", "fault": "caller" });
        Self::of(status, told)
    }

    /// A request that cannot be understood.
    pub(super) fn bad_request(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    /// What is wrong with this service.
    pub(super) fn internal(code: &str, detail: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, detail)
    }

    /// A fetch without an answer.
    pub(super) fn no_answer(error: &ClientError) -> Self {
        let mut told = told::error(error);
        let status = match error {
            ClientError::Request { .. } | ClientError::Price(_) => StatusCode::BAD_REQUEST,
            ClientError::NotPayable(_) => StatusCode::PAYMENT_REQUIRED,
            ClientError::Refused(_) => StatusCode::FORBIDDEN,
            ClientError::PaymentRefused(_)
            | ClientError::Network { .. }
            | ClientError::Broken { .. }
            | ClientError::TooLarge { .. }
            | ClientError::NotText => StatusCode::BAD_GATEWAY,
            ClientError::Unknown(_) => {
                if told["retry"] == "same" {
                    // The same request with `resume` presents the same payment.
                    told["advice"] = "resume".into();
                }
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::of(status, told)
    }

    /// A payment that cannot be presented again like this.
    pub(super) fn no_resume(error: &ResumeError) -> Self {
        let status = match error {
            ResumeError::NoPayment(_) => StatusCode::NOT_FOUND,
            ResumeError::Released(_) | ResumeError::OtherRequest { .. } => StatusCode::CONFLICT,
            ResumeError::RequestNeeded { .. } | ResumeError::Request(_) => StatusCode::BAD_REQUEST,
            ResumeError::NoRail { .. } | ResumeError::Journal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::of(status, told::resume_error(error))
    }

    fn of(status: StatusCode, told: Value) -> Self {
        let code = told["code"].as_str().unwrap_or("internal").to_owned();
        Self { status, code, told }
    }

    /// The status that it is sent with.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    fn body(&self) -> String {
        let mut body = json!({
            "type": format!("urn:farthing:problem:{}", self.code),
            "title": title(&self.code),
            "status": self.status.as_u16(),
        });
        if let (Some(body), Some(told)) = (body.as_object_mut(), self.told.as_object()) {
            body.extend(told.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        format!("{}\n", ascii_json(&body.to_string()))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let code = HeaderValue::from_str(&self.code).unwrap_or(HeaderValue::from_static("internal"));
        let headers =
            [(CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE)), (FARTHING_ERROR, code)];
        (self.status, headers, self.body()).into_response()
    }
}

fn title(code: &str) -> &'static str {
    match code {
        "refused" => "The policy does not allow this payment",
        "not-payable" => "The server asks for something that cannot be paid",
        "payment-refused" => "The server refused the payment",
        "outcome-unknown" => "Nobody knows whether the payment was taken",
        "no-answer" | "answer-broken" => "The server does not answer",
        "answer-too-large" | "answer-not-text" => "The answer cannot be used",
        "no-such-payment" | "payment-released" | "request-needed" | "other-request" => {
            "This payment cannot be presented like this"
        }
        "unauthorized" | "host-refused" | "origin-refused" => "This service is not for you",
        "journal" | "no-wallet" | "internal" => "This service does not work as it should",
        _ => "The request cannot be understood",
    }
}

/// For paths that are not there.
pub(super) async fn no_such_path() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no-such-path", "there is nothing at this path")
}

/// For methods that a path does not have.
pub(super) async fn no_such_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no-such-method", "this path has another method")
}
