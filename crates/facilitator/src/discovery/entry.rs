//! One resource of the catalogue: made of its server's own terms, checked, and written as JSON.

use farthing_protocol::digest::sha256;
use farthing_protocol::records::CATALOGUE;
use farthing_protocol::v2::{Offer, PaymentRequired, PaymentRequirements, ResourceInfo, VERSION};
use farthing_protocol::{Origin, v2};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::EXTENSION;

/// Bytes of the longest path that is looked at.
pub(super) const PATH_BYTES: usize = 512;
/// Bytes of the longest entry.
const ENTRY_BYTES: usize = 16 * 1024;
/// Bytes of a key that stand for the origin.
const ORIGIN_KEY: usize = 8;
/// Bytes of a key that stand for the rest.
const REST_KEY: usize = 24;
/// How often percent signs may be written with percent signs.
const DECODINGS: usize = 5;

const DESCRIPTION_CHARS: usize = 512;
const SHORT_CHARS: usize = 32;
const TAGS: usize = 5;
const URL_BYTES: usize = 2048;

/// A resource that its server itself described.
pub(super) struct Entry<'a> {
    origin: &'a Origin,
    terms: &'a PaymentRequired,
    bazaar: Bazaar,
    /// The template, or the path.
    place: String,
}

/// The extension, as far as it is understood here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bazaar {
    info: Info,
    #[serde(default)]
    route_template: Option<String>,
}

#[derive(Deserialize)]
struct Info {
    input: Input,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    r#type: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    tool_name: Option<String>,
}

/// An entry as it is stored and listed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    resource: String,
    r#type: &'a str,
    x402_version: u64,
    accepts: &'a [Box<RawValue>],
    last_updated: String,
    metadata: Map<String, Value>,
    #[serde(flatten)]
    about: About,
    extensions: &'a v2::Extensions,
}

/// What the resource is, for people.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct About {
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_name: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon_url: Option<String>,
}

/// What entries are found by.
#[derive(Debug, Deserialize)]
pub(super) struct Brief {
    pub(super) r#type: String,
    pub(super) accepts: Vec<BriefOffer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BriefOffer {
    pub(super) scheme: String,
    pub(super) network: String,
    pub(super) pay_to: String,
}

impl<'a> Entry<'a> {
    /// What the server at `origin` says it sells at `path`; `paid` must be one of its offers.
    ///
    /// # Errors
    /// Why it is not listed.
    pub(super) fn of(
        origin: &'a Origin,
        path: &str,
        terms: &'a PaymentRequired,
        paid: &PaymentRequirements,
    ) -> Result<Self, String> {
        let (said_origin, said_target) =
            Origin::of_url(&terms.resource.url).map_err(|fault| format!("its resource: {fault}"))?;
        if said_origin != *origin || said_target.split('?').next() != Some(path) {
            return Err("its server says that it is another resource".into());
        }
        if !terms.offers().any(|offer| is_paid(&offer, paid)) {
            return Err("what was paid is none of its server's offers".into());
        }
        let raw = terms.extensions.get(EXTENSION).ok_or("its server does not want it listed")?;
        let bazaar: Bazaar =
            serde_json::from_str(raw.get()).map_err(|error| format!("its extension: {error}"))?;
        if !matches!(bazaar.info.input.r#type.as_str(), "http" | "mcp") {
            return Err("its type is neither http nor mcp".into());
        }
        let place = match bazaar.route_template.as_deref().filter(|template| is_template(template)) {
            Some(template) if !fits(template, path) => {
                return Err("its path does not fit its template".into());
            }
            Some(template) => template.to_owned(),
            None => path.to_owned(),
        };
        Ok(Self { origin, terms, bazaar, place })
    }

    /// The same for every payment of one resource: origin, and template or path (and the tool's name).
    pub(super) fn key(&self) -> Vec<u8> {
        let tool = self.bazaar.info.input.tool_name.as_deref().unwrap_or_default();
        let rest = format!("{}\n{}\n{tool}", self.bazaar.info.input.r#type, self.place);
        let mut key = vec![CATALOGUE];
        key.extend(&sha256(self.origin.as_str().as_bytes())[..ORIGIN_KEY]);
        key.extend(&sha256(rest.as_bytes())[..REST_KEY]);
        key
    }

    /// The entry's JSON, as of `now` (Unix seconds).
    ///
    /// # Errors
    /// When it is too long.
    pub(super) fn text(&self, now: u64) -> Result<Vec<u8>, String> {
        let input = &self.bazaar.info.input;
        let mut metadata = Map::new();
        let members = [
            ("method", &input.method),
            ("toolName", &input.tool_name),
            ("routeTemplate", &self.bazaar.route_template),
        ];
        for (name, value) in members {
            if let Some(value) = value.as_ref().filter(|value| value.len() <= PATH_BYTES) {
                metadata.insert(name.to_owned(), value.clone().into());
            }
        }
        let extensions = self.terms.extensions.iter().filter(|(name, _)| *name == EXTENSION);
        let written = Written {
            resource: format!("{}{}", self.origin, self.place),
            r#type: &input.r#type,
            x402_version: VERSION,
            accepts: &self.terms.accepts,
            last_updated: iso8601(now),
            metadata,
            about: About::of(&self.terms.resource),
            extensions: &extensions.map(|(name, raw)| (name.clone(), raw.clone())).collect(),
        };
        let text = serde_json::to_vec(&written).map_err(|error| error.to_string())?;
        if text.len() > ENTRY_BYTES {
            return Err("it is too long".into());
        }
        Ok(text)
    }

    /// A stored entry; `None` when it is not one of ours.
    pub(super) fn read(value: &[u8]) -> Option<(Brief, Box<RawValue>)> {
        let text = String::from_utf8(value.to_vec()).ok()?;
        let brief = serde_json::from_str(&text).ok()?;
        Some((brief, RawValue::from_string(text).ok()?))
    }
}

/// Whether two keys are of the same origin.
pub(super) fn same_origin(one: &[u8], other: &[u8]) -> bool {
    let origin = |key: &[u8]| key.get(..=ORIGIN_KEY).map(<[u8]>::to_vec);
    origin(one) == origin(other)
}

/// Whether this was paid for that offer. What was used can be less than what was offered.
fn is_paid(offer: &Offer, paid: &PaymentRequirements) -> bool {
    offer.scheme == paid.scheme
        && offer.network == paid.network
        && offer.amount >= paid.amount
        && offer.asset.eq_ignore_ascii_case(&paid.asset)
        && offer.pay_to.eq_ignore_ascii_case(&paid.pay_to)
}

/// Whether a server's template of a path is one: `/items/:id`.
fn is_template(template: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_/:.-~%".contains(&byte);
    if template.len() < 2 || template.len() > PATH_BYTES || !template.starts_with('/') {
        return false;
    }
    template.bytes().all(allowed)
        && fully_decoded(template).is_some_and(|path| !path.contains("..") && !path.contains("://"))
}

/// Without percent signs, however often they were written with percent signs.
fn fully_decoded(text: &str) -> Option<String> {
    let mut text = text.to_owned();
    for _ in 0..DECODINGS {
        let next = decoded(&text)?;
        if next == text {
            return Some(text);
        }
        text = next;
    }
    None
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Whether `path` is one that `template` stands for: `:name` is any one segment.
fn fits(template: &str, path: &str) -> bool {
    let (mut templates, mut paths) = (template.split('/'), path.split('/'));
    loop {
        match (templates.next(), paths.next()) {
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == found => {}
            (Some(wanted), Some(found)) if wanted.starts_with(':') && !found.is_empty() => {}
            _ => return false,
        }
    }
}

impl About {
    /// What of a server's words can be shown: plain texts of a bounded length.
    fn of(resource: &ResourceInfo) -> Self {
        let plain = |text: &Option<String>, chars: usize| {
            text.clone().filter(|text| !text.is_empty() && text.chars().count() <= chars && is_plain(text))
        };
        let tags = resource.tags.iter().flatten().map(|tag| plain(&Some(tag.clone()), SHORT_CHARS));
        let is_icon = |url: &String| url.len() <= URL_BYTES && Origin::of_url(url).is_ok();
        Self {
            description: plain(&resource.description, DESCRIPTION_CHARS),
            mime_type: plain(&resource.mime_type, DESCRIPTION_CHARS),
            service_name: plain(&resource.service_name, SHORT_CHARS),
            tags: tags.flatten().take(TAGS).collect(),
            icon_url: resource.icon_url.clone().filter(is_icon),
        }
    }
}

fn is_plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// A moment in Unix seconds as ISO 8601 writes it, in UTC.
fn iso8601(moment: u64) -> String {
    let (days, seconds) = (moment / 86_400, moment % 86_400);
    // Years begin in March here, so that the leap day is their last.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_a_plain_path() {
        for template in ["/items/:id", "/a.b/~c/%41", "/v1/:a/:b", "/%2541"] {
            assert!(is_template(template), "{template}");
        }
        for template in [
            "",
            "/",
            "items",
            "/a b",
            "/a?b",
            "/a#b",
            "/../b",
            "/a/%2e%2e/b",
            "/%252e%252e",
            "/http://x",
            "/%3A%2F%2F",
            "/%",
            "/%4",
            "/%zz",
            "/%ff",
            "/é",
            "/%25252525252541",
        ] {
            assert!(!is_template(template), "{template}");
        }
    }

    #[test]
    fn a_path_fits_the_template_that_it_was_routed_by() {
        for (template, path) in [("/items/:id", "/items/7"), ("/a", "/a"), ("/:a/b/:c", "/x/b/y")] {
            assert!(fits(template, path), "{template} {path}");
        }
        for (template, path) in
            [("/items/:id", "/items"), ("/items/:id", "/items/"), ("/items/:id", "/items/7/8"), ("/a", "/b")]
        {
            assert!(!fits(template, path), "{template} {path}");
        }
    }

    #[test]
    fn moments_are_written_as_iso_8601() {
        for (moment, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(iso8601(moment), text);
        }
    }
}
