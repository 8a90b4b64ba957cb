//! Payments in doubt: holds whose server is silent, and how they end.
//!
//! A server that dies leaves holds behind. None of them needs anybody to end: at its capture deadline a hold is
//! over, by the ledger's clock, swept or not. [`Ledger::recover`] ends them earlier where that is certain to harm
//! nobody, and says of the others when they end. It can be called at any time, any number of times and by many at
//! once, beside servers at work: a hold whose lease runs is never touched.

use farthing_protocol::rail::PaymentId;
use farthing_protocol::rounds::rest;
use farthing_protocol::{Amount, PublicKey, SecretKey};
use serde::{Deserialize, Serialize};

use crate::command::Operate;
use crate::engine::{Ledger, LedgerError, Moment, Snapshot, StorageError};
use crate::identity::{AssetCode, LedgerId};
use crate::operation::{Action, Op};
use crate::rows::{Payment, Table, key};
use crate::statement::PaymentState;

/// Holds that are looked at before others get their turn.
const PAGE: usize = 256;
/// Voids under one signature.
const VOIDS: usize = 256;

/// A hold whose owner no longer answers for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InDoubt {
    /// The payment.
    #[serde(with = "text")]
    pub payment: PaymentId,
    /// Whose money is held.
    pub payer: PublicKey,
    /// Whom it was held for.
    pub payee: PublicKey,
    /// Who may capture and void it.
    pub receiver_authorizer: PublicKey,
    /// What is held.
    #[serde(with = "text")]
    pub asset: AssetCode,
    /// Atomic units that are still held.
    pub held: Amount,
    /// Grows with each takeover.
    pub epoch: u64,
    /// Unix seconds at which its owner's lease lapsed.
    pub lease_until: u64,
    /// Unix seconds after which the hold is over, whoever says what.
    pub capture_deadline: u64,
}

impl InDoubt {
    fn of(id: PaymentId, payment: &Payment) -> Self {
        Self {
            payment: id,
            payer: payment.terms.payer,
            payee: payment.terms.payee,
            receiver_authorizer: payment.terms.receiver_authorizer,
            asset: payment.terms.asset,
            held: payment.held(),
            epoch: payment.epoch,
            lease_until: payment.lease_until,
            capture_deadline: payment.terms.capture_deadline,
        }
    }

    /// The operation that ends it: valid while nobody has taken it over.
    pub fn void(&self) -> Op {
        void(self.payment, self.epoch)
    }
}

pub(crate) fn void(payment: PaymentId, epoch: u64) -> Op {
    Op { payment, action: Action::Void, cumulative: Amount::ZERO, last: false, epoch, answer: [0; 32] }
}

/// Every open hold at one moment, as far as it is in doubt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Doubts {
    /// Unix seconds by the ledger's clock.
    pub now: u64,
    /// Holds past their capture deadline. They end with whatever the ledger does next.
    pub overdue: Vec<InDoubt>,
    /// Holds whose owner's lease has lapsed.
    pub lapsed: Vec<InDoubt>,
    /// Holds whose owner's lease runs: not in doubt.
    pub leased: u64,
    /// Unix seconds at which the first of these leases lapses.
    pub next_lapse: Option<u64>,
    /// Unix seconds at which the last of them does.
    pub last_lapse: Option<u64>,
}

impl Doubts {
    /// Looks at every open hold, and at no other payment.
    ///
    /// # Errors
    /// [`StorageError`] when rows cannot be read.
    pub fn list(rows: &mut dyn Snapshot, now: u64) -> Result<Self, StorageError> {
        let mut doubts = Self { now, ..Self::default() };
        let mut from = Some(Vec::new());
        while let Some(key) = from {
            from = doubts.page(rows, &key)?;
        }
        Ok(doubts)
    }

    /// Looks at some holds from a key on, and says where to go on.
    fn page(&mut self, rows: &mut dyn Snapshot, from: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let due = rows.scan(Table::Due, from, PAGE)?;
        for (row, _) in &due {
            let id = key::due_of(row)?;
            let row = rows.get(Table::Payment, &id.0)?;
            let payment = row.map(|row| Payment::decode(&row)).transpose()?;
            let Some(payment) = payment.filter(|payment| payment.state == PaymentState::Held) else {
                return Err(StorageError::failed(format!("payment {id} is listed as held and is not")));
            };
            if self.now > payment.terms.capture_deadline {
                self.overdue.push(InDoubt::of(id, &payment));
            } else if self.now >= payment.lease_until {
                self.lapsed.push(InDoubt::of(id, &payment));
            } else {
                self.leased += 1;
                let until = payment.lease_until;
                self.next_lapse = Some(self.next_lapse.map_or(until, |next| next.min(until)));
                self.last_lapse = Some(self.last_lapse.map_or(until, |last| last.max(until)));
            }
        }
        let last = due.last().filter(|_| due.len() == PAGE);
        Ok(last.map(|(key, _)| [key.as_slice(), &[0]].concat()))
    }

    /// The holds that end without anybody's word, and those that wait for it.
    #[must_use]
    pub fn recovered(self) -> Recovered {
        Recovered {
            now: self.now,
            waiting: self.lapsed,
            leased: self.leased,
            next_lapse: self.next_lapse,
            last_lapse: self.last_lapse,
            ..Recovered::default()
        }
    }
}

/// What became of payments in doubt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovered {
    /// Unix seconds by the ledger's clock.
    pub now: u64,
    /// Past their capture deadline: the money is the payers' again.
    #[serde(with = "texts")]
    pub reclaimed: Vec<PaymentId>,
    /// Given back now, in the seller's name.
    #[serde(with = "texts")]
    pub voided: Vec<PaymentId>,
    /// Whose receiverAuthorizer is somebody else. Each ends at its capture deadline, unless its seller ends it or
    /// takes it over before.
    pub waiting: Vec<InDoubt>,
    /// Another server came first: it has the hold now, or has ended it.
    #[serde(with = "texts")]
    pub taken_over: Vec<PaymentId>,
    /// Holds whose owner's lease runs: not in doubt, and not touched.
    pub leased: u64,
    /// Unix seconds at which the first of these leases lapses.
    pub next_lapse: Option<u64>,
    /// Unix seconds at which the last of them does.
    pub last_lapse: Option<u64>,
}

impl Recovered {
    /// Voids of waiting holds whose receiverAuthorizer is `key`, each list under one signature. The holds wait no
    /// longer: what the ledger says to each list goes to [`heard`](Self::heard).
    pub fn take_voids(&mut self, ledger: &LedgerId, key: &SecretKey) -> Vec<Operate> {
        let authorizer = key.public();
        let ours = self.waiting.extract_if(.., |hold| hold.receiver_authorizer == authorizer);
        let ours: Vec<_> = ours.map(|hold| (hold.void(), None)).collect();
        let sign = |list: &[_]| Operate::sign(ledger, key, list.to_vec()).sparing_leases();
        ours.chunks(VOIDS).map(sign).collect()
    }

    /// Adds what the ledger said to a list of voids: which it gave back.
    pub fn heard(&mut self, voids: &[PaymentId], given_back: &[bool]) {
        for (id, given_back) in voids.iter().zip(given_back) {
            // Where it did not, another server came first: that is no error.
            if *given_back { self.voided.push(*id) } else { self.taken_over.push(*id) }
        }
    }
}

impl Ledger {
    /// Payments in doubt, and how many holds are not.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn in_doubt(&self) -> Result<Doubts, LedgerError> {
        Ok(self.doubts().await?.0)
    }

    /// Ends payments in doubt: those past their capture deadline are reclaimed, those whose receiverAuthorizer is
    /// `authorizer` are voided when their owner's lease has lapsed, the others wait for their deadline. To be
    /// called at start and at any other time; again it finds nothing more to do.
    ///
    /// # Errors
    /// [`LedgerError`]; what was ended before it stays ended.
    pub async fn recover(&self, authorizer: Option<&SecretKey>) -> Result<Recovered, LedgerError> {
        let (mut doubts, ended) = self.doubts().await?;
        let overdue = std::mem::take(&mut doubts.overdue);
        let mut recovered = Recovered { reclaimed: ended, ..doubts.recovered() };
        for hold in overdue {
            if self.reclaim(hold.payment).await? {
                recovered.reclaimed.push(hold.payment);
            }
        }
        let Some(key) = authorizer else { return Ok(recovered) };
        for voids in recovered.take_voids(&self.id(), key) {
            let ids = voids.payments();
            let results = self.operate(voids).await?;
            recovered.heard(&ids, &results.iter().map(Result::is_ok).collect::<Vec<_>>());
        }
        Ok(recovered)
    }

    /// Looks at every open hold, after the ledger has ended those past their deadline; also says which it ended.
    async fn doubts(&self) -> Result<(Doubts, Vec<PaymentId>), LedgerError> {
        let unreadable = |error: StorageError| LedgerError::Unavailable(error.to_string());
        let Moment { mut rows, now, ended } = self.moment().await?;
        let mut doubts = Doubts { now, ..Doubts::default() };
        let mut from = Some(Vec::new());
        while let Some(key) = from {
            from = doubts.page(rows.as_mut(), &key).map_err(unreadable)?;
            rest().await;
        }
        Ok((doubts, ended))
    }
}

/// Values that JSON carries as their text.
pub(crate) mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// Lists of such values.
mod texts {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(values: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let texts = Vec::<String>::deserialize(from)?;
        texts.iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
    }
}
