//! A rail that says what a test tells it to, and the ways to reach it.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use farthing_facilitator::http::{self, HttpOptions};
use farthing_facilitator::{LocalFacilitator, RemoteFacilitator};
use farthing_protocol::rail::{BoxFuture, FacilitatorError, Outcome, PaymentId, Settle, Tenant};
use farthing_protocol::v2::{FacilitatorRequest, SettlementResponse, SupportedKind, VerifyResponse};
use farthing_protocol::{Amount, Limits, json};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const NETWORK: &str = "farthing:00112233445566778899aabbccddeeff";
pub(crate) const OTHER_NETWORK: &str = "farthing:ffffffffffffffffffffffffffffffff";
pub(crate) const TOKEN: &str = "test-token-0123456789-abcdef";

/// What the rail does, and what it was asked.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) kinds: Vec<SupportedKind>,
    pub(crate) verify: Mutex<Result<VerifyResponse, FacilitatorError>>,
    pub(crate) settle: Mutex<Outcome>,
    pub(crate) payment: Mutex<Result<Option<Value>, FacilitatorError>>,
    pub(crate) delay: Mutex<Duration>,
    pub(crate) panics: Mutex<bool>,
    pub(crate) calls: Mutex<Vec<(&'static str, Tenant)>>,
    /// The last request, as the rail saw it.
    pub(crate) seen: Mutex<Option<FacilitatorRequest>>,
    pub(crate) extensions: Vec<String>,
    pub(crate) signers: Vec<(String, Vec<String>)>,
    pub(crate) settles_finished: AtomicUsize,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            kinds: vec![kind("auth-capture", NETWORK), kind("exact", NETWORK)],
            verify: Mutex::new(Ok(VerifyResponse { is_valid: true, ..VerifyResponse::default() })),
            settle: Mutex::new(Outcome::Settled(settled())),
            payment: Mutex::new(Ok(None)),
            delay: Mutex::default(),
            panics: Mutex::default(),
            calls: Mutex::default(),
            seen: Mutex::default(),
            extensions: Vec::new(),
            signers: Vec::new(),
            settles_finished: AtomicUsize::default(),
        }
    }
}

impl Script {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn local(self: &Arc<Self>) -> LocalFacilitator {
        LocalFacilitator::new(vec![Arc::clone(self) as Arc<dyn Settle>]).unwrap()
    }

    pub(crate) fn count(&self, call: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|(name, _)| *name == call).count()
    }

    pub(crate) fn settles(&self) -> usize {
        self.count("settle")
    }

    async fn called(&self, name: &'static str, caller: &Tenant) {
        self.calls.lock().unwrap().push((name, caller.clone()));
        let delay = *self.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        assert!(!*self.panics.lock().unwrap(), "the script says so");
    }
}

impl Settle for Script {
    fn kinds(&self) -> Vec<SupportedKind> {
        self.kinds.clone()
    }

    fn extensions(&self) -> Vec<String> {
        self.extensions.clone()
    }

    fn signers(&self) -> Vec<(String, Vec<String>)> {
        self.signers.clone()
    }

    fn verify<'a>(
        &'a self,
        caller: &'a Tenant,
        request: &'a FacilitatorRequest,
    ) -> BoxFuture<'a, Result<VerifyResponse, FacilitatorError>> {
        Box::pin(async move {
            *self.seen.lock().unwrap() = Some(request.clone());
            self.called("verify", caller).await;
            self.verify.lock().unwrap().clone()
        })
    }

    fn settle<'a>(&'a self, caller: &'a Tenant, request: &'a FacilitatorRequest) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            *self.seen.lock().unwrap() = Some(request.clone());
            self.called("settle", caller).await;
            self.settles_finished.fetch_add(1, SeqCst);
            self.settle.lock().unwrap().clone()
        })
    }

    fn payment<'a>(&'a self, _: &'a PaymentId) -> BoxFuture<'a, Result<Option<Value>, FacilitatorError>> {
        Box::pin(async move {
            self.called("payment", &Tenant::local()).await;
            self.payment.lock().unwrap().clone()
        })
    }
}

pub(crate) fn kind(scheme: &str, network: &str) -> SupportedKind {
    let extra = json!({ "assets": [{ "asset": "XTS", "scale": 6 }] });
    SupportedKind {
        x402_version: 2,
        scheme: scheme.into(),
        network: network.into(),
        extra: extra.as_object().cloned(),
    }
}

pub(crate) fn settled() -> SettlementResponse {
    SettlementResponse {
        success: true,
        payer: Some("ab".repeat(32)),
        transaction: "cd".repeat(32),
        network: NETWORK.into(),
        amount: Some(Amount(1000)),
        ..SettlementResponse::default()
    }
}

pub(crate) fn refused(reason: &str) -> SettlementResponse {
    SettlementResponse::refused(&NETWORK.parse().unwrap(), reason, "says the script")
}

/// A well-formed request, as JSON to be spoiled.
pub(crate) fn request_json() -> Value {
    let offer = json!({
        "scheme": "auth-capture", "network": NETWORK, "amount": "1000", "asset": "XTS",
        "payTo": "ee".repeat(32), "maxTimeoutSeconds": 300, "extra": {},
    });
    json!({
        "x402Version": 2,
        "paymentPayload": {
            "x402Version": 2, "accepted": offer, "payload": { "signature": "5e".repeat(64) },
        },
        "paymentRequirements": offer,
    })
}

pub(crate) fn request_of(value: &Value) -> FacilitatorRequest {
    json::read(value.to_string().as_bytes(), &Limits::default()).unwrap()
}

pub(crate) fn request() -> FacilitatorRequest {
    request_of(&request_json())
}

/// Starts the service on a port of its own.
pub(crate) async fn serve(local: LocalFacilitator, options: HttpOptions) -> SocketAddr {
    serve_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), local, options)
}

pub(crate) fn serve_on(listener: TcpListener, local: LocalFacilitator, options: HttpOptions) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, http::service(local, options)).await });
    address
}

pub(crate) fn remote(address: SocketAddr) -> RemoteFacilitator {
    RemoteFacilitator::builder(format!("http://{address}/")).build().unwrap()
}

/// An outcome in a form that can be compared.
pub(crate) fn told(outcome: &Outcome) -> (&'static str, Value) {
    match outcome {
        Outcome::Settled(answer) => ("settled", serde_json::to_value(answer).unwrap()),
        Outcome::NotSettled(answer) => ("not settled", serde_json::to_value(answer).unwrap()),
        // Why nobody knows is for the log of whoever found out.
        Outcome::Unknown(_) => ("unknown", Value::Null),
    }
}
