//! The origin of a request: scheme, host and port, written in one way only.
//!
//! A server knows its origin from its configuration, never from the `Host` header; a client takes it from
//! the URL that it requests. Both sign or check the same text, so it has one form: `https://example.com`
//! or `http://[::1]:8402`, with the scheme and host in lower case, the host as IDNA A-labels, and no port
//! where it is the scheme's default.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::{Host, Url};

use crate::WireError;

/// Scheme, host and port (RFC 6454), as text in its one form. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    text: Arc<str>,
    loopback: bool,
}

impl Origin {
    /// The origin of an absolute URL and the request target that is sent for it: path and query as the URL
    /// standard writes them, without the fragment.
    ///
    /// # Errors
    /// [`WireError::Field`] `url` when it is not an absolute `http` or `https` URL, or has a user or password.
    pub fn of_url(url: &str) -> Result<(Self, String), WireError> {
        let fault = |why: &str| WireError::Field { field: "url", why: why.into() };
        let url = Url::parse(url).map_err(|error| fault(&format!("is not an absolute URL: {error}")))?;
        let origin = Self::from_parsed(&url).map_err(fault)?;
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Ok((origin, target))
    }

    /// The origin's text, as it is hashed and signed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, with the port where it is not the scheme's default.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.text.split_once("://").map_or("", |(_, authority)| authority)
    }

    /// The host: a name in A-labels, an IPv4 address, or an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let authority = self.authority();
        match authority.rfind(':') {
            Some(colon) if !authority.ends_with(']') => &authority[..colon],
            _ => authority,
        }
    }

    /// Whether the connection is encrypted and the host authenticated.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.text.starts_with("https://")
    }

    /// Whether it names this machine: 127.0.0.0/8, `[::1]` or `localhost`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }

    fn from_parsed(url: &Url) -> Result<Self, &'static str> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err("must begin with http:// or https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not have a user or a password");
        }
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => return Err("must have a host"),
        };
        Ok(Self { text: url.origin().ascii_serialization().into(), loopback })
    }
}

impl FromStr for Origin {
    type Err = WireError;

    /// Reads an origin as people write it: case and default port may vary, one `/` may follow, and names
    /// may be Unicode. Anything else that a URL can carry is refused rather than dropped.
    fn from_str(text: &str) -> Result<Self, WireError> {
        let fault = |why: &str| WireError::Field { field: "origin", why: why.into() };
        let scheme = text.split_once("://").ok_or_else(|| fault("must begin with http:// or https://"));
        let (_, rest) = scheme?;
        let (authority, tail) = rest.find(['/', '?', '#']).map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err(fault("must not have a user or a password"));
        }
        if !matches!(tail, "" | "/") {
            return Err(fault("must not have a path, a query or a fragment"));
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '\\' | '%')) {
            return Err(fault("must not have spaces, backslashes or percent signs"));
        }
        let url = Url::parse(text).map_err(|error| fault(&format!("is not an origin: {error}")))?;
        Self::from_parsed(&url).map_err(fault)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    #[test]
    fn an_origin_has_one_form() {
        for (written, form, host) in [
            ("https://Example.COM:443/", "https://example.com", "example.com"),
            ("HTTPS://example.com", "https://example.com", "example.com"),
            ("http://example.com:80", "http://example.com", "example.com"),
            ("http://example.com:443", "http://example.com:443", "example.com"),
            ("https://example.com:8443/", "https://example.com:8443", "example.com"),
            ("https://B\u{fc}cher.example", "https://xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("http://127.0.0.1:8402", "http://127.0.0.1:8402", "127.0.0.1"),
            ("http://[0:0::1]:8402", "http://[::1]:8402", "[::1]"),
            ("http://[::1]", "http://[::1]", "[::1]"),
        ] {
            let read = origin(written);
            assert_eq!(read.to_string(), form);
            assert_eq!(read.host(), host);
            assert_eq!(read.authority(), form.split_once("://").unwrap().1);
            assert_eq!(read, origin(form), "the form is a fixed point");
        }
    }

    #[test]
    fn what_is_more_than_an_origin_is_refused() {
        for text in [
            "",
            "example.com",
            "//example.com",
            "https:example.com",
            "https:/example.com",
            "https://",
            "https:///",
            "https://:443",
            "ftp://example.com",
            "ws://example.com",
            "https://example.com/a",
            "https://example.com//",
            "https://example.com/.",
            "https://example.com?",
            "https://example.com/?",
            "https://example.com/#",
            "https://user@example.com",
            "https://user:word@example.com",
            "https://@example.com",
            " https://example.com",
            "https://example.com\n",
            "https://exam\tple.com",
            "https://example.com\\",
            "https://ex%61mple.com",
            "https://example.com:99999",
            "https://exa mple.com",
            "https://a_b<c>.example",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text:?} was read");
        }
    }

    #[test]
    fn loopback_is_this_machine_only() {
        for text in [
            "http://localhost",
            "http://LOCALHOST:1",
            "http://127.0.0.1",
            "http://127.9.9.9:80",
            "http://[::1]:5",
        ] {
            assert!(origin(text).is_loopback(), "{text}");
        }
        for text in [
            "http://localhost.example",
            "http://128.0.0.1",
            "http://0.0.0.0",
            "http://[::]",
            "http://[::ffff:7f00:1]",
            "http://127.0.0.1.example",
        ] {
            assert!(!origin(text).is_loopback(), "{text}");
        }
    }

    #[test]
    fn https_is_told_from_http() {
        assert!(origin("https://a.example").is_https());
        assert!(!origin("http://https.example").is_https());
    }

    #[test]
    fn a_url_is_split_into_origin_and_target() {
        for (url, form, target) in [
            ("https://Example.com", "https://example.com", "/"),
            ("https://example.com/a%2fb?q=1&q=%32#part", "https://example.com", "/a%2fb?q=1&q=%32"),
            ("https://example.com:8443/?", "https://example.com:8443", "/?"),
            ("https://example.com/a/../b c", "https://example.com", "/b%20c"),
        ] {
            assert_eq!(Origin::of_url(url), Ok((origin(form), target.to_owned())));
        }
        for url in
            ["/a", "https://u@example.com/", "https://u:p@example.com/", "file:///a", "data:,a", "https://"]
        {
            assert!(Origin::of_url(url).is_err(), "{url:?} was read");
        }
    }

    #[test]
    fn json_is_the_text() {
        let read: Origin = serde_json::from_str("\"https:\\u002f/Example.com/\"").unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), "\"https://example.com\"");
        assert!(serde_json::from_str::<Origin>("\"https://example.com/a\"").is_err());
    }
}
