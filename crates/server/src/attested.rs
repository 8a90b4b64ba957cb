//! What a seller signs so that anybody can check it later: offers in terms and receipts in settlements, by
//! x402's extension [`offer-receipt`](farthing_protocol::offer_receipt).

use std::borrow::Cow;

use farthing_protocol::SecretKey;
use farthing_protocol::offer_receipt::{self, Artifact, EXTENSION, SignedOffer, SignedReceipt};
use farthing_protocol::rail::OfferError;
use farthing_protocol::v2::{Extensions, PaymentRequirements};
use serde_json::value::RawValue;

use crate::flow::{Asked, Route};

/// What the seller of a route signs, besides what is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attests {
    /// Every offer in terms. Off, so that a request without a payment stays cheap to answer.
    pub offers: bool,
    /// A receipt for every paid answer, also for payers that did not ask.
    pub receipts: bool,
    /// Whether receipts name the settlement: whoever reads one can then look the payment up.
    pub transactions: bool,
}

impl Route {
    /// What is sold, as it is called in terms and in what is signed.
    pub(crate) fn resource_url(&self, asked: &Asked) -> String {
        format!("{}{}", self.seller.origin, asked.target)
    }

    /// The extensions in the terms for one request.
    pub(crate) fn extensions_for(&self, asked: &Asked, now: u64) -> Result<Cow<'_, Extensions>, OfferError> {
        if !self.attests.offers {
            return Ok(Cow::Borrowed(&self.extensions));
        }
        let mut offers = Vec::new();
        for rail in &self.seller.rails {
            offers.extend(self.offers_of(rail.as_ref(), asked, now)?);
        }
        let (key, url) = (&self.seller.receipt_key, self.resource_url(asked));
        let until = now.saturating_add(self.max_timeout_seconds);
        let signed = sign_offers(&offers, &url, until, key).map_err(unwritable)?;
        let mut extensions = self.extensions.clone();
        extensions.insert(EXTENSION.to_owned(), signed);
        Ok(Cow::Owned(extensions))
    }
}

fn sign_offers(
    offers: &[PaymentRequirements],
    url: &str,
    until: u64,
    key: &SecretKey,
) -> Result<Box<RawValue>, serde_json::Error> {
    let sign = |(at, offer)| Artifact::sign(&SignedOffer::of(offer, url, until), Some(at), key);
    let signed: Result<Vec<_>, _> = (0_u64..).zip(offers).map(sign).collect();
    offer_receipt::of_offers(&signed?)
}

fn unwritable(error: serde_json::Error) -> OfferError {
    OfferError::Field { field: "extensions".into(), why: error.to_string() }
}

/// Adds a signed receipt to a settlement's extensions.
pub(crate) fn put_receipt(extensions: &mut Extensions, receipt: &SignedReceipt, key: &SecretKey) {
    let signed = Artifact::sign(receipt, None, key).and_then(|signed| offer_receipt::of_receipt(&signed));
    match signed {
        Ok(signed) => {
            extensions.insert(EXTENSION.to_owned(), signed);
        }
        Err(error) => tracing::error!(%error, "a receipt cannot be written"),
    }
}
