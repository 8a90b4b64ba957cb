//! Pay per request over HTTP.
//!
//! One dependency for users: [`paywall`] charges for axum routes, [`Client`] pays for requests under a
//! [`Budget`], [`LocalLedger`] settles both with no blockchain, no account and no configuration. With feature `evm`,
//! one more line lets the same server take USDC: see [`OnChain`].

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "evm")]
mod chain;
#[cfg(feature = "facilitator")]
pub mod faucet;
#[cfg(feature = "gateway")]
pub mod gateway;
#[cfg(feature = "facilitator")]
mod ledger;
#[cfg(feature = "mcp")]
pub mod mcp;
#[cfg(feature = "metrics")]
pub mod metrics;

#[cfg(any(feature = "server", feature = "client"))]
use std::sync::Arc;

#[cfg(any(feature = "server", feature = "client"))]
use farthing_protocol::SecretKey;
#[cfg(feature = "server")]
use farthing_protocol::rail::Facilitator;
#[cfg(feature = "server")]
use farthing_protocol::{Origin, PublicKey};

pub use farthing_facilitator as facilitator;
pub use farthing_protocol as protocol;
#[cfg(feature = "evm")]
pub use farthing_rail_evm as evm;
pub use farthing_rail_native as native;

#[cfg(feature = "evm")]
pub use chain::evm_facilitator;
#[cfg(all(feature = "evm", feature = "client"))]
pub use chain::evm_wallet;
#[cfg(all(feature = "evm", feature = "server"))]
pub use chain::{OnChain, evm_paywall, evm_rails};
#[cfg(feature = "client")]
pub use farthing_client::{self as client, Budget, Client};
#[cfg(feature = "facilitator")]
pub use farthing_ledger::{self, Ledger, Options, keyfile, records};
#[cfg(feature = "server")]
pub use farthing_server::{self as server, Paywall};
#[cfg(feature = "facilitator")]
pub use ledger::LocalLedger;

/// Why something could not be set up. Nothing was charged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value in the configuration is not what it should be.
    #[error("configuration: {0}")]
    Config(String),
    /// The ledger's directory cannot be opened.
    #[cfg(feature = "facilitator")]
    #[error(transparent)]
    Open(#[from] farthing_ledger::engine::OpenError),
    /// A key file cannot be used.
    #[cfg(feature = "facilitator")]
    #[error(transparent)]
    Key(#[from] keyfile::KeyFileError),
    /// The ledger's storage cannot be read.
    #[cfg(feature = "facilitator")]
    #[error(transparent)]
    Storage(#[from] farthing_ledger::engine::StorageError),
    /// The ledger refused or is not available.
    #[cfg(feature = "facilitator")]
    #[error(transparent)]
    Ledger(#[from] farthing_ledger::LedgerError),
    /// The facilitator cannot be used.
    #[error(transparent)]
    Facilitator(#[from] farthing_protocol::rail::FacilitatorError),
    /// The wallet cannot pay there.
    #[error(transparent)]
    Connect(#[from] native::pay::ConnectError),
    /// The chain, or what was configured for it, is not as it should be.
    #[cfg(feature = "evm")]
    #[error(transparent)]
    Evm(#[from] evm::ConfigError),
    /// A gateway's file cannot be used.
    #[cfg(feature = "gateway")]
    #[error(transparent)]
    Gateway(#[from] gateway::ConfigError),
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Who settles for a [`paywall`]: a [`LocalLedger`], or any facilitator.
#[cfg(feature = "server")]
#[derive(Clone, Debug)]
pub struct Settles {
    facilitator: Arc<dyn Facilitator>,
    #[cfg(feature = "facilitator")]
    ledger: Option<LocalLedger>,
    #[cfg(feature = "evm")]
    chains: Vec<OnChain>,
}

#[cfg(feature = "server")]
impl Settles {
    fn by(facilitator: Arc<dyn Facilitator>) -> Self {
        Self {
            facilitator,
            #[cfg(feature = "facilitator")]
            ledger: None,
            #[cfg(feature = "evm")]
            chains: Vec::new(),
        }
    }

    /// Takes money on a chain as well. Each chain has its own facilitator; the records of the first are used for
    /// all.
    #[cfg(feature = "evm")]
    #[must_use]
    pub fn and(mut self, chain: OnChain) -> Self {
        self.chains.push(chain);
        self
    }
}

#[cfg(feature = "server")]
impl From<Arc<dyn Facilitator>> for Settles {
    fn from(facilitator: Arc<dyn Facilitator>) -> Self {
        Self::by(facilitator)
    }
}

#[cfg(feature = "server")]
impl<F: Facilitator + 'static> From<Arc<F>> for Settles {
    fn from(facilitator: Arc<F>) -> Self {
        let facilitator: Arc<dyn Facilitator> = facilitator;
        facilitator.into()
    }
}

#[cfg(all(feature = "server", feature = "facilitator"))]
impl From<&LocalLedger> for Settles {
    fn from(ledger: &LocalLedger) -> Self {
        Self { ledger: Some(ledger.clone()), ..Self::by(ledger.facilitator()) }
    }
}

/// A paywall that sells on a farthing ledger, its own or the one behind a facilitator: `auth-capture` is offered
/// first, then `exact`, then what chains [`Settles`] names besides; where a price is a maximum, `upto`, then
/// `auth-capture`.
///
/// `origin` is where clients reach this server (`https://api.example.com`), never the Host header. `payee`
/// is the account that is credited, and its key can stay offline. `authorizer` is the hot key that captures,
/// voids and refunds, and can do nothing else; the key that signs receipts is derived from it. Payments that an
/// earlier process of this seller left in doubt on its own ledger are [ended](LocalLedger::recover) first.
///
/// What outlives a request, such as who has bought a pass, it keeps in its records: those of its own
/// [`LocalLedger`], or of the first chain that [`Settles`] names.
///
/// # Errors
/// When the origin is not one, or the facilitator settles on no farthing ledger.
#[cfg(feature = "server")]
pub async fn paywall(
    origin: &str,
    payee: PublicKey,
    authorizer: SecretKey,
    settles: impl Into<Settles>,
) -> Result<Paywall, Error> {
    let settles: Settles = settles.into();
    #[cfg(feature = "facilitator")]
    let ledger = settles.ledger.clone();
    let origin: Origin = origin.parse().map_err(|e| Error::Config(format!("{e}")))?;
    let builder = paywall_builder(origin, payee, &authorizer, settles).await?;
    let paywall = builder.build().map_err(|e| Error::Config(e.to_string()))?;
    #[cfg(feature = "facilitator")]
    if let Some(ledger) = ledger {
        ledger.recover(&authorizer).await?;
    }
    Ok(paywall)
}

/// As [`paywall`], for one that is to be set up further. Payments that an earlier process left in doubt are left as they
/// are.
#[cfg(feature = "server")]
pub async fn paywall_builder(
    origin: Origin,
    payee: PublicKey,
    authorizer: &SecretKey,
    settles: Settles,
) -> Result<farthing_server::PaywallBuilder, Error> {
    let facilitator = settles.facilitator;
    let receipts = authorizer.derive("receipt");
    let mut builder = Paywall::builder(origin).receipt_key(receipts);
    for rail in rails(payee, authorizer, facilitator.as_ref()).await? {
        builder = builder.rail(rail);
    }
    // Those of a chain go before: they are shared by all who sell for its address.
    #[cfg(feature = "facilitator")]
    if let Some(records) = settles.ledger.as_ref().and_then(LocalLedger::records) {
        builder = builder.records(records);
    }
    #[cfg(feature = "evm")]
    let (builder, facilitator) = chain::add(builder, facilitator, &settles.chains).await?;
    Ok(builder.facilitator(facilitator))
}

/// The native rails that `facilitator` settles, for a [`Paywall`] that is built by hand.
///
/// # Errors
/// When the facilitator cannot be reached, or settles on no farthing ledger.
#[cfg(feature = "server")]
pub async fn rails(
    payee: PublicKey,
    authorizer: &SecretKey,
    facilitator: &dyn Facilitator,
) -> Result<Vec<Arc<native::NativeOffer>>, Error> {
    use farthing_ledger::{LedgerId, terms::Scheme};
    let supported = facilitator.supported().await?;
    let mut rails = Vec::new();
    for scheme in [Scheme::AuthCapture, Scheme::Exact, Scheme::Upto] {
        for kind in supported.kinds.iter().filter(|k| k.x402_version == 2 && k.scheme == scheme.name()) {
            let Ok(network) = kind.network.parse::<farthing_protocol::Network>() else { continue };
            if LedgerId::of_network(&network).is_none() {
                continue;
            }
            let terms = kind.extra.clone().map(serde_json::Value::Object).unwrap_or_default();
            let terms = serde_json::from_value(terms)
                .map_err(|e| Error::Config(format!("the terms of {network} cannot be read: {e}")))?;
            let rail = native::NativeOffer::new(scheme, &network, terms, payee, authorizer.clone())
                .map_err(|e| Error::Config(format!("the terms of {network}: {e}")))?;
            rails.push(Arc::new(rail));
        }
    }
    if rails.is_empty() {
        return Err(Error::Config("the facilitator settles on no farthing ledger".into()));
    }
    Ok(rails)
}

/// A wallet that pays with `key` on the ledger whose facilitator listens at `url`.
///
/// # Errors
/// When nothing there settles on a farthing ledger whose signed terms can be believed.
#[cfg(feature = "client")]
pub async fn wallet(url: &str, key: SecretKey) -> Result<Arc<native::NativePay>, Error> {
    let remote = farthing_facilitator::RemoteFacilitator::builder(url).build();
    let remote = remote.map_err(|e| Error::Config(e.to_string()))?;
    Ok(Arc::new(native::NativePay::connect(Arc::new(remote), None, key).await?))
}
