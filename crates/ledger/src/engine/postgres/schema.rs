//! The tables, and how they come to be.

use tokio_postgres::{Client, GenericClient};

use super::error::{PostgresError, sql};
use crate::engine::storage::StorageError;

/// What makes each version from the one before; the first from nothing. Never changed once released.
pub(super) const MIGRATIONS: &[&str] = &[include_str!("migrations/0001.sql")];

/// Makes this schema the only one whose tables are seen.
pub(super) async fn enter(client: &Client, schema: &str) -> Result<(), StorageError> {
    // The name was checked to need no more than quotes.
    client.batch_execute(&format!("SET search_path = \"{schema}\", pg_temp")).await.map_err(sql)
}

/// The version of the schema; `None` when it holds no ledger.
async fn version(client: &impl GenericClient) -> Result<Option<i32>, StorageError> {
    let found = client.query_one("SELECT to_regclass('schema_version') IS NOT NULL", &[]).await;
    if !found.and_then(|row| row.try_get::<_, bool>(0)).map_err(sql)? {
        return Ok(None);
    }
    let row = client.query_one("SELECT coalesce(max(version), 0) FROM schema_version", &[]).await;
    row.and_then(|row| row.try_get(0)).map(Some).map_err(sql)
}

/// Whether there is a ledger that this program can read.
pub(super) async fn check(client: &Client, schema: &str) -> Result<(), PostgresError> {
    let version = version(client).await?.ok_or_else(|| PostgresError::NoLedger(schema.into()))?;
    not_newer(schema, version, MIGRATIONS)
}

fn not_newer(schema: &str, found: i32, migrations: &[&str]) -> Result<(), PostgresError> {
    let known = i32::try_from(migrations.len()).unwrap_or(i32::MAX);
    if found > known {
        return Err(PostgresError::Newer { schema: schema.into(), found, known });
    }
    Ok(())
}

/// Brings a schema up to the last version, making it when it is not there, in one transaction. Of several
/// processes that start at once, one does it and the others wait.
pub(super) async fn migrate(
    client: &mut Client,
    schema: &str,
    name: i64,
    migrations: &[&str],
) -> Result<(), PostgresError> {
    enter(client, schema).await?;
    let change = client.transaction().await.map_err(sql)?;
    change.execute("SELECT pg_advisory_xact_lock($1)", &[&name]).await.map_err(sql)?;
    // Nothing is made that is there: whoever runs an existing ledger needs no right to make a schema.
    let version = match version(&change).await? {
        Some(version) => version,
        None => {
            let there = change.query_opt("SELECT 1 FROM pg_namespace WHERE nspname = $1", &[&schema]).await;
            if there.map_err(sql)?.is_none() {
                change.batch_execute(&format!("CREATE SCHEMA \"{schema}\"")).await.map_err(sql)?;
            }
            let table = "CREATE TABLE schema_version (version integer PRIMARY KEY, \
                 made_at timestamptz NOT NULL DEFAULT now())";
            change.batch_execute(table).await.map_err(sql)?;
            0
        }
    };
    not_newer(schema, version, migrations)?;
    for (migration, number) in migrations.iter().zip(1_i32..) {
        if number > version {
            change.batch_execute(migration).await.map_err(sql)?;
            let row = "INSERT INTO schema_version (version) VALUES ($1)";
            change.execute(row, &[&number]).await.map_err(sql)?;
            tracing::info!(schema, version = number, "the tables were brought up to date");
        }
    }
    change.commit().await.map_err(sql)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::postgres::PostgresConfig;
    use crate::engine::postgres::driver::Driver;
    use crate::engine::postgres::server::Cluster;
    use crate::engine::postgres::session::connect;

    const FIRST: &str = "CREATE TABLE thing (name text); INSERT INTO thing VALUES ('kept')";
    const SECOND: &str = "ALTER TABLE thing ADD COLUMN size integer NOT NULL DEFAULT 7";
    const BROKEN: &str = "ALTER TABLE thing ADD COLUMN more integer; SELECT 1/0";

    /// Migrates over a connection of its own.
    fn run(config: &PostgresConfig, migrations: &[&str]) -> Result<(), PostgresError> {
        Driver::new().unwrap().run(async {
            let mut client = connect(config).await?;
            migrate(&mut client, &config.schema, 1, migrations).await
        })?
    }

    #[test]
    #[ignore = "cargo xtask test"]
    fn an_older_schema_is_brought_up_to_date_and_a_newer_one_refused() {
        let schema = Cluster::shared().schema();
        let config: PostgresConfig = schema.url().parse().unwrap();
        let config = config.with_schema(&schema.name).unwrap();
        let things = || schema.sql("SELECT * FROM thing");
        run(&config, &[FIRST]).unwrap();
        assert_eq!(things(), "kept\n");
        run(&config, &[FIRST, SECOND]).unwrap();
        assert_eq!(things(), "kept|7\n");
        run(&config, &[FIRST, SECOND]).expect("nothing is left to do");
        assert!(run(&config, &[FIRST, SECOND, BROKEN]).is_err());
        assert_eq!(things(), "kept|7\n", "all of a migration or nothing");
        let error = run(&config, &[FIRST]).unwrap_err();
        assert!(matches!(error, PostgresError::Newer { found: 2, known: 1, .. }), "{error}");
        assert_eq!(schema.sql("SELECT version FROM schema_version ORDER BY 1"), "1\n2\n");
    }
}
