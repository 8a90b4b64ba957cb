//! A server of farthing: the routes and prices of the reference's servers, paid in each way there is. It answers
//! version 1 and version 2 on the same routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::OriginalUri;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use farthing::evm::{Asset, Transfer};
use farthing::facilitator::RemoteFacilitator;
use farthing::protocol::{Amount, SecretKey};
use farthing::records::MemoryRecords;
use farthing::server::{Captured, Paywall};
use farthing::{OnChain, evm_paywall, evm_rails};
use serde_json::json;

use crate::ready::{Port, setting};

/// Serves until the runner ends.
///
/// # Errors
/// When a setting is missing or wrong, or the facilitator does not settle what is sold.
pub(crate) async fn run() -> Result<(), String> {
    let port = Port::open().await?;
    let facilitator = RemoteFacilitator::builder(setting("FACILITATOR")?).build().map_err(text)?;
    let (facilitator, records) = (Arc::new(facilitator), Arc::new(MemoryRecords::new()));
    let receipts = SecretKey::from_seed([7; 32]);
    let (name, version) = (setting("TOKEN_NAME")?, setting("TOKEN_VERSION")?);
    let usdc = Asset::new(&setting("TOKEN")?, &name, &version, 6, "USD", Transfer::Eip3009).map_err(text)?;
    let by_permit2 = usdc.clone().moved_by(Transfer::Permit2);
    let plain = Asset::new(&setting("PLAIN")?, "", "", 6, "USD", Transfer::Permit2).map_err(text)?;
    let (network, payee) = (setting("NETWORK")?, setting("PAY_TO")?);
    let chain = |asset: &Asset| {
        OnChain::token(&network, &payee, asset.clone(), facilitator.clone(), records.clone()).map_err(text)
    };
    let price = format!("${}", setting("PRICE")?.parse::<Amount>().map_err(text)?.decimal(6));

    let mut router = Router::new();
    for (path, asset) in [("/eip3009", &usdc), ("/permit2", &by_permit2)] {
        let paywall = evm_paywall(&port.url(), receipts.clone(), chain(asset)?).await.map_err(text)?;
        let sold = get(content).layer(paywall.price(&*price));
        router = router.route(path, sold.clone()).route(&format!("{path}/other"), sold);
    }
    // Whoever has not approved Permit2 may send a permit or an approval along.
    for (path, asset, extension) in [
        ("/eip2612", &by_permit2, "eip2612GasSponsoring"),
        ("/erc20", &plain.without_eip2612(), "erc20ApprovalGasSponsoring"),
    ] {
        let paywall = evm_paywall(&port.url(), receipts.clone(), chain(asset)?).await.map_err(text)?;
        let sponsored = paywall.price(&*price).extension(extension, &gas_sponsoring());
        router = router.route(path, get(content).layer(sponsored));
    }
    // `upto` by itself: a client would choose `exact` where both are offered.
    let rails = evm_rails(&chain(&by_permit2)?.metered()).await.map_err(text)?;
    let metered = rails.into_iter().find(|rail| rail.scheme() == "upto").ok_or("no rail for upto")?;
    let builder = Paywall::builder(port.url().parse().map_err(text)?).receipt_key(receipts);
    let builder = builder.rail(metered).facilitator(facilitator.clone()).records(records.clone());
    let used: Amount = setting("USED")?.parse().map_err(text)?;
    let metered = get(async move |url| (axum::Extension(Captured(used)), content(url).await).into_response());
    let sold = metered.layer(builder.build().map_err(text)?.up_to(&*price));
    port.serve(router.route("/upto", sold.clone()).route("/upto/other", sold)).await
}

/// What the reference's servers say of gas sponsoring, without their words for people.
fn gas_sponsoring() -> serde_json::Value {
    json!({ "info": { "version": "1" }, "schema": { "type": "object" } })
}

async fn content(OriginalUri(url): OriginalUri) -> Response {
    format!("sold: {}", url.path()).into_response()
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
