//! T18, T19, T21: a settler that refuses, is silent, or fails.

use std::sync::Arc;

use farthing::client::AssetId;
use farthing::native::NativePay;
use farthing::{Budget, Client};
use farthing_testkit::engine::Engine;
use farthing_testkit::{Meddling, World, key};

use crate::{PRICE, START, expect_counts, meddled, open, until};

farthing_testkit::on_each_engine! {
    t18_a_client_whose_payment_is_unknown_presents_it_again_and_signs_no_other
    t19_nothing_is_released_without_proof_that_it_did_not_happen
    t21_without_a_hold_no_handler_runs
    t21_without_a_capture_no_byte_leaves
}

async fn t21_without_a_hold_no_handler_runs(engine: impl Engine) {
    let (_world, server, meddler) = meddled(engine, open()).await;
    let (mut runs, mut captures) = (0, 0);
    for (how, status, code, retry) in [
        (Meddling::Refuse("insufficient_funds"), 402, "payment-refused", "new"),
        (Meddling::Refuse("some_reason_of_tomorrow"), 402, "payment-refused", "new"),
        (Meddling::Refuse("settlement_pending"), 503, "settlement-pending", "same"),
        (Meddling::Lose, 503, "settlement-pending", "same"),
        (Meddling::Silence, 503, "settlement-pending", "same"),
    ] {
        let payment = server.pay("GET", "/page", b"").await;
        meddler.meddle("authorize", how.clone());
        for _ in 0..3 {
            let reply = server.send_paid("GET", "/page", &payment, b"").await;
            assert_eq!((reply.status, reply.problem()), (status, (code.into(), retry.into())), "{how:?}");
            assert!(reply.settlement().error_reason.is_some());
            assert_eq!(
                reply.header("payment-required").is_some(),
                status == 402,
                "no new payment while one may land"
            );
        }
        assert_eq!((server.hits.all(), server.captures().await), (runs, captures), "{how:?}");
        // The twin: the same payment, once the facilitator behaves.
        meddler.behave();
        (runs, captures) = (runs + 1, captures + 1);
        assert_eq!(server.send_paid("GET", "/page", &payment, b"").await.text(), format!("page {runs}"));
        expect_counts(&server, runs, captures, u128::from(captures) * PRICE).await;
    }
}

async fn t21_without_a_capture_no_byte_leaves(engine: impl Engine) {
    let (_world, server, meddler) = meddled(engine, open()).await;
    for (how, status) in
        [(Meddling::Refuse("capture_expired"), 402), (Meddling::Lose, 503), (Meddling::Silence, 503)]
    {
        let before = (server.hits.all(), server.captures().await);
        let payment = server.pay("GET", "/page", b"").await;
        meddler.meddle("capture", how.clone());
        let reply = server.send_paid("GET", "/page", &payment, b"").await;
        assert_eq!(reply.status, status, "{how:?}");
        assert!(!reply.text().contains(&format!("page {}", before.0 + 1)), "{how:?}");
        meddler.behave();
        // It ran, and the same payment completes it without running it again.
        let mut again = server.send_paid("GET", "/page", &payment, b"").await;
        while again.status == 409 {
            // The server itself is repeating the capture just now.
            again = server.send_paid("GET", "/page", &payment, b"").await;
        }
        if status == 503 {
            assert_eq!(again.text(), format!("page {}", before.0 + 1));
            assert_eq!((server.hits.all(), server.captures().await), (before.0 + 1, before.1 + 1), "{how:?}");
        } else {
            assert_eq!((again.status, again.problem()), (402, ("payment-voided".into(), "new".into())));
            assert_eq!((server.hits.all(), server.captures().await), (before.0 + 1, before.1));
            assert_eq!(server.balance().await, START, "the hold did not outlive its handler");
        }
        let payment = server.pay("GET", "/page", b"").await;
        assert_eq!(server.send_paid("GET", "/page", &payment, b"").await.status, 200);
    }
}

/// Every way in which a settler can leave its caller in the dark: before it acted, and after.
const DARK: [(&str, Meddling); 4] = [
    ("authorize", Meddling::Lose),
    ("authorize", Meddling::Silence),
    ("capture", Meddling::Lose),
    ("capture", Meddling::Silence),
];

async fn t18_a_client_whose_payment_is_unknown_presents_it_again_and_signs_no_other(engine: impl Engine) {
    let (_world, server, meddler) = meddled(engine, open()).await;
    let url = format!("{}/page", server.origin);
    for (round, (kind, how)) in (1..).zip(DARK) {
        // A wallet and a budget for one payment: a second signature would be refused here.
        let wallet = NativePay::connect(server.ledger.facilitator(), None, key(1)).await.unwrap();
        let asset = AssetId { network: server.ledger.ledger().network().clone(), asset: "XTS".into() };
        let client = Client::builder()
            .allow_any_origin()
            .rail(Arc::new(wallet))
            .budget(Budget::new("0.01 XTS").unwrap());
        let client = client.build().unwrap();
        let before = meddler.calls().len();
        meddler.meddle(kind, how.clone());
        let behaves = async {
            let asked = || meddler.calls()[before..].iter().filter(|call| *call == kind).count();
            until("it is asked twice", async || asked() >= 2).await;
            meddler.behave();
        };
        let (answer, ()) = tokio::join!(client.get(&url), behaves);
        let answer = answer.unwrap();
        assert!(answer.payment().unwrap().is_proven(), "{kind} {how:?}");
        assert_eq!(answer.text().await.unwrap(), format!("page {round}"), "{kind} {how:?}");
        let spent = client.spent(&asset).unwrap();
        assert_eq!((spent.taken.0, spent.reserved.0), (PRICE, 0), "{kind} {how:?}");
        expect_counts(&server, round, round as u64, round as u128 * PRICE).await;
        let report = server.ledger.ledger().check().await.unwrap();
        assert_eq!(report.payments.values().sum::<u64>(), round as u64, "{:?}", report.payments);
    }
}

async fn t19_nothing_is_released_without_proof_that_it_did_not_happen(engine: impl Engine) {
    let (_world, server, meddler) = meddled(engine, open()).await;
    for (round, (kind, how)) in (1..).zip(DARK) {
        let payer = server.another_payer(20 + round as u8, "0.01 XTS").await;
        let offer = server.offers("GET", "/page", b"").await.remove(0);
        let payment = World::header(&offer, &server.sign_offer(&payer, &offer));
        let other = World::header(&offer, &server.sign_offer(&payer, &offer));
        meddler.meddle(kind, how.clone());
        let reply = server.send_paid("GET", "/page", &payment, b"").await;
        assert_eq!((reply.status, reply.problem().1.as_str()), (503, "same"), "{kind} {how:?}");
        meddler.behave();
        if kind == "capture" || matches!(how, Meddling::Silence) {
            // It landed, or is held: the same money buys nothing else.
            let reply = server.send_paid("GET", "/page", &other, b"").await;
            assert_eq!(reply.settlement().error_reason.as_deref(), Some("insufficient_funds"));
            assert_eq!(server.balance_of(payer.account()).await, 0, "{kind} {how:?}");
        }
        let (target, error) = ("/slow", "bound-to-other-request");
        assert_eq!(server.send_paid("GET", target, &payment, b"").await.problem().0, error);
        // The twin: the same payment for the same request ends as it should have.
        let mut again = server.send_paid("GET", "/page", &payment, b"").await;
        while again.status == 409 {
            // The server itself is repeating the capture just now.
            again = server.send_paid("GET", "/page", &payment, b"").await;
        }
        assert_eq!(again.text(), format!("page {round}"), "{kind} {how:?}");
        assert_eq!((server.hits.all(), server.captures().await), (round, round as u64), "{kind} {how:?}");
        assert_eq!(server.balance_of(payer.account()).await, 0);
    }
    assert!(!meddler.calls().contains(&"void".to_owned()));
    assert_eq!(server.balance().await, START);
}
