//! `farthing receipts export`: every payment, for accounting.

use std::io::{self, BufWriter, Write};

use farthing::client::sqlite::{ExportError, Format};

use crate::args::receipts::{ExportArgs, Layout};
use crate::ledger::file;
use crate::style::{count, print, safe};
use crate::{Failure, home};

/// Runs the command.
pub(super) fn run(options: &ExportArgs) -> Result<(), Failure> {
    let format = match options.format {
        Layout::Csv => Format::Csv,
        Layout::Jsonl => Format::JsonLines,
    };
    let journal = home::journal(&options.home)?;
    let Some(path) = &options.out else {
        let mut out = BufWriter::new(io::stdout().lock());
        let written = journal.export(format, &mut out);
        return match written.and_then(|_| out.flush().map_err(ExportError::Write)) {
            // Whoever read has seen enough.
            Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(Failure::unsound),
        };
    };
    let mut payments = 0;
    let written = file::make(
        path,
        |out| {
            payments = journal.export(format, out).map_err(|error| error.to_string())?;
            Ok(())
        },
        |_| Ok(()),
    );
    written.map_err(|why| Failure::bad_input(safe(&why)))?;
    let path = safe(&path.display().to_string());
    print(&format!("{} written to {path}\n", count(payments, "payment"))).map_err(Failure::unsound)
}
