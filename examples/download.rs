//! A paid file download: a file of any size, read from disk no faster than its payer reads it.
//! It sells the file that is named on the command line, or else its own program.
use std::path::PathBuf;

use axum::http::{StatusCode, header};
use axum::{Router, body::Body, routing::get};
use farthing::{LocalLedger, keyfile};
use tokio::fs::File;
use tokio_util::io::ReaderStream;

#[tokio::main]
async fn main() -> Result<(), farthing::Error> {
    let named = std::env::args_os().nth(1).map(PathBuf::from);
    let path = named.map_or_else(std::env::current_exe, Ok)?;
    let payee = keyfile::load_or_create("shop/payee.key")?.public();
    let authorizer = keyfile::load_or_create("shop/authorizer.key")?;
    let agent = keyfile::load_or_create("agent.key")?.public();
    let ledger = LocalLedger::open("shop/ledger", payee).await?;
    ledger.deposit(agent, "1.00 USD").await?; // credit for the agent
    let paywall = farthing::paywall("http://127.0.0.1:4021", payee, authorizer, &ledger).await?;
    let file = get(async move || {
        // A file that is gone costs nothing: an error gives the payment back.
        let file = File::open(&path).await.map_err(|_| StatusCode::NOT_FOUND)?;
        let length = file.metadata().await.map_err(|_| StatusCode::NOT_FOUND)?.len().to_string();
        let kind = "application/octet-stream".to_owned();
        let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_LENGTH, length)];
        Ok::<_, StatusCode>((headers, Body::from_stream(ReaderStream::new(file))))
    });
    let app = Router::new()
        .route("/file", file.layer(paywall.price("$0.05")))
        .nest("/ledger", ledger.service(Default::default()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:4021").await?;
    Ok(axum::serve(listener, app).await?)
}
