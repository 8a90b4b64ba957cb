//! T22, T23: clients that go away.

use std::sync::Arc;
use std::time::Duration;

use farthing_testkit::engine::Engine;
use farthing_testkit::{Meddling, World, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::{LONG, PRICE, START, expect_counts, meddled, open, routes, until};

farthing_testkit::on_each_engine! {
    t22_a_client_that_hangs_up_is_charged_once_and_finds_its_answer
    t22_a_client_that_hangs_up_while_the_handler_runs_pays_each_time
    t22_a_request_that_breaks_off_is_not_charged
    t23_a_client_that_hangs_up_before_the_handler_starts_is_not_charged
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

async fn t22_a_client_that_hangs_up_is_charged_once_and_finds_its_answer(engine: impl Engine) {
    let world = World::start_on(engine, routes(open())).await;
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

async fn t22_a_client_that_hangs_up_while_the_handler_runs_pays_each_time(engine: impl Engine) {
    let gate = Arc::new(Semaphore::new(0));
    let world = World::start_on(engine, routes(gate.clone())).await;
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

async fn t22_a_request_that_breaks_off_is_not_charged(engine: impl Engine) {
    let world = World::start_on(engine, routes(open())).await;
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

async fn t23_a_client_that_hangs_up_before_the_handler_starts_is_not_charged(engine: impl Engine) {
    let (_world, server, meddler) = meddled(engine, open()).await;
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
