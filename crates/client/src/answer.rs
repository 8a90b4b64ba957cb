//! The answer to a request, paid or free.

use std::fmt;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};

use crate::error::ClientError;
use crate::http::{Body, Incoming};
use crate::report::PaymentReport;

/// An answer, and what it cost. The handler's own errors are answers too: look at the status.
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

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// [`ClientError::Broken`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        self.body.chunk().await.map_err(|why| ClientError::Broken { why })
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`ClientError::Broken`], or [`ClientError::TooLarge`] above the client's limit.
    pub async fn bytes(mut self) -> Result<Bytes, ClientError> {
        let mut body = BytesMut::new();
        while let Some(piece) = self.chunk().await? {
            if body.len() + piece.len() > self.limit {
                return Err(ClientError::TooLarge { limit: self.limit });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    /// The whole body as text.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and [`ClientError::NotText`] when it is not UTF-8.
    pub async fn text(self) -> Result<String, ClientError> {
        String::from_utf8(self.bytes().await?.into()).map_err(|_| ClientError::NotText)
    }
}

impl fmt::Debug for Paid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paid")
            .field("status", &self.status)
            .field("payment", &self.payment)
            .finish_non_exhaustive()
    }
}
