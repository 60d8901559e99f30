//! An ordered dictionary: sorted distinct byte strings, front-coded in blocks, addressed by [`Ordinal`].
//!
//! Values of any length are kept whole, so a look-up is always exact. What one value may take is limited where it
//! comes in (message and line size).
//!
//! Layout (integers little-endian):
//! ```text
//! u32 number of values, u32 number of blocks
//! block offsets: u64 each, from the beginning of the block area
//! node offsets: u32 each, from the beginning of the node area; level by level, the leaves' level first
//! u64 size of the node area, then the nodes: u32 prefix length, the prefix that all heads of the node share,
//!     then for each of its at most 64 children the 8 octets of the head that follow the prefix, as one number
//! the blocks: 16 values each. The first (the head): its length, its octets.
//!     The others: how many octets they share with the one before, the length of the rest, the rest.
//! ```
//! Lengths are varints. A node says by number comparison which of 64 blocks (or nodes) can hold a value; heads are
//! compared in full only where these 8 octets tie. So a look-up among a million values touches three nodes and a block.

use super::Ordinal;
use super::octets::{common_prefix, push_varint, touch, u32_at, u64_at, varint};
use std::ops::Range;

/// Values in a block.
const BLOCK: u32 = 16;
/// Octets that nearly every block has.
const BLOCK_OCTETS: usize = 256;
/// Children of a node.
const FANOUT: usize = 64;
/// Octets before the block offsets.
const HEADER: usize = 8;

/// Writes a dictionary from strictly ascending values.
#[derive(Default)]
pub struct DictionaryBuilder {
    count: u32,
    offsets: Vec<u64>,
    data: Vec<u8>,
    last: Vec<u8>,
}

impl DictionaryBuilder {
    /// For about so many values, which take about so many octets.
    pub fn with_room(values: usize, octets: usize) -> DictionaryBuilder {
        DictionaryBuilder {
            offsets: Vec::with_capacity(values.div_ceil(BLOCK as usize)),
            data: Vec::with_capacity(octets),
            ..DictionaryBuilder::default()
        }
    }

    /// Values must come strictly ascending. Returns the ordinal given.
    pub fn push(&mut self, value: &[u8]) -> Ordinal {
        let shared = if self.count.is_multiple_of(BLOCK) {
            self.offsets.push(self.data.len() as u64);
            0
        } else {
            debug_assert!(self.last.as_slice() < value, "dictionary values ascend");
            let shared = common_prefix(&self.last, value);
            push_varint(&mut self.data, shared as u32);
            shared
        };
        push_varint(&mut self.data, (value.len() - shared) as u32);
        self.data.extend_from_slice(&value[shared..]);
        self.last.truncate(shared);
        self.last.extend_from_slice(&value[shared..]);
        self.count += 1;
        Ordinal(self.count - 1)
    }

    /// The finished bytes; [`Dictionary::open`] reads them.
    pub fn finish(self) -> Vec<u8> {
        let (node_offsets, nodes) = self.tree();
        let size = HEADER + self.offsets.len() * 8 + node_offsets.len() * 4 + 8 + nodes.len() + self.data.len();
        let mut out = Vec::with_capacity(size);
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&(self.offsets.len() as u32).to_le_bytes());
        for offset in &self.offsets {
            out.extend_from_slice(&offset.to_le_bytes());
        }
        for offset in &node_offsets {
            out.extend_from_slice(&offset.to_le_bytes());
        }
        out.extend_from_slice(&(nodes.len() as u64).to_le_bytes());
        out.extend_from_slice(&nodes);
        out.extend_from_slice(&self.data);
        out
    }

    fn head(&self, block: usize) -> &[u8] {
        head_at(&self.data, self.offsets[block])
    }

    /// Node offsets and nodes of every level, leaves first.
    fn tree(&self) -> (Vec<u32>, Vec<u8>) {
        let (mut offsets, mut nodes) = (Vec::new(), Vec::new());
        let (mut children, mut blocks_per_child) = (self.offsets.len(), 1);
        while children > 1 {
            for first in (0..children).step_by(FANOUT) {
                let last = children.min(first + FANOUT) - 1;
                let first_head = self.head(first * blocks_per_child);
                // Heads ascend, so what the first and the last share, all of them share.
                let shared = common_prefix(first_head, self.head(last * blocks_per_child));
                offsets.push(nodes.len() as u32);
                nodes.extend_from_slice(&(shared as u32).to_le_bytes());
                nodes.extend_from_slice(&first_head[..shared]);
                for child in first..=last {
                    let key = key_of(&self.head(child * blocks_per_child)[shared..]);
                    nodes.extend_from_slice(&key.to_le_bytes());
                }
            }
            children = children.div_ceil(FANOUT);
            blocks_per_child *= FANOUT;
        }
        (offsets, nodes)
    }
}

/// The first eight octets as a number that orders as they do; shorter ones end in zeros.
#[inline]
fn key_of(octets: &[u8]) -> u64 {
    if let Some(eight) = octets.first_chunk::<8>() {
        return u64::from_be_bytes(*eight);
    }
    let mut eight = [0; 8];
    eight[..octets.len()].copy_from_slice(octets);
    u64::from_be_bytes(eight)
}

/// The head of the block at `offset`; empty where the bytes are damaged.
#[inline]
fn head_at(data: &[u8], offset: u64) -> &[u8] {
    let mut at = usize::try_from(offset).unwrap_or(usize::MAX);
    match varint(data, &mut at) {
        Some(len) => slice(data, at, len),
        None => &[],
    }
}

#[inline]
fn slice(data: &[u8], at: usize, len: u32) -> &[u8] {
    at.checked_add(len as usize)
        .and_then(|end| data.get(at..end))
        .unwrap_or(&[])
}

/// Reads a dictionary in place.
#[derive(Clone, Copy)]
pub struct Dictionary<'a> {
    bytes: &'a [u8],
}

/// The parts of a dictionary's bytes.
#[derive(Clone, Copy)]
struct Parts<'a> {
    count: u32,
    blocks: usize,
    block_offsets: &'a [u8],
    node_offsets: &'a [u8],
    nodes: &'a [u8],
    data: &'a [u8],
}

impl<'a> Dictionary<'a> {
    /// `bytes` as [`DictionaryBuilder::finish`] gave them. Costs nothing: only the header is read.
    pub fn open(bytes: &'a [u8]) -> Dictionary<'a> {
        Dictionary { bytes }
    }

    #[inline]
    pub fn len(&self) -> u32 {
        u32_at(self.bytes, 0)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ordinal of exactly this value.
    #[inline]
    pub fn find(&self, value: &[u8]) -> Option<Ordinal> {
        self.find_near(value, |_| ())
    }

    /// The same. `near` is told the first ordinal of the 16 that the value may have, before it is looked for among them: whoever goes on
    /// from the ordinal can ask the memory for what lies there.
    #[inline]
    pub fn find_near(&self, value: &[u8], near: impl FnOnce(Ordinal)) -> Option<Ordinal> {
        let parts = self.parts()?;
        let block = parts.block_of(value);
        near(Ordinal(block as u32 * BLOCK));
        let (ordinal, equal) = parts.search_block(block, value);
        equal.then_some(Ordinal(ordinal))
    }

    /// The first ordinal whose value is not less than `value`; `len()` when there is none.
    pub fn lower_bound(&self, value: &[u8]) -> Ordinal {
        match self.parts() {
            Some(parts) => Ordinal(parts.search(value).0),
            None => Ordinal(0),
        }
    }

    /// The ordinals of the values that start with `prefix`.
    pub fn prefix_range(&self, prefix: &[u8]) -> Range<u32> {
        let start = self.lower_bound(prefix).0;
        // The least string above everything with this prefix: its last octet that can grow, grown, and nothing after it.
        let Some(grows) = prefix.iter().rposition(|octet| *octet != 0xff) else {
            return start..self.len().max(start);
        };
        let mut above = smallvec::SmallVec::<[u8; 64]>::from_slice(&prefix[..=grows]);
        above[grows] += 1;
        start..self.lower_bound(&above).0.max(start)
    }

    /// Replaces `out` by the value at `ordinal`; leaves it empty when there is no such ordinal.
    pub fn value(&self, ordinal: Ordinal, out: &mut Vec<u8>) {
        out.clear();
        let Some(parts) = self.parts().filter(|parts| ordinal.0 < parts.count) else {
            return;
        };
        let mut at = parts.block_at((ordinal.0 / BLOCK) as usize);
        for position in 0..=ordinal.0 % BLOCK {
            if parts.read(&mut at, position, out).is_none() {
                return out.clear();
            }
        }
    }

    /// Calls `each` with every value of a range, in order, until it returns false.
    pub fn scan(&self, range: Range<u32>, each: impl FnMut(Ordinal, &[u8]) -> bool) {
        self.scan_into(range, &mut Vec::new(), each);
    }

    /// As [`Dictionary::scan`], with the caller's buffer, so that short scans allocate nothing.
    pub fn scan_into(&self, range: Range<u32>, buffer: &mut Vec<u8>, mut each: impl FnMut(Ordinal, &[u8]) -> bool) {
        let Some(parts) = self.parts() else { return };
        let end = range.end.min(parts.count);
        if range.start >= end {
            return;
        }
        buffer.clear();
        let first = range.start - range.start % BLOCK;
        let mut at = parts.block_at((first / BLOCK) as usize);
        for ordinal in first..end {
            if parts.read(&mut at, ordinal % BLOCK, buffer).is_none() {
                return;
            }
            if ordinal >= range.start && !each(Ordinal(ordinal), buffer) {
                return;
            }
        }
    }

    /// `None` for an empty dictionary, and where the bytes are too few for what the header says.
    #[inline]
    fn parts(&self) -> Option<Parts<'a>> {
        let count = self.len();
        let blocks = u32_at(self.bytes, 4) as usize;
        if count == 0 || blocks != count.div_ceil(BLOCK) as usize {
            return None;
        }
        let (block_offsets, rest) = self.bytes.get(HEADER..)?.split_at_checked(blocks * 8)?;
        let (mut node_count, mut children) = (0, blocks);
        while children > 1 {
            children = children.div_ceil(FANOUT);
            node_count += children;
        }
        let (node_offsets, rest) = rest.split_at_checked(node_count * 4)?;
        let (size, rest) = rest.split_first_chunk::<8>()?;
        let (nodes, data) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*size)).ok()?)?;
        Some(Parts {
            count,
            blocks,
            block_offsets,
            node_offsets,
            nodes,
            data,
        })
    }
}

/// Goes through a dictionary, one value after the other, for who goes through several at once.
pub struct DictionaryCursor<'a> {
    parts: Option<Parts<'a>>,
    at: usize,
    /// How many values were given.
    given: u32,
    value: Vec<u8>,
}

impl<'a> DictionaryCursor<'a> {
    /// Stands before the first value.
    pub fn new(dictionary: Dictionary<'a>) -> DictionaryCursor<'a> {
        let parts = dictionary.parts();
        DictionaryCursor {
            at: parts.map_or(0, |parts| parts.block_at(0)),
            parts,
            given: 0,
            value: Vec::new(),
        }
    }

    /// Goes to the next value; false behind the last, and where the bytes are damaged.
    pub fn advance(&mut self) -> bool {
        let Some(parts) = self.parts.filter(|parts| self.given < parts.count) else {
            return false;
        };
        let read = parts.read(&mut self.at, self.given % BLOCK, &mut self.value);
        self.given += 1;
        if read.is_none() {
            self.parts = None;
        }
        read.is_some()
    }

    /// The value that it stands at.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// Its ordinal.
    pub fn ordinal(&self) -> Ordinal {
        Ordinal(self.given.saturating_sub(1))
    }
}

impl<'a> Parts<'a> {
    #[inline]
    fn block_at(&self, block: usize) -> usize {
        usize::try_from(u64_at(self.block_offsets, block * 8)).unwrap_or(usize::MAX)
    }

    fn head(&self, block: usize) -> &'a [u8] {
        head_at(self.data, u64_at(self.block_offsets, block * 8))
    }

    /// Reads the value at `at` into `out`, which holds the one before it. `None` where the bytes are damaged.
    #[inline]
    fn read(&self, at: &mut usize, position_in_block: u32, out: &mut Vec<u8>) -> Option<()> {
        let shared = if position_in_block == 0 {
            0
        } else {
            varint(self.data, at)?
        };
        let len = varint(self.data, at)? as usize;
        let end = at.checked_add(len)?;
        let rest = self.data.get(*at..end)?;
        if shared as usize > out.len() {
            return None;
        }
        out.truncate(shared as usize);
        out.extend_from_slice(rest);
        *at = end;
        Some(())
    }

    /// The first ordinal whose value is not less than `value`, and whether it is equal.
    #[inline]
    fn search(&self, value: &[u8]) -> (u32, bool) {
        self.search_block(self.block_of(value), value)
    }

    /// The same, where it is known which block may hold the value.
    #[inline]
    fn search_block(&self, block: usize, value: &[u8]) -> (u32, bool) {
        let base = block as u32 * BLOCK;
        let size = BLOCK.min(self.count - base);
        let mut at = self.block_at(block);
        touch(self.data, at, BLOCK_OCTETS);
        // `matched` is how many octets the value shares with the entry before, which is less than the value. An entry
        // that shares more than that with the entry before it is less too, one that shares less is greater.
        let mut matched = 0;
        for position in 0..size {
            let shared = match position {
                0 => Some(0),
                _ => varint(self.data, &mut at),
            };
            let (Some(shared), Some(len)) = (shared, varint(self.data, &mut at)) else {
                return (base + position, false);
            };
            let rest = slice(self.data, at, len);
            at = at.saturating_add(len as usize);
            let shared = shared as usize;
            if shared > matched {
                continue;
            }
            if shared < matched {
                return (base + position, false);
            }
            let wanted = value.get(matched..).unwrap_or(&[]);
            let more = common_prefix(rest, wanted);
            match rest[more..].first().cmp(&wanted[more..].first()) {
                std::cmp::Ordering::Less => matched += more,
                std::cmp::Ordering::Equal => return (base + position, true),
                std::cmp::Ordering::Greater => return (base + position, false),
            }
        }
        (base + size, false)
    }

    /// The last block whose head is not greater than `value`; the first when there is none.
    #[inline]
    fn block_of(&self, value: &[u8]) -> usize {
        // Where each level's offsets begin, leaves first. 2^32 values are 2^28 blocks: at most five levels.
        let mut levels = [(0usize, 0usize); 6];
        let (mut depth, mut children, mut start) = (0, self.blocks, 0);
        while children > 1 && depth < levels.len() {
            levels[depth] = (start, children);
            children = children.div_ceil(FANOUT);
            start += children;
            depth += 1;
        }
        let mut node = 0;
        for level in (0..depth).rev() {
            let (start, children) = levels[level];
            let first = node * FANOUT;
            let size = FANOUT.min(children - first);
            let at = u32_at(self.node_offsets, (start + node) * 4) as usize;
            if level == 0 {
                // One of these comes next: they need not wait for the node.
                touch(self.block_offsets, first * 8, size * 8);
            }
            let blocks_per_child = FANOUT.pow(level as u32);
            node = first + self.child_of(at, size, value, |child| (first + child) * blocks_per_child);
        }
        node
    }

    /// Which child of the node at `at` to go to; `block` gives a child's first block.
    #[inline]
    fn child_of(&self, at: usize, size: usize, value: &[u8], block: impl Fn(usize) -> usize) -> usize {
        let prefix = slice(self.nodes, at.saturating_add(4), u32_at(self.nodes, at));
        let keys_at = at.saturating_add(4).saturating_add(prefix.len());
        let (front, rest) = value.split_at(prefix.len().min(value.len()));
        match front.cmp(prefix) {
            std::cmp::Ordering::Less => return 0,
            std::cmp::Ordering::Greater => return size - 1,
            std::cmp::Ordering::Equal => {}
        }
        let key = key_of(rest);
        let keys = self.nodes.get(keys_at..keys_at.saturating_add(size * 8));
        let (keys, _) = keys.unwrap_or(&[]).as_chunks();
        let below = count_below(keys, key);
        let ties = keys[below..].iter().take_while(|one| u64::from_le_bytes(**one) == key);
        let not_above = match ties.count() {
            0 => below,
            ties => partition(below, below + ties, |child| self.head(block(child)) <= value),
        };
        not_above.saturating_sub(1)
    }
}

/// How many of ascending keys are less than one. The last of each eight is looked at first: what is to be read lies in eight cache
/// lines at most, which are fetched together, and nothing is guessed on the way.
#[inline]
fn count_below(keys: &[[u8; 8]], key: u64) -> usize {
    let is_below = |one: &[u8; 8]| usize::from(u64::from_le_bytes(*one) < key);
    let (eights, rest) = keys.as_chunks::<8>();
    let whole: usize = eights.iter().map(|eight| is_below(&eight[7])).sum();
    let within = eights.get(whole).map_or(rest, |eight| eight.as_slice());
    whole * 8 + within.iter().map(is_below).sum::<usize>()
}

/// The first number of `low..high` for which `holds` is false, given that it is true before and false from there on.
#[inline]
fn partition(mut low: usize, mut high: usize, holds: impl Fn(usize) -> bool) -> usize {
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::testing::Rng;
    use std::collections::BTreeSet;

    fn build(values: &BTreeSet<Vec<u8>>) -> Vec<u8> {
        let mut builder = DictionaryBuilder::default();
        for (ordinal, value) in values.iter().enumerate() {
            assert_eq!(builder.push(value), Ordinal(ordinal as u32));
        }
        builder.finish()
    }

    fn random_values(rng: &mut Rng, count: usize) -> BTreeSet<Vec<u8>> {
        let prefix = rng.octets(12, 4);
        let mut values = BTreeSet::new();
        for _ in 0..count {
            let mut value = if rng.below(4) > 0 { prefix.clone() } else { Vec::new() };
            value.extend(rng.octets(14, 10));
            values.insert(value);
        }
        values
    }

    fn agrees(dictionary: Dictionary<'_>, values: &[Vec<u8>], probe: &[u8]) {
        let at = values.partition_point(|value| value.as_slice() < probe) as u32;
        assert_eq!(dictionary.lower_bound(probe), Ordinal(at), "lower bound of {probe:?}");
        let there = values.get(at as usize).is_some_and(|value| value == probe);
        assert_eq!(dictionary.find(probe), there.then_some(Ordinal(at)), "find {probe:?}");
        let mut near = None;
        assert_eq!(
            dictionary.find_near(probe, |first| near = Some(first)),
            dictionary.find(probe)
        );
        assert!(
            !there || near == Some(Ordinal(at - at % BLOCK)),
            "{near:?} is near {at}"
        );
        let end = at
            + values[at as usize..]
                .iter()
                .take_while(|value| value.starts_with(probe))
                .count() as u32;
        assert_eq!(dictionary.prefix_range(probe), at..end, "prefix {probe:?}");
    }

    #[test]
    fn a_dictionary_answers_as_a_sorted_set() {
        let mut rng = Rng::new(1);
        for count in [0, 1, 2, 15, 16, 17, 33, 1000, 1024, 1025, 20_000] {
            let values = random_values(&mut rng, count);
            let bytes = build(&values);
            let dictionary = Dictionary::open(&bytes);
            let values: Vec<_> = values.into_iter().collect();
            assert_eq!(dictionary.len() as usize, values.len());
            let mut out = Vec::new();
            for (ordinal, value) in values.iter().enumerate().step_by(1 + count / 500) {
                dictionary.value(Ordinal(ordinal as u32), &mut out);
                assert_eq!(&out, value);
                agrees(dictionary, &values, value);
                agrees(dictionary, &values, &value[..rng.below(value.len() + 1)]);
            }
            for _ in 0..300 {
                agrees(dictionary, &values, &rng.octets(20, 10));
            }
            let (start, end) = (rng.below(values.len() + 1), values.len());
            let mut seen = Vec::new();
            dictionary.scan(start as u32..end as u32 + 5, |ordinal, value| {
                assert_eq!(ordinal.0 as usize, start + seen.len());
                seen.push(value.to_vec());
                true
            });
            assert_eq!(seen, values[start..]);
            let mut cursor = DictionaryCursor::new(dictionary);
            for (ordinal, value) in values.iter().enumerate() {
                assert!(cursor.advance());
                assert_eq!(
                    (cursor.ordinal(), cursor.value()),
                    (Ordinal(ordinal as u32), value.as_slice())
                );
            }
            assert!(!cursor.advance() && !cursor.advance());
        }
    }

    #[test]
    fn long_values_are_kept_whole() {
        let values: BTreeSet<Vec<u8>> = (0..40u8).map(|n| [vec![b'x'; 70_000], vec![n]].concat()).collect();
        let bytes = build(&values);
        let dictionary = Dictionary::open(&bytes);
        for (ordinal, value) in values.iter().enumerate() {
            assert_eq!(dictionary.find(value), Some(Ordinal(ordinal as u32)));
        }
        assert_eq!(dictionary.find(&[b'x'; 70_000]), None);
    }

    #[test]
    fn damaged_bytes_do_not_panic() {
        let mut rng = Rng::new(2);
        let values = random_values(&mut rng, 3000);
        let good = build(&values);
        let mut out = Vec::new();
        for _ in 0..400 {
            let mut bytes = good.clone();
            for _ in 0..1 + rng.below(4) {
                let at = if rng.below(2) == 0 {
                    rng.below(bytes.len())
                } else {
                    rng.below(200)
                };
                bytes[at] = rng.next() as u8;
            }
            bytes.truncate(bytes.len() - rng.below(2) * rng.below(bytes.len()));
            let dictionary = Dictionary::open(&bytes);
            for value in values.iter().step_by(211) {
                dictionary.find(value);
                dictionary.prefix_range(value);
            }
            dictionary.value(Ordinal(rng.next() as u32 % 4000), &mut out);
            dictionary.scan(0..4000, |_, _| true);
            let mut cursor = DictionaryCursor::new(dictionary);
            while cursor.advance() {}
        }
    }
}
