//! A server that starts again ends what the one before it left in doubt.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::{Duration, Instant};

use farthing::farthing_ledger::command::Authorize;
use farthing::farthing_ledger::statement::PaymentState;
use farthing::farthing_ledger::terms::{FeeTerms, Scheme, Terms, TermsFlow};
use farthing::protocol::rail::{Owner, PaymentId, Tenant};
use farthing::protocol::{Amount, Binding, RequestDigest, SecretKey};
use farthing::{LocalLedger, Paywall};

fn key(role: u8) -> SecretKey {
    SecretKey::from_seed([role; 32])
}

const PAYER: u8 = 1;
const SELLER: u8 = 2;
const AUTHORIZER: u8 = 3;

async fn open(directory: &Path) -> LocalLedger {
    LocalLedger::open(directory, key(SELLER).public()).await.unwrap()
}

async fn paywall(ledger: &LocalLedger) -> Paywall {
    farthing::paywall("https://shop.example", key(SELLER).public(), key(AUTHORIZER), ledger).await.unwrap()
}

/// Holds 1 XTS for a server that takes a lease and is never heard of again.
async fn left_behind(ledger: &LocalLedger, nonce: u8, authorizer: u8, lease_seconds: u32) -> PaymentId {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let terms = Terms {
        ledger: ledger.ledger().id(),
        scheme: Scheme::AuthCapture,
        flow: TermsFlow::Escrow,
        payer: key(PAYER).public(),
        signer: key(PAYER).public(),
        payee: key(SELLER).public(),
        receiver_authorizer: key(authorizer).public(),
        asset: "XTS".parse().unwrap(),
        max_amount: Amount(1_000_000),
        valid_after: 0,
        valid_before: now + 300,
        capture_deadline: now + 900,
        refund_deadline: 0,
        fee: FeeTerms::default(),
        mandate: [0; 32],
        nonce: [nonce; 32],
        binding: Binding::Body,
        digest: RequestDigest([7; 32]),
    };
    let signed = terms.encode();
    let signature = key(PAYER).sign(&signed);
    let owner = Owner { id: [nonce; 16], lease_seconds };
    let authorize = Authorize::read(signed, signature, owner, Tenant("local".into())).unwrap();
    ledger.ledger().authorize(authorize).await.unwrap();
    terms.id()
}

async fn state(ledger: &LocalLedger, id: PaymentId) -> PaymentState {
    ledger.ledger().payment(id).await.unwrap().0.unwrap().state
}

#[tokio::test]
async fn a_paywall_on_its_own_ledger_gives_back_what_a_killed_server_held() {
    let home = tempfile::tempdir().unwrap();
    let ledger = open(home.path()).await;
    ledger.deposit(key(PAYER).public(), "5 XTS").await.unwrap();
    let silent = left_behind(&ledger, 1, AUTHORIZER, 0).await;
    let leased = left_behind(&ledger, 2, AUTHORIZER, 2).await;
    let long = left_behind(&ledger, 3, AUTHORIZER, 600).await;
    let foreign = left_behind(&ledger, 4, 9, 0).await;
    drop(ledger);

    let ledger = open(home.path()).await;
    let _paywall = paywall(&ledger).await;
    // At once what nobody answers for.
    assert_eq!(state(&ledger, silent).await, PaymentState::Voided);
    // A little later what somebody might have answered for when it started.
    let deadline = Instant::now() + Duration::from_secs(10);
    while state(&ledger, leased).await == PaymentState::Held {
        assert!(Instant::now() < deadline, "the lease has lapsed long ago");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(state(&ledger, leased).await, PaymentState::Voided);
    // And neither another's nor one whose server may be at work.
    for id in [long, foreign] {
        assert_eq!(state(&ledger, id).await, PaymentState::Held);
    }
    assert_eq!(ledger.balance(key(PAYER).public(), "XTS").await.unwrap(), Amount(3_000_000));
    assert!(ledger.ledger().check().await.unwrap().balanced());
}

#[tokio::test]
async fn waiting_for_a_lease_keeps_no_ledger_open() {
    let home = tempfile::tempdir().unwrap();
    let ledger = open(home.path()).await;
    ledger.deposit(key(PAYER).public(), "5 XTS").await.unwrap();
    left_behind(&ledger, 1, AUTHORIZER, 600).await;
    let paywall = paywall(&ledger).await;
    drop((ledger, paywall));
    // The directory is free although a recovery is to come.
    open(home.path()).await;
}

#[tokio::test]
async fn a_paywall_behind_a_facilitator_leaves_holds_to_their_ledger() {
    let home = tempfile::tempdir().unwrap();
    let ledger = open(home.path()).await;
    ledger.deposit(key(PAYER).public(), "5 XTS").await.unwrap();
    let silent = left_behind(&ledger, 1, AUTHORIZER, 0).await;
    let (payee, authorizer) = (key(SELLER).public(), key(AUTHORIZER));
    farthing::paywall("https://shop.example", payee, authorizer, ledger.facilitator()).await.unwrap();
    assert_eq!(state(&ledger, silent).await, PaymentState::Held);
    let recovered = ledger.recover(&key(AUTHORIZER)).await.unwrap();
    assert_eq!(recovered.voided, [silent]);
}
