//! Posting lists: for each ordinal of a dictionary the ascending entry numbers that have the value.
//! One entry is inline, others are delta-coded in blocks of 64 with a skip table, or a bitmap where that is smaller.
//!
//! Layout (integers little-endian):
//! ```text
//! u32 number of lists
//! a descriptor for each list: u32. Below 2^31: the one id of a list of one. Otherwise bit 30 says the kind
//!     (0 deltas, 1 bitmap) and the low 30 bits where the list begins in the list area, in units of 4 octets
//! the list area, each list padded to 4 octets:
//!     deltas: u32 length; the first id of each block of 64, u32 each; with more than one block the offset of each
//!         block's deltas, u32 each, from the end of this table; then the deltas of the other ids, varints
//!     bitmap: u32 length, u32 first id (a multiple of 64), u32 number of words, the words, u64 each
//! ```
//! So ids end at 2^31 - 1 and the lists of one attribute at 4 GiB, some four thousand million postings.

use super::octets::{push_varint, u32_at, u64_at, varint};
use super::{EntryId, Ordinal};

/// Ids in a block of deltas.
const BLOCK: u32 = 64;
/// Descriptor bit: not an inline id.
const LISTED: u32 = 1 << 31;
/// Descriptor bit: the list is a bitmap.
const BITMAP: u32 = 1 << 30;
/// Lists looked at when the length of many is estimated.
const SAMPLES: u32 = 64;

#[derive(Default)]
pub struct PostingsBuilder {
    descriptors: Vec<u32>,
    lists: Vec<u8>,
    /// The list in hand: its deltas, and where each block's begin.
    deltas: Vec<u8>,
    block_offsets: Vec<u32>,
}

impl PostingsBuilder {
    /// The ids of the next ordinal, strictly ascending, at least one, each below 2^31.
    pub fn push(&mut self, ids: &[u32]) {
        debug_assert!(
            ids.is_sorted() && !ids.is_empty(),
            "posting lists ascend and are not empty"
        );
        if let [id] = ids {
            self.descriptors.push(*id);
            return;
        }
        let (first, last) = (ids[0] & !63, ids[ids.len() - 1]);
        let words = (last - first) / 64 + 1;
        let start = (self.lists.len() / 4) as u32 | LISTED;
        self.deltas.clear();
        self.block_offsets.clear();
        for block in ids.chunks(BLOCK as usize) {
            self.block_offsets.push(self.deltas.len() as u32);
            for pair in block.windows(2) {
                push_varint(&mut self.deltas, pair[1] - pair[0]);
            }
        }
        let blocks = self.block_offsets.len();
        let tables = if blocks > 1 { 8 } else { 4 } * blocks;
        self.lists.extend_from_slice(&(ids.len() as u32).to_le_bytes());
        if 8 + words as usize * 8 <= tables + self.deltas.len() {
            self.descriptors.push(start | BITMAP);
            self.push_bitmap(first, words, ids);
        } else {
            self.descriptors.push(start);
            self.push_deltas(ids);
        }
    }

    fn push_bitmap(&mut self, first: u32, words: u32, ids: &[u32]) {
        self.lists.extend_from_slice(&first.to_le_bytes());
        self.lists.extend_from_slice(&words.to_le_bytes());
        let at = self.lists.len();
        self.lists.resize(at + words as usize * 8, 0);
        for id in ids {
            let bit = id - first;
            self.lists[at + bit as usize / 8] |= 1 << (bit % 8);
        }
    }

    fn push_deltas(&mut self, ids: &[u32]) {
        for first in ids.iter().step_by(BLOCK as usize) {
            self.lists.extend_from_slice(&first.to_le_bytes());
        }
        if self.block_offsets.len() > 1 {
            for offset in &self.block_offsets {
                self.lists.extend_from_slice(&offset.to_le_bytes());
            }
        }
        self.lists.extend_from_slice(&self.deltas);
        self.lists.resize(self.lists.len().next_multiple_of(4), 0);
    }

    /// The finished bytes; [`Postings::open`] reads them.
    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + self.descriptors.len() * 4 + self.lists.len());
        out.extend_from_slice(&(self.descriptors.len() as u32).to_le_bytes());
        for descriptor in &self.descriptors {
            out.extend_from_slice(&descriptor.to_le_bytes());
        }
        out.extend_from_slice(&self.lists);
        out
    }
}

/// All posting lists of one attribute.
#[derive(Clone, Copy)]
pub struct Postings<'a> {
    bytes: &'a [u8],
}

/// Where one list lies and how long it is. Holds no reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PostingList {
    /// The number of entries.
    pub len: u32,
    shape: Shape,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    Single(u32),
    /// Where the table of first ids begins.
    Deltas {
        firsts: usize,
    },
    /// Where the words begin, the id of the first bit, and the number of words.
    Bitmap {
        words: usize,
        base: u32,
        count: u32,
    },
}

impl PostingList {
    /// The list without entries.
    pub const EMPTY: PostingList = PostingList {
        len: 0,
        shape: Shape::Single(0),
    };
}

impl<'a> Postings<'a> {
    pub fn open(bytes: &'a [u8]) -> Postings<'a> {
        Postings { bytes }
    }

    /// The number of lists.
    pub fn lists(&self) -> u32 {
        u32_at(self.bytes, 0)
    }

    /// The list of one ordinal; empty when there is none, or where the bytes are damaged.
    #[inline]
    pub fn list(&self, ordinal: Ordinal) -> PostingList {
        let lists = self.lists();
        if ordinal.0 >= lists {
            return PostingList::EMPTY;
        }
        let descriptor_at = 4 + ordinal.0 as usize * 4;
        let descriptor = u32_at(self.bytes, descriptor_at);
        if descriptor & LISTED == 0 {
            return PostingList {
                len: u32::from(descriptor_at + 4 <= self.bytes.len()),
                shape: Shape::Single(descriptor),
            };
        }
        let at = 4 + lists as usize * 4 + (descriptor & (BITMAP - 1)) as usize * 4;
        let len = u32_at(self.bytes, at);
        if descriptor & BITMAP == 0 {
            let firsts = at + 4;
            let fits = firsts + len.div_ceil(BLOCK) as usize * 4 <= self.bytes.len();
            let shape = Shape::Deltas { firsts };
            return if fits {
                PostingList { len, shape }
            } else {
                PostingList::EMPTY
            };
        }
        let (base, count) = (u32_at(self.bytes, at + 4), u32_at(self.bytes, at + 8));
        let words = at + 12;
        let fits = words + count as usize * 8 <= self.bytes.len()
            && u64::from(base) + u64::from(count) * 64 <= 1 << 31
            && u64::from(len) <= u64::from(count) * 64;
        let shape = Shape::Bitmap { words, base, count };
        if fits {
            PostingList { len, shape }
        } else {
            PostingList::EMPTY
        }
    }

    /// The sum of the lengths of the lists of a range of ordinals; exact for up to 64, sampled for more.
    pub fn estimate(&self, range: std::ops::Range<u32>) -> u64 {
        let range = range.start..range.end.min(self.lists());
        let count = range.end.saturating_sub(range.start);
        if count <= SAMPLES {
            return range.map(|ordinal| u64::from(self.list(Ordinal(ordinal)).len)).sum();
        }
        let sampled: u64 = (0..SAMPLES)
            .map(|sample| range.start + (u64::from(sample) * u64::from(count) / u64::from(SAMPLES)) as u32)
            .map(|ordinal| u64::from(self.list(Ordinal(ordinal)).len))
            .sum();
        (sampled * u64::from(count) / u64::from(SAMPLES)).max(u64::from(count))
    }

    /// Whether an entry is in a list. Cheap for bitmaps, a decode of at most 64 deltas for others.
    #[inline]
    pub fn contains(&self, list: PostingList, id: EntryId) -> bool {
        match list.shape {
            Shape::Single(only) => list.len == 1 && only == id.0,
            Shape::Bitmap { words, base, count } => {
                let Some(bit) = id.0.checked_sub(base) else {
                    return false;
                };
                bit / 64 < count && u64_at(self.bytes, words + bit as usize / 64 * 8) >> (bit % 64) & 1 == 1
            }
            Shape::Deltas { .. } => PostingCursor::new(list).seek(*self, id) == Some(id),
        }
    }
}

/// A position in one posting list.
#[derive(Clone, Debug)]
pub struct PostingCursor {
    list: PostingList,
    /// Single and deltas: how many ids were given. Bitmap: the bit to look at next.
    position: u32,
    /// Deltas: where the next one is read, and the id given last.
    at: usize,
    last: u32,
}

impl PostingCursor {
    #[inline]
    pub fn new(list: PostingList) -> PostingCursor {
        PostingCursor {
            list,
            position: 0,
            at: 0,
            last: 0,
        }
    }

    /// The list this is a position in.
    pub fn list(&self) -> PostingList {
        self.list
    }

    /// The next id, or `None` at the end.
    #[inline]
    pub fn next(&mut self, postings: Postings<'_>) -> Option<EntryId> {
        match self.list.shape {
            Shape::Single(id) => {
                let given = self.position;
                self.position = 1;
                (given < self.list.len).then_some(EntryId(id))
            }
            Shape::Deltas { firsts } => self.next_delta(postings.bytes, firsts),
            Shape::Bitmap { words, base, count } => self.next_bit(postings.bytes, words, base, count),
        }
    }

    /// The next id that is not less than `at_least`; ids given before do not come again.
    #[inline]
    pub fn seek(&mut self, postings: Postings<'_>, at_least: EntryId) -> Option<EntryId> {
        match self.list.shape {
            Shape::Single(id) if id < at_least.0 => {
                self.position = 1;
                None
            }
            Shape::Single(_) => self.next(postings),
            Shape::Deltas { firsts } => {
                self.skip_blocks(postings.bytes, firsts, at_least.0);
                loop {
                    let id = self.next_delta(postings.bytes, firsts)?;
                    if id >= at_least {
                        return Some(id);
                    }
                }
            }
            Shape::Bitmap { words, base, count } => {
                self.position = self.position.max(at_least.0.saturating_sub(base));
                self.next_bit(postings.bytes, words, base, count)
            }
        }
    }

    #[inline]
    fn next_delta(&mut self, bytes: &[u8], firsts: usize) -> Option<EntryId> {
        if self.position >= self.list.len {
            return None;
        }
        if self.position.is_multiple_of(BLOCK) {
            let block = (self.position / BLOCK) as usize;
            let blocks = self.list.len.div_ceil(BLOCK) as usize;
            self.last = u32_at(bytes, firsts + block * 4);
            self.at = firsts + blocks * 4;
            if blocks > 1 {
                let offset = u32_at(bytes, self.at + block * 4) as usize;
                self.at += blocks * 4 + offset;
            }
        } else {
            let delta = varint(bytes, &mut self.at);
            let Some(id) = delta.and_then(|delta| self.last.checked_add(delta)) else {
                self.position = self.list.len;
                return None;
            };
            self.last = id;
        }
        self.position += 1;
        Some(EntryId(self.last))
    }

    /// Moves to the last block that begins at or before `at_least`, if that is further on.
    #[inline]
    fn skip_blocks(&mut self, bytes: &[u8], firsts: usize, at_least: u32) {
        let first = |block: u32| u32_at(bytes, firsts + block as usize * 4);
        let blocks = self.list.len.div_ceil(BLOCK);
        let (mut low, mut high) = (self.position / BLOCK + 1, blocks);
        if low >= high || first(low) > at_least {
            return;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if first(middle) <= at_least {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.position = (low - 1) * BLOCK;
    }

    #[inline]
    fn next_bit(&mut self, bytes: &[u8], words: usize, base: u32, count: u32) -> Option<EntryId> {
        let mut word = self.position / 64;
        if word >= count {
            return None;
        }
        let mut bits = u64_at(bytes, words + word as usize * 8) & (u64::MAX << (self.position % 64));
        while bits == 0 {
            word += 1;
            if word >= count {
                self.position = count * 64;
                return None;
            }
            bits = u64_at(bytes, words + word as usize * 8);
        }
        let bit = word * 64 + bits.trailing_zeros();
        self.position = bit + 1;
        Some(EntryId(base + bit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::testing::Rng;
    use std::collections::BTreeSet;

    /// Sets of every shape: single, sparse, dense, clustered, with an outlier.
    fn random_ids(rng: &mut Rng) -> BTreeSet<u32> {
        let span = [1, 50, 1000, 70_000, 5_000_000][rng.below(5)];
        let count = [1, 2, 100, 128, 129, 256, 2000][rng.below(7)];
        let base = rng.below(1_000_000);
        let mut ids: BTreeSet<u32> = (0..count).map(|_| (base + rng.below(span)) as u32).collect();
        if rng.below(3) == 0 {
            ids.insert(rng.below(1 << 31) as u32);
        }
        ids
    }

    fn build(sets: &[BTreeSet<u32>]) -> Vec<u8> {
        let mut builder = PostingsBuilder::default();
        for set in sets {
            builder.push(&set.iter().copied().collect::<Vec<_>>());
        }
        builder.finish()
    }

    #[test]
    fn lists_answer_as_sorted_sets() {
        let mut rng = Rng::new(3);
        let sets: Vec<_> = (0..300).map(|_| random_ids(&mut rng)).collect();
        let bytes = build(&sets);
        let postings = Postings::open(&bytes);
        assert_eq!(postings.list(Ordinal(300)).len, 0);
        for (ordinal, set) in sets.iter().enumerate() {
            let list = postings.list(Ordinal(ordinal as u32));
            assert_eq!(list.len as usize, set.len());
            let mut cursor = PostingCursor::new(list);
            let all: Vec<u32> = std::iter::from_fn(|| cursor.next(postings)).map(|id| id.0).collect();
            assert!(all.iter().eq(set.iter()), "list {ordinal}");
            let mut probes: Vec<u32> = (0..40).map(|_| rng.below(2_000_000) as u32).collect();
            probes.extend(set.iter().take(20).flat_map(|id| [id.saturating_sub(1), *id, id + 1]));
            for probe in probes {
                assert_eq!(postings.contains(list, EntryId(probe)), set.contains(&probe));
            }
        }
    }

    #[test]
    fn seeking_gives_the_next_id_not_given_yet() {
        let mut rng = Rng::new(4);
        let sets: Vec<_> = (0..300).map(|_| random_ids(&mut rng)).collect();
        let bytes = build(&sets);
        let postings = Postings::open(&bytes);
        for (ordinal, set) in sets.iter().enumerate() {
            let mut cursor = PostingCursor::new(postings.list(Ordinal(ordinal as u32)));
            let mut floor = 0;
            for _ in 0..60 {
                let at_least = match rng.below(3) {
                    0 => 0,
                    1 => floor + rng.below(3000) as u32,
                    _ => rng.below(2_000_000) as u32,
                };
                let expected = set.range(at_least.max(floor)..).next().copied();
                let found = if at_least == 0 {
                    cursor.next(postings)
                } else {
                    cursor.seek(postings, EntryId(at_least))
                };
                assert_eq!(
                    found.map(|id| id.0),
                    expected,
                    "list {ordinal} at least {at_least} after {floor}"
                );
                let Some(id) = expected else { break };
                floor = id + 1;
            }
        }
    }

    #[test]
    fn estimates_are_exact_for_few_lists_and_near_for_many() {
        let sets: Vec<BTreeSet<u32>> = (0..1000u32).map(|n| (0..=n % 7).collect()).collect();
        let bytes = build(&sets);
        let postings = Postings::open(&bytes);
        let exact = |range: std::ops::Range<usize>| sets[range].iter().map(|set| set.len() as u64).sum::<u64>();
        assert_eq!(postings.estimate(10..70), exact(10..70));
        let (near, all) = (postings.estimate(0..2000), exact(0..1000));
        assert!(near.abs_diff(all) < all / 5, "{near} for {all}");
    }

    #[test]
    fn a_value_that_nearly_every_entry_has_takes_a_bit_an_entry() {
        let bytes = build(&[(0..800_000).filter(|id| id % 100 != 7).collect()]);
        assert!(bytes.len() < 101_000, "{} octets", bytes.len());
    }

    #[test]
    fn damaged_bytes_do_not_panic() {
        let mut rng = Rng::new(5);
        let sets: Vec<_> = (0..60).map(|_| random_ids(&mut rng)).collect();
        let good = build(&sets);
        for _ in 0..600 {
            let mut bytes = good.clone();
            for _ in 0..3 {
                let at = if rng.below(2) == 0 {
                    rng.below(bytes.len())
                } else {
                    rng.below(300)
                };
                bytes[at] = rng.next() as u8;
            }
            bytes.truncate(bytes.len() - rng.below(2) * rng.below(bytes.len()));
            let postings = Postings::open(&bytes);
            for ordinal in 0..60 {
                let list = postings.list(Ordinal(ordinal));
                postings.contains(list, EntryId(rng.below(1 << 31) as u32));
                let mut cursor = PostingCursor::new(list);
                cursor.seek(postings, EntryId(rng.below(100_000) as u32));
                for _ in 0..300 {
                    cursor.next(postings);
                }
            }
        }
    }
}
