//! x402's extension `sign-in-with-x`: a payer proves that it holds the key of its account, and pays nothing.
//!
//! A server puts a [`Challenge`] into the terms of a 402. The payer signs the [text](Info::text) that it means, which
//! people can read, and sends a [`Proof`] in the header `SIGN-IN-WITH-X`. The text begins with the server's domain
//! and never with a layout's length byte, so no signature under it is one under a payment, nor the other way round.
//!
//! Whether the signature is the account's is the [rail](crate::rail::Offer::signed_in)'s to say; nonces are the
//! server's.

mod time;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::{Limits, Network, Origin, WireError, header, json};

/// The extension's name, in the terms of a 402.
pub const EXTENSION: &str = "sign-in-with-x";
/// The header that carries a [`Proof`].
pub const HEADER: &str = "sign-in-with-x";
/// The header that carries the token a server gives after a proof or a payment, both ways.
pub const TOKEN: &str = "pass-token";
/// The cookie with the same token, for browsers.
pub const COOKIE: &str = "farthing-pass";

/// What is signed, for people. A payer of this code signs no other statement, a server takes no other.
pub const STATEMENT: &str =
    "Prove that this account is yours, to use what it has paid for. This pays nothing.";
/// Seconds for which a proof is good.
pub const MAX_AGE: u64 = 300;
/// Seconds by which clocks may be apart.
pub const SKEW: u64 = 5;

/// Bytes of one proof's header, before base64 is decoded.
const PROOF_BYTES: usize = 4 * 1024;
/// Bytes of one line of the text.
const LINE_BYTES: usize = 2048;
/// Resources that are named.
const RESOURCES: usize = 8;

/// How an account signs in (`type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignInKind {
    /// The text as a personal message of an Ethereum account (EIP-191, EIP-4361).
    Eip191,
    /// The text's bytes, by an ed25519 key.
    Ed25519,
}

/// What a server wants signed (`info`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// The server's host, with the port where it is not the scheme's default.
    pub domain: String,
    /// The resource's URL.
    pub uri: String,
    /// Always `1`.
    pub version: String,
    /// Of the server's making; good once.
    pub nonce: String,
    /// RFC 3339.
    pub issued_at: String,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// Of the server's making.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// URLs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Vec<String>>,
}

/// A network whose accounts can sign in (`supportedChains`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chain {
    /// The network.
    pub chain_id: Network,
    /// How its accounts sign; a kind that this code does not know is none of ours.
    #[serde(rename = "type")]
    pub kind: String,
}

/// The extension in the terms of a 402.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Challenge {
    /// What is to be signed.
    pub info: Info,
    /// By accounts of which networks, the preferred one first.
    pub supported_chains: Vec<Chain>,
}

/// A signed [`Info`], as the header carries it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// What was signed.
    #[serde(flatten)]
    pub info: Info,
    /// Who signed, in the network's own words.
    pub address: String,
    /// The network.
    pub chain_id: Network,
    /// How.
    #[serde(rename = "type")]
    pub kind: SignInKind,
    /// The signature, as the network writes it.
    pub signature: String,
}

// Whoever has a proof that was not used yet can use it.
impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proof").field("chain_id", &self.chain_id).finish_non_exhaustive()
    }
}

/// Why a proof does not hold; for people. Whoever sent it may sign a fresh challenge.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SignInFault {
    /// A member is not what a text can be made of.
    #[error("`{field}` {why}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Signed for another server.
    #[error("it is signed for another server than this one")]
    Domain,
    /// Another statement than the server's.
    #[error("it is signed with another statement than this server asks for")]
    Statement,
    /// Signed too long ago, or its time is over.
    #[error("it is too old: sign the challenge of a fresh answer")]
    TooOld,
    /// Its time has not come.
    #[error("its time has not come")]
    TooEarly,
}

impl Info {
    /// A challenge of the server at `origin`, for the resource with this request target. `None` after the year 9999.
    #[must_use]
    pub fn new(origin: &Origin, target: &str, nonce: String, now: u64) -> Option<Self> {
        let uri = format!("{origin}{target}");
        Some(Self {
            domain: origin.authority().to_owned(),
            resources: Some(vec![uri.clone()]),
            uri,
            version: "1".into(),
            nonce,
            issued_at: time::write(now)?,
            expiration_time: Some(time::write(now.saturating_add(MAX_AGE))?),
            not_before: None,
            request_id: None,
            statement: Some(STATEMENT.into()),
        })
    }

    /// Whether one text, and only one, can be made of it: each member is one line of visible ASCII.
    ///
    /// # Errors
    /// [`SignInFault::Field`].
    pub fn check(&self) -> Result<(), SignInFault> {
        let fault = |field, why| Err(SignInFault::Field { field, why });
        if self.version != "1" {
            return fault("version", "is not 1");
        }
        if !(8..=64).contains(&self.nonce.len()) || !self.nonce.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return fault("nonce", "does not have 8 to 64 letters and digits");
        }
        if time::read(&self.issued_at).is_none() {
            return fault("issuedAt", "is not a time in UTC");
        }
        for (field, time) in [("expirationTime", &self.expiration_time), ("notBefore", &self.not_before)] {
            if time.as_ref().is_some_and(|time| time::read(time).is_none()) {
                return fault(field, "is not a time in UTC");
            }
        }
        let word = |text: &str| is_line(text) && !text.contains(' ');
        if !word(&self.domain) || self.domain.contains(['/', '?', '#', '@']) {
            return fault("domain", "is not a host");
        }
        if !word(&self.uri) {
            return fault("uri", "is not a URL");
        }
        if self.request_id.as_deref().is_some_and(|id| !word(id)) {
            return fault("requestId", "is not one word");
        }
        if self.statement.as_deref().is_some_and(|text| !is_line(text)) {
            return fault("statement", "is not one line of visible ASCII");
        }
        let resources = self.resources.as_deref().unwrap_or_default();
        if resources.len() > RESOURCES || !resources.iter().all(|resource| word(resource)) {
            return fault("resources", "are not a few URLs");
        }
        Ok(())
    }

    /// What an account of `network` signs: EIP-4361's text, with the name of its own family.
    #[must_use]
    pub fn text(&self, network: &Network, address: &str) -> String {
        let (family, is_evm): (Cow<'_, str>, bool) = match network.namespace() {
            "eip155" => ("Ethereum".into(), true),
            "solana" => ("Solana".into(), false),
            other => (other.into(), false),
        };
        let mut lines = vec![
            format!("{} wants you to sign in with your {family} account:", self.domain),
            address.to_owned(),
            String::new(),
        ];
        match &self.statement {
            Some(statement) => lines.extend([statement.clone(), String::new()]),
            None if is_evm => lines.push(String::new()),
            None => {}
        }
        lines.push(format!("URI: {}", self.uri));
        lines.push(format!("Version: {}", self.version));
        lines.push(format!("Chain ID: {}", network.reference()));
        lines.push(format!("Nonce: {}", self.nonce));
        lines.push(format!("Issued At: {}", self.issued_at));
        let optional = [
            ("Expiration Time", &self.expiration_time),
            ("Not Before", &self.not_before),
            ("Request ID", &self.request_id),
        ];
        for (name, value) in optional {
            lines.extend(value.as_ref().map(|value| format!("{name}: {value}")));
        }
        if let Some(resources) = self.resources.as_ref().filter(|resources| !resources.is_empty()) {
            lines.push("Resources:".into());
            lines.extend(resources.iter().map(|resource| format!("- {resource}")));
        }
        lines.join("\n")
    }

    /// Signs it by `sign`, which is given the text; `None` when no text can be made of it, or it is not signed.
    #[must_use]
    pub fn prove(
        &self,
        network: &Network,
        kind: SignInKind,
        address: String,
        sign: impl FnOnce(&str) -> Option<String>,
    ) -> Option<Proof> {
        self.check().ok()?;
        let signature = sign(&self.text(network, &address))?;
        Some(Proof { info: self.clone(), address, chain_id: network.clone(), kind, signature })
    }

    /// Whether it was made by the server at `origin`, and says only what is known here. A payer asks so about a
    /// challenge before it signs, whatever its clock says.
    ///
    /// # Errors
    /// [`SignInFault`].
    pub fn is_of(&self, origin: &Origin) -> Result<(), SignInFault> {
        self.check()?;
        let same = |url: &str| Origin::of_url(url).is_ok_and(|(of, _)| of == *origin);
        let resources = self.resources.as_deref().unwrap_or_default();
        // Some leave the port out; `uri` has it.
        let is_ours = [origin.authority(), origin.host()].contains(&&*self.domain);
        if !is_ours || !same(&self.uri) || !resources.iter().all(|url| same(url)) {
            return Err(SignInFault::Domain);
        }
        if self.statement.as_deref() != Some(STATEMENT) {
            return Err(SignInFault::Statement);
        }
        Ok(())
    }

    /// As [`is_of`](Self::is_of), and good at `now`. A server asks so about a proof.
    ///
    /// # Errors
    /// [`SignInFault`].
    pub fn is_for(&self, origin: &Origin, now: u64) -> Result<(), SignInFault> {
        self.is_of(origin)?;
        let read = |time: &Option<String>| time.as_deref().and_then(time::read);
        let issued = time::read(&self.issued_at).unwrap_or(u64::MAX);
        let begins = issued.max(read(&self.not_before).unwrap_or(0));
        if begins > now.saturating_add(SKEW) {
            return Err(SignInFault::TooEarly);
        }
        let ends = read(&self.expiration_time).unwrap_or(u64::MAX);
        if now >= ends || now > issued.saturating_add(MAX_AGE) {
            return Err(SignInFault::TooOld);
        }
        Ok(())
    }
}

impl Challenge {
    /// Reads the extension of a 402. Its `schema` is not looked at.
    ///
    /// # Errors
    /// Any [`WireError`] of JSON.
    pub fn read(extension: &RawValue, limits: &Limits) -> Result<Self, WireError> {
        json::read(extension.get().as_bytes(), limits)
    }

    /// The extension, as it stands in the terms; `None` when it has no JSON form.
    #[must_use]
    pub fn write(&self) -> Option<Box<RawValue>> {
        let info = serde_json::to_string(&self.info).ok()?;
        let chains = serde_json::to_string(&self.supported_chains).ok()?;
        let text = format!("{{\"info\":{info},\"supportedChains\":{chains},\"schema\":{SCHEMA}}}");
        RawValue::from_string(text).ok()
    }
}

impl Chain {
    /// Accounts of `network`, which sign in like this.
    #[must_use]
    pub fn new(network: &Network, kind: SignInKind) -> Self {
        let kind = match kind {
            SignInKind::Eip191 => "eip191",
            SignInKind::Ed25519 => "ed25519",
        };
        Self { chain_id: network.clone(), kind: kind.into() }
    }
}

impl Proof {
    /// Decodes `SIGN-IN-WITH-X`, strictly. Nothing is checked of what it says.
    ///
    /// # Errors
    /// Any [`WireError`]; [`WireError::Field`] when no text can be made of it.
    pub fn decode(value: &[u8], limits: &Limits) -> Result<Self, WireError> {
        let limits = Limits { header_bytes: limits.header_bytes.min(PROOF_BYTES), ..*limits };
        let proof: Self = json::read(&header::unwrap(HEADER, value, &limits)?, &limits)?;
        let fault = |field, why: &str| WireError::Field { field, why: why.into() };
        match proof.info.check() {
            Err(SignInFault::Field { field, why }) => return Err(fault(field, why)),
            Err(_) => return Err(fault("info", "cannot be signed")),
            Ok(()) => {}
        }
        let word = |text: &str| is_line(text) && !text.contains(' ');
        if !word(&proof.address) {
            return Err(fault("address", "is not an account"));
        }
        if !word(&proof.signature) {
            return Err(fault("signature", "is not a signature"));
        }
        Ok(proof)
    }

    /// The header's value.
    ///
    /// # Errors
    /// [`WireError::Json`].
    pub fn encode(&self) -> Result<String, WireError> {
        header::encode(self)
    }

    /// What must have been signed.
    #[must_use]
    pub fn text(&self) -> String {
        self.info.text(&self.chain_id, &self.address)
    }
}

/// One line that people can read: 1 to 2048 bytes of visible ASCII and spaces.
fn is_line(text: &str) -> bool {
    (1..=LINE_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

/// What a proof looks like, as JSON Schema: x402 has it in the terms.
const SCHEMA: &str = concat!(
    "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"type\":\"object\",\"properties\":{",
    "\"domain\":{\"type\":\"string\"},\"address\":{\"type\":\"string\"},\"uri\":{\"type\":\"string\"},",
    "\"version\":{\"type\":\"string\"},\"chainId\":{\"type\":\"string\"},\"type\":{\"type\":\"string\"},",
    "\"nonce\":{\"type\":\"string\"},\"issuedAt\":{\"type\":\"string\"},\"signature\":{\"type\":\"string\"}},",
    "\"required\":[\"domain\",\"address\",\"uri\",\"version\",\"chainId\",\"type\",\"nonce\",\"issuedAt\",",
    "\"signature\"]}"
);

#[cfg(test)]
mod tests;
