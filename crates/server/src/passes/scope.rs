//! What a pass opens: this server's own route, in its own words. Nothing here comes from a payment, a proof or any URL
//! that a client names besides the request itself.

use std::sync::Arc;

use farthing_protocol::digest::sha256;
use farthing_protocol::layout::Writer;
use farthing_protocol::records::PASSES;
use farthing_protocol::{Network, Origin};
use http::Method;

/// Bytes of a path that are kept in a record, for people.
const SHOWN: usize = 256;

/// What one pass of a route opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sells {
    /// The path that was paid for, whatever its query.
    Path,
    /// The path with the query that was paid for: where the price is by request.
    Target,
    /// All routes that sell under this name.
    Plan(Arc<str>),
}

/// What a request asks to be let in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    origin: Origin,
    /// Empty for a plan.
    method: String,
    /// The path or target as received; the name of a plan.
    what: String,
    pub(super) is_plan: bool,
}

impl Scope {
    /// The scope of a request on a route. `target` is path and query as received.
    pub(super) fn of(sells: &Sells, origin: &Origin, method: &Method, target: &str) -> Self {
        let method = match *method {
            Method::HEAD => Method::GET.to_string(),
            ref method => method.to_string(),
        };
        let origin = origin.clone();
        match sells {
            Sells::Path => Self { origin, method, what: path(target).to_owned(), is_plan: false },
            Sells::Target => Self { origin, method, what: target.to_owned(), is_plan: false },
            Sells::Plan(name) => {
                Self { origin, method: String::new(), what: name.to_string(), is_plan: true }
            }
        }
    }

    /// Names it in a token: SHA-256 over all of it.
    pub(super) fn digest(&self) -> [u8; 32] {
        sha256(&self.layout("farthing/pass-scope").var(self.what.as_bytes()).finish())
    }

    /// The key of the record that has a payer's pass for it. All plans of a payer are in one record.
    pub(super) fn key(&self, network: &Network, payer: &str) -> [u8; 33] {
        let layout = self.layout("farthing/pass").var(network.as_str().as_bytes()).var(payer.as_bytes());
        let what = if self.is_plan { "" } else { &self.what };
        let mut key = [PASSES; 33];
        key[1..].copy_from_slice(&sha256(&layout.var(what.as_bytes()).finish()));
        key
    }

    /// What a pass is called in its record: the plan's name; otherwise one record has one pass.
    pub(super) fn name(&self) -> String {
        match self.is_plan {
            true => self.what.clone(),
            false => format!("{} {}", self.method, self.what).chars().take(SHOWN).collect(),
        }
    }

    /// Where a browser is to send a token back to.
    pub(super) fn cookie_path(&self) -> &str {
        let path = path(&self.what);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.~%-".contains(&byte);
        let fits = !self.is_plan && path.starts_with('/') && path.len() <= SHOWN && path.bytes().all(plain);
        if fits { path } else { "/" }
    }

    fn layout(&self, domain: &str) -> Writer {
        let layout = Writer::new(domain, 1).var(self.origin.as_str().as_bytes());
        layout.u8(u8::from(self.is_plan)).var(self.method.as_bytes())
    }
}

fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(sells: &Sells, method: Method, target: &str) -> Scope {
        Scope::of(sells, &"https://a.example".parse().unwrap(), &method, target)
    }

    #[test]
    fn a_path_is_open_for_all_its_queries_and_to_head() {
        let one = scope(&Sells::Path, Method::GET, "/a/1?page=1");
        assert_eq!(one, scope(&Sells::Path, Method::GET, "/a/1?page=2"));
        assert_eq!(one, scope(&Sells::Path, Method::HEAD, "/a/1"));
        assert_eq!((one.name().as_str(), one.cookie_path()), ("GET /a/1", "/a/1"));
        let exact = scope(&Sells::Target, Method::GET, "/a/1?page=1");
        assert_ne!(exact.digest(), scope(&Sells::Target, Method::GET, "/a/1?page=2").digest());
        assert_eq!((exact.name().as_str(), exact.cookie_path()), ("GET /a/1?page=1", "/a/1"));
    }

    #[test]
    fn every_part_of_a_scope_counts() {
        let (network, other): (Network, Network) = ("test:one".parse().unwrap(), "test:two".parse().unwrap());
        let plan = |name: &str| Sells::Plan(name.into());
        let scopes = [
            scope(&Sells::Path, Method::GET, "/a/1"),
            scope(&Sells::Path, Method::POST, "/a/1"),
            scope(&Sells::Path, Method::GET, "/a/2"),
            scope(&Sells::Path, Method::GET, "/a/%31"),
            scope(&Sells::Path, Method::GET, "/a/1/"),
            Scope::of(&Sells::Path, &"https://b.example".parse().unwrap(), &Method::GET, "/a/1"),
            scope(&plan("/a/1"), Method::GET, "/a/1"),
        ];
        for (at, one) in scopes.iter().enumerate() {
            for two in &scopes[at + 1..] {
                assert_ne!(one.digest(), two.digest(), "{one:?} {two:?}");
                assert_ne!(one.key(&network, "alice"), two.key(&network, "alice"), "{one:?} {two:?}");
            }
            let key = one.key(&network, "alice");
            assert!(key[0] == PASSES && key != one.key(&network, "bob") && key != one.key(&other, "alice"));
        }
        // The boundary between two fields is part of the layout.
        assert_ne!(scopes[0].key(&network, "alice"), scopes[0].key(&"test:onea".parse().unwrap(), "lice"));
    }

    #[test]
    fn the_plans_of_a_payer_share_a_record_and_no_token() {
        let network: Network = "test:one".parse().unwrap();
        let plan = |name: &str, target: &str| scope(&Sells::Plan(name.into()), Method::POST, target);
        let (basic, pro) = (plan("basic", "/x"), plan("pro", "/x"));
        assert_eq!(basic.key(&network, "alice"), pro.key(&network, "alice"));
        assert_ne!(basic.digest(), pro.digest());
        assert_eq!(pro, scope(&Sells::Plan("pro".into()), Method::GET, "/y"));
        assert_eq!((pro.name().as_str(), pro.cookie_path()), ("pro", "/"));
    }

    #[test]
    fn a_path_that_could_say_more_than_a_path_stays_out_of_the_cookie() {
        for target in ["/a;Domain=evil", "/a,b", "/a b", "*", "", &format!("/{}", "a".repeat(300))] {
            assert_eq!(scope(&Sells::Path, Method::GET, target).cookie_path(), "/", "{target}");
        }
    }
}
