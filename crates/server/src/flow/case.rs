//! A payment for a request: what every later step needs to know of it.

use std::sync::Arc;

use farthing_protocol::rail::{Flow, Offer, PaymentId, Presented};
use farthing_protocol::v1::SettlementResponseV1;
use farthing_protocol::v2::{
    self, FacilitatorRequest, PaymentPayload, PaymentRequirements, SettlementResponse,
};
use farthing_protocol::{Amount, Network, offer_receipt, reason, receipt};
use serde_json::json;

use super::observed::Counted;
use super::{Asked, Route};
use crate::answer::{Answer, Refusal, Situation, Told};
use crate::observe;
use crate::{Sold, attested};

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

/// The version of x402 that a payment came in, and that its payer is answered in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// A payment that is signed for this request.
pub(super) struct Tender {
    pub(super) route: Arc<Route>,
    pub(super) asked: Asked,
    pub(super) rail: Arc<dyn Offer>,
    pub(super) payment: PaymentPayload,
    pub(super) presented: Presented,
    /// SHA-256 of what only its payer knows: the signed part with the signature, and where the network shows
    /// that to everybody, all that came with it.
    pub(super) proof: [u8; 32],
    pub(super) version: Version,
}

/// A tender that fits this route's own offer.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) tender: Tender,
    pub(super) offer: Arc<PaymentRequirements>,
    /// Why the payment would not be taken now. Where nobody holds money it may have been, earlier.
    pub(super) objection: Option<Objection>,
    pub(super) counted: Counted,
}

/// An x402 reason, and the same for people.
#[derive(Clone, Debug)]
pub(crate) struct Objection {
    pub(crate) reason: String,
    pub(crate) message: String,
}

// Without the payment: what it is signed with is nobody's to read.
impl std::fmt::Debug for Tender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tender")
            .field("id", &self.presented.id)
            .field("asked", &self.asked)
            .finish_non_exhaustive()
    }
}

/// Whether a rail holds money while a handler runs.
pub(super) fn holds(rail: &dyn Offer) -> bool {
    rail.flow() == Flow::Escrow
}

impl Tender {
    /// Whether its money is held while the handler runs; otherwise it is [claimed](crate::claims).
    pub(super) fn holds(&self) -> bool {
        holds(self.rail.as_ref())
    }

    /// The answer to a situation in which nothing is delivered.
    pub(super) fn refuse<B>(&self, refusal: &Refusal, now: u64) -> Answer<B> {
        let settlement = refusal.x402_reason().map(|reason| self.not_settled(reason, &refusal.detail));
        tracing::debug!(payment = %self.presented.id, situation = ?refusal.situation, detail = %refusal.detail,
            "payment not accepted");
        if let (Situation::Refused | Situation::NoMatch, Some(reason)) =
            (refusal.situation, refusal.x402_reason())
        {
            observe::refused(self.asked.label.as_ref(), reason);
        }
        let told = settlement.map(|settlement| self.told(settlement));
        let mut answer = refuse(&self.route, &self.asked, refusal, told.as_ref(), now);
        *answer.sold = Sold { asset: None, held: None, ..self.sold(answer.situation, None) };
        answer
    }

    /// The answer while nobody knows what became of the money.
    pub(super) fn unsure<B>(&self, now: u64) -> Answer<B> {
        let detail = "nobody knows yet whether the payment settled: present the same one again";
        let mut answer = self.refuse(&Refusal::new(Situation::Pending, detail), now);
        *answer.sold = self.sold(answer.situation, None);
        answer
    }

    /// What is told of an answer to a payment that fits; `amount` was taken for it.
    pub(super) fn sold(&self, situation: Situation, amount: Option<Amount>) -> Sold {
        Sold {
            payment: Some(self.presented.id),
            payer: Some(self.presented.payer.clone()),
            network: Some(self.rail.network().clone()),
            asset: Some(self.payment.accepted.asset.clone()),
            held: Some(self.presented.max_amount.min(self.payment.accepted.amount)),
            amount,
            ..Sold::nothing(situation)
        }
    }

    /// A settlement, in the version that its payer speaks.
    pub(super) fn told(&self, settlement: SettlementResponse) -> Told {
        match self.version {
            Version::V1 => Told::V1(SettlementResponseV1::of(&settlement)),
            Version::V2 => Told::V2(Box::new(settlement)),
        }
    }

    /// `PAYMENT-RESPONSE` of a payment that was not captured. Voided and pending ones are named, where the
    /// payment's name is that of the settlement.
    pub(super) fn not_settled(&self, reason: &str, message: &str) -> SettlementResponse {
        let mut settlement = SettlementResponse::refused(self.rail.network(), reason, message);
        if matches!(reason, reason::SETTLEMENT_PENDING | reason::PAYMENT_VOIDED) && self.holds() {
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
        let said = facilitator.unwrap_or_default();
        let (mut extra, transaction) = (said.extra, said.transaction);
        for internal in ["answer", "epoch", "leaseUntil", "takeover"] {
            extra.remove(internal);
        }
        extra.insert("state".into(), json!(state));
        SettlementResponse {
            success: true,
            payer: Some(self.presented.payer.clone()),
            transaction: if self.holds() { self.presented.id.to_string() } else { transaction },
            network: self.rail.network().to_string(),
            amount: Some(amount),
            extra,
            ..SettlementResponse::default()
        }
    }

    /// What a payment is called once its money was taken.
    pub(super) fn taken(&self) -> &'static str {
        if self.holds() { "captured" } else { "settled" }
    }

    /// Whether the payer asks for a receipt.
    pub(super) fn wants_receipt(&self) -> bool {
        self.payment.extensions.contains_key(receipt::EXTENSION)
    }

    /// Adds a signed receipt of x402's `offer-receipt` to a settlement, when its payer asks for one or the route
    /// gives one with every paid answer. `issued_at` is in Unix seconds.
    pub(super) fn attest(&self, settlement: &mut SettlementResponse, issued_at: u64) {
        let attests = self.route.attests;
        let asks = self.payment.extensions.contains_key(offer_receipt::EXTENSION);
        if self.version == Version::V1 || !(attests.receipts || asks) {
            return;
        }
        let transaction =
            Some(settlement.transaction.clone()).filter(|name| attests.transactions && !name.is_empty());
        let receipt = offer_receipt::SignedReceipt {
            version: offer_receipt::VERSION,
            network: self.rail.network().clone(),
            resource_url: self.route.resource_url(&self.asked),
            payer: self.presented.payer.clone(),
            issued_at,
            transaction,
        };
        attested::put_receipt(&mut settlement.extensions, &receipt, &self.route.seller.receipt_key);
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
    pub(super) fn new(tender: Tender, offer: PaymentRequirements, objection: Option<Objection>) -> Self {
        Self { tender, offer: Arc::new(offer), objection, counted: Counted::default() }
    }

    /// What the facilitator is asked. The wish for a receipt goes with it as it came.
    pub(super) fn request(&self, mut payment: PaymentPayload) -> FacilitatorRequest {
        if let Some(wish) = self.tender.payment.extensions.get(receipt::EXTENSION) {
            payment.extensions.entry(receipt::EXTENSION.to_owned()).or_insert_with(|| wish.clone());
        }
        FacilitatorRequest {
            x402_version: v2::VERSION,
            payment_payload: payment,
            payment_requirements: self.offer.clone(),
        }
    }

    /// The most that may be taken: never more than is offered, whatever its payer allows.
    pub(super) fn max_amount(&self) -> Amount {
        self.tender.presented.max_amount.min(self.offer.amount)
    }

    /// Whether the money moves before the handler runs.
    pub(super) fn is_upfront(&self) -> bool {
        match self.tender.rail.flow() {
            Flow::Escrow => false,
            Flow::Upfront => true,
            Flow::Authorization => {
                self.offer.extra.get("paymentFlow").and_then(|flow| flow.as_str()) == Some("upfront")
            }
        }
    }

    /// Whether a facilitator's word is about this payment; otherwise nothing is known.
    pub(super) fn recognises(&self, settlement: &SettlementResponse) -> bool {
        settlement.success
            && settlement.network == self.tender.rail.network().as_str()
            && settlement.payer.as_ref().is_none_or(|payer| self.is_payer(payer))
    }

    /// Whether a facilitator names the payer. Networks that show payments to everybody spell addresses in
    /// more than one way.
    pub(super) fn is_payer(&self, payer: &str) -> bool {
        let presented = &self.tender.presented.payer;
        presented == payer || !self.tender.holds() && presented.eq_ignore_ascii_case(payer)
    }
}

/// A problem for one request, with terms where its situation has them.
pub(super) fn refuse<B>(
    route: &Route,
    asked: &Asked,
    refusal: &Refusal,
    settlement: Option<&Told>,
    now: u64,
) -> Answer<B> {
    if !refusal.situation.row().terms {
        return Answer::problem(refusal, None, settlement);
    }
    let error = refusal.x402_reason().unwrap_or("Payment required");
    let offered = tracing::debug_span!("offer").in_scope(|| route.terms(asked, now, error));
    match offered {
        Ok(terms) => Answer::problem(refusal, Some(&terms), settlement),
        Err(error) => {
            tracing::error!(%error, "the offer made at the start can no longer be made");
            Answer::problem(&Refusal::new(Situation::Internal, "no offer can be made"), None, settlement)
        }
    }
}
