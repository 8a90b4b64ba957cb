//! What travels: `payload` of a payment on a farthing ledger, and `extra` of an offer.
//!
//! `authorization` is the base64 of the signed bytes themselves, so there is no second, unsigned form of
//! them that anybody could believe. Unknown members are refused.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use farthing_ledger::operation::{Action, Op};
use farthing_ledger::terms::{Scheme, Terms};
use farthing_protocol::rail::{Owner, PaymentFault};
#[cfg(feature = "settle")]
use farthing_protocol::signature::lower_hex;
use farthing_protocol::v2::PaymentPayload;
use farthing_protocol::{PublicKey, Signature};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What the client sends: the signed terms and the signature.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authorization {
    /// Base64 of the signed bytes.
    pub authorization: String,
    /// 128 lower-case hex digits.
    pub signature: Signature,
}

/// What the server settles first: the client's part, and who will own the hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authorize {
    /// Base64 of the signed bytes.
    pub authorization: String,
    /// The payer's signature.
    pub signature: Signature,
    /// The server process: 32 hex digits, drawn at its start.
    pub owner: String,
    /// Seconds after which another process may take the hold over.
    pub lease_seconds: u32,
}

/// What the server settles later: operations under one signature of the receiverAuthorizer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operations {
    /// The operations, in order.
    pub operations: Vec<Operation>,
    /// The receiverAuthorizer.
    pub signer: PublicKey,
    /// Its signature over the list.
    pub signature: Signature,
}

/// One operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operation {
    /// Base64 of the operation's bytes.
    pub operation: String,
    /// Base64 of the answer that is stored with a capture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// Authorize and capture in one step.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Charge {
    /// Base64 of the payer's signed bytes.
    pub authorization: String,
    /// The payer's signature.
    pub signature: Signature,
    /// The charge.
    pub operation: Operation,
    /// The receiverAuthorizer's signature over the list of this one operation.
    pub authorizer_signature: Signature,
}

/// Everything that a facilitator can be asked to settle, told apart by `payload.type`; the client's own
/// payload has none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Lifecycle {
    /// Hold.
    Authorize(Authorize),
    /// Authorize and capture at once.
    Charge(Charge),
    /// Pay out of the hold.
    Capture(Operations),
    /// Give the hold back.
    Void(Operations),
    /// Give back what was captured.
    Refund(Operations),
}

/// A payment fault that names a member of the payload.
pub(crate) fn malformed(field: &str, why: impl Into<String>) -> PaymentFault {
    PaymentFault::Malformed { field: field.to_owned(), why: why.into() }
}

/// The client's part of a payment, as it was read: the signed bytes, and what they say.
pub(crate) struct Signed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) signature: Signature,
    pub(crate) terms: Terms,
}

impl Signed {
    fn read(bytes: &str, signature: Signature) -> Result<Self, PaymentFault> {
        let (bytes, terms) = read_terms(bytes)?;
        Ok(Self { bytes, signature, terms })
    }

    /// Reads the client's own payload strictly.
    fn of_client(text: &str) -> Result<Self, PaymentFault> {
        let payload: Authorization = object(text)?;
        Self::read(&payload.authorization, payload.signature)
    }
}

/// Reads the client's payload, once.
pub(crate) fn read_authorization(payment: &PaymentPayload) -> Result<Arc<Signed>, PaymentFault> {
    payment.payload.read(Signed::of_client)
}

/// What a server asks a facilitator for. Both hold this when they share a process; else [`Lifecycle`] is how it
/// travels.
pub(crate) enum Asked {
    /// Hold a payment that the client sent, for whoever the caller is.
    #[cfg(feature = "settle")]
    Client(Arc<Signed>),
    /// Hold.
    Authorize(Arc<Signed>, Owner),
    /// Authorize and capture at once.
    #[cfg(feature = "settle")]
    Charge(Arc<Signed>, Op, Option<Vec<u8>>, Signature),
    /// Operations under one signature.
    Operate(Consent),
}

/// Operations that a receiverAuthorizer has signed for, with the answers to store.
pub(crate) struct Consent {
    pub(crate) action: Action,
    pub(crate) operations: Vec<(Op, Option<Vec<u8>>)>,
    pub(crate) signer: PublicKey,
    pub(crate) signature: Signature,
}

impl Serialize for Asked {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Authorize(signed, owner) => Lifecycle::Authorize(Authorize {
                authorization: base64(&signed.bytes),
                signature: signed.signature,
                owner: hex::encode(owner.id),
                lease_seconds: owner.lease_seconds,
            })
            .serialize(serializer),
            Self::Operate(consent) => consent.write().serialize(serializer),
            #[cfg(feature = "settle")]
            Self::Client(_) | Self::Charge(..) => {
                Err(serde::ser::Error::custom("this is read, and never written"))
            }
        }
    }
}

impl Consent {
    fn write(&self) -> Lifecycle {
        let write =
            |(operation, answer): &(Op, Option<Vec<u8>>)| Operation::write(operation, answer.as_deref());
        let operations = Operations {
            operations: self.operations.iter().map(write).collect(),
            signer: self.signer,
            signature: self.signature,
        };
        match self.action {
            Action::Void => Lifecycle::Void(operations),
            Action::Refund => Lifecycle::Refund(operations),
            Action::Capture | Action::Charge => Lifecycle::Capture(operations),
        }
    }
}

/// Reads a payload that is a JSON object. serde would take its members from an array, too; other readers would
/// not.
fn object<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, PaymentFault> {
    if !text.trim_start().starts_with('{') {
        return Err(malformed("payload", "must be a JSON object"));
    }
    serde_json::from_str(text).map_err(|e| malformed("payload", format!("is not valid: {e}")))
}

/// Reads base64 of signed terms.
fn read_terms(text: &str) -> Result<(Vec<u8>, Terms), PaymentFault> {
    let field = "payload.authorization";
    let signed = BASE64.decode(text).map_err(|_| malformed(field, "is not canonical base64"))?;
    let terms = Terms::decode(&signed).map_err(|e| malformed(field, format!("cannot be read: {e}")))?;
    Ok((signed, terms))
}

#[cfg(feature = "settle")]
impl Operation {
    /// Reads one operation and its answer.
    fn read(&self) -> Result<(Op, Option<Vec<u8>>), PaymentFault> {
        let field = "payload.operations";
        let bytes =
            BASE64.decode(&self.operation).map_err(|_| malformed(field, "is not canonical base64"))?;
        let operation = Op::decode(&bytes).map_err(|e| malformed(field, format!("cannot be read: {e}")))?;
        let answer = self.answer.as_deref().map(|a| BASE64.decode(a)).transpose();
        Ok((operation, answer.map_err(|_| malformed(field, "has an answer that is not base64"))?))
    }
}

impl Operation {
    fn write(operation: &Op, answer: Option<&[u8]>) -> Self {
        Self { operation: BASE64.encode(operation.encode()), answer: answer.map(|a| BASE64.encode(a)) }
    }
}

/// Base64, as every byte string travels here.
pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// A payload as raw JSON.
pub(crate) fn raw(payload: &impl Serialize) -> Result<Box<RawValue>, PaymentFault> {
    serde_json::value::to_raw_value(payload).map_err(|e| malformed("payload", e.to_string()))
}

/// The scheme of this name, if the rail has it.
pub(crate) fn scheme(name: &str) -> Option<Scheme> {
    Scheme::of_name(name)
}

#[cfg(feature = "settle")]
impl Asked {
    /// Reads what a facilitator is asked for, strictly.
    pub(crate) fn read(text: &str) -> Result<Self, PaymentFault> {
        #[derive(Deserialize)]
        struct Kind {
            #[serde(rename = "type")]
            kind: Option<String>,
        }
        if object::<Kind>(text)?.kind.is_none() {
            return Signed::of_client(text).map(Arc::new).map(Self::Client);
        }
        let (action, list) = match object(text)? {
            Lifecycle::Authorize(authorize) => {
                let signed = Signed::read(&authorize.authorization, authorize.signature)?;
                let id = lower_hex::<16>(&authorize.owner)
                    .ok_or_else(|| malformed("payload.owner", "must be 32 lower-case hex digits"))?;
                let owner = Owner { id, lease_seconds: authorize.lease_seconds };
                return Ok(Self::Authorize(Arc::new(signed), owner));
            }
            Lifecycle::Charge(charge) => {
                let signed = Signed::read(&charge.authorization, charge.signature)?;
                let (operation, answer) = charge.operation.read()?;
                return Ok(Self::Charge(Arc::new(signed), operation, answer, charge.authorizer_signature));
            }
            Lifecycle::Capture(list) => (Action::Capture, list),
            Lifecycle::Void(list) => (Action::Void, list),
            Lifecycle::Refund(list) => (Action::Refund, list),
        };
        let operations: Result<Vec<_>, _> = list.operations.iter().map(Operation::read).collect();
        let (operations, signer, signature) = (operations?, list.signer, list.signature);
        if operations.iter().any(|(operation, _)| operation.action != action) {
            return Err(malformed("payload.type", "must name what the operation is signed for"));
        }
        Ok(Self::Operate(Consent { action, operations, signer, signature }))
    }
}
