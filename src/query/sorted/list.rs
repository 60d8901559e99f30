//! The whole order of a search as one list: what a virtual list view takes its positions and its content count from.

use super::SortKeys;
use super::gather::{Gathering, Taken};
use super::merge::ValueMerge;
use super::room::{Held, Room};
use super::walk::bitmap_octets;
use crate::index::EntryId;
use crate::index::postings::PostingCursor;
use crate::query::{Advance, Cursor, Work};
use crate::store::{Location, Snapshot};
use roaring::RoaringBitmap;

/// Matching entries in order: eight octets each.
pub struct SortedList {
    entries: Vec<u64>,
    /// For as long as the list is there.
    _held: Held,
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
    room: Room,
    /// Entries that still find a place in the list, and that were found.
    places: usize,
    found: usize,
    held: Held,
    /// What the bitmaps of matching ids may take.
    bitmap_octets: usize,
}

/// What an entry that matches takes: its place in the list, and in the group that is put in order.
const FOUND_OCTETS: usize = 8 + size_of::<Location>();

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
    /// All sorts together take too much; may be asked again.
    NoMemory,
}

/// What there was too much of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Over {
    Limit,
    Memory,
}

impl SortedList {
    /// Entries in their order; `None` where sorts leave no memory for the list.
    pub(super) fn of(entries: impl ExactSizeIterator<Item = Location>, room: &Room) -> Option<SortedList> {
        let mut held = Held::nothing(room);
        held.at_least(entries.len() * 8).then(|| SortedList {
            entries: entries.map(packed).collect(),
            _held: held,
        })
    }

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
    /// `octets` bounds the list; `room` what is put in order by comparing.
    pub fn new(keys: &SortKeys, snapshot: &Snapshot, octets: usize, room: &Room) -> ListBuilder {
        ListBuilder {
            stage: Stage::Collect,
            matching: vec![RoaringBitmap::new(); snapshot.layers.len() + 1],
            merge: keys.is_walkable(snapshot).then(|| ValueMerge::of_lists(keys, snapshot)),
            list: 0,
            position: None,
            group: Vec::new(),
            gathering: Gathering::new(None, usize::MAX, room),
            one_key: keys.keys.len() == 1,
            reverse: keys.is_reverse(),
            entries: Vec::new(),
            room: room.clone(),
            places: octets / 8,
            found: 0,
            held: Held::nothing(room),
            bitmap_octets: bitmap_octets(snapshot),
        }
    }

    pub fn step(&mut self, keys: &SortKeys, cursor: &mut Cursor, work: &mut Work) -> Listing {
        loop {
            if work.left == 0 {
                return Listing::Paused;
            }
            let done = match self.stage {
                Stage::Collect => match self.collect(keys, cursor, work) {
                    Some(done) => done,
                    None => return Listing::Paused,
                },
                Stage::Values => {
                    self.next_value(cursor.snapshot(), work);
                    Ok(())
                }
                Stage::Order(at) => self.order(at, keys, cursor.snapshot(), work),
                Stage::Give => {
                    self.give(work);
                    Ok(())
                }
                Stage::Missing => {
                    self.missing();
                    Ok(())
                }
                Stage::Done => return self.finished(),
            };
            match done {
                Ok(()) => {}
                Err(Over::Limit) => return Listing::Limit,
                Err(Over::Memory) => return Listing::NoMemory,
            }
        }
    }

    fn finished(&mut self) -> Listing {
        self.entries.shrink_to_fit();
        // Where the list was made by comparing alone, nothing is held for it yet.
        let octets = self.entries.capacity() * 8;
        if !self.held.at_least(octets) {
            return Listing::NoMemory;
        }
        let mut entries = std::mem::take(&mut self.entries);
        if self.reverse {
            entries.reverse();
        }
        let mut held = Held::nothing(&self.room);
        std::mem::swap(&mut held, &mut self.held);
        held.at_most(octets);
        Listing::Done(SortedList { entries, _held: held })
    }

    /// Finds what matches; `None` for a pause.
    fn collect(&mut self, keys: &SortKeys, cursor: &mut Cursor, work: &mut Work) -> Option<Result<(), Over>> {
        loop {
            let at = match cursor.advance(work) {
                Advance::Entry(at) => at,
                Advance::Paused => return None,
                Advance::CandidateLimit => return Some(Err(Over::Limit)),
                Advance::End => {
                    self.stage = match self.merge {
                        Some(_) => Stage::Values,
                        None => Stage::Give,
                    };
                    self.gathering.finish();
                    return Some(Ok(()));
                }
            };
            if self.merge.is_none() {
                match self.gathering.take_entry(keys, cursor.snapshot(), at) {
                    Taken::Limit => return Some(Err(Over::Limit)),
                    Taken::NoMemory => return Some(Err(Over::Memory)),
                    Taken::Kept | Taken::Before | Taken::Beyond => continue,
                }
            }
            let tail = self.matching.len() - 1;
            let (place, number) = match at {
                Location::Layer { layer, id } => (layer as usize, id.0),
                Location::Tail { index } => (tail, index),
            };
            if let Some(matching) = self.matching.get_mut(place) {
                matching.insert(number);
            }
            self.found += 1;
            if self.found >= self.places {
                return Some(Err(Over::Limit));
            }
            if !self.held.at_least(self.bitmap_octets + self.found * FOUND_OCTETS) {
                return Some(Err(Over::Memory));
            }
        }
    }

    /// Reads on in the lists of a value, or goes to the next value.
    fn next_value(&mut self, snapshot: &Snapshot, work: &mut Work) {
        let Some(merge) = &mut self.merge else {
            self.stage = Stage::Missing;
            return;
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
                    return;
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
            return;
        }
        work.left = work.left.saturating_sub(1);
        self.list = 0;
        if !merge.advance(snapshot) {
            self.merge = None;
            self.stage = Stage::Missing;
        }
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
            self.gathering = Gathering::new(None, usize::MAX, &self.room);
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

    fn order(&mut self, mut at: usize, keys: &SortKeys, snapshot: &Snapshot, work: &mut Work) -> Result<(), Over> {
        while let Some(next) = self.group.get(at) {
            at += 1;
            match self.gathering.take_entry(keys, snapshot, *next) {
                Taken::Limit => return Err(Over::Limit),
                Taken::NoMemory => {
                    self.stage = Stage::Order(at);
                    return Err(Over::Memory);
                }
                Taken::Kept | Taken::Before | Taken::Beyond => {}
            }
            work.left = work.left.saturating_sub(1);
            if work.left == 0 {
                self.stage = Stage::Order(at);
                return Ok(());
            }
        }
        self.group.clear();
        self.gathering.finish();
        self.stage = Stage::Give;
        Ok(())
    }

    /// Gives a group that is in order. Where the order is reversed the list is turned round in the end, so that each group
    /// goes in from its end.
    fn give(&mut self, work: &mut Work) {
        while let Some(next) = self.gathering.pop() {
            self.group.push(next.at);
            work.left = work.left.saturating_sub(1);
            if work.left == 0 {
                return;
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
