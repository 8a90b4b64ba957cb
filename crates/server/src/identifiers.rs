//! Payment identifiers: the names that clients give to what they pay for, by x402's extension
//! [`payment-identifier`](farthing_protocol::payment_identifier).
//!
//! A name belongs to a payer, and to the payment and the request that it came with first: an atomic insert
//! into the [records](farthing_protocol::records), before any money is held. The same payment for the same
//! request goes on, to its stored answer if it was served; anything else under that name is a conflict. A
//! payment that was refused or given back sets its name free.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use farthing_protocol::layout::Writer;
use farthing_protocol::payment_identifier::{self, FIELD, Identifier};
use farthing_protocol::records::{IDENTIFIERS, Record, Records, RecordsError, Replaced};
use farthing_protocol::{Limits, digest, header, reason};

use crate::answer::{Answer, Refusal, Situation};
use crate::flow::{Action, Entering, REMEMBERED};
use crate::serving::Process as _;
use crate::shell::Shell;

/// How often a name is looked at again because another process changed it meanwhile.
const LOOKS: usize = 8;
const PURGE_SECONDS: u64 = 60;
const PURGE_RECORDS: usize = 256;
/// The longest that a name is kept, in seconds: whatever an unproven payment says of its own windows.
const LONGEST: u64 = 3 * 3600;

/// Whether a route's payers name what they pay for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentIdentifier {
    /// They must: a payment without a name is answered 400.
    Required,
    /// They may.
    Optional,
}

impl PaymentIdentifier {
    pub(crate) fn is_required(self) -> bool {
        self == Self::Required
    }
}

/// The names of one seller's payers, in a store that its processes share.
pub(crate) struct Identifiers {
    records: Arc<dyn Records>,
    purge_at: AtomicU64,
}

/// A name that belongs to the payment that is served.
#[derive(Debug)]
pub(crate) struct Claimed {
    key: Vec<u8>,
    value: Vec<u8>,
    /// It did not before.
    is_new: bool,
}

impl std::fmt::Debug for Identifiers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identifiers").field("records", &self.records).finish_non_exhaustive()
    }
}

impl Identifiers {
    pub(crate) fn new(records: Arc<dyn Records>) -> Self {
        Self { records, purge_at: AtomicU64::new(0) }
    }

    /// Takes the payment's name for it; `None` when it has none and needs none.
    pub(crate) async fn claim(
        &self,
        entering: &Entering,
        wanted: PaymentIdentifier,
        now: u64,
    ) -> Result<Option<Claimed>, Refusal> {
        let malformed = |why: String| Refusal::new(Situation::Malformed, why).field(FIELD);
        let id = match payment_identifier::read(&entering.payment().extensions) {
            Ok(Some(id)) => id,
            Ok(None) if wanted.is_required() => {
                let why = "this route needs a payment identifier, and the payment has none";
                return Err(malformed(why.to_owned()));
            }
            Ok(None) => return Ok(None),
            Err(error) => return Err(malformed(error.to_string())),
        };
        self.purge(now).await;
        let (key, value) = (key(entering, &id), value(entering));
        let until = entering.until().max(entering.presented().valid_before.saturating_add(REMEMBERED));
        let record = Record { value: value.clone(), until: until.min(now.saturating_add(LONGEST)) };
        let mut expected: Option<Vec<u8>> = None;
        for _ in 0..LOOKS {
            match self.records.replace(&key, expected.as_deref(), Some(record.clone())).await {
                Ok(Replaced::Done) => return Ok(Some(Claimed { key, value, is_new: true })),
                Ok(Replaced::Found(None)) => expected = None,
                Ok(Replaced::Found(Some(found))) if found.value == value => {
                    return Ok(Some(Claimed { key, value, is_new: false }));
                }
                // Nothing of that payment can settle any more, and its answer is gone.
                Ok(Replaced::Found(Some(found))) if found.until < now => expected = Some(found.value),
                Ok(Replaced::Found(Some(_))) => {
                    let why = "this payment identifier belongs to another payment or request";
                    return Err(Refusal::new(Situation::Conflict, why).field(FIELD));
                }
                Err(error) => return Err(unknown(&error)),
            }
        }
        Err(unknown(&RecordsError::Unavailable("other processes keep changing it".into())))
    }

    /// Sets a name free, unless it became another payment's meanwhile.
    async fn set_free(&self, claimed: &Claimed) {
        if let Err(error) = self.records.replace(&claimed.key, Some(&claimed.value), None).await {
            // It is over with the payment's own time.
            tracing::warn!(%error, "a payment identifier could not be set free");
        }
    }

    async fn purge(&self, now: u64) {
        let at = self.purge_at.load(Ordering::Relaxed);
        let next = now.saturating_add(PURGE_SECONDS);
        let is_due = now >= at
            && self.purge_at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_due && let Err(error) = self.records.purge(now, PURGE_RECORDS).await {
            tracing::warn!(%error, "old records could not be removed");
        }
    }
}

impl Shell {
    /// Takes a payment's name for it, where the route wants one.
    ///
    /// # Errors
    /// The answer, when the name is missing or another payment's.
    pub(crate) async fn identify(
        &self,
        wanted: Option<PaymentIdentifier>,
        action: Action<Body>,
    ) -> Result<(Action<Body>, Option<Claimed>), Box<Answer<Body>>> {
        let (Some(wanted), Action::Enter(entering)) = (wanted, &action) else { return Ok((action, None)) };
        let Some(identifiers) = self.identifiers() else { return Ok((action, None)) };
        match identifiers.claim(entering, wanted, self.now()).await {
            Ok(claimed) => Ok((action, claimed)),
            Err(refusal) => Err(Box::new(entering.refuse(&refusal, self.now()))),
        }
    }

    /// Lets go of a payment's name, where nothing was taken for it and nothing can be.
    pub(crate) fn identified<'a>(
        &'a self,
        claimed: Option<Claimed>,
        answer: &Answer<Body>,
    ) -> impl Future<Output = ()> + Send + use<'a> {
        // Bodies cannot be shared between threads: what they are part of is looked at before anybody waits.
        let free = claimed.filter(|claimed| sets_free(answer, claimed.is_new));
        async move {
            if let (Some(identifiers), Some(claimed)) = (self.identifiers(), free) {
                identifiers.set_free(&claimed).await;
            }
        }
    }
}

/// Nobody knows whose the name is: the same payment may be under way.
fn unknown(error: &RecordsError) -> Refusal {
    tracing::warn!(%error, "a payment identifier could not be looked up");
    let why = "nobody knows yet whether this payment was served before: present the same one again";
    Refusal::new(Situation::Pending, why)
}

/// By seller, network, payer and name: the same name of two payers is two names.
fn key(entering: &Entering, id: &Identifier) -> Vec<u8> {
    let (network, payer) = (entering.network(), &entering.presented().payer);
    let payer = match network.namespace() {
        // Spelled in more than one way.
        "eip155" => payer.to_ascii_lowercase(),
        _ => payer.clone(),
    };
    let layout = Writer::new("farthing/payment-identifier-key", 1)
        .var(entering.origin().as_str().as_bytes())
        .var(network.as_str().as_bytes())
        .var(payer.as_bytes())
        .var(id.as_str().as_bytes());
    let mut key = vec![IDENTIFIERS];
    key.extend_from_slice(&digest::sha256(&layout.finish()));
    key
}

/// The payment with its signature, and the request.
fn value(entering: &Entering) -> Vec<u8> {
    Writer::new("farthing/payment-identifier", 1)
        .fixed(&entering.id().0)
        .fixed(&entering.proof())
        .fixed(&entering.digest().0)
        .finish()
}

/// Whether the answer says that the payment was not taken and cannot be. A refusal says so only of a payment
/// that came for the first time: of a later presentation it may be the time alone that is over.
fn sets_free<B>(answer: &Answer<B>, is_new: bool) -> bool {
    match answer.situation {
        Situation::NoMatch
        | Situation::Refused
        | Situation::Malformed
        | Situation::OtherRequest
        | Situation::Conflict => is_new,
        Situation::Paid | Situation::Pending | Situation::InProgress => false,
        _ => {
            let said = answer.headers.get(header::PAYMENT_RESPONSE);
            let said =
                said.and_then(|said| header::decode_settlement(said.as_bytes(), &Limits::default()).ok());
            said.and_then(|said| said.error_reason).as_deref() == Some(reason::PAYMENT_VOIDED)
        }
    }
}
