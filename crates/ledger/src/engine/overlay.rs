//! Storage with one batch's writes laid over it: the [`Rows`] that the core sees.

use std::collections::BTreeMap;

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
    writes: Writes,
    /// Balances that were read, as storage has them.
    balances: BTreeMap<Vec<u8>, i128>,
}

impl<'a, S: Storage> Overlay<'a, S> {
    pub(super) fn new(storage: &'a mut S) -> Self {
        Self { storage, writes: Writes::default(), balances: BTreeMap::new() }
    }

    pub(super) fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        match self.writes.rows.get(&(table, key.to_vec())) {
            Some(value) => Ok(value.clone()),
            None => self.storage.get(table, key),
        }
    }

    pub(super) fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.writes.rows.insert((table, key), Some(value));
    }

    pub(super) fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.writes.rows.insert((table, key), None);
    }

    /// Whether anything was written.
    pub(super) fn changed(&self) -> bool {
        !self.writes.is_empty()
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
        if !self.storage.shared() {
            for (row, change) in std::mem::take(&mut self.writes.balances) {
                let balance = self.stored_balance(&row)?.saturating_add(change);
                self.put(Table::Balance, row, Writer::bare().i128(balance).finish());
            }
        }
        self.storage.commit(&self.writes)
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
        let row = self.get(Table::Asset, code.as_str().as_bytes())?;
        Ok(row.map(|bytes| decode_asset(code, &bytes)).transpose()?)
    }

    fn put_asset(&mut self, asset: &NewAsset) {
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
        let change = self.writes.balances.get(&row).copied().unwrap_or(0);
        Ok(self.stored_balance(&row)?.saturating_add(change))
    }

    fn add_balance(&mut self, book: &Book, asset: &AssetCode, change: i128) {
        let sum = self.writes.balances.entry(key::balance(book, asset)).or_default();
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
