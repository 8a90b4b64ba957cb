//! Payments that a person must agree to, each one, before they are signed.
//!
//! A client with an [approval](crate::ClientBuilder::approval) asks an [`Approve`] about every payment above an
//! amount. Without a clear yes in time, nothing is signed; after one, everything is judged again.

mod asking;
#[cfg(feature = "webhook")]
mod webhook;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use farthing_protocol::rail::{BoxFuture, Pay};
use farthing_protocol::{Amount, Network, Origin, Price};
use thiserror::Error;

use crate::budget::AssetId;
use crate::error::ConfigError;

#[cfg(feature = "policy")]
pub(crate) use webhook::webhook_url;
#[cfg(feature = "webhook")]
pub use webhook::{SIGNATURE, Webhook, WebhookError};

/// A payment that waits for a yes. Its texts are safe to show; those of the server are its own claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRequest {
    /// 32 hex digits, different for every question.
    pub id: String,
    /// Unix seconds after which a yes comes too late.
    pub expires_at: u64,
    /// Who asks for the money: scheme, host and port.
    pub origin: Origin,
    /// The request's method.
    pub method: String,
    /// The request's URL.
    pub url: String,
    /// Who would be paid, in the network's own words.
    pub payee: String,
    /// The network.
    pub network: Network,
    /// The asset, in the network's own words.
    pub asset: String,
    /// In whole units, such as `0.6 XTS`, by the scale that the wallet trusts.
    pub price: String,
    /// The same in atomic units.
    pub amount: Amount,
    /// What the server says it sells.
    pub description: Option<String>,
    /// The agent that wants to pay.
    pub agent: Option<String>,
    /// What it is for.
    pub task: Option<String>,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is not paid, nor is any other offer of this answer.
    No,
    /// It is paid, this once.
    Once,
    /// It is paid, and payments to this payee at this origin are not asked about again, up to the budgets.
    TrustPayee,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ApprovalError {
    /// None came in time.
    #[error("nobody answered in time")]
    Late,
    /// There is nobody to ask.
    #[error("there is nobody to ask")]
    Nobody,
    /// Asking failed.
    #[error("asking failed: {0}")]
    Failed(String),
}

/// Somebody who can be asked. A future that is dropped is a question that nobody waits for any more.
pub trait Approve: Send + Sync + fmt::Debug {
    /// Asks about one payment; several may be asked about at once.
    fn decide<'a>(&'a self, request: &'a ApprovalRequest) -> BoxFuture<'a, Result<Decision, ApprovalError>>;
}

/// Asks a function.
///
/// ```
/// use farthing_client::approval::{ApprovalRequest, Callback, Decision};
///
/// let ask = Callback(|request: ApprovalRequest| async move {
///     println!("{} asks for {}", request.origin, request.price);
///     Decision::No
/// });
/// ```
pub struct Callback<F>(pub F);

impl<F, A> Approve for Callback<F>
where
    F: Fn(ApprovalRequest) -> A + Send + Sync,
    A: Future<Output = Decision> + Send + 'static,
{
    fn decide<'a>(&'a self, request: &'a ApprovalRequest) -> BoxFuture<'a, Result<Decision, ApprovalError>> {
        let answer = (self.0)(request.clone());
        Box::pin(async { Ok(answer.await) })
    }
}

impl<F> fmt::Debug for Callback<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback(..)")
    }
}

/// When a client asks, and whom.
#[derive(Clone, Debug)]
pub(crate) struct Approval {
    /// Atomic units up to which nobody is asked. Assets that are not named are always asked about.
    pub(crate) above: BTreeMap<AssetId, Amount>,
    pub(crate) approver: Option<Arc<dyn Approve>>,
    pub(crate) timeout: Duration,
}

impl Approval {
    /// The amounts in atomic units, on every network whose rail knows the currency.
    pub(crate) fn resolve(
        above: &[Price],
        rails: &[Arc<dyn Pay>],
    ) -> Result<BTreeMap<AssetId, Amount>, ConfigError> {
        let mut resolved = BTreeMap::new();
        for price in above {
            let mut known = false;
            for rail in rails {
                let named = rail.asset(price.currency());
                let Some((asset, scale)) =
                    named.and_then(|asset| rail.scale(&asset).map(|scale| (asset, scale)))
                else {
                    continue;
                };
                known = true;
                let bound = price.to_atomic(scale).map_err(ConfigError::Approval)?;
                let asset = AssetId { network: rail.network().clone(), asset };
                let lowest = resolved.entry(asset).or_insert(bound);
                *lowest = bound.min(*lowest);
            }
            if !known {
                return Err(ConfigError::UnknownAsset { asset: price.currency().to_owned() });
            }
        }
        Ok(resolved)
    }
}
