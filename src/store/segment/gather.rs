//! Index terms of many entries into dictionaries, postings, substrings and columns: the part that a segment in memory, a
//! compaction and a bulk load share.

use super::Wanted;
use crate::index::Ordinal;
use crate::index::column::ColumnBuilder;
use crate::index::dictionary::DictionaryBuilder;
use crate::index::octets::{common_prefix, push_varint, varint};
use crate::index::postings::PostingsBuilder;
use crate::index::substring::SubstringBuilder;
use crate::schema::{AttributeId, Schema};
use crate::store::record::{self, Record};
use std::collections::HashMap;
use std::sync::Mutex;

/// In a table of entry ids by order of arrival: the entry was left out.
pub(super) const LEFT_OUT: u32 = u32::MAX;

/// Terms of one type up to which sorting them with their repetitions costs less than telling those apart by hashing.
const HASHED: usize = 1 << 16;

/// Octets of a term, most of the time less. What is not used of the room for them is never touched.
const TERM_OCTETS: usize = 16;

/// Terms of entries in the order they came, by attribute type.
pub(super) struct Gathered<'w> {
    /// By [`AttributeId`]; `None` for types that no entry has.
    attributes: Vec<Option<Box<AttributeTerms>>>,
    /// Types that get no index by configuration.
    unindexed: Vec<AttributeId>,
    /// Of a segment in memory: only what is wanted gets substrings.
    wanted: Option<&'w Wanted>,
    /// Entries that will come, or thereabouts: lists that grow step by step take fresh memory at each.
    expected: usize,
}

/// What is known of one attribute type.
pub(super) struct AttributeTerms {
    pub(super) id: AttributeId,
    /// Whether there will be a dictionary.
    pub(super) indexed: bool,
    /// Whether the dictionary serves the type's substrings rule.
    substrings: bool,
    /// The entries that have the attribute.
    present: Vec<u32>,
    /// For each term the entry that has it, and in `octets` its length (a varint) and itself.
    entries: Vec<u32>,
    octets: Vec<u8>,
}

/// The finished index of one attribute type.
pub(super) struct BuiltIndex {
    pub(super) id: AttributeId,
    pub(super) dictionary: Vec<u8>,
    pub(super) postings: Vec<u8>,
    pub(super) presence: Vec<u8>,
    pub(super) substrings: Option<Vec<u8>>,
    pub(super) column: Option<Vec<u8>>,
}

impl BuiltIndex {
    /// Octets of all its parts.
    pub(super) fn len(&self) -> usize {
        let parts = [&self.dictionary, &self.postings, &self.presence];
        let optional = [&self.substrings, &self.column];
        parts.map(Vec::len).iter().sum::<usize>()
            + optional
                .iter()
                .filter_map(|part| part.as_ref())
                .map(Vec::len)
                .sum::<usize>()
    }
}

impl<'w> Gathered<'w> {
    /// `unindexed` are names of attribute types; unknown ones mean nothing here. `expected` entries will come, or thereabouts.
    pub(super) fn new(schema: &Schema, unindexed: &[String], expected: usize) -> Gathered<'w> {
        Gathered {
            attributes: schema.attributes().iter().map(|_| None).collect(),
            unindexed: unindexed
                .iter()
                .filter_map(|name| schema.find_attribute(name))
                .collect(),
            wanted: None,
            expected,
        }
    }

    /// For a segment in memory, which has substrings where they are wanted.
    pub(super) fn in_memory(schema: &Schema, wanted: &'w Wanted, expected: usize) -> Gathered<'w> {
        Gathered {
            wanted: Some(wanted),
            ..Gathered::new(schema, &[], expected)
        }
    }

    /// As [`Gathered::add`], of some types only.
    pub(super) fn add_among(
        &mut self,
        number: u32,
        record: Record<'_>,
        schema: &Schema,
        among: &dyn Fn(AttributeId) -> bool,
    ) {
        for attribute in record.attributes().filter(|attribute| among(attribute.id)) {
            if let Some(terms) = self.attribute(attribute.id, schema) {
                terms.note_present(number);
            }
        }
        record::index_terms_of(record, schema, among, &mut |id, term| {
            self.add_term(number, id, term, schema);
        });
    }

    /// Notes the attributes and the terms of the entry with this number. Numbers ascend.
    pub(super) fn add(&mut self, number: u32, record: Record<'_>, schema: &Schema) {
        self.add_present(number, record, schema);
        record::index_terms(record, schema, &mut |id, term| self.add_term(number, id, term, schema));
    }

    /// Notes which attributes an entry has.
    pub(super) fn add_present(&mut self, number: u32, record: Record<'_>, schema: &Schema) {
        for attribute in record.attributes() {
            if let Some(terms) = self.attribute(attribute.id, schema) {
                terms.note_present(number);
            }
        }
    }

    pub(super) fn add_term(&mut self, number: u32, id: AttributeId, term: &[u8], schema: &Schema) {
        if let Some(terms) = self.attribute(id, schema) {
            terms.note_present(number);
            if terms.indexed {
                terms.note_term(number, term);
            }
        }
    }

    fn attribute(&mut self, id: AttributeId, schema: &Schema) -> Option<&mut AttributeTerms> {
        let place = self.attributes.get_mut(usize::from(id.0))?;
        if place.is_none() {
            let indexed = record::is_indexed(schema, id) && !self.unindexed.contains(&id);
            let terms = if indexed { self.expected } else { 0 };
            *place = Some(Box::new(AttributeTerms {
                id,
                indexed,
                substrings: makes_substrings(schema, id, self.wanted),
                present: Vec::with_capacity(self.expected),
                entries: Vec::with_capacity(terms),
                octets: Vec::with_capacity(terms * TERM_OCTETS),
            }));
        }
        place.as_deref_mut()
    }

    /// The types that an entry has, ascending, the indexed ones with their terms.
    pub(super) fn into_attributes(self) -> Vec<AttributeTerms> {
        let attributes = self.attributes.into_iter().flatten().map(|terms| *terms);
        attributes.filter(|terms| !terms.present.is_empty()).collect()
    }
}

/// Whether an index of an attribute type is made with its substrings.
pub(super) fn makes_substrings(schema: &Schema, id: AttributeId, wanted: Option<&Wanted>) -> bool {
    serves_substrings(schema, id) && wanted.is_none_or(|wanted| wanted.substrings(id))
}

/// Whether the dictionary of an attribute type serves its substrings rule too.
pub(super) fn serves_substrings(schema: &Schema, id: AttributeId) -> bool {
    let attribute = schema.attribute(id);
    match (attribute.equality, attribute.substrings) {
        (Some(equality), Some(substrings)) => equality.shares_form(substrings),
        _ => false,
    }
}

impl AttributeTerms {
    fn note_present(&mut self, number: u32) {
        if self.present.last() != Some(&number) {
            self.present.push(number);
        }
    }

    fn note_term(&mut self, number: u32, term: &[u8]) {
        self.entries.push(number);
        push_varint(&mut self.octets, term.len() as u32);
        self.octets.extend_from_slice(term);
    }

    /// Sorts the terms into an index for `entries` entries. `ids` says which id each entry got, by its number; without it, its number is its id.
    pub(super) fn build(self, ids: Option<&[u32]>, entries: u32) -> BuiltIndex {
        let id_of = |number: u32| match ids {
            Some(ids) => ids.get(number as usize).copied().unwrap_or(LEFT_OUT),
            None => number,
        };
        let (distinct, ranks, mut counts) = self.rank();
        // Where each term's ids begin, then the ids in their places.
        let mut start = 0;
        for count in &mut counts {
            start += std::mem::replace(count, start);
        }
        let mut starts = counts;
        let mut sorted = vec![0; self.entries.len()];
        for (number, rank) in self.entries.iter().zip(&ranks) {
            let at = &mut starts[*rank as usize];
            sorted[*at as usize] = id_of(*number);
            *at += 1;
        }
        let column = ColumnBuilder::new(entries as usize, self.present.len(), distinct.len(), self.entries.len());
        let mut index = IndexBuilder {
            dictionary: DictionaryBuilder::with_room(distinct.len(), distinct.iter().map(|term| term.len()).sum()),
            postings: PostingsBuilder::with_room(distinct.len(), 0),
            substrings: self.substrings.then(SubstringBuilder::default),
            column,
        };
        let mut begin = 0;
        for (term, end) in distinct.iter().zip(&starts) {
            index.push(term, &mut sorted[begin as usize..*end as usize]);
            begin = *end;
        }
        let mut present: Vec<u32> = self.present.iter().map(|number| id_of(*number)).collect();
        index.finish(self.id, &mut present)
    }

    /// The distinct terms ascending, the rank of each posting's term among them, and how many postings each has.
    fn rank(&self) -> (Vec<&[u8]>, Vec<u32>, Vec<u32>) {
        let hashes = self.entries.len() > HASHED;
        let mut numbers: HashMap<&[u8], u32> = HashMap::new();
        let one_each = if hashes { 0 } else { self.entries.len() };
        let (mut met, mut ranks) = (Vec::with_capacity(one_each), Vec::with_capacity(self.entries.len()));
        let mut meet = |term| {
            met.push(term);
            met.len() as u32 - 1
        };
        let mut last: Option<(&[u8], u32)> = None;
        let mut at = 0;
        while let Some(len) = varint(&self.octets, &mut at) {
            let term = &self.octets[at..at + len as usize];
            at += len as usize;
            let number = match last {
                Some((before, number)) if before == term => number,
                _ if hashes => *numbers.entry(term).or_insert_with(|| meet(term)),
                _ => meet(term),
            };
            last = Some((term, number));
            ranks.push(number);
        }
        drop(numbers);
        let mut distinct: Vec<&[u8]> = Vec::with_capacity(met.len());
        let mut rank_of = vec![0u32; met.len()];
        for number in ascending(&met) {
            let term = met[number as usize];
            if distinct.last() != Some(&term) {
                distinct.push(term);
            }
            rank_of[number as usize] = distinct.len() as u32 - 1;
        }
        let mut counts = vec![0u32; distinct.len()];
        for number in &mut ranks {
            *number = rank_of[*number as usize];
            counts[*number as usize] += 1;
        }
        (distinct, ranks, counts)
    }
}

/// The places of `values` in ascending order of what is there.
pub(super) fn ascending(values: &[&[u8]]) -> Vec<u32> {
    let Some(first) = values.first() else {
        return Vec::new();
    };
    // Eight octets behind what all have in common decide most comparisons without a cache miss.
    let shared = values
        .iter()
        .fold(first.len(), |shared, value| common_prefix(&first[..shared], value));
    let key = |value: &[u8]| {
        let mut eight = [0; 8];
        let rest = &value[shared..];
        let len = rest.len().min(8);
        eight[..len].copy_from_slice(&rest[..len]);
        u64::from_be_bytes(eight)
    };
    let mut order: Vec<(u64, u32)> = values.iter().zip(0..).map(|(value, at)| (key(value), at)).collect();
    let full = |at: u32| values[at as usize];
    // The stable sort is the one that knows input that is in order already.
    order.sort_by(|left, right| left.0.cmp(&right.0).then_with(|| full(left.1).cmp(full(right.1))));
    order.into_iter().map(|(_, at)| at).collect()
}

pub(super) struct IndexBuilder {
    pub(super) dictionary: DictionaryBuilder,
    pub(super) postings: PostingsBuilder,
    pub(super) substrings: Option<SubstringBuilder>,
    pub(super) column: Option<ColumnBuilder>,
}

impl IndexBuilder {
    /// Adds a term with its entries, which may come in any order, more than once, and left out. Says how many there are.
    pub(super) fn push(&mut self, term: &[u8], ids: &mut [u32]) -> usize {
        let ids = settled(ids);
        if ids.is_empty() {
            return 0;
        }
        let ordinal: Ordinal = self.dictionary.push(term);
        self.postings.push(ids);
        if let Some(substrings) = &mut self.substrings {
            substrings.push(ordinal, term);
        }
        if let Some(column) = &mut self.column {
            column.push(ordinal, ids);
        }
        ids.len()
    }

    pub(super) fn finish(self, id: AttributeId, present: &mut [u32]) -> BuiltIndex {
        let mut presence = PostingsBuilder::default();
        let present = settled(present);
        if !present.is_empty() {
            presence.push(present);
        }
        BuiltIndex {
            id,
            dictionary: self.dictionary.finish(),
            postings: self.postings.finish(),
            presence: presence.finish(),
            substrings: self.substrings.map(SubstringBuilder::finish),
            column: self.column.map(ColumnBuilder::finish),
        }
    }
}

/// Sorts ids, and gives those at the front that are there and distinct.
fn settled(ids: &mut [u32]) -> &[u32] {
    if !ids.is_sorted() {
        ids.sort_unstable();
    }
    let mut kept = 0;
    for at in 0..ids.len() {
        if ids[at] != LEFT_OUT && (kept == 0 || ids[kept - 1] != ids[at]) {
            ids[kept] = ids[at];
            kept += 1;
        }
    }
    &ids[..kept]
}

/// Builds every index, the largest first, on `threads` threads; calls `done` with each from one thread at a time.
pub(super) fn build_all(
    mut attributes: Vec<AttributeTerms>,
    ids: Option<&[u32]>,
    entries: u32,
    threads: usize,
    done: &mut (dyn FnMut(BuiltIndex) + Send),
) {
    attributes.retain(|terms| terms.indexed);
    attributes.sort_by_key(|terms| terms.octets.len());
    let (queue, done) = (Mutex::new(attributes), Mutex::new(done));
    let work = || {
        while let Some(terms) = queue.lock().ok().and_then(|mut queue| queue.pop()) {
            let built = terms.build(ids, entries);
            // Who waits for the core gets it now, and not when this thread's time is over.
            std::thread::yield_now();
            if let Ok(mut done) = done.lock() {
                done(built);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
}
