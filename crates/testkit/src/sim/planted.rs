//! Faults that are planted on purpose, outside of the code that runs: each must be found.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use farthing::farthing_ledger::engine::Writes;
use farthing::farthing_ledger::entry::{Entry, Event};
use farthing::farthing_ledger::operation::Action;
use farthing::farthing_ledger::rows::Table;
use farthing::protocol::rail::{
    Ask, Authorized, Flow, Offer, OfferError, Operation, Outcome, Owner, PaymentFault, PaymentId, Presented,
    UnknownOutcome,
};
use farthing::protocol::v2::{FacilitatorRequest, PaymentPayload, PaymentRequirements, SettlementResponse};
use farthing::protocol::{Amount, Network, Price, reason};

use super::asked::{Asked, What};
use super::world::{State, World};

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A capture whose outcome is unknown is taken for one that failed, and the hold is released.
    ReleasesOnUnknown,
    /// The replay key is removed when the payment is captured.
    ForgetsReplayKey,
    /// A capture that is repeated captures again.
    CapturesTwice,
    /// The payment of a handler that panicked is not voided.
    ForgetsVoidOnPanic,
    /// The ledger answers before what it says is flushed.
    AnswersBeforeFlush,
    /// An owner that lost its hold captures all the same.
    StaleOwnerCaptures,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ReleasesOnUnknown,
        Self::ForgetsReplayKey,
        Self::CapturesTwice,
        Self::ForgetsVoidOnPanic,
        Self::AnswersBeforeFlush,
        Self::StaleOwnerCaptures,
    ];
}

/// What the planted faults in storage need to remember.
#[derive(Default)]
pub(crate) struct Soil {
    replay_keys: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Rows of payments.
    rows: BTreeMap<Vec<u8>, Versions>,
    /// The payment whose row is read as it was before its capture.
    stale: Option<Vec<u8>>,
}

/// A row, and the one before.
struct Versions {
    before: Option<Vec<u8>>,
    now: Vec<u8>,
}

impl State {
    /// A payment's row as storage gives it out.
    pub(crate) fn planted_row(&self, key: &[u8], row: Option<Vec<u8>>) -> Option<Vec<u8>> {
        match &self.soil.stale {
            Some(stale) if stale == key => {
                self.soil.rows.get(key).and_then(|versions| versions.before.clone()).or(row)
            }
            _ => row,
        }
    }

    /// What storage writes instead of `writes`.
    pub(crate) fn planted_writes(&mut self, mut writes: Writes) -> Writes {
        if !matches!(self.planted, Some(Planted::ForgetsReplayKey | Planted::CapturesTwice)) {
            return writes;
        }
        let soil = &mut self.soil;
        for ((table, key), value) in &writes.rows {
            match (table, value) {
                (Table::Replay, Some(payment)) => drop(soil.replay_keys.insert(payment.clone(), key.clone())),
                (Table::Payment, Some(row)) => {
                    let before = soil.rows.remove(key).map(|versions| versions.now);
                    soil.rows.insert(key.clone(), Versions { before, now: row.clone() });
                    soil.stale.take_if(|stale| stale == key);
                }
                _ => {}
            }
        }
        if self.planted == Some(Planted::ForgetsReplayKey) {
            let captured = captures(&writes);
            let keys = captured.iter().filter_map(|payment| soil.replay_keys.get(&payment.0[..]));
            let gone: Vec<_> = keys.map(|key| ((Table::Replay, key.clone()), None)).collect();
            writes.rows.extend(gone);
        }
        writes
    }
}

fn captures(writes: &Writes) -> Vec<PaymentId> {
    let entries = writes.rows.iter().filter(|((table, _), _)| *table == Table::Entry);
    let entries = entries.filter_map(|(_, row)| Entry::decode(row.as_deref()?).ok());
    let operations = entries.filter_map(|entry| match entry.event {
        Event::Operate(_, _, operations) => Some(operations),
        _ => None,
    });
    let done =
        operations.flatten().filter(|(operation, applied)| *applied && operation.action == Action::Capture);
    done.map(|(operation, _)| operation.payment).collect()
}

/// Before the ledger is asked: a repeated capture finds the payment as it was.
pub(crate) fn before_ledger(world: &World, asked: &Asked) {
    let mut state = world.lock();
    if state.planted == Some(Planted::CapturesTwice) && asked.what == What::Capture {
        let again = asked.payments.iter().find(|payment| state.oracle.is_captured(payment));
        if let Some(payment) = again {
            state.soil.stale = Some(payment.0.to_vec());
        }
    }
}

/// Before a server asks its facilitator: what it believes instead of asking.
pub(crate) fn instead_of_asking(
    world: &World,
    request: &FacilitatorRequest,
    asked: &Asked,
) -> Option<Outcome> {
    let state = world.lock();
    let payment = asked.payments.first()?;
    let forgets = state.planted == Some(Planted::ForgetsVoidOnPanic) && asked.what == What::Void;
    (forgets && state.oracle.panicked(payment)).then(|| {
        Outcome::Settled(SettlementResponse {
            success: true,
            transaction: payment.to_string(),
            network: request.payment_requirements.network.to_string(),
            amount: Some(Amount::ZERO),
            ..SettlementResponse::default()
        })
    })
}

/// What a server makes of an outcome.
pub(crate) fn after_asking(
    world: &World,
    request: &FacilitatorRequest,
    asked: &Asked,
    outcome: Outcome,
) -> Outcome {
    let planted = world.lock().planted;
    match (outcome, asked.what) {
        (Outcome::Unknown(_), What::Capture) if planted == Some(Planted::ReleasesOnUnknown) => {
            let network = &request.payment_requirements.network;
            let refused =
                SettlementResponse::refused(network, reason::INVALID_TRANSACTION_STATE, "no answer, so no");
            Outcome::NotSettled(refused)
        }
        (outcome, _) => outcome,
    }
}

/// A rail that signs captures with whatever epoch the hold has now, instead of the one that was given.
pub(crate) struct Usurper {
    pub(crate) world: World,
    pub(crate) rail: Arc<dyn Offer>,
}

impl fmt::Debug for Usurper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rail.fmt(f)
    }
}

impl Offer for Usurper {
    fn network(&self) -> &Network {
        self.rail.network()
    }

    fn scheme(&self) -> &str {
        self.rail.scheme()
    }

    fn flow(&self) -> Flow {
        self.rail.flow()
    }

    fn amount(&self, price: &Price) -> Result<Amount, OfferError> {
        self.rail.amount(price)
    }

    fn offer(&self, ask: &Ask<'_>) -> Result<PaymentRequirements, OfferError> {
        self.rail.offer(ask)
    }

    fn dynamic_extra(&self) -> &[&str] {
        self.rail.dynamic_extra()
    }

    fn read(&self, payment: &PaymentPayload) -> Result<Presented, PaymentFault> {
        self.rail.read(payment)
    }

    fn agrees(
        &self,
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        now: u64,
    ) -> Result<(), PaymentFault> {
        self.rail.agrees(payment, offer, now)
    }

    fn authorize(&self, payment: &PaymentPayload, owner: &Owner) -> Result<PaymentPayload, PaymentFault> {
        self.rail.authorize(payment, owner)
    }

    fn authorized(&self, settlement: &SettlementResponse) -> Result<Authorized, UnknownOutcome> {
        self.rail.authorized(settlement)
    }

    fn operate(
        &self,
        payment: &PaymentPayload,
        presented: &Presented,
        epoch: u64,
        operation: &Operation,
    ) -> Result<PaymentPayload, PaymentFault> {
        let current = match operation {
            Operation::Capture { .. } => self.world.lock().oracle.epoch(&presented.id),
            _ => None,
        };
        self.rail.operate(payment, presented, current.unwrap_or(epoch), operation)
    }
}
