//! What every store of records must do alike: one suite, expanded once for each of them.
#![cfg(feature = "embedded")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[cfg(feature = "postgres")]
#[path = "database/proxy.rs"]
mod proxy;
#[cfg(feature = "postgres")]
#[path = "../../testkit/src/postgres.rs"]
mod server;

#[path = "records/directory.rs"]
mod directory;
#[cfg(feature = "postgres")]
#[path = "records/outcome.rs"]
mod outcome;
#[path = "records/suite.rs"]
mod suite;

use std::path::Path;
use std::sync::Arc;

use farthing_ledger::records::{EmbeddedRecords, MemoryRecords};
#[cfg(feature = "postgres")]
use farthing_ledger::{engine::PostgresConfig, records::PostgresRecords};
use farthing_protocol::rail::BoxFuture;
use farthing_protocol::records::{Record, Records};

/// A place where records are.
trait Place {
    /// What a process has of it: another one than those before, where several may.
    fn open(&self) -> BoxFuture<'_, Arc<dyn Records>>;
}

#[derive(Default)]
struct Memory(Arc<MemoryRecords>);

impl Place for Memory {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Records>> {
        let records = self.0.clone();
        Box::pin(async move { records as Arc<dyn Records> })
    }
}

/// A directory, which one handle has at a time.
struct Embedded {
    directory: tempfile::TempDir,
    open: std::sync::Mutex<std::sync::Weak<EmbeddedRecords>>,
}

impl Default for Embedded {
    fn default() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), open: Default::default() }
    }
}

impl Embedded {
    fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Place for Embedded {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Records>> {
        let mut open = self.open.lock().unwrap();
        let records = open.upgrade().unwrap_or_else(|| Arc::new(EmbeddedRecords::open(self.path()).unwrap()));
        *open = Arc::downgrade(&records);
        Box::pin(async move { records as Arc<dyn Records> })
    }
}

#[cfg(feature = "postgres")]
struct Postgres(server::Schema);

#[cfg(feature = "postgres")]
impl Default for Postgres {
    fn default() -> Self {
        Self(server::Cluster::shared().schema())
    }
}

#[cfg(feature = "postgres")]
impl Postgres {
    fn config(&self, url: &str) -> PostgresConfig {
        let config: PostgresConfig = url.parse().unwrap();
        config.with_schema(&self.0.name).unwrap()
    }
}

#[cfg(feature = "postgres")]
impl Place for Postgres {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Records>> {
        let config = self.config(&self.0.url());
        Box::pin(async move { Arc::new(PostgresRecords::open(&config).await.unwrap()) as Arc<dyn Records> })
    }
}

fn record(value: impl AsRef<[u8]>, until: u64) -> Record {
    Record { value: value.as_ref().to_vec(), until }
}

/// Runs each test of the suite on a store, under the attributes that are given first. A test that is missing
/// here is an unused function, which the lints refuse.
macro_rules! conformance {
    ($(#[$attribute:meta])* $store:ident, $place:expr) => {
        conformance! { @tests [$(#[$attribute])*] $store, $place,
            a_record_is_inserted_once_replaced_and_removed
            a_failed_comparison_changes_nothing_and_tells_what_is_there
            a_record_that_must_not_be_there_and_stays_away_is_no_change
            of_sixty_four_claimants_one_gets_the_record
            a_counter_that_many_raise_counts_each_of_them
            a_scan_returns_the_records_of_a_prefix_in_order_page_by_page
            a_purge_removes_only_what_is_over_and_no_more_than_it_may
            a_record_that_was_prolonged_is_not_purged
            keys_and_values_have_their_limits
            a_record_that_is_never_over_is_kept
        }
    };
    (@tests $attributes:tt $store:ident, $place:expr, $($test:ident)*) => {
        mod $store {
            $(conformance! { @test $attributes $test $place })*
        }
    };
    (@test [$($attribute:tt)*] $test:ident $place:expr) => {
        $($attribute)*
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $test() {
            crate::suite::$test(&$place).await;
        }
    };
}

conformance!(memory, crate::Memory::default());
conformance!(embedded, crate::Embedded::default());
#[cfg(feature = "postgres")]
conformance!(
    #[ignore = "cargo xtask test"]
    postgres,
    crate::Postgres::default()
);
