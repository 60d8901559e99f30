//! Reads a segment and says what is wrong with it: checksums, order, and the index against the entries.

use super::file::{HEADER, HEADER_USED, ROW, section_rows};
use super::{AttributeIndex, Octets, Segment, depth_of};
use crate::index::column::OrdinalSet;
use crate::index::postings::PostingCursor;
use crate::index::{EntryId, Ordinal};
use crate::schema::{AttributeId, AttributeType, Schema};
use crate::store::record::index_terms;
use std::ops::Range;

/// Of the values that are looked at, one in this many has its substrings checked.
const SUBSTRINGS_OF: u32 = 8;

/// After writing, one entry and value in this many is normalised again.
pub(super) const WRITTEN_STEP: u32 = 61;

/// Checksums and order are checked throughout; what must be normalised again only of every `step`th entry and value.
pub(super) fn verify(segment: &Segment, schema: &Schema, step: u32, fault: &mut dyn FnMut(String)) {
    if let Octets::Mapped(mapped) = &segment.octets {
        gaps(mapped.octets(), fault);
        let octets = mapped.octets();
        for section in sections(segment) {
            if octets.get(section.range.clone()).map(crc32fast::hash) != Some(section.checksum) {
                fault(section.fault());
            }
        }
    }
    names_and_records(segment, schema, step, fault);
    let mut counts = vec![(0u64, 0u64); schema.attributes().len()];
    for id in (0..segment.len()).step_by(step as usize) {
        entry_is_indexed(segment, schema, EntryId(id), &mut counts, fault);
    }
    for attribute in schema.attributes() {
        let Some(index) = segment.index(attribute.id) else {
            continue;
        };
        let counts = counts[usize::from(attribute.id.0)];
        let expected = (step == 1).then_some(counts);
        index_stands(segment, attribute, index, expected, step, fault);
    }
}

/// A section of a segment file and what its octets must sum up to.
pub(in crate::store) struct Checked {
    pub range: Range<usize>,
    pub checksum: u32,
    kind: u32,
    number: u16,
}

impl Checked {
    /// What to say where they do not.
    pub(in crate::store) fn fault(&self) -> String {
        let Checked {
            range, kind, number, ..
        } = self;
        format!(
            "section {kind} of type number {number} at {}..{}: the checksum does not match",
            range.start, range.end
        )
    }
}

/// Every section of a mapped segment; none of one in memory.
pub(super) fn sections(segment: &Segment) -> Vec<Checked> {
    let rows = match &segment.octets {
        Octets::Mapped(mapped) => section_rows(mapped.octets()).unwrap_or_default(),
        Octets::Memory { .. } => Vec::new(),
    };
    let checked = rows.into_iter().map(|row| Checked {
        range: row.range,
        checksum: row.crc,
        kind: row.kind,
        number: row.number,
    });
    checked.collect()
}

/// The first section of a mapped segment that is not as it was written.
pub(super) fn first_fault(segment: &Segment) -> Option<String> {
    let octets = segment.octets.all();
    let stands = |section: &Checked| octets.get(section.range.clone()).map(crc32fast::hash) == Some(section.checksum);
    let mut sections = sections(segment).into_iter();
    sections.find(|section| !stands(section)).map(|section| section.fault())
}

/// What no section covers is nothing.
fn gaps(octets: &[u8], fault: &mut dyn FnMut(String)) {
    let rows = match section_rows(octets) {
        Ok(rows) => rows,
        Err(reason) => return fault(reason.to_owned()),
    };
    let (mut covered, mut gaps) = (HEADER, 0);
    let mut ranges: Vec<_> = rows.iter().map(|row| row.range.clone()).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    for range in ranges {
        let gap = octets.get(covered..range.start).unwrap_or(&[]);
        gaps += gap.iter().filter(|octet| **octet != 0).count();
        covered = covered.max(range.end);
    }
    let table_at = octets.len() - rows.len() * ROW;
    for gap in [octets.get(HEADER_USED..HEADER), octets.get(covered..table_at)] {
        gaps += gap.unwrap_or(&[]).iter().filter(|octet| **octet != 0).count();
    }
    if gaps > 0 {
        fault(format!("{gaps} octets between the sections are not zero"));
    }
}

/// Keys ascend, depths are theirs, records lie one behind the other and carry the name that the key says.
fn names_and_records(segment: &Segment, schema: &Schema, step: u32, fault: &mut dyn FnMut(String)) {
    let mut before: Option<Vec<u8>> = None;
    let mut seen = 0;
    segment.names().scan(0..segment.len(), |ordinal, key| {
        seen += 1;
        let id = EntryId(ordinal.0);
        if before.as_deref().is_some_and(|before| before >= key) {
            fault(format!("entry {}: its key does not come after the one before", id.0));
        }
        if segment.depth(id) != depth_of(key) {
            fault(format!("entry {}: the depth kept is not that of its name", id.0));
        }
        if ordinal.0.is_multiple_of(step) {
            let entry = segment.record(id).to_entry();
            match schema.normalize_dn(&entry.dn) {
                Ok(found) if found.0 == key => {}
                _ => fault(format!(
                    "entry {}: the record's name {:?} is not that of its key",
                    id.0,
                    segment.record(id).dn()
                )),
            }
        }
        before.get_or_insert_default().clear();
        before.get_or_insert_default().extend_from_slice(key);
        true
    });
    if seen != segment.len() {
        fault(format!("the names end after {seen} of {} entries", segment.len()));
    }
}

/// Every attribute and term of one entry is found through the index. Counts attributes and terms by type.
fn entry_is_indexed(
    segment: &Segment,
    schema: &Schema,
    id: EntryId,
    counts: &mut [(u64, u64)],
    fault: &mut dyn FnMut(String),
) {
    let record = segment.record(id);
    let mut present: Vec<AttributeId> = record.attributes().map(|attribute| attribute.id).collect();
    let mut terms: Vec<(AttributeId, Vec<u8>)> = Vec::new();
    index_terms(record, schema, &mut |attribute, term| {
        present.push(attribute);
        terms.push((attribute, term.to_vec()));
    });
    present.sort_unstable();
    present.dedup();
    terms.sort_unstable();
    terms.dedup();
    let name = |attribute: AttributeId| schema.attribute(attribute).name();
    for attribute in present {
        let Some(index) = segment.index(attribute) else {
            continue;
        };
        counts[usize::from(attribute.0)].0 += 1;
        if !index.presence.contains(index.presence.list(Ordinal(0)), id) {
            fault(format!(
                "entry {}: {} is missing in the presence index",
                id.0,
                name(attribute)
            ));
        }
    }
    for (attribute, term) in terms {
        let Some(index) = segment.index(attribute) else {
            continue;
        };
        counts[usize::from(attribute.0)].1 += 1;
        let found = index.dictionary.find(&term);
        if !found.is_some_and(|ordinal| index.postings.contains(index.postings.list(ordinal), id)) {
            fault(format!(
                "entry {}: a value of {} is missing in its index",
                id.0,
                name(attribute)
            ));
        }
    }
}

/// Values ascend, lists ascend and hold nothing but entries, and no more than the entries have.
fn index_stands(
    segment: &Segment,
    attribute: &AttributeType,
    index: AttributeIndex<'_>,
    expected: Option<(u64, u64)>,
    step: u32,
    fault: &mut dyn FnMut(String),
) {
    let name = attribute.name();
    if index.dictionary.len() != index.postings.lists() {
        fault(format!("index of {name}: there is not one posting list for each value"));
    }
    let (mut before, mut seen): (Option<Vec<u8>>, u32) = (None, 0);
    index.dictionary.scan(0..index.dictionary.len(), |ordinal, value| {
        seen += 1;
        if before.as_deref().is_some_and(|before| before >= value) {
            fault(format!(
                "index of {name}: value {} does not come after the one before",
                ordinal.0
            ));
        }
        let looked_at = ordinal.0.is_multiple_of(step.saturating_mul(SUBSTRINGS_OF));
        if looked_at
            && index
                .substrings
                .is_some_and(|substrings| !substrings.holds(ordinal, value))
        {
            fault(format!(
                "index of {name}: value {} is missing in the substrings",
                ordinal.0
            ));
        }
        before.get_or_insert_default().clear();
        before.get_or_insert_default().extend_from_slice(value);
        true
    });
    if seen != index.dictionary.len() {
        fault(format!(
            "index of {name}: the values end after {seen} of {}",
            index.dictionary.len()
        ));
    }
    if index.substrings.is_some_and(|substrings| substrings.values() != seen) {
        fault(format!(
            "index of {name}: the substrings are not of as many values as there are"
        ));
    }
    let mut listed = 0;
    let mut in_column = true;
    let column = segment.column(attribute.id);
    for ordinal in 0..index.postings.lists() {
        let wanted = OrdinalSet::Range(ordinal..ordinal + 1);
        listed += ids_of(segment, name, index.postings, ordinal, fault, &mut |id| {
            in_column &= column.is_none_or(|column| column.any(id, &wanted));
        });
    }
    let present = ids_of(segment, name, index.presence, 0, fault, &mut |_| {});
    let counted = column.is_none_or(|column| column.values() == listed);
    if !in_column || !counted {
        fault(format!("index of {name}: the column does not say what the lists say"));
    }
    if expected.is_some_and(|expected| expected != (present, listed)) {
        fault(format!("index of {name}: it lists entries that do not have the value"));
    }
}

/// How many ids a list gives.
fn ids_of(
    segment: &Segment,
    name: &str,
    postings: crate::index::postings::Postings<'_>,
    ordinal: u32,
    fault: &mut dyn FnMut(String),
    each: &mut dyn FnMut(EntryId),
) -> u64 {
    let list = postings.list(Ordinal(ordinal));
    let (mut cursor, mut last, mut count) = (PostingCursor::new(list), None, 0);
    while let Some(id) = cursor.next(postings) {
        if last >= Some(id) || id.0 >= segment.len() {
            fault(format!(
                "index of {name}: posting list {ordinal} holds an entry out of order or out of range"
            ));
            break;
        }
        last = Some(id);
        each(id);
        count += 1;
    }
    if count != u64::from(list.len) {
        fault(format!(
            "index of {name}: posting list {ordinal} is not as long as it says"
        ));
    }
    count
}
