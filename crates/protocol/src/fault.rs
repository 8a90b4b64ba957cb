//! What can be wrong with bytes from the wire, and what to do about it.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a payer may do after an error: the one question that decides whether it pays twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Retry {
    /// Present the same payment again; a new one could be charged besides it.
    Same,
    /// A new payment is safe: this one was not charged and will not be.
    New,
    /// Neither helps.
    None,
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Same => "same",
            Self::New => "new",
            Self::None => "none",
        })
    }
}

/// Why bytes from the wire were not understood. The sender is at fault.
///
/// Whatever is quoted from the input is cut short and holds printable ASCII only.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// Longer than this side reads; nothing was decoded.
    #[error("{what} has {bytes} bytes, and at most {limit} are read")]
    TooLarge {
        /// The header or body.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The most that is read.
        limit: usize,
    },
    /// Several header values joined by a comma.
    #[error("holds a comma: exactly one payment header may be sent, with one value")]
    Combined,
    /// Not base64 in its one canonical form.
    #[error("is not base64 (standard alphabet, padded, no white space)")]
    Base64,
    /// The bytes are not text.
    #[error("is not UTF-8")]
    NotUtf8,
    /// Not JSON, or not the message that was expected.
    #[error("is not the expected JSON: {message}")]
    Json {
        /// What the parser said.
        message: String,
    },
    /// A member of the message is missing, or of the wrong type.
    #[error("`{path}`: {why}")]
    Member {
        /// Where, such as `resource.url` or `accepts[0].amount`.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// An object names a member twice.
    #[error("member `{key}` is given twice")]
    DuplicateKey {
        /// The name, after JSON's escapes are resolved.
        key: String,
    },
    /// Arrays and objects are nested too deep.
    #[error("nested deeper than {limit} levels")]
    TooDeep {
        /// The most that is read.
        limit: usize,
    },
    /// An array or object is too long.
    #[error("an array or object has more than {limit} members")]
    TooManyMembers {
        /// The most that is read.
        limit: usize,
    },
    /// Another version of x402 than the one the header belongs to.
    #[error("`x402Version` is {found}, and {expected} is expected here")]
    Version {
        /// As the sender wrote it.
        found: String,
        /// What the header or body calls for.
        expected: u64,
    },
    /// A value is understood and outside what is allowed.
    #[error("`{field}` {why}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What is wrong with it; continues the sentence that the name begins.
        why: String,
    },
}

impl WireError {
    /// The member at fault, when one can be named.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Member { path, .. } => Some(path),
            Self::DuplicateKey { key } => Some(key),
            Self::Version { .. } => Some("x402Version"),
            Self::Field { field, .. } => Some(field),
            _ => None,
        }
    }

    /// A short name for the kind of fault, used in the golden vectors of `spec/`.
    pub fn class(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too-large",
            Self::Combined => "combined",
            Self::Base64 => "base64",
            Self::NotUtf8 => "not-utf8",
            Self::Json { .. } => "json",
            Self::Member { .. } => "member",
            Self::DuplicateKey { .. } => "duplicate-key",
            Self::TooDeep { .. } => "too-deep",
            Self::TooManyMembers { .. } => "too-many-members",
            Self::Version { .. } => "version",
            Self::Field { .. } => "field",
        }
    }

    /// What was sent will be refused again; a corrected payment may be sent.
    pub fn retry(&self) -> Retry {
        Retry::New
    }
}

/// `text` as it may appear in messages and logs: printable ASCII, at most about `limit` characters.
pub(crate) fn shown(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if out.len() >= limit {
            out.push_str("...");
            break;
        }
        if character == ' ' || character.is_ascii_graphic() {
            out.push(character);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "{}", character.escape_unicode());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_from_the_input_is_short_and_printable() {
        assert_eq!(shown("amount", 64), "amount");
        assert_eq!(shown("a\r\nb\u{202e}", 64), "a\\u{d}\\u{a}b\\u{202e}");
        assert_eq!(shown(&"x".repeat(1000), 10), "xxxxxxxxxx...");
    }

    #[test]
    fn retry_advice_is_one_word_on_the_wire() {
        for (retry, word) in [(Retry::Same, "same"), (Retry::New, "new"), (Retry::None, "none")] {
            assert_eq!(retry.to_string(), word);
            assert_eq!(serde_json::to_value(retry).unwrap(), word);
            assert_eq!(serde_json::from_value::<Retry>(word.into()).unwrap(), retry);
        }
    }
}
