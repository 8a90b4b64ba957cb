//! The search for an order that explains a history: Wing and Gong's, with the states that were tried
//! remembered as Lowe does.
//!
//! Two shortcuts keep it small, and neither loses an explanation. An answered operation that fits the state
//! and does not change it is placed at once: whatever explanation places it later still holds when it is moved
//! forward. An operation of unknown outcome is tried only where it changes the state.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use farthing::protocol::PublicKey;

use super::account::Account;
use super::record::{Event, History, Outcome, Step};

/// States after which the search for one account gives up.
const TOO_MANY: usize = 2_000_000;

/// How much a check explained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explained {
    /// Payers.
    pub accounts: usize,
    /// Operations, those of unknown outcome among them.
    pub operations: usize,
    /// Operations of unknown outcome.
    pub unknown: usize,
    /// States that the search went through.
    pub states: usize,
}

/// A history that no order explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The payer.
    pub account: PublicKey,
    /// What the best attempt reached, line by line.
    pub trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no order explains the history of {}", self.account)?;
        self.trace.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

impl std::error::Error for Violation {}

impl History {
    /// Looks for an order that explains it, payer by payer.
    ///
    /// # Errors
    /// [`Violation`], when there is none for one payer, or none was found among two million states.
    pub fn check(&self) -> Result<Explained, Violation> {
        let mut accounts: BTreeMap<PublicKey, Vec<Event>> = BTreeMap::new();
        for event in &self.events {
            accounts.entry(event.account).or_default().push(*event);
        }
        let mut explained = Explained { accounts: accounts.len(), ..Explained::default() };
        for (account, mut events) in accounts {
            events.sort_by_key(|event| event.sent);
            explained.operations += events.len();
            explained.unknown += events.iter().filter(|event| event.answered.is_none()).count();
            let opening = self.opening.get(&account).copied().unwrap_or(0);
            let search = Search::new(&events);
            explained.states +=
                search.run(Account::opened(opening)).map_err(|trace| Violation { account, trace })?;
        }
        Ok(explained)
    }
}

/// Operations that were placed, and the account after them.
#[derive(Clone)]
struct Placed {
    /// A bit for each operation.
    done: Vec<u64>,
    /// The first operation that is not placed.
    first: usize,
    /// Answered operations that are not placed.
    left: usize,
    account: Account,
}

struct Search<'a> {
    /// By the moment in which they were sent.
    events: &'a [Event],
    seen: HashSet<(u64, u64)>,
    /// The attempt that placed the most.
    best: Option<Placed>,
}

impl<'a> Search<'a> {
    fn new(events: &'a [Event]) -> Self {
        Self { events, seen: HashSet::new(), best: None }
    }

    /// The number of states that it took, or the trace of the best attempt.
    fn run(mut self, account: Account) -> Result<usize, Vec<String>> {
        let left = self.events.iter().filter(|event| event.answered.is_some()).count();
        let done = vec![0; self.events.len().div_ceil(64)];
        let mut open = vec![Placed { done, first: 0, left, account }];
        while let Some(mut placed) = open.pop() {
            self.place_what_fits(&mut placed);
            if placed.left == 0 {
                return Ok(self.seen.len());
            }
            if !self.seen.insert(placed.fingerprint()) {
                continue;
            }
            if self.seen.len() > TOO_MANY {
                return Err(self.trace("given up: too many states"));
            }
            if self.best.as_ref().is_none_or(|best| placed.left < best.left) {
                self.best = Some(placed.clone());
            }
            self.branch(&placed, &mut open);
        }
        Err(self.trace("every attempt ends"))
    }

    /// Places every answered operation that may come next, fits, and changes nothing.
    fn place_what_fits(&self, placed: &mut Placed) {
        loop {
            let fits = self.next(placed).into_iter().find(|at| {
                let event = &self.events[*at];
                event.answered.is_some_and(|(_, outcome)| {
                    placed
                        .account
                        .answers(&event.step)
                        .iter()
                        .any(|(o, after)| *o == outcome && after.is_none())
                })
            });
            match fits {
                Some(at) => placed.place(at, true),
                None => return,
            }
        }
    }

    /// Pushes each state that one more operation leads to; the likeliest last, to be tried first.
    fn branch(&self, placed: &Placed, open: &mut Vec<Placed>) {
        let mut tried: Vec<Step> = Vec::new();
        let (known, unknown): (Vec<usize>, Vec<usize>) =
            self.next(placed).into_iter().partition(|at| self.events[*at].answered.is_some());
        let mut likely = Vec::new();
        for at in known.iter().chain(&unknown) {
            let event = &self.events[*at];
            let outcome = event.answered.map(|(_, outcome)| outcome);
            if outcome.is_none() {
                // The same operation sent twice without an answer: either will do.
                if tried.contains(&event.step) {
                    continue;
                }
                tried.push(event.step);
            }
            for (answer, after) in placed.account.answers(&event.step) {
                let Some(account) = after.filter(|_| outcome.is_none_or(|outcome| outcome == answer)) else {
                    continue;
                };
                let mut next = Placed { account, ..placed.clone() };
                next.place(*at, outcome.is_some());
                likely.push(next);
            }
        }
        open.extend(likely.into_iter().rev());
    }

    /// Operations that may come next: nothing that is not placed was answered before they were sent.
    fn next(&self, placed: &Placed) -> Vec<usize> {
        let mut next = Vec::new();
        let mut first_answer = u64::MAX;
        for at in placed.first..self.events.len() {
            let event = &self.events[at];
            if event.sent > first_answer {
                break;
            }
            if placed.has(at) {
                continue;
            }
            first_answer = first_answer.min(event.answered.map_or(u64::MAX, |(moment, _)| moment));
            next.push(at);
        }
        next
    }

    fn trace(&self, end: &str) -> Vec<String> {
        let Some(best) = &self.best else { return vec![end.to_owned()] };
        let answered = self.events.iter().filter(|event| event.answered.is_some()).count();
        let mut lines = vec![format!(
            "{end}; the best explains {} of {answered} answers ({} operations, {} states)",
            answered - best.left,
            self.events.len(),
            self.seen.len()
        )];
        lines.push(format!("the account then: balance {}", best.account.balance));
        for (payment, slot) in &best.account.payments {
            lines.push(format!("  {payment}: {:?}, maximum {}", slot.status, slot.pays.maximum));
        }
        for at in self.next(best) {
            let event = &self.events[at];
            let would: Vec<Outcome> =
                best.account.answers(&event.step).into_iter().map(|(outcome, _)| outcome).collect();
            lines.push(match event.answered {
                Some((moment, outcome)) => format!(
                    "sent at {}, answered at {moment}: {:?} -> {outcome:?}, where {would:?} fits",
                    event.sent, event.step
                ),
                None => format!("sent at {}, never answered: {:?}", event.sent, event.step),
            });
        }
        lines
    }
}

impl Placed {
    fn has(&self, at: usize) -> bool {
        self.done[at / 64] & (1 << (at % 64)) != 0
    }

    fn place(&mut self, at: usize, answered: bool) {
        self.done[at / 64] |= 1 << (at % 64);
        self.left -= usize::from(answered);
        while self.first < self.done.len() * 64 && self.has(self.first) {
            self.first += 1;
        }
    }

    /// 128 bits of what was placed and what came of it, instead of a copy of both.
    fn fingerprint(&self) -> (u64, u64) {
        let hash = |salt: u64| {
            let mut hasher = DefaultHasher::new();
            (salt, &self.done, &self.account).hash(&mut hasher);
            hasher.finish()
        };
        (hash(0), hash(1))
    }
}
