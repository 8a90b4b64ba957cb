//! The Rust files of the house, in and outside the workspace.

use crate::step::Fallible;
use std::fs;
use std::path::{Path, PathBuf};

/// A Rust file: its path from the root, and its text.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// All `.rs` files under the root, sorted by path; build output and hidden directories are left out.
///
/// # Errors
/// When a directory or file cannot be read.
pub(crate) fn all(root: &Path) -> Fallible<Vec<Source>> {
    let mut sources = Vec::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        let failure = |error: std::io::Error| format!("{}: {error}", directory.display());
        for entry in fs::read_dir(&directory).map_err(failure)? {
            let entry = entry.map_err(failure)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(failure)?);
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if kind.is_dir() && !name.starts_with('.') && name != "target" {
                directories.push(path);
            } else if kind.is_file() && name.ends_with(".rs") {
                let text =
                    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                let path = path.strip_prefix(root).map(Path::to_path_buf).unwrap_or(path);
                sources.push(Source { path, text });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}
