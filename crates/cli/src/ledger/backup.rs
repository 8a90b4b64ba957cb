//! `farthing ledger backup` and `restore`.

use std::fs::File;
use std::io::BufReader;

use farthing::farthing_ledger::backup::{self, RestoreError, Summary};
use farthing::farthing_ledger::engine::admin::{self, Request};
use farthing::keyfile;

use super::file;
use super::place::{Books, title, unanswered};
use crate::Failure;
use crate::args::{BackupArgs, Place, RestoreArgs};
use crate::style::{CAREFUL, GOOD, TITLE, count, grouped, moment, paint, print, unix_now};

/// Runs `backup`.
pub(super) fn run(options: &BackupArgs) -> Result<(), Failure> {
    let place = Place::in_directory(options.data.clone());
    let mut books = Books::open(&place).map_err(Failure::bad_input)?;
    let with_key = !options.without_key;
    let seed = match (&books, with_key) {
        (Books::Ours(_), true) => {
            let path = options.data.join("ledger.key");
            Some(keyfile::seed(path).map_err(Failure::bad_input)?)
        }
        _ => None,
    };
    let summary = file::make(
        &options.out,
        |out| match &mut books {
            Books::Ours(rows) => backup::write(rows.snapshot.as_mut(), seed.as_ref(), out)
                .map(drop)
                .map_err(|error| error.to_string()),
            Books::Theirs(directory) => admin::ask(directory, &Request::Backup { with_key }, out)
                .map_err(|error| unanswered(directory, &error)),
        },
        // What is on the disk is read again before it gets its name.
        |path| {
            let file = File::open(path).map_err(|error| error.to_string())?;
            backup::verify(&mut BufReader::new(file))
                .map_err(|error| format!("the backup is not good: {error}"))
        },
    );
    let summary = summary.map_err(Failure::bad_input)?;
    let mut text = title("Backup of the ledger in", &place, books.in_use());
    text.push('\n');
    text.push_str(&described(&summary));
    text.push_str(&format!("  {:<10}{}\n\n", "file", options.out.display()));
    let key = if summary.has_key {
        "It holds the ledger's key: whoever reads this file can be the ledger. Keep it as you keep the key."
    } else {
        "It holds no key: without a copy of ledger.key it cannot be restored."
    };
    text.push_str(&format!("{}\n", paint(CAREFUL, key)));
    text.push_str("Other key files in the directory, such as issuer.key, are not in it: copy them too.\n");
    print(&text).map_err(Failure::unsound)
}

/// Runs `restore`.
pub(super) fn restore(options: &RestoreArgs) -> Result<(), Failure> {
    let key = options.key.as_ref().map(keyfile::seed).transpose().map_err(Failure::bad_input)?;
    let restored = backup::restore(&options.from, &options.data, key).map_err(|error| match error {
        RestoreError::Unsound(_) => Failure::unsound(error),
        RestoreError::NoKey => Failure::bad_input(format!("{error}, with --key FILE")),
        error => Failure::bad_input(error),
    })?;
    let mut text = format!("{} {}\n\n", paint(TITLE, "Restored a ledger into"), options.data.display());
    text.push_str(&described(&restored.summary));
    text.push_str(&format!(
        "  {:<10}{}\n\n",
        "checked",
        paint(GOOD, "it balances, and every signature in it holds")
    ));
    text.push_str(
        "What happened after this moment is forgotten: who paid in between can present\n\
         that payment again while it is valid, and holds that were open end at their\n\
         deadlines. Never run it beside the ledger that it is a copy of.\n\
         Put the other key files, such as issuer.key, beside it before it is opened.\n",
    );
    print(&text).map_err(Failure::unsound)
}

fn described(summary: &Summary) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| out.push_str(&format!("  {name:<10}{value}\n"));
    line("ledger", &summary.ledger.network().to_string());
    line("as of", &moment(summary.clock, unix_now()));
    let entries = if summary.entries == 1 { "entry" } else { "entries" };
    let rows = count(summary.rows, "row");
    line("history", &format!("{} {entries}, in all {rows}", grouped(summary.entries)));
    out
}
