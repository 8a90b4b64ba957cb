//! What is scraped from a server's own listener is what its ledger says. One test: a process has one recorder.
#![cfg(all(feature = "metrics", feature = "client"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use farthing::farthing_ledger::sales::{self, Refund, Refunded, Sale};
use farthing::farthing_ledger::statement::PaymentState;
use farthing::metrics::Metrics;
use farthing::protocol::{Amount, SecretKey};
use farthing::server::observe::{self, Kind};
use farthing::{Budget, Client, LocalLedger};
use serde_json::Value;
use tokio::net::TcpListener;

fn key(role: u8) -> SecretKey {
    SecretKey::from_seed([role; 32])
}

/// The payments of the seller, by the ledger's own word.
async fn payments(ledger: &LocalLedger) -> Vec<Sale> {
    let mut rows = ledger.ledger().snapshot().await.unwrap();
    let mut lines = Vec::new();
    sales::write(rows.as_mut(), 0, &mut lines).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    lines.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An answer over a connection of its own.
async fn ask(url: &str, target: &str, header: &str) -> String {
    let address = url.strip_prefix("http://").unwrap().to_owned();
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n{header}Connection: close\r\n\r\n");
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    answer.await.unwrap()
}

struct Scrape(String);

impl Scrape {
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let has = |line: &str| labels.iter().all(|(key, value)| line.contains(&format!("{key}=\"{value}\"")));
        let of_name = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && has(line)
        };
        let value = |line: &str| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap();
        self.0.lines().filter(of_name).map(value).sum::<f64>() as u64
    }

    fn names(&self) -> BTreeSet<&str> {
        let samples = self.0.lines().filter(|line| line.starts_with("farthing_"));
        samples.map(|line| line.split(['{', ' ']).next().unwrap()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_scraped_after_a_paid_a_refused_a_voided_and_a_replayed_request_is_what_the_ledger_says() {
    let metrics = Metrics::install().unwrap();
    Metrics::install().expect("again it is the same");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scraped = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(metrics.serve(listener));

    let ledger = LocalLedger::memory(key(1).public()).await.unwrap();
    ledger.deposit(key(3).public(), "1 XTS").await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let paywall = farthing::paywall(&url, key(1).public(), key(2), &ledger).await.unwrap();
    let seen = Arc::new(Mutex::new(String::new()));
    let note = seen.clone();
    let remember = from_fn(move |request: Request, next: Next| {
        if let Some(payment) = request.headers().get("payment-signature") {
            *note.lock().unwrap() = format!("PAYMENT-SIGNATURE: {}\r\n", payment.to_str().unwrap());
        }
        next.run(request)
    });
    let weather = paywall.price("0.01 XTS").name("weather");
    let broken = paywall.price("0.02 XTS").name("broken");
    let app = Router::new()
        .route("/weather", get(async || "sunny").layer(weather))
        .route("/broken", get(async || StatusCode::INTERNAL_SERVER_ERROR).layer(broken))
        .layer(remember);
    let selling = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });

    let wallet = farthing::native::NativePay::connect(ledger.facilitator(), None, key(3)).await.unwrap();
    let client = Client::builder().allow_origin(&url).rail(Arc::new(wallet));
    let client = client.budget(Budget::new("1 XTS").unwrap()).build().unwrap();
    for _ in 0..3 {
        assert_eq!(client.get(&format!("{url}/weather")).send().await.unwrap().status, 200);
    }
    let payment = seen.lock().unwrap().clone();
    let replayed = ask(&url, "/weather", &payment).await;
    assert!(replayed.starts_with("HTTP/1.1 200"), "{replayed}");
    let stolen = ask(&url, "/weather?other", &payment).await;
    assert!(stolen.starts_with("HTTP/1.1 409"), "{stolen}");
    let unpaid = ask(&url, "/weather", "").await;
    assert!(unpaid.starts_with("HTTP/1.1 402"), "{unpaid}");
    let _ = client.get(&format!("{url}/broken")).send().await;
    let sold = payments(&ledger).await;
    let captured: Vec<_> = sold.iter().filter(|sale| sale.state == PaymentState::Captured).collect();
    let refund = Refund::sign(&ledger.ledger().id(), captured[0].payment, Amount(4_000), &key(2));
    for _ in 0..2 {
        assert!(matches!(ledger.ledger().refund(&refund).await.unwrap(), Refunded::Done(_)));
    }

    let scrape = ask(&scraped, "/metrics", "").await;
    assert!(scrape.contains("text/plain; version=0.0.4"), "{scrape}");
    let scrape = Scrape(scrape);
    let sold = payments(&ledger).await;
    let count = |state: PaymentState| sold.iter().filter(|sale| sale.state == state).count() as u64;
    let units = |of: fn(&Sale) -> Amount| sold.iter().map(|sale| of(sale).0 as u64).sum::<u64>();
    let network = ledger.ledger().network().as_str();
    let all = [("network", network), ("asset", "XTS")];
    assert_eq!(scrape.sum("farthing_holds_total", &all), sold.len() as u64);
    assert_eq!(scrape.sum("farthing_captures_total", &all), count(PaymentState::Captured));
    assert_eq!(scrape.sum("farthing_captures_total", &[("route", "weather")]), 3);
    assert_eq!(scrape.sum("farthing_captured_units_total", &all), units(|sale| sale.captured));
    assert_eq!(scrape.sum("farthing_voids_total", &all), count(PaymentState::Voided));
    assert_eq!((count(PaymentState::Captured), count(PaymentState::Voided)), (3, 1));
    assert_eq!(scrape.sum("farthing_refunds_total", &all), 1, "said twice it is one");
    assert_eq!(scrape.sum("farthing_refunded_units_total", &all), units(|sale| sale.refunded));
    assert_eq!(scrape.sum("farthing_replays_total", &[("route", "weather")]), 1);
    assert_eq!(scrape.sum("farthing_duplicates_refused_total", &[("route", "weather")]), 1);
    assert_eq!(scrape.sum("farthing_asset_scale", &all), 6);
    assert_eq!(scrape.sum("farthing_payment_latency_seconds_count", &[("route", "weather")]), 3);
    assert_eq!(scrape.sum("farthing_pending_payments", &[]), 0);
    assert!(!scrape.0.contains(&key(3).public().to_string()), "no payer");

    let elsewhere = ask(&scraped, "/", "").await;
    assert!(elsewhere.starts_with("HTTP/1.1 404"), "{elsewhere}");
    let sells_none = ask(&url, "/metrics", "").await;
    assert!(sells_none.starts_with("HTTP/1.1 404"), "{sells_none}");
    the_dashboard_asks_for_what_there_is(&scrape);
    serving.abort();
    selling.abort();
}

/// Every metric in a query of the dashboard is one that was scraped, or one that is described and did not happen.
fn the_dashboard_asks_for_what_there_is(scrape: &Scrape) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/grafana.json");
    let dashboard: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut asked = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        for target in targets {
            let query = target["expr"].as_str().unwrap();
            let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let before = asked.len();
            asked.extend(words.filter(|word| word.starts_with("farthing_")).map(str::to_owned));
            assert!(asked.len() > before || query.contains("farthing_"), "a query of nothing: {query}");
        }
    }
    assert!(asked.len() >= 10, "{asked:?}");
    // What did not happen in this test.
    let described: BTreeSet<_> = observe::METRICS
        .iter()
        .filter(|metric| metric.kind == Kind::Counter)
        .map(|metric| metric.name)
        .filter(|name| {
            ["unknown", "passes", "quota", "dropped", "refusals"].iter().any(|word| name.contains(word))
        })
        .collect();
    let scraped = scrape.names();
    for name in &asked {
        assert!(scraped.contains(name.as_str()) || described.contains(name.as_str()), "{name} is no metric");
    }
}
