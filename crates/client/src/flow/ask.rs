//! The part of the flow before there is a payment: ask, follow redirects within the origin, read the terms. What
//! was paid for before is used first: by a token, or else by a proof of the key.

use http::StatusCode;
use http::header::LOCATION;

use super::{Action, Answer, End, Event, done};
use crate::error::ClientError;
use crate::policy::Policy;
use crate::request::Request;
use crate::sign_in;
use crate::terms::{Terms, asks_for_payment};

/// Redirects that are followed for one request.
const HOPS: u32 = 5;

/// Waits for an answer to a request without payment.
pub(super) struct Asking {
    request: Request,
    /// The same with a token or a proof, when that is what was sent last.
    signed_in: Option<Request>,
    /// Whether the key may be proven; it is once.
    proves: bool,
    /// The terms that came before the proof.
    terms: Option<Terms>,
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
    /// `proves`: what was paid for before may be used. Otherwise only the terms are wanted.
    pub(super) fn new(request: Request, proves: bool) -> Self {
        Self { request, signed_in: None, proves, terms: None, hops: 0 }
    }

    /// The request, as its caller made it.
    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    /// The request to send.
    pub(super) fn sent(&self) -> &Request {
        self.signed_in.as_ref().unwrap_or(&self.request)
    }

    pub(super) fn step(&mut self, policy: &Policy, event: Event) -> Asked {
        let answer = match event {
            Event::Start => return self.send(policy),
            Event::Answered(answer) => answer,
            Event::Lost { why } => return Asked::Do(done(Err(ClientError::Network { why }))),
            Event::Waited | Event::Status(_) | Event::LookedUp(_) | Event::Decided(_) => {
                return Asked::Do(done(Err(ClientError::OutOfTurn)));
            }
        };
        let signed_in = self.signed_in.take();
        if asks_for_payment(answer.status) {
            signed_in.iter().for_each(|sent| policy.sessions.forget(sent));
            return match Terms::read(&answer, &policy.limits, policy.pays_v1()) {
                Ok(terms) => self.prove(policy, terms),
                Err(not_payable) => Asked::Do(done(Err(ClientError::NotPayable(not_payable)))),
            };
        }
        if let Some(sent) = &signed_in {
            match self.terms.take() {
                // Whoever does not understand a proof is paid as if it did not ask for one.
                Some(terms) if is_not_understood(answer.status) => return Asked::Terms(terms),
                _ if answer.status.is_success() => policy.sessions.keep(sent, &answer.headers),
                _ => {}
            }
        }
        match self.redirect(&answer) {
            Some(next) if self.hops < HOPS => {
                self.hops += 1;
                self.request = next;
                self.send(policy)
            }
            _ => Asked::Do(done(Ok(End::Free))),
        }
    }

    /// With the token that was given for it, if there is one.
    fn send(&mut self, policy: &Policy) -> Asked {
        self.signed_in = if self.proves { policy.sessions.with_token(&self.request) } else { None };
        Asked::Do(Action::Send)
    }

    /// Asks once more with a proof, where the terms ask for one; otherwise these are the terms.
    fn prove(&mut self, policy: &Policy, terms: Terms) -> Asked {
        let proven = if self.proves { sign_in::proven(policy, &self.request, &terms) } else { None };
        if proven.is_none() {
            return Asked::Terms(terms);
        }
        (self.signed_in, self.terms, self.proves) = (proven, Some(terms), false);
        Asked::Do(Action::Send)
    }

    fn redirect(&self, answer: &Answer) -> Option<Request> {
        if !answer.status.is_redirection() {
            return None;
        }
        let location = answer.headers.get(LOCATION)?.to_str().ok()?;
        self.request.redirected(answer.status.as_u16(), location)
    }
}

/// Whether a server says that it cannot read what it was sent, or does not know whom it is from.
fn is_not_understood(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    )
}
