//! A facilitator that stands between a server and the real one, and meddles.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use farthing::protocol::rail::{
    BoxFuture, Facilitator, FacilitatorError, Outcome, PaymentId, UnknownOutcome,
};
use farthing::protocol::v2::{FacilitatorRequest, SettlementResponse, SupportedResponse, VerifyResponse};
use serde_json::Value;
use tokio::sync::Semaphore;

/// What happens to a settlement.
#[derive(Clone, Debug)]
pub enum Meddling {
    /// It is refused for this reason; the real facilitator never hears of it.
    Refuse(&'static str),
    /// It is lost on the way there: nothing happens, and nobody knows.
    Lose,
    /// Its answer is lost on the way back: it happens, and nobody knows.
    Silence,
    /// It waits for a permit, then happens.
    Wait(Arc<Semaphore>),
    /// The process dies before the real facilitator hears of it.
    DieBefore,
    /// The process dies when it has happened.
    DieAfter,
}

/// Meddles with settlements by their kind: `authorize`, `capture`, `void`, `refund`.
#[derive(Debug)]
pub struct Meddler {
    inner: Arc<dyn Facilitator>,
    plans: Mutex<HashMap<&'static str, Meddling>>,
    calls: Mutex<Vec<String>>,
}

impl Meddler {
    /// In front of `inner`, honest until told otherwise.
    pub fn new(inner: Arc<dyn Facilitator>) -> Arc<Self> {
        Arc::new(Self { inner, plans: Mutex::default(), calls: Mutex::default() })
    }

    /// Meddles from now on with settlements of `kind`.
    pub fn meddle(&self, kind: &'static str, how: Meddling) {
        self.plans.lock().unwrap().insert(kind, how);
    }

    /// Is honest again.
    pub fn behave(&self) {
        self.plans.lock().unwrap().clear();
    }

    /// The kinds of all settlements that were asked for, in their order.
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

/// `payload.type`: what a settlement is.
fn kind(request: &FacilitatorRequest) -> String {
    let payload: Value = serde_json::from_str(request.payment_payload.payload.get()).unwrap_or_default();
    payload["type"].as_str().unwrap_or("authorize").to_owned()
}

impl Facilitator for Meddler {
    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        self.inner.supported()
    }

    fn verify<'a>(
        &'a self,
        request: &'a FacilitatorRequest,
    ) -> BoxFuture<'a, Result<VerifyResponse, FacilitatorError>> {
        self.inner.verify(request)
    }

    fn settle<'a>(&'a self, request: &'a FacilitatorRequest) -> BoxFuture<'a, Outcome> {
        let kind = kind(request);
        let plan = self.plans.lock().unwrap().get(kind.as_str()).cloned();
        self.calls.lock().unwrap().push(kind);
        let unknown = || Outcome::Unknown(UnknownOutcome("the line went dead".into()));
        Box::pin(async move {
            match plan {
                None => self.inner.settle(request).await,
                Some(Meddling::Refuse(reason)) => {
                    let network = &request.payment_requirements.network;
                    Outcome::NotSettled(SettlementResponse::refused(network, reason, "meddled with"))
                }
                Some(Meddling::Lose) => unknown(),
                Some(Meddling::Silence) => {
                    self.inner.settle(request).await;
                    unknown()
                }
                Some(Meddling::Wait(gate)) => {
                    gate.acquire().await.expect("the gate is never closed").forget();
                    self.inner.settle(request).await
                }
                Some(Meddling::DieBefore) => std::process::abort(),
                Some(Meddling::DieAfter) => {
                    self.inner.settle(request).await;
                    std::process::abort()
                }
            }
        })
    }

    fn payment<'a>(&'a self, id: &'a PaymentId) -> BoxFuture<'a, Result<Option<Value>, FacilitatorError>> {
        self.inner.payment(id)
    }
}
