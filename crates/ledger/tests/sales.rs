//! What a seller is told about payments, and refunds that are signed once and can be said again.
#![cfg(feature = "embedded")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod world;

use farthing_ledger::engine::admin::{self, AskError, Request, ask};
use farthing_ledger::sales::{self, Books, Found, NotRefundable, Refund, Refunded, Sale};
use farthing_ledger::statement::PaymentState;
use farthing_ledger::terms::Terms;
use farthing_protocol::Amount;
use farthing_protocol::rail::PaymentId;

use world::*;

fn read(lines: &[u8]) -> (Books, Vec<Sale>) {
    let mut lines = std::str::from_utf8(lines).unwrap().lines();
    let books = serde_json::from_str(lines.next().unwrap()).unwrap();
    (books, lines.map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn of(sales: &[Sale], id: PaymentId) -> &Sale {
    sales.iter().find(|sale| sale.payment == id).unwrap()
}

#[tokio::test]
async fn every_payment_is_listed_as_it_stands_over_the_socket_and_from_the_rows() {
    let home = tempfile::tempdir().unwrap();
    let world = world(home.path()).await;
    let captured = world.held(&world.terms(1_000)).await;
    world.clock.pass(7);
    world.capture(captured, 600).await.unwrap();
    world.refund(captured, 200).await.unwrap();
    let voided = world.held(&world.terms(50)).await;
    world.void(voided).await.unwrap();
    let exact = world.held(&world.exact(9)).await;
    world.capture(exact, 9).await.unwrap();
    let held = world.held(&world.terms(300)).await;

    let mut over_socket = Vec::new();
    ask(home.path(), &Request::Sales, &mut over_socket).unwrap();
    let (books, sales) = read(&over_socket);
    assert_eq!((books.network.as_str(), books.now), (world.ledger().network().as_str(), START + 7));
    assert_eq!(books.assets.get("XTS"), Some(&6));
    assert_eq!(sales.len(), 4);
    let sale = of(&sales, captured);
    assert_eq!((sale.state, sale.at, sale.net()), (PaymentState::Captured, START + 7, 400));
    assert_eq!(
        (sale.captured, sale.refunded, sale.held, sale.maximum),
        (Amount(600), Amount(200), Amount::ZERO, Amount(1_000))
    );
    assert_eq!((of(&sales, voided).state, of(&sales, voided).net()), (PaymentState::Voided, 0));
    assert_eq!((of(&sales, exact).scheme.as_str(), of(&sales, exact).net()), ("exact", 9));
    assert_eq!((of(&sales, held).state, of(&sales, held).held), (PaymentState::Held, Amount(300)));

    let mut from_rows = Vec::new();
    let mut rows = world.ledger().snapshot().await.unwrap();
    assert_eq!(sales::write(rows.as_mut(), START + 7, &mut from_rows).unwrap(), 4);
    assert_eq!(from_rows, over_socket);
    // A hold past its deadline is over, though nobody has ended it yet.
    let late = START + 8 + HOLD;
    let mut later = Vec::new();
    sales::write(rows.as_mut(), late, &mut later).unwrap();
    let sale = of(&read(&later).1, held).clone();
    assert_eq!((sale.state, sale.held), (PaymentState::Reclaimed, Amount::ZERO));
    // Many payments come in pages, and none is lost between two.
    for _ in 0..1_100 {
        world.held(&world.terms(1)).await;
    }
    let mut many = Vec::new();
    ask(home.path(), &Request::Sales, &mut many).unwrap();
    assert_eq!(read(&many).1.len(), 1_104);
}

#[tokio::test]
async fn a_refund_is_one_entry_however_often_it_is_said() {
    let home = tempfile::tempdir().unwrap();
    let world = world(home.path()).await;
    let id = world.held(&world.terms(1_000)).await;
    world.capture(id, 600).await.unwrap();
    let found = || -> Found { admin::ask_for(home.path(), &Request::Sale(id)).unwrap() };
    let sale = found().sale.unwrap();
    assert_eq!(sale.may_refund(Amount(600), world.clock.now()), Ok(true));

    let refund = Refund::sign(&world.id(), id, Amount(250), &secret(AUTHORIZER));
    let give_back = || -> Refunded { admin::ask_for(home.path(), &Request::Refund(refund.clone())).unwrap() };
    let before = world.entries().await;
    for _ in 0..3 {
        let Refunded::Done(sale) = give_back() else { panic!("refused") };
        assert_eq!(sale.refunded, Amount(250));
    }
    assert_eq!(world.entries().await, before + 1);
    assert_eq!(world.balance(SELLER).await, 350);
    assert_eq!(found().sale.unwrap().may_refund(Amount(250), world.clock.now()), Ok(false));
    assert_eq!(
        found().sale.unwrap().may_refund(Amount(249), world.clock.now()),
        Err(NotRefundable::Decreased)
    );
    assert_eq!(
        found().sale.unwrap().may_refund(Amount(601), world.clock.now()),
        Err(NotRefundable::AboveCaptured)
    );
    // Whoever signs it must be the payment's own receiverAuthorizer, and the ledger looks again at everything.
    for (total, signer) in [(300, STRANGER), (601, AUTHORIZER), (249, AUTHORIZER)] {
        let refund = Refund::sign(&world.id(), id, Amount(total), &secret(signer));
        let answer = world.ledger().refund(&refund).await.unwrap();
        assert!(matches!(answer, Refunded::Refused { .. }), "{total} {answer:?}");
    }
    let mut forged = serde_json::to_value(&refund).unwrap();
    forged["total"] = "600".into();
    let forged = Request::Refund(serde_json::from_value(forged).unwrap());
    let said: Result<Refunded, AskError> = admin::ask_for(home.path(), &forged);
    assert!(matches!(said, Ok(Refunded::Refused { .. })), "{said:?}");
    assert_eq!(world.entries().await, before + 1);
}

#[tokio::test]
async fn what_cannot_be_refunded_says_why() {
    let home = tempfile::tempdir().unwrap();
    let world = world(home.path()).await;
    let exact = world.held(&world.exact(9)).await;
    world.capture(exact, 9).await.unwrap();
    let held = world.held(&world.terms(300)).await;
    let never = world.held(&Terms { refund_deadline: 0, ..world.terms(40) }).await;
    world.capture(never, 40).await.unwrap();
    let good = world.held(&world.terms(40)).await;
    world.capture(good, 40).await.unwrap();
    let judged = async |id, total| {
        let found = world.ledger().sale(id).await.unwrap();
        found.sale.unwrap().may_refund(Amount(total), found.books.now)
    };
    assert_eq!(judged(good, 40).await, Ok(true));
    assert_eq!(judged(exact, 9).await, Err(NotRefundable::Scheme("exact".into())));
    assert_eq!(judged(held, 1).await, Err(NotRefundable::NothingTaken(PaymentState::Held)));
    assert_eq!(judged(never, 1).await, Err(NotRefundable::Never));
    world.clock.pass(86_401);
    assert_eq!(judged(good, 40).await, Err(NotRefundable::TooLate(START + 86_400)));
    assert_eq!(world.ledger().sale(PaymentId([9; 32])).await.unwrap().sale, None);
}
