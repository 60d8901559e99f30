//! Names in any case to numbers, without allocation.

/// A table from descriptors and numeric OIDs, compared without regard to ASCII case, to small numbers.
///
/// Open addressing over a power of two at most half full; a slot holds an index into `entries` plus one.
pub(super) struct NameTable {
    slots: Vec<u32>,
    entries: Vec<(Box<str>, u16)>,
}

impl Default for NameTable {
    fn default() -> Self {
        NameTable {
            slots: vec![0; 64],
            entries: Vec::new(),
        }
    }
}

impl NameTable {
    /// Adds a name, or answers the number it already has.
    pub(super) fn insert(&mut self, name: &str, number: u16) -> Result<(), u16> {
        if let Some(taken) = self.find(name) {
            return Err(taken);
        }
        if (self.entries.len() + 1) * 2 > self.slots.len() {
            self.grow();
        }
        self.entries.push((name.into(), number));
        let index = u32::try_from(self.entries.len()).expect("a schema has fewer than 2^32 names");
        Self::place(&mut self.slots, name, index);
        Ok(())
    }

    pub(super) fn find(&self, name: &str) -> Option<u16> {
        let mask = self.slots.len() - 1;
        let mut at = hash(name) & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            let (known, number) = &self.entries[slot as usize - 1];
            // Nearly always it is spelled as it is known.
            if **known == *name || known.eq_ignore_ascii_case(name) {
                return Some(*number);
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let mut slots = vec![0; self.slots.len() * 2];
        for (index, (name, _)) in (1u32..).zip(&self.entries) {
            Self::place(&mut slots, name, index);
        }
        self.slots = slots;
    }

    fn place(slots: &mut [u32], name: &str, index: u32) {
        let mask = slots.len() - 1;
        let mut at = hash(name) & mask;
        while slots[at] != 0 {
            at = (at + 1) & mask;
        }
        slots[at] = index;
    }
}

/// Over the octets with the bit that tells upper from lower case set, eight at a time. The keys come from schema files, so
/// nobody can fill one slot from outside.
fn hash(name: &str) -> usize {
    const LOWER: u64 = 0x2020_2020_2020_2020;
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = name.len() as u64;
    let mut step = |octets: u64| state = (state.rotate_left(29) ^ (octets | LOWER)).wrapping_mul(ODD);
    let (words, rest) = name.as_bytes().as_chunks::<8>();
    words.iter().for_each(|word| step(u64::from_le_bytes(*word)));
    match name.as_bytes().last_chunk::<8>() {
        _ if rest.is_empty() => {}
        // What is left over, with the octets before it.
        Some(last) => step(u64::from_le_bytes(*last)),
        None => step(rest.iter().fold(0, |octets, octet| octets << 8 | u64::from(*octet))),
    }
    (state >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_in_any_case_and_refuses_a_second_owner() {
        let mut table = NameTable::default();
        for number in 0..1000u16 {
            table.insert(&format!("Name{number}"), number).unwrap();
        }
        for number in 0..1000u16 {
            assert_eq!(table.find(&format!("nAME{number}")), Some(number));
        }
        assert_eq!(table.find("name1000"), None);
        assert_eq!(table.find(""), None);
        assert_eq!(table.insert("NAME7", 9), Err(7));
    }
}
