//! `farthing agentd`: programs pay through it under one budget, and nobody else does.

mod world;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use farthing_testkit::{Reply, request, workspace};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use crate::pay::Shop;
use crate::program::{farthing, farthing_with};
use world::{Agentd, World};

const PAGE: &str = "/spec/receipt.md";
/// More than a request may cost.
const EXPENSIVE: &str = "/spec/everything.md";

/// A resource of the test's own.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    origin
}

fn refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.header("farthing-error")), (status, Some(code)), "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert_eq!((&reply.json()["code"], &reply.json()["status"]), (&json!(code), &json!(status)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_paid_for_while_it_comes_says_behind_it_what_it_cost_and_how_it_ended() {
    let shop = Shop::open().await;
    let home = shop.home("");
    let agentd = Agentd::start(home.directory.path(), &[], &[("FARTHING_KEY_AGENT", &home.key)]);
    for (path, cost, ended) in [("/few", "0.003 XTS", "complete"), ("/many", "0.004 XTS", "exhausted")] {
        let (authorization, asked) =
            (format!("Bearer {}", agentd.token), json!({ "url": shop.url(path), "task": path }));
        let headers =
            [("authorization", &*authorization), ("content-type", "application/json"), ("te", "trailers")];
        let sent = request(agentd.address, "POST", "/fetch", &headers, asked.to_string().as_bytes());
        let mut stream = TcpStream::connect(agentd.address).unwrap();
        stream.write_all(&sent).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
        for part in ["cost: 0.004 XTS", "open: true", "ended: \r\n", "flags: \r\n"] {
            assert!(head.contains(&format!("farthing-payment-{part}")), "{part}: {answer}");
        }
        let (_, trailers) = rest.rsplit_once("\r\n0\r\n").unwrap();
        let (cost, ended) = (format!("cost: {cost}"), format!("ended: {ended}"));
        for part in [cost.as_str(), "open: false", "confirmed: true", &ended, "flags: \r\n"] {
            assert!(trailers.contains(&format!("farthing-payment-{part}")), "{part}: {answer}");
        }
    }
    assert_eq!(shop.taken().await, 7_000);
}

#[tokio::test]
async fn a_page_is_fetched_paid_and_told_with_what_it_cost() {
    let world = World::new("1");
    let agentd = world.agentd(&[]);
    let page = agentd.fetch(&world.url(PAGE)).await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains("# Receipts"));
    assert_eq!(page.header("content-type"), Some("text/markdown; charset=utf-8"));
    assert_eq!(page.header("farthing-payment-cost"), Some("0.001 XTS"));
    assert_eq!(page.header("farthing-payment-amount"), Some("1000"));
    assert_eq!(page.header("farthing-payment-confirmed"), Some("true"));
    assert_eq!(page.header("farthing-payment-flags"), Some(""));
    assert_eq!(page.header("farthing-payment-network"), world.seller.ready["network"].as_str());
    assert_eq!(page.header("farthing-payment-payee").map(str::len), Some(64));
    for hidden in ["payment-response", "payment-required", "payment-signature", "farthing-error"] {
        assert_eq!(page.header(hidden), None, "{hidden}");
    }
    assert_eq!(world.captured(), 1);

    // The same payment again is the same page, and costs nothing more.
    let id = page.header("farthing-payment-id").unwrap();
    let again = agentd.post("/fetch", &json!({ "resume": id })).await;
    assert_eq!((again.status, again.text()), (200, page.text()));
    assert_eq!(again.header("farthing-payment-replayed"), Some("true"));
    let other = agentd.post("/fetch", &json!({ "resume": id, "url": world.url("/spec/ledger.md") })).await;
    refused(&other, 409, "other-request");
    let nobody = agentd.post("/fetch", &json!({ "resume": "0".repeat(64) })).await;
    refused(&nobody, 404, "no-such-payment");
    assert_eq!(world.captured(), 1);

    // What is free is free, and the resource's own errors are its own.
    let free = agentd.fetch(&world.url("/")).await;
    assert_eq!((free.status, free.header("farthing-payment-id")), (200, None));
    let missing = agentd.fetch(&world.url("/nowhere")).await;
    assert_eq!((missing.status, missing.header("farthing-error")), (404, None));
    let head = agentd.post("/fetch", &json!({ "url": world.url("/"), "method": "HEAD" })).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn what_the_policy_does_not_allow_is_refused_with_its_rule_and_costs_nothing() {
    let world = World::new("0.0015");
    let agentd = world.agentd(&[]);
    let expensive = agentd.fetch(&world.url(EXPENSIVE)).await;
    refused(&expensive, 403, "refused");
    let told = expensive.json();
    assert_eq!((&told["retry"], &told["fault"]), (&json!("none"), &json!("policy")), "{told}");
    assert!(told["refused"]["rule"].as_str().unwrap().contains("budget"), "{told}");
    assert!(!told["refused"]["why"].as_str().unwrap().is_empty());
    assert!(!told["refused"]["remedy"].as_str().unwrap().is_empty());
    let capped = json!({ "url": world.url(PAGE), "max_price": "0.0009 XTS" });
    let capped = agentd.post("/fetch", &capped).await;
    refused(&capped, 403, "refused");
    assert_eq!(world.captured(), 0);
    let capped = json!({ "url": world.url(PAGE), "max_price": "0.001 XTS", "task": "reading" });
    assert_eq!(agentd.post("/fetch", &capped).await.status, 200);
    // Half of a page is left.
    refused(&agentd.fetch(&world.url(PAGE)).await, 403, "refused");
    assert_eq!(world.captured(), 1);
    // The next process has the same budget.
    agentd.ask_to_stop();
    assert_eq!(agentd.ends_with(), 0);
    let agentd = world.agentd(&[]);
    refused(&agentd.fetch(&world.url(PAGE)).await, 403, "refused");
    assert_eq!(agentd.fetch(&world.url("/")).await.status, 200);
    assert_eq!(world.captured(), 1);
}

#[tokio::test]
async fn requests_at_once_never_spend_more_than_the_budget() {
    let world = World::new("0.005");
    let (one, two) =
        (world.agentd(&[]), world.agentd(&["--token-file", world.home.path().join("t").to_str().unwrap()]));
    let url = world.url(PAGE);
    let fetches = (0..24).map(|n| if n % 2 == 0 { one.fetch(&url) } else { two.fetch(&url) });
    let replies = futures_util::future::join_all(fetches).await;
    let count = |status| replies.iter().filter(|reply| reply.status == status).count();
    assert_eq!((count(200), count(403)), (5, 19));
    assert_eq!(world.captured(), 5);
    let told = one.get("/budget").await.json();
    assert_eq!(told["budgets"][0]["taken"], json!({"atomic": "5000", "decimal": "0.005"}));
    assert_eq!(told["budgets"][0]["left"]["atomic"], "0");
}

#[tokio::test]
async fn budget_quote_receipts_and_balance_are_told_in_json() {
    let world = World::new("5");
    let agentd = world.agentd(&[]);
    let network = &world.seller.ready["network"];
    let budget = agentd.get("/budget").await.json();
    let line = &budget["budgets"][0];
    assert_eq!((&line["network"], &line["asset"], &line["scale"]), (network, &json!("XTS"), &json!(6)));
    assert_eq!(line["limits"]["total"], json!({"atomic": "5000000", "decimal": "5"}));
    assert_eq!(line["limits"]["per_request"]["decimal"], "0.01");
    assert_eq!((&line["limits"]["per_day"], &budget["frozen_since"]), (&Value::Null, &Value::Null));

    let cheap = agentd.get(&format!("/quote?url={}", world.url(PAGE))).await.json();
    let offer = &cheap["offers"][0];
    assert_eq!((&cheap["free"], &cheap["chosen"]), (&json!(false), &json!(0)), "{cheap}");
    assert_eq!(offer["amount"], json!({"atomic": "1000", "decimal": "0.001"}));
    assert_eq!((&offer["price"], &offer["would_pay"]), (&json!("0.001 XTS"), &json!(true)));
    let dear = agentd.post("/quote", &json!({ "url": world.url(EXPENSIVE) })).await.json();
    assert_eq!((&dear["chosen"], &dear["offers"][0]["would_pay"]), (&Value::Null, &json!(false)), "{dear}");
    assert!(dear["offers"][0]["refused"]["rule"].is_string(), "{dear}");
    assert_eq!(agentd.get(&format!("/quote?url={}", world.url("/"))).await.json()["free"], true);
    assert_eq!(agentd.get("/receipts").await.json(), json!({ "receipts": [] }));
    assert_eq!(world.captured(), 0);

    let paid = json!({ "url": world.url(PAGE), "task": "reading" });
    let paid = agentd.post("/fetch", &paid).await;
    let receipts = agentd.get("/receipts").await.json();
    let receipt = &receipts["receipts"][0];
    assert_eq!(receipt["id"].as_str(), paid.header("farthing-payment-id"));
    assert_eq!((&receipt["state"], &receipt["confirmed"]), (&json!("confirmed"), &json!(true)));
    assert_eq!(
        (&receipt["url"], &receipt["task"]),
        (&json!(world.url(PAGE)), &json!("reading")),
        "{receipt}"
    );
    assert_eq!(receipt["amount"], json!({"atomic": "1000", "decimal": "0.001"}));
    assert_eq!((&receipt["agent"], &receipt["status"]), (&json!("researcher"), &json!(200)), "{receipt}");
    assert!(receipt["receipt"]["signature"].is_string(), "{receipt}");
    let later = receipt["signed_at"].as_u64().unwrap() + 1;
    assert_eq!(agentd.get(&format!("/receipts?since={later}")).await.json(), json!({ "receipts": [] }));
    let balance = agentd.get("/balance").await.json();
    assert_eq!(balance["balances"][0]["account"], "agent", "{balance}");
    assert_eq!(balance["balances"][0]["amount"]["decimal"], "499.999", "{balance}");
    for wrong in ["/receipts?when=1", "/receipts?since=x", "/quote", "/quote?url=x", "/receipts?origin=x"] {
        refused(&agentd.get(wrong).await, 400, "bad-request");
    }
}

#[tokio::test]
async fn nobody_is_served_without_the_token() {
    let world = World::new("1");
    let agentd = world.agentd(&[]);
    let mode = fs::metadata(agentd.ready["token_file"].as_str().unwrap()).unwrap().permissions().mode();
    assert_eq!((mode & 0o777, agentd.token.len()), (0o600, 64));
    let asked = json!({ "url": world.url(PAGE) }).to_string();
    let kind = ("content-type", "application/json");
    let right = format!("Bearer {}", agentd.token);
    let wrong = format!("Bearer {}", "0".repeat(64));
    let (short, basic) = (right[..70].to_owned(), format!("Basic {}", agentd.token));
    let long = format!("{right}0");
    for authorization in [&wrong, &short, &basic, &long, "Bearer ", ""] {
        let reply = agentd.send("POST", "/fetch", &[kind, ("authorization", authorization)], &asked).await;
        refused(&reply, 401, "unauthorized");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
    for path in ["/fetch", "/quote"] {
        refused(&agentd.send("POST", path, &[kind], &asked).await, 401, "unauthorized");
    }
    for path in ["/budget", "/receipts", "/balance", "/quote?url=x", "/nowhere", "/"] {
        refused(&agentd.send("GET", path, &[], "").await, 401, "unauthorized");
    }
    let twice = [("authorization", right.as_str()), ("authorization", right.as_str())];
    refused(&agentd.send("GET", "/budget", &twice, "").await, 401, "unauthorized");
    assert_eq!(world.captured(), 0);
    let health = agentd.send("GET", "/health", &[], "").await;
    assert_eq!((health.status, health.json()), (200, json!({ "status": "ok" })));
    assert_eq!(agentd.fetch(&world.url(PAGE)).await.status, 200);
    assert_eq!(world.captured(), 1);
}

#[tokio::test]
async fn browsers_are_refused_whatever_name_they_reach_this_machine_by() {
    let world = World::new("1");
    let agentd = world.agentd(&[]);
    let authorization = format!("Bearer {}", agentd.token);
    let right = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let asked = json!({ "url": world.url(PAGE) }).to_string();
    let port = agentd.address.port();
    let send = async |more: &[(&str, &str)]| {
        let headers: Vec<_> = right.iter().chain(more).copied().collect();
        agentd.send("POST", "/fetch", &headers, &asked).await
    };
    let address = agentd.address.to_string();
    for host in
        ["evil.example", &format!("evil.example:{port}"), "127.0.0.1", "127.0.0.1:1", &format!("{address}.")]
    {
        refused(&send(&[("host", host)]).await, 403, "host-refused");
    }
    refused(&send(&[("host", &address), ("host", &address)]).await, 403, "host-refused");
    for origin in ["https://evil.example", "null", &format!("http://{address}")] {
        refused(&send(&[("origin", origin)]).await, 403, "origin-refused");
        let health = agentd.send("GET", "/health", &[("origin", origin)], "").await;
        refused(&health, 403, "origin-refused");
        assert_eq!(health.header("access-control-allow-origin"), None);
    }
    let absolute = format!("http://evil.example:{port}/budget");
    refused(&agentd.send("GET", &absolute, &[right[0]], "").await, 403, "host-refused");
    assert_eq!(world.captured(), 0);
    assert_eq!(send(&[]).await.status, 200);
    assert_eq!(world.captured(), 1);
}

#[tokio::test]
async fn requests_that_are_not_understood_are_refused_before_anything_is_sent() {
    let world = World::new("1");
    let agentd = world.agentd(&[]);
    let url = world.url(PAGE);
    for asked in [
        json!({ "url": url, "maxPrice": "1 XTS" }),
        json!({ "url": url, "max_price": "cheap" }),
        json!({ "url": url, "method": "A B" }),
        json!({ "url": url, "headers": { "host": "x" } }),
        json!({ "url": url, "headers": { "payment-signature": "x" } }),
        json!({ "url": url, "headers": { "a b": "x" } }),
        json!({ "url": url, "body": "x", "body_base64": "eA==" }),
        json!({ "url": url, "body_base64": "%" }),
        json!({ "url": url, "resume": "x" }),
        json!({ "url": "file:///etc/passwd" }),
        json!({}),
        json!([]),
    ] {
        refused(&agentd.post("/fetch", &asked).await, 400, "bad-request");
    }
    let authorization = format!("Bearer {}", agentd.token);
    let asked = json!({ "url": url }).to_string();
    let plain = [("authorization", authorization.as_str()), ("content-type", "text/plain")];
    refused(&agentd.send("POST", "/fetch", &plain, &asked).await, 415, "not-json");
    refused(&agentd.get("/fetch").await, 405, "no-such-method");
    refused(&agentd.get("/nowhere").await, 404, "no-such-path");
    assert_eq!(world.captured(), 0);
}

#[tokio::test]
async fn headers_and_bodies_reach_the_resource_and_what_it_answers_cannot_pass_for_ours() {
    let world = World::new("1");
    let agentd = world.agentd(&[]);
    let echo = async |headers: HeaderMap, body: String| {
        let seen = |name: &str| {
            headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>().join("+")
        };
        assert!(headers.get("authorization").is_none(), "the token is for this service only");
        let told = format!("{} {} {body}", seen("x-one"), seen("x-two"));
        let mine = [("farthing-payment-cost", "0 XTS"), ("farthing-error", "refused"), ("set-cookie", "a=1")];
        (StatusCode::ACCEPTED, mine, told)
    };
    let away = async || (StatusCode::FOUND, [("location", "https://evil.example/")]);
    let quota = async || {
        let error =
            json!({"error": {"code": "quota", "message": "no more", "doc_url": "https://a.example/q"}});
        (StatusCode::PAYMENT_REQUIRED, error.to_string())
    };
    let router =
        Router::new().route("/echo", post(echo)).route("/away", get(away)).route("/quota", get(quota));
    let origin = serve(router).await;
    let asked = json!({
        "url": format!("{origin}/echo"), "method": "POST",
        "headers": { "x-one": "1", "x-two": ["2", "3"] }, "body": "hello",
    });
    let echoed = agentd.post("/fetch", &asked).await;
    assert_eq!((echoed.status, echoed.text()), (202, "1 2+3 hello".into()));
    for name in ["farthing-payment-cost", "farthing-error", "set-cookie"] {
        assert_eq!(echoed.header(name), None, "{name}");
    }
    assert_eq!(echoed.header("farthing-set-cookie"), Some("a=1"));
    let asked = json!({ "url": format!("{origin}/echo"), "method": "POST", "body_base64": "aGk=" });
    assert_eq!(agentd.post("/fetch", &asked).await.text(), "  hi");

    // No library follows it: with it would go the token.
    let away = agentd.fetch(&format!("{origin}/away")).await;
    assert_eq!((away.status, away.header("location")), (302, None));
    assert_eq!(away.header("farthing-location"), Some("https://evil.example/"));

    let quota = agentd.fetch(&format!("{origin}/quota")).await;
    refused(&quota, 402, "not-payable");
    let said = json!({"code": "quota", "message": "no more", "doc_url": "https://a.example/q"});
    assert_eq!(quota.json()["said"], said);
    drop(world.seller);
    let gone = agentd.fetch("http://127.0.0.1:1/").await;
    refused(&gone, 502, "no-answer");
    assert_eq!(gone.json()["retry"], "new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_passed_on_as_it_comes_and_a_running_fetch_outlives_the_wish_to_stop() {
    let world = World::new("1");
    let (pieces, taken) = mpsc::channel::<&'static str>(4);
    let taken = Arc::new(tokio::sync::Mutex::new(Some(taken)));
    let asked = Arc::new(Notify::new());
    let told = asked.clone();
    let slow = async move || {
        let taken = taken.lock().await.take().unwrap();
        told.notify_one();
        let pieces = stream::unfold(taken, async |mut taken| {
            let piece = taken.recv().await?;
            Some((Ok::<_, std::convert::Infallible>(piece), taken))
        });
        Body::from_stream(pieces)
    };
    let origin = serve(Router::new().route("/slow", get(slow))).await;
    let agentd = world.agentd(&[]);
    let address = agentd.address;
    let authorization = format!("Bearer {}", agentd.token);
    let body = json!({ "url": format!("{origin}/slow") }).to_string();
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let bytes = request(address, "POST", "/fetch", &headers, body.as_bytes());
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&bytes).unwrap();
    asked.notified().await;
    let mut answer = String::new();
    for piece in ["first", "second"] {
        pieces.send(piece).await.unwrap();
        // Nothing more is sent before this has come.
        while !answer.contains(piece) {
            let mut buffer = [0; 1024];
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "{answer}");
            answer.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
    }
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    agentd.ask_to_stop();
    // It no longer listens, and still answers.
    while TcpStream::connect(address).is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    pieces.send("third").await.unwrap();
    drop(pieces);
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("third") && answer.ends_with("0\r\n\r\n"), "{answer}");
    drop(stream);
    assert_eq!(agentd.ends_with(), 0);
}

#[tokio::test]
async fn a_unix_socket_is_private_and_replaced_only_when_nobody_answers() {
    let world = World::new("1");
    let path = world.home.path().join("agentd.sock");
    let text = path.to_str().unwrap();
    // Left behind by somebody who is gone.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let agentd = world.agentd(&["--socket", text]);
    assert_eq!(agentd.ready["socket"], text);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let ask = |authorization: &str| {
        let mut stream = UnixStream::connect(&path).unwrap();
        let request =
            format!("GET /budget HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("").starts_with("HTTP/1.1 401 "));
    let right = format!("Authorization: bearer {}\r\n", agentd.token);
    assert!(ask(&right).starts_with("HTTP/1.1 200 "));
    assert!(ask(&format!("{right}Origin: null\r\n")).starts_with("HTTP/1.1 403 "));

    let (home, key) = (world.home.path().to_str().unwrap(), world.key());
    let start = |socket: &str| {
        let arguments = ["agentd", "--port", "0", "--json", "--home", home, "--socket", socket];
        farthing_with(&arguments, "", &[("FARTHING_KEY_AGENT", &key)]).ends_with(2).err
    };
    assert!(start(text).contains("somebody listens"));
    let file = world.home.path().join("policy.toml");
    assert!(start(file.to_str().unwrap()).contains("another file") && file.exists());
    agentd.ask_to_stop();
    assert_eq!(agentd.ends_with(), 0);
    assert!(!path.exists());
}

#[tokio::test]
async fn it_starts_from_an_encrypted_wallet_without_a_terminal_or_says_what_is_missing() {
    let world = World::new("1");
    let home = world.home.path();
    let wallet = home.join("wallet.json");
    let key = world.seller.ready["agent_key"].as_str().unwrap();
    let passphrase = [("FARTHING_PASSPHRASE", "correct horse")];
    let import = ["wallet", "import", "agent", "--from", key, "--wallet", wallet.to_str().unwrap()];
    farthing_with(&import, "", &passphrase).ends_with(0);
    let start = ["agentd", "--port", "0", "--json", "--home", home.to_str().unwrap()];
    assert!(farthing(&start).ends_with(2).err.contains("FARTHING_PASSPHRASE"));
    let wrong = farthing_with(&start, "", &[("FARTHING_PASSPHRASE", "battery staple")]);
    assert!(wrong.ends_with(1).out.is_empty());
    let agentd = Agentd::start(home, &[], &passphrase);
    assert_eq!(agentd.fetch(&world.url(PAGE)).await.status, 200);
    let port = agentd.address.port().to_string();
    let taken = ["agentd", "--port", &port, "--home", home.to_str().unwrap()];
    assert!(farthing_with(&taken, "", &passphrase).ends_with(2).err.contains(&port));
    // Who cannot listen does not replace the token of who does.
    assert_eq!(agentd.get("/budget").await.status, 200);
    fs::remove_file(home.join("policy.toml")).unwrap();
    assert!(farthing_with(&start, "", &passphrase).ends_with(2).err.contains("policy.toml"));
}

/// Runs one of the examples as its first line says, with `program` of this machine.
fn example(program: &str, file: &str, world: &World, agentd: &Agentd, path: &str) -> (bool, String) {
    let script: PathBuf = workspace().join("examples").join(file);
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.to_lowercase().ends_with("_proxy")) {
        command.env_remove(name);
    }
    command.arg(script).arg(world.url(path)).stdin(Stdio::null());
    command
        .env("FARTHING_HOME", world.home.path())
        .env("FARTHING_AGENTD", format!("http://{}", agentd.address));
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn ten_lines_of_python_and_of_node_fetch_a_paid_page_and_say_what_it_cost() {
    let world = World::new("0.002");
    let agentd = world.agentd(&[]);
    for (n, (program, file)) in [("python3", "agentd.py"), ("node", "agentd.mjs")].into_iter().enumerate() {
        let code = fs::read_to_string(workspace().join("examples").join(file)).unwrap();
        let is_code =
            |line: &&str| !line.is_empty() && !line.starts_with("//") && !line.starts_with("\"\"\"");
        assert!(code.lines().filter(is_code).count() <= 10, "{file} is too long");
        let (done, text) = example(program, file, &world, &agentd, PAGE);
        assert!(done && text.contains("# Receipts"), "{text}");
        assert!(text.ends_with("It cost 0.001 XTS\n"), "{text}");
        assert_eq!(world.captured(), n as u64 + 1);
    }
    // The budget they share is spent.
    for (program, file) in [("python3", "agentd.py"), ("node", "agentd.mjs")] {
        let (_, text) = example(program, file, &world, &agentd, PAGE);
        assert!(
            !text.contains("# Receipts") && text.contains("403") || text.contains("over_budget"),
            "{text}"
        );
    }
    assert_eq!(world.captured(), 2);
}
