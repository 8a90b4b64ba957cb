//! A host: one process that runs tasks, keeps its own time, stalls, crashes and starts again.

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use super::link::Call;
use super::world::{BEGINNING, Sleep, State, World};

type Boot = Arc<dyn Fn(&Host) + Send + Sync>;
type Accept = Arc<dyn Fn(Call) + Send + Sync>;
/// Applies what waits for the ledger as one batch; `false` when the ledger is closed.
pub(crate) type Batch = Box<dyn FnMut() -> bool + Send>;
type Closed = Arc<dyn Fn(&Host) + Send + Sync>;

pub(crate) struct HostState {
    pub(crate) name: String,
    /// Counts the starts; a task of an earlier one never runs again.
    pub(crate) incarnation: u64,
    /// Milliseconds until which nothing of it runs.
    pub(crate) stalled_until: u64,
    pub(crate) accept: Option<Accept>,
    up: bool,
    doomed: bool,
    /// Seconds by which its clock is ahead.
    skew: i64,
    boot: Boot,
    batch: Option<Batch>,
    closed: Option<Closed>,
    batch_due: bool,
}

/// One incarnation of a host.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) world: World,
    pub(crate) id: usize,
    pub(crate) incarnation: u64,
}

impl World {
    /// Adds a host and starts it at once.
    pub(crate) fn add_host(&self, name: &str, boot: impl Fn(&Host) + Send + Sync + 'static) -> usize {
        let id = {
            let mut state = self.lock();
            state.hosts.push(HostState {
                name: name.to_owned(),
                incarnation: 0,
                stalled_until: 0,
                accept: None,
                up: false,
                doomed: false,
                skew: 0,
                boot: Arc::new(boot),
                batch: None,
                closed: None,
                batch_due: false,
            });
            state.hosts.len() - 1
        };
        start(self, id);
        id
    }

    /// Starts what is down, ends what is stalled; chance strikes nobody any more.
    pub(crate) fn calm_down(&self) {
        let mut state = self.lock();
        state.calm = true;
        let now = state.now;
        state.hosts.iter_mut().for_each(|host| host.stalled_until = host.stalled_until.min(now));
        state.say("everybody", "no more faults from here on");
    }
}

impl Host {
    /// Unix seconds by this host's clock.
    pub(crate) fn unix_now(&self) -> u64 {
        let state = self.world.lock();
        (BEGINNING + state.now / 1000).saturating_add_signed(state.hosts[self.id].skew)
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.world.lock().is_alive(self.id, self.incarnation)
    }

    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if self.is_alive() {
            self.world.spawn(self.id, Box::pin(work));
        }
    }

    pub(crate) fn sleep(&self, length: Duration) -> Sleep {
        self.world.sleep(length)
    }

    pub(crate) fn sleep_ms(&self, length: u64) -> Sleep {
        self.world.sleep(Duration::from_millis(length))
    }

    pub(crate) fn say(&self, what: &str) {
        let mut state = self.world.lock();
        let name = state.hosts[self.id].name.clone();
        state.say(&name, what);
    }

    /// A place at which this host may crash or stall.
    pub(crate) async fn point(&self, name: &'static str) {
        if self.crashes_at(name) {
            pending::<()>().await;
        }
        let stall = {
            let mut state = self.world.lock();
            let per_mille = state.plan.stalls;
            let stalls = !state.calm && state.chance(per_mille);
            stalls.then(|| {
                let length = state.random.u64(500..100_000);
                state.figures.stalls += 1;
                state.hosts[self.id].stalled_until = state.now + length;
                length
            })
        };
        if let Some(length) = stall {
            self.say(&format!("stalls for {} s ({name})", length / 1000));
            self.sleep_ms(1).await;
        }
    }

    /// As [`point`](Self::point), where nothing can wait: when this is true, the host is dead and whatever is
    /// still done in this moment has no effect outside.
    pub(crate) fn crashes_at(&self, name: &'static str) -> bool {
        let crashes = {
            let mut state = self.world.lock();
            let per_mille = state.plan.crashes;
            if state.hosts[self.id].doomed {
                return true;
            }
            !state.calm && state.is_alive(self.id, self.incarnation) && state.chance(per_mille)
        };
        if crashes {
            self.die(name);
        }
        crashes
    }

    /// Dies after this moment.
    pub(crate) fn die(&self, why: &str) {
        self.say(&format!("crashes ({why})"));
        let mut state = self.world.lock();
        state.hosts[self.id].doomed = true;
    }

    /// From now on requests are taken.
    pub(crate) fn listen(&self, accept: impl Fn(Call) + Send + Sync + 'static) {
        self.world.lock().hosts[self.id].accept = Some(Arc::new(accept));
    }

    /// From now on `batch` runs soon after each moment in which a task of this host did something; after the
    /// first that fails, `closed` is called and there is none.
    pub(crate) fn keeps_books(&self, batch: Batch, closed: impl Fn(&Self) + Send + Sync + 'static) {
        let mut state = self.world.lock();
        let host = &mut state.hosts[self.id];
        host.batch = Some(batch);
        host.closed = Some(Arc::new(closed));
        host.batch_due = false;
    }
}

impl State {
    pub(crate) fn is_alive(&self, host: usize, incarnation: u64) -> bool {
        let host = &self.hosts[host];
        host.up && !host.doomed && host.incarnation == incarnation
    }

    pub(crate) fn is_up(&self, host: usize) -> bool {
        self.hosts[host].up && !self.hosts[host].doomed
    }
}

/// What follows from what a task just did: a crash, or a batch of the ledger.
pub(crate) fn after_poll(world: &World, id: usize) {
    let mut state = world.lock();
    if state.hosts[id].doomed {
        drop(state);
        return crash(world, id);
    }
    if state.hosts[id].batch.is_none() || state.hosts[id].batch_due {
        return;
    }
    state.hosts[id].batch_due = true;
    let incarnation = state.hosts[id].incarnation;
    let at = state.now + state.random.u64(0..8);
    state.at(at, move |world| run_batch(world, id, incarnation));
}

fn run_batch(world: &World, id: usize, incarnation: u64) {
    let mut batch = {
        let mut state = world.lock();
        if !state.is_alive(id, incarnation) {
            return;
        }
        let stalled_until = state.hosts[id].stalled_until;
        if stalled_until > state.now {
            return state.at(stalled_until, move |world| run_batch(world, id, incarnation));
        }
        state.hosts[id].batch_due = false;
        match state.hosts[id].batch.take() {
            Some(batch) => batch,
            None => return,
        }
    };
    let host = Host { world: world.clone(), id, incarnation };
    let open = batch();
    if open {
        world.lock().hosts[id].batch = Some(batch);
    } else {
        let closed = world.lock().hosts[id].closed.take();
        drop(batch);
        if let Some(closed) = closed
            && host.is_alive()
        {
            closed(&host);
        }
    }
    if world.lock().hosts[id].doomed {
        crash(world, id);
    }
}

fn crash(world: &World, id: usize) {
    let mut state = world.lock();
    let host = &mut state.hosts[id];
    host.up = false;
    host.doomed = false;
    host.incarnation += 1;
    host.stalled_until = 0;
    host.batch_due = false;
    let (accept, batch, closed) = (host.accept.take(), host.batch.take(), host.closed.take());
    let tasks = state.evict(id);
    state.figures.crashes += 1;
    let pause = if state.calm { 500 } else { state.random.u64(100..25_000) };
    let at = state.now + pause;
    state.at(at, move |world| start(world, id));
    drop(state);
    drop((tasks, accept, batch, closed));
}

fn start(world: &World, id: usize) {
    let (boot, host) = {
        let mut state = world.lock();
        let skew = state.random.i64(-3..=3);
        let host = &mut state.hosts[id];
        host.up = true;
        host.skew = skew;
        let (boot, incarnation) = (host.boot.clone(), host.incarnation);
        (boot, Host { world: world.clone(), id, incarnation })
    };
    if host.incarnation > 0 {
        host.say("starts again");
    }
    boot(&host);
}
