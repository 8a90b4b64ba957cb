//! `farthing ledger recover`: payments in doubt are listed, and those that can be ended are.

use farthing::farthing_ledger::engine::admin::{self, Request};
use farthing::farthing_ledger::engine::system_clock;
use farthing::farthing_ledger::recovery::{Doubts, InDoubt, Recovered};
use farthing::protocol::SecretKey;
use farthing::{Ledger, keyfile};

use super::place::{Books, postgres, title, unanswered};
use crate::Failure;
use crate::args::{Kind, RecoverArgs};
use crate::style::{CAREFUL, GOOD, QUIET, count, moment, paint, print, safe};

/// Holds that are written out; `--json` has all.
const SHOWN: usize = 20;

/// Runs the command.
pub(super) fn run(options: &RecoverArgs) -> Result<(), Failure> {
    let key = options.authorizer_key.as_ref().map(keyfile::load).transpose().map_err(Failure::bad_input)?;
    // A database is opened as a ledger at once; it has room for one more process.
    let mut books = match (options.list, options.place.kind()) {
        (false, Kind::Postgres(..)) => None,
        _ => Some(Books::open(&options.place).map_err(Failure::bad_input)?),
    };
    let in_use = books.as_ref().is_some_and(Books::in_use);
    let head = |what| title(what, &options.place, in_use);
    let text = if let (true, Some(books)) = (options.list, &mut books) {
        let doubts = list(books).map_err(Failure::bad_input)?;
        match options.json {
            true => json(&doubts),
            false => format!("{}\n{}", head("Payments in doubt on the ledger in"), listed(&doubts)),
        }
    } else {
        let recovered = recover(books, options, key.as_ref()).map_err(Failure::bad_input)?;
        match options.json {
            true => json(&recovered),
            false => {
                format!("{}\n{}", head("Recovery of the ledger in"), told(&recovered, key.is_some()))
            }
        }
    };
    print(&text).map_err(Failure::unsound)
}

fn json(value: &impl serde::Serialize) -> String {
    // Text and numbers: this cannot fail.
    format!("{}\n", serde_json::to_string(value).unwrap_or_default())
}

fn list(books: &mut Books) -> Result<Doubts, String> {
    match books {
        Books::Ours(rows) => {
            Doubts::list(rows.snapshot.as_mut(), system_clock()()).map_err(|error| error.to_string())
        }
        Books::Theirs(directory) => {
            admin::ask_for(directory, &Request::Doubts).map_err(|error| unanswered(directory, &error))
        }
    }
}

fn recover(
    books: Option<Books>,
    options: &RecoverArgs,
    key: Option<&SecretKey>,
) -> Result<Recovered, String> {
    if let Some(Books::Theirs(directory)) = books {
        return admin::recover(&directory, key).map_err(|error| unanswered(&directory, &error));
    }
    // Lets go of a directory, to open it as a ledger.
    drop(books);
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let ledger = match options.place.kind() {
        Kind::Directory(directory) => Ledger::existing(directory, system_clock()).map_err(|e| words(&e))?,
        Kind::Postgres(database, schema) => {
            let file = options.key.as_ref().ok_or("a ledger on PostgreSQL needs its key: --key FILE")?;
            let key = keyfile::load(file).map_err(|e| words(&e))?;
            postgres::open(&postgres::database(database, schema)?, key)?
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| words(&e))?;
    runtime.block_on(ledger.recover(key)).map_err(|e| words(&e))
}

fn listed(doubts: &Doubts) -> String {
    let mut out = String::new();
    if doubts.overdue.is_empty() && doubts.lapsed.is_empty() {
        out.push_str(&format!("  {}\n", paint(GOOD, "Nothing is in doubt.")));
    }
    if !doubts.overdue.is_empty() {
        let overdue = count(doubts.overdue.len() as u64, "payment");
        out.push_str(&format!(
            "  {:<13}{overdue}: the deadline has passed, the money is the payer's\n",
            "overdue"
        ));
        out.push_str(&holds(&doubts.overdue, doubts.now));
    }
    if !doubts.lapsed.is_empty() {
        let lapsed = count(doubts.lapsed.len() as u64, "payment");
        out.push_str(&format!("  {:<13}{lapsed}: held for a server that is silent\n", "in doubt"));
        out.push_str(&holds(&doubts.lapsed, doubts.now));
    }
    out.push_str(&leased(doubts.leased, doubts.last_lapse, doubts.now));
    out
}

fn told(recovered: &Recovered, has_key: bool) -> String {
    let mut out = String::new();
    let mut line = |name: &str, number: usize, what: &str| {
        if number > 0 {
            out.push_str(&format!("  {name:<13}{}: {what}\n", count(number as u64, "payment")));
        }
    };
    line("reclaimed", recovered.reclaimed.len(), "past the deadline, the money is the payer's again");
    line("voided", recovered.voided.len(), "given back in the seller's name");
    line("taken over", recovered.taken_over.len(), "another server came first");
    line("waiting", recovered.waiting.len(), "held for a server that is silent");
    if out.is_empty() {
        out.push_str(&format!("  {}\n", paint(GOOD, "Nothing is in doubt.")));
    }
    out.push_str(&holds(&recovered.waiting, recovered.now));
    out.push_str(&leased(recovered.leased, recovered.last_lapse, recovered.now));
    if !recovered.waiting.is_empty() {
        let hint = match has_key {
            true => "These are another seller's: they end by themselves, at the times above.",
            false => "They end by themselves, at the times above, or now with --authorizer-key FILE.",
        };
        out.push_str(&format!("\n{}\n", paint(CAREFUL, hint)));
    }
    out
}

fn holds(holds: &[InDoubt], now: u64) -> String {
    let mut out = String::new();
    for hold in holds.iter().take(SHOWN) {
        let ends = moment(hold.capture_deadline, now);
        let verb = if hold.capture_deadline < now { "ended" } else { "ends" };
        let (units, asset) = (hold.held, safe(hold.asset.as_str()));
        out.push_str(&format!("    {}\n", hold.payment));
        out.push_str(&format!("      {units} atomic units of {asset}, {verb} {ends}\n"));
    }
    if holds.len() > SHOWN {
        let more = format!("    and {} more; --json lists all", holds.len() - SHOWN);
        out.push_str(&format!("{}\n", paint(QUIET, more)));
    }
    out
}

fn leased(number: u64, last: Option<u64>, now: u64) -> String {
    let Some(last) = last else { return String::new() };
    let (holds, last) = (count(number, "hold"), moment(last, now));
    format!(
        "  {:<13}{holds}: not in doubt, not touched; the last lease ends\n  {:<13}{last}\n",
        "under lease", ""
    )
}
