//! What a server answers: the one table from a situation to status, x402 reason, problem and retry advice.
//!
//! Every answer of a priced route names a [`Situation`], and [`Situation::row`] is the whole table. Retry
//! advice decides whether a payer pays twice: `same` while the first payment may still land, `new` only
//! when it was not taken and will not be.

use std::borrow::Cow;

use bytes::Bytes;
use farthing_protocol::v1::SettlementResponseV1;
use farthing_protocol::v2::SettlementResponse;
use farthing_protocol::{Retry, header, problem, reason};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::flow::{Permit, Terms};
use crate::headers;

/// What became of one request on a priced route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Situation {
    /// No payment came with it.
    Unpaid,
    /// The payment cannot be read.
    Malformed,
    /// More than one payment header, or several values in one.
    SeveralPayments,
    /// A payment of version 1, which no rail here takes.
    UnsupportedVersion,
    /// The payment header is longer than this server reads.
    PaymentTooLarge,
    /// The body is longer than a payment can be bound to here.
    BodyTooLarge,
    /// The body did not arrive in time to be bound.
    BodyTimeout,
    /// The body broke off or is malformed.
    BodyUnreadable,
    /// The payment is signed for another request.
    OtherRequest,
    /// `accepted` is none of this route's offers.
    NoMatch,
    /// Refused for the reason given beside: funds, window, amount, payee, mandate, signature.
    Refused,
    /// The request that this payment pays for is still running.
    InProgress,
    /// The payer signed something else with the same nonce.
    Conflict,
    /// Nobody knows yet whether the payment settled.
    Pending,
    /// The hold was taken over from a server that went silent, on a route that must not run twice.
    TakenOver,
    /// The payment was voided, or its hold has ended.
    Ended,
    /// Paid, delivered once, and the answer was too long to be kept.
    AnswerNotKept,
    /// The handler answered with an error; the payment is voided.
    HandlerFailed,
    /// The handler panicked or broke off; the payment is voided.
    HandlerBroke,
    /// The handler took too long; the payment is voided.
    HandlerTimeout,
    /// The payer went away before the handler ended, on a route that stops then; the payment is voided.
    Disconnected,
    /// The handler will not sell to this payer; the payment is voided.
    Policy,
    /// The handler answered with an error, and the money had moved before it ran.
    PaidFailed,
    /// The handler panicked or broke off, and the money had moved before it ran.
    PaidBroke,
    /// The handler took too long, and the money had moved before it ran.
    PaidTimeout,
    /// The payer went away, on a route that stops then, and the money had moved before.
    PaidDisconnected,
    /// The handler will not sell to this payer, and the money had moved before it ran.
    PaidPolicy,
    /// As many payments are in flight as this server follows.
    Busy,
    /// This server cannot make the offer that it made at its start.
    Internal,
    /// Paid.
    Paid,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The status; `None` where it is the handler's own.
    pub status: Option<u16>,
    /// `errorReason` of `PAYMENT-RESPONSE`, and `error` of the terms; `None` where there is none, or where
    /// the facilitator's own is passed on.
    pub reason: Option<&'static str>,
    /// `code` of the problem.
    pub code: &'static str,
    /// `title` of the problem.
    pub title: &'static str,
    /// What the payer may do; `None` once it has what it paid for.
    pub retry: Option<Retry>,
    /// Seconds of `Retry-After`.
    pub retry_after: Option<u32>,
    /// Whether terms for a new payment come with it.
    pub terms: bool,
}

impl Row {
    const fn new(status: u16, code: &'static str, title: &'static str, retry: Retry) -> Self {
        let (status, retry) = (Some(status), Some(retry));
        Self { status, reason: None, code, title, retry, retry_after: None, terms: false }
    }

    const fn reason(self, reason: &'static str) -> Self {
        Self { reason: Some(reason), ..self }
    }

    const fn terms(self) -> Self {
        Self { terms: true, ..self }
    }

    const fn after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    const fn of_handler(self) -> Self {
        Self { status: None, ..self }
    }
}

impl Situation {
    /// The table.
    #[must_use]
    pub const fn row(self) -> Row {
        use Retry::{New, None as Never, Same};
        use reason as r;
        match self {
            Self::Unpaid => Row::new(402, "payment-required", "Payment required", New).terms(),
            Self::Malformed => Row::new(400, "malformed-payment", "Malformed payment", New),
            Self::SeveralPayments => Row::new(400, "several-payments", "More than one payment", New),
            Self::UnsupportedVersion => {
                Row::new(400, "unsupported-version", "Payment of a version that is not taken here", New)
            }
            Self::PaymentTooLarge => Row::new(431, "payment-too-large", "Payment header too large", New),
            Self::BodyTooLarge => Row::new(413, "body-too-large", "Body too large to bind a payment to", New),
            Self::BodyTimeout => Row::new(408, "body-timeout", "Body not received in time", New),
            Self::BodyUnreadable => Row::new(400, "malformed-body", "Body cannot be read", New),
            Self::OtherRequest => {
                let row = Row::new(409, "bound-to-other-request", "Payment signed for another request", New);
                row.reason(r::BOUND_TO_OTHER_REQUEST)
            }
            Self::NoMatch => {
                let row = Row::new(402, "payment-refused", "Payment refused", New);
                row.reason(r::NO_MATCHING_PAYMENT_REQUIREMENTS).terms()
            }
            Self::Refused => Row::new(402, "payment-refused", "Payment refused", New).terms(),
            Self::InProgress => {
                let row = Row::new(409, "payment-in-progress", "Paid request still running", Same);
                row.reason(r::PAYMENT_IN_PROGRESS).after(1)
            }
            Self::Conflict => {
                let row = Row::new(409, "payment-conflict", "Nonce used for another payment", Never);
                row.reason(r::PAYMENT_CONFLICT)
            }
            Self::Pending => {
                let row = Row::new(503, "settlement-pending", "Outcome of the payment not known yet", Same);
                row.reason(r::SETTLEMENT_PENDING).after(2)
            }
            Self::TakenOver => {
                let row = Row::new(409, "payment-voided", "Payment voided", New);
                row.reason(r::PAYMENT_VOIDED)
            }
            Self::Ended => {
                Row::new(402, "payment-voided", "Payment voided", New).reason(r::PAYMENT_VOIDED).terms()
            }
            Self::AnswerNotKept => Row::new(409, "answer-not-kept", "Paid for, and not kept", Never),
            Self::HandlerFailed => {
                let row = Row::new(500, "handler-failed", "Request failed, payment voided", New);
                row.reason(r::PAYMENT_VOIDED).of_handler()
            }
            Self::HandlerBroke => {
                let row = Row::new(500, "handler-failed", "Request failed, payment voided", New);
                row.reason(r::PAYMENT_VOIDED)
            }
            Self::HandlerTimeout => {
                let row = Row::new(504, "handler-timeout", "Request took too long, payment voided", New);
                row.reason(r::PAYMENT_VOIDED)
            }
            Self::Disconnected => {
                Row::new(499, "client-gone", "Client gone, payment voided", New).reason(r::PAYMENT_VOIDED)
            }
            Self::Policy => {
                let row = Row::new(403, "refused-by-policy", "Not sold to this payer, payment voided", Never);
                row.reason(r::PAYMENT_VOIDED)
            }
            Self::PaidFailed => {
                Row::new(500, "handler-failed", "Request failed, payment settled", Same).of_handler()
            }
            Self::PaidBroke => Row::new(500, "handler-failed", "Request failed, payment settled", Same),
            Self::PaidTimeout => {
                Row::new(504, "handler-timeout", "Request took too long, payment settled", Same)
            }
            Self::PaidDisconnected => Row::new(499, "client-gone", "Client gone, payment settled", Same),
            Self::PaidPolicy => {
                Row::new(403, "refused-by-policy", "Not sold to this payer, payment settled", Never)
            }
            Self::Busy => Row::new(503, "busy", "Too many payments in flight", Same).after(1),
            Self::Internal => Row::new(500, "internal", "Server error", New),
            Self::Paid => Row { retry: None, ..Row::new(200, "paid", "Paid", New).of_handler() },
        }
    }
}

/// A situation that ends in a problem, with what is particular to this occurrence.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub(crate) situation: Situation,
    pub(crate) detail: Cow<'static, str>,
    pub(crate) field: Option<String>,
    /// Instead of the row's.
    pub(crate) reason: Option<String>,
    /// Instead of the row's.
    pub(crate) retry: Option<Retry>,
}

impl Refusal {
    pub(crate) fn new(situation: Situation, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { situation, detail: detail.into(), field: None, reason: None, retry: None }
    }

    pub(crate) fn field(self, field: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..self }
    }

    pub(crate) fn because(self, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    /// The x402 reason of this occurrence.
    pub(crate) fn x402_reason(&self) -> Option<&str> {
        self.reason.as_deref().or(self.situation.row().reason)
    }
}

/// A settlement as its payer is told of it: in the version that it paid in.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// `X-PAYMENT-RESPONSE`.
    V1(SettlementResponseV1),
    /// `PAYMENT-RESPONSE`.
    V2(Box<SettlementResponse>),
}

impl Told {
    fn put(&self, headers: &mut HeaderMap) {
        match self {
            Self::V1(settlement) => put_message(headers, header::X_PAYMENT_RESPONSE, settlement),
            Self::V2(settlement) => put_message(headers, header::PAYMENT_RESPONSE, settlement),
        }
    }
}

/// The body of an answer: whole, or too long to be held and then `B`, which the shell knows how to send.
#[derive(Clone, Debug)]
pub enum Content<B> {
    /// All of it.
    Whole(Bytes),
    /// More than is kept; `B` still has all of it.
    Long(B),
}

/// An answer, ready to be sent. Those to paid requests come from the [flow](crate::flow) only.
#[derive(Debug)]
pub struct Answer<B> {
    /// Why it is as it is.
    pub situation: Situation,
    /// The status.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub content: Content<B>,
    /// Nobody else has this paid answer: it was too long to be stored with its capture.
    pub(crate) only_copy: bool,
}

impl<B> Answer<B> {
    /// A problem, with terms and settlement where there are any.
    pub(crate) fn problem(refusal: &Refusal, terms: Option<&Terms>, settlement: Option<&Told>) -> Self {
        let row = refusal.situation.row();
        let status = StatusCode::from_u16(row.status.unwrap_or(500)).unwrap_or_default();
        let retry = refusal.retry.or(row.retry).unwrap_or(Retry::None);
        let problem = problem::Problem::new(status.as_u16(), row.code, row.title, &*refusal.detail, retry);
        let problem = problem.with_field(refusal.field.as_deref());

        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
        headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(terms) = terms {
            put(&mut headers, header::PAYMENT_REQUIRED, header::encode_text(&terms.v2));
        }
        if let Some(settlement) = settlement {
            settlement.put(&mut headers);
        }
        if let Some(seconds) = row.retry_after {
            headers.insert(http::header::RETRY_AFTER, seconds.into());
        }
        headers::vary(&mut headers);
        headers::cross_origin(&mut headers);
        let mut body = problem.to_json_with(terms.map(|terms| terms.v2.as_str()));
        if let (Some(old), true) = (terms.and_then(|terms| terms.v1.as_deref()), body.ends_with('}')) {
            body.pop();
            [",", old, "}"].into_iter().for_each(|part| body.push_str(part));
        }
        let content = Content::Whole(body.into());
        Self { situation: refusal.situation, status, headers, content, only_copy: false }
    }

    /// The answer when the task that served a payment is gone and nobody knows how far it came.
    pub(crate) fn lost() -> Self {
        let detail = "nobody knows yet whether the payment settled: present the same one again";
        let settlement = SettlementResponse {
            error_reason: Some(reason::SETTLEMENT_PENDING.to_owned()),
            ..SettlementResponse::default()
        };
        let told = Told::V2(Box::new(settlement));
        Self::problem(&Refusal::new(Situation::Pending, detail), None, Some(&told))
    }

    /// What the handler answered, which only the holder of a [`Permit`] may let out.
    pub(crate) fn of_handler(
        _permit: Permit,
        situation: Situation,
        status: StatusCode,
        mut headers: HeaderMap,
        content: Content<B>,
        settlement: &Told,
    ) -> Self {
        headers::of_handler(&mut headers, situation == Situation::Paid);
        settlement.put(&mut headers);
        Self { situation, status, headers, content, only_copy: false }
    }
}

/// Headers carry base64, so no text in a message can end a header or begin another.
fn put_message<T: serde::Serialize>(headers: &mut HeaderMap, name: &'static str, message: &T) {
    match header::encode(message) {
        Ok(value) => put(headers, name, value),
        Err(_) => tracing::error!(header = name, "a message cannot be written"),
    }
}

fn put(headers: &mut HeaderMap, name: &'static str, value: String) {
    match HeaderValue::try_from(value) {
        Ok(value) => {
            headers.insert(name, value);
        }
        Err(_) => tracing::error!(header = name, "a message cannot stand in a header"),
    }
}

#[cfg(test)]
mod tests {
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
        for situation in [S::Unpaid, S::NoMatch, S::Refused, S::Ended, S::Pending, S::InProgress, S::Internal]
        {
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
}
