//! T15: two processes and one ledger.

use farthing_testkit::engine::Postgres;
use farthing_testkit::seller::{Orders, Seller};
use farthing_testkit::{Reply, exchange_on, free_port, request};
use futures_util::future::join_all;
use tokio::net::TcpStream;
use tokio::sync::Barrier;

use crate::{Market, PRICE, Payment, START, balance, runs};

const ROUNDS: usize = 1000;
/// Rounds that run at the same time.
const LANES: usize = 4;

/// Presents a payment to both processes at the same moment.
async fn race(sellers: &[Seller; 2], payment: &Payment) -> Vec<Reply> {
    let barrier = Barrier::new(2);
    let headers = [("PAYMENT-SIGNATURE", payment.header.as_str())];
    join_all(sellers.iter().map(async |seller| {
        let bytes = request(seller.address, "GET", &payment.target, &headers, b"");
        let stream = TcpStream::connect(seller.address).await.unwrap();
        barrier.wait().await;
        exchange_on(stream, &bytes).await.unwrap()
    }))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "cargo xtask test"]
async fn t15_of_two_processes_on_one_postgres_one_serves_each_payment_in_a_thousand_races() {
    let market = Market::open(Postgres::default()).await;
    let first = market.orders();
    let second = Orders { port: free_port(), ..first.clone() };
    let sellers = [Seller::start(&first).await, Seller::start(&second).await];
    let wallet = market.wallet(&sellers[0]).await;
    let mut payments = Vec::new();
    for n in 0..ROUNDS {
        payments.push(market.sign(&wallet, &sellers[n % 2], &format!("/page?n={n}")).await);
    }
    let served = join_all(payments.chunks(ROUNDS / LANES).map(async |lane| {
        let mut served = [0; 2];
        for payment in lane {
            let page = format!("page {}", payment.target.split_once('?').unwrap().1);
            let replies = race(&sellers, payment).await;
            for (reply, served) in replies.iter().zip(&mut served) {
                if reply.status == 200 {
                    assert_eq!(reply.text(), page);
                    *served += 1;
                } else {
                    assert_eq!(reply.status, 409, "{}", reply.text());
                    assert_eq!(reply.problem(), ("payment-in-progress".into(), "same".into()));
                }
            }
            assert!(replies.iter().any(|reply| reply.status == 200), "{}", payment.target);
        }
        served
    }))
    .await;
    let served = served.iter().fold([0; 2], |all, lane| [all[0] + lane[0], all[1] + lane[1]]);
    assert!(served.iter().all(|served| *served > ROUNDS / 10), "both processes win: {served:?}");
    // Whoever lost is answered from the store, by either process.
    for (n, payment) in payments.iter().enumerate().step_by(50) {
        let reply = sellers[n % 2].get(&payment.target, Some(&payment.header)).await.unwrap();
        assert_eq!(reply.text(), format!("page n={n}"));
    }
    // H, L and B.
    let runs = runs(&market.runs_file());
    assert_eq!(runs.len(), ROUNDS);
    assert!(runs.values().all(|runs| *runs == 1), "{runs:?}");
    for seller in sellers {
        seller.kill().await;
    }
    let (ledger, report) = market.expect(0, ROUNDS as u64).await;
    assert_eq!(report.payments.values().sum::<u64>(), ROUNDS as u64, "{:?}", report.payments);
    assert_eq!(START - balance(&ledger).await, ROUNDS as u128 * PRICE);
}
