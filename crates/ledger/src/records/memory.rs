//! Records in memory: for tests and the simulator, and gone with their process.

use std::collections::BTreeMap;
use std::fmt;
use std::future::ready;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use farthing_protocol::rail::BoxFuture;
use farthing_protocol::records::{Page, Record, Records, RecordsError, Replaced};

use super::{check_change, check_key, is_expected, page};

/// Records that end with their process.
#[derive(Default)]
pub struct MemoryRecords(Mutex<BTreeMap<Vec<u8>, Record>>);

impl fmt::Debug for MemoryRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRecords").finish_non_exhaustive()
    }
}

impl MemoryRecords {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Record>> {
        // Nothing panics while they are half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<Record>,
    ) -> Result<Replaced, RecordsError> {
        let new = check_change(key, new)?;
        let mut records = self.records();
        let there = records.get(key);
        if !is_expected(there, expected) {
            return Ok(Replaced::Found(there.cloned()));
        }
        match new {
            Some(record) => records.insert(key.to_vec(), record),
            None => records.remove(key),
        };
        Ok(Replaced::Done)
    }
}

impl Records for MemoryRecords {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Record>, RecordsError>> {
        Box::pin(ready(check_key(key).map(|()| self.records().get(key).cloned())))
    }

    fn replace<'a>(
        &'a self,
        key: &'a [u8],
        expected: Option<&'a [u8]>,
        new: Option<Record>,
    ) -> BoxFuture<'a, Result<Replaced, RecordsError>> {
        Box::pin(async move { self.change(key, expected, new) })
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, RecordsError>> {
        let Some((from, to)) = page(prefix, after) else { return Box::pin(ready(Ok(Vec::new()))) };
        let records = self.records();
        let found = records.range((Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded)));
        let found = found.take(limit).map(|(key, record)| (key.clone(), record.clone())).collect();
        Box::pin(ready(Ok(found)))
    }

    fn purge(&self, now: u64, limit: usize) -> BoxFuture<'_, Result<usize, RecordsError>> {
        let mut records = self.records();
        let over = records.iter().filter(|(_, record)| record.until < now);
        let over: Vec<_> = over.map(|(key, _)| key.clone()).take(limit).collect();
        for key in &over {
            records.remove(key);
        }
        Box::pin(ready(Ok(over.len())))
    }
}
