//! A route's offers as text: written once a second, and completed for each request.
//!
//! Most requests that are answered with terms differ in nothing but their digest, so the rest is not written
//! again for each. Nothing is remembered of a request.

use std::sync::{Arc, Mutex, PoisonError};

use farthing_protocol::rail::OfferError;
use farthing_protocol::{Binding, Price};

use super::route::unpriced;
use super::{Asked, Route, Seller};

/// What was written last for a route.
#[derive(Default)]
pub struct Notices(Mutex<Option<Arc<Notice>>>);

/// The offers of one second.
struct Notice {
    now: u64,
    seller: Arc<Seller>,
    prices: Arc<[Price]>,
    binding: Binding,
    is_safe: bool,
    max_timeout_seconds: u64,
    /// Each one's text before and behind the request's digest.
    offers: Vec<(String, String)>,
}

impl Clone for Notices {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Notices")
    }
}

impl Route {
    /// Writes `accepts` for one request: the offers of all rails, with commas between them.
    pub(super) fn write_offers(&self, asked: &Asked, now: u64, out: &mut String) -> Result<(), OfferError> {
        let digest = asked.digest.to_string();
        let lock = || self.notices.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = lock().clone().filter(|notice| notice.is_of(self, asked, now));
        let notice = match last {
            Some(notice) => notice,
            None => {
                let (notice, lasts) = self.notice(asked, &digest, now)?;
                let notice = Arc::new(notice);
                if lasts {
                    *lock() = Some(notice.clone());
                }
                notice
            }
        };
        for (at, (before, behind)) in notice.offers.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let digest = if behind.is_empty() { "" } else { &digest };
            [comma, before, digest, behind].into_iter().for_each(|part| out.push_str(part));
        }
        Ok(())
    }

    /// The offers, and whether they are good for other requests of this second.
    fn notice(&self, asked: &Asked, digest: &str, now: u64) -> Result<(Notice, bool), OfferError> {
        // A quote is for one request.
        let (mut offers, mut lasts) = (Vec::new(), self.quotes.is_none());
        for rail in self.rails() {
            for offer in self.offers_of(rail.as_ref(), asked, now)? {
                let text = serde_json::to_string(&offer)
                    .map_err(|error| OfferError::Field { field: "extra".into(), why: error.to_string() })?;
                let parts = text.split_once(digest).filter(|(_, behind)| !behind.contains(digest));
                lasts &= rail.differs_by_digest_alone() && parts.is_some();
                offers.push(match parts {
                    Some((before, behind)) => (before.to_owned(), behind.to_owned()),
                    None => (text, String::new()),
                });
            }
        }
        if offers.is_empty() {
            return Err(unpriced(asked, "any rail"));
        }
        let Self { seller, binding, max_timeout_seconds, .. } = self;
        let (seller, prices) = (seller.clone(), asked.prices.clone());
        let (binding, is_safe) = (*binding, asked.method.is_safe());
        let max_timeout_seconds = *max_timeout_seconds;
        Ok((Notice { now, seller, prices, binding, is_safe, max_timeout_seconds, offers }, lasts))
    }
}

impl Notice {
    fn is_of(&self, route: &Route, asked: &Asked, now: u64) -> bool {
        self.now == now
            && Arc::ptr_eq(&self.seller, &route.seller)
            && self.prices == asked.prices
            && self.binding == route.binding
            && self.is_safe == asked.method.is_safe()
            && self.max_timeout_seconds == route.max_timeout_seconds
    }
}
