//! Amounts of money in atomic units.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Atomic units of one asset; which asset, and its scale, stand beside it.
///
/// On the wire it is a string of decimal digits in its one canonical form: `"0"`, or no leading zero, no
/// sign, no fraction, no exponent. A JSON number is refused, because not every language reads it exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub u128);

/// A text that is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AmountError {
    /// Empty, or something other than the digits 0 to 9.
    #[error("must be a whole number of atomic units, written with the digits 0 to 9 only")]
    NotDecimal,
    /// A zero in front of other digits.
    #[error("must be written without leading zeros")]
    LeadingZero,
    /// Above 2^128-1.
    #[error("must be at most 2^128-1")]
    TooLarge,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The sum, or `None` above 2^128-1.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or `None` below zero.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The amount in whole units of an asset with `scale` decimal places, exact and without trailing
    /// zeros: 1000 at scale 6 is `0.001`.
    pub fn decimal(self, scale: u8) -> String {
        let scale = usize::from(scale);
        let digits = format!("{:0>width$}", self.0, width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AmountError::NotDecimal);
        }
        if text.len() > 1 && text.starts_with('0') {
            return Err(AmountError::LeadingZero);
        }
        // Only digits are left, so what fails now is too large.
        text.parse().map(Self).map_err(|_| AmountError::TooLarge)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(AmountText)
    }
}

struct AmountText;

impl serde::de::Visitor<'_> for AmountText {
    type Value = Amount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string of decimal digits (atomic units)")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Amount, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_canonical_text_is_an_amount() {
        assert_eq!("0".parse(), Ok(Amount::ZERO));
        assert_eq!("340282366920938463463374607431768211455".parse(), Ok(Amount(u128::MAX)));
        for (text, error) in [
            ("", AmountError::NotDecimal),
            ("-0", AmountError::NotDecimal),
            ("+1", AmountError::NotDecimal),
            ("1.0", AmountError::NotDecimal),
            ("1e3", AmountError::NotDecimal),
            (" 1", AmountError::NotDecimal),
            ("0x10", AmountError::NotDecimal),
            ("\u{661}", AmountError::NotDecimal),
            ("01", AmountError::LeadingZero),
            ("00", AmountError::LeadingZero),
            ("340282366920938463463374607431768211456", AmountError::TooLarge),
        ] {
            assert_eq!(text.parse::<Amount>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_json_number_is_not_an_amount() {
        assert_eq!(serde_json::from_str::<Amount>("\"7\"").unwrap(), Amount(7));
        for json in ["7", "7.0", "-0", "null", "true", "[\"7\"]"] {
            assert!(serde_json::from_str::<Amount>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn arithmetic_stops_at_both_ends() {
        assert_eq!(Amount(2).checked_add(Amount(3)), Some(Amount(5)));
        assert_eq!(Amount(u128::MAX).checked_add(Amount(1)), None);
        assert_eq!(Amount(3).checked_sub(Amount(3)), Some(Amount::ZERO));
        assert_eq!(Amount(2).checked_sub(Amount(3)), None);
    }

    proptest! {
        #[test]
        fn text_and_json_give_the_amount_back(units: u128) {
            let amount = Amount(units);
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
            let json = serde_json::to_string(&amount).unwrap();
            prop_assert_eq!(serde_json::from_str::<Amount>(&json).unwrap(), amount);
        }

        #[test]
        fn a_decimal_says_exactly_the_amount(units: u128, scale in 0u8..=60) {
            let decimal = Amount(units).decimal(scale);
            let (whole, fraction) = decimal.split_once('.').unwrap_or((&decimal, ""));
            prop_assert!(!fraction.ends_with('0') && fraction.len() <= usize::from(scale));
            prop_assert!(whole == "0" || !whole.starts_with('0'));
            prop_assert_eq!(decimal.contains('.'), !fraction.is_empty());
            let digits = format!("{whole}{fraction:0<width$}", width = usize::from(scale));
            let canonical = digits.trim_start_matches('0');
            let canonical = if canonical.is_empty() { "0" } else { canonical };
            prop_assert_eq!(canonical.parse(), Ok(Amount(units)));
        }
    }
}
