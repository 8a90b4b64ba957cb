//! A pass: an article is bought once and read again for free, for a day, also by a reader that forgets everything.
use std::time::Duration;

use axum::{Router, routing::get};
use farthing::{Budget, Client, LocalLedger, keyfile};

const SHOP: &str = "http://127.0.0.1:4021";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let payee = keyfile::load_or_create("shop/payee.key")?.public();
    let authorizer = keyfile::load_or_create("shop/authorizer.key")?;
    let reader = keyfile::load_or_create("agent.key")?;
    let ledger = LocalLedger::open("shop/ledger", payee).await?; // and beside it, who has bought what
    ledger.deposit(reader.public(), "1.00 USD").await?; // credit for the reader below
    let paywall = farthing::paywall(SHOP, payee, authorizer, &ledger).await?;
    let day = Duration::from_secs(86_400);
    let article = get(async || "Tides follow the moon.\n").layer(paywall.price("$0.05").pass(day));
    let app = Router::new().route("/tides", article).nest("/ledger", ledger.service(Default::default()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:4021").await?;
    tokio::spawn(async { axum::serve(listener, app).await });

    for visit in 1..=3 {
        // A client of its own each time: all it knows of the one before is its key.
        let wallet = farthing::wallet(&format!("{SHOP}/ledger"), reader.clone()).await?;
        let budget = Budget::new("0.10 USD")?;
        let client = Client::builder().allow_origin(SHOP).rail(wallet).budget(budget).build()?;
        let answer = client.get(&format!("{SHOP}/tides")).await?;
        match answer.payment() {
            Some(payment) => print!("visit {visit}, paid {}: ", payment.cost()),
            None => print!("visit {visit}, free: "),
        }
        print!("{}", answer.text().await?);
    }
    Ok(())
}
