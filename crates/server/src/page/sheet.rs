//! What a problem says, taken out of its JSON once more for whoever does not read JSON.

use farthing_protocol::problem::Problem;
use farthing_protocol::v2::{PaymentRequired, PaymentRequirements};

use super::catalogue::Language;
use crate::flow::Seller;

/// A problem for people.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) problem: Problem,
    /// What is sold, and the ways to pay, where it is to be paid.
    pub(super) terms: Option<PaymentRequired>,
    /// Those of the offers that can be read.
    pub(super) offers: Vec<Shown>,
    pub(super) language: Language,
}

/// An offer for people.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) offer: PaymentRequirements,
    /// Such as `0.01 USD`; atomic units where nobody knows the asset.
    pub(super) price: String,
    /// The currency and its decimal places, where they are known.
    pub(super) unit: Option<(String, usize)>,
}

impl Sheet {
    /// Reads what the paywall has written. `None` when it is no problem.
    pub(super) fn read(json: &[u8], seller: &Seller, language: Language) -> Option<Self> {
        let mut problem: Problem = serde_json::from_slice(json).ok()?;
        let terms =
            problem.terms.take().and_then(|terms| serde_json::from_str::<PaymentRequired>(terms.get()).ok());
        let offers =
            terms.iter().flat_map(PaymentRequired::offers).map(|offer| Shown::new((*offer).clone(), seller));
        let offers = offers.collect();
        Some(Self { problem, terms, offers, language })
    }

    /// What the problem means, in the reader's language.
    pub(super) fn message(&self) -> &str {
        self.problem.message.as_deref().unwrap_or(&self.problem.title)
    }

    /// Where it is documented.
    pub(super) fn doc_url(&self) -> &str {
        self.problem.doc_url.as_deref().unwrap_or_default()
    }

    /// The address that is paid for.
    pub(super) fn url(&self) -> &str {
        self.terms.as_ref().map_or("", |terms| &terms.resource.url)
    }

    /// What is sold, where the seller says it.
    pub(super) fn description(&self) -> Option<&str> {
        self.terms.as_ref()?.resource.description.as_deref().filter(|text| !text.trim().is_empty())
    }

    /// The offer that is shown first.
    pub(super) fn first(&self) -> Option<&Shown> {
        self.offers.first()
    }

    /// Prices without repetition, the preferred one first.
    pub(super) fn prices(&self) -> Vec<&str> {
        let mut prices = Vec::new();
        for shown in &self.offers {
            if !prices.contains(&shown.price.as_str()) {
                prices.push(shown.price.as_str());
            }
        }
        prices
    }

    /// The command line that pays.
    pub(super) fn command(&self) -> String {
        format!("farthing pay '{}'", super::escape::url(self.url()))
    }
}

impl Shown {
    fn new(offer: PaymentRequirements, seller: &Seller) -> Self {
        let is_of =
            |network: &str, scheme: &str| (network, scheme) == (offer.network.as_str(), &*offer.scheme);
        let rail = seller.rails.iter().find(|rail| is_of(rail.network().as_str(), rail.scheme()));
        let shown = |amount| rail.and_then(|rail| rail.shown(&offer.asset, amount));
        let price = shown(offer.amount).map(|(amount, currency)| format!("{amount} {currency}"));
        let unit = shown(farthing_protocol::Amount(1)).map(|(one, currency)| {
            let scale = one.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            (currency, scale)
        });
        let price = price.unwrap_or_else(|| format!("{} {}", offer.amount, offer.asset));
        Self { offer, price, unit }
    }
}
