//! How a story is told: titles, paragraphs, names with values, and what travels.

use farthing::protocol::Amount;

use crate::Failure;
use crate::inspect::Fetched;
use crate::style::{TITLE, WIRE, paint, print, safe};

/// The first line of an answer.
pub(super) fn status_line(fetched: &Fetched) -> String {
    format!("HTTP/1.1 {}", fetched.status_line)
}

/// Begins a chapter.
pub(super) fn title(text: &str) -> Result<(), Failure> {
    print(&format!("\n{}\n\n", paint(TITLE, text))).map_err(Failure::unsound)
}

/// A paragraph.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    let lines: Vec<_> = text.lines().map(|line| format!("   {line}")).collect();
    print(&format!("{}\n\n", lines.join("\n"))).map_err(Failure::unsound)
}

/// Names and values.
pub(super) fn rows(rows: &[(&str, String)]) -> Result<(), Failure> {
    let lines: Vec<_> = rows.iter().map(|(name, value)| format!("      {name:<22}{value}")).collect();
    print(&format!("{}\n\n", lines.join("\n"))).map_err(Failure::unsound)
}

/// What was sent, and what came back.
pub(super) fn exchange(sent: &str, received: &str) -> Result<(), Failure> {
    let text = format!("> {sent}\n< {received}");
    let lines: Vec<_> = text.lines().map(|line| format!("      {}", paint(WIRE, line))).collect();
    print(&format!("{}\n\n", lines.join("\n"))).map_err(Failure::unsound)
}

/// The beginning of a name that is too long to read.
pub(super) fn short(name: &str) -> String {
    let beginning: String = name.chars().take(12).collect();
    if beginning.len() == name.len() { safe(name) } else { format!("{}...", safe(&beginning)) }
}

/// An amount with all its decimal places, so that columns line up.
pub(super) fn fixed(amount: Amount, scale: u8) -> String {
    let text = amount.decimal(scale);
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    match usize::from(scale) {
        0 => text,
        scale => format!("{whole}.{fraction:0<scale$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_line_up() {
        let told = [0, 1, 500_000_000, 1_500_000].map(|units| fixed(Amount(units), 6));
        assert_eq!(told, ["0.000000", "0.000001", "500.000000", "1.500000"]);
        assert_eq!(fixed(Amount(7), 0), "7");
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(short("0123456789abcdef"), "0123456789ab...");
        assert_eq!(short("abc"), "abc");
    }
}
