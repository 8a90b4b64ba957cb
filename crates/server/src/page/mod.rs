//! How a refusal is written for whoever reads it: a program, a person at a terminal, or one with a browser.
//!
//! The [answer](crate::answer) is a problem in JSON. At the very end, [`render`] writes it again in the format and the
//! language that the reader [asks for](accept): JSON of either media type, XML, text, or the [page](html) that pays in
//! the browser. What is said in all of them comes from one [catalogue].

mod accept;
mod catalogue;
mod escape;
mod html;
mod plain;
mod sheet;
mod xml;

use farthing_protocol::Origin;
use farthing_protocol::header::{PAYMENT_SIGNATURE, X_PAYMENT};
use http::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_LANGUAGE, CONTENT_TYPE, LINK, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::Value;

use self::accept::Format;
pub(crate) use self::catalogue::Language;
use self::sheet::Sheet;
use crate::answer::{Answer, Content, Situation};
use crate::flow::Seller;

/// Where kinds of problems are documented, unless the seller says otherwise: what x402 says about its answers.
pub(crate) const DOCS: &str = "https://github.com/coinbase/x402/blob/main/specs/transports-v2/http.md";

/// The page that a person with a browser is shown. Without a setting it shows what is sold, lets wallets be made in
/// the browser, and pays from them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageOptions {
    /// Who sells, in words; the origin's host unless set.
    pub title: Option<String>,
    /// The path on this origin at which test money is given away, such as `/faucet`: then the page offers to fill the
    /// wallet. Never set it where money has a value.
    pub top_up: Option<String>,
    /// The path on this origin at which the ledger's service is nested, such as `/ledger`: then the page shows
    /// balances.
    pub ledger: Option<String>,
    /// A page that documents kinds of problems: `doc_url` is this with `#` and the problem's code.
    pub docs: Option<String>,
}

/// Who reads an answer: taken from a request before it is consumed.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    accept: Vec<HeaderValue>,
    language: Vec<HeaderValue>,
    method: Method,
    /// A program, which reads what to do with its payment out of the JSON.
    brings_payment: bool,
    /// Path and query, as received.
    target: http::Uri,
}

impl Visitor {
    /// `received` is the URI as it came, before routers changed it.
    pub(crate) fn of(parts: &Parts, received: &http::Uri) -> Self {
        let all = |name| parts.headers.get_all(name).iter().cloned().collect();
        let (accept, language) = (all(ACCEPT), all(ACCEPT_LANGUAGE));
        let brings_payment =
            [PAYMENT_SIGNATURE, X_PAYMENT].iter().any(|name| parts.headers.contains_key(*name));
        Self { accept, language, method: parts.method.clone(), brings_payment, target: received.clone() }
    }

    fn format(&self) -> Format {
        match Format::accepted(texts(&self.accept)) {
            Format::Html | Format::Xml | Format::Plain if self.brings_payment => Format::Problem,
            format => format,
        }
    }

    fn language(&self) -> Language {
        Language::accepted(texts(&self.language))
    }
}

fn texts(values: &[HeaderValue]) -> impl Iterator<Item = &str> + Clone {
    values.iter().filter_map(|value| value.to_str().ok())
}

/// Writes a problem as its reader likes it best; leaves every other answer as it is.
pub(crate) fn render<B>(
    answer: &mut Answer<B>,
    visitor: &Visitor,
    seller: &Seller,
    options: &PageOptions,
    now: u64,
) {
    if !answer.is_problem {
        return;
    }
    let Content::Whole(json) = &answer.content else { return };
    let (format, language) = (visitor.format(), visitor.language());
    let mut headers = std::mem::take(&mut answer.headers);
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    if answer.status == StatusCode::PAYMENT_REQUIRED {
        link(&mut headers, &seller.origin, visitor);
    }
    let is_other = language != Language::En || options.docs.is_some();
    let explained = is_other.then(|| explain(json, answer.situation, language, options)).flatten();
    let json = explained.as_deref().unwrap_or(json);
    let body = match format {
        Format::Problem | Format::Json => None,
        Format::Xml => serde_json::from_slice(json).ok().map(|problem: Value| xml::write(&problem)),
        Format::Plain => Sheet::read(json, seller, language).map(|sheet| plain::write(&sheet)),
        Format::Html => Sheet::read(json, seller, language).map(|sheet| {
            html::headers(&mut headers);
            html::write(&sheet, seller, options, &visitor.method, now)
        }),
    };
    let is_json = matches!(format, Format::Problem | Format::Json);
    if format != Format::Problem && (is_json || body.is_some()) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    let body = body.map(String::into_bytes).or(explained);
    answer.headers = headers;
    if let Some(body) = body {
        answer.content = Content::Whole(body.into());
    }
}

/// Where it can be paid (the relation of RFC 8288 that IANA lists as `payment`).
fn link(headers: &mut HeaderMap, origin: &Origin, visitor: &Visitor) {
    let target = visitor.target.path_and_query().map_or("/", |target| target.as_str());
    let link = format!("<{}{}>; rel=\"payment\"", origin.as_str(), escape::url(target));
    if let Ok(link) = HeaderValue::try_from(link) {
        headers.append(LINK, link);
    }
}

/// What a problem says of itself in English, where nobody set another documentation.
pub(crate) fn explained(situation: Situation) -> (String, &'static str) {
    (documented(DOCS, situation), Language::En.message(situation.row().code, situation.is_paid()))
}

fn documented(docs: &str, situation: Situation) -> String {
    format!("{docs}#{}", situation.row().code)
}

/// The same JSON, with the message in another language and the seller's own documentation. Two members are replaced,
/// and every other byte stays as it is.
fn explain(json: &[u8], situation: Situation, language: Language, options: &PageOptions) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(json).ok()?;
    let members = |docs: String, message: &str| {
        let (docs, message) = (serde_json::to_string(&docs).ok()?, serde_json::to_string(message).ok()?);
        Some(format!(",\"doc_url\":{docs},\"message\":{message}"))
    };
    let (docs, message) = explained(situation);
    let before = members(docs, message)?;
    let docs = documented(options.docs.as_deref().unwrap_or(DOCS), situation);
    let after = members(docs, language.message(situation.row().code, situation.is_paid()))?;
    // Quotation marks inside of a text are escaped there, so this is not found in one.
    text.contains(&before).then(|| text.replacen(&before, &after, 1).into_bytes())
}
