//! The table, as the specification has it.

use super::*;

/// Status, reason, code and retry advice of every situation, as the specification's table has them.
#[test]
fn each_situation_has_its_row() {
    use Situation as S;
    let table = [
        (S::Unpaid, Some(402), None, "payment-required", Some(Retry::New)),
        (S::Malformed, Some(400), None, "malformed-payment", Some(Retry::New)),
        (S::SeveralPayments, Some(400), None, "several-payments", Some(Retry::New)),
        (S::UnsupportedVersion, Some(400), None, "unsupported-version", Some(Retry::New)),
        (S::PaymentTooLarge, Some(431), None, "payment-too-large", Some(Retry::New)),
        (S::BodyTooLarge, Some(413), None, "body-too-large", Some(Retry::New)),
        (S::BodyTimeout, Some(408), None, "body-timeout", Some(Retry::New)),
        (S::BodyUnreadable, Some(400), None, "malformed-body", Some(Retry::New)),
        (
            S::OtherRequest,
            Some(409),
            Some("bound_to_other_request"),
            "bound-to-other-request",
            Some(Retry::New),
        ),
        (
            S::NoMatch,
            Some(402),
            Some("no_matching_payment_requirements"),
            "payment-refused",
            Some(Retry::New),
        ),
        (S::Refused, Some(402), None, "payment-refused", Some(Retry::New)),
        (S::InProgress, Some(409), Some("payment_in_progress"), "payment-in-progress", Some(Retry::Same)),
        (S::Conflict, Some(409), Some("payment_conflict"), "payment-conflict", Some(Retry::None)),
        (S::Pending, Some(503), Some("settlement_pending"), "settlement-pending", Some(Retry::Same)),
        (S::TakenOver, Some(409), Some("payment_voided"), "payment-voided", Some(Retry::New)),
        (S::Ended, Some(402), Some("payment_voided"), "payment-voided", Some(Retry::New)),
        (S::AnswerNotKept, Some(409), None, "answer-not-kept", Some(Retry::None)),
        (S::HandlerFailed, None, Some("payment_voided"), "handler-failed", Some(Retry::New)),
        (S::HandlerBroke, Some(500), Some("payment_voided"), "handler-failed", Some(Retry::New)),
        (S::HandlerTimeout, Some(504), Some("payment_voided"), "handler-timeout", Some(Retry::New)),
        (S::Disconnected, Some(499), Some("payment_voided"), "client-gone", Some(Retry::New)),
        (S::Policy, Some(403), Some("payment_voided"), "refused-by-policy", Some(Retry::None)),
        (S::PaidFailed, None, None, "handler-failed", Some(Retry::Same)),
        (S::PaidBroke, Some(500), None, "handler-failed", Some(Retry::Same)),
        (S::PaidTimeout, Some(504), None, "handler-timeout", Some(Retry::Same)),
        (S::PaidDisconnected, Some(499), None, "client-gone", Some(Retry::Same)),
        (S::PaidPolicy, Some(403), None, "refused-by-policy", Some(Retry::None)),
        (S::Busy, Some(503), None, "busy", Some(Retry::Same)),
        (S::Internal, Some(500), None, "internal", Some(Retry::New)),
        (S::Paid, None, None, "paid", None),
        (S::Free, None, None, "free", None),
        (S::WithinQuota, None, None, "within-quota", None),
        (S::Admitted, None, None, "admitted", None),
        (S::TurnedAway, None, None, "turned-away", Some(Retry::None)),
        (S::QuotaExceeded, Some(402), Some("quota_exceeded"), "quota-exceeded", Some(Retry::New)),
        (
            S::SubscriptionExpired,
            Some(402),
            Some("subscription_expired"),
            "subscription-expired",
            Some(Retry::New),
        ),
        (S::PlanRequired, Some(402), Some("plan_required"), "plan-required", Some(Retry::New)),
        (S::MethodNotSold, Some(405), None, "method-not-sold", Some(Retry::None)),
        (S::MalformedSignIn, Some(400), None, "malformed-sign-in", Some(Retry::New)),
        (S::SignInTooLarge, Some(431), None, "sign-in-too-large", Some(Retry::New)),
        (S::SignInRefused, Some(402), Some("payment_required"), "sign-in-refused", Some(Retry::New)),
        (S::PassesUnavailable, Some(503), None, "passes-unavailable", Some(Retry::Same)),
    ];
    for (situation, status, reason, code, retry) in table {
        let row = situation.row();
        assert_eq!(
            (row.status, row.reason, row.code, row.retry),
            (status, reason, code, retry),
            "{situation:?}"
        );
    }
}

#[test]
fn only_402_has_terms_and_every_402_has_them() {
    use Situation as S;
    for situation in [S::Unpaid, S::NoMatch, S::Refused, S::Ended, S::Pending, S::InProgress, S::Internal] {
        let row = situation.row();
        assert_eq!(row.terms, row.status == Some(402), "{situation:?}");
    }
}

#[test]
fn a_problem_is_never_stored_by_a_cache_and_names_its_field() {
    let refusal = Refusal::new(Situation::Malformed, "is not base64").field("payment-signature");
    let answer = Answer::<()>::problem(&refusal, None, None);
    assert_eq!(answer.status, 400);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let Content::Whole(body) = answer.content else { panic!("a problem is whole") };
    let problem: problem::Problem = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (problem.code.as_str(), problem.field.as_deref()),
        ("malformed-payment", Some("payment-signature"))
    );
}
