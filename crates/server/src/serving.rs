//! One paid request in one server process, from its place at the desk to its end.
//!
//! A [`Serving`] carries out the [flow](crate::flow)'s actions in their order: it asks the facilitator, runs
//! the handler within its deadline, answers, and repeats a settlement whose outcome is unknown until it is
//! known. It needs no runtime: a [`Process`] tells it the time, waits and carries its questions, a [`Visit`]
//! runs the handler and takes the answer. The tower service is one such pair, a simulator is another.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::BoxError;
use farthing_protocol::rail::{BoxFuture, Outcome, PaymentId};
use farthing_protocol::v2::{FacilitatorRequest, SettlementResponse};
use farthing_protocol::{Amount, reason};
use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use tracing::Instrument as _;

use crate::answer::{Answer, Content};
use crate::desk::{Desk, Entry, Gone};
use crate::flow::Streaming;
use crate::flow::{Action, Claiming, HandlerAnswer, HandlerEnd, Held, Kept, Later, PaidBy, Question, Reply};
use crate::metering::{Closer, Meter, Next, Tap};
use crate::observe;

/// Pauses between two attempts at a settlement whose outcome is unknown.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A server process, as far as the payments in it need one.
pub trait Process: Send + Sync + 'static {
    /// A body that is too long to be held in memory.
    type Body: Send + 'static;

    /// Unix seconds.
    fn now(&self) -> u64;

    /// The payments in flight here. Locked for moments only.
    fn desk(&self) -> &Mutex<Desk<Kept<Self::Body>>>;

    /// Asks the facilitator.
    fn settle(&self, request: &FacilitatorRequest) -> impl Future<Output = Outcome> + Send;

    /// Signs for a later settlement, and asks the facilitator. A process may do so for many at once.
    fn settle_later(&self, later: &Arc<Later>) -> impl Future<Output = Outcome> + Send {
        settle_alone(self, later)
    }

    /// Asks the [claims](crate::claims) about a payment whose money nobody holds. A process without them knows
    /// nothing.
    fn claim(&self, _claiming: &Claiming) -> impl Future<Output = Reply> + Send {
        std::future::ready(Reply::unknown("this process keeps no claims"))
    }

    /// Waits.
    fn pause(&self, length: Duration) -> impl Future<Output = ()> + Send;
}

/// One request, and whoever waits for its answer.
pub trait Visit<B>: Send {
    /// Starts the handler, once. An error is a body that broke off; a panic is caught. On a route that is
    /// metered the handler may count with `meter`.
    fn handle(
        &mut self,
        paid_by: PaidBy,
        meter: Option<Meter>,
    ) -> BoxFuture<'static, Result<HandlerAnswer<B>, BoxError>>;

    /// The same body, through a tap; where there is none, a metered answer ends before it begins.
    fn meter(&mut self, body: B, _tap: Tap) -> B {
        body
    }

    /// Whether nobody waits for the answer any more.
    fn is_gone(&self) -> bool;

    /// Ends when nobody waits for the answer any more.
    fn gone(&mut self) -> impl Future<Output = ()> + Send;

    /// Sends the answer; only the first one counts.
    fn answer(&mut self, answer: Answer<B>);

    /// Told how an answer ended that was paid for while it flowed: what its payment says from now on.
    fn closed(&mut self, _answer: &Answer<B>) {}
}

/// A payment that has a place at the desk, and what is to be done for it.
pub struct Serving<P: Process> {
    seat: Seat<P>,
    action: Action<P::Body>,
}

impl<P: Process> std::fmt::Debug for Serving<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").field("id", &self.seat.id).finish_non_exhaustive()
    }
}

impl<P: Process> Serving<P> {
    /// Asks the desk, when there is a payment to ask about.
    ///
    /// # Errors
    /// The answer, when there is nothing more to do than to send it.
    pub fn enter(process: &Arc<P>, action: Action<P::Body>) -> Result<Self, Box<Answer<P::Body>>> {
        let (action, seat) = match action {
            Action::Enter(entering) => {
                let (id, now) = (entering.id(), process.now());
                let entry = lock(process.desk()).enter(id, entering.proof(), entering.until(), now);
                let attended = matches!(entry, Entry::Kept(_));
                let seat = matches!(entry, Entry::Fresh | Entry::Kept(_));
                let seat = seat.then(|| Seat { process: process.clone(), id, attended, taken: true });
                (entering.entered(entry, now), seat)
            }
            action => (action, None),
        };
        match (action, seat) {
            (Action::Answer(answer), _) => Err(Box::new(answer)),
            (_, None) => Err(Box::new(Answer::lost())),
            (action, Some(seat)) => Ok(Self { seat, action }),
        }
    }

    /// The payment.
    #[must_use]
    pub fn id(&self) -> PaymentId {
        self.seat.id
    }

    /// Serves it to its end. This must go on when its client goes away.
    pub async fn serve(self, mut visit: impl Visit<P::Body>) {
        let Self { seat, mut action } = self;
        let process = seat.process.clone();
        let mut started = false;
        let mut stream: Option<Closer> = None;
        loop {
            action = match action {
                Action::Settle(settling) => {
                    let step = ask(process.as_ref(), settling.question());
                    let reply = step.instrument(settling.span()).await;
                    tracing::debug!(?settling, outcome = name(&reply), "settlement");
                    settling.outcome(reply, process.now())
                }
                Action::Run(held) => {
                    tracing::debug!("held");
                    let end = match started {
                        true => HandlerEnd::Broke("the handler was run before".into()),
                        false => {
                            let handler = run(process.as_ref(), &held, &mut visit);
                            handler.instrument(tracing::debug_span!("handle")).await
                        }
                    };
                    started = true;
                    held.ended(end, process.now())
                }
                Action::Stream { mut answer, tap, streaming } => {
                    stream = Some(Closer::of(&streaming));
                    answer.content = match answer.content {
                        Content::Long(body) => Content::Long(visit.meter(body, tap)),
                        whole @ Content::Whole(_) => whole,
                    };
                    visit.answer(answer);
                    flow(process.as_ref(), streaming).await
                }
                Action::AnswerAndSettle { answer, settling, at_once: true } => {
                    visit.answer(answer);
                    Action::Settle(settling)
                }
                Action::AnswerAndSettle { answer, settling, at_once: false } => {
                    let (id, attended) = (seat.id, seat.attended);
                    seat.keep(Kept::Settling(settling));
                    say(&mut visit, stream.take(), answer);
                    drop(visit);
                    if !attended {
                        repeat(&process, id).await;
                    }
                    return;
                }
                Action::Answer(answer) => {
                    // First, so that a client that is quick to present it again finds nobody in its place.
                    drop(seat);
                    return say(&mut visit, stream.take(), answer);
                }
                Action::Enter(entering) => entering.entered(Entry::Running, process.now()),
            }
        }
    }
}

/// The answer; at the end of a stream, the last word to whoever reads it.
fn say<B>(visit: &mut impl Visit<B>, stream: Option<Closer>, answer: Answer<B>) {
    match stream {
        None => visit.answer(answer),
        Some(stream) => {
            visit.closed(&answer);
            stream.close(&answer.headers);
        }
    }
}

/// Captures for an answer while it flows, up to the moment from which nothing more of it is delivered.
async fn flow<P: Process>(process: &P, streaming: Box<Streaming>) -> Action<P::Body> {
    loop {
        match streaming.next(process.now()) {
            Next::Capture(amount) => {
                let part = streaming.part(amount);
                let reply = ask(process, &part).instrument(tracing::debug_span!("capture")).await;
                streaming.parted(amount, reply, process.now());
            }
            Next::Wait(seconds) => {
                let pause = process.pause(Duration::from_secs(seconds));
                select(pin!(streaming.gauge().news()), pin!(pause)).await;
            }
            Next::Busy => {
                streaming.parted(Amount::ZERO, Reply::unknown("nobody waits for it"), process.now())
            }
            Next::Close(figures) => return streaming.close(figures),
        }
    }
}

async fn ask<P: Process>(process: &P, question: &Question) -> Reply {
    match question {
        Question::First(request) => process.settle(request).await.into(),
        Question::Later(later) => process.settle_later(later).await.into(),
        Question::Claim(claiming) => process.claim(claiming).await,
    }
}

/// Signs for one later settlement, and asks the facilitator.
pub(crate) async fn settle_alone<P: Process + ?Sized>(process: &P, later: &Later) -> Outcome {
    match later.alone() {
        Ok(request) => process.settle(&request).await,
        Err(fault) => {
            // Nothing can come of it, and nothing was sent: the hold ends by itself.
            tracing::error!(payment = %later.id(), %fault, "an operation cannot be written");
            Outcome::NotSettled(SettlementResponse {
                error_reason: Some(reason::INVALID_PAYLOAD.to_owned()),
                ..SettlementResponse::default()
            })
        }
    }
}

/// Runs the handler, unless the client has gone before it starts and nothing is paid yet.
async fn run<P: Process>(process: &P, held: &Held, visit: &mut impl Visit<P::Body>) -> HandlerEnd<P::Body> {
    if visit.is_gone() && !held.is_paid() {
        return HandlerEnd::Disconnected;
    }
    let handled = AssertUnwindSafe(visit.handle(held.paid_by(), held.meter())).catch_unwind();
    let limit = process.pause(held.handler_deadline(process.now()));
    let ended = async {
        match select(pin!(handled), pin!(limit)).await {
            Either::Left((Ok(Ok(answer)), _)) => HandlerEnd::Answered(answer),
            Either::Left((Ok(Err(error)), _)) => HandlerEnd::Broke(error.to_string()),
            Either::Left((Err(_panic), _)) => HandlerEnd::Broke("the handler panicked".into()),
            Either::Right(_) => HandlerEnd::TimedOut,
        }
    };
    if !held.stops_on_disconnect() {
        return ended.await;
    }
    match select(pin!(visit.gone()), pin!(ended)).await {
        Either::Left(_) => HandlerEnd::Disconnected,
        Either::Right((end, _)) => end,
    }
}

/// Repeats a settlement whose outcome is unknown, until it is known or can no longer happen.
async fn repeat<P: Process>(process: &Arc<P>, id: PaymentId) {
    let mut pause = FIRST_PAUSE;
    loop {
        process.pause(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
        let taken = lock(process.desk()).take(&id, process.now());
        let kept = match taken {
            Ok(kept) => kept,
            Err(Gone::ForNow) => continue,
            Err(Gone::ForGood) => return observe::known(id),
        };
        let seat = Seat { process: process.clone(), id, attended: true, taken: true };
        let settling = match kept {
            Kept::Settling(settling) => settling,
            answer @ Kept::Answer(_) => {
                seat.keep(answer);
                continue;
            }
        };
        let mut action = Action::Settle(settling);
        while let Action::Settle(settling) = action {
            let step = ask(process.as_ref(), settling.question());
            let reply = step.instrument(settling.span()).await;
            action = settling.outcome(reply, process.now());
        }
        match action {
            Action::AnswerAndSettle { settling, .. } => seat.keep(Kept::Settling(settling)),
            Action::Answer(answer) if answer.only_copy => seat.keep(Kept::Answer(Box::new(answer))),
            _ => return,
        }
    }
}

/// A payment's place at the desk, given up when this is dropped, even by a panic.
struct Seat<P: Process> {
    process: Arc<P>,
    id: PaymentId,
    /// Somebody repeats what was kept for it.
    attended: bool,
    taken: bool,
}

impl<P: Process> Seat<P> {
    /// Leaves something behind for whoever comes next.
    fn keep(mut self, kept: Kept<P::Body>) {
        self.taken = false;
        match &kept {
            Kept::Settling(_) => observe::pends(self.id),
            Kept::Answer(_) => observe::known(self.id),
        }
        lock(self.process.desk()).keep(self.id, kept);
    }
}

impl<P: Process> Drop for Seat<P> {
    fn drop(&mut self) {
        if self.taken {
            lock(self.process.desk()).leave(&self.id);
            observe::known(self.id);
        }
    }
}

/// No step at the desk can panic half-way.
fn lock<K>(desk: &Mutex<Desk<K>>) -> MutexGuard<'_, Desk<K>> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name(reply: &Reply) -> &'static str {
    match reply {
        Reply::Outcome(Outcome::Settled(_)) => "settled",
        Reply::Outcome(Outcome::NotSettled(_)) => "not settled",
        Reply::Outcome(Outcome::Unknown(_)) => "unknown",
        Reply::Standing(_) => "claimed",
    }
}
