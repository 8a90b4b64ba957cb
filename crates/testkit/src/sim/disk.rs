//! The ledger's storage: rows in memory, of which only what was flushed outlives its process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use farthing::farthing_ledger::engine::{
    Begun, MemoryStorage, Row, Snapshot, Storage, StorageError, Wanted, Writes,
};
use farthing::farthing_ledger::rows::Table;

use super::host::Host;
use super::planted::Planted;
use super::world::{BEGINNING, World};

/// Positions of shared batches begin above those of the batches that made the ledger.
const FIRST_POSITION: u64 = 1000;

/// The rows of a ledger, whoever has them open.
#[derive(Clone)]
pub(crate) struct Disk {
    world: World,
    rows: Arc<Mutex<Rows>>,
}

#[derive(Default)]
struct Rows {
    /// What committers read.
    written: MemoryStorage,
    /// What is left after a crash.
    flushed: MemoryStorage,
    /// Written and not flushed. Empty between two steps, unless a fault is planted.
    pending: Vec<Writes>,
    position: u64,
    seen: u64,
}

/// The disk as one committer has it open.
pub(crate) struct Opened {
    disk: Disk,
    /// `None` while the world is made.
    host: Option<Host>,
    /// The number of its chain, where several committers share the rows.
    chain: Option<u32>,
    now: u64,
}

impl Disk {
    pub(crate) fn new(world: &World) -> Self {
        let rows = Rows { position: FIRST_POSITION, ..Rows::default() };
        Self { world: world.clone(), rows: Arc::new(Mutex::new(rows)) }
    }

    pub(crate) fn open(&self, host: Option<Host>, chain: Option<u32>) -> Opened {
        Opened { disk: self.clone(), host, chain, now: 0 }
    }

    /// What was written and not flushed is lost.
    pub(crate) fn lose_what_is_not_flushed(&self) {
        let mut rows = self.rows();
        if !rows.pending.is_empty() {
            rows.pending.clear();
            rows.written = rows.flushed.clone();
        }
    }

    /// A copy of what would outlive a crash.
    pub(crate) fn flushed(&self) -> MemoryStorage {
        self.rows().flushed.clone()
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Flushes what is pending and shows it to the oracle.
    pub(crate) fn flush(&self) {
        let mut rows = self.rows();
        for writes in std::mem::take(&mut rows.pending) {
            let written = rows.flushed.commit(&writes);
            debug_assert!(written.is_ok(), "memory takes everything");
            let mut state = self.world.lock();
            let state = &mut *state;
            state.figures.commits += 1;
            state.oracle.flushed(&writes, &mut rows.flushed, &mut state.figures, &mut state.trace, state.now);
        }
    }
}

impl Opened {
    /// Changes of balances become rows, as a database would make them.
    fn write(&self, mut writes: Writes) -> Result<(), StorageError> {
        let mut rows = self.disk.rows();
        for (key, change) in std::mem::take(&mut writes.balances) {
            let before = rows.written.get(Table::Balance, &key)?;
            let before = before.and_then(|row| row.try_into().ok()).map_or(0, i128::from_be_bytes);
            let after = before.saturating_add(change).to_be_bytes().to_vec();
            writes.rows.insert((Table::Balance, key), Some(after));
        }
        rows.written.commit(&writes)?;
        rows.pending.push(writes);
        rows.seen = rows.seen.max(self.now);
        Ok(())
    }

    fn draws(&self, per_mille: impl Fn(&super::plan::Plan) -> u32) -> bool {
        let mut state = self.disk.world.lock();
        let per_mille = per_mille(&state.plan);
        !state.calm && state.chance(per_mille)
    }

    fn say(&self, what: &str) {
        if let Some(host) = &self.host {
            host.say(what);
        }
    }
}

impl Storage for Opened {
    fn begin(&mut self, _: &Wanted) -> Result<Begun, StorageError> {
        let Some(_) = self.chain else { return Ok(Begun::default()) };
        let mut rows = self.disk.rows();
        self.now = rows.seen.max(BEGINNING + self.disk.world.now() / 1000);
        rows.position += 1;
        Ok(Begun { now: Some(self.now), seen: rows.seen, position: rows.position })
    }

    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let row = self.disk.rows().written.get(table, key)?;
        Ok(match table {
            Table::Payment => self.disk.world.lock().planted_row(key, row),
            _ => row,
        })
    }

    fn scan(&mut self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        self.disk.rows().written.scan(table, from, limit)
    }

    fn commit(&mut self, writes: &Writes) -> Result<(), StorageError> {
        let Some(host) = self.host.clone() else {
            self.write(writes.clone())?;
            self.disk.flush();
            return Ok(());
        };
        if writes.is_empty() {
            return Ok(());
        }
        if host.crashes_at("before a commit") {
            return Err(StorageError::Failed("the process is gone".into()));
        }
        if self.chain.is_some() && self.draws(|plan| plan.failed_commits) {
            return Err(StorageError::Again("another committer was in the way".into()));
        }
        let fails = self.draws(|plan| plan.failed_commits);
        if fails {
            let lands = {
                let mut state = self.disk.world.lock();
                state.figures.failed_commits += 1;
                state.random.bool()
            };
            self.say(if lands { "a commit fails and lands" } else { "a commit fails and is lost" });
            if !lands {
                return Err(StorageError::Failed("the commit failed".into()));
            }
        }
        let planted = self.disk.world.lock().planted;
        let writes = self.disk.world.lock().planted_writes(writes.clone());
        self.write(writes)?;
        if planted != Some(Planted::AnswersBeforeFlush) {
            self.disk.flush();
        } else {
            // Some time later, unless the process is gone by then.
            let disk = self.disk.clone();
            let mut state = self.disk.world.lock();
            let at = state.now + state.random.u64(1..2_000);
            state.at(at, move |_| disk.flush());
        }
        if fails {
            return Err(StorageError::Failed("the commit failed".into()));
        }
        host.crashes_at("after a commit");
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, StorageError> {
        self.disk.rows().written.snapshot()
    }

    fn shared(&self) -> bool {
        self.chain.is_some()
    }

    fn chain(&self) -> u32 {
        self.chain.unwrap_or(0)
    }
}
