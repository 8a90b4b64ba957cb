//! A question to the facilitator, and what its answer means: settled, not settled, or unknown.

use std::sync::Arc;

use farthing_protocol::rail::{Authorized, Hold, Outcome, UnknownOutcome};
use farthing_protocol::v2::{FacilitatorRequest, SettlementResponse};
use farthing_protocol::{Amount, reason};

use super::Action;
use super::case::Case;
use super::claiming::{Claiming, Reply};
use super::held::{Captured, Ending, Held, Prepared};
use super::later::Later;
use super::open::malformed;
use super::streaming::{self, Closing};
use crate::answer::{Answer, Refusal, Situation};
use crate::stored;

/// A settlement to be asked for. The same may be asked again while its outcome is unknown.
pub struct Settling<B> {
    pub(super) question: Question,
    pub(super) step: Step<B>,
}

/// What to ask the facilitator.
#[derive(Clone, Debug)]
pub enum Question {
    /// The first settlement of a payment.
    First(Arc<FacilitatorRequest>),
    /// A later one, which is not signed yet: several may be signed for together.
    Later(Arc<Later>),
    /// Any of a payment whose money nobody holds: the [claims](crate::claims) answer it.
    Claim(Arc<Claiming>),
}

/// How a payment stands when it is presented.
#[derive(Debug)]
pub enum Standing {
    /// Nobody else may run the handler.
    Held {
        /// As whose.
        hold: Hold,
        /// The settlement, when the money moved already.
        paid: Option<SettlementResponse>,
    },
    /// Somebody else may be running the handler.
    InProgress,
    /// It was taken, and this answer was stored with it.
    Captured {
        /// What became of the money.
        settlement: SettlementResponse,
        /// `None` when it was not kept.
        answer: Option<Vec<u8>>,
    },
    /// Nothing was taken, and nothing will be.
    Ended,
}

pub(super) enum Step<B> {
    /// The first settlement.
    Authorize(Arc<Case>),
    /// Take what was earned. Without `prepared` the answer has left already.
    Capture { held: Held, amount: Amount, prepared: Option<Prepared<B>> },
    /// Give the money back.
    Void { held: Held, ending: Ending<B> },
    /// End an answer that was paid for while it flowed.
    Close { held: Held, closing: Closing },
}

/// What the desk keeps of a payment whose outcome was unknown.
#[derive(Debug)]
pub enum Kept<B> {
    /// The settlement to repeat.
    Settling(Box<Settling<B>>),
    /// A paid answer that exists nowhere else.
    Answer(Box<Answer<B>>),
}

// Without the question: it holds signatures.
impl<B> std::fmt::Debug for Settling<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.step {
            Step::Authorize(_) => "authorize",
            Step::Capture { .. } => "capture",
            Step::Void { .. } => "void",
            Step::Close { .. } => "close",
        })
    }
}

impl<B> Settling<B> {
    /// The first settlement of a payment that fits.
    pub(super) fn authorize(case: Case, now: u64) -> Action<B> {
        if !case.tender.holds() {
            let case = Arc::new(case);
            let question = Question::Claim(Arc::new(Claiming::first(case.clone())));
            return Action::Settle(Box::new(Self { question, step: Step::Authorize(case) }));
        }
        let owner = case.tender.route.holder();
        match case.tender.rail.authorize(&case.tender.payment, &owner) {
            Ok(payment) => {
                let question = Question::First(Arc::new(case.request(payment)));
                Action::Settle(Box::new(Self { question, step: Step::Authorize(Arc::new(case)) }))
            }
            Err(fault) => Action::Answer(case.tender.refuse(&malformed(fault), now)),
        }
    }

    /// What to ask the facilitator.
    #[must_use]
    pub fn question(&self) -> &Question {
        &self.question
    }

    /// What became of it.
    pub fn outcome(self, reply: impl Into<Reply>, now: u64) -> Action<B> {
        let Self { question, step } = self;
        let outcome = match (reply.into(), &step) {
            (Reply::Standing(standing), Step::Authorize(case)) => return stands(case.clone(), standing, now),
            (Reply::Standing(_), _) => {
                Outcome::Unknown(UnknownOutcome("another question was answered".into()))
            }
            (Reply::Outcome(outcome), _) => outcome,
        };
        match step {
            Step::Authorize(case) => authorized(case, outcome, now),
            Step::Capture { held, amount, prepared } => {
                captured(question, held, amount, prepared, outcome, now)
            }
            Step::Void { held, ending } => voided(question, held, ending, outcome, now),
            Step::Close { held, closing } => streaming::closed(question, held, closing, outcome, now),
        }
    }
}

fn authorized<B>(case: Arc<Case>, outcome: Outcome, now: u64) -> Action<B> {
    let settlement = match outcome {
        Outcome::Settled(settlement) if case.recognises(&settlement) => settlement,
        Outcome::Settled(_) => return pending(&case, "the facilitator speaks of another payment", now),
        Outcome::NotSettled(said) => return refused(&case, &said, now),
        Outcome::Unknown(unknown) => return pending(&case, &unknown.to_string(), now),
    };
    let standing = match case.tender.rail.authorized(&settlement) {
        Ok(Authorized::Held(hold)) => Standing::Held { hold, paid: None },
        Ok(Authorized::InProgress { .. }) => Standing::InProgress,
        Ok(Authorized::Captured { answer }) => Standing::Captured { settlement, answer },
        Ok(Authorized::Ended) => Standing::Ended,
        Err(unknown) => return pending(&case, &unknown.to_string(), now),
    };
    stands(case, standing, now)
}

fn stands<B>(case: Arc<Case>, standing: Standing, now: u64) -> Action<B> {
    let tender = &case.tender;
    match standing {
        Standing::Held { hold, paid: Some(paid) } => {
            Action::Run(Box::new(Held::new(case, hold, Some(Box::new(paid)))))
        }
        Standing::Held { hold, paid: None } => {
            // A repeated authorize by the process that took over is answered as its own hold.
            let takeover = hold.takeover || hold.epoch > 1;
            // What was captured of a metered answer was delivered: it does not begin again.
            let may_repeat =
                tender.route.metered.is_none() && tender.route.is_repeatable(&tender.asked.method);
            let over = now >= tender.presented.capture_deadline;
            if !takeover {
                case.count_hold();
            }
            let held = Held::new(case, hold, None);
            if over {
                let refusal = Refusal::new(Situation::Ended, "the payment's capture deadline has passed");
                return held.void(Ending::Problem(refusal));
            }
            if takeover && !may_repeat {
                let detail = "the server that held this payment went silent, and this request is not one to \
                              run twice; nothing was charged";
                return held.void(Ending::Problem(Refusal::new(Situation::TakenOver, detail)));
            }
            Action::Run(Box::new(held))
        }
        Standing::InProgress => Action::Answer(in_progress(&case, now)),
        Standing::Captured { settlement, answer } => {
            let Some(captured) = Captured::read(&case, settlement, None) else {
                return pending(&case, "the facilitator speaks of another payment", now);
            };
            let answer = answer.and_then(|bytes| match stored::decode(&bytes) {
                Ok(answer) => Some(answer),
                Err(error) => {
                    tracing::error!(%error, "a stored answer cannot be read");
                    None
                }
            });
            Action::Answer(match answer {
                Some(answer) => captured.replay(tender, answer),
                None => captured.not_kept(tender),
            })
        }
        Standing::Ended => {
            let refusal = Refusal::new(Situation::Ended, "the payment was given back; sign a new one");
            Action::Answer(tender.refuse(&refusal, now))
        }
    }
}

fn captured<B>(
    question: Question,
    held: Held,
    amount: Amount,
    prepared: Option<Prepared<B>>,
    outcome: Outcome,
    now: u64,
) -> Action<B> {
    let why = match outcome {
        Outcome::Settled(settlement) => match Captured::read(&held.case, settlement, Some(amount)) {
            Some(captured) => {
                held.case.count_capture(amount);
                return match prepared {
                    Some(prepared) => Action::Answer(captured.release(&held.case.tender, prepared)),
                    // The answer has left, and the ledger has it for whoever presents the payment again.
                    None => Action::Answer(in_progress(&held.case, now)),
                };
            }
            None => "the facilitator speaks of another payment or amount".to_owned(),
        },
        Outcome::NotSettled(said) if reason_of(&said) != reason::SETTLEMENT_PENDING => {
            tracing::warn!(payment = %held.case.tender.presented.id, reason = reason_of(&said), "not captured");
            if matches!(reason_of(&said), reason::STALE_OWNER | reason::PAYMENT_IN_PROGRESS) {
                return Action::Answer(in_progress(&held.case, now));
            }
            // Whatever the reason, the hold must not outlive its handler: presented again, it would run once more.
            let refusal = match held.case.tender.holds() {
                true => Refusal::new(Situation::Ended, "the payment can no longer be captured"),
                false => refusal(&said),
            };
            return held.void(Ending::Problem(refusal));
        }
        Outcome::NotSettled(_) => "the facilitator does not know yet".to_owned(),
        Outcome::Unknown(unknown) => unknown.to_string(),
    };
    tracing::warn!(payment = %held.case.tender.presented.id, %why, "capture not confirmed");
    held.case.count_unknown("capture");
    let answer = held.case.tender.unsure(now);
    let settling = Box::new(Settling { question, step: Step::Capture { held, amount, prepared } });
    Action::AnswerAndSettle { answer, settling, at_once: false }
}

fn voided<B>(question: Question, held: Held, ending: Ending<B>, outcome: Outcome, now: u64) -> Action<B> {
    if held.is_paid() {
        // Whether or not the claim was given free: whoever presents the payment again gets it.
        return Action::Answer(held.owed(ending));
    }
    match outcome {
        Outcome::Settled(settlement) if held.case.recognises(&settlement) => {
            let tender = &held.case.tender;
            // A part may have been captured by the process that this one took over from.
            let part = tender.holds()
                && matches!(tender.rail.authorized(&settlement), Ok(Authorized::Captured { .. }));
            Action::Answer(match Captured::read(&held.case, settlement, None).filter(|_| part) {
                Some(captured) => captured.not_kept(tender),
                None => {
                    held.case.count_void();
                    held.voided(ending, true, now)
                }
            })
        }
        Outcome::NotSettled(said) if reason_of(&said) != reason::SETTLEMENT_PENDING => {
            let over = matches!(reason_of(&said), reason::PAYMENT_VOIDED | reason::CAPTURE_EXPIRED);
            if !over {
                tracing::warn!(payment = %held.case.tender.presented.id, reason = reason_of(&said), "not voided");
            }
            Action::Answer(held.voided(ending, over, now))
        }
        _ => {
            tracing::warn!(payment = %held.case.tender.presented.id, "void not confirmed");
            held.case.count_unknown("void");
            let answer = held.voided(ending, false, now);
            // What the handler answered has left. Whoever presents the payment again is told to sign anew.
            let refusal = Refusal::new(Situation::Ended, "the payment was given back; sign a new one");
            let step = Step::Void { held, ending: Ending::Problem(refusal) };
            Action::AnswerAndSettle {
                answer,
                settling: Box::new(Settling { question, step }),
                at_once: false,
            }
        }
    }
}

/// A refusal of the first settlement.
fn refused<B>(case: &Case, said: &SettlementResponse, now: u64) -> Action<B> {
    let refusal = refusal(said);
    match refusal.situation {
        Situation::Pending => pending(case, &refusal.detail, now),
        _ => Action::Answer(case.tender.refuse(&refusal, now)),
    }
}

fn refusal(said: &SettlementResponse) -> Refusal {
    let message = said.error_message.clone().unwrap_or_else(|| "the payment was refused".to_owned());
    match reason_of(said) {
        reason::SETTLEMENT_PENDING => Refusal::new(Situation::Pending, message),
        reason::PAYMENT_CONFLICT => Refusal::new(Situation::Conflict, message),
        reason::PAYMENT_IN_PROGRESS => Refusal::new(Situation::InProgress, message),
        reason::PAYMENT_VOIDED => Refusal::new(Situation::Ended, message),
        reason::BOUND_TO_OTHER_REQUEST => Refusal::new(Situation::OtherRequest, message),
        reason => Refusal::new(Situation::Refused, message).because(reason),
    }
}

pub(super) fn reason_of(said: &SettlementResponse) -> &str {
    said.error_reason.as_deref().unwrap_or(reason::UNEXPECTED_SETTLE_ERROR)
}

fn pending<B>(case: &Case, why: &str, now: u64) -> Action<B> {
    tracing::warn!(payment = %case.tender.presented.id, why, "authorization not confirmed");
    case.count_unknown("authorize");
    Action::Answer(case.tender.unsure(now))
}

fn in_progress<B>(case: &Case, now: u64) -> Answer<B> {
    let detail = "the request that this payment pays for is still running";
    case.tender.refuse(&Refusal::new(Situation::InProgress, detail), now)
}
