//! Prices as people write them, made exact.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::Amount;
use crate::fault::shown;

/// A price in whole units of a currency, such as `$0.001` or `0.001 USD`. Exact: never a float.
///
/// Two texts that mean the same price are equal: `$1.50` is `1.5 USD`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Price {
    digits: u128,
    decimals: u8,
    currency: String,
}

/// A text that is not a price, or a price that an asset cannot express.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PriceError {
    /// Neither form of a price.
    #[error("price \"{text}\" is not understood: write it like \"$0.001\" or \"0.001 USD\"")]
    Syntax {
        /// As given, cut short.
        text: String,
    },
    /// The currency is not a code.
    #[error(
        "price \"{text}\" names no currency: after one space, write a code of 1 to 12 of A-Z, 0-9, \".\", \"_\" and \
         \"-\" that begins with a letter, as in \"0.001 USD\""
    )]
    Currency {
        /// As given, cut short.
        text: String,
    },
    /// More digits than an amount can have.
    #[error("price \"{text}\" has more digits than an amount can have")]
    TooLarge {
        /// As given, cut short.
        text: String,
    },
    /// Nothing to pay.
    #[error("price \"{price}\" is zero: a route that costs nothing needs no price")]
    Zero {
        /// The price.
        price: String,
    },
    /// Below one atomic unit, or between two.
    #[error(
        "price \"{price}\" is finer than one unit of its asset, which has {scale} decimal places: the smallest \
         price is {unit}"
    )]
    TooFine {
        /// The price.
        price: String,
        /// Decimal places of the asset.
        scale: u8,
        /// One atomic unit, in whole units.
        unit: String,
    },
}

impl Price {
    /// The currency's code, such as `USD` or `XTS`.
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// The price in atomic units of an asset with `scale` decimal places, exactly.
    ///
    /// # Errors
    /// [`PriceError::Zero`], [`PriceError::TooFine`] when it is not a whole number of atomic units, and
    /// [`PriceError::TooLarge`] when it is above 2^128-1 of them.
    pub fn to_atomic(&self, scale: u8) -> Result<Amount, PriceError> {
        if self.digits == 0 {
            return Err(PriceError::Zero { price: self.to_string() });
        }
        // The last digit is not zero (see `from_str`), so decimals beyond the scale are never whole units.
        let Some(shift) = scale.checked_sub(self.decimals) else {
            return Err(PriceError::TooFine {
                price: self.to_string(),
                scale,
                unit: Amount(1).decimal(scale),
            });
        };
        10u128
            .checked_pow(shift.into())
            .and_then(|factor| self.digits.checked_mul(factor))
            .map(Amount)
            .ok_or_else(|| PriceError::TooLarge { text: self.to_string() })
    }
}

impl FromStr for Price {
    type Err = PriceError;

    fn from_str(text: &str) -> Result<Self, PriceError> {
        let syntax = || PriceError::Syntax { text: shown(text, 40) };
        let (number, currency) = match text.strip_prefix('$') {
            Some(number) => (number, "USD"),
            None => text.split_once(' ').unwrap_or((text, "")),
        };
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(syntax()),
            None => (number, ""),
        };
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || leading_zero || !all_digits(whole) || !all_digits(fraction) {
            return Err(syntax());
        }
        if !is_currency(currency) {
            return Err(PriceError::Currency { text: shown(text, 40) });
        }
        let too_large = || PriceError::TooLarge { text: shown(text, 40) };
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}").parse().map_err(|_| too_large())?;
        let decimals = u8::try_from(fraction.len()).map_err(|_| too_large())?;
        Ok(Self { digits, decimals, currency: currency.to_owned() })
    }
}

fn is_currency(code: &str) -> bool {
    let coded = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    (1..=12).contains(&code.len())
        && code.starts_with(|first: char| first.is_ascii_uppercase())
        && code.bytes().all(coded)
}

/// As [`FromStr`], for APIs that take a price as text.
impl TryFrom<&str> for Price {
    type Error = PriceError;

    fn try_from(text: &str) -> Result<Self, PriceError> {
        text.parse()
    }
}

/// As [`FromStr`], for APIs that take a price as text.
impl TryFrom<String> for Price {
    type Error = PriceError;

    fn try_from(text: String) -> Result<Self, PriceError> {
        text.parse()
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Amount(self.digits).decimal(self.decimals), self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    #[test]
    fn both_forms_mean_the_same_price() {
        assert_eq!(price("$0.001"), price("0.001 USD"));
        assert_eq!(price("$1.50"), price("1.5 USD"));
        assert_eq!(price("$1.50").to_string(), "1.5 USD");
        assert_eq!(price("2 XTS").currency(), "XTS");
    }

    #[test]
    fn a_price_becomes_exactly_its_atomic_units() {
        assert_eq!(price("$0.001").to_atomic(6), Ok(Amount(1000)));
        assert_eq!(price("$0.000001").to_atomic(6), Ok(Amount(1)));
        assert_eq!(price("12 XTS").to_atomic(0), Ok(Amount(12)));
        assert_eq!(price("0.10 XTS").to_atomic(1), Ok(Amount(1)));
    }

    #[test]
    fn a_price_that_the_asset_cannot_express_is_refused() {
        for text in ["$0.0000001", "$0.0000015", "$1.0000001"] {
            let error = price(text).to_atomic(6).unwrap_err();
            assert!(
                matches!(&error, PriceError::TooFine { scale: 6, unit, .. } if unit == "0.000001"),
                "{text}"
            );
        }
        assert!(matches!(price("$0.00").to_atomic(6), Err(PriceError::Zero { .. })));
        assert!(matches!(price("$1").to_atomic(39), Err(PriceError::TooLarge { .. })));
        assert!(matches!(price("$400").to_atomic(36), Err(PriceError::TooLarge { .. })));
    }

    #[test]
    fn other_texts_are_refused_with_what_is_expected() {
        for text in [
            "",
            "$",
            "0.001",
            "USD",
            "$-1",
            "-1 USD",
            "-$1",
            "+1 USD",
            "$1e3",
            "1e3 USD",
            "$.5",
            ".5 USD",
            "$1.",
            "1. USD",
            "NaN",
            "$NaN",
            "inf USD",
            "$ 1",
            " $1",
            "$1 ",
            "1  USD",
            "1 USD ",
            "1 usd",
            "1 9X",
            "1 ABCDEFGHIJKLM",
            "1USD",
            "$1,000",
            "$1_000",
            "$01",
            "00.1 USD",
            "$1.2.3",
            "$1 USD",
            "\u{20ac}1",
            "$\u{661}",
            "1\u{a0}USD",
            "$1\n",
        ] {
            let message = text.parse::<Price>().unwrap_err().to_string();
            assert!(message.contains("0.001 USD"), "{text:?}: {message}");
            assert!(message.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{text:?}: {message}");
        }
        let digits = format!("${}", "9".repeat(40));
        assert!(matches!(digits.parse::<Price>(), Err(PriceError::TooLarge { .. })));
        let decimals = format!("$0.{}1", "0".repeat(300));
        assert!(matches!(decimals.parse::<Price>(), Err(PriceError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn the_decimal_of_an_amount_is_its_price(units in 1u128.., scale in 0u8..=38) {
            let text = format!("{} XTS", Amount(units).decimal(scale));
            let price: Price = text.parse().unwrap();
            prop_assert_eq!(price.to_atomic(scale), Ok(Amount(units)));
            prop_assert_eq!(price.to_string(), text);
        }

        #[test]
        fn no_text_panics(text in ".*", scale: u8) {
            if let Ok(price) = text.parse::<Price>() {
                let _ = price.to_atomic(scale);
            }
        }
    }
}
