//! N-gram postings over the values of a dictionary: which ordinals contain these three octets?
//!
//! A value is padded at its end by two zero octets, so that one and two octets are a range of three-octet grams.
//! Work is done as ordinals are asked for: opening a cursor touches only the descriptors of a few lists, however
//! many values hold a gram.
//!
//! Layout (integers little-endian):
//! ```text
//! u32 number of values, u32 number of grams
//! the grams: u32 each (the three octets as a big-endian number), ascending
//! postings (see `postings`): for each gram the ordinals that hold it
//! ```

use super::octets::{push_varint, u32_at, varint};
use super::postings::{PostingCursor, PostingList, Postings, PostingsBuilder};
use super::{EntryId, Ordinal};
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

/// Gathered pairs after which a builder keeps one compressed list a gram.
const PAIRS: usize = 1 << 16;
/// Lists that a cursor merges for a piece of one or two octets; above, it gives every ordinal for verification.
const MERGED: usize = 256;
/// Lists that a cursor intersects for a longer piece.
const INTERSECTED: usize = 3;
/// A list that holds more than one value in this many rejects too little to be worth intersecting.
const COMMON: u32 = 4;
/// Below this many candidates verifying is cheaper than intersecting.
const FEW: u32 = 8;

/// Writes the substring index of a dictionary.
#[derive(Default)]
pub struct SubstringBuilder {
    values: u32,
    /// `gram << 32 | ordinal`, until there are too many.
    pairs: Vec<u64>,
    large: Option<GramLists>,
}

/// One delta-coded list a gram. Text has few of the grams there could be, and those lie close together: a table of all of
/// them would be 64 MiB to clear, most of it for nothing.
struct GramLists {
    /// By the first two octets of a gram: the place of its page plus one; 0 for none yet.
    places: Vec<u32>,
    pages: Vec<GramPage>,
    lists: Vec<GramList>,
}

/// By the third octet of a gram: the place of its list plus one; 0 for none yet.
type GramPage = [u32; 256];

struct GramList {
    last: u32,
    deltas: Vec<u8>,
}

impl SubstringBuilder {
    /// Values in ordinal order, every one.
    pub fn push(&mut self, ordinal: Ordinal, value: &[u8]) {
        self.values = ordinal.0 + 1;
        match &mut self.large {
            Some(lists) => grams(value).for_each(|gram| lists.push(gram, ordinal.0)),
            None => {
                let pair = |gram| u64::from(gram) << 32 | u64::from(ordinal.0);
                self.pairs.extend(grams(value).map(pair));
                if self.pairs.len() > PAIRS {
                    self.large = Some(GramLists::from_pairs(&std::mem::take(&mut self.pairs)));
                }
            }
        }
    }

    /// The finished bytes; [`Substrings::open`] reads them.
    pub fn finish(mut self) -> Vec<u8> {
        let mut gram_table = Vec::new();
        let mut postings = PostingsBuilder::default();
        let mut ordinals = Vec::new();
        if let Some(large) = self.large {
            large.for_each(&mut |gram, list| {
                gram_table.push(gram);
                list.decode(&mut ordinals);
                postings.push(&ordinals);
            });
        } else {
            sort_by_gram(&mut self.pairs);
            self.pairs.dedup();
            for run in self.pairs.chunk_by(|left, right| left >> 32 == right >> 32) {
                gram_table.push((run[0] >> 32) as u32);
                ordinals.clear();
                ordinals.extend(run.iter().map(|pair| *pair as u32));
                postings.push(&ordinals);
            }
        }
        let postings = postings.finish();
        let mut out = Vec::with_capacity(8 + gram_table.len() * 4 + postings.len());
        out.extend_from_slice(&self.values.to_le_bytes());
        out.extend_from_slice(&(gram_table.len() as u32).to_le_bytes());
        for gram in &gram_table {
            out.extend_from_slice(&gram.to_le_bytes());
        }
        out.extend_from_slice(&postings);
        out
    }
}

/// Sorts pairs that ascend by ordinal by their gram, octet by octet; what is equal stays in its order.
fn sort_by_gram(pairs: &mut Vec<u64>) {
    let mut sorted = vec![0; pairs.len()];
    for shift in [32, 40, 48] {
        let octet = |pair: u64| (pair >> shift) as usize & 0xff;
        let mut places = [0usize; 256];
        pairs.iter().for_each(|pair| places[octet(*pair)] += 1);
        let mut start = 0;
        for place in &mut places {
            start += std::mem::replace(place, start);
        }
        for pair in pairs.iter() {
            let place = &mut places[octet(*pair)];
            sorted[*place] = *pair;
            *place += 1;
        }
        std::mem::swap(pairs, &mut sorted);
    }
}

impl GramLists {
    fn from_pairs(pairs: &[u64]) -> GramLists {
        let mut lists = GramLists {
            places: vec![0; 1 << 16],
            pages: Vec::new(),
            lists: Vec::new(),
        };
        for pair in pairs {
            lists.push((pair >> 32) as u32, *pair as u32);
        }
        lists
    }

    fn push(&mut self, gram: u32, ordinal: u32) {
        let place = &mut self.places[gram as usize >> 8 & 0xffff];
        if *place == 0 {
            self.pages.push([0; 256]);
            *place = self.pages.len() as u32;
        }
        let number = &mut self.pages[*place as usize - 1][gram as usize & 0xff];
        if *number == 0 {
            self.lists.push(GramList {
                last: ordinal,
                deltas: Vec::new(),
            });
            *number = self.lists.len() as u32;
            return;
        }
        let list = &mut self.lists[*number as usize - 1];
        // A gram may be in a value more than once.
        if list.last != ordinal {
            push_varint(&mut list.deltas, ordinal - list.last);
            list.last = ordinal;
        }
    }

    /// Calls `each` with every gram and its list, ascending.
    fn for_each(&self, each: &mut dyn FnMut(u32, &GramList)) {
        for (first, place) in (0u32..).zip(&self.places).filter(|(_, place)| **place != 0) {
            let page = &self.pages[*place as usize - 1];
            for (third, number) in (0u32..).zip(page).filter(|(_, number)| **number != 0) {
                each(first << 8 | third, &self.lists[*number as usize - 1]);
            }
        }
    }
}

impl GramList {
    /// Replaces `out` by the list's ordinals.
    fn decode(&self, out: &mut Vec<u32>) {
        out.clear();
        let mut at = 0;
        let mut deltas = 0;
        while let Some(delta) = varint(&self.deltas, &mut at) {
            deltas += delta;
            out.push(deltas);
        }
        let first = self.last - deltas;
        out.iter_mut().for_each(|ordinal| *ordinal += first);
        out.insert(0, first);
    }
}

/// Every gram of a value, the padded ones last.
fn grams(value: &[u8]) -> impl Iterator<Item = u32> + '_ {
    (0..value.len()).map(|at| {
        let octet = |at: usize| u32::from(value.get(at).copied().unwrap_or(0));
        octet(at) << 16 | octet(at + 1) << 8 | octet(at + 2)
    })
}

/// Reads a substring index in place.
#[derive(Clone, Copy)]
pub struct Substrings<'a> {
    bytes: &'a [u8],
}

/// Candidate ordinals for one piece, ascending, a superset: the caller verifies each value unless `exact`.
/// Holds positions only; it is given the bytes at every step.
#[derive(Clone, Debug)]
pub struct SubstringCursor {
    /// Whether every ordinal given really contains the piece.
    pub exact: bool,
    candidates: Candidates,
}

#[derive(Clone, Debug)]
enum Candidates {
    /// The values that hold every one of these grams, the rarest first. No list: none.
    All(SmallVec<[Head; INTERSECTED]>),
    /// The values that hold any of these grams: each cursor with its next ordinal, least first.
    Any {
        cursors: Vec<PostingCursor>,
        heap: BinaryHeap<Reverse<(u32, u32)>>,
    },
    /// Every value.
    Every { next: u32, end: u32 },
}

/// A cursor and the id it gave last.
#[derive(Clone, Debug)]
struct Head {
    cursor: PostingCursor,
    last: Option<EntryId>,
}

impl<'a> Substrings<'a> {
    pub fn open(bytes: &'a [u8]) -> Substrings<'a> {
        Substrings { bytes }
    }

    /// The number of values that were indexed.
    pub fn values(&self) -> u32 {
        u32_at(self.bytes, 0)
    }

    /// An upper bound on the number of ordinals that contain `piece`, from its rarest gram.
    pub fn estimate(&self, piece: &[u8]) -> u64 {
        let every = u64::from(self.values());
        if piece.len() < 3 {
            let range = self.gram_range(piece);
            if range.len() > MERGED {
                return every;
            }
            let postings = self.postings();
            let length = |gram: u32| u64::from(postings.list(Ordinal(gram)).len);
            return range.map(length).sum::<u64>().min(every);
        }
        let lists = piece.windows(3).map(|gram| u64::from(self.gram_list(gram).len));
        lists.min().unwrap_or(every)
    }

    /// Whether every gram of a value lists its ordinal: what a check of the index asks.
    pub fn holds(&self, ordinal: Ordinal, value: &[u8]) -> bool {
        let postings = self.postings();
        let listed = |gram: u32| {
            let list = self.list_of(gram);
            postings.contains(list, EntryId(ordinal.0))
        };
        grams(value).all(listed)
    }

    /// `piece` is normalised. An empty piece is in every value.
    pub fn cursor(&self, piece: &[u8]) -> SubstringCursor {
        // A gram that ends in zero may come from the padding.
        let exact = piece.len() <= 3 && !piece.ends_with(&[0]);
        if piece.len() >= 3 {
            return SubstringCursor {
                exact,
                candidates: self.intersection(piece),
            };
        }
        let range = self.gram_range(piece);
        if range.len() > MERGED || piece.is_empty() {
            let candidates = Candidates::Every {
                next: 0,
                end: self.values(),
            };
            return SubstringCursor {
                exact: piece.is_empty(),
                candidates,
            };
        }
        let postings = self.postings();
        let cursor = |gram| PostingCursor::new(postings.list(Ordinal(gram)));
        let mut cursors: Vec<_> = range.map(cursor).collect();
        let first = |(number, cursor): (usize, &mut PostingCursor)| {
            let id = cursor.next(postings)?;
            Some(Reverse((id.0, number as u32)))
        };
        let heap = cursors.iter_mut().enumerate().filter_map(first).collect();
        SubstringCursor {
            exact,
            candidates: Candidates::Any { cursors, heap },
        }
    }

    /// The rarest grams of a piece of at least three octets.
    fn intersection(&self, piece: &[u8]) -> Candidates {
        let mut rarest = SmallVec::<[PostingList; INTERSECTED + 1]>::new();
        for gram in piece.windows(3) {
            let list = self.gram_list(gram);
            if list.len == 0 {
                return Candidates::All(SmallVec::new());
            }
            if rarest.contains(&list) {
                continue;
            }
            let place = rarest.partition_point(|other| other.len <= list.len);
            rarest.insert(place, list);
            rarest.truncate(INTERSECTED);
        }
        let useful = self.values() / COMMON;
        let few = rarest.first().is_some_and(|list| list.len <= FEW);
        let keep = |(place, list): &(usize, &PostingList)| *place == 0 || (!few && list.len <= useful);
        let lists = rarest.iter().enumerate().filter(keep);
        let head = |(_, list): (usize, &PostingList)| Head {
            cursor: PostingCursor::new(*list),
            last: None,
        };
        Candidates::All(lists.map(head).collect())
    }

    fn grams(&self) -> u32 {
        let grams = u32_at(self.bytes, 4);
        let fits = 8 + grams as usize * 4 <= self.bytes.len();
        if fits { grams } else { 0 }
    }

    fn gram(&self, place: u32) -> u32 {
        u32_at(self.bytes, 8 + place as usize * 4)
    }

    #[inline]
    fn postings(&self) -> Postings<'a> {
        let at = 8 + self.grams() as usize * 4;
        Postings::open(self.bytes.get(at..).unwrap_or(&[]))
    }

    /// The first place in the gram table whose gram is not less.
    fn lower_bound(&self, gram: u32) -> u32 {
        let (mut low, mut high) = (0, self.grams());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.gram(middle) < gram {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The places of the grams that begin with fewer than three octets.
    fn gram_range(&self, octets: &[u8]) -> Range<u32> {
        let octet = |at: usize| u32::from(octets.get(at).copied().unwrap_or(0));
        let first = octet(0) << 16 | octet(1) << 8;
        let count = 1u32 << (8 * (3 - octets.len().min(2)));
        self.lower_bound(first)..self.lower_bound(first + count)
    }

    fn gram_list(&self, gram: &[u8]) -> PostingList {
        self.list_of(gram.iter().fold(0, |number, octet| number << 8 | u32::from(*octet)))
    }

    fn list_of(&self, gram: u32) -> PostingList {
        let place = self.lower_bound(gram);
        if place < self.grams() && self.gram(place) == gram {
            self.postings().list(Ordinal(place))
        } else {
            PostingList::EMPTY
        }
    }
}

impl SubstringCursor {
    /// The next candidate, or `None` at the end.
    #[inline]
    pub fn next(&mut self, substrings: Substrings<'_>) -> Option<Ordinal> {
        match &mut self.candidates {
            Candidates::All(cursors) => {
                let id = next_common(cursors, substrings.postings())?;
                Some(Ordinal(id.0))
            }
            Candidates::Any { cursors, heap } => next_of_any(cursors, heap, substrings.postings()),
            Candidates::Every { next, end } => {
                let ordinal = Ordinal(*next);
                *next += u32::from(*next < *end);
                (ordinal.0 < *end).then_some(ordinal)
            }
        }
    }
}

/// The next id that is in every list.
#[inline]
fn next_common(heads: &mut [Head], postings: Postings<'_>) -> Option<EntryId> {
    let (rarest, others) = heads.split_first_mut()?;
    let mut candidate = rarest.cursor.next(postings)?;
    'candidates: loop {
        for other in others.iter_mut() {
            if other.last < Some(candidate) {
                other.last = Some(other.cursor.seek(postings, candidate)?);
            }
            if let Some(further) = other.last.filter(|last| *last > candidate) {
                candidate = rarest.cursor.seek(postings, further)?;
                continue 'candidates;
            }
        }
        return Some(candidate);
    }
}

/// The next id that is in any list, once.
fn next_of_any(
    cursors: &mut [PostingCursor],
    heap: &mut BinaryHeap<Reverse<(u32, u32)>>,
    postings: Postings<'_>,
) -> Option<Ordinal> {
    let least = heap.peek()?.0.0;
    while let Some(mut top) = heap.peek_mut() {
        let (ordinal, number) = top.0;
        if ordinal != least {
            break;
        }
        match cursors
            .get_mut(number as usize)
            .and_then(|cursor| cursor.next(postings))
        {
            Some(next) => top.0 = (next.0, number),
            None => {
                std::collections::binary_heap::PeekMut::pop(top);
            }
        }
    }
    Some(Ordinal(least))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::testing::Rng;
    use std::collections::BTreeSet;

    fn build(values: &[Vec<u8>]) -> Vec<u8> {
        let mut builder = SubstringBuilder::default();
        for (ordinal, value) in values.iter().enumerate() {
            builder.push(Ordinal(ordinal as u32), value);
        }
        builder.finish()
    }

    fn check_piece(substrings: Substrings<'_>, values: &[Vec<u8>], piece: &[u8]) {
        let holds = |value: &[u8]| piece.is_empty() || value.windows(piece.len()).any(|window| window == piece);
        let ordinals = (0..values.len() as u32).filter(|ordinal| holds(&values[*ordinal as usize]));
        let expected: Vec<u32> = ordinals.collect();
        let mut cursor = substrings.cursor(piece);
        let exact = cursor.exact;
        let found: Vec<u32> = std::iter::from_fn(|| cursor.next(substrings)).map(|at| at.0).collect();
        assert!(found.is_sorted_by(|left, right| left < right), "{piece:?} ascends");
        if exact {
            assert_eq!(found, expected, "{piece:?}");
        } else {
            let found: BTreeSet<u32> = found.into_iter().collect();
            assert!(expected.iter().all(|ordinal| found.contains(ordinal)), "{piece:?}");
        }
        assert!(
            substrings.estimate(piece) >= expected.len() as u64,
            "estimate of {piece:?}"
        );
        assert_eq!(cursor.next(substrings), None);
    }

    #[test]
    fn a_cursor_gives_every_value_that_holds_the_piece() {
        let mut rng = Rng::new(6);
        for (count, letters) in [(0, 4), (1, 4), (40, 4), (3000, 6), (12_000, 18)] {
            let mut values: Vec<Vec<u8>> = (0..count).map(|_| rng.octets(12, letters)).collect();
            values.sort();
            values.dedup();
            let bytes = build(&values);
            let substrings = Substrings::open(&bytes);
            for _ in 0..150 {
                check_piece(substrings, &values, &rng.octets(6, letters));
            }
            if let Some(value) = values.last() {
                check_piece(substrings, &values, value);
            }
        }
    }

    #[test]
    fn short_pieces_are_exact() {
        let values = [&b"ann"[..], b"ben", b"x", b"zz"].map(<[u8]>::to_vec);
        let bytes = build(&values);
        let substrings = Substrings::open(&bytes);
        for (piece, expected) in [
            (&b"n"[..], vec![0, 1]),
            (b"nn", vec![0]),
            (b"ben", vec![1]),
            (b"zz", vec![3]),
        ] {
            let mut cursor = substrings.cursor(piece);
            assert!(cursor.exact);
            let found: Vec<u32> = std::iter::from_fn(|| cursor.next(substrings)).map(|at| at.0).collect();
            assert_eq!(found, expected, "{piece:?}");
        }
    }

    #[test]
    fn a_gram_in_every_value_costs_little() {
        let values: Vec<Vec<u8>> = (0..30_000)
            .map(|n| format!("{n:05}.person@nhs.net").into_bytes())
            .collect();
        let bytes = build(&values);
        assert!(bytes.len() < 30_000 * 14, "{} octets", bytes.len());
        let mut cursor = Substrings::open(&bytes).cursor(b"@nhs.net");
        assert_eq!(cursor.next(Substrings::open(&bytes)), Some(Ordinal(0)));
    }

    #[test]
    fn damaged_bytes_do_not_panic() {
        let mut rng = Rng::new(7);
        let values: Vec<Vec<u8>> = (0..500).map(|_| rng.octets(12, 6)).collect();
        let good = build(&values);
        for _ in 0..400 {
            let mut bytes = good.clone();
            for _ in 0..3 {
                let at = if rng.below(2) == 0 {
                    rng.below(bytes.len())
                } else {
                    rng.below(100)
                };
                bytes[at] = rng.next() as u8;
            }
            bytes.truncate(bytes.len() - rng.below(2) * rng.below(bytes.len()));
            let substrings = Substrings::open(&bytes);
            let piece = rng.octets(5, 6);
            substrings.estimate(&piece);
            let mut cursor = substrings.cursor(&piece);
            for _ in 0..600 {
                cursor.next(substrings);
            }
        }
    }
}
