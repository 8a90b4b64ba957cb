//! How a client is put together.

use std::sync::Arc;
use std::time::Duration;

use farthing_protocol::rail::Pay;
use farthing_protocol::{Limits, Network, Price};

use crate::approval::{Approval, Approve};
use crate::budget::{Budget, is_name};
use crate::client::Client;
use crate::error::ConfigError;
use crate::flow::Patience;
use crate::http::{Http, Timeouts};
use crate::journal::{Journal, MemoryJournal};
use crate::policy::Policy;
use crate::rules::{Hours, MAX_CAPTURE, MAX_VALIDITY, OriginRule, PriceRise, Rules, seconds};
use crate::sign_in::Sessions;

/// Builds a [`Client`]. Without a rail, a budget and an allowed origin it pays nothing.
#[derive(Debug)]
pub struct ClientBuilder {
    rails: Vec<Arc<dyn Pay>>,
    budgets: Vec<Budget>,
    agent: Option<String>,
    payees: Vec<(String, Network, String)>,
    origins: Vec<String>,
    origin_rules: Vec<OriginRule>,
    validity: u64,
    capture: u64,
    hours: Option<Hours>,
    price_rise: PriceRise,
    above: Option<(Vec<Price>, Duration)>,
    approver: Option<Arc<dyn Approve>>,
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
            agent: None,
            payees: Vec::new(),
            origins: Vec::new(),
            origin_rules: Vec::new(),
            validity: MAX_VALIDITY,
            capture: MAX_VALIDITY,
            hours: None,
            price_rise: PriceRise::default(),
            above: None,
            approver: None,
            journal: Arc::new(MemoryJournal::new()),
            limits: Limits::default(),
            patience: Patience::default(),
            timeouts: Timeouts {
                connect: Duration::from_secs(5),
                overall: Duration::from_secs(60),
                idle: Duration::from_secs(60),
            },
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

    /// Counts all payments for this agent, which has a budget of its own where there is one for each agent. Its
    /// name has 1 to 64 visible ASCII characters.
    #[must_use]
    pub fn agent(mut self, name: &str) -> Self {
        self.agent = Some(name.to_owned());
        self
    }

    /// Allows an origin to be paid: `https://host[:port]`, `http://` for this machine only, or
    /// `https://*.host[:port]` for every host that is one label longer. Without this, nothing is paid.
    #[must_use]
    pub fn allow_origin(mut self, origin: &str) -> Self {
        self.origins.push(origin.to_owned());
        self
    }

    /// Allows every origin to be paid.
    #[must_use]
    pub fn allow_any_origin(mut self) -> Self {
        self.origin_rules.push(OriginRule::Any);
        self
    }

    /// Seconds that a signature may stay valid; [`MAX_VALIDITY`] by default, and at most.
    #[must_use]
    pub fn longest_validity(mut self, seconds: u64) -> Self {
        self.validity = seconds;
        self
    }

    /// Seconds from the signature to the last capture; an hour by default, [`MAX_CAPTURE`] at most.
    #[must_use]
    pub fn longest_capture(mut self, seconds: u64) -> Self {
        self.capture = seconds;
        self
    }

    /// Pays in this part of each day only.
    #[must_use]
    pub fn hours(mut self, hours: Hours) -> Self {
        self.hours = Some(hours);
        self
    }

    /// Whether a price may rise above the last one that the journal knows for the same origin, method, path
    /// and asset. [`PriceRise::Refuse`] by default; a request with a highest price or a quote is not held to it.
    #[must_use]
    pub fn price_rise(mut self, rise: PriceRise) -> Self {
        self.price_rise = rise;
        self
    }

    /// Asks `approver` about each payment above these amounts, such as `0.5 XTS`, and waits for its answer as
    /// long as `timeout`: without a yes in time nothing is paid. Assets that are not named are always asked
    /// about.
    #[must_use]
    pub fn approval(
        self,
        above: impl IntoIterator<Item = Price>,
        approver: Arc<dyn Approve>,
        timeout: Duration,
    ) -> Self {
        self.approval_above(above, timeout).approver(approver)
    }

    /// As [`approval`](Self::approval), and with nobody to ask until an [`approver`](Self::approver) is named.
    #[must_use]
    pub fn approval_above(mut self, above: impl IntoIterator<Item = Price>, timeout: Duration) -> Self {
        self.above = Some((above.into_iter().collect(), timeout));
        self
    }

    /// Who is asked. The first one that is named stays: the webhook of a policy file goes before the terminal
    /// of the program that reads it.
    #[must_use]
    pub fn approver(mut self, approver: Arc<dyn Approve>) -> Self {
        self.approver.get_or_insert(approver);
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

    /// How long one exchange may take, from the request to the last byte that is read at once; 60 seconds by
    /// default. What is read piece by piece has an [idle timeout](Self::idle_timeout) instead.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.overall = timeout;
        self
    }

    /// How long the next piece of a body may take that is read piece by piece, such as a stream of events; 60
    /// seconds by default.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.idle = timeout;
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

    #[cfg(feature = "policy")]
    pub(crate) fn rails(&self) -> &[Arc<dyn Pay>] {
        &self.rails
    }

    #[cfg(feature = "policy")]
    pub(crate) fn allow_origins(mut self, rules: &[OriginRule]) -> Self {
        self.origin_rules.extend_from_slice(rules);
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
        if self.agent.as_deref().is_some_and(|name| !is_name(name)) {
            return Err(ConfigError::Agent);
        }
        let budgets = Budget::resolve(&self.budgets, &self.rails)?;
        let mut origins = self.origin_rules;
        for origin in &self.origins {
            origins.push(origin.parse()?);
        }
        let rules = Rules {
            origins,
            validity: seconds("the longest validity", self.validity, MAX_VALIDITY)?,
            capture: seconds("the longest time to the last capture", self.capture, MAX_CAPTURE)?,
            hours: self.hours,
            price_rise: self.price_rise,
        };
        let approval = match self.above {
            None => None,
            Some((above, timeout)) => {
                let above = Approval::resolve(&above, &self.rails)?;
                Some(Approval { above, approver: self.approver, timeout })
            }
        };
        for (origin, network, payee) in &self.payees {
            self.journal.approve(&origin.parse()?, network, payee)?;
        }
        Ok(Arc::new(Policy {
            rails: self.rails,
            budgets,
            rules,
            approval,
            agent: self.agent,
            journal: self.journal,
            limits: self.limits,
            patience: self.patience,
            receipt_body_bytes: self.receipt_body_bytes,
            sessions: Sessions::default(),
        }))
    }
}
