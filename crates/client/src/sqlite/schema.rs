//! The file: who may read it, its settings, and its tables.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{failed, migrate};
use crate::journal::JournalError;

/// The format that this version writes, in `user_version`.
pub const FORMAT: i64 = 3;
/// Says in the file's header whose it is: `fwal`.
const APPLICATION: i64 = 0x6677_616c;
/// The pause before a busy file is tried again while it is opened.
const PAUSE: Duration = Duration::from_millis(5);

/// Amounts are decimal text: they have up to 128 bits. Times are Unix seconds.
const TABLES: &str = "
    CREATE TABLE budgets (
        network TEXT NOT NULL, asset TEXT NOT NULL,
        per_request TEXT, per_host TEXT, total TEXT NOT NULL,
        per_payee TEXT, per_agent TEXT, per_task TEXT, per_hour TEXT, per_day TEXT, per_month TEXT,
        PRIMARY KEY (network, asset)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE payees (
        origin TEXT NOT NULL, network TEXT NOT NULL, payee TEXT NOT NULL,
        PRIMARY KEY (origin, network, payee)
    ) STRICT, WITHOUT ROWID;
    -- Reserved, and not signed yet.
    CREATE TABLE tickets (
        ticket INTEGER PRIMARY KEY AUTOINCREMENT,
        network TEXT NOT NULL, asset TEXT NOT NULL, origin TEXT NOT NULL, amount TEXT NOT NULL,
        reserved_at INTEGER NOT NULL,
        payee TEXT NOT NULL, agent TEXT, task TEXT, charged_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE payments (
        ticket INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        network TEXT NOT NULL, asset TEXT NOT NULL, origin TEXT NOT NULL, amount TEXT NOT NULL,
        payee TEXT NOT NULL,
        method TEXT NOT NULL, target TEXT NOT NULL, header_names TEXT NOT NULL, body_hash BLOB NOT NULL,
        digest BLOB NOT NULL, receipt_key BLOB,
        version INTEGER NOT NULL, header TEXT NOT NULL,
        payload TEXT NOT NULL, extensions TEXT NOT NULL, max_amount TEXT NOT NULL,
        valid_before INTEGER NOT NULL, capture_deadline INTEGER NOT NULL,
        state TEXT NOT NULL, taken TEXT,
        signed_at INTEGER NOT NULL, sent_at INTEGER, closed_at INTEGER,
        agent TEXT, task TEXT, charged_at INTEGER NOT NULL,
        -- What the seller said.
        status INTEGER, settled TEXT, receipt TEXT, receipt_jws TEXT
    ) STRICT;
    CREATE INDEX unfinished ON payments (ticket) WHERE closed_at IS NULL;
    CREATE TABLE frozen (since INTEGER NOT NULL) STRICT;
";

/// The tables that came with format 2.
pub(super) const TABLES_OF_2: &str = "
    -- What counts against the budgets: a sum for each scope, by its limit's name and its own. Windows end.
    CREATE TABLE counts (
        network TEXT NOT NULL, asset TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
        amount TEXT NOT NULL, ends INTEGER,
        PRIMARY KEY (network, asset, kind, name)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX windows ON counts (ends) WHERE ends IS NOT NULL;
    -- What was paid last at each path, and the payees that nobody needs to be asked about.
    CREATE TABLE prices (
        origin TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL,
        network TEXT NOT NULL, asset TEXT NOT NULL, amount TEXT NOT NULL,
        PRIMARY KEY (origin, method, path, network, asset)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE trusted (
        origin TEXT NOT NULL, network TEXT NOT NULL, payee TEXT NOT NULL,
        PRIMARY KEY (origin, network, payee)
    ) STRICT, WITHOUT ROWID;
";

/// Opens the journal in `path`, or makes it, before `deadline`.
pub(super) fn open(path: &Path, waits: Duration) -> Result<Connection, JournalError> {
    let path = private(path)?;
    let deadline = Instant::now() + waits;
    loop {
        match connect(&path, waits) {
            // SQLite does not wait by itself while others switch the file to its write-ahead log.
            Err(JournalError::Busy { .. }) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
}

fn connect(path: &Path, waits: Duration) -> Result<Connection, JournalError> {
    let failed = |error| failed(&error, waits);
    let mut connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    connection.busy_timeout(waits).map_err(failed)?;
    let tables = |connection: &Connection| {
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
    };
    // Before anything is written: a file of a newer version, or somebody else's, stays as it is.
    let is_new = tables(&connection).map_err(failed)? == 0 && number(&connection, "user_version")? == 0;
    let is_older = !is_new && own_format(&connection)? < FORMAT;
    let mode: String =
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(JournalError::Failed(format!("its file cannot have a write-ahead log, only `{mode}`")));
    }
    connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON;")
        .map_err(failed)?;
    if is_new {
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        // Another process may have been first.
        if tables(&step).map_err(failed)? == 0 {
            step.execute_batch(TABLES).map_err(failed)?;
            step.execute_batch(TABLES_OF_2).map_err(failed)?;
            step.pragma_update(None, "application_id", APPLICATION).map_err(failed)?;
            step.pragma_update(None, "user_version", FORMAT).map_err(failed)?;
        }
        step.commit().map_err(failed)?;
    }
    if is_older {
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        // Here too.
        let found = own_format(&step)?;
        if found == 1 {
            migrate::from_1(&step).map_err(failed)?;
        }
        if found < FORMAT {
            migrate::from_2(&step).map_err(failed)?;
            step.pragma_update(None, "user_version", FORMAT).map_err(failed)?;
        }
        step.commit().map_err(failed)?;
    }
    check(&connection)?;
    Ok(connection)
}

/// Whether this version may write the file, as it is now.
pub(super) fn check(connection: &Connection) -> Result<(), JournalError> {
    match own_format(connection)? {
        FORMAT => Ok(()),
        found => Err(JournalError::Failed(format!("its file has the older format {found}"))),
    }
}

/// The format of a journal that this version knows.
fn own_format(connection: &Connection) -> Result<i64, JournalError> {
    if number(connection, "application_id")? != APPLICATION {
        return Err(JournalError::Failed("its file is something else's database".into()));
    }
    match number(connection, "user_version")? {
        found @ 1..=FORMAT => Ok(found),
        found if found > FORMAT => Err(JournalError::Newer { found, known: FORMAT }),
        found => Err(JournalError::Failed(format!("its file has the unknown format {found}"))),
    }
}

fn number(connection: &Connection, name: &str) -> Result<i64, JournalError> {
    connection
        .pragma_query_value(None, name, |row| row.get(0))
        .map_err(|error| failed(&error, Duration::ZERO))
}

/// Makes the file readable by its owner only, or refuses one that others may read: payments in it can be
/// spent by whoever reads them. SQLite gives the files beside it the same mode.
fn private(path: &Path) -> Result<PathBuf, JournalError> {
    let failed = |error: std::io::Error| JournalError::Failed(format!("its file cannot be opened: {error}"));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(file) => {
            file.sync_all().map_err(failed)?;
            let path = path.canonicalize().map_err(failed)?;
            #[cfg(unix)]
            if let Some(directory) = path.parent() {
                File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
            }
            return Ok(path);
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    #[cfg(unix)]
    {
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).map_err(failed)?.permissions());
        if mode & 0o077 != 0 {
            let mode = mode & 0o777;
            return Err(JournalError::Failed(format!(
                "others may read its file (mode {mode:03o}): make it 600"
            )));
        }
    }
    path.canonicalize().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_is_flushed_to_the_disk_at_each_step() {
        let directory = tempfile::tempdir().unwrap();
        // The second time, the file is there.
        for _ in 0..2 {
            let connection = open(&directory.path().join("journal"), Duration::from_secs(1)).unwrap();
            assert_eq!(number(&connection, "synchronous"), Ok(2), "FULL");
            let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
            assert_eq!(mode, "wal");
            assert_eq!(number(&connection, "user_version"), Ok(FORMAT));
        }
    }
}
