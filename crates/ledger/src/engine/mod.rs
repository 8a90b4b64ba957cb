//! The engines: storage under the pure core, one committer thread over it, and the handle to both.
//!
//! Callers check signatures on their own threads and queue commands. The committer takes whatever is
//! queued as one batch, applies it in order to an overlay, makes the batch durable with one flush, and
//! only then replies. A commit that fails makes the whole batch [`LedgerError::Unknown`] and closes the
//! engine: what a failed flush left behind is found out by opening the ledger again.

#[cfg(feature = "embedded")]
pub mod admin;
mod committer;
mod counted;
#[cfg(feature = "embedded")]
mod embedded;
mod memory;
mod overlay;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod purge;
mod stepper;
mod storage;

use std::sync::Arc;

use farthing_protocol::rail::PaymentId;
use farthing_protocol::{Amount, Network, PublicKey, SecretKey};
use tokio::sync::{mpsc, oneshot};

pub use self::counted::describe as describe_metrics;
#[cfg(feature = "embedded")]
pub use self::embedded::{EmbeddedStorage, OpenError};
#[cfg(feature = "embedded")]
pub(crate) use self::embedded::{KEY, claim, lock as lock_directory};
pub use self::memory::MemoryStorage;
#[cfg(feature = "postgres")]
pub use self::postgres::{DEFAULT_SCHEMA, PostgresConfig, PostgresError, PostgresStorage};
pub use self::stepper::Stepper;
pub use self::storage::{Begun, Row, Snapshot, Storage, StorageError, Wanted, Writes};

pub(crate) use self::committer::Moment;
use self::committer::{Committer, Job, Query};
use crate::admin::{Deposit, KeyChange, NewAsset};
use crate::command::{Authorize, AuthorizeReply, Charge, Checked, Command, Operate, Refusal, Reply, Signed};
use crate::identity::{AssetCode, LedgerId};
use crate::rows::{AccountKeys, Genesis, Mode, Payment};
use crate::statement::{AssetTerms, LedgerTerms, PaymentState, Statement};
use crate::terms::Terms;

/// Unix seconds. The ledger never goes back: it keeps the highest time it has seen.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The operating system's clock.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |d| d.as_secs())
    })
}

/// What a new ledger is made with. An existing one must have been made with the same.
#[derive(Clone)]
pub struct Options {
    /// Who may hold and be paid.
    pub mode: Mode,
    /// The operator's fee in basis points.
    pub fee_bps: u16,
    /// Who gets the fee; zero when there is none.
    pub fee_recipient: PublicKey,
    /// The clock.
    pub clock: Clock,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("mode", &self.mode)
            .field("fee_bps", &self.fee_bps)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// A closed-loop ledger without a fee: one seller, and a cap on what a payer holds of each asset.
    pub fn closed_loop(seller: PublicKey, payer_cap: Amount) -> Self {
        Self::with_mode(Mode::ClosedLoop { seller, payer_cap })
    }

    /// An open ledger without a fee: anybody pays anybody. Read the README on what that makes its operator.
    pub fn open_to_all() -> Self {
        Self::with_mode(Mode::Open)
    }

    /// What an existing ledger was made with.
    pub fn of(genesis: &Genesis) -> Self {
        let (fee_bps, fee_recipient) = (genesis.fee_bps, genesis.fee_recipient);
        Self { fee_bps, fee_recipient, ..Self::with_mode(genesis.mode) }
    }

    fn with_mode(mode: Mode) -> Self {
        Self { mode, fee_bps: 0, fee_recipient: PublicKey([0; 32]), clock: system_clock() }
    }
}

/// Why a ledger did not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The core refused; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It may or may not have happened. Say the same again once the ledger is open again.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// The command was not taken: nothing changed.
    #[error("the ledger is not available: {0}")]
    Unavailable(String),
}

/// Commands that may wait for the committer; more are turned away as [`LedgerError::Unavailable`].
const QUEUE: usize = 8192;

/// A running ledger. Clones are handles to the same one; it stops when the last is dropped.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    id: LedgerId,
    network: Network,
    genesis: Genesis,
    key: SecretKey,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<std::thread::JoinHandle<()>>,
    #[cfg(feature = "embedded")]
    admin: Option<admin::AdminSocket>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // First those who ask over the socket, for they queue jobs, too.
        #[cfg(feature = "embedded")]
        self.admin.take();
        self.jobs.take();
        if let Some(thread) = self.thread.take() {
            // Waits for the last flush, so that whoever drops the ledger may open its directory again.
            let _ = thread.join();
        }
    }
}

/// A handle that does not keep the ledger open.
#[derive(Clone)]
pub struct WeakLedger(std::sync::Weak<Inner>);

impl WeakLedger {
    /// The ledger, while somebody else keeps it open.
    pub fn upgrade(&self) -> Option<Ledger> {
        self.0.upgrade().map(|inner| Ledger { inner })
    }
}

impl std::fmt::Debug for WeakLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeakLedger").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("network", &self.inner.network).finish_non_exhaustive()
    }
}

impl Ledger {
    /// A ledger in memory, for tests and simulations: gone when it is dropped.
    ///
    /// # Errors
    /// None in practice; the signature is that of every engine.
    pub fn memory(key: SecretKey, options: Options) -> Result<Self, StorageError> {
        Self::start(MemoryStorage::default(), key, options)
    }

    /// A ledger in a directory, made if it is not there. Its key is the file `ledger.key` (mode 0600).
    ///
    /// # Errors
    /// [`OpenError`] says whether the directory is in use, was made with other options, or cannot be read.
    #[cfg(feature = "embedded")]
    pub fn open(directory: impl AsRef<std::path::Path>, options: Options) -> Result<Self, OpenError> {
        let (storage, key) = EmbeddedStorage::open(directory.as_ref())?;
        Ok(Self::start(storage, key, options)?.reachable(directory.as_ref()))
    }

    /// The ledger that a directory holds, as it was made. Never makes one.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`OpenError::NoLedger`].
    #[cfg(feature = "embedded")]
    pub fn existing(directory: impl AsRef<std::path::Path>, clock: Clock) -> Result<Self, OpenError> {
        let (storage, key, genesis) = EmbeddedStorage::existing(directory.as_ref())?;
        let options = Options { clock, ..Options::of(&genesis) };
        Ok(Self::start(storage, key, options)?.reachable(directory.as_ref()))
    }

    /// Serves the admin socket in the directory. A ledger that cannot be asked pays as well as any.
    #[cfg(feature = "embedded")]
    fn reachable(mut self, directory: &std::path::Path) -> Self {
        let Some(inner) = Arc::get_mut(&mut self.inner) else { return self };
        let Some(jobs) = inner.jobs.as_ref().map(mpsc::Sender::downgrade) else { return self };
        match admin::AdminSocket::serve(directory, jobs, inner.genesis.clone(), inner.key.clone()) {
            Ok(socket) => inner.admin = Some(socket),
            Err(error) => tracing::warn!(
                directory = %directory.display(), %error,
                "no admin socket: `farthing ledger` cannot reach this ledger while it is open",
            ),
        }
        self
    }

    /// A ledger on any storage.
    ///
    /// # Errors
    /// When storage cannot be read, or was made with another key or other options.
    pub fn start(storage: impl Storage, key: SecretKey, options: Options) -> Result<Self, StorageError> {
        let (committer, genesis) = Committer::open(storage, key.clone(), options)?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("ledger".into()).spawn(move || committer.run(queue));
        let thread = thread.map_err(|e| StorageError::failed(format!("no thread for the committer: {e}")))?;
        Ok(Self::of(genesis, key, jobs, Some(thread)))
    }

    /// A ledger that does nothing by itself: what is queued is applied when the [`Stepper`] is told so, on its
    /// caller's thread. For simulations, where everything happens in one thread.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn stepped<S: Storage>(
        storage: S,
        key: SecretKey,
        options: Options,
    ) -> Result<(Self, Stepper<S>), StorageError> {
        let (committer, genesis) = Committer::open(storage, key.clone(), options)?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        Ok((Self::of(genesis, key, jobs, None), Stepper::new(committer, queue)))
    }

    fn of(
        genesis: Genesis,
        key: SecretKey,
        jobs: mpsc::Sender<Job>,
        thread: Option<std::thread::JoinHandle<()>>,
    ) -> Self {
        let id = genesis.id();
        let inner = Inner {
            id,
            network: id.network(),
            genesis,
            key,
            jobs: Some(jobs),
            thread,
            #[cfg(feature = "embedded")]
            admin: None,
        };
        Self { inner: Arc::new(inner) }
    }

    /// A handle that does not keep the ledger open.
    pub fn downgrade(&self) -> WeakLedger {
        WeakLedger(Arc::downgrade(&self.inner))
    }

    /// The ledger's id.
    pub fn id(&self) -> LedgerId {
        self.inner.id
    }

    /// The ledger's network, `farthing:<id>`.
    pub fn network(&self) -> &Network {
        &self.inner.network
    }

    /// What was fixed when the ledger was made.
    pub fn genesis(&self) -> &Genesis {
        &self.inner.genesis
    }

    /// Registers an asset; again with the same content changes nothing.
    ///
    /// # Errors
    /// [`LedgerError`]; so for all the methods below.
    pub async fn register(&self, asset: NewAsset) -> Result<(), LedgerError> {
        let signed = Signed::<NewAsset>::sign(&self.inner.id, asset, &self.inner.key);
        self.command(Command::Asset(signed.check()?)).await.map(|_| ())
    }

    /// Issues money, signed by the asset's issuer.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn deposit(&self, deposit: Signed<Deposit>) -> Result<(), LedgerError> {
        self.command(Command::Deposit(deposit.check()?)).await.map(|_| ())
    }

    /// Changes an account's keys.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn change_keys(&self, change: Signed<KeyChange>) -> Result<(), LedgerError> {
        self.command(Command::Keys(change.check()?)).await.map(|_| ())
    }

    /// The first settlement of an escrow payment, or where it stands.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn authorize(&self, authorize: Authorize) -> Result<AuthorizeReply, LedgerError> {
        self.authorize_checked(authorize.check()?).await
    }

    /// As [`authorize`](Self::authorize), for a payment whose signature was checked elsewhere.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn authorize_checked(
        &self,
        authorize: Checked<Authorize>,
    ) -> Result<AuthorizeReply, LedgerError> {
        match self.command(Command::Authorize(Box::new(authorize))).await? {
            Reply::Authorized(reply) => Ok(*reply),
            _ => Err(LedgerError::Unknown("a foreign reply".into())),
        }
    }

    /// Authorize and capture in one step.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn charge(&self, charge: Checked<Charge>) -> Result<AuthorizeReply, LedgerError> {
        match self.command(Command::Charge(Box::new(charge))).await? {
            Reply::Authorized(reply) => Ok(*reply),
            _ => Err(LedgerError::Unknown("a foreign reply".into())),
        }
    }

    /// Captures, voids and refunds; one result for each, in order.
    ///
    /// # Errors
    /// [`LedgerError`] for the list as a whole.
    pub async fn operate(&self, operate: Operate) -> Result<Vec<Result<Payment, Refusal>>, LedgerError> {
        self.operate_checked(operate.check(&self.inner.id)?).await
    }

    /// As [`operate`](Self::operate), for operations whose signature was checked elsewhere.
    ///
    /// # Errors
    /// [`LedgerError`] for the list as a whole.
    pub async fn operate_checked(
        &self,
        operate: Checked<Operate>,
    ) -> Result<Vec<Result<Payment, Refusal>>, LedgerError> {
        match self.command(Command::Operate(operate)).await? {
            Reply::Operated(results) => Ok(results),
            _ => Err(LedgerError::Unknown("a foreign reply".into())),
        }
    }

    /// Ends a hold whose capture deadline has passed. Needs no signature: after the deadline the money is
    /// the payer's. Returns whether it ended now.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn reclaim(&self, payment: PaymentId) -> Result<bool, LedgerError> {
        match self.command(Command::Reclaim(vec![payment])).await? {
            Reply::Reclaimed(ended) => Ok(!ended.is_empty()),
            _ => Err(LedgerError::Unknown("a foreign reply".into())),
        }
    }

    /// Whether a payment could be authorized now. It holds nothing: only `authorize` does.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] says why not.
    pub async fn probe(&self, id: PaymentId, terms: Terms) -> Result<(), LedgerError> {
        self.query(|reply| Query::Probe(id, Box::new(terms), reply)).await?.map_err(LedgerError::Refused)
    }

    /// A payment as it stands, with the ledger's time; holds past their deadline have ended.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn payment(&self, id: PaymentId) -> Result<(Option<Payment>, u64), LedgerError> {
        self.query(|reply| Query::Payment(id, reply)).await
    }

    /// The ledger's signed word on a payment.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn statement(&self, id: PaymentId) -> Result<Statement, LedgerError> {
        let (payment, now) = self.payment(id).await?;
        Ok(self.state(&id, payment.as_ref(), now))
    }

    /// Signs the state of a payment that this ledger just returned.
    pub fn state(&self, id: &PaymentId, payment: Option<&Payment>, as_of: u64) -> Statement {
        let (state, captured, refunded) = payment
            .map_or((PaymentState::Absent, Amount::ZERO, Amount::ZERO), |p| {
                (p.state, p.captured, p.refunded)
            });
        Statement::sign(&self.inner.key, id, state, captured, refunded, as_of)
    }

    /// What an account may spend, in atomic units; holds past their deadline count.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn balance(&self, account: PublicKey, asset: AssetCode) -> Result<Amount, LedgerError> {
        self.query(|reply| Query::Balance(account, asset, reply)).await
    }

    /// The keys of an account.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn account_keys(&self, account: PublicKey) -> Result<AccountKeys, LedgerError> {
        self.query(|reply| Query::Keys(account, reply)).await
    }

    /// The ledger's signed terms: its assets and its fee.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn terms(&self) -> Result<LedgerTerms, LedgerError> {
        let assets: Vec<NewAsset> = self.query(Query::Assets).await?;
        let announce =
            |a: NewAsset| AssetTerms { code: a.code.to_string(), scale: a.scale, issuer: a.issuer };
        let assets = assets.into_iter().map(announce).collect();
        let genesis = &self.inner.genesis;
        Ok(LedgerTerms::sign(&self.inner.key, assets, genesis.fee_bps, genesis.fee_recipient))
    }

    /// All rows at one moment, after everything that was queued before; reading them disturbs nobody.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn snapshot(&self) -> Result<Box<dyn Snapshot>, LedgerError> {
        Ok(self.moment().await?.rows)
    }

    pub(crate) async fn moment(&self) -> Result<Moment, LedgerError> {
        self.query(Query::Moment).await?.map_err(|e| LedgerError::Unavailable(e.to_string()))
    }

    /// Verifies the whole history again, on a thread of its own; see [`check`](crate::check).
    ///
    /// # Errors
    /// [`LedgerError`] when history cannot be read at all; what is wrong with it is in the report.
    pub async fn check(&self) -> Result<crate::check::Report, LedgerError> {
        let mut rows = self.snapshot().await?;
        let (reply, report) = oneshot::channel();
        let check = move || {
            let report = crate::check::check(&mut |table, from, limit| rows.scan(table, from, limit));
            drop(reply.send(report));
        };
        let unavailable = |why: String| LedgerError::Unavailable(why);
        let thread = std::thread::Builder::new().name("ledger-check".into()).spawn(check);
        thread.map_err(|e| unavailable(format!("no thread for the check: {e}")))?;
        let report = report.await.map_err(|_| unavailable("the check stopped".into()))?;
        report.map_err(|e| unavailable(e.to_string()))
    }

    async fn command(&self, command: Command) -> Result<Reply, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Command(command, reply)).await?;
        answer.await.unwrap_or_else(|_| Err(LedgerError::Unknown("the committer stopped".into())))
    }

    async fn query<T>(&self, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Result<T, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Query(query(reply))).await?;
        answer
            .await
            .map_err(|_| LedgerError::Unavailable("the ledger is closed until it is opened again".into()))
    }

    async fn send(&self, job: Job) -> Result<(), LedgerError> {
        let closed = || LedgerError::Unavailable("the ledger is closed".into());
        let jobs = self.inner.jobs.as_ref().ok_or_else(closed)?;
        jobs.try_send(job).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => {
                LedgerError::Unavailable("too many commands are waiting".into())
            }
            mpsc::error::TrySendError::Closed(_) => closed(),
        })
    }
}
