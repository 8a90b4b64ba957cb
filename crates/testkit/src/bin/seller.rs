//! A seller for tests to start, to share a ledger with, and to kill: `seller ORDERS`, in JSON.
#![allow(clippy::unwrap_used, reason = "a test's program fails by panicking")]

#[tokio::main]
async fn main() {
    let orders = std::env::args().nth(1).unwrap();
    farthing_testkit::seller::serve(serde_json::from_str(&orders).unwrap()).await;
}
