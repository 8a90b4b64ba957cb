use super::*;

fn set_format(directory: &Path, format: u64) {
    let database = open_database(&directory.join(DATABASE)).unwrap();
    keyspace(&database, "meta").unwrap().insert(FORMAT_ROW, format.to_be_bytes()).unwrap();
}

#[test]
fn a_directory_of_a_newer_format_is_refused_and_one_of_this_format_opens() {
    let directory = tempfile::tempdir().unwrap();
    let open = || EmbeddedRecords::open(directory.path()).map(drop);
    open().unwrap();
    set_format(directory.path(), FORMAT + 1);
    let refused = open();
    assert!(matches!(refused, Err(RecordsOpenError::Format { found: 2, .. })), "{refused:?}");
    set_format(directory.path(), FORMAT);
    open().unwrap();
}

#[test]
fn one_handle_has_a_directory_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = EmbeddedRecords::open(directory.path()).unwrap();
    let second = EmbeddedRecords::open(directory.path());
    assert!(matches!(second, Err(RecordsOpenError::InUse(_))), "{second:?}");
    drop(first);
    EmbeddedRecords::open(directory.path()).unwrap();
}

#[test]
fn a_database_that_was_made_in_part_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let part = directory.path().join("records.new");
    fs::create_dir(&part).unwrap();
    fs::write(part.join("journal"), "half").unwrap();
    EmbeddedRecords::open(directory.path()).unwrap();
    assert!(!part.exists());
}

#[tokio::test]
async fn changes_that_wait_are_flushed_together() {
    let directory = tempfile::tempdir().unwrap();
    let rows = Rows::open(directory.path()).unwrap();
    let mut writer = Writer { rows: rows.clone(), purged: 0 };
    let (mut jobs, mut answers) = (vec![], vec![]);
    for number in 0..10_u8 {
        let (reply, answer) = oneshot::channel();
        let new = Some(Record { value: vec![number], until: 5 });
        jobs.push(Job::Replace { key: vec![1, number / 2], expected: None, new, reply });
        answers.push(answer);
    }
    let before = rows.database.seqno();
    writer.batch(jobs);
    assert_eq!(rows.database.seqno(), before + 1, "one write of all");
    for (answer, number) in answers.into_iter().zip(0..10_u8) {
        let first = Some(Record { value: vec![number - number % 2], until: 5 });
        let expected = if number % 2 == 0 { Replaced::Done } else { Replaced::Found(first) };
        assert_eq!(answer.await.unwrap().unwrap(), expected);
    }
}
