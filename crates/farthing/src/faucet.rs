//! A faucet: gives test money to whoever asks, a little at a time.
//!
//! For trying things out, such as the paywall's page in a browser. It gives [`XTS`](ASSET) and nothing else, which is
//! worth nothing by definition; what it gives in an hour is limited, for each account and in all.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), farthing::Error> {
//! use farthing::faucet::Faucet;
//! # let seller = farthing::protocol::SecretKey::from_seed([1; 32]).public();
//! let ledger = farthing::LocalLedger::memory(seller).await?;
//! // `POST /faucet` with `{"account": "<64 hex digits>"}` is given 1 XTS, once an hour.
//! let app: axum::Router = axum::Router::new().nest("/faucet", ledger.faucet(Faucet::default())?);
//! # Ok(())
//! # }
//! ```

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::routing::post;
use farthing_ledger::LedgerError;
use farthing_protocol::problem::{self, Problem};
use farthing_protocol::{Amount, Price, PublicKey, Retry};
use serde_json::{Value, json};

use crate::{Error, LocalLedger};

/// The one asset that a faucet gives: the code for tests of ISO 4217.
pub const ASSET: &str = "XTS";

/// How long what was given counts.
const PERIOD: Duration = Duration::from_secs(3600);
/// The longest request that is read, in bytes.
const BODY_BYTES: usize = 1024;

/// What a faucet gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faucet {
    /// What an account is given, once an hour: `"1 XTS"` unless set.
    pub per_account: String,
    /// What is given in an hour to all: `"1000 XTS"` unless set.
    pub total: String,
}

impl Default for Faucet {
    fn default() -> Self {
        Self { per_account: "1 XTS".into(), total: "1000 XTS".into() }
    }
}

/// A faucet at work.
struct Open {
    ledger: LocalLedger,
    /// What an account is given, as it was written.
    gift: Price,
    gift_units: Amount,
    total_units: Amount,
    given: Mutex<Given>,
}

/// What was given in this hour.
struct Given {
    since: Instant,
    accounts: HashSet<PublicKey>,
    units: u128,
}

/// Why nothing was given, and when it may be asked again.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    retry: Retry,
    after: Option<u64>,
}

impl LocalLedger {
    /// A faucet of test money on this ledger, to be nested in a router: `POST` with `{"account": "<64 hex digits>"}`
    /// gives the account its share, once an hour. Never open one where XTS is taken for something that has a value.
    ///
    /// # Errors
    /// [`Error::Config`] when an amount is not one of XTS, or the share is above the total.
    pub fn faucet(&self, faucet: Faucet) -> Result<Router, Error> {
        let (gift, gift_units) = units(&faucet.per_account)?;
        let (_, total_units) = units(&faucet.total)?;
        if gift_units > total_units {
            return Err(Error::Config("a faucet gives an account no more than it gives to all".into()));
        }
        let given = Mutex::new(Given { since: Instant::now(), accounts: HashSet::new(), units: 0 });
        let open = Arc::new(Open { ledger: self.clone(), gift, gift_units, total_units, given });
        let router = Router::new().route("/", post(give)).layer(DefaultBodyLimit::max(BODY_BYTES));
        Ok(router.with_state(open))
    }
}

/// An amount of test money.
fn units(text: &str) -> Result<(Price, Amount), Error> {
    let config = |why: String| Error::Config(format!("{text:?}: {why}"));
    let price: Price =
        text.parse().map_err(|error: farthing_protocol::price::PriceError| config(error.to_string()))?;
    if price.currency() != ASSET {
        return Err(config(format!("a faucet gives {ASSET} only")));
    }
    let units = price.to_atomic(crate::ledger::SCALE).map_err(|error| config(error.to_string()))?;
    Ok((price, units))
}

async fn give(State(open): State<Arc<Open>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    match open.give(&headers, &body).await {
        Ok(given) => reply(StatusCode::OK, "application/json", given.to_string()),
        Err(refusal) => refusal.into_response(),
    }
}

impl Open {
    async fn give(&self, headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        // Another type could be sent by any page of any origin, without this server being asked first.
        if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
            let (status, detail) =
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json");
            return Err(Refusal::new(status, "unsupported-media-type", "Not JSON", detail));
        }
        let account = account(body).ok_or_else(|| {
            let detail = "the body must be {\"account\": \"<64 lower-case hex digits>\"}";
            Refusal::new(StatusCode::BAD_REQUEST, "malformed", "Malformed request", detail)
        })?;
        self.reserve(account)?;
        match self.ledger.deposit(account, &self.gift.to_string()).await {
            Ok(_) => {}
            Err(Error::Ledger(LedgerError::Unknown(why))) => {
                // It may have been given: the reservation stays.
                tracing::warn!(%why, "test money may or may not have been given");
                return Err(Refusal::unavailable());
            }
            Err(error) => {
                self.give_back(&account);
                return Err(match error {
                    Error::Ledger(LedgerError::Refused(_)) => {
                        let detail = "the account holds as much as an account can hold here";
                        Refusal::new(StatusCode::CONFLICT, "faucet-full", "Account is full", detail)
                    }
                    error => {
                        tracing::warn!(%error, "test money was not given");
                        Refusal::unavailable()
                    }
                });
            }
        }
        let amount = self.gift_units.to_string();
        Ok(json!({"account": account, "amount": amount, "asset": ASSET, "shown": self.gift.to_string()}))
    }

    /// Counts a gift before it is given.
    fn reserve(&self, account: PublicKey) -> Result<(), Refusal> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if given.since.elapsed() >= PERIOD {
            *given = Given { since: Instant::now(), accounts: HashSet::new(), units: 0 };
        }
        let after = PERIOD.saturating_sub(given.since.elapsed()).as_secs() + 1;
        let refuse = |code, title, detail: &str| {
            let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, code, title, detail);
            Err(Refusal { after: Some(after), ..refusal })
        };
        if given.accounts.contains(&account) {
            let detail = "this account was given its test money for this hour";
            return refuse("faucet-used", "Given already", detail);
        }
        let units = given.units.saturating_add(self.gift_units.0);
        if units > self.total_units.0 {
            return refuse("faucet-empty", "Nothing left", "all test money of this hour is given away");
        }
        given.units = units;
        given.accounts.insert(account);
        Ok(())
    }

    fn give_back(&self, account: &PublicKey) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if given.accounts.remove(account) {
            given.units = given.units.saturating_sub(self.gift_units.0);
        }
    }
}

fn account(body: &[u8]) -> Option<PublicKey> {
    let body: Value = serde_json::from_slice(body).ok()?;
    body.get("account")?.as_str()?.parse().ok()
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: &str) -> Self {
        Self { status, code, title, detail: detail.to_owned(), retry: Retry::None, after: None }
    }

    fn unavailable() -> Self {
        let detail = "the ledger is not available; ask again in a moment";
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available", detail);
        Self { retry: Retry::Same, after: Some(2), ..refusal }
    }

    fn into_response(self) -> Response<Body> {
        let Self { status, code, title, detail, retry, after } = self;
        let problem = Problem::new(status.as_u16(), code, title, detail, retry);
        let mut response = reply(status, problem::CONTENT_TYPE, problem.to_json());
        if let Some(seconds) = after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

fn reply(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faucet").field("per_account", &self.gift).finish_non_exhaustive()
    }
}
