//! The traits of the rails: the three roles in which one network's schemes work.
//!
//! [`Offer`] is the resource server's side, [`Pay`] the client's, [`Settle`] the facilitator's;
//! [`Facilitator`] is what a resource server talks to, in process or over HTTP. All are object safe and
//! their futures boxed, so that no runtime is chosen here. Time (Unix seconds) and randomness are
//! arguments.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::siwx::{Info, Proof, SignInKind};
use crate::v2::{Extensions, FacilitatorRequest, PaymentPayload, PaymentRequirements, SettlementResponse};
use crate::v2::{SupportedKind, SupportedResponse, VerifyResponse};
use crate::{Amount, Binding, Network, Price, RequestDigest, Retry};

/// A boxed future, as every asynchronous trait method here returns one.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A payment's name: SHA-256 of what its payer signed. 64 lower-case hex digits when printed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PaymentId(pub [u8; 32]);

impl fmt::Display for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::signature::write_hex(&self.0, &mut [0; 64], f)
    }
}

impl fmt::Debug for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PaymentId({self})")
    }
}

impl std::str::FromStr for PaymentId {
    type Err = crate::WireError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        crate::signature::lower_hex::<32>(text).map(Self).ok_or(crate::WireError::Field {
            field: "payment id",
            why: "must be 64 lower-case hex digits".into(),
        })
    }
}

/// When money moves relative to the handler (`extra.paymentFlow`, x402 payment flows).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// settle (authorize), handler, settle (capture or void).
    Escrow,
    /// verify, handler, settle.
    Authorization,
    /// settle, handler.
    Upfront,
}

/// Who asks a facilitator to act: the name its operator gave to the bearer of a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenant(pub String);

impl Tenant {
    /// The caller inside the same process, or of a facilitator without tokens.
    pub fn local() -> Self {
        Self("local".into())
    }
}

/// What a server knows about a request when it makes an offer for it.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The route's price.
    pub price: &'a Price,
    /// What the payment must be bound to.
    pub digest: &'a RequestDigest,
    /// How much of the request the digest covers.
    pub binding: Binding,
    /// The request's method changes nothing (GET, HEAD): its answer can be withheld until the money moved.
    pub is_safe: bool,
    /// Seconds that a payment may stay valid.
    pub max_timeout_seconds: u64,
    /// Unix seconds.
    pub now: u64,
}

/// A payment as its signed part describes it. Nothing here comes from unsigned fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// SHA-256 of the signed bytes.
    pub id: PaymentId,
    /// Who pays, in the network's own words.
    pub payer: String,
    /// What it is bound to; `None` where the network's signatures cannot carry it.
    pub digest: Option<RequestDigest>,
    /// The most it allows to take.
    pub max_amount: Amount,
    /// Unix seconds: the last moment at which it can be authorized.
    pub valid_before: u64,
    /// Unix seconds: the last moment at which it can be captured.
    pub capture_deadline: u64,
}

/// What a server asks for after the first settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Take `amount` (cumulative); `answer` is stored with it.
    Capture {
        /// Atomic units, cumulative over the payment.
        amount: Amount,
        /// Stored and returned when the same payment is presented again.
        answer: Option<Vec<u8>>,
        /// The hold ends with this capture. Otherwise what is left of it stays held, for more.
        last: bool,
    },
    /// Give the hold back.
    Void,
    /// Give back `amount` (cumulative) of what was captured.
    Refund {
        /// Atomic units, cumulative over the payment.
        amount: Amount,
    },
}

/// What the first settlement of an escrow payment found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorized {
    /// The money is held for this owner, and nobody else may run the handler.
    Held(Hold),
    /// Somebody holds it and may still be running the handler.
    InProgress {
        /// Unix seconds at which the owner's lease lapses.
        lease_until: u64,
    },
    /// It was captured before; `answer` is what was stored with it, if it was kept.
    Captured {
        /// The stored answer.
        answer: Option<Vec<u8>>,
    },
    /// It was voided, or its hold expired: nothing was taken and nothing can be.
    Ended,
}

/// A hold as its owner knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Grows with each takeover; operations of an earlier epoch are refused.
    pub epoch: u64,
    /// The hold was taken over from an owner that went silent: the handler may have run before.
    pub takeover: bool,
}

/// The resource server's role: makes offers, reads payments, and signs what the server may do with them.
pub trait Offer: Send + Sync + fmt::Debug {
    /// The network of its offers.
    fn network(&self) -> &Network;
    /// The scheme of its offers.
    fn scheme(&self) -> &str;
    /// When the handler runs relative to the money. A rail of [`Flow::Authorization`] asks for
    /// [`Flow::Upfront`] where a request is not safe.
    fn flow(&self) -> Flow;

    /// Whether its payments also come in version 1 of x402: then its offers are made in both.
    fn speaks_v1(&self) -> bool {
        false
    }

    /// The price in atomic units; called once at start so that a bad price stops it.
    ///
    /// # Errors
    /// An unknown currency, or a price that the asset's scale cannot express.
    fn amount(&self, price: &Price) -> Result<Amount, OfferError>;

    /// The offer for one request.
    ///
    /// # Errors
    /// As [`amount`](Self::amount).
    fn offer(&self, ask: &Ask<'_>) -> Result<PaymentRequirements, OfferError>;

    /// Whether two offers for the same thing, made in the same second for different requests, are the same
    /// but for the text of the request's digest, which stands in them once.
    fn differs_by_digest_alone(&self) -> bool {
        false
    }

    /// An amount of its offers for people: decimal text and currency, such as `("0.001", "USD")`. `None` when
    /// `asset` is none that it offers.
    fn shown(&self, _asset: &str, _amount: Amount) -> Option<(String, String)> {
        None
    }

    /// Keys of `extra` that differ between two offers for the same thing and are not compared.
    fn dynamic_extra(&self) -> &[&str];

    /// Decodes the signed part of a payment, strictly. No lookups and no signature check.
    ///
    /// # Errors
    /// [`PaymentFault::Malformed`] only.
    fn read(&self, payment: &PaymentPayload) -> Result<Presented, PaymentFault>;

    /// Whether the signed part agrees with `offer`, which this server makes for this request now.
    ///
    /// # Errors
    /// [`PaymentFault::Refused`], with the x402 reason.
    fn agrees(
        &self,
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        now: u64,
    ) -> Result<(), PaymentFault>;

    /// The first settlement: the payment as it came, plus whatever names this server process as owner.
    ///
    /// # Errors
    /// [`PaymentFault::Malformed`] when the payment cannot carry it.
    fn authorize(&self, payment: &PaymentPayload, owner: &Owner) -> Result<PaymentPayload, PaymentFault>;

    /// Reads what the facilitator answered to the first settlement.
    ///
    /// # Errors
    /// When the answer is not one that this rail can have given: then the outcome is unknown.
    fn authorized(&self, settlement: &SettlementResponse) -> Result<Authorized, UnknownOutcome>;

    /// A later settlement, signed by the receiverAuthorizer.
    ///
    /// # Errors
    /// [`PaymentFault::Malformed`] when the payment cannot carry it.
    fn operate(
        &self,
        payment: &PaymentPayload,
        presented: &Presented,
        epoch: u64,
        operation: &Operation,
    ) -> Result<PaymentPayload, PaymentFault>;

    /// How payers prove who they are ([`siwx`](crate::siwx)), where it takes no more than their signature; `None`
    /// where they cannot.
    fn sign_in(&self) -> Option<SignInKind> {
        None
    }

    /// Whether the account `address` signed `text`: who it is, as [`Presented::payer`] names it.
    fn signed_in(&self, _address: &str, _text: &str, _signature: &str) -> Option<String> {
        None
    }

    /// Captures of several payments of this rail, under one signature of the receiverAuthorizer and for one
    /// call of the facilitator. `None` when the rail has no such thing: then each goes by itself.
    ///
    /// # Errors
    /// As [`operate`](Self::operate).
    fn capture_together(&self, _captures: &[Capture<'_>]) -> Option<Result<PaymentPayload, PaymentFault>> {
        None
    }

    /// Reads what the facilitator answered to captures that were sent together: one outcome for each of
    /// `payments`, in their order. What the answer does not say is unknown.
    fn captured_together(&self, payments: &[PaymentId], _settlement: SettlementResponse) -> Vec<Outcome> {
        let unknown = || Outcome::Unknown(UnknownOutcome("this rail captures nothing together".into()));
        payments.iter().map(|_| unknown()).collect()
    }
}

/// One of the captures that are signed for together.
#[derive(Clone, Copy, Debug)]
pub struct Capture<'a> {
    /// The payment as it came.
    pub payment: &'a PaymentPayload,
    /// What is signed in it.
    pub presented: &'a Presented,
    /// The hold's epoch.
    pub epoch: u64,
    /// Atomic units, cumulative over the payment.
    pub amount: Amount,
    /// Stored and returned when the same payment is presented again.
    pub answer: Option<&'a [u8]>,
    /// The hold ends with this capture.
    pub last: bool,
}

/// The server process that owns a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Random, drawn once per server process.
    pub id: [u8; 16],
    /// Seconds after which another process may take the hold over.
    pub lease_seconds: u32,
}

/// The client's role: judges offers and signs payments.
pub trait Pay: Send + Sync + fmt::Debug {
    /// The network it pays on.
    fn network(&self) -> &Network;
    /// Decimal places of `asset`, from a source the client trusts; `None` when the asset is unknown.
    fn scale(&self, asset: &str) -> Option<u8>;

    /// The asset that is meant by `name`, in one spelling: by a currency code such as `USD`, or by the
    /// network's own word for it, however that is written. `None` when it is unknown.
    fn asset(&self, name: &str) -> Option<String> {
        self.scale(name).map(|_| name.to_owned())
    }

    /// What people call an asset.
    fn currency(&self, asset: &str) -> String {
        asset.to_owned()
    }

    /// Whether its payments can be sent in version 1 of x402, too.
    fn speaks_v1(&self) -> bool {
        false
    }

    /// Asks the network for what [`pay`](Self::pay) needs to know to pay this offer, such as an allowance.
    /// Called before each payment; most rails need nothing.
    ///
    /// # Errors
    /// When the offer cannot be paid, or the network does not say.
    fn look_up<'a>(&'a self, _offer: &'a PaymentRequirements) -> BoxFuture<'a, Result<(), OfferError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Looks at an offer without signing.
    ///
    /// # Errors
    /// [`OfferError`] says why this client would never sign it.
    fn judge(&self, offer: &PaymentRequirements, digest: &RequestDigest, now: u64) -> Result<(), OfferError>;

    /// Signs a payment for `offer`, bound to `digest`. `random` must be fresh.
    ///
    /// # Errors
    /// As [`judge`](Self::judge).
    fn pay(
        &self,
        offer: &PaymentRequirements,
        digest: &RequestDigest,
        now: u64,
        random: [u8; 32],
    ) -> Result<SignedPayment, OfferError>;

    /// Whether `settlement` is proof, by the network's own word, of what became of `payment`.
    fn confirm(&self, payment: &SignedPayment, settlement: &SettlementResponse) -> Confirmation;

    /// Asks the network what became of `payment`.
    fn status<'a>(&'a self, payment: &'a SignedPayment) -> BoxFuture<'a, Confirmation>;

    /// Proves that this wallet holds the key of the account that pays. What is signed is made of `info` here, and is
    /// never a payment. `None` when it cannot.
    fn sign_in(&self, _info: &Info) -> Option<Proof> {
        None
    }

    /// Asks the network for what the account that pays has of `asset` and can spend, in atomic units.
    ///
    /// # Errors
    /// [`NoBalance`], when the network does not say.
    fn balance<'a>(&'a self, _asset: &'a str, _now: u64) -> BoxFuture<'a, Result<Amount, NoBalance>> {
        Box::pin(std::future::ready(Err(NoBalance("this rail cannot ask for balances".into()))))
    }
}

/// Nobody says what an account has; for people.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the balance is not known: {0}")]
pub struct NoBalance(pub String);

/// `POST /balances` of a facilitator: what an account has. Only its owner can ask: the signature, in hex, covers what the
/// network's rail says it covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BalancesRequest {
    /// The network.
    pub network: Network,
    /// The account, in the network's own words.
    pub account: String,
    /// Unix seconds at which it was signed.
    pub as_of: u64,
    /// The account's signature.
    pub signature: String,
}

/// What an account has and can spend; money that is held for payments is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BalancesResponse {
    /// Atomic units by asset.
    pub balances: BTreeMap<String, Amount>,
}

/// A signed payment, before it is wrapped for a header. Whoever has it can spend it on its request, so its
/// `Debug` leaves the signed part out.
#[derive(Clone)]
pub struct SignedPayment {
    /// SHA-256 of the signed bytes.
    pub id: PaymentId,
    /// Member `payload` of the [`PaymentPayload`].
    pub payload: Box<RawValue>,
    /// What the rail says in `extensions` of the [`PaymentPayload`], by the extension's name.
    pub extensions: Extensions,
    /// Atomic units: the most it can cost.
    pub max_amount: Amount,
    /// Unix seconds after which it can no longer be authorized.
    pub valid_before: u64,
    /// Unix seconds after which it can no longer be captured.
    pub capture_deadline: u64,
}

impl fmt::Debug for SignedPayment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedPayment")
            .field("id", &self.id)
            .field("max_amount", &self.max_amount)
            .field("valid_before", &self.valid_before)
            .field("capture_deadline", &self.capture_deadline)
            .finish_non_exhaustive()
    }
}

/// What a client knows about the end of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// The network's own statement: this much was taken.
    Taken(Amount),
    /// The network's own statement: nothing was taken and nothing can be any more.
    NotTaken,
    /// The network's own statement: it may still be taken.
    Open,
    /// The seller says so and the network did not contradict it.
    Unproven,
    /// The statement contradicts the payment, or its signature is wrong.
    Contradicted(String),
}

/// The facilitator's role for one network.
pub trait Settle: Send + Sync + fmt::Debug {
    /// What it can settle.
    fn kinds(&self) -> Vec<SupportedKind>;
    /// Extensions of x402 that it understands.
    fn extensions(&self) -> Vec<String> {
        Vec::new()
    }
    /// The addresses that it sends settlements from, by CAIP-2 pattern (`eip155:*`).
    fn signers(&self) -> Vec<(String, Vec<String>)> {
        Vec::new()
    }
    /// Looks at a payment; changes nothing.
    fn verify<'a>(
        &'a self,
        caller: &'a Tenant,
        request: &'a FacilitatorRequest,
    ) -> BoxFuture<'a, Result<VerifyResponse, FacilitatorError>>;
    /// Moves money.
    fn settle<'a>(&'a self, caller: &'a Tenant, request: &'a FacilitatorRequest) -> BoxFuture<'a, Outcome>;
    /// What the network says about a payment, as the JSON of `GET /payments/{id}`; `None` when this rail
    /// does not keep payments.
    fn payment<'a>(
        &'a self,
        id: &'a PaymentId,
    ) -> BoxFuture<'a, Result<Option<serde_json::Value>, FacilitatorError>>;
    /// What an account has, if its owner asks; [`FacilitatorError::Forbidden`] otherwise. `None` when this rail does
    /// not say.
    fn balances<'a>(
        &'a self,
        _request: &'a BalancesRequest,
    ) -> BoxFuture<'a, Result<Option<BalancesResponse>, FacilitatorError>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// What a resource server talks to: in process, or a remote one over HTTP.
pub trait Facilitator: Send + Sync + fmt::Debug {
    /// `GET /supported`.
    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>>;
    /// `POST /verify`.
    fn verify<'a>(
        &'a self,
        request: &'a FacilitatorRequest,
    ) -> BoxFuture<'a, Result<VerifyResponse, FacilitatorError>>;
    /// `POST /settle`.
    fn settle<'a>(&'a self, request: &'a FacilitatorRequest) -> BoxFuture<'a, Outcome>;
    /// `GET /payments/{id}`; `None` when nobody there knows payments by id.
    fn payment<'a>(
        &'a self,
        id: &'a PaymentId,
    ) -> BoxFuture<'a, Result<Option<serde_json::Value>, FacilitatorError>>;
    /// `POST /balances`; `None` when nobody there says what accounts have.
    fn balances<'a>(
        &'a self,
        _request: &'a BalancesRequest,
    ) -> BoxFuture<'a, Result<Option<BalancesResponse>, FacilitatorError>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// What became of a settlement. Three values, never two.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It happened.
    Settled(SettlementResponse),
    /// It did not happen, and this attempt will not make it happen.
    NotSettled(SettlementResponse),
    /// It may or may not have happened: present the same payment again.
    Unknown(UnknownOutcome),
}

/// Why nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the outcome is unknown: {0}")]
pub struct UnknownOutcome(pub String);

/// The facilitator could not say anything.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FacilitatorError {
    /// It cannot be reached, or did not answer in time.
    #[error("the facilitator cannot be reached: {0}")]
    Unreachable(String),
    /// It answered something that is not the protocol.
    #[error("the facilitator's answer is malformed: {0}")]
    Malformed(String),
    /// It refuses this caller.
    #[error("the facilitator refuses this caller: {0}")]
    Forbidden(String),
    /// Nothing there settles this scheme on this network.
    #[error("the facilitator does not settle {scheme} on {network}")]
    Unsupported {
        /// The scheme asked for.
        scheme: String,
        /// The network asked for.
        network: String,
    },
}

/// An offer that cannot be made, or that a client will not sign.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OfferError {
    /// The asset is not one that this side knows on this network.
    #[error("asset {asset} is not known on {network}")]
    UnknownAsset {
        /// As named in the offer or price.
        asset: String,
        /// The network.
        network: String,
    },
    /// The price cannot be expressed in the asset.
    #[error(transparent)]
    Price(#[from] crate::price::PriceError),
    /// The offer is bound to another request than the one the client sends.
    #[error("the offer is bound to another request")]
    ForeignDigest,
    /// The network does not say what must be known to pay it.
    #[error("the network does not say how the offer can be paid: {0}")]
    Unavailable(String),
    /// Something in the offer is missing or outside what this side accepts.
    #[error("`{field}` of the offer {why}")]
    Field {
        /// Path of the member, such as `extra.captureDeadline`.
        field: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A payment that is not accepted; the payer's side is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PaymentFault {
    /// It cannot be read: 400.
    #[error("`{field}` of the payment {why}")]
    Malformed {
        /// Path of the member, such as `payload.signature`.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// It can be read, and is refused: 402.
    #[error("{message}")]
    Refused {
        /// The x402 reason.
        reason: String,
        /// For people.
        message: String,
    },
}

impl PaymentFault {
    /// A malformed payment is not worth sending again; nor is a refused one: sign a new one.
    pub fn retry(&self) -> Retry {
        Retry::New
    }
}
