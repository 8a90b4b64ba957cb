//! Whole numbers as PostgreSQL's `numeric`, exactly: in its binary form, digits of base 10,000.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

const BASE: u128 = 10_000;
const NEGATIVE: u16 = 0x4000;

/// A whole number of up to 128 bits, with a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numeric {
    negative: bool,
    magnitude: u128,
}

impl Numeric {
    pub(super) fn to_u64(self) -> Option<u64> {
        self.to_u128().and_then(|number| number.try_into().ok())
    }

    pub(super) fn to_u128(self) -> Option<u128> {
        (!self.negative || self.magnitude == 0).then_some(self.magnitude)
    }

    pub(super) fn to_i128(self) -> Option<i128> {
        if self.negative {
            0_i128.checked_sub_unsigned(self.magnitude)
        } else {
            self.magnitude.try_into().ok()
        }
    }
}

impl From<u64> for Numeric {
    fn from(number: u64) -> Self {
        Self::from(u128::from(number))
    }
}

impl From<u128> for Numeric {
    fn from(magnitude: u128) -> Self {
        Self { negative: false, magnitude }
    }
}

impl From<i128> for Numeric {
    fn from(number: i128) -> Self {
        Self { negative: number < 0, magnitude: number.unsigned_abs() }
    }
}

impl ToSql for Numeric {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let mut digits = Vec::with_capacity(10);
        let mut rest = self.magnitude;
        while rest > 0 {
            digits.push((rest % BASE) as u16);
            rest /= BASE;
        }
        let weight = digits.len().saturating_sub(1) as u16;
        let sign = if self.negative { NEGATIVE } else { 0 };
        let header = [digits.len() as u16, weight, sign, 0];
        for word in header.iter().chain(digits.iter().rev()) {
            out.extend_from_slice(&word.to_be_bytes());
        }
        Ok(IsNull::No)
    }

    accepts!(NUMERIC);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Numeric {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        read(raw).ok_or_else(|| "a number that is not whole, or beyond 128 bits".into())
    }

    accepts!(NUMERIC);
}

fn read(raw: &[u8]) -> Option<Numeric> {
    let word =
        |at: usize| raw.get(2 * at..2 * at + 2).and_then(|b| b.try_into().ok()).map(u16::from_be_bytes);
    let (count, weight, sign) = (word(0)?, word(1)? as i16, word(2)?);
    if sign != 0 && sign != NEGATIVE {
        return None;
    }
    let mut magnitude: u128 = 0;
    for at in 0..count {
        let digit = u128::from(word(4 + usize::from(at))?);
        let place = i32::from(weight) - i32::from(at);
        if place < 0 {
            if digit != 0 {
                return None;
            }
            continue;
        }
        let unit = BASE.checked_pow(place.unsigned_abs());
        // A digit of zero counts nothing, however high its place.
        let part = if digit == 0 { 0 } else { digit.checked_mul(unit?)? };
        magnitude = magnitude.checked_add(part)?;
    }
    Some(Numeric { negative: sign == NEGATIVE, magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn there_and_back(number: Numeric) -> Numeric {
        let mut out = BytesMut::new();
        number.to_sql(&Type::NUMERIC, &mut out).unwrap();
        Numeric::from_sql(&Type::NUMERIC, &out).unwrap()
    }

    #[test]
    fn the_ends_of_every_range_are_exact() {
        for number in [0, 1, 9_999, 10_000, 10_001, 99_990_000, u128::MAX - 1, u128::MAX] {
            assert_eq!(there_and_back(number.into()).to_u128(), Some(number));
        }
        for number in [i128::MIN, i128::MIN + 1, -10_000, -1, 0, 1, i128::MAX] {
            assert_eq!(there_and_back(number.into()).to_i128(), Some(number));
        }
        assert_eq!(Numeric::from(u64::MAX).to_u64(), Some(u64::MAX));
        assert_eq!(Numeric::from(u128::from(u64::MAX) + 1).to_u64(), None);
        assert_eq!(Numeric::from(u128::MAX).to_i128(), None);
        assert_eq!(Numeric::from(-1_i128).to_u128(), None);
    }

    #[test]
    fn what_is_not_a_whole_number_is_refused() {
        let words = |words: &[u16]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>();
        assert_eq!(read(&words(&[2, 0, 0, 1, 7, 0])), Some(Numeric::from(7_u64)));
        assert_eq!(read(&words(&[2, 0, 0, 1, 7, 5000])), None, "7.5");
        assert_eq!(read(&words(&[0, 0, 0xC000, 0])), None, "NaN");
        assert_eq!(read(&words(&[0, 0, 0xD000, 0])), None, "infinity");
        assert_eq!(read(&words(&[1, 10, 0, 0, 1])), None, "10^40");
        assert_eq!(read(&words(&[2, 0, 0, 0, 7])), None, "cut off");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_number_comes_back(unsigned in any::<u128>(), signed in any::<i128>()) {
            prop_assert_eq!(there_and_back(unsigned.into()).to_u128(), Some(unsigned));
            prop_assert_eq!(there_and_back(signed.into()).to_i128(), Some(signed));
        }

        #[test]
        fn no_bytes_make_it_panic(raw in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = read(&raw);
        }
    }
}
