//! Values of any length as cells: a page of sled must stay small, and every cell is bound to its key.
//!
//! ```text
//! cell key    area u8, name, index of the cell u16 big-endian
//! cell value  CRC-32 of key and the rest u32, number of cells u16 (both little-endian), octets
//! ```
//! Names within an area have one length or begin with it, so the cells of one value lie side by side.

use super::StoreError;
use super::kv::{Batch, Kv, corrupt};

/// Octets of a value in one cell: with its header and key a cell stays under 4 KiB.
pub const CELL_BYTES: usize = 3_840;
/// Octets of the longest value: cells have numbers of 16 bits.
pub const VALUE_OCTETS_MAX: usize = CELL_BYTES * u16::MAX as usize;
const HEADER: usize = 6;

/// Writes a value as cells; gives their number.
///
/// # Panics
/// Never: a group of more than [`VALUE_OCTETS_MAX`] (240 MiB) is refused before it comes here, and other values are short.
pub fn put(batch: &mut Batch, area: u8, name: &[u8], value: &[u8]) -> u16 {
    let count = u16::try_from(value.len().div_ceil(CELL_BYTES).max(1))
        .expect("longer values are refused before they come here");
    for index in 0..count {
        let from = usize::from(index) * CELL_BYTES;
        let body = &value[from..value.len().min(from + CELL_BYTES)];
        let key = key(area, name, index);
        let mut cell = Vec::with_capacity(HEADER + body.len());
        cell.extend_from_slice(&[0; 4]);
        cell.extend_from_slice(&count.to_le_bytes());
        cell.extend_from_slice(body);
        let checksum = checksum(&key, &cell[4..]);
        cell[..4].copy_from_slice(&checksum.to_le_bytes());
        batch.put(key, cell);
    }
    count
}

/// Deletes cells `from..to` of a value.
pub fn delete(batch: &mut Batch, area: u8, name: &[u8], cells: std::ops::Range<u16>) {
    cells.for_each(|index| batch.delete(key(area, name, index)));
}

pub fn key(area: u8, name: &[u8], index: u16) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 3);
    key.push(area);
    key.extend_from_slice(name);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// Is given name, value and number of cells.
pub type EachValue<'e> = &'e mut dyn FnMut(&[u8], &[u8], u16) -> Result<(), StoreError>;

/// A value at the end of an area whose last cells are missing: a power cut came while it was being appended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Torn {
    pub name: Vec<u8>,
    /// How many of its cells are there.
    pub cells: u16,
}

/// Like [`scan_appended`], for areas that are written in batches: a torn value is damage.
pub fn scan(kv: &dyn Kv, area: u8, from: &[u8], each: EachValue<'_>) -> Result<(), StoreError> {
    match scan_appended(kv, area, from, each)? {
        Some(torn) => Err(corrupt(
            kv.place(),
            &format!("the value {} lacks its last cells", shown(&torn.name)),
        )),
        None => Ok(()),
    }
}

/// Calls `each` with the name and value of everything in an area whose name is not less than `from`, ascending.
///
/// # Errors
/// `Corrupt` when a cell is damaged, missing or under a key that is not its own; whatever `each` gives.
pub fn scan_appended(kv: &dyn Kv, area: u8, from: &[u8], each: EachValue<'_>) -> Result<Option<Torn>, StoreError> {
    let mut start = vec![area];
    start.extend_from_slice(from);
    let mut value = Assembly::default();
    let mut outcome = Ok(());
    kv.scan(&start, &[area + 1], &mut |key, cell| {
        outcome = match value.push(key, cell) {
            Err(detail) => Err(corrupt(kv.place(), &detail)),
            Ok(true) => each(&value.name, &value.octets, value.count),
            Ok(false) => Ok(()),
        };
        outcome.is_ok()
    })?;
    outcome?;
    let is_torn = value.next != value.count;
    Ok(is_torn.then_some(Torn {
        name: value.name,
        cells: value.next,
    }))
}

/// A value being put together from its cells.
#[derive(Default)]
struct Assembly {
    name: Vec<u8>,
    octets: Vec<u8>,
    next: u16,
    count: u16,
}

impl Assembly {
    /// Adds the next cell; true when the value is whole.
    fn push(&mut self, key: &[u8], cell: &[u8]) -> Result<bool, String> {
        let (Some((stored, rest)), Some((head, index))) = (cell.split_first_chunk::<4>(), key.split_last_chunk::<2>())
        else {
            return Err(format!("the value under {} is cut short", shown(key)));
        };
        let (Some((count, body)), Some(name)) = (rest.split_first_chunk::<2>(), head.get(1..)) else {
            return Err(format!("the value under {} is cut short", shown(key)));
        };
        if u32::from_le_bytes(*stored) != checksum(key, rest) {
            return Err(format!("the value under {} does not have its checksum", shown(key)));
        }
        let (index, count) = (u16::from_be_bytes(*index), u16::from_le_bytes(*count));
        if index == 0 && self.next == self.count {
            self.name = name.to_vec();
            self.octets.clear();
            (self.next, self.count) = (0, count);
        }
        if name != self.name || index != self.next || count != self.count || index >= count {
            return Err(format!("cell {index} under {} is out of its place", shown(key)));
        }
        self.octets.extend_from_slice(body);
        self.next += 1;
        Ok(self.next == self.count)
    }
}

fn checksum(key: &[u8], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(rest);
    hasher.finalize()
}

fn shown(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::faulty::FaultyKv;
    use super::*;

    fn all(kv: &dyn Kv, area: u8) -> Result<Vec<crate::store::KeyedPair>, StoreError> {
        let mut found = Vec::new();
        scan(kv, area, b"", &mut |name, value, _| {
            found.push((name.to_vec(), value.to_vec()));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn values_of_every_length_come_back() {
        let kv = FaultyKv::default();
        let mut batch = Batch::default();
        let lengths = [0, 1, CELL_BYTES - 1, CELL_BYTES, CELL_BYTES + 1, 3 * CELL_BYTES + 5];
        let values: Vec<_> = lengths
            .iter()
            .enumerate()
            .map(|(n, len)| (vec![n as u8], vec![n as u8 ^ 0x5A; *len]))
            .collect();
        for (name, value) in &values {
            put(&mut batch, b'a', name, value);
        }
        assert!(
            batch
                .writes
                .iter()
                .all(|(key, cell)| key.len() + cell.as_ref().unwrap().len() < 4096)
        );
        kv.commit(batch).unwrap();
        assert_eq!(all(&kv, b'a').unwrap(), values);
    }

    #[test]
    fn damage_of_any_kind_is_told() {
        let sound = || {
            let mut batch = Batch::default();
            put(&mut batch, b'a', b"x", &vec![7; 2 * CELL_BYTES]);
            batch
        };
        let mut flipped = sound();
        flipped.writes[0].1.as_mut().unwrap()[50] ^= 1;
        let mut missing_first = sound();
        missing_first.writes.remove(0);
        let mut missing_last = sound();
        missing_last.writes.pop();
        let mut moved = sound();
        moved.writes[0].0[1] = b'w';
        let mut short = sound();
        short.writes[0].1 = Some(vec![1, 2]);
        for (what, batch) in [
            ("flip", flipped),
            ("first", missing_first),
            ("last", missing_last),
            ("moved", moved),
            ("short", short),
        ] {
            let kv = FaultyKv::default();
            kv.commit(batch).unwrap();
            assert!(matches!(all(&kv, b'a'), Err(StoreError::Corrupt { .. })), "{what}");
        }
    }
}
