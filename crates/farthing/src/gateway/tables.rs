//! The tables of a gateway's file, as TOML has them.

use serde::Deserialize;
use toml::Spanned;

pub(super) type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) listen: Text,
    pub(super) origin: Text,
    pub(super) upstream: Text,
    pub(super) upstream_ca: Option<Text>,
    pub(super) data: Text,
    pub(super) payee: Option<Text>,
    pub(super) metrics: Option<Text>,
    pub(super) top_up: Option<Spanned<bool>>,
    pub(super) title: Option<Text>,
    pub(super) tls: Option<Tls>,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) network: Vec<Network>,
    #[serde(default)]
    pub(super) route: Vec<Route>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) certificate: Text,
    pub(super) key: Text,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) body_bytes: Option<Spanned<u64>>,
    pub(super) head_bytes: Option<Spanned<u64>>,
    pub(super) request_seconds: Option<Spanned<u64>>,
    pub(super) upstream_connect_seconds: Option<Spanned<u64>>,
    pub(super) shutdown_seconds: Option<Spanned<u64>>,
    pub(super) connections: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Network {
    pub(super) network: Text,
    pub(super) pay_to: Text,
    pub(super) facilitator: Option<Text>,
    pub(super) rpc: Option<Spanned<Vec<Text>>>,
    pub(super) key: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub(super) path: Text,
    pub(super) methods: Option<Spanned<Vec<Text>>>,
    pub(super) price: Option<Text>,
    pub(super) or_price: Option<Text>,
    pub(super) free: Option<Spanned<bool>>,
    pub(super) name: Option<Text>,
    pub(super) description: Option<Text>,
    pub(super) mime_type: Option<Text>,
    pub(super) pass: Option<Text>,
    pub(super) subscription: Option<Text>,
    pub(super) quota: Option<Spanned<Quota>>,
    pub(super) up_to: Option<Spanned<bool>>,
    pub(super) per_event: Option<Text>,
    pub(super) per_bytes: Option<Spanned<PerBytes>>,
    pub(super) bind_body: Option<Spanned<bool>>,
    pub(super) body_bytes: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quota {
    pub(super) requests: Spanned<u64>,
    pub(super) per: Text,
    pub(super) by: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PerBytes {
    pub(super) bytes: Spanned<u64>,
    pub(super) price: Text,
}
