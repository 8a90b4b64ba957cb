//! A ledger with a virtual clock, an asset, a payer and a seller, and oracles that count what history says.
//!
//! Every key comes from a seed, every nonce from a counter: a failing test fails again the same way.
#![allow(dead_code, unreachable_pub, reason = "each suite uses its part of the fixture")]

#[cfg(feature = "embedded")]
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use farthing_ledger::admin::{Deposit, KeyChange, NewAsset, Scope};
use farthing_ledger::check::{self, Report};
use farthing_ledger::command::{Authorize, AuthorizeReply, Charge, Operate, Refusal, Signed, Standing};
use farthing_ledger::engine::{Clock, MemoryStorage, Snapshot, Storage, StorageError, Writes};
use farthing_ledger::entry::Entry;
use farthing_ledger::operation::{Action, Op, answer_hash, signed_bytes};
use farthing_ledger::rows::{Payment, Table};
use farthing_ledger::terms::{FeeTerms, Scheme, Terms, TermsFlow};
use farthing_ledger::{AssetCode, Ledger, LedgerError, LedgerId, Options};
use farthing_protocol::rail::{Owner, PaymentId, Tenant};
use farthing_protocol::{Amount, Binding, PublicKey, RequestDigest, SecretKey};

/// When every world begins, in Unix seconds.
pub const START: u64 = 1_800_000_000;
/// What the payer is given at the start, in atomic units of XTS (scale 6).
pub const FUNDS: u128 = 1_000_000;
/// Seconds from the start of a world after which a default payment's hold ends.
pub const HOLD: u64 = 900;

/// The secret key of a role; roles are numbers.
pub fn secret(role: u8) -> SecretKey {
    SecretKey::from_seed([role; 32])
}

pub fn public(role: u8) -> PublicKey {
    secret(role).public()
}

pub const LEDGER: u8 = 1;
pub const ISSUER: u8 = 2;
pub const PAYER: u8 = 3;
pub const SELLER: u8 = 4;
pub const AUTHORIZER: u8 = 5;
pub const STRANGER: u8 = 6;
pub const OTHER_PAYER: u8 = 7;
pub const OTHER_SELLER: u8 = 8;
pub const FEE_RECIPIENT: u8 = 9;
pub const SECOND_KEY: u8 = 10;

pub fn xts() -> AssetCode {
    "XTS".parse().unwrap()
}

/// A clock that a test sets.
#[derive(Clone, Debug)]
pub struct VirtualClock(Arc<AtomicU64>);

impl VirtualClock {
    pub fn at(now: u64) -> Self {
        Self(Arc::new(AtomicU64::new(now)))
    }

    pub fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub fn set(&self, now: u64) {
        self.0.store(now, Ordering::SeqCst);
    }

    pub fn pass(&self, seconds: u64) {
        self.set(self.now() + seconds);
    }

    pub fn clock(&self) -> Clock {
        let now = self.0.clone();
        Arc::new(move || now.load(Ordering::SeqCst))
    }
}

/// Memory that outlives the ledger that runs on it, that a test may look into and damage, and whose next
/// commits fail when told so.
#[derive(Clone, Debug, Default)]
pub struct SharedStorage {
    rows: Arc<Mutex<MemoryStorage>>,
    failure: Arc<Mutex<Option<(u64, Failure)>>>,
    commits: Arc<AtomicU64>,
    held_up: Arc<AtomicBool>,
}

/// How a commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing was written.
    Lost,
    /// Everything was written, and yet an error came back.
    Landed,
}

impl SharedStorage {
    /// Makes the commit after the next `good` ones fail.
    pub fn fail_after(&self, good: u64, failure: Failure) {
        *self.failure.lock().unwrap() = Some((self.commits() + good, failure));
    }

    /// Commits that have begun.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// Whether a commit that has begun must wait.
    pub fn hold_commits(&self, held_up: bool) {
        self.held_up.store(held_up, Ordering::SeqCst);
    }

    pub fn rows(&self) -> MutexGuard<'_, MemoryStorage> {
        self.rows.lock().unwrap()
    }

    /// A copy of all rows as they are now.
    pub fn copy(&self) -> MemoryStorage {
        self.rows().clone()
    }
}

impl Storage for SharedStorage {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.rows().get(table, key)
    }

    fn scan(
        &mut self,
        table: Table,
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StorageError> {
        self.rows().scan(table, from, limit)
    }

    fn commit(&mut self, writes: &Writes) -> Result<(), StorageError> {
        let number = self.commits.fetch_add(1, Ordering::SeqCst);
        while self.held_up.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let failure =
            self.failure.lock().unwrap().filter(|(at, _)| *at == number).map(|(_, failure)| failure);
        if failure != Some(Failure::Lost) {
            self.rows().commit(writes)?;
        }
        failure.map_or(Ok(()), |_| Err(StorageError::Failed("the flush failed".into())))
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, StorageError> {
        self.rows().snapshot()
    }
}

/// All rows of a table.
pub fn rows_of(storage: &mut MemoryStorage, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    storage.scan(table, &[], usize::MAX).unwrap()
}

/// What the check says of rows that no ledger runs on.
pub fn check_rows(storage: &mut MemoryStorage) -> Report {
    check::check(&mut |table, from, limit| storage.scan(table, from, limit)).unwrap()
}

/// A place where a ledger's rows survive it: opened again, it is the same ledger.
pub trait Engine: Send {
    fn open(&self, options: Options) -> Ledger;
}

/// The memory engine.
#[derive(Debug, Default)]
pub struct Memory(pub SharedStorage);

impl Engine for Memory {
    fn open(&self, options: Options) -> Ledger {
        Ledger::start(self.0.clone(), secret(LEDGER), options).unwrap()
    }
}

/// The embedded engine, in a directory that is removed afterwards.
#[cfg(feature = "embedded")]
#[derive(Debug)]
pub struct Embedded(tempfile::TempDir);

#[cfg(feature = "embedded")]
impl Default for Embedded {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

#[cfg(feature = "embedded")]
impl Engine for Embedded {
    fn open(&self, options: Options) -> Ledger {
        Ledger::open(self.0.path(), options).unwrap()
    }
}

/// The embedded engine, in a directory that outlives its ledger.
#[cfg(feature = "embedded")]
#[derive(Debug)]
pub struct Directory(pub PathBuf);

#[cfg(feature = "embedded")]
impl Engine for Directory {
    fn open(&self, options: Options) -> Ledger {
        Ledger::open(&self.0, options).unwrap()
    }
}

/// A world whose rows are in this directory.
#[cfg(feature = "embedded")]
pub async fn world(directory: &Path) -> World {
    World::open(Directory(directory.to_path_buf())).await
}

/// One world: a ledger with an asset, and a payer with [`FUNDS`].
pub struct World {
    engine: Box<dyn Engine>,
    options: Options,
    ledger: Option<Ledger>,
    pub clock: VirtualClock,
    nonce: AtomicU64,
}

impl World {
    /// An open ledger without a fee.
    pub async fn open(engine: impl Engine + 'static) -> Self {
        Self::with(engine, Options::open_to_all()).await
    }

    /// A ledger made with `options`, on the virtual clock.
    pub async fn with(engine: impl Engine + 'static, options: Options) -> Self {
        Self::starting(engine, options, START).await
    }

    /// A ledger whose time begins at `start`.
    pub async fn starting(engine: impl Engine + 'static, options: Options, start: u64) -> Self {
        let clock = VirtualClock::at(start);
        let options = Options { clock: clock.clock(), ..options };
        let ledger = engine.open(options.clone());
        let world =
            Self { engine: Box::new(engine), options, ledger: Some(ledger), clock, nonce: AtomicU64::new(0) };
        world.ledger().register(NewAsset { code: xts(), scale: 6, issuer: public(ISSUER) }).await.unwrap();
        world.fund(PAYER, FUNDS).await.unwrap();
        world
    }

    /// A world on rows that are there already; its numbers begin at `fresh`.
    pub fn again(engine: impl Engine + 'static, options: Options, fresh: u64) -> Self {
        let clock = VirtualClock::at(START);
        let options = Options { clock: clock.clock(), ..options };
        let ledger = Some(engine.open(options.clone()));
        Self { engine: Box::new(engine), options, ledger, clock, nonce: AtomicU64::new(fresh) }
    }

    /// What the ledger was made with, on the world's clock.
    pub fn options(&self) -> Options {
        self.options.clone()
    }

    pub fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().unwrap()
    }

    pub fn id(&self) -> LedgerId {
        self.ledger().id()
    }

    /// Closes the ledger and opens it again on the same rows.
    pub fn restart(&mut self) {
        self.ledger = None;
        self.ledger = Some(self.engine.open(self.options.clone()));
    }

    /// A number that no call before returned, as 32 bytes.
    pub fn fresh(&self) -> [u8; 32] {
        let mut bytes = [0xa5; 32];
        bytes[..8].copy_from_slice(&self.nonce.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        bytes
    }

    pub async fn fund(&self, account: u8, amount: u128) -> Result<(), LedgerError> {
        self.deposit(account, amount, self.fresh()).await
    }

    pub async fn deposit(&self, account: u8, amount: u128, reference: [u8; 32]) -> Result<(), LedgerError> {
        let deposit = Deposit { asset: xts(), account: public(account), amount: Amount(amount), reference };
        self.ledger().deposit(Signed::<Deposit>::sign(&self.id(), deposit, &secret(ISSUER))).await
    }

    /// Terms of an `auth-capture` payment of at most `amount` from the payer to the seller, refundable for a day.
    pub fn terms(&self, amount: u128) -> Terms {
        let now = self.clock.now();
        Terms {
            ledger: self.id(),
            scheme: Scheme::AuthCapture,
            flow: TermsFlow::Escrow,
            payer: public(PAYER),
            signer: public(PAYER),
            payee: public(SELLER),
            receiver_authorizer: public(AUTHORIZER),
            asset: xts(),
            max_amount: Amount(amount),
            valid_after: 0,
            valid_before: now.saturating_add(300),
            capture_deadline: now.saturating_add(HOLD),
            refund_deadline: now.saturating_add(86_400),
            fee: FeeTerms::default(),
            mandate: [0; 32],
            nonce: self.fresh(),
            binding: Binding::Body,
            digest: RequestDigest([7; 32]),
        }
    }

    /// Terms of an `exact` payment.
    pub fn exact(&self, amount: u128) -> Terms {
        Terms { scheme: Scheme::Exact, refund_deadline: 0, ..self.terms(amount) }
    }

    /// Terms of an `upto` payment.
    pub fn upto(&self, amount: u128) -> Terms {
        Terms { scheme: Scheme::Upto, ..self.exact(amount) }
    }

    /// Terms of a payment that is charged in one step.
    pub fn one_step(&self, amount: u128) -> Terms {
        Terms { flow: TermsFlow::Charge, capture_deadline: 0, ..self.terms(amount) }
    }

    pub async fn authorize(&self, terms: &Terms) -> Result<AuthorizeReply, LedgerError> {
        self.authorize_by(terms, PAYER, owner(1), "local").await
    }

    pub async fn authorize_by(
        &self,
        terms: &Terms,
        signer: u8,
        owner: Owner,
        tenant: &str,
    ) -> Result<AuthorizeReply, LedgerError> {
        self.ledger().authorize(authorize(terms, signer, owner, tenant)).await
    }

    /// Authorizes what must be accepted, and returns its id.
    pub async fn held(&self, terms: &Terms) -> PaymentId {
        let reply = self.authorize(terms).await.unwrap();
        assert_eq!(reply.standing, Standing::Owner { takeover: false });
        terms.id()
    }

    pub async fn charge(
        &self,
        terms: &Terms,
        amount: u128,
        answer: Option<&[u8]>,
    ) -> Result<AuthorizeReply, LedgerError> {
        let op = Op {
            payment: terms.id(),
            action: Action::Charge,
            cumulative: Amount(amount),
            last: true,
            epoch: 0,
            answer: answer_hash(answer),
        };
        let signature = secret(AUTHORIZER).sign(&signed_bytes(&self.id(), &[op]));
        let authorize = authorize(terms, PAYER, owner(1), "local");
        self.ledger().charge(Charge::check(authorize, op, answer.map(<[u8]>::to_vec), signature)?).await
    }

    /// One operation, signed by the receiverAuthorizer.
    pub async fn operate(&self, op: Op) -> Result<Payment, Refusal> {
        self.operate_by(AUTHORIZER, op, None).await
    }

    pub async fn operate_by(&self, signer: u8, op: Op, answer: Option<&[u8]>) -> Result<Payment, Refusal> {
        let operations = vec![(op, answer.map(<[u8]>::to_vec))];
        let operate = Operate::sign(&self.id(), &secret(signer), operations);
        match self.ledger().operate(operate).await {
            Ok(mut results) => results.remove(0),
            Err(LedgerError::Refused(refusal)) => Err(refusal),
            Err(error) => panic!("{error}"),
        }
    }

    /// Captures `amount` and ends the hold.
    pub async fn capture(&self, id: PaymentId, amount: u128) -> Result<Payment, Refusal> {
        self.operate(capture(id, amount, true)).await
    }

    /// Captures `amount`, ends the hold and stores `answer`.
    pub async fn capture_with(&self, id: PaymentId, amount: u128, answer: &[u8]) -> Result<Payment, Refusal> {
        let op = Op { answer: answer_hash(Some(answer)), ..capture(id, amount, true) };
        self.operate_by(AUTHORIZER, op, Some(answer)).await
    }

    pub async fn void(&self, id: PaymentId) -> Result<Payment, Refusal> {
        self.operate(void(id)).await
    }

    pub async fn refund(&self, id: PaymentId, cumulative: u128) -> Result<Payment, Refusal> {
        self.operate(refund(id, cumulative)).await
    }

    pub async fn change_keys(&self, signer: u8, change: KeyChange) -> Result<(), LedgerError> {
        self.ledger().change_keys(Signed::<KeyChange>::sign(&self.id(), change, &secret(signer))).await
    }

    pub async fn balance(&self, role: u8) -> u128 {
        self.ledger().balance(public(role), xts()).await.unwrap().0
    }

    /// What payer, seller and holds have: the three numbers that a payment moves.
    pub async fn money(&self) -> (u128, u128, i128) {
        // Balances first: asking for them ends holds that are past their deadline.
        let (payer, seller) = (self.balance(PAYER).await, self.balance(SELLER).await);
        (payer, seller, self.report().await.assets.get("XTS").map_or(0, |totals| totals.held))
    }

    /// What history says, which must balance.
    pub async fn report(&self) -> Report {
        let report = self.ledger().check().await.unwrap();
        assert_eq!(report.faults, Vec::<String>::new());
        report
    }

    /// Entries in history.
    pub async fn entries(&self) -> u64 {
        self.report().await.entries
    }

    /// Payments in this state, by history.
    pub async fn payments(&self, state: &str) -> u64 {
        self.report().await.payments.get(state).copied().unwrap_or(0)
    }
}

/// The change of a payer's key map that gives `key` a scope.
pub fn key_change(key: u8, scope: Option<Scope>, expiry: u64, sequence: u64) -> KeyChange {
    KeyChange { account: public(PAYER), key: public(key), scope, expiry, sequence }
}

/// A server process with a lease of a minute.
pub fn owner(number: u8) -> Owner {
    Owner { id: [number; 16], lease_seconds: 60 }
}

pub fn authorize(terms: &Terms, signer: u8, owner: Owner, tenant: &str) -> Authorize {
    let signed = terms.encode();
    let signature = secret(signer).sign(&signed);
    Authorize::read(signed, signature, owner, Tenant(tenant.into())).unwrap()
}

pub fn capture(payment: PaymentId, cumulative: u128, last: bool) -> Op {
    Op { payment, action: Action::Capture, cumulative: Amount(cumulative), last, epoch: 1, answer: [0; 32] }
}

pub fn void(payment: PaymentId) -> Op {
    Op { payment, action: Action::Void, cumulative: Amount::ZERO, last: false, epoch: 1, answer: [0; 32] }
}

pub fn refund(payment: PaymentId, cumulative: u128) -> Op {
    let cumulative = Amount(cumulative);
    Op { payment, action: Action::Refund, cumulative, last: false, epoch: 0, answer: [0; 32] }
}

/// Entries of these rows, decoded.
pub fn entries_of(storage: &mut MemoryStorage) -> Vec<Entry> {
    rows_of(storage, Table::Entry).iter().map(|(_, bytes)| Entry::decode(bytes).unwrap()).collect()
}

/// The refusal in an answer that must be one.
pub fn refusal<T: std::fmt::Debug>(answer: Result<T, LedgerError>) -> Refusal {
    match answer {
        Err(LedgerError::Refused(refusal)) => refusal,
        other => panic!("refused was expected, not {other:?}"),
    }
}
