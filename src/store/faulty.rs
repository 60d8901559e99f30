//! A disk in memory that fails on demand, for tests: power cuts at any step, fsync errors, a full disk.

use super::StoreError;
use super::kv::{Batch, Kv, corrupt, io_error};
use super::mark::{MarkFile, SLOTS};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What happens at a step. Every commit is three steps (batch, sync, mark) and so is a sync of the marks one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// From here on nothing reaches the disk, and every call fails.
    PowerCut,
    /// This step gives an I/O error; later ones would work.
    Io(io::ErrorKind),
}

/// A disk that can be cloned: all clones are the same disk.
#[derive(Clone, Default)]
pub struct FaultyKv {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Default)]
struct Disk {
    durable: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Batches that no sync has covered yet.
    pending: Vec<Batch>,
    durable_marks: Vec<u8>,
    marks: Vec<u8>,
    step: u64,
    fault: Option<(u64, Fault)>,
    dead: bool,
}

impl FaultyKv {
    /// Arms a fault at a step, counted from now, from 0.
    pub fn arm(&self, step: u64, fault: Fault) {
        let mut disk = self.locked();
        let at = disk.step + step;
        disk.fault = Some((at, fault));
    }

    pub fn steps(&self) -> u64 {
        self.locked().step
    }

    /// The disk after a power cut. Of what was not synced, the first `pending` batches survived, and the marks if `marks`.
    pub fn after_power_cut(&self, pending: usize, marks: bool) -> FaultyKv {
        let disk = self.locked();
        let mut durable = disk.durable.clone();
        disk.pending
            .iter()
            .take(pending)
            .for_each(|batch| apply(&mut durable, batch));
        let kept_marks = if marks {
            disk.marks.clone()
        } else {
            disk.durable_marks.clone()
        };
        let after = Disk {
            durable,
            marks: kept_marks.clone(),
            durable_marks: kept_marks,
            ..Disk::default()
        };
        FaultyKv {
            disk: Arc::new(Mutex::new(after)),
        }
    }

    /// Changes what is on the disk behind the store's back.
    pub fn damage(&self, change: impl FnOnce(&mut BTreeMap<Vec<u8>, Vec<u8>>)) {
        change(&mut self.locked().durable);
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Disk {
    fn step(&mut self) -> Result<(), StoreError> {
        let step = self.step;
        self.step += 1;
        let failed = |kind: io::ErrorKind| Err(io_error(Path::new("memory"), io::Error::from(kind)));
        if self.dead {
            return failed(io::ErrorKind::Other);
        }
        match self.fault {
            Some((at, Fault::PowerCut)) if at == step => {
                self.dead = true;
                failed(io::ErrorKind::Other)
            }
            Some((at, Fault::Io(kind))) if at == step => failed(kind),
            _ => Ok(()),
        }
    }

    /// What a reader sees: durable and pending.
    fn current(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut all = self.durable.clone();
        self.pending.iter().for_each(|batch| apply(&mut all, batch));
        all
    }
}

fn apply(to: &mut BTreeMap<Vec<u8>, Vec<u8>>, batch: &Batch) {
    for (key, value) in &batch.writes {
        match value {
            Some(value) => to.insert(key.clone(), value.clone()),
            None => to.remove(key),
        };
    }
}

impl Kv for FaultyKv {
    fn scan(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError> {
        let current = self.locked().current();
        for (key, value) in current.range(from.to_vec()..to.to_vec()) {
            if !each(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut disk = self.locked();
        disk.step()?;
        disk.pending.push(batch);
        disk.step()?;
        disk.durable = disk.current();
        disk.pending.clear();
        Ok(())
    }

    fn append(&self, pairs: Batch) -> Result<(), StoreError> {
        let mut disk = self.locked();
        for write in pairs.writes {
            disk.step()?;
            disk.pending.push(Batch { writes: vec![write] });
        }
        disk.step()?;
        disk.durable = disk.current();
        disk.pending.clear();
        Ok(())
    }

    fn discard(&self, keys: Vec<Vec<u8>>) -> Result<(), StoreError> {
        let mut disk = self.locked();
        disk.step()?;
        disk.pending.push(Batch {
            writes: keys.into_iter().map(|key| (key, None)).collect(),
        });
        Ok(())
    }

    fn read_marks(&self) -> Result<Vec<u8>, StoreError> {
        let mut marks = self.locked().marks.clone();
        marks.resize(SLOTS * MarkFile::SLOT_BYTES, 0);
        Ok(marks)
    }

    fn write_mark(&self, slot: usize, bytes: &[u8]) -> Result<(), StoreError> {
        let mut disk = self.locked();
        disk.step()?;
        disk.marks.resize(SLOTS * MarkFile::SLOT_BYTES, 0);
        let at = slot * MarkFile::SLOT_BYTES;
        disk.marks[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync_marks(&self) -> Result<(), StoreError> {
        let mut disk = self.locked();
        disk.step()?;
        disk.durable_marks = disk.marks.clone();
        Ok(())
    }

    fn check(&self, _: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        if self.locked().dead {
            Err(corrupt(self.place(), "no power"))
        } else {
            Ok(())
        }
    }

    fn place(&self) -> &Path {
        Path::new("memory")
    }
}
