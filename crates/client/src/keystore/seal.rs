//! Encryption: a key from the passphrase by Argon2id, the secrets under XChaCha20-Poly1305, and the header with them.

use std::path::Path;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use farthing_protocol::layout::Writer;
use farthing_protocol::signature::lower_hex;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::layout::Wallet;
use super::{KeystoreError, Passphrase, Secret};

const KDF: &str = "argon2id";

/// What it costs to try a passphrase; in the file, because it grows over the years.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Costs {
    algorithm: String,
    pub(super) memory_kib: u32,
    pub(super) passes: u32,
    pub(super) lanes: u32,
    /// 16 bytes in hex.
    salt: String,
}

impl Costs {
    /// What is chosen for new files: 64 MiB, three passes.
    const MEMORY_KIB: u32 = 64 << 10;
    const PASSES: u32 = 3;

    /// Today's costs, with a new salt.
    pub(super) fn draw() -> Result<Self, KeystoreError> {
        let salt = hex::encode(random::<16>()?);
        let (memory_kib, passes) = (Self::MEMORY_KIB, Self::PASSES);
        Ok(Self { algorithm: KDF.into(), memory_kib, passes, lanes: 1, salt })
    }

    /// A file that somebody else wrote cannot have us take all memory, or hours, or next to nothing.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.algorithm != KDF || lower_hex::<16>(&self.salt).is_none() {
            return Err("its key derivation is not Argon2id with a salt of 16 bytes");
        }
        let bounds = [(self.memory_kib, 19 << 10, 256 << 10), (self.passes, 2, 8), (self.lanes, 1, 4)];
        match bounds.iter().all(|(value, least, most)| (least..=most).contains(&value)) {
            true => Ok(()),
            false => Err("its key derivation costs less or more than is allowed"),
        }
    }

    pub(super) fn write(&self, out: Writer) -> Writer {
        let out = out.var(self.algorithm.as_bytes()).u32(self.memory_kib).u32(self.passes).u32(self.lanes);
        out.var(self.salt.as_bytes())
    }

    fn derive(&self, passphrase: &Passphrase) -> Result<Zeroizing<[u8; 32]>, Fault> {
        self.check().map_err(Fault::Damaged)?;
        let salt = lower_hex::<16>(&self.salt).ok_or(Fault::Damaged("its salt is not one"))?;
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32));
        let params = params.map_err(|_| Fault::Damaged("its key derivation cannot be carried out"))?;
        let no_memory = || Fault::Other(KeystoreError::Resources("no memory to derive a key in"));
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(params.block_count()).map_err(|_| no_memory())?;
        blocks.resize(params.block_count(), Block::default());
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut key = Zeroizing::new([0; 32]);
        let done =
            argon.hash_password_into_with_memory(passphrase.bytes(), &salt, &mut *key, &mut blocks[..]);
        blocks.iter_mut().for_each(Zeroize::zeroize);
        done.map(|()| key).map_err(|_| no_memory())
    }
}

/// Why a wallet does not open.
pub(super) enum Fault {
    Damaged(&'static str),
    Sealed,
    Other(KeystoreError),
}

impl Fault {
    pub(super) fn of(self, path: &Path) -> KeystoreError {
        match self {
            Self::Damaged(why) => KeystoreError::Damaged { path: path.to_path_buf(), why },
            Self::Sealed => KeystoreError::Sealed(path.to_path_buf()),
            Self::Other(error) => error,
        }
    }
}

/// A wallet's secrets in the order of its accounts, and the key to seal them again.
pub(super) struct Opened {
    pub(super) secrets: Vec<Secret>,
    cipher: XChaCha20Poly1305,
}

impl Opened {
    /// No secrets.
    pub(super) fn new(costs: &Costs, passphrase: &Passphrase) -> Result<Self, Fault> {
        let key = costs.derive(passphrase)?;
        Ok(Self { secrets: Vec::new(), cipher: XChaCha20Poly1305::new((&*key).into()) })
    }

    /// What is in `wallet`, with everything that the file says proven.
    pub(super) fn open(wallet: &Wallet, passphrase: &Passphrase) -> Result<Self, Fault> {
        let nonce = lower_hex::<24>(&wallet.nonce).ok_or(Fault::Damaged("its nonce is not one"))?;
        let sealed = hex::decode(&wallet.sealed).map_err(|_| Fault::Damaged("its secrets are not hex"))?;
        if sealed.len() != 32 * wallet.accounts.len() + TAG {
            return Err(Fault::Damaged("it has not one secret for each account"));
        }
        let mut opened = Self::new(&wallet.kdf, passphrase)?;
        let payload = Payload { msg: &sealed, aad: &wallet.header() };
        let plain = opened.cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| Fault::Sealed)?;
        let plain = Zeroizing::new(plain);
        for (account, chunk) in wallet.accounts.iter().zip(plain.chunks_exact(32)) {
            let mut bytes = Zeroizing::new([0; 32]);
            bytes.copy_from_slice(chunk);
            opened.secrets.push(Secret::of(account.kind, bytes));
        }
        Ok(opened)
    }

    /// Encrypts the secrets into `wallet`, whose accounts are theirs.
    pub(super) fn seal(&self, wallet: &mut Wallet) -> Result<(), KeystoreError> {
        let nonce = random::<24>()?;
        let mut plain = Zeroizing::new(Vec::with_capacity(32 * self.secrets.len()));
        self.secrets.iter().for_each(|secret| plain.extend_from_slice(secret.bytes()));
        let payload = Payload { msg: &plain, aad: &wallet.header() };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| KeystoreError::Resources("the secrets cannot be encrypted"))?;
        (wallet.nonce, wallet.sealed) = (hex::encode(nonce), hex::encode(sealed));
        Ok(())
    }
}

/// Bytes of the tag.
const TAG: usize = 16;

fn random<const N: usize>() -> Result<[u8; N], KeystoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| KeystoreError::Resources("no randomness for a salt"))?;
    Ok(bytes)
}
