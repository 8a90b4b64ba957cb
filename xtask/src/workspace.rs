//! Where the workspace is, and what cargo knows about it.

use crate::step::{self, Fallible};
use cargo_metadata::{Metadata, MetadataCommand};
use std::path::PathBuf;
use std::process::Command;

/// The root directory of the workspace that we were started in.
///
/// # Errors
/// When the current directory belongs to no workspace.
pub(crate) fn root() -> Fallible<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest =
        step::read(Command::new(cargo).args(["locate-project", "--workspace", "--message-format", "plain"]))?;
    let manifest = PathBuf::from(manifest.trim_end());
    manifest.parent().map(PathBuf::from).ok_or_else(|| "the workspace manifest has no directory".into())
}

/// The directory that cargo builds into.
///
/// # Errors
/// When cargo cannot read the workspace.
pub(crate) fn target() -> Fallible<PathBuf> {
    let metadata = MetadataCommand::new().current_dir(root()?).no_deps().exec();
    Ok(metadata.map_err(|error| error.to_string())?.target_directory.into_std_path_buf())
}

/// Every package of the workspace and of its dependencies, on all platforms, with all features.
///
/// # Errors
/// When cargo cannot resolve the workspace.
pub(crate) fn metadata() -> Fallible<Metadata> {
    MetadataCommand::new()
        .current_dir(root()?)
        .other_options(vec!["--all-features".to_owned()])
        .exec()
        .map_err(|error| error.to_string())
}
