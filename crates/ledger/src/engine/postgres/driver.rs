//! Futures run to their end on threads that wait.

use std::future::Future;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::engine::storage::StorageError;

/// A runtime of one thread: whoever waits drives it.
pub(super) struct Driver {
    runtime: Option<Runtime>,
}

impl Driver {
    pub(super) fn new() -> Result<Self, StorageError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| StorageError::failed(format!("no runtime: {e}")))?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Waits for a future. A thread that is driving a runtime already, as that of somebody who opens a ledger
    /// within an async function, must not drive a second one: another thread does it.
    pub(super) fn run<F>(&self, future: F) -> Result<F::Output, StorageError>
    where
        F: Future + Send,
        F::Output: Send,
    {
        let stopped = || StorageError::failed("the database's runtime has stopped");
        let runtime = self.runtime.as_ref().ok_or_else(stopped)?;
        if Handle::try_current().is_err() {
            return Ok(runtime.block_on(future));
        }
        std::thread::scope(|scope| scope.spawn(|| runtime.block_on(future)).join()).map_err(|_| stopped())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropping it where a runtime is being driven would panic.
            runtime.shutdown_background();
        }
    }
}
