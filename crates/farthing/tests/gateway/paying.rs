//! What is paid for through the gateway, and what is not.

use farthing::client::ClientError;
use http::Response;

use crate::raw;
use crate::upstream::{Upstream, status, text};
use crate::world::{ROUTES, World};

#[tokio::test]
async fn a_request_is_paid_for_forwarded_once_and_captured() {
    let world = World::of(Upstream::start(|_| text("the article")).await, ROUTES).await;
    let unpaid = raw::get(world.address(), "/paid/a%20b?q=%2F&x", &[]).await;
    assert_eq!(unpaid.status(), 402);
    assert!(unpaid.header("payment-required").is_some() && !unpaid.0.contains("the article"));
    assert_eq!(world.hits().len(), 0);
    assert_eq!(world.line("/paid/").await, "GET /paid/a%20b 402 unpaid");

    let client = world.client().await;
    let paid = client.get(&world.url("/paid/a%20b?q=%2F&x")).send().await.unwrap();
    assert_eq!(paid.status, 200);
    let payment = paid.payment().unwrap().clone();
    assert!(payment.is_proven());
    assert_eq!(paid.text().await.unwrap(), "the article");
    assert_eq!(world.charged().await.0, 10_000);

    let [hit] = &world.hits()[..] else { panic!("{:?}", world.hits()) };
    assert_eq!((hit.method.as_str(), hit.target.as_str()), ("GET", "/paid/a%20b?q=%2F&x"));
    assert_eq!(hit.header("farthing-payer").unwrap().len(), 64);
    assert_eq!(hit.header("farthing-payment").unwrap(), payment.id.to_string());
    assert_eq!(hit.header("farthing-amount"), Some("10000"));
    assert!(hit.header("farthing-network").unwrap().starts_with("farthing:"));
    assert_eq!((hit.header("payment-signature"), hit.header("x-payment")), (None, None));
    let line = world.line("200").await;
    assert!(line.starts_with("GET /paid/a%20b 200 captured 0.01 XTS from "), "{line}");
}

#[tokio::test]
async fn an_upstreams_error_costs_nothing_and_passes_through() {
    for code in [404, 500, 503] {
        let answer = move |_: &_| {
            let mut response = status(code, "no luck");
            response.headers_mut().insert("payment-required", "theirs".parse().unwrap());
            response.headers_mut().insert("x-upstream", "yes".parse().unwrap());
            response
        };
        let world = World::of(Upstream::start(answer).await, ROUTES).await;
        let paid = world.client().await.get(&world.url("/paid/a")).send().await.unwrap();
        assert_eq!(paid.status, code);
        assert_eq!(paid.headers["x-upstream"], "yes");
        assert!(!paid.headers.contains_key("payment-required"), "the upstream's terms are not the gateway's");
        assert_eq!(paid.text().await.unwrap(), "no luck");
        assert_eq!((world.charged().await.0, world.hits().len()), (0, 1));
        assert_eq!(world.line("/paid/a").await, format!("GET /paid/a {code} voided (upstream {code})"));
    }
}

#[tokio::test]
async fn an_upstreams_own_402_costs_nothing_and_is_not_mistaken_for_the_gateways() {
    let answer = |_: &_| {
        let mut response = status(402, "{\"x402Version\":1}");
        response.headers_mut().insert("payment-required", "theirs".parse().unwrap());
        response.headers_mut().insert("payment-response", "theirs".parse().unwrap());
        response
    };
    let world = World::of(Upstream::start(answer).await, ROUTES).await;
    let refused = match world.client().await.get(&world.url("/paid/a")).send().await {
        Err(ClientError::PaymentRefused(refused)) => refused,
        other => panic!("{other:?}"),
    };
    assert_eq!((refused.status.as_u16(), refused.reason.as_deref()), (402, Some("payment_voided")));
    assert_eq!((world.charged().await.0, world.hits().len()), (0, 1));
    assert_eq!(world.line("/paid/a").await, "GET /paid/a 402 voided (upstream 402)");

    let free = raw::get(world.address(), "/free", &[]).await;
    assert_eq!((free.status(), free.body()), (402, "{\"x402Version\":1}"));
    assert_eq!((free.header("payment-required"), free.header("payment-response")), (None, None));
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_costs_nothing() {
    // A port that was free a moment ago.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let world = World::before(&format!("http://{gone}"), "", ROUTES).await;
    let paid = world.client().await.get(&world.url("/paid/a")).send().await.unwrap();
    assert_eq!((paid.status.as_u16(), world.charged().await.0), (502, 0));
    let body = paid.text().await.unwrap();
    assert!(body.contains("upstream-failed") && !body.contains(&gone.port().to_string()), "{body}");
}

#[tokio::test]
async fn an_upstream_that_takes_too_long_costs_nothing() {
    // Accepts, and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}", silent.local_addr().unwrap());
    let world = World::before(&at, "[limits]\nrequest_seconds = 1", ROUTES).await;
    let paid = world.client().await.get(&world.url("/paid/a")).send().await.unwrap();
    assert_eq!((paid.status.as_u16(), world.charged().await.0), (504, 0));
}

#[tokio::test]
async fn a_body_is_part_of_what_is_paid_for_and_reaches_the_upstream() {
    let world = World::of(Upstream::start(|_| text("ok")).await, ROUTES).await;
    let client = world.client().await;
    let posting = client.request(http::Method::POST, &world.url("/paid/a")).body("hello");
    assert_eq!(posting.send().await.unwrap().status, 200);
    let [hit] = &world.hits()[..] else { panic!("{:?}", world.hits()) };
    assert_eq!((hit.method.as_str(), &hit.body[..]), ("POST", &b"hello"[..]));
    assert_eq!((hit.header("content-length"), hit.header("transfer-encoding")), (Some("5"), None));
}

#[tokio::test]
async fn head_is_charged_like_get_and_options_is_free_and_stays_here() {
    let world = World::of(Upstream::start(|_| text("secret length")).await, ROUTES).await;
    let head = raw::request(world.address(), "HEAD", "/paid/a", &[], "").await;
    assert_eq!((head.status(), head.body()), (402, ""));
    let options = raw::request(world.address(), "OPTIONS", "/paid/a", &[], "").await;
    assert_eq!((options.status(), world.hits().len()), (204, 0));
}

#[tokio::test]
async fn a_free_route_ignores_payments_and_tells_the_upstream_of_none() {
    let world = World::of(Upstream::start(|_| text("free")).await, ROUTES).await;
    let sent = ["PAYMENT-SIGNATURE: junk", "Farthing-Payer: somebody", "X-Payment: junk"];
    let answer = raw::get(world.address(), "/free", &sent).await;
    assert_eq!((answer.status(), answer.body()), (200, "free"));
    let [hit] = &world.hits()[..] else { panic!("{:?}", world.hits()) };
    for name in ["payment-signature", "x-payment", "farthing-payer"] {
        assert_eq!(hit.header(name), None, "{name}");
    }
    assert_eq!(world.line("/free").await, "GET /free 200");
}

#[tokio::test]
async fn requests_within_a_quota_are_free_and_then_there_is_a_price() {
    let routes = r#"
[[route]]
path = "/paid/{*rest}"
price = "0.01 XTS"
quota = { requests = 2, per = "1d", by = "address" }
"#;
    let world = World::of(Upstream::start(|_| text("ok")).await, routes).await;
    for status in [200, 200, 402] {
        assert_eq!(raw::get(world.address(), "/paid/a", &[]).await.status(), status);
    }
    assert_eq!(world.hits().len(), 2);
    let paid = world.client().await.get(&world.url("/paid/a")).send().await.unwrap();
    assert_eq!((paid.status.as_u16(), world.charged().await.0), (200, 10_000));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let to = |location: &'static str| {
        move |_: &_| Response::builder().status(302).header("location", location).body("".into()).unwrap()
    };
    let elsewhere = "http://169.254.169.254/latest";
    let world = World::of(Upstream::start(to(elsewhere)).await, ROUTES).await;
    let answer = raw::get(world.address(), "/free", &[]).await;
    assert_eq!((answer.status(), answer.header("location")), (302, Some(elsewhere)));
    assert_eq!(world.hits().len(), 1);
}
