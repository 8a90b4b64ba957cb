//! Which payments are asked about, and what an answer does.

use std::time::Duration;

use farthing_protocol::digest::sha256;
use farthing_protocol::rail::BoxFuture;

use super::{ApprovalError, ApprovalRequest, Decision};
use crate::error::{Refused, Rule};
use crate::policy::{Policy, Stop};
use crate::request::Request;
use crate::terms::Terms;
use crate::text::{SHOWN, plain};

/// Characters of a URL that are shown.
const URL_SHOWN: usize = 2_000;

impl Policy {
    /// The question about offer `at`, when a person must agree to it. What would be refused anyway is not asked
    /// about.
    pub(crate) fn asks(
        &self,
        request: &Request,
        terms: &Terms,
        at: usize,
        now: u64,
        random: [u8; 32],
    ) -> Result<Option<(ApprovalRequest, Duration)>, Stop> {
        let (Some(approval), Some(offer)) = (&self.approval, terms.offers.get(at)) else { return Ok(None) };
        let choice = self.judge(request, terms.version, offer, now)?;
        let charge = &choice.charge;
        if approval.above.get(&charge.asset).is_some_and(|above| charge.amount <= *above) {
            return Ok(None);
        }
        let network = &charge.asset.network;
        if self.journal.is_trusted(&charge.origin, network, &offer.pay_to)? {
            return Ok(None);
        }
        self.would_pay(request, terms.version, offer, now)??;
        if approval.approver.is_none() {
            return Err(not_approved(&ApprovalError::Nobody).into());
        }
        let description = terms.resource.description.as_deref();
        let question = ApprovalRequest {
            id: identity(random),
            expires_at: now.saturating_add(approval.timeout.as_secs()),
            origin: charge.origin.clone(),
            method: plain(request.method().as_str(), SHOWN),
            url: plain(request.url(), URL_SHOWN),
            payee: plain(&offer.pay_to, SHOWN),
            network: network.clone(),
            asset: plain(&charge.asset.asset, SHOWN),
            price: choice.price(),
            amount: charge.amount,
            description: description.map(|text| plain(text, SHOWN)),
            agent: charge.agent.clone(),
            task: charge.task.clone(),
        };
        Ok(Some((question, approval.timeout)))
    }

    /// Asks.
    pub(crate) fn decide<'a>(
        &'a self,
        request: &'a ApprovalRequest,
    ) -> BoxFuture<'a, Result<Decision, ApprovalError>> {
        match self.approval.as_ref().and_then(|approval| approval.approver.as_ref()) {
            Some(approver) => approver.decide(request),
            None => Box::pin(std::future::ready(Err(ApprovalError::Nobody))),
        }
    }

    /// Takes an answer: `Ok` is a yes, and goes no further than the offer it was asked about.
    pub(crate) fn decided(
        &self,
        asked: &ApprovalRequest,
        answer: Result<Decision, ApprovalError>,
        payee: &str,
        now: u64,
    ) -> Result<(), Stop> {
        let answer = if now > asked.expires_at { Err(ApprovalError::Late) } else { answer };
        match answer {
            Ok(Decision::Once) => Ok(()),
            Ok(Decision::TrustPayee) => Ok(self.journal.trust(&asked.origin, &asked.network, payee)?),
            Ok(Decision::No) => {
                let why =
                    format!("{} to {} was asked about, and the answer was no", asked.price, asked.origin);
                Err(Refused::new(Rule::ApprovalDenied, why).into())
            }
            Err(error) => Err(not_approved(&error).into()),
        }
    }
}

/// A question's name. The randomness itself may become part of a payment.
fn identity(random: [u8; 32]) -> String {
    let hash = sha256(&[b"farthing approval".as_slice(), &random].concat());
    hash[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn not_approved(error: &ApprovalError) -> Refused {
    let rule = match error {
        ApprovalError::Late => Rule::NotApprovedInTime,
        ApprovalError::Nobody | ApprovalError::Failed(_) => Rule::NoApprover,
    };
    Refused::new(rule, format!("it needs a person's yes, and {}", plain(&error.to_string(), SHOWN)))
}
