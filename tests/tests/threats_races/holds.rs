//! T20: what is held and never captured comes back.

use farthing::farthing_ledger::command::{Authorize, Standing};
use farthing::protocol::rail::{Owner, Tenant};
use farthing_testkit::World;
use farthing_testkit::engine::Engine;
use farthing_testkit::forge::signed_part;

use crate::{PRICE, START, expect_counts, open, routes};

farthing_testkit::on_each_engine! {
    t20_a_thousand_panics_hold_nothing
    t20_what_a_dead_process_holds_comes_back_by_its_deadline
}

async fn t20_a_thousand_panics_hold_nothing(engine: impl Engine) {
    let world = World::start_on(engine, routes(open())).await;
    for _ in 0..1000 {
        let payment = world.pay("GET", "/broken", b"").await;
        let reply = world.send_paid("GET", "/broken", &payment, b"").await;
        assert_eq!((reply.status, reply.problem()), (500, ("handler-failed".into(), "new".into())));
        assert_eq!(reply.settlement().error_reason.as_deref(), Some("payment_voided"));
    }
    expect_counts(&world, 1000, 0, 0).await;
    // The twin: all of the money is there to be spent.
    for _ in 0..100 {
        let payment = world.pay("GET", "/all", b"").await;
        assert_eq!(world.send_paid("GET", "/all", &payment, b"").await.text(), "everything");
    }
    expect_counts(&world, 1000, 100, START).await;
}

async fn t20_what_a_dead_process_holds_comes_back_by_its_deadline(engine: impl Engine) {
    let world = World::start_on(engine, routes(open())).await;
    let start = world.clock.now();
    world.clock.set(start);
    let dead = Owner { id: [0xdd; 16], lease_seconds: 60 };
    let offer = world.offers("GET", "/page", b"").await.remove(0);
    let mut held = Vec::new();
    for _ in 0..1000 {
        let signed = world.sign_offer(&world.payer, &offer);
        let (bytes, signature) = signed_part(&signed);
        let authorize = Authorize::read(bytes, signature, dead, Tenant::local()).unwrap();
        let reply = world.ledger.ledger().authorize(authorize).await.unwrap();
        assert_eq!(reply.standing, Standing::Owner { takeover: false });
        held.push(signed);
    }
    assert_eq!(START - world.balance().await, 1000 * PRICE);
    let deadline = held[0].capture_deadline;
    assert!(held.iter().all(|signed| signed.capture_deadline == deadline));

    // While its lease runs, nobody takes its place; then the payer's page is served, as GET may run twice.
    let one = World::header(&offer, &held[0]);
    let reply = world.send_paid("GET", "/page", &one, b"").await;
    assert_eq!((reply.status, reply.problem()), (409, ("payment-in-progress".into(), "same".into())));
    world.clock.set(start + 60);
    assert_eq!(world.send_paid("GET", "/page", &one, b"").await.text(), "page 1");
    expect_counts(&world, 1, 1, 1000 * PRICE).await;

    world.clock.set(deadline);
    assert_eq!(START - world.balance().await, 1000 * PRICE, "held up to the deadline");
    world.clock.set(deadline + 1);
    assert_eq!(START - world.balance().await, PRICE, "and not a second longer");
    let late = world.send_paid("GET", "/page", &World::header(&offer, &held[1]), b"").await;
    assert_eq!((late.status, late.problem()), (402, ("payment-voided".into(), "new".into())));
    let payment = world.pay("GET", "/page", b"").await;
    assert_eq!(world.send_paid("GET", "/page", &payment, b"").await.text(), "page 2");
    expect_counts(&world, 2, 2, 2 * PRICE).await;
}
