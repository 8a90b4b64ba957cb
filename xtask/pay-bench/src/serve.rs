//! The processes under test: the server with its embedded ledger, and the remote facilitator with its own.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use clap::ValueEnum;
use farthing::facilitator::RemoteFacilitator;
use farthing::facilitator::http::HttpOptions;
use farthing::protocol::rail::{Facilitator, Offer as _};
use farthing::protocol::{PublicKey, SecretKey};
use farthing::{LocalLedger, Paywall};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::Result;
use crate::requests::{ORIGIN, PAYERS, payer};

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Sells the page, and settles on its own ledger.
    Server,
    /// Settles for others.
    Facilitator,
}

/// The page: what the one handler answers, for money or not.
pub(crate) const PAGE: &str = "hello, world";
/// What a page costs.
const PRICE: &str = "0.001 XTS";
/// The same in atomic units.
pub(crate) const UNITS: u128 = 1_000;
/// What each payer has at the start, which is as much as one may hold: enough for a million pages.
const MONEY: &str = "1000 XTS";

/// What a process has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Runs of the handler.
    pub(crate) served: u64,
    /// Captures on the ledger: what the seller has, divided by the price.
    pub(crate) captured: u64,
    /// What the seller and all payers have together, in atomic units: nothing is held, nothing is lost.
    pub(crate) money: u64,
}

struct Process {
    served: AtomicU64,
    ledger: LocalLedger,
    payers: Vec<PublicKey>,
}

/// Runs a process until its standard input is closed. Its address is its first line of output.
pub(crate) fn run(role: Role, directory: &Path, facilitator: Option<&str>) -> Result {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let ledger = LocalLedger::open(directory, seller().public()).await?;
        let payers: Vec<PublicKey> = (0..PAYERS).map(|index| payer(index, true).public()).collect();
        for payer in &payers {
            ledger.deposit(*payer, MONEY).await?;
        }
        let process = Arc::new(Process { served: AtomicU64::new(0), ledger, payers });
        let service = process.ledger.service(HttpOptions::default());
        let mut router = Router::new().route("/counts", get(counts)).nest_service("/ledger", service);
        if role == Role::Server {
            router = router
                .route("/free", get(page))
                .route(
                    "/auth-capture",
                    get(page)
                        .layer(paywall("auth-capture", process.ledger.facilitator()).await?.price(PRICE)),
                )
                .route(
                    "/exact",
                    get(page).layer(paywall("exact", process.ledger.facilitator()).await?.price(PRICE)),
                );
        }
        if let Some(url) = facilitator {
            let remote = RemoteFacilitator::builder(url).build()?;
            router = router.route(
                "/exact-remote",
                get(page).layer(paywall("exact", Arc::new(remote)).await?.price(PRICE)),
            );
        }
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        println!("{}", listener.local_addr()?);
        let parent_gone = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        tokio::select! {
            ended = axum::serve(listener, router.with_state(process)).into_future() => Ok(ended?),
            _ = parent_gone => Ok(()),
        }
    })
}

/// One paywall for each scheme, so that an unpaid request is told of one offer.
async fn paywall(scheme: &str, facilitator: Arc<dyn Facilitator>) -> Result<Paywall> {
    let authorizer = SecretKey::from_seed([0xaa; 32]);
    let receipts = authorizer.derive("receipt");
    let mut builder =
        Paywall::builder(ORIGIN.parse()?).facilitator(facilitator.clone()).receipt_key(receipts);
    let rails = farthing::rails(seller().public(), &authorizer, facilitator.as_ref()).await?;
    for rail in rails.into_iter().filter(|rail| rail.scheme() == scheme) {
        builder = builder.rail(rail);
    }
    Ok(builder.build()?)
}

fn seller() -> SecretKey {
    SecretKey::from_seed([0x5e; 32])
}

/// The one handler.
async fn page(State(process): State<Arc<Process>>) -> &'static str {
    process.served.fetch_add(1, Ordering::Relaxed);
    PAGE
}

async fn counts(State(process): State<Arc<Process>>) -> std::result::Result<String, String> {
    let counted = process.count().await.and_then(|counts| Ok(serde_json::to_string(&counts)?));
    counted.map_err(|error| error.to_string())
}

impl Process {
    async fn count(&self) -> Result<Counts> {
        let earned = self.ledger.balance(seller().public(), "XTS").await?.0;
        let mut money = earned;
        for payer in &self.payers {
            money += self.ledger.balance(*payer, "XTS").await?.0;
        }
        let captured = u64::try_from(earned / UNITS)?;
        Ok(Counts { served: self.served.load(Ordering::Relaxed), captured, money: u64::try_from(money)? })
    }
}
