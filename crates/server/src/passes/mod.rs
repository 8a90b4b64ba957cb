//! Passes: what is paid for once is open to its payer for a period.
//!
//! A payment on a route with a [pass](crate::PriceLayer::pass) or a [plan](crate::PriceLayer::subscription) is written
//! down: this server's own route, the payer that the payment was signed by, and until when. The payer proves its key
//! with x402's `sign-in-with-x`, and has a token for the next ten minutes; then its requests reach the handler without
//! a payment, which finds a [`PassHolder`] in their extensions. A request that brings a payment is paid with it: so a
//! pass is renewed before its end.
//!
//! Read it in this order: `scope`, what a pass opens; `record`, what is kept; `admission`, who is let in; `token` and
//! `nonce`, what is known again without having been kept.

mod admission;
mod carried;
mod mac;
mod nonce;
mod record;
mod scope;
mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use farthing_protocol::rail::PaymentId;
use farthing_protocol::records::{NONCES, Record, Records, RecordsError, Replaced};
use farthing_protocol::siwx::{self, Chain, Challenge, Info, MAX_AGE, SKEW};
use farthing_protocol::{Amount, Network};
use http::{HeaderMap, Method};
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub(crate) use self::admission::{Admission, Admitted};
pub(crate) use self::carried::{strip, vary};
use self::nonce::{Nonce, Nonces};
use self::record::{Extended, Held};
use self::scope::{Scope, Sells};
use self::token::{Session, Tokens};
use crate::answer::{Answer, Situation};
use crate::flow::Seller;

/// The extension of the terms that says what a payment buys.
pub const EXTENSION: &str = "farthing-pass";

/// Attempts at a record that other processes change meanwhile.
const ATTEMPTS: usize = 32;
/// Pauses between attempts at a store that is not there.
const PAUSES: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(250), Duration::from_secs(1)];
/// Seconds between two looks for records of no use, and how many are removed at once.
const PURGE_SECONDS: u64 = 60;
const PURGE_RECORDS: usize = 256;
/// Characters of a plan's name.
const PLAN_BYTES: usize = 64;

/// Who bought a period that runs. An extension of requests that are served for it, and of their answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassHolder {
    /// The payer, in the network's own words.
    pub payer: String,
    /// Where it paid.
    pub network: Network,
    /// Unix seconds: the first at which it is over.
    pub until: u64,
}

/// What is sold on a route for a period; made by [`PriceLayer`](crate::PriceLayer).
#[derive(Clone, Debug)]
pub struct Pass {
    passes: Arc<Passes>,
    sells: Sells,
    /// Seconds.
    length: u64,
}

/// The passes of one paywall.
pub(crate) struct Passes {
    seller: Arc<Seller>,
    records: Arc<dyn Records>,
    tokens: Tokens,
    nonces: Nonces,
    purge_at: AtomicU64,
}

impl std::fmt::Debug for Passes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passes").finish_non_exhaustive()
    }
}

impl Passes {
    /// Kept in `records`, which all processes of the seller share.
    pub(crate) fn new(seller: Arc<Seller>, records: Arc<dyn Records>) -> Self {
        let [a, b, c, d, ..] = seller.owner_id;
        let nonces =
            Nonces::new(&seller.receipt_key, seller.origin.clone(), u32::from_be_bytes([a, b, c, d]));
        let tokens = Tokens::new(&seller.receipt_key, seller.origin.clone());
        Self { seller, records, tokens, nonces, purge_at: AtomicU64::new(0) }
    }

    /// The networks whose accounts can sign in here.
    fn chains(&self) -> Vec<Chain> {
        let mut chains: Vec<Chain> = Vec::new();
        for rail in &self.seller.rails {
            let chain = rail.sign_in().map(|kind| Chain::new(rail.network(), kind));
            chains.extend(chain.filter(|chain| !chains.contains(chain)));
        }
        chains
    }

    async fn held(&self, key: &[u8]) -> Result<(Held, Option<Vec<u8>>), RecordsError> {
        let Some(record) = self.records.get(key).await? else { return Ok((Held::default(), None)) };
        let held = Held::decode(&record.value).map_err(|error| unreadable(&error))?;
        Ok((held, Some(record.value)))
    }

    /// Writes down that a payment bought `length` seconds.
    async fn extend(&self, scope: &Scope, bought: &Bought, now: u64) -> Result<Extended, RecordsError> {
        let (key, name) = (scope.key(&bought.network, &bought.payer), scope.name());
        let (mut held, mut found) = self.held(&key).await?;
        for _ in 0..ATTEMPTS {
            let extended = held.extend(&name, bought.payment, bought.length, now);
            if !matches!(extended, Extended::Until(_)) {
                return Ok(extended);
            }
            let record = Record { value: held.encode(), until: held.kept_until() };
            match self.records.replace(&key, found.as_deref(), Some(record)).await? {
                Replaced::Done => return Ok(extended),
                Replaced::Found(record) => {
                    found = record.map(|record| record.value);
                    let read = found.as_deref().map(Held::decode).transpose();
                    held = read.map_err(|error| unreadable(&error))?.unwrap_or_default();
                }
            }
        }
        Err(RecordsError::Unavailable("other processes keep changing the pass".into()))
    }

    /// Whether a nonce was not used before; it is from now on.
    async fn use_up(&self, nonce: &Nonce, now: u64) -> Result<bool, RecordsError> {
        let mut key = [NONCES; 17];
        key[1..].copy_from_slice(&nonce.bytes);
        let used = Record { value: vec![1], until: nonce.made.saturating_add(MAX_AGE + 2 * SKEW) };
        let is_fresh = self.records.replace(&key, None, Some(used)).await? == Replaced::Done;
        self.purge(now).await;
        Ok(is_fresh)
    }

    /// Lets the store forget what is of no use, now and then.
    async fn purge(&self, now: u64) {
        let (at, next) = (self.purge_at.load(Ordering::Relaxed), now.saturating_add(PURGE_SECONDS));
        let swap = || self.purge_at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
        if now < at || swap().is_err() {
            return;
        }
        if let Err(error) = self.records.purge(now, PURGE_RECORDS).await {
            tracing::warn!(%error, "old passes stay for now");
        }
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> RecordsError {
    RecordsError::Unavailable(format!("a pass cannot be read: {error}"))
}

/// A payment that buys a period.
struct Bought {
    payment: PaymentId,
    network: Network,
    payer: String,
    /// Seconds.
    length: u64,
}

/// What is sold with one request: known before it is served, and given when it is paid.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    pass: Arc<Pass>,
    scope: Scope,
}

impl Pass {
    /// One pass for each path, or for each target where the price is by request.
    pub(crate) fn of_request(passes: Arc<Passes>, length: Duration, by_target: bool) -> Result<Self, String> {
        Self::new(passes, if by_target { Sells::Target } else { Sells::Path }, length)
    }

    /// One pass for all routes that sell under `name`.
    pub(crate) fn of_plan(passes: Arc<Passes>, name: &str, length: Duration) -> Result<Self, String> {
        let fits = (1..=PLAN_BYTES).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits {
            return Err("a plan's name has 1 to 64 visible ASCII characters".into());
        }
        Self::new(passes, Sells::Plan(name.into()), length)
    }

    fn new(passes: Arc<Passes>, sells: Sells, length: Duration) -> Result<Self, String> {
        if length.as_secs() == 0 {
            return Err("a pass must be good for a second at least".into());
        }
        if passes.chains().is_empty() {
            return Err("none of the rails lets a payer prove its key, and nobody could use a pass".into());
        }
        Ok(Self { passes, sells, length: length.as_secs() })
    }

    /// What a request is offered. `target` is path and query as received.
    pub(crate) fn offered(self: &Arc<Self>, method: &Method, target: &str) -> Offered {
        Offered {
            pass: self.clone(),
            scope: Scope::of(&self.sells, &self.passes.seller.origin, method, target),
        }
    }

    /// The extensions of the terms: by which payers sign in, and what a payment buys.
    pub(crate) fn extensions(&self, target: &str, now: u64) -> impl Iterator<Item = (String, Box<RawValue>)> {
        let challenge = self.challenge(target, now).map(|challenge| (siwx::EXTENSION.to_owned(), challenge));
        let said = RawValue::from_string(self.said().to_string()).ok();
        challenge.into_iter().chain(said.map(|said| (EXTENSION.to_owned(), said)))
    }

    /// `None` when no challenge can be made.
    fn challenge(&self, target: &str, now: u64) -> Option<Box<RawValue>> {
        let nonce = self.passes.nonces.make(now)?;
        let info = Info::new(&self.passes.seller.origin, target, nonce, now)?;
        Challenge { info, supported_chains: self.passes.chains() }.write()
    }

    fn said(&self) -> Value {
        let info = match &self.sells {
            Sells::Path => json!({"seconds": self.length, "opens": "path"}),
            Sells::Target => json!({"seconds": self.length, "opens": "request"}),
            Sells::Plan(name) => json!({"seconds": self.length, "opens": "plan", "plan": &**name}),
        };
        json!({ "info": info })
    }
}

impl Offered {
    /// Gives a paid answer its pass, and a token for the next minutes. However often the same payment is answered, it
    /// buys the period once.
    ///
    /// Where the records cannot be written the answer goes without: the same payment, presented again, gets it.
    pub(crate) async fn deliver<B>(&self, mut answer: Answer<B>, now: u64) -> Answer<B> {
        let sold = &answer.sold;
        let (Some(payment), Some(network), Some(payer)) = (sold.payment, &sold.network, &sold.payer) else {
            return answer;
        };
        if answer.situation != Situation::Paid || sold.amount == Some(Amount::ZERO) {
            return answer;
        }
        let length = self.pass.length;
        let bought = Bought { payment, network: network.clone(), payer: payer.clone(), length };
        let until = match self.extend(&bought, now).await {
            Ok(Extended::Until(until)) => until,
            Ok(Extended::Before(until)) if now < until => until,
            Ok(Extended::Before(_)) => return answer,
            Ok(Extended::Full) => {
                tracing::error!(%payment, "a pass was not extended: more payments than can be remembered");
                return answer;
            }
            Err(error) => {
                tracing::error!(%payment, %error, "a pass could not be written down");
                return answer;
            }
        };
        self.give(&mut answer.headers, bought.network, bought.payer, until, now);
        self.pass.passes.purge(now).await;
        answer
    }

    /// Tries again when the store does not answer: the money is taken.
    async fn extend(&self, bought: &Bought, now: u64) -> Result<Extended, RecordsError> {
        for pause in PAUSES {
            match self.pass.passes.extend(&self.scope, bought, now).await {
                Err(error) => tracing::debug!(%error, "a pass is written down again"),
                done => return done,
            }
            tokio::time::sleep(pause).await;
        }
        self.pass.passes.extend(&self.scope, bought, now).await
    }

    fn give(&self, headers: &mut HeaderMap, network: Network, payer: String, until: u64, now: u64) {
        let passes = &self.pass.passes;
        let session = Session::begin(self.scope.digest(), until, network, payer, now);
        let seconds = session.expires.saturating_sub(now);
        if let Some(token) = passes.tokens.write(&session) {
            carried::give(headers, &token, &self.scope, &passes.seller.origin, seconds);
        }
    }
}
