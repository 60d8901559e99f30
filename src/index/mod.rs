//! Here is a value; give me the entries.
//!
//! Useful for: ordered dictionaries of normalised values, posting lists of entry numbers, n-gram postings over
//! dictionary values, columns of ordinals by entry, filters that say what is certainly not there. Everything is written once into bytes and read in place from a byte slice (mapped or in memory).
//! Not for: knowing what an attribute or an entry is; files; sets in memory beyond one query.
//!
//! Invariants: readers copy nothing and hold no reference: a cursor is a position that is given the bytes at every
//! step, so it can live beside the `Arc` that owns them. Posting lists ascend. No reader panics on damaged bytes.

pub mod bloom;
pub mod column;
pub mod dictionary;
pub(crate) mod octets;
pub mod postings;
pub mod substring;

/// The position of a value in an ordered dictionary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ordinal(pub u32);

/// The number of an entry within one segment: its position in DIT pre-order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntryId(pub u32);

#[cfg(test)]
pub(crate) mod testing {
    //! Random data for property tests: a seed is printed, and `SEED=n` replays it.

    pub(crate) struct Rng(u64);

    impl Rng {
        /// Seeded from `SEED`, else from `default`.
        pub(crate) fn new(default: u64) -> Rng {
            let seed = std::env::var("SEED").map_or(default, |seed| seed.parse().expect("SEED is a number"));
            println!("SEED={seed}");
            Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
        }

        pub(crate) fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
        }

        pub(crate) fn below(&mut self, limit: usize) -> usize {
            (self.next() % limit as u64) as usize
        }

        /// Up to `longest` octets out of the first `letters` of an alphabet that includes awkward ones.
        pub(crate) fn octets(&mut self, longest: usize, letters: usize) -> Vec<u8> {
            let alphabet = b"ab\x00\xffcdefghijklmnop";
            let len = self.below(longest + 1);
            (0..len).map(|_| alphabet[self.below(letters)]).collect()
        }
    }
}
