//! Each step of a payment leaves a trace, and no secret does. Alone in its process: so is a subscriber.

// An `unwrap` in a test is an assertion, in what it is built of too; two files are also part of a doc test.
#![allow(clippy::unwrap_used, unreachable_pub, dead_code)]

#[path = "paywall/scripted.rs"]
mod scripted;
#[path = "paywall/shopping.rs"]
mod shopping;

use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get as route_get;
use tracing_subscriber::fmt::format::FmtSpan;

use shopping::*;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn t44_each_step_of_a_payment_is_a_span_and_no_secret_is_in_any() {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let world = World::new();
    let route = |path: &'static str, name: &'static str, status: StatusCode| {
        let layer = world.paywall.price("$0.001").name(name);
        Router::new().route(path, route_get(move || async move { (status, "hello") }).layer(layer))
    };
    let app =
        route("/t", "traced", StatusCode::OK).merge(route("/v", "voided", StatusCode::INTERNAL_SERVER_ERROR));
    let paid = get("/t").pay(&app).await;
    assert_eq!(paid.send(&app).await.status, 200);
    assert_eq!(get("/v").pay(&app).await.send(&app).await.status, 500);
    drop(guard);
    let log = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    for step in ["offer", "read", "check", "price", "authorize", "handle", "capture", "void", "settle"] {
        assert!(log.contains(&format!("{step}: ")), "{step}: {log}");
    }
    for part in ["route=traced", "situation=\"paid\"", &format!("payment={}", paid.id())] {
        assert!(log.contains(part), "{part}: {log}");
    }
    let signature = "\"signature\"";
    for secret in [paid.header().as_str(), signature, "c2lnbmF0dXJl"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}
