//! Which route a request is for: one router, matched on the decoded path, and by method below that.

use std::collections::BTreeMap;

use http::Method;
use thiserror::Error;

use super::path::{self, ClearPath};

/// What lives below this is the gateway's own, and never the upstream's.
pub const RESERVED: &str = "/.farthing";

/// The methods of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Methods {
    /// Every one.
    All,
    /// These. `HEAD` belongs to `GET`.
    Some(Vec<Method>),
}

impl Methods {
    fn has(&self, method: &Method) -> bool {
        match self {
            Self::All => true,
            Self::Some(methods) => {
                methods.contains(method) || (method == Method::HEAD && methods.contains(&Method::GET))
            }
        }
    }

    /// A method that both have.
    fn shared(&self, other: &Self) -> Option<Method> {
        match (self, other) {
            (Self::All, Self::All) => Some(Method::GET),
            (Self::All, Self::Some(methods)) | (Self::Some(methods), Self::All) => methods.first().cloned(),
            (Self::Some(methods), Self::Some(others)) => {
                let shared = methods.iter().find(|method| other.has(method));
                shared.or_else(|| others.iter().find(|method| self.has(method))).cloned()
            }
        }
    }
}

/// A route that cannot stand among the others.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RouteError {
    /// The pattern is not one.
    #[error("{0}")]
    Pattern(String),
    /// Two patterns fit the same paths equally well.
    #[error("fits the same paths as \"{with}\"")]
    Overlap {
        /// The other pattern.
        with: String,
    },
    /// The same path and method twice.
    #[error("has a route for {method} already")]
    Method {
        /// The method.
        method: Method,
    },
}

/// Routes by path and method, each with what is behind it.
#[derive(Clone, Debug)]
pub struct Routes<T> {
    exact: matchit::Router<usize>,
    /// The same patterns as the most lenient server would read them.
    folded: matchit::Router<Vec<usize>>,
    folds: BTreeMap<String, Vec<usize>>,
    places: Vec<Place<T>>,
}

#[derive(Clone, Debug)]
struct Place<T> {
    pattern: String,
    routes: Vec<(Methods, T)>,
}

/// What is at a path.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a, T> {
    /// This.
    Route(&'a T),
    /// Nothing.
    Nothing,
    /// Nothing for this method; these have something, and the routes behind them.
    OtherMethods(Vec<(&'a Methods, &'a T)>),
    /// Another route would be found by a server that reads paths less strictly.
    Ambiguous,
}

impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self {
            exact: matchit::Router::new(),
            folded: matchit::Router::new(),
            folds: BTreeMap::new(),
            places: Vec::new(),
        }
    }
}

impl<T> Routes<T> {
    /// Adds a route. In patterns, `{name}` stands for one segment and `{*name}`, at the end, for everything; the rest is
    /// literal, and written decoded.
    ///
    /// # Errors
    /// [`RouteError`]: nothing was added.
    pub fn insert(&mut self, pattern: &str, methods: Methods, value: T) -> Result<(), RouteError> {
        check(pattern)?;
        if let Some(at) = self.places.iter().position(|place| place.pattern == pattern) {
            let place = &mut self.places[at];
            if let Some(method) = place.routes.iter().find_map(|(other, _)| other.shared(&methods)) {
                return Err(RouteError::Method { method });
            }
            place.routes.push((methods, value));
            return Ok(());
        }
        let at = self.places.len();
        self.exact.insert(pattern, at).map_err(|error| match error {
            matchit::InsertError::Conflict { .. } => {
                let with = self.places.iter().find(|place| nameless(&place.pattern) == nameless(pattern));
                let with = with.or_else(|| self.places.iter().find(|place| clash(&place.pattern, pattern)));
                RouteError::Overlap { with: with.map_or_else(String::new, |place| place.pattern.clone()) }
            }
            matchit::InsertError::InvalidParamSegment => RouteError::Pattern(
                "must have one {name} in a segment at most, with nothing behind it".to_owned(),
            ),
            matchit::InsertError::InvalidCatchAll => {
                RouteError::Pattern("must have {*name} at its end only, behind a slash".to_owned())
            }
            _ => RouteError::Pattern("must have {name} with both braces and a name".to_owned()),
        })?;
        self.places.push(Place { pattern: pattern.to_owned(), routes: vec![(methods, value)] });
        self.folds.entry(path::fold(&nameless(pattern))).or_default().push(at);
        self.refold();
        Ok(())
    }

    fn refold(&mut self) {
        self.folded = matchit::Router::new();
        for (pattern, places) in &self.folds {
            // Folding can only make patterns alike that differ in what is ignored; a clash between others is one
            // of the patterns themselves, and was refused above.
            let _ = self.folded.insert(pattern.clone(), places.clone());
        }
    }

    /// The route for a request.
    #[must_use]
    pub fn find(&self, path: &ClearPath, method: &Method) -> Found<'_, T> {
        let Ok(found) = self.exact.at(path.decoded()) else { return Found::Nothing };
        let at = *found.value;
        let lenient = self.folded.at(path.folded());
        if lenient.is_ok_and(|lenient| !lenient.value.contains(&at)) {
            return Found::Ambiguous;
        }
        let Some(place) = self.places.get(at) else { return Found::Nothing };
        match place.routes.iter().find(|(methods, _)| methods.has(method)) {
            Some((_, route)) => Found::Route(route),
            None => {
                Found::OtherMethods(place.routes.iter().map(|(methods, route)| (methods, route)).collect())
            }
        }
    }
}

/// Whether a path is the gateway's own, however it is written.
#[must_use]
pub fn is_reserved(path: &ClearPath) -> bool {
    let rest = path.folded().strip_prefix(RESERVED);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn check(pattern: &str) -> Result<(), RouteError> {
    let refuse = |why: &str| Err(RouteError::Pattern(why.to_owned()));
    if !pattern.starts_with('/') {
        return refuse("must begin with a slash");
    }
    if pattern.contains(['%', '?', '#', '\\']) || pattern.chars().any(char::is_control) {
        return refuse("must be a path as it reads when it is decoded, without a query");
    }
    let segments: Vec<&str> = pattern.split('/').skip(1).collect();
    let inner = segments.len().saturating_sub(1);
    if segments.iter().take(inner).any(|segment| segment.is_empty()) {
        return refuse("must not have empty segments");
    }
    if segments.iter().any(|segment| !segment.is_empty() && segment.chars().all(|c| c == '.' || c == ' ')) {
        return refuse("must not have dot segments");
    }
    let folded = path::fold(pattern);
    if folded.strip_prefix(RESERVED).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        return refuse("must not be below /.farthing, which is the gateway's own");
    }
    Ok(())
}

/// A pattern whose parameters are all called alike.
fn nameless(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        out.push(c);
        if c == '{' && rest.next_if_eq(&'{').is_some() {
            out.push('{');
        } else if c == '{' {
            if rest.next_if_eq(&'*').is_some() {
                out.push('*');
            }
            out.push('p');
            while rest.next_if(|c| *c != '}').is_some() {}
        }
    }
    out
}

/// Whether two patterns differ only in how they name what follows a common beginning.
fn clash(one: &str, other: &str) -> bool {
    let before = |pattern: &str| pattern.split('{').next().unwrap_or_default().to_owned();
    before(one) == before(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(patterns: &[&str]) -> Routes<usize> {
        let mut routes = Routes::default();
        for (at, pattern) in patterns.iter().enumerate() {
            routes.insert(pattern, Methods::All, at).unwrap();
        }
        routes
    }

    fn found(routes: &Routes<usize>, raw: &str) -> Option<usize> {
        match routes.find(&ClearPath::read(raw).unwrap(), &Method::GET) {
            Found::Route(at) => Some(*at),
            Found::Nothing => None,
            Found::OtherMethods(_) => Some(98),
            Found::Ambiguous => Some(99),
        }
    }

    #[test]
    fn the_most_specific_pattern_wins_whatever_the_order() {
        let routes = routes(&["/{*rest}", "/articles/{id}", "/articles/new", "/"]);
        for (path, at) in
            [("/", 3), ("/articles/new", 2), ("/articles/7", 1), ("/articles/7/8", 0), ("/x", 0)]
        {
            assert_eq!(found(&routes, path), Some(at), "{path}");
        }
        assert_eq!(found(&routes, "/%61rticles/7"), Some(1));
    }

    #[test]
    fn t36_what_a_lenient_upstream_takes_for_another_route_is_refused() {
        let routes = routes(&["/{*rest}", "/articles/{id}", "/Files/", "/files/{*name}"]);
        for path in
            ["/Articles/7", "/ARTICLES/7", "/articles/7/", "/articles;x/7", "/articles./7", "/FILES/a"]
        {
            assert_eq!(found(&routes, path), Some(99), "{path}");
        }
        // A parameter of the priced segment itself is priced; where nothing else is meant, nothing is refused.
        assert_eq!(found(&routes, "/articles/7;x"), Some(1));
        assert_eq!(found(&routes, "/Other/"), Some(0));
        assert_eq!(found(&routes, "/Files/"), Some(2));
        assert_eq!(found(&routes, "/files/A"), Some(3));
    }

    #[test]
    fn methods_share_a_path_and_never_a_request() {
        let mut routes = Routes::default();
        routes.insert("/a", Methods::Some(vec![Method::GET]), 1).unwrap();
        routes.insert("/a", Methods::Some(vec![Method::POST, Method::PUT]), 2).unwrap();
        let again = routes.insert("/a", Methods::Some(vec![Method::DELETE, Method::PUT]), 3);
        assert_eq!(again, Err(RouteError::Method { method: Method::PUT }));
        assert_eq!(routes.insert("/a", Methods::All, 4), Err(RouteError::Method { method: Method::GET }));
        // HEAD is GET's, whichever is named first.
        let head = routes.insert("/a", Methods::Some(vec![Method::HEAD]), 5);
        assert_eq!(head, Err(RouteError::Method { method: Method::HEAD }));
        let path = ClearPath::read("/a").unwrap();
        assert_eq!(routes.find(&path, &Method::HEAD), Found::Route(&1));
        assert_eq!(routes.find(&path, &Method::PUT), Found::Route(&2));
        assert!(
            matches!(routes.find(&path, &Method::DELETE), Found::OtherMethods(others) if others.len() == 2)
        );
    }

    #[test]
    fn patterns_that_cannot_be_matched_are_refused() {
        let mut routes = routes(&["/a/{id}"]);
        for pattern in [
            "a",
            "/%61",
            "/a?b",
            "/a//b",
            "/../a",
            "/a/./b",
            "/.farthing/x",
            "/.Farthing",
            "/{",
            "/{*a}/b",
            "/a\\b",
        ] {
            let refused = routes.insert(pattern, Methods::All, 9);
            assert!(matches!(refused, Err(RouteError::Pattern(_))), "{pattern}: {refused:?}");
        }
        let clash = routes.insert("/a/{name}", Methods::All, 9);
        assert_eq!(clash, Err(RouteError::Overlap { with: "/a/{id}".to_owned() }));
        routes.insert("/a/{id}/b", Methods::All, 9).unwrap();
    }

    #[test]
    fn the_gateways_own_paths_are_known_in_any_spelling() {
        for path in [
            "/.farthing",
            "/.farthing/",
            "/.farthing/ledger",
            "/.FARTHING/x",
            "/.f%61rthing/x",
            "/.farthing;a/x",
        ] {
            assert!(is_reserved(&ClearPath::read(path).unwrap()), "{path}");
        }
        assert!(!is_reserved(&ClearPath::read("/.farthings").unwrap()));
    }
}
