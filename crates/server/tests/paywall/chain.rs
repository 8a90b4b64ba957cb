//! A network that cannot hold money, as small as `scripted`: its rail, a facilitator that remembers what it
//! settled, and a store of records in memory. All can be told to fail, and to stop for good at a point, as
//! a process that dies there.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use farthing_protocol::rail::{
    Ask, Authorized, BoxFuture, Facilitator, FacilitatorError, Flow, Offer, OfferError, Operation, Outcome,
    Owner, PaymentFault, PaymentId, Presented, UnknownOutcome,
};
use farthing_protocol::records::{Page, Record, Records, RecordsError, Replaced};
use farthing_protocol::v2::{
    FacilitatorRequest, PaymentPayload, PaymentRequired, PaymentRequirements, SettlementResponse,
    SupportedResponse, VerifyResponse,
};
use farthing_protocol::{Amount, Network, Price, Verbatim, reason};
use farthing_server::{Paywall, PaywallBuilder};
use serde_json::{Value, json};

use crate::scripted::{Fault, NOW, ORIGIN, payment_id};
use crate::shopping::{Asking, Counter, Signed, receipt_key};

pub const SEPOLIA: &str = "eip155:84532";
/// Seconds of a lease: the handler's 60 and 15.
pub const LEASE: u64 = 75;

#[derive(Debug)]
pub struct ChainRail {
    pub scheme: &'static str,
    pub network: Network,
    pub old: bool,
}

pub fn chain_rail(scheme: &'static str) -> ChainRail {
    ChainRail { scheme, network: SEPOLIA.parse().unwrap(), old: false }
}

fn signed(payment: &PaymentPayload) -> Value {
    let payload: Value = serde_json::from_str(payment.payload.get()).unwrap_or_default();
    payload["signed"].clone()
}

fn malformed(field: &str) -> PaymentFault {
    PaymentFault::Malformed { field: field.into(), why: "is not as it should be".into() }
}

fn read(payment: &PaymentPayload) -> Option<Presented> {
    let signed = signed(payment);
    let valid_before = signed["validBefore"].as_u64()?;
    Some(Presented {
        id: payment_id(&signed),
        payer: signed["payer"].as_str()?.to_owned(),
        digest: None,
        max_amount: serde_json::from_value(signed["amount"].clone()).ok()?,
        valid_before,
        capture_deadline: valid_before,
    })
}

impl Offer for ChainRail {
    fn network(&self) -> &Network {
        &self.network
    }
    fn scheme(&self) -> &str {
        self.scheme
    }
    fn flow(&self) -> Flow {
        Flow::Authorization
    }
    fn speaks_v1(&self) -> bool {
        self.old
    }
    fn amount(&self, price: &Price) -> Result<Amount, OfferError> {
        Ok(price.to_atomic(6)?)
    }
    fn offer(&self, ask: &Ask<'_>) -> Result<PaymentRequirements, OfferError> {
        let mut extra = json!({"name": "USDC", "version": "2"});
        if !ask.is_safe && self.scheme == "exact" {
            extra["paymentFlow"] = "upfront".into();
        }
        let Value::Object(extra) = extra else { unreachable!() };
        Ok(PaymentRequirements {
            scheme: self.scheme.into(),
            network: self.network.clone(),
            amount: self.amount(ask.price)?,
            asset: "0xusdc".into(),
            pay_to: "0xSeller".into(),
            max_timeout_seconds: ask.max_timeout_seconds,
            extra,
        })
    }
    fn dynamic_extra(&self) -> &[&str] {
        &[]
    }
    fn read(&self, payment: &PaymentPayload) -> Result<Presented, PaymentFault> {
        read(payment).ok_or_else(|| malformed("payload.signed"))
    }
    fn agrees(
        &self,
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        now: u64,
    ) -> Result<(), PaymentFault> {
        let signed = signed(payment);
        let refuse =
            |reason: &str| Err(PaymentFault::Refused { reason: reason.into(), message: reason.into() });
        if signed["payTo"] != offer.pay_to {
            return refuse(reason::PAY_TO_MISMATCH);
        }
        if now > signed["validBefore"].as_u64().unwrap_or(0) {
            return refuse(reason::PAYMENT_EXPIRED);
        }
        Ok(())
    }
    fn authorize(&self, _: &PaymentPayload, _: &Owner) -> Result<PaymentPayload, PaymentFault> {
        panic!("nothing can be held here")
    }
    fn authorized(&self, _: &SettlementResponse) -> Result<Authorized, UnknownOutcome> {
        panic!("nothing can be held here")
    }
    fn operate(
        &self,
        _: &PaymentPayload,
        _: &Presented,
        _: u64,
        _: &Operation,
    ) -> Result<PaymentPayload, PaymentFault> {
        panic!("nothing can be held here")
    }
}

/// Points at which a process can die: whoever comes there stays there.
#[derive(Debug, Default)]
pub struct Points {
    stop_at: Mutex<Option<&'static str>>,
    reached: AtomicBool,
}

impl Points {
    pub fn stop_at(&self, point: &'static str) {
        *self.stop_at.lock().unwrap() = Some(point);
        self.reached.store(false, Ordering::SeqCst);
    }
    pub fn reached(&self) -> bool {
        self.reached.load(Ordering::SeqCst)
    }
    /// The first one to come to the point stops there.
    pub async fn pass(&self, point: &'static str) {
        tokio::task::yield_now().await;
        let stops = {
            let mut stop_at = self.stop_at.lock().unwrap();
            let stops = *stop_at == Some(point);
            stops.then(|| stop_at.take());
            stops
        };
        if stops {
            self.reached.store(true, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
    }
}

#[derive(Debug, Default)]
struct Blocks {
    settled: HashMap<PaymentId, (String, Amount)>,
    spent: HashMap<String, u128>,
    faults: VecDeque<(&'static str, Fault)>,
    calls: Vec<&'static str>,
    amounts: Vec<Amount>,
}

/// The network and its facilitator. Every payer begins with a million units.
#[derive(Debug)]
pub struct Chain {
    blocks: Mutex<Blocks>,
    clock: Arc<AtomicU64>,
    points: Arc<Points>,
    /// Held by a test to make settlements wait.
    pub gate: tokio::sync::RwLock<()>,
}

impl Chain {
    pub fn fail(&self, kind: &'static str, fault: Fault) {
        self.blocks.lock().unwrap().faults.push_back((kind, fault));
    }
    pub fn calls(&self) -> Vec<&'static str> {
        self.blocks.lock().unwrap().calls.clone()
    }
    pub fn count(&self, kind: &str) -> usize {
        self.calls().iter().filter(|call| **call == kind).count()
    }
    /// Amounts in the offers of all settlements that were asked for.
    pub fn amounts(&self) -> Vec<Amount> {
        self.blocks.lock().unwrap().amounts.clone()
    }
    /// Transactions that moved money.
    pub fn transactions(&self) -> usize {
        self.blocks.lock().unwrap().settled.len()
    }
    pub fn transaction(&self, id: &PaymentId) -> String {
        self.blocks.lock().unwrap().settled[id].0.clone()
    }
    pub fn spent(&self) -> u128 {
        self.blocks.lock().unwrap().spent.values().sum()
    }

    fn begin(&self, kind: &'static str) -> Option<Fault> {
        let mut blocks = self.blocks.lock().unwrap();
        blocks.calls.push(kind);
        let at = blocks.faults.iter().position(|(of, _)| *of == kind)?;
        blocks.faults.remove(at).map(|(_, fault)| fault)
    }

    fn look(&self, request: &FacilitatorRequest) -> Result<Presented, &'static str> {
        assert_eq!(request.x402_version, 2);
        let payment = &request.payment_payload;
        let payload: Value = serde_json::from_str(payment.payload.get()).unwrap();
        let presented = read(payment).ok_or(reason::INVALID_PAYLOAD)?;
        if payload["signature"] != "good" {
            return Err(reason::INVALID_SIGNATURE);
        }
        if self.clock.load(Ordering::SeqCst) > presented.valid_before {
            return Err(reason::PAYMENT_EXPIRED);
        }
        if request.payment_requirements.amount > presented.max_amount {
            return Err(reason::AMOUNT_MISMATCH);
        }
        let blocks = self.blocks.lock().unwrap();
        let spent = blocks.spent.get(&presented.payer).copied().unwrap_or(0);
        if 1_000_000 - spent < presented.max_amount.0 {
            return Err(reason::INSUFFICIENT_FUNDS);
        }
        Ok(presented)
    }

    fn land(&self, request: &FacilitatorRequest) -> Result<SettlementResponse, &'static str> {
        let presented = read(&request.payment_payload).ok_or(reason::INVALID_PAYLOAD)?;
        let known = self.blocks.lock().unwrap().settled.get(&presented.id).cloned();
        let (transaction, amount) = match known {
            Some(known) => known,
            None => {
                self.look(request)?;
                let mut blocks = self.blocks.lock().unwrap();
                let amount = request.payment_requirements.amount;
                let transaction = format!("0x{:064x}", blocks.settled.len() + 1);
                blocks.settled.insert(presented.id, (transaction.clone(), amount));
                *blocks.spent.entry(presented.payer.clone()).or_default() += amount.0;
                (transaction, amount)
            }
        };
        Ok(SettlementResponse {
            success: true,
            // Spelled otherwise, as checksummed addresses are.
            payer: Some(presented.payer.to_uppercase()),
            transaction,
            network: request.payment_requirements.network.to_string(),
            amount: Some(amount),
            ..SettlementResponse::default()
        })
    }
}

impl Facilitator for Chain {
    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        Box::pin(async { Ok(SupportedResponse::default()) })
    }
    fn verify<'a>(
        &'a self,
        request: &'a FacilitatorRequest,
    ) -> BoxFuture<'a, Result<VerifyResponse, FacilitatorError>> {
        Box::pin(async move {
            self.points.pass("verify").await;
            let result = match self.begin("verify") {
                Some(Fault::Refused(why)) => Err(why),
                Some(Fault::Foreign) => {
                    let payer = Some("0xmallory".into());
                    return Ok(VerifyResponse { is_valid: true, payer, ..VerifyResponse::default() });
                }
                Some(_) => return Err(FacilitatorError::Unreachable("the line went dead".into())),
                None => self.look(request),
            };
            Ok(match result {
                Ok(presented) => VerifyResponse {
                    is_valid: true,
                    payer: Some(presented.payer),
                    ..VerifyResponse::default()
                },
                Err(why) => VerifyResponse { invalid_reason: Some(why.into()), ..VerifyResponse::default() },
            })
        })
    }
    fn settle<'a>(&'a self, request: &'a FacilitatorRequest) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            self.points.pass("before settle").await;
            let _open = self.gate.read().await;
            self.blocks.lock().unwrap().amounts.push(request.payment_requirements.amount);
            let network = &request.payment_requirements.network;
            let lost = Outcome::Unknown(UnknownOutcome("the line went dead".into()));
            let fault = self.begin("settle");
            let refused = |why: &str| Outcome::NotSettled(SettlementResponse::refused(network, why, why));
            match fault {
                Some(Fault::Lost) => return lost,
                Some(Fault::Refused(why)) => return refused(why),
                _ => {}
            }
            let landed = self.land(request);
            self.points.pass("after settle").await;
            match (landed, fault) {
                (Ok(_), Some(Fault::Silent)) => lost,
                (Ok(settled), Some(Fault::Foreign)) => {
                    Outcome::Settled(SettlementResponse { payer: Some("0xmallory".into()), ..settled })
                }
                (Ok(settled), _) => Outcome::Settled(settled),
                (Err(why), _) => refused(why),
            }
        })
    }
    fn payment<'a>(&'a self, _: &'a PaymentId) -> BoxFuture<'a, Result<Option<Value>, FacilitatorError>> {
        Box::pin(async { Ok(None) })
    }
}

/// Records in memory, which can be away. A `Fault::Lost` write does not happen, a `Fault::Silent` one does; nobody
/// knows.
#[derive(Debug, Default)]
pub struct Memory {
    rows: Mutex<BTreeMap<Vec<u8>, Record>>,
    faults: Mutex<VecDeque<Option<Fault>>>,
    pub is_away: AtomicBool,
}

impl Memory {
    fn there(&self) -> Result<(), RecordsError> {
        match self.is_away.load(Ordering::SeqCst) {
            true => Err(RecordsError::Unavailable("the disk is gone".into())),
            false => Ok(()),
        }
    }
    /// Scripts the next writes: `None` is one that goes well.
    pub fn script(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.faults.lock().unwrap().extend(faults);
    }
    pub fn len(&self) -> usize {
        self.rows.lock().unwrap().len()
    }
    pub fn untils(&self) -> Vec<u64> {
        self.rows.lock().unwrap().values().map(|record| record.until).collect()
    }
    fn swap(&self, key: &[u8], expected: Option<&[u8]>, new: Option<Record>) -> Replaced {
        let mut rows = self.rows.lock().unwrap();
        let found = rows.get(key).cloned();
        if found.as_ref().map(|record| record.value.as_slice()) != expected {
            return Replaced::Found(found);
        }
        match new {
            Some(record) => rows.insert(key.to_vec(), record),
            None => rows.remove(key),
        };
        Replaced::Done
    }
}

impl Records for Memory {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Record>, RecordsError>> {
        Box::pin(async move {
            self.there()?;
            tokio::task::yield_now().await;
            Ok(self.rows.lock().unwrap().get(key).cloned())
        })
    }
    fn replace<'a>(
        &'a self,
        key: &'a [u8],
        expected: Option<&'a [u8]>,
        new: Option<Record>,
    ) -> BoxFuture<'a, Result<Replaced, RecordsError>> {
        Box::pin(async move {
            self.there()?;
            tokio::task::yield_now().await;
            let fault = self.faults.lock().unwrap().pop_front().flatten();
            let unknown = Err(RecordsError::Unknown("the line went dead".into()));
            match fault {
                Some(Fault::Refused(why)) => return Err(RecordsError::Unavailable(why.into())),
                Some(Fault::Lost) => return unknown,
                _ => {}
            }
            let swapped = self.swap(key, expected, new);
            match fault {
                Some(_) => unknown,
                None => Ok(swapped),
            }
        })
    }
    fn scan<'a>(
        &'a self,
        _: &'a [u8],
        _: Option<&'a [u8]>,
        _: usize,
    ) -> BoxFuture<'a, Result<Page, RecordsError>> {
        Box::pin(async { Ok(Page::new()) })
    }
    fn purge(&self, now: u64, _: usize) -> BoxFuture<'_, Result<usize, RecordsError>> {
        Box::pin(async move {
            self.there()?;
            let mut rows = self.rows.lock().unwrap();
            let before = rows.len();
            rows.retain(|_, record| record.until >= now);
            Ok(before - rows.len())
        })
    }
}

/// A network, a store and a clock; sellers' processes come and go.
pub struct Street {
    pub chain: Arc<Chain>,
    pub records: Arc<Memory>,
    pub points: Arc<Points>,
    pub clock: Arc<AtomicU64>,
    pub hits: Counter,
}

impl Street {
    pub fn new() -> Self {
        let (clock, points) = (Arc::new(AtomicU64::new(NOW)), Arc::new(Points::default()));
        let chain = Chain {
            blocks: Mutex::default(),
            clock: clock.clone(),
            points: points.clone(),
            gate: tokio::sync::RwLock::default(),
        };
        let (chain, records) = (Arc::new(chain), Arc::new(Memory::default()));
        Self { chain, records, points, clock, hits: Counter::default() }
    }

    /// Another process of the seller.
    pub fn paywall(&self, rail: ChainRail) -> Paywall {
        self.builder(rail).records(self.records.clone()).build().unwrap()
    }

    pub fn builder(&self, rail: ChainRail) -> PaywallBuilder {
        let time = self.clock.clone();
        Paywall::builder(ORIGIN.parse().unwrap())
            .rail(Arc::new(rail))
            .facilitator(self.chain.clone())
            .receipt_key(receipt_key())
            .clock(move || time.load(Ordering::SeqCst))
    }

    pub fn pass(&self, seconds: u64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Handler runs, settlements that were asked for, and transactions.
    pub fn count(&self) -> (usize, usize, usize) {
        (self.hits.get(), self.chain.count("settle"), self.chain.transactions())
    }
}

static NONCE: AtomicU64 = AtomicU64::new(0);

/// What a payer signs for an offer of the chain.
pub fn authorization(amount: &Value, pay_to: &Value) -> Value {
    let nonce = NONCE.fetch_add(1, Ordering::SeqCst).to_string();
    let signed = json!({"payer": "0xalice", "nonce": nonce, "amount": amount, "payTo": pay_to, "validBefore": NOW + 300});
    json!({"signed": signed, "signature": "good"})
}

/// A payment for the first offer.
pub fn sign(ask: Asking, terms: &PaymentRequired) -> Signed {
    let offer = terms.offers().next().unwrap();
    let accepted: Value = serde_json::from_str(Verbatim::text(&offer)).unwrap();
    let payload = authorization(&accepted["amount"], &accepted["payTo"]);
    Signed { ask, payment: json!({"x402Version": 2, "accepted": accepted, "payload": payload}) }
}

/// Asks what it costs, and signs.
pub async fn pay(ask: Asking, app: &axum::Router) -> Signed {
    let unpaid = ask.send(app).await;
    assert_eq!(unpaid.status, 402, "{}", unpaid.text());
    sign(ask, &unpaid.terms())
}
