//! Names on a ledger: the ledger itself, its assets, and the books that postings touch.

use std::fmt;
use std::str::FromStr;

use farthing_protocol::layout::{LayoutError, Reader, Writer};
use farthing_protocol::{Network, PublicKey, signature};
use sha2::{Digest, Sha256};

/// The namespace of farthing networks in CAIP-2 ids.
pub const NAMESPACE: &str = "farthing";

/// A ledger's id: the first 16 bytes of SHA-256 of its genesis public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LedgerId(pub [u8; 16]);

impl LedgerId {
    /// The id of the ledger that was opened with `key`.
    pub fn of(key: &PublicKey) -> Self {
        let hash: [u8; 32] = Sha256::digest(key.0).into();
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        Self(id)
    }

    /// The network of this ledger: `farthing:` and 32 lower-case hex digits.
    pub fn network(&self) -> Network {
        let text = format!("{NAMESPACE}:{self}");
        match text.parse() {
            Ok(network) => network,
            Err(_) => unreachable!("hex digits are a CAIP-2 reference"),
        }
    }

    /// The ledger of a `farthing:*` network.
    pub fn of_network(network: &Network) -> Option<Self> {
        if network.namespace() != NAMESPACE {
            return None;
        }
        signature::lower_hex::<16>(network.reference()).map(Self)
    }
}

impl fmt::Display for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LedgerId({self})")
    }
}

/// An asset's code: 1 to 12 of `A-Z 0-9 . _ -`, beginning with a letter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AssetCode {
    length: u8,
    bytes: [u8; 12],
}

/// A text that is not an asset code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an asset code is 1 to 12 of A-Z 0-9 . _ - and begins with a letter")]
pub struct AssetCodeError;

impl AssetCode {
    /// The code as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }

    pub(crate) fn write(&self, out: Writer) -> Writer {
        out.var(self.as_str().as_bytes())
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        let bytes = from.var(12)?;
        let text = std::str::from_utf8(bytes).map_err(|_| LayoutError::Value { field: "asset" })?;
        text.parse().map_err(|_| LayoutError::Value { field: "asset" })
    }
}

impl FromStr for AssetCode {
    type Err = AssetCodeError;
    fn from_str(text: &str) -> Result<Self, AssetCodeError> {
        let ok = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        let starts = text.as_bytes().first().is_some_and(u8::is_ascii_uppercase);
        if !starts || text.len() > 12 || !text.bytes().all(ok) {
            return Err(AssetCodeError);
        }
        let mut bytes = [0; 12];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { length: text.len() as u8, bytes })
    }
}

impl fmt::Display for AssetCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AssetCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a posting lands. For each asset the sum over all books is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Book {
    /// What an account may spend.
    Account(PublicKey),
    /// What is held for payments that are neither captured nor given back.
    Held,
    /// What was issued, as a negative number.
    Issued,
}

impl Book {
    pub(crate) fn write(&self, out: Writer) -> Writer {
        match self {
            Self::Account(account) => out.u8(1).fixed(&account.0),
            Self::Held => out.u8(2).fixed(&[0; 32]),
            Self::Issued => out.u8(3).fixed(&[0; 32]),
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        let kind = from.u8()?;
        let key = from.fixed::<32>()?;
        match (kind, key == [0; 32]) {
            (1, _) => Ok(Self::Account(PublicKey(key))),
            (2, true) => Ok(Self::Held),
            (3, true) => Ok(Self::Issued),
            _ => Err(LayoutError::Value { field: "book" }),
        }
    }
}
