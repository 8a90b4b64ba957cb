//! Moments on a command line.

const DAY: u64 = 86_400;

/// Unix seconds of a date in UTC (`2026-11-21`, `2026-11-21 04:31`, with seconds, with `T` and `Z`), of Unix
/// seconds, or of how long ago (`90s`, `30m`, `24h`, `7d`).
///
/// # Errors
/// A sentence for people.
pub(crate) fn of(text: &str, now: u64) -> Result<u64, String> {
    let ago = || {
        let unit = text.chars().last()?;
        let length = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => DAY,
            _ => return None,
        };
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        now.checked_sub(number.checked_mul(length)?)
    };
    let moment = text.parse().ok().or_else(|| date(text)).or_else(ago);
    moment.ok_or_else(|| {
        format!("{text:?} is no time: write 2026-11-21, '2026-11-21 04:31', or 24h for a day ago")
    })
}

fn date(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (day, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00"));
    let mut parts = day.split('-');
    let (year, month, day) = (part(&mut parts, 4)?, part(&mut parts, 2)?, part(&mut parts, 2)?);
    let mut clock = time.split(':');
    let (hour, minute) = (part(&mut clock, 2)?, part(&mut clock, 2)?);
    let second = if time.len() > 5 { part(&mut clock, 2)? } else { 0 };
    let is_over = parts.next().is_none() && clock.next().is_none();
    let is_time = hour < 24 && minute < 60 && second < 60;
    let is_day = year >= 1970 && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !(is_over && is_time && is_day) {
        return None;
    }
    let years: u64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let months: u64 = (1..month).map(|month| days_in(year, month)).sum();
    Some((years + months + day - 1) * DAY + hour * 3600 + minute * 60 + second)
}

/// The next number, which has so many digits.
fn part<'a>(parts: &mut impl Iterator<Item = &'a str>, digits: usize) -> Option<u64> {
    let part = parts.next().filter(|part| part.len() == digits)?;
    part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_each_way_they_are_written() {
        let now = 2_000_000_000;
        for (text, moment) in [
            ("0", 0),
            ("1740672154", 1_740_672_154),
            ("1970-01-01", 0),
            ("2000-02-29 00:00:00", 951_782_400),
            ("2025-02-27T16:02:34Z", 1_740_672_154),
            ("2025-02-27 16:02", 1_740_672_120),
            ("2100-03-01", 4_107_542_400),
            ("90s", now - 90),
            ("30m", now - 1800),
            ("24h", now - DAY),
            ("7d", now - 7 * DAY),
        ] {
            assert_eq!(of(text, now), Ok(moment), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_said_to_be_none() {
        for text in [
            "",
            "d",
            "-1",
            "yesterday",
            "2025-02-29",
            "2025-13-01",
            "2025-00-10",
            "1969-12-31",
            "2025-1-1",
            "2025-01-01 24:00",
            "2025-01-01 10",
            "2025-01-01 10:00:00:00",
            "99999999999d",
            "2025-01-01-01",
        ] {
            assert!(of(text, 2_000_000_000).is_err(), "{text}");
        }
    }
}
