//! The facilitator's look at a payment: everything that `authorize` checks, holding nothing.

use farthing_ledger::command::Authorize;
use farthing_ledger::terms::Terms;
use farthing_ledger::{Ledger, LedgerError};
use farthing_protocol::rail::{FacilitatorError, Owner, PaymentFault, Tenant};
use farthing_protocol::v2::{FacilitatorRequest, PaymentRequirements, VerifyResponse};
use farthing_protocol::{Amount, reason};

use crate::wire;

/// Looks at the client's payload; see `POST /verify`.
pub(crate) async fn verify(
    ledger: &Ledger,
    request: &FacilitatorRequest,
) -> Result<VerifyResponse, FacilitatorError> {
    let signed = match wire::read_authorization(&request.payment_payload) {
        Ok(read) => read,
        Err(fault) => return Ok(invalid(reason::INVALID_PAYLOAD, &fault.to_string())),
    };
    if let Err(PaymentFault::Refused { reason, message }) = fits(&signed.terms, &request.payment_requirements)
    {
        return Ok(invalid(&reason, &message));
    }
    let nobody = Owner { id: [0; 16], lease_seconds: 0 };
    let checked = Authorize::read(signed.bytes.clone(), signed.signature, nobody, Tenant::local())
        .map(|a| (a.id(), a.check()));
    let id = match checked {
        Ok((id, Ok(_))) => id,
        Ok((_, Err(refusal))) => return Ok(invalid(refusal.reason(), &refusal.to_string())),
        Err(error) => return Ok(invalid(reason::INVALID_PAYLOAD, &error.to_string())),
    };
    let payer = Some(signed.terms.payer.to_string());
    match ledger.probe(id, signed.terms.clone()).await {
        Ok(()) => Ok(VerifyResponse { is_valid: true, payer, ..VerifyResponse::default() }),
        Err(LedgerError::Refused(refusal)) => {
            Ok(VerifyResponse { payer, ..invalid(refusal.reason(), &refusal.to_string()) })
        }
        Err(error) => Err(FacilitatorError::Unreachable(error.to_string())),
    }
}

fn invalid(reason: &str, message: &str) -> VerifyResponse {
    VerifyResponse {
        is_valid: false,
        invalid_reason: Some(reason.to_owned()),
        invalid_message: Some(message.to_owned()),
        ..VerifyResponse::default()
    }
}

/// Whether the signed terms are what the server says it offered.
pub(crate) fn fits(terms: &Terms, offer: &PaymentRequirements) -> Result<(), PaymentFault> {
    let refuse = |reason: &str, message: &str| {
        Err(PaymentFault::Refused { reason: reason.to_owned(), message: message.to_owned() })
    };
    if terms.ledger.network() != offer.network {
        return refuse(reason::INVALID_NETWORK, "the payment is signed for another ledger");
    }
    if terms.scheme.name() != offer.scheme {
        return refuse(reason::INVALID_SCHEME, "the payment is signed for another scheme");
    }
    if terms.payee.to_string() != offer.pay_to {
        return refuse(reason::PAY_TO_MISMATCH, "the payment is signed for another payee");
    }
    if terms.asset.as_str() != offer.asset {
        return refuse(reason::ASSET_MISMATCH, "the payment is signed for another asset");
    }
    if terms.max_amount != offer.amount || terms.max_amount == Amount::ZERO {
        return refuse(reason::AMOUNT_MISMATCH, "the payment is signed for another amount");
    }
    Ok(())
}
