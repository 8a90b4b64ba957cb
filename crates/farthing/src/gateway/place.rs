//! Where in a gateway's file something is wrong.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A gateway's file that cannot be used, and where. Nothing is served by it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; `None` when it is not about one.
    pub line: Option<usize>,
    /// The key, with its table: `route.price`.
    pub key: Option<String>,
    /// What is wrong with it.
    pub why: String,
}

impl ConfigError {
    pub(super) fn whole(path: &Path, why: impl fmt::Display) -> Self {
        Self { path: path.to_owned(), line: None, key: None, why: why.to_string() }
    }
}

impl fmt::Display for ConfigError {
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

/// A line of the file and the key in it; what is found wrong later is said to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    path: PathBuf,
    line: Option<usize>,
    key: Option<String>,
}

impl Place {
    /// The place of the bytes `span` of `text`, under a key.
    pub(super) fn of(path: &Path, text: &str, span: &Range<usize>, key: Option<&str>) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        Self { path: path.to_owned(), line: Some(line), key: key.map(str::to_owned) }
    }

    pub(super) fn line(&self) -> Option<usize> {
        self.line
    }

    pub(super) fn fault(&self, why: impl fmt::Display) -> ConfigError {
        ConfigError { path: self.path.clone(), line: self.line, key: self.key.clone(), why: why.to_string() }
    }
}
