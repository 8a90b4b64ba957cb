//! A recorded history of concurrent operations on a ledger, and the question whether it could have happened
//! one operation at a time.
//!
//! A [`Recorder`] notes when each operation was sent and what came back. [`History::check`] then looks for an
//! order of all of them that a single-threaded [`Account`] could have produced, in which nothing takes effect
//! before it was sent or after it was answered: strict serialisability, payer by payer. An operation of
//! unknown outcome may have happened at any time after it was sent, or never. What cannot be explained so is
//! a [`Violation`], with the state in which every explanation ends.
//!
//! The model knows one payer: a balance and its payments. Payees must be rich enough to refund, and leases
//! and deadlines must not end during the history; whether a lease has lapsed is left open, so both answers
//! to another owner are believed.

mod account;
mod ask;
mod load;
mod record;
mod search;

pub use account::{Account, Answer, Slot};
pub use ask::{Ask, Desk, Heard};
pub use load::{Load, Ran};
pub use record::{Call, Event, Found, History, Outcome, Pays, Recorder, Status, Step};
pub use search::{Explained, Violation};
