//! The meter of one answer, shared by who delivers it and who captures for it.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use farthing_protocol::header::{PAYMENT_RESPONSE, decode_settlement};
use farthing_protocol::{Amount, Limits};
use http::{HeaderMap, HeaderValue};

use super::machine::{self, End, Metering, Next, Part, Room, Verdict};
use crate::flow::Streaming;

/// One meter. Locked for moments only.
pub(crate) struct Gauge {
    state: Mutex<State>,
}

struct State {
    meter: Metering,
    /// Who delivers, and waits for a capture or for the last word.
    tap: Option<Waker>,
    /// Who captures, and waits for something to be used.
    keeper: Option<Waker>,
    /// Handlers that wait until they may use more.
    charges: Vec<Waker>,
    last: Option<LastWord>,
}

/// The final settlement, as it stands in a trailer and in a last event.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastWord {
    /// The value of `PAYMENT-RESPONSE`.
    pub(crate) header: Option<HeaderValue>,
    /// The same as JSON, in one line.
    pub(crate) json: Bytes,
}

/// Whoever captures for a stream owes it a last word; without one, it ends without.
#[derive(Debug)]
pub(crate) struct Closer(Arc<Gauge>);

impl Closer {
    pub(crate) fn of(streaming: &Streaming) -> Self {
        Self(streaming.gauge().clone())
    }

    /// With the settlement in the headers of the answer that whoever presents the payment again gets.
    pub(crate) fn close(self, headers: &HeaderMap) {
        let header = headers.get(PAYMENT_RESPONSE).cloned();
        let said = header.as_ref().map(|value| decode_settlement(value.as_bytes(), &Limits::default()));
        let json = said.and_then(Result::ok).and_then(|said| serde_json::to_vec(&said).ok());
        // Line ends stand between members only, if at all: within strings JSON writes them otherwise.
        let one_line = |byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
        let json = json.unwrap_or_default().into_iter().map(one_line).collect();
        self.0.close(LastWord { header, json });
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.end(End::Broke);
        self.0.close(LastWord::default());
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gauge").field(&self.lock().meter).finish()
    }
}

impl State {
    /// What those who deliver wait for: an end, a capture, the last word.
    fn stands(&self) -> (bool, bool, bool) {
        let room = self.meter.room();
        (room.is_none(), room.is_some_and(|room| room.soon > 0), self.last.is_some())
    }

    /// All who deliver.
    fn wakers(&mut self) -> Vec<Waker> {
        let charges = std::mem::take(&mut self.charges);
        charges.into_iter().chain(self.tap.take()).collect()
    }
}

impl Gauge {
    pub(crate) fn new(limits: machine::Limits) -> Arc<Self> {
        let meter = Metering::new(limits);
        let state = State { meter, tap: None, keeper: None, charges: Vec::new(), last: None };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// No step can panic half-way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the meter from the delivering side.
    pub(crate) fn use_up<T>(&self, change: impl FnOnce(&mut Metering) -> T) -> T {
        let mut state = self.lock();
        let done = change(&mut state.meter);
        let keeper = if state.meter.is_due() { state.keeper.take() } else { None };
        drop(state);
        if let Some(keeper) = keeper {
            keeper.wake();
        }
        done
    }

    /// Changes the meter from the capturing side.
    fn keep<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let before = state.stands();
        let done = change(&mut state);
        let wakers = if state.stands() == before { Vec::new() } else { state.wakers() };
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        done
    }

    pub(crate) fn flow(&self, until: u64) {
        self.lock().meter.flow(until);
    }

    pub(crate) fn used(&self) -> Amount {
        self.lock().meter.used()
    }

    pub(crate) fn room(&self) -> Option<Room> {
        self.lock().meter.room()
    }

    /// Nothing more is delivered, for this reason.
    pub(crate) fn end(&self, why: End) {
        self.use_up(|meter| meter.end(why));
        let wakers = self.lock().wakers();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// What to do now, for who captures.
    pub(crate) fn next(&self, now: u64) -> Next {
        self.keep(|state| state.meter.next(now))
    }

    /// What became of a capture.
    pub(crate) fn part(&self, part: Part, now: u64) {
        self.keep(|state| state.meter.part(part, now));
    }

    /// Ends when there is something to do before its time.
    pub(crate) async fn news(&self) {
        poll_fn(|context| {
            let mut state = self.lock();
            if state.meter.is_due() {
                return Poll::Ready(());
            }
            state.keeper = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// The final settlement. Only the first one counts.
    pub(crate) fn close(&self, last: LastWord) {
        self.keep(|state| state.last.get_or_insert(last).clone());
    }

    /// The final settlement, when it is there. Wakes `context` otherwise, also when the answer is over.
    pub(crate) fn poll_last(&self, context: &Context<'_>) -> Poll<LastWord> {
        let mut state = self.lock();
        match state.last.clone() {
            Some(last) => Poll::Ready(last),
            None => {
                state.tap = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether the answer is over. Wakes `context` when it is, and when something was captured.
    pub(crate) fn is_over(&self, context: &Context<'_>) -> bool {
        let mut state = self.lock();
        state.tap = Some(context.waker().clone());
        state.meter.room().is_none()
    }

    /// Uses this much, when it is covered; wakes `context` when it must wait.
    pub(crate) fn poll_charge(&self, cost: u128, context: &Context<'_>) -> Poll<bool> {
        let verdict = self.use_up(|meter| {
            let verdict = meter.reserve(cost);
            if verdict == Verdict::Granted {
                meter.spend(cost);
            }
            verdict
        });
        match verdict {
            Verdict::Granted => Poll::Ready(true),
            Verdict::Full | Verdict::Over => Poll::Ready(false),
            Verdict::Wait => {
                let mut state = self.lock();
                if state.meter.room().is_none_or(|room| room.soon > 0) {
                    context.waker().wake_by_ref();
                } else if !state.charges.iter().any(|waker| waker.will_wake(context.waker())) {
                    state.charges.push(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}
