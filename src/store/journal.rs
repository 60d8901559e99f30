//! The journal: every change since the segment, in one total order, as a hash chain.
//!
//! One record a group, so a group is there whole or not at all:
//! ```text
//! version u8 = 1, first sequence number u64, number of changes u32, type table u32, hash of the group before 32 octets,
//! changes: kind u8 (0 keyed writes only, 1 put, 2 delete, 3 delete of a known entry), key length u32, key,
//!          for a put: record length u32, record; for 3: entryUUID 16 octets, time u64
//! hash: SHA-256 of all of the above, 32 octets
//! ```
//! Integers are little-endian. The record's name in the journal's area is the first sequence number, big-endian.

use super::cell::{self, Torn};
use super::kv::{Batch, Kv, corrupt};
use super::{Change, Deleted, SequenceNumber, StoreError};
use crate::schema::NormalizedDn;
use sha2::{Digest, Sha256};

/// The area of journal records.
pub const AREA: u8 = b'j';
const VERSION: u8 = 1;
const HEADER: usize = 1 + 8 + 4 + 4 + 32;

/// What is pushed into one group at most: it is one value, and its hash comes on top.
pub const GROUP_OCTETS_MAX: usize = cell::VALUE_OCTETS_MAX - 32;

pub type Hash = [u8; 32];

/// A place in the journal: the last change up to it and the chain's hash there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Position {
    pub sequence: u64,
    pub hash: Hash,
}

impl Position {
    pub fn number(&self) -> SequenceNumber {
        SequenceNumber(self.sequence)
    }
}

/// A group being written.
pub struct GroupWriter {
    octets: Vec<u8>,
    before: Position,
    count: u32,
}

impl GroupWriter {
    /// `table` is the number of the type table that the records' type numbers are of.
    pub fn new(before: Position, table: u32) -> GroupWriter {
        let mut octets = Vec::with_capacity(4096);
        octets.push(VERSION);
        octets.extend_from_slice(&(before.sequence + 1).to_le_bytes());
        octets.extend_from_slice(&0u32.to_le_bytes());
        octets.extend_from_slice(&table.to_le_bytes());
        octets.extend_from_slice(&before.hash);
        GroupWriter {
            octets,
            before,
            count: 0,
        }
    }

    pub fn push(&mut self, change: &Change) {
        match change {
            Change::Put { key, record } => {
                self.octets.push(1);
                self.push_octets(&key.0);
                self.push_octets(record);
            }
            Change::Delete { key, of } => {
                self.octets.push(if of.is_some() { 3 } else { 2 });
                self.push_octets(&key.0);
                if let Some(of) = of {
                    of.append(&mut self.octets);
                }
            }
        }
        self.count += 1;
    }

    /// Gives a sequence number to keyed writes that come without a change.
    pub fn push_keyed_only(&mut self) {
        self.octets.push(0);
        self.push_octets(&[]);
        self.count += 1;
    }

    fn push_octets(&mut self, octets: &[u8]) {
        let len = u32::try_from(octets.len()).expect("a message limit keeps entries under 4 GiB");
        self.octets.extend_from_slice(&len.to_le_bytes());
        self.octets.extend_from_slice(octets);
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How far the group is, for [`GroupWriter::back_to`].
    pub fn extent(&self) -> (usize, u32) {
        (self.octets.len(), self.count)
    }

    /// Takes back what was pushed since.
    pub fn back_to(&mut self, (octets, count): (usize, u32)) {
        self.octets.truncate(octets);
        self.count = count;
    }

    /// The sequence number of the last change pushed.
    pub fn last(&self) -> SequenceNumber {
        SequenceNumber(self.before.sequence + u64::from(self.count))
    }

    /// Adds the group to a batch; gives the position after it.
    pub fn finish(mut self, batch: &mut Batch) -> Position {
        self.octets[9..13].copy_from_slice(&self.count.to_le_bytes());
        let hash: Hash = Sha256::digest(&self.octets).into();
        self.octets.extend_from_slice(&hash);
        cell::put(batch, AREA, &name(self.before.sequence + 1), &self.octets);
        Position {
            sequence: self.before.sequence + u64::from(self.count),
            hash,
        }
    }
}

/// A group as read.
pub struct Group<'a> {
    pub first: u64,
    pub count: u32,
    pub table: u32,
    changes: &'a [u8],
}

impl<'a> Group<'a> {
    /// Reads one group and verifies that it follows `before`.
    fn read(octets: &'a [u8], before: &Position) -> Result<(Group<'a>, Position), String> {
        let Some((body, hash)) = octets.split_last_chunk::<32>() else {
            return Err(format!("the group after change {} is cut short", before.sequence));
        };
        if <Hash>::from(Sha256::digest(body)) != *hash {
            return Err(format!(
                "the group after change {} does not have its hash",
                before.sequence
            ));
        }
        let mut rest = body;
        let version = take(&mut rest, 1)?[0];
        if version != VERSION {
            return Err(format!(
                "journal version {VERSION} expected, {version} found; use the nhsdir that wrote it"
            ));
        }
        let first = take_u64(&mut rest)?;
        let count = take_u32(&mut rest)?;
        let table = take_u32(&mut rest)?;
        let previous = take(&mut rest, 32)?;
        if first != before.sequence + 1 {
            return Err(format!("change {} expected, {first} found", before.sequence + 1));
        }
        if previous != before.hash {
            return Err(format!(
                "change {first} does not follow change {} in the hash chain",
                before.sequence
            ));
        }
        let group = Group {
            first,
            count,
            table,
            changes: rest,
        };
        let last = first - 1 + u64::from(count);
        group.walk(&mut |_| Ok(()))?;
        Ok((
            group,
            Position {
                sequence: last,
                hash: *hash,
            },
        ))
    }

    /// Octets of its changes.
    pub fn octets(&self) -> u64 {
        self.changes.len() as u64
    }

    /// Calls `each` with every change; `None` is a number spent on keyed writes only.
    fn walk(&self, each: &mut dyn FnMut(Option<ChangeRef<'a>>) -> Result<(), String>) -> Result<(), String> {
        let mut rest = self.changes;
        for _ in 0..self.count {
            let kind = take(&mut rest, 1)?[0];
            let key = take_octets(&mut rest)?;
            match kind {
                0 => each(None)?,
                1 => each(Some(ChangeRef::Put {
                    key,
                    record: take_octets(&mut rest)?,
                }))?,
                2 => each(Some(ChangeRef::Delete { key, of: None }))?,
                3 => each(Some(ChangeRef::Delete {
                    key,
                    of: Some(Deleted::take(&mut rest)?),
                }))?,
                other => return Err(format!("a change of kind 0 to 3 expected, {other} found")),
            }
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err(format!("{} octets after the last change of a group", rest.len()))
        }
    }

    /// The changes, owned, in order.
    pub fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::with_capacity(self.count as usize);
        let walked = self.walk(&mut |change| {
            changes.extend(change.map(|change| change.to_change()));
            Ok(())
        });
        debug_assert!(walked.is_ok(), "a group is walked once when it is read");
        changes
    }
}

enum ChangeRef<'a> {
    Put { key: &'a [u8], record: &'a [u8] },
    Delete { key: &'a [u8], of: Option<Deleted> },
}

impl ChangeRef<'_> {
    fn to_change(&self) -> Change {
        match self {
            ChangeRef::Put { key, record } => Change::Put {
                key: NormalizedDn(key.to_vec()),
                record: record.to_vec(),
            },
            ChangeRef::Delete { key, of } => Change::Delete {
                key: NormalizedDn(key.to_vec()),
                of: *of,
            },
        }
    }
}

/// Reads every group after `from`, verifying the chain; gives the position of the last.
///
/// The last group may be torn: it was never acknowledged, unless the mark says so. Its first number and cells are given too.
///
/// # Errors
/// `Corrupt` when a group is damaged, out of order, or missing before a later one; whatever `each` gives.
pub fn replay(
    kv: &dyn Kv,
    from: Position,
    each: &mut dyn FnMut(&Group<'_>, Position) -> Result<(), StoreError>,
) -> Result<(Position, Option<Torn>), StoreError> {
    let mut at = from;
    let torn = cell::scan_appended(kv, AREA, &name(from.sequence + 1), &mut |_, octets, _| {
        let (group, after) = Group::read(octets, &at).map_err(|detail| corrupt(kv.place(), &detail))?;
        at = after;
        each(&group, after)
    })?;
    Ok((at, torn))
}

/// Deletes what there is of a torn group, durably: the next group has its name, and may go where this deletion does not precede it.
pub fn discard(kv: &dyn Kv, torn: &Torn) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    cell::delete(&mut batch, AREA, &torn.name, 0..torn.cells);
    kv.commit(batch)
}

/// The keys of journal records up to a sequence number that a segment now covers, at most `limit`.
pub fn covered_keys(kv: &dyn Kv, up_to: u64, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut keys = Vec::new();
    kv.scan(&[AREA], &cell::key(AREA, &name(up_to + 1), 0), &mut |key, _| {
        keys.push(key.to_vec());
        keys.len() < limit
    })?;
    Ok(keys)
}

fn name(first: u64) -> [u8; 8] {
    first.to_be_bytes()
}

pub(super) fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], String> {
    let (taken, left) = rest
        .split_at_checked(len)
        .ok_or_else(|| "a group of the journal is cut short".to_owned())?;
    *rest = left;
    Ok(taken)
}

fn take_u32(rest: &mut &[u8]) -> Result<u32, String> {
    Ok(u32::from_le_bytes(
        take(rest, 4)?.try_into().expect("four octets were taken"),
    ))
}

pub(super) fn take_u64(rest: &mut &[u8]) -> Result<u64, String> {
    Ok(u64::from_le_bytes(
        take(rest, 8)?.try_into().expect("eight octets were taken"),
    ))
}

pub(super) fn take_octets<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let len = take_u32(rest)? as usize;
    take(rest, len)
}

const _: () = assert!(HEADER == 49, "the header's length is in docs/store-format.md");

#[cfg(test)]
mod tests {
    use super::super::faulty::FaultyKv;
    use super::*;

    fn put(key: &str, record: &[u8]) -> Change {
        Change::Put {
            key: NormalizedDn(key.as_bytes().to_vec()),
            record: record.to_vec(),
        }
    }

    fn delete(key: &str) -> Change {
        Change::Delete {
            key: NormalizedDn(key.as_bytes().to_vec()),
            of: key.len().is_multiple_of(2).then_some(Deleted {
                entry_uuid: [7; 16],
                changed: 1_234_567,
            }),
        }
    }

    /// Writes groups; gives the disk, the batches and the last position.
    fn written(groups: &[Vec<Change>]) -> (FaultyKv, Position) {
        let kv = FaultyKv::default();
        let mut at = Position::default();
        for changes in groups {
            let mut writer = GroupWriter::new(at, 3);
            changes.iter().for_each(|change| writer.push(change));
            let mut batch = Batch::default();
            at = writer.finish(&mut batch);
            kv.commit(batch).unwrap();
        }
        (kv, at)
    }

    fn read(kv: &FaultyKv, from: Position) -> Result<(Vec<Change>, Position), StoreError> {
        let mut changes = Vec::new();
        let (at, torn) = replay(kv, from, &mut |group, _| {
            assert_eq!(group.table, 3);
            changes.extend(group.changes());
            Ok(())
        })?;
        assert_eq!(torn, None);
        Ok((changes, at))
    }

    #[test]
    fn groups_come_back_in_order() {
        let groups = vec![
            vec![put("a", b"1"), put("b", &[9; 10_000])],
            vec![delete("a")],
            (0..300).map(|n| put(&format!("k{n}"), &[n as u8; 40])).collect(),
        ];
        let (kv, at) = written(&groups);
        let (changes, end) = read(&kv, Position::default()).unwrap();
        assert_eq!(changes, groups.concat());
        assert_eq!(end, at);
        assert_eq!(end.sequence, 303);
    }

    #[test]
    fn replay_begins_after_a_position() {
        let (kv, middle) = written(&[vec![put("a", b"1")], vec![put("b", b"2")]]);
        let mut writer = GroupWriter::new(middle, 3);
        writer.push_keyed_only();
        writer.push(&put("c", b"3"));
        assert_eq!(writer.last(), SequenceNumber(4));
        let mut batch = Batch::default();
        writer.finish(&mut batch);
        kv.commit(batch).unwrap();
        let (changes, end) = read(&kv, middle).unwrap();
        assert_eq!((changes, end.sequence), (vec![put("c", b"3")], 4));
        assert!(
            read(
                &kv,
                Position {
                    sequence: 2,
                    hash: [1; 32]
                }
            )
            .is_err()
        );
    }

    #[test]
    fn a_missing_or_changed_group_breaks_the_chain() {
        let groups: Vec<_> = (0..4).map(|n| vec![put(&n.to_string(), b"x")]).collect();
        let (kv, _) = written(&groups);
        kv.damage(|disk| {
            let second = disk.keys().nth(1).cloned().unwrap();
            disk.remove(&second);
        });
        assert!(matches!(
            read(&kv, Position::default()),
            Err(StoreError::Corrupt { .. })
        ));

        let (kv, _) = written(&groups);
        kv.damage(|disk| {
            // A whole group, sound in itself, from another history.
            let mut writer = GroupWriter::new(
                Position {
                    sequence: 1,
                    hash: [5; 32],
                },
                3,
            );
            writer.push(&put("other", b"y"));
            let mut batch = Batch::default();
            writer.finish(&mut batch);
            for (key, value) in batch.writes {
                disk.insert(key, value.unwrap());
            }
        });
        assert!(matches!(
            read(&kv, Position::default()),
            Err(StoreError::Corrupt { .. })
        ));
    }

    #[test]
    fn covered_records_are_found_for_deletion() {
        let (kv, _) = written(&[
            vec![put("a", &[1; 9000])],
            vec![put("b", b"2"), delete("a")],
            vec![put("c", b"3")],
        ]);
        assert_eq!(covered_keys(&kv, 3, 100).unwrap().len(), 3 + 1);
        assert_eq!(covered_keys(&kv, 3, 2).unwrap().len(), 2);
        kv.discard(covered_keys(&kv, 3, 100).unwrap()).unwrap();
        assert_eq!(covered_keys(&kv, 4, 100).unwrap().len(), 1);
    }
}
