//! The command line of `farthing ledger`, and its manual.

use std::path::{Path, PathBuf};

use clap::Subcommand;

pub(super) const LEDGER: &str = "\
What the operator of a ledger does with it. Each command works on a ledger's directory, whether a server has it or \
not: while one has, that process is asked, on the socket admin.sock in the directory, and goes on taking payments. \
check, recover and export work on a ledger on PostgreSQL, too.";

pub(super) const LEDGER_AFTER: &str = "\
EXAMPLES
  farthing ledger check --data ./ledger
  farthing ledger backup --data ./ledger --out ledger.backup

EXIT STATUS
  0  Done, and everything is as it should be.
  1  Something is wrong with the ledger.
  2  The command could not be carried out as given.";

/// What to do with a ledger.
#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Verify a ledger's whole history again
    #[command(long_about = CHECK, after_long_help = CHECK_AFTER)]
    Check(CheckArgs),
    /// End payments that a silent server left in doubt, and list the others
    #[command(long_about = RECOVER, after_long_help = RECOVER_AFTER)]
    Recover(RecoverArgs),
    /// Write history as JSON lines that anybody can verify
    #[command(long_about = EXPORT, after_long_help = EXPORT_AFTER)]
    Export(ExportArgs),
    /// Copy a ledger into one file, also while payments run
    #[command(long_about = BACKUP, after_long_help = BACKUP_AFTER)]
    Backup(BackupArgs),
    /// Make a ledger from a backup, and check it
    #[command(long_about = RESTORE, after_long_help = RESTORE_AFTER)]
    Restore(RestoreArgs),
}

/// Which ledger.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Place {
    /// The ledger's directory
    #[arg(long, value_name = "DIR", visible_alias = "ledger", required_unless_present = "postgres")]
    data: Option<PathBuf>,

    /// A ledger on PostgreSQL instead: its connection string, or - to read that from standard input
    ///
    /// As libpq reads it: postgres://user:password@host/database. Other users of a machine can see command lines.
    #[arg(long, value_name = "URL|-", conflicts_with = "data")]
    postgres: Option<String>,

    /// The schema that the ledger has in the database, when it is not `farthing`
    #[arg(long, value_name = "NAME", requires = "postgres", conflicts_with = "data")]
    schema: Option<String>,
}

/// Where a ledger is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind<'a> {
    /// In a directory.
    Directory(&'a Path),
    /// In a database: its connection string, and the schema.
    Postgres(&'a str, Option<&'a str>),
}

impl Place {
    /// A directory.
    pub(crate) fn in_directory(data: PathBuf) -> Self {
        Self { data: Some(data), postgres: None, schema: None }
    }

    /// The directory, if it is in one.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self.kind() {
            Kind::Directory(directory) => Some(directory),
            Kind::Postgres(..) => None,
        }
    }

    /// What was named.
    pub(crate) fn kind(&self) -> Kind<'_> {
        match (&self.postgres, &self.data) {
            (Some(database), _) => Kind::Postgres(database, self.schema.as_deref()),
            (None, data) => Kind::Directory(data.as_deref().unwrap_or(Path::new("."))),
        }
    }
}

impl std::fmt::Display for Place {
    /// Never the connection string, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind() {
            Kind::Directory(directory) => directory.display().fmt(f),
            Kind::Postgres(_, schema) => {
                write!(f, "schema {} of the PostgreSQL database", schema.unwrap_or("farthing"))
            }
        }
    }
}

const CHECK: &str = "\
Reads a ledger's history from its first entry to its last and believes none of it: the hash chain of each process \
that wrote it and the ledger's signature over its end, the signature of every payment, deposit and operation, that \
no entry makes or loses money, and that every balance, hold and payment is what history says, none too many and \
none missing.

It changes nothing. While a process has the ledger, that process is asked to check it.";

const CHECK_AFTER: &str = "\
EXAMPLES
  farthing ledger check --data ./ledger
  farthing ledger check --data ./ledger --json

EXIT STATUS
  0  The ledger balances, and nothing is wrong.
  1  Something is wrong: each fault is named.
  2  There is no ledger there, or it cannot be read.";

/// Options of `farthing ledger check`.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) place: Place,

    /// Print one JSON object; amounts in it are atomic units
    #[arg(long)]
    pub(crate) json: bool,
}

const RECOVER: &str = "\
A server that dies leaves holds behind: money that is neither the seller's nor the payer's. This ends them where \
that harms nobody. A hold past its capture deadline goes back to the payer. One whose server is silent, because the \
lease on it has lapsed, is given back in the seller's name if you have the seller's authorizer key. All others end \
by themselves, and it says when.

A hold whose server is at work is never touched, and a capture or takeover that comes first stands. It can be \
called at any time, by many at once; again it finds nothing more to do. Servers do the same for their own holds \
when they start. The key is only read: when a process has the ledger, signatures are sent to it, not the key.";

const RECOVER_AFTER: &str = "\
EXAMPLES
  farthing ledger recover --data ./ledger --list
  farthing ledger recover --data ./ledger
  farthing ledger recover --data ./ledger --authorizer-key authorizer.key

EXIT STATUS
  0  Done; or there was nothing to do.
  2  There is no ledger there, it cannot be read, or the key cannot be used.";

/// Options of `farthing ledger recover`.
#[derive(Debug, clap::Args)]
pub(crate) struct RecoverArgs {
    #[command(flatten)]
    pub(crate) place: Place,

    /// The file with the seller's authorizer key (64 hex digits, mode 0600)
    ///
    /// Only this key can give a hold back before its deadline.
    #[arg(long, value_name = "FILE")]
    pub(crate) authorizer_key: Option<PathBuf>,

    /// The file with the ledger's key, for a ledger on PostgreSQL; a directory has its own
    #[arg(long, value_name = "FILE", requires = "postgres", conflicts_with_all = ["list", "data"])]
    pub(crate) key: Option<PathBuf>,

    /// List payments in doubt, and change nothing
    #[arg(long, conflicts_with = "authorizer_key")]
    pub(crate) list: bool,

    /// Print one JSON object; amounts in it are atomic units
    #[arg(long)]
    pub(crate) json: bool,
}

const EXPORT: &str = "\
Writes every entry of history as one line of JSON, in order: what happened, which payments it was about, every \
posting, and the signed bytes and signatures that prove it, so that somebody else can verify all of it without \
this program. The last lines are the heads that the ledger signed: an export without them was cut off. The lines \
are described in spec/ledger.md.

An export says who paid whom and how much. It holds no secret key.";

const EXPORT_AFTER: &str = "\
EXAMPLES
  farthing ledger export --data ./ledger --out history.jsonl
  farthing ledger export --data ./ledger | jq 'select(.event == \"deposit\")'

EXIT STATUS
  0  Everything was written.
  2  There is no ledger there, it cannot be read, or the file cannot be made.";

/// Options of `farthing ledger export`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) place: Place,

    /// Write to a new file (mode 0600) instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

const BACKUP: &str = "\
Copies everything that a ledger is into one new file (mode 0600): all rows as they are at one moment, while \
payments go on. The file is read again before it gets its name, so what is there is whole.

THE BACKUP HOLDS THE LEDGER'S SECRET KEY. Whoever reads the file can sign in the ledger's name. Keep it as you keep \
the key, or leave the key out with --without-key and keep a copy of ledger.key somewhere else: one without the \
other restores nothing.

Other key files in the directory are not part of the ledger, and not of its backup: copy issuer.key, seller.key \
and authorizer.key as well. For a ledger on PostgreSQL use pg_dump.";

const BACKUP_AFTER: &str = "\
EXAMPLES
  farthing ledger backup --data ./ledger --out ledger.backup
  farthing ledger backup --data ./ledger --out rows.backup --without-key

EXIT STATUS
  0  The backup is there, and whole.
  2  There is no ledger there, it cannot be read, or the file cannot be made.";

/// Options of `farthing ledger backup`.
#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// The ledger's directory
    #[arg(long, value_name = "DIR", visible_alias = "ledger")]
    pub(crate) data: PathBuf,

    /// The new file; one that is there is never overwritten
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,

    /// Leave the ledger's key out
    ///
    /// Such a backup is restored with --key FILE, and a copy of ledger.key.
    #[arg(long)]
    pub(crate) without_key: bool,
}

const RESTORE: &str = "\
Makes a ledger from a backup, in a directory that is empty or not there yet. The file is verified to its last byte \
before anything is made, and the ledger is checked as `farthing ledger check` does before the directory can be \
opened; when anything is wrong, whatever was made is removed.

What happened after the backup is forgotten. A payment that was made since can be presented again while it is \
valid, an hour at most, and is served and charged once more as if it were new; money that was deposited since is \
gone until the deposit is made again, under its old reference; clients and servers keep statements and receipts \
that this ledger does not know. It cannot make money: nothing is there that was not there at the backup. Never run \
it while the ledger that it is a copy of is running.";

const RESTORE_AFTER: &str = "\
EXAMPLES
  farthing ledger restore --from ledger.backup --data ./restored
  farthing ledger restore --from rows.backup --data ./again --key ledger.key

EXIT STATUS
  0  The ledger is there, and balances.
  1  The backup is whole, and the ledger in it cannot be believed.
  2  The file is no backup or a damaged one, the directory is not empty, or the
     key is missing or another ledger's.";

/// Options of `farthing ledger restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The backup
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,

    /// The directory to make: empty, or not there yet
    #[arg(long, value_name = "DIR", visible_alias = "ledger")]
    pub(crate) data: PathBuf,

    /// The file with the ledger's key, when the backup was made without it
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
}

/// What is laid out by hand.
#[cfg(test)]
pub(super) const LAID_OUT: [&str; 6] =
    [LEDGER_AFTER, CHECK_AFTER, RECOVER_AFTER, EXPORT_AFTER, BACKUP_AFTER, RESTORE_AFTER];
