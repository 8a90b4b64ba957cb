//! What is looked at before money is asked for.

use std::sync::Arc;

use axum::response::Response;
use farthing_protocol::Price;
use farthing_protocol::rail::BoxFuture;
use http::Method;

use super::paths::FreePaths;
use super::{Quota, Wanted};
use crate::flow::Route;
use crate::identifiers::PaymentIdentifier;

/// The seller's own check of a request.
pub(crate) type Check = Arc<dyn Fn(Wanted) -> BoxFuture<'static, Result<(), Response>> + Send + Sync>;

/// The seller's own price for a request.
pub(crate) type Quote = Arc<dyn Fn(Wanted) -> BoxFuture<'static, Result<Price, Response>> + Send + Sync>;

/// A layer's rules besides its prices.
#[derive(Clone, Default)]
pub(crate) struct Rules {
    /// Whether payers name what they pay for.
    pub(crate) identifier: Option<PaymentIdentifier>,
    pub(crate) free_methods: Vec<Method>,
    pub(crate) free_paths: FreePaths,
    pub(crate) quota: Option<Quota>,
    pub(crate) check: Option<Check>,
    pub(crate) quote: Option<Quote>,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules")
            .field("free_methods", &self.free_methods)
            .field("free_paths", &self.free_paths)
            .field("quota", &self.quota)
            .finish_non_exhaustive()
    }
}

/// Which way a request goes, by its method and path alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// `OPTIONS`: answered here.
    Preflight,
    /// To the handler, for nothing.
    Free,
    /// The method has no price and is not free.
    NotSold,
    /// It must be paid for.
    Priced,
}

impl Rules {
    /// Which way a request goes.
    pub(crate) fn gate(&self, route: &Route, method: &Method, path: &str) -> Gate {
        if *method == Method::OPTIONS {
            return Gate::Preflight;
        }
        if self.is_free(route, method) || self.free_paths.holds(path) {
            return Gate::Free;
        }
        match self.quote.is_some() || !route.prices.of_method(method).is_empty() {
            true => Gate::Priced,
            false => Gate::NotSold,
        }
    }

    /// Whether the seller's own closures want to see a request.
    pub(crate) fn asks_seller(&self) -> bool {
        self.check.is_some() || self.quote.is_some()
    }

    /// `HEAD` is as free as `GET`, unless it has a price of its own.
    fn is_free(&self, route: &Route, method: &Method) -> bool {
        let listed = |method: &Method| self.free_methods.contains(method);
        let priced = || route.prices.methods().any(|priced| priced == method);
        listed(method) || (*method == Method::HEAD && listed(&Method::GET) && !priced())
    }

    /// The methods that are answered here, for `Allow`.
    pub(crate) fn allowed(&self, route: &Route) -> String {
        let mut names: Vec<&str> = vec!["OPTIONS"];
        for method in route.prices.methods().chain(&self.free_methods) {
            let implied = (*method == Method::GET).then_some("HEAD");
            names.extend(std::iter::once(method.as_str()).chain(implied));
        }
        names.sort_unstable();
        names.dedup();
        names.join(", ")
    }
}
