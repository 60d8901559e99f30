//! A Bloom filter over terms: "certainly not here", for one cache line.
//!
//! Useful for: passing over one of many small segments without looking into its dictionaries.
//! Not for: files; it is made anew with every segment in memory.

/// Bits for each term. With [`PROBES`] of them about one look in fifty says yes in vain.
const BITS_A_TERM: usize = 12;
/// Bits set for a term, all in one block.
const PROBES: u32 = 4;
/// Words of a block: one cache line.
const BLOCK: usize = 8;

/// Which terms there may be. Without blocks it says yes to everything.
#[derive(Default)]
pub struct TermFilter {
    blocks: Box<[[u64; BLOCK]]>,
}

impl TermFilter {
    /// For so many terms.
    pub fn new(terms: usize) -> TermFilter {
        let blocks = terms.saturating_mul(BITS_A_TERM).div_ceil(BLOCK * 64).max(1);
        TermFilter {
            blocks: vec![[0; BLOCK]; blocks].into(),
        }
    }

    /// Adds a term of one kind: an attribute type's number, or another number for what is no attribute.
    pub fn insert(&mut self, kind: u32, term: &[u8]) {
        let hash = hash_of(kind, term);
        let place = self.place(hash);
        if let Some(block) = place.and_then(|place| self.blocks.get_mut(place)) {
            for (word, bit) in bits(hash) {
                block[word] |= bit;
            }
        }
    }

    /// False only where the term was never added.
    #[inline]
    pub fn may_hold(&self, kind: u32, term: &[u8]) -> bool {
        if self.blocks.is_empty() {
            return true;
        }
        let hash = hash_of(kind, term);
        let block = self.place(hash).and_then(|place| self.blocks.get(place));
        block.is_none_or(|block| bits(hash).all(|(word, bit)| block[word] & bit != 0))
    }

    #[inline]
    fn place(&self, hash: u64) -> Option<usize> {
        // The upper half of a product spreads a number evenly over the blocks.
        usize::try_from((u128::from(hash) * self.blocks.len() as u128) >> 64).ok()
    }
}

/// Word and bit of each probe, from the lower half of the hash; the upper chose the block.
#[inline]
fn bits(hash: u64) -> impl Iterator<Item = (usize, u64)> {
    (0..PROBES).map(move |probe| {
        let nine = (hash >> (probe * 9)) as usize & 511;
        (nine / 64, 1 << (nine % 64))
    })
}

/// Eight octets a step. Who makes terms collide gains a look into a dictionary.
#[inline]
fn hash_of(kind: u32, term: &[u8]) -> u64 {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = (u64::from(kind) << 32 | term.len() as u64).wrapping_mul(PRIME);
    let mut step = |octets: u64| hash = (hash.rotate_left(23) ^ octets).wrapping_mul(PRIME);
    let (eights, rest) = term.as_chunks::<8>();
    eights.iter().for_each(|eight| step(u64::from_le_bytes(*eight)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    step(u64::from_le_bytes(last));
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(PRIME);
    hash ^ hash >> 29
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_there_and_little_else() {
        let term = |number: u32| format!("person {number}@nhs.example").into_bytes();
        let mut filter = TermFilter::new(5_000);
        (0..5_000).for_each(|number| filter.insert(number % 3, &term(number)));
        assert!((0..5_000).all(|number| filter.may_hold(number % 3, &term(number))));
        let in_vain = |kind: u32, from: u32| {
            let absent = from..from + 5_000;
            absent.filter(|number| filter.may_hold(kind, &term(*number))).count()
        };
        assert!(in_vain(0, 10_000) < 250, "{}", in_vain(0, 10_000));
        assert!(in_vain(7, 0) < 250, "another kind is another term: {}", in_vain(7, 0));
    }

    #[test]
    fn one_without_blocks_says_yes() {
        assert!(TermFilter::default().may_hold(1, b"anything"));
        assert!(!TermFilter::new(0).may_hold(1, b"anything"));
    }
}
