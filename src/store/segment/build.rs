//! Segments from entries that come in order: in memory, and into a file.

use super::deferred::{DEFERRED_ENTRIES, DeferredIndex, InMemory, Wanted, substrings_at};
use super::file::{FileWriter, Section};
use super::gather::{BuiltIndex, Gathered, build_all};
use super::{Emit, EntryTable, IndexLayout, KEYS, Layout, Octets, Segment, Slot, depth_of, empty_slots};
use crate::index::EntryId;
use crate::index::bloom::TermFilter;
use crate::index::dictionary::{Dictionary, DictionaryBuilder};
use crate::schema::{AttributeId, NormalizedDn, Schema};
use crate::store::StoreError;
use crate::store::kv::corrupt;
use crate::store::record::{Record, indexed_derived_types};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The parts of a segment that hold one item an entry.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) table: EntryTable,
    pub(super) names: DictionaryBuilder,
    pub(super) depths: Vec<u8>,
}

impl Entries {
    /// Notes the next entry; keys ascend.
    pub(super) fn push(&mut self, key: &[u8], record_len: usize) {
        self.table.push(record_len);
        self.push_key(key);
    }

    /// As [`Entries::push`], of a segment in memory: its records need no table.
    pub(super) fn push_key(&mut self, key: &[u8]) {
        self.names.push(key);
        self.depths.push(depth_of(key));
    }
}

/// Which index of a segment in memory is made with it, and which later.
pub(super) struct Slots {
    /// `Empty` stands for those made now, too, until their place is known.
    pub(super) slots: Vec<Slot>,
    now: Vec<bool>,
    deferred: u16,
}

impl Slots {
    /// No entry has any type yet.
    pub(super) fn new(schema: &Schema) -> Slots {
        let slots = empty_slots(schema);
        Slots {
            now: vec![false; slots.len()],
            deferred: 0,
            slots,
        }
    }

    /// An entry has a type: its index is made now or later.
    pub(super) fn note(&mut self, id: AttributeId, entries: usize, wanted: &Wanted) {
        let place = usize::from(id.0);
        let (Some(slot), Some(now)) = (self.slots.get_mut(place), self.now.get_mut(place)) else {
            return;
        };
        match slot {
            Slot::Absent => *slot = Slot::Unindexed,
            Slot::Empty if entries > DEFERRED_ENTRIES || wanted.index(id) => *now = true,
            Slot::Empty => {
                *slot = Slot::Deferred(self.deferred);
                self.deferred += 1;
            }
            _ => {}
        }
    }

    pub(super) fn is_now(&self, id: AttributeId) -> bool {
        is_set(&self.now, id)
    }
}

/// What a list with a place for each type says of one.
pub(super) fn is_set(types: &[bool], id: AttributeId) -> bool {
    types.get(usize::from(id.0)).is_some_and(|set| *set)
}

/// [`Segment::build`].
pub(super) fn in_memory(entries: &[(NormalizedDn, Arc<[u8]>)], schema: &Arc<Schema>, wanted: &Arc<Wanted>) -> Segment {
    let types = schema.type_numbers();
    let mut slots = Slots::new(schema);
    let records = || entries.iter().map(|(_, record)| Record::new(record, types));
    let held = records().flat_map(|record| record.attributes().map(|attribute| attribute.id));
    let derived = indexed_derived_types(schema)
        .into_iter()
        .filter(|_| !entries.is_empty());
    held.chain(derived).for_each(|id| slots.note(id, entries.len(), wanted));
    let mut gathered = Gathered::in_memory(schema, wanted, entries.len());
    if slots.now.contains(&true) {
        for (record, number) in records().zip(0..) {
            gathered.add_among(number, record, schema, &|id| slots.is_now(id));
        }
    }
    let mut parts = Entries::default();
    entries.iter().for_each(|(key, _)| parts.push_key(&key.0));
    let mut indexes = Vec::new();
    build_all(
        gathered.into_attributes(),
        None,
        entries.len() as u32,
        1,
        &mut |built| {
            indexes.push(built);
        },
    );
    let records = entries.iter().map(|(_, record)| Arc::clone(record)).collect();
    assembled(parts, records, indexes, slots, schema, wanted)
}

/// An index of a small segment that was not made with it.
pub(super) fn index_of(segment: &Segment, id: AttributeId, schema: &Schema, wanted: &Wanted) -> DeferredIndex {
    let mut gathered = Gathered::in_memory(schema, wanted, segment.len() as usize);
    for number in 0..segment.len() {
        let record = segment.record(EntryId(number));
        gathered.add_among(number, record, schema, &|other| other == id);
    }
    let mut made = DeferredIndex {
        octets: Vec::new(),
        layout: IndexLayout::default(),
        terms: TermFilter::new(0),
    };
    build_all(gathered.into_attributes(), None, segment.len(), 1, &mut |built| {
        made.terms = TermFilter::new(Dictionary::open(&built.dictionary).len() as usize);
        note_terms(&mut made.terms, &built);
        made.layout = placed(built, &mut made.octets, schema);
    });
    made
}

fn note_terms(terms: &mut TermFilter, built: &BuiltIndex) {
    let dictionary = Dictionary::open(&built.dictionary);
    dictionary.scan(0..dictionary.len(), |_, term| {
        terms.insert(u32::from(built.id.0), term);
        true
    });
}

/// Appends the parts of an index; substrings stay apart.
fn placed(built: BuiltIndex, octets: &mut Vec<u8>, schema: &Schema) -> IndexLayout {
    let mut append = |part: &[u8]| -> Range<usize> {
        octets.extend_from_slice(part);
        octets.len() - part.len()..octets.len()
    };
    IndexLayout {
        dictionary: append(&built.dictionary),
        postings: append(&built.postings),
        presence: append(&built.presence),
        column: built.column.as_deref().map(&mut append),
        substrings: substrings_at(built.substrings, schema, built.id),
    }
}

/// A segment in memory of its parts.
pub(super) fn assembled(
    parts: Entries,
    records: Vec<Arc<[u8]>>,
    mut indexes: Vec<BuiltIndex>,
    slots: Slots,
    schema: &Arc<Schema>,
    wanted: &Arc<Wanted>,
) -> Segment {
    indexes.sort_unstable_by_key(|built| built.id);
    let names = parts.names.finish();
    let keys = Dictionary::open(&names);
    let terms = indexes.iter().map(|built| Dictionary::open(&built.dictionary).len());
    let mut terms = TermFilter::new((keys.len() + terms.sum::<u32>()) as usize);
    keys.scan(0..keys.len(), |_, key| {
        terms.insert(KEYS, key);
        true
    });
    indexes.iter().for_each(|built| note_terms(&mut terms, built));
    // Exactly what is needed: memory that is grown into and given back has to be cleared again.
    let octets = names.len() + parts.depths.len() + indexes.iter().map(BuiltIndex::len).sum::<usize>();
    let mut octets = Vec::with_capacity(octets);
    let mut append = |part: &[u8]| -> Range<usize> {
        octets.extend_from_slice(part);
        octets.len() - part.len()..octets.len()
    };
    let mut layout = Layout {
        entries: records.len() as u32,
        entry_table: 0..0,
        records: 0..0,
        names: append(&names),
        depths: append(&parts.depths),
        types: schema.type_numbers().into(),
        indexes: Vec::with_capacity(indexes.len()),
        slots: slots.slots,
    };
    for built in indexes {
        layout.slots[usize::from(built.id.0)] = Slot::At(layout.indexes.len() as u16);
        layout.indexes.push(placed(built, &mut octets, schema));
    }
    Segment {
        octets: Octets::Memory { octets, records },
        layout,
        terms,
        later: Some(InMemory {
            schema: Arc::clone(schema),
            wanted: Arc::clone(wanted),
            indexes: (0..slots.deferred).map(|_| OnceLock::new()).collect(),
        }),
    }
}

/// Threads that build the indexes of a bulk load.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(8)
}

/// [`Segment::write`].
pub(super) fn write(
    path: &Path,
    schema: &Schema,
    unindexed: &[String],
    entries: &mut dyn FnMut(&mut Emit<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let types = schema.type_numbers();
    let mut parts = Entries::default();
    let mut gathered = Gathered::new(schema, unindexed, 0);
    let mut file = FileWriter::create(path)?;
    let mut octets = Vec::new();
    let mut number = 0;
    file.begin(Section::Records, 0)?;
    entries(&mut |key, record| {
        octets.clear();
        record
            .renumber(&mut octets, |id| id.0)
            .map_err(|fault| corrupt(path, &format!("entry {}: {fault}", record.dn())))?;
        parts.push(&key.0, octets.len());
        gathered.add(number, Record::new(&octets, types), schema);
        number += 1;
        file.extend(&octets)
    })?;
    file.end()?;
    // A compaction works beside searches: it takes no more than the one core it rests on half of the time.
    finish_file(file, parts, gathered, None, 1, schema)
}

/// Writes what follows the records, and makes the file durable.
pub(super) fn finish_file(
    mut file: FileWriter,
    parts: Entries,
    gathered: Gathered<'_>,
    ids: Option<&[u32]>,
    threads: usize,
    schema: &Schema,
) -> Result<(), StoreError> {
    let entries = parts.depths.len() as u32;
    file.section(Section::EntryTable, 0, &parts.table.finish())?;
    file.section(Section::Names, 0, &parts.names.finish())?;
    file.section(Section::Depths, 0, &parts.depths)?;
    let attributes = gathered.into_attributes();
    file.types(&attributes, schema)?;
    let mut outcome = Ok(());
    build_all(attributes, ids, entries, threads, &mut |built| {
        if outcome.is_ok() {
            outcome = file.index(&built);
        }
    });
    outcome?;
    file.finish(entries)
}
