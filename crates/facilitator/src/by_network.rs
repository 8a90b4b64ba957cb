//! Several facilitators that look like one to a server: each network has its own.

use std::fmt;
use std::sync::Arc;

use farthing_protocol::Network;
use farthing_protocol::rail::{BalancesRequest, BalancesResponse};
use farthing_protocol::rail::{BoxFuture, Facilitator, FacilitatorError, Outcome, PaymentId};
use farthing_protocol::v1;
use farthing_protocol::v2::{FacilitatorRequest, SupportedKind, SupportedResponse, VerifyResponse};
use serde_json::Value;

/// A facilitator that leaves some networks to others. Cheap to clone.
#[derive(Clone)]
pub struct ByNetwork {
    rest: Arc<dyn Facilitator>,
    others: Vec<(Network, Arc<dyn Facilitator>)>,
}

impl ByNetwork {
    /// Leaves everything to `rest`.
    pub fn new(rest: Arc<dyn Facilitator>) -> Self {
        Self { rest, others: Vec::new() }
    }

    /// Leaves `network` to `facilitator`; the last word on a network counts.
    #[must_use]
    pub fn on(mut self, network: Network, facilitator: Arc<dyn Facilitator>) -> Self {
        self.others.retain(|(other, _)| *other != network);
        self.others.push((network, facilitator));
        self
    }

    fn of(&self, network: &Network) -> &dyn Facilitator {
        let other = self.others.iter().find(|(other, _)| other == network);
        other.map_or(&self.rest, |(_, facilitator)| facilitator).as_ref()
    }

    /// Each facilitator's word on the networks that are left to it.
    async fn all_supported(&self) -> Result<SupportedResponse, FacilitatorError> {
        let is_left = |kind: &SupportedKind, to: Option<&Network>| {
            let network = match kind.x402_version {
                v1::VERSION => v1::network_of(&kind.network),
                _ => kind.network.parse().ok(),
            };
            match to {
                Some(to) => network.as_ref() == Some(to),
                None => !self.others.iter().any(|(other, _)| network.as_ref() == Some(other)),
            }
        };
        let mut all = self.rest.supported().await?;
        all.kinds.retain(|kind| is_left(kind, None));
        for (network, facilitator) in &self.others {
            let supported = facilitator.supported().await?;
            all.kinds.extend(supported.kinds.into_iter().filter(|kind| is_left(kind, Some(network))));
            add_new(&mut all.extensions, supported.extensions);
            for (pattern, addresses) in supported.signers {
                add_new(all.signers.entry(pattern).or_default(), addresses);
            }
        }
        Ok(all)
    }

    async fn find(&self, id: &PaymentId) -> Result<Option<Value>, FacilitatorError> {
        let mut last = self.rest.payment(id).await;
        for (_, facilitator) in &self.others {
            if matches!(&last, Ok(Some(_))) {
                break;
            }
            match (facilitator.payment(id).await, &last) {
                // One that failed may be the one that knows.
                (Ok(None), Err(_)) => {}
                (word, _) => last = word,
            }
        }
        last
    }
}

/// Adds what is not there yet.
pub(crate) fn add_new(known: &mut Vec<String>, more: Vec<String>) {
    for one in more {
        if !known.contains(&one) {
            known.push(one);
        }
    }
}

impl Facilitator for ByNetwork {
    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        Box::pin(self.all_supported())
    }

    fn verify<'a>(
        &'a self,
        request: &'a FacilitatorRequest,
    ) -> BoxFuture<'a, Result<VerifyResponse, FacilitatorError>> {
        self.of(&request.payment_requirements.network).verify(request)
    }

    fn settle<'a>(&'a self, request: &'a FacilitatorRequest) -> BoxFuture<'a, Outcome> {
        self.of(&request.payment_requirements.network).settle(request)
    }

    fn payment<'a>(&'a self, id: &'a PaymentId) -> BoxFuture<'a, Result<Option<Value>, FacilitatorError>> {
        Box::pin(self.find(id))
    }

    fn balances<'a>(
        &'a self,
        request: &'a BalancesRequest,
    ) -> BoxFuture<'a, Result<Option<BalancesResponse>, FacilitatorError>> {
        self.of(&request.network).balances(request)
    }
}

impl fmt::Debug for ByNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByNetwork").field("rest", &self.rest).field("others", &self.others).finish()
    }
}
