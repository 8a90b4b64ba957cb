//! What standard error says about an answer that came.

use std::fmt::Write as _;
use std::io::Write;

use farthing::client::{Flag, PaymentReport, Unsigned};
use farthing::protocol::Amount;
use farthing::protocol::rail::Confirmation;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::ended;
use crate::style::{CAREFUL, GOOD, QUIET, ascii_json, paint, safe};
use crate::told;

/// Says what was paid.
pub(super) fn paid(status: StatusCode, bytes: u64, payment: Option<&PaymentReport>, as_json: bool) {
    if as_json {
        let is_whole = status.is_success() && !payment.is_some_and(PaymentReport::is_cut);
        let exit = if is_whole { 0 } else { ended::STATUS };
        let payment = payment.map(told::payment);
        return line(&json!({ "exit": exit, "status": status.as_u16(), "bytes": bytes, "payment": payment }));
    }
    let text = match payment {
        None => paint(QUIET, "free: nothing was paid\n"),
        Some(payment) => words(payment),
    };
    tell(&text);
}

/// One line of JSON on standard error.
pub(super) fn line(value: &Value) {
    tell(&format!("{}\n", ascii_json(&value.to_string())));
}

/// Writes to standard error.
pub(super) fn tell(text: &str) {
    // There is nobody left to tell when this fails.
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}

/// A payment for people.
fn words(payment: &PaymentReport) -> String {
    let mut text = match (payment.is_proven(), payment.amount) {
        (_, Amount::ZERO) => paint(CAREFUL, "nothing was taken"),
        (true, _) => paint(GOOD, format!("paid {}", safe(&payment.cost()))),
        (false, _) => paint(CAREFUL, format!("paid {}", safe(&payment.cost()))),
    };
    let again = if payment.replayed { " (before: nothing more was charged now)" } else { "" };
    let (payee, network) = (safe(&payment.payee), payment.network.to_string());
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{again} to {payee} on {network}");
    let _ = writeln!(text, "   payment {}", payment.id);
    if payment.is_proven() {
        let receipt = match (&payment.receipt, payment.unsigned) {
            (Some(_), _) => "; the seller's receipt is valid",
            (None, None) => "",
            (None, Some(Unsigned::Long)) => "; no receipt: the answer was too long for one",
            (None, Some(Unsigned::Events)) => "; no receipt: a stream of events has none",
            (None, Some(Unsigned::Metered)) => "; no receipt: it was paid for while it came",
        };
        let _ = writeln!(text, "   confirmed by the network{receipt}");
        return text;
    }
    let confirmed = match &payment.confirmation {
        Confirmation::Taken(_) => "confirmed by the network".to_owned(),
        Confirmation::NotTaken => "the network says that nothing was taken, and nothing can be".to_owned(),
        Confirmation::Open => "NOT CONFIRMED: the network says that it may still be taken".to_owned(),
        Confirmation::Unproven => "NOT CONFIRMED: only the seller says so, if anybody".to_owned(),
        Confirmation::Contradicted(why) => format!("NOT CONFIRMED: {}", safe(why)),
    };
    let _ = writeln!(text, "   {}", paint(CAREFUL, confirmed));
    for flag in &payment.flags {
        let _ = writeln!(text, "   {}", paint(CAREFUL, about(flag)));
    }
    text
}

fn about(flag: &Flag) -> String {
    match flag {
        Flag::SettlementMissing => "the answer does not say what became of the payment".to_owned(),
        Flag::SettlementInvalid(why) => {
            format!("what the answer says about the payment cannot be believed: {}", safe(why))
        }
        Flag::NotSettled(why) => format!("the server says that it took nothing: {}", safe(why)),
        Flag::ReceiptMissing => "the receipt that was promised is missing".to_owned(),
        Flag::ReceiptInvalid(why) => format!("the receipt does not hold: {}", safe(why)),
        Flag::ReceiptUnchecked => "the content is too long to compare it with the receipt".to_owned(),
        Flag::Contradicted(why) => format!("the network contradicts the server: {}", safe(why)),
    }
}
