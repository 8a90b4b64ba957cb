//! What an agent may pay, in a TOML file that a person writes: `spec/policy.md`.
//!
//! A file fails closed: an unknown key, a value that is not understood or a file that others may write is an
//! error that names the line and the key, and nothing is paid.

mod place;
mod read;
mod shown;
mod tables;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use farthing_protocol::{Network, Origin, Price};
use url::Url;

use crate::approval::Webhook;
use crate::budget::{AssetId, Budget, Limit};
use crate::builder::ClientBuilder;
use crate::rules::{Hours, OriginRule, PriceRise};
use place::Place;
pub use place::PolicyFileError;
use read::Source;

/// Bytes of a policy file, at most.
const LONGEST: u64 = 1024 * 1024;

/// A policy as its file says it, every value checked.
#[derive(Clone, Debug)]
pub struct PolicyFile {
    path: PathBuf,
    agent: Option<String>,
    origins: Vec<OriginRule>,
    wallets: Vec<WalletEntry>,
    budgets: Vec<BudgetEntry>,
    payees: Vec<PayeeEntry>,
    /// Seconds.
    validity: u64,
    /// Seconds.
    capture: u64,
    hours: Option<Hours>,
    price_rise: PriceRise,
    approval: Option<ApprovalEntry>,
}

/// A wallet that a policy names. Its `Debug` shows no URL: some hold a key.
#[derive(Clone, PartialEq, Eq)]
pub struct WalletEntry {
    /// Where it pays.
    pub network: Network,
    /// The URL of its facilitator, for `farthing` networks.
    pub ledger: Option<String>,
    /// URLs of nodes, for `eip155` networks.
    pub rpc: Vec<String>,
    /// The account's name in the keystore.
    pub account: String,
}

#[derive(Clone, Debug)]
struct BudgetEntry {
    network: Network,
    asset: (String, Place),
    /// In whole units; the currency is not the asset's.
    limits: Vec<(Limit, Price, Place)>,
}

#[derive(Clone, Debug)]
struct PayeeEntry {
    origin: Origin,
    network: Network,
    payee: String,
}

#[derive(Clone, Debug)]
struct ApprovalEntry {
    above: Vec<(Price, Place)>,
    timeout: Duration,
    /// Where to ask, and the file with the key to sign with.
    webhook: Option<(Url, PathBuf, Place)>,
}

impl PolicyFile {
    /// Reads a file that only its owner may write.
    ///
    /// # Errors
    /// [`PolicyFileError`] names the file, and the line and the key where there is one.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, PolicyFileError> {
        let path = path.as_ref();
        let failed = |error: std::io::Error| PolicyFileError::whole(path, format!("cannot be read: {error}"));
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(PolicyFileError::whole(path, "is not a file"));
        }
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
            if mode & 0o022 != 0 {
                let why = format!("others may write it (mode {mode:03o}): make it 600");
                return Err(PolicyFileError::whole(path, why));
            }
        }
        let mut text = String::new();
        file.take(LONGEST + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > LONGEST {
            return Err(PolicyFileError::whole(path, format!("has more than {LONGEST} bytes")));
        }
        Self::parse(path, &text)
    }

    /// Reads a policy from `text`; `path` is where it says it is from, and where files that it names are.
    ///
    /// # Errors
    /// [`PolicyFileError`].
    pub fn parse(path: impl AsRef<Path>, text: &str) -> Result<Self, PolicyFileError> {
        Source { path: path.as_ref(), text }.read()
    }

    /// The wallets that it pays from.
    #[must_use]
    pub fn wallets(&self) -> &[WalletEntry] {
        &self.wallets
    }

    /// The name that its budgets are kept under.
    #[must_use]
    pub fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    /// Puts the policy onto a client that has its rails already: amounts are in whole units by the scale that
    /// those trust.
    ///
    /// # Errors
    /// [`PolicyFileError`] for an asset that no rail of the client knows, and amounts that it cannot express.
    pub fn apply(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, PolicyFileError> {
        if let Some(agent) = &self.agent {
            builder = builder.agent(agent);
        }
        for budget in &self.budgets {
            let resolved = self.budget(budget, &builder)?;
            builder = builder.budget(resolved);
        }
        for PayeeEntry { origin, network, payee } in &self.payees {
            builder = builder.payee(origin.as_str(), network.clone(), payee);
        }
        builder = builder.longest_validity(self.validity).longest_capture(self.capture);
        builder = builder.price_rise(self.price_rise).allow_origins(&self.origins);
        if let Some(hours) = self.hours {
            builder = builder.hours(hours);
        }
        match &self.approval {
            None => Ok(builder),
            Some(approval) => self.approve(approval, builder),
        }
    }

    fn budget(&self, entry: &BudgetEntry, builder: &ClientBuilder) -> Result<Budget, PolicyFileError> {
        let BudgetEntry { network, asset: (name, place), limits } = entry;
        let rail = builder.rails().iter().find(|rail| rail.network() == network);
        let known = rail.and_then(|rail| {
            let asset = rail.asset(name)?;
            Some((rail.scale(&asset)?, asset))
        });
        let unknown = || place.fault(&self.path, format!("is no asset that the wallet knows on {network}"));
        let (scale, asset) = known.ok_or_else(unknown)?;
        let mut budget =
            Budget::units(AssetId { network: network.clone(), asset }, farthing_protocol::Amount::ZERO);
        for (kind, price, place) in limits {
            let why = format!("cannot be expressed in {name}, which has {scale} decimal places");
            let units = price.to_atomic(scale).map_err(|_| place.fault(&self.path, why))?;
            budget = budget.limit_units(*kind, units);
        }
        Ok(budget)
    }

    fn approve(
        &self,
        entry: &ApprovalEntry,
        builder: ClientBuilder,
    ) -> Result<ClientBuilder, PolicyFileError> {
        let ApprovalEntry { above, timeout, webhook } = entry;
        for (price, place) in above {
            let known = |rail: &std::sync::Arc<dyn farthing_protocol::rail::Pay>| {
                let scale = rail.scale(&rail.asset(price.currency())?)?;
                Some(price.to_atomic(scale).is_ok())
            };
            let known: Vec<bool> = builder.rails().iter().filter_map(known).collect();
            if known.is_empty() {
                let why = format!("no wallet knows an asset {}", price.currency());
                return Err(place.fault(&self.path, why));
            }
            if known.contains(&false) {
                let why = format!("cannot be expressed in the decimal places of {}", price.currency());
                return Err(place.fault(&self.path, why));
            }
        }
        let mut builder = builder.approval_above(above.iter().map(|(price, _)| price.clone()), *timeout);
        if let Some((url, file, place)) = webhook {
            let failed = |error: crate::approval::WebhookError| place.fault(&self.path, error.to_string());
            let webhook = Webhook::with_key_file(url.as_str(), file).map_err(failed)?;
            builder = builder.approver(std::sync::Arc::new(webhook));
        }
        Ok(builder)
    }
}

impl fmt::Debug for WalletEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, account, .. } = self;
        f.debug_struct("WalletEntry")
            .field("network", network)
            .field("account", account)
            .finish_non_exhaustive()
    }
}
