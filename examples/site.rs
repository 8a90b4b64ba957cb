//! A paid site: pages at different prices that link to each other. `agent.rs` researches it.
use axum::{Router, response::Html, routing::get};
use farthing::{LocalLedger, keyfile};

/// Path, price and text of each page that is not free.
const PAGES: [(&str, &str, &str); 6] = [
    (
        "/",
        "$0.001",
        "All about tides: <a href=\"/moon\">the moon</a>, <a href=\"/harbours\">harbours</a>, \
         <a href=\"/almanac\">our almanac</a>. <a href=\"/about\">About us</a>",
    ),
    ("/moon", "$0.002", "Tides follow the moon. See also its <a href=\"/moon/phases\">phases</a>."),
    ("/moon/phases", "$0.004", "At new and full moon the tides are highest."),
    ("/harbours", "$0.003", "Every harbour is late in its own way: <a href=\"/harbours/maps\">maps</a>"),
    ("/harbours/maps", "$0.009", "Here are the shallows."),
    ("/almanac", "$0.05", "All tides of the next hundred years."),
];

#[tokio::main]
async fn main() -> Result<(), farthing::Error> {
    let payee = keyfile::load_or_create("shop/payee.key")?.public();
    let authorizer = keyfile::load_or_create("shop/authorizer.key")?;
    let agent = keyfile::load_or_create("agent.key")?.public();
    let ledger = LocalLedger::open("shop/ledger", payee).await?;
    ledger.deposit(agent, "1.00 USD").await?; // credit for the agent
    let paywall = farthing::paywall("http://127.0.0.1:4021", payee, authorizer, &ledger).await?;
    let mut app = Router::new().route("/about", get(async || Html("We like water.")));
    for (path, price, text) in PAGES {
        app = app.route(path, get(async move || Html(text)).layer(paywall.price(price)));
    }
    let app = app.nest("/ledger", ledger.service(Default::default()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:4021").await?;
    Ok(axum::serve(listener, app).await?)
}
