// A rail and a ledger small enough to be read at a glance, whose answers a test can script. What is
// "signed" is plain JSON; the signature is the word "good".

use std::collections::{HashMap, VecDeque};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use farthing_protocol::rail::{
    Ask, Authorized, BoxFuture, Capture, Facilitator, FacilitatorError, Flow, Hold, Offer, OfferError,
    Operation, Outcome, Owner, PaymentFault, PaymentId, Presented, UnknownOutcome,
};
use farthing_protocol::siwx::SignInKind;
use farthing_protocol::v2::{
    FacilitatorRequest, PaymentPayload, PaymentRequirements, SettlementResponse, SupportedResponse,
    VerifyResponse,
};
use farthing_protocol::{Amount, Network, Price, RequestDigest, digest, reason};
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub const NOW: u64 = 1_800_000_000;
pub const ORIGIN: &str = "https://shop.example";

#[derive(Debug)]
pub struct Rail {
    pub scheme: &'static str,
    pub network: Network,
    pub payee: &'static str,
}

impl Rail {
    fn currency(&self) -> &'static str {
        if self.network.as_str() == "test:coins" { "XTS" } else { "USD" }
    }
}

fn malformed(field: &str) -> PaymentFault {
    PaymentFault::Malformed { field: field.into(), why: "is not as it should be".into() }
}

fn member<T: serde::de::DeserializeOwned>(of: &Value, name: &str) -> Result<T, PaymentFault> {
    serde_json::from_value(of[name].clone()).map_err(|_| malformed(&format!("payload.signed.{name}")))
}

fn payload(payment: &PaymentPayload) -> Value {
    serde_json::from_str(payment.payload.get()).unwrap_or_default()
}

fn wrap(payment: &PaymentPayload, payload: &Value) -> PaymentPayload {
    let payload = RawValue::from_string(payload.to_string()).unwrap();
    PaymentPayload { payload: payload.into(), ..payment.clone() }
}

/// What an account signs to sign in.
pub fn sign_in(address: &str, text: &str) -> String {
    format!("{address}:{}", PaymentId(digest::sha256(text.as_bytes())))
}

pub fn payment_id(signed: &Value) -> PaymentId {
    PaymentId(digest::sha256(signed.to_string().as_bytes()))
}

impl Offer for Rail {
    fn network(&self) -> &Network {
        &self.network
    }
    fn scheme(&self) -> &str {
        self.scheme
    }
    fn flow(&self) -> Flow {
        Flow::Escrow
    }
    fn amount(&self, price: &Price) -> Result<Amount, OfferError> {
        if price.currency() != self.currency() {
            let (asset, network) = (price.currency().into(), self.network.to_string());
            return Err(OfferError::UnknownAsset { asset, network });
        }
        Ok(price.to_atomic(6)?)
    }
    fn offer(&self, ask: &Ask<'_>) -> Result<PaymentRequirements, OfferError> {
        let extra = json!({
            "requestDigest": ask.digest.to_string(), "binding": ask.binding.kind(), "until": ask.now + 900,
        });
        let Value::Object(extra) = extra else { unreachable!() };
        Ok(PaymentRequirements {
            scheme: self.scheme.into(),
            network: self.network.clone(),
            amount: self.amount(ask.price)?,
            asset: self.currency().into(),
            pay_to: self.payee.into(),
            max_timeout_seconds: ask.max_timeout_seconds,
            extra,
        })
    }
    fn differs_by_digest_alone(&self) -> bool {
        true
    }
    fn shown(&self, asset: &str, amount: Amount) -> Option<(String, String)> {
        Some((amount.decimal(6), asset.into()))
    }
    fn dynamic_extra(&self) -> &[&str] {
        &["requestDigest", "until"]
    }
    fn read(&self, payment: &PaymentPayload) -> Result<Presented, PaymentFault> {
        let signed = &payload(payment)["signed"];
        let digest: String = member(signed, "digest")?;
        Ok(Presented {
            id: payment_id(signed),
            payer: member(signed, "payer")?,
            digest: Some(RequestDigest::from_str(&digest).map_err(|_| malformed("payload.signed.digest"))?),
            max_amount: member(signed, "amount")?,
            valid_before: member(signed, "validBefore")?,
            capture_deadline: member(signed, "captureDeadline")?,
        })
    }
    fn agrees(
        &self,
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        _now: u64,
    ) -> Result<(), PaymentFault> {
        let signed = &payload(payment)["signed"];
        let refuse =
            |reason: &str| Err(PaymentFault::Refused { reason: reason.into(), message: reason.into() });
        if member::<String>(signed, "payTo")? != offer.pay_to {
            return refuse(reason::PAY_TO_MISMATCH);
        }
        if member::<Amount>(signed, "amount")? != offer.amount {
            return refuse(reason::AMOUNT_MISMATCH);
        }
        Ok(())
    }
    fn authorize(&self, payment: &PaymentPayload, owner: &Owner) -> Result<PaymentPayload, PaymentFault> {
        let mut payload = payload(payment);
        payload["type"] = "authorize".into();
        payload["owner"] = json!(owner.id);
        payload["lease"] = owner.lease_seconds.into();
        Ok(wrap(payment, &payload))
    }
    fn authorized(&self, settlement: &SettlementResponse) -> Result<Authorized, UnknownOutcome> {
        let extra = Value::Object(settlement.extra.clone());
        Ok(match extra["state"].as_str() {
            Some("held") => Authorized::Held(Hold {
                epoch: extra["epoch"].as_u64().unwrap(),
                takeover: extra["takeover"].as_bool().unwrap(),
            }),
            Some("busy") => Authorized::InProgress { lease_until: extra["leaseUntil"].as_u64().unwrap() },
            Some("captured") => {
                Authorized::Captured { answer: serde_json::from_value(extra["answer"].clone()).unwrap() }
            }
            Some("voided") => Authorized::Ended,
            _ => return Err(UnknownOutcome("no state".into())),
        })
    }
    fn operate(
        &self,
        payment: &PaymentPayload,
        presented: &Presented,
        epoch: u64,
        operation: &Operation,
    ) -> Result<PaymentPayload, PaymentFault> {
        let id = presented.id.0;
        let payload = match operation {
            Operation::Capture { amount, answer, last } => {
                json!({
                    "type": "capture", "id": id, "epoch": epoch, "amount": amount, "answer": answer, "last": last,
                })
            }
            Operation::Void => json!({"type": "void", "id": id, "epoch": epoch}),
            Operation::Refund { .. } => return Err(malformed("payload.type")),
        };
        Ok(wrap(payment, &payload))
    }
    fn sign_in(&self) -> Option<SignInKind> {
        Some(SignInKind::Ed25519)
    }
    fn signed_in(&self, address: &str, text: &str, signature: &str) -> Option<String> {
        (signature == sign_in(address, text)).then(|| address.to_owned())
    }
    fn capture_together(&self, captures: &[Capture<'_>]) -> Option<Result<PaymentPayload, PaymentFault>> {
        let each = captures.iter().map(|Capture { presented, epoch, amount, answer, last, .. }| {
            let id = presented.id.0;
            json!({
                "type": "capture", "id": id, "epoch": epoch, "amount": amount, "answer": answer, "last": last,
            })
        });
        let list: Vec<Value> = each.collect();
        Some(Ok(wrap(captures.first()?.payment, &json!({"type": "captures", "list": list}))))
    }
    fn captured_together(&self, payments: &[PaymentId], settlement: SettlementResponse) -> Vec<Outcome> {
        let read = |(result, payment): (SettlementResponse, &PaymentId)| match result.success {
            true => {
                assert_eq!(result.transaction, payment.to_string());
                Outcome::Settled(result)
            }
            false => Outcome::NotSettled(result),
        };
        settlement.results.into_iter().zip(payments).map(read).collect()
    }
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Nothing happens, and nobody knows.
    Lost,
    /// It happens, and nobody knows.
    Silent,
    /// It is refused for this reason.
    Refused(&'static str),
    /// The answer is about something else.
    Foreign,
}

#[derive(Debug)]
struct Payment {
    state: &'static str,
    payer: String,
    max: u128,
    captured: u128,
    deadline: u64,
    owner: Value,
    epoch: u64,
    lease_until: u64,
    answer: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Books {
    payments: HashMap<PaymentId, Payment>,
    nonces: HashMap<(String, String), PaymentId>,
    spent: HashMap<String, u128>,
    faults: VecDeque<(&'static str, Fault)>,
    calls: Vec<String>,
    wishes: usize,
    captures: usize,
    taken: Vec<(u128, bool)>,
}

/// A ledger that is its own facilitator. Every payer begins with a million units.
#[derive(Debug, Default)]
pub struct Ledger {
    books: Mutex<Books>,
    clock: Arc<AtomicU64>,
    /// Held by a test to make calls wait.
    pub gate: tokio::sync::RwLock<()>,
}

const START: u128 = 1_000_000;

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }
    /// Goes by this clock.
    pub fn by(clock: Arc<AtomicU64>) -> Self {
        Self { clock, ..Self::default() }
    }
    /// The next call of this kind goes wrong.
    pub fn fail(&self, kind: &'static str, fault: Fault) {
        self.books().faults.push_back((kind, fault));
    }
    /// Kinds of all calls so far, in their order.
    pub fn calls(&self) -> Vec<String> {
        self.books().calls.clone()
    }
    /// How many captures took money: L.
    pub fn captures(&self) -> usize {
        self.books().captures
    }
    /// All captures that took place: cumulative amount, and whether it was the last.
    pub fn taken(&self) -> Vec<(u128, bool)> {
        self.books().taken.clone()
    }
    /// How many calls asked for a statement.
    pub fn wishes(&self) -> usize {
        self.books().wishes
    }
    pub fn balance(&self, payer: &str) -> u128 {
        START - self.books().spent.get(payer).copied().unwrap_or(0)
    }
    pub fn state(&self, id: &PaymentId) -> &'static str {
        self.books().payments.get(id).map_or("absent", |payment| payment.state)
    }
    /// Another process takes every hold and goes silent, or not.
    pub fn seize(&self, lease_until: u64) {
        for payment in self.books().payments.values_mut() {
            payment.owner = "another".into();
            payment.epoch += 1;
            payment.lease_until = lease_until;
        }
    }

    /// Another process takes one hold.
    pub fn seize_one(&self, id: &PaymentId) {
        self.books().payments.get_mut(id).unwrap().epoch += 1;
    }

    /// What became of one call.
    pub fn apply(&self, request: &FacilitatorRequest) -> Outcome {
        let payload = payload(&request.payment_payload);
        let kind = payload["type"].as_str().unwrap().to_owned();
        let mut books = self.books();
        books.calls.push(kind.clone());
        books.wishes += usize::from(request.payment_payload.extensions.contains_key("farthing-receipt"));
        let network = &request.payment_requirements.network;
        let fault = books.faults.iter().position(|(of, _)| *of == kind);
        let fault = fault.and_then(|at| books.faults.remove(at)).map(|(_, fault)| fault);
        let lost = Outcome::Unknown(UnknownOutcome("the line went dead".into()));
        match fault {
            Some(Fault::Lost) => return lost,
            Some(Fault::Refused(why)) => {
                return Outcome::NotSettled(SettlementResponse::refused(network, why, why));
            }
            _ => {}
        }
        let now = self.clock.load(Ordering::SeqCst);
        let result = match kind.as_str() {
            "authorize" => books.authorize(&payload, now),
            "captures" => {
                let mut one = |payload: &Value| match books.operate("capture", payload, now) {
                    Ok(settled) => SettlementResponse { network: network.to_string(), ..settled },
                    Err(why) => SettlementResponse::refused(network, why, why),
                };
                let results = payload["list"].as_array().unwrap().iter().map(&mut one).collect();
                Ok(SettlementResponse { success: true, results, ..SettlementResponse::default() })
            }
            kind => books.operate(kind, &payload, now),
        };
        let mut settled = match result {
            Ok(settled) => settled,
            Err(why) => return Outcome::NotSettled(SettlementResponse::refused(network, why, why)),
        };
        settled.network = network.to_string();
        match fault {
            Some(Fault::Silent) => lost,
            Some(Fault::Foreign) => {
                Outcome::Settled(SettlementResponse { payer: Some("somebody else".into()), ..settled })
            }
            _ => Outcome::Settled(settled),
        }
    }
}

impl Books {
    fn authorize(&mut self, payload: &Value, now: u64) -> Result<SettlementResponse, &'static str> {
        let signed = &payload["signed"];
        if payload["signature"] != "good" {
            return Err(reason::INVALID_SIGNATURE);
        }
        let id = payment_id(signed);
        let text = |name: &str| signed[name].as_str().unwrap().to_owned();
        let max: u128 = text("amount").parse().unwrap();
        let lease_until = now + payload["lease"].as_u64().unwrap();
        if !self.payments.contains_key(&id) {
            if self.nonces.contains_key(&(text("payer"), text("nonce"))) {
                return Err(reason::PAYMENT_CONFLICT);
            }
            if now > signed["validBefore"].as_u64().unwrap() {
                return Err(reason::PAYMENT_EXPIRED);
            }
            let spent = self.spent.entry(text("payer")).or_default();
            if START - *spent < max {
                return Err(reason::INSUFFICIENT_FUNDS);
            }
            *spent += max;
            self.nonces.insert((text("payer"), text("nonce")), id);
            let payment = Payment {
                state: "held",
                payer: text("payer"),
                max,
                captured: 0,
                deadline: signed["captureDeadline"].as_u64().unwrap(),
                owner: payload["owner"].clone(),
                epoch: 1,
                lease_until,
                answer: None,
            };
            self.payments.insert(id, payment);
        }
        let payment = self.payments.get_mut(&id).unwrap();
        let mine = payment.owner == payload["owner"];
        let mut settled = payment.settled(&id);
        match payment.state {
            "held" if !mine && now < payment.lease_until => {
                settled.extra.insert("state".into(), "busy".into());
                settled.extra.insert("leaseUntil".into(), payment.lease_until.into());
            }
            "held" => {
                payment.epoch += u64::from(!mine);
                payment.owner = payload["owner"].clone();
                payment.lease_until = lease_until;
                settled.extra.insert("epoch".into(), payment.epoch.into());
                settled.extra.insert("takeover".into(), (!mine).into());
            }
            "captured" => {
                settled.extra.insert("answer".into(), json!(payment.answer));
            }
            _ => {}
        }
        Ok(settled)
    }

    fn operate(&mut self, kind: &str, payload: &Value, now: u64) -> Result<SettlementResponse, &'static str> {
        let id = PaymentId(serde_json::from_value(payload["id"].clone()).unwrap());
        let payment = self.payments.get_mut(&id).ok_or(reason::PAYMENT_UNKNOWN)?;
        if payload["epoch"] != payment.epoch {
            return Err(reason::STALE_OWNER);
        }
        let ends = if kind == "void" && payment.captured == 0 { "voided" } else { "captured" };
        if payment.state != "held" {
            return if payment.state == ends {
                Ok(payment.settled(&id))
            } else {
                Err(reason::PAYMENT_VOIDED)
            };
        }
        if kind == "capture" {
            if now > payment.deadline {
                return Err(reason::CAPTURE_EXPIRED);
            }
            let amount: u128 = payload["amount"].as_str().unwrap().parse().unwrap();
            if amount > payment.max {
                return Err(reason::AMOUNT_EXCEEDED);
            }
            if amount < payment.captured {
                return Err(reason::INVALID_TRANSACTION_STATE);
            }
            let last = payload["last"] == true;
            self.taken.push((amount, last));
            payment.captured = amount;
            if !last {
                return Ok(payment.settled(&id));
            }
            payment.answer = serde_json::from_value(payload["answer"].clone()).unwrap();
            self.captures += 1;
        }
        payment.state = ends;
        *self.spent.get_mut(&payment.payer).unwrap() -= payment.max - payment.captured;
        let mut settled = payment.settled(&id);
        settled.extra.insert("statement".into(), json!({"by": "the ledger"}));
        settled.extra.insert("epoch".into(), payment.epoch.into());
        Ok(settled)
    }
}

impl Payment {
    fn settled(&self, id: &PaymentId) -> SettlementResponse {
        let mut settled = SettlementResponse {
            success: true,
            payer: Some(self.payer.clone()),
            transaction: id.to_string(),
            amount: Some(Amount(self.captured)),
            ..SettlementResponse::default()
        };
        settled.extra.insert("state".into(), self.state.into());
        settled
    }
}

impl Facilitator for Ledger {
    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        Box::pin(async { Ok(SupportedResponse::default()) })
    }
    fn verify<'a>(
        &'a self,
        _: &'a FacilitatorRequest,
    ) -> BoxFuture<'a, Result<VerifyResponse, FacilitatorError>> {
        Box::pin(async { Err(FacilitatorError::Unreachable("verify is not a lock".into())) })
    }
    fn settle<'a>(&'a self, request: &'a FacilitatorRequest) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let _open = self.gate.read().await;
            tokio::task::yield_now().await;
            self.apply(request)
        })
    }
    fn payment<'a>(&'a self, id: &'a PaymentId) -> BoxFuture<'a, Result<Option<Value>, FacilitatorError>> {
        Box::pin(async move { Ok(Some(json!({"state": self.state(id)}))) })
    }
}
