//! Threats A: replay and binding.

use axum::Router;
use axum::routing::get;
use farthing::Paywall;
use farthing_testkit::{Counter, World};

fn routes(paywall: Paywall, hits: Counter) -> Router {
    let run = hits.clone();
    let page = move || async move { format!("page {}", run.hit("page")) };
    Router::new().route("/page", get(page).layer(paywall.price("0.01 XTS")))
}

#[tokio::test]
async fn t01_a_settled_payment_sent_a_hundred_times_runs_once() {
    let world = World::start(routes).await;
    let payment = world.pay("GET", "/page", b"").await;
    let first = world.send_paid("GET", "/page", &payment, b"").await;
    assert_eq!((first.status, first.text().as_str()), (200, "page 1"));
    for _ in 0..100 {
        let again = world.send_paid("GET", "/page", &payment, b"").await;
        assert_eq!((again.status, again.text().as_str()), (200, "page 1"));
    }
    assert_eq!(world.hits.of("page"), 1);
    assert_eq!(world.captures().await, 1);
    assert_eq!(world.balance().await, 100_000_000 - 10_000);
    // The positive twin: another payment runs the handler again.
    let payment = world.pay("GET", "/page", b"").await;
    assert_eq!(world.send_paid("GET", "/page", &payment, b"").await.text(), "page 2");
}
