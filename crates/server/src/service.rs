//! The shell: carries requests, settlements and answers between tower, the facilitator and the flow.

use std::mem;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use axum::extract::OriginalUri;
use bytes::Bytes;
use farthing_protocol::digest::BodyHash;
use farthing_protocol::header::{PAYMENT_SIGNATURE, X_PAYMENT};
use farthing_protocol::rail::{BoxFuture, Facilitator, Outcome};
use farthing_protocol::records::Records;
use farthing_protocol::v2::FacilitatorRequest;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode};
use tokio::sync::oneshot;
use tower::Service;
use tracing::Instrument as _;

use crate::answer::{Answer, Content, Situation};
use crate::body;
use crate::claims::Claims;
use crate::desk::Desk;
use crate::flow::{Claiming, HandlerAnswer, Kept, Later, PaidBy, Reply, Route, Seller};
use crate::paywall::Clock;
use crate::serving::{Process, Serving, Visit};
use crate::till::Till;
use crate::{Captured, RefusePaid, headers};

/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// What all priced routes of one paywall share.
pub(crate) struct Shell {
    seller: Arc<Seller>,
    facilitator: Arc<dyn Facilitator>,
    /// For the rails that cannot hold money.
    claims: Option<Claims>,
    desk: Mutex<Desk<Kept<Body>>>,
    till: Till,
    clock: Clock,
}

impl Shell {
    pub(crate) fn new(
        seller: Arc<Seller>,
        facilitator: Arc<dyn Facilitator>,
        records: Option<Arc<dyn Records>>,
        in_flight: usize,
        clock: Clock,
    ) -> Self {
        let claims = records.map(|records| Claims::new(records, facilitator.clone(), clock.clone()));
        let desk = Mutex::new(Desk::new(in_flight));
        Self { seller, facilitator, claims, desk, till: Till::default(), clock }
    }

    pub(crate) fn seller(&self) -> &Arc<Seller> {
        &self.seller
    }
}

impl Process for Shell {
    type Body = Body;

    fn now(&self) -> u64 {
        (self.clock)()
    }

    fn desk(&self) -> &Mutex<Desk<Kept<Body>>> {
        &self.desk
    }

    async fn settle(&self, request: &FacilitatorRequest) -> Outcome {
        self.facilitator.settle(request).await
    }

    async fn settle_later(&self, later: &Arc<Later>) -> Outcome {
        self.till.settle(self, later).await
    }

    async fn claim(&self, claiming: &Claiming) -> Reply {
        match &self.claims {
            Some(claims) => claims.ask(claiming).await,
            None => Reply::unknown("this paywall keeps no claims"),
        }
    }

    fn pause(&self, length: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(length)
    }
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").field("seller", &self.seller).finish_non_exhaustive()
    }
}

/// A service behind a price.
#[derive(Clone, Debug)]
pub struct Priced<S> {
    shell: Arc<Shell>,
    route: Arc<Route>,
    inner: S,
}

impl<S> Priced<S> {
    pub(crate) fn new(shell: Arc<Shell>, route: Arc<Route>, inner: S) -> Self {
        Self { shell, route, inner }
    }
}

/// Needs a tokio runtime: a paid request goes on in a task of its own when its client goes away.
impl<S, B, R> Service<Request<B>> for Priced<S>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that was polled ready is the one that is called.
        let fresh = self.inner.clone();
        let inner = mem::replace(&mut self.inner, fresh);
        let (shell, route) = (self.shell.clone(), self.route.clone());
        Box::pin(async move {
            if request.method() == Method::OPTIONS {
                return Ok(options(&request));
            }
            let is_head = request.method() == Method::HEAD;
            let answer = serve(shell, route, inner, request.map(Body::new)).await;
            Ok(respond(answer, is_head))
        })
    }
}

/// The answer to a browser that asks what it may send. Every `OPTIONS` is answered here and free, so that a
/// handler for all methods gives nothing away.
fn options<B>(request: &Request<B>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = headers::preflight(request.headers());
    response
}

fn respond(answer: Answer<Body>, is_head: bool) -> Response<Body> {
    let passed_on =
        matches!(answer.situation, Situation::Paid | Situation::HandlerFailed | Situation::PaidFailed);
    let body = match answer.content {
        _ if is_head && !passed_on => Body::empty(),
        Content::Whole(body) => Body::from(body),
        Content::Long(body) => body,
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

/// One request, up to the point from which it goes on without its client.
async fn serve<S, R>(shell: Arc<Shell>, route: Arc<Route>, inner: S, request: Request<Body>) -> Answer<Body>
where
    S: Service<Request<Body>, Response = Response<R>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let (mut parts, body) = request.into_parts();
    // A nested router changes the URI; payments are bound to what was received.
    let received = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
    let target = received.path_and_query().map_or("/", |target| target.as_str());
    let opened = match route.open(&parts.method, target, &parts.headers) {
        Ok(opened) => opened,
        Err(answer) => return *answer,
    };
    let (action, body) = if opened.binds_body() {
        match body::spool(body, shell.seller.limits.bound_body_bytes, BODY_DEADLINE).await {
            Ok(bytes) => (opened.bound(BodyHash::of(&bytes), shell.now()), Body::from(bytes)),
            Err(fault) => (opened.body_failed(fault), Body::empty()),
        }
    } else {
        (opened.bound(BodyHash::Unbound, shell.now()), body)
    };
    let serving = match Serving::enter(&shell, action) {
        Ok(serving) => serving,
        Err(answer) => return *answer,
    };

    parts.headers.remove(PAYMENT_SIGNATURE);
    parts.headers.remove(X_PAYMENT);
    let span = tracing::debug_span!("payment", id = %serving.id());
    let (reply, answer) = oneshot::channel();
    let visit = Visiting {
        inner: Some((inner, Request::from_parts(parts, body))),
        reply: Some(reply),
        answer_bytes: shell.seller.limits.answer_bytes,
    };
    tokio::spawn(serving.serve(visit).instrument(span));
    answer.await.unwrap_or_else(|_| Answer::lost())
}

/// A paid request: the service that handles it, and the connection that waits for the answer.
struct Visiting<S> {
    inner: Option<(S, Request<Body>)>,
    reply: Option<oneshot::Sender<Answer<Body>>>,
    /// Bytes of an answer that are kept.
    answer_bytes: usize,
}

impl<S, R> Visit<Body> for Visiting<S>
where
    S: Service<Request<Body>, Response = Response<R>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    fn handle(&mut self, paid_by: PaidBy) -> BoxFuture<'static, Result<HandlerAnswer<Body>, BoxError>> {
        let (inner, limit) = (self.inner.take(), self.answer_bytes);
        Box::pin(async move {
            let (mut inner, mut request) = inner.ok_or("the handler was run before")?;
            let is_head = request.method() == Method::HEAD;
            request.extensions_mut().insert(paid_by);
            let response = inner.call(request).await.map_err(Into::into)?;
            gather(response.map(Body::new), limit, is_head).await
        })
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

    fn answer(&mut self, answer: Answer<Body>) {
        send(self.reply.take(), answer);
    }
}

/// Nobody listens any more when the client has gone; its answer is stored.
fn send(reply: Option<oneshot::Sender<Answer<Body>>>, answer: Answer<Body>) {
    if let Some(reply) = reply {
        let _ = reply.send(answer);
    }
}

async fn gather(
    response: Response<Body>,
    limit: usize,
    is_head: bool,
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
        // Paid for when it begins: its end could not be waited for.
        Content::Long(body)
    } else {
        body::collect(body, limit).await?
    };
    let captured = parts.extensions.get::<Captured>().map(|captured| captured.0);
    let refused = parts.extensions.get::<RefusePaid>().map(|refused| refused.0.clone());
    Ok(HandlerAnswer { status: parts.status, headers: parts.headers, content, captured, refused })
}
