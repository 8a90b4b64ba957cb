//! T03: a spent payment after everything about it could have been forgotten.

use farthing::farthing_ledger::command::{Authorize, Operate};
use farthing::farthing_ledger::operation::{Action, Op};
use farthing::protocol::Amount;
use farthing::protocol::rail::{Owner, Tenant};
use farthing_testkit::engine::Engine;
use farthing_testkit::forge::{resign, signed_part, terms};
use farthing_testkit::{World, key};
use futures_util::future::join_all;

use crate::{PRICE, routes};

farthing_testkit::on_each_engine! {
    t03_a_spent_payment_is_refused_however_much_came_after_it
}

/// Seconds by which clocks may differ, and for which an answer is kept after validBefore.
const SKEW: u64 = 5;
const KEPT: u64 = 600;
const DAY: u64 = 86_400;

/// Payments of another payer, held and voided: pressure on whatever keeps replay keys.
async fn pressure(world: &World, count: usize) {
    let (_, sample) = world.sign("GET", "/page", b"").await;
    let ledger = world.ledger.ledger();
    let authorizer = key(102);
    join_all((0..count).map(async |_| {
        let nonce = world.nonce();
        let signed = resign(&sample, &key(9), |terms| {
            (terms.payer, terms.signer, terms.nonce) = (key(9).public(), key(9).public(), nonce);
        });
        let (bytes, signature) = signed_part(&signed);
        let owner = Owner { id: [9; 16], lease_seconds: 60 };
        let authorize = Authorize::read(bytes, signature, owner, Tenant::local()).unwrap();
        ledger.authorize(authorize).await.unwrap();
        let (action, answer) = (Action::Void, [0; 32]);
        let op = Op { payment: signed.id, action, cumulative: Amount::ZERO, last: false, epoch: 1, answer };
        let operate = Operate::sign(&ledger.id(), &authorizer, vec![(op, None)]);
        ledger.operate(operate).await.unwrap().remove(0).unwrap();
    }))
    .await;
}

async fn t03_a_spent_payment_is_refused_however_much_came_after_it(engine: impl Engine) {
    let world = World::start_on(engine, routes).await;
    world.another_payer(9, "100 XTS").await;
    world.clock.set(world.clock.now() + 10);
    let before = world.balance().await;
    let (offer, signed) = world.sign("GET", "/page", b"").await;
    let payment = World::header(&offer, &signed);
    assert_eq!(world.send_paid("GET", "/page", &payment, b"").await.text(), "page 1");
    pressure(&world, 3_000).await;

    // The same nonce for something else, up to the last second in which it could be presented.
    let nonce = terms(&signed).nonce;
    for now in [signed.valid_before - 1, signed.valid_before + SKEW] {
        world.clock.set(now);
        pressure(&world, 50).await;
        assert_eq!(world.send_paid("GET", "/page", &payment, b"").await.text(), "page 1");
        let (offer, other) = world.sign("GET", "/other", b"").await;
        let reused = resign(&other, &key(1), |terms| terms.nonce = nonce);
        let reply = world.send_paid("GET", "/other", &World::header(&offer, &reused), b"").await;
        assert_eq!((reply.status, reply.problem().0.as_str()), (409, "payment-conflict"));
    }
    // The answer is forgotten, then the payment itself; it opens nothing any more.
    world.clock.set(signed.valid_before + KEPT + SKEW);
    pressure(&world, 50).await;
    let gone = world.send_paid("GET", "/page", &payment, b"").await;
    assert_eq!((gone.status, gone.problem()), (409, ("answer-not-kept".into(), "none".into())));
    world.clock.set(signed.valid_before + 91 * DAY);
    pressure(&world, 50).await;
    pressure(&world, 50).await;
    let gone = world.send_paid("GET", "/page", &payment, b"").await;
    assert_eq!(gone.status, 402, "{}", gone.text());
    assert_eq!(gone.settlement().error_reason.as_deref(), Some("payment_expired"));
    assert_eq!((world.hits.all(), world.captures().await), (1, 1));
    assert_eq!(before - world.balance().await, PRICE);
    // The twin: a payment of now.
    let payment = world.pay("GET", "/page", b"").await;
    assert_eq!(world.send_paid("GET", "/page", &payment, b"").await.text(), "page 2");
    assert_eq!((world.hits.all(), world.captures().await), (2, 2));
}
