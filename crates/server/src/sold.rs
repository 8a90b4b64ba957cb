//! What became of one request, for whoever logs, counts or sells.

use std::sync::Arc;

use farthing_protocol::rail::PaymentId;
use farthing_protocol::{Amount, Network};

use crate::answer::Situation;

/// An extension of every response of a priced route: what was sold, to whom, and for how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sold {
    /// What became of the request.
    pub situation: Situation,
    /// The route's [name](crate::PriceLayer::name); else the pattern that axum matched.
    pub route: Arc<str>,
    /// The payment that came with the request, if one could be read.
    pub payment: Option<PaymentId>,
    /// Who presented it, in the network's own words. Proven only where money moved or is held.
    pub payer: Option<String>,
    /// Where it is settled.
    pub network: Option<Network>,
    /// What it is paid in, in the network's own words.
    pub asset: Option<String>,
    /// Captured or settled for this answer, in atomic units of the asset. `None` when nothing was.
    pub amount: Option<Amount>,
    /// The most that could be captured, in atomic units of the asset: held while the handler ran.
    pub held: Option<Amount>,
    /// The answer was given before, for the same payment: its amount was counted then.
    pub replayed: bool,
}

impl Sold {
    /// Nothing, and no payment came.
    #[must_use]
    pub fn nothing(situation: Situation) -> Self {
        Self {
            situation,
            route: Arc::from(""),
            payment: None,
            payer: None,
            network: None,
            asset: None,
            amount: None,
            held: None,
            replayed: false,
        }
    }
}
