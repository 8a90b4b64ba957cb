//! What a client will sign: its rails, its limits, and the journal that every payment goes through.

use std::collections::BTreeMap;
use std::sync::Arc;

use farthing_protocol::rail::{Confirmation, OfferError, Pay, SignedPayment};
use farthing_protocol::v2::{self, Offer, PaymentPayload, PaymentRequired};
use farthing_protocol::{Amount, Binding, PublicKey, RequestDigest, header, receipt};
use serde_json::Value;
use serde_json::value::RawValue;
use tracing::debug;

use crate::budget::{AssetId, Charge, Limits, OverBudget};
use crate::error::{ClientError, Refused, Rule};
use crate::flow::{Patience, news, plausible};
use crate::journal::{Journal, JournalError, Record, ReserveError, State, Ticket};
use crate::prepared::{Parts, PaymentHeader, Prepared};
use crate::request::Request;
use crate::text::{SHOWN, plain};

/// Seconds that a signature may stay valid, whatever an offer asks for.
pub const MAX_VALIDITY: u64 = 3600;

/// What the flows decide with. All of it is pure but the journal, which is the caller's.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) rails: Vec<Arc<dyn Pay>>,
    pub(crate) budgets: BTreeMap<AssetId, Limits>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) limits: farthing_protocol::Limits,
    pub(crate) patience: Patience,
    /// Bytes of a paid answer's body that are read to check its receipt.
    pub(crate) receipt_body_bytes: usize,
}

impl Policy {
    /// The payments that are still open, oldest first.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open_payments(&self) -> Result<Vec<Record>, JournalError> {
        self.journal.open()
    }

    /// Asks the network what became of a payment in the journal.
    pub async fn status(&self, record: &Record) -> Confirmation {
        let network = &record.charge.asset.network;
        match self.rails.iter().find(|rail| rail.network() == network) {
            None => Confirmation::Unproven,
            Some(rail) => rail.status(&record.payment).await,
        }
    }

    /// Writes down what the network said about a payment in the journal; returns what is known now.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn learn(&self, record: &Record, said: Confirmation) -> Result<State, JournalError> {
        let news = news(&plausible(said, record.charge.amount), record.state);
        self.journal.advance(&record.id(), news)?;
        Ok(record.state.after(news))
    }
}

/// An offer that this client would sign, if its budgets allow.
pub(crate) struct Choice<'a> {
    rail: &'a Arc<dyn Pay>,
    limits: &'a Limits,
    pub(crate) charge: Charge,
    pub(crate) scale: u8,
    digest: RequestDigest,
}

impl Policy {
    /// Signs the first offer that a rail and the budgets allow. The payment is reserved before it is
    /// signed, and in the journal before anybody can send it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] for the offer that came furthest, or [`ClientError::Journal`]; either way
    /// nothing is reserved any more.
    pub(crate) fn sign(
        &self,
        request: &Request,
        terms: &PaymentRequired,
        now: u64,
        random: [u8; 32],
    ) -> Result<Prepared, ClientError> {
        let mut furthest: Option<Refused> = None;
        for offer in terms.offers() {
            let refused = match self.take(request, terms, &offer, now, random) {
                Ok(prepared) => return Ok(prepared),
                Err(Stop::Refused(refused)) => refused,
                Err(Stop::Journal(error)) => return Err(error.into()),
            };
            debug!(network = %offer.network, why = %refused.why, "offer refused");
            if furthest.as_ref().is_none_or(|other| refused.rule.stage() > other.rule.stage()) {
                furthest = Some(refused);
            }
        }
        let unreadable = || Refused::new(Rule::Offer, "none of the offers can be read");
        Err(ClientError::Refused(Box::new(furthest.unwrap_or_else(unreadable))))
    }

    fn take(
        &self,
        request: &Request,
        terms: &PaymentRequired,
        offer: &Offer,
        now: u64,
        random: [u8; 32],
    ) -> Result<Prepared, Stop> {
        let choice = self.judge(request, offer, now)?;
        let ticket =
            self.journal.reserve(&choice.charge, &offer.pay_to, choice.limits).map_err(
                |error| match error {
                    ReserveError::Journal(error) => Stop::Journal(error),
                    ReserveError::OverBudget(over) => Stop::Refused(over_budget(over, &choice)),
                    ReserveError::PayeeChanged { known } => Stop::Refused(payee_changed(offer, &known)),
                },
            )?;
        let parts = match self.wrap(request, terms, offer, &choice, now, random) {
            Ok(parts) => parts,
            Err(refused) => {
                self.journal.cancel(ticket);
                return Err(refused.into());
            }
        };
        self.record(ticket, &parts, now)?;
        debug!(payment = %parts.payment.id, amount = %parts.charge.amount, "payment signed");
        Ok(Prepared(Arc::new(parts)))
    }

    /// Whether this client would sign `offer` for `request`, its budgets aside.
    pub(crate) fn judge<'a>(
        &'a self,
        request: &Request,
        offer: &Offer,
        now: u64,
    ) -> Result<Choice<'a>, Refused> {
        if !request.is_private() {
            return refuse(Rule::PlainHttp, "payments are not sent over plain http");
        }
        let network = &offer.network;
        let Some(rail) = self.rails.iter().find(|rail| rail.network() == network) else {
            return refuse(Rule::NoRail, format!("no wallet pays on {network}"));
        };
        let named = plain(&offer.asset, SHOWN);
        let Some(scale) = rail.scale(&offer.asset) else {
            return refuse(Rule::UnknownAsset, format!("{named} is no known asset on {network}"));
        };
        for claim in ["decimals", "scale"] {
            if offer.extra.get(claim).is_some_and(|claim| claim.as_u64() != Some(scale.into())) {
                let why = format!("the offer claims other decimal places for {named} than {scale}");
                return refuse(Rule::UnitsDiffer, why);
            }
        }
        let digest = request.digest(binding(request, offer)?);
        let foreign = || Refused::new(Rule::ForeignDigest, "the offer is bound to another request");
        if let Some(offered) = offer.extra.get("requestDigest")
            && offered.as_str() != Some(digest.to_string().as_str())
        {
            return Err(foreign());
        }
        rail.judge(offer, &digest, now).map_err(|error| match error {
            OfferError::ForeignDigest => foreign(),
            other => not_signed(&other),
        })?;
        let asset = AssetId { network: network.clone(), asset: offer.asset.clone() };
        let Some(limits) = self.budgets.get(&asset) else {
            return refuse(Rule::NoBudget, format!("there is no budget for {named} on {network}"));
        };
        let charge = Charge { asset, origin: request.origin().clone(), amount: offer.amount };
        allowed(request, &charge, scale)?;
        Ok(Choice { rail, limits, charge, scale, digest })
    }

    /// As [`judge`](Self::judge), and whether the budgets and the known payees would allow it now.
    pub(crate) fn would_pay(
        &self,
        request: &Request,
        offer: &Offer,
        now: u64,
    ) -> Result<Result<(), Refused>, JournalError> {
        let choice = match self.judge(request, offer, now) {
            Ok(choice) => choice,
            Err(refused) => return Ok(Err(refused)),
        };
        let known = self.journal.payees(request.origin(), &offer.network)?;
        if !known.is_empty() && !known.contains(&offer.pay_to) {
            return Ok(Err(payee_changed(offer, &known)));
        }
        let allowed = self.journal.spending()?.allows(choice.limits, &choice.charge);
        Ok(allowed.map_err(|over| over_budget(over, &choice)))
    }

    /// Signs, checks what the rail signed, and wraps it for its header.
    fn wrap(
        &self,
        request: &Request,
        terms: &PaymentRequired,
        offer: &Offer,
        choice: &Choice<'_>,
        now: u64,
        random: [u8; 32],
    ) -> Result<Parts, Refused> {
        let payment =
            choice.rail.pay(offer, &choice.digest, now, random).map_err(|error| not_signed(&error))?;
        if payment.valid_before > now.saturating_add(MAX_VALIDITY) {
            return refuse(Rule::TooLong, "the payment would stay valid for more than an hour");
        }
        if payment.max_amount > offer.amount {
            return refuse(Rule::Offer, "the payment would allow more than the offer asks for");
        }
        let receipt_key = offer.extra.get("receiptKey").and_then(Value::as_str);
        let receipt_key = receipt_key.and_then(|key| key.parse::<PublicKey>().ok());
        let header = header_of(terms, offer, &payment, receipt_key.is_some())
            .ok_or_else(|| Refused::new(Rule::Offer, "the payment cannot be written"))?;
        if header.len() > self.limits.header_bytes {
            return refuse(Rule::TooLarge, "the payment and the offer do not fit into a header");
        }
        Ok(Parts {
            request: request.clone(),
            rail: choice.rail.clone(),
            payment,
            header: PaymentHeader::new(header),
            charge: choice.charge.clone(),
            payee: offer.pay_to.clone(),
            scale: choice.scale,
            digest: choice.digest,
            receipt_key,
        })
    }

    fn record(&self, ticket: Ticket, parts: &Parts, now: u64) -> Result<(), JournalError> {
        let record = Record {
            payment: parts.payment.clone(),
            header: parts.header.clone(),
            charge: parts.charge.clone(),
            payee: parts.payee.clone(),
            method: parts.request.method().to_string(),
            target: parts.request.target().to_owned(),
            signed_at: now,
            state: State::Signed,
        };
        // The payment goes no further than this, so what was reserved for it can be given back.
        self.journal.record(ticket, record).inspect_err(|_| self.journal.cancel(ticket))
    }
}

/// Why an offer was not taken.
enum Stop {
    Refused(Refused),
    Journal(JournalError),
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<JournalError> for Stop {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

/// How much of the request the offer's payment covers: all of it where the offer does not say.
fn binding(request: &Request, offer: &Offer) -> Result<Binding, Refused> {
    let known = match offer.extra.get("binding") {
        None | Some(Value::Null) => Some(Binding::Body),
        Some(kind) => kind.as_u64().and_then(|kind| u8::try_from(kind).ok()).and_then(Binding::from_kind),
    };
    match known {
        None => refuse(Rule::Offer, "`extra.binding` of the offer is not known"),
        Some(Binding::Open) if !request.allow.unbound_body => {
            refuse(Rule::UnboundBody, "the payment would not cover the request's body")
        }
        Some(binding) => Ok(binding),
    }
}

/// What the caller allowed for this one request.
fn allowed(request: &Request, charge: &Charge, scale: u8) -> Result<(), Refused> {
    let priced = |amount: Amount| format!("{} {}", amount.decimal(scale), plain(&charge.asset.asset, SHOWN));
    if let Some(most) = &request.allow.max_price {
        let bound = (most.currency() == charge.asset.asset).then(|| most.to_atomic(scale).ok()).flatten();
        if bound.is_none_or(|bound| charge.amount > bound) {
            let why = format!("it costs {}, and at most {most} is allowed", priced(charge.amount));
            return refuse(Rule::MaxPrice, why);
        }
    }
    if let Some(quoted) = &request.allow.quoted {
        match quoted.iter().find(|(asset, _)| *asset == charge.asset) {
            Some((_, before)) if charge.amount <= *before => {}
            Some((_, before)) => {
                let why =
                    format!("it costs {} now, and {} was asked", priced(charge.amount), priced(*before));
                return refuse(Rule::PriceRose, why);
            }
            None => {
                let why = format!("it costs {}, and something else was asked", priced(charge.amount));
                return refuse(Rule::PriceRose, why);
            }
        }
    }
    Ok(())
}

/// The header's value: the offer verbatim, and the server's extensions.
fn header_of(
    terms: &PaymentRequired,
    offer: &Offer,
    payment: &SignedPayment,
    receipt: bool,
) -> Option<String> {
    let mut extensions = terms.extensions.clone();
    if receipt && !extensions.contains_key(receipt::EXTENSION) {
        extensions.insert(receipt::EXTENSION.to_owned(), RawValue::from_string("{}".to_owned()).ok()?);
    }
    let payload = PaymentPayload {
        x402_version: v2::VERSION,
        resource: Some(terms.resource.clone()),
        accepted: offer.clone(),
        payload: payment.payload.clone().into(),
        extensions,
    };
    header::encode(&payload).ok()
}

fn refuse<T>(rule: Rule, why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::new(rule, why))
}

fn not_signed(error: &OfferError) -> Refused {
    let rule = match error {
        OfferError::UnknownAsset { .. } => Rule::UnknownAsset,
        OfferError::ForeignDigest => Rule::ForeignDigest,
        OfferError::Price(_) | OfferError::Field { .. } => Rule::Offer,
    };
    Refused::new(rule, plain(&error.to_string(), SHOWN))
}

fn payee_changed(offer: &Offer, known: &[String]) -> Refused {
    let (payee, known) = (plain(&offer.pay_to, SHOWN), plain(&known.join(", "), SHOWN));
    Refused::new(Rule::PayeeChanged, format!("this origin was paid at {known} before, and now names {payee}"))
}

fn over_budget(over: OverBudget, choice: &Choice<'_>) -> Refused {
    let asset = plain(&choice.charge.asset.asset, SHOWN);
    let (asked, left) = (over.asked.decimal(choice.scale), over.left.decimal(choice.scale));
    let why = format!("it costs {asked} {asset}, and {} has {left} {asset} left", over.limit);
    Refused::new(Rule::OverBudget(over), why)
}
