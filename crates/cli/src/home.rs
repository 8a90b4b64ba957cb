//! Opens an agent from its directory: policy, keys and journal.

use std::path::PathBuf;

use farthing::agent::{Agent, AgentError, Home};
use farthing::client::journal::JournalError;
use farthing::client::keystore::{KeystoreError, Name, Passphrase, Secret, of_environment};
use farthing::client::policy_file::PolicyFileError;
use farthing::client::{ClientBuilder, SqliteJournal};

use crate::Failure;
use crate::args::home::HomeArgs;
use crate::style::safe;
use crate::wallet;

/// The directory.
pub(crate) fn of(args: &HomeArgs) -> Result<Home, Failure> {
    directory(args.home.as_ref())
}

/// The directory that is named, else the user's own.
pub(crate) fn directory(named: Option<&PathBuf>) -> Result<Home, Failure> {
    let user = || std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let directory = named.cloned().or_else(|| Some(user()?.join(".farthing")));
    let directory = directory.ok_or_else(|| Failure::bad_input("there is no HOME: name it with --home"))?;
    Ok(Home::at(directory))
}

/// The journal alone; needs no key.
pub(crate) fn journal(args: &HomeArgs) -> Result<SqliteJournal, Failure> {
    let home = of(args)?;
    if !home.directory().is_dir() {
        let why = format!("there is no directory {}", home.directory().display());
        return Err(Failure::bad_input(safe(&why)));
    }
    home.open_journal().map_err(|error| journal_failed(&error))
}

/// The agent, ready to pay.
pub(crate) async fn open(args: &HomeArgs) -> Result<Agent, Failure> {
    open_with(args, |builder| builder).await
}

/// The agent, with a last word on its client.
pub(crate) async fn open_with(
    args: &HomeArgs,
    change: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Result<Agent, Failure> {
    let home = of(args)?;
    let keystore = home.keystore();
    let mut passphrase: Option<Passphrase> = None;
    let mut asked = None;
    let key = |name: &Name| -> Result<Secret, KeystoreError> {
        if let Some(secret) = of_environment(name)? {
            return Ok(secret);
        }
        // A wallet that is not there, or lacks the account, is no reason to ask for a passphrase.
        keystore.account(name)?;
        if passphrase.is_none() {
            match wallet::passphrase(&args.opening) {
                Ok(given) => passphrase = Some(given),
                Err(failure) => {
                    asked = Some(failure);
                    return Err(KeystoreError::Passphrase);
                }
            }
        }
        let given = passphrase.as_ref().ok_or(KeystoreError::Passphrase)?;
        keystore.secret(name, given)
    };
    let opened = Agent::open_with(&home, key, change).await;
    match (opened, asked) {
        (_, Some(failure)) => Err(failure),
        (Ok(agent), None) => Ok(agent),
        (Err(AgentError::Policy(error)), None) => Err(policy_failed(&home, &error)),
        (Err(AgentError::Key(error)), None) => Err(wallet::failure(error)),
        (Err(AgentError::Journal(error)), None) => Err(journal_failed(&error)),
        (Err(error @ AgentError::Connect { .. }), None) => Err(Failure::unsound(safe(&error.to_string()))),
        (Err(error), None) => Err(Failure::bad_input(safe(&error.to_string()))),
    }
}

/// What is wrong with the policy, or how to begin with one.
pub(crate) fn policy_failed(home: &Home, error: &PolicyFileError) -> Failure {
    let hint = if home.policy().exists() { "" } else { ": farthing policy init writes one" };
    Failure::bad_input(safe(&format!("{error}{hint}")))
}

fn journal_failed(error: &JournalError) -> Failure {
    Failure::unsound(safe(&error.to_string()))
}
