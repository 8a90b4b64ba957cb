//! Text of a server, made safe to show.

/// Longest text of a server that is shown.
pub(crate) const SHOWN: usize = 300;

/// `text` with everything invisible or directional escaped, cut after about `limit` characters. Text of a
/// server is shown to people and models; it must not move a cursor, hide or reorder what stands beside it.
pub(crate) fn plain(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for (count, character) in text.chars().enumerate() {
        if count >= limit {
            out.push_str("...");
            break;
        }
        match character {
            '"' | '\'' | '\\' => out.push(character),
            other => out.extend(other.escape_debug()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t31_control_and_direction_characters_are_escaped() {
        assert_eq!(plain("Weather \"today\" für dich", 99), "Weather \"today\" für dich");
        assert_eq!(plain("a\r\n\u{1b}[2Jb\u{202e}c\u{200b}", 99), "a\\r\\n\\u{1b}[2Jb\\u{202e}c\\u{200b}");
        assert_eq!(plain(&"x".repeat(500), 3), "xxx...");
    }
}
