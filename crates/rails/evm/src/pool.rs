//! The facilitator's signers: who sends, with which nonce, at what fee.
//!
//! A signer sends one transaction after the other: whoever holds its line takes the next nonce, signs, has the
//! transaction written down, and broadcasts it. So a nonce is used up only by what was given to the chain, and
//! nothing is given to the chain that is not written down. Different signers send at the same time.

mod draft;
mod fees;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use alloy_primitives::{Address, Bytes, U256};
use farthing_protocol::rail::BoxFuture;
use farthing_protocol::records::RecordsError;
use thiserror::Error;
use tokio::sync::{Mutex, MutexGuard};

pub(crate) use self::draft::Draft;
use self::fees::Fees;
pub(crate) use self::fees::{Caps, Fee};
use crate::EvmKey;
use crate::chain::At;
use crate::rpc::{Rpc, RpcError};

/// How often one transaction is drafted anew before it is given up.
const ATTEMPTS: usize = 4;
/// How long a signer that cannot pay for gas is left alone.
const REST: Duration = Duration::from_secs(30);
/// After how long without a transaction a signer's nonce is asked for again.
const IDLE: Duration = Duration::from_secs(30);
/// Gas of a transaction that does nothing; more than 21000 on chains that count data.
const NOTHING: u64 = 100_000;

/// All signers of one chain.
#[derive(Debug)]
pub(crate) struct Pool {
    chain_id: u64,
    rpc: Rpc,
    fees: Fees,
    signers: Vec<Signer>,
    turn: AtomicUsize,
    since: Instant,
}

/// One of the facilitator's keys.
#[derive(Debug)]
struct Signer {
    key: EvmKey,
    line: Mutex<Line>,
    /// Transactions that wait for the line, or are sent and not mined.
    load: AtomicUsize,
    /// Milliseconds after the pool's beginning.
    rests_until: AtomicU64,
}

/// A signer's transactions.
#[derive(Debug, Default)]
struct Line {
    next: Option<u64>,
    /// Nonces that were sent and are not mined, as far as is known.
    open: BTreeSet<u64>,
    used: Option<Instant>,
}

/// What is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Errand {
    /// The one signer that may send it.
    pub(crate) only: Option<Address>,
    pub(crate) to: Address,
    pub(crate) value: U256,
    pub(crate) data: Bytes,
    pub(crate) gas: u64,
}

/// Writes a transaction down before it is broadcast.
pub(crate) trait Book: Send {
    /// Durable when it returns. A later draft takes the place of an earlier one.
    fn write<'a>(&'a mut self, draft: &'a Draft) -> BoxFuture<'a, Result<(), BookError>>;
}

/// Why a transaction was not written down.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum BookError {
    #[error("another process settles this payment")]
    Taken,
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// What needs no record.
pub(crate) struct NoBook;

impl Book for NoBook {
    fn write<'a>(&'a mut self, _: &'a Draft) -> BoxFuture<'a, Result<(), BookError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Why nothing was broadcast.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum SendError {
    #[error("no signer can pay for gas")]
    Unfunded,
    #[error("fees are above what is allowed here: {0}")]
    TooDear(String),
    #[error(transparent)]
    Book(#[from] BookError),
    #[error(transparent)]
    Chain(#[from] RpcError),
    #[error("the signer cannot sign")]
    Key,
}

/// How one attempt ended.
enum Attempt {
    Again(SendError),
    Stop(SendError),
}

impl From<SendError> for Attempt {
    fn from(error: SendError) -> Self {
        Self::Stop(error)
    }
}

impl From<RpcError> for Attempt {
    fn from(error: RpcError) -> Self {
        Self::Stop(error.into())
    }
}

impl From<BookError> for Attempt {
    fn from(error: BookError) -> Self {
        Self::Stop(error.into())
    }
}

impl Pool {
    pub(crate) fn new(chain_id: u64, rpc: Rpc, caps: Caps, keys: Vec<EvmKey>) -> Self {
        let signer = |key| Signer {
            key,
            line: Mutex::default(),
            load: AtomicUsize::new(0),
            rests_until: AtomicU64::new(0),
        };
        let signers = keys.into_iter().map(signer).collect();
        let fees = Fees::new(rpc.clone(), caps);
        Self { chain_id, rpc, fees, signers, turn: AtomicUsize::new(0), since: Instant::now() }
    }

    /// The addresses of all signers.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Address> + '_ {
        self.signers.iter().map(|signer| signer.key.account())
    }

    /// Asks for the fees of the next transactions, before they are needed.
    pub(crate) async fn look_up_fees(&self) {
        // Whoever needs them asks again, and says why there are none.
        let _ = self.fees.quote().await;
    }

    /// Sends `errand` once, written into `book` before. When it returns a draft, the chain may have it.
    ///
    /// # Errors
    /// When it was not broadcast, and will not be.
    pub(crate) async fn send(&self, errand: &Errand, book: &mut dyn Book) -> Result<Draft, SendError> {
        let mut why = SendError::Unfunded;
        for _ in 0..ATTEMPTS {
            let Some(signer) = self.choose(errand.only) else { break };
            let load = Load::add(signer);
            let mut line = signer.line.lock().await;
            match self.send_in_line(signer, &mut line, errand, book).await {
                Ok(draft) => {
                    load.stay();
                    return Ok(draft);
                }
                Err(Attempt::Again(error)) => why = error,
                Err(Attempt::Stop(error)) => return Err(error),
            }
        }
        Err(why)
    }

    async fn send_in_line(
        &self,
        signer: &Signer,
        line: &mut MutexGuard<'_, Line>,
        errand: &Errand,
        book: &mut dyn Book,
    ) -> Result<Draft, Attempt> {
        let nonce = self.next_nonce(signer, line).await?;
        let fee = self.fees.quote().await?;
        let draft = Draft::sign(&signer.key, self.chain_id, nonce, fee, errand).ok_or(SendError::Key)?;
        book.write(&draft).await?;
        match self.rpc.send_raw(&draft.raw).await {
            // Without an answer, it may have arrived.
            Ok(()) | Err(RpcError::Unreachable(_)) => {}
            Err(error) if error.is_nonce_used() => {
                line.next = None;
                // It may have arrived through an endpoint that did not answer, and be mined.
                if matches!(self.rpc.receipt(draft.hash).await, Ok(None)) {
                    return Err(Attempt::Again(error.into()));
                }
            }
            Err(error) if error.is_unfunded() => {
                tracing::warn!(signer = %signer.key.address(), "a signer cannot pay for gas");
                signer.rests_until.store(self.millis() + millis(REST), Ordering::Relaxed);
                return Err(Attempt::Again(SendError::Unfunded));
            }
            Err(error) if error.is_underpriced() => {
                line.next = None;
                self.fees.forget();
                return Err(Attempt::Again(error.into()));
            }
            Err(error) => return Err(Attempt::Stop(error.into())),
        }
        line.next = Some(nonce + 1);
        line.open.insert(nonce);
        line.used = Some(Instant::now());
        Ok(draft)
    }

    async fn next_nonce(&self, signer: &Signer, line: &mut Line) -> Result<u64, RpcError> {
        let idle = line.open.is_empty() && line.used.is_none_or(|used| used.elapsed() > IDLE);
        match line.next {
            Some(next) if !idle => Ok(next),
            _ => {
                let next = self.rpc.transaction_count(signer.key.account(), At::Pending).await?;
                let open = line.open.last().map_or(0, |last| last + 1);
                Ok(*line.next.insert(next.max(open)))
            }
        }
    }

    /// The signer with the least to do, of those that may send.
    fn choose(&self, only: Option<Address>) -> Option<&Signer> {
        let now = self.millis();
        let awake = |signer: &&Signer| signer.rests_until.load(Ordering::Relaxed) <= now;
        let count = self.signers.len();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        (0..count)
            .filter_map(|step| self.signers.get((turn.wrapping_add(step)) % count))
            .filter(|signer| only.is_none_or(|only| signer.key.account() == only))
            .filter(awake)
            .min_by_key(|signer| signer.load.load(Ordering::Relaxed))
    }

    /// Takes note of a transaction that was sent before this process began.
    pub(crate) async fn adopt(&self, draft: &Draft) {
        if let Some(signer) = self.signer(draft.signer) {
            signer.load.fetch_add(1, Ordering::Relaxed);
            signer.line.lock().await.open.insert(draft.nonce);
        }
    }

    /// Takes note that a transaction's nonce is used up.
    pub(crate) async fn done(&self, draft: &Draft) {
        if let Some(signer) = self.signer(draft.signer)
            && signer.line.lock().await.open.remove(&draft.nonce)
        {
            let _ =
                signer.load.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |load| load.checked_sub(1));
        }
    }

    /// Sends a transaction again, and for a higher fee if it has `waited` for too long; the draft that took its
    /// place, if one did. Fills a gap that keeps it from being mined.
    pub(crate) async fn push(
        &self,
        draft: &Draft,
        dearer: bool,
        book: &mut dyn Book,
    ) -> Result<Option<Draft>, SendError> {
        let _ = self.rpc.send_raw(&draft.raw).await;
        let Some(signer) = self.signer(draft.signer) else { return Ok(None) };
        let count = self.rpc.transaction_count(draft.signer, At::Latest).await?;
        if count < draft.nonce {
            self.fill_gap(signer, count).await?;
            return Ok(None);
        }
        if !dearer || count > draft.nonce {
            return Ok(None);
        }
        let Some(fee) = self.fees.dearer(draft.fee).await? else { return Ok(None) };
        let again = Draft::sign(&signer.key, self.chain_id, draft.nonce, fee, &draft.errand())
            .ok_or(SendError::Key)?;
        book.write(&again).await?;
        tracing::info!(transaction = %again.hash, replaces = %draft.hash, "a stuck transaction pays more");
        let _ = self.rpc.send_raw(&again.raw).await;
        Ok(Some(again))
    }

    /// Uses up a nonce that nobody here has sent, and that those after it wait for.
    async fn fill_gap(&self, signer: &Signer, nonce: u64) -> Result<(), SendError> {
        let line = signer.line.lock().await;
        let account = signer.key.account();
        let pending = self.rpc.transaction_count(account, At::Pending).await?;
        if line.open.contains(&nonce) || pending != nonce {
            return Ok(());
        }
        let nothing =
            Errand { only: Some(account), to: account, value: U256::ZERO, data: Bytes::new(), gas: NOTHING };
        let fee = self.fees.quote().await?;
        let filler = Draft::sign(&signer.key, self.chain_id, nonce, fee, &nothing).ok_or(SendError::Key)?;
        tracing::warn!(signer = %account, nonce, "a gap in a signer's nonces is filled");
        Ok(self.rpc.send_raw(&filler.raw).await?)
    }

    fn signer(&self, address: Address) -> Option<&Signer> {
        self.signers.iter().find(|signer| signer.key.account() == address)
    }

    fn millis(&self) -> u64 {
        millis(self.since.elapsed())
    }
}

/// One more for a signer to do, until it is sent or given up.
struct Load<'a>(Option<&'a Signer>);

impl<'a> Load<'a> {
    fn add(signer: &'a Signer) -> Self {
        signer.load.fetch_add(1, Ordering::Relaxed);
        Self(Some(signer))
    }

    /// Until it is mined.
    fn stay(mut self) {
        self.0 = None;
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        if let Some(signer) = self.0 {
            let _ =
                signer.load.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |load| load.checked_sub(1));
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
