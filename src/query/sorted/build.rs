//! The list of a search made from nothing: what matches is found, then put in order.

use super::SortKeys;
use super::gather::{Gathering, Taken};
use super::list::{Draft, NoMemory, PIECE, Piece, Places, SortedList, TAIL, packed};
use super::merge::ValueMerge;
use super::room::{Held, Room};
use super::walk::bitmap_octets;
use crate::index::EntryId;
use crate::index::postings::PostingCursor;
use crate::query::cursor::Question;
use crate::query::{Advance, Cursor, Work};
use crate::store::{Location, Snapshot};
use roaring::RoaringBitmap;
use std::sync::Arc;

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
    /// What is in order, in pieces; where the order is reversed, from its end.
    entries: Vec<Vec<u64>>,
    /// The list, as far as it is made.
    draft: Option<Draft>,
    /// Matching entries behind the first layer, where they are few: they go into the list of the first one.
    late: Option<Vec<Location>>,
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

/// Whether what changed since the segment was written is so little that putting it in one by one costs less than reading the values of
/// the segment, to walk them beside others.
fn has_few_behind_base(snapshot: &Snapshot) -> bool {
    let Some((base, others)) = snapshot.layers.split_first() else {
        return false;
    };
    let others: u64 = others.iter().map(|layer| u64::from(layer.len())).sum();
    (others + snapshot.tail.len() as u64).saturating_mul(FEW_IN) <= u64::from(base.len())
}

/// One entry in so many.
const FEW_IN: u64 = 8;

/// Work that a piece of the list takes, and an entry that is put in.
const PIECE_WORK: u32 = 8;

enum Stage {
    Collect,
    Values,
    /// A group is put in order: these of its entries have been taken.
    Order(usize),
    Give,
    Missing,
    /// Everything is in order: the list's pieces are made.
    Divide,
    /// This one of those behind the first layer goes in.
    Late(usize),
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
pub(super) enum Over {
    Limit,
    Memory,
}

impl ListBuilder {
    /// `octets` bounds the list; `room` what is put in order by comparing.
    pub fn new(keys: &SortKeys, snapshot: &Snapshot, octets: usize, room: &Room) -> ListBuilder {
        let base_first =
            has_few_behind_base(snapshot) && keys.is_walkable_in(snapshot.layers.get(..1).unwrap_or_default());
        let merge = match base_first {
            true => Some(ValueMerge::of_base_lists(keys, snapshot)),
            false => keys.is_walkable(snapshot).then(|| ValueMerge::of_lists(keys, snapshot)),
        };
        ListBuilder {
            stage: Stage::Collect,
            matching: vec![RoaringBitmap::new(); snapshot.layers.len() + 1],
            merge,
            list: 0,
            position: None,
            group: Vec::new(),
            gathering: Gathering::new(None, usize::MAX, room),
            one_key: keys.keys.len() == 1,
            reverse: keys.is_reverse(),
            entries: Vec::new(),
            draft: None,
            late: base_first.then(Vec::new),
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
                Stage::Divide => self.divide(keys, cursor, work).map_err(Over::from),
                Stage::Late(at) => match self.put_in(at, keys, cursor, work) {
                    Ok(Some(list)) => return Listing::Done(list),
                    Ok(None) => Ok(()),
                    Err(NoMemory) => Err(Over::Memory),
                },
            };
            match done {
                Ok(()) => {}
                Err(Over::Limit) => return Listing::Limit,
                Err(Over::Memory) => return Listing::NoMemory,
            }
        }
    }

    /// Makes the next piece of the list.
    fn divide(&mut self, keys: &SortKeys, cursor: &Cursor, work: &mut Work) -> Result<(), NoMemory> {
        let snapshot = cursor.snapshot();
        // What is in pieces holds what it takes itself.
        let late = self.late.as_ref().map_or(0, Vec::len);
        self.held
            .at_most(self.entries.len() * PIECE * 8 + late * size_of::<Location>());
        let draft = self.draft.get_or_insert_with(|| {
            // The next one is the last.
            if !self.reverse {
                self.entries.reverse();
            }
            Draft::new(Vec::new(), Places::of(snapshot), &self.room)
        });
        work.left = work.left.saturating_sub(PIECE_WORK);
        let Some(entries) = self.entries.last_mut() else {
            self.stage = Stage::Late(0);
            return Ok(());
        };
        let first = if self.reverse { entries.last() } else { entries.first() };
        let octets = |packed: u64| Some(keys.octets(snapshot, draft.places.location(packed)?));
        let from = first.and_then(|packed| octets(*packed)).unwrap_or_default();
        entries.shrink_to_fit();
        let mut piece = Piece::new(from, entries, &self.room)?;
        self.entries.pop();
        if let (true, Some(entries)) = (self.reverse, Arc::get_mut(&mut piece.entries)) {
            entries.packed.reverse();
        }
        for packed in piece
            .entries
            .packed
            .iter()
            .filter(|packed| (**packed >> 32) as u32 == TAIL)
        {
            if let Some(at) = draft.places.location(*packed) {
                draft.places.note(*packed, &keys.octets(snapshot, at));
            }
        }
        draft.pieces.push(piece);
        Ok(())
    }

    /// Puts the next entry in that is behind the first layer, or gives the list.
    fn put_in(
        &mut self,
        at: usize,
        keys: &SortKeys,
        cursor: &Cursor,
        work: &mut Work,
    ) -> Result<Option<SortedList>, NoMemory> {
        let Some(draft) = &mut self.draft else { return Ok(None) };
        let Some(late) = self.late.as_ref().and_then(|late| late.get(at)).copied() else {
            return draft.finish(Question::of(cursor, keys)).map(Some);
        };
        work.left = work.left.saturating_sub(PIECE_WORK);
        let octets = keys.octets(cursor.snapshot(), late);
        draft.insert(&octets, packed(late), keys, cursor.snapshot())?;
        draft.places.note(packed(late), &octets);
        self.stage = Stage::Late(at + 1);
        Ok(None)
    }

    /// One more entry that is in order.
    fn push(&mut self, at: Location) {
        match self.entries.last_mut().filter(|last| last.len() < PIECE) {
            Some(last) => last.push(packed(at)),
            None => self.entries.push(vec![packed(at)]),
        }
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
            match (&mut self.late, self.matching.get_mut(place)) {
                (Some(late), _) if place > 0 => late.push(at),
                (_, Some(matching)) => _ = matching.insert(number),
                (_, None) => {}
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
        self.give_group(self.reverse);
    }

    fn give_group(&mut self, from_its_end: bool) {
        let group = std::mem::take(&mut self.group);
        match from_its_end {
            true => group.iter().rev().for_each(|at| self.push(*at)),
            false => group.iter().for_each(|at| self.push(*at)),
        }
        self.group = group;
        self.group.clear();
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
        // Without a walk over values the keys themselves are reversed.
        self.give_group(self.reverse);
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
        self.stage = Stage::Divide;
        if !self.group.is_empty() {
            self.close_group();
        }
    }
}
