//! `check` believes nothing: damage that is planted in storage, also with a chain and a head that fit, is found.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod world;

use farthing_ledger::admin::{Deposit, Scope};
use farthing_ledger::check::Report;
use farthing_ledger::engine::{MemoryStorage, Storage, Writes};
use farthing_ledger::entry::{Entry, Event, Evidence, Posting};
use farthing_ledger::identity::Book;
use farthing_ledger::operation::{Op, answer_hash, signed_bytes};
use farthing_ledger::rows::{Genesis, Head, Table};
use farthing_ledger::terms::{FeeTerms, Terms};
use farthing_ledger::{LedgerId, Options};
use farthing_protocol::{Amount, PublicKey};

use world::*;

/// A history with every kind of event, and the rows it left.
async fn history() -> (World, MemoryStorage) {
    let storage = SharedStorage::default();
    let options = Options { fee_bps: 250, fee_recipient: public(FEE_RECIPIENT), ..Options::open_to_all() };
    let world = World::with(Memory(storage.clone()), options).await;
    let fee = FeeTerms { min_bps: 0, max_bps: 250, recipient: public(FEE_RECIPIENT).0 };
    let terms = |amount| Terms { fee, ..world.terms(amount) };

    world.fund(OTHER_PAYER, 5_000).await.unwrap();
    world.change_keys(PAYER, key_change(SECOND_KEY, Some(Scope::Pay), 0, 1)).await.unwrap();
    let parts = world.held(&terms(10_000)).await;
    world.operate(capture(parts, 4_000, false)).await.unwrap();
    world.capture_with(parts, 8_000, b"the answer").await.unwrap();
    world.refund(parts, 1_000).await.unwrap();
    let voided = world.held(&terms(2_000)).await;
    world.void(voided).await.unwrap();
    let whole = world.held(&Terms { fee, ..world.exact(3_000) }).await;
    world.capture(whole, 3_000).await.unwrap();
    let short = Terms { capture_deadline: START + 100, ..terms(700) };
    world.held(&short).await;
    let second = Terms { signer: public(SECOND_KEY), ..terms(600) };
    world.authorize_by(&second, SECOND_KEY, owner(1), "local").await.unwrap();
    world.clock.pass(60);
    world.authorize_by(&second, SECOND_KEY, owner(2), "local").await.unwrap();
    world.charge(&Terms { fee, ..world.one_step(900) }, 800, Some(b"at once")).await.unwrap();
    world.clock.pass(60);
    let open = world.held(&terms(1_500)).await;
    world.operate(capture(open, 500, false)).await.unwrap();

    let rows = storage.copy();
    (world, rows)
}

fn write(rows: &mut MemoryStorage, table: Table, key: &[u8], value: Option<Vec<u8>>) {
    rows.commit(&Writes::from([((table, key.to_vec()), value)])).unwrap();
}

/// The check of a copy of `rows` that `damage` has changed.
fn after(rows: &MemoryStorage, damage: impl FnOnce(&mut MemoryStorage)) -> Report {
    let mut copy = rows.clone();
    damage(&mut copy);
    check_rows(&mut copy)
}

#[track_caller]
fn found(report: &Report, fault: &str) {
    assert!(report.faults.iter().any(|f| f.contains(fault)), "no fault says {fault:?}: {:#?}", report.faults);
}

/// Changes entries, then makes the chain and the head fit again with the ledger's own key: only what the
/// entries say can be wrong.
fn rewritten(rows: &MemoryStorage, change: impl FnOnce(&mut Vec<Entry>)) -> Report {
    after(rows, |rows| {
        let mut entries = entries_of(rows);
        change(&mut entries);
        for (key, _) in rows_of(rows, Table::Entry) {
            write(rows, Table::Entry, &key, None);
        }
        let mut previous = [0; 32];
        for (entry, sequence) in entries.iter_mut().zip(1..) {
            (entry.sequence, entry.position, entry.previous) = (sequence, sequence, previous);
            let bytes = entry.encode();
            previous = Entry::hash(&bytes);
            write(rows, Table::Entry, &sequence.to_be_bytes(), Some(bytes));
        }
        let clock = entries.iter().map(|e| e.at).max().unwrap();
        let head = Head { sequence: entries.len() as u64, hash: previous, clock };
        write_head(rows, &head, LEDGER);
    })
}

fn write_head(rows: &mut MemoryStorage, head: &Head, signer: u8) {
    let signature = secret(signer).sign(&head.signed_bytes(&LedgerId::of(&public(LEDGER))));
    let row =
        [&head.sequence.to_be_bytes()[..], &head.hash, &head.clock.to_be_bytes(), &signature.0].concat();
    write(rows, Table::Meta, b"head", Some(row));
}

fn head_of(rows: &mut MemoryStorage) -> Head {
    let row = rows.get(Table::Meta, b"head").unwrap().unwrap();
    Head {
        sequence: u64::from_be_bytes(row[..8].try_into().unwrap()),
        hash: row[8..40].try_into().unwrap(),
        clock: u64::from_be_bytes(row[40..48].try_into().unwrap()),
    }
}

fn position(entries: &[Entry], name: &str) -> usize {
    entries.iter().position(|e| e.event.name() == name).unwrap()
}

/// The entry of the `nth` list of operations.
fn operate(entries: &mut [Entry], nth: usize) -> &mut Entry {
    entries.iter_mut().filter(|e| e.event.name() == "operate").nth(nth).unwrap()
}

/// Signs an entry's operations again, after `change`.
fn resign(entry: &mut Entry, key: u8, change: impl FnOnce(&mut Op)) {
    let Event::Operate(signer, signature, operations) = &mut entry.event else { panic!("{:?}", entry.event) };
    change(&mut operations[0].0);
    let list: Vec<Op> = operations.iter().map(|(op, _)| *op).collect();
    *signer = public(key);
    *signature = secret(key).sign(&signed_bytes(&LedgerId::of(&public(LEDGER)), &list));
}

#[tokio::test]
async fn an_untouched_history_of_every_event_is_balanced() {
    let (world, mut rows) = history().await;
    let names: std::collections::BTreeSet<_> = entries_of(&mut rows).iter().map(|e| e.event.name()).collect();
    let all =
        ["genesis", "asset", "deposit", "keys", "authorize", "takeover", "operate", "charge", "reclaim"];
    assert_eq!(names, all.into());
    let report = check_rows(&mut rows);
    assert_eq!(report.faults, Vec::<String>::new());
    assert_eq!(report, world.report().await);
    let totals = report.assets["XTS"];
    assert_eq!((totals.issued, totals.held), ((FUNDS + 5_000) as i128, 600 + 1_000));
    assert_eq!(totals.accounts + totals.held, totals.issued);
    assert!(report.signatures > report.entries - 3);
    assert_eq!(rewritten(&rows, |_| {}), report, "writing the same entries again changes nothing");
}

#[tokio::test]
async fn a_flipped_byte_in_any_entry_is_found() {
    let (_, mut rows) = history().await;
    for (key, bytes) in rows_of(&mut rows, Table::Entry) {
        for at in (0..bytes.len()).step_by(13).chain([bytes.len() - 1]) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            let report = after(&rows, |rows| write(rows, Table::Entry, &key, Some(damaged)));
            assert!(!report.balanced(), "byte {at} of entry {key:?}");
        }
    }
}

#[tokio::test]
async fn a_removed_entry_is_found() {
    let (_, mut rows) = history().await;
    for (key, _) in rows_of(&mut rows, Table::Entry) {
        assert!(!after(&rows, |rows| write(rows, Table::Entry, &key, None)).balanced(), "entry {key:?}");
    }
    let count = entries_of(&mut rows).len();
    for gone in 0..count {
        let report = rewritten(&rows, |entries| drop(entries.remove(gone)));
        assert!(!report.balanced(), "entry {gone} out of a chain that fits");
    }
}

#[tokio::test]
async fn swapped_entries_are_found() {
    let (_, mut rows) = history().await;
    let entries = rows_of(&mut rows, Table::Entry);
    for pair in entries.windows(2) {
        let [(first, one), (second, two)] = pair else { unreachable!() };
        let report = after(&rows, |rows| {
            write(rows, Table::Entry, first, Some(two.clone()));
            write(rows, Table::Entry, second, Some(one.clone()));
        });
        assert!(!report.balanced());
    }
    let capture_first = rewritten(&rows, |entries| {
        let at = position(entries, "authorize");
        entries.swap(at, at + 1);
    });
    found(&capture_first, "an unknown payment");
}

#[tokio::test]
async fn an_entry_too_many_is_found() {
    let (_, rows) = history().await;
    for name in ["asset", "deposit", "keys", "authorize", "charge", "takeover", "reclaim", "genesis"] {
        let report = rewritten(&rows, |entries| {
            let again = entries[position(entries, name)].clone();
            let at = entries.last().unwrap().at;
            entries.push(Entry { at, ..again });
        });
        assert!(!report.balanced(), "{name}");
    }
    let twice = |name: &'static str| {
        rewritten(&rows, move |entries| {
            let at = position(entries, name);
            entries.insert(at, entries[at].clone());
        })
    };
    found(&twice("deposit"), "issues the same deposit twice");
    found(&twice("authorize"), "pays the same payment twice");
    found(&twice("charge"), "pays the same payment twice");
    found(&twice("takeover"), "is not the next epoch of a hold");
    found(&twice("reclaim"), "ends a hold before its deadline");
    found(&twice("genesis"), "a second genesis");
}

#[tokio::test]
async fn a_changed_added_or_missing_balance_is_found() {
    let (_, mut rows) = history().await;
    let balances = rows_of(&mut rows, Table::Balance);
    for (key, value) in &balances {
        let balance = i128::from_be_bytes(value.as_slice().try_into().unwrap());
        for other in [balance + 1, balance - 1, 0, -balance, i128::MAX, i128::MIN] {
            let bytes = other.to_be_bytes().to_vec();
            let report = after(&rows, |rows| write(rows, Table::Balance, key, Some(bytes)));
            assert_eq!(report.balanced(), other == balance);
        }
        assert!(!after(&rows, |rows| write(rows, Table::Balance, key, None)).balanced());
        let longer = [value.as_slice(), &[0]].concat();
        assert!(!after(&rows, |rows| write(rows, Table::Balance, key, Some(longer))).balanced());
    }
    let mut key = balances[0].0.clone();
    key[1..33].copy_from_slice(&public(STRANGER).0);
    let added = after(&rows, |rows| write(rows, Table::Balance, &key, Some(1_i128.to_be_bytes().to_vec())));
    found(&added, "no entry explains");
    // Two accounts changed so that the sum still fits.
    let accounts: Vec<_> = balances.iter().filter(|(key, _)| key[0] == 1).take(2).collect();
    let report = after(&rows, |rows| {
        for ((key, value), change) in accounts.into_iter().zip([1, -1]) {
            let balance = i128::from_be_bytes(value.as_slice().try_into().unwrap()) + change;
            write(rows, Table::Balance, key, Some(balance.to_be_bytes().to_vec()));
        }
    });
    found(&report, "where history says");
}

/// Bytes of a payment row that history does not tell: the owner's id, its lease, the tenant.
fn told_by_nobody(at: usize) -> bool {
    let tenant = 67 + 4 + "local".len();
    (35..51).contains(&at) || (59..tenant).contains(&at)
}

#[tokio::test]
async fn a_changed_payment_is_found() {
    let (_, mut rows) = history().await;
    let payments = rows_of(&mut rows, Table::Payment);
    assert!(payments.len() >= 7);
    for (key, value) in &payments {
        for at in (0..value.len()).filter(|at| !told_by_nobody(*at)) {
            let mut damaged = value.clone();
            damaged[at] ^= 1;
            let report = after(&rows, |rows| write(rows, Table::Payment, key, Some(damaged)));
            assert!(!report.balanced(), "byte {at} of payment {key:?}");
        }
        // State, captured and epoch, by their places in the row.
        for (at, bytes) in
            [(0, vec![1]), (0, vec![2]), (0, vec![3]), (0, vec![4]), (16, vec![77]), (58, vec![9])]
        {
            let mut changed = value.clone();
            changed[at..at + bytes.len()].copy_from_slice(&bytes);
            let same = changed == *value;
            let report = after(&rows, |rows| write(rows, Table::Payment, key, Some(changed)));
            assert_eq!(report.balanced(), same, "{at}");
        }
        found(&after(&rows, |rows| write(rows, Table::Payment, key, None)), "no row");
    }
    let (_, value) = &payments[0];
    found(&after(&rows, |rows| write(rows, Table::Payment, &[9; 32], Some(value.clone()))), "has no entry");
}

#[tokio::test]
async fn a_due_row_too_few_or_too_many_is_found() {
    let (_, mut rows) = history().await;
    let due = rows_of(&mut rows, Table::Due);
    assert_eq!(due.len(), 2);
    for (key, _) in &due {
        found(&after(&rows, |rows| write(rows, Table::Due, key, None)), "holds are open");
        let mut later = key.clone();
        later[7] ^= 1;
        let moved = after(&rows, |rows| {
            write(rows, Table::Due, key, None);
            write(rows, Table::Due, &later, Some(Vec::new()));
        });
        found(&moved, "is listed as held and is not");
    }
    for (id, _) in rows_of(&mut rows, Table::Payment) {
        let key = [&(START + 5).to_be_bytes()[..], &id].concat();
        let added = after(&rows, |rows| write(rows, Table::Due, &key, Some(Vec::new())));
        found(&added, "is listed as held and is not");
    }
    assert!(!after(&rows, |rows| write(rows, Table::Due, b"short", Some(Vec::new()))).balanced());
}

#[tokio::test]
async fn a_changed_row_of_any_table_is_found() {
    let (_, mut rows) = history().await;
    let tables = [Table::Asset, Table::Keys, Table::Deposit, Table::Replay, Table::Answer, Table::Meta];
    for table in tables {
        let all = rows_of(&mut rows, table);
        assert!(!all.is_empty(), "{table:?}");
        // Where the purge has come to is nobody's claim: it looks at the age of what it removes.
        for (key, value) in all.iter().filter(|(key, _)| !key.starts_with(b"purge")) {
            for at in 0..value.len() {
                let mut damaged = value.clone();
                damaged[at] ^= 1;
                let report = after(&rows, |rows| write(rows, table, key, Some(damaged)));
                assert!(!report.balanced(), "byte {at} of {table:?} {key:?}");
            }
            let longer = [value.as_slice(), &[0]].concat();
            assert!(!after(&rows, |rows| write(rows, table, key, Some(longer))).balanced(), "{table:?}");
            let removed = after(&rows, |rows| write(rows, table, key, None));
            assert_eq!(removed.balanced(), table == Table::Answer, "a missing answer costs nobody money");
            let mut moved = key.clone();
            moved[0] ^= 1;
            let added = after(&rows, |rows| write(rows, table, &moved, Some(value.clone())));
            assert_eq!(added.balanced(), table == Table::Meta, "{table:?}");
        }
    }
}

#[tokio::test]
async fn a_wrong_head_is_found() {
    let (_, mut rows) = history().await;
    let head = head_of(&mut rows);
    let with = |head: Head, signer: u8| after(&rows, |rows| write_head(rows, &head, signer));
    assert!(with(head, LEDGER).balanced());
    found(&with(head, STRANGER), "the head's signature is wrong");
    let wrong = [
        Head { hash: [1; 32], ..head },
        Head { sequence: head.sequence + 1, ..head },
        Head { sequence: head.sequence - 1, ..head },
        Head { sequence: 0, ..head },
        Head { clock: head.clock - 1_000, ..head },
    ];
    for wrong in wrong {
        found(&with(wrong, LEDGER), "the head does not name the last entry");
    }
    assert!(with(Head { clock: head.clock + 1, ..head }, LEDGER).balanced(), "time may have passed since");
    found(&after(&rows, |rows| write(rows, Table::Meta, b"head", None)), "is missing");
    assert!(!check_rows(&mut MemoryStorage::default()).balanced(), "nothing at all is no ledger");
}

#[tokio::test]
async fn a_history_cut_short_is_found() {
    let (_, mut rows) = history().await;
    let count = entries_of(&mut rows).len();
    for length in 1..count {
        assert!(!rewritten(&rows, |entries| entries.truncate(length)).balanced(), "{length} of {count}");
    }
}

#[tokio::test]
async fn postings_that_make_or_move_money_are_found() {
    let (_, mut rows) = history().await;
    let posting = |role: u8, amount| Posting { book: Book::Account(public(role)), asset: xts(), amount };
    for at in 0..entries_of(&mut rows).len() {
        let made = rewritten(&rows, |entries| entries[at].postings.push(posting(STRANGER, 1)));
        found(&made, "makes or loses 1 of XTS");
        let moved = rewritten(&rows, |entries| {
            entries[at].postings.extend([posting(PAYER, -1), posting(STRANGER, 1)]);
        });
        assert!(!moved.balanced(), "entry {at}");
    }
    let first = position(&entries_of(&mut rows), "authorize");
    let lost = rewritten(&rows, |entries| entries[first].postings.truncate(1));
    found(&lost, "makes or loses");
    let empty = rewritten(&rows, |entries| entries[first].postings.clear());
    found(&empty, "its postings are not what it allows");
    let redirected = rewritten(&rows, |entries| {
        let capture = operate(entries, 0);
        let posting = capture.postings.iter_mut().find(|p| p.book == Book::Account(public(SELLER))).unwrap();
        posting.book = Book::Account(public(STRANGER));
    });
    found(&redirected, "its postings are not what it allows");
    let overdrawn = rewritten(&rows, |entries| {
        entries[first].postings.extend([posting(STRANGER, -1), posting(PAYER, 1)]);
    });
    found(&overdrawn, "overdraws");
}

#[tokio::test]
async fn postings_beyond_counting_are_a_fault_and_not_a_panic() {
    let (_, rows) = history().await;
    for name in ["deposit", "authorize", "charge", "reclaim", "operate"] {
        for amount in [i128::MAX, i128::MIN, i128::MAX - 1] {
            let report = rewritten(&rows, |entries| {
                let at = position(entries, name);
                let posting = Posting { book: Book::Account(public(PAYER)), asset: xts(), amount };
                entries[at].postings.extend([posting, posting, posting]);
            });
            assert!(!report.balanced());
        }
    }
}

#[tokio::test]
async fn a_capture_beyond_the_terms_is_found_even_when_its_authorizer_signed_it() {
    let (_, rows) = history().await;
    for cumulative in [10_001, i128::MAX as u128, i128::MAX as u128 + 1, u128::MAX] {
        let report = rewritten(&rows, |entries| {
            let entry = operate(entries, 1);
            resign(entry, AUTHORIZER, |op| op.cumulative = Amount(cumulative));
            let extra = cumulative.saturating_sub(8_000).min(i128::MAX as u128) as i128;
            let pay = |book, amount| Posting { book, asset: xts(), amount };
            entry.postings.extend([pay(Book::Held, -extra), pay(Book::Account(public(SELLER)), extra)]);
        });
        found(&report, "captures more than was signed");
    }
    let resigned = rewritten(&rows, |entries| resign(operate(entries, 1), AUTHORIZER, |_| {}));
    assert!(resigned.balanced(), "signing what was applied again is no damage: {:?}", resigned.faults);
}

#[tokio::test]
async fn operations_that_their_terms_do_not_allow_are_found() {
    let (_, rows) = history().await;
    // Lists: 0 a part, 1 the rest, 2 a refund, 3 a void, 4 an exact capture, 5 a part of an open hold.
    let with = |nth: usize, key: u8, change: fn(&mut Op)| {
        rewritten(&rows, |entries| resign(operate(entries, nth), key, change))
    };
    found(&with(0, STRANGER, |_| {}), "is not signed by the receiverAuthorizer");
    found(&with(3, PAYER, |_| {}), "is not signed by the receiverAuthorizer");
    found(&with(0, AUTHORIZER, |op| op.epoch = 2), "is an earlier owner's");
    found(&with(1, AUTHORIZER, |op| op.cumulative = Amount(3_999)), "captures more than was signed");
    found(&with(2, AUTHORIZER, |op| op.cumulative = Amount(8_001)), "refunds more than was captured");
    found(&with(4, AUTHORIZER, |op| op.cumulative = Amount(2_999)), "captures a part of an exact amount");
    found(&with(4, AUTHORIZER, |op| op.last = false), "captures a part of an exact amount");
    found(&with(0, AUTHORIZER, |op| op.cumulative = Amount(4_001)), "its postings are not what it allows");
    found(
        &with(1, AUTHORIZER, |op| op.answer = answer_hash(Some(b"other"))),
        "is not the one that was signed for",
    );
    let late = |nth: usize, to: u64| {
        rewritten(&rows, |entries| {
            operate(entries, nth).at = to;
            let from = entries.iter().position(|e| e.at == to).unwrap();
            entries[from + 1..].iter_mut().for_each(|e| e.at = to);
        })
    };
    found(&late(1, START + HOLD + 1), "comes after the capture deadline");
    found(&late(2, START + 86_401), "refunds what can no longer be refunded");
    let forged = rewritten(&rows, |entries| {
        let Event::Operate(_, signature, _) = &mut operate(entries, 0).event else { panic!() };
        signature.0[0] ^= 1;
    });
    found(&forged, "its signature is wrong");
    let hidden = rewritten(&rows, |entries| {
        let Event::Operate(_, _, operations) = &mut operate(entries, 0).event else { panic!() };
        operations[0].1 = false;
    });
    found(&hidden, "its postings are not what it allows");
}

/// Replaces the terms of the first authorization, signed by `signer`.
fn with_terms(rows: &MemoryStorage, signer: u8, change: impl FnOnce(&mut Terms)) -> Report {
    rewritten(rows, |entries| {
        let at = position(entries, "authorize");
        let Event::Authorize(evidence) = &mut entries[at].event else { panic!() };
        let mut terms = Terms::decode(&evidence.signed).unwrap();
        change(&mut terms);
        let signed = terms.encode();
        *evidence = Evidence { signature: secret(signer).sign(&signed), signed };
    })
}

#[tokio::test]
async fn authorizations_that_nobody_signed_so_are_found() {
    let (_, rows) = history().await;
    assert!(with_terms(&rows, PAYER, |_| {}).balanced());
    found(&with_terms(&rows, STRANGER, |_| {}), "its signature is wrong");
    found(&with_terms(&rows, STRANGER, |t| t.signer = public(STRANGER)), "a key that is not the payer's");
    found(&with_terms(&rows, PAYER, |t| t.ledger = LedgerId([1; 16])), "is signed for another ledger");
    found(&with_terms(&rows, PAYER, |t| t.valid_before = START - 6), "outside the time");
    found(&with_terms(&rows, PAYER, |t| t.valid_after = START + 6), "outside the time");
    found(&with_terms(&rows, PAYER, |t| t.capture_deadline = START), "after the capture deadline");
    found(&with_terms(&rows, PAYER, |t| t.fee.max_bps = 249), "a fee that the payer did not allow");
    found(&with_terms(&rows, PAYER, |t| t.mandate = [1; 32]), "has a mandate");
    found(&with_terms(&rows, PAYER, |t| t.max_amount = Amount(9_999)), "its postings are not what it allows");
    for amount in [1 << 127, (1 << 127) + 1, u128::MAX] {
        found(&with_terms(&rows, PAYER, |t| t.max_amount = Amount(amount)), "more than a posting can carry");
    }
    found(
        &with_terms(&rows, PAYER, |t| t.flow = farthing_ledger::terms::TermsFlow::Charge),
        "signed to be charged",
    );
    let revoked = rewritten(&rows, |entries| {
        let at = position(entries, "keys");
        entries.remove(at);
    });
    found(&revoked, "a key that is not the payer's");
}

#[tokio::test]
async fn a_payment_to_somebody_else_on_a_closed_loop_is_found() {
    let storage = SharedStorage::default();
    let options = Options::closed_loop(public(SELLER), Amount(FUNDS));
    let world = World::with(Memory(storage.clone()), options).await;
    world.held(&world.terms(100)).await;
    let rows = storage.copy();
    assert!(with_terms(&rows, PAYER, |_| {}).balanced());
    found(&with_terms(&rows, PAYER, |t| t.payee = public(STRANGER)), "than the only seller");
}

#[tokio::test]
async fn money_that_no_issuer_signed_is_found() {
    let (_, rows) = history().await;
    let id = LedgerId::of(&public(LEDGER));
    let issued = |signer: u8, amount: u128| {
        rewritten(&rows, |entries| {
            let deposit =
                Deposit { asset: xts(), account: public(PAYER), amount: Amount(amount), reference: [5; 32] };
            let signed = deposit.encode(&id);
            let event = Event::Deposit(Evidence { signature: secret(signer).sign(&signed), signed });
            let units = amount as i128;
            let posting = |book, amount| Posting { book, asset: xts(), amount };
            let postings = vec![
                posting(Book::Issued, units.wrapping_neg()),
                posting(Book::Account(public(PAYER)), units),
            ];
            let at = entries.last().unwrap().at;
            entries.push(Entry {
                chain: 0,
                sequence: 0,
                position: 0,
                at,
                previous: [0; 32],
                event,
                postings,
            });
        })
    };
    for signer in [LEDGER, PAYER, STRANGER] {
        found(&issued(signer, 5), "its signature is wrong");
    }
    for amount in [1 << 127, u128::MAX] {
        found(&issued(ISSUER, amount), "more than a posting can carry");
    }
    found(&issued(ISSUER, 5), "where history says");
}

#[tokio::test]
async fn a_genesis_of_another_key_or_fee_is_found() {
    let (_, rows) = history().await;
    let changes: [fn(&mut Genesis); 4] = [
        |g| g.key = public(STRANGER),
        |g| g.fee_bps = 251,
        |g| g.fee_recipient = PublicKey([7; 32]),
        |g| g.fee_bps = u16::MAX,
    ];
    for change in changes {
        let report = rewritten(&rows, |entries| {
            let Event::Genesis(genesis) = &mut entries[0].event else { panic!() };
            change(genesis);
        });
        assert!(!report.balanced());
    }
}

#[tokio::test]
async fn takeovers_and_reclaims_that_did_not_happen_are_found() {
    let (_, rows) = history().await;
    for epoch in [0, 1, 3, u64::MAX] {
        let report = rewritten(&rows, |entries| {
            let at = position(entries, "takeover");
            let Event::Takeover(id, _) = entries[at].event else { panic!() };
            entries[at].event = Event::Takeover(id, epoch);
            entries.insert(at, entries[at].clone());
        });
        found(&report, "is not the next epoch of a hold");
    }
    let early = rewritten(&rows, |entries| {
        let at = position(entries, "reclaim");
        let reclaim = entries.remove(at);
        let at = position(entries, "takeover");
        entries.insert(at, Entry { at: entries[at].at, ..reclaim });
    });
    found(&early, "ends a hold before its deadline");
    let backwards = rewritten(&rows, |entries| entries.last_mut().unwrap().at = START);
    found(&backwards, "is older than the one before it");
}
