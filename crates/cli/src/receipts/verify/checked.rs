//! What one signed thing proves.

use farthing::protocol::digest::sha256;
use farthing::protocol::jws::{Jws, JwsError};
use farthing::protocol::offer_receipt::{self, Artifact, ArtifactError, SignedOffer, SignedReceipt};
use farthing::protocol::receipt::{self, Receipt};
use farthing::protocol::{PublicKey, RequestDigest};
use serde_json::{Value, json};

use super::found::{Beside, Found, Signed};
use crate::inspect::signed::method_of;
use crate::style::{moment, safe};

/// What the reader knows, and asks to be compared.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The seller's key.
    pub(super) key: Option<PublicKey>,
    pub(super) url: Option<String>,
    pub(super) payer: Option<String>,
    /// The body of the answer that was paid for.
    pub(super) body: Option<Vec<u8>>,
    pub(super) now: u64,
}

/// What came of one.
#[derive(Debug)]
pub(super) struct Checked {
    /// `offer` or `receipt`.
    pub(super) kind: &'static str,
    /// `jws` or `farthing`.
    pub(super) format: &'static str,
    /// The key that it was checked with.
    pub(super) key: Option<PublicKey>,
    /// What its header calls the key, where that is no key.
    pub(super) kid: Option<String>,
    /// What it states, as JSON; once its signature holds.
    pub(super) states: Option<Value>,
    /// The same for people: names and values.
    pub(super) rows: Vec<(&'static str, String)>,
    /// Why it proves nothing, or not what was asked.
    pub(super) problems: Vec<String>,
    /// What it cannot prove.
    pub(super) open: Vec<String>,
    /// Which of the things to compare it confirms.
    pub(super) confirms: Confirms,
}

/// What was compared and is the same.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Confirms {
    pub(super) url: bool,
    pub(super) payer: bool,
    pub(super) body: bool,
}

/// Why one could not be looked at.
#[derive(Debug)]
pub(super) struct Unreadable(pub(super) String);

/// Checks one.
///
/// # Errors
/// [`Unreadable`], when nothing can be said about its signature.
pub(super) fn check(found: &Found, known: &Known) -> Result<Checked, Unreadable> {
    let Found { signed, beside } = found;
    let (kind, artifact) = match signed {
        Signed::Own(receipt) => return Ok(own(receipt, beside, known)),
        Signed::Offer(artifact) => (Some("offer"), artifact),
        Signed::Receipt(artifact) => (Some("receipt"), artifact),
        Signed::Either(artifact) => (None, artifact),
    };
    let jws = match artifact.jws() {
        Ok(jws) => jws,
        Err(ArtifactError::Jws(error)) if is_read(&error) => {
            let mut checked = Checked::new(kind.unwrap_or("receipt"), "jws");
            checked.problem(safe(&error.to_string()));
            return Ok(checked);
        }
        Err(error) => return Err(Unreadable(safe(&error.to_string()))),
    };
    let key = match (known.key, jws.key()) {
        (Some(key), _) | (None, Ok(key)) => key,
        (None, Err(error)) => {
            let advice = "Nothing is looked up here: give the key with --key";
            return Err(Unreadable(safe(&format!("{error}: {}. {advice}", jws.kid()))));
        }
    };
    // Where nobody said which of the two it is, its payload does; both readers refuse the other's.
    let is_offer = || offer_receipt::read::<SignedOffer>(jws.unverified_payload()).is_ok();
    let is_offer = kind.map_or_else(is_offer, |kind| kind == "offer");
    let proof = Proof { artifact, jws, key };
    Ok(if is_offer { proof.offer(beside, known) } else { proof.receipt(beside, known) })
}

/// Whether a JWS was read, and what was read proves nothing.
fn is_read(error: &JwsError) -> bool {
    matches!(
        error,
        JwsError::Algorithm(_)
            | JwsError::Critical(_)
            | JwsError::Jwk
            | JwsError::TwoKeys
            | JwsError::Signature(_)
    )
}

impl Checked {
    fn new(kind: &'static str, format: &'static str) -> Self {
        Self {
            kind,
            format,
            key: None,
            kid: None,
            states: None,
            rows: Vec::new(),
            problems: Vec::new(),
            open: Vec::new(),
            confirms: Confirms::default(),
        }
    }

    /// Whether the signature holds and nothing contradicts what was asked.
    pub(super) fn holds(&self) -> bool {
        self.problems.is_empty()
    }

    fn row(&mut self, name: &'static str, value: impl std::fmt::Display) {
        self.rows.push((name, value.to_string()));
    }

    fn problem(&mut self, why: impl Into<String>) {
        self.problems.push(why.into());
    }

    fn same_url(&mut self, stated: &str, known: &Known) {
        match &known.url {
            Some(url) if url == stated => self.confirms.url = true,
            Some(_) => self.problem("it is for another URL than the one that was asked for"),
            None => {}
        }
    }

    fn whose_key(&mut self, known: &Known) {
        if known.key.is_none() {
            let advice =
                "whose key it is: compare it with what the seller says elsewhere, or give it with --key";
            self.open.push(advice.into());
        }
    }

    pub(super) fn told(&self) -> Value {
        json!({
            "kind": self.kind,
            "format": self.format,
            "holds": self.holds(),
            "key": self.key.map(|key| key.to_string()),
            "did": self.key.map(|key| farthing::protocol::did_key::did_key(&key)),
            "kid": self.kid.as_deref().map(safe),
            "states": self.states,
            "problems": self.problems,
            "not_proven": self.open,
        })
    }
}

/// A JWS with the key that it is checked with.
struct Proof<'a> {
    artifact: &'a Artifact,
    jws: Jws,
    key: PublicKey,
}

impl Proof<'_> {
    /// What it states; a problem where its signature does not hold.
    fn states<T: offer_receipt::Statement>(&self, checked: &mut Checked) -> Option<T> {
        checked.key = Some(self.key);
        if self.jws.key().is_err() {
            checked.kid = Some(self.jws.kid().to_owned());
        }
        match self.artifact.verify::<T>(&self.key) {
            Ok(statement) => {
                checked.states = serde_json::to_value(&statement).ok();
                Some(statement)
            }
            Err(error) => {
                checked.problem(safe(&match &error {
                    ArtifactError::Jws(JwsError::ForeignKey) => {
                        "it is signed with another key than --key".into()
                    }
                    other => other.to_string(),
                }));
                None
            }
        }
    }

    fn offer(&self, beside: &Beside, known: &Known) -> Checked {
        let mut checked = Checked::new("offer", "jws");
        let Some(offer) = self.states::<SignedOffer>(&mut checked) else { return checked };
        checked.row("resource", safe(&offer.resource_url));
        checked.row("price", format!("{} atomic units of {}", offer.amount, safe(&offer.asset)));
        checked.row("paid to", safe(&offer.pay_to));
        checked.row("network", format!("{}, scheme {}", offer.network, safe(&offer.scheme)));
        match offer.valid_until {
            None => checked.row("good", "without an end"),
            Some(until) if until < known.now => {
                checked.row("good", format!("until {}: over", moment(until, known.now)));
            }
            Some(until) => checked.row("good", format!("until {}", moment(until, known.now))),
        }
        if let (Some(offers), Some(terms)) = (beside.offers(), &beside.terms)
            && !offers.iter().any(|accepted| offer.covers(accepted, &terms.resource.url))
        {
            checked.problem("none of the offers in the terms around it is the one that is signed");
        }
        checked.same_url(&offer.resource_url, known);
        checked.whose_key(known);
        checked.open.push("that anybody paid: it is an offer".into());
        checked
    }

    fn receipt(&self, beside: &Beside, known: &Known) -> Checked {
        let mut checked = Checked::new("receipt", "jws");
        let Some(receipt) = self.states::<SignedReceipt>(&mut checked) else { return checked };
        checked.row("resource", safe(&receipt.resource_url));
        checked.row("payer", safe(&receipt.payer));
        checked.row("network", &receipt.network);
        checked.row("signed", moment(receipt.issued_at, known.now));
        match &receipt.transaction {
            Some(transaction) => checked.row("settlement", safe(transaction)),
            None => checked.row("settlement", "not named"),
        }
        if let Some(settlement) = &beside.settlement {
            let is_other = |said: &str, stated: &str| !said.eq_ignore_ascii_case(stated);
            let others = [
                settlement.payer.as_deref().is_some_and(|payer| is_other(payer, &receipt.payer)),
                settlement.network != receipt.network.as_str(),
                receipt.transaction.as_deref().is_some_and(|named| is_other(&settlement.transaction, named)),
            ];
            if others.contains(&true) {
                checked.problem("it is for another payment than the settlement around it");
            }
        }
        match &known.payer {
            Some(payer) if payer.eq_ignore_ascii_case(&receipt.payer) => checked.confirms.payer = true,
            Some(_) => checked.problem("it is for another payer than the one that was asked for"),
            None => {}
        }
        checked.same_url(&receipt.resource_url, known);
        checked.whose_key(known);
        checked.open.push("how much was paid, and that money moved: ask the network".into());
        checked
    }
}

/// farthing's own receipt.
fn own(signed: &receipt::SignedReceipt, beside: &Beside, known: &Known) -> Checked {
    let mut checked = Checked::new("receipt", "farthing");
    let key = known.key.unwrap_or(signed.key);
    checked.key = Some(key);
    let receipt = match signed.verify(&key) {
        Ok(receipt) => receipt,
        Err(error) => {
            checked.problem(error.to_string());
            return checked;
        }
    };
    let Receipt { payment, digest, status, body, amount, issued_at } = &receipt;
    checked.states = Some(json!({
        "payment": payment.to_string(),
        "requestDigest": digest.to_string(),
        "status": status,
        "body": RequestDigest(*body).to_string(),
        "amount": amount.to_string(),
        "issuedAt": issued_at,
    }));
    checked.row("payment", payment);
    checked.row("request", digest);
    checked.row("answer", format!("{status}, body (SHA-256) {}", RequestDigest(*body)));
    checked.row("amount", format!("{amount} atomic units"));
    checked.row("signed", moment(*issued_at, known.now));
    if let Some(settlement) = &beside.settlement
        && settlement.network.starts_with("farthing:")
        && settlement.transaction != payment.to_string()
    {
        checked.problem("it is for another payment than the settlement around it");
    }
    if let Some(url) = &known.url {
        match method_of(url, digest) {
            Some(method) => {
                checked.confirms.url = true;
                checked.row("resource", format!("{method} {}", safe(url)));
            }
            None => checked.open.push("the URL: it is another one, or the request had a body".into()),
        }
    }
    if let Some(delivered) = &known.body {
        match sha256(delivered) == *body {
            true => checked.confirms.body = true,
            false => checked.problem("it is for another body than the one that was given"),
        }
    }
    checked.whose_key(known);
    checked.open.push("that money moved: ask the network".into());
    checked
}
