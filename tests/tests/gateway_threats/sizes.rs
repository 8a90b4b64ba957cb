//! What is too large, too deep, or read differently by two parsers.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farthing_testkit::{exchange, request, web};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::front::*;

/// Names and values.
type Headers = &'static [(&'static str, &'static str)];

#[tokio::test]
async fn t40_what_is_too_large_too_deep_or_junk_is_refused_quickly_and_never_forwarded() {
    let upstream = Upstream::start().await;
    let front = Front::of(&upstream.origin(), ROUTES).await;
    web::refuses_junk_quickly(front.address, "/api/report").await;
    assert_eq!(upstream.hits.all(), 0);
    front.unpaid().await;
    front.sells(&upstream).await;
}

#[tokio::test]
async fn t40_a_body_above_the_limit_is_neither_bound_nor_forwarded_and_none_is_unpacked() {
    let upstream = Upstream::start().await;
    let front = Front::of(&upstream.origin(), ROUTES).await;
    let body = vec![b'x'; 1024 * 1024 + 1];
    let chunk = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    let coded: &[(&str, &str)] = &[("Transfer-Encoding", "chunked")];
    for target in ["/upload", "/free/upload"] {
        for (headers, body) in [(&[][..], &body), (coded, &chunk)] {
            let bytes = request(front.address, "POST", target, headers, body);
            let mut answered = 0;
            for _ in 0..50 {
                let Some(reply) = exchange(front.address, &bytes).await else { continue };
                assert_eq!((reply.status, reply.problem().0.as_str()), (413, "body-too-large"), "{target}");
                answered += 1;
                if answered == 3 {
                    break;
                }
            }
            assert!(answered > 0, "{target}: no answer of fifty arrived");
        }
    }
    assert!(upstream.seen().is_empty(), "no whole request arrived");
    front.unpaid().await;
    // What is packed is forwarded packed: 16 KiB that would be 16 MiB.
    let bomb = packed_zeros();
    let headers = [("Content-Encoding", "gzip")];
    let unpaid = front.send("POST", "/upload", &headers, &bomb).await;
    assert_eq!(unpaid.status, 402);
    let payment = front.sign(&unpaid);
    let headers = [headers[0], ("PAYMENT-SIGNATURE", payment.as_str())];
    assert_eq!(front.send("POST", "/upload", &headers, &bomb).await.status, 200);
    assert_eq!(upstream.seen().pop().unwrap().body, bomb.len());
    // The positive twin: the largest body that is bound.
    let largest = &body[1..];
    let payment = front.pay("POST", "/upload", largest).await;
    assert_eq!(front.send_paid("POST", "/upload", &payment, largest).await.status, 200);
    assert_eq!(upstream.seen().pop().unwrap().body, largest.len());
    assert_eq!(front.captures().await, 2);
}

/// A gzip member of 16 MiB of zeros, each block of which is as small as deflate can make it. Nobody here unpacks it,
/// so what matters is that it says it is gzip.
fn packed_zeros() -> Vec<u8> {
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    packed.extend(std::iter::repeat_n(0, 16 * 1024));
    packed
}

#[tokio::test]
async fn t40_a_packed_answer_is_passed_on_packed() {
    let bomb = packed_zeros();
    let sent = bomb.clone();
    let upstream = Upstream::answering(move |_| {
        Response::builder().header("content-encoding", "gzip").body(Body::from(sent.clone())).unwrap()
    })
    .await;
    let front = Front::of(&upstream.origin(), ROUTES).await;
    let payment = front.pay("GET", "/api/report", b"").await;
    let paid = front.send_paid("GET", "/api/report", &payment, b"").await;
    assert_eq!((paid.status, paid.header("content-encoding"), paid.body == bomb), (200, Some("gzip"), true));
}

/// Requests whose end two parsers see in different places, each with another one hidden in it.
fn smuggled(inner: &str) -> Vec<String> {
    vec![
        // A body's length said twice, or in ways that parsers disagree about.
        "Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        "Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello".into(),
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!".into(),
        "Content-Length: +5\r\n\r\nhello".into(),
        "Content-Length: 5, 6\r\n\r\nhello".into(),
        "Content-Length: 0x5\r\n\r\nhello".into(),
        "Content-Length: -1\r\n\r\nhello".into(),
        "Content-Length: 99999999999999999999\r\n\r\nhello".into(),
        "Transfer-Encoding: identity, chunked, identity\r\n\r\n0\r\n\r\n".into(),
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n".into(),
        "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n".into(),
        "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n".into(),
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n".into(),
        // CL.TE, TE.CL and TE.TE.
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}", inner.len() + 5),
        format!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{inner}"),
        format!(
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n",
            inner.len()
        ),
        format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{inner}"),
        format!("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("Transfer-Encoding\r\n: chunked\r\n\r\n0\r\n\r\n{inner}"),
        // Folded lines, and bytes that end a line for some.
        "X-A: a\r\n b: c\r\nContent-Length: 0\r\n\r\n".into(),
        "X-A: a\r\n\tTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n".into(),
        "X-A: a\0b\r\nContent-Length: 0\r\n\r\n".into(),
        "X-A: a\rContent-Length: 0\r\n\r\n".into(),
        "X\0A: a\r\nContent-Length: 0\r\n\r\n".into(),
        " X-A: a\r\nContent-Length: 0\r\n\r\n".into(),
        "PAYMENT-SIGNATURE : e30=\r\nContent-Length: 0\r\n\r\n".into(),
        // Two hosts.
        "Host: y\r\nContent-Length: 0\r\n\r\n".into(),
    ]
}

#[tokio::test]
async fn t41_no_request_that_two_parsers_read_differently_reaches_the_upstream() {
    let upstream = Upstream::start().await;
    let front = Front::of(&upstream.origin(), ROUTES).await;
    let inner = "GET /api/report HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for head in smuggled(inner) {
        let bytes = format!("POST /upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}");
        let Some(reply) = exchange(front.address, bytes.as_bytes()).await else { continue };
        assert!(reply.status >= 400, "{head:?} is {}", reply.status);
        assert!(!reply.text().contains(CONTENT), "{head:?}");
    }
    assert_eq!(upstream.hits.all(), 0, "{:?}", upstream.seen());
    front.unpaid().await;
    // A paid request does not pay for one that is hidden behind it.
    let payment = front.pay("POST", "/upload", b"").await;
    for head in smuggled(inner) {
        let head = head.replacen("PAYMENT-SIGNATURE : e30=", "X-B: c", 1);
        let hidden = format!("POST /upload HTTP/1.1\r\nHost: x\r\nPAYMENT-SIGNATURE: {payment}\r\n{head}");
        // The connection may stay open behind a good answer.
        let bytes = format!("{hidden}GET / HTTP/1.0\r\n\r\n");
        let asked = exchange(front.address, bytes.as_bytes());
        let _ = tokio::time::timeout(Duration::from_secs(2), asked).await;
        assert_eq!(upstream.hits.of("/api/report"), 0, "{head:?}");
        assert!(upstream.hits.all() <= 1, "{head:?}: {:?}", upstream.seen());
        assert_eq!(front.captures().await, upstream.hits.all(), "{head:?}");
    }
    front.sells(&upstream).await;
}

#[tokio::test]
async fn t41_a_forwarded_request_has_one_length_and_no_line_that_its_client_made() {
    // An upstream that keeps every byte.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move { sender.send(take(socket).await) });
        }
    });
    let front = Front::of(&origin, ROUTES).await;
    let chunks = b"5\r\nhello\r\n0\r\nX-Late: a\r\nContent-Length: 3\r\nPAYMENT-SIGNATURE: late\r\n\r\n";
    let cases: [(Headers, &[u8]); 3] = [
        (&[("X-A", "a%0d%0aX-B: b"), ("Connection", "X-Private"), ("X-Private", "1")], b"hello"),
        (&[("Transfer-Encoding", "chunked"), ("Trailer", "X-Late"), ("TE", "trailers")], chunks),
        (&[("Keep-Alive", "timeout=5"), ("Proxy-Authorization", "Basic x"), ("Upgrade", "h2c")], b"hello"),
    ];
    for (headers, body) in cases {
        let reply = front.send("POST", "/free/upload", headers, body).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "done"));
        let sent = received.recv().await.unwrap();
        let (head, _) = sent.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        let count = |name: &str| head.lines().filter(|line| line.starts_with(&format!("{name}:"))).count();
        assert_eq!(count("content-length") + count("transfer-encoding"), 1, "{head}");
        assert_eq!(count("host"), 1, "{head}");
        assert_eq!(head.lines().next(), Some("post /free/upload http/1.1"));
        for name in ["x-private", "x-b", "keep-alive", "proxy-authorization", "upgrade", "connection"] {
            assert_eq!(count(name), 0, "{head}");
        }
        // Not behind the body either.
        let sent = sent.to_ascii_lowercase();
        assert!(!sent.contains("payment-signature") && sent.matches("content-length").count() <= 1, "{sent}");
    }
}

/// Reads one request and answers it.
async fn take(mut socket: TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if text.contains("hello") && (!text.contains("chunked") || text.contains("0\r\n")) {
            break;
        }
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            break;
        }
    }
    let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\ndone";
    let _ = socket.write_all(answer.as_bytes()).await;
    let _ = socket.shutdown().await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn t41_no_text_in_an_answer_ends_a_header() {
    let upstream = Upstream::start().await;
    let front = Front::of(&upstream.origin(), ROUTES).await;
    let unpaid = front.send("GET", "/api/report?a=%0d%0aSet-Cookie:%20a=1%00", &[], b"").await;
    assert_eq!(unpaid.terms().resource.description.as_deref(), Some("a\u{2028}Set-Cookie: a=1"));
    assert_eq!(unpaid.header("set-cookie"), None);
    let junk = STANDARD.encode("{\"x402Version\":2,\"a\\r\\nSet-Cookie: a=1\":\"\\r\\nSet-Cookie: a=1\"}");
    let refused = front.send_paid("GET", "/api/report", &junk, b"").await;
    assert_eq!((refused.status, refused.header("set-cookie")), (400, None));
    assert_eq!(upstream.hits.all(), 0);
    // What the gateway prints of a request is one line, whatever is in its path.
    front.send("GET", "/free/%1b%5b2J", &[], b"").await;
    for line in front.lines.lock().unwrap().iter() {
        assert!(line.chars().all(|c| !c.is_control()), "{line:?}");
    }
    front.sells(&upstream).await;
}
