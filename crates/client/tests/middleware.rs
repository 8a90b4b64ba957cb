//! Paying in reqwest's own types: the layer of reqwest-middleware, and the plain client.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod scripted;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use farthing_client::middleware::Pays;
use farthing_client::{ClientError, NotPayable, PayingClient, PayingError, PaymentReport, Rule};
use farthing_protocol::digest::{BodyHash, request_digest};
use http::{Extensions, HeaderName, HeaderValue};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error, Middleware, Next};
use scripted::*;
use serde_json::json;

fn layered(client: &farthing_client::Client) -> ClientWithMiddleware {
    ClientBuilder::new(reqwest::Client::new()).with(Pays::new(client.clone())).build()
}

/// A body that can be sent only once.
fn stream() -> reqwest::Body {
    let pieces = [Ok::<_, std::io::Error>(bytes::Bytes::from("goods"))];
    reqwest::Body::wrap_stream(futures_util::stream::iter(pieces))
}

fn cause(error: Error) -> PayingError {
    let Error::Middleware(error) = error else { panic!("{error:?}") };
    error.downcast().unwrap()
}

fn rule(error: &PayingError) -> &Rule {
    let PayingError::Client(ClientError::Refused(refused)) = error else { panic!("{error:?}") };
    &refused.rule
}

#[tokio::test]
async fn both_pay_for_a_page_and_say_what_it_cost() {
    let (rail, server) = (Rail::new(), Server::shop(1_000).await);
    let client = client(&rail);
    let answers = [
        layered(&client).get(&server.url).send().await.unwrap(),
        PayingClient::new(client.clone()).get(&server.url).send().await.unwrap(),
    ];
    for answer in answers {
        assert_eq!(
            (answer.status().as_u16(), answer.url().as_str()),
            (200, format!("{}/", server.url).as_str())
        );
        let report = answer.extensions().get::<PaymentReport>().unwrap();
        assert!(report.is_proven());
        assert_eq!(report.cost(), "0.001 XTS");
        assert!(answer.headers().contains_key("payment-response"));
        assert_eq!(answer.text().await.unwrap(), "goods");
    }
    assert_eq!((rail.signed(), server.payments().len(), spent(&client)), (2, 2, (2_000, 0)));
}

#[tokio::test]
async fn what_is_paid_for_is_the_request_as_it_was_put_together() {
    let (rail, server) = (Rail::new(), Server::shop(1_000).await);
    let client = client(&rail);
    let (name, value) = (HeaderName::from_static("x-order"), HeaderValue::from_static("7"));
    let plain = PayingClient::new(client.clone());
    let post = plain.post(server.at("/buy?n=2#here")).header(name.clone(), value.clone()).body("two");
    assert!(post.send().await.unwrap().extensions().get::<PaymentReport>().is_some());
    let post = layered(&client).post(server.at("/buy?n=2")).header(name, value).body("two");
    assert!(post.send().await.unwrap().extensions().get::<PaymentReport>().is_some());
    let seen: Vec<_> = server.seen().into_iter().filter(|seen| seen.payment().is_some()).collect();
    let digest = request_digest("POST", &server.url.parse().unwrap(), "/buy?n=2", BodyHash::of(b"two"));
    for seen in &seen {
        assert_eq!(
            (seen.method.as_str(), seen.target.as_str(), &seen.body[..]),
            ("POST", "/buy?n=2", &b"two"[..])
        );
        assert_eq!(seen.header("x-order"), Some("7"));
        assert_eq!(presented(seen.payment().unwrap()).digest, digest);
    }
    assert_eq!((seen.len(), rail.signed()), (2, 2));
}

#[tokio::test]
async fn what_is_free_is_not_paid_and_a_stream_may_be_sent_to_it() {
    let rail = Rail::new();
    let server = Server::start(|seen| Reply::new(200, seen.method.clone())).await;
    let client = client(&rail);
    let (layered, plain) = (layered(&client), PayingClient::new(client));
    let answers = [
        layered.get(&server.url).send().await.unwrap(),
        layered.post(server.at("/up")).header("x", "y").send().await.unwrap(),
        plain.get(&server.url).send().await.unwrap(),
        plain.put(&server.url).body("x").send().await.unwrap(),
    ];
    for answer in answers {
        assert!(answer.status() == 200 && answer.extensions().get::<PaymentReport>().is_none());
    }
    // The scripted server reads bodies that say their length only.
    let length = (HeaderName::from_static("content-length"), HeaderValue::from_static("5"));
    let answer = layered.put(&server.url).header(length.0.clone(), length.1.clone()).body(stream());
    assert_eq!(answer.send().await.unwrap().text().await.unwrap(), "PUT");
    let answer = plain.put(&server.url).header(length.0, length.1).body(stream());
    assert_eq!(answer.send().await.unwrap().text().await.unwrap(), "PUT");
    assert_eq!(server.seen().iter().filter(|seen| seen.body == b"goods").count(), 2);
    assert_eq!((rail.signed(), server.seen().len()), (0, 6));
}

#[tokio::test]
async fn a_body_that_cannot_be_sent_again_is_found_out_before_anything_is_signed() {
    let (rail, server) = (Rail::new(), Server::shop(1_000).await);
    let client = client(&rail);
    let length = || (HeaderName::from_static("content-length"), HeaderValue::from_static("5"));
    let plain = PayingClient::new(client.clone());
    let request = plain.post(&server.url).header(length().0, length().1).body(stream());
    let first = request.send().await.unwrap_err();
    let request = layered(&client).post(&server.url).header(length().0, length().1).body(stream());
    let second = cause(request.send().await.unwrap_err());
    for error in [first, second] {
        assert!(
            error.to_string().contains("nothing was signed. To go on: give the body as bytes"),
            "{error}"
        );
        let PayingError::NotReplayable(quote) = error else { panic!("{error:?}") };
        assert_eq!(quote.payable().unwrap().price.as_deref(), Some("0.001 XTS"));
    }
    assert_eq!((rail.signed(), server.payments().len(), spent(&client)), (0, 0, (0, 0)));
    // As bytes it is paid for.
    assert_eq!(plain.post(&server.url).body("goods").send().await.unwrap().status(), 200);
    assert_eq!(rail.signed(), 1);
}

#[tokio::test]
async fn a_402_of_somebody_elses_is_an_answer_with_its_code_message_and_documentation() {
    let rail = Rail::new();
    let body = json!({"error": {"code": "card_declined", "message": "No.", "doc_url": "https://d.example"}});
    let (text, said) = (body.to_string(), body.to_string());
    let server = Server::start(move |_| Reply::new(402, said.clone()).header("x-other", "1")).await;
    let client = client(&rail);
    let (layered, plain) = (layered(&client), PayingClient::new(client));
    let length = || (HeaderName::from_static("content-length"), HeaderValue::from_static("5"));
    let answers = [
        layered.get(&server.url).send().await.unwrap(),
        layered.put(&server.url).header(length().0, length().1).body(stream()).send().await.unwrap(),
        plain.get(&server.url).send().await.unwrap(),
        plain.put(&server.url).header(length().0, length().1).body(stream()).send().await.unwrap(),
    ];
    for answer in answers {
        assert_eq!((answer.status().as_u16(), answer.headers()["x-other"].as_bytes()), (402, &b"1"[..]));
        let why = answer.extensions().get::<NotPayable>().unwrap().clone();
        assert!(why.why.contains("no PAYMENT-REQUIRED"), "{why}");
        assert_eq!(why.said.code.as_deref(), Some("card_declined"));
        assert_eq!(why.said.message.as_deref(), Some("No."));
        assert_eq!(why.said.doc_url.as_deref(), Some("https://d.example"));
        assert!(answer.extensions().get::<PaymentReport>().is_none());
        assert_eq!(answer.text().await.unwrap(), text, "the whole body, from its first byte");
    }
    assert_eq!((rail.signed(), server.seen().len()), (0, 4));
}

#[tokio::test]
async fn what_the_budget_does_not_allow_is_a_typed_error() {
    let (rail, server) = (Rail::new(), Server::shop(10_001).await);
    let client = client(&rail);
    let error = cause(layered(&client).get(&server.url).send().await.unwrap_err());
    assert!(matches!(rule(&error), Rule::OverBudget(_)));
    let error = PayingClient::new(client).get(&server.url).send().await.unwrap_err();
    assert!(matches!(rule(&error), Rule::OverBudget(_)));
    assert_eq!((rail.signed(), server.payments().len()), (0, 0));
}

#[tokio::test]
async fn callers_cannot_smuggle_payments() {
    let (rail, server) = (Rail::new(), Server::shop(10).await);
    let client = client(&rail);
    let (name, value) = (HeaderName::from_static("x-payment"), HeaderValue::from_static("mine"));
    let plain = PayingClient::new(client.clone());
    for result in [
        plain.get(&server.url).header(name.clone(), value.clone()).send().await,
        layered(&client).get(&server.url).header(name, value).send().await.map_err(cause),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, PayingError::Client(ClientError::Request { .. })), "{error:?}");
    }
    assert!(matches!(plain.get("nowhere").send().await, Err(PayingError::Build(_))));
    assert_eq!(rail.signed(), 0);
    assert!(plain.get(&server.url).send().await.is_ok());
}

#[tokio::test]
async fn t45_a_payment_follows_no_redirect_though_reqwest_would() {
    let rail = Rail::new();
    let other = Server::shop(10).await;
    let away = other.at("/stolen");
    let server = Server::start(move |seen| match (seen.payment(), seen.target.as_str()) {
        (None, "/moved") => Reply::new(302, "").header("location", "/page"),
        (None, "/away") => Reply::new(302, "").header("location", &away),
        (None, _) => unpaid(&[offer(10)]),
        (Some(_), "/trap") => Reply::new(307, "").header("location", &away),
        (Some(payment), _) => delivers(payment, "goods"),
    })
    .await;
    let client = client(&rail);
    // reqwest follows unpaid requests, as its owner wants; a 402 elsewhere is not what was asked for.
    let (http, plain) = (layered(&client), PayingClient::new(client));
    let answer = http.get(server.at("/away")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.url().as_str()), (402, other.at("/stolen").as_str()));
    assert_eq!(plain.get(server.at("/away")).send().await.unwrap().status(), 302);
    assert_eq!(rail.signed(), 0);
    for (at, answer) in [
        http.get(server.at("/trap")).send().await.unwrap(),
        plain.get(server.at("/trap")).send().await.unwrap(),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!((answer.status().as_u16(), rail.signed()), (307, 2), "{at}");
    }
    let moved = http.get(server.at("/moved")).send().await.unwrap();
    assert_eq!((moved.status().as_u16(), moved.url().path()), (200, "/page"));
    let last = server.seen().pop().unwrap();
    assert_eq!((last.target.as_str(), last.payment().is_some()), ("/page", true));
    assert!(other.payments().is_empty());
}

/// A layer above that tries again whenever there is an error.
struct Insistent(AtomicUsize);

#[async_trait]
impl Middleware for Insistent {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let again = request.try_clone().unwrap();
        match next.clone().run(request, extensions).await {
            Ok(answer) => Ok(answer),
            Err(_) => {
                self.0.fetch_add(1, Ordering::SeqCst);
                next.run(again, extensions).await
            }
        }
    }
}

#[tokio::test]
async fn t29_a_layer_that_tries_again_has_the_same_payment_presented() {
    let rail = Rail::new();
    let server = Server::start(|seen| match (seen.payment(), seen.nth) {
        (None, _) => unpaid(&[offer(1_000)]),
        (Some(_), ..=5) => Reply::HangUp,
        (Some(payment), _) => delivers(payment, "goods"),
    })
    .await;
    let patience = farthing_client::Patience {
        tries: 3,
        pause: std::time::Duration::from_millis(1),
        ..Default::default()
    };
    let client = builder(&rail).patience(patience).build().unwrap();
    let layer = Arc::new(Insistent(AtomicUsize::new(0)));
    let http = ClientBuilder::new(reqwest::Client::new()).with_arc(layer.clone());
    let http = http.with(Pays::new(client.clone())).build();
    let answer = http.get(&server.url).send().await;
    let tried = layer.0.load(Ordering::SeqCst);
    let answer = answer.unwrap();
    assert!(answer.extensions().get::<PaymentReport>().unwrap().is_proven());
    let payments = server.payments();
    assert!(tried == 1 && payments.len() > 3, "{tried} {}", payments.len());
    assert!(payments.iter().all(|payment| *payment == payments[0]), "the same payment each time");
    assert_eq!((rail.signed(), spent(&client)), (1, (1_000, 0)));
    // Another request is paid by another payment.
    assert!(http.get(&server.url).send().await.unwrap().status().is_success());
    assert_eq!(rail.signed(), 2);
}

#[tokio::test]
async fn t30_calls_at_once_sign_what_the_budget_allows() {
    let (rail, server) = (Rail::new(), Server::shop(1_000).await);
    let client = client(&rail);
    let (http, plain) = (layered(&client), PayingClient::new(client.clone()));
    let calls: Vec<_> = (0..100)
        .map(|at| {
            let (http, plain, url) = (http.clone(), plain.clone(), server.at(&format!("/{at}")));
            tokio::spawn(async move {
                match at % 2 {
                    0 => http.get(url).send().await.map_err(cause),
                    _ => plain.get(url).send().await,
                }
            })
        })
        .collect();
    let mut paid = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(answer) => {
                paid += usize::from(answer.extensions().get::<PaymentReport>().unwrap().is_proven())
            }
            Err(error) => assert!(matches!(rule(&error), Rule::OverBudget(_)), "{error:?}"),
        }
    }
    assert_eq!((paid, rail.signed(), server.payments().len(), spent(&client)), (10, 10, 10, (10_000, 0)));
}
