//! What the documents show is what happens: programs in the README are the examples, they run, and every
//! command in a document or a manual is run by a test.
//!
//! [`examples`] runs the programs, [`commands`] lists every command that is shown and how it is proven, [`runs`] and
//! [`seller`] run them in a [`shell`].

mod commands;
mod examples;
mod runs;
mod seller;
mod shell;

use std::path::{Path, PathBuf};
use std::process::{Child, Output};

use farthing_testkit::workspace;

/// The port that the examples, the README and the manuals name.
const PORT: u16 = farthing_testkit::ExamplesPort::NUMBER;

fn read(path: impl AsRef<Path>) -> String {
    let path = workspace().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A program that runs until this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text(output: &Output) -> String {
    let parts = [&output.stdout, &output.stderr].map(|part| String::from_utf8_lossy(part).into_owned());
    parts.concat()
}

/// `README.md`, `CONTRIBUTING.md`, `SECURITY.md`, the specification, and the crates' own.
fn documents() -> Vec<PathBuf> {
    let mut paths: Vec<_> = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(PathBuf::from).into();
    let list = |directory: &str| {
        let entries = std::fs::read_dir(workspace().join(directory)).unwrap().flatten();
        entries.map(|entry| Path::new(directory).join(entry.file_name())).collect::<Vec<_>>()
    };
    let is_markdown = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    paths.extend(list("spec").into_iter().chain(list("docs/adr")).filter(is_markdown));
    let crates = list("crates").into_iter().chain(list("crates/rails"));
    let crates = crates.map(|path| path.join("README.md"));
    paths.extend(crates.filter(|path| workspace().join(path).exists()));
    paths.sort();
    paths
}

#[test]
fn every_relative_link_of_a_document_leads_somewhere() {
    let mut links = 0;
    for path in documents() {
        let directory = workspace().join(&path);
        let directory = directory.parent().unwrap();
        for link in read(&path).split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
            let target = link.0.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains(':') || target.contains(' ') {
                continue;
            }
            assert!(directory.join(target).exists(), "{}: `{target}` leads nowhere", path.display());
            links += 1;
        }
    }
    assert!(links >= 10);
}
