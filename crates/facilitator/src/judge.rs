//! What an answer to `/settle` or `/verify` may be believed to say.
//!
//! The same judgement is passed on a rail's answer and on a remote facilitator's, so that a server sees the
//! same outcome either way. Whatever is not clearly a success or a refusal is unknown.

use farthing_protocol::rail::{FacilitatorError, Outcome, UnknownOutcome};
use farthing_protocol::reason;
use farthing_protocol::v2::{FacilitatorRequest, SettlementResponse, VERSION, VerifyResponse};
use serde::Deserialize;

/// Longest reason that is believed to be one.
const REASON_BYTES: usize = 128;
/// Longest text for people that is passed on.
const MESSAGE_BYTES: usize = 512;

/// Why a request is refused before anybody looks at the payment: an x402 reason, and a text for people.
pub(crate) type Fault = (&'static str, &'static str);

/// Whether the request and the payment in it speak the version that this crate speaks.
pub(crate) fn version(request: &FacilitatorRequest) -> Result<(), Fault> {
    if request.x402_version == VERSION && request.payment_payload.x402_version == VERSION {
        return Ok(());
    }
    Err((reason::INVALID_X402_VERSION, "`x402Version` must be 2, in the request and in the payment"))
}

/// Whether the payment chose the offer that the server says it made, in the fields that say who gets what.
pub(crate) fn same_offer(request: &FacilitatorRequest) -> Result<(), Fault> {
    let (chosen, made) = (&request.payment_payload.accepted, &request.payment_requirements);
    let differs = if chosen.scheme != made.scheme {
        "`scheme` of `paymentRequirements` is not the accepted one"
    } else if chosen.network != made.network {
        "`network` of `paymentRequirements` is not the accepted one"
    } else if chosen.amount != made.amount {
        "`amount` of `paymentRequirements` is not the accepted one"
    } else if chosen.asset != made.asset {
        "`asset` of `paymentRequirements` is not the accepted one"
    } else if chosen.pay_to != made.pay_to {
        "`payTo` of `paymentRequirements` is not the accepted one"
    } else {
        return Ok(());
    };
    Err((reason::INVALID_PAYMENT_REQUIREMENTS, differs))
}

/// The refusal of a settlement that was not attempted.
pub(crate) fn not_settled(request: &FacilitatorRequest, (reason, message): Fault) -> Outcome {
    Outcome::NotSettled(SettlementResponse::refused(&request.payment_requirements.network, reason, message))
}

/// The refusal of a payment that was not looked at.
pub(crate) fn not_valid((reason, message): Fault) -> VerifyResponse {
    VerifyResponse {
        is_valid: false,
        invalid_reason: Some(reason.to_owned()),
        invalid_message: Some(message.to_owned()),
        ..VerifyResponse::default()
    }
}

/// The outcome that an answer to `/settle` proves.
pub(crate) fn settlement(request: &FacilitatorRequest, mut answer: SettlementResponse) -> Outcome {
    let unknown = |why: &str| Outcome::Unknown(UnknownOutcome(why.to_owned()));
    let asked = &request.payment_requirements;
    if let Some(message) = &mut answer.error_message {
        shorten(message);
    }
    if answer.success {
        if says_something(answer.error_reason.as_deref()) {
            return unknown("the answer says success and names an error");
        }
        if answer.network != asked.network.as_str() {
            return unknown("the answer says success on another network");
        }
        if answer.transaction.is_empty() {
            return unknown("the answer says success and names no transaction");
        }
        if answer.amount.is_some_and(|amount| amount > asked.amount) && is_first(request) {
            return unknown("the answer says success for more than was asked");
        }
        answer.results = answer.results.into_iter().map(|result| one_of_many(request, result)).collect();
        return Outcome::Settled(answer);
    }
    if !answer.network.is_empty() && answer.network != asked.network.as_str() {
        return unknown("the answer is about another network");
    }
    match answer.error_reason.as_deref() {
        Some(reason::SETTLEMENT_PENDING) => unknown("the settlement is pending"),
        Some(reason::UNEXPECTED_SETTLE_ERROR) => {
            unknown("settling failed without saying whether it can still land")
        }
        Some(text) if is_reason(text) => Outcome::NotSettled(answer),
        _ => unknown("the answer refuses without a reason"),
    }
}

/// The answer to one of several operations, as far as it may be believed; one that says nothing if it may not.
fn one_of_many(request: &FacilitatorRequest, result: SettlementResponse) -> SettlementResponse {
    match settlement(request, SettlementResponse { results: Vec::new(), ..result }) {
        Outcome::Settled(result) | Outcome::NotSettled(result) => result,
        Outcome::Unknown(_) => SettlementResponse::default(),
    }
}

/// What an answer to `/verify` says.
pub(crate) fn verification(mut answer: VerifyResponse) -> Result<VerifyResponse, FacilitatorError> {
    if answer.is_valid && says_something(answer.invalid_reason.as_deref()) {
        return Err(FacilitatorError::Malformed("it says valid and names what is invalid".into()));
    }
    if answer.invalid_reason.as_deref().is_some_and(|text| !text.is_empty() && !is_reason(text)) {
        return Err(FacilitatorError::Malformed("`invalidReason` is not a word".into()));
    }
    if let Some(message) = &mut answer.invalid_message {
        shorten(message);
    }
    Ok(answer)
}

/// Whether this is the payment's first settlement; later ones are named by `payload.type`.
fn is_first(request: &FacilitatorRequest) -> bool {
    #[derive(Deserialize)]
    struct Typed {
        #[serde(rename = "type")]
        operation: Option<String>,
    }
    let typed = serde_json::from_str::<Typed>(request.payment_payload.payload.get());
    !matches!(typed.ok().and_then(|typed| typed.operation).as_deref(), Some("capture" | "void" | "refund"))
}

/// Some peers write an absent text as an empty one.
fn says_something(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

fn is_reason(text: &str) -> bool {
    (1..=REASON_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

fn shorten(text: &mut String) {
    let end = (0..=MESSAGE_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
}
