//! What pages of other origins may ask and read, and where a payment never goes.

use axum::body::Body;
use axum::response::Response;
use farthing_testkit::hostile::{Hostile, redirect, say};
use farthing_testkit::web::{self, PAGE, PREFLIGHT};

use super::front::*;

#[tokio::test]
async fn t43_a_page_of_another_origin_may_ask_pay_and_read() {
    let upstream = Upstream::answering(|seen| {
        let answer = Response::builder().header("content-type", "text/plain");
        let answer = match seen.target.as_str() {
            "/files/with-credentials" => answer.header("access-control-allow-credentials", "true"),
            "/files/own" => answer
                .header("access-control-allow-origin", "https://page.example")
                .header("access-control-allow-credentials", "true"),
            "/files/fails" => answer.status(418),
            _ => answer,
        };
        answer.body(Body::from(CONTENT)).unwrap()
    })
    .await;
    let front = Front::of(&upstream.origin(), ROUTES).await;
    let preflight = front.send("OPTIONS", "/api/report", &PREFLIGHT, b"").await;
    web::lets_a_page_pay(&preflight);
    assert_eq!(upstream.hits.all(), 0);
    front.unpaid().await;

    let good = front.pay("GET", "/api/report", b"").await;
    let failing = front.pay("GET", "/files/fails", b"").await;
    let mut replies = vec![preflight];
    for (target, payment, status) in [
        ("/api/report", None, 402),
        ("/api/report", Some("!"), 400),
        ("/api/report", Some("A".repeat(9_000).as_str()), 431),
        ("/files/a", Some(&*good), 409),
        ("/api/report", Some(&*good), 200),
        ("/api/report", Some(&*good), 200),
        ("/files/fails", Some(&*failing), 418),
    ] {
        let mut headers = vec![PAGE];
        headers.extend(payment.map(|payment| ("PAYMENT-SIGNATURE", payment)));
        let reply = front.send("GET", target, &headers, b"").await;
        assert_eq!(reply.status, status, "{target}");
        replies.push(reply);
    }
    replies.iter().for_each(web::lets_a_page_read);
    assert_eq!((upstream.hits.of("/api/report"), front.captures().await), (1, 1));

    // An upstream that allows credentials decides about origins itself; `*` is never said beside them.
    for (target, origin) in [("/files/with-credentials", None), ("/files/own", Some("https://page.example"))]
    {
        let payment = front.pay("GET", target, b"").await;
        let reply = front.send("GET", target, &[PAGE, ("PAYMENT-SIGNATURE", &payment)], b"").await;
        web::leaves_credentials_to_the_handler(&reply, origin);
    }
}

#[tokio::test]
async fn t45_a_redirect_of_the_upstream_is_passed_on_and_followed_by_nobody_with_a_payment() {
    let elsewhere = Hostile::start(|_, _| say(200, CONTENT)).await;
    let target = elsewhere.at("/api/report");
    let location = target.clone();
    let upstream = Upstream::answering(move |seen| match seen.target.as_str() {
        "/files/relative" => redirect(302, "/files/there"),
        "/files/there" => say(200, CONTENT),
        target => redirect(target.rsplit('/').next().unwrap().parse().unwrap(), &location),
    })
    .await;
    let front = Front::of(&upstream.origin(), ROUTES).await;
    let client = front.client();
    for status in [301, 302, 303, 307, 308] {
        let path = format!("/files/{status}");
        let payment = front.pay("GET", &path, b"").await;
        let reply = front.send_paid("GET", &path, &payment, b"").await;
        assert_eq!((reply.status, reply.header("location")), (status, Some(target.as_str())));
        // The client that pays by itself reads it as an answer, too.
        let answer = client.get(&front.at(&path)).await.unwrap();
        assert_eq!(answer.status.as_u16(), status);
        let free = front.send("GET", &format!("/free/{status}"), &[], b"").await;
        assert_eq!((free.status, free.header("location")), (status, Some(target.as_str())));
    }
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
    assert_eq!(upstream.hits.all(), 15);
    // Nothing that reached the upstream could be spent there or anywhere else.
    for seen in upstream.seen() {
        for name in ["payment-signature", "x-payment"] {
            assert!(seen.headers.get(name).is_none(), "{seen:?}");
        }
    }
    // A redirect within is passed on as it is, and what it leads to has its own price.
    let payment = front.pay("GET", "/files/relative", b"").await;
    let reply = front.send_paid("GET", "/files/relative", &payment, b"").await;
    assert_eq!((reply.status, reply.header("location")), (302, Some("/files/there")));
    assert_eq!(front.send_paid("GET", "/files/there", &payment, b"").await.status, 409);
    let payment = front.pay("GET", "/files/there", b"").await;
    assert_eq!(front.send_paid("GET", "/files/there", &payment, b"").await.text(), CONTENT);
}

#[tokio::test]
async fn t45_no_request_leads_the_gateway_anywhere_but_to_its_upstream() {
    let elsewhere = Hostile::start(|_, _| say(200, "from elsewhere")).await;
    let upstream = Upstream::start().await;
    let front = Front::of(&upstream.origin(), ROUTES).await;
    let authority = elsewhere.address.to_string();
    for target in [
        elsewhere.at("/free/x"),
        "http://169.254.169.254/latest/meta-data".into(),
        "http://[::1]/free/x".into(),
        format!("//{authority}/free/x"),
        format!("/free/x@{authority}/"),
        format!("@{authority}/free/x"),
        format!("/free/..;@{authority}/x"),
        authority.clone(),
    ] {
        if let Some(reply) = front.ask("GET", &target, &[], b"").await {
            assert!(!reply.text().contains("from elsewhere"), "{target}");
        }
    }
    for headers in [
        [("Host", authority.as_str()), ("X-Forwarded-Host", authority.as_str())],
        [("Forwarded", "host=169.254.169.254"), ("X-Original-URL", "http://169.254.169.254/")],
    ] {
        let reply = front.send("GET", "/free/x", &headers, b"").await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "free of charge"));
    }
    if let Some(reply) = front.ask("CONNECT", &authority, &[], b"").await {
        assert!(reply.status >= 400, "{}", reply.status);
    }
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
    front.unpaid().await;
    front.sells(&upstream).await;
}
