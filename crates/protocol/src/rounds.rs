//! Rounds: work that costs less for many at once than for each by itself.
//!
//! Whoever comes while nothing is under way does the work; whoever comes meanwhile waits, and is served
//! together with all others who wait in the next round. No timer, no task and no runtime are needed: one of
//! the callers does the work for all of a round, and hands over to one who waits when it is done.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// What waits to be done in rounds. `T` goes in, `R` comes out.
pub struct Rounds<T, R> {
    line: Mutex<Line<T, R>>,
    /// The most that one round takes, as the sum of weights.
    most: usize,
}

struct Line<T, R> {
    /// Somebody leads: does the work of a round, or is about to.
    led: bool,
    waiting: VecDeque<Waiting<T, R>>,
}

struct Waiting<T, R> {
    item: T,
    weight: usize,
    place: Arc<Mutex<Place<R>>>,
}

/// Where one caller stands.
enum Place<R> {
    Waits(Option<Waker>),
    /// It does the work of the next round.
    Leads,
    Done(R),
    /// Whoever worked for it stopped in the middle.
    Lost,
}

impl<T, R> std::fmt::Debug for Rounds<T, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rounds").field("most", &self.most).finish_non_exhaustive()
    }
}

impl<T, R> Rounds<T, R> {
    /// Rounds of items whose weights add up to at most `most`; one item that is heavier goes alone.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { line: Mutex::new(Line { led: false, waiting: VecDeque::new() }), most }
    }

    /// Adds `item` to a round, and returns what became of it. `work` is given the items of a round and gives
    /// one result for each, in their order; one caller's is used for all of a round.
    ///
    /// `None` when the caller whose `work` it was stopped in the middle: nobody knows how far it came. An
    /// item whose caller stops while it waits is taken out.
    pub async fn join<W, F>(&self, item: T, weight: usize, work: W) -> Option<R>
    where
        W: FnOnce(Vec<T>) -> F,
        F: Future<Output = Vec<R>>,
    {
        let seat = self.take_seat(item, weight);
        if let Some(ended) = seat.turn().await {
            return ended;
        }
        // Whoever is ready now comes along.
        rest().await;
        let (items, round) = self.begin(seat);
        let results = pin!(work(items)).await;
        round.end(results)
    }

    fn take_seat(&self, item: T, weight: usize) -> Seat<'_, T, R> {
        let mut line = self.line();
        let place = if line.led { Place::Waits(None) } else { Place::Leads };
        line.led = true;
        let place = Arc::new(Mutex::new(place));
        line.waiting.push_back(Waiting { item, weight, place: place.clone() });
        Seat { rounds: self, place }
    }

    /// Takes the items of one round. The leader's own is the first of all.
    fn begin(&self, seat: Seat<'_, T, R>) -> (Vec<T>, Round<'_, T, R>) {
        let mut line = self.line();
        let (mut items, mut places, mut weight) = (Vec::new(), Vec::new(), 0);
        while let Some(next) = line.waiting.front() {
            weight += next.weight;
            if weight > self.most && !items.is_empty() {
                break;
            }
            if let Some(Waiting { item, place, .. }) = line.waiting.pop_front() {
                items.push(item);
                places.push(place);
            }
        }
        *lock(&seat.place) = Place::Lost;
        (items, Round { rounds: self, places })
    }

    fn line(&self) -> MutexGuard<'_, Line<T, R>> {
        lock(&self.line)
    }
}

impl<T, R> Line<T, R> {
    /// Whoever waits longest leads next.
    fn hand_over(&mut self) {
        match self.waiting.front() {
            Some(next) => set(&next.place, Place::Leads),
            None => self.led = false,
        }
    }
}

/// A caller in the line.
struct Seat<'a, T, R> {
    rounds: &'a Rounds<T, R>,
    place: Arc<Mutex<Place<R>>>,
}

impl<T, R> Seat<'_, T, R> {
    /// Waits for its turn; `None` to lead, or what became of its item.
    async fn turn(&self) -> Option<Option<R>> {
        poll_fn(|context| {
            let mut place = lock(&self.place);
            match std::mem::replace(&mut *place, Place::Lost) {
                Place::Waits(_) => {
                    *place = Place::Waits(Some(context.waker().clone()));
                    Poll::Pending
                }
                Place::Leads => {
                    *place = Place::Leads;
                    Poll::Ready(None)
                }
                Place::Done(result) => Poll::Ready(Some(Some(result))),
                Place::Lost => Poll::Ready(Some(None)),
            }
        })
        .await
    }
}

impl<T, R> Drop for Seat<'_, T, R> {
    fn drop(&mut self) {
        let mut line = self.rounds.line();
        let leads = match &*lock(&self.place) {
            Place::Waits(_) => false,
            Place::Leads => true,
            Place::Done(_) | Place::Lost => return,
        };
        line.waiting.retain(|waiting| !Arc::ptr_eq(&waiting.place, &self.place));
        if leads {
            line.hand_over();
        }
    }
}

/// A round under way. However it ends, everybody in it is told, and the next may begin.
struct Round<'a, T, R> {
    rounds: &'a Rounds<T, R>,
    places: Vec<Arc<Mutex<Place<R>>>>,
}

impl<T, R> Round<'_, T, R> {
    /// Tells the others; returns the leader's own result.
    fn end(mut self, results: Vec<R>) -> Option<R> {
        let mut results = results.into_iter();
        let own = results.next();
        for (place, result) in
            self.places.drain(..).skip(1).zip(results.map(Some).chain(std::iter::repeat_with(|| None)))
        {
            set(&place, result.map_or(Place::Lost, Place::Done));
        }
        own
    }
}

impl<T, R> Drop for Round<'_, T, R> {
    fn drop(&mut self) {
        self.places.drain(..).for_each(|place| set(&place, Place::Lost));
        self.rounds.line().hand_over();
    }
}

fn set<R>(place: &Mutex<Place<R>>, to: Place<R>) {
    if let Place::Waits(Some(waker)) = std::mem::replace(&mut *lock(place), to) {
        waker.wake();
    }
}

/// No step here can panic half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets everything else that is ready go first, once.
pub async fn rest() {
    let mut rested = false;
    poll_fn(|context| {
        if std::mem::replace(&mut rested, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::pin::Pin;
    use std::task::Context;

    use super::*;

    type Joining<'a> = Pin<Box<dyn Future<Output = Option<u32>> + 'a>>;

    /// Rounds whose work waits for `open`, and that are written down.
    struct World {
        rounds: Rounds<u32, u32>,
        seen: RefCell<Vec<Vec<u32>>>,
        open: RefCell<bool>,
    }

    impl World {
        fn new(most: usize) -> Self {
            Self { rounds: Rounds::new(most), seen: RefCell::default(), open: RefCell::new(false) }
        }

        fn join(&self, item: u32) -> Joining<'_> {
            Box::pin(self.rounds.join(item, 1, move |items| async move {
                self.seen.borrow_mut().push(items.clone());
                poll_fn(|_| if *self.open.borrow() { Poll::Ready(()) } else { Poll::Pending }).await;
                items.iter().map(|item| item * 10).collect()
            }))
        }
    }

    fn poll(joining: &mut Joining<'_>) -> Poll<Option<u32>> {
        joining.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    fn pending(joining: &mut Joining<'_>) {
        assert!(poll(joining).is_pending());
    }

    #[test]
    fn who_comes_alone_is_served_alone_and_who_waits_is_served_together() {
        let world = World::new(8);
        let mut all: Vec<_> = (0..4).map(|item| world.join(item)).collect();
        // The first leads, rests and begins; only then do the others come.
        pending(&mut all[0]);
        pending(&mut all[0]);
        all[1..].iter_mut().for_each(pending);
        assert_eq!(*world.seen.borrow(), [vec![0]]);
        *world.open.borrow_mut() = true;
        assert_eq!(poll(&mut all[0]), Poll::Ready(Some(0)));
        pending(&mut all[1]);
        assert_eq!(poll(&mut all[1]), Poll::Ready(Some(10)));
        assert_eq!(*world.seen.borrow(), [vec![0], vec![1, 2, 3]]);
        assert_eq!(poll(&mut all[3]), Poll::Ready(Some(30)));
        assert_eq!(poll(&mut all[2]), Poll::Ready(Some(20)));
        // And the next finds nobody who leads.
        let mut last = world.join(9);
        pending(&mut last);
        assert_eq!(poll(&mut last), Poll::Ready(Some(90)));
    }

    #[test]
    fn a_round_takes_no_more_than_its_weight_and_the_lead_is_handed_on() {
        let world = World::new(2);
        *world.open.borrow_mut() = true;
        let mut all: Vec<_> = (0..5).map(|item| world.join(item)).collect();
        all.iter_mut().for_each(pending);
        for leader in [0, 2, 4] {
            if leader > 0 {
                pending(&mut all[leader]);
            }
            assert_eq!(poll(&mut all[leader]), Poll::Ready(Some(leader as u32 * 10)));
        }
        assert_eq!(*world.seen.borrow(), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(poll(&mut all[3]), Poll::Ready(Some(30)));
    }

    #[test]
    fn one_that_is_too_heavy_goes_alone() {
        let world = World::new(0);
        *world.open.borrow_mut() = true;
        let mut one = world.join(1);
        pending(&mut one);
        assert_eq!(poll(&mut one), Poll::Ready(Some(10)));
    }

    #[test]
    fn a_leader_that_stops_loses_its_round_and_nothing_else() {
        let world = World::new(2);
        let mut all: Vec<_> = (0..3).map(|item| world.join(item)).collect();
        all.iter_mut().for_each(pending);
        pending(&mut all[0]);
        assert_eq!(*world.seen.borrow(), [vec![0, 1]]);
        drop(all.remove(0));
        assert_eq!(poll(&mut all[0]), Poll::Ready(None));
        *world.open.borrow_mut() = true;
        pending(&mut all[1]);
        assert_eq!(poll(&mut all[1]), Poll::Ready(Some(20)));
    }

    #[test]
    fn who_stops_waiting_is_taken_out_and_one_who_was_to_lead_hands_over() {
        let world = World::new(8);
        *world.open.borrow_mut() = true;
        let mut all: Vec<_> = (0..4).map(|item| world.join(item)).collect();
        all.iter_mut().for_each(pending);
        drop(all.remove(2));
        drop(all.remove(0));
        pending(&mut all[0]);
        assert_eq!(poll(&mut all[0]), Poll::Ready(Some(10)));
        assert_eq!(poll(&mut all[1]), Poll::Ready(Some(30)));
        assert_eq!(*world.seen.borrow(), [vec![1, 3]]);
    }
}
