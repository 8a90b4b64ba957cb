//! T44 for the gateway: what nobody may read in a log, in the gateway's own lines or at the upstream. Alone in its
//! file: the log is the whole process's, with every trace of every crate in it.

#[path = "gateway_threats/front.rs"]
mod front;

use axum::body::Body;
use axum::response::Response;
use farthing_testkit::{Log, Secrets, forge};
use front::*;
use serde_json::Value;

/// What a payer asks for in a query is nobody's business but the upstream's.
const QUERY: &str = "token=a-secret-of-the-query-0123456789";
const COOKIE: &str = "session=a-secret-of-a-cookie-0123456789";

#[tokio::test]
async fn t44_no_log_and_no_line_of_the_gateway_holds_a_key_a_payment_or_what_was_asked_in_a_query() {
    let log = Log::of_process();
    let upstream = Upstream::answering(|seen| {
        let status = if seen.target.contains("fails") { 500 } else { 200 };
        Response::builder().status(status).header("set-cookie", COOKIE).body(Body::from(CONTENT)).unwrap()
    })
    .await;
    let front = Front::of(&upstream.origin(), ROUTES).await;
    let mut secrets = Secrets::default();
    secrets.add_key("the payer's key", &[1; 32]);
    for name in ["authorizer.key", "ledger/ledger.key", "ledger/issuer.key"] {
        if let Ok(text) = std::fs::read_to_string(front.directory().join("data").join(name)) {
            let text = text.trim();
            let bytes: Option<Vec<u8>> =
                (0..32).map(|at| u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()).collect();
            let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
            secrets.add_key("a key of the gateway", &bytes.expect("64 hex digits"));
        }
    }
    assert!(secrets.count() >= 8, "the gateway has keys in files");
    secrets.add("a query", QUERY);

    // Good, again, failing, bound elsewhere, spoilt, twice, on a free route.
    let target = format!("/files/a?{QUERY}");
    let good = front.pay("GET", &target, b"").await;
    let cookie = ("Cookie", COOKIE);
    for _ in 0..2 {
        let paid = front.send("GET", &target, &[cookie, ("PAYMENT-SIGNATURE", &good)], b"").await;
        assert_eq!(paid.text(), CONTENT);
    }
    let failing = front.pay("GET", "/files/fails", b"").await;
    assert_eq!(front.send_paid("GET", "/files/fails", &failing, b"").await.status, 500);
    assert_eq!(front.send_paid("GET", "/files/b", &good, b"").await.status, 409);
    let text = forge::open(&good);
    let payment: Value = serde_json::from_str(&text).unwrap();
    let (authorization, signature) = (
        payment["payload"]["authorization"].as_str().unwrap(),
        payment["payload"]["signature"].as_str().unwrap(),
    );
    for spoilt in [
        text.replace(&signature[..8], "00000000"),
        text.replace(authorization, signature),
        text.replacen("\"x402Version\":2", &format!("\"x402Version\":\"{signature}\""), 1),
        text[..text.len() - 1].to_owned(),
    ] {
        let reply = front.send_paid("GET", &target, &forge::seal(&spoilt), b"").await;
        assert!((400..500).contains(&reply.status), "{}", reply.status);
    }
    let spare = front.pay("GET", "/files/spare", b"").await;
    let twice = [("PAYMENT-SIGNATURE", spare.as_str()), ("X-PAYMENT", spare.as_str())];
    assert_eq!(front.send("GET", "/files/spare", &twice, b"").await.status, 400);
    assert_eq!(front.send("GET", &format!("/free/x?{QUERY}"), &twice, b"").await.status, 200);
    [&good, &failing, &spare].iter().for_each(|payment| secrets.add_payment(payment));
    assert!(secrets.count() > 20, "{}", secrets.count());

    // The gateway's own lines are there, and say what they may say.
    let lines = front.lines.lock().unwrap().join("\n");
    for expected in ["GET /files/a 200", "GET /files/a 402", "captured", "voided", "GET /free/x 200"] {
        assert!(lines.contains(expected), "no {expected:?} in {lines}");
    }
    secrets.are_not_in("a line", &lines);
    assert!(!lines.contains(COOKIE), "{lines}");
    // Nothing that could be spent reached the upstream.
    let mut of_payments = Secrets::default();
    [&good, &failing, &spare].iter().for_each(|payment| of_payments.add_payment(payment));
    of_payments.are_not_in("what reached the upstream", &format!("{:?}", upstream.seen()));
    let text = log.text();
    assert!(text.contains("held") && text.contains("hyper"), "{} bytes of log", text.len());
    secrets.are_not_in("the log", &text);
    tracing::trace!(header = %good, "logged on purpose");
    assert!(secrets.find(&log.text()).is_some(), "a payment that was logged on purpose is found");
    assert_eq!(front.captures().await, 1);
}
