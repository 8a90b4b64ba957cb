//! Backups: taken while payments run, restored and checked, and never believed when a byte is wrong.
#![cfg(feature = "embedded")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod world;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use farthing_ledger::backup::{self, BackupError, RestoreError, Restored, Seed};
use farthing_ledger::command::{Refusal, Standing};
use farthing_ledger::engine::{EmbeddedStorage, OpenError, Snapshot, Storage};
use farthing_ledger::rows::Table;
use farthing_ledger::{Ledger, Options, keyfile};

use world::*;

fn key(directory: &Path) -> Seed {
    keyfile::seed(directory.join("ledger.key")).unwrap()
}

async fn taken(ledger: &Ledger, seed: Option<&Seed>) -> Vec<u8> {
    let (mut rows, mut bytes) = (ledger.snapshot().await.unwrap(), Vec::new());
    backup::write(rows.as_mut(), seed, &mut bytes).unwrap();
    bytes
}

/// Restores bytes into a new directory below `home`.
fn restore(home: &Path, bytes: &[u8], key: Option<Seed>) -> (PathBuf, Result<Restored, RestoreError>) {
    let (file, directory) = (home.join("file"), home.join("restored"));
    let _ = fs::remove_dir_all(&directory);
    fs::write(&file, bytes).unwrap();
    let restored = backup::restore(&file, &directory, key);
    (directory, restored)
}

/// All rows but the one that belongs to the directory.
fn rows(mut snapshot: Box<dyn Snapshot>) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    for table in Table::ALL {
        for (key, value) in snapshot.scan(table, &[], usize::MAX).unwrap() {
            all.push((table, key, value));
        }
    }
    all
}

#[tokio::test]
async fn a_restored_ledger_is_the_same_and_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let first = world(&home.path().join("first")).await;
    let spent = first.terms(1_000);
    first.held(&spent).await;
    first.capture_with(spent.id(), 600, b"the answer").await.unwrap();
    let open = first.terms(2_000);
    first.held(&open).await;
    let bytes = taken(first.ledger(), Some(&key(&home.path().join("first")))).await;
    let before = rows(first.ledger().snapshot().await.unwrap());
    let (id, now, report) = (first.id(), first.clock.now(), first.report().await);
    drop(first);

    let (directory, restored) = restore(home.path(), &bytes, None);
    let restored = restored.unwrap();
    assert_eq!(restored.report, report);
    assert_eq!((restored.summary.ledger, restored.summary.entries), (id, report.entries));
    assert!(restored.summary.has_key && restored.summary.clock == now);
    for (name, mode) in [("", 0o700), ("ledger.key", 0o600)] {
        let metadata = fs::metadata(directory.join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{name}");
    }
    let second = World::again(Directory(directory), Options::open_to_all(), 1_000);
    assert_eq!(rows(second.ledger().snapshot().await.unwrap()), before);
    assert_eq!(second.id(), id);
    // What was paid stays paid: the stored answer, and nothing is taken.
    let again = second.authorize(&spent).await.unwrap();
    assert_eq!(again.standing, Standing::Ended(Some(b"the answer".to_vec())));
    let same_nonce = farthing_ledger::terms::Terms { max_amount: farthing_protocol::Amount(7), ..spent };
    assert_eq!(refusal(second.authorize(&same_nonce).await), Refusal::NonceConflict);
    // And it takes payments, old ones and new ones.
    second.capture(open.id(), 2_000).await.unwrap();
    second.capture(second.held(&second.terms(50)).await, 50).await.unwrap();
    assert_eq!(second.money().await, (FUNDS - 2_650, 2_650, 0));
}

#[tokio::test]
async fn without_its_key_a_backup_needs_the_ledgers_own() {
    let home = tempfile::tempdir().unwrap();
    let first = world(&home.path().join("first")).await;
    let seed = key(&home.path().join("first"));
    let bytes = taken(first.ledger(), None).await;
    assert!(!contains(&bytes, &seed.0), "the key is in a backup that leaves it out");
    assert!(contains(&taken(first.ledger(), Some(&seed)).await, &seed.0));
    let (directory, none) = restore(home.path(), &bytes, None);
    assert!(matches!(none, Err(RestoreError::NoKey)) && !directory.exists());
    let (directory, other) = restore(home.path(), &bytes, Some(Seed([9; 32])));
    assert!(matches!(other, Err(RestoreError::OtherKey(_))) && !directory.exists());
    let (directory, restored) = restore(home.path(), &bytes, Some(seed.clone()));
    assert!(!restored.unwrap().summary.has_key);
    assert_eq!(key(&directory).0, seed.0);
    // Also a wrong key that is in the file itself.
    let (_, wrong) = restore(home.path(), &taken(first.ledger(), Some(&Seed([9; 32]))).await, None);
    assert!(matches!(wrong, Err(RestoreError::OtherKey(_))));
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn a_backup_with_any_byte_changed_or_missing_is_refused_before_anything_is_made() {
    let home = tempfile::tempdir().unwrap();
    let first = world(&home.path().join("first")).await;
    for _ in 0..3 {
        first.capture(first.held(&first.terms(100)).await, 60).await.unwrap();
    }
    let bytes = taken(first.ledger(), Some(&key(&home.path().join("first")))).await;
    let verify = |bytes: &[u8]| backup::verify(&mut &bytes[..]);
    verify(&bytes).unwrap();
    for at in 0..bytes.len() {
        for flip in [1, 0x80] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            let error = verify(&damaged).expect_err(&format!("byte {at} of {}", bytes.len()));
            assert!(!matches!(error, BackupError::Io(_) | BackupError::Storage(_)), "{at}: {error}");
        }
    }
    for length in 0..bytes.len() {
        let error = verify(&bytes[..length]).expect_err("a part");
        assert!(matches!(error, BackupError::Short | BackupError::Foreign), "{length}: {error}");
    }
    let mut more = bytes.clone();
    more.push(0);
    assert!(matches!(verify(&more), Err(BackupError::Damaged(_))));
    let mut newer = bytes.clone();
    newer["\u{f}farthing/backup".len()] = 2;
    let error = verify(&newer).unwrap_err();
    assert!(matches!(error, BackupError::Newer { found: 2 }), "{error}");
    assert!(error.to_string().contains("a newer farthing"), "{error}");

    for damaged in [&bytes[..bytes.len() / 2], b"", b"not a backup at all, but something else", &more] {
        let (directory, refused) = restore(home.path(), damaged, None);
        assert!(matches!(refused, Err(RestoreError::Backup(..))) && !directory.exists());
    }
    let (_, whole) = restore(home.path(), &bytes, None);
    whole.unwrap();
}

#[tokio::test]
async fn a_whole_backup_of_a_ledger_that_cannot_be_believed_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let first = home.path().join("first");
    let before = world(&first).await;
    before.capture(before.held(&before.terms(100)).await, 60).await.unwrap();
    drop(before);
    let (mut storage, _) = EmbeddedStorage::open(&first).unwrap();
    let (balance, value) = storage.scan(Table::Balance, &[], 10).unwrap().swap_remove(0);
    let more = (i128::from_be_bytes(value.try_into().unwrap()) + 1).to_be_bytes().to_vec();
    storage.commit(&[((Table::Balance, balance), Some(more))].into()).unwrap();
    let mut bytes = Vec::new();
    backup::write(storage.snapshot().unwrap().as_mut(), Some(&key(&first)), &mut bytes).unwrap();
    backup::verify(&mut &bytes[..]).unwrap();

    let (directory, refused) = restore(home.path(), &bytes, None);
    match refused {
        Err(RestoreError::Unsound(why)) => assert!(why.contains("history says"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(!directory.exists());
    // A directory that was there and empty stays, and stays empty.
    fs::create_dir(&directory).unwrap();
    assert!(backup::restore(&home.path().join("file"), &directory, None).is_err());
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

#[tokio::test]
async fn only_an_empty_directory_is_restored_into() {
    let home = tempfile::tempdir().unwrap();
    let first = world(&home.path().join("first")).await;
    let bytes = taken(first.ledger(), Some(&key(&home.path().join("first")))).await;
    let file = home.path().join("file");
    fs::write(&file, &bytes).unwrap();
    let full = home.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("letter"), "important").unwrap();
    let refused = backup::restore(&file, &full, None);
    assert!(matches!(refused, Err(RestoreError::NotEmpty(_))));
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1, "nothing was made, nothing removed");
    // Neither over a ledger, running or not.
    let running = backup::restore(&file, &home.path().join("first"), None);
    assert!(matches!(running, Err(RestoreError::NotEmpty(_))));
    drop(first);
    assert!(backup::restore(&file, &home.path().join("first"), None).is_err());
    assert!(EmbeddedStorage::read(&home.path().join("first")).unwrap().check().unwrap().balanced());
    fs::remove_file(full.join("letter")).unwrap();
    backup::restore(&file, &full, None).unwrap();
    assert!(EmbeddedStorage::read(&full).unwrap().check().unwrap().balanced());
}

#[tokio::test]
async fn a_restore_that_did_not_end_is_never_opened_as_a_ledger() {
    let home = tempfile::tempdir().unwrap();
    let first = home.path().join("first");
    drop(world(&first).await);
    // What a restore leaves that is killed in the middle: rows, and the mark that it did not end.
    let (mut storage, _) = EmbeddedStorage::open(&first).unwrap();
    storage.commit(&[((Table::Meta, b"unfinished".to_vec()), Some(Vec::new()))].into()).unwrap();
    drop(storage);
    for opened in [EmbeddedStorage::read(&first).map(drop), EmbeddedStorage::open(&first).map(drop)] {
        assert!(matches!(opened, Err(OpenError::Unfinished(_))), "{opened:?}");
    }
}

#[tokio::test]
async fn an_older_directory_is_brought_up_to_date() {
    let home = tempfile::tempdir().unwrap();
    drop(world(home.path()).await);
    let format = |storage: &mut EmbeddedStorage| {
        u64::from_be_bytes(storage.get(Table::Meta, b"format").unwrap().unwrap().try_into().unwrap())
    };
    let (mut storage, _) = EmbeddedStorage::open(home.path()).unwrap();
    let now = format(&mut storage);
    let older = Some(1_u64.to_be_bytes().to_vec());
    storage.commit(&[((Table::Meta, b"format".to_vec()), older)].into()).unwrap();
    drop(storage);
    let (mut storage, _) = EmbeddedStorage::open(home.path()).unwrap();
    assert_eq!(format(&mut storage), now);
    assert!(storage.check().unwrap().balanced());
}

#[tokio::test]
async fn a_newer_directory_is_refused_and_says_that_a_newer_program_made_it() {
    let home = tempfile::tempdir().unwrap();
    drop(world(home.path()).await);
    let (mut storage, _) = EmbeddedStorage::open(home.path()).unwrap();
    let now = storage.get(Table::Meta, b"format").unwrap().unwrap();
    let now = u64::from_be_bytes(now.try_into().unwrap());
    let row = Some((now + 1).to_be_bytes().to_vec());
    storage.commit(&[((Table::Meta, b"format".to_vec()), row)].into()).unwrap();
    drop(storage);
    let newer = EmbeddedStorage::open(home.path()).map(drop).unwrap_err();
    assert!(matches!(newer, OpenError::Format { found, .. } if found == now + 1), "{newer}");
    assert!(newer.to_string().contains("a newer farthing made it"), "{newer}");
    let refused = Ledger::open(home.path(), Options::open_to_all()).unwrap_err();
    assert_eq!(refused.to_string(), newer.to_string());
}

#[tokio::test]
async fn a_directory_without_a_format_is_refused_too() {
    let home = tempfile::tempdir().unwrap();
    drop(world(home.path()).await);
    let (mut storage, _) = EmbeddedStorage::open(home.path()).unwrap();
    storage.commit(&[((Table::Meta, b"format".to_vec()), None)].into()).unwrap();
    drop(storage);
    let refused = EmbeddedStorage::open(home.path()).map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::Format { found: 0, .. }), "{refused}");
    assert!(refused.to_string().contains("damaged"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_that_are_taken_under_load_all_restore_and_balance() {
    let home = tempfile::tempdir().unwrap();
    let world = world(&home.path().join("first")).await;
    let seed = key(&home.path().join("first"));
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let terms: Vec<_> = (0..2_000).map(|_| world.terms(10)).collect();
        let (ledger, stop) = (world.ledger().clone(), stop.clone());
        load.spawn(async move {
            for terms in terms {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                ledger.authorize(authorize(&terms, PAYER, owner(1), "local")).await.unwrap();
                let capture = vec![(capture(terms.id(), 7, true), None)];
                let capture =
                    farthing_ledger::command::Operate::sign(&ledger.id(), &secret(AUTHORIZER), capture);
                ledger.operate(capture).await.unwrap();
            }
        });
    }
    let mut last = 0;
    for _ in 0..4 {
        let bytes = taken(world.ledger(), Some(&seed)).await;
        let (_, restored) = restore(home.path(), &bytes, None);
        let restored = restored.unwrap();
        assert!(restored.report.balanced() && restored.report.entries > last, "{:?}", restored.report);
        last = restored.report.entries;
    }
    stop.store(true, Ordering::SeqCst);
    while let Some(task) = load.join_next().await {
        task.unwrap();
    }
    world.report().await;
}
