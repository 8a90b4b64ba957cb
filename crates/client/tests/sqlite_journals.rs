//! What every journal does, in memory or in a file: one suite, run on each.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Barrier;

use farthing_client::budget::{Charge, Limit, Limits, OverBudget, Scope, Window};
use farthing_client::journal::{Answered, JournalError, PricedPlace, ReserveError, Ticket};
use farthing_client::{AssetId, Journal, PaymentHeader, Record, Standing, State, Version};
use farthing_protocol::rail::{PaymentId, SignedPayment};
use farthing_protocol::{Amount, PublicKey, RequestDigest};
use serde_json::value::RawValue;

const LIMITS: Limits = Limits::of(Amount(100));

fn charge(amount: u128) -> Charge {
    Charge {
        asset: AssetId { network: "farthing:00".parse().unwrap(), asset: "XTS".into() },
        origin: "https://shop.example".parse().unwrap(),
        amount: Amount(amount),
        payee: "seller".into(),
        agent: Some("researcher".into()),
        task: None,
        at: 1_800_000_000,
    }
}

fn to_thief(amount: u128) -> Charge {
    Charge { payee: "thief".into(), ..charge(amount) }
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.into()).unwrap()
}

fn record(id: u8, amount: u128) -> Record {
    Record {
        payment: SignedPayment {
            id: PaymentId([id; 32]),
            payload: raw("{\"signature\":\"5ec4e7\"}"),
            extensions: [("extra".to_owned(), raw("{\"info\": 1}"))].into(),
            max_amount: Amount(amount),
            valid_before: 300,
            capture_deadline: u64::MAX,
        },
        header: PaymentHeader::of(
            if id.is_multiple_of(2) { Version::V2 } else { Version::V1 },
            "c2VjcmV0".into(),
        ),
        charge: charge(amount),
        payee: "seller".into(),
        method: "GET".into(),
        target: "/a?b".into(),
        header_names: vec!["accept".into(), "x-a".into()],
        body_hash: [3; 32],
        digest: RequestDigest([4; 32]),
        receipt_key: id.is_multiple_of(2).then_some(PublicKey([5; 32])),
        signed_at: 7,
        state: State::Signed,
        status: None,
        settled: None,
        receipt: None,
        receipt_jws: None,
    }
}

/// What was taken, and what is reserved.
fn spent(journal: &dyn Journal) -> (u128, u128) {
    let reserved = journal.open().unwrap().iter().map(|record| record.charge.amount.0).sum();
    (journal.spending().unwrap().total(&charge(0).asset).0 - reserved, reserved)
}

fn sign(journal: &dyn Journal, id: u8, amount: u128) {
    let ticket = journal.reserve(&charge(amount), &LIMITS).unwrap();
    journal.record(ticket, record(id, amount)).unwrap();
}

fn a_payment_is_reserved_until_the_network_says_what_was_taken(journal: &dyn Journal) {
    sign(journal, 1, 60);
    for news in [State::Sent, State::Unknown, State::Settled, State::Sent] {
        journal.advance(&PaymentId([1; 32]), news).unwrap();
        assert_eq!(spent(journal), (0, 60));
    }
    assert_eq!(journal.find(&PaymentId([1; 32])).unwrap().unwrap().state, State::Settled);
    journal.advance(&PaymentId([1; 32]), State::Confirmed(Amount(50))).unwrap();
    assert_eq!(spent(journal), (50, 0));
    // Said twice, or contradicted later: nothing changes.
    for news in [State::Confirmed(Amount(50)), State::Released, State::Unknown] {
        let before = journal.advance(&PaymentId([1; 32]), news).unwrap();
        assert_eq!(before, Some(State::Confirmed(Amount(50))));
        assert_eq!(spent(journal), (50, 0));
    }
    assert!(journal.open().unwrap().is_empty());
    assert_eq!(journal.advance(&PaymentId([9; 32]), State::Sent), Ok(None), "nobody knows that one");
}

fn a_release_and_a_cancelled_reservation_give_everything_back(journal: &dyn Journal) {
    let ticket = journal.reserve(&charge(100), &LIMITS).unwrap();
    assert!(matches!(journal.reserve(&charge(1), &LIMITS), Err(ReserveError::OverBudget(_))));
    journal.cancel(ticket);
    journal.cancel(ticket);
    assert!(journal.record(ticket, record(1, 100)).is_err(), "what was cancelled cannot be signed for");
    sign(journal, 1, 100);
    journal.advance(&PaymentId([1; 32]), State::Released).unwrap();
    assert_eq!(spent(journal), (0, 0));
    assert!(journal.reserve(&charge(100), &LIMITS).is_ok());
}

fn each_limit_holds_for_all_that_was_reserved(journal: &dyn Journal) {
    let limits =
        Limits { per_request: Some(Amount(10)), per_host: Some(Amount(15)), ..Limits::of(Amount(20)) };
    let other = Charge { origin: "https://other.example".parse().unwrap(), ..charge(6) };
    let over = |limit, asked, left| {
        let (asked, left) = (Amount(asked), Amount(left));
        Err(ReserveError::OverBudget(OverBudget { limit, asked, left, renews_at: None }))
    };
    let reserve = |charge: &Charge| journal.reserve(charge, &limits).map(|_| ());
    assert_eq!(reserve(&charge(11)), over(Limit::PerRequest, 11, 10));
    assert_eq!(reserve(&charge(10)), Ok(()));
    assert_eq!(reserve(&charge(6)), over(Limit::PerHost, 6, 5));
    assert_eq!(reserve(&charge(5)), Ok(()));
    assert_eq!(reserve(&other), over(Limit::Total, 6, 5));
    assert_eq!(reserve(&Charge { amount: Amount(5), ..other.clone() }), Ok(()));
    let spending = journal.spending().unwrap();
    assert_eq!((spending.at(&other.asset, &other.origin).0, spending.total(&other.asset).0), (5, 20));
}

/// The limit that refused it, what it has left, and when it starts anew.
fn refused(journal: &dyn Journal, charge: &Charge, limits: &Limits) -> Option<(Limit, u128, Option<u64>)> {
    match journal.reserve(charge, limits) {
        Ok(_) => None,
        Err(ReserveError::OverBudget(over)) => Some((over.limit, over.left.0, over.renews_at)),
        Err(other) => panic!("{other}"),
    }
}

fn payees_agents_and_tasks_have_a_budget_each(journal: &dyn Journal) {
    let named = |name: &str| Some(name.to_owned());
    let origin = "https://other.example".parse().unwrap();
    let other_payee = Charge { payee: "other".into(), origin, ..charge(1) };
    // What was counted before counts for limits that come later.
    assert_eq!(refused(journal, &charge(5), &LIMITS), None);
    for (limit, other) in [
        (Limit::PerPayee, other_payee),
        (Limit::PerAgent, Charge { agent: None, ..charge(1) }),
        (Limit::PerTask, Charge { task: named("other"), ..charge(1) }),
    ] {
        let limits = LIMITS.with(limit, Amount(5));
        assert_eq!(refused(journal, &charge(1), &limits), Some((limit, 0, None)));
        assert_eq!(refused(journal, &other, &limits), None, "{limit} of another");
    }
    let spending = journal.spending().unwrap();
    let counted = |scope: Scope| spending.counted(&charge(0).asset, &scope).0;
    assert_eq!((counted(Scope::payee("seller")), counted(Scope::payee("other"))), (7, 1));
    assert_eq!((counted(Scope::Agent("researcher".into())), counted(Scope::Agent(String::new()))), (7, 1));
    assert_eq!((counted(Scope::Task("other".into())), counted(Scope::Total)), (1, 8));
}

fn a_window_starts_anew_and_what_is_released_goes_back_into_its_own(journal: &dyn Journal) {
    // The fifteenth of a month, at eight.
    let at = charge(0).at;
    for (limit, next) in
        [(Limit::PerHour, at + 3_600), (Limit::PerDay, at + 57_600), (Limit::PerMonth, at + 1_440_000)]
    {
        let limits = LIMITS.with(limit, Amount(5));
        let ticket = journal.reserve(&charge(5), &limits).unwrap();
        let (last, first) = (Charge { at: next - 1, ..charge(1) }, Charge { at: next, ..charge(5) });
        assert_eq!(refused(journal, &last, &limits), Some((limit, 0, Some(next))));
        let later = journal.reserve(&first, &limits).unwrap();
        journal.cancel(ticket);
        assert_eq!(
            refused(journal, &Charge { at: next, ..charge(1) }, &limits),
            Some((limit, 0, Some(next_of(limit, next))))
        );
        journal.cancel(later);
        // Whatever is over is given back as well.
        assert_eq!(journal.spending().unwrap().total(&charge(0).asset), Amount::ZERO);
    }
}

fn next_of(limit: Limit, at: u64) -> u64 {
    let window = match limit {
        Limit::PerHour => Window::Hour,
        Limit::PerDay => Window::Day,
        _ => Window::Month,
    };
    window.around(at).end
}

fn what_the_seller_answered_is_kept_with_the_payment(journal: &dyn Journal) {
    sign(journal, 1, 60);
    let id = PaymentId([1; 32]);
    let said = |status, settled, receipt: Option<&str>| Answered {
        status,
        settled,
        receipt: receipt.map(str::to_owned),
        receipt_jws: receipt.map(|_| "a.b.c".to_owned()),
    };
    let kept = || {
        let record = journal.find(&id).unwrap().unwrap();
        let said = said(record.status, record.settled, record.receipt.as_deref());
        (record.standing(), Answered { receipt_jws: record.receipt_jws, ..said })
    };
    assert_eq!(kept(), (Standing::Signed, Answered::default()));
    let settled = said(Some(200), Some(Amount(50)), Some("{\"receipt\": 1}"));
    journal.answered(&id, State::Settled, settled.clone()).unwrap();
    assert_eq!(kept(), (Standing::Settled, settled.clone()));
    assert_eq!(journal.find(&id).unwrap().unwrap().taken(), Some(Amount(50)), "by the seller's word");
    assert_eq!(spent(journal), (0, 60), "which frees nothing");
    journal.advance(&id, State::Confirmed(Amount(40))).unwrap();
    assert_eq!(kept(), (Standing::Confirmed, settled));
    assert_eq!(journal.find(&id).unwrap().unwrap().taken(), Some(Amount(40)), "by the network's");
    assert_eq!(journal.answered(&PaymentId([9; 32]), State::Sent, Answered::default()), Ok(None));
}

fn t26_the_last_price_of_a_path_is_remembered(journal: &dyn Journal) {
    let place = |method, target| PricedPlace::of(&charge(0), method, target);
    assert_eq!(journal.accepted_price(&place("GET", "/a?b")), Ok(None));
    sign(journal, 1, 10);
    sign(journal, 2, 12);
    assert_eq!(journal.accepted_price(&place("GET", "/a?other")), Ok(Some(Amount(12))));
    assert_eq!(journal.accepted_price(&place("POST", "/a")), Ok(None));
    assert_eq!(journal.accepted_price(&place("GET", "/ab")), Ok(None));
}

fn whom_a_person_trusts_is_remembered_and_nobody_else(journal: &dyn Journal) {
    let Charge { origin, asset: AssetId { network, .. }, .. } = charge(0);
    assert_eq!(journal.is_trusted(&origin, &network, "seller"), Ok(false));
    journal.trust(&origin, &network, "seller").unwrap();
    journal.trust(&origin, &network, "seller").unwrap();
    assert_eq!(journal.is_trusted(&origin, &network, "seller"), Ok(true));
    assert_eq!(journal.is_trusted(&origin, &network, "thief"), Ok(false));
    assert!(journal.payees(&origin, &network).unwrap().is_empty(), "and it pins no payee");
}

fn amounts_may_have_128_bits(journal: &dyn Journal) {
    let limits = Limits { total: Amount(u128::MAX), ..LIMITS };
    let ticket = journal.reserve(&charge(u128::MAX), &limits).unwrap();
    assert!(journal.reserve(&charge(1), &limits).is_err());
    journal.record(ticket, record(2, u128::MAX)).unwrap();
    assert_eq!(journal.find(&PaymentId([2; 32])).unwrap().unwrap().payment.max_amount, Amount(u128::MAX));
    journal.advance(&PaymentId([2; 32]), State::Confirmed(Amount(u128::MAX - 1))).unwrap();
    assert!(journal.reserve(&charge(1), &limits).is_ok());
}

fn t27_an_origin_keeps_the_payee_it_was_first_paid_at(journal: &dyn Journal) {
    journal.reserve(&charge(1), &LIMITS).unwrap();
    let changed = ReserveError::PayeeChanged { known: vec!["seller".into()] };
    assert_eq!(journal.reserve(&to_thief(1), &LIMITS), Err(changed));
    assert!(journal.reserve(&charge(1), &LIMITS).is_ok());
    let (origin, network) = (charge(0).origin, charge(0).asset.network);
    journal.approve(&origin, &network, "thief").unwrap();
    assert!(journal.reserve(&to_thief(1), &LIMITS).is_ok());
    assert_eq!(journal.payees(&origin, &network).unwrap(), ["seller", "thief"]);
}

fn a_refused_reservation_does_not_pin_its_payee(journal: &dyn Journal) {
    assert!(journal.reserve(&to_thief(101), &LIMITS).is_err());
    assert!(journal.reserve(&charge(1), &LIMITS).is_ok());
}

fn one_payment_is_recorded_once_and_for_its_own_reservation(journal: &dyn Journal) {
    sign(journal, 1, 10);
    let ticket = journal.reserve(&charge(10), &LIMITS).unwrap();
    assert!(matches!(journal.record(ticket, record(1, 10)), Err(JournalError::Failed(_))));
    assert!(matches!(journal.record(Ticket(u64::MAX), record(2, 10)), Err(JournalError::Failed(_))));
    assert!(journal.record(ticket, record(2, 10)).is_ok());
    assert_eq!(spent(journal), (0, 20));
}

fn a_record_comes_back_as_it_was_and_in_order(journal: &dyn Journal) {
    for id in [4, 3, 2] {
        sign(journal, id, u128::from(id));
    }
    let open: Vec<_> = journal.open().unwrap().iter().map(|record| record.id().0[0]).collect();
    assert_eq!(open, [4, 3, 2], "oldest first");
    for id in [2, 3] {
        let (put, got) = (record(id, id.into()), journal.find(&PaymentId([id; 32])).unwrap().unwrap());
        assert_eq!(format!("{put:?} {:?}", put.payment), format!("{got:?} {:?}", got.payment));
        assert_eq!(put.payment.payload.get(), got.payment.payload.get());
        assert_eq!(got.payment.extensions["extra"].get(), "{\"info\": 1}", "verbatim");
        assert!(put.header == got.header);
        assert_eq!(
            (put.header_names, put.body_hash, put.digest, put.receipt_key),
            (got.header_names, got.body_hash, got.digest, got.receipt_key)
        );
    }
    assert!(journal.find(&PaymentId([9; 32])).unwrap().is_none());
}

fn threads_together_reserve_what_there_is_and_no_more(journal: &dyn Journal) {
    let start = Barrier::new(16);
    let reserved: usize = std::thread::scope(|scope| {
        let thread = || {
            start.wait();
            (0..4).filter(|_| journal.reserve(&charge(10), &LIMITS).is_ok()).count()
        };
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(thread)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(reserved, 10);
}

macro_rules! suite {
    ($journal:ident, $open:expr, $($test:ident),+ $(,)?) => {
        mod $journal {
            $(#[test]
            fn $test() {
                let (journal, _directory) = $open;
                super::$test(&journal);
            })+
        }
    };
}

macro_rules! on_every_journal {
    ($($test:ident),+ $(,)?) => {
        suite!(in_memory, (farthing_client::MemoryJournal::new(), ()), $($test),+);
        #[cfg(feature = "sqlite")]
        suite!(in_a_file, {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("journal.sqlite");
            (farthing_client::SqliteJournal::open(path, &Default::default()).unwrap(), directory)
        }, $($test),+);
    };
}

on_every_journal!(
    a_payment_is_reserved_until_the_network_says_what_was_taken,
    a_release_and_a_cancelled_reservation_give_everything_back,
    each_limit_holds_for_all_that_was_reserved,
    payees_agents_and_tasks_have_a_budget_each,
    a_window_starts_anew_and_what_is_released_goes_back_into_its_own,
    what_the_seller_answered_is_kept_with_the_payment,
    t26_the_last_price_of_a_path_is_remembered,
    whom_a_person_trusts_is_remembered_and_nobody_else,
    amounts_may_have_128_bits,
    t27_an_origin_keeps_the_payee_it_was_first_paid_at,
    a_refused_reservation_does_not_pin_its_payee,
    one_payment_is_recorded_once_and_for_its_own_reservation,
    a_record_comes_back_as_it_was_and_in_order,
    threads_together_reserve_what_there_is_and_no_more,
);
