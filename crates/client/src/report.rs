//! What came of a payment: the settlement, the receipt, and the network's word, put together.

use farthing_protocol::digest::sha256;
use farthing_protocol::header::{self, PAYMENT_RESPONSE, X_PAYMENT_RESPONSE};
use farthing_protocol::rail::{Confirmation, PaymentId};
use farthing_protocol::receipt::{self, Receipt, SignedReceipt};
use farthing_protocol::v1::{SettlementResponseV1, network_of};
use farthing_protocol::v2::SettlementResponse;
use farthing_protocol::{Amount, Limits, Network, json, reason};
use http::Method;

use crate::flow::Answer;
use crate::prepared::{Prepared, Version};
use crate::terms::one_value;
use crate::text::{SHOWN, plain};

/// What a paid answer cost, and what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentReport {
    /// The payment.
    pub id: PaymentId,
    /// Atomic units that were taken: by the network's word, else by the server's, else the most it can be.
    pub amount: Amount,
    /// Atomic units that were signed for.
    pub max_amount: Amount,
    /// The asset, in the network's own words.
    pub asset: String,
    /// What people call the asset.
    pub currency: String,
    /// The network.
    pub network: Network,
    /// Decimal places of the asset, from the wallet's rail.
    pub scale: u8,
    /// Who was paid, in the network's own words.
    pub payee: String,
    /// What was signed for, in whole units: `0.001 XTS`.
    pub price: String,
    /// What the network says.
    pub confirmation: Confirmation,
    /// The seller's receipt, when it is signed with the key that the offer announced and says what happened.
    pub receipt: Option<Receipt>,
    /// That receipt as it came: JSON, with the seller's signature.
    pub signed_receipt: Option<String>,
    /// Whether the payment was settled before it was presented this time: nothing more was charged.
    pub replayed: bool,
    /// What is missing or wrong.
    pub flags: Vec<Flag>,
}

impl PaymentReport {
    /// Whether the network itself says that money was taken, and nothing is missing or wrong.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        matches!(self.confirmation, Confirmation::Taken(_)) && self.flags.is_empty()
    }

    /// What was taken, in whole units: `0.001 XTS`.
    #[must_use]
    pub fn cost(&self) -> String {
        format!("{} {}", self.amount.decimal(self.scale), self.currency)
    }
}

/// Something about a paid answer that its payer should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flag {
    /// The answer does not say what became of the payment.
    SettlementMissing,
    /// What the answer says about the payment cannot be believed.
    SettlementInvalid(String),
    /// The server says that it took nothing, for this reason.
    NotSettled(String),
    /// Something was paid for, and there is none of the receipts that the offer announced.
    ReceiptMissing,
    /// The receipt is not the seller's, or not for this payment, request and answer.
    ReceiptInvalid(String),
    /// The receipt is the seller's; the answer's body is too long to compare it.
    ReceiptUnchecked,
    /// The network contradicts the server.
    Contradicted(String),
}

/// What an answer says about the payment.
pub(crate) enum Settlement {
    Missing,
    Invalid(String),
    Pending,
    Failed { reason: Option<String>, response: SettlementResponse },
    Settled { amount: Amount, response: SettlementResponse },
}

impl Settlement {
    /// Reads the settlement of the payment's version strictly and compares it with what was signed.
    pub(crate) fn read(prepared: &Prepared, answer: &Answer, limits: &Limits) -> Self {
        let invalid = |why: &str| Self::Invalid(why.to_owned());
        let version = prepared.header().version();
        let name = match version {
            Version::V1 => X_PAYMENT_RESPONSE,
            Version::V2 => PAYMENT_RESPONSE,
        };
        let value = match one_value(&answer.headers, name) {
            Ok(Some(value)) => value,
            Ok(None) => return Self::Missing,
            Err(()) => return Self::Invalid(format!("there is more than one {name} header")),
        };
        let response = match version {
            Version::V1 => header::decode_settlement_v1(value, limits).map(meant),
            Version::V2 => header::decode_settlement(value, limits),
        };
        let response = match response {
            Ok(response) => response,
            Err(error) => return Self::Invalid(plain(&error.to_string(), SHOWN)),
        };
        if !response.success {
            return match response.error_reason.as_deref() {
                Some(reason::SETTLEMENT_PENDING) => Self::Pending,
                reason => Self::Failed { reason: reason.map(|text| plain(text, SHOWN)), response },
            };
        }
        let network = prepared.network();
        if response.network != network.as_str() {
            return invalid("it settles on another network");
        }
        // On farthing ledgers a settlement has the payment's name; other networks have their own.
        let named = network.namespace() == "farthing";
        if response.transaction.is_empty() || named && response.transaction != prepared.id().to_string() {
            return invalid("it settles another payment");
        }
        let amount = response.amount.unwrap_or(prepared.max_amount());
        if amount > prepared.max_amount() {
            return invalid("it takes more than was signed for");
        }
        Self::Settled { amount, response }
    }
}

/// The settlement of version 2 that one of version 1 means.
fn meant(settlement: SettlementResponseV1) -> SettlementResponse {
    let network = network_of(&settlement.network).map(|network| network.to_string());
    SettlementResponse {
        success: settlement.success,
        error_reason: settlement.error_reason,
        transaction: settlement.transaction,
        network: network.unwrap_or(settlement.network),
        payer: settlement.payer,
        ..SettlementResponse::default()
    }
}

/// A receipt that says what happened, as far as that could be compared.
pub(crate) struct Checked {
    pub(crate) receipt: Receipt,
    /// As it came.
    pub(crate) signed: String,
    pub(crate) flag: Option<Flag>,
}

/// The receipt in a settlement, checked against everything the client knows; `None` when the offer announced
/// none.
pub(crate) fn check_receipt(
    prepared: &Prepared,
    answer: &Answer,
    settled: Amount,
    response: &SettlementResponse,
    limits: &Limits,
) -> Result<Option<Checked>, Flag> {
    let invalid = |why: &str| Err(Flag::ReceiptInvalid(why.to_owned()));
    let Some(key) = &prepared.0.receipt_key else { return Ok(None) };
    let Some(as_it_came) = response.extensions.get(receipt::EXTENSION) else {
        return Err(Flag::ReceiptMissing);
    };
    let signed: SignedReceipt = match json::read(as_it_came.get().as_bytes(), limits) {
        Ok(signed) => signed,
        Err(error) => return invalid(&plain(&error.to_string(), SHOWN)),
    };
    let receipt = match signed.verify(key) {
        Ok(receipt) => receipt,
        Err(error) => return invalid(&error.to_string()),
    };
    if receipt.payment != prepared.id() {
        return invalid("it is for another payment");
    }
    if receipt.digest != prepared.digest() {
        return invalid("it is for another request");
    }
    if receipt.status != answer.status.as_u16() {
        return invalid("it is for an answer with another status");
    }
    if receipt.amount != settled {
        return invalid("it is for another amount");
    }
    // It covers the body that GET would have had, or none; neither is here to compare.
    let is_head = *prepared.request().method() == Method::HEAD;
    let flag = (!is_head && !answer.complete).then_some(Flag::ReceiptUnchecked);
    if !is_head && answer.complete && receipt.body != sha256(&answer.body) {
        return invalid("it is for another body");
    }
    Ok(Some(Checked { receipt, signed: as_it_came.get().to_owned(), flag }))
}
