//! What a settlement asks for, read from its bytes as an onlooker reads them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use farthing::farthing_ledger::operation::{Action, Op};
use farthing::farthing_ledger::terms::payment_id;
use farthing::protocol::rail::PaymentId;
use farthing::protocol::v2::FacilitatorRequest;
use serde_json::Value;

/// What is asked for, and for which payments: one, except for captures under one signature.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) what: What,
    pub(crate) payments: Vec<PaymentId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Authorize,
    Capture,
    Void,
    Other,
}

impl Asked {
    pub(crate) fn of(request: &FacilitatorRequest) -> Self {
        let nothing = Self { what: What::Other, payments: Vec::new() };
        Self::read(request.payment_payload.payload.get()).unwrap_or(nothing)
    }

    fn read(payload: &str) -> Option<Self> {
        let payload: Value = serde_json::from_str(payload).ok()?;
        let bytes = |value: &Value| BASE64.decode(value.as_str()?).ok();
        if payload["type"] == "authorize" {
            let payment = payment_id(&bytes(&payload["authorization"])?);
            return Some(Self { what: What::Authorize, payments: vec![payment] });
        }
        let operations = payload["operations"].as_array()?.iter();
        let operations: Option<Vec<Op>> =
            operations.map(|operation| Op::decode(&bytes(&operation["operation"])?).ok()).collect();
        let operations = operations?;
        let what = match operations.first()?.action {
            Action::Capture => What::Capture,
            Action::Void => What::Void,
            _ => What::Other,
        };
        Some(Self { what, payments: operations.into_iter().map(|operation| operation.payment).collect() })
    }

    pub(crate) fn word(&self) -> &'static str {
        match self.what {
            What::Authorize => "authorize",
            What::Capture => "capture",
            What::Void => "void",
            What::Other => "settle",
        }
    }
}
