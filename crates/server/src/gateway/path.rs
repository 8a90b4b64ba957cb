//! The path of a request, read in one way only.
//!
//! A path that two servers could read differently is refused before any route is looked at: what is priced here must
//! be the very thing that the upstream serves. What is left is percent-decoded once for matching; the upstream
//! gets the target as it came.

use thiserror::Error;

/// Why a path is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unclear {
    /// It does not begin with `/`.
    #[error("the target must be a path that begins with a slash")]
    NoPath,
    /// A space, a control character, or a byte above 127 that is not percent-encoded.
    #[error("the path has a character that must be percent-encoded")]
    Raw,
    /// `%` without two hexadecimal digits.
    #[error("the path has a % without two hexadecimal digits")]
    Malformed,
    /// A slash, backslash or control character behind a percent sign, or percent-encoding inside percent-encoding.
    #[error("the path hides a separator or a control character")]
    Hidden,
    /// A backslash, which some servers read as a slash.
    #[error("the path has a backslash")]
    Backslash,
    /// `//`, or a segment that is empty but for its parameters.
    #[error("the path has an empty segment")]
    Empty,
    /// `.`, `..`, or what some servers take for one.
    #[error("the path has a dot segment")]
    Dots,
}

/// A path that every server reads the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClearPath {
    decoded: String,
    folded: String,
}

impl ClearPath {
    /// Reads a path as it came, without its query.
    ///
    /// # Errors
    /// [`Unclear`] says why it is refused.
    pub fn read(raw: &str) -> Result<Self, Unclear> {
        if !raw.starts_with('/') {
            return Err(Unclear::NoPath);
        }
        if !raw.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Unclear::Raw);
        }
        let decoded = decode(raw)?;
        segments(&decoded)?;
        let folded = fold(&decoded);
        Ok(Self { decoded, folded })
    }

    /// Percent-decoded once: what routes are matched on.
    #[must_use]
    pub fn decoded(&self) -> &str {
        &self.decoded
    }

    /// Without what lenient servers ignore: case, parameters behind `;`, a trailing slash, dots or spaces at the end
    /// of a segment.
    pub(super) fn folded(&self) -> &str {
        &self.folded
    }
}

fn decode(raw: &str) -> Result<String, Unclear> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => return Err(Unclear::Backslash),
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let pair = digit().zip(digit()).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                match pair.ok_or(Unclear::Malformed)? {
                    b'/' | b'\\' => return Err(Unclear::Hidden),
                    byte if byte.is_ascii_control() => return Err(Unclear::Hidden),
                    byte => bytes.push(byte),
                }
            }
            byte => bytes.push(byte),
        }
    }
    let twice =
        |three: &[u8]| matches!(three, [b'%', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
    if bytes.windows(3).any(twice) {
        return Err(Unclear::Hidden);
    }
    let text = String::from_utf8(bytes).map_err(|_| Unclear::Malformed)?;
    match text.chars().any(char::is_control) {
        true => Err(Unclear::Hidden),
        false => Ok(text),
    }
}

/// Refuses segments that are empty or dots, also with what some servers cut off.
fn segments(decoded: &str) -> Result<(), Unclear> {
    let mut segments = decoded.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let head = head(segment);
        if head.is_empty() && !(segment.is_empty() && segments.peek().is_none()) {
            return Err(Unclear::Empty);
        }
        if !head.is_empty() && head.chars().all(|c| c == '.' || c.is_whitespace()) {
            return Err(Unclear::Dots);
        }
    }
    Ok(())
}

/// A segment without its parameters, and without what would be a query if it were decoded once more.
fn head(segment: &str) -> &str {
    segment.split([';', '?', '#']).next().unwrap_or_default()
}

/// The path, or pattern, as the most lenient server would read it.
pub(super) fn fold(decoded: &str) -> String {
    let whole = decoded.split(['?', '#']).next().unwrap_or_default();
    let mut out = String::with_capacity(whole.len());
    for segment in whole.split('/').skip(1) {
        let kept = head(segment).trim_end_matches(|c: char| c == '.' || c.is_whitespace());
        out.push('/');
        out.push_str(kept);
    }
    let trimmed = out.trim_end_matches('/');
    if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t36_a_path_that_two_servers_read_differently_is_refused() {
        for (raw, why) in [
            ("articles/1", Unclear::NoPath),
            ("*", Unclear::NoPath),
            ("//articles/1", Unclear::Empty),
            ("/articles//1", Unclear::Empty),
            ("/articles/1//", Unclear::Empty),
            ("/;x/articles/1", Unclear::Empty),
            ("/./articles/1", Unclear::Dots),
            ("/x/../articles/1", Unclear::Dots),
            ("/x/..", Unclear::Dots),
            ("/x/%2e%2E/articles/1", Unclear::Dots),
            ("/x/.%2e/articles/1", Unclear::Dots),
            ("/x/..;/articles/1", Unclear::Dots),
            ("/x/..%3Bv=1/articles/1", Unclear::Dots),
            ("/x/..%20/articles/1", Unclear::Dots),
            ("/x/..%3f", Unclear::Dots),
            ("/x/.../articles", Unclear::Dots),
            ("/articles%2f1", Unclear::Hidden),
            ("/articles%2F1", Unclear::Hidden),
            ("/articles%5c1", Unclear::Hidden),
            ("/articles%5C1", Unclear::Hidden),
            ("/articles/1%00", Unclear::Hidden),
            ("/articles/1%0d%0aSet-Cookie:x", Unclear::Hidden),
            ("/articles/1%7f", Unclear::Hidden),
            ("/articles/1%c2%85", Unclear::Hidden),
            ("/%2561rticles/1", Unclear::Hidden),
            ("/articles%252f1", Unclear::Hidden),
            ("/articles\\1", Unclear::Backslash),
            ("/articles/%", Unclear::Malformed),
            ("/articles/%4", Unclear::Malformed),
            ("/articles/%zz", Unclear::Malformed),
            ("/articles/%u0031", Unclear::Malformed),
            ("/articles/%c0%af", Unclear::Malformed),
            ("/articles/%+1", Unclear::Malformed),
            ("/art icles/1", Unclear::Raw),
            ("/caf\u{e9}", Unclear::Raw),
        ] {
            assert_eq!(ClearPath::read(raw), Err(why), "{raw}");
        }
    }

    #[test]
    fn t36_a_clear_path_is_decoded_once() {
        for (raw, decoded) in [
            ("/", "/"),
            ("/articles/1", "/articles/1"),
            ("/%61rticles/%31", "/articles/1"),
            ("/caf%C3%A9", "/caf\u{e9}"),
            ("/a/", "/a/"),
            ("/.well-known/x", "/.well-known/x"),
            ("/100%25", "/100%"),
            ("/v1.2/a..b", "/v1.2/a..b"),
            ("/a;v=1", "/a;v=1"),
            ("/a%20b", "/a b"),
        ] {
            assert_eq!(ClearPath::read(raw).unwrap().decoded(), decoded, "{raw}");
        }
    }

    #[test]
    fn what_lenient_servers_ignore_is_folded_away() {
        for raw in [
            "/Articles/1",
            "/articles/1/",
            "/articles/1;x=1",
            "/articles;y/1",
            "/articles/1.",
            "/articles/1%20",
            "/articles/1%3fa",
        ] {
            assert_eq!(ClearPath::read(raw).unwrap().folded(), "/articles/1", "{raw}");
        }
        assert_eq!(fold("/"), "/");
    }
}
