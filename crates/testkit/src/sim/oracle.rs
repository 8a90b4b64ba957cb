//! The oracle: it sees what is flushed, what is run and what is said, and knows what must never be.
//!
//! It shares no code with the ledger's core. What it knows of payments it reads from flushed entries; what
//! anybody says about a payment must be true by then.

mod heard;

use std::collections::{BTreeMap, BTreeSet};

use farthing::farthing_ledger::Book;
use farthing::farthing_ledger::engine::{MemoryStorage, Storage, Writes};
use farthing::farthing_ledger::entry::{Entry, Event};
use farthing::farthing_ledger::operation::{Action, Op};
use farthing::farthing_ledger::rows::Table;
use farthing::farthing_ledger::terms::{Terms, payment_id};
use farthing::protocol::PublicKey;
use farthing::protocol::rail::PaymentId;

use super::figures::Figures;
use super::trace::Trace;

/// Seconds that clocks may differ, with room to spare.
const SKEW: u64 = 30;
/// Seconds by which a ledger is generous with the last moment of a payment.
const GENEROUS: u64 = 5;
/// Milliseconds within which whoever lives settles for a run, when no more faults strike.
const A_WHILE: u64 = 100_000;
/// Commits between two checks of the whole ledger.
const FULL_CHECK: u64 = 150;

#[derive(Default)]
pub(crate) struct Oracle {
    violation: Option<String>,
    names: BTreeMap<PaymentId, usize>,
    stories: BTreeMap<PaymentId, Story>,
    nonces: BTreeMap<(PublicKey, [u8; 32]), PaymentId>,
    runs: Vec<Run>,
    /// Signatures by logical request, in their order.
    signed: BTreeMap<String, Vec<PaymentId>>,
    /// Unix seconds: the last moment at which a payment may be authorized.
    windows: BTreeMap<PaymentId, u64>,
    /// Payments that the ledger said it would never take.
    never: BTreeSet<PaymentId>,
}

/// Where a payment stands by flushed entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    Held,
    Captured,
    Voided,
    Reclaimed,
}

#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) payer: PublicKey,
    pub(crate) stand: Stand,
    pub(crate) captured: u128,
    epoch: u64,
    max: i128,
    /// Atomic units that a stream has delivered.
    delivered: Option<u128>,
    capture_deadline: u64,
    /// Unix seconds by the ledger's clock.
    ended_at: u64,
}

/// How a handler ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunEnd {
    Succeeded,
    /// It answered an error, refused, broke off or was stopped.
    Failed,
    Panicked,
    /// Its process died.
    Crashed,
}

#[derive(Clone, Debug)]
struct Run {
    payment: PaymentId,
    host: usize,
    incarnation: u64,
    epoch: u64,
    /// How, and in which millisecond.
    end: Option<(RunEnd, u64)>,
}

impl Story {
    /// What an operation that is applied takes out of the hold.
    fn leaves(&self, operation: &Op) -> i128 {
        let units = |amount: u128| i128::try_from(amount).unwrap_or(i128::MAX);
        match operation.last || operation.action != Action::Capture {
            true => self.max - units(self.captured),
            false => units(operation.cumulative.0) - units(self.captured),
        }
    }
}

impl Oracle {
    /// What is wrong, once something is.
    pub(crate) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    pub(crate) fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// A short name for a payment.
    pub(crate) fn name(&mut self, payment: &PaymentId) -> String {
        let next = self.names.len() + 1;
        format!("P{}", self.names.entry(*payment).or_insert(next))
    }

    pub(crate) fn stories(&self) -> impl Iterator<Item = (&PaymentId, &Story)> {
        self.stories.iter()
    }

    pub(crate) fn is_captured(&self, payment: &PaymentId) -> bool {
        self.stories.get(payment).is_some_and(|story| story.stand == Stand::Captured)
    }

    pub(crate) fn epoch(&self, payment: &PaymentId) -> Option<u64> {
        self.stories.get(payment).map(|story| story.epoch)
    }

    pub(crate) fn panicked(&self, payment: &PaymentId) -> bool {
        let of = |run: &&Run| run.payment == *payment;
        self.runs.iter().filter(of).any(|run| matches!(run.end, Some((RunEnd::Panicked, _))))
    }

    /// A commit was flushed.
    pub(crate) fn flushed(
        &mut self,
        writes: &Writes,
        rows: &mut MemoryStorage,
        figures: &mut Figures,
        trace: &mut Trace,
        now: u64,
    ) {
        for ((_, key), row) in writes.rows.iter().filter(|((table, _), _)| *table == Table::Entry) {
            match row.as_deref().map(Entry::decode) {
                Some(Ok(entry)) => self.entry(&entry, rows, figures, trace, now),
                _ => self.fail(format!("entry {key:?} cannot be read")),
            }
        }
        self.conserved(rows);
        if figures.commits.is_multiple_of(FULL_CHECK) {
            self.check(rows, figures);
        }
    }

    /// Money is neither made nor lost: balances sum to zero, and only the issuer's book is below zero.
    fn conserved(&mut self, rows: &mut MemoryStorage) {
        let balances = rows.scan(Table::Balance, &[], 1024).unwrap_or_default();
        let balances: Vec<i128> = balances
            .into_iter()
            .filter_map(|(_, row)| row.try_into().ok().map(i128::from_be_bytes))
            .collect();
        if balances.iter().sum::<i128>() != 0 {
            self.fail(format!("money was made or lost: balances are {balances:?}"));
        }
        if balances.iter().filter(|balance| **balance < 0).count() > 1 {
            self.fail(format!("somebody is overdrawn: balances are {balances:?}"));
        }
    }

    /// The independent check of the whole ledger.
    pub(crate) fn check(&mut self, rows: &mut MemoryStorage, figures: &mut Figures) {
        figures.full_checks += 1;
        match farthing::farthing_ledger::check::check(&mut |table, from, limit| rows.scan(table, from, limit))
        {
            Ok(report) if report.balanced() => {}
            Ok(report) => self.fail(format!("the ledger's check finds: {}", report.faults.join("; "))),
            Err(error) => self.fail(format!("the ledger cannot be read: {error}")),
        }
    }

    fn entry(
        &mut self,
        entry: &Entry,
        rows: &mut MemoryStorage,
        figures: &mut Figures,
        trace: &mut Trace,
        now: u64,
    ) {
        if entry.postings.iter().map(|posting| posting.amount).sum::<i128>() != 0 {
            self.fail(format!("entry {} makes or loses money", entry.sequence));
        }
        let mut say = |what: String| trace.line(now, "ledger", &what);
        match &entry.event {
            Event::Authorize(evidence) => {
                let Ok(terms) = Terms::decode(&evidence.signed) else {
                    return self.fail(format!("entry {} has no terms", entry.sequence));
                };
                let payment = payment_id(&evidence.signed);
                figures.payments += 1;
                say(format!("holds {} for {}", terms.max_amount, self.name(&payment)));
                self.held(payment, &terms);
            }
            Event::Takeover(payment, epoch) => {
                figures.takeovers += 1;
                let name = self.name(payment);
                say(format!("gives the hold of {name} to another process (epoch {epoch})"));
                match self.stories.get_mut(payment) {
                    Some(story) if story.stand == Stand::Held => story.epoch = *epoch,
                    _ => self.fail(format!("{name} was taken over and is not held")),
                }
            }
            Event::Operate(_, _, operations) => {
                figures.grouped += u64::from(operations.len() > 1);
                let left: i128 = entry
                    .postings
                    .iter()
                    .filter(|posting| posting.book == Book::Held)
                    .map(|p| p.amount)
                    .sum();
                let mut owed = 0;
                for (operation, _) in operations.iter().filter(|(_, applied)| *applied) {
                    let name = self.name(&operation.payment);
                    // Among others, an operation may be repeated, and then moves nothing.
                    let again = self.stories.get(&operation.payment).filter(|story| match operation.action {
                        Action::Capture => {
                            story.captured == operation.cumulative.0
                                && (story.stand == Stand::Captured || !operation.last)
                        }
                        _ => story.stand == Stand::Voided,
                    });
                    if again.is_some() {
                        continue;
                    }
                    owed += self.stories.get(&operation.payment).map_or(0, |story| story.leaves(operation));
                    match operation.action {
                        Action::Capture if !operation.last => {
                            figures.parts += 1;
                            say(format!("captures {} of {name}, and more to come", operation.cumulative));
                            self.captured(&operation.payment, operation, entry.at, rows);
                        }
                        Action::Capture => {
                            figures.captures += 1;
                            say(format!("captures {} of {name}", operation.cumulative));
                            self.captured(&operation.payment, operation, entry.at, rows);
                        }
                        Action::Void => {
                            figures.voids += 1;
                            say(format!("voids {name}"));
                            self.ended(&operation.payment, Stand::Voided, entry.at);
                        }
                        Action::Refund | Action::Charge => {}
                    }
                }
                if left != -owed {
                    let names: Vec<_> = operations.iter().map(|(op, _)| self.name(&op.payment)).collect();
                    let names = names.join(", ");
                    self.fail(format!(
                        "for {names} {} left the holds where {owed} was held: captured twice",
                        -left
                    ));
                }
            }
            Event::Reclaim(payments) => {
                for payment in payments {
                    figures.reclaims += 1;
                    let name = self.name(payment);
                    say(format!("ends the hold of {name}: its time is over"));
                    self.ended(payment, Stand::Reclaimed, entry.at);
                    if self.stories.get(payment).is_some_and(|story| entry.at <= story.capture_deadline) {
                        self.fail(format!("{name} was reclaimed before its deadline"));
                    }
                }
            }
            _ => {}
        }
    }

    fn held(&mut self, payment: PaymentId, terms: &Terms) {
        let name = self.name(&payment);
        if self.stories.contains_key(&payment) {
            self.fail(format!("{name} was authorized twice"));
        }
        if self.never.contains(&payment) {
            self.fail(format!("{name} was authorized after the ledger said that it never would be"));
        }
        if let Some(other) = self.nonces.insert((terms.payer, terms.nonce), payment) {
            let other = self.name(&other);
            self.fail(format!("{name} and {other} have one nonce, and both were authorized"));
        }
        let later = self.signed.values().find_map(|payments| {
            let at = payments.iter().position(|signed| *signed == payment)?;
            payments.get(at + 1).copied()
        });
        if let Some(later) = later {
            let later = self.name(&later);
            self.fail(format!("{name} landed after its client had signed {later} for the same request"));
        }
        let story = Story {
            payer: terms.payer,
            stand: Stand::Held,
            captured: 0,
            epoch: 1,
            max: i128::try_from(terms.max_amount.0).unwrap_or(i128::MAX),
            delivered: None,
            capture_deadline: terms.capture_deadline,
            ended_at: 0,
        };
        self.stories.insert(payment, story);
    }

    fn captured(&mut self, payment: &PaymentId, operation: &Op, at: u64, rows: &mut MemoryStorage) {
        let name = self.name(payment);
        let Some(story) = self.stories.get_mut(payment) else {
            return self.fail(format!("{name} was captured and never held"));
        };
        let (stand, epoch, before) = (story.stand, story.epoch, story.captured);
        story.captured = operation.cumulative.0;
        if operation.last {
            (story.stand, story.ended_at) = (Stand::Captured, at);
        }
        let undelivered = story.delivered.is_some_and(|delivered| operation.cumulative.0 > delivered);
        if operation.cumulative.0 < before {
            return self.fail(format!("{name} was captured for less than before"));
        }
        if undelivered {
            return self.fail(format!("{name} was captured for more than was delivered"));
        }
        let Some(story) = self.stories.get(payment) else { return };
        let late = at > story.capture_deadline;
        if stand == Stand::Captured {
            return self.fail(format!("{name} was captured twice"));
        }
        if stand != Stand::Held {
            return self.fail(format!("{name} was captured when it was {stand:?}"));
        }
        if late {
            return self.fail(format!("{name} was captured after its deadline"));
        }
        // The stored answer names the run that earned it.
        let answer = rows.get(Table::Answer, &payment.0).ok().flatten().unwrap_or_default();
        let run = run_of(&answer).and_then(|run| self.runs.get(run).cloned());
        if operation.epoch != epoch || run.is_some_and(|run| run.epoch != epoch) {
            self.fail(format!("{name} was captured by an owner that had lost its hold"));
        }
    }

    fn ended(&mut self, payment: &PaymentId, stand: Stand, at: u64) {
        let name = self.name(payment);
        match self.stories.get_mut(payment) {
            Some(story) if story.stand == Stand::Held => {
                // What a stream took stands.
                let stand = if story.captured > 0 { Stand::Captured } else { stand };
                (story.stand, story.ended_at) = (stand, at);
            }
            Some(story) => {
                let was = story.stand;
                self.fail(format!("{name} was ended when it was {was:?}"));
            }
            None => self.fail(format!("{name} was ended and never held")),
        }
    }

    /// A process starts a handler for a payment; returns the run's number.
    pub(crate) fn run_starts(
        &mut self,
        payment: PaymentId,
        host: usize,
        incarnation: u64,
        epoch: u64,
    ) -> usize {
        let name = self.name(&payment);
        if !self.stories.contains_key(&payment) {
            self.fail(format!("a handler runs for {name}, for which nothing is held"));
        }
        let takeovers = self.stories.get(&payment).map_or(0, |story| story.epoch.saturating_sub(1));
        let before = self.runs.iter().filter(|run| run.payment == payment);
        let (count, same) =
            before.fold((0, false), |(count, same), run| (count + 1, same || run.epoch == epoch));
        if count > takeovers || same {
            self.fail(format!("a handler runs for {name} once more, and nobody took it over"));
        }
        self.runs.push(Run { payment, host, incarnation, epoch, end: None });
        self.runs.len() - 1
    }

    /// A handler's run is a stream, of which nothing is delivered yet. There is never a second one.
    pub(crate) fn flows(&mut self, payment: &PaymentId) {
        let name = self.name(payment);
        if self.runs.iter().filter(|run| run.payment == *payment).count() > 1 {
            self.fail(format!("the stream that {name} pays for began once more"));
        }
        if let Some(story) = self.stories.get_mut(payment) {
            story.delivered = Some(0);
        }
    }

    /// A stream has delivered this much in all.
    pub(crate) fn delivers(&mut self, payment: &PaymentId, amount: u128) {
        let name = self.name(payment);
        let Some(story) = self.stories.get_mut(payment) else { return };
        story.delivered = Some(amount);
        if i128::try_from(amount).unwrap_or(i128::MAX) > story.max {
            self.fail(format!("the stream of {name} delivers more than its maximum"));
        }
    }

    pub(crate) fn run_ends(&mut self, run: usize, end: RunEnd, now: u64) {
        if let Some(run) = self.runs.get_mut(run) {
            run.end.get_or_insert((end, now));
        }
    }

    /// A client signs a payment for a logical request, to be authorized up to `valid_before`.
    pub(crate) fn signs(&mut self, errand: &str, payment: PaymentId, valid_before: u64) {
        self.windows.insert(payment, valid_before);
        let before = self.signed.entry(errand.to_owned()).or_default();
        let earlier = before.clone();
        before.push(payment);
        for first in earlier {
            let stand = self.stories.get(&first).map(|story| story.stand);
            if matches!(stand, Some(Stand::Held | Stand::Captured)) {
                let (first, second) = (self.name(&first), self.name(&payment));
                self.fail(format!(
                    "a client signs {second} although {first} for the same request may land or has landed"
                ));
            }
        }
    }

    /// A while after all faults have ended: whoever ran a handler and lives has settled for it.
    /// `now` is in milliseconds.
    pub(crate) fn settled_by_now(&mut self, now: u64, calm_since: u64, alive: impl Fn(usize, u64) -> bool) {
        for run in self.runs.clone() {
            let Some((end, _)) = run.end.filter(|(_, at)| at + A_WHILE < now) else { continue };
            let Some(story) = self.stories.get(&run.payment).cloned() else { continue };
            let owns = run.epoch == story.epoch && alive(run.host, run.incarnation);
            let in_time = story.capture_deadline > calm_since + 2 * SKEW;
            if !owns || !in_time {
                continue;
            }
            let name = self.name(&run.payment);
            let ended_late = story.ended_at + SKEW > story.capture_deadline;
            match end {
                RunEnd::Succeeded
                    if story.delivered.is_some_and(|amount| amount != story.captured) && !ended_late =>
                {
                    self.fail(format!(
                        "a stream delivered more than the {} that {name} paid",
                        story.captured
                    ));
                }
                RunEnd::Succeeded if story.stand != Stand::Captured && !ended_late => {
                    self.fail(format!(
                        "the handler for {name} did its work, and its payment is {:?}",
                        story.stand
                    ));
                }
                RunEnd::Failed | RunEnd::Panicked if story.stand != Stand::Voided && !ended_late => {
                    self.fail(format!("the handler for {name} failed, and its payment is {:?}", story.stand));
                }
                _ => {}
            }
        }
    }

    /// At the very end: every hold has ended, and no handler ran for nothing.
    pub(crate) fn all_over(&mut self) {
        let open: Vec<PaymentId> =
            self.stories.iter().filter(|(_, story)| story.stand == Stand::Held).map(|(id, _)| *id).collect();
        for payment in open {
            let name = self.name(&payment);
            self.fail(format!("the hold of {name} never ended"));
        }
        for run in self.runs.clone() {
            if !self.stories.contains_key(&run.payment) {
                let name = self.name(&run.payment);
                self.fail(format!("a handler ran for {name}, and no capture, void or expiry is known"));
            }
        }
    }
}

/// What a handler writes into its answer, so that the answer names its run.
pub(crate) fn run_mark(run: usize) -> String {
    format!("<run {run}>")
}

fn run_of(answer: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(answer);
    let (_, rest) = text.split_once("<run ")?;
    rest.split_once('>')?.0.parse().ok()
}
