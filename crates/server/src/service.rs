//! The tower service: one request through all steps, from its headers to its answer.
//!
//! The order is the point of this file. What is free is decided before anything is read; what cannot be sold
//! is refused before money is asked for; and nothing of the handler's leaves without the [flow](crate::flow).

use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use farthing_protocol::rail::BoxFuture;
use http::request::Parts;
use http::{Request, Response};
use tower::Service;
use tracing::field::{self, Empty};
use tracing::{Instrument as _, Span, debug_span};

use self::admitting::{Entrance, admit};
use self::reader::Reader;
use self::steps::{free, preflight, received, serve, strip, used_up};
use crate::answer::{Answer, Situation};
use crate::flow::Route;
use crate::passes::{self, Offered};
use crate::pricing::{Allowance, Gate, Rules};
use crate::serving::Serving;
use crate::shell::Shell;

mod admitting;
mod reader;
mod steps;

/// A service behind a price.
#[derive(Clone, Debug)]
pub struct Priced<S> {
    sale: Sale,
    inner: S,
}

/// What is sold, and how.
#[derive(Clone, Debug)]
struct Sale {
    shell: Arc<Shell>,
    route: Arc<Route>,
    rules: Arc<Rules>,
}

impl<S> Priced<S> {
    pub(crate) fn new(shell: Arc<Shell>, route: Arc<Route>, rules: Arc<Rules>, inner: S) -> Self {
        Self { sale: Sale { shell, route, rules }, inner }
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
        Box::pin(answer(self.sale.clone(), inner, request.map(Body::new)))
    }
}

/// How a request ended.
enum Ended {
    /// With an answer of the paywall's own, without money.
    Refused(Box<Answer<Body>>),
    /// With the answer to a payment.
    Served(Box<Answer<Body>>),
    /// With a response that is passed on, for nothing.
    Passed(Response<Body>, Situation),
}

/// Why a request goes no further.
enum Halt<E> {
    Answer(Box<Answer<Body>>),
    /// The handler's service failed while it served for nothing.
    Inner(E),
}

impl<E> From<Box<Answer<Body>>> for Halt<E> {
    fn from(answer: Box<Answer<Body>>) -> Self {
        Self::Answer(answer)
    }
}

async fn answer<S, R>(sale: Sale, inner: S, request: Request<Body>) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<R>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let (parts, body) = request.into_parts();
    let reader = Reader::of(&sale, &parts);
    let span = tracing::debug_span!("request", route = %reader.label, payment = Empty, situation = Empty);
    let has_pass = sale.route.pass.is_some();
    let gate = sale.rules.gate(&sale.route, &parts.method, received(&parts).path());
    let ended = match gate {
        Gate::Preflight => Ok(Ended::Passed(preflight(&parts.headers), Situation::Free)),
        Gate::Free => free(inner, parts, body, Situation::Free).instrument(span.clone()).await,
        Gate::NotSold => Ok(Ended::Refused(Box::new(sale.not_sold(&parts.method)))),
        Gate::Priced => {
            let offered = sale.offered(&parts);
            let what = (&reader, offered.as_ref());
            charge(sale, inner, parts, body, what).instrument(span.clone()).await
        }
    };
    let _entered = span.enter();
    let mut response = match ended {
        Ok(ended) => reader.respond(ended),
        Err(Halt::Answer(answer)) => reader.respond(Ended::Refused(answer)),
        Err(Halt::Inner(error)) => return Err(error),
    };
    if has_pass {
        passes::vary(response.headers_mut());
    }
    Ok(response)
}

/// One request that has a price.
async fn charge<S, R>(
    sale: Sale,
    inner: S,
    mut parts: Parts,
    body: Body,
    (reader, offered): (&Reader, Option<&Offered>),
) -> Result<Ended, Halt<S::Error>>
where
    S: Service<Request<Body>, Response = Response<R>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let turned_back = match sale.entrance(offered, &parts).instrument(debug_span!("pass")).await? {
        Entrance::Closed(why) => why,
        Entrance::Open(offered, admitted) => {
            return admit(inner, parts, body, (offered, admitted, sale.now())).await;
        }
    };

    let opened = debug_span!("read").in_scope(|| sale.open(&parts))?;
    strip(&mut parts.headers);
    let is_paying = opened.brings_payment();
    let (bound, body, bytes) = sale.bind(opened, body).await?;
    let bound = bound.called(&reader.label);

    let wanted = sale.wanted(&parts, bytes);
    sale.check(wanted.as_ref(), &bound).instrument(debug_span!("check")).await?;
    let bound = match turned_back {
        Some(why) => bound.unless_paid(why),
        None => bound,
    };
    let bound = match sale.allowance(&parts, is_paying) {
        Allowance::Left => return free(inner, parts, body, Situation::WithinQuota).await,
        Allowance::UsedUp { retry_after } => bound.unless_paid(used_up(retry_after)),
        Allowance::None => bound,
    };
    let action = sale.price(bound, wanted).instrument(debug_span!("price")).await?;
    let (action, name) = sale.shell.identify(sale.rules.identifier, action).await?;

    let serving = match Serving::enter(&sale.shell, action) {
        Ok(serving) => serving,
        Err(answer) => {
            sale.shell.identified(name, &answer).await;
            return Err(sale.deliver(offered, answer).await.into());
        }
    };
    Span::current().record("payment", field::display(serving.id()));
    let request = Request::from_parts(parts, body);
    let answer = serve(sale.shell.clone(), serving, inner, request, (reader, offered)).await;
    sale.shell.identified(name, &answer).await;
    Ok(Ended::Served(Box::new(answer)))
}
