//! The engines under test behind one small interface. Each gets 64 MiB of cache and must make a commit durable
//! (`fdatasync` or its like) before it returns.

mod fjall;
mod raw;
mod redb;
mod sqlite;

use std::collections::BTreeMap;
use std::path::Path;

use crate::Result;

pub(crate) const NAMES: [&str; 4] = ["fjall", "redb", "sqlite", "raw"];
const CACHE_BYTES: usize = 64 << 20;

/// The row kinds of the ledger; an engine maps each to a table, a keyspace or the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    Balance,
    Payment,
    Replay,
    Hold,
    Answer,
    Entry,
}

impl Table {
    pub(crate) const NAMES: [&str; 6] = ["balance", "payment", "replay", "hold", "answer", "entry"];
}

/// The net effect of one batch, in key order; `None` deletes.
pub(crate) type Writes = BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>;

/// The rows as of the last commit.
pub(crate) trait Rows {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>>;
}

/// A store with one writer.
pub(crate) trait Engine {
    /// Lets `batch` read rows, then commits what it returns, atomically and durably.
    fn apply(&mut self, batch: &mut dyn FnMut(&dyn Rows) -> Result<Writes>) -> Result<()>;
}

pub(crate) fn open(name: &str, dir: &Path) -> Result<Box<dyn Engine>> {
    Ok(match name {
        "fjall" => Box::new(fjall::Fjall::open(dir)?),
        "redb" => Box::new(redb::Redb::open(dir)?),
        "sqlite" => Box::new(sqlite::Sqlite::open(dir)?),
        "raw" => Box::new(raw::RawLog::open(dir)?),
        other => return Err(format!("no engine is called {other:?}").into()),
    })
}
