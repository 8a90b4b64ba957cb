//! A connection to the server: how it is made, what it promises, and the number it writes under.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row as Columns, Statement};

use super::config::{PostgresConfig, Tls};
use super::error::{PostgresError, sql, text};
use super::{schema, tls};
use crate::engine::storage::StorageError;

/// The oldest server that works, as it numbers itself.
const OLDEST: i32 = 130_000;
/// How long an answer is waited for. The server gives up long before, if it is alive.
const PATIENCE: Duration = Duration::from_secs(60);
/// Committers that write to one ledger at the same time, at most.
const SLOTS: i32 = 4_096;

/// Every read is by a key, and tables grow faster than they are analysed: a plan that reads whole tables, or sorts
/// what an index has in order, is never right.
const BY_KEY: &str = "
    SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off;
    SET enable_bitmapscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET enable_sort = off;
    SET jit = off";

/// What a committer relies on, whatever the server's own settings are.
const COMMITTER: &str = "
    SET synchronous_commit = on;
    SET lock_timeout = '10s';
    SET statement_timeout = '30s';
    SET idle_in_transaction_session_timeout = '30s'";

/// A statement that waited for another one judges by what that one has left.
const BY_STATEMENT: &str = "SET default_transaction_isolation = 'read committed'";

/// A reader may take its time between two pages.
const READER: &str = "SET statement_timeout = '60s'; SET idle_in_transaction_session_timeout = '30min'";

/// A connection to one ledger's schema.
pub(crate) struct Session {
    pub(crate) client: Client,
    /// Statements by their text.
    prepared: Mutex<HashMap<String, Statement>>,
    /// The number of this committer's chain: an advisory lock that ends with the session.
    pub(super) chain: u32,
    /// What advisory locks on this ledger as a whole are named by.
    pub(super) name: i64,
}

impl Session {
    /// Connects, brings the schema up to date, and takes the lowest number that no other committer has.
    pub(super) async fn committer(config: &PostgresConfig) -> Result<Self, PostgresError> {
        let mut client = connect(config).await?;
        check_server(config, &client).await?;
        client.batch_execute(&[BY_KEY, COMMITTER].join(";")).await.map_err(sql)?;
        let name = lock_name(&config.schema);
        schema::migrate(&mut client, &config.schema, name, schema::MIGRATIONS).await?;
        let chain = take_slot(&client, slot_name(name)).await?;
        Ok(Self { client, prepared: Mutex::default(), chain, name })
    }

    /// Connects for reading everything as it is now.
    pub(super) async fn reader(config: &PostgresConfig) -> Result<Self, PostgresError> {
        let client = connect(config).await?;
        client.batch_execute(&[BY_KEY, READER].join(";")).await.map_err(sql)?;
        schema::enter(&client, &config.schema).await?;
        schema::check(&client, &config.schema).await?;
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(sql)?;
        // The first statement, not BEGIN, is the moment that it sees.
        client.batch_execute("SELECT").await.map_err(sql)?;
        let name = lock_name(&config.schema);
        Ok(Self { client, prepared: Mutex::default(), chain: 0, name })
    }

    /// Connects to other tables than a ledger's, in a schema of their own, and brings them up to date.
    pub(crate) async fn of_tables(
        config: &PostgresConfig,
        migrations: &[&str],
    ) -> Result<Self, PostgresError> {
        let mut client = connect(config).await?;
        check_server(config, &client).await?;
        client.batch_execute(&[BY_KEY, COMMITTER, BY_STATEMENT].join(";")).await.map_err(sql)?;
        let name = lock_name(&config.schema);
        schema::migrate(&mut client, &config.schema, name, migrations).await?;
        Ok(Self { client, prepared: Mutex::default(), chain: 0, name })
    }

    /// A statement that was prepared once.
    pub(crate) async fn prepare(&self, text: &str) -> Result<Statement, StorageError> {
        let prepared = || self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let known = prepared().get(text).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(text).await.map_err(sql)?;
        prepared().insert(text.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Prepares statements in one round trip.
    pub(super) async fn prepare_all(&self, texts: &[&str]) -> Result<Vec<Statement>, StorageError> {
        join_all(texts.iter().map(|text| self.prepare(text))).await.into_iter().collect()
    }

    pub(super) async fn query(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Columns>, StorageError> {
        let statement = self.prepare(statement).await?;
        self.client.query(&statement, parameters).await.map_err(sql)
    }

    pub(super) async fn execute(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, StorageError> {
        let statement = self.prepare(statement).await?;
        self.client.execute(&statement, parameters).await.map_err(sql)
    }

    pub(super) async fn run(&self, text: &str) -> Result<(), StorageError> {
        self.client.batch_execute(text).await.map_err(sql)
    }
}

/// Waits for an answer, and not for ever: a server that is gone does not say so.
pub(super) async fn within<T, E>(future: impl Future<Output = Result<T, E>>) -> Result<T, E>
where
    E: From<StorageError>,
{
    let late = |_| E::from(StorageError::failed("the PostgreSQL server does not answer"));
    tokio::time::timeout(PATIENCE, future).await.map_err(late)?
}

pub(super) async fn connect(config: &PostgresConfig) -> Result<Client, PostgresError> {
    let failed = |error: tokio_postgres::Error| PostgresError::of_connect(config, &error);
    // Whoever drives the runtime drives the connection, too. It ends with its client.
    let client = match &config.tls {
        Tls::Off => {
            let (client, connection) = config.server.connect(NoTls).await.map_err(failed)?;
            tokio::spawn(async move { ended(connection.await) });
            client
        }
        Tls::On(roots) => {
            let tls = tls::connector(roots.as_deref())?;
            let (client, connection) = config.server.connect(tls).await.map_err(failed)?;
            tokio::spawn(async move { ended(connection.await) });
            client
        }
    };
    Ok(client)
}

fn ended(connection: Result<(), tokio_postgres::Error>) {
    if let Err(error) = connection {
        tracing::warn!(error = text(&error), "the connection to the PostgreSQL server ended");
    }
}

async fn check_server(config: &PostgresConfig, client: &Client) -> Result<(), PostgresError> {
    let server = "SELECT current_setting('server_version_num')::int, \
         current_setting('server_version'), current_setting('fsync')";
    let row = client.query_one(server, &[]).await.map_err(sql)?;
    let read = || Ok::<_, tokio_postgres::Error>((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
    let (number, version, fsync): (i32, String, String) = read().map_err(sql)?;
    if number < OLDEST {
        return Err(PostgresError::TooOld(version));
    }
    if config.needs_fsync && fsync != "on" {
        return Err(PostgresError::NotDurable);
    }
    Ok(())
}

async fn take_slot(client: &Client, name: i32) -> Result<u32, PostgresError> {
    for slot in 0..SLOTS {
        let taken = client.query_one("SELECT pg_try_advisory_lock($1, $2)", &[&name, &slot]).await;
        if taken.and_then(|row| row.try_get(0)).map_err(sql)? {
            return Ok(slot.unsigned_abs());
        }
    }
    Err(StorageError::failed("too many processes write to this ledger").into())
}

fn lock_name(schema: &str) -> i64 {
    let hash: [u8; 32] = Sha256::digest(format!("farthing/postgres/{schema}")).into();
    let (first, _) = hash.split_at(8);
    i64::from_be_bytes(first.try_into().unwrap_or_default())
}

/// Advisory locks of two numbers are apart from those of one.
fn slot_name(name: i64) -> i32 {
    (name >> 32) as i32
}
