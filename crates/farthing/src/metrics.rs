//! Metrics for Prometheus, on a listener of their own.
//!
//! What is counted, and in which unit, stands in `spec/metrics.md`. Whoever can read it learns what a seller earns
//! by route: it belongs on an address that the public does not reach, and never on the listener that sells.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use farthing_server::observe;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

/// Upper bounds of what payment may add to a request, in seconds, from half a millisecond to ten seconds.
const LATENCY: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
/// The media type of the text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How often what was recorded is put in order.
const UPKEEP: Duration = Duration::from_secs(5);

/// A process has one recorder.
static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// What this process counts. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Something else records metrics in this process already.
#[derive(Debug, thiserror::Error)]
#[error("metrics are recorded by something else in this process: {0}")]
pub struct InUse(String);

impl Metrics {
    /// Begins to count in this process. Again, it is the same.
    ///
    /// # Errors
    /// [`InUse`] when another recorder of the crate `metrics` is installed. Whoever has one calls
    /// [`observe::enable`] instead, and [`observe::refresh`] before it is read.
    pub fn install() -> Result<Self, InUse> {
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = match &*installed {
            Some(handle) => handle.clone(),
            None => {
                let why = |error: BuildError| InUse(error.to_string());
                let latency = Matcher::Full("farthing_payment_latency_seconds".to_owned());
                let builder = PrometheusBuilder::new().set_buckets_for_metric(latency, &LATENCY);
                let handle = builder.map_err(why)?.install_recorder().map_err(why)?;
                observe::enable();
                farthing_ledger::engine::describe_metrics();
                installed.insert(handle).clone()
            }
        };
        Ok(Self { handle })
    }

    /// Everything that was counted, in the text format of Prometheus.
    #[must_use]
    pub fn text(&self) -> String {
        observe::refresh();
        self.handle.render()
    }

    /// Answers `GET /metrics` on a listener, and 404 to everything else, until it is dropped.
    ///
    /// # Errors
    /// Those of the listener.
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        let upkeep = self.clone();
        let upkeep = async move {
            let mut turn = tokio::time::interval(UPKEEP);
            loop {
                turn.tick().await;
                upkeep.handle.run_upkeep();
            }
        };
        let answer = move || std::future::ready(([(CONTENT_TYPE, TEXT)], self.text()));
        let router = Router::new().route("/metrics", get(answer));
        tokio::select! {
            served = std::future::IntoFuture::into_future(axum::serve(listener, router)) => served,
            () = upkeep => Ok(()),
        }
    }
}
