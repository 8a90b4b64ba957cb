//! Records in memory that outlive a facilitator, as a store on disk does.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Mutex;

use farthing_protocol::rail::BoxFuture;
use farthing_protocol::records::{Record, Records, RecordsError, Replaced};

#[derive(Debug, Default)]
pub struct TestRecords(Mutex<BTreeMap<Vec<u8>, Record>>);

impl Records for TestRecords {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Record>, RecordsError>> {
        Box::pin(ready(Ok(self.0.lock().unwrap().get(key).cloned())))
    }

    fn replace<'a>(
        &'a self,
        key: &'a [u8],
        expected: Option<&'a [u8]>,
        new: Option<Record>,
    ) -> BoxFuture<'a, Result<Replaced, RecordsError>> {
        let mut records = self.0.lock().unwrap();
        let there = records.get(key);
        if there.map(|record| record.value.as_slice()) != expected {
            return Box::pin(ready(Ok(Replaced::Found(there.cloned()))));
        }
        match new {
            Some(record) => records.insert(key.to_vec(), record),
            None => records.remove(key),
        };
        Box::pin(ready(Ok(Replaced::Done)))
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(Vec<u8>, Record)>, RecordsError>> {
        let records = self.0.lock().unwrap();
        let page = records.iter().filter(|(key, _)| key.starts_with(prefix));
        let page = page.filter(|(key, _)| after.is_none_or(|after| key.as_slice() > after));
        Box::pin(ready(Ok(page.take(limit).map(|(key, record)| (key.clone(), record.clone())).collect())))
    }

    fn purge(&self, now: u64, _limit: usize) -> BoxFuture<'_, Result<usize, RecordsError>> {
        let mut records = self.0.lock().unwrap();
        let before = records.len();
        records.retain(|_, record| record.until >= now);
        Box::pin(ready(Ok(before - records.len())))
    }
}
