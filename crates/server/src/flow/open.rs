//! The beginning: from headers and body to a payment that fits this request and this route.

use std::sync::Arc;

use farthing_protocol::digest::{BodyHash, request_digest};
use farthing_protocol::rail::{Offer, PaymentFault, PaymentId, Presented};
use farthing_protocol::v1::{self, PaymentPayloadV1};
use farthing_protocol::v2::{PaymentPayload, PaymentRequirements};
use farthing_protocol::{
    Binding, Network, Origin, Price, RequestDigest, Verbatim, WireError, digest, header,
};
use http::{HeaderMap, HeaderValue, Method};

use super::case::{Case, Objection, Tender, Version, holds, refuse};
use super::{Action, Asked, Kept, Route, Settling};
use crate::answer::{Answer, Refusal, Situation};
use crate::desk::Entry;
use crate::pricing::quotes;

/// A request whose headers were read, and whose body was not.
#[derive(Debug)]
pub struct Opened {
    route: Arc<Route>,
    method: Method,
    target: String,
    brought: Brought,
}

/// Seconds after its last moment on the network that a payment without a hold is remembered.
pub(crate) const REMEMBERED: u64 = 600;

/// What a request brought to pay with.
enum Brought {
    Nothing,
    /// A payment for a scheme and network that are not offered here; which member says so.
    Foreign(&'static str),
    Payment(Box<Payment>),
    /// A payment of version 1, which is complete only with this server's own offer.
    Old(Box<Old>),
}

/// A payment as its rail reads it.
struct Payment {
    rail: Arc<dyn Offer>,
    payment: PaymentPayload,
    presented: Presented,
    proof: [u8; 32],
    version: Version,
}

/// A payment of version 1, as it came.
struct Old {
    rail: Arc<dyn Offer>,
    payment: PaymentPayloadV1,
    proof: [u8; 32],
}

impl std::fmt::Debug for Brought {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Foreign(_) => f.write_str("Foreign"),
            Self::Payment(payment) => f.debug_tuple("Payment").field(&payment.presented.id).finish(),
            Self::Old(old) => f.debug_tuple("Old").field(&old.payment).finish(),
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
            return self.read_v1(value);
        }
        let payment = header::decode_payment(value.as_bytes(), &self.seller.limits);
        let payment =
            payment.map_err(|error| undecoded("PAYMENT-SIGNATURE", header::PAYMENT_SIGNATURE, &error))?;
        let accepted = (&payment.accepted.scheme, &payment.accepted.network);
        let fits =
            |rail: &&Arc<dyn Offer>| (rail.scheme(), rail.network()) == (accepted.0.as_str(), accepted.1);
        let Some(rail) = self.seller.rails.iter().find(fits) else {
            return Ok(Brought::Foreign("accepted.network"));
        };
        let presented = rail.read(&payment).map_err(malformed)?;
        let proof = match holds(rail.as_ref()) {
            true => digest::sha256(payment.payload.get().as_bytes()),
            false => digest::sha256(value.as_bytes()),
        };
        let (rail, version) = (rail.clone(), Version::V2);
        Ok(Brought::Payment(Box::new(Payment { rail, payment, presented, proof, version })))
    }

    fn read_v1(&self, value: &HeaderValue) -> Result<Brought, Refusal> {
        let mut old = self.seller.rails.iter().filter(|rail| rail.speaks_v1()).peekable();
        if old.peek().is_none() {
            let detail = "this server takes payments of x402 version 2 only, in the header PAYMENT-SIGNATURE";
            return Err(Refusal::new(Situation::UnsupportedVersion, detail).field(header::X_PAYMENT));
        }
        let payment = header::decode_payment_v1(value.as_bytes(), &self.seller.limits)
            .map_err(|error| undecoded("X-PAYMENT", header::X_PAYMENT, &error))?;
        let network = v1::network_of(&payment.network);
        let fits = |rail: &&Arc<dyn Offer>| {
            rail.scheme() == payment.scheme && Some(rail.network()) == network.as_ref()
        };
        let Some(rail) = old.find(fits).cloned() else { return Ok(Brought::Foreign("network")) };
        Ok(Brought::Old(Box::new(Old { rail, payment, proof: digest::sha256(value.as_bytes()) })))
    }
}

fn undecoded(name: &str, field: &str, error: &WireError) -> Refusal {
    let situation = match error {
        WireError::TooLarge { .. } => Situation::PaymentTooLarge,
        WireError::Combined => Situation::SeveralPayments,
        _ => Situation::Malformed,
    };
    let field = error.field().unwrap_or(field).to_owned();
    Refusal::new(situation, format!("header {name}: {error}")).field(field)
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
    pub fn body_failed<B>(self, fault: BodyFault) -> Box<Answer<B>> {
        let limit = self.route.seller.limits.bound_body_bytes;
        let refusal = match fault {
            BodyFault::TooLarge => {
                let detail = format!("the body has more than the {limit} bytes that are read here");
                Refusal::new(Situation::BodyTooLarge, detail)
            }
            BodyFault::Timeout => Refusal::new(Situation::BodyTimeout, "the body did not arrive in time"),
            BodyFault::Unreadable => Refusal::new(Situation::BodyUnreadable, "the body broke off"),
        };
        Box::new(Answer::problem(&refusal.field("body"), None, None))
    }

    /// Whether anything came to pay with, for whatever.
    #[must_use]
    pub fn brings_payment(&self) -> bool {
        !matches!(self.brought, Brought::Nothing)
    }

    /// The body is read, or need not be.
    ///
    /// # Errors
    /// The answer, when a payment came that is signed for another request: before anything else of it is
    /// looked at, and before anybody is asked for a price.
    pub fn bind<B>(self, body: BodyHash, now: u64) -> Result<Bound, Box<Answer<B>>> {
        let Self { route, method, target, brought } = self;
        let digest = request_digest(method.as_str(), &route.seller.origin, &target, body);
        let asked = Asked { method, target, digest, prices: Arc::from([]), label: None };
        let bound = Bound { route, asked, brought, unpaid: None };
        match &bound.brought {
            Brought::Payment(payment) if payment.presented.digest.is_some_and(|signed| signed != digest) => {
                let Action::Answer(answer) = bound.at([], now) else { return Err(Box::new(Answer::lost())) };
                Err(Box::new(answer))
            }
            _ => Ok(bound),
        }
    }

    /// The body is read, or need not be, and the request costs what is listed.
    pub fn bound<B>(self, body: BodyHash, now: u64) -> Action<B> {
        match self.bind(body, now) {
            Ok(bound) => bound.at_list_price(now),
            Err(answer) => Action::Answer(*answer),
        }
    }
}

/// A request of which everything is known but its price.
#[derive(Debug)]
pub struct Bound {
    route: Arc<Route>,
    asked: Asked,
    brought: Brought,
    /// What is said without a payment, instead of "paid for per request".
    unpaid: Option<Refusal>,
}

impl Bound {
    /// What a payment for it is bound to.
    #[must_use]
    pub fn digest(&self) -> RequestDigest {
        self.asked.digest
    }

    /// The payment that came with it, and what is signed in it; of version 1 there is none until it has a price.
    #[must_use]
    pub fn payment(&self) -> Option<(&PaymentPayload, &Presented)> {
        match &self.brought {
            Brought::Payment(payment) => Some((&payment.payment, &payment.presented)),
            _ => None,
        }
    }

    /// Counted under this name.
    pub(crate) fn called(mut self, label: &Arc<str>) -> Self {
        self.asked.label = Some(label.clone());
        self
    }

    /// What is said unless a payment came.
    pub(crate) fn unless_paid(self, refusal: Refusal) -> Self {
        Self { unpaid: Some(refusal), ..self }
    }

    /// The price that this route promised in a quote, when the payment is for that offer. A payment that could
    /// be authorized after the quote has expired is not.
    #[must_use]
    pub fn quoted(&self) -> Option<Price> {
        let (payment, presented) = self.payment()?;
        let (price, expires) = self.route.quotes.as_ref()?.read(&payment.accepted, &self.asked.digest)?;
        (presented.valid_before <= expires).then_some(price)
    }

    /// It costs what is listed for its method.
    pub fn at_list_price<B>(self, now: u64) -> Action<B> {
        let prices = self.route.prices.of_method(&self.asked.method);
        self.at(prices, now)
    }

    /// It costs any one of these.
    pub fn at<B>(self, prices: impl Into<Arc<[Price]>>, now: u64) -> Action<B> {
        let Self { route, mut asked, brought, unpaid } = self;
        asked.prices = prices.into();
        let say = |refusal: Refusal| Action::Answer(refuse(&route, &asked, &refusal, None, now));
        let payment = match brought {
            Brought::Nothing => {
                let detail = "this resource is paid for per request";
                return say(unpaid.unwrap_or_else(|| Refusal::new(Situation::Unpaid, detail)));
            }
            Brought::Foreign(field) => {
                let detail = "the payment names a scheme and network that are not offered here";
                return say(Refusal::new(Situation::NoMatch, detail).field(field));
            }
            Brought::Payment(payment) => *payment,
            Brought::Old(old) => match old.complete(&route, &asked, now) {
                Ok(payment) => payment,
                Err(refusal) => return say(refusal),
            },
        };
        let Payment { rail, payment, presented, proof, version } = payment;
        let tender = Tender { route, asked, rail, payment, presented, proof, version };
        // Before `accepted` is compared: whoever presents a payment for another request learns that, and is
        // not told to pay anew for this one.
        if tender.presented.digest.is_some_and(|digest| digest != tender.asked.digest) {
            let detail = "the payment is signed for another method, URL or body than this request has";
            return Action::Answer(tender.refuse(&Refusal::new(Situation::OtherRequest, detail), now));
        }
        Action::Enter(Box::new(Entering { tender }))
    }
}

impl Old {
    /// With this route's own offer in the place of the one that its payer accepted: of several, the first one
    /// whose amount it is signed for.
    fn complete(self, route: &Route, asked: &Asked, now: u64) -> Result<Payment, Refusal> {
        let mut first = None;
        for offer in own_offers(route, self.rail.as_ref(), asked, now)? {
            let accepted = Verbatim::write(offer.clone()).map_err(|error| no_offer(&error))?;
            let payment = self.payment.clone().accepting(accepted);
            let presented = self.rail.read(&payment).map_err(malformed)?;
            let fits = presented.max_amount == offer.amount;
            if fits || first.is_none() {
                first = Some((payment, presented));
            }
            if fits {
                break;
            }
        }
        let Self { rail, proof, .. } = self;
        let Some((payment, presented)) = first else {
            let detail = "nothing is offered here on the payment's network";
            return Err(Refusal::new(Situation::NoMatch, detail).field("network"));
        };
        Ok(Payment { rail, payment, presented, proof, version: Version::V1 })
    }
}

fn own_offers(
    route: &Route,
    rail: &dyn Offer,
    asked: &Asked,
    now: u64,
) -> Result<Vec<PaymentRequirements>, Refusal> {
    route.offers_of(rail, asked, now).map_err(|error| no_offer(&error))
}

fn no_offer(error: &dyn std::fmt::Display) -> Refusal {
    tracing::error!(%error, "no offer can be made");
    Refusal::new(Situation::Internal, "no offer can be made")
}

/// A payment for this request, about to be looked up among those in flight.
#[derive(Debug)]
pub struct Entering {
    tender: Tender,
}

impl Entering {
    /// The payment.
    #[must_use]
    pub fn id(&self) -> PaymentId {
        self.tender.presented.id
    }

    /// SHA-256 of its signed part with the signature, as it came; or of all that came, where its network
    /// shows the signature to everybody.
    #[must_use]
    pub fn proof(&self) -> [u8; 32] {
        self.tender.proof
    }

    /// Unix seconds after which nothing of it can settle, and nobody remembers it.
    #[must_use]
    pub fn until(&self) -> u64 {
        let Presented { capture_deadline, valid_before, .. } = self.tender.presented;
        match self.tender.holds() {
            true => capture_deadline,
            false => capture_deadline.max(valid_before.saturating_add(REMEMBERED)),
        }
    }

    /// The payment as it came.
    pub(crate) fn payment(&self) -> &PaymentPayload {
        &self.tender.payment
    }

    /// What is signed in it. Who signed it is not proven yet.
    pub(crate) fn presented(&self) -> &Presented {
        &self.tender.presented
    }

    /// Where it is settled.
    pub(crate) fn network(&self) -> &Network {
        self.tender.rail.network()
    }

    /// Where the route is served.
    pub(crate) fn origin(&self) -> &Origin {
        &self.tender.route.seller.origin
    }

    /// The request that it came with.
    pub(crate) fn digest(&self) -> RequestDigest {
        self.tender.asked.digest
    }

    /// The answer when it goes no further.
    pub(crate) fn refuse<B>(&self, refusal: &Refusal, now: u64) -> Answer<B> {
        self.tender.refuse(refusal, now)
    }

    /// What the desk said.
    pub fn entered<B>(self, entry: Entry<Kept<B>>, now: u64) -> Action<B> {
        let say =
            |situation, detail| Action::Answer(self.tender.refuse(&Refusal::new(situation, detail), now));
        match entry {
            Entry::Running => {
                say(Situation::InProgress, "the request that this payment pays for is still running")
            }
            Entry::Full => say(Situation::Busy, "this server follows as many payments as it can"),
            Entry::Kept(Kept::Answer(answer)) => Action::Answer(*answer),
            Entry::Kept(Kept::Settling(settling)) => Action::Settle(settling),
            Entry::Fresh => match self.tender.judge(now) {
                Ok((offer, objection)) => Settling::authorize(Case::new(self.tender, offer, objection), now),
                Err(refusal) => Action::Answer(self.tender.refuse(&refusal, now)),
            },
        }
    }
}

impl Tender {
    /// This route's own offer, when the payment is one for it, and what speaks against taking it now.
    fn judge(&self, now: u64) -> Result<(PaymentRequirements, Option<Objection>), Refusal> {
        let offers = own_offers(&self.route, self.rail.as_ref(), &self.asked, now)?;
        let offer = self.accepted_of(offers)?;
        match self.rail.agrees(&self.payment, &offer, now) {
            Ok(()) => Ok((offer, None)),
            // Its time may be over, and its money under way: the claims know.
            Err(PaymentFault::Refused { reason, message }) if !self.holds() => {
                Ok((offer, Some(Objection { reason, message })))
            }
            Err(fault) => Err(malformed(fault)),
        }
    }
}

impl Tender {
    /// The offer that was accepted.
    fn accepted_of(&self, offers: Vec<PaymentRequirements>) -> Result<PaymentRequirements, Refusal> {
        let dynamic = self.rail.dynamic_extra();
        let mut why = None;
        for offer in offers {
            match difference(&offer, &self.payment.accepted, dynamic) {
                None => return Ok(offer),
                Some(member) => why = why.or(Some(member)),
            }
        }
        let member = why.unwrap_or_else(|| "asset".to_owned());
        let detail = format!("`accepted.{member}` is not what this route offers");
        Err(Refusal::new(Situation::NoMatch, detail).field(format!("accepted.{member}")))
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
    // A quote was looked at before; without a good one, the price was said anew.
    let is_fixed = |key: &str| key != quotes::MEMBER && !dynamic.contains(&key);
    let fixed = offer.extra.iter().filter(|(key, _)| is_fixed(key.as_str()));
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
