//! One immutable state of the directory: a stack of segments and a tail.

use super::record::{Record, csn_time};
use super::segment::{Segment, Wanted};
use super::{Change, SequenceNumber};
use crate::index::EntryId;
use crate::index::postings::PostingCursor;
use crate::schema::{AttributeId, NormalizedDn, Schema};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// An immutable state of the directory. Cheap to clone parts of, never changed.
///
/// Invariant: a key is visible in at most one place, so the order of layers decides nothing.
#[derive(Clone)]
pub struct Snapshot {
    pub sequence: SequenceNumber,
    /// Oldest (the mapped segment) first.
    pub layers: Vec<Layer>,
    /// Single entries newer than every layer, ascending by key.
    pub tail: Arc<Vec<Arc<TailEntry>>>,
    /// The schema that its entries were made under, or one before a [`Schema::successor`] of it: no record names a type that this one
    /// does not know.
    schema: Arc<Schema>,
    /// The indexes that searches ask the overlay for.
    wanted: Arc<Wanted>,
}

#[derive(Clone)]
pub struct Layer {
    pub segment: Arc<Segment>,
    /// Which entries of the segment a newer layer replaces or a delete removed.
    pub hidden: HiddenSet,
}

/// A persistent set of entry ids: cloning shares, inserting copies one chunk of 4,096 ids and the two nodes above it.
#[derive(Clone, Default)]
pub struct HiddenSet {
    root: Arc<Vec<Option<Arc<Middle>>>>,
    len: u32,
}

const CHUNK_WORDS: usize = 64;
const CHUNK_IDS: u32 = 64 * CHUNK_WORDS as u32;
const MIDDLE_CHUNKS: usize = 64;
const MIDDLE_IDS: u32 = CHUNK_IDS * MIDDLE_CHUNKS as u32;

type Chunk = [u64; CHUNK_WORDS];

#[derive(Clone)]
struct Middle {
    chunks: [Option<Arc<Chunk>>; MIDDLE_CHUNKS],
}

pub struct TailEntry {
    pub key: NormalizedDn,
    pub depth: u8,
    /// Stays where it is while the entry goes from segment to segment in memory.
    pub record: Arc<[u8]>,
}

/// Where a visible entry lies in one snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Location {
    Layer { layer: u32, id: EntryId },
    Tail { index: u32 },
}

impl HiddenSet {
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn contains(&self, id: EntryId) -> bool {
        let (middle, chunk, word, bit) = split(id);
        let Some(Some(middle)) = self.root.get(middle) else {
            return false;
        };
        let Some(chunk) = &middle.chunks[chunk] else {
            return false;
        };
        chunk[word] & bit != 0
    }

    pub fn insert(&mut self, id: EntryId) {
        let (middle, chunk, word, bit) = split(id);
        let root = Arc::make_mut(&mut self.root);
        if root.len() <= middle {
            root.resize(middle + 1, None);
        }
        let empty = || {
            Arc::new(Middle {
                chunks: [const { None }; MIDDLE_CHUNKS],
            })
        };
        let middle = Arc::make_mut(root[middle].get_or_insert_with(empty));
        let chunk = Arc::make_mut(middle.chunks[chunk].get_or_insert_with(|| Arc::new([0; CHUNK_WORDS])));
        if chunk[word] & bit == 0 {
            chunk[word] |= bit;
            self.len += 1;
        }
    }

    pub fn len(&self) -> u32 {
        self.len
    }

    /// The ids that are in `self` and not in `before`, another state of the same set. Costs what differs.
    pub fn since<'a>(&'a self, before: &'a HiddenSet) -> impl Iterator<Item = EntryId> + 'a {
        let middles = self
            .root
            .iter()
            .enumerate()
            .filter_map(|(at, middle)| middle.as_ref().map(|middle| (at, middle)));
        middles.flat_map(move |(at, middle)| {
            let old = before.root.get(at).and_then(Option::as_ref);
            let same = old.is_some_and(|old| Arc::ptr_eq(old, middle));
            let chunks = if same { &[] } else { middle.chunks.as_slice() };
            chunks.iter().enumerate().flat_map(move |(within, chunk)| {
                let old = old.and_then(|old| old.chunks[within].as_deref());
                let base = at as u32 * MIDDLE_IDS + within as u32 * CHUNK_IDS;
                chunk.iter().flat_map(move |chunk| new_ids(chunk, old, base))
            })
        })
    }
}

fn new_ids<'a>(chunk: &'a Chunk, old: Option<&'a Chunk>, base: u32) -> impl Iterator<Item = EntryId> + 'a {
    chunk.iter().enumerate().flat_map(move |(at, word)| {
        let mut added = word & !old.map_or(0, |old| old[at]);
        std::iter::from_fn(move || {
            let bit = added.trailing_zeros();
            (added != 0).then(|| {
                added &= added - 1;
                EntryId(base + at as u32 * 64 + bit)
            })
        })
    })
}

/// Number of the middle node, of the chunk in it, of the word in that, and the bit.
fn split(id: EntryId) -> (usize, usize, usize, u64) {
    let within = id.0 % MIDDLE_IDS;
    (
        (id.0 / MIDDLE_IDS) as usize,
        (within / CHUNK_IDS) as usize,
        (within % CHUNK_IDS / 64) as usize,
        1 << (id.0 % 64),
    )
}

impl Layer {
    pub fn new(segment: Arc<Segment>) -> Layer {
        Layer {
            segment,
            hidden: HiddenSet::default(),
        }
    }

    /// The number of visible entries.
    pub fn len(&self) -> u32 {
        self.segment.len() - self.hidden.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn find(&self, key: &NormalizedDn) -> Option<EntryId> {
        self.segment.find(key).filter(|id| !self.hidden.contains(*id))
    }

    /// Whether a visible entry has one of these normalised values; `None` where no index says so.
    pub fn has_any_value(&self, attribute: AttributeId, values: &[Vec<u8>]) -> Option<bool> {
        let index = self.segment.index(attribute)?;
        if index.dictionary.is_empty() && index.presence.lists() > 0 {
            return None;
        }
        let mut ordinals = values.iter().filter_map(|value| index.dictionary.find(value));
        Some(ordinals.any(|ordinal| {
            let mut cursor = PostingCursor::new(index.postings.list(ordinal));
            std::iter::from_fn(|| cursor.next(index.postings)).any(|id| !self.hidden.contains(id))
        }))
    }

    pub fn key(&self, id: EntryId) -> NormalizedDn {
        let mut key = Vec::new();
        self.segment.names().value(crate::index::Ordinal(id.0), &mut key);
        NormalizedDn(key)
    }
}

impl TailEntry {
    pub fn new(key: NormalizedDn, record: Vec<u8>) -> TailEntry {
        let depth = u8::try_from(key.depth()).unwrap_or(u8::MAX);
        TailEntry {
            key,
            depth,
            record: record.into(),
        }
    }
}

impl Snapshot {
    /// A directory with no entry.
    pub fn empty(schema: Arc<Schema>) -> Snapshot {
        Snapshot {
            sequence: SequenceNumber(0),
            layers: Vec::new(),
            tail: Arc::default(),
            wanted: Arc::new(Wanted::nothing(&schema)),
            schema,
        }
    }

    pub(super) fn wanted(&self) -> &Arc<Wanted> {
        &self.wanted
    }

    /// What was asked for is forgotten: what is still wanted will be asked for again.
    pub(super) fn forget_wanted(&mut self) {
        self.wanted = Arc::new(Wanted::nothing(&self.schema));
    }

    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The same entries under a schema that takes the place of theirs.
    pub(super) fn under(mut self, schema: Arc<Schema>) -> Snapshot {
        self.schema = schema;
        self
    }

    /// The record of an entry in the tail.
    pub fn tail_record<'a>(&'a self, entry: &'a TailEntry) -> Record<'a> {
        Record::new(&entry.record, self.schema.type_numbers())
    }

    /// The number of visible entries.
    pub fn len(&self) -> u64 {
        self.layers.iter().map(|layer| u64::from(layer.len())).sum::<u64>() + self.tail.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn find(&self, key: &NormalizedDn) -> Option<Location> {
        if let Ok(index) = self.tail_index(key) {
            return Some(Location::Tail { index: index as u32 });
        }
        // The first layer holds nearly everything.
        let mut layers = self.layers.iter().enumerate();
        layers.find_map(|(layer, within)| {
            within.find(key).map(|id| Location::Layer {
                layer: layer as u32,
                id,
            })
        })
    }

    pub fn record(&self, at: Location) -> Record<'_> {
        match at {
            Location::Layer { layer, id } => self.layers[layer as usize].segment.record(id),
            Location::Tail { index } => self.tail_record(&self.tail[index as usize]),
        }
    }

    /// The record of an entry will be asked for: brings near what says where it lies.
    #[inline]
    pub fn foresee(&self, at: Location) {
        if let Location::Layer { layer, id } = at {
            self.layers[layer as usize].segment.foresee(id);
        }
    }

    pub fn key(&self, at: Location) -> NormalizedDn {
        match at {
            Location::Layer { layer, id } => self.layers[layer as usize].key(id),
            Location::Tail { index } => self.tail[index as usize].key.clone(),
        }
    }

    /// The number of entries directly below, counted up to `limit`.
    pub fn children(&self, key: &NormalizedDn, limit: u64) -> u64 {
        let mut count = 0;
        for layer in &self.layers {
            if count >= limit {
                break;
            }
            count += layer_children(layer, key, limit - count);
        }
        let depth = key.depth() + 1;
        let tail = self.tail_subtree(key).filter(|entry| usize::from(entry.depth) == depth);
        count += tail.take((limit - count) as usize).count() as u64;
        count
    }

    /// The keys of every visible entry of a subtree, ascending, itself first; at most `limit`.
    pub fn subtree(&self, key: &NormalizedDn, limit: usize) -> Vec<NormalizedDn> {
        let mut keys = Vec::new();
        for layer in &self.layers {
            let ids = layer
                .segment
                .subtree(key)
                .map(EntryId)
                .filter(|id| !layer.hidden.contains(*id));
            keys.extend(ids.take(limit).map(|id| layer.key(id)));
        }
        keys.extend(self.tail_subtree(key).take(limit).map(|entry| entry.key.clone()));
        keys.sort_unstable();
        keys.truncate(limit);
        keys
    }

    fn tail_index(&self, key: &NormalizedDn) -> Result<usize, usize> {
        self.tail.binary_search_by(|entry| entry.key.cmp(key))
    }

    fn tail_subtree<'a>(&'a self, key: &'a NormalizedDn) -> impl Iterator<Item = &'a Arc<TailEntry>> {
        let from = self.tail.partition_point(|entry| entry.key < *key);
        self.tail[from..]
            .iter()
            .take_while(move |entry| entry.key.is_within(key))
    }

    /// The greatest change time ([`super::Operational::changed`]) of any entry, from the index of entryCSN; those of entries that a
    /// newer layer hides count too.
    pub fn last_change(&self) -> u64 {
        let csn = self.schema.well_known().entry_csn;
        let (unindexed, indexed): (Vec<&Layer>, Vec<&Layer>) =
            self.layers.iter().partition(|layer| layer.segment.defers(csn));
        let stood = indexed.into_iter().filter_map(|layer| {
            let index = layer.segment.index(csn)?;
            let last = index.dictionary.len().checked_sub(1)?;
            let mut text = Vec::new();
            index.dictionary.value(crate::index::Ordinal(last), &mut text);
            csn_time(&String::from_utf8_lossy(&text))
        });
        let tail = (0..self.tail.len() as u32).map(|index| self.record(Location::Tail { index }).operational().changed);
        // To ask for the index would be to have it made for every change from then on.
        let read = unindexed.into_iter().flat_map(|layer| {
            let ids = (0..layer.segment.len()).map(EntryId);
            ids.map(|id| layer.segment.record(id).operational().changed)
        });
        stood.chain(read).chain(tail).max().unwrap_or_default()
    }

    /// Makes this the state after a change. `of` is where the entry is that it is about, where that is known.
    pub(super) fn change(&mut self, change: Change, of: Option<Location>) {
        match change {
            Change::Put { key, record } => match self.tail_index(&key) {
                Ok(at) => Arc::make_mut(&mut self.tail)[at] = Arc::new(TailEntry::new(key, record)),
                Err(at) => {
                    debug_assert!(of.is_none_or(|of| self.find(&key) == Some(of)), "{key:?} is elsewhere");
                    match of {
                        Some(Location::Layer { layer, id }) => self.layers[layer as usize].hidden.insert(id),
                        Some(Location::Tail { .. }) | None => self.hide(&key),
                    }
                    Arc::make_mut(&mut self.tail).insert(at, Arc::new(TailEntry::new(key, record)));
                }
            },
            Change::Delete { key, .. } => match self.tail_index(&key) {
                Ok(at) => drop(Arc::make_mut(&mut self.tail).remove(at)),
                Err(_) => self.hide(&key),
            },
        }
    }

    /// Makes this the state after many changes, each key once: `None` deletes. The tail must be empty.
    pub(super) fn change_all(&mut self, changes: BTreeMap<NormalizedDn, Option<Vec<u8>>>) {
        debug_assert!(self.tail.is_empty(), "the tail is made anew");
        changes.keys().for_each(|key| self.hide(key));
        let puts = changes
            .into_iter()
            .filter_map(|(key, record)| Some(Arc::new(TailEntry::new(key, record?))));
        self.tail = Arc::new(puts.collect());
    }

    /// Hides a key in the layer that has it, if any.
    fn hide(&mut self, key: &NormalizedDn) {
        for layer in &mut self.layers {
            if let Some(id) = layer.find(key) {
                layer.hidden.insert(id);
                return;
            }
        }
    }
}

/// Children of `key` in one layer. Steps from one branch to the next, so it costs the children and not what is below them.
fn layer_children(layer: &Layer, key: &NormalizedDn, limit: u64) -> u64 {
    let depth = key.depth() + 1;
    let Range { start, end } = layer.segment.subtree(key);
    let mut at = start;
    let mut count = 0;
    while at < end && count < limit {
        let id = EntryId(at);
        let found = usize::from(layer.segment.depth(id));
        if found < depth {
            at += 1;
            continue;
        }
        if found == depth && !layer.hidden.contains(id) {
            count += 1;
        }
        let branch = ancestor(layer.key(id), depth);
        at = layer.segment.subtree(&branch).end.max(at + 1);
    }
    count
}

/// The first `depth` RDNs of a key.
fn ancestor(mut key: NormalizedDn, depth: usize) -> NormalizedDn {
    let ends = key
        .0
        .iter()
        .enumerate()
        .filter(|(_, octet)| **octet == 0)
        .map(|(at, _)| at + 1);
    let len = ends.take(depth).last().unwrap_or(0);
    key.0.truncate(len);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_hidden_set_is_a_set_that_clones_do_not_share_changes_of() {
        let mut set = HiddenSet::default();
        let mut oracle = BTreeSet::new();
        let mut seed = 17u64;
        let mut earlier = set.clone();
        let mut earlier_oracle = oracle.clone();
        for step in 0..3_000 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let id = (seed >> 33) as u32 % 1_000_000;
            set.insert(EntryId(id));
            oracle.insert(id);
            if step == 1_000 {
                (earlier, earlier_oracle) = (set.clone(), oracle.clone());
            }
        }
        assert_eq!(set.len() as usize, oracle.len());
        assert_eq!(earlier.len() as usize, earlier_oracle.len());
        for id in (0..1_000_000).step_by(7).chain(oracle.iter().copied()) {
            assert_eq!(set.contains(EntryId(id)), oracle.contains(&id));
            assert_eq!(earlier.contains(EntryId(id)), earlier_oracle.contains(&id));
        }
        let added: BTreeSet<u32> = set.since(&earlier).map(|id| id.0).collect();
        assert_eq!(added, oracle.difference(&earlier_oracle).copied().collect());
        let all: Vec<u32> = set.since(&HiddenSet::default()).map(|id| id.0).collect();
        assert_eq!(all, oracle.into_iter().collect::<Vec<_>>());
        assert!(!HiddenSet::default().contains(EntryId(u32::MAX)));
    }

    #[test]
    fn an_ancestor_is_a_prefix_of_whole_rdns() {
        let key = NormalizedDn(b"o=nhs\0ou=people\0uid=1\0".to_vec());
        assert_eq!(ancestor(key.clone(), 2).0, b"o=nhs\0ou=people\0");
        assert_eq!(ancestor(key.clone(), 0).0, b"");
        assert_eq!(ancestor(key.clone(), 3), key);
    }
}
