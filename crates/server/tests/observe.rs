//! What is counted: money under the names of routes, and nothing of anybody's.

// An `unwrap` in a test is an assertion, in what it is built of too; two files are also part of a doc test.
#![allow(clippy::unwrap_used, unreachable_pub, dead_code)]

#[path = "paywall/scripted.rs"]
mod scripted;
#[path = "paywall/shopping.rs"]
mod shopping;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get as route_get;
use farthing_server::sales::{self, Ending, SalesLog};
use farthing_server::{Quota, observe};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::sync::Notify;

use scripted::*;
use shopping::*;

/// What this process has counted. Each test looks at routes of its own.
fn scrape() -> Scrape {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let recorder = RECORDER.get_or_init(|| {
        let recorder = PrometheusBuilder::new().install_recorder().unwrap();
        observe::enable();
        recorder
    });
    observe::refresh();
    Scrape(recorder.render())
}

struct Scrape(String);

impl Scrape {
    /// The sum of all samples of a metric whose labels have all of these.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |line: &str| labels.iter().all(|(key, value)| line.contains(&format!("{key}=\"{value}\"")));
        let of_name = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && has(line)
        };
        let value = |line: &str| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap();
        self.0.lines().filter(of_name).map(value).sum()
    }

    fn of(&self, name: &str, route: &str) -> f64 {
        self.sum(name, &[("route", route)])
    }
}

fn route(world: &World, path: &str, name: &str, status: StatusCode) -> Router {
    let layer = world.paywall.price("$0.001").name(name);
    Router::new().route(path, route_get(move || async move { (status, "hello") }).layer(layer))
}

#[tokio::test]
async fn offers_holds_captures_voids_replays_and_refusals_are_counted_by_route() {
    scrape();
    let world = World::new();
    let app = route(&world, "/a", "counted", StatusCode::OK).merge(route(
        &world,
        "/broken",
        "broken",
        StatusCode::INTERNAL_SERVER_ERROR,
    ));
    let paid = get("/a").pay(&app).await;
    assert_eq!(paid.send(&app).await.status, 200);
    assert_eq!(paid.send(&app).await.status, 200, "the stored answer");
    assert_eq!(get("/a").pay(&app).await.send(&app).await.status, 200);
    // Signed for one request, presented for another.
    let stolen = get("/a?other").with("payment-signature", paid.header()).send(&app).await;
    assert_eq!(stolen.status, 409);
    let broken = get("/broken").pay(&app).await;
    assert_eq!(broken.send(&app).await.status, 500);
    let poor = get("/a").pay(&app).await.change("/payload/signed/payTo", "somebody");
    assert_eq!(poor.send(&app).await.status, 402);

    let seen = scrape();
    let labels =
        [("route", "counted"), ("network", "test:one"), ("scheme", "auth-capture"), ("asset", "USD")];
    assert_eq!(seen.sum("farthing_holds_total", &labels), 2.0, "{}", seen.0);
    assert_eq!(seen.sum("farthing_captures_total", &labels), 2.0);
    assert_eq!(seen.sum("farthing_captured_units_total", &labels), 2_000.0);
    assert_eq!(world.ledger.captures(), 2, "as the ledger says");
    assert_eq!(seen.of("farthing_voids_total", "counted"), 0.0);
    assert_eq!(
        (seen.of("farthing_holds_total", "broken"), seen.of("farthing_voids_total", "broken")),
        (1.0, 1.0)
    );
    assert_eq!(seen.of("farthing_captures_total", "broken"), 0.0);
    assert_eq!(seen.of("farthing_replays_total", "counted"), 1.0);
    let duplicate = [("route", "counted"), ("situation", "bound-to-other-request")];
    assert_eq!(seen.sum("farthing_duplicates_refused_total", &duplicate), 1.0);
    // Three asked without a payment, and one whose payment was refused.
    assert_eq!(seen.of("farthing_offers_total", "counted"), 4.0);
    let refused = [("route", "counted"), ("situation", "payment-refused")];
    assert_eq!(seen.sum("farthing_answers_total", &refused), 1.0);
    let reason = [("route", "counted"), ("reason", "pay_to_mismatch")];
    assert_eq!(seen.sum("farthing_refusals_total", &reason), 1.0);
    // Answers to fresh payments only: a stored one takes no handler.
    assert_eq!(seen.of("farthing_payment_latency_seconds_count", "counted"), 2.0);
}

#[tokio::test(start_paused = true)]
async fn the_handlers_own_time_is_not_counted_as_payments() {
    scrape();
    let world = World::new();
    let slow = || async {
        std::thread::sleep(Duration::from_millis(300));
        "slow"
    };
    let app = Router::new().route("/slow", route_get(slow).layer(world.paywall.price("$0.001").name("slow")));
    assert_eq!(get("/slow").pay(&app).await.send(&app).await.status, 200);
    let added = scrape().of("farthing_payment_latency_seconds_sum", "slow");
    assert!(added > 0.0 && added < 0.25, "{added}");
}

#[tokio::test]
async fn an_unknown_capture_is_pending_until_it_is_known_and_counted_once() {
    scrape();
    let world = World::new();
    let app = route(&world, "/u", "unsure", StatusCode::OK);
    let paid = get("/u").pay(&app).await;
    world.ledger.fail("capture", Fault::Silent);
    assert_eq!(paid.send(&app).await.status, 503);
    let seen = scrape();
    let step = [("route", "unsure"), ("step", "capture")];
    assert_eq!(seen.sum("farthing_unknown_outcomes_total", &step), 1.0);
    assert_eq!(
        (seen.of("farthing_holds_total", "unsure"), seen.of("farthing_captures_total", "unsure")),
        (1.0, 0.0)
    );
    assert_eq!(seen.sum("farthing_pending_payments", &[]), 1.0);
    assert!(seen.sum("farthing_pending_oldest_seconds", &[]) > 0.0);

    assert_eq!(paid.send(&app).await.status, 200);
    let seen = scrape();
    assert_eq!(seen.of("farthing_captures_total", "unsure"), 1.0);
    assert_eq!(seen.of("farthing_captured_units_total", "unsure"), 1_000.0);
    assert_eq!(seen.sum("farthing_pending_payments", &[]), 0.0);
    assert_eq!(seen.sum("farthing_pending_oldest_seconds", &[]), 0.0);
}

#[tokio::test]
async fn what_is_free_for_a_caller_is_counted_as_used_quota() {
    scrape();
    let world = World::new();
    let quota = Quota::new(2, Duration::from_secs(3600)).by_header("x-api-key");
    let layer = world.paywall.price("$0.001").name("quota").free_quota(quota);
    let app = Router::new().route("/q", route_get(|| async { "free" }).layer(layer));
    for status in [200, 200, 402] {
        assert_eq!(get("/q").with("x-api-key", "me").send(&app).await.status, status);
    }
    let seen = scrape();
    assert_eq!(
        (seen.of("farthing_quota_used_total", "quota"), seen.of("farthing_offers_total", "quota")),
        (2.0, 1.0)
    );
}

/// Neither who pays, nor a payment, nor a path that a client chose: labels are the seller's own.
#[tokio::test]
async fn t44_metrics_name_nobody_and_have_as_many_labels_as_the_seller_has_routes() {
    scrape();
    let world = World::new();
    let layer = world.paywall.price("$0.001");
    let app = Router::new().route("/item/{id}", route_get(|| async { "item" }).layer(layer));
    let mut ids = Vec::new();
    for item in ["secret-one", "secret-two"] {
        let paid = get(&format!("/item/{item}")).pay(&app).await;
        ids.push(paid.id().to_string());
        assert_eq!(paid.send(&app).await.status, 200);
    }
    let seen = scrape();
    assert_eq!(seen.of("farthing_captures_total", "/item/{id}"), 2.0);
    for part in ["alice", "secret-", "good", &ids[0], &ids[1]] {
        assert!(!seen.0.contains(part), "{part}: {}", seen.0);
    }
    // Everything that is exported is described.
    for line in seen.0.lines().filter(|line| line.starts_with("farthing_")) {
        let name = line.split(['{', ' ']).next().unwrap();
        let known = observe::METRICS.iter().any(|metric| name.starts_with(metric.name));
        assert!(known && seen.0.contains("# HELP"), "{name}");
    }
}

#[tokio::test]
async fn paid_and_voided_requests_are_in_the_log_of_sales_also_when_the_client_has_gone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("sales.jsonl");
    let log = SalesLog::open(&path).unwrap();
    let world = World::with(rail("auth-capture"), |builder| builder.sales(log.clone()));
    let app = route(&world, "/s", "sold", StatusCode::OK).merge(route(
        &world,
        "/v",
        "void",
        StatusCode::INTERNAL_SERVER_ERROR,
    ));
    let paid = get("/s").pay(&app).await;
    for _ in 0..2 {
        assert_eq!(paid.send(&app).await.status, 200);
    }
    let voided = get("/v").pay(&app).await;
    assert_eq!(voided.send(&app).await.status, 500);
    let unsure = get("/s").pay(&app).await;
    world.ledger.fail("capture", Fault::Silent);
    for status in [503, 200, 200] {
        assert_eq!(unsure.send(&app).await.status, status);
    }
    // A client that goes away while the handler runs is charged, and so it is in the log.
    let (started, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begun, waits) = (started.clone(), go_on.clone());
    let slow = move || async move {
        begun.notify_one();
        waits.notified().await;
        "slow"
    };
    let slow = Router::new().route("/g", route_get(slow).layer(world.paywall.price("$0.001").name("gone")));
    let gone = get("/g").pay(&slow).await;
    let request = tokio::spawn({
        let gone = gone.clone();
        async move { gone.send(&slow).await }
    });
    started.notified().await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    go_on.notify_one();
    // What was left to be repeated still has the log: its lines are written behind everybody's back.
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut lines = Vec::new();
    while lines.len() < 5 {
        tokio::task::yield_now().await;
        assert!(Instant::now() < deadline, "{lines:?}");
        lines.clear();
        sales::read(&path, |line| lines.push(line)).unwrap();
    }
    let told: Vec<_> =
        lines.iter().map(|line| (line.route.as_str(), line.outcome, line.payment.clone())).collect();
    let expected = [
        ("sold", Ending::Paid, paid.id().to_string()),
        ("void", Ending::Voided, voided.id().to_string()),
        ("sold", Ending::Unknown, unsure.id().to_string()),
        ("sold", Ending::Paid, unsure.id().to_string()),
        ("gone", Ending::Paid, gone.id().to_string()),
    ];
    assert_eq!(told, expected, "a stored answer is no sale");
    assert_eq!(lines[0].amount.map(|amount| amount.0), Some(1_000));
    assert_eq!((lines[2].amount, lines[2].held.map(|held| held.0)), (None, Some(1_000)));
}
