//! The resource server's role: offers, and the receiverAuthorizer's signatures.

use farthing_ledger::LedgerId;
use farthing_ledger::identity::AssetCode;
use farthing_ledger::operation::{self, Action, MAX_OPERATIONS, Op};
use farthing_ledger::statement::{LedgerTerms, PaymentState, StatementError};
use farthing_ledger::terms::{Scheme, TermsFlow};
use farthing_protocol::rail::{Ask, Authorized, Capture, Flow, Hold, Offer, OfferError, Operation, Outcome};
use farthing_protocol::rail::{Owner, PaymentFault, PaymentId, Presented, UnknownOutcome};
use farthing_protocol::siwx::SignInKind;
use farthing_protocol::v2::{PaymentPayload, PaymentRequirements, SettlementResponse};
use farthing_protocol::{Amount, Network, Payload, Price, PublicKey, SecretKey, reason};
use serde_json::{Map, Value, json};

use crate::sign_in;
use crate::wire::{self, Asked, Consent, malformed};

/// Seconds from the offer to the capture deadline that is asked for.
pub const CAPTURE_SECONDS: u64 = 900;
/// Seconds from the offer to the refund deadline that is asked for: 30 days.
pub const REFUND_SECONDS: u64 = 30 * 86_400;
/// A fresh payment must leave at least this many seconds for its capture.
pub const MIN_CAPTURE_SECONDS: u64 = 60;

/// Offers of one scheme on one ledger, paid to one account.
#[derive(Debug)]
pub struct NativeOffer {
    scheme: Scheme,
    network: Network,
    ledger: LedgerId,
    terms: LedgerTerms,
    payee: PublicKey,
    authorizer: SecretKey,
}

impl NativeOffer {
    /// Offers on the ledger that announced `terms`.
    ///
    /// `payee` is the account that is credited, and its key can stay offline; `authorizer` is the hot,
    /// replaceable key that may capture, void and refund, and nothing else.
    ///
    /// # Errors
    /// [`StatementError`] when the terms are not signed by the ledger of `network`.
    pub fn new(
        scheme: Scheme,
        network: &Network,
        terms: LedgerTerms,
        payee: PublicKey,
        authorizer: SecretKey,
    ) -> Result<Self, StatementError> {
        let ledger = LedgerId::of_network(network).ok_or(StatementError::ForeignKey)?;
        terms.verify(&ledger)?;
        Ok(Self { scheme, network: network.clone(), ledger, terms, payee, authorizer })
    }

    fn asset(&self, price: &Price) -> Result<(AssetCode, Amount), OfferError> {
        let unknown = || OfferError::UnknownAsset {
            asset: price.currency().to_owned(),
            network: self.network.to_string(),
        };
        let scale = self.terms.scale(price.currency()).ok_or_else(unknown)?;
        let code = self.terms.asset(price.currency()).ok_or_else(unknown)?;
        Ok((code, price.to_atomic(scale)?))
    }

    fn extra(&self, ask: &Ask<'_>) -> Map<String, Value> {
        let mut extra = Map::new();
        let mut put = |key: &str, value: Value| extra.insert(key.to_owned(), value);
        put("requestDigest", json!(ask.digest.to_string()));
        put("binding", json!(ask.binding.kind()));
        put("paymentFlow", json!("escrow"));
        put("receiverAuthorizer", json!(self.authorizer.public().to_string()));
        put("captureDeadline", json!(ask.now + CAPTURE_SECONDS));
        if self.scheme.refunds() {
            put("refundDeadline", json!(ask.now + REFUND_SECONDS));
        }
        put("minFeeBps", json!(self.terms.fee_bps));
        put("maxFeeBps", json!(self.terms.fee_bps));
        put("feeRecipient", json!(self.terms.fee_recipient.to_string()));
        extra
    }
}

impl Offer for NativeOffer {
    fn network(&self) -> &Network {
        &self.network
    }

    fn scheme(&self) -> &str {
        self.scheme.name()
    }

    fn flow(&self) -> Flow {
        Flow::Escrow
    }

    fn amount(&self, price: &Price) -> Result<Amount, OfferError> {
        self.asset(price).map(|(_, amount)| amount)
    }

    fn offer(&self, ask: &Ask<'_>) -> Result<PaymentRequirements, OfferError> {
        let (asset, amount) = self.asset(ask.price)?;
        Ok(PaymentRequirements {
            scheme: self.scheme.name().to_owned(),
            network: self.network.clone(),
            amount,
            asset: asset.to_string(),
            pay_to: self.payee.to_string(),
            max_timeout_seconds: ask.max_timeout_seconds,
            extra: self.extra(ask),
        })
    }

    fn differs_by_digest_alone(&self) -> bool {
        true
    }

    fn shown(&self, asset: &str, amount: Amount) -> Option<(String, String)> {
        self.terms.scale(asset).map(|scale| (amount.decimal(scale), asset.to_owned()))
    }

    fn dynamic_extra(&self) -> &[&str] {
        &["requestDigest", "captureDeadline", "refundDeadline"]
    }

    fn read(&self, payment: &PaymentPayload) -> Result<Presented, PaymentFault> {
        let signed = wire::read_authorization(payment)?;
        let terms = &signed.terms;
        Ok(Presented {
            id: farthing_ledger::terms::payment_id(&signed.bytes),
            payer: terms.payer.to_string(),
            digest: Some(terms.digest),
            max_amount: terms.max_amount,
            valid_before: terms.valid_before,
            capture_deadline: terms.capture_deadline,
        })
    }

    fn agrees(
        &self,
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        now: u64,
    ) -> Result<(), PaymentFault> {
        let signed = wire::read_authorization(payment)?;
        let terms = &signed.terms;
        let refuse = |reason: &str, message: &str| {
            Err(PaymentFault::Refused { reason: reason.to_owned(), message: message.to_owned() })
        };
        if terms.ledger != self.ledger {
            return refuse(reason::INVALID_NETWORK, "the payment is signed for another ledger");
        }
        if terms.scheme != self.scheme || terms.flow != TermsFlow::Escrow {
            return refuse(reason::INVALID_SCHEME, "the payment is signed for another scheme or flow");
        }
        if terms.payee != self.payee {
            return refuse(reason::PAY_TO_MISMATCH, "the payment is signed for another payee");
        }
        if terms.receiver_authorizer != self.authorizer.public() {
            return refuse(
                reason::RECEIVER_AUTHORIZER_MISMATCH,
                "the payment names another receiverAuthorizer",
            );
        }
        if terms.asset.as_str() != offer.asset {
            return refuse(reason::ASSET_MISMATCH, "the payment is signed for another asset");
        }
        if terms.max_amount != offer.amount {
            return refuse(reason::AMOUNT_MISMATCH, "the payment is signed for another amount");
        }
        if offer.extra.get("binding").and_then(Value::as_u64) != Some(u64::from(terms.binding.kind())) {
            return refuse(
                reason::INVALID_PAYLOAD,
                "the payment is bound to less of the request than the offer asks",
            );
        }
        // After validBefore only a payment that was authorized in time can still matter, and the ledger
        // knows those.
        if now <= terms.valid_before && terms.capture_deadline < now + MIN_CAPTURE_SECONDS {
            return refuse(reason::DEADLINE_MISMATCH, "captureDeadline leaves too little time to deliver");
        }
        Ok(())
    }

    fn authorize(&self, payment: &PaymentPayload, owner: &Owner) -> Result<PaymentPayload, PaymentFault> {
        let asked = Asked::Authorize(wire::read_authorization(payment)?, *owner);
        Ok(PaymentPayload { payload: Payload::of(asked), ..payment.clone() })
    }

    fn authorized(&self, settlement: &SettlementResponse) -> Result<Authorized, UnknownOutcome> {
        let foreign = |what: &str| UnknownOutcome(format!("the facilitator's answer has no valid `{what}`"));
        let state = settlement.extra.get("state").cloned().ok_or_else(|| foreign("extra.state"))?;
        let state: PaymentState = serde_json::from_value(state).map_err(|_| foreign("extra.state"))?;
        match state {
            PaymentState::Held => {
                let epoch = settlement.extra.get("epoch").and_then(Value::as_u64);
                let takeover = settlement.extra.get("takeover").and_then(Value::as_bool);
                let (Some(epoch), Some(takeover)) = (epoch, takeover) else {
                    return Err(foreign("extra.epoch"));
                };
                Ok(Authorized::Held(Hold { epoch, takeover }))
            }
            PaymentState::Captured => {
                let answer = settlement.extra.get("answer").map(|a| {
                    let bytes = a.as_str().and_then(wire::from_base64);
                    bytes.ok_or_else(|| foreign("extra.answer"))
                });
                Ok(Authorized::Captured { answer: answer.transpose()? })
            }
            PaymentState::Voided | PaymentState::Reclaimed => Ok(Authorized::Ended),
            PaymentState::Absent => Err(foreign("extra.state")),
        }
    }

    fn operate(
        &self,
        payment: &PaymentPayload,
        presented: &Presented,
        epoch: u64,
        what: &Operation,
    ) -> Result<PaymentPayload, PaymentFault> {
        let (action, cumulative, last, answer) = match what {
            Operation::Capture { amount, answer, last } => {
                (Action::Capture, *amount, *last, answer.as_deref())
            }
            Operation::Void => (Action::Void, Amount::ZERO, false, None),
            Operation::Refund { amount } => (Action::Refund, *amount, false, None),
        };
        let operation = operation(presented, (action, last), cumulative, epoch, answer)?;
        Ok(self.consent(payment, action, vec![operation]))
    }

    fn sign_in(&self) -> Option<SignInKind> {
        Some(SignInKind::Ed25519)
    }

    fn signed_in(&self, address: &str, text: &str, signature: &str) -> Option<String> {
        sign_in::signed(address, text, signature)
    }

    fn capture_together(&self, captures: &[Capture<'_>]) -> Option<Result<PaymentPayload, PaymentFault>> {
        let first = captures.first().filter(|_| captures.len() <= MAX_OPERATIONS)?;
        let read = |capture: &Capture<'_>| {
            let Capture { presented, epoch, amount, answer, last, .. } = *capture;
            operation(presented, (Action::Capture, last), amount, epoch, answer)
        };
        let list: Result<Vec<_>, _> = captures.iter().map(read).collect();
        Some(list.map(|list| self.consent(first.payment, Action::Capture, list)))
    }

    fn captured_together(&self, payments: &[PaymentId], settlement: SettlementResponse) -> Vec<Outcome> {
        let mut results = settlement.results.into_iter();
        let outcome = |payment: &PaymentId| match results.next() {
            Some(result) if result.success && result.transaction == payment.to_string() => {
                Outcome::Settled(result)
            }
            Some(result) if !result.success && result.error_reason.is_some() => Outcome::NotSettled(result),
            _ => Outcome::Unknown(UnknownOutcome("the facilitator does not say what became of it".into())),
        };
        payments.iter().map(outcome).collect()
    }
}

impl NativeOffer {
    /// Signs for operations, with the answers that are stored with them; they travel with `payment`.
    fn consent(
        &self,
        payment: &PaymentPayload,
        action: Action,
        operations: Vec<(Op, Option<Vec<u8>>)>,
    ) -> PaymentPayload {
        let list: Vec<Op> = operations.iter().map(|(operation, _)| *operation).collect();
        let signature = self.authorizer.sign(&operation::signed_bytes(&self.ledger, &list));
        let consent = Consent { action, operations, signer: self.authorizer.public(), signature };
        PaymentPayload { payload: Payload::of(Asked::Operate(consent)), ..payment.clone() }
    }
}

/// What the receiverAuthorizer consents to.
fn operation(
    presented: &Presented,
    (action, last): (Action, bool),
    cumulative: Amount,
    epoch: u64,
    answer: Option<&[u8]>,
) -> Result<(Op, Option<Vec<u8>>), PaymentFault> {
    if cumulative > presented.max_amount {
        return Err(malformed("payload.operations", "takes more than the payment allows"));
    }
    let hash = operation::answer_hash(answer);
    let op = Op { payment: presented.id, action, cumulative, last, epoch, answer: hash };
    Ok((op, answer.map(<[u8]>::to_vec)))
}
