//! A route's list of prices.

use std::sync::Arc;

use farthing_protocol::Price;
use http::Method;

/// What the requests of a route cost, by method. Each rail offers each price whose currency it can express.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    any: Vec<Price>,
    by_method: Vec<(Method, Vec<Price>)>,
}

impl Prices {
    /// One price for every method.
    #[must_use]
    pub fn of(price: Price) -> Self {
        Self { any: vec![price], by_method: Vec::new() }
    }

    /// No price: each method needs its own.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// One more price, for every method without its own.
    pub fn or(&mut self, price: Price) {
        self.any.push(price);
    }

    /// A price for one method, instead of the price for every method; one more when it has one.
    pub fn for_method(&mut self, method: Method, price: Price) {
        match self.by_method.iter_mut().find(|(other, _)| *other == method) {
            Some((_, prices)) => prices.push(price),
            None => self.by_method.push((method, vec![price])),
        }
    }

    /// What a request with this method costs: any one of these. `HEAD` costs what `GET` does, unless it has a
    /// price of its own. Empty when the method is not sold.
    #[must_use]
    pub fn of_method(&self, method: &Method) -> Arc<[Price]> {
        Arc::from(self.own(method).unwrap_or(&self.any))
    }

    /// Whether this method does not cost what every other one does.
    #[must_use]
    pub fn has_own(&self, method: &Method) -> bool {
        self.own(method).is_some()
    }

    fn own(&self, method: &Method) -> Option<&[Price]> {
        let own = |method: &Method| self.by_method.iter().find(|(other, _)| other == method);
        let own = own(method).or_else(|| (method == Method::HEAD).then(|| own(&Method::GET)).flatten());
        own.map(|(_, prices)| prices.as_slice())
    }

    /// All of them, for whatever method.
    pub fn all(&self) -> impl Iterator<Item = &Price> {
        self.any.iter().chain(self.by_method.iter().flat_map(|(_, prices)| prices))
    }

    /// The methods with prices of their own.
    pub fn methods(&self) -> impl Iterator<Item = &Method> {
        self.by_method.iter().map(|(method, _)| method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    #[test]
    fn a_methods_own_price_stands_instead_of_the_common_one_and_head_is_priced_as_get() {
        let mut prices = Prices::of(price("$1"));
        prices.for_method(Method::GET, price("$2"));
        prices.for_method(Method::GET, price("3 XTS"));
        prices.or(price("4 XTS"));
        assert_eq!(*prices.of_method(&Method::POST), [price("$1"), price("4 XTS")]);
        assert_eq!(*prices.of_method(&Method::GET), [price("$2"), price("3 XTS")]);
        assert_eq!(prices.of_method(&Method::HEAD), prices.of_method(&Method::GET));
        prices.for_method(Method::HEAD, price("$5"));
        assert_eq!(*prices.of_method(&Method::HEAD), [price("$5")]);
    }

    #[test]
    fn a_method_without_a_price_has_none() {
        let mut prices = Prices::none();
        prices.for_method(Method::POST, price("$1"));
        assert!(prices.of_method(&Method::GET).is_empty() && prices.of_method(&Method::HEAD).is_empty());
        assert_eq!(prices.of_method(&Method::POST).len(), 1);
    }
}
