//! A paid API: a fixed price with free requests, a price by request, and what is not there costs nothing.
use std::{net::SocketAddr, time::Duration};

use axum::{Router, extract::Path, http::StatusCode, routing::get, routing::post};
use farthing::server::{Quota, Wanted};
use farthing::{LocalLedger, keyfile, protocol::Price};

const CITIES: [(&str, &str); 2] = [("taipei", "rain, 27 degrees\n"), ("lisbon", "sunny, 21 degrees\n")];

fn weather(city: &str) -> Result<&'static str, StatusCode> {
    CITIES.iter().find(|(name, _)| *name == city).map(|(_, weather)| *weather).ok_or(StatusCode::NOT_FOUND)
}

#[tokio::main]
async fn main() -> Result<(), farthing::Error> {
    let payee = keyfile::load_or_create("shop/payee.key")?.public();
    let authorizer = keyfile::load_or_create("shop/authorizer.key")?;
    let agent = keyfile::load_or_create("agent.key")?.public();
    let ledger = LocalLedger::open("shop/ledger", payee).await?;
    ledger.deposit(agent, "1.00 USD").await?; // credit for whoever tries this out
    let paywall = farthing::paywall("http://127.0.0.1:4021", payee, authorizer, &ledger).await?;

    // Two requests a day are free for each address. A city that is not there is a free 404.
    let fixed = paywall
        .price("$0.001")
        .name("weather")
        .check(async |wanted: Wanted| weather(wanted.path().trim_start_matches("/weather/")).map(|_| ()))
        .free_quota(Quota::new(2, Duration::from_secs(86_400)).by_address());

    // $0.0001 for each byte. What was asked is what is paid: the offer holds a quote.
    let by_length = paywall.dynamic(async |wanted: Wanted| match wanted.body.len() {
        0 => Err((StatusCode::BAD_REQUEST, "send the text to be counted\n".to_owned())),
        bytes => format!("{}.{:04} USD", bytes / 10_000, bytes % 10_000)
            .parse::<Price>()
            .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    });

    let app = Router::new()
        .route("/weather/{city}", get(async |Path(city): Path<String>| weather(&city)).layer(fixed))
        .route(
            "/words",
            post(async |text: String| text.split_whitespace().count().to_string()).layer(by_length),
        )
        .nest("/ledger", ledger.service(Default::default()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:4021").await?;
    Ok(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
}
