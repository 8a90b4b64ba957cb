//! The committer without its thread.

use tokio::sync::mpsc;

use super::committer::{Committer, Job};
use super::storage::{Storage, StorageError};

/// Applies what is queued, one batch at a time, when told so; made by
/// [`Ledger::stepped`](super::Ledger::stepped).
pub struct Stepper<S> {
    committer: Committer<S>,
    jobs: mpsc::Receiver<Job>,
}

impl<S> std::fmt::Debug for Stepper<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stepper").finish_non_exhaustive()
    }
}

impl<S: Storage> Stepper<S> {
    pub(super) fn new(committer: Committer<S>, jobs: mpsc::Receiver<Job>) -> Self {
        Self { committer, jobs }
    }

    /// Applies what is queued as one batch, makes it durable and replies. `false` when nothing was queued.
    ///
    /// # Errors
    /// Those of storage, after every caller was told; the ledger must be opened again then.
    pub fn step(&mut self) -> Result<bool, StorageError> {
        self.committer.step(&mut self.jobs)
    }
}
