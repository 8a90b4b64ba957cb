//! Hours, days and months of UTC.

use std::fmt;
use std::ops::Range;

const HOUR: u64 = 3_600;
pub(crate) const DAY: u64 = 24 * HOUR;
/// The calendar repeats itself after so many days.
const FOUR_CENTURIES: u64 = 146_097;

/// A stretch of the calendar in UTC, whatever the machine's time zone is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    /// From one full hour to the next.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the first of the next.
    Month,
}

impl Window {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Month];

    /// The window around a moment: from its first second to the first second after it, both in Unix seconds.
    #[must_use]
    pub fn around(self, at: u64) -> Range<u64> {
        let (start, length) = match self {
            Self::Hour => (at - at % HOUR, HOUR),
            Self::Day => (at - at % DAY, DAY),
            Self::Month => {
                let date = Date::of(at);
                let start = at - at % DAY - (date.day - 1) * DAY;
                (start, days_in(date.year, date.month) * DAY)
            }
        };
        start..start.saturating_add(length)
    }
}

/// Unix seconds, shown as `2026-11-21T15:10:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Utc(pub(crate) u64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Date { year, month, day } = Date::of(self.0);
        let (hour, minute, second) = (self.0 % DAY / HOUR, self.0 % HOUR / 60, self.0 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

struct Date {
    year: u64,
    /// From 1.
    month: u64,
    /// From 1.
    day: u64,
}

impl Date {
    fn of(at: u64) -> Self {
        let days = at / DAY;
        let (mut year, mut left) = (1970 + 400 * (days / FOUR_CENTURIES), days % FOUR_CENTURIES);
        while left >= 365 + leap_days(year) {
            left -= 365 + leap_days(year);
            year += 1;
        }
        let mut month = 1;
        while left >= days_in(year, month) {
            left -= days_in(year, month);
            month += 1;
        }
        Self { year, month, day: left + 1 }
    }
}

fn leap_days(year: u64) -> u64 {
    u64::from(year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + leap_days(year),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_are_shown_in_utc() {
        for (at, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_800_000_000, "2027-01-15T08:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Utc(at).to_string(), shown);
        }
    }

    #[test]
    fn windows_begin_and_end_where_the_calendar_says() {
        let shown = |window: Window, at| {
            let around = window.around(at);
            format!("{}..{}", Utc(around.start), Utc(around.end))
        };
        let at = 1_709_213_696;
        assert_eq!(Utc(at).to_string(), "2024-02-29T13:34:56Z");
        assert_eq!(shown(Window::Hour, at), "2024-02-29T13:00:00Z..2024-02-29T14:00:00Z");
        assert_eq!(shown(Window::Day, at), "2024-02-29T00:00:00Z..2024-03-01T00:00:00Z");
        assert_eq!(shown(Window::Month, at), "2024-02-01T00:00:00Z..2024-03-01T00:00:00Z");
        assert_eq!(Window::Month.around(u64::MAX).end, u64::MAX, "and no moment is too late");
    }

    proptest! {
        #[test]
        fn a_window_is_the_same_for_each_moment_in_it_and_no_other(at in 0u64..20_000_000_000) {
            for window in Window::ALL {
                let around = window.around(at);
                prop_assert!(around.contains(&at));
                prop_assert_eq!(window.around(around.start), around.clone());
                prop_assert_eq!(window.around(around.end - 1), around.clone());
                prop_assert_eq!(window.around(around.end).start, around.end);
            }
        }
    }
}
