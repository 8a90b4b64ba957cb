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
    let chain = |transfer| {
        let (name, version) = (setting("TOKEN_NAME")?, setting("TOKEN_VERSION")?);
        let asset = Asset::new(&setting("TOKEN")?, &name, &version, 6, "USD", transfer).map_err(text)?;
        let (network, payee) = (setting("NETWORK")?, setting("PAY_TO")?);
        OnChain::token(&network, &payee, asset, facilitator.clone(), records.clone()).map_err(text)
    };
    let price = format!("${}", setting("PRICE")?.parse::<Amount>().map_err(text)?.decimal(6));

    let mut router = Router::new();
    for (path, transfer) in [("/eip3009", Transfer::Eip3009), ("/permit2", Transfer::Permit2)] {
        let paywall = evm_paywall(&port.url(), receipts.clone(), chain(transfer)?).await.map_err(text)?;
        let sold = get(content).layer(paywall.price(&*price));
        router = router.route(path, sold.clone()).route(&format!("{path}/other"), sold);
    }
    // `upto` by itself: a client would choose `exact` where both are offered.
    let rails = evm_rails(&chain(Transfer::Permit2)?.metered()).await.map_err(text)?;
    let metered = rails.into_iter().find(|rail| rail.scheme() == "upto").ok_or("no rail for upto")?;
    let builder = Paywall::builder(port.url().parse().map_err(text)?).receipt_key(receipts);
    let builder = builder.rail(metered).facilitator(facilitator.clone()).records(records.clone());
    let used: Amount = setting("USED")?.parse().map_err(text)?;
    let metered = get(async move |url| (axum::Extension(Captured(used)), content(url).await).into_response());
    let sold = metered.layer(builder.build().map_err(text)?.price(&*price));
    port.serve(router.route("/upto", sold.clone()).route("/upto/other", sold)).await
}

async fn content(OriginalUri(url): OriginalUri) -> Response {
    format!("sold: {}", url.path()).into_response()
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
