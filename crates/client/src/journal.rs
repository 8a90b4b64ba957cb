//! The journal: every payment is written down before it is sent, and closed by its outcome.
//!
//! The journal also keeps what must change together with it in one atomic step: what counts against the
//! budgets, and the payee that each origin was first paid at.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use farthing_protocol::digest::sha256;
use farthing_protocol::rail::{PaymentId, SignedPayment};
use farthing_protocol::{Amount, Network, Origin, PublicKey, RequestDigest};
use thiserror::Error;

use crate::budget::{AssetId, Charge, Limits, OverBudget, Spending};
use crate::prepared::PaymentHeader;

/// How many closed payments a [`MemoryJournal`] remembers one by one; older ones live on in its sums.
pub const REMEMBERED: usize = 16_384;

/// How far a payment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Signed, and nobody else has seen it.
    Signed,
    /// It may have reached the server.
    Sent,
    /// It was sent, and what became of it is not known.
    Unknown,
    /// The server says that it was voided; the network has not said so.
    Voided,
    /// The server says that it was settled; the network has not said so.
    Settled,
    /// The network says that this much was taken, in atomic units. Final.
    Confirmed(Amount),
    /// The network says that nothing was taken and nothing can be. Final.
    Released,
}

impl State {
    /// Whether the network has spoken.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Confirmed(_) | Self::Released)
    }

    /// Whether money was taken, as far as anybody said.
    #[must_use]
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Settled | Self::Confirmed(_))
    }

    /// The state after `news`: knowledge only grows, and what the network said stands.
    #[must_use]
    pub fn after(self, news: Self) -> Self {
        if self.is_final() || news.rank() < self.rank() { self } else { news }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Signed => 0,
            Self::Sent => 1,
            Self::Unknown => 2,
            Self::Voided => 3,
            Self::Settled => 4,
            Self::Confirmed(_) | Self::Released => 5,
        }
    }
}

/// One payment. Its `Debug` shows neither the header nor the signature.
#[derive(Clone)]
pub struct Record {
    /// The payment, as its rail signed it; what is needed to ask the network about it later.
    pub payment: SignedPayment,
    /// The header that carries it.
    pub header: PaymentHeader,
    /// What it counts against the budgets until it is closed.
    pub charge: Charge,
    /// Who is paid, in the network's own words.
    pub payee: String,
    /// The request's method.
    pub method: String,
    /// The request's path and query.
    pub target: String,
    /// The names of the caller's headers, in lower case; their values are not kept.
    pub header_names: Vec<String>,
    /// SHA-256 of the request's body, also where the payment does not cover it.
    pub body_hash: [u8; 32],
    /// What the payment is bound to.
    pub digest: RequestDigest,
    /// The key that the offer announced for receipts.
    pub receipt_key: Option<PublicKey>,
    /// Unix seconds.
    pub signed_at: u64,
    /// How far it has come.
    pub state: State,
}

impl Record {
    /// The payment's name.
    #[must_use]
    pub fn id(&self) -> PaymentId {
        self.payment.id
    }

    /// The request's absolute URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}{}", self.charge.origin, self.target)
    }

    /// Whether the request had a body.
    #[must_use]
    pub fn has_body(&self) -> bool {
        self.body_hash != sha256(b"")
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("id", &self.payment.id)
            .field("charge", &self.charge)
            .field("payee", &self.payee)
            .field("method", &self.method)
            .field("target", &self.target)
            .field("signed_at", &self.signed_at)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

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
    /// Checks the payee and `limits`, then counts `charge` and remembers `payee`, all or nothing.
    ///
    /// # Errors
    /// [`ReserveError`]; then nothing changed.
    fn reserve(&self, charge: &Charge, payee: &str, limits: &Limits) -> Result<Ticket, ReserveError>;

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
    fn advance(&self, id: &PaymentId, news: State) -> Result<Option<State>, JournalError>;

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
}

/// A journal in memory: gone with its process, and with it the knowledge of payments that are still open.
#[derive(Debug, Default)]
pub struct MemoryJournal(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    spending: Spending,
    payees: HashMap<(Origin, Network), BTreeSet<String>>,
    tickets: BTreeMap<u64, Charge>,
    next: u64,
    records: HashMap<PaymentId, (u64, Record)>,
    closed: VecDeque<PaymentId>,
}

impl MemoryJournal {
    /// An empty journal.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing panics while the book is half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn reserve(&self, charge: &Charge, payee: &str, limits: &Limits) -> Result<Ticket, ReserveError> {
        let mut book = self.book();
        let place = (charge.origin.clone(), charge.asset.network.clone());
        if let Some(known) = book.payees.get(&place).filter(|known| !known.contains(payee)) {
            return Err(ReserveError::PayeeChanged { known: known.iter().cloned().collect() });
        }
        book.spending.reserve(limits, charge)?;
        book.payees.entry(place).or_default().insert(payee.to_owned());
        book.next += 1;
        let ticket = book.next;
        book.tickets.insert(ticket, charge.clone());
        Ok(Ticket(ticket))
    }

    fn cancel(&self, ticket: Ticket) {
        let mut book = self.book();
        if let Some(charge) = book.tickets.remove(&ticket.0) {
            book.spending.settle(&charge, Amount::ZERO);
        }
    }

    fn record(&self, ticket: Ticket, record: Record) -> Result<(), JournalError> {
        let mut book = self.book();
        if book.records.contains_key(&record.id()) {
            return Err(JournalError::Failed(format!("payment {} was signed before", record.id())));
        }
        if book.tickets.remove(&ticket.0).is_none() {
            return Err(JournalError::Failed("the payment was not reserved".into()));
        }
        book.records.insert(record.id(), (ticket.0, record));
        Ok(())
    }

    fn advance(&self, id: &PaymentId, news: State) -> Result<Option<State>, JournalError> {
        let mut book = self.book();
        let Some((_, record)) = book.records.get_mut(id) else { return Ok(None) };
        let before = record.state;
        record.state = before.after(news);
        let (now, charge) = (record.state, record.charge.clone());
        if now.is_final() && !before.is_final() {
            let taken = if let State::Confirmed(amount) = now { amount } else { Amount::ZERO };
            book.spending.settle(&charge, taken);
            book.closed.push_back(*id);
            if book.closed.len() > REMEMBERED
                && let Some(oldest) = book.closed.pop_front()
            {
                book.records.remove(&oldest);
            }
        }
        Ok(Some(before))
    }

    fn find(&self, id: &PaymentId) -> Result<Option<Record>, JournalError> {
        Ok(self.book().records.get(id).map(|(_, record)| record.clone()))
    }

    fn open(&self) -> Result<Vec<Record>, JournalError> {
        let book = self.book();
        let open = |(_, record): &&(u64, Record)| !record.state.is_final();
        let mut records: Vec<_> = book.records.values().filter(open).cloned().collect();
        records.sort_by_key(|(ticket, _)| *ticket);
        Ok(records.into_iter().map(|(_, record)| record).collect())
    }

    fn spending(&self) -> Result<Spending, JournalError> {
        Ok(self.book().spending.clone())
    }

    fn payees(&self, origin: &Origin, network: &Network) -> Result<Vec<String>, JournalError> {
        let known = self.book().payees.get(&(origin.clone(), network.clone())).cloned();
        Ok(known.into_iter().flatten().collect())
    }

    fn approve(&self, origin: &Origin, network: &Network, payee: &str) -> Result<(), JournalError> {
        let place = (origin.clone(), network.clone());
        self.book().payees.entry(place).or_default().insert(payee.to_owned());
        Ok(())
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
        let all = journal.spending()?.total(asset);
        let open = journal.open()?;
        let open = open.iter().filter(|record| record.charge.asset == *asset);
        let reserved = Amount(open.map(|record| record.charge.amount.0).sum::<u128>().min(all.0));
        Ok(Self { taken: Amount(all.0 - reserved.0), reserved })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    const LIMITS: Limits = Limits { per_request: None, per_host: None, total: Amount(100) };

    fn charge(amount: u128) -> Charge {
        Charge {
            asset: AssetId { network: "farthing:00".parse().unwrap(), asset: "XTS".into() },
            origin: "https://shop.example".parse().unwrap(),
            amount: Amount(amount),
        }
    }

    fn record(id: u8, amount: u128) -> Record {
        Record {
            payment: SignedPayment {
                id: PaymentId([id; 32]),
                payload: RawValue::from_string("{\"signature\":\"5ec4e7\"}".into()).unwrap(),
                extensions: Default::default(),
                max_amount: Amount(amount),
                valid_before: 300,
                capture_deadline: 900,
            },
            header: PaymentHeader::new("c2VjcmV0".into()),
            charge: charge(amount),
            payee: "seller".into(),
            method: "GET".into(),
            target: "/".into(),
            header_names: Vec::new(),
            body_hash: sha256(b""),
            digest: RequestDigest([0; 32]),
            receipt_key: None,
            signed_at: 0,
            state: State::Signed,
        }
    }

    fn spent(journal: &MemoryJournal) -> (u128, u128) {
        let spent = Spent::of(journal, &charge(0).asset).unwrap();
        (spent.taken.0, spent.reserved.0)
    }

    #[test]
    fn closed_payments_are_forgotten_but_what_they_cost_is_not() {
        let journal = MemoryJournal::new();
        let limits = Limits { total: Amount(u128::MAX), ..LIMITS };
        for n in 0..REMEMBERED + 10 {
            let mut record = record(0, 2);
            record.payment.id.0[..8].copy_from_slice(&(n as u64).to_be_bytes());
            let id = record.id();
            let ticket = journal.reserve(&charge(2), "seller", &limits).unwrap();
            journal.record(ticket, record).unwrap();
            journal.advance(&id, State::Confirmed(Amount(1))).unwrap();
        }
        assert_eq!(spent(&journal), (REMEMBERED as u128 + 10, 0));
        assert_eq!(journal.book().records.len(), REMEMBERED);
    }

    #[test]
    fn t44_a_record_shows_neither_header_nor_signature() {
        let shown = format!("{:?}", record(1, 60));
        assert!(!shown.contains("c2VjcmV0") && !shown.contains("5ec4e7"), "{shown}");
        assert!(shown.contains("shop.example"));
    }
}
