//! Headers, methods, caches and browsers.

use axum::Router;
use axum::routing::{any, get as route_get};
use farthing_protocol::rail::{Flow, Offer as _};
use farthing_server::{ConfigError, Paywall};
use http::Method;

use crate::scripted::*;
use crate::shopping::*;

fn shop(world: &World) -> Router {
    let hits = world.hits.clone();
    let handler = move || async move {
        hits.hit();
        (
            [("cache-control", "public, max-age=60"), ("settlement-overrides", "x"), ("etag", "\"1\"")],
            "content",
        )
    };
    let layer = world.paywall.price("$0.001");
    Router::new()
        .route("/a", route_get(handler.clone()).layer(layer.clone()))
        .route("/any", any(handler.clone()).layer(layer))
        .route("/free", route_get(handler))
}

#[tokio::test]
async fn t39_two_payments_in_one_request_are_refused_and_none_is_used() {
    let world = World::new();
    let app = shop(&world);
    let (one, two) = (get("/a").pay(&app).await, get("/a").pay(&app).await);
    for ask in [
        one.request().with("payment-signature", two.header()),
        one.request().with("payment-signature", one.header()),
        one.request().with("x-payment", two.header()),
        get("/a").with("x-payment", one.header()).with("x-payment", two.header()),
        get("/a").with("payment-signature", format!("{},{}", one.header(), two.header())),
    ] {
        let got = ask.send(&app).await;
        assert_eq!(got.code(), (400, "several-payments".into(), "new".into()));
    }
    assert_eq!(world.count(), (0, 0, vec![]));
    assert_eq!(one.send(&app).await.status, 200);
}

#[tokio::test]
async fn a_payment_of_version_1_is_told_so() {
    let world = World::new();
    let app = shop(&world);
    let signed = get("/a").pay(&app).await;
    let got = get("/a").with("x-payment", signed.header()).send(&app).await;
    assert_eq!(got.code(), (400, "unsupported-version".into(), "new".into()));
    assert_eq!(got.problem()["field"], "x-payment");
    assert_eq!(world.count(), (0, 0, vec![]));
}

#[tokio::test]
async fn t40_an_oversized_payment_is_431_before_it_is_decoded() {
    let world = World::new();
    let app = shop(&world);
    for bytes in [8 * 1024 + 1, 64 * 1024, 1024 * 1024] {
        let got = get("/a").with("payment-signature", "A".repeat(bytes)).send(&app).await;
        assert_eq!(got.code(), (431, "payment-too-large".into(), "new".into()));
    }
    let junk = get("/a").with("payment-signature", "A".repeat(8 * 1024)).send(&app).await;
    assert_eq!(junk.status, 400);
    let deep = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "[".repeat(6000));
    assert_eq!(get("/a").with("payment-signature", deep).send(&app).await.status, 400);
    assert_eq!(world.count(), (0, 0, vec![]));
    assert_eq!(get("/a").pay(&app).await.send(&app).await.status, 200);
}

#[tokio::test]
async fn t37_an_unpaid_head_is_402_and_tells_nothing_of_the_content() {
    let world = World::new();
    let app = shop(&world);
    let head = Asking { method: Method::HEAD, ..get("/a") };
    let got = head.send(&app).await;
    assert_eq!((got.status.as_u16(), got.body.len()), (402, 0));
    assert!(!got.headers.contains_key("etag"));
    assert_ne!(got.headers.get("content-length").map(|v| v.as_bytes()), Some(&b"7"[..]));
    assert_eq!(world.hits.get(), 0);
    let signed = head.pay(&app).await.receipt();
    let paid = signed.send(&app).await;
    assert_eq!(
        (paid.status.as_u16(), paid.body.len(), &paid.headers["content-length"]),
        (200, 0, &"7".parse().unwrap())
    );
    let receipt = paid.settlement().extensions["farthing-receipt"].get().to_owned();
    let receipt: farthing_protocol::receipt::SignedReceipt = serde_json::from_str(&receipt).unwrap();
    let receipt = receipt.verify(&receipt_key().public()).unwrap();
    assert_eq!(receipt.body, farthing_protocol::digest::sha256(b""));
    let again = signed.send(&app).await;
    assert_eq!(
        (again.status.as_u16(), again.body.len(), &again.headers["content-length"]),
        (200, 0, &"7".parse().unwrap())
    );
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
}

#[tokio::test]
async fn t37_options_is_free_and_never_reaches_the_handler() {
    let world = World::new();
    let app = shop(&world);
    for target in ["/a", "/any"] {
        let options = Asking { method: Method::OPTIONS, ..get(target) };
        let got = options.send(&app).await;
        assert_eq!((got.status.as_u16(), got.body.len()), (204, 0));
        let got = options
            .with("origin", "https://page.example")
            .with("access-control-request-method", "GET")
            .with("access-control-request-headers", "payment-signature,x-own")
            .send(&app)
            .await;
        assert_eq!(got.status, 204);
        assert_eq!(got.headers["access-control-allow-methods"], "GET");
        assert_eq!(
            got.headers["access-control-allow-headers"],
            "PAYMENT-SIGNATURE, X-PAYMENT, Content-Type, x-own"
        );
        assert_eq!(got.headers["access-control-allow-origin"], "*");
        assert!(!got.headers.contains_key("access-control-allow-credentials"));
    }
    assert_eq!(world.count(), (0, 0, vec![]));
}

#[tokio::test]
async fn t43_a_page_of_another_origin_can_read_every_answer() {
    let world = World::new();
    let app = shop(&world);
    let unpaid = get("/a").send(&app).await;
    let malformed = get("/a").with("payment-signature", "!").send(&app).await;
    let paid = get("/a").pay(&app).await.send(&app).await;
    for (got, status) in [(unpaid, 402), (malformed, 400), (paid, 200)] {
        assert_eq!(got.status, status);
        assert_eq!(
            got.headers["access-control-expose-headers"],
            "PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE, Retry-After"
        );
        assert_eq!(got.headers["access-control-allow-origin"], "*");
    }
}

#[tokio::test]
async fn t42_a_paid_answer_is_private_and_an_unpaid_one_not_stored() {
    let world = World::new();
    let app = shop(&world);
    assert_eq!(get("/a").send(&app).await.headers["cache-control"], "no-store");
    let signed = get("/a").pay(&app).await;
    for _ in 0..2 {
        let paid = signed.send(&app).await;
        assert_eq!(paid.headers["cache-control"], "private, max-age=60");
        assert_eq!(paid.headers["vary"], "PAYMENT-SIGNATURE, X-PAYMENT");
        assert_eq!(paid.headers["etag"], "\"1\"");
        assert!(!paid.headers.contains_key("settlement-overrides"));
    }
}

#[tokio::test]
async fn t36_no_spelling_of_a_priced_path_is_free() {
    let world = World::new();
    let app = shop(&world);
    for target in [
        "/a",
        "/a/",
        "//a",
        "/./a",
        "/x/../a",
        "/%61",
        "/%2561",
        "/a%2f",
        "/a%00",
        "/A",
        "/a;x",
        "/a?",
        "/a??",
        "/a?/free",
        "/a%",
        "/%2e/a",
        "/free/../a",
        "/free%2f..%2fa",
        "/a\\",
        "/any",
        "/any/..;/free",
        "/a.",
        "/a%20",
        "/free;/a",
    ] {
        let Ok(request) = http::Request::builder().uri(target).body(axum::body::Body::empty()) else {
            continue;
        };
        let response = tower::ServiceExt::oneshot(app.clone(), request).await.unwrap();
        let got = Got::read(response).await;
        assert!(!got.status.is_success(), "{target} is {}", got.status);
    }
    assert_eq!(world.count(), (0, 0, vec![]));
}

#[tokio::test]
async fn a_payment_on_a_free_route_is_ignored() {
    let world = World::new();
    let app = shop(&world);
    let signed = get("/a").pay(&app).await;
    let got = signed.send_to(get("/free"), &app).await;
    assert_eq!((got.status.as_u16(), got.headers.contains_key("payment-response")), (200, false));
    assert_eq!((world.ledger.calls().len(), world.hits.get()), (0, 1));
    assert_eq!(signed.send(&app).await.status, 200);
}

#[tokio::test]
async fn a_wrong_configuration_does_not_start() {
    let world = World::new();
    for (price, says) in [
        ("free", "not understood"),
        ("$0", "zero"),
        ("$0.0000001", "finer"),
        ("1 EUR", "asset EUR is not known on test:one"),
    ] {
        let error = world.paywall.try_price(price).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    assert!(world.paywall.try_price("$0.000001").is_ok());
    let builder = || Paywall::builder(ORIGIN.parse().unwrap());
    let with_rail = || builder().rail(std::sync::Arc::new(rail("exact")));
    assert_eq!(rail("exact").flow(), Flow::Escrow);
    assert_eq!(builder().build().unwrap_err(), ConfigError::NoRail);
    assert_eq!(with_rail().build().unwrap_err(), ConfigError::NoFacilitator);
    let settled = || with_rail().facilitator(world.ledger.clone());
    assert_eq!(settled().build().unwrap_err(), ConfigError::NoReceiptKey);
    let twice = settled().receipt_key(receipt_key()).rail(std::sync::Arc::new(rail("exact")));
    assert!(matches!(twice.build().unwrap_err(), ConfigError::SameRail { .. }));
    assert!(settled().receipt_key(receipt_key()).build().is_ok());
}

#[test]
#[should_panic(expected = "price \"free\" is not understood")]
fn a_wrong_price_stops_the_start_and_is_named() {
    let _ = World::new().paywall.price("free");
}
