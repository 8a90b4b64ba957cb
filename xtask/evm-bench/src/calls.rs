//! Paid calls, one after the other: a client of ours asks a server of ours, which has the payment settled on chain
//! by the facilitator under test before it answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use farthing::evm::EvmKey;
use farthing::facilitator::RemoteFacilitator;
use farthing::protocol::SecretKey;
use farthing::records::MemoryRecords;
use farthing::{Budget, Client, OnChain, evm_paywall, evm_wallet};

use crate::Result;
use crate::anvil::{Anvil, NETWORK, USDC};
use crate::payments::{PAYER, PRICE, SELLER, UNITS, secret};
use crate::program::Program;

/// Calls before the clock starts.
const WARM_UP: usize = 5;

/// How long paid calls through one facilitator took.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    pub(crate) name: &'static str,
    /// Sorted.
    pub(crate) latencies: Vec<Duration>,
}

/// Makes `count` paid calls; each must bring the content, and each must be settled.
///
/// # Errors
/// When one is not.
pub(crate) fn through(facilitator: &Program, chain: &Anvil, count: usize) -> Result<Called> {
    let before = chain.balance(USDC, SELLER);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut latencies = runtime.block_on(call(facilitator, chain, count))?;
    let earned = chain.balance(USDC, SELLER) - before;
    if earned != (count + WARM_UP) as u128 * UNITS {
        return Err(format!("{}: {count} calls earned {earned}", facilitator.name).into());
    }
    latencies.sort_unstable();
    Ok(Called { name: facilitator.name, latencies })
}

async fn call(facilitator: &Program, chain: &Anvil, count: usize) -> Result<Vec<Duration>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let remote = Arc::new(RemoteFacilitator::builder(facilitator.url()).build()?);
    let sells = OnChain::usdc(NETWORK, SELLER, remote, Arc::new(MemoryRecords::new()))?;
    let paywall = evm_paywall(&url, SecretKey::from_seed([7; 32]), sells).await?;
    let page = get(async || "a page").layer(paywall.price(PRICE));
    let server = tokio::spawn(async move { axum::serve(listener, Router::new().route("/", page)).await });

    let wallet = evm_wallet(NETWORK, EvmKey::from_hex(&secret(PAYER))?, &[&chain.url()])?;
    let client = Client::builder().allow_any_origin().rail(wallet).budget(Budget::new("$100")?).build()?;
    let mut latencies = Vec::with_capacity(count);
    for number in 0..count + WARM_UP {
        let began = Instant::now();
        let paid = client.get(&url).send().await?;
        let was_paid = paid.payment().is_some();
        if !was_paid || paid.text().await? != "a page" {
            return Err("a call did not bring what was paid for".into());
        }
        if number >= WARM_UP {
            latencies.push(began.elapsed());
        }
    }
    server.abort();
    Ok(latencies)
}
