//! Claims: whose payment is whose, where the network cannot hold money while a handler runs.
//!
//! Such a payment is *claimed*, verified, served, and settled. The claim is a record in a store that all
//! server processes share, and changes by compare-and-set only: of many processes that are shown the same
//! payment, one runs the handler. It presents to the [flow](crate::flow) what a ledger's hold would be:
//!
//! | the flow asks for | what happens |
//! |---|---|
//! | the first settlement | the payment is claimed, then verified |
//! | a capture | *settling* is written down with the answer, the facilitator settles, the settlement is written down |
//! | a void | the end is written down; the facilitator is never asked to settle |
//!
//! Where the offer asks for the money upfront, it is settled right after it was verified; the capture then
//! only stores the answer, and a void lets the same payment run the handler again.
//!
//! A claim is given up only when the payment was never sent to be settled and the facilitator calls it
//! invalid. Once it was sent, a refusal counts only if this was the first attempt, or the network can no
//! longer take the payment: a facilitator that does not remember an earlier attempt refuses what that
//! attempt has settled.

mod mark;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use farthing_protocol::rail::{Facilitator, Hold, Outcome, PaymentId, UnknownOutcome};
use farthing_protocol::records::{CLAIMS, Record, Records, RecordsError, Replaced, VALUE_BYTES};
use farthing_protocol::v2::{SettlementResponse, VerifyResponse};
use farthing_protocol::{Amount, reason};

use self::mark::{Lease, Mark, Next, Paid, State, Verdict};
use crate::flow::{Bearer, Claiming, Objection, REMEMBERED, Reply, Standing, Step};
use crate::paywall::Clock;

/// Most bytes of an answer that fit into a claim.
pub(crate) const ANSWER_BYTES: usize = VALUE_BYTES - 16 * 1024;
/// Most bytes of what a facilitator says besides that are kept.
const EXTRA_BYTES: usize = 8 * 1024;
const TRANSACTION_CHARS: usize = 512;
/// How often a claim is looked at again because another process changed it meanwhile.
const LOOKS: usize = 8;
/// Seconds after its last moment in which a payment may still settle, by the network's clock.
const CLOCKS_APART: u64 = 60;
const PURGE_SECONDS: u64 = 60;
const PURGE_RECORDS: usize = 256;

/// The claims of one server process, in a store that it shares with others.
pub struct Claims {
    records: Arc<dyn Records>,
    facilitator: Arc<dyn Facilitator>,
    clock: Clock,
    purge_at: AtomicU64,
}

impl std::fmt::Debug for Claims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claims").field("records", &self.records).finish_non_exhaustive()
    }
}

impl Claims {
    /// Claims in `records`, settled by `facilitator`; `clock` tells Unix seconds.
    #[must_use]
    pub fn new(
        records: Arc<dyn Records>,
        facilitator: Arc<dyn Facilitator>,
        clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Self {
        Self { records, facilitator, clock, purge_at: AtomicU64::new(0) }
    }

    /// Answers one question of the flow.
    pub async fn ask(&self, claiming: &Claiming) -> Reply {
        let reply = match claiming.step() {
            Step::Claim => self.claim(claiming).await,
            Step::Capture { epoch, amount, answer } => {
                self.capture(claiming, *epoch, *amount, answer.as_deref()).await.map(Reply::Outcome)
            }
            Step::Void { epoch } => self.void(claiming, *epoch).await.map(Reply::Outcome),
        };
        reply.unwrap_or_else(|unknown| Reply::Outcome(Outcome::Unknown(unknown)))
    }

    /// Whether anything is written down about a payment, or nobody can say.
    pub(crate) async fn may_know(&self, payment: &PaymentId) -> bool {
        self.records.get(&key(payment)).await.map_or(true, |found| found.is_some())
    }

    async fn claim(&self, claiming: &Claiming) -> Result<Reply, UnknownOutcome> {
        self.purge().await;
        let bearer = claiming.bearer();
        let mut place = match claiming.objection() {
            None => Place::new(self, claiming),
            Some(objection) => {
                let place = Place::look(self, claiming).await?;
                if place.found.is_none() {
                    return Ok(refused(claiming, &objection.reason, &*objection.message));
                }
                place
            }
        };
        for _ in 0..LOOKS {
            let (mark, next) = match Mark::judge(place.mark()?, &bearer, self.now()) {
                Verdict::Take(mark, next) => (mark, next),
                Verdict::Busy => return Ok(Reply::Standing(Standing::InProgress)),
                Verdict::Ended => return Ok(Reply::Standing(Standing::Ended)),
                Verdict::Delivered(paid, answer) => return Ok(delivered(claiming, &paid, answer)),
                Verdict::OtherRequest => {
                    let why =
                        "the payment was presented for another method, URL or body than this request has";
                    return Ok(refused(claiming, reason::BOUND_TO_OTHER_REQUEST, why));
                }
                Verdict::Conflict => {
                    let why = "this payment was presented before, in another form";
                    return Ok(refused(claiming, reason::PAYMENT_CONFLICT, why));
                }
            };
            if !place.put(&mark).await? {
                continue;
            }
            return match (next, mark.state) {
                (Next::Verify { fresh }, State::Running(lease)) => {
                    self.verify(claiming, &bearer, place, lease, fresh).await
                }
                (Next::Settle, State::Settling { lease, amount, upfront, answer }) => {
                    let run = Run { lease, amount, upfront, answer, is_first: false };
                    self.settle_claim(claiming, &bearer, place, run).await
                }
                (Next::Run, State::Owed { lease, paid }) => Ok(held(claiming, lease, Some(&paid))),
                (_, State::Settled { paid, answer, .. }) => Ok(delivered(claiming, &paid, answer)),
                _ => Err(UnknownOutcome("the claim makes no sense".into())),
            };
        }
        Err(UnknownOutcome("other processes keep changing the claim".into()))
    }

    async fn verify(
        &self,
        claiming: &Claiming,
        bearer: &Bearer,
        mut place: Place<'_>,
        lease: Lease,
        fresh: bool,
    ) -> Result<Reply, UnknownOutcome> {
        let verified = match claiming.objection() {
            None => self.facilitator.verify(&claiming.request(None)).await,
            Some(Objection { reason, message }) => Ok(VerifyResponse {
                invalid_reason: Some(reason.clone()),
                invalid_message: Some(message.clone()),
                ..VerifyResponse::default()
            }),
        };
        let said = match verified {
            Ok(said)
                if said.is_valid && said.payer.as_deref().is_none_or(|payer| claiming.is_payer(payer)) =>
            {
                if !claiming.is_upfront() {
                    return Ok(held(claiming, lease, None));
                }
                let run = Run {
                    lease: lease.renewed(bearer, self.now()),
                    amount: claiming.max_amount(),
                    upfront: true,
                    answer: None,
                    is_first: true,
                };
                let Run { lease, amount, upfront, .. } = run;
                if !place.put(&bearer.mark(State::Settling { lease, amount, upfront, answer: None })).await? {
                    return Ok(Reply::Standing(Standing::InProgress));
                }
                return self.settle_claim(claiming, bearer, place, run).await;
            }
            Ok(said) if said.is_valid => Err("the facilitator speaks of another payer".to_owned()),
            Ok(said) if said.invalid_reason.as_deref() == Some(reason::UNEXPECTED_VERIFY_ERROR) => {
                Err("the facilitator could not verify the payment".to_owned())
            }
            Ok(said) => Ok(said),
            Err(error) => Err(error.to_string()),
        };
        // It was never sent to be settled. Where no handler can have run, it is as if it had not come.
        let let_go = match (&said, fresh) {
            (_, true) => place.replace(None).await,
            (Ok(_), false) => place.put(&bearer.mark(State::Ended)).await,
            (Err(_), false) => Ok(true),
        };
        if let Err(error) = let_go {
            tracing::warn!(payment = %claiming.id(), %error, "a claim could not be given up");
        }
        let said = said.map_err(UnknownOutcome)?;
        let reason = said.invalid_reason.as_deref().unwrap_or(reason::INVALID_PAYLOAD);
        let why = said.invalid_message.unwrap_or_else(|| format!("the facilitator refuses it: {reason}"));
        Ok(refused(claiming, reason, why))
    }

    /// Settles what was claimed, and says how it stands then.
    async fn settle_claim(
        &self,
        claiming: &Claiming,
        bearer: &Bearer,
        mut place: Place<'_>,
        run: Run,
    ) -> Result<Reply, UnknownOutcome> {
        let Run { lease, amount, upfront, answer, is_first } = run;
        let paid = match self.settle(claiming, amount, is_first).await? {
            Ok(paid) => paid,
            Err(said) => {
                place.end(bearer).await?;
                return Ok(Reply::Outcome(Outcome::NotSettled(said)));
            }
        };
        if upfront {
            let lease = lease.renewed(bearer, self.now());
            let owed = State::Owed { lease, paid: paid.clone() };
            return match place.put(&bearer.mark(owed)).await? {
                true => Ok(held(claiming, lease, Some(&paid))),
                false => Err(UnknownOutcome("another process has taken the claim over".into())),
            };
        }
        place.settled(bearer, lease.epoch, &paid, answer.as_deref()).await;
        Ok(delivered(claiming, &paid, answer))
    }

    async fn capture(
        &self,
        claiming: &Claiming,
        epoch: u64,
        amount: Amount,
        answer: Option<&[u8]>,
    ) -> Result<Outcome, UnknownOutcome> {
        let bearer = claiming.bearer();
        let mut place = Place::look(self, claiming).await?;
        let changed = || UnknownOutcome("another process has changed the claim".into());
        let (amount, answer, is_first) = match place.mark()?.map(|mark| mark.state) {
            Some(State::Settled { epoch: run, paid, .. }) if run == epoch => {
                return Ok(Outcome::Settled(said(claiming, &paid)));
            }
            Some(State::Owed { lease, paid }) if lease.is_of(&bearer, epoch) => {
                let settled =
                    State::Settled { epoch, paid: paid.clone(), answer: answer.map(<[u8]>::to_vec) };
                return match place.put(&bearer.mark(settled)).await? {
                    true => Ok(Outcome::Settled(said(claiming, &paid))),
                    false => Err(changed()),
                };
            }
            Some(State::Running(lease)) if lease.is_of(&bearer, epoch) => {
                let (lease, kept) = (lease.renewed(&bearer, self.now()), answer.map(<[u8]>::to_vec));
                let settling = State::Settling { lease, amount, upfront: false, answer: kept.clone() };
                if !place.put(&bearer.mark(settling)).await? {
                    return Err(changed());
                }
                (amount, kept, true)
            }
            Some(State::Settling { lease, amount, upfront: false, answer }) if lease.epoch == epoch => {
                if !lease.is_of(&bearer, epoch) {
                    return Err(UnknownOutcome("another process asks the facilitator".into()));
                }
                (amount, answer, false)
            }
            None | Some(State::Ended) => {
                let why = "the claim on the payment has ended";
                return Ok(not_settled(claiming, reason::PAYMENT_VOIDED, why));
            }
            _ => return Ok(not_settled(claiming, reason::STALE_OWNER, "another process has the payment")),
        };
        match self.settle(claiming, amount, is_first).await? {
            Ok(paid) => {
                place.settled(&bearer, epoch, &paid, answer.as_deref()).await;
                Ok(Outcome::Settled(said(claiming, &paid)))
            }
            Err(said) => {
                place.end(&bearer).await?;
                Ok(Outcome::NotSettled(said))
            }
        }
    }

    async fn void(&self, claiming: &Claiming, epoch: u64) -> Result<Outcome, UnknownOutcome> {
        let bearer = claiming.bearer();
        let mut place = Place::look(self, claiming).await?;
        let done = Ok(Outcome::Settled(said(claiming, &Paid::nothing())));
        let left = match place.mark()?.map(|mark| mark.state) {
            None | Some(State::Ended) => return done,
            Some(State::Running(lease)) if lease.is_of(&bearer, epoch) => State::Ended,
            Some(State::Owed { lease, paid }) if lease.is_of(&bearer, epoch) => {
                State::Owed { lease: Lease { until: 0, ..lease }, paid }
            }
            Some(State::Settling { .. }) => return Err(UnknownOutcome("it may be settled".into())),
            Some(State::Settled { .. }) => {
                let why = "the payment is settled";
                return Ok(not_settled(claiming, reason::INVALID_TRANSACTION_STATE, why));
            }
            _ => return Ok(not_settled(claiming, reason::STALE_OWNER, "another process has the payment")),
        };
        match place.put(&bearer.mark(left)).await? {
            true => done,
            false => Err(UnknownOutcome("another process has changed the claim".into())),
        }
    }

    /// Asks the facilitator to settle `amount`. `Err` within: it did not, and nothing will.
    async fn settle(
        &self,
        claiming: &Claiming,
        amount: Amount,
        is_first: bool,
    ) -> Result<Result<Paid, SettlementResponse>, UnknownOutcome> {
        if amount == Amount::ZERO {
            return Ok(Ok(Paid::nothing()));
        }
        let said = match self.facilitator.settle(&claiming.request(Some(amount))).await {
            Outcome::Settled(said) if claiming.recognises(&said) => return Ok(Ok(Paid::read(said, amount))),
            Outcome::Settled(_) => {
                return Err(UnknownOutcome("the facilitator speaks of another payment".into()));
            }
            Outcome::NotSettled(said) => said,
            Outcome::Unknown(unknown) => return Err(unknown),
        };
        let reason = said.error_reason.as_deref().unwrap_or(reason::UNEXPECTED_SETTLE_ERROR);
        let is_over = self.now() > claiming.valid_before().saturating_add(CLOCKS_APART);
        let is_sure = match reason {
            reason::SETTLEMENT_PENDING | reason::UNEXPECTED_SETTLE_ERROR => false,
            // Refused after it was sent before: by a facilitator that may not know what became of that.
            reason => is_first || is_over && !reason.contains("nonce"),
        };
        match is_sure {
            true => Ok(Err(said)),
            false => {
                Err(UnknownOutcome(format!("the facilitator refuses it ({reason}), and it may be settled")))
            }
        }
    }

    /// Lets the store forget what is of no use, now and then.
    async fn purge(&self) {
        let (now, at) = (self.now(), self.purge_at.load(Ordering::Relaxed));
        let next = now.saturating_add(PURGE_SECONDS);
        let due = now >= at;
        if !due || self.purge_at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        if let Err(error) = self.records.purge(now, PURGE_RECORDS).await {
            tracing::warn!(%error, "old claims stay for now");
        }
    }

    fn now(&self) -> u64 {
        (self.clock)()
    }
}

/// A settlement to be asked for.
struct Run {
    lease: Lease,
    amount: Amount,
    upfront: bool,
    answer: Option<Vec<u8>>,
    /// Nobody can have asked before.
    is_first: bool,
}

/// The place of one claim in the store, and what is there as far as is known.
struct Place<'a> {
    records: &'a dyn Records,
    key: [u8; 33],
    until: u64,
    found: Option<Vec<u8>>,
}

impl<'a> Place<'a> {
    fn new(claims: &'a Claims, claiming: &Claiming) -> Self {
        let until = claiming.valid_before().saturating_add(REMEMBERED);
        Self { records: claims.records.as_ref(), key: key(&claiming.id()), until, found: None }
    }

    async fn look(claims: &'a Claims, claiming: &Claiming) -> Result<Self, UnknownOutcome> {
        let mut place = Self::new(claims, claiming);
        let found = place.records.get(&place.key).await.map_err(|error| unknown(&error))?;
        place.found = found.map(|record| record.value);
        Ok(place)
    }

    fn mark(&self) -> Result<Option<Mark>, UnknownOutcome> {
        let read = self.found.as_deref().map(Mark::decode).transpose();
        read.map_err(|error| UnknownOutcome(format!("the claim cannot be read: {error}")))
    }

    /// Whether it was written; otherwise what is there instead is known now.
    async fn put(&mut self, mark: &Mark) -> Result<bool, UnknownOutcome> {
        self.replace(Some(mark.encode())).await
    }

    async fn replace(&mut self, new: Option<Vec<u8>>) -> Result<bool, UnknownOutcome> {
        let record = new.clone().map(|value| Record { value, until: self.until });
        match self.records.replace(&self.key, self.found.as_deref(), record).await {
            Ok(Replaced::Done) => {
                self.found = new;
                Ok(true)
            }
            Ok(Replaced::Found(found)) => {
                self.found = found.map(|record| record.value);
                Ok(false)
            }
            Err(error) => Err(unknown(&error)),
        }
    }

    /// Nothing will be settled. Unknown until that is written down.
    async fn end(&mut self, bearer: &Bearer) -> Result<(), UnknownOutcome> {
        match self.put(&bearer.mark(State::Ended)).await? {
            true => Ok(()),
            false => Err(UnknownOutcome("another process has taken the claim over".into())),
        }
    }

    /// The money moved. When that cannot be written down, it is found out again by settling once more.
    async fn settled(&mut self, bearer: &Bearer, epoch: u64, paid: &Paid, answer: Option<&[u8]>) {
        let (paid, answer) = (paid.clone(), answer.map(<[u8]>::to_vec));
        match self.put(&bearer.mark(State::Settled { epoch, paid, answer })).await {
            Ok(true) => {}
            Ok(false) => tracing::info!("another process has taken a settlement over"),
            Err(error) => tracing::warn!(%error, "a settlement could not be written down"),
        }
    }
}

impl Bearer {
    fn mark(&self, state: State) -> Mark {
        Mark { digest: self.digest, proof: self.proof, state }
    }
}

impl Paid {
    fn nothing() -> Self {
        Self { amount: Amount::ZERO, transaction: String::new(), extra: "{}".into() }
    }

    fn read(said: SettlementResponse, amount: Amount) -> Self {
        let extra = serde_json::to_string(&said.extra).ok().filter(|extra| extra.len() <= EXTRA_BYTES);
        Self {
            amount,
            transaction: said.transaction.chars().take(TRANSACTION_CHARS).collect(),
            extra: extra.unwrap_or_else(|| "{}".into()),
        }
    }
}

/// The record's key: [`CLAIMS`] and the payment's id.
fn key(id: &PaymentId) -> [u8; 33] {
    let mut key = [CLAIMS; 33];
    key[1..].copy_from_slice(&id.0);
    key
}

fn unknown(error: &RecordsError) -> UnknownOutcome {
    UnknownOutcome(error.to_string())
}

/// The settlement as the flow reads it.
fn said(claiming: &Claiming, paid: &Paid) -> SettlementResponse {
    SettlementResponse {
        success: true,
        payer: Some(claiming.payer().to_owned()),
        transaction: paid.transaction.clone(),
        network: claiming.network().to_string(),
        amount: Some(paid.amount),
        extra: serde_json::from_str(&paid.extra).unwrap_or_default(),
        ..SettlementResponse::default()
    }
}

fn held(claiming: &Claiming, lease: Lease, paid: Option<&Paid>) -> Reply {
    let hold = Hold { epoch: lease.epoch, takeover: lease.epoch > 1 };
    Reply::Standing(Standing::Held { hold, paid: paid.map(|paid| said(claiming, paid)) })
}

fn delivered(claiming: &Claiming, paid: &Paid, answer: Option<Vec<u8>>) -> Reply {
    Reply::Standing(Standing::Captured { settlement: said(claiming, paid), answer })
}

fn not_settled(claiming: &Claiming, reason: &str, why: impl Into<String>) -> Outcome {
    Outcome::NotSettled(SettlementResponse::refused(claiming.network(), reason, why))
}

fn refused(claiming: &Claiming, reason: &str, why: impl Into<String>) -> Reply {
    Reply::Outcome(not_settled(claiming, reason, why))
}
