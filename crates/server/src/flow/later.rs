//! Captures and voids that are about to be signed for: each by itself, or many captures at once.

use std::sync::Arc;

use farthing_protocol::rail::{Capture, Operation, Outcome, PaymentFault, PaymentId};
use farthing_protocol::v2::{FacilitatorRequest, SettlementResponse};

use super::case::{Case, Tender};

/// What an operation takes of a message besides its answer, at most, in bytes.
const OPERATION_BYTES: usize = 512;

/// A later settlement of a payment, to be signed by the receiverAuthorizer when it is sent.
#[derive(Debug)]
pub struct Later {
    case: Arc<Case>,
    epoch: u64,
    operation: Operation,
}

impl Later {
    pub(super) fn new(case: Arc<Case>, epoch: u64, operation: Operation) -> Self {
        Self { case, epoch, operation }
    }

    /// The payment.
    #[must_use]
    pub fn id(&self) -> PaymentId {
        self.case.tender.presented.id
    }

    /// Bytes that it takes of a message, about.
    #[must_use]
    pub fn weight(&self) -> usize {
        match &self.operation {
            Operation::Capture { answer: Some(answer), .. } => OPERATION_BYTES + answer.len(),
            _ => OPERATION_BYTES,
        }
    }

    /// Whether one signature may cover this and `other`.
    #[must_use]
    pub fn goes_with(&self, other: &Self) -> bool {
        let (one, two) = (&self.case.tender, &other.case.tender);
        let captures = |later: &Self| matches!(later.operation, Operation::Capture { .. });
        captures(self)
            && captures(other)
            && Arc::ptr_eq(&one.rail, &two.rail)
            && one.wants_receipt() == two.wants_receipt()
    }

    /// Signs for this one, and says what to ask the facilitator.
    ///
    /// # Errors
    /// When the rail cannot write it.
    pub fn alone(&self) -> Result<FacilitatorRequest, PaymentFault> {
        let Tender { rail, payment, presented, .. } = &self.case.tender;
        let payment = rail.operate(payment, presented, self.epoch, &self.operation)?;
        Ok(self.case.request(payment))
    }

    /// Signs for all of these, which [go together](Self::goes_with). `None` when there is nothing to gain.
    #[must_use]
    pub fn together(all: &[Arc<Self>]) -> Option<FacilitatorRequest> {
        let [first, _, ..] = all else { return None };
        let captures = all.iter().map(|later| match &later.operation {
            Operation::Capture { amount, answer, last } => {
                let Tender { payment, presented, .. } = &later.case.tender;
                let answer = answer.as_deref();
                Some(Capture { payment, presented, epoch: later.epoch, amount: *amount, answer, last: *last })
            }
            _ => None,
        });
        let captures: Vec<_> = captures.collect::<Option<_>>()?;
        let payment = first.case.tender.rail.capture_together(&captures)?.ok()?;
        Some(first.case.request(payment))
    }

    /// What the facilitator's answer says of each of these, in their order.
    #[must_use]
    pub fn outcomes(all: &[Arc<Self>], settlement: SettlementResponse) -> Vec<Outcome> {
        let Some(first) = all.first() else { return Vec::new() };
        let payments: Vec<_> = all.iter().map(|later| later.id()).collect();
        first.case.tender.rail.captured_together(&payments, settlement)
    }
}
