//! One payer's account as a ledger with a single thread would keep it.

use std::collections::BTreeMap;

use farthing::farthing_ledger::command::Refusal;
use farthing::farthing_ledger::statement::PaymentState;
use farthing::protocol::rail::PaymentId;

use super::record::{Found, Outcome, Pays, Status, Step};

/// A balance and the payments out of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    /// What may be spent, in atomic units.
    pub balance: u128,
    /// The payments that were authorized or charged.
    pub payments: BTreeMap<PaymentId, Slot>,
}

/// A payment in an [`Account`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// What was signed.
    pub pays: Pays,
    /// Where it stands.
    pub status: Status,
    /// Who owns the hold.
    pub owner: [u8; 16],
}

/// An answer, and the account afterwards if it changed.
pub type Answer = (Outcome, Option<Account>);

impl Account {
    /// An account without payments.
    pub fn opened(balance: u128) -> Self {
        Self { balance, payments: BTreeMap::new() }
    }

    /// What the account may answer. There are two possibilities where it depends on a lease.
    pub fn answers(&self, step: &Step) -> Vec<Answer> {
        match step {
            Step::Authorize(pays, owner) => self.authorize(pays, *owner),
            Step::Charge(pays, amount) => vec![self.charge(pays, *amount)],
            Step::Capture { payment, cumulative, last, epoch } => {
                vec![self.operate(payment, |slot| capture(slot, *cumulative, *last, *epoch))]
            }
            Step::Void { payment, epoch } => vec![self.operate(payment, |slot| void(slot, *epoch))],
            Step::Refund { payment, cumulative } => {
                vec![self.operate(payment, |slot| refund(slot, *cumulative))]
            }
            Step::Balance => vec![(Outcome::Balance(self.balance), None)],
            Step::Statement(payment) => {
                vec![(Outcome::Statement(self.payments.get(payment).map(|slot| slot.status)), None)]
            }
        }
    }

    fn authorize(&self, pays: &Pays, owner: [u8; 16]) -> Vec<Answer> {
        let Some(slot) = self.payments.get(&pays.payment) else {
            if let Err(refusal) = self.judge(pays) {
                return vec![(Outcome::Refused(refusal), None)];
            }
            let status = Status { state: PaymentState::Held, captured: 0, refunded: 0, epoch: 1 };
            let after = self.with(Slot { pays: *pays, status, owner }, self.balance - pays.maximum);
            return vec![(Outcome::Authorized(Found::Owner, status), Some(after))];
        };
        let found = |found| (Outcome::Authorized(found, slot.status), None);
        if slot.status.state != PaymentState::Held {
            return vec![found(Found::Ended)];
        }
        if slot.owner == owner {
            return vec![found(Found::Owner)];
        }
        let status = Status { epoch: slot.status.epoch + 1, ..slot.status };
        let after = self.with(Slot { status, owner, ..*slot }, self.balance);
        vec![found(Found::InProgress), (Outcome::Authorized(Found::TakenOver, status), Some(after))]
    }

    fn charge(&self, pays: &Pays, amount: u128) -> Answer {
        if let Some(slot) = self.payments.get(&pays.payment) {
            let same = slot.status.captured == amount;
            let ended = Outcome::Authorized(Found::Ended, slot.status);
            return (if same { ended } else { Outcome::Refused(Refusal::AlreadyCaptured) }, None);
        }
        let judged = self.judge(pays).and(match amount {
            _ if amount > pays.maximum => Err(Refusal::AboveMaximum),
            _ if pays.exact && amount != pays.maximum => Err(Refusal::ExactAmount),
            _ => Ok(()),
        });
        if let Err(refusal) = judged {
            return (Outcome::Refused(refusal), None);
        }
        let status = Status { state: PaymentState::Captured, captured: amount, refunded: 0, epoch: 1 };
        let after = self.with(Slot { pays: *pays, status, owner: [0; 16] }, self.balance - amount);
        (Outcome::Authorized(Found::Ended, status), Some(after))
    }

    /// Whether a payment that is not there may be taken.
    fn judge(&self, pays: &Pays) -> Result<(), Refusal> {
        if self.payments.values().any(|slot| slot.pays.nonce == pays.nonce) {
            return Err(Refusal::NonceConflict);
        }
        if pays.maximum == 0 {
            return Err(Refusal::Amount);
        }
        if self.balance < pays.maximum { Err(Refusal::InsufficientFunds) } else { Ok(()) }
    }

    /// `what` says where the payment stands afterwards; money follows from that.
    fn operate(&self, payment: &PaymentId, what: impl FnOnce(&Slot) -> Result<Status, Refusal>) -> Answer {
        let Some(slot) = self.payments.get(payment) else {
            return (Outcome::Refused(Refusal::NoSuchPayment), None);
        };
        match what(slot) {
            Err(refusal) => (Outcome::Refused(refusal), None),
            Ok(status) if status == slot.status => (Outcome::Operated(status), None),
            Ok(status) => {
                let balance = self.balance + taken(slot.pays.maximum, &slot.status);
                let balance = balance - taken(slot.pays.maximum, &status);
                (Outcome::Operated(status), Some(self.with(Slot { status, ..*slot }, balance)))
            }
        }
    }

    fn with(&self, slot: Slot, balance: u128) -> Self {
        let mut after = Self { balance, payments: self.payments.clone() };
        after.payments.insert(slot.pays.payment, slot);
        after
    }
}

/// What a payment keeps from the payer.
fn taken(maximum: u128, status: &Status) -> u128 {
    let gone = if status.state == PaymentState::Held { maximum } else { status.captured };
    gone - status.refunded
}

fn capture(slot: &Slot, cumulative: u128, last: bool, epoch: u64) -> Result<Status, Refusal> {
    let status = slot.status;
    match status.state {
        _ if epoch != status.epoch => Err(Refusal::StaleOwner),
        PaymentState::Captured if cumulative == status.captured => Ok(status),
        PaymentState::Captured => Err(Refusal::AlreadyCaptured),
        PaymentState::Held if cumulative > slot.pays.maximum => Err(Refusal::AboveMaximum),
        PaymentState::Held if cumulative < status.captured => Err(Refusal::Decreased),
        PaymentState::Held if slot.pays.exact && !(last && cumulative == slot.pays.maximum) => {
            Err(Refusal::ExactAmount)
        }
        PaymentState::Held => {
            let state = if last { PaymentState::Captured } else { PaymentState::Held };
            Ok(Status { state, captured: cumulative, ..status })
        }
        _ => Err(Refusal::HoldEnded),
    }
}

fn void(slot: &Slot, epoch: u64) -> Result<Status, Refusal> {
    let status = slot.status;
    match status.state {
        _ if epoch != status.epoch => Err(Refusal::StaleOwner),
        PaymentState::Held if status.captured > 0 => Ok(Status { state: PaymentState::Captured, ..status }),
        PaymentState::Held => Ok(Status { state: PaymentState::Voided, ..status }),
        PaymentState::Voided => Ok(status),
        PaymentState::Captured => Err(Refusal::AlreadyCaptured),
        _ => Err(Refusal::HoldEnded),
    }
}

fn refund(slot: &Slot, cumulative: u128) -> Result<Status, Refusal> {
    let status = slot.status;
    match cumulative {
        _ if cumulative > status.captured => Err(Refusal::AboveMaximum),
        _ if cumulative < status.refunded => Err(Refusal::Decreased),
        _ if cumulative == status.refunded => Ok(status),
        _ if slot.pays.exact => Err(Refusal::NotRefundable),
        _ => Ok(Status { refunded: cumulative, ..status }),
    }
}
