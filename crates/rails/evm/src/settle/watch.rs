//! From a sent transaction to its end: mined, replaced, overtaken by another, or too late.

use std::time::{Duration, Instant};

use alloy_primitives::{B256, U256};
use alloy_sol_types::SolEvent;
use farthing_protocol::rounds::Rounds;

use super::Desk;
use super::journal::{Entry, Nonce, Page, Settling, State};
use crate::chain::{At, Receipt, ask_receipt, read_receipt, transfer_topics};
use crate::contracts::Token;
use crate::pool::{Draft, NoBook};
use crate::rpc::{Rpc, RpcError, bytes};
use crate::verify::is_used;
use crate::wire::{UPTO, reasons, uint};

/// The longest pause between two looks for a receipt, at first.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause once a transaction is waited for since long.
const LONG_PAUSE: Duration = Duration::from_secs(5);
/// After this, it is waited for since long.
const LONG: Duration = Duration::from_secs(120);
/// When it is first asked whether the transaction can still land; the pauses after it grow.
const REVIEW: Duration = Duration::from_secs(2);
/// The longest pause between two such questions.
const REVIEW_MOST: Duration = Duration::from_secs(10);
/// Receipts that are asked for in one request.
const TOGETHER: usize = 64;

/// Receipts that several settlements wait for, asked for together.
#[derive(Debug)]
pub(super) struct Receipts {
    rpc: Rpc,
    rounds: Rounds<B256, Result<Option<Receipt>, RpcError>>,
}

impl Receipts {
    pub(super) fn new(rpc: Rpc) -> Self {
        Self { rpc, rounds: Rounds::new(TOGETHER) }
    }

    pub(super) async fn of(&self, transaction: B256) -> Result<Option<Receipt>, RpcError> {
        let ask = async |hashes: Vec<B256>| {
            let replies = self.rpc.ask_all(hashes.into_iter().map(ask_receipt).collect()).await;
            replies.into_iter().map(|reply| read_receipt(reply?.as_ref())).collect()
        };
        let lost = || Err(RpcError::Unreachable("the look for a receipt was broken off".into()));
        self.rounds.join(transaction, 1, ask).await.unwrap_or_else(lost)
    }

    async fn of_any(&self, transactions: &[B256]) -> Result<Option<Receipt>, RpcError> {
        for transaction in transactions.iter().rev() {
            if let Some(receipt) = self.of(*transaction).await? {
                return Ok(Some(receipt));
            }
        }
        Ok(None)
    }
}

impl Desk {
    /// Waits for the end of what `page` says is pending, and writes it down.
    pub(super) async fn watch(&self, page: &mut Page) -> State {
        let begun = Instant::now();
        let (mut pause, mut reviewed, mut sent) = (self.limits.poll, begun, begun);
        let mut every = REVIEW.min(self.limits.stuck_after);
        loop {
            let Some(Entry { state: State::Pending { raw, hashes }, .. }) = page.entry.clone() else {
                return page
                    .entry
                    .clone()
                    .map_or_else(|| failed(reasons::EXACT_TRANSACTION_FAILED, "", None), |e| e.state);
            };
            let Some(draft) = Draft::read(&raw) else {
                return failed(
                    reasons::EXACT_TRANSACTION_FAILED,
                    "what was written down cannot be read",
                    None,
                );
            };
            let mut end = match self.receipts.of_any(&hashes).await {
                Ok(Some(receipt)) => self.judge(page, &receipt).await,
                Ok(None) | Err(_) => None,
            };
            let review = end.is_none() && reviewed.elapsed() >= every;
            if review {
                (reviewed, every) =
                    (Instant::now(), (every * 2).min(REVIEW_MOST.min(self.limits.stuck_after)));
                end = self.review(page, &draft, &hashes).await;
            }
            if let Some((state, nonce_is_used)) = end {
                self.finish(page, &state, draft, nonce_is_used).await;
                return state;
            }
            if review && self.push(page, &draft, sent.elapsed()).await {
                sent = Instant::now();
            }
            tokio::time::sleep(pause).await;
            let longest = if begun.elapsed() > LONG { LONG_PAUSE } else { PAUSE };
            pause = (pause * 3 / 2).min(longest);
        }
    }

    async fn push(&self, page: &mut Page, draft: &Draft, waited: Duration) -> bool {
        let Some(entry) = page.entry.clone() else { return false };
        let mut book = Settling { page, entry, replacing: true };
        let pushed = self.pool.push(draft, waited >= self.limits.stuck_after, &mut book).await;
        if let Err(error) = &pushed {
            tracing::debug!(%error, transaction = %draft.hash, "a transaction cannot be pushed");
        }
        matches!(pushed, Ok(Some(_)))
    }

    async fn finish(&self, page: &mut Page, state: &State, draft: Draft, nonce_is_used: bool) {
        if let Err(error) = page.end(state.clone()).await {
            // What is written says pending: it will be found again, with the same end.
            tracing::warn!(%error, payment = %page.id, "the end of a settlement is not written down");
        }
        if nonce_is_used {
            self.pool.done(&draft).await;
        } else {
            let desk = self.clone();
            tokio::spawn(async move { desk.see_off(draft).await });
        }
    }

    /// What a mined transaction came to.
    async fn judge(&self, page: &Page, receipt: &Receipt) -> Option<(State, bool)> {
        let entry = page.entry.as_ref()?;
        let transaction = Some(receipt.transaction);
        if receipt.moved(entry.asset, entry.payer, entry.payee, uint(entry.amount)) {
            return Some((State::Settled { transaction }, true));
        }
        if receipt.succeeded {
            let message = "the transaction did not move the token as it should have";
            return Some((failed_for_good(reasons::TRANSFER_EVENT_MISMATCH, message, transaction), true));
        }
        match is_used(&self.rpc, entry.proof(), entry.asset, At::Block(receipt.block)).await {
            Ok(Some(true)) => self.overtaken(entry).await.map(|state| (state, true)),
            Ok(_) => {
                Some((failed(transaction_failed(entry), "the transaction was reverted", transaction), true))
            }
            Err(_) => None,
        }
    }

    /// Whether a transaction that is not mined can still land.
    async fn review(&self, page: &Page, draft: &Draft, hashes: &[B256]) -> Option<(State, bool)> {
        let entry = page.entry.as_ref()?;
        // All as of one block: nodes behind it do not answer.
        let block = self.rpc.last_block().await.ok()?;
        let at = At::Block(block.number);
        let count = self.rpc.transaction_count(draft.signer, at).await.ok()?;
        let used = is_used(&self.rpc, entry.proof(), entry.asset, at).await.ok()?;
        let gone = count > draft.nonce;
        if gone && self.receipts.of_any(hashes).await.ok()?.is_some() {
            return None;
        }
        if used == Some(true) {
            return self.overtaken(entry).await.map(|state| (state, gone));
        }
        let too_late = match entry.nonce {
            Nonce::Eip3009(_) => block.timestamp >= entry.valid_before,
            Nonce::Permit2(_) => block.timestamp > entry.valid_before,
        };
        if too_late {
            let reason = match entry.nonce {
                Nonce::Eip3009(_) => reasons::EXACT_VALID_BEFORE,
                Nonce::Permit2(_) => reasons::PERMIT2_DEADLINE,
            };
            return Some((failed(reason, "the payment expired before it was settled", None), gone));
        }
        // Another transaction took its nonce: it can never land.
        gone.then(|| {
            let message = "another transaction took the nonce of the settlement";
            (failed(transaction_failed(entry), message, draft.hash.into()), true)
        })
    }

    /// Somebody else's transaction used the authorization: it moved the money, or cancelled it.
    async fn overtaken(&self, entry: &Entry) -> Option<State> {
        let (asset, since) = (entry.asset, entry.since_block);
        let logs = match entry.nonce {
            Nonce::Eip3009(nonce) => {
                let topics = [Token::AuthorizationUsed::SIGNATURE_HASH, entry.payer.into_word(), nonce];
                self.rpc.logs(asset, since, &topics.map(Some)).await.ok()?
            }
            Nonce::Permit2(_) => {
                let topics = transfer_topics(entry.payer, entry.payee).map(Some);
                self.rpc.logs(asset, since, &topics).await.ok()?
            }
        };
        for log in logs {
            let receipt = self.receipts.of(log.transaction).await.ok()??;
            let moved = receipt.moved(asset, entry.payer, entry.payee, uint(entry.amount));
            let meant = match entry.nonce {
                Nonce::Eip3009(_) => true,
                Nonce::Permit2(nonce) => self.names(log.transaction, nonce).await.ok()?,
            };
            if moved && meant {
                return Some(State::Settled { transaction: Some(log.transaction) });
            }
        }
        let reason = match entry.nonce {
            Nonce::Eip3009(_) => reasons::EXACT_NONCE_USED,
            Nonce::Permit2(_) => reasons::PERMIT2_INVALID_NONCE,
        };
        Some(failed_for_good(reason, "the authorization was cancelled, or used for something else", None))
    }

    /// Whether a transaction's call holds an authorization's nonce.
    async fn names(&self, transaction: B256, nonce: U256) -> Result<bool, RpcError> {
        #[derive(serde::Deserialize)]
        struct Sent<'a> {
            #[serde(borrow)]
            input: &'a serde_json::value::RawValue,
        }
        let raw = self.rpc.ask("eth_getTransactionByHash", format!(r#"["{transaction}"]"#)).await?;
        let Ok(sent) = serde_json::from_str::<Sent<'_>>(raw.get()) else { return Ok(false) };
        let nonce = nonce.to_be_bytes::<32>();
        Ok(bytes(sent.input)?.get(4..).is_some_and(|words| words.chunks(32).any(|word| word == nonce)))
    }

    /// Sees to it that a nonce is used up whose transaction nobody waits for any more: those after it do wait.
    pub(super) async fn see_off(&self, mut draft: Draft) {
        let mut sent = Instant::now();
        loop {
            match self.rpc.transaction_count(draft.signer, At::Latest).await {
                Ok(count) if count > draft.nonce => return self.pool.done(&draft).await,
                _ => {}
            }
            if let Ok(Some(dearer)) =
                self.pool.push(&draft, sent.elapsed() >= self.limits.stuck_after, &mut NoBook).await
            {
                (draft, sent) = (dearer, Instant::now());
            }
            tokio::time::sleep(LONG_PAUSE).await;
        }
    }
}

pub(super) fn failed(reason: &str, message: &str, transaction: Option<B256>) -> State {
    State::Failed { reason: reason.to_owned(), message: message.to_owned(), transaction, again: true }
}

/// As [`failed`], for good: money may have moved elsewhere.
fn failed_for_good(reason: &str, message: &str, transaction: Option<B256>) -> State {
    State::Failed { reason: reason.to_owned(), message: message.to_owned(), transaction, again: false }
}

fn transaction_failed(entry: &Entry) -> &'static str {
    if entry.scheme == UPTO { reasons::UPTO_TRANSACTION_FAILED } else { reasons::EXACT_TRANSACTION_FAILED }
}
