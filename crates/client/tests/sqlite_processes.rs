//! Several processes with one journal, one of which is killed. The other processes are this file again, asked
//! for [`a_process_of_its_own`] only.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod scripted;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use farthing_client::budget::{Charge, Limit, Limits, Scope};
use farthing_client::error::ResumeError;
use farthing_client::flow::{Action, Answer, End, Event};
use farthing_client::{
    Budget, Client, ClientError, Flow, Journal, Patience, Policy, Request, Rule, SqliteJournal, State,
};
use farthing_protocol::Amount;
use farthing_protocol::rail::Confirmation;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use scripted::*;
use tempfile::TempDir;

const PRICE: u64 = 1_000;
/// When everything is signed: Unix seconds.
const NOW: u64 = 1_800_000_000;
/// The midnight after it.
const TOMORROW: u64 = 1_800_057_600;
/// In seconds; whole ones, as the journal counts them.
const SIGNING_TIME: Duration = Duration::from_secs(1);
const THREADS: usize = 20;

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.sqlite");
    (directory, path)
}

fn open(path: &Path) -> SqliteJournal {
    // Disks of machines that run many tests are slow.
    let journal = SqliteJournal::open(path, &BTreeMap::new()).unwrap();
    journal.signing_time(SIGNING_TIME).waits(Duration::from_secs(60))
}

/// Money for ten, of which six can be spent on a task and eight on a day.
fn levels(path: &Path, rail: &Arc<Rail>) -> Arc<Policy> {
    let budget =
        Budget::new("0.01 XTS").unwrap().per_task("0.006 XTS").unwrap().per_day("0.008 XTS").unwrap();
    let builder = Client::builder().allow_any_origin().rail(rail.clone()).budget(budget).agent("researcher");
    builder.journal(Arc::new(open(path))).policy().unwrap()
}

fn policy(path: &Path, rail: &Arc<Rail>) -> Arc<Policy> {
    builder(rail).journal(Arc::new(open(path))).policy().unwrap()
}

/// Signs for one request whose price is [`PRICE`]. Says why not, where a budget or a freeze is why.
fn sign(policy: &Arc<Policy>) -> Result<(), Rule> {
    sign_for(policy, None, NOW)
}

fn sign_for(policy: &Arc<Policy>, task: Option<&str>, now: u64) -> Result<(), Rule> {
    let Reply::Say { status, headers, body } = unpaid(&[offer(PRICE)]) else { panic!("an answer") };
    let headers = headers
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()));
    let headers = HeaderMap::from_iter(headers);
    let status = StatusCode::from_u16(status).unwrap();
    let mut random = [0; 32];
    getrandom::fill(&mut random).unwrap();
    let mut request = Request::new(Method::GET, "https://shop.example/goods").unwrap();
    if let Some(task) = task {
        request.set_task(task).unwrap();
    }
    let mut flow = Flow::sign(policy.clone(), request);
    let mut event = Event::Start;
    loop {
        event = match flow.step(event, now, random) {
            Action::Send => {
                let (headers, body) = (headers.clone(), body.clone().into());
                Event::Answered(Answer { status, headers, body, complete: true })
            }
            Action::LookUp => Event::LookedUp(Ok(())),
            Action::Done(end) => match *end {
                Ok(End::Signed(_)) => return Ok(()),
                Err(ClientError::Refused(refused)) => return Err(refused.rule),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
    }
}

/// Signs for `calls` requests at once, as far as there is money.
fn storm(policy: &Arc<Policy>, calls: usize) {
    storm_by(calls, |_| sign(policy));
}

/// As many calls by other threads at once.
fn storm_by(calls: usize, sign: impl Fn(usize) -> Result<(), Rule> + Sync) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let sign = &sign;
            scope.spawn(move || {
                for _ in 0..calls / THREADS {
                    match sign(thread) {
                        Ok(()) => say("signed"),
                        Err(rule) => assert!(matches!(rule, Rule::OverBudget(_)), "{rule:?}"),
                    }
                }
            });
        }
    });
}

fn say(word: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "> {word}").unwrap();
    out.flush().unwrap();
}

/// What the other processes do: nothing, unless a test asks for it.
#[test]
fn a_process_of_its_own() {
    let Ok(task) = std::env::var("FARTHING_TEST_TASK") else { return };
    let path = PathBuf::from(std::env::var("FARTHING_TEST_JOURNAL").unwrap());
    let rail = Rail::new();
    let mut orders = std::io::stdin().lines();
    let mut wait = || orders.next().is_some_and(|order| order.is_ok());
    match task.as_str() {
        "storm" => {
            let policy = policy(&path, &rail);
            say("ready");
            wait();
            storm(&policy, 500);
            say(&format!("end {}", rail.signed()));
        }
        // Half of its calls are for one task and half for the other.
        "storm for two tasks" => {
            let policy = levels(&path, &rail);
            say("ready");
            wait();
            storm_by(500, |thread| sign_for(&policy, Some(["one", "two"][thread % 2]), NOW));
            say(&format!("end {}", rail.signed()));
        }
        "storm after reserving" => {
            let policy = policy(&path, &rail);
            let charge = Charge {
                asset: xts(),
                origin: "https://shop.example".parse().unwrap(),
                amount: Amount(PRICE.into()),
                payee: offer(PRICE)["payTo"].as_str().unwrap().to_owned(),
                agent: None,
                task: None,
                at: NOW,
            };
            open(&path).reserve(&charge, &Limits::of(Amount(10_000))).unwrap();
            say("ready");
            wait();
            storm(&policy, 500);
            wait();
        }
        "one by one" => {
            let policy = policy(&path, &rail);
            say("ready");
            while wait() {
                say(&match sign(&policy) {
                    Ok(()) => "signed".to_owned(),
                    Err(rule) => format!("{rule:?}"),
                });
            }
        }
        "buy" => {
            let patience = Patience { tries: 2, window: 600, pause: Duration::from_secs(600) };
            let client = builder(&rail).journal(Arc::new(open(&path))).patience(patience).build().unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let url = std::env::var("FARTHING_TEST_URL").unwrap();
            let request = client.request(Method::POST, &url).header("x-order", "7").body("two of them");
            runtime.block_on(async { request.await.unwrap() });
        }
        other => panic!("{other}"),
    }
}

/// Another process; killed when dropped.
struct Other {
    process: Child,
    says: Lines<BufReader<ChildStdout>>,
}

impl Other {
    fn start(task: &str, path: &Path, url: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_process_of_its_own", "--nocapture", "--test-threads=1"])
            .env("FARTHING_TEST_TASK", task)
            .env("FARTHING_TEST_JOURNAL", path)
            .env("FARTHING_TEST_URL", url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, says }
    }

    fn ready(task: &str, path: &Path) -> Self {
        let mut other = Self::start(task, path, "");
        assert_eq!(other.hear().as_deref(), Some("ready"));
        other
    }

    /// The next word it says; `None` after its end.
    fn hear(&mut self) -> Option<String> {
        // The test harness writes lines of its own, and the beginning of one.
        let word = |line: String| line.split_once("> ").map(|(_, word)| word.to_owned());
        self.says.by_ref().find_map(|line| word(line.unwrap()))
    }

    fn order(&mut self) {
        self.process.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    fn ask(&mut self) -> String {
        self.order();
        self.hear().unwrap()
    }

    /// `kill -9`: nothing in it runs any more.
    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Exactly ten payments, each of its own.
fn assert_ten(path: &Path) {
    let journal = open(path);
    let mut ids: Vec<_> = journal.unfinished().unwrap().iter().map(|record| record.id().0).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 10);
    assert_eq!(journal.spending().unwrap().total(&xts()), Amount(10_000));
}

#[test]
fn t30_five_hundred_calls_at_once_with_money_for_ten_sign_ten() {
    let (_directory, path) = place();
    let rail = Rail::new();
    storm(&policy(&path, &rail), 500);
    assert_eq!(rail.signed(), 10);
    assert_ten(&path);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t30_five_hundred_requests_at_once_with_money_for_ten_pay_ten() {
    let (_directory, path) = place();
    let (rail, server) = (Rail::new(), Server::shop(PRICE).await);
    let client = builder(&rail).journal(Arc::new(open(&path))).build().unwrap();
    let calls: Vec<_> = (0..500)
        .map(|_| {
            let (client, url) = (client.clone(), server.url.clone());
            tokio::spawn(async move { client.get(&url).await.is_ok() })
        })
        .collect();
    let mut paid = 0;
    for call in calls {
        paid += usize::from(call.await.unwrap());
    }
    let mut payments = server.payments();
    payments.sort_unstable();
    payments.dedup();
    assert_eq!((paid, payments.len(), rail.signed()), (10, 10, 10));
}

#[test]
fn t30_two_processes_with_money_for_ten_sign_ten_together() {
    let (_directory, path) = place();
    let mut others = [Other::ready("storm", &path), Other::ready("storm", &path)];
    assert_eq!(signed_by(&mut others), 10);
    assert_ten(&path);
}

/// How many payments the other processes signed, once they are done.
fn signed_by(others: &mut [Other]) -> usize {
    others.iter_mut().for_each(Other::order);
    let mut signed = 0;
    for other in others {
        let end =
            std::iter::from_fn(|| other.hear()).find_map(|word| Some(word.strip_prefix("end ")?.to_owned()));
        signed += end.unwrap().parse::<usize>().unwrap();
        assert!(other.process.wait().unwrap().success());
    }
    signed
}

#[test]
fn t30_every_level_of_a_budget_holds_across_two_processes_and_for_the_one_after_them() {
    let (_directory, path) = place();
    let mut others = [(); 2].map(|()| Other::ready("storm for two tasks", &path));
    assert_eq!(signed_by(&mut others), 8, "what the day allows, of the ten that there are");
    let spending = || open(&path).spending().unwrap();
    let task = |name: &str| spending().counted(&xts(), &Scope::Task(name.into())).0;
    assert!(task("one") <= 6_000 && task("two") <= 6_000 && task("one") + task("two") == 8_000);
    assert_eq!(spending().counted(&xts(), &Scope::Agent("researcher".into())), Amount(8_000));
    // The next day: no task has more than it had left, and together they have what is left of everything.
    let policy = levels(&path, &Rail::new());
    let limit = |name: &str, now| match sign_for(&policy, Some(name), now) {
        Ok(()) => None,
        Err(Rule::OverBudget(over)) => Some((over.limit, over.renews_at)),
        Err(other) => panic!("{other:?}"),
    };
    assert_eq!(limit("three", NOW), Some((Limit::PerDay, Some(TOMORROW))));
    let fuller = if task("one") > task("two") { "one" } else { "two" };
    while task(fuller) < 6_000 {
        assert_eq!(limit(fuller, TOMORROW), None);
    }
    assert_eq!(limit(fuller, TOMORROW), Some((Limit::PerTask, None)));
    let left = (10_000 - spending().total(&xts()).0) / u128::from(PRICE);
    for _ in 0..left {
        assert_eq!(limit("three", TOMORROW), None);
    }
    assert_eq!(limit("three", TOMORROW), Some((Limit::Total, None)));
    assert_ten(&path);
}

#[test]
fn t30_a_process_that_is_killed_neither_loses_money_nor_makes_any() {
    let (_directory, path) = place();
    // One that dies with a reservation for which it never signed, and in the middle of signing more.
    let mut killed = Other::ready("storm after reserving", &path);
    let mut other = Other::ready("storm", &path);
    killed.order();
    assert_eq!(killed.hear().as_deref(), Some("signed"));
    other.order();
    killed.kill();
    while let Some(word) = other.hear() {
        assert!(word == "signed" || word.starts_with("end "), "{word}");
    }
    assert!(other.process.wait().unwrap().success());
    // What the dead process reserved and did not sign for comes back, and no more than that.
    let (rail, since) = (Rail::new(), Instant::now());
    let policy = policy(&path, &rail);
    while open(&path).unfinished().unwrap().len() < 10 {
        assert!(since.elapsed() < Duration::from_secs(30), "it never came back");
        match sign(&policy) {
            Ok(()) => {}
            Err(rule) => assert!(matches!(rule, Rule::OverBudget(_)), "{rule:?}"),
        }
        std::thread::yield_now();
    }
    storm(&policy, 500);
    assert_ten(&path);
}

#[test]
fn a_freeze_stops_signing_in_another_process_at_once() {
    let (_directory, path) = place();
    let owner = open(&path);
    let mut other = Other::ready("one by one", &path);
    assert_eq!(other.ask(), "signed");
    owner.freeze().unwrap();
    assert_eq!(other.ask(), "Frozen");
    let mut later = Other::ready("one by one", &path);
    assert_eq!(later.ask(), "Frozen", "it holds for processes that start later");
    drop(owner);
    assert_eq!(other.ask(), "Frozen", "and outlives the one that said so");
    open(&path).unfreeze().unwrap();
    assert_eq!((other.ask(), later.ask()), ("signed".into(), "signed".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t29_after_a_crash_the_very_same_payment_is_presented_again() {
    let (_directory, path) = place();
    let answers = Arc::new(AtomicBool::new(false));
    let server = Server::start({
        let answers = answers.clone();
        move |seen| match seen.payment() {
            None => unpaid(&[offer(PRICE)]),
            Some(payment) if answers.load(Ordering::SeqCst) => delivers(payment, "two of them"),
            Some(_) => Reply::HangUp,
        }
    })
    .await;
    let url = server.at("/order?n=1");
    let mut buyer = Other::start("buy", &path, &url);
    // Until the payment is there and its answer is lost.
    let is_unknown = || {
        let open = open(&path).unfinished().unwrap();
        open.first().is_some_and(|record| record.state == State::Unknown)
    };
    let since = Instant::now();
    while !is_unknown() {
        assert!(since.elapsed() < Duration::from_secs(60), "the buyer does not buy");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    buyer.kill();
    let rail = Rail::new();
    let client: Client = builder(&rail).journal(Arc::new(open(&path))).build().unwrap();
    let unfinished = client.unfinished().unwrap();
    assert_eq!(unfinished.len(), 1);
    let (id, record) = (unfinished[0].id(), &unfinished[0]);
    assert_eq!((record.method.as_str(), record.url()), ("POST", url.clone()));
    assert_eq!(spent(&client), (0, PRICE.into()), "it stays reserved");
    // The journal does not keep headers and bodies, and knows whether they are given as they were.
    let missing = |names: &[&str]| {
        Err(ResumeError::RequestNeeded { missing: names.iter().map(|&name| name.to_owned()).collect() })
    };
    let differs = |differs| Err(ResumeError::OtherRequest { differs });
    let post = |url: &str, body: &'static str| client.request(Method::POST, url).body(body);
    assert_eq!(client.resume(&id), missing(&["body", "x-order"]));
    assert_eq!(post(&url, "two of them").resume(&id), missing(&["x-order"]));
    assert_eq!(post(&url, "three").header("x-order", "7").resume(&id), differs("body"));
    assert_eq!(post(&server.at("/order?n=2"), "two of them").resume(&id), differs("url"));
    assert_eq!(client.get(&url).resume(&id), differs("method"));
    let prepared = post(&url, "two of them").header("x-order", "7").resume(&id).unwrap();
    answers.store(true, Ordering::SeqCst);
    let answer = client.present(&prepared).await.unwrap();
    let payment = answer.payment().unwrap();
    assert_eq!((payment.id, payment.receipt.is_some(), &payment.flags), (id, true, &Vec::new()));
    let payments = server.payments();
    assert_eq!(payments.len(), 2);
    assert_eq!(payments[0], payments[1], "the very same header");
    assert_eq!(rail.signed(), 0, "nothing is signed again");
}

#[tokio::test]
async fn a_request_that_the_journal_knows_whole_needs_no_words_to_resume() {
    let (_directory, path) = place();
    let (rail, server) = (Rail::new(), Server::shop(PRICE).await);
    let client = || builder(&rail).journal(Arc::new(open(&path))).build().unwrap();
    let signed = client().get(&server.at("/a?b=%20c")).sign().await.unwrap().unwrap();
    let resumed = client().resume(&signed.id()).unwrap();
    assert!(resumed.header() == signed.header());
    assert_eq!((resumed.digest(), resumed.price()), (signed.digest(), signed.price()));
    assert_eq!(resumed.request().url(), signed.request().url());
    let answer = client().present(&resumed).await.unwrap();
    assert!(answer.payment().unwrap().receipt.is_some(), "the receipt is checked as ever");
    // Given back by the network's word: then there is nothing to present any more.
    let signed = client().get(&server.url).sign().await.unwrap().unwrap();
    assert!(client().resume(&signed.id()).is_ok());
    rail.says(Confirmation::NotTaken);
    client().reconcile().await.unwrap();
    assert_eq!(client().resume(&signed.id()), Err(ResumeError::Released(signed.id())));
    let unknown = farthing_protocol::rail::PaymentId([0; 32]);
    assert_eq!(client().resume(&unknown), Err(ResumeError::NoPayment(unknown)));
}
