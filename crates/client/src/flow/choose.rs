//! The part of the flow that signs: of the offers that this client would pay, the first that the network says can
//! be paid.

use std::sync::Arc;

use farthing_protocol::rail::{BoxFuture, OfferError, Pay};

use super::{Action, Event, done};
use crate::approval::{ApprovalError, ApprovalRequest, Decision};
use crate::error::{ClientError, Refused, Rule};
use crate::policy::{Policy, Stop, not_signed};
use crate::prepared::Prepared;
use crate::request::Request;
use crate::terms::Terms;

/// Offers of one server that networks are asked about.
const LOOK_UPS: u32 = 4;

/// Goes through the offers, one after the other.
pub(super) struct Choosing {
    request: Request,
    terms: Terms,
    /// The offer that is looked at.
    at: usize,
    /// Who is asked about it.
    rail: Option<Arc<dyn Pay>>,
    asked: u32,
    /// What a person is asked about it.
    question: Option<ApprovalRequest>,
    furthest: Option<Refused>,
}

/// What came of a step.
pub(super) enum Chosen {
    /// Nothing is signed, yet or ever.
    Do(Action),
    /// The payment is signed, reserved and in the journal.
    Signed(Prepared),
}

impl Choosing {
    pub(super) fn new(request: Request, terms: Terms) -> Self {
        Self { request, terms, at: 0, rail: None, asked: 0, question: None, furthest: None }
    }

    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    pub(super) fn look_up(&self) -> Option<BoxFuture<'_, Result<(), OfferError>>> {
        Some(self.rail.as_ref()?.look_up(self.terms.offers.get(self.at)?))
    }

    pub(super) fn approval<'a>(
        &'a self,
        policy: &'a Policy,
    ) -> Option<BoxFuture<'a, Result<Decision, ApprovalError>>> {
        Some(policy.decide(self.question.as_ref()?))
    }

    pub(super) fn step(&mut self, policy: &Policy, event: Event, now: u64, random: [u8; 32]) -> Chosen {
        let came = match (event, self.rail.take(), self.question.take()) {
            (Event::Start, None, None) => None,
            (Event::LookedUp(Err(error)), Some(_), None) => Some(Err(not_signed(&error).into())),
            (Event::LookedUp(Ok(())), Some(_), None) => Some(self.ask_or_take(policy, now, random)),
            (Event::Decided(answer), None, Some(question)) => {
                let yes = self.decided(policy, &question, answer, now);
                Some(yes.and_then(|()| self.take(policy, now, random)))
            }
            _ => return Chosen::Do(done(Err(ClientError::OutOfTurn))),
        };
        match came {
            None => {}
            Some(Ok(chosen)) => return chosen,
            Some(Err(Stop::Refused(refused))) => self.refuse(refused),
            Some(Err(Stop::Journal(error))) => return Chosen::Do(done(Err(error.into()))),
        }
        while let Some(offer) = self.terms.offers.get(self.at) {
            match policy.judge(&self.request, self.terms.version, offer, now) {
                Ok(choice) if self.asked < LOOK_UPS => {
                    self.asked += 1;
                    self.rail = Some(choice.rail.clone());
                    return Chosen::Do(Action::LookUp);
                }
                Ok(_) => return Chosen::Do(self.end()),
                Err(refused) => self.refuse(refused),
            }
        }
        Chosen::Do(self.end())
    }

    /// Asks a person first, where the policy says so.
    fn ask_or_take(&mut self, policy: &Policy, now: u64, random: [u8; 32]) -> Result<Chosen, Stop> {
        match policy.asks(&self.request, &self.terms, self.at, now, random)? {
            None => self.take(policy, now, random),
            Some((question, within)) => {
                self.question = Some(question);
                Ok(Chosen::Do(Action::Approve(within)))
            }
        }
    }

    /// A yes is for the offer as it stands when it comes: [`take`](Self::take) judges everything again. Any
    /// other answer is the last word on this request: no other offer is asked about.
    fn decided(
        &mut self,
        policy: &Policy,
        question: &ApprovalRequest,
        answer: Result<Decision, ApprovalError>,
        now: u64,
    ) -> Result<(), Stop> {
        let payee = self.terms.offers.get(self.at).map_or("", |offer| &offer.pay_to);
        policy.decided(question, answer, payee, now).inspect_err(|_| self.at = self.terms.offers.len())
    }

    fn take(&self, policy: &Policy, now: u64, random: [u8; 32]) -> Result<Chosen, Stop> {
        policy.take(&self.request, &self.terms, self.at, now, random).map(Chosen::Signed)
    }

    /// On to the next offer.
    fn refuse(&mut self, refused: Refused) {
        tracing::debug!(offer = self.at, why = %refused.why, "offer refused");
        self.at += 1;
        if self.furthest.as_ref().is_none_or(|other| refused.rule.stage() > other.rule.stage()) {
            self.furthest = Some(refused);
        }
    }

    fn end(&mut self) -> Action {
        let unreadable = || Refused::new(Rule::Offer, "none of the offers can be read");
        let refused = self.furthest.take().unwrap_or_else(unreadable);
        done(Err(ClientError::Refused(Box::new(refused))))
    }
}
