//! What became of a payment, in words: settlements, the ledger's statement, the seller's receipt.

use farthing::farthing_ledger::LedgerId;
use farthing::farthing_ledger::statement::{PaymentState, Statement};
use farthing::protocol::rail::PaymentId;
use farthing::protocol::receipt::{self, SignedReceipt};
use farthing::protocol::v1::{self, SettlementResponseV1};
use farthing::protocol::v2::SettlementResponse;
use farthing::protocol::{Amount, Network, RequestDigest};
use serde_json::Value;

use super::asset;
use super::words::Words;
use crate::style::{BAD, CAREFUL, GOOD, paint, safe};

impl Words {
    pub(super) fn settlement(&mut self, settlement: &SettlementResponse) {
        self.title("What became of a payment (PAYMENT-RESPONSE, x402 version 2)");
        self.line("What a server sends with its answer to a payment.");
        self.out.push('\n');
        self.outcome(settlement.success, settlement.error_reason.as_deref());
        if let Some(message) = &settlement.error_message {
            self.value("in words", format!("\"{}\"", safe(message)));
        }
        if let Some(amount) = settlement.amount {
            self.value("amount", format!("{amount} atomic units of the payment's asset"));
        }
        self.transaction(&settlement.transaction, &settlement.network, settlement.payer.as_deref());
        if let Some(state) = settlement.extra.get("state").and_then(Value::as_str) {
            self.value("state", safe(state));
        }
        match settlement.extra.get("statement") {
            Some(statement) => self.statement(statement, settlement),
            None if settlement.success => {
                self.out.push('\n');
                self.line("This is what the server says. It holds no statement by the network itself.");
            }
            None => {}
        }
        if let Some(receipt) = settlement.extensions.get(receipt::EXTENSION) {
            self.receipt(receipt.get(), &settlement.transaction);
        }
        let others = settlement.extensions.keys().filter(|name| *name != receipt::EXTENSION);
        self.extensions(others);
    }

    fn outcome(&mut self, success: bool, reason: Option<&str>) {
        let reason = reason.map(safe);
        match (success, reason.as_deref()) {
            (true, _) => self.value("outcome", paint(GOOD, "settled")),
            (false, Some("settlement_pending")) => {
                self.value("outcome", paint(CAREFUL, "not known yet"));
                self.quiet(
                    "Present the same payment again; never sign a new one while this one may still land.",
                );
            }
            (false, reason) => {
                let reason = reason.unwrap_or("no reason given");
                self.value("outcome", format!("{}: {reason}", paint(BAD, "not settled")));
            }
        }
    }

    fn transaction(&mut self, transaction: &str, network: &str, payer: Option<&str>) {
        if !transaction.is_empty() {
            let name = if network.starts_with("farthing:") { "payment" } else { "transaction" };
            self.value(name, safe(transaction));
        }
        if !network.is_empty() {
            self.value("on network", asset::network(network));
        }
        if let Some(payer) = payer.filter(|payer| !payer.is_empty()) {
            self.value("payer", safe(payer));
        }
    }

    fn statement(&mut self, statement: &Value, settlement: &SettlementResponse) {
        self.title("The ledger's own statement");
        let ledger = settlement.network.parse::<Network>().ok().and_then(|n| LedgerId::of_network(&n));
        let payment = settlement.transaction.parse::<PaymentId>().ok();
        let (Ok(statement), Some(ledger), Some(payment)) =
            (serde_json::from_value::<Statement>(statement.clone()), ledger, payment)
        else {
            return self.bad("statement", "it cannot be read");
        };
        match statement.verify(&ledger, &payment) {
            Ok(()) => self.good("signature", "by the ledger's key, which its network id is the hash of"),
            Err(error) => self.bad("signature", error),
        }
        let state = match statement.state {
            PaymentState::Absent => "the ledger has never seen this payment",
            PaymentState::Held => "its money is held",
            PaymentState::Captured => "captured: the seller has the money",
            PaymentState::Voided => "given back by the seller; nothing was taken",
            PaymentState::Reclaimed => "its hold ended; nothing was taken",
        };
        self.value("state", state);
        self.value("captured", format!("{} atomic units", statement.amount));
        if statement.refunded != Amount::ZERO {
            self.value("given back", format!("{} atomic units", statement.refunded));
        }
        self.moment("as of", statement.as_of);
        if settlement.success && settlement.amount.is_some_and(|amount| amount != statement.amount) {
            self.bad("amount", "the server says another amount than the ledger");
        }
    }

    fn receipt(&mut self, text: &str, transaction: &str) {
        self.title("The seller's receipt");
        let signed = serde_json::from_str::<SignedReceipt>(text);
        let signed = match signed {
            Ok(signed) => signed,
            Err(error) => {
                return self.bad("receipt", format!("it cannot be read: {}", safe(&error.to_string())));
            }
        };
        match signed.verify(&signed.key) {
            Err(error) => self.bad("signature", error),
            Ok(receipt) => {
                self.good("signature", format!("by {}", signed.key));
                self.quiet(
                    "It proves something only if the seller's offer named this key as its receiptKey.",
                );
                if receipt.payment.to_string() == transaction {
                    self.value("for payment", receipt.payment);
                } else {
                    self.bad("for payment", format!("{}, which is another one", receipt.payment));
                }
                self.value("for request", receipt.digest);
                self.value("answered", receipt.status);
                self.value("body (SHA-256)", RequestDigest(receipt.body));
                self.value("amount", format!("{} atomic units", receipt.amount));
                self.moment("signed", receipt.issued_at);
            }
        }
    }

    pub(super) fn settlement_v1(&mut self, settlement: &SettlementResponseV1) {
        self.title("What became of a payment (X-PAYMENT-RESPONSE, x402 version 1)");
        self.line("What a server of the older version sends with its answer to a payment.");
        self.out.push('\n');
        self.outcome(settlement.success, settlement.error_reason.as_deref());
        let network =
            v1::network_of(&settlement.network).map_or(settlement.network.clone(), |n| n.to_string());
        self.transaction(&settlement.transaction, &network, settlement.payer.as_deref());
    }
}
