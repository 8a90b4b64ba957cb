//! Why a payment was not valid or not settled: `invalidReason` and `errorReason`.
//!
//! Reasons are open strings: a peer may send any other, and no reader may depend on knowing it. Where x402
//! has a word (specification, section 9), it is used; the others are ours.

/// The payer does not have enough.
pub const INSUFFICIENT_FUNDS: &str = "insufficient_funds";
/// The network is not supported.
pub const INVALID_NETWORK: &str = "invalid_network";
/// The scheme is not known.
pub const INVALID_SCHEME: &str = "invalid_scheme";
/// The scheme is known and not settled here.
pub const UNSUPPORTED_SCHEME: &str = "unsupported_scheme";
/// The payment is malformed.
pub const INVALID_PAYLOAD: &str = "invalid_payload";
/// The offer is malformed, or not one that can be settled here.
pub const INVALID_PAYMENT_REQUIREMENTS: &str = "invalid_payment_requirements";
/// The version of x402 is not supported.
pub const INVALID_X402_VERSION: &str = "invalid_x402_version";
/// The network rejected the settlement, or the payment's state does not allow it.
pub const INVALID_TRANSACTION_STATE: &str = "invalid_transaction_state";
/// Verifying failed for a reason of the facilitator's own.
pub const UNEXPECTED_VERIFY_ERROR: &str = "unexpected_verify_error";
/// Settling failed for a reason of the facilitator's own.
pub const UNEXPECTED_SETTLE_ERROR: &str = "unexpected_settle_error";
/// It is not known yet whether the payment settled: present the same one again.
pub const SETTLEMENT_PENDING: &str = "settlement_pending";

/// `accepted` is none of the offers made for this request.
pub const NO_MATCHING_PAYMENT_REQUIREMENTS: &str = "no_matching_payment_requirements";
/// Its last moment to be authorized has passed.
pub const PAYMENT_EXPIRED: &str = "payment_expired";
/// Its first moment has not come.
pub const PAYMENT_NOT_YET_VALID: &str = "payment_not_yet_valid";
/// It would stay valid for longer than the ledger keeps replay keys.
pub const PAYMENT_WINDOW_TOO_LONG: &str = "payment_window_too_long";
/// It is signed for another amount than the offer's.
pub const AMOUNT_MISMATCH: &str = "amount_mismatch";
/// It is signed for another asset than the offer's.
pub const ASSET_MISMATCH: &str = "asset_mismatch";
/// It is signed for another payee than the offer's.
pub const PAY_TO_MISMATCH: &str = "pay_to_mismatch";
/// It is signed for another network or ledger than the offer's.
pub const NETWORK_MISMATCH: &str = "network_mismatch";
/// It is signed for another receiverAuthorizer than the offer's.
pub const RECEIVER_AUTHORIZER_MISMATCH: &str = "receiver_authorizer_mismatch";
/// It is signed with deadlines that the offer does not have.
pub const DEADLINE_MISMATCH: &str = "deadline_mismatch";
/// It is signed with a fee that the offer does not have.
pub const FEE_MISMATCH: &str = "fee_mismatch";
/// The signature is wrong.
pub const INVALID_SIGNATURE: &str = "invalid_signature";
/// The signature is right, and its key may not do this.
pub const UNAUTHORIZED_SIGNER: &str = "unauthorized_signer";
/// A mandate on the payer's account does not allow it.
pub const MANDATE: &str = "mandate";
/// It is signed for another request.
pub const BOUND_TO_OTHER_REQUEST: &str = "bound_to_other_request";
/// The same payment was presented before, and its request is still running.
pub const PAYMENT_IN_PROGRESS: &str = "payment_in_progress";
/// The same nonce was used with other signed bytes.
pub const PAYMENT_CONFLICT: &str = "payment_conflict";
/// It was voided, or its hold has ended: nothing was taken, and nothing can be.
pub const PAYMENT_VOIDED: &str = "payment_voided";
/// Its last moment to be captured has passed.
pub const CAPTURE_EXPIRED: &str = "capture_expired";
/// Its last moment to be refunded has passed.
pub const REFUND_EXPIRED: &str = "refund_expired";
/// More than the payment allows would be captured, or more than was captured refunded.
pub const AMOUNT_EXCEEDED: &str = "amount_exceeded";
/// Another process has taken the hold over.
pub const STALE_OWNER: &str = "stale_owner";
/// Nobody has presented this payment.
pub const PAYMENT_UNKNOWN: &str = "payment_unknown";
/// The ledger is closed-loop, and this payee is not its seller.
pub const PAYEE_NOT_ALLOWED: &str = "payee_not_allowed";

/// Nothing was paid, and this is paid for.
pub const PAYMENT_REQUIRED: &str = "payment_required";
/// A payment came and was not taken, for no reason that has a word of its own.
pub const PAYMENT_FAILED: &str = "payment_failed";
/// The requests that are free for this caller are used up: pay now, or wait.
pub const QUOTA_EXCEEDED: &str = "quota_exceeded";
/// This is not sold alone: it needs a plan that the caller has not bought.
pub const PLAN_REQUIRED: &str = "plan_required";
/// What was bought for a period is over.
pub const SUBSCRIPTION_EXPIRED: &str = "subscription_expired";
