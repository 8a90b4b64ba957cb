//! The command line of `farthing wallet`, and its manual.

use std::path::PathBuf;

use clap::Subcommand;
use farthing::client::keystore::Name;

pub(super) const WALLET: &str = "\
Keeps the secret keys that pay, in one file that is encrypted with a passphrase. An account is a name and a key: \
for farthing ledgers (ed25519), or for EVM chains (secp256k1). Names and public parts can be read without the \
passphrase; whoever can change the file can change them too, until the passphrase is given.

Nobody can give back a key whose passphrase is forgotten or whose file is lost.";

pub(super) const WALLET_AFTER: &str = "\
EXAMPLES
  farthing wallet new agent
  farthing wallet list

EXIT STATUS
  0  Done.
  1  The wallet is not as it should be: the passphrase does not open it, it
     was changed or damaged, or others can use its file.
  2  The command could not be carried out as given.

ENVIRONMENT
  FARTHING_WALLET      The wallet's file, unless --wallet names it.
  FARTHING_HOME        Without either it is wallet.json in this directory,
                       else in .farthing in HOME.
  FARTHING_PASSPHRASE  The passphrase, unless --passphrase-file names a file.
                       Without either it is asked for on the terminal.
  FARTHING_KEY_<NAME>  For tests: the secret key of the account NAME, which
                       is then used instead of what the file has. NAME is in
                       upper case, with _ for -. Other programs of the same
                       user can read it.

FILES
  wallet.json       The wallet, with mode 0600; others' files are refused.
  wallet.json.lock  Has nothing in it: who changes the wallet holds it.";

/// What to do with a wallet.
#[derive(Debug, Subcommand)]
pub(crate) enum WalletCommand {
    /// Draw a new key
    #[command(after_long_help = NEW_AFTER)]
    New(NewArgs),
    /// List the accounts; needs no passphrase
    #[command(after_long_help = LIST_AFTER)]
    List(ListArgs),
    /// Print an account's public part; needs no passphrase
    #[command(after_long_help = ADDRESS_AFTER)]
    Address(AddressArgs),
    /// Take in a key from a file
    #[command(after_long_help = IMPORT_AFTER)]
    Import(ImportArgs),
    /// Print an account's SECRET key
    #[command(after_long_help = EXPORT_AFTER)]
    Export(SecretArgs),
    /// Print what an account has on a ledger
    #[command(after_long_help = BALANCE_AFTER)]
    Balance(BalanceArgs),
    /// Give an account play money on a ledger of your own
    #[command(long_about = DEPOSIT, after_long_help = DEPOSIT_AFTER)]
    Deposit(DepositArgs),
}

/// Which wallet.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The wallet's file
    #[arg(long, value_name = "FILE", env = "FARTHING_WALLET", hide_env = true)]
    pub(crate) wallet: Option<PathBuf>,

    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where the passphrase comes from.
#[derive(Debug, clap::Args)]
pub(crate) struct Opening {
    /// Read the passphrase from the first line of this file, which only you can read (mode 0600)
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

const NEW_AFTER: &str = "\
EXAMPLES
  farthing wallet new agent
  farthing wallet new base --evm
  farthing wallet new shop --passphrase-file passphrase --json

The first account makes the wallet, and its passphrase is asked for twice.

EXIT STATUS
  0  The key is in the wallet, durably.
  1  The wallet is not as it should be; nothing was changed.
  2  The name is taken or not a name, or the wallet cannot be written.";

/// Options of `farthing wallet new`.
#[derive(Debug, clap::Args)]
pub(crate) struct NewArgs {
    /// The account's name: 1 to 32 of a-z, 0-9 and -, beginning with a letter
    pub(crate) name: Name,

    /// A key for EVM chains instead of farthing ledgers
    #[arg(long)]
    pub(crate) evm: bool,

    #[command(flatten)]
    pub(crate) place: Place,

    #[command(flatten)]
    pub(crate) opening: Opening,
}

const LIST_AFTER: &str = "\
EXAMPLES
  farthing wallet list
  farthing wallet list --json

EXIT STATUS
  0  The accounts were listed.
  1  The wallet is damaged, or others can use its file.
  2  There is no wallet.";

/// Options of `farthing wallet list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) place: Place,
}

const ADDRESS_AFTER: &str = "\
EXAMPLES
  farthing wallet address agent
  farthing wallet address base --json

EXIT STATUS
  0  The public part was printed.
  1  The wallet is damaged, or others can use its file.
  2  There is no wallet, or no such account in it.";

/// Options of `farthing wallet address`.
#[derive(Debug, clap::Args)]
pub(crate) struct AddressArgs {
    /// The account
    pub(crate) name: Name,

    #[command(flatten)]
    pub(crate) place: Place,
}

const IMPORT_AFTER: &str = "\
EXAMPLES
  farthing wallet import seller --from seller.key
  farthing wallet import imported --from other.key --json

The file holds 64 lower-case hex digits, as key files of farthing do, or 0x
and 64 hex digits for EVM chains; only its owner can read it (mode 0600).
It stays where it is: remove it when it is no longer needed.

EXIT STATUS
  0  The key is in the wallet, durably.
  1  The wallet is not as it should be, or others can use the key's file;
     nothing was changed.
  2  The name is taken, or the file holds no key.";

/// Options of `farthing wallet import`.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// The account's name: 1 to 32 of a-z, 0-9 and -, beginning with a letter
    pub(crate) name: Name,

    /// The file with the key
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,

    #[command(flatten)]
    pub(crate) place: Place,

    #[command(flatten)]
    pub(crate) opening: Opening,
}

const EXPORT_AFTER: &str = "\
EXAMPLES
  farthing wallet export agent > agent.key
  farthing wallet export base --json

Whoever has what this prints has the account's money.

EXIT STATUS
  0  The secret key was printed, and a warning on standard error.
  1  The wallet is not as it should be.
  2  There is no wallet, or no such account in it.";

/// Options of `farthing wallet export`.
#[derive(Debug, clap::Args)]
pub(crate) struct SecretArgs {
    /// The account
    pub(crate) name: Name,

    #[command(flatten)]
    pub(crate) place: Place,

    #[command(flatten)]
    pub(crate) opening: Opening,
}

const BALANCE_AFTER: &str = "\
EXAMPLES
  farthing wallet balance agent --data ./ledger
  farthing wallet balance agent --data ./ledger --json
  farthing wallet balance agent --ledger http://127.0.0.1:4021/ledger

A ledger that is asked over its URL wants the account's signature, so the
passphrase is needed.

EXIT STATUS
  0  The balances were printed; --json has them in atomic units, too.
  1  The wallet is damaged, or others can use its file; or the ledger does not
     answer.
  2  There is no such account or ledger, or the ledger is in use.";

/// Options of `farthing wallet balance`.
#[derive(Debug, clap::Args)]
pub(crate) struct BalanceArgs {
    /// The account
    pub(crate) name: Name,

    /// The ledger's directory, which no process uses
    #[arg(long, value_name = "DIR", required_unless_present = "ledger", conflicts_with = "ledger")]
    pub(crate) data: Option<PathBuf>,

    /// Ask the ledger whose facilitator answers at this URL; it tells the account's owner alone
    #[arg(long, value_name = "URL")]
    pub(crate) ledger: Option<String>,

    #[command(flatten)]
    pub(crate) place: Place,

    #[command(flatten)]
    pub(crate) opening: Opening,
}

const DEPOSIT: &str = "\
Issues play money (XTS, the currency code that ISO 4217 reserves for tests) to an account on a ledger of your own, \
signed with the key issuer.key in its directory. Such ledgers are made by farthing demo --data.

No process may use the directory meanwhile. Nothing else than play money can be deposited.";

const DEPOSIT_AFTER: &str = "\
EXAMPLES
  farthing wallet deposit agent '5 XTS' --data ./ledger
  farthing wallet deposit agent '0.25 XTS' --data ./ledger --json

EXIT STATUS
  0  The money is there.
  1  The wallet is damaged, or others can use its file.
  2  There is no such account or ledger, the ledger is in use or not one with
     play money, or it refuses the amount.";

/// Options of `farthing wallet deposit`.
#[derive(Debug, clap::Args)]
pub(crate) struct DepositArgs {
    /// The account
    pub(crate) name: Name,

    /// How much, such as '5 XTS'
    pub(crate) amount: String,

    /// The ledger's directory, which no process uses
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,

    #[command(flatten)]
    pub(crate) place: Place,
}

/// What is laid out by hand.
#[cfg(test)]
pub(super) const LAID_OUT: [&str; 8] = [
    WALLET_AFTER,
    NEW_AFTER,
    LIST_AFTER,
    ADDRESS_AFTER,
    IMPORT_AFTER,
    EXPORT_AFTER,
    BALANCE_AFTER,
    DEPOSIT_AFTER,
];
