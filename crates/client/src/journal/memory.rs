//! A journal in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use farthing_protocol::rail::PaymentId;
use farthing_protocol::{Amount, Network, Origin};

use super::{Answered, Journal, JournalError, PricedPlace, Record, ReserveError, State, Ticket};
use crate::budget::{Charge, Limits, Spending};

/// How many closed payments a [`MemoryJournal`] remembers one by one; older ones live on in its sums.
pub const REMEMBERED: usize = 16_384;

/// A journal in memory: gone with its process, and with it the knowledge of payments that are still open.
#[derive(Debug, Default)]
pub struct MemoryJournal(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    spending: Spending,
    payees: HashMap<(Origin, Network), BTreeSet<String>>,
    trusted: BTreeSet<(String, Network, String)>,
    prices: HashMap<PricedPlace, Amount>,
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
    fn reserve(&self, charge: &Charge, limits: &Limits) -> Result<Ticket, ReserveError> {
        let mut book = self.book();
        let place = (charge.origin.clone(), charge.asset.network.clone());
        if let Some(known) = book.payees.get(&place).filter(|known| !known.contains(&charge.payee)) {
            return Err(ReserveError::PayeeChanged { known: known.iter().cloned().collect() });
        }
        book.spending.reserve(limits, charge)?;
        book.payees.entry(place).or_default().insert(charge.payee.clone());
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
        let place = PricedPlace::of(&record.charge, &record.method, &record.target);
        book.prices.insert(place, record.charge.amount);
        book.records.insert(record.id(), (ticket.0, record));
        Ok(())
    }

    fn answered(&self, id: &PaymentId, news: State, said: Answered) -> Result<Option<State>, JournalError> {
        let mut book = self.book();
        let Some((_, record)) = book.records.get_mut(id) else { return Ok(None) };
        record.keep(said);
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

    fn accepted_price(&self, place: &PricedPlace) -> Result<Option<Amount>, JournalError> {
        Ok(self.book().prices.get(place).copied())
    }

    fn is_trusted(&self, origin: &Origin, network: &Network, payee: &str) -> Result<bool, JournalError> {
        let place = (origin.to_string(), network.clone(), payee.to_owned());
        Ok(self.book().trusted.contains(&place))
    }

    fn trust(&self, origin: &Origin, network: &Network, payee: &str) -> Result<(), JournalError> {
        self.book().trusted.insert((origin.to_string(), network.clone(), payee.to_owned()));
        Ok(())
    }

    fn approve(&self, origin: &Origin, network: &Network, payee: &str) -> Result<(), JournalError> {
        let place = (origin.clone(), network.clone());
        self.book().payees.entry(place).or_default().insert(payee.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PaymentHeader;
    use crate::budget::AssetId;
    use crate::journal::Spent;
    use farthing_protocol::RequestDigest;
    use farthing_protocol::digest::sha256;
    use farthing_protocol::rail::SignedPayment;
    use serde_json::value::RawValue;

    const LIMITS: Limits = Limits::of(Amount(100));

    fn charge(amount: u128) -> Charge {
        Charge {
            asset: AssetId { network: "farthing:00".parse().unwrap(), asset: "XTS".into() },
            origin: "https://shop.example".parse().unwrap(),
            amount: Amount(amount),
            payee: "seller".into(),
            agent: None,
            task: None,
            at: 0,
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
            status: None,
            settled: None,
            receipt: None,
            receipt_jws: None,
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
            let ticket = journal.reserve(&charge(2), &limits).unwrap();
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
