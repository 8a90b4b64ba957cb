//! SQLite through rusqlite: WAL, `synchronous = FULL`, cached prepared statements, one table per row kind.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::{CACHE_BYTES, Engine, Rows, Table, Writes};
use crate::Result;

/// About 40 MiB of log between checkpoints: SQLite's default of 1000 pages rewrites random leaves far too often here.
const PAGES_PER_CHECKPOINT: u32 = 10_000;

const GET: [&str; 6] = [
    "SELECT v FROM balance WHERE k = ?1",
    "SELECT v FROM payment WHERE k = ?1",
    "SELECT v FROM replay WHERE k = ?1",
    "SELECT v FROM hold WHERE k = ?1",
    "SELECT v FROM answer WHERE k = ?1",
    "SELECT v FROM entry WHERE k = ?1",
];
const PUT: [&str; 6] = [
    "INSERT OR REPLACE INTO balance VALUES (?1, ?2)",
    "INSERT OR REPLACE INTO payment VALUES (?1, ?2)",
    "INSERT OR REPLACE INTO replay VALUES (?1, ?2)",
    "INSERT OR REPLACE INTO hold VALUES (?1, ?2)",
    "INSERT OR REPLACE INTO answer VALUES (?1, ?2)",
    "INSERT INTO entry VALUES (?1, ?2)",
];
const DELETE_HOLD: &str = "DELETE FROM hold WHERE k = ?1";

pub(crate) struct Sqlite(Connection);

impl Sqlite {
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let db = Connection::open(dir.join("ledger.sqlite"))?;
        db.set_prepared_statement_cache_capacity(32);
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "cache_size", -(CACHE_BYTES as i64 / 1024))?;
        db.pragma_update(None, "wal_autocheckpoint", PAGES_PER_CHECKPOINT)?;
        for name in &Table::NAMES[..Table::Entry as usize] {
            db.execute(&format!("CREATE TABLE {name} (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID"), [])?;
        }
        db.execute("CREATE TABLE entry (k INTEGER PRIMARY KEY, v BLOB)", [])?;
        Ok(Self(db))
    }
}

impl Rows for Connection {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut select = self.prepare_cached(GET[table as usize])?;
        Ok(select.query_row([key], |row| row.get(0)).optional()?)
    }
}

impl Engine for Sqlite {
    fn apply(&mut self, batch: &mut dyn FnMut(&dyn Rows) -> Result<Writes>) -> Result<()> {
        let txn = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let writes = batch(&*txn)?;
        for ((table, key), value) in writes {
            let mut put = txn.prepare_cached(PUT[table as usize])?;
            match value {
                Some(value) if table == Table::Entry => {
                    let sequence = u64::from_be_bytes(key.as_slice().try_into()?);
                    put.execute((i64::try_from(sequence)?, value))?
                }
                Some(value) => put.execute((key, value))?,
                None => txn.prepare_cached(DELETE_HOLD)?.execute([key])?,
            };
        }
        Ok(txn.commit()?)
    }
}
