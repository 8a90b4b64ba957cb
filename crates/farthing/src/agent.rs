//! An agent's home: one wallet, one policy and one journal of payments, in files that all its processes share.
//!
//! [`Home`] names the files; [`Agent`] is a [`Client`] that was put together from them. Everything that pays for an
//! agent opens its home, so that one policy and one budget hold for all of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use farthing_client::journal::JournalError;
use farthing_client::keystore::{Keystore, KeystoreError, Name, Secret};
use farthing_client::policy_file::{PolicyFile, PolicyFileError, WalletEntry};
use farthing_client::{Client, ClientBuilder, ConfigError, SqliteJournal};
use farthing_protocol::rail::{NoBalance, Pay};
use farthing_protocol::{Amount, Network};

pub use farthing_client::BudgetLine;

/// A directory with an agent's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The home in `directory`, which need not be there yet.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// `wallet.json`: the keys, encrypted.
    #[must_use]
    pub fn wallet(&self) -> PathBuf {
        self.0.join("wallet.json")
    }

    /// `policy.toml`: what may be paid.
    #[must_use]
    pub fn policy(&self) -> PathBuf {
        self.0.join("policy.toml")
    }

    /// `journal.sqlite`: what was paid, and what counts against the budgets.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal.sqlite")
    }

    /// Opens the journal, for what needs no key.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open_journal(&self) -> Result<SqliteJournal, JournalError> {
        SqliteJournal::open(self.journal(), &std::collections::BTreeMap::new())
    }

    /// The keys.
    #[must_use]
    pub fn keystore(&self) -> Keystore {
        Keystore::at(self.wallet())
    }
}

/// Why an agent cannot be opened. Nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The policy cannot be read, or does not say what it must.
    #[error(transparent)]
    Policy(#[from] PolicyFileError),
    /// The policy names an account that is no account's name.
    #[error("policy: account {account:?} of the wallet on {network}: {why}")]
    Account {
        /// As the policy has it.
        account: String,
        /// The network it should pay on.
        network: Network,
        /// What is wrong with it.
        why: String,
    },
    /// The policy's wallet lacks what its network needs.
    #[error("policy: the wallet on {network} {why}")]
    Wallet {
        /// The network.
        network: Network,
        /// What is missing or too much.
        why: String,
    },
    /// A key cannot be had.
    #[error(transparent)]
    Key(#[from] KeystoreError),
    /// A network cannot be paid on.
    #[error("wallet on {network}: {error}")]
    Connect {
        /// The network.
        network: Network,
        /// Why not.
        error: Box<crate::Error>,
    },
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The client cannot be put together.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// A client that pays from an agent's home.
#[derive(Clone, Debug)]
pub struct Agent {
    client: Client,
    journal: Arc<SqliteJournal>,
    wallets: Vec<(String, Arc<dyn Pay>)>,
}

/// What an account has on a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// The network.
    pub network: Network,
    /// The asset, in the network's own words.
    pub asset: String,
    /// What people call it.
    pub currency: String,
    /// Its decimal places.
    pub scale: u8,
    /// The account's name in the wallet.
    pub account: String,
    /// Atomic units, or why nobody says.
    pub amount: Result<Amount, NoBalance>,
}

impl Agent {
    /// Opens what is in `home`. `key` gives the secret key of an account of its wallet; it is asked once for each
    /// account that the policy names.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn open(
        home: &Home,
        key: impl FnMut(&Name) -> Result<Secret, KeystoreError>,
    ) -> Result<Self, AgentError> {
        Self::open_with(home, key, |builder| builder).await
    }

    /// As [`open`](Self::open), with a last word on the client: such as who is asked for approval.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn open_with(
        home: &Home,
        mut key: impl FnMut(&Name) -> Result<Secret, KeystoreError>,
        change: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Self, AgentError> {
        let policy = PolicyFile::read(home.policy())?;
        let journal = Arc::new(home.open_journal()?);
        let mut builder = Client::builder().journal(journal.clone());
        let mut wallets = Vec::new();
        for entry in policy.wallets() {
            let name: Name = entry.account.parse().map_err(|error: KeystoreError| AgentError::Account {
                account: entry.account.clone(),
                network: entry.network.clone(),
                why: error.to_string(),
            })?;
            let rail = rail(entry, &key(&name)?).await?;
            builder = builder.rail(rail.clone());
            wallets.push((entry.account.clone(), rail));
        }
        let client = change(policy.apply(builder)?).build()?;
        Ok(Self { client, journal, wallets })
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Arc<SqliteJournal> {
        &self.journal
    }

    /// The budgets, and what counts against each.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn budgets(&self) -> Result<Vec<BudgetLine>, JournalError> {
        self.client.budgets()
    }

    /// What the accounts have of everything that has a budget, as their networks say now.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn balances(&self) -> Result<Vec<Balance>, JournalError> {
        let mut balances = Vec::new();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        for line in self.budgets()? {
            for (account, rail) in self.wallets.iter().filter(|(_, rail)| *rail.network() == line.network) {
                balances.push(Balance {
                    network: line.network.clone(),
                    asset: line.asset.clone(),
                    currency: line.currency.clone(),
                    scale: line.scale,
                    account: account.clone(),
                    amount: rail.balance(&line.asset, now).await,
                });
            }
        }
        Ok(balances)
    }
}

/// The rail of one wallet of the policy.
async fn rail(entry: &WalletEntry, key: &Secret) -> Result<Arc<dyn Pay>, AgentError> {
    let network = &entry.network;
    let lacks = |why: &str| AgentError::Wallet { network: network.clone(), why: why.to_owned() };
    let failed =
        |error: crate::Error| AgentError::Connect { network: network.clone(), error: Box::new(error) };
    match network.namespace() {
        "farthing" => {
            let url =
                entry.ledger.as_deref().ok_or_else(|| lacks("needs `ledger`, its facilitator's URL"))?;
            let key = key.farthing().ok_or_else(|| lacks("needs an account for farthing ledgers"))?;
            let remote = farthing_facilitator::RemoteFacilitator::builder(url).build();
            let remote = remote.map_err(|error| failed(crate::Error::Config(error.to_string())))?;
            let rail = crate::native::NativePay::connect(Arc::new(remote), Some(network), key).await;
            Ok(Arc::new(rail.map_err(|error| failed(error.into()))?))
        }
        #[cfg(feature = "evm")]
        "eip155" => {
            let rpc: Vec<&str> = entry.rpc.iter().map(String::as_str).collect();
            if rpc.is_empty() {
                return Err(lacks("needs `rpc`, a list of URLs"));
            }
            let key = key.evm().ok_or_else(|| lacks("needs an account for EVM chains"))?;
            Ok(crate::evm_wallet(network.as_str(), key, &rpc).map_err(failed)?)
        }
        _ => Err(lacks("is on a network that this program cannot pay on")),
    }
}
