//! `farthing wallet`: the keys that pay, in one encrypted file.

mod books;
mod passphrase;

use std::io::Write;
use std::path::PathBuf;

use farthing::client::keystore::{
    Account, Keystore, KeystoreError, Kind, Name, Passphrase, Secret, of_environment,
};
use serde_json::json;
use zeroize::Zeroizing;

use crate::Failure;
use crate::args::wallet::{ImportArgs, ListArgs, NewArgs, Opening, Place, SecretArgs, WalletCommand};
use crate::style::{CAREFUL, QUIET, TITLE, paint, print, safe};

/// Runs one of the commands.
pub(crate) fn run(command: &WalletCommand) -> Result<(), Failure> {
    match command {
        WalletCommand::New(options) => new(options),
        WalletCommand::List(options) => list(options),
        WalletCommand::Address(options) => {
            let account = account(&options.place, &options.name)?;
            match options.place.json {
                true => say(&format!("{}\n", told(&account))),
                false => say(&format!("{}\n", account.public)),
            }
        }
        WalletCommand::Import(options) => import(options),
        WalletCommand::Export(options) => export(options),
        WalletCommand::Balance(options) => books::balance(options),
        WalletCommand::Deposit(options) => books::deposit(options),
    }
}

fn new(options: &NewArgs) -> Result<(), Failure> {
    let kind = if options.evm { Kind::Evm } else { Kind::Farthing };
    let secret = Secret::draw(kind).map_err(failure)?;
    add(&options.name, secret, &options.place, &options.opening)
}

fn import(options: &ImportArgs) -> Result<(), Failure> {
    let text = passphrase::private(&options.from)?;
    let secret = Secret::of_text(text.trim(), &safe(&options.from.display().to_string())).map_err(failure)?;
    add(&options.name, secret, &options.place, &options.opening)
}

fn add(name: &Name, secret: Secret, place: &Place, opening: &Opening) -> Result<(), Failure> {
    let keystore = keystore(place)?;
    // What cannot be done is said before anybody is asked for a passphrase.
    let is_new = match keystore.account(name) {
        Ok(_) => {
            let path = keystore.path().to_path_buf();
            return Err(failure(KeystoreError::Taken { path, name: name.clone() }));
        }
        Err(KeystoreError::Missing(_)) => true,
        Err(KeystoreError::Unknown { .. }) => false,
        Err(error) => return Err(failure(error)),
    };
    let passphrase = passphrase::of(opening, is_new)?;
    let account = keystore.add(name.clone(), secret, &passphrase).map_err(failure)?;
    if place.json {
        return say(&format!("{}\n", told(&account)));
    }
    let path = safe(&keystore.path().display().to_string());
    let mut text = format!("{} {}\n", paint(TITLE, &account.name), account.public);
    text.push_str(&paint(QUIET, format!("In the wallet {path}\n")));
    say(&text)
}

fn list(options: &ListArgs) -> Result<(), Failure> {
    let accounts = keystore(&options.place)?.accounts().map_err(failure)?;
    if options.place.json {
        return say(&format!("{}\n", json!({ "accounts": accounts.iter().map(told).collect::<Vec<_>>() })));
    }
    let width = accounts.iter().map(|account| account.name.as_str().len()).max().unwrap_or_default();
    let line = |account: &Account| {
        let name = format!("{:width$}", account.name.as_str());
        format!("{}  {:8}  {}\n", paint(TITLE, name), account.kind.to_string(), account.public)
    };
    say(&accounts.iter().map(line).collect::<String>())
}

fn export(options: &SecretArgs) -> Result<(), Failure> {
    let secret = secret(&options.name, &options.place, &options.opening)?;
    let warning = "this is the SECRET key: whoever has it has the account's money";
    let _ = writeln!(anstream::stderr().lock(), "{} {warning}", paint(CAREFUL, "farthing:"));
    let text = match options.place.json {
        true => {
            let (kind, public) = (secret.kind(), secret.public().map_err(failure)?);
            let (name, text) = (&options.name, secret.reveal());
            // No value of a JSON library keeps a copy: nothing in it needs an escape.
            Zeroizing::new(format!(
                "{{\"name\":\"{name}\",\"kind\":\"{kind}\",\"public\":\"{public}\",\"secret\":\"{}\"}}\n",
                text.as_str()
            ))
        }
        false => Zeroizing::new(format!("{}\n", secret.reveal().as_str())),
    };
    say(&text)
}

/// The secret key of an account: the environment's if it has one, or the file's.
fn secret(name: &Name, place: &Place, opening: &Opening) -> Result<Secret, Failure> {
    if let Some(secret) = of_environment(name).map_err(failure)? {
        return Ok(secret);
    }
    let keystore = keystore(place)?;
    // A name that is not there is no reason to ask for a passphrase.
    keystore.account(name).map_err(failure)?;
    let passphrase = passphrase::of(opening, false)?;
    keystore.secret(name, &passphrase).map_err(failure)
}

/// The public part of an account: of the environment's key if it has one, or as the file says.
fn account(place: &Place, name: &Name) -> Result<Account, Failure> {
    match of_environment(name).map_err(failure)? {
        Some(secret) => {
            let public = secret.public().map_err(failure)?;
            Ok(Account { name: name.clone(), kind: secret.kind(), public })
        }
        None => keystore(place)?.account(name).map_err(failure),
    }
}

/// The passphrase of a wallet that is there.
pub(crate) fn passphrase(opening: &Opening) -> Result<Passphrase, Failure> {
    passphrase::of(opening, false)
}

/// A small text that only its owner can read.
pub(crate) fn private(path: &std::path::Path) -> Result<Zeroizing<String>, Failure> {
    passphrase::private(path)
}

fn keystore(place: &Place) -> Result<Keystore, Failure> {
    let named = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || named("FARTHING_HOME").or_else(|| Some(named("HOME")?.join(".farthing")));
    let path = place.wallet.clone().or_else(|| Some(home()?.join("wallet.json")));
    let path = path.ok_or_else(|| Failure::bad_input("there is no HOME: name the wallet with --wallet"))?;
    Ok(Keystore::at(path))
}

fn told(account: &Account) -> serde_json::Value {
    json!({ "name": account.name, "kind": account.kind, "public": account.public })
}

fn say(text: &str) -> Result<(), Failure> {
    print(text).map_err(Failure::unsound)
}

/// What is wrong with a wallet ends with 1, and what cannot be done with 2.
pub(crate) fn failure(error: KeystoreError) -> Failure {
    let why = match &error {
        KeystoreError::Missing(_) => format!("{error}: farthing wallet new makes one"),
        error => error.to_string(),
    };
    match error {
        KeystoreError::Permissions { .. } | KeystoreError::Damaged { .. } | KeystoreError::Sealed(_) => {
            Failure::unsound(safe(&why))
        }
        _ => Failure::bad_input(safe(&why)),
    }
}
