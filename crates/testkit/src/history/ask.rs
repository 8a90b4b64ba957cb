//! Operations as they are sent: signed beforehand, to a ledger in this process or to one behind a wire.

use std::future::Future;
use std::pin::Pin;

use farthing::Ledger;
use farthing::farthing_ledger::command::{Authorize, AuthorizeReply, Charge, Operate, Refusal, Standing};
use farthing::farthing_ledger::engine::LedgerError;
use farthing::farthing_ledger::operation::Op;
use farthing::farthing_ledger::rows::Payment;
use farthing::protocol::rail::{Owner, PaymentId, Tenant};
use farthing::protocol::{PublicKey, Signature};
use serde::{Deserialize, Serialize};

use super::record::{Found, Outcome, Status};

/// The asset of every history.
pub(super) const ASSET: &str = "XTS";

/// Something to ask a ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Ask {
    /// Hold a payment: the payer's signed terms, their signature, and the owner with its lease in seconds.
    Authorize(Vec<u8>, Signature, [u8; 16], u32),
    /// Charge it: as before without an owner, then the operation and the receiverAuthorizer's signature.
    Charge(Vec<u8>, Signature, Vec<u8>, Signature),
    /// Do what the operation says: its bytes, the receiverAuthorizer and its signature.
    Operate(Vec<u8>, PublicKey, Signature),
    /// What an account may spend.
    Balance(PublicKey),
    /// Where a payment stands.
    Payment([u8; 32]),
}

/// What became of an [`Ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Heard {
    /// It was answered.
    Answered(Outcome),
    /// It was certainly not taken.
    Untaken,
    /// Nobody knows.
    Unknown,
}

/// Where asks are put.
pub trait Desk: Send + Sync {
    /// Puts one, and waits for what becomes of it.
    fn ask(&self, ask: Ask) -> Pin<Box<dyn Future<Output = Heard> + Send + '_>>;
}

impl Desk for Ledger {
    fn ask(&self, ask: Ask) -> Pin<Box<dyn Future<Output = Heard> + Send + '_>> {
        Box::pin(async move {
            match put(self, ask).await {
                Ok(outcome) => Heard::Answered(outcome),
                Err(LedgerError::Refused(refusal)) => Heard::Answered(Outcome::Refused(refusal)),
                Err(LedgerError::Unavailable(_)) => Heard::Untaken,
                Err(_) => Heard::Unknown,
            }
        })
    }
}

async fn put(ledger: &Ledger, ask: Ask) -> Result<Outcome, LedgerError> {
    let authorize = |signed, signature, id, lease_seconds| {
        Authorize::read(signed, signature, Owner { id, lease_seconds }, Tenant::local()).expect("terms")
    };
    let operation = |bytes: &[u8]| Op::decode(bytes).expect("an operation");
    Ok(match ask {
        Ask::Authorize(signed, signature, owner, lease) => {
            authorized(ledger.authorize(authorize(signed, signature, owner, lease)).await?)
        }
        Ask::Charge(signed, signature, op, by) => {
            let authorize = authorize(signed, signature, [0; 16], 60);
            let charge = Charge::check(authorize, operation(&op), None, by)?;
            authorized(ledger.charge(charge).await?)
        }
        Ask::Operate(op, signer, signature) => {
            let operate = Operate::new(vec![(operation(&op), None)], signer, signature);
            let result: Result<Payment, Refusal> = ledger.operate(operate).await?.remove(0);
            Outcome::Operated(status(&result?))
        }
        Ask::Balance(account) => {
            Outcome::Balance(ledger.balance(account, ASSET.parse().expect("an asset code")).await?.0)
        }
        Ask::Payment(id) => Outcome::Statement(ledger.payment(PaymentId(id)).await?.0.as_ref().map(status)),
    })
}

fn authorized(reply: AuthorizeReply) -> Outcome {
    let found = match reply.standing {
        Standing::Owner { takeover: false } => Found::Owner,
        Standing::Owner { takeover: true } => Found::TakenOver,
        Standing::InProgress => Found::InProgress,
        Standing::Ended(_) => Found::Ended,
    };
    Outcome::Authorized(found, status(&reply.payment))
}

fn status(payment: &Payment) -> Status {
    let (captured, refunded) = (payment.captured.0, payment.refunded.0);
    Status { state: payment.state, captured, refunded, epoch: payment.epoch }
}
