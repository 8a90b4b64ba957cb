//! Threats F: time. Both clocks, the ledger's and the paywall's, are the test's.

use axum::Router;
use axum::routing::get;
use farthing::Paywall;
use farthing::farthing_ledger::terms::Terms;
use farthing_testkit::forge::resign;
use farthing_testkit::{Counter, Reply, TestClock, World, key};

const PRICE: u128 = 10_000;
const START: u128 = 100_000_000;
/// Seconds by which clocks may differ.
const SKEW: u64 = 5;
/// The furthest that validBefore, captureDeadline and refundDeadline may lie ahead, in seconds.
const WINDOW: u64 = 3600;
const HOLD: u64 = 30 * 86_400;
const RECORD: u64 = 90 * 86_400;

/// A page.
fn routes(paywall: Paywall, hits: Counter) -> Router {
    let run = hits.clone();
    Router::new().route(
        "/page",
        get(move || async move { format!("page {}", run.hit("page")) }).layer(paywall.price("0.01 XTS")),
    )
}

/// A world whose time stands still.
async fn still() -> (World, u64) {
    let world = World::start(routes).await;
    let now = world.clock.now() + 10;
    world.clock.set(now);
    (world, now)
}

/// Presents a payment with changed terms.
async fn present(world: &World, change: impl FnOnce(&mut Terms)) -> Reply {
    let (offer, signed) = world.sign("GET", "/page", b"").await;
    let signed = resign(&signed, &key(1), change);
    world.send_paid("GET", "/page", &World::header(&offer, &signed), b"").await
}

async fn expect_paid(world: &World, what: &str, change: impl FnOnce(&mut Terms)) {
    let before = (world.hits.all(), world.balance().await);
    let reply = present(world, change).await;
    assert_eq!(reply.status, 200, "{what}: {}", reply.text());
    assert_eq!((world.hits.all(), world.balance().await), (before.0 + 1, before.1 - PRICE), "{what}");
}

async fn expect_refused(world: &World, what: &str, reason: &str, change: impl FnOnce(&mut Terms)) {
    let before = (world.hits.all(), world.balance().await);
    let reply = present(world, change).await;
    assert_eq!((reply.status, reply.problem().1.as_str()), (402, "new"), "{what}: {}", reply.text());
    assert_eq!(reply.settlement().error_reason.as_deref(), Some(reason), "{what}");
    assert_eq!((world.hits.all(), world.balance().await), before, "{what}");
}

#[tokio::test]
async fn t50_each_boundary_holds_to_the_second() {
    let (world, now) = still().await;
    let later = now + 300;
    expect_paid(&world, "validAfter, skewed", |t| t.valid_after = now + SKEW).await;
    expect_refused(&world, "validAfter", "payment_not_yet_valid", |t| t.valid_after = now + SKEW + 1).await;
    expect_paid(&world, "validBefore, skewed", |t| t.valid_before = now - SKEW).await;
    expect_refused(&world, "validBefore", "payment_expired", |t| t.valid_before = now - SKEW - 1).await;
    expect_paid(&world, "window", |t| t.valid_before = now + WINDOW + SKEW).await;
    expect_refused(&world, "window", "payment_window_too_long", |t| t.valid_before = now + WINDOW + SKEW + 1)
        .await;
    // Time to deliver: a minute at least.
    expect_paid(&world, "captureDeadline", |t| t.capture_deadline = now + 60).await;
    expect_refused(&world, "captureDeadline", "deadline_mismatch", |t| t.capture_deadline = now + 59).await;
    expect_refused(&world, "captureDeadline now", "deadline_mismatch", |t| t.capture_deadline = now).await;
    let no_refund = |t: &mut Terms| t.refund_deadline = 0;
    expect_paid(&world, "no refunds", no_refund).await;
    expect_paid(&world, "longest hold", |t| (t.capture_deadline, t.refund_deadline) = (now + HOLD, 0)).await;
    let longer = |t: &mut Terms| (t.capture_deadline, t.refund_deadline) = (now + HOLD + 1, 0);
    expect_refused(&world, "longer hold", "deadline_mismatch", longer).await;
    expect_paid(&world, "refundDeadline", |t| t.refund_deadline = now + RECORD).await;
    expect_refused(&world, "refundDeadline", "deadline_mismatch", |t| t.refund_deadline = now + RECORD + 1)
        .await;
    expect_paid(&world, "refund with capture", |t| (t.capture_deadline, t.refund_deadline) = (later, later))
        .await;
    let early = |t: &mut Terms| (t.capture_deadline, t.refund_deadline) = (later, later - 1);
    expect_refused(&world, "refund before capture", "deadline_mismatch", early).await;
    assert_eq!(world.captures().await, world.hits.all() as u64);
}

#[tokio::test]
async fn t50_times_at_the_ends_of_the_number_line_are_judged_and_never_overflow() {
    let (world, _) = still().await;
    // As a signed number, the last two are the most negative one and -1.
    let (far, most, last) = (i64::MAX as u64, 1 << 63, u64::MAX);
    expect_paid(&world, "validAfter 0", |t| t.valid_after = 0).await;
    expect_refused(&world, "validBefore 0", "payment_expired", |t| t.valid_before = 0).await;
    expect_refused(&world, "captureDeadline 0", "deadline_mismatch", |t| t.capture_deadline = 0).await;
    for time in [far, most, last - SKEW, last] {
        expect_refused(&world, "validAfter", "payment_not_yet_valid", |t| t.valid_after = time).await;
        expect_refused(&world, "validBefore", "payment_window_too_long", |t| t.valid_before = time).await;
        expect_refused(&world, "captureDeadline", "deadline_mismatch", |t| t.capture_deadline = time).await;
        expect_refused(&world, "refundDeadline", "deadline_mismatch", |t| t.refund_deadline = time).await;
        let all = |t: &mut Terms| {
            (t.valid_after, t.valid_before, t.capture_deadline, t.refund_deadline) = (time, time, time, time);
        };
        expect_refused(&world, "all of them", "payment_not_yet_valid", all).await;
    }
    // So are amounts.
    for amount in [0, PRICE - 1, PRICE + 1, u128::from(u64::MAX), 1 << 127, u128::MAX] {
        expect_refused(&world, "amount", "amount_mismatch", |t| t.max_amount.0 = amount).await;
    }
    assert_eq!((world.hits.all(), world.captures().await), (1, 1));
}

#[tokio::test]
async fn t50_time_runs_out_between_the_offer_and_the_payment() {
    let (world, now) = still().await;
    let (offer, signed) = world.sign("GET", "/page", b"").await;
    let payment = World::header(&offer, &signed);
    assert_eq!(signed.valid_before, now + 300);
    world.clock.set(signed.valid_before + SKEW + 1);
    let late = world.send_paid("GET", "/page", &payment, b"").await;
    assert_eq!((late.status, late.settlement().error_reason.as_deref()), (402, Some("payment_expired")));
    // The ledger's time never goes back: what has expired once stays so, wherever its clock is set.
    world.clock.set(now);
    let back = world.send_paid("GET", "/page", &payment, b"").await;
    assert_eq!((back.status, back.settlement().error_reason.as_deref()), (402, Some("payment_expired")));
    assert_eq!((world.hits.all(), world.captures().await, world.balance().await), (0, 0, START));
    // The twin: up to the last second it is good.
    world.clock.set(now + 1000);
    let payment = world.pay("GET", "/page", b"").await;
    world.clock.forward(300 + SKEW);
    assert_eq!(world.send_paid("GET", "/page", &payment, b"").await.text(), "page 1");
    assert_eq!((world.captures().await, world.balance().await), (1, START - PRICE));
    // Paid in time, it is answered from the store for ten minutes more, and is never charged again.
    world.clock.forward(600 - SKEW);
    assert_eq!(world.send_paid("GET", "/page", &payment, b"").await.text(), "page 1");
    world.clock.forward(SKEW + 2);
    let gone = world.send_paid("GET", "/page", &payment, b"").await;
    assert_eq!((gone.status, gone.problem()), (409, ("answer-not-kept".into(), "none".into())));
    assert!(gone.settlement().success);
    assert_eq!((world.hits.all(), world.captures().await, world.balance().await), (1, 1, START - PRICE));
}

/// A world with a page whose handler takes so many seconds of the clock.
async fn taking(seconds: &'static [(&'static str, u64)]) -> World {
    let clock = TestClock::default();
    let time = clock.clone();
    clock.set(clock.now() + 10);
    let seller = key(farthing_testkit::SELLER).public();
    let mut options = farthing::Options::closed_loop(seller, farthing::protocol::Amount(1_000_000_000_000));
    options.clock = std::sync::Arc::new(move || time.now());
    let ledger = farthing::Ledger::memory(key(103), options).unwrap();
    let passes = clock.clone();
    World::on(ledger, clock, move |paywall, hits| {
        seconds.iter().fold(Router::new(), |router, (path, seconds)| {
            let (passes, hits) = (passes.clone(), hits.clone());
            let handler = move || async move {
                passes.forward(*seconds);
                format!("after {seconds} seconds {}", hits.hit(path))
            };
            router.route(path, get(handler).layer(paywall.price("0.01 XTS")))
        })
    })
    .await
}

#[tokio::test]
async fn t50_a_handler_longer_than_valid_before_is_paid_and_one_beyond_the_capture_deadline_is_not() {
    // The offer asks for 300 seconds of validity, and for 900 to the capture.
    let world = taking(&[("/valid", 301), ("/last", 900), ("/over", 901), ("/far", 40 * 86_400)]).await;
    let (mut captures, mut spent) = (0, 0);
    for (target, paid) in
        [("/valid", true), ("/last", true), ("/over", false), ("/far", false), ("/valid", true)]
    {
        let runs = world.hits.of(target);
        let payment = world.pay("GET", target, b"").await;
        let reply = world.send_paid("GET", target, &payment, b"").await;
        assert_eq!(world.hits.of(target), runs + 1);
        if paid {
            assert_eq!((reply.status, reply.text().starts_with("after")), (200, true), "{target}");
            (captures, spent) = (captures + 1, spent + PRICE);
        } else {
            assert_eq!(
                (reply.status, reply.problem()),
                (402, ("payment-voided".into(), "new".into())),
                "{target}"
            );
            assert_eq!(reply.settlement().error_reason.as_deref(), Some("payment_voided"));
            assert!(!reply.text().contains("after"), "{target}");
            // Nor does it run again for the same payment.
            let again = world.send_paid("GET", target, &payment, b"").await;
            assert_eq!((again.status, world.hits.of(target)), (402, runs + 1), "{target}");
        }
        assert_eq!(world.captures().await, captures, "{target}");
        assert_eq!(START - world.balance().await, spent, "{target}");
    }
}
