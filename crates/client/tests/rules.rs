//! What a client will not pay by its own rules, and what it pays beside it. The signer counts.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod scripted;

use std::sync::Arc;

use farthing_client::flow::{Action, Answer, Event};
use farthing_client::{
    Budget, Client, ClientBuilder, ClientError, ConfigError, Flow, MemoryJournal, PriceRise, Quote, Refused,
    Request, Rule, RuleError,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use scripted::*;

/// 2027-01-15, 08:00 UTC.
const EIGHT: u64 = 1_800_000_000;
const URL: &str = "https://shop.example/goods";

/// A client with a budget, and no origin that it may pay.
fn wary(rail: &Arc<Rail>) -> ClientBuilder {
    Client::builder().rail(rail.clone()).budget(Budget::new("0.01 XTS").unwrap())
}

/// What becomes of one request, up to the moment when its payment would be sent.
fn visit(builder: ClientBuilder, request: Request, amount: u64, now: u64) -> Result<(), Refused> {
    let mut flow = Flow::pay(builder.policy().unwrap(), request);
    assert!(matches!(flow.step(Event::Start, now, [0; 32]), Action::Send));
    let Reply::Say { headers: said, .. } = unpaid(&[offer(amount)]) else { panic!() };
    let mut headers = HeaderMap::new();
    for (name, value) in said {
        headers.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(&value).unwrap());
    }
    let answer = Answer { status: StatusCode::PAYMENT_REQUIRED, headers, body: "".into(), complete: true };
    let mut action = flow.step(Event::Answered(answer), now, [1; 32]);
    if let Action::LookUp = action {
        action = flow.step(Event::LookedUp(Ok(())), now, random());
    }
    match action {
        Action::SendPaid { .. } => Ok(()),
        Action::Done(end) => match *end {
            Err(ClientError::Refused(refused)) => Err(*refused),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Different for each payment.
fn random() -> [u8; 32] {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut random = [0; 32];
    random[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::SeqCst).to_be_bytes());
    random
}

fn get(url: &str) -> Request {
    Request::new(Method::GET, url).unwrap()
}

fn refused(result: Result<(), Refused>, rule: Rule) {
    let refused = result.unwrap_err();
    assert_eq!(refused.rule, rule, "{refused}");
    assert!(refused.to_string().contains(rule.remedy()), "{refused}");
}

#[test]
fn only_origins_that_were_allowed_are_paid() {
    for (allowed, url, pays) in [
        (None, URL, false),
        (Some("https://shop.example"), URL, true),
        (Some("https://shop.example"), "https://shop.example:8443/goods", false),
        (Some("https://shop.example"), "https://www.shop.example/goods", false),
        (Some("https://*.example.com"), "https://a.example.com/", true),
        (Some("https://*.example.com"), "https://example.com/", false),
        (Some("https://*.example.com"), "https://example.com.evil.example/", false),
        (Some("http://127.0.0.1:4021"), "http://127.0.0.1:4021/", true),
        (Some("http://127.0.0.1:4021"), "http://127.0.0.1:4022/", false),
    ] {
        let rail = Rail::new();
        let client = allowed.into_iter().fold(wary(&rail), ClientBuilder::allow_origin);
        let result = visit(client, get(url), 10, EIGHT);
        assert_eq!((result.is_ok(), rail.signed()), (pays, usize::from(pays)), "{allowed:?} {url}");
        if !pays {
            refused(result, Rule::OriginNotAllowed);
        }
    }
    let rail = Rail::new();
    visit(wary(&rail).allow_any_origin(), get(URL), 10, EIGHT).unwrap();
    let plain = wary(&rail).allow_origin("http://shop.example").build();
    assert!(matches!(plain, Err(ConfigError::Rule(RuleError::Origin(_)))), "{plain:?}");
}

#[test]
fn nothing_is_paid_outside_the_hours() {
    for (hours, now, pays) in [
        ("08:00-18:00", EIGHT, true),
        ("08:00-18:00", EIGHT - 1, false),
        ("08:00-18:00", EIGHT + 10 * 3600, false),
        ("22:00-06:00", EIGHT, false),
        ("22:00-06:00", EIGHT - 3 * 3600, true),
    ] {
        let rail = Rail::new();
        let client = wary(&rail).allow_any_origin().hours(hours.parse().unwrap());
        let result = visit(client, get(URL), 10, now);
        assert_eq!((result.is_ok(), rail.signed()), (pays, usize::from(pays)), "{hours} {now}");
        if !pays {
            refused(result, Rule::OutsideHours);
        }
    }
}

#[test]
fn t32_what_stays_valid_or_capturable_for_too_long_is_not_sent() {
    // The scripted rail signs for 60 seconds, and lets 900 pass to the last capture.
    for (validity, capture, rule) in
        [(60, 900, None), (59, 900, Some(Rule::TooLong)), (60, 899, Some(Rule::CaptureTooLate))]
    {
        let rail = Rail::new();
        let journal = Arc::new(MemoryJournal::new());
        let client = wary(&rail).allow_any_origin().journal(journal.clone());
        let client = client.longest_validity(validity).longest_capture(capture);
        let result = visit(client, get(URL), 10, EIGHT);
        let open = farthing_client::Journal::open(&*journal).unwrap();
        assert_eq!(open.len(), usize::from(rule.is_none()), "what is refused is not in the journal");
        match rule {
            None => result.unwrap(),
            Some(rule) => {
                refused(result, rule);
                let counted = farthing_client::Journal::spending(&*journal).unwrap().total(&xts());
                assert_eq!(counted.0, 0, "and holds nothing");
            }
        }
    }
    let rail = Rail::new();
    for builder in [wary(&rail).longest_validity(3601), wary(&rail).longest_capture(0)] {
        assert!(matches!(builder.policy(), Err(ConfigError::Rule(RuleError::Seconds { .. }))));
    }
}

#[test]
fn a_price_that_rose_is_refused_at_its_place_unless_the_caller_allows_it() {
    let rail = Rail::new();
    let journal = Arc::new(MemoryJournal::new());
    let client = || wary(&rail).allow_any_origin().journal(journal.clone());
    visit(client(), get(&format!("{URL}?q=1")), 100, EIGHT).unwrap();
    visit(client(), get(&format!("{URL}?q=2")), 100, EIGHT).unwrap();
    visit(client(), get(URL), 90, EIGHT).unwrap();
    assert_eq!(rail.signed(), 3, "the same and less are paid");
    refused(visit(client(), get(URL), 100, EIGHT), Rule::PriceRose);
    refused(visit(client(), get(&format!("{URL}?q=3")), 91, EIGHT), Rule::PriceRose);
    assert_eq!(rail.signed(), 3);
    // Another place.
    visit(client(), get("https://shop.example/other"), 500, EIGHT).unwrap();
    visit(client(), get("https://other.example/goods"), 500, EIGHT).unwrap();
    visit(client(), Request::new(Method::POST, URL).unwrap(), 500, EIGHT).unwrap();
    assert_eq!(rail.signed(), 6);
    visit(client().price_rise(PriceRise::Allow), get(URL), 100, EIGHT).unwrap();
    visit(client(), get(URL), 100, EIGHT).unwrap();
    assert_eq!(rail.signed(), 8, "what was accepted is the new price");
}

#[tokio::test]
async fn a_highest_price_or_a_quote_that_covers_a_rise_allows_it() {
    let price = Arc::new(std::sync::atomic::AtomicU64::new(100));
    let asked = price.clone();
    let server = Server::start(move |seen| match seen.payment() {
        None => unpaid(&[offer(asked.load(std::sync::atomic::Ordering::SeqCst))]),
        Some(payment) => delivers(payment, "goods"),
    })
    .await;
    let rail = Rail::new();
    let client = wary(&rail).allow_origin(&server.url).build().unwrap();
    let rise = |to| price.store(to, std::sync::atomic::Ordering::SeqCst);
    client.get(&server.url).await.unwrap();
    rise(200);
    let quote: Quote = client.quote(&server.url).await.unwrap();
    let verdict = quote.offers[0].verdict.clone();
    assert_eq!(verdict.unwrap_err().rule, Rule::PriceRose, "a quote says so before");
    let ClientError::Refused(no) = client.get(&server.url).await.unwrap_err() else { panic!() };
    assert_eq!((no.rule.name(), rail.signed()), ("price_rose", 1));
    client.get(&server.url).quoted(&quote).await.unwrap();
    rise(300);
    let ClientError::Refused(no) = client.get(&server.url).max_price("0.000299 XTS").await.unwrap_err()
    else {
        panic!()
    };
    assert_eq!((no.rule.name(), rail.signed()), ("max_price", 2));
    client.get(&server.url).max_price("0.0003 XTS").await.unwrap();
    assert_eq!(rail.signed(), 3);
}
