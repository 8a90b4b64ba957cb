//! A journal in one SQLite file that several processes share, and that outlives them.
//!
//! Every change is one immediate transaction on a write-ahead log with `synchronous = FULL`: when a call
//! returns, its change survives the process and the machine's power, and no two processes can count against
//! a budget at the same time. The file holds payments that can be spent, so only its owner may read it.
//!
//! A reservation for which nothing was signed within [`SIGNING_TIME`] is given back: the payment of a
//! process that died meanwhile was never sent, because [`record`](Journal::record) refuses one without its
//! reservation, and nothing is sent before it is recorded.

mod counts;
mod export;
mod migrate;
mod payments;
mod rows;
mod schema;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use farthing_protocol::rail::PaymentId;
use farthing_protocol::{Amount, Network, Origin};
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};
use tracing::error;

use crate::budget::{AssetId, Charge, Limits, OverBudget, Spending};
use crate::journal::{Answered, Journal, JournalError, PricedPlace, Record, ReserveError, State, Ticket};

pub use export::{ExportError, Format};
pub use payments::Filter;
pub use schema::FORMAT;

/// How long a call waits for others by default.
pub const WAIT: Duration = Duration::from_secs(5);
/// How long after its reservation a payment may be signed by default.
pub const SIGNING_TIME: Duration = Duration::from_secs(60);

/// A [`Journal`] in a file.
///
/// ```
/// # fn main() -> Result<(), farthing_client::journal::JournalError> {
/// # let directory = std::env::temp_dir().join(format!("farthing-journal-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory).map_err(|error| {
/// #     farthing_client::journal::JournalError::Failed(error.to_string())
/// # })?;
/// use std::collections::BTreeMap;
///
/// use farthing_client::SqliteJournal;
///
/// let journal = SqliteJournal::open(directory.join("wallet.sqlite"), &BTreeMap::new())?;
/// journal.freeze()?;
/// assert!(journal.frozen_since()?.is_some());
/// # drop(journal);
/// # std::fs::remove_dir_all(&directory).ok();
/// # Ok(())
/// # }
/// ```
pub struct SqliteJournal {
    /// The connection, unless a call has it.
    free: Mutex<Option<Connection>>,
    returned: Condvar,
    waits: Duration,
    signing_time: Duration,
}

impl SqliteJournal {
    /// Opens the journal in the file at `path`, or makes it, with mode 0600.
    ///
    /// `budgets` are kept in the file and hold for every process that shares it, from now on and besides the
    /// budgets of each client: they replace those that the file had for the same assets, and other assets
    /// keep theirs.
    ///
    /// # Errors
    /// [`JournalError`]: also when a newer version wrote the file, when it is not a journal, or when others
    /// than its owner may read it; then it is left as it is.
    pub fn open(path: impl AsRef<Path>, budgets: &BTreeMap<AssetId, Limits>) -> Result<Self, JournalError> {
        let connection = schema::open(path.as_ref(), WAIT)?;
        let journal = Self {
            free: Mutex::new(Some(connection)),
            returned: Condvar::new(),
            waits: WAIT,
            signing_time: SIGNING_TIME,
        };
        if !budgets.is_empty() {
            journal.change(|step| {
                budgets.iter().try_for_each(|(asset, limits)| counts::write_limits(step, asset, limits))?;
                Ok(())
            })?;
        }
        Ok(journal)
    }

    /// How long a call waits for others, in this process and in others, before it is [`JournalError::Busy`].
    #[must_use]
    pub fn waits(mut self, waits: Duration) -> Self {
        self.waits = waits;
        self
    }

    /// How long after its reservation a payment may be signed, to the second. All processes should agree.
    #[must_use]
    pub fn signing_time(mut self, time: Duration) -> Self {
        self.signing_time = time;
        self
    }

    /// Stops all signing in every process that shares the file: once this returns, nothing is reserved and
    /// no signature is recorded, so none is sent. Payments that were recorded before can still be presented.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn freeze(&self) -> Result<(), JournalError> {
        self.change(|step| {
            if frozen_since(step)?.is_none() {
                step.execute("INSERT INTO frozen (since) VALUES (?1)", [rows::unix_now()])?;
            }
            Ok(())
        })
    }

    /// Allows signing again.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn unfreeze(&self) -> Result<(), JournalError> {
        self.change(|step| {
            step.execute("DELETE FROM frozen", [])?;
            Ok(())
        })
    }

    /// Since when signing is stopped, in Unix seconds.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn frozen_since(&self) -> Result<Option<u64>, JournalError> {
        self.read(frozen_since)
    }

    /// The payments to resume after a crash, oldest first: those whose end the network has not told.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn unfinished(&self) -> Result<Vec<Record>, JournalError> {
        let columns = rows::RECORD;
        self.read(|step| {
            let all = format!("SELECT {columns} FROM payments WHERE closed_at IS NULL ORDER BY ticket");
            step.prepare_cached(&all)?.query_map([], rows::record)?.collect()
        })
    }

    /// The limits that the file has for `asset`.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn limits(&self, asset: &AssetId) -> Result<Option<Limits>, JournalError> {
        self.read(|step| counts::limits(step, asset))
    }

    /// One step that reads, on one state of the file.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, JournalError> {
        let mut held = self.hold()?;
        let failed = |error| failed(&error, self.waits);
        let step = held.connection()?.transaction().map_err(failed)?;
        let said = work(&step).map_err(failed)?;
        step.commit().map_err(failed)?;
        Ok(said)
    }

    /// One step that writes: all of it is done and on disk, or nothing.
    fn change<T, E: From<JournalError>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Stopped<E>>,
    ) -> Result<T, E> {
        let mut held = self.hold()?;
        let failed = |error| failed(&error, self.waits);
        let begun = held.connection()?.transaction_with_behavior(TransactionBehavior::Immediate);
        let step = begun.map_err(failed)?;
        // A newer version may have come along since the file was opened.
        schema::check(&step)?;
        let done = work(&step).map_err(|stopped| match stopped {
            Stopped::By(error) => error,
            Stopped::Sql(error) => failed(error).into(),
        })?;
        step.commit().map_err(failed)?;
        Ok(done)
    }

    /// Takes the connection, and leaves it what is left of the time to wait.
    fn hold(&self) -> Result<Held<'_>, JournalError> {
        let since = Instant::now();
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.returned.wait_timeout_while(free, self.waits, |free| free.is_none());
        let (mut free, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let connection = free.take().ok_or(JournalError::Busy { waited: self.waits })?;
        drop(free);
        let held = Held { journal: self, connection: Some(connection) };
        let left = self.waits.saturating_sub(since.elapsed());
        if let Some(connection) = &held.connection {
            connection.busy_timeout(left).map_err(|error| failed(&error, self.waits))?;
        }
        Ok(held)
    }

    /// Gives back what was reserved for payments that were not signed in time.
    fn sweep(&self, step: &Connection) -> rusqlite::Result<()> {
        for (ticket, charge) in self.late(step)? {
            step.execute("DELETE FROM tickets WHERE ticket = ?1", [ticket])?;
            counts::settle(step, &charge, Amount::ZERO)?;
        }
        Ok(())
    }

    /// Reservations older than a signature may take, or from a clock that was ahead.
    fn late(&self, step: &Connection) -> rusqlite::Result<Vec<(i64, Charge)>> {
        let (now, time) = (rows::unix_now(), self.signing_time.as_secs().min(u32::MAX.into()).cast_signed());
        let columns = rows::CHARGE;
        let mut late = step.prepare_cached(&format!(
            "SELECT ticket, {columns} FROM tickets WHERE reserved_at < ?1 OR reserved_at > ?2"
        ))?;
        let late = late.query_map([now - time, now + time], |row| Ok((row.get(0)?, rows::charge(row)?)))?;
        late.collect()
    }
}

impl Journal for SqliteJournal {
    fn reserve(&self, charge: &Charge, limits: &Limits) -> Result<Ticket, ReserveError> {
        self.change(|step| {
            if frozen_since(step)?.is_some() {
                return Err(Stopped::By(ReserveError::Frozen));
            }
            let known = payees(step, &charge.origin, &charge.asset.network)?;
            if !known.is_empty() && !known.contains(&charge.payee) {
                return Err(Stopped::By(ReserveError::PayeeChanged { known }));
            }
            self.sweep(step)?;
            let counted = counts::counted(step, charge)?;
            let over = |over: OverBudget| Stopped::By(over.into());
            limits.allow(charge, &counted).map_err(over)?;
            if let Some(shared) = counts::limits(step, &charge.asset)? {
                shared.allow(charge, &counted).map_err(over)?;
            }
            counts::add(step, charge)?;
            remember(step, &charge.origin, &charge.asset.network, &charge.payee)?;
            Ok(Ticket(rows::write_ticket(step, charge)?.cast_unsigned()))
        })
    }

    fn cancel(&self, ticket: Ticket) {
        let cancelled = self.change(|step| {
            let charge = take_ticket(step, ticket)?;
            charge.map_or(Ok(()), |charge| counts::settle(step, &charge, Amount::ZERO))?;
            Ok::<_, Stopped<JournalError>>(())
        });
        if let Err(error) = cancelled {
            error!(%error, "a reservation stays until its time to be signed for is over");
        }
    }

    fn record(&self, ticket: Ticket, record: Record) -> Result<(), JournalError> {
        self.change(|step| {
            if frozen_since(step)?.is_some() {
                return Err(Stopped::By(JournalError::Frozen));
            }
            if find_state(step, &record.id())?.is_some() {
                let why = format!("payment {} was signed before", record.id());
                return Err(Stopped::By(JournalError::Failed(why)));
            }
            match take_ticket(step, ticket)? {
                Some(charge) if charge == record.charge => {}
                _ => return Err(Stopped::By(JournalError::Failed("the payment was not reserved".into()))),
            }
            rows::write_record(step, ticket.0.cast_signed(), &record)?;
            rows::write_price(step, &record)?;
            Ok(())
        })
    }

    fn answered(&self, id: &PaymentId, news: State, said: Answered) -> Result<Option<State>, JournalError> {
        self.change(|step| {
            let Some((before, charge)) = find_state(step, id)? else { return Ok(None) };
            let state = before.after(news);
            let (name, taken) = rows::of_state(state);
            let now = rows::unix_now();
            // Sent at the latest when there is news of it.
            step.execute(
                "UPDATE payments SET state = ?2, taken = ?3, sent_at = coalesce(sent_at, ?4), \
                 closed_at = coalesce(closed_at, ?5), status = coalesce(?6, status), \
                 settled = coalesce(?7, settled), receipt = coalesce(?8, receipt), \
                 receipt_jws = coalesce(?9, receipt_jws) WHERE id = ?1",
                params![
                    id.0,
                    name,
                    taken,
                    (!matches!(state, State::Signed | State::Released)).then_some(now),
                    state.is_final().then_some(now),
                    said.status,
                    said.settled.map(|amount| amount.to_string()),
                    said.receipt,
                    said.receipt_jws
                ],
            )?;
            if state.is_final() && !before.is_final() {
                let taken = if let State::Confirmed(amount) = state { amount } else { Amount::ZERO };
                counts::settle(step, &charge, taken)?;
            }
            Ok::<_, Stopped<JournalError>>(Some(before))
        })
    }

    fn find(&self, id: &PaymentId) -> Result<Option<Record>, JournalError> {
        let columns = rows::RECORD;
        self.read(|step| {
            let mut one = step.prepare_cached(&format!("SELECT {columns} FROM payments WHERE id = ?1"))?;
            one.query_row([id.0], rows::record).optional()
        })
    }

    fn open(&self) -> Result<Vec<Record>, JournalError> {
        self.unfinished()
    }

    fn spending(&self) -> Result<Spending, JournalError> {
        self.read(|step| {
            let mut spending = counts::spending(step)?;
            for (_, charge) in self.late(step)? {
                spending.settle(&charge, Amount::ZERO);
            }
            Ok(spending)
        })
    }

    fn payees(&self, origin: &Origin, network: &Network) -> Result<Vec<String>, JournalError> {
        self.read(|step| payees(step, origin, network))
    }

    fn approve(&self, origin: &Origin, network: &Network, payee: &str) -> Result<(), JournalError> {
        self.change(|step| Ok(remember(step, origin, network, payee)?))
    }

    fn accepted_price(&self, place: &PricedPlace) -> Result<Option<Amount>, JournalError> {
        self.read(|step| rows::price(step, place))
    }

    fn is_trusted(&self, origin: &Origin, network: &Network, payee: &str) -> Result<bool, JournalError> {
        self.read(|step| {
            let trusted = "SELECT 1 FROM trusted WHERE origin = ?1 AND network = ?2 AND payee = ?3";
            step.prepare_cached(trusted)?.exists(params![origin.as_str(), network.to_string(), payee])
        })
    }

    fn trust(&self, origin: &Origin, network: &Network, payee: &str) -> Result<(), JournalError> {
        self.change(|step| {
            step.execute(
                "INSERT OR IGNORE INTO trusted (origin, network, payee) VALUES (?1, ?2, ?3)",
                params![origin.as_str(), network.to_string(), payee],
            )?;
            Ok(())
        })
    }

    fn is_frozen(&self) -> Result<bool, JournalError> {
        Ok(self.frozen_since()?.is_some())
    }
}

impl fmt::Debug for SqliteJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteJournal").field("waits", &self.waits).finish_non_exhaustive()
    }
}

/// The connection while one call has it.
struct Held<'a> {
    journal: &'a SqliteJournal,
    connection: Option<Connection>,
}

impl Held<'_> {
    fn connection(&mut self) -> Result<&mut Connection, JournalError> {
        self.connection.as_mut().ok_or_else(|| JournalError::Failed("its connection is gone".into()))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *self.journal.free.lock().unwrap_or_else(PoisonError::into_inner) = self.connection.take();
        self.journal.returned.notify_one();
    }
}

/// Why a step was not done.
enum Stopped<E> {
    By(E),
    Sql(rusqlite::Error),
}

impl<E> From<rusqlite::Error> for Stopped<E> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// What SQLite says, without anything that is in the file.
fn failed(error: &rusqlite::Error, waited: Duration) -> JournalError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => JournalError::Busy { waited },
        _ => JournalError::Failed(error.to_string()),
    }
}

fn frozen_since(step: &Connection) -> rusqlite::Result<Option<u64>> {
    let mut since = step.prepare_cached("SELECT since FROM frozen LIMIT 1")?;
    since.query_row([], |row| rows::seconds(row, "since")).optional()
}

/// Ends a reservation, without giving anything back; `None` when there is none.
fn take_ticket(step: &Connection, ticket: Ticket) -> rusqlite::Result<Option<Charge>> {
    let columns = rows::CHARGE;
    let mut take =
        step.prepare_cached(&format!("DELETE FROM tickets WHERE ticket = ?1 RETURNING {columns}"))?;
    take.query_row([ticket.0.cast_signed()], rows::charge).optional()
}

fn find_state(step: &Connection, id: &PaymentId) -> rusqlite::Result<Option<(State, Charge)>> {
    let columns = rows::CHARGE;
    let mut state =
        step.prepare_cached(&format!("SELECT state, taken, {columns} FROM payments WHERE id = ?1"))?;
    state.query_row([id.0], |row| Ok((rows::state(row)?, rows::charge(row)?))).optional()
}

fn payees(step: &Connection, origin: &Origin, network: &Network) -> rusqlite::Result<Vec<String>> {
    let mut known =
        step.prepare_cached("SELECT payee FROM payees WHERE origin = ?1 AND network = ?2 ORDER BY payee")?;
    known.query_map(params![origin.as_str(), network.to_string()], |row| row.get(0))?.collect()
}

fn remember(step: &Connection, origin: &Origin, network: &Network, payee: &str) -> rusqlite::Result<()> {
    step.execute(
        "INSERT OR IGNORE INTO payees (origin, network, payee) VALUES (?1, ?2, ?3)",
        params![origin.as_str(), network.to_string(), payee],
    )?;
    Ok(())
}
