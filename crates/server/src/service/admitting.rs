//! The steps for what was bought for a period: who is let in without a payment, and who is given a pass.

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use farthing_protocol::header::{PAYMENT_SIGNATURE, X_PAYMENT};
use http::request::Parts;
use http::{Request, Response};
use tower::Service;

use super::steps::{free, received};
use super::{Ended, Halt, Sale};
use crate::answer::{Answer, Refusal, Situation};
use crate::passes::{Admission, Admitted, Offered};
use crate::serving::Process as _;

/// Whether a request needs a payment.
pub(super) enum Entrance<'a> {
    /// It was paid for before.
    Open(&'a Offered, Box<Admitted>),
    /// It does; why what it brought instead is not enough.
    Closed(Option<Refusal>),
}

impl Sale {
    /// Unix seconds.
    pub(super) fn now(&self) -> u64 {
        self.shell.now()
    }

    /// What a payment for this request buys for a period.
    pub(super) fn offered(&self, parts: &Parts) -> Option<Offered> {
        let target = received(parts).path_and_query().map_or("/", |target| target.as_str());
        self.route.pass.as_ref().map(|pass| pass.offered(&parts.method, target))
    }

    /// Looks for a pass. A request that brings a payment is paid with it, which renews the pass.
    pub(super) async fn entrance<'a>(
        &self,
        offered: Option<&'a Offered>,
        parts: &Parts,
    ) -> Result<Entrance<'a>, Box<Answer<Body>>> {
        let is_paying = [PAYMENT_SIGNATURE, X_PAYMENT].iter().any(|name| parts.headers.contains_key(*name));
        let Some(offered) = offered.filter(|_| !is_paying) else { return Ok(Entrance::Closed(None)) };
        match offered.admit(&parts.headers, self.shell.now()).await {
            Ok(Admission::In(admitted)) => Ok(Entrance::Open(offered, Box::new(admitted))),
            Ok(Admission::Out(why)) => Ok(Entrance::Closed(why)),
            Err(refusal) => Err(Box::new(Answer::problem(&refusal, None, None))),
        }
    }

    /// Gives an answer its pass that the desk had kept: it was paid while nobody waited for it.
    pub(super) async fn deliver(
        &self,
        offered: Option<&Offered>,
        answer: Box<Answer<Body>>,
    ) -> Box<Answer<Body>> {
        match offered {
            Some(offered) if answer.situation == Situation::Paid => {
                Box::new(offered.deliver(*answer, self.shell.now()).await)
            }
            _ => answer,
        }
    }
}

/// Lets a request through that was paid for before.
pub(super) async fn admit<S, R>(
    inner: S,
    mut parts: Parts,
    body: Body,
    (offered, admitted, now): (&Offered, Box<Admitted>, u64),
) -> Result<Ended, Halt<S::Error>>
where
    S: Service<Request<Body>, Response = Response<R>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    parts.extensions.insert(admitted.holder.clone());
    let mut ended = free(inner, parts, body, Situation::Admitted).await?;
    if let Ended::Passed(response, _) = &mut ended {
        response.extensions_mut().insert(admitted.holder.clone());
        offered.see_off(*admitted, response.headers_mut(), now);
    }
    Ok(ended)
}
