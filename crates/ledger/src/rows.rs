//! The rows that the core reads and writes, and their bytes in key-value storage.

use farthing_protocol::layout::{LayoutError, Reader, Writer};
use farthing_protocol::rail::PaymentId;
use farthing_protocol::{Amount, PublicKey};

use crate::admin::{NewAsset, Scope};
use crate::core::ANSWER_KEPT;
use crate::identity::{AssetCode, Book, LedgerId};
use crate::statement::PaymentState;
use crate::terms::Terms;

/// Bytes that one row may need at most: an answer is the largest.
pub(crate) const MAX_ROW: usize = 1 << 20;
/// Bytes that a tenant's name may have.
pub(crate) const MAX_TENANT: usize = 256;

/// One of an account's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountKey {
    /// The key.
    pub key: PublicKey,
    /// What it may do.
    pub scope: Scope,
    /// Unix seconds after which it no longer signs; 0 for never.
    pub expiry: u64,
}

/// The keys of an account that has changed them at least once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountKeys {
    /// Number of the last change.
    pub sequence: u64,
    /// The keys.
    pub keys: Vec<AccountKey>,
}

impl AccountKeys {
    /// The keys of an account without a row: its opening key rules.
    pub fn opening(account: &PublicKey) -> Self {
        Self { sequence: 0, keys: vec![AccountKey { key: *account, scope: Scope::Full, expiry: 0 }] }
    }

    /// What `key` may do at `now`.
    pub fn scope(&self, key: &PublicKey, now: u64) -> Option<Scope> {
        let live = |k: &&AccountKey| k.key == *key && (k.expiry == 0 || now <= k.expiry);
        self.keys.iter().find(live).map(|k| k.scope)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::bare().u64(self.sequence).u16(self.keys.len() as u16);
        for key in &self.keys {
            out = out.fixed(&key.key.0).u8(key.scope.code()).u64(key.expiry);
        }
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut from = Reader::bare(bytes);
        let sequence = from.u64()?;
        let count = from.u16()?;
        let mut keys = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let key = PublicKey(from.fixed()?);
            keys.push(AccountKey { key, scope: Scope::of_code(from.u8()?)?, expiry: from.u64()? });
        }
        from.finish()?;
        Ok(Self { sequence, keys })
    }
}

/// A payment and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// What the payer signed.
    pub terms: Terms,
    /// Never [`PaymentState::Absent`].
    pub state: PaymentState,
    /// Atomic units captured so far.
    pub captured: Amount,
    /// Atomic units given back after capture.
    pub refunded: Amount,
    /// The fee rate, fixed when it was authorized.
    pub fee_bps: u16,
    /// The server process that owns the hold.
    pub owner: [u8; 16],
    /// Grows with each takeover.
    pub epoch: u64,
    /// Unix seconds after which another process may take the hold over.
    pub lease_until: u64,
    /// Who asked for the authorization; only they see the stored answer.
    pub tenant: String,
    /// Unix seconds of the last change.
    pub changed_at: u64,
    /// Unix seconds at which the hold ended; 0 while it lasts.
    pub ended_at: u64,
}

impl Payment {
    /// What is still held, in atomic units.
    pub fn held(&self) -> Amount {
        match self.state {
            PaymentState::Held => Amount(self.terms.max_amount.0.saturating_sub(self.captured.0)),
            _ => Amount::ZERO,
        }
    }

    /// Unix seconds until which a stored answer is given out, once the hold has ended.
    pub(crate) fn answer_kept_until(&self) -> u64 {
        self.ended_at.max(self.terms.valid_before).saturating_add(ANSWER_KEPT)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let out = Writer::bare().u8(self.state.code()).u128(self.captured.0).u128(self.refunded.0);
        let out = out.u16(self.fee_bps).fixed(&self.owner).u64(self.epoch).u64(self.lease_until);
        out.var(self.tenant.as_bytes()).u64(self.changed_at).u64(self.ended_at).var(&self.terms.encode()).finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut from = Reader::bare(bytes);
        let state = PaymentState::of_code(from.u8()?).filter(|s| *s != PaymentState::Absent);
        let payment = Self {
            state: state.ok_or(LayoutError::Value { field: "state" })?,
            captured: Amount(from.u128()?),
            refunded: Amount(from.u128()?),
            fee_bps: from.u16()?,
            owner: from.fixed()?,
            epoch: from.u64()?,
            lease_until: from.u64()?,
            tenant: String::from_utf8(from.var(MAX_TENANT)?.to_vec())
                .map_err(|_| LayoutError::Value { field: "tenant" })?,
            changed_at: from.u64()?,
            ended_at: from.u64()?,
            terms: Terms::decode(from.var(MAX_ROW)?)?,
        };
        from.finish()?;
        Ok(payment)
    }
}

/// What was fixed when the ledger was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The ledger's key.
    pub key: PublicKey,
    /// Who may hold and be paid.
    pub mode: Mode,
    /// The fee that the operator takes.
    pub fee_bps: u16,
    /// Who gets the fee; zero when there is none.
    pub fee_recipient: PublicKey,
    /// Unix seconds.
    pub created_at: u64,
}

/// Who may hold money on a ledger and who may be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One seller; no payer holds more than the cap of any asset.
    ClosedLoop {
        /// The only account that can be paid.
        seller: PublicKey,
        /// Atomic units: the most that one payer can hold of one asset.
        payer_cap: Amount,
    },
    /// Anybody pays anybody. Whoever runs such a ledger issues money to the public: see the README.
    Open,
}

impl Genesis {
    /// The id of this ledger.
    pub fn id(&self) -> LedgerId {
        LedgerId::of(&self.key)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let out = Writer::new("farthing/genesis", 1).fixed(&self.key.0);
        let out = match &self.mode {
            Mode::ClosedLoop { seller, payer_cap } => out.u8(1).fixed(&seller.0).u128(payer_cap.0),
            Mode::Open => out.u8(2),
        };
        out.u16(self.fee_bps).fixed(&self.fee_recipient.0).u64(self.created_at).finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut from = Reader::open(bytes, "farthing/genesis", 1)?;
        let key = PublicKey(from.fixed()?);
        let mode = match from.u8()? {
            1 => Mode::ClosedLoop { seller: PublicKey(from.fixed()?), payer_cap: Amount(from.u128()?) },
            2 => Mode::Open,
            _ => return Err(LayoutError::Value { field: "mode" }),
        };
        let genesis = Self {
            key,
            mode,
            fee_bps: from.u16()?,
            fee_recipient: PublicKey(from.fixed()?),
            created_at: from.u64()?,
        };
        from.finish()?;
        Ok(genesis)
    }
}

/// The end of the chain of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the last entry; entries count from 1.
    pub sequence: u64,
    /// Hash of the last entry.
    pub hash: [u8; 32],
    /// Unix seconds: the highest time that the ledger has seen.
    pub clock: u64,
}

impl Head {
    /// The bytes that the ledger signs.
    pub fn signed_bytes(&self, ledger: &LedgerId) -> Vec<u8> {
        let out = Writer::new("farthing/head", 1).fixed(&ledger.0).u64(self.sequence).fixed(&self.hash);
        out.u64(self.clock).finish()
    }
}

/// The tables of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Genesis and the signed head.
    Meta,
    /// Assets by code.
    Asset,
    /// Keys by account.
    Keys,
    /// Balances by book and asset.
    Balance,
    /// Payments by id.
    Payment,
    /// Payment ids by payer and nonce.
    Replay,
    /// Open holds by capture deadline and payment id.
    Due,
    /// Stored answers by payment id.
    Answer,
    /// Deposits by reference.
    Deposit,
    /// Entries by sequence.
    Entry,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 10] = [
        Self::Meta,
        Self::Asset,
        Self::Keys,
        Self::Balance,
        Self::Payment,
        Self::Replay,
        Self::Due,
        Self::Answer,
        Self::Deposit,
        Self::Entry,
    ];
}

/// Keys of rows, as bytes that sort the way scans need them.
pub(crate) mod key {
    use super::{AssetCode, Book, PaymentId, PublicKey, Writer};

    pub(crate) fn balance(book: &Book, asset: &AssetCode) -> Vec<u8> {
        book.write(Writer::bare()).fixed(asset.as_str().as_bytes()).finish()
    }

    pub(crate) fn replay(payer: &PublicKey, nonce: &[u8; 32]) -> Vec<u8> {
        [payer.0, *nonce].concat()
    }

    pub(crate) fn due(deadline: u64, payment: &PaymentId) -> Vec<u8> {
        Writer::bare().u64(deadline).fixed(&payment.0).finish()
    }
}

pub(crate) fn encode_asset(asset: &NewAsset) -> Vec<u8> {
    Writer::bare().u8(asset.scale).fixed(&asset.issuer.0).finish()
}

pub(crate) fn decode_asset(code: &AssetCode, bytes: &[u8]) -> Result<NewAsset, LayoutError> {
    let mut from = Reader::bare(bytes);
    let asset = NewAsset { code: *code, scale: from.u8()?, issuer: PublicKey(from.fixed()?) };
    from.finish()?;
    Ok(asset)
}
