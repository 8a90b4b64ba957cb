use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Sender, channel};

use farthing_protocol::rail::PaymentId;

use super::*;

fn sold(situation: Situation, payment: u8) -> Sold {
    Sold {
        situation,
        route: "weather".into(),
        payment: Some(PaymentId([payment; 32])),
        payer: Some("alice".into()),
        network: Some("farthing:00000000000000000000000000000000".parse().unwrap()),
        asset: Some("XTS".into()),
        amount: Some(Amount(700)),
        held: Some(Amount(1_000)),
        replayed: false,
    }
}

fn lines(path: &Path) -> Vec<Line> {
    let mut lines = Vec::new();
    read(path, |line| lines.push(line)).unwrap();
    lines
}

#[test]
fn a_paid_a_voided_and_an_unknown_request_leave_a_line_each_and_others_none() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("sales.jsonl");
    let log = SalesLog::open(&path).unwrap();
    log.note(&sold(Situation::Paid, 1), 100);
    log.note(&sold(Situation::HandlerFailed, 2), 101);
    log.note(&sold(Situation::Pending, 3), 102);
    for nothing in [Situation::Unpaid, Situation::Refused, Situation::Conflict, Situation::InProgress] {
        log.note(&sold(nothing, 4), 103);
    }
    log.note(&Sold { payment: None, ..sold(Situation::Paid, 5) }, 104);
    log.note(&Sold { replayed: true, ..sold(Situation::Paid, 1) }, 105);
    drop(log);
    let lines = lines(&path);
    let told: Vec<_> = lines.iter().map(|line| (line.at, line.outcome, line.amount)).collect();
    let expected =
        [(100, Ending::Paid, Some(Amount(700))), (101, Ending::Voided, None), (102, Ending::Unknown, None)];
    assert_eq!(told, expected);
    assert_eq!((lines[0].route.as_str(), lines[0].payment.as_str()), ("weather", &*"01".repeat(32)));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_payment_that_was_unknown_is_noted_once_more_when_it_turns_out_to_be_paid() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("sales.jsonl");
    let log = SalesLog::open(&path).unwrap();
    let again = Sold { replayed: true, ..sold(Situation::Paid, 1) };
    for sold in [&sold(Situation::Pending, 1), &sold(Situation::Pending, 1), &again, &again] {
        log.note(sold, 100);
    }
    drop(log);
    let told: Vec<_> = lines(&path).iter().map(|line| line.outcome).collect();
    assert_eq!(told, [Ending::Unknown, Ending::Paid]);
}

#[test]
fn a_torn_last_line_is_passed_over_and_the_next_one_is_whole() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("sales.jsonl");
    let first = SalesLog::open(&path).unwrap();
    first.note(&sold(Situation::Paid, 1), 100);
    drop(first);
    let mut torn = fs::read(&path).unwrap();
    torn.truncate(torn.len() - 20);
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&torn).unwrap();
    let before = read(&path, |_| {}).unwrap();
    assert_eq!(before, ReadLog { lines: 1, unreadable: 1 });
    let again = SalesLog::open(&path).unwrap();
    again.note(&sold(Situation::Paid, 2), 200);
    drop(again);
    let told: Vec<_> = lines(&path).iter().map(|line| line.at).collect();
    assert_eq!(told, [100, 200]);
}

#[test]
fn several_writers_share_a_file_without_mixing_their_lines() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("sales.jsonl");
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let log = SalesLog::open(&path).unwrap();
            thread::spawn(move || {
                for _ in 0..500 {
                    log.note(&sold(Situation::Paid, writer), u64::from(writer));
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let found = read(&path, |_| {}).unwrap();
    assert_eq!(found, ReadLog { lines: 2_000, unreadable: 0 });
}

/// A disk that says when it is written to, and goes on when it is told so.
struct Slow {
    begun: Sender<()>,
    go_on: Receiver<()>,
}

impl Out for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.begun.send(());
        let _ = self.go_on.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_a_slow_disk_has_no_room_for_is_dropped_and_counted_and_nobody_waits() {
    let (begun, has_begun) = channel();
    let (let_go, go_on) = channel();
    let log = SalesLog::to(Slow { begun, go_on }, "slow".into(), 2).unwrap();
    log.note(&sold(Situation::Paid, 1), 1);
    has_begun.recv().unwrap();
    for at in 0..5 {
        log.note(&sold(Situation::Paid, 1), at);
    }
    assert_eq!(log.dropped(), 3, "two wait, three do not fit");
    drop(let_go);
    drop(log);
}

/// A disk with room for so many bytes.
struct Full(usize);

impl Out for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = bytes.len().min(self.0);
        self.0 -= fits;
        if fits == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(fits) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_costs_lines_and_never_an_answer() {
    let log = SalesLog::to(Full(40), "full".into(), 8).unwrap();
    let dropped = log.inner.dropped.clone();
    for at in 0..3 {
        log.note(&sold(Situation::Paid, 1), at);
    }
    drop(log);
    assert_eq!(dropped.load(Ordering::Relaxed), 3);
}
