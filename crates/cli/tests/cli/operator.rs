//! `farthing ledger recover`, `export`, `backup` and `restore`: on a directory that nobody uses, and on one that
//! another process has.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use farthing::farthing_ledger::command::{Authorize, Operate};
use farthing::farthing_ledger::engine::{EmbeddedStorage, Storage};
use farthing::farthing_ledger::operation::{Action, Op};
use farthing::farthing_ledger::rows::Table;
use farthing::farthing_ledger::terms::{FeeTerms, Scheme, Terms, TermsFlow};
use farthing::protocol::rail::{Owner, PaymentId, Tenant};
use farthing::protocol::{Amount, Binding, RequestDigest};
use farthing::{Ledger, Options};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::program::{Run, farthing};
use crate::sales::{PAYER, fund, key};

const AUTHORIZER: u8 = 3;

/// A ledger that this process has open, until it is closed.
struct Open {
    home: TempDir,
    runtime: Runtime,
    ledger: Option<Ledger>,
}

impl Open {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(home.path().join("ledger"), Options::open_to_all()).unwrap();
        Self::with(home, ledger)
    }

    /// A ledger that is somewhere else, and a place for files.
    fn with(home: TempDir, ledger: Ledger) -> Self {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(fund(&ledger));
        for (name, seed) in [("authorizer.key", "03"), ("operator.key", "05")] {
            fs::write(home.path().join(name), format!("{}\n", seed.repeat(32))).unwrap();
            fs::set_permissions(home.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        Self { home, runtime, ledger: Some(ledger) }
    }

    fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().unwrap()
    }

    fn close(&mut self) {
        self.ledger = None;
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).to_str().unwrap().to_owned()
    }

    /// Holds 1 XTS for a server with a lease.
    fn hold(&self, nonce: u8, authorizer: u8, lease_seconds: u32) -> PaymentId {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let terms = Terms {
            ledger: self.ledger().id(),
            scheme: Scheme::AuthCapture,
            flow: TermsFlow::Escrow,
            payer: key(PAYER).public(),
            signer: key(PAYER).public(),
            payee: key(9).public(),
            receiver_authorizer: key(authorizer).public(),
            asset: "XTS".parse().unwrap(),
            max_amount: Amount(1_000_000),
            valid_after: 0,
            valid_before: now + 300,
            capture_deadline: now + 900,
            refund_deadline: 0,
            fee: FeeTerms::default(),
            mandate: [0; 32],
            nonce: [nonce; 32],
            binding: Binding::Body,
            digest: RequestDigest([7; 32]),
        };
        let signed = terms.encode();
        let signature = key(PAYER).sign(&signed);
        let owner = Owner { id: [nonce; 16], lease_seconds };
        let authorize = Authorize::read(signed, signature, owner, Tenant("local".into())).unwrap();
        self.runtime.block_on(self.ledger().authorize(authorize)).unwrap();
        terms.id()
    }

    fn capture(&self, payment: PaymentId) {
        let (cumulative, epoch) = (Amount(1_000_000), 1);
        let op = Op { payment, action: Action::Capture, cumulative, last: true, epoch, answer: [0; 32] };
        let operate = Operate::sign(&self.ledger().id(), &key(AUTHORIZER), vec![(op, None)]);
        self.runtime.block_on(self.ledger().operate(operate)).unwrap().remove(0).unwrap();
    }

    /// Runs `farthing ledger <command> --data <the ledger> ..`.
    fn run(&self, command: &str, more: &[&str]) -> Run {
        let data = self.path("ledger");
        farthing(&[&["ledger", command, "--data", &data][..], more].concat())
    }
}

#[test]
fn payments_in_doubt_are_listed_and_ended_whoever_has_the_directory() {
    for in_use in [true, false] {
        let mut open = Open::new();
        let ours = open.hold(1, AUTHORIZER, 0);
        let foreign = open.hold(2, 8, 0);
        open.hold(3, AUTHORIZER, 600);
        if !in_use {
            open.close();
        }
        let words = open.run("recover", &["--list"]).ends_with(0).out;
        for part in
            ["2 payments", "silent", "1 hold:", &ours.to_string(), "1000000 atomic units of XTS", "ends 20"]
        {
            assert!(words.contains(part), "{part}: {words}");
        }
        assert_eq!(words.contains("In use"), in_use, "{words}");
        let listed = open.run("recover", &["--list", "--json"]).ends_with(0).json();
        assert_eq!(
            (listed["lapsed"].as_array().map(Vec::len), &listed["leased"]),
            (Some(2), &Value::from(1))
        );

        let waiting = open.run("recover", &[]).ends_with(0).out;
        assert!(waiting.contains("waiting") && waiting.contains("--authorizer-key"), "{waiting}");
        let key = open.path("authorizer.key");
        let ended = open.run("recover", &["--json", "--authorizer-key", &key]).ends_with(0).json();
        assert_eq!(ended["voided"], serde_json::json!([ours.to_string()]), "{ended}");
        assert_eq!(ended["waiting"][0]["payment"], foreign.to_string());
        let again = open.run("recover", &["--authorizer-key", &key]).ends_with(0).out;
        assert!(!again.contains("voided") && again.contains("another seller's"), "{again}");
        let check = open.run("check", &["--json"]).ends_with(0).json();
        assert_eq!(
            (&check["payments"]["voided"], &check["payments"]["held"]),
            (&Value::from(1), &Value::from(2))
        );
    }
}

#[test]
fn nothing_in_doubt_says_so() {
    let open = Open::new();
    for arguments in [&[][..], &["--list"]] {
        let words = open.run("recover", arguments).ends_with(0).out;
        assert!(words.contains("Nothing is in doubt."), "{words}");
    }
    // A capture takes a payment out of doubt.
    open.capture(open.hold(1, AUTHORIZER, 600));
    assert!(open.run("recover", &[]).ends_with(0).out.contains("Nothing is in doubt."));
}

#[test]
fn history_is_exported_to_standard_output_and_to_a_file() {
    for in_use in [true, false] {
        let mut open = Open::new();
        open.capture(open.hold(1, AUTHORIZER, 600));
        if !in_use {
            open.close();
        }
        let lines = open.run("export", &[]).ends_with(0).out;
        let values: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let events: Vec<_> = values.iter().filter_map(|line| line["event"].as_str()).collect();
        assert_eq!(events, ["genesis", "asset", "deposit", "authorize", "operate"]);
        assert_eq!(values[5]["head"]["sequence"], 5);
        let out = open.path("history.jsonl");
        let words = open.run("export", &["--out", &out]).ends_with(0).out;
        assert!(words.contains("6 lines"), "{words}");
        assert_eq!(fs::read_to_string(&out).unwrap(), lines);
        assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
        let again = open.run("export", &["--out", &out]).ends_with(2);
        assert!(again.err.contains("there already"), "{again:?}");
    }
}

#[test]
fn a_backup_is_restored_checked_and_goes_on() {
    for in_use in [true, false] {
        let mut open = Open::new();
        let spent = open.hold(1, AUTHORIZER, 600);
        open.capture(spent);
        if !in_use {
            open.close();
        }
        let (file, to) = (open.path("ledger.backup"), open.path("restored"));
        let words = open.run("backup", &["--out", &file]).ends_with(0).out;
        for part in ["farthing:", "5 entries", "holds the ledger's key", "issuer.key"] {
            assert!(words.contains(part), "{part}: {words}");
        }
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let words = farthing(&["ledger", "restore", "--from", &file, "--data", &to]).ends_with(0).out;
        for part in ["it balances", "forgotten", "Never run it beside"] {
            assert!(words.contains(part), "{part}: {words}");
        }
        let check = |data: &str| farthing(&["ledger", "check", "--json", "--data", data]).ends_with(0).json();
        assert_eq!(check(&to), check(&open.path("ledger")));
        let ledger = Ledger::open(&to, Options::open_to_all()).unwrap();
        let payment = open.runtime.block_on(ledger.payment(spent)).unwrap().0.unwrap();
        assert_eq!(payment.captured, Amount(1_000_000));
        open.ledger = Some(ledger);
        open.capture(open.hold(2, AUTHORIZER, 600));
    }
}

#[test]
fn a_backup_without_the_key_needs_it_to_be_restored() {
    let open = Open::new();
    let (file, to) = (open.path("rows.backup"), open.path("restored"));
    let words = open.run("backup", &["--out", &file, "--without-key"]).ends_with(0).out;
    assert!(words.contains("holds no key"), "{words}");
    let restore = |more: &[&str]| {
        farthing(&[&["ledger", "restore", "--from", &file, "--data", &to][..], more].concat())
    };
    let none = restore(&[]).ends_with(2);
    assert!(none.err.contains("--key FILE") && !Path::new(&to).exists(), "{none:?}");
    let other = restore(&["--key", &open.path("authorizer.key")]).ends_with(2);
    assert!(other.err.contains("not the one of the ledger") && !Path::new(&to).exists(), "{other:?}");
    restore(&["--key", &open.path("ledger/ledger.key")]).ends_with(0);
    farthing(&["ledger", "check", "--data", &to]).ends_with(0);
}

#[test]
fn what_cannot_be_restored_is_refused_and_nothing_is_made() {
    let mut open = Open::new();
    let (file, to) = (open.path("ledger.backup"), open.path("restored"));
    open.run("backup", &["--out", &file]).ends_with(0);
    let whole = fs::read(&file).unwrap();
    let restore = |bytes: &[u8]| {
        let damaged = open.path("damaged");
        fs::write(&damaged, bytes).unwrap();
        farthing(&["ledger", "restore", "--from", &damaged, "--data", &to])
    };
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for (bytes, why) in [
        (&whole[..whole.len() - 1], "cut short"),
        (&whole[..3], "not a backup"),
        (b"", "not a backup"),
        (b"{\"json\":true} and more of it", "not a backup"),
        (&flipped, "damaged"),
        (&[&whole[..], b"x"].concat(), "more follows"),
    ] {
        let run = restore(bytes).ends_with(2);
        assert!(run.out.is_empty() && run.err.contains(why), "{why}: {run:?}");
        assert!(!Path::new(&to).exists());
    }
    let taken =
        farthing(&["ledger", "restore", "--from", &file, "--data", &open.path("ledger")]).ends_with(2);
    assert!(taken.err.contains("not empty"), "{taken:?}");
    let missing =
        farthing(&["ledger", "restore", "--from", &open.path("nothing"), "--data", &to]).ends_with(2);
    assert!(missing.err.contains("No such file"), "{missing:?}");
    // Whole, and yet no ledger that could be believed: that is the ledger's fault, not the file's.
    open.close();
    let directory = PathBuf::from(open.path("ledger"));
    let (mut storage, _) = EmbeddedStorage::open(&directory).unwrap();
    let (row, _) = storage.scan(Table::Balance, &[], 1).unwrap().remove(0);
    storage.commit(&[((Table::Balance, row), Some(vec![0; 16]))].into()).unwrap();
    drop(storage);
    let unsound = open.path("unsound.backup");
    open.run("backup", &["--out", &unsound]).ends_with(0);
    let run = farthing(&["ledger", "restore", "--from", &unsound, "--data", &to]).ends_with(1);
    assert!(run.err.contains("cannot be believed") && !Path::new(&to).exists(), "{run:?}");
    farthing(&["ledger", "restore", "--from", &file, "--data", &to]).ends_with(0);
}

#[test]
fn a_directory_in_use_that_cannot_be_asked_is_refused_with_the_reason() {
    let open = Open::new();
    let out = open.path("out");
    fs::remove_file(open.path("ledger/admin.sock")).unwrap();
    for (command, more) in [
        ("check", &[][..]),
        ("recover", &[]),
        ("recover", &["--list"]),
        ("export", &[]),
        ("backup", &["--out", &out]),
    ] {
        let run = open.run(command, more).ends_with(2);
        assert!(run.err.contains("in use by another process") && run.err.contains("admin.sock"), "{run:?}");
        assert!(run.out.is_empty() && !Path::new(&out).exists(), "{run:?}");
    }
    let long = open.home.path().join("d".repeat(120));
    let _ledger = Ledger::open(&long, Options::open_to_all()).unwrap();
    let run = farthing(&["ledger", "check", "--data", long.to_str().unwrap()]).ends_with(2);
    assert!(run.err.contains("in use") && run.err.contains("shorter path"), "{run:?}");
}

#[test]
fn what_is_not_there_or_not_a_key_ends_with_2_and_says_what() {
    let open = Open::new();
    let (nowhere, out) = (open.path("nowhere"), open.path("out"));
    for (command, more) in
        [("check", vec![]), ("recover", vec![]), ("export", vec![]), ("backup", vec!["--out", &out])]
    {
        let run = farthing(&[&["ledger", command, "--data", &nowhere][..], &more].concat()).ends_with(2);
        assert!(run.out.is_empty() && run.err.contains("holds no ledger"), "{command}: {run:?}");
    }
    assert!(!Path::new(&nowhere).exists(), "nothing is made by looking");
    fs::write(&out, "not a key").unwrap();
    let others = open.run("recover", &["--authorizer-key", &out]).ends_with(2);
    assert!(others.err.contains("chmod 600"), "{others:?}");
    fs::set_permissions(&out, fs::Permissions::from_mode(0o600)).unwrap();
    let content = open.run("recover", &["--authorizer-key", &out]).ends_with(2);
    assert!(
        content.err.contains("64 lower-case hex digits") && !content.err.contains("not a key"),
        "{content:?}"
    );
    let missing = open.run("recover", &["--authorizer-key", &nowhere]).ends_with(2);
    assert!(missing.err.contains("nowhere"), "{missing:?}");
    let directory = open.run("backup", &["--out", &open.path("ledger")]).ends_with(2);
    assert!(directory.err.contains("there already"), "{directory:?}");
    let parent = open.run("export", &["--out", &open.path("no/such/file")]).ends_with(2);
    assert!(parent.err.contains("No such file"), "{parent:?}");
    // A newer program's directory is its own.
    let mut open = open;
    open.close();
    let (mut storage, _) = EmbeddedStorage::open(Path::new(&open.path("ledger"))).unwrap();
    let newer = Some(9_u64.to_be_bytes().to_vec());
    storage.commit(&[((Table::Meta, b"format".to_vec()), newer)].into()).unwrap();
    drop(storage);
    let run = open.run("check", &[]).ends_with(2);
    assert!(run.err.contains("format 9") && run.err.contains("a newer farthing"), "{run:?}");
}

/// Two processes have it; the command is a third.
#[cfg(feature = "postgres")]
#[test]
#[ignore = "cargo xtask test"]
fn a_ledger_on_postgresql_is_checked_recovered_and_exported_while_servers_have_it() {
    use farthing::farthing_ledger::engine::PostgresConfig;
    use farthing_testkit::postgres::Cluster;

    use crate::program::farthing_with;

    let schema = Cluster::shared().schema();
    let url = schema.url();
    let run = |command: &str, more: &[&str]| {
        let place = ["ledger", command, "--postgres", "-", "--schema", &schema.name];
        farthing_with(&[&place[..], more].concat(), &url, &[])
    };
    for command in ["check", "recover", "export"] {
        let key = tempfile::tempdir().unwrap();
        let path = key.path().join("key");
        fs::write(&path, "05".repeat(32)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let more = [&["--key", path.to_str().unwrap()][..], &[]];
        let nothing = run(command, more[usize::from(command != "recover")]).ends_with(2);
        assert!(nothing.err.contains("holds no ledger"), "{nothing:?}");
    }
    let database: PostgresConfig = url.parse().unwrap();
    let database = database.with_schema(&schema.name).unwrap();
    let first = Ledger::postgres(&database, key(5), Options::open_to_all()).unwrap();
    let mut open = Open::with(tempfile::tempdir().unwrap(), first);
    open.capture(open.hold(1, AUTHORIZER, 600));
    let second = Ledger::postgres(&database, key(5), Options::open_to_all()).unwrap();
    let first = open.ledger.replace(second).unwrap();
    let ours = open.hold(2, AUTHORIZER, 0);

    let words = run("check", &[]).ends_with(0).out;
    assert!(words.contains("2 chains of hashes") && words.contains("The ledger balances"), "{words}");
    assert!(!words.contains("postgres:"), "the connection string is nobody's to see: {words}");
    let lines = run("export", &[]).ends_with(0).out;
    assert_eq!(lines.matches("\"head\"").count(), 2, "{lines}");
    assert_eq!(
        run("recover", &["--list", "--json"]).ends_with(0).json()["lapsed"][0]["payment"],
        ours.to_string()
    );
    let no_key = run("recover", &[]).ends_with(2);
    assert!(no_key.err.contains("--key FILE"), "{no_key:?}");
    let (operator, authorizer) = (open.path("operator.key"), open.path("authorizer.key"));
    let other = run("recover", &["--key", &authorizer]).ends_with(2);
    assert!(other.err.contains("another key"), "{other:?}");
    let ended = run("recover", &["--json", "--key", &operator, "--authorizer-key", &authorizer]).ends_with(0);
    assert_eq!(ended.json()["voided"], serde_json::json!([ours.to_string()]));
    let check = run("check", &["--json"]).ends_with(0).json();
    assert_eq!((&check["payments"]["voided"], &check["balanced"]), (&Value::from(1), &Value::from(true)));
    drop(first);
    for (text, why) in
        [("nonsense", "connection string"), ("postgres://x@127.0.0.1:1/y", "cannot be reached")]
    {
        let run = farthing_with(&["ledger", "check", "--postgres", "-"], text, &[]).ends_with(2);
        assert!(run.err.contains(why), "{run:?}");
    }
}
