//! What can be wrong with a database, and who is at fault.

use std::error::Error as _;

use tokio_postgres::error::SqlState;

use super::config::PostgresConfig;
use crate::engine::storage::StorageError;

/// A ledger on PostgreSQL that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The connection string or the schema cannot be used. It never quotes them: they may hold a password.
    #[error("the database's connection string: {0}")]
    Config(String),
    /// Nobody answers there, or not yet.
    #[error("the PostgreSQL server at {server} cannot be reached: {why}")]
    Unreachable {
        /// Host and port, or the socket.
        server: String,
        /// What the operating system or the server says.
        why: String,
    },
    /// The server knows the user and not the password, or does not let them in.
    #[error("the PostgreSQL server at {server} does not let user {user} in: {why}")]
    Refused {
        /// Host and port, or the socket.
        server: String,
        /// The user.
        user: String,
        /// What the server says.
        why: String,
    },
    /// The database is not there; the operator makes it.
    #[error(
        "the PostgreSQL server at {server} has no database {database}; make it with `createdb {database}`"
    )]
    NoDatabase {
        /// Host and port, or the socket.
        server: String,
        /// The database.
        database: String,
    },
    /// The server cannot do what the ledger needs.
    #[error("the PostgreSQL server has version {0}; 13 is the oldest that works")]
    TooOld(String),
    /// The server may lose what it has confirmed.
    #[error(
        "the PostgreSQL server runs with fsync = off and can lose payments that it has confirmed; set it on"
    )]
    NotDurable,
    /// A later version of this program made the tables.
    #[error("schema {schema} has version {found}; this program knows versions up to {known}: update it")]
    Newer {
        /// The schema.
        schema: String,
        /// The version it has.
        found: i32,
        /// The version that this program would make.
        known: i32,
    },
    /// Nobody has made a ledger there.
    #[error("schema {0} of the database holds no ledger")]
    NoLedger(String),
    /// The certificates cannot be used.
    #[error("TLS to the PostgreSQL server: {0}")]
    Tls(String),
    /// The database cannot be read, or holds a ledger made with another key or other options.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<PostgresError> for StorageError {
    fn from(error: PostgresError) -> Self {
        match error {
            PostgresError::Storage(error) => error,
            other => Self::Failed(other.to_string()),
        }
    }
}

impl PostgresError {
    /// What a connection that came to nothing says.
    pub(super) fn of_connect(config: &PostgresConfig, error: &tokio_postgres::Error) -> Self {
        let (server, why) = (config.place(), text(error));
        match error.code() {
            Some(code)
                if [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION]
                    .contains(code) =>
            {
                Self::Refused { server, user: config.user().into(), why }
            }
            Some(code) if *code == SqlState::INVALID_CATALOG_NAME => {
                Self::NoDatabase { server, database: config.database().into() }
            }
            None if why.contains("password missing") => {
                Self::Refused { server, user: config.user().into(), why }
            }
            _ => Self::Unreachable { server, why },
        }
    }
}

/// Whether the server has certainly undone the transaction because others were in the way. Two that write one
/// key, such as two payments with one nonce, meet as a violation of uniqueness: the second try sees the first.
fn is_contention(code: &SqlState) -> bool {
    [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::UNIQUE_VIOLATION,
    ]
    .contains(code)
}

/// An error of a statement.
pub(super) fn sql(error: tokio_postgres::Error) -> StorageError {
    match error.code() {
        Some(code) if is_contention(code) => StorageError::Again(text(&error)),
        _ => StorageError::Failed(text(&error)),
    }
}

/// What the server says, or the driver and what is behind it.
pub(crate) fn text(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} ({})", said.message(), said.code().code());
    }
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
