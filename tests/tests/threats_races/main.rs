//! Threats B: settlement races and crash windows, on each durable engine.

mod disconnects;
mod duplicates;
mod funds;
mod holds;
mod settler;

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use farthing::Paywall;
use farthing::server::OnDisconnect;
use farthing_testkit::engine::Engine;
use farthing_testkit::{Counter, Meddler, World};
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

/// A server whose facilitator can be meddled with.
async fn meddled(engine: impl Engine, gate: Arc<Semaphore>) -> (World, World, Arc<Meddler>) {
    let world = World::start_on(engine, routes(open())).await;
    let meddler = Meddler::new(world.ledger.facilitator());
    let server = world.branch(meddler.clone(), routes(gate)).await;
    (world, server, meddler)
}
