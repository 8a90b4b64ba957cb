//! Where a round is played: a ledger with funded accounts, made once and copied for each round, so that every round
//! begins with the same rows and can make the same payments.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use farthing_ledger::admin::{Deposit, NewAsset};
use farthing_ledger::command::Signed;
use farthing_ledger::engine::{
    EmbeddedStorage, MemoryStorage, PostgresConfig, PostgresStorage, Snapshot, Storage, Wanted, Writes,
};
use farthing_ledger::rows::Table;
use farthing_ledger::{Ledger, LedgerId, Options, keyfile};
use farthing_protocol::layout::{Reader, Writer};
use farthing_protocol::{Amount, SecretKey};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::Result;
use crate::meter::{Commits, Metered};
use crate::payments::{PRICE, Role, asset, hash, secret};
use crate::server::Cluster;

/// The ledger's key, in a directory of the embedded engine.
const KEY: &str = "ledger.key";
/// Accounts that are written together.
const TOGETHER: usize = 10_000;
/// The same in PostgreSQL, which compares all new balances of a batch with one another.
const TOGETHER_SHARED: usize = 1_000;
/// Deposits that are under way at the same time.
const DEPOSITS: usize = 512;
/// Decimal places of the asset.
const SCALE: u8 = 6;

/// An engine under measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// Gone with its process.
    Memory,
    /// A directory.
    Embedded,
    /// A private PostgreSQL server with its own settings, on loopback.
    Postgres,
}

impl Engine {
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Embedded, Self::Postgres];

    /// Whether it outlives its process.
    pub(crate) fn is_durable(self) -> bool {
        self != Self::Memory
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Embedded => "embedded",
            Self::Postgres => "postgres",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Accounts of a stage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accounts {
    /// Those that pay; each was given its money by a signed deposit.
    pub(crate) payers: usize,
    /// Further accounts that have one unit each. They are rows without history, written in big batches.
    pub(crate) idle: usize,
    /// Payments that are made at most: each payer can pay for them all.
    pub(crate) payments: usize,
}

/// A home for directories, and the key that all ledgers of a run share.
pub(crate) struct Home {
    directory: TempDir,
    key: SecretKey,
    /// The PostgreSQL server, once it is needed.
    cluster: OnceCell<Cluster>,
    databases: Cell<usize>,
}

impl Home {
    /// Beside the build's output, or wherever `parent` says: on a disk, not in memory.
    ///
    /// # Errors
    /// When no directory can be made.
    pub(crate) fn new(parent: &Path) -> Result<Self> {
        let directory = tempfile::tempdir_in(parent)?;
        let key = keyfile::load_or_create(directory.path().join(KEY))?;
        Ok(Self { directory, key, cluster: OnceCell::new(), databases: Cell::new(0) })
    }

    pub(crate) fn ledger(&self) -> LedgerId {
        LedgerId::of(&self.key.public())
    }

    /// Where the key is, for processes that share the ledger.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.directory.path().join(KEY)
    }

    fn cluster(&self) -> &Cluster {
        self.cluster.get_or_init(Cluster::own)
    }

    /// A database, empty or as another one is.
    fn database(&self, template: Option<&Database<'_>>) -> Database<'_> {
        let name = format!("bench_{}", self.databases.replace(self.databases.get() + 1));
        let cluster = self.cluster();
        let of = template
            .map_or(String::new(), |database| format!(" TEMPLATE {} STRATEGY FILE_COPY", database.name));
        cluster.sql(&format!("CREATE DATABASE {name}{of}"));
        Database { cluster, name }
    }

    fn fresh(&self) -> Result<TempDir> {
        Ok(tempfile::tempdir_in(self.directory.path())?)
    }
}

/// A database of the private server; dropped with this.
pub(crate) struct Database<'a> {
    cluster: &'a Cluster,
    name: String,
}

impl Database<'_> {
    /// Where it is, with user and password.
    pub(crate) fn url(&self) -> String {
        let url = self.cluster.url();
        let server = url.rsplit_once('/').map_or(url.as_str(), |(server, _)| server);
        format!("{server}/{}", self.name)
    }

    fn open(&self) -> Result<PostgresStorage> {
        Ok(PostgresStorage::open(&self.url().parse::<PostgresConfig>()?)?)
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        self.cluster.sql(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

/// A ledger with funded accounts, as often as it is wanted.
pub(crate) struct Stage<'a> {
    home: &'a Home,
    template: Template<'a>,
}

enum Template<'a> {
    Memory(MemoryStorage),
    Embedded(TempDir),
    Postgres(Database<'a>),
}

/// What a ledger stands on; removed with this.
#[allow(dead_code, reason = "held until the round is over")]
pub(crate) enum Place<'a> {
    Nowhere,
    Directory(TempDir),
    Database(Database<'a>),
}

/// A ledger of one round; what it stands on goes with it.
pub(crate) struct Scene<'a> {
    pub(crate) ledger: Ledger,
    pub(crate) commits: Commits,
    place: Place<'a>,
}

impl<'a> Stage<'a> {
    /// Makes a ledger, registers the asset, funds the payers and writes the idle accounts.
    ///
    /// # Errors
    /// When any of it fails.
    pub(crate) fn build(
        home: &'a Home,
        runtime: &Runtime,
        engine: Engine,
        accounts: Accounts,
    ) -> Result<Self> {
        let start = |storage: Box<dyn Storage>| -> Result<Ledger> {
            let ledger = home.start(storage, Commits::default())?;
            runtime.block_on(fund(&ledger, accounts))?;
            Ok(ledger)
        };
        let template = match engine {
            Engine::Memory => {
                let ledger = start(Box::<MemoryStorage>::default())?;
                let mut rows = copy_of(&mut *runtime.block_on(ledger.snapshot())?)?;
                add_idle(&mut rows, accounts.idle)?;
                Template::Memory(rows)
            }
            Engine::Embedded => {
                let directory = home.fresh()?;
                drop(start(Box::new(home.open(directory.path())?))?);
                add_idle(&mut home.open(directory.path())?, accounts.idle)?;
                Template::Embedded(directory)
            }
            Engine::Postgres => {
                let database = home.database(None);
                drop(start(Box::new(database.open()?))?);
                add_idle(&mut database.open()?, accounts.idle)?;
                home.cluster().sql("CHECKPOINT");
                Template::Postgres(database)
            }
        };
        Ok(Self { home, template })
    }

    /// The ledger as it was built, with nothing paid yet.
    ///
    /// # Errors
    /// When it cannot be copied or opened.
    pub(crate) fn open(&self, commits: Commits) -> Result<Scene<'a>> {
        let (storage, place): (Box<dyn Storage>, _) = match &self.template {
            Template::Memory(rows) => (Box::new(rows.clone()), Place::Nowhere),
            Template::Embedded(_) => {
                let directory = self.copy()?;
                (Box::new(self.home.open(directory.path())?), Place::Directory(directory))
            }
            Template::Postgres(_) => {
                let database = self.database()?;
                (Box::new(database.open()?), Place::Database(database))
            }
        };
        Ok(Scene { ledger: self.home.start(storage, commits.clone())?, commits, place })
    }

    /// A copy of the embedded ledger's directory, which nobody has opened.
    ///
    /// # Errors
    /// When it cannot be copied, or this is no embedded ledger.
    pub(crate) fn copy(&self) -> Result<TempDir> {
        let Template::Embedded(template) = &self.template else { return Err("not a directory".into()) };
        let directory = self.home.fresh()?;
        copy_directory(template.path(), directory.path())?;
        Ok(directory)
    }

    /// A copy of the database, which nobody has opened.
    ///
    /// # Errors
    /// When this is no ledger in PostgreSQL.
    pub(crate) fn database(&self) -> Result<Database<'a>> {
        let Template::Postgres(template) = &self.template else { return Err("not a database".into()) };
        Ok(self.home.database(Some(template)))
    }
}

impl<'a> Scene<'a> {
    /// Stops the ledger once everything is written, and removes what it stood on when the caller is done with it.
    pub(crate) fn close(self) -> Place<'a> {
        drop(self.ledger);
        self.place
    }
}

impl Home {
    fn start(&self, storage: Box<dyn Storage>, commits: Commits) -> Result<Ledger> {
        Ok(Ledger::start(Metered::new(storage, commits), self.key.clone(), Options::open_to_all())?)
    }

    /// The ledger in a database that [`Stage::database`] made.
    ///
    /// # Errors
    /// When it does not open.
    pub(crate) fn ledger_in(&self, database: &Database<'_>) -> Result<Ledger> {
        self.start(Box::new(database.open()?), Commits::default())
    }

    /// Opens an embedded ledger that has this run's key.
    fn open(&self, directory: &Path) -> Result<EmbeddedStorage> {
        let key = directory.join(KEY);
        if !key.exists() {
            fs::copy(self.key_file(), key)?;
        }
        Ok(EmbeddedStorage::open(directory)?.0)
    }
}

/// Registers the asset and gives the payers their money, as an issuer does.
async fn fund(ledger: &Ledger, accounts: Accounts) -> Result {
    let (issuer, asset) = (secret(Role::Issuer), asset()?);
    ledger.register(NewAsset { code: asset, scale: SCALE, issuer: issuer.public() }).await?;
    let amount = Amount(PRICE * accounts.payments as u128);
    let mut deposits = JoinSet::new();
    for number in 0..accounts.payers {
        if deposits.len() >= DEPOSITS {
            deposits.join_next().await.ok_or("no deposit")???;
        }
        let (ledger, issuer) = (ledger.clone(), issuer.clone());
        deposits.spawn(async move {
            let account = secret(Role::Payer(number)).public();
            let reference = hash(&format!("deposit {number}"));
            let deposit = Deposit { asset, account, amount, reference };
            ledger.deposit(Signed::<Deposit>::sign(&ledger.id(), deposit, &issuer)).await
        });
    }
    while let Some(deposit) = deposits.join_next().await {
        deposit??;
    }
    Ok(())
}

/// Writes accounts that have one unit each, and as much less in the book of what was issued.
fn add_idle(storage: &mut dyn Storage, accounts: usize) -> Result {
    let asset = asset()?;
    let row = |kind: u8, key: [u8; 32]| {
        Writer::bare().u8(kind).fixed(&key).fixed(asset.as_str().as_bytes()).finish()
    };
    let (account, issued) = (1, row(3, [0; 32]));
    let together = if storage.shared() { TOGETHER_SHARED } else { TOGETHER };
    for from in (0..accounts).step_by(together) {
        let numbers = from..(from + together).min(accounts);
        storage.begin(&Wanted::default())?;
        let mut writes = Writes::default();
        writes.balances.insert(issued.clone(), -(numbers.len() as i128));
        writes.balances.extend(numbers.map(|number| (row(account, hash(&format!("idle {number}"))), 1)));
        if !storage.shared() {
            // There are no balances for these accounts yet.
            let before = storage.get(Table::Balance, &issued)?.ok_or("nothing was issued")?;
            *writes.balances.entry(issued.clone()).or_default() += Reader::bare(&before).i128()?;
            let rows = std::mem::take(&mut writes.balances).into_iter();
            let rows =
                rows.map(|(row, amount)| ((Table::Balance, row), Some(Writer::bare().i128(amount).finish())));
            writes.rows.extend(rows);
        }
        storage.commit(&writes)?;
    }
    Ok(())
}

/// All rows, in memory.
fn copy_of(rows: &mut dyn Snapshot) -> Result<MemoryStorage> {
    let mut writes = Writes::default();
    for table in Table::ALL {
        for (key, value) in rows.scan(table, &[], usize::MAX)? {
            writes.rows.insert((table, key), Some(value));
        }
    }
    let mut copy = MemoryStorage::default();
    copy.commit(&writes)?;
    Ok(copy)
}

fn copy_directory(from: &Path, to: &Path) -> Result {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
