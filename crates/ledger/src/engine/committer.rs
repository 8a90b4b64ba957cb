//! The committer: one thread that owns storage, applies batches and flushes them.

use std::time::{Duration, Instant};

use farthing_protocol::layout::{Reader, Writer};
use farthing_protocol::rail::PaymentId;
use farthing_protocol::{Amount, PublicKey, SecretKey};
use tokio::sync::{mpsc, oneshot};

use super::counted::Refunds;
use super::overlay::Overlay;
use super::purge;
use super::storage::{Begun, Snapshot, Storage, StorageError, Wanted, Writes};
use super::{Clock, LedgerError, Options};
use crate::admin::NewAsset;
use crate::command::{Command, Refusal, Reply};
use crate::core::{self, Applied, Context, Rows};
use crate::entry::{Entry, Event, Posting};
use crate::identity::{AssetCode, Book};
use crate::rows::{AccountKeys, Genesis, Head, Payment, Table, decode_asset, key};
use crate::terms::Terms;

/// The most commands in one batch.
const MAX_BATCH: usize = 512;
/// Holds that one sweep ends at most before the batch's own commands; the loop goes on while there are more.
const SWEEP: usize = 256;

pub(super) const GENESIS: &[u8] = b"genesis";
pub(super) const HEAD: &[u8] = b"head";

/// Times that a batch is tried when other committers are in its way.
const TRIES: u32 = 8;
/// How long the first and the last wait for storage to come back last.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

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
    Moment(oneshot::Sender<Result<Moment, StorageError>>),
}

/// All rows after a batch, with what began it.
pub(crate) struct Moment {
    pub(crate) rows: Box<dyn Snapshot>,
    /// Unix seconds: the batch's time.
    pub(crate) now: u64,
    /// Holds past their capture deadline that the batch has ended.
    pub(crate) ended: Vec<PaymentId>,
}

/// What a job waits for, found while the batch was applied, given out when it is durable.
enum Answer {
    Command(Result<Reply, Refusal>),
    Probe(Result<(), Refusal>),
    Payment(Option<Box<Payment>>, u64),
    Balance(Amount),
    Keys(AccountKeys),
    Assets(Vec<NewAsset>),
    Moment(u64, Vec<PaymentId>),
}

/// Why a batch came to nothing, or may have.
enum Failure {
    /// Before its commit: nothing was written.
    Before(StorageError),
    /// In its commit: nobody knows.
    Commit(StorageError),
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Before(error)
    }
}

pub(super) struct Committer<S> {
    storage: S,
    key: SecretKey,
    genesis: Genesis,
    /// The end of this committer's chain.
    head: Head,
    /// The highest time by which anything was judged; the head has the highest that is durable.
    seen: u64,
    /// Every hold that was due before this time has ended.
    swept: u64,
    /// What the purge need not look at yet.
    young: purge::Young,
    clock: Clock,
}

impl<S: Storage> Committer<S> {
    /// Opens storage, making a new ledger when it is empty.
    pub(super) fn open(
        mut storage: S,
        key: SecretKey,
        options: Options,
    ) -> Result<(Self, Genesis), StorageError> {
        // Of several that open an empty one, the first makes the ledger and the others find it.
        let begun = storage.begin(&Wanted { registers: true, ..Wanted::default() })?;
        let Some(bytes) = storage.get(Table::Meta, GENESIS)? else {
            return Self::create(storage, begun, key, options);
        };
        storage.commit(&Writes::default())?;
        let genesis = Genesis::decode(&bytes)?;
        if genesis.key != key.public() {
            return Err(StorageError::failed("the ledger was made with another key"));
        }
        let same = genesis.mode == options.mode
            && genesis.fee_bps == options.fee_bps
            && genesis.fee_recipient == options.fee_recipient;
        if !same {
            return Err(StorageError::failed(
                "the ledger was made with another mode, seller, payer cap or fee than the configuration names",
            ));
        }
        let head = read_end(&mut storage)?;
        let committer = Self {
            storage,
            key,
            genesis: genesis.clone(),
            head,
            seen: head.clock,
            swept: 0,
            young: purge::Young::default(),
            clock: options.clock,
        };
        Ok((committer, genesis))
    }

    fn create(
        storage: S,
        begun: Begun,
        key: SecretKey,
        options: Options,
    ) -> Result<(Self, Genesis), StorageError> {
        let now = begun.now.unwrap_or_else(|| (options.clock)());
        let genesis = Genesis {
            key: key.public(),
            mode: options.mode,
            fee_bps: options.fee_bps,
            fee_recipient: options.fee_recipient,
            created_at: now,
        };
        let mut head = Head { sequence: 0, hash: [0; 32], clock: now };
        let mut committer = Self {
            storage,
            key,
            genesis: genesis.clone(),
            head,
            seen: now,
            swept: 0,
            young: purge::Young::default(),
            clock: options.clock,
        };
        let mut chain = Chain::of(&committer.storage, begun);
        // Whoever makes the ledger begins its history, whatever its own number.
        chain.number = 0;
        let mut overlay = Overlay::new(&mut committer.storage);
        overlay.put(Table::Meta, GENESIS.to_vec(), genesis.encode());
        chain.append(&mut overlay, &mut head, Event::Genesis(genesis.clone()), Vec::new());
        chain.put_head(&mut overlay, &committer.key, &genesis, &head);
        overlay.commit()?;
        committer.head = read_end(&mut committer.storage)?;
        Ok((committer, genesis))
    }

    /// Runs until every handle is gone, or storage fails for good.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while jobs.blocking_recv_many(&mut batch, MAX_BATCH) > 0 {
            if self.batch(&mut batch).is_err() && !self.recover(&mut jobs) {
                jobs.close();
                while let Some(job) = jobs.blocking_recv() {
                    job.fail(&unavailable());
                }
                return;
            }
        }
    }

    /// Applies what is queued as one batch, on the caller's thread. `false` when nothing was.
    ///
    /// # Errors
    /// Those of storage, after every caller was told. The ledger must be opened again then.
    pub(super) fn step(&mut self, jobs: &mut mpsc::Receiver<Job>) -> Result<bool, StorageError> {
        let mut batch = Vec::new();
        while batch.len() < MAX_BATCH {
            let Ok(job) = jobs.try_recv() else { break };
            batch.push(job);
        }
        let some = !batch.is_empty();
        if some {
            self.batch(&mut batch)?;
        }
        Ok(some)
    }

    /// Waits for storage to come back, and finds out where this committer's chain ends. Meanwhile nothing is
    /// taken. `false` when it will not come back by itself.
    fn recover(&mut self, jobs: &mut mpsc::Receiver<Job>) -> bool {
        let mut wait = FIRST_WAIT;
        loop {
            let back = self.storage.recover().and_then(|back| {
                if back {
                    self.head = read_end(&mut self.storage)?;
                    self.swept = 0;
                }
                Ok(back)
            });
            match back {
                Ok(true) => {
                    tracing::info!("the ledger's storage is back");
                    return true;
                }
                Ok(false) => {
                    tracing::error!("the ledger is closed until it is opened again");
                    return false;
                }
                Err(error) => tracing::warn!(%error, "the ledger's storage is not back yet"),
            }
            let until = Instant::now() + wait;
            wait = (wait * 2).min(LONGEST_WAIT);
            while Instant::now() < until {
                match jobs.try_recv() {
                    Ok(job) => job.fail(&unavailable()),
                    Err(mpsc::error::TryRecvError::Empty) => std::thread::sleep(FIRST_WAIT),
                    Err(mpsc::error::TryRecvError::Disconnected) => return false,
                }
            }
        }
    }

    /// Applies a batch and makes it durable, then replies.
    fn batch(&mut self, jobs: &mut Vec<Job>) -> Result<(), StorageError> {
        let mut tries = 1;
        let applied = loop {
            match self.apply(jobs) {
                Err(Failure::Before(StorageError::Again(_)) | Failure::Commit(StorageError::Again(_)))
                    if tries < TRIES =>
                {
                    tries += 1;
                }
                applied => break applied,
            }
        };
        match applied {
            Ok(answers) => {
                for (job, answer) in jobs.drain(..).zip(answers) {
                    job.answer(answer, &mut self.storage);
                }
                Ok(())
            }
            Err(Failure::Before(error) | Failure::Commit(error @ StorageError::Again(_))) => {
                tracing::error!(%error, "a batch was not taken");
                let reply = LedgerError::Unavailable(error.to_string());
                jobs.drain(..).for_each(|job| job.fail(&reply));
                if matches!(error, StorageError::Again(_)) { Ok(()) } else { Err(error) }
            }
            Err(Failure::Commit(error)) => {
                tracing::error!(%error, "nobody knows whether a batch was written");
                let reply = LedgerError::Unknown(error.to_string());
                jobs.drain(..).for_each(|job| job.fail(&reply));
                Err(error)
            }
        }
    }

    /// Applies a batch and makes it durable. One answer for each job, in their order.
    fn apply(&mut self, jobs: &[Job]) -> Result<Vec<Answer>, Failure> {
        let clock = self.seen.max((self.clock)());
        let mut wanted = Wanted { due_before: (self.swept < clock).then_some(clock), ..Wanted::default() };
        if self.storage.shared() {
            jobs.iter().for_each(|job| job.want(&mut wanted));
        }
        let begun = self.storage.begin(&wanted)?;
        let now = self.seen.max(begun.seen).max(begun.now.unwrap_or(clock));
        self.seen = now;
        let context = Context { genesis: self.genesis.clone(), now };
        let mut head = Head { clock: now, ..self.head };
        let chain = Chain::of(&self.storage, begun);
        // Other committers may have held what they then did not end.
        let swept = if self.storage.shared() { 0 } else { self.swept };
        let mut overlay = Overlay::new(&mut self.storage);
        let mut ended = Vec::new();
        if self.swept < now {
            chain.sweep(&context, &mut overlay, &mut head, swept, &mut ended)?;
        }
        let mut promised = false;
        let mut refunds = Refunds::default();
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs {
            answers.push(match job {
                Job::Command(command, _) => {
                    let judged = core::apply(&context, &mut overlay, command)?;
                    // So is the time of a refusal: what has expired once must not be paid after a restart.
                    promised |= judged.is_err() && now > self.head.clock;
                    judged.iter().for_each(|applied| refunds.note(applied));
                    Answer::Command(judged.map(|applied| chain.settle(&mut overlay, &mut head, applied)))
                }
                Job::Query(query) => {
                    // The time of an answer is a promise: it is kept, so that no restart goes behind it.
                    promised |= matches!(query, Query::Payment(..)) && now > self.head.clock;
                    answer(&context, &mut overlay, &ended, query)?
                }
            });
        }
        if promised || overlay.changed() {
            let written = usize::try_from(head.sequence - self.head.sequence).unwrap_or(usize::MAX);
            purge::step(&context, &mut overlay, chain.number, written, &mut self.young)?;
            chain.put_head(&mut overlay, &self.key, &self.genesis, &head);
            overlay.commit().map_err(Failure::Commit)?;
            self.head = head;
            refunds.count(&self.genesis);
        } else if self.storage.shared() {
            // Lets go of what was locked for reading.
            self.storage.commit(&Writes::default())?;
        }
        self.swept = now;
        Ok(answers)
    }
}

impl Job {
    /// Adds what it is going to read, as far as nobody else may change it meanwhile.
    fn want(&self, wanted: &mut Wanted) {
        match self {
            Self::Command(command, _) => command.want(wanted),
            Self::Query(Query::Payment(id, _)) => drop(wanted.payments.insert(*id)),
            Self::Query(_) => {}
        }
    }

    fn answer<S: Storage>(self, answer: Answer, storage: &mut S) {
        // A caller that has gone does not hear the answer.
        match (self, answer) {
            (Self::Command(_, reply), Answer::Command(judged)) => {
                drop(reply.send(judged.map_err(LedgerError::Refused)));
            }
            (Self::Query(Query::Probe(_, _, reply)), Answer::Probe(judged)) => drop(reply.send(judged)),
            (Self::Query(Query::Payment(_, reply)), Answer::Payment(payment, now)) => {
                drop(reply.send((payment.map(|payment| *payment), now)));
            }
            (Self::Query(Query::Balance(_, _, reply)), Answer::Balance(balance)) => drop(reply.send(balance)),
            (Self::Query(Query::Keys(_, reply)), Answer::Keys(keys)) => drop(reply.send(keys)),
            (Self::Query(Query::Assets(reply)), Answer::Assets(assets)) => drop(reply.send(assets)),
            (Self::Query(Query::Moment(reply)), Answer::Moment(now, ended)) => {
                drop(reply.send(storage.snapshot().map(|rows| Moment { rows, now, ended })));
            }
            (job, _) => job.fail(&LedgerError::Unknown("a foreign reply".into())),
        }
    }

    /// Questions hear nothing, which their callers know how to read.
    fn fail(self, error: &LedgerError) {
        if let Self::Command(_, reply) = self {
            drop(reply.send(Err(error.clone())));
        }
    }
}

fn unavailable() -> LedgerError {
    LedgerError::Unavailable("the ledger is closed until it is opened again".into())
}

/// The chain that this committer writes, in one batch.
struct Chain {
    number: u32,
    /// The batch's position, where there are several committers.
    position: Option<u64>,
}

impl Chain {
    fn of<S: Storage>(storage: &S, begun: Begun) -> Self {
        Self { number: storage.chain(), position: storage.shared().then_some(begun.position) }
    }

    /// Records what a command did.
    fn settle<S: Storage>(&self, overlay: &mut Overlay<'_, S>, head: &mut Head, applied: Applied) -> Reply {
        if let Some((event, postings)) = applied.entry {
            self.append(overlay, head, event, postings);
        }
        applied.reply
    }

    /// Ends every hold whose capture deadline has passed, before anything is judged at this time. Holds that
    /// were due before `swept` have ended; only the time since then is looked at, because in a log-structured
    /// engine each hold that ended leaves a trace behind.
    fn sweep<S: Storage>(
        &self,
        context: &Context,
        overlay: &mut Overlay<'_, S>,
        head: &mut Head,
        swept: u64,
        ended: &mut Vec<PaymentId>,
    ) -> Result<(), StorageError> {
        let mut from = swept.to_be_bytes().to_vec();
        let to = context.now.to_be_bytes();
        loop {
            let due = overlay.scan_between(Table::Due, &from, &to, SWEEP)?;
            let Some((last, _)) = due.last() else { return Ok(()) };
            from = key::after(last);
            let payments = due.iter().map(|(row, _)| key::due_of(row)).collect::<Result<Vec<_>, _>>()?;
            if let Ok(Applied { reply, entry: Some((event, postings)) }) =
                core::apply(context, overlay, &Command::Reclaim(payments))?
            {
                self.append(overlay, head, event, postings);
                if let Reply::Reclaimed(payments) = reply {
                    ended.extend(payments);
                }
            }
        }
    }

    /// Appends an entry to the chain.
    fn append<S: Storage>(
        &self,
        overlay: &mut Overlay<'_, S>,
        head: &mut Head,
        event: Event,
        postings: Vec<Posting>,
    ) {
        let (chain, sequence) = (self.number, head.sequence + 1);
        let position = self.position.unwrap_or(sequence);
        let (at, previous) = (head.clock, head.hash);
        let bytes = Entry { chain, sequence, position, at, previous, event, postings }.encode();
        head.sequence = sequence;
        head.hash = Entry::hash(&bytes);
        overlay.put(Table::Entry, key::entry(chain, sequence), bytes);
    }

    fn put_head<S: Storage>(
        &self,
        overlay: &mut Overlay<'_, S>,
        key: &SecretKey,
        genesis: &Genesis,
        head: &Head,
    ) {
        let signature = key.sign(&head.signed_bytes(&genesis.id()));
        let row =
            Writer::bare().u64(head.sequence).fixed(&head.hash).u64(head.clock).fixed(&signature.0).finish();
        overlay.put(Table::Meta, key::of_chain(HEAD, self.number), row);
    }
}

/// Answers a query by what the batch has seen so far.
fn answer<S: Storage>(
    context: &Context,
    overlay: &mut Overlay<'_, S>,
    ended: &[PaymentId],
    query: &Query,
) -> Result<Answer, StorageError> {
    Ok(match query {
        Query::Probe(id, terms, _) => Answer::Probe(core::probe(context, overlay, id, terms)?),
        Query::Payment(id, _) => Answer::Payment(overlay.payment(id)?.map(Box::new), context.now),
        Query::Balance(account, asset, _) => {
            let balance = overlay.balance(&Book::Account(*account), asset)?;
            Answer::Balance(Amount(u128::try_from(balance).unwrap_or(0)))
        }
        Query::Keys(account, _) => {
            Answer::Keys(overlay.keys(account)?.unwrap_or_else(|| AccountKeys::opening(account)))
        }
        Query::Assets(_) => {
            let mut assets = Vec::new();
            for (code, row) in overlay.scan_storage(Table::Asset, &[], 1024)? {
                let code = std::str::from_utf8(&code).ok().and_then(|c| c.parse().ok());
                let code = code.ok_or_else(|| StorageError::failed("an asset's code is damaged"))?;
                assets.push(decode_asset(&code, &row)?);
            }
            Answer::Assets(assets)
        }
        // The rows are looked at when the batch is durable.
        Query::Moment(_) => Answer::Moment(context.now, ended.to_vec()),
    })
}

/// The end of this committer's chain, and its beginning when it has written nothing yet.
///
/// A commit is all or nothing, so the head always names the last entry. Storage that says otherwise has lost
/// or invented something, and nobody may pay on it.
fn read_end<S: Storage>(storage: &mut S) -> Result<Head, StorageError> {
    let chain = storage.chain();
    let head = match storage.get(Table::Meta, &key::of_chain(HEAD, chain))? {
        Some(bytes) => Head::read(&mut Reader::bare(&bytes))?,
        None if chain == 0 => return Err(StorageError::failed("the head is missing")),
        None => {
            let genesis = storage.get(Table::Entry, &key::entry(0, 1))?;
            let genesis = genesis.ok_or_else(|| StorageError::failed("the first entry is missing"))?;
            Head { sequence: 0, hash: Entry::hash(&genesis), clock: Entry::decode(&genesis)?.at }
        }
    };
    let last = key::entry(chain, head.sequence);
    let end = storage.between(Table::Entry, &last, &key::entries_end(chain), 2)?;
    let fits = match end.as_slice() {
        [] => head.sequence == 0,
        [(key, entry)] => *key == last && Entry::hash(entry) == head.hash,
        _ => false,
    };
    if !fits {
        return Err(StorageError::failed(
            "the head does not name the last entry: storage was damaged; restore a backup",
        ));
    }
    Ok(head)
}
