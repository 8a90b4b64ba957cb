//! The pure core: (command, rows, time) -> (writes, reply).
//!
//! It reads and writes rows through [`Rows`] and does nothing else: no clock, no storage, no lock. Each
//! command checks everything before it writes anything, so a refusal leaves no trace and never harms the
//! command beside it in a batch.

mod accounts;
mod authorize;
mod operate;

use farthing_protocol::rail::PaymentId;
use farthing_protocol::{Amount, PublicKey};

use crate::admin::NewAsset;
use crate::command::{Command, Refusal, Reply};
use crate::entry::{Event, Posting};
use crate::identity::{AssetCode, Book};
use crate::rows::{AccountKeys, Genesis, Payment};
use crate::statement::PaymentState;

/// Seconds by which clocks may differ: validAfter and validBefore are judged this generously.
pub const SKEW: u64 = 5;
/// The furthest that validBefore may lie ahead, so that replay keys are few.
pub const MAX_WINDOW: u64 = 3600;
/// The furthest that captureDeadline may lie ahead.
pub const MAX_HOLD: u64 = 30 * 86_400;
/// The furthest that refundDeadline may lie ahead, and how long payment records live.
pub const MAX_RECORD: u64 = 90 * 86_400;
/// Seconds after validBefore for which a stored answer is kept.
pub const ANSWER_KEPT: u64 = 600;
/// Seconds after its entry at which a replay key or an answer cannot matter any more: an authorization can
/// be presented for [`MAX_WINDOW`], and an answer is kept [`ANSWER_KEPT`] longer.
pub(crate) const REPLAY_KEPT: u64 = MAX_WINDOW + 2 * SKEW + ANSWER_KEPT;

pub(crate) use self::authorize::probe;

/// What the core knows besides rows.
#[derive(Clone, Debug)]
pub struct Context {
    /// What was fixed when the ledger was made.
    pub genesis: Genesis,
    /// Unix seconds; never less than in an earlier call.
    pub now: u64,
}

/// The rows as the core sees them: storage, with this batch's writes laid over it.
pub trait Rows {
    /// What storage says when it cannot read.
    type Error;

    /// An asset by its code.
    ///
    /// # Errors
    /// When storage cannot be read; so for all the methods below.
    fn asset(&mut self, code: &AssetCode) -> Result<Option<NewAsset>, Self::Error>;
    /// Registers an asset.
    fn put_asset(&mut self, asset: &NewAsset);
    /// The keys of an account; `None` while its opening key rules.
    ///
    /// # Errors
    /// See [`asset`](Self::asset).
    fn keys(&mut self, account: &PublicKey) -> Result<Option<AccountKeys>, Self::Error>;
    /// Replaces an account's keys.
    fn put_keys(&mut self, account: &PublicKey, keys: &AccountKeys);
    /// A balance, zero when there is none.
    ///
    /// # Errors
    /// See [`asset`](Self::asset).
    fn balance(&mut self, book: &Book, asset: &AssetCode) -> Result<i128, Self::Error>;
    /// Changes a balance. It need not have been read: credits are never judged.
    fn add_balance(&mut self, book: &Book, asset: &AssetCode, change: i128);
    /// A payment by its id.
    ///
    /// # Errors
    /// See [`asset`](Self::asset).
    fn payment(&mut self, id: &PaymentId) -> Result<Option<Payment>, Self::Error>;
    /// Writes a payment; an open hold is found again by its capture deadline.
    fn put_payment(&mut self, id: &PaymentId, payment: &Payment);
    /// The payment that used this nonce.
    ///
    /// # Errors
    /// See [`asset`](Self::asset).
    fn replay(&mut self, payer: &PublicKey, nonce: &[u8; 32]) -> Result<Option<PaymentId>, Self::Error>;
    /// Marks the nonce as used.
    fn put_replay(&mut self, payer: &PublicKey, nonce: &[u8; 32], id: &PaymentId);
    /// The answer stored with a capture.
    ///
    /// # Errors
    /// See [`asset`](Self::asset).
    fn answer(&mut self, id: &PaymentId) -> Result<Option<Vec<u8>>, Self::Error>;
    /// Stores an answer.
    fn put_answer(&mut self, id: &PaymentId, answer: &[u8]);
    /// What was deposited under this reference, as signed.
    ///
    /// # Errors
    /// See [`asset`](Self::asset).
    fn deposit(&mut self, reference: &[u8; 32]) -> Result<Option<Vec<u8>>, Self::Error>;
    /// Marks the reference as used.
    fn put_deposit(&mut self, reference: &[u8; 32], signed: &[u8]);
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// For the caller.
    pub reply: Reply,
    /// For history; `None` when nothing changed that history must know.
    pub entry: Option<(Event, Vec<Posting>)>,
}

impl Applied {
    fn unchanged(reply: Reply) -> Self {
        Self { reply, entry: None }
    }

    fn entry(reply: Reply, event: Event, postings: Vec<Posting>) -> Self {
        Self { reply, entry: Some((event, postings)) }
    }
}

/// A command's end: applied, or refused without a trace. The outer error is storage's.
pub type Judged<E> = Result<Result<Applied, Refusal>, E>;

/// Applies one command.
///
/// # Errors
/// Those of storage. A refusal is not an error of the core.
pub fn apply<R: Rows>(context: &Context, rows: &mut R, command: &Command) -> Judged<R::Error> {
    match command {
        Command::Asset(signed) => accounts::asset(context, rows, signed.get()),
        Command::Deposit(signed) => accounts::deposit(context, rows, signed.get()),
        Command::Keys(signed) => accounts::keys(context, rows, signed.get()),
        Command::Authorize(authorize) => authorize::authorize(context, rows, authorize.get()),
        Command::Charge(charge) => authorize::charge(context, rows, charge.get()),
        Command::Operate(operate) => operate::operate(context, rows, operate.get()),
        Command::Reclaim(payments) => operate::reclaim(context, rows, payments),
    }
}

/// Returns the refusal from a function whose outer error is storage's.
macro_rules! ensure {
    ($condition:expr, $refusal:expr) => {
        if !$condition {
            return Ok(Err($refusal));
        }
    };
}
pub(crate) use ensure;

/// Unwraps an inner result, returning its refusal.
macro_rules! accept {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}
pub(crate) use accept;

/// Writes postings to balances. They were checked before: here they can only overflow if a ledger holds
/// more than 2^127 units, which deposits refuse.
fn post<R: Rows>(rows: &mut R, postings: &[Posting]) {
    for posting in postings {
        rows.add_balance(&posting.book, &posting.asset, posting.amount);
    }
}

/// A transfer between two books.
fn transfer(from: Book, to: Book, asset: AssetCode, amount: i128) -> [Posting; 2] {
    [Posting { book: from, asset, amount: -amount }, Posting { book: to, asset, amount }]
}

/// What the operator keeps of a captured amount, at a rate in basis points.
pub(crate) fn fee(amount: Amount, bps: u16) -> Amount {
    let bps = u128::from(bps);
    Amount(amount.0 / 10_000 * bps + amount.0 % 10_000 * bps / 10_000)
}

/// Postings of a further capture: out of the hold, the fee first.
fn capture_postings(genesis: &Genesis, payment: &Payment, cumulative: Amount) -> Vec<Posting> {
    let fee_of = |amount: u128| fee(Amount(amount), payment.fee_bps).0;
    let delta = (cumulative.0 - payment.captured.0) as i128;
    let fee = (fee_of(cumulative.0) - fee_of(payment.captured.0)) as i128;
    let (asset, payee) = (payment.terms.asset, Book::Account(payment.terms.payee));
    let mut postings = Vec::with_capacity(4);
    if delta > fee {
        postings.extend(transfer(Book::Held, payee, asset, delta - fee));
    }
    if fee > 0 {
        postings.extend(transfer(Book::Held, Book::Account(genesis.fee_recipient), asset, fee));
    }
    postings
}

/// Postings that give the rest of a hold back.
fn release_postings(payment: &Payment) -> Vec<Posting> {
    let rest = payment.held().0 as i128;
    if rest == 0 {
        return Vec::new();
    }
    transfer(Book::Held, Book::Account(payment.terms.payer), payment.terms.asset, rest).to_vec()
}

/// What a payment is called when its hold ends without a further capture.
fn ended(payment: &Payment, otherwise: PaymentState) -> PaymentState {
    if payment.captured == Amount::ZERO { otherwise } else { PaymentState::Captured }
}

#[cfg(test)]
mod tests {
    use super::REPLAY_KEPT;

    /// The sum, written out: an hour of window, skew at both ends, ten minutes of answer.
    #[test]
    fn a_replay_key_is_kept_for_4210_seconds() {
        assert_eq!(REPLAY_KEPT, 4_210);
    }
}
