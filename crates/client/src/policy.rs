//! What a client will sign: its rails, its limits, and the journal that every payment goes through.

use std::collections::BTreeMap;
use std::sync::Arc;

use farthing_protocol::digest::sha256;
use farthing_protocol::payment_identifier::{self, Identifier};
use farthing_protocol::rail::{Confirmation, OfferError, Pay, SignedPayment};
use farthing_protocol::v1::{self, PaymentPayloadV1};
use farthing_protocol::v2::{self, Extensions, Offer, PaymentPayload};
use farthing_protocol::{Amount, Binding, PublicKey, RequestDigest, header, offer_receipt, receipt};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use tracing::debug;

use crate::approval::Approval;
use crate::budget::{AssetId, Charge, Limits, OverBudget};
use crate::error::{Refused, Rule};
use crate::flow::{Patience, news, plausible};
use crate::journal::{Journal, JournalError, PricedPlace, Record, ReserveError, State, Ticket};
use crate::prepared::{Parts, PaymentHeader, Prepared, Version};
use crate::request::Request;
use crate::rules::{PriceRise, Rules};
use crate::sign_in::Sessions;
use crate::terms::Terms;
use crate::text::{SHOWN, plain};

/// What the flows decide with. All of it is pure but the journal, which is the caller's.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) rails: Vec<Arc<dyn Pay>>,
    pub(crate) budgets: BTreeMap<AssetId, Limits>,
    /// Whose budgets count.
    pub(crate) agent: Option<String>,
    pub(crate) rules: Rules,
    pub(crate) approval: Option<Approval>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) limits: farthing_protocol::Limits,
    pub(crate) patience: Patience,
    /// Bytes of a paid answer's body that are read to check its receipt.
    pub(crate) receipt_body_bytes: usize,
    /// What servers gave for use instead of a proof or a payment.
    pub(crate) sessions: Sessions,
}

impl Policy {
    /// Whether any rail pays by version 1 of x402.
    pub(crate) fn pays_v1(&self) -> bool {
        self.rails.iter().any(|rail| rail.speaks_v1())
    }

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
    pub(crate) rail: &'a Arc<dyn Pay>,
    limits: &'a Limits,
    pub(crate) charge: Charge,
    /// What people call the asset.
    currency: String,
    pub(crate) scale: u8,
    digest: RequestDigest,
}

impl Choice<'_> {
    /// What it costs in whole units.
    pub(crate) fn price(&self) -> String {
        self.priced(self.charge.amount)
    }

    fn priced(&self, amount: Amount) -> String {
        format!("{} {}", amount.decimal(self.scale), self.currency)
    }
}

impl Policy {
    /// Signs one of the offers, if a rail and the budgets allow. The payment is reserved before it is signed,
    /// and in the journal before anybody can send it.
    ///
    /// # Errors
    /// [`Stop`]; then nothing is reserved any more.
    pub(crate) fn take(
        &self,
        request: &Request,
        terms: &Terms,
        at: usize,
        now: u64,
        random: [u8; 32],
    ) -> Result<Prepared, Stop> {
        let unreadable = || Refused::new(Rule::Offer, "none of the offers can be read");
        let offer = terms.offers.get(at).ok_or_else(unreadable)?;
        let choice = self.judge(request, terms.version, offer, now)?;
        self.price_rose(request, &choice)??;
        let ticket = self.journal.reserve(&choice.charge, choice.limits).map_err(|error| match error {
            ReserveError::Journal(error) => Stop::Journal(error),
            ReserveError::Frozen => Stop::Refused(frozen()),
            ReserveError::OverBudget(over) => Stop::Refused(over_budget(over, &choice)),
            ReserveError::PayeeChanged { known } => Stop::Refused(payee_changed(offer, &known)),
        })?;
        let parts = match self.wrap(request, terms, offer, &choice, now, random) {
            Ok(parts) => parts,
            Err(refused) => {
                self.journal.cancel(ticket);
                return Err(refused.into());
            }
        };
        self.record(ticket, &parts, now).map_err(|error| match error {
            JournalError::Frozen => Stop::Refused(frozen()),
            error => Stop::Journal(error),
        })?;
        debug!(payment = %parts.payment.id, amount = %parts.charge.amount, "payment signed");
        Ok(Prepared(Arc::new(parts)))
    }

    /// Whether this client would sign `offer` for `request`, its budgets aside.
    pub(crate) fn judge<'a>(
        &'a self,
        request: &Request,
        version: Version,
        offer: &Offer,
        now: u64,
    ) -> Result<Choice<'a>, Refused> {
        if !request.is_private() {
            return refuse(Rule::PlainHttp, "payments are not sent over plain http");
        }
        let origin = request.origin();
        if !self.rules.allow(origin) {
            return refuse(Rule::OriginNotAllowed, format!("{origin} is not an origin that may be paid"));
        }
        if let Some(hours) = self.rules.hours.filter(|hours| !hours.contain(now)) {
            return refuse(Rule::OutsideHours, format!("payments are made {hours} UTC only"));
        }
        let network = &offer.network;
        let Some(rail) = self.rails.iter().find(|rail| rail.network() == network) else {
            return refuse(Rule::NoRail, format!("{network} is not allowed: no wallet pays on it"));
        };
        if version == Version::V1 && !rail.speaks_v1() {
            return refuse(Rule::NoRail, format!("no wallet pays by version 1 of x402 on {network}"));
        }
        // An offer names an asset by the network's own word, never by a currency.
        let known = rail.scale(&offer.asset).zip(rail.asset(&offer.asset));
        let Some((scale, asset)) = known else {
            let why = format!("{} is no known asset on {network}", plain(&offer.asset, SHOWN));
            return refuse(Rule::UnknownAsset, why);
        };
        let currency = plain(&rail.currency(&asset), SHOWN);
        for claim in ["decimals", "scale"] {
            if offer.extra.get(claim).is_some_and(|claim| claim.as_u64() != Some(scale.into())) {
                let why = format!("the offer claims other decimal places for {currency} than {scale}");
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
        let asset = AssetId { network: network.clone(), asset };
        let Some(limits) = self.budgets.get(&asset) else {
            return refuse(
                Rule::NoBudget,
                format!("{currency} on {network} is not allowed: it has no budget"),
            );
        };
        let charge = Charge {
            asset,
            origin: request.origin().clone(),
            amount: offer.amount,
            payee: offer.pay_to.clone(),
            agent: self.agent.clone(),
            task: request.allow.task.clone(),
            at: now,
        };
        let choice = Choice { rail, limits, charge, currency, scale, digest };
        allowed(request, &choice)?;
        Ok(choice)
    }

    /// As [`judge`](Self::judge), and whether the budgets and the known payees would allow it now.
    pub(crate) fn would_pay(
        &self,
        request: &Request,
        version: Version,
        offer: &Offer,
        now: u64,
    ) -> Result<Result<(), Refused>, JournalError> {
        let choice = match self.judge(request, version, offer, now) {
            Ok(choice) => choice,
            Err(refused) => return Ok(Err(refused)),
        };
        if self.journal.is_frozen()? {
            return Ok(Err(frozen()));
        }
        if let Err(refused) = self.price_rose(request, &choice)? {
            return Ok(Err(refused));
        }
        let known = self.journal.payees(request.origin(), &offer.network)?;
        if !known.is_empty() && !known.contains(&offer.pay_to) {
            return Ok(Err(payee_changed(offer, &known)));
        }
        let allowed = self.journal.spending()?.allows(choice.limits, &choice.charge);
        Ok(allowed.map_err(|over| over_budget(over, &choice)))
    }

    /// Whether the price is above the one that was accepted at the same place the last time, and the caller did
    /// not allow one for this request.
    fn price_rose(
        &self,
        request: &Request,
        choice: &Choice<'_>,
    ) -> Result<Result<(), Refused>, JournalError> {
        let allow = &request.allow;
        if self.rules.price_rise == PriceRise::Allow || allow.max_price.is_some() || allow.quoted.is_some() {
            return Ok(Ok(()));
        }
        let place = PricedPlace::of(&choice.charge, request.method().as_str(), request.target());
        Ok(match self.journal.accepted_price(&place)? {
            Some(before) if choice.charge.amount > before => {
                let (asked, before) = (choice.price(), choice.priced(before));
                refuse(Rule::PriceRose, format!("it costs {asked}, and it cost {before} the last time"))
            }
            _ => Ok(()),
        })
    }

    /// Signs, checks what the rail signed, and wraps it for its header.
    fn wrap(
        &self,
        request: &Request,
        terms: &Terms,
        offer: &Offer,
        choice: &Choice<'_>,
        now: u64,
        random: [u8; 32],
    ) -> Result<Parts, Refused> {
        let payment =
            choice.rail.pay(offer, &choice.digest, now, random).map_err(|error| not_signed(&error))?;
        let Rules { validity, capture, .. } = &self.rules;
        if payment.valid_before > now.saturating_add(*validity) {
            return refuse(
                Rule::TooLong,
                format!("the payment would stay valid for more than {validity} seconds"),
            );
        }
        if payment.capture_deadline > now.saturating_add(*capture) {
            let why = format!("the payment could be captured for more than {capture} seconds");
            return refuse(Rule::CaptureTooLate, why);
        }
        if payment.max_amount > offer.amount {
            return refuse(Rule::Offer, "the payment would allow more than the offer asks for");
        }
        let receipt_key = offer.extra.get("receiptKey").and_then(Value::as_str);
        let receipt_key = receipt_key.and_then(|key| key.parse::<PublicKey>().ok());
        let header = match terms.version {
            Version::V1 => header_of_v1(offer, &payment),
            Version::V2 => header_of(terms, offer, &payment, receipt_key.is_some()),
        };
        let header = header.ok_or_else(|| Refused::new(Rule::Offer, "the payment cannot be written"))?;
        if header.len() > self.limits.header_bytes {
            return refuse(Rule::TooLarge, "the payment and the offer do not fit into a header");
        }
        Ok(Parts {
            request: request.clone(),
            rail: choice.rail.clone(),
            payment,
            header: PaymentHeader::of(terms.version, header),
            charge: choice.charge.clone(),
            payee: offer.pay_to.clone(),
            currency: choice.currency.clone(),
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
            header_names: parts.request.headers().keys().map(ToString::to_string).collect(),
            body_hash: sha256(parts.request.body()),
            digest: parts.digest,
            receipt_key: parts.receipt_key,
            signed_at: now,
            state: State::Signed,
            status: None,
            settled: None,
            receipt: None,
            receipt_jws: None,
        };
        // The payment goes no further than this, so what was reserved for it can be given back.
        self.journal.record(ticket, record).inspect_err(|_| self.journal.cancel(ticket))
    }
}

/// Why an offer was not taken.
pub(crate) enum Stop {
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
fn allowed(request: &Request, choice: &Choice<'_>) -> Result<(), Refused> {
    let Choice { rail, charge, scale, .. } = choice;
    let priced = |amount: Amount| format!("{} {}", amount.decimal(*scale), choice.currency);
    if let Some(most) = &request.allow.max_price {
        let is_meant = rail.asset(most.currency()).as_ref() == Some(&charge.asset.asset);
        let bound = is_meant.then(|| most.to_atomic(*scale).ok()).flatten();
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

/// The value of a version 2 header: the offer verbatim, and the server's extensions with the rail's in them.
fn header_of(terms: &Terms, offer: &Offer, payment: &SignedPayment, receipt: bool) -> Option<String> {
    let mut extensions = terms.extensions.clone();
    if let Some(echo) =
        extensions.get(offer_receipt::EXTENSION).and_then(|issued| offer_receipt::echo(issued))
    {
        extensions.insert(offer_receipt::EXTENSION.to_owned(), echo);
    }
    let named = extensions.get(payment_identifier::EXTENSION);
    let named = named.and_then(|issued| payment_identifier::answer(issued, &Identifier::of(&payment.id)));
    if let Some(named) = named {
        extensions.insert(payment_identifier::EXTENSION.to_owned(), named);
    }
    if receipt && !extensions.contains_key(receipt::EXTENSION) {
        extensions.insert(receipt::EXTENSION.to_owned(), RawValue::from_string("{}".to_owned()).ok()?);
    }
    for (name, said) in &payment.extensions {
        let said = match extensions.get(name) {
            Some(issued) => answered(issued, said).unwrap_or_else(|| said.clone()),
            None => said.clone(),
        };
        extensions.insert(name.clone(), said);
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

/// An extension as the server issued it, with what the rail says in its `info`. `None` where it is no object.
fn answered(issued: &RawValue, said: &RawValue) -> Option<Box<RawValue>> {
    let members = |object: &RawValue| serde_json::from_str::<Extensions>(object.get()).ok();
    let (mut whole, said) = (members(issued)?, members(said)?);
    for (name, value) in said {
        let value = match whole.get(&name) {
            None => value,
            Some(info) if name == "info" => {
                let mut info = members(info)?;
                info.extend(members(&value)?);
                to_raw_value(&info).ok()?
            }
            // Its schema is the server's own.
            Some(_) => continue,
        };
        whole.insert(name, value);
    }
    to_raw_value(&whole).ok()
}

/// The value of a version 1 header.
fn header_of_v1(offer: &Offer, payment: &SignedPayment) -> Option<String> {
    let payload = PaymentPayloadV1 {
        x402_version: v1::VERSION,
        scheme: offer.scheme.clone(),
        network: v1::name_of(&offer.network)?.to_owned(),
        payload: payment.payload.clone(),
    };
    header::encode(&payload).ok()
}

fn refuse<T>(rule: Rule, why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::new(rule, why))
}

pub(crate) fn not_signed(error: &OfferError) -> Refused {
    let rule = match error {
        OfferError::UnknownAsset { .. } => Rule::UnknownAsset,
        OfferError::ForeignDigest => Rule::ForeignDigest,
        OfferError::Unavailable(_) => Rule::Network,
        OfferError::Price(_) | OfferError::Field { .. } => Rule::Offer,
    };
    Refused::new(rule, plain(&error.to_string(), SHOWN))
}

fn frozen() -> Refused {
    Refused::new(Rule::Frozen, "all payments are frozen")
}

fn payee_changed(offer: &Offer, known: &[String]) -> Refused {
    let (payee, known) = (plain(&offer.pay_to, SHOWN), plain(&known.join(", "), SHOWN));
    Refused::new(Rule::PayeeChanged, format!("this origin was paid at {known} before, and now names {payee}"))
}

fn over_budget(over: OverBudget, choice: &Choice<'_>) -> Refused {
    let asset = &choice.currency;
    let (asked, left) = (over.asked.decimal(choice.scale), over.left.decimal(choice.scale));
    let why =
        format!("it costs {asked} {asset}, and {} has {left} {asset} left{}", over.limit, over.renewal());
    Refused::new(Rule::OverBudget(over), why)
}
