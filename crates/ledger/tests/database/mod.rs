//! Ledgers in schemas of a real PostgreSQL server.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each suite uses its part of the fixture")]

mod proxy;
#[path = "../../../testkit/src/postgres.rs"]
pub mod server;

use std::sync::Arc;

use farthing_ledger::engine::PostgresConfig;
use farthing_ledger::{Ledger, Options};

pub use self::proxy::{Cut, Proxy};
use self::server::{Cluster, Schema};
use crate::world::{Engine, LEDGER, World, secret};

/// The PostgreSQL engine, in a schema that nobody else uses.
#[derive(Debug)]
pub struct Postgres(pub Schema);

impl Default for Postgres {
    fn default() -> Self {
        Self(Cluster::shared().schema())
    }
}

impl Postgres {
    /// The database, on the clock of the test.
    pub fn config(&self) -> PostgresConfig {
        self.config_of(&self.0.url())
    }

    pub fn config_of(&self, url: &str) -> PostgresConfig {
        let config: PostgresConfig = url.parse().unwrap();
        config.with_schema(&self.0.name).unwrap().with_the_ledgers_clock()
    }
}

impl Engine for Postgres {
    fn open(&self, options: Options) -> Ledger {
        Ledger::postgres(&self.config(), secret(LEDGER), options).unwrap()
    }
}

/// One database, for a world and whoever else opens it.
impl Engine for Arc<Postgres> {
    fn open(&self, options: Options) -> Ledger {
        (**self).open(options)
    }
}

/// The database behind a proxy.
#[derive(Debug)]
pub struct Proxied(pub Arc<Postgres>, pub Arc<Proxy>);

impl Engine for Proxied {
    fn open(&self, options: Options) -> Ledger {
        let config = self.0.config_of(&self.0.0.url_on(self.1.port));
        Ledger::postgres(&config, secret(LEDGER), options).unwrap()
    }
}

/// A second process on the ledger of `world`.
pub fn second(world: &World, database: &Postgres) -> Ledger {
    database.open(world.options())
}
