//! T17, and T20 for processes: death at every point between the payment and the answer.

use farthing::farthing_ledger::statement::PaymentState;
use farthing_testkit::engine::Engine;
use farthing_testkit::seller::{Moment, Orders, Seller};

use crate::{Market, PRICE, Payment, START, balance, state};

farthing_testkit::on_each_engine! {
    t17_whenever_a_process_dies_the_same_payment_is_captured_once_by_the_next_one
    t17_whenever_a_process_dies_and_nobody_returns_the_payer_pays_for_captures_alone
}

/// Seconds after which the hold of a dead process can be taken over: the handler's deadline, and 15.
const LEASE: u64 = 16;
/// Seconds after which a hold ends, and more.
const ENDED: u64 = 1_000;

/// Has one process after the other die over a payment, at each moment.
async fn die_at_each_moment(market: &Market, orders: &Orders) -> Vec<(Moment, Payment)> {
    let mut died = Vec::new();
    for moment in Moment::ALL {
        let seller = Seller::start(orders).await;
        let wallet = market.wallet(&seller).await;
        let fails = matches!(moment, Moment::BeforeVoid | Moment::AfterVoid);
        let page = if fails { "broken" } else { "page" };
        let payment = market.sign(&wallet, &seller, &format!("/{page}?n={moment:?}")).await;
        seller.die_at(moment).await;
        let reply = seller.get(&payment.target, Some(&payment.header)).await;
        assert!(reply.is_none(), "{moment:?}: {}", reply.unwrap().text());
        seller.died().await;
        let begun =
            !matches!(moment, Moment::BeforeAuthorize | Moment::AfterAuthorize | Moment::HandlerBegins);
        assert_eq!(market.runs(&payment), usize::from(begun), "{moment:?}");
        died.push((moment, payment));
    }
    died
}

/// Where a payment stands after the death of its process.
fn left_behind(moment: Moment) -> PaymentState {
    match moment {
        Moment::BeforeAuthorize => PaymentState::Absent,
        Moment::AfterCapture => PaymentState::Captured,
        Moment::AfterVoid => PaymentState::Voided,
        _ => PaymentState::Held,
    }
}

async fn t17_whenever_a_process_dies_the_same_payment_is_captured_once_by_the_next_one(engine: impl Engine) {
    let market = Market::open(engine).await;
    let mut orders = market.orders();
    let died = die_at_each_moment(&market, &orders).await;

    // While the lease of the dead runs, nobody takes their place; what has ended is answered.
    let seller = Seller::start(&orders).await;
    for (moment, payment) in &died {
        let runs = market.runs(payment);
        let reply = seller.get(&payment.target, Some(&payment.header)).await.unwrap();
        let (status, ran) = match left_behind(*moment) {
            PaymentState::Absent => (200, 1),
            PaymentState::Captured => (200, 0),
            PaymentState::Voided => (402, 0),
            _ => (409, 0),
        };
        assert_eq!((reply.status, market.runs(payment) - runs), (status, ran), "{moment:?}");
        if status == 409 {
            assert_eq!(reply.problem(), ("payment-in-progress".into(), "same".into()), "{moment:?}");
        }
    }
    seller.kill().await;

    // Afterwards the next one does, and runs the handler once more at most.
    orders.ahead = LEASE + 1;
    let seller = Seller::start(&orders).await;
    for round in 0..2 {
        for (moment, payment) in &died {
            let runs = market.runs(payment);
            let reply = seller.get(&payment.target, Some(&payment.header)).await.unwrap();
            let taken_over = round == 0 && left_behind(*moment) == PaymentState::Held;
            assert_eq!(market.runs(payment) - runs, usize::from(taken_over), "{moment:?}");
            let status = match moment {
                Moment::BeforeVoid if taken_over => 500,
                Moment::BeforeVoid | Moment::AfterVoid => 402,
                _ => 200,
            };
            assert_eq!(reply.status, status, "{moment:?}: {}", reply.text());
            if status == 200 {
                assert_eq!(reply.text(), format!("page n={moment:?}"));
            }
        }
    }
    seller.kill().await;
    let (ledger, report) = market.expect(orders.ahead, 6).await;
    assert_eq!(report.payments.get("voided"), Some(&2), "{:?}", report.payments);
    assert_eq!(report.payments.values().sum::<u64>(), 8, "{:?}", report.payments);
    assert_eq!(START - balance(&ledger).await, 6 * PRICE);
}

async fn t17_whenever_a_process_dies_and_nobody_returns_the_payer_pays_for_captures_alone(
    engine: impl Engine,
) {
    let market = Market::open(engine).await;
    let orders = market.orders();
    let died = die_at_each_moment(&market, &orders).await;
    let (ledger, _) = market.expect(0, 1).await;
    let mut held = 0;
    for (moment, payment) in &died {
        assert_eq!(state(&ledger, payment).await, left_behind(*moment), "{moment:?}");
        held += u128::from(left_behind(*moment) == PaymentState::Held);
    }
    assert_eq!(START - balance(&ledger).await, (held + 1) * PRICE);
    drop(ledger);
    // Each run without a capture has a void, or its hold has ended; and each payment its one run at most.
    let (ledger, report) = market.expect(ENDED, 1).await;
    for (moment, payment) in &died {
        let ended = match left_behind(*moment) {
            PaymentState::Held => PaymentState::Reclaimed,
            other => other,
        };
        assert_eq!(state(&ledger, payment).await, ended, "{moment:?}");
        assert!(market.runs(payment) <= 1, "{moment:?}");
    }
    assert_eq!(report.payments.get("held").copied().unwrap_or(0), 0, "{:?}", report.payments);
    assert_eq!(START - balance(&ledger).await, PRICE);
}
