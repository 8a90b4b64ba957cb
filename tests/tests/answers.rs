//! What a server answers, row by row, on a real ledger and over a real connection. Each row: status, x402
//! reason, problem, retry advice, and the headers that caches look at; and a fresh payment that still works.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use farthing::Paywall;
use farthing::farthing_ledger::terms::Terms;
use farthing::protocol::v2::{Offer, PaymentRequirements};
use farthing::protocol::{Amount, reason};
use farthing::server::RefusePaid;
use farthing_testkit::{Counter, Meddler, Meddling, Reply, World, forge, key};
use tokio::sync::Semaphore;

/// Where the slow route waits.
#[derive(Clone)]
struct Gate {
    entered: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    fn new() -> Self {
        Self { entered: Arc::new(Semaphore::new(0)), open: Arc::new(Semaphore::new(0)) }
    }

    async fn pass(&self) {
        self.entered.add_permits(1);
        self.open.acquire().await.unwrap().forget();
    }
}

fn routes(gate: Gate) -> impl FnOnce(Paywall, Counter) -> Router {
    move |paywall, hits| {
        let price = || paywall.price("0.01 XTS");
        let page = {
            let hits = hits.clone();
            move || async move { format!("page {}", hits.hit("page")) }
        };
        let (slow_hits, hit) = (hits.clone(), hits.clone());
        let slow = move || async move {
            slow_hits.hit("slow");
            gate.pass().await;
            "slow"
        };
        let fails = move || async move {
            hit.hit("fails");
            (StatusCode::NOT_FOUND, [("cache-control", "public, max-age=60")], "no such thing")
        };
        Router::new()
            .route("/page", get(page.clone()).layer(price()))
            .route("/other", get(page.clone()).layer(price()))
            .route("/upload", post(page.clone()).layer(price()))
            .route("/slow", get(slow.clone()).layer(price()))
            .route("/hurried", get(slow).layer(price().handler_deadline(Duration::from_millis(50))))
            .route("/fails", get(fails).layer(price()))
            .route(
                "/panics",
                get(|| async {
                    if true {
                        panic!("out of luck")
                    }
                })
                .layer(price()),
            )
            .route(
                "/policy",
                get(|| async { (axum::Extension(RefusePaid("not to you".into())), "x") }).layer(price()),
            )
            .route("/long", get(|| async { "x".repeat(100_000) }).layer(price()))
            .route("/free", get(page))
    }
}

/// One row of the table.
struct Row {
    status: u16,
    /// `code` of the problem and its retry advice.
    problem: Option<(&'static str, &'static str)>,
    /// `errorReason` of `PAYMENT-RESPONSE`.
    reason: Option<&'static str>,
    /// Whether terms come with it.
    terms: bool,
    retry_after: bool,
}

const fn row(status: u16, code: &'static str, retry: &'static str) -> Row {
    Row { status, problem: Some((code, retry)), reason: None, terms: status == 402, retry_after: false }
}

impl Row {
    const fn because(self, reason: &'static str) -> Self {
        Self { reason: Some(reason), ..self }
    }

    const fn after(self) -> Self {
        Self { retry_after: true, ..self }
    }

    #[track_caller]
    fn is(&self, reply: &Reply) {
        assert_eq!(reply.status, self.status, "{}", reply.text());
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        // A problem is written as its reader likes it.
        let of_problem = if self.problem.is_some() { ", Accept, Accept-Language" } else { "" };
        let vary = format!("PAYMENT-SIGNATURE, X-PAYMENT{of_problem}");
        assert_eq!(reply.header("vary"), Some(vary.as_str()));
        assert_eq!(reply.header("retry-after").is_some(), self.retry_after);
        if let Some((code, retry)) = self.problem {
            assert_eq!(reply.header("content-type"), Some("application/problem+json"));
            assert_eq!(reply.problem(), (code.into(), retry.into()));
            let problem = reply.json();
            assert_eq!(problem["type"], format!("urn:farthing:problem:{code}"));
            assert_eq!(problem["status"], self.status);
            assert!(problem["title"].is_string() && problem["detail"].is_string());
            assert_eq!(problem.get("terms").is_some(), self.terms);
        }
        assert_eq!(reply.header("payment-required").is_some(), self.terms);
        let settlement = reply.header("payment-response").map(|_| reply.settlement());
        assert_eq!(settlement.as_ref().and_then(|said| said.error_reason.as_deref()), self.reason);
        if let (true, Some(reason)) = (self.terms, self.reason) {
            assert_eq!(reply.terms().error.as_deref(), Some(reason));
        }
        if let Some(settlement) = settlement {
            assert!(!settlement.success);
            assert!(settlement.amount.unwrap_or_default() == Amount::ZERO);
        }
    }
}

async fn shop() -> (World, Gate) {
    let gate = Gate::new();
    (World::start(routes(gate.clone())).await, gate)
}

/// A fresh payment buys a page, and is captured.
async fn sells(world: &World) {
    let (pages, captures) = (world.hits.of("page"), world.captures().await);
    let payment = world.pay("GET", "/page", b"").await;
    let paid = world.send_paid("GET", "/page", &payment, b"").await;
    assert_eq!((paid.status, paid.text()), (200, format!("page {}", pages + 1)));
    assert_eq!((world.hits.of("page"), world.captures().await), (pages + 1, captures + 1));
}

/// Nothing ran, nothing was taken, nothing is held.
async fn untouched(world: &World) {
    assert_eq!((world.hits.all(), world.captures().await), (0, 0));
    assert_eq!(world.balance().await, 100_000_000);
}

#[tokio::test]
async fn unpaid_is_402_with_terms() {
    let (world, _) = shop().await;
    let reply = world.send("GET", "/page", &[], b"").await;
    row(402, "payment-required", "new").is(&reply);
    assert_eq!(reply.terms().error.as_deref(), Some("Payment required"));
    let schemes: Vec<_> = reply.terms().offers().map(|offer| offer.scheme.clone()).collect();
    assert_eq!(schemes, ["auth-capture", "exact"]);
    let mirrored = serde_json::to_value(reply.terms()).unwrap();
    assert_eq!(reply.json()["terms"], mirrored);
    untouched(&world).await;
    sells(&world).await;
}

#[tokio::test]
async fn malformed_is_400_two_are_400_too_large_is_431_and_413() {
    let (world, _) = shop().await;
    let payment = world.pay("GET", "/page", b"").await;
    for (header, field) in [
        ("!".to_owned(), "payment-signature"),
        (forge::seal("[]"), "payment-signature"),
        (forge::seal("{\"x402Version\":1}"), "x402Version"),
        (forge::seal(forge::open(&payment).replacen("\"accepted\"", "\"refused\"", 1)), "accepted"),
    ] {
        let reply = world.send_paid("GET", "/page", &header, b"").await;
        row(400, "malformed-payment", "new").is(&reply);
        assert!(reply.json()["field"].as_str().is_some(), "{field}: {}", reply.text());
    }
    let twice = [("PAYMENT-SIGNATURE", &*payment), ("PAYMENT-SIGNATURE", &*payment)];
    row(400, "several-payments", "new").is(&world.send("GET", "/page", &twice, b"").await);
    let v1 = world.send("GET", "/page", &[("X-PAYMENT", &payment)], b"").await;
    row(400, "unsupported-version", "new").is(&v1);
    let long = world.send_paid("GET", "/page", &"A".repeat(8193), b"").await;
    row(431, "payment-too-large", "new").is(&long);
    // Said by its length alone, and never sent.
    let length = (1024 * 1024 + 1).to_string();
    let body = world.send("POST", "/upload", &[("Content-Length", &length)], b"").await;
    row(413, "body-too-large", "new").is(&body);
    untouched(&world).await;
    assert_eq!(world.send_paid("GET", "/page", &payment, b"").await.status, 200);
}

#[tokio::test]
async fn signed_for_another_request_is_409_spent_or_not() {
    let (world, _) = shop().await;
    let expected = row(409, "bound-to-other-request", "new").because(reason::BOUND_TO_OTHER_REQUEST);
    let payment = world.pay("GET", "/page", b"").await;
    for spent in [false, true] {
        for target in ["/other", "/page?a", "/page?"] {
            expected.is(&world.send_paid("GET", target, &payment, b"").await);
        }
        assert_eq!(world.hits.all(), usize::from(spent));
        assert_eq!(world.send_paid("GET", "/page", &payment, b"").await.text(), "page 1");
    }
    assert_eq!((world.hits.all(), world.captures().await), (1, 1));
}

#[tokio::test]
async fn refused_is_402_with_terms_and_the_reason() {
    let (world, _) = shop().await;
    let poor = world.another_payer(9, "0.009999 XTS").await;
    let offer = world.offers("GET", "/page", b"").await.remove(0);
    let signed = world.sign_offer(&poor, &offer);
    let reply = world.send_paid("GET", "/page", &World::header(&offer, &signed), b"").await;
    row(402, "payment-refused", "new").because(reason::INSUFFICIENT_FUNDS).is(&reply);

    type Change = fn(&mut Terms);
    let changes: [(&str, Change); 8] = [
        (reason::AMOUNT_MISMATCH, |terms| terms.max_amount = Amount(9_999)),
        (reason::AMOUNT_MISMATCH, |terms| terms.max_amount = Amount(10_001)),
        (reason::ASSET_MISMATCH, |terms| terms.asset = "USD".parse().unwrap()),
        (reason::PAY_TO_MISMATCH, |terms| terms.payee = key(9).public()),
        (reason::RECEIVER_AUTHORIZER_MISMATCH, |terms| terms.receiver_authorizer = key(9).public()),
        (reason::FEE_MISMATCH, |terms| (terms.fee.min_bps, terms.fee.max_bps) = (1, 100)),
        (reason::MANDATE, |terms| terms.mandate = [1; 32]),
        (reason::PAYMENT_NOT_YET_VALID, |terms| terms.valid_after += 600),
    ];
    for (reason, change) in changes {
        let (offer, signed) = world.sign("GET", "/page", b"").await;
        let signed = forge::resign(&signed, &key(1), change);
        let reply = world.send_paid("GET", "/page", &World::header(&offer, &signed), b"").await;
        row(402, "payment-refused", "new").because(reason).is(&reply);
    }
    // Signed by somebody else, and by nobody.
    let (offer, signed) = world.sign("GET", "/page", b"").await;
    let forged = forge::resign(&signed, &key(9), |_| ());
    let reply = world.send_paid("GET", "/page", &World::header(&offer, &forged), b"").await;
    row(402, "payment-refused", "new").because(reason::INVALID_SIGNATURE).is(&reply);
    // What the client says it accepts is none of the offers.
    let mut cheaper: PaymentRequirements = offer.clone().into_parsed();
    cheaper.amount = Amount(1);
    let cheaper = Offer::write(cheaper).unwrap();
    let reply = world.send_paid("GET", "/page", &World::header(&cheaper, &signed), b"").await;
    row(402, "payment-refused", "new").because(reason::NO_MATCHING_PAYMENT_REQUIREMENTS).is(&reply);
    assert_eq!(reply.json()["field"], "accepted.amount");
    // Too late.
    world.clock.forward(400);
    let reply = world.send_paid("GET", "/page", &World::header(&offer, &signed), b"").await;
    row(402, "payment-refused", "new").because(reason::PAYMENT_EXPIRED).is(&reply);
    untouched(&world).await;
    sells(&world).await;
}

#[tokio::test]
async fn the_same_payment_while_its_request_runs_is_409_with_retry_same() {
    let (world, gate) = shop().await;
    let payment = world.pay("GET", "/slow", b"").await;
    let second = async {
        gate.entered.acquire().await.unwrap().forget();
        let reply = world.send_paid("GET", "/slow", &payment, b"").await;
        gate.open.add_permits(1);
        reply
    };
    let (first, second) = tokio::join!(world.send_paid("GET", "/slow", &payment, b""), second);
    row(409, "payment-in-progress", "same").because(reason::PAYMENT_IN_PROGRESS).after().is(&second);
    assert_eq!((first.status, first.text().as_str()), (200, "slow"));
    assert_eq!(world.send_paid("GET", "/slow", &payment, b"").await.text(), "slow");
    assert_eq!((world.hits.of("slow"), world.captures().await), (1, 1));
}

#[tokio::test]
async fn the_same_nonce_with_other_signed_bytes_is_409_with_retry_none() {
    let (world, _) = shop().await;
    let (offer, signed) = world.sign("GET", "/page", b"").await;
    assert_eq!(world.send_paid("GET", "/page", &World::header(&offer, &signed), b"").await.status, 200);
    let other = forge::resign(&signed, &key(1), |terms| terms.valid_before -= 1);
    let reply = world.send_paid("GET", "/page", &World::header(&offer, &other), b"").await;
    row(409, "payment-conflict", "none").because(reason::PAYMENT_CONFLICT).is(&reply);
    assert_eq!((world.hits.all(), world.captures().await), (1, 1));
    sells(&world).await;
}

#[tokio::test]
async fn an_unknown_outcome_is_503_with_retry_same_and_never_402() {
    let (world, gate) = shop().await;
    let pending = || row(503, "settlement-pending", "same").because(reason::SETTLEMENT_PENDING).after();
    for (kind, how, runs) in [
        ("authorize", Meddling::Lose, 0),
        ("authorize", Meddling::Silence, 0),
        ("capture", Meddling::Lose, 1),
        ("capture", Meddling::Silence, 1),
        ("authorize", Meddling::Refuse(reason::SETTLEMENT_PENDING), 0),
        ("capture", Meddling::Refuse(reason::SETTLEMENT_PENDING), 1),
    ] {
        let meddler = Meddler::new(world.ledger.facilitator());
        let branch = world.branch(meddler.clone(), routes(gate.clone())).await;
        let captures = world.captures().await;
        let payment = branch.pay("GET", "/page", b"").await;
        meddler.meddle(kind, how.clone());
        for _ in 0..2 {
            pending().is(&branch.send_paid("GET", "/page", &payment, b"").await);
            assert_eq!(branch.hits.of("page"), runs, "{kind} {how:?}");
        }
        meddler.behave();
        let reply = branch.send_paid("GET", "/page", &payment, b"").await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "page 1"), "{kind} {how:?}");
        assert_eq!((branch.hits.of("page"), world.captures().await), (1, captures + 1), "{kind} {how:?}");
    }
}

#[tokio::test]
async fn a_handler_that_fails_is_voided_and_its_answer_passed_on() {
    let (world, _) = shop().await;
    let payment = world.pay("GET", "/fails", b"").await;
    let reply = world.send_paid("GET", "/fails", &payment, b"").await;
    assert_eq!(reply.text(), "no such thing");
    Row { status: 404, problem: None, ..row(404, "", "") }.because(reason::PAYMENT_VOIDED).is(&reply);
    let again = world.send_paid("GET", "/fails", &payment, b"").await;
    row(402, "payment-voided", "new").because(reason::PAYMENT_VOIDED).is(&again);

    for (target, status, code) in [("/panics", 500, "handler-failed"), ("/hurried", 504, "handler-timeout")] {
        let payment = world.pay("GET", target, b"").await;
        let reply = world.send_paid("GET", target, &payment, b"").await;
        row(status, code, "new").because(reason::PAYMENT_VOIDED).is(&reply);
        assert!(!reply.text().contains("out of luck"));
        let again = world.send_paid("GET", target, &payment, b"").await;
        row(402, "payment-voided", "new").because(reason::PAYMENT_VOIDED).is(&again);
    }
    assert_eq!((world.hits.of("fails"), world.hits.of("slow"), world.captures().await), (1, 1, 0));
    assert_eq!(world.balance().await, 100_000_000);
    sells(&world).await;
}

#[tokio::test]
async fn a_payer_whom_policy_refuses_is_403_and_voided() {
    let (world, _) = shop().await;
    let payment = world.pay("GET", "/policy", b"").await;
    let reply = world.send_paid("GET", "/policy", &payment, b"").await;
    row(403, "refused-by-policy", "none").because(reason::PAYMENT_VOIDED).is(&reply);
    assert_eq!(reply.json()["detail"], "not to you");
    untouched(&world).await;
    sells(&world).await;
}

#[tokio::test]
async fn paid_is_the_handlers_answer_with_a_settlement_and_private() {
    let (world, _) = shop().await;
    let payment = world.pay("GET", "/page", b"").await;
    for _ in 0..2 {
        let reply = world.send_paid("GET", "/page", &payment, b"").await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "page 1"));
        assert_eq!(reply.header("cache-control"), Some("private"));
        assert_eq!(reply.header("vary"), Some("PAYMENT-SIGNATURE, X-PAYMENT"));
        assert_eq!((reply.header("payment-required"), reply.header("retry-after")), (None, None));
        let settlement = reply.settlement();
        assert!(settlement.success && settlement.error_reason.is_none());
        assert_eq!(settlement.amount, Some(Amount(10_000)));
        assert!(settlement.extensions.contains_key("farthing-receipt"));
        assert!(settlement.extra.contains_key("statement"));
    }
    assert_eq!((world.hits.all(), world.captures().await), (1, 1));
    assert_eq!(world.balance().await, 100_000_000 - 10_000);
}

#[tokio::test]
async fn an_answer_too_long_to_be_kept_is_delivered_once_and_said_to_be_gone() {
    let (world, _) = shop().await;
    let payment = world.pay("GET", "/long", b"").await;
    let reply = world.send_paid("GET", "/long", &payment, b"").await;
    assert_eq!((reply.status, reply.body.len()), (200, 100_000));
    let again = world.send_paid("GET", "/long", &payment, b"").await;
    assert_eq!((again.status, again.problem()), (409, ("answer-not-kept".into(), "none".into())));
    assert!(again.settlement().success);
    assert_eq!(world.captures().await, 1);
    sells(&world).await;
}

#[tokio::test]
async fn a_payment_on_a_free_route_is_ignored() {
    let (world, _) = shop().await;
    let payment = world.pay("GET", "/page", b"").await;
    for header in [payment.as_str(), "!", &"A".repeat(9_000)] {
        let reply = world.send_paid("GET", "/free", header, b"").await;
        assert_eq!((reply.status, reply.header("payment-response")), (200, None));
    }
    assert_eq!((world.captures().await, world.balance().await), (0, 100_000_000));
    assert_eq!(world.send_paid("GET", "/page", &payment, b"").await.status, 200);
    assert_eq!(world.captures().await, 1);
}
