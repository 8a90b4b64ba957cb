//! A server process that is killed in the middle of paid load, twenty times: the real program, on a real
//! directory, with real clients.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use farthing::client::{AssetId, ClientError, Journal as _, MemoryJournal, Patience, Prepared};
use farthing::native::NativePay;
use farthing::protocol::Amount;
use farthing::protocol::rail::{Confirmation, Pay};
use farthing::{Budget, Client, LocalLedger, keyfile};
use farthing_testkit::{free_port, program};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::task::JoinSet;

const ROUNDS: usize = 20;
const CLIENTS: usize = 16;
/// Pages and what they cost, in atomic units.
const PAGES: [(&str, u128); 3] =
    [("/spec/receipt.md", 1_000), ("/spec/request-digest.md", 2_000), ("/spec/facilitator-http.md", 3_000)];

/// `farthing demo --serve`, until it is killed.
struct Server {
    child: Child,
    origin: String,
    ledger: String,
}

impl Server {
    async fn start(data: &Path, port: u16) -> Self {
        let mut command = Command::new(program("farthing-cli", "farthing"));
        command.args(["demo", "--serve", "--no-story", "--json", "--port", &port.to_string(), "--data"]);
        command.arg(data).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await;
        let line = line.expect("ready in time").unwrap().expect("a line when it is ready");
        let ready: Value = serde_json::from_str(&line).unwrap();
        let text = |key: &str| ready[key].as_str().unwrap().to_owned();
        for (path, price) in PAGES {
            let price = format!("{} XTS", Amount(price).decimal(6));
            let sold = |page: &Value| page["path"] == path && page["price"] == price;
            assert!(ready["pages"].as_array().unwrap().iter().any(sold), "{path} at {price}: {line}");
        }
        Self { child, origin: text("listening"), ledger: text("ledger") }
    }

    /// `kill -9`.
    async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// `farthing ledger check`: it must balance. Returns how many payments it has by state.
async fn check(data: &Path) -> BTreeMap<String, u64> {
    let mut command = Command::new(program("farthing-cli", "farthing"));
    let output = command.args(["ledger", "check", "--json", "--data"]).arg(data).output().await.unwrap();
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{report} {}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["balanced"], true, "{report}");
    let (total, number) =
        (&report["assets"]["XTS"], |value: &Value| value.as_str().unwrap().parse::<i128>().unwrap());
    assert_eq!(number(&total["issued"]), number(&total["accounts"]) + number(&total["held"]), "{report}");
    serde_json::from_value(report["payments"].clone()).unwrap()
}

/// A payment that was signed, and the answer if one came.
#[derive(Clone)]
struct Signed {
    client: usize,
    prepared: Prepared,
    price: u128,
    answer: Option<String>,
}

/// Every payment that was ever signed.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<BTreeMap<String, Signed>>>);

impl Book {
    fn put(&self, signed: Signed) {
        self.0.lock().unwrap().insert(signed.prepared.id().to_string(), signed);
    }

    fn all(&self) -> Vec<Signed> {
        self.0.lock().unwrap().values().cloned().collect()
    }
}

/// Pays until told to stop, and says after each paid answer how many there are now.
async fn pay(at: usize, client: Client, origin: String, book: Book, paid: Arc<Progress>) {
    for nth in at.. {
        let (path, price) = PAGES[nth % PAGES.len()];
        if paid.stop.load(Ordering::SeqCst) {
            return;
        }
        let prepared = match client.get(&format!("{origin}{path}")).sign().await {
            Ok(prepared) => prepared.expect("the page has a price"),
            Err(ClientError::Network { .. }) => return,
            Err(error) => panic!("{error}"),
        };
        let mut signed = Signed { client: at, prepared: prepared.clone(), price, answer: None };
        book.put(signed.clone());
        match client.present(&prepared).await {
            Ok(answer) => {
                let report = answer.payment().unwrap().clone();
                // The body may break off when the server dies: then it is not an answer.
                let (status, text) = (answer.status, answer.text().await);
                let Ok(text) = text else { return };
                assert_eq!(status, 200);
                assert!(report.is_proven(), "{report:?}");
                assert_eq!(report.amount.0, price);
                signed.answer = Some(text);
                book.put(signed);
                paid.count();
            }
            Err(ClientError::Unknown(_) | ClientError::Broken { .. }) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// How far a round is.
struct Progress {
    paid: AtomicUsize,
    enough: usize,
    reached: Notify,
    stop: AtomicBool,
}

impl Progress {
    fn count(&self) {
        if self.paid.fetch_add(1, Ordering::SeqCst) + 1 == self.enough {
            self.reached.notify_one();
        }
    }
}

#[tokio::test]
async fn t02_a_payment_from_before_a_kill_returns_its_stored_answer_after_the_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (data, port) = (directory.path(), free_port());
    let server = Server::start(data, port).await;
    let agent = keyfile::load(data.join("agent.key")).unwrap();
    let wallet = farthing::wallet(&server.ledger, agent).await.unwrap();
    let client = client(&wallet, &Arc::new(MemoryJournal::new()));
    let url = format!("{}{}", server.origin, PAGES[0].0);
    let prepared = client.get(&url).sign().await.unwrap().unwrap();
    let first = client.present(&prepared).await.unwrap();
    let (report, text) = (first.payment().unwrap().clone(), first.text().await.unwrap());
    assert!(report.is_proven() && !report.replayed);
    server.kill().await;
    assert_eq!(check(data).await["captured"], 1);

    let server = Server::start(data, port).await;
    for _ in 0..3 {
        let again = client.present(&prepared).await.unwrap();
        // The receipt says when it was issued: a handler that ran again would have another.
        assert_eq!(again.payment().unwrap().receipt, report.receipt);
        assert!(again.payment().unwrap().replayed);
        assert_eq!(again.text().await.unwrap(), text);
    }
    assert_eq!(check(data).await["captured"], 1);
    // The positive twin: a new payment is captured besides.
    assert!(client.get(&url).await.unwrap().payment().unwrap().is_proven());
    assert_eq!(check(data).await["captured"], 2);
    server.kill().await;
    assert_eq!(check(data).await["captured"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn t02_twenty_kills_under_paid_load_lose_no_money_and_charge_nobody_twice() {
    let directory = tempfile::tempdir().unwrap();
    let (data, port) = (directory.path(), free_port());
    let mut server = Server::start(data, port).await;
    let agent = keyfile::load(data.join("agent.key")).unwrap();
    let wallet = farthing::wallet(&server.ledger, agent.clone()).await.unwrap();
    let asset = AssetId { network: wallet.network().clone(), asset: "XTS".into() };
    let journals: Vec<_> = (0..CLIENTS).map(|_| Arc::new(MemoryJournal::new())).collect();
    let clients: Vec<Client> = journals.iter().map(|journal| client(&wallet, journal)).collect();
    let book = Book::default();

    for round in 0..ROUNDS {
        let enough = 1 + (round * 17) % 53;
        let (paid, reached, stop) = (AtomicUsize::new(0), Notify::new(), AtomicBool::new(false));
        let progress = Arc::new(Progress { paid, enough, reached, stop });
        let mut load = JoinSet::new();
        for (at, client) in clients.iter().enumerate() {
            load.spawn(pay(at, client.clone(), server.origin.clone(), book.clone(), progress.clone()));
        }
        let reached = tokio::time::timeout(Duration::from_secs(30), progress.reached.notified()).await;
        reached.unwrap_or_else(|_| panic!("round {round}: {:?} of {enough} paid", progress.paid));
        server.kill().await;
        progress.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = load.join_next().await {
            ended.unwrap();
        }

        // What the dead process left is sound, and has every payment that was answered.
        let answered = book.all().iter().filter(|signed| signed.answer.is_some()).count() as u64;
        let captured = check(data).await.get("captured").copied().unwrap_or(0);
        assert!(answered <= captured, "round {round}: {answered} paid answers, {captured} captures");

        // A new process on the same directory knows them all: the stored answer, and nothing charged.
        server = Server::start(data, port).await;
        let known = book.all();
        let answered: Vec<_> = known.iter().filter(|signed| signed.answer.is_some()).collect();
        for signed in answered.iter().rev().step_by(1 + answered.len() / 8) {
            let again = clients[signed.client].present(&signed.prepared).await.unwrap();
            let report = again.payment().unwrap();
            assert!(report.is_proven() && report.replayed, "round {round}: {report:?}");
            assert_eq!(again.text().await.ok(), signed.answer, "round {round}");
        }
        // Those without an answer get it, or are told to wait for the dead process's lease; never a new price.
        for signed in known.iter().filter(|signed| signed.answer.is_none()).take(4) {
            match clients[signed.client].present(&signed.prepared).await {
                Ok(answer) => {
                    assert!(answer.payment().unwrap().is_proven());
                    let answer = Some(answer.text().await.unwrap());
                    book.put(Signed { answer, ..(*signed).clone() });
                }
                Err(ClientError::Unknown(unknown)) => {
                    assert_eq!(unknown.confirmation, Confirmation::Open, "round {round}");
                }
                Err(error) => panic!("round {round}: {error}"),
            }
        }
    }

    // By the ledger's signed word, payment by payment.
    let mut taken = 0;
    for signed in book.all() {
        let record = journals[signed.client].find(&signed.prepared.id()).unwrap().unwrap();
        match wallet.status(&record.payment).await {
            Confirmation::Taken(amount) => {
                assert_eq!(amount.0, signed.price);
                taken += signed.price;
            }
            // Held until its deadline, or given back when the dead process's lease had lapsed.
            Confirmation::Open | Confirmation::NotTaken => {
                assert!(signed.answer.is_none(), "answered, and not captured");
            }
            other => panic!("{other:?}"),
        }
    }
    let mut counted = 0;
    for client in &clients {
        client.reconcile().await.unwrap();
        counted += client.spent(&asset).unwrap().taken.0;
    }
    server.kill().await;
    let states = check(data).await;
    let answered = book.all().iter().filter(|signed| signed.answer.is_some()).count() as u64;
    assert!(answered <= states["captured"], "{states:?}");
    assert_eq!(counted, taken, "what clients count as spent is what was taken");
    // And by the books: the seller has each captured payment's price once, and nothing else.
    let seller = keyfile::load(data.join("seller.key")).unwrap().public();
    let ledger = LocalLedger::open(data, seller).await.unwrap();
    assert_eq!(ledger.balance(seller, "XTS").await.unwrap().0, taken);
    assert!(answered >= ROUNDS as u64, "{answered} paid answers in {ROUNDS} rounds");
}

/// A client with plenty of money and no patience: whoever waits for a dead server waits in vain.
fn client(wallet: &Arc<NativePay>, journal: &Arc<MemoryJournal>) -> Client {
    let patience = Patience { tries: 1, ..Patience::default() };
    let budget = Budget::new("100 XTS").unwrap();
    let client = Client::builder().allow_any_origin().rail(wallet.clone()).budget(budget).patience(patience);
    client.journal(journal.clone()).build().unwrap()
}
