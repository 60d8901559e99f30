//! Segments from entries that come in order: in memory, and into a file.

use super::file::{FileWriter, Section};
use super::gather::{AttributeTerms, BuiltIndex, Gathered, LEFT_OUT, build_all};
use super::{Emit, EntryTable, IndexLayout, KEYS, Layout, Octets, Segment, Slot, depth_of, empty_slots};
use crate::index::EntryId;
use crate::index::bloom::TermFilter;
use crate::index::dictionary::{Dictionary, DictionaryBuilder};
use crate::schema::{AttributeId, NormalizedDn, Schema};
use crate::store::StoreError;
use crate::store::kv::corrupt;
use crate::store::record::Record;
use std::ops::Range;
use std::path::Path;

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
        self.names.push(key);
        self.depths.push(depth_of(key));
    }
}

/// [`Segment::build`].
pub(super) fn in_memory(entries: &[(NormalizedDn, &[u8])], schema: &Schema) -> Segment {
    let types = schema.type_numbers();
    let mut gathered = Gathered::new(schema, &[]);
    for ((_, record), number) in entries.iter().zip(0..) {
        gathered.add(number, Record::new(record, types), schema);
    }
    let entries = entries.iter().map(|(key, record)| (key, *record));
    assembled(entries, gathered, &[], schema)
}

/// [`Segment::merge`].
pub(super) fn merged(inputs: &[&Segment], entries: &[(NormalizedDn, u32, EntryId)], schema: &Schema) -> Segment {
    let mut ids: Vec<Vec<u32>> = inputs
        .iter()
        .map(|input| vec![LEFT_OUT; input.len() as usize])
        .collect();
    for ((_, input, id), number) in entries.iter().zip(0..) {
        ids[*input as usize][id.0 as usize] = number;
    }
    let mut gathered = Gathered::new(schema, &[]);
    let mut unindexed = Vec::new();
    for (input, ids) in inputs.iter().zip(&ids) {
        for (slot, attribute) in input.layout.slots.iter().zip(schema.attributes()) {
            match (slot, input.index(attribute.id)) {
                (Slot::At(_), Some(index)) => gathered.add_index(attribute.id, &index, ids, schema),
                (Slot::Unindexed | Slot::SetAside, _) => unindexed.push(attribute.id),
                _ => {}
            }
        }
    }
    let entries = entries
        .iter()
        .map(|(key, input, id)| (key, inputs[*input as usize].record(*id).octets()));
    assembled(entries, gathered, &unindexed, schema)
}

/// `unindexed` are types that an entry may have beside what was gathered.
fn assembled<'e>(
    entries: impl ExactSizeIterator<Item = (&'e NormalizedDn, &'e [u8])> + Clone,
    gathered: Gathered,
    unindexed: &[AttributeId],
    schema: &Schema,
) -> Segment {
    let attributes = gathered.into_attributes();
    let mut slots = empty_slots(schema);
    let without = attributes.iter().filter(|terms| !terms.indexed).map(|terms| terms.id);
    without
        .chain(unindexed.iter().copied())
        .for_each(|id| slots[usize::from(id.0)] = Slot::Unindexed);
    let count = entries.len();
    let mut terms = TermFilter::new(attributes.iter().map(AttributeTerms::len).sum::<usize>() + count);
    let mut parts = Entries::default();
    for (key, record) in entries.clone() {
        terms.insert(KEYS, &key.0);
        parts.push(&key.0, record.len());
    }
    let mut indexes = Vec::new();
    build_all(attributes, None, count as u32, 1, &mut |built| {
        let dictionary = Dictionary::open(&built.dictionary);
        dictionary.scan(0..dictionary.len(), |_, term| {
            terms.insert(u32::from(built.id.0), term);
            true
        });
        indexes.push(built);
    });
    let (table, names) = (parts.table.finish(), parts.names.finish());
    // Exactly what is needed: memory that is grown into and given back has to be cleared again.
    let mut octets = Vec::with_capacity(
        entries.clone().map(|entry| entry.1.len()).sum::<usize>()
            + [&table, &names, &parts.depths].map(Vec::len).iter().sum::<usize>()
            + indexes.iter().map(BuiltIndex::len).sum::<usize>(),
    );
    entries.for_each(|(_, record)| octets.extend_from_slice(record));
    let records = 0..octets.len();
    let mut append = |part: &[u8]| -> Range<usize> {
        octets.extend_from_slice(part);
        octets.len() - part.len()..octets.len()
    };
    let mut layout = Layout {
        entries: count as u32,
        entry_table: append(&table),
        records,
        names: append(&names),
        depths: append(&parts.depths),
        types: schema.type_numbers().into(),
        indexes: Vec::new(),
        slots,
    };
    for built in indexes {
        layout.slots[usize::from(built.id.0)] = Slot::At(layout.indexes.len() as u16);
        layout.indexes.push(IndexLayout {
            dictionary: append(&built.dictionary),
            postings: append(&built.postings),
            presence: append(&built.presence),
            substrings: built.substrings.as_deref().map(&mut append),
            column: built.column.as_deref().map(&mut append),
        });
    }
    Segment {
        octets: Octets::Memory(octets),
        layout,
        terms,
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
    let mut gathered = Gathered::new(schema, unindexed);
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
    gathered: Gathered,
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
