//! Who may come in: programs of this machine that know the token. Not browsers, whatever a page in them says
//! about where it comes from or what name this machine has.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::token::Token;

/// The path that needs no token.
pub(super) const HEALTH: &str = "/health";

/// What is asked of those who come in.
pub(super) struct Door {
    token: Arc<Token>,
    /// What their requests say they go to; on a unix socket, which no browser reaches, it says nothing.
    host: Option<String>,
}

impl Door {
    /// Lets in who has `token` and asks for `host`.
    pub(super) fn new(token: Arc<Token>, host: Option<String>) -> Self {
        Self { token, host }
    }

    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        if headers.contains_key(ORIGIN) {
            let why = "requests with an Origin header come from web pages, which are not served";
            return Err(Problem::new(StatusCode::FORBIDDEN, "origin-refused", why));
        }
        if let Some(host) = &self.host {
            let mut named = headers.get_all(HOST).iter();
            let first = named.next().is_some_and(|named| named.as_bytes() == host.as_bytes());
            let target = uri.authority().is_none_or(|named| named.as_str() == host);
            if !first || named.next().is_some() || !target {
                let why = format!("the Host header must be {host}, and there must be one");
                return Err(Problem::new(StatusCode::FORBIDDEN, "host-refused", &why));
            }
        }
        if uri.path() != HEALTH && !self.knows(headers) {
            let why = "send the header `authorization: Bearer TOKEN` with the token of the token file";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", why));
        }
        Ok(())
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let (Some(given), None) = (given.next(), given.next()) else { return false };
        let Some((scheme, token)) = given.as_bytes().split_at_checked("Bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ") && self.token.is(token)
    }
}

/// Lets a request pass, or answers it.
pub(super) async fn guard(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    match door.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            let is_unauthorized = problem.status() == StatusCode::UNAUTHORIZED;
            let mut response = problem.into_response();
            if is_unauthorized {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            response
        }
    }
}
