//! An agent researches the paid site of `site.rs`: it follows links and buys pages while its budget lasts. It
//! prints what it bought, what that cost, and what it left and why.
use std::collections::{BTreeSet, VecDeque};

use farthing::client::ClientError;
use farthing::{Budget, Client, keyfile};

const SITE: &str = "http://127.0.0.1:4021";

/// The paths on its own site that a page links to.
fn links(page: &str) -> impl Iterator<Item = String> {
    let targets = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    targets.filter(|target| target.starts_with('/')).map(str::to_owned)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = keyfile::load_or_create("agent.key")?;
    let wallet = farthing::wallet(&format!("{SITE}/ledger"), key).await?;
    let budget = Budget::new("0.018 USD")?.per_request("0.01 USD")?;
    let client = Client::builder().allow_origin(SITE).rail(wallet).budget(budget).build()?;

    let mut queue = VecDeque::from(["/".to_owned()]);
    let mut known = BTreeSet::from(["/".to_owned()]);
    let mut left = Vec::new();
    println!("{:<16}{:>10}  RECEIPT", "BOUGHT", "COST");
    while let Some(path) = queue.pop_front() {
        let answer = match client.get(&format!("{SITE}{path}")).await {
            Ok(answer) => answer,
            Err(ClientError::Refused(refused)) => {
                left.push((path, refused.why));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match answer.payment() {
            Some(payment) if payment.is_proven() => println!("{path:<16}{:>10}  proven", payment.cost()),
            Some(payment) => println!("{path:<16}{:>10}  {:?}", payment.cost(), payment.flags),
            None => println!("{path:<16}{:>10}", "free"),
        }
        let page = answer.text().await?;
        queue.extend(links(&page).filter(|path| known.insert(path.clone())));
    }
    println!("\nLEFT");
    for (path, why) in left {
        println!("{path:<16}{why}");
    }
    for line in client.budgets()? {
        let [spent, total] = [line.spent.taken, line.limits.total].map(|sum| sum.decimal(line.scale));
        println!("\nspent {spent} of {total} {}", line.currency);
    }
    Ok(())
}
