//! A test that is ignored by plain `cargo test` is one that `cargo xtask test` runs, and says so.
//!
//! The runner cannot tell one reason from another, so a test that is ignored for another reason would be run too.

use crate::sources::{self, Source};
use crate::step::Fallible;
use std::path::Path;

const START: &str = "#[ignore";
const REASON: &str = "#[ignore = \"cargo xtask test\"]";

/// # Errors
/// The places where a test is ignored without, or with another, reason.
pub(crate) fn check(root: &Path) -> Fallible {
    let sources = sources::all(root)?;
    let wrong: Vec<_> = sources.iter().flat_map(wrong_places).collect();
    let ignored = sources.iter().flat_map(attributes).count();
    println!("{ignored} tests need outside parts");
    if wrong.is_empty() { Ok(()) } else { Err(format!("write {REASON} at\n{}", wrong.join("\n"))) }
}

/// The numbered lines that begin with an ignore attribute.
fn attributes(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(source.text.lines().map(str::trim_start)).filter(|(_, line)| line.starts_with(START))
}

fn wrong_places(source: &Source) -> Vec<String> {
    attributes(source)
        .filter(|(_, line)| !line.starts_with(REASON))
        .map(|(number, line)| format!("  {}:{number}: {line}", source.path.display()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::wrong_places;
    use crate::sources::Source;

    #[test]
    fn an_ignored_test_needs_the_one_reason() {
        let file = |attribute: &str| Source {
            path: "a.rs".into(),
            text: format!("\n    {attribute}\nfn t() {{}}\n"),
        };
        assert_eq!(wrong_places(&file(concat!("#[", "ignore]"))), [concat!("  a.rs:2: #[", "ignore]")]);
        assert_eq!(wrong_places(&file(concat!("#[", "ignore = \"slow\"]"))).len(), 1);
        assert!(wrong_places(&file(concat!("#[", "ignore = \"cargo xtask test\"]"))).is_empty());
    }
}
