//! Paying in reqwest's own types, for programs that speak them already.

use std::fmt;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use reqwest::{IntoUrl, ResponseBuilderExt as _};
use thiserror::Error;
use url::Url;

use crate::client::Client;
use crate::error::ClientError;
use crate::flow::{End, Flow};
use crate::http::Incoming;
use crate::quote::Quote;
use crate::request::Request;
use crate::terms::asks_for_payment;

/// A [`Client`] that takes requests and gives answers of reqwest's types. The
/// [`PaymentReport`](crate::PaymentReport) of an answer that was paid for is in its extensions.
///
/// ```
/// use farthing_client::{Client, PayingClient, PaymentReport};
///
/// async fn weather(client: Client) -> Result<(), Box<dyn std::error::Error>> {
///     let paying = PayingClient::new(client);
///     let answer = paying.get("http://127.0.0.1:4021/weather").send().await?;
///     if let Some(payment) = answer.extensions().get::<PaymentReport>() {
///         println!("paid {}", payment.cost());
///     }
///     println!("{}", answer.text().await?);
///     Ok(())
/// }
/// ```
///
/// A request whose body is a stream is sent once. If its answer is a 402 that could be paid, that is
/// [`PayingError::NotReplayable`], and nothing is signed. A 402 that cannot be paid is an answer like any
/// other: a [`NotPayable`](crate::NotPayable) in its extensions says why, with code, message and documentation
/// of the server. Timeouts are the client's; a request's own is not looked at.
#[derive(Clone, Debug)]
pub struct PayingClient {
    client: Client,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum PayingError {
    /// As with the [`Client`] itself.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server asks for payment, and the body is a stream that is gone by now. Nothing was signed.
    #[error(
        "the server asks for payment, and the request's body is a stream that cannot be sent a second time: \
         nothing was signed. To go on: give the body as bytes or text, read into memory before it is sent"
    )]
    NotReplayable(Box<Quote>),
    /// The request is none. Nothing was sent.
    #[error(transparent)]
    Build(reqwest::Error),
}

impl PayingClient {
    /// Pays as `client` does, with its budgets and its journal.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Who pays.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A GET request.
    pub fn get(&self, url: impl IntoUrl) -> PayingRequest {
        self.request(Method::GET, url)
    }

    /// A HEAD request.
    pub fn head(&self, url: impl IntoUrl) -> PayingRequest {
        self.request(Method::HEAD, url)
    }

    /// A POST request.
    pub fn post(&self, url: impl IntoUrl) -> PayingRequest {
        self.request(Method::POST, url)
    }

    /// A PUT request.
    pub fn put(&self, url: impl IntoUrl) -> PayingRequest {
        self.request(Method::PUT, url)
    }

    /// A PATCH request.
    pub fn patch(&self, url: impl IntoUrl) -> PayingRequest {
        self.request(Method::PATCH, url)
    }

    /// A DELETE request.
    pub fn delete(&self, url: impl IntoUrl) -> PayingRequest {
        self.request(Method::DELETE, url)
    }

    /// A request; [`send`](PayingRequest::send) it.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> PayingRequest {
        let request = self.client.http().connections().request(method, url);
        PayingRequest { client: self.clone(), request }
    }

    /// Sends a request, and pays for the answer if the budgets allow.
    ///
    /// # Errors
    /// [`PayingError`].
    pub async fn execute(&self, request: reqwest::Request) -> Result<reqwest::Response, PayingError> {
        if is_stream(&request) {
            let http = self.client.http();
            let asked = without_body(&request)?;
            let answer = http.send_once(request).await.map_err(|why| ClientError::Network { why })?;
            if asks_for_payment(answer.status) {
                return self.client.not_replayable(asked, answer).await;
            }
            return Ok(response(answer, asked.url())?);
        }
        let mut flow = Flow::pay(self.client.policy(), replayable(&request)?);
        let (end, last) = self.client.drive(&mut flow, None).await;
        Ok(answered(end, last, &flow)?)
    }
}

/// A request that is being put together. What is wrong with it comes out when it is sent.
#[must_use = "nothing is sent before `send`"]
pub struct PayingRequest {
    client: PayingClient,
    request: reqwest::RequestBuilder,
}

impl PayingRequest {
    /// Adds a header.
    pub fn header(self, name: HeaderName, value: HeaderValue) -> Self {
        self.with(|request| request.header(name, value))
    }

    /// Sets headers.
    pub fn headers(self, headers: HeaderMap) -> Self {
        self.with(|request| request.headers(headers))
    }

    /// Sets the body.
    pub fn body(self, body: impl Into<reqwest::Body>) -> Self {
        self.with(|request| request.body(body))
    }

    /// Whatever else reqwest's builder can do, such as `with(|request| request.json(&order))`.
    pub fn with(self, change: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder) -> Self {
        Self { request: change(self.request), ..self }
    }

    /// Sends the request, and pays for the answer if the budgets allow.
    ///
    /// # Errors
    /// [`PayingError`].
    pub async fn send(self) -> Result<reqwest::Response, PayingError> {
        let request = self.request.build().map_err(PayingError::Build)?;
        self.client.execute(request).await
    }
}

impl fmt::Debug for PayingRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayingRequest").finish_non_exhaustive()
    }
}

impl Client {
    /// What a 402 to a request means whose body is gone: what it would have cost, or a foreign 402, which is
    /// an answer.
    pub(crate) async fn not_replayable(
        &self,
        asked: Request,
        answer: Incoming,
    ) -> Result<reqwest::Response, PayingError> {
        let mut flow = Flow::quote(self.policy(), asked);
        match self.drive(&mut flow, Some(answer)).await {
            (Ok(End::Quoted(quote)), _) => Err(PayingError::NotReplayable(Box::new(quote))),
            (end, last) => Ok(answered(end, last, &flow)?),
        }
    }
}

/// Whether a request can be sent only once.
pub(crate) fn is_stream(request: &reqwest::Request) -> bool {
    request.body().is_some_and(|body| body.as_bytes().is_none())
}

/// A request of reqwest's as one that can be paid for.
///
/// # Errors
/// [`ClientError::Request`], for a stream too.
pub(crate) fn replayable(request: &reqwest::Request) -> Result<Request, ClientError> {
    let body = match request.body() {
        None => Bytes::new(),
        Some(body) => {
            let why = || ClientError::Request { why: "its body is a stream".into() };
            Bytes::copy_from_slice(body.as_bytes().ok_or_else(why)?)
        }
    };
    let mut asked = without_body(request)?;
    asked.set_body(body);
    Ok(asked)
}

pub(crate) fn without_body(request: &reqwest::Request) -> Result<Request, ClientError> {
    let mut asked = Request::new(request.method().clone(), request.url().as_str())?;
    for (name, value) in request.headers() {
        // The length is that of the body, and written with it.
        if name != CONTENT_LENGTH {
            asked.add_header(name.clone(), value.clone())?;
        }
    }
    Ok(asked)
}

/// The end of a flow as an answer; foreign 402s are answers too.
pub(crate) fn answered(
    end: Result<End, ClientError>,
    last: Option<Incoming>,
    flow: &Flow,
) -> Result<reqwest::Response, ClientError> {
    let url = flow.request().url();
    match (end, last) {
        (Ok(End::Paid(report)), Some(mut last)) => {
            last.meter(flow, Some(&report));
            let mut response = response(last, url)?;
            response.extensions_mut().insert(*report);
            Ok(response)
        }
        (Err(ClientError::NotPayable(why)), Some(last)) => {
            let mut response = response(last, url)?;
            response.extensions_mut().insert(*why);
            Ok(response)
        }
        (Ok(_), Some(last)) => response(last, url),
        (Ok(_), None) => Err(ClientError::OutOfTurn),
        (Err(error), _) => Err(error),
    }
}

/// An answer, from its first byte.
fn response(answer: Incoming, url: &str) -> Result<reqwest::Response, ClientError> {
    let Incoming { status, headers, body } = answer;
    let invalid = |why: String| ClientError::Request { why };
    let url = Url::parse(url).map_err(|error| invalid(error.to_string()))?;
    let body = body.into_stream().map_err(|why| ClientError::Broken { why });
    let response = http::Response::builder().status(status).url(url);
    let mut response =
        response.body(reqwest::Body::wrap_stream(body)).map_err(|error| invalid(error.to_string()))?;
    *response.headers_mut() = headers;
    Ok(response.into())
}
