//! Where in a policy file something is wrong.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A policy file that cannot be used, and where. Nothing is paid by it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct PolicyFileError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; `None` when it is not about one.
    pub line: Option<usize>,
    /// The key, with its table: `budget.total`.
    pub key: Option<String>,
    /// What is wrong with it.
    pub why: String,
}

impl PolicyFileError {
    pub(crate) fn whole(path: &Path, why: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, key: None, why: why.into() }
    }
}

impl fmt::Display for PolicyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": ")?;
        if let Some(key) = &self.key {
            write!(f, "`{key}`: ")?;
        }
        f.write_str(&self.why)
    }
}

/// A line of a policy file and the key in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    line: usize,
    key: Option<String>,
}

impl Place {
    /// The place of the bytes `span` of `text`.
    pub(super) fn of(text: &str, span: &Range<usize>) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        // Reading the text once more is enough to name a key in a message.
        let (mut table, mut key) = (None, None);
        for line in text.lines().take(line).map(str::trim) {
            if let Some(header) =
                line.strip_prefix('[').filter(|_| line.ends_with(']') && !line.contains('"'))
            {
                table = Some(header.trim_matches(['[', ']', ' ']).to_owned());
                key = None;
            } else if let Some((name, _)) = line.split_once('=').filter(|(name, _)| is_key(name.trim())) {
                key = Some(name.trim().to_owned());
            }
        }
        let key = match (table, key) {
            (Some(table), Some(key)) => Some(format!("{table}.{key}")),
            (table, key) => table.or(key),
        };
        Self { line, key }
    }

    pub(super) fn fault(&self, path: &Path, why: impl Into<String>) -> PolicyFileError {
        PolicyFileError {
            path: path.to_owned(),
            line: Some(self.line),
            key: self.key.clone(),
            why: why.into(),
        }
    }
}

fn is_key(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}
