//! A problem as lines of text.

use super::escape::{plain, url};
use super::sheet::Sheet;

/// One fact a line, for people at a terminal.
pub(super) fn write(sheet: &Sheet) -> String {
    let say = |key| sheet.language.page(key);
    let mut lines = vec![plain(sheet.message()), String::new()];
    if let Some(terms) = &sheet.terms {
        let mut line = |key, value: String| lines.push(format!("{}: {value}", say(key)));
        line("price", plain(&sheet.prices().join(" / ")));
        if let Some(description) = sheet.description() {
            line("content", plain(description));
        }
        line("address", url(&terms.resource.url));
        if let Some(kind) = &terms.resource.mime_type {
            line("kind", plain(kind));
        }
        for shown in &sheet.offers {
            let offer = &shown.offer;
            let (scheme, network, payee) =
                (plain(&offer.scheme), plain(offer.network.as_str()), plain(&offer.pay_to));
            line("seller", format!("{payee} ({}, {scheme}, {network})", plain(&shown.price)));
        }
        line("terminal", sheet.command());
    } else {
        lines.push(plain(&sheet.problem.detail));
    }
    lines.push(format!("{}: {}", say("code"), plain(&sheet.problem.code)));
    if !sheet.doc_url().is_empty() {
        lines.push(format!("{}: {}", say("details"), url(sheet.doc_url())));
    }
    lines.push(String::new());
    lines.join("\n")
}
