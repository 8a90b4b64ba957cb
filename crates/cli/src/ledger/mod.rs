//! `farthing ledger`: what the operator of a ledger does with it. Each command works on a directory that nobody
//! uses, and asks the process that has it over its admin socket otherwise.

mod backup;
mod check;
mod export;
pub(crate) mod file;
pub(crate) mod place;
mod recover;

use crate::Failure;
use crate::args::LedgerCommand;

pub(crate) use check::decimal;

/// Runs one of the commands.
pub(crate) fn run(command: &LedgerCommand) -> Result<(), Failure> {
    match command {
        LedgerCommand::Check(options) => check::run(options),
        LedgerCommand::Recover(options) => recover::run(options),
        LedgerCommand::Export(options) => export::run(options),
        LedgerCommand::Backup(options) => backup::run(options),
        LedgerCommand::Restore(options) => backup::restore(options),
    }
}
