//! What a reader asks for: `Accept` and `Accept-Language`, with their weights and wildcards (RFC 9110, 12.4 and 12.5).

use super::catalogue::Language;

/// How a problem is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `application/problem+json`: what is sent to whoever has no other wish.
    Problem,
    /// The same members as `application/json`.
    Json,
    /// `text/html`: a page that pays.
    Html,
    /// `application/xml`.
    Xml,
    /// `text/plain`.
    Plain,
}

impl Format {
    /// The one preferred first, where a reader likes several equally.
    const ALL: [Self; 5] = [Self::Problem, Self::Json, Self::Html, Self::Xml, Self::Plain];

    /// The value of `Content-Type`.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Problem => farthing_protocol::problem::CONTENT_TYPE,
            Self::Json => "application/json",
            Self::Html => "text/html; charset=utf-8",
            Self::Xml => "application/xml; charset=utf-8",
            Self::Plain => "text/plain; charset=utf-8",
        }
    }

    const fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::Problem => ("application", "problem+json"),
            Self::Json => ("application", "json"),
            Self::Html => ("text", "html"),
            Self::Xml => ("application", "xml"),
            Self::Plain => ("text", "plain"),
        }
    }

    /// What suits the values of `Accept` best. A problem in JSON when nothing does: its reader learns more from it
    /// than from 406.
    pub(crate) fn accepted<'a>(values: impl Iterator<Item = &'a str> + Clone) -> Self {
        let mut best = (Self::Problem, (0, 0));
        for format in Self::ALL {
            let wish =
                members(values.clone()).filter_map(|(range, weight)| Some((format.fits(range)?, weight)));
            // The most specific range that fits decides; among equals, the first.
            let wish = wish.reduce(|best, next| if next.0 > best.0 { next } else { best });
            let Some((specific, weight)) = wish else { continue };
            if weight > 0 && (weight, specific) > best.1 {
                best = (format, (weight, specific));
            }
        }
        best.0
    }

    /// How specific a media range is about this format; `None` when it is about others.
    fn fits(self, range: &str) -> Option<u16> {
        let (kind, name) = range.split_once('/')?;
        let (own_kind, own_name) = self.name();
        match (kind.trim(), name.trim()) {
            ("*", "*") => Some(1),
            (kind, "*") if kind.eq_ignore_ascii_case(own_kind) => Some(2),
            (kind, name) if kind.eq_ignore_ascii_case(own_kind) && name.eq_ignore_ascii_case(own_name) => {
                Some(3)
            }
            _ => None,
        }
    }
}

impl Language {
    /// What suits the values of `Accept-Language` best; English when nothing does.
    pub(crate) fn accepted<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let mut best = (Self::En, 0);
        for (range, weight) in members(values) {
            if let (true, Some(language)) = (weight > best.1, Self::tagged(range)) {
                best = (language, weight);
            }
        }
        best.0
    }

    /// The language of a tag (RFC 5646): Chinese by its script, else by where it is written.
    fn tagged(tag: &str) -> Option<Self> {
        let mut parts = tag.split('-').map(str::to_ascii_lowercase);
        match parts.next()?.as_str() {
            "en" => Some(Self::En),
            "ja" => Some(Self::Ja),
            "zh" => {
                let parts: Vec<String> = parts.collect();
                let has = |names: &[&str]| parts.iter().any(|part| names.contains(&part.as_str()));
                let traditional = has(&["hant"]) || (!has(&["hans"]) && has(&["tw", "hk", "mo"]));
                Some(if traditional { Self::ZhTw } else { Self::ZhCn })
            }
            _ => None,
        }
    }
}

/// The members of a weighted list with their weights in thousandths. Weights that are none count as 0; what a header
/// holds beyond 64 members is not read.
fn members<'a>(values: impl Iterator<Item = &'a str>) -> impl Iterator<Item = (&'a str, u16)> {
    let members =
        values.flat_map(|value| value.split(',')).map(str::trim).filter(|member| !member.is_empty());
    members.take(64).map(|member| {
        let mut parts = member.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default();
        let weight = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
        (range, weight.map_or(1000, |(_, value)| thousandths(value.trim())))
    })
}

fn thousandths(weight: &str) -> u16 {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    if !matches!(whole, "0" | "1")
        || fraction.len() > 3
        || !fraction.bytes().all(|byte| byte.is_ascii_digit())
    {
        return 0;
    }
    let digits = fraction.bytes().chain(*b"000").take(3);
    let fraction = digits.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let whole = if whole == "1" { 1000 } else { 0 };
    (whole + fraction).min(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(accept: &str) -> Format {
        Format::accepted([accept].into_iter())
    }

    #[test]
    fn the_format_is_the_one_that_is_liked_best() {
        use Format::{Html, Json, Plain, Problem, Xml};
        for (accept, expected) in [
            ("", Problem),
            ("*/*", Problem),
            ("application/*", Problem),
            ("application/json", Json),
            ("application/problem+json", Problem),
            ("application/problem+json, application/json", Problem),
            ("APPLICATION/JSON", Json),
            ("text/html", Html),
            ("text/plain", Plain),
            ("text/*", Html),
            ("application/xml", Xml),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", Html),
            ("application/json, text/plain, */*", Json),
            ("text/html;q=0.5, application/json;q=0.4", Html),
            ("text/html;q=0.4, application/json;q=0.5", Json),
            ("text/html;level=1;q=0.4, */*;q=0.3", Html),
            ("*/*, text/html;q=0", Problem),
            ("text/*;q=0.5, text/html;q=0", Plain),
            ("text/html;q=0", Problem),
            ("image/png", Problem),
            ("text/html;q=2, text/plain;q=0.1", Plain),
            ("text/html;q=x", Problem),
            ("text/html ; Q=1.000 , application/xml;q=0.999", Html),
            (",,;q=1,/,text", Problem),
        ] {
            assert_eq!(format(accept), expected, "{accept:?}");
        }
        assert_eq!(Format::accepted(["text/plain;q=0.2", "text/html;q=0.3"].into_iter()), Html);
    }

    #[test]
    fn the_language_is_the_one_that_is_liked_best_and_known() {
        use Language::{En, Ja, ZhCn, ZhTw};
        for (accept, expected) in [
            ("", En),
            ("*", En),
            ("en-GB,en;q=0.9", En),
            ("zh-TW,zh;q=0.9,en-US;q=0.8,en;q=0.7", ZhTw),
            ("zh-Hant", ZhTw),
            ("zh-Hant-CN", ZhTw),
            ("zh-HK", ZhTw),
            ("zh-Hans-TW", ZhCn),
            ("zh-CN", ZhCn),
            ("zh", ZhCn),
            ("ja-JP", Ja),
            ("de, ja;q=0.3, zh-TW;q=0.4", ZhTw),
            ("de", En),
            ("ja;q=0", En),
            ("ja;q=0.1, en;q=0.2", En),
        ] {
            assert_eq!(Language::accepted([accept].into_iter()), expected, "{accept:?}");
        }
    }

    #[test]
    fn weights_are_thousandths_and_anything_else_is_none() {
        for (text, expected) in
            [("1", 1000), ("0", 0), ("0.5", 500), ("0.05", 50), ("1.000", 1000), ("1.5", 1000), ("0.", 0)]
        {
            assert_eq!(thousandths(text), expected, "{text}");
        }
        for bad in ["", "2", "-1", "0.1234", "0.x", "1e0", ".5"] {
            assert_eq!(thousandths(bad), 0, "{bad}");
        }
    }
}
