//! The gateway's own answers: problems (RFC 9457) that say nothing about the upstream.

use axum::body::Body;
use farthing_protocol::Retry;
use farthing_protocol::problem::{self, Problem};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

use crate::headers;

/// Why a request is not forwarded, or has no answer.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    retry: Retry,
    allow: Option<String>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, code: &'static str, title: &'static str) -> Self {
        Self { status, code, title, detail: title.to_owned(), retry: Retry::None, allow: None }
    }

    /// Says more about this occurrence.
    pub(super) fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    /// A new request may succeed.
    pub(super) fn again(self) -> Self {
        Self { retry: Retry::New, ..self }
    }

    /// The methods that have something here.
    pub(super) fn allow(self, methods: String) -> Self {
        Self { allow: Some(methods), ..self }
    }
}

/// The answer.
pub(super) fn refused(refused: Refused) -> Response<Body> {
    let Refused { status, code, title, detail, retry, allow } = refused;
    let problem = Problem::new(status.as_u16(), code, title, detail, retry);
    let mut response = Response::new(Body::from(problem.to_json()));
    *response.status_mut() = status;
    let to = response.headers_mut();
    to.insert(CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
    to.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(Ok(allow)) = allow.map(HeaderValue::try_from) {
        to.insert(ALLOW, allow);
    }
    headers::vary(to);
    headers::cross_origin(to);
    response
}
