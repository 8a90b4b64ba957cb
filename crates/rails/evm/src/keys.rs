//! secp256k1 keys: of payers, and of facilitators that send transactions.

use std::fmt;
use std::path::Path;

use alloy_primitives::{Address, B256, Signature};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use zeroize::Zeroizing;

use crate::ConfigError;

/// The longest key file that is read, in bytes.
const MAX_FILE: u64 = 256;

/// A secret key. Prints its address only, and is overwritten when dropped.
#[derive(Clone)]
pub struct EvmKey(PrivateKeySigner);

impl EvmKey {
    /// Reads `0x` and 64 hex digits.
    ///
    /// # Errors
    /// [`ConfigError::Field`], which does not quote what was given.
    pub fn from_hex(text: &str) -> Result<Self, ConfigError> {
        let fault = || ConfigError::new("key", "must be 0x and the 64 hex digits of a secp256k1 secret key");
        let mut bytes = Zeroizing::new([0; 32]);
        let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 64).ok_or_else(fault)?;
        hex::decode_to_slice(digits, &mut *bytes).map_err(|_| fault())?;
        PrivateKeySigner::from_slice(&*bytes).map(Self).map_err(|_| fault())
    }

    /// Reads a key from an environment variable.
    ///
    /// # Errors
    /// [`ConfigError::Field`] when it is not set, or as [`from_hex`](Self::from_hex).
    pub fn from_env(variable: &str) -> Result<Self, ConfigError> {
        let text = std::env::var(variable).map(Zeroizing::new);
        let text =
            text.map_err(|_| ConfigError::new("key", format!("is not in the environment as {variable}")))?;
        Self::from_hex(text.trim())
    }

    /// Reads a key from a file that only its owner can read (mode 0600): one line, as
    /// [`from_hex`](Self::from_hex) has it.
    ///
    /// # Errors
    /// [`ConfigError::Field`] when it cannot be read, others may read it, or it holds no key.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = Zeroizing::new(
            read_private(path)
                .map_err(|why| ConfigError::new("key file", format!("{} {why}", path.display())))?,
        );
        Self::from_hex(text.trim())
    }

    /// Its address, with a checksum (ERC-55).
    pub fn address(&self) -> String {
        self.account().to_checksum(None)
    }

    /// Its address.
    pub(crate) fn account(&self) -> Address {
        self.0.address()
    }

    /// Signs a hash: deterministic, `s` in the lower half.
    pub(crate) fn sign(&self, hash: &B256) -> Result<Signature, SignError> {
        self.0.sign_hash_sync(hash).map_err(|_| SignError)
    }
}

/// The key could not sign. It is not known to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key could not sign")]
pub(crate) struct SignError;

impl fmt::Debug for EvmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EvmKey({})", self.address())
    }
}

/// Reads a small text that only its owner can read. The permissions are those of the file that is read.
fn read_private(path: &Path) -> Result<String, String> {
    use std::io::Read;
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err("is not a key file".into());
    }
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0 {
        return Err("can be read by others than its owner: set its mode to 0600".into());
    }
    let mut text = String::with_capacity(MAX_FILE as usize);
    file.take(MAX_FILE).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first key that development chains open with: no secret.
    const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    const ADDRESS: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

    #[test]
    fn a_key_has_its_address_and_shows_nothing_else() {
        let key = EvmKey::from_hex(KEY).unwrap();
        assert_eq!(key.address(), ADDRESS);
        assert_eq!(format!("{key:?}"), format!("EvmKey({ADDRESS})"));
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_quoted() {
        let order = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        let zero = format!("0x{}", "0".repeat(64));
        for wrong in ["", &KEY[2..], &KEY[..65], &format!("{KEY}0"), &KEY.replace('a', "g"), order, &zero] {
            let error = EvmKey::from_hex(wrong).unwrap_err().to_string();
            assert!(
                error.starts_with("`key` must be") && (wrong.is_empty() || !error.contains(wrong)),
                "{error}"
            );
        }
    }

    #[test]
    fn a_signature_is_the_keys_own_and_the_same_each_time() {
        let (key, hash) = (EvmKey::from_hex(KEY).unwrap(), B256::repeat_byte(7));
        let signature = key.sign(&hash).unwrap();
        assert_eq!(signature, key.sign(&hash).unwrap());
        assert_eq!(signature.recover_address_from_prehash(&hash).unwrap(), key.account());
        assert!(signature.normalize_s().is_none());
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_is_read_only_when_nobody_else_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, format!("{KEY}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(EvmKey::from_file(&path).unwrap().address(), ADDRESS);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let error = EvmKey::from_file(&path).unwrap_err().to_string();
        assert!(error.contains("0600") && !error.contains(KEY), "{error}");
        assert!(EvmKey::from_file(directory.path()).is_err());
        assert!(EvmKey::from_file(directory.path().join("none")).is_err());
    }

    #[test]
    fn a_key_that_is_not_in_the_environment_is_missed_by_name() {
        let error = EvmKey::from_env("FARTHING_NO_SUCH_KEY").unwrap_err().to_string();
        assert!(error.contains("FARTHING_NO_SUCH_KEY"), "{error}");
    }
}
