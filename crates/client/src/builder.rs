//! How a client is put together.

use std::sync::Arc;
use std::time::Duration;

use farthing_protocol::rail::Pay;
use farthing_protocol::{Limits, Network};

use crate::budget::Budget;
use crate::client::Client;
use crate::error::ConfigError;
use crate::flow::Patience;
use crate::http::{Http, Timeouts};
use crate::journal::{Journal, MemoryJournal};
use crate::policy::Policy;

/// Builds a [`Client`]. Without a rail and a budget it pays nothing.
#[derive(Debug)]
pub struct ClientBuilder {
    rails: Vec<Arc<dyn Pay>>,
    budgets: Vec<Budget>,
    payees: Vec<(String, Network, String)>,
    journal: Arc<dyn Journal>,
    limits: Limits,
    patience: Patience,
    timeouts: Timeouts,
    receipt_body_bytes: usize,
    body_bytes: usize,
}

impl ClientBuilder {
    pub(crate) fn new() -> Self {
        Self {
            rails: Vec::new(),
            budgets: Vec::new(),
            payees: Vec::new(),
            journal: Arc::new(MemoryJournal::new()),
            limits: Limits::default(),
            patience: Patience::default(),
            timeouts: Timeouts { connect: Duration::from_secs(5), overall: Duration::from_secs(60) },
            receipt_body_bytes: 1024 * 1024,
            body_bytes: 64 * 1024 * 1024,
        }
    }

    /// Adds a rail: a wallet on one network.
    #[must_use]
    pub fn rail(mut self, rail: Arc<dyn Pay>) -> Self {
        self.rails.push(rail);
        self
    }

    /// Allows this to be spent, and no more. One budget for each asset.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budgets.push(budget);
        self
    }

    /// Allows `origin` to be paid at `payee` on `network`, and at no other that is not named too. Without
    /// this, an origin keeps the payee it was first paid at.
    #[must_use]
    pub fn payee(mut self, origin: &str, network: Network, payee: &str) -> Self {
        self.payees.push((origin.to_owned(), network, payee.to_owned()));
        self
    }

    /// Where payments are written down; in memory by default.
    #[must_use]
    pub fn journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.journal = journal;
        self
    }

    /// How much of a server's headers and terms is read.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How often a payment with an unknown outcome is presented again.
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// How long one exchange may take, from the request to the last byte of its answer; 60 seconds by
    /// default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.overall = timeout;
        self
    }

    /// How long connecting may take; 5 seconds by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.connect = timeout;
        self
    }

    /// Bytes of a paid answer that are read before it is handed over, to compare it with its receipt; 1 MiB
    /// by default. The receipts of longer answers are flagged as unchecked.
    #[must_use]
    pub fn receipt_body_bytes(mut self, bytes: usize) -> Self {
        self.receipt_body_bytes = bytes;
        self
    }

    /// Bytes of an answer that are read at once; 64 MiB by default.
    #[must_use]
    pub fn body_bytes(mut self, bytes: usize) -> Self {
        self.body_bytes = bytes;
        self
    }

    /// The client.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn build(self) -> Result<Client, ConfigError> {
        let http = Http::new(self.timeouts).map_err(ConfigError::Http)?;
        let body_bytes = self.body_bytes;
        Ok(Client::new(self.policy()?, http, body_bytes))
    }

    /// What the client would decide with, for driving a [`Flow`](crate::Flow) over something else.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn policy(self) -> Result<Arc<Policy>, ConfigError> {
        for (at, rail) in self.rails.iter().enumerate() {
            if self.rails[..at].iter().any(|other| other.network() == rail.network()) {
                return Err(ConfigError::TwoRails { network: rail.network().to_string() });
            }
        }
        let budgets = Budget::resolve(&self.budgets, &self.rails)?;
        for (origin, network, payee) in &self.payees {
            self.journal.approve(&origin.parse()?, network, payee)?;
        }
        Ok(Arc::new(Policy {
            rails: self.rails,
            budgets,
            journal: self.journal,
            limits: self.limits,
            patience: self.patience,
            receipt_body_bytes: self.receipt_body_bytes,
        }))
    }
}
