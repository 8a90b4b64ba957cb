//! Nothing that could be spent is logged or shown. Alone in its file: the log is the whole process's.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../../testkit/src/log.rs"]
mod log;
mod scripted;

use log::Log;
use scripted::*;

#[tokio::test]
async fn t44_no_payment_header_is_logged_or_shown() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_env_filter("trace").with_writer(log.clone()).with_ansi(false).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let rail = Rail::new();
    let server = Server::start(|seen| match (seen.payment(), seen.nth) {
        (None, _) => unpaid(&[offer(1_000)]),
        (Some(_), 1) => Reply::HangUp,
        (Some(payment), 2) => delivers(payment, "goods"),
        (Some(_), _) => Reply::new(503, ""),
    })
    .await;
    let client = client(&rail);
    let answer = client.get(&server.url).await.unwrap();
    let error = client.get(&server.url).await.unwrap_err();
    let shown = format!("{answer:?} {error:?} {error} {client:?} {:?}", error.prepared());
    let log = log.text();
    assert!(log.contains("payment sent") && log.contains("payment signed"), "logging works: {log}");
    for payment in server.payments() {
        let payload = presented(&payment).payment.payload;
        for secret in [payment.as_str(), payload.get()] {
            assert!(!log.contains(secret) && !shown.contains(secret));
        }
    }
}
