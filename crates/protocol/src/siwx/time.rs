//! Times in sign-in messages: RFC 3339, in UTC.

/// Days of 400 years.
const ERA: u64 = 146_097;
/// From 0000-03-01 to 1970-01-01, in days.
const EPOCH: u64 = 719_468;
/// The first second of the year 10000, which has no such form.
const END: u64 = 253_402_300_800;

/// A Unix time as `2026-01-15T10:30:00.000Z`; `None` after the year 9999.
pub(super) fn write(unix: u64) -> Option<String> {
    if unix >= END {
        return None;
    }
    let (days, second) = (unix / 86_400 + EPOCH, unix % 86_400);
    let (era, day) = (days / ERA, days % ERA);
    // Years begin in March here, so that the leap day is the last one of its year.
    let year = (day - day / 1460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z"))
}

/// The Unix time of such a text, with or without a fraction, which is left out; `None` for any other text, also for
/// one with an offset.
pub(super) fn read(text: &str) -> Option<u64> {
    let (whole, rest) = (text.get(..19)?, text.get(19..)?);
    let fraction = rest.strip_suffix('Z')?;
    if !fraction.is_empty() {
        let digits = fraction.strip_prefix('.')?;
        if !(1..=9).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
    }
    let signs = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if signs.iter().any(|(at, sign)| whole.as_bytes().get(*at) != Some(sign)) {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = whole.get(from..to)?;
        if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || day == 0 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (shifted, march) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let day_of_year = (153 * march + 2) / 5 + day - 1;
    let year_of_era = shifted % 400;
    let day_of_era = 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (shifted / 400 * ERA + day_of_era).checked_sub(EPOCH)?;
    let unix = days * 86_400 + hour * 3600 + minute * 60 + second;
    // The 31st of April and the like come out as another day.
    write(unix).filter(|written| written.get(..19) == Some(whole)).map(|_| unix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_text_that_everybody_gives_them() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_705_314_600, "2024-01-15T10:30:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (END - 1, "9999-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(write(unix).as_deref(), Some(text));
            assert_eq!(read(text), Some(unix));
        }
        assert_eq!(write(END), None);
        assert_eq!(read("2024-01-15T10:30:00Z"), Some(1_705_314_600));
        assert_eq!(read("2024-01-15T10:30:00.999999999Z"), Some(1_705_314_600));
    }

    #[test]
    fn what_is_no_such_time_is_not_read() {
        for text in [
            "",
            "2024-01-15",
            "2024-01-15T10:30:00",
            "2024-01-15T10:30:00+00:00",
            "2024-01-15t10:30:00Z",
            "2024-01-15T10:30:00.Z",
            "2024-01-15T10:30:00.0000000000Z",
            "2024-01-15T24:00:00Z",
            "2024-01-15T10:60:00Z",
            "2024-01-15T10:30:60Z",
            "2024-00-15T10:30:00Z",
            "2024-13-15T10:30:00Z",
            "2024-04-31T10:30:00Z",
            "2023-02-29T10:30:00Z",
            "2100-02-29T10:30:00Z",
            "1969-12-31T23:59:59Z",
            "+024-01-15T10:30:00Z",
            "2024-01-15T10:30:00ZZ",
            "2024\u{2d}01-15T10:30:0\u{e9}Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
