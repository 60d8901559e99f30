//! Columns: for each entry the ordinal of its value of one attribute, so that a candidate is tested without its record.
//!
//! For attributes that most entries have, nearly always with one value, out of few. An entry with several values is in
//! a table behind the column, so a column says everything that the posting lists say.
//!
//! Layout (integers little-endian):
//! ```text
//! u32 number of entries, u32 octets a cell (1, 2 or 4), u32 number of entries with several values
//! the cells, one an entry, padded to 4 octets: 0 no value, all ones: several values, else the ordinal plus one
//! the entries with several values, u32 each, ascending
//! for each of these and the end where its ordinals begin in what follows, u32 each
//! the ordinals, u32 each
//! ```

use super::octets::{u16_at, u32_at};
use super::{EntryId, Ordinal};
use std::ops::Range;

const HEADER: usize = 12;
/// A column is written where a value stands for at least so many entries.
const ENTRIES_A_VALUE: usize = 8;
/// Of this many entries one has to have the attribute.
const DENSE: usize = 8;
/// Of this many entries that have the attribute only one may have several values.
const SINGLE: usize = 4;

/// Gathers the ordinals of one attribute's values, list by list.
pub struct ColumnBuilder {
    /// The ordinal plus one.
    cells: Vec<u32>,
    /// Entry and ordinal of every value but an entry's first.
    more: Vec<(u32, u32)>,
}

impl ColumnBuilder {
    /// For `entries` entries of which `present` have the attribute, with so many distinct `values` in so many `postings`;
    /// `None` where a column would not pay.
    pub fn new(entries: usize, present: usize, values: usize, postings: usize) -> Option<ColumnBuilder> {
        let few = values.saturating_mul(ENTRIES_A_VALUE) <= postings;
        let dense = present.saturating_mul(DENSE) >= entries;
        let single = postings.saturating_sub(present).saturating_mul(SINGLE) <= present;
        (few && dense && single && values > 0).then(|| ColumnBuilder {
            cells: vec![0; entries],
            more: Vec::new(),
        })
    }

    /// The entries that have the value with this ordinal.
    pub fn push(&mut self, ordinal: Ordinal, ids: &[u32]) {
        for id in ids {
            match self.cells.get_mut(*id as usize) {
                Some(cell) if *cell == 0 => *cell = ordinal.0 + 1,
                Some(_) => self.more.push((*id, ordinal.0)),
                None => debug_assert!(false, "a column has a cell for every entry"),
            }
        }
    }

    /// The finished bytes; [`Column::open`] reads them.
    pub fn finish(mut self) -> Vec<u8> {
        let greatest = self.cells.iter().copied().max().unwrap_or(0);
        let width = match greatest {
            0..0xff => 1,
            0xff..0xffff => 2,
            _ => 4,
        };
        let mut several: Vec<u32> = self.more.iter().map(|pair| pair.0).collect();
        several.sort_unstable();
        several.dedup();
        for id in &several {
            let cell = &mut self.cells[*id as usize];
            self.more.push((*id, *cell - 1));
            *cell = u32::MAX;
        }
        self.more.sort_unstable();
        let mut out = Vec::with_capacity(HEADER + self.cells.len() * width + several.len() * 16 + 8);
        for number in [self.cells.len(), width, several.len()] {
            out.extend_from_slice(&(number as u32).to_le_bytes());
        }
        for cell in &self.cells {
            out.extend_from_slice(&cell.to_le_bytes()[..width]);
        }
        out.resize(out.len().next_multiple_of(4), 0);
        let starts = several
            .iter()
            .map(|id| self.more.partition_point(|pair| pair.0 < *id) as u32);
        let numbers = several.iter().copied().chain(starts);
        let numbers = numbers.chain([self.more.len() as u32]);
        for number in numbers.chain(self.more.iter().map(|pair| pair.1)) {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out
    }
}

/// Reads a column in place.
#[derive(Clone, Copy)]
pub struct Column<'a> {
    bytes: &'a [u8],
    cells: &'a [u8],
    width: u32,
}

/// Ordinals that are asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OrdinalSet {
    Range(Range<u32>),
    /// Ascending.
    Some(Box<[u32]>),
}

impl OrdinalSet {
    /// How many ordinals.
    pub fn len(&self) -> usize {
        match self {
            OrdinalSet::Range(range) => range.len(),
            OrdinalSet::Some(ordinals) => ordinals.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub fn contains(&self, ordinal: u32) -> bool {
        match self {
            OrdinalSet::Range(range) => range.contains(&ordinal),
            OrdinalSet::Some(ordinals) => ordinals.binary_search(&ordinal).is_ok(),
        }
    }
}

impl<'a> Column<'a> {
    pub fn open(bytes: &'a [u8]) -> Column<'a> {
        let (entries, width) = (u32_at(bytes, 0) as usize, u32_at(bytes, 4));
        let end = HEADER.saturating_add(entries.saturating_mul(width as usize));
        Column {
            bytes,
            cells: bytes.get(HEADER..end).unwrap_or(&[]),
            width,
        }
    }

    /// The number of entries.
    pub fn len(&self) -> u32 {
        u32_at(self.bytes, 0)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of values of all entries: what a check of the index asks.
    pub fn values(&self) -> u64 {
        let every = OrdinalSet::Range(0..u32::MAX);
        let several = (0..u32_at(self.bytes, 8) as usize).map(|place| {
            let id = self.number(place);
            self.several(EntryId(id)).count() as u64
        });
        let ids = (0..self.len()).map(EntryId);
        let with_value = ids.filter(|id| self.any(*id, &every)).count() as u64;
        let with_several = u64::from(u32_at(self.bytes, 8));
        with_value.saturating_sub(with_several) + several.sum::<u64>()
    }

    /// Whether one of an entry's values is among these. False where the bytes are damaged.
    #[inline]
    pub fn any(&self, id: EntryId, wanted: &OrdinalSet) -> bool {
        let at = id.0 as usize;
        let (cell, several) = match self.width {
            1 => (octet_at(self.cells, at), u32::from(u8::MAX)),
            2 => (u32::from(u16_at(self.cells, at * 2)), u32::from(u16::MAX)),
            _ => (u32_at(self.cells, at * 4), u32::MAX),
        };
        self.is_among(id, cell, several, wanted)
    }

    /// Whether one of an entry's values is among these, by its cell.
    #[inline]
    fn is_among(&self, id: EntryId, cell: u32, several: u32, wanted: &OrdinalSet) -> bool {
        if cell == several {
            return self.several(id).any(|ordinal| wanted.contains(ordinal));
        }
        match wanted {
            // No value is cell 0, whose ordinal would be beyond every other.
            OrdinalSet::Range(range) => {
                cell.wrapping_sub(1).wrapping_sub(range.start) < range.end.saturating_sub(range.start)
            }
            some => cell > 0 && some.contains(cell - 1),
        }
    }

    /// Leaves those of some ids of which one of their values is among `wanted`; with `negated`, the others.
    pub fn retain(&self, ids: &mut Vec<u32>, wanted: &OrdinalSet, negated: bool) {
        match self.width {
            1 => self.retain_by(ids, wanted, negated, u32::from(u8::MAX), octet_at),
            2 => self.retain_by(ids, wanted, negated, u32::from(u16::MAX), |cells, at| {
                u32::from(u16_at(cells, at * 2))
            }),
            _ => self.retain_by(ids, wanted, negated, u32::MAX, |cells, at| u32_at(cells, at * 4)),
        }
    }

    /// As [`Column::retain`], for cells of one width. What is left is moved to the front whether it stays or not: which ids
    /// pass is not to be foreseen, so a branch would cost more.
    #[inline]
    fn retain_by(
        &self,
        ids: &mut Vec<u32>,
        wanted: &OrdinalSet,
        negated: bool,
        several: u32,
        cell_at: impl Fn(&[u8], usize) -> u32,
    ) {
        let mut kept = 0;
        for at in 0..ids.len() {
            let id = ids[at];
            let cell = cell_at(self.cells, id as usize);
            let found = self.is_among(EntryId(id), cell, several, wanted);
            ids[kept] = id;
            kept += usize::from(found != negated);
        }
        ids.truncate(kept);
    }

    /// The ordinals of an entry with several values.
    fn several(&self, id: EntryId) -> impl Iterator<Item = u32> + use<'a> {
        let count = u32_at(self.bytes, 8) as usize;
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.number(middle) < id.0 {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let range = match low < count && self.number(low) == id.0 {
            true => self.number(count + low) as usize..self.number(count + low + 1) as usize,
            false => 0..0,
        };
        // A damaged range must not be walked for ever.
        let range = range.start..range.end.min(self.bytes.len() / 4);
        let column = *self;
        range.map(move |place| column.number(count * 2 + 1 + place))
    }

    /// A number of the table behind the cells.
    fn number(&self, place: usize) -> u32 {
        let table = (HEADER + self.cells.len() + 3) & !3;
        u32_at(self.bytes, table.saturating_add(place.saturating_mul(4)))
    }
}

#[inline]
fn octet_at(cells: &[u8], at: usize) -> u32 {
    cells.get(at).copied().map_or(0, u32::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::testing::Rng;

    /// Random values of `entries` entries: ordinals by entry.
    fn values(rng: &mut Rng, entries: usize, distinct: usize) -> Vec<Vec<u32>> {
        let mut one = || match rng.below(20) {
            0 => Vec::new(),
            1 => {
                let mut some: Vec<u32> = (0..3).map(|_| rng.below(distinct) as u32).collect();
                some.sort_unstable();
                some.dedup();
                some
            }
            _ => vec![rng.below(distinct) as u32],
        };
        (0..entries).map(|_| one()).collect()
    }

    fn build(values: &[Vec<u32>], distinct: usize) -> Option<Vec<u8>> {
        let postings = values.iter().map(Vec::len).sum();
        let present = values.iter().filter(|values| !values.is_empty()).count();
        let mut builder = ColumnBuilder::new(values.len(), present, distinct, postings)?;
        for ordinal in 0..distinct as u32 {
            let ids = (0..values.len() as u32).filter(|id| values[*id as usize].contains(&ordinal));
            builder.push(Ordinal(ordinal), &ids.collect::<Vec<_>>());
        }
        Some(builder.finish())
    }

    #[test]
    fn a_column_says_what_the_lists_say() {
        let mut rng = Rng::new(11);
        for (entries, distinct) in [(40, 3), (5_000, 200), (9_000, 253), (9_000, 254), (9_000, 700)] {
            let values = values(&mut rng, entries, distinct);
            let bytes = build(&values, distinct).expect("a column pays");
            let column = Column::open(&bytes);
            assert_eq!(column.len() as usize, entries);
            for _ in 0..20 {
                let start = rng.below(distinct) as u32;
                let range = start..start + rng.below(5) as u32;
                let some = OrdinalSet::Some(range.clone().step_by(2).collect());
                for wanted in [OrdinalSet::Range(range), some] {
                    let (mut with, mut without): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
                    for (id, values) in values.iter().enumerate() {
                        let expected = values.iter().any(|ordinal| wanted.contains(*ordinal));
                        assert_eq!(column.any(EntryId(id as u32), &wanted), expected, "{id} {wanted:?}");
                        if expected { &mut with } else { &mut without }.push(id as u32);
                    }
                    for (negated, expected) in [(false, with), (true, without)] {
                        let mut ids: Vec<u32> = (0..entries as u32).collect();
                        column.retain(&mut ids, &wanted, negated);
                        assert_eq!(ids, expected, "{wanted:?} {negated}");
                    }
                }
            }
            assert!(!column.any(EntryId(entries as u32), &OrdinalSet::Range(0..u32::MAX)));
        }
    }

    #[test]
    fn four_octets_are_used_when_two_are_too_few() {
        let mut builder = ColumnBuilder::new(600_000, 600_000, 70_000, 600_000).expect("a column pays");
        (0..70_000).for_each(|ordinal| builder.push(Ordinal(ordinal), &[ordinal]));
        let bytes = builder.finish();
        let column = Column::open(&bytes);
        assert!(column.any(EntryId(69_999), &OrdinalSet::Range(69_999..70_000)));
        assert!(!column.any(EntryId(69_999), &OrdinalSet::Range(0..69_999)));
    }

    #[test]
    fn none_is_written_where_it_would_not_pay() {
        let pays =
            |entries, present, values, postings| ColumnBuilder::new(entries, present, values, postings).is_some();
        assert!(pays(1000, 1000, 20, 1000));
        assert!(!pays(1000, 1000, 900, 1000), "nearly unique");
        assert!(!pays(1000, 20, 2, 20), "hardly any entry has it");
        assert!(!pays(1000, 1000, 20, 3000), "entries have several values");
    }

    #[test]
    fn damaged_bytes_do_not_panic() {
        let mut rng = Rng::new(12);
        let values = values(&mut rng, 400, 9);
        let good = build(&values, 9).expect("a column pays");
        for _ in 0..400 {
            let mut bytes = good.clone();
            for _ in 0..3 {
                let place = [rng.below(bytes.len()), rng.below(12)][rng.below(2)];
                bytes[place] = rng.next() as u8;
            }
            bytes.truncate(bytes.len() - rng.below(2) * rng.below(bytes.len()));
            for id in 0..420 {
                Column::open(&bytes).any(EntryId(id), &OrdinalSet::Range(1..2));
            }
            Column::open(&bytes).retain(&mut (0..420).collect(), &OrdinalSet::Range(1..2), false);
        }
    }
}
