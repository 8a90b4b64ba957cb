//! T30 across processes: agents that share one journal, one of which is killed. The other processes are this test
//! program again, asked for [`a_process_of_its_own`] only.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use farthing::Budget;
use farthing::client::{Client, ClientError, Rule, SqliteJournal};
use farthing_testkit::hostile::CountingWallet;
use farthing_testkit::{World, key};

use crate::{agent, routes, spent};

/// Requests of one process, all at once.
const CALLS: usize = 250;

/// A client with money for ten pages, which it shares with all others of this journal. As after a restart.
async fn shared(ledger: &str, journal: &Path) -> (Arc<CountingWallet>, Client) {
    let facilitator = farthing::facilitator::RemoteFacilitator::builder(ledger).build().unwrap();
    let wallet = farthing::native::NativePay::connect(Arc::new(facilitator), None, key(1)).await.unwrap();
    let wallet = CountingWallet::new(wallet);
    let journal = SqliteJournal::open(journal, &Default::default()).unwrap().waits(Duration::from_secs(60));
    let client = agent(&wallet, Budget::new("0.1 XTS").unwrap()).journal(Arc::new(journal)).build().unwrap();
    (wallet, client)
}

fn say(word: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "> {word}").unwrap();
    out.flush().unwrap();
}

/// What the other processes do: nothing, unless a test asks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_of_its_own() {
    let Ok(origin) = std::env::var("FARTHING_TEST_SHOP") else { return };
    let journal = PathBuf::from(std::env::var("FARTHING_TEST_JOURNAL").unwrap());
    let (wallet, client) = shared(&format!("{origin}/ledger"), &journal).await;
    say("ready");
    std::io::stdin().lines().next().unwrap().unwrap();
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let (client, url) = (client.clone(), format!("{origin}/page"));
            tokio::spawn(async move {
                match client.get(&url).await {
                    Ok(answer) => {
                        assert!(answer.payment().unwrap().is_proven());
                        say("paid");
                    }
                    Err(ClientError::Refused(refused)) => {
                        assert!(matches!(refused.rule, Rule::OverBudget(_)))
                    }
                    Err(error) => panic!("{error}"),
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    say(&format!("end {}", wallet.signed()));
}

/// Another process, killed when this is dropped.
struct Other {
    process: Child,
    says: Lines<BufReader<ChildStdout>>,
}

impl Other {
    fn ready(world: &World, journal: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "processes::a_process_of_its_own", "--nocapture", "--test-threads", "1"]);
        command.env("FARTHING_TEST_SHOP", &world.origin).env("FARTHING_TEST_JOURNAL", journal);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let says = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut other = Self { process, says };
        assert_eq!(other.hear().as_deref(), Some("ready"));
        other
    }

    fn hear(&mut self) -> Option<String> {
        let word = |line: String| line.split_once("> ").map(|(_, word)| word.to_owned());
        self.says.by_ref().find_map(|line| word(line.unwrap()))
    }

    fn go(&mut self) {
        self.process.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    /// How many payments it signed, once it is done.
    fn signed(&mut self) -> usize {
        let end = std::iter::from_fn(|| self.hear()).find_map(|word| word.strip_prefix("end ")?.parse().ok());
        let end = end.expect("it came to its end");
        assert!(self.process.wait().unwrap().success());
        end
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t30_two_processes_with_one_budget_for_ten_sign_ten_and_none_after_a_restart() {
    let world = World::start(routes).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.sqlite");
    let signed = tokio::task::block_in_place(|| {
        let mut others = [Other::ready(&world, &path), Other::ready(&world, &path)];
        others.iter_mut().for_each(Other::go);
        others.iter_mut().map(Other::signed).sum::<usize>()
    });
    assert_eq!((signed, world.hits.all(), world.captures().await), (10, 10, 10));
    assert_eq!(world.balance().await, 100_000_000 - 100_000);
    let (wallet, client) = shared(&format!("{}/ledger", world.origin), &path).await;
    assert_eq!(spent(&client, &wallet), (100_000, 0));
    let error = client.get(&format!("{}/page", world.origin)).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(no) if matches!(no.rule, Rule::OverBudget(_))), "{error}");
    assert_eq!((wallet.signed(), world.captures().await), (0, 10));
    assert_eq!(client.get(&format!("{}/free", world.origin)).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t30_a_process_that_is_killed_spends_no_more_than_it_had_and_what_it_left_is_resumed() {
    let world = World::start(routes).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.sqlite");
    tokio::task::block_in_place(|| {
        let mut other = Other::ready(&world, &path);
        other.go();
        // In the middle of it: some payments are signed, some sent, some paid.
        assert_eq!(other.hear().as_deref(), Some("paid"));
        other.process.kill().unwrap();
        other.process.wait().unwrap();
    });
    let (wallet, client) = shared(&format!("{}/ledger", world.origin), &path).await;
    // What was left open is presented again: the very same payments.
    for record in client.unfinished().unwrap() {
        let prepared = client.resume(&record.id()).unwrap();
        assert!(client.present(&prepared).await.unwrap().payment().unwrap().is_proven());
    }
    assert_eq!(wallet.signed(), 0);
    let before = world.captures().await;
    assert!((1..=10).contains(&before), "{before}");
    let (taken, reserved) = spent(&client, &wallet);
    assert!(taken == u128::from(before) * 10_000, "{taken} {before}");
    // A reservation without a payment, of a process that is no more, is given back in time: until then it counts.
    assert!(taken + reserved <= 100_000, "{taken} {reserved}");
    let mut more = 0;
    loop {
        match client.get(&format!("{}/page", world.origin)).await {
            Ok(answer) => more += u64::from(answer.payment().unwrap().is_proven()),
            Err(ClientError::Refused(no)) => break assert!(matches!(no.rule, Rule::OverBudget(_)), "{no}"),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(world.captures().await, before + more);
    assert_eq!((wallet.signed() as u64, world.hits.all() as u64), (more, before + more));
    assert!(before + more <= 10 && world.balance().await >= 100_000_000 - 100_000);
    // All that was not reserved can be spent.
    assert!(u128::from(before + more) >= (100_000 - reserved) / 10_000, "{before} {more} {reserved}");
}
