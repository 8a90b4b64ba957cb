//! Sellers' processes that are killed under paid load, on one ledger after the other. The oracles: the file into
//! which handlers write their runs, and the ledger, opened again after every kill.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use farthing::LocalLedger;
use farthing::farthing_ledger::statement::PaymentState;
use farthing::native::NativePay;
use farthing::protocol::rail::{Pay, PaymentId};
use farthing::protocol::{PublicKey, RequestDigest};
use farthing_testkit::engine::Engine;
use farthing_testkit::seller::{self, Orders, Seller};
use farthing_testkit::{Reply, SELLER, TestClock, World, exchange_on, key, program, request};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Kills of one ledger, before the next.
const KILLS_PER_LEDGER: usize = 25;
const PAYERS: u8 = 8;
/// What each payer gets, and what a page costs, in atomic units of XTS.
const FUNDS: u128 = 100_000_000;
const PRICE: u128 = 10_000;
/// Seconds after which every hold has ended.
const LATER: u64 = 3_600;

/// Kills in all: 20, unless `cargo xtask soak` asks for more.
fn kills() -> usize {
    std::env::var("FARTHING_KILLS").map_or(20, |kills| kills.parse().expect("FARTHING_KILLS is a number"))
}

/// A payment that was signed: its request, its header, and the answer if one came.
#[derive(Clone)]
struct Signed {
    target: String,
    payer: u8,
    header: String,
    answer: Option<String>,
}

/// Every payment that was ever signed, by its id.
type Book = Arc<Mutex<BTreeMap<PaymentId, Signed>>>;

fn payer(number: u8) -> PublicKey {
    key(number + 1).public()
}

/// Money for the payers of a new ledger.
async fn fund(engine: &impl Engine) {
    let ledger = LocalLedger::with(open(engine, 0).await, key(104)).await.unwrap();
    for number in 0..PAYERS {
        ledger.deposit(payer(number), "100 XTS").await.unwrap();
    }
}

async fn open(engine: &impl Engine, ahead: u64) -> farthing::Ledger {
    let place = engine.place();
    tokio::task::spawn_blocking(move || place.open(seller::options(ahead))).await.unwrap()
}

/// How far a round is.
#[derive(Default)]
struct Progress {
    paid: AtomicUsize,
    enough: usize,
    reached: Notify,
    over: AtomicBool,
}

/// Sends a request; `None` when the seller dies over it, or is dead.
async fn get(address: SocketAddr, target: &str, payment: Option<&str>) -> Option<Reply> {
    let headers: Vec<_> = payment.iter().map(|payment| ("PAYMENT-SIGNATURE", *payment)).collect();
    let stream = TcpStream::connect(address).await.ok()?;
    let reply = exchange_on(stream, &request(address, "GET", target, &headers, b"")).await?;
    // An answer that broke off is none.
    let length = reply.header("content-length").and_then(|length| length.parse::<usize>().ok());
    length.is_none_or(|length| length == reply.body.len()).then_some(reply)
}

/// Pays page after page until the seller is dead, or the round is over.
async fn pay(
    number: u8,
    round: usize,
    address: SocketAddr,
    wallet: Arc<NativePay>,
    book: Book,
    progress: Arc<Progress>,
) {
    for nth in 0_u64.. {
        let target = format!("/page?n={round}-{number}-{nth}");
        if progress.over.load(Ordering::SeqCst) {
            return;
        }
        let Some(terms) = get(address, &target, None).await else { return };
        assert_eq!(terms.status, 402, "{}", terms.text());
        let offer = terms.terms().offers().next().unwrap();
        let digest: RequestDigest = offer.extra["requestDigest"].as_str().unwrap().parse().unwrap();
        let mut nonce = [number; 32];
        nonce[..8].copy_from_slice(&(round as u64).to_be_bytes());
        nonce[8..16].copy_from_slice(&nth.to_be_bytes());
        let payment = wallet.pay(&offer, &digest, TestClock::default().now(), nonce).unwrap();
        let header = World::header(&offer, &payment);
        let mut signed = Signed { target, payer: number, header, answer: None };
        book.lock().unwrap().insert(payment.id, signed.clone());
        let Some(answer) = get(address, &signed.target, Some(&signed.header)).await else { return };
        assert_eq!(answer.status, 200, "{}", answer.text());
        signed.answer = Some(answer.text());
        book.lock().unwrap().insert(payment.id, signed);
        if progress.paid.fetch_add(1, Ordering::SeqCst) + 1 == progress.enough {
            progress.reached.notify_one();
        }
    }
}

/// What became of the payments of one ledger.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    kills: usize,
    signed: usize,
    answered: usize,
    captured: usize,
    runs: usize,
    ended: usize,
}

/// Opens the ledger that a dead process left, with a clock that is `ahead`, and compares it with the runs of handlers
/// and with what was answered.
async fn judge(engine: &impl Engine, orders: &Orders, book: &Book, ahead: u64) -> Figures {
    let ledger = open(engine, ahead).await;
    let (book, runs) = (book.lock().unwrap().clone(), seller::runs(&orders.runs));
    let mut figures = Figures { signed: book.len(), runs: runs.values().sum(), ..Figures::default() };
    let (mut known, mut explained) = (0, 0);
    let mut left = [FUNDS; PAYERS as usize];
    for (id, signed) in &book {
        let (payment, _) = ledger.payment(*id).await.unwrap();
        let query = signed.target.split_once('?').unwrap().1;
        let ran = runs.get(query).copied().unwrap_or(0);
        explained += ran;
        figures.answered += usize::from(signed.answer.is_some());
        let Some(payment) = payment else {
            assert!(ran == 0 && signed.answer.is_none(), "{query}: {ran} runs and no hold");
            continue;
        };
        known += 1;
        // One run for each owner of the hold.
        assert!(ran as u64 <= payment.epoch, "{query}: {ran} runs, {} owners", payment.epoch);
        let spent = payment.captured.0 + payment.held().0;
        left[usize::from(signed.payer)] -= spent;
        match payment.state {
            PaymentState::Captured => {
                assert!(ran > 0 && payment.captured.0 == PRICE, "{query}: {payment:?}");
                figures.captured += 1;
            }
            PaymentState::Held => assert!(signed.answer.is_none() && ahead == 0, "{query}: {payment:?}"),
            // Given back: at its deadline, or by a process that found that its owner is dead.
            PaymentState::Reclaimed | PaymentState::Voided => {
                assert!(signed.answer.is_none() && spent == 0, "{query}: {payment:?}");
                figures.ended += 1;
            }
            PaymentState::Absent => panic!("{query}: {payment:?}"),
        }
    }
    assert_eq!(explained, figures.runs, "a handler ran for what nobody asked");
    let report = ledger.check().await.unwrap();
    assert!(report.balanced(), "{:?}", report.faults);
    assert_eq!(report.payments.values().sum::<u64>(), known, "payments that nobody signed");
    let balance = async |account| ledger.balance(account, "XTS".parse().unwrap()).await.unwrap().0;
    assert_eq!(balance(key(SELLER).public()).await, figures.captured as u128 * PRICE);
    for (number, left) in (0..PAYERS).zip(left) {
        assert_eq!(balance(payer(number)).await, left, "payer {number}");
    }
    figures
}

/// One ledger, and sellers that are killed on it, one after the other.
async fn kill_sellers(engine: &impl Engine, kills: usize) -> Figures {
    let home = tempfile::tempdir().unwrap();
    fund(engine).await;
    let orders = Seller::orders(engine.place(), home.path());
    let mut seller = Seller::start(&orders).await;
    let url = format!("{}/ledger", orders.origin);
    let mut wallets = Vec::new();
    for number in 0..PAYERS {
        wallets.push(farthing::wallet(&url, key(number + 1)).await.unwrap());
    }
    let book = Book::default();
    for round in 0..kills {
        let (address, enough) = (seller.address, 1 + (round * 17) % 41);
        let progress = Arc::new(Progress { enough, ..Progress::default() });
        let mut load = JoinSet::new();
        for (number, wallet) in (0..PAYERS).zip(&wallets) {
            load.spawn(pay(number, round, address, wallet.clone(), book.clone(), progress.clone()));
        }
        let reached = tokio::time::timeout(Duration::from_secs(30), progress.reached.notified()).await;
        reached.unwrap_or_else(|_| panic!("round {round}: {:?} of {enough} paid", progress.paid));
        // Somewhere within the payments that come next.
        tokio::time::sleep(Duration::from_micros((round as u64 * 7_919) % 5_000)).await;
        seller.kill().await;
        progress.over.store(true, Ordering::SeqCst);
        while let Some(ended) = load.join_next().await {
            ended.unwrap();
        }
        judge(engine, &orders, &book, 0).await;
        if round % 4 == 3 {
            kill_while_it_starts(&orders, round).await;
        }
        seller = Seller::start(&orders).await;
        present_again(seller.address, &book).await;
    }
    seller.kill().await;
    judge(engine, &orders, &book, 0).await;
    Figures { kills, ..judge(engine, &orders, &book, LATER).await }
}

/// A process that dies while it recovers what the one before it left.
async fn kill_while_it_starts(orders: &Orders, round: usize) {
    let mut command = Command::new(program("farthing-testkit", "seller"));
    command.arg(serde_json::to_string(orders).unwrap()).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(round as u64 * 7 % 40)).await;
    child.kill().await.unwrap();
}

/// What was answered is answered again, and what was not gets its answer or is told to wait.
async fn present_again(address: SocketAddr, book: &Book) {
    let known = book.lock().unwrap().clone();
    let (answered, open): (Vec<_>, Vec<_>) = known.iter().partition(|(_, signed)| signed.answer.is_some());
    for (_, signed) in answered.iter().rev().step_by(1 + answered.len() / 6) {
        let again = get(address, &signed.target, Some(&signed.header)).await.expect("the seller lives");
        assert_eq!((again.status, Some(again.text())), (200, signed.answer.clone()));
    }
    for (id, signed) in open.into_iter().rev().take(4) {
        let again = get(address, &signed.target, Some(&signed.header)).await.expect("the seller lives");
        match again.status {
            200 => {
                let answer = Some(again.text());
                book.lock().unwrap().insert(*id, Signed { answer, ..signed.clone() });
            }
            409 => assert_eq!(again.problem().0, "payment-in-progress"),
            // Its owner's lease had lapsed, and the hold was given back.
            402 => {}
            status => panic!("{status}: {}", again.text()),
        }
    }
}

async fn t17_killed_sellers_lose_no_payment_and_run_no_handler_twice<E: Engine + Default>(first: E) {
    let (kills, mut engine, mut total) = (kills(), first, Figures::default());
    let name = std::any::type_name::<E>().rsplit("::").next().unwrap_or_default();
    while total.kills < kills {
        let figures = kill_sellers(&engine, KILLS_PER_LEDGER.min(kills - total.kills)).await;
        total.kills += figures.kills;
        total.signed += figures.signed;
        total.answered += figures.answered;
        total.captured += figures.captured;
        total.runs += figures.runs;
        total.ended += figures.ended;
        println!(
            "kills on {name}: {} of {kills}; {} payments signed, {} answered, {} captured, {} holds ended, {} handler runs",
            total.kills, total.signed, total.answered, total.captured, total.ended, total.runs
        );
        engine = E::default();
    }
    assert!(total.answered >= kills && total.captured >= total.answered && total.runs >= total.captured);
}

farthing_testkit::on_each_engine! {
    t17_killed_sellers_lose_no_payment_and_run_no_handler_twice
}
