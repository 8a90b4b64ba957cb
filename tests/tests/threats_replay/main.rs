//! Threats A: replay and binding.

mod forgotten;
mod reencoded;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::{any, get};
use farthing::native::NativePay;
use farthing::protocol::rail::{Facilitator, SignedPayment};
use farthing::protocol::v2::Offer;
use farthing::{Ledger, Options, Paywall};
use farthing_testkit::forge::{open, resign, seal, signed_part, with_part};
use farthing_testkit::{Counter, Reply, TestClock, World, exchange, key, request};
use serde_json::{Value, json};

const PRICE: u128 = 10_000;
const START: u128 = 100_000_000;

/// Pages of one price, a cheap one and a dear one, all for every method, and an upload.
fn routes(paywall: Paywall, hits: Counter) -> Router {
    let route = |name: &'static str, price: &str| {
        let run = hits.clone();
        any(move || async move { format!("{name} {}", run.hit(name)) }).layer(paywall.price(price))
    };
    let file = hits.clone();
    let file = move |Path(name): Path<String>| async move { format!("file {name} {}", file.hit(&name)) };
    let upload = |name: &'static str| {
        let run = hits.clone();
        move |body: Bytes| async move { format!("{name} {} {}", run.hit(name), body.len()) }
    };
    Router::new()
        .route("/page", route("page", "0.01 XTS"))
        .route("/other", route("other", "0.01 XTS"))
        .route("/cheap", route("cheap", "0.001 XTS"))
        .route("/dear", route("dear", "1 XTS"))
        .route("/files/{name}", get(file).layer(paywall.price("0.01 XTS")))
        .route("/upload", any(upload("upload")).layer(paywall.price("0.01 XTS")))
        .route("/loose", any(upload("loose")).layer(paywall.price("0.01 XTS").unbound_body()))
}

fn expect_other_request(reply: &Reply) {
    assert_eq!(reply.status, 409, "{}", reply.text());
    assert_eq!(reply.problem(), ("bound-to-other-request".into(), "new".into()));
    assert_eq!(reply.settlement().error_reason.as_deref(), Some("bound_to_other_request"));
}

/// H, L and B, where B counts what was spent.
async fn expect_counts(world: &World, runs: usize, captures: u64, spent: u128) {
    assert_eq!(world.hits.all(), runs, "H");
    assert_eq!(world.captures().await, captures, "L");
    assert_eq!(START - world.balance().await, spent, "B");
}

#[tokio::test]
async fn t01_a_settled_payment_sent_a_hundred_times_runs_once() {
    let world = World::start(routes).await;
    let payment = world.pay("GET", "/page", b"").await;
    let first = world.send_paid("GET", "/page", &payment, b"").await;
    assert_eq!((first.status, first.text().as_str()), (200, "page 1"));
    for _ in 0..100 {
        let again = world.send_paid("GET", "/page", &payment, b"").await;
        assert_eq!((again.status, again.text().as_str()), (200, "page 1"));
    }
    expect_counts(&world, 1, 1, PRICE).await;
    // The positive twin: another payment runs the handler again.
    let payment = world.pay("GET", "/page", b"").await;
    assert_eq!(world.send_paid("GET", "/page", &payment, b"").await.text(), "page 2");
}

/// Both directions: a payment for one request does not open the other, spent or not, and opens its own.
async fn expect_apart(world: &World, one: (&str, &str, &[u8]), others: &[(&str, &str, &[u8])]) {
    for other in others {
        let before = (world.hits.all(), world.balance().await);
        let payment = world.pay(one.0, one.1, one.2).await;
        for spent in [false, true] {
            let reply = world.send_paid(other.0, other.1, &payment, other.2).await;
            assert_eq!(reply.status, 409, "{one:?} on {other:?}");
            if other.0 == "HEAD" {
                assert!(reply.body.is_empty());
                assert_eq!(reply.settlement().error_reason.as_deref(), Some("bound_to_other_request"));
            } else {
                expect_other_request(&reply);
            }
            let runs = usize::from(spent);
            assert_eq!(world.hits.all(), before.0 + runs, "{one:?} on {other:?}");
            assert_eq!(world.send_paid(one.0, one.1, &payment, one.2).await.status, 200);
        }
        assert_eq!(world.hits.all(), before.0 + 1);
        // The twin: a payment of its own opens the other one.
        let own = world.pay(other.0, other.1, other.2).await;
        assert_eq!(world.send_paid(other.0, other.1, &own, other.2).await.status, 200, "{other:?}");
        assert_eq!(world.hits.all(), before.0 + 2);
    }
}

#[tokio::test]
async fn t05_a_payment_for_one_page_does_not_open_another_of_the_same_price() {
    let world = World::start(routes).await;
    expect_apart(&world, ("GET", "/page", b""), &[("GET", "/other", b"")]).await;
    assert_eq!((world.hits.of("page"), world.hits.of("other")), (1, 1));
    expect_counts(&world, 2, 2, 2 * PRICE).await;
}

#[tokio::test]
async fn t06_a_payment_for_a_cheap_page_does_not_open_a_dear_one() {
    let world = World::start(routes).await;
    expect_apart(&world, ("GET", "/cheap", b""), &[("GET", "/dear", b"")]).await;
    expect_counts(&world, 2, 2, 1_001_000).await;
    // Nor does a payment that is bound to the dear page and signed for the cheap one's price.
    let (offer, signed) = world.sign("GET", "/dear", b"").await;
    let cheaper = resign(&signed, &key(1), |terms| terms.max_amount.0 = 1000);
    let mut unsigned: Value = serde_json::from_str(offer.text()).unwrap();
    unsigned["amount"] = json!("1000");
    for accepted in [offer.clone(), Offer::read(raw(&unsigned)).unwrap()] {
        let reply = world.send_paid("GET", "/dear", &World::header(&accepted, &cheaper), b"").await;
        assert_eq!((reply.status, reply.problem().0.as_str()), (402, "payment-refused"));
    }
    expect_counts(&world, 2, 2, 1_001_000).await;
    assert_eq!(world.send_paid("GET", "/dear", &World::header(&offer, &signed), b"").await.text(), "dear 2");
}

fn raw(value: &Value) -> Box<serde_json::value::RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

#[tokio::test]
async fn t07_a_payment_for_get_does_not_open_another_method() {
    let world = World::start(routes).await;
    let others: Vec<(&str, &str, &[u8])> =
        ["POST", "PUT", "DELETE", "PATCH", "HEAD"].map(|method| (method, "/page", &b""[..])).to_vec();
    expect_apart(&world, ("GET", "/page", b""), &others).await;
    expect_apart(&world, ("HEAD", "/page", b""), &[("GET", "/page", b"")]).await;
    expect_counts(&world, 12, 12, 12 * PRICE).await;
}

#[tokio::test]
async fn t08_a_payment_is_for_the_target_as_it_was_sent() {
    let world = World::start(routes).await;
    let page = |target| ("GET", target, &b""[..]);
    expect_apart(
        &world,
        page("/page?q=1"),
        &[page("/page?q=2"), page("/page"), page("/page?q=1&"), page("/page?q=%31"), page("/page?Q=1")],
    )
    .await;
    expect_apart(&world, page("/page?a=1&b=2"), &[page("/page?b=2&a=1"), page("/page?a=1&b=2&a=1")]).await;
    expect_apart(&world, page("/page"), &[page("/page?")]).await;
    expect_apart(
        &world,
        page("/files/a.txt"),
        &[page("/files/a%2etxt"), page("/files/a%2Etxt"), page("/files/%61.txt"), page("/files/A.txt")],
    )
    .await;
    // The form of the request line is not part of the target: the same resource, and the stored answer.
    let payment = world.pay("GET", "/page?q=9", b"").await;
    let first = world.send_paid("GET", "/page?q=9", &payment, b"").await;
    let absolute = format!("{}/page?q=9", world.origin);
    let again = world.send_paid("GET", &absolute, &payment, b"").await;
    assert_eq!((first.status, again.status, again.text()), (200, 200, first.text()));
    assert_eq!(world.captures().await, 25);
}

#[tokio::test]
async fn t09_a_payment_is_for_the_body_byte_by_byte() {
    let world = World::start(routes).await;
    fn post(body: &[u8]) -> (&str, &str, &[u8]) {
        ("POST", "/upload", body)
    }
    expect_apart(
        &world,
        post(b"hello, world"),
        &[
            post(b"hello, World"),
            post(b"hello, worl"),
            post(b"hello, world\n"),
            post(b" hello, world"),
            post(b""),
        ],
    )
    .await;
    // However the body is cut, it is the same body; trailing data in a chunk is another one.
    let payment = world.pay("POST", "/upload", b"hello, world").await;
    let headers = [("PAYMENT-SIGNATURE", payment.as_str()), ("Transfer-Encoding", "chunked")];
    let longer = world.send("POST", "/upload", &headers, b"7\r\nhello, \r\n6\r\nworld!\r\n0\r\n\r\n").await;
    expect_other_request(&longer);
    let chunks = b"1\r\nh\r\n6\r\nello, \r\n5;ext=1\r\nworld\r\n0\r\nTrailer: x\r\n\r\n";
    let chunked = world.send("POST", "/upload", &headers, chunks).await;
    assert_eq!((chunked.status, chunked.text().as_str()), (200, "upload 11 12"));
    let fixed = world.send_paid("POST", "/upload", &payment, b"hello, world").await;
    assert_eq!((fixed.status, fixed.text().as_str()), (200, "upload 11 12"));
    // What follows a body of known length is not part of it, and opens nothing.
    let mut bytes = request(world.address, "POST", "/upload", &headers[..1], b"hello, world");
    bytes.extend_from_slice(b"and more");
    assert_eq!(exchange(world.address, &bytes).await.unwrap().text(), "upload 11 12");
    expect_counts(&world, 11, 11, 11 * PRICE).await;
}

#[tokio::test]
async fn t09_only_a_route_that_says_so_takes_a_payment_for_any_body() {
    let world = World::start(routes).await;
    let payment = world.pay("POST", "/loose", b"one").await;
    let first = world.send_paid("POST", "/loose", &payment, b"another").await;
    assert_eq!((first.status, first.text().as_str()), (200, "loose 1 7"));
    // The terms of a kind that the route does not offer are refused, whatever digest they carry.
    for (target, binding) in
        [("/loose", farthing::protocol::Binding::Body), ("/upload", farthing::protocol::Binding::Open)]
    {
        let (offer, signed) = world.sign("POST", target, b"one").await;
        let other = resign(&signed, &key(1), |terms| terms.binding = binding);
        let reply = world.send_paid("POST", target, &World::header(&offer, &other), b"one").await;
        assert_eq!((reply.status, reply.problem().0.as_str()), (402, "payment-refused"), "{target}");
        assert_eq!(world.hits.all(), 1 + world.hits.of("upload"));
    }
    assert_eq!((world.hits.all(), world.captures().await), (1, 1));
    let own = world.pay("POST", "/upload", b"one").await;
    assert_eq!(world.send_paid("POST", "/upload", &own, b"one").await.status, 200);
}

#[tokio::test]
async fn t10_a_payment_for_one_server_does_not_open_another_of_the_same_seller() {
    let one = World::start(routes).await;
    let two = one.branch(one.ledger.facilitator(), routes).await;
    let payment = one.pay("GET", "/page", b"").await;
    let host = one.address.to_string();
    for spent in [false, true] {
        expect_other_request(&two.send_paid("GET", "/page", &payment, b"").await);
        // A server knows its origin from its configuration.
        let spoofed = [("Host", host.as_str()), ("X-Forwarded-Host", &host), ("PAYMENT-SIGNATURE", &payment)];
        expect_other_request(&two.send("GET", "/page", &spoofed, b"").await);
        assert_eq!((one.hits.all(), two.hits.all()), (usize::from(spent), 0));
        assert_eq!(one.send_paid("GET", "/page", &payment, b"").await.text(), "page 1");
    }
    expect_counts(&one, 1, 1, PRICE).await;
    let own = two.pay("GET", "/page", b"").await;
    assert_eq!(two.send_paid("GET", "/page", &own, b"").await.text(), "page 1");
    assert_eq!((one.hits.all(), two.hits.all(), one.captures().await), (1, 1, 2));
}

/// A world on a ledger of its own.
async fn abroad(seed: u8) -> World {
    let clock = TestClock::default();
    let time = clock.clone();
    let seller = key(farthing_testkit::SELLER).public();
    let mut options = Options::closed_loop(seller, farthing::protocol::Amount(1_000_000_000_000));
    options.clock = std::sync::Arc::new(move || time.now());
    World::on(Ledger::memory(key(seed), options).unwrap(), clock, routes).await
}

#[tokio::test]
async fn t11_a_payment_on_one_network_or_in_one_asset_is_none_in_another() {
    let world = World::start(routes).await;
    let elsewhere = abroad(113).await;
    assert_ne!(world.ledger.ledger().network(), elsewhere.ledger.ledger().network());
    world.ledger.deposit(world.payer.account(), "100 USD").await.unwrap();
    let foreign = elsewhere.ledger.ledger().network().to_string();
    let (offer, signed) = world.sign("GET", "/page", b"").await;
    let dollars = resign(&signed, &key(1), |terms| terms.asset = "USD".parse().unwrap());
    let play = resign(&signed, &key(1), |terms| terms.ledger = elsewhere.ledger.ledger().id());

    let swapped = |member: &str, value: &str| {
        let mut json: Value = serde_json::from_str(offer.text()).unwrap();
        json[member] = json!(value);
        Offer::read(raw(&json)).unwrap()
    };
    // (what the envelope says, what is signed, why it is refused)
    let cases = [
        (swapped("network", &foreign), &signed, "no_matching_payment_requirements"),
        (swapped("network", "eip155:8453"), &signed, "no_matching_payment_requirements"),
        (swapped("asset", "USD"), &signed, "no_matching_payment_requirements"),
        (swapped("asset", "USD"), &dollars, "no_matching_payment_requirements"),
        (offer.clone(), &dollars, "asset_mismatch"),
        (offer.clone(), &play, "invalid_network"),
        (swapped("network", &foreign), &play, "no_matching_payment_requirements"),
    ];
    for (accepted, signed, why) in cases {
        let reply = world.send_paid("GET", "/page", &World::header(&accepted, signed), b"").await;
        assert_eq!((reply.status, reply.problem()), (402, ("payment-refused".into(), "new".into())));
        assert_eq!(reply.terms().error.as_deref(), Some(why));
        expect_counts(&world, 0, 0, 0).await;
    }
    // The wallet of one ledger, with the money of the other, on an offer that the other never made.
    let (_, theirs) = elsewhere.sign("GET", "/page", b"").await;
    expect_other_request(&world.send_paid("GET", "/page", &World::header(&offer, &theirs), b"").await);
    expect_counts(&world, 0, 0, 0).await;
    assert_eq!(world.ledger.balance(world.payer.account(), "USD").await.unwrap().0, START);

    let paid = world.send_paid("GET", "/page", &World::header(&offer, &signed), b"").await;
    assert_eq!(paid.text(), "page 1");
    let (offer, signed) = elsewhere.sign("GET", "/page", b"").await;
    assert_eq!(
        elsewhere.send_paid("GET", "/page", &World::header(&offer, &signed), b"").await.text(),
        "page 1"
    );
    expect_counts(&world, 1, 1, PRICE).await;
}

/// Everything that could stand in a member's place, and nothing at all.
fn instead(of: &Value) -> Vec<Option<Value>> {
    let mut values =
        vec![None, Some(json!(null)), Some(json!("")), Some(json!({})), Some(json!([])), Some(json!(true))];
    values.extend(
        ["0", "1", "999999999999", "/dear", "https://evil.example/dear"].map(|text| Some(json!(text))),
    );
    values.push(Some(json!(key(9).public().to_string())));
    values.extend([Some(json!(0)), Some(json!(1)), Some(json!(u64::MAX)), Some(json!(-1))]);
    values.retain(|value| value.as_ref() != Some(of));
    values
}

fn leaves(value: &Value, at: String, found: &mut Vec<String>) {
    found.push(at.clone());
    if let Value::Object(members) = value {
        members.iter().for_each(|(name, inner)| leaves(inner, format!("{at}/{name}"), found));
    }
}

fn put(json: &mut Value, at: &str, value: Option<Value>) {
    let (parent, name) = at.rsplit_once('/').unwrap();
    let parent = json.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => drop(parent.insert(name.into(), value)),
        None => drop(parent.remove(name)),
    }
}

#[tokio::test]
async fn t12_no_unsigned_field_changes_who_pays_or_how_much_or_what_is_served() {
    let world = World::start(routes).await;
    let victim = world.another_payer(9, "100 XTS").await;
    let mut envelope: Value = serde_json::from_str(&open(&world.pay("GET", "/page", b"").await)).unwrap();
    envelope["resource"] = json!({"url": format!("{}/page", world.origin), "description": "d"});
    for unknown in ["from", "payer", "amount", "payTo", "requestDigest"] {
        envelope[unknown] = json!("x");
        envelope["accepted"][unknown] = envelope["accepted"].get(unknown).cloned().unwrap_or(json!("x"));
    }
    let mut places = Vec::new();
    for (name, value) in envelope.as_object().unwrap().iter().filter(|(name, _)| *name != "payload") {
        leaves(value, format!("/{name}"), &mut places);
    }
    assert!(places.len() > 25, "{places:?}");

    let (mut tried, mut served) = (0, 0);
    for place in &places {
        for value in instead(envelope.pointer(place).unwrap()) {
            let (offer, signed) = world.sign("GET", "/page", b"").await;
            let good = World::header(&offer, &signed);
            let mut json = envelope.clone();
            let fresh: Value = serde_json::from_str(&open(&good)).unwrap();
            (json["accepted"]["extra"], json["payload"]) =
                (fresh["accepted"]["extra"].clone(), fresh["payload"].clone());
            put(&mut json, place, value.clone());
            let before = world.balance().await;
            let reply = world.send_paid("GET", "/page", &seal(json.to_string()), b"").await;
            tried += 1;
            if reply.status == 200 {
                served += 1;
                let settlement = reply.settlement();
                assert_eq!(settlement.payer, Some(world.payer.account().to_string()), "{place} {value:?}");
                assert_eq!(settlement.amount.unwrap().0, PRICE, "{place} {value:?}");
                assert_eq!(settlement.transaction, signed.id.to_string());
            } else {
                assert!(matches!(reply.status, 400 | 402), "{place} {value:?}: {}", reply.status);
                assert_eq!(world.balance().await, before, "{place} {value:?}");
                // The twin: with its own envelope, the same payment is good.
                assert_eq!(world.send_paid("GET", "/page", &good, b"").await.status, 200);
            }
            assert_eq!((world.hits.all(), world.hits.of("page")), (tried, tried), "{place} {value:?}");
            assert_eq!(world.balance().await, before - PRICE, "{place} {value:?}");
        }
    }
    assert!(served > 50 && tried - served > 50, "{served} of {tried}");
    assert_eq!(world.captures().await, tried as u64);
    assert_eq!(world.balance_of(victim.account()).await, START);
}

/// A payment that another payer signs for the same request.
async fn signed_by(world: &World, payer: &NativePay, target: &str) -> (Offer, SignedPayment) {
    let offer = world.offers("GET", target, b"").await.remove(0);
    let signed = world.sign_offer(payer, &offer);
    (offer, signed)
}

#[tokio::test]
async fn t13_a_nonce_signed_twice_is_a_conflict() {
    let world = World::start(routes).await;
    let (offer, signed) = world.sign("GET", "/page", b"").await;
    let paid = world.send_paid("GET", "/page", &World::header(&offer, &signed), b"").await;
    assert_eq!(paid.text(), "page 1");
    let again = resign(&signed, &key(1), |terms| terms.valid_before -= 1);
    let reply = world.send_paid("GET", "/page", &World::header(&offer, &again), b"").await;
    assert_eq!((reply.status, reply.problem()), (409, ("payment-conflict".into(), "none".into())));
    assert_eq!(reply.settlement().error_reason.as_deref(), Some("payment_conflict"));
    assert!(!reply.text().contains("page 1"));
    // On another page, too: the nonce is the payer's.
    let (offer, other) = world.sign("GET", "/other", b"").await;
    let nonce = farthing_testkit::forge::terms(&signed).nonce;
    let reused = resign(&other, &key(1), |terms| terms.nonce = nonce);
    let reply = world.send_paid("GET", "/other", &World::header(&offer, &reused), b"").await;
    assert_eq!((reply.status, reply.problem().0.as_str()), (409, "payment-conflict"));
    expect_counts(&world, 1, 1, PRICE).await;
    // The twins: with another nonce; and the same nonce of another payer.
    assert_eq!(world.send_paid("GET", "/other", &World::header(&offer, &other), b"").await.text(), "other 1");
    let stranger = world.another_payer(9, "1 XTS").await;
    let (offer, theirs) = signed_by(&world, &stranger, "/page").await;
    let theirs = resign(&theirs, &key(9), |terms| terms.nonce = nonce);
    assert_eq!(world.send_paid("GET", "/page", &World::header(&offer, &theirs), b"").await.text(), "page 2");
}

#[tokio::test]
async fn t13_somebody_elses_payment_leaks_nothing() {
    let world = World::start(routes).await;
    let stranger = world.another_payer(9, "1 XTS").await;
    let (offer, signed) = world.sign("GET", "/page", b"").await;
    let payment = World::header(&offer, &signed);
    assert_eq!(world.send_paid("GET", "/page", &payment, b"").await.text(), "page 1");

    // Whoever knows the signed bytes, and not the signature, gets nothing of what they bought.
    let (bytes, _) = signed_part(&signed);
    for forged in [key(9).sign(&bytes), farthing::protocol::Signature([7; 64])] {
        let forged = with_part(&signed, &bytes, forged);
        assert_eq!(forged.id, signed.id);
        let reply = world.send_paid("GET", "/page", &World::header(&offer, &forged), b"").await;
        assert_eq!(reply.status, 402);
        assert_eq!(reply.settlement().error_reason.as_deref(), Some("invalid_signature"));
        assert!(!reply.text().contains("page 1"));
    }
    // The same terms in the stranger's name are the stranger's own payment.
    let mine = resign(&signed, &key(9), |terms| {
        (terms.payer, terms.signer) = (stranger.account(), stranger.account());
    });
    let reply = world.send_paid("GET", "/page", &World::header(&offer, &mine), b"").await;
    assert_eq!(
        (reply.text().as_str(), reply.settlement().payer),
        ("page 2", Some(stranger.account().to_string()))
    );
    // Signed by a key that is none of the payer's.
    let (offer, theirs) = world.sign("GET", "/page", b"").await;
    let theirs = resign(&theirs, &key(9), |terms| terms.signer = stranger.account());
    let reply = world.send_paid("GET", "/page", &World::header(&offer, &theirs), b"").await;
    assert_eq!(reply.settlement().error_reason.as_deref(), Some("unauthorized_signer"));
    // The ledger tells everybody the state of a payment, and nobody its answer.
    let status = world.send("GET", &format!("/ledger/payments/{}", signed.id), &[], b"").await;
    assert_eq!(status.json()["state"], "captured");
    assert!(status.json().get("payer").is_none() && status.json().get("answer").is_none());
    let body = json!({"x402Version": 2, "paymentPayload": serde_json::from_str::<Value>(&open(&payment)).unwrap(),
        "paymentRequirements": serde_json::from_str::<Value>(offer.text()).unwrap()});
    let json_type = [("Content-Type", "application/json")];
    let settled = world.send("POST", "/ledger/settle", &json_type, body.to_string().as_bytes()).await.json();
    assert_eq!((&settled["extra"]["state"], settled["extra"].get("answer")), (&json!("captured"), None));
    // The twin: who holds the whole payment is served its answer again.
    assert_eq!(world.send_paid("GET", "/page", &payment, b"").await.text(), "page 1");
    assert_eq!((world.hits.all(), world.captures().await), (2, 2));
    assert_eq!(world.balance().await, START - PRICE);
    let facilitator: std::sync::Arc<dyn Facilitator> = world.ledger.facilitator();
    assert!(facilitator.payment(&signed.id).await.unwrap().is_some());
}
