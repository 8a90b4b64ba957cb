//! One version of each dependency: the workspace manifest writes it, the crates only refer to it.

use crate::step::Fallible;
use crate::workspace;
use std::fs;

/// # Errors
/// The places where a crate writes a version, path or repository itself.
pub(crate) fn check() -> Fallible {
    let metadata = workspace::metadata()?;
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let path = &package.manifest_path;
        let manifest = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        let place = path.strip_prefix(&metadata.workspace_root).unwrap_or(path);
        wrong.extend(
            own_versions(&manifest).into_iter().map(|(line, text)| format!("  {place}:{line}: {text}")),
        );
    }
    println!("{} manifests", metadata.workspace_members.len());
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "write it in [workspace.dependencies] and `.workspace = true` here:\n{}",
            wrong.join("\n")
        ))
    }
}

/// The numbered lines of a crate's manifest that say by themselves where a dependency comes from.
///
/// This reads lines, not TOML: a dependency is one line (`name.workspace = true`, `name = { .. }`, `name = ".."`)
/// or a table of its own (`[dependencies.name]`).
fn own_versions(manifest: &str) -> Vec<(usize, &str)> {
    let mut section = "";
    let mut wrong = Vec::new();
    for (number, line) in (1..).zip(manifest.lines().map(str::trim)) {
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = header;
        } else if says_where_from(section, line) {
            wrong.push((number, line));
        }
    }
    wrong
}

fn says_where_from(section: &str, line: &str) -> bool {
    let Some((key, value)) = line.split_once('=') else { return false };
    let (key, value) = (key.trim(), value.trim());
    if key.starts_with('#') {
        return false;
    }
    let is_list = |name: &str| name.rsplit('.').next().is_some_and(|last| last.ends_with("dependencies"));
    if is_list(section) {
        let origin = |word: &str| ["version", "path", "git", "registry"].contains(&word);
        let words =
            value.split(['{', ',', '}']).filter_map(|part| part.split_once('=')).map(|(word, _)| word.trim());
        return value.starts_with('"')
            || words.into_iter().any(origin)
            || key.rsplit('.').next().is_some_and(origin);
    }
    section.rsplit_once('.').is_some_and(|(list, _)| is_list(list))
        && ["version", "path", "git", "registry"].contains(&key)
}

#[cfg(test)]
mod tests {
    use super::own_versions;

    fn lines(manifest: &str) -> Vec<usize> {
        own_versions(manifest).into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn a_reference_to_the_workspace_is_fine_in_every_spelling() {
        let manifest = "[package]\nname = \"x\"\nversion = \"0.1.0\"\n\n[dependencies]\n# hex = \"0.4\"\nhex.workspace = true\n\
            serde = { workspace = true, features = [\"derive\"] }\n\n[dev-dependencies.tokio]\nworkspace = true\n\
            features = [\"rt\"]\n\n[features]\nversion = [\"dep:hex\"]\n\n[[bin]]\npath = \"src/x.rs\"\n";
        assert_eq!(own_versions(manifest), Vec::new());
    }

    #[test]
    fn a_version_a_path_and_a_repository_are_found_in_every_spelling() {
        assert_eq!(lines("[dependencies]\nhex = \"0.4\"\n"), [2]);
        assert_eq!(lines("[dev-dependencies]\nhex = { version = \"0.4\", optional = true }\n"), [2]);
        assert_eq!(lines("[build-dependencies]\nhex.version = \"0.4\"\n"), [2]);
        assert_eq!(
            lines("[target.'cfg(unix)'.dependencies]\nx = { git = \"https://example.com/x\" }\n"),
            [2]
        );
        assert_eq!(lines("[dependencies.x]\npath = \"../x\"\nfeatures = []\n"), [2]);
    }
}
