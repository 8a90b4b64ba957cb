//! The engines that a world can run on.

use std::fmt::Debug;
use std::path::PathBuf;

use farthing::farthing_ledger::engine::PostgresConfig;
use farthing::{Ledger, Options};
use serde::{Deserialize, Serialize};

use crate::postgres::{Cluster, Schema};
use crate::world::key;

/// A place where a ledger's rows outlive it: opened again, it is the same ledger.
pub trait Engine: Debug + Send + Sync + 'static {
    /// Where its ledger is.
    fn place(&self) -> Place;
}

/// Where a ledger is, for a process to be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Place {
    /// Nowhere.
    Memory,
    /// A directory.
    Directory(PathBuf),
    /// A schema of a PostgreSQL database.
    Postgres {
        /// The database.
        url: String,
        /// The schema.
        schema: String,
    },
}

impl Place {
    /// Opens the ledger that is there.
    pub fn open(&self, options: Options) -> Ledger {
        match self {
            Self::Memory => Ledger::memory(key(103), options).unwrap(),
            Self::Directory(directory) => Ledger::open(directory, options).unwrap(),
            Self::Postgres { url, schema } => {
                let database: PostgresConfig = url.parse().unwrap();
                // The time is the test's.
                let database = database.with_schema(schema).unwrap().with_the_ledgers_clock();
                Ledger::postgres(&database, key(103), options).unwrap()
            }
        }
    }
}

/// A ledger in memory. It does not outlive its handles.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory;

impl Engine for Memory {
    fn place(&self) -> Place {
        Place::Memory
    }
}

/// A directory that is removed afterwards.
#[derive(Debug)]
pub struct Embedded(tempfile::TempDir);

impl Default for Embedded {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Engine for Embedded {
    fn place(&self) -> Place {
        Place::Directory(self.0.path().to_owned())
    }
}

/// A schema of a real PostgreSQL server.
#[derive(Debug)]
pub struct Postgres(pub Schema);

impl Default for Postgres {
    /// On the server that tests share.
    fn default() -> Self {
        Self(Cluster::shared().schema())
    }
}

impl Engine for Postgres {
    fn place(&self) -> Place {
        Place::Postgres { url: self.0.url(), schema: self.0.name.clone() }
    }
}

/// Expands tests that take an [`Engine`] into one for each durable engine: `embedded::NAME`, and
/// `postgres::NAME`, which needs a server and waits for `cargo xtask test`. A test that is missing in the list
/// is an unused function, which the lints refuse.
#[macro_export]
macro_rules! on_each_engine {
    ($($test:ident)*) => {
        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $test() {
                    super::$test(farthing_testkit::engine::Embedded::default()).await;
                }
            )*
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                #[ignore = "cargo xtask test"]
                async fn $test() {
                    super::$test(farthing_testkit::engine::Postgres::default()).await;
                }
            )*
        }
    };
}
