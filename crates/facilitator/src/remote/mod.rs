//! The client of a facilitator that runs elsewhere.
//!
//! It believes little: an answer counts only when it is complete, within its limits, strictly typed, and
//! about what was asked. Everything else, from a connection that broke to a `true` written as a string,
//! leaves the outcome of a settlement unknown.

use std::fmt;
use std::time::Duration;

use farthing_protocol::problem::{self, Problem};
use farthing_protocol::rail::{BalancesRequest, BalancesResponse};
use farthing_protocol::rail::{BoxFuture, Facilitator, FacilitatorError, Outcome, PaymentId, UnknownOutcome};
use farthing_protocol::v2::{FacilitatorRequest, SettlementResponse, SupportedResponse, VerifyResponse};
use farthing_protocol::{Limits, Origin, WireError, json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::{NETWORK_MALFORMED, check_token};
use crate::{ConfigError, carried, judge};

mod wire;

use wire::{Answer, Failure, Wire};

/// A facilitator behind a URL. Cheap to clone; connections are kept and shared.
///
/// When nothing listens at the URL, a settlement's outcome is [`Outcome::Unknown`], although nothing was
/// sent: an earlier attempt with the same payment may have been. A server answers 503 either way, and
/// needs no restart when the facilitator is back.
#[derive(Clone)]
pub struct RemoteFacilitator {
    wire: Wire,
    base: String,
    limits: Limits,
}

/// Settings of a [`RemoteFacilitator`].
#[derive(Clone)]
pub struct RemoteBuilder {
    url: String,
    token: Option<String>,
    timeout: Duration,
    connect_timeout: Duration,
    limits: Limits,
}

impl RemoteBuilder {
    /// The bearer token that names this caller to the facilitator.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// How long an answer may take, from the first step of connecting to the last byte. Default 10 seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long connecting may take, within the time for the whole answer. Default 2 seconds.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Bytes of the longest answer that is read. Default 256 KiB.
    #[must_use]
    pub fn answer_limit(mut self, bytes: usize) -> Self {
        self.limits.json_body_bytes = bytes;
        self
    }

    /// Checks the settings. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ConfigError::Setting`]: the URL must be `https`, or `http` on loopback, without user, query and
    /// fragment; the token must be able to stand in a header; times must not be zero.
    pub fn build(self) -> Result<RemoteFacilitator, ConfigError> {
        let (origin, path) = match Origin::of_url(&self.url) {
            Ok(parts) => parts,
            Err(WireError::Field { why, .. }) => return Err(ConfigError::setting("url", why)),
            Err(fault) => return Err(ConfigError::setting("url", fault.to_string())),
        };
        if !origin.is_https() && !origin.is_loopback() {
            return Err(ConfigError::setting("url", "must begin with https:// unless it names this machine"));
        }
        if self.url.contains(['?', '#']) {
            return Err(ConfigError::setting("url", "must not have a query or a fragment"));
        }
        if let Some(token) = &self.token {
            check_token(token)?;
        }
        if self.timeout.is_zero() || self.connect_timeout.is_zero() {
            return Err(ConfigError::setting("timeout", "must be longer than nothing"));
        }
        let wire = Wire::new(
            self.token.as_deref(),
            self.timeout,
            self.connect_timeout,
            origin.is_loopback(),
            self.limits.json_body_bytes,
        )?;
        let base = format!("{origin}{}", path.trim_end_matches('/'));
        Ok(RemoteFacilitator { wire, base, limits: self.limits })
    }
}

impl RemoteFacilitator {
    /// The facilitator at `url`; `/verify` and the other paths are appended to it.
    pub fn builder(url: impl Into<String>) -> RemoteBuilder {
        RemoteBuilder {
            url: url.into(),
            token: None,
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(2),
            limits: Limits::default(),
        }
    }

    async fn ask_settle(&self, request: &FacilitatorRequest) -> Outcome {
        if let Err(fault) = judge::version(request) {
            return judge::not_settled(request, fault);
        }
        let unknown = |why: String| Outcome::Unknown(UnknownOutcome(why));
        let answer = match self.post("/settle", request).await {
            Ok(answer) => answer,
            Err(failure) => return unknown(failure.to_string()),
        };
        match self.message::<SettlementResponse>(&answer) {
            Ok(message) => carried::outcome(request, answer.status, message),
            // Some facilitators leave out of a refusal what they have nothing to say for.
            Err(why) => match self.message::<Refused>(&answer) {
                Ok(refused) if !refused.success => carried::outcome(request, answer.status, refused.into()),
                _ => unknown(why),
            },
        }
    }

    async fn ask_verify(&self, request: &FacilitatorRequest) -> Result<VerifyResponse, FacilitatorError> {
        if let Err(fault) = judge::version(request) {
            return Ok(judge::not_valid(fault));
        }
        let answer = self.post("/verify", request).await.map_err(error_of)?;
        match self.message::<VerifyResponse>(&answer) {
            Ok(message) if answer.status == 200 || !message.is_valid => judge::verification(message),
            Ok(_) => {
                Err(FacilitatorError::Malformed(format!("it says valid with HTTP status {}", answer.status)))
            }
            Err(why) if answer.status == 200 => Err(FacilitatorError::Malformed(why)),
            Err(_) => Err(self.refusal(&answer)),
        }
    }

    async fn ask_supported(&self) -> Result<SupportedResponse, FacilitatorError> {
        let answer = self.get("/supported").await.map_err(error_of)?;
        if answer.status != 200 {
            return Err(self.refusal(&answer));
        }
        self.message(&answer).map_err(FacilitatorError::Malformed)
    }

    async fn ask_payment(&self, id: &PaymentId) -> Result<Option<Value>, FacilitatorError> {
        let id = id.to_string();
        let answer = self.get(&format!("/payments/{id}")).await.map_err(error_of)?;
        match answer.status {
            200 => {}
            404 => return Ok(None),
            _ => return Err(self.refusal(&answer)),
        }
        let statement: Value = self.message(&answer).map_err(FacilitatorError::Malformed)?;
        if statement.get("payment").is_some_and(|named| *named != id) {
            return Err(FacilitatorError::Malformed("the statement is about another payment".into()));
        }
        Ok(Some(statement))
    }

    async fn ask_balances(
        &self,
        request: &BalancesRequest,
    ) -> Result<Option<BalancesResponse>, FacilitatorError> {
        let answer = self.post("/balances", request).await.map_err(error_of)?;
        match answer.status {
            200 => self.message(&answer).map(Some).map_err(FacilitatorError::Malformed),
            404 | 405 => Ok(None),
            _ => Err(self.refusal(&answer)),
        }
    }

    async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.wire.exchange(&format!("{}{path}", self.base), None).await
    }

    async fn post(&self, path: &str, request: &impl Serialize) -> Result<Answer, Failure> {
        let body = serde_json::to_vec(request)
            .map_err(|error| Failure::NotSent(format!("the request has no JSON form: {error}")))?;
        self.wire.exchange(&format!("{}{path}", self.base), Some(body)).await
    }

    /// The message in an answer, or why it holds none.
    fn message<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, String> {
        let status = answer.status;
        if status != 200 && status < 400 {
            return Err(format!("HTTP status {status} is no answer to this"));
        }
        let problem = status >= 400 && answer.is_of_type(problem::CONTENT_TYPE);
        if !problem && !answer.is_of_type("application/json") {
            return Err(format!("HTTP status {status}, and the body is not application/json"));
        }
        json::read(&answer.body, &self.limits)
            .map_err(|fault| format!("HTTP status {status}, and the body {fault}"))
    }

    /// What an answer without a message of the protocol stands for.
    fn refusal(&self, answer: &Answer) -> FacilitatorError {
        let status = answer.status;
        let why = format!("HTTP status {status}");
        let code = self.message::<Problem>(answer).map(|problem| problem.code);
        match status {
            401 | 403 => FacilitatorError::Forbidden(why),
            502 if code.is_ok_and(|code| code == NETWORK_MALFORMED) => FacilitatorError::Malformed(why),
            408 | 429 | 500.. => FacilitatorError::Unreachable(why),
            _ => FacilitatorError::Malformed(why),
        }
    }
}

/// What a refusal must say at least.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refused {
    success: bool,
    error_reason: Option<String>,
    error_message: Option<String>,
    payer: Option<String>,
    transaction: Option<String>,
    network: Option<String>,
}

impl From<Refused> for SettlementResponse {
    fn from(refused: Refused) -> Self {
        let Refused { success, error_reason, error_message, payer, transaction, network } = refused;
        let (transaction, network) = (transaction.unwrap_or_default(), network.unwrap_or_default());
        Self { success, error_reason, error_message, payer, transaction, network, ..Self::default() }
    }
}

fn error_of(failure: Failure) -> FacilitatorError {
    match failure {
        Failure::NotSent(why) | Failure::NoAnswer(why) => FacilitatorError::Unreachable(why),
        Failure::TooLong { .. } => FacilitatorError::Malformed(failure.to_string()),
    }
}

impl Facilitator for RemoteFacilitator {
    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        Box::pin(self.ask_supported())
    }

    fn verify<'a>(
        &'a self,
        request: &'a FacilitatorRequest,
    ) -> BoxFuture<'a, Result<VerifyResponse, FacilitatorError>> {
        Box::pin(self.ask_verify(request))
    }

    fn settle<'a>(&'a self, request: &'a FacilitatorRequest) -> BoxFuture<'a, Outcome> {
        Box::pin(self.ask_settle(request))
    }

    fn payment<'a>(&'a self, id: &'a PaymentId) -> BoxFuture<'a, Result<Option<Value>, FacilitatorError>> {
        Box::pin(self.ask_payment(id))
    }

    fn balances<'a>(
        &'a self,
        request: &'a BalancesRequest,
    ) -> BoxFuture<'a, Result<Option<BalancesResponse>, FacilitatorError>> {
        Box::pin(self.ask_balances(request))
    }
}

impl fmt::Debug for RemoteFacilitator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteFacilitator").field("url", &self.base).finish_non_exhaustive()
    }
}

impl fmt::Debug for RemoteBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteBuilder")
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
