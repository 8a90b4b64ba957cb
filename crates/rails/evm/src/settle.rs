//! The facilitator's role on one EVM chain.
//!
//! A settlement is looked at once more, written down together with its signed transaction, and only then
//! broadcast. It is settled when the token itself said, in the receipt, that it moved the right amount from the
//! payer to the payee. Until that is known the outcome is unknown, and presenting the same payment again asks
//! on: it never sends a second one that could move money, too.

mod attempt;
mod connect;
mod journal;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_primitives::B256;
use farthing_protocol::rail::{
    BoxFuture, FacilitatorError, Outcome, PaymentId, Settle, Tenant, UnknownOutcome,
};
use farthing_protocol::records::{Records, RecordsError};
use farthing_protocol::v2::{FacilitatorRequest, SettlementResponse, SupportedKind, VERSION, VerifyResponse};
use farthing_protocol::{Network, v1};
use serde_json::{Map, Value, json};
use tokio::sync::watch as channel;

use self::journal::{Entry, Journal, State};
use self::watch::Receipts;
use crate::assets::{self, Asset};
use crate::pool::{Draft, Pool};
use crate::rpc::Rpc;
use crate::verify::{Charge, Task, Trouble, Verifier};
use crate::wire::extensions::{EIP2612, ERC20_APPROVAL};
use crate::wire::{EXACT, UPTO};
use crate::{ConfigError, EvmKey};

/// What a facilitator needs to settle on one EVM chain.
#[derive(Clone)]
pub struct EvmConfig {
    /// Such as `eip155:84532`.
    pub network: Network,
    /// Endpoints of this chain.
    pub rpc: Rpc,
    /// Keys that send transactions and pay for their gas. No other process may use them: nonces would collide.
    /// The first alone settles `upto`: keep it, because payments are signed for its address.
    pub signers: Vec<EvmKey>,
    /// The tokens that are settled; no others are.
    pub assets: Vec<Asset>,
    /// Where settlements are written down before they are sent.
    pub records: Arc<dyn Records>,
    /// Contracts that may deploy a payer's smart wallet (ERC-6492); the facilitator pays for what they do.
    pub wallet_factories: Vec<String>,
    /// Wei for one unit of gas, at most.
    pub max_fee_per_gas: u128,
    /// Wei for one unit of gas that go to the block's maker, at most.
    pub max_priority_fee_per_gas: u128,
    /// Gas of one settlement, at most.
    pub max_gas: u64,
    /// Wei that a payer is given, at most, so that it can pay for the gas of its own approval
    /// (`erc20ApprovalGasSponsoring`). Zero gives nothing.
    pub gas_top_up: u128,
    /// How long one call of `/settle` waits for its transaction; afterwards the outcome is unknown.
    pub receipt_timeout: Duration,
    /// How soon a receipt is first looked for; the pauses grow up to a second.
    pub poll: Duration,
    /// After how long a transaction that is not mined is sent again for a higher fee.
    pub stuck_after: Duration,
}

impl EvmConfig {
    /// A set-up with the known tokens of `network` ([`assets::of_network`]), and limits that fit most chains.
    pub fn new(network: Network, rpc: Rpc, signers: Vec<EvmKey>, records: Arc<dyn Records>) -> Self {
        Self {
            assets: assets::of_network(&network).to_vec(),
            network,
            rpc,
            signers,
            records,
            wallet_factories: Vec::new(),
            max_fee_per_gas: 200_000_000_000,
            max_priority_fee_per_gas: 20_000_000_000,
            max_gas: 1_000_000,
            gas_top_up: 0,
            receipt_timeout: Duration::from_secs(20),
            poll: Duration::from_millis(10),
            stuck_after: Duration::from_secs(15),
        }
    }
}

impl fmt::Debug for EvmConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvmConfig")
            .field("network", &self.network)
            .field("rpc", &self.rpc)
            .finish_non_exhaustive()
    }
}

/// Settles `exact` and `upto` on one EVM chain. Needs tokio. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EvmSettle {
    desk: Desk,
}

/// Where settlements are worked on.
#[derive(Clone, Debug)]
struct Desk {
    verifier: Arc<Verifier>,
    pool: Arc<Pool>,
    journal: Journal,
    receipts: Arc<Receipts>,
    rpc: Rpc,
    limits: Limits,
    /// Settlements of this process, by payment.
    underway: Arc<Mutex<HashMap<PaymentId, channel::Receiver<Progress>>>>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    max_gas: u64,
    gas_top_up: u128,
    receipt_timeout: Duration,
    poll: Duration,
    stuck_after: Duration,
}

/// How far a settlement of this process is.
#[derive(Clone, Debug, Default)]
struct Progress {
    transaction: Option<B256>,
    outcome: Option<Outcome>,
}

impl EvmSettle {
    /// Asks the chain whether everything is as configured: the id of each endpoint's chain, each token's code,
    /// decimals and EIP-712 domain. Then takes up what was not at its end when the last process stopped.
    ///
    /// # Errors
    /// [`ConfigError`] naming what is missing or differs.
    pub async fn connect(config: EvmConfig) -> Result<Self, ConfigError> {
        connect::connect(config).await
    }

    /// Takes up all settlements that are written down as pending: each is watched to its end. Returns how many
    /// there are. [`connect`](Self::connect) has done it once.
    ///
    /// # Errors
    /// When the record store does not say.
    pub async fn recover(&self) -> Result<usize, RecordsError> {
        let pages = self.desk.journal.pending().await?;
        let count = pages.len();
        for mut page in pages {
            let Some(State::Pending { raw, .. }) = page.entry.as_ref().map(|entry| &entry.state) else {
                continue;
            };
            let draft = Draft::read(raw);
            let (desk, id) = (self.desk.clone(), page.id);
            let Ok((guard, progress)) = self.desk.begin(id) else { continue };
            if let Some(draft) = draft {
                self.desk.pool.adopt(&draft).await;
                // Whether it was broadcast before the end of the last process, nobody knows.
                let _ = self.desk.rpc.send_raw(&draft.raw).await;
            }
            progress.send_replace(Progress {
                transaction: page.entry.as_ref().and_then(Entry::transaction),
                outcome: None,
            });
            tokio::spawn(async move {
                let state = desk.watch(&mut page).await;
                let outcome = page.entry.map(|entry| desk.outcome(&Entry { state, ..entry }));
                drop(guard);
                progress.send_modify(|progress| progress.outcome = outcome);
            });
        }
        if count > 0 {
            tracing::info!(count, network = %self.desk.verifier.network, "pending settlements are taken up");
        }
        Ok(count)
    }

    /// The address that alone settles `upto`.
    pub fn facilitator_address(&self) -> String {
        self.desk.verifier.facilitator.to_checksum(None)
    }
}

impl Desk {
    /// The first to settle a payment does it; whoever comes meanwhile waits with it.
    async fn settle_once(&self, charge: Charge) -> Outcome {
        let id = charge.id;
        let mut waiting = match self.begin(id) {
            Ok((guard, progress)) => {
                let (desk, waiting) = (self.clone(), progress.subscribe());
                // Detached: what has begun comes to its end, also if the caller goes away.
                tokio::spawn(async move {
                    let outcome = desk.settle(&charge, &progress).await;
                    drop(guard);
                    progress.send_modify(|progress| progress.outcome = Some(outcome));
                });
                waiting
            }
            Err(waiting) => waiting,
        };
        let ended = waiting.wait_for(|progress| progress.outcome.is_some());
        let ended = match tokio::time::timeout(self.limits.receipt_timeout, ended).await {
            Ok(Ok(progress)) => progress.outcome.clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        ended.unwrap_or_else(|| Outcome::Unknown(pending(waiting.borrow().transaction)))
    }

    /// Takes a payment's place among those under way; if it has one, whatever tells of it.
    fn begin(
        &self,
        id: PaymentId,
    ) -> Result<(Underway, channel::Sender<Progress>), channel::Receiver<Progress>> {
        let mut underway = self.underway();
        if let Some(waiting) = underway.get(&id) {
            return Err(waiting.clone());
        }
        let (progress, waiting) = channel::channel(Progress::default());
        underway.insert(id, waiting);
        Ok((Underway { desk: self.clone(), id }, progress))
    }

    /// No step under this lock can panic half-way.
    fn underway(&self) -> MutexGuard<'_, HashMap<PaymentId, channel::Receiver<Progress>>> {
        self.underway.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A payment's place among those under way; given up when dropped.
struct Underway {
    desk: Desk,
    id: PaymentId,
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.desk.underway().remove(&self.id);
    }
}

impl Limits {
    fn of(config: &EvmConfig) -> Self {
        let &EvmConfig { max_gas, gas_top_up, receipt_timeout, poll, stuck_after, .. } = config;
        let poll = poll.max(Duration::from_millis(1));
        Self { max_gas, gas_top_up, receipt_timeout, poll, stuck_after }
    }
}

impl Settle for EvmSettle {
    fn kinds(&self) -> Vec<SupportedKind> {
        let network = &self.desk.verifier.network;
        let kind = |x402_version, scheme: &str, network: &str| SupportedKind {
            x402_version,
            scheme: scheme.to_owned(),
            network: network.to_owned(),
            extra: None,
        };
        let mut kinds = vec![kind(VERSION, EXACT, network.as_str())];
        kinds.extend(v1::name_of(network).map(|name| kind(v1::VERSION, EXACT, name)));
        if self.desk.verifier.deployed.upto {
            let mut extra = Map::new();
            extra.insert("facilitatorAddress".into(), json!(self.facilitator_address()));
            kinds.push(SupportedKind { extra: Some(extra), ..kind(VERSION, UPTO, network.as_str()) });
        }
        kinds
    }

    fn extensions(&self) -> Vec<String> {
        let permit2 = self.desk.verifier.deployed.exact || self.desk.verifier.deployed.upto;
        if permit2 { vec![EIP2612.to_owned(), ERC20_APPROVAL.to_owned()] } else { Vec::new() }
    }

    fn signers(&self) -> Vec<(String, Vec<String>)> {
        let addresses = self.desk.pool.addresses().map(|address| address.to_checksum(None)).collect();
        vec![("eip155:*".into(), addresses)]
    }

    fn verify<'a>(
        &'a self,
        _caller: &'a Tenant,
        request: &'a FacilitatorRequest,
    ) -> BoxFuture<'a, Result<VerifyResponse, FacilitatorError>> {
        Box::pin(self.desk.verifier.verify(request, now()))
    }

    fn settle<'a>(&'a self, _caller: &'a Tenant, request: &'a FacilitatorRequest) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            match self.desk.verifier.read(request, Task::Settle) {
                Ok(charge) => self.desk.settle_once(charge).await,
                Err(Trouble::Refused { reason, message }) => {
                    let network = &self.desk.verifier.network;
                    Outcome::NotSettled(SettlementResponse::refused(network, &reason, message))
                }
                Err(Trouble::Chain(error)) => Outcome::Unknown(UnknownOutcome(error.to_string())),
            }
        })
    }

    fn payment<'a>(&'a self, id: &'a PaymentId) -> BoxFuture<'a, Result<Option<Value>, FacilitatorError>> {
        Box::pin(async move {
            let as_of = now();
            let page = self.desk.journal.open(*id).await;
            let page = page.map_err(|error| FacilitatorError::Unreachable(error.to_string()))?;
            let entry = page.entry.filter(|entry| entry.network == self.desk.verifier.network);
            let (state, transaction, amount) = match &entry {
                None => ("absent", None, None),
                Some(entry) => {
                    let state = match &entry.state {
                        State::Pending { .. } => "pending",
                        State::Settled { .. } => "settled",
                        State::Failed { .. } => "failed",
                    };
                    (state, entry.transaction(), Some(entry.amount))
                }
            };
            Ok(Some(json!({
                "payment": id.to_string(),
                "state": state,
                "transaction": transaction.map(|hash| hash.to_string()).unwrap_or_default(),
                "amount": amount.unwrap_or_default().to_string(),
                "asOf": as_of,
            })))
        })
    }
}

/// Why the outcome of a settlement under way is unknown.
fn pending(transaction: Option<B256>) -> UnknownOutcome {
    UnknownOutcome(match transaction {
        Some(transaction) => format!("transaction {transaction} is not mined yet"),
        None => "the settlement has not come to its end yet".into(),
    })
}

/// Unix seconds.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
