//! Prices by request, to which the seller is held without remembering them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use axum::Router;
use axum::routing::any;
use farthing_protocol::Price;
use farthing_server::{ConfigError, Paywall, PriceLayer, Wanted};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::chain;
use crate::scripted::*;
use crate::shopping::*;

/// A seller that asks so many cents for each byte, of query and body.
#[derive(Clone, Default)]
struct Seller {
    cents: Arc<AtomicU64>,
    asked: Arc<AtomicUsize>,
}

impl Seller {
    fn new(cents: u64) -> Self {
        let seller = Self::default();
        seller.cents.store(cents, Ordering::SeqCst);
        seller
    }

    fn says(&self, cents: u64) {
        self.cents.store(cents, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn layer(&self, paywall: &Paywall) -> PriceLayer {
        let seller = self.clone();
        paywall.dynamic(move |wanted: Wanted| {
            seller.asked.fetch_add(1, Ordering::SeqCst);
            let cents =
                seller.cents.load(Ordering::SeqCst) * (wanted.query().len() + wanted.body.len()) as u64;
            async move {
                if cents == 0 {
                    return Err((StatusCode::NOT_FOUND, "nothing to sell"));
                }
                assert!(!wanted.headers.contains_key("payment-signature"));
                Ok(format!("{}.{:02} USD", cents / 10_000, cents % 10_000).parse::<Price>().unwrap())
            }
        })
    }
}

fn shop(world: &World, layer: PriceLayer) -> Router {
    priced(&world.hits, layer)
}

fn priced(hits: &Counter, layer: PriceLayer) -> Router {
    let hits = hits.clone();
    let handler = move || async move {
        hits.hit();
        "content"
    };
    Router::new().route("/a", any(handler)).layer(layer)
}

fn amount(got: &Got) -> u128 {
    got.terms().offers().next().unwrap().amount.0
}

#[tokio::test]
async fn each_request_has_the_price_that_the_seller_says() {
    let (world, seller) = (World::new(), Seller::new(1));
    let app = shop(&world, seller.layer(&world.paywall));
    for (ask, price) in [
        (get("/a?x"), 10_000),
        (get("/a?xy"), 20_000),
        (post("/a", b"abc"), 30_000),
        (post("/a?x", b"abc"), 40_000),
    ] {
        assert_eq!(amount(&ask.send(&app).await), price);
        let paid = ask.pay(&app).await.send(&app).await;
        assert_eq!((paid.status.as_u16(), paid.settlement().amount.unwrap().0), (200, price));
    }
    assert_eq!((world.hits.get(), world.ledger.captures()), (4, 4));
}

#[tokio::test]
async fn t06_a_quote_for_a_cheap_request_does_not_open_a_dear_one() {
    let (world, seller) = (World::new(), Seller::new(1));
    let app = shop(&world, seller.layer(&world.paywall));
    let cheap = get("/a?x").pay(&app).await;
    let got = cheap.send_to(get("/a?a-hundred-times-as-much"), &app).await;
    assert_eq!(got.code(), (409, "bound-to-other-request".into(), "new".into()));
    // The same, signed for the dear request, with the cheap one's offer.
    let dear = get("/a?a-hundred-times-as-much").pay(&app).await;
    let digest = dear.payment["payload"]["signed"]["digest"].clone();
    let forged = Signed { ask: dear.ask.clone(), ..cheap.clone() }.change("/payload/signed/digest", digest);
    let got = forged.send(&app).await;
    assert_eq!(got.code(), (402, "payment-refused".into(), "new".into()));
    assert_eq!(got.problem()["field"], "accepted.amount");
    assert_eq!(world.count(), (0, 0, vec![]));
    assert_eq!((cheap.send(&app).await.status.as_u16(), dear.send(&app).await.status.as_u16()), (200, 200));
}

#[tokio::test]
async fn what_was_quoted_is_what_is_paid_whatever_the_seller_says_by_then() {
    let (world, seller) = (World::new(), Seller::new(1));
    let app = shop(&world, seller.layer(&world.paywall));
    let signed = get("/a?x").pay(&app).await;
    let asked = seller.asked();
    seller.says(7);
    let paid = signed.send(&app).await;
    assert_eq!((paid.status.as_u16(), paid.settlement().amount.unwrap().0), (200, 10_000));
    // A quote is good for stored answers, too.
    world.pass(2000);
    assert_eq!(signed.send(&app).await.status, 200);
    assert_eq!(seller.asked(), asked);
    assert_eq!((world.hits.get(), world.ledger.captures()), (1, 1));
    assert_eq!(amount(&get("/a?x").send(&app).await), 70_000);
}

#[tokio::test]
async fn without_a_good_quote_the_seller_is_asked_anew_and_another_price_is_402() {
    let (world, seller) = (World::new(), Seller::new(1));
    let app = shop(&world, seller.layer(&world.paywall));
    let good = get("/a?x").pay(&app).await;
    let without = |mut signed: Signed| {
        signed.payment["accepted"]["extra"].as_object_mut().unwrap().remove("quote");
        signed
    };
    let quote =
        |member: &str, value: Value| good.clone().change(&format!("/accepted/extra/quote/{member}"), value);
    let spoiled = [
        without(good.clone()),
        quote("mac", json!("")),
        quote("mac", json!("00".repeat(32))),
        quote("expires", json!(NOW + 100_000)),
        quote("key", json!("0000000000000000")),
        quote("price", json!("0.02 USD")),
        good.clone().change("/accepted/extra/quote", json!(null)),
        good.clone().change("/accepted/extra/until", json!(NOW + 901)),
        // It could be authorized after the quote has expired.
        good.clone().change("/payload/signed/validBefore", json!(NOW + 601)),
    ];
    seller.says(2);
    for (number, signed) in spoiled.iter().enumerate() {
        let asked = seller.asked();
        let got = signed.send(&app).await;
        assert_eq!(got.code(), (402, "payment-refused".into(), "new".into()), "{number}");
        assert_eq!((got.problem()["field"].as_str(), amount(&got)), (Some("accepted.amount"), 20_000));
        assert_eq!(seller.asked(), asked + 1);
    }
    assert_eq!(world.count(), (0, 0, vec![]));
    seller.says(1);
    assert_eq!(without(get("/a?x").pay(&app).await).send(&app).await.status, 200);
    seller.says(2);
    assert_eq!(good.send(&app).await.settlement().amount.unwrap().0, 10_000);
    assert_eq!((world.hits.get(), world.ledger.captures()), (2, 2));
}

#[tokio::test]
async fn a_quote_cannot_be_spent_at_another_shop_or_on_another_offer() {
    let (world, seller) = (World::new(), Seller::new(1));
    let app = shop(&world, seller.layer(&world.paywall));
    let good = get("/a?x").pay(&app).await;
    let other = World::with(rail("auth-capture"), |builder| builder.quote_keys([[9; 32]]));
    let elsewhere = shop(&other, seller.layer(&other.paywall));
    seller.says(3);
    assert_eq!(amount(&good.send(&elsewhere).await), 30_000);
    let dear = good.clone().change("/accepted/amount", "1").change("/payload/signed/amount", "1");
    assert_eq!(amount(&dear.send(&app).await), 30_000);
    assert_eq!((other.count(), world.count()), ((0, 0, vec![]), (0, 0, vec![])));
    assert_eq!(good.send(&app).await.status, 200);
}

#[tokio::test]
async fn two_keys_are_valid_at_once_so_that_one_can_replace_the_other() {
    let seller = Seller::new(1);
    let process = |keys: Vec<[u8; 32]>| {
        let world = World::with(rail("auth-capture"), |builder| builder.quote_keys(keys));
        let app = shop(&world, seller.layer(&world.paywall));
        (world, app)
    };
    let (old, both, new) = (process(vec![[1; 32]]), process(vec![[2; 32], [1; 32]]), process(vec![[2; 32]]));
    let (by_old, by_both) = (get("/a?x").pay(&old.1).await, get("/a?x").pay(&both.1).await);
    seller.says(2);
    for (signed, app, status) in
        [(&by_old, &both.1, 200), (&by_both, &new.1, 200), (&by_old, &new.1, 402), (&by_both, &old.1, 402)]
    {
        assert_eq!(signed.send(app).await.status.as_u16(), status);
    }
}

#[tokio::test]
async fn t49_a_weak_quote_key_stops_the_start() {
    for keys in [vec![vec![]], vec![vec![1; 31]], vec![vec![1; 32], vec![]], vec![]] {
        let builder = Paywall::builder(ORIGIN.parse().unwrap())
            .rail(Arc::new(rail("exact")))
            .facilitator(Arc::new(Ledger::default()))
            .receipt_key(receipt_key());
        let error = builder.quote_keys(keys).build().unwrap_err();
        assert!(matches!(error, ConfigError::QuoteKeys { .. }), "{error}");
    }
}

#[tokio::test]
async fn what_the_seller_does_not_sell_is_answered_as_it_says_and_free() {
    let (world, seller) = (World::new(), Seller::new(1));
    let app = shop(&world, seller.layer(&world.paywall));
    let got = get("/a").send(&app).await;
    assert_eq!((got.status.as_u16(), got.text()), (404, "nothing to sell"));
    assert!(!got.headers.contains_key("payment-required"));
    assert_eq!(got.headers["cache-control"], "no-store");
    assert_eq!(world.count(), (0, 0, vec![]));
    assert_eq!(get("/a?x").send(&app).await.status, 402);
}

#[tokio::test]
async fn a_price_that_no_rail_can_express_is_the_sellers_error() {
    let world = World::new();
    for price in ["1 EUR", "0.0000001 USD", "0 USD"] {
        let layer =
            world.paywall.dynamic(move |_| async move { Ok::<Price, StatusCode>(price.parse().unwrap()) });
        let got = get("/a").send(&shop(&world, layer)).await;
        assert_eq!(got.code(), (500, "internal".into(), "new".into()), "{price}");
    }
    assert_eq!(world.count(), (0, 0, vec![]));
}

#[tokio::test]
async fn a_dynamic_price_goes_with_listed_ones() {
    let (world, seller) = (World::new(), Seller::new(1));
    let layer = seller.layer(&world.paywall).or_price("$0.07").for_method(Method::PUT, "$0.09");
    let app = shop(&world, layer);
    let terms = get("/a?x").send(&app).await.terms();
    let offers: Vec<_> = terms.offers().collect();
    assert_eq!(offers.iter().map(|offer| offer.amount.0).collect::<Vec<_>>(), [10_000, 70_000]);
    let asked = seller.asked();
    seller.says(3);
    for offer in offers {
        let amount = offer.amount;
        let paid = Signed::accepting(get("/a?x"), offer).send(&app).await;
        assert_eq!((paid.status.as_u16(), paid.settlement().amount), (200, Some(amount)));
    }
    let put = Asking { method: Method::PUT, ..get("/a?x") };
    let paid = put.pay(&app).await.send(&app).await;
    assert_eq!((paid.status.as_u16(), paid.settlement().amount.unwrap().0), (200, 90_000));
    assert_eq!(seller.asked(), asked);
    assert_eq!((world.hits.get(), world.ledger.captures()), (3, 3));
}

#[tokio::test]
async fn listed_prices_are_not_quoted() {
    let world = World::new();
    let app = shop(&world, world.paywall.price("$0.01"));
    let got = get("/a").send(&app).await;
    assert!(got.terms().offers().all(|offer| !offer.extra.contains_key("quote")));
}

#[tokio::test]
async fn t06_a_quote_is_bound_to_its_request_where_the_payment_is_not() {
    let (street, seller) = (chain::Street::new(), Seller::new(1));
    let app = priced(&street.hits, seller.layer(&street.paywall(chain::chain_rail("exact"))));
    let signed = chain::pay(get("/a?x"), &app).await;
    seller.says(2);
    let got = signed.send_to(get("/a?y"), &app).await;
    assert_eq!(got.code(), (402, "payment-refused".into(), "new".into()));
    assert_eq!((got.problem()["field"].as_str(), amount(&got)), (Some("accepted.amount"), 20_000));
    assert_eq!((street.hits.get(), street.chain.transactions()), (0, 0));
    let paid = signed.send(&app).await;
    assert_eq!((paid.status.as_u16(), paid.settlement().amount.unwrap().0), (200, 10_000));
    assert_eq!((street.hits.get(), street.chain.transactions()), (1, 1));
}
