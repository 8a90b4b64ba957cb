//! How output looks: colours for terminals, text that is safe to show, times and money for people.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use anstyle::{AnsiColor, Style};
use farthing::protocol::Amount;

/// A headline.
pub(crate) const TITLE: Style = Style::new().bold();
/// What went as it should.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What did not.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What deserves a second look.
pub(crate) const CAREFUL: Style = AnsiColor::Yellow.on_default();
/// What travels: headers, status lines, commands.
pub(crate) const WIRE: Style = AnsiColor::Cyan.on_default();
/// What can be skipped.
pub(crate) const QUIET: Style = Style::new().dimmed();

/// `text` in a style.
pub(crate) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Writes `text` to standard output, without colours where they do not belong.
///
/// # Errors
/// Those of the output; a reader that has gone away is not one.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes why a command failed to standard error.
pub(crate) fn complain(why: &str) {
    // There is nobody left to tell when this fails.
    let _ = writeln!(anstream::stderr().lock(), "{} {}", paint(BAD, "farthing:"), why);
}

/// `text` that came from somebody else, so that it cannot move a terminal's cursor, change colours or the
/// direction of writing: whatever is not plainly visible is written as an escape.
pub(crate) fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_invisible(character) {
            // Writing to a string cannot fail.
            let _ = write!(out, "{}", character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Valid JSON in ASCII only; what else stands in its strings becomes escapes.
pub(crate) fn ascii_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut units = [0; 2];
    for character in json.chars() {
        if character.is_ascii() && character != '\u{7f}' {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

/// Money in whole units, such as `0.001 XTS`.
pub(crate) fn money(amount: Amount, scale: u8, asset: &str) -> String {
    format!("{} {}", amount.decimal(scale), safe(asset))
}

/// A count with its noun: `1 payment`, `2 payments`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// A number with its thousands apart: `12,345`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Unix seconds, now.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A moment for people: `2026-11-21 04:31:05 UTC (in 5 minutes)`.
pub(crate) fn moment(at: u64, now: u64) -> String {
    let distance = match at.cmp(&now) {
        std::cmp::Ordering::Equal => "now".to_owned(),
        std::cmp::Ordering::Greater => format!("in {}", span(at - now)),
        std::cmp::Ordering::Less => format!("{} ago", span(now - at)),
    };
    match utc(at) {
        Some(date) => format!("{date} UTC ({distance})"),
        None => format!("second {at} of Unix time (beyond the year 9999)"),
    }
}

/// A length of time in its largest unit, rounded down.
pub(crate) fn span(seconds: u64) -> String {
    let units = [(365 * 86_400, "year"), (86_400, "day"), (3600, "hour"), (60, "minute")];
    // An hour and a half is 90 minutes: a unit is used from two of it on.
    let unit = units.into_iter().find(|(length, _)| seconds >= 2 * length).unwrap_or((1, "second"));
    count(seconds / unit.0, unit.1)
}

/// Date and time in UTC; `None` beyond the year 9999.
pub(crate) fn utc(at: u64) -> Option<String> {
    let (mut days, second) = (at / 86_400, at % 86_400);
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
        if year > 9999 {
            return None;
        }
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    Some(format!("{year:04}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02}", days + 1))
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (at, date) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (951_868_800, "2000-03-01 00:00:00"),
            (1_740_672_154, "2025-02-27 16:02:34"),
            (4_102_444_800, "2100-01-01 00:00:00"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (253_402_300_799, "9999-12-31 23:59:59"),
        ] {
            assert_eq!(utc(at).as_deref(), Some(date));
        }
        assert_eq!(utc(253_402_300_800), None);
        assert!(moment(u64::MAX, 0).contains("18446744073709551615"));
    }

    #[test]
    fn distances_are_told_in_the_unit_a_person_would_use() {
        let told = |at| moment(at, 1000).split_once('(').map(|(_, rest)| rest.to_owned());
        assert_eq!(told(1000).as_deref(), Some("now)"));
        assert_eq!(told(1001).as_deref(), Some("in 1 second)"));
        assert_eq!(told(1119).as_deref(), Some("in 119 seconds)"));
        assert_eq!(told(1300).as_deref(), Some("in 5 minutes)"));
        assert_eq!(told(880).as_deref(), Some("2 minutes ago)"));
        assert_eq!(span(30 * 86_400), "30 days");
        assert_eq!(span(u64::MAX), "584,942,417,355 years");
    }

    #[test]
    fn text_from_strangers_cannot_steer_a_terminal() {
        let hostile = "a\u{1b}[2J\r\n\u{7}\u{9b}b\u{202e}c\u{200b}d\u{e0041}";
        let shown = safe(hostile);
        assert!(shown.chars().all(|c| c.is_ascii_graphic()), "{shown:?}");
        assert_eq!(safe("Zürich, 東京 \"x\""), "Zürich, 東京 \"x\"");
    }

    #[test]
    fn json_in_ascii_means_the_same() {
        let json = "{\"a\":\"ü\u{202e}\u{1f600}\u{7f}\"}";
        let ascii = ascii_json(json);
        assert!(ascii.bytes().all(|b| b.is_ascii_graphic()));
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&ascii), read(json));
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((count(1, "hour"), count(0, "hour")), ("1 hour".into(), "0 hours".into()));
    }
}
