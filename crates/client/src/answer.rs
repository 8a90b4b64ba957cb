//! The answer to a request, paid or free.

use std::fmt;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt as _};
use http::{HeaderMap, StatusCode};

use crate::error::ClientError;
use crate::events::{Events, Parser};
use crate::flow::is_event_stream;
use crate::http::{Body, Incoming};
use crate::metered::Metered;
use crate::report::PaymentReport;

/// An answer, and what it cost. The handler's own errors are answers too: look at the status.
///
/// A stream of events and an answer that says it is longer than is compared with a receipt are here as soon
/// as their headers are; read them with [`chunk`](Self::chunk), [`events`](Self::events) or
/// [`into_stream`](Self::into_stream).
///
/// So is an answer that is paid for while it comes ([`PaymentReport::open`]): a piece of it is a piece of its
/// price. Read it to its end, or [`close`](Self::close) it, to know what it cost; the budget stays reserved at the
/// most it can cost until then, and else until the client [reconciles](crate::Client::reconcile).
pub struct Paid {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Body,
    /// What was read as events, and is the beginning of the next.
    parser: Parser,
    limit: usize,
    payment: Option<PaymentReport>,
}

impl Paid {
    pub(crate) fn new(incoming: Incoming, payment: Option<PaymentReport>, limit: usize) -> Self {
        let Incoming { status, headers, body } = incoming;
        Self { status, headers, body, parser: Parser::default(), limit, payment }
    }

    /// What was paid for it; `None` when it was free. Of an answer that is paid for while it comes, what is known
    /// so far.
    #[must_use]
    pub fn payment(&self) -> Option<&PaymentReport> {
        self.body.metered().map(Metered::report).or(self.payment.as_ref())
    }

    /// Reads no further, and returns what was paid. Where the answer was paid for while it came, the network is asked
    /// what was taken, again for as long as the client is patient: the seller needs a moment to see that nobody
    /// listens.
    pub async fn close(self) -> Option<PaymentReport> {
        match self.body.hang_up() {
            None => self.payment,
            Some(metered) => Some(metered.close().await),
        }
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

    /// The body as server-sent events, one by one as they come; from where it was read as events before. What
    /// was read as events is not read as pieces any more.
    pub fn events(&mut self) -> Events<'_> {
        Events::new(&mut self.body, &mut self.parser)
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`ClientError::Broken`], or [`ClientError::TooLarge`] above the client's limit.
    pub async fn bytes(mut self) -> Result<Bytes, ClientError> {
        let flows = self.is_event_stream() || self.body.metered().is_some();
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
