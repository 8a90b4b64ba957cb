//! History for others: each entry as one line of JSON, with everything that it takes to verify it.
//!
//! The lines are described in `spec/ledger.md`. They come in the order of positions, over all chains, and end with
//! one line for the signed head of each chain: an export without heads was cut off.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use farthing_protocol::layout::{LayoutError, Reader};
use farthing_protocol::rail::PaymentId;
use farthing_protocol::{PublicKey, Signature};
use serde::Serialize;

use crate::admin::{Deposit, NewAsset};
use crate::check::history::History;
use crate::engine::{Snapshot, StorageError};
use crate::entry::{Entry, Event, Evidence, Posting};
use crate::identity::{AssetCode, Book, LedgerId};
use crate::operation::{self, Action, Op};
use crate::rows::{Genesis, Head, Mode, Table, key};
use crate::terms::{Terms, payment_id};

/// Chains that a ledger has at most.
const MAX_CHAINS: usize = 16_384;

/// An export that was not finished. What was written of it is good, and is not everything.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The ledger's rows cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An entry, or a head, is damaged.
    #[error("{what} cannot be read: {why}; check the ledger")]
    Damaged {
        /// Which.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// It cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes every entry, and then the heads. Returns the number of entries.
///
/// # Errors
/// [`ExportError`].
pub fn write(rows: &mut dyn Snapshot, out: &mut dyn Write) -> Result<u64, ExportError> {
    let meta: BTreeMap<_, _> = rows.scan(Table::Meta, &[], MAX_CHAINS)?.into_iter().collect();
    let mut scan = |table, from: &[u8], limit| rows.scan(table, from, limit);
    let mut history = History::open(&mut scan, &meta)?;
    let mut context = Context::default();
    let mut entries = 0;
    while let Some((row, bytes)) = history.next(&mut scan)? {
        let line = Entry::decode(&bytes).and_then(|entry| context.line(&entry, &bytes).map(|l| l.to_json()));
        let line = line.map_err(|why| damaged("an entry", &row, why))?;
        writeln!(out, "{line}")?;
        entries += 1;
    }
    for chain in history.chains() {
        let row = key::of_chain(b"head", chain);
        let line = match meta.get(&row) {
            Some(bytes) => context.head(chain, bytes).map_err(|why| damaged("a head", &row, why))?,
            None => return Err(ExportError::Storage(StorageError::failed("the head is missing"))),
        };
        writeln!(out, "{}", json(&line))?;
    }
    out.flush()?;
    Ok(entries)
}

fn damaged(what: &str, row: &[u8], why: LayoutError) -> ExportError {
    let what = match key::entry_of(row) {
        Some((chain, sequence)) => format!("entry {sequence} of chain {chain}"),
        None => what.to_owned(),
    };
    ExportError::Damaged { what, why: why.to_string() }
}

/// Structs of text and numbers always become JSON.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// What entries refer to: who made the ledger, and who issues what.
#[derive(Default)]
struct Context {
    ledger: Option<Genesis>,
    issuers: HashMap<AssetCode, PublicKey>,
}

#[derive(Serialize)]
struct Line<'a> {
    chain: u32,
    sequence: u64,
    position: u64,
    at: u64,
    event: &'a str,
    payments: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
    postings: Vec<Moved>,
    evidence: Vec<Proof>,
    hash: String,
    previous: String,
    /// What `hash` is the hash of.
    bytes: String,
}

#[derive(Serialize)]
struct Moved {
    book: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<PublicKey>,
    asset: String,
    amount: String,
}

#[derive(Serialize)]
struct Proof {
    signer: PublicKey,
    signed: String,
    signature: Signature,
}

/// What an event says besides what is signed.
#[derive(Serialize)]
#[serde(untagged)]
enum Details {
    Genesis(Made),
    Takeover { epoch: u64 },
    Operations { operations: Vec<Operation> },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    ledger: String,
    key: PublicKey,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    seller: Option<PublicKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payer_cap: Option<String>,
    fee_bps: u16,
    fee_recipient: PublicKey,
    created_at: u64,
}

#[derive(Serialize)]
struct Operation {
    payment: String,
    action: &'static str,
    amount: String,
    r#final: bool,
    epoch: u64,
    answer: String,
    applied: bool,
}

#[derive(Serialize)]
struct HeadLine {
    head: SignedHead,
}

#[derive(Serialize)]
struct SignedHead {
    chain: u32,
    sequence: u64,
    hash: String,
    clock: u64,
    evidence: Proof,
}

impl Line<'_> {
    fn to_json(&self) -> String {
        json(self)
    }
}

/// The payments that an event is about, its details, and its evidence.
type Told = (Vec<PaymentId>, Option<Details>, Vec<Proof>);

impl Context {
    fn line<'a>(&mut self, entry: &'a Entry, bytes: &[u8]) -> Result<Line<'a>, LayoutError> {
        let (payments, details, evidence) = self.event(&entry.event)?;
        Ok(Line {
            chain: entry.chain,
            sequence: entry.sequence,
            position: entry.position,
            at: entry.at,
            event: entry.event.name(),
            payments: payments.iter().map(ToString::to_string).collect(),
            details,
            postings: entry.postings.iter().map(Moved::of).collect(),
            evidence,
            hash: hex::encode(Entry::hash(bytes)),
            previous: hex::encode(entry.previous),
            bytes: hex::encode(bytes),
        })
    }

    fn event(&mut self, event: &Event) -> Result<Told, LayoutError> {
        let no_ledger = LayoutError::Value { field: "genesis" };
        if let Event::Genesis(genesis) = event {
            self.ledger = Some(genesis.clone());
            return Ok((Vec::new(), Some(Details::Genesis(Made::of(genesis))), Vec::new()));
        }
        let genesis = self.ledger.as_ref().ok_or(no_ledger)?;
        let ledger = genesis.id();
        Ok(match event {
            // Before all others, above.
            Event::Genesis(_) => (Vec::new(), None, Vec::new()),
            Event::Asset(evidence) => {
                let asset = NewAsset::decode(&evidence.signed, &ledger)?;
                let proof = Proof::of(genesis.key, evidence);
                self.issuers.insert(asset.code, asset.issuer);
                (Vec::new(), None, vec![proof])
            }
            Event::Deposit(evidence) => {
                let deposit = Deposit::decode(&evidence.signed, &ledger)?;
                let issuer = self.issuers.get(&deposit.asset).copied();
                let issuer = issuer.ok_or(LayoutError::Value { field: "asset" })?;
                (Vec::new(), None, vec![Proof::of(issuer, evidence)])
            }
            Event::Keys(signer, evidence) => (Vec::new(), None, vec![Proof::of(*signer, evidence)]),
            Event::Authorize(evidence) => {
                let signer = Terms::decode(&evidence.signed)?.signer;
                (vec![payment_id(&evidence.signed)], None, vec![Proof::of(signer, evidence)])
            }
            Event::Charge(evidence, operation, signature) => {
                let terms = Terms::decode(&evidence.signed)?;
                let signed = operation::signed_bytes(&ledger, std::slice::from_ref(operation));
                let capture = Proof::new(terms.receiver_authorizer, &signed, *signature);
                let operations = vec![Operation::of(operation, true)];
                let details = Details::Operations { operations };
                let proofs = vec![Proof::of(terms.signer, evidence), capture];
                (vec![payment_id(&evidence.signed)], Some(details), proofs)
            }
            Event::Takeover(id, epoch) => (vec![*id], Some(Details::Takeover { epoch: *epoch }), Vec::new()),
            Event::Operate(signer, signature, list) => {
                let (payments, operations, proof) = operated(&ledger, *signer, *signature, list);
                (payments, Some(Details::Operations { operations }), vec![proof])
            }
            Event::Reclaim(payments) => (payments.clone(), None, Vec::new()),
        })
    }

    fn head(&self, chain: u32, bytes: &[u8]) -> Result<HeadLine, LayoutError> {
        let genesis = self.ledger.as_ref().ok_or(LayoutError::Value { field: "genesis" })?;
        let mut from = Reader::bare(bytes);
        let head = Head::read(&mut from)?;
        let signature = Signature(from.fixed()?);
        from.finish()?;
        let evidence = Proof::new(genesis.key, &head.signed_bytes(&genesis.id()), signature);
        let (sequence, hash, clock) = (head.sequence, hex::encode(head.hash), head.clock);
        Ok(HeadLine { head: SignedHead { chain, sequence, hash, clock, evidence } })
    }
}

fn operated(
    ledger: &LedgerId,
    signer: PublicKey,
    signature: Signature,
    list: &[(Op, bool)],
) -> (Vec<PaymentId>, Vec<Operation>, Proof) {
    let signed: Vec<Op> = list.iter().map(|(op, _)| *op).collect();
    let proof = Proof::new(signer, &operation::signed_bytes(ledger, &signed), signature);
    let payments = signed.iter().map(|op| op.payment).collect();
    (payments, list.iter().map(|(op, applied)| Operation::of(op, *applied)).collect(), proof)
}

impl Moved {
    fn of(posting: &Posting) -> Self {
        let (book, account) = match posting.book {
            Book::Account(account) => ("account", Some(account)),
            Book::Held => ("held", None),
            Book::Issued => ("issued", None),
        };
        Self { book, account, asset: posting.asset.to_string(), amount: posting.amount.to_string() }
    }
}

impl Proof {
    fn of(signer: PublicKey, evidence: &Evidence) -> Self {
        Self::new(signer, &evidence.signed, evidence.signature)
    }

    fn new(signer: PublicKey, signed: &[u8], signature: Signature) -> Self {
        Self { signer, signed: hex::encode(signed), signature }
    }
}

impl Made {
    fn of(genesis: &Genesis) -> Self {
        let (mode, seller, payer_cap) = match genesis.mode {
            Mode::ClosedLoop { seller, payer_cap } => ("closed-loop", Some(seller), Some(payer_cap)),
            Mode::Open => ("open", None, None),
        };
        Self {
            ledger: genesis.id().network().to_string(),
            key: genesis.key,
            mode,
            seller,
            payer_cap: payer_cap.map(|cap| cap.to_string()),
            fee_bps: genesis.fee_bps,
            fee_recipient: genesis.fee_recipient,
            created_at: genesis.created_at,
        }
    }
}

impl Operation {
    fn of(op: &Op, applied: bool) -> Self {
        let action = match op.action {
            Action::Capture => "capture",
            Action::Void => "void",
            Action::Refund => "refund",
            Action::Charge => "charge",
        };
        Self {
            payment: op.payment.to_string(),
            action,
            amount: op.cumulative.to_string(),
            r#final: op.last,
            epoch: op.epoch,
            answer: hex::encode(op.answer),
            applied,
        }
    }
}
