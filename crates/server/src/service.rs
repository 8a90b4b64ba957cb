//! The shell: carries requests, settlements and answers between tower, the facilitator and the flow.

use std::mem;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use axum::extract::OriginalUri;
use bytes::Bytes;
use farthing_protocol::digest::BodyHash;
use farthing_protocol::header::{PAYMENT_SIGNATURE, X_PAYMENT};
use farthing_protocol::rail::{BoxFuture, Facilitator, Outcome, PaymentId};
use futures_util::FutureExt as _;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode};
use tokio::sync::oneshot;
use tower::Service;
use tracing::Instrument as _;

use crate::answer::{Answer, Content, Situation};
use crate::body;
use crate::desk::{Desk, Entry, Gone};
use crate::flow::{Action, HandlerAnswer, HandlerEnd, Held, Kept, Route, Seller};
use crate::paywall::Clock;
use crate::{Captured, RefusePaid, headers};

/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// Pauses between two attempts at a settlement whose outcome is unknown.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What all priced routes of one paywall share.
pub(crate) struct Shell {
    seller: Arc<Seller>,
    facilitator: Arc<dyn Facilitator>,
    desk: Mutex<Desk<Kept<Body>>>,
    clock: Clock,
}

impl Shell {
    pub(crate) fn new(
        seller: Arc<Seller>,
        facilitator: Arc<dyn Facilitator>,
        in_flight: usize,
        clock: Clock,
    ) -> Self {
        Self { seller, facilitator, desk: Mutex::new(Desk::new(in_flight)), clock }
    }

    pub(crate) fn seller(&self) -> &Arc<Seller> {
        &self.seller
    }

    fn now(&self) -> u64 {
        (self.clock)()
    }

    /// No step at the desk can panic half-way.
    fn desk(&self) -> MutexGuard<'_, Desk<Kept<Body>>> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
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
    let passed_on = matches!(answer.situation, Situation::Paid | Situation::HandlerFailed);
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
    let (action, seat) = enter(&shell, action);
    let (action, seat) = match (action, seat) {
        (Action::Answer(answer), _) => return answer,
        (_, None) => return Answer::lost(),
        (action, Some(seat)) => (action, seat),
    };

    parts.headers.remove(PAYMENT_SIGNATURE);
    parts.headers.remove(X_PAYMENT);
    let span = tracing::debug_span!("payment", id = %seat.id);
    let (reply, answer) = oneshot::channel();
    let task =
        Task { shell, seat, inner: Some((inner, Request::from_parts(parts, body))), reply: Some(reply) };
    tokio::spawn(task.drive(action).instrument(span));
    answer.await.unwrap_or_else(|_| Answer::lost())
}

/// Asks the desk.
fn enter(shell: &Arc<Shell>, action: Action<Body>) -> (Action<Body>, Option<Seat>) {
    let Action::Enter(entering) = action else { return (action, None) };
    let (id, now) = (entering.id(), shell.now());
    let entry = shell.desk().enter(id, entering.proof(), entering.until(), now);
    let attended = matches!(entry, Entry::Kept(_));
    let seat = matches!(entry, Entry::Fresh | Entry::Kept(_));
    let seat = seat.then(|| Seat { shell: shell.clone(), id, attended, taken: true });
    (entering.entered(entry, now), seat)
}

/// A payment's place at the desk, given up when this is dropped, even by a panic.
struct Seat {
    shell: Arc<Shell>,
    id: PaymentId,
    /// Somebody repeats what was kept for it.
    attended: bool,
    taken: bool,
}

impl Seat {
    /// Leaves something behind for whoever comes next.
    fn keep(mut self, kept: Kept<Body>) {
        self.taken = false;
        self.shell.desk().keep(self.id, kept);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.taken {
            self.shell.desk().leave(&self.id);
        }
    }
}

/// A paid request, which goes on when its client goes away.
struct Task<S> {
    shell: Arc<Shell>,
    seat: Seat,
    inner: Option<(S, Request<Body>)>,
    reply: Option<oneshot::Sender<Answer<Body>>>,
}

impl<S, R> Task<S>
where
    S: Service<Request<Body>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    async fn drive(mut self, mut action: Action<Body>) {
        let shell = self.shell.clone();
        loop {
            action = match action {
                Action::Settle(settling) => {
                    let outcome = shell.facilitator.settle(settling.request()).await;
                    tracing::debug!(?settling, outcome = name(&outcome), "settlement");
                    settling.outcome(outcome, shell.now())
                }
                Action::Run(held) => {
                    tracing::debug!("held");
                    let end = self.run(&held).await;
                    held.ended(end, shell.now())
                }
                Action::AnswerAndSettle { answer, settling, at_once: true } => {
                    self.reply(answer);
                    Action::Settle(settling)
                }
                Action::AnswerAndSettle { answer, settling, at_once: false } => {
                    let (id, attended) = (self.seat.id, self.seat.attended);
                    let reply = self.reply.take();
                    self.seat.keep(Kept::Settling(settling));
                    send(reply, answer);
                    if !attended {
                        repeat(&shell, id).await;
                    }
                    return;
                }
                Action::Answer(answer) => {
                    let reply = self.reply.take();
                    // First, so that a client that is quick to present it again finds nobody in its place.
                    drop(self.seat);
                    return send(reply, answer);
                }
                Action::Enter(entering) => entering.entered(Entry::Running, shell.now()),
            }
        }
    }

    fn reply(&mut self, answer: Answer<Body>) {
        send(self.reply.take(), answer);
    }

    /// Runs the handler, unless the client has gone before it starts.
    async fn run(&mut self, held: &Held) -> HandlerEnd<Body> {
        let Some((mut inner, mut request)) = self.inner.take() else {
            return HandlerEnd::Broke("the handler was run before".into());
        };
        if self.reply.as_ref().is_none_or(oneshot::Sender::is_closed) {
            return HandlerEnd::Disconnected;
        }
        let limit = self.shell.seller.limits.answer_bytes;
        let is_head = request.method() == Method::HEAD;
        request.extensions_mut().insert(held.paid_by());
        let handled = async move {
            let response = inner.call(request).await.map_err(Into::into)?;
            gather(response.map(Body::new), limit, is_head).await
        };
        let handled = AssertUnwindSafe(handled).catch_unwind();
        let handled = tokio::time::timeout(held.handler_deadline(self.shell.now()), handled);
        let ended = match (&mut self.reply, held.stops_on_disconnect()) {
            (Some(reply), true) => tokio::select! {
                biased;
                () = reply.closed() => return HandlerEnd::Disconnected,
                ended = handled => ended,
            },
            _ => handled.await,
        };
        match ended {
            Ok(Ok(Ok(answer))) => HandlerEnd::Answered(answer),
            Ok(Ok(Err(error))) => HandlerEnd::Broke(error.to_string()),
            Ok(Err(_panic)) => HandlerEnd::Broke("the handler panicked".into()),
            Err(_elapsed) => HandlerEnd::TimedOut,
        }
    }
}

fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Settled(_) => "settled",
        Outcome::NotSettled(_) => "not settled",
        Outcome::Unknown(_) => "unknown",
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
    } else {
        body::collect(body, limit).await?
    };
    let captured = parts.extensions.get::<Captured>().map(|captured| captured.0);
    let refused = parts.extensions.get::<RefusePaid>().map(|refused| refused.0.clone());
    Ok(HandlerAnswer { status: parts.status, headers: parts.headers, content, captured, refused })
}

/// Repeats a settlement whose outcome is unknown, until it is known or can no longer happen.
async fn repeat(shell: &Arc<Shell>, id: PaymentId) {
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
        let taken = shell.desk().take(&id, shell.now());
        let kept = match taken {
            Ok(kept) => kept,
            Err(Gone::ForNow) => continue,
            Err(Gone::ForGood) => return,
        };
        let seat = Seat { shell: shell.clone(), id, attended: true, taken: true };
        let settling = match kept {
            Kept::Settling(settling) => settling,
            answer @ Kept::Answer(_) => {
                seat.keep(answer);
                continue;
            }
        };
        let mut action = Action::Settle(settling);
        while let Action::Settle(settling) = action {
            let outcome = shell.facilitator.settle(settling.request()).await;
            action = settling.outcome(outcome, shell.now());
        }
        match action {
            Action::AnswerAndSettle { settling, .. } => seat.keep(Kept::Settling(settling)),
            Action::Answer(answer) if answer.only_copy => seat.keep(Kept::Answer(Box::new(answer))),
            _ => return,
        }
    }
}
