//! The facilitator's role: every `/settle` call becomes one ledger command.

use farthing_ledger::command::{self, Authorize, AuthorizeReply, Operate, Standing};
use farthing_ledger::operation::Action;
use farthing_ledger::rows::Payment;
use farthing_ledger::statement::{LedgerTerms, PaymentState};
use farthing_ledger::terms::Scheme;
use farthing_ledger::{Ledger, LedgerError};
use farthing_protocol::rail::{BoxFuture, FacilitatorError, Outcome, Owner, PaymentFault, PaymentId};
use farthing_protocol::rail::{Settle, Tenant, UnknownOutcome};
use farthing_protocol::v2::{FacilitatorRequest, SettlementResponse, SupportedKind, VERSION, VerifyResponse};
use farthing_protocol::{Amount, reason, receipt, signature};
use serde_json::{Map, Value, json};

use crate::verify::{self, First};
use crate::wire::{self, Lifecycle, malformed};

/// The lease of a hold whose server did not name itself.
const ANONYMOUS_LEASE: u32 = 60;

/// Settles on one ledger.
#[derive(Debug)]
pub struct NativeSettle {
    ledger: Ledger,
    terms: LedgerTerms,
}

impl NativeSettle {
    /// A rail on `ledger`, announcing the assets that it has now.
    ///
    /// # Errors
    /// When the ledger is not available.
    pub async fn new(ledger: Ledger) -> Result<Self, LedgerError> {
        let terms = ledger.terms().await?;
        Ok(Self { ledger, terms })
    }

    /// The ledger's signed terms.
    pub fn terms(&self) -> &LedgerTerms {
        &self.terms
    }

    async fn first(
        &self,
        caller: &Tenant,
        first: First,
        request: &FacilitatorRequest,
    ) -> Result<Outcome, PaymentFault> {
        verify::fits(&first.terms, &request.payment_requirements)?;
        let authorize = Authorize::read(first.signed, first.signature, first.owner, caller.clone());
        let authorize = authorize.map_err(|e| malformed("payload.authorization", e.to_string()))?;
        let id = authorize.id();
        let reply = self.ledger.authorize(authorize).await;
        let wants_statement = wants_statement(request);
        Ok(self.outcome(reply, |reply| self.authorized(&id, &reply, wants_statement)))
    }

    async fn charge(
        &self,
        caller: &Tenant,
        charge: wire::Charge,
        request: &FacilitatorRequest,
    ) -> Result<Outcome, PaymentFault> {
        let (signed, terms) = wire::read_terms(&charge.authorization)?;
        verify::fits(&terms, &request.payment_requirements)?;
        let nobody = Owner { id: [0; 16], lease_seconds: 0 };
        let authorize = Authorize::read(signed, charge.signature, nobody, caller.clone());
        let authorize = authorize.map_err(|e| malformed("payload.authorization", e.to_string()))?;
        let id = authorize.id();
        let (operation, answer) = charge.operation.read()?;
        let checked = command::Charge::check(authorize, operation, answer, charge.authorizer_signature);
        let reply = match checked {
            Ok(checked) => self.ledger.charge(checked).await,
            Err(refusal) => Err(LedgerError::Refused(refusal)),
        };
        let wants_statement = wants_statement(request);
        Ok(self.outcome(reply, |reply| self.authorized(&id, &reply, wants_statement)))
    }

    async fn operate(
        &self,
        action: Action,
        operations: wire::Operations,
        request: &FacilitatorRequest,
    ) -> Result<Outcome, PaymentFault> {
        let list: Result<Vec<_>, _> = operations.operations.iter().map(wire::Operation::read).collect();
        let list = list?;
        let [(operation, _)] = list.as_slice() else {
            return Err(malformed(
                "payload.operations",
                "must have exactly one operation in one /settle call",
            ));
        };
        if operation.action != action {
            return Err(malformed("payload.type", "must name what the operation is signed for"));
        }
        let id = operation.payment;
        let reply = self.ledger.operate(Operate::new(list, operations.signer, operations.signature)).await;
        let reply = reply.and_then(|results| match results.into_iter().next() {
            Some(Ok(payment)) => Ok(payment),
            Some(Err(refusal)) => Err(LedgerError::Refused(refusal)),
            None => Err(LedgerError::Unknown("the ledger answered nothing".into())),
        });
        let wants_statement = wants_statement(request);
        Ok(self.outcome(reply, |payment| {
            let mut settled = self.describe(&id, &payment);
            if wants_statement {
                self.state(&id, &payment, &mut settled);
            }
            Outcome::Settled(settled)
        }))
    }

    fn outcome<T>(&self, reply: Result<T, LedgerError>, settled: impl FnOnce(T) -> Outcome) -> Outcome {
        match reply {
            Ok(value) => settled(value),
            Err(LedgerError::Refused(refusal)) => self.refused(refusal.reason(), refusal.to_string()),
            Err(error) => Outcome::Unknown(UnknownOutcome(error.to_string())),
        }
    }

    fn refused(&self, reason: &str, message: String) -> Outcome {
        Outcome::NotSettled(SettlementResponse::refused(self.ledger.network(), reason, message))
    }

    /// Adds the ledger's signed word, as of the payment's last change.
    fn state(&self, id: &PaymentId, payment: &Payment, settled: &mut SettlementResponse) {
        let statement = self.ledger.state(id, Some(payment), payment.changed_at);
        settled.extra.insert("statement".into(), serde_json::to_value(statement).unwrap_or_default());
    }

    fn authorized(&self, id: &PaymentId, reply: &AuthorizeReply, wants_statement: bool) -> Outcome {
        let mut settled = self.describe(id, &reply.payment);
        match &reply.standing {
            Standing::Owner { takeover } => {
                settled.amount = Some(reply.payment.terms.max_amount);
                settled.extra.insert("takeover".into(), json!(takeover));
            }
            Standing::InProgress => {
                let mut refused = SettlementResponse::refused(
                    self.ledger.network(),
                    reason::PAYMENT_IN_PROGRESS,
                    "the request that this payment pays for is still running",
                );
                refused.extra.insert("leaseUntil".into(), json!(reply.payment.lease_until));
                return Outcome::NotSettled(refused);
            }
            Standing::Ended(answer) => {
                if reply.payment.state != PaymentState::Captured {
                    let message = "the payment was given back; sign a new one".to_owned();
                    return self.refused(reason::PAYMENT_VOIDED, message);
                }
                if wants_statement {
                    self.state(id, &reply.payment, &mut settled);
                }
                if let Some(answer) = answer {
                    settled.extra.insert("answer".into(), json!(wire::base64(answer)));
                }
            }
        }
        Outcome::Settled(settled)
    }

    /// A payment as it stands.
    fn describe(&self, id: &PaymentId, payment: &Payment) -> SettlementResponse {
        let mut extra = Map::new();
        extra.insert("state".into(), serde_json::to_value(payment.state).unwrap_or_default());
        extra.insert("epoch".into(), json!(payment.epoch));
        extra.insert("leaseUntil".into(), json!(payment.lease_until));
        if payment.refunded != Amount::ZERO {
            extra.insert("refunded".into(), json!(payment.refunded.to_string()));
        }
        SettlementResponse {
            success: true,
            payer: Some(payment.terms.payer.to_string()),
            transaction: id.to_string(),
            network: self.ledger.network().to_string(),
            amount: Some(payment.captured),
            extra,
            ..SettlementResponse::default()
        }
    }

    async fn settle_strictly(
        &self,
        caller: &Tenant,
        request: &FacilitatorRequest,
    ) -> Result<Outcome, PaymentFault> {
        match wire::read_lifecycle(request)? {
            None => {
                let (signed, signature, terms) = wire::read_authorization(&request.payment_payload)?;
                let owner = Owner { id: anonymous(caller), lease_seconds: ANONYMOUS_LEASE };
                let first = First { signed, signature, terms, owner };
                if first.is_charge() {
                    return Err(malformed(
                        "payload.type",
                        "must be \"charge\", signed by the receiverAuthorizer",
                    ));
                }
                self.first(caller, first, request).await
            }
            Some(Lifecycle::Authorize(authorize)) => {
                let (signed, terms) = wire::read_terms(&authorize.authorization)?;
                let id = signature::lower_hex::<16>(&authorize.owner)
                    .ok_or_else(|| malformed("payload.owner", "must be 32 lower-case hex digits"))?;
                let owner = Owner { id, lease_seconds: authorize.lease_seconds };
                self.first(caller, First { signed, signature: authorize.signature, terms, owner }, request)
                    .await
            }
            Some(Lifecycle::Charge(charge)) => self.charge(caller, charge, request).await,
            Some(Lifecycle::Capture(list)) => self.operate(Action::Capture, list, request).await,
            Some(Lifecycle::Void(list)) => self.operate(Action::Void, list, request).await,
            Some(Lifecycle::Refund(list)) => self.operate(Action::Refund, list, request).await,
        }
    }
}

/// Whether the payer asked for proof: who wants a receipt wants the ledger's word with it.
fn wants_statement(request: &FacilitatorRequest) -> bool {
    request.payment_payload.extensions.contains_key(receipt::EXTENSION)
}

/// The owner of a hold that was asked for by a caller that does not name its process.
fn anonymous(caller: &Tenant) -> [u8; 16] {
    let hash = farthing_protocol::digest::sha256(caller.0.as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    id
}

impl Settle for NativeSettle {
    fn kinds(&self) -> Vec<SupportedKind> {
        let extra = serde_json::to_value(&self.terms).ok().and_then(|v| match v {
            Value::Object(map) => Some(map),
            _ => None,
        });
        let kind = |scheme: Scheme| SupportedKind {
            x402_version: VERSION,
            scheme: scheme.name().to_owned(),
            network: self.ledger.network().to_string(),
            extra: extra.clone(),
        };
        vec![kind(Scheme::AuthCapture), kind(Scheme::Exact)]
    }

    fn verify<'a>(
        &'a self,
        _caller: &'a Tenant,
        request: &'a FacilitatorRequest,
    ) -> BoxFuture<'a, Result<VerifyResponse, FacilitatorError>> {
        Box::pin(verify::verify(&self.ledger, request))
    }

    fn settle<'a>(&'a self, caller: &'a Tenant, request: &'a FacilitatorRequest) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            match self.settle_strictly(caller, request).await {
                Ok(outcome) => outcome,
                Err(PaymentFault::Refused { reason, message }) => self.refused(&reason, message),
                Err(fault) => self.refused(reason::INVALID_PAYLOAD, fault.to_string()),
            }
        })
    }

    fn payment<'a>(&'a self, id: &'a PaymentId) -> BoxFuture<'a, Result<Option<Value>, FacilitatorError>> {
        Box::pin(async move {
            let unreachable = |e: LedgerError| FacilitatorError::Unreachable(e.to_string());
            let statement = self.ledger.statement(*id).await.map_err(unreachable)?;
            Ok(serde_json::to_value(statement).ok())
        })
    }
}
