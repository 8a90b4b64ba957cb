//! One authorization on an EVM chain, shown to several server processes at once: their claims are in a store that
//! they share. The oracles: the handler's runs, and the balances on the chain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use axum::Router;
use axum::routing::get;
use farthing::evm::{EvmConfig, EvmKey, Rpc};
use farthing::protocol::digest::{self, BodyHash};
use farthing::protocol::rail::{Facilitator, Pay};
use farthing::protocol::records::Records;
use farthing::protocol::v2::{self, PaymentPayload};
use farthing::protocol::{SecretKey, header};
use farthing::records::{EmbeddedRecords, MemoryRecords, PostgresRecords};
use farthing::{OnChain, evm_facilitator, evm_paywall, evm_wallet};
use farthing_testkit::anvil::{Anvil, NETWORK, USDC};
use farthing_testkit::postgres::Cluster;
use farthing_testkit::{Reply, exchange, request};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Accounts that development chains begin with.
const FACILITATOR: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const PAYER: &str = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
const PAYEE: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";
const ORIGIN: &str = "https://shop.example";
const PRICE: u128 = 1_000;
/// Times that each server is shown the payment.
const SHOWN: usize = 32;

async fn facilitator(chain: &Anvil) -> Arc<dyn Facilitator> {
    let (rpc, signers) = (Rpc::new([chain.url()]).unwrap(), vec![EvmKey::from_hex(FACILITATOR).unwrap()]);
    let records = Arc::new(MemoryRecords::new());
    evm_facilitator(EvmConfig::new(NETWORK.parse().unwrap(), rpc, signers, records)).await.unwrap()
}

/// A server with claims in `records`; every one of them is a process of its own to the others.
async fn serve(
    facilitator: Arc<dyn Facilitator>,
    records: Arc<dyn Records>,
    runs: Arc<AtomicUsize>,
) -> SocketAddr {
    let chain = OnChain::usdc(NETWORK, PAYEE, facilitator, records).unwrap();
    let paywall = evm_paywall(ORIGIN, SecretKey::from_seed([4; 32]), chain).await.unwrap();
    let page = get(async move || format!("page {}", runs.fetch_add(1, SeqCst)));
    let router = Router::new()
        .route("/page", page.clone().layer(paywall.price("$0.001")))
        .route("/other", page.layer(paywall.price("$0.001")));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn ask(server: SocketAddr, target: &str, payment: Option<&str>) -> Reply {
    let headers: Vec<_> = payment.iter().map(|payment| ("PAYMENT-SIGNATURE", *payment)).collect();
    exchange(server, &request(server, "GET", target, &headers, b"")).await.unwrap()
}

/// A payment for what `server` offers for `/page`.
async fn sign(chain: &Anvil, server: SocketAddr) -> String {
    let wallet = evm_wallet(NETWORK, EvmKey::from_hex(PAYER).unwrap(), &[&chain.url()]).unwrap();
    chain.mint(USDC, &wallet.address(), 10 * PRICE);
    let terms = ask(server, "/page", None).await.terms();
    let accepted = terms.offers().next().unwrap();
    let request = digest::request_digest("GET", &ORIGIN.parse().unwrap(), "/page", BodyHash::of(b""));
    let signed = wallet.pay(&accepted, &request, chain.now(), [7; 32]).unwrap();
    let payment = PaymentPayload {
        x402_version: v2::VERSION,
        resource: Some(terms.resource.clone()),
        accepted,
        payload: signed.payload.into(),
        extensions: signed.extensions,
    };
    header::encode(&payment).unwrap()
}

/// Shows one payment to both servers, many times at once.
async fn show(chain: &Anvil, records: [Arc<dyn Records>; 2]) {
    let (facilitator, runs) = (facilitator(chain).await, Arc::new(AtomicUsize::new(0)));
    let [one, two] = records;
    let servers = [
        serve(facilitator.clone(), one, runs.clone()).await,
        serve(facilitator.clone(), two, runs.clone()).await,
    ];
    let payment = sign(chain, servers[0]).await;
    let before = chain.balance(USDC, PAYEE);
    let mut shown = JoinSet::new();
    for number in 0..2 * SHOWN {
        let (server, payment) = (servers[number % 2], payment.clone());
        shown.spawn(async move { ask(server, "/page", Some(&payment)).await });
    }
    let replies = shown.join_all().await;
    let pages: Vec<_> = replies.iter().filter(|reply| reply.status == 200).collect();
    assert!(!pages.is_empty(), "{:?}", replies.iter().map(Reply::problem).collect::<Vec<_>>());
    for reply in &replies {
        match reply.status {
            200 => assert_eq!(reply.text(), "page 0"),
            status => assert_eq!((status, reply.problem().0.as_str()), (409, "payment-in-progress")),
        }
    }

    // Later, from either: the stored answer. For another page: nothing.
    for server in servers {
        let again = ask(server, "/page", Some(&payment)).await;
        assert_eq!((again.status, again.text().as_str()), (200, "page 0"));
        let other = ask(server, "/other", Some(&payment)).await;
        assert_eq!((other.status, other.problem().0.as_str()), (409, "bound-to-other-request"));
    }
    assert_eq!(runs.load(SeqCst), 1);
    assert_eq!(chain.balance(USDC, PAYEE) - before, PRICE);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test"]
async fn t15_one_authorization_runs_one_handler_of_two_processes_with_claims_on_postgresql() {
    let (chain, cluster) = (Anvil::start(), Cluster::shared());
    let connect =
        async || Arc::new(PostgresRecords::connect(&cluster.url()).await.unwrap()) as Arc<dyn Records>;
    show(&chain, [connect().await, connect().await]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test"]
async fn t15_one_authorization_runs_one_handler_of_two_paywalls_with_claims_in_a_directory() {
    let (chain, directory) = (Anvil::start(), tempfile::tempdir().unwrap());
    let records: Arc<dyn Records> = Arc::new(EmbeddedRecords::open(directory.path()).unwrap());
    show(&chain, [records.clone(), records]).await;
}
