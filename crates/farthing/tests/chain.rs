//! A server that is paid on its own ledger takes USDC with one more line.
#![cfg(all(feature = "evm", feature = "facilitator", feature = "server", feature = "client"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../../testkit/src/anvil/mod.rs"]
mod anvil;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use anvil::{Anvil, NETWORK, USDC};
use axum::Router;
use axum::routing::get;
use farthing::client::AssetId;
use farthing::evm::{EvmConfig, EvmKey, Rpc};
use farthing::facilitator::http::{self, HttpOptions};
use farthing::facilitator::{Catalogue, RemoteFacilitator};
use farthing::protocol::rail::Facilitator;
use farthing::protocol::{Amount, SecretKey};
use farthing::records::MemoryRecords;
use farthing::{Budget, Client, Error, LocalLedger, OnChain, Settles};
use tokio::net::TcpListener;

/// Accounts that development chains begin with.
const FACILITATOR: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const PAYER: &str = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
const PAYEE: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";

async fn facilitator(chain: &Anvil) -> Arc<dyn Facilitator> {
    let rpc = Rpc::new([chain.url()]).unwrap();
    let signers = vec![EvmKey::from_hex(FACILITATOR).unwrap()];
    let records = Arc::new(MemoryRecords::new());
    let config = EvmConfig::new(NETWORK.parse().unwrap(), rpc, signers, records);
    farthing::evm_facilitator(config).await.unwrap()
}

fn on_chain(facilitator: Arc<dyn Facilitator>) -> OnChain {
    OnChain::usdc(NETWORK, PAYEE, facilitator, Arc::new(MemoryRecords::new())).unwrap()
}

fn payer(chain: &Anvil) -> Client {
    let wallet =
        farthing::evm_wallet("base-sepolia", EvmKey::from_hex(PAYER).unwrap(), &[&chain.url()]).unwrap();
    chain.mint(USDC, &wallet.address(), 1_000_000);
    let asset = AssetId { network: NETWORK.parse().unwrap(), asset: USDC.into() };
    Client::builder()
        .allow_any_origin()
        .rail(wallet)
        .budget(Budget::units(asset, Amount(10_000)))
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test"]
async fn one_server_is_paid_on_its_ledger_and_on_a_chain() {
    let chain = Anvil::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let (payee, authorizer) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]));
    let ledger = LocalLedger::memory(payee.public()).await.unwrap();
    let settles = Settles::from(&ledger).and(on_chain(facilitator(&chain).await));
    let paywall = farthing::paywall(&origin, payee.public(), authorizer, settles).await.unwrap();
    let handled = Arc::new(AtomicUsize::new(0));
    let counted = handled.clone();
    let weather = get(async move || {
        counted.fetch_add(1, SeqCst);
        "sunny"
    });
    let router = Router::new()
        .route("/weather", weather.layer(paywall.price("$0.001")))
        .nest("/ledger", ledger.service(HttpOptions::default()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let url = format!("{origin}/weather");

    let on_chain = payer(&chain);
    assert_eq!(on_chain.get(&url).await.unwrap().text().await.unwrap(), "sunny");
    assert_eq!((chain.balance(USDC, PAYEE), handled.load(SeqCst)), (1_000, 1));
    assert_eq!(ledger.balance(payee.public(), "USD").await.unwrap(), Amount::ZERO);

    let agent = SecretKey::from_seed([3; 32]);
    ledger.deposit(agent.public(), "1.00 USD").await.unwrap();
    let wallet = farthing::wallet(&format!("{origin}/ledger"), agent).await.unwrap();
    let budget = Budget::new("0.05 USD").unwrap();
    let on_ledger = Client::builder().allow_any_origin().rail(wallet).budget(budget).build().unwrap();
    assert_eq!(on_ledger.get(&url).await.unwrap().text().await.unwrap(), "sunny");
    assert_eq!(ledger.balance(payee.public(), "USD").await.unwrap(), Amount(1_000));
    assert_eq!((chain.balance(USDC, PAYEE), handled.load(SeqCst)), (1_000, 2));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test"]
async fn a_server_can_be_paid_on_a_chain_alone_and_offer_metered_prices() {
    let chain = Anvil::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let facilitator = facilitator(&chain).await;
    let rails = farthing::evm_rails(&on_chain(facilitator.clone()).metered()).await.unwrap();
    assert_eq!(rails.iter().map(|rail| rail.scheme()).collect::<Vec<_>>(), ["exact", "upto"]);

    let receipts = SecretKey::from_seed([4; 32]);
    let paywall = farthing::evm_paywall(&origin, receipts, on_chain(facilitator)).await.unwrap();
    let router = Router::new().route("/weather", get(async || "sunny").layer(paywall.price("$0.002")));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let answer = payer(&chain).get(&format!("{origin}/weather")).await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "sunny");
    assert_eq!(chain.balance(USDC, PAYEE), 2_000);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test"]
async fn what_is_bought_is_listed_as_its_server_describes_it() {
    const TOKEN: &str = "test-token-0123456789-abcdef";
    let chain = Anvil::start();
    let rpc = Rpc::new([chain.url()]).unwrap();
    let signers = vec![EvmKey::from_hex(FACILITATOR).unwrap()];
    let records = Arc::new(MemoryRecords::new());
    let config = EvmConfig::new(NETWORK.parse().unwrap(), rpc, signers, records.clone());
    let local = farthing::evm_facilitator(config).await.unwrap();

    let (listener, settling) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let url = format!("http://{}", settling.local_addr().unwrap());
    let options = HttpOptions::default().tenant("shop", TOKEN).unwrap().sells_at("shop", &origin).unwrap();
    let options = options.catalogue(Catalogue::new(records).unwrap());
    let service = http::service(local.as_ref().clone(), options);
    tokio::spawn(async move { axum::serve(settling, service).await });

    let remote = Arc::new(RemoteFacilitator::builder(&url).token(TOKEN).build().unwrap());
    let receipts = SecretKey::from_seed([4; 32]);
    let paywall = farthing::evm_paywall(&origin, receipts, on_chain(remote.clone())).await.unwrap();
    let info = serde_json::json!({ "info": { "input": { "type": "http", "method": "GET" } }, "schema": {} });
    let price = paywall.price("$0.001").description("the weather").extension("bazaar", &info);
    let router = Router::new().route("/weather", get(async || "sunny").layer(price));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let paid = payer(&chain).get(&format!("{origin}/weather?city=x")).await.unwrap();
    assert_eq!(paid.text().await.unwrap(), "sunny");
    assert_eq!(chain.balance(USDC, PAYEE), 1_000);

    let mut page = String::new();
    for _ in 0..500 {
        page = fetch(&format!("{url}/discovery/resources?type=http")).await;
        if !page.contains("\"total\":0") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    let item = &page["items"][0];
    assert_eq!(item["resource"], format!("{origin}/weather"), "{page}");
    assert_eq!(
        (&item["description"], &item["accepts"][0]["amount"]),
        (&"the weather".into(), &"1000".into())
    );
    let supported = remote.supported().await.unwrap();
    assert!(supported.extensions.contains(&"bazaar".to_owned()));
    assert!(supported.kinds.iter().any(|kind| kind.x402_version == 1 && kind.network == "base-sepolia"));
    assert_eq!(supported.signers["eip155:*"], [EvmKey::from_hex(FACILITATOR).unwrap().address()]);
}

/// The body of a free page, by a client that would pay for nothing.
async fn fetch(url: &str) -> String {
    let rail =
        farthing::evm_wallet(NETWORK, EvmKey::from_hex(PAYER).unwrap(), &["http://127.0.0.1:1"]).unwrap();
    Client::builder()
        .allow_any_origin()
        .rail(rail)
        .build()
        .unwrap()
        .get(url)
        .await
        .unwrap()
        .text()
        .await
        .unwrap()
}

#[tokio::test]
async fn what_cannot_be_taken_there_stops_the_start() {
    let ledger = LocalLedger::memory(SecretKey::from_seed([1; 32]).public()).await.unwrap();
    let of = |network: &str, pay_to: &str| {
        OnChain::usdc(network, pay_to, ledger.facilitator(), Arc::new(MemoryRecords::new()))
    };
    for (network, pay_to) in [("eip155:31337", PAYEE), ("atlantis", PAYEE), (NETWORK, "0x0"), (NETWORK, "")] {
        assert!(of(network, pay_to).is_err(), "{network} {pay_to}");
    }
    // The ledger's facilitator knows nothing of chains.
    let receipts = SecretKey::from_seed([4; 32]);
    let chain = of("base-sepolia", PAYEE).unwrap();
    let error = farthing::evm_paywall("https://shop.example", receipts, chain).await.unwrap_err();
    assert!(matches!(&error, Error::Config(why) if why.contains("exact on eip155:84532")), "{error}");
    assert!(
        farthing::evm_wallet("eip155:31337", EvmKey::from_hex(PAYER).unwrap(), &["http://127.0.0.1:1"])
            .is_err()
    );
}
