//! The facilitator's HTTP API (`spec/facilitator-http.md`) as an axum router.
//!
//! Limits come before work: caller, media type, size, JSON, version, and only then a rail. A settlement
//! that was handed to a rail is finished even when its caller hangs up or the time is over.

mod answer;
mod options;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, Request};
use axum::response::Response;
use axum::routing::{get, post};
use farthing_protocol::rail::{
    BalancesRequest, Facilitator, FacilitatorError, Outcome, PaymentId, Tenant, UnknownOutcome,
};
use farthing_protocol::v2::{FacilitatorRequest, VerifyResponse};
use farthing_protocol::{WireError, json, v1, v2};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::discovery::{self, Filter};
use crate::{FacilitatorRequestV1, LocalFacilitator};
use answer::Refusal;
pub use options::HttpOptions;

/// The routes `POST /verify`, `POST /settle`, `GET /supported`, `GET /payments/{id}`, `POST /balances`, `GET /healthz` and, with a
/// [catalogue](HttpOptions::catalogue), `GET /discovery/resources`.
///
/// Everything else is answered 404 or 405; every refusal has a problem (RFC 9457) as its body.
pub fn service(local: LocalFacilitator, options: HttpOptions) -> Router {
    let settles = Arc::new(Semaphore::new(options.concurrent_settles.min(Semaphore::MAX_PERMITS)));
    Router::new()
        .route("/verify", post(verify))
        .route("/settle", post(settle))
        .route("/supported", get(supported))
        .route("/payments/{id}", get(payment))
        .route("/balances", post(balances))
        .route("/discovery/resources", get(resources))
        .route("/healthz", get(async || answer::ok(&serde_json::json!({ "status": "ok" }))))
        .fallback(async || Refusal::NoSuchPath)
        .method_not_allowed_fallback(async || Refusal::WrongMethod)
        .with_state(Service { local, options: Arc::new(options), settles })
}

/// What the handlers share.
#[derive(Clone)]
struct Service {
    local: LocalFacilitator,
    options: Arc<HttpOptions>,
    settles: Arc<Semaphore>,
}

async fn verify(State(service): State<Service>, request: Request<Body>) -> Result<Response, Refusal> {
    let deadline = service.deadline();
    let caller = service.options.caller(request.headers()).ok_or(Refusal::Unauthorized)?;
    let asked = service.read(request, deadline).await?;
    let answer = match timeout_at(deadline, asked.verify(&service.local, &caller)).await {
        Ok(answer) => answer.map_err(Refusal::Facilitator)?,
        Err(_) => return Err(Refusal::TooSlow),
    };
    if answer.is_valid {
        service.notice(&caller, &asked);
    }
    Ok(answer::ok(&answer))
}

async fn settle(State(service): State<Service>, request: Request<Body>) -> Result<Response, Refusal> {
    let deadline = service.deadline();
    let caller = service.options.caller(request.headers()).ok_or(Refusal::Unauthorized)?;
    let asked = Arc::new(service.read(request, deadline).await?);
    let permit = Arc::clone(&service.settles).try_acquire_owned().map_err(|_| Refusal::Busy)?;

    // A task of its own: it ends when the rail does, whoever still listens.
    let task = tokio::spawn({
        let (service, asked) = (service, Arc::clone(&asked));
        async move {
            let outcome = asked.settle(&service.local, &caller).await;
            drop(permit);
            if matches!(outcome, Outcome::Settled(_)) {
                service.notice(&caller, &asked);
            }
            outcome
        }
    });
    let outcome = match timeout_at(deadline, task).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Outcome::Unknown(UnknownOutcome("the rail stopped in the middle".into())),
        Err(_) => Outcome::Unknown(UnknownOutcome("the rail took too long".into())),
    };
    Ok(answer::outcome(asked.network(), &outcome))
}

async fn supported(State(service): State<Service>) -> Result<Response, Refusal> {
    match timeout_at(service.deadline(), service.local.supported()).await {
        Ok(Ok(mut answer)) => {
            let bazaar = service.options.catalogue.is_some().then(|| discovery::EXTENSION.to_owned());
            answer.extensions.extend(bazaar);
            Ok(answer::ok(&answer))
        }
        Ok(Err(error)) => Err(Refusal::Facilitator(error)),
        Err(_) => Err(Refusal::TooSlow),
    }
}

async fn resources(
    State(service): State<Service>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Some(catalogue) = &service.options.catalogue else { return Err(Refusal::NoSuchPath) };
    let Ok(Query(filter)) = filter else { return Err(Refusal::BadQuery) };
    match timeout_at(service.deadline(), catalogue.list(&filter)).await {
        Ok(Ok(page)) => Ok(answer::ok(&page)),
        Ok(Err(error)) => Err(Refusal::Records(error)),
        Err(_) => Err(Refusal::TooSlow),
    }
}

async fn payment(
    State(service): State<Service>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    // What is not even text is not an id either.
    let id = id.map(|Path(id)| id).unwrap_or_default();
    let id: PaymentId = id.parse().map_err(Refusal::Malformed)?;
    match timeout_at(service.deadline(), service.local.payment(&id)).await {
        Ok(Ok(Some(statement))) => Ok(answer::ok(&statement)),
        Ok(Ok(None)) => Err(Refusal::PaymentUnknown),
        Ok(Err(error)) => Err(Refusal::Facilitator(error)),
        Err(_) => Err(Refusal::TooSlow),
    }
}

async fn balances(State(service): State<Service>, request: Request<Body>) -> Result<Response, Refusal> {
    let deadline = service.deadline();
    let body = service.body(request, deadline).await?;
    let asked: BalancesRequest = json::read(&body, &service.options.limits).map_err(Refusal::Malformed)?;
    match timeout_at(deadline, service.local.balances(&asked)).await {
        Ok(Ok(Some(said))) => Ok(answer::ok(&said)),
        Ok(Ok(None)) => Err(Refusal::NoBalances),
        Ok(Err(error)) => Err(Refusal::Facilitator(error)),
        Err(_) => Err(Refusal::TooSlow),
    }
}

impl Service {
    fn deadline(&self) -> Instant {
        let now = Instant::now();
        // Only a time that no clock reaches cannot be added: then a day is as good.
        now.checked_add(self.options.timeout).unwrap_or(now + Duration::from_secs(86_400))
    }

    /// Reads what `/verify` and `/settle` are asked.
    async fn read(&self, request: Request<Body>, deadline: Instant) -> Result<Asked, Refusal> {
        let body = self.body(request, deadline).await?;
        self.parse(&body).map_err(Refusal::Malformed)
    }

    /// Reads a body of JSON.
    async fn body(&self, request: Request<Body>, deadline: Instant) -> Result<Bytes, Refusal> {
        let limit = self.options.limits.json_body_bytes;
        let (parts, body) = request.into_parts();
        if !is_plain_json(&parts.headers) {
            return Err(Refusal::NotJson);
        }
        let announced =
            parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: u64| length > limit as u64) {
            return Err(Refusal::TooLarge { limit });
        }
        match timeout_at(deadline, Limited::new(body, limit).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge { limit }),
            Ok(Err(_)) => Err(Refusal::BodyBroken),
            Err(_) => Err(Refusal::BodyTooSlow),
        }
    }

    fn parse(&self, body: &[u8]) -> Result<Asked, WireError> {
        let limits = &self.options.limits;
        match json::read::<FacilitatorRequest>(body, limits) {
            Ok(request) => {
                let versions = [request.x402_version, request.payment_payload.x402_version];
                of_version(v2::VERSION, versions).map(|()| Asked::V2(request))
            }
            // Messages of another version have other members: the version is what is wrong with them.
            Err(WireError::Member { path, why }) => match json::read::<Versioned>(body, limits) {
                Ok(Versioned { x402_version: v1::VERSION }) => {
                    let request = json::read::<FacilitatorRequestV1>(body, limits)?;
                    let versions = [request.x402_version, request.payment_payload.x402_version];
                    of_version(v1::VERSION, versions).map(|()| Asked::V1(request))
                }
                Ok(Versioned { x402_version }) if x402_version != v2::VERSION => {
                    of_version(v2::VERSION, [x402_version]).and(Err(WireError::Member { path, why }))
                }
                _ => Err(WireError::Member { path, why }),
            },
            Err(fault) => Err(fault),
        }
    }

    /// A payment proved that somebody pays for a resource: the catalogue may want to know.
    fn notice(&self, caller: &Tenant, asked: &Asked) {
        if let (Some(catalogue), Asked::V2(request)) = (&self.options.catalogue, asked) {
            catalogue.notice(self.options.origins(caller), request);
        }
    }
}

/// What is asked, in the version that it is asked in.
#[derive(Debug)]
enum Asked {
    V2(FacilitatorRequest),
    V1(FacilitatorRequestV1),
}

impl Asked {
    /// The network, as the request calls it.
    fn network(&self) -> &str {
        match self {
            Self::V2(request) => request.payment_requirements.network.as_str(),
            Self::V1(request) => request.network(),
        }
    }

    async fn verify(
        &self,
        local: &LocalFacilitator,
        caller: &Tenant,
    ) -> Result<VerifyResponse, FacilitatorError> {
        match self {
            Self::V2(request) => local.verify_as(caller, request).await,
            Self::V1(request) => local.verify_v1_as(caller, request).await,
        }
    }

    async fn settle(&self, local: &LocalFacilitator, caller: &Tenant) -> Outcome {
        match self {
            Self::V2(request) => local.settle_as(caller, request).await,
            Self::V1(request) => local.settle_v1_as(caller, request).await,
        }
    }
}

/// Whether all of a request is in the version that it says.
fn of_version<const N: usize>(expected: u64, versions: [u64; N]) -> Result<(), WireError> {
    match versions.into_iter().find(|found| *found != expected) {
        Some(found) => Err(WireError::Version { found: found.to_string(), expected }),
        None => Ok(()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versioned {
    x402_version: u64,
}

/// `application/json`, in UTF-8, as it is.
fn is_plain_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(Ok(media_type)), None) = (types.next().map(|value| value.to_str()), types.next()) else {
        return false;
    };
    let mut parts = media_type.split(';').map(str::trim);
    let json = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("application/json"));
    let utf8 = parts.all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        !name.eq_ignore_ascii_case("charset") || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    json && utf8 && headers.get_all(CONTENT_ENCODING).iter().all(|coding| coding == "identity")
}
