//! The values of a sort's first key over all layers, in order.

use super::SortKeys;
use crate::index::Ordinal;
use crate::index::postings::PostingList;
use crate::schema::AttributeId;
use crate::store::{Layer, Location, Snapshot};
use std::ops::Range;

/// One dictionary that is being walked.
struct Source {
    layer: usize,
    attribute: AttributeId,
    /// Ordinals still to come.
    left: Range<u32>,
    /// The value of the next one, where `is_read`.
    head: Vec<u8>,
    is_read: bool,
}

/// A posting list of the value that a merge stands at.
#[derive(Clone, Copy)]
pub(super) struct ListOf {
    pub layer: usize,
    pub attribute: AttributeId,
    pub list: PostingList,
}

/// Walks the dictionaries of every layer side by side.
pub(super) struct ValueMerge {
    sources: Vec<Source>,
    /// Tail entries by their least value, the next one last.
    tail: Vec<(Vec<u8>, u32)>,
    reverse: bool,
    /// Values need not be read where there is but one source.
    counts_only: bool,
    pub value: Vec<u8>,
    pub lists: Vec<ListOf>,
    pub tail_now: Vec<u32>,
}

impl ValueMerge {
    /// From the value `from` on, which comes too.
    pub fn new(keys: &SortKeys, snapshot: &Snapshot, reverse: bool, from: Option<&[u8]>) -> ValueMerge {
        ValueMerge::of(keys, (&snapshot.layers, snapshot), reverse, from)
    }

    /// Of some layers, the first ones; the tail comes with all of them.
    fn of(
        keys: &SortKeys,
        (layers, snapshot): (&[Layer], &Snapshot),
        reverse: bool,
        from: Option<&[u8]>,
    ) -> ValueMerge {
        let mut sources = Vec::new();
        let mut tail = Vec::new();
        if let Some(key) = keys.keys.first() {
            for (layer, source) in layers.iter().enumerate() {
                for attribute in &key.types {
                    let Some(index) = source.segment.index(*attribute) else {
                        continue;
                    };
                    let all = index.dictionary.len();
                    let left = match from {
                        None => 0..all,
                        Some(from) if reverse => {
                            let at = index.dictionary.lower_bound(from).0;
                            0..(at + u32::from(index.dictionary.find(from).is_some()))
                        }
                        Some(from) => index.dictionary.lower_bound(from).0..all,
                    };
                    sources.push(Source {
                        layer,
                        attribute: *attribute,
                        left,
                        head: Vec::new(),
                        is_read: false,
                    });
                }
            }
            let is_whole = layers.len() == snapshot.layers.len();
            let tail_entries = if is_whole { snapshot.tail.len() as u32 } else { 0 };
            for index in 0..tail_entries {
                let record = snapshot.record(Location::Tail { index });
                if let Some(value) = key.least(record, &keys.schema, &keys.view) {
                    tail.push((value, index));
                }
            }
        }
        tail.sort_unstable();
        match from {
            Some(from) if reverse => tail.retain(|(value, _)| value.as_slice() <= from),
            Some(from) => tail.retain(|(value, _)| value.as_slice() >= from),
            None => {}
        }
        if !reverse {
            tail.reverse();
        }
        ValueMerge {
            sources,
            tail,
            reverse,
            counts_only: false,
            value: Vec::new(),
            lists: Vec::new(),
            tail_now: Vec::new(),
        }
    }

    /// The same without values: only the lists are wanted.
    pub fn of_lists(keys: &SortKeys, snapshot: &Snapshot) -> ValueMerge {
        ValueMerge {
            counts_only: true,
            ..ValueMerge::new(keys, snapshot, false, None)
        }
    }

    /// The lists of the first layer alone: where it is the only source, no value has to be read.
    pub fn of_base_lists(keys: &SortKeys, snapshot: &Snapshot) -> ValueMerge {
        let base = snapshot.layers.get(..1).unwrap_or_default();
        ValueMerge {
            counts_only: true,
            tail: Vec::new(),
            ..ValueMerge::of(keys, (base, snapshot), false, None)
        }
    }

    /// Goes to the next value; false at the end.
    pub fn advance(&mut self, snapshot: &Snapshot) -> bool {
        self.lists.clear();
        self.tail_now.clear();
        let reverse = self.reverse;
        if let ([source], true, true) = (self.sources.as_mut_slice(), self.tail.is_empty(), self.counts_only) {
            self.lists.extend(source.take(snapshot, reverse));
            return !self.lists.is_empty();
        }
        for source in &mut self.sources {
            source.read(snapshot, reverse);
        }
        let before = |left: &[u8], right: &[u8]| if reverse { left > right } else { left < right };
        let mut least: Option<&[u8]> = self.tail.last().map(|(value, _)| value.as_slice());
        for head in self
            .sources
            .iter()
            .filter(|source| source.is_read)
            .map(|source| source.head.as_slice())
        {
            if least.is_none_or(|least| before(head, least)) {
                least = Some(head);
            }
        }
        let Some(least) = least else {
            return false;
        };
        self.value.clear();
        self.value.extend_from_slice(least);
        for source in &mut self.sources {
            if source.is_read && source.head == self.value {
                self.lists.extend(source.take(snapshot, reverse));
            }
        }
        while let Some((_, index)) = self.tail.pop_if(|(value, _)| *value == self.value) {
            self.tail_now.push(index);
        }
        true
    }
}

impl Source {
    fn next(&self, reverse: bool) -> Option<u32> {
        match self.left.is_empty() {
            true => None,
            false if reverse => Some(self.left.end - 1),
            false => Some(self.left.start),
        }
    }

    fn read(&mut self, snapshot: &Snapshot, reverse: bool) {
        if self.is_read {
            return;
        }
        let layer = snapshot.layers.get(self.layer);
        let index = layer.and_then(|layer| layer.segment.index(self.attribute));
        if let (Some(ordinal), Some(index)) = (self.next(reverse), index) {
            index.dictionary.value(Ordinal(ordinal), &mut self.head);
            self.is_read = true;
        }
    }

    fn take(&mut self, snapshot: &Snapshot, reverse: bool) -> Option<ListOf> {
        let ordinal = self.next(reverse)?;
        self.is_read = false;
        match reverse {
            true => self.left.end -= 1,
            false => self.left.start += 1,
        }
        let index = snapshot.layers.get(self.layer)?.segment.index(self.attribute)?;
        Some(ListOf {
            layer: self.layer,
            attribute: self.attribute,
            list: index.postings.list(Ordinal(ordinal)),
        })
    }
}
