//! Everything that the demonstration needs: a ledger, its facilitator, a server, and an agent's wallet.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use farthing::facilitator::http::HttpOptions;
use farthing::native::NativePay;
use farthing::protocol::rail::Pay;
use farthing::protocol::{Amount, Network, Price, PublicKey, SecretKey};
use farthing::server::sales::SalesLog;
use farthing::{LocalLedger, Paywall, keyfile};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::pages::{self, Page};
use crate::Failure;

/// The play money of ISO 4217.
pub(super) const ASSET: &str = "XTS";
/// What the agent has at the start: more than its budget will ever be.
const PURSE: &str = "500 XTS";
/// How long a server that is told to stop may take for the requests that it has.
const GRACE: Duration = Duration::from_secs(10);

/// A running demonstration. It is closed with [`World::close`].
#[derive(Debug)]
pub(super) struct World {
    /// The directory, while it is a temporary one: removed with this.
    _temporary: Option<tempfile::TempDir>,
    pub(super) data: PathBuf,
    pub(super) origin: String,
    pub(super) ledger: LocalLedger,
    pub(super) seller: PublicKey,
    pub(super) wallet: Arc<NativePay>,
    stop: watch::Sender<bool>,
    server: JoinHandle<std::io::Result<()>>,
}

impl World {
    /// Starts everything, and fills up the agent's account.
    pub(super) async fn start(data: Option<&Path>, port: u16) -> Result<Self, Failure> {
        let cannot = |error: farthing::Error| Failure::bad_input(error);
        let temporary = match data {
            Some(_) => None,
            None => {
                Some(tempfile::Builder::new().prefix("farthing-demo-").tempdir().map_err(Failure::unsound)?)
            }
        };
        let data = match (data, &temporary) {
            (Some(data), _) => data.to_path_buf(),
            (None, Some(temporary)) => temporary.path().to_path_buf(),
            (None, None) => return Err(Failure::unsound("there is no directory")),
        };
        let key = |name: &str| keyfile::load_or_create(data.join(name)).map_err(Failure::bad_input);
        let seller = key("seller.key")?.public();
        let (authorizer, agent) = (key("authorizer.key")?, key("agent.key")?);
        let ledger = LocalLedger::open(&data, seller).await.map_err(cannot)?;
        let scale = scale(&ledger).await?;
        let purse: Price = PURSE.parse().map_err(Failure::unsound)?;
        let purse = purse.to_atomic(scale).map_err(Failure::unsound)?;
        let has = ledger.balance(agent.public(), ASSET).await.map_err(cannot)?;
        let missing = purse.checked_sub(has).unwrap_or_default();
        if missing != Amount::ZERO {
            let amount = format!("{} {ASSET}", missing.decimal(scale));
            ledger.deposit(agent.public(), &amount).await.map_err(cannot)?;
        }

        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.map_err(|e| Failure::bad_input(format!("port {port} of 127.0.0.1: {e}")))?;
        let address = listener.local_addr().map_err(Failure::unsound)?;
        let origin = format!("http://{address}");
        let paywall = paywall(&origin, seller, &authorizer, &ledger, &data).await?;
        let router = router(&paywall, &ledger, &origin)?;
        let (stop, mut stopped) = watch::channel(false);
        let listener = listener.tap_io(|stream| {
            // Small answers are not held back to be sent with later ones.
            let _ = stream.set_nodelay(true);
        });
        let shutdown = async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let server =
            tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(shutdown).await });
        let wallet = connect(&origin, agent).await?;
        Ok(Self { _temporary: temporary, data, origin, ledger, seller, wallet, stop, server })
    }

    /// The absolute URL of a page.
    pub(super) fn url(&self, page: &Page) -> String {
        format!("{}{}", self.origin, page.path)
    }

    /// Where the facilitator listens.
    pub(super) fn ledger_url(&self) -> String {
        format!("{}/ledger", self.origin)
    }

    /// The ledger's network.
    pub(super) fn network(&self) -> &Network {
        self.ledger.ledger().network()
    }

    /// Decimal places of the play money, from the ledger's signed terms.
    pub(super) fn scale(&self) -> u8 {
        self.wallet.scale(ASSET).unwrap_or_default()
    }

    /// What the agent and the seller have, in atomic units.
    pub(super) async fn balances(&self) -> Result<(Amount, Amount), Failure> {
        let agent = self.ledger.balance(self.wallet.account(), ASSET).await.map_err(Failure::unsound)?;
        let seller = self.ledger.balance(self.seller, ASSET).await.map_err(Failure::unsound)?;
        Ok((agent, seller))
    }

    /// Stops the server after the requests that it has, and closes the ledger.
    pub(super) async fn close(self) -> Result<(), Failure> {
        let _ = self.stop.send(true);
        match tokio::time::timeout(GRACE, self.server).await {
            Ok(Ok(served)) => served.map_err(Failure::unsound),
            Ok(Err(panicked)) => Err(Failure::unsound(panicked)),
            // Somebody keeps a connection open; what was paid is safe on the ledger.
            Err(_) => Ok(()),
        }
    }
}

/// The seller's paywall, with a log of what it sells.
async fn paywall(
    origin: &str,
    seller: PublicKey,
    authorizer: &SecretKey,
    ledger: &LocalLedger,
    data: &Path,
) -> Result<Paywall, Failure> {
    let origin = origin.parse().map_err(Failure::unsound)?;
    let builder = farthing::paywall_builder(origin, seller, authorizer, ledger.into()).await;
    let log = SalesLog::open(data.join("sales.jsonl")).map_err(Failure::bad_input)?;
    let paywall = builder.map_err(Failure::bad_input)?.sales(log).build().map_err(Failure::unsound)?;
    ledger.recover(authorizer).await.map_err(Failure::bad_input)?;
    Ok(paywall)
}

async fn connect(origin: &str, agent: SecretKey) -> Result<Arc<NativePay>, Failure> {
    farthing::wallet(&format!("{origin}/ledger"), agent).await.map_err(Failure::unsound)
}

async fn scale(ledger: &LocalLedger) -> Result<u8, Failure> {
    let terms = ledger.ledger().terms().await.map_err(Failure::unsound)?;
    terms.scale(ASSET).ok_or_else(|| Failure::unsound(format!("the ledger does not know {ASSET}")))
}

/// The paid pages, the free list of them, and the ledger's facilitator.
fn router(paywall: &Paywall, ledger: &LocalLedger, origin: &str) -> Result<Router, Failure> {
    let router = pages::router(paywall, origin, ASSET)?;
    Ok(router.nest("/ledger", ledger.service(HttpOptions::default())))
}
