//! One endpoint: where it is, and how it did lately.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};

use super::Reply;
use crate::ConfigError;

/// How long an endpoint is left alone after its first failure; doubled with each further one.
const BACK_OFF: Duration = Duration::from_millis(500);
/// The longest that an endpoint is left alone.
const BACK_OFF_MOST: Duration = Duration::from_secs(60);

pub(super) struct Endpoint {
    url: Url,
    /// Scheme, host and port: all that may be shown.
    shown: String,
    since: Instant,
    failures: AtomicU32,
    /// Milliseconds after `since` until which it is left alone.
    alone_until: AtomicU64,
    batches: AtomicBool,
    /// Its chain id plus one, 0 while unknown.
    chain: AtomicU64,
    right: AtomicBool,
}

/// Why an endpoint gave no answer that counts.
pub(super) enum Failure {
    /// It said nothing that can be understood.
    NoAnswer(String),
    /// It answers that it has no room now.
    Busy(Vec<Reply>),
    /// It does not take several calls in one request.
    NoBatches,
    /// It is of this other chain.
    OtherChain(u64),
}

/// What is known of an endpoint's chain.
pub(super) enum Standing {
    Unknown,
    Right,
    Wrong(u64),
}

impl Endpoint {
    pub(super) fn new(place: usize, url: &str) -> Result<Self, ConfigError> {
        let fault = |why: &str| ConfigError::new("rpc", format!("number {}: {why}", place + 1));
        let url = Url::parse(url).map_err(|_| fault("not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fault("must begin with http:// or https://"));
        }
        let Some(host) = url.host_str() else { return Err(fault("no host")) };
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let shown = format!("{}://{host}{port}", url.scheme());
        Ok(Self {
            shown,
            url,
            since: Instant::now(),
            failures: AtomicU32::new(0),
            alone_until: AtomicU64::new(0),
            batches: AtomicBool::new(true),
            chain: AtomicU64::new(0),
            right: AtomicBool::new(false),
        })
    }

    pub(super) fn is_loopback(&self) -> bool {
        let host = self.url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    }

    pub(super) async fn post(&self, client: &Client, body: String, limit: usize) -> Result<Vec<u8>, Failure> {
        let request = client.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        let mut response = request.send().await.map_err(|error| failure(&error))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
            if body.len() + chunk.len() > limit {
                return Err(Failure::NoAnswer(format!("the answer has more than {limit} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        // Some nodes answer errors of JSON-RPC with a status of their own.
        if matches!(status, 200 | 400 | 500) && body.iter().any(|byte| matches!(byte, b'{' | b'[')) {
            return Ok(body);
        }
        Err(Failure::NoAnswer(format!("HTTP status {status}")))
    }

    /// Remembers how a request ended.
    pub(super) fn note(&self, failure: Option<&Failure>) {
        if failure.is_none() {
            self.failures.store(0, Ordering::Relaxed);
            self.alone_until.store(0, Ordering::Relaxed);
            return;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).min(16);
        let pause = BACK_OFF.saturating_mul(1 << failures).min(BACK_OFF_MOST);
        self.alone_until.store(millis(self.since.elapsed() + pause), Ordering::Relaxed);
    }

    pub(super) fn takes_batches(&self) -> bool {
        self.batches.load(Ordering::Relaxed)
    }

    pub(super) fn no_batches(&self) {
        self.batches.store(false, Ordering::Relaxed);
    }

    pub(super) fn standing(&self) -> Standing {
        match self.chain.load(Ordering::Acquire) {
            0 => Standing::Unknown,
            _ if self.right.load(Ordering::Acquire) => Standing::Right,
            found => Standing::Wrong(found - 1),
        }
    }

    pub(super) fn set_chain(&self, found: u64, expected: u64) {
        self.right.store(found == expected, Ordering::Release);
        self.chain.store(found.saturating_add(1), Ordering::Release);
    }

    /// Milliseconds for which it is still left alone.
    fn alone_for(&self) -> u64 {
        self.alone_until.load(Ordering::Relaxed).saturating_sub(millis(self.since.elapsed()))
    }
}

/// Those that are not left alone, in the order of the list; then the others, the soonest first.
pub(super) fn in_order(endpoints: &[Endpoint]) -> Vec<&Endpoint> {
    let mut all: Vec<_> = endpoints.iter().map(|endpoint| (endpoint.alone_for(), endpoint)).collect();
    all.sort_by_key(|(alone_for, _)| *alone_for);
    all.into_iter().map(|(_, endpoint)| endpoint).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Never quotes the error: it holds the URL.
fn failure(error: &reqwest::Error) -> Failure {
    let why = if error.is_connect() {
        "it cannot be connected to"
    } else if error.is_timeout() {
        "no answer in time"
    } else {
        "the connection broke"
    };
    Failure::NoAnswer(why.into())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(why) => f.write_str(why),
            Self::Busy(_) => f.write_str("it has no room"),
            Self::NoBatches => f.write_str("it takes no batches"),
            Self::OtherChain(found) => write!(f, "it is of chain {found}"),
        }
    }
}
