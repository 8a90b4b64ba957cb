//! The committer: one thread that owns storage, applies batches and flushes them.

use farthing_protocol::layout::{Reader, Writer};
use farthing_protocol::rail::PaymentId;
use farthing_protocol::{Amount, PublicKey, SecretKey};
use tokio::sync::{mpsc, oneshot};

use super::overlay::Overlay;
use super::purge;
use super::storage::{Storage, StorageError};
use super::{Clock, LedgerError, Options};
use crate::admin::NewAsset;
use crate::check;
use crate::command::{Command, Refusal, Reply};
use crate::core::{self, Applied, Context, Rows};
use crate::entry::{Entry, Event, Posting};
use crate::identity::{AssetCode, Book};
use crate::rows::{AccountKeys, Genesis, Head, Payment, Table, decode_asset};
use crate::terms::Terms;

/// The most commands in one batch.
const MAX_BATCH: usize = 512;
/// Holds that one sweep ends at most before the batch's own commands; the loop goes on while there are more.
const SWEEP: usize = 256;

pub(super) const GENESIS: &[u8] = b"genesis";
pub(super) const HEAD: &[u8] = b"head";

/// What waits for the committer.
pub(super) enum Job {
    Command(Command, oneshot::Sender<Result<Reply, LedgerError>>),
    Query(Query),
}

/// Questions, answered between the batch's commands in the order of arrival.
pub(super) enum Query {
    Probe(PaymentId, Box<Terms>, oneshot::Sender<Result<(), Refusal>>),
    Payment(PaymentId, oneshot::Sender<(Option<Payment>, u64)>),
    Balance(PublicKey, AssetCode, oneshot::Sender<Amount>),
    Keys(PublicKey, oneshot::Sender<AccountKeys>),
    Assets(oneshot::Sender<Vec<NewAsset>>),
    Check(oneshot::Sender<Result<check::Report, StorageError>>),
}

/// A reply that waits for the flush.
type Pending = Box<dyn FnOnce() + Send>;

pub(super) struct Committer<S> {
    storage: S,
    key: SecretKey,
    genesis: Genesis,
    head: Head,
    /// The highest time by which anything was judged; the head has the highest that is durable.
    seen: u64,
    /// Every hold that was due before this time has ended.
    swept: u64,
    clock: Clock,
}

impl<S: Storage> Committer<S> {
    /// Opens storage, making a new ledger when it is empty.
    pub(super) fn open(
        mut storage: S,
        key: SecretKey,
        options: Options,
    ) -> Result<(Self, Genesis), StorageError> {
        let Some(bytes) = storage.get(Table::Meta, GENESIS)? else {
            return Self::create(storage, key, options);
        };
        let genesis = Genesis::decode(&bytes)?;
        if genesis.key != key.public() {
            return Err(StorageError("the ledger was made with another key".into()));
        }
        let same = genesis.mode == options.mode
            && genesis.fee_bps == options.fee_bps
            && genesis.fee_recipient == options.fee_recipient;
        if !same {
            return Err(StorageError(
                "the ledger was made with another mode, seller, payer cap or fee than the configuration names".into(),
            ));
        }
        let head = read_head(&mut storage)?.ok_or_else(|| StorageError("the head is missing".into()))?;
        check_end(&mut storage, &head)?;
        let seen = head.clock;
        let committer =
            Self { storage, key, genesis: genesis.clone(), head, seen, swept: 0, clock: options.clock };
        Ok((committer, genesis))
    }

    fn create(storage: S, key: SecretKey, options: Options) -> Result<(Self, Genesis), StorageError> {
        let now = (options.clock)();
        let genesis = Genesis {
            key: key.public(),
            mode: options.mode,
            fee_bps: options.fee_bps,
            fee_recipient: options.fee_recipient,
            created_at: now,
        };
        let head = Head { sequence: 0, hash: [0; 32], clock: now };
        let mut committer =
            Self { storage, key, genesis: genesis.clone(), head, seen: now, swept: 0, clock: options.clock };
        let mut head = committer.head;
        let mut overlay = Overlay::new(&mut committer.storage);
        overlay.put(Table::Meta, GENESIS.to_vec(), genesis.encode());
        append(&mut overlay, &mut head, Event::Genesis(genesis.clone()), Vec::new());
        put_head(&mut overlay, &committer.key, &genesis, &head);
        overlay.commit()?;
        committer.head = head;
        Ok((committer, genesis))
    }

    /// Runs until every handle is gone, or a commit fails.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        loop {
            let count = jobs.blocking_recv_many(&mut batch, MAX_BATCH);
            if count == 0 {
                return;
            }
            if let Err(error) = self.batch(&mut batch) {
                tracing::error!(%error, "the ledger is closed until it is opened again");
                jobs.close();
                while let Some(job) = jobs.blocking_recv() {
                    if let Job::Command(_, reply) = job {
                        let message = "the ledger is closed until it is opened again".to_owned();
                        let _ = reply.send(Err(LedgerError::Unavailable(message)));
                    }
                }
                return;
            }
        }
    }

    /// Applies a batch and makes it durable, then replies.
    fn batch(&mut self, jobs: &mut Vec<Job>) -> Result<(), StorageError> {
        let mut waiting: Vec<oneshot::Sender<Result<Reply, LedgerError>>> = Vec::with_capacity(jobs.len());
        let result = self.apply(jobs, &mut waiting);
        match result {
            Ok((replies, pending)) => {
                for (waiting, reply) in waiting.into_iter().zip(replies) {
                    let _ = waiting.send(reply);
                }
                pending.into_iter().for_each(|reply| reply());
                Ok(())
            }
            Err(error) => {
                for waiting in waiting {
                    let _ = waiting.send(Err(LedgerError::Unknown(error.to_string())));
                }
                for job in jobs.drain(..) {
                    if let Job::Command(_, reply) = job {
                        let _ = reply.send(Err(LedgerError::Unknown(error.to_string())));
                    }
                }
                Err(error)
            }
        }
    }

    #[allow(clippy::type_complexity, reason = "replies of commands and of queries, used in one place")]
    fn apply(
        &mut self,
        jobs: &mut Vec<Job>,
        waiting: &mut Vec<oneshot::Sender<Result<Reply, LedgerError>>>,
    ) -> Result<(Vec<Result<Reply, LedgerError>>, Vec<Pending>), StorageError> {
        let now = self.seen.max((self.clock)());
        self.seen = now;
        let context = Context { genesis: self.genesis.clone(), now };
        let mut head = Head { clock: now, ..self.head };
        let swept = std::mem::replace(&mut self.swept, now);
        let mut overlay = Overlay::new(&mut self.storage);
        if swept < now {
            sweep(&context, &mut overlay, &mut head, swept)?;
        }
        let mut promised = false;
        let (mut replies, mut pending) = (Vec::with_capacity(jobs.len()), Vec::new());
        for job in jobs.drain(..) {
            match job {
                Job::Command(command, reply) => {
                    waiting.push(reply);
                    let judged = core::apply(&context, &mut overlay, &command)?;
                    // So is the time of a refusal: what has expired once must not be paid after a restart.
                    promised |= judged.is_err() && now > self.head.clock;
                    let reply = judged.map(|applied| settle(&mut overlay, &mut head, applied));
                    replies.push(reply.map_err(LedgerError::Refused));
                }
                Job::Query(query) => {
                    // The time of an answer is a promise: it is kept, so that no restart goes behind it.
                    promised |= matches!(query, Query::Payment(..)) && now > self.head.clock;
                    pending.push(answer(&context, &mut overlay, query)?);
                }
            }
        }
        if promised || overlay.changed() {
            let written = usize::try_from(head.sequence - self.head.sequence).unwrap_or(usize::MAX);
            purge::step(&context, &mut overlay, written)?;
            put_head(&mut overlay, &self.key, &self.genesis, &head);
            overlay.commit()?;
            self.head = head;
        }
        Ok((replies, pending))
    }
}

/// Records what a command did.
fn settle<S: Storage>(overlay: &mut Overlay<'_, S>, head: &mut Head, applied: Applied) -> Reply {
    if let Some((event, postings)) = applied.entry {
        append(overlay, head, event, postings);
    }
    applied.reply
}

/// Ends every hold whose capture deadline has passed, before anything is judged at this time. Holds that were
/// due before `swept` have ended; only the time since then is looked at, because in a log-structured engine
/// each hold that ended leaves a trace behind.
fn sweep<S: Storage>(
    context: &Context,
    overlay: &mut Overlay<'_, S>,
    head: &mut Head,
    swept: u64,
) -> Result<(), StorageError> {
    let mut from = swept.to_be_bytes().to_vec();
    let to = context.now.to_be_bytes();
    loop {
        let due = overlay.scan_between(Table::Due, &from, &to, SWEEP)?;
        let Some((last, _)) = due.last() else { return Ok(()) };
        from = [last.as_slice(), &[0]].concat();
        let ids = due.iter().map(|(row, _)| {
            let mut row = Reader::bare(row);
            row.u64().and_then(|_| row.fixed()).map(PaymentId)
        });
        let payments = ids.collect::<Result<Vec<_>, _>>()?;
        if let Ok(Applied { entry: Some((event, postings)), .. }) =
            core::apply(context, overlay, &Command::Reclaim(payments))?
        {
            append(overlay, head, event, postings);
        }
    }
}

/// Answers a query when the batch is durable.
fn answer<S: Storage>(
    context: &Context,
    overlay: &mut Overlay<'_, S>,
    query: Query,
) -> Result<Pending, StorageError> {
    fn later<T: Send + 'static>(reply: oneshot::Sender<T>, value: T) -> Pending {
        Box::new(move || drop(reply.send(value)))
    }
    Ok(match query {
        Query::Probe(id, terms, reply) => later(reply, core::probe(context, overlay, &id, &terms)?),
        Query::Payment(id, reply) => later(reply, (overlay.payment(&id)?, context.now)),
        Query::Balance(account, asset, reply) => {
            let balance = overlay.balance(&Book::Account(account), &asset)?;
            later(reply, Amount(u128::try_from(balance).unwrap_or(0)))
        }
        Query::Keys(account, reply) => {
            let keys = overlay.keys(&account)?.unwrap_or_else(|| AccountKeys::opening(&account));
            later(reply, keys)
        }
        Query::Assets(reply) => {
            let mut assets = Vec::new();
            for (code, row) in overlay.scan_storage(Table::Asset, &[], 1024)? {
                let code = std::str::from_utf8(&code).ok().and_then(|c| c.parse().ok());
                let code = code.ok_or_else(|| StorageError("an asset's code is damaged".into()))?;
                assets.push(decode_asset(&code, &row)?);
            }
            later(reply, assets)
        }
        // What storage holds: the batch before this one.
        Query::Check(reply) => {
            later(reply, check::check(&mut |table, from, limit| overlay.scan_storage(table, from, limit)))
        }
    })
}

/// Appends an entry to the chain.
fn append<S: Storage>(overlay: &mut Overlay<'_, S>, head: &mut Head, event: Event, postings: Vec<Posting>) {
    let sequence = head.sequence + 1;
    let entry = Entry { sequence, at: head.clock, previous: head.hash, event, postings };
    let bytes = entry.encode();
    head.sequence = sequence;
    head.hash = Entry::hash(&bytes);
    overlay.put(Table::Entry, sequence.to_be_bytes().to_vec(), bytes);
}

fn put_head<S: Storage>(overlay: &mut Overlay<'_, S>, key: &SecretKey, genesis: &Genesis, head: &Head) {
    let signature = key.sign(&head.signed_bytes(&genesis.id()));
    let row =
        Writer::bare().u64(head.sequence).fixed(&head.hash).u64(head.clock).fixed(&signature.0).finish();
    overlay.put(Table::Meta, HEAD.to_vec(), row);
}

/// A commit is all or nothing, so the head always names the last entry. Storage that says otherwise has lost
/// or invented something, and nobody may pay on it.
fn check_end<S: Storage>(storage: &mut S, head: &Head) -> Result<(), StorageError> {
    let end = storage.scan(Table::Entry, &head.sequence.to_be_bytes(), 2)?;
    match end.as_slice() {
        [(key, entry)] if *key == head.sequence.to_be_bytes() && Entry::hash(entry) == head.hash => Ok(()),
        _ => Err(StorageError(
            "the head does not name the last entry: storage was damaged; restore a backup".into(),
        )),
    }
}

fn read_head<S: Storage>(storage: &mut S) -> Result<Option<Head>, StorageError> {
    let Some(bytes) = storage.get(Table::Meta, HEAD)? else { return Ok(None) };
    let mut from = Reader::bare(&bytes);
    Ok(Some(Head { sequence: from.u64()?, hash: from.fixed()?, clock: from.u64()? }))
}
