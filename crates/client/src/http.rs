//! HTTP by reqwest: carries one request there and its answer back, and decides nothing.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::prepared::PaymentHeader;
use crate::request::Request;

/// How long a peer may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    /// From the request to the last byte of the answer.
    pub(crate) overall: Duration,
}

/// The connections.
#[derive(Clone, Debug)]
pub(crate) struct Http(reqwest::Client);

/// An answer whose body is still coming.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// A body: what was read so far, and the rest.
pub(crate) struct Body {
    read: BytesMut,
    rest: Option<reqwest::Response>,
}

impl Http {
    /// Follows no redirect, keeps no cookie, uses no proxy of the environment, resends nothing by itself.
    pub(crate) fn new(timeouts: Timeouts) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.overall)
            .user_agent(concat!("farthing/", env!("CARGO_PKG_VERSION")));
        client.build().map(Self).map_err(|error| shown(&error))
    }

    /// Sends `request`, with a payment or without.
    pub(crate) async fn send(
        &self,
        request: &Request,
        payment: Option<&PaymentHeader>,
    ) -> Result<Incoming, String> {
        let mut sent = self.0.request(request.method().clone(), request.url());
        sent = sent.headers(request.headers().clone());
        if !request.body().is_empty() {
            sent = sent.body(request.body().clone());
        }
        if let Some(payment) = payment {
            let mut value = HeaderValue::from_str(payment.expose()).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            sent = sent.header(payment.name(), value);
        }
        let mut answer = sent.send().await.map_err(|error| shown(&error))?;
        let headers = std::mem::take(answer.headers_mut());
        let status = answer.status();
        Ok(Incoming { status, headers, body: Body { read: BytesMut::new(), rest: Some(answer) } })
    }
}

impl Body {
    /// Reads on until the body ends or `limit` bytes are there; returns those, and whether they are all.
    /// What was read stays part of the body.
    pub(crate) async fn peek(&mut self, limit: usize) -> Result<(Bytes, bool), String> {
        if limit > 0 {
            while self.read.len() <= limit && self.pull().await? {}
        }
        let complete = self.rest.is_none() && self.read.len() <= limit;
        let start = &self.read[..self.read.len().min(limit)];
        Ok((Bytes::copy_from_slice(start), complete))
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, String> {
        if self.read.is_empty() && !self.pull().await? {
            return Ok(None);
        }
        Ok(Some(self.read.split().freeze()))
    }

    /// Reads one more piece that is not empty; `false` at the end.
    async fn pull(&mut self) -> Result<bool, String> {
        while let Some(rest) = &mut self.rest {
            match rest.chunk().await.map_err(|error| shown(&error))? {
                None => self.rest = None,
                Some(piece) if piece.is_empty() => {}
                Some(piece) => {
                    self.read.extend_from_slice(&piece);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes read)", self.read.len())
    }
}

/// An error with its causes and without the URL, which may hold what its caller keeps to itself.
fn shown(error: &reqwest::Error) -> String {
    let kind = if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "no connection"
    } else {
        "broken off"
    };
    let mut text = kind.to_owned();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
