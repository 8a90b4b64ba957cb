//! How the gateway stops.

use std::sync::Mutex;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::raw;
use crate::upstream::Upstream;
use crate::world::{ROUTES, World};

/// An upstream whose one answer ends when it is told to.
async fn held_up() -> (oneshot::Sender<()>, Upstream) {
    let (finish, finished) = oneshot::channel::<()>();
    let finished = Mutex::new(Some(finished));
    let upstream = Upstream::start(move |_| {
        let finished = finished.lock().unwrap().take().unwrap();
        let body = futures_util::stream::once(async move {
            let _ = finished.await;
            Ok::<_, std::io::Error>(Bytes::from("the end"))
        });
        Response::new(Body::from_stream(body))
    });
    (finish, upstream.await)
}

#[tokio::test]
async fn requests_that_are_there_are_finished_and_new_connections_refused() {
    let (finish, upstream) = held_up().await;
    let mut world = World::of(upstream, ROUTES).await;
    let address = world.address().to_owned();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(format!("GET /free HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).await.unwrap();
    while world.hits().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let served = world.stop();
    while TcpStream::connect(&address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!served.is_finished());
    finish.send(()).unwrap();
    let answer = raw::read(&mut stream).await;
    assert!(answer.status() == 200 && answer.0.contains("the end"), "{answer:?}");
    tokio::time::timeout(Duration::from_secs(20), served).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_does_not_end_is_given_up_after_the_time_for_it() {
    let upstream = Upstream::start(|_| {
        Response::new(Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>()))
    })
    .await;
    let at = upstream.origin.clone();
    let mut world = World::before(&at, "[limits]\nshutdown_seconds = 1", ROUTES).await;
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    let request = format!("GET /free HTTP/1.1\r\nHost: {}\r\n\r\n", world.address());
    stream.write_all(request.as_bytes()).await.unwrap();
    while upstream.hits().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let served = world.stop();
    tokio::time::timeout(Duration::from_secs(20), served).await.unwrap().unwrap().unwrap();
    assert_eq!(raw::read(&mut stream).await.body(), "");
}

#[tokio::test]
async fn a_client_that_goes_away_is_told_of_and_what_it_paid_for_is_finished() {
    let (finish, upstream) = held_up().await;
    let world = World::of(upstream, ROUTES).await;
    let client = world.client().await;
    let url = world.url("/paid/a");
    let asking = tokio::spawn(async move { client.get(&url).send().await });
    while world.hits().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    asking.abort();
    assert_eq!(world.line("499").await, "GET /paid/a 499 broke off");
    finish.send(()).unwrap();
    let charged = async {
        while world.charged().await.0 != 10_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), charged).await.expect("what was finished is charged");
}
