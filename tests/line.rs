//! The lines that the recorded program writes: what it asked of its ledger, and what it was told.
//!
//! Every line is one `write(2)`. A request's `ask` line precedes it, its `ack` line follows the ledger's reply.

use std::fmt;
use std::str::FromStr;

use farthing_ledger::{AssetCode, Options};
use farthing_protocol::{PublicKey, SecretKey};

/// What time it is for the recorded ledger and for all that are rebuilt from it, in Unix seconds.
pub const NOW: u64 = 1_800_000_000;
/// Accounts that pay.
pub const PAYERS: u8 = 4;

const ISSUER: u8 = 200;
const SELLER: u8 = 201;
const AUTHORIZER: u8 = 202;

fn secret(role: u8) -> SecretKey {
    SecretKey::from_seed([role; 32])
}

/// The key of a payer, counted from 0.
pub fn payer(number: u8) -> SecretKey {
    secret(number)
}

/// The key of the asset's issuer.
pub fn issuer() -> SecretKey {
    secret(ISSUER)
}

/// The account that is paid.
pub fn seller() -> PublicKey {
    secret(SELLER).public()
}

/// The key that captures, voids and refunds.
pub fn authorizer() -> SecretKey {
    secret(AUTHORIZER)
}

/// The one asset.
pub fn asset() -> AssetCode {
    "XTS".parse().expect("an asset's code")
}

/// How the ledger is opened, by the recorded program and afterwards.
pub fn options() -> Options {
    Options { clock: std::sync::Arc::new(|| NOW), ..Options::open_to_all() }
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The ledger is open; the id is the ledger's, and fills the first half.
    Open,
    /// Money for a payer, whose number is the first byte of the id: the reference.
    Deposit,
    /// A hold.
    Authorize,
    /// The last capture of a hold.
    Capture,
    /// A hold given back.
    Void,
    /// Captured money given back, cumulative.
    Refund,
    /// Authorized and captured in one step.
    Charge,
}

const KINDS: [(Kind, &str); 7] = [
    (Kind::Open, "open"),
    (Kind::Deposit, "deposit"),
    (Kind::Authorize, "authorize"),
    (Kind::Capture, "capture"),
    (Kind::Void, "void"),
    (Kind::Refund, "refund"),
    (Kind::Charge, "charge"),
];

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whether the ledger has replied.
    pub acknowledged: bool,
    /// What is done.
    pub kind: Kind,
    /// The payment's id, or the deposit's reference.
    pub id: [u8; 32],
    /// The payer's number.
    pub payer: u8,
    /// Atomic units.
    pub amount: u128,
}

impl Line {
    /// What is asked for.
    pub fn ask(kind: Kind, id: [u8; 32], payer: u8, amount: u128) -> Self {
        Self { acknowledged: false, kind, id, payer, amount }
    }

    /// The line that says it was granted.
    pub fn granted(self) -> Self {
        Self { acknowledged: true, ..self }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or("", |(_, name)| name);
        let word = if self.acknowledged { "ack" } else { "ask" };
        write!(f, "{word} {name} {} {} {}", hex::encode(self.id), self.payer, self.amount)
    }
}

impl FromStr for Line {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("not a line of the recorded program: {text}");
        let words: Vec<&str> = text.split(' ').collect();
        let [word, name, id, payer, amount] = words[..] else { return Err(wrong()) };
        let kind = KINDS.iter().find(|(_, known)| *known == name).ok_or_else(wrong)?.0;
        let mut bytes = [0; 32];
        hex::decode_to_slice(id, &mut bytes).map_err(|_| wrong())?;
        let (payer, amount) = (payer.parse().map_err(|_| wrong())?, amount.parse().map_err(|_| wrong())?);
        Ok(Self { acknowledged: word == "ack", kind, id: bytes, payer, amount })
    }
}

#[cfg(test)]
mod tests {
    use super::{KINDS, Line};

    #[test]
    fn a_line_is_read_as_it_was_written() {
        for (kind, _) in KINDS {
            let line = Line::ask(kind, [7; 32], 3, u128::MAX);
            assert_eq!(line.to_string().parse(), Ok(line));
            assert_eq!(line.granted().to_string().parse(), Ok(line.granted()));
        }
        assert!("ask open 07 3 1".parse::<Line>().is_err());
    }
}
