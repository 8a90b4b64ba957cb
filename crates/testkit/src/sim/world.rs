//! The world: one thread, a virtual clock, tasks, and everything that is due.
//!
//! One [`step`](World::step) polls one task or lets one thing happen that is due. Which of several ready tasks
//! comes first is drawn from the seed, as every other chance is, so a seed is a whole history.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::figures::Figures;
use super::host::HostState;
use super::link::CallState;
use super::oracle::Oracle;
use super::plan::Plan;
use super::planted::{Planted, Soil};
use super::trace::Trace;

/// The first moment of every history, in Unix seconds.
pub(crate) const BEGINNING: u64 = 1_800_000_000;

pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;
type Happening = Box<dyn FnOnce(&World) + Send>;

/// A handle to the world. Everybody in it has one.
#[derive(Clone)]
pub(crate) struct World {
    state: Arc<Mutex<State>>,
    ready: Arc<Mutex<Vec<u64>>>,
}

/// All that there is, behind one lock that is held for moments and never while a task is polled.
pub(crate) struct State {
    /// Milliseconds since [`BEGINNING`].
    pub(crate) now: u64,
    pub(crate) random: fastrand::Rng,
    pub(crate) plan: Plan,
    pub(crate) hosts: Vec<HostState>,
    pub(crate) calls: BTreeMap<u64, CallState>,
    pub(crate) next_call: u64,
    pub(crate) trace: Trace,
    pub(crate) figures: Figures,
    pub(crate) oracle: Oracle,
    pub(crate) planted: Option<Planted>,
    pub(crate) soil: Soil,
    /// From here on nothing is lost, late or struck by chance.
    pub(crate) calm: bool,
    due: BinaryHeap<Reverse<Due>>,
    order: u64,
    tasks: BTreeMap<u64, Task>,
    next_task: u64,
}

struct Task {
    host: usize,
    /// Taken out while it is polled.
    work: Option<Work>,
}

struct Due {
    at: u64,
    order: u64,
    what: What,
}

enum What {
    Wake(Waker),
    Ready(u64),
    Happen(Happening),
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Wakes one task.
struct Bell {
    task: u64,
    ready: Arc<Mutex<Vec<u64>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if !ready.contains(&self.task) {
            ready.push(self.task);
        }
    }
}

impl State {
    /// Lets `what` happen at `at`, in milliseconds.
    pub(crate) fn at(&mut self, at: u64, what: impl FnOnce(&World) + Send + 'static) {
        self.push(at, What::Happen(Box::new(what)));
    }

    pub(crate) fn wake_at(&mut self, at: u64, waker: Waker) {
        self.push(at, What::Wake(waker));
    }

    fn push(&mut self, at: u64, what: What) {
        self.order += 1;
        self.due.push(Reverse(Due { at: at.max(self.now), order: self.order, what }));
    }

    /// Writes a line of the trace. The text is made only when somebody may read it or its hash.
    pub(crate) fn say(&mut self, who: &str, what: &str) {
        self.trace.line(self.now, who, what);
    }

    /// Whether a chance of so many in a thousand comes up.
    pub(crate) fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.random.u32(0..1000) < per_mille
    }

    /// Takes the tasks of a host out, for their owner to drop once the lock is released.
    pub(crate) fn evict(&mut self, host: usize) -> Vec<Work> {
        let gone: Vec<u64> =
            self.tasks.iter().filter(|(_, task)| task.host == host).map(|(id, _)| *id).collect();
        gone.iter().filter_map(|id| self.tasks.remove(id)).filter_map(|task| task.work).collect()
    }
}

impl World {
    pub(crate) fn new(plan: Plan, random: fastrand::Rng, planted: Option<Planted>, keep_trace: bool) -> Self {
        let state = State {
            now: 0,
            random,
            plan,
            hosts: Vec::new(),
            calls: BTreeMap::new(),
            next_call: 0,
            trace: Trace::new(keep_trace),
            figures: Figures::default(),
            oracle: Oracle::default(),
            planted,
            soil: Soil::default(),
            calm: false,
            due: BinaryHeap::new(),
            order: 0,
            tasks: BTreeMap::new(),
            next_task: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), ready: Arc::default() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the beginning.
    pub(crate) fn now(&self) -> u64 {
        self.lock().now
    }

    /// Starts a task of `host`.
    pub(crate) fn spawn(&self, host: usize, work: Work) {
        let mut state = self.lock();
        state.next_task += 1;
        let id = state.next_task;
        state.tasks.insert(id, Task { host, work: Some(work) });
        self.ring(id);
    }

    /// Waits for `length` of virtual time.
    pub(crate) fn sleep(&self, length: Duration) -> Sleep {
        let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Sleep { world: self.clone(), until: self.now().saturating_add(length), set: false }
    }

    /// One step; `false` when nothing will ever happen again, or not before `until`, in milliseconds.
    pub(crate) fn step(&self, until: u64) -> bool {
        if let Some(task) = self.pick() {
            self.poll(task);
            return true;
        }
        let mut state = self.lock();
        match state.due.peek() {
            Some(Reverse(due)) if due.at <= until => {}
            _ => {
                state.now = state.now.max(until);
                return false;
            }
        }
        let Some(Reverse(Due { at, what, .. })) = state.due.pop() else { return false };
        state.now = at;
        drop(state);
        match what {
            What::Wake(waker) => waker.wake(),
            What::Ready(task) => self.ring(task),
            What::Happen(happening) => happening(self),
        }
        true
    }

    /// Ends the world: tasks and hosts have handles to it, and it to them.
    pub(crate) fn end(&self) {
        loop {
            let mut state = self.lock();
            let (tasks, due) = (std::mem::take(&mut state.tasks), std::mem::take(&mut state.due));
            drop(state);
            if tasks.is_empty() && due.is_empty() {
                break;
            }
            // What is dropped may still look at its host, and let something be due.
            drop((tasks, due));
        }
        let hosts = std::mem::take(&mut self.lock().hosts);
        drop(hosts);
    }

    fn ring(&self, task: u64) {
        Arc::new(Bell { task, ready: self.ready.clone() }).wake();
    }

    /// One of the ready tasks, whichever the seed says.
    fn pick(&self) -> Option<u64> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        match ready.len() {
            0 => None,
            1 => ready.pop(),
            many => {
                let at = self.lock().random.usize(0..many);
                Some(ready.remove(at))
            }
        }
    }

    fn poll(&self, id: u64) {
        let (mut work, host, incarnation) = {
            let mut state = self.lock();
            let Some(task) = state.tasks.get_mut(&id) else { return };
            let host = task.host;
            let stalled_until = state.hosts[host].stalled_until;
            if stalled_until > state.now {
                state.push(stalled_until, What::Ready(id));
                return;
            }
            let incarnation = state.hosts[host].incarnation;
            let Some(work) = state.tasks.get_mut(&id).and_then(|task| task.work.take()) else { return };
            (work, host, incarnation)
        };
        let waker = Waker::from(Arc::new(Bell { task: id, ready: self.ready.clone() }));
        let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
        let spent = self.put_back(id, (host, incarnation), work, polled.is_ready());
        drop(spent);
        super::host::after_poll(self, host);
    }
}

impl World {
    /// Keeps a task that goes on; returns one that does not, to be dropped while nothing is locked.
    fn put_back(&self, id: u64, (host, incarnation): (usize, u64), work: Work, ended: bool) -> Option<Work> {
        let mut state = self.lock();
        if ended || state.hosts[host].incarnation != incarnation {
            state.tasks.remove(&id);
            return Some(work);
        }
        match state.tasks.get_mut(&id) {
            Some(task) => {
                task.work = Some(work);
                None
            }
            None => Some(work),
        }
    }
}

/// A pause in virtual time.
pub(crate) struct Sleep {
    world: World,
    until: u64,
    set: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (until, set) = (self.until, self.set);
        let mut state = self.world.lock();
        if state.now >= until {
            return Poll::Ready(());
        }
        if !set {
            state.wake_at(until, context.waker().clone());
            drop(state);
            self.set = true;
        }
        Poll::Pending
    }
}
