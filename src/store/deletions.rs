//! Which entries went lately, from which names and when: who follows changes is told of them after a restart too.
//!
//! Those since the last compaction are in the journal; a compaction keeps the others in one value beside the manifest, in the
//! batch that makes it durable. That an entry went from one name to another counts as well.
//!
//! Invariants: what is kept is bounded, and it is known since when it is whole; times never go down.

use super::journal::{take, take_octets, take_u64};
use super::kv::{Batch, Kv, corrupt};
use super::{StoreError, cell};
use crate::schema::NormalizedDn;
use std::collections::VecDeque;

pub(super) const AREA: u8 = b'd';
const VERSION: u8 = 1;

/// The entry that a key was deleted of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deleted {
    pub entry_uuid: [u8; 16],
    /// When, as [`super::Operational::changed`] has it.
    pub changed: u64,
}

/// An entry is no longer where it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deletion {
    pub key: NormalizedDn,
    pub entry: Deleted,
}

impl Deletion {
    fn octets(&self) -> usize {
        self.key.0.len() + size_of::<Deletion>()
    }
}

#[derive(Debug)]
pub(super) struct Deletions {
    /// Every deletion later than this is here; `None` where that is not known.
    since: Option<u64>,
    /// In the order they were made.
    kept: VecDeque<Deletion>,
    octets: usize,
    limit: usize,
    /// How many cells the value on disk takes.
    cells: u16,
}

impl Deletions {
    /// Octets beyond which no limit goes: what is kept is written in one batch.
    const MOST: usize = 64 << 20;

    /// Of a directory that never held anything.
    pub(super) fn none(limit: usize) -> Deletions {
        Deletions {
            since: Some(0),
            kept: VecDeque::new(),
            octets: 0,
            limit: limit.min(Self::MOST),
            cells: 0,
        }
    }

    /// After all content was replaced: nobody goes on from what was before.
    pub(super) fn empty(&mut self) {
        *self = Deletions {
            cells: self.cells,
            ..Self::none(self.limit)
        };
    }

    /// Those before the journal's beginning.
    pub(super) fn read(kv: &dyn Kv, limit: usize) -> Result<Deletions, StoreError> {
        let mut deletions = Deletions {
            since: None,
            ..Self::none(limit)
        };
        cell::scan(kv, AREA, b"", &mut |_, octets, cells| {
            deletions.cells = cells;
            let decoded = deletions.decode(octets);
            decoded.map_err(|detail| corrupt(kv.place(), &format!("the deletions: {detail}")))
        })?;
        Ok(deletions)
    }

    fn decode(&mut self, mut rest: &[u8]) -> Result<(), String> {
        let version = take(&mut rest, 1)?[0];
        if version != VERSION {
            return Err(format!("version {VERSION} expected, {version} found"));
        }
        let is_known = take(&mut rest, 1)?[0] == 1;
        let since = take_u64(&mut rest)?;
        self.since = is_known.then_some(since);
        while !rest.is_empty() {
            let key = NormalizedDn(take_octets(&mut rest)?.to_vec());
            let entry = Deleted::take(&mut rest)?;
            self.note(Deletion { key, entry });
        }
        Ok(())
    }

    /// Adds what is known to a batch that makes a manifest durable.
    pub(super) fn write(&mut self, batch: &mut Batch) {
        let mut octets = vec![VERSION, u8::from(self.since.is_some())];
        octets.extend_from_slice(&self.since.unwrap_or(0).to_le_bytes());
        for deletion in &self.kept {
            // A key comes from a message, whose length is less than 4 GiB.
            octets.extend_from_slice(&(deletion.key.0.len() as u32).to_le_bytes());
            octets.extend_from_slice(&deletion.key.0);
            deletion.entry.append(&mut octets);
        }
        let cells = cell::put(batch, AREA, b"", &octets);
        cell::delete(batch, AREA, b"", cells..self.cells.max(cells));
        self.cells = cells;
    }

    /// One more, unless it is known already: the value on disk may hold some of the journal's.
    pub(super) fn replay(&mut self, deletion: Deletion, read_until: u64) {
        if deletion.entry.changed > read_until {
            self.note(deletion);
        }
    }

    pub(super) fn note(&mut self, deletion: Deletion) {
        self.octets += deletion.octets();
        self.kept.push_back(deletion);
        while self.octets > self.limit {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.octets -= oldest.octets();
            self.since = self.since.map(|since| since.max(oldest.entry.changed));
        }
    }

    /// Some deletion is not known.
    pub(super) fn lose(&mut self) {
        self.since = None;
        self.kept.clear();
        self.octets = 0;
    }

    /// From here on every one is, where that was not known.
    pub(super) fn begin(&mut self, at: u64) {
        self.since.get_or_insert(at);
    }

    /// The time of the last.
    pub(super) fn last(&self) -> u64 {
        self.kept.back().map_or(0, |deletion| deletion.entry.changed)
    }

    /// Every deletion after one time, up to another; `None` where they are no longer all known.
    pub(super) fn between(&self, after: u64, until: u64) -> Option<Vec<Deletion>> {
        if self.since.is_none_or(|since| after < since) {
            return None;
        }
        let from = self.kept.partition_point(|deletion| deletion.entry.changed <= after);
        let kept = self.kept.range(from..);
        Some(
            kept.take_while(|deletion| deletion.entry.changed <= until)
                .cloned()
                .collect(),
        )
    }
}

impl Deleted {
    pub(super) fn append(&self, octets: &mut Vec<u8>) {
        octets.extend_from_slice(&self.entry_uuid);
        octets.extend_from_slice(&self.changed.to_le_bytes());
    }

    pub(super) fn take(rest: &mut &[u8]) -> Result<Deleted, String> {
        let mut entry_uuid = [0; 16];
        entry_uuid.copy_from_slice(take(rest, 16)?);
        let changed = take_u64(rest)?;
        Ok(Deleted { entry_uuid, changed })
    }
}

#[cfg(test)]
mod tests {
    use super::super::faulty::FaultyKv;
    use super::*;

    fn deletion(changed: u64, key: usize) -> Deletion {
        Deletion {
            key: NormalizedDn(vec![b'x'; key]),
            entry: Deleted {
                entry_uuid: [changed as u8; 16],
                changed,
            },
        }
    }

    fn times(deletions: &Deletions, after: u64, until: u64) -> Option<Vec<u64>> {
        let found = deletions.between(after, until)?;
        Some(found.iter().map(|deletion| deletion.entry.changed).collect())
    }

    #[test]
    fn what_is_kept_is_bounded_and_says_how_far_it_reaches() {
        let mut deletions = Deletions::none(3 * deletion(1, 10).octets());
        for changed in [5, 6, 6] {
            deletions.note(deletion(changed, 10));
        }
        assert_eq!(times(&deletions, 0, 9), Some(vec![5, 6, 6]));
        assert_eq!(times(&deletions, 5, 5), Some(vec![]));
        deletions.note(deletion(7, 10));
        assert_eq!(
            [4, 5].map(|after| times(&deletions, after, 9)),
            [None, Some(vec![6, 6, 7])]
        );
        // Of those of one time some are gone.
        deletions.note(deletion(8, 10));
        assert_eq!(
            [5, 6].map(|after| times(&deletions, after, 9)),
            [None, Some(vec![7, 8])]
        );
        deletions.lose();
        deletions.note(deletion(9, 10));
        assert_eq!(times(&deletions, 8, 9), None);
        deletions.begin(9);
        assert_eq!((times(&deletions, 8, 9), times(&deletions, 9, 9)), (None, Some(vec![])));
    }

    #[test]
    fn they_come_back_and_leave_no_cells_behind() {
        let kv = FaultyKv::default();
        let limit = 1 << 20;
        assert_eq!(times(&Deletions::read(&kv, limit).unwrap(), 9, 9), None);
        let mut deletions = Deletions::none(limit);
        for changed in 1..=50 {
            deletions.note(deletion(changed, 700));
        }
        let mut batch = Batch::default();
        deletions.write(&mut batch);
        kv.commit(batch).unwrap();
        let mut read = Deletions::read(&kv, 10 * deletion(1, 700).octets()).unwrap();
        assert_eq!((read.kept.len(), read.since, read.last()), (10, Some(40), 50));
        assert!(deletions.kept.iter().skip(40).eq(&read.kept));
        // The journal has some of them too.
        read.replay(deletion(50, 700), 50);
        read.replay(deletion(51, 700), 50);
        assert_eq!(times(&read, 48, 99), Some(vec![49, 50, 51]));
        let mut batch = Batch::default();
        read.write(&mut batch);
        kv.commit(batch).unwrap();
        assert_eq!(Deletions::read(&kv, limit).unwrap().kept, read.kept);
    }
}
