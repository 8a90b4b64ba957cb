//! The answers of the service, and the one table from what went wrong to a status.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use farthing_protocol::problem::{self, Problem};
use farthing_protocol::rail::{FacilitatorError, Outcome};
use farthing_protocol::records::RecordsError;
use farthing_protocol::{Retry, WireError};
use serde::Serialize;

use crate::carried;
use crate::config::NETWORK_MALFORMED;

/// Seconds after which asking again is worth while.
const RETRY_AFTER_SECONDS: &str = "1";

/// Why a request gets no answer of the protocol.
#[derive(Debug)]
pub(super) enum Refusal {
    NoSuchPath,
    WrongMethod,
    Unauthorized,
    NotJson,
    TooLarge { limit: usize },
    BodyTooSlow,
    BodyBroken,
    Malformed(WireError),
    BadQuery,
    PaymentUnknown,
    NoBalances,
    Busy,
    TooSlow,
    Records(RecordsError),
    Facilitator(FacilitatorError),
}

impl Refusal {
    /// What the caller is told. What went wrong inside is logged, and not told.
    fn problem(&self) -> Problem {
        let refuse =
            |status, code, title, detail: &str, retry| Problem::new(status, code, title, detail, retry);
        match self {
            Self::NoSuchPath => refuse(
                404,
                "not-found",
                "No such path",
                "the paths are /verify, /settle, /supported, /payments/{id}, /healthz and, with a catalogue, \
                 /discovery/resources",
                Retry::None,
            ),
            Self::WrongMethod => refuse(
                405,
                "method-not-allowed",
                "Wrong method",
                "header Allow names the methods of this path",
                Retry::None,
            ),
            Self::Unauthorized => refuse(
                401,
                "unauthorized",
                "No valid token",
                "exactly one Authorization header with a bearer token of this facilitator is needed",
                Retry::None,
            )
            .with_field(Some("authorization")),
            Self::NotJson => refuse(
                415,
                "unsupported-media-type",
                "Not JSON",
                "the body must be application/json, not compressed",
                Retry::None,
            )
            .with_field(Some("content-type")),
            Self::TooLarge { limit } => refuse(
                413,
                "body-too-large",
                "Body too large",
                &format!("at most {limit} bytes are read"),
                Retry::None,
            ),
            Self::BodyTooSlow => {
                refuse(408, "body-too-slow", "Body too slow", "the body did not arrive in time", Retry::Same)
            }
            Self::BodyBroken => {
                refuse(400, "body-broken", "Body incomplete", "the body ended before its length", Retry::Same)
            }
            Self::Malformed(fault) => {
                Problem::new(400, "malformed", "Malformed request", fault.to_string(), fault.retry())
                    .with_field(fault.field())
            }
            Self::BadQuery => refuse(
                400,
                "malformed",
                "Malformed request",
                "`limit` and `offset` must be whole numbers, and no parameter may be given twice",
                Retry::None,
            )
            .with_field(Some("query")),
            Self::Records(_) => refuse(
                503,
                "unreachable",
                "The catalogue cannot be reached",
                "what is listed cannot be read; try again",
                Retry::Same,
            ),
            Self::PaymentUnknown => refuse(
                404,
                "payment-unknown",
                "No such payment",
                "no network here keeps payments under this id",
                Retry::None,
            ),
            Self::NoBalances => refuse(
                404,
                "network-unknown",
                "No such network",
                "no network here says what accounts have",
                Retry::None,
            ),
            Self::Busy => refuse(
                503,
                "busy",
                "Too many settlements at once",
                "nothing was settled; present the same payment again",
                Retry::Same,
            ),
            Self::TooSlow => {
                refuse(503, "timeout", "Took too long", "the network did not answer in time", Retry::Same)
            }
            Self::Facilitator(FacilitatorError::Malformed(_)) => refuse(
                502,
                NETWORK_MALFORMED,
                "The network's answer is malformed",
                "what the network answered is not understood",
                Retry::Same,
            ),
            Self::Facilitator(FacilitatorError::Forbidden(_)) => {
                refuse(403, "forbidden", "Not for this caller", "this caller may not ask that", Retry::None)
            }
            Self::Facilitator(FacilitatorError::Unreachable(_) | FacilitatorError::Unsupported { .. }) => {
                refuse(
                    503,
                    "unreachable",
                    "The network cannot be reached",
                    "the network did not answer; try again",
                    Retry::Same,
                )
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if let Self::Facilitator(error) = &self {
            tracing::warn!(%error, "a rail could not answer");
        }
        if let Self::Records(error) = &self {
            tracing::warn!(%error, "the catalogue cannot be read");
        }
        let problem = self.problem();
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = reply(status, problem::CONTENT_TYPE, problem.to_json());
        let headers = response.headers_mut();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// 200 with `message`.
pub(super) fn ok<T: Serialize>(message: &T) -> Response {
    json(StatusCode::OK, message)
}

/// What became of a settlement on `network`: 200 when that is known, else 503.
pub(super) fn outcome(network: &str, outcome: &Outcome) -> Response {
    let (status, message) = carried::answer_on(network, outcome);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, message.as_ref());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    response
}

fn json<T: Serialize>(status: StatusCode, message: &T) -> Response {
    match serde_json::to_string(message) {
        Ok(text) => reply(status, "application/json", text),
        Err(error) => Refusal::Facilitator(FacilitatorError::Malformed(error.to_string())).into_response(),
    }
}

fn reply(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
