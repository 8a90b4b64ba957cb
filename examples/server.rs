//! A paid API: one route, one price, settled on an embedded ledger.
use axum::{Router, routing::get};
use farthing::{LocalLedger, facilitator::http::HttpOptions, keyfile};

#[tokio::main]
async fn main() -> Result<(), farthing::Error> {
    let (payee, authorizer) =
        (keyfile::load_or_create("shop/payee.key")?, keyfile::load_or_create("shop/authorizer.key")?);
    let ledger = LocalLedger::open("shop/ledger", payee.public()).await?;
    ledger.deposit(keyfile::load_or_create("agent.key")?.public(), "1.00 USD").await?; // credit for the client below
    let paywall =
        farthing::paywall("http://127.0.0.1:4021", payee.public(), authorizer, ledger.facilitator()).await?;
    let app = Router::new()
        .route("/weather", get(|| async { "sunny, 21 degrees\n" }).layer(paywall.price("$0.001")))
        .nest("/ledger", ledger.service(HttpOptions::default()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:4021").await?;
    Ok(axum::serve(listener, app).await?)
}
