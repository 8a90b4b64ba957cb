//! One ledger, one PostgreSQL server, two processes, and clients of both at the same time, while connections
//! break and the server crashes. What they did is recorded, and has to be explained by some order of single
//! operations, payer by payer; afterwards the whole ledger is checked and the money counted.

mod proxy;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use farthing::Ledger;
use farthing::farthing_ledger::LedgerId;
use farthing_testkit::engine::{Engine, Place, Postgres};
use farthing_testkit::history::{Ask, Desk, Heard, Load, Ran};
use farthing_testkit::postgres::{Cluster, Schema};
use farthing_testkit::seller::{Orders, Seller, options};
use proxy::Proxy;
use tokio::sync::Mutex;

/// Opens a ledger on a thread that may block.
async fn open(place: Place) -> Ledger {
    tokio::task::spawn_blocking(move || place.open(options(0))).await.unwrap()
}

/// Two processes on one schema, and payers with money.
struct Shared {
    load: Load,
    id: LedgerId,
    direct: Place,
    _directory: tempfile::TempDir,
    orders: [Orders; 2],
    desks: Vec<Arc<dyn Desk>>,
    sellers: Mutex<[Option<Seller>; 2]>,
}

impl Shared {
    /// `places` are where the two processes find the one ledger.
    async fn start(load: Load, direct: Place, places: [Place; 2]) -> Self {
        let ledger = open(direct.clone()).await;
        let id = ledger.id();
        load.fund(&ledger).await;
        drop(ledger);
        let directory = tempfile::tempdir().unwrap();
        let [first, second] = places.map(|place| Seller::orders(place, directory.path()));
        let second = Orders { origin: first.origin.clone(), ..second };
        let sellers = [Seller::start(&first).await, Seller::start(&second).await];
        let desks = sellers.iter().map(Seller::desk).collect();
        let sellers = Mutex::new(sellers.map(Some));
        Self { load, id, direct, _directory: directory, orders: [first, second], desks, sellers }
    }

    /// Kills a process, and starts the next one in its place.
    async fn replace(&self, nth: usize) {
        let mut sellers = self.sellers.lock().await;
        if let Some(seller) = sellers[nth].take() {
            seller.kill().await;
        }
        sellers[nth] = Some(Seller::start(&self.orders[nth]).await);
    }

    /// Waits until both processes answer.
    async fn answers(&self) {
        let read = Ask::Balance(self.load.payer(0).public());
        for desk in &self.desks {
            let waits = async {
                while !matches!(desk.ask(read.clone()).await, Heard::Answered(_)) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), waits).await.expect("it recovers");
        }
    }

    /// Runs the load while `trouble` comes so many times, each time when everything works again.
    async fn run(&self, times: usize, trouble: impl AsyncFn(usize)) -> Ran {
        let stop = Arc::new(AtomicBool::new(false));
        let troubled = async {
            for nth in 0..times {
                self.answers().await;
                tokio::time::sleep(Duration::from_millis(250 + 40 * (nth as u64 % 5))).await;
                trouble(nth).await;
            }
            self.answers().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            stop.store(true, Ordering::SeqCst);
        };
        let calm = self.answers();
        let ran = self.load.run_until(self.id, self.desks.clone(), stop.clone(), calm);
        tokio::join!(ran, troubled).0
    }

    /// Kills both processes, and says what they left behind.
    async fn end(self, ran: &Ran) {
        for seller in self.sellers.into_inner().into_iter().flatten() {
            seller.kill().await;
        }
        let ledger = open(self.direct).await;
        let report = ledger.check().await.unwrap();
        assert!(report.balanced(), "{:?}", report.faults);
        let xts = report.assets["XTS"];
        assert_eq!(xts.issued, xts.accounts + xts.held, "{report:?}");
        assert!(report.chains >= 2, "both processes wrote: {report:?}");

        let start = Instant::now();
        let explained = ran.history.check().unwrap_or_else(|violation| panic!("{violation}"));
        println!("{explained:?} in {:?}; {:?}; {:?}", start.elapsed(), ran.heard, report.payments);
        assert_eq!(explained.accounts, self.load.accounts);
        for what in
            ["held", "taken over", "in progress", "ended", "captured", "voided", "refunded", "refused"]
        {
            assert!(ran.heard.get(what).is_some_and(|count| *count > 5), "{what}: {:?}", ran.heard);
        }
    }
}

fn load(seed: u64) -> Load {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Load { seed, accounts: 24, clients: 6, operations: 10_000, payments: 30, now }
}

fn unknown(ran: &Ran) -> usize {
    ran.heard.get("unknown").copied().unwrap_or(0)
}

/// One for each process.
async fn proxies(engine: &Postgres) -> [Proxy; 2] {
    let port = engine.0.cluster().port();
    [Proxy::start(port).await, Proxy::start(port).await]
}

/// As [`Postgres`] says, over a proxy's port.
fn through(schema: &Schema, proxy: &Proxy) -> Place {
    Place::Postgres { url: schema.url_on(proxy.port()), schema: schema.name.clone() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "cargo xtask test"]
async fn two_processes_on_one_postgres_have_a_history_that_is_explained() {
    let engine = Postgres::default();
    let shared = Shared::start(load(11), engine.place(), [engine.place(), engine.place()]).await;
    let ran = shared.run(10, async |_| {}).await;
    assert_eq!((unknown(&ran), ran.heard.get("untaken")), (0, None));
    shared.end(&ran).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "cargo xtask test"]
async fn connections_to_postgres_that_break_leave_a_history_that_is_explained() {
    let engine = Postgres::default();
    let proxies = proxies(&engine).await;
    let places = [through(&engine.0, &proxies[0]), through(&engine.0, &proxies[1])];
    let shared = Shared::start(load(12), engine.place(), places).await;
    let trouble = async |nth: usize| {
        let proxy = &proxies[nth / 3 % 2];
        match nth % 3 {
            // The server commits, and nobody hears of it.
            0 => {
                proxy.lose_the_answer_to_a_commit();
                tokio::time::sleep(Duration::from_millis(100)).await;
                proxy.cut();
            }
            // Both sides find the line dead.
            1 => proxy.cut(),
            // The server ends the sessions, wherever they are.
            _ => assert!(engine.0.kill_connections() >= 2),
        }
    };
    let ran = shared.run(24, trouble).await;
    assert!(unknown(&ran) > 10, "{:?}", ran.heard);
    shared.end(&ran).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "cargo xtask test"]
async fn a_crash_of_postgres_under_load_leaves_a_history_that_is_explained() {
    let cluster = tokio::task::spawn_blocking(Cluster::own).await.unwrap();
    let engine = Arc::new(Postgres(cluster.schema()));
    let proxies = proxies(&engine).await;
    let places = [through(&engine.0, &proxies[0]), through(&engine.0, &proxies[1])];
    let shared = Shared::start(load(13), engine.place(), places).await;
    let trouble = async |nth: usize| {
        if nth.is_multiple_of(2) {
            // Nobody hears of the last commits before the crash.
            proxies.iter().for_each(Proxy::lose_the_answer_to_a_commit);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let crashes = engine.clone();
        tokio::task::spawn_blocking(move || crashes.0.cluster().restart_immediately()).await.unwrap();
        proxies.iter().for_each(Proxy::cut);
    };
    let ran = shared.run(6, trouble).await;
    assert!(unknown(&ran) > 0 && ran.heard["untaken"] > 0, "{:?}", ran.heard);
    shared.end(&ran).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "cargo xtask test"]
async fn processes_that_are_killed_under_load_leave_a_history_that_is_explained() {
    let engine = Postgres::default();
    let shared = Shared::start(load(14), engine.place(), [engine.place(), engine.place()]).await;
    let ran = shared.run(10, async |nth| shared.replace(nth % 2).await).await;
    assert!(unknown(&ran) > 10, "{:?}", ran.heard);
    shared.end(&ran).await;
}
