//! What is in the file: JSON of exactly one form, so that a byte that was changed anywhere is noticed.

use farthing_protocol::layout::Writer;
use serde::{Deserialize, Serialize};

use super::seal::Costs;
use super::{Account, MAX_ACCOUNTS};

const FORMAT: &str = "farthing wallet";
const VERSION: u8 = 1;

/// A wallet as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wallet {
    format: String,
    version: u8,
    pub(super) kdf: Costs,
    pub(super) accounts: Vec<Account>,
    cipher: String,
    /// 24 bytes in hex, new with every writing.
    pub(super) nonce: String,
    /// The secrets in the order of the accounts, 32 bytes each, encrypted, and the tag; in hex.
    pub(super) sealed: String,
}

impl Wallet {
    /// One without accounts that was not sealed yet.
    pub(super) fn empty(kdf: Costs) -> Self {
        let (format, cipher) = (FORMAT.to_owned(), CIPHER.to_owned());
        let (nonce, sealed) = (String::new(), String::new());
        Self { format, version: VERSION, kdf, accounts: Vec::new(), cipher, nonce, sealed }
    }

    /// Reads what [`to_text`](Self::to_text) wrote, and nothing else.
    pub(super) fn of_text(text: &str) -> Result<Self, &'static str> {
        let wallet: Self = serde_json::from_str(text).map_err(|_| "it is not a wallet")?;
        if wallet.format != FORMAT || wallet.cipher != CIPHER {
            return Err("it is not a wallet");
        }
        if wallet.version != VERSION {
            return Err("its version is not one that this program reads");
        }
        wallet.kdf.check()?;
        if wallet.accounts.len() > MAX_ACCOUNTS {
            return Err("it has too many accounts");
        }
        if !wallet.accounts.is_sorted_by(|one, next| one.name < next.name) {
            return Err("its accounts are not in order");
        }
        if !wallet.accounts.iter().all(|account| account.kind.fits(&account.public)) {
            return Err("an account's public part is not one");
        }
        if wallet.to_text() != text {
            return Err("it is not written as wallets are");
        }
        Ok(wallet)
    }

    pub(super) fn to_text(&self) -> String {
        // Text and numbers: this cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Everything but the secrets, which the tag vouches for, too.
    pub(super) fn header(&self) -> Vec<u8> {
        let out = self.kdf.write(Writer::new("farthing/wallet", VERSION)).var(CIPHER.as_bytes());
        let out = out.u32(self.accounts.len() as u32);
        let write = |out: Writer, account: &Account| {
            let out = out.var(account.name.as_str().as_bytes()).u8(account.kind.code());
            out.var(account.public.as_bytes())
        };
        self.accounts.iter().fold(out, write).finish()
    }
}

const CIPHER: &str = "xchacha20-poly1305";
