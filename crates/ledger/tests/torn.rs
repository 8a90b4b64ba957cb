//! A directory whose journal was torn: what opens again is a prefix of what was committed, or nothing opens.
#![cfg(feature = "embedded")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod world;

use std::fs;
use std::path::{Path, PathBuf};

use farthing_ledger::engine::EmbeddedStorage;

use world::*;

const PAYMENTS: u64 = 12;

/// The files of a directory and below, with their bytes.
fn files(directory: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
}

/// A copy of `from` in which the journal has other bytes.
fn damaged(from: &Path, journal: &Path, bytes: &[u8]) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    files(from, &mut all);
    for (path, content) in all {
        let target = to.path().join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(&target, if path == journal { bytes } else { &content }).unwrap();
    }
    to
}

/// Entries and issued units of what opens, or `None` when nothing does; a ledger that does not balance fails.
fn open(directory: &Path) -> Option<(u64, i128)> {
    let report = EmbeddedStorage::read(directory).ok()?.check().ok()?;
    if report.entries == 0 {
        return None;
    }
    assert!(report.balanced(), "{:?}", report.faults);
    Some((report.entries, report.assets.get("XTS").map_or(0, |totals| totals.issued)))
}

#[tokio::test]
async fn a_torn_journal_opens_as_a_prefix_and_never_invents_money() {
    let home = tempfile::tempdir().unwrap();
    let world = World::open(Directory(home.path().to_path_buf())).await;
    for _ in 0..PAYMENTS {
        let id = world.held(&world.terms(1_000)).await;
        world.capture(id, 600).await.unwrap();
    }
    let (entries, issued) = (world.entries().await, i128::try_from(FUNDS).unwrap());
    drop(world);

    let mut all = Vec::new();
    files(home.path(), &mut all);
    let journal = all.into_iter().find(|(path, _)| path.extension().is_some_and(|e| e == "jnl")).unwrap();
    let used = journal.1.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let whole = damaged(home.path(), &journal.0, &journal.1);
    assert_eq!(open(whole.path()), Some((entries, issued)), "the untouched copy is whole");

    let (mut whole_prefixes, mut shorter) = (0, 0);
    for at in (0..used).rev().step_by(used / 24) {
        let cut = journal.1[..at].to_vec();
        let mut zeroed = journal.1.clone();
        zeroed[at..].fill(0);
        let mut garbage = cut.clone();
        garbage.extend((0..200_u8).map(|byte| byte.wrapping_mul(37)));
        for bytes in [cut, zeroed, garbage] {
            let copy = damaged(home.path(), &journal.0, &bytes);
            // Money is issued once, so what opens has all of it or is older than the deposit.
            let Some((kept, money)) = open(copy.path()) else { continue };
            assert!(kept <= entries && (money == 0 || money == issued), "{kept} entries, {money} issued");
            whole_prefixes += 1;
            shorter += u64::from(kept < entries);
        }
    }
    assert!(whole_prefixes > 24 && shorter > 12, "{whole_prefixes} opened, {shorter} of them shorter");
}
