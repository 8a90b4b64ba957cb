//! fjall alone: the batches of a real run once more, on a database that no ledger runs on.

use std::path::Path;
use std::time::{Duration, Instant};

use farthing_ledger::engine::Writes;
use farthing_ledger::rows::Table;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::Result;
use crate::drive::Round;
use crate::meter;

/// As the embedded engine opens it.
const CACHE_BYTES: u64 = 64 << 20;
const MEMTABLE_BYTES: u64 = 16 << 20;

/// Commits `batches` on the rows of an embedded ledger's directory, each flushed as the ledger flushes it.
///
/// # Errors
/// fjall's.
pub(crate) fn round(directory: &Path, batches: &[Writes], payments: usize) -> Result<Round> {
    let database =
        Database::builder(directory.join("rows")).cache_size(CACHE_BYTES).worker_threads(1).open()?;
    let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
    let tables = Table::ALL.map(|table| database.keyspace(table.name(), options));
    let tables = tables.into_iter().collect::<std::result::Result<Vec<Keyspace>, _>>()?;
    let mut commits = Vec::with_capacity(batches.len());
    let (cpu, began) = (meter::cpu_time()?, Instant::now());
    for writes in batches {
        let commit = Instant::now();
        let mut batch = database.batch().durability(Some(PersistMode::SyncData));
        for ((table, key), value) in &writes.rows {
            let table = &tables[*table as usize];
            match value {
                Some(value) => batch.insert(table, key.as_slice(), value.as_slice()),
                None => batch.remove(table, key.as_slice()),
            }
        }
        batch.commit()?;
        commits.push(commit.elapsed());
    }
    let took = began.elapsed();
    drop((tables, database));
    let cpu = meter::cpu_time()? - cpu;
    commits.sort_unstable();
    Ok(Round { payments, took, answers: Vec::new(), commits, cpu, committer: Duration::ZERO })
}
