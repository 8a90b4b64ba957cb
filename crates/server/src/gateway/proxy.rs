//! The proxy: refuses what is unclear, finds the route, and lets the paywall decide.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use farthing_protocol::rail::BoxFuture;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Limited;
use tower::{Layer as _, Service, ServiceExt as _};

use super::carried;
use super::path::ClearPath;
use super::refused::{Refused, refused};
use super::routes::{Found, Methods, RouteError, Routes, is_reserved};
use super::served::{Observer, Served, Visit};
use super::upstream::Upstream;
use crate::{PriceLayer, Priced};

/// What a route does with a request.
#[derive(Debug)]
pub enum Entrance {
    /// Forwards it, with a body of at most so many bytes.
    Free {
        /// Bytes of the body.
        body_bytes: usize,
    },
    /// Charges for it.
    Priced {
        /// The price.
        layer: Box<PriceLayer>,
        /// Bytes of a body that the payment is not bound to; `None` where it is, and the paywall reads it.
        body_bytes: Option<usize>,
    },
}

/// A reverse proxy that charges, as a tower service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
}

/// A proxy in the making; see [`Proxy::builder`].
#[must_use = "a proxy is made by `build`"]
pub struct ProxyBuilder {
    upstream: Upstream,
    routes: Routes<Door>,
    inside: Option<Router>,
    observer: Option<Observer>,
}

struct Shared {
    routes: Routes<Door>,
    inside: Option<Router>,
    observer: Option<Observer>,
}

/// What is behind a route. Cloned for each request.
#[derive(Clone)]
enum Door {
    Free(Box<Upstream>, usize),
    Priced(Box<Priced<Upstream>>, Option<usize>),
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl fmt::Debug for ProxyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyBuilder").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Begins a proxy in front of `upstream`. Without routes it answers everything with 404.
    pub fn builder(upstream: Upstream) -> ProxyBuilder {
        ProxyBuilder { upstream, routes: Routes::default(), inside: None, observer: None }
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let path = match admit(&request) {
            Ok(path) => path,
            Err(why) => {
                // Whoever sends this may mean something else by what follows on the same connection.
                let mut answer = refused(why);
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                return answer;
            }
        };
        if is_reserved(&path) {
            return match self.shared.inside.clone() {
                Some(inside) => inside.oneshot(request).await.unwrap_or_else(|never| match never {}),
                None => refused(nothing()),
            };
        }
        let door = match self.shared.routes.find(&path, request.method()) {
            Found::Route(door) => door,
            Found::Nothing => return refused(nothing()),
            Found::Ambiguous => {
                let detail = "write the path as its route has it: with the same case, and the same end";
                return refused(unclear().detail(detail));
            }
            // What a browser asks before it asks is answered by the paywall, for free.
            Found::OtherMethods(others) => match others.iter().find(|(_, door)| door.is_priced()) {
                Some((_, door)) if request.method() == Method::OPTIONS => door,
                _ => return refused(wrong_method(&others)),
            },
        };
        door.clone().enter(request).await
    }
}

impl ProxyBuilder {
    /// Adds a route; see [`Routes::insert`].
    ///
    /// # Errors
    /// [`RouteError`].
    pub fn route(mut self, pattern: &str, methods: Methods, entrance: Entrance) -> Result<Self, RouteError> {
        let upstream = self.upstream.clone();
        let door = match entrance {
            Entrance::Free { body_bytes } => Door::Free(Box::new(upstream), body_bytes),
            Entrance::Priced { layer, body_bytes } => {
                Door::Priced(Box::new(layer.layer(upstream)), body_bytes)
            }
        };
        self.routes.insert(pattern, methods, door)?;
        Ok(self)
    }

    /// What answers below [`RESERVED`](super::RESERVED).
    pub fn inside(self, router: Router) -> Self {
        Self { inside: Some(router.fallback(async || refused(nothing()))), ..self }
    }

    /// Who is told of each request, when its answer is over. It must not block.
    pub fn observer(self, observer: impl Fn(&Served) + Send + Sync + 'static) -> Self {
        Self { observer: Some(Arc::new(observer)), ..self }
    }

    /// The proxy.
    #[must_use]
    pub fn build(self) -> Proxy {
        let Self { upstream: _, routes, inside, observer } = self;
        Proxy { shared: Arc::new(Shared { routes, inside, observer }) }
    }
}

impl Door {
    fn is_priced(&self) -> bool {
        matches!(self, Self::Priced(..))
    }

    async fn enter(self, request: Request<Body>) -> Response<Body> {
        let limit = match &self {
            Self::Free(_, limit) => Some(*limit),
            Self::Priced(_, limit) => *limit,
        };
        let request = match limit {
            None => request,
            Some(limit) => match limited(request, limit) {
                Ok(request) => request,
                Err(why) => return refused(why),
            },
        };
        let answered = match self {
            Self::Free(upstream, _) => upstream.oneshot(request).await,
            Self::Priced(priced, _) => priced.oneshot(request).await,
        };
        answered.unwrap_or_else(|never| match never {})
    }
}

/// What is refused before any route is looked at.
fn admit(request: &Request<Body>) -> Result<ClearPath, Refused> {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    if matches!(*method, Method::TRACE | Method::CONNECT) {
        let title = "This method is not forwarded";
        return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", title));
    }
    if uri.scheme().is_some() || uri.authority().is_some() {
        return Err(unclear().detail("the target must be a path, not a URL"));
    }
    let hosts = headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        let title = "Exactly one Host header is needed";
        return Err(Refused::new(StatusCode::BAD_REQUEST, "bad-host", title));
    }
    let coded = headers.contains_key(TRANSFER_ENCODING);
    if coded && (headers.contains_key(CONTENT_LENGTH) || !carried::is_only_chunked(headers)) {
        let title = "The body's length is said in more than one way";
        return Err(Refused::new(StatusCode::BAD_REQUEST, "bad-framing", title));
    }
    if headers.get_all(EXPECT).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        let title = "Only 100-continue can be expected";
        return Err(Refused::new(StatusCode::EXPECTATION_FAILED, "expectation-failed", title));
    }
    if carried::asks_for_upgrade(headers) {
        let title = "Other protocols are not forwarded";
        return Err(Refused::new(StatusCode::NOT_IMPLEMENTED, "no-upgrade", title));
    }
    ClearPath::read(uri.path()).map_err(|why| unclear().detail(why.to_string()))
}

fn unclear() -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, "unclear-path", "The path can be read in more than one way")
}

fn nothing() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "not-found", "Nothing is served here")
}

fn wrong_method(others: &[(&Methods, &Door)]) -> Refused {
    let mut allow: Vec<&str> = Vec::new();
    for (methods, _) in others {
        if let Methods::Some(methods) = methods {
            allow.extend(methods.iter().map(Method::as_str));
            allow.extend(methods.contains(&Method::GET).then_some("HEAD"));
        }
    }
    let title = "Nothing is served here for this method";
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", title).allow(allow.join(", "))
}

/// The request with a body that ends with an error above `limit` bytes.
fn limited(request: Request<Body>, limit: usize) -> Result<Request<Body>, Refused> {
    let announced =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > limit as u64) {
        let title = "The body is larger than this server forwards";
        let detail = format!("at most {limit} bytes are forwarded");
        return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", title).detail(detail));
    }
    Ok(request.map(|body| Body::new(Limited::new(body, limit))))
}

impl Service<Request<Body>> for Proxy {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let proxy = self.clone();
        Box::pin(async move {
            let visit = Visit::of(&request, proxy.shared.observer.clone());
            Ok(visit.watch(proxy.answer(request).await))
        })
    }
}
