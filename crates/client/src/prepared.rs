//! A payment that is signed, journaled and reserved, ready to be presented.

use std::fmt;
use std::sync::Arc;

use farthing_protocol::header::{self, PAYMENT_SIGNATURE, X_PAYMENT};
use farthing_protocol::rail::{Pay, PaymentId, SignedPayment};
use farthing_protocol::{Amount, Limits, Network, PublicKey, RequestDigest};

use crate::budget::Charge;
use crate::request::Request;

/// The scheme of payments that are taken while their answer comes.
const METERED: &str = "upto";

/// A version of x402.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// Terms in the body, payments in `X-PAYMENT`.
    V1,
    /// Terms in `PAYMENT-REQUIRED`, payments in `PAYMENT-SIGNATURE`.
    V2,
}

/// A payment header. Whoever has it can spend the payment on its request, so it has no
/// readable `Debug` and is never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct PaymentHeader {
    version: Version,
    value: Arc<str>,
}

impl PaymentHeader {
    /// Wraps the value of a `PAYMENT-SIGNATURE`.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self::of(Version::V2, value)
    }

    /// Wraps a header's value.
    #[must_use]
    pub fn of(version: Version, value: String) -> Self {
        Self { version, value: value.into() }
    }

    /// The version of the payment in it.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The header's name, in lower case.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.version {
            Version::V1 => X_PAYMENT,
            Version::V2 => PAYMENT_SIGNATURE,
        }
    }

    /// The value, for sending or for storing where only the payer can read.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.value
    }
}

impl fmt::Debug for PaymentHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PaymentHeader(..)")
    }
}

/// A signed payment and the request it is for. Its budget is reserved until the network says what became
/// of it. Cheap to clone; clones are the same payment, and equal ones have the same id.
#[derive(Clone)]
pub struct Prepared(pub(crate) Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) request: Request,
    pub(crate) rail: Arc<dyn Pay>,
    pub(crate) payment: SignedPayment,
    pub(crate) header: PaymentHeader,
    pub(crate) charge: Charge,
    pub(crate) payee: String,
    /// What people call the asset.
    pub(crate) currency: String,
    pub(crate) scale: u8,
    pub(crate) digest: RequestDigest,
    pub(crate) receipt_key: Option<PublicKey>,
}

impl Prepared {
    /// The payment's name.
    #[must_use]
    pub fn id(&self) -> PaymentId {
        self.0.payment.id
    }

    /// The request it was signed for.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.0.request
    }

    /// The request's digest, which is part of what was signed.
    #[must_use]
    pub fn digest(&self) -> RequestDigest {
        self.0.digest
    }

    /// The most that it can cost, in atomic units.
    #[must_use]
    pub fn max_amount(&self) -> Amount {
        self.0.charge.amount
    }

    /// The most that it can cost, in whole units: `0.001 XTS`.
    #[must_use]
    pub fn price(&self) -> String {
        format!("{} {}", self.max_amount().decimal(self.0.scale), self.0.currency)
    }

    /// The asset, in the network's own words.
    #[must_use]
    pub fn asset(&self) -> &str {
        &self.0.charge.asset.asset
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.0.charge.asset.network
    }

    /// Who is paid, in the network's own words.
    #[must_use]
    pub fn payee(&self) -> &str {
        &self.0.payee
    }

    /// Unix seconds after which it can no longer be authorized.
    #[must_use]
    pub fn valid_before(&self) -> u64 {
        self.0.payment.valid_before
    }

    /// Whether a receipt was announced for it and its answer may be paid for while it comes, when nobody can sign
    /// one: by what was signed, and not by what the answer says.
    pub(crate) fn is_metered(&self, limits: &Limits) -> bool {
        let payment = header::decode_payment(self.0.header.expose().as_bytes(), limits);
        self.0.receipt_key.is_some() && payment.is_ok_and(|payment| payment.accepted.scheme == METERED)
    }

    /// The header that carries it.
    #[must_use]
    pub fn header(&self) -> &PaymentHeader {
        &self.0.header
    }
}

impl PartialEq for Prepared {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Prepared {}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("id", &self.id())
            .field("request", self.request())
            .field("price", &self.price())
            .field("payee", &self.payee())
            .finish_non_exhaustive()
    }
}
