//! A client and an honest seller, over a socket.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod scripted;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use farthing_client::{ClientError, Flag, Journal, MemoryJournal, Rule, State, Unsigned};
use farthing_protocol::digest::{BodyHash, request_digest};
use farthing_protocol::rail::Confirmation;
use farthing_protocol::{Amount, Retry};
use http::Method;
use scripted::*;
use serde_json::json;

#[tokio::test]
async fn a_page_costs_its_price_once() {
    let (rail, server) = (Rail::new(), Server::shop(1_000).await);
    let client = client(&rail);
    let answer = client.get(&server.at("/page")).await.unwrap();
    let report = answer.payment().unwrap().clone();
    assert!(report.is_proven(), "{report:?}");
    assert_eq!((answer.status.as_u16(), answer.text().await.unwrap().as_str()), (200, "goods"));
    assert_eq!((rail.signed(), server.payments().len(), spent(&client)), (1, 1, (1_000, 0)));
    assert_eq!(rail.asked(), 0, "the network's word came with the answer");
}

#[tokio::test]
async fn a_free_page_costs_nothing_and_sees_no_payment() {
    let rail = Rail::new();
    let server = Server::start(|_| Reply::new(404, "no such page")).await;
    let client = client(&rail);
    let answer = client.get(&server.url).await.unwrap();
    assert!(answer.payment().is_none());
    assert_eq!((answer.status.as_u16(), answer.text().await.unwrap().as_str()), (404, "no such page"));
    assert_eq!((rail.signed(), server.payments().len()), (0, 0));
    assert!(client.get(&server.url).sign().await.unwrap().is_none());
    assert!(client.quote(&server.url).await.unwrap().is_free());
}

#[tokio::test]
async fn the_digest_is_of_the_request_as_it_goes_over_the_wire() {
    let (rail, server) = (Rail::new(), Server::shop(1).await);
    let client = client(&rail);
    for target in [
        "",
        "/",
        "/?",
        "/a%2Fb",
        "/a%2fb",
        "/a/../b",
        "/%7Euser",
        "/a b",
        "/ü?q=ü&x='\"<>",
        "/?q=1#part",
        "//x",
        "/a;b=c,d",
        "/a|b^c`{d}",
        "/[x]?[y]",
        "/%",
        "/?a=%zz+b",
    ] {
        client.get(&server.at(target)).await.unwrap_or_else(|error| panic!("{target}: {error}"));
    }
    let mut post = client.request(Method::POST, &server.at("/upload")).header("content-type", "text/plain");
    post = post.body("some body");
    post.send().await.unwrap();
    let origin = server.url.parse().unwrap();
    let paid: Vec<_> = server.seen().into_iter().filter(|seen| seen.payment().is_some()).collect();
    assert_eq!(paid.len(), 17);
    for seen in paid {
        let sent = request_digest(&seen.method, &origin, &seen.target, BodyHash::of(&seen.body));
        assert_eq!(presented(seen.payment().unwrap()).digest, sent, "{}", seen.target);
    }
}

#[tokio::test]
async fn t18_the_same_payment_is_presented_again_byte_for_byte_after_a_dropped_connection() {
    let rail = Rail::new();
    let server = Server::start(|seen| match (seen.payment(), seen.nth) {
        (None, _) => unpaid(&[offer(1_000)]),
        (Some(_), 1) => Reply::HangUp,
        // The answer breaks off in the middle of its body.
        (Some(payment), 2) => delivers(payment, "goods").header("content-length", "50"),
        (Some(_), 3) => Reply::new(503, "").header("retry-after", "0"),
        (Some(payment), _) => delivers(payment, "goods"),
    })
    .await;
    let client = client(&rail);
    let answer = client.get(&server.url).await.unwrap();
    assert!(answer.payment().unwrap().is_proven());
    assert_eq!(answer.text().await.unwrap(), "goods");
    let payments = server.payments();
    assert_eq!(payments.len(), 4);
    assert!(payments.iter().all(|payment| *payment == payments[0]));
    assert_eq!((rail.signed(), spent(&client)), (1, (1_000, 0)));
}

#[tokio::test]
async fn an_unknown_outcome_stays_reserved_until_the_network_speaks() {
    for (word, after) in [(Confirmation::NotTaken, (0, 0)), (Confirmation::Taken(Amount(900)), (900, 0))] {
        let rail = Rail::new();
        let server = Server::start(|seen| match seen.payment() {
            None => unpaid(&[offer(1_000)]),
            Some(_) => Reply::HangUp,
        })
        .await;
        let client = client(&rail);
        let error = client.get(&server.url).await.unwrap_err();
        let prepared = error.prepared().unwrap().clone();
        assert_eq!((error.retry(), server.payments().len(), rail.signed()), (Retry::Same, 5, 1));
        assert_eq!(spent(&client), (0, 1_000));
        assert_eq!(client.reconcile().await.unwrap().open, [prepared.id()]);
        assert_eq!(spent(&client), (0, 1_000));
        rail.says(word);
        client.reconcile().await.unwrap();
        assert_eq!(spent(&client), after);
        assert_eq!(client.reconcile().await.unwrap(), farthing_client::Reconciled::default());
    }
}

#[tokio::test]
async fn a_request_that_is_given_up_leaves_its_payment_in_the_journal() {
    let rail = Rail::new();
    let server = Server::start(|seen| match seen.payment() {
        None => unpaid(&[offer(1_000)]),
        Some(_) => Reply::Silence,
    })
    .await;
    let journal = Arc::new(MemoryJournal::new());
    let client = builder(&rail).journal(journal.clone()).build().unwrap();
    let mut request = Box::pin(client.get(&server.url).send());
    while server.payments().is_empty() {
        let pause = std::time::Duration::from_millis(5);
        assert!(tokio::time::timeout(pause, &mut request).await.is_err());
    }
    drop(request);
    let open = journal.open().unwrap();
    assert_eq!((open.len(), open[0].state, spent(&client)), (1, State::Sent, (0, 1_000)));
    assert_eq!(open[0].header.expose(), server.payments()[0]);
    rail.says(Confirmation::NotTaken);
    assert_eq!(client.reconcile().await.unwrap().released, [open[0].id()]);
    assert_eq!(spent(&client), (0, 0));
}

#[tokio::test]
async fn a_slow_answer_times_out_and_its_payment_is_presented_again() {
    let rail = Rail::new();
    let server = Server::start(|seen| match (seen.payment(), seen.nth) {
        (None, _) => unpaid(&[offer(1_000)]),
        (Some(_), 1) => Reply::Silence,
        (Some(payment), _) => delivers(payment, "goods"),
    })
    .await;
    let client = builder(&rail).timeout(std::time::Duration::from_millis(200)).build().unwrap();
    let answer = client.get(&server.url).await.unwrap();
    assert!(answer.payment().unwrap().is_proven());
    assert_eq!((rail.signed(), server.payments().len()), (1, 2));
}

#[tokio::test]
async fn a_signed_payment_can_be_presented_again_and_shown_to_another_page() {
    let rail = Rail::new();
    let server = Server::start(|seen| match (seen.payment(), seen.target.as_str()) {
        (None, _) => unpaid(&[offer(1_000)]),
        (Some(payment), "/page") => delivers(payment, "goods"),
        (Some(_), _) => problem(409, "bound-to-other-request", "new"),
    })
    .await;
    let client = client(&rail);
    let prepared = client.get(&server.at("/page")).sign().await.unwrap().unwrap();
    assert_eq!((server.payments().len(), spent(&client)), (0, (0, 1_000)));
    assert_eq!((prepared.price().as_str(), prepared.payee()), ("0.001 XTS", "seller"));
    let first = client.present(&prepared).await.unwrap();
    let again = client.present(&prepared).await.unwrap();
    assert!(!first.payment().unwrap().replayed && again.payment().unwrap().replayed);
    assert_eq!(first.text().await.unwrap(), again.text().await.unwrap());
    rail.says(Confirmation::Taken(Amount(1_000)));
    let error = client.present_at(&prepared, "/other").await.unwrap_err();
    let ClientError::PaymentRefused(refused) = &error else { panic!("{error:?}") };
    assert_eq!((refused.status.as_u16(), refused.reason.as_deref()), (409, Some("bound-to-other-request")));
    let elsewhere = client.present_at(&prepared, "http://127.0.0.1:1/page").await.unwrap_err();
    assert!(matches!(elsewhere, ClientError::Request { .. }));
    let payments = server.payments();
    assert_eq!((payments.len(), rail.signed(), spent(&client)), (3, 1, (1_000, 0)));
    assert!(payments.iter().all(|payment| payment == prepared.header().expose()));
}

#[tokio::test]
async fn a_quote_pays_nothing_and_holds_its_price() {
    let rail = Rail::new();
    let price = Arc::new(AtomicUsize::new(1_000));
    let asked = price.clone();
    let server = Server::start(move |seen| match seen.payment() {
        None => {
            let foreign = with(offer(1), "network", json!("eip155:1"));
            unpaid(&[foreign, offer(asked.load(Ordering::SeqCst) as u64)])
        }
        Some(payment) => delivers(payment, "goods"),
    })
    .await;
    let client = client(&rail);
    let quote = client.quote(&server.url).await.unwrap();
    assert_eq!(quote.description.as_deref(), Some("pay\\u{1b}[2J now"));
    let verdict = |at: usize| quote.offers[at].verdict.clone().map_err(|refused| refused.rule);
    assert_eq!((verdict(0), verdict(1)), (Err(Rule::NoRail), Ok(())));
    assert_eq!(quote.payable().unwrap().price.as_deref(), Some("0.001 XTS"));
    assert_eq!((rail.signed(), spent(&client)), (0, (0, 0)));
    price.store(1_001, Ordering::SeqCst);
    let error = client.get(&server.url).quoted(&quote).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(no) if no.rule == Rule::PriceRose), "{error}");
    assert_eq!(rail.signed(), 0);
    price.store(1_000, Ordering::SeqCst);
    assert!(client.get(&server.url).quoted(&quote).await.is_ok());
    let dear = client.quote(&Server::shop(10_001).await.url).await.unwrap();
    assert!(dear.payable().is_none() && !dear.is_free());
    let nothing = farthing_client::Quote::default();
    let error = client.get(&server.url).quoted(&nothing).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(no) if no.rule == Rule::PriceRose), "{error}");
}

#[tokio::test]
async fn max_price_holds_for_one_request_and_in_its_currency_only() {
    let (rail, server) = (Rail::new(), Server::shop(1_000).await);
    let client = client(&rail);
    for low in ["0.000999 XTS", "1 CENT", "$1"] {
        let error = client.get(&server.url).max_price(low).await.unwrap_err();
        assert!(matches!(&error, ClientError::Refused(no) if no.rule == Rule::MaxPrice), "{low}: {error}");
    }
    assert!(matches!(client.get(&server.url).max_price("cheap").await, Err(ClientError::Price(_))));
    assert_eq!((rail.signed(), spent(&client)), (0, (0, 0)));
    assert!(client.get(&server.url).max_price("0.001 XTS").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t30_five_hundred_concurrent_calls_with_money_for_ten_sign_exactly_ten() {
    let (rail, server) = (Rail::new(), Server::shop(1_000).await);
    let client = client(&rail);
    let calls = (0..500).map(|n| {
        let (client, url) = (client.clone(), server.at(&format!("/{n}")));
        tokio::spawn(async move { client.get(&url).await.map(|answer| answer.payment().is_some()) })
    });
    let mut paid = 0;
    for call in calls.collect::<Vec<_>>() {
        match call.await.unwrap() {
            Ok(was_paid) => paid += usize::from(was_paid),
            Err(ClientError::Refused(no)) => assert!(matches!(no.rule, Rule::OverBudget(_))),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((paid, rail.signed(), server.payments().len(), spent(&client)), (10, 10, 10, (10_000, 0)));
}

#[tokio::test]
async fn t29_a_receipt_is_missed_up_to_64_kib_whatever_the_answer_says_about_its_length() {
    const MOST: usize = 64 * 1024;
    const LONG: usize = 3 * 1024 * 1024;
    let missing = (vec![Flag::ReceiptMissing], None);
    let none = |why| (vec![], Some(why));
    type Answers = Box<dyn Fn() -> Reply + Send + Sync>;
    let of = |length: usize| Reply::new(200, vec![b'x'; length]);
    let chunked = move || of(0).header("transfer-encoding", "chunked");
    let said = LONG.to_string();
    let (said_204, said_chunked) = (said.clone(), said);
    type Said = (Vec<Flag>, Option<Unsigned>);
    let cases: [(Answers, Method, Said); 8] = [
        (Box::new(move || of(MOST)), Method::GET, missing.clone()),
        (Box::new(move || of(MOST + 1)), Method::GET, none(Unsigned::Long)),
        // Handed over before it is there: the connection holds the seller to the length.
        (Box::new(move || of(LONG)), Method::GET, none(Unsigned::Long)),
        (Box::new(move || of(LONG)), Method::HEAD, missing.clone()),
        (
            Box::new(move || Reply::new(204, "").header("content-length", &said_204)),
            Method::GET,
            missing.clone(),
        ),
        (
            Box::new(move || {
                let mut reply = chunked().header("content-length", &said_chunked);
                if let Reply::Say { body, .. } = &mut reply {
                    *body = b"5\r\ngoods\r\n0\r\n\r\n".to_vec();
                }
                reply
            }),
            Method::GET,
            missing.clone(),
        ),
        (
            Box::new(move || of(9).header("content-type", "text/event-stream")),
            Method::GET,
            none(Unsigned::Events),
        ),
        (Box::new(move || of(9).header("content-type", "text/event-streams")), Method::GET, missing),
    ];
    for (at, (answers, method, (flags, unsigned))) in cases.into_iter().enumerate() {
        let rail = Rail::new();
        let server = Server::start(move |seen| match seen.payment() {
            None => unpaid(&[offer(1_000)]),
            Some(payment) => answers().settling(&settlement(&presented(payment), None)),
        })
        .await;
        let answer = client(&rail).request(method, &server.url).send().await.unwrap();
        let report = answer.payment().unwrap();
        assert_eq!((&report.flags, report.unsigned), (&flags, unsigned), "case {at}");
        assert_eq!(report.is_proven(), flags.is_empty(), "case {at}");
    }
}

#[tokio::test]
async fn a_long_answer_is_streamed_and_its_receipt_flagged_as_unchecked() {
    let (rail, long) = (Rail::new(), "x".repeat(5_000));
    let body = long.clone();
    let server = Server::start(move |seen| match seen.payment() {
        None => unpaid(&[offer(1_000)]),
        Some(payment) => delivers(payment, &body),
    })
    .await;
    let client = builder(&rail).receipt_body_bytes(4_999).body_bytes(5_000).build().unwrap();
    let answer = client.get(&server.url).await.unwrap();
    assert_eq!(answer.payment().unwrap().flags, [Flag::ReceiptUnchecked]);
    assert_eq!(answer.text().await.unwrap(), long);
    let client = builder(&rail).receipt_body_bytes(5_000).body_bytes(4_999).build().unwrap();
    let answer = client.get(&server.url).await.unwrap();
    assert!(answer.payment().unwrap().is_proven());
    assert_eq!(answer.text().await.unwrap_err(), ClientError::TooLarge { limit: 4_999 });
}

#[tokio::test]
async fn an_unbound_body_needs_the_callers_word() {
    let rail = Rail::new();
    let server = Server::start(|seen| match seen.payment() {
        None => unpaid(&[with(offer(1_000), "extra.binding", json!(2))]),
        Some(payment) => delivers(payment, "goods"),
    })
    .await;
    let client = client(&rail);
    let post = || client.request(Method::POST, &server.url).body("abc");
    let error = post().await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(no) if no.rule == Rule::UnboundBody));
    assert_eq!(rail.signed(), 0);
    post().allow_unbound_body().await.unwrap();
    let origin = server.url.parse().unwrap();
    let digest = request_digest("POST", &origin, "/", BodyHash::Unbound);
    assert_eq!(presented(&server.payments()[0]).digest, digest);
}

#[tokio::test]
async fn head_is_paid_and_its_receipt_not_compared_with_the_missing_body() {
    let (rail, server) = (Rail::new(), Server::shop(1_000).await);
    let answer = client(&rail).request(Method::HEAD, &server.url).await.unwrap();
    assert!(answer.payment().unwrap().is_proven());
    assert!(answer.bytes().await.unwrap().is_empty());
}
