//! What came of a payment: the settlement, the receipt, and the network's word, put together.

use farthing_protocol::digest::sha256;
use farthing_protocol::header::{self, PAYMENT_RESPONSE, X_PAYMENT_RESPONSE};
use farthing_protocol::rail::{Confirmation, PaymentId};
use farthing_protocol::receipt::{self, Receipt, SignedReceipt};
use farthing_protocol::v1::{SettlementResponseV1, network_of};
use farthing_protocol::v2::SettlementResponse;
use farthing_protocol::{Amount, Limits, Network, WireError, json, reason};
use http::header::TRANSFER_ENCODING;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use crate::attested;
use crate::flow::{Answer, is_event_stream, plausible, says_longer};
use crate::journal::Answered;
use crate::prepared::{Prepared, Version};
use crate::terms::one_value;
use crate::text::{SHOWN, plain};

/// `extra.state` of the settlement in the headers of an answer that is paid for while it comes.
const AUTHORIZED: &str = "authorized";
/// `extra.ended` of the last settlement of an answer that came whole.
const COMPLETE: &str = "complete";
/// Bytes of the longest answer for which a receipt can be expected.
const SIGNED_BYTES: usize = 64 * 1024;

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
    /// The seller's receipt of x402's `offer-receipt`, a compact JWS, when it says what happened and is signed: with
    /// the key that the offer announced, or with the one it carries where the offer announced none.
    pub receipt_jws: Option<String>,
    /// Whether the payment was settled before it was presented this time: nothing more was charged.
    pub replayed: bool,
    /// Whether the answer is still paid for while it comes: `amount` is the most it can be until its end, and
    /// the budget stays reserved.
    pub open: bool,
    /// Why nothing more came of an answer that was paid for while it came, in the word of the seller's last
    /// settlement: `complete`, or why the seller [ended it earlier](Self::is_cut). `None` where it says nothing.
    pub ended: Option<String>,
    /// Why there is none of the receipts that the offer announced and nobody is to blame for it.
    pub unsigned: Option<Unsigned>,
    /// What is missing or wrong.
    pub flags: Vec<Flag>,
}

impl PaymentReport {
    /// Whether the network itself says that money was taken, and nothing is missing or wrong.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        matches!(self.confirmation, Confirmation::Taken(_)) && self.flags.is_empty()
    }

    /// Whether the seller says that it ended the answer before it was complete, such as at the maximum.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.ended.as_deref().is_some_and(|word| word != COMPLETE)
    }

    /// What was taken, in whole units: `0.001 XTS`.
    #[must_use]
    pub fn cost(&self) -> String {
        format!("{} {}", self.amount.decimal(self.scale), self.currency)
    }

    /// Takes in a settlement that fits the payment, with the network's word and the receipt in it; returns what
    /// to keep of it.
    pub(crate) fn settled(
        &mut self,
        prepared: &Prepared,
        answer: &Answer,
        settlement: (Amount, &SettlementResponse),
        limits: &Limits,
    ) -> Answered {
        let (amount, response) = settlement;
        self.amount = amount;
        let mut answered = Answered { settled: Some(amount), ..Answered::default() };
        let confirmation = prepared.0.rail.confirm(&prepared.0.payment, response);
        self.hear(plausible(confirmation, prepared.max_amount()));
        if self.confirmation == Confirmation::NotTaken {
            self.flags.push(Flag::Contradicted("the network says that nothing was taken".into()));
        }
        match check_receipt(prepared, answer, self.amount, response, limits) {
            Ok(None) => {}
            Ok(Some(checked)) => {
                answered.receipt = Some(checked.signed.clone());
                (self.receipt, self.signed_receipt) = (Some(checked.receipt), Some(checked.signed));
                self.flags.extend(checked.flag);
            }
            Err(Flag::ReceiptMissing) => self.lacks_receipt(prepared, answer),
            Err(flag) => self.flags.push(flag),
        }
        match attested::check(prepared, response) {
            Ok(receipt) => (self.receipt_jws, answered.receipt_jws) = (receipt.clone(), receipt),
            Err(why) => self.flags.push(Flag::ReceiptInvalid(format!("of x402's offer-receipt: {why}"))),
        }
        answered
    }

    /// Takes in that there is no receipt. Whether one was possible is decided by the answer, and not by what the
    /// settlement says about it.
    pub(crate) fn lacks_receipt(&mut self, prepared: &Prepared, answer: &Answer) {
        if prepared.0.receipt_key.is_some() && self.unsigned.is_none() {
            self.unsigned = unsigned(prepared, answer);
            if self.unsigned.is_none() {
                self.flags.push(Flag::ReceiptMissing);
            }
        }
    }

    /// Takes in the network's word.
    pub(crate) fn hear(&mut self, confirmation: Confirmation) {
        match &confirmation {
            Confirmation::Taken(amount) => self.amount = *amount,
            Confirmation::NotTaken => self.amount = Amount::ZERO,
            Confirmation::Contradicted(why) => self.flags.push(Flag::Contradicted(why.clone())),
            Confirmation::Open | Confirmation::Unproven => {}
        }
        self.confirmation = confirmation;
    }
}

/// Why a seller could not sign a receipt for an answer: it signs before the first byte leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsigned {
    /// The answer is longer than the 64 KiB of which a seller waits for the end.
    Long,
    /// It is a stream of server-sent events.
    Events,
    /// It was paid for while it came.
    Metered,
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
    Failed {
        reason: Option<String>,
        response: SettlementResponse,
    },
    /// The money is held, and is taken while the answer comes.
    Authorized,
    Settled {
        amount: Amount,
        response: SettlementResponse,
    },
}

impl Settlement {
    /// Reads the settlement of the payment's version strictly and compares it with what was signed. `headers`
    /// are an answer's, or its trailers.
    pub(crate) fn read(prepared: &Prepared, headers: &HeaderMap, limits: &Limits) -> Self {
        let version = prepared.header().version();
        let name = match version {
            Version::V1 => X_PAYMENT_RESPONSE,
            Version::V2 => PAYMENT_RESPONSE,
        };
        let value = match one_value(headers, name) {
            Ok(Some(value)) => value,
            Ok(None) => return Self::Missing,
            Err(()) => return Self::Invalid(format!("there is more than one {name} header")),
        };
        let response = match version {
            Version::V1 => header::decode_settlement_v1(value, limits).map(meant),
            Version::V2 => header::decode_settlement(value, limits),
        };
        Self::compared(prepared, response)
    }

    /// As [`read`](Self::read), from the data of a stream's last event.
    pub(crate) fn read_event(prepared: &Prepared, data: &[u8], limits: &Limits) -> Self {
        Self::compared(prepared, json::read(data, limits))
    }

    fn compared(prepared: &Prepared, response: Result<SettlementResponse, WireError>) -> Self {
        let invalid = |why: &str| Self::Invalid(why.to_owned());
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
        if response.extra.get("state").and_then(Value::as_str) == Some(AUTHORIZED) {
            let most = response.extra.get("maxAmount").and_then(Value::as_str).map(str::parse::<Amount>);
            return match most {
                None => Self::Authorized,
                Some(Ok(most)) if most <= prepared.max_amount() => Self::Authorized,
                Some(_) => invalid("it holds more than was signed for"),
            };
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

/// Why no receipt can be expected of this answer. A length counts that was seen, or that the connection holds the
/// seller to: not one beside an encoding or a status that makes it void.
fn unsigned(prepared: &Prepared, answer: &Answer) -> Option<Unsigned> {
    let has_body = *prepared.request().method() != Method::HEAD
        && !matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let holds = has_body && !answer.complete && !answer.headers.contains_key(TRANSFER_ENCODING);
    if has_body && is_event_stream(&answer.headers) {
        return Some(Unsigned::Events);
    }
    let is_long = answer.body.len() > SIGNED_BYTES || holds && says_longer(&answer.headers, SIGNED_BYTES);
    is_long.then_some(Unsigned::Long)
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
