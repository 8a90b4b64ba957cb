//! Threats E: the web layer. What is sent is bytes, and what is counted is handler runs and captures.

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farthing::Paywall;
use farthing::protocol::digest::{BodyHash, request_digest};
use farthing::protocol::v2::{Offer, PaymentRequirements};
use farthing::protocol::{Origin, RequestDigest};
use farthing_testkit::web::{self, PAGE, PREFLIGHT};
use farthing_testkit::{Counter, Reply, World, exchange, request};

/// What only a payer may read.
const CONTENT: &str = "the-paid-content";
const PRICE: u128 = 10_000;

/// Paid routes of every kind that axum knows, and a free one.
fn routes(paywall: Paywall, hits: Counter) -> Router {
    let price =
        || paywall.price("0.01 XTS").description("a\r\nSet-Cookie: a=1\0\u{7f}b").mime_type("text/plain");
    let content = |name: &'static str| {
        let hits = hits.clone();
        move || async move {
            hits.hit(name);
            ([("etag", "\"of-the-content\""), ("cache-control", "public, max-age=60")], CONTENT)
                .into_response()
        }
    };
    Router::new()
        .route("/api/report", get(content("report")).layer(price()))
        .route("/upload", post(content("upload")).layer(price()))
        .route("/any", any(content("any")).layer(price()))
        .route("/files/{*path}", any(content("files")).layer(price()))
        .nest("/shop", Router::new().route("/item/{id}", get(content("item")).layer(price())))
        .nest("/vault", Router::new().route("/gold", get(content("gold"))).layer(price()))
        .route("/free", get(|| async { "free of charge" }))
}

/// Sends this method and target, which need not be valid.
async fn ask(world: &World, method: &str, target: &str) -> Option<Reply> {
    exchange(world.address, &request(world.address, method, target, &[], b"")).await
}

/// Nothing ran, nothing was captured, and the payer has what it had.
async fn untouched(world: &World) {
    assert_eq!((world.hits.all(), world.captures().await), (0, 0));
    assert_eq!(world.balance().await, 100_000_000);
}

/// A fresh payment still buys the content, once.
async fn sells(world: &World) {
    let (hits, captures, balance) = (world.hits.all(), world.captures().await, world.balance().await);
    let payment = world.pay("GET", "/api/report", b"").await;
    let paid = world.send_paid("GET", "/api/report", &payment, b"").await;
    assert_eq!((paid.status, paid.text().as_str()), (200, CONTENT));
    assert_eq!((world.hits.all(), world.captures().await), (hits + 1, captures + 1));
    assert_eq!(world.balance().await, balance - PRICE);
}

#[tokio::test]
async fn t36_no_spelling_of_a_priced_path_is_free_and_each_that_has_a_price_can_be_paid() {
    let world = World::start(routes).await;
    let mut targets: Vec<String> = Vec::new();
    for path in ["/api/report", "/shop/item/7", "/vault/gold", "/files/a/b", "/any"] {
        targets.push(path.to_owned());
        targets.extend(web::spellings(path));
        // A proxy's form of the same request.
        targets.push(format!("{}{path}", world.origin));
        targets.push(format!("http://evil.example{path}"));
        targets.push(format!("{path}#free"));
    }
    assert!(targets.len() >= 60);
    let mut priced = Vec::new();
    for target in &targets {
        // None: the connection was closed without an answer.
        let Some(reply) = ask(&world, "GET", target).await else { continue };
        assert_ne!(reply.status, 200, "{target}");
        assert!(!reply.text().contains(CONTENT), "{target}");
        if reply.status == 402 {
            priced.push((target, reply));
        }
    }
    untouched(&world).await;
    assert!(priced.len() >= 30, "{} of {} spellings have a price", priced.len(), targets.len());

    let mut bought = 0;
    for (target, unpaid) in priced {
        let offer = unpaid.terms().offers().next().unwrap();
        let payment = World::header(&offer, &world.sign_offer(&world.payer, &offer));
        let paid = world.send_paid("GET", target, &payment, b"").await;
        assert_eq!(paid.status, 200, "{target}: {}", paid.text());
        bought += 1;
    }
    assert_eq!((world.hits.all(), world.captures().await), (bought, bought as u64));
    assert_eq!(world.balance().await, 100_000_000 - bought as u128 * PRICE);
}

#[tokio::test]
async fn t37_an_unpaid_head_tells_nothing_of_the_content_and_a_paid_one_its_headers() {
    let world = World::start(routes).await;
    for target in ["/api/report", "/shop/item/7", "/vault/gold", "/files/a", "/any"] {
        let unpaid = ask(&world, "HEAD", target).await.unwrap();
        assert_eq!((unpaid.status, unpaid.body.len()), (402, 0), "{target}");
        assert_eq!(unpaid.header("etag"), None);
        assert_ne!(unpaid.header("content-length"), Some(CONTENT.len().to_string().as_str()));
        assert_eq!(unpaid.header("cache-control"), Some("no-store"));
    }
    untouched(&world).await;
    let unpaid = ask(&world, "HEAD", "/api/report").await.unwrap();
    let offer = unpaid.terms().offers().next().unwrap();
    let payment = World::header(&offer, &world.sign_offer(&world.payer, &offer));
    let paid = world.send_paid("HEAD", "/api/report", &payment, b"").await;
    assert_eq!((paid.status, paid.body.len(), paid.header("etag")), (200, 0, Some("\"of-the-content\"")));
    assert_eq!(paid.header("content-length"), Some(CONTENT.len().to_string().as_str()));
    // Whoever paid for the head has not paid for the body.
    let body = world.send_paid("GET", "/api/report", &payment, b"").await;
    assert_eq!((body.status, body.problem().0.as_str()), (409, "bound-to-other-request"));
    assert_eq!((world.hits.all(), world.captures().await), (1, 1));
    sells(&world).await;
}

#[tokio::test]
async fn t37_options_is_free_of_content_and_no_method_is_a_way_around_the_price() {
    let world = World::start(routes).await;
    for target in ["/api/report", "/upload", "/any", "/files/a", "/vault/gold"] {
        let options = ask(&world, "OPTIONS", target).await.unwrap();
        assert_eq!((options.status, options.body.len()), (204, 0), "{target}");
    }
    for method in ["TRACE", "CONNECT", "PUT", "DELETE", "PATCH", "PROPFIND", "get", "GETT", "OPTION"] {
        for target in ["/api/report", "/any", "/files/a", "/upload"] {
            let Some(reply) = ask(&world, method, target).await else { continue };
            assert!(reply.status >= 400, "{method} {target} is {}", reply.status);
            assert!(!reply.text().contains(CONTENT), "{method} {target}");
        }
    }
    for (method, target) in [("GET", "/api/report"), ("GET", "/any"), ("POST", "/any"), ("POST", "/upload")] {
        for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"] {
            for value in ["OPTIONS", "GET", "HEAD"] {
                let reply = world.send(method, target, &[(name, value)], b"").await;
                assert_eq!(reply.status, 402, "{method} {target} with {name}: {value}");
            }
        }
        let reply = world.send(method, &format!("{target}?_method=OPTIONS"), &[], b"").await;
        assert_eq!(reply.status, 402);
    }
    untouched(&world).await;
    sells(&world).await;
}

#[tokio::test]
async fn t38_the_origin_is_the_configured_one_whatever_the_request_says_of_it() {
    let world = World::start(routes).await;
    let origin: Origin = world.origin.parse().unwrap();
    let digest = request_digest("GET", &origin, "/api/report", BodyHash::of(b""));
    let spoofs: [&[(&str, &str)]; 8] = [
        &[("Host", "evil.example")],
        &[("Host", "")],
        &[("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "443")],
        &[("X-Forwarded-Prefix", "/evil"), ("X-Original-URL", "/free"), ("X-Rewrite-URL", "/free")],
        &[("Forwarded", "host=evil.example;proto=https")],
        &[("X-Host", "evil.example"), ("X-Real-IP", "10.0.0.1"), ("Via", "1.1 evil.example")],
        &[("Origin", "https://evil.example"), ("Referer", "https://evil.example/")],
        &[("Host", "evil.example\tx"), ("X-Forwarded-Server", "evil.example")],
    ];
    for headers in spoofs {
        let unpaid = world.send("GET", "/api/report", headers, b"").await;
        if unpaid.status == 400 {
            continue; // The HTTP parser refuses this Host.
        }
        assert_eq!(unpaid.status, 402, "{headers:?}");
        let terms = unpaid.terms();
        assert_eq!(terms.resource.url, format!("{}/api/report", world.origin));
        for offer in terms.offers() {
            assert_eq!(offer.extra["requestDigest"], digest.to_string(), "{headers:?}");
        }
        assert!(!unpaid.text().contains("evil"), "{headers:?}: {}", unpaid.text());
    }
    // A target with an authority of its own.
    let unpaid = ask(&world, "GET", "http://evil.example/api/report").await.unwrap();
    assert_eq!(unpaid.terms().resource.url, format!("{}/api/report", world.origin));
    untouched(&world).await;

    // A payment for another origin is no payment here, even if Host says so too.
    let offer = world.offers("GET", "/api/report", b"").await.remove(0);
    let elsewhere = "http://evil.example".parse().unwrap();
    let elsewhere = request_digest("GET", &elsewhere, "/api/report", BodyHash::of(b""));
    let offer = bound_to(&offer, &elsewhere);
    let payment = World::header(&offer, &world.sign_offer(&world.payer, &offer));
    let headers = [("Host", "evil.example"), ("PAYMENT-SIGNATURE", payment.as_str())];
    let reply = world.send("GET", "/api/report", &headers, b"").await;
    assert_eq!((reply.status, reply.problem().0.as_str()), (409, "bound-to-other-request"));
    untouched(&world).await;

    // And one for the configured origin is good under any name.
    let payment = world.pay("GET", "/api/report", b"").await;
    let headers = [("Host", "evil.example"), ("PAYMENT-SIGNATURE", payment.as_str())];
    assert_eq!(world.send("GET", "/api/report", &headers, b"").await.status, 200);
    assert_eq!((world.hits.all(), world.captures().await), (1, 1));
}

fn bound_to(offer: &Offer, digest: &RequestDigest) -> Offer {
    let mut changed: PaymentRequirements = offer.clone().into_parsed();
    changed.extra.insert("requestDigest".into(), digest.to_string().into());
    Offer::write(changed).unwrap()
}

#[tokio::test]
async fn t39_of_two_payments_in_one_request_neither_is_used() {
    let world = World::start(routes).await;
    let (one, two) = (world.pay("GET", "/api/report", b"").await, world.pay("GET", "/api/report", b"").await);
    web::refuses_two_payments(world.address, "/api/report", &one, &two).await;
    untouched(&world).await;
    for payment in [&one, &two] {
        assert_eq!(world.send_paid("GET", "/api/report", payment, b"").await.status, 200);
    }
    assert_eq!((world.hits.all(), world.captures().await), (2, 2));
}

#[tokio::test]
async fn t40_what_is_too_large_too_deep_or_junk_is_refused_quickly_and_in_little_memory() {
    let world = World::start(routes).await;
    web::refuses_junk_quickly(world.address, "/api/report").await;

    // Bodies: one that says its size, and one that does not.
    let body = vec![b'x'; 1024 * 1024 + 1];
    let chunk = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    let coded: &[(&str, &str)] = &[("Transfer-Encoding", "chunked")];
    for (headers, body) in [(&[][..], &body), (coded, &chunk)] {
        let bytes = request(world.address, "POST", "/upload", headers, body);
        let reply = answer_to(world.address, &bytes).await;
        assert_eq!((reply.status, reply.problem()), (413, ("body-too-large".into(), "new".into())));
    }
    // The facilitator's API reads JSON bodies.
    for body in [deep_json(100_000), deep_json(40), "{".repeat(1000), "\u{feff}{}".into()] {
        let headers = [("Content-Type", "application/json")];
        let reply = world.send("POST", "/ledger/settle", &headers, body.as_bytes()).await;
        assert!(matches!(reply.status, 400 | 413), "{}", reply.status);
    }
    untouched(&world).await;
    // The positive twins: the largest body that is bound, and a payment beside it.
    let largest = &body[1..];
    let payment = world.pay("POST", "/upload", largest).await;
    assert_eq!(world.send_paid("POST", "/upload", &payment, largest).await.status, 200);
    sells(&world).await;
}

/// The answer of a server that may close before it has read everything, so that its answer can get lost.
async fn answer_to(address: std::net::SocketAddr, bytes: &[u8]) -> Reply {
    for _ in 0..50 {
        if let Some(reply) = exchange(address, bytes).await {
            return reply;
        }
    }
    panic!("no answer of fifty arrived");
}

fn deep_json(levels: usize) -> String {
    format!("{{\"x402Version\":2,\"paymentPayload\":{}1{}}}", "[".repeat(levels), "]".repeat(levels))
}

#[tokio::test]
async fn t41_no_request_that_two_parsers_read_differently_gets_content() {
    let world = World::start(routes).await;
    let inner = "GET /api/report HTTP/1.1\r\nHost: x\r\n\r\n";
    let heads = [
        // A body's length said twice, or in ways that parsers disagree about.
        "Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        "Content-Length: +5\r\n\r\nhello".into(),
        "Content-Length: 5, 5\r\n\r\nhello".into(),
        "Content-Length: 0x5\r\n\r\nhello".into(),
        "Content-Length: -1\r\n\r\nhello".into(),
        "Transfer-Encoding: identity, chunked, identity\r\n\r\n0\r\n\r\n".into(),
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n".into(),
        "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n".into(),
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n".into(),
        // CL.TE and TE.CL, with a second request hidden in the body.
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}", inner.len() + 5),
        format!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{inner}"),
        format!("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{inner}"),
        // Folded lines, and bytes that end a line for some.
        "X-A: a\r\n b: c\r\nContent-Length: 0\r\n\r\n".into(),
        "X-A: a\0b\r\nContent-Length: 0\r\n\r\n".into(),
        "X-A: a\rContent-Length: 0\r\n\r\n".into(),
        "X\0A: a\r\nContent-Length: 0\r\n\r\n".into(),
        " X-A: a\r\nContent-Length: 0\r\n\r\n".into(),
        "PAYMENT-SIGNATURE : e30=\r\nContent-Length: 0\r\n\r\n".into(),
    ];
    for head in heads {
        let bytes = format!("POST /upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}");
        let Some(reply) = exchange(world.address, bytes.as_bytes()).await else { continue };
        assert!(reply.status >= 400, "{head:?} is {}", reply.status);
        assert!(!reply.text().contains(CONTENT), "{head:?}");
    }
    // A paid request does not pay for one that is hidden behind it.
    let payment = world.pay("POST", "/upload", b"").await;
    let hidden = format!(
        "POST /upload HTTP/1.1\r\nHost: x\r\nPAYMENT-SIGNATURE: {payment}\r\nContent-Length: {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /any HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        inner.len()
    );
    let reply = exchange(world.address, hidden.as_bytes()).await;
    assert!(world.hits.of("any") == 0 && world.hits.of("upload") <= 1, "{reply:?}");
    assert_eq!(world.captures().await, world.hits.of("upload") as u64);
    sells(&world).await;
}

#[tokio::test]
async fn t41_no_text_in_an_answer_ends_a_header() {
    let world = World::start(routes).await;
    let unpaid = world.send("GET", "/api/report?a=%0d%0aSet-Cookie:%20a=1%00", &[], b"").await;
    assert_eq!(unpaid.terms().resource.description.as_deref(), Some("a\r\nSet-Cookie: a=1\0\u{7f}b"));
    assert_eq!(unpaid.header("set-cookie"), None);
    let junk = STANDARD.encode("{\"x402Version\":2,\"a\\r\\nSet-Cookie: a=1\":\"\\r\\nSet-Cookie: a=1\"}");
    let refused = world.send_paid("GET", "/api/report", &junk, b"").await;
    assert_eq!((refused.status, refused.header("set-cookie")), (400, None));
    // What a server is configured with.
    for origin in
        ["http://shop.example\r\nSet-Cookie: a=1", "http://shop.example\0", "http://shop.example/\r\n"]
    {
        assert!(origin.parse::<Origin>().is_err(), "{origin:?}");
    }
    assert!("http://shop.example".parse::<Origin>().is_ok());
    untouched(&world).await;
    sells(&world).await;
}

#[tokio::test]
async fn t43_a_page_of_another_origin_may_ask_pay_and_read() {
    let world = World::start(|paywall, hits| {
        let credentials = [("access-control-allow-credentials", "true")];
        let own = [("access-control-allow-origin", "https://page.example"), credentials[0]];
        let price = paywall.price("0.01 XTS");
        routes(paywall.clone(), hits)
            .route(
                "/with-credentials",
                get(move || async move { (credentials, CONTENT) }).layer(price.clone()),
            )
            .route("/own", get(move || async move { (own, CONTENT) }).layer(price.clone()))
            .route("/fails", get(|| async { StatusCode::IM_A_TEAPOT }).layer(price))
    })
    .await;
    let preflight = world.send("OPTIONS", "/api/report", &PREFLIGHT, b"").await;
    web::lets_a_page_pay(&preflight);
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET"));
    untouched(&world).await;

    let (bad, good) = ("!", world.pay("GET", "/api/report", b"").await);
    let failing = world.pay("GET", "/fails", b"").await;
    let mut replies = vec![preflight];
    for (target, payment, status) in [
        ("/api/report", None, 402),
        ("/api/report", Some(bad), 400),
        ("/api/report", Some("A".repeat(9_000).as_str()), 431),
        ("/any", Some(&*good), 409),
        ("/api/report", Some(&*good), 200),
        ("/api/report", Some(&*good), 200),
        ("/fails", Some(&*failing), 418),
    ] {
        let mut headers = vec![PAGE];
        headers.extend(payment.map(|payment| ("PAYMENT-SIGNATURE", payment)));
        let reply = world.send("GET", target, &headers, b"").await;
        assert_eq!(reply.status, status, "{target}");
        replies.push(reply);
    }
    replies.iter().for_each(web::lets_a_page_read);
    assert_eq!((world.hits.of("report"), world.captures().await), (1, 1));

    // A handler that allows credentials decides about origins itself; `*` is never said beside them.
    for (target, origin) in [("/with-credentials", None), ("/own", Some("https://page.example"))] {
        let payment = world.pay("GET", target, b"").await;
        let reply = world.send("GET", target, &[PAGE, ("PAYMENT-SIGNATURE", &payment)], b"").await;
        web::leaves_credentials_to_the_handler(&reply, origin);
    }
}
