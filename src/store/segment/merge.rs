//! Several segments in memory into one.
//!
//! What is sorted in each is merged, value by value, without a list of all of it. Records stay where they are. Only of an index that an
//! input has not made yet the terms come from records.

use super::build::{Entries, Slots, assembled, is_set};
use super::gather::{BuiltIndex, Gathered, IndexBuilder, LEFT_OUT, build_all, makes_substrings};
use super::{AttributeIndex, IndexBytes, Segment, Slot, Wanted};
use crate::index::column::ColumnBuilder;
use crate::index::dictionary::{Dictionary, DictionaryBuilder, DictionaryCursor};
use crate::index::postings::{PostingCursor, Postings, PostingsBuilder};
use crate::index::substring::SubstringBuilder;
use crate::index::{EntryId, Ordinal};
use crate::schema::{AttributeId, Schema};
use std::cmp::Ordering;
use std::sync::Arc;

/// [`Segment::merge`].
pub(super) fn merged(
    inputs: &[&Segment],
    hides: &dyn Fn(usize, EntryId) -> bool,
    schema: &Arc<Schema>,
    wanted: &Arc<Wanted>,
) -> Segment {
    let joined = joined(inputs, hides);
    let entries = joined.records.len();
    let slots = slots_of(inputs, entries, schema, wanted);
    let numbers: Vec<u32> = (0..entries as u32).collect();
    let deferring: Vec<Vec<bool>> = inputs.iter().map(|input| deferring(input, schema)).collect();
    let mut anew = anew(inputs, &joined, &slots, &deferring, schema, wanted);
    let mut indexes = Vec::new();
    let types = schema.attributes().iter().map(|attribute| attribute.id);
    for id in types.filter(|id| slots.is_now(*id)) {
        let made = inputs.iter().zip(&joined.ids).zip(&deferring);
        let made = made.filter(|((input, _), deferring)| !input.lacks(id) && !is_set(deferring, id));
        let made = made.filter_map(|((input, ids), _)| Some((input.index(id)?, ids.as_slice())));
        let mut made: Vec<Numbered<'_>> = made.collect();
        let anew = anew
            .iter()
            .position(|built| built.id == id)
            .map(|at| anew.swap_remove(at));
        let built = match (anew, made.is_empty()) {
            (Some(anew), true) => anew,
            (anew, _) => {
                made.extend(anew.as_ref().map(|anew| (opened(anew), numbers.as_slice())));
                let substrings = makes_substrings(schema, id, Some(wanted));
                index_of(id, &made, entries, substrings)
            }
        };
        if Postings::open(&built.presence).lists() > 0 {
            indexes.push(built);
        }
        // Who waits for the core gets it now, and not when this thread's time is over.
        std::thread::yield_now();
    }
    assembled(joined.parts, joined.records, indexes, slots, schema, wanted)
}

/// The entries of several segments as those of one.
struct Joined {
    parts: Entries,
    records: Vec<Arc<[u8]>>,
    /// For each input the new number of each of its entries.
    ids: Vec<Vec<u32>>,
}

fn joined(inputs: &[&Segment], hides: &dyn Fn(usize, EntryId) -> bool) -> Joined {
    let all: usize = inputs.iter().map(|input| input.len() as usize).sum();
    let octets: usize = inputs.iter().map(|input| input.layout.names.len()).sum();
    let mut parts = Entries {
        names: DictionaryBuilder::with_room(all, octets),
        depths: Vec::with_capacity(all),
        ..Entries::default()
    };
    let mut records = Vec::with_capacity(all);
    let left_out = |input: &&Segment| vec![LEFT_OUT; input.len() as usize];
    let mut ids: Vec<Vec<u32>> = inputs.iter().map(left_out).collect();
    ascend(inputs.iter().map(|input| input.names()), &mut |key, found| {
        // Visible in one of them at most.
        let visible = found.iter().find(|(input, id)| !hides(*input, EntryId(id.0)));
        if let Some((input, id)) = visible {
            ids[*input][id.0 as usize] = records.len() as u32;
            records.push(inputs[*input].shared_record(EntryId(id.0)));
            parts.push_key(key);
        }
    });
    Joined { parts, records, ids }
}

/// What there is of each index in one of several segments.
fn slots_of(inputs: &[&Segment], entries: usize, schema: &Schema, wanted: &Wanted) -> Slots {
    let mut slots = Slots::new(schema);
    for input in inputs {
        for (slot, place) in input.layout.slots.iter().zip(0..) {
            match slot {
                Slot::At(_) | Slot::Deferred(_) => slots.note(AttributeId(place), entries, wanted),
                Slot::Unindexed | Slot::SetAside => slots.slots[usize::from(place)] = Slot::Unindexed,
                Slot::Absent | Slot::Empty => {}
            }
        }
    }
    slots
}

/// By type, which indexes an input has not made yet. Asked once: a search may make one at any time, and its terms would come twice.
fn deferring(input: &Segment, schema: &Schema) -> Vec<bool> {
    schema
        .attributes()
        .iter()
        .map(|attribute| input.defers(attribute.id))
        .collect()
}

/// The indexes of what inputs have not made an index of yet.
fn anew(
    inputs: &[&Segment],
    joined: &Joined,
    slots: &Slots,
    deferring: &[Vec<bool>],
    schema: &Schema,
    wanted: &Wanted,
) -> Vec<BuiltIndex> {
    let mut gathered = Gathered::in_memory(schema, wanted, joined.records.len());
    for ((input, ids), deferring) in inputs.iter().zip(&joined.ids).zip(deferring) {
        let types = schema.attributes().iter().zip(deferring);
        let defers: Vec<bool> = types
            .map(|(attribute, defers)| *defers && slots.is_now(attribute.id))
            .collect();
        if !defers.contains(&true) {
            continue;
        }
        for (number, id) in ids.iter().zip(0..).filter(|(number, _)| **number != LEFT_OUT) {
            gathered.add_among(*number, input.record(EntryId(id)), schema, &|id| is_set(&defers, id));
        }
    }
    let mut indexes = Vec::new();
    let entries = joined.records.len() as u32;
    build_all(gathered.into_attributes(), None, entries, 1, &mut |built| {
        indexes.push(built);
    });
    indexes
}

/// An index, and the new number of each of its entries.
type Numbered<'i> = (AttributeIndex<'i>, &'i [u32]);

fn opened(built: &BuiltIndex) -> AttributeIndex<'_> {
    AttributeIndex {
        dictionary: Dictionary::open(&built.dictionary),
        postings: Postings::open(&built.postings),
        presence: Postings::open(&built.presence),
        substrings: None,
        bytes: IndexBytes {
            dictionary: built.dictionary.len() as u64,
            postings: built.postings.len() as u64,
            presence: built.presence.len() as u64,
            ..IndexBytes::default()
        },
    }
}

/// Several indexes of one type as one.
fn index_of(id: AttributeId, made: &[Numbered<'_>], entries: usize, substrings: bool) -> BuiltIndex {
    let sum = |part: fn(&AttributeIndex<'_>) -> u64| made.iter().map(|(index, _)| part(index)).sum::<u64>() as usize;
    let values = sum(|index| u64::from(index.dictionary.len()));
    let mut builder = IndexBuilder {
        dictionary: DictionaryBuilder::with_room(values, sum(|index| index.bytes.dictionary)),
        postings: PostingsBuilder::with_room(values, sum(|index| index.bytes.postings)),
        substrings: substrings.then(SubstringBuilder::default),
        column: None,
    };
    let (mut ids, mut postings) = (Vec::new(), 0);
    ascend(made.iter().map(|(index, _)| index.dictionary), &mut |term, found| {
        ids.clear();
        for (number, ordinal) in found {
            let (index, numbers) = &made[*number];
            renumbered(index.postings, *ordinal, numbers, &mut ids);
        }
        // The stable sort is the one that knows rows that are in order already.
        ids.sort();
        postings += builder.push(term, &mut ids);
    });
    let mut present = Vec::with_capacity(sum(|index| index.entries()));
    for (index, numbers) in made {
        renumbered(index.presence, Ordinal(0), numbers, &mut present);
    }
    present.sort();
    let mut built = builder.finish(id, &mut present);
    built.column = column_of(&built, entries, present.len(), postings);
    built
}

/// The new numbers of the entries of a list, without those that are left out.
fn renumbered(postings: Postings<'_>, ordinal: Ordinal, numbers: &[u32], out: &mut Vec<u32>) {
    let mut cursor = PostingCursor::new(postings.list(ordinal));
    while let Some(id) = cursor.next(postings) {
        let number = numbers.get(id.0 as usize).copied().unwrap_or(LEFT_OUT);
        if number != LEFT_OUT {
            out.push(number);
        }
    }
}

/// The column of an index, where it pays: how many values there are is only known behind the last.
fn column_of(built: &BuiltIndex, entries: usize, present: usize, postings: usize) -> Option<Vec<u8>> {
    let lists = Postings::open(&built.postings);
    let mut column = ColumnBuilder::new(entries, present, lists.lists() as usize, postings)?;
    let mut ids = Vec::new();
    for ordinal in (0..lists.lists()).map(Ordinal) {
        ids.clear();
        let mut cursor = PostingCursor::new(lists.list(ordinal));
        ids.extend(std::iter::from_fn(|| cursor.next(lists)).map(|id| id.0));
        column.push(ordinal, &ids);
    }
    Some(column.finish())
}

/// Calls `each` with every value of several dictionaries, ascending and once, and with all that have it and where.
fn ascend<'d>(dictionaries: impl Iterator<Item = Dictionary<'d>>, each: &mut dyn FnMut(&[u8], &[(usize, Ordinal)])) {
    let cursors = dictionaries.map(DictionaryCursor::new).enumerate();
    let mut cursors: Vec<(usize, DictionaryCursor<'d>)> = cursors.collect();
    cursors.retain_mut(|(_, cursor)| cursor.advance());
    let (mut least, mut found) = (Vec::new(), Vec::new());
    while let Some(((_, first), rest)) = cursors.split_first() {
        least.clear();
        least.push(0);
        let mut value = first.value();
        for ((_, cursor), place) in rest.iter().zip(1..) {
            match cursor.value().cmp(value) {
                Ordering::Less => {
                    value = cursor.value();
                    least.clear();
                    least.push(place);
                }
                Ordering::Equal => least.push(place),
                Ordering::Greater => {}
            }
        }
        found.clear();
        found.extend(
            least
                .iter()
                .map(|place: &usize| (cursors[*place].0, cursors[*place].1.ordinal())),
        );
        each(value, &found);
        // From behind, so that the places before stay what they are.
        for place in least.iter().rev() {
            if !cursors[*place].1.advance() {
                cursors.swap_remove(*place);
            }
        }
    }
}
