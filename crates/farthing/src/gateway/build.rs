//! From a configuration to a gateway that is ready to serve.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use farthing_facilitator::http::HttpOptions;
use farthing_ledger::keyfile;
use farthing_protocol::{Limits, PublicKey, SecretKey};
use farthing_server::gateway::{
    Entrance, ListenOptions, Proxy, ProxyBuilder, RESERVED, Trust, Upstream, UpstreamOptions, roots, serve,
    tls,
};

use farthing_server::sales::SalesLog;
use farthing_server::{PageOptions, Paywall, PriceLayer, Quota};
use tokio::net::TcpListener;

use super::config::{Caller, Config, Metered, Period, RouteEntry, Sale};
use super::line::Line;
use super::place::ConfigError;
use crate::faucet::Faucet;
use crate::metrics::Metrics;
use crate::{Error, LocalLedger, Settles};

/// How much longer than the head of an answer its first 64 KiB may take.
const BODY_TIME: Duration = Duration::from_secs(5);

/// A reverse proxy that charges, ready to serve. It has its ledger open: one gateway at a time uses a `data` directory.
pub struct Gateway {
    config: Config,
    ledger: LocalLedger,
    payee: PublicKey,
    paywall: Paywall,
    proxy: ProxyBuilder,
    listen: ListenOptions,
    metrics: Option<(TcpListener, Metrics)>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Opens the ledger and the keys, making them if they are not there, and puts a price on each route.
    ///
    /// # Errors
    /// What of the configuration cannot be used, or what is wrong with the ledger or a key.
    pub async fn build(config: Config) -> Result<Self, Error> {
        let data = config.data.0.as_path();
        let listen = listen(&config)?;
        let upstream = upstream(&config)?;
        let metrics = metrics(&config).await?;
        // Only what could be served leaves something behind.
        make(data).map_err(|error| config.data.1.fault(format!("{}: {error}", data.display())))?;
        let payee = match config.payee {
            Some(payee) => payee,
            None => keyfile::load_or_create(data.join(PAYEE))?.public(),
        };
        let authorizer = keyfile::load_or_create(data.join(AUTHORIZER))?;
        let ledger = LocalLedger::open(data.join(LEDGER), payee).await?;
        let paywall = paywall(&config, payee, &authorizer, &ledger).await?;
        let mut proxy = Proxy::builder(upstream);
        for route in &config.routes {
            let entrance = entrance(&config, &paywall, route)?;
            let added = proxy.route(&route.pattern, route.methods.clone(), entrance);
            proxy = added.map_err(|error| route.place.fault(error))?;
        }
        proxy = proxy.inside(inside(&config, &paywall, &ledger)?);
        Ok(Self { config, ledger, payee, paywall, proxy, listen, metrics })
    }

    /// The account that is paid.
    #[must_use]
    pub fn payee(&self) -> PublicKey {
        self.payee
    }

    /// The gateway's own ledger.
    #[must_use]
    pub fn ledger(&self) -> &LocalLedger {
        &self.ledger
    }

    /// What it was set up with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Tells `each` of each request, when its answer is over. It must not block.
    #[must_use]
    pub fn on_request(mut self, each: impl Fn(&Line<'_>) + Send + Sync + 'static) -> Self {
        self.proxy = self.proxy.observer(move |served| each(&Line::new(served)));
        self
    }

    /// Listens where the configuration says.
    ///
    /// # Errors
    /// [`ConfigError`], when somebody else does.
    pub async fn bind(&self) -> Result<TcpListener, ConfigError> {
        bind(&self.config.listen).await
    }

    /// Serves until `shutdown` ends, and then finishes the requests that are there.
    ///
    /// # Errors
    /// When connections can no longer be accepted.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let Self { ledger, paywall, proxy, listen, metrics, .. } = self;
        let shutdown = async move {
            shutdown.await;
            paywall.end_streams();
        };
        let served = serve(listener, proxy.build(), listen, shutdown);
        let served = match metrics {
            None => served.await,
            Some((listener, metrics)) => tokio::select! {
                served = served => served,
                ended = metrics.serve(listener) => ended,
            },
        };
        drop(ledger);
        Ok(served?)
    }
}

/// Files below `data`.
pub(super) const PAYEE: &str = "payee.key";
pub(super) const AUTHORIZER: &str = "authorizer.key";
pub(super) const LEDGER: &str = "ledger";
const SALES: &str = "sales.jsonl";

/// A directory that only its owner can look into.
fn make(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

pub(super) async fn bind(at: &(SocketAddr, super::place::Place)) -> Result<TcpListener, ConfigError> {
    TcpListener::bind(at.0).await.map_err(|error| at.1.fault(format!("{}: {error}", at.0)))
}

pub(super) fn listen(config: &Config) -> Result<ListenOptions, ConfigError> {
    let tls = match &config.tls {
        Some(files) => Some(tls(&files.certificate, &files.key).map_err(|error| files.place.fault(error))?),
        None => None,
    };
    Ok(ListenOptions {
        head_bytes: config.limits.head_bytes,
        connections: config.limits.connections,
        grace: config.limits.shutdown,
        tls,
        ..ListenOptions::default()
    })
}

pub(super) fn upstream(config: &Config) -> Result<Upstream, ConfigError> {
    let trust = match &config.upstream_ca {
        Some((file, place)) => Trust::Roots(roots(file).map_err(|error| place.fault(error))?),
        None => Trust::Platform,
    };
    let options = UpstreamOptions { connect: config.limits.connect, answer: config.limits.request, trust };
    Upstream::new(config.upstream.0.clone(), config.origin.clone(), &options)
        .map_err(|error| config.upstream.1.fault(error))
}

/// Begins to count, and listens for whoever reads the counts.
async fn metrics(config: &Config) -> Result<Option<(TcpListener, Metrics)>, ConfigError> {
    let Some(at) = &config.metrics else { return Ok(None) };
    let listener = bind(at).await?;
    let metrics = Metrics::install().map_err(|error| at.1.fault(error))?;
    Ok(Some((listener, metrics)))
}

/// What answers below `/.farthing`.
fn inside(config: &Config, paywall: &Paywall, ledger: &LocalLedger) -> Result<Router, Error> {
    let mut inside = Router::new().nest(RESERVED, paywall.routes());
    inside = inside.nest(&below(SERVICE), ledger.service(HttpOptions::default()));
    if config.top_up {
        inside = inside.nest(&below(FAUCET), ledger.faucet(Faucet::default())?);
    }
    Ok(inside)
}

/// Paths below `/.farthing`.
const SERVICE: &str = "/ledger";
const FAUCET: &str = "/faucet";

fn below(path: &str) -> String {
    format!("{RESERVED}{path}")
}

async fn paywall(
    config: &Config,
    payee: PublicKey,
    authorizer: &SecretKey,
    ledger: &LocalLedger,
) -> Result<Paywall, Error> {
    let settles = Settles::from(ledger);
    let settles = chains(config, settles, ledger).await?;
    let limits = Limits { bound_body_bytes: config.limits.body_bytes, ..Limits::default() };
    let builder = crate::paywall_builder(config.origin.clone(), payee, authorizer, settles).await?;
    let sales = config.data.0.join(SALES);
    let sales = SalesLog::open(&sales)
        .map_err(|error| config.data.1.fault(format!("{}: {error}", sales.display())))?;
    let page = PageOptions {
        title: config.title.clone(),
        top_up: config.top_up.then(|| below(FAUCET)),
        ledger: Some(below(SERVICE)),
        ..PageOptions::default()
    };
    let builder = builder.limits(limits).sales(sales).page(page).routes_below(RESERVED);
    let paywall = builder.build().map_err(|error| ConfigError::whole(&config.path, error))?;
    ledger.recover(authorizer).await?;
    Ok(paywall)
}

#[cfg(not(feature = "evm"))]
async fn chains(_: &Config, settles: Settles, _: &LocalLedger) -> Result<Settles, Error> {
    Ok(settles)
}

/// The chains that are sold on besides.
#[cfg(feature = "evm")]
async fn chains(config: &Config, mut settles: Settles, ledger: &LocalLedger) -> Result<Settles, Error> {
    use std::sync::Arc;

    use super::config::Settled;
    use crate::OnChain;
    use farthing_protocol::rail::Facilitator;
    use farthing_rail_evm::{EvmConfig, EvmKey, Rpc};
    for entry in &config.networks {
        let fault = |why: &dyn fmt::Display| entry.place.fault(why);
        let records = ledger.records().ok_or_else(|| fault(&"the ledger has no records beside it"))?;
        let facilitator: Arc<dyn Facilitator> = match &entry.settled {
            Settled::Remote(url) => {
                let remote = farthing_facilitator::RemoteFacilitator::builder(url).build();
                Arc::new(remote.map_err(|error| fault(&error))?)
            }
            Settled::Here { rpc, key } => {
                let key = EvmKey::from_file(key).map_err(|error| fault(&error))?;
                let rpc = Rpc::new(rpc).map_err(|error| fault(&error))?;
                let evm = EvmConfig::new(entry.network.clone(), rpc, vec![key], records.clone());
                crate::evm_facilitator(evm).await.map_err(|error| fault(&error))?
            }
        };
        let chain = OnChain::usdc(entry.network.as_str(), &entry.pay_to, facilitator, records);
        settles = settles.and(chain.map_err(|error| fault(&error))?);
    }
    Ok(settles)
}

fn entrance(config: &Config, paywall: &Paywall, route: &RouteEntry) -> Result<Entrance, Error> {
    let Some(sale) = &route.sale else {
        return Ok(Entrance::Free { body_bytes: route.body_bytes.unwrap_or(config.limits.body_bytes) });
    };
    let layer = Box::new(layer(config, paywall, sale)?);
    Ok(Entrance::Priced { layer, body_bytes: route.body_bytes })
}

fn layer(config: &Config, paywall: &Paywall, sale: &Sale) -> Result<PriceLayer, ConfigError> {
    let (price, place) = &sale.price;
    let mut layer = match &sale.metered {
        None => paywall.try_price(price.clone()).map_err(|error| place.fault(error))?,
        Some((metered, place)) => {
            let most = paywall.try_up_to(price.clone()).map_err(|error| place.fault(error))?;
            // That the price of a unit can be expressed was seen when the file was read.
            match metered {
                Metered::PerEvent(unit) => most.per_event(unit.clone()),
                Metered::PerBytes(bytes, unit) => most.per_bytes(*bytes, unit.clone()),
            }
        }
    };
    if let Some((other, place)) = &sale.or_price {
        layer = layer.try_or_price(other.clone()).map_err(|error| place.fault(error))?;
    }
    layer = layer.name(sale.name.as_str()).handler_deadline(config.limits.request + BODY_TIME);
    if let Some(text) = &sale.description {
        layer = layer.description(text);
    }
    if let Some(mime_type) = &sale.mime_type {
        layer = layer.mime_type(mime_type);
    }
    if !sale.bind_body {
        layer = layer.unbound_body();
    }
    if let Some((quota, _)) = &sale.quota {
        let free = Quota::new(quota.requests, quota.per);
        layer = layer.free_quota(match &quota.by {
            Caller::Address => free.by_address(),
            Caller::Header(name) => free.by_header(name.as_str()),
        });
    }
    let Some((period, place)) = &sale.period else { return Ok(layer) };
    let layer = match period {
        Period::Pass(length) => layer.try_pass(*length),
        Period::Subscription(plan, length) => layer.try_subscription(plan, *length),
    };
    layer.map_err(|error| place.fault(error))
}
