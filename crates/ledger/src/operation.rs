//! What a receiverAuthorizer signs: operations on payments, one or many under one signature.
//!
//! Each operation is encoded by itself; the signature covers the count and the hash of all of them, so
//! that a server signs once for a group of captures.

use farthing_protocol::Amount;
use farthing_protocol::layout::{LayoutError, Reader, Writer};
use farthing_protocol::rail::PaymentId;
use sha2::{Digest, Sha256};

use crate::identity::LedgerId;

const DOMAIN: &str = "farthing/operation";
const LIST_DOMAIN: &str = "farthing/operations";
const VERSION: u8 = 1;

/// The most operations that one signature may cover.
pub const MAX_OPERATIONS: usize = 1024;

/// What is done to a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Pay out of the hold.
    Capture,
    /// Give the rest of the hold back.
    Void,
    /// Give back what was captured.
    Refund,
    /// Authorize and capture in one step.
    Charge,
}

/// One operation, as signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// The payment.
    pub payment: PaymentId,
    /// What is done.
    pub action: Action,
    /// Atomic units, cumulative over the payment: repeating an operation changes nothing. Zero for a void.
    pub cumulative: Amount,
    /// The hold ends with this capture.
    pub last: bool,
    /// The hold's owner epoch, as `authorize` returned it; zero for refunds and charges.
    pub epoch: u64,
    /// SHA-256 of the answer stored with a capture; zero for none.
    pub answer: [u8; 32],
}

impl Op {
    /// The bytes of this operation alone.
    pub fn encode(&self) -> Vec<u8> {
        let action = match self.action {
            Action::Capture => 1,
            Action::Void => 2,
            Action::Refund => 3,
            Action::Charge => 4,
        };
        let out = Writer::new(DOMAIN, VERSION).fixed(&self.payment.0).u8(action).u128(self.cumulative.0);
        out.u8(u8::from(self.last)).u64(self.epoch).fixed(&self.answer).finish()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`LayoutError`] names what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut from = Reader::open(bytes, DOMAIN, VERSION)?;
        let payment = PaymentId(from.fixed()?);
        let action = match from.u8()? {
            1 => Action::Capture,
            2 => Action::Void,
            3 => Action::Refund,
            4 => Action::Charge,
            _ => return Err(LayoutError::Value { field: "action" }),
        };
        let cumulative = Amount(from.u128()?);
        let last = match from.u8()? {
            0 => false,
            1 => true,
            _ => return Err(LayoutError::Value { field: "final" }),
        };
        let op = Self { payment, action, cumulative, last, epoch: from.u64()?, answer: from.fixed()? };
        from.finish()?;
        Ok(op)
    }
}

/// The bytes that a receiverAuthorizer signs for a list of operations on one ledger.
pub fn signed_bytes(ledger: &LedgerId, operations: &[Op]) -> Vec<u8> {
    let mut hash = Sha256::new();
    for operation in operations {
        hash.update(operation.encode());
    }
    let list: [u8; 32] = hash.finalize().into();
    Writer::new(LIST_DOMAIN, VERSION).fixed(&ledger.0).u32(operations.len() as u32).fixed(&list).finish()
}

/// The hash of an answer as an [`Op`] carries it.
pub fn answer_hash(answer: Option<&[u8]>) -> [u8; 32] {
    answer.map_or([0; 32], |bytes| Sha256::digest(bytes).into())
}
