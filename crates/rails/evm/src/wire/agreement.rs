//! Whether what is signed agrees with an offer: everything that can be told without the chain and without the
//! signature. The resource server and the facilitator ask the same.

use farthing_protocol::rail::PaymentFault;
use farthing_protocol::v2::PaymentRequirements;
use serde_json::Value;

use super::payload::{Authorization, Permit, Transfer};
use super::{EXACT, EXACT_PROXY, UPTO, UPTO_PROXY, WINDOW_PADDING, reasons, refused, text};

/// Seconds that a payment may be valid for, at least, whatever the offer says: some clients sign for an hour.
const LONGEST_WINDOW: u64 = 3600;
/// Seconds by which a payer's clock may be ahead.
const SKEW: u64 = 600;

/// The last moment, in Unix seconds, to which a payment for `offer` may be valid.
pub(crate) fn latest_end(offer: &PaymentRequirements, now: u64) -> u64 {
    now.saturating_add(offer.max_timeout_seconds.max(LONGEST_WINDOW)).saturating_add(SKEW)
}

/// Whether `signed` is what `offer` asks for, now.
///
/// # Errors
/// [`PaymentFault::Refused`] with the reason that x402 has for it.
pub(crate) fn agrees(
    signed: &Authorization,
    offer: &PaymentRequirements,
    now: u64,
) -> Result<(), PaymentFault> {
    if signed.scheme() != offer.scheme {
        let reason = if offer.scheme == UPTO { reasons::UPTO_SCHEME } else { reasons::EXACT_SCHEME };
        return Err(refused(reason, format!("the payment is signed for the scheme {}", signed.scheme())));
    }
    match signed {
        Authorization::Eip3009(transfer) => agrees_3009(transfer, offer, now),
        Authorization::Permit2(permit) => agrees_permit2(permit, offer, now),
    }
}

fn agrees_3009(signed: &Transfer, offer: &PaymentRequirements, now: u64) -> Result<(), PaymentFault> {
    if asks_for_permit2(offer) {
        return Err(refused(reasons::EXACT_EIP3009_NOT_SUPPORTED, "the offer asks for a Permit2 payment"));
    }
    if text::read_address(&offer.pay_to) != Some(signed.to) {
        return Err(refused(reasons::EXACT_RECIPIENT_MISMATCH, "the payment is signed for another payee"));
    }
    window(signed.valid_before, offer, now).map_err(|why| refused(reasons::EXACT_VALID_BEFORE, why))?;
    if signed.valid_after > now {
        return Err(refused(reasons::EXACT_VALID_AFTER, "the payment is not yet valid"));
    }
    if signed.value != offer.amount {
        return Err(refused(reasons::EXACT_VALUE, "the payment is signed for another amount"));
    }
    Ok(())
}

fn agrees_permit2(signed: &Permit, offer: &PaymentRequirements, now: u64) -> Result<(), PaymentFault> {
    if offer.scheme == EXACT && !asks_for_permit2(offer) {
        return Err(refused(reasons::EXACT_SCHEME, "the offer asks for an EIP-3009 payment"));
    }
    let proxy = if offer.scheme == UPTO { UPTO_PROXY } else { EXACT_PROXY };
    if signed.spender != proxy {
        return Err(refused(reasons::PERMIT2_SPENDER, "the payment is signed for another contract"));
    }
    if text::read_address(&offer.pay_to) != Some(signed.witness.to) {
        return Err(refused(reasons::PERMIT2_RECIPIENT_MISMATCH, "the payment is signed for another payee"));
    }
    let facilitator = offer.extra.get("facilitatorAddress").and_then(Value::as_str);
    if offer.scheme == UPTO && facilitator.and_then(text::read_address) != signed.witness.facilitator {
        let message = "the payment is signed for another facilitator";
        return Err(refused(reasons::UPTO_FACILITATOR_MISMATCH, message));
    }
    window(signed.deadline, offer, now).map_err(|why| refused(reasons::PERMIT2_DEADLINE, why))?;
    if signed.witness.valid_after > now {
        return Err(refused(reasons::PERMIT2_NOT_YET_VALID, "the payment is not yet valid"));
    }
    if signed.permitted.amount != offer.amount {
        return Err(refused(reasons::PERMIT2_AMOUNT_MISMATCH, "the payment is signed for another amount"));
    }
    if text::read_address(&offer.asset) != Some(signed.permitted.token) {
        return Err(refused(reasons::PERMIT2_TOKEN_MISMATCH, "the payment is signed for another token"));
    }
    Ok(())
}

/// Whether an offer of `exact` wants Permit2; EIP-3009 is the default.
pub(crate) fn asks_for_permit2(offer: &PaymentRequirements) -> bool {
    offer.extra.get("assetTransferMethod").and_then(Value::as_str) == Some("permit2")
}

fn window(end: u64, offer: &PaymentRequirements, now: u64) -> Result<(), &'static str> {
    if end < now.saturating_add(WINDOW_PADDING) {
        return Err("the payment has expired, or expires too soon to be settled");
    }
    if end > latest_end(offer, now) {
        return Err("the payment stays valid for too long");
    }
    Ok(())
}
