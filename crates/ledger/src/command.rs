//! Commands whose signatures have been checked, and what becomes of them.
//!
//! A [`Checked`] value can only be made by checking, so the core cannot be handed an unchecked one.
//! Checking needs no rows: it runs on the caller's thread, or in batches.

use farthing_protocol::layout::LayoutError;
use farthing_protocol::rail::{Owner, PaymentId, Tenant};
use farthing_protocol::{Amount, PublicKey, Retry, SecretKey, Signature, reason, signature};

use crate::admin::{Deposit, KeyChange, NewAsset};
use crate::identity::LedgerId;
use crate::operation::{self, Action, MAX_OPERATIONS, Op};
use crate::rows::{MAX_TENANT, Payment};
use crate::terms::{Terms, payment_id};

/// A command that carries proof that its signatures are right.
#[derive(Clone, Debug)]
pub struct Checked<T>(T);

impl<T> Checked<T> {
    pub(crate) fn get(&self) -> &T {
        &self.0
    }
}

/// A payer's wish to pay.
#[derive(Clone, Debug)]
pub struct Authorize {
    pub(crate) id: PaymentId,
    pub(crate) terms: Terms,
    pub(crate) signed: Vec<u8>,
    pub(crate) signature: Signature,
    pub(crate) owner: Owner,
    pub(crate) tenant: Tenant,
}

impl Authorize {
    /// Reads signed terms; checks nothing yet.
    ///
    /// # Errors
    /// [`LayoutError`] names what is wrong with the bytes, or that the tenant's name is longer than 256 bytes.
    pub fn read(
        signed: Vec<u8>,
        signature: Signature,
        owner: Owner,
        tenant: Tenant,
    ) -> Result<Self, LayoutError> {
        if tenant.0.len() > MAX_TENANT {
            let len = u32::try_from(tenant.0.len()).unwrap_or(u32::MAX);
            return Err(LayoutError::Long { len, limit: MAX_TENANT });
        }
        let terms = Terms::decode(&signed)?;
        Ok(Self { id: payment_id(&signed), terms, signed, signature, owner, tenant })
    }

    /// The terms as read.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The payment's id.
    pub fn id(&self) -> PaymentId {
        self.id
    }

    /// Checks the payer's signature.
    ///
    /// # Errors
    /// [`Refusal::Signature`].
    pub fn check(self) -> Result<Checked<Self>, Refusal> {
        signature::verify(&self.terms.signer, &self.signed, &self.signature)
            .map_err(|_| Refusal::Signature)?;
        Ok(Checked(self))
    }

    /// Checks many at once, which costs less than half each, with the same verdicts.
    pub fn check_all(commands: Vec<Self>) -> Vec<Result<Checked<Self>, Refusal>> {
        let items: Vec<_> =
            commands.iter().map(|c| (c.terms.signer, c.signed.as_slice(), c.signature)).collect();
        let verdicts = signature::verify_batch(&items);
        let judge = |(c, v): (Self, Result<(), _>)| v.map(|()| Checked(c)).map_err(|_| Refusal::Signature);
        commands.into_iter().zip(verdicts).map(judge).collect()
    }
}

/// A receiverAuthorizer's operations, with the answers to store.
#[derive(Clone, Debug)]
pub struct Operate {
    pub(crate) operations: Vec<(Op, Option<Vec<u8>>)>,
    pub(crate) signer: PublicKey,
    pub(crate) signature: Signature,
    /// Holds whose lease runs are left alone.
    pub(crate) spares_leases: bool,
}

impl Operate {
    /// Operations as received.
    pub fn new(operations: Vec<(Op, Option<Vec<u8>>)>, signer: PublicKey, signature: Signature) -> Self {
        Self { operations, signer, signature, spares_leases: false }
    }

    /// Signs operations on `ledger`.
    pub fn sign(ledger: &LedgerId, key: &SecretKey, operations: Vec<(Op, Option<Vec<u8>>)>) -> Self {
        let list: Vec<Op> = operations.iter().map(|(op, _)| *op).collect();
        let signature = key.sign(&operation::signed_bytes(ledger, &list));
        Self { operations, signer: key.public(), signature, spares_leases: false }
    }

    /// Refuses holds whose owner's lease runs, whoever signs: for everybody but their owner.
    pub fn sparing_leases(self) -> Self {
        Self { spares_leases: true, ..self }
    }

    /// The payments that are operated on, in order.
    pub fn payments(&self) -> Vec<PaymentId> {
        self.operations.iter().map(|(op, _)| op.payment).collect()
    }

    /// Checks the signature, and that each answer is the one that was signed for.
    ///
    /// # Errors
    /// [`Refusal::Signature`], [`Refusal::Answer`], [`Refusal::TooManyOperations`].
    pub fn check(self, ledger: &LedgerId) -> Result<Checked<Self>, Refusal> {
        if self.operations.is_empty() || self.operations.len() > MAX_OPERATIONS {
            return Err(Refusal::TooManyOperations);
        }
        if self.operations.iter().any(|(op, answer)| operation::answer_hash(answer.as_deref()) != op.answer) {
            return Err(Refusal::Answer);
        }
        let list: Vec<Op> = self.operations.iter().map(|(op, _)| *op).collect();
        let bytes = operation::signed_bytes(ledger, &list);
        signature::verify(&self.signer, &bytes, &self.signature).map_err(|_| Refusal::Signature)?;
        Ok(Checked(self))
    }
}

/// Authorize and capture in one step: the payer's signature and the receiverAuthorizer's.
#[derive(Clone, Debug)]
pub struct Charge {
    pub(crate) authorize: Authorize,
    pub(crate) operation: Op,
    pub(crate) answer: Option<Vec<u8>>,
    pub(crate) signature: Signature,
}

impl Charge {
    /// Checks both signatures.
    ///
    /// # Errors
    /// [`Refusal::Signature`], [`Refusal::Answer`].
    pub fn check(
        authorize: Authorize,
        operation: Op,
        answer: Option<Vec<u8>>,
        signature: Signature,
    ) -> Result<Checked<Self>, Refusal> {
        let authorize = authorize.check()?.0;
        let signer = authorize.terms.receiver_authorizer;
        let operations = vec![(operation, answer)];
        let checked = Operate::new(operations, signer, signature).check(&authorize.terms.ledger)?.0;
        let answer = checked.operations.into_iter().next().and_then(|(_, answer)| answer);
        Ok(Checked(Self { authorize, operation, answer, signature }))
    }
}

/// Bytes of an administrative command, with the signature that the core checks against its rows.
#[derive(Clone, Debug)]
pub struct Signed<T> {
    pub(crate) command: T,
    pub(crate) signed: Vec<u8>,
    pub(crate) signature: Signature,
    pub(crate) signer: PublicKey,
}

macro_rules! signed {
    ($command:ty) => {
        impl Signed<$command> {
            /// Signs it.
            pub fn sign(ledger: &LedgerId, command: $command, key: &SecretKey) -> Self {
                let signed = command.encode(ledger);
                let signature = key.sign(&signed);
                Self { command, signed, signature, signer: key.public() }
            }

            /// As received from `signer`.
            pub fn new(
                ledger: &LedgerId,
                command: $command,
                signer: PublicKey,
                signature: Signature,
            ) -> Self {
                Self { signed: command.encode(ledger), command, signature, signer }
            }

            /// Checks the signature; whether the signer may do this is the core's to say.
            ///
            /// # Errors
            /// [`Refusal::Signature`].
            pub fn check(self) -> Result<Checked<Self>, Refusal> {
                signature::verify(&self.signer, &self.signed, &self.signature)
                    .map_err(|_| Refusal::Signature)?;
                Ok(Checked(self))
            }
        }
    };
}
signed!(NewAsset);
signed!(Deposit);
signed!(KeyChange);

/// Everything a ledger can be told to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Register an asset.
    Asset(Checked<Signed<NewAsset>>),
    /// Issue money.
    Deposit(Checked<Signed<Deposit>>),
    /// Change an account's keys.
    Keys(Checked<Signed<KeyChange>>),
    /// Hold a payment.
    Authorize(Box<Checked<Authorize>>),
    /// Capture, void, refund.
    Operate(Checked<Operate>),
    /// Authorize and capture in one step.
    Charge(Box<Checked<Charge>>),
    /// End holds whose capture deadline has passed.
    Reclaim(Vec<PaymentId>),
}

impl Command {
    /// Adds what it is going to read.
    #[cfg(feature = "engine")]
    pub(crate) fn want(&self, wanted: &mut crate::engine::Wanted) {
        match self {
            Self::Asset(_) => wanted.registers = true,
            Self::Deposit(deposit) => {
                let deposit = &deposit.get().command;
                wanted.registers = true;
                wanted.debits.insert((deposit.account, deposit.asset));
            }
            Self::Keys(change) => {
                wanted.registers = true;
                wanted.keys.insert(change.get().command.account);
            }
            Self::Authorize(authorize) => authorize.get().want(wanted),
            Self::Charge(charge) => charge.get().authorize.want(wanted),
            Self::Operate(operate) => {
                for (op, _) in &operate.get().operations {
                    wanted.payments.insert(op.payment);
                    if op.action == Action::Refund {
                        wanted.refunds.insert(op.payment);
                    }
                }
            }
            Self::Reclaim(payments) => wanted.payments.extend(payments),
        }
    }
}

impl Authorize {
    #[cfg(feature = "engine")]
    fn want(&self, wanted: &mut crate::engine::Wanted) {
        wanted.payments.insert(self.id);
        wanted.debits.insert((self.terms.payer, self.terms.asset));
        wanted.nonces.insert((self.terms.payer, self.terms.nonce));
        wanted.keys.insert(self.terms.payer);
    }
}

/// What became of a command that was not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done; nothing more to say.
    Done,
    /// The first settlement.
    Authorized(Box<AuthorizeReply>),
    /// One result for each operation, in their order.
    Operated(Vec<Result<Payment, Refusal>>),
    /// The holds that ended now.
    Reclaimed(Vec<PaymentId>),
}

/// What the first settlement of a payment found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizeReply {
    /// The payment as it stands.
    pub payment: Payment,
    /// What the caller may do with it.
    pub standing: Standing,
}

/// What the caller of `authorize` may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Run the handler. `takeover`: another owner may have run it before.
    Owner {
        /// The hold was taken from a silent owner.
        takeover: bool,
    },
    /// Wait: another owner's lease runs.
    InProgress,
    /// Nothing: it has ended; the stored answer, when it was kept and this caller may see it.
    Ended(Option<Vec<u8>>),
}

/// Why the core refused a command. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A signature does not fit.
    #[error("a signature is wrong")]
    Signature,
    /// The answer is not the one that was signed for.
    #[error("the answer is not the one that the operation was signed for")]
    Answer,
    /// A list of operations is empty or too long.
    #[error("a list has 1 to 1024 operations")]
    TooManyOperations,
    /// Signed for another ledger.
    #[error("signed for another ledger")]
    OtherLedger,
    /// The asset is not registered.
    #[error("the asset is not registered on this ledger")]
    UnknownAsset,
    /// The asset, or the deposit's reference, was used with other content.
    #[error("this was registered before, with other content")]
    AlreadyRegistered,
    /// The signer may not do this.
    #[error("the signer may not act for this account")]
    UnauthorizedSigner,
    /// The key change is not the account's next.
    #[error("the key change is not the account's next one")]
    Sequence,
    /// It would leave the account without a key that can change keys.
    #[error("the account would be left without a key of full scope")]
    LastKey,
    /// Zero, or beyond what the ledger can count.
    #[error("the amount is zero or too large")]
    Amount,
    /// validAfter lies ahead.
    #[error("the payment is not valid yet")]
    NotYetValid,
    /// validBefore has passed.
    #[error("the payment has expired")]
    Expired,
    /// The payment could be authorized for longer than the ledger allows.
    #[error("validBefore lies more than one hour ahead")]
    WindowTooLong,
    /// Deadlines out of order or too far away.
    #[error("captureDeadline or refundDeadline is out of order or too far ahead")]
    Deadline,
    /// The flow needs another command.
    #[error("the payment was signed for another flow")]
    Flow,
    /// The fee that the ledger takes is not one that the payer allows.
    #[error("the ledger's fee is outside the payer's limits")]
    Fee,
    /// Mandates are not kept here.
    #[error("the mandate is not known")]
    Mandate,
    /// A closed-loop ledger pays one seller.
    #[error("this ledger is closed-loop and pays only its seller")]
    NotTheSeller,
    /// A closed-loop ledger limits what a payer holds.
    #[error("the account would hold more than this closed-loop ledger allows")]
    PayerCap,
    /// Not enough money.
    #[error("insufficient funds")]
    InsufficientFunds,
    /// The same payer used this nonce for other terms.
    #[error("the payer used this nonce for another payment")]
    NonceConflict,
    /// Nobody authorized it.
    #[error("the payment does not exist")]
    NoSuchPayment,
    /// Only the payment's receiverAuthorizer may do this.
    #[error("only the payment's receiverAuthorizer may do this")]
    NotReceiverAuthorizer,
    /// Another process took the hold over.
    #[error("another process owns the hold now")]
    StaleOwner,
    /// Its owner is at work.
    #[error("the hold's owner is at work: its lease runs")]
    LeaseRuns,
    /// The hold has ended.
    #[error("the hold has ended")]
    HoldEnded,
    /// It was captured already.
    #[error("the payment was captured already")]
    AlreadyCaptured,
    /// More than was authorized or captured.
    #[error("more than the payment allows")]
    AboveMaximum,
    /// Less than before: amounts are cumulative.
    #[error("less than before; amounts are cumulative")]
    Decreased,
    /// `exact` takes its full amount at once.
    #[error("scheme exact takes the full amount at once")]
    ExactAmount,
    /// The scheme has no refunds, or their deadline has passed.
    #[error("the payment can no longer be refunded")]
    NotRefundable,
}

impl Refusal {
    /// The x402 reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Signature => reason::INVALID_SIGNATURE,
            Self::UnauthorizedSigner | Self::NotReceiverAuthorizer => reason::UNAUTHORIZED_SIGNER,
            Self::OtherLedger => reason::INVALID_NETWORK,
            Self::UnknownAsset => reason::ASSET_MISMATCH,
            Self::NotYetValid => reason::PAYMENT_NOT_YET_VALID,
            Self::Expired => reason::PAYMENT_EXPIRED,
            Self::WindowTooLong => reason::PAYMENT_WINDOW_TOO_LONG,
            Self::NotTheSeller => reason::PAYEE_NOT_ALLOWED,
            Self::InsufficientFunds => reason::INSUFFICIENT_FUNDS,
            Self::NonceConflict => reason::PAYMENT_CONFLICT,
            Self::Mandate => reason::MANDATE,
            Self::Deadline => reason::DEADLINE_MISMATCH,
            Self::Fee => reason::FEE_MISMATCH,
            Self::NoSuchPayment => reason::PAYMENT_UNKNOWN,
            Self::StaleOwner => reason::STALE_OWNER,
            Self::LeaseRuns => reason::PAYMENT_IN_PROGRESS,
            Self::HoldEnded => reason::CAPTURE_EXPIRED,
            Self::AboveMaximum => reason::AMOUNT_EXCEEDED,
            Self::NotRefundable => reason::REFUND_EXPIRED,
            Self::AlreadyCaptured | Self::Decreased => reason::INVALID_TRANSACTION_STATE,
            _ => reason::INVALID_PAYLOAD,
        }
    }

    /// What the payer should do.
    pub fn retry(self) -> Retry {
        match self {
            Self::NonceConflict => Retry::None,
            _ => Retry::New,
        }
    }
}

/// Money as the core counts it: never more than a posting can carry.
pub(crate) fn units(amount: Amount) -> Result<i128, Refusal> {
    i128::try_from(amount.0).map_err(|_| Refusal::Amount)
}
