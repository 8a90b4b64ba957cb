//! Threats C: servers that want more than they may have, against the real client and a real wallet. The
//! oracles are the wallet's signatures, the ledger's captures, and what the client counts as spent.

mod asking;
mod delivery;
#[cfg(unix)]
mod processes;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use farthing::client::budget::Limit;
use farthing::client::flow::{Action, Answer, Event};
use farthing::client::{AssetId, ClientBuilder, ClientError, Fault, Flow, Patience, Request, Rule};
use farthing::facilitator::RemoteFacilitator;
use farthing::native::NativePay;
use farthing::protocol::header::PAYMENT_REQUIRED;
use farthing::protocol::rail::Pay;
use farthing::protocol::{Amount, Retry};
use farthing::{Budget, Client, Paywall};
use farthing_testkit::hostile::{CountingWallet, Hostile, Pricing, asks, redirect, say};
use farthing_testkit::{Counter, World, key};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

fn routes(paywall: Paywall, hits: Counter) -> Router {
    let page = move || async move { format!("page {}", hits.hit("page")) };
    Router::new()
        .route("/page", get(page.clone()).layer(paywall.price("0.01 XTS")))
        .route("/dear", get(page.clone()).layer(paywall.price("0.05 XTS")))
        .route("/free", get(page))
}

async fn wallet(world: &World) -> Arc<CountingWallet> {
    let facilitator = world.ledger.facilitator();
    CountingWallet::new(NativePay::connect(facilitator, None, key(1)).await.unwrap())
}

fn agent(wallet: &Arc<CountingWallet>, budget: Budget) -> ClientBuilder {
    let patience = Patience { pause: Duration::from_millis(1), tries: 3, ..Patience::default() };
    Client::builder().allow_any_origin().rail(wallet.clone()).budget(budget).patience(patience)
}

/// A client with one XTS to spend.
fn client(wallet: &Arc<CountingWallet>) -> Client {
    agent(wallet, Budget::new("1 XTS").unwrap()).build().unwrap()
}

/// What counts: (taken, reserved), in atomic units.
fn spent(client: &Client, wallet: &CountingWallet) -> (u128, u128) {
    let asset = AssetId { network: wallet.network().clone(), asset: "XTS".into() };
    let spent = client.spent(&asset).unwrap();
    (spent.taken.0, spent.reserved.0)
}

/// The rule by which a request was not paid.
fn rule(result: Result<farthing::client::Paid, ClientError>) -> Rule {
    match result {
        Err(error @ ClientError::Refused(_)) => {
            assert_eq!((error.at_fault(), error.retry()), (Fault::Policy, Retry::None));
            let ClientError::Refused(refused) = error else { unreachable!() };
            refused.rule
        }
        other => panic!("{other:?}"),
    }
}

/// The same client still pays an honest server.
async fn pays(world: &World, client: &Client, wallet: &CountingWallet) {
    let (signed, captures) = (wallet.signed(), world.captures().await);
    let answer = client.get(&format!("{}/page", world.origin)).await.unwrap();
    assert!(answer.payment().unwrap().is_proven(), "{answer:?}");
    assert_eq!((wallet.signed(), world.captures().await), (signed + 1, captures + 1));
}

#[tokio::test]
async fn t26_a_price_that_rises_after_the_payment_or_after_the_quote_is_not_paid() {
    let world = World::start(routes).await;
    let (pricing, wallet) = (Pricing::of(&world).await, wallet(&world).await);
    let client = client(&wallet);
    let prices = pricing.clone();
    let baiting = Hostile::start(move |origin, seen| {
        let price = if seen.nth == 0 { "0.01 XTS" } else { "0.1 XTS" };
        asks(&[prices.offer(origin, seen, price)])
    })
    .await;
    let error = client.get(&baiting.at("/page")).await.unwrap_err();
    assert!(matches!(error, ClientError::PaymentRefused(_)), "{error}");
    assert_eq!((wallet.signed(), baiting.payments().len(), baiting.seen().len()), (1, 1, 2));
    assert_eq!(spent(&client, &wallet), (0, 10_000));
    assert_eq!(world.captures().await, 0);

    // A price that was looked up before is the most that is paid.
    let prices = pricing.clone();
    let rising = Hostile::start(move |origin, seen| {
        let price = if seen.nth == 0 { "0.01 XTS" } else { "0.010001 XTS" };
        asks(&[prices.offer(origin, seen, price)])
    })
    .await;
    let quote = client.quote(&rising.at("/page")).await.unwrap();
    assert_eq!(quote.offers.len(), 1);
    assert_eq!(rule(client.get(&rising.at("/page")).quoted(&quote).await), Rule::PriceRose);
    assert_eq!(rule(client.get(&rising.at("/page")).max_price("0.01 XTS").await), Rule::MaxPrice);
    assert_eq!((wallet.signed(), rising.payments().len()), (1, 0));

    let url = format!("{}/page", world.origin);
    let quote = client.quote(&url).await.unwrap();
    let answer = client.get(&url).quoted(&quote).max_price("0.01 XTS").await.unwrap();
    assert!(answer.payment().unwrap().is_proven());
    assert_eq!((wallet.signed(), world.captures().await), (2, 1));
}

#[tokio::test]
async fn t26_amounts_are_whole_units_and_their_scale_is_the_ledgers() {
    let world = World::start(routes).await;
    let (pricing, wallet) = (Pricing::of(&world).await, wallet(&world).await);
    let client = client(&wallet);
    type Bait = fn(&mut Value);
    let baits: [(Bait, Rule); 13] = [
        (|offer| offer["extra"]["decimals"] = json!(2), Rule::UnitsDiffer),
        (|offer| offer["extra"]["scale"] = json!(18), Rule::UnitsDiffer),
        (|offer| offer["extra"]["decimals"] = json!("6"), Rule::UnitsDiffer),
        (|offer| offer["amount"] = json!("0.01"), Rule::Offer),
        (|offer| offer["amount"] = json!("1e4"), Rule::Offer),
        (|offer| offer["amount"] = json!("010000"), Rule::Offer),
        (|offer| offer["amount"] = json!("-1"), Rule::Offer),
        (|offer| offer["amount"] = json!(10_000), Rule::Offer),
        (|offer| offer["amount"] = json!("340282366920938463463374607431768211456"), Rule::Offer),
        (|offer| offer["asset"] = json!("XTS2"), Rule::UnknownAsset),
        (|offer| offer["asset"] = json!("USD"), Rule::NoBudget),
        (|offer| offer["extra"]["maxFeeBps"] = json!(9_000), Rule::Offer),
        (|offer| offer["extra"]["requestDigest"] = json!("00".repeat(32)), Rule::ForeignDigest),
    ];
    for (at, (bait, expected)) in baits.into_iter().enumerate() {
        let prices = pricing.clone();
        let server = Hostile::start(move |origin, seen| {
            let mut offer = prices.offer(origin, seen, "0.01 XTS");
            bait(&mut offer);
            asks(&[offer])
        })
        .await;
        assert_eq!(rule(client.get(&server.at("/page")).await), expected, "bait {at}");
        assert_eq!((server.seen().len(), wallet.signed()), (1, 0));
    }
    // What an offer says of itself in words counts for nothing, and its units cost what they cost.
    let prices = pricing.clone();
    let server = Hostile::start(move |origin, seen| {
        let mut offer = prices.offer(origin, seen, "2 XTS");
        offer["extra"]["name"] = json!("0.01 XTS");
        offer["extra"]["price"] = json!("0.01 XTS");
        asks(&[offer])
    })
    .await;
    assert!(matches!(rule(client.get(&server.at("/page")).await), Rule::OverBudget(_)));
    assert_eq!((wallet.signed(), spent(&client, &wallet)), (0, (0, 0)));
    pays(&world, &client, &wallet).await;
}

#[tokio::test]
async fn budgets_hold_for_a_request_a_host_and_altogether() {
    let world = World::start(routes).await;
    let branch = world.branch(world.ledger.facilitator(), routes).await;
    let wallet = wallet(&world).await;
    let budget = Budget::new("0.05 XTS").unwrap();
    let budget = budget.per_request("0.01 XTS").unwrap().per_host("0.03 XTS").unwrap();
    let client = agent(&wallet, budget).build().unwrap();
    let over = |result, limit: Limit, left: u128| match rule(result) {
        Rule::OverBudget(over) => assert_eq!((over.limit, over.left), (limit, Amount(left))),
        other => panic!("{other:?}"),
    };
    let (here, there) = (format!("{}/page", world.origin), format!("{}/page", branch.origin));
    over(client.get(&format!("{}/dear", world.origin)).await, Limit::PerRequest, 10_000);
    for _ in 0..3 {
        assert!(client.get(&here).await.unwrap().payment().unwrap().is_proven());
    }
    over(client.get(&here).await, Limit::PerHost, 0);
    for _ in 0..2 {
        assert!(client.get(&there).await.unwrap().payment().unwrap().is_proven());
    }
    over(client.get(&there).await, Limit::Total, 0);
    assert_eq!((wallet.signed(), world.captures().await), (5, 5));
    assert_eq!((world.hits.of("page"), branch.hits.of("page")), (3, 2));
    assert_eq!(spent(&client, &wallet), (50_000, 0));
    assert_eq!(world.balance().await, 100_000_000 - 50_000);
    // What is free is still free.
    assert_eq!(client.get(&format!("{}/free", world.origin)).await.unwrap().status, 200);
}

#[tokio::test]
async fn t30_five_hundred_concurrent_calls_on_a_budget_for_ten_sign_ten() {
    let world = World::start(routes).await;
    let wallet = wallet(&world).await;
    let client = agent(&wallet, Budget::new("0.109999 XTS").unwrap()).build().unwrap();
    let url = format!("{}/page", world.origin);
    let calls: Vec<_> = (0..500)
        .map(|_| {
            let (client, url) = (client.clone(), url.clone());
            tokio::spawn(async move { client.get(&url).await })
        })
        .collect();
    let mut paid = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(answer) => paid += usize::from(answer.payment().unwrap().is_proven()),
            Err(error) => assert!(matches!(rule(Err(error)), Rule::OverBudget(_))),
        }
    }
    assert_eq!((paid, wallet.signed(), world.hits.all(), world.captures().await), (10, 10, 10, 10));
    assert_eq!(spent(&client, &wallet), (100_000, 0));
}

#[tokio::test]
async fn payments_go_over_https_or_stay_on_this_machine() {
    let world = World::start(routes).await;
    let (pricing, wallet) = (Pricing::of(&world).await, wallet(&world).await);
    let now = world.clock.now();
    for (origin, pays) in [
        ("http://192.0.2.1", false),
        ("http://192.0.2.1:4021", false),
        ("http://[2001:db8::1]", false),
        ("http://shop.example", false),
        ("http://localhost.example", false),
        ("http://127.0.0.1.example", false),
        ("https://192.0.2.1", true),
        ("http://127.0.0.1:4021", true),
        ("http://[::1]:4021", true),
        ("http://localhost:4021", true),
    ] {
        // The client's own machine, without the wire: nothing is sent anywhere.
        let before = wallet.signed();
        let policy = agent(&wallet, Budget::new("1 XTS").unwrap()).policy().unwrap();
        let request = Request::new(Method::GET, &format!("{origin}/page")).unwrap();
        let mut flow = Flow::pay(policy, request);
        assert!(matches!(flow.step(Event::Start, now, [0; 32]), Action::Send));
        let seen = farthing_testkit::hostile::Seen {
            method: Method::GET,
            target: "/page".into(),
            headers: HeaderMap::new(),
            nth: 0,
        };
        let unpaid = asks(&[pricing.offer(origin, &seen, "0.01 XTS")]);
        let headers = HeaderMap::from_iter([(
            PAYMENT_REQUIRED.parse().unwrap(),
            unpaid.headers()[PAYMENT_REQUIRED].clone(),
        )]);
        let answer =
            Answer { status: StatusCode::PAYMENT_REQUIRED, headers, body: "".into(), complete: true };
        let mut action = flow.step(Event::Answered(answer), now, [1; 32]);
        if let Action::LookUp = action {
            action = flow.step(Event::LookedUp(Ok(())), now, [1; 32]);
        }
        match action {
            Action::SendPaid { .. } => assert!(pays, "{origin}"),
            Action::Done(end) => {
                let Err(ClientError::Refused(refused)) = *end else { panic!("{origin}: {end:?}") };
                assert!(!pays && refused.rule == Rule::PlainHttp, "{origin}: {refused}");
            }
            other => panic!("{origin}: {other:?}"),
        }
        assert_eq!(wallet.signed() - before, usize::from(pays), "{origin}");
    }
}

#[tokio::test]
async fn t45_no_payment_follows_a_redirect_and_no_url_of_a_peer_is_fetched() {
    let world = World::start(routes).await;
    let (pricing, wallet) = (Pricing::of(&world).await, wallet(&world).await);
    let client = client(&wallet);
    let stranger = Hostile::start(|_, _| say(200, "thanks")).await;
    let (away, prices) = (stranger.at("/page"), pricing.clone());
    let server = Hostile::start(move |origin, seen| match (seen.payment(), seen.target.as_str()) {
        (None, "/unpaid") => redirect(302, &away),
        (Some(_), "/paid/301") => redirect(301, &away),
        (Some(_), "/paid/302") => redirect(302, &away),
        (Some(_), "/paid/303") => redirect(303, &away),
        (Some(_), "/paid/307") => redirect(307, &away),
        (Some(_), "/paid/308") => redirect(308, &away),
        (Some(_), "/paid/same") => redirect(307, "/elsewhere"),
        (Some(_), _) => say(200, "paid"),
        (None, _) => asks(&[prices.offer(origin, seen, "0.01 XTS")]),
    })
    .await;
    assert_eq!(client.get(&server.at("/unpaid")).await.unwrap().status, 302);
    assert_eq!(wallet.signed(), 0);
    for (nth, target) in
        ["/paid/301", "/paid/302", "/paid/303", "/paid/307", "/paid/308", "/paid/same"].iter().enumerate()
    {
        let answer = client.get(&server.at(target)).await.unwrap();
        assert!(answer.status.is_redirection(), "{target} is {}", answer.status);
        assert_eq!((wallet.signed(), server.payments().len()), (nth + 1, nth + 1), "{target}");
    }
    assert!(stranger.seen().is_empty(), "{:?}", stranger.seen());
    assert!(server.seen().iter().all(|seen| seen.target != "/elsewhere"));

    // Nor is a facilitator asked over plain http on another machine.
    for url in
        ["http://169.254.169.254/", "http://10.0.0.1/", "http://[::ffff:10.0.0.1]/", "ftp://127.0.0.1/"]
    {
        assert!(RemoteFacilitator::builder(url).build().is_err(), "{url}");
    }
    for url in ["https://169.254.169.254/", "http://127.0.0.1:4021/"] {
        assert!(RemoteFacilitator::builder(url).build().is_ok(), "{url}");
    }

    // A server fetches no URL that a payer writes into a payment.
    let payment = world.pay("GET", "/page", b"").await;
    let mut payload: Value = serde_json::from_str(&farthing_testkit::forge::open(&payment)).unwrap();
    payload["resource"] = json!({"url": stranger.at("/resource"), "iconUrl": stranger.at("/icon")});
    payload["extensions"]["callback"] = json!({"url": stranger.at("/callback")});
    payload["extensions"]["facilitator"] = json!(stranger.at("/facilitator"));
    let payment = farthing_testkit::forge::seal(payload.to_string());
    assert_eq!(world.send_paid("GET", "/page", &payment, b"").await.status, 200);
    assert!(stranger.seen().is_empty());
    pays(&world, &client, &wallet).await;
}

#[tokio::test]
async fn a_402_of_somebody_elses_is_an_ordinary_error() {
    let world = World::start(routes).await;
    let wallet = wallet(&world).await;
    let client = client(&wallet);
    let stripe = json!({"error": {"type": "card_error", "code": "card_declined", "decline_code": "generic_decline",
        "doc_url": "https://stripe.example/docs/error-codes/card-declined", "message": "Your card was declined."}});
    let paypal = json!({"name": "INSTRUMENT_DECLINED", "message": "The instrument was declined.",
        "details": [{"issue": "INSTRUMENT_DECLINED"}]});
    let shopify = json!({"errors": "Unavailable Shop"});
    let quota = json!({"error": {"message": "You exceeded your current quota\u{1b}[2J", "type": "insufficient_quota",
        "code": "insufficient_quota"}});
    let v1 = json!({"x402Version": 1, "error": "X-PAYMENT header is required", "accepts": [{"scheme": "exact",
        "network": "base", "maxAmountRequired": "10", "resource": "https://a.example/", "description": "",
        "payTo": "0x0", "maxTimeoutSeconds": 60, "asset": "0x0"}]});
    let foreign = json!({"x402Version": 2, "resource": {"url": "https://a.example/"}, "accepts": []});
    let cases: [(String, &[&str]); 7] = [
        (
            stripe.to_string(),
            &["code: card_declined", "message: Your card was declined.", "see: https://stripe.example/docs"],
        ),
        (paypal.to_string(), &["cannot be paid"]),
        (shopify.to_string(), &["cannot be paid"]),
        (quota.to_string(), &["code: insufficient_quota", "You exceeded your current quota\\u{1b}[2J"]),
        (v1.to_string(), &["version 1"]),
        (foreign.to_string(), &["no PAYMENT-REQUIRED"]),
        ("<html>Payment Required</html>".into(), &["no PAYMENT-REQUIRED"]),
    ];
    for (body, says) in cases {
        let server = Hostile::start(move |_, _| say(402, body.clone())).await;
        let error = client.get(&server.at("/")).await.unwrap_err();
        assert!(matches!(error, ClientError::NotPayable(_)), "{error}");
        assert_eq!((error.at_fault(), error.retry()), (Fault::Server, Retry::None));
        for said in says {
            assert!(error.to_string().contains(said), "{error}");
        }
        assert!(!error.to_string().chars().any(char::is_control));
        assert_eq!(server.seen().len(), 1, "never retried");
    }
    assert_eq!((wallet.signed(), spent(&client, &wallet)), (0, (0, 0)));
    pays(&world, &client, &wallet).await;
}
