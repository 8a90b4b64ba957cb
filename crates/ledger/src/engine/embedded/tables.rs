//! The tables of a directory: fjall keyspaces, the rows that wait to be put into them, and the log of those.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fjall::{
    Database, Guard, Iter, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch as WriteBatch, PersistMode,
    Readable,
};

use super::packs;
use super::recent::Recent;
use crate::directory;
use crate::engine::storage::{Row, StorageError, Writes};
use crate::rows::Table;

/// Blocks that are kept in memory.
const CACHE_BYTES: u64 = 64 << 20;
/// Writes of one table that are kept in memory until they are sorted into files.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// Threads that sort and merge files; one is enough for what one committer writes.
const WORKERS: usize = 1;
/// Where fjall has its keyspaces, within its directory.
const KEYSPACES: &str = "keyspaces";
/// The log of rows that wait.
const LOG: &str = "recent";
/// Memory that rows which wait may take.
const RECENT_BYTES: usize = 4 << 20;
/// The log may have as many times more bytes: rows that are written again and again wait once.
const LOG_TIMES: usize = 4;
/// Records that the log may have.
const LOG_RECORDS: u64 = 8192;

/// All tables.
pub(super) struct Tables {
    database: Database,
    /// In the order of [`Table::ALL`].
    keyspaces: Vec<Keyspace>,
    log: Keyspace,
    recent: Recent,
    /// Records in the log, numbered from 0, and their bytes.
    records: u64,
    logged: usize,
    /// The record that is being made; its memory is used again, which saves more than it seems.
    record: Vec<u8>,
    /// The key of the last entry.
    last_entry: Vec<u8>,
    /// Tables, in the order of [`Table::ALL`], that have never had a row: many accounts never change their keys.
    empty: [bool; Table::ALL.len()],
    /// Memory that rows which wait may take.
    limit: usize,
    /// A commit failed: what waits may not be what was written.
    failed: bool,
}

impl Tables {
    /// Opens the database in `directory`, making it if it is not there.
    ///
    /// # Errors
    /// [`StorageError`]; so for all.
    pub(super) fn open(directory: &Path) -> Result<Self, StorageError> {
        if !directory.exists() {
            // A database that was made only in part would not open, or mix its tables up: it appears when it is whole.
            let new = directory.with_extension("new");
            if new.exists() {
                fs::remove_dir_all(&new).map_err(|error| unflushed(&new, &error))?;
            }
            drop(open_keyspaces(&new)?);
            let whole = directory::flush(&new).and_then(|()| fs::rename(&new, directory));
            whole.map_err(|error| unflushed(&new, &error))?;
        }
        let (database, keyspaces, log) = open_keyspaces(directory)?;
        // Whoever made it may have been killed before it did this.
        directory::flush(directory::above(directory)).map_err(|error| unflushed(directory, &error))?;
        Ok(Self {
            database,
            keyspaces,
            log,
            recent: Recent::default(),
            records: 0,
            logged: 0,
            record: Vec::new(),
            last_entry: Vec::new(),
            empty: [false; Table::ALL.len()],
            limit: RECENT_BYTES,
            failed: false,
        })
    }

    /// Reads the log back. Only when the directory's format is known may anything but its own row be read.
    pub(super) fn recover(&mut self) -> Result<(), StorageError> {
        for record in self.log.iter() {
            let (number, record) = record.into_inner().map_err(broken)?;
            if *number != self.records.to_be_bytes() {
                return Err(StorageError::failed("the log of recent rows has a gap; restore a backup"));
            }
            self.recent.read(&record)?;
            self.records += 1;
            self.logged += record.len();
        }
        for (empty, keyspace) in self.empty.iter_mut().zip(&self.keyspaces) {
            *empty = keyspace.is_empty().map_err(broken)?;
        }
        if let Some(last) = self.keyspace(Table::Entry)?.last_key_value() {
            let (key, row) = last.into_inner().map_err(broken)?;
            let entries = packs::unpack(&key, &row)?;
            self.last_entry = entries.into_iter().next_back().map(|(key, _)| key).unwrap_or_default();
        }
        Ok(())
    }

    /// All rows as they are now.
    pub(super) fn view(&self) -> Result<View<'_>, StorageError> {
        if self.failed {
            return Err(StorageError::failed("a commit has failed: open the directory again"));
        }
        Ok(self.whole())
    }

    /// All rows as they are now, for later.
    pub(super) fn moment(&self) -> Result<Moment, StorageError> {
        let recent = self.view()?.recent.clone();
        Ok(Moment { at: self.database.snapshot(), keyspaces: self.keyspaces.clone(), recent })
    }

    /// Makes all of `writes` durable, or none. With `settle`, no row waits afterwards.
    pub(super) fn commit(&mut self, writes: &Writes, settle: bool) -> Result<(), StorageError> {
        self.view()?;
        self.failed = true;
        let batch = WriteBatch::with_capacity(self.database.clone(), writes.rows.len());
        let mut batch = batch.durability(Some(PersistMode::SyncData));
        self.record.clear();
        let mut entries = Vec::new();
        for ((table, key), value) in &writes.rows {
            if *table == Table::Entry {
                entries.push((key.as_slice(), value.as_deref()));
            } else {
                self.recent.put(&mut self.record, *table, key, value.as_deref());
            }
        }
        self.put_entries(&mut batch, &entries)?;
        self.logged += self.record.len();
        let is_full = self.recent.bytes() > self.limit
            || self.logged > LOG_TIMES * self.limit
            || self.records >= LOG_RECORDS;
        if settle || is_full {
            self.settle(&mut batch)?;
        } else if !self.record.is_empty() {
            batch.insert(&self.log, self.records.to_be_bytes(), self.record.as_slice());
            self.records += 1;
        }
        batch.commit().map_err(broken)?;
        self.failed = false;
        Ok(())
    }

    /// Puts everything that waits into its table, and empties the log.
    fn settle(&mut self, batch: &mut WriteBatch) -> Result<(), StorageError> {
        for (table, key, value) in self.recent.take() {
            self.empty[table as usize] &= value.is_none();
            let keyspace = self.keyspace(table)?;
            // Most of what is removed never got there, and removing nothing is not free in an LSM tree.
            if value.is_some() || keyspace.contains_key(&key).map_err(broken)? {
                put(batch, keyspace, &key, value.as_deref());
            }
        }
        for number in 0..std::mem::take(&mut self.records) {
            batch.remove(&self.log, number.to_be_bytes());
        }
        self.logged = 0;
        Ok(())
    }

    /// Entries go into their table at once: they are never written again.
    fn put_entries(&mut self, batch: &mut WriteBatch, entries: &[Entry<'_>]) -> Result<(), StorageError> {
        let keyspace = self.keyspace(Table::Entry)?;
        let appended = |(key, _): &&Entry<'_>| *key > self.last_entry.as_slice();
        let new = entries.iter().filter(appended).filter_map(|(key, entry)| Some((*key, (*entry)?)));
        for (key, row) in packs::pack(new) {
            batch.insert(keyspace, key, row);
        }
        // The ledger does not do this: it only appends. Each row is taken apart, the others in it stay.
        let found = self.whole();
        for (key, entry) in entries.iter().filter(|entry| !appended(entry)) {
            let others = found.entries_with(key)?;
            let others = others.iter().filter(|(other, _)| entries.iter().all(|(key, _)| key != other));
            others.for_each(|(other, bytes)| put(batch, keyspace, other, Some(bytes)));
            put(batch, keyspace, key, *entry);
        }
        if let Some((last, _)) = entries.last().filter(appended) {
            self.last_entry = last.to_vec();
        }
        Ok(())
    }

    fn whole(&self) -> View<'_> {
        View { at: None, keyspaces: &self.keyspaces, recent: &self.recent, empty: self.empty }
    }

    fn keyspace(&self, table: Table) -> Result<&Keyspace, StorageError> {
        find(&self.keyspaces, table)
    }
}

/// An entry that is written, or removed.
type Entry<'a> = (&'a [u8], Option<&'a [u8]>);

/// All rows at one moment.
pub(super) struct View<'a> {
    /// `None` for now.
    at: Option<&'a fjall::Snapshot>,
    keyspaces: &'a [Keyspace],
    recent: &'a Recent,
    empty: [bool; Table::ALL.len()],
}

impl View<'_> {
    /// One row.
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        if table == Table::Entry {
            let entry = self.entries_with(key)?.into_iter().find(|(other, _)| other == key);
            return Ok(entry.map(|(_, bytes)| bytes));
        }
        match self.recent.get(table, key) {
            Some(waiting) => Ok(waiting.clone()),
            None if self.empty[table as usize] => Ok(None),
            None => {
                let keyspace = find(self.keyspaces, table)?;
                let row = match self.at {
                    Some(at) => at.get(keyspace, key),
                    None => keyspace.get(key),
                };
                Ok(row.map_err(broken)?.map(|value| value.to_vec()))
            }
        }
    }

    /// Up to `limit` rows in the order of their keys, from `from` up to and without `to`.
    pub(super) fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StorageError> {
        if to.is_some_and(|to| from >= to) {
            return Ok(Vec::new());
        }
        if table == Table::Entry {
            return self.scan_entries(from, to, limit);
        }
        let mut stored = self.range(table, from, to)?.map(row).peekable();
        let mut waiting = self.recent.range(table, from, to).into_iter().peekable();
        let mut rows = Vec::new();
        while rows.len() < limit {
            let is_waiting = match (stored.peek(), waiting.peek()) {
                (Some(Ok((stored, _))), Some((key, _))) => *key <= stored,
                (_, waiting) => waiting.is_some(),
            };
            if is_waiting {
                let Some((key, value)) = waiting.next() else { break };
                stored.next_if(|row| row.as_ref().is_ok_and(|(stored, _)| stored == key));
                rows.extend(value.clone().map(|value| (key.clone(), value)));
            } else {
                let Some(row) = stored.next() else { break };
                rows.push(row?);
            }
        }
        Ok(rows)
    }

    fn scan_entries(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StorageError> {
        let mut rows = self.entries_with(from)?;
        rows.retain(|(key, _)| key.as_slice() >= from);
        let mut stored = self.range(Table::Entry, from, to)?;
        while rows.len() < limit {
            let Some(next) = stored.next() else { break };
            let (first, bytes) = row(next)?;
            // The row that begins with `from` was the first.
            if first != from {
                rows.extend(packs::unpack(&first, &bytes)?);
            }
        }
        rows.retain(|(key, _)| to.is_none_or(|to| key.as_slice() < to));
        rows.truncate(limit);
        Ok(rows)
    }

    /// The entries of the row in which the entry with this key is, if it is anywhere.
    fn entries_with(&self, key: &[u8]) -> Result<Vec<Row>, StorageError> {
        let keyspace = find(self.keyspaces, Table::Entry)?;
        let mut before = match self.at {
            Some(at) => at.range(keyspace, ..=key),
            None => keyspace.range(..=key),
        };
        let Some(last) = before.next_back() else { return Ok(Vec::new()) };
        let (first, bytes) = row(last)?;
        Ok(packs::unpack(&first, &bytes)?)
    }

    fn range(&self, table: Table, from: &[u8], to: Option<&[u8]>) -> Result<Iter, StorageError> {
        let keyspace = find(self.keyspaces, table)?;
        Ok(match (self.at, to) {
            (None, None) => keyspace.range(from..),
            (None, Some(to)) => keyspace.range(from..to),
            (Some(at), None) => at.range(keyspace, from..),
            (Some(at), Some(to)) => at.range(keyspace, from..to),
        })
    }
}

/// All rows at a moment that has passed.
pub(super) struct Moment {
    at: fjall::Snapshot,
    keyspaces: Vec<Keyspace>,
    recent: Recent,
}

impl Moment {
    pub(super) fn view(&self) -> View<'_> {
        let empty = [false; Table::ALL.len()];
        View { at: Some(&self.at), keyspaces: &self.keyspaces, recent: &self.recent, empty }
    }
}

fn find(keyspaces: &[Keyspace], table: Table) -> Result<&Keyspace, StorageError> {
    keyspaces.get(table as usize).ok_or_else(|| StorageError::failed("a table is missing"))
}

fn put(batch: &mut WriteBatch, keyspace: &Keyspace, key: &[u8], value: Option<&[u8]>) {
    match value {
        Some(value) => batch.insert(keyspace, key, value),
        None => batch.remove(keyspace, key),
    }
}

fn row(guard: Guard) -> Result<Row, StorageError> {
    let (key, value) = guard.into_inner().map_err(broken)?;
    Ok((key.to_vec(), value.to_vec()))
}

/// Opens a database, and its tables in the order of [`Table::ALL`] and the log; those that are not there are made.
fn open_keyspaces(path: &Path) -> Result<(Database, Vec<Keyspace>, Keyspace), StorageError> {
    let builder = Database::builder(path).cache_size(CACHE_BYTES).worker_threads(WORKERS);
    // fjall 3.1 asserts where a damaged journal has lengths that do not fit: that is a refusal, too.
    let opened = catch_unwind(AssertUnwindSafe(|| builder.open()));
    let database = opened.map_err(|_| damaged("a length does not fit"))?.map_err(broken)?;
    let open = |name: &str| {
        let new = !database.keyspace_exists(name);
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let keyspace = database.keyspace(name, options).map_err(broken)?;
        if new {
            // fjall flushes what it writes, but not the names of the directories that it makes.
            directory::flush(&path.join(KEYSPACES)).map_err(|error| unflushed(path, &error))?;
        }
        Ok(keyspace)
    };
    let keyspaces =
        Table::ALL.into_iter().map(|table| open(table.name())).collect::<Result<_, StorageError>>()?;
    let log = open(LOG)?;
    Ok((database, keyspaces, log))
}

fn broken(error: fjall::Error) -> StorageError {
    match error {
        fjall::Error::JournalRecovery(error) => damaged(&error.to_string()),
        error => StorageError::failed(error.to_string()),
    }
}

fn damaged(what: &str) -> StorageError {
    StorageError::failed(format!("the journal is damaged ({what}); restore a backup"))
}

fn unflushed(path: &Path, error: &std::io::Error) -> StorageError {
    StorageError::failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::rows::key;

    type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

    /// What happens to a directory.
    #[derive(Clone, Debug)]
    enum Step {
        Commit(Vec<(Table, u8, Option<Vec<u8>>)>, usize),
        Open,
    }

    fn step() -> impl Strategy<Value = Step> {
        let table = prop_oneof![Just(Table::Balance), Just(Table::Payment), Just(Table::Due)];
        let value = prop_oneof![
            vec(any::<u8>(), 0..4),
            any::<u8>().prop_map(|head| [vec![head], vec![7; 90]].concat())
        ];
        let rows = vec((table, 0..12_u8, proptest::option::of(value)), 0..6);
        prop_oneof![4 => (rows, 0..4_usize).prop_map(|(rows, entries)| Step::Commit(rows, entries)), 1 => Just(Step::Open)]
    }

    fn open(directory: &Path) -> Tables {
        let mut tables = Tables::open(directory).unwrap();
        tables.recover().unwrap();
        tables.limit = 700;
        tables
    }

    fn commit(tables: &mut Tables, model: &mut Rows, writes: &Writes) {
        tables.commit(writes, false).unwrap();
        for (row, value) in &writes.rows {
            match value {
                Some(value) => drop(model.insert(row.clone(), value.clone())),
                None => drop(model.remove(row)),
            }
        }
    }

    fn compare(view: &View<'_>, model: &Rows) {
        for table in Table::ALL {
            let of = |from: &[u8], to: Option<&[u8]>, limit: usize| -> Vec<Row> {
                let rows = model.iter().filter(|((t, key), _)| {
                    *t == table && key.as_slice() >= from && to.is_none_or(|to| key.as_slice() < to)
                });
                rows.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect()
            };
            let keys = [vec![], vec![3], key::entry(0, 4), key::entry(0, 9)];
            for from in &keys {
                for to in [None, Some(&[8][..]), Some(&key::entry(0, 6)), Some(&key::entries_end(0))] {
                    for limit in [1, 3, usize::MAX] {
                        assert_eq!(view.scan(table, from, to, limit).unwrap(), of(from, to, limit));
                    }
                }
            }
            for number in 0..12 {
                for key in [vec![number], key::entry(0, number.into())] {
                    let expected = model.get(&(table, key.clone())).cloned();
                    assert_eq!(view.get(table, &key).unwrap(), expected);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn rows_read_as_written_whether_they_wait_or_not_and_when_opened_again(steps in vec(step(), 1..16)) {
            let directory = tempfile::tempdir().unwrap();
            let mut tables = open(directory.path());
            let (mut model, mut sequence) = (Rows::new(), 0);
            for step in steps {
                match step {
                    Step::Open => {
                        drop(tables);
                        tables = open(directory.path());
                    }
                    Step::Commit(rows, entries) => {
                        let mut writes = Writes::default();
                        for (table, key, value) in rows {
                            writes.rows.insert((table, vec![key]), value);
                        }
                        for _ in 0..entries {
                            sequence += 1;
                            let entry = [&[14, sequence as u8][..], &[1; 90]].concat();
                            writes.rows.insert((Table::Entry, key::entry(0, sequence)), Some(entry));
                        }
                        commit(&mut tables, &mut model, &writes);
                    }
                }
                compare(&tables.view().unwrap(), &model);
            }
            compare(&tables.moment().unwrap().view(), &model);
        }
    }

    #[test]
    fn a_moment_stays_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let mut tables = open(directory.path());
        let mut model = Rows::new();
        let row = |value: u8| [((Table::Payment, vec![1]), Some(vec![value; 400]))].into();
        commit(&mut tables, &mut model, &row(1));
        let (moment, then) = (tables.moment().unwrap(), model.clone());
        for value in 2..9 {
            commit(&mut tables, &mut model, &row(value));
        }
        compare(&moment.view(), &then);
        compare(&tables.view().unwrap(), &model);
    }

    #[test]
    fn entries_of_one_row_can_be_replaced_and_removed_one_by_one() {
        let directory = tempfile::tempdir().unwrap();
        let mut tables = open(directory.path());
        let mut model = Rows::new();
        let entry = |n: u64, byte: u8| ((Table::Entry, key::entry(0, n)), Some(vec![14, byte]));
        let mut writes = Writes::default();
        writes.rows.extend((1..8).map(|n| entry(n, 1)));
        commit(&mut tables, &mut model, &writes);
        commit(&mut tables, &mut model, &[entry(1, 2), entry(4, 2)].into());
        compare(&tables.view().unwrap(), &model);
        commit(&mut tables, &mut model, &[((Table::Entry, key::entry(0, 7)), None), entry(9, 3)].into());
        compare(&tables.view().unwrap(), &model);
        drop(tables);
        compare(&open(directory.path()).view().unwrap(), &model);
    }

    #[test]
    fn a_hot_row_cannot_make_the_log_grow_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let mut tables = open(directory.path());
        let mut model = Rows::new();
        for value in 0..100 {
            commit(&mut tables, &mut model, &[((Table::Balance, vec![1]), Some(vec![value; 90]))].into());
            assert!(tables.logged <= LOG_TIMES * tables.limit && tables.records < 40, "{}", tables.records);
        }
        compare(&tables.view().unwrap(), &model);
    }
}
