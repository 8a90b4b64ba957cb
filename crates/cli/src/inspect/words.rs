//! What a message says, in words.
//!
//! A payment is explained twice: what its signature covers, and what merely stands beside it. Whatever
//! somebody else wrote is shown [safely](crate::style::safe).

use farthing::farthing_ledger::terms::{Terms, TermsFlow};
use farthing::protocol::header::Decoded;
use farthing::protocol::v1::{self, PaymentPayloadV1, PaymentRequiredV1};
use farthing::protocol::v2::ResourceInfo;
use farthing::protocol::v2::{Offer, PaymentPayload, PaymentRequired, PaymentRequirements};
use farthing::protocol::{Binding, PublicKey, RequestDigest};
use serde_json::Value;

use super::fetch::Fetched;
use super::message::Message;
use super::{asset, signed};
use crate::style::{BAD, CAREFUL, GOOD, QUIET, TITLE, WIRE, moment, paint, safe, span, unix_now};

/// Columns that the names of values take.
const NAME: usize = 20;

/// An explanation in the making.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) out: String,
    unsound: Vec<String>,
    now: u64,
    /// What was asked, when the message is an answer.
    asked: Option<String>,
}

impl Words {
    /// Explains a message. `asked` is the URL that it is an answer of.
    pub(super) fn of(message: &Message, asked: Option<&str>) -> Self {
        let asked = asked.map(str::to_owned);
        let mut words = Self { out: String::new(), unsound: Vec::new(), now: unix_now(), asked };
        match &message.decoded {
            Decoded::PaymentRequired(terms) => words.terms(terms),
            Decoded::Payment(payment) => words.payment(payment),
            Decoded::Settlement(settlement) => words.settlement(settlement),
            Decoded::PaymentRequiredV1(terms) => words.terms_v1(terms),
            Decoded::PaymentV1(payment) => words.payment_v1(payment),
            Decoded::SettlementV1(settlement) => words.settlement_v1(settlement),
        }
        words
    }

    /// Explains what a server answered.
    pub(super) fn of_answer(fetched: &Fetched, terms: Option<&Message>) -> Self {
        let status = paint(WIRE, &fetched.status_line);
        let first = format!("GET {} is answered {status}\n\n", safe(&fetched.url));
        let mut words = match terms {
            Some(message) => Self::of(message, Some(&fetched.url)),
            None => Self { out: String::new(), unsound: Vec::new(), now: unix_now(), asked: None },
        };
        if terms.is_none() {
            words.line(match fetched.status {
                402 => {
                    "It wants payment, and does not say so in x402: there is nothing that a client could pay."
                }
                200..=299 => "It does not ask for payment.",
                300..=399 => "It sends its visitors elsewhere; that is not followed.",
                _ => "It does not ask for payment, and does not answer either.",
            });
            for (name, value) in [("content type", &fetched.content_type), ("location", &fetched.location)] {
                if let Some(value) = value {
                    words.value(name, safe(value));
                }
            }
        }
        words.out.insert_str(0, &first);
        words
    }

    /// The explanation.
    pub(super) fn text(&self) -> String {
        self.out.clone()
    }

    /// What does not hold.
    pub(super) fn unsound(&self) -> &[String] {
        &self.unsound
    }

    pub(super) fn line(&mut self, text: impl std::fmt::Display) {
        self.out.push_str(&format!("{text}\n"));
    }

    pub(super) fn title(&mut self, text: impl std::fmt::Display) {
        let gap = if self.out.is_empty() { "" } else { "\n" };
        self.out.push_str(&format!("{gap}{}\n", paint(TITLE, text)));
    }

    pub(super) fn value(&mut self, name: &str, text: impl std::fmt::Display) {
        self.out.push_str(&format!("  {name:<NAME$}{text}\n"));
    }

    pub(super) fn moment(&mut self, name: &str, at: u64) {
        let text = moment(at, self.now);
        self.value(name, text);
    }

    pub(super) fn good(&mut self, name: &str, text: impl std::fmt::Display) {
        self.value(name, format!("{} {text}", paint(GOOD, "valid:")));
    }

    pub(super) fn bad(&mut self, name: &str, text: impl std::fmt::Display) {
        let text = text.to_string();
        self.value(name, format!("{} {text}", paint(BAD, "NOT VALID:")));
        self.unsound.push(text);
    }

    fn warn(&mut self, text: impl std::fmt::Display) {
        self.line(format!("  {} {text}", paint(CAREFUL, "Note:")));
    }

    pub(super) fn quiet(&mut self, text: &str) {
        self.line(format!("  {}", paint(QUIET, text)));
    }

    fn terms(&mut self, terms: &PaymentRequired) {
        self.title("A price (PAYMENT-REQUIRED, x402 version 2)");
        self.line("What a server answers with status 402: what it sells, and the ways to pay for it.");
        self.out.push('\n');
        self.resource(&terms.resource);
        if let Some(error) = &terms.error {
            self.value("the server says", format!("\"{}\"", safe(error)));
        }
        self.extensions(terms.extensions.keys());
        let count = terms.accepts.len();
        for (at, raw) in terms.accepts.iter().enumerate() {
            self.title(format!("Way to pay {} of {count}", at + 1));
            match Offer::read(raw.clone()) {
                Ok(offer) => self.offer(&offer),
                Err(error) => self.warn(format!("this one cannot be read: {}", safe(&error.to_string()))),
            }
        }
        self.out.push('\n');
        self.line(
            "Nothing here is signed: it is what the server asks. What is paid is what the payer signs.",
        );
    }

    fn resource(&mut self, resource: &ResourceInfo) {
        self.value("what is sold", safe(&resource.url));
        if let Some(asked) = self.asked.clone().filter(|asked| *asked != resource.url) {
            self.warn(format!("that is not the URL that was asked, {}", safe(&asked)));
        }
        for (name, text) in [
            ("described as", &resource.description),
            ("media type", &resource.mime_type),
            ("by", &resource.service_name),
        ] {
            if let Some(text) = text.as_ref().filter(|text| !text.is_empty()) {
                self.value(name, safe(text));
            }
        }
    }

    fn offer(&mut self, offer: &PaymentRequirements) {
        let network = offer.network.as_str();
        self.value("price", asset::amount(network, &offer.asset, offer.amount));
        self.value("on network", asset::network(network));
        self.value("paid to", safe(&offer.pay_to));
        self.value("scheme", scheme(&offer.scheme));
        let seconds = offer.max_timeout_seconds;
        self.value("good for", format!("{} once signed, at most", span(seconds)));
        if offer.network.namespace() == "farthing" {
            self.farthing_offer(offer);
            return;
        }
        for (key, value) in &offer.extra {
            self.value(&format!("extra.{}", safe(key)), safe(&value.to_string()));
        }
    }

    fn farthing_offer(&mut self, offer: &PaymentRequirements) {
        let text = |key: &str| offer.extra.get(key).and_then(Value::as_str);
        let number = |key: &str| offer.extra.get(key).and_then(Value::as_u64);
        match number("binding").and_then(|kind| u8::try_from(kind).ok()).and_then(Binding::from_kind) {
            Some(Binding::Body) => {
                self.value("bound to", "one request: method, address, path, query and body");
            }
            Some(Binding::Open) => {
                self.value(
                    "bound to",
                    "one request, but not its body: any body may be sent with the payment",
                );
            }
            None => self.warn("it does not say how much of the request a payment is bound to"),
        }
        if let Some(digest) = text("requestDigest") {
            self.value("request digest", safe(digest));
            self.digest(digest);
        }
        for (name, key) in [("captured until", "captureDeadline"), ("refunded until", "refundDeadline")] {
            if let Some(at) = number(key).filter(|at| *at > 0) {
                self.moment(name, at);
            }
        }
        if let Some(bps) = number("maxFeeBps").filter(|bps| *bps > 0) {
            self.value("ledger's fee", format!("{bps} hundredths of a percent, paid by the seller"));
        }
        for (name, key) in [("capturing key", "receiverAuthorizer"), ("receipt key", "receiptKey")] {
            if let Some(key) = text(key) {
                self.value(name, safe(key));
            }
        }
        self.quiet(
            "Decimal places of the asset: see the ledger's signed terms, GET /supported of its facilitator.",
        );
    }

    /// Whether the digest in an offer is the one of the request that was made.
    fn digest(&mut self, digest: &str) {
        let Some(asked) = self.asked.clone() else { return };
        let fits = digest.parse::<RequestDigest>().ok().and_then(|digest| signed::method_of(&asked, &digest));
        match fits {
            Some(method) => self.good("", format!("this is the digest of {method} {}", safe(&asked))),
            None => {
                self.bad("", "this is not the digest of the request that was made; no client should sign it")
            }
        }
    }

    fn payment(&mut self, payment: &PaymentPayload) {
        self.title("A payment (PAYMENT-SIGNATURE, x402 version 2)");
        self.line("What a client sends with its request: a signed promise that a facilitator can settle.");
        let on_farthing = payment.accepted.network.namespace() == "farthing";
        match on_farthing.then(|| signed::read(payment)) {
            Some(Ok(signed)) => {
                let url = payment.resource.as_ref().map(|resource| resource.url.as_str());
                self.signed(&signed, url);
                self.disagreements(&signed.terms, &payment.accepted);
            }
            Some(Err(why)) => {
                self.title("What was signed");
                self.bad("signed part", safe(&why));
            }
            None => self.foreign_payload(payment),
        }
        self.title("What the payer says besides (not signed, never believed)");
        if let Some(resource) = &payment.resource {
            self.resource(resource);
        }
        let accepted = &payment.accepted;
        self.value("price", asset::amount(accepted.network.as_str(), &accepted.asset, accepted.amount));
        self.value("on network", asset::network(accepted.network.as_str()));
        self.value("paid to", safe(&accepted.pay_to));
        self.value("scheme", scheme(&accepted.scheme));
        self.extensions(payment.extensions.keys());
    }

    fn signed(&mut self, signed: &signed::SignedTerms, url: Option<&str>) {
        let terms = &signed.terms;
        self.title("What was signed");
        self.value("payment", signed.id);
        match signed.verdict {
            Ok(()) => self.good("signature", format!("by {}", terms.signer)),
            Err(fault) => self.bad("signature", fault),
        }
        self.value("payer", terms.payer);
        if terms.signer != terms.payer {
            self.value("signed by key", format!("{}, which must be one of the payer's", terms.signer));
        }
        self.value("paid to", terms.payee);
        let network = terms.ledger.network();
        self.value("at most", asset::amount(network.as_str(), terms.asset.as_str(), terms.max_amount));
        self.value("on network", asset::network(network.as_str()));
        self.value("scheme", scheme(terms.scheme.name()));
        self.value(
            "flow",
            match terms.flow {
                TermsFlow::Escrow => "held first; captured or given back after the answer is made",
                TermsFlow::Charge => "charged in one step",
            },
        );
        self.window(terms);
        let bound = match terms.binding {
            Binding::Body => "one request: method, address, path, query and body",
            Binding::Open => "one request, but not its body",
        };
        self.value("bound to", bound);
        self.value("request digest", terms.digest);
        match url.and_then(|url| signed::method_of(url, &terms.digest).map(|method| (method, url))) {
            Some((method, url)) => {
                self.good("", format!("this is the digest of {method} {} without a body", safe(url)));
            }
            None => self
                .quiet("A digest cannot be turned back into the request: only whoever knows it can compare."),
        }
        self.value("capturing key", terms.receiver_authorizer);
        if terms.fee.max_bps > 0 {
            let fee = format!("{} to {} hundredths of a percent", terms.fee.min_bps, terms.fee.max_bps);
            self.value("ledger's fee", format!("{fee}, to {}", PublicKey(terms.fee.recipient)));
        }
        if terms.mandate != [0; 32] {
            self.value("mandate", PublicKey(terms.mandate));
        }
    }

    fn window(&mut self, terms: &Terms) {
        self.moment("valid from", terms.valid_after);
        self.moment("to be used by", terms.valid_before);
        self.moment("captured by", terms.capture_deadline);
        if terms.refund_deadline > 0 {
            self.moment("refunded by", terms.refund_deadline);
        }
        if self.now > terms.valid_before {
            self.quiet(
                "It can no longer be used. If it was used in time, its ledger knows what became of it.",
            );
        } else {
            self.warn("it may still be used: whoever has it can present it for its request");
        }
    }

    /// Where the unsigned copy of the offer contradicts the signature.
    fn disagreements(&mut self, terms: &Terms, accepted: &PaymentRequirements) {
        let pairs = [
            ("network", accepted.network.to_string(), terms.ledger.network().to_string()),
            ("scheme", accepted.scheme.clone(), terms.scheme.name().to_owned()),
            ("amount", accepted.amount.to_string(), terms.max_amount.to_string()),
            ("asset", accepted.asset.clone(), terms.asset.to_string()),
            ("payTo", accepted.pay_to.clone(), terms.payee.to_string()),
        ];
        for (name, said, signed) in pairs.into_iter().filter(|(_, said, signed)| said != signed) {
            let said = safe(&said);
            self.bad(&format!("accepted.{name}"), format!("it says {said} where {signed} is signed"));
        }
    }

    fn foreign_payload(&mut self, payment: &PaymentPayload) {
        self.title("The scheme's own part");
        self.raw_payload(payment.payload.get());
        self.quiet("This program does not check signatures of this network.");
    }

    fn raw_payload(&mut self, payload: &str) {
        let Ok(Value::Object(payload)) = serde_json::from_str(payload) else {
            return self.value("payload", safe(payload));
        };
        for (key, value) in &payload {
            let Value::Object(members) = value else {
                self.value(&safe(key), json_text(value));
                continue;
            };
            for (name, value) in members {
                let name = safe(name);
                let seconds = match value {
                    Value::String(text) => text.parse().ok(),
                    value => value.as_u64(),
                };
                match (name.as_str(), seconds) {
                    ("validAfter" | "validBefore" | "deadline", Some(at)) if at > 0 => self.moment(&name, at),
                    _ => self.value(&name, json_text(value)),
                }
            }
        }
    }

    pub(super) fn extensions<'a>(&mut self, names: impl Iterator<Item = &'a String>) {
        let names: Vec<_> = names.map(|name| safe(name)).collect();
        if !names.is_empty() {
            let is_signed = names.iter().any(|name| name == "offer-receipt");
            self.value("extensions", names.join(", "));
            if is_signed {
                self.quiet("`farthing receipt verify` checks what is signed in offer-receipt.");
            }
        }
    }

    fn terms_v1(&mut self, terms: &PaymentRequiredV1) {
        self.title("A price (body of a 402, x402 version 1)");
        self.line("What an older server answers with status 402: the ways to pay.");
        if let Some(error) = &terms.error {
            self.value("the server says", format!("\"{}\"", safe(error)));
        }
        let count = terms.accepts.len();
        for (at, offer) in terms.offers().enumerate() {
            self.title(format!("Way to pay {} of {count}", at + 1));
            self.value("what is sold", safe(&offer.resource));
            if !offer.description.is_empty() {
                self.value("described as", safe(&offer.description));
            }
            let network = v1::network_of(&offer.network).map_or(offer.network.clone(), |n| n.to_string());
            self.value("price", asset::amount(&network, &offer.asset, offer.max_amount_required));
            self.value("on network", asset::network(&network));
            self.value("paid to", safe(&offer.pay_to));
            self.value("scheme", scheme(&offer.scheme));
            self.value("good for", format!("{} once signed, at most", span(offer.max_timeout_seconds)));
        }
        if terms.offers().count() != count {
            self.warn("some ways to pay cannot be read");
        }
        self.out.push('\n');
        self.line("Nothing here is signed: it is what the server asks.");
    }

    fn payment_v1(&mut self, payment: &PaymentPayloadV1) {
        self.title("A payment (X-PAYMENT, x402 version 1)");
        self.line("What a client of the older version sends with its request.");
        self.out.push('\n');
        let network = v1::network_of(&payment.network).map_or(payment.network.clone(), |n| n.to_string());
        self.value("on network", asset::network(&network));
        self.value("scheme", scheme(&payment.scheme));
        self.raw_payload(payment.payload.get());
        self.quiet("This program does not check signatures of this network.");
    }
}

fn scheme(name: &str) -> String {
    let meaning = match name {
        "exact" => "exactly this amount",
        "auth-capture" => "held first, captured up to this amount, refundable",
        "upto" => "metered, up to this amount",
        "batch-settlement" => "from a prepaid channel",
        _ => return safe(name),
    };
    format!("{name}: {meaning}")
}

fn json_text(value: &Value) -> String {
    match value {
        Value::String(text) => safe(text),
        value => safe(&value.to_string()),
    }
}
