//! What a request costs, what costs nothing, and what is refused before money is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use farthing_server::answer::Situation;
use farthing_server::{ConfigError, PriceLayer, Sold, Wanted};
use http::{HeaderMap, Method, StatusCode};
use tower::ServiceExt as _;

use crate::scripted::*;
use crate::shopping::*;

/// One handler for all methods and paths, that tells which method it saw.
fn shop(world: &World, layer: PriceLayer) -> Router {
    let hits = world.hits.clone();
    let handler = move |method: Method, headers: HeaderMap| async move {
        hits.hit();
        let overridden = headers.contains_key("x-http-method-override");
        let payment = headers.contains_key("payment-signature");
        ([("etag", "\"content\"")], format!("{method} {overridden} {payment}"))
    };
    Router::new().route("/{*path}", any(handler)).layer(layer)
}

fn by(method: Method, target: &str) -> Asking {
    Asking { method, ..get(target) }
}

/// Two rails: dollars on one, coins on the other.
fn two_rails() -> World {
    let coins = Rail { network: "test:coins".parse().unwrap(), ..rail("auth-capture") };
    World::with(rail("auth-capture"), |builder| builder.rail(Arc::new(coins)))
}

#[tokio::test]
async fn each_rail_offers_each_price_whose_currency_it_has_and_any_of_them_pays() {
    let world = two_rails();
    let app = shop(&world, world.paywall.price("$0.01").or_price("0.5 XTS").or_price("$0.02"));
    let terms = get("/a").send(&app).await.terms();
    let offered: Vec<_> =
        terms.offers().map(|o| (o.network.to_string(), o.asset.clone(), o.amount.0)).collect();
    let of = |network: &str, asset: &str, amount| (network.to_owned(), asset.to_owned(), amount);
    let expected =
        [of("test:one", "USD", 10_000), of("test:one", "USD", 20_000), of("test:coins", "XTS", 500_000)];
    assert_eq!(offered, expected);
    for (number, offer) in terms.offers().enumerate() {
        let got = Signed::accepting(get("/a"), offer).send(&app).await;
        assert_eq!((got.status.as_u16(), got.settlement().amount.unwrap().0), (200, expected[number].2));
    }
    assert_eq!((world.hits.get(), world.ledger.captures()), (3, 3));
}

#[tokio::test]
async fn t06_a_payment_for_less_than_any_offer_opens_nothing() {
    let world = two_rails();
    let app = shop(&world, world.paywall.price("$1").or_price("0.5 XTS"));
    let terms = get("/a").send(&app).await.terms();
    for offer in terms.offers() {
        let signed = Signed::accepting(get("/a"), offer);
        let cheap = signed.clone().change("/accepted/amount", "1").change("/payload/signed/amount", "1");
        let got = cheap.send(&app).await;
        assert_eq!(got.code(), (402, "payment-refused".into(), "new".into()));
        assert_eq!(got.problem()["field"], "accepted.amount");
        let unsigned = signed.change("/payload/signed/amount", "1");
        assert_eq!(unsigned.send(&app).await.reason(), "amount_mismatch");
    }
    let swapped = Signed::accepting(get("/a"), terms.offers().next().unwrap());
    let swapped = swapped.change("/accepted/network", "test:coins");
    assert_eq!(swapped.send(&app).await.status, 402);
    assert_eq!(world.count(), (0, 0, vec![]));
    assert_eq!(get("/a").pay(&app).await.send(&app).await.status, 200);
}

#[tokio::test]
async fn a_method_has_its_own_price_and_head_costs_what_get_does() {
    let world = World::new();
    let layer = world.paywall.price("$0.01").for_method(Method::POST, "$0.05");
    let app = shop(&world, layer.for_method(Method::GET, "$0.02"));
    for (method, price) in
        [(Method::GET, 20_000), (Method::HEAD, 20_000), (Method::POST, 50_000), (Method::PUT, 10_000)]
    {
        let paid = by(method.clone(), "/a").pay(&app).await.send(&app).await;
        assert_eq!((paid.status.as_u16(), paid.settlement().amount.unwrap().0), (200, price), "{method}");
    }
    let cheap = by(Method::PUT, "/a").pay(&app).await;
    let got = cheap.send_to(post("/a", b""), &app).await;
    assert_eq!(got.code(), (409, "bound-to-other-request".into(), "new".into()));
    assert_eq!((world.hits.get(), world.ledger.captures()), (4, 4));
}

#[tokio::test]
async fn t37_a_method_without_a_price_that_is_not_free_is_405() {
    let world = World::new();
    let layer = world.paywall.by_method().for_method(Method::GET, "$0.01").free_method(Method::PUT);
    let app = shop(&world, layer);
    for method in [Method::POST, Method::DELETE, Method::TRACE, Method::PATCH, "BREW".parse().unwrap()] {
        let got = by(method.clone(), "/a").send(&app).await;
        assert_eq!(got.code(), (405, "method-not-sold".into(), "none".into()), "{method}");
        assert_eq!(got.headers["allow"], "GET, HEAD, OPTIONS, PUT");
        assert!(!got.headers.contains_key("payment-required"));
    }
    assert_eq!(world.count(), (0, 0, vec![]));
    assert_eq!(get("/a").pay(&app).await.send(&app).await.status, 200);
    assert_eq!(by(Method::PUT, "/a").send(&app).await.status, 200);
    assert_eq!((world.hits.get(), world.ledger.captures()), (2, 1));
}

#[tokio::test]
async fn t37_every_method_of_a_priced_route_is_paid_for_and_options_never_reaches_the_handler() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.01"));
    for method in [Method::GET, Method::HEAD, Method::TRACE, Method::POST, "BREW".parse().unwrap()] {
        let got = by(method.clone(), "/a").send(&app).await;
        assert_eq!(got.status, 402, "{method}");
        assert!(!got.headers.contains_key("etag"));
    }
    assert_eq!(by(Method::OPTIONS, "/a").send(&app).await.status, 204);
    assert_eq!(by(Method::OPTIONS, "/a").pay_nothing(&app).await, 204);
    assert_eq!(world.count(), (0, 0, vec![]));
}

impl Asking {
    /// With a payment header that is none.
    async fn pay_nothing(&self, app: &Router) -> u16 {
        self.clone().with("payment-signature", "x").send(app).await.status.as_u16()
    }
}

#[tokio::test]
async fn t37_a_header_that_overrides_the_method_reaches_nobody() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.01").free_method(Method::GET));
    for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
        let got = get("/a").with(name, "POST").send(&app).await;
        assert_eq!((got.status.as_u16(), got.text()), (200, "GET false false"));
        let got = post("/a", b"").with(name, "GET").send(&app).await;
        assert_eq!(got.status, 402);
        let got = post("/a", b"").with(name, "OPTIONS").send(&app).await;
        assert_eq!(got.status, 402);
    }
    let paid = post("/a", b"").with("x-http-method-override", "DELETE").pay(&app).await.send(&app).await;
    assert_eq!((paid.status.as_u16(), paid.text()), (200, "POST false false"));
    assert_eq!((world.hits.get(), world.ledger.captures()), (4, 1));
}

#[tokio::test]
async fn a_payment_on_a_free_method_or_path_is_ignored_and_not_passed_on() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.01").free_method(Method::PUT).free_paths(["/health"]));
    let signed = get("/a").pay(&app).await;
    for ask in [by(Method::PUT, "/a"), get("/health"), post("/health", b"x")] {
        let got = signed.send_to(ask.clone(), &app).await;
        assert_eq!((got.status.as_u16(), got.text()), (200, &*format!("{} false false", ask.method)));
        assert!(!got.headers.contains_key("payment-response") && !got.headers.contains_key("cache-control"));
    }
    assert_eq!((world.count().1, world.count().2), (0, vec![]));
    assert_eq!(signed.send(&app).await.status, 200);
    assert_eq!(world.ledger.captures(), 1);
}

#[tokio::test]
async fn head_is_as_free_as_get_unless_it_has_a_price() {
    let world = World::new();
    let layer = world.paywall.price("$0.01").free_method(Method::GET);
    let (free, priced) = (shop(&world, layer.clone()), shop(&world, layer.for_method(Method::HEAD, "$0.02")));
    for (app, status) in [(&free, 200), (&priced, 402)] {
        assert_eq!(by(Method::HEAD, "/a").send(app).await.status.as_u16(), status);
        assert_eq!(get("/a").send(app).await.status, 200);
    }
    assert_eq!((world.hits.get(), world.ledger.captures()), (3, 0));
}

#[tokio::test]
async fn t36_no_spelling_of_a_paid_path_is_free() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.01").free_paths(["/docs/{*rest}", "/health"]));
    for free in ["/docs/a", "/docs/a/b", "/health", "/health?x=//"] {
        assert_eq!(get(free).send(&app).await.status, 200, "{free}");
    }
    let hits = world.hits.get();
    for target in [
        "/paid",
        "/docs",
        "/health/",
        "/Health",
        "/health;x",
        "/docs//a",
        "//docs/a",
        "/docs/../paid",
        "/docs/./../paid",
        "/docs/..",
        "/docs/%2e%2e/paid",
        "/docs/%2E%2E%2Fpaid",
        "/docs/..%2fpaid",
        "/docs/..%5cpaid",
        "/docs/%252e%252e/paid",
        "/docs/..;/paid",
        "/docs/a%00",
        "/docs/%zz",
        "/docs/%",
        "/%64ocs/a",
        "/paid?/docs/a",
    ] {
        let got = get(target).send(&app).await;
        assert_eq!(got.status, 402, "{target}");
    }
    assert_eq!((world.hits.get(), world.ledger.captures()), (hits, 0));
}

fn pages(gone: Arc<AtomicBool>) -> impl Fn(Wanted) -> std::future::Ready<Result<(), Response>> {
    move |wanted| {
        let found = wanted.path().starts_with("/pages/") && !gone.load(Ordering::SeqCst);
        std::future::ready(match found {
            true if wanted.body.len() > 3 => Err((StatusCode::BAD_REQUEST, "too long").into_response()),
            true => Ok(()),
            false => Err((StatusCode::NOT_FOUND, [("etag", "\"none\"")], "no such page").into_response()),
        })
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_free_404_without_terms() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.01").check(pages(Arc::default())));
    for (ask, status, text) in
        [(get("/none"), 404, "no such page"), (post("/pages/1", b"long"), 400, "too long")]
    {
        let got = ask.send(&app).await;
        assert_eq!((got.status.as_u16(), got.text()), (status, text));
        assert!(!got.headers.contains_key("payment-required") && !got.headers.contains_key("link"));
        assert_eq!(got.headers["cache-control"], "no-store");
    }
    assert_eq!(world.count(), (0, 0, vec![]));
    assert_eq!(get("/pages/1").send(&app).await.status, 402);
    assert_eq!(get("/pages/1").pay(&app).await.send(&app).await.status, 200);
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
}

#[tokio::test]
async fn t37_an_unpaid_head_says_whether_there_is_something_to_buy_and_no_more() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.01").check(pages(Arc::default())));
    for (target, status) in [("/none", 404), ("/pages/1", 402)] {
        let got = by(Method::HEAD, target).send(&app).await;
        assert_eq!((got.status.as_u16(), got.body.len()), (status, 0));
        assert!(got.headers.get("content-length").is_none_or(|length| length == "0"));
    }
    assert_eq!(world.count(), (0, 0, vec![]));
    assert_eq!(by(Method::HEAD, "/pages/1").pay(&app).await.send(&app).await.status, 200);
}

#[tokio::test]
async fn a_payment_for_what_is_gone_is_not_taken_and_one_that_was_taken_keeps_its_answer() {
    let (world, gone) = (World::new(), Arc::new(AtomicBool::new(false)));
    let app = shop(&world, world.paywall.price("$0.01").check(pages(gone.clone())));
    let (bought, waiting) = (get("/pages/1").pay(&app).await, get("/pages/1").pay(&app).await);
    let paid = bought.send(&app).await;
    assert_eq!(paid.status, 200);
    gone.store(true, Ordering::SeqCst);
    let got = waiting.send(&app).await;
    assert_eq!((got.status.as_u16(), got.text()), (404, "no such page"));
    assert_eq!(world.ledger.state(&waiting.id()), "absent");
    let again = bought.send(&app).await;
    assert_eq!((again.status.as_u16(), again.text()), (200, paid.text()));
    gone.store(false, Ordering::SeqCst);
    assert_eq!(waiting.send(&app).await.status, 200);
    assert_eq!((world.hits.get(), world.ledger.captures()), (2, 2));
}

#[tokio::test]
async fn a_price_that_no_rail_can_offer_stops_the_start() {
    let world = two_rails();
    let price = || world.paywall.price("$0.01");
    let unpriced = |layer: Result<PriceLayer, ConfigError>| match layer {
        Err(ConfigError::Unpriced { price, network, .. }) => (price, network),
        other => panic!("{other:?}"),
    };
    let (eur, fine) = (("1 EUR".to_owned(), "test:one".to_owned()), "0.0000001 XTS".to_owned());
    assert_eq!(unpriced(world.paywall.try_price("1 EUR")), eur);
    assert_eq!(unpriced(price().try_or_price("1 EUR")), eur);
    assert_eq!(unpriced(price().try_for_method(Method::PUT, "1 EUR")), eur);
    assert_eq!(unpriced(price().try_or_price("0.0000001 XTS")), (fine, "test:coins".into()));
    assert!(matches!(price().try_or_price("much"), Err(ConfigError::Price(_))));
    assert!(matches!(price().try_free_paths(["docs"]), Err(ConfigError::FreePath(_))));
    assert!(price().try_or_price("1 XTS").and_then(|p| p.try_for_method(Method::PUT, "2 XTS")).is_ok());
}

async fn sold(app: &Router, ask: &Asking) -> Sold {
    let response = app.clone().oneshot(ask.build()).await.unwrap();
    response.extensions().get::<Sold>().unwrap().clone()
}

#[tokio::test]
async fn every_answer_says_what_was_sold() {
    let world = World::new();
    let layer = world.paywall.price("$0.01").free_paths(["/health"]).free_method(Method::PUT);
    let (app, named) = (shop(&world, layer.clone()), shop(&world, layer.name("pages")));
    let unpaid = sold(&app, &get("/a")).await;
    assert_eq!((unpaid.situation, &*unpaid.route, unpaid.payment), (Situation::Unpaid, "/{*path}", None));
    for ask in [get("/health"), by(Method::PUT, "/a"), by(Method::OPTIONS, "/a")] {
        assert_eq!(sold(&app, &ask).await.situation, Situation::Free);
    }
    let signed = get("/a").pay(&app).await;
    let paid = sold(&named, &signed.request()).await;
    assert_eq!((paid.situation, &*paid.route, paid.replayed), (Situation::Paid, "pages", false));
    assert_eq!((paid.payment, paid.payer.as_deref()), (Some(signed.id()), Some("alice")));
    assert_eq!((paid.amount.unwrap().0, paid.held.unwrap().0), (10_000, 10_000));
    assert_eq!((paid.asset.as_deref(), paid.network.unwrap().as_str()), (Some("USD"), "test:one"));
    let again = sold(&named, &signed.request()).await;
    assert_eq!((again.situation, again.replayed, again.amount.unwrap().0), (Situation::Paid, true, 10_000));
    let other = sold(&named, &signed.send_elsewhere("/b")).await;
    assert_eq!((other.situation, other.amount, other.asset), (Situation::OtherRequest, None, None));
}

impl Signed {
    fn send_elsewhere(&self, target: &str) -> Asking {
        Self { ask: get(target), ..self.clone() }.request()
    }
}
