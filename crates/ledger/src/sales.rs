//! Payments as their seller sees them: what was taken, given back and is still held, and refunds.
//!
//! A ledger keeps payments for 90 days after they were made. Each is listed with the state that it has by the
//! ledger's clock: a hold past its capture deadline is over, swept or not.

use std::collections::BTreeMap;
use std::io::{self, Write};

use farthing_protocol::rail::PaymentId;
use farthing_protocol::{Amount, PublicKey, SecretKey, Signature};
use serde::{Deserialize, Serialize};

use crate::command::{Operate, Refusal};
use crate::engine::{Ledger, LedgerError, Snapshot, StorageError};
use crate::identity::{AssetCode, LedgerId};
use crate::operation::{Action, Op};
use crate::recovery::text;
use crate::rows::{Genesis, Payment, Table, decode_asset, key};
use crate::statement::PaymentState;
use crate::terms::Scheme;

/// Payments that are read at once.
const PAGE: usize = 512;
/// Assets that a ledger has at most here; others are listed without their decimal places.
const ASSETS: usize = 4096;

/// What a list of payments is of: its first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Books {
    /// The ledger's network.
    pub network: String,
    /// Unix seconds by the ledger's clock.
    pub now: u64,
    /// Decimal places by asset.
    pub assets: BTreeMap<String, u8>,
}

/// One payment, as its seller sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sale {
    /// The payment.
    #[serde(with = "text")]
    pub payment: PaymentId,
    /// Who pays.
    pub payer: PublicKey,
    /// Who is paid.
    pub payee: PublicKey,
    /// Who may capture, void and refund it.
    pub receiver_authorizer: PublicKey,
    /// `auth-capture`, `exact` or `upto`.
    pub scheme: String,
    /// What is paid with.
    #[serde(with = "text")]
    pub asset: AssetCode,
    /// Where it stands.
    pub state: PaymentState,
    /// Atomic units: the most that could be taken.
    pub maximum: Amount,
    /// Atomic units that are still held.
    pub held: Amount,
    /// Atomic units taken so far.
    pub captured: Amount,
    /// Atomic units of these that the ledger's operator kept.
    pub fee: Amount,
    /// Atomic units given back after they were taken.
    pub refunded: Amount,
    /// Unix seconds: when its hold ended, and while it lasts, when it began or was last changed.
    pub at: u64,
    /// Unix seconds after which its hold is over.
    pub capture_deadline: u64,
    /// Unix seconds after which nothing can be given back; 0 when nothing ever could.
    pub refund_deadline: u64,
}

/// One payment, and what it takes to read it and to refund it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// Whose it is.
    pub books: Books,
    /// `None` when the ledger does not know it, or no longer.
    pub sale: Option<Sale>,
}

impl Sale {
    /// A payment as it stands at `now`.
    pub fn of(id: PaymentId, payment: &Payment, now: u64) -> Self {
        let terms = &payment.terms;
        let over = payment.state == PaymentState::Held && now > terms.capture_deadline;
        let (state, held, at) = match (over, payment.ended_at) {
            (true, _) if payment.captured == Amount::ZERO => {
                (PaymentState::Reclaimed, Amount::ZERO, terms.capture_deadline)
            }
            (true, _) => (PaymentState::Captured, Amount::ZERO, terms.capture_deadline),
            (false, 0) => (payment.state, payment.held(), payment.changed_at),
            (false, ended) => (payment.state, Amount::ZERO, ended),
        };
        Self {
            payment: id,
            payer: terms.payer,
            payee: terms.payee,
            receiver_authorizer: terms.receiver_authorizer,
            scheme: terms.scheme.name().to_owned(),
            asset: terms.asset,
            state,
            maximum: terms.max_amount,
            held,
            captured: payment.captured,
            fee: crate::core::fee(payment.captured, payment.fee_bps),
            refunded: payment.refunded,
            at,
            capture_deadline: terms.capture_deadline,
            refund_deadline: terms.refund_deadline,
        }
    }

    /// What is left with the seller, in atomic units.
    #[must_use]
    pub fn net(&self) -> i128 {
        let signed = |amount: Amount| i128::try_from(amount.0).unwrap_or(i128::MAX);
        signed(self.captured).saturating_sub(signed(self.fee)).saturating_sub(signed(self.refunded))
    }

    /// Whether `total`, in atomic units, can be what was given back of it in all; `Ok(false)` when it already is.
    ///
    /// # Errors
    /// [`NotRefundable`] says why not.
    pub fn may_refund(&self, total: Amount, now: u64) -> Result<bool, NotRefundable> {
        if total == self.refunded && self.captured != Amount::ZERO {
            return Ok(false);
        }
        if self.scheme != Scheme::AuthCapture.name() {
            return Err(NotRefundable::Scheme(self.scheme.clone()));
        }
        if self.captured == Amount::ZERO {
            return Err(NotRefundable::NothingTaken(self.state));
        }
        if total > self.captured {
            return Err(NotRefundable::AboveCaptured);
        }
        if total < self.refunded {
            return Err(NotRefundable::Decreased);
        }
        match self.refund_deadline {
            0 => Err(NotRefundable::Never),
            deadline if now > deadline => Err(NotRefundable::TooLate(deadline)),
            _ => Ok(true),
        }
    }
}

/// Why a payment cannot be refunded like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRefundable {
    /// Its scheme has no refunds.
    #[error("a payment of scheme {0} cannot be refunded on the ledger: only auth-capture can")]
    Scheme(String),
    /// There is nothing to give back.
    #[error("nothing was captured of this payment, which is {}: there is nothing to give back", .0.name())]
    NothingTaken(PaymentState),
    /// More than was taken.
    #[error("never more is given back than was captured")]
    AboveCaptured,
    /// Less than was given back before.
    #[error("more than that was given back already, and a refund cannot be taken back")]
    Decreased,
    /// Its payer signed for no refunds.
    #[error("the payment was signed without a refundDeadline: nothing of it can be given back on the ledger")]
    Never,
    /// Its refundDeadline, in Unix seconds, has passed.
    #[error("its refundDeadline has passed")]
    TooLate(u64),
}

/// A refund as a receiverAuthorizer signed it; its key stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refund {
    #[serde(with = "text")]
    payment: PaymentId,
    /// Atomic units, cumulative over the payment.
    total: Amount,
    signer: PublicKey,
    signature: Signature,
}

impl Refund {
    /// Signs for giving back `total` atomic units of a payment in all: the same again changes nothing.
    pub fn sign(ledger: &LedgerId, payment: PaymentId, total: Amount, authorizer: &SecretKey) -> Self {
        let operate = Operate::sign(ledger, authorizer, vec![(operation(payment, total), None)]);
        Self { payment, total, signer: operate.signer, signature: operate.signature }
    }

    /// As a command.
    pub fn operate(&self) -> Operate {
        Operate::new(vec![(operation(self.payment, self.total), None)], self.signer, self.signature)
    }
}

fn operation(payment: PaymentId, total: Amount) -> Op {
    Op { payment, action: Action::Refund, cumulative: total, last: false, epoch: 0, answer: [0; 32] }
}

/// What became of a refund.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Refunded {
    /// The payment as it is now.
    Done(Box<Sale>),
    /// The ledger refused.
    Refused {
        /// The x402 reason.
        reason: String,
        /// For people.
        message: String,
    },
}

impl Ledger {
    /// A payment as its seller sees it.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn sale(&self, payment: PaymentId) -> Result<Found, LedgerError> {
        let (found, now) = self.payment(payment).await?;
        let assets = self.terms().await?.assets.into_iter().map(|asset| (asset.code, asset.scale)).collect();
        let books = Books { network: self.network().to_string(), now, assets };
        Ok(Found { books, sale: found.map(|found| Sale::of(payment, &found, now)) })
    }

    /// Gives back, as it was signed for.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`] and [`LedgerError::Unavailable`]; a refusal is not an error.
    pub async fn refund(&self, refund: &Refund) -> Result<Refunded, LedgerError> {
        let refused = |refusal: &Refusal| Refunded::Refused {
            reason: refusal.reason().to_owned(),
            message: refusal.to_string(),
        };
        let payment = match self.operate(refund.operate()).await {
            Ok(mut results) => results.pop().unwrap_or(Err(Refusal::NoSuchPayment)),
            Err(LedgerError::Refused(refusal)) => Err(refusal),
            Err(error) => return Err(error),
        };
        Ok(match payment {
            Ok(payment) => Refunded::Done(Box::new(Sale::of(refund.payment, &payment, payment.changed_at))),
            Err(refusal) => refused(&refusal),
        })
    }
}

/// A list that was not finished.
#[derive(Debug, thiserror::Error)]
pub enum SalesError {
    /// The ledger's rows cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes [`Books`] and then every [`Sale`], in the order of their ids, each as one line of JSON. Returns the
/// number of payments.
///
/// # Errors
/// [`SalesError`].
pub fn write(rows: &mut dyn Snapshot, now: u64, out: &mut dyn Write) -> Result<u64, SalesError> {
    line(out, &books(rows, now)?)?;
    let mut payments = 0;
    let mut from = Vec::new();
    loop {
        let page = rows.scan(Table::Payment, &from, PAGE)?;
        for (id, row) in &page {
            let payment = Payment::decode(row).map_err(StorageError::from)?;
            let id = <[u8; 32]>::try_from(id.as_slice());
            let id = PaymentId(id.map_err(|_| StorageError::failed("a payment has no id"))?);
            line(out, &Sale::of(id, &payment, now))?;
            payments += 1;
        }
        match page.last().filter(|_| page.len() == PAGE) {
            Some((last, _)) => from = key::after(last),
            None => break,
        }
    }
    out.flush()?;
    Ok(payments)
}

/// What the payments in these rows are of.
///
/// # Errors
/// [`StorageError`] when rows cannot be read.
pub fn books(rows: &mut dyn Snapshot, now: u64) -> Result<Books, StorageError> {
    let genesis = rows.get(Table::Meta, b"genesis")?;
    let genesis = genesis.ok_or_else(|| StorageError::failed("there is no ledger"))?;
    let network = Genesis::read(&genesis)?.id().network().to_string();
    let mut assets = BTreeMap::new();
    for (code, row) in rows.scan(Table::Asset, &[], ASSETS)? {
        let code: Option<AssetCode> = std::str::from_utf8(&code).ok().and_then(|code| code.parse().ok());
        let code = code.ok_or_else(|| StorageError::failed("an asset has no code"))?;
        assets.insert(code.to_string(), decode_asset(&code, &row)?.scale);
    }
    Ok(Books { network, now, assets })
}

fn line(out: &mut dyn Write, value: &impl Serialize) -> Result<(), SalesError> {
    serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}
