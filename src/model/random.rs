//! A small seeded generator for property tests: `SEED=n cargo test` replays a run.

pub(crate) struct Random {
    pub seed: u64,
    state: u64,
}

impl Random {
    /// Seeded by `SEED`, else by the clock; the seed is for the assertion's message.
    pub fn from_environment() -> Self {
        let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self::new(given.unwrap_or_else(|| now.map_or(1, |elapsed| elapsed.as_micros() as u64)))
    }

    pub fn new(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    /// SplitMix64.
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

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
