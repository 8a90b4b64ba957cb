//! What is refused before the upstream hears of it.

use crate::raw;
use crate::upstream::{Upstream, text};
use crate::world::World;

const ROUTES: &str = r#"
[[route]]
path = "/articles/{id}"
methods = ["GET"]
price = "0.01 XTS"

[[route]]
path = "/{*rest}"
free = true
body_bytes = 10
"#;

#[tokio::test]
async fn t36_no_spelling_of_a_paid_path_gets_its_body_without_payment() {
    let world = World::of(Upstream::start(|_| text("the article")).await, ROUTES).await;
    for (target, status) in [
        ("//articles/1", 400),
        ("/articles//1", 400),
        ("/./articles/1", 400),
        ("/x/../articles/1", 400),
        ("/x/%2e%2e/articles/1", 400),
        ("/articles%2f1", 400),
        ("/articles%5c1", 400),
        ("/articles\\1", 400),
        ("/articles/%", 400),
        ("/articles/1%00", 400),
        ("/%2561rticles/1", 400),
        ("/Articles/1", 400),
        ("/articles/1/", 400),
        ("/articles;x/1", 400),
        ("/articles/1;x", 402),
        ("/%61rticles/1", 402),
        ("/articles/1?x=../../free", 402),
        ("http://elsewhere.example/articles/1", 400),
    ] {
        let answer = raw::get(world.address(), target, &[]).await;
        assert_eq!(answer.status(), status, "{target}: {answer:?}");
    }
    assert_eq!(world.hits().len(), 0);
    // What is as clear as these is served.
    assert_eq!(raw::get(world.address(), "/other/1", &[]).await.status(), 200);
}

#[tokio::test]
async fn t37_methods_that_no_route_names_are_refused() {
    let world = World::of(Upstream::start(|_| text("ok")).await, ROUTES).await;
    for (method, target, status) in [
        ("TRACE", "/other", 405),
        ("CONNECT", "elsewhere.example:443", 405),
        ("POST", "/articles/1", 405),
        ("DELETE", "/articles/1", 405),
        ("PURGE", "/articles/1", 405),
    ] {
        let answer = raw::request(world.address(), method, target, &[], "").await;
        assert_eq!(answer.status(), status, "{method}: {answer:?}");
    }
    let wrong = raw::request(world.address(), "PUT", "/articles/1", &[], "").await;
    assert_eq!(wrong.header("allow"), Some("GET, HEAD"));
    assert_eq!(world.hits().len(), 0);
    let overridden = ["X-HTTP-Method-Override: DELETE", "X_HTTP_Method_Override: DELETE"];
    assert_eq!(raw::request(world.address(), "POST", "/other", &overridden, "").await.status(), 200);
    let [hit] = &world.hits()[..] else { panic!("{:?}", world.hits()) };
    assert_eq!(hit.headers.keys().filter(|name| name.as_str().contains("override")).count(), 0);
}

#[tokio::test]
async fn t40_heads_and_bodies_that_are_too_large_are_refused() {
    let world = World::of(Upstream::start(|_| text("ok")).await, ROUTES).await;
    let long = format!("X-Long: {}", "a".repeat(80 * 1024));
    assert_eq!(raw::get(world.address(), "/other", &[&long]).await.status(), 431);
    let eleven =
        raw::request(world.address(), "POST", "/other", &["Content-Length: 11"], "hello world").await;
    assert_eq!(eleven.status(), 413);
    let chunked = "6\r\nhello \r\n6\r\nworlds\r\n0\r\n\r\n";
    let unknown =
        raw::request(world.address(), "POST", "/other", &["Transfer-Encoding: chunked"], chunked).await;
    assert_eq!(unknown.status(), 413, "{unknown:?}");
    assert_eq!(world.hits().iter().filter(|hit| !hit.body.is_empty()).count(), 0);
    let ten = raw::request(world.address(), "POST", "/other", &["Content-Length: 10"], "0123456789").await;
    assert_eq!(ten.status(), 200);
}

#[tokio::test]
async fn t41_heads_that_two_servers_read_differently_are_refused() {
    let world = World::of(Upstream::start(|_| text("ok")).await, ROUTES).await;
    let at = world.address();
    for head in [
        format!("GET /other HTTP/1.1\r\nHost: {at}\r\nHost: evil.example\r\n\r\n"),
        "GET /other HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET /other HTTP/1.1\r\nHost: {at}\r\nA: b\r\n folded\r\n\r\n"),
        format!("POST /other HTTP/1.1\r\nHost: {at}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        format!(
            "POST /other HTTP/1.1\r\nHost: {at}\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"
        ),
        format!("POST /other HTTP/1.1\r\nHost: {at}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        format!("GET /other HTTP/1.1\r\nHost: {at}\r\nExpect: something\r\nConnection: close\r\n\r\n"),
        format!(
            "GET /other HTTP/1.1\r\nHost: {at}\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n"
        ),
    ] {
        let answer = raw::send(at, head.as_bytes()).await;
        assert!((400..=501).contains(&answer.status()), "{head:?}: {answer:?}");
    }
    assert_eq!(world.hits().len(), 0);
    // Two lengths, of which the specification says which one counts: the upstream is told that one, and nothing that
    // follows on the connection is believed.
    let head = format!(
        "POST /other HTTP/1.1\r\nHost: {at}\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let smuggled = format!("{head}0\r\n\r\nGET /articles/1 HTTP/1.1\r\nHost: {at}\r\n\r\n");
    let answer = raw::send(at, smuggled.as_bytes()).await;
    assert_eq!(answer.0.matches("HTTP/1.1").count(), 1, "{answer:?}");
    let [hit] = &world.hits()[..] else { panic!("{:?}", world.hits()) };
    assert_eq!((hit.body.len(), hit.header("content-length")), (0, None));
}

#[tokio::test]
async fn what_no_route_names_is_not_forwarded_and_the_gateways_own_paths_never_are() {
    let routes = "[[route]]\npath = \"/only\"\nfree = true";
    let world = World::of(Upstream::start(|_| text("ok")).await, routes).await;
    for target in ["/", "/other", "/only/", "/.farthing/nothing", "/.FARTHING/ledger"] {
        let refused = raw::get(world.address(), target, &[]).await;
        assert_eq!(refused.status(), 404, "{target}");
        assert!(refused.body().contains("not-found"), "{target}: {refused:?}");
    }
    assert_eq!(world.hits().len(), 0);
    assert_eq!(raw::get(world.address(), "/.farthing/ledger/supported", &[]).await.status(), 200);
    assert_eq!(raw::get(world.address(), "/only", &[]).await.status(), 200);
}
