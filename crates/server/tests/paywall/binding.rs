//! What a payment is bound to, and what it is not.

use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::Bytes;
use axum::routing::{any, post as route_post};
use farthing_protocol::header;
use farthing_server::PriceLayer;
use http::Method;

use crate::scripted::{NOW, ORIGIN};
use crate::shopping::*;

/// Routes of one price for every method, which answer with the body that they got.
fn shop(world: &World, layer: PriceLayer) -> Router {
    let hits = world.hits.clone();
    let echo = move |body: Bytes| async move {
        hits.hit();
        body
    };
    Router::new().route("/{*any}", any(echo).layer(layer))
}

#[tokio::test]
async fn t05_t07_t08_t09_a_payment_for_one_request_does_not_open_another() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    let signed = post("/a?q=1", b"one").pay(&app).await;
    let with = |method| Asking { method, ..signed.ask.clone() };
    let others = [
        post("/b?q=1", b"one"),
        post("/a?q=2", b"one"),
        post("/a", b"one"),
        post("/a?q=1&", b"one"),
        post("/a?q=%31", b"one"),
        post("/%61?q=1", b"one"),
        post("/a?q=1", b"two"),
        post("/a?q=1", b"one "),
        post("/a?q=1", b""),
        with(Method::GET),
        with(Method::PUT),
        with(Method::DELETE),
        with(Method::HEAD),
    ];
    for spent in [false, true] {
        let calls = world.ledger.calls();
        for other in &others {
            let got = signed.send_to(other.clone(), &app).await;
            assert_eq!(got.status, 409, "{other:?}");
            assert_eq!(got.reason(), "bound_to_other_request");
            if other.method != Method::HEAD {
                assert_eq!(got.code(), (409, "bound-to-other-request".into(), "new".into()));
            }
        }
        assert_eq!((world.hits.get(), world.ledger.calls()), (usize::from(spent), calls));
        let got = signed.send(&app).await;
        assert_eq!((got.status.as_u16(), got.text()), (200, "one"));
    }
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
}

#[tokio::test]
async fn each_request_of_a_second_has_terms_of_its_own() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    let mut digests = Vec::new();
    for seconds in [0, 1] {
        world.clock.store(NOW + seconds, Ordering::SeqCst);
        for target in ["/a", "/b?q=%22", "/a"] {
            let got = get(target).send(&app).await;
            let terms = got.terms();
            // What is written piece by piece is what would be written at once, in header and body.
            let whole = serde_json::to_string(&terms).unwrap();
            assert_eq!(got.headers["payment-required"], header::encode_text(&whole));
            assert!(got.text().ends_with(&format!(",\"terms\":{whole}}}")));
            assert_eq!(terms.resource.url, format!("{ORIGIN}{target}"));
            let offer = terms.offers().next().unwrap();
            assert_eq!(offer.extra["until"], NOW + seconds + 900);
            digests.push(offer.extra["requestDigest"].clone());
        }
    }
    assert!(digests[0] != digests[1] && digests[0] == digests[2]);
    assert_eq!(digests[..3], digests[3..]);
    // The twin: a payment for these terms opens the page.
    assert_eq!(get("/b?q=%22").pay(&app).await.send(&app).await.status, 200);
}

#[tokio::test]
async fn a_payment_for_another_page_is_409_even_when_its_price_differs() {
    let world = World::new();
    let cheap = world.paywall.price("$0.001");
    let app = Router::new()
        .route("/cheap", any(|| async { "cheap" }).layer(cheap))
        .route("/dear", any(|| async { "dear" }).layer(world.paywall.price("$1")));
    let signed = get("/cheap").pay(&app).await;
    let got = signed.send_to(get("/dear"), &app).await;
    assert_eq!(got.code(), (409, "bound-to-other-request".into(), "new".into()));
    assert_eq!(signed.send(&app).await.text(), "cheap");
}

#[tokio::test]
async fn t12_unsigned_fields_are_never_believed() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    let mut signed = get("/a").pay(&app).await;
    signed.payment["resource"] = serde_json::json!({"url": "https://shop.example/b"});
    signed.payment["from"] = "bob".into();
    let got = signed.send(&app).await;
    assert_eq!((got.status.as_u16(), got.settlement().payer.as_deref()), (200, Some("alice")));
    assert_eq!((world.ledger.balance("alice"), world.ledger.balance("bob")), (999_000, 1_000_000));
    // The same signed part with a wrong signature buys nothing, not even what was bought before.
    let forged = signed.change("/payload/signature", "bad").send(&app).await;
    assert_eq!((forged.status.as_u16(), forged.reason().as_str()), (402, "invalid_signature"));
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
}

#[tokio::test]
async fn t38_the_origin_is_the_configured_one_whatever_the_host_header_says() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    let spoofed = get("/a").with("x-forwarded-host", "evil.example").with("forwarded", "host=evil.example");
    let mut request = spoofed.build();
    request.headers_mut().insert("host", "evil.example".parse().unwrap());
    let response = tower::ServiceExt::oneshot(app.clone(), request).await.unwrap();
    let terms = Got::read(response).await.terms();
    assert_eq!(terms.resource.url, "https://shop.example/a");
    let paid = Signed::new(get("/a"), &terms).send(&app).await;
    assert_eq!(paid.status, 200);
}

#[tokio::test]
async fn a_nested_route_is_bound_to_the_target_as_it_was_received() {
    let world = World::new();
    let app = Router::new().nest("/v1/x", shop(&world, world.paywall.price("$0.001")));
    let signed = get("/v1/x/a?q=%2F").pay(&app).await;
    let terms = get("/v1/x/a?q=%2F").send(&app).await.terms();
    assert_eq!(terms.resource.url, "https://shop.example/v1/x/a?q=%2F");
    assert_eq!(signed.send(&app).await.status, 200);
    assert_eq!(signed.send_to(get("/v1/x/b?q=%2F"), &app).await.status, 409);
}

#[tokio::test]
async fn a_body_up_to_the_limit_is_bound_and_a_longer_one_refused() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    let largest = post("/a", &vec![7; 1024 * 1024]);
    let signed = largest.pay(&app).await;
    let got = signed.send(&app).await;
    assert_eq!((got.status.as_u16(), got.body.len()), (200, 1024 * 1024));
    let more = post("/a", &vec![7; 1024 * 1024 + 1]);
    for got in [more.send(&app).await, signed.send_to(more.clone(), &app).await] {
        assert_eq!(got.code(), (413, "body-too-large".into(), "new".into()));
        assert!(!got.headers.contains_key("payment-required"));
    }
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
}

#[tokio::test]
async fn an_unbound_body_may_change_and_be_long_where_the_route_says_so() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001").unbound_body())
        .layer(axum::extract::DefaultBodyLimit::disable());
    let signed = post("/a", b"one").pay(&app).await;
    let long = post("/a", &vec![7; 2 * 1024 * 1024]);
    assert_eq!(signed.send_to(long, &app).await.body.len(), 2 * 1024 * 1024);
    let bound = World::new();
    let app = shop(&bound, bound.paywall.price("$0.001"));
    assert_eq!(signed.send(&app).await.code().1, "bound-to-other-request");
}

#[tokio::test]
async fn the_handler_sees_the_body_and_not_the_payment() {
    let world = World::new();
    let handler = |headers: http::HeaderMap, body: Bytes| async move {
        let seen = headers.keys().map(|name| name.as_str().to_owned()).collect::<Vec<_>>().join(" ");
        format!("{seen}: {}", body.len())
    };
    let app = Router::new().route("/a", route_post(handler).layer(world.paywall.price("$0.001")));
    let got = post("/a", b"one").with("x-own", "1").pay(&app).await.send(&app).await;
    assert_eq!(got.text(), "host x-own: 3");
}

#[tokio::test]
async fn t10_a_payment_for_one_server_does_not_open_another_of_the_same_payee() {
    let (one, two) = (World::new(), World::with(rail("auth-capture"), |builder| builder));
    let here = shop(&one, one.paywall.price("$0.001"));
    let elsewhere = farthing_server::Paywall::builder("https://mirror.example".parse().unwrap())
        .rail(std::sync::Arc::new(rail("auth-capture")))
        .facilitator(two.ledger.clone())
        .receipt_key(receipt_key())
        .build()
        .unwrap();
    let there = shop(&two, elsewhere.price("$0.001"));
    let signed = get("/a").pay(&here).await;
    assert_eq!(signed.send(&there).await.code().1, "bound-to-other-request");
    assert_eq!(two.count(), (0, 0, vec![]));
    assert_eq!(signed.send(&here).await.status, 200);
}

#[tokio::test]
async fn t04_a_spent_payment_in_another_spelling_runs_nothing() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.001"));
    let signed = get("/a").pay(&app).await;
    assert_eq!(signed.send(&app).await.status, 200);
    let json = signed.payment.to_string();
    let spaced = serde_json::to_string_pretty(&signed.payment).unwrap();
    for header in [
        STANDARD.encode(&spaced),
        STANDARD.encode(format!(" {json}\n")),
        STANDARD.encode(json.replace("signature", "\\u0073ignature")),
        STANDARD.encode(json.replacen('{', "{\"new\":1,", 1)),
        STANDARD.encode(json.replacen('{', "{\"x402Version\":2,", 1)),
        STANDARD.encode(format!("\u{feff}{json}")),
        STANDARD_NO_PAD.encode(&json) + "=",
        URL_SAFE.encode(format!("{json}   ???>>>")),
        signed.header().to_lowercase(),
        signed.header() + " ",
    ] {
        let got = get("/a").with("payment-signature", header).send(&app).await;
        assert!(got.status == 200 || got.status.is_client_error(), "{}", got.status);
    }
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
}
