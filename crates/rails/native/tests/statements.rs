//! The ledger's word: what a payer may conclude from a statement, and from what is none.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod world;

use farthing_protocol::Amount;
use farthing_protocol::rail::{Confirmation, Operation, Pay};
use farthing_protocol::reason;
use serde_json::{Value, json};

use world::{PAYER, PRICE, START, STRANGER, World};
use world::{public, refused, secret, settled};

fn capture(amount: u128) -> Operation {
    Operation::Capture { amount: Amount(amount), answer: None, last: true }
}

#[tokio::test]
async fn a_changed_statement_is_a_contradiction_and_never_a_proof() {
    let world = World::new().await;
    let offer = world.offer();
    let (signed, payment) = world.pay(&offer);
    let hold = world.hold(&payment, &offer, 1).await;
    let settlement = settled(world.operate(&world.seller, &payment, hold.epoch, capture(PRICE)).await);
    let lies: [fn(&mut Value); 12] = [
        |s| s["amount"] = json!("999"),
        |s| s["amount"] = json!("1001"),
        |s| s["amount"] = json!(1000),
        |s| s["refunded"] = json!("1000"),
        |s| s["state"] = json!("voided"),
        |s| s["state"] = json!("absent"),
        |s| s["state"] = json!("paid"),
        |s| s["asOf"] = json!(START + 10_000),
        |s| s["payment"] = json!("00".repeat(32)),
        |s| s["key"] = json!(public(STRANGER).to_string()),
        |s| s["signature"] = json!("00".repeat(64)),
        |s| s["note"] = json!("believe me"),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let mut bent = settlement.clone();
        lie(&mut bent.extra["statement"]);
        let confirmation = world.payer.confirm(&signed, &bent);
        assert!(matches!(confirmation, Confirmation::Contradicted(_)), "lie {number}: {confirmation:?}");
        *world.desk.lie.lock().unwrap() = Some(lie);
        let confirmation = world.payer.status(&signed).await;
        assert!(matches!(confirmation, Confirmation::Contradicted(_)), "lie {number}: {confirmation:?}");
    }
    *world.desk.lie.lock().unwrap() = None;

    // A true statement beside a false amount, another payment's, or none.
    let mut bent = settlement.clone();
    bent.amount = Some(Amount(1));
    assert!(matches!(world.payer.confirm(&signed, &bent), Confirmation::Contradicted(_)));
    let (another, _) = world.pay(&offer);
    assert!(matches!(world.payer.confirm(&another, &settlement), Confirmation::Contradicted(_)));
    let mut silent = settlement.clone();
    silent.extra.remove("statement");
    assert_eq!(world.payer.confirm(&signed, &silent), Confirmation::Unproven);

    assert_eq!(world.payer.confirm(&signed, &settlement), Confirmation::Taken(Amount(PRICE)));
    assert_eq!(world.payer.status(&signed).await, Confirmation::Taken(Amount(PRICE)));
}

#[tokio::test]
async fn absence_is_proof_only_when_the_payment_can_no_longer_come_and_would_still_be_known() {
    let world = World::new().await;
    let offer = world.offer();
    let (in_time, payment) = world.pay(&offer);
    let (never, unsent) = world.pay(&offer);
    let last = in_time.valid_before + 5;

    world.pass(last - world.now());
    assert_eq!(world.payer.status(&never).await, Confirmation::Open);
    // It was right not to say more: the ledger takes a payment at this very second.
    world.hold(&payment, &offer, 1).await;

    world.pass(1);
    assert_eq!(world.payer.status(&never).await, Confirmation::NotTaken);
    assert_eq!(refused(world.authorize(&unsent, &offer, 1).await), reason::PAYMENT_EXPIRED);
    assert_eq!(world.payer.status(&in_time).await, Confirmation::Open);

    world.pass(89 * 86_400 - 6);
    assert_eq!(world.payer.status(&never).await, Confirmation::NotTaken);
    world.pass(1);
    assert_eq!(world.payer.status(&never).await, Confirmation::Unproven);
    assert_eq!(world.history().await, [0, 0, 0, 1]);
}

#[tokio::test]
async fn a_client_connects_only_to_a_ledger_that_signs_its_terms() {
    use farthing_rail_native::NativePay;
    use farthing_rail_native::pay::ConnectError;

    let world = World::new().await;
    let other = "farthing:00000000000000000000000000000000".parse().unwrap();
    let wrong = NativePay::connect(world.desk.clone(), Some(&other), secret(PAYER)).await;
    assert_eq!(wrong.unwrap_err(), ConnectError::NoLedger);
    let right = NativePay::connect(world.desk.clone(), None, secret(PAYER)).await.unwrap();
    assert_eq!(right.network(), world.ledger.network());
    assert_eq!((right.scale("XTS"), right.scale("EUR")), (Some(6), None));
}
