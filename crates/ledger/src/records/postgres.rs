//! Records in a PostgreSQL database, for all processes that have its address.
//!
//! A change is one statement that compares and sets, and commits by itself: two that want the same record meet
//! at its row, and the second sees what the first has left. The tables are in a schema of their own beside the
//! ledger's, so that records need no ledger, and each has its own versions.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use farthing_protocol::rail::BoxFuture;
use farthing_protocol::records::{Page, Record, Records, RecordsError, Replaced};
use tokio::sync::Mutex;
use tokio_postgres::error::Severity;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Error, Row, Statement};

use super::{LATEST, check_change, check_key, is_expected, page};
use crate::engine::postgres::{Session, text};
use crate::engine::{PostgresConfig, PostgresError};

/// What makes each version from the one before; the first from nothing. Never changed once released.
const MIGRATIONS: &[&str] = &[include_str!("postgres/0001.sql")];

const GET: &str = "SELECT value, until FROM record WHERE key = $1";
const INSERT: &str = "INSERT INTO record (key, value, until) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
const UPDATE: &str = "UPDATE record SET value = $2, until = $3 WHERE key = $1 AND value = $4";
const REMOVE: &str = "DELETE FROM record WHERE key = $1 AND value = $2";
const PAGE: &str = "SELECT key, value, until FROM record WHERE key >= $1 AND key < $2 ORDER BY key LIMIT $3";
const REST: &str = "SELECT key, value, until FROM record WHERE key >= $1 ORDER BY key LIMIT $2";
/// Of several that purge at once, each takes others.
const PURGE: &str = "DELETE FROM record WHERE key IN (SELECT key FROM record WHERE until < $1 \
    ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED)";

/// Connections: so many changes are flushed at once, by one flush of the server's.
const CONNECTIONS: usize = 8;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// Times that a comparison is tried anew because what was there changed before it could be read.
const TRIES: u32 = 16;
const LATE: &str = "the PostgreSQL server does not answer";

/// Records in a PostgreSQL database. A connection that breaks is made anew by whoever needs it next.
pub struct PostgresRecords {
    config: PostgresConfig,
    connections: [Mutex<Option<Arc<Connection>>>; CONNECTIONS],
    next: AtomicUsize,
}

struct Connection {
    session: Session,
    /// The server did not answer over it.
    given_up: AtomicBool,
}

impl fmt::Debug for PostgresRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresRecords").field("config", &self.config).finish_non_exhaustive()
    }
}

impl PostgresRecords {
    /// Connects to a database by a connection string as the ledger's (see [`PostgresConfig`]), and makes the
    /// tables or brings them up to date, in the schema `farthing_records`.
    ///
    /// # Errors
    /// [`PostgresError`].
    pub async fn connect(url: &str) -> Result<Self, PostgresError> {
        Self::open(&url.parse()?).await
    }

    /// As [`connect`](Self::connect), in the schema that is named after the ledger's: `NAME_records`.
    ///
    /// # Errors
    /// [`PostgresError`].
    pub async fn open(database: &PostgresConfig) -> Result<Self, PostgresError> {
        let config = database.beside("records")?;
        let first = Session::of_tables(&config, MIGRATIONS).await?;
        let mut connections: [Mutex<Option<Arc<Connection>>>; CONNECTIONS] = Default::default();
        if let Some(connection) = connections.first_mut() {
            *connection.get_mut() = Some(Arc::new(first.into()));
        }
        Ok(Self { config, connections, next: AtomicUsize::new(0) })
    }

    /// A connection that works as far as is known.
    async fn connection(&self) -> Result<Arc<Connection>, RecordsError> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % CONNECTIONS;
        let Some(connection) = self.connections.get(next) else {
            return Err(RecordsError::Unavailable("there is no connection".into()));
        };
        let mut connection = connection.lock().await;
        if let Some(works) = connection.as_ref().filter(|connection| connection.works()) {
            return Ok(works.clone());
        }
        let made = in_time(Session::of_tables(&self.config, MIGRATIONS)).await;
        let made = made.ok_or_else(|| RecordsError::Unavailable(LATE.into()))?;
        let made = made.map_err(|error| RecordsError::Unavailable(error.to_string()))?;
        Ok(connection.insert(Arc::new(made.into())).clone())
    }

    /// Runs a statement that changes nothing.
    async fn read(&self, statement: &str, parameters: &Parameters<'_>) -> Result<Vec<Row>, RecordsError> {
        let connection = self.connection().await?;
        let statement = connection.prepare(statement).await?;
        match in_time(connection.session.client.query(&statement, parameters)).await {
            Some(rows) => rows.map_err(|error| RecordsError::Unavailable(text(&error))),
            None => Err(RecordsError::Unavailable(connection.give_up())),
        }
    }

    /// Runs a statement that changes records, and commits it: how many it changed.
    async fn change(&self, statement: &str, parameters: &Parameters<'_>) -> Result<u64, RecordsError> {
        let connection = self.connection().await?;
        let statement = connection.prepare(statement).await?;
        match in_time(connection.session.client.execute(&statement, parameters)).await {
            Some(Ok(changed)) => Ok(changed),
            // What the server calls an error of the statement has undone it.
            Some(Err(error)) if is_undone(&error) => Err(RecordsError::Unavailable(text(&error))),
            Some(Err(error)) => Err(RecordsError::Unknown(text(&error))),
            None => Err(RecordsError::Unknown(connection.give_up())),
        }
    }

    async fn look(&self, key: &[u8]) -> Result<Option<Record>, RecordsError> {
        let rows = self.read(GET, &[&key]).await?;
        rows.first().map(|row| record(row, 0)).transpose()
    }

    async fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<Record>,
    ) -> Result<Replaced, RecordsError> {
        let new = check_change(key, new)?;
        for _ in 0..TRIES {
            let changed = match (expected, &new) {
                (None, None) => 0,
                (None, Some(new)) => self.change(INSERT, &[&key, &new.value, &seconds(new.until)]).await?,
                (Some(expected), Some(new)) => {
                    self.change(UPDATE, &[&key, &new.value, &seconds(new.until), &expected]).await?
                }
                (Some(expected), None) => self.change(REMOVE, &[&key, &expected]).await?,
            };
            if changed > 0 {
                return Ok(Replaced::Done);
            }
            let there = self.look(key).await?;
            if !is_expected(there.as_ref(), expected) {
                return Ok(Replaced::Found(there));
            }
            if expected.is_none() && new.is_none() {
                return Ok(Replaced::Done);
            }
            // It was something else, and is what was expected again.
        }
        Err(RecordsError::Unavailable("the record changes too often".into()))
    }

    async fn page(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Page, RecordsError> {
        let Some((from, to)) = page(prefix, after) else { return Ok(Vec::new()) };
        let limit = count(limit);
        let rows = match to {
            Some(to) => self.read(PAGE, &[&from, &to, &limit]).await?,
            None => self.read(REST, &[&from, &limit]).await?,
        };
        rows.iter().map(|row| Ok((column(row, 0)?, record(row, 1)?))).collect()
    }
}

impl Records for PostgresRecords {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Record>, RecordsError>> {
        Box::pin(async move {
            check_key(key)?;
            self.look(key).await
        })
    }

    fn replace<'a>(
        &'a self,
        key: &'a [u8],
        expected: Option<&'a [u8]>,
        new: Option<Record>,
    ) -> BoxFuture<'a, Result<Replaced, RecordsError>> {
        Box::pin(self.compare_and_set(key, expected, new))
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, RecordsError>> {
        Box::pin(self.page(prefix, after, limit))
    }

    fn purge(&self, now: u64, limit: usize) -> BoxFuture<'_, Result<usize, RecordsError>> {
        Box::pin(async move {
            let removed = self.change(PURGE, &[&seconds(now), &count(limit)]).await?;
            Ok(usize::try_from(removed).unwrap_or(usize::MAX))
        })
    }
}

impl Connection {
    fn works(&self) -> bool {
        !self.session.client.is_closed() && !self.given_up.load(Ordering::Acquire)
    }

    async fn prepare(&self, statement: &str) -> Result<Statement, RecordsError> {
        match in_time(self.session.prepare(statement)).await {
            Some(statement) => statement.map_err(|error| RecordsError::Unavailable(error.to_string())),
            None => Err(RecordsError::Unavailable(self.give_up())),
        }
    }

    /// A server that does not answer is not waited for again over the same connection.
    fn give_up(&self) -> String {
        self.given_up.store(true, Ordering::Release);
        LATE.into()
    }
}

impl From<Session> for Connection {
    fn from(session: Session) -> Self {
        Self { session, given_up: AtomicBool::new(false) }
    }
}

/// What a statement is given.
type Parameters<'a> = [&'a (dyn ToSql + Sync)];

/// `None` when it takes too long.
async fn in_time<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(PATIENCE, future).await.ok()
}

/// Whether the server says that the statement failed, and not that the connection ends: that it may say after
/// the commit, too.
fn is_undone(error: &Error) -> bool {
    error.as_db_error().and_then(|error| error.parsed_severity()) == Some(Severity::Error)
}

fn record(row: &Row, first: usize) -> Result<Record, RecordsError> {
    let until: i64 = column(row, first + 1)?;
    Ok(Record { value: column(row, first)?, until: until.unsigned_abs() })
}

fn column<'a, T: FromSql<'a>>(row: &'a Row, at: usize) -> Result<T, RecordsError> {
    row.try_get(at).map_err(|error| RecordsError::Unavailable(text(&error)))
}

fn seconds(until: u64) -> i64 {
    i64::try_from(until.min(LATEST)).unwrap_or(i64::MAX)
}

fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
