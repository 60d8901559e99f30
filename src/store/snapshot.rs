//! One immutable state of the directory: a stack of segments and a tail.

use super::SequenceNumber;
use super::record::Record;
use super::segment::Segment;
use crate::index::EntryId;
use crate::schema::NormalizedDn;
use std::sync::Arc;

/// An immutable state of the directory. Cheap to clone parts of, never changed.
pub struct Snapshot {
    pub sequence: SequenceNumber,
    /// Oldest (the mapped segment) first.
    pub layers: Vec<Layer>,
    /// Single entries newer than every layer, ascending by key.
    pub tail: Arc<Vec<Arc<TailEntry>>>,
    /// Identity type table for tail records.
    pub tail_types: Arc<[crate::schema::AttributeId]>,
}

#[derive(Clone)]
pub struct Layer {
    pub segment: Arc<Segment>,
    /// Which entries of the segment a newer layer replaces or a delete removed.
    pub hidden: HiddenSet,
}

/// A persistent set of entry ids: cloning shares, inserting copies one chunk.
#[derive(Clone, Default)]
pub struct HiddenSet {}

pub struct TailEntry {
    pub key: NormalizedDn,
    pub depth: u8,
    pub record: Box<[u8]>,
}

/// Where a visible entry lies in one snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Location {
    Layer { layer: u32, id: EntryId },
    Tail { index: u32 },
}

impl HiddenSet {
    pub fn is_empty(&self) -> bool {
        todo!()
    }

    pub fn contains(&self, id: EntryId) -> bool {
        let _ = id;
        todo!()
    }

    pub fn insert(&mut self, id: EntryId) {
        let _ = id;
        todo!()
    }

    pub fn len(&self) -> u32 {
        todo!()
    }
}

impl Snapshot {
    /// The number of visible entries.
    pub fn len(&self) -> u64 {
        todo!()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn find(&self, key: &NormalizedDn) -> Option<Location> {
        let _ = key;
        todo!()
    }

    pub fn record(&self, at: Location) -> Record<'_> {
        let _ = at;
        todo!()
    }

    pub fn key(&self, at: Location) -> NormalizedDn {
        let _ = at;
        todo!()
    }

    /// The number of entries directly below, counted up to `limit`.
    pub fn children(&self, key: &NormalizedDn, limit: u64) -> u64 {
        let _ = (key, limit);
        todo!()
    }

    /// The keys of every visible entry of a subtree, ascending, itself first; at most `limit`.
    pub fn subtree(&self, key: &NormalizedDn, limit: usize) -> Vec<NormalizedDn> {
        let _ = (key, limit);
        todo!()
    }
}
