//! An agent with a budget: pays for what it fetches, and never more than it may.
use farthing::{Budget, Client, keyfile};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = keyfile::load_or_create("agent.key")?;
    let wallet = farthing::wallet("http://127.0.0.1:4021/ledger", key).await?;
    let budget = Budget::new("0.05 USD")?.per_request("0.01 USD")?;
    let client =
        Client::builder().allow_origin("http://127.0.0.1:4021").rail(wallet).budget(budget).build()?;
    let answer = client.get("http://127.0.0.1:4021/weather").await?;
    if let Some(payment) = answer.payment() {
        println!("paid {}, confirmed by the ledger: {}", payment.cost(), payment.is_proven());
    }
    print!("{}", answer.text().await?);
    Ok(())
}
