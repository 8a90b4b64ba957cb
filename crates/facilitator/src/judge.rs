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

/// The scheme whose settlement names what was used.
const METERED: &str = "upto";
/// How the reasons end that say only that a transaction failed.
const TRANSACTION_FAILED: &str = "transaction_failed";
/// The namespace of the networks whose addresses are hexadecimal.
const EVM: &str = "eip155";

/// Why a request is refused before anybody looks at the payment: an x402 reason, and a text for people.
pub(crate) type Fault = (&'static str, &'static str);

/// Whether the request and the payment in it speak the version that this crate speaks.
pub(crate) fn version(request: &FacilitatorRequest) -> Result<(), Fault> {
    if request.x402_version == VERSION && request.payment_payload.x402_version == VERSION {
        return Ok(());
    }
    Err((reason::INVALID_X402_VERSION, "`x402Version` must be 2, in the request and in the payment"))
}

/// What a facilitator is asked to do with a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Verify,
    Settle,
}

/// Whether the payment chose the offer that the server says it made, in the fields that say who gets what.
///
/// The server names in `paymentRequirements` what it settles: with scheme `upto` that may be less than what
/// the payer accepted.
pub(crate) fn same_offer(request: &FacilitatorRequest, task: Task) -> Result<(), Fault> {
    let (chosen, made) = (&request.payment_payload.accepted, &request.payment_requirements);
    let same_amount = match task {
        Task::Settle if made.scheme == METERED => made.amount <= chosen.amount,
        Task::Verify | Task::Settle => made.amount == chosen.amount,
    };
    let same_name = |one: &str, other: &str| match made.network.namespace() {
        // Hexadecimal, in which upper case is a checksum that some peers write.
        EVM => one.eq_ignore_ascii_case(other),
        _ => one == other,
    };
    let differs = if chosen.scheme != made.scheme {
        "`scheme` of `paymentRequirements` is not the accepted one"
    } else if chosen.network != made.network {
        "`network` of `paymentRequirements` is not the accepted one"
    } else if !same_amount {
        "`amount` of `paymentRequirements` is not the accepted one"
    } else if !same_name(&chosen.asset, &made.asset) {
        "`asset` of `paymentRequirements` is not the accepted one"
    } else if !same_name(&chosen.pay_to, &made.pay_to) {
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
        Some(text) if !is_word(text) => unknown("the answer refuses without a reason"),
        Some(text) if may_land(text, &answer) => {
            unknown("settling failed after the transaction may have been sent")
        }
        Some(_) => Outcome::NotSettled(answer),
        None => unknown("the answer refuses without a reason"),
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

/// Whether a refusal is one that facilitators also give when a transaction was sent and not heard of again:
/// a failed transaction that they cannot name, or one that they lost after they had sent it.
fn may_land(reason: &str, answer: &SettlementResponse) -> bool {
    let lost =
        answer.error_message.as_deref().is_some_and(|text| text.starts_with(reason::SETTLEMENT_PENDING));
    lost || (answer.transaction.is_empty() && reason.ends_with(TRANSACTION_FAILED))
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

/// A refusal of a settlement is a word. Texts are what peers make of an error that they did not expect.
fn is_word(text: &str) -> bool {
    is_reason(text) && !text.contains(' ')
}

fn is_reason(text: &str) -> bool {
    (1..=REASON_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

fn shorten(text: &mut String) {
    let end = (0..=MESSAGE_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
}
