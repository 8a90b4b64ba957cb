//! Entries: what happened, the postings it made, and the hash chain that makes it history.
//!
//! Each committer writes a chain of its own. Where there is one, an entry's place in its chain is its place in
//! history (layout version 1); where several write to one ledger, an entry also says which chain it belongs to
//! and the position of its batch among all of them (layout version 2).
//!
//! An entry carries its evidence (signed bytes and signatures), so that `farthing ledger check` can
//! verify every debit again without trusting a row.

use farthing_protocol::layout::{LayoutError, Reader, Writer};
use farthing_protocol::rail::PaymentId;
use farthing_protocol::{PublicKey, Signature};
use sha2::{Digest, Sha256};

use crate::identity::{AssetCode, Book};
use crate::operation::{MAX_OPERATIONS, Op};
use crate::rows::{Genesis, MAX_ROW};

/// A change of one book's balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The book.
    pub book: Book,
    /// The asset.
    pub asset: AssetCode,
    /// Atomic units, negative for a debit.
    pub amount: i128,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The ledger was made.
    Genesis(Genesis),
    /// An asset was registered; signed by the ledger.
    Asset(Evidence),
    /// Money was issued; signed by the issuer.
    Deposit(Evidence),
    /// An account's keys changed; signed by one of them.
    Keys(PublicKey, Evidence),
    /// A payment was authorized; signed by the payer.
    Authorize(Evidence),
    /// A silent owner lost a hold.
    Takeover(PaymentId, u64),
    /// Operations under one signature; those that were refused are `false`.
    Operate(PublicKey, Signature, Vec<(Op, bool)>),
    /// A payment was charged: the payer's evidence, then the receiverAuthorizer's.
    Charge(Evidence, Op, Signature),
    /// Holds that ended at their capture deadline.
    Reclaim(Vec<PaymentId>),
}

/// Signed bytes and the signature on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What was signed.
    pub signed: Vec<u8>,
    /// The signature.
    pub signature: Signature,
}

/// One link of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The committer's chain; 0 for the first.
    pub chain: u32,
    /// Counts from 1 in its chain, without gaps.
    pub sequence: u64,
    /// Orders the batches of all chains: one that saw what another did has a higher position. Equal to the
    /// sequence where there is one committer.
    pub position: u64,
    /// Unix seconds by the ledger's clock; never less than the entry before.
    pub at: u64,
    /// Hash of the entry before in its chain; zero for the first of chain 0, the hash of that one for the first
    /// of any other.
    pub previous: [u8; 32],
    /// What happened.
    pub event: Event,
    /// What it moved; sums to zero for each asset.
    pub postings: Vec<Posting>,
}

impl Entry {
    /// The entry's bytes; their hash is the next entry's `previous`.
    pub fn encode(&self) -> Vec<u8> {
        let out = if self.is_alone() {
            Writer::new("farthing/entry", 1).u64(self.sequence)
        } else {
            Writer::new("farthing/entry", 2).u32(self.chain).u64(self.sequence).u64(self.position)
        };
        let mut out = out.u64(self.at).fixed(&self.previous);
        out = out.u32(self.postings.len() as u32);
        for posting in &self.postings {
            out = posting.asset.write(posting.book.write(out)).i128(posting.amount);
        }
        self.event.write(out).finish()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`LayoutError`] names what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let alone = Reader::open(bytes, "farthing/entry", 1);
        let is_alone = alone.is_ok();
        let mut from = alone.or_else(|_| Reader::open(bytes, "farthing/entry", 2))?;
        let (chain, sequence, position) = if is_alone {
            let sequence = from.u64()?;
            (0, sequence, sequence)
        } else {
            (from.u32()?, from.u64()?, from.u64()?)
        };
        let (at, previous) = (from.u64()?, from.fixed()?);
        let count = from.u32()?;
        let mut postings = Vec::new();
        for _ in 0..count {
            let book = Book::read(&mut from)?;
            postings.push(Posting { book, asset: AssetCode::read(&mut from)?, amount: from.i128()? });
        }
        let event = Event::read(&mut from)?;
        from.finish()?;
        let entry = Self { chain, sequence, position, at, previous, event, postings };
        if entry.is_alone() != is_alone {
            return Err(LayoutError::Value { field: "version" });
        }
        Ok(entry)
    }

    /// Whether its place in its chain says all about its place in history.
    fn is_alone(&self) -> bool {
        self.chain == 0 && self.position == self.sequence
    }

    /// The hash of encoded entry bytes.
    pub fn hash(encoded: &[u8]) -> [u8; 32] {
        Sha256::digest(encoded).into()
    }
}

impl Event {
    /// The event's name, as `farthing ledger` prints it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Genesis(_) => "genesis",
            Self::Asset(_) => "asset",
            Self::Deposit(_) => "deposit",
            Self::Keys(..) => "keys",
            Self::Authorize(_) => "authorize",
            Self::Takeover(..) => "takeover",
            Self::Operate(..) => "operate",
            Self::Charge(..) => "charge",
            Self::Reclaim(_) => "reclaim",
        }
    }

    fn write(&self, out: Writer) -> Writer {
        match self {
            Self::Genesis(genesis) => out.u8(1).var(&genesis.encode()),
            Self::Asset(evidence) => evidence.write(out.u8(2)),
            Self::Deposit(evidence) => evidence.write(out.u8(3)),
            Self::Keys(signer, evidence) => evidence.write(out.u8(4).fixed(&signer.0)),
            Self::Authorize(evidence) => evidence.write(out.u8(5)),
            Self::Takeover(payment, epoch) => out.u8(6).fixed(&payment.0).u64(*epoch),
            Self::Operate(signer, signature, operations) => {
                let mut out = out.u8(7).fixed(&signer.0).fixed(&signature.0).u32(operations.len() as u32);
                for (operation, applied) in operations {
                    out = out.var(&operation.encode()).u8(u8::from(*applied));
                }
                out
            }
            Self::Charge(evidence, operation, signature) => {
                evidence.write(out.u8(8)).var(&operation.encode()).fixed(&signature.0)
            }
            Self::Reclaim(payments) => {
                let mut out = out.u8(9).u32(payments.len() as u32);
                for payment in payments {
                    out = out.fixed(&payment.0);
                }
                out
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        Ok(match from.u8()? {
            1 => Self::Genesis(Genesis::decode(from.var(MAX_ROW)?)?),
            2 => Self::Asset(Evidence::read(from)?),
            3 => Self::Deposit(Evidence::read(from)?),
            4 => Self::Keys(PublicKey(from.fixed()?), Evidence::read(from)?),
            5 => Self::Authorize(Evidence::read(from)?),
            6 => Self::Takeover(PaymentId(from.fixed()?), from.u64()?),
            7 => {
                let (signer, signature) = (PublicKey(from.fixed()?), Signature(from.fixed()?));
                let count = from.u32()? as usize;
                if count > MAX_OPERATIONS {
                    return Err(LayoutError::Value { field: "operations" });
                }
                let mut operations = Vec::with_capacity(count);
                for _ in 0..count {
                    let operation = Op::decode(from.var(MAX_ROW)?)?;
                    let applied = match from.u8()? {
                        0 => false,
                        1 => true,
                        _ => return Err(LayoutError::Value { field: "applied" }),
                    };
                    operations.push((operation, applied));
                }
                Self::Operate(signer, signature, operations)
            }
            8 => {
                let evidence = Evidence::read(from)?;
                Self::Charge(evidence, Op::decode(from.var(MAX_ROW)?)?, Signature(from.fixed()?))
            }
            9 => {
                let count = from.u32()?;
                let mut payments = Vec::new();
                for _ in 0..count {
                    payments.push(PaymentId(from.fixed()?));
                }
                Self::Reclaim(payments)
            }
            _ => return Err(LayoutError::Value { field: "event" }),
        })
    }
}

impl Evidence {
    fn write(&self, out: Writer) -> Writer {
        out.var(&self.signed).fixed(&self.signature.0)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        Ok(Self { signed: from.var(MAX_ROW)?.to_vec(), signature: Signature(from.fixed()?) })
    }
}
