//! What an account has is told to its owner, and to nobody else.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use farthing::LocalLedger;
use farthing::facilitator::RemoteFacilitator;
use farthing::facilitator::http::HttpOptions;
use farthing::native::balances;
use farthing::protocol::rail::{BalancesRequest, Facilitator, FacilitatorError, NoBalance, Pay};
use farthing::protocol::{Amount, Network, SecretKey};

fn key(role: u8) -> SecretKey {
    SecretKey::from_seed([role; 32])
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// A ledger on which the payer has 2.5 XTS, and the URL of its facilitator.
async fn ledger(directory: &std::path::Path) -> (LocalLedger, String) {
    let ledger = LocalLedger::open(directory, key(2).public()).await.unwrap();
    ledger.deposit(key(1).public(), "2.5 XTS").await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = ledger.service(HttpOptions::default());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (ledger, url)
}

#[tokio::test]
async fn a_wallet_is_told_what_its_own_account_has() {
    let directory = tempfile::tempdir().unwrap();
    let (_ledger, url) = ledger(directory.path()).await;
    let payer = farthing::wallet(&url, key(1)).await.unwrap();
    assert_eq!(payer.balance("XTS", now()).await, Ok(Amount(2_500_000)));
    assert_eq!(payer.balance("USD", now()).await, Ok(Amount(0)));
    let other = farthing::wallet(&url, key(3)).await.unwrap();
    assert_eq!(other.balance("XTS", now()).await, Ok(Amount(0)), "an account that has nothing");
    assert!(matches!(payer.balance("XTS", now() - 3600).await, Err(NoBalance(_))), "an old question");
}

#[tokio::test]
async fn nobody_is_told_what_anothers_account_has() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, url) = ledger(directory.path()).await;
    let remote = RemoteFacilitator::builder(url).build().unwrap();
    let (network, id) = (ledger.ledger().network().clone(), ledger.ledger().id());
    let own = balances::ask(&network, &id, &key(1), now());
    assert_eq!(remote.balances(&own).await.unwrap().unwrap().balances["XTS"], Amount(2_500_000));

    let curious = balances::ask(&network, &id, &key(3), now());
    let account = own.account.clone();
    let stolen = BalancesRequest { account, ..curious };
    assert!(matches!(remote.balances(&stolen).await, Err(FacilitatorError::Forbidden(_))));
    for garbage in ["", "00", "zz"] {
        let unsigned = BalancesRequest { signature: garbage.into(), ..own.clone() };
        assert!(matches!(remote.balances(&unsigned).await, Err(FacilitatorError::Forbidden(_))));
    }
    let elsewhere: Network = "farthing:00000000000000000000000000000000".parse().unwrap();
    let elsewhere = BalancesRequest { network: elsewhere, ..own };
    assert_eq!(remote.balances(&elsewhere).await, Ok(None));
}
