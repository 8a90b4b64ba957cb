//! reqwest, adapted: one request, one complete answer within its limits, or why there is none.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Response, redirect, retry};
use thiserror::Error;

use crate::ConfigError;

/// Carries bytes to the facilitator and back.
#[derive(Clone)]
pub(super) struct Wire {
    client: Client,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    limit: usize,
}

/// A complete answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    media_type: Option<String>,
}

/// Why there is no complete answer. Quotes nothing that the peer sent.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error("{0}; nothing was sent")]
    NotSent(String),
    #[error("{0}")]
    NoAnswer(String),
    #[error("the answer has more than {limit} bytes")]
    TooLong { limit: usize },
}

impl Wire {
    pub(super) fn new(
        token: Option<&str>,
        timeout: Duration,
        connect_timeout: Duration,
        loopback: bool,
        limit: usize,
    ) -> Result<Self, ConfigError> {
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .https_only(!loopback)
            .connect_timeout(connect_timeout)
            // Shorter than servers usually keep idle connections, so that few requests meet a closed one.
            .pool_idle_timeout(Duration::from_secs(10))
            .tcp_nodelay(true);
        if loopback {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|error| ConfigError::setting("url", format!("cannot be prepared for: {error}")))?;
        let authorization = match token.map(|token| HeaderValue::try_from(format!("Bearer {token}"))) {
            None => None,
            Some(Ok(mut value)) => {
                value.set_sensitive(true);
                Some(value)
            }
            Some(Err(_)) => return Err(ConfigError::setting("token", "cannot stand in a header")),
        };
        Ok(Self { client, authorization, timeout, limit })
    }

    /// `GET`s `url`, or `POST`s JSON to it.
    pub(super) async fn exchange(&self, url: &str, json: Option<Vec<u8>>) -> Result<Answer, Failure> {
        let request = match json {
            None => self.client.get(url),
            Some(json) => self.client.post(url).header(CONTENT_TYPE, "application/json").body(json),
        };
        let mut request = request.header(ACCEPT, "application/json, application/problem+json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let whole = async { self.collect(request.send().await.map_err(|error| failure(&error))?).await };
        match tokio::time::timeout(self.timeout, whole).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::NoAnswer("the facilitator did not answer in time".into())),
        }
    }

    async fn collect(&self, mut response: Response) -> Result<Answer, Failure> {
        let too_long = Failure::TooLong { limit: self.limit };
        if response.content_length().is_some_and(|length| length > self.limit as u64) {
            return Err(too_long);
        }
        let mut types = response.headers().get_all(CONTENT_TYPE).iter();
        let media_type = match (types.next(), types.next()) {
            (Some(value), None) => value.to_str().ok().map(str::to_owned),
            _ => None,
        };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
            if body.len() + chunk.len() > self.limit {
                return Err(too_long);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status: response.status().as_u16(), body, media_type })
    }
}

impl Answer {
    /// Whether the one `Content-Type` names `expected`, parameters aside.
    pub(super) fn is_of_type(&self, expected: &str) -> bool {
        let name = self.media_type.as_deref().and_then(|value| value.split(';').next());
        name.is_some_and(|name| name.trim().eq_ignore_ascii_case(expected))
    }
}

fn failure(error: &reqwest::Error) -> Failure {
    if error.is_connect() {
        return Failure::NotSent("the facilitator cannot be connected to".into());
    }
    if error.is_builder() {
        return Failure::NotSent("the request cannot be built".into());
    }
    let why = if error.is_timeout() {
        "the facilitator did not answer in time"
    } else if error.is_body() || error.is_decode() {
        "the facilitator's answer broke off"
    } else {
        "the facilitator's answer is not HTTP, or the connection broke"
    };
    Failure::NoAnswer(why.into())
}
