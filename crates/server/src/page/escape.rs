//! Text of others, made fit to stand in each format.
//!
//! A description, a media type or a URL may hold anything. Characters that steer terminals, break XML, or turn text
//! around (so that it reads otherwise than it is) are replaced in every format for people; JSON keeps them, escaped.

use std::fmt::Write as _;

/// Stands for a character that is not shown.
const REPLACEMENT: char = '\u{fffd}';

/// Without what is not text: control characters other than line ends and tabs, and what changes the direction of others.
fn shown(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().map(|character| match character {
        '\n' | '\t' => ' ',
        character if is_steering(character) => REPLACEMENT,
        character => character,
    })
}

/// Whether it is no text itself, and changes how text is shown.
fn is_steering(character: char) -> bool {
    let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let ends = matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    turns || ends || character.is_control()
}

/// For lines of text.
pub(crate) fn plain(text: &str) -> String {
    shown(text).collect()
}

/// For HTML and XML, between tags and in quoted attributes.
pub(crate) fn markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for character in shown(text) {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            character => out.push(character),
        }
    }
    out
}

/// JSON that stands in a `script` element: nothing in it can end the element or begin a comment.
pub(crate) fn script(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 64);
    for character in json.chars() {
        match character {
            // These stand in strings only, where an escape means the same.
            character if matches!(character, '<' | '>' | '&') || is_steering(character) => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            character => out.push(character),
        }
    }
    out
}

/// A URL for a header or a command line: nothing that ends a quotation there.
pub(crate) fn url(url: &str) -> String {
    let mut out = String::with_capacity(url.len());
    for byte in url.bytes() {
        match byte {
            b'!' | b'#'..=b'&' | b'('..=b';' | b'=' | b'?'..=b'[' | b']' | b'_' | b'a'..=b'z' | b'~' => {
                out.push(char::from(byte));
            }
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t41_no_text_steers_a_terminal_or_ends_a_line() {
        let hostile = "a\u{1b}[2J\r\nb\u{7}\u{0}\u{9b}c\u{202e}gpj.exe\u{2028}";
        let text = plain(hostile);
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert_eq!(text, "a\u{fffd}[2J\u{fffd} b\u{fffd}\u{fffd}\u{fffd}c\u{fffd}gpj.exe\u{fffd}");
        assert_eq!(plain("價格 é"), "價格 é");
    }

    #[test]
    fn t41_no_text_becomes_markup() {
        assert_eq!(markup("<b a=\"1\" c='2'>&amp;"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;");
        assert_eq!(markup("\u{0}\u{b}\u{ffff}"), "\u{fffd}\u{fffd}\u{fffd}");
    }

    #[test]
    fn t41_json_in_a_page_means_the_same_and_ends_nothing() {
        let json = serde_json::json!({"a": "</script><!--<script>&\u{2028}\u{202e}"}).to_string();
        let safe = script(&json);
        assert!(!safe.contains(['<', '>', '&', '\u{2028}', '\u{202e}']), "{safe}");
        let back: serde_json::Value = serde_json::from_str(&safe).unwrap();
        assert_eq!(back, serde_json::from_str::<serde_json::Value>(&json).unwrap());
    }

    #[test]
    fn t41_a_url_ends_no_quotation() {
        assert_eq!(
            url("https://a.example/x?q=1&r='\"<>`\\ {}|^é"),
            "https://a.example/x?q=1&r=%27%22%3C%3E%60%5C%20%7B%7D%7C%5E%C3%A9"
        );
        assert_eq!(url("https://a.example/a%2Fb;c=d,e(f)~g#h"), "https://a.example/a%2Fb;c=d,e(f)~g#h");
    }
}
