//! What is said of payments: by facilitators, servers and the ledger. It must be flushed by then.

use farthing::protocol::rail::{Outcome, PaymentId};
use farthing::protocol::reason;
use farthing::protocol::v2::SettlementResponse;
use serde_json::Value;

use super::{GENEROUS, Oracle, Stand};

impl Oracle {
    /// The ledger's process answers a settlement: what it says must be flushed.
    pub(crate) fn settled(&mut self, payment: &PaymentId, outcome: &Outcome) {
        match outcome {
            Outcome::Settled(said) => {
                let state = said.extra.get("state").and_then(Value::as_str).unwrap_or_default();
                let epoch = said.extra.get("epoch").and_then(Value::as_u64).unwrap_or(0);
                self.hears(payment, "the facilitator", state, said.amount.map(|amount| amount.0), epoch);
            }
            Outcome::NotSettled(said) if said.error_reason.as_deref() == Some(reason::PAYMENT_VOIDED) => {
                self.hears(payment, "the facilitator", "ended", None, 0);
            }
            _ => {}
        }
    }

    /// A server answers a client: what it says of the payment must be flushed.
    pub(crate) fn answered(&mut self, payment: &PaymentId, said: &SettlementResponse) {
        let state = said.extra.get("state").and_then(Value::as_str).unwrap_or_default();
        if said.success {
            self.hears(payment, "a server", state, said.amount.map(|amount| amount.0), 0);
        } else if said.error_reason.as_deref() == Some(reason::PAYMENT_VOIDED) {
            self.hears(payment, "a server", "ended", None, 0);
        }
    }

    /// The ledger states where a payment stands.
    pub(crate) fn stated(&mut self, payment: &PaymentId, statement: &Value) {
        let state = statement["state"].as_str().unwrap_or_default();
        if state == "absent" {
            let as_of = statement["asOf"].as_u64().unwrap_or(0);
            if self.windows.get(payment).is_some_and(|before| as_of > before + GENEROUS) {
                self.never.insert(*payment);
            }
            return;
        }
        let amount = statement["amount"].as_str().and_then(|amount| amount.parse().ok());
        self.hears(payment, "the ledger", state, amount.filter(|_| state == "captured"), 0);
    }

    fn hears(&mut self, payment: &PaymentId, who: &str, state: &str, amount: Option<u128>, epoch: u64) {
        let name = self.name(payment);
        let true_so_far = match (self.stories.get(payment), state) {
            (None, _) => false,
            (Some(story), "captured") => {
                story.stand == Stand::Captured && amount.is_none_or(|amount| amount == story.captured)
            }
            (Some(story), "voided" | "reclaimed" | "ended") => {
                matches!(story.stand, Stand::Voided | Stand::Reclaimed)
            }
            (Some(story), _) => story.epoch >= epoch,
        };
        if !true_so_far {
            self.fail(format!("{who} says that {name} is {state}, and that is not flushed"));
        }
    }
}
