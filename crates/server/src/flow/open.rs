//! The beginning: from headers and body to a payment that fits this request and this route.

use std::sync::Arc;

use farthing_protocol::digest::{BodyHash, request_digest};
use farthing_protocol::rail::{Offer, PaymentFault, PaymentId, Presented};
use farthing_protocol::v2::{PaymentPayload, PaymentRequirements};
use farthing_protocol::{Binding, WireError, digest, header};
use http::{HeaderMap, HeaderValue, Method};

use super::case::{Case, Claim, refuse};
use super::{Action, Asked, Kept, Route, Settling};
use crate::answer::{Answer, Refusal, Situation};
use crate::desk::Entry;

/// A request whose headers were read, and whose body was not.
#[derive(Debug)]
pub struct Opened {
    route: Arc<Route>,
    method: Method,
    target: String,
    brought: Brought,
}

/// What a request brought to pay with.
enum Brought {
    Nothing,
    /// A payment for a scheme and network that are not offered here.
    Foreign,
    Payment(Box<(Arc<dyn Offer>, PaymentPayload, Presented)>),
}

impl std::fmt::Debug for Brought {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Foreign => f.write_str("Foreign"),
            Self::Payment(payment) => f.debug_tuple("Payment").field(&payment.2.id).finish(),
        }
    }
}

/// Why a body could not be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// Longer than the limit.
    TooLarge,
    /// Not there in time.
    Timeout,
    /// It broke off.
    Unreadable,
}

impl Route {
    /// Reads the payment headers of a request; its body must not have been touched yet. `target` is path
    /// and query as received.
    ///
    /// # Errors
    /// The answer, when the headers alone are enough to refuse the request.
    pub fn open<B>(
        self: &Arc<Self>,
        method: &Method,
        target: &str,
        headers: &HeaderMap,
    ) -> Result<Opened, Box<Answer<B>>> {
        let brought = self.read(headers);
        let brought = brought.map_err(|refusal| Box::new(Answer::problem(&refusal, None, None)))?;
        Ok(Opened { route: self.clone(), method: method.clone(), target: target.to_owned(), brought })
    }

    fn read(&self, headers: &HeaderMap) -> Result<Brought, Refusal> {
        let of = |name| headers.get_all(name).iter();
        let mut values = of(header::PAYMENT_SIGNATURE).chain(of(header::X_PAYMENT));
        let Some(value) = values.next() else { return Ok(Brought::Nothing) };
        if values.next().is_some() {
            let detail = "exactly one of the headers PAYMENT-SIGNATURE and X-PAYMENT may be sent, once";
            return Err(Refusal::new(Situation::SeveralPayments, detail).field(header::PAYMENT_SIGNATURE));
        }
        if headers.contains_key(header::X_PAYMENT) {
            let detail = "this server takes payments of x402 version 2 only, in the header PAYMENT-SIGNATURE";
            return Err(Refusal::new(Situation::UnsupportedVersion, detail).field(header::X_PAYMENT));
        }
        let payment = self.decode(value)?;
        let accepted = (&payment.accepted.scheme, &payment.accepted.network);
        let fits =
            |rail: &&Arc<dyn Offer>| (rail.scheme(), rail.network()) == (accepted.0.as_str(), accepted.1);
        let Some(rail) = self.seller.rails.iter().find(fits) else { return Ok(Brought::Foreign) };
        let presented = rail.read(&payment).map_err(malformed)?;
        Ok(Brought::Payment(Box::new((rail.clone(), payment, presented))))
    }

    fn decode(&self, value: &HeaderValue) -> Result<PaymentPayload, Refusal> {
        header::decode_payment(value.as_bytes(), &self.seller.limits).map_err(|error| {
            let situation = match error {
                WireError::TooLarge { .. } => Situation::PaymentTooLarge,
                WireError::Combined => Situation::SeveralPayments,
                _ => Situation::Malformed,
            };
            let field = error.field().unwrap_or(header::PAYMENT_SIGNATURE).to_owned();
            Refusal::new(situation, format!("header PAYMENT-SIGNATURE: {error}")).field(field)
        })
    }
}

/// A payment that a rail cannot read.
pub(super) fn malformed(fault: PaymentFault) -> Refusal {
    match fault {
        PaymentFault::Malformed { ref field, .. } => {
            Refusal::new(Situation::Malformed, fault.to_string()).field(field.clone())
        }
        PaymentFault::Refused { reason, message } => {
            Refusal::new(Situation::Refused, message).because(reason)
        }
    }
}

impl Opened {
    /// Whether the body must be read and hashed; otherwise it is [`BodyHash::Unbound`].
    #[must_use]
    pub fn binds_body(&self) -> bool {
        self.route.binding == Binding::Body
    }

    /// The body cannot be bound.
    pub fn body_failed<B>(self, fault: BodyFault) -> Action<B> {
        let limit = self.route.seller.limits.bound_body_bytes;
        let refusal = match fault {
            BodyFault::TooLarge => {
                let detail = format!("the body has more than the {limit} bytes that are read here");
                Refusal::new(Situation::BodyTooLarge, detail)
            }
            BodyFault::Timeout => Refusal::new(Situation::BodyTimeout, "the body did not arrive in time"),
            BodyFault::Unreadable => Refusal::new(Situation::BodyUnreadable, "the body broke off"),
        };
        Action::Answer(Answer::problem(&refusal.field("body"), None, None))
    }

    /// The body is read, or need not be.
    pub fn bound<B>(self, body: BodyHash, now: u64) -> Action<B> {
        let Self { route, method, target, brought } = self;
        let digest = request_digest(method.as_str(), &route.seller.origin, &target, body);
        let asked = Asked { method, target, digest };
        let (rail, payment, presented) = match brought {
            Brought::Nothing => {
                let refusal = Refusal::new(Situation::Unpaid, "this resource is paid for per request");
                return Action::Answer(refuse(&route, &asked, &refusal, None, now));
            }
            Brought::Foreign => {
                let detail = "`accepted` names a scheme and network that are not offered here";
                let refusal = Refusal::new(Situation::NoMatch, detail).field("accepted.network");
                return Action::Answer(refuse(&route, &asked, &refusal, None, now));
            }
            Brought::Payment(payment) => *payment,
        };
        let claim = Claim { route, asked, rail, payment, presented };
        // Before anything else, and before `accepted` is compared: whoever presents a payment for another
        // request learns that, and is not told to pay anew for this one.
        if claim.presented.digest.is_some_and(|digest| digest != claim.asked.digest) {
            let detail = "the payment is signed for another method, URL or body than this request has";
            return Action::Answer(claim.refuse(&Refusal::new(Situation::OtherRequest, detail), now));
        }
        Action::Enter(Box::new(Entering { claim }))
    }
}

/// A payment for this request, about to be looked up among those in flight.
#[derive(Debug)]
pub struct Entering {
    claim: Claim,
}

impl Entering {
    /// The payment.
    #[must_use]
    pub fn id(&self) -> PaymentId {
        self.claim.presented.id
    }

    /// SHA-256 of its signed part with the signature, as it came.
    #[must_use]
    pub fn proof(&self) -> [u8; 32] {
        digest::sha256(self.claim.payment.payload.get().as_bytes())
    }

    /// Unix seconds after which nothing of it can settle.
    #[must_use]
    pub fn until(&self) -> u64 {
        self.claim.presented.capture_deadline
    }

    /// What the desk said.
    pub fn entered<B>(self, entry: Entry<Kept<B>>, now: u64) -> Action<B> {
        let say =
            |situation, detail| Action::Answer(self.claim.refuse(&Refusal::new(situation, detail), now));
        match entry {
            Entry::Running => {
                say(Situation::InProgress, "the request that this payment pays for is still running")
            }
            Entry::Full => say(Situation::Busy, "this server follows as many payments as it can"),
            Entry::Kept(Kept::Answer(answer)) => Action::Answer(*answer),
            Entry::Kept(Kept::Settling(settling)) => Action::Settle(settling),
            Entry::Fresh => match self.claim.judge(now) {
                Ok(offer) => Settling::authorize(Case { claim: self.claim, offer: Arc::new(offer) }, now),
                Err(refusal) => Action::Answer(self.claim.refuse(&refusal, now)),
            },
        }
    }
}

impl Claim {
    /// This route's own offer, when the payment is one for it.
    fn judge(&self, now: u64) -> Result<PaymentRequirements, Refusal> {
        let offer = self.route.offer(self.rail.as_ref(), &self.asked, now).map_err(|error| {
            tracing::error!(%error, "the offer made at the start can no longer be made");
            Refusal::new(Situation::Internal, "no offer can be made")
        })?;
        if let Some(member) = difference(&offer, &self.payment.accepted, self.rail.dynamic_extra()) {
            let detail = format!("`accepted.{member}` is not what this route offers");
            return Err(Refusal::new(Situation::NoMatch, detail).field(format!("accepted.{member}")));
        }
        self.rail.agrees(&self.payment, &offer, now).map_err(malformed)?;
        Ok(offer)
    }
}

/// The first member in which `accepted` is not `offer`. A client may add to `extra`; what differs between
/// two offers for the same thing is not compared.
fn difference(
    offer: &PaymentRequirements,
    accepted: &PaymentRequirements,
    dynamic: &[&str],
) -> Option<String> {
    let core = [
        ("scheme", offer.scheme == accepted.scheme),
        ("network", offer.network == accepted.network),
        ("amount", offer.amount == accepted.amount),
        ("asset", offer.asset == accepted.asset),
        ("payTo", offer.pay_to == accepted.pay_to),
        ("maxTimeoutSeconds", offer.max_timeout_seconds == accepted.max_timeout_seconds),
    ];
    if let Some((member, _)) = core.iter().find(|(_, same)| !same) {
        return Some((*member).to_owned());
    }
    let fixed = offer.extra.iter().filter(|(key, _)| !dynamic.contains(&key.as_str()));
    let mut differing = fixed.filter(|(key, value)| accepted.extra.get(*key) != Some(value));
    differing.next().map(|(key, _)| format!("extra.{key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> PaymentRequirements {
        serde_json::from_value(serde_json::json!({
            "scheme": "exact", "network": "test:one", "amount": "10", "asset": "XTS", "payTo": "seller",
            "maxTimeoutSeconds": 300, "extra": {"a": {"b": [1]}, "until": 7},
        }))
        .unwrap()
    }

    #[test]
    fn accepted_may_add_to_extra_and_differ_in_what_is_dynamic() {
        let mut accepted = offer();
        accepted.extra.insert("own".into(), 1.into());
        accepted.extra.insert("until".into(), 8.into());
        assert_eq!(difference(&offer(), &accepted, &["until"]), None);
        assert_eq!(difference(&offer(), &accepted, &[]).as_deref(), Some("extra.until"));
        accepted.extra.remove("a");
        assert_eq!(difference(&offer(), &accepted, &["until"]).as_deref(), Some("extra.a"));
    }

    #[test]
    fn every_core_member_of_accepted_is_compared() {
        type Change = fn(&mut PaymentRequirements);
        let changes: [(&str, Change); 6] = [
            ("scheme", |o| o.scheme.push('x')),
            ("network", |o| o.network = "test:two".parse().unwrap()),
            ("amount", |o| o.amount.0 += 1),
            ("asset", |o| o.asset.push('x')),
            ("payTo", |o| o.pay_to.push('x')),
            ("maxTimeoutSeconds", |o| o.max_timeout_seconds += 1),
        ];
        for (member, change) in changes {
            let mut accepted = offer();
            change(&mut accepted);
            assert_eq!(difference(&offer(), &accepted, &[]).as_deref(), Some(member));
        }
    }
}
