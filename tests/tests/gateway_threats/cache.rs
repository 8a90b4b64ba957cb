//! A gateway behind a shared cache: nginx, with `proxy_cache` on for everything.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use farthing_testkit::{Reply, exchange, free_port, request};

use super::front::*;

/// An nginx of the test's own, killed with it.
struct Cache {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Cache {
    /// Caches what may be cached of everything that `origin` answers, for a day where that does not say.
    fn start(origin: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let path = directory.path();
        std::fs::write(path.join("nginx.conf"), configuration(path, address, origin)).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(path).args(["-c", "nginx.conf", "-e", "error.log"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut cache = Self { child: child.unwrap(), address, _directory: directory };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(address).is_err() {
            let ended = cache.child.try_wait().unwrap();
            let log = std::fs::read_to_string(cache._directory.path().join("error.log"));
            assert!(ended.is_none() && Instant::now() < deadline, "nginx does not listen: {log:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        cache
    }

    /// Through the cache.
    async fn send(&self, target: &str, headers: &[(&str, &str)]) -> Reply {
        let bytes = request(self.address, "GET", target, headers, b"");
        exchange(self.address, &bytes).await.expect("an answer")
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(path: &Path, listen: SocketAddr, origin: SocketAddr) -> String {
    let path = path.display();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temp: String = temp.iter().map(|what| format!("{what}_temp_path {path}/{what};\n")).collect();
    format!(
        "daemon off;\nmaster_process off;\npid {path}/nginx.pid;\nevents {{}}\nhttp {{\naccess_log off;\n{temp}\
         proxy_cache_path {path}/cache keys_zone=all:1m inactive=1d;\n\
         server {{\nlisten {listen};\nlocation / {{\nproxy_pass http://{origin};\nproxy_http_version 1.1;\n\
         proxy_set_header Connection '';\nproxy_cache all;\nproxy_cache_valid any 1d;\n\
         proxy_cache_revalidate on;\nadd_header X-Cache $upstream_cache_status always;\n}}\n}}\n}}\n"
    )
}

/// An upstream that calls everything public, and knows what its clients have already.
async fn public() -> Upstream {
    Upstream::answering(|seen| {
        let known = seen.headers.get("if-none-match").is_some_and(|tag| tag == "\"1\"");
        let answer = Response::builder()
            .header("cache-control", "public, max-age=86400, s-maxage=86400, immutable")
            .header("expires", "Thu, 31 Dec 2037 23:55:55 GMT")
            .header("x-accel-expires", "86400")
            .header("surrogate-control", "max-age=86400")
            .header("cdn-cache-control", "public, max-age=86400")
            .header("etag", "\"1\"");
        match known {
            true => answer.status(304).body(Body::empty()).unwrap(),
            false => answer.body(Body::from(CONTENT)).unwrap(),
        }
    })
    .await
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn t42_a_shared_cache_keeps_neither_a_paid_answer_nor_a_402() {
    let upstream = public().await;
    let front = Front::of(&upstream.origin(), ROUTES).await;
    let cache = Cache::start(front.address);
    // The cache caches: what is free is asked for once.
    for expected in ["MISS", "HIT", "HIT"] {
        let free = cache.send("/free/x", &[]).await;
        assert_eq!((free.status, free.header("x-cache")), (200, Some(expected)));
    }
    assert_eq!(upstream.hits.of("/free/x"), 1);

    let unpaid = cache.send("/api/report", &[]).await;
    assert_eq!((unpaid.status, unpaid.header("x-cache")), (402, Some("MISS")));
    let payment = front.sign(&unpaid);
    let paid = cache.send("/api/report", &[("PAYMENT-SIGNATURE", &payment)]).await;
    assert_eq!((paid.status, paid.text().as_str(), paid.header("x-cache")), (200, CONTENT, Some("MISS")));
    // Whatever the upstream said.
    let control = paid.header("cache-control").unwrap();
    assert!(
        control.contains("private") && !control.contains("public") && !control.contains("s-maxage"),
        "{control}"
    );
    for name in ["x-accel-expires", "surrogate-control", "cdn-cache-control", "expires"] {
        assert_eq!(paid.header(name), None, "{name}");
    }
    for _ in 0..3 {
        let unpaid = cache.send("/api/report", &[]).await;
        assert_eq!((unpaid.status, unpaid.header("x-cache")), (402, Some("MISS")));
        assert!(!unpaid.text().contains(CONTENT));
    }
    // Nor does somebody else's 402 stand in the way of whoever pays now.
    let payment = front.sign(&cache.send("/api/report", &[]).await);
    assert_eq!(cache.send("/api/report", &[("PAYMENT-SIGNATURE", &payment)]).await.text(), CONTENT);
    assert_eq!((upstream.hits.of("/api/report"), front.captures().await), (2, 2));
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn t42_a_shared_cache_gives_no_content_for_a_tag_that_a_payer_brought() {
    let upstream = public().await;
    let front = Front::of(&upstream.origin(), ROUTES).await;
    let cache = Cache::start(front.address);
    let tag = ("If-None-Match", "\"1\"");
    // Who has not paid learns nothing from a tag, before and after somebody paid.
    let unpaid = cache.send("/api/report", &[tag]).await;
    assert_eq!(unpaid.status, 402);
    let payment = front.sign(&unpaid);
    let fresh = front.send("GET", "/api/report", &[tag, ("PAYMENT-SIGNATURE", &payment)], b"").await;
    assert!(fresh.status == 304 || fresh.status == 200, "{}", fresh.status);
    for headers in [
        &[tag][..],
        &[],
        &[("If-None-Match", "*")],
        &[("If-Modified-Since", "Thu, 31 Dec 2037 23:55:55 GMT")],
    ] {
        let unpaid = cache.send("/api/report", headers).await;
        assert_eq!((unpaid.status, unpaid.header("x-cache")), (402, Some("MISS")), "{headers:?}");
        assert_eq!(unpaid.header("etag"), None);
    }
    // The same through the cache: a 304 or an answer for the payer alone.
    let payment = front.sign(&cache.send("/api/report", &[]).await);
    let paid = cache.send("/api/report", &[tag, ("PAYMENT-SIGNATURE", &payment)]).await;
    assert!(paid.status == 304 || paid.text() == CONTENT, "{}", paid.status);
    assert_eq!(cache.send("/api/report", &[]).await.status, 402);
    // And what is free is revalidated as ever.
    assert_eq!(cache.send("/free/x", &[]).await.header("x-cache"), Some("MISS"));
    assert_eq!(cache.send("/free/x", &[tag]).await.status, 304);
}

#[tokio::test]
async fn t42_what_an_upstream_tells_shared_caches_of_a_paid_answer_stays_behind() {
    let upstream = public().await;
    let front = Front::of(&upstream.origin(), ROUTES).await;
    let told = ["x-accel-expires", "surrogate-control", "cdn-cache-control", "expires"];
    for _ in 0..2 {
        let payment = front.pay("GET", "/api/report", b"").await;
        // The second time, the answer is one that was stored.
        for _ in 0..2 {
            let paid = front.send_paid("GET", "/api/report", &payment, b"").await;
            assert_eq!((paid.status, paid.text().as_str()), (200, CONTENT));
            assert_eq!(paid.header("cache-control"), Some("private, max-age=86400, immutable"));
            let vary = paid.header("vary").unwrap().to_ascii_lowercase();
            assert!(vary.contains("payment-signature"), "{vary}");
            told.iter().for_each(|name| assert_eq!(paid.header(name), None, "{name}"));
        }
    }
    // What is free says what its server says.
    let free = front.send("GET", "/free/x", &[], b"").await;
    told.iter().for_each(|name| assert!(free.header(name).is_some(), "{name}"));
    assert!(free.header("cache-control").unwrap().starts_with("public"));
    assert_eq!((upstream.hits.of("/api/report"), front.captures().await), (2, 2));
}

/// A route that is free for a while, in each way in which one can be.
const FREE_FOR_A_WHILE: &str = r#"
[[route]]
path = "/quota"
price = "0.01 XTS"
quota = { requests = 1, per = "1d", by = "address" }

[[route]]
path = "/pass"
price = "0.01 XTS"
pass = "1h"
"#;

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn t42_a_shared_cache_does_not_share_a_quota_or_a_pass() {
    let upstream = public().await;
    let front = Front::of(&upstream.origin(), FREE_FOR_A_WHILE).await;
    let cache = Cache::start(front.address);
    // The first is free, and for its caller alone.
    assert_eq!(cache.send("/quota", &[]).await.text(), CONTENT);
    for _ in 0..2 {
        let unpaid = cache.send("/quota", &[]).await;
        assert_eq!((unpaid.status, unpaid.header("x-cache")), (402, Some("MISS")));
    }
    assert_eq!((upstream.hits.of("/quota"), front.captures().await), (1, 0));
    // Who has a pass reads on, and nobody else.
    let payment = front.sign(&cache.send("/pass", &[]).await);
    let paid = cache.send("/pass", &[("PAYMENT-SIGNATURE", &payment)]).await;
    assert_eq!(paid.text(), CONTENT);
    let token = paid.header("pass-token").expect("a token of the pass").to_owned();
    let cookie = format!("farthing-pass={token}");
    for headers in [[("PASS-TOKEN", token.as_str())], [("Cookie", cookie.as_str())]] {
        for _ in 0..2 {
            let again = cache.send("/pass", &headers).await;
            assert_eq!(
                (again.status, again.text().as_str(), again.header("x-cache")),
                (200, CONTENT, Some("MISS"))
            );
            let unpaid = cache.send("/pass", &[]).await;
            assert_eq!((unpaid.status, unpaid.header("x-cache")), (402, Some("MISS")), "{headers:?}");
        }
    }
    assert_eq!((upstream.hits.of("/pass"), front.captures().await), (5, 1));
}
