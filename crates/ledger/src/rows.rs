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
        out.var(self.tenant.as_bytes())
            .u64(self.changed_at)
            .u64(self.ended_at)
            .var(&self.terms.encode())
            .finish()
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

    /// Reads the row of the meta table.
    ///
    /// # Errors
    /// [`LayoutError`] names what is wrong.
    pub fn read(row: &[u8]) -> Result<Self, LayoutError> {
        Self::decode(row)
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
    /// The head in a row of the meta table; the ledger's signature is left to be read.
    pub(crate) fn read(row: &mut Reader<'_>) -> Result<Self, LayoutError> {
        Ok(Self { sequence: row.u64()?, hash: row.fixed()?, clock: row.u64()? })
    }

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

    /// What the embedded engine calls it in its directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Asset => "asset",
            Self::Keys => "account_keys",
            Self::Balance => "balance",
            Self::Payment => "payment",
            Self::Replay => "replay",
            Self::Due => "due",
            Self::Answer => "answer",
            Self::Deposit => "deposit",
            Self::Entry => "entry",
        }
    }
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

    /// Entries of chain 0 come first, then those of each further chain, in their order.
    pub(crate) fn entry(chain: u32, sequence: u64) -> Vec<u8> {
        match chain {
            0 => sequence.to_be_bytes().to_vec(),
            _ => Writer::bare().u64(u64::MAX).u32(chain).u64(sequence).finish(),
        }
    }

    /// The chain and the sequence of an entry with this key.
    pub(crate) fn entry_of(key: &[u8]) -> Option<(u32, u64)> {
        let mut from = super::Reader::bare(key);
        let first = from.u64().ok()?;
        let of = if from.remaining() == 0 { (0, first) } else { (from.u32().ok()?, from.u64().ok()?) };
        (from.finish().is_ok() && key == entry(of.0, of.1)).then_some(of)
    }

    /// Behind every entry of a chain, and not behind the next chain's first.
    pub(crate) fn entries_end(chain: u32) -> Vec<u8> {
        Writer::bare().u64(u64::MAX).u32(chain.saturating_add(1)).finish()
    }

    /// A row of the meta table that each chain has for itself.
    pub(crate) fn of_chain(name: &[u8], chain: u32) -> Vec<u8> {
        match chain {
            0 => name.to_vec(),
            _ => Writer::bare().fixed(name).fixed(b"/").u32(chain).finish(),
        }
    }

    pub(crate) fn due(deadline: u64, payment: &PaymentId) -> Vec<u8> {
        Writer::bare().u64(deadline).fixed(&payment.0).finish()
    }

    /// The payment of an open hold with this key.
    pub(crate) fn due_of(key: &[u8]) -> Result<PaymentId, super::LayoutError> {
        let mut from = super::Reader::bare(key);
        from.u64()?;
        from.fixed().map(PaymentId)
    }

    /// The first key behind this one: where the next page of a scan begins.
    pub(crate) fn after(key: &[u8]) -> Vec<u8> {
        [key, &[0]].concat()
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

#[cfg(test)]
mod tests {
    use proptest::array::{uniform16, uniform32};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::terms::{FeeTerms, Scheme, TermsFlow};
    use farthing_protocol::{Binding, RequestDigest};

    fn key() -> impl Strategy<Value = PublicKey> {
        uniform32(any::<u8>()).prop_map(PublicKey)
    }

    fn account_keys() -> impl Strategy<Value = AccountKeys> {
        let scope = prop_oneof![Just(Scope::Pay), Just(Scope::Full)];
        let one =
            (key(), scope, any::<u64>()).prop_map(|(key, scope, expiry)| AccountKey { key, scope, expiry });
        (any::<u64>(), vec(one, 0..5)).prop_map(|(sequence, keys)| AccountKeys { sequence, keys })
    }

    fn terms(nonce: [u8; 32]) -> Terms {
        let key = PublicKey([3; 32]);
        Terms {
            ledger: LedgerId([1; 16]),
            scheme: Scheme::AuthCapture,
            flow: TermsFlow::Escrow,
            payer: key,
            signer: key,
            payee: key,
            receiver_authorizer: key,
            asset: "XTS".parse().unwrap(),
            max_amount: Amount(9),
            valid_after: 0,
            valid_before: 300,
            capture_deadline: 900,
            refund_deadline: 0,
            fee: FeeTerms::default(),
            mandate: [0; 32],
            nonce,
            binding: Binding::Body,
            digest: RequestDigest([7; 32]),
        }
    }

    fn payment() -> impl Strategy<Value = Payment> {
        let state = (1..=4_u8).prop_map(|code| PaymentState::of_code(code).unwrap());
        let counts = (any::<u128>(), any::<u128>(), any::<u16>());
        let times = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
        let ids = (uniform16(any::<u8>()), uniform32(any::<u8>()));
        (state, counts, times, ids, "\\PC{0,60}").prop_map(
            |(state, counts, times, (owner, nonce), tenant)| Payment {
                terms: terms(nonce),
                state,
                captured: Amount(counts.0),
                refunded: Amount(counts.1),
                fee_bps: counts.2,
                owner,
                epoch: times.0,
                lease_until: times.1,
                tenant,
                changed_at: times.2,
                ended_at: times.3,
            },
        )
    }

    fn genesis() -> impl Strategy<Value = Genesis> {
        let cap = any::<u128>().prop_map(Amount);
        let closed = (key(), cap).prop_map(|(seller, payer_cap)| Mode::ClosedLoop { seller, payer_cap });
        let mode = prop_oneof![Just(Mode::Open), closed];
        (key(), mode, any::<u16>(), key(), any::<u64>()).prop_map(
            |(key, mode, fee_bps, fee_recipient, created_at)| Genesis {
                key,
                mode,
                fee_bps,
                fee_recipient,
                created_at,
            },
        )
    }

    /// Whatever decodes is the one encoding of what it means.
    fn read_all(bytes: &[u8]) {
        let code = "XTS".parse().unwrap();
        let again = [
            AccountKeys::decode(bytes).map(|x| x.encode()),
            Payment::decode(bytes).map(|x| x.encode()),
            Genesis::decode(bytes).map(|x| x.encode()),
            decode_asset(&code, bytes).map(|x| encode_asset(&x)),
        ];
        for encoded in again.into_iter().flatten() {
            assert_eq!(encoded, bytes);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn rows_decode_to_what_was_encoded(
            keys in account_keys(), payment in payment(), genesis in genesis(), scale in any::<u8>(), issuer in key(),
        ) {
            let asset = NewAsset { code: "XTS".parse().unwrap(), scale, issuer };
            prop_assert_eq!(AccountKeys::decode(&keys.encode()), Ok(keys));
            prop_assert_eq!(Payment::decode(&payment.encode()), Ok(payment));
            prop_assert_eq!(Genesis::decode(&genesis.encode()), Ok(genesis));
            prop_assert_eq!(decode_asset(&asset.code, &encode_asset(&asset)), Ok(asset));
        }

        #[test]
        fn no_bytes_make_a_row_panic(bytes in vec(any::<u8>(), 0..500)) {
            read_all(&bytes);
        }

        #[test]
        fn damaged_rows_are_refused_or_mean_what_they_say(
            keys in account_keys(), payment in payment(), genesis in genesis(), at in any::<usize>(), byte in any::<u8>(),
        ) {
            for valid in [keys.encode(), payment.encode(), genesis.encode()] {
                let at = at % valid.len();
                let mut changed = valid.clone();
                changed[at] = byte;
                read_all(&changed);
                read_all(&valid[..at]);
                read_all(&[&valid[..], &[byte]].concat());
            }
        }
    }

    #[test]
    fn a_payment_is_never_stored_as_absent() {
        let absent = [0; 300];
        assert_eq!(Payment::decode(&absent), Err(LayoutError::Value { field: "state" }));
    }

    #[test]
    fn what_is_left_of_a_hold_is_the_maximum_less_what_was_captured() {
        let mut held = Payment {
            terms: terms([0; 32]),
            state: PaymentState::Held,
            captured: Amount(4),
            refunded: Amount::ZERO,
            fee_bps: 0,
            owner: [0; 16],
            epoch: 1,
            lease_until: 0,
            tenant: String::new(),
            changed_at: 0,
            ended_at: 0,
        };
        assert_eq!(held.held(), Amount(5));
        held.state = PaymentState::Captured;
        assert_eq!(held.held(), Amount::ZERO);
    }
}
