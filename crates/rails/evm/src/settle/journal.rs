//! What is written down about settlements, in [`Records`]: before anything is sent, and again at its end.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256};
use farthing_protocol::rail::{BoxFuture, PaymentId};
use farthing_protocol::records::{Record, Records, RecordsError, Replaced, SETTLEMENTS};
use farthing_protocol::{Amount, Network};
use serde::{Deserialize, Serialize};

use crate::pool::{Book, BookError, Draft};
use crate::verify::{Charge, Proof};
use crate::wire::text;

/// Seconds for which an entry is kept after its payment's window has ended.
const KEPT: u64 = 30 * 24 * 3600;
/// Entries that are read at once.
const PAGE: usize = 256;

/// One payment's settlement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) network: Network,
    pub(super) scheme: String,
    #[serde(with = "text::address")]
    pub(super) payer: Address,
    #[serde(with = "text::address")]
    pub(super) payee: Address,
    #[serde(with = "text::address")]
    pub(super) asset: Address,
    /// Atomic units.
    pub(super) amount: Amount,
    /// The authorization's own.
    pub(super) nonce: Nonce,
    /// Unix seconds.
    pub(super) valid_before: u64,
    /// The last block when it was first sent.
    pub(super) since_block: u64,
    pub(super) state: State,
}

/// Names an authorization on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Nonce {
    Eip3009(#[serde(with = "text::word")] B256),
    Permit2(#[serde(with = "text::decimal")] U256),
}

/// How far a settlement is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub(super) enum State {
    /// A transaction may be sent, and may land.
    Pending {
        /// The last transaction as it is broadcast.
        raw: Bytes,
        /// All transactions that were sent with its nonce; the last is that of `raw`.
        hashes: Vec<B256>,
    },
    /// The money moved.
    Settled {
        /// `None` when there was nothing to move.
        transaction: Option<B256>,
    },
    /// It did not, and nothing that was sent can make it.
    Failed {
        /// The x402 reason.
        reason: String,
        /// For people.
        message: String,
        /// What was sent and failed.
        transaction: Option<B256>,
        /// Nothing was moved, and the authorization is as it was: it may be tried again.
        again: bool,
    },
}

impl Entry {
    pub(super) fn new(charge: &Charge, network: &Network, since_block: u64, state: State) -> Self {
        let nonce = match charge.proof() {
            Proof::Eip3009 { nonce, .. } => Nonce::Eip3009(nonce),
            Proof::Permit2 { nonce, .. } => Nonce::Permit2(nonce),
        };
        Self {
            network: network.clone(),
            scheme: charge.scheme().to_owned(),
            payer: charge.payer(),
            payee: charge.payee(),
            asset: charge.token.token,
            amount: charge.amount,
            nonce,
            valid_before: charge.signed.authorization.valid_before(),
            since_block,
            state,
        }
    }

    pub(super) fn proof(&self) -> Proof {
        match self.nonce {
            Nonce::Eip3009(nonce) => Proof::Eip3009 { payer: self.payer, nonce },
            Nonce::Permit2(nonce) => Proof::Permit2 { payer: self.payer, nonce },
        }
    }

    /// The transaction that it ended with, or that was sent last.
    pub(super) fn transaction(&self) -> Option<B256> {
        match &self.state {
            State::Pending { hashes, .. } => hashes.last().copied(),
            State::Settled { transaction } | State::Failed { transaction, .. } => *transaction,
        }
    }
}

/// All entries of one network.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    records: Arc<dyn Records>,
    network: Network,
}

impl Journal {
    pub(super) fn new(records: Arc<dyn Records>, network: Network) -> Self {
        Self { records, network }
    }

    /// What is written about a payment.
    pub(super) async fn open(&self, id: PaymentId) -> Result<Page, RecordsError> {
        let found = self.records.get(&key(id)).await?;
        Page::read(self.clone(), id, found)
    }

    /// All settlements that are not at their end.
    pub(super) async fn pending(&self) -> Result<Vec<Page>, RecordsError> {
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let records = self.records.scan(&[SETTLEMENTS], after.as_deref(), PAGE).await?;
            after = records.last().map(|(key, _)| key.clone());
            let full = records.len() == PAGE;
            for (key, record) in records {
                // Another network's entries are none of ours, and may have another form.
                let Ok(entry) = serde_json::from_slice::<Entry>(&record.value) else { continue };
                let id = key.get(1..).and_then(|id| id.try_into().ok()).map(PaymentId);
                if let (Some(id), State::Pending { .. }, true) =
                    (id, &entry.state, entry.network == self.network)
                {
                    pages.push(Page {
                        journal: self.clone(),
                        id,
                        value: Some(record.value),
                        entry: Some(entry),
                    });
                }
            }
            if !full {
                return Ok(pages);
            }
        }
    }
}

/// One payment's place in the journal, with what this process believes to stand there.
#[derive(Clone, Debug)]
pub(super) struct Page {
    journal: Journal,
    pub(super) id: PaymentId,
    value: Option<Vec<u8>>,
    pub(super) entry: Option<Entry>,
}

impl Page {
    fn read(journal: Journal, id: PaymentId, record: Option<Record>) -> Result<Self, RecordsError> {
        let value = record.map(|record| record.value);
        let entry = match &value {
            None => None,
            Some(value) => Some(serde_json::from_slice(value).map_err(|_| {
                RecordsError::Unavailable("what is written about this payment cannot be read".into())
            })?),
        };
        Ok(Self { journal, id, value, entry })
    }

    /// Writes `entry`, unless somebody else has written meanwhile.
    pub(super) async fn write(&mut self, entry: Entry) -> Result<(), BookError> {
        let lost = |error: serde_json::Error| RecordsError::Unavailable(error.to_string());
        let value = serde_json::to_vec(&entry).map_err(lost)?;
        let record = Record { value: value.clone(), until: entry.valid_before.saturating_add(KEPT) };
        let replaced = self.journal.records.replace(&key(self.id), self.value.as_deref(), Some(record)).await;
        match replaced? {
            Replaced::Done => {}
            // What was written before an answer was lost.
            Replaced::Found(Some(found)) if found.value == value => {}
            Replaced::Found(_) => return Err(BookError::Taken),
        }
        (self.value, self.entry) = (Some(value), Some(entry));
        Ok(())
    }

    /// Writes the end of a settlement.
    pub(super) async fn end(&mut self, state: State) -> Result<(), BookError> {
        match self.entry.clone() {
            Some(entry) => self.write(Entry { state, ..entry }).await,
            None => Ok(()),
        }
    }
}

/// Writes the transactions of one settlement.
pub(super) struct Settling<'a> {
    pub(super) page: &'a mut Page,
    /// What is written with the first.
    pub(super) entry: Entry,
    /// The transactions share one nonce, so that one of them lands at most; otherwise the last alone was sent.
    pub(super) replacing: bool,
}

impl Book for Settling<'_> {
    fn write<'a>(&'a mut self, draft: &'a Draft) -> BoxFuture<'a, Result<(), BookError>> {
        Box::pin(async move {
            let mut hashes = match &self.entry.state {
                State::Pending { hashes, .. } if self.replacing => hashes.clone(),
                _ => Vec::new(),
            };
            hashes.push(draft.hash);
            self.entry.state = State::Pending { raw: draft.raw.clone(), hashes };
            self.page.write(self.entry.clone()).await
        })
    }
}

fn key(id: PaymentId) -> [u8; 33] {
    let mut key = [SETTLEMENTS; 33];
    key[1..].copy_from_slice(&id.0);
    key
}
