//! What is counted of a payment, and by which name.

use std::sync::{Mutex, PoisonError};

use farthing_protocol::Amount;
use farthing_protocol::rail::Offer;

use super::case::Case;
use super::settling::{Settling, Step};
use crate::observe::{self, Subject};

/// Atomic units of a payment that were counted as taken.
#[derive(Debug, Default)]
pub(super) struct Counted(Mutex<Amount>);

impl Case {
    /// Its money is held.
    pub(super) fn count_hold(&self) {
        if observe::is_enabled() && self.tender.holds() {
            observe::held(&self.subject());
        }
    }

    /// It was taken, up to `total` atomic units: what was counted before is not counted again.
    pub(super) fn count_capture(&self, total: Amount) {
        if observe::is_enabled() {
            let mut counted = self.counted.0.lock().unwrap_or_else(PoisonError::into_inner);
            observe::captured(&self.subject(), *counted, total);
            *counted = total.max(*counted);
        }
    }

    /// It was given back.
    pub(super) fn count_void(&self) {
        if observe::is_enabled() && self.tender.holds() {
            observe::voided(&self.subject());
        }
    }

    /// Nobody knows what became of a step.
    pub(super) fn count_unknown(&self, step: &'static str) {
        if observe::is_enabled() {
            observe::unknown(&self.subject(), step);
        }
    }

    fn subject(&self) -> Subject<'_> {
        let (rail, asset) = (&self.tender.rail, self.offer.asset.as_str());
        Subject {
            route: self.tender.asked.label.as_ref(),
            network: rail.network().as_str(),
            scheme: rail.scheme(),
            asset,
            scale: scale(rail.as_ref(), asset),
        }
    }
}

/// Decimal places of an asset: those of its smallest unit.
fn scale(rail: &dyn Offer, asset: &str) -> Option<u8> {
    let (smallest, _) = rail.shown(asset, Amount(1))?;
    u8::try_from(smallest.strip_prefix("0.").map_or(0, str::len)).ok()
}

impl<B> Settling<B> {
    /// What asking for it is called in traces.
    pub(crate) fn span(&self) -> tracing::Span {
        match &self.step {
            Step::Authorize(_) => tracing::debug_span!("authorize"),
            Step::Capture { .. } => tracing::debug_span!("capture"),
            Step::Void { .. } => tracing::debug_span!("void"),
            Step::Close { .. } => tracing::debug_span!("close"),
        }
    }
}
