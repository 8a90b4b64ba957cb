//! T14: the same payment many times at once.

use farthing_testkit::engine::Engine;
use farthing_testkit::{Reply, World};
use futures_util::future::join_all;

use crate::{PRICE, START, expect_counts, open, routes};

farthing_testkit::on_each_engine! {
    t14_two_hundred_concurrent_duplicates_run_the_handler_once
}

async fn t14_two_hundred_concurrent_duplicates_run_the_handler_once(engine: impl Engine) {
    let world = World::start_on(engine, routes(open())).await;
    for (round, target) in ["/slow", "/page"].into_iter().enumerate() {
        let before = (world.hits.all(), world.captures().await);
        let payment = world.pay("GET", target, b"").await;
        let replies = join_all((0..200).map(|_| world.send_paid("GET", target, &payment, b""))).await;
        let stored = format!("{} 1", &target[1..]);
        let (paid, losers): (Vec<&Reply>, Vec<&Reply>) =
            replies.iter().partition(|reply| reply.status == 200);
        assert!(!paid.is_empty() && paid.iter().all(|reply| reply.text() == stored));
        for reply in losers {
            assert_eq!((reply.status, reply.problem()), (409, ("payment-in-progress".into(), "same".into())));
            assert!(reply.header("retry-after").is_some());
        }
        assert_eq!((world.hits.all(), world.captures().await), (before.0 + 1, before.1 + 1));
        assert_eq!(START - world.balance().await, PRICE * (round as u128 + 1));
        // Who was told to come again does, and gets it.
        assert_eq!(world.send_paid("GET", target, &payment, b"").await.text(), stored);
    }
    // The twin: two hundred payments run it two hundred times.
    let payments = join_all((0..200).map(|_| world.pay("GET", "/page", b""))).await;
    let replies =
        join_all(payments.iter().map(|payment| world.send_paid("GET", "/page", payment, b""))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    expect_counts(&world, 202, 202, 202 * PRICE).await;
}
