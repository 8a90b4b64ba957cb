//! The steps of one request, each by itself.

use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use axum::extract::OriginalUri;
use bytes::Bytes;
use farthing_protocol::digest::BodyHash;
use farthing_protocol::header::{PAYMENT_SIGNATURE, X_PAYMENT};
use http::header::ALLOW;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use tokio::sync::oneshot;
use tower::Service;
use tracing::Instrument as _;

use super::reader::{Reader, for_one_caller};
use super::{Ended, Halt, Sale};
use crate::answer::{Answer, Content, Refusal, Situation};
use crate::flow::{Action, Bound, Opened};
use crate::passes::Offered;
use crate::pricing::{Allowance, Wanted};
use crate::serving::{Process as _, Serving};
use crate::shell::Shell;
use crate::sold::Sold;
use crate::visiting::Visiting;
use crate::{body, headers, passes};

/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// Headers by which some servers take another method than the request's. No handler sees them: the price
/// goes by the method.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// What was received, which a nested router changes; payments are bound to it.
pub(super) fn received(parts: &Parts) -> &Uri {
    parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0)
}

/// Takes out what is for the paywall alone.
pub(super) fn strip(headers: &mut HeaderMap) {
    for name in [PAYMENT_SIGNATURE, X_PAYMENT].into_iter().chain(METHOD_OVERRIDES) {
        headers.remove(name);
    }
    passes::strip(headers);
}

/// What is said to a caller without free requests left.
pub(super) fn used_up(retry_after: u32) -> Refusal {
    let detail = format!(
        "the requests that are free for you are used up: pay now for this one, or come back in {retry_after} s"
    );
    Refusal::new(Situation::QuotaExceeded, detail).after(retry_after)
}

/// An answer of the seller's own, without money.
fn turned_away(response: Response<Body>) -> Box<Answer<Body>> {
    let (parts, body) = response.into_parts();
    let (situation, mut headers) = (Situation::TurnedAway, parts.headers);
    headers::of_handler(&mut headers, false);
    let (content, sold) = (Content::Long(body), Box::new(Sold::nothing(situation)));
    Box::new(Answer {
        situation,
        status: parts.status,
        headers,
        content,
        only_copy: false,
        is_problem: false,
        sold,
    })
}

impl Sale {
    /// A method that has no price, and is not free.
    pub(super) fn not_sold(&self, method: &Method) -> Answer<Body> {
        let refusal = Refusal::new(Situation::MethodNotSold, format!("{method} has no price here"));
        let mut answer = Answer::problem(&refusal, None, None);
        if let Ok(allowed) = HeaderValue::try_from(self.rules.allowed(&self.route)) {
            answer.headers.insert(ALLOW, allowed);
        }
        answer
    }

    /// Reads the payment headers.
    pub(super) fn open(&self, parts: &Parts) -> Result<Opened, Box<Answer<Body>>> {
        let target = received(parts).path_and_query().map_or("/", |target| target.as_str());
        self.route.open(&parts.method, target, &parts.headers)
    }

    /// Reads the body, where payments are bound to it; the handler gets the same bytes.
    pub(super) async fn bind(
        &self,
        opened: Opened,
        body: Body,
    ) -> Result<(Bound, Body, Bytes), Box<Answer<Body>>> {
        let now = self.shell.now();
        if !opened.binds_body() {
            return Ok((opened.bind(BodyHash::Unbound, now)?, body, Bytes::new()));
        }
        match body::spool(body, self.shell.seller().limits.bound_body_bytes, BODY_DEADLINE).await {
            Ok(bytes) => {
                let bound = opened.bind(BodyHash::of(&bytes), self.shell.now())?;
                Ok((bound, Body::from(bytes.clone()), bytes))
            }
            Err(fault) => Err(opened.body_failed(fault)),
        }
    }

    /// The request as the seller's own closures see it, when there are any.
    pub(super) fn wanted(&self, parts: &Parts, body: Bytes) -> Option<Wanted> {
        self.rules.asks_seller().then(|| Wanted {
            method: parts.method.clone(),
            uri: received(parts).clone(),
            headers: parts.headers.clone().into(),
            body,
        })
    }

    /// Asks the seller whether there is anything to be sold. Whoever has paid for it before still gets the
    /// stored answer, whatever became of the resource since.
    pub(super) async fn check(
        &self,
        wanted: Option<&Wanted>,
        bound: &Bound,
    ) -> Result<(), Box<Answer<Body>>> {
        let (Some(check), Some(wanted)) = (&self.rules.check, wanted) else { return Ok(()) };
        let Err(response) = check(wanted.clone()).await else { return Ok(()) };
        let payment = bound.payment().map(|(_, presented)| presented.id);
        match payment {
            Some(payment) if self.shell.may_have_taken(&payment).await => Ok(()),
            _ => Err(turned_away(response)),
        }
    }

    /// Whether the request is free for this caller. One that brings a payment uses nothing up.
    pub(super) fn allowance(&self, parts: &Parts, is_paying: bool) -> Allowance {
        match &self.rules.quota {
            Some(quota) if !is_paying => quota.take(parts, self.shell.now()),
            _ => Allowance::None,
        }
    }

    /// Says what the request costs: what it was promised in a quote; else what the seller says now, or what is
    /// listed besides.
    pub(super) async fn price(
        &self,
        bound: Bound,
        wanted: Option<Wanted>,
    ) -> Result<Action<Body>, Box<Answer<Body>>> {
        let prices = &self.route.prices;
        let wanted = wanted.filter(|wanted| !prices.has_own(&wanted.method));
        let (Some(quote), Some(wanted)) = (&self.rules.quote, wanted) else {
            return Ok(bound.at_list_price(self.shell.now()));
        };
        if let Some(price) = bound.quoted() {
            return Ok(bound.at([price], self.shell.now()));
        }
        let listed = prices.of_method(&wanted.method);
        let price = quote(wanted).await.map_err(turned_away)?;
        let prices: Vec<_> = std::iter::once(price).chain(listed.iter().cloned()).collect();
        Ok(bound.at(prices, self.shell.now()))
    }
}

/// The answer to a browser that asks what it may send. Every `OPTIONS` is answered here and free, so that a
/// handler for all methods gives nothing away.
pub(super) fn preflight(asked: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = headers::preflight(asked);
    response
}

/// Lets a request through for nothing.
pub(super) async fn free<S, R>(
    mut inner: S,
    mut parts: Parts,
    body: Body,
    situation: Situation,
) -> Result<Ended, Halt<S::Error>>
where
    S: Service<Request<Body>, Response = Response<R>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    strip(&mut parts.headers);
    let response = inner.call(Request::from_parts(parts, body)).await.map_err(Halt::Inner)?;
    let mut response = response.map(Body::new);
    if situation != Situation::Free {
        for_one_caller(&mut response);
    }
    Ok(Ended::Passed(response, situation))
}

/// Serves a paid request, in a task that goes on when its client goes away.
pub(super) async fn serve<S, R>(
    shell: Arc<Shell>,
    serving: Serving<Shell>,
    inner: S,
    request: Request<Body>,
    (reader, offered): (&Reader, Option<&Offered>),
) -> Answer<Body>
where
    S: Service<Request<Body>, Response = Response<R>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let (route, id) = (&reader.label, serving.id());
    let span = tracing::debug_span!("payment", %route, %id, situation = tracing::field::Empty);
    let (reply, answer) = oneshot::channel();
    let (label, inner, reply) = (reader.label.clone(), Some((inner, request)), Some(reply));
    let (stopwatch, offered) = (reader.stopwatch.clone(), offered.cloned());
    let visit = Visiting { shell, label, stopwatch, inner, reply, offered, flows: false };
    tokio::spawn(serving.serve(visit).instrument(span));
    answer.await.unwrap_or_else(|_| Answer::lost())
}
