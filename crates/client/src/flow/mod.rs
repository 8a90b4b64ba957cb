//! The payer's flow for one logical request, without I/O: `(event, now, random) -> action`.
//!
//! A [`Flow`] is driven by a loop that carries out each [`Action`] and answers it with an [`Event`]; see
//! [`Client`](crate::Client) for the loop over HTTP. The flow signs at most one payment, writes it into the
//! journal before it asks for it to be sent, and presents that same payment again while its outcome is
//! unknown, never another.

mod ask;
mod choose;
mod present;

pub(crate) use present::{contradicted, news, plausible, proves};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use farthing_protocol::rail::{BoxFuture, Confirmation, OfferError};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use crate::approval::{ApprovalError, Decision};
use crate::error::ClientError;
use crate::http::Incoming;
use crate::metered::Metered;
use crate::policy::Policy;
use crate::prepared::{PaymentHeader, Prepared};
use crate::quote::Quote;
use crate::report::PaymentReport;
use crate::request::Request;
use crate::terms::asks_for_payment;

use ask::{Asked, Asking};
use choose::{Choosing, Chosen};
use present::Presenting;

/// How often a payment with an unknown outcome is presented again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How often it is sent at most, the first time included.
    pub tries: u32,
    /// Seconds after the first time beyond which it is not sent again.
    pub window: u64,
    /// The pause before the second time; it doubles from there. A longer `Retry-After` is obeyed.
    pub pause: Duration,
}

impl Default for Patience {
    /// Five times within thirty seconds.
    fn default() -> Self {
        Self { tries: 5, window: 30, pause: Duration::from_millis(250) }
    }
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// Nothing yet. The first event of every flow.
    Start,
    /// An answer came.
    Answered(Answer),
    /// No answer came, or it broke off before its body was read as far as the flow wants it.
    Lost {
        /// For people.
        why: String,
    },
    /// What the network needs for an offer to be paid is known, or why it cannot be.
    LookedUp(Result<(), OfferError>),
    /// What a person said about the payment, or why nobody did.
    Decided(Result<Decision, ApprovalError>),
    /// The pause is over.
    Waited,
    /// What the network says about the payment.
    Status(Confirmation),
}

/// An answer as far as it was read.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body's first bytes, at most [`Flow::body_limit`].
    pub body: Bytes,
    /// Whether that is all of the body.
    pub complete: bool,
}

/// What to do next.
#[derive(Debug)]
pub enum Action {
    /// Send [`Flow::request`] without payment; do not follow redirects.
    Send,
    /// Ask the network about an offer before it is signed for: await [`Flow::look_up`].
    LookUp,
    /// Ask a person whether an offer may be paid: await [`Flow::approval`], and no longer than this.
    Approve(Duration),
    /// Send [`Flow::request`] with this header; do not follow redirects.
    SendPaid {
        /// Never to be logged.
        header: PaymentHeader,
    },
    /// Wait.
    Wait(Duration),
    /// Ask the network what became of [`Flow::prepared`]: await [`Flow::status`].
    AskStatus,
    /// The end. With [`End::Free`] and [`End::Paid`] the last answer is the answer.
    Done(Box<Result<End, ClientError>>),
}

/// How a flow ends well.
#[derive(Debug)]
pub enum End {
    /// The answer was free.
    Free,
    /// The answer was paid for, or a payment was sent and given back.
    Paid(Box<PaymentReport>),
    /// The payment is signed.
    Signed(Prepared),
    /// The price is known.
    Quoted(Quote),
}

/// One logical request.
pub struct Flow {
    policy: Arc<Policy>,
    goal: Goal,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    Pay,
    Sign,
    Quote,
}

enum Stage {
    Asking(Box<Asking>),
    Choosing(Box<Choosing>),
    Presenting(Box<Presenting>),
}

impl Stage {
    fn asking(request: Request, proves: bool) -> Self {
        Self::Asking(Box::new(Asking::new(request, proves)))
    }

    fn presenting(prepared: Prepared, request: Request) -> Self {
        Self::Presenting(Box::new(Presenting::new(prepared, request)))
    }
}

impl Flow {
    /// Sends `request`, and pays for it if it must.
    #[must_use]
    pub fn pay(policy: Arc<Policy>, request: Request) -> Self {
        Self { policy, goal: Goal::Pay, stage: Stage::asking(request, true) }
    }

    /// Sends `request`, and signs a payment for it if it must, without sending that.
    #[must_use]
    pub fn sign(policy: Arc<Policy>, request: Request) -> Self {
        Self { policy, goal: Goal::Sign, stage: Stage::asking(request, true) }
    }

    /// Sends `request`, and signs nothing.
    #[must_use]
    pub fn quote(policy: Arc<Policy>, request: Request) -> Self {
        Self { policy, goal: Goal::Quote, stage: Stage::asking(request, false) }
    }

    /// Presents a signed payment, for the request it was signed for.
    #[must_use]
    pub fn present(policy: Arc<Policy>, prepared: Prepared) -> Self {
        let request = prepared.request().clone();
        Self { policy, goal: Goal::Pay, stage: Stage::presenting(prepared, request) }
    }

    /// Presents a signed payment for another request to the same origin, which an honest server refuses.
    ///
    /// # Errors
    /// [`ClientError::Request`] when it is to another origin: payments never cross.
    pub fn present_for(
        policy: Arc<Policy>,
        prepared: Prepared,
        request: Request,
    ) -> Result<Self, ClientError> {
        if request.origin() != prepared.request().origin() {
            let why = "a payment is never sent to another origin than the one it was signed for".into();
            return Err(ClientError::Request { why });
        }
        Ok(Self { policy, goal: Goal::Pay, stage: Stage::presenting(prepared, request) })
    }

    /// Answers `event` with what to do next. `now` is in Unix seconds; `random` must be fresh each time.
    pub fn step(&mut self, event: Event, now: u64, random: [u8; 32]) -> Action {
        let chosen = match &mut self.stage {
            Stage::Presenting(presenting) => {
                if let Event::Answered(answer) = &event
                    && answer.status.is_success()
                {
                    self.policy.sessions.keep(presenting.request(), &answer.headers);
                }
                return presenting.step(&self.policy, event, now);
            }
            Stage::Choosing(choosing) => choosing.step(&self.policy, event, now, random),
            Stage::Asking(asking) => {
                let terms = match asking.step(&self.policy, event) {
                    Asked::Do(action) => return action,
                    Asked::Terms(terms) => terms,
                };
                if self.goal == Goal::Quote {
                    let quote = Quote::read(&self.policy, asking.request(), &terms, now);
                    return done(quote.map(End::Quoted).map_err(ClientError::from));
                }
                let mut choosing = Choosing::new(asking.request().clone(), terms);
                let chosen = choosing.step(&self.policy, Event::Start, now, random);
                self.stage = Stage::Choosing(Box::new(choosing));
                chosen
            }
        };
        match chosen {
            Chosen::Do(action) => action,
            Chosen::Signed(prepared) if self.goal == Goal::Sign => done(Ok(End::Signed(prepared))),
            Chosen::Signed(prepared) => {
                let request = prepared.request().clone();
                let mut presenting = Presenting::new(prepared, request);
                let action = presenting.step(&self.policy, Event::Start, now);
                self.stage = Stage::Presenting(Box::new(presenting));
                action
            }
        }
    }

    /// The request to send now.
    #[must_use]
    pub fn request(&self) -> &Request {
        match &self.stage {
            Stage::Asking(asking) => asking.sent(),
            Stage::Choosing(choosing) => choosing.request(),
            Stage::Presenting(presenting) => presenting.request(),
        }
    }

    /// The payment, once there is one.
    #[must_use]
    pub fn prepared(&self) -> Option<&Prepared> {
        match &self.stage {
            Stage::Asking(_) | Stage::Choosing(_) => None,
            Stage::Presenting(presenting) => Some(presenting.prepared()),
        }
    }

    /// What [`Action::LookUp`] asks; its answer is the [`Event::LookedUp`]. `None` when nothing is asked.
    #[must_use]
    pub fn look_up(&self) -> Option<BoxFuture<'_, Result<(), OfferError>>> {
        match &self.stage {
            Stage::Choosing(choosing) => choosing.look_up(),
            Stage::Asking(_) | Stage::Presenting(_) => None,
        }
    }

    /// What [`Action::Approve`] asks; its answer is the [`Event::Decided`], which is
    /// [`ApprovalError::Late`] when it does not come in time. `None` when nothing is asked.
    #[must_use]
    pub fn approval(&self) -> Option<BoxFuture<'_, Result<Decision, ApprovalError>>> {
        match &self.stage {
            Stage::Choosing(choosing) => choosing.approval(&self.policy),
            Stage::Asking(_) | Stage::Presenting(_) => None,
        }
    }

    /// What [`Action::AskStatus`] asks; its answer is the [`Event::Status`]. `None` before there is a payment.
    #[must_use]
    pub fn status(&self) -> Option<BoxFuture<'_, Confirmation>> {
        self.prepared().map(|prepared| prepared.0.rail.status(&prepared.0.payment))
    }

    /// Who sees to the payment of an answer that is paid for while it comes, to its end.
    pub(crate) fn meter(&self, answer: &Incoming, report: &PaymentReport) -> Option<Metered> {
        let prepared = self.prepared().filter(|_| report.open)?.clone();
        let (status, headers) = (answer.status, &answer.headers);
        Some(Metered::new(self.policy.clone(), prepared, report.clone(), status, headers))
    }

    /// How many bytes of the body of an answer with this status and these headers the flow wants to see.
    /// None of a stream of events, of a body that says it is too long to be compared with a receipt, or of one
    /// that is paid for while it comes: what was paid for is handed over as it comes.
    #[must_use]
    pub fn body_limit(&self, status: StatusCode, headers: &HeaderMap) -> usize {
        match &self.stage {
            Stage::Asking(_) if asks_for_payment(status) => self.policy.limits.json_body_bytes,
            Stage::Asking(_) | Stage::Choosing(_) => 0,
            Stage::Presenting(presenting) => {
                let limit = self.policy.receipt_body_bytes;
                let flows = status.is_success() && (is_event_stream(headers) || says_longer(headers, limit));
                if flows || presenting.is_paid_as_it_comes(&self.policy, headers) { 0 } else { limit }
            }
        }
    }
}

/// Whether a body is a stream of server-sent events, which has no end that could be waited for.
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("text/event-stream")
}

/// Whether an answer says that its body is longer than this.
pub(crate) fn says_longer(headers: &HeaderMap, limit: usize) -> bool {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length > limit as u64)
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow")
            .field("goal", &self.goal)
            .field("request", self.request())
            .field("prepared", &self.prepared())
            .finish_non_exhaustive()
    }
}

fn done(result: Result<End, ClientError>) -> Action {
    Action::Done(Box::new(result))
}
