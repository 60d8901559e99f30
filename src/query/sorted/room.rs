//! How much memory sorts may take: one of them, and all that run together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is left of the octets that all sorts together may hold.
#[derive(Debug)]
pub struct SortMemory {
    left: AtomicUsize,
}

/// The limits of one sort.
#[derive(Clone, Debug)]
pub struct Room {
    /// Entries that it may put in order by comparing them.
    pub entries: usize,
    /// Octets of their keys.
    pub octets: usize,
    pub memory: Arc<SortMemory>,
}

/// Octets taken from the memory of all at once: most sorts need no more.
pub(super) const GRAIN: usize = 16 << 10;

/// What a part of a sort holds of the memory of all; given back when it is dropped.
pub(super) struct Held {
    memory: Arc<SortMemory>,
    octets: usize,
    grain: usize,
}

impl SortMemory {
    pub fn new(octets: usize) -> SortMemory {
        SortMemory {
            left: AtomicUsize::new(octets),
        }
    }

    /// Octets that no sort holds.
    #[cfg(test)]
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}

impl Held {
    pub(super) fn nothing(room: &Room) -> Held {
        Held {
            memory: Arc::clone(&room.memory),
            octets: 0,
            grain: GRAIN,
        }
    }

    /// For what there are many of: takes no more than it needs.
    pub(super) fn finely(room: &Room) -> Held {
        let mut held = Held::nothing(room);
        held.grain = 1;
        held
    }

    /// Holds at least so many octets; false where so many are not left.
    #[must_use]
    pub(super) fn at_least(&mut self, octets: usize) -> bool {
        let Some(more) = octets.checked_sub(self.octets).filter(|more| *more > 0) else {
            return true;
        };
        let more = more.checked_next_multiple_of(self.grain).unwrap_or(usize::MAX);
        let taken = self
            .memory
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(more));
        if taken.is_ok() {
            self.octets += more;
        }
        taken.is_ok()
    }

    /// Gives back what is beyond so many octets.
    pub(super) fn at_most(&mut self, octets: usize) {
        let beyond = self.octets.saturating_sub(octets);
        if beyond == 0 {
            return;
        }
        self.octets -= beyond;
        self.memory.left.fetch_add(beyond, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.at_most(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back_and_never_more_than_there_is() {
        let room = Room {
            entries: 1,
            octets: 1,
            memory: Arc::new(SortMemory::new(3 * GRAIN)),
        };
        let (mut one, mut other) = (Held::nothing(&room), Held::nothing(&room));
        assert!(one.at_least(1) && one.at_least(GRAIN) && other.at_least(GRAIN + 1));
        assert_eq!(room.memory.left(), 0);
        assert!(
            !one.at_least(GRAIN + 1) && one.at_least(GRAIN),
            "what is held stays held"
        );
        other.at_most(GRAIN);
        assert!(one.at_least(2 * GRAIN));
        drop((one, other));
        assert_eq!(room.memory.left(), 3 * GRAIN);
    }
}
