//! What SECURITY.md says is covered is covered: each attack that its tables call covered has tests that carry
//! its id.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Ids, such as `t14`, of the tests in `directory` and below.
fn tested(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            tested(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let names = source.split("fn t").skip(1).filter_map(|rest| rest.get(..3));
            let ids = names.filter(|n| n.ends_with('_') && n[..2].bytes().all(|b| b.is_ascii_digit()));
            found.extend(ids.map(|n| format!("t{}", &n[..2])));
        }
    }
}

#[test]
fn every_attack_that_is_called_covered_has_tests_that_carry_its_id() {
    let mut found = BTreeSet::new();
    tested(&root().join("crates"), &mut found);
    tested(&root().join("tests"), &mut found);
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| T"));
    let mut covered = 0;
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let id = format!("t{}", cells[0]);
        let (rails, test) = (cells[3], cells[4]);
        assert_eq!(rails.is_empty(), test.is_empty(), "{id}: a rail and a test belong together");
        if !rails.is_empty() {
            assert_eq!(test, format!("`{id}_`"), "the prefix that runs the tests of {id}");
            assert!(found.contains(&id), "no test carries the id {id}");
            covered += 1;
        }
    }
    assert!(covered >= 36, "{covered} attacks are covered");
}
