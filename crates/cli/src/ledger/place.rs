//! Where a ledger is: in a directory that nobody uses, or with a process that has it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use farthing::farthing_ledger::engine::admin::AskError;
use farthing::farthing_ledger::engine::{EmbeddedStorage, OpenError, Snapshot, Storage};

use crate::args::{Kind, Place};
use crate::style::{QUIET, TITLE, paint, safe};

/// A ledger that can be read.
pub(crate) enum Books {
    /// Its rows at this moment.
    Ours(Rows),
    /// Another process has the directory.
    Theirs(PathBuf),
}

/// Rows, and what keeps them: dropped in this order.
pub(crate) struct Rows {
    pub(crate) snapshot: Box<dyn Snapshot>,
    _storage: Option<Box<EmbeddedStorage>>,
}

impl Books {
    /// Opens what `place` names.
    ///
    /// # Errors
    /// A sentence for people.
    pub(crate) fn open(place: &Place) -> Result<Self, String> {
        let directory = match place.kind() {
            Kind::Directory(directory) => directory,
            Kind::Postgres(database, schema) => {
                let snapshot = postgres::read(&postgres::database(database, schema)?)?;
                return Ok(Self::Ours(Rows { snapshot, _storage: None }));
            }
        };
        match EmbeddedStorage::read(directory) {
            Ok(mut storage) => {
                let snapshot = storage.snapshot().map_err(|error| error.to_string())?;
                Ok(Self::Ours(Rows { snapshot, _storage: Some(Box::new(storage)) }))
            }
            Err(OpenError::InUse(_)) => Ok(Self::Theirs(directory.to_path_buf())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether another process has it.
    pub(crate) fn in_use(&self) -> bool {
        matches!(self, Self::Theirs(_))
    }
}

/// Ledgers in databases.
#[cfg(feature = "postgres")]
pub(crate) mod postgres {
    use farthing::farthing_ledger::engine::{PostgresConfig, PostgresStorage, Snapshot};
    use farthing::farthing_ledger::rows::{Genesis, Table};
    use farthing::protocol::SecretKey;
    use farthing::{Ledger, Options};

    /// The database that a connection string names, or the one on standard input for `-`.
    pub(crate) fn database(text: &str, schema: Option<&str>) -> Result<PostgresConfig, String> {
        let text = match text {
            "-" => std::io::read_to_string(std::io::stdin()).map_err(|error| error.to_string())?,
            text => text.to_owned(),
        };
        let config: PostgresConfig = text.trim().parse().map_err(words)?;
        schema.map_or(Ok(config.clone()), |schema| config.with_schema(schema).map_err(words))
    }

    /// All rows at this moment.
    pub(crate) fn read(database: &PostgresConfig) -> Result<Box<dyn Snapshot>, String> {
        PostgresStorage::read(database).map_err(words)
    }

    /// The ledger, as it was made, beside others that have it.
    pub(crate) fn open(database: &PostgresConfig, key: SecretKey) -> Result<Ledger, String> {
        // A database without a ledger is left as it is.
        let genesis = read(database)?.get(Table::Meta, b"genesis").map_err(words)?;
        let genesis = genesis.and_then(|genesis| Genesis::read(&genesis).ok());
        let genesis = genesis.ok_or("the database holds no ledger that was made to its end")?;
        Ledger::postgres(database, key, Options::of(&genesis)).map_err(words)
    }

    fn words(error: impl std::fmt::Display) -> String {
        error.to_string()
    }
}

/// Ledgers in databases, of which this program was built without.
#[cfg(not(feature = "postgres"))]
pub(crate) mod postgres {
    use farthing::Ledger;
    use farthing::farthing_ledger::engine::Snapshot;
    use farthing::protocol::SecretKey;

    pub(crate) fn database(_: &str, _: Option<&str>) -> Result<(), String> {
        Err("this farthing was built without PostgreSQL: build it with --features postgres".into())
    }

    pub(crate) fn read((): &()) -> Result<Box<dyn Snapshot>, String> {
        Err("no database".into())
    }

    pub(crate) fn open((): &(), _: SecretKey) -> Result<Ledger, String> {
        Err("no database".into())
    }
}

/// The first line of what is printed about a ledger.
pub(crate) fn title(what: &str, place: &Place, in_use: bool) -> String {
    let mut out = format!("{} {}\n", paint(TITLE, what), safe(&place.to_string()));
    if in_use {
        out.push_str(&paint(QUIET, "In use: the process that has it was asked.\n"));
    }
    out
}

/// Why the process that has `directory` did not do what it was asked to.
pub(crate) fn unanswered(directory: &Path, error: &AskError) -> String {
    let in_use = format!("{} is in use by another process", directory.display());
    match error {
        AskError::Unreachable(path, why) if why.kind() == ErrorKind::InvalidInput => format!(
            "{in_use}, and the path of its admin socket, {}, is longer than a socket's can be: name the directory \
             by a shorter path where it is opened and here, or stop that process first",
            path.display()
        ),
        AskError::Unreachable(..) => format!("{in_use}, and {error}; stop that process first"),
        AskError::Refused(_) => format!("{in_use}, and that says: {error}"),
        _ => error.to_string(),
    }
}
