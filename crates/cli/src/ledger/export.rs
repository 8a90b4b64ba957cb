//! `farthing ledger export`: history as JSON lines.

use std::io::{self, BufWriter, Write};

use farthing::farthing_ledger::engine::admin::{self, AskError, Request};
use farthing::farthing_ledger::export::{self, ExportError};

use super::file;
use super::place::{Books, title, unanswered};
use crate::Failure;
use crate::args::ExportArgs;
use crate::style::{count, print};

/// Runs the command.
pub(super) fn run(options: &ExportArgs) -> Result<(), Failure> {
    let mut books = Books::open(&options.place).map_err(Failure::bad_input)?;
    let Some(path) = &options.out else {
        let mut out = BufWriter::new(io::stdout().lock());
        return match write(&mut books, &mut out).and_then(|()| out.flush().map_err(Stopped::Out)) {
            // Whoever read has seen enough.
            Err(Stopped::Out(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(Stopped::Out(error)) => Err(Failure::unsound(error)),
            Err(Stopped::Books(why)) => Err(Failure::bad_input(why)),
            Ok(()) => Ok(()),
        };
    };
    let mut lines = Lines::default();
    let written = file::make(
        path,
        |out| write(&mut books, &mut lines.counting(out)).map_err(|stopped| stopped.to_string()),
        |_| Ok(()),
    );
    written.map_err(Failure::bad_input)?;
    let in_use = books.in_use();
    let text = format!(
        "{}\n  {} written to {}, one for each entry of history and each signed head.\n",
        title("History of the ledger in", &options.place, in_use),
        count(lines.0, "line"),
        path.display()
    );
    print(&text).map_err(Failure::unsound)
}

/// Why there is no more of it.
enum Stopped {
    Out(io::Error),
    Books(String),
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Out(error) => error.fmt(f),
            Self::Books(why) => why.fmt(f),
        }
    }
}

fn write(books: &mut Books, out: &mut dyn Write) -> Result<(), Stopped> {
    match books {
        Books::Ours(rows) => match export::write(rows.snapshot.as_mut(), out) {
            Ok(_) => Ok(()),
            Err(ExportError::Io(error)) => Err(Stopped::Out(error)),
            Err(error) => Err(Stopped::Books(error.to_string())),
        },
        Books::Theirs(directory) => match admin::ask(directory, &Request::Export, out) {
            Ok(()) => Ok(()),
            Err(AskError::Out(error)) => Err(Stopped::Out(error)),
            Err(error) => Err(Stopped::Books(unanswered(directory, &error))),
        },
    }
}

/// Lines that have been written.
#[derive(Default)]
struct Lines(u64);

impl Lines {
    fn counting<'a>(&'a mut self, out: &'a mut dyn Write) -> Counting<'a> {
        Counting { lines: &mut self.0, out }
    }
}

struct Counting<'a> {
    lines: &'a mut u64,
    out: &'a mut dyn Write,
}

impl Write for Counting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        *self.lines += bytes[..written].iter().filter(|byte| **byte == b'\n').count() as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
