//! What a round cost: CPU time from `/proc`, and what storage was asked to do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use farthing_ledger::engine::{Begun, Row, Snapshot, Storage, StorageError, Wanted, Writes};
use farthing_ledger::rows::Table;

use crate::Result;

/// Linux reports process times to user space in hundredths of a second on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// User plus system time of this process, all threads.
///
/// # Errors
/// When `/proc` is not there.
pub(crate) fn cpu_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').ok_or("no process name in /proc/self/stat")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = fields[11].parse::<u32>()? + fields[12].parse::<u32>()?;
    Ok(TICK * ticks)
}

/// The time that the committer's thread of this process has run; zero when there is none.
///
/// # Errors
/// When `/proc` is not there.
pub(crate) fn committer_time() -> Result<Duration> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "ledger") {
            let schedule = std::fs::read_to_string(task.join("schedstat"))?;
            let nanoseconds = schedule.split_whitespace().next().ok_or("an empty schedstat")?;
            return Ok(Duration::from_nanos(nanoseconds.parse()?));
        }
    }
    Ok(Duration::ZERO)
}

/// What was committed, shared with whoever reads it afterwards.
#[derive(Clone, Debug, Default)]
pub(crate) struct Commits {
    state: Arc<Mutex<State>>,
    /// Whether the writes themselves are kept.
    keep: bool,
}

#[derive(Debug, Default)]
struct State {
    took: Vec<Duration>,
    kept: Vec<Writes>,
}

impl Commits {
    /// Counts commits and keeps their writes.
    pub(crate) fn keeping() -> Self {
        Self { keep: true, ..Self::default() }
    }

    /// How long each commit took; empties the list.
    pub(crate) fn take_times(&self) -> Vec<Duration> {
        std::mem::take(&mut self.state().took)
    }

    /// The writes of each commit; empties the list.
    pub(crate) fn take_writes(&self) -> Vec<Writes> {
        std::mem::take(&mut self.state().kept)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Any storage, with its commits counted.
pub(crate) struct Metered {
    storage: Box<dyn Storage>,
    commits: Commits,
}

impl Metered {
    pub(crate) fn new(storage: Box<dyn Storage>, commits: Commits) -> Self {
        Self { storage, commits }
    }
}

impl Storage for Metered {
    fn begin(&mut self, wanted: &Wanted) -> Result<Begun, StorageError> {
        self.storage.begin(wanted)
    }

    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.storage.get(table, key)
    }

    fn scan(&mut self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        self.storage.scan(table, from, limit)
    }

    fn between(
        &mut self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Row>, StorageError> {
        self.storage.between(table, from, to, limit)
    }

    fn commit(&mut self, writes: &Writes) -> Result<(), StorageError> {
        if self.commits.keep && !writes.is_empty() {
            self.commits.state().kept.push(writes.clone());
        }
        let began = Instant::now();
        let committed = self.storage.commit(writes);
        self.commits.state().took.push(began.elapsed());
        committed
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, StorageError> {
        self.storage.snapshot()
    }

    fn shared(&self) -> bool {
        self.storage.shared()
    }

    fn chain(&self) -> u32 {
        self.storage.chain()
    }

    fn recover(&mut self) -> Result<bool, StorageError> {
        self.storage.recover()
    }
}
