//! The real engines, with concurrent clients on real handles.

use std::sync::Arc;

use farthing::protocol::SecretKey;
use farthing::{Ledger, Options};
use farthing_testkit::history::{Desk, Load, Ran};

/// Clients at the doors of one ledger; or of two, when they are two.
async fn run(ledgers: [Ledger; 2], seed: u64) -> Ran {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let load = Load { seed, accounts: 20, clients: 8, operations: 60, payments: 20, now };
    for ledger in &ledgers {
        load.fund(ledger).await;
    }
    let id = ledgers[0].id();
    let desks = ledgers.iter().map(|ledger| -> Arc<dyn Desk> { Arc::new(ledger.clone()) }).collect();
    let ran = load.run(id, desks).await;
    for ledger in ledgers {
        let report = ledger.check().await.unwrap();
        assert!(report.balanced(), "{:?}", report.faults);
    }
    ran
}

fn expect_explained(ran: &Ran) {
    let explained = ran.history.check().unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!((explained.accounts, explained.operations), (20, 20 * (8 * 60 + 21)));
    // Something of everything happened, so that there was something to explain.
    for what in ["held", "taken over", "in progress", "ended", "captured", "voided", "refunded", "refused"] {
        assert!(ran.heard.get(what).is_some_and(|count| *count > 10), "{what}: {:?}", ran.heard);
    }
    assert_eq!(ran.heard.get("unknown"), None);
}

fn memory() -> Ledger {
    Ledger::memory(SecretKey::from_seed([1; 32]), Options::open_to_all()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_clients_of_a_ledger_in_memory_have_a_history_that_is_explained() {
    let ledger = memory();
    expect_explained(&run([ledger.clone(), ledger], 1).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_clients_of_a_ledger_in_a_directory_have_a_history_that_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path(), Options::open_to_all()).unwrap();
    expect_explained(&run([ledger.clone(), ledger], 2).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_ledgers_of_one_name_that_share_nothing_are_found() {
    let ran = run([memory(), memory()], 3).await;
    let violation = ran.history.check().expect_err("each of them spends the same money");
    assert!(violation.trace[0].starts_with("every attempt ends"), "{violation}");
}
