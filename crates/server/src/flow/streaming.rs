//! An answer that is paid for while it flows: its captures on the way, and its end.
//!
//! How much may be delivered and when it is captured is said by the [meter](crate::metering); what the
//! facilitator's word means, and what the payer is told in the end, is said here.

use std::sync::Arc;

use farthing_protocol::rail::{Authorized, Operation, Outcome, PaymentId, UnknownOutcome};
use farthing_protocol::v2::SettlementResponse;
use farthing_protocol::{Amount, reason};
use serde_json::json;

use super::Action;
use super::case::Tender;
use super::claiming::Reply;
use super::held::{Captured, HandlerAnswer, Held, Permit};
use super::settling::{Question, Settling, Step, reason_of};
use crate::answer::{Answer, Content, Refusal, Situation};
use crate::metering::{End, Figures, Gauge, Next, Part, Tap};
use crate::{Sold, headers};

/// Seconds before the capture deadline in which nothing is delivered any more: for the last capture.
const CLOSING: u64 = 10;

/// An answer that flows. It must be [closed](Self::close), whatever becomes of its client.
#[derive(Debug)]
pub struct Streaming {
    held: Held,
    gauge: Arc<Gauge>,
}

/// How a stream is closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    figures: Figures,
    /// What was used is asked for; otherwise the hold is given back.
    takes: bool,
}

impl Held {
    /// Whether this answer is paid for while it flows.
    pub(super) fn flows<B>(&self, answer: &HandlerAnswer<B>) -> bool {
        let (tender, is_long) = (&self.case.tender, matches!(answer.content, Content::Long(_)));
        let Some(metered) = tender.route.metered.as_ref().filter(|_| tender.holds()) else { return false };
        is_long && answer.captured.is_none() && metered.flows(headers::is_event_stream(&answer.headers))
    }

    /// Lets the beginning of an answer out, whose end is not there yet.
    pub(super) fn stream<B>(self, gauge: Arc<Gauge>, answer: HandlerAnswer<B>, now: u64) -> Action<B> {
        let HandlerAnswer { status, mut headers, content, .. } = answer;
        let tender = &self.case.tender;
        let longest = tender.route.metered.as_ref().map_or(0, |metered| metered.longest.as_secs());
        let deadline = tender.presented.capture_deadline.saturating_sub(CLOSING);
        gauge.flow(deadline.min(now.saturating_add(longest)));
        let is_events = headers::is_event_stream(&headers) && !headers::is_encoded(&headers);
        headers::announce_settlement(&mut headers);
        let settlement = tender.settled(None, Amount::ZERO, "authorized");
        let told = tender.told(self.of_stream(settlement));
        let mut answer =
            Answer::of_handler(Permit::of(&self), Situation::Paid, status, headers, content, &told);
        *answer.sold = tender.sold(Situation::Paid, None);
        let tap = Tap::new(gauge.clone(), self.tariff(), is_events);
        Action::Stream { answer, tap, streaming: Box::new(Streaming { held: self, gauge }) }
    }

    /// What is said of every payment for a stream.
    fn of_stream(&self, mut settlement: SettlementResponse) -> SettlementResponse {
        settlement.extra.insert("maxAmount".into(), json!(self.case.max_amount()));
        let tender = &self.case.tender;
        let url = format!("{}/payments/{}", tender.route.seller.payments, tender.presented.id);
        settlement.extra.insert("paymentUrl".into(), url.into());
        settlement
    }
}

impl Streaming {
    /// The payment.
    #[must_use]
    pub fn id(&self) -> PaymentId {
        self.held.case.tender.presented.id
    }

    pub(crate) fn gauge(&self) -> &Arc<Gauge> {
        &self.gauge
    }

    /// What to do now.
    #[must_use]
    pub fn next(&self, now: u64) -> Next {
        self.gauge.next(now)
    }

    /// What to ask the facilitator for a capture on the way, of this much in all.
    #[must_use]
    pub fn part(&self, amount: Amount) -> Question {
        self.held.later(Operation::Capture { amount, answer: None, last: false })
    }

    /// What became of that.
    pub fn parted(&self, amount: Amount, reply: Reply, now: u64) {
        let case = &self.held.case;
        let part = match reply {
            Reply::Outcome(Outcome::Settled(settlement)) => {
                match Captured::read(case, settlement, Some(amount)) {
                    Some(_) => {
                        case.count_capture(amount);
                        Part::Taken
                    }
                    None => Part::Unknown,
                }
            }
            Reply::Outcome(Outcome::NotSettled(said)) if reason_of(&said) != reason::SETTLEMENT_PENDING => {
                tracing::warn!(payment = %self.id(), reason = reason_of(&said), "a stream is not captured, and ends");
                Part::Refused
            }
            Reply::Outcome(Outcome::NotSettled(_) | Outcome::Unknown(_)) | Reply::Standing(_) => {
                tracing::warn!(payment = %self.id(), %amount, "capture not confirmed, and asked for again");
                case.count_unknown("capture");
                Part::Unknown
            }
        };
        self.gauge.part(part, now);
    }

    /// Nothing more is delivered: takes what was used and gives the rest back.
    #[must_use]
    pub fn close<B>(self, figures: Figures) -> Action<B> {
        tracing::debug!(payment = %self.id(), used = %figures.used, ended = figures.end.word(), "stream ended");
        let takes = figures.used > Amount::ZERO && figures.end != End::Refused;
        self.held.close(Closing { figures, takes })
    }
}

impl Held {
    fn close<B>(self, closing: Closing) -> Action<B> {
        let question = self.later(match closing.takes {
            true => Operation::Capture { amount: closing.figures.used, answer: None, last: true },
            false => Operation::Void,
        });
        Action::Settle(Box::new(Settling { question, step: Step::Close { held: self, closing } }))
    }
}

/// What became of the end of a stream. The answer is for whoever presents the payment again; the settlement
/// in its header is the last word to who has read the stream.
pub(super) fn closed<B>(
    question: Question,
    held: Held,
    closing: Closing,
    outcome: Outcome,
    now: u64,
) -> Action<B> {
    let (case, Closing { figures, takes }) = (held.case.clone(), closing);
    let Figures { used, captured, is_unsure, .. } = figures;
    let tender = &case.tender;
    let pending = || tender.unsure(now);
    let is_pending = |said: &SettlementResponse| reason_of(said) == reason::SETTLEMENT_PENDING;
    match outcome {
        Outcome::Settled(settlement) if takes => match Captured::read(&case, settlement, Some(used)) {
            Some(captured) => {
                case.count_capture(used);
                return Action::Answer(captured.streamed(&held, used, figures.end, now));
            }
            None => {
                tracing::warn!(payment = %tender.presented.id, "the facilitator speaks of another capture")
            }
        },
        Outcome::Settled(settlement) if case.recognises(&settlement) => {
            let part = matches!(tender.rail.authorized(&settlement), Ok(Authorized::Captured { .. }));
            let amount =
                settlement.amount.filter(|_| part).unwrap_or(if part { captured } else { Amount::ZERO });
            return Action::Answer(match Captured::read(&case, settlement, None) {
                Some(captured) if part => captured.streamed(&held, amount, figures.end, now),
                _ => {
                    case.count_void();
                    nothing_used(tender, now)
                }
            });
        }
        Outcome::NotSettled(said) if takes && !is_pending(&said) => {
            tracing::warn!(payment = %tender.presented.id, reason = reason_of(&said), "the rest of a stream is not captured");
            let is_elsewhere = matches!(reason_of(&said), reason::STALE_OWNER | reason::PAYMENT_IN_PROGRESS);
            return match is_elsewhere {
                true => Action::Answer(pending()),
                false => held.close(Closing { takes: false, ..closing }),
            };
        }
        Outcome::NotSettled(said) if !is_pending(&said) => {
            // The hold ends by itself; what was captured stands.
            let is_over = matches!(reason_of(&said), reason::PAYMENT_VOIDED | reason::CAPTURE_EXPIRED);
            return Action::Answer(match (captured > Amount::ZERO, is_unsure) {
                (true, false) => told(&held, None, captured, figures.end, now),
                (false, false) if is_over => nothing_used(tender, now),
                _ => pending(),
            });
        }
        Outcome::Settled(_) | Outcome::NotSettled(_) | Outcome::Unknown(UnknownOutcome(_)) => {
            tracing::warn!(payment = %tender.presented.id, "the end of a stream is not confirmed");
            case.count_unknown("close");
        }
    }
    let settling = Box::new(Settling { question, step: Step::Close { held, closing } });
    Action::AnswerAndSettle { answer: pending(), settling, at_once: false }
}

impl Captured {
    fn streamed<B>(self, held: &Held, amount: Amount, end: End, now: u64) -> Answer<B> {
        told(held, Some(self.settlement), amount, end, now)
    }
}

fn told<B>(held: &Held, said: Option<SettlementResponse>, amount: Amount, end: End, now: u64) -> Answer<B> {
    let tender = &held.case.tender;
    let mut settlement = held.of_stream(tender.settled(said, amount, tender.taken()));
    settlement.extra.insert("ended".into(), end.word().into());
    tender.attest(&mut settlement, now);
    let detail = "this payment paid for an answer that was delivered once, as it was written";
    let refusal = Refusal::new(Situation::AnswerNotKept, detail);
    let mut answer = Answer::problem(&refusal, None, Some(&tender.told(settlement)));
    *answer.sold = Sold { replayed: true, ..tender.sold(answer.situation, Some(amount)) };
    answer
}

fn nothing_used<B>(tender: &Tender, now: u64) -> Answer<B> {
    let refusal =
        Refusal::new(Situation::Ended, "nothing was delivered, and nothing charged; sign a new one");
    tender.refuse(&refusal, now)
}
