//! A small seeded generator for synthetic data, and for property tests: `SEED=n cargo test` replays a run.
//! Not for secrets.

/// SplitMix64: the same seed gives the same numbers for ever.
#[derive(Clone, Debug)]
pub struct Random {
    pub seed: u64,
    state: u64,
}

impl Random {
    /// Seeded by `SEED`, else by the clock; says which, for who reads that a test failed.
    #[cfg(test)]
    pub fn from_environment() -> Self {
        let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = given.unwrap_or_else(|| now.map_or(1, |elapsed| elapsed.as_micros() as u64));
        println!("SEED={seed}");
        Self::new(seed)
    }

    pub fn new(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Evenly from `0..limit`; 0 where that is empty. `limit` is small beside 2^64, so the bias is nothing.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// True in so many of a hundred.
    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// One of a slice that is not empty.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = self.below(from.len());
        &from[at]
    }

    /// Up to `most` octets from an alphabet.
    pub fn octets_of(&mut self, alphabet: &[u8], most: usize) -> Vec<u8> {
        let count = self.below(most + 1);
        (0..count).map(|_| *self.pick(alphabet)).collect()
    }
}
