//! The meter of one answer, as a state machine without I/O: what may still be delivered, and what is to be
//! captured when.
//!
//! | event | what it does |
//! |---|---|
//! | [`reserve`](Metering::reserve), [`spend`](Metering::spend), [`release`](Metering::release) | usage, by whoever delivers |
//! | [`end`](Metering::end) | nothing more is delivered |
//! | [`next`](Metering::next) | what to do now: capture, wait, or close |
//! | [`part`](Metering::part) | what became of a capture |
//!
//! Amounts are atomic units, cumulative over the payment. At no time is more used and reserved together than
//! the maximum; at most one capture is under way; what is captured never shrinks. Time is Unix seconds.

use farthing_protocol::Amount;

/// Pauses, in seconds, before a capture is repeated whose outcome is unknown.
const FIRST_PAUSE: u64 = 1;
const LONGEST_PAUSE: u64 = 30;

/// What a meter goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most that can be captured.
    pub max: Amount,
    /// What is used is captured when it is this much.
    pub interval: Amount,
    /// And this many seconds after it was used, when it is less.
    pub seconds: u64,
}

/// The meter of one answer.
#[derive(Clone, Debug)]
pub struct Metering {
    limits: Limits,
    /// The answer flows: it is captured while it does.
    flows: bool,
    /// Unix seconds after which nothing is delivered any more.
    until: u64,
    used: u128,
    reserved: u128,
    captured: u128,
    /// Since when something is used and not captured.
    since: Option<u64>,
    asked: Option<u128>,
    again: Option<Again>,
    end: Option<End>,
}

/// A capture whose outcome is unknown.
#[derive(Clone, Copy, Debug)]
struct Again {
    amount: u128,
    at: u64,
    pause: u64,
}

/// Whether something may be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Granted,
    /// After the next capture.
    Wait,
    /// The maximum does not cover it.
    Full,
    /// The answer is over.
    Over,
}

/// How much may be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Atomic units that the maximum still covers.
    pub left: u128,
    /// Atomic units that may be used before the next capture; zero: wait for it.
    pub soon: u128,
}

/// Why nothing more is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The handler came to its end.
    Complete,
    /// The maximum is used up.
    Exhausted,
    /// The client went away.
    Gone,
    /// The handler failed in the middle.
    Broke,
    /// The answer took as long as one may.
    Late,
    /// A capture was refused.
    Refused,
    /// The server stops.
    Stopped,
}

impl End {
    /// The word for it in `extra.ended` of the final settlement.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Exhausted => "exhausted",
            Self::Gone => "client-gone",
            Self::Broke => "failed",
            Self::Late => "deadline",
            Self::Refused => "capture-refused",
            Self::Stopped => "server-stopping",
        }
    }
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Capture this much, cumulative, and say what became of it.
    Capture(Amount),
    /// A capture is under way.
    Busy,
    /// Nothing, for this many seconds or until something is used.
    Wait(u64),
    /// Capture the rest and end the hold; or give it back, when nothing was used or nothing can be taken.
    Close(Figures),
}

/// Where a meter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Delivered.
    pub used: Amount,
    /// Captured, as far as is known.
    pub captured: Amount,
    /// A capture may have happened of which nobody knows.
    pub is_unsure: bool,
    /// Why nothing more is delivered.
    pub end: End,
}

/// What became of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It happened.
    Taken,
    /// Nobody knows: the same is asked for again.
    Unknown,
    /// It did not, and will not.
    Refused,
}

impl Metering {
    /// Nothing used, and nothing flows yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let interval = Amount(limits.interval.0.max(1));
        Self {
            limits: Limits { interval, ..limits },
            flows: false,
            until: u64::MAX,
            used: 0,
            reserved: 0,
            captured: 0,
            since: None,
            asked: None,
            again: None,
            end: None,
        }
    }

    /// The answer begins to flow, and is over at `until`.
    pub fn flow(&mut self, until: u64) {
        (self.flows, self.until) = (true, until);
    }

    /// What was used, in atomic units.
    #[must_use]
    pub fn used(&self) -> Amount {
        Amount(self.used)
    }

    /// How much may be delivered now; `None` when the answer is over.
    #[must_use]
    pub fn room(&self) -> Option<Room> {
        if self.end.is_some() {
            return None;
        }
        let open = self.used - self.captured;
        let soon = match self.flows {
            true => self.limits.interval.0.saturating_mul(2).saturating_sub(open),
            false => u128::MAX,
        };
        Some(Room { left: self.limits.max.0 - self.used - self.reserved, soon })
    }

    /// Asks for cover before something is delivered that costs this much.
    pub fn reserve(&mut self, cost: u128) -> Verdict {
        match self.room() {
            None => Verdict::Over,
            Some(room) if cost > room.left => Verdict::Full,
            Some(room) if room.soon == 0 => Verdict::Wait,
            Some(_) => {
                self.reserved += cost;
                Verdict::Granted
            }
        }
    }

    /// What was reserved is delivered.
    pub fn spend(&mut self, cost: u128) {
        let cost = cost.min(self.reserved);
        self.reserved -= cost;
        self.used += cost;
    }

    /// What was reserved is not delivered.
    pub fn release(&mut self, cost: u128) {
        self.reserved = self.reserved.saturating_sub(cost);
    }

    /// Nothing more is delivered. The first reason stands.
    pub fn end(&mut self, why: End) {
        if self.end.is_none() {
            (self.end, self.reserved) = (Some(why), 0);
        }
    }

    /// Whether [`next`](Self::next) has something new to say before its time is over.
    #[must_use]
    pub fn is_due(&self) -> bool {
        let open = self.used - self.captured;
        let begins = open > 0 && self.since.is_none();
        self.asked.is_none()
            && (self.end.is_some() || begins || (self.again.is_none() && open >= self.limits.interval.0))
    }

    /// What to do now.
    pub fn next(&mut self, now: u64) -> Next {
        if now >= self.until {
            self.end(End::Late);
        }
        if self.asked.is_some() {
            return Next::Busy;
        }
        if let Some(end) = self.end {
            let (used, captured) = (Amount(self.used), Amount(self.captured));
            return Next::Close(Figures { used, captured, is_unsure: self.again.is_some(), end });
        }
        let left = self.until - now;
        if let Some(again) = self.again {
            if now >= again.at {
                return self.ask(again.amount);
            }
            return Next::Wait(left.min(again.at - now));
        }
        let open = self.used - self.captured;
        if open == 0 {
            self.since = None;
            return Next::Wait(left);
        }
        let due = self.since.get_or_insert(now).saturating_add(self.limits.seconds);
        if open >= self.limits.interval.0 || now >= due {
            return self.ask(self.used);
        }
        Next::Wait(left.min(due - now))
    }

    fn ask(&mut self, amount: u128) -> Next {
        self.asked = Some(amount);
        Next::Capture(Amount(amount))
    }

    /// What became of the capture that is under way.
    pub fn part(&mut self, part: Part, now: u64) {
        let Some(amount) = self.asked.take() else { return };
        match part {
            Part::Taken => {
                self.captured = amount;
                self.again = None;
                self.since = (self.used > amount).then_some(now);
            }
            Part::Unknown => {
                let pause = self.again.map_or(FIRST_PAUSE, |again| LONGEST_PAUSE.min(again.pause * 2));
                self.again = Some(Again { amount, at: now.saturating_add(pause), pause });
            }
            Part::Refused => {
                // What was asked for before may still have happened.
                self.end(End::Refused);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(max: u128, interval: u128) -> Metering {
        let limits = Limits { max: Amount(max), interval: Amount(interval), seconds: 5 };
        let mut meter = Metering::new(limits);
        meter.flow(1_000);
        meter
    }

    fn use_up(meter: &mut Metering, cost: u128) -> Verdict {
        let verdict = meter.reserve(cost);
        if verdict == Verdict::Granted {
            meter.spend(cost);
        }
        verdict
    }

    #[test]
    fn what_is_used_is_captured_every_interval_or_five_seconds() {
        let mut meter = meter(100, 10);
        assert_eq!(meter.next(0), Next::Wait(1_000));
        assert_eq!(use_up(&mut meter, 4), Verdict::Granted);
        assert!(meter.is_due());
        assert_eq!(meter.next(7), Next::Wait(5));
        assert!(!meter.is_due());
        assert_eq!(meter.next(11), Next::Wait(1));
        assert_eq!(meter.next(12), Next::Capture(Amount(4)));
        assert_eq!(meter.next(30), Next::Busy);
        meter.part(Part::Taken, 12);
        assert_eq!(meter.next(12), Next::Wait(988));
        assert_eq!(use_up(&mut meter, 10), Verdict::Granted);
        assert_eq!(meter.next(13), Next::Capture(Amount(14)));
    }

    #[test]
    fn usage_waits_when_twice_the_interval_is_not_captured() {
        let mut meter = meter(100, 10);
        assert_eq!(use_up(&mut meter, 10), Verdict::Granted);
        assert_eq!(meter.next(0), Next::Capture(Amount(10)));
        assert_eq!(use_up(&mut meter, 10), Verdict::Granted);
        assert_eq!(use_up(&mut meter, 1), Verdict::Wait);
        meter.part(Part::Taken, 0);
        assert_eq!(use_up(&mut meter, 1), Verdict::Granted);
    }

    #[test]
    fn the_maximum_is_reached_exactly_and_never_passed() {
        let mut meter = meter(10, 100);
        assert_eq!(use_up(&mut meter, 9), Verdict::Granted);
        assert_eq!(use_up(&mut meter, 2), Verdict::Full);
        assert_eq!(use_up(&mut meter, 1), Verdict::Granted);
        assert_eq!(use_up(&mut meter, 1), Verdict::Full);
        assert_eq!(meter.room(), Some(Room { left: 0, soon: 190 }));
        meter.end(End::Exhausted);
        assert_eq!(use_up(&mut meter, 0), Verdict::Over);
        let (used, captured) = (Amount(10), Amount(0));
        let figures = Figures { used, captured, is_unsure: false, end: End::Exhausted };
        assert_eq!(meter.next(1), Next::Close(figures));
    }

    #[test]
    fn an_unknown_capture_is_repeated_with_the_same_amount_while_usage_goes_on() {
        let mut meter = meter(100, 10);
        use_up(&mut meter, 10);
        assert_eq!(meter.next(0), Next::Capture(Amount(10)));
        meter.part(Part::Unknown, 0);
        use_up(&mut meter, 5);
        for (now, pause) in [(0, 1), (1, 2), (3, 4), (7, 8)] {
            if now > 0 {
                assert_eq!(meter.next(now), Next::Capture(Amount(10)), "{now}");
                meter.part(Part::Unknown, now);
            }
            assert_eq!(meter.next(now), Next::Wait(pause), "{now}");
        }
        assert_eq!(meter.next(15), Next::Capture(Amount(10)));
        meter.part(Part::Taken, 15);
        assert_eq!(meter.next(15), Next::Wait(5));
        assert_eq!(meter.next(20), Next::Capture(Amount(15)));
    }

    #[test]
    fn a_refused_capture_and_the_deadline_end_the_answer() {
        let mut refused = meter(100, 10);
        use_up(&mut refused, 10);
        assert_eq!(refused.next(0), Next::Capture(Amount(10)));
        refused.part(Part::Refused, 0);
        assert_eq!(use_up(&mut refused, 1), Verdict::Over);
        assert!(matches!(
            refused.next(0),
            Next::Close(Figures { captured: Amount(0), end: End::Refused, .. })
        ));

        let mut late = meter(100, 10);
        use_up(&mut late, 1);
        assert_eq!(late.next(998), Next::Wait(2));
        assert!(matches!(late.next(1_000), Next::Close(Figures { used: Amount(1), end: End::Late, .. })));
        assert_eq!(use_up(&mut late, 1), Verdict::Over);
    }

    #[test]
    fn what_was_reserved_and_not_delivered_is_not_used() {
        let mut meter = meter(10, 5);
        assert_eq!(meter.reserve(10), Verdict::Granted);
        assert_eq!(meter.reserve(1), Verdict::Full);
        meter.release(10);
        assert_eq!(meter.reserve(7), Verdict::Granted);
        meter.end(End::Gone);
        meter.spend(7);
        assert!(matches!(meter.next(0), Next::Close(Figures { used: Amount(0), end: End::Gone, .. })));
    }

    #[test]
    fn an_answer_that_does_not_flow_is_not_captured_on_its_way() {
        let limits = Limits { max: Amount(1_000), interval: Amount(1), seconds: 5 };
        let mut meter = Metering::new(limits);
        for _ in 0..10 {
            assert_eq!(use_up(&mut meter, 100), Verdict::Granted);
        }
        assert_eq!(use_up(&mut meter, 1), Verdict::Full);
        assert_eq!(meter.used(), Amount(1_000));
    }
}
