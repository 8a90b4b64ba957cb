//! Member `payload` of a payment: the authorization and its signature.

use std::fmt;
use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256};
use farthing_protocol::rail::{PaymentFault, PaymentId};
use farthing_protocol::v2::PaymentPayload;
use farthing_protocol::{Amount, Payload};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::typed::{self, TokenDomain};
use super::{malformed, text};

/// Domain of payment ids.
const ID_DOMAIN: &[u8] = b"farthing/evm/payment/1";

/// What EIP-3009's `transferWithAuthorization` takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Transfer {
    /// Who pays.
    #[serde(with = "text::address")]
    pub(crate) from: Address,
    /// Who is paid.
    #[serde(with = "text::address")]
    pub(crate) to: Address,
    /// Atomic units.
    pub(crate) value: Amount,
    /// Unix seconds; the chain wants a later time.
    #[serde(with = "text::seconds")]
    pub(crate) valid_after: u64,
    /// Unix seconds; the chain wants an earlier time.
    #[serde(with = "text::seconds")]
    pub(crate) valid_before: u64,
    /// Random.
    #[serde(with = "text::word")]
    pub(crate) nonce: B256,
}

/// What Permit2 takes through one of x402's proxies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Permit {
    /// Who pays.
    #[serde(with = "text::address")]
    pub(crate) from: Address,
    /// What may be taken.
    pub(crate) permitted: Permitted,
    /// The proxy.
    #[serde(with = "text::address")]
    pub(crate) spender: Address,
    /// Random; unordered.
    #[serde(with = "text::nonce")]
    pub(crate) nonce: U256,
    /// Unix seconds; the chain wants no later time.
    #[serde(with = "text::seconds")]
    pub(crate) deadline: u64,
    /// What the proxy holds itself to.
    pub(crate) witness: Witness,
}

/// A token, and the most that may be taken of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Permitted {
    /// The token's contract.
    #[serde(with = "text::address")]
    pub(crate) token: Address,
    /// Atomic units.
    pub(crate) amount: Amount,
}

/// What the proxies check besides Permit2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Witness {
    /// Who is paid.
    #[serde(with = "text::address")]
    pub(crate) to: Address,
    /// Who alone may settle. With it, the scheme is `upto`; without, `exact`.
    #[serde(default, with = "text::maybe_address", skip_serializing_if = "Option::is_none")]
    pub(crate) facilitator: Option<Address>,
    /// Unix seconds.
    #[serde(with = "text::seconds")]
    pub(crate) valid_after: u64,
}

/// What the payer authorizes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Authorization {
    /// A transfer by EIP-3009.
    #[serde(rename = "authorization")]
    Eip3009(Transfer),
    /// A transfer by Permit2.
    #[serde(rename = "permit2Authorization")]
    Permit2(Permit),
}

/// A payment's signed part, as it was read or made.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Signed {
    /// Of any length that a contract may want; for keys see [`signature`](super::signature).
    #[serde(with = "text::signature")]
    pub(crate) signature: Bytes,
    /// What it covers.
    #[serde(flatten)]
    pub(crate) authorization: Authorization,
}

/// Whoever has the signature can spend it, so it is left out.
impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed({:?}, ..)", self.authorization)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Text {
    #[serde(with = "text::signature")]
    signature: Bytes,
    #[serde(default)]
    authorization: Option<Transfer>,
    #[serde(default)]
    permit2_authorization: Option<Permit>,
}

impl Signed {
    /// Reads a payment's signed part, once.
    pub(crate) fn of_payment(payment: &PaymentPayload) -> Result<Arc<Self>, PaymentFault> {
        Self::of(&payment.payload)
    }

    /// As [`of_payment`](Self::of_payment).
    pub(crate) fn of(payload: &Payload) -> Result<Arc<Self>, PaymentFault> {
        payload.read(Self::read)
    }

    /// Reads the JSON of `payload`, strictly.
    pub(crate) fn read(json: &str) -> Result<Self, PaymentFault> {
        // serde would take the members from an array, too; other readers would not.
        if !json.trim_start().starts_with('{') {
            return Err(malformed("payload", "must be a JSON object"));
        }
        let text: Text = serde_json::from_str(json)
            .map_err(|error| malformed("payload", format!("is not valid: {error}")))?;
        let authorization = match (text.authorization, text.permit2_authorization) {
            (Some(transfer), None) => Authorization::Eip3009(transfer),
            (None, Some(permit)) => Authorization::Permit2(permit),
            (Some(_), Some(_)) => return Err(malformed("payload", "has two authorizations")),
            (None, None) => return Err(malformed("payload.authorization", "is missing")),
        };
        Ok(Self { signature: text.signature, authorization })
    }
}

impl Authorization {
    /// The scheme that it is signed for.
    pub(crate) fn scheme(&self) -> &'static str {
        match self {
            Self::Permit2(Permit { witness: Witness { facilitator: Some(_), .. }, .. }) => super::UPTO,
            Self::Eip3009(_) | Self::Permit2(_) => super::EXACT,
        }
    }

    /// Who pays.
    pub(crate) fn payer(&self) -> Address {
        match self {
            Self::Eip3009(transfer) => transfer.from,
            Self::Permit2(permit) => permit.from,
        }
    }

    /// Who is paid.
    pub(crate) fn payee(&self) -> Address {
        match self {
            Self::Eip3009(transfer) => transfer.to,
            Self::Permit2(permit) => permit.witness.to,
        }
    }

    /// Atomic units: what it takes, or the most that it allows to take.
    pub(crate) fn amount(&self) -> Amount {
        match self {
            Self::Eip3009(transfer) => transfer.value,
            Self::Permit2(permit) => permit.permitted.amount,
        }
    }

    /// Unix seconds: before this it cannot be settled.
    pub(crate) fn valid_after(&self) -> u64 {
        match self {
            Self::Eip3009(transfer) => transfer.valid_after,
            Self::Permit2(permit) => permit.witness.valid_after,
        }
    }

    /// Unix seconds: after this it cannot be settled.
    pub(crate) fn valid_before(&self) -> u64 {
        match self {
            Self::Eip3009(transfer) => transfer.valid_before,
            Self::Permit2(permit) => permit.deadline,
        }
    }

    /// What is signed (EIP-712), for `token` on its chain.
    pub(crate) fn signing_hash(&self, token: &TokenDomain) -> B256 {
        match self {
            Self::Eip3009(transfer) => typed::transfer_hash(transfer, token),
            Self::Permit2(permit) => typed::permit2_hash(permit, token.chain_id),
        }
    }

    /// The payment's name. It does not depend on the signature's encoding, of which one authorization has many.
    pub(crate) fn payment_id(&self, token: &TokenDomain) -> PaymentId {
        payment_id(self.payer(), self.signing_hash(token))
    }
}

/// The name of the payment by `payer` whose EIP-712 hash is `signing_hash`.
pub(crate) fn payment_id(payer: Address, signing_hash: B256) -> PaymentId {
    let hash = Sha256::new().chain_update(ID_DOMAIN).chain_update(payer).chain_update(signing_hash);
    PaymentId(hash.finalize().into())
}
