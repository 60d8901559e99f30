//! A segment: entries in DIT pre-order with their dictionaries and postings, written once, read in place.
//! `docs/store-format.md` gives the bytes.
//!
//! Useful for: id to record, key to id, and the index of each attribute type, from a mapped file or from memory alike.
//! Not for: which entries of it a newer layer hides.
//!
//! Invariants: the ordinal of an entry's key is its id; a subtree is one range of ids; opening costs the same whatever the
//! size; nothing read from a damaged file panics, it reads as empty; an index whose attribute type has another equality
//! rule now than when it was written is not used.

mod blocks;
mod build;
mod bulk;
mod deferred;
mod file;
mod gather;
pub(super) mod mapped;
mod merge;
#[cfg(test)]
mod tests;
mod verify;

use super::StoreError;
use super::record::Record;
use crate::index::bloom::TermFilter;
use crate::index::column::Column;
use crate::index::dictionary::Dictionary;
use crate::index::octets::u64_at;
use crate::index::postings::Postings;
use crate::index::substring::Substrings;
use crate::index::{EntryId, Ordinal};
use crate::schema::{AttributeId, AttributeType, MatchingRule, NormalizedDn, Schema};
use deferred::InMemory;
use mapped::prefetch;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

pub use bulk::{BulkFault, BulkLoad, BulkOutcome, PreparedEntry};
pub use deferred::Wanted;

/// Octets of one offset in the entry table.
const OFFSET: usize = 5;
/// Cache lines that what belongs to the values of a dictionary's block lies in, where that is a few octets each.
const NEAR_LINES: usize = 2;
/// Octets after the last offset, so that each can be read as eight.
const OFFSET_PADDING: usize = 3;

/// Takes one entry after the other.
pub type Emit<'e> = dyn FnMut(&NormalizedDn, Record<'_>) -> Result<(), StoreError> + 'e;

/// A segment in a mapped file or in memory.
pub struct Segment {
    octets: Octets,
    layout: Layout,
    /// Of a segment in memory, of which there may be many: its names and the terms of the indexes that were made with it.
    terms: TermFilter,
    /// Of a segment in memory: what of its indexes is made later.
    later: Option<InMemory>,
}

/// In a segment's [`TermFilter`]: the kind of what is an entry's key.
const KEYS: u32 = u32::MAX;

enum Octets {
    Mapped(mapped::Mapped),
    /// All but the records, of which each stays where it was made, however often segments become one: to copy them from one to the
    /// next took fresh memory each time, and that costs more than the copying.
    Memory {
        octets: Vec<u8>,
        /// By id.
        records: Vec<Arc<[u8]>>,
    },
}

/// Where the parts of a segment lie in its octets.
struct Layout {
    entries: u32,
    /// Of a file: for each entry and the end the offset of its record in the records, five octets little-endian.
    entry_table: Range<usize>,
    /// Of a file.
    records: Range<usize>,
    names: Range<usize>,
    depths: Range<usize>,
    /// Type numbers of the records to attribute types.
    types: Cow<'static, [AttributeId]>,
    indexes: Vec<IndexLayout>,
    /// By attribute type.
    slots: Vec<Slot>,
}

/// What there is of an attribute type's index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Slot {
    /// Not indexed, and no entry has it.
    Absent,
    Unindexed,
    /// The index was made by other rules than the schema has now.
    SetAside,
    /// Indexed, but no entry has it.
    Empty,
    /// In `indexes`.
    At(u16),
    /// Made when it is asked for ([`InMemory`]).
    Deferred(u16),
}

#[derive(Clone, Default, Debug)]
struct IndexLayout {
    dictionary: Range<usize>,
    postings: Range<usize>,
    presence: Range<usize>,
    substrings: SubstringsAt,
    column: Option<Range<usize>>,
}

/// Where the substrings of a dictionary are.
#[derive(Clone, Default, Debug)]
enum SubstringsAt {
    /// There are none: the type has no substrings rule that the dictionary serves.
    #[default]
    Nowhere,
    Section(Range<usize>),
    /// Of a segment in memory: made once they are wanted.
    Memory(OnceLock<Vec<u8>>),
}

/// The index of one attribute type within a segment.
#[derive(Clone, Copy)]
pub struct AttributeIndex<'a> {
    /// Distinct values normalised by the type's equality rule, ascending.
    pub dictionary: Dictionary<'a>,
    /// By ordinal of the dictionary.
    pub postings: Postings<'a>,
    /// `postings.list(Ordinal(0))` of this are all entries that have the attribute (with any options).
    pub presence: Postings<'a>,
    /// There when the type has a substrings rule that shares the form of its equality rule; in memory only where they were asked for.
    pub substrings: Option<Substrings<'a>>,
    /// What the index takes.
    pub bytes: IndexBytes,
}

impl AttributeIndex<'_> {
    /// The number of entries that have the attribute.
    pub fn entries(&self) -> u64 {
        u64::from(self.presence.list(Ordinal(0)).len)
    }

    /// The ordinal of exactly this value. Where its list lies is fetched meanwhile.
    #[inline]
    pub fn find(&self, value: &[u8]) -> Option<Ordinal> {
        let near = |first| prefetch(self.postings.descriptors(first), NEAR_LINES);
        self.dictionary.find_near(value, near)
    }
}

/// The octets of an index by its parts.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct IndexBytes {
    pub dictionary: u64,
    pub postings: u64,
    pub presence: u64,
    pub substrings: u64,
    pub column: u64,
}

impl IndexBytes {
    pub fn total(&self) -> u64 {
        self.dictionary + self.postings + self.presence + self.substrings + self.column
    }

    pub fn add(&mut self, other: &IndexBytes) {
        self.dictionary += other.dictionary;
        self.postings += other.postings;
        self.presence += other.presence;
        self.substrings += other.substrings;
        self.column += other.column;
    }
}

impl Segment {
    /// The number of entries; ids are `0..len`.
    #[inline]
    pub fn len(&self) -> u32 {
        self.layout.entries
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The stored entry; one that reads as empty when there is no such id, or where the file is damaged.
    #[inline]
    pub fn record(&self, id: EntryId) -> Record<'_> {
        let octets = match &self.octets {
            Octets::Mapped(mapped) => self.layout.record(mapped.octets(), id),
            Octets::Memory { records, .. } => records.get(id.0 as usize).map_or(&[][..], |record| record),
        };
        Record::new(octets, &self.layout.types)
    }

    /// The octets of a stored entry, shared where the segment is in memory.
    fn shared_record(&self, id: EntryId) -> Arc<[u8]> {
        let shared = match &self.octets {
            Octets::Memory { records, .. } => records.get(id.0 as usize).map(Arc::clone),
            Octets::Mapped(_) => None,
        };
        shared.unwrap_or_else(|| self.record(id).octets().into())
    }

    /// [`Segment::record`] will be called: brings near what says where it lies.
    #[inline]
    pub fn foresee(&self, id: EntryId) {
        prefetch(self.rows(id), 1);
    }

    /// The entry table from one entry on.
    #[inline]
    fn rows(&self, from: EntryId) -> &[u8] {
        let rows = self.part(&self.layout.entry_table).get(from.0 as usize * OFFSET..);
        rows.unwrap_or(&[])
    }

    /// The keys of all entries: ordinal and entry id are the same number.
    #[inline]
    pub fn names(&self) -> Dictionary<'_> {
        Dictionary::open(self.part(&self.layout.names))
    }

    /// How many RDNs an entry's name has; 255 stands for more too.
    #[inline]
    pub fn depth(&self, id: EntryId) -> u8 {
        self.part(&self.layout.depths).get(id.0 as usize).copied().unwrap_or(0)
    }

    #[inline]
    pub fn find(&self, key: &NormalizedDn) -> Option<EntryId> {
        if !self.terms.may_hold(KEYS, &key.0) {
            return None;
        }
        let near = |first: Ordinal| prefetch(self.rows(EntryId(first.0)), NEAR_LINES);
        let ordinal = self.names().find_near(&key.0, near)?;
        Some(EntryId(ordinal.0))
    }

    /// False only where no entry has this value, normalised by the type's equality rule, of an indexed type.
    #[inline]
    pub fn may_have(&self, attribute: AttributeId, term: &[u8]) -> bool {
        self.terms.may_hold(u32::from(attribute.0), term) || self.may_have_later(attribute, term)
    }

    /// As [`Segment::may_have`], of an index that was not made with the segment.
    fn may_have_later(&self, attribute: AttributeId, term: &[u8]) -> bool {
        match (&self.later, self.layout.slots.get(usize::from(attribute.0))) {
            (Some(later), Some(Slot::Deferred(place))) => later.may_have(attribute, *place, term),
            _ => false,
        }
    }

    /// True only where no entry has this value, normalised by the type's equality rule: said without a look into the dictionary.
    #[inline]
    pub fn certainly_lacks(&self, attribute: AttributeId, term: &[u8]) -> bool {
        if self.may_have(attribute, term) {
            return false;
        }
        match self.located(attribute) {
            // That of presence alone is empty.
            Some(index) => !Dictionary::open(index.part(&index.layout.dictionary)).is_empty(),
            None => self.lacks(attribute),
        }
    }

    /// The ids of an entry and everything below it, whether or not the entry itself is in this segment.
    pub fn subtree(&self, key: &NormalizedDn) -> Range<u32> {
        self.names().prefix_range(&key.0)
    }

    /// `None` when the attribute type is not indexed. A type that no entry has gives an empty index.
    #[inline]
    pub fn index(&self, attribute: AttributeId) -> Option<AttributeIndex<'_>> {
        // A type that was defined after the segment was made is one that no entry in it has.
        let slot = self.layout.slots.get(usize::from(attribute.0)).unwrap_or(&Slot::Empty);
        if *slot == Slot::Empty {
            return Some(AttributeIndex {
                dictionary: Dictionary::open(&[]),
                postings: Postings::open(&[]),
                presence: Postings::open(&[]),
                substrings: Some(Substrings::open(&[])),
                bytes: IndexBytes::default(),
            });
        }
        let index = self.located(attribute)?;
        Some(AttributeIndex {
            dictionary: Dictionary::open(index.part(&index.layout.dictionary)),
            postings: Postings::open(index.part(&index.layout.postings)),
            presence: Postings::open(index.part(&index.layout.presence)),
            substrings: index.substrings().map(Substrings::open),
            bytes: index.layout.bytes(),
        })
    }

    /// Whether it is known, index or not, that no entry has the attribute type.
    #[inline]
    pub fn lacks(&self, attribute: AttributeId) -> bool {
        let slot = self.layout.slots.get(usize::from(attribute.0)).unwrap_or(&Slot::Empty);
        matches!(slot, Slot::Absent | Slot::Empty)
    }

    /// A value that an index holds as it is written, because the earlier schema knew no such name, and the later one does.
    pub(super) fn newly_named(&self, before: &Schema, after: &Schema) -> Option<StoreError> {
        let mut names = after
            .identifiers()
            .filter(|name| before.canonical_identifier(name).is_none());
        names.find_map(|name| {
            let mut types = before.attributes().iter();
            let holder = types.find(|attribute| self.holds_identifier(attribute, &name))?;
            Some(StoreError::Names {
                attribute: holder.name().to_owned(),
                name,
            })
        })
    }

    fn holds_identifier(&self, attribute: &AttributeType, name: &str) -> bool {
        attribute.equality == Some(MatchingRule::ObjectIdentifier)
            && self
                .index(attribute.id)
                .is_some_and(|index| index.dictionary.find(name.as_bytes()).is_some())
    }

    /// The column of an attribute type: there when most entries have the type, nearly always with one value, out of few.
    #[inline]
    pub fn column(&self, attribute: AttributeId) -> Option<Column<'_>> {
        let index = self.located(attribute)?;
        let column = index.layout.column.as_ref()?;
        Some(Column::open(index.part(column)))
    }

    /// The posting lists of an attribute type; `None` where it has no index or no entry has it.
    #[inline]
    pub fn postings(&self, attribute: AttributeId) -> Option<Postings<'_>> {
        let index = self.located(attribute)?;
        Some(Postings::open(index.part(&index.layout.postings)))
    }

    /// The presence list of an attribute type, as [`Segment::postings`].
    #[inline]
    pub fn presence(&self, attribute: AttributeId) -> Option<Postings<'_>> {
        let index = self.located(attribute)?;
        Some(Postings::open(index.part(&index.layout.presence)))
    }

    #[inline]
    fn located(&self, attribute: AttributeId) -> Option<Located<'_>> {
        match *self.layout.slots.get(usize::from(attribute.0))? {
            Slot::At(place) => Some(Located {
                octets: self.octets.all(),
                layout: self.layout.indexes.get(usize::from(place))?,
            }),
            Slot::Deferred(place) => self.later.as_ref()?.index(self, attribute, place),
            Slot::Unindexed | Slot::SetAside | Slot::Absent | Slot::Empty => None,
        }
    }

    /// A search would have used the substrings of a type whose index has none here.
    pub fn ask_for_substrings(&self, attribute: AttributeId) {
        if let Some(later) = &self.later {
            later.ask_for_substrings(attribute);
        }
    }

    /// Bytes of the stored entries.
    pub fn record_bytes(&self) -> u64 {
        match &self.octets {
            Octets::Mapped(_) => self.layout.records.len() as u64,
            Octets::Memory { records, .. } => records.iter().map(|record| record.len() as u64).sum(),
        }
    }

    /// Bytes of what finds an entry by name and by number.
    pub fn name_bytes(&self) -> u64 {
        let numbers = match &self.octets {
            Octets::Mapped(_) => self.layout.entry_table.len(),
            Octets::Memory { records, .. } => size_of_val(records.as_slice()),
        };
        (self.layout.names.len() + self.layout.depths.len() + numbers) as u64
    }

    /// Bytes of the file or of memory.
    pub fn bytes(&self) -> u64 {
        let apart = match &self.octets {
            Octets::Mapped(_) => 0,
            Octets::Memory { records, .. } => self.record_bytes() + size_of_val(records.as_slice()) as u64,
        };
        self.octets.all().len() as u64 + apart
    }

    /// The attribute types whose indexes were made by other rules than the schema has now. They wait for a compaction; until
    /// then searches by them read every entry.
    pub fn set_aside(&self) -> impl Iterator<Item = AttributeId> + '_ {
        let slots = (0u16..).zip(&self.layout.slots);
        slots
            .filter(|(_, slot)| **slot == Slot::SetAside)
            .map(|(id, _)| AttributeId(id))
    }

    /// Maps a segment file. Cheap whatever its size: header and section table are checked, the rest by [`Segment::verify`].
    ///
    /// # Errors
    /// `Io`, `Corrupt`, and `SchemaLost` where an entry has an attribute type that the schema does not define.
    pub fn open(path: &std::path::Path, schema: &Schema) -> Result<Segment, StoreError> {
        file::open(path, schema)
    }

    /// Reads everything: checksums, order of keys, index against entries. Calls `fault` for each fault found.
    pub fn verify(&self, schema: &Schema, fault: &mut dyn FnMut(String)) {
        verify::verify(self, schema, 1, fault);
    }

    /// The sections of a file with their checksums, to be read a piece at a time; none of a segment in memory.
    pub(super) fn sections(&self) -> Vec<verify::Checked> {
        verify::sections(self)
    }

    /// Reads every section and says which is not as it was written, if any.
    pub(super) fn damaged_section(&self) -> Option<String> {
        verify::first_fault(self)
    }

    /// For a segment just written: every checksum and order, and one entry in 61 against the index.
    pub(super) fn verify_written(&self, schema: &Schema, fault: &mut dyn FnMut(String)) {
        verify::verify(self, schema, verify::WRITTEN_STEP, fault);
    }

    /// Writes the entries of `entries`, which ascend by key, to a new file and fsyncs it and its directory. `entries` is called
    /// once and gives every entry to its argument; a record may come from any layer, its type table is its own.
    pub fn write(
        path: &std::path::Path,
        schema: &Schema,
        unindexed: &[String],
        entries: &mut dyn FnMut(&mut Emit<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        build::write(path, schema, unindexed, entries)
    }

    /// Builds a segment in memory from `(key, record)` pairs that ascend by key; record type numbers are the schema's. Where it is small,
    /// indexes that are not `wanted` are made when they are asked for.
    pub fn build(entries: &[(NormalizedDn, Arc<[u8]>)], schema: &Arc<Schema>, wanted: &Arc<Wanted>) -> Segment {
        build::in_memory(entries, schema, wanted)
    }

    /// Builds one segment in memory of several: of the entries that are not hidden, by the number of the input and the id there; each
    /// key is visible in one of them. Their records are shared, and their terms come from the indexes of the inputs, as far as those
    /// are made, so nothing is normalised again.
    pub fn merge(
        inputs: &[&Segment],
        hides: &dyn Fn(usize, EntryId) -> bool,
        schema: &Arc<Schema>,
        wanted: &Arc<Wanted>,
    ) -> Segment {
        merge::merged(inputs, hides, schema, wanted)
    }

    #[inline]
    fn part(&self, range: &Range<usize>) -> &[u8] {
        self.octets.all().get(range.clone()).unwrap_or(&[])
    }
}

impl Octets {
    #[inline]
    fn all(&self) -> &[u8] {
        match self {
            Octets::Mapped(mapped) => mapped.octets(),
            Octets::Memory { octets, .. } => octets,
        }
    }
}

impl Layout {
    /// The octets of a record in those of a file.
    #[inline]
    fn record<'o>(&self, octets: &'o [u8], id: EntryId) -> &'o [u8] {
        let part = |range: &Range<usize>| octets.get(range.clone()).unwrap_or(&[]);
        let table = part(&self.entry_table);
        let offset = |number: usize| (u64_at(table, number * OFFSET) & 0xff_ffff_ffff) as usize;
        let (start, end) = (offset(id.0 as usize), offset(id.0 as usize + 1));
        part(&self.records).get(start..end).unwrap_or(&[])
    }
}

/// An index and the octets it lies in.
#[derive(Clone, Copy)]
struct Located<'a> {
    octets: &'a [u8],
    layout: &'a IndexLayout,
}

impl<'a> Located<'a> {
    #[inline]
    fn part(&self, range: &Range<usize>) -> &'a [u8] {
        self.octets.get(range.clone()).unwrap_or(&[])
    }

    #[inline]
    fn substrings(&self) -> Option<&'a [u8]> {
        match &self.layout.substrings {
            SubstringsAt::Nowhere => None,
            SubstringsAt::Section(range) => Some(self.part(range)),
            SubstringsAt::Memory(made) => made.get().map(Vec::as_slice),
        }
    }
}

impl SubstringsAt {
    fn len(&self) -> usize {
        match self {
            SubstringsAt::Nowhere => 0,
            SubstringsAt::Section(range) => range.len(),
            SubstringsAt::Memory(made) => made.get().map_or(0, Vec::len),
        }
    }
}

impl IndexLayout {
    fn bytes(&self) -> IndexBytes {
        IndexBytes {
            dictionary: self.dictionary.len() as u64,
            postings: self.postings.len() as u64,
            presence: self.presence.len() as u64,
            substrings: self.substrings.len() as u64,
            column: self.column.as_ref().map_or(0, Range::len) as u64,
        }
    }
}

/// What an index of each attribute type is when no entry has it.
fn empty_slots(schema: &Schema) -> Vec<Slot> {
    let slot = |id| match super::record::is_indexed(schema, id) {
        true => Slot::Empty,
        false => Slot::Absent,
    };
    schema.attributes().iter().map(|attribute| slot(attribute.id)).collect()
}

/// Offsets of records as the entry table holds them.
#[derive(Default)]
struct EntryTable {
    octets: Vec<u8>,
    at: u64,
}

impl EntryTable {
    /// Notes the length of the next record.
    fn push(&mut self, len: usize) {
        self.octets.extend_from_slice(&self.at.to_le_bytes()[..OFFSET]);
        self.at += len as u64;
    }

    fn finish(mut self) -> Vec<u8> {
        self.push(0);
        self.octets.extend_from_slice(&[0; OFFSET_PADDING]);
        self.octets
    }
}

/// The depth octet of a key.
fn depth_of(key: &[u8]) -> u8 {
    u8::try_from(key.iter().filter(|octet| **octet == 0).count()).unwrap_or(u8::MAX)
}
