//! The part of the flow that signs: of the offers that this client would pay, the first that the network says can
//! be paid.

use std::sync::Arc;

use farthing_protocol::rail::{BoxFuture, OfferError, Pay};

use super::{Action, Event, done};
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
        Self { request, terms, at: 0, rail: None, asked: 0, furthest: None }
    }

    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    pub(super) fn look_up(&self) -> Option<BoxFuture<'_, Result<(), OfferError>>> {
        Some(self.rail.as_ref()?.look_up(self.terms.offers.get(self.at)?))
    }

    pub(super) fn step(&mut self, policy: &Policy, event: Event, now: u64, random: [u8; 32]) -> Chosen {
        match (event, self.rail.take()) {
            (Event::Start, None) => {}
            (Event::LookedUp(Err(error)), Some(_)) => self.refuse(not_signed(&error)),
            (Event::LookedUp(Ok(())), Some(_)) => {
                match policy.take(&self.request, &self.terms, self.at, now, random) {
                    Ok(prepared) => return Chosen::Signed(prepared),
                    Err(Stop::Refused(refused)) => self.refuse(refused),
                    Err(Stop::Journal(error)) => return Chosen::Do(done(Err(error.into()))),
                }
            }
            _ => return Chosen::Do(done(Err(ClientError::OutOfTurn))),
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
