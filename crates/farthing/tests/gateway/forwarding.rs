//! How requests and answers travel: as they come.

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::raw;
use crate::upstream::{Upstream, text};
use crate::world::{ROUTES, World};

#[tokio::test]
async fn t38_the_upstream_learns_who_asked_from_the_gateway_alone() {
    let world = World::of(Upstream::start(|_| text("ok")).await, ROUTES).await;
    let sent = [
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-Host: evil.example",
        "Forwarded: for=10.0.0.1",
        "X-Private: 1",
        "Keep-Alive: timeout=5",
        "Accept: text/plain",
        "Cookie: a=1; farthing-pass=secret; b=2",
    ];
    let request = format!(
        "GET /free HTTP/1.1\r\nHost: evil.example\r\n{}\r\nConnection: close, X-Private\r\n\r\n",
        sent.join("\r\n")
    );
    assert_eq!(raw::send(world.address(), request.as_bytes()).await.status(), 200);
    let [hit] = &world.hits()[..] else { panic!("{:?}", world.hits()) };
    let upstream = world.upstream.as_ref().unwrap().origin.strip_prefix("http://").unwrap();
    for (name, value) in [
        ("host", Some(upstream)),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-host", Some(world.address())),
        ("x-forwarded-proto", Some("http")),
        ("forwarded", None),
        ("x-private", None),
        ("keep-alive", None),
        ("accept", Some("text/plain")),
        ("cookie", Some("a=1; b=2")),
    ] {
        assert_eq!(hit.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn an_answer_streams_while_it_is_made() {
    let (sender, receiver) = mpsc::unbounded_channel::<&'static str>();
    let receiver = std::sync::Mutex::new(Some(receiver));
    let upstream = Upstream::start(move |_| {
        let mut receiver = receiver.lock().unwrap().take().unwrap();
        let pieces = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
        let pieces = pieces.map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
        Response::builder()
            .header("content-type", "text/event-stream")
            .body(Body::from_stream(pieces))
            .unwrap()
    });
    let world = World::of(upstream.await, ROUTES).await;
    let mut paid = world.client().await.get(&world.url("/paid/a")).send().await.unwrap();
    for piece in ["data: one\n\n", "data: two\n\n"] {
        sender.send(piece).unwrap();
        assert_eq!(paid.chunk().await.unwrap().unwrap(), piece);
    }
    drop(sender);
    assert_eq!(paid.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn trailers_pass_and_say_nothing_of_payments() {
    let upstream = Upstream::start(|_| {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "42".parse().unwrap());
        trailers.insert("payment-response", "theirs".parse().unwrap());
        let frames =
            [Ok::<_, std::io::Error>(Frame::data(Bytes::from("body"))), Ok(Frame::trailers(trailers))];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        Response::builder().header("trailer", "x-sum, payment-response").body(Body::new(body)).unwrap()
    });
    let world = World::of(upstream.await, ROUTES).await;
    let answer = raw::get(world.address(), "/free", &["TE: trailers"]).await;
    assert!(answer.0.ends_with("x-sum: 42\r\n\r\n"), "{answer:?}");
    assert!(!answer.0.contains("theirs"), "{answer:?}");
    assert_eq!(world.hits()[0].header("te"), Some("trailers"));
}

#[tokio::test]
async fn a_body_of_unknown_length_and_its_trailers_reach_the_upstream() {
    let world = World::of(Upstream::start(|_| text("ok")).await, ROUTES).await;
    for method in ["POST", "GET"] {
        let body = "5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n";
        let headers = ["Transfer-Encoding: chunked", "Trailer: x-sum"];
        assert_eq!(raw::request(world.address(), method, "/free", &headers, body).await.status(), 200);
        let hits = world.hits();
        let hit = hits.last().unwrap();
        assert_eq!((hit.method.as_str(), &hit.body[..]), (method, &b"hello"[..]));
        assert_eq!(hit.trailers.as_ref().unwrap()["x-sum"], "42", "{method}");
    }
}

/// An upstream that says it sends ten bytes, and sends five.
async fn broken_off() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
        }
    });
    at
}

#[tokio::test]
async fn an_upstream_that_breaks_off_costs_nothing_and_never_looks_complete() {
    let world = World::before(&broken_off().await, "", ROUTES).await;
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    let request = format!("GET /free HTTP/1.1\r\nHost: {}\r\n\r\n", world.address());
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = raw::read(&mut stream).await;
    assert_eq!((answer.header("content-length"), answer.body()), (Some("10"), "hello"));
    assert_eq!(world.line("/free").await, "GET /free 200 broke off");

    let paid = world.client().await.get(&world.url("/paid/a")).send().await.unwrap();
    assert_eq!((paid.status.as_u16(), world.charged().await.0), (500, 0));
    assert_eq!(world.line("/paid/a").await, "GET /paid/a 500 voided (upstream broke off)");
}

#[tokio::test]
async fn a_request_streams_while_it_is_sent() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}", upstream.local_addr().unwrap());
    let world = World::before(&at, "", ROUTES).await;
    let mut client = TcpStream::connect(world.address()).await.unwrap();
    let head = format!(
        "POST /free HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        world.address()
    );
    client.write_all(format!("{head}5\r\nfirst\r\n").as_bytes()).await.unwrap();
    // The first piece arrives while the last one is not sent.
    let (mut received, _) = upstream.accept().await.unwrap();
    let mut seen = String::new();
    let mut piece = [0; 4096];
    while !seen.contains("first") {
        let length = received.read(&mut piece).await.unwrap();
        seen += std::str::from_utf8(&piece[..length]).unwrap();
    }
    client.write_all(b"4\r\nlast\r\n0\r\n\r\n").await.unwrap();
    while !seen.ends_with("0\r\n\r\n") {
        let length = received.read(&mut piece).await.unwrap();
        seen += std::str::from_utf8(&piece[..length]).unwrap();
    }
    received.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    assert_eq!(raw::read(&mut client).await.body(), "ok");
}

#[tokio::test]
async fn a_paid_upload_that_is_not_bound_may_be_larger_than_what_is_kept_in_memory() {
    let routes = "[[route]]\npath = \"/paid/{id}\"\nprice = \"0.01 XTS\"\nbind_body = false\nbody_bytes = 3000000\n\
                  [[route]]\npath = \"/bound/{id}\"\nprice = \"0.01 XTS\"";
    let world = World::of(Upstream::start(|_| text("ok")).await, routes).await;
    let client = world.client().await;
    let body = Bytes::from(vec![b'x'; 2_000_000]);
    let post = |path: &str| client.request(http::Method::POST, &world.url(path)).body(body.clone());
    let paid = post("/paid/a").allow_unbound_body().send().await.unwrap();
    assert_eq!((paid.status.as_u16(), world.hits()[0].body.len()), (200, 2_000_000));
    let refused = raw::request(world.address(), "POST", "/bound/a", &["Content-Length: 2000000"], "").await;
    assert_eq!((refused.status(), world.hits().len()), (413, 1));
    let refused = raw::request(world.address(), "POST", "/paid/a", &["Content-Length: 3000001"], "").await;
    assert_eq!((refused.status(), world.hits().len()), (413, 1));
}
