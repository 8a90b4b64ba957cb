//! An upstream that remembers every request it got.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Hit {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

type Answer = Arc<dyn Fn(&Hit) -> Response<Body> + Send + Sync>;

/// A server on a free port; stopped when dropped.
pub(crate) struct Upstream {
    pub(crate) origin: String,
    hits: Arc<Mutex<Vec<Hit>>>,
    task: JoinHandle<()>,
}

impl Upstream {
    /// Answers every request with what `answer` makes of it.
    pub(crate) async fn start(answer: impl Fn(&Hit) -> Response<Body> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let hits = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(accept(listener, hits.clone(), Arc::new(answer)));
        Self { origin, hits, task }
    }

    /// The requests so far.
    pub(crate) fn hits(&self) -> Vec<Hit> {
        self.hits.lock().unwrap().clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, hits: Arc<Mutex<Vec<Hit>>>, answer: Answer) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (hits, answer) = (hits.clone(), answer.clone());
        tokio::spawn(async move {
            let serve = service_fn(move |request: Request<Incoming>| {
                let (hits, answer) = (hits.clone(), answer.clone());
                async move {
                    let (parts, body) = request.into_parts();
                    let Ok(body) = body.collect().await else { return Ok(Response::new(Body::empty())) };
                    let hit = Hit {
                        method: parts.method.to_string(),
                        target: parts.uri.to_string(),
                        headers: parts.headers,
                        trailers: body.trailers().cloned(),
                        body: body.to_bytes(),
                    };
                    hits.lock().unwrap().push(hit.clone());
                    Ok::<_, Infallible>(answer(&hit))
                }
            });
            // A client that hangs up is no failure of the test.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
        });
    }
}

/// `200` with this text.
pub(crate) fn text(text: &'static str) -> Response<Body> {
    Response::new(Body::from(text))
}

/// This status with this text.
pub(crate) fn status(status: u16, text: &'static str) -> Response<Body> {
    Response::builder().status(status).body(Body::from(text)).unwrap()
}
