//! Names, kinds, secrets and passphrases.

use std::fmt;
use std::str::FromStr;

use farthing_protocol::SecretKey;
use farthing_protocol::signature::lower_hex;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::KeystoreError;

/// What an account's key signs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Farthing ledgers: ed25519.
    Farthing,
    /// EVM chains: secp256k1.
    Evm,
}

impl Kind {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Farthing => 1,
            Self::Evm => 2,
        }
    }

    /// Whether `public` is written as public parts of this kind are.
    pub(super) fn fits(self, public: &str) -> bool {
        match self {
            Self::Farthing => lower_hex::<32>(public).is_some(),
            Self::Evm => public.strip_prefix("0x").is_some_and(|digits| {
                digits.len() == 40 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
            }),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Farthing => "farthing",
            Self::Evm => "evm",
        })
    }
}

/// An account's name in a keystore: 1 to 32 of `a-z 0-9 -`, beginning with a letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The environment variable that names a secret key for this account: `FARTHING_KEY_` and the name in upper case,
    /// with `_` for `-`.
    pub fn variable(&self) -> String {
        format!("FARTHING_KEY_{}", self.0.to_uppercase().replace('-', "_"))
    }
}

impl FromStr for Name {
    type Err = KeystoreError;
    fn from_str(text: &str) -> Result<Self, KeystoreError> {
        let ok = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let begins = text.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
        if !begins || text.len() > 32 || !text.bytes().all(ok) {
            return Err(KeystoreError::Name);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Name {
    type Error = KeystoreError;
    fn try_from(text: String) -> Result<Self, KeystoreError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What everybody may know of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Its name in the keystore.
    pub name: Name,
    /// What its key signs on.
    pub kind: Kind,
    /// A public key in hex on farthing ledgers, an address with a checksum (ERC-55) on EVM chains.
    pub public: String,
}

/// A secret key. Prints nothing of itself, and is overwritten when dropped.
pub struct Secret {
    kind: Kind,
    bytes: Zeroizing<[u8; 32]>,
}

impl Secret {
    /// A new key.
    ///
    /// # Errors
    /// When there is no randomness, or no EVM chain in this program.
    pub fn draw(kind: Kind) -> Result<Self, KeystoreError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes).map_err(|_| KeystoreError::Resources("no randomness for a new key"))?;
        let secret = Self::of(kind, bytes);
        // Nearly every number is a key on either curve; this one is.
        secret.public().map(|_| secret)
    }

    /// Reads a secret key as text: 64 lower-case hex digits for farthing ledgers, `0x` and 64 for EVM chains.
    /// `place` is where it stands, for the error, which does not repeat the text.
    ///
    /// # Errors
    /// [`KeystoreError::Secret`].
    pub fn of_text(text: &str, place: &str) -> Result<Self, KeystoreError> {
        let (kind, digits) = match text.strip_prefix("0x") {
            Some(digits) => (Kind::Evm, digits),
            None => (Kind::Farthing, text),
        };
        let fault = || KeystoreError::Secret(place.to_owned());
        let bytes = match kind {
            Kind::Farthing => lower_hex::<32>(digits).map(Zeroizing::new).ok_or_else(fault)?,
            Kind::Evm => {
                let mut bytes = Zeroizing::new([0; 32]);
                hex::decode_to_slice(digits, &mut *bytes).map_err(|_| fault())?;
                bytes
            }
        };
        let secret = Self::of(kind, bytes);
        match secret.public() {
            Ok(_) => Ok(secret),
            Err(KeystoreError::NoEvm) => Err(KeystoreError::NoEvm),
            Err(_) => Err(fault()),
        }
    }

    pub(super) fn of(kind: Kind, bytes: Zeroizing<[u8; 32]>) -> Self {
        Self { kind, bytes }
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// What it signs on.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its public part, as [`Account::public`] has it.
    ///
    /// # Errors
    /// When it is a key for EVM chains and this program was built without them.
    pub fn public(&self) -> Result<String, KeystoreError> {
        match self.kind {
            Kind::Farthing => Ok(SecretKey::from_seed(*self.bytes).public().to_string()),
            #[cfg(feature = "evm")]
            Kind::Evm => self.evm().map(|key| key.address()).ok_or(KeystoreError::Secret("it".into())),
            #[cfg(not(feature = "evm"))]
            Kind::Evm => Err(KeystoreError::NoEvm),
        }
    }

    /// The key that pays on farthing ledgers, if it is one.
    pub fn farthing(&self) -> Option<SecretKey> {
        (self.kind == Kind::Farthing).then(|| SecretKey::from_seed(*self.bytes))
    }

    /// The key that pays on EVM chains, if it is one.
    #[cfg(feature = "evm")]
    pub fn evm(&self) -> Option<farthing_rail_evm::EvmKey> {
        let text = (self.kind == Kind::Evm).then(|| self.reveal())?;
        farthing_rail_evm::EvmKey::from_hex(&text).ok()
    }

    /// The secret as text, which [`of_text`](Self::of_text) reads. Whoever has it has the account's money.
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut digits = Zeroizing::new([0; 64]);
        // 32 bytes are 64 digits.
        let _ = hex::encode_to_slice(*self.bytes, &mut *digits);
        let mut text = Zeroizing::new(String::with_capacity(66));
        if self.kind == Kind::Evm {
            text.push_str("0x");
        }
        text.extend(digits.iter().map(|digit| char::from(*digit)));
        text
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}, ..)", self.kind)
    }
}

/// The secret key that the environment has for an account, for tests: see [`Name::variable`].
///
/// # Errors
/// When the variable is set to something else.
pub fn of_environment(name: &Name) -> Result<Option<Secret>, KeystoreError> {
    let variable = name.variable();
    let Some(text) = std::env::var_os(&variable) else { return Ok(None) };
    let text = text.into_string().map(Zeroizing::new);
    let text = text.map_err(|_| KeystoreError::Secret(format!("{variable} in the environment")))?;
    Secret::of_text(text.trim(), &format!("{variable} in the environment")).map(Some)
}

/// What opens a keystore. Prints nothing of itself, and is overwritten when dropped.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Bytes of the shortest.
    pub const SHORTEST: usize = 8;
    /// Bytes of the longest.
    pub const LONGEST: usize = 1024;

    /// Takes a passphrase as it is, blanks included.
    ///
    /// # Errors
    /// When it is too short or too long.
    pub fn new(text: impl Into<Zeroizing<String>>) -> Result<Self, KeystoreError> {
        let text = text.into();
        match text.len() {
            Self::SHORTEST..=Self::LONGEST => Ok(Self(text)),
            _ => Err(KeystoreError::Passphrase),
        }
    }

    /// Whether both are the same.
    pub fn is(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}
