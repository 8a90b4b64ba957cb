//! A facilitator of farthing over HTTP.

use std::sync::Arc;

use farthing::evm::{Asset, EvmConfig, EvmKey, Rpc, Transfer};
use farthing::evm_facilitator;
use farthing::facilitator::http::{self, HttpOptions};
use farthing::records::MemoryRecords;

use crate::ready::{Port, setting};

/// Serves until the runner ends.
///
/// # Errors
/// When a setting is missing or wrong, or the chain is not what it should be.
pub(crate) async fn run() -> Result<(), String> {
    let port = Port::open().await?;
    let network = setting("NETWORK")?.parse().map_err(text)?;
    let rpc = Rpc::new([setting("RPC")?]).map_err(text)?;
    let signer = EvmKey::from_env("KEY").map_err(text)?;
    let plain = Asset::new(&setting("PLAIN")?, "", "", 6, "PLAIN", Transfer::Permit2).map_err(text)?;
    let mut config = EvmConfig::new(network, rpc, vec![signer], Arc::new(MemoryRecords::new()));
    config.assets.push(plain.without_eip2612());
    let local = evm_facilitator(config).await.map_err(text)?;
    port.serve(http::service((*local).clone(), HttpOptions::default())).await
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
