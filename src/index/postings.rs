//! Posting lists: for each ordinal of a dictionary the ascending entry numbers that have the value.
//! One entry is inline, others are blocks of 64 sorted ids, or a bitmap where that is smaller. Ids have a fixed width
//! within a list, so that seeking decodes nothing: varints took four times as long to intersect.
//!
//! Layout (integers little-endian):
//! ```text
//! u32 number of lists
//! a descriptor for each list: u32. Below 2^31: the one id of a list of one. Otherwise bit 30 says the kind
//!     (0 sorted, 1 bitmap) and the low 30 bits where the list begins in the list area, in units of 4 octets
//! the list area, each list padded to 4 octets:
//!     sorted: u32 length, bit 31 set where the ids are wide; the first id of each block of 64, u32 each; then for each id
//!         its distance from the first of its block: u16, or u32 where wide
//!     bitmap: u32 length, u32 first id (a multiple of 64), u32 number of words, the words, u64 each
//! ```
//! So ids end at 2^31 - 1 and the lists of one attribute at 4 GiB, some four thousand million postings.

use super::octets::{u16_at, u32_at, u64_at};
use super::{EntryId, Ordinal};
use std::ops::Range;

/// Ids in a block of a sorted list.
const BLOCK: u32 = 64;
/// Descriptor bit: not an inline id.
const LISTED: u32 = 1 << 31;
/// Descriptor bit: the list is a bitmap.
const BITMAP: u32 = 1 << 30;
/// Bit of a sorted list's length: its ids are wide.
const WIDE: u32 = 1 << 31;
/// Lists looked at when the length of many is estimated.
const SAMPLES: u32 = 64;

#[derive(Default)]
pub struct PostingsBuilder {
    descriptors: Vec<u32>,
    lists: Vec<u8>,
}

impl PostingsBuilder {
    /// For about so many lists, which take about so many octets.
    pub fn with_room(lists: usize, octets: usize) -> PostingsBuilder {
        PostingsBuilder {
            descriptors: Vec::with_capacity(lists),
            lists: Vec::with_capacity(octets),
        }
    }

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
        let wide = ids
            .chunks(BLOCK as usize)
            .any(|block| block[block.len() - 1] - block[0] > u32::from(u16::MAX));
        let sorted_octets = ids.len().div_ceil(BLOCK as usize) * 4 + ids.len() * if wide { 4 } else { 2 };
        if 8 + words as usize * 8 <= sorted_octets {
            self.descriptors.push(start | BITMAP);
            self.lists.extend_from_slice(&(ids.len() as u32).to_le_bytes());
            self.push_bitmap(first, words, ids);
        } else {
            self.descriptors.push(start);
            self.push_sorted(ids, wide);
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

    fn push_sorted(&mut self, ids: &[u32], wide: bool) {
        let length = ids.len() as u32 | if wide { WIDE } else { 0 };
        self.lists.extend_from_slice(&length.to_le_bytes());
        for first in ids.iter().step_by(BLOCK as usize) {
            self.lists.extend_from_slice(&first.to_le_bytes());
        }
        for block in ids.chunks(BLOCK as usize) {
            for distance in block.iter().map(|id| id - block[0]) {
                match wide {
                    true => self.lists.extend_from_slice(&distance.to_le_bytes()),
                    false => self.lists.extend_from_slice(&(distance as u16).to_le_bytes()),
                }
            }
        }
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
    /// Where the table of first ids begins and the distances behind it.
    Sorted {
        firsts: usize,
        distances: usize,
        wide: bool,
    },
    /// Where the words begin, the id of the first bit, and the number of words.
    Bitmap {
        words: usize,
        base: u32,
        count: u32,
    },
}

impl PostingList {
    /// Whether [`Postings::contains`] looks at one number only.
    pub fn is_cheap_to_probe(&self) -> bool {
        !matches!(self.shape, Shape::Sorted { .. })
    }

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

    /// Where the descriptors from one ordinal on lie.
    #[inline]
    pub fn descriptors(&self, from: Ordinal) -> &'a [u8] {
        self.bytes.get(4 + from.0 as usize * 4..).unwrap_or(&[])
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
            return self.sorted(at, len & !WIDE, len & WIDE != 0);
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

    fn sorted(&self, at: usize, len: u32, wide: bool) -> PostingList {
        let firsts = at + 4;
        let distances = firsts + len.div_ceil(BLOCK) as usize * 4;
        let end = distances + len as usize * if wide { 4 } else { 2 };
        let shape = Shape::Sorted {
            firsts,
            distances,
            wide,
        };
        if end <= self.bytes.len() {
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

    /// Whether an entry is in a list: one word of a bitmap, a search over blocks and one block for others.
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
            Shape::Sorted { .. } => PostingCursor::new(list).seek(*self, id) == Some(id),
        }
    }
}

/// A position in one posting list.
#[derive(Clone, Debug)]
pub struct PostingCursor {
    list: PostingList,
    /// Single and sorted: how many ids were given. Bitmap: the bit to look at next.
    position: u32,
}

impl PostingCursor {
    #[inline]
    pub fn new(list: PostingList) -> PostingCursor {
        PostingCursor { list, position: 0 }
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
            Shape::Sorted {
                firsts,
                distances,
                wide,
            } => self.next_sorted(postings.bytes, firsts, distances, wide),
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
            Shape::Sorted {
                firsts,
                distances,
                wide,
            } => {
                // Whoever goes through a list finds what it asks for in the next place.
                if self.position > 0 {
                    let next = self.next_sorted(postings.bytes, firsts, distances, wide)?;
                    if next >= at_least {
                        return Some(next);
                    }
                }
                let block = self.skip_blocks(postings.bytes, firsts, at_least.0);
                self.skip_within(postings.bytes, firsts, distances, wide, block, at_least.0);
                self.next_sorted(postings.bytes, firsts, distances, wide)
            }
            Shape::Bitmap { words, base, count } => {
                self.position = self.position.max(at_least.0.saturating_sub(base));
                self.next_bit(postings.bytes, words, base, count)
            }
        }
    }

    /// Appends the next ids that lie in a range to `out` until it holds `most`; passes over those before the range.
    pub fn take(&mut self, postings: Postings<'_>, range: Range<u32>, most: usize, out: &mut Vec<u32>) {
        if let Shape::Sorted {
            firsts,
            distances,
            wide,
        } = self.list.shape
        {
            let block = self.skip_blocks(postings.bytes, firsts, range.start);
            self.skip_within(postings.bytes, firsts, distances, wide, block, range.start);
            while out.len() < most
                && self.take_of_block(postings.bytes, (firsts, distances, wide), range.end, most, out)
            {}
            return;
        }
        let mut at_least = range.start;
        while out.len() < most {
            let here = self.position;
            match self.seek(postings, EntryId(at_least)) {
                Some(id) if id.0 < range.end => {
                    out.push(id.0);
                    at_least = id.0 + 1;
                }
                _ => {
                    self.position = here;
                    return;
                }
            }
        }
    }

    /// What [`PostingCursor::take`] takes of one block of a sorted list; false where nothing comes after it.
    fn take_of_block(
        &mut self,
        bytes: &[u8],
        (firsts, distances, wide): (usize, usize, bool),
        end: u32,
        most: usize,
        out: &mut Vec<u32>,
    ) -> bool {
        let from = self.position;
        let block = from / BLOCK;
        let to = self.list.len.min((block + 1) * BLOCK);
        let room = u32::try_from(most - out.len()).unwrap_or(u32::MAX);
        let to = to.min(from.saturating_add(room));
        let first = u32_at(bytes, firsts + block as usize * 4);
        // Of a damaged list no id may be past the end.
        let limit = end.saturating_sub(first);
        let width = if wide { 4 } else { 2 };
        let octets = bytes.get(distances + from as usize * width..distances + to as usize * width);
        let octets = octets.unwrap_or_default();
        let before = out.len();
        let ids = |distance: u32| (distance < limit).then(|| first + distance);
        match wide {
            true => out.extend(octets.chunks_exact(4).map_while(|octets| ids(u32_at(octets, 0)))),
            false => out.extend(
                octets
                    .chunks_exact(2)
                    .map_while(|octets| ids(u32::from(u16_at(octets, 0)))),
            ),
        }
        self.position += (out.len() - before) as u32;
        self.position == to && to < self.list.len
    }

    #[inline]
    fn next_sorted(&mut self, bytes: &[u8], firsts: usize, distances: usize, wide: bool) -> Option<EntryId> {
        let position = self.position;
        if position >= self.list.len {
            return None;
        }
        self.position = position + 1;
        let first = u32_at(bytes, firsts + (position / BLOCK) as usize * 4);
        let distance = match wide {
            true => u32_at(bytes, distances + position as usize * 4),
            false => u32::from(u16_at(bytes, distances + position as usize * 2)),
        };
        first.checked_add(distance).map(EntryId)
    }

    /// Moves to the last block that begins at or before `at_least`, if that is further on. Gives the block it stands in.
    #[inline]
    fn skip_blocks(&mut self, bytes: &[u8], firsts: usize, at_least: u32) -> u32 {
        let first = |block: u32| u32_at(bytes, firsts + block as usize * 4);
        let blocks = self.list.len.div_ceil(BLOCK);
        let here = self.position / BLOCK;
        let mut low = here + 1;
        if low >= blocks || first(low) > at_least {
            return here;
        }
        // What is asked for next is mostly near.
        let mut stride = 1;
        while low + stride < blocks && first(low + stride) <= at_least {
            low += stride;
            stride *= 2;
        }
        let mut high = blocks.min(low + stride);
        while low < high {
            let middle = low + (high - low) / 2;
            if first(middle) <= at_least {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.position = (low - 1) * BLOCK;
        low - 1
    }

    /// Moves past the ids of one block that are less than `at_least`.
    #[inline]
    fn skip_within(&mut self, bytes: &[u8], firsts: usize, distances: usize, wide: bool, block: u32, at_least: u32) {
        let first = u32_at(bytes, firsts + block as usize * 4);
        let Some(wanted) = at_least.checked_sub(first) else {
            return;
        };
        let end = self.list.len.min((block + 1) * BLOCK);
        let width = if wide { 4 } else { 2 };
        let range = distances + self.position as usize * width..distances + end as usize * width;
        let Some(rest) = bytes.get(range) else { return };
        let less = match wide {
            true => rest.chunks_exact(4).filter(|octets| u32_at(octets, 0) < wanted).count(),
            false => match u16::try_from(wanted) {
                Ok(wanted) => less_than(rest, wanted),
                Err(_) => rest.len() / 2,
            },
        };
        self.position += less as u32;
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

/// Whether ids are in a list, cheaper than one by one where each is not less than the one before.
pub struct PostingWalk {
    cursor: PostingCursor,
    /// The least id of the list that is not less than the one asked for last.
    head: Option<EntryId>,
    /// Ids below this were passed.
    passed: EntryId,
}

impl PostingWalk {
    pub fn new(list: PostingList) -> PostingWalk {
        PostingWalk {
            cursor: PostingCursor::new(list),
            head: None,
            passed: EntryId(0),
        }
    }

    #[inline]
    pub fn contains(&mut self, postings: Postings<'_>, id: EntryId) -> bool {
        let list = self.cursor.list();
        if list.is_cheap_to_probe() {
            return postings.contains(list, id);
        }
        if id < self.passed {
            *self = PostingWalk::new(list);
        }
        self.passed = id;
        if self.head.is_none_or(|head| head < id) {
            self.head = self.cursor.seek(postings, id);
        }
        self.head == Some(id)
    }
}

/// How many of these little-endian u16 are less than `wanted`. Without a branch an id, so that it runs as vectors.
#[inline]
fn less_than(octets: &[u8], wanted: u16) -> usize {
    let (pairs, _) = octets.as_chunks::<2>();
    let less: u16 = pairs
        .iter()
        .map(|pair| u16::from(u16::from_le_bytes(*pair) < wanted))
        .sum();
    usize::from(less)
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
    fn what_is_taken_at_a_time_is_what_comes_one_by_one() {
        let mut rng = Rng::new(8);
        let sets: Vec<_> = (0..300).map(|_| random_ids(&mut rng)).collect();
        let bytes = build(&sets);
        let postings = Postings::open(&bytes);
        for (ordinal, set) in sets.iter().enumerate() {
            let mut cursor = PostingCursor::new(postings.list(Ordinal(ordinal as u32)));
            let mut start = 0;
            for _ in 0..40 {
                start += [0, rng.below(20), rng.below(100_000)][rng.below(3)] as u32;
                let end = start + [rng.below(90), rng.below(2_000_000)][rng.below(2)] as u32;
                let most = 1 + rng.below(150);
                let expected: Vec<u32> = set.range(start..end).take(most).copied().collect();
                let mut found = Vec::new();
                cursor.take(postings, start..end, most, &mut found);
                assert_eq!(found, expected, "list {ordinal}, {start} to {end}, {most}");
                start = if found.len() < most { end } else { found[most - 1] + 1 };
            }
        }
    }

    #[test]
    fn a_walk_says_what_looking_up_each_says() {
        let mut rng = Rng::new(6);
        let sets: Vec<_> = (0..300).map(|_| random_ids(&mut rng)).collect();
        let bytes = build(&sets);
        let postings = Postings::open(&bytes);
        for (ordinal, set) in sets.iter().enumerate() {
            let mut walk = PostingWalk::new(postings.list(Ordinal(ordinal as u32)));
            let mut asked: Vec<u32> = (0..60).map(|_| rng.below(2_000_000) as u32).collect();
            asked.extend(set.iter().take(20).flat_map(|id| [id.saturating_sub(1), *id, *id]));
            asked.sort_unstable();
            // Mostly ascending; here and there back again.
            for at in 0..4 {
                asked.swap(at, at * 9 + 5);
            }
            for id in asked {
                assert_eq!(
                    walk.contains(postings, EntryId(id)),
                    set.contains(&id),
                    "list {ordinal}, {id}"
                );
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
