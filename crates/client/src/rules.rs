//! What a client is allowed to pay, besides its budgets: where, when, and how far ahead.

use std::fmt;
use std::str::FromStr;

use farthing_protocol::Origin;
use thiserror::Error;

use crate::calendar::DAY;

/// Seconds that a signature may stay valid, whatever an offer asks for.
pub const MAX_VALIDITY: u64 = 3600;
/// Seconds from the signature to the last capture, whatever an offer asks for.
pub const MAX_CAPTURE: u64 = 86_400;

const MINUTE: u64 = 60;

/// The rules of one client. By default nothing is allowed to be paid.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) origins: Vec<OriginRule>,
    /// Seconds.
    pub(crate) validity: u64,
    /// Seconds.
    pub(crate) capture: u64,
    pub(crate) hours: Option<Hours>,
    pub(crate) price_rise: PriceRise,
}

impl Rules {
    pub(crate) fn allow(&self, origin: &Origin) -> bool {
        self.origins.iter().any(|rule| rule.allows(origin))
    }
}

/// Whether a price may rise above the last one that was accepted at the same place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PriceRise {
    /// Not unless the caller allows it for the request, by its highest price or by a quote.
    #[default]
    Refuse,
    /// It may, within the budgets.
    Allow,
}

/// A rule that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// Not an origin that could be paid.
    #[error("origin: {0}")]
    Origin(String),
    /// Not a part of the day.
    #[error("hours: must be two times of the day in UTC such as 08:00-18:00, and not the same one twice")]
    Hours,
    /// Not a length of time that this client could sign for.
    #[error("{what}: must be 1 to {most} seconds")]
    Seconds {
        /// What is limited.
        what: &'static str,
        /// The longest that is possible.
        most: u64,
    },
}

/// Origins that may be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OriginRule {
    /// All of them.
    Any,
    /// This one.
    One(Origin),
    /// Those over https whose host is one label in front of this, on its port.
    Below(String),
}

impl OriginRule {
    fn allows(&self, origin: &Origin) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => one == origin,
            Self::Below(parent) => origin
                .as_str()
                .strip_prefix("https://")
                .and_then(|authority| authority.split_once('.'))
                .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
        }
    }
}

impl FromStr for OriginRule {
    type Err = RuleError;

    /// `https://host[:port]`, `http://` for this machine only, and `https://*.host[:port]` for every host that
    /// is one label longer.
    fn from_str(text: &str) -> Result<Self, RuleError> {
        let fault = |why: &str| RuleError::Origin(why.to_owned());
        let (wild, plain) = match text.split_once("://*.") {
            Some((scheme, rest)) => (true, format!("{scheme}://x.{rest}")),
            None => (false, text.to_owned()),
        };
        if plain.contains('*') {
            return Err(fault("may have one `*`, as the first label of its host"));
        }
        let origin: Origin = plain.parse().map_err(|error: farthing_protocol::WireError| {
            let text = error.to_string();
            RuleError::Origin(text.trim_start_matches("`origin` ").to_owned())
        })?;
        if !origin.is_https() && !origin.is_loopback() {
            return Err(fault("must be https, unless it is this machine"));
        }
        if !wild {
            return Ok(Self::One(origin));
        }
        match origin.as_str().strip_prefix("https://x.") {
            Some(parent) if origin.host().matches('.').count() >= 2 => Ok(Self::Below(parent.to_owned())),
            Some(_) => Err(fault("with `*` must name two more labels at least")),
            None => Err(fault("with `*` must be https")),
        }
    }
}

/// A part of each day, in UTC; it may go past midnight.
///
/// ```
/// # use farthing_client::Hours;
/// let hours: Hours = "22:00-06:30".parse()?;
/// assert!(hours.contain(23 * 3600) && !hours.contain(12 * 3600));
/// # Ok::<(), farthing_client::RuleError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// Minutes after midnight.
    from: u64,
    /// The first minute outside.
    to: u64,
}

impl Hours {
    /// Whether `now`, in Unix seconds, is in it.
    #[must_use]
    pub fn contain(self, now: u64) -> bool {
        let minute = now % DAY / MINUTE;
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

impl FromStr for Hours {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let (from, to) = text.split_once('-').ok_or(RuleError::Hours)?;
        let (from, to) = (minutes(from)?, minutes(to)?);
        if from == to || from == DAY / MINUTE {
            return Err(RuleError::Hours);
        }
        Ok(Self { from, to })
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

/// `HH:MM`, up to `24:00`.
fn minutes(text: &str) -> Result<u64, RuleError> {
    let two = |text: &str| match text.as_bytes() {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
            Some(u64::from(tens - b'0') * 10 + u64::from(ones - b'0'))
        }
        _ => None,
    };
    let (hours, minutes) = text.split_once(':').ok_or(RuleError::Hours)?;
    match (two(hours), two(minutes)) {
        (Some(24), Some(0)) => Ok(DAY / MINUTE),
        (Some(hours @ 0..=23), Some(minutes @ 0..=59)) => Ok(hours * 60 + minutes),
        _ => Err(RuleError::Hours),
    }
}

pub(crate) fn seconds(what: &'static str, asked: u64, most: u64) -> Result<u64, RuleError> {
    if (1..=most).contains(&asked) { Ok(asked) } else { Err(RuleError::Seconds { what, most }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_allowed_by_its_own_name_or_one_label_below_a_star() {
        for (rule, allowed, not) in [
            ("https://a.example", "https://A.example:443/", "https://a.example:444"),
            ("https://a.example", "https://a.example", "http://a.example"),
            ("http://127.0.0.1:4021", "http://127.0.0.1:4021", "http://127.0.0.1:4022"),
            ("https://*.b.example", "https://a.b.example", "https://b.example"),
            ("https://*.b.example", "https://c.b.example", "https://a.c.b.example"),
            ("https://*.b.example", "https://x.b.example", "https://a.b.example:8443"),
            ("https://*.b.example:8443", "https://a.b.example:8443", "https://a.b.example"),
            ("https://*.b.example", "https://x.b.example", "http://x.b.example"),
            ("https://*.b.example", "https://x.b.example", "https://evilb.example"),
            ("https://*.b.example", "https://x.b.example", "https://x.b.example.evil.example"),
        ] {
            let rule: OriginRule = rule.parse().unwrap();
            assert!(rule.allows(&allowed.parse().unwrap()), "{rule:?} {allowed}");
            assert!(!rule.allows(&not.parse().unwrap()), "{rule:?} {not}");
        }
    }

    #[test]
    fn an_origin_that_says_too_much_or_too_little_is_no_rule() {
        for text in [
            "",
            "*",
            "a.example",
            "https://*",
            "https://*.example",
            "https://a.*.example",
            "https://*.*.example",
            "https://*a.b.example",
            "http://*.localhost",
            "http://a.example",
            "https://a.example/path",
            "https://u@a.example",
            "ftp://a.example",
            "https://*.0.0.1",
            "http://*.b.example",
            "https://a.example?*",
        ] {
            assert!(text.parse::<OriginRule>().is_err(), "{text}");
        }
    }

    #[test]
    fn hours_have_a_first_minute_and_go_past_midnight() {
        let at = |hour: u64, minute: u64| 1_800_000_000 / DAY * DAY + hour * 3600 + minute * 60;
        let day: Hours = "08:00-18:00".parse().unwrap();
        assert!(
            day.contain(at(8, 0))
                && day.contain(at(17, 59))
                && !day.contain(at(18, 0))
                && !day.contain(at(7, 59))
        );
        let night: Hours = "22:30-06:00".parse().unwrap();
        assert!(night.contain(at(22, 30)) && night.contain(at(0, 0)) && night.contain(at(5, 59)));
        assert!(!night.contain(at(6, 0)) && !night.contain(at(22, 29)));
        let all: Hours = "00:00-24:00".parse().unwrap();
        assert!(all.contain(at(0, 0)) && all.contain(at(23, 59)));
        assert_eq!((night.to_string().as_str(), all.to_string().as_str()), ("22:30-06:00", "00:00-24:00"));
        for text in
            ["", "8-18", "08:00", "08:00-08:00", "24:00-08:00", "08:60-09:00", "25:00-26:00", "08:00-18:00 "]
        {
            assert_eq!(text.parse::<Hours>(), Err(RuleError::Hours), "{text}");
        }
    }
}
