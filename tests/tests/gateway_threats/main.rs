//! Threats E in front of a real upstream: what is sent is bytes, and what is counted is what reaches the upstream and
//! what the ledger captures.

mod cache;
mod files;
mod front;
mod pages;
mod sizes;

use farthing::protocol::digest::{BodyHash, request_digest};
use farthing::protocol::v2::{Offer, PaymentRequirements};
use farthing_testkit::web;
use front::*;

#[tokio::test]
async fn t36_no_spelling_of_a_priced_path_reaches_its_content_and_each_that_has_a_price_can_be_paid() {
    let upstream = Upstream::start().await;
    let front = Front::of(&upstream.origin(), ROUTES).await;
    let mut targets = Vec::new();
    for path in ["/api/report", "/files/a/b", "/item/7"] {
        targets.push(path.to_owned());
        targets.extend(web::spellings(path));
        // A proxy's form of the same request.
        targets.push(front.at(path));
        targets.push(format!("http://evil.example{path}"));
    }
    assert!(targets.len() >= 180);
    let mut priced = Vec::new();
    for target in &targets {
        // None: the connection was closed without an answer.
        let Some(reply) = front.ask("GET", target, &[], b"").await else { continue };
        assert!(!reply.text().contains(CONTENT), "{target}");
        assert!(!reply.text().contains("directory listing"), "{target}");
        if reply.status == 402 {
            priced.push((target, reply));
        }
    }
    // A free path is free, and nothing that the most lenient server would take for a priced one reached it.
    for path in ["/api/report", "/files/a/b", "/item/7", "/files", "/item"] {
        assert_eq!(upstream.hits.of(path), 0, "{path}: {:?}", upstream.seen());
    }
    let free = front.send("GET", "/free/x", &[], b"").await;
    assert_eq!((free.status, free.text().as_str()), (200, "free of charge"));
    front.unpaid().await;
    assert!(priced.len() >= 5, "{} of {} spellings have a price", priced.len(), targets.len());

    let mut bought = 0;
    for (target, unpaid) in priced {
        let before = upstream.hits.all();
        let paid = front.send_paid("GET", target, &front.sign(&unpaid), b"").await;
        assert_eq!((paid.status, paid.text().as_str()), (200, CONTENT), "{target}");
        assert_eq!(upstream.hits.all(), before + 1, "{target}");
        bought += 1;
    }
    assert_eq!((front.captures().await, front.balance().await), (bought, FUNDS - bought as u128 * PRICE));
}

#[tokio::test]
async fn t36_a_payment_for_one_path_buys_no_other() {
    let upstream = Upstream::start().await;
    let front = Front::of(&upstream.origin(), ROUTES).await;
    let payment = front.pay("GET", "/item/1", b"").await;
    for target in ["/item/2", "/item/1?a", "/item/%31", "/api/report", "/files/a"] {
        let Some(reply) = front.ask("GET", target, &[("PAYMENT-SIGNATURE", &payment)], b"").await else {
            continue;
        };
        assert!(reply.status == 409 || reply.status == 400, "{target} is {}", reply.status);
        assert!(!reply.text().contains(CONTENT), "{target}");
    }
    assert_eq!(upstream.hits.all(), 0);
    front.unpaid().await;
    assert_eq!(front.send_paid("GET", "/item/1", &payment, b"").await.text(), CONTENT);
    assert_eq!((upstream.hits.of("/item/1"), front.captures().await), (1, 1));
}

#[tokio::test]
async fn t37_an_unpaid_head_never_reaches_the_upstream_and_a_paid_one_gets_its_headers() {
    let upstream = Upstream::start().await;
    let front = Front::of(&upstream.origin(), ROUTES).await;
    for target in ["/api/report", "/item/7", "/files/a"] {
        let unpaid = front.send("HEAD", target, &[], b"").await;
        assert_eq!((unpaid.status, unpaid.body.len()), (402, 0), "{target}");
        assert_eq!(unpaid.header("etag"), None);
        assert_ne!(unpaid.header("content-length"), Some(CONTENT.len().to_string().as_str()));
        assert_eq!(unpaid.header("cache-control"), Some("no-store"));
    }
    assert_eq!(upstream.hits.all(), 0);
    front.unpaid().await;
    let unpaid = front.send("HEAD", "/api/report", &[], b"").await;
    let payment = front.sign(&unpaid);
    let paid = front.send_paid("HEAD", "/api/report", &payment, b"").await;
    assert_eq!((paid.status, paid.body.len(), paid.header("etag")), (200, 0, Some("\"of-the-content\"")));
    // Whoever paid for the head has not paid for the body.
    let body = front.send_paid("GET", "/api/report", &payment, b"").await;
    assert_eq!((body.status, body.problem().0.as_str()), (409, "bound-to-other-request"));
    assert_eq!((upstream.hits.all(), front.captures().await), (1, 1));
    front.sells(&upstream).await;
}

#[tokio::test]
async fn t37_no_method_is_a_way_around_the_price() {
    let upstream = Upstream::start().await;
    let front = Front::of(&upstream.origin(), ROUTES).await;
    for target in ["/api/report", "/upload", "/files/a", "/item/7"] {
        let options = front.send("OPTIONS", target, &[], b"").await;
        assert_eq!((options.status, options.body.len()), (204, 0), "{target}");
    }
    assert_eq!(upstream.hits.all(), 0);
    for method in ["TRACE", "CONNECT", "PUT", "DELETE", "PATCH", "PROPFIND", "get", "GETT", "OPTION"] {
        for target in ["/api/report", "/upload", "/files/a", "/item/7"] {
            let Some(reply) = front.ask(method, target, &[], b"").await else { continue };
            assert!(reply.status >= 400, "{method} {target} is {}", reply.status);
            assert!(!reply.text().contains(CONTENT), "{method} {target}");
        }
    }
    for (method, target) in [("GET", "/api/report"), ("GET", "/files/a"), ("POST", "/upload")] {
        for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"] {
            for value in ["OPTIONS", "GET", "HEAD"] {
                let reply = front.send(method, target, &[(name, value)], b"").await;
                assert_eq!(reply.status, 402, "{method} {target} with {name}: {value}");
            }
        }
        assert_eq!(front.send(method, &format!("{target}?_method=OPTIONS"), &[], b"").await.status, 402);
    }
    assert_eq!(upstream.hits.all(), 0);
    front.unpaid().await;
    // What is free is no way to another method either: the upstream is not told of one.
    let overrides =
        [("X-HTTP-Method-Override", "DELETE"), ("X-HTTP-Method", "PUT"), ("X_Method_Override", "PUT")];
    assert_eq!(front.send("GET", "/free/x", &overrides, b"").await.status, 200);
    let seen = upstream.seen().pop().unwrap();
    assert!(seen.headers.keys().all(|name| !name.as_str().contains("method")), "{seen:?}");
    front.sells(&upstream).await;
}

#[tokio::test]
async fn t38_the_origin_is_the_configured_one_and_the_upstream_is_told_nothing_that_a_client_made_up() {
    let upstream = Upstream::start().await;
    let front = Front::of(&upstream.origin(), ROUTES).await;
    let digest = request_digest("GET", &front.origin.parse().unwrap(), "/api/report", BodyHash::of(b""));
    let spoofs: [&[(&str, &str)]; 7] = [
        &[("Host", "evil.example")],
        &[("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "443")],
        &[("X-Forwarded-Prefix", "/evil"), ("X-Original-URL", "/free/x"), ("X-Rewrite-URL", "/free/x")],
        &[("Forwarded", "host=evil.example;proto=https")],
        &[("X-Host", "evil.example"), ("X-Real-IP", "10.0.0.1"), ("Via", "1.1 evil.example")],
        &[("Origin", "https://evil.example"), ("Referer", "https://evil.example/")],
        &[("Farthing-Payer", "somebody"), ("Farthing-Payment", "1"), ("farthing_payer", "somebody")],
    ];
    for headers in spoofs {
        let unpaid = front.send("GET", "/api/report", headers, b"").await;
        assert_eq!(unpaid.status, 402, "{headers:?}");
        assert_eq!(unpaid.terms().resource.url, front.at("/api/report"));
        for offer in unpaid.terms().offers() {
            assert_eq!(offer.extra["requestDigest"], digest.to_string(), "{headers:?}");
        }
        assert!(!unpaid.text().contains("evil"), "{headers:?}: {}", unpaid.text());
    }
    assert_eq!(upstream.hits.all(), 0);

    // A payment for another origin is no payment here, even if Host says so too.
    let offer = front.send("GET", "/api/report", &[], b"").await.terms().offers().next().unwrap();
    let elsewhere =
        request_digest("GET", &"http://evil.example".parse().unwrap(), "/api/report", BodyHash::of(b""));
    let mut changed: PaymentRequirements = offer.clone().into_parsed();
    changed.extra.insert("requestDigest".into(), elsewhere.to_string().into());
    let payment = front.sign_offer(&Offer::write(changed).unwrap());
    let headers = [("Host", "evil.example"), ("PAYMENT-SIGNATURE", payment.as_str())];
    let reply = front.send("GET", "/api/report", &headers, b"").await;
    assert_eq!((reply.status, reply.problem().0.as_str()), (409, "bound-to-other-request"));
    assert_eq!(upstream.hits.all(), 0);
    front.unpaid().await;

    // A paid request says who paid, whatever the client says of it.
    let payment = front.pay("GET", "/api/report", b"").await;
    let mut headers = vec![("Host", "evil.example"), ("PAYMENT-SIGNATURE", payment.as_str())];
    headers.extend(spoofs[1..].iter().copied().flatten().filter(|(name, _)| *name != "Host"));
    assert_eq!(front.send("GET", "/api/report", &headers, b"").await.status, 200);
    let seen = upstream.seen().pop().unwrap();
    let said = |name: &str| {
        seen.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(said("farthing-payer"), [front.payer.account().to_string()]);
    assert_eq!(said("farthing-payment").len(), 1);
    assert_eq!(
        (said("host"), said("x-forwarded-for")),
        (vec![&*upstream.address.to_string()], vec!["127.0.0.1"])
    );
    for name in
        ["farthing_payer", "forwarded", "x-forwarded-prefix", "x-original-url", "x-rewrite-url", "x-real-ip"]
    {
        assert!(said(name).is_empty(), "{name}: {:?}", said(name));
    }
    let text = format!("{:?}", seen.headers);
    assert!(!text.contains("somebody") && !text.contains(&payment), "{text}");
    assert!(said("payment-signature").is_empty());
    // On a free route, nobody paid.
    assert_eq!(front.send("GET", "/free/x", &[("Farthing-Payer", "somebody")], b"").await.status, 200);
    assert!(upstream.seen().pop().unwrap().headers.get("farthing-payer").is_none());
    assert_eq!(front.captures().await, 1);
}

#[tokio::test]
async fn t39_of_two_payments_in_one_request_neither_is_used() {
    let upstream = Upstream::start().await;
    let front = Front::of(&upstream.origin(), ROUTES).await;
    let (one, two) = (front.pay("GET", "/api/report", b"").await, front.pay("GET", "/api/report", b"").await);
    web::refuses_two_payments(front.address, "/api/report", &one, &two).await;
    assert_eq!(upstream.hits.all(), 0);
    front.unpaid().await;
    for payment in [&one, &two] {
        assert_eq!(front.send_paid("GET", "/api/report", payment, b"").await.text(), CONTENT);
    }
    assert_eq!((upstream.hits.all(), front.captures().await), (2, 2));
    // A payment on a free route is none, and goes no further.
    let spare = front.pay("GET", "/api/report", b"").await;
    let headers = [("PAYMENT-SIGNATURE", spare.as_str()), ("X-PAYMENT", "theirs"), ("x_payment", "theirs")];
    assert_eq!(front.send("GET", "/free/x", &headers, b"").await.status, 200);
    let seen = format!("{:?}", upstream.seen().pop().unwrap().headers);
    assert!(!seen.contains("theirs") && !seen.contains(&spare), "{seen}");
    assert_eq!(front.captures().await, 2);
}
