//! What a request would cost: its offers, and whether this client would pay them.

use farthing_protocol::{Amount, Network};

use crate::budget::AssetId;
use crate::error::Refused;
use crate::journal::JournalError;
use crate::policy::Policy;
use crate::request::Request;
use crate::terms::Terms;
use crate::text::{SHOWN, plain};

/// What a server asks for a request. Its texts are the server's, made safe to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quote {
    /// What the server says it sells.
    pub description: Option<String>,
    /// The ways to pay, in the server's order; empty when the request is free.
    pub offers: Vec<QuotedOffer>,
}

/// One way to pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotedOffer {
    /// The scheme.
    pub scheme: String,
    /// The network.
    pub network: Network,
    /// The asset, in the network's own words.
    pub asset: String,
    /// Atomic units.
    pub amount: Amount,
    /// In whole units by the scale that the wallet trusts, such as `0.001 XTS`; `None` for other assets.
    pub price: Option<String>,
    /// Who would be paid, in the network's own words.
    pub payee: String,
    /// Whether this client would pay it now.
    pub verdict: Result<(), Refused>,
}

impl Quote {
    pub(crate) fn read(
        policy: &Policy,
        request: &Request,
        terms: &Terms,
        now: u64,
    ) -> Result<Self, JournalError> {
        let offers = terms.offers.iter().map(|offer| {
            let verdict = policy.would_pay(request, terms.version, offer, now)?;
            let rail = policy.rails.iter().find(|rail| *rail.network() == offer.network);
            let known = rail.and_then(|rail| {
                let (scale, asset) = rail.scale(&offer.asset).zip(rail.asset(&offer.asset))?;
                Some((scale, rail.currency(&asset), asset))
            });
            let price = known.as_ref();
            let price = price.map(|(scale, name, _)| format!("{} {name}", offer.amount.decimal(*scale)));
            let asset = known.map_or_else(|| plain(&offer.asset, SHOWN), |(_, _, asset)| asset);
            Ok(QuotedOffer {
                scheme: plain(&offer.scheme, SHOWN),
                network: offer.network.clone(),
                amount: offer.amount,
                price,
                asset,
                payee: plain(&offer.pay_to, SHOWN),
                verdict,
            })
        });
        let description = terms.resource.description.as_deref().map(|text| plain(text, SHOWN));
        Ok(Self { description, offers: offers.collect::<Result<_, JournalError>>()? })
    }

    /// Whether nothing is asked.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.offers.is_empty()
    }

    /// The offer that this client would pay.
    #[must_use]
    pub fn payable(&self) -> Option<&QuotedOffer> {
        self.offers.iter().find(|offer| offer.verdict.is_ok())
    }

    pub(crate) fn prices(&self) -> Vec<(AssetId, Amount)> {
        let id = |offer: &QuotedOffer| AssetId { network: offer.network.clone(), asset: offer.asset.clone() };
        self.offers.iter().map(|offer| (id(offer), offer.amount)).collect()
    }
}
