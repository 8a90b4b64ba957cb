//! Directories: what was done is there when they are opened again, however they were left.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use farthing_ledger::records::EmbeddedRecords;
use farthing_protocol::records::{Records, Replaced};

use crate::{Embedded, Place, record};

/// What a process that was killed has left.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_directory_that_is_opened_again_has_what_was_done() {
    let place = Embedded::default();
    for round in 0..3_u8 {
        let records = place.open().await;
        assert_eq!(records.scan(&[1], None, 9).await.unwrap().len(), usize::from(round));
        records.replace(&[1, round], None, Some(record([round], 100 + u64::from(round)))).await.unwrap();
        records.replace(&[2], None, Some(record([round], 9))).await.unwrap();
        records.replace(&[2], Some(&[round]), None).await.unwrap();
    }
    let records = place.open().await;
    assert_eq!(records.get(&[1, 2]).await.unwrap(), Some(record([2], 102)));
    assert_eq!(records.get(&[2]).await.unwrap(), None);
    assert_eq!(records.purge(102, 9).await.unwrap(), 2, "what is over is known again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_that_is_killed_loses_nothing_that_was_done() {
    let place = Embedded::default();
    let records: Arc<dyn Records> = place.open().await;
    for round in 0..5_u8 {
        let claims: Vec<_> = (0..32_u8)
            .map(|claimant| {
                let records = records.clone();
                tokio::spawn(async move {
                    records.replace(&[1, round, claimant / 2], None, Some(record([claimant], 9))).await
                })
            })
            .collect();
        let mut done = vec![];
        for (claim, claimant) in claims.into_iter().zip(0..32_u8) {
            if claim.await.unwrap().unwrap() == Replaced::Done {
                done.push(claimant);
            }
        }
        assert_eq!(done.len(), 16);
        let left = tempfile::tempdir().unwrap();
        copy(place.path(), left.path());
        let next = EmbeddedRecords::open(left.path()).unwrap();
        for claimant in done {
            let there = next.get(&[1, round, claimant / 2]).await.unwrap();
            assert_eq!(there, Some(record([claimant], 9)));
        }
        assert_eq!(next.scan(&[1], None, 1_000).await.unwrap().len(), 16 * (usize::from(round) + 1));
    }
}

#[tokio::test]
async fn a_change_whose_caller_went_away_is_made_or_not_and_the_store_goes_on() {
    let place = Embedded::default();
    let records = place.open().await;
    drop(records.replace(b"a", None, Some(record("never asked", 9))));
    assert_eq!(records.get(b"a").await.unwrap(), None);
    assert_eq!(records.replace(b"a", None, Some(record("b", 9))).await.unwrap(), Replaced::Done);
}
