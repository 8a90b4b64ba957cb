//! `farthing ledger check`: sound books, damaged books and no books.

use std::fs;
use std::path::Path;

use farthing::farthing_ledger::engine::{EmbeddedStorage, Storage, Writes};
use farthing::farthing_ledger::rows::Table;
use tempfile::TempDir;

use crate::program::{Run, farthing};

/// A ledger on which payments were made.
fn paid_ledger() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    farthing(&["demo", "--requests", "12", "--json", "--data", data]).ends_with(0);
    directory
}

fn check(directory: &Path) -> Run {
    farthing(&["ledger", "check", "--data", directory.to_str().unwrap()])
}

fn duplicate(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let copy = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            duplicate(&file.path(), &copy);
        } else {
            fs::copy(file.path(), copy).unwrap();
        }
    }
}

/// Changes one row behind the ledger's back.
fn damage(directory: &Path, table: Table, at: usize, change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) {
    let (mut storage, _) = EmbeddedStorage::open(directory).unwrap();
    let (key, row) = storage.scan(table, &[], 100).unwrap().swap_remove(at);
    let writes: Writes = [((table, key), change(row))].into();
    storage.commit(&writes).unwrap();
}

fn flip(at: usize) -> impl FnOnce(Vec<u8>) -> Option<Vec<u8>> {
    move |mut row| {
        let at = at % row.len();
        row[at] ^= 1;
        Some(row)
    }
}

#[test]
fn a_sound_ledger_balances_in_words_and_in_json() {
    let directory = paid_ledger();
    let words = check(directory.path()).ends_with(0);
    assert!(
        words.err.is_empty() && words.out.contains("XTS: issued 500 = accounts 500 + held 0"),
        "{words:?}"
    );
    assert!(words.out.contains("captured") && words.out.contains("The ledger balances"), "{words:?}");
    let data = directory.path().to_str().unwrap();
    let json = farthing(&["ledger", "check", "--json", "--data", data]).ends_with(0).json();
    assert_eq!(json["balanced"], true);
    assert_eq!(json["faults"].as_array().map(Vec::len), Some(0));
    assert_eq!(json["assets"]["XTS"]["issued"], "500000000");
    assert!(json["signatures"].as_u64() >= json["payments"]["captured"].as_u64().map(|paid| 2 * paid));
}

#[test]
fn a_damaged_ledger_is_found_out() {
    let sound = paid_ledger();
    let damages: [(&str, Table, usize, usize); 4] = [
        ("an entry", Table::Entry, 6, 40),
        ("a signature in an entry", Table::Entry, 7, usize::MAX),
        ("a balance", Table::Balance, 0, 15),
        ("a payment", Table::Payment, 0, 5),
    ];
    for (what, table, row, byte) in damages {
        let copy = tempfile::tempdir().unwrap();
        duplicate(sound.path(), copy.path());
        check(copy.path()).ends_with(0);
        damage(copy.path(), table, row, flip(byte));
        let run = check(copy.path()).ends_with(1);
        assert!(run.out.contains("fault:") && run.out.contains("cannot be believed"), "{what}: {run:?}");
        assert!(run.err.contains("fault"), "{what}: {run:?}");
        let data = copy.path().to_str().unwrap();
        let json = farthing(&["ledger", "check", "--json", "--data", data]).ends_with(1).json();
        assert_eq!(json["balanced"], false, "{what}");
        assert!(json["faults"].as_array().is_some_and(|faults| !faults.is_empty()), "{what}");
    }
    check(sound.path()).ends_with(0);
}

#[test]
fn a_removed_entry_is_found_out() {
    let directory = paid_ledger();
    damage(directory.path(), Table::Entry, 8, |_| None);
    check(directory.path()).ends_with(1);
}

#[test]
fn what_is_no_ledger_ends_with_2() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["nothing/at/all", "."] {
        let run = check(&directory.path().join(name)).ends_with(2);
        assert!(run.out.is_empty() && run.err.contains("no ledger"), "{run:?}");
    }
    // Something else that looks like it from afar.
    fs::create_dir(directory.path().join("rows")).unwrap();
    fs::write(directory.path().join("rows/0.jnl"), "not a database").unwrap();
    let run = check(directory.path());
    assert!(run.status != 0 && run.err.starts_with("farthing: "), "{run:?}");
}
