//! The tables of a policy file, as TOML has them.

use serde::Deserialize;
use toml::Spanned;

pub(super) type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) agent: Option<Text>,
    #[serde(default)]
    pub(super) origins: Vec<Text>,
    #[serde(default)]
    pub(super) wallet: Vec<Wallet>,
    #[serde(default)]
    pub(super) budget: Vec<Budget>,
    #[serde(default)]
    pub(super) payee: Vec<Payee>,
    #[serde(default)]
    pub(super) limits: Limits,
    pub(super) approval: Option<Approval>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wallet {
    pub(super) network: Text,
    pub(super) ledger: Option<Text>,
    pub(super) rpc: Option<Spanned<Vec<Text>>>,
    pub(super) account: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Budget {
    pub(super) network: Text,
    pub(super) asset: Text,
    pub(super) total: Text,
    pub(super) per_request: Option<Text>,
    pub(super) per_host: Option<Text>,
    pub(super) per_payee: Option<Text>,
    pub(super) per_agent: Option<Text>,
    pub(super) per_task: Option<Text>,
    pub(super) per_hour: Option<Text>,
    pub(super) per_day: Option<Text>,
    pub(super) per_month: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Payee {
    pub(super) origin: Text,
    pub(super) network: Text,
    pub(super) payee: Text,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) validity_seconds: Option<Spanned<u64>>,
    pub(super) capture_seconds: Option<Spanned<u64>>,
    pub(super) hours: Option<Text>,
    pub(super) price_rise: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Approval {
    pub(super) above: Spanned<Vec<Text>>,
    pub(super) timeout_seconds: Option<Spanned<u64>>,
    pub(super) webhook: Option<Text>,
    pub(super) webhook_key_file: Option<Text>,
}
