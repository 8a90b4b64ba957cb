//! A client of farthing. It takes jobs `{key, url}` from the runner, each with a budget of its own.

use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use farthing::client::{ClientError, Flag, Paid};
use farthing::evm::{Asset, EvmKey, EvmPay, Rpc, Transfer, assets};
use farthing::protocol::header::{self, PAYMENT_RESPONSE, X_PAYMENT_RESPONSE};
use farthing::protocol::{Limits, Network};
use farthing::{Budget, Client};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ready::{Port, setting};

#[derive(Deserialize)]
struct Job {
    key: String,
    url: String,
}

/// Takes jobs until the runner ends.
///
/// # Errors
/// When a setting is missing or wrong.
pub(crate) async fn run() -> Result<(), String> {
    let network: Network = setting("NETWORK")?.parse().map_err(text)?;
    let rpc = Rpc::new([setting("RPC")?]).map_err(text)?;
    let plain = Asset::new(&setting("PLAIN")?, "", "", 6, "PLAIN", Transfer::Permit2).map_err(text)?;
    let tokens = [assets::of_network(&network), &[plain.without_eip2612()]].concat();
    let job = async move |body: String| match pay(&body, &network, &tokens, &rpc).await {
        Ok(seen) => seen.to_string(),
        Err(error) => json!({ "error": error }).to_string(),
    };
    Port::open().await?.serve(Router::new().route("/", post(job))).await
}

async fn pay(body: &str, network: &Network, tokens: &[Asset], rpc: &Rpc) -> Result<Value, String> {
    let job: Job = serde_json::from_str(body).map_err(text)?;
    let key = EvmKey::from_hex(&job.key).map_err(text)?;
    let wallet = EvmPay::new(network, key, tokens.to_vec()).map_err(text)?.rpc(rpc.clone());
    let mut client = Client::builder().allow_any_origin().rail(Arc::new(wallet));
    for budget in ["$0.01", "0.01 PLAIN"] {
        client = client.budget(Budget::new(budget).map_err(text)?);
    }
    let client = client.build().map_err(text)?;
    match client.get(&job.url).send().await {
        Ok(paid) => seen(paid).await,
        Err(ClientError::PaymentRefused(refused)) => {
            Ok(json!({ "status": refused.status.as_u16(), "reason": refused.reason }))
        }
        Err(error) => Err(error.to_string()),
    }
}

async fn seen(paid: Paid) -> Result<Value, String> {
    let report = paid.payment().ok_or("nothing was paid")?;
    let amiss = |flag: &&Flag| !matches!(flag, Flag::ReceiptMissing);
    if let Some(flag) = report.flags.iter().find(amiss) {
        return Err(format!("{flag:?}"));
    }
    let (status, limits) = (paid.status.as_u16(), Limits::default());
    let value = |name| paid.headers.get(name).map(|value| value.as_bytes().to_vec());
    let (name, settlement) = if let Some(value) = value(PAYMENT_RESPONSE) {
        ("PAYMENT-RESPONSE", header::decode_settlement(&value, &limits).map(|it| json!(it)))
    } else {
        let value = value(X_PAYMENT_RESPONSE).ok_or("there is no settlement")?;
        ("X-PAYMENT-RESPONSE", header::decode_settlement_v1(&value, &limits).map(|it| json!(it)))
    };
    let settlement = settlement.map_err(text)?;
    let body = paid.text().await.map_err(text)?;
    Ok(json!({ "status": status, "body": body, "header": name, "settlement": settlement }))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
