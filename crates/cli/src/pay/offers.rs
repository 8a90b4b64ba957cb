//! What a request would cost, and what would be paid. Nothing is.

use std::fmt::Write as _;

use farthing::client::{Quote, QuotedOffer};
use serde_json::json;

use super::asked::Asked;
use super::ended::{self, Ended};
use crate::style::{BAD, GOOD, QUIET, TITLE, ascii_json, count, paint, print, safe};
use crate::{Failure, told};

/// Shows the offers on standard output.
pub(super) fn show(asked: &Asked, quote: &Quote, as_json: bool) -> Result<(), Ended> {
    let is_good = quote.is_free() || quote.payable().is_some();
    let text = match as_json {
        true => {
            let exit = if is_good { 0 } else { ended::REFUSED };
            let quote = json!({ "exit": exit, "quote": told::quote(quote) });
            format!("{}\n", ascii_json(&quote.to_string()))
        }
        false => words(asked, quote),
    };
    print(&text).map_err(|error| Ended::failed(Failure::unsound(error)))?;
    if is_good { Ok(()) } else { Err(Ended::would_not_pay()) }
}

fn words(asked: &Asked, quote: &Quote) -> String {
    let request = safe(&format!("{} {}", asked.method, asked.url));
    let mut text = paint(TITLE, request);
    // Writing to a string cannot fail.
    if quote.is_free() {
        let _ = writeln!(text, "\n   Nothing is asked for it.");
        return text;
    }
    let _ = writeln!(text, ": {}", count(quote.offers.len() as u64, "offer"));
    if let Some(description) = &quote.description {
        let _ = writeln!(text, "   The server says: {}", safe(description));
    }
    let mut is_chosen = false;
    for (at, offer) in quote.offers.iter().enumerate() {
        let _ = writeln!(text, "{:3}. {}", at + 1, priced(offer));
        let _ = writeln!(text, "     to {}", safe(&offer.payee));
        let _ = match &offer.verdict {
            Ok(()) if is_chosen => {
                writeln!(text, "     {}", paint(QUIET, "could be paid too, and is not the first"))
            }
            Ok(()) => {
                is_chosen = true;
                writeln!(text, "     {}", paint(GOOD, "would be paid"))
            }
            Err(refused) => {
                let _ = writeln!(text, "     {}: {}", paint(BAD, "would not be paid"), safe(&refused.why));
                writeln!(text, "     To go on: {}", refused.rule.remedy())
            }
        };
    }
    let _ = writeln!(text, "{}", paint(QUIET, "Nothing was paid."));
    text
}

fn priced(offer: &QuotedOffer) -> String {
    let price = match &offer.price {
        Some(price) => safe(price),
        None => format!("{} atomic units of {}", offer.amount, safe(&offer.asset)),
    };
    format!("{price} by {} on {}", safe(&offer.scheme), offer.network)
}
