//! The admin socket: how a command reaches a ledger whose directory another process has.
//!
//! One process has a ledger's directory at a time. Every ledger that is open on one listens on `admin.sock` in it,
//! which nobody but the directory's owner can use (mode 0600). A request is one line: the name of a command, and
//! what belongs to it as JSON. The answer comes in frames, so that a stream that breaks off is never taken for a
//! whole one. Each caller is answered on a thread of its own, from a look at all rows that disturbs no payment.

mod ask;
mod serve;

use farthing_protocol::rail::PaymentId;
use farthing_protocol::{PublicKey, Signature};
use serde::{Deserialize, Serialize};

use crate::command::Operate;
use crate::operation::Action;
use crate::recovery::Recovered;
use crate::sales::Refund;

pub use self::ask::{AskError, ask, ask_for, recover};
pub(super) use self::serve::AdminSocket;

/// The socket's name in the directory.
const SOCKET: &str = "admin.sock";

/// Bytes of the longest request.
const MAX_REQUEST: usize = 64 << 10;
/// Bytes of the longest frame.
const MAX_FRAME: usize = 64 << 10;

/// A frame is its kind, the number of its bytes (`u32`, big-endian), and these.
const DATA: u8 = b'd';
/// The answer was whole.
const END: u8 = b'.';
/// There is no answer, or no more of it; why, in words.
const ERROR: u8 = b'e';

/// What a running ledger is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Verify everything; answered with a [`Report`](crate::check::Report).
    Check,
    /// History as JSON lines; see [`export`](crate::export).
    Export,
    /// A [backup](crate::backup).
    Backup {
        /// Whether the ledger's key is in it.
        with_key: bool,
    },
    /// Payments in doubt; answered with [`Doubts`](crate::recovery::Doubts).
    Doubts,
    /// End what needs nobody's word; answered with the ledger's network and what was
    /// [recovered](crate::recovery::Recovered).
    Recover,
    /// Give holds back whose servers are silent; answered with a list of whether each was.
    Void(Voids),
    /// Every payment as its seller sees it; see [`sales`](crate::sales::write).
    Sales,
    /// One of them; answered with what was [found](crate::sales::Found).
    Sale(PaymentId),
    /// Give back what was taken; answered with what was [refunded](crate::sales::Refunded).
    Refund(Refund),
}

/// Voids as they were signed by a receiverAuthorizer, whose key stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Voids {
    signer: PublicKey,
    signature: Signature,
    /// Payment and epoch.
    holds: Vec<(String, u64)>,
}

impl Voids {
    /// The voids in a list of operations.
    pub fn of(operate: &Operate) -> Self {
        let voids = operate.operations.iter().filter(|(op, _)| op.action == Action::Void);
        let holds = voids.map(|(op, _)| (op.payment.to_string(), op.epoch)).collect();
        Self { signer: operate.signer, signature: operate.signature, holds }
    }

    fn operate(&self) -> Option<Operate> {
        let void = |(payment, epoch): &(String, u64)| {
            let payment: PaymentId = payment.parse().ok()?;
            Some((crate::recovery::void(payment, *epoch), None))
        };
        let operations = self.holds.iter().map(void).collect::<Option<Vec<_>>>()?;
        Some(Operate::new(operations, self.signer, self.signature).sparing_leases())
    }
}

/// What was recovered, on which ledger.
#[derive(Debug, Serialize, Deserialize)]
struct OnLedger {
    network: String,
    recovered: Recovered,
}

impl Request {
    /// As one line, without its end.
    fn line(&self) -> String {
        match self {
            Self::Check => "check".into(),
            Self::Export => "export".into(),
            Self::Backup { with_key: true } => "backup-with-key".into(),
            Self::Backup { with_key: false } => "backup".into(),
            Self::Doubts => "doubts".into(),
            Self::Recover => "recover".into(),
            Self::Void(voids) => format!("void {}", serde_json::to_string(voids).unwrap_or_default()),
            Self::Sales => "sales".into(),
            Self::Sale(payment) => format!("sale {payment}"),
            Self::Refund(refund) => format!("refund {}", serde_json::to_string(refund).unwrap_or_default()),
        }
    }

    fn read(line: &str) -> Option<Self> {
        Some(match line.split_once(' ') {
            None => match line {
                "check" => Self::Check,
                "export" => Self::Export,
                "backup-with-key" => Self::Backup { with_key: true },
                "backup" => Self::Backup { with_key: false },
                "doubts" => Self::Doubts,
                "recover" => Self::Recover,
                "sales" => Self::Sales,
                _ => return None,
            },
            Some(("void", voids)) => Self::Void(serde_json::from_str(voids).ok()?),
            Some(("sale", payment)) => Self::Sale(payment.parse().ok()?),
            Some(("refund", refund)) => Self::Refund(serde_json::from_str(refund).ok()?),
            Some(_) => return None,
        })
    }
}
