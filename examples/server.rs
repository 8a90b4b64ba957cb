//! A paid API: one route, one price, settled on an embedded ledger.
use axum::{Router, routing::get};
use farthing::{LocalLedger, keyfile};

#[tokio::main]
async fn main() -> Result<(), farthing::Error> {
    let payee = keyfile::load_or_create("shop/payee.key")?.public();
    let authorizer = keyfile::load_or_create("shop/authorizer.key")?;
    let agent = keyfile::load_or_create("agent.key")?.public();
    let ledger = LocalLedger::open("shop/ledger", payee).await?;
    ledger.deposit(agent, "1.00 USD").await?; // credit for the client below
    let paywall = farthing::paywall("http://127.0.0.1:4021", payee, authorizer, &ledger).await?;
    let weather = get(async || "sunny, 21 degrees\n").layer(paywall.price("$0.001"));
    let app = Router::new().route("/weather", weather).nest("/ledger", ledger.service(Default::default()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:4021").await?;
    Ok(axum::serve(listener, app).await?)
}
