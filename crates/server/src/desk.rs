//! The desk: the payments that are in flight in this process.
//!
//! It is not what makes a payment work once; the ledger's atomic insert is. The desk spares the ledger the
//! duplicates of one process, and keeps what a lost answer of the facilitator left open: the settlement to
//! repeat, so that the handler never runs again for it.

use std::collections::HashMap;

use farthing_protocol::rail::PaymentId;

/// Payments in flight, at most `capacity`. Pure: it has no lock and no clock.
#[derive(Debug)]
pub struct Desk<K> {
    slots: HashMap<PaymentId, Slot<K>>,
    capacity: usize,
}

#[derive(Debug)]
struct Slot<K> {
    /// SHA-256 of the whole signed part, signature included.
    proof: [u8; 32],
    /// Unix seconds after which nothing of it can settle any more.
    until: u64,
    state: State<K>,
}

#[derive(Debug)]
enum State<K> {
    Running,
    Kept(K),
}

/// What the desk says to a payment that comes in.
#[derive(Debug)]
pub enum Entry<K> {
    /// Not in flight until now; whoever was told so must [leave](Desk::leave) or [keep](Desk::keep).
    Fresh,
    /// Being served, or what was kept belongs to a payment with another signature.
    Running,
    /// What was kept for it; taken out, so that nobody else works on it.
    Kept(K),
    /// No room.
    Full,
}

impl<K> Desk<K> {
    /// An empty desk.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { slots: HashMap::new(), capacity }
    }

    /// A payment comes in. `proof` is the SHA-256 of its signed part with the signature: only the payment
    /// that was authorized gets what was kept for it. `until` and `now` are Unix seconds.
    pub fn enter(&mut self, id: PaymentId, proof: [u8; 32], until: u64, now: u64) -> Entry<K> {
        if let Some(slot) = self.slots.get_mut(&id) {
            if slot.proof != proof {
                return Entry::Running;
            }
            return match std::mem::replace(&mut slot.state, State::Running) {
                State::Running => Entry::Running,
                State::Kept(kept) => Entry::Kept(kept),
            };
        }
        if self.slots.len() >= self.capacity {
            self.sweep(now);
        }
        if self.slots.len() >= self.capacity {
            return Entry::Full;
        }
        self.slots.insert(id, Slot { proof, until, state: State::Running });
        Entry::Fresh
    }

    /// Puts aside what is left to do for a payment that is in flight.
    pub fn keep(&mut self, id: PaymentId, kept: K) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.state = State::Kept(kept);
        }
    }

    /// Takes what was put aside, if nobody did meanwhile and it can still settle. `Err` tells whether it
    /// is worth asking again.
    ///
    /// # Errors
    /// [`Gone`] when there is nothing to take.
    pub fn take(&mut self, id: &PaymentId, now: u64) -> Result<K, Gone> {
        let Some(slot) = self.slots.get_mut(id) else { return Err(Gone::ForGood) };
        match std::mem::replace(&mut slot.state, State::Running) {
            State::Running => Err(Gone::ForNow),
            State::Kept(_) if slot.until < now => {
                self.slots.remove(id);
                Err(Gone::ForGood)
            }
            State::Kept(kept) => Ok(kept),
        }
    }

    /// A payment is no longer in flight.
    pub fn leave(&mut self, id: &PaymentId) {
        self.slots.remove(id);
    }

    /// Payments in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no payment is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Drops what was kept for payments that can no longer settle. A running one leaves by itself.
    fn sweep(&mut self, now: u64) {
        self.slots.retain(|_, slot| matches!(slot.state, State::Running) || now <= slot.until);
    }
}

/// Why there was nothing to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Somebody works on it and may put it back.
    ForNow,
    /// It is settled, or can no longer be.
    ForGood,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: PaymentId = PaymentId([1; 32]);
    const PROOF: [u8; 32] = [9; 32];

    #[test]
    fn a_payment_is_fresh_once_until_it_leaves() {
        let mut desk = Desk::<u8>::new(8);
        assert!(matches!(desk.enter(ID, PROOF, 100, 1), Entry::Fresh));
        assert!(matches!(desk.enter(ID, PROOF, 100, 1), Entry::Running));
        desk.leave(&ID);
        assert!(desk.is_empty());
        assert!(matches!(desk.enter(ID, PROOF, 100, 1), Entry::Fresh));
    }

    #[test]
    fn what_was_kept_goes_to_one_and_only_to_the_same_payment() {
        let mut desk = Desk::new(8);
        assert!(matches!(desk.enter(ID, PROOF, 100, 1), Entry::Fresh));
        desk.keep(ID, 7);
        assert!(matches!(desk.enter(ID, [8; 32], 100, 1), Entry::Running));
        assert!(matches!(desk.enter(ID, PROOF, 100, 1), Entry::Kept(7)));
        assert!(matches!(desk.enter(ID, PROOF, 100, 1), Entry::Running));
        assert_eq!(desk.take(&ID, 1), Err(Gone::ForNow));
        desk.keep(ID, 7);
        assert_eq!(desk.take(&ID, 1), Ok(7));
    }

    #[test]
    fn what_can_no_longer_settle_is_dropped() {
        let mut desk = Desk::new(8);
        desk.enter(ID, PROOF, 100, 1);
        desk.keep(ID, 7);
        assert_eq!(desk.take(&ID, 101), Err(Gone::ForGood));
        assert_eq!(desk.take(&ID, 1), Err(Gone::ForGood));
    }

    #[test]
    fn a_full_desk_makes_room_only_by_what_can_no_longer_settle() {
        let mut desk = Desk::new(2);
        let id = |n| PaymentId([n; 32]);
        desk.enter(id(1), PROOF, 100, 1);
        desk.enter(id(2), PROOF, 100, 1);
        desk.keep(id(2), 7);
        assert!(matches!(desk.enter(id(3), PROOF, 900, 100), Entry::Full));
        assert!(matches!(desk.enter(id(3), PROOF, 900, 101), Entry::Fresh));
        assert!(matches!(desk.enter(id(1), PROOF, 100, 101), Entry::Running));
        assert_eq!(desk.len(), 2);
    }
}
