//! What a gateway is set up with: one TOML file, every value checked before anything is served.

use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use farthing_protocol::{Network, Origin, Price, PublicKey};
use farthing_server::gateway::Methods;
use http::HeaderName;

use super::place::{ConfigError, Place};
use super::read::Source;

/// Bytes of a file, at most.
const LONGEST: u64 = 1024 * 1024;
/// What a text that was not read from a file is called in errors.
const NAME: &str = "gateway.toml";

/// A gateway's file, every value checked: `spec/gateway.md` has its keys.
#[derive(Clone, Debug)]
pub struct Config {
    pub(super) path: PathBuf,
    pub(super) listen: (SocketAddr, Place),
    pub(super) origin: Origin,
    pub(super) upstream: (Origin, Place),
    pub(super) upstream_ca: Option<(PathBuf, Place)>,
    pub(super) data: (PathBuf, Place),
    pub(super) payee: Option<PublicKey>,
    pub(super) metrics: Option<(SocketAddr, Place)>,
    pub(super) top_up: bool,
    pub(super) title: Option<String>,
    pub(super) tls: Option<Tls>,
    pub(super) limits: Limits,
    pub(super) networks: Vec<NetworkEntry>,
    pub(super) routes: Vec<RouteEntry>,
}

/// Certificate and key.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) place: Place,
}

#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) body_bytes: usize,
    pub(super) head_bytes: usize,
    pub(super) request: Duration,
    pub(super) connect: Duration,
    pub(super) shutdown: Duration,
    pub(super) connections: usize,
}

/// A chain that is sold on besides the gateway's own ledger. None is read where chains are not built in.
#[derive(Clone)]
#[cfg_attr(not(feature = "evm"), allow(dead_code, reason = "chains are a feature"))]
pub(super) struct NetworkEntry {
    pub(super) network: Network,
    pub(super) pay_to: String,
    pub(super) settled: Settled,
    pub(super) place: Place,
}

/// Who settles on a chain.
#[derive(Clone)]
#[cfg_attr(not(feature = "evm"), allow(dead_code, reason = "chains are a feature"))]
pub(super) enum Settled {
    /// The facilitator at this URL.
    Remote(String),
    /// This process, through these nodes, with the key in this file.
    Here { rpc: Vec<String>, key: PathBuf },
}

impl std::fmt::Debug for NetworkEntry {
    /// Shows no URL: some hold a key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetworkEntry").field("network", &self.network).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
pub(super) struct RouteEntry {
    pub(super) pattern: String,
    pub(super) methods: Methods,
    /// `None`: free.
    pub(super) sale: Option<Sale>,
    /// Bytes of a body that is forwarded as it arrives; `None` where it is read to be bound.
    pub(super) body_bytes: Option<usize>,
    pub(super) place: Place,
}

/// What a priced route asks for.
#[derive(Clone, Debug)]
pub(super) struct Sale {
    pub(super) price: (Price, Place),
    pub(super) or_price: Option<(Price, Place)>,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) mime_type: Option<String>,
    pub(super) period: Option<(Period, Place)>,
    pub(super) quota: Option<(QuotaEntry, Place)>,
    pub(super) metered: Option<(Metered, Place)>,
    pub(super) bind_body: bool,
}

/// What one payment buys instead of one request.
#[derive(Clone, Debug)]
pub(super) enum Period {
    /// The same path, for so long.
    Pass(Duration),
    /// Every route with this name, for so long.
    Subscription(String, Duration),
}

#[derive(Clone, Debug)]
pub(super) struct QuotaEntry {
    pub(super) requests: u32,
    pub(super) per: Duration,
    pub(super) by: Caller,
}

#[derive(Clone, Debug)]
pub(super) enum Caller {
    Address,
    Header(HeaderName),
}

/// How much of the price is taken.
#[derive(Clone, Debug)]
pub(super) enum Metered {
    PerEvent(Price),
    PerBytes(u64, Price),
}

impl Config {
    /// Reads a file. What it names is looked for beside it.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, and the line and the key where there is one.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let failed = |error: std::io::Error| ConfigError::whole(path, format!("cannot be read: {error}"));
        let file = File::open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(ConfigError::whole(path, "is not a file"));
        }
        let mut text = String::new();
        file.take(LONGEST + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > LONGEST {
            return Err(ConfigError::whole(path, format!("has more than {LONGEST} bytes")));
        }
        Source { path, text: &text }.read()
    }

    /// Reads `text` as if it stood in `gateway.toml` in `directory`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(text: &str, directory: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Source { path: &directory.as_ref().join(NAME), text }.read()
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where connections are accepted.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen.0
    }

    /// Where clients reach the gateway: part of what payers sign.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What is behind the gateway.
    #[must_use]
    pub fn upstream(&self) -> &Origin {
        &self.upstream.0
    }

    /// Where ledger, keys and sales are kept.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data.0
    }

    /// Whether connections are encrypted here.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// The routes, as people read them: method, path, price.
    #[must_use]
    pub fn routes(&self) -> Vec<String> {
        self.routes.iter().map(RouteEntry::shown).collect()
    }
}

impl RouteEntry {
    fn shown(&self) -> String {
        let methods = match &self.methods {
            Methods::All => "any method".to_owned(),
            Methods::Some(methods) => methods.iter().map(http::Method::as_str).collect::<Vec<_>>().join(", "),
        };
        let Some(sale) = &self.sale else { return format!("{methods} {} is free", self.pattern) };
        let price = &sale.price.0;
        let price = match (&sale.metered, &sale.period) {
            (Some((Metered::PerEvent(unit), _)), _) => format!("{unit} per event, up to {price}"),
            (Some((Metered::PerBytes(bytes, unit), _)), _) => {
                format!("{unit} per {bytes} bytes, up to {price}")
            }
            (None, Some((Period::Pass(period), _))) => format!("{price} for {}", length(*period)),
            (None, Some((Period::Subscription(name, period), _))) => {
                format!("{price} for {} of {name}", length(*period))
            }
            (None, None) => price.to_string(),
        };
        format!("{methods} {} costs {price}", self.pattern)
    }
}

/// A time as the file would have it.
fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    let whole = units.iter().find(|(unit, _)| seconds.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}
