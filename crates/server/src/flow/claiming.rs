//! What is asked about a payment whose money nobody can hold: the questions to the [claims](crate::claims).

use std::sync::Arc;

use farthing_protocol::rail::{Operation, Outcome, Owner, PaymentId, UnknownOutcome};
use farthing_protocol::v2::{FacilitatorRequest, SettlementResponse};
use farthing_protocol::{Amount, Network, RequestDigest};

use super::case::{Case, Objection};
use super::settling::Standing;

/// One step of a claimed payment. The same may be asked again while its outcome is unknown.
#[derive(Debug)]
pub struct Claiming {
    case: Arc<Case>,
    step: Step,
}

/// Which one.
#[derive(Debug)]
pub(crate) enum Step {
    /// Get the payment for this process, or learn how it stands.
    Claim,
    /// The handler of run `epoch` ended: take what it earned, unless that was done upfront, and keep its
    /// answer.
    Capture { epoch: u64, amount: Amount, answer: Option<Vec<u8>> },
    /// The handler of run `epoch` did not deliver: never settle, or, when the money moved upfront, let the
    /// same payment run it again.
    Void { epoch: u64 },
}

/// Who presents a payment, for which request.
#[derive(Clone, Debug)]
pub(crate) struct Bearer {
    pub(crate) owner: Owner,
    pub(crate) digest: RequestDigest,
    pub(crate) proof: [u8; 32],
    /// The handler may run again after its process went silent.
    pub(crate) repeatable: bool,
}

impl Claiming {
    pub(super) fn first(case: Arc<Case>) -> Self {
        Self { case, step: Step::Claim }
    }

    pub(super) fn later(case: Arc<Case>, epoch: u64, operation: Operation) -> Self {
        let step = match operation {
            // What cannot be held cannot be taken in parts: each capture is the last.
            Operation::Capture { amount, answer, .. } => Step::Capture { epoch, amount, answer },
            Operation::Void | Operation::Refund { .. } => Step::Void { epoch },
        };
        Self { case, step }
    }

    /// The payment.
    #[must_use]
    pub fn id(&self) -> PaymentId {
        self.case.tender.presented.id
    }

    pub(crate) fn step(&self) -> &Step {
        &self.step
    }

    /// What the facilitator is asked: the payment as it came, and the offer with what is to be settled.
    pub(crate) fn request(&self, amount: Option<Amount>) -> FacilitatorRequest {
        let mut request = self.case.request(self.case.tender.payment.clone());
        if let Some(amount) = amount.filter(|amount| *amount != self.case.offer.amount) {
            Arc::make_mut(&mut request.payment_requirements).amount = amount;
        }
        request
    }

    pub(crate) fn bearer(&self) -> Bearer {
        let tender = &self.case.tender;
        Bearer {
            owner: tender.route.owner(),
            digest: tender.asked.digest,
            proof: tender.proof,
            repeatable: tender.route.is_repeatable(&tender.asked.method),
        }
    }

    /// Why it would not be taken if it came for the first time.
    pub(crate) fn objection(&self) -> Option<&Objection> {
        self.case.objection.as_ref()
    }

    /// The most that may be taken, in atomic units.
    pub(crate) fn max_amount(&self) -> Amount {
        self.case.max_amount()
    }

    /// Unix seconds after which the network refuses it.
    pub(crate) fn valid_before(&self) -> u64 {
        self.case.tender.presented.valid_before
    }

    /// Whether the money moves before the handler runs.
    pub(crate) fn is_upfront(&self) -> bool {
        self.case.is_upfront()
    }

    pub(crate) fn payer(&self) -> &str {
        &self.case.tender.presented.payer
    }

    pub(crate) fn network(&self) -> &Network {
        self.case.tender.rail.network()
    }

    pub(crate) fn is_payer(&self, payer: &str) -> bool {
        self.case.is_payer(payer)
    }

    pub(crate) fn recognises(&self, settlement: &SettlementResponse) -> bool {
        self.case.recognises(settlement)
    }
}

/// What came of a question.
#[derive(Debug)]
pub enum Reply {
    /// The facilitator's word, or that of the claims in its place.
    Outcome(Outcome),
    /// How a payment stands that was asked for.
    Standing(Standing),
}

impl Reply {
    /// Nobody knows, for this reason.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Outcome(Outcome::Unknown(UnknownOutcome(why.into())))
    }
}

impl From<Outcome> for Reply {
    fn from(outcome: Outcome) -> Self {
        Self::Outcome(outcome)
    }
}
