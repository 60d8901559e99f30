//! Which ids a search has met: answers are short, so a few ids in a table of their own, and a bitmap beyond.

use roaring::RoaringBitmap;

/// Ids in the table at most; it has twice as many places.
const FEW: usize = 1024;
/// Places of the first table.
const FIRST: usize = 128;

/// A set of ids. Ids are below 2^31.
#[derive(Default)]
pub(super) struct Seen {
    /// Ids plus one by their hash, 0 where there is none; a power of two of places, at most half of them taken.
    few: Vec<u32>,
    len: usize,
    many: RoaringBitmap,
    /// All ids are in `many`.
    is_many: bool,
}

impl Seen {
    /// A set that will be asked for its ids in order.
    pub(super) fn ordered() -> Seen {
        Seen {
            is_many: true,
            ..Seen::default()
        }
    }

    /// Adds an id; false where it was there.
    #[inline]
    pub(super) fn insert(&mut self, id: u32) -> bool {
        if self.is_many {
            return self.many.insert(id);
        }
        if self.len * 2 >= self.few.len() && !self.grow() {
            return self.many.insert(id);
        }
        let added = place(&mut self.few, id);
        self.len += usize::from(added);
        added
    }

    /// The least id from `from` on; only in a set that is [`Seen::ordered`].
    pub(super) fn next(&self, from: u32) -> Option<u32> {
        debug_assert!(self.is_many, "a table has no order");
        self.many.range(from..).next()
    }

    /// Makes room in the table; false where that has come to its end.
    fn grow(&mut self) -> bool {
        if self.len >= FEW {
            self.many = self.few.iter().filter(|id| **id != 0).map(|id| id - 1).collect();
            self.few = Vec::new();
            self.is_many = true;
            return false;
        }
        let mut larger = vec![0; (self.few.len() * 2).max(FIRST)];
        for id in self.few.iter().filter(|id| **id != 0) {
            place(&mut larger, id - 1);
        }
        self.few = larger;
        true
    }
}

#[inline]
fn place(table: &mut [u32], id: u32) -> bool {
    // Neighbours are spread, so that a run of ids fills no run of places.
    let mut at = (id.wrapping_mul(0x9e37_79b1) >> 21) as usize;
    loop {
        at &= table.len() - 1;
        match table[at] {
            0 => {
                table[at] = id + 1;
                return true;
            }
            taken if taken == id + 1 => return false,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::testing::Rng;
    use std::collections::BTreeSet;

    #[test]
    fn an_id_is_new_once() {
        let mut rng = Rng::new(3);
        for (spread, count) in [(40, 200), (3000, 5000), (1 << 31, 4000)] {
            let (mut seen, mut expected) = (Seen::default(), BTreeSet::new());
            let (mut ordered, mut from) = (Seen::ordered(), 0);
            for _ in 0..count {
                let id = rng.below(spread) as u32;
                assert_eq!(seen.insert(id), expected.insert(id), "{id}");
                ordered.insert(id);
            }
            for id in expected {
                assert_eq!(ordered.next(from), Some(id));
                from = id + 1;
            }
            assert_eq!(ordered.next(from), None);
        }
    }
}
