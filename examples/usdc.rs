//! The paid API of `server.rs`, which takes USDC on Base Sepolia as well: see the lines with `chain`.
use std::sync::Arc;

use axum::{Router, routing::get};
use farthing::facilitator::RemoteFacilitator;
use farthing::records::EmbeddedRecords;
use farthing::{LocalLedger, OnChain, Settles, keyfile};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let payee = keyfile::load_or_create("shop/payee.key")?.public();
    let authorizer = keyfile::load_or_create("shop/authorizer.key")?;
    let ledger = LocalLedger::open("shop/ledger", payee).await?;

    let (address, url) = (std::env::var("PAY_TO")?, std::env::var("FACILITATOR")?);
    let facilitator = Arc::new(RemoteFacilitator::builder(url).build()?);
    let claims = Arc::new(EmbeddedRecords::open("shop/claims")?);
    let chain = OnChain::usdc("base-sepolia", &address, facilitator, claims)?;

    let settles = Settles::from(&ledger).and(chain);
    let paywall = farthing::paywall("http://127.0.0.1:4021", payee, authorizer, settles).await?;
    let weather = get(async || "sunny, 21 degrees\n").layer(paywall.price("$0.001"));
    let app = Router::new().route("/weather", weather).nest("/ledger", ledger.service(Default::default()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:4021").await?;
    Ok(axum::serve(listener, app).await?)
}
