//! A facilitator in this process: each request goes to the rail that settles its scheme on its network.

use std::fmt;
use std::sync::Arc;

use farthing_protocol::rail::{
    BalancesRequest, BalancesResponse, BoxFuture, Facilitator, FacilitatorError, Outcome, PaymentId, Settle,
    Tenant, UnknownOutcome,
};
use farthing_protocol::reason;
use farthing_protocol::v2::{FacilitatorRequest, SettlementResponse, SupportedResponse, VerifyResponse};
use farthing_protocol::{v1, v2};
use serde_json::Value;

use crate::ConfigError;
use crate::by_network::add_new;
use crate::judge::{self, Fault, Task};
use crate::v1::{FacilitatorRequestV1, named, network_of_kind};

/// Routes verify and settle to rails. Cheap to clone.
#[derive(Clone)]
pub struct LocalFacilitator {
    rails: Arc<[Arc<dyn Settle>]>,
    routes: Arc<[Route]>,
}

/// One kind, and the index of the rail that settles it.
struct Route {
    version: u64,
    scheme: String,
    /// CAIP-2 id, in both versions.
    network: String,
    rail: usize,
}

/// Collects the rails of a [`LocalFacilitator`].
#[derive(Debug, Default)]
pub struct LocalBuilder {
    rails: Vec<Arc<dyn Settle>>,
}

impl LocalBuilder {
    /// Adds a rail.
    #[must_use]
    pub fn rail(mut self, rail: Arc<dyn Settle>) -> Self {
        self.rails.push(rail);
        self
    }

    /// Asks every rail what it settles, once, and makes the routes.
    ///
    /// # Errors
    /// [`ConfigError::NoRails`], [`ConfigError::KindTwice`] or [`ConfigError::NetworkName`].
    pub fn build(self) -> Result<LocalFacilitator, ConfigError> {
        if self.rails.is_empty() {
            return Err(ConfigError::NoRails);
        }
        let mut routes: Vec<Route> = Vec::new();
        for (rail, settle) in self.rails.iter().enumerate() {
            for kind in settle.kinds() {
                let (version, scheme) = (kind.x402_version, kind.scheme);
                let Some(network) = network_of_kind(version, &kind.network) else {
                    return Err(ConfigError::NetworkName { network: kind.network });
                };
                let route = Route { version, scheme, network, rail };
                if routes.iter().any(|other| other.settles(route.version, &route.scheme, &route.network)) {
                    let Route { version, scheme, network, .. } = route;
                    return Err(ConfigError::KindTwice { version, scheme, network });
                }
                routes.push(route);
            }
        }
        Ok(LocalFacilitator { rails: self.rails.into(), routes: routes.into() })
    }
}

impl Route {
    fn settles(&self, version: u64, scheme: &str, network: &str) -> bool {
        self.version == version && self.scheme == scheme && self.network == network
    }
}

impl LocalFacilitator {
    /// Starts with no rails.
    pub fn builder() -> LocalBuilder {
        LocalBuilder::default()
    }

    /// A facilitator that settles what `rails` settle.
    ///
    /// # Errors
    /// [`ConfigError::NoRails`], or [`ConfigError::KindTwice`] when two rails settle the same kind.
    pub fn new(rails: Vec<Arc<dyn Settle>>) -> Result<Self, ConfigError> {
        LocalBuilder { rails }.build()
    }

    /// [`Facilitator::verify`] on behalf of `caller`.
    ///
    /// A payment that nothing here settles is invalid, with reason `invalid_scheme` or `invalid_network`.
    ///
    /// # Errors
    /// When the rail cannot say.
    pub async fn verify_as(
        &self,
        caller: &Tenant,
        request: &FacilitatorRequest,
    ) -> Result<VerifyResponse, FacilitatorError> {
        match judge::version(request) {
            Ok(()) => self.verify_in(v2::VERSION, caller, request).await,
            Err(fault) => Ok(judge::not_valid(fault)),
        }
    }

    /// [`verify_as`](Self::verify_as) for a payment of version 1.
    ///
    /// # Errors
    /// When the rail cannot say.
    pub async fn verify_v1_as(
        &self,
        caller: &Tenant,
        request: &FacilitatorRequestV1,
    ) -> Result<VerifyResponse, FacilitatorError> {
        match request.translate() {
            Ok(request) => self.verify_in(v1::VERSION, caller, &request).await,
            Err(fault) => Ok(judge::not_valid(fault)),
        }
    }

    async fn verify_in(
        &self,
        version: u64,
        caller: &Tenant,
        request: &FacilitatorRequest,
    ) -> Result<VerifyResponse, FacilitatorError> {
        let rail = match self.route(version, request, Task::Verify) {
            Ok(rail) => rail,
            Err(fault) => return Ok(judge::not_valid(fault)),
        };
        match rail.verify(caller, request).await {
            Ok(answer) => judge::verification(answer),
            Err(FacilitatorError::Unsupported { .. }) => Ok(judge::not_valid(UNSUPPORTED_SCHEME)),
            Err(error) => Err(error),
        }
    }

    /// [`Facilitator::settle`] on behalf of `caller`.
    ///
    /// Refused without asking a rail: a payment that nothing here settles (`invalid_scheme`,
    /// `invalid_network`), and one whose accepted scheme, network, amount, asset or payee are not those of
    /// `paymentRequirements` (`invalid_payment_requirements`). The amount of scheme `upto` may be lower there: it is
    /// what was used.
    pub async fn settle_as(&self, caller: &Tenant, request: &FacilitatorRequest) -> Outcome {
        match judge::version(request) {
            Ok(()) => self.settle_in(v2::VERSION, caller, request).await,
            Err(fault) => judge::not_settled(request, fault),
        }
    }

    /// [`settle_as`](Self::settle_as) for a payment of version 1; the answer calls the network as the request does.
    pub async fn settle_v1_as(&self, caller: &Tenant, request: &FacilitatorRequestV1) -> Outcome {
        match request.translate() {
            Ok(translated) => {
                named(self.settle_in(v1::VERSION, caller, &translated).await, request.network())
            }
            Err((reason, message)) => Outcome::NotSettled(SettlementResponse {
                error_reason: Some(reason.to_owned()),
                error_message: Some(message.to_owned()),
                network: request.network().to_owned(),
                ..SettlementResponse::default()
            }),
        }
    }

    async fn settle_in(&self, version: u64, caller: &Tenant, request: &FacilitatorRequest) -> Outcome {
        let rail = match self.route(version, request, Task::Settle) {
            Ok(rail) => rail,
            Err(fault) => return judge::not_settled(request, fault),
        };
        match rail.settle(caller, request).await {
            Outcome::Settled(answer) if answer.success => judge::settlement(request, answer),
            Outcome::NotSettled(answer) if !answer.success => judge::settlement(request, answer),
            Outcome::Unknown(why) => Outcome::Unknown(why),
            Outcome::Settled(_) | Outcome::NotSettled(_) => {
                Outcome::Unknown(UnknownOutcome("the rail's answer contradicts its outcome".into()))
            }
        }
    }

    /// The rail for a request that is worth looking at.
    fn route(&self, version: u64, request: &FacilitatorRequest, task: Task) -> Result<&dyn Settle, Fault> {
        judge::same_offer(request, task)?;
        let offer = &request.payment_requirements;
        let network = offer.network.as_str();
        let mut here = self.routes.iter().filter(|route| route.network == network).peekable();
        if here.peek().is_none() {
            return Err((reason::INVALID_NETWORK, "nothing here settles on this network"));
        }
        here.find(|route| route.settles(version, &offer.scheme, network))
            .and_then(|route| self.rails.get(route.rail))
            .map(AsRef::as_ref)
            .ok_or((reason::INVALID_SCHEME, "nothing here settles this scheme on this network"))
    }

    /// Asks every rail; the word of one that knows the payment wins over that of one that never saw it.
    async fn find(&self, id: &PaymentId) -> Result<Option<Value>, FacilitatorError> {
        let mut absent = None;
        let mut failed = None;
        for rail in self.rails.iter() {
            match rail.payment(id).await {
                Ok(Some(statement)) if statement.get("state").is_some_and(|state| state == "absent") => {
                    absent.get_or_insert(statement);
                }
                Ok(Some(statement)) => return Ok(Some(statement)),
                Ok(None) => {}
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        // The rail that failed may be the one that knows.
        failed.map_or(Ok(absent), Err)
    }
}

/// What a rail refuses although it was routed here.
const UNSUPPORTED_SCHEME: Fault = (reason::INVALID_SCHEME, "the rail does not settle this");

impl Facilitator for LocalFacilitator {
    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        let mut supported = SupportedResponse::default();
        for rail in self.rails.iter() {
            supported.kinds.extend(rail.kinds());
            add_new(&mut supported.extensions, rail.extensions());
            for (pattern, addresses) in rail.signers() {
                add_new(supported.signers.entry(pattern).or_default(), addresses);
            }
        }
        Box::pin(std::future::ready(Ok(supported)))
    }

    fn verify<'a>(
        &'a self,
        request: &'a FacilitatorRequest,
    ) -> BoxFuture<'a, Result<VerifyResponse, FacilitatorError>> {
        Box::pin(async move { self.verify_as(&Tenant::local(), request).await })
    }

    fn settle<'a>(&'a self, request: &'a FacilitatorRequest) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { self.settle_as(&Tenant::local(), request).await })
    }

    fn payment<'a>(&'a self, id: &'a PaymentId) -> BoxFuture<'a, Result<Option<Value>, FacilitatorError>> {
        Box::pin(self.find(id))
    }

    fn balances<'a>(
        &'a self,
        request: &'a BalancesRequest,
    ) -> BoxFuture<'a, Result<Option<BalancesResponse>, FacilitatorError>> {
        let network = request.network.as_str();
        let route = self.routes.iter().find(|route| route.network == network);
        match route.and_then(|route| self.rails.get(route.rail)) {
            Some(rail) => rail.balances(request),
            None => Box::pin(std::future::ready(Ok(None))),
        }
    }
}

impl fmt::Debug for LocalFacilitator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.routes.iter().map(|route| format!("{} on {}", route.scheme, route.network));
        f.debug_tuple("LocalFacilitator").field(&kinds.collect::<Vec<_>>()).finish()
    }
}
