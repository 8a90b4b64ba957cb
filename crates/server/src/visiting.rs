//! A paid request: the service that handles it, and the connection that waits for the answer.

use std::sync::Arc;

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use farthing_protocol::rail::BoxFuture;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH};
use http::{Method, Request, Response};
use tokio::sync::oneshot;
use tower::Service;

use crate::answer::{Answer, Content, Situation};
use crate::flow::{HandlerAnswer, PaidBy};
use crate::metering::{Meter, Metered, Tap};
use crate::observe::Stopwatch;
use crate::passes::Offered;
use crate::serving::{Process as _, Visit};
use crate::shell::Shell;
use crate::sold::Sold;
use crate::{Captured, RefusePaid, body, headers};

/// A paid request.
pub(crate) struct Visiting<S> {
    pub(crate) shell: Arc<Shell>,
    /// The route's name, for whoever is told of the answer.
    pub(crate) label: Arc<str>,
    pub(crate) stopwatch: Stopwatch,
    /// The answer is paid for while it flows.
    pub(crate) flows: bool,
    pub(crate) inner: Option<(S, Request<Body>)>,
    pub(crate) reply: Option<oneshot::Sender<Answer<Body>>>,
    /// What is bought for a period by paying.
    pub(crate) offered: Option<Offered>,
}

impl<S, R> Visit<Body> for Visiting<S>
where
    S: Service<Request<Body>, Response = Response<R>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    fn handle(
        &mut self,
        paid_by: PaidBy,
        meter: Option<Meter>,
    ) -> BoxFuture<'static, Result<HandlerAnswer<Body>, BoxError>> {
        let (inner, limit) = (self.inner.take(), self.shell.seller().limits.answer_bytes);
        let metered = meter.as_ref().and_then(Meter::flows).cloned();
        Box::pin(self.stopwatch.clone().handler(async move {
            let (mut inner, mut request) = inner.ok_or("the handler was run before")?;
            let is_head = request.method() == Method::HEAD;
            request.extensions_mut().insert(paid_by);
            if metered.as_ref().is_some_and(Metered::counts_events) {
                // Events cannot be counted in what is compressed.
                request.headers_mut().remove(ACCEPT_ENCODING);
            }
            if let Some(meter) = meter {
                request.extensions_mut().insert(meter);
            }
            let response = inner.call(request).await.map_err(Into::into)?;
            gather(response.map(Body::new), limit, (is_head, metered.as_ref())).await
        }))
    }

    fn meter(&mut self, body: Body, tap: Tap) -> Body {
        self.flows = true;
        self.shell.streams().add(&tap);
        tap.meter(body)
    }

    fn is_gone(&self) -> bool {
        self.reply.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    async fn gone(&mut self) {
        match &mut self.reply {
            Some(reply) => reply.closed().await,
            None => std::future::pending().await,
        }
    }

    fn answer(&mut self, mut answer: Answer<Body>) {
        // Nobody listens any more when the client has gone; its answer is stored.
        if let Some(reply) = self.reply.take() {
            answer.sold.route = self.label.clone();
            self.stopwatch.stop(&answer.sold);
            // What is paid for while it flows ends later.
            if !self.flows {
                self.shell.ended(&answer.sold);
            }
            match self.offered.take().filter(|_| answer.situation == Situation::Paid) {
                None => drop(reply.send(answer)),
                // Also when nobody listens: what was paid for is open the next time.
                Some(offered) => {
                    let now = self.shell.now();
                    tokio::spawn(async move { reply.send(offered.deliver(answer, now).await) });
                }
            }
        }
    }

    fn closed(&mut self, answer: &Answer<Body>) {
        let mut sold = Sold { route: self.label.clone(), ..(*answer.sold).clone() };
        if sold.amount.is_some() {
            (sold.situation, sold.replayed) = (Situation::Paid, false);
        }
        self.shell.ended(&sold);
    }
}

async fn gather(
    response: Response<Body>,
    limit: usize,
    (is_head, metered): (bool, Option<&Metered>),
) -> Result<HandlerAnswer<Body>, BoxError> {
    let (mut parts, body) = response.into_parts();
    let content = if is_head {
        // What is not sent is not kept; its length is.
        let length = http_body::Body::size_hint(&body).exact().filter(|length| *length > 0);
        if let (Some(length), false) = (length, parts.headers.contains_key(CONTENT_LENGTH)) {
            parts.headers.insert(CONTENT_LENGTH, length.into());
        }
        Content::Whole(Bytes::new())
    } else if headers::is_event_stream(&parts.headers) {
        // Paid for when it begins, or while it flows: its end could not be waited for.
        Content::Long(body)
    } else if metered.is_some_and(|metered| !metered.is_whole(&body, limit)) {
        Content::Long(body)
    } else {
        body::collect(body, limit).await?
    };
    let captured = parts.extensions.get::<Captured>().map(|captured| captured.0);
    let refused = parts.extensions.get::<RefusePaid>().map(|refused| refused.0.clone());
    Ok(HandlerAnswer { status: parts.status, headers: parts.headers, content, captured, refused })
}
