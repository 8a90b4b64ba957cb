//! What version 1 of x402 asks of a facilitator, in the words of version 2.
//!
//! Rails know version 2 only. A request of version 1 names its network (`base-sepolia`) instead of giving its
//! CAIP-2 id, calls the amount otherwise, and does not repeat the offer in the payment. Everything that is
//! signed is the same, so a request is translated on its way to a rail, and the answer's network on its way
//! back. What was settled is looked for in the routes of version 1.

use std::sync::Arc;

use farthing_protocol::rail::Outcome;
use farthing_protocol::v1::{self, PaymentPayloadV1, PaymentRequirementsV1};
use farthing_protocol::v2::{self, FacilitatorRequest, PaymentPayload, PaymentRequirements, ResourceInfo};
use farthing_protocol::{Verbatim, reason};
use serde::{Deserialize, Serialize};

use crate::judge::Fault;

/// The body of `POST /verify` and `POST /settle` in version 1.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FacilitatorRequestV1 {
    /// Always 1, as in the payment.
    pub x402_version: u64,
    /// The payment as it came in `X-PAYMENT`.
    pub payment_payload: PaymentPayloadV1,
    /// The offer that the server made.
    pub payment_requirements: PaymentRequirementsV1,
}

impl FacilitatorRequestV1 {
    /// The network that both members name.
    pub(crate) fn network(&self) -> &str {
        &self.payment_requirements.network
    }

    /// The same request in version 2; what the payer accepted is what the server says it offered.
    pub(crate) fn translate(&self) -> Result<FacilitatorRequest, Fault> {
        let (payment, made) = (&self.payment_payload, &self.payment_requirements);
        if self.x402_version != v1::VERSION || payment.x402_version != v1::VERSION {
            return Err((
                reason::INVALID_X402_VERSION,
                "`x402Version` must be the same in the request and in the payment",
            ));
        }
        if payment.scheme != made.scheme {
            return Err((
                reason::INVALID_PAYMENT_REQUIREMENTS,
                "`scheme` of `paymentRequirements` is not that of the payment",
            ));
        }
        if payment.network != made.network {
            return Err((
                reason::INVALID_PAYMENT_REQUIREMENTS,
                "`network` of `paymentRequirements` is not that of the payment",
            ));
        }
        let network = v1::network_of(&made.network)
            .ok_or((reason::INVALID_NETWORK, "version 1 has no network of this name"))?;
        let offer = PaymentRequirements {
            scheme: made.scheme.clone(),
            network,
            amount: made.max_amount_required,
            asset: made.asset.clone(),
            pay_to: made.pay_to.clone(),
            max_timeout_seconds: made.max_timeout_seconds,
            extra: made.extra.clone(),
        };
        let accepted = Verbatim::write(offer.clone()).map_err(|_| {
            (reason::INVALID_PAYMENT_REQUIREMENTS, "`paymentRequirements` cannot be translated")
        })?;
        let resource = ResourceInfo {
            url: made.resource.clone(),
            description: Some(made.description.clone()).filter(|text| !text.is_empty()),
            mime_type: made.mime_type.clone(),
            ..ResourceInfo::default()
        };
        Ok(FacilitatorRequest {
            x402_version: v2::VERSION,
            payment_payload: PaymentPayload {
                x402_version: v2::VERSION,
                resource: Some(resource),
                accepted,
                payload: payment.payload.clone().into(),
                extensions: v2::Extensions::new(),
            },
            payment_requirements: Arc::new(offer),
        })
    }
}

/// The network of a kind of `version`, or `None` when that version has no such network.
pub(crate) fn network_of_kind(version: u64, text: &str) -> Option<String> {
    match version {
        v1::VERSION => v1::network_of(text).map(|network| network.as_str().to_owned()),
        _ => Some(text.to_owned()),
    }
}

/// An outcome on the network that version 1 calls `name`.
pub(crate) fn named(outcome: Outcome, name: &str) -> Outcome {
    match outcome {
        Outcome::Settled(mut answer) => {
            name.clone_into(&mut answer.network);
            Outcome::Settled(answer)
        }
        Outcome::NotSettled(mut answer) => {
            name.clone_into(&mut answer.network);
            Outcome::NotSettled(answer)
        }
        Outcome::Unknown(why) => Outcome::Unknown(why),
    }
}
