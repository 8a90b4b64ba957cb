//! How the service is set up: who may call it, and how much work one caller can make.

use std::fmt;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use farthing_protocol::digest::sha256;
use farthing_protocol::rail::Tenant;
use farthing_protocol::{Limits, Origin, WireError};
use subtle::{Choice, ConstantTimeEq};

use crate::ConfigError;
use crate::config::check_token;
use crate::discovery::Catalogue;

/// Settings of the [service](super::service). The default serves everybody.
#[derive(Clone)]
pub struct HttpOptions {
    tenants: Vec<(TokenHash, Tenant)>,
    origins: Vec<(Tenant, Origin)>,
    pub(super) catalogue: Option<Catalogue>,
    pub(super) limits: Limits,
    pub(super) timeout: Duration,
    pub(super) concurrent_settles: usize,
}

/// SHA-256 of a bearer token; the token itself is not kept.
#[derive(Clone)]
struct TokenHash([u8; 32]);

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            tenants: Vec::new(),
            origins: Vec::new(),
            catalogue: None,
            limits: Limits::default(),
            timeout: Duration::from_secs(8),
            concurrent_settles: 256,
        }
    }
}

impl HttpOptions {
    /// Gives the bearer of `token` the name `tenant`. A tenant may have several tokens, so that they can be
    /// replaced one after the other. With the first token, `/verify` and `/settle` are closed to everybody else.
    ///
    /// # Errors
    /// [`ConfigError::Setting`] when the token is too short or cannot stand in a header, is another tenant's,
    /// or the name is empty.
    pub fn tenant(mut self, tenant: &str, token: &str) -> Result<Self, ConfigError> {
        if tenant.is_empty() {
            return Err(ConfigError::setting("tenant", "must have a name"));
        }
        check_token(token)?;
        let hash = TokenHash(sha256(token.as_bytes()));
        if self.tenants.iter().any(|(other, _)| bool::from(other.0.ct_eq(&hash.0))) {
            return Err(ConfigError::setting("token", "is given twice"));
        }
        self.tenants.push((hash, Tenant(tenant.to_owned())));
        Ok(self)
    }

    /// Says that `tenant` sells at `origin` (`https://api.example.com`), so that what is paid for there can be
    /// [listed](Self::catalogue). A tenant may sell at several origins.
    ///
    /// # Errors
    /// [`ConfigError::Setting`] when there is no such tenant yet, or this is no origin.
    pub fn sells_at(mut self, tenant: &str, origin: &str) -> Result<Self, ConfigError> {
        let Some(tenant) = self.tenants.iter().map(|(_, known)| known).find(|known| known.0 == tenant) else {
            return Err(ConfigError::setting("tenant", "must have a token before it can have an origin"));
        };
        let origin: Origin =
            origin.parse().map_err(|fault: WireError| ConfigError::setting("origin", fault.to_string()))?;
        if !origin.is_https() && !origin.is_loopback() {
            return Err(ConfigError::setting(
                "origin",
                "must begin with https:// unless it names this machine",
            ));
        }
        self.origins.push((tenant.clone(), origin));
        Ok(self)
    }

    /// Lists at `GET /discovery/resources` what is paid for through this facilitator and sold at an origin of
    /// the [tenant](Self::sells_at) that asked. Without it, that path is answered 404.
    #[must_use]
    pub fn catalogue(mut self, catalogue: Catalogue) -> Self {
        self.catalogue = Some(catalogue);
        self
    }

    /// Where `tenant` sells.
    pub(super) fn origins<'a>(&'a self, tenant: &'a Tenant) -> impl Iterator<Item = &'a Origin> {
        self.origins.iter().filter(move |(seller, _)| seller == tenant).map(|(_, origin)| origin)
    }

    /// Bytes of the longest body that is read; a longer one is answered 413. Default 256 KiB.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.limits.json_body_bytes = bytes;
        self
    }

    /// How long a request may take, its body included. A settlement that takes longer goes on, and its caller
    /// is told that the outcome is unknown. Default 8 seconds, below the 10 that a
    /// remote facilitator's client waits by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many settlements may run at once; one more is answered 503. Default 256.
    #[must_use]
    pub fn concurrent_settles(mut self, settles: usize) -> Self {
        self.concurrent_settles = settles;
        self
    }

    /// Who calls; `None` is nobody that may.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Option<Tenant> {
        if self.tenants.is_empty() {
            return Some(Tenant("public".into()));
        }
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let hash = sha256(token.trim_matches(' ').as_bytes());
        // Every token is compared, in constant time, so that time does not tell how close a guess is.
        let mut caller = None;
        for (known, tenant) in &self.tenants {
            let same: Choice = known.0.ct_eq(&hash);
            if bool::from(same) {
                caller = Some(tenant.clone());
            }
        }
        caller
    }
}

impl fmt::Debug for HttpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpOptions")
            .field("tenants", &self.tenants.iter().map(|(_, tenant)| &tenant.0).collect::<Vec<_>>())
            .field("origins", &self.origins)
            .field("catalogue", &self.catalogue)
            .field("limits", &self.limits)
            .field("timeout", &self.timeout)
            .field("concurrent_settles", &self.concurrent_settles)
            .finish()
    }
}
