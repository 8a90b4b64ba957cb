//! The record of a payer's passes: what it bought, until when, and by which payments.

use farthing_protocol::layout::{LayoutError, Reader, Writer};
use farthing_protocol::rail::PaymentId;

const DOMAIN: &str = "farthing/pass-record";
const VERSION: u8 = 1;

/// Passes of one payer in one record: plans have names of the seller's making, so there are few.
const PASSES: usize = 64;
/// Bytes of a name.
const NAME_BYTES: usize = 1024;
/// Payments that are remembered of one pass.
const PAYMENTS: usize = 1024;
/// Seconds after which a payment need not be remembered: no network takes it, and nobody answers it, again.
const REPLAYABLE: u64 = 86_400;
/// Seconds that a pass is remembered after its end, so that its holder is told that it is over: 90 days.
const REMEMBERED: u64 = 90 * 86_400;

/// What a payer bought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    passes: Vec<Pass>,
}

/// One of its passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    pub(super) name: String,
    /// Unix seconds at which it was first bought.
    pub(super) since: u64,
    /// Unix seconds: the first at which it is over.
    pub(super) until: u64,
    /// The payments that extended it, and when each did, oldest first.
    payments: Vec<(PaymentId, u64)>,
}

/// What a payment does to a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extended {
    /// It is good until then now.
    Until(u64),
    /// It did so before.
    Before(u64),
    /// Too many payments were made for it in one day to know them all again.
    Full,
}

impl Held {
    pub(super) fn pass(&self, name: &str) -> Option<&Pass> {
        self.passes.iter().find(|pass| pass.name == name)
    }

    /// Whether any pass is good at `now`.
    pub(super) fn any(&self, now: u64) -> bool {
        self.passes.iter().any(|pass| now < pass.until)
    }

    /// A payment buys `length` seconds: from the end of what was bought before, else from now. However often it is
    /// told of, it buys them once.
    pub(super) fn extend(&mut self, name: &str, payment: PaymentId, length: u64, now: u64) -> Extended {
        self.passes.retain(|pass| pass.name == name || now < pass.until.saturating_add(REMEMBERED));
        if self.pass(name).is_none() {
            if self.passes.len() >= PASSES || name.len() > NAME_BYTES {
                return Extended::Full;
            }
            let payments = Vec::new();
            self.passes.push(Pass { name: name.to_owned(), since: now, until: now, payments });
        }
        let there = self.passes.iter_mut().find(|pass| pass.name == name);
        let Some(pass) = there else { return Extended::Full };
        if pass.payments.iter().any(|(known, _)| *known == payment) {
            return Extended::Before(pass.until);
        }
        if pass.payments.len() >= PAYMENTS {
            pass.payments.retain(|(_, at)| now < at.saturating_add(REPLAYABLE));
        }
        if pass.payments.len() >= PAYMENTS {
            return Extended::Full;
        }
        pass.payments.push((payment, now));
        pass.until = pass.until.max(now).saturating_add(length);
        Extended::Until(pass.until)
    }

    /// Unix seconds after which the record is of no use.
    pub(super) fn kept_until(&self) -> u64 {
        self.passes.iter().map(|pass| pass.until).max().unwrap_or(0).saturating_add(REMEMBERED)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut layout = Writer::new(DOMAIN, VERSION).u32(self.passes.len() as u32);
        for pass in &self.passes {
            layout = layout.var(pass.name.as_bytes()).u64(pass.since).u64(pass.until);
            layout = layout.u32(pass.payments.len() as u32);
            for (payment, at) in &pass.payments {
                layout = layout.fixed(&payment.0).u64(*at);
            }
        }
        layout.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::open(bytes, DOMAIN, VERSION)?;
        let count = |number: u32, most: usize, field| {
            let number = number as usize;
            if number <= most { Ok(number) } else { Err(LayoutError::Value { field }) }
        };
        let mut passes = Vec::new();
        for _ in 0..count(reader.u32()?, PASSES, "passes")? {
            let name = std::str::from_utf8(reader.var(NAME_BYTES)?);
            let name = name.map_err(|_| LayoutError::Value { field: "name" })?.to_owned();
            let (since, until) = (reader.u64()?, reader.u64()?);
            let mut payments = Vec::new();
            for _ in 0..count(reader.u32()?, PAYMENTS, "payments")? {
                payments.push((PaymentId(reader.fixed()?), reader.u64()?));
            }
            passes.push(Pass { name, since, until, payments });
        }
        reader.finish()?;
        Ok(Self { passes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> PaymentId {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        PaymentId(id)
    }

    #[test]
    fn a_payment_extends_a_pass_once_and_a_renewal_adds_to_what_is_left() {
        let mut held = Held::default();
        assert_eq!(held.extend("pro", id(1), 100, 1000), Extended::Until(1100));
        assert_eq!(held.extend("pro", id(1), 100, 1050), Extended::Before(1100));
        assert_eq!(held.extend("pro", id(2), 100, 1050), Extended::Until(1200), "early");
        assert_eq!(held.extend("pro", id(1), 100, 1060), Extended::Before(1200));
        assert_eq!(held.extend("pro", id(3), 100, 5000), Extended::Until(5100), "late");
        assert_eq!(held.extend("pro", id(2), 100, 9000), Extended::Before(5100));
        let pass = held.pass("pro").unwrap();
        assert_eq!((pass.since, pass.until), (1000, 5100));
        assert!(held.any(5099) && !held.any(5100) && held.pass("basic").is_none());
        assert_eq!(
            held.extend("basic", id(1), 7, 5000),
            Extended::Until(5007),
            "another plan by the same payment"
        );
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_nothing_else_is() {
        let mut held = Held::default();
        held.extend("pro", id(1), 100, 1000);
        held.extend("basic", id(2), 50, 1000);
        held.extend("pro", id(3), 100, 1001);
        let bytes = held.encode();
        assert_eq!(Held::decode(&bytes), Ok(held.clone()));
        for cut in 0..bytes.len() {
            assert!(Held::decode(&bytes[..cut]).is_err(), "{cut}");
        }
        assert_eq!(Held::decode(&[&bytes[..], &[0]].concat()), Err(LayoutError::Trailing));
        assert_eq!(held.kept_until(), 1200 + REMEMBERED);
    }

    #[test]
    fn payments_are_forgotten_only_when_they_are_too_old_to_be_answered_again() {
        let mut held = Held::default();
        let most = PAYMENTS as u32;
        for number in 0..most {
            assert!(matches!(held.extend("pro", id(number), 1, 1000), Extended::Until(_)));
        }
        assert_eq!(held.extend("pro", id(most), 1, 1000 + REPLAYABLE - 1), Extended::Full);
        assert!(matches!(held.extend("pro", id(0), 1, 1000 + REPLAYABLE - 1), Extended::Before(_)));
        assert!(matches!(held.extend("pro", id(most), 1, 1000 + REPLAYABLE), Extended::Until(_)));
        assert!(held.encode().len() < farthing_protocol::records::VALUE_BYTES);
    }

    #[test]
    fn a_payer_has_a_limited_number_of_plans() {
        let mut held = Held::default();
        for number in 0..PASSES as u32 {
            assert!(matches!(
                held.extend(&format!("plan {number}"), id(number), 1, 1000),
                Extended::Until(_)
            ));
        }
        assert_eq!(held.extend("one more", id(7777), 1, 1000), Extended::Full);
        let later = 1001 + REMEMBERED;
        assert!(
            matches!(held.extend("one more", id(7777), 1, later), Extended::Until(_)),
            "old ones are dropped"
        );
        let long = "x".repeat(NAME_BYTES + 1);
        assert_eq!(held.extend(&long, id(1), 1, later), Extended::Full);
    }
}
