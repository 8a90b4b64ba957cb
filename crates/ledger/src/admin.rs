//! What the ledger's operator, an issuer and an account's owner sign besides payments.

use farthing_protocol::layout::{LayoutError, Reader, Writer};
use farthing_protocol::{Amount, PublicKey};

use crate::identity::{AssetCode, LedgerId};

const VERSION: u8 = 1;

/// A new asset, signed by the ledger's key. Code, scale and issuer never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewAsset {
    /// The asset's code on this ledger.
    pub code: AssetCode,
    /// Decimal places.
    pub scale: u8,
    /// The key that signs deposits.
    pub issuer: PublicKey,
}

impl NewAsset {
    const DOMAIN: &'static str = "farthing/asset";

    /// The bytes that get signed.
    pub fn encode(&self, ledger: &LedgerId) -> Vec<u8> {
        let out = Writer::new(Self::DOMAIN, VERSION).fixed(&ledger.0);
        self.code.write(out).u8(self.scale).fixed(&self.issuer.0).finish()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`LayoutError`] names what is wrong.
    pub fn decode(bytes: &[u8], ledger: &LedgerId) -> Result<Self, LayoutError> {
        let mut from = open(bytes, Self::DOMAIN, ledger)?;
        let asset =
            Self { code: AssetCode::read(&mut from)?, scale: from.u8()?, issuer: PublicKey(from.fixed()?) };
        from.finish()?;
        Ok(asset)
    }
}

/// Money that enters the ledger, signed by the asset's issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// The asset.
    pub asset: AssetCode,
    /// The account that is credited.
    pub account: PublicKey,
    /// Atomic units.
    pub amount: Amount,
    /// The issuer's own name for this deposit: one reference is credited once.
    pub reference: [u8; 32],
}

impl Deposit {
    const DOMAIN: &'static str = "farthing/deposit";

    /// The bytes that get signed.
    pub fn encode(&self, ledger: &LedgerId) -> Vec<u8> {
        let out = Writer::new(Self::DOMAIN, VERSION).fixed(&ledger.0);
        let out = self.asset.write(out).fixed(&self.account.0);
        out.u128(self.amount.0).fixed(&self.reference).finish()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`LayoutError`] names what is wrong.
    pub fn decode(bytes: &[u8], ledger: &LedgerId) -> Result<Self, LayoutError> {
        let mut from = open(bytes, Self::DOMAIN, ledger)?;
        let deposit = Self {
            asset: AssetCode::read(&mut from)?,
            account: PublicKey(from.fixed()?),
            amount: Amount(from.u128()?),
            reference: from.fixed()?,
        };
        from.finish()?;
        Ok(deposit)
    }
}

/// What a key of an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Sign payments.
    Pay,
    /// Sign payments, add and remove keys.
    Full,
}

impl Scope {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Pay => 1,
            Self::Full => 2,
        }
    }

    pub(crate) fn of_code(code: u8) -> Result<Self, LayoutError> {
        match code {
            1 => Ok(Self::Pay),
            2 => Ok(Self::Full),
            _ => Err(LayoutError::Value { field: "scope" }),
        }
    }
}

/// A change of an account's keys, signed by one of its keys with [`Scope::Full`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// The account, named by its opening key.
    pub account: PublicKey,
    /// The key that is added, replaced or removed.
    pub key: PublicKey,
    /// What it may do from now on; `None` removes it.
    pub scope: Option<Scope>,
    /// Unix seconds after which the key no longer signs; 0 for never.
    pub expiry: u64,
    /// One more than the account's last key change, so that none is applied twice.
    pub sequence: u64,
}

impl KeyChange {
    const DOMAIN: &'static str = "farthing/account-key";

    /// The bytes that get signed.
    pub fn encode(&self, ledger: &LedgerId) -> Vec<u8> {
        let out = Writer::new(Self::DOMAIN, VERSION).fixed(&ledger.0).fixed(&self.account.0);
        let out = out.u8(crate::terms::ED25519).fixed(&self.key.0);
        out.u8(self.scope.map_or(0, Scope::code)).u64(self.expiry).u64(self.sequence).finish()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`LayoutError`] names what is wrong.
    pub fn decode(bytes: &[u8], ledger: &LedgerId) -> Result<Self, LayoutError> {
        let mut from = open(bytes, Self::DOMAIN, ledger)?;
        let account = PublicKey(from.fixed()?);
        if from.u8()? != crate::terms::ED25519 {
            return Err(LayoutError::Value { field: "algorithm" });
        }
        let key = PublicKey(from.fixed()?);
        let scope = match from.u8()? {
            0 => None,
            code => Some(Scope::of_code(code)?),
        };
        let change = Self { account, key, scope, expiry: from.u64()?, sequence: from.u64()? };
        from.finish()?;
        Ok(change)
    }
}

fn open<'a>(bytes: &'a [u8], domain: &str, ledger: &LedgerId) -> Result<Reader<'a>, LayoutError> {
    let mut from = Reader::open(bytes, domain, VERSION)?;
    if from.fixed::<16>()? != ledger.0 {
        return Err(LayoutError::Value { field: "ledger" });
    }
    Ok(from)
}
