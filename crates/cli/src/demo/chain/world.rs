//! Everything that the demonstration needs: a facilitator, a server, and an agent's wallet, over loopback.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use farthing::evm::{Asset, EvmConfig, EvmKey, EvmPay, Rpc};
use farthing::facilitator::RemoteFacilitator;
use farthing::facilitator::http::{self, HttpOptions};
use farthing::protocol::{Amount, Network};
use farthing::records::EmbeddedRecords;
use farthing::{OnChain, keyfile};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::pages;
use super::accounts;
use super::node::Node;
use crate::Failure;

/// What an agent is given that has too little, in whole units.
const PURSE: u128 = 500;
/// How long a server that is told to stop may take for the requests that it has.
const GRACE: Duration = Duration::from_secs(10);

/// A running demonstration. It is closed with [`World::close`].
#[derive(Debug)]
pub(super) struct World {
    pub(super) node: Node,
    pub(super) network: Network,
    pub(super) asset: Asset,
    pub(super) origin: String,
    /// Addresses.
    pub(super) agent: String,
    pub(super) seller: String,
    pub(super) facilitator: String,
    /// What the agent was given at the start.
    pub(super) given: Option<Amount>,
    pub(super) wallet: Arc<EvmPay>,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<std::io::Result<()>>>,
    /// Removed last, when nothing uses it any more.
    _data: tempfile::TempDir,
}

/// Who is who among the accounts of the chain.
struct Cast {
    agent: EvmKey,
    seller: String,
    facilitator: EvmKey,
    given: Option<Amount>,
}

impl World {
    /// Starts everything. The agent has at least `needed` atomic units then.
    pub(super) async fn start(
        node: Node,
        network: Network,
        asset: Asset,
        needed: Amount,
        port: u16,
    ) -> Result<Self, Failure> {
        let cannot = |error: farthing::Error| Failure::bad_input(error);
        let Cast { agent, seller, facilitator, given } = cast(&node, &asset, needed).await?;
        let data = tempfile::Builder::new().prefix("farthing-demo-").tempdir().map_err(Failure::unsound)?;
        // The facilitator's and the server's: two parties that share nothing.
        let records = |name: &str| records(&data.path().join(name));
        let (stop, stopped) = watch::channel(false);

        let rpc = Rpc::new([node.url()]).map_err(Failure::bad_input)?;
        let signers = vec![facilitator.clone()];
        let mut config = EvmConfig::new(network.clone(), rpc, signers, records("facilitator")?);
        config.assets = vec![asset.clone()];
        let local = farthing::evm_facilitator(config).await.map_err(cannot)?;
        let service = http::service(local.as_ref().clone(), HttpOptions::default());
        let listener = bind(0).await?;
        let url = address(&listener)?;
        let settling = tokio::spawn(serve(listener, service, stopped.clone()));

        let remote = RemoteFacilitator::builder(&url).build().map_err(Failure::unsound)?;
        let on_chain =
            OnChain::token(network.as_str(), &seller, asset.clone(), Arc::new(remote), records("server")?);
        let on_chain = on_chain.map_err(cannot)?;
        let receipts = keyfile::load_or_create(data.path().join("receipts.key")).map_err(Failure::unsound)?;
        let listener = bind(port).await?;
        let origin = address(&listener)?;
        let paywall = farthing::evm_paywall(&origin, receipts, on_chain).await.map_err(cannot)?;
        let router = pages::router(&paywall, &origin, &asset.currency)?;
        let selling = tokio::spawn(serve(listener, router, stopped));

        let wallet = EvmPay::new(&network, agent.clone(), vec![asset.clone()]).map_err(Failure::bad_input)?;
        let wallet = wallet.rpc(Rpc::new([node.url()]).map_err(Failure::bad_input)?);
        Ok(Self {
            node,
            network,
            asset,
            origin,
            agent: agent.address(),
            seller,
            facilitator: facilitator.address(),
            given,
            wallet: Arc::new(wallet),
            stop,
            servers: vec![selling, settling],
            _data: data,
        })
    }

    /// What the agent and the seller have on the chain, in atomic units.
    pub(super) async fn balances(&self) -> Result<(Amount, Amount), Failure> {
        let agent = self.node.balance(&self.asset.address, &self.agent).await?;
        Ok((agent, self.node.balance(&self.asset.address, &self.seller).await?))
    }

    /// The absolute URL of a page.
    pub(super) fn url(&self, page: &pages::Page) -> String {
        format!("{}{}", self.origin, page.path)
    }

    /// Stops the servers after the requests that they have.
    pub(super) async fn close(self) -> Result<(), Failure> {
        let _ = self.stop.send(true);
        for server in self.servers {
            match tokio::time::timeout(GRACE, server).await {
                Ok(Ok(served)) => served.map_err(Failure::unsound)?,
                Ok(Err(panicked)) => return Err(Failure::unsound(panicked)),
                // Somebody keeps a connection open; what was paid is on the chain.
                Err(_) => {}
            }
        }
        Ok(())
    }
}

/// The agent is the first account that has enough of the token; if none has, one is given some.
async fn cast(node: &Node, asset: &Asset, needed: Amount) -> Result<Cast, Failure> {
    let mut keys = accounts::all()?;
    let (mut rich, mut given) = (None, None);
    // The first one is the facilitator, unless only it has money.
    for at in (1..keys.len()).chain([0]) {
        if node.balance(&asset.address, &keys[at].address()).await? >= needed {
            rich = Some(at);
            break;
        }
    }
    if rich.is_none() {
        let (agent, from) = (keys[1].address(), keys[0].address());
        let purse = 10_u128.checked_pow(asset.decimals.into()).and_then(|unit| unit.checked_mul(PURSE));
        let purse = Amount(purse.unwrap_or(needed.0).max(needed.0));
        let gave = node.give(&asset.address, &agent, purse, &from).await?;
        if !gave || node.balance(&asset.address, &agent).await? < needed {
            return Err(Failure::bad_input(format!(
                "no account of the chain at {} has {} {} of the token {}: give some to {agent}",
                node.origin(),
                needed.decimal(asset.decimals),
                asset.currency,
                asset.address
            )));
        }
        given = Some(purse);
    }
    let agent = keys.remove(rich.unwrap_or(1));
    // Both are others than the agent.
    let (facilitator, seller) = (keys.remove(0), keys.remove(1).address());
    Ok(Cast { agent, seller, facilitator, given })
}

fn records(directory: &Path) -> Result<Arc<EmbeddedRecords>, Failure> {
    EmbeddedRecords::open(directory).map(Arc::new).map_err(Failure::unsound)
}

async fn bind(port: u16) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    listener.map_err(|e| Failure::bad_input(format!("port {port} of 127.0.0.1: {e}")))
}

fn address(listener: &TcpListener) -> Result<String, Failure> {
    listener.local_addr().map(|address| format!("http://{address}")).map_err(Failure::unsound)
}

/// Serves until it is stopped.
async fn serve(
    listener: TcpListener,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let shutdown = async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}
