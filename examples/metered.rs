//! A stream of events that is paid for as it comes: a tick each second, for 0.001 USD each, up to 0.05 USD.
//! Whoever goes away pays for the ticks that came.
use std::{convert::Infallible, time::Duration};

use axum::response::sse::{Event, Sse};
use axum::{Router, routing::get};
use farthing::{LocalLedger, keyfile};
use futures_util::{Stream, stream};

async fn ticks() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream::unfold(1, |tick| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok(Event::default().data(format!("tick {tick}"))), tick + 1))
    }))
}

#[tokio::main]
async fn main() -> Result<(), farthing::Error> {
    let payee = keyfile::load_or_create("shop/payee.key")?.public();
    let authorizer = keyfile::load_or_create("shop/authorizer.key")?;
    let agent = keyfile::load_or_create("agent.key")?.public();
    let ledger = LocalLedger::open("shop/ledger", payee).await?;
    ledger.deposit(agent, "1.00 USD").await?; // credit for the agent
    let paywall = farthing::paywall("http://127.0.0.1:4021", payee, authorizer, &ledger).await?;
    let price = paywall.up_to("$0.05").per_event("$0.001").description("The time, as it passes");
    let app = Router::new()
        .route("/ticks", get(ticks).layer(price))
        .merge(paywall.routes()) // GET /payments/{id}
        .nest("/ledger", ledger.service(Default::default()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:4021").await?;
    Ok(axum::serve(listener, app).await?)
}
