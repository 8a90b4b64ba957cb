//! Money on an EVM chain: being paid there, paying there, and settling there.

use std::sync::Arc;

use farthing_facilitator::LocalFacilitator;
#[cfg(feature = "server")]
use farthing_protocol::rail::{Facilitator, Offer};
#[cfg(feature = "server")]
use farthing_protocol::records::Records;
#[cfg(any(feature = "server", feature = "client"))]
use farthing_protocol::{Network, v1};
#[cfg(feature = "server")]
use farthing_protocol::{Origin, SecretKey};
#[cfg(feature = "server")]
use farthing_rail_evm::EvmOffer;
#[cfg(any(feature = "server", feature = "client"))]
use farthing_rail_evm::{Asset, assets};
use farthing_rail_evm::{EvmConfig, EvmSettle};
#[cfg(feature = "client")]
use farthing_rail_evm::{EvmKey, EvmPay, Rpc};
#[cfg(feature = "server")]
use farthing_server::{Paywall, PaywallBuilder};

use crate::Error;

/// Where a server is paid on an EVM chain, and who settles there.
///
/// With one more line, a server that is paid on its own ledger takes USDC as well:
///
/// ```no_run
/// # use std::sync::Arc;
/// # use farthing::{LocalLedger, OnChain, Settles, records::EmbeddedRecords};
/// # use farthing::facilitator::RemoteFacilitator;
/// # async fn shop(ledger: LocalLedger, payee: farthing::protocol::PublicKey, authorizer: farthing::protocol::SecretKey)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// let facilitator = Arc::new(RemoteFacilitator::builder("https://facilitator.example").build()?);
/// let records = Arc::new(EmbeddedRecords::open("shop/records")?);
/// let settles = Settles::from(&ledger)
///     .and(OnChain::usdc("eip155:8453", "0x209693Bc6afc0C5328bA36FaF03C514EF312287C", facilitator, records)?);
/// let paywall = farthing::paywall("https://api.example.com", payee, authorizer, settles).await?;
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "server")]
#[derive(Clone, Debug)]
pub struct OnChain {
    network: Network,
    pay_to: String,
    asset: Asset,
    metered: bool,
    facilitator: Arc<dyn Facilitator>,
    records: Arc<dyn Records>,
}

#[cfg(feature = "server")]
impl OnChain {
    /// Takes the network's default token for dollars, which is USDC on most. `network` is a CAIP-2 id
    /// (`eip155:8453`) or a name of version 1 (`base`); `pay_to` is the address that is paid, whose key is not
    /// needed here. `records` are where payments are claimed before a handler runs, because a chain cannot hold
    /// them: all processes that sell for this address share one store, and it outlives them.
    ///
    /// # Errors
    /// When the network is not a known EVM chain, or `pay_to` is no address.
    pub fn usdc(
        network: &str,
        pay_to: &str,
        facilitator: Arc<dyn Facilitator>,
        records: Arc<dyn Records>,
    ) -> Result<Self, Error> {
        Self::token(network, pay_to, default_asset(network)?, facilitator, records)
    }

    /// As [`usdc`](Self::usdc), with any token.
    ///
    /// # Errors
    /// When the network is no EVM chain, or an address is none.
    pub fn token(
        network: &str,
        pay_to: &str,
        asset: Asset,
        facilitator: Arc<dyn Facilitator>,
        records: Arc<dyn Records>,
    ) -> Result<Self, Error> {
        let network = chain(network)?;
        EvmOffer::exact(&network, pay_to, asset.clone())?;
        Ok(Self { network, pay_to: pay_to.to_owned(), asset, metered: false, facilitator, records })
    }

    /// Offers the scheme `upto` too, with which a handler may take less than the price.
    #[must_use]
    pub fn metered(self) -> Self {
        Self { metered: true, ..self }
    }
}

/// A paywall that sells on one EVM chain and nowhere else. `origin` is where clients reach this server, `receipts`
/// the key that signs receipts.
///
/// # Errors
/// When the origin is not one, or the facilitator cannot be reached or settles nothing there.
#[cfg(feature = "server")]
pub async fn evm_paywall(origin: &str, receipts: SecretKey, chain: OnChain) -> Result<Paywall, Error> {
    let origin: Origin = origin.parse().map_err(|e| Error::Config(format!("{e}")))?;
    let builder = Paywall::builder(origin).receipt_key(receipts);
    let facilitator = chain.facilitator.clone();
    let (builder, facilitator) = add(builder, facilitator, &[chain]).await?;
    builder.facilitator(facilitator).build().map_err(|e| Error::Config(e.to_string()))
}

/// The rails of a chain, for a [`Paywall`] that is built by hand: `exact`, and `upto` if it is
/// [metered](OnChain::metered).
///
/// # Errors
/// When the facilitator cannot be reached, or does not settle these there.
#[cfg(feature = "server")]
pub async fn evm_rails(chain: &OnChain) -> Result<Vec<Arc<dyn Offer>>, Error> {
    let supported = chain.facilitator.supported().await?;
    let kind = |scheme: &str| {
        let network = chain.network.as_str();
        let kind = supported
            .kinds
            .iter()
            .find(|kind| kind.x402_version == 2 && kind.scheme == scheme && kind.network == network);
        kind.ok_or_else(|| Error::Config(format!("the facilitator does not settle {scheme} on {network}")))
    };
    kind("exact")?;
    let exact = EvmOffer::exact(&chain.network, &chain.pay_to, chain.asset.clone())?;
    let mut rails: Vec<Arc<dyn Offer>> = vec![Arc::new(exact)];
    if chain.metered {
        let kind = kind("upto")?;
        let named = kind.extra.as_ref().and_then(|extra| extra.get("facilitatorAddress")?.as_str());
        // The first of those that are named, which is the same each time.
        let signer = supported.signers.get("eip155:*").and_then(|signers| signers.first());
        let address = named.or(signer.map(String::as_str));
        let address =
            address.ok_or_else(|| Error::Config("the facilitator names no address for upto".into()))?;
        rails.push(Arc::new(EvmOffer::upto(&chain.network, &chain.pay_to, chain.asset.clone(), address)?));
    }
    Ok(rails)
}

/// Adds chains to a paywall in the making, and their facilitators to its own.
#[cfg(feature = "server")]
pub(crate) async fn add(
    mut builder: PaywallBuilder,
    facilitator: Arc<dyn Facilitator>,
    chains: &[OnChain],
) -> Result<(PaywallBuilder, Arc<dyn Facilitator>), Error> {
    let Some(first) = chains.first() else { return Ok((builder, facilitator)) };
    builder = builder.records(first.records.clone());
    let mut by_network = farthing_facilitator::ByNetwork::new(facilitator);
    for chain in chains {
        for rail in evm_rails(chain).await? {
            builder = builder.rail(rail);
        }
        by_network = by_network.on(chain.network.clone(), chain.facilitator.clone());
    }
    Ok((builder, Arc::new(by_network)))
}

/// A facilitator that settles on one EVM chain, in this process or behind
/// [`http::service`](farthing_facilitator::http::service).
///
/// # Errors
/// When the chain cannot be reached, or is not what the configuration says.
pub async fn evm_facilitator(config: EvmConfig) -> Result<Arc<LocalFacilitator>, Error> {
    let rail = EvmSettle::connect(config).await?;
    let local = LocalFacilitator::new(vec![Arc::new(rail)]);
    Ok(Arc::new(local.map_err(|e| Error::Config(e.to_string()))?))
}

/// A wallet that pays with `key` on `network` (`eip155:8453`, or `base`) in its known tokens, and asks the chain
/// at `rpc` what became of payments.
///
/// # Errors
/// When the network is not a known EVM chain, or a URL is none.
#[cfg(feature = "client")]
pub fn evm_wallet(network: &str, key: EvmKey, rpc: &[&str]) -> Result<Arc<EvmPay>, Error> {
    let network = chain(network)?;
    default_asset(network.as_str())?;
    let wallet = EvmPay::new(&network, key, assets::of_network(&network).to_vec())?;
    Ok(Arc::new(wallet.rpc(Rpc::new(rpc)?)))
}

/// A network by its CAIP-2 id, or its name in version 1.
#[cfg(any(feature = "server", feature = "client"))]
fn chain(text: &str) -> Result<Network, Error> {
    let network = v1::network_of(text).or_else(|| text.parse().ok());
    let unknown = || Error::Config(format!("{text:?} is no network: write it like eip155:8453, or base"));
    network.ok_or_else(unknown)
}

#[cfg(any(feature = "server", feature = "client"))]
fn default_asset(text: &str) -> Result<Asset, Error> {
    let network = chain(text)?;
    let known = assets::of_network(&network).first().cloned();
    known.ok_or_else(|| Error::Config(format!("no token of {network} is known: name one")))
}
