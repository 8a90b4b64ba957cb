//! fjall: one keyspace per row kind, one cross-keyspace batch per commit, no compression. Memtables are kept at
//! 8 MiB, so that flushing and compacting happen inside a short run and are paid for there.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{CACHE_BYTES, Engine, Rows, Table, Writes};
use crate::Result;

const MEMTABLE_BYTES: u64 = 8 << 20;
/// With more than one, the first worker hands compaction requests back to the queue in a busy loop (fjall 3.1).
const WORKERS: usize = 1;

pub(crate) struct Fjall {
    db: Database,
    keyspaces: Vec<Keyspace>,
}

impl Fjall {
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let db = Database::builder(dir.join("fjall"))
            .cache_size(CACHE_BYTES as u64)
            .worker_threads(WORKERS)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let keyspaces =
            Table::NAMES.iter().map(|name| db.keyspace(name, options)).collect::<fjall::Result<_>>()?;
        Ok(Self { db, keyspaces })
    }
}

impl Rows for Fjall {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.keyspaces[table as usize].get(key)?.map(|value| value.to_vec()))
    }
}

impl Engine for Fjall {
    fn apply(&mut self, batch: &mut dyn FnMut(&dyn Rows) -> Result<Writes>) -> Result<()> {
        let writes = batch(self)?;
        let mut commit = self.db.batch().durability(Some(PersistMode::SyncData));
        for ((table, key), value) in writes {
            let keyspace = &self.keyspaces[table as usize];
            match value {
                Some(value) => commit.insert(keyspace, key, value),
                None => commit.remove(keyspace, key),
            }
        }
        Ok(commit.commit()?)
    }
}
