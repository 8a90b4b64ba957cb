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
use crate::{Sold, headers, page};

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
    /// The method or the path is free, or it is `OPTIONS`.
    Free,
    /// Free for this caller, who has requests left.
    WithinQuota,
    /// Free for this caller, who bought a period before.
    Admitted,
    /// The seller's own check answered before money was asked for: nothing like this is here to be sold.
    TurnedAway,
    /// The requests that are free for this caller are used up.
    QuotaExceeded,
    /// What this caller bought for a period is over.
    SubscriptionExpired,
    /// Sold only to callers with a plan.
    PlanRequired,
    /// The method has no price here, and is not free.
    MethodNotSold,
    /// What should prove a key cannot be read, or came more than once.
    MalformedSignIn,
    /// What should prove a key is longer than this server reads.
    SignInTooLarge,
    /// The proof of a key does not hold.
    SignInRefused,
    /// Nobody can tell at the moment who has bought a period.
    PassesUnavailable,
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
    /// Whether the money has moved, whatever came of the request.
    pub(crate) const fn is_paid(self) -> bool {
        matches!(
            self,
            Self::Paid
                | Self::PaidFailed
                | Self::PaidBroke
                | Self::PaidTimeout
                | Self::PaidDisconnected
                | Self::PaidPolicy
        )
    }

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
            Self::Free => Row { retry: None, ..Row::new(200, "free", "Free", New).of_handler() },
            Self::WithinQuota => {
                Row { retry: None, ..Row::new(200, "within-quota", "Free for now", New).of_handler() }
            }
            Self::Admitted => {
                Row { retry: None, ..Row::new(200, "admitted", "Paid for before", New).of_handler() }
            }
            Self::TurnedAway => {
                let row = Row::new(404, "turned-away", "Not to be had, nothing charged", Never);
                row.of_handler()
            }
            Self::QuotaExceeded => {
                let row = Row::new(402, "quota-exceeded", "Free requests used up", New);
                row.reason(r::QUOTA_EXCEEDED).terms()
            }
            Self::SubscriptionExpired => {
                let row = Row::new(402, "subscription-expired", "What was bought is over", New);
                row.reason(r::SUBSCRIPTION_EXPIRED).terms()
            }
            Self::PlanRequired => {
                Row::new(402, "plan-required", "Plan required", New).reason(r::PLAN_REQUIRED).terms()
            }
            Self::MethodNotSold => Row::new(405, "method-not-sold", "Method not sold here", Never),
            Self::MalformedSignIn => Row::new(400, "malformed-sign-in", "Malformed sign-in", New),
            Self::SignInTooLarge => Row::new(431, "sign-in-too-large", "Sign-in header too large", New),
            Self::SignInRefused => {
                let row = Row::new(402, "sign-in-refused", "Sign-in refused", New);
                row.reason(r::PAYMENT_REQUIRED).terms()
            }
            Self::PassesUnavailable => {
                Row::new(503, "passes-unavailable", "Passes cannot be looked up", Same).after(2)
            }
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
    /// Seconds, instead of the row's.
    pub(crate) retry_after: Option<u32>,
}

impl Refusal {
    pub(crate) fn new(situation: Situation, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { situation, detail: detail.into(), field: None, reason: None, retry: None, retry_after: None }
    }

    pub(crate) fn field(self, field: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..self }
    }

    pub(crate) fn because(self, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    pub(crate) fn after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// Why, for programs: the x402 reason, or what every 402 has.
    fn told_reason(&self) -> Option<&str> {
        let of_402 = match self.situation {
            Situation::Unpaid => Some(reason::PAYMENT_REQUIRED),
            situation if situation.row().status == Some(402) => Some(reason::PAYMENT_FAILED),
            _ => None,
        };
        self.x402_reason().or(of_402)
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
    /// A problem in JSON, to be [written](crate::page) as its reader likes it.
    pub(crate) is_problem: bool,
    /// What was sold, to whom and for how much.
    pub sold: Box<Sold>,
}

impl<B> Answer<B> {
    /// A problem, with terms and settlement where there are any.
    pub(crate) fn problem(refusal: &Refusal, terms: Option<&Terms>, settlement: Option<&Told>) -> Self {
        let row = refusal.situation.row();
        let status = StatusCode::from_u16(row.status.unwrap_or(500)).unwrap_or_default();
        let retry = refusal.retry.or(row.retry).unwrap_or(Retry::None);
        let problem = problem::Problem::new(status.as_u16(), row.code, row.title, &*refusal.detail, retry);
        let (doc_url, message) = page::explained(refusal.situation);
        let problem = problem.with_field(refusal.field.as_deref()).with_reason(refusal.told_reason());
        let problem = problem.explained(doc_url, message);

        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
        headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(terms) = terms {
            put(&mut headers, header::PAYMENT_REQUIRED, header::encode_text(&terms.v2));
        }
        if let Some(settlement) = settlement {
            settlement.put(&mut headers);
        }
        if let Some(seconds) = refusal.retry_after.or(row.retry_after) {
            headers.insert(http::header::RETRY_AFTER, seconds.into());
        }
        headers::vary_of_problem(&mut headers);
        headers::cross_origin(&mut headers);
        let mut body = problem.to_json_with(terms.map(|terms| terms.v2.as_str()));
        if let (Some(old), true) = (terms.and_then(|terms| terms.v1.as_deref()), body.ends_with('}')) {
            body.pop();
            [",", old, "}"].into_iter().for_each(|part| body.push_str(part));
        }
        let content = Content::Whole(body.into());
        let sold = Box::new(Sold::nothing(refusal.situation));
        let situation = refusal.situation;
        Self { situation, status, headers, content, only_copy: false, is_problem: true, sold }
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
        let sold = Box::new(Sold::nothing(situation));
        Self { situation, status, headers, content, only_copy: false, is_problem: false, sold }
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
mod tests;
