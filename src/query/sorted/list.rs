//! The whole order of a search as one list: what a virtual list view takes its positions and its content count from.
//!
//! Invariants: a list is of one snapshot, and never changed; lists made from each other share what is the same in both, so that one
//! for the next snapshot costs what has changed; a list keeps no segment and no record alive.

use super::SortKeys;
use super::gather::Sorted;
use super::room::{Held, Room};
use crate::index::EntryId;
use crate::query::Cursor;
use crate::query::cursor::Question;
use crate::store::snapshot::{HiddenSet, TailEntry};
use crate::store::{Location, Segment, Snapshot};
use std::sync::{Arc, Weak};

/// Entries in a piece when a list is made; few in tests, whose directories are small. A piece of twice as many is split.
pub(super) const PIECE: usize = if cfg!(test) { 4 } else { 1024 };

/// Matching entries in order.
pub struct SortedList {
    pieces: Vec<Piece>,
    places: Places,
    len: usize,
    octets: usize,
    /// What it was asked for; `None` where whether an entry matches does not follow from that entry alone.
    question: Option<Arc<Question>>,
    /// For the pieces' beginnings and the places, which no other list has.
    _held: Held,
}

/// Entries that follow each other.
#[derive(Clone)]
pub(super) struct Piece {
    /// How many entries come before it.
    before: usize,
    /// Entries of this piece have these sort octets or greater ones, those of the piece before have lesser ones. Of no meaning in
    /// the first piece.
    pub from: Arc<[u8]>,
    pub entries: Arc<Entries>,
}

/// Eight octets for each.
pub(super) struct Entries {
    pub packed: Vec<u64>,
    held: Held,
}

/// Where the entries of a list are.
#[derive(Clone, Default)]
pub(super) struct Places {
    /// The upper half of a packed entry is a number here, the lower one its id.
    pub layers: Vec<Option<LayerPlace>>,
    /// Of entries in the tail, the lower half is a number here.
    pub tail: Vec<Option<TailPlace>>,
}

/// A layer of the list's snapshot.
#[derive(Clone)]
pub(super) struct LayerPlace {
    pub segment: Weak<Segment>,
    pub hidden: HiddenSet,
    /// Its number in the snapshot.
    pub layer: u32,
}

/// An entry in the tail of the list's snapshot.
#[derive(Clone)]
pub(super) struct TailPlace {
    pub entry: Weak<TailEntry>,
    /// What it is sorted by, where it is in the list.
    pub octets: Option<Arc<[u8]>>,
    pub index: u32,
}

/// The number that stands for the tail.
pub(super) const TAIL: u32 = u32::MAX;

/// What a piece takes beside its entries and the octets it begins with.
const PIECE_OCTETS: usize = size_of::<Entries>() + 64;

/// A list that entries are put into.
pub(super) struct Draft {
    pub pieces: Vec<Piece>,
    pub places: Places,
    room: Room,
}

/// There is no memory left for sorting.
#[derive(Debug)]
pub(super) struct NoMemory;

impl SortedList {
    /// Entries in their order; `None` where sorts leave no memory for the list.
    pub(super) fn of(entries: &[Sorted], keys: &SortKeys, cursor: &Cursor, room: &Room) -> Option<SortedList> {
        let mut places = Places::of(cursor.snapshot());
        let mut pieces = Vec::with_capacity(entries.len().div_ceil(PIECE));
        for part in entries.chunks(PIECE) {
            let mut packed: Vec<u64> = part.iter().map(|entry| packed(entry.at)).collect();
            pieces.push(Piece::new(part.first()?.octets.as_slice(), &mut packed, room).ok()?);
            for entry in part {
                places.note(self::packed(entry.at), &entry.octets);
            }
        }
        SortedList::whole(&mut pieces, &mut places, Question::of(cursor, keys), room).ok()
    }

    /// Takes pieces, which are in their order, and places, where there is memory for them.
    fn whole(
        pieces: &mut Vec<Piece>,
        places: &mut Places,
        question: Option<Arc<Question>>,
        room: &Room,
    ) -> Result<SortedList, NoMemory> {
        let own = places.octets() + pieces.len() * size_of::<Piece>();
        let mut held = Held::finely(room);
        if !held.at_least(own) {
            return Err(NoMemory);
        }
        let (mut len, mut octets) = (0, own);
        for piece in &mut *pieces {
            piece.before = len;
            len += piece.entries.packed.len();
            octets += piece.entries.octets(&piece.from);
        }
        Ok(SortedList {
            pieces: std::mem::take(pieces),
            places: std::mem::take(places),
            len,
            octets,
            question,
            _held: held,
        })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn octets(&self) -> usize {
        self.octets
    }

    pub fn get(&self, at: usize) -> Option<Location> {
        let number = self.pieces.partition_point(|piece| piece.before <= at);
        let piece = self.pieces.get(number.checked_sub(1)?)?;
        self.places.location(*piece.entries.packed.get(at - piece.before)?)
    }

    /// How many entries come before these octets.
    pub fn position(&self, keys: &SortKeys, snapshot: &Snapshot, octets: &[u8]) -> usize {
        let piece = self.pieces.get(piece_of(&self.pieces, octets));
        piece.map_or(0, |piece| {
            piece.before + piece.position(&self.places, keys, snapshot, octets)
        })
    }

    /// Whether a list for another snapshot can be made from it: one whose segment is gone has to be made anew.
    pub fn is_of_use(&self) -> bool {
        let base = self.places.layers.first().and_then(Option::as_ref);
        self.question.is_some() && base.is_none_or(|base| base.segment.strong_count() > 0)
    }

    pub(super) fn question(&self) -> Option<&Arc<Question>> {
        self.question.as_ref()
    }

    /// What a list for another snapshot is made from.
    pub(super) fn parts(&self) -> (&[Piece], &Places) {
        (&self.pieces, &self.places)
    }
}

impl Draft {
    pub fn new(pieces: Vec<Piece>, places: Places, room: &Room) -> Draft {
        Draft {
            pieces,
            places,
            room: room.clone(),
        }
    }

    /// Puts an entry in; all others must be in the snapshot. Changes nothing where there is no memory for it.
    pub fn insert(&mut self, octets: &[u8], packed: u64, keys: &SortKeys, snapshot: &Snapshot) -> Result<(), NoMemory> {
        if self.pieces.is_empty() {
            self.pieces.push(Piece::new(octets, &mut vec![packed], &self.room)?);
            return Ok(());
        }
        let mut number = piece_of(&self.pieces, octets);
        let piece = self.pieces.get(number);
        if piece.is_some_and(|piece| piece.entries.packed.len() >= 2 * PIECE) {
            self.split(number, keys, snapshot)?;
            number = piece_of(&self.pieces, octets);
        }
        let Some(piece) = self.pieces.get_mut(number) else {
            return Ok(());
        };
        let there = piece.position(&self.places, keys, snapshot, octets);
        piece.entries_mut(&self.room)?.insert(there, packed);
        Ok(())
    }

    fn split(&mut self, number: usize, keys: &SortKeys, snapshot: &Snapshot) -> Result<(), NoMemory> {
        let Some(piece) = self.pieces.get_mut(number) else {
            return Ok(());
        };
        let (first, second) = piece.entries.packed.split_at(piece.entries.packed.len() / 2);
        let from = second.first().and_then(|packed| self.places.location(*packed));
        let from = from.map(|at| keys.octets(snapshot, at)).unwrap_or_default();
        let second = Piece::new(from, &mut second.to_vec(), &self.room)?;
        *piece = Piece::new(Arc::clone(&piece.from), &mut first.to_vec(), &self.room)?;
        self.pieces.insert(number + 1, second);
        Ok(())
    }

    /// Takes an entry out that has these octets, where it is in.
    pub fn remove(&mut self, octets: &[u8], packed: u64) -> Result<(), NoMemory> {
        let number = piece_of(&self.pieces, octets);
        if let Some(piece) = self.pieces.get_mut(number)
            && let Some(there) = piece.entries.packed.iter().position(|other| *other == packed)
        {
            piece.entries_mut(&self.room)?.remove(there);
        }
        Ok(())
    }

    /// The list, where there is memory for it.
    pub fn finish(&mut self, question: Option<Arc<Question>>) -> Result<SortedList, NoMemory> {
        self.pieces.retain(|piece| !piece.entries.packed.is_empty());
        SortedList::whole(&mut self.pieces, &mut self.places, question, &self.room)
    }
}

/// The piece in which octets have their place; 0 where there is none at all.
pub(super) fn piece_of(pieces: &[Piece], octets: &[u8]) -> usize {
    pieces.partition_point(|piece| *piece.from <= *octets).saturating_sub(1)
}

impl Piece {
    /// Takes the entries where there is memory for them.
    pub fn new(from: impl Into<Arc<[u8]>>, packed: &mut Vec<u64>, room: &Room) -> Result<Piece, NoMemory> {
        let from = from.into();
        let mut entries = Entries {
            packed: std::mem::take(packed),
            held: Held::finely(room),
        };
        if let Err(fault) = entries.hold(&from) {
            *packed = entries.packed;
            return Err(fault);
        }
        Ok(Piece {
            before: 0,
            from,
            entries: Arc::new(entries),
        })
    }

    /// How many of its entries come before these octets. All of them must be in the snapshot.
    pub fn position(&self, places: &Places, keys: &SortKeys, snapshot: &Snapshot, octets: &[u8]) -> usize {
        let mut values = Vec::new();
        self.entries.packed.partition_point(|packed| {
            let at = places.location(*packed);
            at.is_some_and(|at| keys.compare(snapshot, at, octets, &mut values).is_lt())
        })
    }

    /// The entries to change: a copy where other lists have them too, with room for one more.
    pub fn entries_mut(&mut self, room: &Room) -> Result<&mut Vec<u64>, NoMemory> {
        if Arc::get_mut(&mut self.entries).is_none() {
            let mut packed = Vec::with_capacity(self.entries.packed.len() + GROWTH);
            packed.extend_from_slice(&self.entries.packed);
            let mut copy = Entries {
                packed,
                held: Held::finely(room),
            };
            copy.hold(&self.from)?;
            self.entries = Arc::new(copy);
        }
        let entries = Arc::get_mut(&mut self.entries).ok_or(NoMemory)?;
        if entries.packed.len() == entries.packed.capacity() {
            entries.packed.reserve_exact(GROWTH);
            entries.hold(&self.from)?;
        }
        Ok(&mut entries.packed)
    }
}

/// Entries that a changed piece has room for.
const GROWTH: usize = 32;

impl Entries {
    fn octets(&self, from: &[u8]) -> usize {
        self.packed.capacity() * 8 + from.len() + PIECE_OCTETS
    }

    fn hold(&mut self, from: &[u8]) -> Result<(), NoMemory> {
        let octets = self.octets(from);
        self.held.at_least(octets).then_some(()).ok_or(NoMemory)
    }
}

impl Places {
    pub fn of(snapshot: &Snapshot) -> Places {
        let layers = snapshot.layers.iter().zip(0..).map(|(layer, number)| {
            Some(LayerPlace {
                segment: Arc::downgrade(&layer.segment),
                hidden: layer.hidden.clone(),
                layer: number,
            })
        });
        let tail = snapshot.tail.iter().zip(0..).map(|(entry, index)| {
            Some(TailPlace {
                entry: Arc::downgrade(entry),
                octets: None,
                index,
            })
        });
        Places {
            layers: layers.collect(),
            tail: tail.collect(),
        }
    }

    /// An entry of the list; only of those in the tail it is kept what they are sorted by.
    pub fn note(&mut self, packed: u64, octets: &[u8]) {
        if (packed >> 32) as u32 == TAIL
            && let Some(Some(place)) = self.tail.get_mut(packed as u32 as usize)
        {
            place.octets = Some(octets.into());
        }
    }

    pub fn location(&self, packed: u64) -> Option<Location> {
        let (place, number) = ((packed >> 32) as u32, packed as u32);
        if place == TAIL {
            let place = self.tail.get(number as usize)?.as_ref()?;
            return Some(Location::Tail { index: place.index });
        }
        let layer = self.layers.get(place as usize)?.as_ref()?.layer;
        let id = EntryId(number);
        Some(Location::Layer { layer, id })
    }

    fn octets(&self) -> usize {
        let sorted_by = self.tail.iter().flatten().filter_map(|place| place.octets.as_ref());
        self.layers.len() * size_of::<LayerPlace>()
            + self.tail.len() * size_of::<TailPlace>()
            + sorted_by.map(|octets| octets.len()).sum::<usize>()
    }
}

/// An entry, where the places are those of its own snapshot as they are at first.
pub(super) fn packed(at: Location) -> u64 {
    match at {
        Location::Layer { layer, id } => packed_in(layer, id.0),
        Location::Tail { index } => packed_in(TAIL, index),
    }
}

pub(super) fn packed_in(place: u32, number: u32) -> u64 {
    u64::from(place) << 32 | u64::from(number)
}
