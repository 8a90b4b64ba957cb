//! What programs are told about payments, as JSON: the same shapes from every command and service.
//!
//! Amounts are objects `{"atomic": "1000", "decimal": "0.001"}`, of strings, because numbers of JSON readers
//! are not exact; `scale` says how many decimal places the asset has. `decimal` and `scale` are null where
//! no wallet knows the asset. All texts of others are as safe to show as [`safe`] makes them.

use farthing::agent::{Balance, BudgetLine};
use farthing::client::{
    ClientError, Fault, Flag, NotPayable, PaymentRefused, PaymentReport, Quote, QuotedOffer, Record, Refused,
    ResumeError, Rule, State, UnknownPayment, Unsigned,
};
use farthing::protocol::rail::Confirmation;
use farthing::protocol::{Amount, Retry};
use serde_json::{Value, json};

use crate::style::safe;

/// An amount in atomic units and, where the asset's decimal places are known, in whole units.
pub(crate) fn amount(amount: Amount, scale: Option<u8>) -> Value {
    json!({
        "atomic": amount.to_string(),
        "decimal": scale.map(|scale| amount.decimal(scale)),
    })
}

/// What an answer cost and what proves it.
pub(crate) fn payment(report: &PaymentReport) -> Value {
    let scale = Some(report.scale);
    json!({
        "id": report.id.to_string(),
        "network": report.network.to_string(),
        "asset": safe(&report.asset),
        "currency": safe(&report.currency),
        "scale": report.scale,
        "amount": amount(report.amount, scale),
        "max_amount": amount(report.max_amount, scale),
        "cost": safe(&report.cost()),
        "payee": safe(&report.payee),
        "confirmed": is_confirmed(&report.confirmation),
        "confirmation": confirmation(&report.confirmation),
        "receipt": report.receipt.is_some(),
        "replayed": report.replayed,
        "open": report.open,
        "ended": report.ended.as_deref().map(safe),
        "no_receipt": report.unsigned.map(unsigned),
        "flags": report.flags.iter().map(|flag| {
            let (name, detail) = self::flag(flag);
            json!({ "flag": name, "detail": detail.map(safe) })
        }).collect::<Vec<_>>(),
    })
}

/// Whether the network itself says how much was taken.
pub(crate) fn is_confirmed(confirmation: &Confirmation) -> bool {
    matches!(confirmation, Confirmation::Taken(_))
}

/// What the network says, in one word.
pub(crate) fn confirmation(confirmation: &Confirmation) -> &'static str {
    match confirmation {
        Confirmation::Taken(_) => "taken",
        Confirmation::NotTaken => "not-taken",
        Confirmation::Open => "open",
        Confirmation::Unproven => "unproven",
        Confirmation::Contradicted(_) => "contradicted",
    }
}

/// Why there is no receipt, in one word.
fn unsigned(why: Unsigned) -> &'static str {
    match why {
        Unsigned::Long => "too-long",
        Unsigned::Events => "events",
        Unsigned::Metered => "metered",
    }
}

/// Why the seller ended an answer before it was complete, for people; `None` if it did not.
pub(crate) fn cut(report: &PaymentReport) -> Option<String> {
    let word = report.ended.as_deref().filter(|_| report.is_cut())?;
    Some(match word {
        "exhausted" => format!("the maximum of {} was used up", safe(&report.price)),
        "deadline" => "the server ended it when its time was over".to_owned(),
        "server-stopping" => "the server stopped".to_owned(),
        "capture-refused" => "the server ended it, because a part of the money was refused to it".to_owned(),
        word => format!("the server ended it: {}", safe(word)),
    })
}

/// A flag's name, and what it says besides.
pub(crate) fn flag(flag: &Flag) -> (&'static str, Option<&str>) {
    match flag {
        Flag::SettlementMissing => ("settlement-missing", None),
        Flag::SettlementInvalid(why) => ("settlement-invalid", Some(why)),
        Flag::NotSettled(why) => ("not-settled", Some(why)),
        Flag::ReceiptMissing => ("receipt-missing", None),
        Flag::ReceiptInvalid(why) => ("receipt-invalid", Some(why)),
        Flag::ReceiptUnchecked => ("receipt-unchecked", None),
        Flag::Contradicted(why) => ("contradicted", Some(why)),
    }
}

/// What a request would cost, and whether the policy would pay it.
pub(crate) fn quote(quote: &Quote) -> Value {
    let offer = |offer: &QuotedOffer| {
        let decimal = offer.price.as_deref().and_then(|price| price.split_once(' '));
        json!({
            "scheme": safe(&offer.scheme),
            "network": offer.network.to_string(),
            "asset": safe(&offer.asset),
            "amount": {
                "atomic": offer.amount.to_string(),
                "decimal": decimal.map(|(decimal, _)| decimal),
            },
            "price": offer.price.as_deref().map(safe),
            "payee": safe(&offer.payee),
            "would_pay": offer.verdict.is_ok(),
            "refused": offer.verdict.as_ref().err().map(refused),
        })
    };
    let payable = quote.offers.iter().position(|offer| offer.verdict.is_ok());
    json!({
        "free": quote.is_free(),
        "description": quote.description.as_deref().map(safe),
        "offers": quote.offers.iter().map(offer).collect::<Vec<_>>(),
        // The offer that would be paid, counted from 0.
        "chosen": payable,
    })
}

/// A budget and what counts against it; a limit that is not set is null.
pub(crate) fn budget(line: &BudgetLine) -> Value {
    let scale = Some(line.scale);
    let limit = |limit: Option<Amount>| limit.map(|limit| amount(limit, scale));
    let (limits, spent) = (&line.limits, line.spent);
    let counted = Amount(spent.taken.0.saturating_add(spent.reserved.0));
    let left = limits.total.checked_sub(counted).unwrap_or_default();
    json!({
        "network": line.network.to_string(),
        "asset": safe(&line.asset),
        "currency": safe(&line.currency),
        "scale": line.scale,
        "limits": {
            "total": amount(limits.total, scale),
            "per_request": limit(limits.per_request),
            "per_host": limit(limits.per_host),
            "per_payee": limit(limits.per_payee),
            "per_agent": limit(limits.per_agent),
            "per_task": limit(limits.per_task),
            "per_hour": limit(limits.per_hour),
            "per_day": limit(limits.per_day),
            "per_month": limit(limits.per_month),
        },
        "taken": amount(spent.taken, scale),
        "reserved": amount(spent.reserved, scale),
        "left": amount(left, scale),
    })
}

/// What an account has; `amount` is null when nobody says, and `error` why.
pub(crate) fn balance(balance: &Balance) -> Value {
    let scale = Some(balance.scale);
    json!({
        "network": balance.network.to_string(),
        "asset": safe(&balance.asset),
        "currency": safe(&balance.currency),
        "scale": balance.scale,
        "account": safe(&balance.account),
        "amount": balance.amount.as_ref().ok().map(|has| amount(*has, scale)),
        "error": balance.amount.as_ref().err().map(|why| safe(&why.to_string())),
    })
}

/// What people call an asset, and its decimal places, from the wallet's rail.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) currency: String,
    pub(crate) scale: u8,
}

/// A payment in the journal. `known` is its asset's, where a wallet knows it.
pub(crate) fn record(record: &Record, known: Option<&Known>) -> Value {
    let scale = known.map(|known| known.scale);
    let (charge, state) = (&record.charge, record.state);
    json!({
        "id": record.id().to_string(),
        "signed_at": record.signed_at,
        "state": state.standing().name(),
        "method": safe(&record.method),
        "url": safe(&record.url()),
        "network": charge.asset.network.to_string(),
        "asset": safe(&charge.asset.asset),
        "currency": known.map(|known| safe(&known.currency)),
        "scale": scale,
        "max_amount": amount(charge.amount, scale),
        "amount": record.taken().map(|taken| amount(taken, scale)),
        "status": record.status,
        "payee": safe(&charge.payee),
        "agent": charge.agent.as_deref().map(safe),
        "task": charge.task.as_deref().map(safe),
        "confirmed": matches!(state, State::Confirmed(_)),
        "receipt": record.receipt.as_deref().and_then(|receipt| serde_json::from_str::<Value>(receipt).ok()),
        "receipt_jws": record.receipt_jws,
    })
}

/// The rule that refused, why, and what a person could do about it.
pub(crate) fn refused(refused: &Refused) -> Value {
    json!({
        "rule": rule(&refused.rule),
        "why": safe(&refused.why),
        "remedy": refused.rule.remedy(),
    })
}

/// A rule's name, such as `over_budget`.
pub(crate) fn rule(rule: &Rule) -> &'static str {
    rule.name()
}

/// An error in one word, such as `refused`.
pub(crate) fn code(error: &ClientError) -> &'static str {
    match error {
        ClientError::Request { .. } | ClientError::Price(_) => "bad-request",
        ClientError::NotPayable(_) => "not-payable",
        ClientError::Refused(_) => "refused",
        ClientError::PaymentRefused(_) => "payment-refused",
        ClientError::Unknown(_) => "outcome-unknown",
        ClientError::Network { .. } => "no-answer",
        ClientError::Broken { .. } => "answer-broken",
        ClientError::TooLarge { .. } => "answer-too-large",
        ClientError::NotText => "answer-not-text",
        ClientError::Journal(_) => "journal",
        _ => "internal",
    }
}

/// Why a request has no answer: `code`, `detail`, `retry` (same, new or none), `fault`, and what belongs to
/// the code.
pub(crate) fn error(error: &ClientError) -> Value {
    let mut told = json!({
        "code": code(error),
        "detail": safe(&error.to_string()),
        "retry": retry(error.retry()),
        "fault": fault(error.at_fault()),
    });
    match error {
        ClientError::Refused(refused) => told["refused"] = self::refused(refused),
        ClientError::NotPayable(not_payable) => {
            let NotPayable { status, why, said } = not_payable.as_ref();
            told["status_of_resource"] = status.as_u16().into();
            told["why"] = safe(why).into();
            told["said"] = json!({
                "code": said.code.as_deref().map(safe),
                "message": said.message.as_deref().map(safe),
                "doc_url": said.doc_url.as_deref().map(safe),
            });
        }
        ClientError::PaymentRefused(refused) => {
            let PaymentRefused { payment, status, reason, confirmation, .. } = refused.as_ref();
            told["payment"] = payment.to_string().into();
            told["status_of_resource"] = status.as_u16().into();
            told["reason"] = reason.as_deref().map(safe).into();
            told["confirmation"] = self::confirmation(confirmation).into();
        }
        ClientError::Unknown(unknown) => {
            let UnknownPayment { tries, last, confirmation, .. } = unknown.as_ref();
            told["payment"] = unknown.payment().to_string().into();
            told["tries"] = (*tries).into();
            told["last"] = safe(last).into();
            told["confirmation"] = self::confirmation(confirmation).into();
        }
        _ => {}
    }
    told
}

/// Why a payment cannot be presented again: as [`error`].
pub(crate) fn resume_error(error: &ResumeError) -> Value {
    let code = match error {
        ResumeError::NoPayment(_) => "no-such-payment",
        ResumeError::Released(_) => "payment-released",
        ResumeError::NoRail { .. } => "no-wallet",
        ResumeError::RequestNeeded { .. } => "request-needed",
        ResumeError::OtherRequest { .. } => "other-request",
        ResumeError::Request(_) => "bad-request",
        ResumeError::Journal(_) => "journal",
    };
    let retry = if matches!(error, ResumeError::Released(_)) { Retry::New } else { Retry::None };
    let mut told = json!({
        "code": code,
        "detail": safe(&error.to_string()),
        "retry": self::retry(retry),
        "fault": fault(Fault::Caller),
    });
    if let ResumeError::RequestNeeded { missing } = error {
        told["missing"] = missing.clone().into();
    }
    told
}

fn retry(retry: Retry) -> String {
    retry.to_string()
}

fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Caller => "caller",
        Fault::Server => "server",
        Fault::Network => "network",
        Fault::Policy => "policy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_in_both_forms_and_whole_units_need_a_scale() {
        let most = Amount(u128::MAX);
        assert_eq!(amount(Amount(1000), Some(6)), json!({"atomic": "1000", "decimal": "0.001"}));
        assert_eq!(amount(most, None)["atomic"], u128::MAX.to_string());
        assert_eq!(amount(most, None)["decimal"], Value::Null);
    }

    #[test]
    fn errors_carry_the_advice_that_programs_act_on() {
        let refused = Refused { rule: Rule::NoBudget, why: "no budget in X\u{1b}TS".into() };
        let told = error(&ClientError::Refused(Box::new(refused)));
        assert_eq!(
            (&told["code"], &told["retry"], &told["fault"]),
            (&json!("refused"), &json!("none"), &json!("policy"))
        );
        assert_eq!(told["refused"]["rule"], Rule::NoBudget.name());
        assert!(!told.to_string().contains('\u{1b}') && told["refused"]["remedy"].as_str().is_some());
        let lost = error(&ClientError::Network { why: "gone".into() });
        assert_eq!((&lost["code"], &lost["retry"]), (&json!("no-answer"), &json!("new")));
    }
}
