//! Receipts of x402's extension `offer-receipt`: compared with what was paid for, and kept as they came.

use farthing_protocol::offer_receipt::{self, SignedReceipt};
use farthing_protocol::v2::SettlementResponse;

use crate::prepared::Prepared;
use crate::text::{SHOWN, plain};

/// The compact JWS of the receipt in a settlement, when it is signed and says what happened; `None` when
/// there is none.
///
/// The key is the one that the offer announced for receipts. Where it announced none, the signature is checked
/// with the key that the receipt itself carries: it is kept as evidence, and proves nothing about who signed.
///
/// # Errors
/// Why there is a receipt and it proves nothing, for people.
pub(crate) fn check(prepared: &Prepared, response: &SettlementResponse) -> Result<Option<String>, String> {
    let artifact = match offer_receipt::receipt(&response.extensions) {
        Ok(None) => return Ok(None),
        Ok(Some(artifact)) => artifact,
        Err(error) => return Err(plain(&error.to_string(), SHOWN)),
    };
    let said = |error: offer_receipt::ArtifactError| plain(&error.to_string(), SHOWN);
    let jws = artifact.jws().map_err(said)?;
    let key = match &prepared.0.receipt_key {
        Some(announced) => *announced,
        None => jws.key().map_err(|error| plain(&error.to_string(), SHOWN))?,
    };
    let receipt: SignedReceipt = artifact.verify(&key).map_err(said)?;
    if receipt.network != *prepared.network() {
        return Err("it is for a payment on another network".into());
    }
    let request = prepared.request();
    if receipt.resource_url != format!("{}{}", request.origin(), request.target()) {
        return Err("it is for another resource".into());
    }
    let is_other = |said: &String, known: &String| !said.eq_ignore_ascii_case(known);
    if response.payer.as_ref().is_some_and(|payer| is_other(&receipt.payer, payer)) {
        return Err("it is for another payer".into());
    }
    if receipt.transaction.as_ref().is_some_and(|named| is_other(named, &response.transaction)) {
        return Err("it is for another settlement".into());
    }
    Ok(Some(artifact.signature))
}
