//! The answers of one process that are paid for while they flow: to end them before it stops.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::body::Tap;
use super::gauge::Gauge;
use super::machine::End;

/// Those that flow. Ended ones are forgotten when there are twice as many as flowed the last time.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<Flowing>);

#[derive(Debug, Default)]
struct Flowing {
    gauges: Vec<Weak<Gauge>>,
    /// As many as are kept before it is looked again which of them still flow.
    room: usize,
    /// The process stops: none begins.
    over: bool,
}

const ROOM: usize = 64;

impl Streams {
    fn lock(&self) -> MutexGuard<'_, Flowing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One begins.
    pub(crate) fn add(&self, tap: &Tap) {
        let mut flowing = self.lock();
        if flowing.over {
            drop(flowing);
            return tap.gauge().end(End::Stopped);
        }
        if flowing.gauges.len() >= flowing.room {
            flowing.gauges.retain(|gauge| gauge.strong_count() > 0);
            flowing.room = ROOM.max(flowing.gauges.len() * 2);
        }
        flowing.gauges.push(Arc::downgrade(tap.gauge()));
    }

    /// Ends all, and those that begin later.
    pub(crate) fn end(&self) {
        let gauges = {
            let mut flowing = self.lock();
            flowing.over = true;
            std::mem::take(&mut flowing.gauges)
        };
        gauges.iter().filter_map(Weak::upgrade).for_each(|gauge| gauge.end(End::Stopped));
    }
}
