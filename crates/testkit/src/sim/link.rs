//! Links: requests and answers between hosts, lost, doubled, late and out of order as the seed says.

use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use farthing::protocol::rail::PaymentId;
use http::{HeaderMap, Method, StatusCode};

use super::host::Host;
use super::world::{State, World};

/// What travels.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// A client's request.
    Request(WebRequest),
    /// A server's answer.
    Answer(WebAnswer),
    /// The JSON of `POST /settle`.
    Settle(Bytes),
    /// Status and JSON of its answer.
    Settled(u16, Bytes),
    /// `GET /payments/{id}`.
    Status(PaymentId),
    /// The JSON of its answer; `None` when the ledger could not say.
    Statement(Option<Bytes>),
}

#[derive(Clone, Debug)]
pub(crate) struct WebRequest {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Clone, Debug)]
pub(crate) struct WebAnswer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Message {
    fn label(&self) -> String {
        match self {
            Self::Request(request) => {
                let paid = request.headers.contains_key("payment-signature");
                format!("{} {}{}", request.method, request.target, if paid { " with a payment" } else { "" })
            }
            Self::Answer(answer) => format!("answer {}", answer.status.as_u16()),
            Self::Settle(_) => "settle".into(),
            Self::Settled(status, _) => format!("answer {status} to settle"),
            Self::Status(_) => "question for a payment's state".into(),
            Self::Statement(_) => "statement".into(),
        }
    }
}

/// A question that somebody waits for, or has waited for.
pub(crate) struct CallState {
    answer: Option<Result<Message, &'static str>>,
    waiting: Option<Waker>,
    /// The other side knows that nobody waits any more.
    gone: bool,
    watching: Vec<Waker>,
}

/// A question as the host has it that is to answer.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) host: Host,
    pub(crate) message: Message,
    id: u64,
}

impl Host {
    /// Sends `message` to host `to` and waits for its answer, no longer than `patience`.
    pub(crate) async fn ask(
        &self,
        to: usize,
        message: Message,
        patience: Duration,
    ) -> Result<Message, &'static str> {
        let id = {
            let mut state = self.world.lock();
            if !state.is_alive(self.id, self.incarnation) {
                return Err("this host is dead");
            }
            state.next_call += 1;
            let id = state.next_call;
            let call = CallState { answer: None, waiting: None, gone: false, watching: Vec::new() };
            state.calls.insert(id, call);
            send(&mut state, self.id, message, move |world, message| arrive(world, id, to, message));
            id
        };
        let _waiting = Waiting { world: self.world.clone(), id };
        let mut pause = std::pin::pin!(self.sleep(patience));
        poll_fn(|context| {
            let mut state = self.world.lock();
            if let Some(call) = state.calls.get_mut(&id) {
                if let Some(answer) = call.answer.take() {
                    return Poll::Ready(answer);
                }
                call.waiting = Some(context.waker().clone());
            }
            drop(state);
            pause.as_mut().poll(context).map(|()| Err("no answer in time"))
        })
        .await
    }
}

/// Somebody waits; when this is dropped, nobody does, and the other side learns it a moment later.
struct Waiting {
    world: World,
    id: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.world.lock();
        let id = self.id;
        let at = state.now + state.random.u64(1..200);
        state.at(at, move |world| {
            let mut state = world.lock();
            if let Some(call) = state.calls.get_mut(&id) {
                call.gone = true;
                call.watching.drain(..).for_each(Waker::wake);
            }
        });
    }
}

impl Call {
    /// Sends the answer.
    pub(crate) fn reply(&self, message: Message) {
        let mut state = self.host.world.lock();
        if !state.is_alive(self.host.id, self.host.incarnation) {
            return;
        }
        let id = self.id;
        send(&mut state, self.host.id, message, move |world, message| answered(world, id, Ok(message)));
    }

    /// Whether this side knows that nobody waits any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.host.world.lock().calls.get(&self.id).is_none_or(|call| call.gone)
    }

    /// Ends when nobody waits any more.
    pub(crate) async fn gone(&self) {
        poll_fn(|context| {
            let mut state = self.host.world.lock();
            match state.calls.get_mut(&self.id) {
                Some(call) if !call.gone => {
                    call.watching.push(context.waker().clone());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        })
        .await;
    }
}

/// Puts a message on its way, once, twice or not at all.
fn send(
    state: &mut State,
    from: usize,
    message: Message,
    arrive: impl Fn(&World, Message) + Clone + Send + 'static,
) {
    let links = state.plan.links;
    let name = state.hosts[from].name.clone();
    if !state.calm && state.chance(links.drops) {
        state.figures.dropped += 1;
        return state.say(&name, &format!("sends {}, which is lost", message.label()));
    }
    let copies = if !state.calm && state.chance(links.doubles) { 2 } else { 1 };
    if copies == 2 {
        state.figures.duplicated += 1;
        state.say(&name, &format!("sends {}, which arrives twice", message.label()));
    }
    for _ in 0..copies {
        let delay = match () {
            () if state.calm => state.random.u64(1..20),
            () if state.chance(links.delays / 8) => state.random.u64(20_000..120_000),
            () if state.chance(links.delays) => state.random.u64(300..20_000),
            () => state.random.u64(1..40),
        };
        if delay >= 10_000 {
            state.say(&name, &format!("sends {}, which takes {} s", message.label(), delay / 1000));
        }
        let (message, arrive) = (message.clone(), arrive.clone());
        let at = state.now + delay;
        state.at(at, move |world| arrive(world, message));
    }
}

fn arrive(world: &World, id: u64, to: usize, message: Message) {
    let mut state = world.lock();
    let accept = if state.is_up(to) { state.hosts[to].accept.clone() } else { None };
    let Some(accept) = accept else {
        // Refused at once, or silence.
        if state.calm || state.random.bool() {
            let at = state.now + 5;
            state.at(at, move |world| answered(world, id, Err("connection refused")));
        }
        return;
    };
    let host = Host { world: world.clone(), id: to, incarnation: state.hosts[to].incarnation };
    drop(state);
    accept(Call { host, message, id });
}

fn answered(world: &World, id: u64, answer: Result<Message, &'static str>) {
    let mut state = world.lock();
    if let Some(call) = state.calls.get_mut(&id)
        && !call.gone
        && call.answer.is_none()
    {
        call.answer = Some(answer);
        let waiting = call.waiting.take();
        drop(state);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}
