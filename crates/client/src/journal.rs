//! The journal: every payment is written down before it is sent, and closed by its outcome.
//!
//! The journal also keeps what must change together with it in one atomic step: what counts against the
//! budgets, and the payee that each origin was first paid at.

mod memory;
mod record;

use std::fmt;
use std::time::Duration;

use farthing_protocol::rail::PaymentId;
use farthing_protocol::{Amount, Network, Origin};
use thiserror::Error;

use crate::budget::{AssetId, Charge, Limits, OverBudget, Spending};

pub use memory::{MemoryJournal, REMEMBERED};
pub use record::{Answered, Record, Standing, State, UnknownStanding};

/// A reservation whose payment is not signed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// The journal cannot be written or read; nothing may be sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JournalError {
    /// Others kept it busy for as long as this call may wait. Nothing changed.
    #[error("the payment journal was busy for {} ms", .waited.as_millis())]
    Busy {
        /// How long the call may wait.
        waited: Duration,
    },
    /// All signing is stopped. Nothing changed.
    #[error("all payments are frozen")]
    Frozen,
    /// A newer version of this software wrote it.
    #[error("the payment journal has format {found}, and this version knows formats up to {known}")]
    Newer {
        /// Its format.
        found: i64,
        /// The newest format that is known here.
        known: i64,
    },
    /// Anything else.
    #[error("the payment journal failed: {0}")]
    Failed(String),
}

/// Why nothing was reserved.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReserveError {
    /// The budget does not allow it.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// This origin was paid at another payee before.
    #[error("this origin was paid at {} before", .known.join(", "))]
    PayeeChanged {
        /// The payees that are known for this origin and network.
        known: Vec<String>,
    },
    /// All signing is stopped.
    #[error("all payments are frozen")]
    Frozen,
    /// Nobody knows.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Where payments are written down. Each call is one atomic step, also between processes that share the
/// journal. Calls are short; one that waits for a disk may block, and none may panic.
pub trait Journal: Send + Sync + fmt::Debug {
    /// Checks the payee and `limits`, then counts `charge` in all of its scopes and remembers its payee, all or
    /// nothing.
    ///
    /// # Errors
    /// [`ReserveError`]; then nothing changed.
    fn reserve(&self, charge: &Charge, limits: &Limits) -> Result<Ticket, ReserveError>;

    /// Gives a reservation back for which nothing was signed.
    fn cancel(&self, ticket: Ticket);

    /// Writes down the signed payment of a reservation. Returns when it would survive what the journal is
    /// built to survive: the payment is sent only after that.
    ///
    /// # Errors
    /// [`JournalError`]; then the payment must not be sent.
    fn record(&self, ticket: Ticket, record: Record) -> Result<(), JournalError>;

    /// Writes down news of a payment ([`State::after`]), and with a final state ends its reservation.
    /// Returns the state before; `None` when the journal does not remember the payment.
    ///
    /// # Errors
    /// [`JournalError`].
    fn advance(&self, id: &PaymentId, news: State) -> Result<Option<State>, JournalError> {
        self.answered(id, news, Answered::default())
    }

    /// As [`advance`](Self::advance), and keeps what the seller answered; what it did not say stays as it was.
    ///
    /// # Errors
    /// [`JournalError`].
    fn answered(&self, id: &PaymentId, news: State, said: Answered) -> Result<Option<State>, JournalError>;

    /// One payment, if the journal remembers it.
    ///
    /// # Errors
    /// [`JournalError`].
    fn find(&self, id: &PaymentId) -> Result<Option<Record>, JournalError>;

    /// The payments whose state is not final, oldest first.
    ///
    /// # Errors
    /// [`JournalError`].
    fn open(&self) -> Result<Vec<Record>, JournalError>;

    /// What counts against the budgets.
    ///
    /// # Errors
    /// [`JournalError`].
    fn spending(&self) -> Result<Spending, JournalError>;

    /// The payees that `origin` may name on `network`; empty before the first payment.
    ///
    /// # Errors
    /// [`JournalError`].
    fn payees(&self, origin: &Origin, network: &Network) -> Result<Vec<String>, JournalError>;

    /// Allows `origin` to name `payee` on `network` from now on.
    ///
    /// # Errors
    /// [`JournalError`].
    fn approve(&self, origin: &Origin, network: &Network, payee: &str) -> Result<(), JournalError>;

    /// Whether all signing is stopped; then nothing can be reserved or recorded. Never, by default.
    ///
    /// # Errors
    /// [`JournalError`].
    fn is_frozen(&self) -> Result<bool, JournalError> {
        Ok(false)
    }

    /// The price of the last payment that was recorded at a place, in atomic units. `None` when there was none,
    /// and in a journal that does not keep prices.
    ///
    /// # Errors
    /// [`JournalError`].
    fn accepted_price(&self, place: &PricedPlace) -> Result<Option<Amount>, JournalError> {
        let _ = place;
        Ok(None)
    }

    /// Whether a person said that payments to `payee` at `origin` need no approval. Never, by default.
    ///
    /// # Errors
    /// [`JournalError`].
    fn is_trusted(&self, origin: &Origin, network: &Network, payee: &str) -> Result<bool, JournalError> {
        let _ = (origin, network, payee);
        Ok(false)
    }

    /// Remembers that payments to `payee` at `origin` need no approval. Not possible, by default.
    ///
    /// # Errors
    /// [`JournalError`].
    fn trust(&self, origin: &Origin, network: &Network, payee: &str) -> Result<(), JournalError> {
        let _ = (origin, network, payee);
        Err(JournalError::Failed("it cannot remember whom to trust".into()))
    }
}

/// Where a price is asked: what is the same path of the same server is taken for the same thing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PricedPlace {
    /// What it is asked in.
    pub asset: AssetId,
    /// Who asks.
    pub origin: Origin,
    /// The request's method.
    pub method: String,
    /// The request's path, without its query.
    pub path: String,
}

impl PricedPlace {
    /// Where `charge` is made, for a request with this method and target.
    #[must_use]
    pub fn of(charge: &Charge, method: &str, target: &str) -> Self {
        let path = target.split('?').next().unwrap_or_default().to_owned();
        Self { asset: charge.asset.clone(), origin: charge.origin.clone(), method: method.to_owned(), path }
    }
}

/// What counts in one asset, for showing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Atomic units that were taken, by the network's own word.
    pub taken: Amount,
    /// Atomic units that may still be taken.
    pub reserved: Amount,
}

impl Spent {
    /// Adds up what `journal` says about `asset`.
    pub(crate) fn of(journal: &dyn Journal, asset: &AssetId) -> Result<Self, JournalError> {
        Ok(Self::among(&journal.spending()?, &journal.open()?, asset))
    }

    /// What of `spending` is of `asset`, and what of that is for the payments in `open`.
    pub(crate) fn among(spending: &Spending, open: &[Record], asset: &AssetId) -> Self {
        let all = spending.total(asset);
        let open = open.iter().filter(|record| record.charge.asset == *asset);
        let reserved = Amount(open.map(|record| record.charge.amount.0).sum::<u128>().min(all.0));
        Self { taken: Amount(all.0 - reserved.0), reserved }
    }
}
