//! T02: a payment from before a kill.

use farthing::farthing_ledger::statement::PaymentState;
use farthing_testkit::engine::Engine;
use farthing_testkit::seller::Seller;

use crate::{Market, PRICE, START, balance, state};

farthing_testkit::on_each_engine! {
    t02_a_payment_from_before_a_kill_returns_its_stored_answer_from_the_next_process
}

async fn t02_a_payment_from_before_a_kill_returns_its_stored_answer_from_the_next_process(
    engine: impl Engine,
) {
    let market = Market::open(engine).await;
    let orders = market.orders();
    let mut seller = Seller::start(&orders).await;
    let wallet = market.wallet(&seller).await;
    let mut spent = Vec::new();
    for n in 0..5 {
        let payment = market.sign(&wallet, &seller, &format!("/page?n={n}")).await;
        let reply = seller.get(&payment.target, Some(&payment.header)).await.unwrap();
        assert_eq!((reply.status, reply.text()), (200, format!("page n={n}")));
        spent.push(payment);
    }
    // Signed, and not presented before the kill.
    let fresh = market.sign(&wallet, &seller, "/page?n=fresh").await;
    for _ in 0..3 {
        seller.kill().await;
        seller = Seller::start(&orders).await;
        for payment in &spent {
            for _ in 0..3 {
                let again = seller.get(&payment.target, Some(&payment.header)).await.unwrap();
                assert_eq!((again.status, market.runs(payment)), (200, 1));
                assert_eq!(again.text(), format!("page {}", payment.target.split_once('?').unwrap().1));
            }
            // Nor does it open another page, before or after.
            let other = seller.get("/page?n=other", Some(&payment.header)).await.unwrap();
            assert_eq!((other.status, other.problem().0.as_str()), (409, "bound-to-other-request"));
        }
    }
    // The twin: a payment that was not spent before is good after.
    let reply = seller.get(&fresh.target, Some(&fresh.header)).await.unwrap();
    assert_eq!((reply.text().as_str(), market.runs(&fresh)), ("page n=fresh", 1));
    seller.kill().await;
    let (ledger, report) = market.expect(0, 6).await;
    assert_eq!(report.payments.values().sum::<u64>(), 6, "{:?}", report.payments);
    assert_eq!(START - balance(&ledger).await, 6 * PRICE);
    assert_eq!(state(&ledger, &fresh).await, PaymentState::Captured);
}
