//! The admin socket of a ledger that is open: there as long as the ledger is, and in nobody's way.
#![cfg(feature = "embedded")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod world;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use farthing_ledger::Ledger;
use farthing_ledger::engine::admin::{self, AskError, Request, Voids, ask};
use farthing_ledger::engine::{EmbeddedStorage, OpenError};
use farthing_ledger::recovery::{Doubts, Recovered};
use serde_json::Value;

use world::*;

fn answer(directory: &Path, request: &Request) -> Result<Vec<u8>, AskError> {
    let mut out = Vec::new();
    ask(directory, request, &mut out).map(|()| out)
}

fn json(directory: &Path, request: &Request) -> Value {
    serde_json::from_slice(&answer(directory, request).unwrap()).unwrap()
}

#[tokio::test]
async fn a_ledger_that_is_open_answers_and_one_that_is_closed_leaves_no_socket() {
    let home = tempfile::tempdir().unwrap();
    let world = world(home.path()).await;
    world.capture(world.held(&world.terms(500)).await, 500).await.unwrap();
    let socket = home.path().join("admin.sock");
    let metadata = fs::symlink_metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);

    let report = json(home.path(), &Request::Check);
    assert_eq!(
        (&report["faults"], &report["assets"]["XTS"]["issued"]),
        (&Value::from(Vec::<u8>::new()), &Value::from("1000000"))
    );
    assert_eq!(report["payments"]["captured"], 1);
    let lines = String::from_utf8(answer(home.path(), &Request::Export).unwrap()).unwrap();
    assert_eq!(lines.lines().count() as u64, report["entries"].as_u64().unwrap() + 1);
    assert!(!answer(home.path(), &Request::Backup { with_key: true }).unwrap().is_empty());
    // A second handle keeps it; the last one ends it.
    let handle = world.ledger().clone();
    drop(world);
    json(home.path(), &Request::Check);
    drop(handle);
    assert!(!socket.exists());
    assert!(matches!(answer(home.path(), &Request::Check), Err(AskError::Unreachable(..))));
    // Nothing of it is left: the directory opens at once, and answers again.
    for _ in 0..3 {
        let ledger = Ledger::existing(home.path(), VirtualClock::at(START).clock()).unwrap();
        assert!(matches!(EmbeddedStorage::read(home.path()), Err(OpenError::InUse(_))));
        json(home.path(), &Request::Check);
        drop(ledger);
    }
}

#[tokio::test]
async fn the_socket_of_a_killed_process_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    drop(world(home.path()).await);
    for name in ["admin.sock", ".admin.sock"] {
        // Whoever is killed leaves the file, and nobody listens.
        drop(UnixListener::bind(home.path().join(name)).unwrap());
    }
    let stale = answer(home.path(), &Request::Check).unwrap_err();
    assert!(matches!(stale, AskError::Unreachable(..)), "{stale}");
    let _world = Ledger::existing(home.path(), VirtualClock::at(START).clock()).unwrap();
    json(home.path(), &Request::Check);
}

#[tokio::test]
async fn a_path_that_is_too_long_for_a_socket_still_opens_and_pays() {
    let home = tempfile::tempdir().unwrap();
    let long = home.path().join("d".repeat(120));
    let world = world(&long).await;
    let id = world.held(&world.terms(10)).await;
    world.capture(id, 10).await.unwrap();
    match answer(&long, &Request::Check) {
        Err(AskError::Unreachable(_, why)) => assert_eq!(why.kind(), io::ErrorKind::InvalidInput, "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.balance(SELLER).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_do_not_wait_for_each_other_and_payments_for_none() {
    let home = tempfile::tempdir().unwrap();
    let world = world(home.path()).await;
    // One says nothing, one never reads its answer.
    let silent = UnixStream::connect(home.path().join("admin.sock")).unwrap();
    let mut deaf = UnixStream::connect(home.path().join("admin.sock")).unwrap();
    for _ in 0..400 {
        world.held(&world.terms(1)).await;
    }
    deaf.write_all(b"export\n").unwrap();
    let start = Instant::now();
    let askers: Vec<_> = (0..6)
        .map(|_| {
            let directory = home.path().to_path_buf();
            std::thread::spawn(move || json(&directory, &Request::Check)["entries"].as_u64().unwrap())
        })
        .collect();
    for _ in 0..100 {
        world.capture(world.held(&world.terms(1)).await, 1).await.unwrap();
    }
    for asker in askers {
        assert!(asker.join().unwrap() >= 400);
    }
    assert!(start.elapsed() < Duration::from_secs(5), "somebody waited for the silent one");
    // Closing waits for neither of them.
    let start = Instant::now();
    drop(world);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    drop((silent, deaf));
    assert!(EmbeddedStorage::read(home.path()).unwrap().check().unwrap().balanced());
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_the_next_one_answered() {
    let home = tempfile::tempdir().unwrap();
    let world = world(home.path()).await;
    let said = |request: &[u8]| {
        let mut stream = UnixStream::connect(home.path().join("admin.sock")).unwrap();
        let _ = stream.write_all(request);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    for request in [
        "burn\n",
        "\n",
        "check",
        "check now\n",
        "void\n",
        "void {}\n",
        "void {\"signer\":1}\n",
        "CHECK\n",
        "sale\n",
        "refund {}\n",
    ] {
        assert!(said(request.as_bytes()).starts_with('e'), "{request:?}");
    }
    assert!(said(b"\xff\xfe\n").starts_with('e'));
    assert!(said(&[b'x'; 100 << 10]).starts_with('e') || said(&[b'x'; 100 << 10]).is_empty());
    assert!(said(b"check\n").starts_with('d'));
    assert_eq!(json(home.path(), &Request::Check)["faults"], Value::from(Vec::<u8>::new()));
    drop(world);
}

#[tokio::test]
async fn too_many_callers_are_turned_away_with_a_word() {
    let home = tempfile::tempdir().unwrap();
    let _world = world(home.path()).await;
    let silent: Vec<_> =
        (0..16).map(|_| UnixStream::connect(home.path().join("admin.sock")).unwrap()).collect();
    match answer(home.path(), &Request::Check) {
        Err(AskError::Refused(why)) => assert!(why.contains("too many"), "{why}"),
        other => panic!("{other:?}"),
    }
    drop(silent);
    let deadline = Instant::now() + Duration::from_secs(5);
    while answer(home.path(), &Request::Check).is_err() {
        assert!(Instant::now() < deadline);
    }
}

#[tokio::test]
async fn doubts_are_listed_and_resolved_over_the_socket_and_the_key_stays_outside() {
    let home = tempfile::tempdir().unwrap();
    let world = world(home.path()).await;
    let terms = world.terms(1_000);
    world.held(&terms).await;
    let doubts = || -> Doubts { serde_json::from_value(json(home.path(), &Request::Doubts)).unwrap() };
    assert_eq!((doubts().leased, doubts().lapsed.len()), (1, 0));
    world.clock.pass(60);
    assert_eq!(doubts(), world.ledger().in_doubt().await.unwrap());
    assert_eq!(doubts().lapsed[0].payment, terms.id());

    let recover = || -> Recovered { admin::recover(home.path(), None).unwrap() };
    let mut recovered = recover();
    assert_eq!((recovered.waiting.len(), recovered.voided.len()), (1, 0));
    let voids = recovered.take_voids(&world.id(), &secret(AUTHORIZER)).remove(0);
    assert_eq!(json(home.path(), &Request::Void(Voids::of(&voids))), serde_json::json!([true]));
    assert_eq!(world.money().await, (FUNDS, 0, 0));
    assert_eq!(recover().waiting, []);
    // Signed by somebody else it is refused, and by nobody it is not even looked at.
    let other = world.terms(5);
    world.held(&other).await;
    world.clock.pass(60);
    let mut waiting = recover();
    waiting.waiting[0].receiver_authorizer = public(STRANGER);
    let forged = waiting.take_voids(&world.id(), &secret(STRANGER)).remove(0);
    assert_eq!(json(home.path(), &Request::Void(Voids::of(&forged))), serde_json::json!([false]));
    let mut text = serde_json::to_value(Voids::of(&forged)).unwrap();
    text["signer"] = serde_json::to_value(public(AUTHORIZER)).unwrap();
    let unsigned = Request::Void(serde_json::from_value(text).unwrap());
    assert!(matches!(answer(home.path(), &unsigned), Err(AskError::Refused(_))));
    assert_eq!(recover().waiting.len(), 1);
    let recovered = admin::recover(home.path(), Some(&secret(AUTHORIZER))).unwrap();
    assert_eq!((recovered.voided, recovered.waiting), (vec![other.id()], vec![]));
}

#[tokio::test]
async fn what_answers_like_no_ledger_is_not_believed() {
    for (said, expected) in [
        (&b""[..], "broke off"),
        (b"d\0\0\0\x05abc", "broke off"),
        (b"d\0\0\0\x02{}", "broke off"),
        (b"x\0\0\0\0", "something else"),
        (b"d\xff\xff\xff\xff", "something else"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "something else"),
        (b"e\0\0\0\x03why", "why"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(home.path().join("admin.sock")).unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = [0; 6];
            stream.read_exact(&mut line).unwrap();
            let _ = stream.write_all(said);
        });
        let error = answer(home.path(), &Request::Check).unwrap_err().to_string();
        thread.join().unwrap();
        assert!(error.contains(expected), "{said:?}: {error}");
    }
}
