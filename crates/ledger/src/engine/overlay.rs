//! Storage with one batch's writes laid over it: the [`Rows`] that the core sees.

use std::collections::HashMap;

use farthing_protocol::PublicKey;
use farthing_protocol::layout::{Reader, Writer};
use farthing_protocol::rail::PaymentId;

use super::storage::{Row, Storage, StorageError, Writes};
use crate::admin::NewAsset;
use crate::core::Rows;
use crate::identity::{AssetCode, Book};
use crate::rows::{AccountKeys, Payment, Table, decode_asset, encode_asset, key};
use crate::statement::PaymentState;

/// One batch over storage.
pub(super) struct Overlay<'a, S> {
    storage: &'a mut S,
    /// Rows that were written, by table; `None` for those that were removed.
    rows: [HashMap<Vec<u8>, Option<Vec<u8>>>; Table::ALL.len()],
    /// Changes of balances.
    changes: HashMap<Vec<u8>, i128>,
    /// Balances that were read, as storage has them.
    balances: HashMap<Vec<u8>, i128>,
    /// Assets that were read or written.
    assets: HashMap<AssetCode, Option<NewAsset>>,
}

impl<'a, S: Storage> Overlay<'a, S> {
    pub(super) fn new(storage: &'a mut S) -> Self {
        Self {
            storage,
            rows: Default::default(),
            changes: HashMap::new(),
            balances: HashMap::new(),
            assets: HashMap::new(),
        }
    }

    pub(super) fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        match self.rows[table as usize].get(key) {
            Some(value) => Ok(value.clone()),
            None => self.storage.get(table, key),
        }
    }

    pub(super) fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.rows[table as usize].insert(key, Some(value));
    }

    pub(super) fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.rows[table as usize].insert(key, None);
    }

    /// Whether anything was written.
    pub(super) fn changed(&self) -> bool {
        !self.changes.is_empty() || self.rows.iter().any(|rows| !rows.is_empty())
    }

    /// Rows of storage alone, without this batch's writes.
    pub(super) fn scan_storage(
        &mut self,
        table: Table,
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<Row>, StorageError> {
        self.storage.scan(table, from, limit)
    }

    /// As [`scan_storage`](Self::scan_storage), up to and without `to`.
    pub(super) fn scan_between(
        &mut self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Row>, StorageError> {
        self.storage.between(table, from, to, limit)
    }

    /// Makes the batch durable.
    pub(super) fn commit(mut self) -> Result<(), StorageError> {
        let mut writes = Writes::default();
        let changes = std::mem::take(&mut self.changes);
        if self.storage.shared() {
            writes.balances = changes.into_iter().collect();
        } else {
            for (row, change) in changes {
                let balance = self.stored_balance(&row)?.saturating_add(change);
                self.put(Table::Balance, row, Writer::bare().i128(balance).finish());
            }
        }
        let tables = Table::ALL.into_iter().zip(self.rows);
        let rows = |(table, rows): (Table, HashMap<_, _>)| {
            rows.into_iter().map(move |(key, value)| ((table, key), value))
        };
        writes.rows = tables.flat_map(rows).collect();
        self.storage.commit(&writes)
    }

    fn stored_balance(&mut self, row: &[u8]) -> Result<i128, StorageError> {
        if let Some(balance) = self.balances.get(row) {
            return Ok(*balance);
        }
        let stored = self.storage.get(Table::Balance, row)?;
        let balance = stored.map(|bytes| Reader::bare(&bytes).i128()).transpose()?.unwrap_or(0);
        self.balances.insert(row.to_vec(), balance);
        Ok(balance)
    }
}

impl<S: Storage> Rows for Overlay<'_, S> {
    type Error = StorageError;

    fn asset(&mut self, code: &AssetCode) -> Result<Option<NewAsset>, StorageError> {
        if let Some(asset) = self.assets.get(code) {
            return Ok(*asset);
        }
        let row = self.get(Table::Asset, code.as_str().as_bytes())?;
        let asset = row.map(|bytes| decode_asset(code, &bytes)).transpose()?;
        self.assets.insert(*code, asset);
        Ok(asset)
    }

    fn put_asset(&mut self, asset: &NewAsset) {
        self.assets.insert(asset.code, Some(*asset));
        self.put(Table::Asset, asset.code.as_str().as_bytes().to_vec(), encode_asset(asset));
    }

    fn keys(&mut self, account: &PublicKey) -> Result<Option<AccountKeys>, StorageError> {
        Ok(self.get(Table::Keys, &account.0)?.map(|bytes| AccountKeys::decode(&bytes)).transpose()?)
    }

    fn put_keys(&mut self, account: &PublicKey, keys: &AccountKeys) {
        self.put(Table::Keys, account.0.to_vec(), keys.encode());
    }

    fn balance(&mut self, book: &Book, asset: &AssetCode) -> Result<i128, StorageError> {
        let row = key::balance(book, asset);
        let change = self.changes.get(&row).copied().unwrap_or(0);
        Ok(self.stored_balance(&row)?.saturating_add(change))
    }

    fn add_balance(&mut self, book: &Book, asset: &AssetCode, change: i128) {
        let sum = self.changes.entry(key::balance(book, asset)).or_default();
        *sum = sum.saturating_add(change);
    }

    fn payment(&mut self, id: &PaymentId) -> Result<Option<Payment>, StorageError> {
        Ok(self.get(Table::Payment, &id.0)?.map(|bytes| Payment::decode(&bytes)).transpose()?)
    }

    fn put_payment(&mut self, id: &PaymentId, payment: &Payment) {
        let due = key::due(payment.terms.capture_deadline, id);
        if payment.state == PaymentState::Held {
            self.put(Table::Due, due, Vec::new());
        } else {
            self.remove(Table::Due, due);
        }
        self.put(Table::Payment, id.0.to_vec(), payment.encode());
    }

    fn replay(&mut self, payer: &PublicKey, nonce: &[u8; 32]) -> Result<Option<PaymentId>, StorageError> {
        let row = self.get(Table::Replay, &key::replay(payer, nonce))?;
        Ok(row.map(|bytes| Reader::bare(&bytes).fixed().map(PaymentId)).transpose()?)
    }

    fn put_replay(&mut self, payer: &PublicKey, nonce: &[u8; 32], id: &PaymentId) {
        self.put(Table::Replay, key::replay(payer, nonce), id.0.to_vec());
    }

    fn answer(&mut self, id: &PaymentId) -> Result<Option<Vec<u8>>, StorageError> {
        self.get(Table::Answer, &id.0)
    }

    fn put_answer(&mut self, id: &PaymentId, answer: &[u8]) {
        self.put(Table::Answer, id.0.to_vec(), answer.to_vec());
    }

    fn deposit(&mut self, reference: &[u8; 32]) -> Result<Option<Vec<u8>>, StorageError> {
        self.get(Table::Deposit, reference)
    }

    fn put_deposit(&mut self, reference: &[u8; 32], signed: &[u8]) {
        self.put(Table::Deposit, reference.to_vec(), signed.to_vec());
    }
}
