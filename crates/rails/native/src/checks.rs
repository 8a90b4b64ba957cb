//! Checks of payers' signatures: a service that is handed payments and gives a verdict on each.
//!
//! Payments that come at the same time are checked together, which costs less for each and gives the same
//! verdicts. Nobody waits for others to come.

use farthing_ledger::LedgerError;
use farthing_ledger::command::{Authorize, Checked, Refusal};
use farthing_protocol::rounds::Rounds;

/// Payments that are checked at once, at most: more save nothing, and keep a thread busy for too long.
const TOGETHER: usize = 32;

/// Checks on their way.
#[derive(Debug)]
pub(crate) struct Checks {
    rounds: Rounds<Authorize, Result<Checked<Authorize>, Refusal>>,
}

impl Checks {
    pub(crate) fn new() -> Self {
        Self { rounds: Rounds::new(TOGETHER) }
    }

    /// The verdict on one payment.
    pub(crate) async fn check(&self, authorize: Authorize) -> Result<Checked<Authorize>, LedgerError> {
        let verdict = self.rounds.join(authorize, 1, async |all| Authorize::check_all(all)).await;
        match verdict {
            Some(verdict) => verdict.map_err(LedgerError::Refused),
            None => Err(LedgerError::Unavailable("the check of the signature was broken off".into())),
        }
    }
}
