//! Over a real connection, with hyper in between; and what is logged on the way.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post as route_post;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::scripted::*;
use crate::shopping::*;

async fn serve(world: &World, handler_takes: Duration) -> (Router, std::net::SocketAddr) {
    let hits = world.hits.clone();
    let handler = move |body: Bytes| async move {
        let run = hits.hit();
        tokio::time::sleep(handler_takes).await;
        format!("run {run} of {}", body.len())
    };
    let app = Router::new().route("/a", route_post(handler).layer(world.paywall.price("$0.001")));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = app.clone();
    tokio::spawn(async move { axum::serve(listener, serving).await });
    (app, address)
}

/// Sends a POST of `/a` with these lines and this body as they are, and reads the answer.
async fn raw(address: std::net::SocketAddr, lines: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn t09_how_a_body_is_cut_does_not_matter_and_what_it_says_does() {
    let world = World::new();
    let (app, address) = serve(&world, Duration::ZERO).await;
    let signed = post("/a", b"hello").pay(&app).await;
    let payment = format!("PAYMENT-SIGNATURE: {}", signed.header());
    let other = raw(address, &format!("{payment}\r\nContent-Length: 6"), b"hello!").await;
    assert!(other.starts_with("HTTP/1.1 409"), "{other}");
    let chunked = format!("{payment}\r\nTransfer-Encoding: chunked");
    let trailing = raw(address, &chunked, b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n").await;
    assert!(trailing.starts_with("HTTP/1.1 409"), "{trailing}");
    let paid = raw(address, &chunked, b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n").await;
    assert!(paid.starts_with("HTTP/1.1 200") && paid.ends_with("run 1 of 5"), "{paid}");
    let again = raw(address, &format!("{payment}\r\nContent-Length: 5"), b"hello").await;
    assert!(again.starts_with("HTTP/1.1 200") && again.ends_with("run 1 of 5"), "{again}");
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
}

#[tokio::test]
async fn t22_a_connection_that_breaks_while_the_handler_runs_is_charged_and_its_answer_kept() {
    let world = World::new();
    let (app, address) = serve(&world, Duration::from_millis(200)).await;
    let signed = post("/a", b"hello").pay(&app).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nPAYMENT-SIGNATURE: {}\r\n\r\nhello",
        signed.header()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    while world.hits.get() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(stream);
    while world.ledger.captures() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(signed.send(&app).await.text(), "run 1 of 5");
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
}

#[tokio::test]
async fn t41_a_request_that_two_parsers_could_read_differently_is_refused() {
    let world = World::new();
    let (app, address) = serve(&world, Duration::ZERO).await;
    for lines in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: +5",
        "Transfer-Encoding: chunked, identity",
        "X: a\r\n b\r\nContent-Length: 5",
        "X: a\0b\r\nContent-Length: 5",
    ] {
        let got = raw(address, lines, b"hello").await;
        assert!(got.starts_with("HTTP/1.1 4") && !got.starts_with("HTTP/1.1 402"), "{lines}: {got}");
    }
    assert_eq!(world.count(), (0, 0, vec![]));
    assert_eq!(post("/a", b"hello").pay(&app).await.send(&app).await.status, 200);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn t44_no_log_holds_a_payment() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::new();
    let handler = || async { "content" };
    let app = Router::new().route("/a", route_post(handler).layer(world.paywall.price("$0.001")));
    let signed = post("/a", b"x").pay(&app).await.receipt();
    world.ledger.fail("authorize", Fault::Lost);
    world.ledger.fail("capture", Fault::Lost);
    for status in [503, 503, 200, 200] {
        assert_eq!(signed.send(&app).await.status, status);
    }
    let forged = signed.clone().change("/payload/signature", "bad").send(&app).await;
    assert_eq!(forged.status, 402);
    let written = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(written.contains(&signed.id().to_string()) && written.contains("paid"), "{written}");
    for secret in [signed.header().as_str(), "signature\"", "good", "nonce"] {
        assert!(!written.contains(secret), "{secret}: {written}");
    }
}
