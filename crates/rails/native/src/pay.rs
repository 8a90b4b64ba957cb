//! The client's role: judging offers, signing payments, and checking the ledger's word afterwards.

use std::sync::Arc;

use farthing_ledger::LedgerId;
use farthing_ledger::statement::{LedgerTerms, PaymentState, Statement, StatementError};
use farthing_ledger::terms::{FeeTerms, Scheme, Terms, TermsFlow};
use farthing_protocol::rail::{
    BoxFuture, Confirmation, Facilitator, NoBalance, OfferError, Pay, SignedPayment,
};
use farthing_protocol::siwx::{Info, Proof};
use farthing_protocol::v2::{Extensions, PaymentRequirements, SettlementResponse};
use farthing_protocol::{Amount, Binding, Network, PublicKey, RequestDigest, SecretKey};
use serde_json::Value;

use crate::{balances, sign_in, wire};

/// Seconds by which this side's clock may be ahead of the ledger's.
const BACKDATE: u64 = 60;
/// Seconds by which the ledger may be generous with validBefore.
const SKEW: u64 = 5;
/// Seconds after validBefore for which a ledger is sure to remember a payment: records live 90 days from an
/// authorization that cannot be more than an hour older. Later, absence proves nothing.
const REMEMBERED: u64 = 89 * 86_400;

/// How far ahead this client's signatures reach, whatever the offer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Seconds to validBefore at most.
    pub valid: u64,
    /// Seconds to captureDeadline at most.
    pub capture: u64,
    /// Seconds to refundDeadline at most.
    pub refund: u64,
}

impl Default for Reach {
    /// Five minutes, fifteen minutes, thirty days.
    fn default() -> Self {
        Self { valid: 300, capture: 900, refund: 30 * 86_400 }
    }
}

/// Pays on one ledger from one account.
#[derive(Debug)]
pub struct NativePay {
    network: Network,
    ledger: LedgerId,
    terms: LedgerTerms,
    account: PublicKey,
    key: SecretKey,
    reach: Reach,
    source: Arc<dyn Facilitator>,
}

/// A ledger that a client cannot pay on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The facilitator did not answer.
    #[error(transparent)]
    Facilitator(#[from] farthing_protocol::rail::FacilitatorError),
    /// It settles on no farthing ledger, or not on the one that was asked for.
    #[error("the facilitator settles on no farthing ledger that was asked for")]
    NoLedger,
    /// The ledger's terms are not signed by the ledger.
    #[error("the ledger's terms are not to be believed: {0}")]
    Terms(#[from] StatementError),
}

impl NativePay {
    /// Connects to the ledger behind `source`, which is asked for the ledger's signed terms now and for
    /// the status of payments later. `network` pins the ledger; `None` takes the first one it settles on.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        source: Arc<dyn Facilitator>,
        network: Option<&Network>,
        key: SecretKey,
    ) -> Result<Self, ConnectError> {
        let supported = source.supported().await?;
        for kind in &supported.kinds {
            let Ok(found) = kind.network.parse::<Network>() else { continue };
            let Some(ledger) = LedgerId::of_network(&found) else { continue };
            if network.is_some_and(|n| *n != found) {
                continue;
            }
            let Some(extra) = kind.extra.clone() else { continue };
            let terms: Result<LedgerTerms, _> = serde_json::from_value(Value::Object(extra));
            let Ok(terms) = terms else { continue };
            terms.verify(&ledger)?;
            let account = key.public();
            return Ok(Self { network: found, ledger, terms, account, key, reach: Reach::default(), source });
        }
        Err(ConnectError::NoLedger)
    }

    /// Pays from `account` instead of the key's own: the key is one of that account's keys.
    #[must_use]
    pub fn for_account(mut self, account: PublicKey) -> Self {
        self.account = account;
        self
    }

    /// Limits how far ahead signatures reach.
    #[must_use]
    pub fn reach(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    /// The ledger's terms, as it signed them.
    pub fn terms(&self) -> &LedgerTerms {
        &self.terms
    }

    /// The account that pays.
    pub fn account(&self) -> PublicKey {
        self.account
    }

    /// What would be signed for an offer.
    fn draft(
        &self,
        offer: &PaymentRequirements,
        digest: &RequestDigest,
        now: u64,
        nonce: [u8; 32],
    ) -> Result<Terms, OfferError> {
        if offer.network != self.network {
            return Err(field("network", "is not this wallet's ledger"));
        }
        let scheme =
            wire::scheme(&offer.scheme).ok_or_else(|| field("scheme", "is not one that this rail pays"))?;
        let asset = self.terms.asset(&offer.asset).ok_or_else(|| OfferError::UnknownAsset {
            asset: offer.asset.clone(),
            network: self.network.to_string(),
        })?;
        let flow = offer.extra.get("paymentFlow").map_or(Some("escrow"), Value::as_str);
        if flow != Some("escrow") {
            return Err(field("extra.paymentFlow", "must be \"escrow\" on this rail"));
        }
        let offered = text(offer, "requestDigest")?;
        if offered != digest.to_string() {
            return Err(OfferError::ForeignDigest);
        }
        let kind = offer.extra.get("binding").and_then(Value::as_u64).and_then(|k| u8::try_from(k).ok());
        let binding =
            kind.and_then(Binding::from_kind).ok_or_else(|| field("extra.binding", "is not known"))?;
        let fee = self.fee(offer)?;
        let capture = number(offer, "captureDeadline")?.unwrap_or(u64::MAX);
        if capture <= now {
            return Err(field("extra.captureDeadline", "has passed"));
        }
        let capture_deadline = capture.min(now.saturating_add(self.reach.capture));
        let refund_deadline = match (scheme, number(offer, "refundDeadline")?) {
            (Scheme::Exact | Scheme::Upto, _) | (_, None | Some(0)) => 0,
            (Scheme::AuthCapture, Some(at)) => {
                at.min(now.saturating_add(self.reach.refund)).max(capture_deadline)
            }
        };
        Ok(Terms {
            ledger: self.ledger,
            scheme,
            flow: TermsFlow::Escrow,
            payer: self.account,
            signer: self.key.public(),
            payee: account(&offer.pay_to, "payTo")?,
            receiver_authorizer: account(text(offer, "receiverAuthorizer")?, "extra.receiverAuthorizer")?,
            asset,
            max_amount: offer.amount,
            valid_after: now.saturating_sub(BACKDATE),
            valid_before: now.saturating_add(offer.max_timeout_seconds.min(self.reach.valid)),
            capture_deadline,
            refund_deadline,
            fee,
            mandate: [0; 32],
            nonce,
            binding,
            digest: *digest,
        })
    }

    /// The offer's fee must be the one that the ledger announced, signed.
    fn fee(&self, offer: &PaymentRequirements) -> Result<FeeTerms, OfferError> {
        let rate = |key: &str| number(offer, key).map(|r| r.unwrap_or(0));
        let expected = u64::from(self.terms.fee_bps);
        if rate("minFeeBps")? != expected || rate("maxFeeBps")? != expected {
            return Err(field("extra.maxFeeBps", "is not the fee that the ledger announces"));
        }
        let recipient = if expected == 0 { [0; 32] } else { self.terms.fee_recipient.0 };
        Ok(FeeTerms { min_bps: self.terms.fee_bps, max_bps: self.terms.fee_bps, recipient })
    }

    /// What a statement proves about a payment.
    fn weigh(&self, payment: &SignedPayment, statement: &Statement) -> Confirmation {
        if let Err(error) = statement.verify(&self.ledger, &payment.id) {
            return Confirmation::Contradicted(error.to_string());
        }
        if statement.amount > payment.max_amount || statement.refunded > statement.amount {
            return Confirmation::Contradicted("the ledger took more than was signed".into());
        }
        match statement.state {
            PaymentState::Captured => Confirmation::Taken(statement.amount),
            PaymentState::Voided | PaymentState::Reclaimed => Confirmation::NotTaken,
            PaymentState::Absent if statement.as_of <= payment.valid_before.saturating_add(SKEW) => {
                Confirmation::Open
            }
            PaymentState::Absent if statement.as_of > payment.valid_before.saturating_add(REMEMBERED) => {
                Confirmation::Unproven
            }
            PaymentState::Absent => Confirmation::NotTaken,
            PaymentState::Held => Confirmation::Open,
        }
    }
}

impl Pay for NativePay {
    fn network(&self) -> &Network {
        &self.network
    }

    fn scale(&self, asset: &str) -> Option<u8> {
        self.terms.scale(asset)
    }

    fn judge(&self, offer: &PaymentRequirements, digest: &RequestDigest, now: u64) -> Result<(), OfferError> {
        self.draft(offer, digest, now, [0; 32]).map(|_| ())
    }

    fn pay(
        &self,
        offer: &PaymentRequirements,
        digest: &RequestDigest,
        now: u64,
        random: [u8; 32],
    ) -> Result<SignedPayment, OfferError> {
        let terms = self.draft(offer, digest, now, random)?;
        let signed = terms.encode();
        let payload =
            wire::Authorization { authorization: wire::base64(&signed), signature: self.key.sign(&signed) };
        Ok(SignedPayment {
            extensions: Extensions::default(),
            id: farthing_ledger::terms::payment_id(&signed),
            payload: wire::raw(&payload).map_err(|e| field("payload", &e.to_string()))?,
            max_amount: terms.max_amount,
            valid_before: terms.valid_before,
            capture_deadline: terms.capture_deadline,
        })
    }

    fn confirm(&self, payment: &SignedPayment, settlement: &SettlementResponse) -> Confirmation {
        let Some(statement) = settlement.extra.get("statement") else {
            return Confirmation::Unproven;
        };
        let statement: Statement = match serde_json::from_value(statement.clone()) {
            Ok(statement) => statement,
            Err(error) => {
                return Confirmation::Contradicted(format!("the statement cannot be read: {error}"));
            }
        };
        match self.weigh(payment, &statement) {
            Confirmation::Taken(amount) if settlement.success && settlement.amount != Some(amount) => {
                Confirmation::Contradicted("the ledger took another amount than the seller says".into())
            }
            weighed => weighed,
        }
    }

    fn status<'a>(&'a self, payment: &'a SignedPayment) -> BoxFuture<'a, Confirmation> {
        Box::pin(async move {
            let Ok(Some(value)) = self.source.payment(&payment.id).await else {
                return Confirmation::Unproven;
            };
            match serde_json::from_value::<Statement>(value) {
                Ok(statement) => self.weigh(payment, &statement),
                Err(error) => Confirmation::Contradicted(format!("the statement cannot be read: {error}")),
            }
        })
    }

    fn sign_in(&self, info: &Info) -> Option<Proof> {
        // Nobody but its own key speaks for an account; servers do not know who else may.
        let own = self.account == self.key.public();
        own.then(|| sign_in::prove(info, &self.network, &self.key)).flatten()
    }

    fn balance<'a>(&'a self, asset: &'a str, now: u64) -> BoxFuture<'a, Result<Amount, NoBalance>> {
        Box::pin(async move {
            let unknown = |why: &str| NoBalance(why.to_owned());
            if self.account != self.key.public() {
                return Err(unknown("only the account's own key may ask, and this wallet pays with another"));
            }
            let asked = balances::ask(&self.network, &self.ledger, &self.key, now);
            match self.source.balances(&asked).await {
                Ok(Some(said)) => Ok(said.balances.get(asset).copied().unwrap_or_default()),
                Ok(None) => Err(unknown("the facilitator does not say what accounts have")),
                Err(error) => Err(NoBalance(error.to_string())),
            }
        })
    }
}

fn field(field: &str, why: &str) -> OfferError {
    OfferError::Field { field: field.to_owned(), why: why.to_owned() }
}

fn text<'a>(offer: &'a PaymentRequirements, key: &str) -> Result<&'a str, OfferError> {
    let value = offer.extra.get(key).and_then(Value::as_str);
    value.ok_or_else(|| field(&format!("extra.{key}"), "is missing or not a string"))
}

fn number(offer: &PaymentRequirements, key: &str) -> Result<Option<u64>, OfferError> {
    match offer.extra.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let number =
                value.as_u64().ok_or_else(|| field(&format!("extra.{key}"), "is not a whole number"))?;
            Ok(Some(number))
        }
    }
}

fn account(text: &str, name: &str) -> Result<PublicKey, OfferError> {
    text.parse().map_err(|_| field(name, "must be 64 lower-case hex digits"))
}
