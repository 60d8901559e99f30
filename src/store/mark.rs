//! The high-water mark: the newest acknowledged sequence number, kept outside sled.
//!
//! It is written after the journal's `fdatasync` and before the acknowledgement, so whatever of it reaches the disk never
//! runs ahead of a sound journal. A mark behind the journal is normal after a power cut. A mark ahead of the journal
//! means acknowledged changes are gone, and the open says so.

use super::StoreError;
use super::journal::{Hash, Position};
use super::kv::{corrupt, io_error};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Two slots, a page apart, written in turn: a torn write spoils one of them.
pub const SLOTS: usize = 2;

const MAGIC: &[u8; 8] = b"NHSMARK1";
const LEN: usize = 8 + 8 + 8 + 8 + 32 + 4;

/// What was acknowledged last. Ordered by generation, then sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    pub epoch: u64,
    pub generation: u64,
    pub position: Position,
}

impl Mark {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LEN);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&self.position.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.position.hash);
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// `None` when the slot was torn, damaged or never written.
    fn decode(slot: &[u8]) -> Option<Mark> {
        let slot = slot.get(..LEN)?;
        let (body, checksum) = slot.split_at(LEN - 4);
        if !body.starts_with(MAGIC) || checksum != crc32fast::hash(body).to_le_bytes() {
            return None;
        }
        let number = |at: usize| body.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let hash: Hash = body.get(32..64)?.try_into().ok()?;
        Some(Mark {
            epoch: number(8)?,
            generation: number(16)?,
            position: Position {
                sequence: number(24)?,
                hash,
            },
        })
    }

    /// The newest of the slots, and the slot to write next.
    pub fn newest(slots: &[u8]) -> Option<(Mark, usize)> {
        let marks = slots.chunks(MarkFile::SLOT_BYTES).map(Mark::decode).enumerate();
        let newest = marks
            .filter_map(|(slot, mark)| mark.map(|mark| (mark, slot)))
            .max_by_key(|(mark, _)| (mark.generation, mark.position.sequence))?;
        Some((newest.0, (newest.1 + 1) % SLOTS))
    }
}

/// The file `mark`.
pub struct MarkFile {
    path: PathBuf,
    file: File,
}

impl MarkFile {
    pub const SLOT_BYTES: usize = 4096;

    /// Opens the file; makes it, with empty slots, when it is not there.
    pub fn open(path: &Path) -> Result<MarkFile, StoreError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|e| io_error(path, e))?;
        file.set_len((SLOTS * MarkFile::SLOT_BYTES) as u64)
            .map_err(|e| io_error(path, e))?;
        Ok(MarkFile {
            path: path.to_path_buf(),
            file,
        })
    }

    pub fn read(&self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; SLOTS * MarkFile::SLOT_BYTES];
        self.file
            .read_exact_at(&mut bytes, 0)
            .map_err(|e| io_error(&self.path, e))?;
        Ok(bytes)
    }

    pub fn write(&self, slot: usize, bytes: &[u8]) -> Result<(), StoreError> {
        let at = (slot % SLOTS * MarkFile::SLOT_BYTES) as u64;
        self.file.write_all_at(bytes, at).map_err(|e| io_error(&self.path, e))
    }

    pub fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|e| io_error(&self.path, e))
    }
}

/// Compares the mark with what the manifest and the journal hold. `hash_at` gives the chain's hash after a sequence number, if
/// a group ends there and it is still kept.
pub fn verify(
    place: &Path,
    mark: &Mark,
    generation: u64,
    last: u64,
    hash_at: impl Fn(u64) -> Option<Hash>,
) -> Result<(), StoreError> {
    let Position { sequence, hash } = mark.position;
    if mark.generation > generation {
        return Err(corrupt(
            place,
            &format!(
                "generation {} was acknowledged, but the manifest names {generation}",
                mark.generation
            ),
        ));
    }
    if sequence > last {
        return Err(corrupt(
            place,
            &format!(
                "change {sequence} was acknowledged, but the journal ends at {last}; acknowledged changes are lost"
            ),
        ));
    }
    if hash_at(sequence).is_some_and(|kept| kept != hash) {
        return Err(corrupt(
            place,
            &format!("change {sequence} is not the one that was acknowledged"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(generation: u64, sequence: u64) -> Mark {
        Mark {
            epoch: 1,
            generation,
            position: Position {
                sequence,
                hash: [sequence as u8; 32],
            },
        }
    }

    #[test]
    fn the_newest_whole_slot_counts() {
        let data = tempfile::tempdir().unwrap();
        let file = MarkFile::open(&data.path().join("mark")).unwrap();
        assert_eq!(Mark::newest(&file.read().unwrap()), None);
        file.write(0, &mark(1, 7).encode()).unwrap();
        assert_eq!(Mark::newest(&file.read().unwrap()), Some((mark(1, 7), 1)));
        file.write(1, &mark(1, 8).encode()).unwrap();
        assert_eq!(Mark::newest(&file.read().unwrap()), Some((mark(1, 8), 0)));
        let torn = &mark(1, 9).encode()[..20];
        file.write(0, torn).unwrap();
        assert_eq!(Mark::newest(&file.read().unwrap()), Some((mark(1, 8), 0)));
        file.write(0, &mark(2, 8).encode()).unwrap();
        assert_eq!(Mark::newest(&file.read().unwrap()), Some((mark(2, 8), 1)));
    }

    #[test]
    fn only_a_mark_ahead_of_the_journal_is_a_fault() {
        let hash_at = |sequence: u64| Some([sequence as u8; 32]);
        let place = Path::new("here");
        assert!(verify(place, &mark(3, 9), 3, 9, hash_at).is_ok());
        assert!(verify(place, &mark(2, 5), 3, 9, hash_at).is_ok());
        assert!(verify(place, &mark(3, 10), 3, 9, hash_at).is_err());
        assert!(verify(place, &mark(4, 9), 3, 9, hash_at).is_err());
        assert!(verify(place, &mark(3, 8), 3, 9, |_| Some([0xEE; 32])).is_err());
        assert!(verify(place, &mark(3, 8), 3, 9, |_| None).is_ok());
    }
}
