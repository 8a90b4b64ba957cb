//! The client: drives flows over HTTP.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use farthing_protocol::rail::{Confirmation, OfferError, PaymentId};
use farthing_protocol::{Network, Origin, Price};
use http::{HeaderName, HeaderValue, Method};

use crate::answer::Paid;
use crate::approval::ApprovalError;
use crate::budget::AssetId;
use crate::builder::ClientBuilder;
use crate::error::{ClientError, ConfigError, ResumeError};
use crate::flow::{Action, Answer, End, Event, Flow};
use crate::http::{Http, Incoming};
use crate::journal::{JournalError, Record, Spent, State};
use crate::policy::Policy;
use crate::prepared::Prepared;
use crate::quote::Quote;
use crate::request::Request;

/// How long the network may take to say what became of a payment.
pub(crate) const STATUS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the network may take to say what an offer needs to be paid.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// An HTTP client that pays. Cheap to clone; clones share budgets, journal and connections.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    policy: Arc<Policy>,
    http: Http,
    body_bytes: usize,
}

impl Client {
    /// Puts a client together.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(crate) fn new(policy: Arc<Policy>, http: Http, body_bytes: usize) -> Self {
        Self(Arc::new(Inner { policy, http, body_bytes }))
    }

    /// A GET request; await it.
    pub fn get(&self, url: &str) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A request; await it, or [`send`](RequestBuilder::send) it.
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        RequestBuilder { client: self.clone(), request: Request::new(method, url) }
    }

    /// What a GET of `url` would cost. Pays nothing.
    ///
    /// # Errors
    /// As [`RequestBuilder::quote`].
    pub async fn quote(&self, url: &str) -> Result<Quote, ClientError> {
        self.get(url).quote().await
    }

    /// Presents a signed payment for its request: the first time, or again. However often it is presented,
    /// it can be taken once.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn present(&self, prepared: &Prepared) -> Result<Paid, ClientError> {
        self.answer(Flow::present(self.policy(), prepared.clone())).await
    }

    /// Presents a signed payment at another URL of the same origin, relative or absolute. An honest server
    /// refuses it there, because it is signed for one request.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Request`] for another origin.
    pub async fn present_at(&self, prepared: &Prepared, url: &str) -> Result<Paid, ClientError> {
        let request = prepared.request().at(url)?;
        self.answer(Flow::present_for(self.policy(), prepared.clone(), request)?).await
    }

    /// A payment in the journal, as it was signed: the very same one, to be [presented](Self::present)
    /// again after a crash. For requests with headers or a body of the caller's, which the journal does not
    /// keep, see [`RequestBuilder::resume`].
    ///
    /// # Errors
    /// [`ResumeError`].
    pub fn resume(&self, id: &PaymentId) -> Result<Prepared, ResumeError> {
        self.0.policy.resume(id, None)
    }

    /// The payments that are still open, oldest first: those to resume after a crash.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn unfinished(&self) -> Result<Vec<Record>, JournalError> {
        self.0.policy.open_payments()
    }

    /// Asks the networks about every payment that is still open, and takes or gives back what is reserved
    /// for it when they know. For after a restart, and for payments with an unknown outcome.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn reconcile(&self) -> Result<Reconciled, JournalError> {
        let policy = &self.0.policy;
        let mut reconciled = Reconciled::default();
        for record in policy.journal.open()? {
            let status = tokio::time::timeout(STATUS_TIMEOUT, policy.status(&record)).await;
            let state = policy.learn(&record, status.unwrap_or(Confirmation::Unproven))?;
            reconciled.add(record.id(), state);
        }
        Ok(reconciled)
    }

    /// What was spent in an asset, and what is reserved.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn spent(&self, asset: &AssetId) -> Result<Spent, JournalError> {
        Spent::of(&*self.0.policy.journal, asset)
    }

    /// Allows `origin` to name `payee` on `network` from now on, besides the payees it had.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn approve_payee(&self, origin: &str, network: &Network, payee: &str) -> Result<(), ConfigError> {
        let origin: Origin = origin.parse()?;
        Ok(self.0.policy.journal.approve(&origin, network, payee)?)
    }

    /// What it decides by, for driving a [`Flow`] over something else than HTTP.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.0.policy.clone()
    }

    async fn answer(&self, mut flow: Flow) -> Result<Paid, ClientError> {
        let (end, incoming) = self.drive(&mut flow, None).await;
        let payment = match end? {
            End::Paid(report) => Some(*report),
            _ => None,
        };
        let mut incoming = incoming.ok_or(ClientError::OutOfTurn)?;
        incoming.meter(&flow, payment.as_ref());
        Ok(Paid::new(incoming, payment, self.0.body_bytes))
    }

    /// Carries out a flow's actions until its end. Where something else sent the first request already, its
    /// answer is `first`. Returns the last answer too, which is the answer or the one that ended the flow.
    pub(crate) async fn drive(
        &self,
        flow: &mut Flow,
        mut first: Option<Incoming>,
    ) -> (Result<End, ClientError>, Option<Incoming>) {
        let mut event = Event::Start;
        let mut last = None;
        loop {
            let random = match random() {
                Ok(random) => random,
                Err(error) => return (Err(error), last),
            };
            match flow.step(event, unix_now(), random) {
                Action::Done(end) => return (*end, last),
                Action::Send => {
                    let sent = match first.take() {
                        Some(incoming) => Ok(incoming),
                        None => self.0.http.send(flow.request(), None).await,
                    };
                    (event, last) = read(flow, sent).await;
                }
                Action::LookUp => {
                    let Some(asked) = flow.look_up() else { return (Err(ClientError::OutOfTurn), last) };
                    let late = |_| Err(OfferError::Unavailable("it did not answer in time".into()));
                    let asked = tokio::time::timeout(LOOK_UP_TIMEOUT, asked).await;
                    event = Event::LookedUp(asked.unwrap_or_else(late));
                }
                Action::Approve(within) => {
                    let Some(asked) = flow.approval() else { return (Err(ClientError::OutOfTurn), last) };
                    let asked = tokio::time::timeout(within, asked).await;
                    event = Event::Decided(asked.unwrap_or(Err(ApprovalError::Late)));
                }
                Action::SendPaid { header } => {
                    let sent = self.0.http.send(flow.request(), Some(&header)).await;
                    (event, last) = read(flow, sent).await;
                }
                Action::Wait(pause) => {
                    tokio::time::sleep(pause).await;
                    event = Event::Waited;
                }
                Action::AskStatus => {
                    let Some(status) = flow.status() else { return (Err(ClientError::OutOfTurn), last) };
                    let status = tokio::time::timeout(STATUS_TIMEOUT, status).await;
                    event = Event::Status(status.unwrap_or(Confirmation::Unproven));
                }
            }
        }
    }
    pub(crate) fn http(&self) -> &Http {
        &self.0.http
    }
}

/// Reads an answer as far as the flow wants to see it.
async fn read(flow: &Flow, sent: Result<Incoming, String>) -> (Event, Option<Incoming>) {
    let mut incoming = match sent {
        Ok(incoming) => incoming,
        Err(why) => return (Event::Lost { why }, None),
    };
    match incoming.body.peek(flow.body_limit(incoming.status, &incoming.headers)).await {
        Err(why) => (Event::Lost { why }, None),
        Ok((body, complete)) => {
            let headers = incoming.headers.clone();
            let answer = Answer { status: incoming.status, headers, body, complete };
            (Event::Answered(answer), Some(incoming))
        }
    }
}

/// What [`Client::reconcile`] learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Payments that were taken: their cost is spent.
    pub taken: Vec<PaymentId>,
    /// Payments that were not and cannot be taken: their reservation is given back.
    pub released: Vec<PaymentId>,
    /// Payments that may still be taken, or that nobody knows about: their reservation stays.
    pub open: Vec<PaymentId>,
}

impl Reconciled {
    fn add(&mut self, id: PaymentId, state: State) {
        match state {
            State::Confirmed(_) => self.taken.push(id),
            State::Released => self.released.push(id),
            _ => self.open.push(id),
        }
    }
}

/// A request that is being put together. What is wrong with it comes out when it is sent.
#[derive(Debug)]
#[must_use = "nothing is sent before it is awaited"]
pub struct RequestBuilder {
    client: Client,
    request: Result<Request, ClientError>,
}

impl RequestBuilder {
    /// Adds a header.
    pub fn header(self, name: &str, value: &str) -> Self {
        self.with(|request| {
            let name = name.parse::<HeaderName>();
            let name =
                name.map_err(|_| ClientError::Request { why: "a header's name is not valid".into() })?;
            let value = HeaderValue::from_str(value);
            let why = || format!("the value of header `{name}` is not valid");
            let value = value.map_err(|_| ClientError::Request { why: why() })?;
            request.add_header(name, value)
        })
    }

    /// Sets the body.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        self.with(|request| {
            request.set_body(body.into());
            Ok(())
        })
    }

    /// Pays at most this, such as `"0.05 XTS"`, in this currency only.
    pub fn max_price(self, price: &str) -> Self {
        self.with(|request| {
            request.allow.max_price = Some(price.parse::<Price>()?);
            Ok(())
        })
    }

    /// Pays at most what `quote` said.
    pub fn quoted(self, quote: &Quote) -> Self {
        self.with(|request| {
            request.allow.quoted = Some(quote.prices());
            Ok(())
        })
    }

    /// Counts the payment for a task, which has a budget of its own where there is one for each task. Its name
    /// has 1 to 64 visible ASCII characters.
    pub fn task(self, name: &str) -> Self {
        self.with(|request| request.set_task(name))
    }

    /// Accepts a payment that does not cover the body: whoever gets hold of it may spend it on another body.
    pub fn allow_unbound_body(self) -> Self {
        self.with(|request| {
            request.allow.unbound_body = true;
            Ok(())
        })
    }

    /// Sends the request, and pays for the answer if the budgets allow.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send(self) -> Result<Paid, ClientError> {
        let flow = Flow::pay(self.client.policy(), self.request?);
        self.client.answer(flow).await
    }

    /// Sends the request without payment, and signs the payment that it asks for; `None` when it is free.
    /// The payment is reserved and in the journal, and goes nowhere before [`Client::present`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn sign(self) -> Result<Option<Prepared>, ClientError> {
        let mut flow = Flow::sign(self.client.policy(), self.request?);
        match self.client.drive(&mut flow, None).await.0? {
            End::Signed(prepared) => Ok(Some(prepared)),
            _ => Ok(None),
        }
    }

    /// A payment in the journal that was signed for this request, as [`Client::resume`] finds it. Headers may
    /// have other values than then, and others may be there too.
    ///
    /// # Errors
    /// [`ResumeError`].
    pub fn resume(self, id: &PaymentId) -> Result<Prepared, ResumeError> {
        let request = self.request.map_err(|error| ResumeError::Request(error.to_string()))?;
        self.client.0.policy.resume(id, Some(request))
    }

    /// Sends the request without payment, and says what it would cost.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::NotPayable`] for a 402 without terms.
    pub async fn quote(self) -> Result<Quote, ClientError> {
        let mut flow = Flow::quote(self.client.policy(), self.request?);
        match self.client.drive(&mut flow, None).await.0? {
            End::Quoted(quote) => Ok(quote),
            _ => Ok(Quote::default()),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Request) -> Result<(), ClientError>) -> Self {
        self.request = self.request.and_then(|mut request| change(&mut request).map(|()| request));
        self
    }
}

impl IntoFuture for RequestBuilder {
    type Output = Result<Paid, ClientError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn random() -> Result<[u8; 32], ClientError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| ClientError::NoRandomness(error.to_string()))?;
    Ok(random)
}
