//! JSON-RPC over HTTP to an EVM chain: a list of endpoints of which one that works is asked.
//!
//! An endpoint that does not answer, or has no room, is left alone for a while that grows with each failure,
//! and the next of the list is asked. What a node *says* (a revert, a refused transaction) is an answer and
//! ends the search. URLs may hold keys: of each, only scheme, host and port are ever shown.

mod answer;
mod endpoint;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use alloy_primitives::Bytes;
use futures_util::future::join_all;
use reqwest::{Client, redirect, retry};
use serde_json::value::RawValue;
use thiserror::Error;

pub(crate) use self::answer::{bytes, malformed, quantity};
use self::endpoint::{Endpoint, Failure, Standing};
use crate::ConfigError;

/// How long one endpoint may take for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Most bytes that are read of one answer.
const ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// Most endpoints of one list.
const ENDPOINTS: usize = 16;

/// A chain's JSON-RPC endpoints, in order of preference. Cheap to clone.
#[derive(Clone)]
pub struct Rpc(Arc<Inner>);

struct Inner {
    client: Client,
    endpoints: Vec<Endpoint>,
    timeout: Duration,
    /// What each endpoint must answer to `eth_chainId` before it is asked anything else.
    chain_id: OnceLock<u64>,
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum RpcError {
    /// Nobody answered. What was asked for may have been done.
    #[error("no RPC endpoint answered ({0})")]
    Unreachable(String),
    /// The call ran and was reverted, with this data.
    #[error("the call was reverted")]
    Reverted(Bytes),
    /// The node refused.
    #[error("the RPC endpoint refused: {message} (code {code})")]
    Rejected {
        /// Of JSON-RPC, or the node's own.
        code: i64,
        /// The node's words, cut short.
        message: String,
    },
}

/// One call of a method. `params` is the text of a JSON array.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) params: String,
}

/// What came of a [`Request`].
pub(crate) type Reply = Result<Box<RawValue>, RpcError>;

impl Rpc {
    /// The endpoints at `urls` (http or https), the first preferred. Nothing is asked yet.
    ///
    /// # Errors
    /// [`ConfigError`] when the list is empty or too long, or one is not such a URL; it is named by its place
    /// in the list.
    pub fn new<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Result<Self, ConfigError> {
        Self::with_timeout(urls, TIMEOUT)
    }

    /// As [`new`](Self::new), with the longest time that one endpoint may take for one answer.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_timeout<U: AsRef<str>>(
        urls: impl IntoIterator<Item = U>,
        timeout: Duration,
    ) -> Result<Self, ConfigError> {
        let endpoints = (urls.into_iter().enumerate())
            .map(|(place, url)| Endpoint::new(place, url.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() || endpoints.len() > ENDPOINTS {
            return Err(ConfigError::new("rpc", format!("needs 1 to {ENDPOINTS} URLs")));
        }
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(30))
            .tcp_nodelay(true);
        if endpoints.iter().all(Endpoint::is_loopback) {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|error| ConfigError::new("rpc", format!("cannot be prepared: {error}")))?;
        Ok(Self(Arc::new(Inner { client, endpoints, timeout, chain_id: OnceLock::new() })))
    }

    /// From now on, every endpoint must be one of this chain. Those that answer now are asked now.
    ///
    /// # Errors
    /// [`ConfigError`] when one is of another chain, or none answers.
    pub(crate) async fn expect_chain(&self, chain_id: u64) -> Result<(), ConfigError> {
        let expected = *self.0.chain_id.get_or_init(|| chain_id);
        let checks = self.0.endpoints.iter().map(|endpoint| self.is_of_chain(endpoint, expected));
        let mut answered = false;
        for (endpoint, check) in self.0.endpoints.iter().zip(join_all(checks).await) {
            match check {
                Ok(()) => answered = true,
                Err(Failure::OtherChain(found)) => {
                    let why = format!("{endpoint} is of chain {found}, and {expected} is expected");
                    return Err(ConfigError::new("rpc", why));
                }
                Err(failure) => tracing::warn!(%endpoint, %failure, "an RPC endpoint does not answer"),
            }
        }
        if answered { Ok(()) } else { Err(ConfigError::new("rpc", "no endpoint answers")) }
    }

    /// One call.
    pub(crate) async fn ask(&self, method: &'static str, params: String) -> Reply {
        let mut replies = self.ask_all(vec![Request { method, params }]).await;
        replies.pop().unwrap_or_else(|| Err(RpcError::Unreachable("no answer".into())))
    }

    /// Several calls in one request, and one reply for each, in their order.
    pub(crate) async fn ask_all(&self, requests: Vec<Request>) -> Vec<Reply> {
        let mut why = String::from("none was asked");
        let mut refused = None;
        for endpoint in endpoint::in_order(&self.0.endpoints) {
            match self.try_at(endpoint, &requests).await {
                Ok(replies) => return replies,
                Err(Failure::Busy(replies)) => refused = Some(replies),
                Err(failure) => {
                    tracing::debug!(%endpoint, %failure, "an RPC endpoint failed");
                    why = failure.to_string();
                }
            }
        }
        // A node that has no room is still an answer, when nobody else gives one.
        refused.unwrap_or_else(|| requests.iter().map(|_| Err(RpcError::Unreachable(why.clone()))).collect())
    }

    async fn try_at(&self, endpoint: &Endpoint, requests: &[Request]) -> Result<Vec<Reply>, Failure> {
        if let Some(expected) = self.0.chain_id.get() {
            self.is_of_chain(endpoint, *expected).await?;
        }
        let replies = self.exchange(endpoint, requests).await;
        endpoint.note(replies.as_ref().err());
        replies
    }

    async fn is_of_chain(&self, endpoint: &Endpoint, expected: u64) -> Result<(), Failure> {
        match endpoint.standing() {
            Standing::Right => return Ok(()),
            Standing::Wrong(found) => return Err(Failure::OtherChain(found)),
            Standing::Unknown => {}
        }
        let request = [Request { method: "eth_chainId", params: "[]".into() }];
        let reply = self.exchange(endpoint, &request).await;
        endpoint.note(reply.as_ref().err());
        let id = reply?.pop().and_then(Result::ok).and_then(|id| answer::quantity(&id).ok());
        let Some(found) = id.and_then(|id| u64::try_from(id).ok()) else {
            return Err(Failure::NoAnswer("it does not say its chain".into()));
        };
        endpoint.set_chain(found, expected);
        if found == expected { Ok(()) } else { Err(Failure::OtherChain(found)) }
    }

    async fn exchange(&self, endpoint: &Endpoint, requests: &[Request]) -> Result<Vec<Reply>, Failure> {
        let alone = |request: &Request| {
            let body = answer::one(request);
            async move { answer::read_one(&self.post(endpoint, body).await?) }
        };
        if let [request] = requests {
            return alone(request).await.and_then(|reply| answer::with_room(vec![reply]));
        }
        if endpoint.takes_batches() {
            let answer = self.post(endpoint, answer::many(requests)).await;
            match answer.and_then(|answer| answer::read_many(&answer, requests.len())) {
                Err(Failure::NoBatches) => endpoint.no_batches(),
                replies => return replies.and_then(answer::with_room),
            }
        }
        let replies = join_all(requests.iter().map(alone)).await;
        replies.into_iter().collect::<Result<Vec<_>, _>>().and_then(answer::with_room)
    }

    async fn post(&self, endpoint: &Endpoint, body: String) -> Result<Vec<u8>, Failure> {
        let whole = endpoint.post(&self.0.client, body, ANSWER_BYTES);
        match tokio::time::timeout(self.0.timeout, whole).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::NoAnswer("no answer in time".into())),
        }
    }
}

impl RpcError {
    /// The node said that it has this very transaction already.
    pub(crate) fn is_known_transaction(&self) -> bool {
        self.says(&[
            "already known",
            "known transaction",
            "already imported",
            "already exists",
            "alreadyknown",
        ])
    }

    /// The node said that the sender's nonce was used before.
    pub(crate) fn is_nonce_used(&self) -> bool {
        self.says(&["nonce too low", "nonce is too low", "oldnonce", "invalid nonce", "nonce has already"])
    }

    /// The node said that a replacement does not pay enough more.
    pub(crate) fn is_underpriced(&self) -> bool {
        self.says(&[
            "underpriced",
            "replacement",
            "fee too low",
            "below base fee",
            "less than block base fee",
        ])
    }

    /// The node said that the sender cannot pay the fees.
    pub(crate) fn is_unfunded(&self) -> bool {
        self.says(&["insufficient funds", "insufficientfunds", "insufficient balance"])
    }

    fn says(&self, words: &[&str]) -> bool {
        let Self::Rejected { message, .. } = self else { return false };
        let message = message.to_ascii_lowercase();
        words.iter().any(|word| message.contains(word))
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.endpoints.iter().map(ToString::to_string)).finish()
    }
}
