//! The answer to a request, paid or free.

use std::fmt;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt as _};
use http::{HeaderMap, StatusCode};

use crate::error::ClientError;
use crate::events::Events;
use crate::flow::is_event_stream;
use crate::http::{Body, Incoming};
use crate::report::PaymentReport;

/// An answer, and what it cost. The handler's own errors are answers too: look at the status.
///
/// A stream of events and an answer that says it is longer than is compared with a receipt are here as soon
/// as their headers are; read them with [`chunk`](Self::chunk), [`events`](Self::events) or
/// [`into_stream`](Self::into_stream).
pub struct Paid {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Body,
    limit: usize,
    payment: Option<PaymentReport>,
}

impl Paid {
    pub(crate) fn new(incoming: Incoming, payment: Option<PaymentReport>, limit: usize) -> Self {
        Self { status: incoming.status, headers: incoming.headers, body: incoming.body, limit, payment }
    }

    /// What was paid for it; `None` when it was free.
    #[must_use]
    pub fn payment(&self) -> Option<&PaymentReport> {
        self.payment.as_ref()
    }

    /// Whether the body is a stream of server-sent events.
    #[must_use]
    pub fn is_event_stream(&self) -> bool {
        is_event_stream(&self.headers)
    }

    /// The next piece of the body, as soon as it is there; `None` at its end.
    ///
    /// # Errors
    /// [`ClientError::Broken`], also when nothing comes within the client's idle timeout.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        self.body.chunk().await.map_err(broken)
    }

    /// The body as a stream of its pieces. It ends after its first error, which is as in
    /// [`chunk`](Self::chunk).
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, ClientError>> + Send + Unpin + 'static {
        Box::pin(self.body.into_stream().map_err(broken))
    }

    /// The body as server-sent events, one by one as they come.
    pub fn events(&mut self) -> Events<'_> {
        Events::new(&mut self.body)
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`ClientError::Broken`], or [`ClientError::TooLarge`] above the client's limit.
    pub async fn bytes(mut self) -> Result<Bytes, ClientError> {
        let flows = self.is_event_stream();
        let mut whole = BytesMut::new();
        loop {
            let piece = if flows { self.body.chunk().await } else { self.body.chunk_in_time().await };
            let Some(piece) = piece.map_err(broken)? else { return Ok(whole.freeze()) };
            if whole.len() + piece.len() > self.limit {
                return Err(ClientError::TooLarge { limit: self.limit });
            }
            whole.extend_from_slice(&piece);
        }
    }

    /// The whole body as text.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and [`ClientError::NotText`] when it is not UTF-8.
    pub async fn text(self) -> Result<String, ClientError> {
        String::from_utf8(self.bytes().await?.into()).map_err(|_| ClientError::NotText)
    }
}

fn broken(why: String) -> ClientError {
    ClientError::Broken { why }
}

impl fmt::Debug for Paid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paid")
            .field("status", &self.status)
            .field("payment", &self.payment)
            .finish_non_exhaustive()
    }
}
