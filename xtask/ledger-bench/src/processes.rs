//! Several processes on one ledger in PostgreSQL.
//!
//! Each process signs its payments once. Told on its standard input which of them to make and where, it opens the
//! ledger and says `ready`; told to go, it pays and says how long that took.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use farthing_ledger::engine::PostgresConfig;
use farthing_ledger::{Ledger, LedgerId, Options, keyfile};

use crate::Result;
use crate::drive::{self, Round};
use crate::measure::MANY;
use crate::payments::{self, Parties};
use crate::stage::{Database, Home};

/// How many of them.
const PROCESSES: usize = 2;

/// Who is paid.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Payees {
    /// One account for all.
    One,
    /// Many accounts in turn.
    Spread,
}

/// The other processes; they end with this.
pub(crate) struct Processes {
    all: Vec<Process>,
    payments: usize,
}

struct Process {
    child: Child,
    tell: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Processes {
    /// Starts them and waits until they have signed their payments.
    ///
    /// # Errors
    /// When they do not start.
    pub(crate) fn start(home: &Home, accounts: usize, payments: usize) -> Result<Self> {
        let mut all = Vec::new();
        for number in 0..PROCESSES {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("--process").arg(number.to_string()).arg("--key").arg(home.key_file());
            command.arg("--few").arg(accounts.to_string()).arg("--payments").arg(payments.to_string());
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            let (Some(tell), Some(said)) = (child.stdin.take(), child.stdout.take()) else {
                return Err("a process without pipes".into());
            };
            all.push(Process { child, tell, said: BufReader::new(said).lines() });
        }
        let mut processes = Self { all, payments };
        processes.hear()?;
        Ok(processes)
    }

    /// One round: all of them pay at the same time.
    ///
    /// # Errors
    /// When anything is not answered as it should be.
    pub(crate) fn round(&mut self, payees: Payees, database: &Database<'_>) -> Result<Round> {
        self.tell(&format!("{payees:?} {}", database.url()))?;
        self.hear()?;
        self.tell("go")?;
        let mut took = Duration::ZERO;
        for said in self.hear()? {
            took = took.max(Duration::from_nanos(said.parse()?));
        }
        Ok(Round { payments: self.payments * PROCESSES, took, ..Round::default() })
    }

    fn tell(&mut self, line: &str) -> Result {
        for process in &mut self.all {
            writeln!(process.tell, "{line}")?;
            process.tell.flush()?;
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<Vec<String>> {
        let lines = self.all.iter_mut().map(|process| process.said.next());
        lines.map(|line| Ok(line.ok_or("a process has ended")??)).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What such a process does.
///
/// # Errors
/// When anything fails, or is not answered as it should be.
pub(crate) fn run(number: usize, key: &Path, accounts: usize, count: usize) -> Result {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let key = keyfile::load_or_create(key)?;
    let sign = |payees: usize| {
        let set = format!("process {number}, {payees} payees");
        payments::sign(LedgerId::of(&key.public()), Parties { payers: accounts, payees }, &set, count)
    };
    let (one, spread) = (sign(1)?, sign(accounts)?);
    println!("signed");
    let mut told = std::io::stdin().lines();
    while let Some(line) = told.next() {
        let line = line?;
        let (payees, url) = line.split_once(' ').ok_or("not told where")?;
        let payments = if payees == "One" { &one } else { &spread };
        let ledger = Ledger::postgres(&url.parse::<PostgresConfig>()?, key.clone(), Options::open_to_all())?;
        let shares = drive::share(payments.clone(), MANY);
        println!("ready");
        told.next().ok_or("not told to go")??;
        let began = Instant::now();
        runtime.block_on(drive::run(&ledger, shares))?;
        println!("{}", began.elapsed().as_nanos());
    }
    Ok(())
}
