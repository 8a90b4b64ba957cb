//! A payment for a request: what every later step needs to know of it.

use std::sync::Arc;

use farthing_protocol::rail::{Offer, PaymentId, Presented};
use farthing_protocol::v2::{
    self, FacilitatorRequest, PaymentPayload, PaymentRequirements, SettlementResponse,
};
use farthing_protocol::{Amount, Network, reason, receipt};
use serde_json::json;

use super::{Asked, Route};
use crate::answer::{Answer, Refusal, Situation};

/// Who pays for a request. A handler finds it in the request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidBy {
    /// The payer, in the network's own words.
    pub payer: String,
    /// The payment.
    pub payment: PaymentId,
    /// What is held for this request, in atomic units of the offer's asset: the most that can be captured.
    pub amount: Amount,
    /// Where it is held.
    pub network: Network,
}

/// A payment that is signed for this request.
pub(super) struct Claim {
    pub(super) route: Arc<Route>,
    pub(super) asked: Asked,
    pub(super) rail: Arc<dyn Offer>,
    pub(super) payment: PaymentPayload,
    pub(super) presented: Presented,
}

/// A claim that fits this route's own offer.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) claim: Claim,
    pub(super) offer: Arc<PaymentRequirements>,
}

// Without the payment: what it is signed with is nobody's to read.
impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim")
            .field("id", &self.presented.id)
            .field("asked", &self.asked)
            .finish_non_exhaustive()
    }
}

impl Claim {
    /// The answer to a situation in which nothing is delivered.
    pub(super) fn refuse<B>(&self, refusal: &Refusal, now: u64) -> Answer<B> {
        let settlement = refusal.x402_reason().map(|reason| self.not_settled(reason, &refusal.detail));
        tracing::debug!(payment = %self.presented.id, situation = ?refusal.situation, detail = %refusal.detail,
            "payment not accepted");
        refuse(&self.route, &self.asked, refusal, settlement.as_ref(), now)
    }

    /// `PAYMENT-RESPONSE` of a payment that was not captured. Voided and pending ones are named.
    pub(super) fn not_settled(&self, reason: &str, message: &str) -> SettlementResponse {
        let mut settlement = SettlementResponse::refused(self.rail.network(), reason, message);
        if matches!(reason, reason::SETTLEMENT_PENDING | reason::PAYMENT_VOIDED) {
            settlement.transaction = self.presented.id.to_string();
        }
        if reason == reason::PAYMENT_VOIDED {
            settlement.amount = Some(Amount::ZERO);
            settlement.extra.insert("state".into(), json!("voided"));
        }
        settlement
    }

    /// `PAYMENT-RESPONSE` of a payment that was captured, or is held for a capture on its way. What the
    /// facilitator says to the server alone is left out.
    pub(super) fn settled(
        &self,
        facilitator: Option<SettlementResponse>,
        amount: Amount,
        state: &str,
    ) -> SettlementResponse {
        let mut extra = facilitator.map(|said| said.extra).unwrap_or_default();
        for internal in ["answer", "epoch", "leaseUntil", "takeover"] {
            extra.remove(internal);
        }
        extra.insert("state".into(), json!(state));
        SettlementResponse {
            success: true,
            payer: Some(self.presented.payer.clone()),
            transaction: self.presented.id.to_string(),
            network: self.rail.network().to_string(),
            amount: Some(amount),
            extra,
            ..SettlementResponse::default()
        }
    }

    /// Whether the payer asks for a receipt.
    pub(super) fn wants_receipt(&self) -> bool {
        self.payment.extensions.contains_key(receipt::EXTENSION)
    }

    pub(super) fn paid_by(&self) -> PaidBy {
        PaidBy {
            payer: self.presented.payer.clone(),
            payment: self.presented.id,
            amount: self.presented.max_amount,
            network: self.rail.network().clone(),
        }
    }
}

impl Case {
    /// What the facilitator is asked. The wish for a receipt goes with it as it came.
    pub(super) fn request(&self, mut payment: PaymentPayload) -> FacilitatorRequest {
        if let Some(wish) = self.claim.payment.extensions.get(receipt::EXTENSION) {
            payment.extensions.entry(receipt::EXTENSION.to_owned()).or_insert_with(|| wish.clone());
        }
        FacilitatorRequest {
            x402_version: v2::VERSION,
            payment_payload: payment,
            payment_requirements: self.offer.clone(),
        }
    }

    /// Whether a facilitator's word is about this payment; otherwise nothing is known.
    pub(super) fn recognises(&self, settlement: &SettlementResponse) -> bool {
        let of_payer = settlement.payer.as_ref().is_none_or(|payer| *payer == self.claim.presented.payer);
        settlement.success && settlement.network == self.claim.rail.network().as_str() && of_payer
    }
}

/// A problem for one request, with terms where its situation has them.
pub(super) fn refuse<B>(
    route: &Route,
    asked: &Asked,
    refusal: &Refusal,
    settlement: Option<&SettlementResponse>,
    now: u64,
) -> Answer<B> {
    if !refusal.situation.row().terms {
        return Answer::problem(refusal, None, settlement);
    }
    let error = refusal.x402_reason().unwrap_or("Payment required");
    match route.terms(asked, now, error) {
        Ok(terms) => Answer::problem(refusal, Some(&terms), settlement),
        Err(error) => {
            tracing::error!(%error, "the offer made at the start can no longer be made");
            Answer::problem(&Refusal::new(Situation::Internal, "no offer can be made"), None, settlement)
        }
    }
}
