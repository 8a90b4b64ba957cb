//! One logical request, in the form that a payment is bound to.

use std::fmt;

use bytes::Bytes;
use farthing_protocol::digest::{BodyHash, request_digest};
use farthing_protocol::{Amount, Binding, Origin, Price, RequestDigest};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use url::Url;

use crate::budget::{AssetId, is_name};
use crate::error::ClientError;

/// Headers that the client writes itself: a caller's would change where the request goes, how its body is
/// read, or what pays for it.
const OWN: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "pass-token",
    "payment-signature",
    "sign-in-with-x",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-payment",
];

/// What is sent, and what its caller allows for it. Its `Debug` shows no header and no body.
#[derive(Clone)]
pub struct Request {
    method: Method,
    url: Url,
    origin: Origin,
    target: String,
    headers: HeaderMap,
    body: Bytes,
    pub(crate) allow: Allow,
}

/// What the caller allows for one request, besides the budgets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allow {
    /// The most that it may cost.
    pub(crate) max_price: Option<Price>,
    /// What was asked for it before.
    pub(crate) quoted: Option<Vec<(AssetId, Amount)>>,
    /// A payment that does not cover the body.
    pub(crate) unbound_body: bool,
    /// The task that its payment counts for.
    pub(crate) task: Option<String>,
}

impl Request {
    /// A request without headers and body.
    ///
    /// # Errors
    /// [`ClientError::Request`] when `url` is no absolute `http` or `https` URL without a user.
    pub fn new(method: Method, url: &str) -> Result<Self, ClientError> {
        let (origin, target) = Origin::of_url(url).map_err(|error| invalid(error.to_string()))?;
        let mut url = Url::parse(url).map_err(|error| invalid(format!("`url` {error}")))?;
        url.set_fragment(None);
        // The digest covers `target`: it must be what the HTTP library will write.
        let sent = url.as_str().parse::<Uri>().map_err(|error| invalid(format!("`url` {error}")))?;
        if sent.path_and_query().is_none_or(|sent| sent.as_str() != target) {
            return Err(invalid("`url` has a path that cannot be sent as it is".into()));
        }
        let (headers, body, allow) = (HeaderMap::new(), Bytes::new(), Allow::default());
        Ok(Self { method, url, origin, target, headers, body, allow })
    }

    /// Adds a header.
    ///
    /// # Errors
    /// [`ClientError::Request`] for the headers that the client writes itself.
    pub fn add_header(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), ClientError> {
        if OWN.contains(&name.as_str()) {
            return Err(invalid(format!("header `{name}` is written by the client")));
        }
        self.headers.append(name, value);
        Ok(())
    }

    /// The request with a header of the client's own.
    pub(crate) fn carrying(&self, name: HeaderName, value: HeaderValue) -> Self {
        let mut carrying = self.clone();
        carrying.headers.insert(name, value);
        carrying
    }

    /// Sets the body.
    pub fn set_body(&mut self, body: Bytes) {
        self.body = body;
    }

    /// Counts its payment for a task.
    ///
    /// # Errors
    /// [`ClientError::Request`] when the name does not have 1 to 64 visible ASCII characters.
    pub fn set_task(&mut self, name: &str) -> Result<(), ClientError> {
        if !is_name(name) {
            return Err(invalid("the task's name does not have 1 to 64 visible ASCII characters".into()));
        }
        self.allow.task = Some(name.to_owned());
        Ok(())
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The absolute URL, without a fragment.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Path and query, as sent.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The caller's headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The digest that a payment for this request is bound to.
    #[must_use]
    pub fn digest(&self, binding: Binding) -> RequestDigest {
        let body = match binding {
            Binding::Body => BodyHash::of(&self.body),
            Binding::Open => BodyHash::Unbound,
        };
        request_digest(self.method.as_str(), &self.origin, &self.target, body)
    }

    /// Whether what is sent stays between this client and the origin.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.origin.is_https() || self.origin.is_loopback()
    }

    /// The request at another URL, absolute or relative to this one.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn at(&self, url: &str) -> Result<Self, ClientError> {
        let url = self.url.join(url).map_err(|error| invalid(format!("`url` {error}")))?;
        let moved = Self::new(self.method.clone(), url.as_str())?;
        Ok(Self {
            headers: self.headers.clone(),
            body: self.body.clone(),
            allow: self.allow.clone(),
            ..moved
        })
    }

    /// The request that a redirect with this status asks for; `None` when it is not ours to follow: to
    /// another origin, or one that would turn an unsafe method into another.
    pub(crate) fn redirected(&self, status: u16, location: &str) -> Option<Self> {
        let mut next = self.at(location).ok()?;
        if next.origin != self.origin {
            return None;
        }
        let safe = matches!(self.method, Method::GET | Method::HEAD);
        match status {
            307 | 308 => Some(next),
            301..=303 if safe => Some(next),
            303 => {
                next.method = Method::GET;
                next.body = Bytes::new();
                next.headers.remove(http::header::CONTENT_TYPE);
                next.headers.remove(http::header::CONTENT_ENCODING);
                Some(next)
            }
            _ => None,
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({} {}{})", self.method, self.origin, self.target)
    }
}

fn invalid(why: String) -> ClientError {
    ClientError::Request { why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, url: &str) -> Request {
        Request::new(method, url).unwrap()
    }

    #[test]
    fn the_digest_covers_method_origin_target_and_body() {
        let get = |url| request(Method::GET, url).digest(Binding::Body);
        let mut post = request(Method::POST, "https://a.example/x");
        let empty = post.digest(Binding::Body);
        post.set_body("hello".into());
        let digests = [
            get("https://a.example/x"),
            get("https://a.example/x?"),
            get("https://a.example/%78"),
            get("https://a.example:444/x"),
            get("http://a.example/x"),
            empty,
            post.digest(Binding::Body),
            post.digest(Binding::Open),
        ];
        for (at, one) in digests.iter().enumerate() {
            assert!(!digests[at + 1..].contains(one), "digest {at} is not alone");
        }
        assert_eq!(get("https://A.example:443/x#part"), get("https://a.example/x"));
    }

    #[test]
    fn urls_and_headers_that_would_break_the_binding_are_refused() {
        for url in ["/x", "ftp://a.example/", "https://user@a.example/", "https://a.example:99999/"] {
            assert!(matches!(Request::new(Method::GET, url), Err(ClientError::Request { .. })), "{url}");
        }
        let mut request = request(Method::GET, "https://a.example/");
        for name in OWN {
            let header = HeaderName::from_static(name);
            assert!(request.add_header(header, HeaderValue::from_static("x")).is_err(), "{name}");
        }
        let accept = http::header::ACCEPT;
        assert!(request.add_header(accept, HeaderValue::from_static("text/plain")).is_ok());
    }

    #[test]
    fn only_redirects_within_the_origin_are_followed() {
        let get = request(Method::GET, "https://a.example/x/y?q=1");
        for (location, target) in [("z", "/x/z"), ("/z?w", "/z?w"), ("https://a.example:443/z", "/z")] {
            assert_eq!(get.redirected(302, location).unwrap().target(), target);
        }
        for location in
            ["https://b.example/", "http://a.example/", "//a.example:444/", "https://u@a.example/"]
        {
            assert!(get.redirected(302, location).is_none(), "{location}");
        }
    }

    #[test]
    fn a_redirect_keeps_an_unsafe_method_or_is_not_followed() {
        let mut post = request(Method::POST, "https://a.example/");
        post.set_body("x".into());
        assert!(post.redirected(301, "/b").is_none() && post.redirected(302, "/b").is_none());
        let kept = post.redirected(307, "/b").unwrap();
        assert_eq!((kept.method(), &kept.body()[..]), (&Method::POST, &b"x"[..]));
        let get = post.redirected(303, "/b").unwrap();
        assert_eq!((get.method(), get.body().len()), (&Method::GET, 0));
    }
}
