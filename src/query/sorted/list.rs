//! The whole order of a search as one list: what a virtual list view takes its positions and its content count from.

use super::SortKeys;
use super::gather::{Gathering, Taken};
use super::merge::ValueMerge;
use crate::index::EntryId;
use crate::index::postings::PostingCursor;
use crate::query::{Advance, Cursor, Work};
use crate::store::{Location, Snapshot};
use roaring::RoaringBitmap;

/// Matching entries in order: eight octets each.
#[derive(Default)]
pub struct SortedList {
    entries: Vec<u64>,
}

/// The layer number that stands for the tail.
const TAIL: u32 = u32::MAX;

/// Makes a list, a little at a time.
pub struct ListBuilder {
    stage: Stage,
    /// Matching ids of each layer, then of the tail, that are not in the list yet.
    matching: Vec<RoaringBitmap>,
    merge: Option<ValueMerge>,
    /// Which list of the merge's value is read, and how far.
    list: usize,
    position: Option<PostingCursor>,
    /// Entries of one value.
    group: Vec<Location>,
    gathering: Gathering,
    /// Beginnings of keys are equal within a group, so its entries are put in order where names alone do not.
    one_key: bool,
    reverse: bool,
    entries: Vec<u64>,
    limits: (usize, usize),
    /// Entries that still find room.
    room: usize,
}

enum Stage {
    Collect,
    Values,
    /// A group is put in order: these of its entries have been taken.
    Order(usize),
    Give,
    Missing,
    Done,
}

/// What a step came to.
pub enum Listing {
    Paused,
    Done(SortedList),
    /// More entries than can be kept, or than the search may examine.
    Limit,
}

impl SortedList {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn octets(&self) -> usize {
        self.entries.capacity() * 8
    }

    pub fn get(&self, at: usize) -> Option<Location> {
        let entry = *self.entries.get(at)?;
        let (layer, number) = ((entry >> 32) as u32, entry as u32);
        Some(match layer {
            TAIL => Location::Tail { index: number },
            layer => Location::Layer {
                layer,
                id: EntryId(number),
            },
        })
    }

    /// How many entries come before these octets.
    pub fn position(&self, keys: &SortKeys, snapshot: &Snapshot, octets: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle) {
                Some(at) if keys.octets(snapshot, at).as_slice() < octets => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }
}

fn packed(at: Location) -> u64 {
    match at {
        Location::Layer { layer, id } => u64::from(layer) << 32 | u64::from(id.0),
        Location::Tail { index } => u64::from(TAIL) << 32 | u64::from(index),
    }
}

impl ListBuilder {
    /// `octets` bounds the list; `limits` the entries and the octets of keys that are put in order by comparing them.
    pub fn new(keys: &SortKeys, snapshot: &Snapshot, octets: usize, limits: (usize, usize)) -> ListBuilder {
        ListBuilder {
            stage: Stage::Collect,
            matching: vec![RoaringBitmap::new(); snapshot.layers.len() + 1],
            merge: keys.is_walkable(snapshot).then(|| ValueMerge::of_lists(keys, snapshot)),
            list: 0,
            position: None,
            group: Vec::new(),
            gathering: Gathering::new(None, usize::MAX, limits),
            one_key: keys.keys.len() == 1,
            reverse: keys.is_reverse(),
            entries: Vec::new(),
            limits,
            room: octets / 8,
        }
    }

    pub fn step(&mut self, keys: &SortKeys, cursor: &mut Cursor, work: &mut Work) -> Listing {
        loop {
            if work.left == 0 {
                return Listing::Paused;
            }
            let within = match self.stage {
                Stage::Collect => match self.collect(keys, cursor, work) {
                    Some(within) => within,
                    None => return Listing::Paused,
                },
                Stage::Values => self.next_value(cursor.snapshot(), work),
                Stage::Order(at) => self.order(at, keys, cursor.snapshot(), work),
                Stage::Give => self.give(work),
                Stage::Missing => {
                    self.missing();
                    true
                }
                Stage::Done => {
                    if self.reverse {
                        self.entries.reverse();
                    }
                    let mut entries = std::mem::take(&mut self.entries);
                    entries.shrink_to_fit();
                    return Listing::Done(SortedList { entries });
                }
            };
            if !within {
                return Listing::Limit;
            }
        }
    }

    /// Finds what matches; `None` for a pause, false where that is too much.
    fn collect(&mut self, keys: &SortKeys, cursor: &mut Cursor, work: &mut Work) -> Option<bool> {
        loop {
            let at = match cursor.advance(work) {
                Advance::Entry(at) => at,
                Advance::Paused => return None,
                Advance::CandidateLimit => return Some(false),
                Advance::End => {
                    self.stage = match self.merge {
                        Some(_) => Stage::Values,
                        None => Stage::Give,
                    };
                    self.gathering.finish();
                    return Some(true);
                }
            };
            if self.merge.is_none() {
                if self.gathering.take(keys.octets(cursor.snapshot(), at), at) == Taken::Limit {
                    return Some(false);
                }
                continue;
            }
            let tail = self.matching.len() - 1;
            let (place, number) = match at {
                Location::Layer { layer, id } => (layer as usize, id.0),
                Location::Tail { index } => (tail, index),
            };
            if let Some(matching) = self.matching.get_mut(place) {
                matching.insert(number);
            }
            self.room = self.room.saturating_sub(1);
            if self.room == 0 {
                return Some(false);
            }
        }
    }

    /// Reads on in the lists of a value, or goes to the next value.
    fn next_value(&mut self, snapshot: &Snapshot, work: &mut Work) -> bool {
        let Some(merge) = &mut self.merge else {
            self.stage = Stage::Missing;
            return true;
        };
        while let Some(list) = merge.lists.get(self.list) {
            let segment = snapshot.layers.get(list.layer).map(|layer| &layer.segment);
            let index = segment.and_then(|segment| segment.index(list.attribute));
            let position = self.position.get_or_insert_with(|| PostingCursor::new(list.list));
            while let Some(id) = index.as_ref().and_then(|index| position.next(index.postings)) {
                let matching = self.matching.get_mut(list.layer);
                if matching.is_some_and(|matching| matching.remove(id.0)) {
                    self.group.push(Location::Layer {
                        layer: list.layer as u32,
                        id,
                    });
                }
                work.left = work.left.saturating_sub(1);
                if work.left == 0 {
                    return true;
                }
            }
            self.position = None;
            self.list += 1;
        }
        if let Some(matching) = self.matching.last_mut() {
            for index in merge.tail_now.drain(..) {
                if matching.remove(index) {
                    self.group.push(Location::Tail { index });
                }
            }
        }
        if !self.group.is_empty() {
            self.close_group();
            return true;
        }
        work.left = work.left.saturating_sub(1);
        self.list = 0;
        if !merge.advance(snapshot) {
            self.merge = None;
            self.stage = Stage::Missing;
        }
        true
    }

    /// A group of entries is whole: gives it, or has it put in order first.
    fn close_group(&mut self) {
        let layer = |at: &Location| match at {
            Location::Layer { layer, .. } => *layer,
            Location::Tail { .. } => TAIL,
        };
        let one_list = self
            .group
            .is_sorted_by(|left, right| layer(left) == layer(right) && packed(*left) < packed(*right));
        if self.group.len() > 1 && !(self.one_key && one_list) {
            self.gathering = Gathering::new(None, usize::MAX, self.limits);
            self.stage = Stage::Order(0);
            return;
        }
        let from = self.entries.len();
        self.entries.extend(self.group.drain(..).map(packed));
        if self.reverse
            && let Some(group) = self.entries.get_mut(from..)
        {
            group.reverse();
        }
    }

    fn order(&mut self, mut at: usize, keys: &SortKeys, snapshot: &Snapshot, work: &mut Work) -> bool {
        while let Some(next) = self.group.get(at) {
            if self.gathering.take(keys.octets(snapshot, *next), *next) == Taken::Limit {
                return false;
            }
            at += 1;
            work.left = work.left.saturating_sub(1);
            if work.left == 0 {
                self.stage = Stage::Order(at);
                return true;
            }
        }
        self.group.clear();
        self.gathering.finish();
        self.stage = Stage::Give;
        true
    }

    /// Gives a group that is in order. Where the order is reversed the list is turned round in the end, so that each group
    /// goes in from its end.
    fn give(&mut self, work: &mut Work) -> bool {
        while let Some(next) = self.gathering.pop() {
            self.group.push(next.at);
            work.left = work.left.saturating_sub(1);
            if work.left == 0 {
                return true;
            }
        }
        let group = std::mem::take(&mut self.group);
        // Without a walk over values the keys themselves are reversed.
        match self.reverse {
            true => self.entries.extend(group.into_iter().rev().map(packed)),
            false => self.entries.extend(group.into_iter().map(packed)),
        }
        self.stage = match self.merge {
            Some(_) => Stage::Values,
            None => Stage::Missing,
        };
        true
    }

    /// What no value led to.
    fn missing(&mut self) {
        let tail = self.matching.len() - 1;
        for (place, matching) in self.matching.iter_mut().enumerate() {
            let ids = std::mem::take(matching);
            self.group.extend(ids.iter().map(|number| match place {
                place if place == tail => Location::Tail { index: number },
                place => Location::Layer {
                    layer: place as u32,
                    id: EntryId(number),
                },
            }));
        }
        self.stage = Stage::Done;
        if !self.group.is_empty() {
            self.close_group();
        }
    }
}
