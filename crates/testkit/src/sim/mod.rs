//! The simulator: clients, servers, a facilitator and a ledger in one thread, under a virtual clock.
//!
//! The real state machines run here: the client's flow with its policy, budget and journal; the server's flow,
//! desk and serving; the native rail; the facilitator; the ledger's committer. Simulated is only what is around
//! them: links that lose, double and delay, processes that crash at named points and start again from what was
//! flushed, commits of which nobody knows the outcome, handlers that fail and dawdle, a payer who cheats. All
//! chance comes from one seed, so a seed is a history, and it happens the same way every time.
//!
//! [`run`] plays one seed. The oracle looks after every commit, answer and handler run, and at the end:
//! money is conserved; a payment, and a nonce, is captured at most once; a handler runs once for a payment
//! except after a takeover, and never without a hold; work that was done is captured, work that failed is
//! voided, every hold ends; a client never signs again while its first payment may land; and nothing is said
//! outside that a crash could take back. Faults can be [planted](Planted) to see that it notices.

mod asked;
mod books;
mod disk;
mod figures;
mod host;
mod link;
mod oracle;
mod payer;
mod plan;
mod planted;
mod shop;
mod thief;
mod trace;
mod world;

use std::sync::{Arc, OnceLock};

pub use figures::Figures;
pub use planted::Planted;
pub use trace::Trace;

use books::{Books, make};
use disk::Disk;
use host::Host;
use payer::{Purse, purse, wallet};
use plan::{Place, Plan};
use thief::Thief;
use world::World;

use crate::key;

/// Milliseconds of faults.
const STORMY: u64 = 240_000;
/// Milliseconds after which everybody who lives has settled.
const SETTLED: u64 = STORMY + 150_000;
/// Milliseconds after which every hold has ended and every client knows.
const OVER: u64 = STORMY + 1_500_000;
/// Milliseconds after which everything is presented once more, long after all of it has expired.
const LONG_AFTER: u64 = OVER + 7_300_000;
/// Steps after which a history is called endless.
const ENDLESS: u64 = 2_000_000;

/// What came of one seed.
#[derive(Clone, Debug)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// What must never be, and was.
    pub violation: Option<String>,
    /// What happened, counted.
    pub figures: Figures,
    /// What happened, line by line.
    pub trace: Trace,
}

/// Plays one seed, with a fault planted or without. `keep_trace` keeps the lines; their hash is there anyway.
pub fn run(seed: u64, planted: Option<Planted>, keep_trace: bool) -> Run {
    let mut random = fastrand::Rng::with_seed(seed);
    let plan = Plan::draw(&mut random);
    let words = plan.words();
    let world = World::new(plan, random, planted, keep_trace);
    world.lock().say("seed", &format!("{seed}: {words}"));
    let cast = Cast::of(&world);
    let acts: [(u64, Act); 6] = [
        (STORMY, |_, world| world.calm_down()),
        (SETTLED, Cast::has_settled),
        (OVER, Cast::wakes_ledger),
        (OVER + 60_000, Cast::is_over),
        (LONG_AFTER, Cast::thief_returns),
        (LONG_AFTER + 600_000, Cast::is_over_for_good),
    ];
    let mut steps = 0;
    for (moment, act) in acts {
        if !play(&world, moment, &mut steps) {
            break;
        }
        act(&cast, &world);
    }
    let run = {
        let mut state = world.lock();
        let state = &mut *state;
        state.figures.steps = steps;
        state.figures.seeds = 1;
        let violation = state.oracle.violation().map(str::to_owned);
        if let Some(violation) = &violation {
            state.say("VIOLATION", violation);
        }
        Run { seed, violation, figures: state.figures, trace: state.trace.clone() }
    };
    world.end();
    run
}

/// Plays until `moment`, in milliseconds; `false` when something is wrong.
fn play(world: &World, moment: u64, steps: &mut u64) -> bool {
    loop {
        let more = world.step(moment);
        let mut state = world.lock();
        if *steps > ENDLESS {
            state.oracle.fail("the history does not end".into());
        }
        if state.oracle.violation().is_some() {
            return false;
        }
        if !more {
            return true;
        }
        *steps += 1;
    }
}

/// What is done at a certain moment.
type Act = fn(&Cast, &World);

/// Everybody in one history.
struct Cast {
    disk: Disk,
    /// A process that has the ledger open.
    teller: usize,
    payers: Vec<Purse>,
    thief: Thief,
    thief_host: usize,
}

impl Cast {
    fn of(world: &World) -> Self {
        let plan = world.lock().plan.clone();
        let disk = Disk::new(world);
        let payer_key = |n: usize| key(u8::try_from(n + 1).unwrap_or(1));
        let thief_key = key(99);
        let mut accounts: Vec<_> = (0..plan.payers).map(|n| (payer_key(n).public(), 1_500_000)).collect();
        accounts.push((thief_key.public(), 6 * shop::PRICE));
        let supported = make(&disk, &accounts);

        let facilitator = (plan.place == Place::Facilitator).then(|| {
            let disk = disk.clone();
            world.add_host("facilitator", move |host| {
                let books = Books::open(host, &disk);
                host.listen(move |call| {
                    books.answer(&call);
                });
            })
        });
        let mut servers = Vec::new();
        for n in 1..=plan.servers {
            let (disk, supported) = (facilitator.is_none().then(|| disk.clone()), supported.clone());
            servers.push(world.add_host(&format!("server {n}"), move |host| {
                shop::boot(host, &supported, disk.as_ref(), facilitator.unwrap_or(0));
            }));
        }
        let teller = facilitator.unwrap_or(servers[0]);
        let mut payers = Vec::new();
        for n in 0..plan.payers {
            let kept: Arc<OnceLock<Purse>> = Arc::default();
            let (mine, servers, supported) = (kept.clone(), servers.clone(), supported.clone());
            world.add_host(&format!("payer {}", n + 1), move |host| {
                mine.get_or_init(|| purse(host, teller, &servers, &supported, payer_key(n))).boot(host);
            });
            payers.extend(kept.get().cloned());
        }
        let kept: Arc<OnceLock<Thief>> = Arc::default();
        let (mine, its_servers) = (kept.clone(), servers.clone());
        let thief_host = world.add_host("thief", move |host| {
            let thief = mine.get_or_init(|| {
                let wallet = wallet(host, teller, &supported, thief_key.clone());
                Thief::new(Arc::new(wallet), &its_servers)
            });
            thief.boot(host);
        });
        let thief = kept.get().cloned().expect("its host was started");
        Self { disk, teller, payers, thief, thief_host }
    }

    /// A while after the storm: what was run is settled.
    fn has_settled(&self, world: &World) {
        let mut state = world.lock();
        let state = &mut *state;
        let hosts: Vec<u64> = state.hosts.iter().map(|host| host.incarnation).collect();
        let calm_since = world::BEGINNING + STORMY / 1000;
        state.oracle.settled_by_now(state.now, calm_since, |host, incarnation| hosts[host] == incarnation);
    }

    /// Somebody asks the ledger for something, so that it looks at its clock.
    fn wakes_ledger(&self, world: &World) {
        let host = self.host(world, self.thief_host);
        let teller = self.teller;
        let asking = host.clone();
        host.spawn(async move {
            let nothing = farthing::protocol::rail::PaymentId([0; 32]);
            let patience = std::time::Duration::from_secs(10);
            drop(asking.ask(teller, link::Message::Status(nothing), patience).await);
        });
    }

    fn thief_returns(&self, world: &World) {
        self.thief.replay_all(&self.host(world, self.thief_host));
    }

    fn host(&self, world: &World, id: usize) -> Host {
        let incarnation = world.lock().hosts[id].incarnation;
        Host { world: world.clone(), id, incarnation }
    }

    /// Every hold has ended, every errand is over, and every payer's books agree with the ledger's. Then the
    /// thief comes back.
    fn is_over(&self, world: &World) {
        self.has_settled(world);
        self.agrees(world);
        self.thief_returns(world);
    }

    /// And nothing came of it.
    fn is_over_for_good(&self, world: &World) {
        self.agrees(world);
        let mut state = world.lock();
        let state = &mut *state;
        state.oracle.check(&mut self.disk.flushed(), &mut state.figures);
    }

    fn agrees(&self, world: &World) {
        let mut state = world.lock();
        state.oracle.all_over();
        for (n, payer) in self.payers.iter().enumerate() {
            let name = n + 1;
            if !payer.is_done() {
                state.oracle.fail(format!("an errand of payer {name} never ended"));
            }
            let of = |(_, story): &(_, &oracle::Story)| story.payer == payer.account;
            let taken: u128 = state.oracle.stories().filter(of).map(|(_, story)| story.captured).sum();
            let spent = payer.spent();
            if spent != Some(taken) {
                state
                    .oracle
                    .fail(format!("payer {name} thinks that {spent:?} was taken, and it was {taken}"));
            }
        }
    }
}
