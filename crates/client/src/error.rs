//! What can go wrong for a payer: who is at fault, and what may be done next.

use std::fmt;

use farthing_protocol::price::PriceError;
use farthing_protocol::rail::{Confirmation, PaymentId};
use farthing_protocol::{Amount, Retry};
use http::StatusCode;
use thiserror::Error;

use crate::budget::{BudgetError, OverBudget};
use crate::journal::JournalError;
use crate::prepared::Prepared;
use crate::rules::RuleError;
use crate::terms::Said;

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The program that uses this client, or its machine.
    Caller,
    /// The server.
    Server,
    /// The network between, or nobody that could be named.
    Network,
    /// Nobody: the client was told not to pay this.
    Policy,
}

/// A request that has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The request cannot be sent as it is. Nothing was sent.
    #[error("the request cannot be sent: {why}")]
    Request {
        /// What is wrong with it.
        why: String,
    },
    /// `max_price` is not a price. Nothing was sent.
    #[error("the highest price allowed is not a price: {0}")]
    Price(#[from] PriceError),
    /// A 402 that no x402 client can pay: an ordinary error. Nothing was signed.
    #[error(transparent)]
    NotPayable(Box<NotPayable>),
    /// This client will not pay what is asked. Nothing was signed.
    #[error(transparent)]
    Refused(Box<Refused>),
    /// The server refused the payment. Final: no second payment is made.
    #[error(transparent)]
    PaymentRefused(Box<PaymentRefused>),
    /// The payment was sent, and nobody knows whether it was taken. Its budget stays reserved.
    #[error(transparent)]
    Unknown(Box<UnknownPayment>),
    /// No answer, to a request without payment.
    #[error("no answer: {why}")]
    Network {
        /// What happened.
        why: String,
    },
    /// The answer broke off while its body was read. Its payment, if there was one, is in the journal.
    #[error("the answer broke off: {why}")]
    Broken {
        /// What happened.
        why: String,
    },
    /// The answer's body is longer than this client reads at once.
    #[error("the answer's body has more than {limit} bytes: read it in pieces")]
    TooLarge {
        /// The most that is read at once, in bytes.
        limit: usize,
    },
    /// The answer's body is not UTF-8.
    #[error("the answer's body is not UTF-8 text")]
    NotText,
    /// The payment journal failed, so nothing more was sent.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The system has no random numbers. Nothing was signed.
    #[error("the system has no random numbers: {0}")]
    NoRandomness(String),
    /// The flow was given an event that does not answer its last action.
    #[error("the flow was given an event that it did not wait for")]
    OutOfTurn,
}

impl ClientError {
    /// Who is at fault.
    #[must_use]
    pub fn at_fault(&self) -> Fault {
        match self {
            Self::Request { .. }
            | Self::Price(_)
            | Self::Journal(_)
            | Self::NoRandomness(_)
            | Self::TooLarge { .. }
            | Self::OutOfTurn => Fault::Caller,
            Self::NotPayable(_) | Self::PaymentRefused(_) | Self::NotText => Fault::Server,
            Self::Refused(_) => Fault::Policy,
            Self::Unknown(_) | Self::Network { .. } | Self::Broken { .. } => Fault::Network,
        }
    }

    /// What may be done next: present the same payment again, make the request anew, or nothing.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unknown(unknown) => unknown.retry(),
            Self::PaymentRefused(refused) => refused.retry(),
            Self::Broken { .. } => Retry::Same,
            Self::Network { .. } => Retry::New,
            _ => Retry::None,
        }
    }

    /// The payment, when its outcome is unknown: it can be presented again.
    #[must_use]
    pub fn prepared(&self) -> Option<&Prepared> {
        match self {
            Self::Unknown(unknown) => Some(&unknown.prepared),
            _ => None,
        }
    }
}

/// A 402 without terms that could be paid: another payment system's, a quota, or broken terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotPayable {
    /// 402.
    pub status: StatusCode,
    /// Why it cannot be paid.
    pub why: String,
    /// What its body says.
    pub said: Said,
}

impl fmt::Display for NotPayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answers {} and cannot be paid: {}", self.status.as_u16(), self.why)?;
        write_said(f, &self.said)
    }
}

impl std::error::Error for NotPayable {}

/// The rule by which an offer is refused, in the order in which rules are applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Payments are sent over https or to this machine only.
    PlainHttp,
    /// The origin is none of those that may be paid.
    OriginNotAllowed,
    /// Nothing is paid at this time of the day.
    OutsideHours,
    /// The wallet has no rail for the offer's network.
    NoRail,
    /// The rail does not know the asset.
    UnknownAsset,
    /// The offer claims other decimal places for the asset than the rail trusts.
    UnitsDiffer,
    /// The payment would not cover the request's body.
    UnboundBody,
    /// The offer is bound to another request.
    ForeignDigest,
    /// Something in the offer is missing or outside what the rail signs.
    Offer,
    /// There is no budget for the asset.
    NoBudget,
    /// Above the highest price allowed for this request, or in another currency.
    MaxPrice,
    /// Above what was asked when the price was looked up, or something else than that; or above what was
    /// accepted here the last time.
    PriceRose,
    /// The network does not say what must be known to pay it.
    Network,
    /// The wallet's owner stopped all signing.
    Frozen,
    /// The origin names another payee than before.
    PayeeChanged,
    /// Above a budget.
    OverBudget(OverBudget),
    /// A person must agree, and nobody could be asked.
    NoApprover,
    /// A person must agree, and none did in time.
    NotApprovedInTime,
    /// A person was asked, and said no.
    ApprovalDenied,
    /// The signature would outlive what this client signs.
    TooLong,
    /// The payment could be captured later than this client allows.
    CaptureTooLate,
    /// The payment does not fit into a header.
    TooLarge,
}

impl Rule {
    /// How far an offer came before it was refused.
    pub(crate) fn stage(&self) -> u8 {
        match self {
            Self::PlainHttp => 0,
            Self::OriginNotAllowed => 1,
            Self::OutsideHours => 2,
            Self::NoRail => 3,
            Self::UnknownAsset => 4,
            Self::UnitsDiffer => 5,
            Self::UnboundBody => 6,
            Self::ForeignDigest => 7,
            Self::Offer => 8,
            Self::NoBudget => 9,
            Self::MaxPrice => 10,
            Self::PriceRose => 11,
            Self::Network => 12,
            Self::Frozen => 13,
            Self::PayeeChanged => 14,
            Self::OverBudget(_) => 15,
            Self::NoApprover => 16,
            Self::NotApprovedInTime => 17,
            Self::ApprovalDenied => 18,
            Self::TooLong => 19,
            Self::CaptureTooLate => 20,
            Self::TooLarge => 21,
        }
    }

    /// The rule's name, for programs; it stays the same between versions.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::PlainHttp => "plain_http",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::OutsideHours => "outside_hours",
            Self::NoRail => "network_not_allowed",
            Self::UnknownAsset => "unknown_asset",
            Self::UnitsDiffer => "units_differ",
            Self::UnboundBody => "unbound_body",
            Self::ForeignDigest => "foreign_digest",
            Self::Offer => "offer",
            Self::NoBudget => "asset_not_allowed",
            Self::MaxPrice => "max_price",
            Self::PriceRose => "price_rose",
            Self::Network => "network_unavailable",
            Self::Frozen => "frozen",
            Self::PayeeChanged => "payee_changed",
            Self::OverBudget(_) => "over_budget",
            Self::NoApprover => "no_approver",
            Self::NotApprovedInTime => "not_approved_in_time",
            Self::ApprovalDenied => "approval_denied",
            Self::TooLong => "validity_too_long",
            Self::CaptureTooLate => "capture_too_late",
            Self::TooLarge => "too_large",
        }
    }

    /// What a person could do about it. Keys are those of a policy file.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::PlainHttp => "use the https URL of the service",
            Self::OriginNotAllowed => "add it to `origins` of the policy, if you trust it",
            Self::OutsideHours => "wait, or change `hours` in [limits] of the policy",
            Self::NoRail => "allow that network with a [[wallet]] for it, if you trust it",
            Self::UnknownAsset => "check the asset's name with its network; it may be an imitation",
            Self::UnitsDiffer => "tell the service that its offer is wrong; do not pay by its numbers",
            Self::UnboundBody => "allow it for this request, if any body may be sent with the payment",
            Self::ForeignDigest => "check that the URL is the service's own; a proxy may rewrite it",
            Self::Offer => "tell the service that its offer is wrong",
            Self::NoBudget => "allow this asset with a [[budget]] for it",
            Self::MaxPrice => "allow a higher price for this request",
            Self::PriceRose => {
                "look at the price, then name the highest for this request, or set `price_rise` in [limits] to \"allow\""
            }
            Self::Network => "try again when the wallet reaches its network",
            Self::Frozen => "find out why the wallet was frozen, then unfreeze it",
            Self::PayeeChanged => {
                "ask the service whether its account changed, then approve the new payee, as with a [[payee]]"
            }
            Self::OverBudget(_) => "raise the [[budget]], or wait until reserved payments are released",
            Self::NoApprover => {
                "run it where somebody can be asked, name a `webhook`, or raise `above` in [approval]"
            }
            Self::NotApprovedInTime => "ask again, or raise `timeout_seconds` in [approval]",
            Self::ApprovalDenied => "ask who said no",
            Self::TooLong => {
                "raise `validity_seconds` in [limits], or tell the service that it asks for too much"
            }
            Self::CaptureTooLate => {
                "raise `capture_seconds` in [limits], or tell the service that it asks for too much"
            }
            Self::TooLarge => "tell the service that its offer asks for too much",
        }
    }
}

/// Why this client will not sign an offer. Of several offers, the one that came furthest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not paid: {why}. To go on: {}", .rule.remedy())]
pub struct Refused {
    /// The rule.
    pub rule: Rule,
    /// The rule applied to this offer, for people.
    pub why: String,
}

impl Refused {
    pub(crate) fn new(rule: Rule, why: impl Into<String>) -> Self {
        Self { rule, why: why.into() }
    }
}

/// A payment that the server did not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentRefused {
    /// The payment.
    pub payment: PaymentId,
    /// The answer's status.
    pub status: StatusCode,
    /// The x402 reason, or the problem's code.
    pub reason: Option<String>,
    /// What the answer's body says.
    pub said: Said,
    /// What the network says about the payment.
    pub confirmation: Confirmation,
}

impl PaymentRefused {
    /// New, once the network says that nothing was taken and nothing can be: until then the server may
    /// still present the payment it refused.
    #[must_use]
    pub fn retry(&self) -> Retry {
        retry_after(&self.confirmation, Retry::None)
    }
}

impl fmt::Display for PaymentRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server refused payment {} with {}", self.payment, self.status.as_u16())?;
        if let Some(reason) = &self.reason {
            write!(f, ": {reason}")?;
        }
        write_said(f, &self.said)?;
        write!(f, " ({})", confirmed(&self.confirmation))
    }
}

impl std::error::Error for PaymentRefused {}

/// A payment whose outcome is unknown after it was presented as often as the client may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPayment {
    /// The payment, which can be presented again.
    pub prepared: Prepared,
    /// How often it was sent.
    pub tries: u32,
    /// What happened the last time.
    pub last: String,
    /// What the network says about the payment.
    pub confirmation: Confirmation,
}

impl UnknownPayment {
    /// The payment's name.
    #[must_use]
    pub fn payment(&self) -> PaymentId {
        self.prepared.id()
    }

    /// Same, unless the network says that nothing was taken and nothing can be.
    #[must_use]
    pub fn retry(&self) -> Retry {
        retry_after(&self.confirmation, Retry::Same)
    }
}

impl fmt::Display for UnknownPayment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, tries, last) = (self.payment(), self.tries, &self.last);
        write!(f, "payment {id} was sent {tries} times without a clear answer ({last}): ")?;
        f.write_str(confirmed(&self.confirmation))
    }
}

impl std::error::Error for UnknownPayment {}

fn retry_after(confirmation: &Confirmation, otherwise: Retry) -> Retry {
    if *confirmation == Confirmation::NotTaken { Retry::New } else { otherwise }
}

fn confirmed(confirmation: &Confirmation) -> &'static str {
    match confirmation {
        Confirmation::Taken(Amount::ZERO) | Confirmation::NotTaken => "nothing was taken",
        Confirmation::Taken(_) => "it was taken",
        Confirmation::Open => "it may still be taken, and its budget stays reserved",
        Confirmation::Unproven | Confirmation::Contradicted(_) => {
            "whether it was taken is not known, and its budget stays reserved"
        }
    }
}

fn write_said(f: &mut fmt::Formatter<'_>, said: &Said) -> fmt::Result {
    for (name, text) in [("code", &said.code), ("message", &said.message), ("see", &said.doc_url)] {
        if let Some(text) = text {
            write!(f, "; {name}: {text}")?;
        }
    }
    Ok(())
}

/// A payment in the journal that cannot be presented again like this. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ResumeError {
    /// The journal does not have it.
    #[error("the payment journal has no payment {0}")]
    NoPayment(PaymentId),
    /// The network says that nothing was taken and nothing can be: make the request anew.
    #[error("payment {0} was given back and cannot be taken any more")]
    Released(PaymentId),
    /// The client has no rail for its network.
    #[error("no wallet pays on {network}, where the payment was made")]
    NoRail {
        /// The network.
        network: String,
    },
    /// The journal does not keep everything that was sent: say the request again, with its headers and body.
    #[error("the request had {}: give them again", .missing.join(", "))]
    RequestNeeded {
        /// What is missing: `body`, and the names of headers.
        missing: Vec<String>,
    },
    /// Not the request that the payment was signed for.
    #[error("the payment was signed for another request: its {differs} differs")]
    OtherRequest {
        /// What differs: `method`, `url` or `body`.
        differs: &'static str,
    },
    /// The request cannot be sent as it is.
    #[error("the request cannot be sent: {0}")]
    Request(String),
    /// The payment journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// A client that cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The agent's name does not have 1 to 64 visible ASCII characters.
    #[error("the agent's name does not have 1 to 64 visible ASCII characters")]
    Agent,
    /// Two rails for one network: which one pays would be chance.
    #[error("there are two rails for {network}")]
    TwoRails {
        /// The network.
        network: String,
    },
    /// A budget in something that no rail knows.
    #[error("budget: no rail of this client knows the asset {asset}")]
    UnknownAsset {
        /// As named in the budget.
        asset: String,
    },
    /// A budget in something that several rails know.
    #[error("budget: several rails know the asset {asset}: say on which network")]
    AmbiguousAsset {
        /// As named in the budget.
        asset: String,
    },
    /// Two budgets for one asset: which one holds would be chance.
    #[error("budget: there are two for the asset {asset}")]
    TwoBudgets {
        /// As named in the budgets.
        asset: String,
    },
    /// A budget that the asset cannot express.
    #[error("budget: {0}")]
    Price(#[from] PriceError),
    /// A budget that cannot be understood.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// A rule that cannot be understood.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// An amount to ask for approval above, which the asset cannot express.
    #[error("approval: {0}")]
    Approval(PriceError),
    /// An origin that is none.
    #[error("payee: {0}")]
    Origin(#[from] farthing_protocol::WireError),
    /// The payment journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The HTTP library does not start.
    #[error("http: {0}")]
    Http(String),
}
