//! Signatures of keys and of smart wallets.
//!
//! A key's signature has one form here: 65 bytes, `v` 27 or 28, `s` in the lower half of the curve's order. The
//! tokens take no other, and a second form of one authorization would be worth nothing.

use alloy_primitives::{Address, B256, Bytes, Signature, U256};
use alloy_sol_types::SolValue;

/// What a signature of a wallet that is not deployed ends with (ERC-6492).
const ERC6492_SUFFIX: [u8; 32] = {
    let mut suffix = [0x92; 32];
    let mut at = 0;
    while at < 32 {
        suffix[at] = 0x64;
        at += 2;
    }
    suffix
};

/// A key's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeySignature {
    pub(crate) r: B256,
    pub(crate) s: B256,
    /// 27 or 28.
    pub(crate) v: u8,
}

impl KeySignature {
    /// Reads a key's signature; `None` when it is not one in its one form.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 65] = bytes.try_into().ok()?;
        let (r, s, v) = (B256::from_slice(&bytes[..32]), B256::from_slice(&bytes[32..64]), bytes[64]);
        let read = Self { r, s, v };
        let low = read.signature().normalize_s().is_none();
        (low && matches!(v, 27 | 28) && !r.is_zero() && !s.is_zero()).then_some(read)
    }

    /// Whose key signed `hash`.
    pub(crate) fn signer(&self, hash: &B256) -> Option<Address> {
        self.signature().recover_address_from_prehash(hash).ok()
    }

    fn signature(&self) -> Signature {
        Signature::new(U256::from_be_bytes(self.r.0), U256::from_be_bytes(self.s.0), self.v == 28)
    }
}

/// A signature of a smart wallet that may not be deployed, with what deploys it (ERC-6492).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrapped {
    /// The contract that deploys the wallet.
    pub(crate) factory: Address,
    /// What it is called with.
    pub(crate) calldata: Bytes,
    /// The wallet's own signature.
    pub(crate) signature: Bytes,
}

impl Wrapped {
    /// Whether a signature says that it is wrapped.
    pub(crate) fn is(bytes: &[u8]) -> bool {
        bytes.len() >= 32 && bytes[bytes.len() - 32..] == ERC6492_SUFFIX
    }

    /// Reads a wrapped signature; `None` when it is not one.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let wrapped = Self::is(bytes).then(|| &bytes[..bytes.len() - 32])?;
        let (factory, calldata, signature) =
            <(Address, Bytes, Bytes)>::abi_decode_params_validate(wrapped).ok()?;
        Some(Self { factory, calldata, signature })
    }
}
