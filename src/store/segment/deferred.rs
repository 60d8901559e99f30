//! What of the indexes of a segment in memory is made only when a search asks for it. Most types are never searched by, and most small
//! segments become part of a larger one before any search: making every index of each was two fifths of what a change cost.
//!
//! Of a segment of few entries an index is made by who asks first; a larger one comes with all of them, so that nobody waits long.
//! Substrings are never waited for: a search goes over the values until the overlay's thread has made them.

use super::build::index_of;
use super::gather::serves_substrings;
use super::{IndexLayout, Located, Segment, Slot, SubstringsAt};
use crate::index::bloom::TermFilter;
use crate::index::dictionary::Dictionary;
use crate::index::substring::SubstringBuilder;
use crate::schema::{AttributeId, Schema};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Entries of the largest segment whose indexes wait: to make one of so many takes a few milliseconds.
pub(super) const DEFERRED_ENTRIES: usize = 4_096;

/// The indexes that searches have asked for since the last compaction. Segments in memory are made with them from then on.
pub struct Wanted {
    /// By [`AttributeId`]. A type beyond was defined later: it counts as wanted.
    indexes: Box<[AtomicBool]>,
    substrings: Box<[AtomicBool]>,
    /// A search went without substrings that it would have used.
    missed: AtomicBool,
}

impl Wanted {
    pub fn nothing(schema: &Schema) -> Wanted {
        let none = || schema.attributes().iter().map(|_| AtomicBool::new(false)).collect();
        Wanted {
            indexes: none(),
            substrings: none(),
            missed: AtomicBool::new(false),
        }
    }

    /// For a segment that is made whole.
    pub fn everything() -> Wanted {
        Wanted {
            indexes: Box::default(),
            substrings: Box::default(),
            missed: AtomicBool::new(false),
        }
    }

    pub(super) fn index(&self, id: AttributeId) -> bool {
        is_set(&self.indexes, id)
    }

    pub(super) fn substrings(&self, id: AttributeId) -> bool {
        is_set(&self.substrings, id)
    }
}

fn is_set(flags: &[AtomicBool], id: AttributeId) -> bool {
    let flag = flags.get(usize::from(id.0));
    flag.is_none_or(|flag| flag.load(Ordering::Relaxed))
}

/// Searches on all cores come by here: what is set already is not written again.
fn set(flag: Option<&AtomicBool>) {
    if let Some(flag) = flag
        && !flag.load(Ordering::Relaxed)
    {
        flag.store(true, Ordering::Relaxed);
    }
}

/// What a segment in memory needs to make its indexes later.
pub(super) struct InMemory {
    pub(super) schema: Arc<Schema>,
    pub(super) wanted: Arc<Wanted>,
    /// By the place in [`Slot::Deferred`].
    pub(super) indexes: Vec<OnceLock<DeferredIndex>>,
}

/// One index in octets of its own.
pub(super) struct DeferredIndex {
    pub(super) octets: Vec<u8>,
    pub(super) layout: IndexLayout,
    /// Its terms, as a segment has a filter of those of the indexes that were made with it.
    pub(super) terms: TermFilter,
}

impl DeferredIndex {
    fn located(&self) -> Located<'_> {
        Located {
            octets: &self.octets,
            layout: &self.layout,
        }
    }
}

impl InMemory {
    /// The index in a place, made now if it was not.
    pub(super) fn index<'s>(&'s self, segment: &Segment, id: AttributeId, place: u16) -> Option<Located<'s>> {
        let index = self.indexes.get(usize::from(place))?;
        let make = || {
            set(self.wanted.indexes.get(usize::from(id.0)));
            index_of(segment, id, &self.schema, &self.wanted)
        };
        Some(index.get_or_init(make).located())
    }

    pub(super) fn ask_for_substrings(&self, id: AttributeId) {
        set(self.wanted.substrings.get(usize::from(id.0)));
        set(Some(&self.wanted.missed));
    }

    /// False only where the index in a place is made and does not have the term.
    pub(super) fn may_have(&self, id: AttributeId, place: u16, term: &[u8]) -> bool {
        let index = self.indexes.get(usize::from(place)).and_then(OnceLock::get);
        index.is_none_or(|index| index.terms.may_hold(u32::from(id.0), term))
    }

    fn made(&self, place: u16) -> Option<Located<'_>> {
        let index = self.indexes.get(usize::from(place))?;
        index.get().map(DeferredIndex::located)
    }
}

impl Segment {
    /// Whether the index of a type has yet to be made.
    pub(in crate::store) fn defers(&self, id: AttributeId) -> bool {
        match (&self.later, self.layout.slots.get(usize::from(id.0))) {
            (Some(later), Some(Slot::Deferred(place))) => later.made(*place).is_none(),
            _ => false,
        }
    }

    /// Whether a search has missed substrings here, or in another segment made under the same wishes, since this was asked.
    pub(in crate::store) fn has_missed_substrings(&self) -> bool {
        let later = self.later.as_ref();
        later.is_some_and(|later| later.wanted.missed.swap(false, Ordering::Relaxed))
    }

    /// Makes the substrings that are wanted of every index that there is.
    pub(in crate::store) fn make_wanted_substrings(&self) {
        let Some(later) = &self.later else { return };
        for attribute in later
            .schema
            .attributes()
            .iter()
            .filter(|it| later.wanted.substrings(it.id))
        {
            let index = match self.layout.slots.get(usize::from(attribute.id.0)) {
                Some(Slot::At(_)) => self.located(attribute.id),
                Some(Slot::Deferred(place)) => later.made(*place),
                _ => None,
            };
            if let Some(index) = index
                && let SubstringsAt::Memory(made) = &index.layout.substrings
            {
                made.get_or_init(|| substrings_of(Dictionary::open(index.part(&index.layout.dictionary))));
            }
        }
    }
}

fn substrings_of(dictionary: Dictionary<'_>) -> Vec<u8> {
    let mut substrings = SubstringBuilder::default();
    dictionary.scan(0..dictionary.len(), |ordinal, value| {
        substrings.push(ordinal, value);
        true
    });
    substrings.finish()
}

/// Where the substrings of an index in memory are, of which there may be some already.
pub(super) fn substrings_at(made: Option<Vec<u8>>, schema: &Schema, id: AttributeId) -> SubstringsAt {
    match made {
        Some(made) => SubstringsAt::Memory(OnceLock::from(made)),
        None if serves_substrings(schema, id) => SubstringsAt::Memory(OnceLock::new()),
        None => SubstringsAt::Nowhere,
    }
}
