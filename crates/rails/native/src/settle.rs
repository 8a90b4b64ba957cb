//! The facilitator's role: every `/settle` call becomes one ledger command.

use farthing_ledger::command::{self, Authorize, AuthorizeReply, Operate, Refusal, Standing};
use farthing_ledger::operation::Op;
use farthing_ledger::rows::Payment;
use farthing_ledger::statement::{LedgerTerms, PaymentState};
use farthing_ledger::terms::{Scheme, TermsFlow};
use farthing_ledger::{Ledger, LedgerError, LedgerId};
use farthing_protocol::rail::{BalancesRequest, BalancesResponse};
use farthing_protocol::rail::{BoxFuture, FacilitatorError, Outcome, Owner, PaymentFault, PaymentId};
use farthing_protocol::rail::{Settle, Tenant, UnknownOutcome};
use farthing_protocol::v2::{FacilitatorRequest, SettlementResponse, SupportedKind, VERSION, VerifyResponse};
use farthing_protocol::{Amount, Signature, reason, receipt};
use serde_json::{Map, Value, json};

use crate::balances;
use crate::checks::Checks;
use crate::verify;
use crate::wire::{self, Asked, Consent, Signed, malformed};

/// The lease of a hold whose server did not name itself.
const ANONYMOUS_LEASE: u32 = 60;

/// Settles on one ledger.
#[derive(Debug)]
pub struct NativeSettle {
    ledger: Ledger,
    terms: LedgerTerms,
    checks: Checks,
}

impl NativeSettle {
    /// A rail on `ledger`, announcing the assets that it has now.
    ///
    /// # Errors
    /// When the ledger is not available.
    pub async fn new(ledger: Ledger) -> Result<Self, LedgerError> {
        let terms = ledger.terms().await?;
        Ok(Self { ledger, terms, checks: Checks::new() })
    }

    /// The ledger's signed terms.
    pub fn terms(&self) -> &LedgerTerms {
        &self.terms
    }

    /// Holds a payment for `owner`.
    async fn first(
        &self,
        caller: &Tenant,
        signed: &Signed,
        owner: Owner,
        request: &FacilitatorRequest,
    ) -> Result<Outcome, PaymentFault> {
        let authorize = authorize(caller, signed, owner, request)?;
        let id = authorize.id();
        let reply = match self.checks.check(authorize).await {
            Ok(checked) => self.ledger.authorize_checked(checked).await,
            Err(error) => Err(error),
        };
        let wants_statement = wants_statement(request);
        Ok(self.outcome(reply, |reply| self.authorized(&id, &reply, wants_statement)))
    }

    async fn charge(
        &self,
        caller: &Tenant,
        (signed, operation, answer, signature): (&Signed, Op, Option<Vec<u8>>, Signature),
        request: &FacilitatorRequest,
    ) -> Result<Outcome, PaymentFault> {
        let nobody = Owner { id: [0; 16], lease_seconds: 0 };
        let authorize = authorize(caller, signed, nobody, request)?;
        let id = authorize.id();
        let reply = match command::Charge::check(authorize, operation, answer, signature) {
            Ok(checked) => self.ledger.charge(checked).await,
            Err(refusal) => Err(LedgerError::Refused(refusal)),
        };
        let wants_statement = wants_statement(request);
        Ok(self.outcome(reply, |reply| self.authorized(&id, &reply, wants_statement)))
    }

    /// Operations under one signature: one, or several whose answers are the `results`.
    async fn operate(&self, consent: &Consent, request: &FacilitatorRequest) -> Outcome {
        let ids: Vec<PaymentId> = consent.operations.iter().map(|(operation, _)| operation.payment).collect();
        let wants_statement = wants_statement(request);
        let operate = Operate::new(consent.operations.clone(), consent.signer, consent.signature);
        let reply = self.ledger.operate(operate).await;
        let each = |(id, result): (&PaymentId, Result<Payment, Refusal>)| {
            self.outcome(result.map_err(LedgerError::Refused), |payment| {
                let mut settled = self.describe(id, &payment);
                if wants_statement {
                    self.state(id, &payment, &mut settled);
                }
                Outcome::Settled(settled)
            })
        };
        self.outcome(reply, |results| {
            let mut outcomes = ids.iter().zip(results).map(each);
            match (outcomes.next(), ids.as_slice()) {
                (Some(outcome), [first, _, ..]) => {
                    self.together(first, std::iter::once(outcome).chain(outcomes))
                }
                (Some(alone), _) => alone,
                (None, _) => Outcome::Unknown(UnknownOutcome("the ledger answered nothing".into())),
            }
        })
    }

    /// The answer to operations that were sent together: it says nothing but what became of each.
    fn together(&self, first: &PaymentId, outcomes: impl Iterator<Item = Outcome>) -> Outcome {
        let results = outcomes.map(|outcome| match outcome {
            Outcome::Settled(result) | Outcome::NotSettled(result) => result,
            Outcome::Unknown(_) => SettlementResponse::default(),
        });
        Outcome::Settled(SettlementResponse {
            success: true,
            transaction: first.to_string(),
            network: self.ledger.network().to_string(),
            results: results.collect(),
            ..SettlementResponse::default()
        })
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
        match &*request.payment_payload.payload.read(Asked::read)? {
            Asked::Client(signed) => {
                if signed.terms.flow == TermsFlow::Charge {
                    return Err(malformed(
                        "payload.type",
                        "must be \"charge\", signed by the receiverAuthorizer",
                    ));
                }
                let owner = Owner { id: anonymous(caller), lease_seconds: ANONYMOUS_LEASE };
                self.first(caller, signed, owner, request).await
            }
            Asked::Authorize(signed, owner) => self.first(caller, signed, *owner, request).await,
            Asked::Charge(signed, operation, answer, signature) => {
                self.charge(caller, (signed, *operation, answer.clone(), *signature), request).await
            }
            Asked::Operate(consent) => Ok(self.operate(consent, request).await),
        }
    }
}

/// What the ledger is told, when it is what the server says it offered.
fn authorize(
    caller: &Tenant,
    signed: &Signed,
    owner: Owner,
    request: &FacilitatorRequest,
) -> Result<Authorize, PaymentFault> {
    verify::fits(&signed.terms, &request.payment_requirements)?;
    Authorize::read(signed.bytes.clone(), signed.signature, owner, caller.clone())
        .map_err(|error| malformed("payload.authorization", error.to_string()))
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
        vec![kind(Scheme::AuthCapture), kind(Scheme::Exact), kind(Scheme::Upto)]
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

    fn balances<'a>(
        &'a self,
        request: &'a BalancesRequest,
    ) -> BoxFuture<'a, Result<Option<BalancesResponse>, FacilitatorError>> {
        Box::pin(async move {
            let unreachable = |e: LedgerError| FacilitatorError::Unreachable(e.to_string());
            let ledger = LedgerId::of(&self.terms.ledger_key);
            let foreign =
                || FacilitatorError::Forbidden("the account's own key did not sign this now".into());
            // A payment that nobody makes: the ledger is asked for its time alone.
            let (_, now) = self.ledger.payment(PaymentId([0; 32])).await.map_err(unreachable)?;
            let account = balances::asker(request, &ledger, now).ok_or_else(foreign)?;
            let mut said = BalancesResponse::default();
            for asset in self.ledger.terms().await.map_err(unreachable)?.assets {
                let Ok(code) = asset.code.parse() else { continue };
                let amount = self.ledger.balance(account, code).await.map_err(unreachable)?;
                said.balances.insert(asset.code, amount);
            }
            Ok(Some(said))
        })
    }
}
