//! What holds for every store.

use std::sync::Arc;

use farthing_protocol::records::{KEY_BYTES, Record, Records, RecordsError, Replaced, VALUE_BYTES};

use crate::{Place, record};

/// What is under a key.
async fn value(records: &Arc<dyn Records>, key: &[u8]) -> Option<Vec<u8>> {
    records.get(key).await.unwrap().map(|record| record.value)
}

async fn keys(records: &Arc<dyn Records>, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Vec<u8>> {
    let page = records.scan(prefix, after, limit).await.unwrap();
    page.into_iter().map(|(key, _)| key).collect()
}

async fn insert(records: &Arc<dyn Records>, key: &[u8], until: u64) {
    let inserted = records.replace(key, None, Some(record(key, until))).await.unwrap();
    assert_eq!(inserted, Replaced::Done);
}

pub(crate) async fn a_record_is_inserted_once_replaced_and_removed(place: &impl Place) {
    let records = place.open().await;
    assert_eq!(records.get(b"a").await.unwrap(), None);
    let (first, second) = (record("first", 10), record("second", 20));
    assert_eq!(records.replace(b"a", None, Some(first.clone())).await.unwrap(), Replaced::Done);
    assert_eq!(records.get(b"a").await.unwrap(), Some(first.clone()));
    let again = records.replace(b"a", None, Some(second.clone())).await.unwrap();
    assert_eq!(again, Replaced::Found(Some(first.clone())));
    let changed = records.replace(b"a", Some(&first.value), Some(second.clone())).await.unwrap();
    assert_eq!(changed, Replaced::Done);
    assert_eq!(records.get(b"a").await.unwrap(), Some(second.clone()));
    assert_eq!(records.replace(b"a", Some(&second.value), None).await.unwrap(), Replaced::Done);
    assert_eq!(records.get(b"a").await.unwrap(), None);
    assert_eq!(records.replace(b"a", None, Some(second)).await.unwrap(), Replaced::Done);
}

pub(crate) async fn a_failed_comparison_changes_nothing_and_tells_what_is_there(place: &impl Place) {
    let records = place.open().await;
    let nothing = Replaced::Found(None);
    assert_eq!(records.replace(b"a", Some(b"x"), Some(record("y", 1))).await.unwrap(), nothing);
    assert_eq!(records.replace(b"a", Some(b"x"), None).await.unwrap(), nothing);
    assert_eq!(records.get(b"a").await.unwrap(), None);
    let there = record("", 7);
    insert(&records, b"b", 7).await;
    records.replace(b"b", Some(b"b"), Some(there.clone())).await.unwrap();
    for new in [Some(record("y", 1)), None] {
        let found = records.replace(b"b", Some(b"x"), new.clone()).await.unwrap();
        assert_eq!(found, Replaced::Found(Some(there.clone())));
        // An empty record is not none.
        assert_eq!(records.replace(b"b", None, new).await.unwrap(), Replaced::Found(Some(there.clone())));
    }
    assert_eq!(records.get(b"b").await.unwrap(), Some(there));
    assert_eq!(records.replace(b"b", Some(b""), None).await.unwrap(), Replaced::Done);
}

pub(crate) async fn a_record_that_must_not_be_there_and_stays_away_is_no_change(place: &impl Place) {
    let records = place.open().await;
    assert_eq!(records.replace(b"a", None, None).await.unwrap(), Replaced::Done);
    insert(&records, b"a", 1).await;
    let found = records.replace(b"a", None, None).await.unwrap();
    assert_eq!(found, Replaced::Found(Some(record("a", 1))));
}

pub(crate) async fn of_sixty_four_claimants_one_gets_the_record(place: &impl Place) {
    let processes = [place.open().await, place.open().await];
    for round in 0..5_u8 {
        let claims: Vec<_> = (0..64_usize)
            .map(|claimant| {
                let records = processes[claimant % 2].clone();
                tokio::spawn(async move {
                    let mine = record([claimant as u8], 10);
                    (mine.clone(), records.replace(&[1, round], None, Some(mine)).await.unwrap())
                })
            })
            .collect();
        let (mut winners, mut seen) = (vec![], vec![]);
        for claim in claims {
            match claim.await.unwrap() {
                (mine, Replaced::Done) => winners.push(mine),
                (_, Replaced::Found(there)) => seen.push(there),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        assert!(seen.iter().all(|there| there.as_ref() == winners.first()), "all others see the one");
        assert_eq!(processes[1].get(&[1, round]).await.unwrap().as_ref(), winners.first());
    }
}

pub(crate) async fn a_counter_that_many_raise_counts_each_of_them(place: &impl Place) {
    let processes = [place.open().await, place.open().await];
    processes[0].replace(b"count", None, Some(record([0], 1))).await.unwrap();
    let raise = |records: Arc<dyn Records>| async move {
        for _ in 0..6 {
            let mut there = records.get(b"count").await.unwrap().unwrap().value;
            while let Replaced::Found(found) =
                records.replace(b"count", Some(&there), Some(record([there[0] + 1], 1))).await.unwrap()
            {
                there = found.unwrap().value;
            }
        }
    };
    let raising: Vec<_> = (0..8).map(|n: usize| tokio::spawn(raise(processes[n % 2].clone()))).collect();
    for raised in raising {
        raised.await.unwrap();
    }
    assert_eq!(value(&processes[0], b"count").await, Some(vec![48]));
}

pub(crate) async fn a_scan_returns_the_records_of_a_prefix_in_order_page_by_page(place: &impl Place) {
    let records = place.open().await;
    let wanted: [&[u8]; 5] = [&[2], &[2, 0], &[2, 0, 1], &[2, 7], &[2, 255, 255]];
    let others: [&[u8]; 5] = [&[1], &[1, 255], &[3], &[3, 0], &[255, 255]];
    for key in wanted.into_iter().rev().chain(others) {
        insert(&records, key, 1).await;
    }
    assert_eq!(keys(&records, &[2], None, 100).await, wanted);
    assert_eq!(keys(&records, &[2], None, 2).await, wanted[..2]);
    assert_eq!(keys(&records, &[2], Some(&[2, 0]), 2).await, wanted[2..4]);
    // A place where nothing is, or not any more.
    assert_eq!(keys(&records, &[2], Some(&[2, 6]), 2).await, wanted[3..]);
    assert_eq!(keys(&records, &[2], Some(&[2, 255, 255]), 2).await, [[0_u8; 0]; 0]);
    assert_eq!(keys(&records, &[2], Some(&[1]), 1).await, wanted[..1]);
    assert_eq!(keys(&records, &[2], Some(&[9]), 9).await, [[0_u8; 0]; 0]);
    assert_eq!(keys(&records, &[255], None, 9).await, [[255, 255]]);
    assert_eq!(keys(&records, &[], None, 100).await.len(), 10);
    records.replace(&[2, 0], Some(&[2, 0]), None).await.unwrap();
    assert_eq!(keys(&records, &[2], None, 2).await, [&[2][..], &[2, 0, 1]]);
    let page = records.scan(&[3], None, 1).await.unwrap();
    assert_eq!(page, [(vec![3], record([3], 1))]);
}

pub(crate) async fn a_purge_removes_only_what_is_over_and_no_more_than_it_may(place: &impl Place) {
    let records = place.open().await;
    for until in [30_u8, 10, 20, 11, 12] {
        insert(&records, &[until], until.into()).await;
    }
    assert_eq!(records.purge(10, 100).await.unwrap(), 0, "of use until its second is over");
    assert_eq!(records.purge(13, 2).await.unwrap(), 2);
    assert_eq!(records.purge(13, 2).await.unwrap(), 1);
    assert_eq!(records.purge(13, 2).await.unwrap(), 0);
    assert_eq!(keys(&records, &[], None, 9).await, [[20], [30]]);
    // One that is over when it comes.
    insert(&records, &[5], 5).await;
    assert_eq!(records.purge(13, 9).await.unwrap(), 1);
    assert_eq!(records.purge(u64::MAX, 9).await.unwrap(), 2);
    assert_eq!(keys(&records, &[], None, 9).await, [[0_u8; 0]; 0]);
    insert(&records, &[30], 40).await;
}

pub(crate) async fn a_record_that_was_prolonged_is_not_purged(place: &impl Place) {
    let records = place.open().await;
    insert(&records, b"a", 10).await;
    insert(&records, b"b", 10).await;
    let prolonged = records.replace(b"a", Some(b"a"), Some(record("a", 50))).await.unwrap();
    assert_eq!(prolonged, Replaced::Done);
    assert_eq!(records.purge(20, 9).await.unwrap(), 1);
    assert_eq!(records.get(b"a").await.unwrap(), Some(record("a", 50)));
    records.replace(b"a", Some(b"a"), Some(record("a", 15))).await.unwrap();
    assert_eq!(records.purge(20, 9).await.unwrap(), 1);
    assert_eq!(value(&records, b"a").await, None);
}

pub(crate) async fn keys_and_values_have_their_limits(place: &impl Place) {
    let records = place.open().await;
    let (most, long) = (vec![7; KEY_BYTES], vec![7; KEY_BYTES + 1]);
    for key in [&[][..], &long] {
        let refused = records.replace(key, None, Some(record("x", 1))).await;
        assert!(matches!(refused, Err(RecordsError::Unavailable(_))), "{refused:?}");
        assert!(matches!(records.get(key).await, Err(RecordsError::Unavailable(_))));
    }
    let heavy = record(vec![1; VALUE_BYTES + 1], 1);
    let refused = records.replace(&most, None, Some(heavy)).await;
    assert!(matches!(refused, Err(RecordsError::Unavailable(_))), "{refused:?}");
    assert_eq!(records.get(&most).await.unwrap(), None);
    let full = record(vec![1; VALUE_BYTES], 1);
    assert_eq!(records.replace(&most, None, Some(full.clone())).await.unwrap(), Replaced::Done);
    assert_eq!(records.get(&most).await.unwrap(), Some(full.clone()));
    let other = records.replace(&most, Some(&full.value), Some(record("y", 1))).await.unwrap();
    assert_eq!(other, Replaced::Done);
}

pub(crate) async fn a_record_that_is_never_over_is_kept(place: &impl Place) {
    let records = place.open().await;
    insert(&records, b"a", u64::MAX).await;
    let kept = records.get(b"a").await.unwrap().unwrap();
    assert_eq!(kept, Record { value: b"a".to_vec(), until: i64::MAX as u64 }, "alike in every store");
    assert_eq!(records.purge(4_000_000_000, 9).await.unwrap(), 0);
}
