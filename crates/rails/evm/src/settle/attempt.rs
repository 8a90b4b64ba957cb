//! One settlement: looked at again, written down, sent, and watched to its end.

use alloy_primitives::{B256, Bytes, U256};
use alloy_sol_types::SolCall;
use farthing_protocol::Amount;
use farthing_protocol::rail::{Outcome, UnknownOutcome};
use farthing_protocol::reason;
use farthing_protocol::records::RecordsError;
use farthing_protocol::v2::SettlementResponse;
use tokio::sync::watch::Sender;

use super::journal::{Entry, Page, Settling, State};
use super::watch::failed;
use super::{Desk, Progress};
use crate::chain::{At, Call};
use crate::contracts::Token;
use crate::pool::{BookError, Errand, NoBook, SendError};
use crate::rpc::RpcError;
use crate::verify::{Approval, Charge, Ready, Trouble, in_window, refuse};
use crate::wire::{UPTO, reasons};

/// How often a settlement begins anew because another process was faster.
const ATTEMPTS: usize = 3;
/// Gas of the chain's own money on its way to a payer.
const TOP_UP_GAS: u64 = 100_000;

/// Why a settlement did not come to its end.
enum Stop {
    /// It will not.
    Refused(Trouble),
    /// Nobody knows, or it can be tried again as it is.
    Unknown(String),
    /// Another process has begun it.
    Taken,
}

impl Desk {
    /// Settles a payment, or finds out what became of it.
    pub(super) async fn settle(&self, charge: &Charge, progress: &Sender<Progress>) -> Outcome {
        for _ in 0..ATTEMPTS {
            let stop = match self.step(charge, progress).await {
                Ok(outcome) => return outcome,
                Err(stop) => stop,
            };
            match stop {
                Stop::Taken => {}
                Stop::Unknown(why) => return Outcome::Unknown(UnknownOutcome(why)),
                Stop::Refused(Trouble::Chain(error)) => {
                    return Outcome::Unknown(UnknownOutcome(format!("nothing was sent: {error}")));
                }
                Stop::Refused(Trouble::Refused { reason, message }) => {
                    let refused = SettlementResponse::refused(&self.verifier.network, &reason, message);
                    let payer = Some(charge.payer().to_checksum(None));
                    return Outcome::NotSettled(SettlementResponse { payer, ..refused });
                }
            }
        }
        Outcome::Unknown(UnknownOutcome("another process settles this payment".into()))
    }

    async fn step(&self, charge: &Charge, progress: &Sender<Progress>) -> Result<Outcome, Stop> {
        let mut page = self.journal.open(charge.id).await?;
        let entry = match page.entry.clone() {
            Some(entry) if !matches!(entry.state, State::Failed { again: true, .. }) => entry,
            _ => {
                let attempted = self.attempt(charge, &mut page).await;
                if matches!(attempted, Err(Stop::Refused(_)))
                    && self.journal.open(charge.id).await?.entry != page.entry
                {
                    // Refused because another process was faster, and may have settled it meanwhile.
                    return Err(Stop::Taken);
                }
                attempted?;
                page.entry.clone().ok_or(Stop::Taken)?
            }
        };
        progress.send_replace(Progress { transaction: entry.transaction(), outcome: None });
        let state = match entry.state {
            State::Pending { .. } => self.watch(&mut page).await,
            ended => ended,
        };
        Ok(self.outcome(&Entry { state, ..page.entry.unwrap_or(entry_of(charge, self)) }))
    }

    /// Sends a payment's settlement; afterwards the page says that it is pending, or settled by nothing.
    async fn attempt(&self, charge: &Charge, page: &mut Page) -> Result<(), Stop> {
        in_window(charge, super::now())?;
        let token = Call::new(charge.token.token, Token::decimalsCall {}.abi_encode());
        let nothing = charge.amount == Amount::ZERO;
        let most = Charge { amount: charge.signed.authorization.amount(), ..charge.clone() };
        let (block, decimals, ready) = tokio::join!(
            self.rpc.last_block(),
            self.rpc.call(&token, At::Latest),
            self.verifier.check(if nothing { &most } else { charge }),
        );
        let block = block?;
        // A call of what is no contract succeeds, and does nothing.
        if decimals.is_ok_and(|answer| answer.is_empty()) {
            return Err(
                refuse(reasons::ASSET_NOT_DEPLOYED, "there is no contract at the token's address").into()
            );
        }
        let Ready { call, approval } = ready?;
        if nothing {
            let state = State::Settled { transaction: None };
            return Ok(page.write(Entry::new(charge, &self.verifier.network, block.number, state)).await?);
        }
        if let Some(approval) = approval {
            self.approve(charge, &approval).await?;
        }
        let (gas, ()) = tokio::join!(self.gas(charge, &call), self.pool.look_up_fees());
        let gas = gas?;
        let only = (charge.scheme() == UPTO).then_some(self.verifier.facilitator);
        let errand = Errand { only, to: call.to, value: U256::ZERO, data: call.data, gas };
        let nothing_yet = failed(reasons::EXACT_TRANSACTION_FAILED, "nothing was sent", None);
        let entry = Entry::new(charge, &self.verifier.network, block.number, nothing_yet.clone());
        let sent = self.pool.send(&errand, &mut Settling { page, entry, replacing: false }).await;
        match sent {
            Ok(_) => Ok(()),
            Err(SendError::Book(error)) => Err(error.into()),
            Err(error) => {
                // Whatever was written down of it was not broadcast.
                page.end(nothing_yet).await?;
                match error {
                    SendError::Chain(error @ RpcError::Unreachable(_)) => Err(error.into()),
                    error => Err(Stop::Refused(refuse(reason::INVALID_TRANSACTION_STATE, error.to_string()))),
                }
            }
        }
    }

    /// Gas for a settlement, with room; finding it out is one more trial.
    async fn gas(&self, charge: &Charge, call: &Call) -> Result<u64, Stop> {
        let from = call.from.or_else(|| self.pool.addresses().next());
        let call = Call { from, ..call.clone() };
        let request = call.estimate();
        let gas = match self.rpc.ask(request.method, request.params).await {
            Ok(raw) => crate::rpc::quantity(&raw)?,
            Err(error @ RpcError::Unreachable(_)) => return Err(error.into()),
            Err(error) => {
                // It was right a moment ago: why is it not now?
                self.verifier.check(charge).await?;
                return Err(Stop::Refused(refuse(reason::INVALID_TRANSACTION_STATE, error.to_string())));
            }
        };
        let gas = gas.saturating_add(gas / U256::from(4)).saturating_add(U256::from(10_000));
        match u64::try_from(gas) {
            Ok(gas) if gas <= self.limits.max_gas => Ok(gas),
            _ => {
                let message = "the settlement needs more gas than is allowed here";
                Err(Stop::Refused(refuse(reason::INVALID_TRANSACTION_STATE, message)))
            }
        }
    }

    /// Broadcasts the payer's own approval, and gives the payer the gas for it if that is allowed here.
    async fn approve(&self, charge: &Charge, approval: &Approval) -> Result<(), Stop> {
        let payer = charge.payer();
        let has = self.rpc.balance(payer).await?;
        let lacks = approval.cost.saturating_sub(has);
        if !lacks.is_zero() {
            let message = "the payer cannot pay for the gas of its approval";
            if lacks > U256::from(self.limits.gas_top_up) {
                return Err(Stop::Refused(refuse(reasons::ERC20_TX_FAILED, message)));
            }
            let errand = Errand { only: None, to: payer, value: lacks, data: Bytes::new(), gas: TOP_UP_GAS };
            let sent = self.pool.send(&errand, &mut NoBook).await;
            let draft =
                sent.map_err(|error| Stop::Refused(refuse(reasons::ERC20_TX_FAILED, error.to_string())))?;
            let arrived = self.mined(draft.hash).await;
            if arrived.is_ok() {
                self.pool.done(&draft).await;
            } else {
                let desk = self.clone();
                tokio::spawn(async move { desk.see_off(draft).await });
            }
            if !arrived? {
                return Err(Stop::Refused(refuse(reasons::ERC20_TX_FAILED, message)));
            }
        }
        match self.rpc.send_raw(&approval.raw).await {
            Ok(()) | Err(RpcError::Unreachable(_)) => {}
            // It may have been mined before; what counts is the allowance.
            Err(error) if error.is_nonce_used() => {}
            Err(error) => {
                return Err(Stop::Refused(refuse(reasons::ERC20_BROADCAST_FAILED, error.to_string())));
            }
        }
        if !self.mined(approval.hash).await? {
            return Err(Stop::Refused(refuse(reasons::ERC20_TX_FAILED, "the payer's approval was reverted")));
        }
        Ok(())
    }

    /// Whether a transaction did what it was to do, once it is mined.
    async fn mined(&self, transaction: B256) -> Result<bool, Stop> {
        let (begun, mut pause) = (std::time::Instant::now(), self.limits.poll);
        while begun.elapsed() < self.limits.receipt_timeout {
            if let Ok(Some(receipt)) = self.receipts.of(transaction).await {
                return Ok(receipt.succeeded);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(std::time::Duration::from_secs(1));
        }
        Err(Stop::Unknown(format!("transaction {transaction} is not mined yet; the payment was not sent")))
    }

    /// What an entry says, as the answer of `/settle`.
    pub(super) fn outcome(&self, entry: &Entry) -> Outcome {
        let network = &self.verifier.network;
        let payer = Some(entry.payer.to_checksum(None));
        let hash = entry.transaction().map(|hash| hash.to_string()).unwrap_or_default();
        match &entry.state {
            State::Pending { .. } => Outcome::Unknown(super::pending(entry.transaction())),
            State::Settled { .. } => Outcome::Settled(SettlementResponse {
                success: true,
                payer,
                transaction: hash,
                network: network.to_string(),
                amount: Some(entry.amount),
                ..SettlementResponse::default()
            }),
            State::Failed { reason, message, .. } => {
                let refused = SettlementResponse::refused(network, reason, message.clone());
                Outcome::NotSettled(SettlementResponse { payer, transaction: hash, ..refused })
            }
        }
    }
}

fn entry_of(charge: &Charge, desk: &Desk) -> Entry {
    let state = failed(reasons::EXACT_TRANSACTION_FAILED, "nothing was sent", None);
    Entry::new(charge, &desk.verifier.network, 0, state)
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Refused(trouble)
    }
}

impl From<RpcError> for Stop {
    fn from(error: RpcError) -> Self {
        Self::Refused(Trouble::Chain(error))
    }
}

impl From<RecordsError> for Stop {
    fn from(error: RecordsError) -> Self {
        Self::Unknown(format!("nothing was sent: {error}"))
    }
}

impl From<BookError> for Stop {
    fn from(error: BookError) -> Self {
        match error {
            BookError::Taken => Self::Taken,
            BookError::Records(error) => error.into(),
        }
    }
}
