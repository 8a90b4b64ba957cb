//! The client against facilitators that lie, stumble, dawdle or are not there (T33, T34, T35, T45).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod scripted;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use farthing_facilitator::http::HttpOptions;
use farthing_facilitator::{ConfigError, RemoteFacilitator};
use farthing_protocol::rail::{Facilitator, FacilitatorError, Outcome, UnknownOutcome};
use farthing_protocol::reason;
use scripted::{
    NETWORK, OTHER_NETWORK, Script, TOKEN, remote, request, request_json, request_of, serve_on, told,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How long the client under test waits for an answer; it may take this long and little more.
const PATIENCE: Duration = Duration::from_millis(500);
const BOUND: Duration = Duration::from_millis(1500);

/// What a hostile facilitator does after it has read the request.
#[derive(Clone, Debug)]
enum Trick {
    /// Sends these bytes and closes.
    Say(Vec<u8>),
    /// Sends the head, then this chunk again and again.
    Endless(String, Vec<u8>),
    /// Sends one byte now and then.
    Drip(Vec<u8>),
    /// Sends nothing and stays.
    Silence,
    /// Closes the connection before the request is read.
    HangUp,
}

/// Plays `trick` to everybody who connects, and counts them.
async fn play(trick: Trick) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let visitors = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&visitors);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, SeqCst);
            tokio::spawn(perform(stream, trick.clone()));
        }
    });
    (address, visitors)
}

async fn perform(mut stream: TcpStream, trick: Trick) -> std::io::Result<()> {
    if matches!(trick, Trick::HangUp) {
        return Ok(());
    }
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !(seen.ends_with(b"}") || seen.ends_with(b"\r\n\r\n") && seen.starts_with(b"GET")) {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => seen.extend_from_slice(&buffer[..read]),
        }
    }
    match trick {
        Trick::HangUp => Ok(()),
        Trick::Say(bytes) => stream.write_all(&bytes).await,
        Trick::Endless(head, chunk) => {
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(&chunk).await?;
            }
        }
        Trick::Drip(bytes) => {
            for byte in bytes {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
            Ok(())
        }
        Trick::Silence => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(())
        }
    }
}

fn answer(status: &str, media_type: &str, body: impl AsRef<[u8]>) -> Trick {
    let body = body.as_ref();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    Trick::Say([head.as_bytes(), body].concat())
}

fn json(body: impl AsRef<[u8]>) -> Trick {
    answer("200 OK", "application/json", body)
}

fn impatient(address: SocketAddr) -> RemoteFacilitator {
    RemoteFacilitator::builder(format!("http://{address}")).timeout(PATIENCE).token(TOKEN).build().unwrap()
}

const GOOD: &str = r#"{"success":true,"transaction":"cd","network":"farthing:00112233445566778899aabbccddeeff","amount":"1000"}"#;
const VALID: &str = r#"{"isValid":true,"payer":"ab"}"#;

fn spoiled(from: &str, to: &str) -> Trick {
    assert!(GOOD.contains(from), "{from}");
    json(GOOD.replacen(from, to, 1))
}

/// What no answer of any kind may be: named, and never believed.
fn broken(good: &str) -> Vec<(&'static str, Trick)> {
    let good = good.to_owned();
    let head = |more: &str| format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{more}\r\n");
    let whole =
        [head(&format!("content-length: {}\r\n", good.len())).into_bytes(), good.clone().into()].concat();
    vec![
        ("an empty body", json("")),
        ("null", json("null")),
        ("true", json("true")),
        ("a string", json("\"true\"")),
        ("an array", json(format!("[{good}]"))),
        ("an empty object", json("{}")),
        ("two documents", json(format!("{good}{good}"))),
        ("trailing text", json(format!("{good};"))),
        ("half of it", json(&good[..good.len() / 2])),
        ("a byte order mark", json(format!("\u{feff}{good}"))),
        ("bytes that are not text", json([good.as_bytes(), b"\xff"].concat())),
        ("a lone surrogate", json(good.replacen('{', r#"{"x":"\ud800","#, 1))),
        ("not a number", json(good.replacen('{', r#"{"x":NaN,"#, 1))),
        (
            "depth",
            json(good.replacen('{', &format!(r#"{{"x":{}{},"#, "[".repeat(9000), "]".repeat(9000)), 1)),
        ),
        ("breadth", json(good.replacen('{', &format!(r#"{{"x":[{}0],"#, "0,".repeat(9000)), 1))),
        ("HTML", answer("200 OK", "text/html", "<!doctype html><title>ok</title>")),
        ("HTML said to be JSON", json("<!doctype html><title>true</title>")),
        ("JSON said to be HTML", answer("200 OK", "text/html", &good)),
        ("JSON said to be a problem", answer("200 OK", "application/problem+json", &good)),
        (
            "no type",
            Trick::Say(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{good}", good.len()).into()),
        ),
        (
            "two types",
            Trick::Say(
                format!(
                    "{}{good}",
                    head(&format!("content-type: text/html\r\ncontent-length: {}\r\n", good.len()))
                )
                .into(),
            ),
        ),
        ("202", answer("202 Accepted", "application/json", &good)),
        ("204", Trick::Say(b"HTTP/1.1 204 No Content\r\n\r\n".into())),
        ("301 with a body", answer("301 Moved\r\nlocation: /elsewhere", "application/json", &good)),
        ("404", answer("404 Not Found", "application/json", &good)),
        ("500", answer("500 Oops", "application/json", &good)),
        ("500 in HTML", answer("500 Oops", "text/html", "<h1>Oops</h1>")),
        ("502 of a proxy", answer("502 Bad Gateway", "text/html", "<h1>nginx</h1>")),
        (
            "503 and a problem",
            answer("503 Busy", "application/problem+json", r#"{"type":"about:blank","status":503}"#),
        ),
        (
            "gzip",
            answer("200 OK\r\ncontent-encoding: gzip", "application/json", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]),
        ),
        ("10 GB announced", Trick::Endless(head("content-length: 10000000000\r\n"), vec![b' '; 65536])),
        (
            "10 GB in chunks",
            Trick::Endless(
                head("transfer-encoding: chunked\r\n"),
                [b"10000\r\n", vec![b' '; 65536].as_slice(), b"\r\n"].concat(),
            ),
        ),
        ("a body until the end of time", Trick::Endless(head(""), vec![b' '; 65536])),
        ("headers without end", Trick::Endless("HTTP/1.1 200 OK\r\n".into(), b"x: y\r\n".repeat(1000))),
        ("a head that drips", Trick::Drip(whole.clone())),
        (
            "a body that drips",
            Trick::Drip(
                [head("transfer-encoding: chunked\r\n").into_bytes(), b"1\r\n{\r\n".repeat(100)].concat(),
            ),
        ),
        ("silence", Trick::Silence),
        ("a hang-up before", Trick::HangUp),
        ("a hang-up after", Trick::Say(Vec::new())),
        ("a hang-up within", Trick::Say(whole[..whole.len() - 1].into())),
        (
            "a chunk cut off",
            Trick::Say(
                format!("{}{:x}\r\n{good}", head("transfer-encoding: chunked\r\n"), good.len()).into(),
            ),
        ),
        ("another protocol", Trick::Say(b"SSH-2.0-OpenSSH_9.9\r\n".into())),
        (
            "two lengths",
            Trick::Say(
                format!(
                    "{}{good}",
                    head(&format!("content-length: {}\r\ncontent-length: 5\r\n", good.len()))
                )
                .into(),
            ),
        ),
    ]
}

#[tokio::test]
async fn t34_a_malformed_answer_to_settle_leaves_the_outcome_unknown_in_bounded_time() {
    let mut table = broken(GOOD);
    table.extend([
        ("success as a string", spoiled("true", r#""true""#)),
        ("success as a number", spoiled("true", "1")),
        ("success as null", spoiled("true", "null")),
        ("success as a list", spoiled("true", "[true]")),
        ("success twice", spoiled(r#""success":true"#, r#""success":false,"success":true"#)),
        ("success twice, disguised", spoiled(r#""success":true"#, r#""success":true,"\u0073uccess":true"#)),
        ("no success", spoiled(r#""success":true,"#, "")),
        ("success in capitals", spoiled("success", "Success")),
        ("no transaction", spoiled(r#""transaction":"cd","#, "")),
        ("transaction null", spoiled(r#""cd""#, "null")),
        ("transaction a number", spoiled(r#""cd""#, "12")),
        ("no network", spoiled(r#""network":"farthing:00112233445566778899aabbccddeeff","#, "")),
        ("amount a number", spoiled(r#""1000""#, "1000")),
        ("amount with a leading zero", spoiled(r#""1000""#, r#""01000""#)),
        ("amount beyond 128 bits", spoiled(r#""1000""#, &format!("\"1{}\"", "0".repeat(39)))),
        ("amount below zero", spoiled(r#""1000""#, r#""-1""#)),
        ("success and an error", spoiled("{", r#"{"errorReason":"insufficient_funds","#)),
        (
            "failure without a reason",
            json(format!(r#"{{"success":false,"transaction":"","network":"{NETWORK}"}}"#)),
        ),
        (
            "a reason that is no word",
            json(r#"{"success":false,"transaction":"","network":"","errorReason":"a\nb"}"#),
        ),
        (
            "a reason that is a number",
            json(r#"{"success":false,"transaction":"","network":"","errorReason":7}"#),
        ),
        (
            "a reason without end",
            json(format!(
                r#"{{"success":false,"transaction":"","network":"","errorReason":"{}"}}"#,
                "x".repeat(9000)
            )),
        ),
        (
            "a refusal that only got half way",
            answer(
                "302 Found",
                "application/json",
                r#"{"success":false,"transaction":"","network":"","errorReason":"invalid_scheme"}"#,
            ),
        ),
        ("a verdict instead", json(VALID)),
    ]);
    assert!(table.len() >= 30);
    for (name, trick) in table {
        let (address, visitors) = play(trick).await;
        let started = Instant::now();
        let outcome = impatient(address).settle(&request()).await;
        assert!(matches!(outcome, Outcome::Unknown(_)), "{name}: {outcome:?}");
        assert!(started.elapsed() < BOUND, "{name}: {:?}", started.elapsed());
        assert_eq!(visitors.load(SeqCst), 1, "{name}: a settlement is sent once");
    }

    let (address, _) = play(json(GOOD)).await;
    assert_eq!(told(&impatient(address).settle(&request()).await).0, "settled");
    let (address, _) = play(answer("200 OK", "Application/JSON; charset=utf-8", spoilt_with_nulls())).await;
    assert_eq!(told(&impatient(address).settle(&request()).await).0, "settled");
}

/// A success as peers write it that name what they do not have.
fn spoilt_with_nulls() -> String {
    GOOD.replacen(
        '{',
        r#"{"errorReason":"","errorMessage":null,"payer":null,"extra":null,"extensions":null,"new":[1],"#,
        1,
    )
}

#[tokio::test]
async fn t34_a_malformed_answer_to_verify_is_never_a_valid_payment() {
    let mut table = broken(VALID);
    let spoiled = |from: &str, to: &str| json(VALID.replacen(from, to, 1));
    table.extend([
        ("valid as a string", spoiled("true", r#""true""#)),
        ("valid as a number", spoiled("true", "1")),
        ("valid as null", spoiled("true", "null")),
        ("valid twice", spoiled("{", r#"{"isValid":false,"#)),
        ("no verdict", spoiled("isValid", "valid")),
        ("valid, and why not", spoiled("{", r#"{"invalidReason":"insufficient_funds","#)),
        ("a payer that is a number", spoiled(r#""ab""#, "1")),
        ("a settlement instead", json(GOOD)),
    ]);
    for (name, trick) in table {
        let (address, _) = play(trick).await;
        let started = Instant::now();
        let verdict = impatient(address).verify(&request()).await;
        assert!(verdict.is_err(), "{name}: {verdict:?}");
        assert!(started.elapsed() < BOUND, "{name}: {:?}", started.elapsed());
    }
    let (address, _) = play(json(VALID)).await;
    assert!(impatient(address).verify(&request()).await.unwrap().is_valid);
}

#[tokio::test]
async fn t34_malformed_terms_and_statements_are_errors() {
    let id = "ab".repeat(32).parse().unwrap();
    let supported = r#"{"kinds":[{"x402Version":2,"scheme":"exact","network":"eip155:1"}]}"#;
    for (name, trick) in broken(supported) {
        let (address, _) = play(trick).await;
        assert!(impatient(address).supported().await.is_err(), "{name}");
        let (address, _) = play(match name {
            // Any object is a statement to us, and 404 says that there is none.
            "an empty object" | "404" => json("[]"),
            _ => broken(supported).into_iter().find(|(other, _)| *other == name).unwrap().1,
        })
        .await;
        assert!(impatient(address).payment(&id).await.is_err(), "{name}");
    }
    let (address, _) = play(json(format!(r#"{{"payment":"{}","state":"absent"}}"#, "cd".repeat(32)))).await;
    assert!(matches!(impatient(address).payment(&id).await, Err(FacilitatorError::Malformed(_))));

    let (address, _) = play(json(supported)).await;
    assert_eq!(impatient(address).supported().await.unwrap().kinds[0].scheme, "exact");
    let (address, _) = play(json(format!(r#"{{"payment":"{id}","state":"absent"}}"#))).await;
    assert_eq!(impatient(address).payment(&id).await.unwrap().unwrap()["state"], "absent");
    let (address, _) = play(answer("404 Not Found", "text/plain", "no")).await;
    assert_eq!(impatient(address).payment(&id).await, Ok(None));
}

#[tokio::test]
async fn t33_success_without_effect_is_not_believed() {
    let wrong_network = GOOD.replace(NETWORK, OTHER_NETWORK);
    let prefixed = GOOD.replace(NETWORK, &NETWORK.to_uppercase());
    let empty = GOOD.replace(r#""cd""#, r#""""#);
    let more = GOOD.replace("1000", "1001");
    for (name, lie) in
        [("network", wrong_network), ("case", prefixed), ("transaction", empty), ("amount", more.clone())]
    {
        let (address, _) = play(json(lie)).await;
        let outcome = impatient(address).settle(&request()).await;
        assert!(matches!(outcome, Outcome::Unknown(_)), "{name}: {outcome:?}");
    }
    let elsewhere = format!(
        r#"{{"success":false,"transaction":"","network":"{OTHER_NETWORK}","errorReason":"insufficient_funds"}}"#
    );
    let (address, _) = play(json(elsewhere)).await;
    assert_eq!(told(&impatient(address).settle(&request()).await).0, "unknown");

    for truth in [GOOD.to_owned(), GOOD.replace("1000", "999"), GOOD.replace(r#","amount":"1000""#, "")] {
        let (address, _) = play(json(truth)).await;
        assert_eq!(told(&impatient(address).settle(&request()).await).0, "settled");
    }
    // Later settlements name cumulative amounts, which their rail reads.
    let mut capture = request_json();
    capture["paymentPayload"]["payload"]["type"] = "capture".into();
    let (address, _) = play(json(more)).await;
    assert_eq!(told(&impatient(address).settle(&request_of(&capture)).await).0, "settled");
}

#[tokio::test]
async fn a_clear_refusal_is_one_with_any_status() {
    let refusal = format!(
        r#"{{"success":false,"transaction":"","network":"{NETWORK}","errorReason":"insufficient_funds"}}"#
    );
    let short =
        r#"{"success":false,"transaction":"","network":"","errorReason":"insufficient_funds"}"#.to_owned();
    let invalid = r#"{"isValid":false,"invalidReason":"insufficient_funds"}"#;
    for status in ["200 OK", "400 Bad Request", "402 Payment Required", "500 Oops"] {
        for body in [&refusal, &short] {
            let (address, _) = play(answer(status, "application/json", body)).await;
            let (outcome, told) = told(&impatient(address).settle(&request()).await);
            assert_eq!(
                (outcome, &told["errorReason"]),
                ("not settled", &"insufficient_funds".into()),
                "{status}"
            );
        }
        let (address, _) = play(answer(status, "application/json", invalid)).await;
        let verdict = impatient(address).verify(&request()).await.unwrap();
        assert_eq!(
            (verdict.is_valid, verdict.invalid_reason.as_deref()),
            (false, Some(reason::INSUFFICIENT_FUNDS))
        );
    }
    for reason in [reason::SETTLEMENT_PENDING, reason::UNEXPECTED_SETTLE_ERROR] {
        for status in ["200 OK", "503 Wait"] {
            let (address, _) =
                play(answer(status, "application/json", refusal.replace("insufficient_funds", reason))).await;
            assert_eq!(told(&impatient(address).settle(&request()).await).0, "unknown", "{status} {reason}");
        }
    }
}

#[tokio::test]
async fn a_refusal_without_what_it_has_nothing_to_say_for_is_one() {
    for refusal in [
        r#"{"success":false,"errorReason":"invalid_exact_evm_signature"}"#,
        r#"{"success":false,"errorReason":"invalid_exact_evm_signature","transaction":null,"network":null,"payer":null}"#,
        r#"{"success":false,"errorReason":"invalid_exact_evm_signature","payer":"0x1","amount":"","more":{}}"#,
    ] {
        for status in ["200 OK", "400 Bad Request", "402 Payment Required", "500 Oops"] {
            let (address, _) = play(answer(status, "application/json; charset=utf-8", refusal)).await;
            assert_eq!(told(&impatient(address).settle(&request()).await).0, "not settled", "{refusal}");
        }
    }
    // A success leaves nothing out.
    for success in [r#"{"success":true,"transaction":"cd"}"#, r#"{"success":true,"errorReason":"x"}"#] {
        let (address, _) = play(json(success)).await;
        assert_eq!(told(&impatient(address).settle(&request()).await).0, "unknown", "{success}");
    }
}

#[tokio::test]
async fn a_failure_after_which_a_transaction_may_land_is_no_refusal() {
    let of = |reason: &str, transaction: &str, message: &str| {
        json(format!(
            r#"{{"success":false,"errorReason":"{reason}","errorMessage":"{message}","transaction":"{transaction}","network":"{NETWORK}","payer":"0x1"}}"#
        ))
    };
    for (reason, transaction, message, expected) in [
        // Reverted: the transaction is named.
        ("invalid_exact_evm_transaction_failed", "0xab", "", "not settled"),
        ("invalid_transaction_state", "0xab", "", "not settled"),
        ("invalid_exact_evm_nonce_already_used", "", "", "not settled"),
        // An error on the way, when nobody knows how far it got.
        ("invalid_exact_evm_transaction_failed", "", "", "unknown"),
        ("transaction_failed", "", "", "unknown"),
        ("Timed out while waiting for transaction to be confirmed", "", "", "unknown"),
        ("invalid_exact_evm_transaction_failed: replacement fee too low", "", "", "unknown"),
        (
            "invalid_exact_evm_transaction_failed",
            "0xab",
            "settlement_pending, but failed to persist for retry: full",
            "unknown",
        ),
        ("settlement_pending", "0xab", "timeout", "unknown"),
    ] {
        let (address, _) = play(of(reason, transaction, message)).await;
        let outcome = impatient(address).settle(&request()).await;
        assert_eq!(told(&outcome).0, expected, "{reason} {transaction} {message}");
    }
}

#[tokio::test]
async fn what_other_facilitators_add_and_leave_out_is_understood() {
    let (address, _) = play(json(
        r#"{"isValid":false,"invalidReason":"permit2_allowance_required","invalidMessage":null,"payer":"0x1","extensions":{"a":{}},"extra":null}"#,
    ))
    .await;
    let verdict = impatient(address).verify(&request()).await.unwrap();
    assert_eq!(verdict.invalid_reason.as_deref(), Some("permit2_allowance_required"));
    let (address, _) = play(json(
        r#"{"kinds":[{"x402Version":1,"scheme":"exact","network":"base-sepolia"},{"x402Version":2,"scheme":"upto","network":"eip155:84532","extra":{"facilitatorAddress":"0x1"}},{"x402Version":2,"scheme":"exact","network":"eip155:84532","extra":null}],"more":1}"#,
    ))
    .await;
    let supported = impatient(address).supported().await.unwrap();
    assert_eq!(supported.kinds.len(), 3);
    assert!(supported.extensions.is_empty() && supported.signers.is_empty());
    // An error that is no verdict is none.
    let (address, _) =
        play(answer("400 Bad Request", "application/json", r#"{"error":"Missing payload"}"#)).await;
    assert!(impatient(address).verify(&request()).await.is_err());
}

#[tokio::test]
async fn t35_a_facilitator_that_is_down_leaves_everything_unknown_until_it_is_back() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = port.local_addr().unwrap();
    drop(port);
    let far = remote(address);
    let started = Instant::now();
    let Outcome::Unknown(UnknownOutcome(why)) = far.settle(&request()).await else { panic!("it is down") };
    assert!(why.contains("nothing was sent"), "{why}");
    assert!(matches!(far.verify(&request()).await, Err(FacilitatorError::Unreachable(_))));
    assert!(matches!(far.supported().await, Err(FacilitatorError::Unreachable(_))));
    assert!(started.elapsed() < BOUND);

    let rail = Script::new();
    let server = serve_on(TcpListener::bind(address).await.unwrap(), rail.local(), HttpOptions::default());
    assert_eq!(server, address);
    assert_eq!(told(&far.settle(&request()).await).0, "settled");
    assert!(far.verify(&request()).await.unwrap().is_valid);
    assert_eq!(rail.settles(), 1);
}

#[tokio::test]
async fn t45_no_redirect_is_followed_and_no_token_leaves() {
    let (elsewhere, visitors) = play(json(GOOD)).await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let there = format!("{status}\r\nlocation: http://{elsewhere}/settle");
        let (address, _) = play(answer(&there, "application/json", GOOD)).await;
        assert_eq!(told(&impatient(address).settle(&request()).await).0, "unknown", "{status}");
        assert!(impatient(address).verify(&request()).await.is_err());
        assert!(impatient(address).supported().await.is_err());
    }
    assert_eq!(visitors.load(SeqCst), 0);
    assert_eq!(told(&impatient(elsewhere).settle(&request()).await).0, "settled");
}

#[test]
fn only_an_encrypted_or_local_facilitator_can_be_configured() {
    let of = |url: &str| RemoteFacilitator::builder(url).build();
    for url in [
        "http://facilitator.example",
        "http://10.0.0.1",
        "http://169.254.169.254/",
        "http://localhost.example/",
        "ftp://127.0.0.1",
        "facilitator.example",
        "",
        "https://user:password@facilitator.example",
        "https://facilitator.example/?a=b",
        "https://facilitator.example/#a",
    ] {
        let fault = of(url).unwrap_err();
        assert!(matches!(fault, ConfigError::Setting { setting: "url", .. }), "{url}: {fault}");
        assert!(!fault.to_string().contains("password@"));
    }
    for (url, base) in [
        ("https://facilitator.example", "https://facilitator.example"),
        ("https://x402.example/facilitator/", "https://x402.example/facilitator"),
        ("http://127.0.0.1:4022/", "http://127.0.0.1:4022"),
        ("http://[::1]:4022", "http://[::1]:4022"),
        (" http://LOCALHOST:80/ ", "http://localhost"),
    ] {
        assert_eq!(format!("{:?}", of(url).unwrap()), format!("RemoteFacilitator {{ url: {base:?}, .. }}"));
    }
    let secure = || RemoteFacilitator::builder("https://facilitator.example");
    assert!(secure().token("short").build().is_err());
    assert!(secure().timeout(Duration::ZERO).build().is_err());
    assert!(secure().connect_timeout(Duration::ZERO).build().is_err());
    assert!(secure().token(TOKEN).timeout(BOUND).build().is_ok());
}
