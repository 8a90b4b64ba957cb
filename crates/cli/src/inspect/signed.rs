//! The signed part of a payment on a farthing ledger.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farthing::farthing_ledger::terms::{Terms, payment_id};
use farthing::native::wire::Authorization;
use farthing::protocol::digest::{BodyHash, request_digest};
use farthing::protocol::rail::PaymentId;
use farthing::protocol::signature::{self, SignatureFault};
use farthing::protocol::v2::PaymentPayload;
use farthing::protocol::{Origin, RequestDigest};

/// What a payer signed, and whether they did.
#[derive(Debug)]
pub(crate) struct SignedTerms {
    pub(crate) id: PaymentId,
    pub(crate) terms: Terms,
    pub(crate) verdict: Result<(), SignatureFault>,
}

/// Decodes the signed bytes of a payment and checks their signature.
///
/// # Errors
/// A sentence about bytes that are not terms.
pub(crate) fn read(payment: &PaymentPayload) -> Result<SignedTerms, String> {
    let payload: Authorization =
        serde_json::from_str(payment.payload.get()).map_err(|error| format!("`payload` {error}"))?;
    let signed = STANDARD.decode(&payload.authorization);
    let signed = signed.map_err(|_| "`payload.authorization` is not base64".to_owned())?;
    let terms = Terms::decode(&signed).map_err(|error| format!("`payload.authorization`: {error}"))?;
    let verdict = signature::verify(&terms.signer, &signed, &payload.signature);
    Ok(SignedTerms { id: payment_id(&signed), terms, verdict })
}

/// The method with which a request for `url` without a body has this digest, if there is one.
pub(crate) fn method_of(url: &str, digest: &RequestDigest) -> Option<&'static str> {
    let (origin, target) = Origin::of_url(url).ok()?;
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    let fits = |method: &&str| {
        let bodies = [BodyHash::of(b""), BodyHash::Unbound];
        bodies.into_iter().any(|body| request_digest(method, &origin, &target, body) == *digest)
    };
    methods.into_iter().find(fits)
}
