//! T16, T24, T25: money that is spent, or taken away, while a payment is on its way.

use std::sync::Arc;
use std::time::Duration;

use farthing::farthing_ledger::LedgerError;
use farthing::farthing_ledger::command::{Operate, Refusal};
use farthing::farthing_ledger::operation::{Action, Op};
use farthing::protocol::Amount;
use farthing_testkit::engine::Engine;
use farthing_testkit::{World, forge, key};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{PRICE, open, routes, until};

farthing_testkit::on_each_engine! {
    t16_a_balance_for_one_payment_serves_one_of_many
    t24_no_more_sessions_run_than_the_balance_covers
    t25_a_payer_cannot_take_back_what_is_held
    t25_a_third_party_that_settles_first_gains_nothing_and_the_delivery_counts_once
}

async fn t16_a_balance_for_one_payment_serves_one_of_many(engine: impl Engine) {
    let world = World::start_on(engine, routes(open())).await;
    for round in 0..20 {
        let payer = world.another_payer(10 + round, "0.01 XTS").await;
        let offer = world.offers("GET", "/slow", b"").await.remove(0);
        let signed: Vec<_> =
            (0..4).map(|_| World::header(&offer, &world.sign_offer(&payer, &offer))).collect();
        let replies =
            join_all(signed.iter().map(|payment| world.send_paid("GET", "/slow", payment, b""))).await;
        let served = replies.iter().filter(|reply| reply.status == 200).count();
        assert_eq!((served, world.hits.all()), (1, usize::from(round) + 1));
        for reply in replies.iter().filter(|reply| reply.status != 200) {
            assert_eq!((reply.status, reply.problem().1.as_str()), (402, "new"));
            assert_eq!(reply.settlement().error_reason.as_deref(), Some("insufficient_funds"));
        }
        assert_eq!(world.balance_of(payer.account()).await, 0);
        // The twin: the very payment that was refused is good once there is money.
        let refused = replies.iter().position(|reply| reply.status != 200).unwrap();
        if round == 19 {
            world.ledger.deposit(payer.account(), "0.01 XTS").await.unwrap();
            assert_eq!(world.send_paid("GET", "/slow", &signed[refused], b"").await.status, 200);
        }
    }
    assert_eq!((world.hits.all(), world.captures().await), (21, 21));
}

async fn t24_no_more_sessions_run_than_the_balance_covers(engine: impl Engine) {
    let gate = Arc::new(Semaphore::new(0));
    let world = World::start_on(engine, routes(gate.clone())).await;
    // Money for five and a half.
    let payer = world.another_payer(10, "0.055 XTS").await;
    let offer = world.offers("GET", "/gated", b"").await.remove(0);
    let payments: Vec<_> =
        (0..16).map(|_| World::header(&offer, &world.sign_offer(&payer, &offer))).collect();
    let sessions = join_all(payments.iter().map(|payment| world.send_paid("GET", "/gated", payment, b"")));
    let opens = async {
        until("five run", async || world.hits.of("gated") == 5).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!((world.hits.of("gated"), world.captures().await), (5, 0));
        assert_eq!(world.balance_of(payer.account()).await, PRICE / 2);
        gate.add_permits(100);
    };
    let (replies, ()) = tokio::join!(sessions, opens);
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        assert_eq!(reply.settlement().error_reason.as_deref(), Some("insufficient_funds"));
    }
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 5);
    assert_eq!((world.hits.of("gated"), world.captures().await), (5, 5));
    // The twin: with money, one that was refused runs.
    world.ledger.deposit(payer.account(), "0.01 XTS").await.unwrap();
    let refused = replies.iter().position(|reply| reply.status != 200).unwrap();
    assert_eq!(world.send_paid("GET", "/gated", &payments[refused], b"").await.text(), "gated 6");
    assert_eq!((world.captures().await, world.balance_of(payer.account()).await), (6, PRICE / 2));
}

async fn t25_a_payer_cannot_take_back_what_is_held(engine: impl Engine) {
    let gate = Arc::new(Semaphore::new(0));
    let world = World::start_on(engine, routes(gate.clone())).await;
    let payer = world.another_payer(10, "0.01 XTS").await;
    let offer = world.offers("GET", "/gated", b"").await.remove(0);
    let signed = world.sign_offer(&payer, &offer);
    let payment = World::header(&offer, &signed);
    let takes_back = async {
        until("it runs", async || world.hits.of("gated") == 1).await;
        // By spending it elsewhere, which is how money leaves an account.
        let page = world.offers("GET", "/page", b"").await.remove(0);
        let other = World::header(&page, &world.sign_offer(&payer, &page));
        let reply = world.send_paid("GET", "/page", &other, b"").await;
        assert_eq!(reply.settlement().error_reason.as_deref(), Some("insufficient_funds"));
        // By the nonce, with terms of nothing.
        let lesser = forge::resign(&signed, &key(10), |terms| terms.max_amount = Amount(1));
        let reply = world.send_paid("GET", "/gated", &World::header(&offer, &lesser), b"").await;
        assert_ne!(reply.status, 200);
        // By a void, a capture of nothing, or a refund in its own name.
        let ledger = world.ledger.ledger();
        for (action, last) in [(Action::Void, false), (Action::Capture, true), (Action::Refund, false)] {
            let (cumulative, answer) = (Amount::ZERO, [0; 32]);
            let op = Op { payment: signed.id, action, cumulative, last, epoch: 1, answer };
            let operate = Operate::sign(&ledger.id(), &key(10), vec![(op, None)]);
            let refused = ledger.operate(operate).await.unwrap();
            assert_eq!(refused, [Err(Refusal::NotReceiverAuthorizer)]);
        }
        assert!(matches!(ledger.reclaim(signed.id).await, Ok(false) | Err(LedgerError::Refused(_))));
        gate.add_permits(1);
    };
    let (reply, ()) = tokio::join!(world.send_paid("GET", "/gated", &payment, b""), takes_back);
    assert_eq!(reply.text(), "gated 1");
    assert_eq!((world.hits.all(), world.captures().await), (1, 1));
    assert_eq!(world.balance_of(payer.account()).await, 0);
}

async fn t25_a_third_party_that_settles_first_gains_nothing_and_the_delivery_counts_once(
    engine: impl Engine,
) {
    let world = World::start_on(engine, routes(open())).await;
    let now = world.clock.now() + 10;
    world.clock.set(now);
    let payer = world.another_payer(10, "0.01 XTS").await;
    let offer = world.offers("GET", "/page", b"").await.remove(0);
    let payment = World::header(&offer, &world.sign_offer(&payer, &offer));
    // Whoever saw the payment sends it to the facilitator, as the client made it.
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let body = json!({"x402Version": 2, "paymentPayload": parse(&forge::open(&payment)),
        "paymentRequirements": parse(offer.text())});
    let json_type = [("Content-Type", "application/json")];
    let settled = world.send("POST", "/ledger/settle", &json_type, body.to_string().as_bytes()).await.json();
    assert_eq!(settled["extra"]["state"], "held", "{settled}");
    assert_eq!((world.hits.all(), world.captures().await), (0, 0));
    // The seller waits for them; nobody pays twice, and nobody is paid but the seller.
    let reply = world.send_paid("GET", "/page", &payment, b"").await;
    assert_eq!((reply.status, reply.problem()), (409, ("payment-in-progress".into(), "same".into())));
    world.clock.set(now + 60);
    assert_eq!(world.send_paid("GET", "/page", &payment, b"").await.text(), "page 1");
    let again = world.send("POST", "/ledger/settle", &json_type, body.to_string().as_bytes()).await.json();
    assert_eq!((&again["extra"]["state"], again["extra"].get("answer")), (&json!("captured"), None));
    assert_eq!(world.send_paid("GET", "/page", &payment, b"").await.text(), "page 1");
    assert_eq!((world.hits.all(), world.captures().await), (1, 1));
    assert_eq!(world.balance_of(payer.account()).await, 0);
    // The twin: nobody comes first.
    let payment = world.pay("GET", "/page", b"").await;
    assert_eq!(world.send_paid("GET", "/page", &payment, b"").await.text(), "page 2");
    assert_eq!((world.hits.all(), world.captures().await), (2, 2));
}
