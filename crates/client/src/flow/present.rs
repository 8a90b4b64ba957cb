//! The part of the flow after the signature: present the one payment, again while its outcome is unknown,
//! and close it by what the network says.

use std::time::Duration;

use farthing_protocol::header::{self, PAYMENT_REQUIRED};
use farthing_protocol::rail::Confirmation;
use farthing_protocol::v2::PaymentRequired;
use farthing_protocol::{Amount, Retry};
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use tracing::{debug, error, warn};

use super::{Action, Answer, End, Event, done};
use crate::error::{ClientError, PaymentRefused, UnknownPayment};
use crate::journal::{Answered, State};
use crate::policy::Policy;
use crate::prepared::{Prepared, Version};
use crate::report::{Flag, PaymentReport, Settlement, Unsigned};
use crate::request::Request;
use crate::terms::{Said, one_value};
use crate::text::{SHOWN, plain};

/// Waits for what becomes of a payment.
pub(super) struct Presenting {
    prepared: Prepared,
    request: Request,
    tries: u32,
    first: u64,
    replayed: bool,
    /// What the last answer says, to keep with the payment.
    answered: Answered,
    pending: Option<Pending>,
}

/// What the server's side of the story is, while the network is asked for its own.
enum Pending {
    Answer(Box<PaymentReport>, State),
    Refused(PaymentRefused),
    Unknown(String),
}

/// What one answer means.
enum Verdict {
    /// It is the answer. The network is asked too unless its word came along.
    Answer(Box<PaymentReport>, State),
    /// It is the answer, and is paid for while it comes.
    Flows(Box<PaymentReport>),
    /// Final.
    Refused(PaymentRefused),
    /// Nobody knows: the same payment again, not before this many seconds.
    Again(String, u64),
}

impl Presenting {
    pub(super) fn new(prepared: Prepared, request: Request) -> Self {
        let answered = Answered::default();
        Self { prepared, request, tries: 0, first: 0, replayed: false, answered, pending: None }
    }

    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    pub(super) fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    pub(super) fn step(&mut self, policy: &Policy, event: Event, now: u64) -> Action {
        match event {
            Event::Start => {
                self.first = now;
                self.send(policy)
            }
            Event::Waited => self.send(policy),
            Event::Lost { why } => self.again(policy, why, 0, now),
            Event::Answered(answer) => match self.read(policy, &answer) {
                Verdict::Again(why, after) => self.again(policy, why, after, now),
                Verdict::Refused(refused) if proves(&refused.confirmation) => {
                    let confirmation = refused.confirmation.clone();
                    self.close(policy, Pending::Refused(refused), confirmation)
                }
                Verdict::Refused(refused) => self.ask(Pending::Refused(refused)),
                Verdict::Answer(report, state) if proves(&report.confirmation) || state.is_settled() => {
                    self.answer(policy, report, state)
                }
                Verdict::Answer(report, state) => self.ask(Pending::Answer(report, state)),
                Verdict::Flows(report) => {
                    self.note(policy, State::Sent);
                    done(Ok(End::Paid(report)))
                }
            },
            Event::Status(confirmation) => match self.pending.take() {
                None => done(Err(ClientError::OutOfTurn)),
                Some(pending) => self.close(policy, pending, confirmation),
            },
            Event::LookedUp(_) | Event::Decided(_) => done(Err(ClientError::OutOfTurn)),
        }
    }

    /// Whether an answer with these headers says that its payment goes on while it comes.
    pub(super) fn is_paid_as_it_comes(&self, policy: &Policy, headers: &HeaderMap) -> bool {
        let settlement = Settlement::read(&self.prepared, headers, &policy.limits);
        matches!(settlement, Settlement::Authorized)
    }

    fn send(&mut self, policy: &Policy) -> Action {
        // On disk before on the wire: a crash from here on finds a payment that may have been sent.
        match policy.journal.advance(&self.prepared.id(), State::Sent) {
            Err(error) => return done(Err(error.into())),
            Ok(before) if self.tries == 0 => self.replayed = before.is_some_and(State::is_settled),
            Ok(_) => {}
        }
        self.tries += 1;
        debug!(payment = %self.prepared.id(), tries = self.tries, "payment sent");
        Action::SendPaid { header: self.prepared.header().clone() }
    }

    fn again(&mut self, policy: &Policy, why: String, after: u64, now: u64) -> Action {
        let patience = &policy.patience;
        debug!(payment = %self.prepared.id(), %why, "outcome unknown");
        self.note(policy, State::Unknown);
        let pause = patience.pause.saturating_mul(1 << (self.tries.saturating_sub(1)).min(16));
        let pause = pause.max(Duration::from_secs(after));
        let late = now.saturating_sub(self.first).saturating_add(pause.as_secs()) > patience.window;
        if self.tries >= patience.tries || late {
            return self.ask(Pending::Unknown(why));
        }
        Action::Wait(pause)
    }

    fn ask(&mut self, pending: Pending) -> Action {
        self.pending = Some(pending);
        Action::AskStatus
    }

    /// Ends with what the server said and what the network says.
    fn close(&self, policy: &Policy, pending: Pending, confirmation: Confirmation) -> Action {
        let confirmation = self.plausible(confirmation);
        match pending {
            Pending::Answer(mut report, state) => {
                report.hear(confirmation);
                self.answer(policy, report, state)
            }
            Pending::Refused(mut refused) => {
                self.settle(policy, &confirmation, State::Unknown);
                refused.confirmation = confirmation;
                done(Err(ClientError::PaymentRefused(Box::new(refused))))
            }
            Pending::Unknown(last) => {
                self.settle(policy, &confirmation, State::Unknown);
                let (prepared, tries) = (self.prepared.clone(), self.tries);
                let unknown = UnknownPayment { prepared, tries, last, confirmation };
                done(Err(ClientError::Unknown(Box::new(unknown))))
            }
        }
    }

    fn answer(&self, policy: &Policy, report: Box<PaymentReport>, state: State) -> Action {
        self.settle(policy, &report.confirmation, state);
        done(Ok(End::Paid(report)))
    }

    /// Writes down how the payment ended: by the network's word, or else by the server's.
    fn settle(&self, policy: &Policy, confirmation: &Confirmation, said: State) {
        self.note(policy, news(confirmation, said));
    }

    fn note(&self, policy: &Policy, news: State) {
        // Only ever forgets to give money back; `reconcile` asks the network again.
        if let Err(error) = policy.journal.answered(&self.prepared.id(), news, self.answered.clone()) {
            error!(payment = %self.prepared.id(), %error, "the journal does not know how this payment ended");
        }
    }

    fn plausible(&self, confirmation: Confirmation) -> Confirmation {
        plausible(confirmation, self.prepared.max_amount())
    }

    fn read(&mut self, policy: &Policy, answer: &Answer) -> Verdict {
        let settlement = Settlement::read(&self.prepared, &answer.headers, &policy.limits);
        self.answered = Answered { status: Some(answer.status.as_u16()), ..Answered::default() };
        let mut report = self.report();
        match settlement {
            Settlement::Pending => {
                return Verdict::Again("the settlement is pending".into(), retry_after(&answer.headers));
            }
            Settlement::Settled { amount, response } => {
                let said = report.settled(&self.prepared, answer, (amount, &response), &policy.limits);
                self.answered = Answered { status: self.answered.status, ..said };
                let state = if contradicted(&report.confirmation) { State::Unknown } else { State::Settled };
                return Verdict::Answer(report, state);
            }
            Settlement::Failed { reason, response } => {
                let confirmation = self.prepared.0.rail.confirm(&self.prepared.0.payment, &response);
                let confirmation = self.plausible(confirmation);
                if refuses(answer, policy) {
                    let said = Said::read(&answer.body, &policy.limits);
                    if said.retry == Some(Retry::Same) && !proves(&confirmation) {
                        let why = reason.or(said.code).unwrap_or_default();
                        return Verdict::Again(why, retry_after(&answer.headers));
                    }
                    return self.refused(policy, answer, reason, confirmation);
                }
                report.flags.push(Flag::NotSettled(reason.unwrap_or_default()));
                report.confirmation = confirmation;
                if report.confirmation == Confirmation::NotTaken {
                    report.amount = Amount::ZERO;
                }
                return Verdict::Answer(report, State::Voided);
            }
            Settlement::Authorized => {
                report.open = true;
                report.unsigned = self.prepared.is_metered(&policy.limits).then_some(Unsigned::Metered);
                report.confirmation = Confirmation::Open;
                return Verdict::Flows(report);
            }
            Settlement::Missing if refuses(answer, policy) => {
                let said = Said::read(&answer.body, &policy.limits);
                if said.retry == Some(Retry::Same) {
                    let why = said.code.unwrap_or_default();
                    return Verdict::Again(why, retry_after(&answer.headers));
                }
                return self.refused(policy, answer, None, Confirmation::Unproven);
            }
            Settlement::Missing => report.flags.push(Flag::SettlementMissing),
            Settlement::Invalid(why) => report.flags.push(Flag::SettlementInvalid(why)),
        }
        if passes(answer.status) {
            let why = format!("the server answered {}", answer.status.as_u16());
            return Verdict::Again(why, retry_after(&answer.headers));
        }
        if answer.status == StatusCode::PAYMENT_REQUIRED {
            return self.refused(policy, answer, None, Confirmation::Unproven);
        }
        if answer.status.is_success() {
            report.lacks_receipt(&self.prepared, answer);
        }
        warn!(payment = %self.prepared.id(), "the answer does not say what became of its payment");
        Verdict::Answer(report, State::Unknown)
    }

    fn refused(
        &self,
        policy: &Policy,
        answer: &Answer,
        reason: Option<String>,
        confirmation: Confirmation,
    ) -> Verdict {
        let said = Said::read(&answer.body, &policy.limits);
        let error = match self.prepared.header().version() {
            Version::V1 => header::read_payment_required_v1(&answer.body, &policy.limits)
                .ok()
                .and_then(|terms| terms.error),
            Version::V2 => terms_again(answer, policy).and_then(|terms| terms.error),
        };
        let error = error.map(|error| plain(&error, SHOWN));
        let reason = reason.or(error).or_else(|| said.code.clone());
        let payment = self.prepared.id();
        Verdict::Refused(PaymentRefused { payment, status: answer.status, reason, said, confirmation })
    }

    fn report(&self) -> Box<PaymentReport> {
        let prepared = &self.prepared;
        Box::new(PaymentReport {
            id: prepared.id(),
            amount: prepared.max_amount(),
            max_amount: prepared.max_amount(),
            asset: prepared.asset().to_owned(),
            currency: prepared.0.currency.clone(),
            network: prepared.network().clone(),
            scale: prepared.0.scale,
            payee: prepared.payee().to_owned(),
            price: prepared.price(),
            confirmation: Confirmation::Unproven,
            receipt: None,
            signed_receipt: None,
            receipt_jws: None,
            replayed: self.replayed,
            open: false,
            ended: None,
            unsigned: None,
            flags: Vec::new(),
        })
    }
}

/// The network's word wins over the server's.
pub(crate) fn news(confirmation: &Confirmation, said: State) -> State {
    match confirmation {
        Confirmation::Taken(amount) => State::Confirmed(*amount),
        Confirmation::NotTaken => State::Released,
        Confirmation::Open | Confirmation::Unproven => said,
        Confirmation::Contradicted(_) => State::Unknown,
    }
}

/// A rail that says more was taken than was signed for is not believed.
pub(crate) fn plausible(confirmation: Confirmation, max: Amount) -> Confirmation {
    match confirmation {
        Confirmation::Taken(amount) if amount > max => {
            Confirmation::Contradicted("more is said to be taken than was signed for".into())
        }
        Confirmation::Contradicted(why) => Confirmation::Contradicted(plain(&why, SHOWN)),
        other => other,
    }
}

/// Whether the network has said how the payment ended.
pub(crate) fn proves(confirmation: &Confirmation) -> bool {
    matches!(confirmation, Confirmation::Taken(_) | Confirmation::NotTaken)
}

pub(crate) fn contradicted(confirmation: &Confirmation) -> bool {
    matches!(confirmation, Confirmation::Contradicted(_))
}

/// Whether the answer is about the payment, and not an answer that was paid for.
fn refuses(answer: &Answer, policy: &Policy) -> bool {
    match answer.status.as_u16() {
        402 => true,
        // As the reference's servers say that the payer must approve something first.
        412 if terms_again(answer, policy).is_some() => true,
        400..=499 => Said::read(&answer.body, &policy.limits).is_problem(),
        _ => false,
    }
}

/// The terms that a refusal of version 2 repeats, with its reason.
fn terms_again(answer: &Answer, policy: &Policy) -> Option<PaymentRequired> {
    let value = one_value(&answer.headers, PAYMENT_REQUIRED).ok().flatten()?;
    header::decode_payment_required(value, &policy.limits).ok()
}

/// Whether this status, without a settlement, is one of a moment that passes.
fn passes(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}

/// Seconds, when the server names them; a date is not obeyed.
fn retry_after(headers: &HeaderMap) -> u64 {
    let value = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}
