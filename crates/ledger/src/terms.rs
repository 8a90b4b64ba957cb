//! What a payer signs: the payment's terms, layout version 1.
//!
//! Fixed-width or length-prefixed, domain-tagged, never JSON. The bytes are part of our specification
//! (`spec/scheme-auth-capture-farthing.md`); SHA-256 of them is the payment's id.

use farthing_protocol::layout::{LayoutError, Reader, Writer};
use farthing_protocol::rail::PaymentId;
use farthing_protocol::{Amount, Binding, PublicKey, RequestDigest};
use sha2::{Digest, Sha256};

use crate::identity::{AssetCode, LedgerId};

const DOMAIN: &str = "farthing/payment";
const VERSION: u8 = 1;
/// The only signature algorithm of layout version 1.
pub const ED25519: u8 = 1;

/// A payment scheme of this ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// A fixed amount, never refunded.
    Exact,
    /// Up to a maximum, captured in parts, refundable.
    AuthCapture,
    /// Up to a maximum, captured in parts while it is used, never refunded.
    Upto,
}

impl Scheme {
    /// The scheme's name on the x402 wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::AuthCapture => "auth-capture",
            Self::Upto => "upto",
        }
    }

    /// All schemes.
    pub const ALL: [Self; 3] = [Self::Exact, Self::AuthCapture, Self::Upto];

    /// The scheme of this name on the x402 wire.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name() == name)
    }

    /// Whether less than the maximum may be taken, and in parts.
    pub fn takes_parts(self) -> bool {
        self != Self::Exact
    }

    /// Whether what was taken can be given back.
    pub fn refunds(self) -> bool {
        self == Self::AuthCapture
    }
}

/// How the payment moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TermsFlow {
    /// Authorize (hold), then capture or void.
    Escrow,
    /// Charge in one step.
    Charge,
}

/// The fee that a payer allows to be taken out of what the payee gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeeTerms {
    /// Lowest rate, in basis points.
    pub min_bps: u16,
    /// Highest rate, in basis points.
    pub max_bps: u16,
    /// Who gets it; zero when there is none.
    pub recipient: [u8; 32],
}

/// What the payer signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The ledger that this payment lives on.
    pub ledger: LedgerId,
    /// The scheme.
    pub scheme: Scheme,
    /// The flow.
    pub flow: TermsFlow,
    /// Account that is debited.
    pub payer: PublicKey,
    /// Key that signed; one of the account's keys.
    pub signer: PublicKey,
    /// Account that is credited.
    pub payee: PublicKey,
    /// Key that may capture, void and refund.
    pub receiver_authorizer: PublicKey,
    /// The asset.
    pub asset: AssetCode,
    /// Atomic units: the most that can be taken.
    pub max_amount: Amount,
    /// Unix seconds: not to be authorized earlier.
    pub valid_after: u64,
    /// Unix seconds: not to be authorized later.
    pub valid_before: u64,
    /// Unix seconds: the hold ends.
    pub capture_deadline: u64,
    /// Unix seconds: no refund later; 0 when there are none.
    pub refund_deadline: u64,
    /// The fee range.
    pub fee: FeeTerms,
    /// A limit that the ledger enforces on the signer; zero for none.
    pub mandate: [u8; 32],
    /// Fresh randomness; unique for each payer.
    pub nonce: [u8; 32],
    /// How much of the request is bound.
    pub binding: Binding,
    /// The request.
    pub digest: RequestDigest,
}

impl Terms {
    /// The bytes that get signed.
    pub fn encode(&self) -> Vec<u8> {
        let scheme = match self.scheme {
            Scheme::Exact => 1,
            Scheme::AuthCapture => 2,
            Scheme::Upto => 3,
        };
        let flow = match self.flow {
            TermsFlow::Escrow => 1,
            TermsFlow::Charge => 2,
        };
        let out = Writer::new(DOMAIN, VERSION).fixed(&self.ledger.0).u8(scheme).u8(flow).fixed(&self.payer.0);
        let out =
            out.u8(ED25519).fixed(&self.signer.0).fixed(&self.payee.0).fixed(&self.receiver_authorizer.0);
        let out = self.asset.write(out).u128(self.max_amount.0);
        let out = out.u64(self.valid_after).u64(self.valid_before);
        let out = out.u64(self.capture_deadline).u64(self.refund_deadline);
        let out = out.u16(self.fee.min_bps).u16(self.fee.max_bps).fixed(&self.fee.recipient);
        let out = out.fixed(&self.mandate).fixed(&self.nonce);
        out.u8(self.binding.kind()).fixed(&self.digest.0).finish()
    }

    /// Reads signed bytes. Unknown versions, schemes, flows, algorithms and kinds are refused.
    ///
    /// # Errors
    /// [`LayoutError`] names what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut from = Reader::open(bytes, DOMAIN, VERSION)?;
        let ledger = LedgerId(from.fixed()?);
        let scheme = match from.u8()? {
            1 => Scheme::Exact,
            2 => Scheme::AuthCapture,
            3 => Scheme::Upto,
            _ => return Err(LayoutError::Value { field: "scheme" }),
        };
        let flow = match from.u8()? {
            1 => TermsFlow::Escrow,
            2 => TermsFlow::Charge,
            _ => return Err(LayoutError::Value { field: "flow" }),
        };
        let payer = PublicKey(from.fixed()?);
        if from.u8()? != ED25519 {
            return Err(LayoutError::Value { field: "algorithm" });
        }
        let terms = Self {
            ledger,
            scheme,
            flow,
            payer,
            signer: PublicKey(from.fixed()?),
            payee: PublicKey(from.fixed()?),
            receiver_authorizer: PublicKey(from.fixed()?),
            asset: AssetCode::read(&mut from)?,
            max_amount: Amount(from.u128()?),
            valid_after: from.u64()?,
            valid_before: from.u64()?,
            capture_deadline: from.u64()?,
            refund_deadline: from.u64()?,
            fee: FeeTerms { min_bps: from.u16()?, max_bps: from.u16()?, recipient: from.fixed()? },
            mandate: from.fixed()?,
            nonce: from.fixed()?,
            binding: Binding::from_kind(from.u8()?).ok_or(LayoutError::Value { field: "binding" })?,
            digest: RequestDigest(from.fixed()?),
        };
        from.finish()?;
        Ok(terms)
    }

    /// The payment's id.
    pub fn id(&self) -> PaymentId {
        payment_id(&self.encode())
    }
}

/// The id of the payment with these signed bytes.
pub fn payment_id(signed: &[u8]) -> PaymentId {
    PaymentId(Sha256::digest(signed).into())
}
