//! HTTP by reqwest: carries one request there and its answer back, and decides nothing.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use http::header::{CONNECTION, TE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use crate::flow::Flow;
use crate::metered::Metered;
use crate::prepared::PaymentHeader;
use crate::report::PaymentReport;
use crate::request::Request;

/// How long a peer may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    /// From the request to the last byte that is read before the answer is handed over.
    pub(crate) overall: Duration,
    /// Between two pieces of a body that is read after that.
    pub(crate) idle: Duration,
}

/// The connections.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
    timeouts: Timeouts,
}

/// An answer whose body is still coming.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

impl Incoming {
    /// Sees to the payment of an answer that is paid for while it comes.
    pub(crate) fn meter(&mut self, flow: &Flow, report: Option<&PaymentReport>) {
        if let Some(metered) = report.and_then(|report| flow.meter(self, report)) {
            self.body.metered = Some(Box::new(metered));
        }
    }
}

/// A body: what was read so far, and the rest.
pub(crate) struct Body {
    read: BytesMut,
    rest: Option<reqwest::Body>,
    /// When all that is read at once must be there.
    deadline: Instant,
    idle: Duration,
    /// Who sees to its payment, where that goes on while it comes.
    metered: Option<Box<Metered>>,
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
            .user_agent(concat!("farthing/", env!("CARGO_PKG_VERSION")));
        let client = client.build().map_err(|error| shown(&error))?;
        Ok(Self { client, timeouts })
    }

    /// The connections themselves, for what is sent without a payment.
    pub(crate) fn connections(&self) -> &reqwest::Client {
        &self.client
    }

    /// Sends `request`, with a payment or without.
    pub(crate) async fn send(
        &self,
        request: &Request,
        payment: Option<&PaymentHeader>,
    ) -> Result<Incoming, String> {
        let deadline = Instant::now() + self.timeouts.overall;
        let mut sent = self.client.request(request.method().clone(), request.url());
        sent = sent.headers(request.headers().clone());
        if !request.body().is_empty() {
            sent = sent.body(request.body().clone());
        }
        if let Some(payment) = payment {
            let mut value = HeaderValue::from_str(payment.expose()).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            sent = sent.header(payment.name(), value);
            // What became of a payment that goes on while the answer comes can be said behind it only.
            sent = sent.header(TE, "trailers").header(CONNECTION, "te");
        }
        let answer = timeout_at(deadline, sent.send()).await.map_err(|_| TIMED_OUT)?;
        Ok(self.incoming(answer.map_err(|error| shown(&error))?, deadline))
    }

    /// Sends a request without payment whose body cannot be sent again.
    pub(crate) async fn send_once(&self, request: reqwest::Request) -> Result<Incoming, String> {
        let deadline = Instant::now() + self.timeouts.overall;
        let answer = timeout_at(deadline, self.client.execute(request)).await.map_err(|_| TIMED_OUT)?;
        Ok(self.incoming(answer.map_err(|error| shown(&error))?, deadline))
    }

    /// An answer to a request that was sent by something else.
    #[cfg(feature = "middleware")]
    pub(crate) fn received(&self, answer: reqwest::Response) -> Incoming {
        self.incoming(answer, Instant::now() + self.timeouts.overall)
    }

    fn incoming(&self, mut answer: reqwest::Response, deadline: Instant) -> Incoming {
        let headers = std::mem::take(answer.headers_mut());
        let (status, idle) = (answer.status(), self.timeouts.idle);
        let rest = Some(answer.into());
        Incoming {
            status,
            headers,
            body: Body { read: BytesMut::new(), rest, deadline, idle, metered: None },
        }
    }
}

const TIMED_OUT: &str = "timed out";

impl Body {
    /// Reads on until the body ends or `limit` bytes are there; returns those, and whether they are all.
    /// What was read stays part of the body.
    pub(crate) async fn peek(&mut self, limit: usize) -> Result<(Bytes, bool), String> {
        let deadline = self.deadline;
        if limit > 0 {
            while self.read.len() <= limit && late(timeout_at(deadline, self.pull())).await? {}
        }
        let complete = self.rest.is_none() && self.read.len() <= limit;
        let start = &self.read[..self.read.len().min(limit)];
        Ok((Bytes::copy_from_slice(start), complete))
    }

    /// Who sees to its payment, where that goes on while it comes.
    pub(crate) fn metered(&self) -> Option<&Metered> {
        self.metered.as_deref()
    }

    /// Ends the connection, unless it has ended.
    pub(crate) fn hang_up(self) -> Option<Metered> {
        self.metered.map(|metered| *metered)
    }

    /// The next piece, as soon as it is there; `None` at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, String> {
        if self.read.is_empty() {
            let pulled = late(timeout(self.idle, self.pull())).await;
            if !matches!(pulled, Ok(true)) {
                return self.over(pulled.err()).await;
            }
        }
        Ok(Some(self.read.split().freeze()))
    }

    /// The end, good or bad.
    async fn over(&mut self, broken: Option<String>) -> Result<Option<Bytes>, String> {
        if let Some(metered) = &mut self.metered {
            // So that the seller sees that nobody reads on.
            self.rest = None;
            metered.over(broken.is_none()).await;
        }
        broken.map_or(Ok(None), Err)
    }

    /// All pieces; the end after the first error.
    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<Bytes, String>> + Send + 'static {
        stream::try_unfold(self, |mut body| async move {
            let piece = body.chunk().await?;
            Ok(piece.map(|piece| (piece, body)))
        })
    }

    /// As [`chunk`](Self::chunk), of a body that is read at once: until the exchange must have ended.
    pub(crate) async fn chunk_in_time(&mut self) -> Result<Option<Bytes>, String> {
        let deadline = self.deadline;
        late(timeout_at(deadline, self.chunk())).await
    }

    /// Reads one more piece that is not empty; `false` at the end.
    async fn pull(&mut self) -> Result<bool, String> {
        while let Some(rest) = &mut self.rest {
            let Some(frame) = rest.frame().await else {
                self.rest = None;
                break;
            };
            match frame.map_err(|error| shown(&error))?.into_data() {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => {
                    if let Some(metered) = &mut self.metered {
                        metered.saw(&piece);
                    }
                    self.read.extend_from_slice(&piece);
                    return Ok(true);
                }
                Err(frame) => {
                    if let (Ok(trailers), Some(metered)) = (frame.into_trailers(), &mut self.metered) {
                        metered.ended_with(trailers);
                    }
                }
            }
        }
        Ok(false)
    }
}

/// What is ready by then, or that it is not.
async fn late<T>(
    ready: impl Future<Output = Result<Result<T, String>, tokio::time::error::Elapsed>>,
) -> Result<T, String> {
    ready.await.unwrap_or_else(|_| Err(TIMED_OUT.to_owned()))
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes read)", self.read.len())
    }
}

/// An error with its causes and without the URL, which may hold what its caller keeps to itself.
fn shown(error: &reqwest::Error) -> String {
    let kind = if error.is_timeout() {
        TIMED_OUT
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
