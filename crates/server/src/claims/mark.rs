//! One claim as it is written down, and what it says to a payment that comes in. Pure.

use farthing_protocol::layout::{LayoutError, Reader, Writer};
use farthing_protocol::records::VALUE_BYTES;
use farthing_protocol::{Amount, RequestDigest};

use crate::flow::Bearer;

const VERSION: u8 = 1;

/// What is written down of one payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The request that it pays for.
    pub(crate) digest: RequestDigest,
    /// SHA-256 of the payment as it was presented: only who has that gets what was paid for again.
    pub(crate) proof: [u8; 32],
    pub(crate) state: State,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The handler may be running, and the facilitator was never asked to settle.
    Running(Lease),
    /// The facilitator may have been asked to settle `amount`. `answer` is for when it has; `upfront`: the
    /// handler runs only then.
    Settling { lease: Lease, amount: Amount, upfront: bool, answer: Option<Vec<u8>> },
    /// The money moved, and the handler has not succeeded yet.
    Owed { lease: Lease, paid: Paid },
    /// The money moved, and the handler succeeded in run `epoch`.
    Settled { epoch: u64, paid: Paid, answer: Option<Vec<u8>> },
    /// It was never settled, and never will be.
    Ended,
}

/// Who works on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) owner: [u8; 16],
    /// Grows with each takeover of a run.
    pub(crate) epoch: u64,
    /// Unix seconds from which another process may take over; 0: nobody works on it.
    pub(crate) until: u64,
}

/// The facilitator's word that money moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paid {
    pub(crate) amount: Amount,
    pub(crate) transaction: String,
    /// A JSON object.
    pub(crate) extra: String,
}

/// What a claim says to a payment that comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is this process's, once this is written down.
    Take(Mark, Next),
    /// Another process works on it.
    Busy,
    /// The money moved, and this was delivered for it.
    Delivered(Paid, Option<Vec<u8>>),
    Ended,
    OtherRequest,
    /// The same payment in another form than the one that was claimed.
    Conflict,
}

/// What is to be done by the process that took a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Verify. `fresh`: nobody had it before.
    Verify { fresh: bool },
    /// Settle once more.
    Settle,
    /// Run the handler: it is paid for.
    Run,
    /// Deliver nothing: it is paid for, and must not run twice.
    Close,
}

impl Lease {
    /// As its own, or taken over from somebody who went silent; `None` while somebody works on it.
    fn taken(self, bearer: &Bearer, now: u64) -> Option<Self> {
        let renewed = Self { owner: bearer.owner.id, ..self }.renewed(bearer, now);
        match self.owner == bearer.owner.id {
            true => Some(renewed),
            false if now < self.until => None,
            false => Some(Self { epoch: self.epoch.saturating_add(1), ..renewed }),
        }
    }

    pub(crate) fn renewed(self, bearer: &Bearer, now: u64) -> Self {
        Self { until: now.saturating_add(u64::from(bearer.owner.lease_seconds)).max(1), ..self }
    }

    /// Whether it is of this process, in this run.
    pub(crate) fn is_of(&self, bearer: &Bearer, epoch: u64) -> bool {
        (self.owner, self.epoch) == (bearer.owner.id, epoch)
    }
}

impl Mark {
    /// What `found` says to a payment that comes in.
    pub(crate) fn judge(found: Option<Self>, bearer: &Bearer, now: u64) -> Verdict {
        let take =
            |state, next| Verdict::Take(Self { digest: bearer.digest, proof: bearer.proof, state }, next);
        let Some(Self { digest, proof, state }) = found else {
            let lease = Lease { owner: bearer.owner.id, epoch: 1, until: 0 }.renewed(bearer, now);
            return take(State::Running(lease), Next::Verify { fresh: true });
        };
        if digest != bearer.digest {
            return Verdict::OtherRequest;
        }
        match state {
            State::Running(lease) => match lease.taken(bearer, now) {
                Some(lease) => take(State::Running(lease), Next::Verify { fresh: false }),
                None => Verdict::Busy,
            },
            State::Ended => Verdict::Ended,
            // From here on money is involved, and on open networks everybody can read what is signed.
            _ if proof != bearer.proof => Verdict::Conflict,
            State::Settling { lease, amount, upfront, answer } => match lease.taken(bearer, now) {
                // The epoch counts runs of the handler, and this one is over.
                Some(taken) => {
                    let lease = Lease { epoch: lease.epoch, ..taken };
                    take(State::Settling { lease, amount, upfront, answer }, Next::Settle)
                }
                None => Verdict::Busy,
            },
            State::Owed { lease, paid } => match lease.taken(bearer, now) {
                Some(taken) => {
                    let silent = lease.until > 0 && lease.owner != bearer.owner.id;
                    if silent && !bearer.repeatable {
                        return take(State::Settled { epoch: lease.epoch, paid, answer: None }, Next::Close);
                    }
                    take(State::Owed { lease: taken, paid }, Next::Run)
                }
                None => Verdict::Busy,
            },
            State::Settled { paid, answer, .. } => Verdict::Delivered(paid, answer),
        }
    }

    /// The bytes to store; the same claim gives the same bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let out = Writer::bare().u8(VERSION).fixed(&self.digest.0).fixed(&self.proof);
        match &self.state {
            State::Running(lease) => put_lease(out.u8(1), lease),
            State::Settling { lease, amount, upfront, answer } => {
                let out = put_lease(out.u8(2), lease).u128(amount.0).u8(u8::from(*upfront));
                put_answer(out, answer.as_deref())
            }
            State::Owed { lease, paid } => put_paid(put_lease(out.u8(3), lease), paid),
            State::Settled { epoch, paid, answer } => {
                put_answer(put_paid(out.u8(4).u64(*epoch), paid), answer.as_deref())
            }
            State::Ended => out.u8(5),
        }
        .finish()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::bare(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(LayoutError::Version { found: version });
        }
        let (digest, proof) = (RequestDigest(reader.fixed()?), reader.fixed()?);
        let state = match reader.u8()? {
            1 => State::Running(lease(&mut reader)?),
            2 => State::Settling {
                lease: lease(&mut reader)?,
                amount: Amount(reader.u128()?),
                upfront: flag(&mut reader, "upfront")?,
                answer: answer(&mut reader)?,
            },
            3 => State::Owed { lease: lease(&mut reader)?, paid: paid(&mut reader)? },
            4 => State::Settled {
                epoch: reader.u64()?,
                paid: paid(&mut reader)?,
                answer: answer(&mut reader)?,
            },
            5 => State::Ended,
            _ => return Err(LayoutError::Value { field: "state" }),
        };
        reader.finish()?;
        Ok(Self { digest, proof, state })
    }
}

fn put_lease(out: Writer, lease: &Lease) -> Writer {
    out.fixed(&lease.owner).u64(lease.epoch).u64(lease.until)
}

fn lease(reader: &mut Reader<'_>) -> Result<Lease, LayoutError> {
    Ok(Lease { owner: reader.fixed()?, epoch: reader.u64()?, until: reader.u64()? })
}

fn put_paid(out: Writer, paid: &Paid) -> Writer {
    out.u128(paid.amount.0).var(paid.transaction.as_bytes()).var(paid.extra.as_bytes())
}

fn paid(reader: &mut Reader<'_>) -> Result<Paid, LayoutError> {
    let amount = Amount(reader.u128()?);
    let mut text = |field| {
        let text = std::str::from_utf8(reader.var(VALUE_BYTES)?);
        text.map(str::to_owned).map_err(|_| LayoutError::Value { field })
    };
    Ok(Paid { amount, transaction: text("transaction")?, extra: text("extra")? })
}

fn put_answer(out: Writer, answer: Option<&[u8]>) -> Writer {
    match answer {
        Some(answer) => out.u8(1).var(answer),
        None => out.u8(0),
    }
}

fn answer(reader: &mut Reader<'_>) -> Result<Option<Vec<u8>>, LayoutError> {
    match flag(reader, "answer")? {
        true => reader.var(VALUE_BYTES).map(|answer| Some(answer.to_vec())),
        false => Ok(None),
    }
}

fn flag(reader: &mut Reader<'_>, field: &'static str) -> Result<bool, LayoutError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(LayoutError::Value { field }),
    }
}

#[cfg(test)]
mod tests {
    use farthing_protocol::rail::Owner;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn bearer(owner: u8) -> Bearer {
        Bearer {
            owner: Owner { id: [owner; 16], lease_seconds: 75 },
            digest: RequestDigest([7; 32]),
            proof: [8; 32],
            repeatable: true,
        }
    }

    fn lease(owner: u8, epoch: u64, until: u64) -> Lease {
        Lease { owner: [owner; 16], epoch, until }
    }

    fn mark(state: State) -> Mark {
        Mark { digest: RequestDigest([7; 32]), proof: [8; 32], state }
    }

    fn paid() -> Paid {
        Paid { amount: Amount(9), transaction: "0xabc".into(), extra: "{\"a\":1}".into() }
    }

    fn states() -> Vec<State> {
        let lease = lease(1, 3, NOW + 75);
        let settling = |upfront, answer| State::Settling { lease, amount: Amount(9), upfront, answer };
        vec![
            State::Running(lease),
            settling(false, Some(b"answer".to_vec())),
            settling(true, None),
            State::Owed { lease, paid: paid() },
            State::Settled { epoch: 3, paid: paid(), answer: Some(Vec::new()) },
            State::Settled { epoch: 3, paid: paid(), answer: None },
            State::Ended,
        ]
    }

    fn taken(found: State, bearer: &Bearer, now: u64) -> Option<(State, Next)> {
        match Mark::judge(Some(mark(found)), bearer, now) {
            Verdict::Take(mark, next) => Some((mark.state, next)),
            _ => None,
        }
    }

    #[test]
    fn a_claim_comes_back_as_it_was_written_and_broken_ones_are_refused() {
        for state in states() {
            let (mark, bytes) = (mark(state.clone()), mark(state).encode());
            assert_eq!(Mark::decode(&bytes).unwrap(), mark);
            for length in 0..bytes.len() {
                assert!(Mark::decode(&bytes[..length]).is_err(), "{mark:?} cut at {length}");
            }
            let longer = [bytes.as_slice(), &[0]].concat();
            assert_eq!(Mark::decode(&longer), Err(LayoutError::Trailing));
            let newer = [&[2], &bytes[1..]].concat();
            assert_eq!(Mark::decode(&newer), Err(LayoutError::Version { found: 2 }));
        }
    }

    #[test]
    fn a_payment_that_nobody_has_is_taken_and_then_busy_for_others() {
        let Verdict::Take(first, Next::Verify { fresh: true }) = Mark::judge(None, &bearer(1), NOW) else {
            panic!("not taken")
        };
        assert_eq!(first.state, State::Running(lease(1, 1, NOW + 75)));
        assert_eq!(Mark::judge(Some(first.clone()), &bearer(2), NOW + 74), Verdict::Busy);
        let Verdict::Take(second, next) = Mark::judge(Some(first.clone()), &bearer(2), NOW + 75) else {
            panic!("not taken over")
        };
        assert_eq!(
            (next, second.state),
            (Next::Verify { fresh: false }, State::Running(lease(2, 2, NOW + 150)))
        );
        let own = taken(first.state, &bearer(1), NOW + 10);
        assert_eq!(own, Some((State::Running(lease(1, 1, NOW + 85)), Next::Verify { fresh: false })));
    }

    #[test]
    fn a_payment_for_another_request_is_told_so_in_every_state() {
        for state in states() {
            let other = Bearer { digest: RequestDigest([9; 32]), ..bearer(1) };
            assert_eq!(Mark::judge(Some(mark(state)), &other, NOW + 999), Verdict::OtherRequest);
        }
    }

    #[test]
    fn once_money_is_involved_only_the_same_form_of_the_payment_gets_anything() {
        let other = Bearer { proof: [9; 32], ..bearer(1) };
        let mut conflicts = 0;
        for state in states() {
            match (Mark::judge(Some(mark(state.clone())), &other, NOW), state) {
                (Verdict::Take(..), State::Running(_)) | (Verdict::Ended, State::Ended) => {}
                (verdict, _) => {
                    assert_eq!(verdict, Verdict::Conflict);
                    conflicts += 1;
                }
            }
        }
        assert_eq!(conflicts, 5);
    }

    #[test]
    fn a_settlement_that_is_taken_over_stays_the_same_run() {
        let state = State::Settling {
            lease: lease(1, 3, NOW + 75),
            amount: Amount(9),
            upfront: false,
            answer: Some(b"answer".to_vec()),
        };
        assert_eq!(taken(state.clone(), &bearer(2), NOW), None);
        let (state, next) = taken(state, &bearer(2), NOW + 75).unwrap();
        let State::Settling { lease: taken, answer, .. } = state else { panic!("{state:?}") };
        assert_eq!(
            (next, taken, answer.as_deref()),
            (Next::Settle, lease(2, 3, NOW + 150), Some(&b"answer"[..]))
        );
    }

    #[test]
    fn what_is_owed_runs_again_when_it_failed_and_after_a_silence_only_if_it_may() {
        let owed = |until| State::Owed { lease: lease(1, 3, until), paid: paid() };
        let once = Bearer { repeatable: false, ..bearer(2) };
        assert_eq!(taken(owed(NOW + 75), &once, NOW), None);
        for (found, bearer) in [(owed(0), &once), (owed(NOW), &bearer(2))] {
            let (state, next) = taken(found, bearer, NOW).unwrap();
            assert_eq!(
                (next, state),
                (Next::Run, State::Owed { lease: lease(2, 4, NOW + 75), paid: paid() })
            );
        }
        let (state, next) = taken(owed(NOW), &once, NOW).unwrap();
        assert_eq!((next, state), (Next::Close, State::Settled { epoch: 3, paid: paid(), answer: None }));
    }
}
