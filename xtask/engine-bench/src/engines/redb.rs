//! redb: one table per row kind, one write transaction per commit (its default durability is immediate).

use std::path::Path;

use redb::{Database, ReadableTable, Table as RedbTable, TableDefinition};

use super::{CACHE_BYTES, Engine, Rows, Table, Writes};
use crate::Result;

pub(crate) struct Redb(Database);

struct Tables<'txn>(Vec<RedbTable<'txn, &'static [u8], &'static [u8]>>);

impl Redb {
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        Ok(Self(Database::builder().set_cache_size(CACHE_BYTES).create(dir.join("ledger.redb"))?))
    }
}

impl Rows for Tables<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.0[table as usize].get(key)?.map(|value| value.value().to_vec()))
    }
}

impl Engine for Redb {
    fn apply(&mut self, batch: &mut dyn FnMut(&dyn Rows) -> Result<Writes>) -> Result<()> {
        let txn = self.0.begin_write()?;
        {
            let open = |name: &&'static str| txn.open_table(TableDefinition::new(name));
            let mut tables = Tables(Table::NAMES.iter().map(open).collect::<std::result::Result<_, _>>()?);
            for ((table, key), value) in batch(&tables)? {
                let table = &mut tables.0[table as usize];
                match value {
                    Some(value) => table.insert(key.as_slice(), value.as_slice())?,
                    None => table.remove(key.as_slice())?,
                };
            }
        }
        Ok(txn.commit()?)
    }
}
