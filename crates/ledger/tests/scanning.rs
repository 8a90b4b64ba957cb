//! How much of storage the committer looks at. In a log-structured engine every hold that ended leaves a
//! trace where it was listed, so a look at all open holds with each batch would cost more with each payment.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod world;

use std::sync::{Arc, Mutex};

use farthing_ledger::engine::{MemoryStorage, Row, Snapshot, Storage, StorageError, Writes};
use farthing_ledger::rows::Table;
use farthing_ledger::statement::PaymentState;
use farthing_ledger::{Ledger, Options};

use world::*;

/// Ranges of capture deadlines that were looked at; an unbounded look ends at `u64::MAX`.
type Looks = Arc<Mutex<Vec<(u64, u64)>>>;

/// Storage that writes down every look at the list of open holds.
#[derive(Clone, Debug, Default)]
struct Watched {
    rows: MemoryStorage,
    looks: Looks,
}

fn deadline(key: &[u8]) -> u64 {
    key.get(..8).map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
}

impl Storage for Watched {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.rows.get(table, key)
    }

    fn scan(&mut self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        if table == Table::Due {
            self.looks.lock().unwrap().push((deadline(from), u64::MAX));
        }
        self.rows.scan(table, from, limit)
    }

    fn between(
        &mut self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Row>, StorageError> {
        if table == Table::Due {
            self.looks.lock().unwrap().push((deadline(from), deadline(to)));
        }
        self.rows.between(table, from, to, limit)
    }

    fn commit(&mut self, writes: &Writes) -> Result<(), StorageError> {
        self.rows.commit(writes)
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, StorageError> {
        self.rows.snapshot()
    }
}

impl Engine for Watched {
    fn open(&self, options: Options) -> Ledger {
        Ledger::start(self.clone(), secret(LEDGER), options).unwrap()
    }
}

#[tokio::test]
async fn each_moment_of_open_holds_is_looked_at_once() {
    let looks = Looks::default();
    let world = World::open(Watched { looks: looks.clone(), ..Watched::default() }).await;
    let forgotten = world.held(&world.terms(1_000)).await;
    for _ in 0..50 {
        let id = world.held(&world.terms(1)).await;
        world.void(id).await.unwrap();
    }
    // A second passes, then all deadlines do; the hold that nobody ended ends without being asked for.
    for seconds in [1, 7_200, 1] {
        world.clock.pass(seconds);
        world.held(&world.terms(1)).await;
    }
    let (payment, now) = world.ledger().payment(forgotten).await.unwrap();
    assert_eq!(payment.unwrap().state, PaymentState::Reclaimed);

    let looks = looks.lock().unwrap();
    assert!(looks.iter().all(|(_, to)| *to <= now), "never behind the present: {looks:?}");
    let begun: Vec<u64> = looks.iter().map(|(from, _)| *from).collect();
    assert!(begun.is_sorted(), "never back: {looks:?}");
    assert!(looks.len() <= 6, "once for each moment, and once more where holds ended: {looks:?}");
}
