//! Free paths: patterns that are matched only where nobody can read a path in two ways.

use matchit::Router;

/// The paths of a route that are free.
#[derive(Clone, Default)]
pub(crate) struct FreePaths {
    router: Router<()>,
    patterns: Vec<String>,
}

impl FreePaths {
    /// Adds a pattern such as `/docs/{*rest}`.
    pub(crate) fn add(&mut self, pattern: &str) -> Result<(), String> {
        if self.patterns.iter().any(|known| known == pattern) {
            return Ok(());
        }
        let known = |error| format!("free path {pattern:?}: {error}");
        if !pattern.starts_with('/') {
            return Err(known("a pattern begins with /".to_owned()));
        }
        self.router.insert(pattern, ()).map_err(|error| known(error.to_string()))?;
        self.patterns.push(pattern.to_owned());
        Ok(())
    }

    /// Whether a path is free. One that could be read as another path is not.
    pub(crate) fn holds(&self, path: &str) -> bool {
        !self.patterns.is_empty() && is_unambiguous(path) && self.router.at(path).is_ok()
    }
}

impl std::fmt::Debug for FreePaths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.patterns).finish()
    }
}

/// Whether a path, as received, has one reading only, however a server behind this one normalises it.
///
/// It has not when it holds `//`, a segment `.` or `..` (also in front of `;`), a backslash, a byte that should
/// have been encoded, an incomplete `%`, or an encoding of what changes a path's meaning (`/`, `\`, `.`, `%`, `;`,
/// control characters) or needs none (letters, digits, `-`, `_`, `~`).
#[must_use]
pub fn is_unambiguous(path: &str) -> bool {
    path.starts_with('/')
        && !path.contains("//")
        && !path.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
        && each_byte_is_meant(path.as_bytes())
}

fn each_byte_is_meant(mut path: &[u8]) -> bool {
    while let Some((&byte, rest)) = path.split_first() {
        path = match byte {
            b'%' => match rest {
                [high, low, rest @ ..] => match (hex(*high), hex(*low)) {
                    (Some(high), Some(low)) if needs_encoding(high << 4 | low) => rest,
                    _ => return false,
                },
                _ => return false,
            },
            b'\\' | 0..=b' ' | 0x7f.. => return false,
            _ => rest,
        };
    }
    true
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Whether a byte means the same, encoded, to everybody.
fn needs_encoding(byte: u8) -> bool {
    let changes_meaning = matches!(byte, b'/' | b'\\' | b'.' | b'%' | b';' | 0..=0x1f | 0x7f);
    let needs_none = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~');
    !changes_meaning && !needs_none
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_path_is_matched_by_its_pattern_alone() {
        let mut free = FreePaths::default();
        for pattern in ["/health", "/docs/{*rest}", "/users/{id}/card", "/health"] {
            free.add(pattern).unwrap();
        }
        for path in ["/health", "/docs/a", "/docs/a/b.html", "/docs/a%20b", "/users/7/card"] {
            assert!(free.holds(path), "{path}");
        }
        for path in ["/", "/Health", "/health/", "/health;x", "/docs", "/docs/", "/users/7/8/card", "/paid"] {
            assert!(!free.holds(path), "{path}");
        }
        assert!(!FreePaths::default().holds("/"));
    }

    #[test]
    fn a_pattern_that_cannot_be_matched_is_refused() {
        let mut free = FreePaths::default();
        for pattern in ["", "health", "/{*rest}/x", "/{", "*"] {
            assert!(free.add(pattern).is_err(), "{pattern}");
        }
        free.add("/{a}").unwrap();
        assert!(free.add("/{b}").is_err());
    }

    #[test]
    fn t36_a_path_with_two_readings_is_never_free() {
        let mut free = FreePaths::default();
        free.add("/docs/{*rest}").unwrap();
        free.add("/{*rest}").unwrap();
        for path in [
            "//docs/a",
            "/docs//a",
            "/docs/./a",
            "/docs/../paid",
            "/docs/..",
            "/docs/.",
            "/docs/..;/paid",
            "/docs/.;x/paid",
            "/docs/%2e%2e/paid",
            "/docs/%2E%2E/paid",
            "/docs/.%2e/paid",
            "/docs/%2fpaid",
            "/docs/..%2Fpaid",
            "/docs/%5cpaid",
            "/docs/%5C..%5cpaid",
            "/docs/\\..\\paid",
            "/docs/%252e%252e/paid",
            "/docs/%",
            "/docs/%2",
            "/docs/%zz",
            "/docs/%+1",
            "/docs/a%00",
            "/docs/a%0d%0a",
            "/docs/%61",
            "/docs/%3b",
            "/docs/a b",
            "/docs/\u{e9}",
            "docs/a",
            "",
        ] {
            assert!(!free.holds(path), "{path}");
        }
        for path in ["/docs/a", "/docs/...", "/docs/a.b", "/docs/caf%C3%A9", "/docs/a;v=1", "/docs/a:b@c"] {
            assert!(free.holds(path), "{path}");
        }
    }
}
