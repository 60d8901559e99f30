//! A segment: entries in DIT pre-order with their dictionaries and postings, written once, read in place.
//! `docs/store-format.md` gives the bytes.

use super::record::Record;
use super::{Store, StoreError};
use crate::index::EntryId;
use crate::index::dictionary::Dictionary;
use crate::index::postings::Postings;
use crate::index::substring::Substrings;
use crate::model::Entry;
use crate::schema::{AttributeId, NormalizedDn, Schema};
use std::ops::Range;

/// A segment in a mapped file or in memory.
pub struct Segment {}

/// The index of one attribute type within a segment.
#[derive(Clone, Copy)]
pub struct AttributeIndex<'a> {
    /// Distinct values normalised by the type's equality rule, ascending.
    pub dictionary: Dictionary<'a>,
    /// By ordinal of the dictionary.
    pub postings: Postings<'a>,
    /// `postings.list(Ordinal(0))` of this are all entries that have the attribute (with any options).
    pub presence: Postings<'a>,
    /// There when the type has a substrings rule that shares the form of its equality rule.
    pub substrings: Option<Substrings<'a>>,
    /// What the whole index takes.
    pub bytes: u64,
}

impl Segment {
    /// The number of entries; ids are `0..len`.
    pub fn len(&self) -> u32 {
        todo!()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn record(&self, id: EntryId) -> Record<'_> {
        let _ = id;
        todo!()
    }

    /// The keys of all entries: ordinal and entry id are the same number.
    pub fn names(&self) -> Dictionary<'_> {
        todo!()
    }

    /// How many RDNs an entry's name has.
    pub fn depth(&self, id: EntryId) -> u8 {
        let _ = id;
        todo!()
    }

    pub fn find(&self, key: &NormalizedDn) -> Option<EntryId> {
        self.names().find(&key.0).map(|ordinal| EntryId(ordinal.0))
    }

    /// The ids of an entry and everything below it, whether or not the entry itself is in this segment.
    pub fn subtree(&self, key: &NormalizedDn) -> Range<u32> {
        self.names().prefix_range(&key.0)
    }

    /// `None` when the attribute type is not indexed. A type that no entry has gives an empty index.
    pub fn index(&self, attribute: AttributeId) -> Option<AttributeIndex<'_>> {
        let _ = attribute;
        todo!()
    }

    /// Maps a segment file. Cheap whatever its size: header and section table are checked, the rest by [`Segment::verify`].
    pub fn open(path: &std::path::Path, schema: &Schema) -> Result<Segment, StoreError> {
        let _ = (path, schema);
        todo!()
    }

    /// Reads everything: checksums, order of keys, index against entries. Calls `fault` for each fault found.
    pub fn verify(&self, schema: &Schema, fault: &mut dyn FnMut(String)) {
        let _ = (schema, fault);
        todo!()
    }

    /// Bytes of the file or of memory.
    pub fn bytes(&self) -> u64 {
        todo!()
    }

    /// Writes the entries of `entries`, which ascend by key, to a new file and fsyncs it and its directory. `entries` is called
    /// once and gives every entry to its argument; a record may come from any layer, its type table is its own.
    pub fn write(
        path: &std::path::Path,
        schema: &Schema,
        unindexed: &[String],
        entries: &mut dyn FnMut(
            &mut dyn FnMut(&NormalizedDn, Record<'_>) -> Result<(), StoreError>,
        ) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let _ = (path, schema, unindexed, entries);
        todo!()
    }

    /// Builds a segment in memory from `(key, record)` pairs that ascend by key; record type numbers are the schema's.
    pub fn build(entries: &[(NormalizedDn, &[u8])], schema: &Schema) -> Segment {
        let _ = (entries, schema);
        todo!()
    }
}

/// A bulk load in progress. Entries may come in any order; nothing is visible before [`BulkLoad::finish`].
pub struct BulkLoad<'a> {
    _store: std::marker::PhantomData<&'a Store>,
}

impl<'a> BulkLoad<'a> {
    pub(super) fn new(store: &'a Store, replace: bool) -> Result<BulkLoad<'a>, StoreError> {
        let _ = (store, replace);
        todo!()
    }

    /// Adds one entry. The caller has checked it against the schema. Spills to disk as needed.
    pub fn add(
        &mut self,
        key: NormalizedDn,
        entry: &Entry,
        operational: &super::Operational<'_>,
    ) -> Result<(), StoreError> {
        let _ = (key, entry, operational);
        todo!()
    }

    /// Sorts, writes, verifies and publishes the segment; `keyed` becomes durable with it. Faults are entries whose key came
    /// twice or whose parent is missing (unless the key is a naming context in `suffixes`): with any fault nothing is published and the faults
    /// are given back as (key, reason), unless `skip_bad`, which leaves those entries out.
    pub fn finish(
        self,
        suffixes: &[NormalizedDn],
        keyed: Vec<super::KeyedWrite>,
        skip_bad: bool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<BulkOutcome, StoreError> {
        let _ = (suffixes, keyed, skip_bad, progress);
        todo!()
    }
}

#[derive(Clone, Debug, Default)]
pub struct BulkOutcome {
    pub entries: u64,
    pub published: bool,
    pub faults: Vec<BulkFault>,
}

#[derive(Clone, Debug)]
pub struct BulkFault {
    pub key: NormalizedDn,
    pub dn: String,
    pub reason: &'static str,
}
