//! The page: what is sold, for how much, and a wallet in the browser that pays.
//!
//! `paywall.html`, `paywall.css` and `script/` are its parts. They are put together once for each language, without
//! comments and indentation; a request only fills in what is its own. The policy that goes with the page allows this
//! script and this style by their hashes, and nothing else.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farthing_protocol::digest::sha256;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::json;

use super::PageOptions;
use super::catalogue::{Language, PAGE, Text};
use super::escape::{markup, script, url};
use super::sheet::Sheet;
use crate::flow::Seller;

const PAYWALL: &str = include_str!("paywall.html");
const NOTICE: &str = include_str!("notice.html");
const STYLE: &str = include_str!("paywall.css");
const SCRIPT: &str = concat!(
    include_str!("script/bytes.js"),
    include_str!("script/store.js"),
    include_str!("script/view.js"),
    include_str!("script/wallet.js"),
    include_str!("script/payment.js"),
    include_str!("script/receipt.js"),
    include_str!("script/pass.js"),
    include_str!("script/main.js"),
);

/// A template in one language: what never changes, and the names of what does.
struct Template(Vec<(String, &'static str)>);

/// What all pages share.
struct Assets {
    style: String,
    script: String,
    policy: HeaderValue,
    /// What the script says. Codes of problems are said by whoever answers with them.
    words: Vec<(&'static str, &'static Text)>,
    paywall: Vec<Template>,
    notice: Vec<Template>,
}

fn assets() -> &'static Assets {
    static ASSETS: OnceLock<Assets> = OnceLock::new();
    ASSETS.get_or_init(|| {
        let style = dense(&tight(STYLE), &IN_STYLE);
        let script = dense(&tight(SCRIPT), &IN_SCRIPT);
        let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(sha256(text.as_bytes())));
        let policy = format!(
            "default-src 'none'; script-src {}; style-src {}; img-src blob: data:; connect-src 'self'; \
             frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            hash(&script),
            hash(&style)
        );
        // Base64 and words: it can always stand in a header.
        let policy =
            HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"));
        let all = |text| Language::ALL.into_iter().map(|language| Template::new(text, language)).collect();
        let is_said = |key: &str| key.contains('-') || SCRIPT.contains(&format!("\"{key}\""));
        let words = PAGE.iter().filter(|(key, _)| is_said(key)).map(|(key, text)| (*key, text)).collect();
        Assets { style, script, policy, words, paywall: all(PAYWALL), notice: all(NOTICE) }
    })
}

/// Without indentation, empty lines and lines of comment. The sources have no text over several lines.
fn tight(source: &str) -> String {
    let lines = source.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("//") && !line.starts_with("/**"));
    lines.fold(String::with_capacity(source.len()), |text, line| text + line + "\n")
}

/// Spaces that mean nothing in a style, which has no texts in which they would.
const IN_STYLE: [(&str, &str); 5] = [(" {", "{"), (": ", ":"), (", ", ","), (";\n}", "}"), ("\n", "")];
/// The same in the script, whose texts have none of them but in a list of media types, where they mean nothing too.
const IN_SCRIPT: [(&str, &str); 10] = [
    (", ", ","),
    (" = ", "="),
    (" => ", "=>"),
    (" === ", "==="),
    (" && ", "&&"),
    (" || ", "||"),
    (" ? ", "?"),
    ("{ ", "{"),
    (" }", "}"),
    (") {", "){"),
];

fn dense(source: &str, shorter: &[(&str, &str)]) -> String {
    shorter.iter().fold(source.to_owned(), |text, (long, short)| text.replace(long, short))
}

impl Template {
    /// Reads `{{key}}`, a text of the catalogue, and `{{=name}}`, which a request fills in.
    fn new(source: &'static str, language: Language) -> Self {
        let (mut parts, mut text) = (Vec::new(), String::new());
        let mut pieces = source.split("{{");
        text.push_str(pieces.next().unwrap_or_default());
        for piece in pieces {
            let (name, rest) = piece.split_once("}}").unwrap_or((piece, ""));
            match name.strip_prefix('=') {
                Some(slot) => parts.push((std::mem::take(&mut text), slot)),
                None => text.push_str(&markup(language.page(name))),
            }
            text.push_str(rest);
        }
        parts.push((text, ""));
        Self(parts)
    }

    /// `value` gives what stands in a slot, as HTML.
    fn fill(&self, value: impl Fn(&str) -> String) -> String {
        let mut out = String::with_capacity(48 * 1024);
        for (text, slot) in &self.0 {
            out.push_str(text);
            match *slot {
                "" => {}
                "style" => out.push_str(&assets().style),
                "script" => out.push_str(&assets().script),
                slot => out.push_str(&value(slot)),
            }
        }
        out
    }
}

/// The headers of a page: it may run its own script, and speak to its own server.
pub(super) fn headers(headers: &mut HeaderMap) {
    headers.insert(http::header::CONTENT_SECURITY_POLICY, assets().policy.clone());
    headers.insert(http::header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// The page for a problem: one that pays where there are terms.
pub(super) fn write(
    sheet: &Sheet,
    seller: &Seller,
    options: &PageOptions,
    method: &Method,
    now: u64,
) -> String {
    let site = options.title.clone().unwrap_or_else(|| host(seller.origin.as_str()).to_owned());
    let at = sheet.language as usize;
    let templates = if sheet.terms.is_some() { &assets().paywall } else { &assets().notice };
    let Some(template) = templates.get(at) else { return String::new() };
    template.fill(|slot| match slot {
        "lang" => sheet.language.tag().to_owned(),
        "site" => markup(&site),
        "title" => markup(&title(sheet, &site)),
        "message" => markup(sheet.message()),
        "detail" => markup(&sheet.problem.detail),
        "status" => sheet.problem.status.to_string(),
        "code" => markup(&sheet.problem.code),
        "doc_url" => markup(&url(sheet.doc_url())),
        "heading" => markup(sheet.description().unwrap_or(sheet.language.page("untitled"))),
        "price" => markup(sheet.first().map_or("", |shown| &shown.price)),
        "per" => {
            let is_metered = sheet.first().is_some_and(|shown| shown.offer.scheme == "upto");
            let has =
                |name: &str| sheet.terms.as_ref().is_some_and(|terms| terms.extensions.contains_key(name));
            let key = match (has("sign-in-with-x"), is_metered) {
                (true, _) => "for_pass",
                (_, true) => "at_most",
                _ => "once",
            };
            markup(sheet.language.page(key))
        }
        "no_test_money" => if is_test_money(sheet) { "" } else { " hidden" }.to_owned(),
        "facts" => facts(sheet, &site),
        "offers" => offers(sheet),
        "command" => markup(&sheet.command()),
        "data" => script(&data(sheet, seller, options, method, now)),
        _ => String::new(),
    })
}

fn host(origin: &str) -> &str {
    origin.split_once("://").map_or(origin, |(_, host)| host)
}

fn title(sheet: &Sheet, site: &str) -> String {
    match (sheet.description(), sheet.first()) {
        (Some(what), Some(shown)) => format!("{what} · {} · {site}", shown.price),
        (None, Some(shown)) => format!("{} · {site}", shown.price),
        _ => format!("{} · {site}", sheet.message()),
    }
}

fn is_test_money(sheet: &Sheet) -> bool {
    let unit = sheet.first().and_then(|shown| shown.unit.as_ref());
    unit.is_some_and(|(currency, _)| currency == "XTS")
}

fn facts(sheet: &Sheet, site: &str) -> String {
    let say = |key: &str| markup(sheet.language.page(key));
    let row = |name: &str, value: &str| format!("<div><dt>{}</dt><dd>{value}</dd></div>\n", say(name));
    let Some(terms) = &sheet.terms else { return String::new() };
    let mut rows = row("address", &format!("<bdi>{}</bdi>", markup(&terms.resource.url)));
    if let Some(kind) = &terms.resource.mime_type {
        rows.push_str(&row("kind", &markup(kind)));
    }
    if let Some(shown) = sheet.first() {
        let payee = format!(
            "<bdi>{}</bdi> <code class=\"short\">{}</code>",
            markup(site),
            markup(&shown.offer.pay_to)
        );
        rows.push_str(&row("seller", &payee));
    }
    rows.push_str(&format!(
        "<div id=\"valid\" hidden><dt>{}</dt><dd><span id=\"remaining\"></span></dd></div>\n",
        say("valid")
    ));
    rows
}

/// All offers in full.
fn offers(sheet: &Sheet) -> String {
    let say = |key: &str| markup(sheet.language.page(key));
    let (price, payee, network) = (say("price"), say("seller"), say("network"));
    let item = |shown: &super::sheet::Shown| {
        let offer = &shown.offer;
        let row = |name: &str, value: &str| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n");
        let code = |text: &str| format!("<code>{}</code>", markup(text));
        let shown = format!("{} {}", markup(&shown.price), code(&offer.scheme));
        let rows = [
            row(&price, &shown),
            row(&payee, &code(&offer.pay_to)),
            row(&network, &code(offer.network.as_str())),
        ];
        format!("<dl class=\"facts\">\n{}</dl>\n", rows.concat())
    };
    sheet.offers.iter().map(item).collect()
}

/// What the script is given, as JSON.
fn data(sheet: &Sheet, seller: &Seller, options: &PageOptions, method: &Method, now: u64) -> String {
    let words: serde_json::Map<String, serde_json::Value> = assets()
        .words
        .iter()
        .map(|(key, text)| ((*key).to_owned(), sheet.language.of(text).into()))
        .collect();
    let unit = |shown: &super::sheet::Shown| {
        let (currency, scale) = shown.unit.as_ref()?;
        let offer = &shown.offer;
        Some(json!({"network": offer.network, "asset": offer.asset, "currency": currency, "scale": scale}))
    };
    let units: Vec<_> = sheet.offers.iter().filter_map(unit).collect();
    let data = json!({
        "lang": sheet.language.tag(),
        "now": now,
        "origin": seller.origin.as_str(),
        "method": method.as_str(),
        "topUp": options.top_up,
        "ledger": options.ledger.as_deref().map(|path| path.trim_end_matches('/')),
        "terms": sheet.terms,
        "units": units,
        "words": words,
    });
    data.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in `text` between `before` and `after`.
    fn names<'a>(text: &'a str, before: &str, after: char) -> Vec<&'a str> {
        text.split(before).skip(1).filter_map(|rest| rest.split(after).next()).collect()
    }

    #[test]
    fn every_word_that_the_page_uses_is_in_the_catalogue() {
        let keys: Vec<&str> = PAGE.iter().map(|(key, _)| *key).collect();
        let (mut used, mut slots) = (Vec::new(), Vec::new());
        for name in names(PAYWALL, "{{", '}').into_iter().chain(names(NOTICE, "{{", '}')) {
            if name.starts_with('=') { slots.push(name) } else { used.push(name) }
        }
        assert!(slots.len() > 10);
        let said = names(SCRIPT, "say(\"", '"').into_iter().chain(names(SCRIPT, "cannot(\"", '"'));
        used.extend(said.filter(|name| !name.is_empty()));
        assert!(used.len() > 40, "{used:?}");
        for key in &used {
            assert!(keys.contains(key), "{key} is not in catalogue/page.rs");
        }
    }

    #[test]
    fn the_script_and_the_style_cannot_end_their_elements() {
        assert!(!SCRIPT.contains("</") && !SCRIPT.contains("<!--") && !STYLE.contains('<'));
        // What is made tight must not change what it means.
        assert!(!SCRIPT.lines().any(|line| line.matches('`').count() % 2 == 1), "a text over several lines");
        let lines = SCRIPT.lines().filter(|line| !line.contains('`') && !line.contains(";q=0.9, "));
        for text in lines.flat_map(|line| line.split('"').skip(1).step_by(2)) {
            assert!(!IN_SCRIPT.iter().any(|(long, _)| text.contains(long)), "{text:?}");
        }
        let behind = |line: &str| line.trim().split_once("//").is_some_and(|(code, _)| code.ends_with(' '));
        assert!(!SCRIPT.lines().any(behind), "comments stand on lines of their own");
    }

    #[test]
    fn the_policy_allows_what_is_sent_and_nothing_else() {
        let policy = assets().policy.to_str().unwrap();
        let hash = STANDARD.encode(sha256(assets().script.as_bytes()));
        assert!(
            policy.starts_with("default-src 'none'; ")
                && policy.contains(&format!("script-src 'sha256-{hash}';"))
        );
        assert!(!policy.contains("unsafe") && !policy.contains("http"));
    }

    #[test]
    fn the_page_stays_small() {
        let words = |at: usize| PAGE.iter().map(|(key, text)| key.len() + text[at].len() + 6).sum::<usize>();
        let page = tight(PAYWALL).len() + assets().style.len() + assets().script.len();
        for at in 0..4 {
            assert!(page + words(at) < 40_000, "{} bytes", page + words(at));
        }
    }
}
