//! A hold, and what may come of it: a capture and a paid answer, or a void and a failed one.

use std::sync::Arc;

use bytes::Bytes;
use farthing_protocol::rail::{Hold, Operation};
use farthing_protocol::receipt::{EXTENSION, Receipt};
use farthing_protocol::v2::SettlementResponse;
use farthing_protocol::{Amount, digest, reason};
use http::{HeaderMap, Method, StatusCode};

use super::case::{Case, Tender};
use super::claiming::Claiming;
use super::later::Later;
use super::settling::{Question, Settling, Step};
use super::{Action, Durability, OnDisconnect, PaidBy};
use crate::answer::{Answer, Content, Refusal, Situation};
use crate::claims::ANSWER_BYTES;
use crate::metering::{End, Gauge, Meter, Tariff};
use crate::stored::{self, StoredAnswer};
use crate::{Sold, headers};

/// Permission to let a handler's answer out. Only a hold, a capture and a void give one; nobody else can:
///
/// ```compile_fail,E0423
/// let permit = farthing_server::flow::Permit(());
/// ```
#[derive(Debug)]
pub struct Permit(());

impl Permit {
    /// For the beginning of an answer that is paid for while it flows.
    pub(super) fn of(_held: &Held) -> Self {
        Self(())
    }
}

/// Money is held for this request, and nobody else may run its handler.
#[derive(Debug)]
pub struct Held {
    pub(super) case: Arc<Case>,
    hold: Hold,
    /// The settlement, when the money moved before the handler runs.
    paid: Option<Box<SettlementResponse>>,
    /// On a route that is metered, with the price of a unit.
    gauge: Option<(Arc<Gauge>, Amount)>,
    tariff: Tariff,
}

/// The facilitator's word that the payment was captured.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) settlement: SettlementResponse,
}

/// How a handler ended.
#[derive(Debug)]
pub enum HandlerEnd<B> {
    /// It answered, with an error or not.
    Answered(HandlerAnswer<B>),
    /// It panicked, or its body broke off.
    Broke(String),
    /// It took longer than it may.
    TimedOut,
    /// The client went away: before the handler was started, or on a route that stops then.
    Disconnected,
}

/// What a handler answered.
#[derive(Debug)]
pub struct HandlerAnswer<B> {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub content: Content<B>,
    /// Atomic units to capture instead of all that is held.
    pub captured: Option<Amount>,
    /// Why it will not sell to this payer, if it will not.
    pub refused: Option<String>,
}

impl<B> HandlerAnswer<B> {
    /// Neither an error nor refused.
    fn is_sold(&self) -> bool {
        self.refused.is_none() && self.status.as_u16() < 400
    }
}

/// A paid answer that waits for its permit.
#[derive(Debug)]
pub(super) struct Prepared<B> {
    status: StatusCode,
    headers: HeaderMap,
    content: Content<B>,
    amount: Amount,
    issued_at: u64,
    stored: bool,
}

/// What is said once a void is done.
#[derive(Debug)]
pub(super) enum Ending<B> {
    /// The handler's own error.
    Handler(StatusCode, HeaderMap, Content<B>),
    /// A problem.
    Problem(Refusal),
}

impl Held {
    pub(super) fn new(case: Arc<Case>, hold: Hold, paid: Option<Box<SettlementResponse>>) -> Self {
        let gauge = case.tender.route.metered.as_ref().map(|metered| {
            let (max, rail) = (case.max_amount(), &case.tender.rail);
            // A price that the rail could express at the start. Were it not so, one unit would be all.
            let unit = metered.unit_price().map_or(Ok(Amount(1)), |price| rail.amount(price)).unwrap_or(max);
            (Gauge::new(metered.limits(max, unit)), unit, metered.tariff(unit))
        });
        let tariff = gauge.as_ref().map_or(Tariff::Handler, |(.., tariff)| *tariff);
        let gauge = gauge.map(|(gauge, unit, _)| (gauge, unit));
        Self { case, hold, paid, gauge, tariff }
    }

    /// What the handler counts with, on a route that is metered.
    #[must_use]
    pub fn meter(&self) -> Option<Meter> {
        let tender = &self.case.tender;
        let flows = tender.route.metered.as_ref().filter(|_| tender.holds());
        self.gauge.as_ref().map(|(gauge, unit)| Meter::new(gauge.clone(), *unit, flows))
    }

    pub(super) fn tariff(&self) -> Tariff {
        self.tariff
    }

    /// Who pays, for the handler.
    #[must_use]
    pub fn paid_by(&self) -> PaidBy {
        self.case.tender.paid_by()
    }

    /// Whether the money moved already: then the handler owes its answer to whoever presents the payment.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        self.paid.is_some()
    }

    /// Whether the handler stops when the client goes away.
    #[must_use]
    pub fn stops_on_disconnect(&self) -> bool {
        self.case.tender.route.on_disconnect == OnDisconnect::Cancel
    }

    /// How long the handler may take: never beyond the moment after which it cannot be paid any more.
    #[must_use]
    pub fn handler_deadline(&self, now: u64) -> std::time::Duration {
        let tender = &self.case.tender;
        if self.is_paid() {
            return tender.route.handler_deadline;
        }
        let left = tender.presented.capture_deadline.saturating_sub(now);
        tender.route.handler_deadline.min(std::time::Duration::from_secs(left))
    }

    /// The handler ended, or was never started.
    pub fn ended<B>(mut self, end: HandlerEnd<B>, now: u64) -> Action<B> {
        let gauge = self.gauge.take().map(|(gauge, _)| gauge);
        match (gauge, end) {
            (Some(gauge), HandlerEnd::Answered(answer)) if self.is_unreadable(&answer) => {
                gauge.end(End::Broke);
                self.whole(HandlerEnd::Broke("compressed events cannot be counted".into()), now)
            }
            (Some(gauge), HandlerEnd::Answered(answer)) if answer.is_sold() && self.flows(&answer) => {
                self.stream(gauge, answer, now)
            }
            (Some(gauge), HandlerEnd::Answered(answer)) => {
                let used = self.used(&gauge, &answer);
                gauge.end(End::Complete);
                self.answered(HandlerAnswer { captured: answer.captured.or(Some(used)), ..answer }, now)
            }
            (gauge, end) => {
                gauge.iter().for_each(|gauge| gauge.end(End::Broke));
                self.whole(end, now)
            }
        }
    }

    /// Whether an answer's events are paid for, and cannot be told apart.
    fn is_unreadable<B>(&self, answer: &HandlerAnswer<B>) -> bool {
        let is_events = headers::is_event_stream(&answer.headers) && headers::is_encoded(&answer.headers);
        let is_sold = answer.is_sold() && answer.captured.is_none();
        is_sold && is_events && matches!(self.tariff, Tariff::Event(_))
    }

    /// What an answer used that is not metered while it flows.
    fn used<B>(&self, gauge: &Gauge, answer: &HandlerAnswer<B>) -> Amount {
        let length = match &answer.content {
            Content::Whole(body) => body.len() as u64,
            Content::Long(_) => 0,
        };
        let used = match self.tariff {
            Tariff::Handler => 0,
            Tariff::Event(_) if self.case.tender.asked.method == Method::HEAD => 0,
            // Whatever it is, it is one.
            Tariff::Event(price) => price,
            Tariff::Bytes { bytes, price } => u128::from(length.div_ceil(bytes)).saturating_mul(price),
        };
        Amount(used.saturating_add(gauge.used().0))
    }

    fn whole<B>(self, end: HandlerEnd<B>, now: u64) -> Action<B> {
        let answer = match end {
            HandlerEnd::Answered(answer) => answer,
            HandlerEnd::Broke(why) => {
                tracing::error!(payment = %self.case.tender.presented.id, %why, "handler broke off");
                return self.fail(Situation::HandlerBroke, "the request could not be served");
            }
            HandlerEnd::TimedOut => {
                return self.fail(Situation::HandlerTimeout, "the request took too long to serve");
            }
            HandlerEnd::Disconnected => return self.fail(Situation::Disconnected, "the client went away"),
        };
        self.answered(answer, now)
    }

    fn answered<B>(self, answer: HandlerAnswer<B>, now: u64) -> Action<B> {
        if let Some(why) = answer.refused {
            let situation = if self.is_paid() { Situation::PaidPolicy } else { Situation::Policy };
            return self.void(Ending::Problem(Refusal::new(situation, why)));
        }
        if answer.status.as_u16() >= 400 {
            return self.void(Ending::Handler(answer.status, answer.headers, answer.content));
        }
        let held = self.case.max_amount();
        let amount = answer.captured.unwrap_or(held);
        let is_fixed = self.is_paid() || self.case.offer.scheme == "exact";
        if amount > held || (is_fixed && amount != held) {
            let why = format!("the handler asks for {amount}, which is not allowed where {held} is held");
            return self.whole(HandlerEnd::Broke(why), now);
        }
        self.capture(answer, amount, now)
    }

    /// The handler did not deliver.
    fn fail<B>(self, unpaid: Situation, why: &str) -> Action<B> {
        let refusal = match (&self.paid, unpaid) {
            (None, _) => Refusal::new(unpaid, format!("{why}; nothing was charged")),
            (Some(_), unpaid) => {
                let situation = match unpaid {
                    Situation::HandlerTimeout => Situation::PaidTimeout,
                    Situation::Disconnected => Situation::PaidDisconnected,
                    _ => Situation::PaidBroke,
                };
                Refusal::new(situation, format!("{why}; it is paid for: present the same payment again"))
            }
        };
        self.void(Ending::Problem(refusal))
    }

    fn capture<B>(self, answer: HandlerAnswer<B>, amount: Amount, now: u64) -> Action<B> {
        let HandlerAnswer { status, headers, content, .. } = answer;
        let kept = match &content {
            Content::Whole(body) => Some(stored::encode(status, &headers, body, amount, now)),
            Content::Long(_) => None,
        };
        let limit = self.case.tender.route.seller.limits.answer_bytes;
        let limit = if self.case.tender.holds() { limit } else { limit.min(ANSWER_BYTES) };
        let kept = kept.filter(|bytes| bytes.len() <= limit);
        let mut prepared =
            Prepared { status, headers, content, amount, issued_at: now, stored: kept.is_some() };
        let question = self.later(Operation::Capture { amount, answer: kept, last: true });
        // What nobody holds may never settle: its answer waits.
        let is_safe = self.is_paid() || self.case.tender.holds();
        if is_safe && self.case.tender.route.durability == Durability::Relaxed {
            prepared.stored = true;
            let settlement = match &self.paid {
                Some(paid) => self.case.tender.settled(Some((**paid).clone()), amount, "settled"),
                None => self.case.tender.settled(None, amount, "held"),
            };
            let answer = release(Permit(()), &self.case.tender, prepared, settlement);
            let step = Step::Capture { held: self, amount, prepared: None };
            let settling = Box::new(Settling { question, step });
            return Action::AnswerAndSettle { answer, settling, at_once: true };
        }
        let step = Step::Capture { held: self, amount, prepared: Some(prepared) };
        Action::Settle(Box::new(Settling { question, step }))
    }

    /// Gives the money back, unless it moved already; `ending` is said when that is done.
    pub(super) fn void<B>(self, ending: Ending<B>) -> Action<B> {
        let question = self.later(Operation::Void);
        Action::Settle(Box::new(Settling { question, step: Step::Void { held: self, ending } }))
    }

    pub(super) fn later(&self, operation: Operation) -> Question {
        let (case, epoch) = (self.case.clone(), self.hold.epoch);
        if case.tender.holds() {
            return Question::Later(Arc::new(Later::new(case, epoch, operation)));
        }
        Question::Claim(Arc::new(Claiming::later(case, epoch, operation)))
    }

    /// The answer of a handler that did not deliver what was paid for already.
    pub(super) fn owed<B>(&self, ending: Ending<B>) -> Answer<B> {
        let tender = &self.case.tender;
        let paid = self.paid.as_deref().cloned();
        let mut settlement = tender.settled(paid, self.case.max_amount(), "settled");
        let mut answer = match ending {
            Ending::Handler(status, headers, content) => {
                settlement.extra.insert("retry".into(), farthing_protocol::Retry::Same.to_string().into());
                let told = tender.told(settlement);
                Answer::of_handler(Permit(()), Situation::PaidFailed, status, headers, content, &told)
            }
            Ending::Problem(refusal) => Answer::problem(&refusal, None, Some(&tender.told(settlement))),
        };
        *answer.sold = tender.sold(answer.situation, Some(self.case.max_amount()));
        answer
    }

    /// The answer after a void, or after an attempt of which nobody knows the outcome.
    pub(super) fn voided<B>(&self, ending: Ending<B>, done: bool, now: u64) -> Answer<B> {
        let tender = &self.case.tender;
        let reason = if done { reason::PAYMENT_VOIDED } else { reason::SETTLEMENT_PENDING };
        let mut answer = match ending {
            Ending::Handler(status, headers, content) => {
                let message = if done { "nothing was charged" } else { "the void is not confirmed yet" };
                let told = tender.told(tender.not_settled(reason, message));
                Answer::of_handler(Permit(()), Situation::HandlerFailed, status, headers, content, &told)
            }
            Ending::Problem(refusal) if done => tender.refuse(&refusal, now),
            Ending::Problem(refusal) => {
                let row = refusal.situation.row();
                let retry = row.retry.map(|retry| match retry {
                    farthing_protocol::Retry::New => farthing_protocol::Retry::Same,
                    other => other,
                });
                // Terms would invite a second payment while the first is not proven void.
                let situation = match refusal.situation {
                    Situation::Ended | Situation::TakenOver | Situation::Refused => Situation::Pending,
                    other => other,
                };
                let detail = "nothing was delivered, and the void of the payment is not confirmed yet";
                let refusal = Refusal { situation, retry, detail: detail.into(), ..refusal };
                tender.refuse(&refusal.because(reason), now)
            }
        };
        *answer.sold = tender.sold(answer.situation, None);
        answer
    }
}

impl Captured {
    /// From the facilitator's word; `amount` is what was asked for, when it is known.
    pub(super) fn read(case: &Case, settlement: SettlementResponse, amount: Option<Amount>) -> Option<Self> {
        let same = amount.is_none() || settlement.amount.is_none() || settlement.amount == amount;
        (same && case.recognises(&settlement)).then_some(Self { settlement })
    }

    /// Lets the paid answer out.
    pub(super) fn release<B>(self, tender: &Tender, prepared: Prepared<B>) -> Answer<B> {
        let settlement = tender.settled(Some(self.settlement), prepared.amount, tender.taken());
        release(Permit(()), tender, prepared, settlement)
    }

    /// Gives the stored answer again.
    pub(super) fn replay<B>(self, tender: &Tender, answer: StoredAnswer) -> Answer<B> {
        let StoredAnswer { status, headers, body, amount, issued_at } = answer;
        let content = Content::Whole(body);
        let prepared = Prepared { status, headers, content, amount, issued_at, stored: true };
        let mut answer = self.release(tender, prepared);
        answer.sold.replayed = true;
        answer
    }

    /// Says that it was paid for, and that the answer is gone.
    pub(super) fn not_kept<B>(self, tender: &Tender) -> Answer<B> {
        let amount = self.settlement.amount.unwrap_or(tender.presented.max_amount);
        let settlement = tender.settled(Some(self.settlement), amount, tender.taken());
        let detail = match tender.holds() {
            true if tender.route.metered.is_some() => {
                "this payment paid for an answer that was delivered once, as it was written, and is not kept"
            }
            true => "this payment was captured and its answer delivered once; it was too long to be kept",
            false => {
                "this payment was settled, and its answer is not kept: it was too long, or the server that \
                      was to give it went silent and the request is not one to run twice"
            }
        };
        let refusal = Refusal::new(Situation::AnswerNotKept, detail);
        let mut answer = Answer::problem(&refusal, None, Some(&tender.told(settlement)));
        *answer.sold = Sold { replayed: true, ..tender.sold(answer.situation, Some(amount)) };
        answer
    }
}

fn release<B>(
    permit: Permit,
    tender: &Tender,
    prepared: Prepared<B>,
    mut settlement: SettlementResponse,
) -> Answer<B> {
    let Prepared { status, headers, content, amount, issued_at, stored } = prepared;
    if let (true, Content::Whole(body)) = (tender.wants_receipt(), &content) {
        let receipt = receipt(tender, status, body, amount, issued_at);
        if let Ok(receipt) = serde_json::value::to_raw_value(&receipt) {
            settlement.extensions.insert(EXTENSION.to_owned(), receipt);
        }
    }
    tender.attest(&mut settlement, issued_at);
    let told = tender.told(settlement);
    let mut answer = Answer::of_handler(permit, Situation::Paid, status, headers, content, &told);
    answer.only_copy = !stored;
    *answer.sold = tender.sold(answer.situation, Some(amount));
    tracing::debug!(payment = %tender.presented.id, %amount, status = status.as_u16(), "paid");
    answer
}

fn receipt(
    tender: &Tender,
    status: StatusCode,
    body: &Bytes,
    amount: Amount,
    issued_at: u64,
) -> farthing_protocol::receipt::SignedReceipt {
    // An answer to HEAD is sent without its body.
    let body: &[u8] = if tender.asked.method == Method::HEAD { b"" } else { body };
    let receipt = Receipt {
        payment: tender.presented.id,
        digest: tender.asked.digest,
        status: status.as_u16(),
        body: digest::sha256(body),
        amount,
        issued_at,
    };
    receipt.sign(&tender.route.seller.receipt_key)
}
