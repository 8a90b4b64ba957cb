//! How the outcome of a settlement travels: the status and the message of `POST /settle`.
//!
//! The HTTP service writes with [`answer`], its client reads with [`outcome`]; whatever else carries
//! settlements between processes does the same.

use std::borrow::Cow;

use farthing_protocol::rail::{Outcome, UnknownOutcome};
use farthing_protocol::reason;
use farthing_protocol::v2::{FacilitatorRequest, SettlementResponse};

use crate::judge;

/// What is answered to a `/settle` request: 200 when its outcome is known, else 503.
pub fn answer<'a>(request: &FacilitatorRequest, outcome: &'a Outcome) -> (u16, Cow<'a, SettlementResponse>) {
    answer_on(request.payment_requirements.network.as_str(), outcome)
}

/// [`answer`] about a payment on `network`, as the request calls it.
pub(crate) fn answer_on<'a>(network: &str, outcome: &'a Outcome) -> (u16, Cow<'a, SettlementResponse>) {
    let why = match outcome {
        Outcome::Settled(answer) | Outcome::NotSettled(answer) => return (200, Cow::Borrowed(answer)),
        Outcome::Unknown(why) => why,
    };
    tracing::warn!(%why, "a settlement's outcome is unknown");
    let pending = SettlementResponse {
        error_reason: Some(reason::SETTLEMENT_PENDING.to_owned()),
        error_message: Some(
            "it is not known yet whether this settled; present the same payment again".into(),
        ),
        network: network.to_owned(),
        ..SettlementResponse::default()
    };
    (503, Cow::Owned(pending))
}

/// What an answer to a `/settle` request proves. Whatever is not clearly a success or a refusal is unknown.
pub fn outcome(request: &FacilitatorRequest, status: u16, message: SettlementResponse) -> Outcome {
    if message.success && status != 200 {
        return Outcome::Unknown(UnknownOutcome(format!(
            "the answer says success with HTTP status {status}"
        )));
    }
    judge::settlement(request, message)
}
