//! The upstream as a service: a request goes out as it came, and the answer comes back as it is sent.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use farthing_protocol::Origin;
use farthing_protocol::rail::BoxFuture;
use http::header::TRANSFER_ENCODING;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body::{Frame, SizeHint};
use http_body_util::LengthLimitError;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use thiserror::Error;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use tower::Service;

use super::carried::{self, Customer, Forwarding};
use super::refused::{Refused, refused};
use crate::{PaidBy, PassHolder};

/// How long a connection is kept for the next request. Shorter than what servers keep theirs for.
const IDLE: Duration = Duration::from_secs(4);
/// How often a silent connection is probed.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Who is trusted to be an `https` upstream.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// Whom this machine trusts.
    #[default]
    Platform,
    /// These alone.
    Roots(Arc<RootCertStore>),
}

/// How the upstream is reached.
#[derive(Clone, Debug)]
pub struct UpstreamOptions {
    /// Until a connection is there.
    pub connect: Duration,
    /// Until the head of the answer is there.
    pub answer: Duration,
    /// Who is trusted.
    pub trust: Trust,
}

impl Default for UpstreamOptions {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), answer: Duration::from_secs(60), trust: Trust::default() }
    }
}

/// An upstream that cannot be set up.
#[derive(Debug, Error)]
pub enum UpstreamError {
    /// There is nobody to trust, or no cryptography.
    #[error("TLS to the upstream: {0}")]
    Tls(#[from] rustls::Error),
    /// The origin is none.
    #[error("the upstream is not an origin: {0}")]
    Origin(#[from] http::Error),
}

/// One upstream, as a tower service. It answers what the upstream answers; 502 when that cannot be reached, and 504 when
/// it takes too long. Redirects are answers like others.
#[derive(Clone, Debug)]
pub struct Upstream {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    scheme: Scheme,
    authority: Authority,
    forwarding: Arc<Forwarding>,
    answer: Duration,
}

impl Upstream {
    /// The upstream at `upstream`, for a gateway that clients reach at `origin`.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub fn new(upstream: Origin, origin: Origin, options: &UpstreamOptions) -> Result<Self, UpstreamError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(options.connect));
        tcp.set_keepalive(Some(KEEPALIVE));
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls(&upstream, &options.trust)?);
        let connector = tls.https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        let scheme = if upstream.is_https() { Scheme::HTTPS } else { Scheme::HTTP };
        let authority: Authority = carried::authority(&upstream).parse().map_err(http::Error::from)?;
        let forwarding = Arc::new(Forwarding { origin, upstream });
        Ok(Self { client, scheme, authority, forwarding, answer: options.answer })
    }

    /// Asks for nothing, to see whether somebody answers.
    ///
    /// # Errors
    /// Why nobody does.
    pub async fn probe(&self) -> Result<StatusCode, String> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = http::Method::HEAD;
        let uri = self.uri(PathAndQuery::from_static("/")).map_err(|error| error.to_string())?;
        *request.uri_mut() = uri;
        match tokio::time::timeout(self.answer, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response.status()),
            Ok(Err(error)) => Err(causes(&error)),
            Err(_) => Err("it does not answer in time".to_owned()),
        }
    }

    fn uri(&self, target: PathAndQuery) -> Result<Uri, http::Error> {
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        uri.path_and_query(target).build()
    }

    async fn ask(self, request: Request<Body>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let Ok(uri) = self.uri(target) else {
            return refused(Refused::new(
                StatusCode::BAD_REQUEST,
                "bad-target",
                "The target cannot be forwarded",
            ));
        };
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        let (pays, paid) = (parts.extensions.get::<PaidBy>(), parts.extensions.get::<PassHolder>());
        let customer = pays.map(Customer::Pays).or(paid.map(Customer::Paid)).unwrap_or(Customer::Nobody);
        let sized = http_body::Body::size_hint(&body).exact().is_some();
        self.forwarding.request(&mut parts.headers, peer, customer, sized);
        if !sized {
            // Said here, because a GET with a body of unknown length would lose it otherwise.
            parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let mut outgoing = Request::new(body);
        *outgoing.method_mut() = parts.method;
        *outgoing.uri_mut() = uri;
        *outgoing.version_mut() = Version::HTTP_11;
        *outgoing.headers_mut() = parts.headers;
        let answered = tokio::time::timeout(self.answer, self.client.request(outgoing)).await;
        let response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return unreachable(&error),
            Err(_) => {
                let title = "The upstream did not answer in time";
                return refused(Refused::new(StatusCode::GATEWAY_TIMEOUT, "upstream-timeout", title).again());
            }
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let title = "The upstream changed the protocol unasked";
            return refused(Refused::new(StatusCode::BAD_GATEWAY, "upstream-failed", title));
        }
        let coded = response.headers().contains_key(TRANSFER_ENCODING);
        if coded && !carried::is_only_chunked(response.headers()) {
            let title = "The upstream codes its answer in a way that was not asked for";
            return refused(Refused::new(StatusCode::BAD_GATEWAY, "upstream-failed", title));
        }
        let (mut parts, body) = response.into_parts();
        self.forwarding.response(&mut parts.headers);
        let mut answer = Response::new(Body::new(Passing { body }));
        *answer.status_mut() = parts.status;
        *answer.headers_mut() = parts.headers;
        answer
    }
}

/// Platform roots are only looked for when they are needed: a machine without any can have an `http` upstream.
fn tls(upstream: &Origin, trust: &Trust) -> Result<ClientConfig, rustls::Error> {
    use hyper_rustls::ConfigBuilderExt as _;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(match trust {
        Trust::Platform if upstream.is_https() => builder.try_with_platform_verifier()?.with_no_client_auth(),
        Trust::Platform => builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
        Trust::Roots(roots) => builder.with_root_certificates(roots.clone()).with_no_client_auth(),
    })
}

/// Nobody answered, or not to the end of the head.
fn unreachable(error: &hyper_util::client::legacy::Error) -> Response<Body> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            let title = "The body is larger than this server forwards";
            return refused(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", title));
        }
        cause = error.source();
    }
    // Where it is and why it failed is the operator's business.
    tracing::warn!(error = causes(error), "upstream");
    let title = match error.is_connect() {
        true => "The upstream cannot be reached",
        false => "The upstream did not answer",
    };
    refused(Refused::new(StatusCode::BAD_GATEWAY, "upstream-failed", title).again())
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

impl Service<Request<Body>> for Upstream {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let upstream = self.clone();
        Box::pin(async move { Ok(upstream.ask(request).await) })
    }
}

/// The upstream's body as it comes, with trailers that say nothing of payments.
struct Passing<B> {
    body: B,
}

impl<B> http_body::Body for Passing<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        polled.map(|frame| {
            Some(frame?.map(|frame| match frame.into_trailers() {
                Ok(mut headers) => {
                    carried::trailers(&mut headers);
                    Frame::trailers(headers)
                }
                Err(data) => data,
            }))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
