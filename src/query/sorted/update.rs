//! The list of a search for another snapshot, made from one that is there: only what differs between the two snapshots is looked at.
//!
//! Invariant: it is the list that would be made from nothing. So where a filter asks for what follows from other entries, where the
//! schema has changed or the scope, and where too much differs, there is none.

use super::SortKeys;
use super::build::{Listing, Over};
use super::list::{Draft, LayerPlace, NoMemory, Places, SortedList, TAIL, TailPlace, packed_in};
use super::room::{Held, Room};
use crate::index::EntryId;
use crate::query::cursor::{Examined, Question};
use crate::query::{Cursor, Work};
use crate::store::{Location, Snapshot};
use std::collections::HashMap;
use std::sync::Arc;

/// A list that is brought up to date, a little at a time.
pub struct ListUpdate {
    stage: Stage,
    /// With the places of the snapshot that the list will be of.
    draft: Draft,
    /// By the numbers of layers in the places: whether the layer is no more there. Those numbers stand in the list until it is swept.
    gone: Vec<bool>,
    left: Vec<Left>,
    came: Vec<Came>,
    question: Arc<Question>,
    room: Room,
    octets_limit: usize,
    /// For what left and came.
    _held: Held,
}

#[derive(Clone, Copy)]
enum Stage {
    /// Entries of layers that are gone are taken out of this piece.
    Sweep(usize),
    /// This one of those that left is taken out.
    Leave(usize),
    /// This one of those that came goes in where it matches.
    Come(usize),
    Done,
}

/// An entry that is no more where it was.
enum Left {
    Layer { place: u32, id: u32 },
    Tail { packed: u64, octets: Arc<[u8]> },
}

/// An entry that is where it was not.
#[derive(Clone, Copy)]
struct Came {
    at: Location,
    packed: u64,
}

/// One in so many entries of a list may have changed, these few in any case and never more than these many: what differs is found in one
/// go. Beyond that the list is made anew. An entry that changed costs as much as about ten that did not.
const ONE_IN: usize = 16;
const MANY: usize = 1 << 16;
const FEW: usize = if cfg!(test) { 64 } else { 256 };

/// Work that sweeping a piece takes, and taking an entry out or in.
const SWEEP_WORK: u32 = 2;
const ENTRY_WORK: u32 = 8;

impl ListUpdate {
    /// Begins with a list of the same search by the same view. `octets` bounds the list that is made. `None` where there is none to be
    /// made.
    pub fn begin(
        list: &SortedList,
        keys: &SortKeys,
        cursor: &Cursor,
        octets: usize,
        room: &Room,
    ) -> Option<ListUpdate> {
        let question = Arc::clone(list.question()?);
        if !question.is_of(cursor, keys) {
            return None;
        }
        let most = (list.len() / ONE_IN).clamp(FEW, MANY);
        let (pieces, before) = list.parts();
        let difference = Difference::between(before, cursor.snapshot(), most)?;
        let mut held = Held::finely(room);
        let changes = difference.left.len() * size_of::<Left>() + difference.came.len() * size_of::<Came>();
        held.at_least(changes).then(|| ListUpdate {
            stage: match difference.gone.contains(&true) {
                true => Stage::Sweep(0),
                false => Stage::Leave(0),
            },
            draft: Draft::new(pieces.to_vec(), difference.places, room),
            gone: difference.gone,
            left: difference.left,
            came: difference.came,
            question,
            room: room.clone(),
            octets_limit: octets,
            _held: held,
        })
    }

    pub fn step(&mut self, keys: &SortKeys, cursor: &mut Cursor, work: &mut Work) -> Listing {
        loop {
            if work.left == 0 {
                return Listing::Paused;
            }
            let next = match self.stage {
                Stage::Sweep(at) => self.sweep(at, work),
                Stage::Leave(at) => self.leave(at, keys, cursor.snapshot(), work),
                Stage::Come(at) => self.come(at, keys, cursor, work),
                Stage::Done => return self.finished(),
            };
            match next {
                Ok(Some(stage)) => self.stage = stage,
                Ok(None) => return Listing::Paused,
                Err(Over::Limit) => return Listing::Limit,
                Err(Over::Memory) => return Listing::NoMemory,
            }
        }
    }

    fn sweep(&mut self, at: usize, work: &mut Work) -> Result<Option<Stage>, Over> {
        let Some(piece) = self.draft.pieces.get_mut(at) else {
            return Ok(Some(Stage::Leave(0)));
        };
        work.left = work.left.saturating_sub(SWEEP_WORK);
        let is_gone = |packed: &u64| self.gone.get((*packed >> 32) as usize).is_some_and(|gone| *gone);
        if piece.entries.packed.iter().any(is_gone) {
            piece.entries_mut(&self.room)?.retain(|packed| !is_gone(packed));
        }
        Ok(Some(Stage::Sweep(at + 1)))
    }

    fn leave(
        &mut self,
        at: usize,
        keys: &SortKeys,
        snapshot: &Snapshot,
        work: &mut Work,
    ) -> Result<Option<Stage>, Over> {
        let (packed, octets) = match self.left.get(at) {
            None => return Ok(Some(Stage::Come(0))),
            Some(Left::Tail { packed, octets }) => (*packed, Arc::clone(octets)),
            Some(Left::Layer { place, id }) => {
                let packed = packed_in(*place, *id);
                // Hidden by now, but its record is where it was.
                let octets = self.draft.places.location(packed).map(|at| keys.octets(snapshot, at));
                (packed, octets.unwrap_or_default().into())
            }
        };
        work.left = work.left.saturating_sub(ENTRY_WORK);
        self.draft.remove(&octets, packed)?;
        Ok(Some(Stage::Leave(at + 1)))
    }

    fn come(
        &mut self,
        at: usize,
        keys: &SortKeys,
        cursor: &mut Cursor,
        work: &mut Work,
    ) -> Result<Option<Stage>, Over> {
        let Some(came) = self.came.get(at).copied() else {
            return Ok(Some(Stage::Done));
        };
        let next = Ok(Some(Stage::Come(at + 1)));
        work.left = work.left.saturating_sub(1);
        match cursor.examine(came.at, work) {
            Examined::No => return next,
            Examined::Paused => return Ok(None),
            Examined::Limit => return Err(Over::Limit),
            Examined::Yes => {}
        }
        work.left = work.left.saturating_sub(ENTRY_WORK);
        let snapshot = cursor.snapshot();
        let octets = keys.octets(snapshot, came.at);
        self.draft.insert(&octets, came.packed, keys, snapshot)?;
        self.draft.places.note(came.packed, &octets);
        next
    }

    fn finished(&mut self) -> Listing {
        match self.draft.finish(Some(Arc::clone(&self.question))) {
            Ok(list) if list.octets() > self.octets_limit => Listing::Limit,
            Ok(list) => Listing::Done(list),
            Err(NoMemory) => Listing::NoMemory,
        }
    }
}

/// What differs between the snapshot of some places and another one, which need not be the later of the two.
struct Difference {
    places: Places,
    gone: Vec<bool>,
    left: Vec<Left>,
    came: Vec<Came>,
    most: usize,
}

impl Difference {
    /// `None` where more than `most` entries left or came.
    fn between(before: &Places, snapshot: &Snapshot, most: usize) -> Option<Difference> {
        let mut difference = Difference {
            places: Places::default(),
            gone: vec![false; before.layers.len()],
            left: Vec::new(),
            came: Vec::new(),
            most,
        };
        difference.layers(before, snapshot)?;
        difference.tail(before, snapshot)?;
        Some(difference)
    }

    fn layers(&mut self, before: &Places, snapshot: &Snapshot) -> Option<()> {
        let mut place_of: HashMap<usize, u32> = HashMap::new();
        for (place, number) in before.layers.iter().zip(0..) {
            if let Some(place) = place {
                place_of.insert(place.segment.as_ptr().addr(), number);
            }
        }
        self.places.layers = vec![None; before.layers.len()];
        for (layer, number) in snapshot.layers.iter().zip(0..) {
            let here = LayerPlace {
                segment: Arc::downgrade(&layer.segment),
                hidden: layer.hidden.clone(),
                layer: number,
            };
            let known = place_of.remove(&here.segment.as_ptr().addr());
            let old = known.and_then(|place| before.layers.get(place as usize)?.as_ref());
            match (known, old) {
                (Some(place), Some(old)) => {
                    self.within_limit(here.hidden.len().abs_diff(old.hidden.len()) as usize)?;
                    self.left
                        .extend(here.hidden.since(&old.hidden).map(|id| Left::Layer { place, id: id.0 }));
                    self.came
                        .extend(old.hidden.since(&here.hidden).map(|id| came_in(place, number, id)));
                    if let Some(slot) = self.places.layers.get_mut(place as usize) {
                        *slot = Some(here);
                    }
                }
                _ => {
                    self.within_limit(layer.len() as usize)?;
                    let place = free(&before.layers, &mut self.places.layers, here);
                    let ids = (0..layer.segment.len()).map(EntryId);
                    let visible = ids.filter(|id| !layer.hidden.contains(*id));
                    self.came.extend(visible.map(|id| came_in(place, number, id)));
                }
            }
        }
        for place in place_of.into_values() {
            if let Some(gone) = self.gone.get_mut(place as usize) {
                *gone = true;
            }
        }
        Some(())
    }

    fn tail(&mut self, before: &Places, snapshot: &Snapshot) -> Option<()> {
        let mut number_of: HashMap<usize, u32> = HashMap::new();
        for (place, number) in before.tail.iter().zip(0..) {
            if let Some(place) = place {
                number_of.insert(place.entry.as_ptr().addr(), number);
            }
        }
        self.within_limit(number_of.len() + snapshot.tail.len())?;
        self.places.tail = vec![None; before.tail.len()];
        for (entry, index) in snapshot.tail.iter().zip(0..) {
            let known = number_of.remove(&Arc::as_ptr(entry).addr());
            if let Some(number) = known
                && let Some(Some(old)) = before.tail.get(number as usize)
                && let Some(slot) = self.places.tail.get_mut(number as usize)
            {
                *slot = Some(TailPlace { index, ..old.clone() });
                continue;
            }
            let here = TailPlace {
                entry: Arc::downgrade(entry),
                octets: None,
                index,
            };
            let number = free(&before.tail, &mut self.places.tail, here);
            self.came.push(Came {
                at: Location::Tail { index },
                packed: packed_in(TAIL, number),
            });
        }
        for number in number_of.into_values() {
            if let Some(Some(place)) = before.tail.get(number as usize)
                && let Some(octets) = &place.octets
            {
                self.left.push(Left::Tail {
                    packed: packed_in(TAIL, number),
                    octets: Arc::clone(octets),
                });
            }
        }
        Some(())
    }

    fn within_limit(&self, more: usize) -> Option<()> {
        (self.left.len() + self.came.len() + more <= self.most).then_some(())
    }
}

fn came_in(place: u32, layer: u32, id: EntryId) -> Came {
    Came {
        at: Location::Layer { layer, id },
        packed: packed_in(place, id.0),
    }
}

/// Puts something where neither was anything before nor is by now: what left is still in the list by its number.
fn free<T>(before: &[Option<T>], now: &mut Vec<Option<T>>, what: T) -> u32 {
    let is_free = |at: &usize| now.get(*at).is_some_and(Option::is_none) && before.get(*at).is_none_or(Option::is_none);
    let at = (0..now.len()).find(is_free);
    let at = at.unwrap_or_else(|| {
        now.push(None);
        now.len() - 1
    });
    if let Some(slot) = now.get_mut(at) {
        *slot = Some(what);
    }
    at as u32
}

impl From<NoMemory> for Over {
    fn from(NoMemory: NoMemory) -> Over {
        Over::Memory
    }
}
