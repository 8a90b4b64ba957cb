//! What became of each request, told once its answer is over.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};

use crate::Sold;

/// One request, after its answer.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its method.
    pub method: Method,
    /// Its path as it came, without the query.
    pub path: String,
    /// Who connected.
    pub peer: Option<SocketAddr>,
    /// The status of the answer; 499 when the client did not wait for it.
    pub status: StatusCode,
    /// What became of its payment, on a priced route.
    pub sold: Option<Sold>,
    /// From the request's head to the end of the answer.
    pub took: Duration,
    /// Whether the answer was sent to its end.
    pub whole: bool,
}

/// Who is told of each request.
pub(super) type Observer = Arc<dyn Fn(&Served) + Send + Sync>;

/// A request that has no answer yet. One that is given up before is told of, too.
pub(super) struct Visit {
    observer: Option<Observer>,
    began: Instant,
    served: Served,
}

impl Visit {
    pub(super) fn of(request: &Request<Body>, observer: Option<Observer>) -> Self {
        let served = Served {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            peer: request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0),
            status: gone(),
            sold: None,
            took: Duration::ZERO,
            whole: false,
        };
        Self { observer, began: Instant::now(), served }
    }

    /// The answer, which tells the observer when it is over.
    pub(super) fn watch(mut self, response: Response<Body>) -> Response<Body> {
        let Some(observer) = self.observer.take() else { return response };
        let mut served = self.served.clone();
        served.sold = response.extensions().get::<Sold>().cloned();
        served.status = response.status();
        served.whole = served.method == Method::HEAD
            || matches!(served.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let told = Told { observer, began: self.began, served };
        response.map(|body| Body::new(Watched { body, told }))
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(observer) = self.observer.take() {
            self.served.took = self.began.elapsed();
            observer(&self.served);
        }
    }
}

/// Of a request whose client did not wait for the answer. It is never sent.
fn gone() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT)
}

struct Told {
    observer: Observer,
    began: Instant,
    served: Served,
}

/// A body that tells when it is over: sent to its end, or given up.
struct Watched {
    body: Body,
    told: Told,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        // Nobody asks for more behind trailers.
        let is_end = match &polled {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
            _ => false,
        };
        self.told.served.whole |= is_end;
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let Self { body, told } = self;
        told.served.whole |= http_body::Body::is_end_stream(body);
        told.served.took = told.began.elapsed();
        (told.observer)(&told.served);
    }
}
