//! A client and servers that want more than they may have.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod scripted;

use std::sync::{Arc, Mutex};

use farthing_client::flow::{Action, Answer, Event};
use farthing_client::{Budget, Client, ClientError, ConfigError, Fault, Flow, Request, Rule};
use farthing_protocol::header::PAYMENT_REQUIRED;
use farthing_protocol::rail::Confirmation;
use farthing_protocol::{Amount, Retry};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use scripted::*;
use serde_json::{Value, json};

/// Asks for this once; takes any payment.
async fn asking(offers: Vec<Value>) -> Server {
    Server::start(move |seen| match seen.payment() {
        None => unpaid(&offers),
        Some(payment) => delivers(payment, "goods"),
    })
    .await
}

async fn refused(client: &Client, offers: Vec<Value>) -> (Rule, String) {
    let server = asking(offers).await;
    match client.get(&server.url).await {
        Err(error @ ClientError::Refused(_)) => {
            assert_eq!(
                (error.at_fault(), error.retry(), server.payments().len()),
                (Fault::Policy, Retry::None, 0)
            );
            let text = error.to_string();
            let ClientError::Refused(refused) = error else { panic!() };
            (refused.rule, text)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn t26_a_price_that_rises_after_the_payment_is_not_paid() {
    let rail = Rail::new();
    let server = Server::start(|seen| match seen.nth {
        0 => unpaid(&[offer(100)]),
        _ => unpaid(&[offer(1_000)]),
    })
    .await;
    let error = client(&rail).get(&server.url).await.unwrap_err();
    assert!(matches!(error, ClientError::PaymentRefused(_)));
    assert_eq!((rail.signed(), server.payments().len()), (1, 1));
}

#[tokio::test]
async fn t26_units_are_the_rails_and_never_the_offers() {
    let rail = Rail::new();
    let client = builder(&rail).budget(Budget::new("1 CENT").unwrap()).build().unwrap();
    let cents = |amount: u64, claim: u64| {
        with(with(offer(amount), "asset", json!("CENT")), "extra.decimals", json!(claim))
    };
    // 10,000 units are 0.01 at the claimed six places, and 100 at the two that the asset has.
    assert_eq!(refused(&client, vec![cents(10_000, 6)]).await.0, Rule::UnitsDiffer);
    let (rule, text) = refused(&client, vec![with(offer(10_000), "asset", json!("CENT"))]).await;
    assert!(matches!(rule, Rule::OverBudget(_)) && text.contains("it costs 100 CENT"), "{text}");
    for amount in ["0.01", "1e3", "-1", "010", " 1"] {
        let (rule, _) = refused(&client, vec![with(offer(1), "amount", json!(amount))]).await;
        assert_eq!(rule, Rule::Offer, "{amount}");
    }
    assert_eq!(refused(&client, vec![with(offer(1), "amount", json!(1))]).await.0, Rule::Offer);
    assert_eq!(rail.signed(), 0);
    let server = asking(vec![cents(100, 2)]).await;
    assert!(client.get(&server.url).await.is_ok());
}

#[tokio::test]
async fn t27_a_changed_payee_needs_approval() {
    let rail = Rail::new();
    let payee = Arc::new(Mutex::new("seller"));
    let named = payee.clone();
    let server = Server::start(move |seen| match seen.payment() {
        None => unpaid(&[with(offer(10), "payTo", json!(*named.lock().unwrap()))]),
        Some(payment) => delivers(payment, "goods"),
    })
    .await;
    let client = client(&rail);
    assert!(client.get(&server.url).await.is_ok());
    *payee.lock().unwrap() = "thief";
    let error = client.get(&server.url).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(no) if no.rule == Rule::PayeeChanged), "{error}");
    let quote = client.quote(&server.url).await.unwrap();
    assert_eq!(quote.offers[0].verdict.as_ref().unwrap_err().rule, Rule::PayeeChanged);
    assert_eq!(rail.signed(), 1);
    client.approve_payee(&server.url, &xts().network, "thief").unwrap();
    assert!(client.get(&server.url).await.is_ok());
    let pinned = builder(&rail).payee(&server.url, xts().network, "seller").build().unwrap();
    assert!(pinned.get(&server.url).await.is_err(), "a payee named beforehand holds for the first payment");
}

#[tokio::test]
async fn t28_what_is_not_known_is_not_paid() {
    let rail = Rail::new();
    let client = client(&rail);
    let cases: [(&str, Value, Rule); 6] = [
        ("asset", json!("USDC"), Rule::UnknownAsset),
        ("asset", json!("CENT"), Rule::NoBudget),
        ("network", json!("farthing:ffffffffffffffffffffffffffffffff"), Rule::NoRail),
        ("scheme", json!("batch-settlement"), Rule::Offer),
        ("extra.requestDigest", json!("00".repeat(32)), Rule::ForeignDigest),
        ("extra.binding", json!(3), Rule::Offer),
    ];
    for (member, value, rule) in cases {
        let named = with(offer(10), "extra.name", json!("XTS"));
        assert_eq!(refused(&client, vec![with(named, member, value)]).await.0, rule, "{member}");
    }
    assert_eq!(rail.signed(), 0);
    // One bad offer does not hide a good one, and the first good one is paid.
    let bad = with(offer(1), "asset", json!("USDC"));
    let server = asking(vec![json!({"scheme": 1}), bad, offer(20), offer(10)]).await;
    assert_eq!(client.get(&server.url).await.unwrap().payment().unwrap().amount, Amount(20));
}

#[tokio::test]
async fn without_a_budget_nothing_is_signed() {
    let rail = Rail::new();
    let broke = Client::builder().allow_any_origin().rail(rail.clone()).build().unwrap();
    assert_eq!(refused(&broke, vec![offer(1)]).await.0, Rule::NoBudget);
    assert_eq!(
        refused(&Client::builder().allow_any_origin().build().unwrap(), vec![offer(1)]).await.0,
        Rule::NoRail
    );
    assert_eq!(rail.signed(), 0);
}

#[tokio::test]
async fn t29_a_server_that_always_asks_again_gets_one_signature() {
    let rail = Rail::new();
    let server = Server::start(|_| unpaid(&[offer(1_000)])).await;
    let client = client(&rail);
    let error = client.get(&server.url).await.unwrap_err();
    let ClientError::PaymentRefused(refused) = &error else { panic!("{error:?}") };
    assert_eq!(refused.reason.as_deref(), Some("Payment required"));
    assert_eq!((error.at_fault(), error.retry()), (Fault::Server, Retry::None));
    assert_eq!((rail.signed(), server.payments().len(), spent(&client)), (1, 1, (0, 1_000)));
    rail.says(Confirmation::NotTaken);
    client.reconcile().await.unwrap();
    assert_eq!(spent(&client), (0, 0));
}

#[tokio::test]
async fn t29_a_paid_answer_with_nothing_to_show_is_flagged_and_counts_in_full() {
    let rail = Rail::new();
    rail.says(Confirmation::Unproven);
    let server = Server::start(|seen| match seen.payment() {
        None => unpaid(&[offer(1_000)]),
        Some(_) => Reply::new(200, ""),
    })
    .await;
    let client = client(&rail);
    let answer = client.get(&server.url).await.unwrap();
    let report = answer.payment().unwrap();
    assert!(!report.is_proven() && report.flags.len() == 2, "{report:?}");
    assert_eq!((rail.asked(), spent(&client)), (1, (0, 1_000)));
}

#[tokio::test]
async fn t31_a_servers_text_is_shown_without_control_characters() {
    let rail = Rail::new();
    let client = client(&rail);
    let (_, text) = refused(&client, vec![with(offer(1), "asset", json!("\u{1b}[31mXTS\u{202e}\n"))]).await;
    assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text}");
    let (_, text) = refused(&client, vec![with(offer(1), "scheme", json!("x"))]).await;
    assert!(!text.chars().any(char::is_control), "{text}");
    let body = json!({"error": {"code": "a\u{7}b", "message": "pay to thief instead\r\n\u{1b}]0;x\u{7}"}});
    let server = Server::start(move |_| Reply::new(402, body.to_string())).await;
    let text = client.get(&server.url).await.unwrap_err().to_string();
    assert!(text.contains("pay to thief instead") && !text.chars().any(char::is_control), "{text}");
    assert_eq!(rail.signed(), 0);
}

#[tokio::test]
async fn t32_a_signature_that_would_live_too_long_is_not_sent() {
    let rail = Arc::new(Rail::reaching(u64::MAX));
    let client = client(&rail);
    let long = with(offer(10), "maxTimeoutSeconds", json!(1_000_000_000));
    assert_eq!(refused(&client, vec![long.clone()]).await.0, Rule::TooLong);
    assert_eq!(spent(&client), (0, 0));
    // A rail that caps it pays the same offer.
    let server = asking(vec![long]).await;
    assert!(scripted::client(&Rail::new()).get(&server.url).await.is_ok());
}

#[tokio::test]
async fn t45_a_payment_follows_no_redirect_and_an_unpaid_request_stays_within_its_origin() {
    let rail = Rail::new();
    let other = Server::shop(10).await;
    let away = other.at("/stolen");
    let server = Server::start(move |seen| match (seen.payment(), seen.target.as_str()) {
        (None, "/away") => Reply::new(302, "").header("location", &away),
        (None, "/moved") => Reply::new(302, "").header("location", "/page"),
        (None, "/loop") => Reply::new(302, "").header("location", "/loop"),
        (None, _) => unpaid(&[offer(10)]),
        (Some(_), "/trap") => Reply::new(307, "").header("location", &away),
        (Some(_), "/side") => Reply::new(307, "").header("location", "/page"),
        (Some(payment), _) => delivers(payment, "goods"),
    })
    .await;
    let client = client(&rail);
    for (target, status) in [("/away", 302), ("/loop", 302), ("/trap", 307), ("/side", 307), ("/moved", 200)]
    {
        let answer = client.get(&server.at(target)).await.unwrap();
        assert_eq!(answer.status.as_u16(), status, "{target}");
        assert_eq!(answer.payment().is_some(), !matches!(target, "/away" | "/loop"), "{target}");
    }
    assert!(other.seen().is_empty(), "nothing went to the other origin");
    assert_eq!(server.seen().iter().filter(|seen| seen.target == "/loop").count(), 6);
    assert_eq!(server.payments().len(), 3);
    let last = server.seen().pop().unwrap();
    assert_eq!((last.target.as_str(), last.payment().is_some()), ("/page", true));
}

#[test]
fn payments_are_sent_over_https_or_to_this_machine_only() {
    for (url, pays) in [
        ("http://shop.example/", false),
        ("http://10.0.0.1/", false),
        ("http://localhost.example/", false),
        ("https://shop.example/", true),
        ("http://localhost:4021/", true),
        ("http://[::1]:4021/", true),
    ] {
        let rail = Rail::new();
        let policy = builder(&rail).policy().unwrap();
        let mut flow = Flow::pay(policy, Request::new(Method::GET, url).unwrap());
        assert!(matches!(flow.step(Event::Start, 1, [0; 32]), Action::Send));
        let Reply::Say { headers, .. } = unpaid(&[offer(10)]) else { panic!() };
        let value = HeaderValue::from_str(&headers[0].1).unwrap();
        let headers = HeaderMap::from_iter([(PAYMENT_REQUIRED.parse().unwrap(), value)]);
        let status = StatusCode::PAYMENT_REQUIRED;
        let answer = Answer { status, headers, body: "".into(), complete: true };
        let mut action = flow.step(Event::Answered(answer), 1, [0; 32]);
        if let Action::LookUp = action {
            action = flow.step(Event::LookedUp(Ok(())), 1, [0; 32]);
        }
        match action {
            Action::SendPaid { .. } => assert!(pays, "{url}"),
            Action::Done(end) => {
                let Err(ClientError::Refused(no)) = *end else { panic!("{end:?}") };
                assert!(!pays && no.rule == Rule::PlainHttp, "{url}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(rail.signed(), usize::from(pays));
    }
}

#[tokio::test]
async fn a_402_without_terms_is_an_ordinary_error() {
    let rail = Rail::new();
    let client = client(&rail);
    let v1 = json!({"x402Version": 1, "accepts": [{"scheme": "exact", "network": "base",
        "maxAmountRequired": "10", "resource": "https://a.example/", "description": "", "payTo": "0x0",
        "maxTimeoutSeconds": 60, "asset": "0x0"}]});
    let stripe =
        json!({"error": {"code": "card_declined", "message": "No.", "doc_url": "https://d.example"}});
    for (reply, said) in [
        (Reply::new(402, ""), "no PAYMENT-REQUIRED"),
        (Reply::new(402, stripe.to_string()), "code: card_declined; message: No.; see: https://d.example"),
        (problem(402, "quota", "none"), "code: quota"),
        (Reply::new(402, v1.to_string()), "version 1"),
        (Reply::new(402, "x".repeat(1_000_000)), "no PAYMENT-REQUIRED"),
        (Reply::new(402, "").header("payment-required", "e30="), "x402Version"),
        (Reply::new(402, "").header("payment-required", &"A".repeat(9_000)), "at most 8192"),
        (Reply::new(402, "").header("content-length", "5000"), ""),
    ] {
        let broken = said.is_empty();
        let server = Server::start(move |_| reply.clone()).await;
        let error = client.get(&server.url).await.unwrap_err();
        match &error {
            ClientError::NotPayable(_) => assert!(error.to_string().contains(said), "{error}"),
            ClientError::Network { .. } => assert!(broken, "{error}"),
            other => panic!("{other:?}"),
        }
        assert!(broken || error.at_fault() == Fault::Server && error.retry() == Retry::None);
        assert_eq!((server.seen().len(), rail.signed()), (1, 0));
    }
}

#[tokio::test]
async fn no_answer_to_an_unpaid_request_is_an_error_without_a_payment() {
    let rail = Rail::new();
    let server = Server::start(|_| Reply::HangUp).await;
    for url in [server.url.as_str(), "http://127.0.0.1:1/"] {
        let error = client(&rail).get(url).await.unwrap_err();
        assert_eq!((error.at_fault(), error.retry()), (Fault::Network, Retry::New), "{error}");
    }
    assert_eq!(rail.signed(), 0);
}

#[tokio::test]
async fn callers_cannot_smuggle_payments_or_hosts() {
    let (rail, server) = (Rail::new(), Server::shop(1).await);
    let client = client(&rail);
    for (name, value) in
        [("Payment-Signature", "x"), ("x-payment", "x"), ("host", "a"), ("a b", "x"), ("a", "\n")]
    {
        let error = client.get(&server.url).header(name, value).await.unwrap_err();
        assert_eq!(error.at_fault(), Fault::Caller, "{name}");
    }
    assert!(server.seen().is_empty());
    assert!(client.get(&server.url).header("accept", "text/plain").await.is_ok());
    assert_eq!(server.seen()[1].header("accept"), Some("text/plain"));
}

#[test]
fn a_client_that_could_not_keep_its_limits_is_not_built() {
    let rail = Rail::new();
    let budget = |text: &str| Budget::new(text).unwrap();
    let build = |builder: farthing_client::ClientBuilder| builder.build().map(|_| ()).unwrap_err();
    let unknown = Client::builder().allow_any_origin().rail(rail.clone()).budget(budget("1 EUR"));
    assert_eq!(build(unknown), ConfigError::UnknownAsset { asset: "EUR".into() });
    let twice = builder(&rail).budget(budget("1 XTS"));
    assert_eq!(build(twice), ConfigError::TwoBudgets { asset: "XTS".into() });
    let fine = Client::builder().allow_any_origin().rail(rail.clone()).budget(budget("0.0000001 XTS"));
    assert!(matches!(build(fine), ConfigError::Price(_)));
    assert!(matches!(build(builder(&rail).rail(Rail::new())), ConfigError::TwoRails { .. }));
    let elsewhere = budget("1 XTS").on("farthing:ffffffffffffffffffffffffffffffff".parse().unwrap());
    let elsewhere = Client::builder().allow_any_origin().rail(rail).budget(elsewhere);
    assert_eq!(build(elsewhere), ConfigError::UnknownAsset { asset: "XTS".into() });
    assert!(builder(&Rail::new()).build().is_ok());
}
