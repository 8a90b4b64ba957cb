//! What the ledger itself signs: the status of a payment, and its own terms.
//!
//! A ledger's network id is the hash of its key, so whoever knows the network can check these alone.

use farthing_protocol::layout::Writer;
use farthing_protocol::rail::PaymentId;
use farthing_protocol::{Amount, PublicKey, SecretKey, Signature, signature};
use serde::{Deserialize, Serialize};

use crate::identity::{AssetCode, LedgerId};

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaymentState {
    /// The ledger has never seen it. With `asOf` after validBefore: it never will.
    Absent,
    /// Its maximum is held.
    Held,
    /// It was captured, and nothing more will be.
    Captured,
    /// It was given back by the seller; nothing was taken.
    Voided,
    /// Its hold ended at the capture deadline; nothing was taken.
    Reclaimed,
}

impl PaymentState {
    /// Its word in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Held => "held",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Reclaimed => "reclaimed",
        }
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::Held => 1,
            Self::Captured => 2,
            Self::Voided => 3,
            Self::Reclaimed => 4,
        }
    }

    pub(crate) fn of_code(code: u8) -> Option<Self> {
        [Self::Absent, Self::Held, Self::Captured, Self::Voided, Self::Reclaimed]
            .into_iter()
            .find(|s| s.code() == code)
    }
}

/// The ledger's signed word on one payment: the JSON of `GET /payments/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Statement {
    /// The payment, 64 hex digits.
    pub payment: String,
    /// Where it stands.
    pub state: PaymentState,
    /// Atomic units captured so far.
    pub amount: Amount,
    /// Atomic units given back after capture.
    pub refunded: Amount,
    /// Unix seconds, by the ledger's clock.
    pub as_of: u64,
    /// The ledger's key.
    pub key: PublicKey,
    /// The ledger's signature.
    pub signature: Signature,
}

/// A statement that cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// The key does not belong to this network.
    #[error("the statement is signed by a key that is not the ledger's")]
    ForeignKey,
    /// The signature does not fit.
    #[error("the statement's signature is wrong")]
    Signature,
    /// It speaks of another payment.
    #[error("the statement is about another payment")]
    OtherPayment,
}

impl Statement {
    /// Signs the status of `payment`.
    pub fn sign(
        ledger: &SecretKey,
        payment: &PaymentId,
        state: PaymentState,
        amount: Amount,
        refunded: Amount,
        as_of: u64,
    ) -> Self {
        let key = ledger.public();
        let bytes = Self::bytes(&LedgerId::of(&key), payment, state, amount, refunded, as_of);
        Self {
            payment: payment.to_string(),
            state,
            amount,
            refunded,
            as_of,
            key,
            signature: ledger.sign(&bytes),
        }
    }

    /// Checks that `ledger` said this about `payment`.
    ///
    /// # Errors
    /// [`StatementError`] says what does not fit.
    pub fn verify(&self, ledger: &LedgerId, payment: &PaymentId) -> Result<(), StatementError> {
        if LedgerId::of(&self.key) != *ledger {
            return Err(StatementError::ForeignKey);
        }
        if self.payment != payment.to_string() {
            return Err(StatementError::OtherPayment);
        }
        let bytes = Self::bytes(ledger, payment, self.state, self.amount, self.refunded, self.as_of);
        signature::verify(&self.key, &bytes, &self.signature).map_err(|_| StatementError::Signature)
    }

    fn bytes(
        ledger: &LedgerId,
        payment: &PaymentId,
        state: PaymentState,
        amount: Amount,
        refunded: Amount,
        as_of: u64,
    ) -> Vec<u8> {
        let out = Writer::new("farthing/statement", 1).fixed(&ledger.0).fixed(&payment.0).u8(state.code());
        out.u128(amount.0).u128(refunded.0).u64(as_of).finish()
    }
}

/// An asset as the ledger announces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AssetTerms {
    /// The asset's code.
    pub code: String,
    /// Decimal places.
    pub scale: u8,
    /// The key that signs deposits.
    pub issuer: PublicKey,
}

/// The ledger's signed terms: `kinds[].extra` of `GET /supported`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LedgerTerms {
    /// The ledger's key; its hash is the network id.
    pub ledger_key: PublicKey,
    /// The assets, sorted by code.
    pub assets: Vec<AssetTerms>,
    /// The fee rate in basis points, taken out of what the payee gets.
    pub fee_bps: u16,
    /// Who gets the fee; zero when there is none.
    pub fee_recipient: PublicKey,
    /// The ledger's signature.
    pub signature: Signature,
}

impl LedgerTerms {
    /// Signs the terms of a ledger.
    pub fn sign(ledger: &SecretKey, assets: Vec<AssetTerms>, fee_bps: u16, fee_recipient: PublicKey) -> Self {
        let ledger_key = ledger.public();
        let bytes = Self::bytes(&ledger_key, &assets, fee_bps, &fee_recipient);
        Self { ledger_key, assets, fee_bps, fee_recipient, signature: ledger.sign(&bytes) }
    }

    /// Checks that the ledger of `id` said this.
    ///
    /// # Errors
    /// [`StatementError`] says what does not fit.
    pub fn verify(&self, id: &LedgerId) -> Result<(), StatementError> {
        if LedgerId::of(&self.ledger_key) != *id {
            return Err(StatementError::ForeignKey);
        }
        let bytes = Self::bytes(&self.ledger_key, &self.assets, self.fee_bps, &self.fee_recipient);
        signature::verify(&self.ledger_key, &bytes, &self.signature).map_err(|_| StatementError::Signature)
    }

    /// The decimal places of an asset.
    pub fn scale(&self, asset: &str) -> Option<u8> {
        self.assets.iter().find(|a| a.code == asset).map(|a| a.scale)
    }

    /// The asset's code, when the ledger has it.
    pub fn asset(&self, code: &str) -> Option<AssetCode> {
        self.scale(code).and_then(|_| code.parse().ok())
    }

    fn bytes(key: &PublicKey, assets: &[AssetTerms], fee_bps: u16, fee_recipient: &PublicKey) -> Vec<u8> {
        let id = LedgerId::of(key);
        let mut out = Writer::new("farthing/terms", 1).fixed(&id.0).u16(fee_bps).fixed(&fee_recipient.0);
        out = out.u32(assets.len() as u32);
        for asset in assets {
            out = out.var(asset.code.as_bytes()).u8(asset.scale).fixed(&asset.issuer.0);
        }
        out.finish()
    }
}
