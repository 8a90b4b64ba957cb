//! A wallet's secret keys in one file, encrypted with a passphrase.
//!
//! Names, kinds and public parts of the accounts can be read without the passphrase; a changed one is found out when
//! the passphrase is given. Read it in this order: [`Keystore`], which is the file; `layout`, what is in it; `seal`,
//! how it is encrypted; `disk`, how it is read and replaced.

mod disk;
mod layout;
mod seal;
mod secret;

use std::io;
use std::path::{Path, PathBuf};

pub use secret::{Account, Kind, Name, Passphrase, Secret, of_environment};

use disk::Lock;
use layout::Wallet;
use seal::{Costs, Opened};

/// Accounts that one file holds at most.
pub const MAX_ACCOUNTS: usize = 256;

/// Why a keystore did not do what it was asked to. Nothing was changed. No error quotes a secret.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// There is no file.
    #[error("there is no wallet at {0}")]
    Missing(PathBuf),
    /// Others could use the file.
    #[error(
        "{path} can be used by others (mode {mode:o}): run chmod 600 on it, and replace its keys if they leaked"
    )]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not a wallet as this program writes it.
    #[error("{path} is damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The passphrase is wrong, or the file was changed: nobody can tell which.
    #[error("the passphrase does not open {0}: it is another one, or the file was changed")]
    Sealed(PathBuf),
    /// There is no account of that name.
    #[error("{path} has no account {name}")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The name.
        name: Name,
    },
    /// There is an account of that name already.
    #[error("{path} has an account {name} already: no key is ever replaced")]
    Taken {
        /// The file.
        path: PathBuf,
        /// The name.
        name: Name,
    },
    /// There is no room for another account.
    #[error("{0} holds {MAX_ACCOUNTS} accounts, which is as many as it can")]
    Full(PathBuf),
    /// A name that no account can have.
    #[error("an account's name is 1 to 32 of a-z, 0-9 and -, and begins with a letter")]
    Name,
    /// A text that is not a secret key.
    #[error(
        "{0} holds no secret key: 64 lower-case hex digits for a farthing ledger, or 0x and 64 for an EVM chain"
    )]
    Secret(String),
    /// A passphrase that is not taken.
    #[error("a passphrase is {} to {} bytes long", Passphrase::SHORTEST, Passphrase::LONGEST)]
    Passphrase,
    /// This program was built without EVM chains.
    #[error("this program was built without keys for EVM chains")]
    NoEvm,
    /// There is no randomness, or no memory to derive a key in.
    #[error("{0}")]
    Resources(&'static str),
    /// The operating system refused.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
}

/// One file of keys. Every call reads it anew; whoever changes it has it alone meanwhile, in all processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keystore {
    path: PathBuf,
}

impl Keystore {
    /// The file at `path`, which need not be there yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a file.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// The accounts as the file names them, sorted by name. Without the passphrase nobody vouches for them.
    ///
    /// # Errors
    /// [`KeystoreError`], also when others can use the file.
    pub fn accounts(&self) -> Result<Vec<Account>, KeystoreError> {
        Ok(self.read()?.accounts)
    }

    /// One account, as [`accounts`](Self::accounts) has it.
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn account(&self, name: &Name) -> Result<Account, KeystoreError> {
        let found = self.accounts()?.into_iter().find(|account| account.name == *name);
        found.ok_or_else(|| self.unknown(name))
    }

    /// The secret key of an account.
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn secret(&self, name: &Name, passphrase: &Passphrase) -> Result<Secret, KeystoreError> {
        let wallet = self.read()?;
        // A name that is not there is no reason to derive a key.
        let at = wallet.accounts.iter().position(|account| account.name == *name);
        let at = at.ok_or_else(|| self.unknown(name))?;
        let mut opened = Opened::open(&wallet, passphrase).map_err(|why| why.of(&self.path))?;
        Ok(opened.secrets.swap_remove(at))
    }

    /// Adds an account, making the file if it is not there. It is durable when this returns.
    ///
    /// # Errors
    /// [`KeystoreError`]; an account that is there is never replaced.
    pub fn add(&self, name: Name, secret: Secret, passphrase: &Passphrase) -> Result<Account, KeystoreError> {
        let account = Account { name, kind: secret.kind(), public: secret.public()? };
        let path = disk::resolve(&self.path)?;
        let lock = Lock::of(&path)?;
        let (mut wallet, mut opened) = match self.read() {
            Ok(wallet) => {
                let opened = Opened::open(&wallet, passphrase).map_err(|why| why.of(&self.path))?;
                (wallet, opened)
            }
            Err(KeystoreError::Missing(_)) => {
                let costs = Costs::draw()?;
                let opened = Opened::new(&costs, passphrase).map_err(|why| why.of(&self.path))?;
                (Wallet::empty(costs), opened)
            }
            Err(error) => return Err(error),
        };
        let at = match wallet.accounts.binary_search_by(|other| other.name.cmp(&account.name)) {
            Ok(_) => return Err(KeystoreError::Taken { path: self.path.clone(), name: account.name }),
            Err(_) if wallet.accounts.len() >= MAX_ACCOUNTS => {
                return Err(KeystoreError::Full(self.path.clone()));
            }
            Err(at) => at,
        };
        wallet.accounts.insert(at, account.clone());
        opened.secrets.insert(at, secret);
        opened.seal(&mut wallet)?;
        lock.replace(wallet.to_text().as_bytes())?;
        Ok(account)
    }

    fn read(&self) -> Result<Wallet, KeystoreError> {
        let text = disk::read(&self.path)?;
        Wallet::of_text(&text).map_err(|why| KeystoreError::Damaged { path: self.path.clone(), why })
    }

    fn unknown(&self, name: &Name) -> KeystoreError {
        KeystoreError::Unknown { path: self.path.clone(), name: name.clone() }
    }
}

#[cfg(test)]
mod tests;
