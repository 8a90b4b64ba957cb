//! The HTTP API: what it takes, what it refuses, and what it never forgets to finish.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod scripted;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use farthing_facilitator::ConfigError;
use farthing_facilitator::http::HttpOptions;
use farthing_protocol::rail::{FacilitatorError, Outcome, Tenant, UnknownOutcome};
use farthing_protocol::reason;
use reqwest::{Method, RequestBuilder};
use scripted::{NETWORK, Script, TOKEN, refused, request_json, serve};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn start(options: HttpOptions) -> (Arc<Script>, SocketAddr) {
    let rail = Script::new();
    let address = serve(rail.local(), options).await;
    (rail, address)
}

fn ask(address: SocketAddr, method: Method, path: &str) -> RequestBuilder {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.request(method, format!("http://{address}{path}"))
}

fn post(address: SocketAddr, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
    ask(address, Method::POST, path).header("content-type", "application/json").body(body)
}

/// Status and JSON; every answer says that it is not to be stored, and its type fits its status.
async fn told(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let headers = answer.headers().clone();
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers.contains_key("retry-after"), status == 503);
    assert_eq!(headers.contains_key("www-authenticate"), status == 401);
    let value: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let is_problem = headers["content-type"] == "application/problem+json";
    assert_eq!(is_problem, value.get("code").is_some(), "{status}: {value}");
    if is_problem {
        assert_eq!(value["status"], status);
        assert_eq!(value["type"], format!("urn:farthing:problem:{}", value["code"].as_str().unwrap()));
    } else {
        assert_eq!(headers["content-type"], "application/json");
    }
    (status, value)
}

#[tokio::test]
async fn a_body_that_is_not_strictly_the_message_is_400_and_names_the_member() {
    let (rail, address) = start(HttpOptions::default()).await;
    let good = request_json().to_string();
    let spoiled = |pointer: &str, value: Value| {
        let mut json = request_json();
        *json.pointer_mut(pointer).unwrap() = value;
        json.to_string()
    };
    let without = |parent: &str, member: &str| {
        let mut json = request_json();
        json.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(member).unwrap();
        json.to_string()
    };
    let table: Vec<(String, Option<&str>)> = vec![
        (String::new(), None),
        ("{".into(), None),
        ("[]".into(), None),
        ("null".into(), None),
        ("\u{feff}{}".into(), None),
        (format!("{good}{good}"), None),
        (format!("{good} x"), None),
        ("[".repeat(100_000), None),
        (good.replacen(r#""amount":"1000""#, r#""amount":"1000","amount":"1000""#, 1), Some("amount")),
        (good.replacen('{', r#"{"x402Version":2,"#, 1), Some("x402Version")),
        ("{}".into(), Some("x402Version")),
        (spoiled("/x402Version", json!("2")), Some("x402Version")),
        (spoiled("/x402Version", json!(2.0)), Some("x402Version")),
        (spoiled("/x402Version", json!(1)), Some("x402Version")),
        (spoiled("/x402Version", json!(3)), Some("x402Version")),
        (spoiled("/paymentPayload/x402Version", json!(1)), Some("x402Version")),
        (
            r#"{"x402Version":1,"paymentPayload":{"x402Version":1},"paymentRequirements":{}}"#.into(),
            Some("paymentPayload.scheme"),
        ),
        (without("", "paymentPayload"), Some("paymentPayload")),
        (without("", "paymentRequirements"), Some("paymentRequirements")),
        (without("/paymentPayload", "accepted"), Some("paymentPayload.accepted")),
        (without("/paymentPayload", "payload"), Some("paymentPayload.payload")),
        (spoiled("/paymentRequirements/amount", json!(1000)), Some("paymentRequirements.amount")),
        (spoiled("/paymentRequirements/amount", json!("01000")), Some("paymentRequirements.amount")),
        (spoiled("/paymentRequirements/amount", json!("1e3")), Some("paymentRequirements.amount")),
        (spoiled("/paymentRequirements/amount", json!("-1")), Some("paymentRequirements.amount")),
        (spoiled("/paymentRequirements/network", json!("base")), Some("paymentRequirements.network")),
        (spoiled("/paymentRequirements/payTo", json!(null)), Some("paymentRequirements.payTo")),
        (
            spoiled("/paymentRequirements/maxTimeoutSeconds", json!(0)),
            Some("paymentRequirements.maxTimeoutSeconds"),
        ),
        (spoiled("/paymentRequirements/extra", json!([])), Some("paymentRequirements.extra")),
        (spoiled("/paymentPayload", json!([2])), Some("paymentPayload")),
    ];
    for path in ["/verify", "/settle"] {
        for (body, field) in &table {
            let started = Instant::now();
            let (status, problem) = told(post(address, path, body.clone())).await;
            let shown: String = body.chars().take(300).collect();
            assert_eq!((status, &problem["code"]), (400, &json!("malformed")), "{path} {shown}");
            let named = problem["field"].as_str();
            if let Some(field) = field {
                assert!(named.is_some_and(|named| named.starts_with(field)), "{path} {problem} {shown}");
            }
            assert_eq!(problem["retry"], "new");
            assert!(started.elapsed() < Duration::from_secs(1));
        }
        let mut latin1 = good.clone().into_bytes();
        latin1.insert(1, 0xff);
        assert_eq!(told(post(address, path, latin1)).await.0, 400);
        assert_eq!(rail.settles() + rail.count("verify"), 0, "nothing reached the rail");
    }
    for path in ["/verify", "/settle"] {
        assert_eq!(told(post(address, path, good.clone())).await.0, 200);
    }
    assert_eq!((rail.settles(), rail.count("verify")), (1, 1));
}

#[tokio::test]
async fn only_json_of_a_bounded_size_is_read() {
    let good = request_json().to_string();
    let (rail, address) = start(HttpOptions::default().body_limit(good.len())).await;
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "application/json; charset=latin1",
        "",
    ] {
        let request =
            ask(address, Method::POST, "/settle").header("content-type", media_type).body(good.clone());
        assert_eq!(told(request).await.0, 415, "{media_type}");
    }
    assert_eq!(told(ask(address, Method::POST, "/settle").body(good.clone())).await.0, 415);
    let two = post(address, "/settle", good.clone()).header("content-type", "application/json");
    assert_eq!(told(two).await.0, 415);
    let zipped = post(address, "/settle", good.clone()).header("content-encoding", "gzip");
    assert_eq!(told(zipped).await.0, 415);

    let (status, problem) = told(post(address, "/settle", format!("{good} "))).await;
    assert_eq!((status, &problem["code"]), (413, &json!("body-too-large")));
    // Without an announced length the limit holds as well.
    let long = format!("{good} ");
    let chunked = format!(
        "POST /settle HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{long}\r\n0\r\n\r\n",
        long.len()
    );
    assert!(raw(address, &chunked).await.starts_with("HTTP/1.1 413 "));
    // A body that is announced as endless is refused before it is sent.
    let endless = "POST /settle HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 10000000000\r\n\r\n";
    assert!(raw(address, endless).await.starts_with("HTTP/1.1 413 "));
    assert_eq!(rail.settles(), 0);

    for media_type in ["application/json", "Application/JSON; charset=UTF-8"] {
        let request =
            ask(address, Method::POST, "/settle").header("content-type", media_type).body(good.clone());
        assert_eq!(told(request).await.0, 200, "{media_type}");
    }
    assert_eq!(rail.settles(), 2);
}

#[tokio::test]
async fn other_paths_and_methods_get_a_problem() {
    let (rail, address) = start(HttpOptions::default()).await;
    for path in
        ["/", "/settle/", "/Settle", "/payments", "/payments/", "/payments/a/b", "//settle", "/settle/../x"]
    {
        let (status, problem) = told(ask(address, Method::POST, path)).await;
        assert_eq!((status, &problem["code"]), (404, &json!("not-found")), "{path}");
    }
    let id = "ab".repeat(32);
    for (path, method, allow) in [
        ("/settle".to_owned(), Method::GET, "POST"),
        ("/verify".into(), Method::PUT, "POST"),
        ("/supported".into(), Method::POST, "GET,HEAD"),
        ("/healthz".into(), Method::DELETE, "GET,HEAD"),
        (format!("/payments/{id}"), Method::POST, "GET,HEAD"),
    ] {
        let answer = ask(address, method.clone(), &path).send().await.unwrap();
        let allowed: Vec<_> = answer.headers().get_all("allow").iter().collect();
        assert_eq!(allowed, [allow], "{method} {path}");
        let (status, problem) = told(ask(address, method, &path)).await;
        assert_eq!((status, &problem["code"]), (405, &json!("method-not-allowed")), "{path}");
    }
    assert!(rail.calls.lock().unwrap().is_empty());

    assert_eq!(told(ask(address, Method::GET, "/healthz")).await, (200, json!({ "status": "ok" })));
    let (status, supported) = told(ask(address, Method::GET, "/supported")).await;
    assert_eq!((status, supported["kinds"].as_array().unwrap().len()), (200, 2));
    let head = ask(address, Method::HEAD, "/supported").send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.bytes().await.unwrap().len()), (200, 0));
}

#[tokio::test]
async fn a_payment_is_looked_up_by_its_id_only() {
    let (rail, address) = start(HttpOptions::default()).await;
    let id = "ab".repeat(32);
    for bad in ["x", &id[1..], &id.to_uppercase(), &format!("{id}0"), "%ff", "%00", "..%2fsettle"] {
        let (status, problem) = told(ask(address, Method::GET, &format!("/payments/{bad}"))).await;
        assert_eq!((status, &problem["field"]), (400, &json!("payment id")), "{bad}");
    }
    assert_eq!(rail.count("payment"), 0);

    let path = format!("/payments/{id}");
    let (status, problem) = told(ask(address, Method::GET, &path)).await;
    assert_eq!((status, &problem["code"]), (404, &json!("payment-unknown")));
    let statement = json!({ "payment": id, "state": "held", "amount": "0", "asOf": 1 });
    *rail.payment.lock().unwrap() = Ok(Some(statement.clone()));
    assert_eq!(told(ask(address, Method::GET, &path)).await, (200, statement));
}

#[tokio::test]
async fn what_went_wrong_inside_has_a_status_and_is_not_told() {
    let (rail, address) = start(HttpOptions::default()).await;
    let good = request_json().to_string();
    let secret = || "https://rpc.example/?key=hunter2".to_owned();
    for (error, expected) in [
        (FacilitatorError::Unreachable(secret()), (503, "unreachable")),
        (FacilitatorError::Malformed(secret()), (502, "network-malformed")),
        (FacilitatorError::Forbidden(secret()), (403, "forbidden")),
    ] {
        *rail.verify.lock().unwrap() = Err(error.clone());
        *rail.payment.lock().unwrap() = Err(error);
        let lookup = ask(address, Method::GET, &format!("/payments/{}", "ab".repeat(32)));
        for request in [post(address, "/verify", good.clone()), lookup] {
            let (status, problem) = told(request).await;
            assert_eq!((status, problem["code"].as_str().unwrap()), expected);
            assert!(!problem.to_string().contains("hunter2"));
        }
    }
    *rail.verify.lock().unwrap() =
        Err(FacilitatorError::Unsupported { scheme: "exact".into(), network: NETWORK.into() });
    let (status, answer) = told(post(address, "/verify", good.clone())).await;
    assert_eq!(
        (status, &answer["isValid"], &answer["invalidReason"]),
        (200, &json!(false), &json!("invalid_scheme"))
    );

    *rail.settle.lock().unwrap() = Outcome::Unknown(UnknownOutcome(secret()));
    let (status, answer) = told(post(address, "/settle", good.clone())).await;
    assert_eq!((status, &answer["errorReason"]), (503, &json!(reason::SETTLEMENT_PENDING)));
    assert_eq!(
        (&answer["success"], &answer["transaction"], &answer["network"]),
        (&json!(false), &json!(""), &json!(NETWORK))
    );
    assert!(!answer.to_string().contains("hunter2"));

    *rail.settle.lock().unwrap() = Outcome::NotSettled(refused(reason::INSUFFICIENT_FUNDS));
    let (status, answer) = told(post(address, "/settle", good)).await;
    assert_eq!((status, &answer["errorReason"]), (200, &json!(reason::INSUFFICIENT_FUNDS)));
}

#[tokio::test]
async fn a_token_names_the_tenant_and_nobody_else_verifies_or_settles() {
    let other = "another-token-0123456789-xyz";
    let options = HttpOptions::default().tenant("shop", TOKEN).unwrap().tenant("kiosk", other).unwrap();
    let (rail, address) = start(options).await;
    let good = request_json().to_string();
    let long = format!("{TOKEN}x");
    let wrong = [
        None,
        Some(String::new()),
        Some("Bearer".into()),
        Some("Bearer ".into()),
        Some(format!("Bearer {}", &TOKEN[1..])),
        Some(format!("Bearer {long}")),
        Some(format!("Bearer {}", TOKEN.to_uppercase())),
        Some(format!("Basic {TOKEN}")),
        Some(TOKEN.to_owned()),
        Some(format!("Bearer {TOKEN}, Bearer {other}")),
    ];
    for path in ["/verify", "/settle"] {
        for authorization in &wrong {
            let mut request = post(address, path, good.clone());
            if let Some(value) = authorization {
                request = request.header("authorization", value);
            }
            let (status, problem) = told(request).await;
            assert_eq!((status, &problem["code"]), (401, &json!("unauthorized")), "{authorization:?}");
        }
        let twice = post(address, path, good.clone()).bearer_auth(TOKEN).bearer_auth(TOKEN);
        assert_eq!(told(twice).await.0, 401);
        // Who may not call learns nothing about the body.
        assert_eq!(told(post(address, path, "{")).await.0, 401);
    }
    assert!(rail.calls.lock().unwrap().is_empty());
    for path in ["/supported", "/healthz"] {
        assert_eq!(told(ask(address, Method::GET, path)).await.0, 200);
    }
    assert_eq!(told(ask(address, Method::GET, &format!("/payments/{}", "ab".repeat(32)))).await.0, 404);

    rail.calls.lock().unwrap().clear();
    assert_eq!(told(post(address, "/verify", good.clone()).bearer_auth(TOKEN)).await.0, 200);
    let lower = post(address, "/settle", good.clone()).header("authorization", format!("bearer {other}"));
    assert_eq!(told(lower).await.0, 200);
    let shop = ("verify", Tenant("shop".into()));
    assert_eq!(*rail.calls.lock().unwrap(), [shop, ("settle", Tenant("kiosk".into()))]);

    let (open, address) = start(HttpOptions::default()).await;
    assert_eq!(told(post(address, "/settle", good)).await.0, 200);
    assert_eq!(open.calls.lock().unwrap()[0].1, Tenant("public".into()));
}

#[test]
fn a_token_that_is_no_secret_stops_the_start_and_is_never_shown() {
    let options = || HttpOptions::default().tenant("shop", TOKEN).unwrap();
    assert!(options().tenant("shop", "the-next-token-0123456789").is_ok());
    for (tenant, token) in
        [("", TOKEN), ("a", ""), ("a", "short"), ("a", TOKEN), ("a", "with spaces in the middle of")]
    {
        let fault = options().tenant(tenant, token).unwrap_err();
        assert!(matches!(fault, ConfigError::Setting { .. }));
        assert!(token.is_empty() || !fault.to_string().contains(token));
    }
    let shown = format!("{:?}", options());
    assert!(shown.contains("shop") && !shown.contains(TOKEN), "{shown}");
}

#[tokio::test]
async fn settlements_beyond_the_bound_wait_for_nobody() {
    let (rail, address) = start(HttpOptions::default().concurrent_settles(2)).await;
    *rail.delay.lock().unwrap() = Duration::from_millis(400);
    let good = request_json().to_string();
    let asked: Vec<_> = (0..6).map(|_| tokio::spawn(told(post(address, "/settle", good.clone())))).collect();
    let mut statuses = Vec::new();
    for answer in asked {
        let (status, body) = answer.await.unwrap();
        if status == 503 {
            assert_eq!((&body["code"], &body["retry"]), (&json!("busy"), &json!("same")));
        }
        statuses.push(status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503, 503, 503, 503]);
    assert_eq!(rail.settles(), 2);
    assert_eq!(told(post(address, "/settle", good)).await.0, 200);
}

#[tokio::test]
async fn a_settlement_is_finished_although_time_is_over_or_the_caller_is_gone() {
    let (rail, address) = start(HttpOptions::default().timeout(Duration::from_millis(150))).await;
    *rail.delay.lock().unwrap() = Duration::from_millis(400);
    let good = request_json().to_string();
    let (status, answer) = told(post(address, "/settle", good.clone())).await;
    assert_eq!((status, &answer["errorReason"]), (503, &json!(reason::SETTLEMENT_PENDING)));
    let (status, problem) = told(post(address, "/verify", good.clone())).await;
    assert_eq!((status, &problem["code"]), (503, &json!("timeout")));

    // Hangs up as soon as the rail has it.
    let mut gone = TcpStream::connect(address).await.unwrap();
    let head = "POST /settle HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ";
    gone.write_all(format!("{head}{}\r\n\r\n{good}", good.len()).as_bytes()).await.unwrap();
    while rail.settles() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(gone);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!((rail.settles(), rail.settles_finished.load(SeqCst)), (2, 2));

    *rail.delay.lock().unwrap() = Duration::ZERO;
    *rail.panics.lock().unwrap() = true;
    let (status, answer) = told(post(address, "/settle", good.clone())).await;
    assert_eq!((status, &answer["errorReason"]), (503, &json!(reason::SETTLEMENT_PENDING)));
    *rail.panics.lock().unwrap() = false;
    assert_eq!(told(post(address, "/settle", good)).await.0, 200);
}

#[tokio::test]
async fn a_body_that_drips_is_given_up() {
    let (rail, address) = start(HttpOptions::default().timeout(Duration::from_millis(200))).await;
    let started = Instant::now();
    let head =
        "POST /settle HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    assert!(raw(address, head).await.starts_with("HTTP/1.1 408 "));
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(rail.settles(), 0);
    assert_eq!(told(post(address, "/settle", request_json().to_string())).await.0, 200);
}

/// Sends bytes as they are, and returns what came back first.
async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}
