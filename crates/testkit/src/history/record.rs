//! What is recorded: who asked for what, when, and what came back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use farthing::farthing_ledger::command::Refusal;
use farthing::farthing_ledger::statement::PaymentState;
use farthing::protocol::PublicKey;
use farthing::protocol::rail::PaymentId;
use serde::{Deserialize, Serialize};

/// What a payer signed, as far as the model cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pays {
    /// The payment.
    pub payment: PaymentId,
    /// Atomic units: the most that can be taken.
    pub maximum: u128,
    /// A payer uses each once.
    pub nonce: [u8; 32],
    /// Scheme `exact`: the whole amount at once, and no refunds.
    pub exact: bool,
}

/// One operation on one payer's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Hold a payment, as this owner.
    Authorize(Pays, [u8; 16]),
    /// Authorize and capture so many atomic units in one step.
    Charge(Pays, u128),
    /// Pay out of the hold.
    Capture {
        /// The payment.
        payment: PaymentId,
        /// Atomic units, over all captures.
        cumulative: u128,
        /// The hold ends with it.
        last: bool,
        /// The owner's epoch.
        epoch: u64,
    },
    /// Give the rest of the hold back.
    Void {
        /// The payment.
        payment: PaymentId,
        /// The owner's epoch.
        epoch: u64,
    },
    /// Give captured money back.
    Refund {
        /// The payment.
        payment: PaymentId,
        /// Atomic units, over all refunds.
        cumulative: u128,
    },
    /// Read what may be spent.
    Balance,
    /// Read where a payment stands.
    Statement(PaymentId),
}

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Status {
    /// Its state.
    pub state: PaymentState,
    /// Atomic units captured.
    pub captured: u128,
    /// Atomic units given back after capture.
    pub refunded: u128,
    /// The hold's owner epoch.
    pub epoch: u64,
}

/// What an authorization found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Found {
    /// The caller owns the hold.
    Owner,
    /// The caller took the hold from another owner.
    TakenOver,
    /// Another owner has it.
    InProgress,
    /// The hold has ended.
    Ended,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// To `authorize` and `charge`.
    Authorized(Found, Status),
    /// To `capture`, `void` and `refund`.
    Operated(Status),
    /// To a read of the balance.
    Balance(u128),
    /// To a read of a payment; `None` when the ledger has never seen it.
    Statement(Option<Status>),
    /// Nothing changed.
    Refused(#[serde(with = "refusal")] Refusal),
}

/// A refusal by its name, for histories over several processes.
mod refusal {
    use super::{Deserialize, Refusal};

    /// Those that an [`Account`](crate::history::Account) knows.
    const KNOWN: [Refusal; 12] = [
        Refusal::AboveMaximum,
        Refusal::AlreadyCaptured,
        Refusal::Amount,
        Refusal::Decreased,
        Refusal::ExactAmount,
        Refusal::Flow,
        Refusal::HoldEnded,
        Refusal::InsufficientFunds,
        Refusal::NoSuchPayment,
        Refusal::NonceConflict,
        Refusal::NotRefundable,
        Refusal::StaleOwner,
    ];

    pub(super) fn serialize<S: serde::Serializer>(refusal: &Refusal, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{refusal:?}"))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Refusal, D::Error> {
        let name = String::deserialize(from)?;
        let known = KNOWN.into_iter().find(|refusal| format!("{refusal:?}") == name);
        known.ok_or_else(|| serde::de::Error::custom(format!("the model does not know {name}")))
    }
}

/// An operation and what is known of its end.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The payer.
    pub account: PublicKey,
    /// The operation.
    pub step: Step,
    /// The moment before it was sent.
    pub sent: u64,
    /// The moment after the answer came, and the answer; `None` when the outcome is unknown.
    pub answered: Option<(u64, Outcome)>,
}

/// Everything that was asked of a ledger.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What each payer had at the start, in atomic units.
    pub opening: BTreeMap<PublicKey, u128>,
    /// The operations.
    pub events: Vec<Event>,
}

/// Records a history. Clones record the same one. Its moments are numbers of its own, so the recorder and
/// everything that it watches may be driven from any thread of one process.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    moment: u64,
    opening: BTreeMap<PublicKey, u128>,
    /// `None` for an operation that was certainly not taken.
    events: Vec<Option<Event>>,
}

impl Recorder {
    /// Notes what a payer has before anything else happens to it, in atomic units.
    pub fn opens(&self, account: PublicKey, balance: u128) {
        self.0.lock().unwrap().opening.insert(account, balance);
    }

    /// Notes that an operation is about to be sent.
    pub fn sends(&self, account: PublicKey, step: Step) -> Call {
        let mut log = self.0.lock().unwrap();
        log.moment += 1;
        let (sent, at) = (log.moment, log.events.len());
        log.events.push(Some(Event { account, step, sent, answered: None }));
        Call { recorder: self.clone(), at }
    }

    /// The history so far.
    pub fn history(&self) -> History {
        let log = self.0.lock().unwrap();
        History { opening: log.opening.clone(), events: log.events.iter().flatten().copied().collect() }
    }
}

/// An operation on its way. Dropped, its outcome stays unknown.
#[derive(Debug)]
#[must_use = "an operation without an answer is one of unknown outcome"]
pub struct Call {
    recorder: Recorder,
    at: usize,
}

impl Call {
    /// The answer came.
    pub fn answered(self, outcome: Outcome) {
        let mut log = self.recorder.0.lock().unwrap();
        log.moment += 1;
        let moment = log.moment;
        if let Some(event) = &mut log.events[self.at] {
            event.answered = Some((moment, outcome));
        }
    }

    /// It was certainly never taken: it is no part of the history.
    pub fn untaken(self) {
        self.recorder.0.lock().unwrap().events[self.at] = None;
    }
}
