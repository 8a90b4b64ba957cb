//! What the demonstration sells: the pages of farthing's own specification.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use farthing::Paywall;

use super::world::ASSET;
use crate::Failure;

/// A page and its price.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) path: &'static str,
    /// In whole units of XTS.
    pub(super) price: &'static str,
    pub(super) title: &'static str,
    /// The page's parts, in order.
    parts: &'static [&'static str],
}

impl Page {
    /// The price in another currency: as much of it as of play money.
    pub(super) fn price_in(&self, currency: &str) -> String {
        self.price.replace(ASSET, currency)
    }

    /// The page itself.
    pub(super) fn text(&self) -> String {
        self.parts.join("\n\n")
    }
}

const OVERVIEW: &str = include_str!("../../../../spec/README.md");
const DIGEST: &str = include_str!("../../../../spec/request-digest.md");
const AUTH_CAPTURE: &str = include_str!("../../../../spec/scheme-auth-capture-farthing.md");
const EXACT: &str = include_str!("../../../../spec/scheme-exact-farthing.md");
const RECEIPT: &str = include_str!("../../../../spec/receipt.md");
const LEDGER: &str = include_str!("../../../../spec/ledger.md");
const FACILITATOR: &str = include_str!("../../../../spec/facilitator-http.md");

/// The page that the story buys.
pub(super) const FIRST: &Page = &Page {
    path: "/spec/receipt.md",
    price: "0.001 XTS",
    title: "Receipts: the seller's signed statement",
    parts: &[RECEIPT],
};

/// The page on which the story presents the first page's payment.
pub(super) const SECOND: &Page = &Page {
    path: "/spec/request-digest.md",
    price: "0.002 XTS",
    title: "The request digest: what a payment is bound to",
    parts: &[DIGEST],
};

/// More than the agent may spend on one request.
pub(super) const TOO_EXPENSIVE: &Page = &Page {
    path: "/spec/everything.md",
    price: "0.25 XTS",
    title: "The whole specification in one file",
    parts: &[OVERVIEW, DIGEST, AUTH_CAPTURE, EXACT, RECEIPT, LEDGER, FACILITATOR],
};

/// The pages that the agent can afford one by one.
pub(super) const AFFORDABLE: &[&Page] = &[
    FIRST,
    SECOND,
    &Page {
        path: "/spec/README.md",
        price: "0.001 XTS",
        title: "What is taken from x402, and what is added",
        parts: &[OVERVIEW],
    },
    &Page {
        path: "/spec/scheme-auth-capture-farthing.md",
        price: "0.005 XTS",
        title: "The scheme auth-capture on a farthing ledger",
        parts: &[AUTH_CAPTURE],
    },
    &Page {
        path: "/spec/scheme-exact-farthing.md",
        price: "0.0015 XTS",
        title: "The scheme exact on a farthing ledger",
        parts: &[EXACT],
    },
    &Page {
        path: "/spec/ledger.md",
        price: "0.004 XTS",
        title: "The ledger: accounts, entries, and how they are proved",
        parts: &[LEDGER],
    },
    &Page {
        path: "/spec/facilitator-http.md",
        price: "0.003 XTS",
        title: "The facilitator's HTTP interface",
        parts: &[FACILITATOR],
    },
];

/// Everything that is sold.
pub(super) fn all() -> impl Iterator<Item = &'static Page> {
    AFFORDABLE.iter().copied().chain([TOO_EXPENSIVE])
}

/// The paid pages, each behind its price in `currency`, and the free list of them.
///
/// # Errors
/// When the paywall cannot express a price.
pub(super) fn router(paywall: &Paywall, origin: &str, currency: &str) -> Result<Router, Failure> {
    let markdown = |text: String| ([(CONTENT_TYPE, "text/markdown; charset=utf-8")], text);
    let index = index(origin, currency);
    let mut router = Router::new().route("/", get(async move || markdown(index)));
    for page in all() {
        let price = paywall.try_price(page.price_in(currency).as_str()).map_err(Failure::unsound)?;
        let price = price.description(page.title).mime_type("text/markdown").signed_receipts(true);
        let text = page.text();
        router = router.route(page.path, get(async move || markdown(text)).layer(price));
    }
    Ok(router)
}

/// The page that costs nothing: what there is, and what it costs.
fn index(origin: &str, currency: &str) -> String {
    let mut text = String::from("# farthing: the specification, page by page\n\n");
    for page in all() {
        text += &format!("- {origin}{}  {}: {}\n", page.path, page.price_in(currency), page.title);
    }
    text
}
