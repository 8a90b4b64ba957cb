//! The part of the flow before there is a payment: ask, follow redirects within the origin, read the terms.

use http::header::LOCATION;

use super::{Action, Answer, End, Event, done};
use crate::error::ClientError;
use crate::policy::Policy;
use crate::request::Request;
use crate::terms::{Terms, asks_for_payment};

/// Redirects that are followed for one request.
const HOPS: u32 = 5;

/// Waits for an answer to a request without payment.
pub(super) struct Asking {
    request: Request,
    hops: u32,
}

/// What came of it.
pub(super) enum Asked {
    /// Nothing to pay yet, or ever.
    Do(Action),
    /// These terms, for the request as it is now.
    Terms(Terms),
}

impl Asking {
    pub(super) fn new(request: Request) -> Self {
        Self { request, hops: 0 }
    }

    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    pub(super) fn step(&mut self, policy: &Policy, event: Event) -> Asked {
        let answer = match event {
            Event::Start => return Asked::Do(Action::Send),
            Event::Answered(answer) => answer,
            Event::Lost { why } => return Asked::Do(done(Err(ClientError::Network { why }))),
            Event::Waited | Event::Status(_) | Event::LookedUp(_) | Event::Decided(_) => {
                return Asked::Do(done(Err(ClientError::OutOfTurn)));
            }
        };
        if asks_for_payment(answer.status) {
            return match Terms::read(&answer, &policy.limits, policy.pays_v1()) {
                Ok(terms) => Asked::Terms(terms),
                Err(not_payable) => Asked::Do(done(Err(ClientError::NotPayable(not_payable)))),
            };
        }
        match self.redirect(&answer) {
            Some(next) if self.hops < HOPS => {
                self.hops += 1;
                self.request = next;
                Asked::Do(Action::Send)
            }
            _ => Asked::Do(done(Ok(End::Free))),
        }
    }

    fn redirect(&self, answer: &Answer) -> Option<Request> {
        if !answer.status.is_redirection() {
            return None;
        }
        let location = answer.headers.get(LOCATION)?.to_str().ok()?;
        self.request.redirected(answer.status.as_u16(), location)
    }
}
