//! The least entries of many, by their sort octets.

use super::SortKeys;
use super::list::SortedList;
use super::room::{GRAIN, Held, Room};
use crate::query::Cursor;
use crate::store::{Location, Snapshot};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Keeps the least entries of what it is given, then gives them in order. Neither step takes long at once: the order is made
/// as entries are asked for.
pub struct Gathering {
    /// Entries with octets up to these were given before.
    after: Option<Vec<u8>>,
    /// More than so many are not wanted.
    wanted: usize,
    entries_limit: usize,
    octets_limit: usize,
    held: Held,
    /// Where the octets are too many the greatest entries are left out, and come later.
    shrinks: bool,
    kept: BinaryHeap<Sorted>,
    kept_octets: usize,
    ready: BinaryHeap<Reverse<Sorted>>,
    /// Some entry was left out because there are more than are wanted.
    cut: bool,
    /// Where the octets of the next entry are made.
    next: Vec<u8>,
}

/// An entry and the octets it is sorted by.
pub struct Sorted {
    pub octets: Vec<u8>,
    pub at: Location,
}

impl PartialEq for Sorted {
    fn eq(&self, other: &Sorted) -> bool {
        self.octets == other.octets
    }
}

impl Eq for Sorted {}

impl PartialOrd for Sorted {
    fn partial_cmp(&self, other: &Sorted) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Sorted {
    fn cmp(&self, other: &Sorted) -> Ordering {
        self.octets.cmp(&other.octets)
    }
}

/// What an entry takes beside its octets.
const ENTRY_OCTETS: usize = 64;

/// What became of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    Kept,
    /// It was given before.
    Before,
    /// It comes after all that are wanted.
    Beyond,
    /// There are too many; all are kept.
    Limit,
    /// All sorts together take too much; all are kept.
    NoMemory,
}

impl Gathering {
    pub fn new(after: Option<Vec<u8>>, wanted: usize, room: &Room) -> Gathering {
        Gathering {
            after,
            wanted: wanted.max(1),
            entries_limit: room.entries,
            octets_limit: room.octets,
            held: Held::nothing(room),
            shrinks: false,
            kept: BinaryHeap::new(),
            kept_octets: 0,
            ready: BinaryHeap::new(),
            cut: false,
            next: Vec::new(),
        }
    }

    /// Leaves out the greatest entries where their octets are too many, instead of coming to a limit: for whoever comes again for
    /// what was left out.
    pub fn shrinking(mut self, shrinks: bool) -> Gathering {
        self.shrinks = shrinks;
        self
    }

    /// Begins again behind `after`, with the memory that most sorts need.
    pub fn restart(&mut self, after: Option<Vec<u8>>, wanted: usize) {
        self.after = after;
        self.wanted = wanted.max(1);
        self.kept.clear();
        self.kept_octets = 0;
        self.ready.clear();
        self.cut = false;
        self.held.at_most(GRAIN);
    }

    /// Wants no more than these any longer, and leaves out what else was taken.
    pub fn narrow(&mut self, after: Option<Vec<u8>>, wanted: usize) {
        let kept = std::mem::take(&mut self.kept);
        self.restart(after, wanted);
        self.shrinks = true;
        for Sorted { octets, at } in kept {
            self.take(octets, at);
        }
    }

    /// Takes an entry; its name is looked up only if its values are not out of the question.
    pub fn take_entry(&mut self, keys: &SortKeys, snapshot: &Snapshot, at: Location) -> Taken {
        let mut octets = std::mem::take(&mut self.next);
        octets.clear();
        keys.append_values(snapshot, at, &mut octets);
        let begins = |whole: &Vec<u8>| octets.as_slice().cmp(whole.get(..octets.len()).unwrap_or(whole));
        if self.after.as_ref().is_some_and(|after| begins(after).is_lt()) {
            self.next = octets;
            return Taken::Before;
        }
        let greatest = self.kept.peek().filter(|_| self.kept.len() >= self.wanted);
        if greatest.is_some_and(|greatest| begins(&greatest.octets).is_gt()) {
            self.cut = true;
            self.next = octets;
            return Taken::Beyond;
        }
        octets.extend_from_slice(&snapshot.key(at).0);
        self.take(octets, at)
    }

    /// Everything was taken: all of it in order, where nothing was left out.
    pub fn list(&mut self, keys: &SortKeys, cursor: &Cursor, room: &Room) -> Option<SortedList> {
        if self.cut || self.after.is_some() {
            return None;
        }
        let kept = std::mem::take(&mut self.kept).into_sorted_vec();
        let list = SortedList::of(&kept, keys, cursor, room);
        self.kept = kept.into();
        list
    }

    /// The number of entries taken and kept.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    pub fn take(&mut self, octets: Vec<u8>, at: Location) -> Taken {
        if self.after.as_ref().is_some_and(|after| octets <= *after) {
            return Taken::Before;
        }
        if self.kept.len() >= self.wanted {
            self.cut = true;
            match self.kept.peek_mut() {
                Some(mut greatest) if octets < greatest.octets => {
                    self.kept_octets = self.kept_octets - greatest.octets.len() + octets.len();
                    *greatest = Sorted { octets, at };
                }
                _ => return Taken::Beyond,
            }
        } else {
            self.kept_octets += octets.len();
            self.kept.push(Sorted { octets, at });
        }
        while self.shrinks && self.kept_octets > self.octets_limit && self.kept.len() > 1 {
            self.kept_octets -= self.kept.pop().map_or(0, |greatest| greatest.octets.len());
            self.wanted = self.kept.len();
            self.cut = true;
        }
        if self.kept.len() > self.entries_limit || (self.kept_octets > self.octets_limit && !self.shrinks) {
            return Taken::Limit;
        }
        match self.held.at_least(self.kept.len() * ENTRY_OCTETS + self.kept_octets) {
            true => Taken::Kept,
            false => Taken::NoMemory,
        }
    }

    /// Everything was taken.
    pub fn finish(&mut self) {
        let kept = std::mem::take(&mut self.kept).into_vec();
        self.ready = kept.into_iter().map(Reverse).collect::<Vec<_>>().into();
    }

    /// Whether entries were left out.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    pub fn pop(&mut self) -> Option<Sorted> {
        self.ready.pop().map(|Reverse(next)| next)
    }

    /// An entry taken and not given, in no order.
    pub fn any(&mut self) -> Option<Location> {
        self.kept.pop().map(|kept| kept.at)
    }
}
