//! The memory that all connections together may have for what they have begun and not ended: one budget.
//!
//! A connection has a little of its own, which is not counted. What it takes beyond (a long message that is not whole, an answer that is
//! not read, requests that run) is counted here, and so costs the small ones nothing. Where the budget is spent, who has had the most
//! for the longest goes: somebody who sends a long message at once stays, and somebody who sits on a half-sent one does not.
//!
//! Invariants: what is read is granted before memory is taken for it; what is counted is given back with the connection; a connection
//! that is alone here is never told to go.

use crate::metrics::Metrics;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Instant;

/// The budget of one server.
pub struct Buffers {
    limit: usize,
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

/// What one connection has of it. Given back when dropped.
pub struct Share {
    buffers: Arc<Buffers>,
    /// The connection's number among the holders, while it is one.
    number: Option<u64>,
    octets: usize,
}

#[derive(Default)]
struct State {
    held: usize,
    /// Of those, what they hold who were told to go.
    leaving: usize,
    last_number: u64,
    holders: BTreeMap<u64, Holder>,
}

struct Holder {
    octets: usize,
    since: Instant,
    leaving: bool,
    /// Asked for more and found no room: woken when some comes free.
    waiting: bool,
    waker: Waker,
}

impl Buffers {
    pub fn new(limit: usize, metrics: Arc<Metrics>) -> Arc<Buffers> {
        Arc::new(Buffers {
            limit,
            state: Mutex::default(),
            metrics,
        })
    }

    pub fn share(self: &Arc<Self>) -> Share {
        Share {
            buffers: Arc::clone(self),
            number: None,
            octets: 0,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Says what the connection has by now beyond its own. It has it already: others, or it, may be told to go.
    #[inline]
    pub fn set(&mut self, octets: usize, context: &Context<'_>) {
        if octets != self.octets {
            self.change(octets, context);
        }
    }

    /// Asks for more before it is taken. Where there is no room yet the task is woken when there may be.
    pub fn ask(&mut self, more: usize, context: &Context<'_>) -> bool {
        let number = self.register(context);
        let buffers = &self.buffers;
        let mut state = buffers.state();
        state.make_room(number, more, buffers.limit, Instant::now());
        let alone = state.held == self.octets;
        let granted = alone || state.held.saturating_add(more) <= buffers.limit;
        let Some(holder) = state.holders.get_mut(&number) else {
            return false;
        };
        holder.waiting = !granted;
        if granted {
            holder.octets += more;
            self.octets += more;
            state.held += more;
            buffers.metrics.buffered_octets.set(state.held as u64);
        }
        granted
    }

    /// Whether this connection is to go, so that others find room.
    #[inline]
    pub fn is_to_go(&self) -> bool {
        self.number.is_some_and(|number| {
            let state = self.buffers.state();
            state.holders.get(&number).is_some_and(|holder| holder.leaving)
        })
    }

    #[cold]
    fn change(&mut self, octets: usize, context: &Context<'_>) {
        if octets == 0 {
            return self.release();
        }
        let number = self.register(context);
        let buffers = &self.buffers;
        let mut state = buffers.state();
        state.resize(number, octets);
        if octets > self.octets {
            state.make_room(number, 0, buffers.limit, Instant::now());
        } else {
            state.wake_waiting();
        }
        self.octets = octets;
        buffers.metrics.buffered_octets.set(state.held as u64);
    }

    /// Becomes one of the holders, or stays one; the task that waits is this one from now on.
    fn register(&mut self, context: &Context<'_>) -> u64 {
        let mut state = self.buffers.state();
        let number = *self.number.get_or_insert_with(|| {
            state.last_number += 1;
            state.last_number
        });
        let holder = state.holders.entry(number).or_insert_with(|| Holder {
            octets: 0,
            since: Instant::now(),
            leaving: false,
            waiting: false,
            waker: context.waker().clone(),
        });
        holder.waker.clone_from(context.waker());
        number
    }

    fn release(&mut self) {
        let Some(number) = self.number.take() else { return };
        let mut state = self.buffers.state();
        state.resize(number, 0);
        state.holders.remove(&number);
        state.wake_waiting();
        self.octets = 0;
        self.buffers.metrics.buffered_octets.set(state.held as u64);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release();
    }
}

impl State {
    fn resize(&mut self, number: u64, octets: usize) {
        let Some(holder) = self.holders.get_mut(&number) else {
            return;
        };
        self.held = self.held - holder.octets + octets;
        if holder.leaving {
            self.leaving = self.leaving - holder.octets + octets;
        }
        holder.octets = octets;
    }

    /// Tells those to go who have had the most for the longest, until `more` for one of them finds room.
    fn make_room(&mut self, asker: u64, more: usize, limit: usize, now: Instant) {
        while (self.held - self.leaving).saturating_add(more) > limit {
            let staying = self.held - self.leaving;
            let candidates = self.holders.iter_mut().filter(|(_, holder)| !holder.leaving);
            let heaviest = candidates.max_by_key(|(_, holder)| holder.weight(now));
            let Some((&number, holder)) = heaviest.filter(|(_, holder)| holder.octets > 0) else {
                return;
            };
            if number == asker && holder.octets == staying {
                return;
            }
            holder.leaving = true;
            holder.waker.wake_by_ref();
            self.leaving += holder.octets;
        }
    }

    fn wake_waiting(&mut self) {
        for holder in self.holders.values_mut() {
            if std::mem::take(&mut holder.waiting) {
                holder.waker.wake_by_ref();
            }
        }
    }
}

impl Holder {
    fn weight(&self, now: Instant) -> u128 {
        let held = now.saturating_duration_since(self.since).as_micros();
        self.octets as u128 * (held + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A connection's share, and how often its task was woken.
    struct One {
        share: Share,
        woken: Arc<Woken>,
    }

    impl One {
        fn of(buffers: &Arc<Buffers>) -> One {
            One {
                share: buffers.share(),
                woken: Arc::default(),
            }
        }

        fn ask(&mut self, more: usize) -> bool {
            let waker = Waker::from(Arc::clone(&self.woken));
            self.share.ask(more, &Context::from_waker(&waker))
        }

        fn set(&mut self, octets: usize) {
            let waker = Waker::from(Arc::clone(&self.woken));
            self.share.set(octets, &Context::from_waker(&waker));
        }

        fn woken(&self) -> usize {
            self.woken.0.load(Ordering::Relaxed)
        }

        /// As if it had what it has for so long.
        fn age(&self, by: Duration) {
            let number = self.share.number.unwrap();
            let mut state = self.share.buffers.state();
            let holder = state.holders.get_mut(&number).unwrap();
            holder.since = holder.since.checked_sub(by).unwrap();
        }
    }

    fn buffers(limit: usize) -> Arc<Buffers> {
        Buffers::new(limit, Arc::default())
    }

    #[test]
    fn who_sits_on_much_for_long_goes_and_who_asked_waits_until_then() {
        let buffers = buffers(100);
        let mut all = [(); 4].map(|()| One::of(&buffers));
        let [sitter, small, younger, asker] = &mut all;
        assert!(sitter.ask(40) && small.ask(10) && younger.ask(40));
        sitter.age(Duration::from_secs(60));
        small.age(Duration::from_secs(61));
        assert!(!asker.ask(30), "there is no room yet");
        assert!(sitter.share.is_to_go() && sitter.woken() == 1);
        assert!(!small.share.is_to_go() && !younger.share.is_to_go() && !asker.share.is_to_go());
        assert_eq!(asker.woken(), 0);
        sitter.set(0);
        assert_eq!(asker.woken(), 1, "now there may be room");
        assert!(asker.ask(30));
        assert_eq!(buffers.metrics.buffered_octets.value(), 80);
        assert_eq!(small.woken() + younger.woken(), 0);
    }

    #[test]
    fn who_asks_goes_itself_where_it_has_sat_the_longest() {
        let buffers = buffers(100);
        let (mut sitter, mut other) = (One::of(&buffers), One::of(&buffers));
        assert!(sitter.ask(50) && other.ask(40));
        sitter.age(Duration::from_secs(60));
        assert!(!sitter.ask(30));
        assert!(sitter.share.is_to_go() && !other.share.is_to_go());
    }

    #[test]
    fn nobody_else_no_limit() {
        let buffers = buffers(100);
        let mut alone = One::of(&buffers);
        assert!(alone.ask(90) && alone.ask(90), "nobody stands in the way");
        alone.set(1000);
        assert!(!alone.share.is_to_go());
        let mut second = One::of(&buffers);
        assert!(!second.ask(1));
        assert!(alone.share.is_to_go());
        drop(alone);
        assert!(second.woken() == 1 && second.ask(1));
    }

    #[test]
    fn what_is_there_already_pushes_out_too_and_all_is_given_back() {
        let buffers = buffers(100);
        let (mut sitter, mut writer) = (One::of(&buffers), One::of(&buffers));
        sitter.set(60);
        sitter.age(Duration::from_secs(1));
        writer.set(70);
        assert!(sitter.share.is_to_go() && !writer.share.is_to_go());
        drop(sitter);
        writer.set(20);
        assert_eq!(buffers.state().held, 20);
        drop(writer);
        let state = buffers.state();
        assert_eq!((state.held, state.leaving, state.holders.len()), (0, 0, 0));
    }
}
