//! Whether somebody wants this program to end.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::Failure;

/// The wish that this program ends: by ctrl-c, or by the operating system's request.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Listens from now on; before this, the wish ends the program at once.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::unsound)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::unsound)?;
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            let _ = sender.send(true);
            // Kept, so that a signal is never mistaken for the end of listening.
            std::future::pending::<()>().await;
        });
        Ok(Self(receiver))
    }

    /// Returns when it is wanted.
    pub(crate) async fn wanted(&self) {
        let _ = self.0.clone().wait_for(|wanted| *wanted).await;
    }
}
