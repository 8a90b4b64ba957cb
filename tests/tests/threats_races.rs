//! Threats B: settlement races and crash windows.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use farthing::Paywall;
use farthing::farthing_ledger::command::{Authorize, Standing};
use farthing::protocol::rail::{Owner, Tenant};
use farthing::server::OnDisconnect;
use farthing_testkit::forge::signed_part;
use farthing_testkit::{Counter, Meddler, Meddling, Reply, World, request};
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

const PRICE: u128 = 10_000;
const START: u128 = 100_000_000;
/// Bytes of the page `/long`: as much as is stored, nearly.
const LONG: usize = 60_000;

/// Pages that answer at once, slowly, at length, when they are let, or never.
fn routes(gate: Arc<Semaphore>) -> impl FnOnce(Paywall, Counter) -> Router {
    move |paywall, hits| {
        let price = || paywall.price("0.01 XTS");
        let (page, slow, long, gated) = (hits.clone(), hits.clone(), hits.clone(), hits.clone());
        let (stops, upload, broken) = (hits.clone(), hits.clone(), hits);
        let slow = move || async move {
            let run = slow.hit("slow");
            tokio::time::sleep(Duration::from_millis(100)).await;
            format!("slow {run}")
        };
        let gated = move || async move {
            let run = gated.hit("gated");
            gate.acquire().await.unwrap().forget();
            format!("gated {run}")
        };
        let stops = move || async move {
            stops.hit("stops");
            std::future::pending::<&str>().await
        };
        let broken = move || async move {
            broken.hit("broken");
            // A panic, without its message on the terminal.
            resume_unwind(Box::new(()));
            #[allow(unreachable_code)]
            ""
        };
        Router::new()
            .route("/page", get(move || async move { format!("page {}", page.hit("page")) }).layer(price()))
            .route("/slow", get(slow).layer(price()))
            .route(
                "/long",
                get(move || async move { long.hit("long").to_string().repeat(LONG) }).layer(price()),
            )
            .route("/gated", get(gated).layer(price()))
            .route("/stops", get(stops).layer(price().on_disconnect(OnDisconnect::Cancel)))
            .route(
                "/upload",
                post(move |body: String| async move { format!("{} {body}", upload.hit("upload")) })
                    .layer(price()),
            )
            .route("/broken", get(broken).layer(price()))
            .route("/all", get(|| async { "everything" }).layer(paywall.price("1 XTS")))
    }
}

fn open() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1_000_000))
}

/// H, L and B, where B counts what was spent.
async fn expect_counts(world: &World, runs: usize, captures: u64, spent: u128) {
    assert_eq!(world.hits.all(), runs, "H");
    assert_eq!(world.captures().await, captures, "L");
    assert_eq!(START - world.balance().await, spent, "B");
}

/// Waits until something has become so, which must be soon.
async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let waits = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waits).await.expect(what);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn t14_two_hundred_concurrent_duplicates_run_the_handler_once() {
    let world = World::start(routes(open())).await;
    for (round, target) in ["/slow", "/page"].into_iter().enumerate() {
        let before = (world.hits.all(), world.captures().await);
        let payment = world.pay("GET", target, b"").await;
        let replies = join_all((0..200).map(|_| world.send_paid("GET", target, &payment, b""))).await;
        let stored = format!("{} 1", &target[1..]);
        let (paid, losers): (Vec<&Reply>, Vec<&Reply>) =
            replies.iter().partition(|reply| reply.status == 200);
        assert!(!paid.is_empty() && paid.iter().all(|reply| reply.text() == stored));
        for reply in losers {
            assert_eq!((reply.status, reply.problem()), (409, ("payment-in-progress".into(), "same".into())));
            assert!(reply.header("retry-after").is_some());
        }
        assert_eq!((world.hits.all(), world.captures().await), (before.0 + 1, before.1 + 1));
        assert_eq!(START - world.balance().await, PRICE * (round as u128 + 1));
        // Who was told to come again does, and gets it.
        assert_eq!(world.send_paid("GET", target, &payment, b"").await.text(), stored);
    }
    // The twin: two hundred payments run it two hundred times.
    let payments = join_all((0..200).map(|_| world.pay("GET", "/page", b""))).await;
    let replies =
        join_all(payments.iter().map(|payment| world.send_paid("GET", "/page", payment, b""))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    expect_counts(&world, 202, 202, 202 * PRICE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn t16_a_balance_for_one_payment_serves_one_of_many() {
    let world = World::start(routes(open())).await;
    for round in 0..20 {
        let payer = world.another_payer(10 + round, "0.01 XTS").await;
        let offer = world.offers("GET", "/slow", b"").await.remove(0);
        let signed: Vec<_> =
            (0..4).map(|_| World::header(&offer, &world.sign_offer(&payer, &offer))).collect();
        let replies =
            join_all(signed.iter().map(|payment| world.send_paid("GET", "/slow", payment, b""))).await;
        let served = replies.iter().filter(|reply| reply.status == 200).count();
        assert_eq!((served, world.hits.all()), (1, usize::from(round) + 1));
        for reply in replies.iter().filter(|reply| reply.status != 200) {
            assert_eq!((reply.status, reply.problem().1.as_str()), (402, "new"));
            assert_eq!(reply.settlement().error_reason.as_deref(), Some("insufficient_funds"));
        }
        assert_eq!(world.balance_of(payer.account()).await, 0);
        // The twin: the very payment that was refused is good once there is money.
        let refused = replies.iter().position(|reply| reply.status != 200).unwrap();
        if round == 19 {
            world.ledger.deposit(payer.account(), "0.01 XTS").await.unwrap();
            assert_eq!(world.send_paid("GET", "/slow", &signed[refused], b"").await.status, 200);
        }
    }
    assert_eq!((world.hits.all(), world.captures().await), (21, 21));
}

#[tokio::test]
async fn t20_a_thousand_panics_hold_nothing() {
    let world = World::start(routes(open())).await;
    for _ in 0..1000 {
        let payment = world.pay("GET", "/broken", b"").await;
        let reply = world.send_paid("GET", "/broken", &payment, b"").await;
        assert_eq!((reply.status, reply.problem()), (500, ("handler-failed".into(), "new".into())));
        assert_eq!(reply.settlement().error_reason.as_deref(), Some("payment_voided"));
    }
    expect_counts(&world, 1000, 0, 0).await;
    // The twin: all of the money is there to be spent.
    for _ in 0..100 {
        let payment = world.pay("GET", "/all", b"").await;
        assert_eq!(world.send_paid("GET", "/all", &payment, b"").await.text(), "everything");
    }
    expect_counts(&world, 1000, 100, START).await;
}

#[tokio::test]
async fn t20_what_a_dead_process_holds_comes_back_by_its_deadline() {
    let world = World::start(routes(open())).await;
    let start = world.clock.now();
    world.clock.set(start);
    let dead = Owner { id: [0xdd; 16], lease_seconds: 60 };
    let offer = world.offers("GET", "/page", b"").await.remove(0);
    let mut held = Vec::new();
    for _ in 0..1000 {
        let signed = world.sign_offer(&world.payer, &offer);
        let (bytes, signature) = signed_part(&signed);
        let authorize = Authorize::read(bytes, signature, dead, Tenant::local()).unwrap();
        let reply = world.ledger.ledger().authorize(authorize).await.unwrap();
        assert_eq!(reply.standing, Standing::Owner { takeover: false });
        held.push(signed);
    }
    assert_eq!(START - world.balance().await, 1000 * PRICE);
    let deadline = held[0].capture_deadline;
    assert!(held.iter().all(|signed| signed.capture_deadline == deadline));

    // While its lease runs, nobody takes its place; then the payer's page is served, as GET may run twice.
    let one = World::header(&offer, &held[0]);
    let reply = world.send_paid("GET", "/page", &one, b"").await;
    assert_eq!((reply.status, reply.problem()), (409, ("payment-in-progress".into(), "same".into())));
    world.clock.set(start + 60);
    assert_eq!(world.send_paid("GET", "/page", &one, b"").await.text(), "page 1");
    expect_counts(&world, 1, 1, 1000 * PRICE).await;

    world.clock.set(deadline);
    assert_eq!(START - world.balance().await, 1000 * PRICE, "held up to the deadline");
    world.clock.set(deadline + 1);
    assert_eq!(START - world.balance().await, PRICE, "and not a second longer");
    let late = world.send_paid("GET", "/page", &World::header(&offer, &held[1]), b"").await;
    assert_eq!((late.status, late.problem()), (402, ("payment-voided".into(), "new".into())));
    let payment = world.pay("GET", "/page", b"").await;
    assert_eq!(world.send_paid("GET", "/page", &payment, b"").await.text(), "page 2");
    expect_counts(&world, 2, 2, 2 * PRICE).await;
}

/// A server whose facilitator can be meddled with.
async fn meddled(gate: Arc<Semaphore>) -> (World, World, Arc<Meddler>) {
    let world = World::start(routes(open())).await;
    let meddler = Meddler::new(world.ledger.facilitator());
    let server = world.branch(meddler.clone(), routes(gate)).await;
    (world, server, meddler)
}

#[tokio::test]
async fn t21_without_a_hold_no_handler_runs() {
    let (_world, server, meddler) = meddled(open()).await;
    let (mut runs, mut captures) = (0, 0);
    for (how, status, code, retry) in [
        (Meddling::Refuse("insufficient_funds"), 402, "payment-refused", "new"),
        (Meddling::Refuse("some_reason_of_tomorrow"), 402, "payment-refused", "new"),
        (Meddling::Refuse("settlement_pending"), 503, "settlement-pending", "same"),
        (Meddling::Lose, 503, "settlement-pending", "same"),
        (Meddling::Silence, 503, "settlement-pending", "same"),
    ] {
        let payment = server.pay("GET", "/page", b"").await;
        meddler.meddle("authorize", how.clone());
        for _ in 0..3 {
            let reply = server.send_paid("GET", "/page", &payment, b"").await;
            assert_eq!((reply.status, reply.problem()), (status, (code.into(), retry.into())), "{how:?}");
            assert!(reply.settlement().error_reason.is_some());
            assert_eq!(
                reply.header("payment-required").is_some(),
                status == 402,
                "no new payment while one may land"
            );
        }
        assert_eq!((server.hits.all(), server.captures().await), (runs, captures), "{how:?}");
        // The twin: the same payment, once the facilitator behaves.
        meddler.behave();
        (runs, captures) = (runs + 1, captures + 1);
        assert_eq!(server.send_paid("GET", "/page", &payment, b"").await.text(), format!("page {runs}"));
        expect_counts(&server, runs, captures, u128::from(captures) * PRICE).await;
    }
}

#[tokio::test]
async fn t21_without_a_capture_no_byte_leaves() {
    let (_world, server, meddler) = meddled(open()).await;
    for (how, status) in
        [(Meddling::Refuse("capture_expired"), 402), (Meddling::Lose, 503), (Meddling::Silence, 503)]
    {
        let before = (server.hits.all(), server.captures().await);
        let payment = server.pay("GET", "/page", b"").await;
        meddler.meddle("capture", how.clone());
        let reply = server.send_paid("GET", "/page", &payment, b"").await;
        assert_eq!(reply.status, status, "{how:?}");
        assert!(!reply.text().contains(&format!("page {}", before.0 + 1)), "{how:?}");
        meddler.behave();
        // It ran, and the same payment completes it without running it again.
        let mut again = server.send_paid("GET", "/page", &payment, b"").await;
        while again.status == 409 {
            // The server itself is repeating the capture just now.
            again = server.send_paid("GET", "/page", &payment, b"").await;
        }
        if status == 503 {
            assert_eq!(again.text(), format!("page {}", before.0 + 1));
            assert_eq!((server.hits.all(), server.captures().await), (before.0 + 1, before.1 + 1), "{how:?}");
        } else {
            assert_eq!((again.status, again.problem()), (402, ("payment-voided".into(), "new".into())));
            assert_eq!((server.hits.all(), server.captures().await), (before.0 + 1, before.1));
            assert_eq!(server.balance().await, START, "the hold did not outlive its handler");
        }
        let payment = server.pay("GET", "/page", b"").await;
        assert_eq!(server.send_paid("GET", "/page", &payment, b"").await.status, 200);
    }
}

/// Sends bytes on a connection that the test closes.
async fn begin(world: &World, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

fn paid(world: &World, method: &str, target: &str, payment: &str, body: &[u8]) -> Vec<u8> {
    request(world.address, method, target, &[("PAYMENT-SIGNATURE", payment)], body)
}

#[tokio::test]
async fn t22_a_client_that_hangs_up_is_charged_once_and_finds_its_answer() {
    let world = World::start(routes(open())).await;
    for (run, part) in [0, 50, 100].into_iter().enumerate() {
        let payment = world.pay("GET", "/long", b"").await;
        let mut stream = begin(&world, &paid(&world, "GET", "/long", &payment, b"")).await;
        until("it runs", async || world.hits.of("long") == run + 1).await;
        // Of the head and the body, so much is read.
        stream.read_exact(&mut vec![0; LONG * part / 100]).await.unwrap();
        if part == 100 {
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        }
        drop(stream);
        until("it is captured", async || world.captures().await == run as u64 + 1).await;
        let stored = (run + 1).to_string().repeat(LONG);
        for _ in 0..3 {
            let again = world.send_paid("GET", "/long", &payment, b"").await;
            assert_eq!((again.status, again.text() == stored), (200, true), "{part} %");
        }
        expect_counts(&world, run + 1, run as u64 + 1, (run as u128 + 1) * PRICE).await;
    }
}

#[tokio::test]
async fn t22_a_client_that_hangs_up_while_the_handler_runs_pays_each_time() {
    let gate = Arc::new(Semaphore::new(0));
    let world = World::start(routes(gate.clone())).await;
    for run in 1..=5 {
        let payment = world.pay("GET", "/gated", b"").await;
        let stream = begin(&world, &paid(&world, "GET", "/gated", &payment, b"")).await;
        until("it runs", async || world.hits.of("gated") == run).await;
        drop(stream);
        let reply = world.send_paid("GET", "/gated", &payment, b"").await;
        assert_eq!((reply.status, reply.problem().0.as_str()), (409, "payment-in-progress"));
        assert_eq!(world.captures().await, run as u64 - 1);
        gate.add_permits(1);
        until("it is captured", async || world.captures().await == run as u64).await;
        expect_counts(&world, run, run as u64, run as u128 * PRICE).await;
        if run == 5 {
            let again = world.send_paid("GET", "/gated", &payment, b"").await;
            assert_eq!((again.status, again.text().as_str()), (200, "gated 5"));
        }
    }
    // The twins: a client that waits; and a route that stops, which shows that the server sees who has gone.
    gate.add_permits(1);
    let payment = world.pay("GET", "/gated", b"").await;
    assert_eq!(world.send_paid("GET", "/gated", &payment, b"").await.text(), "gated 6");
    let payment = world.pay("GET", "/stops", b"").await;
    let stream = begin(&world, &paid(&world, "GET", "/stops", &payment, b"")).await;
    until("it runs", async || world.hits.of("stops") == 1).await;
    assert_eq!(START - world.balance().await, 7 * PRICE);
    drop(stream);
    until("it is voided", async || START - world.balance().await == 6 * PRICE).await;
    expect_counts(&world, 7, 6, 6 * PRICE).await;
}

#[tokio::test]
async fn t22_a_request_that_breaks_off_is_not_charged() {
    let world = World::start(routes(open())).await;
    let body = vec![b'x'; 10_000];
    let payment = world.pay("POST", "/upload", &body).await;
    let whole = paid(&world, "POST", "/upload", &payment, &body);
    for part in [0, 50, 99] {
        let stream = begin(&world, &whole[..whole.len() - body.len() + body.len() * part / 100]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(stream);
        tokio::time::sleep(Duration::from_millis(50)).await;
        expect_counts(&world, 0, 0, 0).await;
    }
    let reply = world.send_paid("POST", "/upload", &payment, &body).await;
    assert_eq!((reply.status, reply.body.len()), (200, 10_002));
    expect_counts(&world, 1, 1, PRICE).await;
}

#[tokio::test]
async fn t23_a_client_that_hangs_up_before_the_handler_starts_is_not_charged() {
    let (_world, server, meddler) = meddled(open()).await;
    let slow = Arc::new(Semaphore::new(0));
    for round in 1..=3_u8 {
        let (runs, before) = (usize::from(round) - 1, START - u128::from(round - 1) * PRICE);
        meddler.meddle("authorize", Meddling::Wait(slow.clone()));
        let payment = server.pay("GET", "/page", b"").await;
        let asked = meddler.calls().len();
        let stream = begin(&server, &paid(&server, "GET", "/page", &payment, b"")).await;
        until("the facilitator is asked", async || meddler.calls().len() > asked).await;
        drop(stream);
        tokio::time::sleep(Duration::from_millis(50)).await;
        slow.add_permits(1);
        let is_void =
            |calls: Vec<String>| calls.iter().filter(|call| *call == "void").count() == usize::from(round);
        until("it is voided", async || is_void(meddler.calls())).await;
        until("the money is back", async || server.balance().await == before).await;
        assert_eq!((server.hits.all(), server.captures().await), (runs, runs as u64));
        meddler.behave();
        let again = server.send_paid("GET", "/page", &payment, b"").await;
        assert_eq!((again.status, again.problem()), (402, ("payment-voided".into(), "new".into())));
        // The twin: a client that waits.
        let payment = server.pay("GET", "/page", b"").await;
        assert_eq!(server.send_paid("GET", "/page", &payment, b"").await.text(), format!("page {round}"));
    }
    expect_counts(&server, 3, 3, 3 * PRICE).await;
}
